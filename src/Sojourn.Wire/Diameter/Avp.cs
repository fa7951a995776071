using System.Buffers.Binary;
using System.Globalization;

namespace Sojourn.Wire.Diameter;

/// <summary>AVP flags (RFC 6733 section 4.1). Bits beyond these are reserved and kept as received.</summary>
[Flags]
public enum AvpFlags : byte
{
    None = 0,
    Vendor = 0x80,
    Mandatory = 0x40,
    Protected = 0x20,
}

/// <summary>What names an attribute: its code within a vendor's space, vendor 0 being the IETF's (RFC 6733 section 4.1).</summary>
public readonly record struct AvpKey(uint Code, uint VendorId = 0)
{
    public override string ToString() => VendorId == 0
        ? Code.ToString(CultureInfo.InvariantCulture)
        : string.Create(CultureInfo.InvariantCulture, $"{VendorId}:{Code}");
}

/// <summary>
/// One attribute-value pair as it stands on the wire; immutable. The data is interpreted only when asked for, so what
/// nobody knows is passed on unchanged.
/// <code>
/// |                           AVP Code                            |
/// |V M P r r r r r|                  AVP Length                   |
/// |                        Vendor-ID (opt)                        |
/// |    Data, padded with zeros to a multiple of four octets
/// </code>
/// </summary>
public sealed partial class Avp
{
    /// <param name="flags">M and P as wanted; V follows from the vendor.</param>
    public Avp(AvpKey key, AvpFlags flags, ReadOnlyMemory<byte> data)
    {
        if (data.Length > 0x00FF_FFFF - 12)
        {
            throw new ArgumentOutOfRangeException(nameof(data), data.Length, "an AVP length has 24 bits");
        }

        Key = key;
        Flags = key.VendorId == 0 ? flags & ~AvpFlags.Vendor : flags | AvpFlags.Vendor;
        Data = data;
    }

    private AvpList? _members;

    private Avp(AvpKey key, byte rawFlags, ReadOnlyMemory<byte> data)
    {
        Key = key;
        Flags = (AvpFlags)rawFlags;
        Data = data;
    }

    public AvpKey Key { get; }

    public AvpFlags Flags { get; }

    /// <summary>Without padding.</summary>
    public ReadOnlyMemory<byte> Data { get; }

    public bool IsMandatory => (Flags & AvpFlags.Mandatory) != 0;

    /// <summary>Octets of header and data, as in the AVP Length field.</summary>
    public int Length => HeaderLength + Data.Length;

    /// <summary>Octets on the wire, padding included.</summary>
    public int PaddedLength => (Length + 3) & ~3;

    private int HeaderLength => (Flags & AvpFlags.Vendor) != 0 ? 12 : 8;

    /// <summary>
    /// Reads the AVP at the start of <paramref name="source"/>, which may go on behind it. The data is a slice, not a copy.
    /// </summary>
    /// <param name="offset">Where <paramref name="source"/> stands in its message; only used in <paramref name="error"/>.</param>
    /// <param name="consumed">Octets used, padding included.</param>
    public static bool TryParse(ReadOnlyMemory<byte> source, int offset, out Avp? avp, out int consumed, out WireError error)
    {
        avp = null;
        consumed = 0;
        error = default;
        var span = source.Span;
        if (span.Length < 8)
        {
            error = new WireError("AVP Header", offset, "cut off", "RFC 6733 section 4.1");
            return false;
        }

        var code = BinaryPrimitives.ReadUInt32BigEndian(span);
        var flags = span[4];
        var length = (int)(BinaryPrimitives.ReadUInt32BigEndian(span[4..]) & 0x00FF_FFFF);
        var header = (flags & (byte)AvpFlags.Vendor) != 0 ? 12 : 8;
        if (length < header)
        {
            error = new WireError("AVP Length", offset + 5, "shorter than the header of the AVP", "RFC 6733 section 4.1");
            return false;
        }

        // The last AVP's padding may be missing from the enclosing length in a group; it is not part of the AVP.
        if (length > span.Length)
        {
            error = new WireError("AVP Length", offset + 5, "reaches beyond what contains the AVP", "RFC 6733 section 4.1");
            return false;
        }

        var vendor = header == 12 ? BinaryPrimitives.ReadUInt32BigEndian(span[8..]) : 0;
        avp = new Avp(new AvpKey(code, vendor), flags, source[header..length]);
        consumed = Math.Min((length + 3) & ~3, span.Length);
        return true;
    }

    /// <summary>An AVP with the code and vendor of what stands at <paramref name="source"/> and no data, for a Failed-AVP; null when not even the header is there.</summary>
    internal static Avp? Remains(ReadOnlySpan<byte> source)
    {
        if (source.Length < 8)
        {
            return null;
        }

        var vendor = (source[4] & (byte)AvpFlags.Vendor) != 0 && source.Length >= 12 ? BinaryPrimitives.ReadUInt32BigEndian(source[8..]) : 0;
        return new Avp(new AvpKey(BinaryPrimitives.ReadUInt32BigEndian(source), vendor), (AvpFlags)source[4] & AvpFlags.Mandatory, default(ReadOnlyMemory<byte>));
    }

    /// <summary>Writes header, data and zero padding; <see cref="PaddedLength"/> octets.</summary>
    public int Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt32BigEndian(destination, Key.Code);
        BinaryPrimitives.WriteUInt32BigEndian(destination[4..], ((uint)Flags << 24) | (uint)Length);
        var header = HeaderLength;
        if (header == 12)
        {
            BinaryPrimitives.WriteUInt32BigEndian(destination[8..], Key.VendorId);
        }

        Data.Span.CopyTo(destination[header..]);
        destination[Length..PaddedLength].Clear();
        return PaddedLength;
    }

    /// <summary>Length only: data may be a key.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"AVP {Key} ({Data.Length} octets)");
}
