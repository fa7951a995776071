// Reading: the home address that goes into the derivation is the field of the Registration Request as the mobile node
// sent it, 0.0.0.0 when it asked for an address. The AAAH makes nonces and keys before the home agent assigns one
// (RFC 3957 5 takes the identifier "from the Registration Request" for the same reason).
using System.Net;
using System.Security.Cryptography;
using System.Text;

namespace Sojourn.Engine.MobileIpv4;

/// <summary>
/// Keys from AAA (RFC 3957 5 with HMAC-SHA-256, docs/wire-extensions.md section 2): the AAAH picks a random nonce and
/// hands the key to the agent and the nonce to the mobile node, which computes the same key.
/// </summary>
public static class MobilityKeys
{
    /// <summary>Octets of a key generation nonce made here; RFC 3957 5 asks for 16 or more.</summary>
    public const int NonceLength = 32;

    /// <summary>Octets of a derived key.</summary>
    public const int KeyLength = 32;

    /// <summary>The MN-HA or MN-FA key: HMAC-SHA-256(MN-AAA key, nonce || home address || NAI).</summary>
    /// <param name="homeAddress">Home Address field of the Registration Request.</param>
    /// <param name="nai">The request's NAI as sent; empty when it has none.</param>
    public static KeyMaterial Derive(KeyMaterial mnAaaKey, ReadOnlySpan<byte> nonce, IPAddress homeAddress, string nai)
    {
        // In one piece: a hash that is fed piece by piece needs a native context of its own.
        Span<byte> address = stackalloc byte[16];
        homeAddress.TryWriteBytes(address, out var length);
        byte[] covered = [.. nonce, .. address[..length], .. Encoding.UTF8.GetBytes(nai)];
        Span<byte> key = stackalloc byte[KeyLength];
        HMACSHA256.HashData(mnAaaKey.Octets, covered, key);
        var material = new KeyMaterial(key);
        CryptographicOperations.ZeroMemory(key);
        return material;
    }
}
