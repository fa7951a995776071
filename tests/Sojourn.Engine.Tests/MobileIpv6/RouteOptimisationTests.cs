using System.Net;
using System.Security.Cryptography;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;
using static Sojourn.Engine.Tests.MobileIpv6.HomeLinkWorld;

namespace Sojourn.Engine.Tests.MobileIpv6;

/// <summary>Return routability between mobile node and correspondent, bindings at the correspondent, binding errors.</summary>
public class RouteOptimisationTests
{
    private const string Visited = "2001:db8:f:1::/64", Next = "2001:db8:f:2::/64";

    private static HomeLinkWorld Optimised(bool wait = true)
    {
        var world = new HomeLinkWorld();
        world.TellNode(new SetHomeAddress(HomeAddress, HomeNetwork, world.Now + TimeSpan.FromDays(1)));
        world.Attach(Visited);
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(BindingUpdateState.Registered, world.Entry?.State);
        world.TellNode(new OptimiseRoute(PeerAddress));
        if (wait)
        {
            world.Run(TimeSpan.FromSeconds(1));
            Assert.Equal(world.Node.CareOfAddress, world.Peer.CareOf(HomeAddress));
        }

        return world;
    }

    [Fact]
    [Trait("Row", "TM-R104")]
    [Trait("Row", "TM-S1")]
    [Trait("Row", "TM-A-22")]
    public void Both_tests_then_an_authorised_update_then_the_short_way()
    {
        var world = Optimised();
        Assert.Equal(["HomeTestInit", "CareOfTestInit"], world.Messages<TestInit>().Select(m => m.Message.Type.ToString()));
        Assert.Equal(HomeAddress, world.Messages<HomeTestInit>().Single().Packet.Source);
        Assert.Equal(world.Node.CareOfAddress, world.Messages<CareOfTestInit>().Single().Packet.Source);
        var update = world.Messages<BindingUpdate>().Single(m => m.Packet.Destination.Equals(PeerAddress));
        Assert.Equal((HomeAddress, BindingUpdateFlags.Acknowledge, (ushort)105), (update.Packet.HomeAddress, update.Message.Flags, update.Message.Lifetime));
        var acknowledgement = world.Messages<BindingAcknowledgement>().Single(m => m.Packet.Source.Equals(PeerAddress));
        Assert.Equal((BindingStatus.Accepted, HomeAddress), (acknowledgement.Message.Status, acknowledgement.Packet.RoutingHomeAddress));
        Assert.NotNull(acknowledgement.Message.Options.Find<BindingAuthorizationDataOption>());
        Assert.Equal(new RouteOptimised(PeerAddress, HomeAddress, world.Node.CareOfAddress!), world.NodeEffects.OfType<RouteOptimised>().Single());
        Assert.Equal(BindingUpdateState.Registered, world.Node.CorrespondentRegistrations.Single().State);

        // What the correspondent sends takes the routing header, what comes with the option is given up as from the home address.
        var data = new MobileIpv6Packet { Source = PeerAddress, Destination = HomeAddress, Protocol = IpProtocol.Udp, Payload = new byte[16] };
        var sent = world.TellPeer(new SendFromHost(data.ToArray())).OfType<SendIpv6Packet>().Single();
        Assert.True(MobileIpv6Packet.TryParse(sent.Packet.Span, out var routed, out _));
        Assert.Equal((world.Node.CareOfAddress, HomeAddress), (routed.Destination, routed.RoutingHomeAddress));
        var given = Assert.Single(world.TellPeer(Data(world.Node.CareOfAddress!)).OfType<DeliverIpv6Packet>());
        Assert.True(MobileIpv6Packet.TryParse(given.Packet.Span, out var read, out _));
        Assert.Equal((HomeAddress, null), (read.Source, read.HomeAddress));
    }

