// Readings:
// - Requests always carry MN-AAA: the foreign agent puts it into its AMR (RFC 4004), also when MN-FA keys exist.
// - A refusal in the home agent's name that no association can prove (the first registration failed before keys came)
//   is believed only so far that the node pauses, and for code 133 moves its clock; a granted registration never is.
// - A deregistration waits for the answer to a request that is out: with it may come the keys to sign with.
// - Keys from AAA are forgotten after three requests without a valid answer: the agent may have lost them.
using System.Net;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4;

/// <summary>
/// Mobile node (RFC 5944 as used by spec network-vpn NV1.4, NV1.13): finds foreign agents, registers through them with
/// NAI, challenge and MN-AAA, gets its keys from the AAAH, and keeps its home address over moves. It holds no VPN
/// function: it never emits a path (goal G1, NV-A34).
/// Commands: <see cref="DeregisterNode"/>, <see cref="RegisterNode"/>, <see cref="RequestServiceUpdate"/>.
/// </summary>
public sealed partial class MobileNode : IEngine
{
    private const int AttemptsBeforeNewKeys = 3;
    private const int AttemptsBeforeOtherAgent = 4;

    private readonly MobileNodeOptions _options;
    private readonly IRandomSource _random;
    private readonly IdentificationSource _identifications;
    private readonly Dictionary<IPAddress, KnownAgent> _agents = [];
    private readonly Dictionary<IPAddress, MobilityAssociation> _foreignAssociations = [];

    private MobilityAssociation? _homeAssociation;
    private IPAddress? _homeAgent;
    private ushort _lifetime;
    private int _refusals;
    private bool _serviceUpdate;
    private bool _leaving;
    private DateTimeOffset _lastRequest = DateTimeOffset.MinValue;

    public MobileNode(MobileNodeOptions options, IRandomSource random)
    {
        options.Validate();
        _options = options;
        _random = random;
        _identifications = new IdentificationSource(random);
        _homeAssociation = options.HomeAssociation;
        _homeAgent = options.HomeAgent;
        _lifetime = options.Lifetime;
    }

    public MobileNodeState State { get; private set; } = new MobileNodeState.Stopped();

    /// <summary>The registration in force, also while the node is busy moving; null when there is none.</summary>
    public GrantedRegistration? Registration { get; private set; }

