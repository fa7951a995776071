namespace Sojourn.VirtualInternet.Net;

/// <summary>
/// Engines on virtual time: their lives, their wakes, and the messages between them. One thread; what happens is decided by the
/// seed alone. What an engine asks for is carried out by whoever derives.
/// </summary>
internal abstract class EngineNetwork<TNode>
    where TNode : EngineNode
{
    private readonly Dictionary<string, TNode> _nodes = [];
    private readonly HashSet<(string, string)> _partitions = [];

    protected EngineNetwork(int seed, bool trace)
    {
        Simulation = new Simulation(seed);
        Trace = new Trace(trace, Simulation.Now);
    }

    public Simulation Simulation { get; }

    public Trace Trace { get; }

    public Faults Faults { get; set; } = Faults.None;

    public Dictionary<string, long> Counters { get; } = [];

    public IReadOnlyCollection<TNode> Nodes => _nodes.Values;

    /// <summary>Signalling messages that are lost, for tests that need a certain one to be.</summary>
    public Func<TNode, TNode, string, bool>? Lose { get; set; }

    /// <summary>Crashes a node between two effects of one call: what came before is done, what follows is not.</summary>
    public Func<TNode, Effect, bool>? CrashAfter { get; set; }

    /// <summary>Whether anybody wants to know what messages are called.</summary>
    protected bool NamesMatter => Trace.Enabled || Lose is not null;

    public TNode this[string name] => _nodes[name];

    public virtual void Add(TNode node) => _nodes.Add(node.Name, node);

    public void Run(TimeSpan time) => Simulation.Run(time);

    public void Run(double seconds) => Run(TimeSpan.FromSeconds(seconds));

    /// <summary>Starts a node with what it saved in earlier lives.</summary>
    public void Start(TNode node)
    {
        if (node.IsUp)
        {
            return;
        }

        var random = Simulation.SourceFor(node.Name, ++node.Life);
        node.Engine = node.Build(random);
        OnStarting(node, random);
        node.Wake = null;
        Trace.Note(Simulation.Now, $"{node,6}  ●  starts, life {node.Life}");
        Input(node, new EngineStarted([.. node.State.Select(s => new SavedState(s.Key, s.Value))]));
        OnStarted(node);
    }

    /// <summary>Power off: nothing is said to anybody.</summary>
    public void Crash(TNode node)
    {
        if (!node.IsUp)
        {
            return;
        }

        Trace.Note(Simulation.Now, $"{node,6}  ✗  crashes");
        (node.Engine as IDisposable)?.Dispose();
        node.Engine = null;
        OnCrashed(node);
    }

    public void Input(TNode node, EngineInput input)
    {
        if (node.Engine is not { } engine)
        {
            return;
        }

        var life = node.Life;
        var sink = new EffectSink();
        try
        {
            engine.Handle(input, Simulation.Now, sink);
        }
        catch (Exception thrown)
        {
            throw Violation($"{node} threw on {input.GetType().Name}: {thrown.GetType().Name}: {thrown.Message}", thrown);
        }

        foreach (var step in Steps(sink.Effects))
        {
            if (!Do(node, step) || node.Life != life)
            {
                return;
            }
        }

        Settle(node);
        ScheduleWake(node);
    }

    /// <summary>Sends test packets and requires their answers. Keys may be changed meanwhile, and a packet meet an association that one side has just replaced: then the next one has to pass.</summary>
    /// <param name="send">Sends one after the other.</param>
    public void RequireAnswers(Func<IEnumerable<Ping>> send)
    {
        List<Ping> lost = [];
        for (var tries = 0; tries < 2; tries++)
        {
            var pings = send().ToList();
            Run(2);
            lost = [.. pings.Where(p => !p.Returned)];
            if (lost.Count == 0)
            {
                return;
            }
        }

        throw Violation($"no answer: {string.Join("\n  ", lost)}");
    }

    public InvariantViolation Violation(string what, Exception? inner = null) => new(what, Simulation.Now, inner);

    public void Partition(TNode left, TNode right)
    {
        if (_partitions.Add((left.Name, right.Name)) | _partitions.Add((right.Name, left.Name)))
        {
            Trace.Note(Simulation.Now, $"{left,6}  ╳  {right} cannot be reached");
            OnPartitioned(left, right);
        }
    }

    public void Heal(TNode left, TNode right)
    {
        if (_partitions.Remove((left.Name, right.Name)) | _partitions.Remove((right.Name, left.Name)))
        {
            Trace.Note(Simulation.Now, $"{left,6}  ═  {right} can be reached again");
        }
    }

    public void HealAll() => _partitions.Clear();

    /// <summary>Effects of one call in the order in which they are carried out.</summary>
    protected virtual IEnumerable<Effect> Steps(IReadOnlyList<Effect> effects) => effects;

    protected abstract void CarryOut(TNode node, Effect effect);

    /// <summary>Carries out an effect, or anything else of a node's doing that it may crash after. False when it has.</summary>
    protected bool Do(TNode node, Effect effect)
    {
        CarryOut(node, effect);
        if (CrashAfter?.Invoke(node, effect) == true)
        {
            Crash(node);
        }

        return node.IsUp;
    }

    /// <summary>The engine of a new life is there and has not been told yet.</summary>
    protected virtual void OnStarting(TNode node, IRandomSource random)
    {
    }

    protected virtual void OnStarted(TNode node)
    {
    }

    protected virtual void OnCrashed(TNode node)
    {
    }

    protected virtual void OnPartitioned(TNode left, TNode right)
    {
    }

    /// <summary>After all effects of a call.</summary>
    protected virtual void Settle(TNode node)
    {
    }

    protected bool ArePartitioned(TNode from, TNode to) => _partitions.Contains((from.Name, to.Name));

    /// <summary>A few milliseconds, the same for two nodes all the time, and jitter; much more on a whim when reordering.</summary>
    protected TimeSpan Delay(TNode from, TNode to)
    {
        var nominal = 1 + ((from.Name.Length * 7 + to.Name.Length * 5 + from.Name[^1] + to.Name[^1]) % 9);
        var jitter = Faults.JitterMilliseconds > 0 ? Simulation.Random.NextDouble() * Faults.JitterMilliseconds : 0;
        return TimeSpan.FromMilliseconds(nominal + jitter + (Simulation.Chance(Faults.Reordering) ? Simulation.Random.Next(400) : 0));
    }

    /// <summary>Carries one message: lost, once or twice.</summary>
    /// <param name="what">Its name; null = it is not written down.</param>
    /// <param name="mayRepeat">False: it goes over a connection, which delivers nothing twice.</param>
    protected void Carry(TNode from, TNode to, string? what, Action arrive, bool mayRepeat = true)
    {
        var fate = ArePartitioned(from, to) ? " — unreachable" : !to.IsUp ? " — receiver is down"
            : Simulation.Chance(Faults.Loss) || (what is not null && Lose?.Invoke(from, to, what) == true) ? " — lost" : "";
        if (what is not null)
        {
            Trace.Message(Simulation.Now, from, to, what, fate);
        }

        if (fate.Length > 0)
        {
            return;
        }

        Simulation.After(Delay(from, to), arrive);
        if (mayRepeat && Simulation.Chance(Faults.Duplication))
        {
            Simulation.After(Delay(from, to) + TimeSpan.FromMilliseconds(3), arrive);
        }
    }

    private void ScheduleWake(TNode node)
    {
        if (node.Engine?.NextDeadline is not { } next || node.Wake <= next)
        {
            return;
        }

        node.IdleWakes = next <= Simulation.Now ? node.IdleWakes + 1 : 0;
        if (node.IdleWakes > 1000)
        {
            throw Violation($"{node} does not move its deadline on");
        }

        var life = node.Life;
        node.Wake = next > Simulation.Now ? next : Simulation.Now;
        var at = node.Wake.Value;
        Simulation.At(at, () =>
        {
            if (node.Life != life || node.Wake != at)
            {
                return;
            }

            node.Wake = null;
            if (node.Engine?.NextDeadline <= Simulation.Now)
            {
                Input(node, new DeadlineReached());
            }
            else
            {
                ScheduleWake(node);
            }
        });
    }
}

/// <summary>What the network does to datagrams and packets, as probabilities. Streams only break and are late.</summary>
/// <param name="JitterMilliseconds">Most that a delay differs from the nominal one.</param>
internal sealed record Faults(double Loss, double Duplication, double Reordering, double JitterMilliseconds)
{
    public static readonly Faults None = new(0, 0, 0, 0);
}