    /// <summary>Every hop of the world is 10 ms: one round trip to the home agent, beside it one to the peer, then one for the update.</summary>
    [Fact]
    public void After_a_move_the_short_way_is_back_two_round_trips_after_the_new_address()
    {
        var world = Optimised();
        world.NodeEffects.Clear();
        var moved = world.Now;
        world.Attach(Next);
        Assert.Equal(new RouteEnded(PeerAddress, HomeAddress), world.NodeEffects.OfType<RouteEnded>().Single());
        Assert.Equal(moved, world.Messages<CareOfTestInit>().Last().At);

        // What the peer sends takes the way home half a round trip after the move, and the node knows of no short way before the answer.
        world.Run(TimeSpan.FromMilliseconds(11));
        Assert.Null(world.Peer.CareOf(HomeAddress));
        Assert.Equal(1, world.PeerCount("mip6.cn.deleted"));
        world.Run(TimeSpan.FromMilliseconds(20));
        Assert.Equal(world.Node.CareOfAddress, world.Peer.CareOf(HomeAddress));
        Assert.Empty(world.NodeEffects.OfType<RouteOptimised>());
        world.Run(TimeSpan.FromMilliseconds(10));
        Assert.Equal(world.Node.CareOfAddress, world.NodeEffects.OfType<RouteOptimised>().Single().CareOfAddress);

        // The home token is still good: one care-of test, an update that is not acknowledged and one that is.
        Assert.Single(world.Messages<HomeTestInit>());
        Assert.Equal(2, world.Messages<CareOfTestInit>().Count());
        Assert.Equal([(105, true), (0, false), (105, true)], world.Messages<BindingUpdate>().Where(m => m.Packet.Destination.Equals(PeerAddress)).Select(m => ((int)m.Message.Lifetime, m.Message.Flags.HasFlag(BindingUpdateFlags.Acknowledge))));
    }

    [Fact]
    public void A_peer_is_not_told_of_a_place_that_the_home_agent_has_not_confirmed()
    {
        var world = Optimised();
        world.Loses = p => p.Source.Equals(Agent);
        world.Attach(Next);
        world.Run(TimeSpan.FromSeconds(10));
        Assert.Null(world.Peer.CareOf(HomeAddress));
        world.Loses = _ => false;
        world.Run(TimeSpan.FromSeconds(10));
        Assert.Equal(world.Node.CareOfAddress, world.Peer.CareOf(HomeAddress));
    }

    [Fact]
    public void A_peer_that_has_not_heard_that_the_place_was_left_is_told_of_the_new_one_all_the_same()
    {
        var world = Optimised();
        var deaf = true;
        world.Loses = p => deaf && p.Destination.Equals(PeerAddress) && p.HomeAddress is not null;
        world.Attach(Next);
        world.Run(TimeSpan.FromMilliseconds(5));
        deaf = false;
        world.Run(TimeSpan.FromMilliseconds(60));
        Assert.Equal(0, world.PeerCount("mip6.cn.deleted"));
        Assert.Equal(world.Node.CareOfAddress, world.Peer.CareOf(HomeAddress));
    }

    /// <summary>RFC 6275 5.2.7: 210 s. One that is renewed before is there when the node moves.</summary>
    [Fact]
    public void Whenever_the_node_moves_it_has_a_home_token()
    {
        var world = Optimised();
        for (var i = 0; i < 12; i++)
        {
            world.Run(TimeSpan.FromSeconds(97));
            var asked = world.Messages<HomeTestInit>().Count();
            world.Attach(i % 2 == 0 ? Next : Visited);
            world.Run(TimeSpan.FromMilliseconds(50));
            Assert.Equal(world.Node.CareOfAddress, world.Peer.CareOf(HomeAddress));
            Assert.Equal(asked, world.Messages<HomeTestInit>().Count());
        }
    }

    [Fact]
    public void The_binding_is_renewed_with_new_tests_and_stays()
    {
        var world = Optimised();
        for (var i = 0; i < 20; i++)
        {
            world.Run(TimeSpan.FromSeconds(60));
            world.Advertise(Visited);
            Assert.Equal(world.Node.CareOfAddress, world.Peer.CareOf(HomeAddress));
        }

        Assert.InRange(world.Messages<HomeTestInit>().Count(), 6, 8);
    }

    [Fact]
    public void Coming_home_takes_the_binding_of_the_correspondent_back()
    {
        var world = Optimised();
        world.Attach(HomeNetwork.ToString());
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Null(world.Peer.CareOf(HomeAddress));
        Assert.Equal(1, world.PeerCount("mip6.cn.deleted"));
        world.Attach(Next);
        world.Run(TimeSpan.FromSeconds(3));
        Assert.Equal(world.Node.CareOfAddress, world.Peer.CareOf(HomeAddress));
    }

