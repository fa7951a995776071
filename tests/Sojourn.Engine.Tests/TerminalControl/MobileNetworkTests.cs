using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.TerminalControl;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;

namespace Sojourn.Engine.Tests.TerminalControl;

/// <summary>
/// Networks that move, at the home agent (RFC 3963; spec terminal 5.7): routers on visited links, terminals and further routers in
/// their networks, one home agent for all of them. Whatever is sent from within a network reaches the home agent through the
/// routers' tunnels only, and what the home agent sends has to come the same way.
/// </summary>
public sealed class MobileNetworkTests
{
    private static readonly IPNetwork s_network = IPNetwork.Parse("2001:db8:9::/64"), s_inner = IPNetwork.Parse("2001:db8:10::/64");
    private static readonly IPAddress s_terminal = IPAddress.Parse("2001:db8:9::5"), s_innerRouter = IPAddress.Parse("2001:db8:9::9"), s_deepTerminal = IPAddress.Parse("2001:db8:10::5");
    private static readonly IPAddress s_home3 = IPAddress.Parse("2001:db8:a:3::10"), s_home4 = IPAddress.Parse("2001:db8:a:4::10"), s_home5 = IPAddress.Parse("2001:db8:a:5::10");

    /// <summary>Terminal 1 may bring the first network, terminals 3 to 5 others.</summary>
    private static HomeNetwork Network(int mtu = 1500)
    {
        var network = new HomeNetwork(o => o with
        {
            MobileNetworks = new Dictionary<IPAddress, IReadOnlyList<IPNetwork>>
            {
                [HomeNetwork.Home1] = [s_network],
                [s_home3] = [s_inner],
                [s_home4] = [IPNetwork.Parse("2001:db8:11::/64")],
                [s_home5] = [IPNetwork.Parse("2001:db8:12::/64")],
            },
        }, mtu);
        for (var i = 3; i <= 5; i++)
        {
            network.Allocations[IPNetwork.Parse($"2001:db8:a:{i}::/64")] = ($"mn{i}.home.example", network.Now + TimeSpan.FromDays(1));
        }

        return network;
    }

    private static TestTerminal Router(HomeNetwork network, IPNetwork prefix) => Add(network, new TestTerminal(network, "mn1.home.example", HomeNetwork.Home1, HomeNetwork.CareOf1, seed: 20, networks: [prefix]));

    private static TestTerminal Behind(HomeNetwork network, TestTerminal router, int number, IPAddress home, IPAddress careOf, params IPNetwork[] networks) =>
        Add(network, new TestTerminal(network, $"mn{number}.home.example", home, careOf, seed: 20 * number, networks: networks) { Router = router });

    private static TestTerminal Add(HomeNetwork network, TestTerminal terminal)
    {
        network.Terminals[terminal.CareOf] = terminal;
        terminal.SignOn();
        network.Run(3);
        return terminal;
    }

    /// <summary>Source and destination of every IPv6 header, the outermost first.</summary>
    private static List<(IPAddress Source, IPAddress Destination)> Headers(ReadOnlySpan<byte> packet)
    {
        List<(IPAddress, IPAddress)> headers = [];
        while (IPv6Header.TryParse(packet, out var header, out _))
        {
            headers.Add((header.SourceAddress, header.DestinationAddress));
            packet = header.NextHeader == IpProtocol.IPv6 ? header.Payload : [];
        }

        return headers;
    }

    private static IReadOnlyList<byte[]> Forwarded(HomeNetwork network, byte[] packet)
    {
        var before = network.Sent.Count;
        network.Forward(packet);
        return [.. network.Sent.Skip(before)];
    }

