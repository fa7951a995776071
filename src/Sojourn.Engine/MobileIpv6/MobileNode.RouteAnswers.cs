using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>What correspondents answer to binding updates (RFC 6275 11.7.3), and their binding errors (11.3.6).</summary>
public sealed partial class MobileNode
{
    private AnswerVerdict JudgeRoute(Route route, MobileIpv6Packet packet, BindingAcknowledgement acknowledgement)
    {
        if (route.Registration is not { } entry || !packet.EffectiveDestination.Equals(entry.HomeAddress))
        {
            return AnswerVerdict.NoEntry;
        }

        if (entry is not { State: BindingUpdateState.Temporary, RetransmitAt: not null })
        {
            return AnswerVerdict.NotAskedFor;
        }

        if (!IsForgotten(acknowledgement.Status) && !ReturnRoutability.IsAuthorized(acknowledgement, packet.Payload.Span, route.Key!.Octets, entry.CareOfAddress, route.Peer))
        {
            return AnswerVerdict.NotAskedFor;
        }

        return acknowledgement.Status == BindingStatus.SequenceNumberOutOfWindow ? AnswerVerdict.Good
            : acknowledgement.SequenceNumber != entry.SequenceNumber ? AnswerVerdict.NotAskedFor
            : entry.Lifetime == 0 || (acknowledgement.Status.IsAccepted() && acknowledgement.Lifetime == 0) ? AnswerVerdict.TakesBack
            : AnswerVerdict.Good;
    }

    /// <summary>What this node would make of a binding error now. Nothing changes by asking.</summary>
    public AnswerVerdict Judge(MobileIpv6Packet packet, BindingError error, DateTimeOffset now) =>
        !_routes.TryGetValue(packet.Source, out var route) || packet.HomeAddress is not null || (error.Status == BindingErrorStatus.UnknownBinding && !error.HomeAddress.Equals(_home?.HomeAddress)) ? AnswerVerdict.NoEntry
        : now - route.Progress < s_progress ? AnswerVerdict.InProgress
        : AnswerVerdict.Good;

    /// <summary>The three that tell of forgotten nonces cannot be authorised; all others have to be (RFC 6275 9.5.4).</summary>
    private static bool IsForgotten(BindingStatus status) => status is BindingStatus.ExpiredHomeNonceIndex or BindingStatus.ExpiredCareOfNonceIndex or BindingStatus.ExpiredNonces;

    private void OnRouteAcknowledged(MobileIpv6Packet packet, BindingAcknowledgement acknowledgement, DateTimeOffset now, EffectSink effects)
    {
        if (!_routes.TryGetValue(packet.Source, out var route) || route.Registration is not { State: BindingUpdateState.Temporary, RetransmitAt: not null } entry || !packet.EffectiveDestination.Equals(entry.HomeAddress))
        {
            effects.Count("mip6.mn.ignored.wrong_selector");
            return;
        }

        var forgotten = IsForgotten(acknowledgement.Status);
        if (!forgotten && !ReturnRoutability.IsAuthorized(acknowledgement, packet.Payload.Span, route.Key!.Octets, entry.CareOfAddress, route.Peer))
        {
            effects.Count("mip6.mn.ignored.authenticator");
            return;
        }

        if (acknowledgement.Status == BindingStatus.SequenceNumberOutOfWindow)
        {
            route.Sequence = acknowledgement.SequenceNumber;
            Update(route, entry.Lifetime, entry.Timeout, now, effects);
            return;
        }

        if (acknowledgement.SequenceNumber != entry.SequenceNumber)
        {
            effects.Count("mip6.mn.ignored.sequence");
        }
        else if (entry.Lifetime == 0)
        {
            Forget(route);
        }
        else if (acknowledgement.Status.IsAccepted() && acknowledgement.Lifetime > 0)
        {
            var lifetime = Math.Min(entry.Lifetime, acknowledgement.Lifetime) * MobileIpv6Limits.LifetimeUnit;
            // Authorised, and so progress: an error about a packet sent before it may still be on its way.
            route.Progress = now;
            var (refresh, renewal) = (entry.SentAt + (lifetime * _options.RefreshAt), route.Home!.At + s_renewHomeToken);
            route.Registration = entry with { State = BindingUpdateState.Registered, Expires = entry.SentAt + lifetime, RefreshAt = refresh < renewal ? refresh : renewal, RetransmitAt = null, GrantedCareOfAddress = entry.CareOfAddress };
            route.InUse = true;
            effects.Count("mip6.mn.route_accepted");
            effects.Emit(new RouteOptimised(route.Peer, entry.HomeAddress, entry.CareOfAddress));
        }
        else if (forgotten)
        {
            route.Home = acknowledgement.Status == BindingStatus.ExpiredCareOfNonceIndex ? route.Home : null;
            route.CareOf = acknowledgement.Status == BindingStatus.ExpiredHomeNonceIndex ? route.CareOf : null;
            route.Registration = null;
            Test(route, now, effects, first: true);
        }
        else
        {
            effects.Count($"mip6.mn.route_refused.{(byte)acknowledgement.Status}");
            Stop(route, effects);
            _routes.Remove(route.Peer);
        }
    }

    private void OnBindingError(MobileIpv6Packet packet, BindingError error, DateTimeOffset now, EffectSink effects)
    {
        switch (Judge(packet, error, now))
        {
            case AnswerVerdict.NoEntry:
                effects.Count("mip6.mn.ignored.error");
                return;
            case AnswerVerdict.InProgress:
                effects.Count("mip6.mn.ignored.error_in_progress");
                return;
        }

        var route = _routes[packet.Source];
        effects.Count("mip6.mn.errors");
        Stop(route, effects);
        if (error.Status == BindingErrorStatus.UnknownBinding && route.Registration is not null)
        {
            // It knew us once; ask again from the beginning.
            (route.Registration, route.Home, route.CareOf) = (null, null, null);
            Test(route, now, effects, first: true);
        }
        else
        {
            _routes.Remove(route.Peer);
        }
    }
}
