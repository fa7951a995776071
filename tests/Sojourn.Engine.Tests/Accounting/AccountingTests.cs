using Sojourn.Engine.Aaa;
using Sojourn.Engine.Accounting;
using Sojourn.Engine.MobileIpv4.Agents;
using Sojourn.Engine.Tests.Agents;
using Sojourn.Wire.Diameter;
using Xunit;
using static Sojourn.Engine.Tests.Agents.AgentFixture;

namespace Sojourn.Engine.Tests.Accounting;

/// <summary>Accounting of agents at the home AAA server: START, INTERIM, STOP, over moves, outages and restarts (RFC 6733 section 9).</summary>
public sealed class AccountingTests
{
    private static readonly UsageFigures Some = new(10, 1000, 20, 4000);

    [Fact]
    public void A_stay_is_told_from_beginning_to_end_with_what_each_profile_carried()
    {
        var f = Accounted().WithCompany().WithPartner().Register();
        Assert.Equal(["fa1 > aaaf ACR", "ha > aaah ACR"], f.Net.Arrows.Where(a => a.EndsWith("ACR", StringComparison.Ordinal) && !a.StartsWith("aaaf", StringComparison.Ordinal)).Order());
        Carry(f, "fa1", 1, Some);
        Carry(f, "fa1", 2, new UsageFigures(1, 2, 3, 4));
        Carry(f, "fa1", 0, new UsageFigures(1, 1, 1, 1));
        Carry(f, "fa1", 1, Some);
        Carry(f, "ha", 1, Some);
        End(f);
        var fa = Of(f, "fa1");
        Assert.Equal([AccountingRecordType.Start, AccountingRecordType.Stop], fa.Select(u => u.Record.Type));
        Assert.Equal([0u, 1u], fa.Select(u => u.Record.Number));
        Assert.All(fa, u => Assert.Equal((UsageMeterPlace.ForeignAgent, true, Alice, AliceHome, Ha), (u.Meter, u.SessionKnown, u.Record.Nai, u.Record.HomeAddress, u.Record.HomeAgent)));
        Assert.Empty(fa[0].Record.Profiles);
        Assert.Equal(new UsageFigures(22, 2003, 44, 8005), fa[1].Record.Total);
        Assert.Equal([(1u, Some + Some), (2u, new UsageFigures(1, 2, 3, 4)), (0u, new UsageFigures(1, 1, 1, 1))], fa[1].Record.Profiles.Select(p => (p.ProfileNumber, p.Figures)));
        var ha = Of(f, "ha");
        Assert.Equal((UsageMeterPlace.HomeAgent, Some), (ha[^1].Meter, ha[^1].Record.Total));
        Assert.All(ha, u => Assert.True(u.SessionKnown));
        Assert.Equal(fa[0].Record.MobilitySession, ha[0].Record.MobilitySession);
        Assert.NotEqual(fa[0].Record.Session, ha[0].Record.Session);
        AssertNothingWaits(f);
    }

    [Fact]
    public void The_length_of_the_session_is_told_in_seconds()
    {
        var f = Accounted().WithCompany().Register(seconds: 1);
        f.Net.Run(TimeSpan.FromSeconds(90));
        End(f);
        Assert.InRange(Of(f, "fa1")[^1].Record.SessionTime, 88u, 93u);
    }

    [Fact]
    [Trait("Row", "R34")]
    public void A_move_keeps_the_multi_session_and_every_agent_tells_its_own_part()
    {
        var f = Accounted().WithCompany().Register();
        Carry(f, "fa1", 1, Some);
        f.Register("fa2", seconds: 3);
        Assert.Single(Of(f, "fa1"));
        Carry(f, "fa2", 1, new UsageFigures(1, 100, 1, 100));
        f.Net.Run(TimeSpan.FromSeconds(20));
        Assert.Equal([AccountingRecordType.Start, AccountingRecordType.Stop], Of(f, "fa1").Select(u => u.Record.Type));
        End(f, "fa2");
        End(f, "ha");
        Assert.Equal((Some, new UsageFigures(1, 100, 1, 100)), (Of(f, "fa1")[^1].Record.Total, Of(f, "fa2")[^1].Record.Total));
        Assert.Single(f.Net["aaah"].Ledger.Stored.Select(u => u.Record.MobilitySession).Distinct());
        Assert.Equal(3, f.Net["aaah"].Ledger.Stored.Select(u => u.Record.Session).Distinct().Count());
        AssertNothingWaits(f);
    }

