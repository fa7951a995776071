using System.Buffers.Binary;
using FsCheck;
using FsCheck.Fluent;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Ipsec;
using Sojourn.Wire.Tcp;
using Sojourn.Wire.Udp;
using Xunit;

namespace Sojourn.Wire.Tests.Ip;

public class IpHeaderTests
{
    /// <summary>An echo request as a Linux host sent it, checked by the header checksum it carries.</summary>
    private static readonly byte[] s_ipv4 = Convert.FromHexString("4500001c79254000400" + "13d28c0000211c00002820800eada0d240001");

    [Fact]
    public void An_ipv4_header_is_taken_apart()
    {
        Assert.True(IPv4Header.TryParse([.. s_ipv4, 0xEE, 0xEE], out var header, out _));
        Assert.Equal((20, 28, (ushort)0x7925, (byte)64, IpProtocol.Icmp), (header.HeaderLength, header.TotalLength, header.Identification, header.TimeToLive, header.Protocol));
        Assert.True(header.DontFragment && !header.MoreFragments && !header.IsFragment && header.ChecksumIsRight);
        Assert.Equal(("192.0.2.17", "192.0.2.130"), (header.SourceAddress.ToString(), header.DestinationAddress.ToString()));
        Assert.Equal(8, header.Payload.Length);

        var built = new byte[28];
        Array.Fill(built, (byte)0xCC);
        s_ipv4.AsSpan(20).CopyTo(built.AsSpan(20));
        IPv4Header.Write(built, 0, 28, 0x7925, IPv4Header.DontFragmentFlag, 64, IpProtocol.Icmp, header.Source, header.Destination);
        Assert.Equal(s_ipv4, built);
    }

    [Theory]
    [InlineData("", "Header")]
    [InlineData("45000014", "Header")]
    [InlineData("6500001400000000400100000a0000010a000002", "Version")]
    [InlineData("4400001400000000400100000a0000010a000002", "IHL")]
    [InlineData("4600001400000000400100000a0000010a000002", "IHL")]
    [InlineData("4500001300000000400100000a0000010a000002", "Total Length")]
    [InlineData("4500001500000000400100000a0000010a000002", "Total Length")]
    public void A_bad_ipv4_header_is_refused_at_the_field(string octets, string field)
    {
        Assert.False(IPv4Header.TryParse(Convert.FromHexString(octets), out _, out var error));
        Assert.Equal(field, error.Field);
        Assert.StartsWith("RFC 791", error.Clause);
    }

    [Fact]
    public void An_ipv6_header_survives_writing_and_reading()
    {
        byte[] source = [0x20, 1, 0xd, 0xb8, .. new byte[11], 1], destination = [0x20, 1, 0xd, 0xb8, .. new byte[11], 2];
        var packet = new byte[48];
        Array.Fill(packet, (byte)0xCC);
        IPv6Header.Write(packet, 0xB8, 0xABCDE, 8, IpProtocol.Udp, 63, source, destination);
        Assert.True(IPv6Header.TryParse(packet, out var header, out _));
        Assert.Equal((0xB8, 0xABCDEu, 8, IpProtocol.Udp, 63), ((int)header.TrafficClass, header.FlowLabel, header.PayloadLength, header.NextHeader, (int)header.HopLimit));
        Assert.Equal(source, header.Source.ToArray());
        IPv6Header.RewriteTrafficClass(packet, 0x2B);
        Assert.True(IpPacket.TryParse(packet, out var either, out _));
        Assert.Equal((0x2B, 0x2B >> 2), ((int)either.TrafficClass, (int)either.Dscp));
        Assert.True(IPv6Header.TryParse(packet, out header, out _));
        Assert.Equal(0xABCDEu, header.FlowLabel);
        Assert.False(IPv6Header.TryParse(packet.AsSpan(0, 47), out _, out var error));
        Assert.Equal("Payload Length", error.Field);
    }

    [Fact]
    public void Rewriting_tos_and_ttl_keeps_the_checksum_right_and_a_wrong_one_wrong()
    {
        var packet = s_ipv4.ToArray();
        for (var tos = 0; tos < 256; tos++)
        {
            IPv4Header.RewriteTypeOfService(packet, (byte)tos);
            Assert.True(IPv4Header.TryParse(packet, out var header, out _) && header.ChecksumIsRight && header.TypeOfService == tos);
        }

        for (var ttl = 64; ttl > 1; ttl--)
        {
            IPv4Header.DecrementTimeToLive(packet);
            Assert.True(IPv4Header.TryParse(packet, out var header, out _) && header.ChecksumIsRight);
        }

        packet[11] ^= 1;
        IPv4Header.RewriteTypeOfService(packet, 1);
        Assert.True(IPv4Header.TryParse(packet, out var wrong, out _) && !wrong.ChecksumIsRight);
    }

