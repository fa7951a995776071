namespace Sojourn.VirtualInternet.Net;

/// <summary>Virtual time, the queue of what is to happen, and the seed everything random comes from.</summary>
internal sealed class Simulation
{
    private readonly PriorityQueue<Action, (long Ticks, long Serial)> _queue = new();
    private readonly int _seed;
    private long _serial;

    public Simulation(int seed)
    {
        _seed = seed;
        Random = new Random(seed);
    }

    public DateTimeOffset Now { get; private set; } = new(2026, 11, 21, 4, 0, 0, TimeSpan.Zero);

    /// <summary>Delays, losses and the scenario's own choices.</summary>
    public Random Random { get; }

    /// <summary>Randomness of one life of a node; independent of how much the others used.</summary>
    public IRandomSource SourceFor(string node, int life)
    {
        var seed = (_seed * 31) + life;
        foreach (var c in node)
        {
            seed = unchecked((seed * 16777619) ^ c);
        }

        return new SeededSource(new Random(seed));
    }

    public void At(DateTimeOffset time, Action action) => _queue.Enqueue(action, (Math.Max(time.UtcTicks, Now.UtcTicks), ++_serial));

    public void After(TimeSpan delay, Action action) => At(Now + delay, action);

    /// <summary>Runs all that happens within <paramref name="time"/>.</summary>
    public void Run(TimeSpan time)
    {
        var end = Now + time;
        while (_queue.TryPeek(out var action, out var at) && at.Ticks <= end.UtcTicks)
        {
            _queue.Dequeue();
            Now = new DateTimeOffset(at.Ticks, TimeSpan.Zero);
            action();
        }

        Now = end;
    }

    public TimeSpan Between(double fromSeconds, double toSeconds) => TimeSpan.FromSeconds(fromSeconds + (Random.NextDouble() * (toSeconds - fromSeconds)));

    public bool Chance(double probability) => probability > 0 && Random.NextDouble() < probability;

    private sealed class SeededSource(Random random) : IRandomSource
    {
        public void Fill(Span<byte> destination) => random.NextBytes(destination);
    }
}

/// <summary>Something happened that must never happen.</summary>
internal sealed class InvariantViolation(string what, DateTimeOffset at, Exception? inner = null)
    : Exception($"{at:HH:mm:ss.fff} {what}", inner);
