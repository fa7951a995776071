using System.Net;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>From the Registration Request on the access link to the AMR, or to the home agent.</summary>
public sealed partial class ForeignAgent
{
    // MIP-Feature-Vector (RFC 4004 7.5).
    private const uint HomeAddressWanted = 1;
    private const uint MobileHomeKeyWanted = 16;
    private const uint MobileForeignKeyWanted = 32;
    private const uint ForeignHomeKeyWanted = 64;

    private void Requested(RegistrationRequest request, DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        if (datagram.Interface is not { } name || !_advertisers.TryGetValue(name, out var advertiser) || datagram.LinkSource is not { } link)
        {
            effects.Count("fa.rrq.not_from_access_link");
            return;
        }

        var pending = new PendingRegistration
        {
            Request = request,
            Octets = datagram.Payload,
            Source = datagram.Source,
            Advertiser = advertiser,
            LinkAddress = link,
            Nai = request.Nai ?? "",
            Expires = now + _options.ReplyTimeout,
            Began = now,
            DiameterSession = NewSessionId(now),
        };
        if (_underWay.Contains(pending.Key))
        {
            // The node repeats itself while we still wait; the answer under way serves both.
            effects.Count("fa.rrq.duplicate");
            return;
        }

        if (request.Extensions.Find<RevocationSupportExtension>() is not null)
        {
            // RFC 3543 4.2.1: no node that registers through an agent sends one.
            effects.Count("fa.rrq.revocation_support");
            return;
        }

        if (RegistrationChecks.Check(request, _options) is { } refusal)
        {
            RefuseRequest(pending, refusal, now, effects);
            return;
        }

        if (Busy && !_visitors.ContainsKey(request.HomeAddress))
        {
            RefuseRequest(pending, new(RegistrationReplyCode.ForeignInsufficientResources, "fa.rrq.busy", "no room for another visitor", "RFC 5944 3.7.2.1"), now, effects);
            return;
        }

        switch (advertiser.Take(request.Extensions.Find<ChallengeExtension>()?.Challenge, link))
        {
            case ChallengeResult.Missing:
                RefuseRequest(pending, new(RegistrationReplyCode.ForeignMissingChallenge, "fa.rrq.challenge_missing", "the request answers no challenge", "RFC 4721 3.2"), now, effects);
                return;
            case ChallengeResult.Unknown:
                RefuseRequest(pending, new(RegistrationReplyCode.ForeignUnknownChallenge, "fa.rrq.challenge_unknown", "this challenge was never advertised here", "RFC 4721 3.2"), now, effects);
                return;
            case ChallengeResult.Stale:
                RefuseRequest(pending, new(RegistrationReplyCode.ForeignStaleChallenge, "fa.rrq.challenge_stale", "the challenge was used before or is too old", "RFC 4721 3.2"), now, effects);
                return;
        }

        _visitors.TryGetValue(request.HomeAddress, out var visitor);
        var proven = request.TryFindAuthentication(AuthenticationKind.MobileForeign, out _, out _);
        var association = AssociationWith(request.HomeAddress);
        if (proven && association is null && request.Lifetime > 0 && request.Extensions.Find<KeyGenerationNonceRequestExtension>(e => e.Peer == NoncePeer.ForeignAgent) is null)
        {
            // The node believes in a key that is gone here, and would believe no reply without it.
            RefuseRequest(pending, new(RegistrationReplyCode.ForeignMissingKeyGenerationNonce, "fa.rrq.key_gone", "this agent has no key with the node any more", "RFC 3957 4"), now, effects);
            return;
        }

        if (proven && association is not null && request.Check(pending.Octets.Span, AuthenticationKind.MobileForeign, association) == AuthenticationResult.Wrong)
        {
            RefuseRequest(pending, new(RegistrationReplyCode.ForeignMobileNodeFailedAuthentication, "fa.rrq.bad_authenticator", "the MN-FA authenticator is wrong", "RFC 5944 3.7.2.1"), now, effects);
            return;
        }

        if (visitor is not null && MayGoStraight(visitor, pending, now))
        {
            ToHomeAgent(pending with { Allowed = visitor }, visitor.HomeAgentAssociation!, visitor.HomeAgent, now, effects);
            return;
        }

        AskAaa(pending, visitor, now, effects);
    }

