using System.Security.Cryptography;
using Sojourn.DataPath.DiffServ;
using Sojourn.DataPath.Netlink;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Engine.Diameter;
using Sojourn.Engine.Ipsec;
using Sojourn.Host.Observation;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;

namespace Sojourn.Host.Control;

/// <summary>Reads a running node's state into documents. Engine state is read on the engine's thread.</summary>
public sealed class NodeTables(RunningNode node, NodeMetrics metrics) : IDisposable
{
    private const byte RouteOwner = 115;

    // Opened here, so that it belongs to the node's network namespace whichever thread asks later.
    private readonly Rtnetlink? _route = node.PacketPath is null && !node.Role.Ports.HomeAttachment ? null : new Rtnetlink();

    private string Name => node.Options.Node;

    private IReadOnlyDictionary<string, long> PacketCounters => node.PacketPath?.Counters ?? node.Role.PacketCounters;

    public async Task<PathsDocument> Paths()
    {
        var (desired, report) = await Report().ConfigureAwait(false);
        return new PathsDocument(Name, [.. desired.Select(path => View(path, report.Paths.FirstOrDefault(r => r.Path.Id == path.Id)))]);
    }

    public async Task<SessionsDocument> Sessions() => new(Name, await node.Engine.Query(node.Role.Sessions).ConfigureAwait(false));

    public async Task<BindingsDocument> Bindings() => new(Name, await node.Engine.Query(node.Role.Bindings).ConfigureAwait(false));

    public async Task<VisitorsDocument> Visitors() => new(Name, await node.Engine.Query(node.Role.Visitors).ConfigureAwait(false));

    public async Task<LeasesDocument> Leases() => new(Name, await node.Engine.Query(node.Role.Leases).ConfigureAwait(false));

    public async Task<CertificatesDocument> Certificates() => new(Name, await node.Engine.Query(node.Role.Certificates).ConfigureAwait(false));

    public async Task<NamesDocument> Names() => new(Name, await node.Engine.Query(node.Role.Names).ConfigureAwait(false));

    public async Task<ScenariosDocument> Scenarios() => new(Name, await node.Engine.Query(node.Role.Scenarios).ConfigureAwait(false));

    public async Task<BindingListDocument> BindingList() => new(Name, await node.Engine.Query(node.Role.BindingList).ConfigureAwait(false));

    public async Task<MobileTunnelsDocument> MobileTunnels() => new(Name, await node.Engine.Query(node.Role.MobileTunnels).ConfigureAwait(false));

    public ServersDocument Servers() => new(Name, node.Role.Servers());

    public async Task<DataPolicyDocument> DataPolicies() => new(Name, await node.Engine.Query(node.Role.DataPolicies).ConfigureAwait(false));

    public async Task<ChildSasDocument> ChildSas() => new(Name, await node.Engine.Query(node.Role.ChildSas).ConfigureAwait(false));

    public async Task<TranslationDocument> Translations() => new(Name, await node.Engine.Query(node.Role.Translations).ConfigureAwait(false));

    public async Task<VpnCacheDocument> VpnCache()
    {
        var rows = await node.Engine.Query(node.Role.Cache).ConfigureAwait(false);
        return new VpnCacheDocument(Name, [.. rows.Select(View)]);
    }

    public async Task<VpnDatabaseDocument> VpnDatabase()
    {
        var rows = await node.Engine.Query(node.Role.VpnDatabase).ConfigureAwait(false);
        return new VpnDatabaseDocument(Name, [.. rows.Select(row => new VpnInstanceView(
            row.ProfileNumber, row.Nai, row.UserSpecific ? 1 : 0, row.Destination, row.UpClass, row.DownClass, Spi(row.UpSpi ?? 0), Spi(row.DownSpi ?? 0), row.SecurityType,
            row.Algorithm, row.ContractAlgorithm,
            row.ContractKeys is { } keys ? Fingerprint(keys.Up.Encryption, keys.Up.Authentication, keys.Down.Encryption, keys.Down.Authentication) : null,
            row.Route, row.Trigger, row.Enabled))]);
    }

    public async Task<CorrespondentGatewaysDocument> CorrespondentGateways() => new(Name, await node.Engine.Query(node.Role.CorrespondentGateways).ConfigureAwait(false));

    public async Task<PeersDocument> Peers()
    {
        var peers = await node.Engine.Query(() => node.Role.Diameter?.PeerStatus ?? []).ConfigureAwait(false);
        return new PeersDocument(Name, [.. peers.Select(peer => new PeerView(
            peer.Identity, peer.Realm, IsUp(peer), peer.State, peer.Watchdog, peer.Since, peer.Remote?.ToString(), peer.Secured, peer.Pending, peer.Counters, peer.LastCloseReason, peer.NextAttempt))]);
    }