    [Fact]
    public void A_router_registers_with_its_network_and_both_are_reached_at_its_care_of_address()
    {
        var network = Network();
        var router = Router(network, s_network);
        Assert.True(router.Registered);
        Assert.Equal([s_network], network.Binding(HomeNetwork.Home1)!.MobileNetworks);
        var fixedNode = IPAddress.Parse("2001:db8:9::77");
        foreach (var destination in new[] { HomeNetwork.Home1, fixedNode })
        {
            var question = HomeNetwork.Plain(HomeNetwork.Correspondent, destination);
            Assert.Equal([(HomeNetwork.Agent, HomeNetwork.CareOf1), (HomeNetwork.Correspondent, destination)], Headers(Assert.Single(Forwarded(network, question))));
        }

        var answer = HomeNetwork.Plain(fixedNode, HomeNetwork.Correspondent);
        Assert.Equal(answer, Assert.Single(Forwarded(network, HomeNetwork.Tunnelled(HomeNetwork.CareOf1, answer))));
        // Not from beyond the network, nor from another place than the router's.
        Assert.Empty(Forwarded(network, HomeNetwork.Tunnelled(HomeNetwork.CareOf1, HomeNetwork.Plain(IPAddress.Parse("2001:db8:99::77"), HomeNetwork.Correspondent))));
        Assert.Empty(Forwarded(network, HomeNetwork.Tunnelled(HomeNetwork.CareOf2, answer)));
    }

    [Fact]
    [Trait("Row", "TM-NC24")]
    public void A_network_that_is_not_the_routers_is_refused_and_no_tunnel_stands()
    {
        var network = Network();
        var router = Router(network, IPNetwork.Parse("2001:db8:99::/64"));
        Assert.False(router.Registered);
        Assert.Null(network.Binding(HomeNetwork.Home1));
        Assert.Equal((1, 1), (network.Counter("ha.bu_refused"), network.Counter("mip6.ha.refused.142")));
        Assert.Empty(network.Tunnel.Report(network.Now));
    }

    [Fact]
    [Trait("Row", "TM-R94")]
    public void A_terminal_in_the_network_gets_its_own_header_and_the_routers_around_it()
    {
        var network = Network();
        var router = Router(network, s_network);
        var terminal = Behind(network, router, 2, HomeNetwork.Home2, s_terminal);
        Assert.True(terminal.Registered);
        Assert.Equal(s_terminal, network.Binding(HomeNetwork.Home2)!.CareOfAddress);

        var question = HomeNetwork.Plain(HomeNetwork.Correspondent, HomeNetwork.Home2);
        var sent = Assert.Single(Forwarded(network, question));
        Assert.Equal([(HomeNetwork.Agent, HomeNetwork.CareOf1), (HomeNetwork.Agent, s_terminal), (HomeNetwork.Correspondent, HomeNetwork.Home2)], Headers(sent));
        Assert.Equal(question.Length + 80, sent.Length);
        network.Run(1);
        Assert.Equal(question, terminal.Stripped[^1]);

        var answer = HomeNetwork.Plain(HomeNetwork.Home2, HomeNetwork.Correspondent);
        terminal.Post(HomeNetwork.Tunnelled(s_terminal, answer));
        network.Run(1);
        Assert.Equal(answer, network.Elsewhere[^1]);
    }

    [Fact]
    [Trait("Row", "TM-R102")]
    public void Each_level_is_taken_only_from_the_care_of_address_of_the_one_inside_it()
    {
        var network = Network();
        var router = Router(network, s_network);
        Behind(network, router, 2, HomeNetwork.Home2, s_terminal);
        var answer = HomeNetwork.Plain(HomeNetwork.Home2, HomeNetwork.Correspondent);
        var other = IPAddress.Parse("2001:db8:9::6");
        Assert.Empty(Forwarded(network, HomeNetwork.Tunnelled(HomeNetwork.CareOf2, HomeNetwork.Tunnelled(s_terminal, answer))));
        Assert.Empty(Forwarded(network, HomeNetwork.Tunnelled(HomeNetwork.CareOf1, HomeNetwork.Tunnelled(other, answer))));
        Assert.Empty(Forwarded(network, HomeNetwork.Tunnelled(HomeNetwork.CareOf1, answer)));
        Assert.Equal(answer, Assert.Single(Forwarded(network, HomeNetwork.Tunnelled(HomeNetwork.CareOf1, HomeNetwork.Tunnelled(s_terminal, answer)))));
    }

