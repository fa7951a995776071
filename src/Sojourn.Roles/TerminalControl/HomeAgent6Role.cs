using System.Net;
using System.Security.Cryptography.X509Certificates;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.DynamicDns;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.TerminalControl;
using Sojourn.Roles.CertificateAuthority;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Roles.KeyExchange;
using Sojourn.Roles.PrefixDelegation;
using Sojourn.Roles.Queries;
using Sojourn.Roles.Revocation;
using Sojourn.Wire.Dns;
using Sojourn.Wire.Icmpv6;

namespace Sojourn.Roles.TerminalControl;

/// <summary>
/// Role home-agent6 (spec authentication P6 to P8): Mobile IPv6 home agent whose terminals prove themselves by IKEv2. With a section
/// <c>delegating-router</c> the node is that too, and asks itself whose a home prefix is.
/// </summary>
public sealed class HomeAgent6Role : Role
{
    private const ushort NameUpdatePort = 53530;

    /// <summary>Where nothing is configured: more processors than that have other work too.</summary>
    private const int MostServers = 16;

    private readonly HomeAgent6Section _section;
    private readonly KeyExportOptions? _keyExport;
    private readonly DelegatingRouterRole? _router;
    private readonly TerminalControlDevice _device;
    private readonly HomeTunnel _tunnel;
    private readonly HomeLink? _homeLink;
    private readonly IEngine _engine;
    private readonly TimeProvider _time;
    private readonly TlsCredentials? _identity;
    private readonly RevocationSection _revocation;
    private readonly HomeAgentCredentials _credentials;
    private readonly IReadOnlyList<X509Certificate2> _authorities;
    private WithdrawalReceiver? _withdrawals;
    private HomeAgent6Port? _packets;

    /// <exception cref="InvalidDataException">Certificate or key cannot be read or do not belong together.</exception>
    /// <param name="router">The delegating router of this node; null = it is elsewhere.</param>
    public HomeAgent6Role(NodeOptions node, NodeServices services, DelegatingRouterRole? router)
    {
        (_section, _keyExport, _router, _time) = (node.HomeAgent6!, node.KeyExport, router, services.Time);
        _identity = (_section.Allocations?.Tls ?? _section.Authority?.Tls) is { } tls ? TlsCredentials.FromPemFiles(tls.CertificateFile.FullPath, tls.KeyFile.FullPath, tls.CaFile.FullPath) : null;
        _revocation = _section.Revocation ?? new RevocationSection();
        _authorities = IkeCredentialFiles.ReadCertificates(_section.CaFile.FullPath);
        _credentials = new HomeAgentCredentials(_section);
        _homeLink = _section.HomeLink is { } link ? HomeLinkPort.Read(link) : null;
        _tunnel = new HomeTunnel(_section.Address, _section.OuterMtu, services.Random);
        _device = new TerminalControlDevice(
            new TerminalControlOptions
            {
                Address = _section.Address,
                HomePrefixes = _section.HomePrefixes,
                Identity = _section.Identity is { } name ? IkeIdentity.Parse(name) : IkeIdentity.Of(_section.Address),
                Credential = _credentials.Current,
                Trust = new TrustAnchors(_authorities),
                PresetPrefixes = _section.PresetPrefixes.Count > 0 ? [.. _section.PresetPrefixes.Select(p => p.ToHomePrefix(_homeLink is not null))] : null,
                HomeLink = _homeLink,
                Names = _section.NameService?.Register ?? NameRegistration.Never,
                NameService = _section.NameService is { } names ? Registrar(names) : null,
                MobileNetworks = _section.MobileRouters.ToDictionary(r => r.HomeAddress, IReadOnlyList<IPNetwork> (r) => r.Networks),
                LongestBinding = _section.MaximumLifetime,
                MaximumBindings = _section.MaximumBindings,
                Preference = (ushort)_section.Preference,
                OtherHomeAgents = [.. _section.HomeAgents.Select(a => new OtherHomeAgent(a.Address, (ushort)a.Preference))],
                ForeignCareOfAddresses = _section.ForeignCareOfAddresses,
                AllocationPolling = _section.AllocationPolling,
                Revocation = _revocation.AllowUnknown ? RevocationPolicy.AllowUnknown : RevocationPolicy.Required,
                RevocationTimeout = (_revocation.Timeout * _revocation.Order.Count) + TimeSpan.FromSeconds(1),
                LivenessInterval = _section.Liveness,
                OuterMtu = _section.OuterMtu,
                DataProtection = _section.DataProtection,
                Signalling = node.Interop.PlainBindings ? SignallingTreatment.Bypass : SignallingTreatment.Protect,
                AuthenticationHeaders = [.. node.Associations.Select((association, number) => EngineOptions.Transport(association, _section.Address, -1 - number))],
                KeepsMobileHeader = _section.MobileTunnelHeader == TunnelHeader.Keep,
                KeyExchange = new IkeOptions { Peers = [], CookieThreshold = _section.CookieThreshold, ExportKeys = _keyExport is not null, CrashTokens = true },
            },
            services.Random);
        _engine = router is null ? _device : new DelegatingTerminalControl(_device, (DelegatingRouter)router.Engine);
    }

