using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// IKEv2 (RFC 7296), both sides. Inputs are datagrams of the two UDP ports, commands and answers (<c>IkeEvents.cs</c>);
/// effects are datagrams and what has become of IKE SAs and child SAs. Every exchange is a task of its IKE SA; one request of
/// ours is outstanding at a time, and one of the peer's is answered at a time (window of 1).
///
/// Readings: a message whose retransmission is answered from memory must be the same octets as the first (RFC 7296 2.1);
/// messages to unknown SPIs are counted and dropped without INVALID_IKE_SPI, which an attacker could use as a reflector
/// (2.21.4 allows both), unless it carries a token that tells the peer something (<c>IkeEngine.CrashDetection.cs</c>); unprotected errors end only an attempt that is still in IKE_SA_INIT, and only from its peer's address.
/// </summary>
public sealed partial class IkeEngine : IEngine
{
    private readonly Dictionary<ulong, IkeSa> _bySpi = [];
    private readonly Dictionary<long, IkeSa> _byId = [];
    private readonly Dictionary<IkeIdentity, HashSet<IkeSa>> _byIdentity = [];
    private readonly HashSet<uint> _childSpis = [];
    private readonly PriorityQueue<IkeSa, DateTimeOffset> _deadlines = new();
    private readonly Dictionary<long, (IkeSa Sa, Action<EngineInput> Continue)> _questions = [];
    private long _lastId, _lastQuestion;

    public IkeEngine(IkeOptions options, IRandomSource random, IKeyExchangeProvider? keyExchanges = null)
    {
        Options = options;
        Random = random;
        KeyExchanges = keyExchanges ?? PlatformKeyExchanges.Instance;
        _jar = new CookieJar(random);
        Cookies = new CookieGate(options.NatTraversalPort);
    }

    internal IkeOptions Options { get; }

    internal IRandomSource Random { get; }

    internal IKeyExchangeProvider KeyExchanges { get; }

    /// <summary>Valid while an input is handled.</summary>
    internal DateTimeOffset Now { get; private set; }

    internal EffectSink Effects { get; private set; } = new();

    /// <summary>Established IKE SAs, without those that a successor has replaced.</summary>
    public IEnumerable<IkeSaView> IkeSas => _byId.Values.Where(s => s.IsEstablished && !s.Redundant && s.Successor is null).Select(s => s.View());

    /// <summary>The IKE SA that is being set up with a peer from this end; null when none is.</summary>
    public long? NegotiationWith(string peer) => _byId.Values.FirstOrDefault(s => s.IsInitiator && s.State == IkeSaState.Negotiating && s.Peer?.Name == peer)?.Id;

    public IEnumerable<ChildSa> ChildSas => _byId.Values.SelectMany(s => s.Children).Select(c => c.Sa);

    /// <summary>Negotiations that have not got through IKE_AUTH yet, as responder.</summary>
    public int HalfOpenCount => _halfOpen.Count;

