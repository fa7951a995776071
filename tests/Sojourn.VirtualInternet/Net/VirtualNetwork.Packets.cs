using System.Buffers.Binary;
using System.Net;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Ip;

namespace Sojourn.VirtualInternet.Net;

/// <summary>
/// Data packets, hop by hop through the packet paths of the nodes: access link, foreign agent, tunnels, home agent,
/// correspondents' gateway, correspondent, and back.
/// </summary>
internal sealed partial class VirtualNetwork
{
    private const byte TestProtocol = 253;
    private const byte InitialHopLimit = 16;

    /// <summary>As a packet path of the product does by default.</summary>
    private static readonly TimeSpan HoldTime = TimeSpan.FromSeconds(2);

    private readonly byte[] _buffer = new byte[4096];
    private readonly List<Ping> _pings = [];
    private readonly List<byte[]> _overheard = [];

    public IReadOnlyList<Ping> Pings => _pings;

    /// <summary>A correspondent that no gateway stands before.</summary>
    public IPAddress? OpenCorrespondent { get; set; }

    /// <summary>Home addresses; packets for them go to the home agent that attracts them.</summary>
    public IPNetwork HomeNetwork { get; set; }

    /// <summary>The node sends to a correspondent, who answers.</summary>
    public Ping PingFromMobile(VirtualNode mobile, IPAddress correspondent, bool isProtected)
    {
        var ping = NewPing(mobile, correspondent, isProtected, "up");
        if (mobile.HomeAddress is { } home && mobile.AttachedTo is { } agent)
        {
            var packet = Packet(home, correspondent, ping.Id, isReply: false);
            CarryPacket(mobile, agent, packet, ping, () => FromAccess(agent, mobile, packet));
        }

        return ping;
    }

    /// <summary>The correspondent sends first, and the node answers.</summary>
    public Ping PingFromCorrespondent(VirtualNode mobile, IPAddress home, IPAddress correspondent, bool isProtected)
    {
        var ping = NewPing(mobile, correspondent, isProtected, "down");
        FromCorrespondent(correspondent, Packet(correspondent, home, ping.Id, isReply: false));
        return ping;
    }

    private Ping NewPing(VirtualNode mobile, IPAddress correspondent, bool isProtected, string direction)
    {
        var ping = new Ping(_pings.Count, mobile, correspondent, isProtected, direction, Simulation.Now);
        _pings.Add(ping);
        return ping;
    }

    private static byte[] Packet(IPAddress source, IPAddress destination, int id, bool isReply)
    {
        var packet = new byte[IPv4Header.MinimumLength + 64];
        IPv4Header.Write(packet, 0, packet.Length, (ushort)id, 0, InitialHopLimit, TestProtocol, source.GetAddressBytes(), destination.GetAddressBytes());
        BinaryPrimitives.WriteInt32BigEndian(packet.AsSpan(IPv4Header.MinimumLength), id);
        packet[IPv4Header.MinimumLength + 4] = isReply ? (byte)1 : (byte)0;
        return packet;
    }

    /// <summary>Null for what is no ping: a protected packet, a dummy.</summary>
    private Ping? PingOf(ReadOnlySpan<byte> packet) =>
        IpPacket.TryParse(packet, out var parsed, out _) && parsed.NextHeader == TestProtocol ? _pings[BinaryPrimitives.ReadInt32BigEndian(parsed.Payload)] : null;

    private void CarryPacket(VirtualNode from, VirtualNode to, byte[] packet, Ping? ping, Action arrive)
    {
        if (!to.IsUp || ArePartitioned(from, to) || Simulation.Chance(Faults.Loss))
        {
            ping?.Note($"lost {from}>{to}");
            return;
        }

        Simulation.After(Delay(from, to), arrive);
        if (Simulation.Chance(Faults.Duplication))
        {
            Simulation.After(Delay(from, to), arrive);
        }

        _ = packet;
    }

    private void FromAccess(VirtualNode agent, VirtualNode mobile, byte[] packet)
    {
        if (!agent.IsUp || mobile.AttachedTo != agent)
        {
            return;
        }

        var parsed = IpPacket.OfChecked(packet);
        if (!agent.Visitors.TryGetValue(parsed.SourceAddress, out var link) || link != mobile.LinkAddress)
        {
            PingOf(packet)?.Note($"{agent} knows no such visitor");
        }

        // A selector takes it all the same; what none takes is not forwarded.
        IntoPaths(agent, packet);
    }

