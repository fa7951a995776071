// Readings:
// - R12: an acceptable request causes an AMR, or goes to the home agent when this agent already authorised the visitor;
//   the agent replies by itself only to refuse.
// - NV9.6: a visitor's re-registration goes straight to the home agent while the AAA authorization lasts, so nothing of
//   its paths changes. It has to prove itself with the MN-FA association then; without a valid one it goes through AAA.
// - A reply is matched by the low half of its Identification: the home agent puts its clock into the high half when it
//   refuses with code 133 (RFC 5944 5.7.1).
// - Code 132 says that the home agent wants other keys (M3): the request goes to the AAA servers once more, as if this
//   agent knew nothing of the user, without asking the node again.
// - NV9.7: a refusal never takes away what stands from an earlier registration here; that ends with its lifetime.
using System.Net;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>
/// The foreign agent (FA): advertises itself, turns Registration Requests into AMRs, installs the profiles of AMAs and
/// serves its visitors (spec network-vpn 4.3, NV1.5, NV1.12, NV1.13, NV2, NV4.3, NV4.11, NV4.12).
/// One owner loop; everything here is touched from <see cref="IEngine.Handle"/> only.
/// </summary>
public sealed partial class ForeignAgent : DiameterApplication
{
    private const int MobileIpPort = 434;

    private static readonly TimeSpan ExpirySweep = TimeSpan.FromSeconds(1);

    /// <summary>How long packets under keys that were replaced in place may still arrive.</summary>
    private static readonly TimeSpan RekeyTime = TimeSpan.FromSeconds(2);

    private readonly ForeignAgentOptions _options;
    private readonly VpnAvpKeys _vpn;
    private readonly VpnProfileAvps _profileAvps;
    private readonly MobilityMsaAvps _msaAvps;
    private readonly Dictionary<string, AgentAdvertiser> _advertisers;
    private readonly Dictionary<IPAddress, Visitor> _visitors = [];
    private readonly Dictionary<long, PendingRegistration> _awaitingAaa = [];
    private readonly Dictionary<(IPAddress Home, uint LowIdentification), PendingRegistration> _awaitingHomeAgent = [];
    private readonly HashSet<(LinkAddress, ulong)> _underWay = [];
    private DateTimeOffset? _nextSweep;
    private bool _running;

    public ForeignAgent(ForeignAgentOptions options, DiameterNodeOptions diameter, IRandomSource random)
        : base(diameter, random)
    {
        _options = options;
        _vpn = new VpnAvpKeys(options.EnterpriseNumber);
        _profileAvps = new VpnProfileAvps(diameter.Dictionary);
        _msaAvps = new MobilityMsaAvps(diameter.Dictionary);
        _advertisers = options.Access.ToDictionary(l => l.Interface, l => new AgentAdvertiser(l, options, random));
        _identifications = new IdentificationSource(random);
        Vpn = new VpnControl(options.Vpn);
        _accounting = Accounting(options);
    }

    public IReadOnlyCollection<Visitor> Visitors => _visitors.Values;

    public VpnControl Vpn { get; }

    protected override DateTimeOffset? NextOwnDeadline
    {
        get
        {
            if (!_running)
            {
                return _accounting?.NextDeadline;
            }

            DateTimeOffset? next = Vpn.NextDeadline;
            if (_accounting?.NextDeadline is { } accounting && (next is null || accounting < next))
            {
                next = accounting;
            }

            if (_handOffTimes.TryPeek(out _, out var handOff) && (next is null || handOff < next))
            {
                next = handOff;
            }

            foreach (var advertiser in _advertisers.Values)
            {
                next = next is null || advertiser.Next < next ? advertiser.Next : next;
            }

            return _nextSweep is { } sweep && (next is null || sweep < next) ? sweep : next;
        }
    }

    private bool Busy => _visitors.Count >= _options.MaximumVisitors || _underWay.Count >= _options.MaximumPending;