    [Fact]
    public void A_node_that_comes_back_before_its_hand_off_ended_goes_on_in_the_same_accounting_session()
    {
        var f = Accounted().WithCompany().Register();
        f.Register("fa2", seconds: 3).Register("fa1", seconds: 3);
        Carry(f, "fa1", 1, Some);
        f.Net.Run(TimeSpan.FromSeconds(20));
        Assert.Equal([AccountingRecordType.Start], Of(f, "fa1").Select(u => u.Record.Type));
        End(f);
        Assert.Equal(Some, Of(f, "fa1")[^1].Record.Total);
    }

    [Fact]
    public void Interim_records_come_as_often_as_the_home_server_says()
    {
        var f = Accounted(interval: 60).WithCompany().Register();
        Carry(f, "fa1", 1, Some);
        f.Net.Run(TimeSpan.FromSeconds(205));
        var records = Of(f, "fa1");
        Assert.Equal([AccountingRecordType.Start, AccountingRecordType.Interim, AccountingRecordType.Interim, AccountingRecordType.Interim], records.Select(u => u.Record.Type));
        Assert.All(records.Skip(1), u => Assert.Equal(Some, u.Record.Total));
        Assert.Equal([0u, 1u, 2u, 3u], records.Select(u => u.Record.Number));
    }

    [Fact]
    public void Without_an_interval_there_are_no_interim_records()
    {
        var f = Accounted(interval: 0).WithCompany().Register();
        f.Net.Run(TimeSpan.FromSeconds(300));
        Assert.Single(Of(f, "fa1"));
    }

    [Fact]
    public void What_is_not_acknowledged_is_sent_again_and_stored_once()
    {
        var f = Accounted(interval: 60).WithCompany().Register();
        f.Net.Crash("aaah");
        Carry(f, "fa1", 1, Some);
        f.Net.Run(TimeSpan.FromSeconds(400));
        // Of all the interim records of the outage one waits (RFC 6733 section 9.5).
        Assert.Equal(1, f.ForeignAgent("fa1").AccountingState!.Value.Waiting);
        Restart(f, "aaah");
        f.Net.Run(TimeSpan.FromSeconds(330));
        Assert.True(f.Net.Count("fa.accounting.sent_again") > 1);
        Assert.Equal(Some, Of(f, "fa1")[^1].Record.Total);
        Assert.Equal(0, f.ForeignAgent("fa1").AccountingState!.Value.Waiting);
        AssertNoDuplicates(f);
        f.AssertSound();
    }

    [Fact]
    public void A_record_whose_answer_was_lost_is_told_as_a_possible_duplicate_and_not_stored_twice()
    {
        var f = Accounted(interval: 60).WithCompany().Register();

        // The record gets home, its answer does not.
        f.Net.Leaving = (from, to, name) =>
        {
            if (from == "aaah" && to == "aaaf" && name == "ACA")
            {
                f.Net.Leaving = null;
                f.Net.Crash("aaaf");
            }
        };
        f.Net.Run(TimeSpan.FromSeconds(70));
        Assert.Equal([AccountingRecordType.Start, AccountingRecordType.Interim], Of(f, "fa1").Select(u => u.Record.Type));
        Assert.Equal(1, f.ForeignAgent("fa1").AccountingState!.Value.Waiting);
        f.Net.Restart("aaaf", f.NewVisited("aaaf", "fa1", "fa2"));
        f.Net.Run(TimeSpan.FromSeconds(20));
        Assert.Equal(0, f.ForeignAgent("fa1").AccountingState!.Value.Waiting);
        Assert.True(f.Net["aaah"].Counters["aaah.acr.duplicate"] > 0);
        Assert.Contains(Sent(f), m => m.CommandCode == 271 && m.IsRequest && m.Flags.HasFlag(DiameterFlags.Retransmitted));
        AssertNoDuplicates(f);
    }

