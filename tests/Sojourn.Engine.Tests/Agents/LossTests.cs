using Sojourn.Engine.MobileIpv4;
using Sojourn.Engine.MobileIpv4.Agents;
using Xunit;
using static Sojourn.Engine.Tests.Agents.AgentFixture;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>Lost, doubled and late datagrams; gateways that do not answer: NV9.9, R38.</summary>
public sealed class LossTests
{
    [Theory]
    [InlineData("BU", Fate.Lose)]
    [InlineData("BA", Fate.Lose)]
    [InlineData("BU", Fate.Duplicate)]
    [InlineData("BA", Fate.Duplicate)]
    [InlineData("BU", Fate.Delay)]
    [Trait("Row", "NV9.9")]
    [Trait("Row", "R38")]
    public void A_binding_update_or_acknowledgement_that_goes_astray_costs_time_at_most(string message, Fate fate)
    {
        var f = new AgentFixture().WithPartner().WithPartner("192.168.60.6/32", number: 3);
        f.Net.Fates = flight => flight.Name == message && flight.Count == 1 ? fate : Fate.Deliver;
        f.Register();
        f.AssertRegistered("fa1");
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        f.AssertLeg("fa1", "pcn", 3, AliceHome);
        Assert.Single(f.Net.Arrows, a => a == "ha > aaah HAA");
        Assert.Equal(0, f.Net.Count("ha.bu.unanswered"));
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV9.5")]
    [Trait("Row", "NV9.9")]
    public void An_update_overtaken_by_the_next_one_to_the_same_gateway_is_sent_anew_and_taken()
    {
        var f = new AgentFixture().WithPartner().WithPartner("192.168.60.6/32", number: 3);
        var late = true;
        f.Net.Fates = flight => flight.Name == "BU" && late && !(late = false) ? Fate.Delay : Fate.Deliver;
        f.Register();
        Assert.Equal(1, f.Net.Count("gateway.bu.old_identification"));
        f.AssertRegistered("fa1");
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        f.AssertLeg("fa1", "pcn", 3, AliceHome);
    }

    [Fact]
    [Trait("Row", "NV9.9")]
    [Trait("Row", "NV-A29")]
    public void A_silent_gateway_is_asked_three_times_a_second_apart_and_then_the_registration_is_refused()
    {
        var f = new AgentFixture(mobileNode: Patient).WithCompany().WithPartner();
        f.Net["pcn"].IsDown = true;
        var times = new List<DateTimeOffset>();
        f.Net.Leaving = (from, _, name) =>
        {
            if ((from, name) == ("ha", "BU"))
            {
                times.Add(f.Net.Now);
            }
        };
        f.Register(seconds: 3.5);
        Assert.Equal([TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1)], times.Take(3).Zip(times.Skip(1), (a, b) => b - a).Take(2));
        Assert.Contains("ha > aaah HAA 4005", f.Net.Arrows);
        Assert.Contains("fa1 > alice RRP 128", f.Net.Arrows);
        Assert.Empty(f.Net["fa1"].UserPaths);
        Assert.Empty(f.Net["fa1"].Visitors);
        Assert.Empty(f.Net["ha"].UserPaths);
        Assert.Empty(f.HomeAgent.Bindings);
        Assert.Contains(f.Refusals("ha"), e => e.Rule == "NV9.9, R38" && e.Text.Contains("does not acknowledge", StringComparison.Ordinal));
        Assert.Contains(f.Refusals("alice"), e => e.Text.Contains("does not acknowledge", StringComparison.Ordinal));
    }

    [Fact]
    [Trait("Row", "NV9.9")]
    public void Of_two_gateways_the_one_that_accepted_is_told_to_forget_when_the_other_stays_silent()
    {
        var f = new AgentFixture().WithPartner().WithPartner("192.168.70.5/32", number: 3);
        f.Net["pcn2"].IsDown = true;
        f.Net.Fates = flight => flight is { Name: "RRQ", Count: > 1 } ? Fate.Lose : Fate.Deliver;
        f.Register(seconds: 10);
        Assert.Contains("ha > pcn BU remove", f.Net.Arrows);
        Assert.Empty(f.Net["pcn"].UserPaths);
    }

    [Fact]
    [Trait("Row", "NV9.9")]
    [Trait("Row", "R38")]
    public void Degrading_by_option_registers_without_the_path_and_holds_its_traffic_until_the_gateway_is_back()
    {
        var f = new AgentFixture(homeAgent: o => o with { UnansweredUpdate = UnansweredUpdatePolicy.Degrade }, mobileNode: Patient).WithCompany().WithPartner("192.168.60.0/24");
        f.Net["pcn"].IsDown = true;
        f.Register();
        f.AssertRegistered("fa1");
        f.AssertLeg("fa1", "ha", 1, AliceHome);
        var down = f.Net["ha"].Carrying(PartnerHost, AliceHome)!;
        Assert.Equal((PathState.Blocked, "2/held"), (down.State, down.Id.Leg));
        Assert.Equal(SecurityType.Esp, f.Net["fa1"].Carrying(AliceHome, PartnerHost)!.SecurityType);

        f.Net["pcn"].IsDown = false;
        f.Net.Run(TimeSpan.FromSeconds(490));
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        Assert.DoesNotContain(f.Net["ha"].Paths.Keys, p => p.Leg == "2/held");
    }

