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

namespace Sojourn.Engine.Tests.Translation;

public sealed class IpTranslatorTests
{
    [Fact]
    [Trait("Row", "TM-R81")]
    public void A_new_correspondent_gets_an_address_and_is_answered_at_it()
    {
        var bench = new TranslationBench(correspondent: false);
        var shown = bench.Down(Udp(Stranger, Home, 53, 1000, 20)).Single();
        Assert.Equal(Virtual, IpPacket.OfChecked(shown).SourceAddress);
        var answer = bench.Up(Udp(Host, Virtual, 1000, 53, 20)).Single();
        Assert.Equal(Stranger, IpPacket.OfChecked(answer).DestinationAddress);
        Assert.Equal(Home, IpPacket.OfChecked(answer).SourceAddress);
        Assert.Equal(2, bench.Table.Count);
    }

    [Fact]
    [Trait("Row", "TM-R80")]
    [Trait("Row", "TM-NC13")]
    public void What_is_not_for_a_home_address_is_dropped()
    {
        var bench = new TranslationBench();
        Assert.Empty(bench.Down(Udp(Correspondent, Stranger, 1, 2, 8)));
        Assert.Equal((TranslationVerdict.Drop, "xlat.dst_miss_down"), (bench.Last.Verdict, bench.Last.Counter));
        Assert.Equal(2, bench.Table.Count);
    }

    [Theory]
    [InlineData("192.168.1.1")]
    [InlineData("198.18.0.2")]
    [InlineData("198.18.0.9")]
    [Trait("Row", "TM-R83")]
    [Trait("Row", "TM-NC13")]
    public void What_is_not_from_the_hosts_own_address_is_dropped(string source)
    {
        var bench = new TranslationBench();
        Assert.Empty(bench.Up(Udp(IPAddress.Parse(source), Virtual, 1, 2, 8)));
        Assert.Equal((TranslationVerdict.Drop, "xlat.src_miss_up"), (bench.Last.Verdict, bench.Last.Counter));
        Assert.Equal(2, bench.Table.Count);
    }

    [Fact]
    [Trait("Row", "TM-R81")]
    [Trait("Row", "TM-NC12")]
    public void A_full_pool_drops_what_a_new_correspondent_sends_and_nobody_elses()
    {
        var bench = new TranslationBench(new TranslationOptions { Ipv4Pool = IPNetwork.Parse("198.18.0.0/30") }, correspondent: false);
        Assert.Empty(bench.Down(Udp(Correspondent, Home, 1, 2, 8)));
        Assert.Equal((TranslationVerdict.Drop, "xlat.pool4_empty"), (bench.Last.Verdict, bench.Last.Counter));
        Assert.Single(bench.Table.Entries);
    }

    [Fact]
    [Trait("Row", "TM-R82")]
    [Trait("Row", "TM-NC12")]
    public void Without_a_NAT64_an_IPv4_destination_is_unreachable_and_the_host_is_told()
    {
        var bench = new TranslationBench(new TranslationOptions());
        var packet = Udp(Host, IPAddress.Parse("192.0.2.5"), 1, 2, 8);
        var answer = bench.Up(packet).Single();
        Assert.Equal((TranslationVerdict.Answer, "xlat.pool6_empty"), (bench.Last.Verdict, bench.Last.Counter));
        AssertAnswer(answer, bench, packet, IcmpType.DestinationUnreachable, IcmpType.CodeNetworkUnreachable);
        Assert.Equal(2, bench.Table.Count);
    }

    [Fact]
    [Trait("Row", "TM-R82")]
    public void An_IPv4_destination_behind_a_NAT64_gets_an_entry_and_answers_from_its_own_address()
    {
        var bench = new TranslationBench();
        var literal = IPAddress.Parse("192.0.2.5");
        Assert.Equal("64:ff9b::c000:205", IpPacket.OfChecked(bench.Up(Udp(Host, literal, 1, 2, 8)).Single()).DestinationAddress.ToString());
        var entry = Assert.Single(bench.Table.Entries, e => e.Kind == TranslationKind.VirtualIpv6);
        Assert.Equal(("64:ff9b::c000:205", literal), (entry.Ipv6Address.ToString(), entry.Ipv4Address));
        Assert.Equal(literal, IpPacket.OfChecked(bench.Down(Udp(entry.Ipv6Address, Home, 2, 1, 8)).Single()).SourceAddress);
    }

