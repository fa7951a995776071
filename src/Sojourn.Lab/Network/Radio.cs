using Sojourn.DataPath.Netlink;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Network;

/// <summary>
/// An interface at which several links end, as that of a wireless station: it is in reach of some of them at a time, sends
/// on all of those, and has a carrier while there is one. At first it is in reach of the first.
/// </summary>
public sealed class Radio(NetworkNamespace space, string inner)
{
    private readonly List<LinkWire> _wires = [];

    /// <summary>Out of reach of everything, and the interface loses its carrier. Frames under way to it are lost.</summary>
    public void Leave()
    {
        foreach (var wire in _wires)
        {
            wire.Cut = true;
        }

        Carrier(false);
    }

    /// <summary>In reach of a link, besides those it reaches already. The first one brings the carrier.</summary>
    public void Reach(string link)
    {
        var alone = _wires.All(w => w.Cut);
        Find(link).Cut = false;
        if (alone)
        {
            Carrier(true);
        }
    }

    /// <summary>Out of reach of a link, while others are still reached: nothing tells the interface.</summary>
    public void Lose(string link) => Find(link).Cut = true;

    internal void Add(LinkWire wire)
    {
        wire.Cut = _wires.Count > 0;
        _wires.Add(wire);
    }

    private LinkWire Find(string link) =>
        _wires.FirstOrDefault(w => w.Name == link) ?? throw new ScenarioException($"link '{link}' does not end here; links: {string.Join(", ", _wires.Select(w => w.Name))}");

    private void Carrier(bool up)
    {
        using var wires = Rtnetlink.Open(space);
        wires.SetUp(inner, up);
    }
}
