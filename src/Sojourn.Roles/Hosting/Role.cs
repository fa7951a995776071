using System.Net;
using Sojourn.DataPath.Interception;
using Sojourn.Engine;
using Sojourn.Engine.Diameter;
using Sojourn.Engine.Gateway;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Roles.Configuration;
using Sojourn.Storage;

namespace Sojourn.Roles.Hosting;

/// <summary>
/// What a role adds to a node: its engine, the ports the engine needs, and answers to questions about its state. The
/// methods that read state run on the engine's thread (<see cref="EngineHost.Query{T}"/>).
/// </summary>
public abstract class Role : IDisposable
{
    public abstract IEngine Engine { get; }

    /// <summary>The VPN information cache and desired paths of a mobility gateway.</summary>
    public virtual VpnControl? Vpn => null;

    /// <summary>The Diameter side of the engine, when it has one.</summary>
    public DiameterApplication? Diameter => (Engine is KeyedGateway keyed ? keyed.Gateway : Engine) as DiameterApplication;

    public virtual PortNeeds Ports => new();

    /// <summary>Of a role with <see cref="PortNeeds.KeyExchange"/>: what answers first requests of IKEv2 where they arrive when there are too many.</summary>
    public virtual CookieGate? Cookies => (Engine as KeyedGateway)?.Cookies;

    public virtual IReadOnlyList<SessionRow> Sessions() => [];

    public virtual IReadOnlyList<BindingRow> Bindings() => [];

    public virtual IReadOnlyList<VisitorRow> Visitors() => [];

    /// <summary>How many rows the three tables have. Asked every few seconds: a role with many users counts without making the rows.</summary>
    public virtual TableSizes Sizes => new(Sessions().Count, Bindings().Count, Visitors().Count);

    /// <summary>Delegated prefixes.</summary>
    public virtual IReadOnlyList<LeaseRow> Leases() => [];

    /// <summary>Certificates of terminals with preset home addresses (spec D6), at their home agent.</summary>
    public virtual IReadOnlyList<CertificateRow> Certificates() => [];

    /// <summary>Names this node has registered with the name service, or is about to.</summary>
    public virtual IReadOnlyList<NameRow> Names() => [];

    /// <summary>Scenario policy of a terminal.</summary>
    public virtual IReadOnlyList<ScenarioRow> Scenarios() => [];

    /// <summary>Binding update lists of a terminal.</summary>
    public virtual IReadOnlyList<BindingListRow> BindingList() => [];

    /// <summary>Tunnel information of a terminal.</summary>
    public virtual IReadOnlyList<MobileTunnelRow> MobileTunnels() => [];

    /// <summary>Policy of a terminal for packets of applications.</summary>
    public virtual IReadOnlyList<DataPolicyRow> DataPolicies() => [];

    /// <summary>Associations that a terminal's key exchange made.</summary>
    public virtual IReadOnlyList<ChildSaRow> ChildSas() => [];

    /// <summary>Translation table of a terminal.</summary>
    public virtual IReadOnlyList<TranslationRow> Translations() => [];

    public virtual IReadOnlyList<CacheRow> Cache() => Vpn is null ? [] : [.. Vpn.Sessions.OrderBy(s => s.Session, StringComparer.Ordinal).Select(CacheRow.Of)];

    /// <summary>Tunnels of a role that has no packet path of the node's, with their counters.</summary>
    public virtual IReadOnlyList<PathReport> Tunnels() => [];

    /// <summary>Counters of what carries those tunnels. Any thread may ask.</summary>
    public virtual IReadOnlyDictionary<string, long> PacketCounters => new Dictionary<string, long>();

    /// <summary>The servers of a home agent. Any thread may ask.</summary>
    public virtual IReadOnlyList<ServerRow> Servers() => [];

    /// <summary>The VPN database (spec 3.1), at the home AAA server.</summary>
    public virtual IReadOnlyList<VpnInstance> VpnDatabase() => [];

    /// <summary>The CN-GW address table (spec 3.3), at the home AAA server.</summary>
    public virtual IReadOnlyList<CorrespondentGatewayRow> CorrespondentGateways() => [];

    /// <summary>Accounting records, at the home AAA server. Any thread may ask.</summary>
    public virtual UsageStore? Usage => null;

    /// <summary>What was done to the role's own database, newest first. Any thread may ask.</summary>
    public virtual IReadOnlyList<AuditEntry> Audit(int count) => [];

    /// <summary>The command that ends what matches; null when this role holds no sessions. All null = everything.</summary>
    public virtual IReadOnlyList<EngineCommand> Clear(string? session, string? nai, IPAddress? homeAddress) => [];

    /// <summary>What makes a home agent forget whose a preset home address is; null when it knows no such terminal.</summary>
    /// <param name="identifier">In canonical form.</param>
    public virtual EngineInput? Forget(string identifier) => null;

    /// <summary>The command that makes a mobile node register again; null at every other role.</summary>
    /// <param name="serviceUpdate">With a service update request (spec NV7.2).</param>
    public virtual EngineCommand? Register(bool serviceUpdate) => null;

    /// <summary>What switches a scenario number of a terminal; null when this node has no such number.</summary>
    public virtual EngineCommand? SetScenario(int number, bool valid) => null;

    /// <summary>Opens what the role listens on by itself, in the network namespace of the calling thread.</summary>
    /// <exception cref="IOException">An address cannot be bound.</exception>
    public virtual void Start()
    {
    }

    /// <summary>
    /// Ports that only this role has, opened in the node's network namespace before the engine starts. The node disposes of them;
    /// they may deliver at once, what comes before the start is lost.
    /// </summary>
    public virtual IEnumerable<IEffectPort> OpenPorts(Action<EngineInput> deliver, NodeServices services) => [];

    /// <summary>Takes over the reloadable options; runs on the engine's thread.</summary>
    public virtual void Reconfigure(NodeOptions options, DateTimeOffset now, EffectSink effects)
    {
    }

    public virtual void Dispose() => GC.SuppressFinalize(this);
}

/// <summary>Rows of <see cref="Role.Sessions"/>, <see cref="Role.Bindings"/> and <see cref="Role.Visitors"/>.</summary>
public readonly record struct TableSizes(int Sessions, int Bindings, int Visitors);

/// <summary>Which ports a role needs.</summary>
public sealed record PortNeeds
{
    /// <summary>UDP port 434.</summary>
    public bool MobileIp { get; init; }

    public LinkReception LinkReception { get; init; }

    /// <summary>Links with agent discovery and link-layer sources.</summary>
    public IReadOnlyList<string> Links { get; init; } = [];

    public IReadOnlyList<byte> Groups { get; init; } = [];

    /// <summary>Prefixes whose datagrams to port 434 this node takes (spec R46).</summary>
    public IReadOnlyList<IPNetwork> Intercepted { get; init; } = [];

    /// <summary>UDP ports 500 and 4500, the second shared with the packet path where there is one.</summary>
    public bool KeyExchange { get; init; }

    /// <summary>The full packet path with its virtual device.</summary>
    public bool PacketPath { get; init; }

    /// <summary>Addresses and routes of a mobile node, without forwarding.</summary>
    public bool HomeAttachment { get; init; }

    /// <summary>Carrier changes of <see cref="Links"/>.</summary>
    public bool LinkChanges { get; init; }
}