    [Theory]
    [InlineData("64:ff9b::198.18.0.1")]
    [InlineData("64:ff9b::198.18.0.2")]
    [InlineData("64:ff9b::127.0.0.1")]
    [InlineData("64:ff9b::224.0.0.1")]
    [InlineData("::1")]
    [InlineData("::")]
    [InlineData("ff02::1")]
    [InlineData("fe80::1")]
    [InlineData("::ffff:192.0.2.1")]
    [InlineData("2001:db8:1::100")]
    public void A_source_that_no_correspondent_can_have_is_dropped(string source)
    {
        var bench = new TranslationBench();
        Assert.Empty(bench.Down(Udp(IPAddress.Parse(source), Home, 1, 2, 8)));
        Assert.Equal((TranslationVerdict.Drop, "xlat.illegal_address"), (bench.Last.Verdict, bench.Last.Counter));
        Assert.Equal(2, bench.Table.Count);
    }

    [Theory]
    [InlineData("224.0.0.251")]
    [InlineData("255.255.255.255")]
    [InlineData("127.0.0.1")]
    [InlineData("169.254.1.1")]
    public void A_destination_that_is_no_host_is_dropped_without_a_word(string destination)
    {
        var bench = new TranslationBench();
        Assert.Empty(bench.Up(Udp(Host, IPAddress.Parse(destination), 1, 2, 8)));
        Assert.Equal((TranslationVerdict.Drop, "xlat.illegal_address"), (bench.Last.Verdict, bench.Last.Counter));
    }

    [Fact]
    public void An_address_of_the_pool_that_stands_for_nobody_is_unreachable_even_with_a_NAT64()
    {
        var bench = new TranslationBench();
        var packet = Udp(Host, IPAddress.Parse("198.18.9.9"), 1, 2, 8);
        AssertAnswer(bench.Up(packet).Single(), bench, packet, IcmpType.DestinationUnreachable, IcmpType.CodeHostUnreachable);
        Assert.Equal("xlat.dst_unassigned", bench.Last.Counter);
    }

    [Fact]
    public void What_the_host_sends_to_the_resolver_goes_there()
    {
        var bench = new TranslationBench();
        bench.Up(Udp(Host, bench.Table.ResolverAddress, 1000, 53, 30));
        Assert.Equal(TranslationVerdict.Resolver, bench.Last.Verdict);
    }

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

