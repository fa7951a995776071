using System.Security.Cryptography;
using System.Security.Cryptography.Pkcs;
using Sojourn.Engine;
using Sojourn.Engine.Ikev2;

namespace Sojourn.Roles.Enrolment;

/// <summary>Kinds of keys that are made here (spec authentication 7.6).</summary>
public enum CredentialKeyKind : byte
{
    P256,
    P384,
    Ed25519,
    Rsa3072,
}

/// <summary>A private key that is not in a store yet.</summary>
public sealed class NewCredentialKey : IDisposable
{
    // PrivateKeyInfo of RFC 8410 up to the seed.
    private static readonly byte[] s_ed25519 = Convert.FromHexString("302e020100300506032b657004220420");

    private NewCredentialKey(byte[] pkcs8, SigningKey key) => (Pkcs8, Key) = (pkcs8, key);

    public SigningKey Key { get; }

    /// <summary>PrivateKeyInfo (RFC 5958), DER.</summary>
    internal byte[] Pkcs8 { get; }

    public static NewCredentialKey Make(CredentialKeyKind kind)
    {
        var pkcs8 = PrivateKeyInfo(kind);
        return new NewCredentialKey(pkcs8, SigningKey.FromPkcs8(pkcs8));
    }

    public void Dispose()
    {
        CryptographicOperations.ZeroMemory(Pkcs8);
        Key.Dispose();
    }

    private static byte[] PrivateKeyInfo(CredentialKeyKind kind)
    {
        switch (kind)
        {
            case CredentialKeyKind.Ed25519:
                var key = new byte[s_ed25519.Length + 32];
                s_ed25519.CopyTo(key, 0);
                RandomNumberGenerator.Fill(key.AsSpan(s_ed25519.Length));
                return key;
            case CredentialKeyKind.Rsa3072:
                using (var rsa = RSA.Create(3072))
                {
                    return rsa.ExportPkcs8PrivateKey();
                }

            default:
                using (var ec = ECDsa.Create(kind == CredentialKeyKind.P384 ? ECCurve.NamedCurves.nistP384 : ECCurve.NamedCurves.nistP256))
                {
                    return ec.ExportPkcs8PrivateKey();
                }
        }
    }
}

/// <summary>Private keys as they lie in files.</summary>
internal static class PrivateKeyFile
{
    private static readonly PbeParameters s_encryption = new(PbeEncryptionAlgorithm.Aes256Cbc, HashAlgorithmName.SHA256, 100_000);

    /// <summary>How keys and certificates are encrypted under a password.</summary>
    public static PbeParameters Encryption => s_encryption;

    /// <summary>PrivateKeyInfo in DER of the first key of a PEM text. The caller wipes it.</summary>
    /// <exception cref="CryptographicException">There is no key, or the password does not open it.</exception>
    public static byte[] FromPem(ReadOnlySpan<char> pem, string? password)
    {
        if (!PemEncoding.TryFind(pem, out var fields))
        {
            throw new CryptographicException("there is no PEM block");
        }

        switch (pem[fields.Label])
        {
            case "PRIVATE KEY":
                return Decode(pem[fields.Base64Data]);
            case "ENCRYPTED PRIVATE KEY":
                return Decrypt(Decode(pem[fields.Base64Data]), password);
            case "EC PRIVATE KEY":
                using (var ec = ECDsa.Create())
                {
                    ec.ImportFromPem(pem);
                    return ec.ExportPkcs8PrivateKey();
                }

            case "RSA PRIVATE KEY":
                using (var rsa = RSA.Create())
                {
                    rsa.ImportFromPem(pem);
                    return rsa.ExportPkcs8PrivateKey();
                }

            default:
                throw new CryptographicException("the PEM block is no private key");
        }
    }

    public static byte[] Decrypt(ReadOnlyMemory<byte> encrypted, string? password) =>
        Pkcs8PrivateKeyInfo.DecryptAndDecode(password ?? throw new CryptographicException("the key is encrypted and no password file is given"), encrypted, out _).Encode();

    /// <summary>PKCS#8 in PEM, encrypted where there is a password.</summary>
    public static string ToPem(byte[] pkcs8, string? password) => password is null
        ? PemEncoding.WriteString("PRIVATE KEY", pkcs8)
        : PemEncoding.WriteString("ENCRYPTED PRIVATE KEY", Encrypt(pkcs8, password));

    /// <summary>EncryptedPrivateKeyInfo (RFC 5958).</summary>
    public static byte[] Encrypt(byte[] pkcs8, string password) => Pkcs8PrivateKeyInfo.Decode(pkcs8, out _, skipCopy: true).Encrypt(password, s_encryption);

    private static byte[] Decode(ReadOnlySpan<char> base64) => Convert.FromBase64String(base64.ToString());
}
