using System.Net;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Xunit;

namespace Sojourn.DataPath.Tests;

public class NetlinkTests
{
    [Fact]
    public void A_named_namespace_is_seen_by_ordinary_tools_and_goes_again()
    {
        string name;
        using (var network = new TestNetwork())
        {
            var host = network.Host("a");
            name = host.Name;
            Assert.Contains(name, NetworkNamespace.Names);
            var (status, text) = TestNetwork.Exec(host, "/usr/sbin/ip", "netns", "list");
            Assert.Equal(0, status);
            Assert.Contains(name, text);
            Assert.Contains("LOOPBACK,UP", TestNetwork.Exec(host, "/usr/sbin/ip", "-n", name, "link", "show", "lo").Output);
        }

        Assert.DoesNotContain(name, NetworkNamespace.Names);
    }

    [Fact]
    public void A_name_that_is_taken_is_refused_and_the_namespace_stays()
    {
        using var network = new TestNetwork();
        var host = network.Host("a");
        var refused = Assert.Throws<SystemCallException>(() => NetworkNamespace.Create(host.Name));
        Assert.Equal(Libc.EEXIST, refused.Errno);
        Assert.Contains(host.Name, refused.Message);
        Assert.Contains(host.Name, NetworkNamespace.Names);
        Assert.Throws<ArgumentException>(() => NetworkNamespace.Create("../elsewhere"));
    }

    [Fact]
    public void Running_inside_leaves_the_calling_thread_where_it_was()
    {
        using var network = new TestNetwork();
        var host = network.Host("a");
        static string Here() => File.ResolveLinkTarget("/proc/thread-self/ns/net", false)!.Name;
        var before = Here();
        var inside = host.Run(Here);
        Assert.NotEqual(before, inside);
        Assert.Equal(before, Here());
        var thrown = Assert.Throws<InvalidOperationException>(() => host.Run(() => throw new InvalidOperationException("from inside")));
        Assert.Equal("from inside", thrown.Message);
    }

    [Fact]
    public void A_veth_pair_spans_two_namespaces_with_mtu_mac_and_addresses()
    {
        using var network = new TestNetwork();
        NetworkNamespace a = network.Host("a"), b = network.Host("b");
        TestNetwork.Join(a, "left", "192.0.2.1/24", b, "right", "192.0.2.2/24", 1400);
        using var route = Rtnetlink.Open(a);
        var mac = new LinkAddress([2, 0, 0, 0, 0, 0x11]);
        route.SetLinkAddress("left", mac);
        route.AddAddress("left", IPAddress.Parse("2001:db8::1"), 64, detectDuplicates: false);
        var link = route.Link("left");
        Assert.Equal(("veth", true, true, 1400, (LinkAddress?)mac), (link.Kind, link.Up, link.Carrier, link.Mtu, link.Address));
        var shown = TestNetwork.Exec(a, "/usr/sbin/ip", "addr", "show", "left").Output;
        Assert.Contains("02:00:00:00:00:11", shown);
        Assert.Contains("mtu 1400", shown);
        Assert.Contains("inet 192.0.2.1/24 brd 192.0.2.255", shown);
        Assert.Contains("inet6 2001:db8::1/64", shown);
        Assert.Contains(new InterfaceAddress("left", IPAddress.Parse("192.0.2.1"), 24, Permanent: true), route.Addresses());
        Assert.Equal(0, TestNetwork.Exec(a, "ping", "-c1", "-W2", "192.0.2.2").Status);
        Assert.Empty(a.Run(() => Ethtool.EnabledOffloads("left")));

        route.RemoveAddress("left", IPAddress.Parse("192.0.2.1"), 24);
        Assert.DoesNotContain(route.Addresses(), address => address.Address.Equals(IPAddress.Parse("192.0.2.1")));
        route.DeleteLink("left");
        Assert.Null(route.FindLink("left"));
        using var far = Rtnetlink.Open(b);
        Assert.Null(far.FindLink("right"));
    }

