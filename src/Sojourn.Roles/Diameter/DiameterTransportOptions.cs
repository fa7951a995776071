using System.Net;
using System.Security.Cryptography.X509Certificates;

namespace Sojourn.Roles.Diameter;

/// <summary>Where a node listens, how it proves itself, and what a stranger may cost it.</summary>
public sealed record DiameterTransportOptions
{
    public IReadOnlyList<DiameterListener> Listeners { get; init; } = [];

    /// <summary>Needed for every listener and every connection with TLS.</summary>
    public DiameterTlsIdentity? Tls { get; init; }

    /// <summary>Plain TCP listeners and dialling; off by default (spec network-vpn M2).</summary>
    public bool AllowPlainTcp { get; init; }

    public int MaximumConnections { get; init; } = 1024;

    public int MaximumConnectionsPerSource { get; init; } = 64;

    /// <summary>Connections whose TLS handshake is not finished.</summary>
    public int MaximumHandshakes { get; init; } = 64;

    /// <summary>TCP connect and TLS handshake together.</summary>
    public TimeSpan HandshakeTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Octets waiting to be written to one peer; a peer that reads slower is disconnected.</summary>
    public int MaximumQueuedOctets { get; init; } = 8 * 1024 * 1024;

    /// <summary>Told of every accepted connection that was closed before it became a peer's: from where, why.</summary>
    public Action<IPEndPoint, string>? Refused { get; init; }

    /// <summary>How long a graceful close may take to write what is queued.</summary>
    public TimeSpan CloseTimeout { get; init; } = TimeSpan.FromSeconds(5);
}

/// <param name="Secured">TLS from the first octet (port 5658, RFC 6733 section 2.1).</param>
public sealed record DiameterListener(IPEndPoint EndPoint, bool Secured = true);

/// <summary>Own certificate chain and the only roots that peers' certificates may lead to.</summary>
public sealed class DiameterTlsIdentity : IDisposable
{
    public DiameterTlsIdentity(X509Certificate2 certificate, X509Certificate2Collection intermediates, X509Certificate2Collection trustAnchors)
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
    public static DiameterTlsIdentity FromPemFiles(string certificateFile, string keyFile, string authorityFile)
    {
        var certificate = X509Certificate2.CreateFromPemFile(certificateFile, keyFile);
        var chain = new X509Certificate2Collection();
        chain.ImportFromPemFile(certificateFile);
        chain.RemoveAt(0);
        var anchors = new X509Certificate2Collection();
        anchors.ImportFromPemFile(authorityFile);
        return new DiameterTlsIdentity(certificate, chain, anchors);
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
