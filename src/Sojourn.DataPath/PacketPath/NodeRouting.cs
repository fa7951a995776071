using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Interception;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;

namespace Sojourn.DataPath.PacketPath;

/// <summary>Numbers this node takes from the kernel's name spaces. Change them only where they collide with something else on the machine.</summary>
public sealed record NodeRoutingOptions
{
    /// <summary>First of five consecutive tables: into the packet path, visitors, attracted home addresses, interception, guard.</summary>
    public uint FirstTable { get; init; } = 4340;

    /// <summary>First of 32 consecutive rule priorities.</summary>
    public uint FirstPriority { get; init; } = 4300;

    /// <summary>Mark of outer packets, which keeps them out of the packet path.</summary>
    public uint Mark { get; init; } = 0x534A;

    /// <summary>Owner number of every route, rule, neighbour and address set here, by which they are found and removed after a crash.</summary>
    public byte Owner { get; init; } = 115;

    /// <summary>False for a host that forwards nothing (a mobile node).</summary>
    public bool Forwarding { get; init; } = true;

    /// <summary>
    /// True on a foreign agent, whose tunnels carry nothing but visitors' packets: one that comes out for a node that is not
    /// (or not yet, or no longer) here is dropped without a word. By the main table it would go on in clear.
    /// </summary>
    public bool VisitorsOnly { get; init; }

    /// <summary>
    /// A foreign agent's access links. Everything that comes in there enters the packet path, one rule a link: what is a visitor's
    /// has its path, what is anybody else's is dropped, not forwarded. Single visitors and their selectors then need no rules.
    /// </summary>
    public IReadOnlyList<string> VisitorLinks { get; init; } = [];
}

/// <summary>
/// Routes, rules, neighbours and addresses for the effects of engines, in the namespace of the thread that made it.
/// <code>
/// priority         rule                                      table
/// first            fwmark OUTER                              main, then unreachable: outer packets never enter the path
/// first + 4        to PREFIX ipproto udp dport PORT          interception: everything is local
/// first + 8        iif TUN                                   visitors, guard, main, then unreachable: what comes out never goes back in;
///                                                            on a foreign agent visitors, then blackhole
/// first + 12       iif lo                                    visitors
/// first + 16       from HOME-ADDRESS iif ACCESS              path: everything of a visitor
///                  or iif ACCESS                             path: everything of an access link of a foreign agent
/// first + 20       from SOURCE to DESTINATION                path: one rule per selector that nothing else leads in
/// first + 22       iif ACCESS                                blackhole, on a foreign agent
/// first + 24       all                                       home addresses
/// </code>
/// The path table's last route is "unreachable", so that after a crash, with the TUN interface gone and the rules still
/// there, protected traffic stops instead of leaving in clear. Rules are asked one after another; see
/// <see cref="SelectorRules"/> for how their number stays that of the node's prefixes and not of its users.
/// </summary>
public sealed partial class NodeRouting : IDisposable
{
    private readonly NodeRoutingOptions _options;
    private readonly string? _tun;
    private readonly NetworkNamespace _network = NetworkNamespace.Current();
    private readonly Rtnetlink _route = new();
    private readonly Lock _gate = new();
    private readonly bool _ipv6 = HasIPv6();
    private readonly Dictionary<string, (string[] Parts, string Earlier)> _changedParameters = [];
    private readonly SelectorRules _selectors;
    private readonly Dictionary<IPAddress, (string Interface, LinkAddress LinkAddress)> _visitors = [];
    private readonly Dictionary<IPAddress, string?> _attracted = [];
    private readonly HashSet<(IPNetwork, ushort, string?)> _intercepted = [];
    private (string Interface, IPAddress Address, IPAddress Gateway)? _attachment;
    private bool _disposed;

    /// <summary>Removes what an earlier life left and sets the base rules. <paramref name="tun"/> is null on a node without a packet path.</summary>
    public NodeRouting(NodeRoutingOptions options, string? tun = null)
    {
        _options = options;
        _tun = tun;
        _selectors = new SelectorRules(
            (source, destination) => AddRule(SelectorRule(source, destination)),
            (source, destination) => Quietly(() => _route.RemoveRule(SelectorRule(source, destination) with { Owner = _options.Owner })));
        try
        {
            CleanUp();
            if (options.Forwarding)
            {
                SetParameters();
            }

            if (tun is not null)
            {
                foreach (var ipv6 in Families)
                {
                    AddBase(ipv6, tun);
                }

                foreach (var link in options.VisitorLinks)
                {
                    AddRule(new PolicyRule { Priority = options.FirstPriority + 16, Table = PathTableNumber, InboundInterface = link });
                }
            }
        }
        catch
        {
            _route.Dispose();
            _network.Dispose();
            throw;
        }
    }

