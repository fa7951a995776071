using System.Net;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Tests.MobileIpv6;

/// <summary>
/// A terminal (local mobility over a mobile node), an anchor point and a home agent. The wire delivers at once; a packet that
/// leaves under an association arrives under it. Access authentication is the test's own: it answers <see cref="Wanted"/>.
/// </summary>
internal sealed class AnchorWorld
{
    public static readonly IPAddress Map = IPAddress.Parse("2001:db8:b::1"), Agent = IPAddress.Parse("2001:db8:a::fffe"), Home = IPAddress.Parse("2001:db8:a:1::77");
    public static readonly IPNetwork Regional = IPNetwork.Parse("2001:db8:b::/64"), HomeNetwork = IPNetwork.Parse("2001:db8:a:1::/64");
    public static readonly IPAddress First = IPAddress.Parse("2001:db8:f:1::77"), Second = IPAddress.Parse("2001:db8:f:2::77"), RegionalAddress = IPAddress.Parse("2001:db8:b::77");

    private readonly EffectSink _sink = new();
    private readonly Queue<Action> _wire = new();
    private long _association;

    public AnchorWorld(bool isProtected = true, Func<MobilityAnchorPointOptions, MobilityAnchorPointOptions>? anchor = null)
    {
        var options = new MobilityAnchorPointOptions { Address = Map, RegionalPrefix = Regional, Unprotected = isProtected ? [] : [Regional] };
        Anchor = new MobilityAnchorPoint(anchor?.Invoke(options) ?? options);
        Local = new LocalMobility(new LocalMobilityOptions { Interface = "wlan0", Unprotected = isProtected ? [] : [Map] }, new SeededRandom(5));
        var policy = new SignallingPolicy(IPNetwork.Parse("2001:db8:a::/48"), SignallingTreatment.Bypass, SignallingTreatment.Bypass);
        Node = new MobileNode(new MobileNodeOptions { Interface = "wlan0", Policies = [policy], HomeAgent = Agent }, new SeededRandom(6));
        HomeAgent = new HomeAgent(new HomeAgentOptions { Address = Agent, Prefixes = [new HomePrefix(HomeNetwork, Now.AddDays(1), Now.AddDays(1), false)], Policies = [policy] }, new SeededRandom(7));
        ToAgent(new EngineStarted([]));
        ToAnchor(new EngineStarted([]));
        ToNode(new SetHomeAddress(Home, HomeNetwork, Now.AddDays(1)));
    }

    public DateTimeOffset Now { get; private set; } = new(2026, 11, 21, 4, 0, 0, TimeSpan.Zero);

    public MobilityAnchorPoint Anchor { get; }

    public LocalMobility Local { get; }

    public MobileNode Node { get; }

    public HomeAgent HomeAgent { get; }

    public List<Effect> AnchorEffects { get; } = [];

    public List<Effect> TerminalEffects { get; } = [];

    /// <summary>Every packet, with the association it left under and the tunnel it took.</summary>
    public List<(SendIpv6Packet Sent, MobileIpv6Packet Packet)> Crossed { get; } = [];

    public IEnumerable<AccessWanted> Wanted => AnchorEffects.OfType<AccessWanted>();

    public IEnumerable<RequestAssociation> Requested => TerminalEffects.OfType<RequestAssociation>();

    public BindingCacheEntry? Bound => Anchor.Bindings.SingleOrDefault(b => b.HomeAddress.Equals(RegionalAddress));

    public BindingCacheEntry? AtHome => HomeAgent.Bindings.SingleOrDefault(b => b.HomeAddress.Equals(Home) && !b.Deleted);

    public IEnumerable<T> Between<T>(IPAddress from, IPAddress to) where T : MobilityMessage =>
        Crossed.Where(c => c.Packet.Source.Equals(from) && c.Packet.Destination.Equals(to) && c.Packet.Protocol == IpProtocol.Mobility)
            .Select(c => MobilityMessage.TryParse(c.Packet.Payload.Span, out var message, out _) ? message : null).OfType<T>();

    public int AnchorCount(string counter) => (int)AnchorEffects.OfType<CountEvent>().Where(c => c.Counter == counter).Sum(c => c.Amount);

    public int TerminalCount(string counter) => (int)TerminalEffects.OfType<CountEvent>().Where(c => c.Counter == counter).Sum(c => c.Amount);

    /// <summary>The terminal is on a link whose router advertises these anchor points.</summary>
    public void Attach(IPAddress onLink, params MobilityAnchorPointOption[] anchors)
    {
        var address = new HostAddress(onLink, new IPNetwork(onLink, 128), true, false, Now.AddHours(5), Now.AddHours(6));
        ToLocal(new LinkReported(new LinkConfigured("wlan0", true, 1, [address], [new HostRouter(IPAddress.Parse("fe80::1"), false, null, Now.AddHours(1))], [], false, false, anchors)));
        Settle();
    }

