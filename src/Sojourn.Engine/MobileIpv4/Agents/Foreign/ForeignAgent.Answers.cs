using System.Net;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>From the AMA, or the home agent's reply, to the visitor's paths and the reply on the access link.</summary>
public sealed partial class ForeignAgent
{
    protected override void OnAnswer(long token, DiameterMessage answer, DateTimeOffset now, EffectSink effects)
    {
        if (!_awaitingAaa.Remove(token, out var pending))
        {
            // An ACA, or an STA, which nothing waits for.
            _accounting?.Answered(token, answer, now, effects);
            return;
        }

        if (!DiameterResult.IsSuccess(answer.ResultCode))
        {
            RefusedByAaa(pending, answer, now, effects);
            return;
        }

        if (Read(answer, pending, now, out var problem) is not { } ama)
        {
            Terminate(pending.DiameterSession, null, pending.Nai, RealmOf(pending.Nai), TerminationCause.BadAnswer, now, effects);
            RefuseRequest(pending, problem!, now, effects);
            return;
        }

        pending = pending with { PreviousAgent = ama.PreviousAgent, AaaAnswered = now };
        if (ama.Reply is null)
        {
            FromVisitedCache(pending, ama, now, effects);
            return;
        }

        if (!ama.Reply.Code.IsAccepted())
        {
            Relay(pending, ama.Reply, KnownAssociation(pending), effects);
            Refused(pending, ama.Reply, now, effects);
            return;
        }

        Admit(pending, ama.Visitor, ama.Profiles, ama.Reply, now, effects);
    }

    protected override void OnDeliveryFailed(long token, DeliveryFailure why, DateTimeOffset now, EffectSink effects)
    {
        if (!_awaitingAaa.Remove(token, out var pending))
        {
            _accounting?.Failed(token, now, effects);
            return;
        }

        if (why == DeliveryFailure.InvalidAnswer)
        {
            // There was an answer, so home may believe in a registration that nobody here can use (NV-A21).
            Terminate(pending.DiameterSession, null, pending.Nai, RealmOf(pending.Nai), TerminationCause.BadAnswer, now, effects);
        }

        RefuseRequest(pending, RegistrationChecks.RefusalOf(why), now, effects);
    }

    private void RefusedByAaa(PendingRegistration pending, DiameterMessage answer, DateTimeOffset now, EffectSink effects)
    {
        effects.Count("fa.ama.refused");
        if (_awaitingAaa.Values.Any(p => p.LinkAddress == pending.LinkAddress && p.Nai == pending.Nai))
        {
            // The node has repeated its request meanwhile and waits for the answer to that one (RFC 5944 3.6.3).
            _underWay.Remove(pending.Key);
            effects.Count("fa.rrq.superseded");
            return;
        }

        if (answer.Avps.TryGetOctets(AvpKeys.MipRegReply, out var octets) && MobileIpMessage.TryParse<RegistrationReply>(octets.Span, out var reply, out _)
            && (uint)reply.Identification == (uint)pending.Request.Identification && !reply.Code.IsAccepted())
        {
            if (WantsNewKeys(reply, pending))
            {
                AskAnew(pending, now, effects);
                return;
            }

            Relay(pending, reply, KnownAssociation(pending), effects);
            Refused(pending, reply, now, effects, ReasonOf(answer));
            return;
        }

        RefuseRequest(pending, new(RegistrationChecks.CodeOf(answer.ResultCode), "fa.rrq.refused", ReasonOf(answer) ?? DiameterResult.Name(answer.ResultCode), "NV9.7"), now, effects);
    }

    /// <summary>A node that shares a key with this agent believes no refusal without it.</summary>
    private MobilityAssociation? KnownAssociation(PendingRegistration pending) => AssociationWith(pending.Request.HomeAddress);

    /// <summary>The MN-FA association of a visitor, also of one that has gone and whose packets still go after it.</summary>
    private MobilityAssociation? AssociationWith(IPAddress homeAddress) =>
        (_visitors.GetValueOrDefault(homeAddress) ?? _handedOff.GetValueOrDefault(homeAddress)?.Visitor)?.MobileNode;

