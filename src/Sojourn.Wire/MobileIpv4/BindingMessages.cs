using System.Buffers.Binary;
using System.Net;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>Kinds of the project's binding messages.</summary>
public enum BindingMessageKind : byte
{
    Update = 1,
    Acknowledgement = 2,
    Request = 3,
    Warning = 4,
}

[Flags]
public enum BindingUpdateFlags : byte
{
    None = 0,
    AcknowledgementWanted = 0x80,

    /// <summary>The binding goes; lifetime 0.</summary>
    Remove = 0x40,
}

/// <summary>Status of a binding acknowledgement.</summary>
public enum BindingStatus : byte
{
    Accepted = 0,
    Unspecified = 128,
    Prohibited = 129,
    InsufficientResources = 130,
    AuthenticationFailed = 131,
    IdentificationMismatch = 133,
    Malformed = 134,
    CorrespondentNotBehindGateway = 136,
    UnsupportedAlgorithm = 137,
    SpiClash = 138,
    LifetimeTooLong = 139,
    RateLimited = 140,
}

/// <summary>
/// Binding update, acknowledgement, request and warning: experimental messages (RFC 4064 3) in place of the expired
/// draft's numbers, which others have now (spec network-vpn 7.1, docs/wire-extensions.md section 3).
/// <code>
/// |   Type 255    |   Length 26   | Flags/Status  |  Version 1    |
/// |          Lifetime (s)         |     Kind      |   Reserved    |
/// |                         Home Address                          |
/// |                        Care-of Address                        |
/// |                           Supplier                            |
/// |                      Identification (64)                      |
/// |  Extensions ...
/// </code>
/// </summary>
public abstract record BindingMessage : MobileIpMessage
{
    public const int WireLength = 28;
    public const byte CurrentVersion = 1;

    // Octets of the fixed part behind this one. A dissector that knows no such message and takes it for a list of
    // extensions then steps over the fixed part and finds the real ones.
    private const byte FixedPartLength = WireLength - 2;

    public abstract BindingMessageKind Kind { get; }

    /// <summary>Third octet of the message.</summary>
    protected abstract byte FlagsOrStatus { get; }

    /// <summary>Seconds.</summary>
    public ushort Lifetime { get; init; }

    public byte Reserved { get; init; }

    public required IPAddress HomeAddress { get; init; }

    public required IPAddress CareOfAddress { get; init; }

    /// <summary>BU, BA, BW: the home agent or foreign agent that sent the update. BR: the asking gateway.</summary>
    public required IPAddress Supplier { get; init; }

    /// <summary>NTP timestamp of the update; answers and requests repeat it.</summary>
    public required ulong Identification { get; init; }

    public override MobileIpMessageType Type => MobileIpMessageType.Experimental;

    public override int FixedLength => WireLength;

    protected override void WriteFixed(Span<byte> destination)
    {
        destination[1] = FixedPartLength;
        destination[2] = FlagsOrStatus;
        destination[3] = CurrentVersion;
        BinaryPrimitives.WriteUInt16BigEndian(destination[4..], Lifetime);
        destination[6] = (byte)Kind;
        destination[7] = Reserved;
        AddressOctets.Write(destination[8..], AddressOctets.Require(HomeAddress));
        AddressOctets.Write(destination[12..], AddressOctets.Require(CareOfAddress));
        AddressOctets.Write(destination[16..], AddressOctets.Require(Supplier));
        BinaryPrimitives.WriteUInt64BigEndian(destination[20..], Identification);
    }

    /// <summary>The fixed part, which the sealed profile is bound to.</summary>
    public byte[] Header()
    {
        var header = new byte[WireLength];
        header[0] = (byte)Type;
        WriteFixed(header);
        return header;
    }

    /// <summary>Whether an experimental message is one of these; others stay opaque.</summary>
    internal static bool Claims(ReadOnlySpan<byte> datagram) =>
        datagram.Length >= 8 && datagram[1] == FixedPartLength && datagram[3] == CurrentVersion
        && datagram[6] is >= (byte)BindingMessageKind.Update and <= (byte)BindingMessageKind.Warning;

    internal static BindingMessage Read(ReadOnlySpan<byte> octets)
    {
        var lifetime = BinaryPrimitives.ReadUInt16BigEndian(octets[4..]);
        var reserved = octets[7];
        var home = AddressOctets.Read(octets[8..]);
        var careOf = AddressOctets.Read(octets[12..]);
        var supplier = AddressOctets.Read(octets[16..]);
        var identification = BinaryPrimitives.ReadUInt64BigEndian(octets[20..]);
        BindingMessage message = (BindingMessageKind)octets[6] switch
        {
            BindingMessageKind.Update => new BindingUpdate { Flags = (BindingUpdateFlags)octets[2], HomeAddress = home, CareOfAddress = careOf, Supplier = supplier, Identification = identification },
            BindingMessageKind.Acknowledgement => new BindingAcknowledgement { Status = (BindingStatus)octets[2], HomeAddress = home, CareOfAddress = careOf, Supplier = supplier, Identification = identification },
            BindingMessageKind.Request => new BindingRequest { Flags = octets[2], HomeAddress = home, CareOfAddress = careOf, Supplier = supplier, Identification = identification },
            _ => new BindingWarning { Flags = octets[2], HomeAddress = home, CareOfAddress = careOf, Supplier = supplier, Identification = identification },
        };
        return message with { Lifetime = lifetime, Reserved = reserved };
    }
}

/// <summary>BU: tells a gateway where the mobile node is now and carries the sealed VPN profile.</summary>
public sealed record BindingUpdate : BindingMessage
{
    public BindingUpdateFlags Flags { get; init; }

    public bool AcknowledgementWanted => Flags.HasFlag(BindingUpdateFlags.AcknowledgementWanted);

    public bool Remove => Flags.HasFlag(BindingUpdateFlags.Remove);

    public override BindingMessageKind Kind => BindingMessageKind.Update;

    protected override byte FlagsOrStatus => (byte)Flags;
}

/// <summary>BA: the answer; its lifetime is the one granted.</summary>
public sealed record BindingAcknowledgement : BindingMessage
{
    public required BindingStatus Status { get; init; }

    public override BindingMessageKind Kind => BindingMessageKind.Acknowledgement;

    protected override byte FlagsOrStatus => (byte)Status;
}

/// <summary>BR: a gateway whose binding runs out asks the supplier for a new update (spec NV7.13). Its lifetime is what is left.</summary>
public sealed record BindingRequest : BindingMessage
{
    /// <summary>Sent as zero.</summary>
    public byte Flags { get; init; }

    public override BindingMessageKind Kind => BindingMessageKind.Request;

    protected override byte FlagsOrStatus => Flags;
}

/// <summary>BW: tells the supplier that a gateway holds no binding for a node whose packets still come.</summary>
public sealed record BindingWarning : BindingMessage
{
    /// <summary>Sent as zero.</summary>
    public byte Flags { get; init; }

    public override BindingMessageKind Kind => BindingMessageKind.Warning;

    protected override byte FlagsOrStatus => Flags;
}
