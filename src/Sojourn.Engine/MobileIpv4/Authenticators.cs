using System.Security.Cryptography;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4;

/// <summary>The algorithms authentication extensions are computed with (spec M6).</summary>
public static class Authenticators
{
    /// <summary>Octets of the longest authenticator.</summary>
    public const int LongestLength = 32;

    /// <summary>HMAC-SHA-256 always; HMAC-MD5 and HMAC-SHA-1 only with <c>interop.legacy-authenticators</c>; prefix-suffix MD5 never.</summary>
    public static bool Allows(this AuthenticationAlgorithm algorithm, bool legacyAuthenticators) => algorithm switch
    {
        AuthenticationAlgorithm.HmacSha256 => true,
        AuthenticationAlgorithm.HmacMd5 or AuthenticationAlgorithm.HmacSha1 => legacyAuthenticators,
        _ => false,
    };

    /// <summary>Octets of the authenticator.</summary>
    /// <exception cref="ArgumentOutOfRangeException">An algorithm this node never uses; callers check <see cref="Allows"/> first.</exception>
    public static int AuthenticatorLength(this AuthenticationAlgorithm algorithm) => algorithm switch
    {
        AuthenticationAlgorithm.HmacSha256 => 32,
        AuthenticationAlgorithm.HmacSha1 => 20,
        AuthenticationAlgorithm.HmacMd5 => 16,
        _ => throw new ArgumentOutOfRangeException(nameof(algorithm), algorithm, "not an algorithm for authenticators"),
    };

    /// <summary>Fills <paramref name="authenticator"/>, whose length is <see cref="AuthenticatorLength"/>.</summary>
    public static void Compute(AuthenticationAlgorithm algorithm, KeyMaterial key, ReadOnlySpan<byte> covered, Span<byte> authenticator)
    {
        // RFC 5944 appendix E and RFC 4004 leave only these for peers that know no SHA-256; the switch guards them.
#pragma warning disable CA5350, CA5351
        _ = algorithm switch
        {
            AuthenticationAlgorithm.HmacSha256 => HMACSHA256.HashData(key.Octets, covered, authenticator),
            AuthenticationAlgorithm.HmacSha1 => HMACSHA1.HashData(key.Octets, covered, authenticator),
            AuthenticationAlgorithm.HmacMd5 => HMACMD5.HashData(key.Octets, covered, authenticator),
            _ => throw new ArgumentOutOfRangeException(nameof(algorithm), algorithm, "not an algorithm for authenticators"),
        };
#pragma warning restore CA5350, CA5351
    }

    /// <summary>Compares in constant time. A received authenticator of another length is wrong.</summary>
    public static bool Verify(AuthenticationAlgorithm algorithm, KeyMaterial key, ReadOnlySpan<byte> covered, ReadOnlySpan<byte> received)
    {
        Span<byte> expected = stackalloc byte[LongestLength];
        expected = expected[..algorithm.AuthenticatorLength()];
        Compute(algorithm, key, covered, expected);
        return CryptographicOperations.FixedTimeEquals(expected, received);
    }
}