    public DateTimeOffset? NextDeadline
    {
        get
        {
            var next = State.Deadline;
            if (State is MobileNodeState.Stopped)
            {
                return null;
            }

            foreach (var agent in _agents.Values)
            {
                next = Earlier(next, agent.Expires);
            }

            return Registration is { } registration && registration.Expires != DateTimeOffset.MaxValue ? Earlier(next, registration.Expires) : next;
        }
    }

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case EngineStarted or RegisterNode when State is MobileNodeState.Stopped:
                Search(now, effects);
                break;
            case RegisterNode:
                _leaving = false;
                RegisterAgain(now, effects);
                break;
            case EngineStopping:
                Stop(now, effects);
                break;
            case LinkChanged change when change.Interface == _options.Interface:
                OnLink(change.Up, now, effects);
                break;
            case IcmpReceived message when IsOurs(message.Interface):
                OnIcmp(message, now, effects);
                break;
            case DatagramReceived datagram when IsOurs(datagram.Interface) && datagram.Destination.Port == MobileIpv4Limits.Port:
                OnDatagram(datagram, now, effects);
                break;
            case DeregisterNode:
                Deregister(now, effects);
                break;
            case RequestServiceUpdate:
                OnServiceUpdate(now, effects);
                break;
            case DeadlineReached:
                OnDeadline(now, effects);
                break;
        }
    }

    private bool IsOurs(string? name) => name is null || name == _options.Interface;

    private static DateTimeOffset? Earlier(DateTimeOffset? one, DateTimeOffset other) => one is { } first && first < other ? first : other;

    private void OnLink(bool up, DateTimeOffset now, EffectSink effects)
    {
        if (State is MobileNodeState.Stopped)
        {
            return;
        }

        if (State is MobileNodeState.Deregistering || _leaving)
        {
            _leaving = false;

            // Nobody is left to answer; the wish to be gone holds.
            Detach(effects);
            State = new MobileNodeState.Stopped();
            return;
        }

        LinkTimed(up, now);

        // Another link, other agents. The registration stands until the home agent ends it or a new one replaces it.
        _agents.Clear();
        if (up)
        {
            Search(now, effects);
        }
        else
        {
            State = new MobileNodeState.NoLink();
        }
    }

    private void OnServiceUpdate(DateTimeOffset now, EffectSink effects)
    {
        _serviceUpdate = true;
        RegisterAgain(now, effects);
    }

    /// <summary>At once, but never within a second of the request before (RFC 5944 3.6.3).</summary>
    private void RegisterAgain(DateTimeOffset now, EffectSink effects)
    {
        if (State is not MobileNodeState.Registered registered)
        {
            return;
        }

        if (_lastRequest.AddSeconds(1) is var earliest && earliest > now)
        {
            State = registered with { RenewAt = earliest };
        }
        else
        {
            Register(registered.Agent, now, effects);
        }
    }

    private void OnDeadline(DateTimeOffset now, EffectSink effects)
    {
        ExpireRegistration(now, effects);
        ExpireAgents(now, effects);
        if (State.Deadline is not { } deadline || deadline > now)
        {
            return;
        }

        switch (State)
        {
            case MobileNodeState.Searching searching:
                Solicit(now, effects);
                State = new MobileNodeState.Searching(searching.Sent + 1, now + SolicitationInterval(searching.Sent + 1));
                break;
            case MobileNodeState.AwaitingChallenge awaiting:
                Solicit(now, effects);
                State = awaiting with { Sent = awaiting.Sent + 1, NextSolicitation = now + SolicitationInterval(awaiting.Sent + 1) };
                break;
            case MobileNodeState.Registering registering:
                Retransmit(registering, now, effects);
                break;
            case MobileNodeState.Pausing pausing:
                Register(Preferred(pausing.Agent, now), now, effects);
                break;
            case MobileNodeState.Registered registered:
                Register(registered.Agent, now, effects);
                break;
            case MobileNodeState.Deregistering deregistering:
                OnDeregistrationSilence(deregistering, now, effects);
                break;
        }
    }

    private void ExpireRegistration(DateTimeOffset now, EffectSink effects)
    {
        if (Registration is not { } registration || registration.Expires > now)
        {
            return;
        }

        Detach(effects);
        effects.Count("mn.registration.expired");
        Report(effects, "registration.expired", EventSeverity.Warning, "the registration's lifetime ended", registration, "RFC 5944 3.6.2.2");
        if (State is MobileNodeState.Registered registered)
        {
            Register(registered.Agent, now, effects);
        }
    }

    /// <summary>Gives the home address back to nobody: it is the node's only as long as the registration holds.</summary>
    private void Detach(EffectSink effects)
    {
        if (Registration is { } registration)
        {
            effects.Emit(new DetachHome(_options.Interface, registration.HomeAddress));
            Registration = null;
        }
    }

    private void Stop(DateTimeOffset now, EffectSink effects)
    {
        if (Registration is { } registration && _agents.ContainsKey(registration.Agent))
        {
            SendDeregistration(registration.Agent, 1, now, effects);
        }

        Detach(effects);
        State = new MobileNodeState.Stopped();
    }

    private void Deregister(DateTimeOffset now, EffectSink effects)
    {
        if (State is MobileNodeState.Registering)
        {
            _leaving = true;
            return;
        }

        Leave(now, effects);
    }

    private void Leave(DateTimeOffset now, EffectSink effects)
    {
        _leaving = false;
        if (Registration is { } registration && _agents.ContainsKey(registration.Agent) && State is not (MobileNodeState.Deregistering or MobileNodeState.Stopped))
        {
            SendDeregistration(registration.Agent, 1, now, effects);
            return;
        }

        if (State is not MobileNodeState.Deregistering)
        {
            Detach(effects);
            State = new MobileNodeState.Stopped();
        }
    }

    private void OnDeregistrationSilence(MobileNodeState.Deregistering state, DateTimeOffset now, EffectSink effects)
    {
        if (state.Attempt < AttemptsBeforeNewKeys && _agents.ContainsKey(state.Agent))
        {
            SendDeregistration(state.Agent, state.Attempt + 1, now, effects);
            return;
        }

        effects.Count("mn.deregistration.unanswered");
        Report(effects, "registration.ended", EventSeverity.Warning, "deregistration was not answered; the home agent keeps the binding until its lifetime ends", Registration, "RFC 5944 3.6.3");
        Detach(effects);
        State = new MobileNodeState.Stopped();
    }

    private void Report(EffectSink effects, string kind, EventSeverity severity, string text, GrantedRegistration? registration, string rule, string? peer = null) =>
        effects.Emit(new Report(new EngineEvent(kind, severity, text)
        {
            Nai = _options.Nai,
            HomeAddress = registration?.HomeAddress ?? _options.HomeAddress,
            CareOfAddress = registration?.CareOfAddress,
            Peer = peer ?? registration?.Agent.ToString(),
            Rule = rule,
        }));
}