    private bool IsKnownHere(IPAddress homeAddress) => _visitors.ContainsKey(homeAddress) || _handedOff.ContainsKey(homeAddress);

    private string? ReasonOf(DiameterMessage answer) =>
        answer.Avps.TryGetText(_vpn.VpnRefusalReason, out var reason) || answer.Avps.TryGetText(AvpKeys.ErrorMessage, out reason) ? reason : null;

    /// <summary>Intra-domain move: the AAAF answered from its cache, so the home agent has to be asked (NV2.4, NV2.5).</summary>
    private void FromVisitedCache(PendingRegistration pending, Ama ama, DateTimeOffset now, EffectSink effects)
    {
        if (ama.Visitor.HomeAgentAssociation is not { } association)
        {
            Terminate(pending.DiameterSession, ama.Visitor.Session, pending.Nai, ama.Visitor.HomeRealm, TerminationCause.BadAnswer, now, effects);
            RefuseRequest(pending, new(RegistrationReplyCode.ForeignHomeAgentFailedAuthentication, "fa.ama.no_fa_ha_key", "the AAA server gave no key towards the home agent", "RFC 4004 9.3"), now, effects);
            return;
        }

        // Inbound state first, so that what the home agent sends right after its switch finds it (R33); nothing leaves
        // before the home agent's own authenticated reply (M10). A visitor that stands here keeps what it has until
        // then: the cache's answer proves nothing, and whoever asked must not stop its packets.
        // What opens under this registration's own keys shows that the home agent has accepted it, so it may reach the node
        // before the reply does.
        var session = SessionOf(ama.Visitor, ama.Profiles, null);
        if (!IsKnownHere(ama.Visitor.HomeAddress))
        {
            effects.Emit(new AddVisitor(ama.Visitor.HomeAddress, ama.Visitor.Interface, ama.Visitor.LinkAddress));
        }

        var refusal = Vpn.Find(session.Session) is null
            ? Vpn.Set(session, now, effects)
            : Vpn.Check(session) ?? Vpn.Expect(session, session.Profiles, session.Base, "NV2.4", now + _options.ReplyTimeout, effects);
        if (refusal is not null)
        {
            if (!IsKnownHere(ama.Visitor.HomeAddress))
            {
                effects.Emit(new RemoveVisitor(ama.Visitor.HomeAddress));
            }

            RefuseProfile(pending, ama.Visitor, refusal, TerminationCause.BadAnswer, now, effects);
            return;
        }

        _pathsSince[ama.Visitor.HomeAddress] = now;
        ToHomeAgent(pending with { Allowed = ama.Visitor, Profiles = ama.Profiles }, association, ama.Visitor.HomeAgent, now, effects);
    }