    private uint PathTableNumber => _options.FirstTable;

    private uint VisitorTable => _options.FirstTable + 1;

    private uint HomeTable => _options.FirstTable + 2;

    private uint InterceptionTable => _options.FirstTable + 3;

    /// <summary>Attracted home addresses as unreachable: what comes out of a tunnel for one and has no path must not leave by the default route.</summary>
    private uint GuardTable => _options.FirstTable + 4;

    // New interfaces take "default"; where it is off the kernel refuses IPv6 routes to the TUN.
    public static bool HasIPv6() => new[] { "all", "default" }.All(scope =>
        Path.Combine("/proc/sys/net/ipv6/conf", scope, "disable_ipv6") is var file && File.Exists(file) && File.ReadAllText(file).Trim() == "0");

    private bool[] Families => _ipv6 ? [false, true] : [false];

    /// <summary>Carries out the effects of this class's concern; false for any other effect. <see cref="NetlinkException"/> when the kernel refuses.</summary>
    public bool Apply(Effect effect)
    {
        switch (effect)
        {
            case AddVisitor visitor:
                AddVisitor(visitor.Address, visitor.Interface, visitor.LinkAddress);
                return true;
            case RemoveVisitor visitor:
                RemoveVisitor(visitor.Address);
                return true;
            case HoldVisitor visitor:
                Reach(visitor.Address, !visitor.Hold);
                return true;
            case AttractHomeAddress home:
                Attract(home.Address, home.HomeInterface);
                return true;
            case ReleaseHomeAddress home:
                Release(home.Address);
                return true;
            case AttachHome home:
                Attach(home.Interface, home.HomeAddress, home.Gateway);
                return true;
            case DetachHome home:
                Detach(home.Interface, home.HomeAddress);
                return true;
            default:
                return false;
        }
    }

    /// <summary>
    /// Delivers UDP datagrams for hosts inside <paramref name="destination"/> to this node, with their destination as it was
    /// (spec R46: the gateway takes binding updates for the hosts behind it). Doing it twice is no error.
    /// </summary>
    /// <param name="inbound">Only what comes in by this interface; null = by any.</param>
    public void InterceptUdp(IPNetwork destination, ushort port, string? inbound = null)
    {
        lock (_gate)
        {
            if (!_intercepted.Add((destination, port, inbound)))
            {
                return;
            }

            // A table of its own: in the kernel's local table a default route would take everything.
            var ipv6 = destination.BaseAddress.AddressFamily == AddressFamily.InterNetworkV6;
            _route.ReplaceRoute(new Route { Destination = Everything(ipv6), Table = InterceptionTable, Type = RouteType.Local, Interface = "lo", Protocol = _options.Owner });
            AddRule(new PolicyRule
            {
                Priority = _options.FirstPriority + 4,
                Table = InterceptionTable,
                Destination = destination,
                Protocol = 17,
                DestinationPorts = (port, port),
                InboundInterface = inbound,
                IPv6 = ipv6,
            });
        }
    }

    /// <summary>Leads packets of a path's selector into the packet path. Counted: each call needs one <see cref="RemoveSelector"/>.</summary>
    internal void AddSelector(IPNetwork source, IPNetwork destination)
    {
        lock (_gate)
        {
            if (!IsVisitors(source))
            {
                _selectors.Add(source, destination);
            }
        }
    }

    internal void RemoveSelector(IPNetwork source, IPNetwork destination)
    {
        lock (_gate)
        {
            if (!IsVisitors(source))
            {
                _selectors.Remove(source, destination);
            }
        }
    }

    /// <summary>What one node behind a link that enters the path as a whole sends needs no rule of its own.</summary>
    private bool IsVisitors(IPNetwork source) => _options.VisitorLinks.Count > 0 && source == Host(source.BaseAddress) && source.BaseAddress.AddressFamily == AddressFamily.InterNetwork;

    /// <summary>Removes everything set here and puts kernel parameters back.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_disposed)
            {
                return;
            }