    private bool MayGoStraight(Visitor visitor, PendingRegistration pending, DateTimeOffset now) =>
        visitor is { MobileNode: { } mobileNode, HomeAgentAssociation: { } homeAgent }
        && now + TimeSpan.FromSeconds(pending.Request.Lifetime) <= visitor.AuthorizedUntil
        && !ComesFromElsewhere(pending.Request)
        && mobileNode.IsValidAt(now) && homeAgent.IsValidAt(now)
        && !visitor.UpdateWanted && visitor.Nai == pending.Nai && visitor.LinkAddress == pending.LinkAddress
        && !pending.Request.Extensions.HasServiceUpdateRequest(_options.EnterpriseNumber)
        && pending.Request.Extensions.Find<KeyGenerationNonceRequestExtension>() is null
        && pending.Request.TryFindAuthentication(AuthenticationKind.MobileHome, out _, out _)
        && pending.Request.Check(pending.Octets.Span, AuthenticationKind.MobileForeign, mobileNode) == AuthenticationResult.Valid;

    /// <summary>A node that was at another agent meanwhile gets new keys for here, which only AAA servers can give (M3, NV9.11).</summary>
    private bool ComesFromElsewhere(RegistrationRequest request) =>
        request.Extensions.FindProject(_options.EnterpriseNumber, ProjectExtensions.PreviousForeignAgentType) is { } extension
        && !(extension.TryReadPreviousForeignAgent(out var previous, out _) && previous.Address.Equals(_options.CareOfAddress));

    private void AskAaa(PendingRegistration pending, Visitor? visitor, DateTimeOffset now, EffectSink effects)
    {
        var request = pending.Request;
        if (!MnAaaAuthentication.TryLocate(request, out var proof))
        {
            RefuseRequest(pending, new(RegistrationReplyCode.ForeignMobileNodeFailedAaaAuthentication, "fa.rrq.no_mn_aaa", "the request carries no usable MN-AAA authentication", "RFC 4721 3.2"), now, effects);
            return;
        }

        PreviousForeignAgent? previous = null;
        if (request.Extensions.FindProject(_options.EnterpriseNumber, ProjectExtensions.PreviousForeignAgentType) is { } extension)
        {
            if (!extension.TryReadPreviousForeignAgent(out var read, out var error))
            {
                RefuseRequest(pending, new(RegistrationReplyCode.ForeignPoorlyFormedRequest, "fa.rrq.previous_agent", error.ToString(), error.Clause), now, effects);
                return;
            }

            previous = read;
        }

        var features = ForeignHomeKeyWanted
            | (request.Extensions.Find<KeyGenerationNonceRequestExtension>(e => e.Peer == NoncePeer.HomeAgent) is null ? 0 : MobileHomeKeyWanted)
            | (request.Extensions.Find<KeyGenerationNonceRequestExtension>(e => e.Peer == NoncePeer.ForeignAgent) is null ? 0 : MobileForeignKeyWanted);
        var amr = Dictionary.Request(DiameterCommands.AaMobileNode)
            .Add(AvpKeys.SessionId, pending.DiameterSession)
            .Add(AvpKeys.OriginHost, Options.Identity)
            .Add(AvpKeys.OriginRealm, Options.Realm)
            .Add(AvpKeys.DestinationRealm, RealmOf(pending.Nai))
            .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.UserName, pending.Nai)
            .Add(AvpKeys.MipRegRequest, pending.Octets.Span)
            .AddGroup(AvpKeys.MipMnAaaAuth, g => g
                .Add(AvpKeys.MipMnAaaSpi, proof.Spi)
                .Add(AvpKeys.MipAuthInputDataLength, proof.InputDataLength)
                .Add(AvpKeys.MipAuthenticatorLength, proof.AuthenticatorLength)
                .Add(AvpKeys.MipAuthenticatorOffset, proof.AuthenticatorOffset))
            .Add(AvpKeys.AuthorizationLifetime, (long)_options.AuthorizationLifetime.TotalSeconds)
            .Add(AvpKeys.AuthSessionState, 0);
        if (proof.Challenge is { } challenge)
        {
            amr.Add(AvpKeys.MipFaChallenge, challenge.Span);
        }

        if (request.HomeAddress.Equals(IPAddress.Any))
        {
            features |= HomeAddressWanted;
        }
        else
        {
            amr.Add(AvpKeys.MipMobileNodeAddress, request.HomeAddress);
        }

        if (!request.HomeAgent.Equals(IPAddress.Any) && !request.HomeAgent.Equals(IPAddress.Broadcast))
        {
            amr.Add(AvpKeys.MipHomeAgentAddress, request.HomeAgent);
        }

        // The SPI under which the home agent is to authenticate to this agent; one value for all keeps the table small,
        // since the association is looked up by home address first.
        amr.Add(AvpKeys.MipFeatureVector, features).Add(AvpKeys.MipHaToFaSpi, NewSpi());
        if (visitor is not null)
        {
            amr.Add(AvpKeys.AcctMultiSessionId, visitor.Session);
        }

