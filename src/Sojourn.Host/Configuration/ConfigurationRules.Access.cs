using System.Net.Sockets;
using Sojourn.Engine;
using Sojourn.Engine.Ikev2;
using Sojourn.Roles.AccessServer;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.KeyExchange;
using Sojourn.Storage.Customers;
using Sojourn.Wire.Dhcpv6;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Host.Configuration;

/// <content>Rules of access authentication.</content>
internal sealed partial class ConfigurationRules
{
    /// <summary>Octets below which a shared secret can be found by trying (RFC 2865 3).</summary>
    private const int ShortestRadiusSecret = 16;

    private void AccessAuthenticator()
    {
        if (_node.AccessAuthenticator is not { } access)
        {
            return;
        }

        if (access.Ports.Count == 0 || access.Ports.Distinct(StringComparer.Ordinal).Count() < access.Ports.Count || access.Ports.Contains(access.Bridge))
        {
            Error(access.MarkOf(nameof(access.Ports)), "no port, or one named twice", "each port once, and not the bridge");
        }

        if (access.Servers.Count == 0 == (access.Devices.Count == 0))
        {
            Error(access.Mark, "the registry of devices is in one place: at 'servers' or in 'devices'", "one of the two");
        }

        var needsTls = access.Servers.Count == 0 && !access.AddressOnlyDevices;
        if (needsTls == access.Tls is null)
        {
            Error(access.Tls is null ? access.Mark : access.MarkOf(nameof(access.Tls)), needsTls ? "devices prove themselves to this node, which has no 'tls'" : "'tls' is of no use here", "'tls' with 'devices' that have certificates, and only there");
        }

        if (access.Servers.Select(server => server.Address.AddressFamily).Distinct().Count() > 1)
        {
            Error(access.MarkOf(nameof(access.Servers)), "servers of both IP versions", "addresses of one IP version");
        }

        foreach (var server in access.Servers)
        {
            if (SecretFile.TryRead(server.SecretFile.FullPath, out _) is { Length: < ShortestRadiusSecret } secret)
            {
                Error(server.MarkOf(nameof(server.SecretFile)), $"the secret has {secret.Length} octets", $"{ShortestRadiusSecret} or more");
            }
        }

        foreach (var device in access.Devices)
        {
            if (AccessServerRole.ParseAddress(device.Address) is null)
            {
                Error(device.MarkOf(nameof(device.Address)), $"'{device.Address}' is not a link-layer address", "six octets in hexadecimal, as 02:00:00:00:00:01");
            }

            foreach (var port in device.Ports.Where(port => !access.Ports.Contains(port)))
            {
                Error(device.MarkOf(nameof(device.Ports)), $"there is no port '{port}'", string.Join(", ", access.Ports));
            }
        }
    }

    private void AccessServer()
    {
        if (_node.AccessServer is not { } server)
        {
            return;
        }

        if (server.Users.Count == 0 && server.Devices.Count == 0)
        {
            Error(server.Mark, "nobody can get access: neither 'users' nor 'devices'", "at least one user or device");
        }

        foreach (var client in server.Clients)
        {
            Length(client, nameof(client.SecretFile), client.SecretFile, ShortestRadiusSecret, SecretFile.MaximumOctets);
        }

        foreach (var user in server.Users.Where(user => !CustomerPassword.IsHash(user.PasswordHash)))
        {
            Error(user.MarkOf(nameof(user.PasswordHash)), "this is not a stored password", "what `sojourn access-password` prints");
        }

        foreach (var device in server.Devices)
        {
            if (AccessServerRole.ParseAddress(device.Address) is null)
            {
                Error(device.MarkOf(nameof(device.Address)), $"'{device.Address}' is not a link-layer address", "six octets in hexadecimal, as 02:00:00:00:00:01");
            }

            foreach (var name in device.Clients.Where(name => !server.Clients.Exists(client => client.Name == name)))
            {
                Error(device.MarkOf(nameof(device.Clients)), $"there is no client '{name}'", string.Join(", ", server.Clients.Select(client => client.Name)));
            }
        }
    }

