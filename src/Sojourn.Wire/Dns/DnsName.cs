using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Sojourn.Wire.Dns;

/// <summary>
/// A domain name with all its labels (RFC 1035 3.1). Keeps the case it came in and compares without it (RFC 4343).
/// </summary>
public sealed class DnsName : IEquatable<DnsName>
{
    public static readonly DnsName Root = new([0]);

    /// <summary>Labels with their lengths, the root last; never compressed.</summary>
    private readonly byte[] _octets;

    private DnsName(byte[] octets) => _octets = octets;

    /// <summary>Octets on the wire without compression.</summary>
    public int Length => _octets.Length;

    public ReadOnlySpan<byte> Octets => _octets;

    public bool IsRoot => _octets.Length == 1;

    /// <summary>The name without its first label; the root of the root.</summary>
    public DnsName Parent => IsRoot ? this : new DnsName(_octets[(1 + _octets[0])..]);

    /// <summary>Reads a name that is not compressed and fills the octets.</summary>
    public static bool TryParse(ReadOnlySpan<byte> octets, out DnsName name, out WireError error)
    {
        var offset = 0;
        if (!TryRead(octets, ref offset, compressed: false, out name, out error))
        {
            return false;
        }

        if (offset != octets.Length)
        {
            error = new WireError("Name", offset, "octets behind the root", "RFC 1035 3.1");
            return false;
        }

        return true;
    }

    /// <summary>Reads the name at <paramref name="offset"/> of a message and moves behind it.</summary>
    internal static bool TryRead(ReadOnlySpan<byte> message, ref int offset, bool compressed, out DnsName name, out WireError error)
    {
        name = Root;
        error = default;
        Span<byte> read = stackalloc byte[DnsLimits.Name];
        var (length, at, end) = (0, offset, -1);

        // A pointer has to lead to before the labels it stands behind; that is what a prior name is, and it ends every loop.
        var before = offset;
        while (true)
        {
            if (at >= message.Length)
            {
                error = new WireError("Name", at, "ends in the middle", "RFC 1035 3.1");
                return false;
            }

            var octet = message[at];
            switch (octet & 0xC0)
            {
                case 0xC0:
                    if (!compressed)
                    {
                        error = new WireError("Name", at, "is compressed where that is not allowed", "RFC 3597 4");
                        return false;
                    }

                    if (at + 1 >= message.Length)
                    {
                        error = new WireError("Name", at, "ends in the middle of a pointer", "RFC 1035 4.1.4");
                        return false;
                    }

                    var target = ((octet & 0x3F) << 8) | message[at + 1];
                    if (target >= before || target < DnsLimits.Header)
                    {
                        error = new WireError("Name", at, "points to where no earlier name is", "RFC 1035 4.1.4");
                        return false;
                    }

                    end = end < 0 ? at + 2 : end;
                    (before, at) = (target, target);
                    continue;
                case 0:
                    break;
                default:
                    error = new WireError("Name", at, "is of a label type that is not in use", "RFC 6891 5");
                    return false;
            }

            if (length + 1 + octet > DnsLimits.Name || (octet > 0 && length + 1 + octet == DnsLimits.Name))
            {
                error = new WireError("Name", at, "is longer than 255 octets", "RFC 1035 2.3.4");
                return false;
            }

            if (at + 1 + octet > message.Length)
            {
                error = new WireError("Name", at, "ends in the middle", "RFC 1035 3.1");
                return false;
            }

            message.Slice(at, 1 + octet).CopyTo(read[length..]);
            length += 1 + octet;
            at += 1 + octet;
            if (octet == 0)
            {
                offset = end < 0 ? at : end;
                name = length == 1 ? Root : new DnsName(read[..length].ToArray());
                return true;
            }
        }
    }

    /// <summary>A name as people write it, with the escapes of master files (<c>\.</c>, <c>\032</c>; RFC 1035 5.1); the trailing dot may be missing.</summary>
    /// <exception cref="FormatException">No domain name.</exception>
    public static DnsName FromText(string text) => TryFromText(text) ?? throw new FormatException("not a domain name: an empty or too long label or name, or an escape that is none");

