using System.Net;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Wire.Dhcpv6;
using Xunit;
using static Sojourn.Engine.Tests.Dhcpv6.DelegationHarness;

namespace Sojourn.Engine.Tests.Dhcpv6;

/// <summary>MN = client, RA = relay agent, DR = delegating router.</summary>
public sealed class RelayAgentTests
{
    private static readonly IPAddress Server = IPAddress.Parse("2001:db8:5::2");
    private static readonly IPAddress Other = IPAddress.Parse("2001:db8:6::2");
    private readonly EffectSink _sink = new();

    private readonly RelayAgent _agent = new(new RelayAgentOptions
    {
        Links = [new RelayedLink(Link, IPAddress.Parse("2001:db8:a::1")), new RelayedLink("acc1", null)],
        Servers = [Server, Other],
        RemoteId = (32473, "ar6c"),
        Relays = [IPAddress.Parse("2001:db8:9::1")],
    });

    [Fact]
    [Trait("Row", "TA-M22")]
    [Trait("Row", "TA-G14")]
    [Trait("Row", "TA-M27")]
    public void A_client_behind_the_relay_agent_is_delegated_a_prefix()
    {
        var net = new DelegationHarness();

        // MN -> Solicit -> RA -> relay-forward -> every DR.
        var forwarded = Tell(Carry(net.Message(Dhcpv6MessageType.Solicit, Mn1), Mn1, null));
        Assert.Equal([Server, Other], forwarded.Select(datagram => datagram.Destination.Address));

        // DR -> relay-reply -> RA -> Advertise -> MN, on the link it came from.
        var advertise = Assert.Single(Through(net, forwarded[0]));
        Assert.Equal((Link, Dhcpv6Limits.ClientPort), (advertise.Interface, (ushort)advertise.Destination.Port));
        Assert.True(advertise.Destination.Address.IsIPv6LinkLocal);
        var offered = Answer([advertise]);
        Assert.Equal(Dhcpv6MessageType.Advertise, offered!.Type);

        var request = Tell(Carry(net.Message(Dhcpv6MessageType.Request, Mn1, named: offered.Prefix), Mn1, null));
        Assert.Equal(offered.Prefix, Answer(Through(net, request[0]))!.Prefix);
        Assert.Equal($"relay {Relay} link 2001:db8:a::1 port {Link} remote 32473:ar6c", net.Stored[new AssociationKey(Mn1, 1)].Location);
        Assert.Equal(Relay, net.Routes[offered.Prefix!.Value.Prefix].Gateway);
    }

    [Fact]
    public void Only_clients_messages_on_its_links_and_answers_of_its_servers_are_relayed()
    {
        var net = new DelegationHarness();
        var solicit = Carry(net.Message(Dhcpv6MessageType.Solicit, Mn1), Mn1, null);
        Assert.Empty(Tell(solicit with { Interface = "wan0" }));
        Assert.Empty(Tell(solicit with { Destination = new IPEndPoint(Server, 547) }));
        Assert.Empty(Tell(Carry(net.Message(Dhcpv6MessageType.Reply, Mn1), Mn1, null)));
        Assert.Empty(Tell(solicit with { Payload = new byte[] { 1, 2, 3 } }));
        Assert.Empty(Tell(solicit with { Payload = ReadOnlyMemory<byte>.Empty }));

        var reply = Assert.Single(net.Tell(Received(Tell(solicit)[0])).OfType<SendDatagram>());
        Assert.Empty(Tell(new DatagramReceived(new IPEndPoint(Mn1Address, 547), new IPEndPoint(Relay, 547), reply.Payload, Link)));
        Assert.Single(Tell(new DatagramReceived(new IPEndPoint(Other, 547), new IPEndPoint(Relay, 547), reply.Payload, "core0")));
    }

    [Fact]
    public void A_message_of_another_relay_agent_gets_one_more_hop_up_to_the_limit()
    {
        var net = new DelegationHarness();
        var inner = Carry(net.Message(Dhcpv6MessageType.Solicit, Mn1), Mn1, "far0");
        var from = new IPEndPoint(IPAddress.Parse("2001:db8:9::1"), 547);

        Assert.Empty(Tell(inner with { Interface = "acc1" }));
        var sent = Tell(inner with { Interface = "acc1", Source = from })[0];
        Assert.True(RelayMessage.TryParse(sent.Payload.Span, out var relay, out _));
        Assert.Equal((1, IPAddress.IPv6Any, from.Address), ((int)relay.HopCount, new IPAddress(relay.LinkAddress), new IPAddress(relay.PeerAddress)));
        Assert.Equal(inner.Payload.ToArray(), relay.Relayed.ToArray());

        // The answer goes to that relay agent's port, not to a client's.
        var back = Assert.Single(Through(net, sent));
        Assert.Equal(new IPEndPoint(from.Address, 547), back.Destination);

        var tired = inner.Payload.ToArray();
        tired[1] = Dhcpv6Limits.HopCount;
        Assert.Empty(Tell(inner with { Interface = "acc1", Source = from, Payload = tired }));
    }

    private static IPAddress Mn1Address => IPAddress.Parse("fe80::1");

    private static DatagramReceived Received(SendDatagram sent) => new(new IPEndPoint(Relay, 547), sent.Destination, sent.Payload, "core0");

    private IReadOnlyList<SendDatagram> Through(DelegationHarness net, SendDatagram forwarded)
    {
        var reply = Assert.Single(net.Tell(Received(forwarded)).OfType<SendDatagram>());
        return Tell(new DatagramReceived(new IPEndPoint(Server, 547), reply.Destination, reply.Payload, "core0"));
    }

    private IReadOnlyList<SendDatagram> Tell(DatagramReceived datagram)
    {
        _sink.Clear();
        _agent.Handle(datagram, DateTimeOffset.UnixEpoch, _sink);
        return [.. _sink.Effects.OfType<SendDatagram>()];
    }
}
