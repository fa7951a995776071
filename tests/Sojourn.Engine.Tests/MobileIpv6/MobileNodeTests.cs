using System.Net;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;
using static Sojourn.Engine.Tests.MobileIpv6.HomeLinkWorld;

namespace Sojourn.Engine.Tests.MobileIpv6;

/// <summary>Mobile node, its host stack and the home agent together: movement, registration, loss, coming home.</summary>
public class MobileNodeTests
{
    private const string Visited = "2001:db8:f:1::/64", Next = "2001:db8:f:2::/64";

    private static readonly IPNetwork s_visited = IPNetwork.Parse(Visited), s_next = IPNetwork.Parse(Next);

    private static HomeLinkWorld Away(Func<MobileNodeOptions, MobileNodeOptions>? node = null, Func<HomeAgentOptions, HomeAgentOptions>? agent = null, bool move = true, TimeSpan? valid = null)
    {
        var world = new HomeLinkWorld(agent, node, valid: valid) { AssociationsMove = move };
        world.TellNode(new SetHomeAddress(HomeAddress, HomeNetwork, world.Now + (valid ?? TimeSpan.FromDays(1))));
        return world;
    }

    private static HomeLinkWorld Registered(Func<MobileNodeOptions, MobileNodeOptions>? node = null, Func<HomeAgentOptions, HomeAgentOptions>? agent = null, bool move = true, TimeSpan? valid = null)
    {
        var world = Away(node, agent, move, valid);
        world.Attach(Visited);
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(BindingUpdateState.Registered, world.Entry?.State);
        return world;
    }

    [Fact]
    [Trait("Row", "TA0.2")]
    [Trait("Row", "TA0.4")]
    [Trait("Row", "TA1.116")]
    [Trait("Row", "TA1.117")]
    [Trait("Row", "TA1.118")]
    [Trait("Row", "TA1.133")]
    [Trait("Row", "TA1.134")]
    [Trait("Row", "TA1.136")]
    [Trait("Row", "TA1.137")]
    [Trait("Row", "TA-D9")]
    [Trait("Row", "TA-M62")]
    [Trait("Row", "TA-M63")]
    public void From_a_foreign_advertisement_to_a_registration()
    {
        var world = Away();
        var states = new List<BindingUpdateState?>();
        world.Loses = _ =>
        {
            states.Add(world.Entry?.State);
            return false;
        };
        world.Attach(Visited);
        Assert.True(s_visited.Contains(world.Node.CareOfAddress!));
        world.Run(TimeSpan.FromSeconds(1));

        // Discovery from the care-of address to the anycast address, then the association, then update and acknowledgement under it.
        var request = world.Crossed[0].Packet;
        Assert.Equal((world.Node.CareOfAddress, HomeAgentAddressDiscoveryRequest.AnycastAddress(HomeNetwork)), (request.Source, request.Destination));
        Assert.Equal(Agent, Assert.Single(world.IcmpMessages<HomeAgentAddressDiscoveryReply>()).HomeAgents[0]);
        var update = Assert.Single(world.Messages<BindingUpdate>());
        Assert.Equal((world.Node.CareOfAddress, HomeAddress, Agent), (update.Packet.Source, update.Packet.HomeAddress, update.Packet.Destination));
        Assert.Equal(BindingUpdateFlags.Acknowledge | BindingUpdateFlags.HomeRegistration | BindingUpdateFlags.KeyManagementMobility, update.Message.Flags);
        Assert.Equal(world.Node.CareOfAddress, update.Message.AlternateCareOfAddress);
        var acknowledgement = Assert.Single(world.Messages<BindingAcknowledgement>());
        Assert.Equal((HomeAddress, (long?)1, (long?)1), (acknowledgement.Packet.RoutingHomeAddress, acknowledgement.Under, update.Under));

        // Temporary while the update was under way, registered since the acknowledgement.
        Assert.Equal(BindingUpdateState.Temporary, states[^1]);
        Assert.Equal((BindingUpdateState.Registered, Agent), (world.Entry!.State, world.Entry.Peer));
        Assert.Equal(world.Entry.CareOfAddress, world.Binding!.CareOfAddress);
        var path = Assert.Single(world.NodeEffects.OfType<ChangePaths>().Single().Install);
        Assert.Equal((new IPNetwork(HomeAddress, 128), world.Node.CareOfAddress, Agent), (path.Source, path.LocalGateway, path.RemoteGateway));
    }

