// Readings:
// - What the terminal sends first is IKE_SA_INIT: IKEv2 lets the terminal speak first, so packet 140 of a terminal that has not
//   authenticated gets ICMPv6 "administratively prohibited" (spec G7), and the EAP request in the answer is 141.
// - Access is that of the address the key exchange comes from, and of the regional address that is bound to it.
// - The last answer of IKE_AUTH waits for the prefix, so that 150 carries it and 150x is a refusal of IKE_AUTH (rows TA2.150, TA2.150x).
// - As an anchor point the gateway begins a key exchange only with whoever has sent it a local binding update (row TA3.163a).
using System.Net;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Radius;
using Sojourn.Wire.Dhcpv6;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Access;

/// <summary>
/// Gateway between visited and home network (spec P4): authenticates terminals by EAP in IKEv2 against a RADIUS server, asks the
/// delegating router for their home prefixes, and lets nobody else through. With an anchor point it serves embodiment 3.
/// <code>
/// terminal ── IKE_AUTH with EAP ──► gateway ── RADIUS ──► authentication server
///                                    gateway ── whose IAID ──► delegating router ◄── Solicit … Reply
/// terminal ◄── CFG_REPLY with the prefix ── gateway; from here on the terminal's packets pass
/// </code>
/// RADIUS and DHCPv6 come as datagrams, everything for <see cref="AccessGatewayOptions.Address"/> as whole packets. What terminals send to
/// others passes an <see cref="AccessPacketPath"/>, which <see cref="PermitSource"/>, <see cref="ForbidSource"/> and
/// <see cref="ChangePaths"/> are for.
/// </summary>
public sealed partial class AccessGateway : IEngine, IDisposable
{
    private const string IaidTable = "access.iaid";

    private readonly AccessGatewayOptions _options;
    private readonly IkeEngine _ike;
    private readonly RadiusClient _radius;
    private readonly EapPassThrough _eap;
    private readonly RequestingRouter _router;
    private readonly RelayAgent? _relay;
    private readonly MobilityAnchorPoint? _anchor;
    private readonly Dictionary<long, Session> _sessions = [];
    private readonly Dictionary<long, Session> _registering = [];
    private readonly Dictionary<string, uint> _iaids = new(StringComparer.Ordinal);

    /// <summary>Regional addresses whose local binding update waits, by the on-link address it came from, and until when.</summary>
    private readonly Dictionary<IPAddress, (IPAddress Regional, DateTimeOffset Until)> _triggers = [];
    private readonly Queue<Effect> _inner = new();
    private readonly EffectSink _scratch = new();
    private DateTimeOffset? _returnUntil;
    private DateTimeOffset _now;
    private EffectSink _out = new();
    private long _numbers;

    public AccessGateway(AccessGatewayOptions options, IRandomSource random)
    {
        _options = options;
        _ike = new IkeEngine(options.Ike(), random);
        _radius = new RadiusClient(options.Radius, random);
        _eap = new EapPassThrough(_radius);

        // Terminals come one by one, and each waits for its prefix: there is nobody to keep apart from (RFC 8415 18.2.1).
        _router = new RequestingRouter(new RequestingRouterOptions { Interface = options.HomeInterface, Duid = options.Duid, MaximumDelay = TimeSpan.Zero }, random);
        _relay = options.RelayTo.Count == 0 ? null : new RelayAgent(new RelayAgentOptions { Links = [new RelayedLink(options.HomeInterface, null)], Servers = options.RelayTo });
        _anchor = options.Anchor is { } anchor ? new MobilityAnchorPoint(anchor) : null;
        _esp = new TransportEsp(random);
    }

    private sealed class Session
    {
        public required long IkeSa { get; set; }

        public required IPAddress Address { get; set; }

        public IPAddress? RegionalAddress { get; init; }

        public AccessStage Stage { get; set; }

        public long? Conversation { get; set; }

        /// <summary>Question of the key exchange that waits for an answer of ours.</summary>
        public long Question { get; set; }

        public string Identifier { get; set; } = "";

        public uint Iaid { get; set; }

        public IPNetwork? Prefix { get; set; }

        public TimeSpan? Lifetime { get; set; }

        public DateTimeOffset? Until { get; set; }
    }

    /// <summary>Terminals that ask for access or have it.</summary>
    public IEnumerable<AccessSessionView> Sessions => _sessions.Values.Select(s => new AccessSessionView(s.IkeSa, s.Stage, s.Identifier, s.Address, s.RegionalAddress, s.Iaid, s.Prefix, s.Stage == AccessStage.Granted ? s.Until : null));

    /// <summary>Table D10, of an anchor point.</summary>
    public IEnumerable<BindingCacheEntry> Bindings => _anchor?.Bindings ?? [];

