using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.Translation;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Tcp;
using Sojourn.Wire.Udp;
using Xunit;
using static Sojourn.Engine.Tests.Translation.TranslationBench;
using static Sojourn.Engine.Tests.Translation.TranslationPackets;

namespace Sojourn.Engine.Tests.Translation;

/// <summary>Errors that the translator sends, and those that it translates (RFC 7915 4.2 to 4.4, 5.2 to 5.4).</summary>
public sealed class IpTranslatorErrorTests
{
    [Fact]
    public void A_used_up_hop_limit_is_answered_on_both_sides()
    {
        var bench = new TranslationBench();
        var up = Udp(Host, Virtual, 1, 2, 8, hops: 1);
        AssertAnswer(bench.Up(up).Single(), bench, up, IcmpType.TimeExceeded, 0);
        Assert.Equal("xlat.hop_limit", bench.Last.Counter);

        var down = Udp(Correspondent, Home, 1, 2, 8, hops: 1);
        var answer = bench.Down(down).Single();
        Assert.Equal(TranslationVerdict.Answer, bench.Last.Verdict);
        Assert.True(IPv6Header.TryParse(answer, out var ip, out _));
        Assert.Equal((Home, Correspondent), (ip.SourceAddress, ip.DestinationAddress));
        Assert.True(IcmpMessage.TryParse(ip.Payload, out var message, out _) && message.ChecksumIsRightIPv6(ip.Source, ip.Destination));
        Assert.Equal((Icmpv6Type.TimeExceeded, (byte)0), (message.Type, message.Code));
        Assert.Equal(down, message.Body.ToArray());
    }

    [Fact]
    public void Errors_towards_the_network_are_limited_in_rate()
    {
        var bench = new TranslationBench(new TranslationOptions { ErrorsPerSecond = 3 });
        var answered = 0;
        for (var i = 0; i < 10; i++)
        {
            answered += bench.Down(Udp(Correspondent, Home, 1, 2, 8, hops: 1)).Count;
        }

        Assert.Equal(3, answered);
        bench.Now += TimeSpan.FromSeconds(1);
        Assert.Single(bench.Down(Udp(Correspondent, Home, 1, 2, 8, hops: 1)));
    }

    [Theory]
    [InlineData(1460, 1440, 0)]
    [InlineData(1460, 1441, 1440)]
    [InlineData(1240, 1221, 1220)]
    public void What_does_not_fit_and_may_not_be_cut_is_told_the_size_that_does(int mtu, int length, int told)
    {
        var bench = new TranslationBench();
        var packet = Udp(Host, Virtual, 1, 2, length - 28, dontFragment: true);
        var made = bench.Up(packet, mtu).Single();
        if (told == 0)
        {
            Assert.Equal((TranslationVerdict.Forward, length + 20), (bench.Last.Verdict, made.Length));
            return;
        }

        var message = AssertAnswer(made, bench, packet, IcmpType.DestinationUnreachable, IcmpType.CodeFragmentationNeeded);
        Assert.Equal(told, message);
        Assert.Equal("xlat.too_big", bench.Last.Counter);
        Assert.Equal(TranslationVerdict.Forward, Sent(Udp(Host, Virtual, 1, 2, told - 28, dontFragment: true)));

        TranslationVerdict Sent(byte[] smaller)
        {
            bench.Up(smaller, mtu);
            return bench.Last.Verdict;
        }
    }

    [Fact]
    public void What_the_hosts_link_does_not_take_is_told_so_or_cut()
    {
        var bench = new TranslationBench();
        var answer = bench.Down(Udp(Correspondent, Home, 1, 2, 1400), mtu: 1300).Single();
        Assert.Equal((TranslationVerdict.Answer, "xlat.too_big"), (bench.Last.Verdict, bench.Last.Counter));
        Assert.Equal(1320u, BinaryPrimitives.ReadUInt32BigEndian(answer.AsSpan(44)));

        // RFC 7915 5.1.1: up to 1280 octets it is cut, because nobody may be told less.
        var pieces = bench.Down(Udp(Correspondent, Home, 1, 2, 1200), mtu: 1220);
        Assert.Equal(TranslationVerdict.Forward, bench.Last.Verdict);
        Assert.Equal(2, pieces.Count);
        Assert.All(pieces, p => Assert.True(p.Length <= 1220));
        AssertUdp(Together4(pieces), 1200);
    }