    [Fact]
    [Trait("Row", "TA-I3")]
    public void Without_an_association_no_update_leaves()
    {
        var world = Away();
        world.KeyManagement = false;
        world.Attach(Visited);
        world.Run(TimeSpan.FromMinutes(2));
        Assert.Single(world.NodeEffects.OfType<RequestAssociation>());
        Assert.Empty(world.Messages<BindingUpdate>());
    }

    [Fact]
    [Trait("Row", "TA-M64")]
    [Trait("Row", "TM-S1")]
    public void Updates_are_repeated_from_a_second_and_a_half_doubling_to_32_with_new_numbers()
    {
        var world = Away(o => o with { HomeAgent = Agent });
        world.Loses = p => p.Protocol == IpProtocol.Mobility;
        world.Attach(Visited);
        world.Run(TimeSpan.FromSeconds(160));
        var updates = world.Messages<BindingUpdate>().ToList();
        Assert.Equal([1.5, 3, 6, 12, 24, 32, 32], updates.Zip(updates.Skip(1), (a, b) => (b.At - a.At).TotalSeconds).Take(7));
        Assert.All(updates.Zip(updates.Skip(1)), pair => Assert.Equal((ushort)(pair.First.Message.SequenceNumber + 1), pair.Second.Message.SequenceNumber));
        Assert.Equal(BindingUpdateState.Temporary, world.Entry!.State);

        world.Loses = _ => false;
        world.Run(TimeSpan.FromSeconds(33));
        Assert.Equal(BindingUpdateState.Registered, world.Entry!.State);
    }

    [Fact]
    [Trait("Row", "TA-N23")]
    [Trait("Row", "TA1.137x")]
    public void An_acknowledgement_in_clear_or_under_another_association_is_ignored_and_the_update_repeated()
    {
        var world = Away(o => o with { HomeAgent = Agent });
        world.Loses = p => p.Source.Equals(Agent);
        world.Attach(Visited);
        world.Run(TimeSpan.FromSeconds(0.5));
        var update = world.Messages<BindingUpdate>().Single();
        var forged = new MobileIpv6Packet
        {
            Source = Agent,
            Destination = world.Node.CareOfAddress!,
            RoutingHomeAddress = HomeAddress,
            Protocol = IpProtocol.Mobility,
            Payload = new BindingAcknowledgement { Status = BindingStatus.Accepted, SequenceNumber = update.Message.SequenceNumber, Lifetime = 100 }.ToArray(Agent, HomeAddress),
        };
        world.TellNode(new Ipv6PacketReceived(forged.ToArray(), Wlan));
        world.TellNode(new Ipv6PacketReceived(forged.ToArray(), Wlan, null, 99));
        Assert.Equal((1, 1), (world.NodeCount("mip6.mn.ignored.unprotected"), world.NodeCount("mip6.mn.ignored.no_association")));
        Assert.Equal(BindingUpdateState.Temporary, world.Entry!.State);
        Assert.Empty(world.NodeEffects.OfType<ChangePaths>());
        world.Run(TimeSpan.FromSeconds(5));
        var updates = world.Messages<BindingUpdate>().ToList();
        Assert.Equal([1.5, 3], updates.Zip(updates.Skip(1), (a, b) => (b.At - a.At).TotalSeconds).Take(2));
    }

    [Fact]
    [Trait("Row", "TA-M14")]
    public void A_move_keeps_the_association_and_changes_the_binding_within_a_round_trip()
    {
        var world = Registered();
        var moved = world.Now;
        world.Attach(Next);
        world.Run(TimeSpan.FromMilliseconds(20));
        Assert.True(s_next.Contains(world.Binding!.CareOfAddress));
        Assert.Equal(BindingUpdateState.Registered, world.Entry!.State);
        Assert.Equal(moved + TimeSpan.FromMilliseconds(20), world.Now);
        Assert.Single(world.NodeEffects.OfType<RequestAssociation>());
        Assert.Equal(world.Node.CareOfAddress, world.AgentEffects.OfType<MoveAssociation>().Last().CareOfAddress);
        Assert.Equal(world.Node.CareOfAddress, world.NodeEffects.OfType<MoveAssociation>().Last().CareOfAddress);
        Assert.Equal(world.Node.CareOfAddress, world.NodeEffects.OfType<ChangePaths>().Last().Install.Single().LocalGateway);
    }

