// Phases of a hand-over at the foreign agent: aaa (request to the AAA servers' answer), home agent (to its reply, where the request
// goes there by itself), old agent (to its acknowledgement, or the end of the wait for it); path set-up runs from when the
// paths can receive to the first authentic packet by them, which may come before the reply: the home agent switches first.
using System.Net;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>How long a hand-over takes here, phase by phase.</summary>
public sealed partial class ForeignAgent
{
    /// <summary>Visitors whose first packet has not come: since when their paths can receive.</summary>
    private readonly Dictionary<IPAddress, DateTimeOffset> _pathsSince = [];

    private void ReplyTimed(PendingRegistration pending, Visitor visitor, DateTimeOffset now, EffectSink effects)
    {
        var home = pending.HomeAnswered ?? pending.AaaAnswered;
        EventPhase[] phases =
        [
            .. new[]
            {
                EventPhase.Between("aaa", pending.Began, pending.AaaAnswered), EventPhase.Between("home agent", pending.AaaAnswered, pending.HomeAnswered),
                pending.PreviousAgent is null ? null : EventPhase.Between("old agent", home, now),
            }.OfType<EventPhase>(),
        ];
        effects.Emit(new Report(Event(
            "handover.timed", EventSeverity.Information,
            FormattableString.Invariant($"registered in {(now - pending.Began).TotalMilliseconds:F1} ms: {string.Join(", ", phases.AsEnumerable())}"), visitor.Session, visitor.Nai, visitor.HomeAddress, null) with
        { Phases = phases }));
    }

    private void FirstPacketTimed(VpnPath path, DateTimeOffset now, EffectSink effects)
    {
        if (path.Origin.HomeAddress is not { } home || VpnControl.IsLingering(path.Id) || Vpn.Find(path.Id.Owner) is not { HandedOff: false } session || !_pathsSince.Remove(home, out var since))
        {
            return;
        }

        var phase = new EventPhase("path set-up", Math.Max(0, (now - since).TotalMilliseconds));
        effects.Emit(new Report(Event("handover.first_packet", EventSeverity.Information, $"first packet from {path.RemoteGateway}: {phase}", session.Session, session.Nai, home, null) with
        { Peer = path.RemoteGateway.ToString(), Phases = [phase] }));
    }
}