    private void Replied(RegistrationReply reply, DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        var key = (reply.HomeAddress, (uint)reply.Identification);
        if (!_awaitingHomeAgent.TryGetValue(key, out var pending) || pending.Allowed is not { HomeAgentAssociation: { } association } allowed)
        {
            effects.Count("fa.rrp.unexpected");
            return;
        }

        if (!datagram.Source.Address.Equals(allowed.HomeAgent) || reply.Check(datagram.Payload.Span, AuthenticationKind.ForeignHome, association) != AuthenticationResult.Valid)
        {
            // Silently dropped: an attacker must not be able to end a registration (RFC 5944 3.7.3.1).
            effects.Count("fa.rrp.bad_authenticator");
            return;
        }

        _awaitingHomeAgent.Remove(key);
        pending = pending with { HomeAnswered = now };
        reply.TryFindAuthentication(AuthenticationKind.ForeignHome, out _, out var index);
        reply = reply with { Extensions = reply.Extensions.First(index) };
        if (!reply.Code.IsAccepted())
        {
            Abandon(pending, now, effects);
            if (WantsNewKeys(reply, pending))
            {
                AskAnew(pending, now, effects);
                return;
            }

            AskAaaNext(pending, now);
            Relay(pending, reply, allowed.MobileNode, effects);
            Refused(pending, reply, now, effects);
            return;
        }

        var homeTime = reply.Extensions.Find<RevocationSupportExtension>()?.Timestamp;
        reply = reply with { Extensions = reply.Extensions.Without(e => e is RevocationSupportExtension) };
        var profiles = pending.Profiles;
        if (!TakeProfiles(association, allowed.HomeAddress, ref reply, ref profiles, effects, out var problem))
        {
            Abandon(pending, now, effects);
            RefuseRequest(pending, new(RegistrationReplyCode.ForeignPoorlyFormedReply, "fa.rrp.bad_profile", problem, "R15"), now, effects);
            return;
        }

        SettleEarlier(pending, effects);
        if (!pending.IsNewHere)
        {
            // What was known when the request went out may have changed while the home agent thought.
            if (_visitors.GetValueOrDefault(allowed.HomeAddress) is not { } current || current.Session != allowed.Session)
            {
                _underWay.Remove(pending.Key);
                effects.Count("fa.rrp.visitor_gone");
                return;
            }

            allowed = current;
        }

        if (reply.Lifetime == 0)
        {
            Relay(pending, reply, allowed.MobileNode, effects);
            Leave(allowed, TerminationCause.Logout, now, effects);
            return;
        }

        var visitor = allowed with { Expires = now + TimeSpan.FromSeconds(reply.Lifetime), Registered = pending.Request.Identification, HomeTime = homeTime, LinkAddress = pending.LinkAddress, Interface = pending.Advertiser.Link.Interface };
        if (profiles is not null)
        {
            Admit(pending, visitor, profiles, reply, now, effects);
            return;
        }

        _visitors[visitor.HomeAddress] = visitor;
        Renewed(visitor, reply, now, effects);
        Keep(visitor, effects);
        Relay(pending, reply, visitor.MobileNode, effects);
        effects.Emit(new Report(Event("registration.renewed", EventSeverity.Information, $"lifetime {reply.Lifetime} s", visitor.Session, visitor.Nai, visitor.HomeAddress, "NV9.6")));
    }

    /// <summary>Code 132: the home agent does not accept the keys this agent has, or has none itself (M3).</summary>
    private static bool WantsNewKeys(RegistrationReply reply, PendingRegistration pending) =>
        reply.Code == RegistrationReplyCode.HomeForeignAgentFailedAuthentication && !pending.Anew;

    private void AskAnew(PendingRegistration pending, DateTimeOffset now, EffectSink effects)
    {
        effects.Count("fa.rrp.new_keys_wanted");
        AskAaa(pending with { Anew = true, Allowed = null, Profiles = null, DiameterSession = NewSessionId(now) }, null, now, effects);
    }

