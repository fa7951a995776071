using System.Globalization;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Diameter;

/// <summary>
/// An engine that is a Diameter node: foreign agents, home agents and AAA servers derive from it. The base owns
/// connections, peers, routing, retransmission and duplicates (RFC 6733); a derived class sees requests, answers and
/// everything that is not a connection input.
/// <para>
/// Nothing is delivered from inside <see cref="Send"/>, <see cref="Answer"/> or <see cref="Forward"/>; what they cause
/// follows before the current <see cref="Handle"/> returns. State an answer promises is therefore saved by emitting
/// <see cref="SaveState"/> before calling <see cref="Answer"/>.
/// </para>
/// </summary>
public abstract class DiameterApplication : IEngine, IDiameterUser
{
    private readonly DiameterNode _node;
    private uint _sessions;

    protected DiameterApplication(DiameterNodeOptions options, IRandomSource random)
    {
        Options = options;
        Random = random;
        _sessions = random.NextUInt32();
        _node = new DiameterNode(options, random, this);
    }

    public DiameterNodeOptions Options { get; }

    public DiameterDictionary Dictionary => Options.Dictionary;

    /// <summary>Every peer as it is now; call from the thread that runs the engine.</summary>
    public IReadOnlyList<DiameterPeerStatus> PeerStatus => _node.PeerStatus;

    public DateTimeOffset? NextDeadline => Earlier(_node.NextDeadline, NextOwnDeadline);

    protected IRandomSource Random { get; }

