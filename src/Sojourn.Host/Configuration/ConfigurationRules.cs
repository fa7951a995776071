using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine;
using Sojourn.Roles.Configuration;

namespace Sojourn.Host.Configuration;

/// <summary>What options must hold together: sections and role, references, clashes, keys that fit their suite.</summary>
internal sealed partial class ConfigurationRules
{
    private readonly NodeOptions _node;
    private readonly List<Finding> _findings;

    private ConfigurationRules(NodeOptions node, List<Finding> findings)
    {
        _node = node;
        _findings = findings;
    }

    public static void Check(NodeOptions node, List<Finding> findings)
    {
        var rules = new ConfigurationRules(node, findings);
        rules.Sections();
        rules.Control();
        rules.Diameter();
        rules.KeyWraps();
        rules.Associations();
        rules.KeyExchanges();
        rules.StandingTunnels();
        rules.DataPath();
        rules.ForeignAgent();
        rules.HomeAgent();
        rules.Gateway();
        rules.Aaa();
        rules.Console();
        rules.MobileNode();
        rules.Ca();
        rules.DelegatingRouter();
        rules.AccessServer();
        rules.AccessGateway();
        rules.AccessRouter();
        rules.AccessAuthenticator();
        rules.Terminal();
        rules.MobileRouter();
        rules.HomeAgent6();
        rules.Correspondent();
        rules.AnchorPoints();
        rules.TlsGateway();
    }

    /// <summary>Which sections a role needs and takes; the rest would silently do nothing, so it is refused.</summary>
    internal static (string[] Needed, string[] Taken) SectionsOf(NodeRole role) => role switch
    {
        NodeRole.ForeignAgent => ([nameof(NodeOptions.ForeignAgent), nameof(NodeOptions.Diameter)], [nameof(NodeOptions.KeyWrap), .. Gatewaying]),
        NodeRole.HomeAgent => ([nameof(NodeOptions.HomeAgent), nameof(NodeOptions.Diameter)], [nameof(NodeOptions.KeyWrap), nameof(NodeOptions.KeyExchange), .. Gatewaying]),
        NodeRole.Gateway => ([nameof(NodeOptions.Gateway)], [nameof(NodeOptions.KeyExchange), .. Gatewaying]),
        NodeRole.Aaa => ([nameof(NodeOptions.Aaa), nameof(NodeOptions.Diameter)], [nameof(NodeOptions.KeyWrap), nameof(NodeOptions.Console)]),
        NodeRole.MobileNode => ([nameof(NodeOptions.MobileNode)], []),
        NodeRole.Ca => ([nameof(NodeOptions.Ca)], []),
        NodeRole.DelegatingRouter => ([nameof(NodeOptions.DelegatingRouter)], []),
        NodeRole.RelayAgent => ([nameof(NodeOptions.RelayAgent)], []),
        NodeRole.AccessServer => ([nameof(NodeOptions.AccessServer)], []),
        NodeRole.AccessGateway => ([nameof(NodeOptions.AccessGateway)], [nameof(NodeOptions.KeyExport)]),
        NodeRole.AccessRouter => ([nameof(NodeOptions.AccessRouter)], [nameof(NodeOptions.Associations), nameof(NodeOptions.KeyExport)]),
        NodeRole.AccessAuthenticator => ([nameof(NodeOptions.AccessAuthenticator)], []),
        NodeRole.Terminal => ([nameof(NodeOptions.Terminal)], [nameof(NodeOptions.Associations), nameof(NodeOptions.KeyExport)]),
        NodeRole.MobileRouter => ([nameof(NodeOptions.Terminal), nameof(NodeOptions.MobileRouter)], [nameof(NodeOptions.KeyExport)]),
        NodeRole.Correspondent => ([nameof(NodeOptions.Correspondent)], [nameof(NodeOptions.Associations), nameof(NodeOptions.KeyExport)]),
        NodeRole.AnchorPoint => ([nameof(NodeOptions.AnchorPoint)], [nameof(NodeOptions.Associations), nameof(NodeOptions.KeyExport)]),
        NodeRole.HomeAgent6 => ([nameof(NodeOptions.HomeAgent6)], [nameof(NodeOptions.DelegatingRouter), nameof(NodeOptions.Associations), nameof(NodeOptions.KeyExport)]),
        NodeRole.TlsGateway => ([nameof(NodeOptions.TlsGateway)], []),
        _ => ([nameof(NodeOptions.Diameter)], []),
    };

