using Sojourn.Engine.Accounting;
using System.Net;
using Sojourn.Engine.Diameter;
using Sojourn.Engine.Ipsec;

namespace Sojourn.VirtualInternet.Net;

/// <summary>
/// Nodes, the core network between them, access links, and everything an engine can ask for. One thread; what happens
/// is decided by the seed alone.
/// </summary>
internal sealed partial class VirtualNetwork
{
    private readonly Dictionary<string, VirtualNode> _nodes = [];
    private readonly Dictionary<IPAddress, VirtualNode> _byAddress = [];
    private readonly HashSet<(string, string)> _partitions = [];

    public VirtualNetwork(int seed, bool trace)
    {
        Simulation = new Simulation(seed);
        Trace = new Trace(trace, Simulation.Now);
        Ledger = new Ledger(this);
    }

    public Simulation Simulation { get; }

    public Trace Trace { get; }

    public Ledger Ledger { get; }

    public Faults Faults { get; set; } = Faults.None;

    public Dictionary<string, long> Counters { get; } = [];

    public IReadOnlyCollection<VirtualNode> Nodes => _nodes.Values;

    /// <summary>Signalling messages that are lost, for tests that need a certain one to be.</summary>
    public Func<VirtualNode, VirtualNode, string, bool>? Lose { get; set; }

    public VirtualNode this[string name] => _nodes[name];

    public void Add(VirtualNode node)
    {
        _nodes.Add(node.Name, node);
        foreach (var address in node.Addresses)
        {
            _byAddress.Add(address, node);
        }
    }

    public void Run(TimeSpan time) => Simulation.Run(time);

    public void Run(double seconds) => Run(TimeSpan.FromSeconds(seconds));

    /// <summary>Starts a node with what it saved in earlier lives.</summary>
    public void Start(VirtualNode node)
    {
        if (node.IsUp)
        {
            return;
        }

        var random = Simulation.SourceFor(node.Name, ++node.Life);
        node.Engine = node.Build(random);
        node.Paths = new PathTable(new PathTableOptions { Sequences = node.Sequences, Defer = work => work() }, random);
        node.Wake = null;
        Trace.Note(Simulation.Now, $"{node,6}  ●  starts, life {node.Life}");
        Input(node, new EngineStarted([.. node.State.Select(s => new SavedState(s.Key, s.Value))]));
        node.Paths?.CheckLifetimes(Simulation.Now);
    }

    /// <summary>Power off: nothing is said to anybody.</summary>
    public void Crash(VirtualNode node)
    {
        if (!node.IsUp)
        {
            return;
        }

        Trace.Note(Simulation.Now, $"{node,6}  ✗  crashes");
        node.Engine = null;
        node.Paths = null;
        node.Visitors.Clear();
        node.Attracted.Clear();
        node.Held.Clear();
        node.HomeAddress = null;
        BreakStreams(end => end.Node == node || end.Other.Node == node);
    }

    public void Input(VirtualNode node, EngineInput input)
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

        foreach (var effect in sink.Effects)
        {
            CarryOut(node, effect);
            if (CrashAfter?.Invoke(node, effect) == true)
            {
                Crash(node);
            }

            if (node.Life != life || !node.IsUp)
            {
                return;
            }
        }

        while (node.Paths is { } paths && paths.TryTakeAnnouncement(out var restored))
        {
            Announce(node, restored);
        }

