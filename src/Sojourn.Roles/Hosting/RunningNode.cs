using Sojourn.DataPath.DiffServ;
using Sojourn.DataPath.Interception;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.Diameter;
using Sojourn.Engine.Gateway;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Engine.MobileIpv4.Agents;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Diameter;
using Sojourn.Storage;
using Sojourn.Wire.Diameter;

namespace Sojourn.Roles.Hosting;

/// <summary>What a node reports to.</summary>
public sealed record NodeServices
{
    public TimeProvider Time { get; init; } = TimeProvider.System;

    public Action<EngineEvent> Report { get; init; } = _ => { };

    public Action<string, long> Count { get; init; } = (_, _) => { };

    /// <summary>Sees every change of paths before it is carried out (key export for Wireshark).</summary>
    public Action<ChangePaths>? PathsChanging { get; init; }
}

/// <summary>
/// One node of the product at work: the engine of its role, the host that runs it, and the ports to the outside. Made from
/// a checked configuration; <see cref="Stop"/> takes everything back that it put into the system.
/// </summary>
public sealed class RunningNode : IDisposable
{
    private readonly List<IDisposable> _resources = [];
    private bool _stopped;

    private RunningNode(NodeOptions options, IEngine engine, EngineHost host, Database database)
    {
        Options = options;
        Engine = engine;
        Host = host;
        Store = database;
    }

    public NodeOptions Options { get; }

    /// <summary>Touch it only inside <see cref="EngineHost.Query"/>.</summary>
    public IEngine Engine { get; }

    public EngineHost Host { get; }

    /// <summary>This node's own state.</summary>
    public Database Store { get; }

    /// <summary>Null at nodes without a packet path (AAA servers, relays, mobile nodes).</summary>
    public UserPacketPath? PacketPath { get; private set; }

    /// <summary>Null except at a home AAA server.</summary>
    public SubscriberStore? Subscribers { get; private init; }

    public DiameterTransport? Transport { get; private set; }

