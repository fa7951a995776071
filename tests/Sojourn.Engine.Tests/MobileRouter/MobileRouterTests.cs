using System.Net;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.MobileRouter;
using Sojourn.Engine.Terminal;
using Sojourn.Engine.Tests.Terminal;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;
using static Sojourn.Engine.Tests.Terminal.TerminalWorld;
using SeededRandom = Sojourn.Engine.Tests.MobileIpv6.SeededRandom;

namespace Sojourn.Engine.Tests.MobileRouter;

/// <summary>A mobile router between a visited link and links of its own (RFC 3963 5), as octets.</summary>
public sealed class MobileRouterTests
{
    private const string First = "2001:db8:f:1::/64", Second = "2001:db8:f:2::/64";

    private static readonly IPNetwork s_network = IPNetwork.Parse("2001:db8:9::/48"), s_link = IPNetwork.Parse("2001:db8:9::/64");
    private static readonly IPAddress s_home = IPAddress.Parse("2001:db8:a:7::77"), s_onBoard = IPAddress.Parse("2001:db8:9::5");

    private readonly TerminalWorld _world;
    private readonly MobileRouterNode _router;

    public MobileRouterTests() => (_world, _router) = Make(s_network);

    private static (TerminalWorld World, MobileRouterNode Router) Make(IPNetwork network, bool namesThem = true)
    {
        var world = new TerminalWorld(
            o => o with { Home = new FixedHome(s_home, IPNetwork.Parse("2001:db8:a:7::/64")), PrefixRequest = null, MobileNetworks = [network], ImplicitNetworks = !namesThem },
            agent: o => o with { MobileNetworks = new Dictionary<IPAddress, IReadOnlyList<IPNetwork>> { [s_home] = [s_network] } });
        return (world, new MobileRouterNode(world.Terminal, [network], [new AdvertisedLink { Interface = "in0", Prefixes = [s_link], Interval = TimeSpan.FromSeconds(1) }], new SeededRandom(9)));
    }

    private void Register()
    {
        _world.Attach(Wlan, First);
        _world.Run(TimeSpan.FromSeconds(8));
        Assert.Equal(TerminalState.Reg, _world.Terminal.State);
    }

    private List<Effect> Tell(EngineInput input, MobileRouterNode? router = null)
    {
        var sink = new EffectSink();
        (router ?? _router).Handle(input, _world.Now, sink);
        return [.. sink.Effects];
    }

    private static List<byte[]> SentIn(IEnumerable<Effect> effects) => [.. effects.OfType<SendIpv6Packet>().Where(s => s.Packet.Span[6] == IpProtocol.IPv6).Select(s => s.Packet.ToArray())];

    private static byte[] Packet(IPAddress source, IPAddress destination) => Udp(source, destination, 5000, 5000, [1, 2, 3, 4]);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void It_registers_its_networks_by_name_or_by_the_home_agents_list(bool namesThem)
    {
        var (world, _) = Make(s_network, namesThem);
        world.Attach(Wlan, First);
        world.Run(TimeSpan.FromSeconds(8));
        Assert.Equal([s_network], world.Binding!.MobileNetworks);
        Assert.True(world.Binding.Flags.HasFlag(BindingUpdateFlags.MobileRouter));
    }

    [Fact]
    [Trait("Row", "TM-R106")]
    public void Packets_of_its_networks_take_the_tunnel_both_ways()
    {
        Register();
        var up = Packet(s_onBoard, Peer);
        var outer = Assert.Single(SentIn(Tell(new HostPacketSent(up))));
        Assert.Equal((_world.Terminal.CareOfAddress, Agent), (new IPAddress(outer.AsSpan(8, 16)), new IPAddress(outer.AsSpan(24, 16))));
        Assert.Equal(up, outer[40..]);

        var down = Packet(Peer, s_onBoard);
        var tunnelled = new MobileIpv6Packet { Source = Agent, Destination = _world.Terminal.CareOfAddress!, Protocol = IpProtocol.IPv6, Payload = down }.ToArray();
        Assert.Equal(down, Assert.Single(Tell(new Ipv6PacketReceived(tunnelled, Wlan, RouterLink)).OfType<DeliverToHost>()).Packet.ToArray());
    }

