using System.Net.Sockets;
using Sojourn.Engine;
using Sojourn.Engine.Ikev2;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Enrolment;
using Sojourn.Roles.KeyExchange;
using Sojourn.Wire.Dns;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Host.Configuration;

/// <summary>The Mobile IPv6 home agent's section.</summary>
internal sealed partial class ConfigurationRules
{
    private void HomeAgent6()
    {
        if (_node.HomeAgent6 is not { } agent)
        {
            return;
        }

        if (!IPv6Octets.IsUnicastRoutable(agent.Address))
        {
            Error(agent.MarkOf(nameof(agent.Address)), $"{agent.Address} cannot be reached from other links", "a global unicast address");
        }

        foreach (var prefix in agent.HomePrefixes.Where(p => p.PrefixLength is < 16 or > 64 || !IPv6Octets.IsUnicastRoutable(p.BaseAddress)))
        {
            Error(agent.MarkOf(nameof(agent.HomePrefixes)), $"terminals cannot have home addresses in {prefix}", "global prefixes of 16 to 64 bits");
        }

        if ((agent.Allocations is null ? 0 : 1) + (_node.DelegatingRouter is null ? 0 : 1) + (agent.PresetPrefixes.Count == 0 ? 0 : 1) != 1)
        {
            Error(agent.Mark, "who says whose a prefix is?", "one of 'allocations' and 'preset-prefixes' in this section, or a section 'delegating-router'");
        }

        MobileRouters(agent);
        PresetAddresses(agent);
        AuthenticationHeaders(peer => agent.HomePrefixes.Exists(p => p.Contains(peer)), "a home address in 'home-prefixes'");
        foreach (var association in _node.Associations.Where(a => a.Security != SecurityType.Ah))
        {
            Error(association.MarkOf(nameof(association.Security)), "a home agent agrees on ESP by IKEv2", "ah, or no association");
        }

        if (agent.NameService is { } names)
        {
            Names(names);
        }

        if (agent.Allocations is { } allocations)
        {
            Tls(allocations.Tls, identity: null);
            foreach (var router in allocations.Routers.Where(text => !(Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme == "https")))
            {
                Error(allocations.MarkOf(nameof(allocations.Routers)), $"'{router}' is no https address", "https://NAME:PORT");
            }
        }

        Revocation(agent.Revocation);
        foreach (var pool in (_node.DelegatingRouter?.Pools ?? []).Where(pool => !agent.HomePrefixes.Exists(p => p.Contains(pool.Prefix.BaseAddress) && p.PrefixLength <= pool.Prefix.PrefixLength)))
        {
            Error(pool.MarkOf(nameof(PrefixPoolSection.Prefix)), $"{pool.Prefix} is in none of 'home-agent6.home-prefixes', so its prefixes would lead nowhere", string.Join(", ", agent.HomePrefixes));
        }

        HomeAgentCredential(agent);
        try
        {
            IkeCredentialFiles.ReadCertificates(agent.CaFile.FullPath);
        }
        catch (InvalidDataException e)
        {
            Error(agent.Mark, e.Message, "a PEM file of the authorities' certificates");
        }
    }

    private void MobileRouters(HomeAgent6Section agent)
    {
        var networks = agent.MobileRouters.SelectMany(r => r.Networks.Select(n => (Router: r, Network: n))).ToList();
        foreach (var router in agent.MobileRouters.Where(r => r.Networks.Count == 0 || !agent.HomePrefixes.Exists(p => p.Contains(r.HomeAddress))))
        {
            Error(router.Mark, $"{router.HomeAddress} brings no network along, or is no home address of this home agent", "a home address in 'home-prefixes' and its networks");
        }

        foreach (var (router, network) in networks.Where(n => n.Network.PrefixLength is < 16 or > 64 || !IPv6Octets.IsUnicastRoutable(n.Network.BaseAddress) || n.Network.Contains(agent.Address) || n.Network.Contains(n.Router.HomeAddress)))
        {
            Error(router.MarkOf(nameof(router.Networks)), $"{network} cannot move: it is no global prefix of 16 to 64 bits, or what must stay at home lies in it", "a prefix beside the home agent's and the router's own addresses");
        }

        foreach (var (router, network) in networks.Where((n, i) => networks.Take(i).Any(o => o.Network.Contains(n.Network.BaseAddress) || n.Network.Contains(o.Network.BaseAddress))))
        {
            Error(router.MarkOf(nameof(router.Networks)), $"{network} overlaps with another mobile network", "each network at one router");
        }
    }

