using System.Net;
using System.Net.Sockets;
using Sojourn.Engine;
using Sojourn.Engine.Terminal;
using Sojourn.Engine.Terminal.Scenarios;
using Sojourn.Roles.Configuration;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Host.Configuration;

internal sealed partial class ConfigurationRules
{
    private void Terminal()
    {
        if (_node.Terminal is not { } terminal)
        {
            return;
        }

        if (terminal.Links.Count == 0 || terminal.Links.Distinct(StringComparer.Ordinal).Count() < terminal.Links.Count || terminal.Links.Contains(terminal.Device))
        {
            Error(terminal.MarkOf(nameof(terminal.Links)), "no access link, or one named twice", "each access link once, and not the TUN device");
        }

        if (ScenarioPolicy.Conflict(terminal.Scenarios) is { } conflict)
        {
            Error(
                terminal.MarkOf(nameof(terminal.Scenarios)),
                conflict.Other is { } other ? $"scenarios {conflict.One} and {other} exclude each other" : $"there is no scenario {conflict.One}",
                "10010 with 10011, 10012 with 10013, or one of 10000 and 10001 for laboratories");
        }
        else if (terminal.Scenarios.Exists(number => number is 10000 or 10001) && terminal.DataPolicy.Exists(entry => entry.Treatment == DataTreatment.Protect))
        {
            Error(terminal.MarkOf(nameof(terminal.DataPolicy)), "without IPsec on the signal there is no key exchange that could protect data", "scenarios 10010 to 10013");
        }

        foreach (var association in _node.Associations.Where(a => terminal.HomeAddress is null && !_node.IsOfAnchorPoint(a)))
        {
            Error(association.Mark, "associations with correspondents and home agents belong to a configured home address", "a 'home-address'");
        }

        AuthenticationHeaders(peer => peer.Equals(terminal.HomeAgent), "'home-agent'");

        if (terminal.Translation is { } translation)
        {
            if (translation.Ipv4Pool.PrefixLength is < 8 or > 30)
            {
                Error(translation.MarkOf(nameof(translation.Ipv4Pool)), $"{translation.Ipv4Pool} is too long or too short for a pool", "8 to 30 bits");
            }

            if (translation.Ipv6Pool is { } pool && (pool.PrefixLength is not (32 or 40 or 48 or 56 or 64 or 96) || pool.BaseAddress.GetAddressBytes()[8] != 0))
            {
                Error(translation.MarkOf(nameof(translation.Ipv6Pool)), $"{pool} is no NAT64 prefix", "32, 40, 48, 56, 64 or 96 bits, bits 64 to 71 zero (RFC 6052 2.2)");
            }
        }

        if (terminal is { HomeAddress: not null, PrefixRequest: not null })
        {
            Error(terminal.MarkOf(nameof(terminal.PrefixRequest)), "the home address comes from a delegated prefix or is configured", "either 'prefix-request' or 'home-address'");
        }

        if (terminal.Access is { } access && (access.User.Length == 0 || access.ServerName.Length == 0 || access.Identity.Length == 0 || access.Identity.Contains('=', StringComparison.Ordinal)))
        {
            Error(access.MarkOf(nameof(access.User)), "user, server or identity is empty, or the identity is a distinguished name", "names, e.g. 'alice', 'as.home.example', 'anonymous@home.example'");
        }

        if (terminal.PrefixRequest is { } request && request.Duid is not null && !Duid.TryParseText(request.Duid, out _))
        {
            Error(request.MarkOf(nameof(request.Duid)), $"'{request.Duid}' is no DUID", "octets in hexadecimal, e.g. 00:03:00:01:02:00:00:00:00:01");
        }

        if (terminal.Enrolment is { } enrolment && !(Uri.TryCreate(enrolment.Url, UriKind.Absolute, out var url) && url.Scheme is "http" or "https"))
        {
            Error(enrolment.MarkOf(nameof(enrolment.Url)), $"'{enrolment.Url}' is no address of an authority", "http://… or https://…");
        }

        if (terminal.TlsGateway is { } gateway)
        {
            GatewayOf(terminal, gateway);
        }
    }

    /// <summary>AH is for one purpose alone, and only where a laboratory wants it (spec terminal TM-S3).</summary>
    private void AuthenticationHeaders(Func<IPAddress, bool> mayBePeer, string peer)
    {
        foreach (var association in _node.Associations.Where(a => a.Security == SecurityType.Ah))
        {
            if (!_node.Interop.AuthenticationHeader)
            {
                Error(association.MarkOf(nameof(association.Security)), "AH is not taken here", "esp; or interop.authentication-header: true in a laboratory");
            }
            else if (!mayBePeer(association.Peer))
            {
                Error(association.MarkOf(nameof(association.Peer)), "AH stands between terminal and home agent alone", peer);
            }
        }
    }

    private void GatewayOf(TerminalSection terminal, TerminalTlsGatewaySection gateway)
    {
        if (gateway.Gateway.AddressFamily != AddressFamily.InterNetworkV6)
        {
            Error(gateway.MarkOf(nameof(gateway.Gateway)), $"{gateway.Gateway} is no IPv6 address", "[2001:db8::1]:4433");
        }

        if (gateway.Networks.Count == 0)
        {
            Error(gateway.MarkOf(nameof(gateway.Networks)), "no network lies behind the gateway", "at least one prefix");
        }

        if (gateway.Device == terminal.Device || terminal.Links.Contains(gateway.Device))
        {
            Error(gateway.MarkOf(nameof(gateway.Device)), $"'{gateway.Device}' is another device already", "a name of its own");
        }

        if (terminal.HomeAgent is { } agent && gateway.Networks.Find(network => network.Contains(agent)) is { PrefixLength: > 0 } around)
        {
            Error(gateway.MarkOf(nameof(gateway.Networks)), $"the home agent {agent} is in {around}", "networks without the home agent: signalling goes past the session");
        }
    }

    private void TlsGateway()
    {
        if (_node.TlsGateway is not { } gateway)
        {
            return;
        }

        Tls(gateway.Tls, identity: null);
        if (gateway.InnerLinks.Contains(gateway.Device))
        {
            Error(gateway.MarkOf(nameof(gateway.Device)), $"'{gateway.Device}' is an inner link too", "a name of its own");
        }

        foreach (var terminal in gateway.Terminals.Where(t => t.Addresses.Count == 0))
        {
            Error(terminal.MarkOf(nameof(terminal.Addresses)), $"'{terminal.Name}' has no address", "at least one");
        }

        Pairwise(gateway.Terminals.SelectMany(t => t.Addresses.Select(address => (Terminal: t, Address: address))), pair => pair.Address, (pair, first) =>
            Error(pair.Terminal.MarkOf(nameof(CarriedTerminalOptions.Addresses)), $"{pair.Address} is also an address of '{first.Terminal.Name}'", "addresses of its own"));
    }
}
