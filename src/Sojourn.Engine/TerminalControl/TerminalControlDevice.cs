// Readings:
// - Order at IKE_AUTH: certificate path and signature (the key exchange), identity and home address, revocation, then query Q2 (G19). Q2 is
//   asked of every home address within the prefixes routed here; one outside them is refused without asking (G26).
// - A terminal without a certificate, without exactly one address of its own, or whose identity is neither a name of its
//   certificate nor its home address is refused (spec 7.1).
// - The allocation is asked for again at least every 60 s and shortly before it would end, so that a lost withdrawal is bounded
//   and a renewed lease lengthens bindings (spec 7.9, L2). An answer "no" ends associations and binding; no answer ends nothing
//   before the lifetime that is known (L5).
// - A terminal whose binding has ended keeps its association for as long as a delayed update is remembered; then the key exchange
//   is closed (TA-M13).
using System.Net;
using Sojourn.Engine.DynamicDns;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Revocation;

namespace Sojourn.Engine.TerminalControl;

/// <summary>
/// The home agent side of terminal authentication (spec authentication P6 to P8, "terminal control device"): key exchange, IPsec
/// for signalling, home agent, and the question whose a home prefix is, joined on whole IPv6 packets. Nobody gets an association
/// without an allocated prefix (invariant I2), nobody a binding without that association (I3).
///
/// Inputs: <see cref="Ipv6PacketReceived"/> for what <see cref="HomeTunnel"/> does not carry by itself,
/// <see cref="AllocationAnswered"/>, <see cref="RevocationAnswered"/>, <see cref="AllocationWithdrawn"/>, and the home agent's commands. Effects:
/// <see cref="SendIpv6Packet"/> with complete packets, <see cref="AskAllocation"/>, <see cref="AskRevocation"/>, <see cref="ChangePaths"/> of tunnels, state,
/// with a home link <see cref="AttractHomeAddress"/> and <see cref="ReleaseHomeAddress"/>, and with key export <see cref="ChildSaUp"/> and <see cref="IkeKeysDerived"/>.
/// </summary>
public sealed partial class TerminalControlDevice : IEngine, IDisposable
{
    private readonly TerminalControlOptions _options;
    private readonly IkeEngine _ike;
    private readonly HomeAgent _homeAgent;
    private readonly TransportEsp _esp;
    private readonly TransportAh _ah;
    private readonly NameRegistrar? _names;
    private readonly Dictionary<IPAddress, Terminal> _terminals = [];
    private readonly Dictionary<long, TerminalSession> _byIkeSa = [];
    private readonly Dictionary<long, TerminalSession> _byAssociation = [];
    private readonly PriorityQueue<Terminal, DateTimeOffset> _wakes = new();
    private long _lastAssociation;
    private DateTimeOffset _now;
    private EffectSink _effects = new();

    /// <exception cref="ArgumentException">The options cannot work.</exception>
    public TerminalControlDevice(TerminalControlOptions options, IRandomSource random, IKeyExchangeProvider? keyExchanges = null)
    {
        options.Validate();
        _options = options;
        var ike = options.Ike();
        _peers = [.. ike.Peers];
        _ike = new IkeEngine(ike with { Peers = _peers }, random, keyExchanges);
        _homeAgent = new HomeAgent(options.HomeAgent(), random);
        _esp = new TransportEsp(random);
        _ah = new TransportAh(options.AuthenticationHeaders);
        _names = options.NameService is { } names ? new NameRegistrar(names, random) : null;
    }

    /// <summary>Registrations in force.</summary>
    public IEnumerable<BindingCacheEntry> Bindings => _homeAgent.Bindings;

    /// <summary>Terminals with a key exchange, one row for each.</summary>
    public IEnumerable<TerminalView> Terminals => _byAssociation.Values.Select(s => new TerminalView(
        s.Terminal.HomeAddress, s.Terminal.Identifier, s.Identity, s.Terminal.Prefix, s.Terminal.ValidUntil, s.CertificateEnds, s.Remote, s.IkeSa, s.Association, s.Established));

    /// <summary>How many rows <see cref="Terminals"/> has, and <see cref="Bindings"/>.</summary>
    public (int Terminals, int Bindings) Counts => (_byAssociation.Count, _homeAgent.Bindings.Count());

