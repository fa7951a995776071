namespace Sojourn.Wire.MobileIpv4;

/// <summary>Octets of a field, owned and immutable; compares by content so that message records compare by value.</summary>
public readonly struct OctetString : IEquatable<OctetString>
{
    private readonly byte[]? _octets;

    public OctetString(ReadOnlySpan<byte> octets) => _octets = octets.IsEmpty ? null : octets.ToArray();

    private OctetString(byte[] owned) => _octets = owned;

    public static OctetString Empty => default;

    public int Length => _octets?.Length ?? 0;

    public ReadOnlySpan<byte> Span => _octets;

    public ReadOnlyMemory<byte> Memory => _octets;

    /// <summary>Allocates <paramref name="length"/> octets and lets <paramref name="fill"/> write them.</summary>
    public static OctetString Create(int length, OctetFiller fill)
    {
        var octets = new byte[length];
        fill(octets);
        return new OctetString(octets);
    }

    public byte[] ToArray() => Span.ToArray();

    public bool Equals(OctetString other) => Span.SequenceEqual(other.Span);

    public override bool Equals(object? obj) => obj is OctetString other && Equals(other);

    public override int GetHashCode()
    {
        var hash = default(HashCode);
        hash.AddBytes(Span);
        return hash.ToHashCode();
    }

    public static bool operator ==(OctetString left, OctetString right) => left.Equals(right);

    public static bool operator !=(OctetString left, OctetString right) => !left.Equals(right);

    public static implicit operator OctetString(byte[] octets) => new(octets.AsSpan());

    public static implicit operator OctetString(ReadOnlySpan<byte> octets) => new(octets);

    public override string ToString() => Convert.ToHexStringLower(Span);
}

/// <summary>Writes every octet of <paramref name="destination"/>.</summary>
public delegate void OctetFiller(Span<byte> destination);
