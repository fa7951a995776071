using System.Runtime.InteropServices;

namespace Sojourn.Engine.CertificateAuthority;

/// <summary>Checks Ed25519 signatures (RFC 8032) with the OpenSSL that the platform's own cryptography uses; .NET does not offer them.</summary>
internal static partial class Ed25519
{
    public const int KeyLength = 32;
    public const int SignatureLength = 64;

    private const string Library = "libcrypto.so.3";
    private const int KeyType = 1087;

    private static readonly Lazy<bool> s_available = new(() => NativeLibrary.TryLoad(Library, typeof(Ed25519).Assembly, null, out _));

    /// <summary>Without the library such keys are unsupported.</summary>
    public static bool IsAvailable => s_available.Value;

    public static unsafe bool Verify(ReadOnlySpan<byte> publicKey, ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature)
    {
        if (!IsAvailable || publicKey.Length != KeyLength || signature.Length != SignatureLength)
        {
            return false;
        }

        fixed (byte* keyOctets = publicKey, dataOctets = data, signatureOctets = signature)
        {
            var key = NewPublicKey(KeyType, 0, keyOctets, KeyLength);
            var context = NewContext();
            try
            {
                // An empty span has no address; one octet more than zero of it is never read.
                var nothing = default(byte);
                return key != 0 && context != 0 && VerifyInit(context, 0, 0, 0, key) == 1
                    && Verify(context, signatureOctets, SignatureLength, data.IsEmpty ? &nothing : dataOctets, (nuint)data.Length) == 1;
            }
            finally
            {
                FreeContext(context);
                FreeKey(key);
            }
        }
    }

    [LibraryImport(Library, EntryPoint = "EVP_PKEY_new_raw_public_key")]
    private static unsafe partial nint NewPublicKey(int type, nint engine, byte* key, nuint length);

    [LibraryImport(Library, EntryPoint = "EVP_PKEY_free")]
    private static partial void FreeKey(nint key);

    [LibraryImport(Library, EntryPoint = "EVP_MD_CTX_new")]
    private static partial nint NewContext();

    [LibraryImport(Library, EntryPoint = "EVP_MD_CTX_free")]
    private static partial void FreeContext(nint context);

    [LibraryImport(Library, EntryPoint = "EVP_DigestVerifyInit")]
    private static partial int VerifyInit(nint context, nint keyContext, nint digest, nint engine, nint key);

    [LibraryImport(Library, EntryPoint = "EVP_DigestVerify")]
    private static unsafe partial int Verify(nint context, byte* signature, nuint signatureLength, byte* data, nuint length);
}
