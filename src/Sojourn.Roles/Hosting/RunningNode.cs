using System.Net;
using Sojourn.DataPath.DiffServ;
using Sojourn.DataPath.Interception;
using Sojourn.DataPath.PacketPath;
using Sojourn.DataPath.Xfrm;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;
using Sojourn.Roles.Aaa;
using Sojourn.Roles.AccessGateways;
using Sojourn.Roles.AccessRouters;
using Sojourn.Roles.AccessAuthenticator;
using Sojourn.Roles.AccessServer;
using Sojourn.Roles.Agents;
using Sojourn.Roles.AnchorPoints;
using Sojourn.Roles.CertificateAuthority;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Correspondents;
using Sojourn.Roles.Diameter;
using Sojourn.Roles.Gateways;
using Sojourn.Roles.KeyExchange;
using Sojourn.Roles.MobileNodes;
using Sojourn.Roles.MobileRouters;
using Sojourn.Roles.PrefixDelegation;
using Sojourn.Roles.TerminalControl;
using Sojourn.Roles.Terminals;
using Sojourn.Roles.TlsGateways;
using Sojourn.Roles.Transit;
using Sojourn.Storage;

namespace Sojourn.Roles.Hosting;

/// <summary>What a node reports to whoever hosts it. All of it may be called from any thread.</summary>
public sealed record NodeServices
{
    public TimeProvider Time { get; init; } = TimeProvider.System;

    public IRandomSource Random { get; init; } = SystemRandomSource.Instance;

    public Action<EngineEvent> Report { get; init; } = _ => { };

    public Action<string, long> Count { get; init; } = (_, _) => { };
}

/// <summary>
/// A node at work: role, engine loop, ports, state. Lives in the network namespace of the thread that made it.
/// </summary>
public sealed class RunningNode : IDisposable
{
    private readonly NodeServices _services;
    private readonly Database _database;
    private readonly Stack<IDisposable> _resources = new();
    private readonly List<IEffectPort> _ports = [];
    private readonly EngineHost _host;
    private readonly DiameterTransport? _transport;
    private long _lastRefusal;
    private volatile bool _started;
    private volatile EspKeyExport? _keyExport;
    private volatile IkePort? _ike;

