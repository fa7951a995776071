using System.Buffers.Binary;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Udp;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

/// <summary>Too big: what is fragmented, what is answered, what is learned (RFC 4301 section 8).</summary>
public class PathMtuTests
{
    public static TheoryData<SecurityType, IpsecAlgorithm, bool, bool> Kinds
    {
        get
        {
            var data = new TheoryData<SecurityType, IpsecAlgorithm, bool, bool>();
            foreach (var outerV6 in new[] { false, true })
            {
                data.Add(SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, outerV6, false);
                data.Add(SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, outerV6, true);
                data.Add(SecurityType.Esp, IpsecAlgorithm.Aes128CbcHmacSha256, outerV6, false);
                data.Add(SecurityType.Ah, IpsecAlgorithm.HmacSha256, outerV6, false);
                data.Add(SecurityType.EncapsulationOnly, IpsecAlgorithm.None, outerV6, false);
            }

            return data;
        }
    }

    private static (IpsecBench Bench, int InnerMtu) Ready(SecurityType type, IpsecAlgorithm algorithm, bool outerV6, bool udp)
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path(type: type, algorithm: algorithm, outerV6: outerV6, udp: udp ? new UdpEncapsulation(4500, 4500) : null));
        return (bench, bench.A.Report(bench.Now)[0].InnerMtu);
    }

    private static byte[] Sized(IpsecBench bench, int length, bool dontFragment) => bench.FromHost(length - 28, dontFragment: dontFragment);

    [Theory]
    [MemberData(nameof(Kinds))]
    [Trait("Row", "NV-A33")]
    public void A_packet_with_df_is_carried_up_to_the_limit_and_answered_with_the_limit_above(SecurityType type, IpsecAlgorithm algorithm, bool outerV6, bool udp)
    {
        var (bench, limit) = Ready(type, algorithm, outerV6, udp);
        var fits = bench.SendOne(bench.A, Sized(bench, limit, true));
        Assert.InRange(fits.Length, 1500 - 16, 1500);
        Assert.True(outerV6 || (fits[6] & 0x40) != 0);

        var tooBig = Sized(bench, 1500, true);
        var (result, packets) = bench.Send(bench.A, tooBig);
        Assert.Equal(OutboundVerdict.ReplyIcmp, result.Verdict);
        Assert.True(IPv4Header.TryParse(Assert.Single(packets), out var reply, out _));
        Assert.Equal(IpsecBench.Host(17, false), reply.DestinationAddress);
        Assert.True(reply.ChecksumIsRight);
        Assert.True(IcmpMessage.TryParse(reply.Payload, out var message, out _));
        Assert.Equal((IcmpType.DestinationUnreachable, IcmpType.CodeFragmentationNeeded, limit), (message.Type, message.Code, message.NextHopMtuIPv4));
        Assert.True(message.ChecksumIsRight);
        Assert.Equal(tooBig.AsSpan(0, message.Body.Length).ToArray(), message.Body.ToArray());
        // Obeying the answer must work.
        bench.ReceiveOne(bench.B, bench.SendOne(bench.A, Sized(bench, message.NextHopMtuIPv4, true)));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    [Trait("Row", "NV-A33")]
    public void A_packet_without_df_is_fragmented_before_protection_and_every_fragment_fits(SecurityType type, IpsecAlgorithm algorithm, bool outerV6, bool udp)
    {
        var (bench, _) = Ready(type, algorithm, outerV6, udp);
        foreach (var size in new[] { 1500, 2800, 4000 })
        {
            var inner = Sized(bench, size, false);
            var (result, packets) = bench.Send(bench.A, inner);
            Assert.Equal(OutboundVerdict.Send, result.Verdict);
            Assert.InRange(packets.Count, 2, 4);
            var whole = new byte[inner.Length];
            inner.AsSpan(0, 20).CopyTo(whole);
            foreach (var outer in packets)
            {
                Assert.InRange(outer.Length, 1, 1500);
                Assert.True(IPv4Header.TryParse(bench.ReceiveOne(bench.B, outer), out var fragment, out _));
                Assert.True(fragment.ChecksumIsRight);
                fragment.Payload.CopyTo(whole.AsSpan(20 + fragment.FragmentOffset));
            }

            Assert.Equal(inner, whole);
        }
    }

    [Fact]
    [Trait("Row", "NV-A33")]
    public void A_large_ipv6_packet_is_answered_with_packet_too_big()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path(outerV6: true, innerV6: true));
        var limit = bench.A.Report(bench.Now)[0].InnerMtu;
        var (result, packets) = bench.Send(bench.A, bench.FromHost(1500 - 48, v6: true));
        Assert.Equal(OutboundVerdict.ReplyIcmp, result.Verdict);
        Assert.True(IPv6Header.TryParse(packets[0], out var reply, out _));
        Assert.Equal((IpProtocol.Icmpv6, IpsecBench.Host(17, true)), (reply.NextHeader, reply.DestinationAddress));
        Assert.InRange(packets[0].Length, 1, IcmpError.MaximumIPv6);
        Assert.True(IcmpMessage.TryParse(reply.Payload, out var message, out _));
        Assert.Equal((Icmpv6Type.PacketTooBig, (uint)limit), (message.Type, message.Parameter));
        Assert.True(message.ChecksumIsRightIPv6(reply.Source, reply.Destination));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void An_ipv6_packet_of_minimum_mtu_passes_a_narrow_path_in_outer_fragments(bool outerV6)
    {
        var mtu = 1280;
        var bench = new IpsecBench(new PathTableOptions { OuterMtu = mtu });
        bench.Install(IpsecBench.Path(outerV6: outerV6, innerV6: true));
        var inner = bench.FromHost(1280 - 48, v6: true);
        var (result, packets) = bench.Send(bench.A, inner);
        Assert.Equal((OutboundVerdict.Send, 2), (result.Verdict, packets.Count));
        Assert.All(packets, packet => Assert.InRange(packet.Length, 1, mtu));
        Assert.Equal(inner, bench.ReceiveOne(bench.B, outerV6 ? JoinIPv6(packets) : JoinIPv4(packets)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Row", "NV-A33")]
    public void A_routers_word_lowers_the_path_mtu_for_ten_minutes(bool outerV6)
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path(outerV6: outerV6));
        var outer = bench.SendOne(bench.A, Sized(bench, 1400, true));
        Assert.Equal(IcmpOutcome.Learned, bench.A.OnIcmp(TooBig(outer, 1400), bench.Now));
        Assert.Equal(1400, bench.A.Report(bench.Now)[0].OuterMtu);
        var (result, packets) = bench.Send(bench.A, Sized(bench, 1400, true));
        Assert.Equal(OutboundVerdict.ReplyIcmp, result.Verdict);
        var answered = BinaryPrimitives.ReadUInt16BigEndian(packets[0].AsSpan(26));
        Assert.InRange(bench.SendOne(bench.A, Sized(bench, answered, true)).Length, 1390, 1400);

        // A larger value never raises it; time does.
        Assert.Equal(IcmpOutcome.Ignored, bench.A.OnIcmp(TooBig(outer, 1450), bench.Now));
        bench.Now += TimeSpan.FromMinutes(10);
        bench.SendOne(bench.A, Sized(bench, 1400, true));
    }

    [Fact]
    public void A_message_about_what_was_never_sent_is_not_believed()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path());
        var outer = bench.SendOne(bench.A, bench.FromHost());
        var otherSpi = outer.ToArray();
        otherSpi[20] ^= 1;
        Assert.Equal(IcmpOutcome.Ignored, bench.A.OnIcmp(TooBig(otherSpi, 600), bench.Now));
        var notYetSent = outer.ToArray();
        notYetSent[27] = 200;
        Assert.Equal(IcmpOutcome.Ignored, bench.A.OnIcmp(TooBig(notYetSent, 600), bench.Now));
        var otherGateway = outer.ToArray();
        otherGateway[19] ^= 1;
        Assert.Equal(IcmpOutcome.NotForUs, bench.A.OnIcmp(TooBig(otherGateway, 600), bench.Now));
        var damaged = TooBig(outer, 600);
        damaged[30] ^= 1;
        Assert.Equal(IcmpOutcome.NotForUs, bench.A.OnIcmp(damaged, bench.Now));
        Assert.Equal(1500, bench.A.Report(bench.Now)[0].OuterMtu);
        Assert.Equal(IcmpOutcome.Learned, bench.A.OnIcmp(TooBig(outer, 600), bench.Now));
    }

    [Fact]
    public void The_path_mtu_stays_above_the_floor_and_changes_at_a_limited_rate()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path());
        var outer = bench.SendOne(bench.A, bench.FromHost(dontFragment: true));
        for (var mtu = 1400; mtu > 1300; mtu -= 10)
        {
            bench.A.OnIcmp(TooBig(outer, mtu), bench.Now);
        }

        Assert.Equal(1370, bench.A.Report(bench.Now)[0].OuterMtu);
        bench.Now += TimeSpan.FromSeconds(1);
        Assert.Equal(IcmpOutcome.Learned, bench.A.OnIcmp(TooBig(outer, 68), bench.Now));
        Assert.Equal(576, bench.A.Report(bench.Now)[0].OuterMtu);
        // Whatever is true, the packets get through: no DF on the outer header below the floor.
        Assert.Equal(0, bench.SendOne(bench.A, bench.FromHost(dontFragment: true))[6] & 0x40);

        var v6 = new IpsecBench();
        v6.Install(IpsecBench.Path(outerV6: true));
        outer = v6.SendOne(v6.A, v6.FromHost());
        Assert.Equal(IcmpOutcome.Ignored, v6.A.OnIcmp(TooBig(outer, 1279), v6.Now));
        Assert.Equal(IcmpOutcome.Learned, v6.A.OnIcmp(TooBig(outer, 1280), v6.Now));
    }

    [Fact]
    public void An_old_router_that_names_no_size_is_answered_by_the_next_plateau()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path());
        var outer = bench.SendOne(bench.A, Sized(bench, 1400, true));
        Assert.Equal(IcmpOutcome.Learned, bench.A.OnIcmp(TooBig(outer, 0), bench.Now));
        Assert.Equal(1006, bench.A.Report(bench.Now)[0].OuterMtu);
    }

    [Fact]
    public void Errors_are_limited_in_rate_and_never_answer_errors()
    {
        var bench = new IpsecBench(new PathTableOptions { IcmpErrorsPerSecond = 10 });
        bench.Install(IpsecBench.Path());
        var inner = Sized(bench, 1500, true);
        Assert.Equal(10, Enumerable.Range(0, 50).Count(_ => bench.Send(bench.A, inner).Result.Verdict == OutboundVerdict.ReplyIcmp));
        bench.Now += TimeSpan.FromSeconds(0.5);
        Assert.Equal(5, Enumerable.Range(0, 50).Count(_ => bench.Send(bench.A, inner).Result.Verdict == OutboundVerdict.ReplyIcmp));
        bench.Now += TimeSpan.FromSeconds(5);
        inner[9] = IpProtocol.Icmp;
        inner[20] = IcmpType.TimeExceeded;
        Assert.Equal((OutboundVerdict.Drop, DropReason.TooBig), (bench.Send(bench.A, inner).Result.Verdict, bench.Send(bench.A, inner).Result.Reason));
    }

    private static byte[] TooBig(byte[] outer, int mtu)
    {
        Assert.True(IpPacket.TryParse(outer, out var packet, out _));
        var buffer = new byte[2048];
        byte[] router = packet.IsIPv6 ? [.. packet.Source[..15], 0xFE] : [198, 51, 100, 254];
        var length = IcmpError.WriteTooBig(packet, router, mtu, buffer);
        return buffer[..length];
    }

    private static byte[] JoinIPv4(List<byte[]> fragments)
    {
        var whole = new byte[fragments.Sum(f => f.Length - 20) + 20];
        fragments[0].AsSpan(0, 20).CopyTo(whole);
        foreach (var octets in fragments)
        {
            Assert.True(IPv4Header.TryParse(octets, out var fragment, out _));
            fragment.Payload.CopyTo(whole.AsSpan(20 + fragment.FragmentOffset));
        }

        IPv4Header.Write(whole, 0, whole.Length, 1, 0, 64, whole[9], whole.AsSpan(12, 4), whole.AsSpan(16, 4));
        return whole;
    }

    private static byte[] JoinIPv6(List<byte[]> fragments)
    {
        var whole = new byte[fragments.Sum(f => f.Length - 48) + 40];
        fragments[0].AsSpan(0, 40).CopyTo(whole);
        foreach (var fragment in fragments)
        {
            Assert.Equal(IpProtocol.Fragment, fragment[6]);
            fragment.AsSpan(48).CopyTo(whole.AsSpan(40 + (BinaryPrimitives.ReadUInt16BigEndian(fragment.AsSpan(42)) & 0xFFF8)));
        }

        whole[6] = fragments[0][40];
        BinaryPrimitives.WriteUInt16BigEndian(whole.AsSpan(4), (ushort)(whole.Length - 40));
        return whole;
    }
}