    [Fact]
    [Trait("Row", "TM7.8")]
    [Trait("Row", "TM-R103")]
    [Trait("Row", "TM-AC31")]
    public void Each_level_goes_under_ESP_of_its_own_and_no_plain_mobile_header_is_left()
    {
        var network = Network();
        var router = Add(network, new TestTerminal(
            network, "mn1.home.example", HomeNetwork.Home1, HomeNetwork.CareOf1, p => p with { Children = [.. p.Children, Data(new IPNetwork(HomeNetwork.Home1, 128), s_network)] }, seed: 20, networks: [s_network]));
        router.Tunnel = EndOf(router, s_network);
        var terminal = Add(network, new TestTerminal(
            network, "mn2.home.example", HomeNetwork.Home2, s_terminal, p => p with { Children = [.. p.Children, Data(new IPNetwork(HomeNetwork.Home2, 128))] }, seed: 40)
        { Router = router });
        Assert.True(terminal.Registered);
        terminal.Tunnel = EndOf(terminal, new IPNetwork(HomeNetwork.Home2, 128));

        var question = HomeNetwork.Plain(HomeNetwork.Correspondent, HomeNetwork.Home2);
        var outer = Assert.Single(Forwarded(network, question));
        Assert.Equal((HomeNetwork.Agent, HomeNetwork.CareOf1), Assert.Single(Headers(outer)));
        Assert.Equal(IpProtocol.Esp, outer[6]);
        network.Run(1);
        Assert.Equal((HomeNetwork.Agent, s_terminal), Assert.Single(Headers(router.Stripped[^1])));
        Assert.Equal(IpProtocol.Esp, router.Stripped[^1][6]);
        Assert.Equal(question, terminal.Stripped[^1]);

        var answer = HomeNetwork.Plain(HomeNetwork.Home2, HomeNetwork.Correspondent);
        terminal.Post(HomeNetwork.Sealed(terminal.Tunnel, answer, network.Now));
        network.Run(1);
        Assert.Equal(answer, network.Elsewhere[^1]);

        // The router's ESP does not stand for the terminal's.
        var before = network.Elsewhere.Count;
        terminal.Post(HomeNetwork.Tunnelled(s_terminal, answer));
        network.Run(1);
        Assert.Equal(before, network.Elsewhere.Count);
        Assert.Equal(1, network.Tunnel.Drops["spd.mismatch_in"]);

        // Nor does the terminal's for the router's.
        Assert.Empty(Forwarded(network, HomeNetwork.Tunnelled(HomeNetwork.CareOf1, HomeNetwork.Sealed(terminal.Tunnel, answer, network.Now))));
        Assert.Equal(2, network.Tunnel.Drops["spd.mismatch_in"]);
    }

    [Fact]
    [Trait("Row", "TM7.8")]
    public void A_terminals_ESP_comes_in_the_plain_tunnel_of_a_router_that_has_none()
    {
        var network = Network();
        var router = Router(network, s_network);
        var terminal = Add(network, new TestTerminal(
            network, "mn2.home.example", HomeNetwork.Home2, s_terminal, p => p with { Children = [.. p.Children, Data(new IPNetwork(HomeNetwork.Home2, 128))] }, seed: 40)
        { Router = router });
        terminal.Tunnel = EndOf(terminal, new IPNetwork(HomeNetwork.Home2, 128));

        var down = Assert.Single(Forwarded(network, HomeNetwork.Plain(HomeNetwork.Correspondent, HomeNetwork.Home2)));
        Assert.Equal([(HomeNetwork.Agent, HomeNetwork.CareOf1), (HomeNetwork.Agent, s_terminal)], Headers(down));
        var answer = HomeNetwork.Plain(HomeNetwork.Home2, HomeNetwork.Correspondent);
        Assert.Equal(answer, Assert.Single(Forwarded(network, HomeNetwork.Tunnelled(HomeNetwork.CareOf1, HomeNetwork.Sealed(terminal.Tunnel, answer, network.Now)))));
    }

    [Fact]
    [Trait("Row", "TM-R103")]
    public void A_plain_tunnel_inside_a_routers_ESP_is_its_networks_traffic_and_no_header_of_the_router()
    {
        var network = Network();
        var router = Add(network, new TestTerminal(
            network, "mn1.home.example", HomeNetwork.Home1, HomeNetwork.CareOf1, p => p with { Children = [.. p.Children, Data(new IPNetwork(HomeNetwork.Home1, 128), s_network)] }, seed: 20, networks: [s_network]));
        router.Tunnel = EndOf(router, s_network);
        var terminal = Behind(network, router, 2, HomeNetwork.Home2, s_terminal);
        Assert.True(terminal.Registered);
        var question = HomeNetwork.Plain(HomeNetwork.Correspondent, HomeNetwork.Home2);
        Assert.Equal(IpProtocol.Esp, Assert.Single(Forwarded(network, question))[6]);
        network.Run(1);
        Assert.Equal(question, terminal.Stripped[^1]);
        var answer = HomeNetwork.Plain(HomeNetwork.Home2, HomeNetwork.Correspondent);
        terminal.Post(HomeNetwork.Tunnelled(s_terminal, answer));
        network.Run(1);
        Assert.Equal(answer, network.Elsewhere[^1]);
    }