        if (previous is { } former && !former.Address.Equals(_options.CareOfAddress))
        {
            amr.Add(_vpn.PreviousFaAddress, former.Address);
        }

        if (request.Extensions.HasServiceUpdateRequest(_options.EnterpriseNumber) || visitor is { UpdateWanted: true })
        {
            amr.Add(_vpn.ServiceUpdateRequest, 1);
        }

        _underWay.Add(pending.Key);
        _awaitingAaa[Send(amr.Build(), now, effects)] = pending;
        effects.Emit(new Report(Event("registration.requested", EventSeverity.Information, "asking the AAA servers", visitor?.Session, pending.Nai, request.HomeAddress, "NV1.5")));
    }

    private void ToHomeAgent(PendingRegistration pending, MobilityAssociation association, IPAddress homeAgent, DateTimeOffset now, EffectSink effects)
    {
        _underWay.Add(pending.Key);
        _awaitingHomeAgent[(pending.Request.HomeAddress, (uint)pending.Request.Identification)] = pending;
        _nextSweep ??= now + ExpirySweep;
        // What belongs between node and foreign agent stays here (RFC 5944 3.7.2.2, RFC 4721 3.2); the FA-HA extension comes last.
        var kept = pending.Request.TryFindAuthentication(AuthenticationKind.MobileForeign, out _, out var index)
            ? pending.Request with { Extensions = pending.Request.Extensions.First(index) }
            : pending.Request;
        effects.Emit(new SendDatagram(
            new IPEndPoint(_options.CareOfAddress, MobileIpPort), new IPEndPoint(homeAgent, MobileIpPort),
            kept.With(new RevocationSupportExtension(RevocationSupportExtension.InformFlag, SecondsOf(now))).Sign(AuthenticationKind.ForeignHome, association).ToArray()));
    }

    private void RefuseRequest(PendingRegistration pending, RequestRefusal refusal, DateTimeOffset now, EffectSink effects)
    {
        _underWay.Remove(pending.Key);
        effects.Count(refusal.Counter);
        effects.Emit(new Report(Event("registration.refused", EventSeverity.Warning, $"{refusal.Code.Describe()}: {refusal.Text}", null, pending.Nai, pending.Request.HomeAddress, refusal.Rule)));
        var reply = new RegistrationReply
        {
            Code = refusal.Code,
            Lifetime = refusal.Code == RegistrationReplyCode.ForeignLifetimeTooLong ? (ushort)_options.RegistrationLifetime.TotalSeconds : (ushort)0,
            HomeAddress = pending.Request.HomeAddress,
            HomeAgent = pending.Request.HomeAgent,
            Identification = pending.Request.Identification,
            Extensions = MobileIpExtensions.Of(ProjectExtensions.RefusalReason(_options.EnterpriseNumber, refusal.Text)),
        };
        ToMobileNode(pending, WithForeignPart(reply, pending, KnownAssociation(pending)), pending.Request.HomeAddress, effects);
        _ = now;
    }

    /// <summary>A new challenge and the MN-FA authentication, which this agent adds behind what the home agent wrote.</summary>
    private static RegistrationReply WithForeignPart(RegistrationReply reply, PendingRegistration pending, MobilityAssociation? association)
    {
        reply = reply.With(new ChallengeExtension(pending.Advertiser.NewChallenge(pending.LinkAddress)));
        return association is null ? reply : reply.Sign(AuthenticationKind.MobileForeign, association);
    }

    private static void ToMobileNode(PendingRegistration pending, RegistrationReply reply, IPAddress homeAddress, EffectSink effects)
    {
        // RFC 5944 3.7.2.3: a node without an address hears the limited broadcast.
        var destination = pending.Source.Address.Equals(IPAddress.Any) || homeAddress.Equals(IPAddress.Any) ? IPAddress.Broadcast : homeAddress;
        effects.Emit(new SendDatagram(
            new IPEndPoint(pending.Advertiser.Link.Address, MobileIpPort), new IPEndPoint(destination, pending.Source.Port),
            reply.ToArray(), pending.Advertiser.Link.Interface, pending.LinkAddress));
    }

    private static string RealmOf(string nai) => nai[(nai.LastIndexOf('@') + 1)..].ToLowerInvariant() is { Length: > 0 } realm ? realm : "invalid";

    private uint NewSpi()
    {
        uint spi;
        do
        {
            spi = Random.NextUInt32();
        }
        while (spi < MobileIpv4Limits.FirstUsableSpi);
        return spi;
    }
}
