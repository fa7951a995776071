using FsCheck;
using FsCheck.Fluent;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Tcp;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

/// <summary>Packets through two tables: what goes in at A comes out at B, and nothing else does.</summary>
public class TunnelTests
{
    public static TheoryData<SecurityType, IpsecAlgorithm> Suites => new()
    {
        { SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16 },
        { SecurityType.Esp, IpsecAlgorithm.Aes256Gcm16 },
        { SecurityType.Esp, IpsecAlgorithm.ChaCha20Poly1305 },
        { SecurityType.Esp, IpsecAlgorithm.Aes128CbcHmacSha256 },
        { SecurityType.Esp, IpsecAlgorithm.Aes256CbcHmacSha256 },
        { SecurityType.Esp, IpsecAlgorithm.HmacSha256 },
        { SecurityType.Esp, IpsecAlgorithm.Aes128Gmac },
        { SecurityType.Esp, IpsecAlgorithm.Aes256Gmac },
        { SecurityType.Ah, IpsecAlgorithm.HmacSha256 },
        { SecurityType.Ah, IpsecAlgorithm.Aes128Gmac },
        { SecurityType.Ah, IpsecAlgorithm.Aes256Gmac },
        { SecurityType.EncapsulationOnly, IpsecAlgorithm.None },
    };

    [Theory]
    [MemberData(nameof(Suites))]
    [Trait("Row", "NV9.3")]
    [Trait("Row", "M7")]
    public void Any_packet_that_fits_arrives_as_it_left(SecurityType type, IpsecAlgorithm algorithm)
    {
        var shape = Gen.Choose(0, 15).Zip(Gen.Choose(0, 1350)).Zip(Gen.Choose(0, 255));
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(60), Prop.ForAll(shape.ToArbitrary(), sample =>
        {
            var ((bits, size), tos) = sample;
            var (outerV6, innerV6, esn, udp) = ((bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0 && type == SecurityType.Esp);
            var bench = new IpsecBench();
            bench.Install(IpsecBench.Path(
                type: type, algorithm: algorithm, outerV6: outerV6, innerV6: innerV6, esn: esn, udp: udp ? new UdpEncapsulation(4500, 4501) : null));
            var inner = bench.FromHost(size, innerV6, tos: (byte)tos);
            var outer = bench.SendOne(bench.A, inner);
            Assert.True(IpPacket.TryParse(outer, out var packet, out _));
            Assert.Equal((byte)tos, packet.TrafficClass);
            Assert.Equal(udp ? IpProtocol.Udp : type == SecurityType.Esp ? IpProtocol.Esp : type == SecurityType.Ah ? IpProtocol.Ah
                : innerV6 ? IpProtocol.IPv6 : IpProtocol.IPv4, packet.NextHeader);
            Assert.True(outerV6 || packet.AsIPv4().ChecksumIsRight);
            Assert.Equal(inner, bench.ReceiveOne(bench.B, outer));

            var back = bench.ToHost(size, innerV6, tos: (byte)tos);
            Assert.Equal(back, bench.ReceiveOne(bench.A, bench.SendOne(bench.B, back)));
        }));
    }

