using System.Security.Cryptography;

namespace Sojourn.Engine;

/// <summary>
/// Secret octets. Prints as stars, compares in constant time, and can be wiped. Every key in the engines travels in
/// this type so that no log, exception or record print can show one.
/// </summary>
public sealed class KeyMaterial : IEquatable<KeyMaterial>
{
    private readonly byte[] _octets;
    private AesBlocks? _blocks;

    public KeyMaterial(ReadOnlySpan<byte> octets) => _octets = octets.ToArray();

    public int Length => _octets.Length;

    /// <summary>The octets. Do not copy them into anything that outlives the call or is printed.</summary>
    public ReadOnlySpan<byte> Octets => _octets;

    /// <summary>AES under this key, of 16, 24 or 32 octets.</summary>
    internal AesBlocks Blocks => Volatile.Read(ref _blocks) ?? Interlocked.CompareExchange(ref _blocks, AesBlocks.Under(this), null) ?? _blocks!;

    public void Wipe()
    {
        CryptographicOperations.ZeroMemory(_octets);
        Interlocked.Exchange(ref _blocks, null)?.Dispose();
    }

    public bool Equals(KeyMaterial? other) => other is not null && CryptographicOperations.FixedTimeEquals(_octets, other._octets);

    public override bool Equals(object? obj) => Equals(obj as KeyMaterial);

    public override int GetHashCode() => _octets.Length;

    public override string ToString() => "***";
}
