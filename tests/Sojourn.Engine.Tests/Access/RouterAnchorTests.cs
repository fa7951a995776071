using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;

namespace Sojourn.Engine.Tests.Access;

/// <summary>How an access router learns of anchor points: from routers above it, and by router renumbering (spec terminal TM0.9).</summary>
[Trait("Row", "TM0.9")]
public sealed class RouterAnchorTests : IDisposable
{
    private const string Above = "up0", First = "acc0", Second = "acc1";

    private static readonly IPAddress s_map = IPAddress.Parse("2001:db8:3b::1"), s_other = IPAddress.Parse("2001:db8:3c::1"), s_own = IPAddress.Parse("2001:db8:e1::2"), s_station = IPAddress.Parse("2001:db8:c0::2");
    private static readonly IPAddress s_router = IPAddress.Parse("fe80::1"), s_nearer = IPAddress.Parse("fe80::2"), s_allNodes = IPAddress.Parse("ff02::1");

    private readonly List<Effect> _effects = [];
    private readonly TransportEsp _stationEsp = new(new Ikev2.SeededRandom(2));
    private readonly RouterCommands _commands;
    private AdvertisingRouter _router;
    private DateTimeOffset _now = new(2026, 11, 22, 4, 0, 0, TimeSpan.Zero);

    public RouterAnchorTests()
    {
        _stationEsp.Install(Pair(atStation: true), 1);
        _commands = new RouterCommands(Pair(atStation: false), new Ikev2.SeededRandom(3));
        _router = Started();
    }

    public void Dispose()
    {
        _stationEsp.Dispose();
        _router.Dispose();
        _commands.Dispose();
    }

    private static MobilityAnchorPointOption Option(byte distance = 1, uint valid = 600, IPAddress? address = null, byte preference = 9) =>
        new(distance, preference, MobilityAnchorPointOption.RegionalFlag | MobilityAnchorPointOption.ModeP, valid, address ?? s_map);

    private AdvertisingRouter Started(IReadOnlyList<SavedState>? state = null, MobilityAnchorPointOption? configured = null, RouterCommands? commands = null)
    {
        var router = new AdvertisingRouter(
            [
                new AdvertisedLink { Interface = First, Prefixes = [IPNetwork.Parse("2001:db8:f1::/64")], Interval = TimeSpan.FromMinutes(10), Anchors = configured is null ? [] : [configured] },
                new AdvertisedLink { Interface = Second, Prefixes = [IPNetwork.Parse("2001:db8:f2::/64")], Interval = TimeSpan.FromMinutes(10) },
            ],
            new Ikev2.SeededRandom(4), [Above], commands ?? _commands);
        _router = router;
        Tell(new EngineStarted(state ?? []));
        Run(120);
        return router;
    }

    private void Tell(EngineInput input)
    {
        var sink = new EffectSink();
        _router.Handle(input, _now, sink);
        _effects.AddRange(sink.Effects.ToArray());
    }

    private void Run(double seconds)
    {
        var end = _now + TimeSpan.FromSeconds(seconds);
        while (_router.NextDeadline is { } next && next <= end)
        {
            _now = next > _now ? next : _now;
            Tell(new DeadlineReached());
        }

        _now = end;
    }

    private void Hear(IPAddress from, MobilityAnchorPointOption option, byte hopLimit = 255, bool damaged = false)
    {
        var payload = new RouterAdvertisement { RouterLifetime = 1800, Options = NeighborDiscoveryOptions.Of(option) }.ToArray(from, s_allNodes);
        payload[5] ^= damaged ? (byte)1 : (byte)0;
        Tell(new Ipv6PacketReceived(new MobileIpv6Packet { Source = from, Destination = s_allNodes, HopLimit = hopLimit, Protocol = IpProtocol.Icmpv6, Payload = payload }.ToArray(), Above));
        Run(0.1);
    }

    /// <summary>MAP options of the last advertisement on a link.</summary>
    private List<MobilityAnchorPointOption> On(string link) =>
        Icmpv6Message.TryParse(_effects.OfType<AdvertiseRouter>().Last(a => a.Interface == link).Message.Span, out var message, out _) ? [.. ((RouterAdvertisement)message).Options.OfType<MobilityAnchorPointOption>()] : [];

    private int Count(string counter) => (int)_effects.OfType<CountEvent>().Where(c => c.Counter == counter).Sum(c => c.Amount);

    private byte[] Command(uint sequence, RouterRenumberingFlags flags, params PrefixControlOperation[] operations)
    {
        var payload = new RouterRenumbering(sequence, 1, flags, 0) { Operations = operations }.ToArray(s_station, s_own);
        return new MobileIpv6Packet { Source = s_station, Destination = s_own, Protocol = IpProtocol.Icmpv6, Payload = payload }.ToArray();
    }

