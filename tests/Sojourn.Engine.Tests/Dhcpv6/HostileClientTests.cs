using System.Net;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Wire.Dhcpv6;
using Xunit;
using static Sojourn.Engine.Tests.Dhcpv6.DelegationHarness;

namespace Sojourn.Engine.Tests.Dhcpv6;

/// <summary>What strangers and forgers do to a delegating router.</summary>
public sealed class HostileClientTests
{
    [Fact]
    [Trait("Row", "TA-H9")]
    public void A_forger_on_another_link_gets_nothing_and_ends_nothing()
    {
        var net = new DelegationHarness();
        var lease = net.Delegate(Mn1, at: "acc0").Prefix!.Value;
        var before = net.Stored[new AssociationKey(Mn1, 1)];

        Assert.True(net.Solicit(Mn1, at: "acc1")!.NoPrefix);
        Assert.True(net.Solicit(Mn1)!.NoPrefix);
        Assert.True(net.Request(Mn1, named: lease, at: "acc1")!.NoPrefix);
        Assert.Null(Answer(net.Send(Dhcpv6MessageType.Release, Mn1, named: lease, at: "acc1")));
        Assert.Null(Answer(net.Send(Dhcpv6MessageType.Decline, Mn1, named: lease, at: "acc1")));
        Assert.Equal(Dhcpv6Status.NoBinding, Answer(net.Send(Dhcpv6MessageType.Renew, Mn1, named: lease, at: "acc1"))!.InAssociation);

        Assert.Equal(before, net.Stored[new AssociationKey(Mn1, 1)]);
        Assert.Empty(net.Ended);
        Assert.Equal(lease.Prefix, Answer(net.Send(Dhcpv6MessageType.Renew, Mn1, named: lease, at: "acc0"))!.Prefix!.Value.Prefix);
    }

    [Fact]
    public void A_client_that_may_be_anywhere_takes_its_prefix_along_and_the_route_follows()
    {
        var net = new DelegationHarness();
        net.Know(Mn1, 1, "mn1.home.example", PrefixIdentity.Anywhere);
        var lease = net.Delegate(Mn1).Prefix!.Value;
        Assert.Equal(Link, net.Routes[lease.Prefix].Interface);

        Assert.Equal(lease.Prefix, Answer(net.Send(Dhcpv6MessageType.Rebind, Mn1, named: lease, at: "acc7"))!.Prefix!.Value.Prefix);

        Assert.Equal(new DelegatedRoute(lease.Prefix, Relay, null), net.Routes[lease.Prefix]);
        Assert.Equal($"relay {Relay} link 2001:db8:a::1 port acc7", net.Stored[new AssociationKey(Mn1, 1)].Location);
    }

    [Fact]
    [Trait("Row", "TA-D3")]
    public void A_client_bound_to_a_relay_agent_is_served_there_and_nowhere_else()
    {
        var net = new DelegationHarness();
        net.Know(Mn1, 1, "mn1.home.example", Relay.ToString());
        Assert.True(net.Solicit(Mn1)!.NoPrefix);
        net.Delegate(Mn1, at: "acc3");
    }

    [Fact]
    [Trait("Row", "TA-H10")]
    public void A_flood_of_unknown_DUIDs_costs_no_query_no_entry_and_no_client()
    {
        var net = new DelegationHarness(options => options with { RefusalsOfStrangers = 100 });
        var random = new Random(3);
        var octets = new byte[6];
        var answers = 0;
        for (var i = 0; i < 50_000; i++)
        {
            random.NextBytes(octets);
            answers += net.Solicit(Duid.OfLinkLayer(1, octets)) is null ? 0 : 1;
            net.All.Clear();
        }

        Assert.Equal(100, answers);
        Assert.Empty(net.Queries);
        Assert.Empty(net.Router.Leases);
        Assert.Equal(49_900, net.Counters["prefix.refused.flood"]);
        net.Delegate(Mn1);
    }