    public async Task<QosDocument> Qos()
    {
        var (desired, report) = await Report().ConfigureAwait(false);
        return new QosDocument(Name, node.Options.PacketPath.EgressRate?.ToString(),
            [.. desired.Where(path => path.State != PathState.Blocked).Select(path => new QosFilterView(
                path.Id.ToString(), path.Source, path.Destination, path.MarkDscp, path.MarkDscp is { } dscp ? (byte)(dscp << 2) : null, ForwardingClasses.Of(path.MarkDscp ?? 0)))],
            report.Classes);
    }

    public async Task<AssociationsDocument> Associations()
    {
        var (_, report) = await Report().ConfigureAwait(false);
        return new AssociationsDocument(Name, [.. report.Paths.SelectMany(path => new[] { View(path, outbound: true), View(path, outbound: false) }).OfType<AssociationView>()]);
    }

    public RoutesDocument Routes()
    {
        if (_route is null)
        {
            return new RoutesDocument(Name, []);
        }

        lock (_route)
        {
            var tun = node.Options.PacketPath.Tun;
            var selectors = _route.Rules().Where(rule => rule.Owner == RouteOwner && rule.Destination is not null)
                .Select(rule => new RouteView(rule.Destination!.Value, rule.Source, null, rule.DestinationPorts is null ? tun : "lo", rule.Priority, rule.Table, rule.DestinationPorts is null ? "path" : "interception"));
            var routes = _route.Routes().Where(route => route.Protocol == RouteOwner)
                .Select(route => new RouteView(route.Destination, null, route.Gateway, route.Interface, route.Metric, route.Table, route.Type.ToString().ToLowerInvariant()));
            return new RoutesDocument(Name, [.. selectors, .. routes]);
        }
    }

    public CountersDocument Counters()
    {
        var counters = new SortedDictionary<string, long>(metrics.Counters.ToDictionary(), StringComparer.Ordinal);
        foreach (var (name, value) in PacketCounters)
        {
            counters[name] = value;
        }

        return new CountersDocument(Name, counters);
    }

    public async Task<CountsView> Counts()
    {
        var (peers, sizes, paths) = await node.Engine.Query(() => (node.Role.Diameter?.PeerStatus ?? [], node.Role.Sizes, node.Role.Vpn?.Paths.Count ?? 0)).ConfigureAwait(false);
        return new CountsView(sizes.Sessions, sizes.Bindings, sizes.Visitors, paths, node.PacketPath?.ActivePaths ?? 0, peers.Count, peers.Count(IsUp));
    }

    /// <summary>What metrics show beside counters.</summary>
    public async Task<MetricSnapshot> Metrics()
    {
        var counts = await Counts().ConfigureAwait(false);
        var peers = await node.Engine.Query(() => node.Role.Diameter?.PeerStatus ?? []).ConfigureAwait(false);
        var things = peers.Select(peer => ("diameter-peer", peer.Identity, IsUp(peer)))
            .Concat(node.Options.StandingTunnels.Select(tunnel => ("standing-tunnel", tunnel.Name, node.PacketPath?.Holds(new PathId("standing", tunnel.Name)) ?? false)))
            .ToList();
        return new MetricSnapshot(
            new Dictionary<string, long>
            {
                ["sessions"] = counts.Sessions,
                ["bindings"] = counts.Bindings,
                ["visitors"] = counts.Visitors,
                ["paths"] = counts.Paths,
                ["paths.up"] = counts.PathsUp,
            },
            things, PacketCounters);
    }

    public void Dispose() => _route?.Dispose();

    internal static bool IsUp(DiameterPeerStatus peer) => peer.State is DiameterPeerState.IOpen or DiameterPeerState.ROpen && peer.Watchdog is not (WatchdogState.Down or WatchdogState.Suspect);

    private async Task<(IReadOnlyList<VpnPath> Desired, PacketPathReport Report)> Report()
    {
        if (node.PacketPath is null && node.Role.Vpn is null)
        {
            // A role that carries its tunnels itself.
            var tunnels = await node.Engine.Query(node.Role.Tunnels).ConfigureAwait(false);
            return ([.. tunnels.Select(t => t.Path).OrderBy(p => p.Id.ToString(), StringComparer.Ordinal)], new PacketPathReport(tunnels, [], node.Role.PacketCounters));
        }

        var desired = await node.Engine.Query<IReadOnlyList<VpnPath>>(() => [.. (node.Role.Vpn?.Paths ?? []).OrderBy(p => p.Id.ToString(), StringComparer.Ordinal)]).ConfigureAwait(false);
        return (desired, node.PacketPath?.Report() ?? new PacketPathReport([], [], new Dictionary<string, long>()));
    }