    private static readonly string[] Gatewaying =
        [nameof(NodeOptions.Associations), nameof(NodeOptions.StandingTunnels), nameof(NodeOptions.PacketPath), nameof(NodeOptions.KeyExport)];

    private static readonly string[] RoleSections =
    [
        nameof(NodeOptions.Diameter), nameof(NodeOptions.KeyWrap), nameof(NodeOptions.KeyExchange), .. Gatewaying, nameof(NodeOptions.ForeignAgent), nameof(NodeOptions.HomeAgent),
        nameof(NodeOptions.Gateway), nameof(NodeOptions.Aaa), nameof(NodeOptions.Console), nameof(NodeOptions.MobileNode), nameof(NodeOptions.Ca), nameof(NodeOptions.DelegatingRouter), nameof(NodeOptions.RelayAgent),
        nameof(NodeOptions.AccessServer),
        nameof(NodeOptions.AccessGateway),
        nameof(NodeOptions.AccessRouter),
        nameof(NodeOptions.AccessAuthenticator),
        nameof(NodeOptions.Terminal),
        nameof(NodeOptions.MobileRouter),
        nameof(NodeOptions.Correspondent), nameof(NodeOptions.AnchorPoint), nameof(NodeOptions.HomeAgent6),
        nameof(NodeOptions.TlsGateway),
    ];

    private void Sections()
    {
        var (needed, taken) = SectionsOf(_node.Role);
        var role = OptionTypes.NameOf(_node.Role.ToString());
        foreach (var section in needed.Where(section => !_node.Has(section)))
        {
            Error(_node.MarkOf(nameof(NodeOptions.Role)), $"role {role} needs the section '{OptionTypes.NameOf(section)}'", $"a group '{OptionTypes.NameOf(section)}:' in this file");
        }

        foreach (var section in RoleSections.Where(section => _node.Has(section) && !needed.Contains(section) && !taken.Contains(section)))
        {
            Error(_node.MarkOf(section), $"section '{OptionTypes.NameOf(section)}' does not fit role {role}", string.Join(", ", needed.Concat(taken).Select(OptionTypes.NameOf)));
        }
    }

    /// <summary>A Unix socket's name is limited by sockaddr_un.</summary>
    private void Control()
    {
        const int longest = 107;
        if (System.Text.Encoding.UTF8.GetByteCount(_node.SocketPath) > longest)
        {
            var at = _node.Control.Socket is null ? _node.MarkOf(nameof(NodeOptions.StateDirectory)) : _node.Control.MarkOf(nameof(ControlOptions.Socket));
            Error(at, $"the control socket's full name is longer than {longest} octets: {_node.SocketPath}", "a shorter path");
        }
    }

    private void DataPath()
    {
        if (_node.PacketPath.DataPath == DataPathKind.Kernel)
        {
            foreach (var (where, why) in KernelDataPath.Objections(_node))
            {
                Error(where, why, "data-path: user");
            }
        }
    }

