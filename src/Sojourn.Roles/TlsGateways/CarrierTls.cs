// Readings (spec terminal TM-S9, A-35):
// - TLS 1.3 alone: whoever offers less is answered with an alert. TLS 1.3 has no compression and always a server certificate.
// - A terminal's certificate is made for IKE (id-kp-ipsecIKE, RFC 4945 5.1.3.12) and proves the same here; one for TLS clients will do too.
// - A session is resumed with (EC)DHE (RFC 8446 2.2), never with early data: that could be replayed.
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Wire.Cmp;

namespace Sojourn.Roles.TlsGateways;

/// <summary>TLS of the session between terminal and gateway (709). Trust comes from the given authorities alone.</summary>
internal static class CarrierTls
{
    /// <param name="own">Must outlive the sessions.</param>
    public static SslServerAuthenticationOptions Server(SslStreamCertificateContext own, X509Certificate2Collection authorities) => new()
    {
        ServerCertificateContext = own,
        ClientCertificateRequired = true,
        EnabledSslProtocols = SslProtocols.Tls13,
        CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        AllowRenegotiation = false,
        AllowTlsResume = true,
        RemoteCertificateValidationCallback = (_, certificate, chain, _) => IsTrusted(certificate, chain, authorities, [CmpOids.IpsecIke, CmpOids.ClientAuthentication]),
    };

    /// <param name="gateway">DNS name that the gateway's certificate has to bear.</param>
    /// <param name="refused">Told why a certificate is not taken.</param>
    public static SslClientAuthenticationOptions Client(string gateway, SslStreamCertificateContext own, X509Certificate2Collection authorities, Action<string> refused) => new()
    {
        TargetHost = gateway,
        ClientCertificateContext = own,
        EnabledSslProtocols = SslProtocols.Tls13,
        CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        AllowRenegotiation = false,
        AllowTlsResume = true,
        RemoteCertificateValidationCallback = (_, certificate, chain, _) =>
        {
            var objection = !IsTrusted(certificate, chain, authorities, [CmpOids.ServerAuthentication]) ? "no authority of this terminal vouches for it as a server"
                : !((X509Certificate2)certificate!).MatchesHostname(gateway, allowWildcards: false, allowCommonName: false) ? $"it is not that of {gateway}"
                : null;
            if (objection is not null)
            {
                refused($"the certificate {certificate?.Subject} is not taken: {objection}");
            }

            return objection is null;
        },
    };

    private static bool IsTrusted(X509Certificate? certificate, X509Chain? presented, X509Certificate2Collection authorities, IReadOnlyCollection<string> purposes)
    {
        if (certificate is not X509Certificate2 leaf)
        {
            return false;
        }

        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(authorities);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        if (presented is not null)
        {
            chain.ChainPolicy.ExtraStore.AddRange(presented.ChainPolicy.ExtraStore);
        }

        // Without the extension a key may be used for anything (RFC 5280 4.2.1.12).
        var usage = leaf.Extensions.OfType<X509EnhancedKeyUsageExtension>().FirstOrDefault();
        return chain.Build(leaf) && (usage is null || usage.EnhancedKeyUsages.Cast<System.Security.Cryptography.Oid>().Any(oid => purposes.Contains(oid.Value)));
    }
}