    /// <summary>S220: the reply activates what the AMA brought; the visitor may send from the moment its reply leaves.</summary>
    private void Admit(PendingRegistration pending, Visitor visitor, IReadOnlyList<VpnProfile> profiles, RegistrationReply reply, DateTimeOffset now, EffectSink effects)
    {
        if (reply.Lifetime == 0)
        {
            Relay(pending, reply, visitor.MobileNode, effects);
            if (_visitors.TryGetValue(visitor.HomeAddress, out var leaving))
            {
                Leave(leaving, null, now, effects);
            }

            Terminate(pending.DiameterSession, visitor.Session, visitor.Nai, visitor.HomeRealm, TerminationCause.Logout, now, effects);
            return;
        }

        // A node that comes back is here, whatever was handed to another agent before (NV9.11).
        if (_handedOff.Remove(visitor.HomeAddress, out var away) && away.Visitor.Session != visitor.Session)
        {
            Vpn.Remove(away.Visitor.Session, effects);
        }

        if (_visitors.TryGetValue(visitor.HomeAddress, out var earlier) && earlier.Session != visitor.Session)
        {
            // The same home address under a new session: the AAAH lost the old one, which therefore has no owner any more.
            Leave(earlier, null, now, effects);
        }

        // The way to the node stands before anything can come for it.
        var session = SessionOf(visitor, profiles, reply);
        var refusal = Vpn.Check(session);
        if (refusal is null)
        {
            effects.Emit(new AddVisitor(visitor.HomeAddress, visitor.Interface, visitor.LinkAddress));
            refusal = Vpn.Set(session, now, effects, RekeyTime);
        }

        if (refusal is not null)
        {
            if (_visitors.TryGetValue(visitor.HomeAddress, out var standing))
            {
                // The session ends at home, so what stands here from it leads nowhere.
                Leave(standing, null, now, effects);
            }
            else
            {
                effects.Emit(new RemoveVisitor(visitor.HomeAddress));
            }

            // The home agent has turned to this agent, so there is nothing to go back to.
            RefuseProfile(pending, visitor, refusal, TerminationCause.Administrative, now, effects);
            return;
        }

        // A node that asked for no new key keeps the one it has.
        var former = earlier ?? away?.Visitor;
        visitor = visitor with { MobileNode = visitor.MobileNode ?? former?.MobileNode, HomeAgentAssociation = visitor.HomeAgentAssociation ?? former?.HomeAgentAssociation };
        _visitors[visitor.HomeAddress] = visitor;
        Keep(visitor, effects);
        _nextSweep ??= now + ExpirySweep;
        if (pending.HomeAnswered is null)
        {
            _pathsSince[visitor.HomeAddress] = now;
        }

        if (!FetchFromOldAgent(pending, visitor, profiles, reply, now, effects))
        {
            Relay(pending, reply, visitor.MobileNode, effects);
            ReplyTimed(pending, visitor, now, effects);
        }

        effects.Count("fa.registrations");
        effects.Emit(new Report(Event("registration.accepted", EventSeverity.Information, $"visitor on {visitor.Interface} for {reply.Lifetime} s with {profiles.Count} VPN profile(s)", visitor.Session, visitor.Nai, visitor.HomeAddress, "NV1.13")));
    }

    private void RefuseProfile(PendingRegistration pending, Visitor visitor, VpnRefusal refusal, TerminationCause cause, DateTimeOffset now, EffectSink effects)
    {
        Terminate(pending.DiameterSession, visitor.Session, visitor.Nai, visitor.HomeRealm, cause, now, effects);
        RefuseRequest(pending, new(RegistrationReplyCode.ForeignProhibited, "fa.profile.refused", refusal.Text, refusal.Rule), now, effects);
    }

    /// <summary>Undoes what an AMA installed for a registration that then failed (NV9.7), also in the AAAF's cache.</summary>
    private void Abandon(PendingRegistration pending, DateTimeOffset now, EffectSink effects)
    {
        if (pending is not { IsNewHere: true, Allowed: { } allowed })
        {
            return;
        }

        RemoveUnlessStanding(allowed, effects);

        Terminate(pending.DiameterSession, allowed.Session, allowed.Nai, allowed.HomeRealm, TerminationCause.BadAnswer, now, effects);
    }

    /// <summary>Takes away what was only to be: unless the node is here, or was, by the same session.</summary>
    private void RemoveUnlessStanding(Visitor allowed, EffectSink effects)
    {
        var standing = _visitors.GetValueOrDefault(allowed.HomeAddress) ?? _handedOff.GetValueOrDefault(allowed.HomeAddress)?.Visitor;
        if (standing?.Session != allowed.Session)
        {
            Vpn.Remove(allowed.Session, effects);
        }

        if (standing is null)
        {
            _pathsSince.Remove(allowed.HomeAddress);
            effects.Emit(new RemoveVisitor(allowed.HomeAddress));
        }
    }

