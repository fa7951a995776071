using System.Buffers.Binary;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>How the head of an extension is laid out (RFC 5944 1.9-1.11).</summary>
public enum ExtensionFormat : byte
{
    /// <summary>One octet of type, nothing else (one-byte padding).</summary>
    Padding,

    /// <summary>Type, one octet of length, data. The short format (1.11) is this with a subtype as first octet of data.</summary>
    TypeLengthValue,

    /// <summary>Type, subtype, two octets of length, data (1.10).</summary>
    Long,
}

/// <summary>
/// One extension of a Mobile IPv4 control message or of a router advertisement. Reserved octets are kept, so that
/// writing a parsed message gives the received octets back and authenticators stay valid over a relay.
/// </summary>
public abstract record MobileIpExtension
{
    public abstract byte Type { get; }

    /// <summary>Numbers 128-255 may be passed over by who does not know them; 0-127 make the message be dropped (RFC 5944 1.8).</summary>
    public bool Skippable => Type >= 128;

    /// <summary>False when this codec has no reading for the extension; it still survives a round trip.</summary>
    public virtual bool Understood => true;

    public virtual ExtensionFormat Format => ExtensionFormat.TypeLengthValue;

    /// <summary>Octets of data, as the length field counts them.</summary>
    public abstract int DataLength { get; }

    /// <summary>Octets on the wire, head included.</summary>
    public int Length => HeadLength + DataLength;

    /// <summary>Octets before the data.</summary>
    public int HeadLength => Format switch
    {
        ExtensionFormat.Padding => 1,
        ExtensionFormat.TypeLengthValue => 2,
        _ => 4,
    };

    /// <summary>Second octet of the long format: subtype, or reserved (RFC 3115).</summary>
    protected virtual byte LongSubtype => 0;

    protected abstract void WriteData(Span<byte> data);

    /// <summary>Writes the extension and returns <see cref="Length"/>.</summary>
    /// <exception cref="ArgumentException">The destination is too short.</exception>
    public int Write(Span<byte> destination)
    {
        if (destination.Length < Length)
        {
            throw new ArgumentException("destination is shorter than the extension", nameof(destination));
        }

        destination[0] = Type;
        switch (Format)
        {
            case ExtensionFormat.TypeLengthValue:
                destination[1] = (byte)DataLength;
                break;
            case ExtensionFormat.Long:
                destination[1] = LongSubtype;
                BinaryPrimitives.WriteUInt16BigEndian(destination[2..], (ushort)DataLength);
                break;
        }

        WriteData(destination.Slice(HeadLength, DataLength));
        return Length;
    }

    /// <summary>Refuses data no length field could express; a mistake of the caller, never of a peer.</summary>
    private protected static OctetString AtMost(int limit, OctetString value) => value.Length <= limit
        ? value
        : throw new ArgumentException($"an extension of this kind carries at most {limit} octets here, not {value.Length}", nameof(value));
}

/// <summary>An extension this codec does not read: an unassigned number, or a known number with an unknown subtype.</summary>
public sealed record UnknownExtension : MobileIpExtension
{
    private readonly OctetString _data;

    public UnknownExtension(byte type, OctetString data)
    {
        ExtensionType = type;
        _data = AtMost(MobileIpv4Limits.ShortExtensionData, data);
    }

    private UnknownExtension(byte type, byte subtype, OctetString data)
    {
        ExtensionType = type;
        Subtype = subtype;
        _data = AtMost(MobileIpv4Limits.LongExtensionData, data);
    }

    /// <summary>An extension in the long format.</summary>
    public static UnknownExtension InLongFormat(byte type, byte subtype, OctetString data) => new(type, subtype, data);

    public byte ExtensionType { get; }

    /// <summary>Set in the long format only.</summary>
    public byte? Subtype { get; }

    public OctetString Data => _data;

    public override byte Type => ExtensionType;

    public override bool Understood => false;

    public override ExtensionFormat Format => Subtype is null ? ExtensionFormat.TypeLengthValue : ExtensionFormat.Long;

    public override int DataLength => _data.Length;

    protected override byte LongSubtype => Subtype ?? 0;

    protected override void WriteData(Span<byte> data) => _data.Span.CopyTo(data);
}

/// <summary>One-byte padding, type 0 (RFC 5944 2.1.3): makes an ICMP length even.</summary>
public sealed record PaddingExtension : MobileIpExtension
{
    public static readonly PaddingExtension Instance = new();

    public override byte Type => 0;

    public override ExtensionFormat Format => ExtensionFormat.Padding;

    public override int DataLength => 0;

    protected override void WriteData(Span<byte> data)
    {
    }
}