    public static MobilityAnchorPointOption Option(byte preference = 10, byte distance = 2, IPAddress? address = null, uint valid = 3600) => new(distance, preference, MobilityAnchorPointOption.RegionalFlag, valid, address ?? Map);

    public void Decide(bool allowed = true, string identifier = "mn1", TimeSpan? lasts = null)
    {
        ToAnchor(new AccessDecided(RegionalAddress, allowed, identifier, Now + (lasts ?? TimeSpan.FromHours(1))));
        Settle();
    }

    /// <summary>The gateway and the terminal share an association for the regional address.</summary>
    public SignallingAssociation Associate(IPAddress? regional = null, IPAddress? peer = null, string identifier = "mn1", bool atTerminal = true)
    {
        var association = new SignallingAssociation(++_association, regional ?? RegionalAddress, peer ?? Local.Registration!.CareOfAddress, identifier, Moves: true);
        ToAnchor(new AssociationEstablished(association));
        if (atTerminal)
        {
            ToLocal(new AssociationEstablished(association));
        }

        Settle();
        return association;
    }

    /// <summary>A binding update to the anchor point by somebody's own hand.</summary>
    public void Forge(IPAddress onLink, IPAddress regional, ushort sequence, long? under, BindingUpdateFlags flags = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.MobilityAnchorPoint, ushort lifetime = 100)
    {
        var packet = new MobileIpv6Packet { Source = onLink, Destination = Map, HomeAddress = regional, Protocol = IpProtocol.Mobility, Payload = new BindingUpdate { SequenceNumber = sequence, Flags = flags, Lifetime = lifetime }.ToArray(regional, Map) };
        ToAnchor(new Ipv6PacketReceived(packet.ToArray(), Under: under));
        Settle();
    }

    public void Registered()
    {
        Attach(First, Option());
        Associate();
        Decide();
    }

    public void Run(TimeSpan time)
    {
        var end = Now + time;
        while (true)
        {
            DateTimeOffset?[] due = [Anchor.NextDeadline, Local.NextDeadline, Node.NextDeadline, HomeAgent.NextDeadline];
            if (due.Min() is not { } next || next > end)
            {
                Now = end;
                return;
            }

            Now = next > Now ? next : Now;
            ToAnchor(new DeadlineReached());
            ToLocal(new DeadlineReached());
            ToNode(new DeadlineReached());
            ToAgent(new DeadlineReached());
            Settle();
        }
    }

    public void ToAnchor(EngineInput input)
    {
        var effects = Feed(Anchor, input);
        AnchorEffects.AddRange(effects);
        Carry(effects.OfType<SendIpv6Packet>());
    }

    public void ToLocal(EngineInput input)
    {
        var effects = Feed(Local, input);
        TerminalEffects.AddRange(effects);
        Carry(effects.OfType<SendIpv6Packet>());
        foreach (var shown in effects.OfType<RegionalLink>())
        {
            ToNode(new LinkReported(shown.Link));
        }
    }

    public void Settle()
    {
        while (_wire.TryDequeue(out var arrival))
        {
            arrival();
        }
    }

    private void ToNode(EngineInput input)
    {
        var effects = Feed(Node, input);
        TerminalEffects.AddRange(effects);
        Carry(effects.OfType<SendIpv6Packet>().Select(Local.Through));
    }

    private void ToAgent(EngineInput input) => Carry(Feed(HomeAgent, input).OfType<SendIpv6Packet>());

    private Effect[] Feed(IEngine engine, EngineInput input)
    {
        _sink.Clear();
        engine.Handle(input, Now, _sink);
        return [.. _sink.Effects];
    }

    private void Carry(IEnumerable<SendIpv6Packet> packets)
    {
        foreach (var sent in packets.ToList())
        {
            if (!MobileIpv6Packet.TryParse(sent.Packet.Span, out var packet, out _))
            {
                continue;
            }

            Crossed.Add((sent, packet));
            var input = new Ipv6PacketReceived(sent.Packet, Under: sent.Under);
            _wire.Enqueue(() =>
            {
                if (packet.Destination.Equals(Map))
                {
                    ToAnchor(input);
                }
                else if (packet.Destination.Equals(Agent))
                {
                    ToAgent(input);
                }
                else if (packet.Destination.Equals(RegionalAddress))
                {
                    // The anchor point's tunnel, where there is one.
                    if (Bound is not null)
                    {
                        ToNode(input);
                    }
                }
                else if (packet.Source.Equals(Map))
                {
                    ToLocal(input);
                }
            });
        }
    }
}