            _disposed = true;
            _announcements?.Dispose();
            CleanUp();
            _network.Run(() =>
            {
                foreach (var (parts, earlier) in _changedParameters.Values)
                {
                    Sysctl.Change(earlier, parts);
                }
            });
            _route.Dispose();
            _network.Dispose();
        }
    }

    private void AddBase(bool ipv6, string tun)
    {
        var first = _options.FirstPriority;
        var main = new PolicyRule { Priority = first, Table = Route.MainTable, IPv6 = ipv6 };
        AddRule(main with { Mark = _options.Mark });
        AddRule(main with { Priority = first + 1, Mark = _options.Mark, Table = 0, Action = RuleAction.Unreachable });
        AddRule(main with { Priority = first + 8, InboundInterface = tun, Table = VisitorTable });
        if (_options.VisitorsOnly)
        {
            AddRule(main with { Priority = first + 9, InboundInterface = tun, Table = 0, Action = RuleAction.Blackhole });
        }
        else
        {
            AddRule(main with { Priority = first + 9, InboundInterface = tun, Table = GuardTable });
            AddRule(main with { Priority = first + 10, InboundInterface = tun });
            AddRule(main with { Priority = first + 11, InboundInterface = tun, Table = 0, Action = RuleAction.Unreachable });
        }

        AddRule(main with { Priority = first + 12, InboundInterface = "lo", Table = VisitorTable });
        foreach (var link in _options.VisitorLinks)
        {
            AddRule(main with { Priority = first + 22, InboundInterface = link, Table = 0, Action = RuleAction.Blackhole });
        }

        AddRule(main with { Priority = first + 24, Table = HomeTable });
        var path = new Route { Destination = Everything(ipv6), Table = PathTableNumber, Interface = tun, Protocol = _options.Owner };
        _route.ReplaceRoute(path with { Metric = 1 });
        _route.ReplaceRoute(path with { Type = RouteType.Unreachable, Interface = null, Metric = 1u << 30 });
    }

    private PolicyRule SelectorRule(IPNetwork source, IPNetwork destination) => new()
    {
        Priority = _options.FirstPriority + 20,
        Table = PathTableNumber,
        Source = source,
        Destination = destination,
        IPv6 = source.BaseAddress.AddressFamily == AddressFamily.InterNetworkV6,
    };

    /// <summary>Adds a rule under our owner number; one that is there already stays.</summary>
    private void AddRule(PolicyRule rule)
    {
        try
        {
            _route.AddRule(rule with { Owner = _options.Owner });
        }
        catch (NetlinkException refused) when (refused.Errno == Libc.EEXIST)
        {
        }
    }

    private void CleanUp()
    {
        var owner = _options.Owner;
        foreach (var rule in _route.Rules().Where(rule => rule.Owner == owner))
        {
            Quietly(() => _route.RemoveRule(rule));
        }

        foreach (var entry in _route.Routes().Where(entry => entry.Protocol == owner))
        {
            Quietly(() => _route.RemoveRoute(entry));
        }

        foreach (var neighbour in _route.Neighbours().Where(neighbour => neighbour.Owner == owner))
        {
            Quietly(() =>
            {
                if (neighbour.Proxy)
                {
                    _route.RemoveProxyNeighbour(neighbour.Interface, neighbour.Address);
                }
                else
                {
                    _route.RemoveNeighbour(neighbour.Interface, neighbour.Address);
                }
            });
        }

        foreach (var address in _route.Addresses().Where(address => address.Owner == owner))
        {
            Quietly(() => _route.RemoveAddress(address.Interface, address.Address, address.PrefixLength));
        }
    }

    private void SetParameters() => _network.Run(() =>
    {
        Change("1", "ipv4", "ip_forward");
        if (_ipv6)
        {
            Change("1", "ipv6", "conf", "all", "forwarding");
        }

        string[] interfaces = ["all", "default", .. _route.Links().Select(link => link.Name).Where(name => name != "lo")];
        foreach (var name in interfaces)
        {
            // A visitor's home address and the inner packets of a tunnel come by interfaces that no route back names.
            Change("0", "ipv4", "conf", name, "rp_filter");
            Change("0", "ipv4", "conf", name, "send_redirects");
            Change("0", "ipv4", "conf", name, "accept_redirects");
        }
    });

    /// <summary>Writes a parameter and remembers what it was. In the node's namespace.</summary>
    private void Change(string value, params string[] parts)
    {
        if (Sysctl.Change(value, parts) is { } earlier)
        {
            _changedParameters.TryAdd(string.Join('/', parts), (parts, earlier));
        }
    }

    /// <summary>For removals: what is gone already (with its interface, by hand) is no error.</summary>
    private static void Quietly(Action remove)
    {
        try
        {
            remove();
        }
        catch (NetlinkException refused) when (refused.Errno is Libc.ENOENT or Libc.ESRCH or Libc.ENODEV or Libc.EADDRNOTAVAIL or Libc.ENXIO)
        {
        }
    }

    private static IPNetwork Everything(bool ipv6) => new(ipv6 ? IPAddress.IPv6Any : IPAddress.Any, 0);

    private static IPNetwork Host(IPAddress address) => new(address, address.AddressFamily == AddressFamily.InterNetworkV6 ? 128 : 32);
}