    /// <exception cref="StorageException">A database cannot be opened.</exception>
    /// <exception cref="InvalidDataException">A secret cannot be read.</exception>
    public static RunningNode Start(NodeOptions options, NodeServices services)
    {
        Directory.CreateDirectory(options.StateDirectory.FullPath, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var database = Database.Open(options.DatabasePath, options.SealKeyFile?.FullPath);
        var resources = new List<IDisposable> { database };
        try
        {
            SubscriberStore? subscribers = null;
            if (options.Aaa is { Serves: AaaSide.Home, Database: { } file } aaa)
            {
                var directory = Database.Open(file.FullPath, aaa.DatabaseKeyFile?.FullPath, create: false);
                resources.Add(directory);
                subscribers = new SubscriberStore(directory, services.Time, $"node:{options.Node}");
            }

            var engine = EngineOf(options, subscribers);
            var state = new StateStore(database);
            var host = new EngineHost(engine, new EngineHostOptions { Node = options.Node, Time = services.Time, State = state, Report = services.Report, Count = services.Count });
            var node = new RunningNode(options, engine, host, database) { Subscribers = subscribers };
            node._resources.AddRange(resources);
            host.Start(node.OpenPorts(state, services));
            node.Transport?.Start();
            return node;
        }
        catch
        {
            resources.ForEach(r => r.Dispose());
            throw;
        }
    }

    /// <summary>Says goodbye to peers, removes paths, routes and interfaces, and closes the databases.</summary>
    public void Stop()
    {
        if (_stopped)
        {
            return;
        }

        _stopped = true;
        Host.Stop();
        Transport?.DisposeAsync().AsTask().GetAwaiter().GetResult();
        for (var i = _resources.Count - 1; i >= 0; i--)
        {
            _resources[i].Dispose();
        }
    }

    public void Dispose() => Stop();

    private static IEngine EngineOf(NodeOptions options, SubscriberStore? subscribers)
    {
        var random = SystemRandomSource.Instance;
        return options.Role switch
        {
            NodeRole.ForeignAgent => new ForeignAgent(EngineOptions.ForeignAgent(options), EngineOptions.Diameter(options), random),
            NodeRole.HomeAgent => new HomeAgent(EngineOptions.HomeAgent(options), EngineOptions.Diameter(options), random),
            NodeRole.Gateway when options.Gateway!.Type == GatewayType.Dynamic => new CorrespondentGateway(
                EngineOptions.DynamicGateway(options), new VpnProfileAvps(DiameterDictionary.WithVpn(options.EnterpriseNumber)), random),
            NodeRole.Gateway => new StaticGateway(EngineOptions.StaticGateway(options)),
            NodeRole.Aaa when options.Aaa!.Serves == AaaSide.Home => new HomeAaaServer(
                EngineOptions.HomeAaa(options), EngineOptions.Diameter(options), subscribers ?? throw new InvalidDataException($"{options.File}: a home AAA server needs a database"), random),
            NodeRole.Aaa => new VisitedAaaServer(EngineOptions.VisitedAaa(options), EngineOptions.Diameter(options), random),
            NodeRole.MobileNode => new MobileNode(EngineOptions.MobileNode(options), random),
            NodeRole.DiameterRelay => new DiameterRelay(EngineOptions.Diameter(options), random),
            _ => throw new InvalidDataException($"{options.File}: unknown role"),
        };
    }

    private List<IEffectPort> OpenPorts(StateStore state, NodeServices services)
    {
        var ports = new List<IEffectPort>();
        if (Options.Diameter is { } diameter)
        {
            var transport = new DiameterTransport(
                new DiameterTransportOptions
                {
                    Listeners = [.. diameter.Listen.Select(l => new DiameterListener(new System.Net.IPEndPoint(l.Address, l.Port), diameter.Tls is not null))],
                    Tls = diameter.Tls is { } tls ? Keep(DiameterTlsIdentity.FromPemFiles(tls.CertificateFile.FullPath, tls.KeyFile.FullPath, tls.CaFile.FullPath)) : null,
                    AllowPlainTcp = diameter.AllowPlainTcp,
                },
                Host.Post);
            Transport = transport;
            ports.Add(new DiameterPort(transport));
        }

        if (Options.Role is NodeRole.ForeignAgent or NodeRole.HomeAgent or NodeRole.Gateway)
        {
            PacketPath = Keep(new UserPacketPath(
                new DataPath.PacketPath.PacketPathOptions
                {
                    TunName = Options.PacketPath.Tun,
                    Table = new PathTableOptions { OuterMtu = Options.PacketPath.OuterMtu },
                    DiffServ = new DiffServOptions { Rate = Options.PacketPath.EgressRate?.BitsPerSecond, ExpeditedShare = Options.PacketPath.ExpeditedShare / 100.0 },
                    Sequences = new SequenceStore(state),
                    Signal = Host.Post,
                },
                SystemRandomSource.Instance));
            ports.Add(new PathObserver(services.PathsChanging));
            ports.Add(new PacketPathPort(PacketPath, services.Report));
        }

        switch (Options.Role)
        {
            case NodeRole.ForeignAgent:
                var access = Options.ForeignAgent!.Access.Select(a => a.Interface).ToList();
                ports.Add(Keep(new MobileIpPort(new UdpPortOptions { Port = MobileIpPort.Number, LinkReception = LinkReception.OwnAddresses, LinkInterfaces = access, LinkGroups = [11] }, Host.Post)));
                ports.Add(Keep(new AgentDiscoveryPort(access, Host.Post)));
                break;
            case NodeRole.HomeAgent:
                ports.Add(Keep(new MobileIpPort(new UdpPortOptions { Port = MobileIpPort.Number }, Host.Post)));
                break;
            case NodeRole.Gateway when Options.Gateway!.Type == GatewayType.Dynamic:
                foreach (var prefix in Options.Gateway.Serves)
                {
                    PacketPath!.Routing.InterceptUdp(prefix, MobileIpPort.Number);
                }

                ports.Add(Keep(new MobileIpPort(new UdpPortOptions { Port = MobileIpPort.Number }, Host.Post)));
                break;
            case NodeRole.MobileNode:
                var name = Options.MobileNode!.Interface;
                var neighbours = new LinkNeighbours();
                ports.Add(Keep(new MobileIpPort(new UdpPortOptions { Port = MobileIpPort.Number, LinkReception = LinkReception.AnyAddress, LinkInterfaces = [name] }, Host.Post, neighbours)));
                ports.Add(Keep(new AgentDiscoveryPort([name], Host.Post, neighbours)));
                ports.Add(new AttachmentPort(Keep(new NodeRouting(new NodeRoutingOptions { Forwarding = false }))));
                Keep(new LinkPort(name, Host.Post));
                break;
        }

        return ports;
    }

    private T Keep<T>(T resource)
        where T : IDisposable
    {
        _resources.Add(resource);
        return resource;
    }

    /// <summary>Shows path changes to an observer and leaves them to the next port.</summary>
    private sealed class PathObserver(Action<ChangePaths>? observer) : IEffectPort
    {
        public bool TryCarryOut(Effect effect)
        {
            if (effect is ChangePaths change)
            {
                observer?.Invoke(change);
            }

            return false;
        }
    }
}
