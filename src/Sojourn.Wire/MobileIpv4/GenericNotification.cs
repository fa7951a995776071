using System.Buffers.Binary;
using System.Net;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>Direction of a generic notification (RFC 6098 4.1).</summary>
public enum NotificationDirection : byte
{
    HomeAgentToMobileNode = 0,
    HomeAgentToForeignAgent = 1,
    MobileNodeToHomeAgent = 2,
    MobileNodeToForeignAgent = 3,
    ForeignAgentToMobileNode = 4,
    ForeignAgentToHomeAgent = 5,
}

/// <summary>
/// Generic notification, type 22 (RFC 6098 4.1).
/// <code>
/// |     Type 22   |      MD       |A|  Reserved                   |
/// |                         Home Address                          |
/// |                      Home Agent Address                       |
/// |                        Care-of Address                        |
/// |                       Identification (64)                     |
/// | Extensions ...
/// </code>
/// </summary>
public sealed record GenericNotification : MobileIpMessage
{
    public const int WireLength = 24;
    public const ushort AcknowledgeFlag = 0x8000;

    public required NotificationDirection Direction { get; init; }

    /// <summary>0x8000 = A, the rest reserved.</summary>
    public ushort Flags { get; init; }

    public required IPAddress HomeAddress { get; init; }

    public required IPAddress HomeAgent { get; init; }

    public required IPAddress CareOfAddress { get; init; }

    public required ulong Identification { get; init; }

    public bool AcknowledgementRequired => (Flags & AcknowledgeFlag) != 0;

    public override MobileIpMessageType Type => MobileIpMessageType.GenericNotification;

    public override int FixedLength => WireLength;

    protected override void WriteFixed(Span<byte> destination)
    {
        destination[1] = (byte)Direction;
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], Flags);
        WriteCommon(destination, HomeAddress, HomeAgent, CareOfAddress, Identification);
    }

    internal static void WriteCommon(Span<byte> destination, IPAddress homeAddress, IPAddress homeAgent, IPAddress careOfAddress, ulong identification)
    {
        AddressOctets.Write(destination[4..], AddressOctets.Require(homeAddress));
        AddressOctets.Write(destination[8..], AddressOctets.Require(homeAgent));
        AddressOctets.Write(destination[12..], AddressOctets.Require(careOfAddress));
        BinaryPrimitives.WriteUInt64BigEndian(destination[16..], identification);
    }

    internal static GenericNotification Read(ReadOnlySpan<byte> octets) => new()
    {
        Direction = (NotificationDirection)octets[1],
        Flags = BinaryPrimitives.ReadUInt16BigEndian(octets[2..]),
        HomeAddress = AddressOctets.Read(octets[4..]),
        HomeAgent = AddressOctets.Read(octets[8..]),
        CareOfAddress = AddressOctets.Read(octets[12..]),
        Identification = BinaryPrimitives.ReadUInt64BigEndian(octets[16..]),
    };
}

/// <summary>
/// Generic notification acknowledgement, type 23 (RFC 6098 4.2); otherwise laid out as the notification.
/// <code>
/// |     Type 23   |      MD       |     Code      | Reserved      |
/// </code>
/// </summary>
public sealed record GenericNotificationAcknowledgement : MobileIpMessage
{
    public required NotificationDirection Direction { get; init; }

    /// <summary>0 accepted; 64-69 refused by the foreign agent, 128-133 by the home agent, 192-197 by the mobile node.</summary>
    public required byte Code { get; init; }

    public byte Reserved { get; init; }

    public required IPAddress HomeAddress { get; init; }

    public required IPAddress HomeAgent { get; init; }

    public required IPAddress CareOfAddress { get; init; }

    public required ulong Identification { get; init; }

    public override MobileIpMessageType Type => MobileIpMessageType.GenericNotificationAcknowledgement;

    public override int FixedLength => GenericNotification.WireLength;

    protected override void WriteFixed(Span<byte> destination)
    {
        destination[1] = (byte)Direction;
        destination[2] = Code;
        destination[3] = Reserved;
        GenericNotification.WriteCommon(destination, HomeAddress, HomeAgent, CareOfAddress, Identification);
    }

    internal static GenericNotificationAcknowledgement Read(ReadOnlySpan<byte> octets) => new()
    {
        Direction = (NotificationDirection)octets[1],
        Code = octets[2],
        Reserved = octets[3],
        HomeAddress = AddressOctets.Read(octets[4..]),
        HomeAgent = AddressOctets.Read(octets[8..]),
        CareOfAddress = AddressOctets.Read(octets[12..]),
        Identification = BinaryPrimitives.ReadUInt64BigEndian(octets[16..]),
    };
}
