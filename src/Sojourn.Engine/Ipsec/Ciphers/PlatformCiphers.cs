using System.Buffers.Binary;
using System.Security.Cryptography;
using Sojourn.Wire.Ipsec;

namespace Sojourn.Engine.Ipsec;

/// <summary>
/// Ciphers of the .NET class library, one set of native contexts per association; those of an AEAD are made for its first
/// packet, since most of the associations of a hundred thousand users carry none. Readings taken:
/// RFC 4543 covers the IV of an ESP packet as part of the additional data, as Linux and the published test case do;
/// in AH the whole ICV field, IV included, counts as zero (RFC 4302 3.3.3.1.1.1).
/// Known cost: the library reports a wrong AEAD tag by an exception, some microseconds per forged packet; it is caught
/// here and goes no further.
/// </summary>
public sealed class PlatformCiphers : ICipherProvider
{
    public static readonly PlatformCiphers Instance = new();

    public IPacketCipher CreateCipher(IpsecAlgorithm algorithm, AssociationKeys keys, bool extendedSequence) => algorithm switch
    {
        IpsecAlgorithm.Aes128Gcm16 or IpsecAlgorithm.Aes256Gcm16 => new GcmCipher(keys, extendedSequence),
        IpsecAlgorithm.ChaCha20Poly1305 => new ChaChaCipher(keys, extendedSequence),
        IpsecAlgorithm.Aes128CbcHmacSha256 or IpsecAlgorithm.Aes256CbcHmacSha256 => new CbcHmacCipher(keys, extendedSequence),
        IpsecAlgorithm.HmacSha256 => new NullHmacCipher(keys, extendedSequence),
        IpsecAlgorithm.Aes128Gmac or IpsecAlgorithm.Aes256Gmac => new GmacCipher(keys, extendedSequence),
        _ => throw new ArgumentOutOfRangeException(nameof(algorithm), algorithm, "no such suite"),
    };

    public IPacketAuthenticator CreateAuthenticator(IpsecAlgorithm algorithm, AssociationKeys keys) => algorithm switch
    {
        IpsecAlgorithm.HmacSha256 => new HmacAuthenticator(keys),
        IpsecAlgorithm.Aes128Gmac or IpsecAlgorithm.Aes256Gmac => new GmacAuthenticator(keys),
        _ => throw new ArgumentOutOfRangeException(nameof(algorithm), algorithm, "not an AH suite"),
    };
}

internal sealed class GcmCipher(AssociationKeys keys, bool extended) : AeadCipher(keys, extended)
{
    private readonly AssociationKeys _keys = keys;
    private AesGcm? _gcm;

    private AesGcm Gcm => _gcm ??= new AesGcm(_keys.Encryption.Octets[..^SaltLength], TagLength);

    public override void Dispose() => _gcm?.Dispose();

    protected override void Encrypt(ReadOnlySpan<byte> nonce, Span<byte> body, Span<byte> tag, ReadOnlySpan<byte> additional) =>
        Gcm.Encrypt(nonce, body, body, tag, additional);

    protected override bool Decrypt(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> body, ReadOnlySpan<byte> tag, Span<byte> plaintext, ReadOnlySpan<byte> additional)
    {
        try
        {
            Gcm.Decrypt(nonce, body, tag, plaintext, additional);
            return true;
        }
        catch (AuthenticationTagMismatchException)
        {
            return false;
        }
    }
}

internal sealed class ChaChaCipher(AssociationKeys keys, bool extended) : AeadCipher(keys, extended)
{
    private readonly AssociationKeys _keys = keys;
    private ChaCha20Poly1305? _chacha;

    private ChaCha20Poly1305 ChaCha => _chacha ??= new ChaCha20Poly1305(_keys.Encryption.Octets[..^SaltLength]);

    public override void Dispose() => _chacha?.Dispose();

    protected override void Encrypt(ReadOnlySpan<byte> nonce, Span<byte> body, Span<byte> tag, ReadOnlySpan<byte> additional) =>
        ChaCha.Encrypt(nonce, body, body, tag, additional);

    protected override bool Decrypt(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> body, ReadOnlySpan<byte> tag, Span<byte> plaintext, ReadOnlySpan<byte> additional)
    {
        try
        {
            ChaCha.Decrypt(nonce, body, tag, plaintext, additional);
            return true;
        }
        catch (AuthenticationTagMismatchException)
        {
            return false;
        }
    }
}

/// <summary>AES-GMAC as ESP's integrity-only cipher (RFC 4543 3): everything is additional data.</summary>
internal sealed class GmacCipher(AssociationKeys keys, bool extended) : IPacketCipher
{
    private const int TagLength = 16;
    private readonly GmacAuthenticator _gmac = new(keys);
    private byte[] _covered = new byte[2048];