    [Fact]
    public void A_crash_of_the_foreign_agent_loses_no_more_than_what_was_carried_since_the_last_reading()
    {
        var f = Accounted().WithCompany().Register();
        Carry(f, "fa1", 1, Some);
        f.Net.Run(TimeSpan.FromSeconds(11));
        Carry(f, "fa1", 1, Some);
        f.Net.Crash("fa1");
        // The visitor does not come back, as when its lifetime ends meanwhile.
        f.Net["fa1"].State.Remove(new StateKey("visitor", AliceHome.ToString()));
        f.Net.Run(TimeSpan.FromSeconds(30));
        f.Net.Restart("fa1", f.NewForeignAgent("fa1"));
        var told = Of(f, "fa1");
        Assert.Equal([AccountingRecordType.Start, AccountingRecordType.Stop], told.Take(2).Select(u => u.Record.Type));
        Assert.Equal(Some, told[1].Record.Total);
        // The session ended when it was last heard of, not when the agent came back.
        Assert.InRange(told[1].Record.SessionTime, 5u, 20u);
        Assert.DoesNotContain(f.Net["fa1"].State.Keys, k => k.Table == "accounting.session" && f.ForeignAgent("fa1").Visitors.Count == 0);
    }

    [Fact]
    public void Records_that_were_not_acknowledged_outlive_the_agent()
    {
        var f = Accounted().WithCompany().Register();
        f.Net.Crash("aaah");
        Carry(f, "fa1", 1, Some);
        f.Net.Input("fa1", new ClearSession(Nai: Alice));
        f.Net.Run(TimeSpan.FromSeconds(1));
        f.Net.Crash("fa1");
        Assert.Contains(f.Net["fa1"].State.Keys, k => k.Table == "accounting.record");
        Restart(f, "aaah");
        f.Net.Restart("fa1", f.NewForeignAgent("fa1"), TimeSpan.FromSeconds(30));
        var told = Of(f, "fa1").Where(u => u.Record.Type == AccountingRecordType.Stop);
        Assert.Equal(Some, Assert.Single(told).Record.Total);
    }

    [Fact]
    public void The_home_agent_goes_on_with_a_binding_that_a_restart_left()
    {
        var f = Accounted().WithCompany().Register();
        Carry(f, "ha", 1, Some);
        f.Net.Run(TimeSpan.FromSeconds(11));
        f.Net.Crash("ha");
        f.Net.Restart("ha", f.NewHomeAgent());
        Carry(f, "ha", 1, Some);
        End(f);
        var ha = Of(f, "ha");
        Assert.Single(ha.Select(u => u.Record.Session).Distinct());
        Assert.Equal([AccountingRecordType.Start, AccountingRecordType.Stop], ha.Select(u => u.Record.Type));
        Assert.Equal(Some + Some, ha[^1].Record.Total);
    }

    [Fact]
    public void More_records_than_are_kept_push_out_the_oldest_and_that_is_counted()
    {
        var f = new AgentFixture(foreignAgent: o => o with { Accounting = new AccountingOptions { MaximumRecords = 1 } }).WithCompany();
        f.Net.Leaving = (from, _, name) =>
        {
            if (from == "fa1" && name == "ACR")
            {
                f.Net.Leaving = null;
                f.Net.Crash("aaah");
            }
        };
        f.Register();
        End(f);
        f.Net.Run(TimeSpan.FromSeconds(5));
        Assert.Equal(1, f.Net["fa1"].Counters["fa.accounting.records_lost"]);
        Assert.Contains(f.Net["fa1"].Events, e => e.Kind == "accounting.record_lost");
        Assert.Single(f.Net["fa1"].State.Keys, k => k.Table == "accounting.record");
    }

