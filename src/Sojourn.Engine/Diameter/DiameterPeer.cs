using System.Text;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Diameter;

/// <summary>
/// One peer: the state machine of RFC 6733 section 5.6 with its watchdog.
/// <para>
/// Readings taken. A peer dials only when it has no connection, so a second one of a peer that dialled us before, or
/// whose Origin-State-Id has grown, replaces the first, which the peer has lost without our seeing it. The RFC rejects
/// it, which would lock the peer out until our watchdog notices. While a connection that we dialled is open, another is
/// rejected (R-Reject). Both sides of a disconnect close at once or after <see cref="DiameterNodeOptions.CapabilitiesTimeout"/>.
/// </para>
/// </summary>
internal sealed class DiameterPeer
{
    private readonly DiameterNode _node;
    private readonly DiameterNodeOptions _options;
    private readonly IRandomSource _random;
    private readonly PeerWatchdog _watchdog;
    private PeerState _state = new PeerState.Closed(null);
    private DateTimeOffset _since;
    private int _failures;
    private uint _hopByHop;
    private uint _originState;
    private string? _lastCloseReason;

    public DiameterPeer(DiameterNode node, DiameterNodeOptions options, DiameterPeerOptions peer, IRandomSource random)
    {
        _node = node;
        _options = options;
        _random = random;
        Options = peer;
        _watchdog = new PeerWatchdog(options.WatchdogInterval, random);
        _hopByHop = random.NextUInt32();
    }

    public DiameterPeerOptions Options { get; }

    public string Identity => Options.Identity;

    /// <summary>Open: messages can be exchanged.</summary>
    public DiameterConnection? Connection => _state is PeerState.Open open ? open.Connection : null;

    public WatchdogState Watchdog => _watchdog.State;

    /// <summary>Applications the peer announced.</summary>
    public IReadOnlySet<uint> Applications { get; private set; } = new HashSet<uint>();

    /// <summary>Requests sent there and not answered, by hop-by-hop identifier.</summary>
    public Dictionary<uint, PendingRequest> Pending { get; } = [];

    /// <summary>Requests taken from there and not answered.</summary>
    public HashSet<DiameterRequest> Unanswered { get; } = [];

    public PeerCounters Counters { get; } = new();

    public DateTimeOffset? Deadline => _state is PeerState.Open ? _watchdog.Timer : _state.Deadline;

    public DiameterPeerStatus Status => new(
        Identity, Options.Realm, _state.Name, _watchdog.State, _since, Connection?.Remote ?? Options.Remote, Connection?.Secured ?? Options.Secured,
        Pending.Count, Counters.Snapshot(), _lastCloseReason, (_state as PeerState.Closed)?.RetryAt);

    public bool Speaks(uint application) => application == DiameterApplications.Common
        || Applications.Contains(application) || Applications.Contains(DiameterApplications.Relay);

    public uint NextHopByHopId() => ++_hopByHop;

    /// <summary>Start event: dials, when there is somewhere to dial.</summary>
    public void Start(DateTimeOffset now, EffectSink effects)
    {
        if (Options.Remote is not { } remote)
        {
            Enter(new PeerState.Closed(null), now);
            return;
        }

        var id = _node.Dialled(this);
        Enter(new PeerState.WaitConnAck(id, now + _options.CapabilitiesTimeout), now);
        effects.Count("diameter.peer.dialled");
        effects.Emit(new OpenConnection(id, remote, Identity, Options.Secured));
    }

    /// <summary>Stop event, for good: there is no time to wait for the answer.</summary>
    public void Stop(DateTimeOffset now, EffectSink effects)
    {
        switch (_state)
        {
            case PeerState.Open open:
                Send(open.Connection, _node.Base.DisconnectRequest(0), effects);
                _node.Close(open.Connection, effects);
                break;
            case PeerState.WaitConnAck wait:
                effects.Emit(new CloseConnection(wait.Dialled));
                break;
            case PeerState.WaitICea wait:
                _node.Close(wait.Initiated, effects);
                break;
            case PeerState.WaitConnAckElect wait:
                effects.Emit(new CloseConnection(wait.Dialled));
                _node.Close(wait.Accepted, effects);
                break;
            case PeerState.WaitReturns wait:
                _node.Close(wait.Initiated, effects);
                _node.Close(wait.Accepted, effects);
                break;
            case PeerState.Closing closing:
                _node.Close(closing.Connection, effects);
                break;
        }

        _watchdog.ConnectionDown(orderly: true);
        Enter(new PeerState.Closed(null), now);
    }