    /// <summary>When <see cref="OnDeadline"/> is to be called.</summary>
    protected abstract DateTimeOffset? NextOwnDeadline { get; }

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case EngineStarted:
                // The application restores its state before the first peer can ask about it.
                OnInput(input, now, effects);
                _node.Start(now, effects);
                break;
            case EngineStopping:
                OnInput(input, now, effects);
                _node.Stop(now, effects);
                break;
            case ConnectionOpened opened:
                _node.Opened(opened, now, effects);
                break;
            case ConnectionReceived received:
                _node.Received(received, now, effects);
                break;
            case ConnectionClosed closed:
                _node.Closed(closed, now, effects);
                break;
            case DeadlineReached:
                break;
            default:
                OnInput(input, now, effects);
                break;
        }

        if (_node.NextDeadline <= now)
        {
            _node.DeadlineReached(now, effects);
        }

        if (NextOwnDeadline <= now)
        {
            OnDeadline(now, effects);
        }

        _node.Deliver(now, effects);
    }

    /// <summary>A valid request for this node or, at an agent, one to pass on. Answer or forward it now or later.</summary>
    protected abstract void OnRequest(DiameterRequest request, DateTimeOffset now, EffectSink effects);

    /// <summary>The answer to a request of <see cref="Send"/>; its Result-Code may be a refusal.</summary>
    protected abstract void OnAnswer(long token, DiameterMessage answer, DateTimeOffset now, EffectSink effects);

    protected abstract void OnDeliveryFailed(long token, DeliveryFailure why, DateTimeOffset now, EffectSink effects);

    /// <summary>Everything that is no connection input, <see cref="EngineStarted"/> and <see cref="EngineStopping"/> included.</summary>
    protected abstract void OnInput(EngineInput input, DateTimeOffset now, EffectSink effects);

    /// <summary><see cref="NextOwnDeadline"/> has come. The implementation must move it on.</summary>
    protected virtual void OnDeadline(DateTimeOffset now, EffectSink effects)
    {
    }

    /// <summary>
    /// The answer to a forwarded request on its way back, also one this node made itself because nobody could be reached
    /// or answered in time. What is returned goes on; a proxy may alter it.
    /// </summary>
    protected virtual DiameterMessage OnForwardedAnswer(DiameterRequest request, DiameterMessage answer, DateTimeOffset now, EffectSink effects) => answer;

    /// <summary>A peer can be reached from now on.</summary>
    protected virtual void OnPeerOpened(string identity, DateTimeOffset now, EffectSink effects)
    {
    }

    /// <summary>A peer cannot be reached any more.</summary>
    protected virtual void OnPeerClosed(string identity, string reason, DateTimeOffset now, EffectSink effects)
    {
    }

    /// <summary>
    /// Sends a request by its Destination-Host and Destination-Realm. Origin-Host, Origin-Realm and the identifiers are
    /// filled in where they are missing.
    /// </summary>
    /// <param name="again">The application has sent it before, perhaps in an earlier life: the T bit says so (RFC 6733 section 3).</param>
    /// <returns>Token of the one <see cref="OnAnswer"/> or <see cref="OnDeliveryFailed"/> that follows.</returns>
    protected long Send(DiameterMessage request, DateTimeOffset now, EffectSink effects, bool again = false) => _node.Send(request, now, effects, again);

    /// <summary>Answers a request. Origin-Host and Origin-Realm are filled in where they are missing. The second answer to a request is dropped and counted.</summary>
    protected void Answer(DiameterRequest request, DiameterMessage answer, DateTimeOffset now, EffectSink effects) => _node.Answer(request, answer, now, effects);

    /// <summary>Answers with nothing but a result, and a reason for people.</summary>
    protected void Refuse(DiameterRequest request, uint resultCode, string reason, DateTimeOffset now, EffectSink effects) =>
        _node.Answer(request, AnswerTo(request, resultCode).Add(AvpKeys.ErrorMessage, reason).Build(), now, effects);

    /// <summary>
    /// Passes a request on, with a Route-Record, by its destination. The answer goes back by itself through
    /// <see cref="OnForwardedAnswer"/>.
    /// </summary>
    /// <param name="altered">What to pass on instead of the message as received; its identifiers do not matter.</param>
    protected void Forward(DiameterRequest request, DateTimeOffset now, EffectSink effects, DiameterMessage? altered = null) =>
        _node.Forward(request, altered ?? request.Message, now, effects);

    /// <summary>Begins an answer: Session-Id, Result-Code, Origin-Host, Origin-Realm; Proxy-Info follows by itself.</summary>
    protected DiameterMessageBuilder AnswerTo(DiameterRequest request, uint resultCode) => _node.Base.WithOrigin(Dictionary.Answer(request.Message, resultCode));

    /// <summary>A new Session-Id: identity, time, counter (RFC 6733 section 8.8).</summary>
    protected string NewSessionId(DateTimeOffset now) =>
        string.Create(CultureInfo.InvariantCulture, $"{Options.Identity};{(uint)now.ToUnixTimeSeconds()};{++_sessions}");

    /// <summary>Whether a peer is open, i.e. a request routed to it alone would leave at once.</summary>
    protected bool IsOpen(string peer) => _node.IsOpen(peer);

    void IDiameterUser.Request(DiameterRequest request, DateTimeOffset now, EffectSink effects) => OnRequest(request, now, effects);

    void IDiameterUser.Answer(long token, DiameterMessage answer, DateTimeOffset now, EffectSink effects) => OnAnswer(token, answer, now, effects);

    void IDiameterUser.Failed(long token, DeliveryFailure why, DateTimeOffset now, EffectSink effects) => OnDeliveryFailed(token, why, now, effects);

    DiameterMessage IDiameterUser.ForwardedAnswer(DiameterRequest request, DiameterMessage answer, DateTimeOffset now, EffectSink effects) =>
        OnForwardedAnswer(request, answer, now, effects);

    void IDiameterUser.PeerOpened(string identity, DateTimeOffset now, EffectSink effects) => OnPeerOpened(identity, now, effects);

    void IDiameterUser.PeerClosed(string identity, string reason, DateTimeOffset now, EffectSink effects) => OnPeerClosed(identity, reason, now, effects);

    private static DateTimeOffset? Earlier(DateTimeOffset? a, DateTimeOffset? b) => a is null || b < a ? b : a;
}

/// <summary>Whom a node delivers to.</summary>
internal interface IDiameterUser
{
    void Request(DiameterRequest request, DateTimeOffset now, EffectSink effects);

    void Answer(long token, DiameterMessage answer, DateTimeOffset now, EffectSink effects);

    void Failed(long token, DeliveryFailure why, DateTimeOffset now, EffectSink effects);

    DiameterMessage ForwardedAnswer(DiameterRequest request, DiameterMessage answer, DateTimeOffset now, EffectSink effects);

    void PeerOpened(string identity, DateTimeOffset now, EffectSink effects);

    void PeerClosed(string identity, string reason, DateTimeOffset now, EffectSink effects);
}
