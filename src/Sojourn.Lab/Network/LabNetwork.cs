using System.Globalization;
using Sojourn.DataPath.Netlink;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Network;

/// <summary>
/// The topology as network namespaces. Every link is two veth pairs whose inner ends sit in a namespace of the lab's own and
/// are joined by a <see cref="LinkWire"/>, so nothing passes from node to node unseen. All names begin with the run's
/// prefix; removing everything with that prefix removes the run. An interface at which several links end is a
/// <see cref="Radio"/>.
/// </summary>
public sealed class LabNetwork : IDisposable
{
    /// <summary>Beyond the indices of the nodes' interfaces, so that carriers are told of at once (<see cref="Rtnetlink.CreateVeth"/>).</summary>
    private const int FirstInnerIndex = 1000;

    private readonly string _prefix;
    private readonly Dictionary<string, NetworkNamespace> _namespaces = [];
    private readonly Dictionary<string, LinkWire> _wires = [];
    private readonly Dictionary<LinkEndName, Radio> _radios = [];
    private readonly List<Recording> _recordings = [];
    private bool _stopped;

    /// <param name="topology">What to build.</param>
    /// <param name="prefix">Begins the name of every namespace.</param>
    /// <param name="captures">Folder for <c>LINK.pcapng</c>; null = keep frames in memory only.</param>
    public LabNetwork(LabTopology topology, string prefix, string? captures)
    {
        Topology = topology;
        _prefix = prefix;
        try
        {
            Build(captures);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public LabTopology Topology { get; }

    public IReadOnlyList<Recording> Recordings => _recordings;

    /// <summary>Frames lost although no scenario asked for it, over all links.</summary>
    public long Dropped => _wires.Values.Sum(w => w.Dropped);

    /// <summary>Which wires lost how many of them; empty when none.</summary>
    public string Losers => string.Join(", ", _wires.Values.Where(w => w.Dropped > 0).Select(w => string.Create(CultureInfo.InvariantCulture, $"{w.Name} {w.Dropped}")));

    public NetworkNamespace Namespace(string node) => _namespaces[node];

    public LinkWire Wire(string link) => _wires.TryGetValue(link, out var wire) ? wire : throw new ScenarioException($"there is no link '{link}'; links: {string.Join(", ", _wires.Keys)}");

    /// <summary>An interface of a node at which several links end.</summary>
    public Radio Radio(string node, string name) =>
        _radios.TryGetValue(new LinkEndName(node, name), out var radio) ? radio : throw new ScenarioException($"at {node}/{name} there are not several links");

    /// <summary>Stops the wires once everything sent has been recorded, and closes the captures.</summary>
    public void StopRecording()
    {
        if (_stopped)
        {
            return;
        }

        _stopped = true;
        foreach (var wire in _wires.Values)
        {
            wire.Stop();
        }

        foreach (var recording in _recordings)
        {
            recording.Dispose();
        }
    }

    public void Dispose()
    {
        foreach (var wire in _wires.Values)
        {
            wire.Dispose();
        }

        foreach (var recording in _recordings)
        {
            recording.Dispose();
        }

        foreach (var space in _namespaces.Values)
        {
            space.Dispose();
        }

        RemoveNamespaces(_prefix);
    }

    /// <summary>Deletes every namespace whose name begins with the prefix. Returns their names.</summary>
    public static IReadOnlyList<string> RemoveNamespaces(string prefix)
    {
        var names = NetworkNamespace.Names.Where(n => n.StartsWith(prefix, StringComparison.Ordinal)).ToList();
        names.ForEach(NetworkNamespace.Delete);
        return names;
    }

    private void Build(string? captures)
    {
        const string WireSpace = "wire";
        foreach (var name in Topology.Nodes.Where(n => n.On is null).Select(n => n.Name).Prepend(WireSpace))
        {
            var space = NetworkNamespace.Create($"{_prefix}-{name}");
            _namespaces.Add(name, space);
            var speaks = Topology.SpeaksIPv6(name);
            space.Run(() =>
            {
                // Where IPv6 is not used, its neighbour discovery would only be noise in the captures; where it is, the lab gives the addresses.
                foreach (var scope in (string[])["all", "default"])
                {
                    Sysctl.Change(speaks ? "0" : "1", "ipv6", "conf", scope, "disable_ipv6");
                    Sysctl.Change("0", "ipv6", "conf", scope, "accept_dad");
                    Sysctl.Change("0", "ipv6", "conf", scope, "accept_ra");
                }
            });
        }

        foreach (var node in Topology.Nodes.Where(n => n.On is not null))
        {
            _namespaces.Add(node.Name, _namespaces[node.On!]);
        }

        var inside = new Dictionary<LinkEndName, string>();
        var shared = Topology.Links.SelectMany(l => l.Ends).GroupBy(e => new LinkEndName(e.Node, e.Interface)).Where(g => g.Count() > 1).Select(g => g.Key).ToHashSet();
        using var wires = Rtnetlink.Open(_namespaces[WireSpace]);
        foreach (var (link, number) in Topology.Links.Select((l, i) => (l, i)))
        {
            foreach (var (end, side) in link.Ends.Zip("ab"))
            {
                var inner = string.Create(CultureInfo.InvariantCulture, $"w{number}{side}");
                if (!inside.TryAdd(new LinkEndName(end.Node, end.Interface), inner))
                {
                    // The interface is there: one more link that it can be in reach of.
                    continue;
                }

                var space = _namespaces[end.Node];
                wires.CreateVeth(inner, end.Interface, network: null, peerNetwork: space, FirstInnerIndex + inside.Count);
                using var node = Rtnetlink.Open(space);
                if (end.Address is not null)
                {
                    node.AddAddress(end.Interface, end.Address, end.PrefixLength, detectDuplicates: false);
                }

                space.Run(() => Ethtool.DisableOffloads(end.Interface));
                _namespaces[WireSpace].Run(() => Ethtool.DisableOffloads(inner));
                node.SetUp(end.Interface);
                wires.SetUp(inner);
            }

            var recording = new Recording(link.Name, (link.First.ToString(), link.Second.ToString()), captures is null ? null : Path.Combine(captures, link.Name + ".pcapng"));
            _recordings.Add(recording);
            var (first, second) = (new LinkEndName(link.First.Node, link.First.Interface), new LinkEndName(link.Second.Node, link.Second.Interface));
            var wire = _namespaces[WireSpace].Run(() => new LinkWire(link.Name, (inside[first], inside[second]), link.Character, recording)
            {
                // A shared medium: what another link's station is to get does not go here.
                Stations = (shared.Contains(first) ? StationOf(second) : null, shared.Contains(second) ? StationOf(first) : null),
            });
            _wires.Add(link.Name, wire);
            foreach (var end in ((LinkEndName[])[first, second]).Where(shared.Contains))
            {
                if (!_radios.TryGetValue(end, out var radio))
                {
                    _radios.Add(end, radio = new Radio(_namespaces[WireSpace], inside[end]));
                }

                var far = end == first ? second : first;
                radio.Add(wire, shared.Contains(far) ? null : inside[far]);
            }
        }

        foreach (var node in Topology.Nodes.Where(n => n.On is null))
        {
            using var route = Rtnetlink.Open(_namespaces[node.Name]);
            if (node.Role == LabNode.SwitchRole)
            {
                Join(route, Topology.LinksOf(node.Name).Select(l => l.Link.Ends[l.End].Interface));
            }

            foreach (var more in node.MoreAddresses)
            {
                route.AddAddress(more.Interface, more.Address!, more.PrefixLength, detectDuplicates: false);
            }

            foreach (var way in node.Routes)
            {
                route.AddRoute(new Route { Destination = way.Destination, Gateway = way.Gateway });
            }

            if (node.Forwards)
            {
                _namespaces[node.Name].Run(() =>
                {
                    Sysctl.Write("1", "ipv4", "ip_forward");
                    if (Topology.SpeaksIPv6(node.Name))
                    {
                        Sysctl.Write("1", "ipv6", "conf", "all", "forwarding");
                    }
                });
            }
        }
    }

    private static void Join(Rtnetlink route, IEnumerable<string> ports)
    {
        const string Bridge = "switch";
        route.CreateBridge(Bridge);
        foreach (var port in ports)
        {
            route.SetMaster(port, Bridge);
        }

        route.SetUp(Bridge);
    }

    private byte[]? StationOf(LinkEndName end)
    {
        using var node = Rtnetlink.Open(_namespaces[end.Node]);
        return node.Link(end.Interface).Address?.ToArray();
    }

    private sealed record LinkEndName(string Node, string Interface);
}
