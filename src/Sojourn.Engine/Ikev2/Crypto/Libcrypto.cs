using System.Runtime.InteropServices;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// What the platform's own classes do not have: X25519, Ed25519 and exponentiation in the MODP groups, from the
/// libcrypto that the platform already has loaded. Pure computation: no file, clock or randomness.
/// </summary>
internal static partial class Libcrypto
{
    /// <summary>Key types of libcrypto (NID).</summary>
    public const int X25519 = 1034, Ed25519 = 1087;

    private const string Library = "libcrypto.so.3";
    private const int KeyLength = 32;

    public static bool IsAvailable { get; } = NativeLibrary.TryLoad(Library, out _);

    public static byte[] PublicOf(int type, ReadOnlySpan<byte> privateKey)
    {
        using var key = new RawKey(type, privateKey);
        return key.PublicValue();
    }

    /// <summary>A private key of 32 octets inside libcrypto, which wipes it when it is freed.</summary>
    public sealed class RawKey : SafeHandle
    {
        private readonly int _type;

        public RawKey(int type, ReadOnlySpan<byte> privateKey)
            : base(0, ownsHandle: true)
        {
            _type = type;
            SetHandle(EVP_PKEY_new_raw_private_key(type, 0, privateKey, (nuint)privateKey.Length));
        }

        public override bool IsInvalid => handle == 0;

        public byte[] PublicValue()
        {
            var value = new byte[KeyLength];
            var length = (nuint)KeyLength;
            return handle != 0 && EVP_PKEY_get_raw_public_key(handle, value, ref length) == 1
                ? value
                : throw new System.Security.Cryptography.CryptographicException("libcrypto refuses the private key");
        }

        /// <summary>Null when the peer's value gives no secret.</summary>
        public byte[]? Agree(ReadOnlySpan<byte> peerValue)
        {
            var peer = EVP_PKEY_new_raw_public_key(_type, 0, peerValue, (nuint)peerValue.Length);
            var context = handle == 0 ? 0 : EVP_PKEY_CTX_new(handle, 0);
            var secret = new byte[KeyLength];
            var length = (nuint)KeyLength;
            var ok = context != 0 && peer != 0 && EVP_PKEY_derive_init(context) == 1 && EVP_PKEY_derive_set_peer(context, peer) == 1 && EVP_PKEY_derive(context, secret, ref length) == 1;
            EVP_PKEY_CTX_free(context);
            EVP_PKEY_free(peer);
            return ok ? secret : null;
        }

        protected override bool ReleaseHandle()
        {
            EVP_PKEY_free(handle);
            return true;
        }
    }

    /// <summary>Ed25519 signature, 64 octets (RFC 8032).</summary>
    public static byte[] Sign(ReadOnlySpan<byte> privateKey, ReadOnlySpan<byte> data)
    {
        var key = EVP_PKEY_new_raw_private_key(Ed25519, 0, privateKey, (nuint)privateKey.Length);
        var context = EVP_MD_CTX_new();
        var signature = new byte[64];
        var length = (nuint)signature.Length;
        var ok = key != 0 && EVP_DigestSignInit(context, 0, 0, 0, key) == 1 && EVP_DigestSign(context, signature, ref length, data, (nuint)data.Length) == 1;
        EVP_MD_CTX_free(context);
        EVP_PKEY_free(key);
        return ok ? signature : throw new System.Security.Cryptography.CryptographicException("libcrypto cannot sign with this key");
    }

    public static bool Verify(ReadOnlySpan<byte> publicKey, ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature)
    {
        var key = EVP_PKEY_new_raw_public_key(Ed25519, 0, publicKey, (nuint)publicKey.Length);
        var context = EVP_MD_CTX_new();
        var ok = key != 0 && EVP_DigestVerifyInit(context, 0, 0, 0, key) == 1 && EVP_DigestVerify(context, signature, (nuint)signature.Length, data, (nuint)data.Length) == 1;
        EVP_MD_CTX_free(context);
        EVP_PKEY_free(key);
        return ok;
    }