    [Fact]
    public void A_realm_without_a_roaming_contract_cannot_account()
    {
        var f = Accounted().WithCompany().Register();
        f.Directory.Partners.Clear();
        End(f);
        Assert.Equal([AccountingRecordType.Start], Of(f, "fa1").Select(u => u.Record.Type));
        Assert.Equal(1, f.Net["fa1"].Counters["fa.accounting.records_refused"]);
        Assert.Contains(f.Net["aaah"].Events, e => e is { Kind: "accounting.refused", Rule: "spec 2.1 roaming" });
        AssertNothingWaits(f);
    }

    [Fact]
    public void A_server_that_does_not_account_is_asked_again_later()
    {
        var f = Accounted().WithCompany();
        f.Net["aaah"].Engine = new HomeAaaServer(f.HomeAaaOptions, Aaa.AaaFixture.Node("aaah"), f.Directory, f.Random());
        f.Net.Crash("aaah");
        f.Net.Restart("aaah", f.Net["aaah"].Engine);
        f.Register(seconds: 30);
        Assert.Empty(f.Net["aaah"].Ledger.Stored);
        Assert.Equal(1, f.ForeignAgent("fa1").AccountingState!.Value.Waiting);
        Assert.InRange(f.Net["fa1"].Counters["fa.accounting.sent_again"], 1, 3);
        f.Net.Crash("aaah");
        Restart(f, "aaah");
        f.Net.Run(TimeSpan.FromSeconds(60));
        Assert.Single(Of(f, "fa1"));
    }

    [Fact]
    public void What_no_session_claims_is_counted()
    {
        var f = Accounted().WithCompany().Register();
        f.Net["fa1"].Carried.Add(("nobody's", new ProfileUsage(1, 0, 0, 0, Some)));
        f.Net.Run(TimeSpan.FromSeconds(11));
        Assert.Equal(5000, f.Net["fa1"].Counters["fa.accounting.unclaimed_octets"]);
    }

    private static AgentFixture Accounted(int interval = 0) => new(
        o => o with { Accounting = new AccountingOptions() }, o => o with { Accounting = new AccountingOptions() },
        homeAaa: new HomeAaaOptions { HomeAgents = [], AccountingInterval = TimeSpan.FromSeconds(interval) });

    private static void Carry(AgentFixture f, string node, uint profile, UsageFigures figures) =>
        f.Net[node].Carried.Add((f.HomeAaa.Sessions.Count > 0 ? f.HomeAaa.Sessions[0].Session : f.HomeAgent.Bindings.Single().Session, new ProfileUsage(profile, 0, 0, 1, figures)));

    private static void End(AgentFixture f, string agent = "fa1")
    {
        f.Net.Input(agent, new ClearSession(Nai: Alice));
        f.Net.Run(TimeSpan.FromSeconds(2));
    }

    private static void Restart(AgentFixture f, string name) =>
        f.Net.Restart(name, new HomeAaaServer(f.HomeAaaOptions, Aaa.AaaFixture.Node(name), f.Directory, f.Random(), f.Net[name].Ledger));

    private static List<UsageRecord> Of(AgentFixture f, string agent) =>
        [.. f.Net["aaah"].Ledger.Stored.Where(u => u.OriginHost == Aaa.AaaFixture.Identity(agent)).OrderBy(u => u.Record.At).ThenBy(u => u.Record.Number)];

    private static IEnumerable<DiameterMessage> Sent(AgentFixture f)
    {
        foreach (var octets in f.Net.Captured)
        {
            if (DiameterMessage.TryParse(octets, DiameterLimits.Default, out var message, out Wire.WireError _))
            {
                yield return message;
            }
        }
    }

    private static void AssertNoDuplicates(AgentFixture f) =>
        Assert.Equal(f.Net["aaah"].Ledger.Stored.Count, f.Net["aaah"].Ledger.Stored.Select(u => (u.OriginHost, u.Record.Session, u.Record.Number)).Distinct().Count());

    private static void AssertNothingWaits(AgentFixture f)
    {
        foreach (var name in new[] { "fa1", "fa2", "ha" })
        {
            Assert.DoesNotContain(f.Net[name].State.Keys, k => k.Table.StartsWith("accounting", StringComparison.Ordinal));
        }

        f.AssertSound();
    }
}