    [Fact]
    public void Tests_are_repeated_until_they_are_answered()
    {
        var world = Optimised(wait: false);
        world.Loses = p => p.Source.Equals(PeerAddress);
        world.Run(TimeSpan.FromSeconds(20));
        var tests = world.Messages<CareOfTestInit>().ToList();
        Assert.Equal([1.0, 2, 4, 8], tests.Zip(tests.Skip(1), (a, b) => (b.At - a.At).TotalSeconds).Take(4));
        world.Loses = _ => false;
        world.Run(TimeSpan.FromSeconds(33));
        Assert.Equal(world.Node.CareOfAddress, world.Peer.CareOf(HomeAddress));
    }

    [Fact]
    [Trait("Row", "TM-L17")]
    public void A_binding_error_of_a_correspondent_that_lost_its_binding_ends_the_short_way()
    {
        var world = Optimised();
        world.Run(TimeSpan.FromSeconds(4));
        var stranger = new Correspondent(new CorrespondentOptions { Address = PeerAddress }, new SeededRandom(9));
        var sink = new EffectSink();
        stranger.Handle(Data(world.Node.CareOfAddress!), world.Now, sink);
        Assert.Empty(sink.Effects.OfType<DeliverIpv6Packet>());
        var error = sink.Effects.OfType<SendIpv6Packet>().Single();
        Assert.True(MobileIpv6Packet.TryParse(error.Packet.Span, out var packet, out _));
        Assert.True(MobilityMessage.TryParse(packet.Payload.Span, out var message, out _));
        Assert.Equal(new BindingError(BindingErrorStatus.UnknownBinding, HomeAddress), message);
        Assert.Null(packet.RoutingHomeAddress);

        world.NodeEffects.Clear();
        world.TellNode(new Ipv6PacketReceived(error.Packet, Wlan));
        Assert.Equal(PeerAddress, world.NodeEffects.OfType<RouteEnded>().Single().Peer);
        Assert.Equal(BindingUpdateState.Registered, world.Entry!.State);
    }

    [Fact]
    [Trait("Row", "TM-NC19")]
    public void A_binding_error_is_ignored_and_counted_while_packets_arrive_by_the_short_way()
    {
        var world = Optimised();
        world.TellNode(new RouteProgressed(PeerAddress));
        var careOf = world.Node.CareOfAddress!;
        var error = new BindingError(BindingErrorStatus.UnknownBinding, HomeAddress);
        var packet = new MobileIpv6Packet { Source = PeerAddress, Destination = careOf, Protocol = IpProtocol.Mobility, Payload = error.ToArray(PeerAddress, careOf) };
        world.TellNode(new Ipv6PacketReceived(packet.ToArray(), Wlan));
        Assert.Equal(1, world.NodeCount("mip6.mn.ignored.error_in_progress"));
        Assert.Empty(world.NodeEffects.OfType<RouteEnded>());

        // One of somebody we have no binding with means nothing.
        var other = IPAddress.Parse("2001:db8:c::bad");
        world.TellNode(new Ipv6PacketReceived((packet with { Source = other, Payload = error.ToArray(other, careOf) }).ToArray(), Wlan));
        Assert.Equal(1, world.NodeCount("mip6.mn.ignored.error"));
    }

    [Fact]
    public void An_update_with_a_wrong_authenticator_or_old_nonces_makes_no_binding()
    {
        var world = Optimised();
        var (update, packet) = world.Messages<BindingUpdate>().Where(m => m.Packet.Destination.Equals(PeerAddress)).Select(m => (m.Message, m.Packet)).Single();

        // Another place, same authenticator.
        var thief = IPAddress.Parse("2001:db8:bad::1");
        var stolen = update with { SequenceNumber = (ushort)(update.SequenceNumber + 1) };
        world.TellPeer(new Ipv6PacketReceived((packet with { Source = thief, Payload = stolen.ToArray(HomeAddress, PeerAddress) }).ToArray()));
        Assert.Equal(1, world.PeerCount("mip6.cn.ignored.authenticator"));

        // The same again: a sequence number that is not newer.
        world.TellPeer(new Ipv6PacketReceived(packet.ToArray()));
        Assert.Equal(1, world.PeerCount("mip6.cn.refused.135"));
        Assert.Equal(world.Node.CareOfAddress, world.Peer.CareOf(HomeAddress));

        // Nonces live four minutes; a refusal for their age carries no authenticator.
        var second = new HomeLinkWorld();
        second.TellPeer(new Ipv6PacketReceived(packet.ToArray()));
        Assert.Equal(1, second.PeerCount("mip6.cn.refused.138"));
        var refused = second.Messages<BindingAcknowledgement>().Single().Message;
        Assert.Null(refused.Options.Find<BindingAuthorizationDataOption>());

        // Without nonces and authenticator there is not even an answer.
        var bare = new BindingUpdate { SequenceNumber = 1, Flags = BindingUpdateFlags.Acknowledge, Lifetime = 100 };
        Assert.Empty(second.TellPeer(new Ipv6PacketReceived((packet with { Payload = bare.ToArray(HomeAddress, PeerAddress) }).ToArray())).OfType<SendIpv6Packet>());
    }

