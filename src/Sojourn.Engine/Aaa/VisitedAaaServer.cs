// Readings taken
// - R3: an AMR is answered from the cache only when it names the old foreign agent the cache knows, carries no service
//   update request, and comes from another foreign agent of this domain. Everything else goes to the AAAH.
// - M10: such an answer proves nothing. It carries no Registration Reply, and the foreign agent lets nothing pass before
//   the home agent's own reply. When that reply refuses, the foreign agent ends its session (cause 3) and the cache
//   goes back to the care-of address it had before.
// - The cache survives a restart. Without it (cleared, or of another version) the AAAH answers (NV-A20).
using System.Diagnostics.CodeAnalysis;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Aaa;

/// <summary>
/// AAA server of the visited domain, AAAF (spec 2.2, 4.1): passes AMRs of its foreign agents to the AAAH, caches the
/// profiles of the AMA, wraps their keys anew for the foreign agent, and answers moves inside the domain from its cache
/// (NV2.3, NV5.3). What the messages carry stands in README.md beside this file. Takes <see cref="ClearVisitedCache"/>.
/// </summary>
public sealed partial class VisitedAaaServer : AaaServer
{
    private const string SessionTable = "aaaf.session";

    private static readonly AvpKey[] KeyedGroups = [AvpKeys.MipFaToMnMsa, AvpKeys.MipMnToFaMsa, AvpKeys.MipFaToHaMsa, AvpKeys.MipHaToFaMsa];

    private readonly VisitedAaaOptions _options;
    private readonly VisitedSessionCache _cache = new();

    public VisitedAaaServer(VisitedAaaOptions options, DiameterNodeOptions diameter, IRandomSource random)
        : base("aaaf", diameter, options.KeyWrap, random)
    {
        if (!diameter.IsAgent)
        {
            throw new ArgumentException("a visited AAA server passes requests on and must be an agent", nameof(diameter));
        }

        _options = options;
    }

    /// <summary>Sessions in the VPN information cache.</summary>
    public int SessionCount => _cache.Count;

    /// <summary>The VPN information cache, by NAI. Call from the thread that runs the engine.</summary>
    public IReadOnlyList<VpnCacheInstance> Sessions => [.. _cache.All
        .OrderBy(s => s.Nai, StringComparer.Ordinal).ThenBy(s => s.Id, StringComparer.Ordinal)
        .Select(s => new VpnCacheInstance(
            s.Id, s.Nai, s.HomeAddress, s.HomeAgent, s.CareOfAddress, s.AccessSession, s.Expires,
            s.Profiles.Select(p => p.ProfileNumber).Distinct().Count(), [.. s.Profiles.Select(VpnCacheProfile.Of)]))];

    protected override DateTimeOffset? NextOwnDeadline => _cache.NextDeadline;