    private void Diameter()
    {
        if (_node.Diameter is not { } diameter)
        {
            return;
        }

        if (diameter.Tls is null && !diameter.AllowPlainTcp)
        {
            Error(diameter.Mark, "diameter has no 'tls' and plain TCP is not allowed", "a group 'tls', or allow-plain-tcp: true");
        }

        if (diameter.Listen.Count == 0 && diameter.Peers.TrueForAll(peer => !peer.Connect))
        {
            Error(diameter.Mark, "nobody can reach this node: no 'listen', and no peer is dialled", "an address to listen on, or connect: true at a peer");
        }

        if (diameter.Peers.Count == 0)
        {
            Error(diameter.Mark, "diameter has no 'peers'", "at least one peer");
        }

        if (_node.Role == NodeRole.DiameterRelay && diameter.Peers.Count == 1)
        {
            Error(diameter.MarkOf(nameof(DiameterOptions.Peers)), "a relay with one peer has nowhere to relay to", "two peers or more");
        }

        Pairwise(diameter.Listen, listen => (listen.Address, listen.Port), (listen, first) =>
            Error(listen.Mark, $"{listen.Address}:{listen.Port} is listened on twice, first on line {first.Mark.Line}", "each address and port once"));
        foreach (var listen in diameter.Listen.Where(listen => listen.Port == _node.Control.MetricsPort && IPAddress.Loopback.Equals(listen.Address)))
        {
            Error(listen.MarkOf(nameof(ListenOptions.Port)), $"port {listen.Port} on 127.0.0.1 is also control.metrics-port", "different ports");
        }

        foreach (var peer in diameter.Peers)
        {
            if (peer.Identity == diameter.Identity)
            {
                Error(peer.MarkOf(nameof(PeerOptions.Identity)), $"'{peer.Identity}' is this node itself", "another identity");
            }

            if (peer.Connect && peer.Address is null)
            {
                Error(peer.Mark, $"peer '{peer.Identity}' is to be dialled but has no 'address'", "an IPv4 address");
            }
        }

        Pairwise(diameter.Peers.Where(peer => peer.Connect && peer.Address is not null), peer => (peer.Address, peer.Port), (peer, first) =>
            Error(peer.MarkOf(nameof(PeerOptions.Address)), $"peers '{first.Identity}' and '{peer.Identity}' are both at {peer.Address}:{peer.Port}", "different addresses or ports"));

        foreach (var route in diameter.Routes)
        {
            if (route.Realm != "*" && !route.Realm.Contains('.'))
            {
                Error(route.MarkOf(nameof(RealmRouteOptions.Realm)), $"'{route.Realm}' is not a realm", "a fully qualified name, or '*'");
            }

            foreach (var unknown in route.Peers.Where(name => !diameter.Peers.Exists(peer => peer.Identity == name)))
            {
                Unresolved(route.MarkOf(nameof(RealmRouteOptions.Peers)), "peer", unknown, diameter.Peers.Select(peer => peer.Identity));
            }
        }

        if (diameter.Tls is { } tls)
        {
            Tls(tls, diameter.Identity);
        }
    }

    private void Tls(TlsOptions tls, string? identity)
    {
        Certificate(tls, nameof(TlsOptions.CertificateFile), tls.CertificateFile, tls.KeyFile, identity);
        try
        {
            var authorities = new X509Certificate2Collection();
            authorities.ImportFromPemFile(tls.CaFile.FullPath);
            if (authorities.Count == 0)
            {
                throw new CryptographicException("none");
            }
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            Error(tls.MarkOf(nameof(TlsOptions.CaFile)), "ca-file holds no PEM certificate", "one certificate or more");
        }
    }

    /// <param name="name">DNS name the certificate must carry; null = any.</param>
    private void Certificate(OptionSection section, string property, FileReference certificateFile, FileReference keyFile, string? name)
    {
        try
        {
            using var certificate = X509Certificate2.CreateFromPemFile(certificateFile.FullPath, keyFile.FullPath);
            if (certificate.NotAfter < DateTime.Now)
            {
                Error(section.MarkOf(property), $"the certificate ran out on {certificate.NotAfter:yyyy-MM-dd}", "a valid certificate");
            }

            if (name is not null && !certificate.MatchesHostname(name, allowWildcards: false, allowCommonName: false))
            {
                Error(section.MarkOf(property), $"the certificate does not name '{name}', so peers will refuse it", $"a certificate with DNS name {name}");
            }
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException or IOException or UnauthorizedAccessException)
        {
            Error(section.MarkOf(property), "certificate-file and key-file are not a PEM certificate and its private key", "a matching pair");
        }
    }

    private void KeyWraps()
    {
        foreach (var wrap in _node.KeyWrap)
        {
            if (wrap.Peer == _node.Diameter?.Identity)
            {
                Error(wrap.MarkOf(nameof(KeyWrapOptions.Peer)), $"'{wrap.Peer}' is this node itself", "another identity");
            }

            Length(wrap, nameof(KeyWrapOptions.KeyFile), wrap.KeyFile, 32, 32);
        }

        if (_node is { Role: NodeRole.ForeignAgent or NodeRole.HomeAgent or NodeRole.Aaa, KeyWrap.Count: 0, Interop.PlainSessionKeys: false, Diameter: not null })
        {
            Error(_node.MarkOf(nameof(NodeOptions.Role)), "no 'key-wrap': no key could be exchanged with any Diameter peer", "a key-wrap entry per peer, or interop.plain-session-keys: true");
        }
    }

