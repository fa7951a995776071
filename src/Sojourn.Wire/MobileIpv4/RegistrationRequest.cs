using System.Buffers.Binary;
using System.Net;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>Flags of a registration request, in the order S B D M G r T x (RFC 5944 3.3).</summary>
[Flags]
public enum RegistrationFlags : byte
{
    None = 0,

    /// <summary>S: keep earlier bindings too.</summary>
    SimultaneousBindings = 0x80,

    /// <summary>B: tunnel broadcasts of the home network.</summary>
    Broadcast = 0x40,

    /// <summary>D: the care-of address is the node's own.</summary>
    Decapsulation = 0x20,

    /// <summary>M.</summary>
    MinimalEncapsulation = 0x10,

    /// <summary>G.</summary>
    Gre = 0x08,

    /// <summary>r: sent as zero.</summary>
    Reserved = 0x04,

    /// <summary>T: reverse tunnel (RFC 3024).</summary>
    ReverseTunnel = 0x02,

    /// <summary>x: sent as zero.</summary>
    ReservedLast = 0x01,
}

/// <summary>
/// Registration request, type 1 (RFC 5944 3.3).
/// <code>
/// |     Type 1    |S|B|D|M|G|r|T|x|          Lifetime             |
/// |                          Home Address                         |
/// |                           Home Agent                          |
/// |                        Care-of Address                        |
/// |                         Identification (64)                   |
/// | Extensions ...
/// </code>
/// </summary>
public sealed record RegistrationRequest : MobileIpMessage
{
    public const int WireLength = 24;

    public RegistrationFlags Flags { get; init; }

    /// <summary>Seconds asked for; 0 = deregister, 0xffff = without end.</summary>
    public required ushort Lifetime { get; init; }

    /// <summary>0.0.0.0 asks for an address (RFC 2794 2).</summary>
    public required IPAddress HomeAddress { get; init; }

    public required IPAddress HomeAgent { get; init; }

    public required IPAddress CareOfAddress { get; init; }

    public required ulong Identification { get; init; }

    public override MobileIpMessageType Type => MobileIpMessageType.RegistrationRequest;

    public override int FixedLength => WireLength;

    /// <summary>The user's name, when the request carries one.</summary>
    public string? Nai => Extensions.Find<NaiExtension>()?.Nai;

    protected override void WriteFixed(Span<byte> destination)
    {
        destination[1] = (byte)Flags;
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], Lifetime);
        AddressOctets.Write(destination[4..], AddressOctets.Require(HomeAddress));
        AddressOctets.Write(destination[8..], AddressOctets.Require(HomeAgent));
        AddressOctets.Write(destination[12..], AddressOctets.Require(CareOfAddress));
        BinaryPrimitives.WriteUInt64BigEndian(destination[16..], Identification);
    }

    internal static RegistrationRequest Read(ReadOnlySpan<byte> octets) => new()
    {
        Flags = (RegistrationFlags)octets[1],
        Lifetime = BinaryPrimitives.ReadUInt16BigEndian(octets[2..]),
        HomeAddress = AddressOctets.Read(octets[4..]),
        HomeAgent = AddressOctets.Read(octets[8..]),
        CareOfAddress = AddressOctets.Read(octets[12..]),
        Identification = BinaryPrimitives.ReadUInt64BigEndian(octets[16..]),
    };
}

/// <summary>
/// Registration reply, type 3 (RFC 5944 3.4).
/// <code>
/// |     Type 3    |     Code      |           Lifetime            |
/// |                          Home Address                         |
/// |                           Home Agent                          |
/// |                         Identification (64)                   |
/// | Extensions ...
/// </code>
/// </summary>
public sealed record RegistrationReply : MobileIpMessage
{
    public const int WireLength = 20;

    public required RegistrationReplyCode Code { get; init; }

    /// <summary>Seconds granted; 0 = deregistered, 0xffff = without end. Means nothing in a refusal, except the most an agent grants with code 69.</summary>
    public required ushort Lifetime { get; init; }

    public required IPAddress HomeAddress { get; init; }

    public required IPAddress HomeAgent { get; init; }

    public required ulong Identification { get; init; }

    public override MobileIpMessageType Type => MobileIpMessageType.RegistrationReply;

    public override int FixedLength => WireLength;

    public string? Nai => Extensions.Find<NaiExtension>()?.Nai;

    protected override void WriteFixed(Span<byte> destination)
    {
        destination[1] = (byte)Code;
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], Lifetime);
        AddressOctets.Write(destination[4..], AddressOctets.Require(HomeAddress));
        AddressOctets.Write(destination[8..], AddressOctets.Require(HomeAgent));
        BinaryPrimitives.WriteUInt64BigEndian(destination[12..], Identification);
    }

    internal static RegistrationReply Read(ReadOnlySpan<byte> octets) => new()
    {
        Code = (RegistrationReplyCode)octets[1],
        Lifetime = BinaryPrimitives.ReadUInt16BigEndian(octets[2..]),
        HomeAddress = AddressOctets.Read(octets[4..]),
        HomeAgent = AddressOctets.Read(octets[8..]),
        Identification = BinaryPrimitives.ReadUInt64BigEndian(octets[12..]),
    };
}