    public override IEngine Engine => _engine;

    public override TableSizes Sizes => new(_device.Counts.Terminals, _device.Counts.Bindings, 0);

    public override IReadOnlyList<PathReport> Tunnels() => _tunnel.Report(_time.GetUtcNow());

    public override IReadOnlyDictionary<string, long> PacketCounters => _tunnel.Drops;

    public override IReadOnlyList<ServerRow> Servers() => _packets?.Servers ?? [];

    public override IReadOnlyList<BindingRow> Bindings() =>
    [
        .. _device.Bindings.OrderBy(b => b.Identifier, StringComparer.Ordinal).Select(b => new BindingRow(
            MobileTunnel.IdOf(b.HomeAddress).Owner, b.Identifier, b.HomeAddress, b.CareOfAddress, b.Expires, null, null, null, false)),
    ];

    /// <summary>A row for each key exchange: identifier, home address, where the terminal is, and whether its prefix lasts.</summary>
    public override IReadOnlyList<SessionRow> Sessions()
    {
        var bound = _device.Bindings.ToDictionary(b => b.HomeAddress);
        return
        [
            .. _device.Terminals.OrderBy(t => t.Identifier, StringComparer.Ordinal).ThenBy(t => t.Association).Select(t => new SessionRow(
                MobileTunnel.IdOf(t.HomeAddress).Owner, t.Identifier, t.HomeAddress, t.Remote.Address, _section.Address, t.ValidUntil, 0,
                !t.Established ? "proved" : bound.ContainsKey(t.HomeAddress) ? "bound" : "associated")),
        ];
    }

    public override IReadOnlyList<CertificateRow> Certificates() => _device.Certificates is { } table ? [.. table.Rows.OrderBy(r => r.Identifier, StringComparer.Ordinal).Select(CertificateRow.Of)] : [];

    public override IReadOnlyList<NameRow> Names() => [.. _device.Names.OrderBy(n => n.Identifier, StringComparer.Ordinal).Select(n => new NameRow(n.Identifier, n.HomeAddress, n.Registered ? "registered" : "asked for"))];

    public override EngineInput? Forget(string identifier) => _device.Certificates?.Find(identifier) is null ? null : new AllocationWithdrawn(null, identifier, "an operator's word");

    public override IReadOnlyList<LeaseRow> Leases() => _router?.Leases() ?? [];

    public override IReadOnlyList<Storage.AuditEntry> Audit(int count) => _router?.Audit(count) ?? [];

    public override IReadOnlyList<EngineCommand> Clear(string? session, string? nai, IPAddress? homeAddress) =>
    [
        .. _device.Bindings.Where(b => (session is null || session == MobileTunnel.IdOf(b.HomeAddress).Owner) && (nai is null || nai == b.Identifier) && (homeAddress is null || homeAddress.Equals(b.HomeAddress)))
            .Select(b => new ClearBinding(b.HomeAddress)),
    ];

