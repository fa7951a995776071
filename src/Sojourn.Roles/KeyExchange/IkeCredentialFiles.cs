using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine.Ikev2;

namespace Sojourn.Roles.KeyExchange;

/// <summary>Certificates and keys of key exchanges in PEM files.</summary>
public static class IkeCredentialFiles
{
    /// <summary>A certificate with those between it and its authority, and its private key.</summary>
    /// <exception cref="InvalidDataException">A file cannot be read, or the two do not belong together.</exception>
    public static IkeCredential Read(string certificateFile, string keyFile)
    {
        var certificates = ReadCertificates(certificateFile);
        var key = Guarded(keyFile, () => SigningKey.FromPem(File.ReadAllText(keyFile)));
        return key.Signs(certificates[0])
            ? new IkeCredential(certificates[0], [.. certificates.Skip(1)], key)
            : throw new InvalidDataException($"'{keyFile}' is not the key of the certificate in '{certificateFile}'");
    }

    /// <summary>Every certificate of a file; at least one.</summary>
    /// <exception cref="InvalidDataException">The file cannot be read or has none.</exception>
    public static IReadOnlyList<X509Certificate2> ReadCertificates(string file) => Guarded(file, () =>
    {
        var certificates = new X509Certificate2Collection();
        certificates.ImportFromPemFile(file);
        return certificates.Count > 0 ? (IReadOnlyList<X509Certificate2>)[.. certificates] : throw new InvalidDataException($"'{file}' has no certificate");
    });

    private static T Guarded<T>(string file, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new InvalidDataException($"cannot read '{file}': {e.Message}", e);
        }
    }
}