    [Fact]
    public void A_link_is_renamed_moved_and_bridged()
    {
        using var network = new TestNetwork();
        NetworkNamespace a = network.Host("a"), b = network.Host("b");
        using var inA = Rtnetlink.Open(a);
        using var inB = Rtnetlink.Open(b);
        inA.CreateVeth("x0", "x1");
        inA.Rename("x1", "moved");
        inA.MoveLink("moved", b);
        Assert.NotNull(inB.FindLink("moved"));
        Assert.Null(inA.FindLink("moved"));
        inA.CreateBridge("br0");
        inA.SetMaster("x0", "br0");
        Assert.Equal(inA.Link("br0").Index, inA.Link("x0").Master);
        inA.SetMaster("x0", null);
        Assert.Equal(0, inA.Link("x0").Master);
    }

    [Fact]
    public void Routes_are_added_replaced_listed_and_removed()
    {
        using var network = new TestNetwork();
        NetworkNamespace a = network.Host("a"), b = network.Host("b");
        TestNetwork.Join(a, "left", "192.0.2.1/24", b, "right", "192.0.2.2/24");
        using var route = Rtnetlink.Open(a);
        var first = new Route { Destination = IPNetwork.Parse("10.9.0.0/16"), Gateway = IPAddress.Parse("192.0.2.2"), Interface = "left", Table = 4711, Metric = 7, Mtu = 1300 };
        route.AddRoute(first);
        Assert.Equal(Libc.EEXIST, Assert.Throws<NetlinkException>(() => route.AddRoute(first)).Errno);
        Assert.Equal(first, Assert.Single(route.Routes(4711)));
        route.ReplaceRoute(first with { Gateway = IPAddress.Parse("192.0.2.3") });
        Assert.Equal(IPAddress.Parse("192.0.2.3"), Assert.Single(route.Routes(4711)).Gateway);
        route.RemoveRoute(first with { Gateway = IPAddress.Parse("192.0.2.3") });
        Assert.Empty(route.Routes(4711));

        // A default router that no address of ours says is on the link, an unreachable and a local prefix, and IPv6.
        route.AddRoute(new Route { Destination = IPNetwork.Parse("0.0.0.0/0"), Gateway = IPAddress.Parse("198.51.100.1"), Interface = "left", OnLink = true });
        route.AddRoute(new Route { Destination = IPNetwork.Parse("10.8.0.0/16"), Type = RouteType.Unreachable });
        route.AddRoute(new Route { Destination = IPNetwork.Parse("10.7.0.0/16"), Type = RouteType.Local, Interface = "lo", Table = Route.LocalTable });
        route.AddRoute(new Route { Destination = IPNetwork.Parse("2001:db8:9::/48"), Interface = "left", Table = 4711 });
        var shown = TestNetwork.Exec(a, "/usr/sbin/ip", "route", "show", "table", "all").Output;
        Assert.Contains("default via 198.51.100.1 dev left proto static onlink", shown);
        Assert.Contains("unreachable 10.8.0.0/16", shown);
        Assert.Contains("local 10.7.0.0/16 dev lo", shown);
        Assert.Equal("left", route.LookUp(IPAddress.Parse("203.0.113.1"))!.Interface);
        Assert.Null(route.LookUp(IPAddress.Parse("10.8.1.1")));
        Assert.Equal(IPNetwork.Parse("2001:db8:9::/48"), Assert.Single(route.Routes(4711)).Destination);
    }

    [Fact]
    public void Rules_select_by_prefix_interface_protocol_and_port()
    {
        using var network = new TestNetwork();
        var a = network.Host("a");
        using var route = Rtnetlink.Open(a);
        PolicyRule[] rules =
        [
            new() { Priority = 900, Table = 4711, Source = IPNetwork.Parse("10.1.0.0/16"), Destination = IPNetwork.Parse("10.2.3.4/32"), Owner = 101 },
            new() { Priority = 901, Table = Route.LocalTable, InboundInterface = "lo", Protocol = 17, DestinationPorts = (434, 434), Owner = 101 },
            new() { Priority = 902, Table = 4711, Source = IPNetwork.Parse("2001:db8::/32"), IPv6 = true, Owner = 101 },
            new() { Priority = 903, Table = Route.MainTable, SuppressedLength = 0, IPv6 = true, Owner = 101 },
        ];
        foreach (var rule in rules)
        {
            route.AddRule(rule);
        }

        Assert.Equal(Libc.EEXIST, Assert.Throws<NetlinkException>(() => route.AddRule(rules[0])).Errno);
        Assert.Equal(rules, route.Rules().Where(rule => rule.Owner == 101).OrderBy(rule => rule.Priority));
        Assert.Contains("901:\tfrom all iif lo ipproto udp dport 434 lookup local", TestNetwork.Exec(a, "/usr/sbin/ip", "rule").Output);
        Assert.Contains("903:\tfrom all lookup main suppress_prefixlength 0", TestNetwork.Exec(a, "/usr/sbin/ip", "-6", "rule").Output);
        foreach (var rule in rules)
        {
            route.RemoveRule(rule);
        }

        Assert.DoesNotContain(route.Rules(), rule => rule.Owner == 101);
    }

