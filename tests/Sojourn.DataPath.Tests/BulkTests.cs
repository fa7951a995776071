using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Sojourn.DataPath.Netlink;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Xunit;

namespace Sojourn.DataPath.Tests;

/// <summary>Bulk through two packet paths: long segments on both sides of them, many datagrams as one between them.</summary>
[Collection(nameof(Measurements))]
public class BulkTests
{
    [Theory]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, true, false, true)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, true, true, true)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes256Gcm16, true, false, false)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.ChaCha20Poly1305, false, false, true)]
    [InlineData(SecurityType.Ah, IpsecAlgorithm.HmacSha256, false, true, true)]
    [InlineData(SecurityType.EncapsulationOnly, IpsecAlgorithm.None, false, false, true)]
    public void Everything_arrives_whole_over_links_with_and_without_offloads(SecurityType type, IpsecAlgorithm algorithm, bool udp, bool inner6, bool offloads)
    {
        using var pair = new GatewayPair(offloads: offloads);
        pair.Connect(type, algorithm, udp, inner6: inner6);
        using var capture = new PacketCapture(pair.B, "eth0");
        Transfer(pair, inner6, 20_000_000);

        // The last hop had long segments where it could: they were put together again behind the tunnel.
        Assert.True(!offloads || capture.Packets.Any(packet => packet.Length > 3000), pair.Describe());
        Assert.True(offloads || capture.Packets.All(packet => packet.Length <= 1500), pair.Describe());
        var path = Assert.Single(pair.PathB.Report().Paths);
        Assert.Empty(path.Drops);
        Assert.Equal(0, GatewayPair.Counter(pair.PathA, "datapath.send_failed") + GatewayPair.Counter(pair.PathB, "datapath.tun_failed"));
    }

    [Fact]
    public void Encapsulated_packets_leave_many_at_a_time_and_each_fits_the_path()
    {
        using var pair = new GatewayPair(offloads: true);
        pair.Connect(SecurityType.Esp, udp: true);
        using var capture = new PacketCapture(pair.Core, "west");
        Transfer(pair, inner6: false, 5_000_000);
        var longest = capture.Packets.Max(packet => packet.Length);
        Assert.True(longest > 10_000, $"the longest is {longest}");
        Assert.Equal(0, GatewayPair.Counter(pair.PathA, "datapath.send_too_long"));

        // Every one of them carries DF, and the numbers of the association count on without a gap.
        Assert.All(capture.Packets.Where(packet => packet[9] == 17), packet => Assert.Equal(0x40, packet[6] & 0x40));
        Assert.Equal(pair.PathA.Report().Paths[0].PacketsOut, (long)pair.PathA.Report().Paths[0].Outbound!.Sequence);
    }

    [Fact]
    public void A_packet_costs_the_collector_nothing()
    {
        using var pair = new GatewayPair(offloads: true);
        pair.Connect(SecurityType.Esp, udp: true);
        Transfer(pair, inner6: false, 20_000_000);
        var packets = Packets();
        var before = GC.GetTotalAllocatedBytes(precise: true);
        Transfer(pair, inner6: false, 40_000_000);
        var allocated = GC.GetTotalAllocatedBytes(precise: true) - before - 40_000_000;
        var carried = Packets() - packets;

        // The transfer itself and the housekeeping of half a second allocate something; a packet that allocated an object would be 24 octets at least.
        Assert.True(carried > 50_000 && allocated < carried * 8, $"{allocated} octets for {carried} packets");

        long Packets() => pair.PathA.Report().Paths.Concat(pair.PathB.Report().Paths).Sum(path => path.PacketsIn + path.PacketsOut);
    }

    private static void Transfer(GatewayPair pair, bool inner6, int octets)
    {
        var family = inner6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;
        var data = RandomNumberGenerator.GetBytes(octets);
        using var listener = pair.B.Run(() =>
        {
            var socket = new Socket(family, SocketType.Stream, ProtocolType.Tcp);
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            socket.Bind(new IPEndPoint(inner6 ? IPAddress.IPv6Any : IPAddress.Any, 5001));
            socket.Listen(1);
            return socket;
        });
        byte[]? received = null;
        var receiver = new Thread(() =>
        {
            using var connection = listener.Accept();
            using var stream = new NetworkStream(connection);
            received = SHA256.HashData(stream);
        })
        { IsBackground = true };
        receiver.Start();
        using (var sender = pair.A.Run(() => new Socket(family, SocketType.Stream, ProtocolType.Tcp)))
        {
            sender.Connect(IPAddress.Parse(inner6 ? "2001:db8:2::2" : "10.2.0.2"), 5001);
            for (var at = 0; at < data.Length;)
            {
                at += sender.Send(data.AsSpan(at));
            }

            sender.Shutdown(SocketShutdown.Send);
            Assert.True(receiver.Join(60_000), "the transfer did not end");
        }

        Assert.Equal(SHA256.HashData(data), received);
    }
}
