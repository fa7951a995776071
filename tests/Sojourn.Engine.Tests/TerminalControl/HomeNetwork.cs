using System.Net;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.TerminalControl;
using Sojourn.Engine.Tests.Ikev2;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Sojourn.Wire.Udp;
using Xunit;

namespace Sojourn.Engine.Tests.TerminalControl;

/// <summary>What the network does with a packet on its way: how long it takes for each copy; none = lost.</summary>
internal delegate IEnumerable<TimeSpan> PacketFate(byte[] packet);

/// <summary>A terminal made of the engines it has in the product, without its host stack: key exchange, mobile node, ESP.</summary>
internal sealed class TestTerminal
{
    private readonly EffectSink _sink = new();
    private readonly MobileNode _node;
    private long _association;
    private int _epoch;

    public TestTerminal(HomeNetwork network, string identifier, IPAddress home, IPAddress careOf, Func<IkePeer, IkePeer>? change = null, bool moves = true, int seed = 7, IReadOnlyList<IPNetwork>? networks = null)
    {
        (Network, Home, CareOf, Moves, Networks) = (network, home, careOf, moves, networks ?? []);
        var peer = new IkePeer
        {
            Name = "home-agent",
            Address = HomeNetwork.Agent,
            LocalIdentity = IkeIdentity.OfName(identifier),
            RemoteIdentity = IkeIdentity.Of(HomeNetwork.Agent),
            Credential = TestAuthority.Home.Issue(identifier),
            Trust = TestAuthority.Home.Trust,
            Children = [Signalling(home)],
        };
        Ike = new IkeEngine(new IkeOptions { Peers = [change?.Invoke(peer) ?? peer] }, new SeededRandom(seed));
        Esp = new TransportEsp(new SeededRandom(seed + 1));
        _node = new MobileNode(new MobileNodeOptions
        {
            Interface = "wlan0",
            Policies = [new SignallingPolicy(new IPNetwork(IPAddress.IPv6Any, 0), SignallingTreatment.Protect, SignallingTreatment.Protect)],
            Lifetime = TimeSpan.FromSeconds(4000),
            MobileNetworks = Networks,
        }, new SeededRandom(seed + 2));
    }

    public HomeNetwork Network { get; }

    public IPAddress Home { get; }

    public IPAddress CareOf { get; private set; }

    public bool Moves { get; }

    /// <summary>What moves with it, if it is a mobile router.</summary>
    public IReadOnlyList<IPNetwork> Networks { get; }

    /// <summary>The mobile router whose network it is in; null on a link that stands still.</summary>
    public TestTerminal? Router { get; init; }

    public IkeEngine Ike { get; }

    public TransportEsp Esp { get; }

    public List<Effect> All { get; } = [];

    /// <summary>What came out of its tunnel, whether or not it is for others.</summary>
    public List<byte[]> Stripped { get; } = [];

    /// <summary>A mobile router's end of its tunnel under ESP; null = the tunnel is plain.</summary>
    public PathTable? Tunnel { get; set; }

    /// <summary>Child SAs in tunnel mode, oldest first.</summary>
    public List<ChildSa> TunnelChildren { get; } = [];

    /// <summary>Association that was established last.</summary>
    public long Association => _association;

    public BindingUpdateListEntry? Registration => _node.HomeRegistration;

    public bool Registered => _node.HomeRegistration is { State: BindingUpdateState.Registered };

    public DateTimeOffset? NextDeadline => Ike.NextDeadline is { } a && _node.NextDeadline is { } b ? (a < b ? a : b) : Ike.NextDeadline ?? _node.NextDeadline;

    public static IkeChildOptions Signalling(IPAddress home) => new()
    {
        Name = "signalling",
        Mode = ChildMode.Transport,
        LocalSelectors = [SelectorNarrowing.Mobility(home, 5), SelectorNarrowing.Icmp(home, 146)],
        RemoteSelectors = [SelectorNarrowing.Mobility(HomeNetwork.Agent, 6), SelectorNarrowing.Icmp(HomeNetwork.Agent, 147)],
    };

    /// <summary>Begins as a terminal that has a home address and is on a visited link (state HOA of the specification).</summary>
    public void SignOn()
    {
        Tell(_node, new SetHomeAddress(Home, HomeNetwork.PrefixOf(Home), DateTimeOffset.MaxValue));
        MoveTo(CareOf);
    }

