namespace Sojourn.Engine.Ipsec;

/// <summary>
/// The fastest ciphers of this machine, found when they are first asked for: AES-GCM of libipsec-mb where it is installed,
/// AEADs of libcrypto with a context kept for each association, and <see cref="PlatformCiphers"/> for the rest. Each library has
/// to give what the class library gives for one packet before it is used at all.
/// </summary>
public sealed class NativeCiphers : ICipherProvider
{
    public static readonly NativeCiphers Instance = new();

    public IPacketCipher CreateCipher(IpsecAlgorithm algorithm, AssociationKeys keys, bool extendedSequence) => algorithm switch
    {
        IpsecAlgorithm.Aes128Gcm16 or IpsecAlgorithm.Aes256Gcm16 when MultiBufferLibrary.IsAvailable => new MultiBufferGcmCipher(keys, extendedSequence),
        IpsecAlgorithm.Aes128Gcm16 or IpsecAlgorithm.Aes256Gcm16 or IpsecAlgorithm.ChaCha20Poly1305 when EvpAead.IsAvailable => new EvpCipher(algorithm, keys, extendedSequence),
        _ => PlatformCiphers.Instance.CreateCipher(algorithm, keys, extendedSequence),
    };

    public IPacketAuthenticator CreateAuthenticator(IpsecAlgorithm algorithm, AssociationKeys keys) => PlatformCiphers.Instance.CreateAuthenticator(algorithm, keys);

    /// <summary>Whether a cipher seals a packet as the class library does, opens that, and refuses it with a bit changed.</summary>
    internal static bool Agrees(IpsecAlgorithm algorithm, Func<AssociationKeys, IPacketCipher> create)
    {
        var octets = new byte[algorithm.EncryptionKeyLength()];
        for (var i = 0; i < octets.Length; i++)
        {
            octets[i] = (byte)(i * 7);
        }

        var keys = new AssociationKeys(new KeyMaterial(octets), new KeyMaterial([]));
        using var reference = PlatformCiphers.Instance.CreateCipher(algorithm, keys, extendedSequence: true);
        using var cipher = create(keys);
        var clear = new byte[8 + 8 + 300 + 16];
        Array.Fill(clear, (byte)0x5A);
        byte[] expected = [.. clear], made = [.. clear];
        reference.Seal(expected, 1);
        cipher.Seal(made, 1);
        var opened = new byte[300];
        if (!made.AsSpan().SequenceEqual(expected) || !cipher.Open(made, 1, opened) || !opened.AsSpan().SequenceEqual(clear.AsSpan(16, 300)))
        {
            return false;
        }

        made[40] ^= 1;
        return !cipher.Open(made, 1, opened);
    }
}