    /// <summary>The home agent does not renew: it may have lost the binding, or the key. The AAA servers find out with the next request.</summary>
    private void AskAaaNext(PendingRegistration pending, DateTimeOffset now)
    {
        var superseded = _awaitingHomeAgent.Values.Any(p => p.Request.HomeAddress.Equals(pending.Request.HomeAddress)
            && Identification.IsAfter(p.Request.Identification, pending.Request.Identification));
        if (!superseded && !pending.IsNewHere && _visitors.TryGetValue(pending.Request.HomeAddress, out var visitor))
        {
            _visitors[visitor.HomeAddress] = visitor with { AuthorizedUntil = now };
        }
    }

    /// <summary>Earlier requests of a node whose later one was granted need no answer any more.</summary>
    private void SettleEarlier(PendingRegistration granted, EffectSink effects)
    {
        foreach (var (key, earlier) in _awaitingHomeAgent.Where(p => p.Key.Home.Equals(granted.Request.HomeAddress)
            && Identification.IsAfter(granted.Request.Identification, p.Value.Request.Identification)).ToList())
        {
            _awaitingHomeAgent.Remove(key);
            _underWay.Remove(earlier.Key);
            if (earlier is { IsNewHere: true, Allowed: { } other } && other.Session != granted.Allowed?.Session)
            {
                RemoveUnlessStanding(other, effects);
            }
        }
    }

    private void Refused(PendingRegistration pending, RegistrationReply reply, DateTimeOffset now, EffectSink effects, string? reason = null)
    {
        effects.Count("fa.rrp.refused");
        reason ??= reply.Extensions.RefusalReason(_options.EnterpriseNumber);
        effects.Emit(new Report(Event("registration.refused", EventSeverity.Warning, reason is null ? reply.Code.Describe() : $"{reply.Code.Describe()}: {reason}", null, pending.Nai, pending.Request.HomeAddress, "NV9.7")));
        _ = now;
    }

    private void Relay(PendingRegistration pending, RegistrationReply reply, MobilityAssociation? association, EffectSink effects)
    {
        _underWay.Remove(pending.Key);
        ToMobileNode(pending, WithForeignPart(reply, pending, association), reply.HomeAddress, effects);
    }

    /// <param name="reply">The home agent's accepting reply; without one nothing is sent yet (M10).</param>
    private VpnSession SessionOf(Visitor visitor, IReadOnlyList<VpnProfile> profiles, RegistrationReply? reply) => new()
    {
        Session = visitor.Session,
        Nai = visitor.Nai,
        HomeAddress = visitor.HomeAddress,
        Profiles = profiles,
        Base = new BaseTunnel(_options.CareOfAddress, visitor.HomeAgent),
        OutboundReady = reply is not null,
        Waiting = WaitingOf(profiles, reply),
    };

    private sealed record Ama(Visitor Visitor, IReadOnlyList<VpnProfile> Profiles, RegistrationReply? Reply, IPAddress? PreviousAgent);