    private void FromCorrespondent(IPAddress correspondent, byte[] packet)
    {
        if (Nodes.FirstOrDefault(n => n.Behind.Any(p => p.Contains(correspondent))) is not { } gateway)
        {
            Route(null, packet);
            return;
        }

        if (gateway.IsUp)
        {
            IntoPaths(gateway, packet);
        }
    }

    /// <summary>A packet that a node wants to send on: through a path, or as it is when no path wants it.</summary>
    private void IntoPaths(VirtualNode node, byte[] packet)
    {
        if (--packet[8] == 0)
        {
            throw Violation($"{node}: a packet goes in circles: {PingOf(packet)}");
        }

        IPv4Header.WriteChecksum(packet.AsSpan(0, IPv4Header.MinimumLength));
        Carry(node, packet, Simulation.Now + HoldTime);
    }

    private void Carry(VirtualNode node, byte[] packet, DateTimeOffset until)
    {
        var ping = PingOf(packet);
        var result = node.Paths!.Outbound(packet, _buffer, Simulation.Now);
        TakeSignals(node);
        if (!node.IsUp)
        {
            ping?.Note($"{node} crashes with it");
            return;
        }

        switch (result.Verdict)
        {
            case OutboundVerdict.Send:
                var path = result.Path.Path!;
                ping?.Note($"{node}>{_byAddress[path.RemoteGateway]} {path.SecurityType}");
                foreach (var outer in result.Packets(_buffer))
                {
                    Ledger.Sent(node, path, outer);
                    Route(node, outer.ToArray(), ping);
                }

                break;
            case OutboundVerdict.NoPath when node.AccessInterface is not null:
                ping?.Note($"{node} drops: for nobody here");
                break;
            case OutboundVerdict.NoPath:
                Route(node, packet, ping);
                break;
            case OutboundVerdict.Blocked when result.Path.Path!.Origin.ProfileNumber is not null:
                node.Held.Enqueue((packet, until));
                break;
            default:
                ping?.Note($"{node} drops: {result.Reason}{(result.Path.Path is { } dropped ? $" on {dropped.Id}" : "")}");
                break;
        }
    }

    /// <summary>After a change of paths: what is held goes its way, waits on, or has waited too long.</summary>
    private void ReleaseHeld(VirtualNode node)
    {
        for (var count = node.IsUp ? node.Held.Count : 0; count > 0; count--)
        {
            var (packet, until) = node.Held.Dequeue();
            if (until > Simulation.Now)
            {
                Carry(node, packet, until);
            }
            else
            {
                PingOf(packet)?.Note($"{node} held it too long");
            }
        }
    }

    /// <summary>The core: by destination address.</summary>
    private void Route(VirtualNode? from, byte[] packet, Ping? ping = null)
    {
        ping ??= PingOf(packet);
        Ledger.OnCore(from, packet);
        if (Trace.Enabled && from is not null)
        {
            _overheard.Add(packet);
        }

        var parsed = IpPacket.OfChecked(packet);
        var destination = parsed.DestinationAddress;
        if (destination.Equals(OpenCorrespondent))
        {
            AtCorrespondent(destination, packet);
            return;
        }

        var target = _byAddress.GetValueOrDefault(destination)
            ?? (HomeNetwork.Contains(destination) ? Nodes.FirstOrDefault(n => n.Attracted.Contains(destination)) : null)
            ?? Nodes.FirstOrDefault(n => n.Behind.Any(p => p.Contains(destination)));
        if (target is null || target == from)
        {
            ping?.Note("no route");
            return;
        }

        var outerForHost = target.Addresses.Contains(destination);
        CarryPacket(from ?? target, target, packet, ping, () =>
        {
            if (target.IsUp)
            {
                if (outerForHost)
                {
                    FromTunnel(target, packet, ping);
                }
                else
                {
                    Forward(target, packet.ToArray());
                }
            }
        });
    }

