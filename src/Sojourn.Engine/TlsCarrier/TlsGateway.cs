// Readings:
// - A terminal has one session. A new one takes the place of the former, which may be that of an address it has left (A-33).
// - A resumed session counts like a new one: its certificate comes with the ticket, and is looked at again.
using System.Net;

namespace Sojourn.Engine.TlsCarrier;

/// <summary>
/// Whose TLS sessions a gateway before an inner network takes (spec terminal TM-P24, R107): those of listed terminals, one for each,
/// until their certificates run out. It knows nothing of packets; see <see cref="CarrierTable{TSession}"/>.
/// </summary>
public sealed class TlsGateway : IEngine
{
    private readonly Dictionary<string, TlsSessionState> _sessions = [];
    private readonly Dictionary<long, string> _names = [];
    private IReadOnlyDictionary<string, CarriedTerminal> _terminals;

    public TlsGateway(IEnumerable<CarriedTerminal> terminals) => _terminals = ByName(terminals);

    public IEnumerable<TlsSessionState> Sessions => _sessions.Values;

    public DateTimeOffset? NextDeadline => _sessions.Count == 0 ? null : _sessions.Values.Min(s => s.Ends);

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case TlsSessionOpened opened:
                Open(opened, now, effects);
                break;
            case ConnectionClosed closed when _names.GetValueOrDefault(closed.Connection) is { } name:
                Forget(_sessions[name], closed.Reason, effects);
                break;
            case EndTlsSession end:
                EndAll(session => end.Name is null || end.Name == session.Terminal.Name, "ended by an operator", effects);
                break;
            case DeadlineReached:
                EndAll(session => session.Ends <= now, "the certificate has run out", effects);
                break;
            case EngineStopping:
                EndAll(_ => true, "the gateway stops", effects);
                break;
        }
    }

    /// <summary>Takes over another list; who is not in it any more, or with other addresses, loses the session.</summary>
    public void Replace(IEnumerable<CarriedTerminal> terminals, EffectSink effects)
    {
        _terminals = ByName(terminals);
        EndAll(
            session => !(_terminals.TryGetValue(session.Terminal.Name, out var listed) && listed.Prefixes.SequenceEqual(session.Terminal.Prefixes)),
            "the list of terminals has changed", effects);
    }

    private static Dictionary<string, CarriedTerminal> ByName(IEnumerable<CarriedTerminal> terminals) => terminals.ToDictionary(t => t.Name, StringComparer.OrdinalIgnoreCase);

    private void Open(TlsSessionOpened opened, DateTimeOffset now, EffectSink effects)
    {
        var terminal = opened.Names.Select(_terminals.GetValueOrDefault).FirstOrDefault(t => t is not null);
        var objection = terminal is null ? $"no terminal is called {(opened.Names.Count == 0 ? "nothing" : string.Join(" or ", opened.Names))}"
            : opened.CertificateEnds <= now ? "its certificate has run out" : null;
        if (objection is not null)
        {
            effects.Count("tls.session.refused");
            effects.Emit(new Report(new EngineEvent("tls.session.refused", EventSeverity.Warning, $"a session from {opened.Remote.Address} is not taken: {objection}")
            {
                Peer = opened.Remote.ToString(),
                Nai = opened.Names.Count > 0 ? opened.Names[0] : null,
                Rule = "TM-R107",
            }));
            effects.Emit(new CloseConnection(opened.Connection));
            return;
        }

        if (_sessions.GetValueOrDefault(terminal!.Name) is { } former)
        {
            Forget(former, "another session of the same terminal takes its place", effects);
        }

        _sessions[terminal.Name] = new TlsSessionState(opened.Connection, terminal, opened.Remote, now, opened.CertificateEnds);
        _names[opened.Connection] = terminal.Name;
        effects.Count("tls.session.up");
        effects.Emit(new CarryPackets(opened.Connection, terminal));
        Say("tls.session.up", $"packets of {string.Join(", ", terminal.Prefixes)} go through the session with {opened.Remote.Address}", _sessions[terminal.Name], effects);
    }

    private void EndAll(Func<TlsSessionState, bool> which, string reason, EffectSink effects)
    {
        foreach (var session in _sessions.Values.Where(which).ToList())
        {
            Forget(session, reason, effects);
        }
    }

    private void Forget(TlsSessionState session, string reason, EffectSink effects)
    {
        _sessions.Remove(session.Terminal.Name);
        _names.Remove(session.Connection);
        effects.Emit(new CloseConnection(session.Connection));
        effects.Count("tls.session.down");
        Say("tls.session.down", $"the session with {session.Remote.Address} is over: {reason}", session, effects);
    }

    private static void Say(string kind, string text, TlsSessionState session, EffectSink effects) => effects.Emit(new Report(new EngineEvent(kind, EventSeverity.Information, text)
    {
        Nai = session.Terminal.Name,
        Peer = session.Remote.ToString(),
        HomeAddress = session.Terminal.Prefixes[0].BaseAddress,
        Rule = "TM-R107",
    }));
}
