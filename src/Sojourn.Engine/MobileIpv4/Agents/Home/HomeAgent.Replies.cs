using System.Net;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>Registration Replies, granting and refusing, the way the request came (S217, NV2.8, NV1.9).</summary>
public sealed partial class HomeAgent
{
    private RegistrationReply MakeReply(Registration registration)
    {
        var request = registration.Request;
        var reply = new RegistrationReply
        {
            Code = RegistrationReplyCode.Accepted,
            Lifetime = registration.Lifetime,
            HomeAddress = registration.Desired.HomeAddress,
            HomeAgent = _options.Address,
            Identification = request.Identification,
        };
        if (request.Nai is { } nai && request.HomeAddress.Equals(IPAddress.Any))
        {
            reply = reply.With(new NaiExtension(nai));
        }

        request.TryFindAuthentication(AuthenticationKind.MobileAaa, out var proof, out _);
        foreach (var (peer, nonce) in ((NoncePeer, MobilityMsa?)[])[(NoncePeer.HomeAgent, registration.HomeNonce), (NoncePeer.ForeignAgent, registration.ForeignNonce)])
        {
            if (nonce is not null)
            {
                reply = reply.With(new KeyGenerationNonceReplyExtension
                {
                    Peer = peer,
                    Lifetime = registration.KeyLifetime,
                    AaaSpi = proof?.Spi ?? 0,
                    AgentSpi = nonce.Spi,
                    Algorithm = nonce.Algorithm,
                    Nonce = nonce.Nonce,
                });
            }
        }

        return DistributedIn(registration.Desired) is { Count: > 0 } distributed
            ? reply.With(ProjectExtensions.ProfileNumbers(_options.EnterpriseNumber, distributed))
            : reply;
    }

    /// <summary>Refuses; what stands from an earlier registration stays (NV9.7).</summary>
    private void Refuse(Registration registration, ReplyRefusal refusal, DateTimeOffset now, EffectSink effects)
    {
        var reply = RefusingReply(registration.Request, registration.Desired.HomeAddress, refusal, now);
        ReportRefusal(refusal, registration.Desired.Nai, registration.Desired.HomeAddress, registration.Desired.Session, effects);
        Reply(registration, reply, DiameterResult.MipReplyFailure, refusal.Text, now, effects);
    }

    private void Refuse(DiameterRequest har, RegistrationRequest request, MobilityAssociation? mobileNode, ReplyRefusal refusal, string nai, DateTimeOffset now, EffectSink effects)
    {
        ReportRefusal(refusal, nai, request.HomeAddress, null, effects);
        var reply = RefusingReply(request, request.HomeAddress, refusal, now);
        if (mobileNode is not null)
        {
            reply = reply.Sign(AuthenticationKind.MobileHome, mobileNode);
        }

        Answer(
            har,
            AnswerTo(har, DiameterResult.MipReplyFailure)
                .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
                .Add(AvpKeys.UserName, nai)
                .Add(AvpKeys.MipRegReply, reply.ToArray())
                .Add(AvpKeys.MipHomeAgentAddress, _options.Address)
                .Add(_vpn.VpnRefusalReason, refusal.Text)
                .Build(),
            now, effects);
    }

    private RegistrationReply RefusingReply(RegistrationRequest request, IPAddress homeAddress, ReplyRefusal refusal, DateTimeOffset now) => new()
    {
        Code = refusal.Code,
        Lifetime = 0,
        HomeAddress = homeAddress,
        HomeAgent = _options.Address,
        Identification = refusal.Code == RegistrationReplyCode.HomeIdentificationMismatch ? Identification.ForMismatch(request.Identification, now) : request.Identification,
        Extensions = MobileIpExtensions.Of(ProjectExtensions.RefusalReason(_options.EnterpriseNumber, refusal.Text)),
    };

    private static void ReportRefusal(ReplyRefusal refusal, string nai, IPAddress homeAddress, string? session, EffectSink effects)
    {
        effects.Count(refusal.Counter);
        effects.Emit(new Report(new EngineEvent("registration.refused", EventSeverity.Warning, $"{refusal.Code.Describe()}: {refusal.Text}") { Session = session, Nai = nai, HomeAddress = homeAddress, Rule = refusal.Rule }));
    }

    /// <summary>Signs the reply for the node and sends it the way the request came: in a HAA, or to the foreign agent.</summary>
    private void Reply(Registration registration, RegistrationReply reply, uint result, string? reason, DateTimeOffset now, EffectSink effects)
    {
        var desired = registration.Desired;
        if (desired.MobileNode is { } mobileNode)
        {
            reply = reply.Sign(AuthenticationKind.MobileHome, mobileNode);
        }

        if (registration.Datagram is { } datagram)
        {
            reply = WithRevocationSupport(reply, registration.Request, now);
            var octets = WithProfiles(reply, registration, desired.ForeignAgent!, effects).Sign(AuthenticationKind.ForeignHome, desired.ForeignAgent!).ToArray();
            effects.Emit(new SendDatagram(new IPEndPoint(_options.Address, MobileIpPort), datagram.Source, octets));
            return;
        }

        var har = registration.Har!;
        var haa = AnswerTo(har, result)
            .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.UserName, desired.Nai)
            .Add(AvpKeys.AcctMultiSessionId, desired.Session)
            .Add(AvpKeys.MipRegReply, reply.ToArray())
            .Add(AvpKeys.MipHomeAgentAddress, _options.Address)
            .Add(AvpKeys.MipMobileNodeAddress, desired.HomeAddress);
        if (desired.ForeignAgent is { } foreignAgent)
        {
            haa.Add(AvpKeys.MipFaToHaSpi, foreignAgent.InboundSpi);
        }

        if (registration.Request.Extensions.Find<KeyGenerationNonceRequestExtension>(e => e.Peer == NoncePeer.ForeignAgent) is { } wanted)
        {
            haa.Add(AvpKeys.MipFaToMnSpi, wanted.MobileNodeSpi);
        }

        if (registration.Before is { } before && !before.CareOfAddress.Equals(desired.CareOfAddress))
        {
            haa.Add(_vpn.PreviousFaAddress, before.CareOfAddress);
        }

        if (reason is not null)
        {
            haa.Add(_vpn.VpnRefusalReason, reason);
        }

        Answer(har, haa.Build(), now, effects);
    }
}