    private void AccessGateway()
    {
        if (_node.AccessGateway is not { } gateway)
        {
            return;
        }

        if (!IPv6Octets.IsUnicastRoutable(gateway.Address))
        {
            Error(gateway.MarkOf(nameof(gateway.Address)), $"{gateway.Address} cannot be reached from other links", "a global unicast address");
        }

        if (gateway.AccessLinks.Contains(gateway.HomeLink))
        {
            Error(gateway.MarkOf(nameof(gateway.HomeLink)), $"'{gateway.HomeLink}' is an access link too", "different links");
        }

        if (gateway.Tun == gateway.AccessTun)
        {
            Error(gateway.MarkOf(nameof(gateway.AccessTun)), $"both virtual devices are called '{gateway.Tun}'", "different names");
        }

        if (gateway.Duid is { } duid && !Duid.TryParseText(duid, out _))
        {
            Error(gateway.MarkOf(nameof(gateway.Duid)), $"'{duid}' is no DUID", "octets in hexadecimal, as 00:03:00:01:02:00:00:00:00:77");
        }

        foreach (var server in gateway.Servers)
        {
            Length(server, nameof(server.SecretFile), server.SecretFile, ShortestRadiusSecret, SecretFile.MaximumOctets);
            if (server.Address.AddressFamily != gateway.Servers[0].Address.AddressFamily)
            {
                Error(server.MarkOf(nameof(server.Address)), $"{server.Address} is of another IP version than {gateway.Servers[0].Address}", "servers of one IP version");
            }
        }

        foreach (var end in gateway.BeforeAccess.Where(end => end.AddressFamily != AddressFamily.InterNetworkV6 || end.Port == 0))
        {
            Error(gateway.MarkOf(nameof(gateway.BeforeAccess)), $"{end} is no IPv6 address with a port", "[2001:db8::1]:80");
        }

        Tls(gateway.Identities.Tls, identity: null);
        foreach (var router in gateway.Identities.Routers.Where(text => !(Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme == "https")))
        {
            Error(gateway.Identities.MarkOf(nameof(gateway.Identities.Routers)), $"'{router}' is no https address", "https://NAME:PORT");
        }

        try
        {
            var credential = IkeCredentialFiles.Read(gateway.CertificateFile.FullPath, gateway.KeyFile.FullPath);
            if (!IkeIdentity.Parse(gateway.Identity).IsIn(credential.Certificate))
            {
                Error(gateway.MarkOf(nameof(gateway.CertificateFile)), $"the certificate is not that of {gateway.Identity}", "a certificate with it as subjectAltName, or 'identity' as the certificate has it");
            }

            credential.PrivateKey.Dispose();
        }
        catch (InvalidDataException e)
        {
            Error(gateway.Mark, e.Message, "PEM files: certificate and its key");
        }
    }

    private void AccessRouter()
    {
        if (_node.AccessRouter is not { } router)
        {
            return;
        }

        AdvertisedLinks(router.Links);
        foreach (var name in router.LearnAnchorsFrom.Where(name => router.Links.Exists(link => link.Interface == name)))
        {
            Error(router.MarkOf(nameof(router.LearnAnchorsFrom)), $"'{name}' is a link that this router advertises itself on", "links of routers above");
        }

        if (router.Renumbering is { } renumbering && !_node.Associations.Exists(a => a.Name == renumbering.Association))
        {
            Unresolved(renumbering.MarkOf(nameof(renumbering.Association)), "association", renumbering.Association, _node.Associations.Select(a => a.Name));
        }

        foreach (var association in _node.Associations.Where(a => a.Name != router.Renumbering?.Association || a.Security != SecurityType.Esp))
        {
            Error(association.Mark, $"association '{association.Name}' is not one of ESP with the station of 'renumbering'", "security: esp, and its name in 'renumbering'");
        }
    }

    private void AdvertisedLinks(IReadOnlyList<AdvertisedLinkSection> links)
    {
        foreach (var link in links)
        {
            foreach (var prefix in link.Prefixes.Where(p => p.PrefixLength != 64))
            {
                Error(link.MarkOf(nameof(link.Prefixes)), $"no addresses can be formed in {prefix}", "prefixes of 64 bits (RFC 4862 5.5.3)");
            }

            if (link.PreferredLifetime > link.ValidLifetime)
            {
                Error(link.MarkOf(nameof(link.PreferredLifetime)), "addresses would be preferred for longer than they are valid", $"{link.ValidLifetime.TotalSeconds} s or less");
            }

            foreach (var anchor in link.Anchors.Where(a => a.ModeBits.Any(bit => bit is not ('I' or 'P' or 'V'))))
            {
                Error(anchor.MarkOf(nameof(anchor.ModeBits)), $"'{anchor.ModeBits}' are no bits of a MAP option", "letters of I, P and V, e.g. V");
            }

            if (link.Interval > link.RouterLifetime)
            {
                Error(link.MarkOf(nameof(link.Interval)), "hosts would give the router up between two advertisements", "an interval shorter than router-lifetime");
            }
        }
    }
}
