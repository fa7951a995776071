using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Netlink;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Wire.Ip;
using Xunit;

namespace Sojourn.DataPath.Tests;

public class PacketPathTests
{
    [Theory]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, false, false, false, 50)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes256CbcHmacSha256, true, false, false, 17)]
    [InlineData(SecurityType.Ah, IpsecAlgorithm.HmacSha256, false, false, false, 51)]
    [InlineData(SecurityType.EncapsulationOnly, IpsecAlgorithm.None, false, false, false, 4)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.ChaCha20Poly1305, false, true, false, 50)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, true, true, true, 17)]
    [InlineData(SecurityType.Ah, IpsecAlgorithm.Aes128Gmac, false, true, true, 51)]
    [InlineData(SecurityType.EncapsulationOnly, IpsecAlgorithm.None, false, false, true, 41)]
    [Trait("Row", "NV-A23")]
    [Trait("Row", "S204")]
    [Trait("Row", "M7")]
    public void Hosts_reach_each_other_through_a_path_and_the_core_sees_only_its_protocol(
        SecurityType type, IpsecAlgorithm algorithm, bool udp, bool outer6, bool inner6, byte protocol)
    {
        using var pair = new GatewayPair();
        pair.Connect(type, algorithm, udp, outer6: outer6, inner6: inner6);
        using var capture = new PacketCapture(pair.Core, "west");
        using var farCapture = new PacketCapture(pair.Core, "east");
        var (status, text) = TestNetwork.Exec(pair.A, "ping", "-c5", "-i0.05", "-W2", "-p", "50616e6f70746573", inner6 ? "2001:db8:2::2" : "10.2.0.2");
        Assert.True(status == 0 && text.Contains(" 0% packet loss"), text + pair.Describe());

        TestNetwork.WaitFor(() => capture.Packets.Count >= 5 && farCapture.Packets.Count >= 5, "the captures");
        var marker = "Panoptes"u8.ToArray();
        foreach (var packet in capture.Packets.Concat(farCapture.Packets))
        {
            Assert.Equal(protocol, PacketCapture.ProtocolOf(packet));
            if (type == SecurityType.Esp)
            {
                Assert.False(PacketCapture.Contains(packet, marker));
            }
        }

        Assert.Equal(5, capture.Packets.Count(packet => PacketCapture.ProtocolOf(packet) == protocol));
        Assert.Equal(5, farCapture.Packets.Count(packet => PacketCapture.ProtocolOf(packet) == protocol));
        if (type != SecurityType.Esp)
        {
            Assert.Contains(capture.Packets, packet => PacketCapture.Contains(packet, marker));
        }

        var report = Assert.Single(pair.PathA.Report().Paths);
        Assert.Equal((5, 5), (report.PacketsOut, report.PacketsIn));
        Assert.Contains(pair.SignalsA, signal => signal.Signal == PathSignal.FirstInbound);
    }

    [Theory]
    [InlineData(SecurityType.Esp)]
    [InlineData(SecurityType.Ah)]
    [InlineData(SecurityType.EncapsulationOnly)]
    [Trait("Row", "NV-A33")]
    public void A_tcp_transfer_arrives_whole_although_the_core_carries_only_1400_octets(SecurityType type)
    {
        using var pair = new GatewayPair(coreMtu: 1400);
        pair.Connect(type, type == SecurityType.Ah ? IpsecAlgorithm.HmacSha256 : IpsecAlgorithm.Aes128Gcm16);
        pair.Transfer(3_000_000);
    }

    [Theory]
    [InlineData(SecurityType.Esp, 1446)]
    [InlineData(SecurityType.Ah, 1452)]
    [InlineData(SecurityType.EncapsulationOnly, 1480)]
    [Trait("Row", "NV-A33")]
    [Trait("Row", "S200")]
    public void A_1500_octet_packet_is_answered_with_the_right_size_or_carried_in_fragments(SecurityType type, int innerMtu)
    {
        using var pair = new GatewayPair();
        pair.Connect(type, type == SecurityType.Ah ? IpsecAlgorithm.HmacSha256 : IpsecAlgorithm.Aes128Gcm16);
        var refused = TestNetwork.Exec(pair.A, "ping", "-c1", "-W2", "-M", "do", "-s", "1472", "10.2.0.2").Output;
        Assert.Contains($"Frag needed and DF set (mtu = {innerMtu})", refused);
        Assert.Equal(innerMtu, pair.PathA.Report().Paths[0].InnerMtu);
        // The sender's kernel has learned the size; the largest packet that fits passes with DF.
        Assert.Equal(0, TestNetwork.Exec(pair.A, "ping", "-c1", "-W2", "-M", "do", "-s", $"{innerMtu - 28}", "10.2.0.2").Status);
        var carried = TestNetwork.Exec(pair.B, "ping", "-c3", "-i0.05", "-W2", "-M", "dont", "-s", "1472", "10.1.0.2");
        Assert.True(carried.Output.Contains(" 0% packet loss"), carried.Output);
    }

    [Theory]
    [InlineData(SecurityType.Esp)]
    [InlineData(SecurityType.EncapsulationOnly)]
    [Trait("Row", "NV-A33")]
    public void A_router_that_wants_smaller_outer_packets_lowers_the_path_mtu(SecurityType type)
    {
        using var pair = new GatewayPair(coreMtu: 1400);
        pair.Connect(type);
        var before = pair.PathA.Report().Paths[0].InnerMtu;
        TestNetwork.Exec(pair.A, "ping", "-c1", "-W1", "-M", "do", "-s", $"{before - 28}", "10.2.0.2");
        TestNetwork.WaitFor(() => pair.PathA.Report().Paths[0].OuterMtu == 1400, "the core router's message");
        var refused = TestNetwork.Exec(pair.A, "ping", "-c1", "-W2", "-M", "do", "-s", $"{before - 28}", "10.2.0.2").Output;
        Assert.Contains($"mtu = {pair.PathA.Report().Paths[0].InnerMtu}", refused);
        Assert.Equal(1, GatewayPair.Counter(pair.PathA, "datapath.pmtu_learned"));
    }

    [Theory]
    [InlineData((byte)46)]
    [InlineData(null)]
    [Trait("Row", "NV-A24")]
    [Trait("Row", "S203")]
    [Trait("Row", "S204")]
    public void The_mark_is_on_inner_and_outer_header_and_congestion_marks_of_the_core_survive(byte? mark)
    {
        using var pair = new GatewayPair(forwarding: false);
        pair.Connect(SecurityType.Esp, dscp: mark);
        using var west = new PacketCapture(pair.Core, "west");
        using var behind = new PacketCapture(pair.B, "eth0");
        using var sender = Udp(pair.A);
        sender.SetSocketOption(SocketOptionLevel.IP, SocketOptionName.TypeOfService, (10 << 2) | Ecn.Capable0);
        sender.SendTo("mark"u8, new IPEndPoint(IPAddress.Parse("10.2.0.2"), 9));
        TestNetwork.WaitFor(() => !west.Packets.IsEmpty, "the outer packet");
        var outer = west.Packets.First();
        var dscp = mark ?? 10;
        Assert.Equal((dscp << 2) | Ecn.Capable0, outer[1]);

        // The core marks congestion on its way; the inner header has to say so at the far end (RFC 6040).
        IpPacket.RewriteTrafficClass(outer, (byte)(outer[1] | Ecn.CongestionExperienced));
        Inject(pair.Core, outer);
        TestNetwork.WaitFor(() => behind.Packets.Any(packet => PacketCapture.Contains(packet, "mark"u8)), "the inner packet");
        Assert.Equal((dscp << 2) | Ecn.CongestionExperienced, behind.Packets.First(packet => PacketCapture.Contains(packet, "mark"u8))[1]);
    }

    [Theory]
    [InlineData(SecurityType.Esp)]
    [InlineData(SecurityType.Ah)]
    [Trait("Row", "NV-A33")]
    public void A_replayed_and_a_changed_packet_are_dropped_and_counted(SecurityType type)
    {
        using var pair = new GatewayPair(forwarding: false);
        pair.Connect(type, type == SecurityType.Ah ? IpsecAlgorithm.HmacSha256 : IpsecAlgorithm.Aes128Gcm16);
        using var west = new PacketCapture(pair.Core, "west");
        using var behind = new PacketCapture(pair.B, "eth0");
        using var sender = Udp(pair.A);
        sender.SendTo("once"u8, new IPEndPoint(IPAddress.Parse("10.2.0.2"), 9));
        TestNetwork.WaitFor(() => !west.Packets.IsEmpty, "the outer packet");
        var outer = west.Packets.First();
        var changed = outer.ToArray();
        changed[^1] ^= 1;
        Inject(pair.Core, changed);
        TestNetwork.WaitFor(() => GatewayPair.Counter(pair.PathB, "ipsec.bad_icv") == 1, "the changed packet");
        Inject(pair.Core, outer);
        Inject(pair.Core, outer);
        Inject(pair.Core, outer);
        TestNetwork.WaitFor(() => GatewayPair.Counter(pair.PathB, "ipsec.replay") == 2, "the replays");
        Assert.Single(behind.Packets, packet => PacketCapture.Contains(packet, "once"u8));
    }

    [Fact]
    [Trait("Row", "S235")]
    public void A_blocked_path_holds_packets_and_releases_them_when_it_turns_active()
    {
        using var pair = new GatewayPair();
        var (near, far) = GatewayPair.Make(SecurityType.Esp, GatewayPair.NetA, GatewayPair.NetB, GatewayPair.GatewayA, GatewayPair.GatewayB);
        GatewayPair.Install(pair.PathB, far);
        GatewayPair.Install(pair.PathA, near with { State = PathState.Blocked });
        using var west = new PacketCapture(pair.Core, "west");
        using var behind = new PacketCapture(pair.B, "eth0");
        using var sender = Udp(pair.A);
        for (var i = 0; i < 100; i++)
        {
            sender.SendTo([(byte)'h', (byte)'e', (byte)'l', (byte)'d', (byte)i], new IPEndPoint(IPAddress.Parse("10.2.0.2"), 9));
        }

        TestNetwork.WaitFor(() => GatewayPair.Counter(pair.PathA, "datapath.held_dropped") == 36, "the hold to overflow");
        Assert.Contains(pair.SignalsA, signal => signal == new PathSignalled(near.Id, PathSignal.PacketWaiting));
        Assert.Empty(west.Packets);

        GatewayPair.Install(pair.PathA, near);
        TestNetwork.WaitFor(() => behind.Packets.Count(packet => PacketCapture.Contains(packet, "held"u8)) == 64, "the held packets");
        Assert.Equal(Enumerable.Range(36, 64).Select(i => (byte)i), behind.Packets.Where(packet => PacketCapture.Contains(packet, "held"u8)).Select(packet => packet[^1]));
        Assert.All(west.Packets, packet => Assert.Equal(IpProtocol.Esp, PacketCapture.ProtocolOf(packet)));
    }

    [Fact]
    public void Held_packets_expire()
    {
        using var pair = new GatewayPair(new PacketPathOptions { HoldTime = TimeSpan.FromMilliseconds(100) });
        var (near, far) = GatewayPair.Make(SecurityType.Esp, GatewayPair.NetA, GatewayPair.NetB, GatewayPair.GatewayA, GatewayPair.GatewayB);
        GatewayPair.Install(pair.PathA, near with { State = PathState.Blocked });
        TestNetwork.Exec(pair.A, "ping", "-c1", "-W1", "10.2.0.2");
        TestNetwork.WaitFor(() => GatewayPair.Counter(pair.PathA, "datapath.held_expired") == 1, "the packet to expire");
        GatewayPair.Install(pair.PathB, far);
        GatewayPair.Install(pair.PathA, near);
        Assert.Equal(0, GatewayPair.Counter(pair.PathA, "datapath.outer_sent"));
    }

    [Fact]
    [Trait("Row", "S235")]
    public void Nothing_leaves_in_clear_while_paths_change_or_after_a_crash()
    {
        using var pair = new GatewayPair();
        pair.Connect(SecurityType.Esp);
        using var west = new PacketCapture(pair.Core, "west");
        using var ping = TestNetwork.Start(pair.A, "ping", "-c", "200", "-i", "0.005", "-W1", "-q", "10.2.0.2");
        for (var i = 0; i < 40; i++)
        {
            var (near, far) = GatewayPair.Make(SecurityType.Esp, GatewayPair.NetA, GatewayPair.NetB, GatewayPair.GatewayA, GatewayPair.GatewayB, leg: $"{i}", spi: (uint)(0x2000 + (2 * i)));
            var (before, after) = (i == 0 ? "1" : $"{i - 1}", near.Id);
            Assert.Null(pair.PathB.Change([far], [new PathId("test", before)]).Refusal);
            Assert.Null(pair.PathA.Change([near], [new PathId("test", before)]).Refusal);
        }

        ping.WaitForExit();
        Assert.NotEmpty(west.Packets);
        Assert.DoesNotContain(west.Packets, packet => PacketCapture.ProtocolOf(packet) == IpProtocol.Icmp);

        // As after a crash: the TUN interface is gone, the rules stand.
        using (var route = Rtnetlink.Open(pair.Ga))
        {
            route.DeleteLink("sojourn0");
        }

        TestNetwork.WaitFor(() => pair.SignalsA.Any(signal => signal.Signal == PathSignal.InstallFailed), "the loss to be told");
        var (status, text) = TestNetwork.Exec(pair.A, "ping", "-c1", "-W1", "10.2.0.2");
        Assert.True(status != 0 && text.Contains("Unreachable"), text);
        Assert.DoesNotContain(west.Packets, packet => PacketCapture.ProtocolOf(packet) == IpProtocol.Icmp);
    }

    [Fact]
    [Trait("Row", "NV-A19")]
    public void Clean_up_leaves_nothing_and_the_next_life_removes_what_a_crash_left()
    {
        using var network = new TestNetwork();
        NetworkNamespace gateway = network.Host("gw"), access = network.Host("access");
        TestNetwork.Join(gateway, "eth0", "192.0.2.1/24", access, "eth0", "192.0.2.2/24");
        // The kernel adds link-local routes in its own time, when duplicate address detection is done.
        string Everything() => string.Join('\n', Listing().Split('\n').Where(line => !line.Contains("fe80:", StringComparison.Ordinal)));
        string Listing() => TestNetwork.Exec(gateway, "/usr/sbin/ip", "rule").Output + TestNetwork.Exec(gateway, "/usr/sbin/ip", "-6", "rule").Output
            + TestNetwork.Exec(gateway, "/usr/sbin/ip", "route", "show", "table", "all").Output + TestNetwork.Exec(gateway, "/usr/sbin/ip", "-6", "route", "show", "table", "all").Output
            + TestNetwork.Exec(gateway, "/usr/sbin/ip", "neigh", "show", "nud", "permanent").Output + TestNetwork.Exec(gateway, "/usr/sbin/ip", "neigh", "show", "proxy").Output
            + TestNetwork.Exec(gateway, "/usr/sbin/ip", "-4", "addr").Output
            + gateway.Run(() => Sysctl.Read("ipv4", "ip_forward") + Sysctl.Read("ipv4", "conf", "eth0", "rp_filter") + Sysctl.Read("ipv4", "conf", "all", "rp_filter"));
        gateway.Run(() => Sysctl.Write("2", "ipv4", "conf", "eth0", "rp_filter"));
        var before = Everything();
        for (var crash = 0; crash < 2; crash++)
        {
            var path = gateway.Run(() => new UserPacketPath(new PacketPathOptions(), SystemRandomSource.Instance));
            var (near, _) = GatewayPair.Make(SecurityType.Esp, GatewayPair.NetA, GatewayPair.NetB, IPAddress.Parse("192.0.2.1"), IPAddress.Parse("192.0.2.2"));
            GatewayPair.Install(path, near);
            var mac = new LinkAddress([2, 0, 0, 0, 0, 9]);
            Effect[] effects =
            [
                new AddVisitor(IPAddress.Parse("10.9.0.5"), "eth0", mac), new AttractHomeAddress(IPAddress.Parse("192.0.2.77"), "eth0"),
                new AttachHome("eth0", IPAddress.Parse("10.8.0.1"), IPAddress.Parse("192.0.2.2")),
            ];
            foreach (var effect in effects)
            {
                Assert.True(path.Apply(effect, out var refusal));
                Assert.Null(refusal);
            }

            path.Routing.InterceptUdp(IPNetwork.Parse("10.7.0.0/16"), 434, "eth0");
            var during = Everything();
            Assert.Contains("from 10.1.0.0/24 to 10.2.0.0/24 lookup 4340", during);
            Assert.Contains("from 10.9.0.5 iif eth0 lookup 4340", during);
            Assert.Contains("10.9.0.5 dev eth0 table 4341", during);
            Assert.Contains("10.9.0.5 dev eth0 lladdr 02:00:00:00:00:09 PERMANENT", during);
            Assert.Contains("192.0.2.77 dev eth0 proxy", during);
            Assert.Contains("192.0.2.77 dev sojourn0 table 4342", during);
            Assert.Contains("default via 192.0.2.2 dev eth0", during);
            Assert.Contains("to 10.7.0.0/16 iif eth0 ipproto udp dport 434 lookup 4343", during);
            path.Dispose();
            path.Dispose();
            Assert.Equal(before, Everything());

            // What a crash leaves: the same objects with nobody to remove them.
            using var route = Rtnetlink.Open(gateway);
            route.AddRule(new PolicyRule { Priority = 4320, Table = 4340, Source = IPNetwork.Parse("10.1.0.0/24"), Owner = 115 });
            route.SetNeighbour("eth0", IPAddress.Parse("10.9.0.6"), mac, 115);
            route.AddProxyNeighbour("eth0", IPAddress.Parse("192.0.2.78"), 115);
            route.AddAddress("eth0", IPAddress.Parse("10.8.0.2"), 32, owner: 115);
            route.AddRoute(new Route { Destination = IPNetwork.Parse("10.6.0.0/16"), Interface = "eth0", Table = 4341, Protocol = 115 });
        }

        gateway.Run(() => new NodeRouting(new NodeRoutingOptions())).Dispose();
        Assert.Equal(before, Everything());
    }

    internal static Socket Udp(NetworkNamespace host, int port = 0) => host.Run(() =>
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        socket.Bind(new IPEndPoint(IPAddress.Any, port));
        return socket;
    });

    /// <summary>Sends a finished IPv4 packet from a host by its routes.</summary>
    internal static void Inject(NetworkNamespace host, byte[] packet)
    {
        using var sockets = host.Run(() => new OuterSockets(1, ipv6: false));
        Assert.Equal(0, sockets.Send(packet));
    }
}