    /// <summary>Where a changed octet is not covered (outer TOS, TTL and so on), the inner packet must still come out unharmed.</summary>
    [Theory]
    [InlineData(SecurityType.Ah, IpsecAlgorithm.HmacSha256, false)]
    [InlineData(SecurityType.Ah, IpsecAlgorithm.HmacSha256, true)]
    [InlineData(SecurityType.Ah, IpsecAlgorithm.Aes128Gmac, false)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, false)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.ChaCha20Poly1305, true)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes128CbcHmacSha256, false)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.HmacSha256, true)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes128Gmac, false)]
    [Trait("Row", "NV-A23")]
    public void A_changed_octet_never_reaches_the_inner_side(SecurityType type, IpsecAlgorithm algorithm, bool outerV6)
    {
        var sender = new IpsecBench();
        sender.Install(IpsecBench.Path(type: type, algorithm: algorithm, outerV6: outerV6));
        var inner = sender.FromHost(100);
        var outer = sender.SendOne(sender.A, inner);
        var mutable = outerV6 ? [0, 1, 2, 3, 7] : new HashSet<int> { 1, 6, 7, 8, 10, 11 };
        // ESP does not cover its outer header at all; what is left there only decides where the packet goes.
        var covered = type == SecurityType.Ah ? 0 : outerV6 ? 40 : 20;
        for (var at = 0; at < outer.Length; at++)
        {
            for (var bit = 0; bit < 8; bit++)
            {
                var changed = outer.ToArray();
                changed[at] ^= (byte)(1 << bit);
                var receiver = new IpsecBench();
                receiver.Install(IpsecBench.Path(type: type, algorithm: algorithm, outerV6: outerV6));
                var (result, got) = receiver.Receive(receiver.B, changed);
                if (result.Verdict == InboundVerdict.Deliver)
                {
                    Assert.True(mutable.Contains(at) || at < covered, $"octet {at} bit {bit} changed and the packet was delivered");
                    Assert.Equal(inner, got);
                }
            }
        }
    }

    [Fact]
    [Trait("Row", "NV-A23")]
    public void A_changed_payload_octet_under_ah_is_dropped_and_counted()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path(type: SecurityType.Ah, algorithm: IpsecAlgorithm.HmacSha256));
        var inner = bench.FromHost(100);
        var outer = bench.SendOne(bench.A, inner);
        Assert.True(outer.AsSpan().IndexOf(inner) > 0);
        outer[^1] ^= 1;
        Assert.Equal(DropReason.BadIcv, bench.Receive(bench.B, outer).Result.Reason);
        Assert.Equal(1, bench.B.Drops["ipsec.bad_icv"]);
        Assert.Equal(1, bench.B.Report(bench.Now)[0].Inbound!.Drops["ipsec.bad_icv"]);
        outer[^1] ^= 1;
        Assert.Equal(inner, bench.ReceiveOne(bench.B, outer));
    }

    [Fact]
    [Trait("Row", "NV-A33")]
    public void A_replayed_packet_is_dropped_and_counted()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path());
        var outer = bench.SendOne(bench.A, bench.FromHost());
        bench.ReceiveOne(bench.B, outer);
        Assert.Equal(DropReason.Replay, bench.Receive(bench.B, outer).Result.Reason);
        Assert.Equal(1, bench.B.Drops["ipsec.replay"]);
    }

    [Fact]
    public void A_forged_packet_does_not_move_the_window()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path());
        var first = bench.SendOne(bench.A, bench.FromHost());
        var forged = first.ToArray();
        forged[26] = 0xFF;
        Assert.Equal(DropReason.BadIcv, bench.Receive(bench.B, forged).Result.Reason);
        bench.ReceiveOne(bench.B, first);
        Assert.Equal(1UL, bench.B.Report(bench.Now)[0].Inbound!.Sequence);
    }

    [Theory]
    [InlineData(IpsecAlgorithm.Aes128Gcm16, SecurityType.Esp)]
    [InlineData(IpsecAlgorithm.Aes128CbcHmacSha256, SecurityType.Esp)]
    [InlineData(IpsecAlgorithm.HmacSha256, SecurityType.Esp)]
    [InlineData(IpsecAlgorithm.Aes128Gmac, SecurityType.Esp)]
    [InlineData(IpsecAlgorithm.HmacSha256, SecurityType.Ah)]
    [InlineData(IpsecAlgorithm.Aes256Gmac, SecurityType.Ah)]
    public void Extended_numbers_pass_32_bits_also_out_of_order(IpsecAlgorithm algorithm, SecurityType type)
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path(type: type, algorithm: algorithm, floor: 0xFFFF_FFF0));
        var packets = Enumerable.Range(0, 40).Select(i => bench.SendOne(bench.A, bench.FromHost(i))).ToList();
        foreach (var i in Enumerable.Range(0, 40).OrderBy(i => (i * 17) % 40))
        {
            Assert.Equal(bench.FromHost(i), bench.ReceiveOne(bench.B, packets[i]));
        }

        Assert.Equal(0xFFFF_FFF0UL + 40, bench.B.Report(bench.Now)[0].Inbound!.Sequence);
    }

    [Fact]
    public void An_authentic_packet_from_outside_the_selector_is_refused()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path());
        var wide = new IpsecBench();
        Assert.Null(wide.A.Change([IpsecBench.Path(host: 18)], [], wide.Now).Refusal);
        var stray = wide.SendOne(wide.A, wide.FromHost(host: 18));
        Assert.Equal(DropReason.SelectorMismatch, bench.Receive(bench.B, stray).Result.Reason);
        Assert.Equal(1, bench.B.Report(bench.Now)[0].Inbound!.Drops["ipsec.selector_mismatch"]);
    }

    [Fact]
    public void Plain_encapsulation_is_taken_only_from_the_paths_gateway_and_selector()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path(type: SecurityType.EncapsulationOnly));
        var outer = bench.SendOne(bench.A, bench.FromHost());
        var elsewhere = outer.ToArray();
        elsewhere[15] ^= 8;
        Assert.Equal(DropReason.UnknownGateway, bench.Receive(bench.B, elsewhere).Result.Reason);
        var otherHost = outer.ToArray();
        otherHost[35] ^= 1;
        Assert.Equal(DropReason.SelectorMismatch, bench.Receive(bench.B, otherHost).Result.Reason);
        Assert.Equal(bench.FromHost(), bench.ReceiveOne(bench.B, outer));
    }

    [Fact]
    public void An_association_does_not_accept_plain_encapsulation()
    {
        var secured = new IpsecBench();
        secured.Install(IpsecBench.Path());
        var plain = new IpsecBench();
        plain.Install(IpsecBench.Path(type: SecurityType.EncapsulationOnly));
        var outer = plain.SendOne(plain.A, plain.FromHost());
        Assert.Equal(DropReason.Unprotected, secured.Receive(secured.B, outer).Result.Reason);
    }

    [Fact]
    public void Unknown_spi_fragments_and_strangers_are_told_apart()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path());
        var outer = bench.SendOne(bench.A, bench.FromHost());
        var unknown = outer.ToArray();
        unknown[20] ^= 0x40;
        Assert.Equal(DropReason.UnknownSpi, bench.Receive(bench.B, unknown).Result.Reason);
        var fragment = outer.ToArray();
        fragment[6] |= 0x20;
        Assert.Equal(DropReason.OuterFragment, bench.Receive(bench.B, fragment).Result.Reason);
        Assert.Equal(InboundVerdict.NotForUs, bench.Receive(bench.B, bench.FromHost()).Result.Verdict);
        Assert.Equal(DropReason.Malformed, bench.Receive(bench.B, outer[..10]).Result.Reason);
        Assert.Equal(DropReason.Malformed, bench.Receive(bench.B, [0x45, 0, 0, 24, 0, 0, 0, 0, 64, 50, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1]).Result.Reason);
    }

    [Fact]
    public void Udp_encapsulation_leaves_ike_keepalives_and_other_ports_to_the_host()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path(udp: new UdpEncapsulation(4500, 4500)));
        var outer = bench.SendOne(bench.A, bench.FromHost());
        var output = new byte[2048];
        byte[] from = IpsecBench.Gateway('A', false).GetAddressBytes(), to = IpsecBench.Gateway('B', false).GetAddressBytes();
        Assert.Equal(InboundVerdict.NotForUs, bench.B.InboundEspInUdp([0, 0, 0, 0, 1, 2, 3, 4, 5], from, to, 0, output, bench.Now).Verdict);
        Assert.Equal(InboundVerdict.NotForUs, bench.B.InboundEspInUdp([0xFF], from, to, 0, output, bench.Now).Verdict);
        var signalling = outer.ToArray();
        (signalling[22], signalling[23]) = (1, 0xB2);
        Assert.Equal(InboundVerdict.NotForUs, bench.Receive(bench.B, signalling).Result.Verdict);
        var result = bench.B.InboundEspInUdp(outer.AsSpan(28), from, to, 0, output, bench.Now);
        Assert.Equal(bench.FromHost(), output[..result.Length]);
    }

    [Fact]
    [Trait("Row", "NV-A24")]
    public void The_mark_goes_into_inner_and_outer_header_and_leaves_ecn_alone()
    {
        var bench = new IpsecBench();
        var up = IpsecBench.Path(dscp: 46);
        Assert.Null(bench.A.Change([up], [], bench.Now).Refusal);
        Assert.Null(bench.B.Change([up.Mirror() with { MarkDscp = 10 }], [], bench.Now).Refusal);

        var outer = bench.SendOne(bench.A, bench.FromHost(tos: 0x02));
        Assert.Equal(0xBA, outer[1]);
        var inner = bench.ReceiveOne(bench.B, outer);
        Assert.Equal(bench.FromHost(tos: 0xBA), inner);
        Assert.Equal(46, bench.A.Classify(bench.FromHost(tos: 0x02), bench.Now).Dscp);

        var back = bench.SendOne(bench.B, bench.ToHost());
        Assert.Equal((0x28, 0x28), ((int)back[1], (int)bench.ReceiveOne(bench.A, back)[1]));

        Assert.Null(bench.A.Change([up with { MarkDscp = null }], [], bench.Now).Refusal);
        Assert.Equal(0x60, bench.SendOne(bench.A, bench.FromHost(tos: 0x60))[1]);
    }

    [Fact]
    [Trait("Row", "NV-A24")]
    public void A_congestion_mark_on_the_outer_header_survives_to_the_inner_packet()
    {
        foreach (var outerV6 in new[] { false, true })
        {
            foreach (var innerV6 in new[] { false, true })
            {
                var bench = new IpsecBench();
                bench.Install(IpsecBench.Path(outerV6: outerV6, innerV6: innerV6));
                var outer = bench.SendOne(bench.A, bench.FromHost(v6: innerV6, tos: 0xB8 | Ecn.Capable0));
                IpPacket.RewriteTrafficClass(outer, 0xB8 | Ecn.CongestionExperienced);
                Assert.Equal(bench.FromHost(v6: innerV6, tos: 0xB8 | Ecn.CongestionExperienced), bench.ReceiveOne(bench.B, outer));

                outer = bench.SendOne(bench.A, bench.FromHost(v6: innerV6, tos: 0xB8));
                IpPacket.RewriteTrafficClass(outer, 0xB8 | Ecn.CongestionExperienced);
                Assert.Equal(DropReason.EcnIllegal, bench.Receive(bench.B, outer).Result.Reason);
                var report = bench.B.Report(bench.Now)[0];
                Assert.Equal((1L, 1L), (report.EcnUnexpected, report.Drops["ipsec.ecn_illegal"]));
            }
        }
    }

    /// <summary>RFC 6040 figure 4, row by row: inner Not-ECT, ECT(1), ECT(0), CE; outer the same order.</summary>
    [Fact]
    public void Ecn_is_combined_as_the_table_of_rfc_6040_says()
    {
        int[,] table = { { 0, 0, 0, -1 }, { 1, 1, 1, 3 }, { 2, 1, 2, 3 }, { 3, 3, 3, 3 } };
        bool[,] alerts = { { false, true, true, true }, { false, false, true, false }, { false, false, false, false }, { false, true, false, false } };
        for (var inner = 0; inner < 4; inner++)
        {
            for (var outer = 0; outer < 4; outer++)
            {
                var combined = EcnTunnel.Decapsulate((byte)(0x28 | outer), (byte)(0xB8 | inner), out var unexpected);
                Assert.Equal(table[inner, outer] < 0 ? null : (byte)(0xB8 | table[inner, outer]), combined);
                Assert.Equal(alerts[inner, outer], unexpected);
            }
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void The_mss_of_a_syn_is_lowered_to_what_the_path_carries(bool v6)
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path(innerV6: v6));
        var syn = IpsecBench.TcpSyn(IpsecBench.Host(17, v6), IpsecBench.Correspondent(v6), 1460);
        var inner = bench.ReceiveOne(bench.B, bench.SendOne(bench.A, syn));
        Assert.True(IpPacket.TryParse(inner, out var packet, out _));
        Assert.True(TcpHeader.TryParse(packet.Payload, out var tcp, out _));
        Assert.True(tcp.TryFindMaximumSegmentSize(out _, out var mss));
        Assert.Equal(bench.A.Report(bench.Now)[0].InnerMtu - (v6 ? 60 : 40), mss);
        Assert.True(tcp.ChecksumIsRight(packet.Source, packet.Destination));
    }
}
