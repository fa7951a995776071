// Readings taken
// - S116, NV-A8 "no DB search" means the VPN database. The subscriber row is read at every registration all the same:
//   without it nobody is authenticated, and a subscriber who was switched off must not go on.
// - One registration per user waits for its home agent at a time. A later one takes its place, and the earlier AMR is
//   told so: the home agent gets both requests in order and ends up with the later one as well.
// - A later registration must have a later Identification than the last one accepted (RFC 5944 5.7.1). The clock check
//   stays with the home agent, which alone can answer it with its own time.
// - User moved (Termination-Cause 7) ends the session at the old foreign agent only.
using System.Net;
using Sojourn.Engine.Accounting;
using Sojourn.Engine.Diameter;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Aaa;

/// <summary>
/// Home AAA server, AAAH (spec 2.2, 4.1): authenticates a registration, decides its paths, makes keys, hands profiles to the
/// home agent (HAR) and to the foreign agent (AMA), and keeps the VPN information cache. What the messages carry stands
/// in README.md beside this file. Takes the command <see cref="AbortMobilitySession"/>.
/// </summary>
public sealed partial class HomeAaaServer : AaaServer
{
    private const string SessionTable = "aaah.session";
    private const int SupersededSessionsKept = 8;

    private readonly HomeAaaOptions _options;
    private readonly ISubscriberDirectory _directory;
    private readonly KeyGenerator _keys;
    private readonly PathDecision _decision;
    private readonly HomeSessionCache _cache;
    private readonly Dictionary<long, PendingRegistration> _pending = [];
    private readonly Dictionary<(string Nai, IPAddress Home), long> _pendingByUser = [];
    private CorrespondentGatewayTable _table = CorrespondentGatewayTable.Empty;
    private long? _tableVersion;

    /// <param name="usage">Where accounting records end up; without it ACRs are refused.</param>
    public HomeAaaServer(HomeAaaOptions options, DiameterNodeOptions diameter, ISubscriberDirectory directory, IRandomSource random, IUsageLedger? usage = null)
        : base("aaah", diameter, options.KeyWrap, random)
    {
        if (options.HomeAgents.Count == 0)
        {
            throw new ArgumentException("a home AAA server needs a home agent", nameof(options));
        }

        _options = options;
        _directory = directory;
        _usage = usage;
        _accounting = new AccountingMessages(diameter.Dictionary);
        _keys = new KeyGenerator(options.SpiRange, random);
        _decision = new PathDecision(options.PathDecision, _keys);
        _cache = new HomeSessionCache(_keys);
        AnnounceChanges = options.AnnounceChanges;
    }

    /// <summary>Sessions in the VPN information cache.</summary>
    public int SessionCount => _cache.Count;

    /// <summary>The VPN information cache, by NAI. Call from the thread that runs the engine.</summary>
    public IReadOnlyList<VpnCacheInstance> Sessions => [.. _cache.All
        .OrderBy(s => s.Nai, StringComparer.Ordinal).ThenBy(s => s.Id, StringComparer.Ordinal)
        .Select(s => new VpnCacheInstance(
            s.Id, s.Nai, s.HomeAddress, s.HomeAgent.Address, s.CareOfAddress, s.AccessSession, s.Expires,
            s.Legs.Select(l => l.Profile.ProfileNumber).Distinct().Count(), [.. s.Legs.Select(l => VpnCacheProfile.Of(l.Profile))]))];

    /// <summary>The CN-GW address table as route decision uses it, longest prefix first.</summary>
    public IReadOnlyList<CorrespondentGatewayRow> CorrespondentGateways => Table.Rows;

    protected override DateTimeOffset? NextOwnDeadline => _nextLook is { } look && !(_cache.NextDeadline < look) ? look : _cache.NextDeadline;

    private CorrespondentGatewayTable Table
    {
        get
        {
            var version = _directory.Version;
            if (version != _tableVersion)
            {
                _table = new CorrespondentGatewayTable(_directory.CorrespondentGateways);
                _tableVersion = version;
            }

            return _table;
        }
    }

