using System.Net;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Engine.MobileIpv4.Agents;
using Sojourn.Wire.MobileIpv4;
using Xunit;
using static Sojourn.Engine.Tests.Agents.AgentFixture;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>Distribution on the first packet: NV8, claim 5. What the packet path notices is told to the engines by hand here.</summary>
public sealed class FirstPacketTests
{
    private static readonly string[] Distribution = ["ha > pcn BU", "pcn > ha BA"];

    [Fact]
    [Trait("Row", "NV8.1")]
    [Trait("Row", "NV-A16")]
    public void Registration_tells_the_gateway_nothing_and_both_agents_hold_what_the_profile_selects()
    {
        var f = Waiting();
        f.AssertRegistered("fa1");
        Assert.DoesNotContain(f.Net.Arrows, a => a.Contains(" BU", StringComparison.Ordinal));
        Assert.Empty(f.Net["pcn"].UserPaths);
        Assert.Equal(PathState.Blocked, f.Net["ha"].Carrying(PartnerHost, AliceHome)!.State);
        Assert.Equal(PathState.Blocked, f.Net["fa1"].Carrying(AliceHome, PartnerHost)!.State);
        Assert.Contains(f.Net["fa1"].UserPaths, p => p.State == PathState.InboundOnly && p.RemoteGateway.Equals(Pcn) && p.Inbound is not null);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV8.2")]
    [Trait("Row", "NV8.3")]
    [Trait("Row", "NV8.4")]
    [Trait("Row", "NV-A16")]
    [Trait("Row", "NV-C5")]
    [Trait("Row", "R35")]
    public void The_correspondents_first_packet_brings_one_update_and_then_both_ends_of_the_direct_path()
    {
        var f = Waiting();
        f.Net.Leaving = (from, _, name) =>
        {
            if ((from, name) is ("ha", "BU") or ("pcn", "BA"))
            {
                Assert.Equal(PathState.Blocked, f.Net["ha"].Carrying(PartnerHost, AliceHome)!.State);
            }
        };
        FromCorrespondent(f);
        Assert.Equal(Distribution, f.Net.Arrows);

        // What waited goes on to the foreign agent under a key of its own, and is taken there.
        var onward = f.Net["ha"].Carrying(PartnerHost, AliceHome)!;
        Assert.Equal((PathState.Active, Fa1, SecurityType.Esp), (onward.State, onward.RemoteGateway, onward.SecurityType));
        var taken = f.Net["fa1"].UserPaths.Single(p => p.RemoteGateway.Equals(Ha) && p.Inbound is not null);
        Assert.Equal((onward.Outbound!.Spi, onward.Outbound.Keys), (taken.Inbound!.Spi, taken.Inbound.Keys));
        Assert.Equal(PathState.Blocked, f.Net["fa1"].Carrying(AliceHome, PartnerHost)!.State);

        Arrived(f, "fa1", taken);
        var (direct, _) = f.AssertLeg("fa1", "pcn", 2, AliceHome);
        Assert.NotEqual(onward.Outbound.Keys, direct.Inbound!.Keys);
        Assert.DoesNotContain(f.Net["fa1"].UserPaths, p => p.State == PathState.Blocked);
        Assert.Equal(Distribution, f.Net.Arrows);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV8.4")]
    public void The_gateways_first_packet_alone_turns_the_foreign_agents_half_active_too()
    {
        var f = Waiting();
        FromCorrespondent(f);
        Arrived(f, "fa1", f.Net["fa1"].UserPaths.Single(p => p.RemoteGateway.Equals(Pcn) && p.State == PathState.InboundOnly));
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        f.AssertSound();
    }

    [Theory]
    [InlineData(SecurityType.Ah, true)]
    [InlineData(SecurityType.EncapsulationOnly, true)]
    [InlineData(SecurityType.Esp, false)]
    [Trait("Row", "NV9.2")]
    [Trait("Row", "NV9.3")]
    [Trait("Row", "NV8.3")]
    public void Every_security_type_and_the_shared_association_wait_and_follow_alike(SecurityType security, bool userSpecific)
    {
        var f = new AgentFixture(
            foreignAgent: o => o with { Vpn = o.Vpn with { Presets = [.. o.Vpn.Presets, PresetOf(o.CareOfAddress, Pcn)] } },
            gateway: o => o.Gateway.Equals(Pcn) ? o with { Presets = [PresetOf(Pcn, Fa1), PresetOf(Pcn, Fa2)] } : o)
            .WithPartner(trigger: ProfileTrigger.FirstPacket, security: security, userSpecific: userSpecific).Register();
        Assert.Equal(PathState.Blocked, f.Net["ha"].Carrying(PartnerHost, AliceHome)!.State);
        FromCorrespondent(f);
        var onward = f.Net["ha"].Carrying(PartnerHost, AliceHome)!;
        Assert.Equal((PathState.Active, Fa1, security), (onward.State, onward.RemoteGateway, onward.SecurityType));
        Arrived(f, "fa1", f.Net["fa1"].UserPaths.Single(p => p.RemoteGateway.Equals(Ha) && p.Source.PrefixLength + p.Destination.PrefixLength == 64));
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV8.3")]
    [Trait("Row", "R49")]
    public void A_crowd_of_packets_brings_one_update_which_is_repeated_like_any_other()
    {
        var f = Waiting();
        f.Net.Fates = flight => flight is { Name: "BU", Count: 1 } ? Fate.Lose : Fate.Deliver;
        for (var i = 0; i < 50; i++)
        {
            FromCorrespondent(f, milliseconds: 10);
        }

        f.Net.Run(TimeSpan.FromSeconds(2));
        Assert.Equal(["ha > pcn BU lost", "ha > pcn BU", "pcn > ha BA"], f.Net.Arrows);
        Assert.Equal(49, f.Net.Count("ha.trigger.suppressed"));
        Assert.Equal(PathState.Active, f.Net["ha"].Carrying(PartnerHost, AliceHome)!.State);
        FromCorrespondent(f);
        Assert.Equal(3, f.Net.Arrows.Count);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV8.3")]
    [Trait("Row", "NV9.9")]
    public void A_silent_gateway_leaves_the_profile_waiting_for_a_later_packet_and_the_user_registered()
    {
        var f = Waiting();
        f.Net.Fates = flight => flight.To == "pcn" ? Fate.Lose : Fate.Deliver;
        FromCorrespondent(f, milliseconds: 3500);
        Assert.Equal(3, f.Net.Arrows.Count(a => a == "ha > pcn BU lost"));
        Assert.Equal(PathState.Blocked, f.Net["ha"].Carrying(PartnerHost, AliceHome)!.State);
        f.AssertRegistered("fa1");
        f.Net.Fates = _ => Fate.Deliver;
        FromCorrespondent(f);
        Assert.Equal(0, Updates(f));
        f.Net.Run(TimeSpan.FromSeconds(5));
        FromCorrespondent(f);
        Assert.Equal(1, Updates(f));
        Assert.Equal(PathState.Active, f.Net["ha"].Carrying(PartnerHost, AliceHome)!.State);
        f.Net.Run(TimeSpan.FromSeconds(5));
        Assert.NotEmpty(f.Net["pcn"].UserPaths);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV8.4")]
    [Trait("Row", "NV9.9")]
    public void When_only_the_acknowledgement_was_lost_the_next_reply_makes_the_foreign_agent_wait_again()
    {
        var f = Waiting();
        f.Net.Fates = flight => flight is { Name: "BA", From: "pcn" } ? Fate.Lose : Fate.Deliver;
        FromCorrespondent(f);
        Arrived(f, "fa1", f.Net["fa1"].UserPaths.Single(p => p.RemoteGateway.Equals(Pcn) && p.State == PathState.InboundOnly));
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        f.Net.Run(TimeSpan.FromSeconds(4));
        Assert.Equal(PathState.Blocked, f.Net["ha"].Carrying(PartnerHost, AliceHome)!.State);
        f.Net.Run(TimeSpan.FromSeconds(485));
        Assert.Equal(PathState.Blocked, f.Net["fa1"].Carrying(AliceHome, PartnerHost)!.State);
        f.Net.Fates = _ => Fate.Deliver;
        f.Net.Run(TimeSpan.FromSeconds(10));
        FromCorrespondent(f);
        FromNode(f);
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        f.AssertSound();
    }

    [Theory]
    [InlineData("fa2")]
    [InlineData("fa3")]
    [Trait("Row", "NV8.1")]
    [Trait("Row", "NV5.5")]
    [Trait("Row", "NV6.5")]
    public void What_waits_still_waits_after_a_move_and_comes_to_the_new_place(string agent)
    {
        var f = Waiting().Register(agent);
        f.AssertRegistered(agent);
        Assert.Equal(0, Updates(f));
        Assert.Equal(PathState.Blocked, f.Net["ha"].Carrying(PartnerHost, AliceHome)!.State);
        Assert.Equal(PathState.Blocked, f.Net[agent].Carrying(AliceHome, PartnerHost)!.State);
        Assert.Empty(f.Net["pcn"].UserPaths);
        f.Net.Run(TimeSpan.FromSeconds(15));
        FromCorrespondent(f);
        Assert.Equal(Distribution, f.Net.Arrows.TakeLast(2));
        Arrived(f, agent, f.Net[agent].UserPaths.Single(p => p.RemoteGateway.Equals(Ha) && p.Inbound is not null));
        f.AssertLeg(agent, "pcn", 2, AliceHome);
        Assert.DoesNotContain(f.Net["fa1"].UserPaths, p => p.State == PathState.Active);
        f.AssertSound();
    }

    [Theory]
    [InlineData("fa2")]
    [InlineData("fa3")]
    [Trait("Row", "NV5.8")]
    [Trait("Row", "NV6.7")]
    [Trait("Row", "NV8.4")]
    public void What_was_distributed_moves_like_any_profile_and_the_new_agent_may_send_at_once(string agent)
    {
        var f = Distributed().Register(agent);
        f.AssertRegistered(agent);
        Assert.True(f.Net.Arrows.IndexOf("pcn > ha BA") < f.Net.Arrows.IndexOf($"{agent} > alice RRP"));
        Assert.Equal(1, Updates(f));
        f.AssertLeg(agent, "pcn", 2, AliceHome);
        Assert.Equal(f.Net[agent].Prefixes[0].BaseAddress, f.Net["ha"].Carrying(PartnerHost, AliceHome)!.RemoteGateway);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV9.11")]
    [Trait("Row", "M3")]
    public void Moves_to_and_fro_never_repeat_a_key_of_the_home_agents_leg()
    {
        var f = Distributed();
        var keys = new HashSet<string>();
        for (var move = 0; move < 6; move++)
        {
            var agent = move % 2 == 0 ? "fa2" : "fa1";
            f.Register(agent, seconds: 3);
            f.AssertLeg(agent, "pcn", 2, AliceHome);
            Assert.True(keys.Add(Convert.ToHexString(f.Net["ha"].Carrying(PartnerHost, AliceHome)!.Outbound!.Keys.Encryption.Octets)));
        }

        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV8.3")]
    [Trait("Row", "NV5.5")]
    public void An_update_that_a_move_overtakes_goes_to_the_new_place_with_the_registration()
    {
        var f = Waiting();
        f.Net.Fates = flight => flight is { Name: "BU", To: "pcn" } && flight.Count == 1 ? Fate.Lose : Fate.Deliver;
        FromCorrespondent(f);
        f.Register("fa2", seconds: 8);
        f.AssertRegistered("fa2");
        f.AssertLeg("fa2", "pcn", 2, AliceHome);
        Assert.DoesNotContain(f.Net["pcn"].UserPaths, p => p.RemoteGateway.Equals(Fa1));
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV9.6")]
    [Trait("Row", "R42")]
    public void A_renewal_sends_no_update_of_what_waits_refreshes_what_does_not_and_touches_no_path()
    {
        var f = Waiting().WithPartner("192.168.70.5/32", Bob, 3, ProfileTrigger.FirstPacket).Register(node: "bob");
        FromCorrespondent(f, OtherPartnerHost, BobHome);
        f.Net.Arrows.Clear();
        var changes = f.Net.Nodes.Select(n => n.Effects.OfType<ChangePaths>().Count()).ToList();
        f.Net.Run(TimeSpan.FromSeconds(485));
        Assert.Equal(0, Updates(f));
        Assert.Equal(1, Updates(f, "pcn2"));

        // Bob's reply says what no packet had told his agent yet.
        f.AssertLeg("fa1", "pcn2", 3, BobHome);
        changes[f.Net.Nodes.ToList().FindIndex(n => n.Name == "fa1")]++;
        Assert.Equal(changes, f.Net.Nodes.Select(n => n.Effects.OfType<ChangePaths>().Count()));
        f.AssertSound();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Row", "NV9.8")]
    public void Deregistration_empties_everything_and_tells_the_gateway_only_what_it_knew(bool distributed)
    {
        var f = distributed ? Distributed() : Waiting();
        f.Net.Arrows.Clear();
        f.Net.Input("alice", new DeregisterNode());
        f.Net.Run(TimeSpan.FromSeconds(2));
        f.AssertEmpty();
        Assert.Equal(distributed, f.Net.Arrows.Contains("ha > pcn BU remove"));
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    public void A_lifetime_that_ends_while_the_gateway_is_being_told_leaves_nothing_anywhere()
    {
        var f = Waiting();
        f.Net.Detach("alice");
        f.Net.Run(f.HomeAgent.Bindings.Single().Expires - f.Net.Now - TimeSpan.FromMilliseconds(500));
        f.Net.Fates = flight => flight is { Name: "BA", From: "pcn" } ? Fate.Lose : Fate.Deliver;
        FromCorrespondent(f, milliseconds: 10_000);
        f.AssertEmpty();
        Assert.Contains("ha > pcn BU remove", f.Net.Arrows);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV8.1")]
    [Trait("Row", "M3")]
    public void After_a_restart_of_the_home_agent_what_waits_waits_on_and_can_be_distributed()
    {
        var f = Waiting();
        f.Net.Crash("ha");
        f.Net.Restart("ha", f.NewHomeAgent());
        Assert.Equal(PathState.Blocked, f.Net["ha"].Carrying(PartnerHost, AliceHome)!.State);
        FromCorrespondent(f);
        Assert.Equal(Distribution, f.Net.Arrows.TakeLast(2));
        Assert.Equal(PathState.Active, f.Net["ha"].Carrying(PartnerHost, AliceHome)!.State);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV8.4")]
    [Trait("Row", "M3")]
    public void After_a_restart_the_home_agent_sends_on_what_was_distributed_under_the_same_keys()
    {
        var f = Distributed();
        f.Net.Crash("ha");
        f.Net.Restart("ha", f.NewHomeAgent());
        Assert.Equal(PathState.Active, f.Net["ha"].Carrying(PartnerHost, AliceHome)!.State);
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        f.Net.Run(TimeSpan.FromSeconds(490));
        f.AssertRegistered("fa1");
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        Assert.Equal(PathState.Active, f.Net["ha"].Carrying(PartnerHost, AliceHome)!.State);
        f.AssertSound();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Row", "NV8.1")]
    [Trait("Row", "M3")]
    public void After_a_restart_of_the_foreign_agent_the_profile_is_what_it_was(bool distributed)
    {
        var f = distributed ? Distributed() : Waiting();
        f.Net.Crash("fa1");
        f.Net.Restart("fa1", f.NewForeignAgent("fa1"));
        f.Net.Run(TimeSpan.FromSeconds(5));
        f.AssertRegistered("fa1");
        Assert.Equal(distributed ? PathState.Active : PathState.Blocked, f.Net["fa1"].Carrying(AliceHome, PartnerHost)!.State);
        if (distributed)
        {
            f.AssertLeg("fa1", "pcn", 2, AliceHome);
        }

        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "M3")]
    [Trait("Row", "NV9.9")]
    public void A_gateway_that_restarted_meanwhile_refuses_the_keys_and_gets_new_ones_with_the_next_registration()
    {
        var f = Waiting();
        f.Net.Crash("pcn");
        f.Net.Restart("pcn", f.NewGateway(Pcn, "192.168.60.0/24"));
        FromCorrespondent(f);
        Assert.Contains("pcn > ha BA 128", f.Net.Arrows);
        Assert.Equal(PathState.Blocked, f.Net["ha"].Carrying(PartnerHost, AliceHome)!.State);
        f.Net.Run(TimeSpan.FromSeconds(490));
        f.AssertRegistered("fa1");
        f.Net.Arrows.Clear();
        FromCorrespondent(f);
        Assert.Equal(Distribution, f.Net.Arrows);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV8.3")]
    [Trait("Row", "NV9.5")]
    public void A_packet_that_comes_while_a_registration_waits_for_another_gateway_counts_when_it_is_done()
    {
        var f = new AgentFixture().WithPartner(trigger: ProfileTrigger.FirstPacket).WithPartner("192.168.70.5/32", number: 3).Register();
        Assert.Equal((0, 1), (Updates(f), Updates(f, "pcn2")));
        f.Net.Fates = flight => flight is { Name: "BU", To: "pcn2", Count: 2 } ? Fate.Lose : Fate.Deliver;
        f.Register("fa2", seconds: 0.5);
        FromCorrespondent(f);
        Assert.Equal(0, Updates(f));
        f.Net.Run(TimeSpan.FromSeconds(3));
        f.AssertRegistered("fa2");
        Assert.Equal(1, Updates(f));
        Assert.Equal(Fa2, f.Net["pcn"].Sending.Single().RemoteGateway);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV8.3")]
    public void A_packet_of_the_node_is_held_and_the_home_agent_declines_unless_told_otherwise()
    {
        var f = Waiting();
        FromNode(f);
        Assert.Equal(["fa1 > ha BR", "ha > fa1 BA 129"], f.Net.Arrows);
        Assert.Equal(PathState.Blocked, f.Net["fa1"].Carrying(AliceHome, PartnerHost)!.State);
        FromNode(f);
        Assert.Equal(2, f.Net.Arrows.Count);
        f.Net.Run(TimeSpan.FromSeconds(30));
        FromNode(f);
        Assert.Equal(2, f.Net.Arrows.Count(a => a == "fa1 > ha BR"));
        FromCorrespondent(f);
        Assert.Equal(1, Updates(f));
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV8.3")]
    [Trait("Row", "NV8.4")]
    public void By_option_a_packet_of_the_node_distributes_the_profile_through_the_home_agent()
    {
        var f = Waiting(o => o with { TriggerFromMobileNode = true });
        f.Net.Leaving = (from, to, name) =>
        {
            if ((from, to, name) == ("ha", "fa1", "BA"))
            {
                Assert.NotEmpty(f.Net["pcn"].Sending);
            }
        };
        FromNode(f);
        Assert.Equal(["fa1 > ha BR", "ha > pcn BU", "pcn > ha BA", "ha > fa1 BA"], f.Net.Arrows);
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV8.4")]
    public void An_agent_that_did_not_see_the_first_packet_learns_by_asking_that_the_gateway_is_ready()
    {
        var f = Waiting();
        FromCorrespondent(f);
        FromNode(f);
        Assert.Equal([.. Distribution, "fa1 > ha BR", "ha > fa1 BA"], f.Net.Arrows);
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        f.AssertSound();
    }

    [Theory]
    [InlineData("request")]
    [InlineData("notice")]
    [InlineData("old notice")]
    [Trait("Row", "NV9.10")]
    public void Forged_and_repeated_messages_distribute_and_activate_nothing(string what)
    {
        var f = Waiting(o => o with { TriggerFromMobileNode = true });
        var numbers = MobileIpExtensions.Of(ProjectExtensions.ProfileNumbers(ProjectExtensions.DefaultEnterprise, [2]));
        var forged = new MobilityAssociation(0x901, Secret(66));
        switch (what)
        {
            case "request":
                f.Net.Forge("fa2", new SendDatagram(new(Fa1, 434), new(Ha, 434), new BindingRequest
                {
                    HomeAddress = AliceHome,
                    CareOfAddress = Fa1,
                    Supplier = Fa1,
                    Identification = Identification.FromTime(f.Net.Now),
                    Extensions = numbers,
                }.Sign(AuthenticationKind.ForeignHome, forged).ToArray()));
                break;
            case "notice":
                f.Net.Forge("fa2", new SendDatagram(new(Ha, 434), new(Fa1, 434), new BindingAcknowledgement
                {
                    Status = BindingStatus.Accepted,
                    HomeAddress = AliceHome,
                    CareOfAddress = Fa1,
                    Supplier = Ha,
                    Identification = Identification.FromTime(f.Net.Now),
                    Extensions = numbers,
                }.Sign(AuthenticationKind.ForeignHome, forged).ToArray()));
                break;
            default:
                SendDatagram? notice = null;
                f.Net.Fates = flight =>
                {
                    notice = flight is { From: "ha", To: "fa1", Name: "BA" } ? flight.Datagram : notice;
                    return flight.Name == "BA" && flight.From == "ha" ? Fate.Lose : Fate.Deliver;
                };
                FromNode(f);
                f.Net.Run(TimeSpan.FromSeconds(2));
                FromNode(f);
                var first = notice!;
                FromNode(f);
                Assert.NotSame(first, notice);
                f.Net.Fates = _ => Fate.Deliver;
                f.Net.Forge("ha", first);
                break;
        }

        f.Net.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(PathState.Blocked, f.Net["fa1"].Carrying(AliceHome, PartnerHost)!.State);
        Assert.Equal(what == "old notice" ? 1 : 0, Updates(f));
        Assert.Equal(1, f.Net.Count(what switch { "request" => "ha.br.bad_mac", "notice" => "fa.ba.bad_authenticator", _ => "fa.ba.unexpected" }));
    }

    [Fact]
    [Trait("Row", "NV8.3")]
    [Trait("Row", "R22")]
    public void A_path_via_home_waits_at_the_home_agent_alone()
    {
        var f = new AgentFixture().WithPartner(trigger: ProfileTrigger.FirstPacket, route: RoutePreference.ViaHome).Register();
        Assert.Equal(0, Updates(f));
        Assert.Equal(PathState.Active, f.Net["fa1"].Carrying(AliceHome, PartnerHost)!.State);
        Assert.Equal(PathState.Blocked, f.Net["ha"].Carrying(PartnerHost, AliceHome)!.State);
        Assert.Equal(PathState.Blocked, f.Net["ha"].Carrying(AliceHome, PartnerHost)!.State);
        f.Net.Input("ha", new PathSignalled(f.Net["ha"].Carrying(AliceHome, PartnerHost)!.Id, PathSignal.PacketWaiting));
        f.Net.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(0, Updates(f));
        FromCorrespondent(f);
        Assert.Equal(1, Updates(f));
        f.AssertLeg("fa1", "ha", 2, AliceHome);
        f.AssertLeg("ha", "pcn", 2, AliceHome);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV8.1")]
    public void The_trigger_of_a_static_path_means_nothing()
    {
        var f = new AgentFixture().WithCompany();
        f.Directory.Vpns[0] = f.Directory.Vpns[0] with { Trigger = ProfileTrigger.FirstPacket };
        f.Register();
        f.AssertLeg("fa1", "ha", 1, AliceHome);
        f.AssertSound();
    }

    private static AgentFixture Waiting(Func<HomeAgentOptions, HomeAgentOptions>? homeAgent = null)
    {
        var f = new AgentFixture(homeAgent: homeAgent).WithPartner(trigger: ProfileTrigger.FirstPacket).Register();
        Assert.Equal(0, Updates(f));
        f.Net.Arrows.Clear();
        return f;
    }

    private static AgentFixture Distributed()
    {
        var f = Waiting();
        FromCorrespondent(f);
        Arrived(f, "fa1", f.Net["fa1"].UserPaths.Single(p => p.RemoteGateway.Equals(Ha) && p.Inbound is not null));
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        return f;
    }

    private static int Updates(AgentFixture f, string gateway = "pcn") => f.Net.Arrows.Count(a => a == $"ha > {gateway} BU");

    /// <summary>A packet of the correspondent's comes to the home network.</summary>
    private static void FromCorrespondent(AgentFixture f, IPAddress? correspondent = null, IPAddress? home = null, double milliseconds = 100) =>
        Waits(f, "ha", correspondent ?? PartnerHost, home ?? AliceHome, milliseconds);

    private static void FromNode(AgentFixture f) => Waits(f, "fa1", AliceHome, PartnerHost, 100);

    /// <summary>What the packet path says when a packet meets a path that is blocked; it says nothing of others.</summary>
    private static void Waits(AgentFixture f, string node, IPAddress source, IPAddress destination, double milliseconds)
    {
        var path = f.Net[node].Carrying(source, destination)!;
        if (path.State == PathState.Blocked)
        {
            f.Net.Input(node, new PathSignalled(path.Id, PathSignal.PacketWaiting));
        }

        f.Net.Run(TimeSpan.FromMilliseconds(milliseconds));
    }

    private static void Arrived(AgentFixture f, string node, VpnPath path)
    {
        f.Net.Input(node, new PathSignalled(path.Id, PathSignal.FirstInbound));
        f.Net.Run(TimeSpan.FromMilliseconds(100));
    }
}
