using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Sojourn.Roles.Diameter;

/// <summary>
/// A P-256 authority for labs and tests: certificates that carry a Diameter identity as DNS name, for both ends of TLS.
/// A real network has its own authority.
/// </summary>
public sealed class LabCertificateAuthority : IDisposable
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private static readonly TimeSpan ClockSkew = TimeSpan.FromHours(1);

    private readonly X509Certificate2 _root;
    private readonly TimeSpan _lifetime;

    public LabCertificateAuthority(string name, TimeSpan lifetime)
    {
        _lifetime = lifetime;
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(NameOf(name), key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        var now = DateTimeOffset.UtcNow;
        _root = request.CreateSelfSigned(now - ClockSkew, now + lifetime);
    }

    public string CertificatePem => _root.ExportCertificatePem();

    /// <summary>A certificate for one node.</summary>
    /// <param name="identity">Its Diameter identity.</param>
    public (string CertificatePem, string KeyPem) Issue(string identity)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(NameOf(identity), key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName(identity);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1"), new Oid("1.3.6.1.5.5.7.3.2")], false));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(_root, true, false));
        var now = DateTimeOffset.UtcNow;
        var end = now + _lifetime < _root.NotAfter ? now + _lifetime : _root.NotAfter;
        Span<byte> serial = stackalloc byte[16];
        RandomNumberGenerator.Fill(serial);
        serial[0] &= 0x7F;
        using var certificate = request.Create(_root, now - ClockSkew, end, serial);
        return (certificate.ExportCertificatePem(), key.ExportPkcs8PrivateKeyPem());
    }

    /// <summary>Writes <c>ca.crt</c> into a folder.</summary>
    /// <returns>Its path.</returns>
    public string WriteAuthority(string folder)
    {
        var path = Path.Combine(folder, "ca.crt");
        File.WriteAllText(path, CertificatePem + "\n");
        return path;
    }

    /// <summary>Issues a certificate into <c>NAME.crt</c> and <c>NAME.key</c> (mode 0600) of a folder.</summary>
    public (string CertificateFile, string KeyFile) Write(string folder, string name, string identity)
    {
        var (certificate, key) = Issue(identity);
        var certificateFile = Path.Combine(folder, name + ".crt");
        var keyFile = Path.Combine(folder, name + ".key");
        File.WriteAllText(certificateFile, certificate + "\n");
        using (var stream = new FileStream(keyFile, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = OwnerOnly }))
        {
            stream.Write(Encoding.ASCII.GetBytes(key + "\n"));
        }

        return (certificateFile, keyFile);
    }

    public void Dispose() => _root.Dispose();

    private static X500DistinguishedName NameOf(string commonName)
    {
        // 64 characters is the upper bound of a common name (RFC 5280 appendix A); the identity proper is the DNS name.
        var builder = new X500DistinguishedNameBuilder();
        builder.AddCommonName(commonName.Length <= 64 ? commonName : commonName[..64]);
        return builder.Build();
    }
}
