using Sojourn.Engine.Aaa;
using Sojourn.Engine.MobileIpv4;
using Xunit;
using static Sojourn.Engine.Tests.Agents.AgentFixture;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>The user's data change while he is logged in, and the home AAA server says so itself (NV7, RFC 6733 8.3).</summary>
public sealed class ChangeTests
{
    private static AgentFixture Announcing() => new(homeAaa: new HomeAaaOptions { HomeAgents = [], AnnounceChanges = true });

    /// <summary>The correspondent is now behind the other gateway.</summary>
    private static void Change(AgentFixture f)
    {
        f.Directory.Vpns.Clear();
        f.WithPartner("192.168.70.5/32");
        f.Directory.Changed.Add(Alice);
        f.Net.Arrows.Clear();
        f.Net.Run(TimeSpan.FromSeconds(3));
    }

    [Fact]
    [Trait("Row", "NV7.4")]
    [Trait("Row", "NV7.10")]
    public void A_plain_node_gets_its_new_path_without_asking_for_it()
    {
        var f = Announcing().WithPartner().Register();
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        Change(f);
        Assert.Equal(
            [
                "aaah > aaaf RAR", "aaaf > fa1 RAR", "fa1 > aaaf RAA", "alice > fa1 RRQ", "aaaf > aaah RAA", "fa1 > aaaf AMR", "aaaf > aaah AMR", "aaah > ha HAR", "ha > pcn2 BU", "pcn2 > ha BA",
                "ha > aaah HAA", "aaah > aaaf AMA", "aaaf > fa1 AMA", "fa1 > alice RRP",
            ],
            f.Net.Arrows.Take(14));
        f.AssertLeg("fa1", "pcn2", 2, AliceHome);
        Assert.DoesNotContain(f.Net["fa1"].Sending, p => p.RemoteGateway.Equals(Pcn));
        Assert.Contains(f.Net["aaah"].Events, e => e is { Kind: "session.out_of_date", Rule: "RFC 6733 8.3" });
        f.AssertSound();
    }

    [Fact]
    public void Nothing_more_is_said_than_has_changed()
    {
        var f = Announcing().WithPartner().Register();
        f.Directory.Version++;
        f.Directory.Changed.Add(Bob);
        f.Net.Arrows.Clear();
        f.Net.Run(TimeSpan.FromSeconds(3));
        Assert.DoesNotContain(f.Net.Arrows, a => a.EndsWith("RAR", StringComparison.Ordinal));
        Change(f);
        f.Net.Run(TimeSpan.FromSeconds(10));
        Assert.Single(f.Net.Arrows, "aaah > aaaf RAR");
    }

    [Fact]
    [Trait("Row", "NV-A14")]
    [Trait("Row", "S116")]
    public void Without_the_setting_a_change_waits_and_a_plain_registration_leaves_everything_as_it_is()
    {
        var f = new AgentFixture().WithPartner().Register();
        Change(f);
        f.Net.Input("alice", new RegisterNode());
        f.Net.Run(TimeSpan.FromSeconds(3));
        Assert.DoesNotContain(f.Net.Arrows, a => a.EndsWith("RAR", StringComparison.Ordinal));
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
    }

    [Fact]
    [Trait("Row", "R3")]
    public void After_a_move_that_the_home_server_did_not_see_the_visited_one_finds_the_node()
    {
        var f = Announcing().WithPartner().Register().Register("fa2");
        f.AssertLeg("fa2", "pcn", 2, AliceHome);
        Change(f);
        Assert.Contains("aaaf > fa2 RAR", f.Net.Arrows);
        Assert.DoesNotContain("aaaf > fa1 RAR", f.Net.Arrows);
        f.AssertLeg("fa2", "pcn2", 2, AliceHome);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "R3")]
    public void A_node_that_moves_before_it_has_heard_is_not_served_from_a_cache_that_is_out_of_date()
    {
        var f = Announcing().WithPartner().Register();
        f.Net.Detach("alice");
        Change(f);
        Assert.Contains("fa1 > aaaf RAA", f.Net.Arrows);
        f.Register("fa2");
        Assert.Contains("aaaf > aaah AMR", f.Net.Arrows);
        f.AssertLeg("fa2", "pcn2", 2, AliceHome);
        f.AssertSound();
    }

    [Fact]
    public void An_agent_that_has_lost_the_session_says_so_and_the_next_registration_brings_the_news()
    {
        var f = Announcing().WithPartner().Register();
        f.Net.Detach("alice");
        f.Net.Crash("fa1");
        f.Net["fa1"].State.Clear();
        f.Net.Restart("fa1", f.NewForeignAgent("fa1"));
        Change(f);
        Assert.Contains("fa1 > aaaf RAA 5002", f.Net.Arrows);
        f.Register("fa1", seconds: 12);
        f.AssertRegistered("fa1");
        f.AssertLeg("fa1", "pcn2", 2, AliceHome);
        f.AssertSound();
    }
}
