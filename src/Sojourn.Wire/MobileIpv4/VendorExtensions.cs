using System.Buffers.Binary;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>
/// Vendor extensions (RFC 3115): critical 38 with two octets of length, normal 134 with one.
/// <code>
/// |   Type 38     |   Reserved    |            Length             |   |   Type 134    |    Length     |           Reserved            |
/// |                        Vendor/Org-ID                          |   |                        Vendor/Org-ID                          |
/// |          Vendor Type          |    Value ...                      |          Vendor Type          |    Value ...
/// </code>
/// </summary>
public sealed record VendorExtension : MobileIpExtension
{
    private readonly OctetString _value;

    private VendorExtension(bool critical, uint enterprise, ushort vendorType, OctetString value)
    {
        Critical = critical;
        Enterprise = enterprise;
        VendorType = vendorType;
        _value = AtMost(critical ? MobileIpv4Limits.LongExtensionData - 6 : MobileIpv4Limits.NormalVendorValue, value);
    }

    /// <summary>A message with a critical extension nobody reads is refused or dropped (RFC 3115 2.3).</summary>
    public static VendorExtension InCritical(uint enterprise, ushort vendorType, OctetString value) => new(true, enterprise, vendorType, value);

    /// <summary>A normal extension nobody reads is passed over.</summary>
    public static VendorExtension InNormal(uint enterprise, ushort vendorType, OctetString value) => new(false, enterprise, vendorType, value);

    public bool Critical { get; }

    /// <summary>Private enterprise number, its high octet 0.</summary>
    public uint Enterprise { get; }

    public ushort VendorType { get; }

    public OctetString Value => _value;

    /// <summary>Eight bits in the critical form, sixteen in the normal one; kept as received.</summary>
    public ushort Reserved { get; private init; }

    public override byte Type => Critical ? (byte)38 : (byte)134;

    public override ExtensionFormat Format => Critical ? ExtensionFormat.Long : ExtensionFormat.TypeLengthValue;

    public override int DataLength => (Critical ? 6 : 8) + _value.Length;

    protected override byte LongSubtype => (byte)Reserved;

    protected override void WriteData(Span<byte> data)
    {
        if (!Critical)
        {
            BinaryPrimitives.WriteUInt16BigEndian(data, Reserved);
            data = data[2..];
        }

        BinaryPrimitives.WriteUInt32BigEndian(data, Enterprise);
        BinaryPrimitives.WriteUInt16BigEndian(data[4..], VendorType);
        _value.Span.CopyTo(data[6..]);
    }

    internal static bool TryReadCritical(byte reserved, ReadOnlySpan<byte> data, int origin, out MobileIpExtension? extension, out WireError error) =>
        TryRead(true, reserved, data, origin, out extension, out error);

    internal static bool TryReadNormal(ReadOnlySpan<byte> data, int origin, out MobileIpExtension? extension, out WireError error)
    {
        if (data.Length < 2)
        {
            extension = null;
            error = new WireError("Reserved", origin, "normal vendor extension is too short for its fixed fields", "RFC 3115 2.2");
            return false;
        }

        return TryRead(false, BinaryPrimitives.ReadUInt16BigEndian(data), data[2..], origin + 2, out extension, out error);
    }

    private static bool TryRead(bool critical, ushort reserved, ReadOnlySpan<byte> data, int origin, out MobileIpExtension? extension, out WireError error)
    {
        extension = null;
        if (data.Length < 6)
        {
            error = new WireError("Vendor/Org-ID", origin, "vendor extension is too short for its fixed fields", "RFC 3115 2.1");
            return false;
        }

        extension = new VendorExtension(critical, BinaryPrimitives.ReadUInt32BigEndian(data), BinaryPrimitives.ReadUInt16BigEndian(data[4..]), data[6..])
        {
            Reserved = reserved,
        };
        error = default;
        return true;
    }
}

/// <summary>Experimental extensions in control messages (RFC 4064 4.1, 4.3): 127 in the long format, 255 in the short one.</summary>
public sealed record ExperimentalExtension : MobileIpExtension
{
    private readonly OctetString _value;

    public ExperimentalExtension(bool skippable, byte subtype, OctetString value)
    {
        MayBeSkipped = skippable;
        Subtype = subtype;
        _value = AtMost(skippable ? MobileIpv4Limits.ShortExtensionData - 1 : MobileIpv4Limits.LongExtensionData, value);
    }

    public bool MayBeSkipped { get; }

    public byte Subtype { get; }

    public OctetString Value => _value;

    public override byte Type => MayBeSkipped ? (byte)255 : (byte)127;

    /// <summary>No experiment of others is known here.</summary>
    public override bool Understood => false;

    public override ExtensionFormat Format => MayBeSkipped ? ExtensionFormat.TypeLengthValue : ExtensionFormat.Long;

    public override int DataLength => (MayBeSkipped ? 1 : 0) + _value.Length;

    protected override byte LongSubtype => Subtype;

    protected override void WriteData(Span<byte> data)
    {
        if (MayBeSkipped)
        {
            data[0] = Subtype;
            data = data[1..];
        }

        _value.Span.CopyTo(data);
    }
}