    /// <exception cref="StorageException">The state cannot be opened.</exception>
    /// <exception cref="InvalidDataException">A secret cannot be read.</exception>
    /// <exception cref="IOException">The system refuses an interface, route or port.</exception>
    public RunningNode(NodeOptions options, NodeServices services)
    {
        Options = options;
        _services = services;
        Started = services.Time.GetUtcNow();
        Directory.CreateDirectory(options.StateDirectory.FullPath, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        _database = Database.Open(options.DatabasePath, options.SealKeyFile?.FullPath);
        _resources.Push(_database);
        try
        {
            var state = new StateStore(_database);
            Audit = new AuditTrail(_database, services.Time);
            _keyExport = options.KeyExport is { } export ? new EspKeyExport(export.Esp.FullPath) : null;
            Role = Create(options, services, _database);
            _resources.Push(Role);
            _host = new EngineHost(Role.Engine, new EngineHostOptions { Node = options.Node, Time = services.Time, State = state, Report = services.Report, Count = services.Count });
            OpenPaths(state);
            OpenPorts();
            if (options.Diameter is not null)
            {
                _transport = OpenTransport(options.Diameter);
                _ports.Add(new DiameterPort(_transport));
            }
        }
        catch
        {
            Release();
            throw;
        }
    }

    public NodeOptions Options { get; private set; }

    public Role Role { get; }

    public EngineHost Engine => _host;

    public DateTimeOffset Started { get; }

    public IPacketPath? PacketPath { get; private set; }

    /// <summary>What operators did to this node.</summary>
    public AuditTrail Audit { get; }

    /// <summary>What was done to this node and to the database of its role, newest first.</summary>
    public IReadOnlyList<AuditEntry> AuditEntries(int count) =>
        [.. Audit.Latest(count).Concat(Role.Audit(count)).OrderByDescending(entry => entry.At).Take(count)];

    /// <summary>Where keys are exported to; null = nowhere.</summary>
    public string? KeyExportPath => _keyExport?.Path;

    /// <summary>Starts engine, listeners and link watch.</summary>
    /// <exception cref="System.Net.Sockets.SocketException">A Diameter address cannot be bound.</exception>
    public void Start()
    {
        _host.Start(_ports);
        _started = true;
        _transport?.Start();
        Role.Start();
        if (Role.Ports is { LinkChanges: true, Links: var links })
        {
            _resources.Push(new LinkPort(links, Post));
        }
    }

    public void Post(EngineInput input)
    {
        if (_started)
        {
            _host.Post(input);
        }
    }

    /// <summary>Takes over the reloadable options of <paramref name="options"/>.</summary>
    public async Task ReconfigureAsync(NodeOptions options)
    {
        _keyExport = options.KeyExport is { } export ? (_keyExport is { } old && old.Path == export.Esp.FullPath ? old : new EspKeyExport(export.Esp.FullPath)) : null;
        await _host.Invoke((now, effects) => Role.Reconfigure(options, now, effects)).ConfigureAwait(false);
        Options = options;
    }

    /// <summary>Ends matching sessions; tells how many commands that took.</summary>
    public async Task<int> ClearAsync(string? session, string? nai, IPAddress? homeAddress)
    {
        var commands = await _host.Query(() => Role.Clear(session, nai, homeAddress)).ConfigureAwait(false);
        foreach (var command in commands)
        {
            _host.Post(command);
        }

        return commands.Count;
    }

    /// <summary>Makes a home agent forget whose a preset home address is. False when it knows no such terminal.</summary>
    /// <param name="identifier">In canonical form.</param>
    public async Task<bool> ForgetAsync(string identifier)
    {
        if (await _host.Query(() => Role.Forget(identifier)).ConfigureAwait(false) is not { } input)
        {
            return false;
        }

        _host.Post(input);
        return true;
    }

    /// <summary>Switches a scenario number of a terminal. False when this node has no such number.</summary>
    public async Task<bool> SetScenarioAsync(int number, bool valid)
    {
        if (await _host.Query(() => Role.SetScenario(number, valid)).ConfigureAwait(false) is not { } command)
        {
            return false;
        }

        _host.Post(command);
        return true;
    }

    /// <summary>Makes a mobile node register again. False when this node is none.</summary>
    /// <param name="serviceUpdate">With a service update request (spec NV7.2).</param>
    public bool Register(bool serviceUpdate)
    {
        if (Role.Register(serviceUpdate) is not { } command)
        {
            return false;
        }

        _host.Post(command);
        return true;
    }

    /// <summary>Says goodbye to peers, removes paths and routes, closes everything.</summary>
    public void Dispose()
    {
        _host.Stop();
        Release();
    }

    private static Role Create(NodeOptions options, NodeServices services, Database database) => options.Role switch
    {
        NodeRole.ForeignAgent => new ForeignAgentRole(options, services.Random),
        NodeRole.HomeAgent => new HomeAgentRole(options, services.Random),
        NodeRole.Gateway when options.Gateway!.Type == GatewayType.Dynamic => new DynamicGatewayRole(options, services.Random),
        NodeRole.Gateway => new StaticGatewayRole(options, services.Random),
        NodeRole.Aaa when options.Aaa!.Serves == AaaSide.Home => new HomeAaaRole(options, services.Time, services.Random, new UsageStore(database), services.Report),
        NodeRole.Aaa => new VisitedAaaRole(options, services.Random),
        NodeRole.MobileNode => new MobileNodeRole(options, services.Random),
        NodeRole.Ca => new CaRole(options, services),
        NodeRole.RelayAgent => new RelayAgentRole(options),
        NodeRole.AccessGateway => new AccessGatewayRole(options, services),
        NodeRole.AccessRouter => new AccessRouterRole(options, services.Random),
        NodeRole.AccessServer => new AccessServerRole(options, services.Random),
        NodeRole.AccessAuthenticator => new AccessAuthenticatorRole(options, services.Random),
        NodeRole.DelegatingRouter => new DelegatingRouterRole(options, services, new PrefixLeaseStore(database)),
        NodeRole.TlsGateway => new TlsGatewayRole(options),
        NodeRole.Correspondent => new CorrespondentRole(options, services.Random),
        NodeRole.AnchorPoint => new AnchorPointRole(options, services),
        NodeRole.Terminal => new TerminalRole(options, services.Random),
        NodeRole.MobileRouter => new MobileRouterRole(options, services.Random),
        NodeRole.HomeAgent6 => new HomeAgent6Role(options, services, options.DelegatingRouter is null ? null : new DelegatingRouterRole(options, services, new PrefixLeaseStore(database))),
        _ => new DiameterRelayRole(options, services.Random),
    };

    private void OpenPaths(StateStore state)
    {
        var needs = Role.Ports;
        if (needs.PacketPath)
        {
            var settings = Options.PacketPath;
            var options = new PacketPathOptions
            {
                TunName = settings.Tun,
                Routing = new NodeRoutingOptions { VisitorsOnly = Options.Role == NodeRole.ForeignAgent, VisitorLinks = Options.Role == NodeRole.ForeignAgent ? needs.Links : [] },
                HeldPackets = settings.HeldPackets,
                EarlyPackets = Options.Role == NodeRole.ForeignAgent ? settings.HeldPackets : 0,
                Table = new PathTableOptions { OuterMtu = settings.OuterMtu, IcmpSourceIPv4 = Options.GatewayAddress! },
                DiffServ = new DiffServOptions { Rate = settings.EgressRate?.BitsPerSecond, ExpeditedShare = settings.ExpeditedShare / 100.0 },
                Outer = settings.OuterTransport,
                Report = _services.Report,
                Sequences = new SequenceStore(state),
                Signal = Post,
                UdpNotEsp = needs.KeyExchange ? datagram => _ike?.Receive(datagram) : null,
            };
            PacketPath = UsesKernel() ? new KernelPacketPath(options) : new UserPacketPath(options, _services.Random);
            _resources.Push(PacketPath);
            foreach (var prefix in needs.Intercepted)
            {
                PacketPath.Routing.InterceptUdp(prefix, DatagramPort.MobileIp);
            }

            _ports.Add(new PacketPathPort(PacketPath, () => _keyExport, Post, _services.Report));
        }
        else if (needs.HomeAttachment)
        {
            var routing = new NodeRouting(new NodeRoutingOptions { Forwarding = false });
            _resources.Push(routing);
            _ports.Add(new AttachmentPort(routing));
        }
    }

    /// <exception cref="IOException">The kernel is to protect packets and cannot.</exception>
    private bool UsesKernel()
    {
        var wanted = Options.PacketPath.DataPath;
        if (wanted == DataPathKind.User || (wanted == DataPathKind.Auto && !KernelDataPath.IsFitForAuto(Options)))
        {
            return false;
        }

        var missing = KernelPacketPath.Missing();
        if (missing is not null && wanted == DataPathKind.Kernel)
        {
            throw new IOException($"packet-path.data-path is kernel, and this kernel has no ESP: {missing}");
        }

        return missing is null;
    }

    private void OpenPorts()
    {
        foreach (var port in Role.OpenPorts(Post, _services))
        {
            if (port is IDisposable resource)
            {
                _resources.Push(resource);
            }

            _ports.Add(port);
        }

        var needs = Role.Ports;
        var neighbours = needs.HomeAttachment ? new LinkNeighbours() : null;
        if (needs.MobileIp)
        {
            var udp = new DatagramPort(
                new UdpPortOptions { Port = DatagramPort.MobileIp, Mark = PacketPath is null ? 0 : new NodeRoutingOptions().Mark, LinkReception = needs.LinkReception, LinkInterfaces = needs.Links, LinkGroups = needs.Groups },
                Post, _services.Count, neighbours);
            _resources.Push(udp);
            _ports.Add(udp);
        }

        if (needs.KeyExchange)
        {
            _ike = new IkePort(Post, _services.Count, PacketPath, Role.Cookies);
            _resources.Push(_ike);
            _ports.Add(_ike);
            if (Options.KeyExport?.Ike is { } file)
            {
                _ports.Add(new IkeKeyExport(file.FullPath, _services.Report));
            }
        }

        if (needs.Links.Count > 0)
        {
            var icmp = new AgentDiscoveryPort(needs.Links, Post, _services.Count, neighbours);
            _resources.Push(icmp);
            _ports.Add(icmp);
        }
    }

    private DiameterTransport OpenTransport(DiameterOptions diameter)
    {
        var identity = diameter.Tls is { } tls
            ? TlsCredentials.FromPemFiles(tls.CertificateFile.FullPath, tls.KeyFile.FullPath, tls.CaFile.FullPath)
            : null;
        if (identity is not null)
        {
            _resources.Push(identity);
        }

        var transport = new DiameterTransport(
            new DiameterTransportOptions
            {
                Listeners = [.. diameter.Listen.Select(listen => new DiameterListener(new IPEndPoint(listen.Address, listen.Port), identity is not null))],
                Tls = identity,
                AllowPlainTcp = diameter.AllowPlainTcp,
                Refused = RefusedConnection,
            },
            Post);
        _resources.Push(new Closing(transport));
        return transport;
    }

    /// <summary>Counts every refused connection and reports at most one a second, so that nobody can fill the log.</summary>
    private void RefusedConnection(IPEndPoint remote, string reason)
    {
        _services.Count("diameter.connection.refused", 1);
        var now = _services.Time.GetTimestamp();
        var last = Interlocked.Read(ref _lastRefusal);
        if ((last == 0 || _services.Time.GetElapsedTime(last, now) >= TimeSpan.FromSeconds(1)) && Interlocked.CompareExchange(ref _lastRefusal, now, last) == last)
        {
            _services.Report(new EngineEvent("diameter.peer.refused", EventSeverity.Warning, reason) { Peer = remote.ToString(), Rule = "M2" });
        }
    }

    /// <summary>In the reverse order of opening; one that fails does not keep the others.</summary>
    private void Release()
    {
        while (_resources.TryPop(out var resource))
        {
            try
            {
                resource.Dispose();
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException)
            {
                _services.Report(new EngineEvent("host.close_failed", EventSeverity.Warning, $"{resource.GetType().Name}: {e.Message}"));
            }
        }
    }

    private sealed class Closing(IAsyncDisposable resource) : IDisposable
    {
        public void Dispose() => resource.DisposeAsync().AsTask().Wait(TimeSpan.FromSeconds(3));
    }
}