    private void Send(byte[] packet)
    {
        Assert.Equal(DropReason.None, _stationEsp.TryProtect(1, packet, _now, out var wire));
        Tell(new Ipv6PacketReceived(wire));
        Run(0.1);
    }

    private RouterRenumbering Answer()
    {
        Assert.Equal(DropReason.None, _stationEsp.TryOpen(_effects.OfType<SendIpv6Packet>().Last().Packet.Span, _now, out var opened));
        Assert.True(MobileIpv6Packet.TryParse(opened.Packet, out var packet, out _));
        Assert.True(Icmpv6Message.ChecksumIsRight(packet.Payload.Span, s_own, s_station));
        Assert.True(Icmpv6Message.TryParse(packet.Payload.Span, out var message, out _));
        return Assert.IsType<RouterRenumbering>(message);
    }

    private static PrefixControlOperation Set(string match, params MobilityAnchorPointOption[] anchors) => PrefixControlOperation.Of(1, IPNetwork.Parse(match), anchors);

    [Fact]
    public void What_a_router_above_advertises_is_passed_on_at_once_one_further_away_and_else_as_it_is()
    {
        Assert.Empty(On(First));
        Hear(s_router, Option());
        Assert.Equal([Option(distance: 2)], On(First));
        Assert.Equal([Option(distance: 2)], On(Second));
    }

    [Fact]
    public void It_is_passed_on_for_no_longer_than_it_is_valid()
    {
        Hear(s_router, Option(valid: 60));
        Tell(new RouterSolicited(First));
        Run(20);
        Assert.InRange(Assert.Single(On(First)).ValidLifetime, 40u, 60u);
        Run(50);
        Assert.Empty(On(First));
        Assert.Contains(_effects.OfType<Report>(), r => r.Event is { Kind: "router.anchors_changed" } e && e.Text.Contains("no anchor point", StringComparison.Ordinal));
    }

    [Fact]
    public void Lifetime_0_takes_it_back_at_once_and_then_it_is_not_named_any_more()
    {
        Hear(s_router, Option());
        Hear(s_router, Option(valid: 0));
        Assert.Equal([Option(distance: 2, valid: 0)], On(First));
        Run(15);
        Assert.Empty(On(First));
        Hear(s_router, Option(valid: 0));
        Assert.Empty(On(First));
    }

    [Fact]
    public void The_nearest_of_two_ways_counts_and_one_that_is_too_far_does_not()
    {
        Hear(s_router, Option(distance: 7));
        Hear(s_nearer, Option(distance: 3));
        Assert.Equal([Option(distance: 4)], On(First));
        Hear(s_nearer, Option(valid: 0, distance: 3));
        Assert.Equal([Option(distance: 8)], On(First));
        Hear(s_router, Option(distance: 15, address: s_other));
        Assert.DoesNotContain(On(First), o => o.Address.Equals(s_other));
    }

    [Fact]
    public void A_configured_option_goes_before_a_learned_one()
    {
        var configured = Option(distance: 5, preference: 3);
        Started(configured: configured);
        Hear(s_router, Option());
        Assert.Equal([configured], On(First));
        Assert.Equal([Option(distance: 2)], On(Second));
    }

    [Theory]
    [InlineData("fe80::1", 254, false)]
    [InlineData("2001:db8::1", 255, false)]
    [InlineData("fe80::1", 255, true)]
    public void What_is_no_valid_advertisement_changes_nothing(string from, byte hopLimit, bool damaged)
    {
        Hear(IPAddress.Parse(from), Option(), hopLimit, damaged);
        Assert.Empty(On(First));
        Assert.Equal(1, Count("router.above.refused"));
    }

    [Fact]
    public void Nothing_is_learned_on_a_link_that_is_not_named()
    {
        var payload = new RouterAdvertisement { RouterLifetime = 1800, Options = NeighborDiscoveryOptions.Of(Option()) }.ToArray(s_router, s_allNodes);
        Tell(new Ipv6PacketReceived(new MobileIpv6Packet { Source = s_router, Destination = s_allNodes, HopLimit = 255, Protocol = IpProtocol.Icmpv6, Payload = payload }.ToArray(), First));
        Run(5);
        Assert.Empty(On(First));
    }

