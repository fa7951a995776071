using System.Net;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Engine.Tests.Aaa;
using Xunit;
using static Sojourn.Engine.Tests.Agents.AgentFixture;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>NV2, NV3, NV5, NV6: what the home agent, the gateways and the new agent do when a node moves.</summary>
public sealed class MoveTests
{
    [Fact]
    [Trait("Row", "NV-A5")]
    [Trait("Row", "NV-C17")]
    [Trait("Row", "NV2.5")]
    [Trait("Row", "NV2.7")]
    [Trait("Row", "NV2.8")]
    [Trait("Row", "NV2.9")]
    [Trait("Row", "S214")]
    [Trait("Row", "R9")]
    [Trait("Row", "NV-C7")]
    [Trait("Row", "S213")]
    public void A_move_inside_the_domain_stays_inside_it_and_turns_only_the_agents_leg()
    {
        var f = new AgentFixture().WithCompany().Register();
        var company = f.Net["ha"].Carrying(AliceHome, CompanyHost);
        var old = f.Net["fa1"].Carrying(AliceHome, CompanyHost)!;
        f.Register("fa2");
        f.AssertRegistered("fa2");
        Assert.Equal(["alice > fa2 RRQ", "fa2 > aaaf AMR", "aaaf > fa2 AMA", "fa2 > ha RRQ", "ha > fa2 RRP", "fa2 > fa1 BU", "fa1 > fa2 BA", "fa2 > alice RRP"], f.Net.Arrows.Take(8));
        Assert.DoesNotContain("aaaf > aaah AMR", f.Net.Arrows);
        var (up, _) = f.AssertLeg("fa2", "ha", 1, AliceHome);
        Assert.DoesNotContain(f.Net["ha"].Sending, p => p.RemoteGateway.Equals(Fa1));
        Assert.Equal(company, f.Net["ha"].Carrying(AliceHome, CompanyHost));
        Assert.NotEqual(old.Outbound!.Keys, up.Outbound!.Keys);
        Assert.Equal(Fa2, f.HomeAgent.Bindings.Single().CareOfAddress);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "M10")]
    [Trait("Row", "NV2.4")]
    [Trait("Row", "R33")]
    [Trait("Row", "S220")]
    public void Before_the_home_agents_reply_the_new_agent_can_receive_and_sends_nothing()
    {
        var f = new AgentFixture().WithCompany().Register();
        var seen = 0;
        f.Net.Leaving = (from, to, name) =>
        {
            if ((from, to, name) == ("fa2", "ha", "RRQ"))
            {
                seen++;
                var path = f.Net["fa2"].Carrying(AliceHome, CompanyHost)!;
                Assert.Equal(PathState.InboundOnly, path.State);
                Assert.NotNull(path.Inbound);
                Assert.Empty(f.Net["fa2"].Sending);
                Assert.Contains(AliceHome, f.Net["fa2"].Visitors);
            }
        };
        f.Register("fa2");
        Assert.Equal(1, seen);
        f.AssertRegistered("fa2");
        f.AssertLeg("fa2", "ha", 1, AliceHome);
    }

    [Fact]
    [Trait("Row", "M10")]
    [Trait("Row", "NV9.7")]
    [Trait("Row", "NV-A27")]
    public void Refused_by_the_home_agent_nobody_is_a_visitor()
    {
        var f = new AgentFixture().WithCompany().Register();
        Impersonate(f, "fa2", Fa1);
        Assert.Contains("fa2 > ha RRQ", f.Net.Arrows);
        Assert.Empty(f.Net["fa2"].Visitors);
        Assert.Empty(f.Net["fa2"].UserPaths);
        f.AssertRegistered("fa1");
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV9.11")]
    public void Back_in_a_domain_it_left_the_node_is_heard_at_once()
    {
        var f = new AgentFixture().WithCompany().Register().Register("fa3", seconds: 3).Register("fa1", seconds: 0.9);
        f.AssertRegistered("fa1");
        Assert.DoesNotContain(f.Net["alice"].Counters, c => c.Key.StartsWith("mn.rrp.bad", StringComparison.Ordinal));
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "R43")]
    public void What_comes_for_a_visitor_out_of_reach_is_kept_for_where_it_goes()
    {
        var f = new AgentFixture().WithCompany().Register();
        f.Net.Input("fa1", new LinkChanged("acc0", false));
        f.Net.Run(TimeSpan.FromMilliseconds(1));
        Assert.Equal(new HoldVisitor(AliceHome, true), f.Net["fa1"].Effects.OfType<HoldVisitor>().Last());
        f.Net.Input("fa1", new LinkChanged("acc0", true));
        f.Net.Run(TimeSpan.FromMilliseconds(1));
        Assert.Equal(new HoldVisitor(AliceHome, false), f.Net["fa1"].Effects.OfType<HoldVisitor>().Last());
    }

    [Fact]
    [Trait("Row", "M3")]
    public void An_agent_that_lost_the_key_says_so_and_the_node_asks_for_a_new_one()
    {
        var f = new AgentFixture().WithCompany().Register();
        f.Net.Crash("fa1");
        f.Net["fa1"].State.Clear();
        f.Net.Restart("fa1", f.NewForeignAgent("fa1"), TimeSpan.Zero);
        f.Net.Input("alice", new RequestServiceUpdate());
        f.Net.Run(TimeSpan.FromSeconds(10));
        Assert.True(f.Net["fa1"].Counters["fa.rrq.key_gone"] >= 1);
        f.AssertRegistered("fa1");
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV2.14")]
    [Trait("Row", "R31")]
    [Trait("Row", "S235")]
    [Trait("Row", "M4")]
    public void The_old_inbound_half_at_home_outlives_the_move_by_the_handoff_time()
    {
        var f = new AgentFixture().WithCompany().Register();
        var old = f.Net["fa1"].Carrying(AliceHome, CompanyHost)!.Outbound!;
        f.Register("fa2", seconds: 3);
        Assert.Contains(f.Net["ha"].UserPaths, p => p.State == PathState.InboundOnly && p.Inbound?.Spi == old.Spi && p.Inbound.Keys.Equals(old.Keys));
        f.Net.Run(TimeSpan.FromSeconds(11));
        Assert.DoesNotContain(f.Net["ha"].UserPaths, p => p.Inbound?.Keys.Equals(old.Keys) == true);
    }

    [Fact]
    [Trait("Row", "NV-A10")]
    [Trait("Row", "NV-C20")]
    [Trait("Row", "NV5.5")]
    [Trait("Row", "NV5.8")]
    [Trait("Row", "NV-C7")]
    [Trait("Row", "R49")]
    public void Inside_the_domain_the_dynamic_gateway_is_updated_before_the_home_agent_replies()
    {
        var f = new AgentFixture().WithPartner().Register().Register("fa2");
        f.AssertRegistered("fa2");
        Assert.Equal(
            ["alice > fa2 RRQ", "fa2 > aaaf AMR", "aaaf > fa2 AMA", "fa2 > ha RRQ", "ha > pcn BU", "pcn > ha BA", "ha > fa2 RRP", "fa2 > fa1 BU", "fa1 > fa2 BA", "fa2 > alice RRP"],
            f.Net.Arrows.Take(10));
        f.AssertLeg("fa2", "pcn", 2, AliceHome);
        Assert.DoesNotContain(f.Net["pcn"].Sending, p => p.RemoteGateway.Equals(Fa1));
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV-A8")]
    [Trait("Row", "NV-A12")]
    [Trait("Row", "NV-C18")]
    [Trait("Row", "NV-C21")]
    [Trait("Row", "NV3.5")]
    [Trait("Row", "NV3.6")]
    [Trait("Row", "NV6.5")]
    [Trait("Row", "NV-C7")]
    [Trait("Row", "R26")]
    [Trait("Row", "G3")]
    public void Between_domains_the_home_agent_names_the_old_agent_and_no_database_is_searched()
    {
        var f = new AgentFixture().WithCompany().WithPartner().Register();
        var searches = f.Directory.Searches;
        f.Register("fa3");
        f.AssertRegistered("fa3");
        Assert.Equal(searches, f.Directory.Searches);
        Assert.Equal(
            ["alice > fa3 RRQ", "fa3 > aaaf2 AMR", "aaaf2 > aaah AMR", "aaah > ha HAR", "ha > pcn BU", "pcn > ha BA", "ha > aaah HAA", "aaah > aaaf2 AMA", "aaaf2 > fa3 AMA", "fa3 > fa1 BU", "fa3 > fa1 BU", "fa1 > fa3 BA", "fa1 > fa3 BA", "fa3 > alice RRP"],
            f.Net.Arrows.Take(14));
        f.AssertLeg("fa3", "ha", 1, AliceHome);
        f.AssertLeg("fa3", "pcn", 2, AliceHome);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV9.11")]
    [Trait("Row", "NV-A31")]
    [Trait("Row", "M3")]
    [Trait("Row", "G3")]
    public void Ten_moves_to_and_fro_end_where_the_node_is_and_never_repeat_a_key()
    {
        var f = new AgentFixture().WithCompany().WithPartner().Register();
        var keys = new HashSet<string>();
        for (var move = 0; move < 10; move++)
        {
            var agent = move % 2 == 0 ? "fa2" : "fa1";
            f.Register(agent, seconds: 3);
            f.AssertRegistered(agent);
            Assert.True(keys.Add(Convert.ToHexString(f.AssertLeg(agent, "ha", 1, AliceHome).Here.Outbound!.Keys.Encryption.Octets)));
            Assert.True(keys.Add(Convert.ToHexString(f.AssertLeg(agent, "pcn", 2, AliceHome).Here.Outbound!.Keys.Encryption.Octets)));
        }

        f.Net.Run(TimeSpan.FromSeconds(15));
        Assert.Single(f.HomeAgent.Bindings);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV-A20")]
    public void When_the_visited_server_forgot_the_session_the_move_goes_to_the_home_server_and_succeeds()
    {
        var f = new AgentFixture().WithCompany().Register();
        f.Net.Input("aaaf", new Sojourn.Engine.Aaa.ClearVisitedCache());
        f.Net.Run(TimeSpan.FromSeconds(1));
        f.Register("fa2");
        f.AssertRegistered("fa2");
        Assert.Contains("aaaf > aaah AMR", f.Net.Arrows);
        f.AssertLeg("fa2", "ha", 1, AliceHome);
    }

    [Fact]
    [Trait("Row", "NV9.7")]
    [Trait("Row", "NV-A27")]
    [Trait("Row", "M10")]
    public void A_stranger_who_names_the_old_agent_gets_nothing_and_the_user_keeps_his_path()
    {
        var f = new AgentFixture().WithCompany().WithPartner().Register();
        var before = Picture(f, "fa1", "ha", "pcn");
        f.Net.Leaving = (from, _, _) => Assert.True(from != "fa2" || !f.Net["fa2"].Sending.Any());
        Impersonate(f, "fa2", Fa1);
        Assert.Contains("fa2 > ha RRQ", f.Net.Arrows);
        Assert.Contains("ha > fa2 RRP 131", f.Net.Arrows);
        Assert.Contains("fa2 > bob RRP 131", f.Net.Arrows);
        Assert.Empty(f.Net["fa2"].UserPaths);
        Assert.Null(f.ForeignAgent("fa2").Vpn.FindByHomeAddress(AliceHome));
        Assert.Equal(before, Picture(f, "fa1", "ha", "pcn"));
        Assert.Contains(f.Refusals("ha"), e => e.Rule!.Contains("NV9.7", StringComparison.Ordinal));

        f.Net.Leaving = null;
        f.Register("fa2");
        f.AssertRegistered("fa2");
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV9.7")]
    [Trait("Row", "M10")]
    public void A_stranger_on_the_users_own_link_cannot_stop_his_path_for_a_moment()
    {
        // Alice is back at fa1, where the agent still knew her; the visited server would now believe a move from fa2 to fa1.
        var f = new AgentFixture().WithCompany().Register("fa2").Register("fa1").Register("fa2", seconds: 20);
        var at = Picture(f, "fa2", "ha");
        f.Net.Leaving = (_, _, _) => Assert.Equal(at, Picture(f, "fa2", "ha"));
        Impersonate(f, "fa2", Fa1);
        Impersonate(f, "fa1", Fa2);
        Assert.Equal(at, Picture(f, "fa2", "ha"));
        f.Net.Leaving = null;
        f.Net.Run(TimeSpan.FromSeconds(600));
        f.AssertRegistered("fa2");
        f.AssertLeg("fa2", "ha", 1, AliceHome);
        Assert.Empty(f.ForeignAgent("fa1").Visitors);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV-A13")]
    [Trait("Row", "NV-C24")]
    [Trait("Row", "NV7.6")]
    [Trait("Row", "NV7.10")]
    [Trait("Row", "NV7.14")]
    [Trait("Row", "NV7.15")]
    [Trait("Row", "NV7.7")]
    [Trait("Row", "NV7.8")]
    [Trait("Row", "NV7.11")]
    [Trait("Row", "NV-C25")]
    [Trait("Row", "R37")]
    public void A_changed_correspondent_moves_the_path_and_the_former_gateway_is_left_to_expire()
    {
        var f = new AgentFixture().WithPartner().Register();
        f.Directory.Vpns.Clear();
        f.WithPartner("192.168.70.5/32", number: 3);
        f.Net.Arrows.Clear();
        f.Net.Input("alice", new RequestServiceUpdate());
        f.Net.Run(TimeSpan.FromSeconds(3));
        f.AssertRegistered("fa1");
        f.AssertLeg("fa1", "pcn2", 3, AliceHome);
        Assert.Equal(
            ["alice > fa1 RRQ", "fa1 > aaaf AMR", "aaaf > aaah AMR", "aaah > ha HAR", "ha > pcn2 BU", "pcn2 > ha BA", "ha > aaah HAA", "aaah > aaaf AMA", "aaaf > fa1 AMA", "fa1 > alice RRP"],
            f.Net.Arrows.Take(10));
        Assert.DoesNotContain(f.Net.Arrows, a => a.StartsWith("ha > pcn BU", StringComparison.Ordinal));
        Assert.DoesNotContain(f.Net["fa1"].UserPaths, p => p.RemoteGateway.Equals(Pcn));
        f.Net.Run(TimeSpan.FromSeconds(700));
        Assert.Contains("pcn > ha BR", f.Net.Arrows);
        Assert.DoesNotContain(f.Net.Arrows, a => a.StartsWith("ha > pcn BU", StringComparison.Ordinal));
        Assert.Empty(f.Net["pcn"].UserPaths);
        f.AssertLeg("fa1", "pcn2", 3, AliceHome);
        f.AssertSound();
    }

    /// <summary>Bob's machine asks for Alice's binding at an agent, naming another one as the old: right in form, without her keys.</summary>
    private static void Impersonate(AgentFixture f, string agent, IPAddress oldAgent)
    {
        f.Net["bob"].Agent = agent;
        var forger = new Forger(f, "bob", agent);
        forger.Request(Alice, AliceHome, AaaFixture.Address(agent), oldAgent);
        f.Net.Run(TimeSpan.FromSeconds(2));
        f.Net["bob"].Agent = null;
    }

    private static string Picture(AgentFixture f, params string[] nodes) =>
        string.Join('\n', nodes.SelectMany(n => f.Net[n].UserPaths.OrderBy(p => p.Id.ToString(), StringComparer.Ordinal).Select(p => $"{n} {p}")));
}