    [Fact]
    public void A_permanent_neighbour_and_a_proxy_entry_are_set_and_removed()
    {
        using var network = new TestNetwork();
        NetworkNamespace a = network.Host("a"), b = network.Host("b");
        TestNetwork.Join(a, "left", "192.0.2.1/24", b, "right", "192.0.2.2/24");
        using var route = Rtnetlink.Open(a);
        var visitor = IPAddress.Parse("10.0.0.9");
        var mac = new LinkAddress([2, 0, 0, 0, 0, 9]);
        route.SetNeighbour("left", visitor, mac);
        route.AddProxyNeighbour("left", IPAddress.Parse("192.0.2.77"));
        Assert.Contains(new Neighbour("left", visitor, mac, Permanent: true, Proxy: false), route.Neighbours());
        Assert.Contains(route.Neighbours(), neighbour => neighbour.Proxy && neighbour.Address.Equals(IPAddress.Parse("192.0.2.77")));
        Assert.Contains("10.0.0.9 dev left lladdr 02:00:00:00:00:09 PERMANENT", TestNetwork.Exec(a, "/usr/sbin/ip", "neigh").Output);
        route.RemoveNeighbour("left", visitor);
        route.RemoveProxyNeighbour("left", IPAddress.Parse("192.0.2.77"));
        Assert.DoesNotContain(route.Neighbours(), neighbour => neighbour.Address.Equals(visitor) || neighbour.Proxy);
    }

    [Fact]
    public void A_refusal_names_the_object_and_the_reason()
    {
        using var network = new TestNetwork();
        using var route = Rtnetlink.Open(network.Host("a"));
        var missing = Assert.Throws<NetlinkException>(() => route.SetUp("nowhere"));
        Assert.Equal((Libc.ENODEV, "find link nowhere: No such device (errno 19)"), (missing.Errno, missing.Message));
        var unreachable = Assert.Throws<NetlinkException>(() => route.AddRoute(new Route { Destination = IPNetwork.Parse("10.9.0.0/16"), Gateway = IPAddress.Parse("192.0.2.2") }));
        Assert.StartsWith("add route 10.9.0.0/16 via 192.0.2.2", unreachable.Message);
        Assert.Contains("Nexthop has invalid gateway", unreachable.Message);
    }

    [Fact]
    public void A_dump_of_many_parts_is_complete()
    {
        using var network = new TestNetwork();
        using var route = Rtnetlink.Open(network.Host("a"));
        route.CreateBridge("many");
        route.SetUp("many");
        const int count = 3000;
        for (var i = 0; i < count; i++)
        {
            route.AddRoute(new Route { Destination = new IPNetwork(new IPAddress([10, 1, (byte)(i >> 8), (byte)i]), 32), Interface = "many", Table = 4711 });
        }

        Assert.Equal(count, route.Routes(4711).Select(entry => entry.Destination).Distinct().Count());
    }

