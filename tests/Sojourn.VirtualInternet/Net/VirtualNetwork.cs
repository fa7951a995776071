using Sojourn.Engine.Accounting;
using System.Net;
using Sojourn.Engine.Diameter;
using Sojourn.Engine.Ipsec;

namespace Sojourn.VirtualInternet.Net;

/// <summary>Nodes, the core network between them, access links, and everything an engine of the first system can ask for.</summary>
internal sealed partial class VirtualNetwork : EngineNetwork<VirtualNode>
{
    private readonly Dictionary<IPAddress, VirtualNode> _byAddress = [];

    public VirtualNetwork(int seed, bool trace)
        : base(seed, trace) => Ledger = new Ledger(this);

    public Ledger Ledger { get; }

    /// <summary>The accounting of the whole run; what is stored survives restarts of the home AAA server.</summary>
    public UsageBook Usage { get; } = new();

    public override void Add(VirtualNode node)
    {
        base.Add(node);
        foreach (var address in node.Addresses)
        {
            _byAddress.Add(address, node);
        }
    }

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

    protected override void OnStarting(VirtualNode node, IRandomSource random) =>
        node.Paths = new PathTable(new PathTableOptions { Sequences = node.Sequences, Defer = work => work() }, random);

    protected override void OnStarted(VirtualNode node) => node.Paths?.CheckLifetimes(Simulation.Now);

    protected override void OnCrashed(VirtualNode node)
    {
        node.Paths = null;
        node.Visitors.Clear();
        node.Attracted.Clear();
        node.Held.Clear();
        node.HomeAddress = null;
        BreakStreams(end => end.Node == node || end.Other.Node == node);
    }

    protected override void OnPartitioned(VirtualNode left, VirtualNode right) =>
        BreakStreams(end => (end.Node == left && end.Other.Node == right) || (end.Node == right && end.Other.Node == left));

    protected override void Settle(VirtualNode node)
    {
        while (node.Paths is { } paths && paths.TryTakeAnnouncement(out var restored))
        {
            Announce(node, restored);
        }

        TakeSignals(node);
    }

    protected override void CarryOut(VirtualNode node, Effect effect)
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
                if (Nodes.FirstOrDefault(n => n.IsIntruder && n.LinkAddress == visitor.LinkAddress) is { } intruder)
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
}