    private static IkeChildOptions Data(params IPNetwork[] homes) => new()
    {
        Name = "data",
        Mode = ChildMode.Tunnel,
        LocalSelectors = [.. homes.Select(h => TrafficSelector.Of(h))],
        RemoteSelectors = [TrafficSelector.Of(new IPNetwork(IPAddress.IPv6Any, 0))],
    };

    /// <summary>The far end of a terminal's or router's tunnel, on a packet path's own table.</summary>
    private static PathTable EndOf(TestTerminal terminal, IPNetwork source)
    {
        var table = new PathTable(new PathTableOptions { ClampTcpMss = false }, new Ikev2.SeededRandom(3));
        var child = terminal.TunnelChildren[^1];
        Assert.Null(table.Change(
            [
                new VpnPath
                {
                    Id = new PathId("far", "esp"),
                    Source = source,
                    Destination = new IPNetwork(IPAddress.IPv6Any, 0),
                    SecurityType = SecurityType.Esp,
                    MobileHeader = MobileHeader.LeftOut,
                    LocalGateway = terminal.CareOf,
                    RemoteGateway = HomeNetwork.Agent,
                    Outbound = child.Outbound with { Source = terminal.CareOf, Destination = HomeNetwork.Agent },
                    Inbound = child.Inbound with { Source = HomeNetwork.Agent, Destination = terminal.CareOf },
                    Origin = new PathOrigin("test", "TM7.8"),
                },
            ],
            [],
            terminal.Network.Now).Refusal);
        return table;
    }

    [Fact]
    public void When_the_router_moves_it_alone_registers()
    {
        var network = Network();
        var router = Router(network, s_network);
        var terminal = Behind(network, router, 2, HomeNetwork.Home2, s_terminal);
        var updates = network.Counter("mip6.ha.updates");
        network.Move(router, HomeNetwork.Moved);
        network.Run(3);
        Assert.Equal(updates + 1, network.Counter("mip6.ha.updates"));
        Assert.Equal((HomeNetwork.Moved, s_terminal), (network.Binding(HomeNetwork.Home1)!.CareOfAddress, network.Binding(HomeNetwork.Home2)!.CareOfAddress));
        var question = HomeNetwork.Plain(HomeNetwork.Correspondent, HomeNetwork.Home2);
        Assert.Equal((HomeNetwork.Agent, HomeNetwork.Moved), Headers(Assert.Single(Forwarded(network, question)))[0]);
        network.Run(1);
        Assert.Equal(question, terminal.Stripped[^1]);
    }

    [Fact]
    public void A_router_in_a_routers_network_adds_one_header_more()
    {
        var network = Network();
        var router = Router(network, s_network);
        var inner = Behind(network, router, 3, s_home3, s_innerRouter, s_inner);
        var terminal = Behind(network, inner, 2, HomeNetwork.Home2, s_deepTerminal);
        Assert.True(terminal.Registered);
        var question = HomeNetwork.Plain(HomeNetwork.Correspondent, HomeNetwork.Home2);
        Assert.Equal(
            [(HomeNetwork.Agent, HomeNetwork.CareOf1), (HomeNetwork.Agent, s_innerRouter), (HomeNetwork.Agent, s_deepTerminal), (HomeNetwork.Correspondent, HomeNetwork.Home2)],
            Headers(Assert.Single(Forwarded(network, question))));
        network.Run(1);
        Assert.Equal(question, terminal.Stripped[^1]);
        var answer = HomeNetwork.Plain(HomeNetwork.Home2, HomeNetwork.Correspondent);
        terminal.Post(HomeNetwork.Tunnelled(s_deepTerminal, answer));
        network.Run(1);
        Assert.Equal(answer, network.Elsewhere[^1]);
    }

