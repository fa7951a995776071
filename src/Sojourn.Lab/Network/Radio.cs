using Sojourn.DataPath.Netlink;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Network;

/// <summary>
/// An interface at which several links end, as that of a wireless station: it is in reach of some of them at a time, sends
/// on all of those, and has a carrier while there is one. At first it is in reach of the first. The far end of a link that
/// is its alone has a carrier while it is in reach, as the port of an access point that tells of its station.
/// </summary>
public sealed class Radio(NetworkNamespace space, string inner)
{
    private readonly List<LinkWire> _wires = [];
    private readonly Dictionary<LinkWire, string> _ports = [];

    /// <summary>Out of reach of everything, and the interface loses its carrier. Frames under way to it are lost.</summary>
    public void Leave()
    {
        foreach (var wire in _wires)
        {
            Cut(wire, true);
        }

        Carrier(inner, false);
    }

    /// <summary>In reach of a link, besides those it reaches already. The first one brings the carrier.</summary>
    public void Reach(string link)
    {
        var alone = _wires.All(w => w.Cut);
        Cut(Find(link), false);
        if (alone)
        {
            Carrier(inner, true);
        }
    }

    /// <summary>Out of reach of a link, while others are still reached: nothing tells the interface.</summary>
    public void Lose(string link) => Cut(Find(link), true);

    /// <param name="wire">One more link that ends here.</param>
    /// <param name="port">The lab's interface at its far end; null where that is the end of other links too.</param>
    internal void Add(LinkWire wire, string? port)
    {
        if (port is not null)
        {
            _ports.Add(wire, port);
        }

        _wires.Add(wire);
        if (_wires.Count > 1)
        {
            Cut(wire, true);
        }
    }

    private void Cut(LinkWire wire, bool cut)
    {
        wire.Cut = cut;
        if (_ports.TryGetValue(wire, out var port))
        {
            Carrier(port, !cut);
        }
    }

    private LinkWire Find(string link) =>
        _wires.FirstOrDefault(w => w.Name == link) ?? throw new ScenarioException($"link '{link}' does not end here; links: {string.Join(", ", _wires.Select(w => w.Name))}");

    private void Carrier(string end, bool up)
    {
        using var wires = Rtnetlink.Open(space);
        wires.SetUp(end, up);
    }
}
