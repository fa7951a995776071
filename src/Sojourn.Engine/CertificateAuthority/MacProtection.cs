using System.Security.Cryptography;
using Sojourn.Wire.Cmp;

namespace Sojourn.Engine.CertificateAuthority;

/// <summary>
/// MACs from an enrolment secret (RFC 9810 5.1.3.1, RFC 9481 section 6): PasswordBasedMac and PBMAC1.
/// </summary>
/// <remarks>
/// Reading: HMAC-SHA-1 as the MAC of PasswordBasedMac is taken from requesters, because it is what <c>openssl cmp</c> sends
/// unless told otherwise and HMAC-SHA-1 is not broken; everything this authority makes itself uses SHA-256.
/// </remarks>
internal static class MacProtection
{
    private const int LeastIterations = 100;

    // The requester chooses how much work checking costs, before it is known: about 10 ms at most.
    private const int MostOneWayIterations = 10_000;
    private const int MostDerivationIterations = 20_000;
    private const int SaltLength = 16;
    private const int ShortestSalt = 8;

    public static bool IsMac(AlgorithmIdentifier algorithm) => algorithm.Oid is CmpOids.PasswordBasedMac or CmpOids.Pbmac1;

    public static Verification Verify(AlgorithmIdentifier algorithm, KeyMaterial secret, ReadOnlySpan<byte> part, ReadOnlySpan<byte> mac)
    {
        var made = Compute(algorithm, secret, part);
        return made is null ? Verification.Unsupported : CryptographicOperations.FixedTimeEquals(made, mac) ? Verification.Good : Verification.Wrong;
    }

    /// <summary>The algorithm a response is protected with: of the kind that was asked with, a salt of its own.</summary>
    public static AlgorithmIdentifier ForResponse(AlgorithmIdentifier asked, IRandomSource random)
    {
        var salt = random.NextBytes(SaltLength);
        return asked.Oid == CmpOids.Pbmac1 && Pbmac1Parameters.TryParse(asked.Parameters, out var parameters, out _)
            ? new Pbmac1Parameters(salt, Math.Max(parameters.Iterations, 1000), 32, AlgorithmIdentifier.WithNull(CmpOids.HmacSha256), AlgorithmIdentifier.WithNull(CmpOids.HmacSha256)).ToAlgorithm()
            : new PasswordBasedMacParameters(salt, new AlgorithmIdentifier(CmpOids.Sha256), 500, AlgorithmIdentifier.WithNull(CmpOids.HmacSha256)).ToAlgorithm();
    }

    /// <summary>Null when algorithm or parameters are not taken.</summary>
    public static byte[]? Compute(AlgorithmIdentifier algorithm, KeyMaterial secret, ReadOnlySpan<byte> part)
    {
        if (algorithm.Oid == CmpOids.PasswordBasedMac)
        {
            return PasswordBasedMacParameters.TryParse(algorithm.Parameters, out var parameters, out _) ? PasswordBased(parameters, secret, part) : null;
        }

        return algorithm.Oid == CmpOids.Pbmac1 && Pbmac1Parameters.TryParse(algorithm.Parameters, out var derivation, out _) ? Pbmac1(derivation, secret, part) : null;
    }

    private static byte[]? PasswordBased(PasswordBasedMacParameters parameters, KeyMaterial secret, ReadOnlySpan<byte> part)
    {
        if (parameters.Iterations is < LeastIterations or > MostOneWayIterations || parameters.Salt.Length is < ShortestSalt or > CmpLimits.Identifier
            || PublicKeys.HashOf(parameters.OneWayFunction) is not { } hash || MacOf(parameters.Mac) is not { } mac)
        {
            return null;
        }

        byte[] first = [.. secret.Octets, .. parameters.Salt.Span];
        var key = CryptographicOperations.HashData(hash, first);
        CryptographicOperations.ZeroMemory(first);
        Span<byte> next = stackalloc byte[key.Length];
        for (var i = 1; i < parameters.Iterations; i++)
        {
            CryptographicOperations.HashData(hash, key, next);
            next.CopyTo(key);
        }

        var made = CryptographicOperations.HmacData(mac, key, part);
        CryptographicOperations.ZeroMemory(key);
        CryptographicOperations.ZeroMemory(next);
        return made;
    }

    private static byte[]? Pbmac1(Pbmac1Parameters parameters, KeyMaterial secret, ReadOnlySpan<byte> part)
    {
        if (parameters.Iterations is < LeastIterations or > MostDerivationIterations || parameters.Salt.Length is < ShortestSalt or > CmpLimits.Identifier
            || MacOf(parameters.Prf) is not { } prf || MacOf(parameters.Mac) is not { } mac || mac == HashAlgorithmName.SHA1)
        {
            return null;
        }

        var length = parameters.KeyLength ?? (mac == HashAlgorithmName.SHA256 ? 32 : mac == HashAlgorithmName.SHA384 ? 48 : 64);
        if (length is < 16 or > 128)
        {
            return null;
        }

        var key = Rfc2898DeriveBytes.Pbkdf2(secret.Octets, parameters.Salt.Span, parameters.Iterations, prf, length);
        var made = CryptographicOperations.HmacData(mac, key, part);
        CryptographicOperations.ZeroMemory(key);
        return made;
    }

    private static HashAlgorithmName? MacOf(AlgorithmIdentifier algorithm) => algorithm.Oid switch
    {
        CmpOids.HmacSha1Cmp or CmpOids.HmacSha1 => HashAlgorithmName.SHA1,
        CmpOids.HmacSha256 => HashAlgorithmName.SHA256,
        CmpOids.HmacSha384 => HashAlgorithmName.SHA384,
        CmpOids.HmacSha512 => HashAlgorithmName.SHA512,
        _ => null,
    };
}
