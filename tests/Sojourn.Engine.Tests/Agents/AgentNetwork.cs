using System.Globalization;
using System.Net;
using Sojourn.Engine.Accounting;
using Sojourn.Engine.Diameter;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>What the network does with a datagram.</summary>
public enum Fate
{
    Deliver,
    Lose,
    Duplicate,

    /// <summary>Arrives 40 ms late, behind what is sent after it.</summary>
    Delay,
}

/// <summary>A Mobile IPv4 datagram under way. <paramref name="Name"/> is as in <see cref="AgentNetwork.Arrows"/>: "RRQ", "RRP 67", "BU".</summary>
internal sealed record Flight(string From, string To, string Name, SendDatagram Datagram, int Count);

/// <summary>
/// Engines in one process on virtual time: access links, a routed core for datagrams, Diameter streams. Every hop takes a
/// millisecond. What nodes ask for (paths, visitors, attracted addresses, saved state) is booked for each; every
/// signalling message becomes a line of <see cref="Arrows"/>.
/// </summary>
internal sealed class AgentNetwork
{
    private static readonly TimeSpan Hop = TimeSpan.FromMilliseconds(1);

    private readonly Dictionary<string, AgentNode> _nodes = [];
    private readonly Dictionary<(string Node, long Connection), (string Node, long Connection)> _ends = [];
    private readonly PriorityQueue<(AgentNode Node, int Life, EngineInput Input), (DateTimeOffset At, long Order)> _queue = new();
    private readonly Dictionary<string, int> _flights = [];
    private long _order;
    private long _accepted;

    public DateTimeOffset Now { get; private set; } = new(2026, 11, 21, 4, 0, 0, TimeSpan.Zero);

    /// <summary>"fa1 > aaaf AMR".</summary>
    public List<string> Arrows { get; } = [];

    public List<string> Violations { get; } = [];

    /// <summary>Octets of every signalling message, for looking for secrets.</summary>
    public List<byte[]> Captured { get; } = [];

    public Func<Flight, Fate> Fates { get; set; } = _ => Fate.Deliver;

    /// <summary>Called when a message leaves a node, after everything the node asked for before it was done.</summary>
    public Action<string, string, string>? Leaving { get; set; }

    public AgentNode this[string name] => _nodes[name];

    public IEnumerable<AgentNode> Nodes => _nodes.Values;

    public AgentNode Add(string name, IEngine engine, IPAddress? address, IPEndPoint? diameter = null, params IPNetwork[] serves)
    {
        var node = new AgentNode(name, engine) { Diameter = diameter, Prefixes = [.. address is null ? [] : new[] { new IPNetwork(address, 32) }, .. serves] };
        _nodes[name] = node;
        return node;
    }

    public void Start(params IEnumerable<string> names)
    {
        foreach (var name in names)
        {
            Boot(_nodes[name]);
        }

        Run(TimeSpan.FromSeconds(3));
    }

    /// <summary>The process dies: its connections break, what is under way to it is lost, its saved state stays.</summary>
    public void Crash(string name)
    {
        var node = _nodes[name];
        node.IsDown = true;
        node.Life++;
        node.KeepKeys();
        node.Paths.Clear();
        node.Carried.Clear();
        node.Visitors.Clear();
        node.Attracted.Clear();
        foreach (var (end, other) in _ends.Where(e => e.Key.Node == name).ToList())
        {
            _ends.Remove(end);
            _ends.Remove(other);
            Enqueue(_nodes[other.Node], new ConnectionClosed(other.Connection, "reset"), Hop);
        }
    }

    public void Restart(string name, IEngine engine, TimeSpan? settle = null)
    {
        _nodes[name].Engine = engine;
        _nodes[name].IsDown = false;
        Boot(_nodes[name]);
        Run(settle ?? TimeSpan.FromSeconds(3));
    }

