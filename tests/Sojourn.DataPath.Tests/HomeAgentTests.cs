using System.Net;
using Sojourn.DataPath.Interception;
using Sojourn.DataPath.Netlink;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Xunit;

namespace Sojourn.DataPath.Tests;

/// <summary>
/// The spec's company scenario with standing paths:
/// <code>mn 10.9.0.5 -- fa 192.0.2.1 == ha 192.0.2.2 == sgw 192.0.2.3 -- cn 10.2.0.7</code>
/// with the three gateways on one core link, and a home link at the home agent.
/// </summary>
public sealed class HomeAgentTests : IDisposable
{
    private static readonly IPAddress Home = IPAddress.Parse("10.9.0.5");
    private static readonly IPNetwork HomeHost = IPNetwork.Parse("10.9.0.5/32"), Company = IPNetwork.Parse("10.2.0.0/24");
    private static readonly LinkAddress NodeMac = new([2, 0, 0, 0, 0, 9]);

    private readonly TestNetwork _network = new();
    private readonly NetworkNamespace _mn, _fa, _ha, _sgw, _cn, _core, _neighbour;
    private readonly NodeRouting _atMn;
    private readonly UserPacketPath _atFa, _atHa, _atSgw;

    public HomeAgentTests()
    {
        (_mn, _fa, _ha, _sgw) = (_network.Host("mn"), _network.Host("fa"), _network.Host("ha"), _network.Host("sgw"));
        (_cn, _core, _neighbour) = (_network.Host("cn"), _network.Host("core"), _network.Host("neighbour"));
        using (var route = Rtnetlink.Open(_core))
        {
            route.CreateBridge("core");
            route.SetUp("core");
            foreach (var (host, port, address) in ((NetworkNamespace, string, string)[])[(_fa, "p1", "192.0.2.1/24"), (_ha, "p2", "192.0.2.2/24"), (_sgw, "p3", "192.0.2.3/24")])
            {
                TestNetwork.Join(host, "core", address, _core, port, null);
                route.SetMaster(port, "core");
            }
        }

        TestNetwork.Join(_fa, "access", "172.16.0.1/24", _mn, "wlan", null);
        TestNetwork.Join(_sgw, "lan", "10.2.0.1/24", _cn, "eth0", "10.2.0.7/24");
        TestNetwork.Join(_ha, "home", "10.9.0.1/24", _neighbour, "eth0", "10.9.0.2/24");
        GatewayPair.Default(_cn, "10.2.0.1");
        using (var node = Rtnetlink.Open(_mn))
        {
            node.SetLinkAddress("wlan", NodeMac);
        }

        _atMn = _mn.Run(() => new NodeRouting(new NodeRoutingOptions { Forwarding = false }));
        _atMn.Apply(new AttachHome("wlan", Home, IPAddress.Parse("172.16.0.1")));
        _atFa = _fa.Run(() => new UserPacketPath(new PacketPathOptions(), SystemRandomSource.Instance));
        _atHa = _ha.Run(() => new UserPacketPath(new PacketPathOptions(), SystemRandomSource.Instance));
        _atSgw = _sgw.Run(() => new UserPacketPath(new PacketPathOptions(), SystemRandomSource.Instance));
        var fa = IPAddress.Parse("192.0.2.1");
        var ha = IPAddress.Parse("192.0.2.2");
        var (up, down) = GatewayPair.Make(SecurityType.Esp, HomeHost, IPNetwork.Parse("0.0.0.0/0"), fa, ha, leg: "fa-ha");
        var (on, back) = GatewayPair.Make(SecurityType.Esp, HomeHost, Company, ha, IPAddress.Parse("192.0.2.3"), IpsecAlgorithm.Aes256CbcHmacSha256, leg: "ha-sgw");
        GatewayPair.Install(_atFa, up);
        GatewayPair.Install(_atHa, down, on);
        GatewayPair.Install(_atSgw, back);
        Assert.True(_atFa.Apply(new AddVisitor(Home, "access", NodeMac), out _));
        Assert.True(_atHa.Apply(new AttractHomeAddress(Home, "home"), out _));
    }

    public void Dispose()
    {
        _atMn.Dispose();
        _atFa.Dispose();
        _atHa.Dispose();
        _atSgw.Dispose();
        _network.Dispose();
    }