    [Fact]
    [Trait("Row", "TM-R106")]
    public void Nothing_of_them_leaves_past_the_tunnel()
    {
        Register();
        var foreign = Tell(new HostPacketSent(Packet(IPAddress.Parse("2001:db8:99::5"), Peer)));
        var nobody = Tell(new HostPacketSent(Packet(s_onBoard, IPAddress.Parse("2001:db8:9:77::1"))));
        Assert.Equal(["terminal.host.foreign_source", "router.nobody_there"], foreign.Concat(nobody).OfType<CountEvent>().Select(c => c.Counter));
        Assert.DoesNotContain(foreign.Concat(nobody), e => e is SendIpv6Packet);

        // What comes as it is from the visited link, without the tunnel, is not for the network either.
        Assert.DoesNotContain(Tell(new Ipv6PacketReceived(Packet(Peer, s_onBoard), Wlan, RouterLink)), e => e is DeliverToHost);
        var strange = new MobileIpv6Packet { Source = IPAddress.Parse("2001:db8:bad::1"), Destination = _world.Terminal.CareOfAddress!, Protocol = IpProtocol.IPv6, Payload = Packet(Peer, s_onBoard) }.ToArray();
        Assert.DoesNotContain(Tell(new Ipv6PacketReceived(strange, Wlan, RouterLink)), e => e is DeliverToHost);
    }

    [Fact]
    public void What_comes_while_it_moves_waits_for_the_new_binding()
    {
        Register();
        _world.Tell(new LinkChanged(Wlan, false));
        Assert.Empty(SentIn(Tell(new HostPacketSent(Packet(s_onBoard, Peer)))));
        _world.Attach(Wlan, Second);
        _world.Run(TimeSpan.FromSeconds(1.5));
        Assert.Contains(_world.ReachedHome, p => p.AsSpan().IndexOf(s_onBoard.GetAddressBytes()) >= 0);
        Assert.True(IPNetwork.Parse(Second).Contains(_world.Binding!.CareOfAddress));
    }

    [Fact]
    public void It_advertises_its_prefix_on_its_inner_links_and_says_goodbye()
    {
        var (world, router) = Make(s_network);
        var started = Advertisements(Tell(new EngineStarted([]), router));
        var from = router.NextDeadline!.Value;
        var sink = new EffectSink();
        router.Handle(new DeadlineReached(), from, sink);
        var advertised = Assert.Single(started.Concat(Advertisements(sink.Effects)));
        Assert.Equal(s_link, Assert.Single(advertised.Options.OfType<PrefixInformationOption>()).Prefix);
        Assert.Equal(1800, advertised.RouterLifetime);
        Assert.Equal(0, Assert.Single(Advertisements(Tell(new EngineStopping(), router))).RouterLifetime);
        Assert.Equal(world.Terminal.NextDeadline, router.NextDeadline);
    }

    [Fact]
    [Trait("Row", "TM-NC24")]
    public void A_network_that_is_refused_is_advertised_no_more_and_not_asked_for_again()
    {
        var (world, router) = Make(IPNetwork.Parse("2001:db8:99::/64"));
        Tell(new EngineStarted([]), router);
        world.Attach(Wlan, First);
        world.Run(TimeSpan.FromSeconds(8));
        Assert.Equal(BindingStatus.NotAuthorizedForPrefix, world.Terminal.NetworksRefused);
        Assert.Equal(0, Assert.Single(Advertisements(Tell(new RouterSolicited("in0"), router))).RouterLifetime);
        var updates = world.Count("mip6.mn.updates");
        world.Run(TimeSpan.FromMinutes(10));
        world.Tell(new LinkChanged(Wlan, false));
        world.Attach(Wlan, Second);
        world.Run(TimeSpan.FromSeconds(10));
        Assert.Equal(updates, world.Count("mip6.mn.updates"));
        Assert.Null(world.Binding);
    }

    private static List<RouterAdvertisement> Advertisements(IEnumerable<Effect> effects) =>
        [.. effects.OfType<AdvertiseRouter>().Select(a => Icmpv6Message.TryParse(a.Message.Span, out var message, out _) ? (RouterAdvertisement)message : throw new InvalidOperationException())];
}
