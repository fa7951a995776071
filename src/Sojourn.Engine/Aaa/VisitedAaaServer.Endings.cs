using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Aaa;

/// <summary>How sessions end: by a foreign agent (STR), by the AAAH (ASR), and when an AMA is of no use.</summary>
public sealed partial class VisitedAaaServer
{
    /// <summary>The AAAH and the home agent believe in a registration whose AMA is of no use here.</summary>
    private void EndAtHome(AccessRequest access, DiameterMessage answer, DateTimeOffset now, EffectSink effects)
    {
        var termination = Dictionary.Request(DiameterCommands.SessionTermination with { ApplicationId = DiameterApplications.MobileIpv4 })
            .Add(AvpKeys.SessionId, access.SessionId)
            .Add(AvpKeys.OriginHost, Options.Identity)
            .Add(AvpKeys.OriginRealm, Options.Realm)
            .Add(AvpKeys.DestinationRealm, answer.OriginRealm ?? Nai.RealmOf(access.Nai)!)
            .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.TerminationCause, (int)TerminationCause.BadAnswer)
            .Add(AvpKeys.UserName, access.Nai);
        if (answer.OriginHost is { } server)
        {
            termination.Add(AvpKeys.DestinationHost, server);
        }

        Send(termination.Build(), now, effects);
    }

    private void OnSessionTermination(DiameterRequest request, DateTimeOffset now, EffectSink effects)
    {
        Count(effects, "str.received");
        var id = request.Message.SessionId ?? "";
        var cause = request.Message.Avps.TryGetInteger32(AvpKeys.TerminationCause, out var value) ? (TerminationCause)value : TerminationCause.Logout;
        if (_cache.FindByAccessSession(id) is { } session)
        {
            if (!SameIdentity(request.Message.OriginHost, session.ForeignAgent))
            {
                Refuse(request, DiameterResult.UnknownSessionId, "the session is another foreign agent's", now, effects);
                return;
            }

            if (session.BeforeMove is { } before && cause == TerminationCause.BadAnswer)
            {
                // The AAAH never knew of this move.
                Put(before, effects);
                Count(effects, "move.withdrawn");
                Report(effects, "session.move_withdrawn", $"{session.Nai}: the move to {session.CareOfAddress} was refused", "NV9.7", before);
                Answer(request, AnswerTo(request, DiameterResult.Success).Build(), now, effects);
                return;
            }

            Drop(session, $"the foreign agent ended the session ({cause})", cause == TerminationCause.UserMoved ? "R29" : "NV9.8", effects);
        }
        else if (request.Message.Avps.TryGetText(AvpKeys.AcctMultiSessionId, out var mobility) && _cache.Find(mobility) is not null)
        {
            // A foreign agent the user has left for another one of this domain: nothing ends.
            Answer(request, AnswerTo(request, DiameterResult.Success).Build(), now, effects);
            return;
        }

        if (request.IsLocal)
        {
            Answer(request, AnswerTo(request, DiameterResult.UnknownSessionId).Build(), now, effects);
        }
        else
        {
            Forward(request, now, effects);
        }
    }

    /// <summary>
    /// The AAAH names the foreign agent it knows. Where the cache has answered for a move since, the user is at another one, which
    /// hears of the end from here; the ASR itself goes on to the agent it names, as that move may not have come about.
    /// </summary>
    private void AbortWhereMoved(DiameterMessage asr, DateTimeOffset now, EffectSink effects)
    {
        if (!asr.Avps.TryGetText(AvpKeys.AcctMultiSessionId, out var id) || _cache.Find(id) is not { UnseenMove: not null } session
            || session.AccessSession == asr.SessionId || !SameIdentity(asr.OriginHost, session.HomeServer))
        {
            return;
        }

        AskToAbort(session.AccessSession, (session.ForeignAgent, Options.Realm), session.Nai, session.Id, now, effects);
        Drop(session, "the home server ended the session", "NV9.8", effects);
    }
}
