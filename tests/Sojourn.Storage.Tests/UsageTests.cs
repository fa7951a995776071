using System.Net;
using Sojourn.Engine;
using Sojourn.Engine.Accounting;
using Xunit;

namespace Sojourn.Storage.Tests;

/// <summary>Accounting records in the database: stored once, in the transaction of the state beside them, and added up by difference.</summary>
public sealed class UsageTests : IDisposable
{
    private const string Agent = "fa1.visited.example";

    private static readonly DateTimeOffset Noon = new(2026, 11, 20, 12, 0, 0, TimeSpan.Zero);

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("sojourn-usage-");
    private readonly Database _database;
    private readonly StateStore _state;
    private readonly UsageStore _usage;

    public UsageTests()
    {
        _database = Database.Open(Path.Combine(_directory.FullName, "state.db"));
        (_state, _usage) = (new StateStore(_database), new UsageStore(_database));
    }

    public void Dispose()
    {
        _database.Dispose();
        _directory.Delete(recursive: true);
    }

    [Fact]
    public void Cumulative_records_add_up_to_the_last_and_each_day_gets_its_part()
    {
        Store(Record(0, AccountingRecordType.Start, Noon));
        Store(Record(1, AccountingRecordType.Interim, Noon.AddHours(11), Row(1, 100)));
        Store(Record(2, AccountingRecordType.Interim, Noon.AddHours(13), Row(1, 150), Row(2, 7)));
        Store(Record(3, AccountingRecordType.Stop, Noon.AddHours(20), Row(1, 500), Row(2, 7)));
        Assert.Equal(
            [(20, 1u, 100UL), (21, 1u, 400UL), (21, 2u, 7UL)],
            _usage.Days(new UsageQuestion()).Select(d => (d.Day.Day, d.ProfileNumber, d.Figures.OctetsUp)));
    }

    [Fact]
    public void A_record_that_comes_late_or_never_changes_no_total()
    {
        Store(Record(3, AccountingRecordType.Stop, Noon.AddHours(3), Row(1, 500)));
        Assert.Equal(500UL, Total());
        Store(Record(1, AccountingRecordType.Interim, Noon.AddHours(1), Row(1, 100)));
        Assert.Equal(500UL, Total());
        Assert.Equal([400UL, 100UL], _usage.Charges(new UsageQuestion(), 0, 10).Select(c => c.Figures.OctetsUp));
    }

    [Fact]
    public void Old_sessions_are_forgotten_whole_and_those_that_still_report_keep_all_of_theirs()
    {
        Store(Record(1, AccountingRecordType.Interim, Noon, Row(1, 100)));
        Store(Record(2, AccountingRecordType.Interim, Noon.AddDays(30), Row(1, 150)));
        Store(Record(1, AccountingRecordType.Stop, Noon, Row(1, 70)) with { Session = "s2" });
        Assert.Equal(0, _usage.Forget(Noon.AddSeconds(-1)));
        Assert.Equal(1, _usage.Forget(Noon.AddDays(10)));
        Assert.Equal([100UL, 50UL], _usage.Charges(new UsageQuestion(), 0, 10).Select(c => c.Figures.OctetsUp));
        Assert.Equal(2, _usage.Forget(Noon.AddDays(31)));
        Assert.Empty(_usage.Charges(new UsageQuestion(), 0, 10));
        Assert.Equal(0, _usage.Forget(Noon.AddDays(31)));
    }

    [Fact]
    public void The_same_record_is_stored_once()
    {
        Store(Record(1, AccountingRecordType.Stop, Noon, Row(1, 100)));
        Assert.True(_usage.Holds(Agent.ToUpperInvariant(), "s1", 1));
        Assert.False(_usage.Holds("fa2.visited.example", "s1", 1));
        Assert.False(_usage.Holds(Agent, "s1", 2));
        Store(Record(1, AccountingRecordType.Stop, Noon, Row(1, 900)));
        Assert.Equal(100UL, Total());
    }

