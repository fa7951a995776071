using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// Signatures of the AUTH payload: method 14 with ECDSA, RSA-PSS or Ed25519 (RFC 7427, RFC 8420), and methods 9 to 11
/// (RFC 4754) for peers that do not say which hashes they take. RSA with SHA-1 (method 1) is neither made nor taken.
/// </summary>
internal static class IkeSigning
{
    public const string Ed25519Oid = "1.3.101.112";

    private static readonly byte[] s_ed25519 = Convert.FromHexString("300506032b6570");
    private static readonly (ushort Hash, HashAlgorithmName Name, byte[] Ecdsa, byte[] Pss, byte[] Pkcs1)[] s_hashes =
    [
        Row(IkeHash.Sha256, HashAlgorithmName.SHA256, 2, 1, 32, 11),
        Row(IkeHash.Sha384, HashAlgorithmName.SHA384, 3, 2, 48, 12),
        Row(IkeHash.Sha512, HashAlgorithmName.SHA512, 4, 3, 64, 13),
    ];

    /// <summary>What our SIGNATURE_HASH_ALGORITHMS says.</summary>
    public static IReadOnlyList<ushort> Hashes { get; } = Libcrypto.IsAvailable
        ? [IkeHash.Sha256, IkeHash.Sha384, IkeHash.Sha512, IkeHash.Identity]
        : [IkeHash.Sha256, IkeHash.Sha384, IkeHash.Sha512];

    /// <summary>Null when the peer takes no hash that the key can be used with.</summary>
    /// <param name="peerHashes">Null when the peer did not send SIGNATURE_HASH_ALGORITHMS.</param>
    public static AuthenticationPayload? Sign(SigningKey key, IReadOnlyCollection<ushort>? peerHashes, ReadOnlySpan<byte> data)
    {
        if (!key.IsPresent())
        {
            return null;
        }

        if (peerHashes is null)
        {
            return key.Ecdsa is null ? null : key.Ecdsa.KeySize switch
            {
                256 => new AuthenticationPayload(IkeAuthenticationMethod.EcdsaP256, key.Ecdsa.SignData(data, HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation)),
                384 => new AuthenticationPayload(IkeAuthenticationMethod.EcdsaP384, key.Ecdsa.SignData(data, HashAlgorithmName.SHA384, DSASignatureFormat.IeeeP1363FixedFieldConcatenation)),
                _ => new AuthenticationPayload(IkeAuthenticationMethod.EcdsaP521, key.Ecdsa.SignData(data, HashAlgorithmName.SHA512, DSASignatureFormat.IeeeP1363FixedFieldConcatenation)),
            };
        }

        if (key.Ed25519 is { } seed)
        {
            return peerHashes.Contains(IkeHash.Identity) ? Digital(s_ed25519, Libcrypto.Sign(seed.Octets, data)) : null;
        }

        // The hash that fits the curve first, then whatever the peer takes.
        var preferred = key.Ecdsa?.KeySize switch { 384 => IkeHash.Sha384, 521 => IkeHash.Sha512, _ => IkeHash.Sha256 };
        var rows = s_hashes.Where(h => peerHashes.Contains(h.Hash)).OrderByDescending(h => h.Hash == preferred).ToList();
        if (rows.Count == 0)
        {
            return null;
        }

        var row = rows[0];
        return key.Ecdsa is { } ecdsa
            ? Digital(row.Ecdsa, ecdsa.SignData(data, row.Name, DSASignatureFormat.Rfc3279DerSequence))
            : Digital(row.Pss, key.Rsa!.SignData(data, row.Name, RSASignaturePadding.Pss));
    }

