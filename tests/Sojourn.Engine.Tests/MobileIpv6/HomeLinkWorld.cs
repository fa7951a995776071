using System.Net;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;

namespace Sojourn.Engine.Tests.MobileIpv6;

/// <summary>
/// A mobile node with its own IPv6 host stack, its home agent, and the links between them, in one process on virtual time.
/// IPsec is played by the wire: what leaves under an association arrives under the association of the other side, as long as
/// both sides have it and its addresses fit.
/// </summary>
internal sealed class HomeLinkWorld
{
    public const string Wlan = "wlan0", Home = "home0";

    public static readonly IPAddress HomeAddress = IPAddress.Parse("2001:db8:a:1::77"), Agent = IPAddress.Parse("2001:db8:a::fffe"), AgentLinkLocal = IPAddress.Parse("fe80::fffe"), PeerAddress = IPAddress.Parse("2001:db8:c::9");
    public static readonly IPNetwork HomeNetwork = IPNetwork.Parse("2001:db8:a:1::/64");
    public static readonly LinkAddress NodeLink = new([2, 0, 0, 0, 0, 0x77]), RouterLink = new([2, 0, 0, 0, 0, 1]), AgentLink = new([2, 0, 0, 0, 0, 0xFE]);
    public static readonly SignallingPolicy Protected = new(IPNetwork.Parse("2001:db8:a::/48"), SignallingTreatment.Protect, SignallingTreatment.Protect);

    private readonly EffectSink _sink = new();
    private readonly PriorityQueue<Action, (DateTimeOffset At, long Order)> _wire = new();
    private long _order;
    private long _association;

    public HomeLinkWorld(Func<HomeAgentOptions, HomeAgentOptions>? agent = null, Func<MobileNodeOptions, MobileNodeOptions>? node = null, bool onLink = false, TimeSpan? valid = null)
    {
        var until = Now + (valid ?? TimeSpan.FromDays(1));
        var agentOptions = new HomeAgentOptions
        {
            Address = Agent,
            Prefixes = [new HomePrefix(HomeNetwork, until, until, onLink)],
            Policies = [Protected],
            HomeInterface = Home,
            HomeLinkAddress = AgentLink,
            HomeLinkLocal = AgentLinkLocal,
        };
        HomeAgent = new HomeAgent(agent?.Invoke(agentOptions) ?? agentOptions, new SeededRandom(1));
        var nodeOptions = new MobileNodeOptions { Interface = Wlan, Policies = [Protected] };
        Node = new MobileNode(node?.Invoke(nodeOptions) ?? nodeOptions, new SeededRandom(2));
        Peer = new Correspondent(new CorrespondentOptions { Address = PeerAddress }, new SeededRandom(3));
        Host = new Ipv6Host.Ipv6Host(new Ipv6HostOptions { Interface = Wlan, LinkAddress = NodeLink });
        TellAgent(new EngineStarted([]));
    }

    public DateTimeOffset Now { get; private set; } = new(2026, 11, 21, 4, 0, 0, TimeSpan.Zero);

    public HomeAgent HomeAgent { get; }

    public MobileNode Node { get; }

    public Ipv6Host.Ipv6Host Host { get; }

    public Correspondent Peer { get; }

    public List<Effect> PeerEffects { get; } = [];

    public long PeerCount(string counter) => PeerEffects.OfType<CountEvent>().Where(c => c.Counter == counter).Sum(c => c.Amount);

    public IReadOnlyList<Effect> TellPeer(EngineInput input)
    {
        _sink.Clear();
        Peer.Handle(input, Now, _sink);
        Effect[] effects = [.. _sink.Effects];
        PeerEffects.AddRange(effects);
        foreach (var sent in effects.OfType<SendIpv6Packet>())
        {
            Carry(sent, up: false);
        }

        return effects;
    }

    /// <summary>One way between the visited link and the home agent.</summary>
    public TimeSpan Delay { get; set; } = TimeSpan.FromMilliseconds(10);

    /// <summary>Decides about packets between the two, both directions; true = lost.</summary>
    public Func<MobileIpv6Packet, bool> Loses { get; set; } = _ => false;

    /// <summary>Key management answers a request for an association; false leaves it unanswered.</summary>
    public bool KeyManagement { get; set; } = true;

    public bool AssociationsMove { get; set; } = true;

    /// <summary>The node takes the home address of a new prefix; its home address is a preset one.</summary>
    public bool FollowsPrefix { get; init; }

    /// <summary>Plays whoever answers what the home agent asks beside packets: certification authority, name service.</summary>
    public Action<Effect>? Answers { get; set; }

    public List<Effect> AgentEffects { get; } = [];

    public List<Effect> NodeEffects { get; } = [];

    /// <summary>Every packet between node and home agent, with the association it left under.</summary>
    public List<(DateTimeOffset At, bool Up, MobileIpv6Packet Packet, long? Under)> Crossed { get; } = [];