    [Fact]
    public void A_record_is_stored_with_the_state_beside_it_or_not_at_all()
    {
        Assert.ThrowsAny<Exception>(() => _state.Apply([new StoreUsage(Usage(Record(1, AccountingRecordType.Stop, Noon, Row(1, 100)))), new CountEvent("not.a.state.change", 1)]));
        Assert.False(_usage.Holds(Agent, "s1", 1));
        _state.Apply([new StoreUsage(Usage(Record(1, AccountingRecordType.Stop, Noon, Row(1, 100)))), new SaveState(new StateKey("t", "k"), new byte[1])]);
        Assert.True(_usage.Holds(Agent, "s1", 1));
    }

    [Fact]
    public void Usage_is_asked_for_by_user_and_time_and_a_session_that_began_earlier_counts_from_then()
    {
        Store(Record(1, AccountingRecordType.Interim, Noon, Row(1, 100)));
        Store(Record(2, AccountingRecordType.Stop, Noon.AddDays(1), Row(1, 130)));
        Store(Record(0, AccountingRecordType.Stop, Noon, Row(9, 5)) with { Nai = "bob@home.example", Session = "s2" });
        Assert.Equal([("alice@home.example", 30UL)], _usage.Days(new UsageQuestion(Since: Noon.AddHours(1))).Select(d => (d.Nai, d.Figures.OctetsUp)));
        Assert.Equal([("bob@home.example", 5UL)], _usage.Days(new UsageQuestion("bob@HOME.example")).Select(d => (d.Nai, d.Figures.OctetsUp)));
        Assert.Equal([100UL, 5UL], _usage.Days(new UsageQuestion(Until: Noon.AddHours(1))).Select(d => d.Figures.OctetsUp));
    }

    [Fact]
    public void Charges_come_in_pages_of_whole_records()
    {
        Store(Record(0, AccountingRecordType.Start, Noon));
        Store(Record(1, AccountingRecordType.Interim, Noon, Row(1, 1), Row(2, 2)));
        Store(Record(2, AccountingRecordType.Stop, Noon, Row(1, 4), Row(2, 2)), known: false, UsageMeterPlace.HomeAgent);
        var first = _usage.Charges(new UsageQuestion(), 0, 2);
        Assert.Equal([(0u, 0u, 0UL), (1u, 1u, 1UL), (1u, 2u, 2UL)], first.Select(c => (c.Number, c.ProfileNumber, c.Figures.OctetsUp)));
        var second = _usage.Charges(new UsageQuestion(), first[^1].Id, 2);
        Assert.Equal([(1u, 3UL), (2u, 0UL)], second.Select(c => (c.ProfileNumber, c.Figures.OctetsUp)));
        Assert.All(second, c => Assert.Equal((false, UsageMeterPlace.HomeAgent, AccountingRecordType.Stop, Agent), (c.SessionKnown, c.Meter, c.Type, c.OriginHost)));
        Assert.Empty(_usage.Charges(new UsageQuestion(), second[^1].Id, 2));
    }

    [Fact]
    public void A_session_is_known_once_one_of_its_records_was()
    {
        Store(Record(0, AccountingRecordType.Start, Noon), known: false);
        Assert.False(_usage.KnowsSession(Agent, "s1"));
        Store(Record(1, AccountingRecordType.Interim, Noon));
        Assert.True(_usage.KnowsSession(Agent, "s1"));
    }

    private ulong Total() => _usage.Days(new UsageQuestion()).Aggregate(0UL, (sum, day) => sum + day.Figures.OctetsUp);

    private void Store(AccountingRecord record, bool known = true, UsageMeterPlace meter = UsageMeterPlace.ForeignAgent) => _state.Apply([new StoreUsage(Usage(record, known, meter))]);

    private static UsageRecord Usage(AccountingRecord record, bool known = true, UsageMeterPlace meter = UsageMeterPlace.ForeignAgent) =>
        new(record, Agent, "visited.example", meter, known, record.At);

    private static ProfileUsage Row(uint profile, ulong octetsUp) => new(profile, 0, 0, 1, new UsageFigures(1, octetsUp, 0, 0));

    private static AccountingRecord Record(uint number, AccountingRecordType type, DateTimeOffset at, params ProfileUsage[] rows) => new()
    {
        Session = "s1",
        Number = number,
        Type = type,
        MobilitySession = "m1",
        Nai = "alice@home.example",
        HomeAddress = IPAddress.Parse("10.99.0.10"),
        At = at,
        SessionTime = 60,
        Profiles = rows,
    };
}