    [Fact]
    [Trait("Row", "NV1.14")]
    [Trait("Row", "NV-A1")]
    [Trait("Row", "S203")]
    [Trait("Row", "G1")]
    public void A_visitor_reaches_the_company_through_two_tunnels_and_the_core_sees_only_esp()
    {
        using var capture = new PacketCapture(_core, "core");
        using var first = new PacketCapture(_core, "p1");
        using var last = new PacketCapture(_core, "p3");
        var up = TestNetwork.Exec(_mn, "ping", "-c3", "-i0.05", "-W2", "10.2.0.7");
        Assert.True(up.Output.Contains(" 0% packet loss"), up.Output);
        var down = TestNetwork.Exec(_cn, "ping", "-c3", "-i0.05", "-W2", "10.9.0.5");
        Assert.True(down.Output.Contains(" 0% packet loss"), down.Output);
        var own = TestNetwork.Exec(_ha, "ping", "-c2", "-i0.05", "-W2", "10.9.0.5");
        Assert.True(own.Output.Contains(" 0% packet loss"), own.Output);
        // 64, less the foreign agent, the home agent between its two tunnels, and the company gateway.
        Assert.Contains("ttl=61", up.Output);
        TestNetwork.WaitFor(() => first.Packets.Count >= 8 && last.Packets.Count >= 6, "the captures");
        Assert.All(first.Packets.Concat(last.Packets).Concat(capture.Packets), packet => Assert.Equal(50, PacketCapture.ProtocolOf(packet)));
        Assert.Equal(12, GatewayPair.Counter(_atHa, "datapath.relayed"));
        Assert.Equal(2, GatewayPair.Counter(_atHa, "datapath.tun_written"));
    }

    [Fact]
    [Trait("Row", "NV-A33")]
    public void Errors_about_packets_between_two_tunnels_reach_the_sender_behind_its_tunnel()
    {
        // HA to SGW with AES-CBC and HMAC carries less than FA to HA with AES-GCM: the packet fits the first tunnel only.
        var refused = TestNetwork.Exec(_mn, "ping", "-c1", "-W2", "-M", "do", "-s", "1418", "10.2.0.7").Output;
        var expected = _atHa.Report().Paths.Single(path => path.Path.Id.Leg == "ha-sgw").InnerMtu;
        Assert.True(expected < 1446);
        Assert.Contains($"Frag needed and DF set (mtu = {expected})", refused);
        Assert.Equal(0, TestNetwork.Exec(_mn, "ping", "-c1", "-W2", "-M", "do", "-s", $"{expected - 28}", "10.2.0.7").Status);

        var expired = TestNetwork.Exec(_mn, "ping", "-c1", "-W2", "-t", "2", "10.2.0.7").Output;
        Assert.Contains("Time to live exceeded", expired);
        Assert.Equal(1, GatewayPair.Counter(_atHa, "datapath.hop_limit"));
    }

    [Fact]
    [Trait("Row", "M1")]
    public void The_home_link_reaches_the_visitor_through_proxy_arp_and_loses_it_when_released()
    {
        Assert.Equal(0, TestNetwork.Exec(_neighbour, "ping", "-c2", "-i0.05", "-W2", "10.9.0.5").Status);
        string homeMac;
        using (var route = Rtnetlink.Open(_ha))
        {
            homeMac = route.Link("home").Address!.Value.ToString();
        }

        Assert.Contains($"10.9.0.5 dev eth0 lladdr {homeMac}", TestNetwork.Exec(_neighbour, "/usr/sbin/ip", "neigh").Output);
        Assert.True(_atHa.Apply(new ReleaseHomeAddress(Home), out _));
        Assert.True(_atFa.Apply(new RemoveVisitor(Home), out _));
        using (var route = Rtnetlink.Open(_neighbour))
        {
            route.RemoveNeighbour("eth0", Home);
        }

        Assert.NotEqual(0, TestNetwork.Exec(_neighbour, "ping", "-c1", "-W1", "10.9.0.5").Status);
    }

    [Fact]
    [Trait("Row", "S235")]
    public void A_visitors_packets_without_a_path_stop_at_the_foreign_agent()
    {
        using var capture = new PacketCapture(_core, "p1");
        Assert.Null(_atFa.Change([], [new PathId("test", "fa-ha")]).Refusal);
        Assert.NotEqual(0, TestNetwork.Exec(_mn, "ping", "-c2", "-i0.05", "-W1", "10.2.0.7").Status);
        Assert.Equal(2, GatewayPair.Counter(_atFa, "datapath.no_path"));
        Assert.Empty(capture.Packets);
    }

    [Fact]
    public void A_gratuitous_arp_moves_the_neighbours_entry_to_the_home_agent()
    {
        var stale = new LinkAddress([2, 0, 0, 0, 0, 0x55]);
        Assert.True(_atHa.Apply(new ReleaseHomeAddress(Home), out _));
        // The neighbour learned the node's own link-layer address while it was at home.
        _neighbour.Run(() => Sysctl.Write("1", "ipv4", "conf", "eth0", "arp_accept"));
        using (var route = Rtnetlink.Open(_ha))
        {
            GratuitousArp.Send(_ha, route.Link("home") with { Address = stale }, Home);
        }

        TestNetwork.WaitFor(() => TestNetwork.Exec(_neighbour, "/usr/sbin/ip", "neigh").Output.Contains("10.9.0.5 dev eth0 lladdr 02:00:00:00:00:55"), "the stale entry");

        // ARP locks a fresh entry for a second (locktime); the announcement is repeated for that among other reasons.
        Assert.True(_atHa.Apply(new AttractHomeAddress(Home, "home"), out _));
        TestNetwork.WaitFor(() => !TestNetwork.Exec(_neighbour, "/usr/sbin/ip", "neigh").Output.Contains("02:00:00:00:00:55"), "the announcement");
    }
}
