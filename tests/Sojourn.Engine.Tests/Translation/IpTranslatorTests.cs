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
    [Trait("Row", "TM-A-17")]
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
    [Trait("Row", "TM-A-17")]
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
}