    public override IEnumerable<IEffectPort> OpenPorts(Action<EngineInput> deliver, NodeServices services)
    {
        yield return new KeyExportPort(_keyExport, services);

        var device = new RoutedDevice(_section.Tun, _section.OuterMtu, [new IPNetwork(_section.Address, 128), .. Routed(), .. _section.MobileRouters.SelectMany(r => r.Networks)],
            _section.Servers ?? Math.Min(Environment.ProcessorCount, MostServers), segments: true);
        if (_homeLink is not null)
        {
            yield return new HomeLinkPort(_homeLink, device, deliver, services);
        }

        yield return _packets = new HomeAgent6Port(device, _tunnel, _section.Address, _device.Cookies, deliver, services);
        yield return new HomeAgentCredentialPort(_credentials, deliver, services);
        yield return new RevocationPort(new RevocationChecker(_revocation, _authorities, services.Time, services.Random), deliver);
        if (_section.Allocations is { } allocations)
        {
            var routers = allocations.Routers.Select(text => new Uri(text)).ToList();
            yield return new AllocationPort([.. routers.Select(uri => new AllocationClient(uri, _identity!))], deliver);
            if (allocations.Listen.Count > 0)
            {
                _withdrawals = new WithdrawalReceiver(allocations.Listen, _identity!, allocations.Authorities, [.. routers.Select(uri => uri.DnsSafeHost)], deliver, services);
            }
        }

        if (_section.Authority is { } authority)
        {
            yield return new AuthorityPort(new PermissionClient(new Uri(authority.Url), _identity!), deliver);
            if (authority.Listen.Count > 0)
            {
                _withdrawals = new WithdrawalReceiver(authority.Listen, _identity!, [authority.CertificateName], [], deliver, services);
            }
        }

        foreach (var port in _router?.OpenPorts(deliver, services) ?? [])
        {
            yield return port;
        }
    }

    /// <summary>Prefixes that lead here as a whole. Of one on the home link only the home agents' anycast address does (RFC 6275 10.5), and the home addresses of terminals that are away.</summary>
    private IEnumerable<IPNetwork> Routed()
    {
        IPNetwork[] shared = _homeLink is null ? [] : [.. _section.PresetPrefixes.Select(p => p.Prefix)];
        return [.. _section.HomePrefixes.Except(shared), .. shared.Select(p => new IPNetwork(HomeAgentAddressDiscoveryRequest.AnycastAddress(p), 128))];
    }

    /// <summary>The preset home prefixes. Those that this node's routes and policies do not reach wait for a restart with the others.</summary>
    public override void Reconfigure(NodeOptions options, DateTimeOffset now, EffectSink effects)
    {
        _router?.Reconfigure(options, now, effects);
        var served = options.HomeAgent6!.PresetPrefixes.Where(p => _section.HomePrefixes.Exists(h => h.PrefixLength <= p.Prefix.PrefixLength && h.Contains(p.Prefix.BaseAddress))).Select(p => p.ToHomePrefix(_homeLink is not null)).ToList();
        if (_device.Certificates is not null && served.Count > 0)
        {
            _engine.Handle(new SetHomePrefixes(served), now, effects);
        }
    }

    private NameRegistrarOptions Registrar(NameServiceSection section) => new()
    {
        // Answers come to the home agent's address, of which every port is this node's.
        Local = new IPEndPoint(_section.Address, NameUpdatePort),
        Zones = [.. section.Zones.Select(z => new DnsUpdateZone(DnsName.FromText(z.Zone), z.Servers, TransactionKeyFile.Read(z.KeyFile)))],
        TimeToLive = section.TimeToLive,
        MarkOwner = section.MarkOwner,
    };

    public override void Dispose()
    {
        _withdrawals?.Dispose();
        _identity?.Dispose();
        _router?.Dispose();
        _device.Dispose();
        _credentials.Dispose();
        base.Dispose();
    }
}
