// Readings:
// - R10: a first registration counts as a changed care-of address. R11: HAA only after the last BA. R42: a
//   re-registration with the same care-of address changes nothing but the lifetime.
// - A restored binding goes on as it was, with its keys: the packet path keeps how far their counters may have run (M3).
using System.Net;
using System.Text;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>
/// The home agent (HA): takes registrations in HARs and from foreign agents, keeps bindings, installs its halves of the
/// paths and tells dynamic gateways by binding update (spec network-vpn 4.3, NV1.7-NV1.9, NV4.5-NV4.9).
/// One owner loop; everything here is touched from <see cref="IEngine.Handle"/> only.
/// </summary>
public sealed partial class HomeAgent : DiameterApplication
{
    private const int MobileIpPort = 434;

    private static readonly TimeSpan ExpirySweep = TimeSpan.FromSeconds(1);

    /// <summary>How long packets under keys that were replaced in place may still arrive.</summary>
    private static readonly TimeSpan RekeyTime = TimeSpan.FromSeconds(2);

    private readonly HomeAgentOptions _options;
    private readonly VpnAvpKeys _vpn;
    private readonly VpnProfileAvps _profileAvps;
    private readonly MobilityMsaAvps _msaAvps;
    private readonly HomeAddressPool? _pool;
    private readonly IdentificationSource _identifications;
    private readonly Dictionary<IPAddress, Binding> _bindings = [];
    private DateTimeOffset? _nextSweep;

    public HomeAgent(HomeAgentOptions options, DiameterNodeOptions diameter, IRandomSource random)
        : base(diameter, random)
    {
        _options = options;
        _vpn = new VpnAvpKeys(options.EnterpriseNumber);
        _profileAvps = new VpnProfileAvps(diameter.Dictionary);
        _msaAvps = new MobilityMsaAvps(diameter.Dictionary);
        _pool = options.Pool is { } range ? new HomeAddressPool(range) : null;
        _identifications = new IdentificationSource(random);
        TriggerFromMobileNode = options.TriggerFromMobileNode;
        Vpn = new VpnControl(options.Vpn);
        _accounting = Accounting(options);
    }

    public IReadOnlyCollection<Binding> Bindings => _bindings.Values;

    public VpnControl Vpn { get; }

    protected override DateTimeOffset? NextOwnDeadline => Earliest(Earliest(Vpn.NextDeadline, _nextSweep), Earliest(Earliest(NextUpdateDeadline, NextRevocation), _accounting?.NextDeadline));

