using System.Net;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;
using Xunit;

namespace Sojourn.Engine.Tests.Diameter;

/// <summary>
/// Diameter nodes joined by connections that exist only here, on a clock that stands still until it is moved. Every
/// message that leaves a node is written down as <c>a -> b: AMR</c>.
/// </summary>
internal sealed class DiameterNet
{
    private readonly Dictionary<IPEndPoint, TestNode> _listeners = [];
    private readonly List<TestNode> _nodes = [];
    private readonly Dictionary<(TestNode, long), (TestNode Node, long Id)> _ends = [];
    private readonly Queue<Action> _events = new();
    public long LastAccepted { get; private set; }

    public DateTimeOffset Now { get; private set; } = new(2026, 3, 1, 12, 0, 0, TimeSpan.Zero);

    public List<string> Arrows { get; } = [];

    /// <summary>Connections are under TLS and certificates name the node, unless a test says otherwise.</summary>
    public bool Secured { get; set; } = true;

    public void Add(TestNode node)
    {
        node.Net = this;
        _nodes.Add(node);
        _listeners[node.EndPoint] = node;
    }

    public void Start(params TestNode[] nodes)
    {
        foreach (var node in nodes)
        {
            Add(node);
        }

        foreach (var node in nodes)
        {
            Handle(node, new EngineStarted([]));
        }

        Settle();
    }

    public void Restart(TestNode replacement)
    {
        _nodes.RemoveAll(n => n.Name == replacement.Name);
        Add(replacement);
        Handle(replacement, new EngineStarted([]));
        Settle();
    }

    /// <summary>The process dies: connections break, nobody listens.</summary>
    public void Kill(TestNode node)
    {
        node.IsDead = true;
        foreach (var ((owner, id), other) in _ends.ToList())
        {
            if (owner == node)
            {
                _ends.Remove((owner, id));
                _ends.Remove((other.Node, other.Id));
                Handle(other.Node, new ConnectionClosed(other.Id, "reset by peer"));
            }
        }

        Settle();
    }

    public void Do(TestNode node, Action<EffectSink> action)
    {
        var effects = new EffectSink();
        action(effects);
        Carry(node, effects);
        Settle();
    }

    /// <summary>Puts octets on a connection of <paramref name="node"/> as if its peer had sent them.</summary>
    public void Inject(TestNode node, long connection, byte[] octets)
    {
        Handle(node, new ConnectionReceived(connection, octets));
        Settle();
    }

    public void Handle(TestNode node, EngineInput input)
    {
        if (node.IsDead)
        {
            return;
        }

        var effects = new EffectSink();
        node.Engine.Handle(input, Now, effects);
        Carry(node, effects);
    }

    public void Advance(TimeSpan time)
    {
        var end = Now + time;
        while (true)
        {
            var next = _nodes.Where(n => !n.IsDead).Select(n => n.Engine.NextDeadline).Where(d => d is not null).Min();
            if (next is null || next > end)
            {
                break;
            }

            Now = next.Value > Now ? next.Value : Now;
            foreach (var node in _nodes.Where(n => !n.IsDead && n.Engine.NextDeadline <= Now).ToList())
            {
                Handle(node, new DeadlineReached());
            }

            Settle();
        }

        Now = end;
    }

    public void Settle()
    {
        for (var i = 0; _events.TryDequeue(out var next); i++)
        {
            Assert.True(i < 100_000, "the nodes never come to rest");
            next();
        }
    }

    private void Carry(TestNode node, EffectSink effects)
    {
        foreach (var effect in effects.Effects)
        {
            switch (effect)
            {
                case OpenConnection open:
                    _events.Enqueue(() => Connect(node, open));
                    break;
                case SendBytes send:
                    Write(node, send);
                    break;
                case CloseConnection close:
                    _events.Enqueue(() => Disconnect(node, close.Connection));
                    break;
                case CountEvent count:
                    node.Counts[count.Counter] = node.Counts.GetValueOrDefault(count.Counter) + count.Amount;
                    break;
                case Report report:
                    node.Events.Add(report.Event);
                    break;
            }
        }
    }

    private void Connect(TestNode node, OpenConnection open)
    {
        if (node.Blackholed)
        {
            return;
        }

        if (!_listeners.TryGetValue(open.Remote, out var target) || target.IsDead)
        {
            Handle(node, new ConnectionClosed(open.Connection, "connection refused"));
            return;
        }

        var accepted = --LastAccepted;
        _ends[(node, open.Connection)] = (target, accepted);
        _ends[(target, accepted)] = (node, open.Connection);
        var secured = Secured && open.Secured;
        Handle(target, new ConnectionOpened(accepted, node.EndPoint, secured, secured ? node.CertificateNames : []));
        Handle(node, new ConnectionOpened(open.Connection, open.Remote, secured, secured ? target.CertificateNames : []));
    }