    /// <summary>I-Rcv-Conn-Ack.</summary>
    public void Connected(DiameterConnection connection, DateTimeOffset now, EffectSink effects)
    {
        switch (_state)
        {
            case PeerState.WaitConnAck wait when wait.Dialled == connection.Id:
                Enter(new PeerState.WaitICea(connection, now + _options.CapabilitiesTimeout), now);
                Send(connection, _node.Base.CapabilitiesRequest(), effects);
                break;
            case PeerState.WaitConnAckElect wait when wait.Dialled == connection.Id:
                Send(connection, _node.Base.CapabilitiesRequest(), effects);
                Elect(connection, wait.Accepted, wait.Cer, now, effects);
                break;
            default:
                _node.Close(connection, effects);
                break;
        }
    }

    /// <summary>R-Conn-CER, after the request has been judged acceptable.</summary>
    public void CapabilitiesRequested(DiameterConnection connection, DiameterMessage cer, DateTimeOffset now, EffectSink effects)
    {
        switch (_state)
        {
            case PeerState.Closed:
                Accept(connection, cer, now, effects);
                break;
            case PeerState.WaitConnAck wait:
                Enter(new PeerState.WaitConnAckElect(wait.Dialled, connection, cer, wait.Until), now);
                break;
            case PeerState.WaitICea wait:
                Elect(wait.Initiated, connection, cer, now, effects);
                break;
            case PeerState.Open open when !open.IsInitiator || (StateIdOf(cer) > _originState && _originState != 0):
                _node.Close(open.Connection, effects);
                Down("the peer has dialled again", orderly: false, TimeSpan.Zero, now, effects);
                Accept(connection, cer, now, effects);
                break;
            default:
                effects.Count("diameter.peer.second_connection");
                _node.Close(connection, effects);
                break;
        }
    }

    /// <summary>I-Rcv-CEA, after the answer has been judged; <paramref name="fault"/> says why it cannot be used.</summary>
    public void CapabilitiesAnswered(DiameterConnection connection, DiameterMessage cea, DiameterFault? fault, DateTimeOffset now, EffectSink effects)
    {
        switch (_state)
        {
            case PeerState.WaitICea wait when wait.Initiated == connection && fault is null:
                Opened(connection, cea, isInitiator: true, now, effects);
                break;
            case PeerState.WaitReturns wait when wait.Initiated == connection && fault is null:
                _node.Close(wait.Accepted, effects);
                Opened(connection, cea, isInitiator: true, now, effects);
                break;
            default:
                Broken(connection, fault?.ToString() ?? "unexpected capabilities answer", now, effects);
                break;
        }
    }

    /// <summary>Peer-Disc or Conn-Nack: the transport is gone.</summary>
    public void Lost(long connection, string reason, DateTimeOffset now, EffectSink effects)
    {
        switch (_state)
        {
            case PeerState.WaitConnAck wait when wait.Dialled == connection:
            case PeerState.WaitICea waitCea when waitCea.Initiated.Id == connection:
                Retry(reason, now, effects);
                break;
            case PeerState.WaitConnAckElect wait when wait.Dialled == connection:
                Accept(wait.Accepted, wait.Cer, now, effects);
                break;
            case PeerState.WaitConnAckElect wait when wait.Accepted.Id == connection:
                Enter(new PeerState.WaitConnAck(wait.Dialled, wait.Until), now);
                break;
            case PeerState.WaitReturns wait when wait.Initiated.Id == connection:
                Accept(wait.Accepted, wait.Cer, now, effects);
                break;
            case PeerState.WaitReturns wait when wait.Accepted.Id == connection:
                Enter(new PeerState.WaitICea(wait.Initiated, wait.Until), now);
                break;
            case PeerState.Open open when open.Connection.Id == connection:
                Down(reason, orderly: false, Backoff(), now, effects);
                break;
            case PeerState.Closing closing when closing.Connection.Id == connection:
                Closed(closing.Reason, closing.RetryAfter, now);
                break;
        }
    }

    /// <summary>A message that breaks the protocol: the connection it came over ends.</summary>
    public void Broken(DiameterConnection connection, string reason, DateTimeOffset now, EffectSink effects)
    {
        effects.Count("diameter.peer.broken");
        _node.Close(connection, effects);
        Lost(connection.Id, reason, now, effects);
    }

