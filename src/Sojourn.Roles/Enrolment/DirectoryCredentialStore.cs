using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Sojourn.Roles.Configuration;

namespace Sojourn.Roles.Enrolment;

/// <summary>
/// A credential store of PEM files: <c>identifier</c>, <c>key.pem</c> (PKCS#8, may be encrypted), <c>certificate.pem</c> with its
/// intermediates, <c>authorities.pem</c>. Other parts may be pointed at the files.
/// </summary>
/// <remarks>
/// A key update writes <c>key.next.pem</c> and then <c>certificate.next.pem</c>, and then puts both in place. Once both are written the
/// update stands: what a crash left undone is done when the store is opened.
/// </remarks>
internal sealed class DirectoryCredentialStore(string path, string? password) : CredentialStore(path, password)
{
    private const UnixFileMode Public = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    private protected override string KeyPath => At("key.pem");

    private string CertificatePath => At("certificate.pem");

    private string NextKeyPath => At("key.next.pem");

    private string NextCertificatePath => At("certificate.next.pem");

    private protected override void Begin(string identifier, byte[] pkcs8)
    {
        if (Directory.Exists(Path) && Directory.EnumerateFileSystemEntries(Path).Any())
        {
            throw new CredentialStoreException($"{Path} is not empty");
        }

        Directory.CreateDirectory(Path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        Replace(At("identifier"), Encoding.UTF8.GetBytes(identifier + "\n"), Public);
        Replace(KeyPath, Encoding.ASCII.GetBytes(PrivateKeyFile.ToPem(pkcs8, Password)));
    }

    private protected override StoreContent Read()
    {
        FinishUpdate();
        var key = ReadKey(KeyPath);
        var certificates = Certificates(CertificatePath);
        return new StoreContent(
            File.Exists(At("identifier")) ? File.ReadLines(At("identifier")).FirstOrDefault()?.Trim() : null, key, certificates, Certificates(At("authorities.pem")), NeedsOwn: certificates.Count > 0);
    }

    private protected override void Write(byte[]? pkcs8, IReadOnlyList<X509Certificate2> chain, IReadOnlyList<X509Certificate2> authorities)
    {
        Replace(At("authorities.pem"), Pem(authorities), Public);
        if (pkcs8 is null)
        {
            Replace(CertificatePath, Pem(chain), Public);
            return;
        }

        File.Delete(NextCertificatePath);
        Replace(NextKeyPath, Encoding.ASCII.GetBytes(PrivateKeyFile.ToPem(pkcs8, Password)));
        Replace(NextCertificatePath, Pem(chain), Public);
        FinishUpdate();
    }

    private void FinishUpdate()
    {
        if (File.Exists(NextCertificatePath))
        {
            if (File.Exists(NextKeyPath))
            {
                File.Move(NextKeyPath, KeyPath, overwrite: true);
            }

            File.Move(NextCertificatePath, CertificatePath, overwrite: true);
        }
    }

    private byte[] ReadKey(string file)
    {
        if (SecretFile.CheckPrivate(file) is { } fault)
        {
            throw new CredentialStoreException(fault);
        }

        var pem = File.ReadAllText(file).ToCharArray();
        try
        {
            return PrivateKeyFile.FromPem(pem, Password);
        }
        finally
        {
            Array.Clear(pem);
        }
    }

    private static List<X509Certificate2> Certificates(string file)
    {
        var certificates = new X509Certificate2Collection();
        if (File.Exists(file))
        {
            certificates.ImportFromPemFile(file);
        }

        return [.. certificates];
    }

    private static byte[] Pem(IReadOnlyList<X509Certificate2> certificates) =>
        Encoding.ASCII.GetBytes(string.Concat(certificates.Select(c => PemEncoding.WriteString("CERTIFICATE", c.RawDataMemory.Span) + "\n")));

    private string At(string name) => System.IO.Path.Combine(Path, name);
}
