using System.Runtime.InteropServices;

namespace Sojourn.Engine.Ipsec;

/// <summary>AES-GCM and ChaCha20-Poly1305 of libcrypto with the key set up once for an association: a packet costs half of what it costs through the class library.</summary>
internal sealed class EvpCipher(IpsecAlgorithm algorithm, AssociationKeys keys, bool extended) : AeadCipher(keys, extended)
{
    private readonly AssociationKeys _keys = keys;
    private EvpAead? _encrypt, _decrypt;

    public override string Library => "libcrypto";

    public override void Dispose()
    {
        _encrypt?.Dispose();
        _decrypt?.Dispose();
    }

    protected override void Encrypt(ReadOnlySpan<byte> nonce, Span<byte> body, Span<byte> tag, ReadOnlySpan<byte> additional) =>
        (_encrypt ??= new EvpAead(algorithm, _keys.Encryption.Octets[..^SaltLength], encrypts: true)).Encrypt(nonce, body, tag, additional);

    protected override bool Decrypt(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> body, ReadOnlySpan<byte> tag, Span<byte> plaintext, ReadOnlySpan<byte> additional) =>
        (_decrypt ??= new EvpAead(algorithm, _keys.Encryption.Octets[..^SaltLength], encrypts: false)).Decrypt(nonce, body, tag, plaintext, additional);
}

/// <summary>A context of libcrypto (EVP_CIPHER_CTX) that keeps its key, for one direction. libcrypto wipes the key when it is freed.</summary>
internal sealed unsafe partial class EvpAead : SafeHandle
{
    private const string Library = "libcrypto.so.3";
    private const int GetTag = 0x10, SetTag = 0x11, TagLength = 16;

    private static readonly Lazy<bool> s_available = new(() => NativeLibrary.TryLoad(Library, out _)
        && Array.TrueForAll<IpsecAlgorithm>([IpsecAlgorithm.Aes128Gcm16, IpsecAlgorithm.Aes256Gcm16, IpsecAlgorithm.ChaCha20Poly1305],
            algorithm => NativeCiphers.Agrees(algorithm, keys => new EvpCipher(algorithm, keys, extended: true))));

    public EvpAead(IpsecAlgorithm algorithm, ReadOnlySpan<byte> key, bool encrypts)
        : base(0, ownsHandle: true)
    {
        SetHandle(EVP_CIPHER_CTX_new());
        var cipher = algorithm switch { IpsecAlgorithm.Aes128Gcm16 => EVP_aes_128_gcm(), IpsecAlgorithm.Aes256Gcm16 => EVP_aes_256_gcm(), _ => EVP_chacha20_poly1305() };
        fixed (byte* octets = key)
        {
            if (handle == 0 || EVP_CipherInit_ex(handle, cipher, 0, octets, null, encrypts ? 1 : 0) != 1)
            {
                throw new System.Security.Cryptography.CryptographicException("libcrypto refuses the key");
            }
        }
    }

    public static bool IsAvailable => s_available.Value;

    public override bool IsInvalid => handle == 0;

    public void Encrypt(ReadOnlySpan<byte> nonce, Span<byte> body, Span<byte> tag, ReadOnlySpan<byte> additional)
    {
        ObjectDisposedException.ThrowIf(IsClosed, this);
        fixed (byte* iv = nonce, octets = body, icv = tag, covered = additional)
        {
            int written;
            if (EVP_CipherInit_ex(handle, 0, 0, null, iv, -1) != 1 || EVP_CipherUpdate(handle, null, &written, covered, additional.Length) != 1
                || EVP_CipherUpdate(handle, octets, &written, octets, body.Length) != 1 || EVP_CipherFinal_ex(handle, octets + written, &written) != 1
                || EVP_CIPHER_CTX_ctrl(handle, GetTag, TagLength, icv) != 1)
            {
                throw new System.Security.Cryptography.CryptographicException("libcrypto cannot encrypt");
            }
        }
    }

    public bool Decrypt(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> body, ReadOnlySpan<byte> tag, Span<byte> plaintext, ReadOnlySpan<byte> additional)
    {
        ObjectDisposedException.ThrowIf(IsClosed, this);
        fixed (byte* iv = nonce, octets = body, icv = tag, covered = additional, clear = plaintext)
        {
            int written;
            var authentic = EVP_CipherInit_ex(handle, 0, 0, null, iv, -1) == 1 && EVP_CIPHER_CTX_ctrl(handle, SetTag, TagLength, icv) == 1
                && EVP_CipherUpdate(handle, null, &written, covered, additional.Length) == 1 && EVP_CipherUpdate(handle, clear, &written, octets, body.Length) == 1
                && EVP_CipherFinal_ex(handle, clear + written, &written) == 1;
            if (!authentic)
            {
                plaintext.Clear();
            }

            return authentic;
        }
    }

    protected override bool ReleaseHandle()
    {
        EVP_CIPHER_CTX_free(handle);
        return true;
    }

    [LibraryImport(Library)]
    private static partial nint EVP_CIPHER_CTX_new();

    [LibraryImport(Library)]
    private static partial void EVP_CIPHER_CTX_free(nint context);

    [LibraryImport(Library)]
    private static partial nint EVP_aes_128_gcm();

    [LibraryImport(Library)]
    private static partial nint EVP_aes_256_gcm();

    [LibraryImport(Library)]
    private static partial nint EVP_chacha20_poly1305();

    [LibraryImport(Library)]
    private static partial int EVP_CipherInit_ex(nint context, nint cipher, nint engine, byte* key, byte* iv, int encrypts);

    [LibraryImport(Library)]
    private static partial int EVP_CipherUpdate(nint context, byte* output, int* written, byte* input, int length);

    [LibraryImport(Library)]
    private static partial int EVP_CipherFinal_ex(nint context, byte* output, int* written);

    [LibraryImport(Library)]
    private static partial int EVP_CIPHER_CTX_ctrl(nint context, int command, int argument, void* value);
}
