using System.Data;
using System.Globalization;
using System.Net;
using Dapper;
using Sojourn.Engine;
using Sojourn.Engine.Accounting;

namespace Sojourn.Storage;

/// <summary>Which usage is asked for. <see cref="Since"/> counts, <see cref="Until"/> does not; null = no bound.</summary>
public sealed record UsageQuestion(string? Nai = null, DateTimeOffset? Since = null, DateTimeOffset? Until = null);

/// <summary>What one user's profile carried under one service class on one day (UTC), as one kind of agent measured it.</summary>
public sealed record UsageDay(DateOnly Day, string Nai, UsageMeterPlace Meter, uint ProfileNumber, byte UpTos, byte DownTos, UsageFigures Figures);

/// <summary>One profile's part of one accounting record: what was carried since the record before. A record without any, as START, is one line of nothing.</summary>
/// <param name="Id">Grows with every record stored.</param>
public sealed record UsageCharge(
    long Id, DateTimeOffset At, AccountingRecordType Type, string Nai, IPAddress HomeAddress, string MobilitySession, string Session, uint Number, string OriginHost,
    string OriginRealm, UsageMeterPlace Meter, bool SessionKnown, uint SessionTime, uint ProfileNumber, byte UpTos, byte DownTos, ulong Revision, UsageFigures Figures);

/// <summary>
/// Accounting records in the node's database. They are cumulative, so that a lost interim record costs nothing; what is asked for is
/// the difference to the record before of the same accounting session, and belongs to the time of the later one.
/// </summary>
public sealed class UsageStore(Database database) : IUsageLedger
{
    /// <summary>Every record's profiles with what was added since the record before. Sessions without a record in the time asked for are left out first.</summary>
    private const string Steps = """
        WITH step AS (
            SELECT r.id, r.at, r.record_type, r.nai, r.home_address, r.mobility_session, r.session_id, r.record_number, r.origin_host, r.origin_realm,
                r.meter, r.session_known, r.session_time, p.profile_number, p.up_tos, p.down_tos, p.revision,
                p.packets_up - lag(p.packets_up, 1, 0) OVER earlier AS packets_up, p.octets_up - lag(p.octets_up, 1, 0) OVER earlier AS octets_up,
                p.packets_down - lag(p.packets_down, 1, 0) OVER earlier AS packets_down, p.octets_down - lag(p.octets_down, 1, 0) OVER earlier AS octets_down
            FROM usage_record r LEFT JOIN usage_profile p ON p.record = r.id
            WHERE (@nai IS NULL OR r.nai = @nai)
                AND (@since IS NULL OR (r.origin_host, r.session_id) IN (SELECT origin_host, session_id FROM usage_record WHERE at >= @since))
            WINDOW earlier AS (PARTITION BY r.origin_host, r.session_id, p.profile_number, p.up_tos, p.down_tos ORDER BY r.record_number))
        """;

    private const string InTime = "(@since IS NULL OR at >= @since) AND (@until IS NULL OR at < @until)";

    private readonly PreparedCommand _holds = new(database, "SELECT count(*) FROM usage_record WHERE origin_host = @originHost AND session_id = @session AND record_number = @number");
    private readonly PreparedCommand _knows = new(database, "SELECT EXISTS (SELECT 1 FROM usage_record WHERE origin_host = @originHost AND session_id = @session AND session_known = 1)");

    public bool Holds(string originHost, string session, uint number)
    {
        lock (database.Gate)
        {
            return _holds.Number(Name(originHost), session, (long)number) > 0;
        }
    }

    public bool KnowsSession(string originHost, string session)
    {
        lock (database.Gate)
        {
            return _knows.Number(Name(originHost), session) > 0;
        }
    }

    /// <summary>Totals by day, user, profile and service class.</summary>
    public IReadOnlyList<UsageDay> Days(UsageQuestion question)
    {
        using var connection = database.OpenReader();
        using var row = connection.ExecuteReader(
            $"""
            {Steps}
            SELECT date(at, 'unixepoch') AS day, nai, meter, profile_number, up_tos, down_tos, sum(packets_up), sum(octets_up), sum(packets_down), sum(octets_down)
            FROM step WHERE {InTime} AND profile_number IS NOT NULL
            GROUP BY day, nai, meter, profile_number, up_tos, down_tos ORDER BY day, nai, meter, profile_number, up_tos, down_tos
            """,
            Parameters(question));
        var days = new List<UsageDay>();
        while (row.Read())
        {
            days.Add(new UsageDay(
                DateOnly.ParseExact(row.GetString(0), "yyyy-MM-dd", CultureInfo.InvariantCulture), row.GetString(1), (UsageMeterPlace)row.GetInt64(2),
                (uint)row.GetInt64(3), (byte)row.GetInt64(4), (byte)row.GetInt64(5), Figures(row, 6)));
        }

        return days;
    }