    /// <summary>value^exponent in the group, as long as the prime (RFC 7296 2.14). Null unless 1 &lt; value &lt; p-1 and the same holds of the result (RFC 6989 2.1).</summary>
    public static byte[]? ModpPower(ushort group, ReadOnlySpan<byte> value, ReadOnlySpan<byte> exponent)
    {
        var length = group switch { IkeGroup.Modp2048 => 256, IkeGroup.Modp3072 => 384, _ => 512 };
        var prime = group switch { IkeGroup.Modp2048 => BN_get_rfc3526_prime_2048(0), IkeGroup.Modp3072 => BN_get_rfc3526_prime_3072(0), _ => BN_get_rfc3526_prime_4096(0) };
        var top = BN_dup(prime);
        var (b, e, r, context) = (BN_bin2bn(value, value.Length, 0), BN_bin2bn(exponent, exponent.Length, 0), BN_new(), BN_CTX_new());
        var output = new byte[length];
        bool Inside(nint number) => BN_cmp(number, BN_value_one()) > 0 && BN_cmp(number, top) < 0;
        var ok = BN_sub_word(top, 1) == 1 && Inside(b) && BN_mod_exp_mont_consttime(r, b, e, prime, context, 0) == 1 && Inside(r) && BN_bn2binpad(r, output, length) == length;
        BN_CTX_free(context);
        BN_clear_free(r);
        BN_clear_free(e);
        BN_free(b);
        BN_free(top);
        BN_free(prime);
        return ok ? output : null;
    }

    [LibraryImport(Library)]
    private static partial nint EVP_PKEY_new_raw_private_key(int type, nint engine, ReadOnlySpan<byte> key, nuint length);

    [LibraryImport(Library)]
    private static partial nint EVP_PKEY_new_raw_public_key(int type, nint engine, ReadOnlySpan<byte> key, nuint length);

    [LibraryImport(Library)]
    private static partial int EVP_PKEY_get_raw_public_key(nint key, Span<byte> value, ref nuint length);

    [LibraryImport(Library)]
    private static partial void EVP_PKEY_free(nint key);

    [LibraryImport(Library)]
    private static partial nint EVP_PKEY_CTX_new(nint key, nint engine);

    [LibraryImport(Library)]
    private static partial void EVP_PKEY_CTX_free(nint context);

    [LibraryImport(Library)]
    private static partial int EVP_PKEY_derive_init(nint context);

    [LibraryImport(Library)]
    private static partial int EVP_PKEY_derive_set_peer(nint context, nint peer);

    [LibraryImport(Library)]
    private static partial int EVP_PKEY_derive(nint context, Span<byte> secret, ref nuint length);

    [LibraryImport(Library)]
    private static partial nint EVP_MD_CTX_new();

    [LibraryImport(Library)]
    private static partial void EVP_MD_CTX_free(nint context);

    [LibraryImport(Library)]
    private static partial int EVP_DigestSignInit(nint context, nint keyContext, nint digest, nint engine, nint key);

    [LibraryImport(Library)]
    private static partial int EVP_DigestSign(nint context, Span<byte> signature, ref nuint length, ReadOnlySpan<byte> data, nuint dataLength);

    [LibraryImport(Library)]
    private static partial int EVP_DigestVerifyInit(nint context, nint keyContext, nint digest, nint engine, nint key);

    [LibraryImport(Library)]
    private static partial int EVP_DigestVerify(nint context, ReadOnlySpan<byte> signature, nuint length, ReadOnlySpan<byte> data, nuint dataLength);

    [LibraryImport(Library)]
    private static partial nint BN_get_rfc3526_prime_2048(nint into);

    [LibraryImport(Library)]
    private static partial nint BN_get_rfc3526_prime_3072(nint into);

    [LibraryImport(Library)]
    private static partial nint BN_get_rfc3526_prime_4096(nint into);

    [LibraryImport(Library)]
    private static partial nint BN_bin2bn(ReadOnlySpan<byte> octets, int length, nint into);

    [LibraryImport(Library)]
    private static partial int BN_bn2binpad(nint number, Span<byte> octets, int length);

    [LibraryImport(Library)]
    private static partial int BN_mod_exp_mont_consttime(nint result, nint value, nint exponent, nint modulus, nint context, nint montgomery);

    [LibraryImport(Library)]
    private static partial int BN_cmp(nint left, nint right);

    [LibraryImport(Library)]
    private static partial int BN_sub_word(nint number, nuint word);

    [LibraryImport(Library)]
    private static partial nint BN_value_one();

    [LibraryImport(Library)]
    private static partial nint BN_dup(nint number);

    [LibraryImport(Library)]
    private static partial nint BN_new();

    [LibraryImport(Library)]
    private static partial void BN_free(nint number);

    [LibraryImport(Library)]
    private static partial void BN_clear_free(nint number);

    [LibraryImport(Library)]
    private static partial nint BN_CTX_new();

    [LibraryImport(Library)]
    private static partial void BN_CTX_free(nint context);
}