    [Fact]
    public void Carrier_changes_are_reported_once_each()
    {
        using var network = new TestNetwork();
        NetworkNamespace a = network.Host("a"), b = network.Host("b");
        TestNetwork.Join(a, "left", null, b, "right", null);
        using var far = Rtnetlink.Open(b);
        using var near = Rtnetlink.Open(a);
        var seen = new System.Collections.Concurrent.ConcurrentQueue<(string, bool)>();
        using (a.Run(() => new LinkMonitor((link, usable) => seen.Enqueue((link.Name, usable)))))
        {
            TestNetwork.WaitFor(() => seen.Contains(("left", true)), "the first report");
            far.SetUp("right", false);
            TestNetwork.WaitFor(() => seen.Last() == ("left", false), "carrier lost");
            far.SetUp("right");
            TestNetwork.WaitFor(() => seen.Last() == ("left", true), "carrier back");
            near.SetMtu("left", 1400);
            near.DeleteLink("left");
            TestNetwork.WaitFor(() => seen.Last() == ("left", false), "link gone");
        }

        Assert.Equal([true, false, true, false], seen.Where(entry => entry.Item1 == "left").Select(entry => entry.Item2));
    }

    /// <summary>Two ends with the same index: the kernel holds its notices back and tells of a short loss only that the carrier is there.</summary>
    [Fact]
    public void A_carrier_that_was_away_for_a_moment_is_reported_lost_and_back()
    {
        using var network = new TestNetwork();
        NetworkNamespace a = network.Host("a"), b = network.Host("b");
        using var far = Rtnetlink.Open(b);
        using var near = Rtnetlink.Open(a);
        near.CreateVeth("left", "right", peerNetwork: b, index: 77);
        near.SetUp("left");
        far.SetUp("right");
        Assert.Equal(77, near.Link("left").Index);
        far.DeleteLink("right");
        far.CreateVeth("right", "left", peerNetwork: a, index: near.Links().Max(l => l.Index) + 1);
        Assert.Equal(far.Link("right").Index, near.Link("left").Index);
        near.SetUp("left");
        far.SetUp("right");
        var seen = new System.Collections.Concurrent.ConcurrentQueue<bool>();
        using (a.Run(() => new LinkMonitor((link, usable) =>
        {
            if (link.Name == "left")
            {
                seen.Enqueue(usable);
            }
        })))
        {
            TestNetwork.WaitFor(() => seen.LastOrDefault(), "the first report");
            for (var i = 1; i <= 3; i++)
            {
                far.SetUp("right", false);
                far.SetUp("right");
                TestNetwork.WaitFor(() => seen.Count(usable => !usable) == i && seen.Last(), "the carrier lost and back");
            }
        }
    }

    /// <summary>A packet out of a tunnel for a node that is not here must not go on in clear.</summary>
    [Fact]
    public void On_a_foreign_agent_what_comes_out_of_the_tunnels_goes_to_visitors_or_nowhere()
    {
        using var network = new TestNetwork();
        NetworkNamespace agent = network.Host("agent"), other = network.Host("other");
        TestNetwork.Join(agent, "tun-of-test", null, other, "far", null);
        using var routing = agent.Run(() => new PacketPath.NodeRouting(new PacketPath.NodeRoutingOptions { VisitorsOnly = true }, "tun-of-test"));
        using var route = Rtnetlink.Open(agent);
        var rules = route.Rules().Where(rule => rule.InboundInterface == "tun-of-test" && !rule.IPv6).OrderBy(rule => rule.Priority).ToList();
        Assert.Equal([(RuleAction.Lookup, 4341u), (RuleAction.Blackhole, 0u)], rules.Select(rule => (rule.Action, rule.Table)));
    }

    [Fact]
    public void Kernel_parameters_are_those_of_the_namespace()
    {
        using var network = new TestNetwork();
        NetworkNamespace a = network.Host("a"), b = network.Host("b");
        a.Run(() => Sysctl.Write("1", "ipv4", "ip_forward"));
        b.Run(() => Sysctl.Write("0", "ipv4", "ip_forward"));
        Assert.Equal("1", a.Run(() => Sysctl.Read("ipv4", "ip_forward")));
        Assert.Equal("0", b.Run(() => Sysctl.Read("ipv4", "ip_forward")));
        Assert.Equal("0", b.Run(() => Sysctl.Change("1", "ipv4", "ip_forward")));
        Assert.Null(b.Run(() => Sysctl.Change("1", "ipv4", "ip_forward")));
        Assert.Throws<ArgumentException>(() => Sysctl.Read("ipv4", "..", "..", "kernel"));
    }
}
