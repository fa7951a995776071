using System.Security.Cryptography;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Cmp;

namespace Sojourn.Engine.Enrolment;

/// <summary>Signatures of requesters: ECDSA with the hash of the curve's size, RSA PKCS#1 v1.5 with SHA-256, Ed25519 (RFC 9481 section 3).</summary>
internal static class CmpSigning
{
    public static AlgorithmIdentifier AlgorithmOf(SigningKey key) => key switch
    {
        { Ed25519: not null } => new AlgorithmIdentifier(CmpOids.Ed25519),
        { Rsa: not null } => AlgorithmIdentifier.WithNull(CmpOids.RsaSha256),
        { Ecdsa.KeySize: 384 } => new AlgorithmIdentifier(CmpOids.EcdsaSha384),
        { Ecdsa.KeySize: 521 } => new AlgorithmIdentifier(CmpOids.EcdsaSha512),
        _ => new AlgorithmIdentifier(CmpOids.EcdsaSha256),
    };

    /// <summary>Null when the key's store has been taken away.</summary>
    public static byte[]? Sign(SigningKey key, ReadOnlySpan<byte> data) => !key.IsPresent() ? null
        : key.Ed25519 is { } seed ? Libcrypto.Sign(seed.Octets, data)
        : key.Rsa is { } rsa ? rsa.SignData(data, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
        : key.Ecdsa!.SignData(data, CertificateAuthority.PublicKeys.HashOf(AlgorithmOf(key))!.Value, DSASignatureFormat.Rfc3279DerSequence);
}