    [Fact]
    public void A_command_sets_the_options_of_the_links_that_match_and_its_result_names_them()
    {
        Send(Command(100, RouterRenumberingFlags.ResultRequested, Set("2001:db8:f1::/48", Option(address: s_other))));
        Assert.Equal([Option(address: s_other)], On(First));
        Assert.Empty(On(Second));
        var answer = Answer();
        Assert.Equal((RouterRenumbering.Result, 100u, RouterRenumberingFlags.None), (answer.Code, answer.SequenceNumber, answer.Flags));
        Assert.Equal([new RenumberingResult(false, 1, 1, 64, IPAddress.Parse("2001:db8:f1::"))], answer.Results);

        Send(Command(101, RouterRenumberingFlags.None, Set("::/0", Option())));
        Assert.Equal([Option()], On(First));
        Assert.Equal([Option()], On(Second));
        Send(Command(102, RouterRenumberingFlags.None, Set("2001:db8:f2::/64")));
        Assert.Equal([Option()], On(First));
        Assert.Empty(On(Second));
    }

    [Fact]
    public void A_test_and_a_repetition_change_nothing_and_an_old_command_is_not_heard()
    {
        Send(Command(100, RouterRenumberingFlags.Test | RouterRenumberingFlags.ResultRequested, Set("::/0", Option())));
        Assert.Equal((RouterRenumberingFlags.Test, 2), (Answer().Flags, Answer().Results.Count));
        Assert.Empty(On(First));

        Send(Command(100, RouterRenumberingFlags.None, Set("::/0", Option())));
        Send(Command(100, RouterRenumberingFlags.ResultRequested, Set("::/0", Option(address: s_other))));
        Assert.Equal([Option()], On(First));
        Assert.Equal(RouterRenumberingFlags.ProcessedPreviously, Answer().Flags);
        Assert.Equal(1, Count("router.command.repeated"));

        Send(Command(99, RouterRenumberingFlags.None, Set("::/0")));
        Assert.Equal([Option()], On(First));
        Assert.Equal(1, Count("router.command.old"));
    }

    [Fact]
    public void What_a_command_set_and_its_number_outlast_a_restart()
    {
        Send(Command(100, RouterRenumberingFlags.None, Set("2001:db8:f1::/64", Option())));
        var state = _effects.OfType<SaveState>().GroupBy(s => s.Key).Select(g => new SavedState(g.Key, g.Last().Value)).ToList();
        using var commands = new RouterCommands(Pair(atStation: false), new Ikev2.SeededRandom(5));
        using var again = Started(state, commands: commands);
        Assert.Equal([Option()], On(First));
        Send(Command(99, RouterRenumberingFlags.None, Set("::/0")));
        Assert.Equal([Option()], On(First));
        Assert.Equal(1, Count("router.command.old"));
    }

    [Fact]
    public void What_does_not_come_under_the_association_or_is_none_of_ours_changes_nothing()
    {
        var command = Command(100, RouterRenumberingFlags.None, Set("::/0", Option()));
        Tell(new Ipv6PacketReceived(command));
        Assert.Equal(1, Count("router.command.esp.Malformed") + Count("router.command.esp.UnknownSpi"));
        Assert.Equal(DropReason.None, _stationEsp.TryProtect(1, command, _now, out var wire));
        wire[^1] ^= 1;
        Tell(new Ipv6PacketReceived(wire));
        Assert.Equal(1, _effects.OfType<CountEvent>().Count(c => c.Counter == "router.command.esp.BadIcv"));
        Send(Command(101, RouterRenumberingFlags.ResultRequested, Set("::/0", Option(address: IPAddress.Parse("ff02::1"))), new PrefixControlOperation(2, 2, 0, 0, 128, IPAddress.IPv6Any, [new byte[32]])));
        Assert.Equal([true, true, true, true], Answer().Results.Select(r => r.Forbidden));
        Assert.Empty(On(First));
        Assert.Empty(On(Second));
    }

    private static ChildSa Pair(bool atStation)
    {
        static SaParameters OneWay(uint spi, IPAddress from, IPAddress to) => new()
        {
            Spi = spi,
            Source = from,
            Destination = to,
            Algorithm = IpsecAlgorithm.Aes128CbcHmacSha256,
            Keys = new AssociationKeys(new KeyMaterial(Enumerable.Repeat((byte)spi, 16).ToArray()), new KeyMaterial(Enumerable.Repeat((byte)~spi, 32).ToArray())),
            ExtendedSequence = false,
            ReplayWindow = 0,
            StaticKeys = true,
        };
        var (down, up) = (OneWay(0xC01, s_station, s_own), OneWay(0xC02, s_own, s_station));
        TrafficSelector[] station = [TrafficSelector.Of(s_station)], own = [TrafficSelector.Of(s_own)];
        return atStation ? new ChildSa(1, 0, "router", "router", ChildMode.Transport, station, own, up, down, null) : new ChildSa(1, 0, "operator", "operator", ChildMode.Transport, own, station, down, up, null);
    }
}
