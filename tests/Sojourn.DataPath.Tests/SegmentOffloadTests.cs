using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Interception;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Tcp;
using Sojourn.Wire.Udp;
using Xunit;

namespace Sojourn.DataPath.Tests;

/// <summary>Segments and checksums that the kernel leaves to devices, at the link and at the host's device of a terminal.</summary>
public sealed class SegmentOffloadTests : IDisposable
{
    private const int Size = 1000, Octets = 3500;

    private static readonly IPAddress s_near = IPAddress.Parse("2001:db8::1"), s_far = IPAddress.Parse("2001:db8::2"), s_home = IPAddress.Parse("2001:db8:1::1");
    private static readonly LinkAddress s_nearLink = new([2, 0, 0, 0, 0, 1]), s_farLink = new([2, 0, 0, 0, 0, 2]);

    private readonly TestNetwork _network = new();
    private readonly NetworkNamespace _terminal, _router;

    public SegmentOffloadTests()
    {
        (_terminal, _router) = (_network.Host("mn"), _network.Host("ar"));
        using (var route = Rtnetlink.Open(_terminal))
        {
            // As the kernel makes it: checksums are left out and segments not cut between the two ends.
            route.CreateVeth("wlan", "access", null, _router);
            route.SetLinkAddress("wlan", s_nearLink);
            route.SetUp("wlan");
        }

        using var router = Rtnetlink.Open(_router);
        router.SetLinkAddress("access", s_farLink);
        router.SetUp("access");
        router.AddAddress("access", s_far, 64, detectDuplicates: false);
        router.SetNeighbour("access", s_near, s_nearLink);
    }

    public void Dispose() => _network.Dispose();

    private static byte[] Tcp(IPAddress source, IPAddress destination)
    {
        var packet = new byte[IPv6Header.Length + TcpHeader.MinimumLength + Octets];
        var segment = packet.AsSpan(IPv6Header.Length);
        new Random(8).NextBytes(segment[TcpHeader.MinimumLength..]);
        (segment[12], segment[13]) = (0x50, (byte)TcpFlags.Ack);
        var (from, to) = (source.GetAddressBytes(), destination.GetAddressBytes());
        BinaryPrimitives.WriteUInt16BigEndian(segment[16..], InternetChecksum.Finish(InternetChecksum.Add(InternetChecksum.PseudoHeader(from, to, IpProtocol.Tcp, segment.Length), segment)));
        IPv6Header.Write(packet, 0, 0, segment.Length, IpProtocol.Tcp, 64, from, to);
        return packet;
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void On_a_link_that_cuts_nothing_a_long_segment_is_packets(bool tunnel)
    {
        _terminal.Run(() => Ethtool.DisableOffloads("wlan"));
        _router.Run(() => Ethtool.DisableOffloads("access"));
        using var capture = new PacketCapture(_router, "access");
        using var link = _terminal.Run(() => new AccessLinkSocket("wlan", (_, _, _) => { }));
        var sent = Tcp(s_near, s_far);
        if (tunnel)
        {
            var outer = new byte[IPv6Header.Length + sent.Length];
            IPv6Header.Write(outer, 0, 0, sent.Length, IpProtocol.IPv6, 64, s_near.GetAddressBytes(), s_far.GetAddressBytes());
            sent.CopyTo(outer, IPv6Header.Length);
            sent = outer;
        }

        Assert.True(link.Send(s_farLink, sent, Size));
        TestNetwork.WaitFor(() => capture.Packets.Count(p => Segmentation.TryFind(p, out _, out _, out var protocol) && protocol == IpProtocol.Tcp) == 4, "four packets");
        foreach (var packet in capture.Packets.Where(p => Segmentation.TryFind(p, out _, out _, out var protocol) && protocol == IpProtocol.Tcp))
        {
            Assert.True(IPv6Header.TryParse(packet.AsSpan(tunnel ? IPv6Header.Length : 0), out var ip, out _) && TcpHeader.TryParse(ip.Payload, out var tcp, out _)
                && tcp.ChecksumIsRight(ip.Source, ip.Destination) && tcp.Payload.Length <= Size);
        }
    }

    [Fact]
    public void A_checksum_that_the_sender_left_out_is_there_when_a_packet_is_handed_over()
    {
        var heard = new ConcurrentQueue<byte[]>();
        using var link = _terminal.Run(() => new AccessLinkSocket("wlan", (source, packet, _) => heard.Enqueue(packet.ToArray())));
        using var socket = _router.Run(() => new Socket(AddressFamily.InterNetworkV6, SocketType.Dgram, ProtocolType.Udp));
        socket.SendTo(new byte[700], new IPEndPoint(s_near, 9));
        TestNetwork.WaitFor(() => heard.Any(IsUdp), "a datagram");
        Assert.True(ChecksumIsRight(heard.First(IsUdp)));
    }

    [Fact]
    public void The_host_s_device_hands_over_right_checksums_and_takes_long_segments()
    {
        var sent = new ConcurrentQueue<byte[]>();
        using var device = _terminal.Run(() => new HostDevice("mip0", 1400, (packet, _) => sent.Enqueue(packet.ToArray())));
        device.Configure(s_home, null);
        using var socket = _terminal.Run(() => new Socket(AddressFamily.InterNetworkV6, SocketType.Dgram, ProtocolType.Udp));
        socket.SendTo(new byte[700], new IPEndPoint(s_far, 9));
        TestNetwork.WaitFor(() => sent.Any(IsUdp), "a datagram");
        Assert.True(ChecksumIsRight(sent.First(IsUdp)));

        using var capture = new PacketCapture(_terminal, "mip0");
        Assert.True(device.Deliver(Tcp(s_far, s_home), Size));
        TestNetwork.WaitFor(() => capture.Packets.Any(p => p[6] == IpProtocol.Tcp), "the segment");
        Assert.Equal(IPv6Header.Length + TcpHeader.MinimumLength + Octets, capture.Packets.First(p => p[6] == IpProtocol.Tcp).Length);
    }

    private static bool IsUdp(byte[] packet) => packet[0] >> 4 == 6 && packet[6] == IpProtocol.Udp;

    private static bool ChecksumIsRight(byte[] packet) =>
        IPv6Header.TryParse(packet, out var ip, out _) && UdpHeader.TryParse(ip.Payload, out var udp, out _) && udp.Checksum != 0 && udp.ChecksumIsRight(ip.Source, ip.Destination);
}