    [Theory]
    [InlineData(131)]
    [InlineData(137)]
    public void An_unexpired_source_route_is_refused_and_an_expired_one_left_out(byte type)
    {
        var bench = new TranslationBench();
        var packet = WithOptions(Udp(Host, Virtual, 1, 2, 8), [type, 7, 4, 192, 0, 2, 1, 0]);
        AssertAnswer(bench.Up(packet).Single(), bench, packet, IcmpType.DestinationUnreachable, 5);
        Assert.Equal("xlat.source_route", bench.Last.Counter);
        bench.Up(WithOptions(Udp(Host, Virtual, 1, 2, 8), [type, 7, 8, 192, 0, 2, 1, 0]));
        Assert.Equal((TranslationVerdict.Forward, 40 + 16), (bench.Last.Verdict, bench.Last.Length));
    }

    [Fact]
    public void A_routing_header_with_segments_left_is_answered_with_its_place()
    {
        var bench = new TranslationBench();
        var plain = Udp(Correspondent, Home, 1, 2, 8);
        byte[] header = [17, 2, 0, 1, 0, 0, 0, 0, .. Stranger.GetAddressBytes()];
        byte[] packet = [.. plain[..40], .. header, .. plain[40..]];
        packet[6] = IpProtocol.Routing;
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(4), (ushort)(packet.Length - 40));
        var answer = bench.Down(packet).Single();
        Assert.Equal((TranslationVerdict.Answer, "xlat.source_route"), (bench.Last.Verdict, bench.Last.Counter));
        Assert.Equal((Icmpv6Type.ParameterProblem, (byte)0, 43u), (answer[40], answer[41], BinaryPrimitives.ReadUInt32BigEndian(answer.AsSpan(44))));
    }

    [Theory]
    [InlineData(13, "xlat.no_equivalent")]
    [InlineData(15, "xlat.no_equivalent")]
    [InlineData(17, "xlat.no_equivalent")]
    [InlineData(9, "xlat.no_equivalent")]
    [InlineData(10, "xlat.no_equivalent")]
    [InlineData(4, "xlat.no_equivalent")]
    [InlineData(5, "xlat.no_equivalent")]
    public void ICMPv4_that_ICMPv6_does_not_have_is_dropped(byte type, string counter)
    {
        var bench = new TranslationBench();
        Assert.Empty(bench.Up(Icmp4(Host, Virtual, type, 0, Udp(Virtual, Host, 1, 2, 30))));
        Assert.Equal((TranslationVerdict.Drop, counter), (bench.Last.Verdict, bench.Last.Counter));
    }

    [Theory]
    [InlineData(3, 14)]
    [InlineData(3, 16)]
    [InlineData(12, 1)]
    [InlineData(11, 2)]
    public void A_code_that_ICMPv6_does_not_have_is_dropped(byte type, byte code)
    {
        var bench = new TranslationBench();
        Assert.Empty(bench.Up(Icmp4(Host, Virtual, type, code, Udp(Virtual, Host, 1, 2, 30))));
        Assert.Equal("xlat.no_equivalent", bench.Last.Counter);
    }

    [Theory]
    [InlineData(130)]
    [InlineData(133)]
    [InlineData(135)]
    [InlineData(137)]
    [InlineData(143)]
    public void ICMPv6_that_ICMPv4_does_not_have_is_dropped(byte type)
    {
        var bench = new TranslationBench();
        Assert.Empty(bench.Down(Icmp6(Correspondent, Home, type, 0, 0, new byte[24])));
        Assert.Equal("xlat.no_equivalent", bench.Last.Counter);
    }

    [Fact]
    public void A_size_that_no_IPv6_link_has_is_not_passed_on()
    {
        var bench = new TranslationBench();
        var sent = Udp(Home, Correspondent, 1, 2, 100);
        Assert.Empty(bench.Down(Icmp6(Stranger, Home, Icmpv6Type.PacketTooBig, 0, 1279, sent)));
        Assert.Equal("xlat.no_equivalent", bench.Last.Counter);
        Assert.Single(bench.Down(Icmp6(Stranger, Home, Icmpv6Type.PacketTooBig, 0, 1280, sent)));
    }

    [Theory]
    [InlineData(0, 1012, 1280)]
    [InlineData(0, 1500, 1492)]
    [InlineData(0, 4000, 2002)]
    public void A_router_that_does_not_say_its_size_is_given_a_likely_one(ushort said, ushort length, uint told)
    {
        var bench = new TranslationBench();
        var quoted = Udp(Virtual, Host, 1, 2, 100);
        BinaryPrimitives.WriteUInt16BigEndian(quoted.AsSpan(2), length);
        var made = bench.Up(Icmp4(Host, Virtual, 3, 4, quoted, said), mtu: 9000).Single();
        Assert.Equal(told, BinaryPrimitives.ReadUInt32BigEndian(made.AsSpan(44)));
    }

    [Fact]
    public void An_error_about_a_packet_that_was_never_here_is_dropped_and_makes_no_entry()
    {
        var bench = new TranslationBench();
        Assert.Empty(bench.Down(Icmp6(Stranger, Home, Icmpv6Type.DestinationUnreachable, 0, 0, Udp(Home, IPAddress.Parse("2001:db8:99::1"), 1, 2, 30))));
        Assert.Equal("xlat.illegal_address", bench.Last.Counter);
        Assert.Empty(bench.Down(Icmp6(Stranger, Home, Icmpv6Type.DestinationUnreachable, 0, 0, Udp(Stranger, Correspondent, 1, 2, 30))));
        Assert.Equal("xlat.illegal_address", bench.Last.Counter);
        Assert.Empty(bench.Up(Icmp4(Host, Virtual, 3, 3, Udp(IPAddress.Parse("198.18.7.7"), Host, 1, 2, 30))));
        Assert.Equal("xlat.illegal_address", bench.Last.Counter);
        Assert.Equal(2, bench.Table.Count);
    }

    [Fact]
    public void An_error_inside_an_error_is_dropped()
    {
        var bench = new TranslationBench();
        var inner = Icmp6(Home, Correspondent, Icmpv6Type.DestinationUnreachable, 4, 0, Udp(Correspondent, Home, 1, 2, 30));
        Assert.Empty(bench.Down(Icmp6(Correspondent, Home, Icmpv6Type.DestinationUnreachable, 0, 0, inner)));
        Assert.Equal("xlat.no_equivalent", bench.Last.Counter);
        Assert.Empty(bench.Up(Icmp4(Host, Virtual, 3, 1, Icmp4(Virtual, Host, 3, 3, Udp(Host, Virtual, 1, 2, 30)))));
        Assert.Equal("xlat.no_equivalent", bench.Last.Counter);
    }

    [Fact]
    public void An_error_with_a_wrong_checksum_is_dropped()
    {
        var bench = new TranslationBench();
        var packet = Icmp6(Stranger, Home, Icmpv6Type.TimeExceeded, 0, 0, Udp(Home, Correspondent, 1, 2, 30));
        packet[^1] ^= 1;
        Assert.Empty(bench.Down(packet));
        Assert.Equal("xlat.malformed", bench.Last.Counter);
        Assert.Equal(2, bench.Table.Count);
    }

    [Fact]
    public void An_extension_of_an_error_goes_along_behind_its_quotation()
    {
        // RFC 4884: 136 octets of the packet in error, then an extension of 8 (a router's MPLS label, say).
        var bench = new TranslationBench();
        byte[] extension = [0x20, 0, 0xDE, 0xAD, 0, 4, 1, 1];
        var quoted = Udp(Home, Correspondent, 1, 2, 200)[..136];
        var made = bench.Down(Icmp6(Stranger, Home, Icmpv6Type.TimeExceeded, 0, (136u / 8) << 24, [.. quoted, .. extension])).Single();
        Assert.Equal(128 / 4, made[25]);
        Assert.Equal(28 + 128 + 8, made.Length);
        Assert.Equal(extension, made[^8..]);
        Assert.Equal(new byte[12], made[(28 + 116)..(28 + 128)]);

        var quoted4 = Udp(Virtual, Host, 1, 2, 200)[..128];
        made = bench.Up(Icmp4(Host, Virtual, 11, 0, [.. quoted4, .. extension], second: (128 / 4) << 16)).Single();
        Assert.Equal(152 / 8, made[44]);
        Assert.Equal(extension, made[^8..]);
        Assert.Equal(48 + 152 + 8, made.Length);
    }

    [Fact]
    public void A_quotation_that_its_own_length_makes_shorter_than_a_header_is_malformed()
    {
        var bench = new TranslationBench();
        Assert.Empty(bench.Down(Icmp6(Stranger, Home, Icmpv6Type.TimeExceeded, 0, 2u << 24, Udp(Home, Correspondent, 1, 2, 200))));
        Assert.Equal("xlat.malformed", bench.Last.Counter);
        Assert.Empty(bench.Up(Icmp4(Host, Virtual, 11, 0, Udp(Virtual, Host, 1, 2, 200), second: 2 << 16)));
        Assert.Equal("xlat.malformed", bench.Last.Counter);
    }
}