    private void Associations()
    {
        var family = _node.Role is NodeRole.Terminal or NodeRole.MobileRouter or NodeRole.Correspondent or NodeRole.AnchorPoint or NodeRole.AccessRouter or NodeRole.HomeAgent6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;
        foreach (var association in _node.Associations)
        {
            Association(association);
            if (association.Peer is { } peer && peer.AddressFamily != family)
            {
                Error(association.MarkOf(nameof(association.Peer)), $"{peer} is no address of the IP version that this role protects", family == AddressFamily.InterNetworkV6 ? "an IPv6 address" : "an IPv4 address");
            }
        }

        Pairwise(_node.Associations, a => (a.Security, a.SpiIn), (later, first) =>
            Error(later.MarkOf(nameof(AssociationOptions.SpiIn)), $"SPI {later.SpiIn} inbound is also that of association '{first.Name}'", "an SPI of its own"));
        Pairwise(_node.Associations, a => (a.Security, a.Peer, a.SpiOut), (later, first) =>
            Error(later.MarkOf(nameof(AssociationOptions.SpiOut)), $"SPI {later.SpiOut} towards {later.Peer} is also that of association '{first.Name}'", "an SPI of its own"));
    }

    private void Association(AssociationOptions a)
    {
        string[] keyOptions = [nameof(a.KeyFile), nameof(a.EncryptionKeyOutFile), nameof(a.AuthenticationKeyOutFile), nameof(a.EncryptionKeyInFile), nameof(a.AuthenticationKeyInFile)];
        if (a.Security == SecurityType.EncapsulationOnly)
        {
            Error(a.MarkOf(nameof(a.Security)), "encapsulation only needs no association", "esp | ah; or leave 'association' out of the standing tunnel");
            return;
        }

        var suites = string.Join(" | ", Enum.GetValues<IpsecAlgorithm>().Where(s => s.IsKnown() && s.AllowsStaticKey() && s.Fits(a.Security)).Select(s => OptionTypes.NameOf(s.ToString())));
        var suite = OptionTypes.NameOf(a.Algorithm.ToString());
        if (!a.Algorithm.AllowsStaticKey())
        {
            Error(a.MarkOf(nameof(a.Algorithm)), $"{suite} cannot take a typed-in key: its nonces would repeat (RFC 4106 section 3)", suites);
            return;
        }

        if (!a.Algorithm.Fits(a.Security))
        {
            Error(a.MarkOf(nameof(a.Algorithm)), $"{suite} does not fit security {OptionTypes.NameOf(a.Security.ToString())}", suites);
            return;
        }

        var single = keyOptions.Skip(1).ToList();
        if (a.KeyFile is not null)
        {
            foreach (var extra in single.Where(a.Has))
            {
                Error(a.MarkOf(extra), $"'{OptionTypes.NameOf(extra)}' beside key-file: which one counts?", "key-file alone, or the keys one by one");
            }

            Length(a, nameof(a.KeyFile), a.KeyFile, 32, SecretFile.MaximumOctets);
            return;
        }

        var encryption = a.Algorithm.EncryptionKeyLength();
        var authentication = a.Algorithm.AuthenticationKeyLength();
        OneKey(a, nameof(a.EncryptionKeyOutFile), a.EncryptionKeyOutFile, encryption, suite);
        OneKey(a, nameof(a.AuthenticationKeyOutFile), a.AuthenticationKeyOutFile, authentication, suite);
        OneKey(a, nameof(a.EncryptionKeyInFile), a.EncryptionKeyInFile, encryption, suite);
        OneKey(a, nameof(a.AuthenticationKeyInFile), a.AuthenticationKeyInFile, authentication, suite);
    }