    private void Write(TestNode node, SendBytes send)
    {
        var to = _ends.TryGetValue((node, send.Connection), out var end) ? end.Node.Name : "?";
        Assert.True(DiameterMessage.TryParse(send.Data.ToArray(), DiameterLimits.Default, out var message, out Sojourn.Wire.WireError error), error.ToString());
        var name = node.Dictionary.NameOf(message);
        Arrows.Add($"{node.Name} -> {to}: {name}{(message.IsRetransmitted ? " T" : "")}{(message.IsRequest ? "" : $" {message.ResultCode}")}");
        node.Sent.Add(message);
        _events.Enqueue(() =>
        {
            if (_ends.TryGetValue((node, send.Connection), out var other) && !other.Node.IsFrozen && !node.IsFrozen)
            {
                Handle(other.Node, new ConnectionReceived(other.Id, send.Data));
            }
        });
    }

    private void Disconnect(TestNode node, long connection)
    {
        if (_ends.Remove((node, connection), out var other))
        {
            _ends.Remove((other.Node, other.Id));
            Handle(other.Node, new ConnectionClosed(other.Id, "closed by peer"));
        }
    }
}

/// <summary>A Diameter application that writes down what reaches it and answers as told.</summary>
internal sealed class TestNode(string name, IPEndPoint endPoint, DiameterNodeOptions options, int seed = 1)
    : DiameterApplication(options, new SeededRandom(seed))
{
    public string Name { get; } = name;

    public IPEndPoint EndPoint { get; } = endPoint;

    public DiameterNet Net { get; set; } = null!;

    public bool IsDead { get; set; }

    /// <summary>Neither hears nor is heard; connections stay up.</summary>
    public bool IsFrozen { get; set; }

    /// <summary>Its dialling gets no answer at all.</summary>
    public bool Blackholed { get; set; }

    public IReadOnlyList<string> CertificateNames { get; set; } = [options.Identity];

    public Dictionary<string, long> Counts { get; } = [];

    public List<EngineEvent> Events { get; } = [];

    public List<DiameterMessage> Sent { get; } = [];

    public List<DiameterRequest> Requests { get; } = [];

    public List<(long Token, DiameterMessage Message)> Answers { get; } = [];

    public List<(long Token, DeliveryFailure Why)> Failures { get; } = [];

    /// <summary>Another engine that stands in this node's place.</summary>
    public DiameterApplication? StandIn { get; init; }

    public DiameterApplication Engine => StandIn ?? this;

    /// <summary>What to do with a request; by default an agent forwards it and a server answers 2001.</summary>
    public Action<TestNode, DiameterRequest, EffectSink>? Respond { get; set; }

    public Func<DiameterMessage, DiameterMessage> Alter { get; set; } = answer => answer;

    public DateTimeOffset? Alarm { get; set; }

    public int Alarms { get; private set; }

    protected override DateTimeOffset? NextOwnDeadline => Alarm;

    public DiameterPeerStatus Peer(string identity) => PeerStatus.Single(p => p.Identity == identity);

    public long Request(DiameterMessage message)
    {
        long token = 0;
        Net.Do(this, effects =>
        {
            token = Send(message, Net.Now, effects);
            // The engine delivers before its Handle returns; an input without meaning stands in for the caller's.
            Handle(new LinkChanged("none", true), Net.Now, effects);
        });
        return token;
    }

    public void Reply(DiameterRequest request, uint result = DiameterResult.Success) => Net.Do(this, effects => Reply(request, result, effects));

    public void Reply(DiameterRequest request, uint result, EffectSink effects)
    {
        var answer = AnswerTo(request, result);
        if (request.Message.ApplicationId == DiameterApplications.MobileIpv4)
        {
            answer.Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4);
        }

        Answer(request, answer.Build(), Net.Now, effects);
    }

    public void PassOn(DiameterRequest request, EffectSink effects) => Forward(request, Net.Now, effects);

    public string NewSession() => NewSessionId(Net.Now);

    protected override void OnRequest(DiameterRequest request, DateTimeOffset now, EffectSink effects)
    {
        Requests.Add(request);
        if (Respond is { } respond)
        {
            respond(this, request, effects);
        }
        else if (request.IsLocal)
        {
            Reply(request, DiameterResult.Success, effects);
        }
        else
        {
            Forward(request, now, effects);
        }
    }

    protected override void OnAnswer(long token, DiameterMessage answer, DateTimeOffset now, EffectSink effects) => Answers.Add((token, answer));

    protected override void OnDeliveryFailed(long token, DeliveryFailure why, DateTimeOffset now, EffectSink effects) => Failures.Add((token, why));

    protected override DiameterMessage OnForwardedAnswer(DiameterRequest request, DiameterMessage answer, DateTimeOffset now, EffectSink effects) => Alter(answer);

    protected override void OnInput(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
    }

    protected override void OnDeadline(DateTimeOffset now, EffectSink effects)
    {
        Alarms++;
        Alarm = null;
    }
}

internal sealed class SeededRandom(int seed) : IRandomSource
{
    private readonly Random _random = new(seed);

    public void Fill(Span<byte> destination) => _random.NextBytes(destination);
}