    private void Boot(AgentNode node) =>
        Enqueue(node, new EngineStarted([.. node.State.Select(s => new SavedState(s.Key, s.Value))]), TimeSpan.Zero);

    /// <summary>Plugs a mobile node into an agent's access link; it leaves the one it was on.</summary>
    public void Attach(string mobileNode, string agent)
    {
        _nodes[mobileNode].Agent = agent;
        Enqueue(_nodes[mobileNode], new LinkChanged(AgentFixture.MobileInterface, true), TimeSpan.Zero);
    }

    public void Detach(string mobileNode) => _nodes[mobileNode].Agent = null;

    public void Input(string name, EngineInput input) => Enqueue(_nodes[name], input, TimeSpan.Zero);

    /// <summary>Puts a datagram on the network as if a node had sent it.</summary>
    public void Forge(string name, SendDatagram datagram) => Carry(_nodes[name], datagram);

    public void Run(TimeSpan time)
    {
        var end = Now + time;
        for (var steps = 0; ; steps++)
        {
            if (steps > 200_000)
            {
                throw new InvalidOperationException("the nodes never come to rest");
            }

            var due = _nodes.Values.Where(n => !n.IsDown && n.Engine.NextDeadline is not null).MinBy(n => n.Engine.NextDeadline);
            var deadline = due?.Engine.NextDeadline ?? DateTimeOffset.MaxValue;
            var arrival = _queue.TryPeek(out _, out var first) ? first.At : DateTimeOffset.MaxValue;
            var next = deadline < arrival ? deadline : arrival;
            if (next > end)
            {
                break;
            }

            Now = next > Now ? next : Now;
            if (arrival <= deadline)
            {
                var (node, life, input) = _queue.Dequeue();
                if (!node.IsDown && node.Life == life)
                {
                    Handle(node, input);
                }
            }
            else
            {
                Handle(due!, new DeadlineReached());
            }
        }

        Now = end;
    }

    public long Count(string counter) => _nodes.Values.Sum(n => n.Counters.GetValueOrDefault(counter));

    private void Enqueue(AgentNode node, EngineInput input, TimeSpan delay) => _queue.Enqueue((node, node.Life, input), (Now + delay, ++_order));

    private void Handle(AgentNode node, EngineInput input)
    {
        var sink = new EffectSink();
        node.Engine.Handle(input, Now, sink);
        node.Effects.AddRange(sink.Effects);
        foreach (var effect in sink.Effects)
        {
            switch (effect)
            {
                case SendDatagram datagram:
                    Carry(node, datagram);
                    break;
                case SendIcmp icmp:
                    Carry(node, icmp);
                    break;
                case OpenConnection open:
                    Open(node, open);
                    break;
                case SendBytes send:
                    Carry(node, send);
                    break;
                case CloseConnection close when _ends.Remove((node.Name, close.Connection), out var other):
                    _ends.Remove(other);
                    Enqueue(_nodes[other.Node], new ConnectionClosed(other.Connection, "closed by peer"), Hop);
                    break;
                case ReadUsage read:
                    Enqueue(node, new UsageRead(read.Number, [.. node.Carried]), Hop);
                    node.Carried.Clear();
                    break;
                default:
                    node.Book(effect, Violations);
                    break;
            }
        }

        node.Check(Violations);
    }

    private void Carry(AgentNode node, SendDatagram datagram)
    {
        var (target, input) = Target(node, datagram);
        var name = NameOf(datagram.Payload.Span);
        Captured.Add(datagram.Payload.ToArray());
        var line = $"{node.Name} > {target?.Name ?? datagram.Destination.Address.ToString()} {name}";
        Arrows.Add(line);
        Leaving?.Invoke(node.Name, target?.Name ?? "", name);
        if (target is null || input is null)
        {
            return;
        }

        var count = _flights[line] = _flights.GetValueOrDefault(line) + 1;
        switch (Fates(new Flight(node.Name, target.Name, name, datagram, count)))
        {
            case Fate.Deliver:
                Enqueue(target, input, Hop);
                break;
            case Fate.Duplicate:
                Enqueue(target, input, Hop);
                Enqueue(target, input, Hop * 2);
                break;
            case Fate.Delay:
                Enqueue(target, input, Hop * 40);
                break;
            case Fate.Lose:
                Arrows[^1] += " lost";
                break;
        }
    }

