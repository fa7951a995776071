using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.Diameter;

/// <summary>
/// TLS 1.3 with certificates on both sides. Trust comes from the configured authority alone: no system store, no
/// download of missing issuers, no revocation look-ups (a private authority publishes none; keys are short-lived). Which
/// name a certificate may claim is the engine's business. Sessions are not resumed, so every connection shows its certificate.
/// </summary>
internal sealed class DiameterTls(TlsCredentials identity)
{
    private const string ServerAuthentication = "1.3.6.1.5.5.7.3.1";
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";

    private readonly SslStreamCertificateContext _own = SslStreamCertificateContext.Create(identity.Certificate, identity.Intermediates, offline: true);

    public SslServerAuthenticationOptions Server => new()
    {
        ServerCertificateContext = _own,
        ClientCertificateRequired = true,
        EnabledSslProtocols = SslProtocols.Tls13,
        CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        AllowRenegotiation = false,
        AllowTlsResume = false,
        RemoteCertificateValidationCallback = (_, certificate, chain, _) => IsTrusted(certificate, chain, ClientAuthentication),
    };

    public SslClientAuthenticationOptions Client(string peerName) => new()
    {
        TargetHost = peerName,
        ClientCertificateContext = _own,
        EnabledSslProtocols = SslProtocols.Tls13,
        CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        AllowRenegotiation = false,
        AllowTlsResume = false,
        RemoteCertificateValidationCallback = (_, certificate, chain, _) => IsTrusted(certificate, chain, ServerAuthentication),
    };

    /// <summary>DNS names of the subject alternative name extension; wildcards name no Diameter node and are left out.</summary>
    public static IReadOnlyList<string> NamesOf(X509Certificate? certificate)
    {
        if (certificate is not X509Certificate2 full)
        {
            return [];
        }

        return [.. full.Extensions.OfType<X509SubjectAlternativeNameExtension>()
            .SelectMany(e => e.EnumerateDnsNames())
            .Where(n => !n.Contains('*', StringComparison.Ordinal))];
    }

    private bool IsTrusted(X509Certificate? certificate, X509Chain? presented, string purpose)
    {
        if (certificate is not X509Certificate2 leaf)
        {
            return false;
        }

        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(identity.TrustAnchors);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.ApplicationPolicy.Add(new System.Security.Cryptography.Oid(purpose));
        if (presented is not null)
        {
            chain.ChainPolicy.ExtraStore.AddRange(presented.ChainPolicy.ExtraStore);
        }

        return chain.Build(leaf);
    }
}