    /// <summary>Certificates by home address in embodiment 4; null where a delegating router is asked.</summary>
    public TerminalCertificates? Certificates => _homeAgent.Certificates;

    /// <summary>Names that home addresses have in the name service, or are to have.</summary>
    public IEnumerable<RegisteredName> Names => _homeAgent.Names;

    /// <summary>For whoever receives the packets of the key exchange.</summary>
    public CookieGate Cookies => _ike.Cookies;

    public IEnumerable<IkeSaView> IkeSas => _ike.IkeSas;

    /// <summary>Signalling associations in use.</summary>
    public IEnumerable<ChildSa> Associations => _esp.Children;

    public DateTimeOffset? NextDeadline => Earliest(Earliest(_ike.NextDeadline, _homeAgent.NextDeadline), Earliest(_wakes.TryPeek(out _, out var wake) ? wake : null, Earliest(Earliest(NextTimeout, NextStatusTimeout), _names?.NextDeadline)));

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        (_now, _effects) = (now, effects);
        switch (input)
        {
            case Ipv6PacketReceived packet:
                OnPacket(packet);
                break;
            case AllocationAnswered answered:
                OnAnswer(answered);
                break;
            case RevocationAnswered answered:
                OnStatusAnswered(answered);
                break;
            case CredentialObtained obtained:
                OnCredential(obtained);
                break;
            case AllocationWithdrawn withdrawn:
                OnWithdrawn(withdrawn);
                break;
            case DeadlineReached:
                OnDeadline();
                break;
            case SetHomePrefixes:
                Tell(_homeAgent, input);
                foreach (var terminal in _terminals.Values.ToList())
                {
                    CheckAllocation(terminal);
                }

                break;
            case EngineStarted { State: var state }:
                if (_options.Revocation == RevocationPolicy.AllowUnknown)
                {
                    Report("revocation.not_required", EventSeverity.Warning, null, "terminals are let in when nobody can say whether their certificates are revoked", "TA-N16");
                }

                RestoreInsistence(state);
                TellAll(input);
                DropVainInsistence();
                break;
            default:
                TellAll(input);
                break;
        }

