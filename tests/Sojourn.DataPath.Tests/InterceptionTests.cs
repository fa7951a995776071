using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Interception;
using Sojourn.DataPath.Netlink;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Xunit;

namespace Sojourn.DataPath.Tests;

/// <summary>A foreign agent and a mobile node on one link.</summary>
public sealed class InterceptionTests : IDisposable
{
    private static readonly IPAddress Agent = IPAddress.Parse("192.0.2.1");
    private static readonly LinkAddress AgentMac = new([2, 0, 0, 0, 0, 1]), NodeMac = new([2, 0, 0, 0, 0, 9]);

    private readonly TestNetwork _network = new();
    private readonly NetworkNamespace _agent;
    private readonly NetworkNamespace _node;
    private readonly ConcurrentQueue<EngineInput> _atAgent = new();
    private readonly ConcurrentQueue<EngineInput> _atNode = new();

    public InterceptionTests()
    {
        _agent = _network.Host("fa");
        _node = _network.Host("mn");
        TestNetwork.Join(_agent, "access", "192.0.2.1/24", _node, "wlan", null);
        using var agent = Rtnetlink.Open(_agent);
        using var node = Rtnetlink.Open(_node);
        agent.SetLinkAddress("access", AgentMac);
        node.SetLinkAddress("wlan", NodeMac);
    }

    public void Dispose() => _network.Dispose();

    private UdpPort Port(NetworkNamespace host, LinkReception reception, ConcurrentQueue<EngineInput> seen, byte[]? groups = null, ushort port = 434) =>
        host.Run(() => new UdpPort(new UdpPortOptions { Port = port, LinkReception = reception, LinkInterfaces = [host == _agent ? "access" : "wlan"], LinkGroups = groups ?? [] }, seen.Enqueue));

    private static SendDatagram Datagram(string source, string destination, string text, string? name = null, LinkAddress? to = null) =>
        new(new IPEndPoint(IPAddress.Parse(source), 434), new IPEndPoint(IPAddress.Parse(destination), 434), System.Text.Encoding.ASCII.GetBytes(text), name, to);

    private static DatagramReceived Single(ConcurrentQueue<EngineInput> seen)
    {
        TestNetwork.WaitFor(() => !seen.IsEmpty, "a datagram");
        Thread.Sleep(50);
        return Assert.IsType<DatagramReceived>(Assert.Single(seen));
    }

    [Fact]
    [Trait("Row", "NV1.4")]
    [Trait("Row", "S201")]
    public void A_node_without_an_address_registers_and_gets_its_answer()
    {
        using var agent = Port(_agent, LinkReception.OwnAddresses, _atAgent);
        using var node = Port(_node, LinkReception.AnyAddress, _atNode);
        using var capture = new PacketCapture(_agent, "access");
        node.Send(Datagram("0.0.0.0", "192.0.2.1", "request", "wlan", AgentMac));
        var request = Single(_atAgent);
        Assert.Equal((new IPEndPoint(IPAddress.Any, 434), new IPEndPoint(Agent, 434), "access", (LinkAddress?)NodeMac),
            (request.Source, request.Destination, request.Interface, request.LinkSource));
        Assert.Equal("request"u8, request.Payload.Span);
        Assert.Single(capture.Packets);

        // To all, and to the home address it is going to have, both at its link-layer address.
        agent.Send(Datagram("192.0.2.1", "255.255.255.255", "to all", "access", NodeMac));
        Assert.Equal("to all"u8, Single(_atNode).Payload.Span);
        _atNode.Clear();
        agent.Send(Datagram("192.0.2.1", "10.9.0.5", "to you", "access", NodeMac));
        var reply = Single(_atNode);
        Assert.Equal((IPAddress.Parse("10.9.0.5"), Agent, (LinkAddress?)AgentMac), (reply.Destination.Address, reply.Source.Address, reply.LinkSource));
    }

    [Fact]
    public void A_visitor_with_a_home_address_foreign_to_the_link_is_heard_and_answered_without_arp()
    {
        using var agent = Port(_agent, LinkReception.OwnAddresses, _atAgent);
        using (var route = Rtnetlink.Open(_node))
        {
            route.AddAddress("wlan", IPAddress.Parse("10.9.0.5"), 32);
            route.AddRoute(new Route { Destination = IPNetwork.Parse("0.0.0.0/0"), Gateway = Agent, Interface = "wlan", OnLink = true });
        }

        using var node = Port(_node, LinkReception.None, _atNode);
        using var arp = Port(_agent, LinkReception.None, new ConcurrentQueue<EngineInput>(), port: 4343);
        node.Send(Datagram("10.9.0.5", "192.0.2.1", "request"));
        var request = Single(_atAgent);
        Assert.Equal((IPAddress.Parse("10.9.0.5"), "access", (LinkAddress?)NodeMac), (request.Source.Address, request.Interface, request.LinkSource));
        agent.Send(Datagram("192.0.2.1", "10.9.0.5", "reply", "access", request.LinkSource));
        Assert.Equal("reply"u8, Single(_atNode).Payload.Span);
        Assert.DoesNotContain("10.9.0.5 dev access FAILED", TestNetwork.Exec(_agent, "/usr/sbin/ip", "neigh").Output);
        Assert.DoesNotContain("10.9.0.5 dev access INCOMPLETE", TestNetwork.Exec(_agent, "/usr/sbin/ip", "neigh").Output);
    }