    private void HomeAgentCredential(HomeAgent6Section agent)
    {
        var files = (agent.CertificateFile is null ? 0 : 1) + (agent.KeyFile is null ? 0 : 1);
        if (agent.Store is null ? files != 2 : files != 0)
        {
            Error(agent.Mark, "where is this home agent's certificate?", "either 'certificate-file' and 'key-file', or 'store'");
            return;
        }

        if (agent.Enrolment is not null && agent.Store is null)
        {
            Error(agent.MarkOf(nameof(agent.Enrolment)), "there is no store for the certificate", "'store' in place of 'certificate-file' and 'key-file'");
        }

        foreach (var (option, text) in new[] { (nameof(agent.CertificateStore), agent.CertificateStore) })
        {
            if (text is not null && !(Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme == Uri.UriSchemeHttp))
            {
                Error(agent.MarkOf(option), $"'{text}' is no http address; its hash proves a certificate", "http://NAME/PATH");
            }
        }

        try
        {
            using var own = agent.Store is { } store ? CredentialStore.Open(store.FullPath) : null;
            var credential = own is null ? IkeCredentialFiles.Read(agent.CertificateFile!.FullPath, agent.KeyFile!.FullPath) : own.ToCredential();
            var identity = agent.Identity is { } text ? IkeIdentity.Parse(text) : IkeIdentity.Of(agent.Address);
            if (credential is null && agent.Enrolment is null)
            {
                Error(agent.MarkOf(nameof(agent.Store)), "the store has no certificate, and no authority is configured to ask for one", "a store that was enrolled, or 'enrolment'");
            }
            else if (credential is not null && !identity.IsIn(credential.Certificate))
            {
                Error(agent.Mark, $"the certificate is not that of {identity}", "a certificate with it as subjectAltName, or 'identity' as the certificate has it");
            }

            if (own is null)
            {
                credential?.PrivateKey.Dispose();
            }
        }
        catch (Exception e) when (e is InvalidDataException or CredentialStoreException)
        {
            Error(agent.Mark, e.Message, "PEM files of certificate and key, or a store that `sojourn enrol` made");
        }
    }

    private void Revocation(RevocationSection? section)
    {
        if (section is null)
        {
            return;
        }

        foreach (var (option, text) in new[] { (nameof(section.OcspUri), section.OcspUri), (nameof(section.CrlUri), section.CrlUri) })
        {
            if (text is not null && !(Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme == Uri.UriSchemeHttp))
            {
                Error(section.MarkOf(option), $"'{text}' is no http address; status is proved by signatures", "http://NAME/PATH");
            }
        }

        if (section.Methods.Count != section.Methods.Distinct().Count())
        {
            Error(section.MarkOf(nameof(section.Methods)), "a method stands twice", "ocsp and crl, each once");
        }
    }

    private void PresetAddresses(HomeAgent6Section agent)
    {
        foreach (var preset in agent.PresetPrefixes)
        {
            if (!agent.HomePrefixes.Exists(p => p.PrefixLength <= preset.Prefix.PrefixLength && p.Contains(preset.Prefix.BaseAddress)))
            {
                Error(preset.MarkOf(nameof(preset.Prefix)), $"{preset.Prefix} is in none of 'home-prefixes', so its addresses would lead nowhere", string.Join(", ", agent.HomePrefixes));
            }
            else if (preset.Prefix.PrefixLength > 64)
            {
                Error(preset.MarkOf(nameof(preset.Prefix)), $"{preset.Prefix} leaves no room for an interface identifier", "a prefix of up to 64 bits");
            }
        }

        if (agent.HomeLink is not null && agent.PresetPrefixes.Count == 0)
        {
            Error(agent.MarkOf(nameof(agent.HomeLink)), "delegated prefixes are shared with nobody, so none lies on a home link", "'preset-prefixes' beside it");
        }

        if (agent.Authority is not { } authority)
        {
            if (agent.PresetPrefixes.Count > 0)
            {
                Error(agent.Mark, "'preset-prefixes' without 'authority': no terminal would be told another home prefix", "'authority' with its url");
            }

            return;
        }

        Tls(authority.Tls, identity: null);
        if (agent.PresetPrefixes.Count == 0)
        {
            Error(agent.MarkOf(nameof(agent.Authority)), "an 'authority' that is not asked", "'preset-prefixes' beside it; a delegating router asks by itself");
        }

        if (!IsHttps(authority.Url))
        {
            Error(authority.MarkOf(nameof(authority.Url)), $"'{authority.Url}' is no https address", "https://NAME:PORT");
        }
    }

    private void Names(NameServiceSection names)
    {
        foreach (var zone in names.Zones)
        {
            if (DnsName.TryFromText(zone.Zone) is null)
            {
                Error(zone.MarkOf(nameof(zone.Zone)), $"'{zone.Zone}' is no domain name", "home.example, or a zone below ip6.arpa");
            }

            foreach (var server in zone.Servers.Where(s => s.AddressFamily != AddressFamily.InterNetworkV6))
            {
                Error(zone.MarkOf(nameof(zone.Servers)), $"{server} cannot be reached from the home agent's address", "an IPv6 address and port ([2001:db8::53]:53)");
            }

            if (TransactionKeyFile.TryRead(zone.KeyFile.FullPath, out var reason) is null)
            {
                Error(zone.MarkOf(nameof(zone.KeyFile)), reason, "a key as tsig-keygen writes it, mode 0600");
            }
        }
    }
}