    public IEnumerable<(DateTimeOffset At, T Message, MobileIpv6Packet Packet, long? Under)> Messages<T>() where T : MobilityMessage =>
        Crossed.Where(c => c.Packet.Protocol == IpProtocol.Mobility)
            .Select(c => (c.At, Read: MobilityMessage.TryParse(c.Packet.Payload.Span, out var message, out _) ? message : null, c.Packet, c.Under))
            .Where(c => c.Read is T).Select(c => (c.At, (T)c.Read!, c.Packet, c.Under));

    public IEnumerable<T> IcmpMessages<T>() where T : Icmpv6Message => Crossed.Where(c => c.Packet.Protocol == IpProtocol.Icmpv6)
        .Select(c => Icmpv6Message.TryParse(c.Packet.Payload.Span, out var message, out _) ? message : null).OfType<T>();

    public long AgentCount(string counter) => AgentEffects.OfType<CountEvent>().Where(c => c.Counter == counter).Sum(c => c.Amount);

    public long NodeCount(string counter) => NodeEffects.OfType<CountEvent>().Where(c => c.Counter == counter).Sum(c => c.Amount);

    public BindingCacheEntry? Binding => HomeAgent.Bindings.SingleOrDefault(b => b.HomeAddress.Equals(HomeAddress));

    public BindingUpdateListEntry? Entry => Node.HomeRegistration;

    public IReadOnlyList<Effect> TellAgent(EngineInput input)
    {
        _sink.Clear();
        HomeAgent.Handle(input, Now, _sink);
        Effect[] effects = [.. _sink.Effects];
        AgentEffects.AddRange(effects);
        foreach (var sent in effects.OfType<SendIpv6Packet>().Where(s => s.Interface is null))
        {
            Carry(sent, up: false);
        }

        foreach (var effect in effects)
        {
            Answers?.Invoke(effect);
        }

        return effects;
    }

    public IReadOnlyList<Effect> TellNode(EngineInput input)
    {
        _sink.Clear();
        Node.Handle(input, Now, _sink);
        Effect[] effects = [.. _sink.Effects];
        NodeEffects.AddRange(effects);
        foreach (var effect in effects)
        {
            switch (effect)
            {
                case SendIpv6Packet sent:
                    Carry(sent, up: true);
                    break;
                case HomePrefixChanged changed when FollowsPrefix:
                    At(TimeSpan.Zero, () => TellNode(changed.Next));
                    break;
                case RequestAssociation request when KeyManagement:
                    At(Delay * 4, () => Associate(request.HomeAddress, request.CareOfAddress));
                    break;
                case HoldHomeAddress { AtHome: true } hold:
                    At(TimeSpan.Zero, () => TellHost(new AddHostAddress(hold.HomeAddress, DateTimeOffset.MaxValue, DateTimeOffset.MaxValue, hold.Test)));
                    break;
                case HoldHomeAddress hold:
                    At(TimeSpan.Zero, () => TellHost(new RemoveHostAddress(hold.HomeAddress)));
                    break;
            }
        }

        return effects;
    }

    public IReadOnlyList<Effect> TellHost(EngineInput input)
    {
        _sink.Clear();
        Host.Handle(input, Now, _sink);
        Effect[] effects = [.. _sink.Effects];
        foreach (var configured in effects.OfType<LinkConfigured>())
        {
            TellNode(new LinkReported(configured));
        }

        return effects;
    }

    /// <summary>Key management made an association for both sides.</summary>
    public long Associate(IPAddress home, IPAddress peer, string identifier = "alice")
    {
        var association = new SignallingAssociation(++_association, home, peer, identifier, AssociationsMove);
        TellAgent(new AssociationEstablished(association));
        TellNode(new AssociationEstablished(association));
        return association.Number;
    }

    /// <summary>The carrier goes and comes back on another link, whose router speaks up.</summary>
    public void Attach(string prefix, uint lifetime = 86400)
    {
        TellHost(new LinkChanged(Wlan, false));
        TellHost(new LinkChanged(Wlan, true));
        Advertise(prefix, lifetime);
        Run(TimeSpan.Zero);
    }

    public void Advertise(string prefix, uint lifetime = 86400)
    {
        var source = IPAddress.Parse("fe80::1");
        var destination = IPAddress.Parse("ff02::1");
        var message = new RouterAdvertisement
        {
            RouterLifetime = 1800,
            Options = NeighborDiscoveryOptions.Of(
                new LinkLayerAddressOption(false, RouterLink.ToArray()),
                new PrefixInformationOption(IPNetwork.Parse(prefix).BaseAddress, 64, PrefixInformationFlags.OnLink | PrefixInformationFlags.Autonomous, lifetime, lifetime)),
        };
        var packet = new MobileIpv6Packet { Source = source, Destination = destination, HopLimit = 255, Protocol = IpProtocol.Icmpv6, Payload = message.ToArray(source, destination) };
        TellHost(new Ipv6PacketReceived(packet.ToArray(), Wlan, RouterLink));
    }