    [Fact]
    public void A_home_test_that_did_not_come_through_the_tunnel_proves_nothing()
    {
        var world = Optimised(wait: false);
        world.Loses = p => p.Source.Equals(PeerAddress);
        var cookie = world.Messages<HomeTestInit>().Single().Message.Cookie;
        var forged = new MobileIpv6Packet { Source = PeerAddress, Destination = HomeAddress, Protocol = IpProtocol.Mobility, Payload = new HomeTest(1, cookie, 42).ToArray(PeerAddress, HomeAddress) };
        world.TellNode(new Ipv6PacketReceived(forged.ToArray(), Wlan));
        Assert.Equal(1, world.NodeCount("mip6.mn.ignored.test"));
    }

    [Fact]
    public void Binding_errors_are_limited_in_number()
    {
        var world = new HomeLinkWorld();
        for (var i = 0; i < 100; i++)
        {
            world.TellPeer(Data(IPAddress.Parse("2001:db8:f:1::5")));
        }

        Assert.Equal((10, 90), (world.PeerCount("mip6.cn.error_sent"), world.PeerCount("mip6.cn.error_withheld")));
    }

    [Fact]
    public void Tokens_keys_and_authenticators_are_those_of_the_standard()
    {
        byte[] key = [.. Enumerable.Range(0, 20).Select(i => (byte)i)], nonce = [1, 2, 3, 4, 5, 6, 7, 8];
        byte[] home = HomeAddress.GetAddressBytes(), careOf = PeerAddress.GetAddressBytes();
#pragma warning disable CA5350
        var homeMac = HMACSHA1.HashData(key, (byte[])[.. home, .. nonce, 0]);
        var careOfMac = HMACSHA1.HashData(key, (byte[])[.. careOf, .. nonce, 1]);
        var homeToken = ReturnRoutability.KeygenToken(key, HomeAddress, nonce, careOf: false);
        var careOfToken = ReturnRoutability.KeygenToken(key, PeerAddress, nonce, careOf: true);
        Assert.Equal(Convert.ToHexString(homeMac[..8]), homeToken.ToString("X16"));
        Assert.Equal(Convert.ToHexString(careOfMac[..8]), careOfToken.ToString("X16"));
        Assert.Equal(SHA1.HashData((byte[])[.. homeMac[..8], .. careOfMac[..8]]), ReturnRoutability.BindingKey(homeToken, careOfToken));
        Assert.Equal(SHA1.HashData(homeMac[..8]), ReturnRoutability.BindingKey(homeToken, null));

        // 3b 03 05 00, checksum 0, number, flags, lifetime; nonce indices; padding to 8n+2; the option without its authenticator.
        var update = new BindingUpdate { SequenceNumber = 7, Flags = BindingUpdateFlags.Acknowledge, Lifetime = 105, Options = MobilityOptions.Of(new NonceIndicesOption(3, 4)) };
        var signed = ReturnRoutability.Authorize(update, key, PeerAddress, Agent);
        var text = Convert.FromHexString("3b030500" + "0000" + "0007" + "8000" + "0069" + "040400030004" + "050c");
        Assert.Equal(HMACSHA1.HashData(key, (byte[])[.. careOf, .. Agent.GetAddressBytes(), .. text])[..12], signed.Options.Find<BindingAuthorizationDataOption>()!.Authenticator.ToArray());
#pragma warning restore CA5350
    }

    private static Ipv6PacketReceived Data(IPAddress careOf) =>
        new(new MobileIpv6Packet { Source = careOf, Destination = PeerAddress, HomeAddress = HomeAddress, Protocol = IpProtocol.Udp, Payload = new byte[16] }.ToArray());
}