    public void MoveTo(IPAddress careOf)
    {
        CareOf = careOf;
        Tell(_node, new LinkReported(new Ipv6Host.LinkConfigured(
            "wlan0", true, ++_epoch, [new Ipv6Host.HostAddress(careOf, HomeNetwork.PrefixOf(careOf), true, false, DateTimeOffset.MaxValue, DateTimeOffset.MaxValue)],
            [new Ipv6Host.HostRouter(IPAddress.Parse("fe80::1"), false, null, DateTimeOffset.MaxValue)], [HomeNetwork.PrefixOf(careOf)], false, false, [])));
    }

    public void Leave() => Tell(_node, new LeaveHomeAgent());

    public void Initiate() => Tell(Ike, new InitiateIke("home-agent", CareOf));

    public void Tell(EngineInput input) => Tell(Ike, input);

    public void Expire()
    {
        Tell(Ike, new DeadlineReached());
        Tell(_node, new DeadlineReached());
    }

    /// <summary>A binding update that no engine would send, under the association or in clear.</summary>
    public byte[] Forge(IPAddress home, IPAddress source, ushort sequence, bool secured = true, IPAddress? alternate = null, ushort lifetime = 100)
    {
        var update = new BindingUpdate
        {
            SequenceNumber = sequence,
            Flags = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.HomeRegistration,
            Lifetime = lifetime,
            Options = alternate is null ? MobilityOptions.None : MobilityOptions.Of(new AlternateCareOfAddressOption(alternate)),
        };
        var clear = new MobileIpv6Packet { Source = source, Destination = HomeNetwork.Agent, HomeAddress = home, Protocol = IpProtocol.Mobility, Payload = update.ToArray(home, HomeNetwork.Agent) }.ToArray();
        if (!secured)
        {
            return clear;
        }

        Assert.Equal(DropReason.None, Esp.TryProtect(_association, clear, Network.Now, out var wire));
        return wire;
    }

    public void Receive(byte[] packet)
    {
        Assert.True(MobileIpv6Packet.TryParse(packet, out var read, out _));
        if (read.Protocol == IpProtocol.Udp && UdpHeader.TryParse(read.Payload.Span, out var datagram, out _))
        {
            Tell(Ike, new DatagramReceived(new IPEndPoint(read.Source, datagram.SourcePort), new IPEndPoint(read.Destination, datagram.DestinationPort), datagram.Payload.ToArray()));
        }
        else if (read.Protocol == IpProtocol.IPv6)
        {
            Stripped.Add(read.Payload.ToArray());
            Network.Deliver(read.Payload.ToArray(), this);
        }
        else if (read.Protocol == IpProtocol.Esp)
        {
            var inner = new byte[2 * PathTable.MaximumOverhead + packet.Length];
            if (Esp.TryOpen(packet, Network.Now, out var opened) == DropReason.None)
            {
                Tell(_node, new Ipv6PacketReceived(opened.Packet, "wlan0", null, opened.Association));
            }
            else if (Tunnel?.Inbound(packet, inner, Network.Now) is { Verdict: InboundVerdict.Deliver } delivered)
            {
                Stripped.Add(inner[..delivered.Length]);
                Network.Deliver(inner[..delivered.Length], this);
            }
        }
        else
        {
            Tell(_node, new Ipv6PacketReceived(packet, "wlan0"));
        }
    }

    /// <summary>Sends through the tunnels of all routers around it.</summary>
    public void Post(byte[] packet)
    {
        if (Router is { } router)
        {
            router.Post(router.Tunnel is { } tunnel ? HomeNetwork.Sealed(tunnel, packet, Network.Now) : HomeNetwork.Tunnelled(router.CareOf, packet));
        }
        else
        {
            Network.Post(packet);
        }
    }

