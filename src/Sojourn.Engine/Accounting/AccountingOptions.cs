namespace Sojourn.Engine.Accounting;

/// <summary>How an agent accounts. Immutable.</summary>
public sealed record AccountingOptions
{
    /// <summary>How often what was carried is read and saved: the most a crash of the node can lose, and the grain of interim records.</summary>
    public TimeSpan ReadInterval { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Wait after a record was not acknowledged, per home realm; doubles up to <see cref="RetryMaximum"/>.</summary>
    public TimeSpan RetryMinimum { get; init; } = TimeSpan.FromSeconds(5);

    public TimeSpan RetryMaximum { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>Records kept until they are acknowledged; beyond it the oldest is lost and counted.</summary>
    public int MaximumRecords { get; init; } = 100_000;

    /// <summary>Records under way to one home realm at a time.</summary>
    public int Window { get; init; } = 32;
}
