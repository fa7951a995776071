using System.Net;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.VirtualInternet.Net;

/// <summary>Datagrams and ICMP over the core and over access links, and Diameter streams.</summary>
internal sealed partial class VirtualNetwork
{
    private readonly Dictionary<(VirtualNode Node, long Id), StreamEnd> _streams = [];
    private long _accepted;

    /// <summary>One end of a stream.</summary>
    private sealed class StreamEnd(VirtualNode node, long id)
    {
        public VirtualNode Node => node;

        public long Id => id;

        public StreamEnd Other { get; set; } = null!;

        /// <summary>Nothing sent later arrives here earlier.</summary>
        public DateTimeOffset LastArrival { get; set; }
    }

    private void Send(VirtualNode node, SendDatagram send)
    {
        var what = NamesMatter ? Trace.Name(send.Payload.Span) : null;
        var payload = send.Payload.ToArray();
        if (send.Interface is not null)
        {
            foreach (var (other, name) in LinkNeighbours(node, send.LinkDestination))
            {
                Carry(node, other, what, () =>
                {
                    if (AreOnOneLink(node, other))
                    {
                        Input(other, new DatagramReceived(send.Source, send.Destination, payload, name, node.LinkAddress));
                    }
                });
            }

            return;
        }

        var address = send.Destination.Address;
        var target = _byAddress.GetValueOrDefault(address)
            ?? (send.Destination.Port == MobileIpv4Limits.Port ? Nodes.FirstOrDefault(n => n.Intercepts && n.Behind.Any(p => p.Contains(address))) : null);
        if (target is not null)
        {
            Carry(node, target, what, () => Input(target, new DatagramReceived(send.Source, send.Destination, payload)));
        }
    }

    private void Send(VirtualNode node, SendIcmp send)
    {
        var message = send.Message.ToArray();
        foreach (var (other, name) in LinkNeighbours(node, send.LinkDestination))
        {
            Carry(node, other, null, () =>
            {
                if (AreOnOneLink(node, other))
                {
                    Input(other, new IcmpReceived(send.Source ?? IPAddress.Any, send.Destination, message, name, node.LinkAddress));
                }
            });
        }
    }

    private List<(VirtualNode Node, string Interface)> LinkNeighbours(VirtualNode node, LinkAddress? link)
    {
        if (node.RoamingInterface is not null)
        {
            return node.AttachedTo is { } agent ? [(agent, agent.AccessInterface!)] : [];
        }

        return [.. Nodes.Where(n => n.AttachedTo == node && (link is not { } wanted || n.LinkAddress == wanted)).Select(n => (n, n.RoamingInterface!))];
    }

    private static bool AreOnOneLink(VirtualNode one, VirtualNode other) => one.AttachedTo == other || other.AttachedTo == one;

    private void Open(VirtualNode node, OpenConnection open)
    {
        var life = node.Life;
        var target = _byAddress.GetValueOrDefault(open.Remote.Address);
        Simulation.After(target is null ? TimeSpan.FromMilliseconds(5) : 2 * Delay(node, target), () =>
        {
            if (node.Life != life || !node.IsUp)
            {
                return;
            }

            if (target is null || !target.IsUp || ArePartitioned(node, target))
            {
                Input(node, new ConnectionClosed(open.Connection, "unreachable"));
                return;
            }

            var here = new StreamEnd(node, open.Connection) { LastArrival = Simulation.Now };
            var there = new StreamEnd(target, --_accepted) { Other = here, LastArrival = Simulation.Now };
            here.Other = there;
            _streams[(node, here.Id)] = here;
            _streams[(target, there.Id)] = there;
            Input(target, new ConnectionOpened(there.Id, new IPEndPoint(node.Addresses[0], 40000), open.Secured, [node.Identity!]));
            if (_streams.ContainsKey((node, here.Id)))
            {
                Input(node, new ConnectionOpened(here.Id, open.Remote, open.Secured, [target.Identity!]));
            }
        });
    }

    private void Send(VirtualNode node, SendBytes send)
    {
        if (!_streams.TryGetValue((node, send.Connection), out var end))
        {
            return;
        }

        var data = send.Data.ToArray();
        var to = end.Other;
        foreach (var name in NamesMatter ? Trace.DiameterNames(data) : [])
        {
            if (Lose?.Invoke(node, to.Node, name) == true)
            {
                Trace.Message(Simulation.Now, node, to.Node, name, " — lost with the connection");
                BreakStreams(e => e == end);
                return;
            }

            Trace.Message(Simulation.Now, node, to.Node, name);
        }

        InOrder(to, Delay(node, to.Node), () =>
        {
            if (_streams.ContainsKey((to.Node, to.Id)))
            {
                Input(to.Node, new ConnectionReceived(to.Id, data));
            }
        });
    }

    private void Close(VirtualNode node, CloseConnection close)
    {
        if (!_streams.Remove((node, close.Connection), out var end))
        {
            return;
        }

        var to = end.Other;
        InOrder(to, Delay(node, to.Node), () =>
        {
            if (_streams.Remove((to.Node, to.Id)))
            {
                Input(to.Node, new ConnectionClosed(to.Id, "closed by peer"));
            }
        });
    }

    private void InOrder(StreamEnd to, TimeSpan delay, Action arrive)
    {
        var at = Simulation.Now + delay;
        to.LastArrival = at > to.LastArrival ? at : to.LastArrival;
        Simulation.At(to.LastArrival, arrive);
    }

    /// <summary>Resets connections; octets under way are lost, and both sides notice a little later.</summary>
    private void BreakStreams(Func<StreamEnd, bool> broken)
    {
        foreach (var end in _streams.Values.Where(broken).ToList())
        {
            foreach (var side in (StreamEnd[])[end, end.Other])
            {
                if (_streams.Remove((side.Node, side.Id)))
                {
                    var life = side.Node.Life;
                    Simulation.After(TimeSpan.FromMilliseconds(20), () =>
                    {
                        if (side.Node.Life == life)
                        {
                            Input(side.Node, new ConnectionClosed(side.Id, "reset"));
                        }
                    });
                }
            }
        }
    }
}