    private void Tell(IEngine engine, EngineInput input)
    {
        var sink = new EffectSink();
        engine.Handle(input, Network.Now, sink);
        foreach (var effect in sink.Effects)
        {
            All.Add(effect);
            switch (effect)
            {
                case SendDatagram datagram:
                    Post(HomeNetwork.Udp(datagram));
                    break;
                case SendIpv6Packet { Under: { } under } packet:
                    if (Esp.TryProtect(under, packet.Packet.Span, Network.Now, out var wire) == DropReason.None)
                    {
                        Post(wire);
                    }

                    break;
                case SendIpv6Packet packet:
                    Post(packet.Packet.ToArray());
                    break;
                case RequestAssociation wanted:
                    Tell(Ike, new InitiateIke("home-agent", wanted.CareOfAddress));
                    break;
                case ChildSaUp { Sa.Mode: ChildMode.Tunnel } up:
                    TunnelChildren.Add(up.Sa);
                    break;
                case ChildSaUp up:
                    Assert.True(Esp.Install(up.Sa, up.Replaces is null ? ++_association : _association));
                    Tell(_node, new AssociationEstablished(new SignallingAssociation(_association, Home, CareOf, "home agent", Moves)));
                    break;
                case ChildSaDown down:
                    TunnelChildren.RemoveAll(c => c.Id == down.ChildSa);
                    if (Esp.Remove(down.ChildSa) is { } number && !Esp.Has(number))
                    {
                        Tell(_node, new AssociationEnded(number, EndBinding: false));
                    }

                    break;
                case MoveAssociation move:
                    Tell(Ike, new MoveIkeEnd(Ike.IkeSas.Single().Id, move.CareOfAddress, null));
                    break;
            }
        }

        _ = _sink;
    }
}

/// <summary>
/// A home agent between terminals on visited links and the rest of the world, on virtual time. Packets go where their destination
/// says; what nobody here owns ends in <see cref="Elsewhere"/>.
/// </summary>
internal sealed class HomeNetwork
{
    public static readonly IPAddress Agent = IPAddress.Parse("2001:db8:a::1"), Correspondent = IPAddress.Parse("2001:db8:f::80");
    public static readonly IPNetwork Pool = IPNetwork.Parse("2001:db8:a::/48");
    public static readonly IPAddress Home1 = IPAddress.Parse("2001:db8:a:1::10"), Home2 = IPAddress.Parse("2001:db8:a:2::10");
    public static readonly IPAddress CareOf1 = IPAddress.Parse("2001:db8:b::5"), CareOf2 = IPAddress.Parse("2001:db8:c::6"), Moved = IPAddress.Parse("2001:db8:d::7");
    private static readonly TimeSpan[] s_once = [TimeSpan.FromMilliseconds(5)];

    private readonly PriorityQueue<byte[], (DateTimeOffset At, long Order)> _inFlight = new();
    private long _order;

    /// <param name="former">The home agent's former life, whose saved state it begins with.</param>
    public HomeNetwork(Func<TerminalControlOptions, TerminalControlOptions>? change = null, int mtu = 1500, HomeNetwork? former = null)
    {
        Now = former?.Now ?? Now;
        var options = new TerminalControlOptions
        {
            Address = Agent,
            HomePrefixes = [Pool],
            Identity = IkeIdentity.Of(Agent),
            Credential = TestAuthority.Home.Issue(Agent.ToString()),
            Trust = TestAuthority.Home.Trust,
        };
        Device = new TerminalControlDevice(change?.Invoke(options) ?? options, new SeededRandom(5));
        Tunnel = new HomeTunnel(Agent, mtu, new SeededRandom(6));
        Allocations[PrefixOf(Home1)] = ("mn1.home.example", Now + TimeSpan.FromDays(1));
        Allocations[PrefixOf(Home2)] = ("mn2.home.example", Now + TimeSpan.FromDays(1));
        Tell(new EngineStarted(former?.Saved() ?? []));
    }

    public TerminalControlDevice Device { get; }

    public HomeTunnel Tunnel { get; }

    public DateTimeOffset Now { get; private set; } = TestAuthority.Epoch;

    public Dictionary<IPAddress, TestTerminal> Terminals { get; } = [];

    /// <summary>The delegating router's table: whose a prefix is, and until when.</summary>
    public Dictionary<IPNetwork, (string Identifier, DateTimeOffset Until)> Allocations { get; } = [];

    /// <summary>False: nobody answers query Q2.</summary>
    public bool Answers { get; set; } = true;

