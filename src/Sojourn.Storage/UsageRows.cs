using Sojourn.Engine.Accounting;

namespace Sojourn.Storage;

/// <summary>Writes accounting records, within the transaction of everything else a batch saves.</summary>
internal sealed class UsageRows(Database database)
{
    private readonly PreparedCommand _record = new(database, """
        INSERT INTO usage_record (origin_host, origin_realm, session_id, record_number, record_type, meter, mobility_session, session_known, nai, home_address, at, received, session_time)
        VALUES (@host, @realm, @session, @number, @type, @meter, @mobility, @known, @nai, @home, @at, @received, @time)
        ON CONFLICT (origin_host, session_id, record_number) DO NOTHING RETURNING id
        """);

    private readonly PreparedCommand _profile = new(database, """
        INSERT INTO usage_profile (record, profile_number, up_tos, down_tos, revision, packets_up, octets_up, packets_down, octets_down)
        VALUES (@id, @profile, @up, @down, @revision, @packetsUp, @octetsUp, @packetsDown, @octetsDown)
        """);

    /// <summary>A record that is there stays as it is.</summary>
    public void Insert(UsageRecord usage)
    {
        var record = usage.Record;
        var id = _record.Number(
            UsageStore.Name(usage.OriginHost), UsageStore.Name(usage.OriginRealm), record.Session, (long)record.Number, (int)record.Type, (int)usage.Meter,
            record.MobilitySession, usage.SessionKnown, record.Nai, record.HomeAddress.ToString(), record.At.ToUnixTimeSeconds(), usage.Received.ToUnixTimeSeconds(),
            (long)record.SessionTime);
        if (id is null)
        {
            return;
        }

        foreach (var row in record.Profiles)
        {
            _profile.Execute(
                id, (long)row.ProfileNumber, (int)row.UpTos, (int)row.DownTos, (long)row.Revision,
                (long)row.Figures.PacketsUp, (long)row.Figures.OctetsUp, (long)row.Figures.PacketsDown, (long)row.Figures.OctetsDown);
        }
    }
}