    private (AgentNode? Target, DatagramReceived? Input) Target(AgentNode node, SendDatagram datagram)
    {
        if (node.Link is { } link)
        {
            // A mobile node: its access link is all it has.
            return node.Agent is { } agent
                ? (_nodes[agent], new DatagramReceived(datagram.Source, datagram.Destination, datagram.Payload, AgentFixture.AccessInterface, link))
                : (null, null);
        }

        if (datagram.Interface is not null)
        {
            var visitor = _nodes.Values.FirstOrDefault(n => n.Agent == node.Name && n.Link == datagram.LinkDestination);
            return (visitor, new DatagramReceived(datagram.Source, datagram.Destination, datagram.Payload, AgentFixture.MobileInterface, AgentFixture.AgentLink));
        }

        var target = _nodes.Values.Where(n => !n.IsDown).SelectMany(n => n.Prefixes, (n, p) => (Node: n, Prefix: p))
            .Where(n => n.Prefix.Contains(datagram.Destination.Address)).OrderByDescending(n => n.Prefix.PrefixLength).FirstOrDefault().Node;
        return (target, new DatagramReceived(datagram.Source, datagram.Destination, datagram.Payload));
    }

    private void Carry(AgentNode node, SendIcmp icmp)
    {
        if (node.Link is { } link)
        {
            if (node.Agent is { } agent)
            {
                Enqueue(_nodes[agent], new IcmpReceived(icmp.Source ?? IPAddress.Any, icmp.Destination, icmp.Message, AgentFixture.AccessInterface, link), Hop);
            }

            return;
        }

        foreach (var visitor in _nodes.Values.Where(n => n.Agent == node.Name && (icmp.LinkDestination is not { } one || one == n.Link)))
        {
            Enqueue(visitor, new IcmpReceived(icmp.Source!, icmp.Destination, icmp.Message, AgentFixture.MobileInterface, AgentFixture.AgentLink), Hop);
        }
    }

    private void Open(AgentNode node, OpenConnection open)
    {
        var target = _nodes.Values.FirstOrDefault(n => open.Remote.Equals(n.Diameter) && !n.IsDown);
        if (target is null)
        {
            Enqueue(node, new ConnectionClosed(open.Connection, "refused"), Hop);
            return;
        }

        var here = (node.Name, open.Connection);
        var there = (target.Name, --_accepted);
        _ends[here] = there;
        _ends[there] = here;
        Enqueue(node, new ConnectionOpened(open.Connection, open.Remote, open.Secured, [((DiameterApplication)target.Engine).Options.Identity]), Hop);
        Enqueue(target, new ConnectionOpened(there.Item2, node.Diameter!, open.Secured, [((DiameterApplication)node.Engine).Options.Identity]), Hop);
    }

    private void Carry(AgentNode node, SendBytes send)
    {
        if (!_ends.TryGetValue((node.Name, send.Connection), out var other))
        {
            return;
        }

        Captured.Add(send.Data.ToArray());
        if (DiameterMessage.TryParse(send.Data.ToArray(), DiameterLimits.Default, out var message, out Sojourn.Wire.WireError _) && message.CommandCode is 258 or 260 or 262 or 271 or 274 or 275)
        {
            var name = NameOf(message);
            Arrows.Add($"{node.Name} > {other.Node} {name}");
            Leaving?.Invoke(node.Name, other.Node, name);
        }

        Enqueue(_nodes[other.Node], new ConnectionReceived(other.Connection, send.Data.ToArray()), Hop);
    }

