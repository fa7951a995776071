using System.Security.Cryptography;

namespace Sojourn.Engine.CertificateAuthority;

/// <summary>
/// The EC keys that signatures were checked with last, ready to be used again: a requester comes back within a moment to confirm, and to
/// take a key in costs as much as a verification. Bounded; the oldest is forgotten first. One thread at a time.
/// </summary>
internal sealed class VerificationKeys(int most = 256)
{
    private readonly Dictionary<string, ECDsa> _keys = [];
    private readonly Queue<string> _order = [];

    /// <exception cref="CryptographicException">It is no EC key, or its point is not on the curve.</exception>
    public ECDsa Of(ReadOnlyMemory<byte> subjectPublicKeyInfo)
    {
        var hash = PublicKeys.KeyHash(subjectPublicKeyInfo);
        if (_keys.TryGetValue(hash, out var kept))
        {
            return kept;
        }

        var key = Import(subjectPublicKeyInfo);
        if (_order.Count == most)
        {
            _keys.Remove(_order.Dequeue(), out var oldest);
            oldest?.Dispose();
        }

        _keys.Add(hash, key);
        _order.Enqueue(hash);
        return key;
    }

    public static ECDsa Import(ReadOnlyMemory<byte> subjectPublicKeyInfo)
    {
        var key = ECDsa.Create();
        try
        {
            key.ImportSubjectPublicKeyInfo(subjectPublicKeyInfo.Span, out _);
            return key;
        }
        catch
        {
            key.Dispose();
            throw;
        }
    }
}