    /// <summary>Charges in the order they were stored, from the first behind <paramref name="after"/>. A record is never cut in two.</summary>
    /// <param name="records">At most of so many records.</param>
    public IReadOnlyList<UsageCharge> Charges(UsageQuestion question, long after, int records)
    {
        using var connection = database.OpenReader();
        var parameters = new DynamicParameters(Parameters(question));
        parameters.Add("after", after);
        parameters.Add("records", records);
        using var row = connection.ExecuteReader(
            $"""
            {Steps}
            SELECT id, at, record_type, nai, home_address, mobility_session, session_id, record_number, origin_host, origin_realm, meter, session_known, session_time,
                coalesce(profile_number, 0), coalesce(up_tos, 0), coalesce(down_tos, 0), coalesce(revision, 0),
                coalesce(packets_up, 0), coalesce(octets_up, 0), coalesce(packets_down, 0), coalesce(octets_down, 0)
            FROM step
            WHERE {InTime} AND id IN (SELECT id FROM usage_record WHERE id > @after AND (@nai IS NULL OR nai = @nai) AND {InTime} ORDER BY id LIMIT @records)
            ORDER BY id, profile_number, up_tos, down_tos
            """,
            parameters);
        var charges = new List<UsageCharge>();
        while (row.Read())
        {
            charges.Add(new UsageCharge(
                row.GetInt64(0), DateTimeOffset.FromUnixTimeSeconds(row.GetInt64(1)), (AccountingRecordType)row.GetInt64(2), row.GetString(3), IPAddress.Parse(row.GetString(4)),
                row.GetString(5), row.GetString(6), (uint)row.GetInt64(7), row.GetString(8), row.GetString(9), (UsageMeterPlace)row.GetInt64(10), row.GetInt64(11) != 0,
                (uint)row.GetInt64(12), (uint)row.GetInt64(13), (byte)row.GetInt64(14), (byte)row.GetInt64(15), (ulong)row.GetInt64(16), Figures(row, 17)));
        }

        return charges;
    }

    /// <summary>
    /// Removes the records of accounting sessions of which nothing has come since <paramref name="before"/>. A session goes as a whole:
    /// its records are cumulative, so that the first one left would count for all before it.
    /// </summary>
    /// <param name="most">At most about so many records at once, so that nobody waits for long.</param>
    /// <returns>Records removed; 0 = there are none left to remove.</returns>
    public int Forget(DateTimeOffset before, int most = 10_000)
    {
        lock (database.Gate)
        {
            return database.Connection.Execute(
                """
                DELETE FROM usage_record WHERE (origin_host, session_id) IN (
                    SELECT origin_host, session_id FROM usage_record AS old WHERE received < @before AND NOT EXISTS (
                        SELECT 1 FROM usage_record AS late WHERE late.origin_host = old.origin_host AND late.session_id = old.session_id AND late.received >= @before)
                    LIMIT @most)
                """,
                new { before = before.ToUnixTimeSeconds(), most });
        }
    }

    /// <summary>Diameter identities compare without regard to case.</summary>
    internal static string Name(string identity) => identity.ToLowerInvariant();

    private static object Parameters(UsageQuestion question) => new
    {
        nai = question.Nai is null ? null : Nai.TryNormalize(question.Nai, out _) ?? question.Nai,
        since = question.Since?.ToUnixTimeSeconds(),
        until = question.Until?.ToUnixTimeSeconds(),
    };

    /// <summary>Four columns from <paramref name="first"/> on. A later record that says less is a fault of its agent; it shows as nothing rather than as a huge number.</summary>
    private static UsageFigures Figures(IDataRecord row, int first)
    {
        return new UsageFigures(Column(0), Column(1), Column(2), Column(3));

        ulong Column(int offset) => (ulong)Math.Max(0, row.GetInt64(first + offset));
    }
}
