using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Security.Cryptography;

namespace Sojourn.Engine.Ipsec;

/// <summary>
/// AES-GCM of Intel's library for IPsec (libipsec-mb), with the hash key's powers worked out once for an association. Packet by packet: the
/// library computes GCM of one packet at a time in its batches too, since one packet fills the processor's pipelines already.
/// </summary>
internal sealed class MultiBufferGcmCipher(AssociationKeys keys, bool extended) : AeadCipher(keys, extended)
{
    private readonly AssociationKeys _keys = keys;
    private MultiBufferGcm? _gcm;

    public override string Library => "libipsec-mb";

    private MultiBufferGcm Gcm => _gcm ??= new MultiBufferGcm(_keys.Encryption.Octets[..^SaltLength]);

    public override void Dispose() => _gcm?.Dispose();

    protected override void Encrypt(ReadOnlySpan<byte> nonce, Span<byte> body, Span<byte> tag, ReadOnlySpan<byte> additional) => Gcm.Encrypt(nonce, body, tag, additional);

    protected override bool Decrypt(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> body, ReadOnlySpan<byte> tag, Span<byte> plaintext, ReadOnlySpan<byte> additional) =>
        Gcm.Decrypt(nonce, body, tag, plaintext, additional);
}

/// <summary>One key of AES-GCM, expanded as the library wants it (struct gcm_key_data). The state of one packet (struct gcm_context_data) is on the stack.</summary>
internal sealed unsafe class MultiBufferGcm : SafeHandle
{
    private const int KeyData = 1024, Context = 128, Alignment = 64, TagLength = 16;

    private readonly delegate* unmanaged<void*, void*, byte*, byte*, ulong, byte*, byte*, ulong, byte*, ulong, void> _encrypt, _decrypt;

    public MultiBufferGcm(ReadOnlySpan<byte> key)
        : base(0, ownsHandle: true)
    {
        var functions = key.Length == 16 ? MultiBufferLibrary.Aes128 : MultiBufferLibrary.Aes256;
        _encrypt = functions.Encrypt;
        _decrypt = functions.Decrypt;
        SetHandle((nint)NativeMemory.AlignedAlloc(KeyData, Alignment));
        NativeMemory.Clear((void*)handle, KeyData);
        fixed (byte* octets = key)
        {
            functions.Expand(octets, (void*)handle);
        }
    }

    public override bool IsInvalid => handle == 0;

    public void Encrypt(ReadOnlySpan<byte> nonce, Span<byte> body, Span<byte> tag, ReadOnlySpan<byte> additional)
    {
        ObjectDisposedException.ThrowIf(IsClosed, this);
        var state = stackalloc byte[Context + Alignment];
        fixed (byte* iv = nonce, octets = body, icv = tag, covered = additional)
        {
            _encrypt((void*)handle, Aligned(state), octets, octets, (ulong)body.Length, iv, covered, (ulong)additional.Length, icv, TagLength);
        }
    }

    public bool Decrypt(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> body, ReadOnlySpan<byte> tag, Span<byte> plaintext, ReadOnlySpan<byte> additional)
    {
        ObjectDisposedException.ThrowIf(IsClosed, this);
        Span<byte> computed = stackalloc byte[TagLength];
        var state = stackalloc byte[Context + Alignment];
        fixed (byte* iv = nonce, octets = body, icv = computed, covered = additional, clear = plaintext)
        {
            _decrypt((void*)handle, Aligned(state), clear, octets, (ulong)body.Length, iv, covered, (ulong)additional.Length, icv, TagLength);
        }

        // All octets with one instruction: takes the same time wherever they differ.
        var authentic = Vector128.EqualsAll(Vector128.Create<byte>(computed), Vector128.Create(tag));
        if (!authentic)
        {
            plaintext.Clear();
        }

        return authentic;
    }

    private static void* Aligned(byte* room) => (void*)(((nint)room + Alignment - 1) & -Alignment);

    protected override bool ReleaseHandle()
    {
        CryptographicOperations.ZeroMemory(new Span<byte>((void*)handle, KeyData));
        NativeMemory.AlignedFree((void*)handle);
        return true;
    }
}

/// <summary>libipsec-mb as it was found on this machine: the functions for the best instructions that processor and library have in common.</summary>
internal static unsafe class MultiBufferLibrary
{
    private const string Name = "libIPSec_MB.so.1";

    /// <summary>IMB_FEATURE_* of intel-ipsec-mb.h.</summary>
    private const ulong Aes = 1 << 1, Carryless = 1 << 2, Avx = 1 << 5, Avx2 = 1 << 6, Avx512 = 0x1F << 7, VectorAes = 1 << 12, VectorCarryless = 1 << 13;

    private static readonly bool s_loaded;

    static MultiBufferLibrary()
    {
        if (RuntimeInformation.ProcessArchitecture != Architecture.X64 || !NativeLibrary.TryLoad(Name, out var library)
            || !NativeLibrary.TryGetExport(library, "imb_get_feature_flags", out var features))
        {
            return;
        }

        var has = ((delegate* unmanaged<ulong>)features)();
        var instructions = (has & (Aes | Carryless)) != (Aes | Carryless) ? null
            : (has & (Avx512 | VectorAes | VectorCarryless)) == (Avx512 | VectorAes | VectorCarryless) ? "vaes_avx512"
            : (has & Avx512) == Avx512 ? "avx512"
            : (has & Avx2) != 0 ? "avx_gen4"
            : (has & Avx) != 0 ? "avx_gen2"
            : "sse";
        s_loaded = instructions is not null && Functions.TryFind(library, 128, instructions, out Aes128) && Functions.TryFind(library, 256, instructions, out Aes256);
    }

    public static readonly Functions Aes128, Aes256;

    private static readonly Lazy<bool> s_available = new(() => s_loaded
        && Array.TrueForAll<IpsecAlgorithm>([IpsecAlgorithm.Aes128Gcm16, IpsecAlgorithm.Aes256Gcm16],
            algorithm => NativeCiphers.Agrees(algorithm, keys => new MultiBufferGcmCipher(keys, extended: true))));

    public static bool IsAvailable => s_available.Value;

    internal readonly struct Functions
    {
        public readonly delegate* unmanaged<void*, void*, byte*, byte*, ulong, byte*, byte*, ulong, byte*, ulong, void> Encrypt, Decrypt;
        public readonly delegate* unmanaged<void*, void*, void> Expand;

        private Functions(nint encrypt, nint decrypt, nint expand)
        {
            Encrypt = (delegate* unmanaged<void*, void*, byte*, byte*, ulong, byte*, byte*, ulong, byte*, ulong, void>)encrypt;
            Decrypt = (delegate* unmanaged<void*, void*, byte*, byte*, ulong, byte*, byte*, ulong, byte*, ulong, void>)decrypt;
            Expand = (delegate* unmanaged<void*, void*, void>)expand;
        }

        /// <summary>Exported by name for each set of instructions; what the library's own table of functions leads to has no place that an ABI fixes.</summary>
        public static bool TryFind(nint library, int bits, string instructions, out Functions functions)
        {
            functions = default;
            if (!NativeLibrary.TryGetExport(library, $"aes_gcm_enc_{bits}_{instructions}", out var encrypt)
                || !NativeLibrary.TryGetExport(library, $"aes_gcm_dec_{bits}_{instructions}", out var decrypt)
                || !NativeLibrary.TryGetExport(library, $"aes_gcm_pre_{bits}_{instructions}", out var expand))
            {
                return false;
            }

            functions = new Functions(encrypt, decrypt, expand);
            return true;
        }
    }
}
