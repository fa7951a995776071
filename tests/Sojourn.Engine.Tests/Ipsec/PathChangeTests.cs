using System.Net;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Ip;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

/// <summary>Installing, sharing, replacing, refusing, and what becomes of counters.</summary>
public class PathChangeTests
{
    private static VpnPath Preset(string owner, int host) => IpsecBench.Path(
        owner, host, algorithm: IpsecAlgorithm.Aes128CbcHmacSha256, spi: 0x300, keySeed: 3, staticKeys: true);

    [Fact]
    [Trait("Row", "NV-A22")]
    [Trait("Row", "S234")]
    public void Two_users_share_the_default_association_and_one_leaving_does_not_stop_the_other()
    {
        var bench = new IpsecBench();
        bench.Install(Preset("u1", 17), Preset("u2", 18));
        bench.ReceiveOne(bench.B, bench.SendOne(bench.A, bench.FromHost(host: 17)));
        bench.ReceiveOne(bench.B, bench.SendOne(bench.A, bench.FromHost(host: 18)));
        Assert.All(bench.A.Report(bench.Now), path => Assert.Equal((2, 2UL), (path.Outbound!.Holders, path.Outbound.Sequence)));

        Assert.Null(bench.A.Change([], [Preset("u1", 17).Id], bench.Now).Refusal);
        Assert.Null(bench.B.Change([], [Preset("u1", 17).Id], bench.Now).Refusal);
        Assert.Equal(bench.FromHost(host: 18), bench.ReceiveOne(bench.B, bench.SendOne(bench.A, bench.FromHost(host: 18))));
        var left = Assert.Single(bench.A.Report(bench.Now));
        Assert.Equal((1, 3UL), (left.Outbound!.Holders, left.Outbound.Sequence));
        Assert.Equal(OutboundVerdict.NoPath, bench.Send(bench.A, bench.FromHost(host: 17)).Result.Verdict);
    }

    [Fact]
    [Trait("Row", "NV9.1")]
    public void A_path_that_only_blocks_needs_no_far_end_and_stops_what_no_other_path_carries()
    {
        var bench = new IpsecBench();
        var open = IpsecBench.Path("u1", 17);
        var blocked = new VpnPath
        {
            Id = new PathId("protected", "all"),
            Source = new IPNetwork(IPAddress.Any, 0),
            Destination = open.Destination,
            SecurityType = SecurityType.EncapsulationOnly,
            LocalGateway = open.LocalGateway,
            RemoteGateway = open.LocalGateway,
            State = PathState.Blocked,
            Origin = open.Origin,
        };
        Assert.Null(bench.A.Change([blocked], [], bench.Now).Refusal);
        bench.Install(open);

        Assert.Equal(OutboundVerdict.Blocked, bench.Send(bench.A, bench.FromHost(host: 18)).Result.Verdict);
        Assert.Equal(OutboundVerdict.Send, bench.Send(bench.A, bench.FromHost(host: 17)).Result.Verdict);
        Assert.Equal(PathRefusalReason.GatewayInvalid, bench.A.Change([blocked with { State = PathState.Active }], [], bench.Now).Refusal?.Reason);
    }

    [Fact]
    [Trait("Row", "NV-A22")]
    public void Individual_associations_are_separate_and_hundreds_of_holders_are_told_apart()
    {
        var bench = new IpsecBench();
        bench.Install([.. Enumerable.Range(1, 200).Select(i => Preset($"u{i}", i))]);
        bench.Install(IpsecBench.Path("own", 201, spi: 0x5000, keySeed: 90));
        foreach (var host in new[] { 1, 77, 200, 201 })
        {
            Assert.Equal(bench.FromHost(host: host), bench.ReceiveOne(bench.B, bench.SendOne(bench.A, bench.FromHost(host: host))));
        }

        var reports = bench.B.Report(bench.Now);
        Assert.Equal([1, 77, 200, 201], reports.Where(r => r.PacketsIn == 1).Select(r => r.Path.Destination.BaseAddress.GetAddressBytes()[3]).Order().Select(b => (int)b));
        Assert.Equal(200, reports[0].Inbound!.Holders);
    }