    protected override void OnInput(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case EngineStarted started:
                Restore(started.State, now, effects);
                break;
            case ClearVisitedCache clear:
                foreach (var session in _cache.All.Where(s => clear.Session is null || s.Id == clear.Session).ToList())
                {
                    Drop(session, "an operator cleared the cache", "NV-A20", effects);
                }

                break;
        }
    }

    protected override void OnDeadline(DateTimeOffset now, EffectSink effects)
    {
        foreach (var session in _cache.TakeExpired(now))
        {
            ReportDropped(session, "the authorization has run out", "NV9.8", effects);
        }
    }

    protected override void OnRequest(DiameterRequest request, DateTimeOffset now, EffectSink effects)
    {
        var code = request.Message.CommandCode;
        if (code == DiameterCommands.AaMobileNode.Code)
        {
            OnAccessRequest(request, now, effects);
        }
        else if (code == DiameterCommands.SessionTermination.Code)
        {
            OnSessionTermination(request, now, effects);
        }
        else if (code == DiameterCommands.Accounting.Code && CheckForeignAgent(request, request.Message.OriginHost, request.Message.OriginRealm, out _) is { } refusal)
        {
            Count(effects, "acr.refused");
            Answer(request, AccountingAnswer(request, ResultCode(refusal.Kind)).Add(AvpKeys.ErrorMessage, refusal.Text).Build(), now, effects);
        }
        else if (code == DiameterCommands.ReAuth.Code && !request.IsLocal)
        {
            OnReauthorization(request, now, effects);
        }
        else if (!request.IsLocal)
        {
            if (code == DiameterCommands.AbortSession.Code)
            {
                AbortWhereMoved(request.Message, now, effects);
            }

            Forward(request, now, effects);
        }
        else
        {
            Refuse(request, DiameterResult.CommandUnsupported, "this server takes AMR and STR and passes the rest on", now, effects);
        }
    }

    private void OnAccessRequest(DiameterRequest request, DateTimeOffset now, EffectSink effects)
    {
        Count(effects, "amr.received");
        if (!AccessRequest.TryRead(request.Message, Keys, out var access, out var refusal) || (refusal = CheckOrigin(request, access)) is not null)
        {
            Answer(request, Refused(request, access, null, refusal!, effects), now, effects);
            return;
        }

        var cached = _cache.Find(access);
        if (IsMoveToServe(access, cached, now, effects))
        {
            AnswerMove(request, access, cached, now, effects);
            return;
        }

        Count(effects, "amr.relayed");
        var relayed = request.Message.Without(AvpKeys.MipOriginatingForeignAaa).Without(Keys.VpnFreshness).Without(Keys.VpnProfileRevision);
        var added = new AvpListBuilder(Dictionary).AddGroup(
            AvpKeys.MipOriginatingForeignAaa, g => g.Add(AvpKeys.OriginRealm, Options.Realm).Add(AvpKeys.OriginHost, Options.Identity));
        if (cached?.UnseenMove is { } move && cached.CareOfAddress.Equals(access.CareOfAddress))
        {
            added.Add(Keys.VpnFreshness, move.Freshness).Add(Keys.VpnProfileRevision, move.Revision);
        }

        Forward(request, now, effects, relayed.Append(added.ToList()));
    }

    /// <summary>Only the domain's own foreign agents may ask, each for its own care-of addresses, and for users of other realms.</summary>
    private Refusal? CheckOrigin(DiameterRequest request, AccessRequest access)
    {
        if (CheckForeignAgent(request, access.OriginHost, access.OriginRealm, out var agent) is { } refusal)
        {
            return refusal;
        }

        if (!agent!.CareOfAddresses.Contains(access.CareOfAddress))
        {
            return Refusal.Authorization("S109", $"{access.CareOfAddress} is no care-of address of {agent.Identity}");
        }

        return Nai.RealmOf(access.Nai) is null
            ? new Refusal(RefusalKind.RealmNotServed, "RFC 2794 2", $"{access.Nai} names no realm")
            : null;
    }

    private Refusal? CheckForeignAgent(DiameterRequest request, string? host, string? realm, out ForeignAgentEntry? agent)
    {
        agent = _options.ForeignAgents.FirstOrDefault(a => SameIdentity(a.Identity, host));
        if (agent is null || !SameIdentity(realm, Options.Realm))
        {
            return Refusal.Authorization("RFC 4004 5.1", $"{host} is no foreign agent of realm {Options.Realm}");
        }

        // Behind a relay the first Route-Record is the peer the relay took the request from (RFC 6733 6.1.9).
        var source = request.Message.Avps.TryGetIdentity(AvpKeys.RouteRecord, out var first) ? first : request.Peer;
        return SameIdentity(source, agent.Identity) ? null : Refusal.Authorization("RFC 6733 6.1.9", $"{source} sends requests in the name of {agent.Identity}");
    }

    private bool IsMoveToServe(AccessRequest access, [NotNullWhen(true)] VisitedSession? cached, DateTimeOffset now, EffectSink effects)
    {
        if (access.PreviousForeignAgent is not { } old || access.IsDeregistration || !_options.AnswerMovesFromCache)
        {
            return false;
        }

        if (access.ServiceUpdate)
        {
            Count(effects, "move.service_update");
            return false;
        }

        if (cached is null)
        {
            Count(effects, "move.cache_miss");
            return false;
        }

        if (cached.UpdateWanted)
        {
            Count(effects, "move.update_wanted");
            return false;
        }

        // Stale, replayed or renewed elsewhere: the AAAH decides, and says why if it refuses.
        var known = cached.CareOfAddress.Equals(old) && !old.Equals(access.CareOfAddress)
            && MobileIpv4.Identification.IsAfter(access.Registration.Identification, cached.Identification)
            && (access.HomeAgent is null || access.HomeAgent.Equals(cached.HomeAgent))
            && cached.Expires - now >= _options.MinimumAuthorizationLeft;
        if (!known)
        {
            Count(effects, "move.cache_unfit");
        }

        return known;
    }

    private void AnswerMove(DiameterRequest request, AccessRequest access, VisitedSession cached, DateTimeOffset now, EffectSink effects)
    {
        var identification = access.Registration.Identification;
        var moved = cached with
        {
            CareOfAddress = access.CareOfAddress,
            AccessSession = access.SessionId,
            ForeignAgent = access.OriginHost,
            Identification = identification,
            Profiles = [.. cached.Profiles.Select(p => p.MovedTo(cached.CareOfAddress, access.CareOfAddress, identification))],
            BeforeMove = cached with { BeforeMove = null },
        };
        moved = moved with { UnseenMove = (identification, moved.Profiles.Select(p => p.Revision).DefaultIfEmpty().Max()) };
        var refusal = CheckWrapping(access.OriginHost, _options.PlainSessionKeys, moved.Profiles, moved.Associations.Any(a => a.Association.Key is not null));
        if (refusal is not null)
        {
            Answer(request, Refused(request, access, cached.Id, refusal, effects), now, effects);
            return;
        }

        Put(moved, effects);
        Count(effects, "move.answered");
        Report(effects, "session.moved", $"{moved.Nai} moved from {cached.CareOfAddress}, answered from the cache", "NV2.3", moved);
        var left = (long)(moved.Expires - now).TotalSeconds;
        var ama = AnswerTo(request, DiameterResult.Success)
            .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.AcctMultiSessionId, moved.Id)
            .Add(AvpKeys.UserName, access.Nai)
            .Add(AvpKeys.AuthorizationLifetime, left)
            .Add(AvpKeys.AuthSessionState, 0)
            .Add(AvpKeys.MipHomeAgentAddress, moved.HomeAgent)
            .Add(AvpKeys.MipMobileNodeAddress, moved.HomeAddress)
            .Add(Keys.PreviousFaAddress, cached.CareOfAddress);
        if (moved.Associations.Count > 0)
        {
            ama.Add(AvpKeys.MipMsaLifetime, left);
        }

        Answer(request, ama.Add(ForForeignAgent(moved)).Build(), now, effects);
    }

    /// <summary>Associations and profiles of a session with their keys wrapped for its foreign agent.</summary>
    private IEnumerable<Avp> ForForeignAgent(VisitedSession session)
    {
        var wrapping = WrappingKey(session.ForeignAgent);
        return session.Associations.Select(a => MsaAvps.Write(a.Group, a.Association, wrapping)).Concat(ProfileAvps.WriteAll([.. session.Profiles], wrapping));
    }

    protected override void OnAnswer(long token, DiameterMessage answer, DateTimeOffset now, EffectSink effects)
    {
        // STA or ASA: who was asked ended the session, or had none.
    }

    protected override void OnDeliveryFailed(long token, DeliveryFailure why, DateTimeOffset now, EffectSink effects) => Count(effects, "str.undelivered");

    protected override DiameterMessage OnForwardedAnswer(DiameterRequest request, DiameterMessage answer, DateTimeOffset now, EffectSink effects)
    {
        if (request.Message.CommandCode == DiameterCommands.AbortSession.Code)
        {
            if (DiameterResult.IsSuccess(answer.ResultCode) && _cache.FindByAccessSession(request.Message.SessionId ?? "") is { } aborted)
            {
                Drop(aborted, "the home server ended the session", "NV9.8", effects);
            }

            return answer;
        }

        if (request.Message.CommandCode != DiameterCommands.AaMobileNode.Code || !AccessRequest.TryRead(request.Message, Keys, out var access, out _))
        {
            return answer;
        }

        if (DiameterResult.IsSuccess(answer.ResultCode))
        {
            return OnAccepted(request, access, answer, now, effects);
        }

        OnRefused(access, answer, effects);
        return answer;
    }

    /// <summary>S103, NV1.11: caches what the AAAH granted and passes it on under the foreign agent's wrapping key.</summary>
    private DiameterMessage OnAccepted(DiameterRequest request, AccessRequest access, DiameterMessage answer, DateTimeOffset now, EffectSink effects)
    {
        var refusal = ReadGrant(access, answer, now, out var session);
        refusal ??= CheckWrapping(access.OriginHost, _options.PlainSessionKeys, session!.Profiles, session.Associations.Any(a => a.Association.Key is not null));
        if (refusal is not null)
        {
            EndAtHome(access, answer, now, effects);
            return Refused(request, access, null, refusal, effects);
        }

        if (access.IsDeregistration)
        {
            if (_cache.Remove(session!.Id) is { } ended)
            {
                ReportDropped(ended, "the user deregistered", "NV9.8", effects);
            }
        }
        else if (_cache.Count < _options.MaximumSessions || _cache.Find(session!.Id) is not null)
        {
            Put(session!, effects);
            Count(effects, "profiles.cached");
            Report(effects, "profiles.cached", $"{session!.Nai}: {session.Profiles.Count} profiles", "NV1.11", session);
        }
        else
        {
            Count(effects, "cache.full");
        }

        var relayed = answer.Without(Keys.VpnProfile).Without(Keys.VpnProfileCount).Without(Keys.ProfileCache);
        foreach (var group in KeyedGroups)
        {
            relayed = relayed.Without(group);
        }

        return relayed.Append(ForForeignAgent(session!));
    }

    private Refusal? ReadGrant(AccessRequest access, DiameterMessage answer, DateTimeOffset now, out VisitedSession? session)
    {
        session = null;
        var avps = answer.Avps;
        var server = answer.OriginHost ?? "";
        var wrapping = WrappingKey(server);
        IReadOnlyList<VpnProfile> profiles = [];
        if (ProfileAvps.SetsCache(avps))
        {
            if (!ProfileAvps.TryReadAll(avps, wrapping, out var read, out var bad))
            {
                return new Refusal(bad.Kind is ProfileRefusalKind.NoWrappingKey or ProfileRefusalKind.WrongKey ? RefusalKind.NoKeyProtection : RefusalKind.InvalidValue, bad.Rule, $"the home server's AMA: {bad.Text}");
            }

            profiles = read;
        }

        if (profiles.FirstOrDefault(p => p.View != ProfileView.Up || !p.SourceGateway.Equals(access.CareOfAddress)) is { } foreign)
        {
            return new Refusal(RefusalKind.InvalidValue, "S113", $"the home server's AMA: profile {foreign.ProfileNumber} does not start at {access.CareOfAddress}");
        }

        var associations = new List<(AvpKey, MobilityMsa)>();
        foreach (var group in KeyedGroups)
        {
            if (!MsaAvps.TryRead(avps, group, wrapping, _options.PlainSessionKeys, _options.LegacyAuthenticators, out var association, out var refusal))
            {
                return refusal;
            }

            if (association is not null)
            {
                associations.Add((group, association));
            }
        }

        if (!avps.TryGetAddress(AvpKeys.MipMobileNodeAddress, out var home) || !avps.TryGetAddress(AvpKeys.MipHomeAgentAddress, out var agent)
            || !avps.TryGetText(AvpKeys.AcctMultiSessionId, out var id))
        {
            return new Refusal(RefusalKind.Missing, "RFC 4004 5.2", "the home server's AMA has no MIP-Mobile-Node-Address, MIP-Home-Agent-Address or Acct-Multi-Session-Id");
        }

        var granted = avps.TryGetUnsigned32(AvpKeys.AuthorizationLifetime, out var seconds) ? TimeSpan.FromSeconds(seconds) : TimeSpan.Zero;
        // A renewal without new keys leaves those of the first registration in force.
        if (_cache.Find(id) is { } before)
        {
            associations.AddRange(before.Associations.Where(old => !associations.Exists(made => made.Item1 == old.Group)));
        }

        session = new VisitedSession
        {
            Id = id,
            Nai = Nai.Normalise(access.Nai),
            HomeAddress = home,
            HomeAgent = agent,
            CareOfAddress = access.CareOfAddress,
            AccessSession = access.SessionId,
            ForeignAgent = access.OriginHost,
            HomeServer = server,
            Identification = access.Registration.Identification,
            Expires = now + (granted < _options.MaximumAuthorization ? granted : _options.MaximumAuthorization),
            Profiles = profiles,
            Associations = associations,
        };
        return null;
    }

    /// <summary>NV9.7: a refusal makes the cached profile doubtful; the next move asks the AAAH. Lost ways and busy servers say nothing about it.</summary>
    private void OnRefused(AccessRequest access, DiameterMessage answer, EffectSink effects)
    {
        Count(effects, "registration.refused_by_home");
        if (answer.ResultCode is DiameterResult.AuthenticationRejected or DiameterResult.AuthorizationRejected or DiameterResult.MipReplyFailure
            && _cache.Find(access) is { } cached)
        {
            Drop(cached, $"the home server refused a registration ({DiameterResult.Name(answer.ResultCode)})", "NV9.7", effects);
        }
    }

    private void Drop(VisitedSession session, string why, string rule, EffectSink effects)
    {
        _cache.Remove(session.Id);
        ReportDropped(session, why, rule, effects);
    }

    private void Put(VisitedSession session, EffectSink effects)
    {
        if (_cache.Put(session) is { } displaced)
        {
            effects.Emit(new DropState(new StateKey(SessionTable, displaced)));
        }

        effects.Emit(new SaveState(new StateKey(SessionTable, session.Id), VisitedSessionRecord.Of(session, ProfileAvps).Write()));
    }

    private void Restore(IReadOnlyList<SavedState> state, DateTimeOffset now, EffectSink effects)
    {
        foreach (var saved in state.Where(s => s.Key.Table == SessionTable))
        {
            if (VisitedSessionRecord.Read(saved.Value, ProfileAvps) is { } session && session.Expires > now)
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

    private void ReportDropped(VisitedSession session, string why, string rule, EffectSink effects)
    {
        effects.Emit(new DropState(new StateKey(SessionTable, session.Id)));
        Count(effects, "session.dropped");
        Report(effects, "session.dropped", why, rule, session);
    }

    private static void Report(EffectSink effects, string kind, string text, string rule, VisitedSession session) =>
        effects.Emit(new Report(new EngineEvent(kind, EventSeverity.Information, text)
        {
            Session = session.Id,
            Nai = session.Nai,
            HomeAddress = session.HomeAddress,
            CareOfAddress = session.CareOfAddress,
            Peer = session.ForeignAgent,
            Rule = rule,
        }));
}