    private void FromTunnel(VirtualNode node, byte[] outer, Ping? ping)
    {
        var buffer = new byte[outer.Length + 8];
        var result = node.Paths!.Inbound(outer, buffer, Simulation.Now);
        TakeSignals(node);
        if (!node.IsUp)
        {
            ping?.Note($"{node} crashes with it");
            return;
        }

        if (result.Verdict == InboundVerdict.Deliver)
        {
            Ledger.Accepted(node, result.Path.Path!, outer);
            Forward(node, buffer[..result.Length]);
        }
        else
        {
            ping?.Note($"{node} refuses: {result.Reason}");
        }

        if (result.MustAnnounce && node.IsUp)
        {
            Announce(node, result.Path);
        }
    }

    /// <summary>An eavesdropper sends a node everything again that was ever sent to it through tunnels.</summary>
    public void Replay(VirtualNode node)
    {
        foreach (var outer in _overheard.Where(packet => node.Addresses.Contains(IpPacket.OfChecked(packet).DestinationAddress)).ToList())
        {
            FromTunnel(node, outer, ping: null);
        }
    }

    /// <summary>Tells the far end of a path where the counter stands after a restart.</summary>
    private void Announce(VirtualNode node, PathHandle path)
    {
        foreach (var dummy in node.Paths!.Announce(path, _buffer, Simulation.Now).Packets(_buffer))
        {
            Ledger.Sent(node, path.Path!, dummy);
            Route(node, dummy.ToArray());
        }
    }

    private void Forward(VirtualNode node, byte[] packet)
    {
        var parsed = IpPacket.OfChecked(packet);
        var destination = parsed.DestinationAddress;
        if (node.Visitors.TryGetValue(destination, out var link))
        {
            if (Nodes.FirstOrDefault(n => n.AttachedTo == node && n.LinkAddress == link) is { } mobile)
            {
                CarryPacket(node, mobile, packet, PingOf(packet), () => AtMobile(mobile, packet));
            }
        }
        else if (node.Behind.Any(p => p.Contains(destination)))
        {
            AtCorrespondent(destination, packet);
        }
        else
        {
            IntoPaths(node, packet);
        }
    }

    private void AtMobile(VirtualNode mobile, byte[] packet)
    {
        var parsed = IpPacket.OfChecked(packet);
        if (!parsed.DestinationAddress.Equals(mobile.HomeAddress) || PingOf(packet) is not { } ping)
        {
            return;
        }

        if (packet[IPv4Header.MinimumLength + 4] == 1)
        {
            ping.Returned = true;
            return;
        }

        ping.Reached = true;
        if (mobile.AttachedTo is { } agent)
        {
            var reply = Packet(parsed.DestinationAddress, parsed.SourceAddress, ping.Id, isReply: true);
            CarryPacket(mobile, agent, reply, ping, () => FromAccess(agent, mobile, reply));
        }
    }

    private void AtCorrespondent(IPAddress correspondent, byte[] packet)
    {
        if (PingOf(packet) is not { } ping)
        {
            return;
        }

        if (packet[IPv4Header.MinimumLength + 4] == 1)
        {
            ping.Returned = true;
            return;
        }

        ping.Reached = true;
        var parsed = IpPacket.OfChecked(packet);
        FromCorrespondent(correspondent, Packet(correspondent, parsed.SourceAddress, ping.Id, isReply: true));
    }
}

/// <summary>A test packet and its answer.</summary>
/// <param name="IsProtected">A profile with ESP or AH selects it: never in clear on the core.</param>
internal sealed record Ping(int Id, EngineNode Mobile, IPAddress Correspondent, bool IsProtected, string Direction, DateTimeOffset SentAt)
{
    private readonly List<string> _legs = [];

    public bool Reached { get; set; }

    public bool Returned { get; set; }

    /// <summary>"fa1>ha Esp" for every tunnel entered, and why it was lost if it was.</summary>
    public IReadOnlyList<string> Legs => _legs;

    public void Note(string leg) => _legs.Add(leg);

    public override string ToString() => $"ping {Id} {Direction} {Mobile}–{Correspondent}: {string.Join(", ", _legs)}{(Returned ? ", returned" : "")}";
}
