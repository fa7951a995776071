using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Sojourn.Wire.Diameter;

/// <summary>Data formats of RFC 6733 sections 4.2 and 4.3.</summary>
public enum AvpType : byte
{
    OctetString,
    Integer32,
    Integer64,
    Unsigned32,
    Unsigned64,
    Float32,
    Float64,
    Grouped,
    Address,
    Time,
    Utf8String,
    DiameterIdentity,
    DiameterUri,
    Enumerated,
    IpFilterRule,
}

/// <summary>
/// Typed readers: false when the data cannot be of that type. Readings taken: Address takes the families IPv4 and IPv6
/// only; a Time with its top bit clear lies after 7 February 2036 (RFC 6733 section 4.3.1).
/// </summary>
public sealed partial class Avp
{
    private static readonly UTF8Encoding StrictUtf8 = new(false, true);
    private static readonly DateTimeOffset Era0 = new(1900, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public bool TryReadUnsigned32(out uint value)
    {
        value = Data.Length == 4 ? BinaryPrimitives.ReadUInt32BigEndian(Data.Span) : 0;
        return Data.Length == 4;
    }

    public bool TryReadUnsigned64(out ulong value)
    {
        value = Data.Length == 8 ? BinaryPrimitives.ReadUInt64BigEndian(Data.Span) : 0;
        return Data.Length == 8;
    }

    /// <summary>Integer32 and Enumerated.</summary>
    public bool TryReadInteger32(out int value)
    {
        value = Data.Length == 4 ? BinaryPrimitives.ReadInt32BigEndian(Data.Span) : 0;
        return Data.Length == 4;
    }

    public bool TryReadInteger64(out long value)
    {
        value = Data.Length == 8 ? BinaryPrimitives.ReadInt64BigEndian(Data.Span) : 0;
        return Data.Length == 8;
    }

    public bool TryReadAddress([NotNullWhen(true)] out IPAddress? address)
    {
        var span = Data.Span;
        var family = span.Length >= 2 ? BinaryPrimitives.ReadUInt16BigEndian(span) : 0;
        address = (family, span.Length) is (1, 6) or (2, 18) ? new IPAddress(span[2..]) : null;
        return address is not null;
    }

    /// <summary>Whole seconds, UTC.</summary>
    public bool TryReadTime(out DateTimeOffset time)
    {
        time = default;
        if (!TryReadUnsigned32(out var seconds))
        {
            return false;
        }

        time = Era0.AddSeconds((seconds & 0x8000_0000) != 0 ? seconds : seconds + 0x1_0000_0000L);
        return true;
    }

    /// <summary>UTF8String without a NUL.</summary>
    public bool TryReadText([NotNullWhen(true)] out string? text)
    {
        text = null;
        if (!System.Text.Unicode.Utf8.IsValid(Data.Span) || Data.Span.Contains((byte)0))
        {
            return false;
        }

        text = Encoding.UTF8.GetString(Data.Span);
        return true;
    }

    /// <summary>DiameterIdentity: a host or realm name in ASCII. Compare without regard to case.</summary>
    public bool TryReadIdentity([NotNullWhen(true)] out string? identity)
    {
        identity = null;
        var span = Data.Span;
        if (!IsIdentity(span))
        {
            return false;
        }

        identity = Encoding.ASCII.GetString(span);
        return true;
    }

    /// <summary>Members of a Grouped AVP, one level; their data is a slice of this one's.</summary>
    public bool TryReadGroup(DiameterLimits limits, [NotNullWhen(true)] out AvpList? members, out WireError error) =>
        TryReadGroup(limits, out members, out error, out _);

    /// <summary>Judging a message and acting on it read the same groups, so the members are kept.</summary>
    internal bool TryReadGroup(DiameterLimits limits, [NotNullWhen(true)] out AvpList? members, out WireError error, out Avp? broken)
    {
        members = _members;
        if (members is not null && members.Count <= limits.MaximumAvps)
        {
            error = default;
            broken = null;
            return true;
        }

        if (!AvpList.TryParse(Data, limits, HeaderLength, out members, out error, out broken))
        {
            return false;
        }

        _members = members;
        return true;
    }

    public static Avp OctetString(AvpKey key, ReadOnlySpan<byte> value, AvpFlags flags = AvpFlags.Mandatory) => new(key, flags, value.ToArray());

    public static Avp Unsigned32(AvpKey key, uint value, AvpFlags flags = AvpFlags.Mandatory)
    {
        var data = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(data, value);
        return new Avp(key, flags, data);
    }

    public static Avp Unsigned64(AvpKey key, ulong value, AvpFlags flags = AvpFlags.Mandatory)
    {
        var data = new byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(data, value);
        return new Avp(key, flags, data);
    }

    /// <summary>Integer32 and Enumerated.</summary>
    public static Avp Integer32(AvpKey key, int value, AvpFlags flags = AvpFlags.Mandatory) => Unsigned32(key, (uint)value, flags);

    public static Avp Integer64(AvpKey key, long value, AvpFlags flags = AvpFlags.Mandatory) => Unsigned64(key, (ulong)value, flags);

    public static Avp Address(AvpKey key, IPAddress value, AvpFlags flags = AvpFlags.Mandatory)
    {
        var isIPv4 = value.AddressFamily == AddressFamily.InterNetwork;
        var data = new byte[isIPv4 ? 6 : 18];
        data[1] = isIPv4 ? (byte)1 : (byte)2;
        value.TryWriteBytes(data.AsSpan(2), out _);
        return new Avp(key, flags, data);
    }

    /// <param name="value">Fractions of a second are dropped.</param>
    public static Avp Time(AvpKey key, DateTimeOffset value, AvpFlags flags = AvpFlags.Mandatory) =>
        Unsigned32(key, unchecked((uint)(long)Math.Floor((value - Era0).TotalSeconds)), flags);

    /// <exception cref="ArgumentException">Not encodable as UTF-8.</exception>
    public static Avp Text(AvpKey key, string value, AvpFlags flags = AvpFlags.Mandatory) => new(key, flags, StrictUtf8.GetBytes(value));

    /// <exception cref="ArgumentException">Not a name in ASCII.</exception>
    public static Avp Identity(AvpKey key, string value, AvpFlags flags = AvpFlags.Mandatory)
    {
        var data = Encoding.ASCII.GetBytes(value);
        if (!IsIdentity(data) || !Ascii.IsValid(value))
        {
            throw new ArgumentException($"'{value}' is not a Diameter identity", nameof(value));
        }

        return new Avp(key, flags, data);
    }

    public static Avp Group(AvpKey key, IEnumerable<Avp> members, AvpFlags flags = AvpFlags.Mandatory) => new(key, flags, (members as AvpList ?? new AvpList(members)).ToArray());

    /// <summary>Letters, digits, hyphens, dots and underscores, at most 255: what can be a name in DNS (RFC 6733 section 4.3.1).</summary>
    internal static bool IsIdentity(ReadOnlySpan<byte> name)
    {
        if (name.Length is 0 or > 255)
        {
            return false;
        }

        foreach (var octet in name)
        {
            if (!(char.IsAsciiLetterOrDigit((char)octet) || octet is (byte)'-' or (byte)'.' or (byte)'_'))
            {
                return false;
            }
        }

        return true;
    }
}