    [Fact]
    [Trait("Row", "TA-M14")]
    public void An_association_that_cannot_move_is_made_anew_before_the_update()
    {
        var world = Registered(move: false);
        world.Attach(Next);
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(2, world.NodeEffects.OfType<RequestAssociation>().Count());
        Assert.Equal([(long?)1, 2], world.Messages<BindingUpdate>().Select(u => u.Under));
        Assert.All(world.Messages<BindingUpdate>(), u => Assert.False(u.Message.Has(BindingUpdateFlags.KeyManagementMobility)));
        Assert.True(s_next.Contains(world.Binding!.CareOfAddress));
    }

    [Fact]
    [Trait("Row", "TA-M66")]
    public void A_binding_is_renewed_in_time_and_never_runs_out()
    {
        var world = Registered(o => o with { Lifetime = TimeSpan.FromSeconds(400) });
        for (var i = 0; i < 20; i++)
        {
            world.Run(TimeSpan.FromSeconds(100));
            world.Advertise(Visited);
            Assert.NotNull(world.Binding);
        }

        var updates = world.Messages<BindingUpdate>().ToList();
        Assert.All(updates.Zip(updates.Skip(1), (a, b) => b.At - a.At), gap => Assert.Equal(320, gap.TotalSeconds));
        Assert.Empty(world.AgentEffects.OfType<ReleaseHomeAddress>());
    }

    [Fact]
    [Trait("Row", "TA-M61")]
    public void Discovery_is_repeated_from_three_seconds_four_times()
    {
        var world = Away();
        world.Loses = _ => true;
        world.Attach(Visited);
        world.Run(TimeSpan.FromSeconds(60));
        Assert.Equal([3.0, 6, 12], world.Crossed.Zip(world.Crossed.Skip(1), (a, b) => (b.At - a.At).TotalSeconds));
        Assert.Equal(1, world.NodeCount("mip6.mn.discovery_failed"));
        world.Loses = _ => false;
        world.Run(TimeSpan.FromSeconds(60));
        Assert.Equal(BindingUpdateState.Registered, world.Entry?.State);
    }

    [Fact]
    [Trait("Row", "TM-S13")]
    [Trait("Row", "TM0.1")]
    [Trait("Row", "TM0.3")]
    [Trait("Row", "TA0.1")]
    [Trait("Row", "TM-AC36")]
    public void Coming_home_takes_the_binding_back_from_the_home_address_and_tells_the_neighbours()
    {
        var world = Registered();
        world.NodeEffects.Clear();
        world.Attach(HomeNetwork.ToString());
        Assert.True(world.Node.AtHome);
        world.Run(TimeSpan.FromSeconds(1));
        var update = world.Messages<BindingUpdate>().Last();
        Assert.Equal((HomeAddress, null, (ushort)0), (update.Packet.Source, update.Packet.HomeAddress, update.Message.Lifetime));
        Assert.Equal(HomeAddress, update.Message.AlternateCareOfAddress);
        Assert.Null(world.Binding);
        Assert.Null(world.Entry);
        Assert.Equal(MobileTunnel.IdOf(HomeAddress), world.NodeEffects.OfType<ChangePaths>().Single().Remove.Single());

        // The home agent still held the address, so it was not tested (RFC 6275 11.5.5); after its answer all neighbours hear where it is.
        Assert.False(world.NodeEffects.OfType<HoldHomeAddress>().Single().Test);
        Assert.Equal(HomeAddress, world.NodeEffects.OfType<AnnounceHomeAddress>().Single().HomeAddress);

        world.Attach(Next);
        world.Run(TimeSpan.FromSeconds(1));
        Assert.True(s_next.Contains(world.Binding!.CareOfAddress));
    }

    [Fact]
    public void A_home_agent_that_remembers_another_number_is_followed()
    {
        var world = Registered();
        var association = world.Binding!.Association;
        world.Update((ushort)(world.Entry!.SequenceNumber + 5000), association, world.Node.CareOfAddress);
        world.Attach(Next);
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(BindingUpdateState.Registered, world.Entry!.State);
        Assert.True(s_next.Contains(world.Binding!.CareOfAddress));
        Assert.Equal(1, world.NodeCount("mip6.mn.refused.135"));
    }