    protected override void OnInput(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case EngineStarted started:
                _running = true;
                Vpn.Start(effects);
                _accounting?.Restore(started.State, now, effects);
                Restore(started.State, now, effects);
                _accounting?.Restored(now, effects);
                break;
            case UsageRead read:
                _accounting?.Take(read, now, effects);
                break;
            case EngineStopping:
                // Visitors stay saved: whoever starts this agent again finds them as after a crash.
                _accounting?.Stopping(effects);
                _running = false;
                break;
            case IcmpReceived icmp when icmp.Interface is { } name && _advertisers.TryGetValue(name, out var advertiser):
                Solicited(icmp, advertiser, now, effects);
                break;
            case DatagramReceived datagram:
                Received(datagram, now, effects);
                break;
            case PathSignalled signal:
                Noticed(signal, now, effects);
                break;
            case LinkChanged link when _advertisers.ContainsKey(link.Interface):
                Reached(link, effects);
                break;
            case ClearSession clear:
                foreach (var visitor in _visitors.Values.Where(v => clear.Matches(v.Session, v.Nai, v.HomeAddress)).ToList())
                {
                    Leave(visitor, TerminationCause.Administrative, now, effects);
                }

                foreach (var away in _handedOff.Values.Where(a => clear.Matches(a.Visitor.Session, a.Visitor.Nai, a.Visitor.HomeAddress)).ToList())
                {
                    EndHandOff(away, TerminationCause.Administrative, now, effects);
                }

                break;
        }
    }

    protected override void OnDeadline(DateTimeOffset now, EffectSink effects)
    {
        _accounting?.Tend(now, effects);
        if (!_running)
        {
            return;
        }

        foreach (var advertiser in _advertisers.Values)
        {
            advertiser.Advertise(Busy, now, effects);
        }

        Vpn.Expire(now, effects);
        TendHandOffs(now, effects);
        if (_nextSweep <= now)
        {
            Sweep(now, effects);
        }
    }

    /// <summary>ASR: the home AAA server ends the session (RFC 6733 8.5). RAR: it has news for it (RFC 6733 8.3).</summary>
    protected override void OnRequest(DiameterRequest request, DateTimeOffset now, EffectSink effects)
    {
        var reauthorise = request.Message.CommandCode == DiameterCommands.ReAuth.Code;
        if (!reauthorise && request.Message.CommandCode != DiameterCommands.AbortSession.Code)
        {
            Refuse(request, DiameterResult.CommandUnsupported, "a foreign agent takes no such request", now, effects);
            return;
        }

        var visitor = _visitors.Values.FirstOrDefault(v => v.DiameterSession == request.Message.SessionId);
        if (visitor is null)
        {
            Refuse(request, DiameterResult.UnknownSessionId, "no visitor has this session", now, effects);
            return;
        }

        if (reauthorise)
        {
            Reauthorise(visitor, effects);
            Answer(request, AnswerTo(request, DiameterResult.Success).Build(), now, effects);
            return;
        }

        Leave(visitor, TerminationCause.Administrative, now, effects);
        Answer(request, AnswerTo(request, DiameterResult.Success).Build(), now, effects);
    }

    /// <summary>
    /// Authorization is the node's to ask for, since only a request of its own proves itself at home (RFC 4004 3): it is made to
    /// register again, as any node would after a restart of its agent, and its request goes to the AAA server as a service update.
    /// </summary>
    private void Reauthorise(Visitor visitor, EffectSink effects)
    {
        _visitors[visitor.HomeAddress] = visitor with { UpdateWanted = true };
        effects.Count("fa.rar.accepted");
        effects.Emit(new Report(Event("registration.wanted", EventSeverity.Information, "the home AAA server has news of the user's service; the node is made to register again", visitor.Session, visitor.Nai, visitor.HomeAddress, "RFC 6733 8.3")));
        _advertisers[visitor.Interface].CountAnewFor(visitor.LinkAddress, Busy, effects);
    }

    /// <summary>R43: who is on a link without carrier is on the way to another agent, which will ask for what comes meanwhile.</summary>
    private void Reached(LinkChanged link, EffectSink effects)
    {
        foreach (var visitor in _visitors.Values.Where(v => v.Interface == link.Interface))
        {
            effects.Emit(new HoldVisitor(visitor.HomeAddress, !link.Up));
        }

        effects.Count(link.Up ? "fa.link.up" : "fa.link.down");
    }

    private static void Solicited(IcmpReceived icmp, AgentAdvertiser advertiser, bool busy, DateTimeOffset now, EffectSink effects)
    {
        if (icmp.Message.IsEmpty || icmp.Message.Span[0] != AgentSolicitation.IcmpType)
        {
            return;
        }

        if (!AgentSolicitation.TryParse(icmp.Message.Span, out _, out _))
        {
            effects.Count("fa.solicitation.malformed");
            return;
        }

        advertiser.Solicited(icmp, busy, now, effects);
    }

    private void Solicited(IcmpReceived icmp, AgentAdvertiser advertiser, DateTimeOffset now, EffectSink effects) => Solicited(icmp, advertiser, Busy, now, effects);

    private void Received(DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        if (datagram.Destination.Port != MobileIpPort)
        {
            return;
        }

        if (!MobileIpMessage.TryParse(datagram.Payload.Span, out var message, out var error))
        {
            effects.Count("fa.mip4.malformed");
            effects.Emit(new Report(new EngineEvent("mip4.malformed", EventSeverity.Warning, $"datagram dropped: {error}") { Peer = datagram.Source.ToString(), Rule = error.Clause }));
            return;
        }

        if (message.Extensions.FirstNotUnderstood is { } unknown)
        {
            // RFC 5944 1.8: a message with an unknown extension of the range 0-127 is silently discarded.
            effects.Count("fa.mip4.unknown_extension");
            effects.Emit(new Report(new EngineEvent("mip4.unknown_extension", EventSeverity.Warning, $"{message.Type} with unknown extension {unknown.Type} dropped") { Peer = datagram.Source.ToString(), Rule = "RFC 5944 1.8" }));
            return;
        }

        switch (message)
        {
            case RegistrationRequest request:
                Requested(request, datagram, now, effects);
                break;
            case RegistrationReply reply:
                Replied(reply, datagram, now, effects);
                break;
            case RegistrationRevocation revocation:
                Revoked(revocation, datagram, now, effects);
                break;
            case BindingUpdate update:
                AskedByNewAgent(update, datagram, now, effects);
                break;
            case BindingAcknowledgement acknowledgement when acknowledgement.TryFindAuthentication(AuthenticationKind.ForeignHome, out _, out _):
                AnsweredByHomeAgent(acknowledgement, datagram, now, effects);
                break;
            case BindingAcknowledgement acknowledgement:
                AnsweredByOldAgent(acknowledgement, datagram, now, effects);
                break;
            default:
                effects.Count("fa.mip4.unexpected_message");
                break;
        }
    }

    private void Sweep(DateTimeOffset now, EffectSink effects)
    {
        foreach (var visitor in _visitors.Values.Where(v => v.Expires <= now).ToList())
        {
            effects.Emit(new Report(Event("visitor.expired", EventSeverity.Information, "registration lifetime ended", visitor.Session, visitor.Nai, visitor.HomeAddress, "NV9.8")));

            // The user may have moved without this agent's knowing. When not, his binding ends at the same time and the
            // home agent ends the session.
            Leave(visitor, TerminationCause.UserMoved, now, effects);
        }

        foreach (var (key, pending) in _awaitingHomeAgent.Where(p => p.Value.Expires <= now).ToList())
        {
            _awaitingHomeAgent.Remove(key);
            effects.Count("fa.rrp.timeout");
            Abandon(pending, now, effects);
            AskAaaNext(pending, now);
            RefuseRequest(pending, new RequestRefusal(RegistrationReplyCode.ForeignRegistrationTimeout, "fa.rrq.refused", "the home agent did not answer", "RFC 5944 3.7.2.3"), now, effects);
        }

        ScheduleSweep(now);
    }

    private void ScheduleSweep(DateTimeOffset now) =>
        _nextSweep = _visitors.Count > 0 || _awaitingHomeAgent.Count > 0 ? now + ExpirySweep : null;

    /// <summary>Takes a visitor and everything of it away (NV9.8).</summary>
    private void Leave(Visitor visitor, TerminationCause? terminationCause, DateTimeOffset now, EffectSink effects)
    {
        _visitors.Remove(visitor.HomeAddress);
        _pathsSince.Remove(visitor.HomeAddress);
        Discard(visitor.HomeAddress, effects);
        ForgetHandOff(visitor.HomeAddress);
        ForgetAsked(visitor.HomeAddress, Vpn.Find(visitor.Session)?.Profiles ?? []);
        Vpn.Remove(visitor.Session, effects);
        effects.Emit(new RemoveVisitor(visitor.HomeAddress));
        effects.Emit(new Report(Event("visitor.left", EventSeverity.Information, "visitor removed with all its paths", visitor.Session, visitor.Nai, visitor.HomeAddress, "NV9.8")));
        if (terminationCause is { } cause)
        {
            Terminate(visitor.DiameterSession, visitor.Session, visitor.Nai, visitor.HomeRealm, cause, now, effects);
        }
    }

    private void Terminate(string diameterSession, string? session, string nai, string realm, TerminationCause cause, DateTimeOffset now, EffectSink effects)
    {
        var str = Dictionary.Request(DiameterCommands.SessionTermination, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.SessionId, diameterSession)
            .Add(AvpKeys.OriginHost, Options.Identity)
            .Add(AvpKeys.OriginRealm, Options.Realm)
            .Add(AvpKeys.DestinationRealm, realm)
            .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.TerminationCause, (long)cause)
            .Add(AvpKeys.UserName, nai);
        if (session is not null)
        {
            str.Add(AvpKeys.AcctMultiSessionId, session);
        }

        Send(str.Build(), now, effects);
    }

    private EngineEvent Event(string kind, EventSeverity severity, string text, string? session, string? nai, IPAddress? home, string? rule) => new(kind, severity, text)
    {
        Session = session,
        Nai = nai,
        HomeAddress = home,
        CareOfAddress = _options.CareOfAddress,
        Rule = rule,
    };
}

/// <summary>Operator's command: end the sessions that match; null matches all.</summary>
public sealed record ClearSession(string? Session = null, string? Nai = null, IPAddress? HomeAddress = null) : EngineCommand
{
    public bool Matches(string session, string? nai, IPAddress home) =>
        (Session is null || Session == session) && (Nai is null || string.Equals(Nai, nai, StringComparison.Ordinal)) && (HomeAddress is null || HomeAddress.Equals(home));
}
