using System.Buffers.Binary;
using System.Net;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

/// <summary>Fragments of IPv6 packets, in every order and with everything that must not be put together.</summary>
public class Ipv6ReassemblerTests
{
    private static readonly DateTimeOffset s_now = IpsecBench.Start;
    private static readonly IPAddress s_source = IPAddress.Parse("2001:db8:c::5"), s_destination = IPAddress.Parse("2001:db8:a::1");

    private static byte[] Packet(int length, int seed = 1, IPAddress? source = null, byte trafficClass = 0)
    {
        var payload = new byte[length];
        new Random(seed).NextBytes(payload);
        return new MobileIpv6Packet { Source = source ?? s_source, Destination = s_destination, Protocol = IpProtocol.IPv6, Payload = payload, TrafficClass = trafficClass }.ToArray();
    }

    private static List<byte[]> Cut(byte[] packet, int mtu = 600, uint identification = 7)
    {
        var buffer = new byte[4 * packet.Length];
        var (written, count) = IPv6Fragmenter.Cut(packet, mtu, identification, buffer);
        var pieces = new List<byte[]>();
        foreach (var one in new PacketSequence(buffer.AsSpan(0, written)))
        {
            pieces.Add(one.ToArray());
        }

        Assert.Equal(count, pieces.Count);
        return pieces;
    }

    /// <summary>A fragment by hand: offset in octets.</summary>
    private static byte[] Piece(int offset, bool more, byte[] payload, uint identification = 7, IPAddress? source = null)
    {
        var body = new byte[8 + payload.Length];
        body[0] = IpProtocol.Udp;
        BinaryPrimitives.WriteUInt16BigEndian(body.AsSpan(2), (ushort)(offset | (more ? 1 : 0)));
        BinaryPrimitives.WriteUInt32BigEndian(body.AsSpan(4), identification);
        payload.CopyTo(body, 8);
        return new MobileIpv6Packet { Source = source ?? s_source, Destination = s_destination, Protocol = IpProtocol.Fragment, Payload = body }.ToArray();
    }

    [Fact]
    public void Fragments_in_any_order_and_with_copies_make_the_packet_they_were_cut_from()
    {
        for (var seed = 0; seed < 200; seed++)
        {
            var random = new Random(seed);
            var packet = Packet(random.Next(600, 9000), seed);
            var pieces = Cut(packet, random.Next(100, 1400), (uint)seed);
            if (pieces.Count > 100)
            {
                continue;
            }

            pieces.AddRange(pieces.Where(_ => random.Next(4) == 0).ToList());
            random.Shuffle(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(pieces));
            var reassembler = new Ipv6Reassembler();
            byte[]? whole = null;
            foreach (var piece in pieces)
            {
                var outcome = reassembler.Add(piece, s_now, out var made);
                if (outcome == ReassemblyOutcome.Complete)
                {
                    whole = made;
                    break;
                }

                Assert.Equal(ReassemblyOutcome.Waiting, outcome);
            }

            Assert.Equal(packet, whole);
            Assert.Equal((0, 0), (reassembler.Count, reassembler.Octets));
        }
    }

    [Fact]
    public void What_is_no_fragment_passes_and_one_that_is_all_of_it_loses_its_header()
    {
        var reassembler = new Ipv6Reassembler();
        var packet = Packet(100);
        Assert.Equal(ReassemblyOutcome.NotFragment, reassembler.Add(packet, s_now, out _));

        // RFC 6946: beside one that waits under the same number.
        Assert.Equal(ReassemblyOutcome.Waiting, reassembler.Add(Piece(0, true, new byte[16]), s_now, out _));
        Assert.Equal(ReassemblyOutcome.Complete, reassembler.Add(Piece(0, false, [1, 2, 3, 4, 5, 6, 7, 8, 9]), s_now, out var whole));
        Assert.Equal((IpProtocol.Udp, 49), (whole[6], whole.Length));
        Assert.Equal(1, reassembler.Count);
    }

    [Fact]
    public void Headers_before_the_fragment_header_stay_and_name_what_follows()
    {
        var inner = new MobileIpv6Packet { Source = s_source, Destination = s_destination, RoutingHomeAddress = s_source, Protocol = IpProtocol.Fragment, Payload = Piece(0, true, new byte[16]).AsSpan(40).ToArray() };
        var last = inner with { Payload = Piece(16, false, [9]).AsSpan(40).ToArray() };
        var reassembler = new Ipv6Reassembler();
        Assert.Equal(ReassemblyOutcome.Waiting, reassembler.Add(last.ToArray(), s_now, out _));
        Assert.Equal(ReassemblyOutcome.Complete, reassembler.Add(inner.ToArray(), s_now, out var whole));
        Assert.True(MobileIpv6Packet.TryParse(whole, out var read, out _));
        Assert.Equal((s_source, IpProtocol.Udp, 17), (read.RoutingHomeAddress, read.Protocol, read.Payload.Length));
    }

