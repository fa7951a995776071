using System.Net;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;
using static Sojourn.Engine.Tests.MobileIpv6.HomeLinkWorld;

namespace Sojourn.Engine.Tests.MobileIpv6;

/// <summary>The home agent's routine 70 and its refusals, with updates made by hand.</summary>
public class HomeAgentTests
{
    private static readonly IPAddress s_careOf = IPAddress.Parse("2001:db8:f:1::9"), s_other = IPAddress.Parse("2001:db8:f:2::9");

    private static (HomeLinkWorld World, long Association) Make(Func<HomeAgentOptions, HomeAgentOptions>? agent = null, bool onLink = false, TimeSpan? valid = null)
    {
        var world = new HomeLinkWorld(agent, onLink: onLink, valid: valid);
        return (world, world.Associate(HomeAddress, s_careOf));
    }

    private static void Unchanged(HomeLinkWorld world, IReadOnlyList<Effect> effects, string counter)
    {
        Assert.Null(Acknowledged(effects));
        Assert.DoesNotContain(effects, e => e is SendIpv6Packet or SaveState or ChangePaths or AttractHomeAddress);
        Assert.Equal(1, world.AgentCount($"mip6.ha.discarded.{counter}"));
    }

    [Fact]
    [Trait("Row", "TA-R70")]
    [Trait("Row", "TA-R71")]
    [Trait("Row", "TA-R74")]
    [Trait("Row", "TA-R76")]
    [Trait("Row", "TA-R77")]
    [Trait("Row", "TA1.135")]
    [Trait("Row", "TA-D1")]
    public void An_update_under_the_association_is_saved_and_acknowledged_under_it()
    {
        var (world, association) = Make();
        var effects = world.Update(7, association);
        var binding = world.Binding!;
        Assert.Equal((s_careOf, (ushort)7, association, "alice"), (binding.CareOfAddress, binding.SequenceNumber, binding.Association, binding.Identifier));
        Assert.Equal(TimeSpan.FromSeconds(400), binding.Left(world.Now));

        var (message, packet, under) = Acknowledged(effects)!.Value;
        Assert.Equal((BindingStatus.Accepted, (ushort)7, (ushort)100), (message.Status, message.SequenceNumber, message.Lifetime));
        Assert.Equal((Agent, s_careOf, HomeAddress, association), (packet.Source, packet.Destination, packet.RoutingHomeAddress, under));

        // Committed, then the tunnel, then the answer.
        var order = effects.Where(e => e is SaveState or ChangePaths or AttractHomeAddress or SendIpv6Packet).Select(e => e.GetType().Name);
        Assert.Equal([nameof(SaveState), nameof(ChangePaths), nameof(AttractHomeAddress), nameof(SendIpv6Packet)], order);
        var path = Assert.Single(effects.OfType<ChangePaths>().Single().Install);
        Assert.Equal((new IPNetwork(HomeAddress, 128), Agent, s_careOf), (path.Destination, path.LocalGateway, path.RemoteGateway));
    }

    [Fact]
    [Trait("Row", "TA-I3")]
    [Trait("Row", "TA-N19")]
    [Trait("Row", "TA-R72")]
    [Trait("Row", "TA-R78")]
    [Trait("Row", "TA1.135x")]
    public void A_clear_update_is_discarded_without_a_word()
    {
        var (world, _) = Make();
        Unchanged(world, world.Update(7, null), "unprotected");
        Assert.Null(world.Binding);
    }

    [Fact]
    [Trait("Row", "TA-R78")]
    [Trait("Row", "TA-N19")]
    public void A_clear_update_leaves_the_binding_there_is_as_it_was()
    {
        var (world, association) = Make();
        world.Update(7, association);
        var before = world.Binding;
        Unchanged(world, world.Update(8, null, s_other), "unprotected");
        Assert.Same(before, world.Binding);
    }

    [Fact]
    [Trait("Row", "TA-R72")]
    public void An_update_under_an_association_that_is_gone_is_discarded()
    {
        var (world, association) = Make();
        world.TellAgent(new AssociationEnded(association, EndBinding: false));
        Unchanged(world, world.Update(7, association), "no_association");
    }

    [Fact]
    [Trait("Row", "TA-N20")]
    [Trait("Row", "TA-H25")]
    [Trait("Row", "TA-R72")]
    public void An_update_for_somebody_elses_home_address_is_discarded()
    {
        var (world, association) = Make();
        Unchanged(world, world.Update(7, association, home: IPAddress.Parse("2001:db8:a:1::78")), "wrong_selector");
    }