    /// <inheritdoc cref="FromText"/>
    /// <returns>Null when it is no domain name.</returns>
    public static DnsName? TryFromText(string text)
    {
        if (text == ".")
        {
            return Root;
        }

        var octets = new List<byte>(text.Length + 2);
        var label = 0;
        octets.Add(0);
        for (var i = 0; i < text.Length; i++)
        {
            int octet = text[i];
            if (octet == '.')
            {
                if (octets.Count - label == 1)
                {
                    return null;
                }

                label = octets.Count;
                octets.Add(0);
                continue;
            }

            if (octet == '\\')
            {
                if (i + 3 < text.Length && byte.TryParse(text.AsSpan(i + 1, 3), NumberStyles.None, CultureInfo.InvariantCulture, out var number))
                {
                    octet = number;
                    i += 3;
                }
                else if (i + 1 < text.Length && !char.IsAsciiDigit(text[i + 1]))
                {
                    octet = text[++i];
                }
                else
                {
                    return null;
                }
            }

            if (octet > 0xFF || octets[label] == DnsLimits.Label || octets.Count > DnsLimits.Name)
            {
                return null;
            }

            octets.Add((byte)octet);
            octets[label]++;
        }

        if (octets.Count - label > 1)
        {
            octets.Add(0);
        }

        return octets.Count is > 1 and <= DnsLimits.Name ? new DnsName([.. octets]) : null;
    }

    /// <summary>The name under which an address is looked up: <c>ip6.arpa</c> (RFC 3596 2.5) or <c>in-addr.arpa</c> (RFC 1035 3.5).</summary>
    public static DnsName OfAddress(IPAddress address)
    {
        var octets = address.GetAddressBytes();
        var text = new StringBuilder();
        for (var i = octets.Length - 1; i >= 0; i--)
        {
            text = address.AddressFamily == AddressFamily.InterNetworkV6
                ? text.Append(CultureInfo.InvariantCulture, $"{octets[i] & 0xF:x}.{octets[i] >> 4:x}.")
                : text.Append(CultureInfo.InvariantCulture, $"{octets[i]}.");
        }

        return FromText(text.Append(address.AddressFamily == AddressFamily.InterNetworkV6 ? "ip6.arpa" : "in-addr.arpa").ToString());
    }

    /// <summary>The name is <paramref name="ancestor"/> or lies below it.</summary>
    public bool IsWithin(DnsName ancestor)
    {
        for (var at = 0; _octets.Length - at >= ancestor.Length; at += 1 + _octets[at])
        {
            if (_octets.Length - at == ancestor.Length)
            {
                return SameButForCase(_octets.AsSpan(at), ancestor._octets);
            }
        }

        return false;
    }

    /// <summary>The octets in lower case: the canonical form that is signed and hashed (RFC 4034 6.2).</summary>
    public byte[] ToCanonical()
    {
        var canonical = new byte[_octets.Length];
        for (var i = 0; i < canonical.Length; i++)
        {
            // A length octet is no letter: 63 lies before them.
            canonical[i] = Lower(_octets[i]);
        }

        return canonical;
    }

    internal int Write(Span<byte> destination)
    {
        _octets.CopyTo(destination);
        return _octets.Length;
    }

    public bool Equals(DnsName? other) => other is not null && SameButForCase(_octets, other._octets);

    public override bool Equals(object? obj) => Equals(obj as DnsName);

    public override int GetHashCode()
    {
        var hash = default(HashCode);
        foreach (var octet in _octets)
        {
            hash.Add(Lower(octet));
        }

        return hash.ToHashCode();
    }

    public static bool operator ==(DnsName? left, DnsName? right) => left is null ? right is null : left.Equals(right);

    public static bool operator !=(DnsName? left, DnsName? right) => !(left == right);

    /// <summary>As in a master file, with the trailing dot.</summary>
    public override string ToString()
    {
        if (IsRoot)
        {
            return ".";
        }

        var text = new StringBuilder(_octets.Length);
        for (var at = 0; _octets[at] != 0; at += 1 + _octets[at])
        {
            foreach (var octet in _octets.AsSpan(at + 1, _octets[at]))
            {
                text = octet switch
                {
                    (byte)'.' or (byte)'\\' or (byte)'"' or (byte)';' or (byte)'(' or (byte)')' or (byte)'@' or (byte)'$' => text.Append('\\').Append((char)octet),
                    > 0x20 and < 0x7F => text.Append((char)octet),
                    _ => text.Append(CultureInfo.InvariantCulture, $"\\{octet:D3}"),
                };
            }

            text.Append('.');
        }

        return text.ToString();
    }

    private static byte Lower(byte octet) => octet is >= (byte)'A' and <= (byte)'Z' ? (byte)(octet | 0x20) : octet;

    private static bool SameButForCase(ReadOnlySpan<byte> one, ReadOnlySpan<byte> other)
    {
        if (one.Length != other.Length)
        {
            return false;
        }

        for (var i = 0; i < one.Length; i++)
        {
            if (Lower(one[i]) != Lower(other[i]))
            {
                return false;
            }
        }

        return true;
    }
}
