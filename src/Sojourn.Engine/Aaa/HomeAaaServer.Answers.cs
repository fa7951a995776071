using System.Net;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Aaa;

/// <summary>From the HAA to the AMA (NV1.9, NV1.10).</summary>
public sealed partial class HomeAaaServer
{
    protected override void OnAnswer(long token, DiameterMessage answer, DateTimeOffset now, EffectSink effects)
    {
        if (TakePending(token) is not { } pending)
        {
            // ASA, RAA, or the HAA of a registration that a later one replaced.
            return;
        }

        Count(effects, "haa.received");
        var refusal = ReadHomeAgentAnswer(pending, answer, out var reply, out var home);
        if (refusal is not null)
        {
            ReleaseCandidate(pending.Candidate);
            Answer(pending.Request, Refused(pending.Request, pending.Access, pending.Candidate.Id, refusal, effects, reply), now, effects);
            return;
        }

        if (pending.Access.IsDeregistration)
        {
            if (_cache.Remove(pending.Candidate.Id) is { } ended)
            {
                Forget(ended, "the user deregistered", "NV9.8", effects);
            }

            Answer(pending.Request, AccessAnswer(pending, pending.Candidate with { Legs = [], HomeAddress = home! }, answer, reply).Build(), now, effects);
            return;
        }

        var session = pending.Candidate with
        {
            HomeAddress = home!,
            Legs = [.. pending.Candidate.Legs.Select(l => l with { Profile = l.Profile.WithHomeAddress(home!) })],
        };
        ReportAccepted(session, pending, effects);
        Commit(session, effects);
        Answer(pending.Request, AccessAnswer(pending, session, answer, reply).Build(), now, effects);
    }

    protected override void OnDeliveryFailed(long token, DeliveryFailure why, DateTimeOffset now, EffectSink effects)
    {
        if (TakePending(token) is not { } pending)
        {
            // An ASR or a RAR: nothing waits for its answer.
            Count(effects, "session_request.undelivered");
            effects.Emit(new Report(new EngineEvent("diameter.request.undelivered", EventSeverity.Warning, $"a session's agent could not be told of its end, or of news ({why})") { Rule = "RFC 6733 section 6.1" }));
            return;
        }

        ReleaseCandidate(pending.Candidate);
        var text = why == DeliveryFailure.TimedOut
            ? $"home agent {pending.Candidate.HomeAgent.Identity} did not answer"
            : $"home agent {pending.Candidate.HomeAgent.Identity} cannot be reached ({why})";
        Answer(
            pending.Request,
            Refused(pending.Request, pending.Access, pending.Candidate.Id, new Refusal(RefusalKind.HomeAgentUnavailable, "RFC 4004 6.1", text), effects),
            now, effects);
    }

    private PendingRegistration? TakePending(long token)
    {
        if (!_pending.Remove(token, out var pending))
        {
            return null;
        }

        _pendingByUser.Remove(pending.User);
        return pending;
    }

    private Refusal? ReadHomeAgentAnswer(PendingRegistration pending, DiameterMessage answer, out ReadOnlyMemory<byte> reply, out IPAddress? home)
    {
        home = null;
        answer.Avps.TryGetOctets(AvpKeys.MipRegReply, out reply);
        var text = answer.Avps.TryGetText(Keys.VpnRefusalReason, out var reason) ? reason
            : answer.Avps.TryGetText(AvpKeys.ErrorMessage, out var message) ? message
            : DiameterResult.Name(answer.ResultCode);
        if (!SameIdentity(answer.OriginHost, pending.Candidate.HomeAgent.Identity))
        {
            // A relay on the way answered in the home agent's place.
            return new Refusal(RefusalKind.HomeAgentUnavailable, "RFC 4004 6.1", $"home agent {pending.Candidate.HomeAgent.Identity} cannot be reached: {text}");
        }

        if (!DiameterResult.IsSuccess(answer.ResultCode))
        {
            var kind = answer.ResultCode switch
            {
                DiameterResult.HomeAgentNotAvailable => RefusalKind.HomeAgentUnavailable,
                DiameterResult.AuthorizationRejected => RefusalKind.Authorization,
                _ => reply.IsEmpty ? RefusalKind.HomeAgentUnavailable : RefusalKind.HomeAgentRefused,
            };
            return new Refusal(kind, "RFC 4004 5.4", $"the home agent refused: {text}");
        }

        if (!MobileIpMessage.TryParse<RegistrationReply>(reply.Span, out var registration, out _))
        {
            reply = default;
            return new Refusal(RefusalKind.HomeAgentUnavailable, "RFC 4004 5.4", "the home agent accepted without a Registration Reply");
        }

        if (registration.Code is not (RegistrationReplyCode.Accepted or RegistrationReplyCode.AcceptedWithoutSimultaneousBindings))
        {
            return new Refusal(RefusalKind.HomeAgentRefused, "RFC 5944 3.4", $"the home agent refused with code {(byte)registration.Code}");
        }

        home = answer.Avps.TryGetAddress(AvpKeys.MipMobileNodeAddress, out var bound) ? bound : registration.HomeAddress;
        var expected = pending.Candidate.HomeAddress;
        if (home.Equals(IPAddress.Any) || (!expected.Equals(IPAddress.Any) && !home.Equals(expected)) || _cache.IsTakenByOther(home, pending.Candidate.Nai))
        {
            return new Refusal(RefusalKind.HomeAgentUnavailable, "RFC 4004 7.2", $"the home agent bound {home} where {expected} was to be bound");
        }

        return null;
    }