    [Fact]
    [Trait("Row", "TA-H11")]
    [Trait("Row", "TA-L6")]
    public void A_refused_client_that_does_not_stop_costs_one_query_in_five_seconds()
    {
        var net = new DelegationHarness(options => options with { MessagesPerClient = 1_000_000 });
        net.Approved.Clear();
        for (var i = 0; i < 3000; i++)
        {
            net.Solicit(Mn1);
            net.Request(Mn1);
            net.Pass(TimeSpan.FromMilliseconds(10));
        }

        // 30 seconds.
        Assert.InRange(net.Queries.Count, 2, 6);
    }

    [Fact]
    [Trait("Row", "TA-L6")]
    public void Messages_of_one_client_are_limited()
    {
        var net = new DelegationHarness();
        var answered = Enumerable.Range(0, 100).Count(_ => net.Solicit(Mn1) is not null);
        Assert.Equal(25, answered);
        Assert.NotNull(net.Solicit(Mn2));
        net.Pass(DelegatingRouterOptions.RateWindow);
        Assert.NotNull(net.Solicit(Mn1));
    }

    [Fact]
    [Trait("Row", "TA-L6")]
    public void One_query_is_under_way_for_a_client_and_a_repetition_waits_with_it()
    {
        var net = new DelegationHarness { AuthorityAnswers = false };
        net.Send(Dhcpv6MessageType.Solicit, Mn1, transaction: 5);
        net.Send(Dhcpv6MessageType.Solicit, Mn1, transaction: 5);
        net.Send(Dhcpv6MessageType.Solicit, Mn1, transaction: 6);
        Assert.Single(net.Queries);

        var sent = net.AnswerQueries().OfType<SendDatagram>().ToList();
        Assert.Equal([5, 6], sent.Select(datagram => (int)datagram.Payload.Span[3]));
    }

    [Fact]
    [Trait("Row", "TA-M22")]
    public void Only_configured_links_relay_agents_and_the_multicast_address_are_served()
    {
        var net = new DelegationHarness();
        var direct = Carry(net.Message(Dhcpv6MessageType.Solicit, Mn1), Mn1, null);
        var relayed = Carry(net.Message(Dhcpv6MessageType.Solicit, Mn1), Mn1, "acc0");
        Assert.Null(Answer(net.Tell(direct with { Interface = "wan0" })));
        Assert.Null(Answer(net.Tell(direct with { Destination = new IPEndPoint(IPAddress.Parse("2001:db8:5::2"), 547) })));
        Assert.Null(Answer(net.Tell(relayed with { Source = new IPEndPoint(IPAddress.Parse("2001:db8:6::1"), 547) })));
        Assert.Empty(net.Queries);
        Assert.NotNull(Answer(net.Tell(relayed)));
    }

    [Fact]
    [Trait("Row", "TA-M22")]
    public void An_answer_goes_back_through_every_relay_agent_it_came_by()
    {
        var net = new DelegationHarness();
        var inner = Carry(net.Message(Dhcpv6MessageType.Solicit, Mn1), Mn1, "acc0").Payload;
        var writer = new Dhcpv6Writer(new byte[2048]);
        writer.Relay(Dhcpv6MessageType.RelayForward, 1, new byte[16], IPAddress.Parse("2001:db8:7::1").GetAddressBytes());
        writer.Option(Dhcpv6OptionCode.RelayMessage, inner.Span);

        var sent = Assert.Single(net.Tell(Carry(writer.Written.ToArray(), Mn1, null) with { Source = new IPEndPoint(Relay, 547) }).OfType<SendDatagram>());

        Assert.Equal(new IPEndPoint(Relay, 547), sent.Destination);
        Assert.True(RelayMessage.TryParse(sent.Payload.Span, out var outer, out _));
        Assert.Equal((Dhcpv6MessageType.RelayReply, 1, IPAddress.Parse("2001:db8:7::1")), (outer.Type, (int)outer.HopCount, new IPAddress(outer.PeerAddress)));
        Assert.False(outer.Options.Has(Dhcpv6OptionCode.InterfaceId));
        Assert.True(RelayMessage.TryParse(outer.Relayed, out var next, out _));
        Assert.True(next.Options.TryFind(Dhcpv6OptionCode.InterfaceId, out var port));
        Assert.Equal("acc0"u8.ToArray(), port.ToArray());
        Assert.True(Dhcpv6Message.TryParse(next.Relayed, out var advertise, out _));
        Assert.Equal(Dhcpv6MessageType.Advertise, advertise.Type);
    }