    private static string NameOf(DiameterMessage message)
    {
        var letter = message.IsRequest ? "R" : "A";
        var name = message.CommandCode switch
        {
            258 => "RA" + letter,
            260 => "AM" + letter,
            262 => "HA" + letter,
            271 => "AC" + letter,
            274 => "AS" + letter,
            _ => "ST" + letter,
        };
        return message.IsRequest || message.ResultCode == DiameterResult.Success ? name : $"{name} {message.ResultCode}";
    }

    private static string NameOf(ReadOnlySpan<byte> datagram)
    {
        if (!MobileIpMessage.TryParse(datagram, out MobileIpMessage? message, out _))
        {
            return "?";
        }

        return message switch
        {
            RegistrationRequest request => request.Lifetime == 0 ? "RRQ 0" : "RRQ",
            RegistrationReply reply => reply.Code.IsAccepted() ? "RRP" : string.Create(CultureInfo.InvariantCulture, $"RRP {(byte)reply.Code}"),
            BindingUpdate update => update.Remove ? "BU remove" : "BU",
            BindingAcknowledgement answer => answer.Status == BindingStatus.Accepted ? "BA" : string.Create(CultureInfo.InvariantCulture, $"BA {(byte)answer.Status}"),
            BindingRequest => "BR",
            RegistrationRevocation revocation => revocation.Inform ? "REV inform" : "REV",
            RegistrationRevocationAcknowledgement answer => answer.Inform ? "REVA inform" : "REVA",
            _ => message.Type.ToString(),
        };
    }
}

/// <summary>One node and what it has asked its host for.</summary>
internal sealed class AgentNode(string name, IEngine engine)
{
    private readonly Dictionary<string, int> _lives = [];
    private readonly HashSet<string> _kept = [];

    public string Name { get; } = name;

    public IEngine Engine { get; set; } = engine;

    public IPEndPoint? Diameter { get; init; }

    public required IReadOnlyList<IPNetwork> Prefixes { get; init; }

    /// <summary>Of a mobile node.</summary>
    public LinkAddress? Link { get; set; }

    /// <summary>Agent whose access link a mobile node is on.</summary>
    public string? Agent { get; set; }

    public bool IsDown { get; set; }

    public int Life { get; set; }

    public List<Effect> Effects { get; } = [];

    public Dictionary<PathId, VpnPath> Paths { get; } = [];

    public Dictionary<IPAddress, AddVisitor> Visitors { get; } = [];

    public HashSet<IPAddress> Attracted { get; } = [];

    public Dictionary<StateKey, byte[]> State { get; } = [];

    public Dictionary<string, long> Counters { get; } = [];

    /// <summary>What the packet path has carried and not told yet.</summary>
    public List<(string Session, ProfileUsage Usage)> Carried { get; } = [];

    public TestLedger Ledger { get; } = new();

    public IEnumerable<EngineEvent> Events => Effects.OfType<Report>().Select(r => r.Event);

    /// <summary>Paths of users, without what stands for nobody in particular.</summary>
    public IEnumerable<VpnPath> UserPaths => Paths.Values.Where(p => p.Origin.Session is not null);

    /// <summary>User paths a packet can leave by.</summary>
    public IEnumerable<VpnPath> Sending => UserPaths.Where(p => p.State == PathState.Active);

    /// <summary>The path a packet of a user takes: the most specific pair of selectors, destination first.</summary>
    public VpnPath? Carrying(IPAddress source, IPAddress destination) => Paths.Values
        .Where(p => p.State != PathState.ReceiveOnly && p.Source.Contains(source) && p.Destination.Contains(destination) && !(p.Source.PrefixLength == 32 && p.Source.BaseAddress.Equals(IPAddress.Any)))
        .OrderByDescending(p => p.Destination.PrefixLength + p.Source.PrefixLength).ThenBy(p => p.State == PathState.Blocked && p.Origin.Session is null)
        .ThenBy(p => p.State is PathState.Active ? 0 : p.State is PathState.Blocked ? 1 : 2)
        .FirstOrDefault();