    protected override void OnInput(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case EngineStarted started:
                Restore(started.State, now, effects);
                break;
            case AbortMobilitySession abort:
                if (_cache.Find(abort.Session) is { } session)
                {
                    End(session, "an operator ended the session", "NV9.8", now, effects);
                    Abort(session, toAccess: true, toHomeAgent: true, now, effects);
                }

                break;
        }
    }

    protected override void OnDeadline(DateTimeOffset now, EffectSink effects)
    {
        Look(now, effects);
        foreach (var session in _cache.TakeExpired(now))
        {
            Forget(session, "the authorization has run out", "NV9.8", effects);
        }
    }

    protected override void OnRequest(DiameterRequest request, DateTimeOffset now, EffectSink effects)
    {
        if (!request.IsLocal)
        {
            Forward(request, now, effects);
            return;
        }

        switch (request.Message.CommandCode)
        {
            case var code when code == DiameterCommands.AaMobileNode.Code:
                OnAccessRequest(request, now, effects);
                break;
            case var code when code == DiameterCommands.SessionTermination.Code:
                OnSessionTermination(request, now, effects);
                break;
            case var code when code == DiameterCommands.Accounting.Code && _usage is not null:
                OnAccounting(request, _usage, now, effects);
                break;
            default:
                Refuse(request, DiameterResult.CommandUnsupported, "this server takes AMR, STR and, where it accounts, ACR", now, effects);
                break;
        }
    }

    private void OnAccessRequest(DiameterRequest request, DateTimeOffset now, EffectSink effects)
    {
        Count(effects, "amr.received");
        if (!AccessRequest.TryRead(request.Message, Keys, out var access, out var refusal))
        {
            Answer(request, Refused(request, null, null, refusal, effects), now, effects);
            return;
        }

        Subscriber? subscriber = null;
        PendingRegistration? pending = null;
        using var reading = _directory.ReadTogether();
        refusal = CheckOrigin(access) ?? Authenticate(access, out subscriber) ?? Prepare(request, access, subscriber!, now, effects, out pending);
        if (refusal is not null)
        {
            Answer(request, Refused(request, access, null, refusal, effects), now, effects);
            return;
        }

        SupersedePending(pending!, now, effects);
        var token = Send(HomeAgentRequest(pending!), now, effects);
        _pending.Add(token, pending!);
        _pendingByUser[pending!.User] = token;
        Count(effects, "har.sent");
    }

    /// <summary>Only the home realm and its roaming partners may ask (spec 2.1, roaming), and an AAAF only for its own realm.</summary>
    private Refusal? CheckOrigin(AccessRequest access)
    {
        if (!SameIdentity(Nai.RealmOf(access.Nai), Options.Realm))
        {
            return new Refusal(RefusalKind.RealmNotServed, "RFC 6733 6.1.6", $"{access.Nai} is not a user of realm {Options.Realm}");
        }

        if (!SameIdentity(access.OriginRealm, Options.Realm) && !_directory.RoamingPartners.Contains(access.OriginRealm, StringComparer.OrdinalIgnoreCase))
        {
            return Refusal.Authorization("spec 2.1 roaming", $"realm {access.OriginRealm} has no roaming contract");
        }

        return access.OriginatingForeignAaa is { } foreign && !SameIdentity(foreign.Realm, access.OriginRealm)
            ? Refusal.Authorization("RFC 4004 7.10", $"AAA server {foreign.Host} of realm {foreign.Realm} speaks for a foreign agent of realm {access.OriginRealm}")
            : null;
    }

    private Refusal? Authenticate(AccessRequest access, out Subscriber? subscriber)
    {
        subscriber = _directory.FindSubscriber(Nai.Normalise(access.Nai));
        if (subscriber is null)
        {
            return Refusal.Authorization("NV-A3", $"{access.Nai} is not listed");
        }

        if (!subscriber.Enabled)
        {
            return Refusal.Authorization("NV-A3", $"{access.Nai} is switched off");
        }

        if (_options.RequireChallenge && access.MnAaa.Challenge is null)
        {
            return Refusal.Authentication("RFC 4721 3.1", "the Registration Request answers no challenge");
        }

        if (access.MnAaa.Spi != subscriber.MnAaaSpi)
        {
            return Refusal.Authentication("RFC 4721 6", $"MN-AAA SPI {access.MnAaa.Spi} is not the subscriber's");
        }

        AuthenticationAlgorithm? algorithm = access.MnAaa.AuthenticatorLength switch
        {
            32 => AuthenticationAlgorithm.HmacSha256,
            20 => AuthenticationAlgorithm.HmacSha1,
            16 => AuthenticationAlgorithm.HmacMd5,
            _ => null,
        };
        if (algorithm is not { } chosen || !chosen.Allows(_options.LegacyAuthenticators))
        {
            return Refusal.Authentication("M6", $"an MN-AAA authenticator of {access.MnAaa.AuthenticatorLength} octets is not accepted");
        }

        return access.MnAaa.Verify(access.RegistrationOctets.Span, chosen, subscriber.MnAaaKey)
            ? null
            : Refusal.Authentication("RFC 4721 6", "the MN-AAA authenticator is wrong");
    }

    private void OnSessionTermination(DiameterRequest request, DateTimeOffset now, EffectSink effects)
    {
        Count(effects, "str.received");
        var avps = request.Message.Avps;
        var id = request.Message.SessionId ?? "";
        var cause = avps.TryGetInteger32(AvpKeys.TerminationCause, out var value) ? (TerminationCause)value : TerminationCause.Logout;
        var session = _cache.FindByDiameterSession(id);
        var fromHomeAgent = session is not null && session.HomeAgentSession == id;
        if (session is null && avps.TryGetText(AvpKeys.AcctMultiSessionId, out var mobility) && _cache.Find(mobility) is { } named)
        {
            // A foreign agent this server has not seen, because the AAAF answered for the move, or one the user left. One that gives up
            // a registration that only the AAAF had allowed ends nothing: somebody else serves the session, or will be asked to.
            var left = named.SupersededSessions.Contains(id) || !SameIdentity(request.Message.OriginRealm, named.AccessRealm)
                || cause == TerminationCause.BadAnswer;
            cause = left ? TerminationCause.UserMoved : cause;
            session = named;
        }

        if (session is null || !IsParty(request.Message, session, fromHomeAgent, cause))
        {
            Answer(request, TerminationAnswer(request, DiameterResult.UnknownSessionId), now, effects);
            return;
        }

        if (cause != TerminationCause.UserMoved)
        {
            End(session, $"{(fromHomeAgent ? "the home agent" : "the foreign agent")} ended the session ({cause})", "NV9.8", now, effects);
        }

        Answer(request, TerminationAnswer(request, DiameterResult.Success), now, effects);
        if (cause != TerminationCause.UserMoved)
        {
            Abort(session, toAccess: fromHomeAgent, toHomeAgent: !fromHomeAgent, now, effects);
        }
    }

    /// <summary>A session is ended only by those who serve it, not by whoever learnt its id.</summary>
    private static bool IsParty(DiameterMessage message, HomeSession session, bool fromHomeAgent, TerminationCause cause) =>
        fromHomeAgent ? SameIdentity(message.OriginHost, session.HomeAgent.Identity)
        : cause == TerminationCause.UserMoved || SameIdentity(message.OriginRealm, session.AccessRealm);

    private DiameterMessage TerminationAnswer(DiameterRequest request, uint result) => AnswerTo(request, result).Build();

    /// <summary>Takes a session out of the cache and drops a registration of it that is still under way.</summary>
    private void End(HomeSession session, string why, string rule, DateTimeOffset now, EffectSink effects)
    {
        _cache.Remove(session.Id);
        Forget(session, why, rule, effects);
        foreach (var (token, pending) in _pending.Where(p => p.Value.Candidate.Id == session.Id).ToList())
        {
            _pending.Remove(token);
            _pendingByUser.Remove(pending.User);
            _cache.ReleaseUnused(pending.Candidate, null);
            Answer(pending.Request, Refused(pending.Request, pending.Access, session.Id, new Refusal(RefusalKind.UnknownSession, rule, why), effects), now, effects);
        }
    }

    private void Forget(HomeSession session, string why, string rule, EffectSink effects)
    {
        _outOfDate.Remove(session.Id);
        effects.Emit(new DropState(new StateKey(SessionTable, session.Id)));
        Count(effects, "session.ended");
        effects.Emit(new Report(new EngineEvent("session.ended", EventSeverity.Information, why)
        {
            Session = session.Id,
            Nai = session.Nai,
            HomeAddress = session.HomeAddress,
            CareOfAddress = session.CareOfAddress,
            Rule = rule,
        }));
    }

    private void Abort(HomeSession session, bool toAccess, bool toHomeAgent, DateTimeOffset now, EffectSink effects)
    {
        if (toAccess)
        {
            AskToAbort(session.AccessSession, (session.AccessHost, session.AccessRealm), session.Nai, session.Id, now, effects);
        }

        if (toHomeAgent)
        {
            AskToAbort(session.HomeAgentSession, (session.HomeAgent.Identity, session.HomeAgent.Realm), session.Nai, session.Id, now, effects);
        }
    }

    private void Restore(IReadOnlyList<SavedState> state, DateTimeOffset now, EffectSink effects)
    {
        foreach (var saved in state.Where(s => s.Key.Table == SessionTable))
        {
            if (HomeSessionRecord.Read(saved.Value, ProfileAvps, _options.HomeAgents) is { } session && session.Expires > now)
            {
                _cache.Put(session);
                Count(effects, "session.restored");
            }
            else
            {
                effects.Emit(new DropState(saved.Key));
            }
        }
    }
}
