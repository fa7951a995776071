// Readings:
// - What the network says counts from the last conversation that came to its end: a Failure out of the blue shuts nobody out, since any
//   station of the link could send it, and a new conversation leaves the port as it is until it ends.
// - Where nobody asks, a link whose use need not be proved is taken as open (IEEE 802.1X-2020 8.5: no authenticator); by default it is not.
using Sojourn.Engine.Eap;
using Sojourn.Wire.Eap;

namespace Sojourn.Engine.Access;

/// <summary>Settings of a supplicant on one link.</summary>
public sealed record SupplicantOptions
{
    public required string Interface { get; init; }

    /// <summary>Who the device says it is and how it proves it; without methods its address is all it has.</summary>
    public required EapPeerOptions Eap { get; init; }

    /// <summary>False: a link on which nobody asks may be used.</summary>
    public bool Required { get; init; } = true;

    /// <summary>Between the first EAPOL-Starts; after <see cref="Starts"/> of them <see cref="HeldPeriod"/>.</summary>
    public TimeSpan StartPeriod { get; init; } = TimeSpan.FromSeconds(2);

    public int Starts { get; init; } = 3;

    /// <summary>After a refusal, and while nobody answers, before the next EAPOL-Start.</summary>
    public TimeSpan HeldPeriod { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Without a packet of the network a conversation is over.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>The network lets the device use the link, or does not (rows TA1.104, TA1.104x).</summary>
public sealed record LinkAdmission(string Interface, bool Allowed, string Reason) : Effect;

/// <summary>
/// IEEE 802.1X supplicant of a terminal's link (row TA1.103): announces itself when the carrier comes, answers with its identity and
/// EAP-TLS, and says whether the link may be used.
/// </summary>
public sealed class Supplicant(SupplicantOptions options) : IEngine, IDisposable
{
    private static readonly byte[] s_start = new EapolFrame(EapolFrame.DefaultVersion, EapolType.Start, default).ToArray();

    private EapPeer? _peer;
    private byte? _identityAsked;
    private LinkAddress _authenticator;
    private bool _up;
    private int _starts;
    private DateTimeOffset? _due;

    /// <summary>Whether the link may be used.</summary>
    public bool IsAdmitted { get; private set; }

    public DateTimeOffset? NextDeadline => _due;

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case LinkChanged link when link.Interface == options.Interface && link.Up != _up:
                _up = link.Up;
                if (_up)
                {
                    _starts = 0;
                    Announce(now, effects);
                }
                else
                {
                    Forget();
                    _due = null;
                    Admit(false, "the link is down", effects);
                }

                break;
            case EapolReceived frame when _up && frame.Interface == options.Interface:
                OnFrame(frame, now, effects);
                break;
            case DeadlineReached when _due <= now:
                OnDeadline(now, effects);
                break;
        }
    }

    public void Dispose() => _peer?.Dispose();

    private void Announce(DateTimeOffset now, EffectSink effects)
    {
        Forget();
        _starts++;
        _due = now + (_starts <= options.Starts ? options.StartPeriod : options.HeldPeriod);
        effects.Count("supplicant.starts");
        effects.Emit(new SendEapol(options.Interface, new LinkAddress(EapolFrame.GroupAddress), s_start));
    }

    private void OnFrame(EapolReceived received, DateTimeOffset now, EffectSink effects)
    {
        if (!EapolFrame.TryParse(received.Frame.Span, out var frame, out _) || frame.Type != EapolType.Eap || !EapPacket.TryParse(frame.Body.Span, out var packet, out _))
        {
            effects.Count("supplicant.ignored");
            return;
        }

        if (packet is { Code: EapCode.Request, Type: EapType.Identity } && !(_peer is { State: EapPeerState.Running } && packet.Identifier == _identityAsked))
        {
            Forget();
            _peer = new EapPeer(options.Eap);
            _identityAsked = packet.Identifier;
            _authenticator = received.Source;
        }

        // One conversation has one authenticator; what others on the link say in between is not part of it.
        if (_peer is not { State: EapPeerState.Running } peer || received.Source != _authenticator)
        {
            effects.Count("supplicant.ignored");
            return;
        }

        _due = now + options.Patience;
        if (peer.Receive(packet, now) is { } response)
        {
            effects.Emit(new SendEapol(options.Interface, new LinkAddress(EapolFrame.GroupAddress), new EapolFrame(EapolFrame.DefaultVersion, EapolType.Eap, response.ToArray()).ToArray()));
        }

        switch (peer.State)
        {
            case EapPeerState.Succeeded:
                peer.MasterSessionKey?.Wipe();
                (_starts, _due) = (0, null);
                effects.Count("supplicant.admitted");
                Admit(true, "", effects);
                break;
            case EapPeerState.Failed:
                _due = now + options.HeldPeriod;
                effects.Count("supplicant.refused");
                Admit(false, peer.Reason, effects, always: true);
                break;
        }
    }

    private void OnDeadline(DateTimeOffset now, EffectSink effects)
    {
        if (_peer is null && _starts >= options.Starts && !options.Required && !IsAdmitted)
        {
            _due = null;
            Admit(true, "nobody asks on this link", effects);
            return;
        }

        Announce(now, effects);
    }

    private void Admit(bool allowed, string reason, EffectSink effects, bool always = false)
    {
        if (allowed != IsAdmitted || always)
        {
            IsAdmitted = allowed;
            effects.Emit(new LinkAdmission(options.Interface, allowed, reason));
        }
    }

    private void Forget()
    {
        _peer?.Dispose();
        (_peer, _identityAsked) = (null, null);
    }
}