    [Fact]
    public void An_overlap_ends_its_packet_and_what_still_comes_of_it()
    {
        var reassembler = new Ipv6Reassembler();
        Assert.Equal(ReassemblyOutcome.Waiting, reassembler.Add(Piece(0, true, new byte[64]), s_now, out _));
        Assert.Equal(ReassemblyOutcome.Refused, reassembler.Add(Piece(56, false, new byte[64]), s_now, out _));
        Assert.Equal(ReassemblyOutcome.Refused, reassembler.Add(Piece(64, false, new byte[8]), s_now, out _));
        Assert.Equal(0, reassembler.Octets);

        // The same number means another packet when the time is over.
        var later = s_now + TimeSpan.FromSeconds(60);
        Assert.Equal(ReassemblyOutcome.Waiting, reassembler.Add(Piece(0, true, new byte[64]), later, out _));
        Assert.Equal(ReassemblyOutcome.Complete, reassembler.Add(Piece(64, false, new byte[8]), later, out _));
    }

    [Theory]
    [InlineData(0, true, 12)]
    [InlineData(65_528, false, 16)]
    [InlineData(0, true, 0)]
    public void A_fragment_that_can_belong_to_no_packet_is_refused(int offset, bool more, int length)
    {
        var reassembler = new Ipv6Reassembler();
        Assert.Equal(ReassemblyOutcome.Refused, reassembler.Add(Piece(offset, more, new byte[length]), s_now, out _));
        Assert.Equal(0, reassembler.Count);
    }

    [Fact]
    public void Two_ends_or_something_behind_the_end_are_no_packet()
    {
        var reassembler = new Ipv6Reassembler();
        Assert.Equal(ReassemblyOutcome.Waiting, reassembler.Add(Piece(64, false, new byte[8]), s_now, out _));
        Assert.Equal(ReassemblyOutcome.Refused, reassembler.Add(Piece(72, true, new byte[8]), s_now, out _));
        Assert.Equal(ReassemblyOutcome.Waiting, reassembler.Add(Piece(72, true, new byte[8], 8), s_now, out _));
        Assert.Equal(ReassemblyOutcome.Refused, reassembler.Add(Piece(64, false, new byte[8], 8), s_now, out _));
    }

    [Fact]
    public void Packets_octets_sources_and_time_are_bounded()
    {
        var reassembler = new Ipv6Reassembler(new ReassemblyLimits { Datagrams = 8, DatagramsPerSource = 4, Octets = 4096, Fragments = 4 });
        for (uint i = 0; i < 4; i++)
        {
            Assert.Equal(ReassemblyOutcome.Waiting, reassembler.Add(Piece(8, true, new byte[8], i), s_now, out _));
        }

        Assert.Equal(ReassemblyOutcome.Refused, reassembler.Add(Piece(8, true, new byte[8], 9), s_now, out _));
        for (uint i = 0; i < 20; i++)
        {
            Assert.Equal(ReassemblyOutcome.Waiting, reassembler.Add(Piece(8, true, new byte[800], i, IPAddress.Parse($"2001:db8:d::{i + 1:x}")), s_now, out _));
            Assert.InRange(reassembler.Count, 1, 8);
            Assert.InRange(reassembler.Octets, 0, 4096);
        }

        var many = new Ipv6Reassembler(new ReassemblyLimits { Fragments = 4 });
        for (var i = 0; i < 4; i++)
        {
            Assert.Equal(ReassemblyOutcome.Waiting, many.Add(Piece(16 * i, true, new byte[8]), s_now, out _));
        }

        Assert.Equal(ReassemblyOutcome.Refused, many.Add(Piece(200, true, new byte[8]), s_now, out _));
        Assert.Equal(ReassemblyOutcome.Waiting, many.Add(Piece(8, true, new byte[8], 99), s_now + TimeSpan.FromSeconds(61), out _));
        Assert.Equal(1, many.Count);
    }

    [Fact]
    public void A_congestion_mark_on_one_fragment_marks_the_whole_or_ends_it()
    {
        Assert.Equal(3, Mixed(2, 3) is { } marked ? marked[1] >> 4 & 3 : -1);
        Assert.Equal(2, Mixed(2, 2) is { } clean ? clean[1] >> 4 & 3 : -1);
        Assert.Null(Mixed(0, 3));

        static byte[]? Mixed(byte first, byte second)
        {
            var packet = Packet(1000, trafficClass: first);
            var pieces = Cut(packet);
            IPv6Header.RewriteTrafficClass(pieces[1], second);
            var reassembler = new Ipv6Reassembler();
            Assert.Equal(ReassemblyOutcome.Waiting, reassembler.Add(pieces[0], s_now, out _));
            return reassembler.Add(pieces[1], s_now, out var whole) == ReassemblyOutcome.Complete ? whole : null;
        }
    }
}