    /// <summary>Rcv-DPR.</summary>
    public void DisconnectRequested(DiameterConnection connection, DiameterMessage dpr, DateTimeOffset now, EffectSink effects)
    {
        Send(connection, _node.Base.DisconnectAnswer(dpr), effects);
        if (_state is not PeerState.Open)
        {
            return;
        }

        dpr.Avps.TryGetInteger32(AvpKeys.DisconnectCause, out var cause);
        var reason = cause switch { 0 => "the peer is rebooting", 1 => "the peer is busy", _ => "the peer does not want to talk to us" };

        // It dials again when it wants to, or we do: soon after a reboot, otherwise late (RFC 6733 section 5.4).
        var pause = cause == 0 ? Backoff() : _options.ReconnectMaximum;
        Down(reason, orderly: true, pause, now, effects);
        Enter(new PeerState.Closing(connection, now + _options.CapabilitiesTimeout, reason, pause), now);
    }

    public void WatchdogRequested(DiameterConnection connection, DiameterMessage dwr, DateTimeOffset now, EffectSink effects)
    {
        Send(connection, _node.Base.WatchdogAnswer(dwr), effects);
        Carry(_watchdog.MessageReceived(now), now, effects);
    }

    public void WatchdogAnswered(DateTimeOffset now, EffectSink effects) => Carry(_watchdog.AnswerReceived(now), now, effects);

    public void MessageReceived(DateTimeOffset now, EffectSink effects) => Carry(_watchdog.MessageReceived(now), now, effects);

    public void DeadlineReached(DateTimeOffset now, EffectSink effects)
    {
        switch (_state)
        {
            case PeerState.Open:
                Carry(_watchdog.TimerExpired(now), now, effects);
                break;
            case PeerState.Closed:
                Start(now, effects);
                break;
            case PeerState.WaitConnAck wait:
                effects.Emit(new CloseConnection(wait.Dialled));
                _node.Forget(wait.Dialled);
                Retry("no connection in time", now, effects);
                break;
            case PeerState.WaitICea wait:
                _node.Close(wait.Initiated, effects);
                Retry("no capabilities answer in time", now, effects);
                break;
            case PeerState.WaitConnAckElect wait:
                effects.Emit(new CloseConnection(wait.Dialled));
                _node.Forget(wait.Dialled);
                Accept(wait.Accepted, wait.Cer, now, effects);
                break;
            case PeerState.WaitReturns wait:
                _node.Close(wait.Initiated, effects);
                _node.Close(wait.Accepted, effects);
                Retry("the election did not end in time", now, effects);
                break;
            case PeerState.Closing closing:
                _node.Close(closing.Connection, effects);
                Closed(closing.Reason, closing.RetryAfter, now);
                break;
        }
    }

    /// <summary>Sends a message of ours; requests get the identifiers of this hop.</summary>
    public void Send(DiameterConnection connection, DiameterMessage message, EffectSink effects)
    {
        if (message.IsRequest && message.HopByHopId == 0)
        {
            message = message with { HopByHopId = NextHopByHopId(), EndToEndId = _node.NextEndToEndId() };
        }

        effects.Emit(new SendBytes(connection.Id, message.ToArray()));
    }

    /// <summary>Sends a message that is ready.</summary>
    public static void Send(DiameterConnection connection, ReadOnlyMemory<byte> message, EffectSink effects) => effects.Emit(new SendBytes(connection.Id, message));

    /// <summary>The one with the higher identity keeps the connection it accepted (RFC 6733 section 5.6.4).</summary>
    private void Elect(DiameterConnection initiated, DiameterConnection accepted, DiameterMessage cer, DateTimeOffset now, EffectSink effects)
    {
        if (IsHigher(_options.Identity, Identity))
        {
            effects.Count("diameter.election.won");
            _node.Close(initiated, effects);
            Accept(accepted, cer, now, effects);
            return;
        }

        effects.Count("diameter.election.lost");
        Enter(new PeerState.WaitReturns(initiated, accepted, cer, now + _options.CapabilitiesTimeout), now);
    }

    private static bool IsHigher(string ours, string theirs) =>
        Encoding.ASCII.GetBytes(ours.ToLowerInvariant()).AsSpan().SequenceCompareTo(Encoding.ASCII.GetBytes(theirs.ToLowerInvariant())) > 0;

    private void Accept(DiameterConnection connection, DiameterMessage cer, DateTimeOffset now, EffectSink effects)
    {
        Send(connection, _node.Base.CapabilitiesAnswer(cer, null), effects);
        Opened(connection, cer, isInitiator: false, now, effects);
    }