    public IvKind Iv => IvKind.Counter;

    public int IvLength => 8;

    public int IcvLength => TagLength;

    public int Alignment => 4;

    public void Seal(Span<byte> packet, uint sequenceHigh) =>
        _gmac.Compute(Covered(packet, sequenceHigh), packet.Slice(EspHeader.Length, 8), packet[^TagLength..]);

    public bool Open(ReadOnlySpan<byte> packet, uint sequenceHigh, Span<byte> plaintext)
    {
        Span<byte> tag = stackalloc byte[TagLength];
        _gmac.Compute(Covered(packet, sequenceHigh), packet.Slice(EspHeader.Length, 8), tag);
        if (!CryptographicOperations.FixedTimeEquals(tag, packet[^TagLength..]))
        {
            return false;
        }

        packet[(EspHeader.Length + 8)..^TagLength].CopyTo(plaintext);
        return true;
    }

    public void Dispose() => _gmac.Dispose();

    private ReadOnlySpan<byte> Covered(ReadOnlySpan<byte> packet, uint sequenceHigh)
    {
        var plain = packet[..^TagLength];
        if (!extended)
        {
            return plain;
        }

        // The 64-bit sequence number stands behind the SPI (RFC 4543 3.3), so the octets have to be laid out anew.
        if (_covered.Length < plain.Length + 4)
        {
            _covered = new byte[plain.Length + 4];
        }

        plain[..4].CopyTo(_covered);
        BinaryPrimitives.WriteUInt32BigEndian(_covered.AsSpan(4), sequenceHigh);
        plain[4..].CopyTo(_covered.AsSpan(8));
        return _covered.AsSpan(0, plain.Length + 4);
    }
}

/// <summary>AES-GMAC over octets: GCM with everything as additional data. Nonce = salt | IV.</summary>
internal sealed class GmacAuthenticator : IPacketAuthenticator
{
    private readonly AesGcm _gcm;
    private readonly uint _salt;

    public GmacAuthenticator(AssociationKeys keys)
    {
        _gcm = new AesGcm(keys.Encryption.Octets[..^4], 16);
        _salt = BinaryPrimitives.ReadUInt32BigEndian(keys.Encryption.Octets[^4..]);
    }

    public int IvLength => 8;

    public int TagLength => 16;

    public void Compute(ReadOnlySpan<byte> covered, ReadOnlySpan<byte> iv, Span<byte> tag)
    {
        Span<byte> nonce = stackalloc byte[12];
        BinaryPrimitives.WriteUInt32BigEndian(nonce, _salt);
        iv.CopyTo(nonce[4..]);
        _gcm.Encrypt(nonce, [], [], tag, covered);
    }

    public void Dispose() => _gcm.Dispose();
}

/// <summary>HMAC-SHA-256 cut to 128 bits (RFC 4868 2.1) with one kept hash context.</summary>
internal sealed class HmacAuthenticator(AssociationKeys keys) : IPacketAuthenticator
{
    public const int Length = 16;
    private readonly IncrementalHash _hash = IncrementalHash.CreateHMAC(HashAlgorithmName.SHA256, keys.Authentication.Octets);

    public int IvLength => 0;

    public int TagLength => Length;

    public void Compute(ReadOnlySpan<byte> covered, ReadOnlySpan<byte> iv, Span<byte> tag)
    {
        Span<byte> full = stackalloc byte[32];
        _hash.AppendData(covered);
        _hash.GetHashAndReset(full);
        full[..Length].CopyTo(tag);
    }

    /// <summary>ESP's coverage: the packet before the ICV, then the high half of an extended sequence number (RFC 4303 2.2.1).</summary>
    public void ComputeEsp(ReadOnlySpan<byte> packet, bool extended, uint sequenceHigh, Span<byte> tag)
    {
        Span<byte> full = stackalloc byte[32];
        _hash.AppendData(packet[..^Length]);
        if (extended)
        {
            BinaryPrimitives.WriteUInt32BigEndian(full, sequenceHigh);
            _hash.AppendData(full[..4]);
        }

        _hash.GetHashAndReset(full);
        full[..Length].CopyTo(tag);
    }

    public bool CheckEsp(ReadOnlySpan<byte> packet, bool extended, uint sequenceHigh)
    {
        Span<byte> tag = stackalloc byte[Length];
        ComputeEsp(packet, extended, sequenceHigh, tag);
        return CryptographicOperations.FixedTimeEquals(tag, packet[^Length..]);
    }

    public void Dispose() => _hash.Dispose();
}