    /// <summary>What must hold once the effects of one input are carried out.</summary>
    public void Check(List<string> violations)
    {
        foreach (var visitor in Visitors.Keys.Where(v => !Paths.Values.Any(p => p.Origin.HomeAddress?.Equals(v) == true)))
        {
            violations.Add($"{Name} serves visitor {visitor} and has no path for it");
        }
    }

    public void Book(Effect effect, List<string> violations)
    {
        switch (effect)
        {
            case ChangePaths change:
                foreach (var path in change.Install)
                {
                    Paths[path.Id] = path;
                    NoteKeys(path, violations);
                }

                foreach (var id in change.Remove)
                {
                    if (!Paths.Remove(id))
                    {
                        violations.Add($"{Name} removes {id}, which it never installed");
                    }
                }

                break;
            case AddVisitor visitor:
                Visitors[visitor.Address] = visitor;
                break;
            case RemoveVisitor visitor:
                Visitors.Remove(visitor.Address);
                break;
            case AttractHomeAddress home:
                Attracted.Add(home.Address);
                break;
            case ReleaseHomeAddress home:
                Attracted.Remove(home.Address);
                break;
            case SaveState save:
                State[save.Key] = save.Value.ToArray();
                break;
            case DropState drop:
                State.Remove(drop.Key);
                break;
            case StoreUsage store:
                Ledger.Stored.Add(store.Usage);
                break;
            case CountEvent count:
                Counters[count.Counter] = Counters.GetValueOrDefault(count.Counter) + count.Amount;
                break;
        }
    }

    /// <summary>The packet path keeps, over a restart, the counters of what stands; those of what has gone it forgets.</summary>
    public void KeepKeys()
    {
        _kept.Clear();
        _kept.UnionWith(Paths.Values.Where(IsCounted).Select(KeyOf));
    }

    /// <summary>M3: a counter that starts again under a key of an earlier life repeats nonces.</summary>
    private void NoteKeys(VpnPath path, List<string> violations)
    {
        if (!IsCounted(path))
        {
            return;
        }

        var key = KeyOf(path);
        if (_lives.TryGetValue(key, out var life) && life != Life && !_kept.Contains(key))
        {
            violations.Add($"{Name} sends on {path.Id} under a key it had put away in an earlier life");
        }

        _lives[key] = Life;
    }

    private static bool IsCounted(VpnPath path) => path is { State: PathState.Active, Outbound.StaticKeys: false };

    private static string KeyOf(VpnPath path) =>
        $"{path.Outbound!.Spi:x8} {Convert.ToHexString(path.Outbound.Keys.Encryption.Octets)} {Convert.ToHexString(path.Outbound.Keys.Authentication.Octets)}";
}

/// <summary>Accounting records as a server's database keeps them.</summary>
internal sealed class TestLedger : IUsageLedger
{
    public List<UsageRecord> Stored { get; } = [];

    public bool Holds(string originHost, string session, uint number) => Stored.Exists(u => u.OriginHost == originHost && u.Record.Session == session && u.Record.Number == number);

    public bool KnowsSession(string originHost, string session) => Stored.Exists(u => u.OriginHost == originHost && u.Record.Session == session && u.SessionKnown);
}

/// <summary>A host that keeps what it gets and says nothing.</summary>
internal sealed class SilentHost : IEngine
{
    public List<DatagramReceived> Received { get; } = [];

    public DateTimeOffset? NextDeadline => null;

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        if (input is DatagramReceived datagram)
        {
            Received.Add(datagram);
        }
    }

    public T Last<T>()
        where T : MobileIpMessage => MobileIpMessage.TryParse(Received[^1].Payload.Span, out T? message, out _) ? message : throw new InvalidOperationException("not that message");
}
