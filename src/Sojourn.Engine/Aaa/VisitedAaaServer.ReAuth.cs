using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Aaa;

/// <summary>Re-authorization asked for by the AAAH (RFC 6733 8.3): it goes to the foreign agent where the user is.</summary>
public sealed partial class VisitedAaaServer
{
    private void OnReauthorization(DiameterRequest request, DateTimeOffset now, EffectSink effects)
    {
        Count(effects, "rar.received");
        var message = request.Message;
        if (!message.Avps.TryGetText(AvpKeys.AcctMultiSessionId, out var mobility) || _cache.Find(mobility) is not { } session || !SameIdentity(message.OriginHost, session.HomeServer))
        {
            Forward(request, now, effects);
            return;
        }

        // From now on the cache is out of date: a move is the AAAH's to answer too.
        session = session with { UpdateWanted = true };
        Put(session, effects);
        if (session.AccessSession == message.SessionId)
        {
            Forward(request, now, effects);
            return;
        }

        // The user has moved inside the domain without the AAAH's knowing (NV2.2); the session there is this server's.
        AskToReauthorize(session.AccessSession, (session.ForeignAgent, Options.Realm), session.Nai, session.Id, now, effects);
        Answer(request, AnswerTo(request, DiameterResult.Success).Build(), now, effects);
    }
}
