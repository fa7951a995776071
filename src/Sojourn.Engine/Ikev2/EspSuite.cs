using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>The algorithms of a child SA.</summary>
internal sealed record EspSuite(IpsecAlgorithm Algorithm, bool ExtendedSequence)
{
    /// <summary>Null when the packet path has no such combination.</summary>
    public static EspSuite? From(IReadOnlyList<IkeTransform> chosen)
    {
        var encryption = chosen.FirstOrDefault(t => t.Type == IkeTransformType.Encryption);
        var integrity = chosen.FirstOrDefault(t => t.Type == IkeTransformType.Integrity)?.Id ?? IkeIntegrity.None;
        var algorithm = (encryption?.Id, encryption?.KeyLength, integrity) switch
        {
            (IkeEncryption.AesGcm16, 128, IkeIntegrity.None) => IpsecAlgorithm.Aes128Gcm16,
            (IkeEncryption.AesGcm16, 256, IkeIntegrity.None) => IpsecAlgorithm.Aes256Gcm16,
            (IkeEncryption.ChaCha20Poly1305, null or 256, IkeIntegrity.None) => IpsecAlgorithm.ChaCha20Poly1305,
            (IkeEncryption.AesCbc, 128, IkeIntegrity.HmacSha256) => IpsecAlgorithm.Aes128CbcHmacSha256,
            (IkeEncryption.AesCbc, 256, IkeIntegrity.HmacSha256) => IpsecAlgorithm.Aes256CbcHmacSha256,
            (IkeEncryption.NullAesGmac, 128, IkeIntegrity.None) => IpsecAlgorithm.Aes128Gmac,
            (IkeEncryption.NullAesGmac, 256, IkeIntegrity.None) => IpsecAlgorithm.Aes256Gmac,
            _ => IpsecAlgorithm.None,
        };
        var esn = chosen.FirstOrDefault(t => t.Type == IkeTransformType.ExtendedSequenceNumbers)?.Id ?? 0;
        return algorithm == IpsecAlgorithm.None || esn > 1 ? null : new EspSuite(algorithm, esn == 1);
    }

    /// <summary>KEYMAT cut in order: from initiator to responder, then back; in each the cipher's key before the authenticator's (RFC 7296 2.17).</summary>
    public (AssociationKeys FromInitiator, AssociationKeys FromResponder) Keys(ushort prf, KeyMaterial derive, ReadOnlySpan<byte> seed)
    {
        var (encryption, authentication) = (Algorithm.EncryptionKeyLength(), Algorithm.AuthenticationKeyLength());
        var material = PseudoRandomFunction.Expand(prf, derive.Octets, seed, 2 * (encryption + authentication));
        var at = 0;
        KeyMaterial Next(int length)
        {
            at += length;
            return new KeyMaterial(material.AsSpan(at - length, length));
        }

        var (first, second) = (new AssociationKeys(Next(encryption), Next(authentication)), new AssociationKeys(Next(encryption), Next(authentication)));
        System.Security.Cryptography.CryptographicOperations.ZeroMemory(material);
        return (first, second);
    }
}
