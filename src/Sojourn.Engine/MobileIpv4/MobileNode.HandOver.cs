// Phases of a hand-over as the node's own clock has them: link (carrier lost to carrier back; none when a new agent is heard
// on a link that stands), detect (from there to the agent's advertisement), request (to the first Registration Request), register
// (to the reply that grants it, refusals in between included). The first packet is none of the node's business: its agents tell that.
using System.Net;

namespace Sojourn.Engine.MobileIpv4;

/// <summary>How long a hand-over takes, phase by phase.</summary>
public sealed partial class MobileNode
{
    private DateTimeOffset? _linkLost, _looking, _heard, _requested;

    private void LinkTimed(bool up, DateTimeOffset now)
    {
        if (up)
        {
            _looking ??= now;
        }
        else
        {
            (_linkLost, _looking, _heard, _requested) = (now, null, null, null);
        }
    }

    /// <summary>The node begins to want another agent.</summary>
    private void LookingTimed(DateTimeOffset now)
    {
        _looking ??= now;
        (_heard, _requested) = (null, null);
    }

    private void RequestTimed(KnownAgent agent, DateTimeOffset now)
    {
        _requested ??= now;
        _heard ??= agent.HeardAt > _looking ? agent.HeardAt : _looking;
    }

    private void GrantTimed(IPAddress agent, bool isRenewal, DateTimeOffset now, EffectSink effects)
    {
        EventPhase[] phases =
        [
            .. new[]
            {
                EventPhase.Between("link", _linkLost, _looking), EventPhase.Between("detect", _looking, _heard),
                EventPhase.Between("request", _heard, _requested), EventPhase.Between("register", _requested, now),
            }.OfType<EventPhase>(),
        ];
        (_linkLost, _looking, _heard, _requested) = (null, null, null, null);
        if (!isRenewal)
        {
            effects.Emit(new Report(new EngineEvent("handover.timed", EventSeverity.Information, $"at {agent}: {string.Join(", ", phases.AsEnumerable())}")
            {
                Nai = _options.Nai,
                HomeAddress = Registration?.HomeAddress,
                CareOfAddress = Registration?.CareOfAddress,
                Peer = agent.ToString(),
                Phases = phases,
            }));
        }
    }
}
