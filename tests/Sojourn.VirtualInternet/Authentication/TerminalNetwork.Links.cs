using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.VirtualInternet.Authentication;

/// <summary>Access links: a router and the stations that are on its link now.</summary>
internal sealed partial class TerminalNetwork
{
    /// <summary>Puts an interface of a terminal on a router's link, or on none.</summary>
    public void Attach(TerminalMachine terminal, string name, AccessRouterMachine? router)
    {
        if (terminal.Links[name] == router)
        {
            return;
        }

        if (terminal.Links[name] is not null)
        {
            Input(terminal, new LinkChanged(name, false));
        }

        terminal.Links[name] = router;
        Trace.Note(Simulation.Now, $"{terminal,6}  ~  {name} is on the link of {router?.Name ?? "nobody"}");
        if (router is not null)
        {
            Input(terminal, new LinkChanged(name, true));
        }
    }

    /// <summary>A frame of a station: its router hears it, and the other stations when it is for all.</summary>
    public void FromStation(TerminalMachine station, string name, byte[] packet)
    {
        if (station.Links[name] is not { } router)
        {
            return;
        }

        Ledger.OnLink(station, packet);
        Carry(station, router, NamesMatter ? PacketNames.Of(packet) : null, () =>
        {
            if (router.IsUp && station.Links[name] == router)
            {
                router.FromLink(station, name, packet);
            }
        });
        if (packet[24] == 0xFF && packet[6] == IpProtocol.Icmpv6)
        {
            ToLink(station, router, packet, station.LinkAddress(name));
        }
    }

    /// <summary>A frame for the stations of a link; one whose owner the router knows is for that one alone.</summary>
    public void ToLink(Machine from, AccessRouterMachine router, byte[] packet, LinkAddress source)
    {
        var known = packet[24] == 0xFF ? null : router.Neighbour(IPv6Octets.Read(packet.AsSpan(24)));
        foreach (var (station, name) in router.Stations().Where(s => s.Station != from && (known is null || known == s)).ToList())
        {
            Carry(from, station, NamesMatter ? PacketNames.Of(packet) : null, () =>
            {
                if (station.Links[name] == router)
                {
                    Input(station, new Ipv6PacketReceived(packet, name, source));
                }
            });
        }
    }
}