    [Fact]
    [Trait("Row", "NV-A26")]
    public void Installing_the_same_again_keeps_counter_window_and_counts()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path());
        var first = bench.SendOne(bench.A, bench.FromHost());
        bench.ReceiveOne(bench.B, first);
        bench.Install(IpsecBench.Path());
        Assert.Equal(DropReason.Replay, bench.Receive(bench.B, first).Result.Reason);
        bench.ReceiveOne(bench.B, bench.SendOne(bench.A, bench.FromHost()));
        var report = Assert.Single(bench.A.Report(bench.Now));
        Assert.Equal((2L, 2UL), (report.PacketsOut, report.Outbound!.Sequence));
    }

    [Fact]
    [Trait("Row", "NV-A31")]
    public void Keys_that_come_back_go_on_counting_where_they_stopped()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path());
        var first = bench.SendOne(bench.A, bench.FromHost());
        bench.ReceiveOne(bench.B, first);
        Assert.Null(bench.A.Change([], [IpsecBench.Path().Id], bench.Now).Refusal);
        Assert.Null(bench.B.Change([], [IpsecBench.Path().Id], bench.Now).Refusal);
        bench.Install(IpsecBench.Path());
        var second = bench.SendOne(bench.A, bench.FromHost());
        Assert.NotEqual(first.AsSpan(24, 12).ToArray(), second.AsSpan(24, 12).ToArray());
        Assert.Equal(2UL, bench.A.Report(bench.Now)[0].Outbound!.Sequence);
        Assert.Equal(DropReason.Replay, bench.Receive(bench.B, first).Result.Reason);
        bench.ReceiveOne(bench.B, second);
    }

    [Fact]
    [Trait("Row", "NV-A31")]
    public void An_association_that_moves_to_other_addresses_keeps_its_counter()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path());
        bench.ReceiveOne(bench.B, bench.SendOne(bench.A, bench.FromHost()));
        var moved = IPAddress.Parse("198.51.100.77");
        var path = IpsecBench.Path();
        bench.Install(path with
        {
            LocalGateway = moved,
            Outbound = path.Outbound! with { Source = moved },
            Inbound = path.Inbound! with { Destination = moved },
        });
        var outer = bench.SendOne(bench.A, bench.FromHost());
        bench.ReceiveOne(bench.B, outer);
        Assert.Equal(2UL, bench.A.Report(bench.Now)[0].Outbound!.Sequence);
        bench.ReceiveOne(bench.A, bench.SendOne(bench.B, bench.ToHost()));
    }

    [Fact]
    [Trait("Row", "S235")]
    public void The_old_generation_is_still_understood_while_the_new_one_is_in_use()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path(keySeed: 1, leg: "1/g1"));
        var old = bench.SendOne(bench.A, bench.FromHost());
        // The same SPI with new keys beside the old ones, as one owner may.
        bench.Install(IpsecBench.Path(keySeed: 2, leg: "1/g2"));
        var fresh = bench.SendOne(bench.A, bench.FromHost());
        Assert.Equal(bench.FromHost(), bench.ReceiveOne(bench.B, fresh));
        Assert.Equal(bench.FromHost(), bench.ReceiveOne(bench.B, old));
        var forged = fresh.ToArray();
        forged[^1] ^= 1;
        forged[27] = 9;
        Assert.Equal(DropReason.BadIcv, bench.Receive(bench.B, forged).Result.Reason);
    }

    [Fact]
    [Trait("Row", "S235")]
    public async Task Replacing_paths_under_load_loses_no_packet_and_sends_none_in_clear()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path(keySeed: 1));
        using var done = new CancellationTokenSource();
        var sent = 0L;
        var traffic = Task.Run(() =>
        {
            var output = new byte[4096];
            var opened = new byte[4096];
            var inner = bench.FromHost(32);
            while (!done.IsCancellationRequested)
            {
                var result = bench.A.Outbound(inner, output, IpsecBench.Start);
                Assert.Equal(OutboundVerdict.Send, result.Verdict);
                var received = bench.B.Inbound(output.AsSpan(0, result.Length), opened, IpsecBench.Start);
                Assert.Equal((InboundVerdict.Deliver, DropReason.None), (received.Verdict, received.Reason));
                Interlocked.Increment(ref sent);
            }
        });
        for (var generation = 2; generation < 150 && !traffic.IsFaulted; generation++)
        {
            // B first learns to receive the new generation beside the old, then A changes over, then B forgets the old one.
            var next = IpsecBench.Path(keySeed: generation, spi: (uint)(0x1000 + (2 * generation)), leg: $"1/g{generation}");
            var before = generation == 2 ? IpsecBench.Path().Id : new PathId("u1", $"1/g{generation - 1}");
            Assert.Null(bench.B.Change([next.Mirror()], [], bench.Now).Refusal);
            Assert.Null(bench.A.Change([next], [before], bench.Now).Refusal);
            var changed = Interlocked.Read(ref sent);
            Assert.True(SpinWait.SpinUntil(() => Interlocked.Read(ref sent) > changed + 2 || traffic.IsFaulted, 10_000));
            Assert.Null(bench.B.Change([], [before], bench.Now).Refusal);
        }

        await done.CancelAsync();
        await traffic;
        Assert.True(sent > 300);
        Assert.Empty(bench.A.Drops);
    }

    [Fact]
    public void The_longest_match_wins_and_an_active_path_comes_before_others_of_its_selector()
    {
        var bench = new IpsecBench();
        var wide = IpsecBench.Path("wide", spi: 0x2000, keySeed: 50, leg: "w") with
        {
            Source = IPNetwork.Parse("192.0.2.0/24"),
            Destination = IPNetwork.Parse("0.0.0.0/0"),
        };
        bench.Install(wide, IpsecBench.Path());
        Assert.Equal("u1", bench.A.Classify(bench.FromHost(), bench.Now).Path.Path!.Id.Owner);
        Assert.Equal("wide", bench.A.Classify(bench.FromHost(host: 99), bench.Now).Path.Path!.Id.Owner);

        var former = IpsecBench.Path(spi: 0x6000, keySeed: 60, state: PathState.InboundOnly, leg: "1/former");
        Assert.Null(bench.A.Change([former], [], bench.Now).Refusal);
        Assert.Equal("1/fa-ha", bench.A.Classify(bench.FromHost(), bench.Now).Path.Path!.Id.Leg);
        Assert.Null(bench.A.Change([], [IpsecBench.Path().Id], bench.Now).Refusal);
        Assert.Equal(DropReason.InboundOnly, bench.Send(bench.A, bench.FromHost()).Result.Reason);
    }

    [Fact]
    [Trait("Row", "NV9.9")]
    public void A_blocked_path_holds_packets_back_and_asks_once_a_second()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path(state: PathState.Blocked));
        for (var i = 0; i < 30; i++)
        {
            var (result, packets) = bench.Send(bench.A, bench.FromHost());
            Assert.Equal(OutboundVerdict.Blocked, result.Verdict);
            Assert.Empty(packets);
            bench.Now += TimeSpan.FromMilliseconds(100);
        }

        Assert.Equal(3, IpsecBench.Signals(bench.A).Count(signal => signal.Signal == PathSignal.PacketWaiting));
        Assert.Equal(30, bench.A.Report(bench.Now)[0].Drops["ipsec.path_blocked"]);
    }

    [Fact]
    public void The_first_packet_of_each_inbound_association_is_signalled()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path());
        bench.ReceiveOne(bench.B, bench.SendOne(bench.A, bench.FromHost()));
        bench.ReceiveOne(bench.B, bench.SendOne(bench.A, bench.FromHost()));
        Assert.Equal([PathSignal.FirstInbound], IpsecBench.Signals(bench.B).Select(s => s.Signal));
        bench.Install(IpsecBench.Path(keySeed: 99));
        bench.ReceiveOne(bench.B, bench.SendOne(bench.A, bench.FromHost()));
        Assert.Equal([PathSignal.FirstInbound], IpsecBench.Signals(bench.B).Select(s => s.Signal));
    }

    [Fact]
    public void Limits_in_packets_bytes_and_time_are_signalled_and_kept()
    {
        var limits = new (SaLifetime Lifetime, int Soft, int Hard)[]
        {
            (new SaLifetime(SoftPackets: 3, HardPackets: 5), 3, 5),
            (new SaLifetime(SoftBytes: 250, HardBytes: 400), 3, 5),
            (new SaLifetime(SoftTime: IpsecBench.Start.AddSeconds(3), HardTime: IpsecBench.Start.AddSeconds(5)), 4, 5),
        };
        foreach (var (lifetime, soft, hard) in limits)
        {
            var bench = new IpsecBench();
            Assert.Null(bench.A.Change([IpsecBench.Path(lifetime: lifetime)], [], bench.Now).Refusal);
            var signals = new Dictionary<PathSignal, int>();
            for (var sent = 1; sent <= 8; sent++)
            {
                var (result, _) = bench.Send(bench.A, bench.FromHost(60));
                Assert.Equal(sent <= hard ? DropReason.None : DropReason.LifetimeExpired, result.Reason);
                IpsecBench.Signals(bench.A).ForEach(signal => signals.Add(signal.Signal, sent));
                bench.Now += TimeSpan.FromSeconds(1);
            }

            Assert.Equal(soft, signals[PathSignal.SoftLifetimeReached]);
            Assert.Contains(PathSignal.HardLifetimeReached, signals.Keys);
        }
    }

    [Fact]
    public void Time_limits_are_signalled_without_traffic()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path(lifetime: new SaLifetime(HardTime: IpsecBench.Start.AddSeconds(5))));
        bench.A.CheckLifetimes(IpsecBench.Start.AddSeconds(4));
        Assert.Empty(IpsecBench.Signals(bench.A));
        bench.A.CheckLifetimes(IpsecBench.Start.AddSeconds(5));
        bench.A.CheckLifetimes(IpsecBench.Start.AddSeconds(6));
        Assert.Equal(2, IpsecBench.Signals(bench.A).Count);
    }

    [Fact]
    public void Time_limits_are_signalled_whatever_was_renewed_or_went_before()
    {
        var bench = new IpsecBench();
        for (var i = 0; i < 500; i++)
        {
            // Each replaces the one before by other keys, as a moving user's paths do.
            bench.Install(IpsecBench.Path(spi: 0x1000 + (uint)i, keySeed: i + 1, lifetime: new SaLifetime(HardTime: IpsecBench.Start.AddSeconds(100 + i))));
        }

        bench.Install(IpsecBench.Path(spi: 0x1000 + 499, keySeed: 500, lifetime: new SaLifetime(SoftTime: IpsecBench.Start.AddSeconds(3), HardTime: IpsecBench.Start.AddSeconds(9))));
        bench.A.CheckLifetimes(IpsecBench.Start.AddSeconds(2));
        Assert.Empty(IpsecBench.Signals(bench.A));
        bench.A.CheckLifetimes(IpsecBench.Start.AddSeconds(5));
        Assert.All(IpsecBench.Signals(bench.A), signal => Assert.Equal(PathSignal.SoftLifetimeReached, signal.Signal));
        bench.A.CheckLifetimes(IpsecBench.Start.AddSeconds(9));
        Assert.Equal([PathSignal.HardLifetimeReached, PathSignal.HardLifetimeReached], IpsecBench.Signals(bench.A).Select(signal => signal.Signal));
        bench.A.CheckLifetimes(IpsecBench.Start.AddSeconds(2000));
        Assert.Empty(IpsecBench.Signals(bench.A));
    }

    [Theory]
    [InlineData(false, 0xFFFF_FFFDUL)]
    [InlineData(true, ulong.MaxValue - 2)]
    public void The_counter_ends_and_never_wraps(bool esn, ulong floor)
    {
        var bench = new IpsecBench();
        Assert.Null(bench.A.Change([IpsecBench.Path(esn: esn, floor: floor)], [], bench.Now).Refusal);
        bench.SendOne(bench.A, bench.FromHost());
        bench.SendOne(bench.A, bench.FromHost());
        Assert.Equal(DropReason.SequenceExhausted, bench.Send(bench.A, bench.FromHost()).Result.Reason);
        Assert.Contains(IpsecBench.Signals(bench.A), signal => signal.Signal == PathSignal.HardLifetimeReached);
    }

    [Fact]
    [Trait("Row", "NV-A31")]
    public void No_nonce_repeats_under_one_key_whatever_happens_to_the_path()
    {
        var bench = new IpsecBench();
        var seen = new HashSet<string>();
        var random = new Random(4);
        Assert.Null(bench.A.Change([IpsecBench.Path()], [], bench.Now).Refusal);
        for (var i = 0; i < 500; i++)
        {
            switch (random.Next(4))
            {
                case 0:
                    Assert.Null(bench.A.Change([], [IpsecBench.Path().Id], bench.Now).Refusal);
                    Assert.Null(bench.A.Change([IpsecBench.Path(spi: (uint)random.Next(0x1000, 0x1100))], [], bench.Now).Refusal);
                    break;
                case 1:
                    Assert.Null(bench.A.Change([IpsecBench.Path(spi: bench.A.Report(bench.Now)[0].Outbound!.Spi, floor: (ulong)random.Next(3))], [], bench.Now).Refusal);
                    break;
            }

            var outer = bench.SendOne(bench.A, bench.FromHost());
            Assert.True(seen.Add(Convert.ToHexString(outer.AsSpan(28, 8))));
        }
    }

    public static TheoryData<PathRefusalReason, string> Refusals => new()
    {
        { PathRefusalReason.StaticKeyNotAllowed, "static gcm" },
        { PathRefusalReason.SpiReserved, "spi" },
        { PathRefusalReason.KeyLength, "key length" },
        { PathRefusalReason.UnknownAlgorithm, "algorithm" },
        { PathRefusalReason.AlgorithmDoesNotFit, "ah gcm" },
        { PathRefusalReason.SelectorFamilyMismatch, "families" },
        { PathRefusalReason.GatewayInvalid, "gateways" },
        { PathRefusalReason.DscpOutOfRange, "dscp" },
        { PathRefusalReason.UdpNeedsEsp, "udp ah" },
        { PathRefusalReason.UnexpectedMobileHeader, "plain mobile tunnel" },
        { PathRefusalReason.MissingAssociation, "no association" },
        { PathRefusalReason.UnexpectedAssociation, "plain with keys" },
        { PathRefusalReason.AssociationAddressMismatch, "addresses" },
        { PathRefusalReason.ReplayWindowInvalid, "window" },
        { PathRefusalReason.DuplicateId, "twice" },
        { PathRefusalReason.SpiClash, "clash" },
        { PathRefusalReason.KeyInUse, "key twice" },
        { PathRefusalReason.AssociationMismatch, "esn" },
    };

    [Theory]
    [MemberData(nameof(Refusals))]
    [Trait("Row", "NV-A32")]
    public void A_bad_path_is_refused_with_its_reason_and_nothing_changes(PathRefusalReason reason, string what)
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path());
        var good = IpsecBench.Path("u2", 18, spi: 0x2000, keySeed: 20);
        var sa = good.Outbound!;
        VpnPath[] bad = what switch
        {
            "static gcm" => [IpsecBench.Path("u2", 18, spi: 0x2000, keySeed: 20, staticKeys: true)],
            "spi" => [good with { Outbound = sa with { Spi = 255 } }],
            "key length" => [good with { Outbound = sa with { Keys = IpsecBench.Keys(IpsecAlgorithm.Aes256Gcm16, 1) } }],
            "algorithm" => [good with { Outbound = sa with { Algorithm = (IpsecAlgorithm)99 } }],
            "ah gcm" => [good with { SecurityType = SecurityType.Ah }],
            "families" => [good with { Destination = IPNetwork.Parse("2001:db8::/32") }],
            "gateways" => [good with { RemoteGateway = IPAddress.Parse("224.0.0.1") }],
            "dscp" => [good with { MarkDscp = 64 }],
            "udp ah" => [IpsecBench.Path("u2", 18, SecurityType.Ah, IpsecAlgorithm.HmacSha256, udp: new UdpEncapsulation(1, 2))],
            "plain mobile tunnel" => [good with { SecurityType = SecurityType.EncapsulationOnly, Outbound = null, Inbound = null, MobileHeader = MobileHeader.LeftOut }],
            "no association" => [good with { Outbound = null }],
            "plain with keys" => [good with { SecurityType = SecurityType.EncapsulationOnly }],
            "addresses" => [good with { Outbound = sa with { Destination = IPAddress.Parse("198.51.100.99") } }],
            "window" => [good with { Inbound = good.Inbound! with { ReplayWindow = 0 } }],
            "twice" => [good, good],
            "clash" => [IpsecBench.Path("u2", 18, spi: 0x1000, keySeed: 20)],
            "key twice" => [IpsecBench.Path("u2", 18, spi: 0x2000, keySeed: 7)],
            "esn" => [IpsecBench.Path("u2", 18, esn: false)],
            _ => throw new InvalidOperationException(what),
        };
        var innocent = IpsecBench.Path("u3", 19, spi: 0x7000, keySeed: 70);
        // A clash with a path that leaves in the same change would be none.
        PathId[] leaving = reason == PathRefusalReason.SpiClash ? [] : [IpsecBench.Path().Id];
        var refusal = bench.A.Change([innocent, .. bad], leaving, bench.Now).Refusal;
        Assert.NotNull(refusal);
        Assert.Equal((reason, "u2"), (refusal.Reason, refusal.Path.Owner));
        Assert.NotEmpty(refusal.Rule);
        Assert.Equal("u1", Assert.Single(bench.A.Report(bench.Now)).Path.Id.Owner);
        bench.ReceiveOne(bench.B, bench.SendOne(bench.A, bench.FromHost()));
    }

    [Fact]
    public void A_static_key_with_a_suite_that_allows_it_is_taken()
    {
        var bench = new IpsecBench();
        bench.Install(Preset("u1", 17));
        Assert.Equal(bench.FromHost(), bench.ReceiveOne(bench.B, bench.SendOne(bench.A, bench.FromHost())));
    }

    [Fact]
    public void A_queued_packet_whose_path_was_replaced_takes_the_new_one()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path(keySeed: 1));
        var inner = bench.FromHost();
        var queued = bench.A.Classify(inner, bench.Now);
        bench.Install(IpsecBench.Path(keySeed: 2, spi: 0x4000));
        var output = new byte[2048];
        var result = bench.A.Protect(queued.Path, inner, output, bench.Now);
        Assert.Equal(OutboundVerdict.Send, result.Verdict);
        Assert.Equal(inner, bench.ReceiveOne(bench.B, output[..result.Length]));

        queued = bench.A.Classify(inner, bench.Now);
        Assert.Null(bench.A.Change([], [IpsecBench.Path().Id], bench.Now).Refusal);
        Assert.Equal(OutboundVerdict.NoPath, bench.A.Protect(queued.Path, inner, output, bench.Now).Verdict);
    }
}
