using System.Globalization;
using System.Net;
using Sojourn.Engine.Diameter;
using Sojourn.Wire;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Tests.Aaa;

/// <summary>
/// Diameter nodes in one process on virtual time. Streams deliver in order; what a node emits is carried out in order.
/// Every Mobile IPv4 and session message on a stream becomes a line of <see cref="Arrows"/>.
/// </summary>
internal sealed class AaaNetwork
{
    private readonly Dictionary<string, Node> _nodes = [];
    private readonly Dictionary<(string Node, long Connection), (string Node, long Connection)> _ends = [];
    private readonly Queue<(string Node, EngineInput Input)> _queue = new();
    private readonly Dictionary<(string, long), List<byte>> _streams = [];
    private readonly HashSet<string> _down = [];
    private long _accepted;

    public DateTimeOffset Now { get; private set; } = new(2026, 11, 21, 4, 0, 0, TimeSpan.Zero);

    /// <summary>"fa1 > aaaf AMR".</summary>
    public List<string> Arrows { get; } = [];

    /// <summary>Every octet on every stream, for looking for secrets.</summary>
    public List<byte[]> Captured { get; } = [];

    public List<(string Node, EngineEvent Event)> Events { get; } = [];

    public Dictionary<string, long> Counters { get; } = [];

    public void Add(string name, DiameterApplication engine, IPEndPoint address)
    {
        _nodes[name] = new Node(engine, address);
    }

    /// <summary>Starts (again) with what was saved before, and lets the peers connect.</summary>
    public void Start(params IEnumerable<string> names)
    {
        foreach (var name in names)
        {
            var state = _nodes[name].State.Select(s => new SavedState(s.Key, s.Value)).ToList();
            _queue.Enqueue((name, new EngineStarted(state)));
        }

        Run(TimeSpan.FromSeconds(3));
    }

    /// <summary>The node is gone with its connections; its saved state stays.</summary>
    public void Crash(string name)
    {
        _down.Add(name);
        foreach (var (end, other) in _ends.Where(e => e.Key.Node == name).ToList())
        {
            Break(end, other);
        }

        Run(TimeSpan.Zero);
    }

    /// <summary>Its saved state is gone, too.</summary>
    public void Wipe(string name) => _nodes[name].State.Clear();

    public void Replace(string name, DiameterApplication engine)
    {
        _down.Remove(name);
        _nodes[name] = _nodes[name] with { Engine = engine };
        Start(name);
    }

    /// <summary>Breaks the connection of two nodes; octets under way are lost.</summary>
    public void Disconnect(string left, string right)
    {
        foreach (var (end, other) in _ends.Where(e => e.Key.Node == left && e.Value.Node == right).ToList())
        {
            Break(end, other);
        }
    }

    public void Input(string name, EngineInput input) => _queue.Enqueue((name, input));

    /// <summary>Messages that arrive a second time, with the T bit.</summary>
    public Func<string, string, DiameterMessage, bool> Repeat { get; set; } = (_, _, _) => false;

    /// <summary>What arrives instead of a Mobile IPv4 or session message.</summary>
    public Func<string, string, DiameterMessage, DiameterMessage> Alter { get; set; } = (_, _, message) => message;

    /// <summary>Messages that are lost with their connection.</summary>
    public Func<string, string, DiameterMessage, bool> BreakBefore { get; set; } = (_, _, _) => false;

    /// <summary>Runs everything that is due within <paramref name="time"/>.</summary>
    public void Run(TimeSpan time)
    {
        var end = Now + time;
        while (true)
        {
            while (_queue.TryDequeue(out var item))
            {
                Handle(item.Node, item.Input);
            }

            var next = _nodes.Where(n => !_down.Contains(n.Key) && n.Value.Engine.NextDeadline is not null).MinBy(n => n.Value.Engine.NextDeadline);
            if (next.Value is null || next.Value.Engine.NextDeadline > end)
            {
                break;
            }

            if (next.Value.Engine.NextDeadline > Now)
            {
                Now = next.Value.Engine.NextDeadline!.Value;
            }

            _queue.Enqueue((next.Key, new DeadlineReached()));
        }

        Now = end;
    }

    private void Handle(string name, EngineInput input)
    {
        if (_down.Contains(name))
        {
            return;
        }

        var node = _nodes[name];
        var sink = new EffectSink();
        node.Engine.Handle(input, Now, sink);
        foreach (var effect in sink.Effects)
        {
            switch (effect)
            {
                case OpenConnection open:
                    Open(name, open);
                    break;
                case SendBytes send when _ends.TryGetValue((name, send.Connection), out var other):
                    Carry((name, send.Connection), other, send.Data);
                    break;
                case CloseConnection close when _ends.Remove((name, close.Connection), out var other):
                    _ends.Remove(other);
                    _queue.Enqueue((other.Node, new ConnectionClosed(other.Connection, "closed by peer")));
                    break;
                case SaveState save:
                    node.State[save.Key] = save.Value.ToArray();
                    break;
                case DropState drop:
                    node.State.Remove(drop.Key);
                    break;
                case CountEvent count:
                    Counters[count.Counter] = Counters.GetValueOrDefault(count.Counter) + count.Amount;
                    break;
                case Report report:
                    Events.Add((name, report.Event));
                    break;
            }
        }
    }