    [Fact]
    public void A_refusing_home_agent_is_asked_again_ever_more_slowly_and_at_a_new_place_at_once()
    {
        var world = Away(agent: o => o with { Prefixes = [new HomePrefix(IPNetwork.Parse("2001:db8:a:99::/64"), DateTimeOffset.MaxValue, DateTimeOffset.MaxValue, false)] }, node: o => o with { HomeAgent = Agent });
        world.Attach(Visited);
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Equal((1, BindingStatus.NotHomeSubnet), (world.NodeCount("mip6.mn.refused.132"), world.Node.Refusal));
        world.Run(TimeSpan.FromMinutes(30));
        var asked = world.Messages<BindingUpdate>().Select(m => m.At).ToList();
        var pauses = asked.Zip(asked.Skip(1), (a, b) => Math.Round((b - a).TotalSeconds)).ToList();
        Assert.Equal([5.0, 10, 20, 40, 80, 160, 300, 300], pauses.Take(8));
        world.Attach(Next);
        world.Run(TimeSpan.FromSeconds(8));
        Assert.Equal(asked.Count + 2, world.Messages<BindingUpdate>().Count());
    }

    [Fact]
    public void No_more_than_three_updates_leave_in_a_second_however_fast_the_node_moves()
    {
        var world = Registered();
        world.Run(TimeSpan.FromSeconds(5));
        var before = world.Messages<BindingUpdate>().Count();
        for (var i = 0; i < 20; i++)
        {
            world.Attach(i % 2 == 0 ? Next : Visited);
            world.Run(TimeSpan.FromMilliseconds(25));
        }

        Assert.InRange(world.Messages<BindingUpdate>().Count() - before, 1, 3);
        world.Run(TimeSpan.FromSeconds(3));
        Assert.Equal(world.Node.CareOfAddress, world.Binding!.CareOfAddress);
        Assert.Equal(BindingUpdateState.Registered, world.Entry!.State);
    }

    [Fact]
    [Trait("Row", "TA-M65")]
    [Trait("Row", "TA0.5")]
    public void New_prefixes_reach_the_node_and_its_answer_the_home_agent()
    {
        var world = Registered();
        world.TellAgent(new SetHomePrefixes([new HomePrefix(HomeNetwork, world.Now + TimeSpan.FromHours(1), world.Now, false), new HomePrefix(IPNetwork.Parse("2001:db8:a:2::/64"), world.Now + TimeSpan.FromDays(9), world.Now + TimeSpan.FromDays(8), false)]));
        world.TellAgent(new AdvertisePrefixes([HomeAddress]));
        world.Run(TimeSpan.FromSeconds(60));
        var learned = world.NodeEffects.OfType<HomePrefixesLearned>().ToList();
        Assert.Equal(["2001:db8:a:1::/64", "2001:db8:a:2::/64"], learned[0].Prefixes.Select(p => p.Prefix.ToString()));

        // One unasked for, one in answer to the solicitation that confirmed it, and then silence.
        Assert.Equal(2, world.IcmpMessages<MobilePrefixAdvertisement>().Count());
        Assert.Single(world.IcmpMessages<MobilePrefixSolicitation>());
        Assert.All(world.Crossed.Where(c => c.Packet.Protocol == IpProtocol.Icmpv6).TakeLast(3), c => Assert.Equal(1, c.Under));
    }

    [Fact]
    [Trait("Row", "TA-H14")]
    public void A_prefix_advertisement_in_clear_is_ignored_and_counted()
    {
        var world = Registered();
        var advertisement = new MobilePrefixAdvertisement(1, MobilePrefixAdvertisementFlags.None) { Options = NeighborDiscoveryOptions.Of(new PrefixInformationOption(IPAddress.Parse("2001:db8:bad::"), 64, 0, 1000, 1000)) };
        var packet = new MobileIpv6Packet { Source = Agent, Destination = world.Node.CareOfAddress!, RoutingHomeAddress = HomeAddress, Protocol = IpProtocol.Icmpv6, Payload = advertisement.ToArray(Agent, HomeAddress) };
        world.TellNode(new Ipv6PacketReceived(packet.ToArray(), Wlan));
        Assert.Equal(1, world.NodeCount("mip6.mn.ignored.unprotected"));
        Assert.Empty(world.NodeEffects.OfType<HomePrefixesLearned>());
    }

