using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine.Tls;

namespace Sojourn.Engine.Tests.Radius;

/// <summary>An authority and what it has certified, P-256.</summary>
internal sealed class TestCredentials
{
    // Valid on virtual time and on the wall's.
    private static readonly DateTimeOffset s_from = new(2020, 1, 1, 0, 0, 0, TimeSpan.Zero), s_until = s_from.AddYears(29);

    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private readonly X509Certificate2 _certificate;

    public TestCredentials(string name = "Test CA")
    {
        var request = new CertificateRequest($"CN={name}", _key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        _certificate = request.CreateSelfSigned(s_from, s_until);
    }

    public ReadOnlyMemory<byte> Anchor => _certificate.RawDataMemory;

    public TlsIdentity Issue(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName(name);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1"), new Oid("1.3.6.1.5.5.7.3.2")], false));
        using var issued = request.Create(_certificate, s_from, s_until, RandomNumberGenerator.GetBytes(8));
        return new TlsIdentity([issued.RawDataMemory], new KeyMaterial(key.ExportPkcs8PrivateKey()));
    }

    public TlsContext Context(string? name = null) => new(name is null ? null : Issue(name), [Anchor]);
}
