using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine.Ikev2;

namespace Sojourn.Engine.Tests.Ikev2;

/// <summary>A certification authority for tests, and credentials of every kind of key.</summary>
internal sealed class TestAuthority
{
    public static readonly DateTimeOffset Epoch = new(2026, 11, 21, 4, 0, 0, TimeSpan.Zero);
    public static readonly TestAuthority Home = new("home"), Other = new("other");

    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private readonly X509Certificate2 _root;

    public TestAuthority(string name)
    {
        var request = new CertificateRequest($"CN={name} authority", _key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        _root = request.CreateSelfSigned(Epoch.AddYears(-5), Epoch.AddYears(5));
        Trust = new TrustAnchors([_root]);
    }

    public TrustAnchors Trust { get; }

    /// <summary>A certificate for a name, an address or a mailbox.</summary>
    /// <param name="kind"><c>p256</c>, <c>p384</c>, <c>rsa</c> or <c>ed25519</c>.</param>
    public IkeCredential Issue(string name, string kind = "p256", int fromDays = -1, int days = 30, X509KeyUsageFlags usage = X509KeyUsageFlags.DigitalSignature, Uri? url = null)
    {
        CertificateRequest request;
        SigningKey key;
        var subject = new X500DistinguishedName($"CN={name}");
        switch (kind)
        {
            case "rsa":
                var rsa = RSA.Create(2048);
                (key, request) = (SigningKey.From(rsa), new CertificateRequest(subject, rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1));
                break;
            case "ed25519":
                key = SigningKey.FromEd25519(new KeyMaterial(RandomNumberGenerator.GetBytes(32)));
                request = new CertificateRequest(subject, new PublicKey(new Oid("1.3.101.112"), null, new AsnEncodedData(key.Ed25519PublicKey!)), HashAlgorithmName.SHA256);
                break;
            default:
                var ecdsa = ECDsa.Create(kind == "p384" ? ECCurve.NamedCurves.nistP384 : ECCurve.NamedCurves.nistP256);
                (key, request) = (SigningKey.From(ecdsa), new CertificateRequest(subject, ecdsa, HashAlgorithmName.SHA256));
                break;
        }

        var names = new SubjectAlternativeNameBuilder();
        if (IPAddress.TryParse(name, out var address))
        {
            names.AddIpAddress(address);
        }
        else if (name.Contains('@', StringComparison.Ordinal))
        {
            names.AddEmailAddress(name);
        }
        else
        {
            names.AddDnsName(name);
        }

        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509KeyUsageExtension(usage, true));
        var certificate = request.Create(_root.SubjectName, X509SignatureGenerator.CreateForECDsa(_key), Epoch.AddDays(fromDays), Epoch.AddDays(fromDays + days), RandomNumberGenerator.GetBytes(8));
        return new IkeCredential(certificate, [], key, url);
    }
}