    [Fact]
    public void A_prefix_about_to_end_makes_the_node_ask()
    {
        var world = Registered(valid: TimeSpan.FromSeconds(1000));
        Assert.Equal(BindingStatus.AcceptedPrefixDiscoveryNecessary, world.Messages<BindingAcknowledgement>().Single().Message.Status);
        Assert.Single(world.IcmpMessages<MobilePrefixSolicitation>());
        Assert.Single(world.IcmpMessages<MobilePrefixAdvertisement>());
    }

    [Fact]
    public void A_mobile_router_registers_its_networks_and_both_ends_have_a_tunnel_for_each()
    {
        var network = IPNetwork.Parse("2001:db8:a:700::/56");
        var world = Registered(o => o with { MobileNetworks = [network] }, o => o with { MobileNetworks = new Dictionary<IPAddress, IReadOnlyList<IPNetwork>> { [HomeAddress] = [network] } });
        Assert.Equal(network, world.Messages<BindingUpdate>().Single().Message.Options.Find<MobileNetworkPrefixOption>()!.Prefix);
        Assert.Equal([network], world.Binding!.MobileNetworks);
        Assert.Contains(world.NodeEffects.OfType<ChangePaths>().Single().Install, p => p.Source == network);
        Assert.Contains(world.AgentEffects.OfType<ChangePaths>().Single().Install, p => p.Destination == network);
    }

    [Fact]
    public void A_home_prefix_that_lasts_longer_does_not_end_the_pause_after_a_refusal_nor_what_comes_after_it()
    {
        var world = Away();
        world.KeyManagement = false;
        world.Attach(Visited);
        world.Run(TimeSpan.FromSeconds(1));
        world.TellNode(new AssociationRefused(HomeAddress, Agent));
        world.KeyManagement = true;
        world.Run(TimeSpan.FromSeconds(30));
        world.TellNode(new SetHomeAddress(HomeAddress, HomeNetwork, world.Now + TimeSpan.FromDays(2)));
        world.Run(TimeSpan.FromSeconds(25));
        Assert.Empty(world.Messages<BindingUpdate>());
        world.Run(TimeSpan.FromSeconds(10));
        Assert.Equal(BindingUpdateState.Registered, world.Entry?.State);
    }

    [Fact]
    public void Who_has_left_comes_back_from_the_same_place_when_told()
    {
        var world = Registered();
        world.TellNode(new LeaveHomeAgent());
        world.Run(TimeSpan.FromSeconds(20));
        Assert.Null(world.Binding);
        world.TellNode(new SetHomeAddress(HomeAddress, HomeNetwork, world.Now + TimeSpan.FromDays(1)));
        world.Run(TimeSpan.FromSeconds(2));
        Assert.Equal(BindingUpdateState.Registered, world.Entry?.State);
        Assert.Equal(world.Node.CareOfAddress, world.Binding?.CareOfAddress);
    }

    [Fact]
    public void Leaving_takes_the_binding_back_and_the_node_stays_silent()
    {
        var world = Registered();
        world.TellNode(new LeaveHomeAgent());
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Null(world.Binding);
        Assert.Null(world.Entry);
        var sent = world.Crossed.Count;
        world.Attach(Next);
        world.Run(TimeSpan.FromMinutes(5));
        Assert.Equal(sent, world.Crossed.Count);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    public void Whatever_is_lost_and_however_it_moves_the_binding_is_right_in_the_end(int seed)
    {
        var random = new Random(seed);
        var world = Away();
        world.Loses = _ => random.Next(100) < 30;
        for (var i = 0; i < 30; i++)
        {
            world.Attach(random.Next(4) == 0 ? HomeNetwork.ToString() : $"2001:db8:f:{random.Next(1, 6)}::/64");
            world.Run(TimeSpan.FromMilliseconds(random.Next(1, 8000)));
        }

        world.Loses = _ => false;
        world.Attach(Next);
        world.Run(TimeSpan.FromMinutes(3));
        Assert.Equal(BindingUpdateState.Registered, world.Entry?.State);
        Assert.Equal(world.Node.CareOfAddress, world.Binding?.CareOfAddress);
        Assert.True(s_next.Contains(world.Node.CareOfAddress!));
    }
}
