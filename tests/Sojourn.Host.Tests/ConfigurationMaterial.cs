using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine;

namespace Sojourn.Host.Tests;

/// <summary>The keys, certificates and databases that test configurations name, made afresh in a directory of their own.</summary>
public sealed class ConfigurationMaterial : IDisposable
{
    public const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    public ConfigurationMaterial()
    {
        Root = Directory.CreateTempSubdirectory("sojourn-host-").FullName;
        Directory.CreateDirectory(At("keys"));
        Directory.CreateDirectory(At("tls"));
        Secret("keys/k8", 8);
        Secret("keys/k16", 16);
        Secret("keys/k32", 32);
        Secret("keys/k48", 48);
        Write("keys/open", new string('a', 64), Private | UnixFileMode.OtherRead);
        Write("keys/words", "not a secret at all!");
        Write("keys/empty", "\n");
        Write("keys/tsig", "key \"ha1\" { algorithm hmac-sha256; secret \"//8=\"; };\n");
        Write("keys/tsig-md5", "key \"ha1\" { algorithm hmac-md5; secret \"//8=\"; };\n");
        Write("subscribers.db", "");
        Write("ca.db", "");
        Write("prefixes.db", "");

        using var authorityKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=Test authority", authorityKey, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using var authority = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddYears(-2), DateTimeOffset.UtcNow.AddYears(1));
        Write("tls/ca.crt", authority.ExportCertificatePem());
        Certificate(authority, "fa1", "fa1.visited.example", DateTimeOffset.UtcNow.AddDays(30));
        Certificate(authority, "other", "other.visited.example", DateTimeOffset.UtcNow.AddDays(30));
        Certificate(authority, "old", "fa1.visited.example", DateTimeOffset.UtcNow.AddDays(-1));
        Certificate(authority, "node", "node1.visited.example", DateTimeOffset.UtcNow.AddDays(30));
        Certificate(authority, "ha1", "2001:db8:a::1", DateTimeOffset.UtcNow.AddDays(30));
        File.Copy(At("tls/fa1.key"), At("tls/open.key"));
        File.SetUnixFileMode(At("tls/open.key"), Private | UnixFileMode.GroupRead);
    }

    public string Root { get; }

    public string At(string name) => Path.Combine(Root, name);

    public string Write(string name, string text, UnixFileMode mode = Private)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(At(name))!);
        File.WriteAllText(At(name), text);
        File.SetUnixFileMode(At(name), mode);
        return At(name);
    }

    public byte[] Secret(string name, int octets)
    {
        var secret = SystemRandomSource.Instance.NextBytes(octets);
        Write(name, Convert.ToHexString(secret));
        return secret;
    }

    public void Dispose() => Directory.Delete(Root, recursive: true);

    private void Certificate(X509Certificate2 authority, string name, string host, DateTimeOffset end)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={host}", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        if (IPAddress.TryParse(host, out var address))
        {
            names.AddIpAddress(address);
        }
        else
        {
            names.AddDnsName(host);
        }

        request.CertificateExtensions.Add(names.Build());
        using var certificate = request.Create(authority, DateTimeOffset.UtcNow.AddYears(-1), end, SystemRandomSource.Instance.NextBytes(8));
        Write($"tls/{name}.crt", certificate.ExportCertificatePem());
        Write($"tls/{name}.key", key.ExportPkcs8PrivateKeyPem());
    }
}