    private void Open(string name, OpenConnection open)
    {
        var target = _nodes.FirstOrDefault(n => n.Value.Address.Equals(open.Remote) && !_down.Contains(n.Key));
        if (target.Value is null)
        {
            _queue.Enqueue((name, new ConnectionClosed(open.Connection, "refused")));
            return;
        }

        var here = (name, open.Connection);
        var there = (target.Key, --_accepted);
        _ends[here] = there;
        _ends[there] = here;
        _queue.Enqueue((name, new ConnectionOpened(open.Connection, open.Remote, open.Secured, [target.Value.Engine.Options.Identity])));
        _queue.Enqueue((target.Key, new ConnectionOpened(there.Item2, _nodes[name].Address, open.Secured, [_nodes[name].Engine.Options.Identity])));
    }

    private void Carry((string Node, long) from, (string Node, long Connection) to, ReadOnlyMemory<byte> data)
    {
        Captured.Add(data.ToArray());
        if (!_streams.TryGetValue(from, out var stream))
        {
            _streams[from] = stream = [];
        }

        byte[]? repetition = null;
        stream.AddRange(data.Span);
        while (stream.Count >= 4)
        {
            var octets = stream.ToArray();
            if (!DiameterHeader.TryMeasure(octets, DiameterLimits.Default, out var length, out _) || length > octets.Length)
            {
                break;
            }

            if (DiameterMessage.TryParse(octets.AsMemory(0, length), DiameterLimits.Default, out var message, out WireError _)
                && message.CommandCode is 260 or 262 or 274 or 275)
            {
                if (BreakBefore(from.Node, to.Node, message))
                {
                    Break(from, to);
                    return;
                }

                var result = message.IsRequest ? "" : message.ResultCode == 2001 ? "" : message.ResultCode.ToString(" 0", CultureInfo.InvariantCulture);
                Arrows.Add($"{from.Node} > {to.Node} {Name(message)}{result}");
                if (Alter(from.Node, to.Node, message) is var altered && !ReferenceEquals(altered, message))
                {
                    // Messages are sent one by one, so this is all that the octets hold.
                    data = altered.ToArray();
                }

                if (Repeat(from.Node, to.Node, message))
                {
                    repetition = (message with { Flags = message.Flags | DiameterFlags.Retransmitted }).ToArray();
                }
            }

            stream.RemoveRange(0, length);
        }

        _queue.Enqueue((to.Node, new ConnectionReceived(to.Connection, data.ToArray())));
        if (repetition is not null)
        {
            _queue.Enqueue((to.Node, new ConnectionReceived(to.Connection, repetition)));
        }
    }

    private void Break((string Node, long Connection) end, (string Node, long Connection) other)
    {
        _ends.Remove(end);
        _ends.Remove(other);
        _streams.Remove(end);
        _streams.Remove(other);
        _queue.Enqueue((end.Node, new ConnectionClosed(end.Connection, "reset")));
        _queue.Enqueue((other.Node, new ConnectionClosed(other.Connection, "reset")));
    }

    private static string Name(DiameterMessage message) => message.CommandCode switch
    {
        260 => message.IsRequest ? "AMR" : "AMA",
        262 => message.IsRequest ? "HAR" : "HAA",
        274 => message.IsRequest ? "ASR" : "ASA",
        _ => message.IsRequest ? "STR" : "STA",
    };

    private sealed record Node(DiameterApplication Engine, IPEndPoint Address)
    {
        public Dictionary<StateKey, byte[]> State { get; } = [];
    }
}

/// <summary>A Diameter node whose behaviour the test writes: foreign or home agent.</summary>
internal sealed class ScriptedAgent(DiameterNodeOptions options, IRandomSource random) : DiameterApplication(options, random)
{
    public List<DiameterMessage> Requests { get; } = [];

    public List<DiameterMessage> Answers { get; } = [];

    public List<DeliveryFailure> Failures { get; } = [];

    /// <summary>Makes the answer; null never answers.</summary>
    public Func<DiameterMessage, Func<uint, DiameterMessageBuilder>, DiameterMessage?> Script { get; set; } = (_, answer) => answer(DiameterResult.Success).Build();

    protected override DateTimeOffset? NextOwnDeadline => null;

    protected override void OnRequest(DiameterRequest request, DateTimeOffset now, EffectSink effects)
    {
        Requests.Add(request.Message);
        if (Script(request.Message, result => AnswerTo(request, result)) is { } answer)
        {
            Answer(request, answer, now, effects);
        }
    }

    protected override void OnAnswer(long token, DiameterMessage answer, DateTimeOffset now, EffectSink effects) => Answers.Add(answer);

    protected override void OnDeliveryFailed(long token, DeliveryFailure why, DateTimeOffset now, EffectSink effects) => Failures.Add(why);

    protected override void OnInput(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        if (input is SendRequest send)
        {
            Send(send.Message, now, effects);
        }
    }
}

internal sealed record SendRequest(DiameterMessage Message) : EngineCommand;