    [Fact]
    public void A_message_for_another_server_or_from_the_wrong_side_is_not_answered()
    {
        var net = new DelegationHarness();
        net.Solicit(Mn1);
        Assert.Null(Answer(net.Send(Dhcpv6MessageType.Request, Mn1, server: Duid.OfUuid(new byte[16]))));
        Assert.Null(Answer(net.Send(Dhcpv6MessageType.Advertise, Mn1)));
        Assert.Null(Answer(net.Send(Dhcpv6MessageType.Confirm, Mn1)));
        Assert.Equal(1, net.Counters["dhcp6.for_another_server"]);
        Assert.Equal(1, net.Counters["dhcp6.illegal"]);
    }

    [Fact]
    [Trait("Row", "TA-H20")]
    public void No_mutation_of_a_message_breaks_the_router_or_makes_an_entry_for_a_stranger()
    {
        var net = new DelegationHarness(options => options with { MessagesPerClient = int.MaxValue, RefusalsOfStrangers = int.MaxValue });
        var valid = new[] { Dhcpv6MessageType.Solicit, Dhcpv6MessageType.Request, Dhcpv6MessageType.Renew, Dhcpv6MessageType.Release }
            .SelectMany(type => new[] { Carry(net.Message(type, Mn1, named: new DelegatedPrefix(1, 1, IPNetwork.Parse("2001:db8:8000::/64"))), Mn1, null), Carry(net.Message(type, Mn1), Mn1, "acc0") })
            .ToList();
        var random = new Random(11);
        for (var i = 0; i < 60_000; i++)
        {
            var datagram = valid[i % valid.Count];
            var octets = datagram.Payload.ToArray();
            for (var n = random.Next(1, 5); n > 0; n--)
            {
                octets[random.Next(octets.Length)] = (byte)random.Next(256);
            }

            net.Tell(datagram with { Payload = octets.AsMemory(0, random.Next(3) == 0 ? random.Next(octets.Length) : octets.Length) });
            net.All.Clear();
        }

        Assert.All(net.Router.Leases, lease => Assert.Contains(lease.Key, net.Identities.Keys));
    }

    [Fact]
    public void A_message_full_of_associations_gets_an_answer_of_bounded_length()
    {
        var net = new DelegationHarness();
        var writer = new Dhcpv6Writer(new byte[60_000]);
        writer.Message(Dhcpv6MessageType.Renew, 1);
        writer.Option(Dhcpv6OptionCode.ClientIdentifier, Mn1.Octets);
        writer.Option(Dhcpv6OptionCode.ServerIdentifier, net.Router.Duid.Octets);
        for (var i = 0u; i < 40; i++)
        {
            var at = writer.BeginPrefixAssociation(i, 0, 0);
            for (var n = 0; n < 40; n++)
            {
                writer.Prefix(new DelegatedPrefix(1, 1, IPNetwork.Parse("2001:db8:8000::/64")));
            }

            writer.End(at);
        }

        var sent = Assert.Single(net.Tell(Carry(writer.Written.ToArray(), Mn1, null)).OfType<SendDatagram>());
        Assert.InRange(sent.Payload.Length, 100, 2000);
    }
}
