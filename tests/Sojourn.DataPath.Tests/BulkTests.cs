using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.DiffServ;
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
        pair.Transfer(20_000_000, inner6);

        // The last hop had long segments where it could: they were put together again behind the tunnel.
        Assert.True(!offloads || capture.Packets.Any(packet => packet.Length > 3000), pair.Describe());
        Assert.True(offloads || capture.Packets.All(packet => packet.Length <= 1500), pair.Describe());
        var path = Assert.Single(pair.PathB.Report().Paths);
        Assert.Empty(path.Drops);
        Assert.Equal(0, GatewayPair.Counter(pair.PathA, "datapath.send_failed") + GatewayPair.Counter(pair.PathB, "datapath.tun_failed"));
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void Encapsulated_packets_leave_many_at_a_time_and_each_fits_the_path(bool outer6, bool inner6)
    {
        using var pair = new GatewayPair(offloads: true);
        pair.Connect(SecurityType.Esp, udp: true, outer6: outer6, inner6: inner6);
        using var inside = new PacketCapture(pair.Ga, "inside");
        using var capture = new PacketCapture(pair.Core, "west");
        pair.Transfer(5_000_000, inner6);
        var outer = capture.Packets.Where(packet => PacketCapture.ProtocolOf(packet) == 17).ToList();
        var longest = outer.Max(packet => packet.Length);
        Assert.True(longest > 10_000, $"the longest is {longest}");
        Assert.Equal(0, GatewayPair.Counter(pair.PathA, "datapath.send_too_long"));

        // Every one of them carries DF, and the numbers of the association count on without a gap.
        Assert.All(outer, packet => Assert.True(outer6 || (packet[6] & 0x40) != 0));
        Assert.Equal(pair.PathA.Report().Paths[0].PacketsOut, (long)pair.PathA.Report().Paths[0].Outbound!.Sequence);

        // The connection's flow label (RFC 6437) is that of its packets in the tunnel; without one there is none.
        if (outer6)
        {
            var source = GatewayPair.GatewayA6.GetAddressBytes();
            var labels = outer.Where(packet => packet.AsSpan(8, 16).SequenceEqual(source)).Select(LabelOf).Distinct().ToList();
            Assert.Equal(inner6 ? inside.Packets.Where(packet => packet[0] >> 4 == 6 && packet[6] == 6 && packet[23] == 2).Select(LabelOf).Distinct().Order() : [0u], labels.Order());
            Assert.True(!inner6 || labels.Exists(label => label != 0));
        }

        static uint LabelOf(byte[] packet) => BinaryPrimitives.ReadUInt32BigEndian(packet) & 0xFFFFF;
    }

    /// <summary>What a program sends in one call by UDP_SEGMENT crosses both packet paths in runs, and its datagrams arrive as they were sent.</summary>
    [Theory]
    [InlineData(true, false)]
    [InlineData(true, true)]
    [InlineData(false, false)]
    public void Datagrams_of_hosts_pass_in_runs(bool udp, bool inner6)
    {
        const int solUdp = 17, udpSegment = 103, size = 1200, runs = 200, perRun = 20, last = 333;
        using var pair = new GatewayPair(offloads: true);
        pair.Connect(SecurityType.Esp, udp: udp, inner6: inner6);
        var family = inner6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;
        using var receiver = pair.B.Run(() => new Socket(family, SocketType.Dgram, ProtocolType.Udp));
        receiver.ReceiveBufferSize = 16 << 20;
        receiver.Bind(new IPEndPoint(inner6 ? IPAddress.IPv6Any : IPAddress.Any, 5002));
        receiver.ReceiveTimeout = 5000;
        using var inside = new PacketCapture(pair.Ga, "inside");
        using var behind = new PacketCapture(pair.B, "eth0");
        using var sender = pair.A.Run(() => new Socket(family, SocketType.Dgram, ProtocolType.Udp));
        sender.SetRawSocketOption(solUdp, udpSegment, BitConverter.GetBytes(size));
        sender.Connect(IPAddress.Parse(inner6 ? "2001:db8:2::2" : "10.2.0.2"), 5002);
        var (run, got) = (new byte[(perRun * size) + last], new byte[2000]);
        for (var i = 0; i < runs; i++)
        {
            new Random(i).NextBytes(run);
            Assert.Equal(run.Length, sender.Send(run));
            for (var at = 0; at < run.Length; at += size)
            {
                var expected = run.AsSpan(at, Math.Min(size, run.Length - at));
                Assert.True(got.AsSpan(0, receiver.Receive(got)).SequenceEqual(expected), $"datagram {at / size} of run {i}");
            }
        }

        Assert.Contains(inside.Packets, packet => packet.Length > 10_000);
        Assert.Contains(behind.Packets, packet => packet.Length > 2 * size);
        Assert.Equal(runs * (perRun + 1), pair.PathA.Report().Paths[0].PacketsOut);
        Assert.Equal(0, GatewayPair.Counter(pair.PathB, "datapath.tun_failed"));
    }

    /// <summary>
    /// Counted by the packet threads themselves and exactly: once everything has been used, not an octet. What a load of some seconds leaves
    /// to the collector is this test's own and small, so the last generation is never collected.
    /// </summary>
    [Theory]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, true, false, false, null)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes256Gcm16, true, true, true, null)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.ChaCha20Poly1305, false, false, false, null)]
    [InlineData(SecurityType.Ah, IpsecAlgorithm.HmacSha256, false, true, true, null)]
    [InlineData(SecurityType.EncapsulationOnly, IpsecAlgorithm.None, false, false, false, null)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, true, false, false, 1_000_000_000L)]
    public void A_load_takes_nothing_from_the_managed_heap_in_the_packet_threads(SecurityType type, IpsecAlgorithm algorithm, bool udp, bool outer6, bool inner6, long? rate)
    {
        using var pair = new GatewayPair(new PacketPathOptions { DiffServ = new DiffServOptions { Rate = rate } }, offloads: true);
        pair.Connect(type, algorithm, udp, outer6: outer6, inner6: inner6);
        Load();
        var (before, packets, collections) = (Allocated(), Packets(), GC.CollectionCount(2));
        Load();
        var carried = Packets() - packets;
        Assert.True(before > 0, "the threads have counted what they began with");
        Assert.True(carried > 20_000, $"only {carried} packets");
        Assert.Equal(0, Allocated() - before);
        Assert.Equal(collections, GC.CollectionCount(2));

        void Load()
        {
            pair.Transfer(15_000_000, inner6);
            Assert.Equal(0, TestNetwork.Exec(pair.A, "ping", "-f", "-q", "-c", "1000", inner6 ? "2001:db8:2::2" : "10.2.0.2").Status);
        }

        long Allocated() => pair.PathA.Allocated + pair.PathB.Allocated;

        long Packets() => new[] { pair.PathA, pair.PathB }.Sum(path => path.Counters["datapath.outer_sent"] + path.Counters["datapath.outer_received"]);
    }
}
