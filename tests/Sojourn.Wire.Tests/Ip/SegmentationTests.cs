using System.Buffers.Binary;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Tcp;
using Sojourn.Wire.Udp;
using Xunit;

namespace Sojourn.Wire.Tests.Ip;

/// <summary>Packets that stand for several, cut into these.</summary>
public class SegmentationTests
{
    private const int Size = 1000, Whole = 3500;

    private static readonly byte[] s_a4 = [192, 0, 2, 1], s_b4 = [198, 51, 100, 2];
    private static readonly byte[] s_a6 = [0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], s_b6 = [0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

    private static byte[] Tcp(bool six, TcpFlags flags = TcpFlags.Ack | TcpFlags.Psh | TcpFlags.Fin | TcpFlags.Cwr)
    {
        var segment = new byte[32 + Whole];
        new Random(5).NextBytes(segment.AsSpan(32));
        BinaryPrimitives.WriteUInt32BigEndian(segment.AsSpan(4), 0xFFFFFF00);
        (segment[12], segment[13]) = (0x80, (byte)flags);
        segment.AsSpan(20, 12).Fill(1);
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(16), SumOf(segment, six, IpProtocol.Tcp));
        return Packet(segment, six, IpProtocol.Tcp);
    }

    private static ushort SumOf(ReadOnlySpan<byte> transport, bool six, byte protocol) =>
        InternetChecksum.Finish(InternetChecksum.Add(InternetChecksum.PseudoHeader(six ? s_a6 : s_a4, six ? s_b6 : s_b4, protocol, transport.Length), transport));