    [Fact]
    public void Fragments_that_cannot_be_translated_are_dropped()
    {
        var bench = new TranslationBench();
        var error = Icmp4(Host, Virtual, 3, 1, Udp(Virtual, Host, 1, 2, 60));
        foreach (var piece in Cut4(error, 68))
        {
            bench.Up(piece);
        }

        Assert.Equal("xlat.icmp_fragment", bench.Last.Counter);

        var datagram = Udp(Host, Virtual, 1, 2, 64);
        datagram[6] |= 0x20;
        datagram[26] = datagram[27] = 0;
        IPv4Header.WriteChecksum(datagram.AsSpan(0, 20));
        Assert.Empty(bench.Up(datagram));
        Assert.Equal("xlat.no_checksum", bench.Last.Counter);

        // An extension header inside of what is fragmented.
        var plain = Udp(Correspondent, Home, 1, 2, 64);
        byte[] packet = [.. plain[..40], IpProtocol.DestinationOptions, 0, 0, 1, 0, 0, 0, 7, 17, 0, 1, 4, 0, 0, 0, 0, .. plain[40..]];
        packet[6] = IpProtocol.Fragment;
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(4), (ushort)(packet.Length - 40));
        Assert.Empty(bench.Down(packet));
        Assert.Equal("xlat.no_equivalent", bench.Last.Counter);
    }

    [Theory]
    [InlineData(1472, 1500)]
    [InlineData(4000, 1460)]
    [InlineData(8000, 1240)]
    public void A_large_ping_in_fragments_goes_there_and_back(int size, int mtu)
    {
        var bench = new TranslationBench();
        var body = new byte[size];
        new Random(size).NextBytes(body);
        var there = new List<byte[]>();
        foreach (var piece in Cut4(Icmp4(Host, Virtual, 8, 0, body, 0x00070001), mtu - 20))
        {
            there.AddRange(bench.Up(piece, mtu));
            Assert.Equal(TranslationVerdict.Forward, bench.Last.Verdict);
        }

        Assert.All(there, p => Assert.True(p.Length <= 1280 && p[6] == IpProtocol.Fragment));
        byte[]? request = null;
        var end = new Ipv6Reassembler();
        foreach (var piece in there)
        {
            if (end.Add(piece, bench.Now, out var whole) == ReassemblyOutcome.Complete)
            {
                request = whole;
            }
        }

        Assert.True(IcmpMessage.TryParse(request.AsSpan(40), out var message, out _) && message.ChecksumIsRightIPv6(request.AsSpan(8, 16), request.AsSpan(24, 16)));
        Assert.Equal((Icmpv6Type.EchoRequest, body.Length), (message.Type, message.Body.Length));
        Assert.Equal(body, message.Body.ToArray());

        var reply = Icmp6(Correspondent, Home, Icmpv6Type.EchoReply, 0, message.Parameter, body);
        var room = new byte[20_000];
        var (written, _) = IPv6Fragmenter.Cut(reply, mtu, 77, room);
        var back = new List<byte[]>();
        for (var at = 0; at < written; at += IpPacket.LengthOf(room.AsSpan(at)))
        {
            back.AddRange(bench.Down(room.AsSpan(at, IpPacket.LengthOf(room.AsSpan(at))), mtu - 20));
            Assert.Equal(TranslationVerdict.Forward, bench.Last.Verdict);
        }

        Assert.All(back, p => Assert.True(p.Length <= mtu - 20));
        var returned = Together4(back);
        Assert.True(IcmpMessage.TryParse(returned.AsSpan(20), out var answer, out _) && answer.ChecksumIsRight);
        Assert.Equal((IcmpType.EchoReply, message.Parameter), (answer.Type, answer.Parameter));
        Assert.Equal(body, answer.Body.ToArray());
    }

    [Fact]
    public void UDP_over_IPv6_without_a_checksum_is_dropped()
    {
        var bench = new TranslationBench();
        var packet = Udp(Correspondent, Home, 1, 2, 8);
        packet[46] = packet[47] = 0;
        Assert.Empty(bench.Down(packet));
        Assert.Equal("xlat.no_checksum", bench.Last.Counter);
    }

    [Fact]
    public void What_was_damaged_before_is_not_mended()
    {
        var bench = new TranslationBench();
        foreach (var (packet, up) in new[] { (Udp(Host, Virtual, 1, 2, 33), true), (Tcp(Host, Virtual, 33), true), (Udp(Correspondent, Home, 1, 2, 33), false), (Tcp(Correspondent, Home, 33), false) })
        {
            Assert.True(ChecksumsAreRight((up ? bench.Up(packet) : bench.Down(packet)).Single()));
            packet[^1] ^= 0x10;
            Assert.False(ChecksumsAreRight((up ? bench.Up(packet) : bench.Down(packet)).Single()));
        }
    }

    [Fact]
    public void A_wrong_header_checksum_is_no_packet()
    {
        var bench = new TranslationBench();
        var packet = Udp(Host, Virtual, 1, 2, 8);
        packet[10] ^= 1;
        Assert.Empty(bench.Up(packet));
        Assert.Equal("xlat.malformed", bench.Last.Counter);
    }

    [Fact]
    public void Any_packet_survives_the_way_there_and_back()
    {
        var bench = new TranslationBench();
        var random = new Random(7);
        for (var i = 0; i < 4000; i++)
        {
            var length = random.Next(0, 3000);
            var mtu = random.Next(600, 2000);
            var packet = random.Next(2) == 0 ? Udp(Host, Virtual, random.Next(65536), random.Next(65536), length) : Tcp(Host, Virtual, length);
            random.NextBytes(packet.AsSpan(packet.Length - length));
            Seal(packet);
            var pieces = bench.Up(packet, mtu);
            Assert.Equal(TranslationVerdict.Forward, bench.Last.Verdict);
            Assert.All(pieces, p => Assert.True(p.Length <= mtu && p[7] == 63));
            Assert.True(pieces.Count == 1 || pieces.All(p => p[6] == IpProtocol.Fragment));

            // The correspondent sends it back as it came.
            var returned = new List<byte[]>();
            foreach (var piece in pieces)
            {
                Home.TryWriteBytes(piece.AsSpan(24), out _);
                Correspondent.TryWriteBytes(piece.AsSpan(8), out _);
                returned.AddRange(bench.Down(piece, mtu: 3100));
                Assert.Equal(TranslationVerdict.Forward, bench.Last.Verdict);
            }

            var whole = Together4(returned);
            Assert.True(ChecksumsAreRight(whole));
            Assert.Equal(packet.AsSpan(packet.Length - length).ToArray(), whole[^length..]);
            Assert.Equal((Virtual, Host), (IpPacket.OfChecked(whole).SourceAddress, IpPacket.OfChecked(whole).DestinationAddress));
        }
    }

    [Fact]
    public void A_packet_in_steady_state_allocates_nothing()
    {
        var bench = new TranslationBench();
        var room = new byte[IpTranslator.RoomFor(4000)];
        var (up, cut, down) = (Tcp(Host, Virtual, 1200), Udp(Host, Virtual, 1, 2, 3000), Tcp(Correspondent, Home, 1200));
        var error = Icmp6(Correspondent, Home, Icmpv6Type.DestinationUnreachable, 0, 0, Udp(Home, Correspondent, 1, 2, 30));
        Carry(1000);
        var before = GC.GetAllocatedBytesForCurrentThread();
        Carry(1000);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Carry(int times)
        {
            for (var i = 0; i < times; i++)
            {
                var forwarded = bench.Translator.Up(up, 1460, bench.Now, room).Verdict == TranslationVerdict.Forward
                    && bench.Translator.Up(cut, 1460, bench.Now, room).Count == 3
                    && bench.Translator.Down(down, 1440, bench.Now, room).Verdict == TranslationVerdict.Forward
                    && bench.Translator.Down(error, 1440, bench.Now, room).Verdict == TranslationVerdict.Forward;
                if (!forwarded)
                {
                    throw new InvalidOperationException("not translated");
                }
            }
        }
    }

    /// <summary>Judges an ICMPv4 error from the resolver's address about <paramref name="packet"/>; returns its second word.</summary>
    private static int AssertAnswer(byte[] answer, TranslationBench bench, byte[] packet, byte type, byte code)
    {
        Assert.Equal(TranslationVerdict.Answer, bench.Last.Verdict);
        Assert.True(IPv4Header.TryParse(answer, out var ip, out _) && ip.ChecksumIsRight);
        Assert.Equal((bench.Table.ResolverAddress, Host), (ip.SourceAddress, ip.DestinationAddress));
        Assert.True(IcmpMessage.TryParse(ip.Payload, out var message, out _) && message.ChecksumIsRight);
        Assert.Equal((type, code), (message.Type, message.Code));
        Assert.Equal(packet[..message.Body.Length], message.Body.ToArray());
        return (int)message.Parameter;
    }

    private static bool ChecksumsAreRight(byte[] octets)
    {
        var packet = IpPacket.OfChecked(octets);
        if (!packet.IsIPv6 && !packet.AsIPv4().ChecksumIsRight)
        {
            return false;
        }

        return packet.NextHeader == IpProtocol.Udp
            ? UdpHeader.TryParse(packet.Payload, out var udp, out _) && udp.Checksum != 0 && udp.ChecksumIsRight(packet.Source, packet.Destination)
            : TcpHeader.TryParse(packet.Payload, out var tcp, out _) && tcp.ChecksumIsRight(packet.Source, packet.Destination);
    }

    private static void AssertUdp(byte[] whole, int length)
    {
        Assert.True(ChecksumsAreRight(whole));
        Assert.Equal(28 + length, whole.Length);
    }

    /// <summary>An obvious reassembly: sort by offset and join.</summary>
    private static byte[] Together4(List<byte[]> pieces)
    {
        if (pieces.Count == 1)
        {
            return pieces[0];
        }

        var sorted = pieces.OrderBy(p => IpPacket.OfChecked(p).AsIPv4().FragmentOffset).ToList();
        var payload = new List<byte>();
        foreach (var piece in sorted)
        {
            Assert.Equal(payload.Count, IpPacket.OfChecked(piece).AsIPv4().FragmentOffset);
            Assert.Equal(piece != sorted[^1], IpPacket.OfChecked(piece).AsIPv4().MoreFragments);
            Assert.Equal(sorted[0][4..6], piece[4..6]);
            payload.AddRange(piece[20..]);
        }

        byte[] whole = [.. sorted[0][..20], .. payload];
        BinaryPrimitives.WriteUInt16BigEndian(whole.AsSpan(2), (ushort)whole.Length);
        whole[6] = whole[7] = 0;
        IPv4Header.WriteChecksum(whole.AsSpan(0, 20));
        return whole;
    }

    private static IEnumerable<byte[]> Cut4(byte[] packet, int mtu)
    {
        Assert.True(IPv4Header.TryParse(packet, out var header, out _));
        var fragmenter = new IPv4Fragmenter(header, mtu);
        var pieces = new List<byte[]>();
        while (!fragmenter.Finished)
        {
            var piece = new byte[mtu];
            pieces.Add(piece[..fragmenter.Next(piece)]);
        }

        return pieces;
    }

    private static byte[] Packet(IPAddress source, IPAddress destination, byte protocol, byte[] payload, byte hops, bool dontFragment)
    {
        if (source.AddressFamily == AddressFamily.InterNetworkV6)
        {
            var packet = new byte[40 + payload.Length];
            IPv6Header.Write(packet, 0, 0, payload.Length, protocol, hops, source.GetAddressBytes(), destination.GetAddressBytes());
            payload.CopyTo(packet, 40);
            return packet;
        }

        var made = new byte[20 + payload.Length];
        IPv4Header.Write(made, 0, made.Length, 99, dontFragment ? IPv4Header.DontFragmentFlag : (ushort)0, hops, protocol, source.GetAddressBytes(), destination.GetAddressBytes());
        payload.CopyTo(made, 20);
        return made;
    }

    private static byte[] Udp(IPAddress source, IPAddress destination, int sourcePort, int destinationPort, int length, byte hops = 64, bool dontFragment = false)
    {
        var datagram = new byte[8 + length];
        UdpHeader.Write(datagram, (ushort)sourcePort, (ushort)destinationPort);
        UdpHeader.WriteChecksum(datagram, source.GetAddressBytes(), destination.GetAddressBytes());
        return Packet(source, destination, IpProtocol.Udp, datagram, hops, dontFragment);
    }

    private static byte[] Tcp(IPAddress source, IPAddress destination, int length)
    {
        var segment = new byte[20 + length];
        segment[12] = 0x50;
        segment[13] = 0x10;
        var packet = Packet(source, destination, IpProtocol.Tcp, segment, 64, false);
        Seal(packet);
        return packet;
    }

    /// <summary>Makes the checksum of the transport right.</summary>
    private static void Seal(byte[] octets)
    {
        var packet = IpPacket.OfChecked(octets);
        var transport = octets.AsSpan(packet.HeaderLength);
        if (packet.NextHeader == IpProtocol.Udp)
        {
            UdpHeader.WriteChecksum(transport, packet.Source, packet.Destination);
            return;
        }

        transport[16] = transport[17] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(
            transport[16..], InternetChecksum.Finish(InternetChecksum.Add(InternetChecksum.PseudoHeader(packet.Source, packet.Destination, IpProtocol.Tcp, transport.Length), transport)));
    }

    private static byte[] Icmp4(IPAddress source, IPAddress destination, byte type, byte code, byte[] body, uint second = 0)
    {
        byte[] message = [.. new byte[8], .. body];
        IcmpMessage.WriteIPv4(message, type, code, second);
        return Packet(source, destination, IpProtocol.Icmp, message, 64, false);
    }

    private static byte[] Icmp6(IPAddress source, IPAddress destination, byte type, byte code, uint second, byte[] body)
    {
        byte[] message = [.. new byte[8], .. body];
        IcmpMessage.WriteIPv6(message, type, code, second, source.GetAddressBytes(), destination.GetAddressBytes());
        return Packet(source, destination, IpProtocol.Icmpv6, message, 64, false);
    }

    private static byte[] WithOptions(byte[] packet, byte[] options)
    {
        byte[] made = [.. packet[..20], .. options, .. packet[20..]];
        made[0] = (byte)(0x45 + (options.Length / 4));
        BinaryPrimitives.WriteUInt16BigEndian(made.AsSpan(2), (ushort)made.Length);
        IPv4Header.WriteChecksum(made.AsSpan(0, 20 + options.Length));
        return made;
    }
}