    protected override void OnInput(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case EngineStarted started:
                Vpn.Start(effects);
                _accounting?.Restore(started.State, now, effects);
                Restore(started, now, effects);
                _accounting?.Restored(now, effects);
                break;
            case EngineStopping:
                _accounting?.Stopping(effects);
                break;
            case UsageRead read:
                _accounting?.Take(read, now, effects);
                break;
            case DatagramReceived datagram:
                Received(datagram, now, effects);
                break;
            case PathSignalled { Signal: PathSignal.FirstInbound } signal when Vpn.FindPath(signal.Path) is { } path:
                FirstPacketTimed(path, now, effects);
                break;
            case PathSignalled { Signal: PathSignal.PacketWaiting } signal:
                PacketWaits(signal, now, effects);
                break;
            case ClearSession clear:
                foreach (var binding in _bindings.Values.Where(b => clear.Matches(b.Session, b.Nai, b.HomeAddress)).ToList())
                {
                    Remove(binding, TerminationCause.Administrative, now, effects);
                }

                break;
        }
    }

    protected override void OnRequest(DiameterRequest request, DateTimeOffset now, EffectSink effects)
    {
        var message = request.Message;
        if (message.CommandCode == DiameterCommands.HomeAgentMip.Code && message.ApplicationId == DiameterApplications.MobileIpv4)
        {
            HomeAgentRequested(request, now, effects);
        }
        else if (message.CommandCode == DiameterCommands.AbortSession.Code)
        {
            if (_bindings.Values.FirstOrDefault(b => b.DiameterSession == message.SessionId) is { } binding)
            {
                Remove(binding, null, now, effects);
                Answer(request, AnswerTo(request, DiameterResult.Success).Build(), now, effects);
            }
            else
            {
                Refuse(request, DiameterResult.UnknownSessionId, "no binding has this session", now, effects);
            }
        }
        else
        {
            Refuse(request, DiameterResult.CommandUnsupported, "a home agent takes no such request", now, effects);
        }
    }

    protected override void OnAnswer(long token, DiameterMessage answer, DateTimeOffset now, EffectSink effects)
    {
        // Answers to STRs change nothing.
        _accounting?.Answered(token, answer, now, effects);
    }

    protected override void OnDeliveryFailed(long token, DeliveryFailure why, DateTimeOffset now, EffectSink effects)
    {
        if (_accounting?.Failed(token, now, effects) is not true)
        {
            effects.Count("ha.str.undelivered");
        }
    }

    protected override void OnDeadline(DateTimeOffset now, EffectSink effects)
    {
        Vpn.Expire(now, effects);
        RetransmitUpdates(now, effects);
        SendRevocations(now, effects);
        _accounting?.Tend(now, effects);
        if (_nextSweep > now)
        {
            return;
        }

        // A registration under way decides by itself what becomes of the binding it is to renew.
        foreach (var binding in _bindings.Values.Where(b => b.Expires <= now && !_transactions.ContainsKey(b.HomeAddress)).ToList())
        {
            effects.Emit(new Report(Event("binding.expired", EventSeverity.Information, "registration lifetime ended", binding, "NV9.8")));
            Remove(binding, TerminationCause.SessionTimeout, now, effects);
        }

        _nextSweep = _bindings.Count > 0 ? now + ExpirySweep : null;
    }

    private void Received(DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        if (datagram.Destination.Port != MobileIpPort)
        {
            return;
        }

        if (!MobileIpMessage.TryParse(datagram.Payload.Span, out var message, out var error))
        {
            effects.Count("ha.mip4.malformed");
            effects.Emit(new Report(new EngineEvent("mip4.malformed", EventSeverity.Warning, $"datagram dropped: {error}") { Peer = datagram.Source.ToString(), Rule = error.Clause }));
            return;
        }

        switch (message)
        {
            case RegistrationRequest request:
                RequestedByForeignAgent(request, datagram, now, effects);
                break;
            case BindingAcknowledgement acknowledgement:
                Acknowledged(acknowledgement, datagram, now, effects);
                break;
            case BindingRequest request:
                BindingRequested(request, datagram, now, effects);
                break;
            case RegistrationRevocationAcknowledgement acknowledgement:
                RevocationAcknowledged(acknowledgement, datagram, effects);
                break;
            default:
                effects.Count("ha.mip4.unexpected_message");
                break;
        }
    }

    private void Restore(EngineStarted started, DateTimeOffset now, EffectSink effects)
    {
        foreach (var (key, value) in started.State)
        {
            if (key.Table == HomeAddressPool.Table && IPAddress.TryParse(Encoding.ASCII.GetString(value.Span), out var address))
            {
                _pool?.Restore(key.Key, address);
            }
            else if (key.Table == BindingRecord.Table)
            {
                if (!BindingRecord.TryRead(value, _profileAvps, out var binding, out var reason))
                {
                    effects.Emit(new DropState(key));
                    effects.Emit(new Report(new EngineEvent("binding.unreadable", EventSeverity.Error, $"saved binding of {key.Key} dropped: {reason}")));
                }
                else if (binding!.Expires > now && Install(binding, now, effects) is null)
                {
                    _bindings[binding.HomeAddress] = binding;
                    effects.Emit(new Report(Event("binding.restored", EventSeverity.Information, "restored after a restart", binding, "M3")));
                }
                else
                {
                    effects.Emit(new DropState(key));
                }
            }
        }

        _nextSweep = _bindings.Count > 0 ? now + ExpirySweep : null;
    }

    /// <summary>
    /// Sets the paths of a binding. A new one attracts its address first: until its paths stand nothing for the node leaves in
    /// clear, and the paths need no routing of their own towards it.
    /// </summary>
    private VpnRefusal? Install(Binding binding, DateTimeOffset now, EffectSink effects, TimeSpan? keepInbound = null)
    {
        var isNew = !_bindings.ContainsKey(binding.HomeAddress);
        if (isNew)
        {
            effects.Emit(new AttractHomeAddress(binding.HomeAddress, _options.HomeInterface));
        }

        var refusal = Vpn.Set(SessionOf(binding), now, effects, keepInbound);
        if (refusal is not null && isNew)
        {
            effects.Emit(new ReleaseHomeAddress(binding.HomeAddress));
        }

        return refusal;
    }

    /// <summary>Makes a binding current; the reply that promises it is emitted after this (design 4).</summary>
    private void Commit(Binding binding, DateTimeOffset now, EffectSink effects)
    {
        var before = _bindings.GetValueOrDefault(binding.HomeAddress);
        _bindings[binding.HomeAddress] = binding;
        ForgetTriggers(binding, before);
        _nextSweep ??= now + ExpirySweep;
        effects.Emit(new SaveState(BindingRecord.KeyOf(binding.HomeAddress), BindingRecord.Write(binding, _profileAvps)));
    }

    /// <summary>Takes a binding and everything of it away, here and at its dynamic gateways (NV9.8).</summary>
    private void Remove(Binding binding, TerminationCause? cause, DateTimeOffset now, EffectSink effects)
    {
        if (_transactions.TryGetValue(binding.HomeAddress, out var waiting))
        {
            // Ended while a registration of it asks the gateways: it must not come back when they agree.
            Forget(waiting);
            Withdraw(waiting.Registration, null, now, effects);
            Refuse(waiting.Registration, new(RegistrationReplyCode.HomeUnspecified, "ha.rrq.session_ended", "the session has ended", "NV9.8"), now, effects);
        }

        _bindings.Remove(binding.HomeAddress);
        Vpn.Remove(binding.Session, effects);
        RemoveAtGateways(binding, [], now, effects);
        _triggers.Remove(binding.HomeAddress);
        _switched.Remove(binding.HomeAddress);
        effects.Emit(new ReleaseHomeAddress(binding.HomeAddress));
        effects.Emit(new DropState(BindingRecord.KeyOf(binding.HomeAddress)));
        effects.Emit(new Report(Event("binding.removed", EventSeverity.Information, "binding removed with all its paths", binding, "NV9.8")));
        if (cause == TerminationCause.Administrative)
        {
            Revoke(binding, inform: true, now);
        }

        if (cause is { } terminationCause && binding is { DiameterSession: { } session, AaaRealm: { } realm })
        {
            Send(
                Dictionary.Request(DiameterCommands.SessionTermination, DiameterApplications.MobileIpv4)
                    .Add(AvpKeys.SessionId, session)
                    .Add(AvpKeys.OriginHost, Options.Identity)
                    .Add(AvpKeys.OriginRealm, Options.Realm)
                    .Add(AvpKeys.DestinationRealm, realm)
                    .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
                    .Add(AvpKeys.TerminationCause, (long)terminationCause)
                    .Add(AvpKeys.UserName, binding.Nai)
                    .Add(AvpKeys.AcctMultiSessionId, binding.Session)
                    .Build(),
                now, effects);
        }
    }

    private VpnSession SessionOf(Binding binding) => new()
    {
        Session = binding.Session,
        Nai = binding.Nai,
        HomeAddress = binding.HomeAddress,
        Profiles = binding.Profiles,
        Base = new BaseTunnel(_options.Address, binding.CareOfAddress),
        Waiting = binding.Unserved,
    };

    private EngineEvent Event(string kind, EventSeverity severity, string text, Binding binding, string? rule) => new(kind, severity, text)
    {
        Session = binding.Session,
        Nai = binding.Nai,
        HomeAddress = binding.HomeAddress,
        CareOfAddress = binding.CareOfAddress,
        Rule = rule,
    };

    private static DateTimeOffset? Earliest(DateTimeOffset? a, DateTimeOffset? b) => a is null || b < a ? b ?? a : a;
}