    private static byte[] Packet(byte[] transport, bool six, byte protocol)
    {
        var packet = new byte[(six ? IPv6Header.Length : IPv4Header.MinimumLength) + transport.Length];
        transport.CopyTo(packet, packet.Length - transport.Length);
        if (six)
        {
            IPv6Header.Write(packet, 0, 0, transport.Length, protocol, 64, s_a6, s_b6);
        }
        else
        {
            IPv4Header.Write(packet, 0, packet.Length, 0xFFFF, IPv4Header.DontFragmentFlag, 64, protocol, s_a4, s_b4);
        }

        return packet;
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_long_tcp_segment_becomes_segments_that_a_sender_could_have_sent(bool six)
    {
        var whole = Tcp(six);
        var headers = whole.Length - Whole;
        Assert.Equal(headers + Size, Segmentation.LongestOf(whole, Size));

        var cut = Segmentation.Cut(whole, Size);
        Assert.Equal([headers + Size, headers + Size, headers + Size, headers + 500], cut.Select(c => c.Length));
        Assert.Equal(whole[headers..], cut.SelectMany(c => c[headers..].ToArray()));
        for (var i = 0; i < cut.Count; i++)
        {
            Assert.True(IpPacket.TryParse(cut[i].Span, out var packet, out _) && packet.Octets.Length == cut[i].Length);
            Assert.True(TcpHeader.TryParse(packet.Payload, out var tcp, out _) && tcp.ChecksumIsRight(packet.Source, packet.Destination));
            Assert.Equal(unchecked(0xFFFFFF00 + (uint)(i * Size)), tcp.SequenceNumber);

            // RFC 9293 3.9.1.4: what pushes and what ends comes last; RFC 3168 6.1.2: the window was made smaller once.
            Assert.Equal(TcpFlags.Ack | (i == 0 ? TcpFlags.Cwr : 0) | (i == cut.Count - 1 ? TcpFlags.Psh | TcpFlags.Fin : 0), tcp.Flags);
            if (!six)
            {
                Assert.True(packet.AsIPv4().ChecksumIsRight);
                Assert.Equal((ushort)(0xFFFF + i), packet.AsIPv4().Identification);
            }
        }
    }

    [Fact]
    public void What_was_damaged_stays_damaged()
    {
        var whole = Tcp(six: true);
        whole[^3] ^= 0x10;
        Assert.All(Segmentation.Cut(whole, Size), cut =>
        {
            Assert.True(TcpHeader.TryParse(cut.Span[IPv6Header.Length..], out var tcp, out _));
            Assert.False(tcp.ChecksumIsRight(s_a6, s_b6));
        });
    }

    [Fact]
    public void Headers_of_a_tunnel_get_lengths_of_their_own()
    {
        var inner = Tcp(six: true);
        var outer = Packet(inner, six: true, IpProtocol.IPv6);
        var cut = Segmentation.Cut(outer, Size);
        Assert.Equal(4, cut.Count);
        Assert.All(cut, piece =>
        {
            Assert.True(IPv6Header.TryParse(piece.Span, out var tunnel, out _) && tunnel.Packet.Length == piece.Length);
            Assert.True(IPv6Header.TryParse(tunnel.Payload, out var carried, out _) && carried.Packet.Length == piece.Length - IPv6Header.Length);
            Assert.True(TcpHeader.TryParse(carried.Payload, out var tcp, out _) && tcp.ChecksumIsRight(s_a6, s_b6));
        });
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_run_of_datagrams_becomes_datagrams(bool six)
    {
        var datagram = new byte[UdpHeader.HeaderLength + Whole];
        new Random(6).NextBytes(datagram.AsSpan(UdpHeader.HeaderLength));
        UdpHeader.Write(datagram, 434, 435);
        UdpHeader.WriteChecksum(datagram, six ? s_a6 : s_a4, six ? s_b6 : s_b4);
        var cut = Segmentation.Cut(Packet(datagram, six, IpProtocol.Udp), Size);
        Assert.Equal(4, cut.Count);
        Assert.All(cut, piece =>
        {
            Assert.True(IpPacket.TryParse(piece.Span, out var packet, out _));
            Assert.True(UdpHeader.TryParse(packet.Payload, out var udp, out _) && udp.Payload.Length <= Size && udp.ChecksumIsRight(packet.Source, packet.Destination));
        });
    }

    [Fact]
    public void Other_packets_stay_as_they_are()
    {
        var tcp = Tcp(six: false);
        Assert.Equal(tcp, Assert.Single(Segmentation.Cut(tcp, 0)).ToArray());
        Assert.Equal(tcp, Assert.Single(Segmentation.Cut(tcp, Whole)).ToArray());
        Assert.Equal(tcp.Length, Segmentation.LongestOf(tcp, 0));

        var fragment = Tcp(six: false);
        fragment[6] |= 0x20;
        var esp = Packet(new byte[Whole], six: true, IpProtocol.Esp);
        byte[] damaged = [0x60, 1, 2];
        foreach (var packet in (byte[][])[fragment, esp, damaged])
        {
            Assert.Equal(packet, Assert.Single(Segmentation.Cut(packet, Size)).ToArray());
            Assert.Equal(packet.Length, Segmentation.LongestOf(packet, Size));
        }
    }

    /// <summary>As an offload hands it over: the sum of the pseudo-header instead of the checksum.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_checksum_that_was_only_begun_gives_the_same_packets(bool six)
    {
        var whole = Tcp(six);
        var begun = whole.ToArray();
        var transport = six ? IPv6Header.Length : IPv4Header.MinimumLength;
        var pseudo = InternetChecksum.PseudoHeader(six ? s_a6 : s_a4, six ? s_b6 : s_b4, IpProtocol.Tcp, whole.Length - transport);
        BinaryPrimitives.WriteUInt16BigEndian(begun.AsSpan(transport + 16), (ushort)~InternetChecksum.Finish(pseudo));
        Assert.True(SegmentCutter.TryStart(begun, Size, partial: true, out var cutter));
        var output = new byte[2000];
        foreach (var expected in Segmentation.Cut(whole, Size))
        {
            Assert.Equal(expected.Length, cutter.NextLength);
            Assert.Equal(expected.ToArray(), output[..cutter.Next(output)]);
        }

        Assert.True(cutter.Finished);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Cutting_allocates_nothing(bool six)
    {
        var whole = Tcp(six);
        var output = new byte[2000];
        Cut();
        var before = GC.GetAllocatedBytesForCurrentThread();
        var count = Cut();
        var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.Equal((4, 0), (count, allocated));

        int Cut()
        {
            var segments = 0;
            for (_ = SegmentCutter.TryStart(whole, Size, partial: false, out var cutter); !cutter.Finished; segments++)
            {
                cutter.Next(output);
            }

            return segments;
        }
    }
}