    /// <summary>S103; saved before the AMA that promises it.</summary>
    private void Commit(HomeSession session, EffectSink effects)
    {
        if (_cache.Find(session.Id) is null && _cache.Find(session.Nai, session.HomeAddress) is { } replaced)
        {
            _cache.Remove(replaced.Id);
            Forget(replaced, "the user registered anew", "R34", effects);
        }

        _outOfDate.Remove(session.Id);
        _cache.Put(session);
        effects.Emit(new SaveState(new StateKey(SessionTable, session.Id), HomeSessionRecord.Write(session, ProfileAvps)));
    }

    private void ReportAccepted(HomeSession session, PendingRegistration pending, EffectSink effects)
    {
        var before = _cache.Find(session.Id);
        var (kind, rule, text) = before is null ? ("registration.accepted", "NV1.10", "registered")
            : pending.Access.ServiceUpdate ? ("registration.accepted", "NV7.9", "registered with a service update")
            : before.CareOfAddress.Equals(session.CareOfAddress) ? ("registration.accepted", "NV9.6", "registered again")
            : ("session.moved", "NV3.7", $"moved from {before.CareOfAddress}");
        Count(effects, "registration.accepted");
        effects.Emit(new Report(new EngineEvent(kind, EventSeverity.Information, $"{session.Nai} {text}, {session.Legs.Count} legs")
        {
            Session = session.Id,
            Nai = session.Nai,
            HomeAddress = session.HomeAddress,
            CareOfAddress = session.CareOfAddress,
            Peer = session.AccessHost,
            Rule = rule,
        }));
    }

    private DiameterMessageBuilder AccessAnswer(PendingRegistration pending, HomeSession session, DiameterMessage homeAgentAnswer, ReadOnlyMemory<byte> reply)
    {
        var keys = pending.Keys;
        var avps = homeAgentAnswer.Avps;
        var wrapping = WrappingKey(pending.Access.NextHolder);
        var ama = AnswerTo(pending.Request, DiameterResult.Success)
            .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.AcctMultiSessionId, session.Id)
            .Add(AvpKeys.UserName, pending.Access.Nai)
            .Add(AvpKeys.AuthorizationLifetime, (long)pending.Lifetime.TotalSeconds)
            .Add(AvpKeys.AuthSessionState, 0)
            .Add(AvpKeys.MipFeatureVector, (uint)keys.Granted)
            .Add(AvpKeys.MipRegReply, reply.Span)
            .Add(AvpKeys.MipHomeAgentAddress, session.HomeAgent.Address)
            .Add(AvpKeys.MipMobileNodeAddress, session.HomeAddress);
        if (keys.FaToMn is { } toNode)
        {
            var spi = avps.TryGetUnsigned32(AvpKeys.MipFaToMnSpi, out var chosen) && chosen >= KeyGenerator.SpiBlock ? chosen : toNode.Spi;
            AddAssociation(ama, AvpKeys.MipFaToMnMsa, toNode with { Spi = spi }, wrapping);
            AddAssociation(ama, AvpKeys.MipMnToFaMsa, keys.MnToFa, wrapping);
        }

        // Without an SPI of the home agent's choosing the foreign agent has nothing to sign with, so it gets neither half.
        if (keys.HaToFa is { } fromHome && avps.TryGetUnsigned32(AvpKeys.MipFaToHaSpi, out var toHome) && toHome >= KeyGenerator.SpiBlock)
        {
            AddAssociation(ama, AvpKeys.MipFaToHaMsa, fromHome with { Spi = toHome }, wrapping);
            AddAssociation(ama, AvpKeys.MipHaToFaMsa, fromHome, wrapping);
        }

        if (keys.FaToMn is not null || keys.HaToFa is not null)
        {
            ama.Add(AvpKeys.MipMsaLifetime, (long)pending.Lifetime.TotalSeconds);
        }

        if (avps.TryGetAddress(Keys.PreviousFaAddress, out var previous) && !previous.Equals(session.CareOfAddress))
        {
            ama.Add(Keys.PreviousFaAddress, previous);
        }

        var profiles = session.Legs.Select(l => l.ForForeignAgent).OfType<VpnProfile>().ToList();
        return ama.Add(ProfileAvps.WriteAll(profiles, wrapping));
    }
}