    internal static CacheView View(CacheRow row) => new(
        row.Session, row.Nai, row.HomeAddress, row.HomeAgent, row.CareOfAddress, row.Expires, row.ProfileCount, row.OutboundReady,
        [.. row.Profiles.Select(p => new ProfileView(
            p.ProfileNumber, p.View, p.Source, p.Destination, p.View == Engine.ProfileView.Up ? p.UpTos : p.DownTos, p.UpTos, p.DownTos, p.SecurityType,
            p.SourceGateway, p.DestinationGateway, p.GatewayType, Spi(p.UpSpi), Spi(p.DownSpi), Suite(p.Algorithm), p.Keying,
            p.KeyFingerprint.Length == 0 ? null : p.KeyFingerprint, p.Revision, p.KeyExpiry, p.Supplier, p.Trigger))]);

    internal static PathView View(VpnPath path, PathReport? report) => new(
        path.Id.ToString(), path.Id.Owner, path.Id.Leg, path.State, report is not null, path.Source, path.Destination, path.MarkDscp, path.SecurityType,
        Suite((path.Outbound ?? path.Inbound)?.Algorithm ?? IpsecAlgorithm.None), path.LocalGateway, path.RemoteGateway, Encapsulation(path),
        path.SecurityType == SecurityType.EncapsulationOnly || path.Outbound is not null ? Half(path.Outbound, path.LocalGateway, path.RemoteGateway, report?.PacketsOut, report?.BytesOut, report?.Outbound) : null,
        path.SecurityType == SecurityType.EncapsulationOnly || path.Inbound is not null ? Half(path.Inbound, path.RemoteGateway, path.LocalGateway, report?.PacketsIn, report?.BytesIn, report?.Inbound) : null,
        report?.PacketsOut ?? 0, report?.BytesOut ?? 0, report?.PacketsIn ?? 0, report?.BytesIn ?? 0, report?.LastOut, report?.LastIn, report?.OuterMtu, report?.InnerMtu,
        report?.Drops ?? new Dictionary<string, long>(),
        new OriginView(path.Origin.Role, path.Origin.Row, path.Origin.Session, path.Origin.Nai, path.Origin.HomeAddress, path.Origin.ProfileNumber, path.Origin.Revision));

    private static HalfView Half(SaParameters? association, System.Net.IPAddress source, System.Net.IPAddress destination, long? packets, long? bytes, AssociationReport? report) => new(
        association is null ? null : Spi(association.Spi), source, destination, packets ?? 0, bytes ?? 0, report?.Sequence, report?.Holders,
        association is null ? null : Fingerprint(association.Keys.Encryption, association.Keys.Authentication));

    private static AssociationView? View(PathReport report, bool outbound)
    {
        var path = report.Path;
        if ((outbound ? path.Outbound : path.Inbound) is not { } association || (outbound ? report.Outbound : report.Inbound) is not { } state)
        {
            return null;
        }

        return new AssociationView(
            path.Id.ToString(), outbound ? "out" : "in", state.Protocol, Spi(state.Spi), outbound ? path.Source : path.Destination, outbound ? path.Destination : path.Source,
            state.Source, state.Destination, Encapsulation(path), Suite(state.Algorithm), association.Keys.Encryption.Length * 8, association.Keys.Authentication.Length * 8,
            Fingerprint(association.Keys.Encryption, association.Keys.Authentication), state.ExtendedSequence, state.Sequence, association.ReplayWindow, state.Packets, state.Bytes,
            state.Holders, state.LastUse, state.Library, state.Drops);
    }

    private static string Encapsulation(VpnPath path) => path switch
    {
        { Udp: not null } => "esp-in-udp",
        { SecurityType: SecurityType.Esp } => "esp-tunnel",
        { SecurityType: SecurityType.Ah } => "ah-tunnel",
        _ => "ip-in-ip",
    };

    private static IpsecAlgorithm? Suite(IpsecAlgorithm algorithm) => algorithm == IpsecAlgorithm.None ? null : algorithm;

    private static string? Spi(uint spi) => spi == 0 ? null : "0x" + spi.ToString("x8", System.Globalization.CultureInfo.InvariantCulture);

    private static string? Fingerprint(params ReadOnlySpan<KeyMaterial> keys)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var octets = 0;
        foreach (var key in keys)
        {
            hash.AppendData(key.Octets);
            octets += key.Length;
        }

        return octets == 0 ? null : Convert.ToHexStringLower(hash.GetHashAndReset().AsSpan(0, 4));
    }
}