    [Fact]
    public void Extension_headers_are_walked_to_the_upper_layer()
    {
        // Hop-by-hop (router alert), routing type 2, fragment (atomic), destination options, then UDP.
        byte[] extensions =
        [
            43, 0, 5, 2, 0, 0, 1, 0,
            44, 2, 2, 1, 0, 0, 0, 0, .. new byte[16],
            60, 0, 0, 0, 0, 0, 0, 9,
            17, 0, 1, 4, 0, 0, 0, 0,
        ];
        var packet = Packet(0, [.. extensions, 1, 2, 3, 4, 5, 6, 7, 8]);
        Assert.True(IPv6Header.TryParse(packet, out var header, out _));
        var walk = new IPv6ExtensionWalk(header);
        var types = new List<int>();
        while (walk.MoveNext())
        {
            types.Add(walk.Type);
        }

        Assert.Null(walk.Error);
        Assert.Equal([0, 43, 44, 60], types);
        Assert.Equal((IpProtocol.Udp, 40 + extensions.Length, false), (walk.UpperProtocol, walk.UpperOffset, walk.IsFragment));
        Assert.Equal(17, packet[walk.NextHeaderField]);
    }

    [Fact]
    public void A_later_fragment_ends_the_walk_and_bad_chains_are_refused()
    {
        Assert.True(IPv6Header.TryParse(Packet(44, [17, 0, 0, 9, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]), out var later, out _));
        Assert.True(IPv6ExtensionWalk.TryFindUpper(later, out var end));
        Assert.True(end.IsFragment && end.IsLaterFragment);

        Assert.True(IPv6Header.TryParse(Packet(60, [17, 3, 0, 0, 0, 0, 0, 0]), out var longer, out _));
        Assert.False(IPv6ExtensionWalk.TryFindUpper(longer, out end));
        Assert.Equal("Hdr Ext Len", end.Error!.Value.Field);

        Assert.True(IPv6Header.TryParse(Packet(60, [0, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0]), out var misplaced, out _));
        Assert.False(IPv6ExtensionWalk.TryFindUpper(misplaced, out _));

        var chain = Enumerable.Repeat(new byte[] { 60, 0, 0, 0, 0, 0, 0, 0 }, 40).SelectMany(x => x).ToArray();
        Assert.True(IPv6Header.TryParse(Packet(60, chain), out var endless, out _));
        Assert.False(IPv6ExtensionWalk.TryFindUpper(endless, out end));
        Assert.Equal("too many extension headers", end.Error!.Value.Reason);
    }

    /// <summary>Whatever arrives, reading ends with a yes or a no.</summary>
    [Fact]
    public void No_octets_make_a_codec_throw()
    {
        var any = Gen.Choose(0, 255).Select(o => (byte)o).ArrayOf();
        var starts = Gen.Elements<byte[]>([], [0x45], [0x4F], [0x60, 0, 0, 0, 0, 40, 0], [0x60, 0, 0, 0, 0, 60, 43], [0x46, 0, 0, 60]);
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(3000).WithEndSize(120), Prop.ForAll(starts.Zip(any).ToArbitrary(), sample =>
        {
            byte[] octets = [.. sample.Item1, .. sample.Item2];
            if (IpPacket.TryParse(octets, out var packet, out _))
            {
                _ = IcmpError.MayAnswer(packet) & IcmpError.WriteTooBig(packet, new byte[16], 1400, new byte[2048]) > 0;
                if (packet.IsIPv6 && IPv6ExtensionWalk.TryFindUpper(packet.AsIPv6(), out var upper))
                {
                    MutableFields.ClearIPv6(packet.Octets.ToArray(), upper.UpperOffset);
                }
                else if (!packet.IsIPv6)
                {
                    MutableFields.ClearIPv4(packet.Octets[..packet.HeaderLength].ToArray());
                    var fragmenter = new IPv4Fragmenter(packet.AsIPv4(), 68);
                    var buffer = new byte[200];
                    while (!fragmenter.Finished && fragmenter.Next(buffer) > 0)
                    {
                    }
                }
            }

            if (TcpHeader.TryParse(octets, out var tcp, out _))
            {
                tcp.TryFindMaximumSegmentSize(out _, out _);
            }

            _ = UdpHeader.TryParse(octets, out _, out _) | IcmpMessage.TryParse(octets, out _, out _) | EspHeader.TryParse(octets, out _, out _)
                | EspTrailer.TryParse(octets, out _, out _, out _) | AhHeader.TryParse(octets, out _, out _);
            TcpHeader.ClampMaximumSegmentSize(octets, 100);
            EspInUdp.Classify(octets);
        }));
    }

    private static byte[] Packet(byte nextHeader, byte[] payload)
    {
        var packet = new byte[40 + payload.Length];
        packet[0] = 0x60;
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(4), (ushort)payload.Length);
        packet[6] = nextHeader;
        payload.CopyTo(packet.AsSpan(40));
        return packet;
    }

    [Fact]
    public void A_fragment_that_reaches_beyond_the_longest_packet_is_refused()
    {
        var packet = new byte[60];
        packet[0] = 0x45;
        packet[3] = 60;
        packet[6] = 0x1F;
        packet[7] = 0xFF;
        Assert.False(IPv4Header.TryParse(packet, out _, out var error));
        Assert.Equal("Fragment Offset", error.Field);
        packet[7] = 0xF0;
        Assert.True(IPv4Header.TryParse(packet, out _, out _));
    }
}
