using System.Globalization;
using Sojourn.DataPath.Netlink;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Network;

/// <summary>
/// The topology as network namespaces. Every link is two veth pairs whose inner ends sit in a namespace of the lab's own and
/// are joined by a <see cref="LinkWire"/>, so nothing passes from node to node unseen. All names begin with the run's
/// prefix; removing everything with that prefix removes the run.
/// </summary>
public sealed class LabNetwork : IDisposable
{
    private readonly string _prefix;
    private readonly Dictionary<string, NetworkNamespace> _namespaces = [];
    private readonly Dictionary<string, LinkWire> _wires = [];
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

    public NetworkNamespace Namespace(string node) => _namespaces[node];

    public LinkWire Wire(string link) => _wires.TryGetValue(link, out var wire) ? wire : throw new ScenarioException($"there is no link '{link}'; links: {string.Join(", ", _wires.Keys)}");

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
        foreach (var name in Topology.Nodes.Select(n => n.Name).Prepend(WireSpace))
        {
            var space = NetworkNamespace.Create($"{_prefix}-{name}");
            _namespaces.Add(name, space);
            space.Run(() =>
            {
                // IPv4 scenarios: neighbour discovery of an unused IPv6 would only be noise in the captures.
                Sysctl.Change("1", "ipv6", "conf", "all", "disable_ipv6");
                Sysctl.Change("1", "ipv6", "conf", "default", "disable_ipv6");
            });
        }

        using var wires = Rtnetlink.Open(_namespaces[WireSpace]);
        foreach (var (link, number) in Topology.Links.Select((l, i) => (l, i)))
        {
            foreach (var (end, side) in link.Ends.Zip("ab"))
            {
                var inner = string.Create(CultureInfo.InvariantCulture, $"w{number}{side}");
                var space = _namespaces[end.Node];
                wires.CreateVeth(inner, end.Interface, network: null, peerNetwork: space);
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
            _wires.Add(link.Name, _namespaces[WireSpace].Run(() => new LinkWire(
                link.Name,
                (string.Create(CultureInfo.InvariantCulture, $"w{number}a"), string.Create(CultureInfo.InvariantCulture, $"w{number}b")),
                link.Character,
                recording)));
        }

        foreach (var node in Topology.Nodes)
        {
            using var route = Rtnetlink.Open(_namespaces[node.Name]);
            foreach (var more in node.MoreAddresses)
            {
                route.AddAddress(more.Interface, more.Address!, more.PrefixLength, detectDuplicates: false);
            }

            foreach (var way in node.Routes)
            {
                route.AddRoute(new Route { Destination = way.Destination, Gateway = way.Gateway });
            }

            if (node.Role == LabNode.RouterRole)
            {
                _namespaces[node.Name].Run(() => Sysctl.Write("1", "ipv4", "ip_forward"));
            }
        }
    }
}
