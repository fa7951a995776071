using System.Buffers.Binary;
using System.Net;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Tcp;
using Xunit;
using static Sojourn.Engine.Tests.Terminal.TerminalWorld;

namespace Sojourn.Engine.Tests.Terminal;

/// <summary>TCP segments longer than the path, which stand for several packets (<see cref="Segmentation"/>).</summary>
public class LongSegmentTests
{
    private const int Size = 1000, Octets = 3500;

    private static readonly IPAddress s_host4 = IPAddress.Parse("198.18.0.1");

    private static byte[] Tcp4(IPAddress destination)
    {
        var packet = new byte[IPv4Header.MinimumLength + TcpHeader.MinimumLength + Octets];
        var segment = packet.AsSpan(IPv4Header.MinimumLength);
        new Random(7).NextBytes(segment[TcpHeader.MinimumLength..]);
        (segment[12], segment[13]) = (0x50, (byte)TcpFlags.Ack);
        var (source, target) = (s_host4.GetAddressBytes(), destination.GetAddressBytes());
        IPv4Header.Write(packet, 0, packet.Length, 1, IPv4Header.DontFragmentFlag, 64, IpProtocol.Tcp, source, target);
        BinaryPrimitives.WriteUInt16BigEndian(segment[16..], InternetChecksum.Finish(InternetChecksum.Add(InternetChecksum.PseudoHeader(source, target, IpProtocol.Tcp, segment.Length), segment)));
        return packet;
    }

    /// <summary>The virtual address that the correspondent has once it has been heard.</summary>
    private static IPAddress HearPeer(TerminalWorld world)
    {
        world.Answer();
        world.Run(TimeSpan.FromSeconds(1));
        Assert.True(IPv4Header.TryParse(Assert.Single(world.ToApplications), out var heard, out _));
        return heard.SourceAddress;
    }

    private static bool IsRight(ReadOnlySpan<byte> packet) =>
        IPv6Header.TryParse(packet, out var ip, out _) && TcpHeader.TryParse(ip.Payload, out var tcp, out _) && tcp.ChecksumIsRight(ip.Source, ip.Destination);

    [Fact]
    public void Through_the_tunnel_it_goes_in_packets_that_fit()
    {
        var world = GuestStackTests.Laboratory(10000);
        var sent = Tcp4(HearPeer(world));
        world.Tell(new HostPacketSent(sent) { SegmentSize = Size });
        world.Run(TimeSpan.FromSeconds(1));

        Assert.Equal(4, world.ToPeer.Count);
        Assert.All(world.ToPeer, packet => Assert.True(packet.Length <= IPv6Header.Length + TcpHeader.MinimumLength + Size && IsRight(packet)));
        Assert.Equal(sent[(IPv4Header.MinimumLength + TcpHeader.MinimumLength)..], world.ToPeer.SelectMany(p => p[(IPv6Header.Length + TcpHeader.MinimumLength)..]));

        // It is the link that cuts it, with the tunnel's header in front.
        Assert.Equal(Size, Assert.Single(world.Effects.OfType<SendIpv6Packet>(), e => e.SegmentSize > 0).SegmentSize);
    }

    [Fact]
    public void One_whose_packets_are_too_long_tells_the_host_so()
    {
        var world = GuestStackTests.Laboratory(10000);
        var peer = HearPeer(world);
        world.ToApplications.Clear();
        world.Tell(new HostPacketSent(Tcp4(peer)) { SegmentSize = 1480 });
        world.Run(TimeSpan.FromSeconds(1));

        Assert.All(world.ToPeer, packet => Assert.True(packet.Length <= 1460));
        Assert.NotEmpty(world.ToApplications);
        Assert.All(world.ToApplications, packet => Assert.True(IPv4Header.TryParse(packet, out var ip, out _) && ip.Protocol == IpProtocol.Icmp && ip.Payload is [3, 4, ..]));
    }

    [Fact]
    public void At_home_it_stays_whole_both_ways()
    {
        var world = GuestStackTests.Laboratory(10000);
        var peer = HearPeer(world);
        world.Tell(new LinkChanged(Wlan, false));
        world.Attach(Cell, "2001:db8:a:7::/64");
        world.Run(TimeSpan.FromSeconds(3));

        world.Tell(new HostPacketSent(Tcp4(peer)) { SegmentSize = Size });
        world.Run(TimeSpan.FromSeconds(1));
        var sent = Assert.Single(world.Effects.OfType<SendIpv6Packet>(), e => e.SegmentSize > 0);
        Assert.Equal((Size, IPv6Header.Length + TcpHeader.MinimumLength + Octets), (sent.SegmentSize, sent.Packet.Length));
        Assert.True(IsRight(sent.Packet.Span));

        // The same octets back.
        var back = sent.Packet.ToArray();
        sent.Packet.Span.Slice(8, 16).CopyTo(back.AsSpan(24));
        sent.Packet.Span.Slice(24, 16).CopyTo(back.AsSpan(8));
        world.Tell(new Ipv6PacketReceived(back, Cell, RouterLink) { SegmentSize = Size });
        var taken = Assert.Single(world.Effects.OfType<DeliverToHost>(), e => e.SegmentSize > 0);
        Assert.True(IPv4Header.TryParse(taken.Packet.Span, out var ip, out _) && TcpHeader.TryParse(ip.Payload, out var tcp, out _) && tcp.ChecksumIsRight(ip.Source, ip.Destination));
        Assert.Equal((Size, IPv4Header.MinimumLength + TcpHeader.MinimumLength + Octets), (taken.SegmentSize, taken.Packet.Length));
    }
}
