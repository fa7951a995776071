using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Wire.Ip;
using Xunit;

namespace Sojourn.DataPath.Tests;

/// <summary>Tunnels without UDP over AF_XDP, and over raw sockets where that cannot be.</summary>
[Collection(nameof(Measurements))]
public class XdpTests
{
    private readonly ConcurrentQueue<EngineEvent> _events = new();

    private PacketPathOptions Options => new() { Outer = OuterTransport.Xdp, Report = _events.Enqueue };

    [Theory]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, false, false, false)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, false, true, true)]
    [InlineData(SecurityType.Esp, IpsecAlgorithm.Aes256Gcm16, true, false, true)]
    [InlineData(SecurityType.Ah, IpsecAlgorithm.HmacSha256, true, true, false)]
    [InlineData(SecurityType.EncapsulationOnly, IpsecAlgorithm.None, false, true, false)]
    public void Everything_arrives_whole_and_in_order(SecurityType type, IpsecAlgorithm algorithm, bool outer6, bool inner6, bool offloads)
    {
        using var pair = new GatewayPair(Options, offloads: offloads);
        Connect(pair, type, algorithm, outer6, inner6);
        var (sent, all) = (Counter(pair.PathA, "xdp_sent"), Counter(pair.PathA, "outer_sent"));
        using (var between = new PacketCapture(pair.Core, "west"))
        {
            pair.Transfer(20_000_000, inner6);
            var numbers = between.Packets.Where(packet => PacketCapture.ProtocolOf(packet) == IpProtocol.Esp && IsFromA(packet))
                .Select(packet => BinaryPrimitives.ReadUInt32BigEndian(packet.AsSpan(outer6 ? 44 : 24))).ToList();
            Assert.True(type != SecurityType.Esp || numbers.Count > 1000, $"{numbers.Count} seen");
            Assert.Equal(numbers.Order(), numbers);
        }

        // All but a packet or two pass there in both directions, at both ends.
        Assert.Empty(Assert.Single(pair.PathB.Report().Paths).Drops);
        foreach (var path in (UserPacketPath[])[pair.PathA, pair.PathB])
        {
            Assert.InRange(Counter(path, "xdp_sent"), (Counter(path, "outer_sent") * 9 / 10) + 1, long.MaxValue);
            Assert.InRange(Counter(path, "xdp_received"), (Counter(path, "outer_received") * 9 / 10) + 1, long.MaxValue);
            Assert.Equal(0, Counter(path, "send_failed") + Counter(path, "tun_failed"));
        }

        Assert.Equal(sent + Counter(pair.PathA, "outer_sent") - all, Counter(pair.PathA, "xdp_sent"));

        bool IsFromA(byte[] packet) => outer6 ? packet.AsSpan(8, 16).SequenceEqual(GatewayPair.GatewayA6.GetAddressBytes()) : packet.AsSpan(12, 4).SequenceEqual(GatewayPair.GatewayA.GetAddressBytes());
    }

    [Fact]
    public void A_load_takes_nothing_from_the_managed_heap_in_the_packet_threads()
    {
        using var pair = new GatewayPair(Options);
        Connect(pair);
        pair.Transfer(15_000_000);
        var (before, frames) = (pair.PathA.Allocated + pair.PathB.Allocated, Counter(pair.PathB, "xdp_received"));
        pair.Transfer(15_000_000);
        Assert.InRange(Counter(pair.PathB, "xdp_received") - frames, 10_000, long.MaxValue);
        Assert.Equal(0, pair.PathA.Allocated + pair.PathB.Allocated - before);
    }

    [Fact]
    public void What_is_for_others_or_no_tunnel_is_the_kernels_and_fragments_still_arrive()
    {
        using var pair = new GatewayPair(Options);
        Connect(pair);
        Ping(pair.Core, "192.0.2.1");
        Ping(pair.Core, "2001:db8:a::1");

        // ESP for a host behind the gateway passes it as any packet does.
        using (var behind = new PacketCapture(pair.A, "eth0"))
        using (var route = Rtnetlink.Open(pair.Core))
        {
            route.AddRoute(new Route { Destination = GatewayPair.NetA, Gateway = GatewayPair.GatewayA });
            Inject(pair.Core, IpProtocol.Esp, "198.51.100.1", "10.1.0.2", new byte[100]);
            TestNetwork.WaitFor(() => behind.Packets.Any(packet => PacketCapture.ProtocolOf(packet) == IpProtocol.Esp), "the packet for another");
        }

        // ESP of nobody's to the gateway itself: whole it comes by AF_XDP, in pieces through the kernel, which puts them together.
        var (frames, packets) = (Counter(pair.PathA, "xdp_received"), Counter(pair.PathA, "outer_received"));
        Inject(pair.Core, IpProtocol.Esp, "198.51.100.1", "192.0.2.1", new byte[1000]);
        TestNetwork.WaitFor(() => Counter(pair.PathA, "xdp_received") == frames + 1, "the whole packet");
        Inject(pair.Core, IpProtocol.Esp, "198.51.100.1", "192.0.2.1", new byte[1000], IPv4Header.MoreFragmentsFlag);
        Inject(pair.Core, IpProtocol.Esp, "198.51.100.1", "192.0.2.1", new byte[200], 1000 / 8);
        TestNetwork.WaitFor(() => Counter(pair.PathA, "outer_received") >= packets + 2, "what was put together from fragments");
        Assert.Equal(frames + 1, Counter(pair.PathA, "xdp_received"));
    }

    [Fact]
    public void It_is_there_while_a_tunnel_stands_and_leaves_nothing()
    {
        using var pair = new GatewayPair(Options);
        Assert.DoesNotContain("xdp", Shown(pair.Ga));
        var (near, far) = GatewayPair.Make(SecurityType.Esp, GatewayPair.NetA, GatewayPair.NetB, GatewayPair.GatewayA, GatewayPair.GatewayB);
        GatewayPair.Install(pair.PathA, near);
        GatewayPair.Install(pair.PathB, far);
        TestNetwork.WaitFor(() => Shown(pair.Ga).Contains("xdp", StringComparison.Ordinal), "the program");
        Assert.Null(pair.PathA.Change([], [near.Id]).Refusal);
        TestNetwork.WaitFor(() => !Shown(pair.Ga).Contains("xdp", StringComparison.Ordinal), "the program to go with the tunnel");
        GatewayPair.Install(pair.PathA, near with { Id = new PathId("test", "2") });
        TestNetwork.WaitFor(() => Shown(pair.Ga).Contains("xdp", StringComparison.Ordinal), "the program again");
        pair.PathA.Dispose();
        Assert.DoesNotContain("xdp", Shown(pair.Ga));

        // One with UDP encapsulation has no use for it.
        pair.RestartA();
        var (encapsulated, _) = GatewayPair.Make(SecurityType.Esp, GatewayPair.NetA, GatewayPair.NetB, GatewayPair.GatewayA, GatewayPair.GatewayB, udp: true);
        GatewayPair.Install(pair.PathA, encapsulated);
        Assert.DoesNotContain("xdp", Shown(pair.Ga));
    }

    [Fact]
    public void Where_an_interface_has_another_program_raw_sockets_carry_and_an_event_says_why()
    {
        using var pair = new GatewayPair(Options);

        // r0 = XDP_PASS; exit.
        using var program = Bpf.LoadXdpProgram([0x00000002_0000_00B7, 0x95]);
        using var attachment = pair.Ga.Run(() =>
        {
            using var route = new Rtnetlink();
            return Bpf.AttachXdp(program, route.Link("outside").Index, Bpf.GenericMode);
        });
        pair.Connect(SecurityType.Esp);
        TestNetwork.WaitFor(() => _events.Any(told => told.Kind == "path.xdp_refused"), "the event");
        pair.Transfer(5_000_000);
        Assert.Equal(0, Counter(pair.PathA, "xdp_sent") + Counter(pair.PathA, "xdp_received"));
        Assert.InRange(Counter(pair.PathB, "xdp_received"), 1000, long.MaxValue);
        var told = Assert.Single(_events, told => told.Kind == "path.xdp_refused");
        Assert.Equal(EventSeverity.Warning, told.Severity);
        Assert.Contains("outside", told.Text);
    }

    [Fact]
    public void A_station_that_changes_its_address_and_a_link_that_goes_down_or_away_are_followed()
    {
        using var pair = new GatewayPair(Options);
        Connect(pair);
        using (var route = Rtnetlink.Open(pair.Core))
        {
            // A gratuitous ARP says so, as a router that takes over sends it.
            pair.Core.Run(() => Sysctl.Write("1", "ipv4", "conf", "west", "arp_notify"));
            route.SetUp("west", up: false);
            route.SetLinkAddress("west", new LinkAddress([2, 0, 0, 0, 7, 7]));
            route.SetUp("west");
        }

        Passes(pair);

        // Another interface of that name.
        using (var route = Rtnetlink.Open(pair.Ga))
        {
            route.DeleteLink("outside");
        }

        TestNetwork.Join(pair.Ga, "outside", "192.0.2.1/30", pair.Core, "west", "192.0.2.2/30");
        GatewayPair.Default(pair.Ga, "192.0.2.2");
        Passes(pair);
    }

    private static long Counter(UserPacketPath path, string name) => GatewayPair.Counter(path, "datapath." + name);

    private static void Connect(GatewayPair pair, SecurityType type = SecurityType.Esp, IpsecAlgorithm algorithm = IpsecAlgorithm.Aes128Gcm16, bool outer6 = false, bool inner6 = false)
    {
        pair.Connect(type, algorithm, outer6: outer6, inner6: inner6);
        Passes(pair, inner6 ? "2001:db8:2::2" : "10.2.0.2");
    }

    /// <summary>Waits until pings pass, and pass by AF_XDP out and in.</summary>
    private static void Passes(GatewayPair pair, string to = "10.2.0.2") => TestNetwork.WaitFor(() =>
    {
        var (sent, received) = (Counter(pair.PathA, "xdp_sent"), Counter(pair.PathA, "xdp_received"));
        return TestNetwork.Exec(pair.A, "ping", "-c1", "-W1", to).Status == 0 && Counter(pair.PathA, "xdp_sent") > sent && Counter(pair.PathA, "xdp_received") > received;
    }, "a ping by AF_XDP", 20_000);

    private static string Shown(NetworkNamespace host) => TestNetwork.Exec(host, "/usr/sbin/ip", "-details", "link", "show", "dev", "outside").Output;

    private static void Ping(NetworkNamespace from, string to)
    {
        var (status, text) = TestNetwork.Exec(from, "ping", "-c1", "-W5", to);
        Assert.True(status == 0, text);
    }

    private static void Inject(NetworkNamespace from, byte protocol, string source, string destination, byte[] payload, ushort flagsAndOffset = 0)
    {
        var packet = new byte[IPv4Header.MinimumLength + payload.Length];
        IPv4Header.Write(packet, 0, packet.Length, 77, flagsAndOffset, 64, protocol, IPAddress.Parse(source).GetAddressBytes(), IPAddress.Parse(destination).GetAddressBytes());
        PacketPathTests.Inject(from, [.. packet[..IPv4Header.MinimumLength], .. payload]);
    }
}
