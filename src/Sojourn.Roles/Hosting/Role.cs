using System.Net;
using Sojourn.DataPath.Interception;
using Sojourn.Engine;
using Sojourn.Engine.Diameter;
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
    public DiameterApplication? Diameter => Engine as DiameterApplication;

    public virtual PortNeeds Ports => new();

    public virtual IReadOnlyList<SessionRow> Sessions() => [];

    public virtual IReadOnlyList<BindingRow> Bindings() => [];

    public virtual IReadOnlyList<VisitorRow> Visitors() => [];

    /// <summary>How many rows the three tables have. Asked every few seconds: a role with many users counts without making the rows.</summary>
    public virtual TableSizes Sizes => new(Sessions().Count, Bindings().Count, Visitors().Count);

    /// <summary>Delegated prefixes.</summary>
    public virtual IReadOnlyList<LeaseRow> Leases() => [];

    public virtual IReadOnlyList<CacheRow> Cache() => Vpn is null ? [] : [.. Vpn.Sessions.OrderBy(s => s.Session, StringComparer.Ordinal).Select(CacheRow.Of)];

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

    /// <summary>The command that makes a mobile node register again; null at every other role.</summary>
    /// <param name="serviceUpdate">With a service update request (spec NV7.2).</param>
    public virtual EngineCommand? Register(bool serviceUpdate) => null;

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

    /// <summary>The full packet path with its virtual device.</summary>
    public bool PacketPath { get; init; }

    /// <summary>Addresses and routes of a mobile node, without forwarding.</summary>
    public bool HomeAttachment { get; init; }

    /// <summary>Carrier changes of <see cref="Links"/>.</summary>
    public bool LinkChanges { get; init; }
}