/// <summary>ESP NULL (RFC 2410) with HMAC-SHA-256-128.</summary>
internal sealed class NullHmacCipher(AssociationKeys keys, bool extended) : IPacketCipher
{
    private readonly HmacAuthenticator _hmac = new(keys);

    public IvKind Iv => IvKind.None;

    public int IvLength => 0;

    public int IcvLength => HmacAuthenticator.Length;

    public int Alignment => 4;

    public void Seal(Span<byte> packet, uint sequenceHigh) =>
        _hmac.ComputeEsp(packet, extended, sequenceHigh, packet[^HmacAuthenticator.Length..]);

    public bool Open(ReadOnlySpan<byte> packet, uint sequenceHigh, Span<byte> plaintext)
    {
        if (!_hmac.CheckEsp(packet, extended, sequenceHigh))
        {
            return false;
        }

        packet[EspHeader.Length..^HmacAuthenticator.Length].CopyTo(plaintext);
        return true;
    }

    public void Dispose() => _hmac.Dispose();
}

/// <summary>
/// AES-CBC (RFC 3602) with HMAC-SHA-256-128, encrypt then authenticate. The class library's one-shot CBC allocates a
/// native context per packet; a kept transform instead goes on chaining from packet to packet. Its chain is steered to
/// the packet's IV by feeding it the one block that encrypts to the IV, D(IV) xor chain.
/// </summary>
internal sealed class CbcHmacCipher : IPacketCipher
{
    private const int Block = 16;
    private readonly HmacAuthenticator _hmac;
    private readonly bool _extended;
    private readonly ICryptoTransform _encrypt;
    private readonly ICryptoTransform _decrypt;
    private readonly ICryptoTransform _decryptBlock;
    private readonly byte[] _chain = new byte[Block];
    private byte[] _input = new byte[2048];
    private byte[] _output = new byte[2048];

    public CbcHmacCipher(AssociationKeys keys, bool extended)
    {
        _hmac = new HmacAuthenticator(keys);
        _extended = extended;
        using var aes = Aes.Create();
        aes.Padding = PaddingMode.None;
        aes.Mode = CipherMode.CBC;
        aes.SetKey(keys.Encryption.Octets);
        aes.IV = new byte[Block];
        _encrypt = aes.CreateEncryptor();
        _decrypt = aes.CreateDecryptor();
        aes.Mode = CipherMode.ECB;
        _decryptBlock = aes.CreateDecryptor();
    }

    public IvKind Iv => IvKind.Unpredictable;

    public int IvLength => Block;

    public int IcvLength => HmacAuthenticator.Length;

    public int Alignment => Block;

    public void Seal(Span<byte> packet, uint sequenceHigh)
    {
        var ivAndBody = packet[EspHeader.Length..^HmacAuthenticator.Length];
        Reserve(ivAndBody.Length);
        ivAndBody.CopyTo(_input);
        _decryptBlock.TransformBlock(_input, 0, Block, _output, 0);
        for (var i = 0; i < Block; i++)
        {
            _input[i] = (byte)(_output[i] ^ _chain[i]);
        }

        _encrypt.TransformBlock(_input, 0, ivAndBody.Length, _output, 0);
        _output.AsSpan(ivAndBody.Length - Block, Block).CopyTo(_chain);
        _output.AsSpan(0, ivAndBody.Length).CopyTo(ivAndBody);
        _hmac.ComputeEsp(packet, _extended, sequenceHigh, packet[^HmacAuthenticator.Length..]);
    }

    public bool Open(ReadOnlySpan<byte> packet, uint sequenceHigh, Span<byte> plaintext)
    {
        var ivAndBody = packet[EspHeader.Length..^HmacAuthenticator.Length];
        if (ivAndBody.Length % Block != 0 || !_hmac.CheckEsp(packet, _extended, sequenceHigh))
        {
            return false;
        }

        // The IV goes in front as one more ciphertext block; what it decrypts to is dropped.
        Reserve(ivAndBody.Length);
        ivAndBody.CopyTo(_input);
        _decrypt.TransformBlock(_input, 0, ivAndBody.Length, _output, 0);
        _output.AsSpan(Block, ivAndBody.Length - Block).CopyTo(plaintext);
        return true;
    }

    public void Dispose()
    {
        _hmac.Dispose();
        _encrypt.Dispose();
        _decrypt.Dispose();
        _decryptBlock.Dispose();
        CryptographicOperations.ZeroMemory(_input);
        CryptographicOperations.ZeroMemory(_output);
    }

    private void Reserve(int length)
    {
        if (_input.Length < length)
        {
            _input = new byte[Math.Max(length, 2 * _input.Length)];
            _output = new byte[_input.Length];
        }
    }
}