    [Fact]
    public void Beyond_four_headers_a_packet_is_dropped_and_counted_both_ways()
    {
        var network = Network();
        var router = Router(network, s_network);
        var second = Behind(network, router, 3, s_home3, s_innerRouter, s_inner);
        var third = Behind(network, second, 4, s_home4, IPAddress.Parse("2001:db8:10::9"), IPNetwork.Parse("2001:db8:11::/64"));
        var fourth = Behind(network, third, 5, s_home5, IPAddress.Parse("2001:db8:11::9"), IPNetwork.Parse("2001:db8:12::/64"));
        Assert.True(fourth.Registered);
        var question = HomeNetwork.Plain(HomeNetwork.Correspondent, s_home5);
        Assert.Equal(5, Headers(Assert.Single(Forwarded(network, question))).Count);

        // One level deeper there is room for signalling, which needs no header of its own, and for nothing else.
        var deepest = Behind(network, fourth, 2, HomeNetwork.Home2, IPAddress.Parse("2001:db8:12::5"));
        Assert.True(deepest.Registered);
        Assert.False(network.Tunnel.Drops.ContainsKey("rx.nest_limit"));
        Assert.Empty(Forwarded(network, HomeNetwork.Plain(HomeNetwork.Correspondent, HomeNetwork.Home2)));
        Assert.Equal(1, network.Tunnel.Drops["rx.nest_limit"]);
        deepest.Post(HomeNetwork.Tunnelled(deepest.CareOf, HomeNetwork.Plain(HomeNetwork.Home2, HomeNetwork.Correspondent)));
        network.Run(1);
        Assert.Equal(2, network.Tunnel.Drops["rx.nest_limit"]);
        Assert.Empty(network.Elsewhere);
        Assert.NotEmpty(Forwarded(network, question));
    }

    [Fact]
    public void A_router_is_not_bound_to_an_address_inside_its_own_network_nor_inside_one_that_moves_there()
    {
        var network = Network();
        var router = Router(network, s_network);
        Behind(network, router, 3, s_home3, s_innerRouter, s_inner);
        Assert.Equal(s_innerRouter, network.Binding(s_home3)!.CareOfAddress);
        foreach (var place in new[] { s_terminal, s_deepTerminal })
        {
            var refused = network.Counter("mip6.ha.refused.174");
            network.Move(router, place);
            network.Run(2);
            Assert.True(network.Counter("mip6.ha.refused.174") > refused);
            Assert.Equal(HomeNetwork.CareOf1, network.Binding(HomeNetwork.Home1)!.CareOfAddress);
        }
    }

    [Fact]
    public void A_packet_too_long_for_all_headers_is_answered_with_what_fits_them_all()
    {
        var network = Network();
        var router = Router(network, s_network);
        var inner = Behind(network, router, 3, s_home3, s_innerRouter, s_inner);
        Behind(network, inner, 2, HomeNetwork.Home2, s_deepTerminal);
        var answer = Assert.Single(Forwarded(network, HomeNetwork.Plain(HomeNetwork.Correspondent, HomeNetwork.Home2, 1381 - 48)));
        Assert.True(MobileIpv6Packet.TryParse(answer, out var packet, out _));
        Assert.True(Icmpv6Message.TryParse(packet.Payload.Span, out var message, out _));
        var error = Assert.IsType<Icmpv6Error>(message);
        Assert.Equal((Icmpv6MessageType.PacketTooBig, 1500u - 120, HomeNetwork.Correspondent), (error.Type, error.Parameter, packet.Destination));
        Assert.Equal(1500, Assert.Single(Forwarded(network, HomeNetwork.Plain(HomeNetwork.Correspondent, HomeNetwork.Home2, 1380 - 48))).Length);
    }

    [Fact]
    public void The_least_packet_of_IPv6_gets_through_in_fragments_of_the_inner_tunnel()
    {
        var network = Network(mtu: 1280);
        var router = Router(network, s_network);
        Behind(network, router, 2, HomeNetwork.Home2, s_terminal);
        var sent = Forwarded(network, HomeNetwork.Plain(HomeNetwork.Correspondent, HomeNetwork.Home2, 1280 - 48));
        Assert.True(sent.Count > 1);
        Assert.All(sent, p => Assert.True(p.Length <= 1280));
        Assert.All(sent, p => Assert.Equal((HomeNetwork.Agent, HomeNetwork.CareOf1), Headers(p)[0]));
    }
}