    [Fact]
    [Trait("Row", "TA-R73")]
    public void An_update_no_policy_speaks_of_is_discarded()
    {
        var world = new HomeLinkWorld(o => o with { Policies = [Protected with { HomeAddresses = IPNetwork.Parse("2001:db8:b::/48") }] });
        var effects = world.Update(7, world.Associate(HomeAddress, s_careOf));
        Unchanged(world, effects, "no_policy");
        var told = Assert.Single(effects.OfType<Report>(), r => r.Event.Kind == "binding.discarded").Event;
        Assert.Equal(EventSeverity.Warning, told.Severity);
        Assert.Contains("in no home prefix", told.Text, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Row", "TA-R71")]
    public void An_update_without_home_address_option_counts_for_its_source_alone()
    {
        var (world, association) = Make();
        Unchanged(world, world.Update(7, association, homeOption: false), "wrong_selector");
    }

    [Fact]
    [Trait("Row", "TA-R71")]
    public void An_update_with_a_malformed_home_address_option_is_discarded()
    {
        var (world, association) = Make();
        var update = new BindingUpdate { SequenceNumber = 7, Flags = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.HomeRegistration, Lifetime = 100 };
        var packet = new MobileIpv6Packet { Source = s_careOf, Destination = Agent, HomeAddress = HomeAddress, Protocol = IpProtocol.Mobility, Payload = update.ToArray(HomeAddress, Agent) }.ToArray();
        packet[47] = 12;
        Unchanged(world, world.TellAgent(new Ipv6PacketReceived(packet, null, null, association)), "malformed");
    }

    /// <summary>A key exchange that the node gave up may end here after the one it went on with: the node does not know what came of it.</summary>
    [Fact]
    [Trait("Row", "TA-R76")]
    public void An_acknowledgement_goes_under_what_its_update_came_under_though_there_is_a_later_association()
    {
        var (world, association) = Make();
        var later = world.Associate(HomeAddress, s_careOf);

        var (_, _, under) = Acknowledged(world.Update(7, association))!.Value;

        Assert.NotEqual(later, association);
        Assert.Equal(association, under);
    }

    [Fact]
    [Trait("Row", "TA-R76")]
    public void Without_an_association_to_send_under_nothing_is_sent()
    {
        // The update comes under one association; the policy of what goes out finds none, since all are gone meanwhile.
        var (world, association) = Make(onLink: true);
        world.Update(7, association);
        world.TellAgent(new AssociationEnded(association, EndBinding: false));
        world.AgentEffects.Clear();
        world.Run(TimeSpan.FromSeconds(2));
        Assert.NotNull(world.Binding);
        Assert.Null(Acknowledged(world.AgentEffects));
        Assert.Equal(1, world.AgentCount("mip6.ha.unsent.no_association"));
        Assert.Contains(world.AgentEffects, e => e is Report { Event: { Kind: "binding.unanswered", Rule: "TA-R76" } });
    }

    [Theory]
    [InlineData(7)]
    [InlineData(6)]
    [InlineData(0)]
    [InlineData(32775)]
    [InlineData(65535)]
    [Trait("Row", "TA-H8")]
    public void A_sequence_number_that_is_not_newer_is_refused_with_the_stored_one(ushort sequence)
    {
        var (world, association) = Make();
        world.Update(7, association);
        var before = world.Binding;
        var (message, _, under) = Acknowledged(world.Update(sequence, association, s_other))!.Value;
        Assert.Equal((BindingStatus.SequenceNumberOutOfWindow, (ushort)7, association), (message.Status, message.SequenceNumber, under));
        Assert.Same(before, world.Binding);
    }

    [Theory]
    [InlineData(7, 32774)]
    [InlineData(65535, 0)]
    public void A_newer_sequence_number_is_taken_modulo_two_to_the_sixteenth(ushort first, ushort second)
    {
        var (world, association) = Make();
        world.Update(first, association);
        Assert.Equal(BindingStatus.Accepted, Acknowledged(world.Update(second, association))!.Value.Message.Status);
    }

    [Theory]
    [InlineData("2001:db8:bad::1", BindingStatus.InvalidCareOfAddress)]
    [InlineData("ff02::1", BindingStatus.InvalidCareOfAddress)]
    [InlineData("2001:db8:f:1::9", BindingStatus.Accepted)]
    [Trait("Row", "TA-H7")]
    public void A_care_of_address_is_one_the_node_can_be_reached_at(string alternate, BindingStatus status)
    {
        var (world, association) = Make();
        Assert.Equal(status, Acknowledged(world.Update(7, association, alternate: IPAddress.Parse(alternate)))!.Value.Message.Status);
        Assert.Equal(status == BindingStatus.Accepted, world.Binding is not null);
    }

    [Fact]
    public void A_home_address_of_no_home_prefix_is_refused()
    {
        var world = new HomeLinkWorld();
        var stranger = IPAddress.Parse("2001:db8:a:2::77");
        Assert.Equal(BindingStatus.NotHomeSubnet, Acknowledged(world.Update(7, world.Associate(stranger, s_careOf), home: stranger))!.Value.Message.Status);
    }

    [Fact]
    public void More_bindings_than_allowed_are_refused()
    {
        var (world, association) = Make(o => o with { MaximumBindings = 1 });
        world.Update(7, association);
        var second = IPAddress.Parse("2001:db8:a:1::78");
        Assert.Equal(BindingStatus.InsufficientResources, Acknowledged(world.Update(7, world.Associate(second, s_other), s_other, second))!.Value.Message.Status);
        Assert.Equal(BindingStatus.Accepted, Acknowledged(world.Update(8, association))!.Value.Message.Status);
    }

    [Theory]
    [InlineData(600, 4000, 600)]
    [InlineData(86400, 4000, 3600)]
    [InlineData(86400, 400, 400)]
    [Trait("Row", "TA-N22")]
    [Trait("Row", "TA-L2")]
    [Trait("Row", "TA-M66")]
    public void A_binding_lasts_no_longer_than_asked_allowed_or_the_prefix(int prefix, int asked, int granted)
    {
        var (world, association) = Make(valid: TimeSpan.FromSeconds(prefix));
        var message = Acknowledged(world.Update(7, association, lifetime: (ushort)(asked / 4)))!.Value.Message;
        Assert.Equal(granted, message.Lifetime * 4);
        Assert.Equal(prefix == granted ? BindingStatus.AcceptedPrefixDiscoveryNecessary : BindingStatus.Accepted, message.Status);
        world.Run(TimeSpan.FromSeconds(granted - 1));
        Assert.NotNull(world.Binding);
        world.Run(TimeSpan.FromSeconds(2));
        Assert.Null(world.Binding);
        Assert.Single(world.AgentEffects.OfType<ReleaseHomeAddress>());
        Assert.Single(world.AgentEffects.OfType<DropState>());
    }

    [Fact]
    [Trait("Row", "TA-L4")]
    public void When_its_prefix_goes_the_binding_goes_with_it()
    {
        var (world, association) = Make();
        world.Update(7, association);
        world.TellAgent(new SetHomePrefixes([new HomePrefix(HomeNetwork, world.Now + TimeSpan.FromSeconds(20), world.Now, false)]));
        world.Run(TimeSpan.FromSeconds(19));
        Assert.NotNull(world.Binding);
        world.Run(TimeSpan.FromSeconds(2));
        Assert.Null(world.Binding);

        // With the association taken away too, the next update is not even answered.
        world.TellAgent(new AssociationEnded(association, EndBinding: true));
        Assert.Null(Acknowledged(world.Update(8, association)));
    }

    [Fact]
    [Trait("Row", "TA-H26")]
    public void A_withdrawn_association_takes_the_binding_with_it()
    {
        var (world, association) = Make();
        world.Update(7, association);
        var effects = world.TellAgent(new AssociationEnded(association, EndBinding: true));
        Assert.Null(world.Binding);
        Assert.Single(effects.OfType<ChangePaths>().Single().Remove);
        Assert.Contains(effects, e => e is Report { Event.Kind: "binding.revoked" });
    }

    [Fact]
    [Trait("Row", "TA-M66")]
    public void Lifetime_0_deletes_and_a_late_older_update_does_not_bring_it_back()
    {
        var (world, association) = Make();
        world.Update(7, association);
        var effects = world.Update(9, association, lifetime: 0);
        Assert.Equal((BindingStatus.Accepted, (ushort)0), (Acknowledged(effects)!.Value.Message.Status, Acknowledged(effects)!.Value.Message.Lifetime));
        Assert.Contains(effects, e => e is ReleaseHomeAddress);
        Assert.Null(world.Binding);
        var late = Acknowledged(world.Update(8, association))!.Value.Message;
        Assert.Equal((BindingStatus.SequenceNumberOutOfWindow, (ushort)9), (late.Status, late.SequenceNumber));
        Assert.Equal(BindingStatus.NotHomeAgentForThisMobileNode, Acknowledged(world.Update(10, association, lifetime: 0))!.Value.Message.Status);
        world.Run(TimeSpan.FromSeconds(11));
        Assert.Equal(BindingStatus.Accepted, Acknowledged(world.Update(1, association))!.Value.Message.Status);
    }

    [Fact]
    [Trait("Row", "TA-M66")]
    public void The_home_address_as_care_of_address_deletes_and_is_answered_without_routing_header()
    {
        var (world, association) = Make();
        world.Update(7, association);
        var (message, packet, under) = Acknowledged(world.Update(8, association, HomeAddress, homeOption: false))!.Value;
        Assert.Equal((BindingStatus.Accepted, HomeAddress, null, association), (message.Status, packet.Destination, packet.RoutingHomeAddress, under));
        Assert.Null(world.Binding);
    }

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [Trait("Row", "TA-M14")]
    public void The_key_management_moves_with_the_binding_when_both_sides_can(bool asked, bool able)
    {
        var world = new HomeLinkWorld { AssociationsMove = able };
        var association = world.Associate(HomeAddress, s_careOf);
        var flags = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.HomeRegistration | (asked ? BindingUpdateFlags.KeyManagementMobility : 0);
        world.Update(7, association, flags: flags);
        var effects = world.Update(8, association, s_other, flags: flags);
        Assert.Equal(asked && able, Acknowledged(effects)!.Value.Message.Flags.HasFlag(BindingAcknowledgementFlags.KeyManagementMobility));
        Assert.Equal(asked && able ? [new MoveAssociation(association, s_other)] : [], effects.OfType<MoveAssociation>());
        Assert.Equal(asked && able ? [] : [new DiscardKeyManagement(HomeAddress, s_careOf)], effects.OfType<DiscardKeyManagement>());
    }

    [Theory]
    [InlineData("2001:db8:a:700::/56", BindingStatus.Accepted)]
    [InlineData("2001:db8:a:701::/64", BindingStatus.Accepted)]
    [InlineData("2001:db8:a:800::/56", BindingStatus.NotAuthorizedForPrefix)]
    [InlineData("2001:db8:a:600::/55", BindingStatus.NotAuthorizedForPrefix)]
    [InlineData("ff00::/8", BindingStatus.InvalidPrefix)]
    [InlineData(null, BindingStatus.Accepted)]
    public void A_mobile_router_brings_along_its_own_prefixes_and_no_others(string? prefix, BindingStatus status)
    {
        var own = IPNetwork.Parse("2001:db8:a:700::/56");
        var (world, association) = Make(o => o with { MobileNetworks = new Dictionary<IPAddress, IReadOnlyList<IPNetwork>> { [HomeAddress] = [own] } });
        var flags = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.HomeRegistration | BindingUpdateFlags.MobileRouter;
        var effects = world.Update(7, association, flags: flags, options: prefix is null ? [] : [new MobileNetworkPrefixOption(IPNetwork.Parse(prefix))]);
        var message = Acknowledged(effects)!.Value.Message;
        Assert.Equal((status, status == BindingStatus.Accepted), (message.Status, message.Flags.HasFlag(BindingAcknowledgementFlags.MobileRouter)));
        if (status == BindingStatus.Accepted)
        {
            Assert.Contains(effects.OfType<ChangePaths>().Single().Install, p => p.Destination == (prefix is null ? own : IPNetwork.Parse(prefix)) && p.RemoteGateway.Equals(s_careOf));
        }
    }

    [Fact]
    public void A_node_without_networks_is_no_mobile_router_and_a_router_stays_one()
    {
        var (world, association) = Make();
        var router = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.HomeRegistration | BindingUpdateFlags.MobileRouter;
        Assert.Equal(BindingStatus.MobileRouterOperationNotPermitted, Acknowledged(world.Update(7, association, flags: router))!.Value.Message.Status);
        Assert.Equal(BindingStatus.Accepted, Acknowledged(world.Update(8, association))!.Value.Message.Status);
        Assert.Equal(BindingStatus.RegistrationTypeChangeDisallowed, Acknowledged(world.Update(9, association, flags: router))!.Value.Message.Status);
    }

    [Fact]
    public void Bindings_come_back_after_a_restart_with_tunnel_and_sequence_number()
    {
        var (world, association) = Make();
        var saved = world.Update(7, association).OfType<SaveState>().Single();
        var second = new HomeLinkWorld();
        second.TellAgent(new EngineStopping());
        var effects = second.TellAgent(new EngineStarted([new SavedState(saved.Key, saved.Value), new SavedState(new StateKey(saved.Key.Table, "junk"), new byte[] { 1, 2, 3 })]));
        Assert.Equal(s_careOf, second.Binding!.CareOfAddress);
        Assert.Equal(s_careOf, effects.OfType<ChangePaths>().Single().Install.Single().RemoteGateway);
        Assert.Equal("junk", effects.OfType<DropState>().Single().Key.Key);
        Assert.Equal(BindingStatus.SequenceNumberOutOfWindow, Acknowledged(second.Update(7, second.Associate(HomeAddress, s_careOf)))!.Value.Message.Status);
    }

    [Fact]
    [Trait("Row", "TA-M61")]
    [Trait("Row", "TA1.117")]
    public void Discovery_is_answered_with_the_home_agents_in_order_of_preference()
    {
        var world = new HomeLinkWorld(o => o with { Preference = 5 });
        foreach (var (address, preference) in new[] { ("2001:db8:a::1", (ushort)9), ("2001:db8:a::2", (ushort)1) })
        {
            OnHomeLink(world, new RouterAdvertisement
            {
                RouterLifetime = 1800,
                Flags = RouterAdvertisementFlags.HomeAgent,
                Options = NeighborDiscoveryOptions.Of(new HomeAgentInformationOption(preference, 100), new PrefixInformationOption(IPAddress.Parse(address), 64, PrefixInformationFlags.RouterAddress, 1000, 1000)),
            }, IPAddress.Parse("fe80::99"));
        }

        Assert.Equal(["2001:db8:a::1", "2001:db8:a::fffe", "2001:db8:a::2"], Ask(world, HomeAgentAddressDiscoveryRequest.AnycastAddress(HomeNetwork))!.HomeAgents.Select(a => a.ToString()));

        // Another link's anycast address is not ours, and what the others said holds as long as they said.
        Assert.Null(Ask(world, HomeAgentAddressDiscoveryRequest.AnycastAddress(IPNetwork.Parse("2001:db8:b::/64"))));
        world.Run(TimeSpan.FromSeconds(101));
        Assert.Equal([Agent], Ask(world, HomeAgentAddressDiscoveryRequest.AnycastAddress(HomeNetwork))!.HomeAgents);
    }

    [Fact]
    [Trait("Row", "TA-M68")]
    [Trait("Row", "TA-G25")]
    public void Discovery_works_inside_every_prefix_that_is_delegated_from_the_home_agents()
    {
        var world = new HomeLinkWorld(o => o with { Prefixes = [new HomePrefix(IPNetwork.Parse("2001:db8:a::/48"), DateTimeOffset.MaxValue, DateTimeOffset.MaxValue, false)] });
        Assert.Equal([Agent], Ask(world, IPAddress.Parse("2001:db8:a:42:fdff:ffff:ffff:fffe"))!.HomeAgents);
        Assert.Null(Ask(world, IPAddress.Parse("2001:db8:a:42:fdff:ffff:ffff:fffd")));
    }

    [Fact]
    [Trait("Row", "TA-M68")]
    [Trait("Row", "TA0.3")]
    [Trait("Row", "TM0.5")]
    [Trait("Row", "TA-G25")]
    [Trait("Row", "TM1.4")]
    [Trait("Row", "TM-P20")]
    public void On_a_shared_home_link_the_address_is_tested_then_announced_then_answered_for()
    {
        var (world, association) = Make(onLink: true);
        var effects = world.Update(7, association, flags: BindingUpdateFlags.Acknowledge | BindingUpdateFlags.HomeRegistration | BindingUpdateFlags.LinkLocalCompatible);
        Assert.Null(Acknowledged(effects));
        var question = Neighbour<NeighborSolicitation>(effects).Single();
        Assert.Equal((HomeAddress, IPAddress.IPv6Any), (question.Message.Target, question.Packet.Source));
        world.AgentEffects.Clear();
        world.Run(TimeSpan.FromSeconds(1.1));
        Assert.NotNull(Acknowledged(world.AgentEffects));
        var announced = Neighbour<NeighborAdvertisement>(world.AgentEffects).ToList();
        Assert.Equal([HomeAddress, IPAddress.Parse("fe80::77")], announced.Select(a => a.Message.Target));
        Assert.All(announced, a =>
        {
            Assert.Equal((NeighborAdvertisementFlags.Override, IPAddress.Parse("ff02::1"), (byte)255), (a.Message.Flags, a.Packet.Destination, a.Packet.HopLimit));
            Assert.Equal(AgentLink.ToArray(), a.Message.Options.TargetLinkLayerAddress!.Address.ToArray());
        });

        var neighbour = IPAddress.Parse("fe80::5");
        var answer = Neighbour<NeighborAdvertisement>(OnHomeLink(world, new NeighborSolicitation(HomeAddress), neighbour)).Single();
        Assert.Equal((NeighborAdvertisementFlags.Solicited, neighbour), (answer.Message.Flags, answer.Packet.Destination));
        var defended = Neighbour<NeighborAdvertisement>(OnHomeLink(world, new NeighborSolicitation(HomeAddress), IPAddress.IPv6Any)).Single();
        Assert.Equal((NeighborAdvertisementFlags.None, IPAddress.Parse("ff02::1")), (defended.Message.Flags, defended.Packet.Destination));
        Assert.Empty(OnHomeLink(world, new NeighborSolicitation(IPAddress.Parse("2001:db8:a:1::78")), neighbour).OfType<SendIpv6Packet>());

        // The home agent's own address is a router's, and nobody knows better.
        var own = Neighbour<NeighborAdvertisement>(OnHomeLink(world, new NeighborSolicitation(Agent), neighbour)).Single();
        Assert.Equal((NeighborAdvertisementFlags.Router | NeighborAdvertisementFlags.Solicited | NeighborAdvertisementFlags.Override, neighbour), (own.Message.Flags, own.Packet.Destination));

        // Gone home: nobody is answered for any more.
        world.Update(8, association, lifetime: 0);
        Assert.Empty(OnHomeLink(world, new NeighborSolicitation(HomeAddress), neighbour).OfType<SendIpv6Packet>());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void An_address_somebody_on_the_home_link_has_is_refused(bool advertises)
    {
        var (world, association) = Make(onLink: true);
        world.Update(7, association);
        var effects = advertises
            ? OnHomeLink(world, new NeighborAdvertisement(NeighborAdvertisementFlags.Override, HomeAddress), HomeAddress)
            : OnHomeLink(world, new NeighborSolicitation(HomeAddress), IPAddress.IPv6Any);
        Assert.Equal(BindingStatus.DuplicateAddressDetectionFailed, Acknowledged(effects)!.Value.Message.Status);
        world.Run(TimeSpan.FromSeconds(5));
        Assert.Null(world.Binding);
    }

    [Fact]
    [Trait("Row", "TA-M65")]
    [Trait("Row", "TA0.5")]
    public void Prefixes_are_told_under_the_association_until_the_node_answers()
    {
        var (world, association) = Make();
        world.Loses = _ => true;
        world.Update(7, association);
        world.TellAgent(new AdvertisePrefixes([HomeAddress, IPAddress.Parse("2001:db8:a:1::1234")]));
        world.Run(TimeSpan.FromSeconds(120));
        var sent = world.Crossed.Where(c => c.Packet.Protocol == IpProtocol.Icmpv6).ToList();
        Assert.Equal([3, 6, 12], sent.Zip(sent.Skip(1), (a, b) => (int)(b.At - a.At).TotalSeconds));
        Assert.All(sent, s => Assert.Equal((HomeAddress, s_careOf, association), (s.Packet.RoutingHomeAddress, s.Packet.Destination, s.Under)));

        world.Crossed.Clear();
        world.TellAgent(new AdvertisePrefixes([HomeAddress]));
        world.Update(8, association);
        world.Run(TimeSpan.FromSeconds(120));
        Assert.Single(world.Crossed, c => c.Packet.Protocol == IpProtocol.Icmpv6);
    }

    [Fact]
    [Trait("Row", "TA-M65")]
    [Trait("Row", "TA-D8")]
    public void A_prefix_solicitation_needs_association_and_binding()
    {
        var (world, association) = Make();
        Assert.Empty(Solicit(world, association));
        world.Update(7, association);
        Assert.Empty(Solicit(world, null));
        var (packet, under) = Assert.Single(Solicit(world, association));
        Assert.Equal((HomeAddress, association), (packet.RoutingHomeAddress, under));
        Assert.True(Icmpv6Message.TryParse(packet.Payload.Span, out var message, out _));
        var advertisement = Assert.IsType<MobilePrefixAdvertisement>(message);
        Assert.Equal((ushort)0x77, advertisement.Identifier);
        Assert.Equal(HomeNetwork, advertisement.Options.Find<PrefixInformationOption>()!.Prefix);
    }

    [Fact]
    public void An_unknown_message_is_answered_with_a_binding_error_and_a_wrong_checksum_with_nothing()
    {
        var (world, _) = Make();
        var message = new UnknownMobilityMessage(16, new byte[10]).ToArray(s_careOf, Agent);
        var packet = new MobileIpv6Packet { Source = s_careOf, Destination = Agent, Protocol = IpProtocol.Mobility, Payload = message };
        var sent = world.TellAgent(new Ipv6PacketReceived(packet.ToArray())).OfType<SendIpv6Packet>().Single();
        Assert.True(MobilityMessage.TryParse(Read(sent).Payload.Span, out var read, out _));
        Assert.Equal(BindingErrorStatus.UnrecognizedMobilityHeader, Assert.IsType<BindingError>(read).Status);
        message[5] ^= 1;
        Assert.Empty(world.TellAgent(new Ipv6PacketReceived((packet with { Payload = message }).ToArray())).OfType<SendIpv6Packet>());
    }

    private static List<(MobileIpv6Packet Packet, long? Under)> Solicit(HomeLinkWorld world, long? under)
    {
        var packet = new MobileIpv6Packet { Source = s_careOf, Destination = Agent, HomeAddress = HomeAddress, Protocol = IpProtocol.Icmpv6, Payload = new MobilePrefixSolicitation(0x77).ToArray(HomeAddress, Agent) };
        return [.. world.TellAgent(new Ipv6PacketReceived(packet.ToArray(), null, null, under)).OfType<SendIpv6Packet>().Select(s => (Read(s), s.Under))];
    }

    private static HomeAgentAddressDiscoveryReply? Ask(HomeLinkWorld world, IPAddress anycast)
    {
        var packet = new MobileIpv6Packet { Source = s_careOf, Destination = anycast, Protocol = IpProtocol.Icmpv6, Payload = new HomeAgentAddressDiscoveryRequest(0x1234).ToArray(s_careOf, anycast) };
        if (world.TellAgent(new Ipv6PacketReceived(packet.ToArray())).OfType<SendIpv6Packet>().SingleOrDefault() is not { } sent)
        {
            return null;
        }

        var answer = Read(sent);
        Assert.Equal((Agent, s_careOf), (answer.Source, answer.Destination));
        Assert.True(Icmpv6Message.TryParse(answer.Payload.Span, out var message, out _));
        var reply = Assert.IsType<HomeAgentAddressDiscoveryReply>(message);
        Assert.Equal((ushort)0x1234, reply.Identifier);
        return reply;
    }

    private static MobileIpv6Packet Read(SendIpv6Packet sent)
    {
        Assert.True(MobileIpv6Packet.TryParse(sent.Packet.Span, out var packet, out _));
        return packet;
    }

    private static IReadOnlyList<Effect> OnHomeLink(HomeLinkWorld world, Icmpv6Message message, IPAddress source)
    {
        var destination = IPAddress.Parse("ff02::1");
        var packet = new MobileIpv6Packet { Source = source, Destination = destination, HopLimit = 255, Protocol = IpProtocol.Icmpv6, Payload = message.ToArray(source, destination) };
        return world.TellAgent(new Ipv6PacketReceived(packet.ToArray(), Home, new LinkAddress([2, 0, 0, 0, 0, 5])));
    }

    private static IEnumerable<(T Message, MobileIpv6Packet Packet)> Neighbour<T>(IEnumerable<Effect> effects) where T : Icmpv6Message
    {
        foreach (var packet in effects.OfType<SendIpv6Packet>().Where(s => s.Interface == Home).Select(Read))
        {
            Assert.True(Icmpv6Message.ChecksumIsRight(packet.Payload.Span, packet.Source, packet.Destination));
            if (Icmpv6Message.TryParse(packet.Payload.Span, out var message, out _) && message is T wanted)
            {
                yield return (wanted, packet);
            }
        }
    }
}
