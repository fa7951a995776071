using System.Buffers.Binary;
using System.Globalization;

namespace Sojourn.Wire.Dhcpv6;

/// <summary>Kinds of DUID (RFC 8415 11.2 to 11.5).</summary>
public enum DuidType : ushort
{
    LinkLayerTime = 1,
    Enterprise = 2,
    LinkLayer = 3,
    Uuid = 4,
}

/// <summary>A client's or server's DHCP unique identifier: opaque octets, compared as such (RFC 8415 11).</summary>
public readonly struct Duid : IEquatable<Duid>
{
    private readonly byte[]? _octets;

    private Duid(byte[] octets) => _octets = octets;

    public ReadOnlySpan<byte> Octets => _octets;

    public DuidType Type => _octets is null ? 0 : (DuidType)BinaryPrimitives.ReadUInt16BigEndian(_octets);

    /// <summary>Stays the same when the client loses its memory: LL and UUID (spec TA-M29).</summary>
    public bool IsStable => Type is DuidType.LinkLayer or DuidType.Uuid;

    /// <summary>Type 3: hardware type (1 = Ethernet) and link-layer address.</summary>
    public static Duid OfLinkLayer(ushort hardwareType, ReadOnlySpan<byte> address)
    {
        var octets = new byte[4 + address.Length];
        BinaryPrimitives.WriteUInt16BigEndian(octets, (ushort)DuidType.LinkLayer);
        BinaryPrimitives.WriteUInt16BigEndian(octets.AsSpan(2), hardwareType);
        address.CopyTo(octets.AsSpan(4));
        return new Duid(octets);
    }

    /// <summary>Type 4: 16 octets.</summary>
    public static Duid OfUuid(ReadOnlySpan<byte> uuid)
    {
        var octets = new byte[18];
        BinaryPrimitives.WriteUInt16BigEndian(octets, (ushort)DuidType.Uuid);
        uuid[..16].CopyTo(octets.AsSpan(2));
        return new Duid(octets);
    }

    public static bool TryParse(ReadOnlySpan<byte> octets, out Duid duid, out WireError error)
    {
        if (octets.Length is < Dhcpv6Limits.DuidMinimum or > Dhcpv6Limits.DuidLength)
        {
            duid = default;
            error = new WireError("DUID", 0, "3 to 130 octets are allowed", "RFC 8415 11.1");
            return false;
        }

        duid = new Duid(octets.ToArray());
        error = default;
        return true;
    }

    /// <summary>Hexadecimal, with or without colons or hyphens: <c>00:03:00:01:02:…</c>.</summary>
    public static bool TryParseText(string text, out Duid duid)
    {
        duid = default;
        var digits = text.Replace(":", "", StringComparison.Ordinal).Replace("-", "", StringComparison.Ordinal);
        return digits.Length % 2 == 0 && digits.Length <= 2 * Dhcpv6Limits.DuidLength && digits.All(char.IsAsciiHexDigit)
            && TryParse(Convert.FromHexString(digits), out duid, out _);
    }

    public bool Equals(Duid other) => Octets.SequenceEqual(other.Octets);

    public override bool Equals(object? obj) => obj is Duid other && Equals(other);

    public override int GetHashCode()
    {
        var hash = default(HashCode);
        hash.AddBytes(Octets);
        return hash.ToHashCode();
    }

    public static bool operator ==(Duid left, Duid right) => left.Equals(right);

    public static bool operator !=(Duid left, Duid right) => !left.Equals(right);

    public override string ToString() => string.Create(Math.Max(0, (Octets.Length * 3) - 1), this, static (text, duid) =>
    {
        for (var i = 0; i < duid.Octets.Length; i++)
        {
            duid.Octets[i].TryFormat(text[(3 * i)..], out _, "x2", CultureInfo.InvariantCulture);
            if (i > 0)
            {
                text[(3 * i) - 1] = ':';
            }
        }
    });
}