    [Fact]
    public void Broadcasts_and_the_mobility_agents_group_are_taken_and_strangers_are_not()
    {
        using var agent = Port(_agent, LinkReception.OwnAddresses, _atAgent, [11]);
        using var node = Port(_node, LinkReception.AnyAddress, _atNode);
        foreach (var destination in (string[])["255.255.255.255", "192.0.2.255", "224.0.0.11"])
        {
            _atAgent.Clear();
            node.Send(Datagram("0.0.0.0", destination, "hello", "wlan"));
            Assert.Equal(IPAddress.Parse(destination), Single(_atAgent).Destination.Address);
        }

        _atAgent.Clear();
        node.Send(Datagram("0.0.0.0", "203.0.113.7", "not yours", "wlan", AgentMac));
        TestNetwork.WaitFor(() => agent.Foreign == 1, "the stranger's datagram");
        Assert.Empty(_atAgent);
    }

    [Fact]
    public void A_datagram_larger_than_the_link_is_fragmented_and_arrives_once()
    {
        using var agent = Port(_agent, LinkReception.OwnAddresses, _atAgent);
        using var node = Port(_node, LinkReception.None, _atNode);
        using (var route = Rtnetlink.Open(_node))
        {
            route.AddAddress("wlan", IPAddress.Parse("192.0.2.9"), 24);
        }

        var text = new string('x', 3000);
        node.Send(Datagram("192.0.2.9", "192.0.2.1", text, "wlan", AgentMac));
        Assert.Equal(3000, Single(_atAgent).Payload.Length);
    }

    [Fact]
    public void A_changed_datagram_on_the_link_is_counted_and_dropped()
    {
        using var agent = Port(_agent, LinkReception.OwnAddresses, _atAgent);
        byte[] packet =
        [
            0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0xF6, 0xC6, 0, 0, 0, 0, 192, 0, 2, 1,
            0x01, 0xB2, 0x01, 0xB2, 0, 12, 0x12, 0x34, 1, 2, 3, 4,
        ];
        Wire.Ip.IPv4Header.WriteChecksum(packet.AsSpan(0, 20));
        _node.Run(() =>
        {
            using var interfaces = new InterfaceTable();
            using var link = new LinkSocket(interfaces, []);
            link.Send("wlan", packet, AgentMac);
        });
        TestNetwork.WaitFor(() => agent.Malformed == 1, "the changed datagram");
        Assert.Empty(_atAgent);
    }

    [Fact]
    [Trait("Row", "NV4.7")]
    [Trait("Row", "R46")]
    [Trait("Row", "S205")]
    [Trait("Row", "S200")]
    public void A_gateway_takes_binding_updates_for_hosts_behind_it_and_answers_in_their_name()
    {
        // outside --- gateway --- (10.2.0.0/24); nobody is at 10.2.0.7
        var outside = _network.Host("outside");
        var inside = _network.Host("inside");
        var gateway = _network.Host("gw");
        TestNetwork.Join(outside, "eth0", "198.51.100.9/24", gateway, "core", "198.51.100.1/24");
        TestNetwork.Join(inside, "eth0", "10.2.0.7/24", gateway, "lan", "10.2.0.1/24");
        GatewayPair.Default(outside, "198.51.100.1");
        GatewayPair.Default(inside, "10.2.0.1");
        using var routing = gateway.Run(() => new NodeRouting(new NodeRoutingOptions()));
        routing.InterceptUdp(IPNetwork.Parse("10.2.0.0/24"), 434, "core");
        routing.InterceptUdp(IPNetwork.Parse("10.2.0.0/24"), 434, "core");
        var seen = new ConcurrentQueue<EngineInput>();
        var atHost = new ConcurrentQueue<EngineInput>();
        var atSender = new ConcurrentQueue<EngineInput>();
        using var port = gateway.Run(() => new UdpPort(new UdpPortOptions { Port = 434 }, seen.Enqueue));
        using var host = inside.Run(() => new UdpPort(new UdpPortOptions { Port = 434 }, atHost.Enqueue));
        using var other = inside.Run(() => new UdpPort(new UdpPortOptions { Port = 435 }, atHost.Enqueue));
        using var sender = outside.Run(() => new UdpPort(new UdpPortOptions { Port = 434 }, atSender.Enqueue));
        sender.Send(Datagram("198.51.100.9", "10.2.0.7", "update"));
        var update = Single(seen);
        Assert.Equal((IPAddress.Parse("10.2.0.7"), IPAddress.Parse("198.51.100.9"), "core"), (update.Destination.Address, update.Source.Address, update.Interface));
        Assert.Empty(atHost);

        port.Send(new SendDatagram(update.Destination, update.Source, "acknowledgement"u8.ToArray()));
        Assert.Equal(IPAddress.Parse("10.2.0.7"), Single(atSender).Source.Address);

        // Everything else for the host goes to the host.
        sender.Send(new SendDatagram(new IPEndPoint(IPAddress.Parse("198.51.100.9"), 434), new IPEndPoint(IPAddress.Parse("10.2.0.7"), 435), "data"u8.ToArray()));
        Assert.Equal("data"u8, Single(atHost).Payload.Span);
        Assert.Equal(0, TestNetwork.Exec(outside, "ping", "-c1", "-W2", "10.2.0.7").Status);
    }