        while (_closing.TryDequeue(out var child))
        {
            Tell(_ike, new CloseChild(child));
        }
    }

    private void TellAll(EngineInput input)
    {
        Tell(_ike, input);
        Tell(_homeAgent, input);
        if (_names is not null)
        {
            Tell(_names, input);
        }
    }

    public void Dispose()
    {
        _esp.Dispose();
        _ah.Dispose();
    }

    private static DateTimeOffset? Earliest(DateTimeOffset? one, DateTimeOffset? other) => one is null || other < one ? other : one;

    /// <summary>Gives one of the parts an input and carries out between the parts what it asks for.</summary>
    private void Tell(IEngine part, EngineInput input)
    {
        var sink = new EffectSink();
        part.Handle(input, _now, sink);
        foreach (var effect in sink.Effects)
        {
            Carry(effect);
        }
    }

    private void Carry(Effect effect)
    {
        switch (effect)
        {
            case SendDatagram datagram:
                SendUdp(datagram);
                break;
            case SendIpv6Packet { Under: { } association } packet:
                SendProtected(packet, association);
                break;
            case AuthorizePeer question:
                OnAuthorize(question);
                break;
            case IkeSaUp up:
                OnIkeSaUp(up);
                break;
            case IkeSaMoved moved:
                if (_byIkeSa.TryGetValue(moved.Sa.Id, out var session))
                {
                    session.Remote = moved.Sa.Remote;
                }

                break;
            case IkeSaDown down:
                OnIkeSaDown(down);
                break;
            case ChildSaUp up:
                OnChildSaUp(up);
                break;
            case ChildSaDown down:
                OnChildSaDown(down);
                break;
            case MoveAssociation move when _byAssociation.TryGetValue(move.Number, out var moving):
                Tell(_ike, new MoveIkeEnd(moving.IkeSa, null, move.CareOfAddress));
                break;
            case DiscardKeyManagement discard:
                OnDiscardKeyManagement(discard);
                break;
            case ChangePaths change:
                OnHomePaths(change);
                break;
            case ReleaseHomeAddress released:
                OnReleased(released.Address);
                if (_options.HomeLink is not null)
                {
                    _effects.Emit(effect);
                }

                break;
            case AttractHomeAddress when _options.HomeLink is not null:
                _effects.Emit(effect);
                break;
            case RequestName request when _names is not null:
                Tell(_names, new RegisterName(request.Identifier, request.HomeAddress));
                break;
            case ReleaseName release when _names is not null:
                Tell(_names, new RemoveName(release.Identifier, release.HomeAddress));
                break;
            case NameSettled settled:
                Tell(_homeAgent, new NameAnswered(settled.HomeAddress, settled.Removed, settled.Status));
                break;
            case AttractHomeAddress or ChildSaMoved or ChildSaRefused or MoveAssociation:
                // Without a home link home prefixes are routed here; child SAs in transport mode lie between addresses that do not change, those in
                // tunnel mode go to where the binding says.
                break;
            default:
                _effects.Emit(effect);
                break;
        }
    }

    private void OnIkeSaUp(IkeSaUp up)
    {
        if (up.Replaces is { } former && _byIkeSa.Remove(former, out var session))
        {
            session.IkeSa = up.Sa.Id;
            session.Remote = up.Sa.Remote;
            _byIkeSa.Add(up.Sa.Id, session);
            return;
        }

        if (up.Replaces is null && _admitted is { } admitted)
        {
            _admitted = null;
            Admit(up.Sa, admitted);
            return;
        }

        // Nobody has authorised it; it cannot have come about by the rules.
        Tell(_ike, new CloseIke(up.Sa.Id));
    }

    private void OnIkeSaDown(IkeSaDown down)
    {
        if (_byIkeSa.TryGetValue(down.IkeSa, out var session))
        {
            Forget(session, endBinding: false);
        }
    }

    private void OnChildSaUp(ChildSaUp up)
    {
        var child = up.Sa;
        var session = _byIkeSa.GetValueOrDefault(child.IkeSa);
        if (child.Mode == ChildMode.Tunnel)
        {
            OnTunnelChildUp(up, session);
            return;
        }

        if (session is null || !child.RemoteSelectors.All(s => s.StartAddress.Equals(session.Terminal.HomeAddress)) || !_esp.Install(child, session.Association))
        {
            Report("association.refused", EventSeverity.Warning, session?.Terminal, child.Udp is null
                ? $"an association for {child.RemoteSelectors[0]} is not the terminal's own"
                : "there is an address translator on the way, through which Mobile IPv6 signalling cannot go in transport mode", "TA-M15");
            _closing.Enqueue(child.Id);
            return;
        }

        if (_options.KeyExchange.ExportKeys)
        {
            _effects.Emit(up);
        }

        _effects.Count("ha6.associations.established");
        if (!session.Established)
        {
            session.Established = true;
            Report("association.established", EventSeverity.Information, session.Terminal, $"{session.Terminal.Identifier} may sign on as {session.Terminal.HomeAddress}", "TA1.132a");
            TellHomeAgent(session);
        }
    }

    private void OnChildSaDown(ChildSaDown down)
    {
        if (OnTunnelChildDown(down.ChildSa))
        {
            return;
        }

        if (_esp.Remove(down.ChildSa) is { } association && !_esp.Has(association) && _byAssociation.TryGetValue(association, out var session) && session.Established)
        {
            session.Established = false;
            Tell(_homeAgent, new AssociationEnded(association, EndBinding: false));
        }
    }

    /// <summary>Tells the home agent of an association, or of a prefix that lasts longer or shorter now.</summary>
    private void TellHomeAgent(TerminalSession session)
    {
        var terminal = session.Terminal;
        Tell(_homeAgent, new AssociationEstablished(new SignallingAssociation(session.Association, terminal.HomeAddress, session.Remote.Address, terminal.Identifier, Moves: true) { Prefix = Certificates is null ? terminal.HomePrefix : null }));
    }

    /// <summary>Without K in a binding update that brought a new place, the connections to the old one are of no use (RFC 6275 10.3.1).</summary>
    private void OnDiscardKeyManagement(DiscardKeyManagement discard)
    {
        if (!_terminals.TryGetValue(discard.HomeAddress, out var terminal))
        {
            return;
        }

        foreach (var session in terminal.Sessions.Where(s => s.Remote.Address.Equals(discard.CareOfAddress)).ToList())
        {
            Tell(_ike, new CloseIke(session.IkeSa));
        }
    }

    private void OnReleased(IPAddress home)
    {
        if (_terminals.TryGetValue(home, out var terminal))
        {
            terminal.CloseAt = _now + HomeAgent.DeletedEntryTime;
            Schedule(terminal);
        }
    }

    /// <summary>Takes a session out. The key exchange is ended by whoever calls.</summary>
    private void Forget(TerminalSession session, bool endBinding)
    {
        _byIkeSa.Remove(session.IkeSa);
        _byAssociation.Remove(session.Association);
        _esp.RemoveAll(session.Association);
        ForgetTunnelChildren(session.Association);
        var terminal = session.Terminal;
        terminal.Sessions.Remove(session);
        if (terminal.Sessions.Count == 0 && _terminals.GetValueOrDefault(terminal.HomeAddress) == terminal)
        {
            _terminals.Remove(terminal.HomeAddress);
        }

        if (session.Established || endBinding)
        {
            Tell(_homeAgent, new AssociationEnded(session.Association, endBinding));
        }
    }

    /// <summary>Wakes a terminal when something of it is due, and now and then without need: entries that lie far ahead would pile up.</summary>
    private void Schedule(Terminal terminal)
    {
        var latest = _now + _options.AllocationPolling;
        var at = terminal.Wake < latest ? terminal.Wake : latest;
        if (terminal.ScheduledAt is null || at < terminal.ScheduledAt)
        {
            terminal.ScheduledAt = at;
            _wakes.Enqueue(terminal, at);
        }
    }

    private void OnDeadline()
    {
        if (_ike.NextDeadline <= _now)
        {
            Tell(_ike, new DeadlineReached());
        }

        if (_homeAgent.NextDeadline <= _now)
        {
            Tell(_homeAgent, new DeadlineReached());
        }

        if (_names?.NextDeadline <= _now)
        {
            Tell(_names, new DeadlineReached());
        }

        ExpireQuestions();
        ExpireStatusQuestions();
        while (_wakes.TryPeek(out var terminal, out var at) && at <= _now)
        {
            _wakes.Dequeue();
            if (terminal.ScheduledAt != at || _terminals.GetValueOrDefault(terminal.HomeAddress) != terminal)
            {
                continue;
            }

            terminal.ScheduledAt = null;
            OnWake(terminal);
            if (_terminals.GetValueOrDefault(terminal.HomeAddress) == terminal)
            {
                Schedule(terminal);
            }
        }
    }

    private void OnWake(Terminal terminal)
    {
        if (terminal.ValidUntil <= _now)
        {
            Withdraw(terminal, "the home prefix has come to the end of its lifetime", "TA-L4");
            return;
        }

        foreach (var session in terminal.Sessions.Where(s => s.CertificateEnds <= _now).ToList())
        {
            Report("association.withdrawn", EventSeverity.Information, terminal, $"the certificate of {terminal.Identifier} has come to its end", "TA-L3");
            End(session, endBinding: true);
        }

        if (terminal.CloseAt <= _now)
        {
            terminal.CloseAt = null;
            if (!Bound(terminal.HomeAddress))
            {
                foreach (var session in terminal.Sessions.ToList())
                {
                    End(session, endBinding: false);
                }
            }
        }

        if (terminal.Sessions.Count > 0 && terminal.NextCheck <= _now && !terminal.Asking)
        {
            CheckAllocation(terminal);
        }
    }

    private bool Bound(IPAddress home) => _homeAgent.Find(home) is { Deleted: false };

    private void End(TerminalSession session, bool endBinding)
    {
        Forget(session, endBinding);
        Tell(_ike, new CloseIke(session.IkeSa));
    }

    private void Report(string kind, EventSeverity severity, Terminal? terminal, string text, string rule) =>
        _effects.Emit(new Report(new EngineEvent(kind, severity, text) { HomeAddress = terminal?.HomeAddress, Peer = terminal?.Identifier, Rule = rule }));
}