    /// <summary>Null when the signature is that of the certificate's key over <paramref name="data"/>; else why not.</summary>
    public static string? Verify(X509Certificate2 certificate, AuthenticationPayload auth, ReadOnlySpan<byte> data)
    {
        try
        {
            return auth.Method switch
            {
                IkeAuthenticationMethod.DigitalSignature => VerifyDigital(certificate, auth.Data.Span, data),
                IkeAuthenticationMethod.EcdsaP256 => VerifyFixed(certificate, 256, HashAlgorithmName.SHA256, auth.Data.Span, data),
                IkeAuthenticationMethod.EcdsaP384 => VerifyFixed(certificate, 384, HashAlgorithmName.SHA384, auth.Data.Span, data),
                IkeAuthenticationMethod.EcdsaP521 => VerifyFixed(certificate, 521, HashAlgorithmName.SHA512, auth.Data.Span, data),
                _ => $"authentication method {(int)auth.Method} is not taken with a certificate",
            };
        }
        catch (CryptographicException)
        {
            return "the signature or the key cannot be read";
        }
    }

    private static string? VerifyDigital(X509Certificate2 certificate, ReadOnlySpan<byte> auth, ReadOnlySpan<byte> data)
    {
        if (auth.IsEmpty || auth[0] + 1 > auth.Length)
        {
            return "the AlgorithmIdentifier is cut short";
        }

        var algorithm = auth.Slice(1, auth[0]);
        var signature = auth[(1 + auth[0])..];
        if (algorithm.SequenceEqual(s_ed25519))
        {
            var raw = certificate.PublicKey.Oid.Value == Ed25519Oid ? certificate.PublicKey.EncodedKeyValue.RawData : [];
            return raw.Length == 32 && Libcrypto.Verify(raw, data, signature) ? null : "the Ed25519 signature is not right";
        }

        foreach (var row in s_hashes)
        {
            if (algorithm.SequenceEqual(row.Ecdsa))
            {
                using var key = certificate.GetECDsaPublicKey();
                return key?.VerifyData(data, signature, row.Name, DSASignatureFormat.Rfc3279DerSequence) == true ? null : "the ECDSA signature is not right";
            }

            var pss = algorithm.SequenceEqual(row.Pss);
            if (pss || algorithm.SequenceEqual(row.Pkcs1))
            {
                using var key = certificate.GetRSAPublicKey();
                return key?.KeySize >= 2048 && key.VerifyData(data, signature, row.Name, pss ? RSASignaturePadding.Pss : RSASignaturePadding.Pkcs1) ? null : "the RSA signature is not right";
            }
        }

        return "the signature algorithm is not taken: " + Convert.ToHexStringLower(algorithm);
    }

    private static string? VerifyFixed(X509Certificate2 certificate, int bits, HashAlgorithmName hash, ReadOnlySpan<byte> signature, ReadOnlySpan<byte> data)
    {
        using var key = certificate.GetECDsaPublicKey();
        return key?.KeySize == bits && key.VerifyData(data, signature, hash, DSASignatureFormat.IeeeP1363FixedFieldConcatenation) ? null : "the ECDSA signature is not right";
    }

    private static AuthenticationPayload Digital(byte[] algorithm, byte[] signature) =>
        new(IkeAuthenticationMethod.DigitalSignature, (byte[])[(byte)algorithm.Length, .. algorithm, .. signature]);

    private static (ushort, HashAlgorithmName, byte[], byte[], byte[]) Row(ushort hash, HashAlgorithmName name, int ecdsa, int sha2, int saltLength, int pkcs1)
    {
        var sha = $"2.16.840.1.101.3.4.2.{sha2}";
        return (hash, name,
            Algorithm($"1.2.840.10045.4.3.{ecdsa}", null),
            Algorithm("1.2.840.113549.1.1.10", w =>
            {
                using (w.PushSequence())
                {
                    using (w.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
                    {
                        w.WriteEncodedValue(Algorithm(sha, x => x.WriteNull()));
                    }

                    using (w.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 1)))
                    {
                        w.WriteEncodedValue(Algorithm("1.2.840.113549.1.1.8", x => x.WriteEncodedValue(Algorithm(sha, y => y.WriteNull()))));
                    }

                    using (w.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 2)))
                    {
                        w.WriteInteger(saltLength);
                    }
                }
            }),
            Algorithm($"1.2.840.113549.1.1.{pkcs1}", w => w.WriteNull()));
    }

    private static byte[] Algorithm(string oid, Action<AsnWriter>? parameters)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(oid);
            parameters?.Invoke(writer);
        }

        return writer.Encode();
    }
}
