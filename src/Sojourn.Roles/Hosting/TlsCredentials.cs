using System.Security.Cryptography.X509Certificates;

namespace Sojourn.Roles.Hosting;

/// <summary>Own certificate chain and the only roots that peers' certificates may lead to; for Diameter and for questions between servers alike.</summary>
public sealed class TlsCredentials : IDisposable
{
    public TlsCredentials(X509Certificate2 certificate, X509Certificate2Collection intermediates, X509Certificate2Collection trustAnchors)
    {
        if (!certificate.HasPrivateKey)
        {
            throw new ArgumentException("the certificate has no private key", nameof(certificate));
        }

        if (trustAnchors.Count == 0)
        {
            throw new ArgumentException("no trust anchor", nameof(trustAnchors));
        }

        Certificate = certificate;
        Intermediates = intermediates;
        TrustAnchors = trustAnchors;
    }

    public X509Certificate2 Certificate { get; }

    public X509Certificate2Collection Intermediates { get; }

    public X509Certificate2Collection TrustAnchors { get; }

    /// <summary>Reads PEM files; the certificate file may hold intermediates behind the certificate.</summary>
    /// <exception cref="IOException">A file cannot be read.</exception>
    /// <exception cref="System.Security.Cryptography.CryptographicException">A file does not hold what it should.</exception>
    public static TlsCredentials FromPemFiles(string certificateFile, string keyFile, string authorityFile)
    {
        var certificate = X509Certificate2.CreateFromPemFile(certificateFile, keyFile);
        var chain = new X509Certificate2Collection();
        chain.ImportFromPemFile(certificateFile);
        chain.RemoveAt(0);
        var anchors = new X509Certificate2Collection();
        anchors.ImportFromPemFile(authorityFile);
        return new TlsCredentials(certificate, chain, anchors);
    }

    public void Dispose()
    {
        Certificate.Dispose();
        foreach (var certificate in Intermediates.Concat(TrustAnchors))
        {
            certificate.Dispose();
        }
    }
}