        TakeSignals(node);
        ScheduleWake(node);
    }

    /// <summary>The accounting of the whole run; what is stored survives restarts of the home AAA server.</summary>
    public UsageBook Usage { get; } = new();

    /// <summary>Crashes a node between two effects of one call: what came before is done, what follows is not.</summary>
    public Func<VirtualNode, Effect, bool>? CrashAfter { get; set; }

    public InvariantViolation Violation(string what, Exception? inner = null) => new(what, Simulation.Now, inner);

    public void Attach(VirtualNode mobile, VirtualNode? agent)
    {
        if (mobile.AttachedTo == agent)
        {
            return;
        }

        if (mobile.AttachedTo is not null)
        {
            Input(mobile, new LinkChanged(mobile.RoamingInterface!, false));
        }

        mobile.AttachedTo = agent;
        Trace.Note(Simulation.Now, $"{mobile,6}  ~  is on the link of {agent?.Name ?? "nobody"}");
        if (agent is not null)
        {
            Input(mobile, new LinkChanged(mobile.RoamingInterface!, true));
        }
    }

    public void Partition(VirtualNode left, VirtualNode right)
    {
        if (_partitions.Add((left.Name, right.Name)) | _partitions.Add((right.Name, left.Name)))
        {
            Trace.Note(Simulation.Now, $"{left,6}  ╳  {right} cannot be reached");
            BreakStreams(end => (end.Node == left && end.Other.Node == right) || (end.Node == right && end.Other.Node == left));
        }
    }

    public void Heal(VirtualNode left, VirtualNode right)
    {
        if (_partitions.Remove((left.Name, right.Name)) | _partitions.Remove((right.Name, left.Name)))
        {
            Trace.Note(Simulation.Now, $"{left,6}  ═  {right} can be reached again");
        }
    }

    public void HealAll() => _partitions.Clear();

    /// <summary>Whether anybody wants to know what messages are called.</summary>
    private bool NamesMatter => Trace.Enabled || Lose is not null;

    private bool ArePartitioned(VirtualNode from, VirtualNode to) => _partitions.Contains((from.Name, to.Name));

    private void CarryOut(VirtualNode node, Effect effect)
    {
        switch (effect)
        {
            case SendDatagram send:
                Send(node, send);
                break;
            case SendIcmp send:
                Send(node, send);
                break;
            case OpenConnection open:
                Open(node, open);
                break;
            case SendBytes send:
                Send(node, send);
                break;
            case CloseConnection close:
                Close(node, close);
                break;
            case ChangePaths change:
                Change(node, change);
                break;
            case AddVisitor visitor:
                if (_nodes.Values.FirstOrDefault(n => n.IsIntruder && n.LinkAddress == visitor.LinkAddress) is { } intruder)
                {
                    throw Violation($"{node} takes {intruder}, who proved nothing, as visitor {visitor.Address}");
                }

                node.Visitors[visitor.Address] = visitor.LinkAddress;
                break;
            case RemoveVisitor visitor:
                node.Visitors.Remove(visitor.Address);
                break;
            case HoldVisitor:
                // A matter of links with one station, which these are not.
                break;
            case AttractHomeAddress attract:
                node.Attracted.Add(attract.Address);
                break;
            case ReleaseHomeAddress release:
                node.Attracted.Remove(release.Address);
                break;
            case AttachHome when node.IsIntruder:
                throw Violation($"{node} was granted a registration without the user's key");
            case AttachHome attach:
                node.HomeAddress = attach.HomeAddress;
                break;
            case DetachHome:
                node.HomeAddress = null;
                break;
            case SaveState save:
                node.State[save.Key] = save.Value.ToArray();
                break;
            case DropState drop:
                node.State.Remove(drop.Key);
                break;
            case ReadUsage read:
                var (carried, life) = (node.Paths!.TakeUsage(), node.Life);
                Simulation.After(TimeSpan.FromMicroseconds(200), () =>
                {
                    if (node.IsUp && node.Life == life)
                    {
                        Usage.HandedOver(node, carried);
                        Input(node, new UsageRead(read.Number, carried));
                    }
                });
                break;
            case StoreUsage store:
                Usage.Store(store.Usage);
                break;
            case CountEvent { Amount: < 0 } negative:
                throw Violation($"{node} counts {negative.Counter} backwards, by {negative.Amount}");
            case CountEvent count:
                Counters[count.Counter] = Counters.GetValueOrDefault(count.Counter) + count.Amount;
                break;
            case Report report:
                Trace.Event(Simulation.Now, node, report.Event);
                Ledger.Reported(node, report.Event);
                break;
            default:
                throw Violation($"{node} asks for {effect.GetType().Name}, which nobody carries out");
        }
    }

    private void Change(VirtualNode node, ChangePaths change)
    {
        if (node.Paths!.Change(change.Install, change.Remove, Simulation.Now).Refusal is { } refusal)
        {
            throw Violation($"{node}: the packet path refuses what the engine asked for: {refusal.Path} {refusal.Reason}: {refusal.Text} [{refusal.Rule}]");
        }

        if (node.Held.Count > 0)
        {
            Simulation.After(TimeSpan.Zero, () => ReleaseHeld(node));
        }

        if (Trace.Enabled)
        {
            foreach (var path in change.Install)
            {
                Trace.Note(Simulation.Now, $"{node,6}  +  {path.Id} {path.SecurityType} {path.State} to {path.RemoteGateway}, spi {path.Outbound?.Spi:x}/{path.Inbound?.Spi:x}");
            }

            foreach (var id in change.Remove)
            {
                Trace.Note(Simulation.Now, $"{node,6}  -  {id}");
            }
        }
    }

    private void TakeSignals(VirtualNode node)
    {
        while (node.Paths is { } paths && paths.TryTakeSignal(out var signal))
        {
            Input(node, signal);
        }
    }

    private void ScheduleWake(VirtualNode node)
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