    public List<AskAllocation> Asked { get; } = [];

    public List<Effect> All { get; } = [];

    public List<byte[]> Elsewhere { get; } = [];

    /// <summary>Every packet that was sent, before its fate.</summary>
    public List<byte[]> Sent { get; } = [];

    public PacketFate Fate { get; set; } = _ => s_once;

    public static IPNetwork PrefixOf(IPAddress address)
    {
        var octets = address.GetAddressBytes();
        octets.AsSpan(8).Clear();
        return new IPNetwork(new IPAddress(octets), 64);
    }

    public IReadOnlyList<SavedState> Saved()
    {
        var saved = new Dictionary<StateKey, ReadOnlyMemory<byte>>();
        foreach (var effect in All)
        {
            if (effect is SaveState save)
            {
                saved[save.Key] = save.Value;
            }
            else if (effect is DropState drop)
            {
                saved.Remove(drop.Key);
            }
        }

        return [.. saved.Select(s => new SavedState(s.Key, s.Value))];
    }

    public long Counter(string name) => All.OfType<CountEvent>().Where(c => c.Counter == name).Sum(c => c.Amount);

    public IEnumerable<EngineEvent> Events(string kind) => All.OfType<Report>().Select(r => r.Event).Where(e => e.Kind == kind);

    public BindingCacheEntry? Binding(IPAddress home) => Device.Bindings.SingleOrDefault(b => b.HomeAddress.Equals(home));

    public TestTerminal Terminal(string identifier, IPAddress home, IPAddress careOf, Func<IkePeer, IkePeer>? change = null, bool moves = true, int seed = 7)
    {
        var terminal = new TestTerminal(this, identifier, home, careOf, change, moves, seed);
        Terminals[careOf] = terminal;
        return terminal;
    }

    /// <summary>mn1 with its binding.</summary>
    public TestTerminal Registered(string identifier = "mn1.home.example", IPAddress? home = null, IPAddress? careOf = null, bool moves = true, Func<IkePeer, IkePeer>? change = null, int seed = 7)
    {
        var terminal = Terminal(identifier, home ?? Home1, careOf ?? CareOf1, change, moves, seed);
        terminal.SignOn();
        Run(3);
        Assert.True(terminal.Registered);
        return terminal;
    }

    public void Move(TestTerminal terminal, IPAddress careOf)
    {
        Terminals.Remove(terminal.CareOf);
        Terminals[careOf] = terminal;
        terminal.MoveTo(careOf);
    }

    public void Tell(EngineInput input)
    {
        var sink = new EffectSink();
        Device.Handle(input, Now, sink);
        foreach (var effect in sink.Effects)
        {
            All.Add(effect);
            switch (effect)
            {
                case SendIpv6Packet packet:
                    Assert.Null(packet.Under);
                    var output = new byte[HomeTunnel.OutputFor(packet.Packet.Length)];
                    Carry(packet.Packet.ToArray(), Tunnel.Send(packet.Packet.Span, output, Now), output);
                    break;
                case ChangePaths change:
                    Assert.Null(Tunnel.Change(change, Now).Refusal);
                    break;
                case AskAllocation ask:
                    Asked.Add(ask);
                    if (Answers)
                    {
                        Tell(new AllocationAnswered(ask.Request, Look(ask)));
                    }

                    break;
            }
        }
    }

    public void Post(byte[] packet)
    {
        Sent.Add(packet);
        foreach (var delay in Fate(packet))
        {
            _inFlight.Enqueue(packet, (Now + delay, _order++));
        }
    }

    public void Run(double seconds)
    {
        var end = Now + TimeSpan.FromSeconds(seconds);
        for (var steps = 0; ; steps++)
        {
            Assert.True(steps < 50_000, "it does not come to rest");
            var device = Device.NextDeadline <= end ? Device.NextDeadline : null;
            var terminal = Terminals.Values.Where(t => t.NextDeadline <= end).MinBy(t => t.NextDeadline);
            var arrives = _inFlight.TryPeek(out _, out var next) && next.At <= end ? next.At : (DateTimeOffset?)null;
            if (device is null && terminal is null && arrives is null)
            {
                Now = end;
                return;
            }

            var first = new[] { device, terminal?.NextDeadline, arrives }.Where(t => t is not null).Min()!.Value;
            Now = first > Now ? first : Now;
            if (arrives == first)
            {
                Deliver(_inFlight.Dequeue());
            }
            else if (device == first)
            {
                Tell(new DeadlineReached());
            }
            else
            {
                terminal!.Expire();
            }
        }
    }

