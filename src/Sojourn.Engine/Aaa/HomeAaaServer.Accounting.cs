// Readings taken
// - A record is refused for who sends it and for whose user it is not, never because the session or the subscriber is gone by
//   now: records arrive late after an outage, and what was carried was carried. Whether this server knew the mobility session
//   is stored with the record, so that a partner's invention shows.
using Sojourn.Engine.Accounting;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Aaa;

/// <summary>Accounting (RFC 6733 section 9): every record is stored once, then acknowledged.</summary>
public sealed partial class HomeAaaServer
{
    private readonly IUsageLedger? _usage;
    private readonly AccountingMessages _accounting;

    private void OnAccounting(DiameterRequest request, IUsageLedger ledger, DateTimeOffset now, EffectSink effects)
    {
        Count(effects, "acr.received");
        var origin = request.Message.OriginHost ?? "";
        var realm = request.Message.OriginRealm ?? "";
        if (!_accounting.TryRead(request.Message, now, out var record, out var refusal) || (refusal = CheckOrigin(record, realm)) is not null)
        {
            Count(effects, "acr.refused");
            effects.Emit(new Report(new EngineEvent("accounting.refused", EventSeverity.Warning, $"record of {origin} refused: {refusal.Text}")
            {
                Session = record?.MobilitySession,
                Nai = record?.Nai,
                Peer = request.Peer,
                Rule = refusal.Rule,
            }));
            Answer(request, AccountingAnswer(request, ResultCode(refusal.Kind)).Add(AvpKeys.ErrorMessage, refusal.Text).Build(), now, effects);
            return;
        }

        if (ledger.Holds(origin, record.Session, record.Number))
        {
            Count(effects, "acr.duplicate");
        }
        else
        {
            // A home agent begins to account before its HAA has arrived here.
            var known = _cache.Find(record.MobilitySession) is { } session
                ? session.Nai == record.Nai
                : _pending.Values.Any(p => p.Candidate.Id == record.MobilitySession && p.Candidate.Nai == record.Nai) || ledger.KnowsSession(origin, record.Session);
            if (!known)
            {
                Count(effects, "acr.unknown_session");
            }

            var place = _options.HomeAgents.Any(a => SameIdentity(a.Identity, origin)) ? UsageMeterPlace.HomeAgent : UsageMeterPlace.ForeignAgent;
            effects.Emit(new StoreUsage(new UsageRecord(record, origin, realm, place, known, now)));
            Count(effects, "acr.stored");
        }

        var answer = AccountingAnswer(request, DiameterResult.Success).Add(AvpKeys.AcctMultiSessionId, record.MobilitySession);
        if (_options.AccountingInterval > TimeSpan.Zero)
        {
            answer.Add(AvpKeys.AcctInterimInterval, (long)_options.AccountingInterval.TotalSeconds);
        }

        Answer(request, answer.Build(), now, effects);
    }

    /// <summary>Agents of this realm and of roaming partners, for users of this realm.</summary>
    private Refusal? CheckOrigin(AccountingRecord record, string realm) =>
        !SameIdentity(Nai.RealmOf(record.Nai), Options.Realm)
            ? Refusal.Authorization("RFC 6733 6.1.6", $"{record.Nai} is not a user of realm {Options.Realm}")
        : !SameIdentity(realm, Options.Realm) && !_directory.RoamingPartners.Contains(realm, StringComparer.OrdinalIgnoreCase)
            ? Refusal.Authorization("spec 2.1 roaming", $"realm {realm} has no roaming contract")
        : null;
}