    [Fact]
    public void Advertisements_and_solicitations_pass_with_interface_and_link_source_and_one_hop()
    {
        using var agent = _agent.Run(() => new IcmpPort(["access"], _atAgent.Enqueue));
        using var node = _node.Run(() => new IcmpPort(["wlan"], _atNode.Enqueue));
        using var capture = new PacketCapture(_node, "wlan");
        byte[] solicitation = [10, 0, 0xF5, 0xFF, 0, 0, 0, 0];
        node.Send(new SendIcmp(null, IPAddress.Parse("224.0.0.2"), solicitation, "wlan"));
        TestNetwork.WaitFor(() => !_atAgent.IsEmpty, "the solicitation");
        var asked = Assert.IsType<IcmpReceived>(Assert.Single(_atAgent));
        Assert.Equal((IPAddress.Any, IPAddress.Parse("224.0.0.2"), "access", (LinkAddress?)NodeMac), (asked.Source, asked.Destination, asked.Interface, asked.LinkSource));
        Assert.Equal(solicitation, asked.Message.ToArray());

        byte[] advertisement = [9, 0, 0, 0, 0, 2, 0, 30];
        System.Buffers.Binary.BinaryPrimitives.WriteUInt16BigEndian(advertisement.AsSpan(2), Wire.Ip.InternetChecksum.Of(advertisement));
        foreach (var (destination, to) in ((string, LinkAddress?)[])[("224.0.0.1", null), ("255.255.255.255", null), ("10.9.0.5", NodeMac)])
        {
            _atNode.Clear();
            agent.Send(new SendIcmp(null, IPAddress.Parse(destination), advertisement, "access", to));
            TestNetwork.WaitFor(() => !_atNode.IsEmpty, "the advertisement");
            var told = Assert.IsType<IcmpReceived>(Assert.Single(_atNode));
            Assert.Equal((Agent, IPAddress.Parse(destination), "wlan", (LinkAddress?)AgentMac), (told.Source, told.Destination, told.Interface, told.LinkSource));
        }

        Assert.All(capture.Packets, packet => Assert.Equal(1, packet[8]));
        advertisement[3] ^= 1;
        agent.Send(new SendIcmp(null, IPAddress.Parse("224.0.0.1"), advertisement, "access"));
        TestNetwork.WaitFor(() => node.Malformed == 1, "the changed advertisement");
    }

    [Fact]
    public void A_mobile_node_takes_its_home_address_to_another_link_and_keeps_its_connections_address()
    {
        var second = _network.Host("fa2");
        TestNetwork.Join(second, "access", "198.51.100.1/24", _node, "wlan2", null);
        using var routing = _node.Run(() => new NodeRouting(new NodeRoutingOptions { Forwarding = false }));
        var home = IPAddress.Parse("10.9.0.5");
        Assert.True(routing.Apply(new AttachHome("wlan", home, Agent)));
        using var route = Rtnetlink.Open(_node);
        var first = route.LookUp(IPAddress.Parse("203.0.113.1"))!;
        Assert.Equal(("wlan", Agent, home), (first.Interface, first.Gateway, first.PreferredSource));
        routing.Apply(new AttachHome("wlan2", home, IPAddress.Parse("198.51.100.1")));
        var moved = route.LookUp(IPAddress.Parse("203.0.113.1"))!;
        Assert.Equal(("wlan2", IPAddress.Parse("198.51.100.1"), home), (moved.Interface, moved.Gateway, moved.PreferredSource));
        Assert.Equal("wlan2", Assert.Single(route.Addresses(), address => address.Address.Equals(home)).Interface);

        // The earlier attachment's late end changes nothing.
        routing.Apply(new DetachHome("wlan", home));
        Assert.NotNull(route.LookUp(IPAddress.Parse("203.0.113.1")));
        routing.Apply(new DetachHome("wlan2", home));
        Assert.Null(route.LookUp(IPAddress.Parse("203.0.113.1")));
        Assert.DoesNotContain(route.Addresses(), address => address.Address.Equals(home));
        Assert.Equal("0", _node.Run(() => Sysctl.Read("ipv4", "ip_forward")));
    }
}