    private void OneKey(AssociationOptions association, string property, FileReference? file, int octets, string suite)
    {
        var name = OptionTypes.NameOf(property);
        if (octets == 0)
        {
            if (file is not null)
            {
                Error(association.MarkOf(property), $"{suite} has no such key: '{name}'", "leave it out");
            }
        }
        else if (file is null)
        {
            Error(association.Mark, $"association '{association.Name}' lacks '{name}'", $"key-file, or a key of {octets} octets here");
        }
        else
        {
            Length(association, property, file, octets, octets);
        }
    }

    private void StandingTunnels()
    {
        foreach (var tunnel in _node.StandingTunnels)
        {
            var association = _node.Associations.Find(association => association.Name == tunnel.Association)?.Peer ?? _node.KeyExchange.Find(exchange => exchange.Name == tunnel.Association)?.Peer;
            if (tunnel.Association is { } name && association is null)
            {
                Unresolved(tunnel.MarkOf(nameof(StandingTunnelOptions.Association)), "association", name, _node.Associations.Select(a => a.Name).Concat(_node.KeyExchange.Select(k => k.Name)));
                continue;
            }

            var remote = tunnel.Remote ?? association;
            if (remote is null)
            {
                Error(tunnel.Mark, $"standing tunnel '{tunnel.Name}' has neither 'association' nor 'remote'", "one of the two");
            }
            else if (association is not null && !association.Equals(remote))
            {
                Error(tunnel.MarkOf(nameof(StandingTunnelOptions.Remote)), $"{remote} is not the peer of association '{tunnel.Association}'", $"{association}, or leave it out");
            }
            else if (remote.Equals(tunnel.Local ?? _node.GatewayAddress))
            {
                Error(tunnel.MarkOf(nameof(StandingTunnelOptions.Local)), $"both ends of the tunnel are {remote}", "this gateway's own address as local, another as remote");
            }
        }

        Pairwise(_node.StandingTunnels, tunnel => (tunnel.Source, tunnel.Destination), (tunnel, first) =>
            Error(tunnel.MarkOf(nameof(StandingTunnelOptions.Destination)), $"the same packets are selected by standing tunnel '{first.Name}'", "a selector of its own"));
    }

    private void ForeignAgent()
    {
        if (_node.ForeignAgent is not { } agent)
        {
            return;
        }

        Pairwise(agent.Access, link => link.Address, (link, first) =>
            Error(link.MarkOf(nameof(AccessLinkOptions.Address)), $"{link.Address} is also the address on '{first.Interface}'", "an address per link"));
        foreach (var neighbour in agent.Neighbours)
        {
            if (neighbour.Agent.Equals(agent.CareOfAddress))
            {
                Error(neighbour.MarkOf(nameof(AgentSecretOptions.Agent)), $"{neighbour.Agent} is this agent itself", "another agent's care-of address");
            }

            Length(neighbour, nameof(AgentSecretOptions.KeyFile), neighbour.KeyFile, 32, SecretFile.MaximumOctets);
        }

        Pairwise(agent.Neighbours, n => n.Spi, (n, first) =>
            Error(n.MarkOf(nameof(AgentSecretOptions.Spi)), $"SPI {n.Spi} also names the secret shared with {first.Agent}", "an SPI of its own"));
    }

    private void HomeAgent()
    {
        if (_node.HomeAgent is not { } agent)
        {
            return;
        }

        foreach (var prefix in agent.ProtectedDestinations.Where(prefix => Overlap(prefix, agent.HomeNetwork)))
        {
            Error(agent.MarkOf(nameof(HomeAgentSection.ProtectedDestinations)), $"{prefix} overlaps the home network {agent.HomeNetwork}", "prefixes outside the home network");
        }

        if (agent.AddressPool is { } pool && !(agent.HomeNetwork.Contains(pool.First) && agent.HomeNetwork.Contains(pool.Last)))
        {
            Error(agent.MarkOf(nameof(HomeAgentSection.AddressPool)), $"{pool} is not inside the home network {agent.HomeNetwork}", "addresses of the home network");
        }

        foreach (var contract in agent.BindingContracts)
        {
            if (contract.Gateway.Equals(agent.Address))
            {
                Error(contract.MarkOf(nameof(BindingContractOptions.Gateway)), $"{contract.Gateway} is this agent itself", "a dynamic gateway's address");
            }

            Length(contract, nameof(BindingContractOptions.KeyFile), contract.KeyFile, 32, SecretFile.MaximumOctets);
        }

        Pairwise(agent.BindingContracts, c => c.Spi, (c, first) =>
            Error(c.MarkOf(nameof(BindingContractOptions.Spi)), $"SPI {c.Spi} also names the secret shared with {first.Gateway}", "an SPI of its own"));
    }

