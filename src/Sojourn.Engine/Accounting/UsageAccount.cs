using System.Net;

namespace Sojourn.Engine.Accounting;

/// <summary>An accounting session that is open at this agent: who, since when, and what was carried so far. Immutable.</summary>
internal sealed record UsageAccount
{
    /// <summary>Rows that fit a message beside everything else (<see cref="Wire.Diameter.DiameterLimits.MaximumAvps"/>); what is carried beyond them counts for no profile.</summary>
    public const int MaximumRows = 48;

    /// <summary>Session-Id.</summary>
    public required string Session { get; init; }

    public required string MobilitySession { get; init; }

    public required string Nai { get; init; }

    public required IPAddress HomeAddress { get; init; }

    public IPAddress? HomeAgent { get; init; }

    public required DateTimeOffset Began { get; init; }

    /// <summary>As far as a later life can know, the session lasted until then.</summary>
    public DateTimeOffset SavedAt { get; init; }

    public uint NextNumber { get; init; }

    public IReadOnlyList<ProfileUsage> Profiles { get; init; } = [];

    /// <summary>Acct-Interim-Interval of the last answer, seconds; 0 = no interim records.</summary>
    public uint InterimInterval { get; init; }

    public UsageAccount With(ProfileUsage carried)
    {
        var rows = Profiles.ToList();
        var at = rows.FindIndex(r => r.ProfileNumber == carried.ProfileNumber && r.UpTos == carried.UpTos && r.DownTos == carried.DownTos);
        if (at < 0 && rows.Count >= MaximumRows - 1)
        {
            carried = carried with { ProfileNumber = 0, UpTos = 0, DownTos = 0 };
            at = rows.FindIndex(r => r is { ProfileNumber: 0, UpTos: 0, DownTos: 0 });
        }

        if (at < 0)
        {
            rows.Add(carried);
        }
        else
        {
            rows[at] = rows[at] with { Figures = rows[at].Figures + carried.Figures, Revision = Math.Max(rows[at].Revision, carried.Revision) };
        }

        return this with { Profiles = rows };
    }

    public AccountingRecord Record(AccountingRecordType type, DateTimeOffset now) => new()
    {
        Session = Session,
        Number = NextNumber,
        Type = type,
        MobilitySession = MobilitySession,
        Nai = Nai,
        HomeAddress = HomeAddress,
        HomeAgent = HomeAgent,
        At = now,
        SessionTime = (uint)Math.Clamp((now - Began).TotalSeconds, 0, uint.MaxValue),
        Total = Profiles.Aggregate(default(UsageFigures), (sum, row) => sum + row.Figures),
        Profiles = Profiles,
    };
}
