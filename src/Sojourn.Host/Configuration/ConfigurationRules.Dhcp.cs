using System.Net;
using Sojourn.Roles.PrefixDelegation;
using Sojourn.Roles.Configuration;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Host.Configuration;

/// <content>Rules of DHCPv6 prefix delegation.</content>
internal sealed partial class ConfigurationRules
{
    /// <summary>A pool of more prefixes would never be used up, and counting it would not fit.</summary>
    private const int LargestPoolBits = 62;

    private void DelegatingRouter()
    {
        if (_node.DelegatingRouter is not { } router)
        {
            return;
        }

        if (router.Interfaces.Count == 0 && router.Relays.Count == 0)
        {
            Error(router.Mark, "nobody can ask: neither 'interfaces' nor 'relays'", "at least one link or relay agent");
        }

        foreach (var pool in router.Pools)
        {
            if (pool.DelegatedLength < pool.Prefix.PrefixLength)
            {
                Error(pool.MarkOf(nameof(pool.DelegatedLength)), $"a /{pool.DelegatedLength} does not fit into {pool.Prefix}", $"{pool.Prefix.PrefixLength} to 128");
            }
            else if (pool.DelegatedLength - pool.Prefix.PrefixLength > LargestPoolBits)
            {
                Error(pool.MarkOf(nameof(pool.DelegatedLength)), $"{pool.Prefix} has too many /{pool.DelegatedLength}", $"up to {pool.Prefix.PrefixLength + LargestPoolBits}");
            }
        }

        for (var i = 0; i < router.Pools.Count; i++)
        {
            for (var j = 0; j < i; j++)
            {
                if (Overlap(router.Pools[i].Prefix, router.Pools[j].Prefix))
                {
                    Error(router.Pools[i].MarkOf(nameof(PrefixPoolSection.Prefix)), $"{router.Pools[i].Prefix} overlaps the pool {router.Pools[j].Prefix}", "pools apart from each other");
                }
            }
        }

        if (router.PreferredLifetime > router.ValidLifetime)
        {
            Error(router.MarkOf(nameof(router.PreferredLifetime)), "'preferred-lifetime' is longer than 'valid-lifetime'", $"up to {OptionTypes.Print(router.ValidLifetime)}");
        }

        Authorisation(router);

        if (router.Duid is { } text && !Duid.TryParseText(text, out _))
        {
            Error(router.MarkOf(nameof(router.Duid)), $"'{text}' is not a DUID", "3 to 130 octets in hexadecimal, with colons or without");
        }

        if (router.DnsServers.Count > 8)
        {
            Error(router.MarkOf(nameof(router.DnsServers)), "too many 'dns-servers'", "up to 8");
        }
    }

    private void Authorisation(DelegatingRouterSection router)
    {
        if (router.Authorisation == AuthorisationSource.Static)
        {
            if (router.Authority is not null)
            {
                Error(router.MarkOf(nameof(router.Authority)), "an 'authority' that is not asked", "'authorisation: authority', or no 'authority'");
            }

            if (router.Approved.Count == 0)
            {
                Error(router.MarkOf(nameof(router.Approved)), "authorisation static without 'approved': nobody is given a prefix", "at least one identifier, or `*.DOMAIN`");
            }
        }
        else if (router.Authority is null)
        {
            Error(router.MarkOf(nameof(router.Authorisation)), "authorisation authority without 'authority': nobody is given a prefix", "'authority' with its url");
        }
        else if (router.Approved.Count > 0)
        {
            Error(router.MarkOf(nameof(router.Approved)), "'approved' does not count beside an authority", "one of the two");
        }

        foreach (var entry in router.Approved)
        {
            if (StaticAuthority.TryEntry(entry, out var reason) is null)
            {
                Error(router.MarkOf(nameof(router.Approved)), $"'{entry}' {reason}", "an identifier, or `*.DOMAIN`");
            }
        }

        if (router.Authority is { } authority && !IsHttps(authority.Url))
        {
            Error(authority.MarkOf(nameof(authority.Url)), $"'{authority.Url}' is no https address", "https://NAME:PORT");
        }

        foreach (var asker in router.Queries?.Askers.Where(asker => asker.WithdrawalUri is not null && !IsHttps(asker.WithdrawalUri)) ?? [])
        {
            Error(asker.MarkOf(nameof(asker.WithdrawalUri)), $"'{asker.WithdrawalUri}' is no https address", "https://NAME:PORT/PATH");
        }

        foreach (var gateway in router.Queries?.Gateways.Where(gateway => !Duid.TryParseText(gateway.Duid, out _)) ?? [])
        {
            Error(gateway.MarkOf(nameof(gateway.Duid)), $"'{gateway.Duid}' is not a DUID", "3 to 130 octets in hexadecimal, with colons or without");
        }

        if (router.Tls is { } tls)
        {
            Tls(tls, identity: null);
        }
        else if (router.Authority is not null || router.Queries is not null)
        {
            Error(router.Mark, "'authority' and 'queries' need certificates", "'tls' with certificate-file, key-file and ca-file");
        }
    }

    private static bool IsHttps(string text) => Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme == "https";
}
