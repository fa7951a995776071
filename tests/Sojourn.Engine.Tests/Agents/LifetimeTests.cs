using Sojourn.Engine.Aaa;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Engine.MobileIpv4.Agents;
using Xunit;
using static Sojourn.Engine.Tests.Agents.AgentFixture;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>Renewal, deregistration, expiry and restarts: NV9.6, NV9.8, M3, M5.</summary>
public sealed class LifetimeTests
{
    [Fact]
    [Trait("Row", "NV9.6")]
    [Trait("Row", "NV-A26")]
    [Trait("Row", "S213")]
    [Trait("Row", "R42")]
    [Trait("Row", "R44")]
    public void A_renewal_goes_straight_to_the_home_agent_and_touches_no_path()
    {
        var f = new AgentFixture().WithCompany().WithPartner().Register();
        var changes = Changes(f);
        f.Net.Arrows.Clear();
        f.Net.Run(TimeSpan.FromSeconds(485));
        Assert.Equal(["alice > fa1 RRQ", "fa1 > ha RRQ", "ha > pcn BU", "pcn > ha BA", "ha > fa1 RRP", "fa1 > alice RRP"], f.Net.Arrows.Take(6));
        Assert.DoesNotContain(f.Net.Arrows, a => a.Contains("AM", StringComparison.Ordinal));
        Assert.Equal(changes, Changes(f));
        Assert.True(f.HomeAgent.Bindings.Single().Expires > f.Net.Now.AddSeconds(590));
        Assert.True(f.ForeignAgent("fa1").Visitors.Single().Expires > f.Net.Now.AddSeconds(590));
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV9.6")]
    [Trait("Row", "NV-A26")]
    [Trait("Row", "M3")]
    public void A_renewal_after_the_authorization_asks_the_AAA_servers_which_make_fresh_keys()
    {
        var f = new AgentFixture(homeAaa: new HomeAaaOptions { HomeAgents = [], AuthorizationLifetime = TimeSpan.FromSeconds(1500) }).WithCompany().WithPartner().Register();
        var changes = Changes(f);
        var keys = Keys(f);
        for (var i = 0; i < 6; i++)
        {
            f.Net.Run(TimeSpan.FromSeconds(400));
            f.AssertRegistered("fa1");
        }

        Assert.Contains(f.Net.Arrows.Skip(10), a => a == "fa1 > aaaf AMR");
        Assert.NotEqual(changes, Changes(f));
        Assert.Empty(keys.Intersect(Keys(f)));
        f.AssertLeg("fa1", "ha", 1, AliceHome);
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    [Trait("Row", "NV-A28")]
    public void Deregistration_empties_every_table_everywhere_within_two_seconds()
    {
        var f = new AgentFixture().WithCompany().WithPartner().WithPartner("192.168.70.0/24", number: 3).Register();
        f.Net.Arrows.Clear();
        f.Net.Input("alice", new DeregisterNode());
        f.Net.Run(TimeSpan.FromSeconds(2));
        f.AssertEmpty();
        Assert.IsType<MobileNodeState.Stopped>(f.MobileNode().State);
        Assert.Contains("fa1 > alice RRP", f.Net.Arrows);
        Assert.Contains("ha > pcn BU remove", f.Net.Arrows);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    [Trait("Row", "NV-A28")]
    public void Deregistration_through_the_AAA_servers_empties_every_table_too()
    {
        // Without an MN-FA key the agent cannot believe the node by itself.
        var f = new AgentFixture().WithCompany().WithPartner().Register();
        f.Net.Crash("fa1");
        f.Net["fa1"].State.Clear();
        f.Net.Input("alice", new DeregisterNode());
        f.Net.Restart("fa1", f.NewForeignAgent("fa1"), TimeSpan.Zero);
        f.Net.Run(TimeSpan.FromSeconds(5));
        Assert.Contains("fa1 > aaaf AMR", f.Net.Arrows);
        f.AssertEmpty();
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    [Trait("Row", "NV-A28")]
    public void A_node_that_falls_silent_is_gone_everywhere_two_seconds_after_its_lifetime()
    {
        var f = new AgentFixture().WithCompany().WithPartner().Register();
        var end = f.HomeAgent.Bindings.Single().Expires;
        f.Net.Detach("alice");
        f.Net.Run(end - f.Net.Now - TimeSpan.FromSeconds(1));
        f.AssertLeg("fa1", "ha", 1, AliceHome);
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        f.Net.Run(TimeSpan.FromSeconds(3));
        f.AssertEmpty();
        Assert.Contains(f.Net["fa1"].Events, e => e is { Kind: "visitor.left", Rule: "NV9.8" });
        Assert.Contains(f.Net["ha"].Events, e => e is { Kind: "binding.removed", Rule: "NV9.8" });
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    public void Clearing_a_session_at_the_agent_or_at_home_ends_it_at_both_and_spares_others()
    {
        var f = new AgentFixture().WithCompany().WithCompany(Bob, userSpecific: false, number: 4).Register().Register(node: "bob");
        f.Net.Detach("alice");
        f.Net.Input("fa1", new ClearSession(Nai: Alice));
        f.Net.Run(TimeSpan.FromSeconds(2));
        Assert.Equal([Bob], f.HomeAgent.Bindings.Select(b => b.Nai));
        Assert.Equal([Bob], f.ForeignAgent("fa1").Visitors.Select(v => v.Nai));
        f.AssertLeg("fa1", "ha", 4, BobHome);

        f.Net.Detach("bob");
        f.Net.Input("ha", new ClearSession(HomeAddress: BobHome));
        f.Net.Run(TimeSpan.FromSeconds(2));
        f.AssertEmpty();
    }

    /// <summary>The visited server, which answered the move from its cache, must not take the end for a refusal of the move.</summary>
    [Theory]
    [InlineData("fa2")]
    [InlineData("ha")]
    [Trait("Row", "NV9.8")]
    public void Clearing_a_session_that_moved_inside_the_domain_ends_it_everywhere(string node)
    {
        var f = new AgentFixture().WithCompany().WithPartner().Register().Register("fa2");
        f.AssertRegistered("fa2");
        Assert.DoesNotContain("aaaf > aaah AMR", f.Net.Arrows);
        f.Net.Detach("alice");
        f.Net.Input(node, new ClearSession(Nai: Alice));
        f.Net.Run(TimeSpan.FromSeconds(15));
        f.AssertEmpty();
    }

    [Fact]
    [Trait("Row", "M3")]
    [Trait("Row", "M5")]
    public void After_a_restart_the_home_agent_has_its_bindings_and_goes_on_under_the_same_keys()
    {
        var f = new AgentFixture().WithCompany().WithPartner().Register();
        f.Net.Crash("ha");
        f.Net.Restart("ha", f.NewHomeAgent());
        Assert.Equal(AliceHome, f.HomeAgent.Bindings.Single().HomeAddress);
        Assert.Contains(AliceHome, f.Net["ha"].Attracted);
        f.AssertLeg("fa1", "ha", 1, AliceHome);
        var keys = Keys(f);

        f.Net.Run(TimeSpan.FromSeconds(490));
        Assert.Equal(keys, Keys(f));
        f.AssertRegistered("fa1");
        f.AssertLeg("fa1", "ha", 1, AliceHome);
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "M3")]
    public void After_a_restart_the_foreign_agent_has_its_visitors_and_nobody_registers_again()
    {
        var f = new AgentFixture().WithCompany().WithPartner().Register();
        var keys = Keys(f);
        f.Net.Arrows.Clear();
        f.Net.Crash("fa1");
        f.Net.Restart("fa1", f.NewForeignAgent("fa1"));
        f.Net.Run(TimeSpan.FromSeconds(5));
        Assert.DoesNotContain(f.Net.Arrows, a => a.Contains("RRQ", StringComparison.Ordinal));
        Assert.Equal(AliceHome, Assert.Single(f.Net["fa1"].Visitors).Key);
        Assert.Equal(keys, Keys(f));
        f.AssertRegistered("fa1");
        f.AssertLeg("fa1", "ha", 1, AliceHome);
        f.AssertLeg("fa1", "pcn", 2, AliceHome);

        f.Net.Run(TimeSpan.FromSeconds(600));
        Assert.Equal(keys, Keys(f));
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    public void A_saved_visitor_that_has_ended_or_cannot_be_read_does_not_come_back_and_the_node_learns_of_it()
    {
        var f = new AgentFixture().WithCompany().WithPartner().Register();
        f.Net.Crash("fa1");
        f.Net["fa1"].State[new StateKey("visitor", AliceHome.ToString())] = [1, 2, 3];
        f.Net.Restart("fa1", f.NewForeignAgent("fa1"), TimeSpan.Zero);
        Assert.Empty(f.ForeignAgent("fa1").Visitors);
        f.Net.Run(TimeSpan.FromSeconds(5));
        Assert.Contains(f.Net["fa1"].Events, e => e.Kind == "visitor.not_restored");
        f.AssertRegistered("fa1");
        f.AssertLeg("fa1", "ha", 1, AliceHome);
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV7.12")]
    [Trait("Row", "NV7.13")]
    [Trait("Row", "NV7.14")]
    [Trait("Row", "NV-A15")]
    [Trait("Row", "NV-C25")]
    public void The_gateway_asks_before_its_binding_ends_and_the_home_agent_renews_what_still_counts()
    {
        // It grants less than the home agent asks for, so that it runs low before the node renews.
        var f = new AgentFixture(gateway: o => o with { LongestLifetime = TimeSpan.FromSeconds(100) }).WithPartner().Register();
        f.Net.Arrows.Clear();
        f.Net.Run(TimeSpan.FromSeconds(1200));
        Assert.Contains("pcn > ha BR", f.Net.Arrows);
        var asked = f.Net.Arrows.IndexOf("pcn > ha BR");
        Assert.Equal(["ha > pcn BU", "pcn > ha BA"], f.Net.Arrows.Skip(asked + 1).Take(2));
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
    }

    private static List<AssociationKeys> Keys(AgentFixture f) => [.. f.ForeignAgent("fa1").Vpn.Paths.Where(p => p.Outbound is { StaticKeys: false }).Select(p => p.Outbound!.Keys)];

    private static List<int> Changes(AgentFixture f) => [.. f.Net.Nodes.Select(n => n.Effects.OfType<ChangePaths>().Count())];
}
