using System.Formats.Asn1;
using System.Security.Cryptography;
using Sojourn.Wire.Cmp;

namespace Sojourn.Engine.CertificateAuthority;

/// <summary>Whether a public key may be certified.</summary>
public enum KeyFitness : byte
{
    Good,

    /// <summary>No algorithm or curve of spec 7.6.</summary>
    Unsupported,

    /// <summary>RSA below 2048 bits or with a useless exponent, or no uncompressed point.</summary>
    Weak,
}

/// <summary>What became of checking a signature or MAC.</summary>
public enum Verification : byte
{
    Good,
    Wrong,

    /// <summary>An algorithm that is not taken: SHA-1 and MD5 among them.</summary>
    Unsupported,
}

/// <summary>
/// Keys and signatures of requesters (spec 7.6): ECDSA P-256 and P-384, Ed25519, RSA of 2048 to 16,384 bits with PKCS#1 v1.5 or
/// PSS; SHA-256, SHA-384, SHA-512.
/// </summary>
internal static class PublicKeys
{
    private const int LeastRsaBits = 2048;
    private const int MostRsaBits = 16384;

    public static KeyFitness Fitness(ReadOnlyMemory<byte> subjectPublicKeyInfo)
    {
        if (!SubjectPublicKeyInfo.TryParse(subjectPublicKeyInfo, out var key, out _))
        {
            return KeyFitness.Unsupported;
        }

        try
        {
            switch (key.Algorithm.Oid)
            {
                case CmpOids.EcPublicKey when key.NamedCurve is CmpOids.P256 or CmpOids.P384:
                    // Whether the point lies on the curve is seen when the proof of possession is checked with it.
                    return key.Key.Length == (key.NamedCurve == CmpOids.P256 ? 65 : 97) && key.Key.Span[0] == 4 ? KeyFitness.Good : KeyFitness.Weak;

                case CmpOids.Ed25519 when Ed25519.IsAvailable:
                    return key.Key.Length == Ed25519.KeyLength && key.Algorithm.Parameters.IsEmpty ? KeyFitness.Good : KeyFitness.Weak;

                case CmpOids.Rsa:
                    using (var rsa = RSA.Create())
                    {
                        rsa.ImportSubjectPublicKeyInfo(subjectPublicKeyInfo.Span, out _);
                        var exponent = rsa.ExportParameters(false).Exponent!;
                        var fit = rsa.KeySize is >= LeastRsaBits and <= MostRsaBits && (exponent[^1] & 1) == 1 && !(exponent is [1] or [3]);
                        return fit ? KeyFitness.Good : KeyFitness.Weak;
                    }

                default:
                    return KeyFitness.Unsupported;
            }
        }
        catch (CryptographicException)
        {
            return KeyFitness.Weak;
        }
    }

    /// <param name="keys">Where EC keys are kept for the next time; null = nowhere.</param>
    public static Verification Verify(ReadOnlyMemory<byte> subjectPublicKeyInfo, AlgorithmIdentifier algorithm, ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature, VerificationKeys? keys = null)
    {
        if (!SubjectPublicKeyInfo.TryParse(subjectPublicKeyInfo, out var key, out _))
        {
            return Verification.Unsupported;
        }

        if (algorithm.Oid == CmpOids.Ed25519 && key.Algorithm.Oid == CmpOids.Ed25519)
        {
            return Told(Ed25519.Verify(key.Key.Span, data, signature));
        }

        if (HashOf(algorithm) is not { } hash)
        {
            return Verification.Unsupported;
        }

        try
        {
            switch (key.Algorithm.Oid, algorithm.Oid)
            {
                case (CmpOids.EcPublicKey, CmpOids.EcdsaSha256 or CmpOids.EcdsaSha384 or CmpOids.EcdsaSha512):
                    if (keys is not null)
                    {
                        return Told(keys.Of(subjectPublicKeyInfo).VerifyData(data, signature, hash, DSASignatureFormat.Rfc3279DerSequence));
                    }

                    using (var ec = VerificationKeys.Import(subjectPublicKeyInfo))
                    {
                        return Told(ec.VerifyData(data, signature, hash, DSASignatureFormat.Rfc3279DerSequence));
                    }

                case (CmpOids.Rsa, CmpOids.RsaSha256 or CmpOids.RsaSha384 or CmpOids.RsaSha512 or CmpOids.RsaPss):
                    using (var rsa = RSA.Create())
                    {
                        rsa.ImportSubjectPublicKeyInfo(subjectPublicKeyInfo.Span, out _);
                        return Told(rsa.VerifyData(data, signature, hash, algorithm.Oid == CmpOids.RsaPss ? RSASignaturePadding.Pss : RSASignaturePadding.Pkcs1));
                    }

                default:
                    return Verification.Unsupported;
            }
        }
        catch (CryptographicException)
        {
            return Verification.Wrong;
        }
    }

    public static HashAlgorithmName? HashOf(AlgorithmIdentifier algorithm) => algorithm.Oid switch
    {
        CmpOids.EcdsaSha256 or CmpOids.RsaSha256 or CmpOids.Sha256 => HashAlgorithmName.SHA256,
        CmpOids.EcdsaSha384 or CmpOids.RsaSha384 or CmpOids.Sha384 => HashAlgorithmName.SHA384,
        CmpOids.EcdsaSha512 or CmpOids.RsaSha512 or CmpOids.Sha512 => HashAlgorithmName.SHA512,
        CmpOids.RsaPss => PssHash(algorithm.Parameters),
        _ => null,
    };

    public static string KeyHash(ReadOnlyMemory<byte> subjectPublicKeyInfo) => Convert.ToHexStringLower(SHA256.HashData(subjectPublicKeyInfo.Span));

    private static Verification Told(bool holds) => holds ? Verification.Good : Verification.Wrong;

    /// <summary>RSASSA-PSS-params (RFC 4055 3.1): hash, the same hash in MGF1, salt as long as the hash. Defaults are SHA-1 and not taken.</summary>
    private static HashAlgorithmName? PssHash(ReadOnlyMemory<byte> parameters)
    {
        foreach (var (oid, name, length) in new[] { (CmpOids.Sha256, HashAlgorithmName.SHA256, 32), (CmpOids.Sha384, HashAlgorithmName.SHA384, 48), (CmpOids.Sha512, HashAlgorithmName.SHA512, 64) })
        {
            if (parameters.Span.SequenceEqual(PssParameters(AlgorithmIdentifier.WithNull(oid), length)) || parameters.Span.SequenceEqual(PssParameters(new AlgorithmIdentifier(oid), length)))
            {
                return name;
            }
        }

        return null;
    }

    private static byte[] PssParameters(AlgorithmIdentifier hash, int saltLength)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
            {
                hash.Write(writer);
            }

            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 1)))
            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier(CmpOids.Mgf1);
                hash.Write(writer);
            }

            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 2)))
            {
                writer.WriteInteger(saltLength);
            }
        }

        return writer.Encode();
    }
}