    [Fact]
    [Trait("Row", "NV9.7")]
    [Trait("Row", "NV9.9")]
    public void A_move_that_a_silent_gateway_prevents_leaves_the_earlier_place_as_it_was()
    {
        var f = new AgentFixture(mobileNode: Patient).WithCompany().WithPartner("192.168.70.5/32", number: 3).Register();
        var before = f.Net["ha"].Carrying(CompanyHost, AliceHome);
        f.Net["pcn2"].IsDown = true;
        f.Net.Leaving = (from, to, name) =>
        {
            if ((from, to, name) == ("fa2", "alice", "RRP 128"))
            {
                Assert.Empty(f.Net["fa2"].UserPaths);
                Assert.Empty(f.Net["fa2"].Visitors);
            }
        };
        f.Register("fa2", seconds: 6);
        Assert.Contains("fa2 > alice RRP 128", f.Net.Arrows);
        Assert.Equal(before, f.Net["ha"].Carrying(CompanyHost, AliceHome));
        Assert.Equal(Fa1, f.HomeAgent.Bindings.Single().CareOfAddress);
        f.AssertLeg("fa1", "ha", 1, AliceHome);

        f.Net["pcn2"].IsDown = false;
        f.Net.Run(TimeSpan.FromSeconds(30));
        f.AssertRegistered("fa2");
        f.AssertLeg("fa2", "ha", 1, AliceHome);
        f.AssertLeg("fa2", "pcn2", 3, AliceHome);
        f.AssertSound();
    }

    [Theory]
    [InlineData("RRQ")]
    [InlineData("RRP")]
    [Trait("Row", "G3")]
    public void Inside_a_domain_every_request_and_reply_may_be_doubled_or_lost(string message)
    {
        foreach (var fate in new[] { Fate.Duplicate, Fate.Lose, Fate.Delay })
        {
            var f = new AgentFixture().WithCompany().WithPartner().Register();
            f.Net.Fates = flight => flight.Name == message && flight.Count == 1 ? fate : Fate.Deliver;
            f.Register("fa2", seconds: 20);
            f.AssertRegistered("fa2");
            f.AssertLeg("fa2", "ha", 1, AliceHome);
            f.AssertLeg("fa2", "pcn", 2, AliceHome);
            f.AssertSound();
        }
    }

    [Fact]
    [Trait("Row", "NV9.11")]
    public void A_registration_that_overtakes_one_still_waiting_wins_and_leaves_nothing_of_it()
    {
        var f = new AgentFixture().WithPartner();
        f.Net["pcn"].IsDown = true;
        f.Register(seconds: 0.5);
        f.Directory.Vpns.Clear();
        f.WithPartner("192.168.70.5/32", number: 3);
        f.Net["pcn"].IsDown = false;
        f.Register("fa3", seconds: 10);
        f.AssertRegistered("fa3");
        f.AssertLeg("fa3", "pcn2", 3, AliceHome);
        Assert.Empty(f.Net["pcn"].UserPaths);
        Assert.Empty(f.Net["fa1"].UserPaths);
        f.AssertSound();
    }

    [Theory]
    [MemberData(nameof(Seeds))]
    [Trait("Row", "NV9.7")]
    [Trait("Row", "NV9.8")]
    [Trait("Row", "NV9.9")]
    [Trait("Row", "NV9.11")]
    public void Whatever_the_network_does_the_last_place_wins_in_the_end_and_nothing_is_left_of_any_other(int seed)
    {
        var f = new AgentFixture(seed: seed).WithCompany().WithPartner().WithPartner("192.168.70.0/24", number: 3);
        var random = new Random(seed);
        f.Net.Fates = _ => random.Next(100) switch
        {
            < 12 => Fate.Lose,
            < 24 => Fate.Duplicate,
            < 36 => Fate.Delay,
            _ => Fate.Deliver,
        };
        var agent = "fa1";
        for (var move = 0; move < 6; move++)
        {
            agent = $"fa{random.Next(1, 4)}";
            f.Register(agent, seconds: random.Next(1, 40) / 4.0);
        }

        f.Net.Fates = _ => Fate.Deliver;
        f.Net.Run(TimeSpan.FromSeconds(700));
        f.AssertRegistered(agent);
        f.AssertLeg(agent, "ha", 1, AliceHome);
        f.AssertLeg(agent, "pcn", 2, AliceHome);
        f.AssertLeg(agent, "pcn2", 3, AliceHome);
        foreach (var other in new[] { "fa1", "fa2", "fa3" }.Where(o => o != agent))
        {
            Assert.Empty(f.Net[other].UserPaths);
            Assert.Empty(f.Net[other].Visitors);
        }

        Assert.All(f.Net["ha"].UserPaths.Concat(f.Net["pcn"].UserPaths), p => Assert.Equal(PathState.Active, p.State));
        f.Net.Input("alice", new DeregisterNode());
        f.Net.Run(TimeSpan.FromSeconds(2));
        f.AssertEmpty();
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV9.9")]
    public void A_node_that_repeats_its_request_meanwhile_is_told_too()
    {
        var f = new AgentFixture().WithPartner();
        f.Net["pcn"].IsDown = true;
        f.Register(seconds: 6.5);
        Assert.Contains(f.Refusals("alice"), e => e.Text.Contains("does not acknowledge", StringComparison.Ordinal));
        f.Net["pcn"].IsDown = false;
        f.Net.Run(TimeSpan.FromSeconds(10));
        f.AssertRegistered("fa1");
        f.AssertLeg("fa1", "pcn", 2, AliceHome);
        f.AssertSound();
    }

    /// <summary>A node that does not repeat its request while the home agent waits.</summary>
    private static MobileNodeOptions Patient(MobileNodeOptions options) => options with { FirstRetransmission = TimeSpan.FromSeconds(10) };

    public static TheoryData<int> Seeds() => new(Enumerable.Range(1, 60));
}