    /// <summary>Lets time pass: packets arrive, engines are woken at their deadlines.</summary>
    public void Run(TimeSpan time)
    {
        var until = Now + time;
        for (var steps = 0; ; steps++)
        {
            Assert.True(steps < 100_000, "time does not pass");
            var packet = _wire.TryPeek(out _, out var key) ? key.At : DateTimeOffset.MaxValue;
            var next = new[] { packet, HomeAgent.NextDeadline ?? DateTimeOffset.MaxValue, Node.NextDeadline ?? DateTimeOffset.MaxValue, Host.NextDeadline ?? DateTimeOffset.MaxValue, Peer.NextDeadline ?? DateTimeOffset.MaxValue }.Min();
            if (next > until)
            {
                break;
            }

            Now = next > Now ? next : Now;
            if (packet <= Now)
            {
                _wire.Dequeue()();
                continue;
            }

            Wake(HomeAgent, TellAgent);
            Wake(Node, TellNode);
            Wake(Host, TellHost);
            Wake(Peer, TellPeer);
        }

        Now = until;
    }

    public void At(TimeSpan delay, Action what) => _wire.Enqueue(what, (Now + delay, _order++));

    private void Wake(IEngine engine, Func<EngineInput, IReadOnlyList<Effect>> tell)
    {
        if (engine.NextDeadline <= Now)
        {
            tell(new DeadlineReached());
        }
    }

    private void Carry(SendIpv6Packet sent, bool up)
    {
        Assert.True(MobileIpv6Packet.TryParse(sent.Packet.Span, out var packet, out var error), error.ToString());
        Crossed.Add((Now, up, packet, sent.Under));
        if (Loses(packet))
        {
            return;
        }

        At(Delay, () =>
        {
            if (packet.Destination.Equals(PeerAddress))
            {
                // Through the tunnel only while the home agent has that very place of it (RFC 6275 10.4.5).
                if (sent.TunnelTo is null || (sent.TunnelTo.Equals(Agent) && sent.TunnelFrom!.Equals(Binding?.CareOfAddress)))
                {
                    TellPeer(new Ipv6PacketReceived(sent.Packet));
                }
            }
            else if (!up && packet.Destination.Equals(HomeAddress) && !Node.AtHome)
            {
                if (Binding is { } binding && binding.CareOfAddress.Equals(Node.CareOfAddress))
                {
                    TellNode(new Ipv6PacketReceived(sent.Packet, Wlan, RouterLink, null, Agent));
                }
            }
            else if (up)
            {
                TellAgent(new Ipv6PacketReceived(sent.Packet, null, null, sent.Under));
            }
            else if (packet.Destination.Equals(Node.CareOfAddress) || (Node.AtHome && packet.Destination.Equals(HomeAddress)))
            {
                TellNode(new Ipv6PacketReceived(sent.Packet, Wlan, RouterLink, sent.Under));
            }
        });
    }

    /// <summary>A binding update made by hand, as a peer would that has an association and bad manners.</summary>
    public IReadOnlyList<Effect> Update(
        ushort sequence, long? under, IPAddress? careOf = null, IPAddress? home = null, IPAddress? alternate = null, ushort lifetime = 100, BindingUpdateFlags flags = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.HomeRegistration,
        bool homeOption = true, params MobilityOption[] options)
    {
        home ??= HomeAddress;
        careOf ??= IPAddress.Parse("2001:db8:f:1::9");
        var update = new BindingUpdate { SequenceNumber = sequence, Flags = flags, Lifetime = lifetime, Options = MobilityOptions.Of([.. options, .. alternate is null ? [] : new[] { new AlternateCareOfAddressOption(alternate) }]) };
        var packet = new MobileIpv6Packet { Source = careOf, Destination = Agent, HomeAddress = homeOption ? home : null, Protocol = IpProtocol.Mobility, Payload = update.ToArray(homeOption ? home : careOf, Agent) };
        return TellAgent(new Ipv6PacketReceived(packet.ToArray(), null, null, under));
    }

    public static (BindingAcknowledgement Message, MobileIpv6Packet Packet, long? Under)? Acknowledged(IEnumerable<Effect> effects)
    {
        foreach (var sent in effects.OfType<SendIpv6Packet>())
        {
            Assert.True(MobileIpv6Packet.TryParse(sent.Packet.Span, out var packet, out _));
            if (packet.Protocol == IpProtocol.Mobility && MobilityMessage.TryParse(packet.Payload.Span, out var message, out _) && message is BindingAcknowledgement acknowledgement)
            {
                Assert.True(MobilityMessage.ChecksumIsRight(packet.Payload.Span, packet.EffectiveSource, packet.EffectiveDestination));
                return (acknowledgement, packet, sent.Under);
            }
        }

        return null;
    }
}

internal sealed class SeededRandom(int seed) : IRandomSource
{
    private readonly Random _random = new(seed);

    public void Fill(Span<byte> destination) => _random.NextBytes(destination);
}