    /// <summary>Hands a packet to whom it is addressed, as routers would.</summary>
    /// <param name="router">The mobile router that it came out of; null on its way between links that stand still.</param>
    public void Deliver(byte[] packet, TestTerminal? router = null)
    {
        Assert.True(IPv6Header.TryParse(packet, out var header, out _));
        var destination = header.DestinationAddress;
        if (Terminals.TryGetValue(destination, out var terminal) && terminal.Router == router)
        {
            terminal.Receive(packet);
        }
        else if (router is null && (Pool.Contains(destination) || Terminals.Values.Any(t => t.Networks.Any(n => n.Contains(destination)))))
        {
            Forward(packet);
        }
        else if (router is null)
        {
            Elsewhere.Add(packet);
        }
    }

    /// <summary>What the home agent does with a packet that is routed to it.</summary>
    public void Forward(byte[] received)
    {
        var packet = Tunnel.Assemble(received, Now).ToArray();
        if (packet.Length == 0)
        {
            return;
        }

        var output = new byte[HomeTunnel.OutputFor(packet.Length)];
        Carry(packet, Tunnel.Forward(packet, output, Now), output);
    }

    private void Carry(byte[] packet, HomeTunnelResult result, byte[] output)
    {
        if (result.Verdict == HomeTunnelVerdict.Control)
        {
            Tell(new Ipv6PacketReceived(result.ForEngine(packet, output).ToArray()));
        }
        else if (result.Verdict == HomeTunnelVerdict.Send)
        {
            foreach (var one in new PacketSequence(output.AsSpan(result.Offset, result.Length)))
            {
                Post(one.ToArray());
            }
        }
    }

    private PrefixAllocation Look(AskAllocation ask) => Allocations.FirstOrDefault(a => a.Key.Contains(ask.HomeAddress)) is { Value.Identifier: not null } found && found.Value.Until > Now
        ? found.Value.Identifier == ask.Identifier ? new PrefixAllocation(true, true, found.Key, found.Value.Until) : new PrefixAllocation(true, false, null, null)
        : PrefixAllocation.None;

    public static byte[] Udp(SendDatagram datagram)
    {
        var octets = new byte[UdpHeader.HeaderLength + datagram.Payload.Length];
        datagram.Payload.CopyTo(octets.AsMemory(UdpHeader.HeaderLength));
        UdpHeader.Write(octets, (ushort)datagram.Source.Port, (ushort)datagram.Destination.Port);
        UdpHeader.WriteChecksum(octets, datagram.Source.Address.GetAddressBytes(), datagram.Destination.Address.GetAddressBytes());
        return new MobileIpv6Packet { Source = datagram.Source.Address, Destination = datagram.Destination.Address, Protocol = IpProtocol.Udp, Payload = octets }.ToArray();
    }

    /// <summary>A packet of a host, as routing hands it over.</summary>
    public static byte[] Plain(IPAddress source, IPAddress destination, int length = 100)
    {
        var octets = new byte[UdpHeader.HeaderLength + length];
        UdpHeader.Write(octets, 40_000, 7);
        UdpHeader.WriteChecksum(octets, source.GetAddressBytes(), destination.GetAddressBytes());
        return new MobileIpv6Packet { Source = source, Destination = destination, Protocol = IpProtocol.Udp, Payload = octets }.ToArray();
    }

    public static byte[] Sealed(PathTable tunnel, byte[] inner, DateTimeOffset now)
    {
        var output = new byte[8192];
        var result = tunnel.Outbound(inner, output, now);
        Assert.Equal((OutboundVerdict.Send, 1), (result.Verdict, result.Count));
        return output.AsSpan(result.Offset, result.Length).ToArray();
    }

    public static byte[] Tunnelled(IPAddress source, byte[] inner) => new MobileIpv6Packet { Source = source, Destination = Agent, Protocol = IpProtocol.IPv6, Payload = inner }.ToArray();
}
