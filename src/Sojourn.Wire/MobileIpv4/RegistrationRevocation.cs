using System.Buffers.Binary;
using System.Net;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>
/// Registration revocation, type 7 (RFC 3543 3.3), protected by an FA-HA or MN-HA authentication extension.
/// <code>
/// |     Type 7    |   Reserved    |A|I|          Reserved         |
/// |                          Home Address                         |
/// |                       Home Domain Address                     |
/// |                     Foreign Domain Address                    |
/// |                      Revocation Identifier                    |
/// | Extensions ...
/// </code>
/// </summary>
public sealed record RegistrationRevocation : MobileIpMessage
{
    public const int WireLength = 20;
    public const ushort HomeAgentFlag = 0x8000;
    public const ushort InformFlag = 0x4000;

    /// <summary>0x8000 = A, 0x4000 = I, the rest reserved.</summary>
    public ushort Flags { get; init; }

    public byte Reserved { get; init; }

    public required IPAddress HomeAddress { get; init; }

    /// <summary>The home agent.</summary>
    public required IPAddress HomeDomainAddress { get; init; }

    /// <summary>The foreign agent, or the co-located care-of address.</summary>
    public required IPAddress ForeignDomainAddress { get; init; }

    /// <summary>Seconds of the revoking agent's clock, the one its revocation support extension told.</summary>
    public required uint Identifier { get; init; }

    /// <summary>A: the revoking agent is the home agent.</summary>
    public bool FromHomeAgent => (Flags & HomeAgentFlag) != 0;

    /// <summary>I: tell the mobile node.</summary>
    public bool Inform => (Flags & InformFlag) != 0;

    public override MobileIpMessageType Type => MobileIpMessageType.RegistrationRevocation;

    public override int FixedLength => WireLength;

    protected override void WriteFixed(Span<byte> destination)
    {
        destination[1] = Reserved;
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], Flags);
        AddressOctets.Write(destination[4..], AddressOctets.Require(HomeAddress));
        AddressOctets.Write(destination[8..], AddressOctets.Require(HomeDomainAddress));
        AddressOctets.Write(destination[12..], AddressOctets.Require(ForeignDomainAddress));
        BinaryPrimitives.WriteUInt32BigEndian(destination[16..], Identifier);
    }

    internal static RegistrationRevocation Read(ReadOnlySpan<byte> octets) => new()
    {
        Reserved = octets[1],
        Flags = BinaryPrimitives.ReadUInt16BigEndian(octets[2..]),
        HomeAddress = AddressOctets.Read(octets[4..]),
        HomeDomainAddress = AddressOctets.Read(octets[8..]),
        ForeignDomainAddress = AddressOctets.Read(octets[12..]),
        Identifier = BinaryPrimitives.ReadUInt32BigEndian(octets[16..]),
    };
}

/// <summary>
/// Registration revocation acknowledgement, type 15 (RFC 3543 3.4).
/// <code>
/// |     Type 15   |   Reserved    |I|          Reserved           |
/// |                          Home Address                         |
/// |                      Revocation Identifier                    |
/// | Extensions ...
/// </code>
/// </summary>
public sealed record RegistrationRevocationAcknowledgement : MobileIpMessage
{
    public const int WireLength = 12;
    public const ushort InformFlag = 0x8000;

    /// <summary>0x8000 = I, the rest reserved.</summary>
    public ushort Flags { get; init; }

    public byte Reserved { get; init; }

    public required IPAddress HomeAddress { get; init; }

    /// <summary>Copied from the revocation.</summary>
    public required uint Identifier { get; init; }

    /// <summary>I: the mobile node was or may be told.</summary>
    public bool Inform => (Flags & InformFlag) != 0;

    public override MobileIpMessageType Type => MobileIpMessageType.RegistrationRevocationAcknowledgement;

    public override int FixedLength => WireLength;

    protected override void WriteFixed(Span<byte> destination)
    {
        destination[1] = Reserved;
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], Flags);
        AddressOctets.Write(destination[4..], AddressOctets.Require(HomeAddress));
        BinaryPrimitives.WriteUInt32BigEndian(destination[8..], Identifier);
    }

    internal static RegistrationRevocationAcknowledgement Read(ReadOnlySpan<byte> octets) => new()
    {
        Reserved = octets[1],
        Flags = BinaryPrimitives.ReadUInt16BigEndian(octets[2..]),
        HomeAddress = AddressOctets.Read(octets[4..]),
        Identifier = BinaryPrimitives.ReadUInt32BigEndian(octets[8..]),
    };
}