    private void Gateway()
    {
        if (_node.Gateway is not { } gateway)
        {
            return;
        }

        switch (gateway.Type)
        {
            case GatewayType.Dynamic when gateway.Contracts.Count == 0:
                Error(gateway.Mark, "a dynamic gateway without 'contracts' accepts nobody's binding updates", "at least one contract");
                break;
            case GatewayType.Static when gateway.Has(nameof(GatewaySection.Contracts)):
                Error(gateway.MarkOf(nameof(GatewaySection.Contracts)), "a static gateway takes no binding updates", "type: dynamic, or standing-tunnels");
                break;
            case GatewayType.Static when _node.StandingTunnels.Count == 0:
                Error(gateway.MarkOf(nameof(GatewaySection.Type)), "a static gateway without 'standing-tunnels' does nothing", "at least one standing tunnel");
                break;
        }

        foreach (var contract in gateway.Contracts)
        {
            foreach (var prefix in contract.HomePrefixes.Where(prefix => gateway.Serves.Exists(served => Overlap(served, prefix))))
            {
                Error(contract.MarkOf(nameof(GatewayContractOptions.HomePrefixes)), $"home prefix {prefix} overlaps what this gateway serves", "prefixes elsewhere");
            }

            Length(contract, nameof(GatewayContractOptions.KeyFile), contract.KeyFile, 32, SecretFile.MaximumOctets);
        }

        Pairwise(gateway.Contracts, c => c.Spi, (c, first) =>
            Error(c.MarkOf(nameof(GatewayContractOptions.Spi)), $"SPI {c.Spi} also names the secret shared with {first.HomeAgent}", "an SPI of its own"));
        Pairwise(gateway.Contracts.SelectMany(c => c.HomePrefixes.Select(prefix => (Contract: c, Prefix: prefix))), pair => pair.Prefix, (pair, first) =>
            Error(pair.Contract.MarkOf(nameof(GatewayContractOptions.HomePrefixes)), $"home prefix {pair.Prefix} is also in the contract with {first.Contract.HomeAgent}", "one home agent per prefix"));
    }

    private void MobileNode()
    {
        if (_node.MobileNode is { } node)
        {
            Length(node.MnAaa, nameof(MnAaaOptions.KeyFile), node.MnAaa.KeyFile, 16, SecretFile.MaximumOctets);
        }
    }

    private void Length(OptionSection section, string property, FileReference file, int least, int most)
    {
        if (SecretFile.TryRead(file.FullPath, out _) is { } key)
        {
            if (key.Length < least || key.Length > most)
            {
                Error(section.MarkOf(property), $"the secret in '{file.Written}' has {key.Length} octets", least == most ? $"{least} octets" : $"{least} octets or more");
            }

            key.Wipe();
        }
    }

    private void Unresolved(SourceMark at, string kind, string name, IEnumerable<string> known)
    {
        var names = known.ToList();
        var nearest = OptionSchema.Nearest(name, names);
        Error(at, $"there is no {kind} '{name}'{(nearest is null ? "" : $", perhaps '{nearest}'")}", names.Count == 0 ? $"a {kind} declared in this file" : string.Join(", ", names));
    }

    private static void Pairwise<T, TKey>(IEnumerable<T> items, Func<T, TKey> key, Action<T, T> clash)
        where TKey : notnull
    {
        var seen = new Dictionary<TKey, T>();
        foreach (var item in items)
        {
            if (!seen.TryAdd(key(item), item))
            {
                clash(item, seen[key(item)]);
            }
        }
    }

    private static bool Overlap(IPNetwork a, IPNetwork b) => a.Contains(b.BaseAddress) || b.Contains(a.BaseAddress);

    private void Error(SourceMark at, string text, string? allowed) => _findings.Add(new Finding(_node.File, at, text, allowed));
}