    private void Opened(DiameterConnection connection, DiameterMessage capabilities, bool isInitiator, DateTimeOffset now, EffectSink effects)
    {
        connection.CapabilitiesDeadline = null;
        Applications = BaseMessages.ApplicationsOf(capabilities);
        _originState = StateIdOf(capabilities);
        _failures = 0;
        Counters.Connections++;
        Enter(new PeerState.Open(connection, isInitiator), now);
        effects.Count("diameter.peer.opened");
        effects.Emit(new Report(new EngineEvent("diameter.peer.opened", EventSeverity.Information, $"{Identity} is open over {(connection.Secured ? "TLS" : "plain TCP")}, {(isInitiator ? "dialled" : "accepted")}") { Peer = Identity }));
        Carry(_watchdog.ConnectionUp(now), now, effects);
        _node.PeerOpened(this, now, effects);
    }

    private void Carry(WatchdogAction action, DateTimeOffset now, EffectSink effects)
    {
        if (_state is not PeerState.Open open)
        {
            return;
        }

        switch (action)
        {
            case WatchdogAction.SendWatchdog:
                Counters.WatchdogsSent++;
                Send(open.Connection, _node.Base.WatchdogRequest(), effects);
                break;
            case WatchdogAction.FailOver:
                effects.Count("diameter.peer.suspect");
                effects.Emit(new Report(new EngineEvent("diameter.peer.suspect", EventSeverity.Warning, $"{Identity} does not answer the watchdog") { Peer = Identity, Rule = "RFC 3539 section 3.4.1" }));
                _node.FailOver(this, isGone: false, now, effects);
                break;
            case WatchdogAction.FailBack:
                effects.Count("diameter.peer.fail_back");
                break;
            case WatchdogAction.CloseConnection:
                _node.Close(open.Connection, effects);
                Down("no watchdog answer", orderly: false, Backoff(), now, effects);
                break;
        }
    }

    private void Down(string reason, bool orderly, TimeSpan pause, DateTimeOffset now, EffectSink effects)
    {
        _watchdog.ConnectionDown(orderly);
        Closed(reason, pause, now);
        Unanswered.Clear();
        effects.Count("diameter.peer.closed");
        effects.Emit(new Report(new EngineEvent("diameter.peer.closed", orderly ? EventSeverity.Information : EventSeverity.Warning, $"{Identity} is closed: {reason}") { Peer = Identity, Rule = "RFC 6733 section 5.6" }));
        _node.FailOver(this, isGone: true, now, effects);
        _node.PeerClosed(this, reason, now, effects);
    }

    private void Retry(string reason, DateTimeOffset now, EffectSink effects)
    {
        effects.Count("diameter.peer.attempt_failed");
        effects.Emit(new Report(new EngineEvent("diameter.peer.unreachable", EventSeverity.Warning, $"{Identity}: {reason}") { Peer = Identity }));
        Closed(reason, Backoff(), now);
    }

    private void Closed(string reason, TimeSpan pause, DateTimeOffset now)
    {
        _lastCloseReason = reason;
        Enter(new PeerState.Closed(Options.Remote is null ? null : now + pause), now);
    }

    private TimeSpan Backoff()
    {
        var pause = _options.ReconnectMinimum * Math.Pow(2, Math.Min(_failures++, 16));
        pause = pause < _options.ReconnectMaximum ? pause : _options.ReconnectMaximum;
        return pause * (1 - (_random.NextUInt32() / (double)uint.MaxValue / 4));
    }

    private void Enter(PeerState state, DateTimeOffset now)
    {
        _state = state;
        _since = now;
    }

    private static uint StateIdOf(DiameterMessage capabilities) => capabilities.Avps.TryGetUnsigned32(AvpKeys.OriginStateId, out var id) ? id : 0;
}

internal sealed class PeerCounters
{
    public long RequestsReceived { get; set; }

    public long RequestsSent { get; set; }

    public long AnswersReceived { get; set; }

    public long AnswersSent { get; set; }

    public long WatchdogsSent { get; set; }

    public long FailedOver { get; set; }

    public long Discarded { get; set; }

    public long Connections { get; set; }

    public DiameterPeerCounters Snapshot() => new(RequestsReceived, RequestsSent, AnswersReceived, AnswersSent, WatchdogsSent, FailedOver, Discarded, Connections);
}