    /// <summary>DUID of the requesting router.</summary>
    public Duid Duid => _router.Duid;

    /// <summary>The key exchange's demand for cookies.</summary>
    public CookieGate Cookies => _ike.Cookies;

    /// <summary>Prefixes delegated to this gateway for its terminals.</summary>
    public IEnumerable<ClientAssociationView> Associations => _router.Associations;

    /// <summary>Whose the prefix of an IAID is; empty when it is nobody's.</summary>
    public string IdentifierOf(uint iaid) => _iaids.FirstOrDefault(i => i.Value == iaid).Key ?? "";

    public DateTimeOffset? NextDeadline
    {
        get
        {
            DateTimeOffset? next = null;
            foreach (var at in _sessions.Values.Select(s => s.Until).Append(_ike.NextDeadline).Append(_radius.NextDeadline).Append(_router.NextDeadline).Append(_anchor?.NextDeadline).Append(_returnUntil))
            {
                next = next is null || at < next ? at ?? next : next;
            }

            return next;
        }
    }

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        (_now, _out) = (now, effects);
        switch (input)
        {
            case EngineStarted started:
                Restore(started);
                Tell(_ike, started);
                Tell(_router, started);
                Tell(_anchor, started);
                _returnUntil = _router.Associations.Any() ? now + _options.ReturnWait : null;
                break;
            case EngineStopping stopping:
                Tell(_ike, stopping);
                break;
            case DatagramReceived datagram when datagram.Destination.Equals(_options.Radius.Local):
                OnRadius(_radius.Receive(datagram, effects));
                break;
            case DatagramReceived { Destination.Port: Dhcpv6Limits.ClientPort } or LinkChanged:
                Tell(_router, input);
                break;
            case DatagramReceived { Destination.Port: Dhcpv6Limits.ServerPort }:
                Tell(_relay, input);
                break;
            case Ipv6PacketReceived packet:
                OnPacket(packet);
                break;
            case IdentityRegistered { Number: var number } registered when _registering.Remove(number, out var session):
                OnRegistered(session, registered.Taken);
                break;
            case EndAccess end:
                foreach (var session in _sessions.Values.Where(s => s.Identifier == end.Identifier).ToList())
                {
                    Tell(_ike, new CloseIke(session.IkeSa));
                    End(session, "access was taken back");
                }

                break;
            case DeadlineReached:
                OnDeadline();
                break;
        }