    private Ama? Read(DiameterMessage answer, PendingRegistration pending, DateTimeOffset now, out RequestRefusal? problem)
    {
        var avps = answer.Avps;
        RegistrationReply? reply = null;
        if (avps.TryGetOctets(AvpKeys.MipRegReply, out var octets))
        {
            if (!MobileIpMessage.TryParse(octets.Span, out reply, out var error) || (uint)reply!.Identification != (uint)pending.Request.Identification)
            {
                problem = new(RegistrationReplyCode.ForeignPoorlyFormedReply, "fa.ama.bad_reply", $"the embedded reply is not one to this request: {error}", "RFC 5944 3.7.3.1");
                return null;
            }
        }

        if (!avps.TryGetText(AvpKeys.AcctMultiSessionId, out var session)
            || !avps.TryGetAddress(AvpKeys.MipHomeAgentAddress, out var homeAgent)
            || (avps.TryGetAddress(AvpKeys.MipMobileNodeAddress, out var homeAddress) ? homeAddress : reply?.HomeAddress) is not { } home
            || home.Equals(IPAddress.Any))
        {
            problem = new(RegistrationReplyCode.ForeignPoorlyFormedReply, "fa.ama.incomplete", "the AAA server's answer lacks session, home agent or home address", "RFC 4004 5.2");
            return null;
        }

        if (ReadSecrets(avps, out var profiles, out var mobileNode, out var foreignHome) is { } refusal)
        {
            problem = refusal;
            return null;
        }

        var authorized = avps.TryGetUnsigned32(AvpKeys.AuthorizationLifetime, out var seconds) ? seconds : (uint)_options.RegistrationLifetime.TotalSeconds;
        var keysUntil = avps.TryGetUnsigned32(AvpKeys.MipMsaLifetime, out var keySeconds) ? now + TimeSpan.FromSeconds(keySeconds) : (DateTimeOffset?)null;
        problem = null;
        return new Ama(
            new Visitor
            {
                Session = session,
                DiameterSession = pending.DiameterSession,
                Nai = pending.Nai,
                HomeAddress = home,
                HomeAgent = homeAgent,
                Interface = pending.Advertiser.Link.Interface,
                LinkAddress = pending.LinkAddress,
                Expires = now + TimeSpan.FromSeconds(reply?.Lifetime ?? 0),
                AuthorizedUntil = now + TimeSpan.FromSeconds(authorized),
                HomeRealm = RealmOf(pending.Nai),
                Registered = pending.Request.Identification,
                MobileNode = mobileNode is null ? null : mobileNode with { Expires = keysUntil },
                HomeAgentAssociation = foreignHome is null ? null : foreignHome with { Expires = keysUntil },
            },
            profiles,
            reply,
            avps.TryGetAddress(_vpn.PreviousFaAddress, out var previous) && !previous.Equals(_options.CareOfAddress) ? previous : null);
    }

    /// <summary>Opens profiles and keys with whichever configured wrapping key fits: the answer does not say which agent wrapped last.</summary>
    private RequestRefusal? ReadSecrets(AvpList avps, out IReadOnlyList<VpnProfile> profiles, out MobilityAssociation? mobileNode, out MobilityAssociation? foreignHome)
    {
        profiles = [];
        mobileNode = foreignHome = null;
        RequestRefusal? problem = null;
        foreach (var key in _options.KeyWrap.Values.Append(null).Distinct())
        {
            if (!_profileAvps.TryReadAll(avps, key, out var read, out var profileRefusal))
            {
                problem ??= new(RegistrationReplyCode.ForeignProhibited, "fa.profile.refused", profileRefusal.Text, $"NV-A21, {profileRefusal.Rule}");
                if (profileRefusal.Kind is ProfileRefusalKind.WrongKey or ProfileRefusalKind.NoWrappingKey)
                {
                    continue;
                }

                return problem;
            }

            if (!Association(avps, AvpKeys.MipFaToMnMsa, AvpKeys.MipMnToFaMsa, key, out mobileNode, out var refusal)
                || !Association(avps, AvpKeys.MipFaToHaMsa, AvpKeys.MipHaToFaMsa, key, out foreignHome, out refusal))
            {
                problem ??= new(RegistrationReplyCode.ForeignProhibited, "fa.ama.keys", refusal!.Text, refusal.Rule);
                continue;
            }

            profiles = read;
            return null;
        }

        return problem;
    }

    /// <summary>An association has the SPI to write in one group, which also has the key, and the SPI to expect in the other.</summary>
    private bool Association(AvpList avps, AvpKey outbound, AvpKey inbound, KeyMaterial? key, out MobilityAssociation? association, out Refusal? refusal)
    {
        association = null;
        if (!_msaAvps.TryRead(avps, outbound, key, _options.PlainSessionKeys, _options.LegacyAuthenticators, out var towards, out refusal)
            || !_msaAvps.TryRead(avps, inbound, key, _options.PlainSessionKeys, _options.LegacyAuthenticators, out var from, out refusal))
        {
            return false;
        }

        association = towards is { Key: { } secret } && from is not null ? new MobilityAssociation(towards.Spi, from.Spi, towards.Algorithm, secret) : null;
        return true;
    }
}