    public DateTimeOffset? NextDeadline
    {
        get
        {
            var earliest = _deadlines.TryPeek(out _, out var at) ? at : (DateTimeOffset?)null;
            return Cookies.IsClosed && (earliest is null || _jar.TurnsAt < earliest) ? _jar.TurnsAt : earliest;
        }
    }

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        (Now, Effects) = (now, effects);
        switch (input)
        {
            case DatagramReceived datagram:
                Receive(datagram);
                break;
            case DeadlineReached:
                Expire();
                break;
            case InitiateIke command:
                Initiate(command);
                break;
            case CreateChild command when _byId.TryGetValue(command.IkeSa, out var sa) && sa.IsEstablished:
                sa.Enqueue(new CreateChildTask(sa, command.Child, null));
                break;
            case RekeyIke command when _byId.TryGetValue(command.IkeSa, out var sa) && sa.IsEstablished:
                sa.Enqueue(new RekeyIkeTask(sa));
                break;
            case RekeyChild command when ChildOf(command.ChildSa) is var (sa, child):
                sa.Enqueue(new CreateChildTask(sa, child.Options, child));
                break;
            case CloseIke command when _byId.TryGetValue(command.IkeSa, out var sa):
                sa.BeginClose();
                break;
            case CloseChild command when ChildOf(command.ChildSa) is var (sa, child):
                sa.Enqueue(new DeleteChildTask(sa, child));
                break;
            case CheckLiveness command when _byId.TryGetValue(command.IkeSa, out var sa) && sa.IsEstablished:
                sa.Enqueue(new LivenessTask(sa));
                break;
            case ChangeLocalAddress command when _byId.TryGetValue(command.IkeSa, out var sa) && sa.IsEstablished:
                sa.ChangeLocalAddress(command.Address);
                break;
            case MoveIkeEnd command when _byId.TryGetValue(command.IkeSa, out var sa) && sa.IsEstablished:
                sa.MoveEnd(command);
                break;
            case PeerAuthorized answer:
                Answer(answer.Request, answer);
                break;
            case CertificateFetched answer:
                Answer(answer.Request, answer);
                break;
            case EapRelayAnswered answer:
                Answer(answer.Request, answer);
                break;
            case PeerConfigured answer:
                Answer(answer.Request, answer);
                break;
            case EngineStarted started:
                RestoreCrashSecret(started);
                break;
            case EngineStopping:
                foreach (var sa in _byId.Values.Where(s => s.IsEstablished).ToList())
                {
                    sa.BeginClose();
                }

                break;
        }
    }

    internal long NewId() => ++_lastId;

    internal ulong NewSpi()
    {
        ulong spi;
        do
        {
            spi = Random.NextUInt64();
        }
        while (spi == 0 || _bySpi.ContainsKey(spi));
        return spi;
    }

    internal uint NewChildSpi()
    {
        uint spi;
        do
        {
            spi = Random.NextUInt32();
        }
        while (spi < 256 || _childSpis.Contains(spi));
        return spi;
    }

    internal void Installed(EstablishedChild child) => _childSpis.Add(child.Sa.Inbound.Spi);

    internal void Removed(EstablishedChild child) => _childSpis.Remove(child.Sa.Inbound.Spi);

    /// <summary>An IKE SA whose peer has proved its identity.</summary>
    internal void Proved(IkeSa sa)
    {
        if (!_byIdentity.TryGetValue(sa.RemoteIdentity!, out var sas))
        {
            _byIdentity.Add(sa.RemoteIdentity!, sas = []);
        }

        sas.Add(sa);
    }

    internal void Add(IkeSa sa)
    {
        _bySpi.Add(sa.OwnSpi, sa);
        _byId.Add(sa.Id, sa);
        Schedule(sa);
    }

    internal void Remove(IkeSa sa)
    {
        _bySpi.Remove(sa.OwnSpi);
        _byId.Remove(sa.Id);
        ForgetHalfOpen(sa);
        if (sa.RemoteIdentity is not null && _byIdentity.TryGetValue(sa.RemoteIdentity, out var sas) && sas.Remove(sa) && sas.Count == 0)
        {
            _byIdentity.Remove(sa.RemoteIdentity);
        }

        foreach (var question in _questions.Where(q => q.Value.Sa == sa).Select(q => q.Key).ToList())
        {
            _questions.Remove(question);
        }
    }

    /// <summary>Calls back at the SA's next deadline, which the SA says itself. A deadline that has moved away is found out when the earlier one comes.</summary>
    internal void Schedule(IkeSa sa)
    {
        if (sa.Deadline is { } at && (sa.ScheduledAt is null || at < sa.ScheduledAt))
        {
            sa.ScheduledAt = at;
            _deadlines.Enqueue(sa, at);
        }
    }

    /// <summary>Asks the outside; the answer comes back to <paramref name="proceed"/> unless the SA has gone meanwhile.</summary>
    internal void Ask(IkeSa sa, Func<long, Effect> question, Action<EngineInput> proceed)
    {
        var number = ++_lastQuestion;
        _questions.Add(number, (sa, proceed));
        Effects.Emit(question(number));
    }

    internal void Send(IPEndPoint source, IPEndPoint destination, ReadOnlyMemory<byte> message)
    {
        var payload = message;
        if (source.Port == Options.NatTraversalPort)
        {
            var marked = new byte[Ikev2Limits.NonEspMarkerLength + message.Length];
            message.CopyTo(marked.AsMemory(Ikev2Limits.NonEspMarkerLength));
            payload = marked;
        }

        Effects.Emit(new SendDatagram(source, destination, payload));
    }

    /// <summary>IKE SAs with a peer of this name and proven identity, but for one; its options may have changed meanwhile, a credential with them.</summary>
    /// <remarks>Looked up when it is walked over, so that who does not care pays nothing; what the walk ends may leave the table meanwhile.</remarks>
    internal IEnumerable<IkeSa> OthersOf(IkeSa sa)
    {
        if (sa.RemoteIdentity is null || !_byIdentity.TryGetValue(sa.RemoteIdentity, out var sas))
        {
            yield break;
        }

        foreach (var other in sas.Where(s => s != sa && s.IsEstablished && s.Peer?.Name == sa.Peer?.Name).ToList())
        {
            yield return other;
        }
    }

    internal void Tell(string kind, EventSeverity severity, string text, IkeSa? sa = null, string? rule = null) =>
        Effects.Emit(new Report(new EngineEvent(kind, severity, text) { Peer = sa?.RemoteIdentity?.ToString() ?? sa?.Remote.Address.ToString(), Rule = rule }));

    private (IkeSa Sa, EstablishedChild Child)? ChildOf(long id)
    {
        foreach (var sa in _byId.Values)
        {
            if (sa.IsEstablished && sa.Children.FirstOrDefault(c => c.Sa.Id == id) is { } child)
            {
                return (sa, child);
            }
        }

        return null;
    }

    private void Answer(long request, EngineInput answer)
    {
        if (_questions.Remove(request, out var question))
        {
            question.Continue(answer);
            Schedule(question.Sa);
        }
    }

    private void Receive(DatagramReceived datagram)
    {
        var message = datagram.Payload;
        if (datagram.Destination.Port == Options.NatTraversalPort)
        {
            // A single octet is a keep-alive (RFC 3948 2.3); without the marker it is ESP and none of ours.
            if (message.Length < Ikev2Limits.NonEspMarkerLength || BinaryPrimitives.ReadUInt32BigEndian(message.Span) != 0)
            {
                Effects.Count("ike.message.none");
                return;
            }

            message = message[Ikev2Limits.NonEspMarkerLength..];
        }

        if (!IkeHeader.TryParse(message.Span, out var header, out var error))
        {
            Effects.Count("ike.message.malformed");
            return;
        }

        if (header.MajorVersion != 2)
        {
            Effects.Count("ike.message.version");
            if (header.MajorVersion > 2 && !header.IsResponse)
            {
                Reply(datagram, header, new NotifyPayload(IkeNotifyType.InvalidMajorVersion));
            }

            return;
        }

        if (header.Exchange == IkeExchange.IkeSaInit && !header.IsResponse)
        {
            ReceiveInitRequest(datagram, header, message);
            return;
        }

        var own = header.FromInitiator ? header.ResponderSpi : header.InitiatorSpi;
        if (!_bySpi.TryGetValue(own, out var sa))
        {
            Effects.Count("ike.message.unknown_spi");
            AnswerUnknown(datagram, header);
            return;
        }

        if (!IkeMessage.TryParse(message.Span, out var parsed, out error))
        {
            Effects.Count("ike.message.malformed");
            return;
        }

        sa.Receive(parsed, message, datagram.Source, datagram.Destination);
        Schedule(sa);
    }

    private void Initiate(InitiateIke command)
    {
        var peer = Options.Peers.FirstOrDefault(p => p.Name == command.Peer);
        if (peer?.Address is null)
        {
            Tell("ike.initiate.refused", EventSeverity.Error, $"there is no peer '{command.Peer}' with an address");
            return;
        }

        var sa = new IkeSa(this, isInitiator: true, NewSpi(), 0, new IPEndPoint(command.LocalAddress, Options.Port), new IPEndPoint(peer.Address, Options.Port)) { Peer = peer };
        Add(sa);
        sa.Enqueue(new InitTask(sa));
        Schedule(sa);
    }

    private void Expire()
    {
        JudgeLoad();
        while (_deadlines.TryPeek(out var sa, out var at) && at <= Now)
        {
            _deadlines.Dequeue();
            if (sa.ScheduledAt != at)
            {
                continue;
            }

            sa.ScheduledAt = null;
            if (_byId.ContainsKey(sa.Id))
            {
                sa.Expire();
                Schedule(sa);
            }
        }
    }

    /// <summary>An answer in clear to a request that gets no state.</summary>
    private void Reply(DatagramReceived request, IkeHeader header, NotifyPayload notify) => Send(request.Destination, request.Source, new IkeMessage(
        new IkeHeader(header.InitiatorSpi, 0, header.Exchange, IkeFlags.Response, header.MessageId), [notify]).ToArray());

    internal static bool SameFamily(IPAddress a, IPAddress b) => a.AddressFamily == b.AddressFamily && a.AddressFamily is AddressFamily.InterNetwork or AddressFamily.InterNetworkV6;
}
