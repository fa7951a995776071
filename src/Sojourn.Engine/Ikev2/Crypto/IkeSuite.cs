using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>The algorithms of one IKE SA: one transform of each type.</summary>
/// <param name="Integrity"><see cref="IkeIntegrity.None"/> with an AEAD cipher.</param>
/// <param name="AdditionalGroups">Methods of the additional key exchanges in their order (RFC 9370); 0 stands for none.</param>
public sealed record IkeSuite(ushort Encryption, int KeyBits, ushort Integrity, ushort Prf, ushort Group, IReadOnlyList<ushort> AdditionalGroups)
{
    public bool IsAead => Encryption is IkeEncryption.AesGcm16 or IkeEncryption.ChaCha20Poly1305;

    /// <summary>Octets of encryption key, salt included.</summary>
    public int EncryptionKeyLength => Encryption switch
    {
        IkeEncryption.AesGcm16 => (KeyBits / 8) + 4,
        IkeEncryption.ChaCha20Poly1305 => 36,
        _ => KeyBits / 8,
    };

    public int IntegrityKeyLength => Integrity switch
    {
        IkeIntegrity.HmacSha256 => 32,
        IkeIntegrity.HmacSha384 => 48,
        IkeIntegrity.HmacSha512 => 64,
        _ => 0,
    };

    /// <summary>The suite that a chosen proposal describes; null when it is not one transform of each type with known algorithms.</summary>
    public static IkeSuite? From(IReadOnlyList<IkeTransform> chosen)
    {
        ushort? Id(IkeTransformType type) => chosen.FirstOrDefault(t => t.Type == type)?.Id;
        if (chosen.GroupBy(t => t.Type).Any(g => g.Count() > 1) || Id(IkeTransformType.Encryption) is not { } encryption || Id(IkeTransformType.PseudoRandomFunction) is not { } prf
            || Id(IkeTransformType.KeyExchange) is not { } group || !PseudoRandomFunction.IsKnown(prf))
        {
            return null;
        }

        var additional = new List<ushort>();
        for (var type = IkeTransformType.AdditionalKeyExchange1; type <= IkeTransformType.AdditionalKeyExchange7; type++)
        {
            if (Id(type) is { } id and not IkeGroup.None)
            {
                additional.Add(id);
            }
        }

        var bits = chosen.First(t => t.Type == IkeTransformType.Encryption).KeyLength ?? 256;
        var suite = new IkeSuite(encryption, bits, Id(IkeTransformType.Integrity) ?? IkeIntegrity.None, prf, group, additional);
        var known = encryption switch
        {
            IkeEncryption.AesGcm16 or IkeEncryption.ChaCha20Poly1305 => suite.Integrity == IkeIntegrity.None && bits is 128 or 256,
            IkeEncryption.AesCbc => suite.IntegrityKeyLength > 0 && bits is 128 or 256,
            _ => false,
        };
        return known ? suite : null;
    }

    public override string ToString() => $"{Name(Encryption)}-{KeyBits}/{Integrity}/prf {Prf}/group {string.Join('+', [Group, .. AdditionalGroups])}";

    private static string Name(ushort encryption) => encryption switch
    {
        IkeEncryption.AesGcm16 => "aes-gcm-16",
        IkeEncryption.ChaCha20Poly1305 => "chacha20-poly1305",
        _ => "aes-cbc",
    };
}

/// <summary>The keys of one IKE SA (RFC 7296 2.14).</summary>
public sealed record IkeKeys(KeyMaterial Derive, KeyMaterial IntegrityInitiator, KeyMaterial IntegrityResponder, KeyMaterial EncryptionInitiator, KeyMaterial EncryptionResponder, KeyMaterial AuthInitiator, KeyMaterial AuthResponder)
{
    /// <summary>SKEYSEED of a new negotiation: prf(Ni | Nr, g^ir).</summary>
    public static byte[] Seed(IkeSuite suite, ReadOnlySpan<byte> nonces, KeyMaterial shared) => PseudoRandomFunction.Compute(suite.Prf, nonces, shared.Octets);

    /// <summary>SKEYSEED when an IKE SA is rekeyed: prf(SK_d of the old, g^ir | Ni | Nr), with the old one's function (RFC 7296 2.18).</summary>
    public static byte[] SeedOfRekey(ushort oldPrf, KeyMaterial oldDerive, KeyMaterial shared, ReadOnlySpan<byte> nonces) =>
        PseudoRandomFunction.Compute(oldPrf, oldDerive.Octets, [.. shared.Octets, .. nonces]);

    public static IkeKeys FromSeed(IkeSuite suite, ReadOnlySpan<byte> seed, ReadOnlySpan<byte> nonces, ulong initiatorSpi, ulong responderSpi)
    {
        var input = new byte[nonces.Length + 16];
        nonces.CopyTo(input);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt64BigEndian(input.AsSpan(nonces.Length), initiatorSpi);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt64BigEndian(input.AsSpan(nonces.Length + 8), responderSpi);
        var (prf, integrity, encryption) = (PseudoRandomFunction.Length(suite.Prf), suite.IntegrityKeyLength, suite.EncryptionKeyLength);
        var stream = PseudoRandomFunction.Expand(suite.Prf, seed, input, (3 * prf) + (2 * integrity) + (2 * encryption));
        var at = 0;
        KeyMaterial Next(int length)
        {
            at += length;
            return new KeyMaterial(stream.AsSpan(at - length, length));
        }

        var keys = new IkeKeys(Next(prf), Next(integrity), Next(integrity), Next(encryption), Next(encryption), Next(prf), Next(prf));
        System.Security.Cryptography.CryptographicOperations.ZeroMemory(stream);
        return keys;
    }

    public void Wipe()
    {
        foreach (var key in new[] { Derive, IntegrityInitiator, IntegrityResponder, EncryptionInitiator, EncryptionResponder, AuthInitiator, AuthResponder })
        {
            key.Wipe();
        }
    }
}
