using System.Net;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Wire.Icmpv6;
using Xunit;

namespace Sojourn.Engine.Tests.Access;

/// <summary>Router advertisements of an access router (RFC 4861 6.2, RFC 5380 4).</summary>
public sealed class AdvertisingRouterTests
{
    private static readonly IPAddress s_anchor = IPAddress.Parse("2001:db8:b::1");
    private readonly EffectSink _sink = new();
    private DateTimeOffset _now = new(2026, 11, 21, 4, 0, 0, TimeSpan.Zero);

    private static AdvertisingRouter Router(TimeSpan interval) => new(
        [new AdvertisedLink { Interface = "acc0", Prefixes = [IPNetwork.Parse("2001:db8:f1::/64")], Interval = interval, Anchors = [new MobilityAnchorPointOption(2, 10, MobilityAnchorPointOption.RegionalFlag, 600, s_anchor)] }],
        new Ikev2.SeededRandom(3));

    private List<(DateTimeOffset At, RouterAdvertisement Message)> Run(AdvertisingRouter router, double seconds, EngineInput? first = null)
    {
        var sent = new List<(DateTimeOffset, RouterAdvertisement)>();
        var end = _now + TimeSpan.FromSeconds(seconds);
        for (EngineInput? input = first; input is not null || router.NextDeadline <= end; input = null)
        {
            _now = input is null ? router.NextDeadline!.Value : _now;
            _sink.Clear();
            router.Handle(input ?? new DeadlineReached(), _now, _sink);
            foreach (var advertisement in _sink.Effects.OfType<AdvertiseRouter>())
            {
                Assert.True(Icmpv6Message.TryParse(advertisement.Message.Span, out var message, out var error), error.ToString());
                sent.Add((_now, Assert.IsType<RouterAdvertisement>(message)));
            }
        }

        _now = end;
        return sent;
    }

    [Fact]
    public void The_advertisement_has_prefix_interval_and_anchor_point()
    {
        var sent = Run(Router(TimeSpan.FromSeconds(1)), 10, new EngineStarted([]));

        Assert.InRange(sent.Count, 10, 31);
        Assert.All(sent, s => Assert.Equal(1800, s.Message.RouterLifetime));
        var prefix = sent[0].Message.Options.Find<PrefixInformationOption>()!;
        Assert.Equal((IPNetwork.Parse("2001:db8:f1::/64"), true), (prefix.Prefix, prefix.Has(PrefixInformationFlags.Autonomous)));
        Assert.Equal(1000u, sent[0].Message.Options.Find<AdvertisementIntervalOption>()!.Milliseconds);
        Assert.Equal(new MobilityAnchorPointOption(2, 10, MobilityAnchorPointOption.RegionalFlag, 600, s_anchor), sent[0].Message.Options.Find<MobilityAnchorPointOption>());
        Assert.All(sent.Zip(sent.Skip(1)), pair => Assert.InRange((pair.Second.At - pair.First.At).TotalMilliseconds, 333, 1000));
    }

    [Fact]
    public void A_solicitation_is_answered_within_half_a_second_and_many_get_one_answer()
    {
        var router = Router(TimeSpan.FromMinutes(10));
        Run(router, 60, new EngineStarted([]));
        for (var i = 0; i < 20; i++)
        {
            router.Handle(new RouterSolicited("acc0"), _now, _sink);
        }

        Assert.Single(Run(router, 0.5));
        router.Handle(new RouterSolicited("other0"), _now, _sink);
        Assert.Empty(Run(router, 0.5));
    }

    [Fact]
    public void A_link_whose_carrier_is_back_is_told_at_once_and_no_more_often_than_may_be()
    {
        var router = Router(TimeSpan.FromMinutes(10));
        Run(router, 60, new EngineStarted([]));
        Assert.Empty(Run(router, 1, new LinkChanged("acc0", false)));
        var back = _now;
        Assert.Equal([0.0, 30, 60], Run(router, 1, new LinkChanged("acc0", true)).Select(s => (s.At - back).TotalMilliseconds));

        // A carrier that comes and goes does not make it speak more often than it may.
        back = _now;
        var sent = Run(router, 0.01, new LinkChanged("acc0", true));
        sent.AddRange(Run(router, 0.01, new LinkChanged("acc0", true)));
        sent.AddRange(Run(router, 1, new LinkChanged("acc0", true)));
        Assert.Equal([0.0, 30, 60, 90], sent.Select(s => (s.At - back).TotalMilliseconds));
        Assert.Empty(Run(router, 1, new LinkChanged("other0", true)));
    }

    [Fact]
    public void At_a_stop_hosts_are_told_that_the_router_goes()
    {
        var router = Router(TimeSpan.FromMinutes(10));
        Run(router, 60, new EngineStarted([]));
        var last = Assert.Single(Run(router, 0, new EngineStopping()));
        Assert.Equal(0, last.Message.RouterLifetime);
        Assert.Null(router.NextDeadline);
    }
}