        while (_inner.TryDequeue(out var effect))
        {
            CarryOut(effect);
        }
    }

    public void Dispose() => _esp.Dispose();

    /// <summary>Hands a part its input; what it wants done waits, so that no part is entered while it works.</summary>
    private void Tell(IEngine? engine, EngineInput input)
    {
        if (engine is not null)
        {
            _scratch.Clear();
            engine.Handle(input, _now, _scratch);
            foreach (var effect in _scratch.Effects)
            {
                _inner.Enqueue(effect);
            }
        }
    }

    private void CarryOut(Effect effect)
    {
        switch (effect)
        {
            case RelayIkeEap relay:
                OnEap(relay);
                break;
            case ConfigurePeer configure:
                OnProved(configure);
                break;
            case IkeSaUp { Replaces: { } old } up when _sessions.Remove(old, out var session):
                session.IkeSa = up.Sa.Id;
                _sessions[up.Sa.Id] = session;
                break;
            case IkeSaUp { Replaces: null } up when _sessions.TryGetValue(up.Sa.Id, out var session) && session.Stage == AccessStage.Configured:
                Open(session);
                break;
            case IkeSaMoved moved when _sessions.TryGetValue(moved.Sa.Id, out var session):
                Move(session, moved.Sa.Remote.Address);
                break;
            case IkeSaDown { End: not IkeEnd.Rekeyed } down when _sessions.TryGetValue(down.IkeSa, out var session):
                End(session, down.Reason);
                break;
            case PrefixDelegated delegated:
                OnPrefix(delegated);
                break;
            case LeaseUnavailable { Kind: LeaseKind.Prefix, Server: not null } refused:
                foreach (var session in _sessions.Values.Where(s => s.Stage == AccessStage.WaitsForPrefix && s.Iaid == refused.Iaid).ToList())
                {
                    Refuse(session, $"no prefix: {refused.Text}");
                }

                break;
            case PrefixLost { Reason: not LeaseLoss.Released } lost:
                foreach (var session in _sessions.Values.Where(s => s.Stage == AccessStage.Granted && s.Iaid == lost.Iaid).ToList())
                {
                    Tell(_ike, new CloseIke(session.IkeSa));
                    End(session, $"its prefix is gone: {lost.Reason}");
                }

                break;
            case AccessWanted wanted:
                ForgetTriggers(trigger => trigger.Until <= _now);
                _triggers[wanted.OnLinkAddress] = (wanted.RegionalAddress, _now + _options.Anchor!.AccessWait);
                break;
            case ChildSaUp up:
                OnChild(up);
                break;
            case ChildSaDown down:
                OnChildDown(down.ChildSa);
                break;
            case MoveAssociation move when _children.TryGetValue(move.Number, out var session):
                Move(session, move.CareOfAddress);
                Tell(_ike, new MoveIkeEnd(session.IkeSa, null, move.CareOfAddress));
                break;
            case SendIpv6Packet { Under: { } association } packet:
                SendProtected(packet, association);
                break;
            case SendDatagram datagram when datagram.Source.Port == _options.KeyExchange.Port || datagram.Source.Port == _options.KeyExchange.NatTraversalPort:
                _out.Emit(VirtualAddress.Send(datagram));
                break;
            case SendDatagram { Source.Port: Dhcpv6Limits.ClientPort } request when _relay is not null:
                Tell(_relay, new DatagramReceived(new IPEndPoint(_options.Address, Dhcpv6Limits.ClientPort), request.Destination, request.Payload, _options.HomeInterface));
                break;
            case SendDatagram { Source.Port: Dhcpv6Limits.ServerPort, Destination.Port: Dhcpv6Limits.ClientPort } answer:
                Tell(_router, new DatagramReceived(answer.Source, answer.Destination, answer.Payload, _options.HomeInterface));
                break;
            case IkeSaUp or IkeSaMoved or IkeSaDown or ChildSaMoved or ChildSaRefused or LeaseUnavailable or PrefixLost or MoveAssociation or AttractHomeAddress or ReleaseHomeAddress:
                // Nothing hangs on it, or somebody else looks after it; regional addresses are routed here.
                break;
            default:
                _out.Emit(effect);
                break;
        }
    }

    /// <summary>142a went well: the delegating router is told whose the IAID is, then asked (row TA2.143, spec G6).</summary>
    private void OnProved(ConfigurePeer configure)
    {
        if (!_sessions.TryGetValue(configure.IkeSa, out var session))
        {
            Tell(_ike, new PeerConfigured(configure.Request, null, "the session is gone"));
            return;
        }

        session.Question = configure.Request;
        session.Stage = AccessStage.WaitsForPrefix;
        session.Until = _now + _options.PrefixWait;
        session.Iaid = IaidOf(session.Identifier);
        var number = ++_numbers;
        _registering[number] = session;
        _out.Emit(new RegisterIdentity(number, _router.Duid, session.Iaid, session.Identifier));
    }

    /// <summary>One IAID per terminal, the same for ever (RFC 8415 12).</summary>
    private uint IaidOf(string identifier)
    {
        if (!_iaids.TryGetValue(identifier, out var iaid))
        {
            iaid = _iaids.Count == 0 ? 1 : _iaids.Values.Max() + 1;
            _iaids[identifier] = iaid;
            _out.Emit(new SaveState(new StateKey(IaidTable, identifier), BitConverter.GetBytes(iaid)));
        }

        return iaid;
    }

    private void OnRegistered(Session session, bool taken)
    {
        if (session.Stage != AccessStage.WaitsForPrefix || !_sessions.ContainsValue(session))
        {
            return;
        }

        if (!taken)
        {
            Refuse(session, "the delegating router does not take the identity");
            return;
        }

        if (_router.Associations.FirstOrDefault(a => a.Key == new ClientAssociationKey(LeaseKind.Prefix, session.Iaid)) is { Leases: [var lease, ..] } && lease.ValidUntil > _now)
        {
            Grant(session, lease.Prefix, lease.ValidUntil);
            return;
        }

        Tell(_router, new AcquirePrefix(session.Iaid, _options.PrefixLength));
    }

    private void OnPrefix(PrefixDelegated delegated)
    {
        foreach (var session in _sessions.Values.Where(s => s.Stage == AccessStage.WaitsForPrefix && s.Iaid == delegated.Iaid).ToList())
        {
            Grant(session, delegated.Prefix, delegated.ValidUntil);
        }
    }

    /// <summary>Row TA2.150: the prefix goes to the terminal in the last answer.</summary>
    private void Grant(Session session, IPNetwork prefix, DateTimeOffset validUntil)
    {
        (session.Stage, session.Prefix) = (AccessStage.Configured, prefix);
        var lifetime = (uint)Math.Clamp((validUntil - _now).TotalSeconds, 0, uint.MaxValue);
        Tell(_ike, new PeerConfigured(session.Question, [new Mip6HomePrefix(prefix, lifetime).ToAttribute()]));
    }

    /// <summary>Row TA3.150a: with the association the terminal's packets may pass and its local binding stands.</summary>
    private void Open(Session session)
    {
        session.Stage = AccessStage.Granted;
        Permit(session.Address);
        session.Until = _now + (session.Lifetime ?? _options.AccessLifetime);
        _out.Count("access.gateway.granted");
        _out.Emit(new Report(new EngineEvent("access.opened", EventSeverity.Information, $"{session.Identifier} at {session.Address} may reach the home network; its prefix is {session.Prefix}") { Nai = session.Identifier, CareOfAddress = session.Address, Rule = "TA2.150" }));
        if (session.RegionalAddress is { } regional)
        {
            ForgetTriggers(trigger => trigger.Regional.Equals(regional));
            Tell(_anchor, new AccessDecided(regional, true, session.Identifier, session.Until.Value));
        }
    }

    /// <summary>Rows TA2.150x, TA3.150x: authenticated, and yet no prefix.</summary>
    private void Refuse(Session session, string reason)
    {
        _sessions.Remove(session.IkeSa);
        ReleaseIfUnused(session);
        _out.Count("access.gateway.refused");
        _out.Emit(new Report(new EngineEvent("access.refused", EventSeverity.Warning, $"{session.Identifier} at {session.Address} is refused: {reason}") { Nai = session.Identifier, CareOfAddress = session.Address, Rule = "TA2.150x" }));
        Tell(_ike, new PeerConfigured(session.Question, null, reason));
        RefuseBinding(session);
    }

    private void RefuseBinding(Session session)
    {
        if (session.RegionalAddress is { } regional)
        {
            ForgetTriggers(trigger => trigger.Regional.Equals(regional));
            Tell(_anchor, new AccessDecided(regional, false, "", _now));
        }
    }

    private void ForgetTriggers(Predicate<(IPAddress Regional, DateTimeOffset Until)> which)
    {
        foreach (var onLink in _triggers.Where(t => which(t.Value)).Select(t => t.Key).ToList())
        {
            _triggers.Remove(onLink);
        }
    }

    private void End(Session session, string reason)
    {
        if (!_sessions.Remove(session.IkeSa))
        {
            return;
        }

        if (session.Conversation is { } conversation)
        {
            _eap.Abandon(conversation);
        }

        if (session.Stage == AccessStage.Granted)
        {
            Forbid(session.Address);
            _out.Emit(new Report(new EngineEvent("access.closed", EventSeverity.Information, $"{session.Identifier} at {session.Address} may no longer reach the home network: {reason}") { Nai = session.Identifier, CareOfAddress = session.Address, Rule = "TA-I5" }));
        }

        ReleaseIfUnused(session);
        if (session.RegionalAddress is not null && !_sessions.Values.Any(s => s.Identifier == session.Identifier))
        {
            Tell(_anchor, new WithdrawAccess(session.Identifier));
        }
    }

    /// <summary>A terminal that has begun anew keeps its prefix.</summary>
    private void ReleaseIfUnused(Session session)
    {
        if (session.Iaid != 0 && !_sessions.Values.Any(s => s.Iaid == session.Iaid))
        {
            Tell(_router, new ReleaseLease(LeaseKind.Prefix, session.Iaid));
        }
    }

    private void OnDeadline()
    {
        foreach (var outcome in _radius.Advance(_now, _out))
        {
            OnRadius(outcome);
        }

        if (_returnUntil <= _now)
        {
            _returnUntil = null;
            foreach (var lease in _router.Associations.Where(a => _sessions.Values.All(s => s.Iaid != a.Key.Iaid)).ToList())
            {
                Tell(_router, new ReleaseLease(LeaseKind.Prefix, lease.Key.Iaid));
            }
        }

        foreach (var session in _sessions.Values.Where(s => s.Until <= _now).ToList())
        {
            if (session.Stage == AccessStage.Authenticating)
            {
                End(session, "the terminal went away");
                RefuseBinding(session);
            }
            else if (session.Stage is AccessStage.WaitsForPrefix or AccessStage.Configured)
            {
                Refuse(session, "the delegating router does not answer");
            }
            else
            {
                Tell(_ike, new CloseIke(session.IkeSa));
                End(session, "its time is over");
            }
        }

        foreach (IEngine? part in new IEngine?[] { _ike, _router, _anchor })
        {
            if (part?.NextDeadline <= _now)
            {
                Tell(part, new DeadlineReached());
            }
        }
    }

    private void Restore(EngineStarted started)
    {
        foreach (var saved in started.State.Where(s => s.Key.Table == IaidTable && s.Value.Length == sizeof(uint)))
        {
            _iaids[saved.Key.Key] = BitConverter.ToUInt32(saved.Value.Span);
        }
    }
}
