namespace Sojourn.VirtualInternet.Net;

/// <summary>A machine that runs an engine. A restart takes the engine away; what it has saved stays.</summary>
internal abstract class EngineNode(string name)
{
    public string Name => name;

    public IEngine? Engine { get; set; }

    /// <summary>How often it was started.</summary>
    public int Life { get; set; }

    public bool IsUp => Engine is not null;

    /// <summary>When the next <see cref="DeadlineReached"/> is in the queue for.</summary>
    public DateTimeOffset? Wake { get; set; }

    public int IdleWakes { get; set; }

    public Dictionary<StateKey, byte[]> State { get; } = [];

    /// <summary>The engine of a new life.</summary>
    public abstract IEngine Build(IRandomSource random);

    public override string ToString() => name;
}
