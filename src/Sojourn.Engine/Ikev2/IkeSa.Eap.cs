// Readings (RFC 7296 2.16):
// - The responder asks for no identity inside EAP: IDi stands for it. It proves itself with its certificate before EAP says more
//   than that it begins, so the initiator gives nothing away to somebody else.
// - Methods that give no key are not taken: AUTH of both ends is made with the Master Session Key.
// - Whoever proved themselves inside EAP is the peer from then on; IDi counts for the AUTH computation alone.
using System.Net;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

public enum EapProgress : byte
{
    Continues,
    Succeeded,
    Failed,
}

/// <summary>
/// The authenticator has to take an EAP message of the initiator on to whoever decides; answered by <see cref="EapRelayAnswered"/>
/// with the same number.
/// </summary>
/// <param name="Identity">IDi.</param>
/// <param name="Response">Null at the beginning: IDi stands for the Response to an Identity request.</param>
public sealed record RelayIkeEap(long Request, long IkeSa, string Peer, IkeIdentity Identity, ReadOnlyMemory<byte>? Response, IPEndPoint Remote) : Effect;

/// <param name="Message">The next EAP packet for the initiator; null only when <see cref="EapProgress.Failed"/> without one.</param>
/// <param name="Name">Who has proved themselves; with <see cref="EapProgress.Succeeded"/>.</param>
/// <param name="MasterSessionKey">With <see cref="EapProgress.Succeeded"/>; the SA wipes it.</param>
public sealed record EapRelayAnswered(long Request, EapProgress Progress, ReadOnlyMemory<byte>? Message, string Name = "", KeyMaterial? MasterSessionKey = null) : EngineInput;

/// <summary>
/// A peer has proved itself with EAP and waits for the last answer of IKE_AUTH: may it come in, and with which configuration?
/// Answered by <see cref="PeerConfigured"/>. Only with <see cref="IkePeer.Authorize"/>.
/// </summary>
/// <param name="Asked">What its configuration request names; empty when it has none.</param>
public sealed record ConfigurePeer(
    long Request, long IkeSa, string Peer, IkeIdentity Identity, IReadOnlyList<IkeConfigurationAttributeType> Asked, IReadOnlyList<TrafficSelector> RemoteSelectors, IPEndPoint Remote) : Effect;

/// <param name="Attributes">For CFG_REPLY; null = the peer is refused.</param>
/// <param name="Reason">Of the refusal, for the log.</param>
public sealed record PeerConfigured(long Request, IReadOnlyList<IkeConfigurationAttribute>? Attributes, string Reason = "") : EngineInput;

/// <summary>The responder has configured us (CFG_REPLY), with the IKE SA that stands since.</summary>
public sealed record ConfigurationReceived(long IkeSa, string Peer, IReadOnlyList<IkeConfigurationAttribute> Attributes) : Effect;

/// <summary>IKE_AUTH with EAP as responder (RFC 7296 2.16; row TA-M52).</summary>
internal sealed partial class IkeSa
{
    private EapExchange? _eap;

    private sealed class EapExchange(IdentificationPayload id, IReadOnlyList<IkePayload> first)
    {
        public IdentificationPayload Id { get; } = id;

        /// <summary>The first request, whose child SA is made at the end.</summary>
        public IReadOnlyList<IkePayload> First { get; } = first;

        public bool HasProved { get; set; }

        public KeyMaterial? Key { get; set; }

        public string Name { get; set; } = "";
    }

    public IkeTask NewAuthTask() => Peer!.Eap is null ? new AuthTask(this) : new EapAuthTask(this);

    /// <summary>True when the request was one of an EAP conversation and is taken care of.</summary>
    private bool AnswerEap(IReadOnlyList<IkePayload> payloads)
    {
        if (_eap is { } eap)
        {
            ContinueEap(eap, payloads);
            return true;
        }

        if (payloads.OfType<AuthenticationPayload>().Any() || payloads.OfType<IdentificationPayload>().FirstOrDefault(i => i.OfInitiator) is not { } id || _round < Suite!.AdditionalGroups.Count)
        {
            return false;
        }

        var wanted = payloads.OfType<IdentificationPayload>().FirstOrDefault(i => !i.OfInitiator);
        if (Candidates.FirstOrDefault(p => p.EapAuthenticator && (wanted is null || p.LocalIdentity == IkeIdentity.From(wanted)) && Takes(p)) is not { } peer)
        {
            return false;
        }

        Peer = peer;
        (Local, Remote) = (_question!.Destination, _question.Source);
        PeerFetchesCertificates |= payloads.OfType<NotifyPayload>().Any(n => n.NotifyType == IkeNotifyType.HttpCertLookupSupported);
        PeerFragments &= peer.Fragmentation;
        _eap = new EapExchange(id, payloads);
        Relay(_eap, null);
        return true;
    }

    private void Relay(EapExchange eap, ReadOnlyMemory<byte>? response)
    {
        ForgetAt = Engine.Now + (2 * Engine.Options.HalfOpenLifetime);
        Engine.Ask(
            this,
            number => new RelayIkeEap(number, Id, Peer!.Name, IkeIdentity.From(eap.Id), response, Remote),
            answer =>
            {
                if (State == IkeSaState.Negotiating)
                {
                    OnRelayed(eap, (EapRelayAnswered)answer);
                }
            });
    }

    private void OnRelayed(EapExchange eap, EapRelayAnswered answer)
    {
        if (answer.Message is not { } message || (answer.Progress == EapProgress.Succeeded && answer.MasterSessionKey is null))
        {
            RefuseAuth("EAP: no server answers, or it gives no key");
            return;
        }

        var payloads = new List<IkePayload>();
        if (!eap.HasProved)
        {
            var id = Peer!.LocalIdentity.ToPayload(ofInitiator: false);
            if (Authentication.Make(this, Peer, ofInitiator: false, id) is not { } auth)
            {
                RefuseAuth("the peer takes no proof that we could give");
                return;
            }

            eap.HasProved = true;
            payloads.AddRange([id, .. CertificatePayloads(Peer), auth]);
        }

        (eap.Key, eap.Name) = (answer.MasterSessionKey, answer.Name);
        Respond([.. payloads, new EapPayload(message.Span)]);
        if (answer.Progress == EapProgress.Failed)
        {
            Engine.Effects.Count("ike.auth.refused");
            Engine.Tell("ike.auth.refused", EventSeverity.Warning, $"{Remote} is refused: EAP failed", this, "TA2.142x");
            End(IkeEnd.Refused, "EAP failed", linger: true);
        }
    }

    private void ContinueEap(EapExchange eap, IReadOnlyList<IkePayload> payloads)
    {
        if (eap.Key is null)
        {
            if (payloads.OfType<EapPayload>().FirstOrDefault() is { } response)
            {
                Relay(eap, response.Message.Memory);
            }
            else
            {
                RefuseAuth("IKE_AUTH without EAP in the middle of it");
            }

            return;
        }

        if (payloads.OfType<AuthenticationPayload>().FirstOrDefault() is not { } auth || !Authentication.IsMadeWith(eap.Key, this, ofInitiator: true, eap.Id, auth))
        {
            RefuseAuth("AUTH was not made with the key of EAP");
            return;
        }

        RemoteIdentity = eap.Name.Length > 0 ? IkeIdentity.Parse(eap.Name) : IkeIdentity.From(eap.Id);
        if (!Peer!.Authorize)
        {
            CompleteEap(eap, []);
            return;
        }

        var asked = eap.First.OfType<ConfigurationPayload>().FirstOrDefault(c => c.ConfigurationType == IkeConfigurationType.Request)?.Attributes.Select(a => a.Type).ToList() ?? [];
        var remote = eap.First.OfType<SelectorsPayload>().FirstOrDefault(s => s.OfInitiator)?.Traffic.ToList() ?? [];
        ForgetAt = Engine.Now + (2 * Engine.Options.HalfOpenLifetime);
        Engine.Ask(
            this,
            number => new ConfigurePeer(number, Id, Peer.Name, RemoteIdentity, asked, remote, Remote),
            answer =>
            {
                if (State != IkeSaState.Negotiating)
                {
                    return;
                }

                var configured = (PeerConfigured)answer;
                if (configured.Attributes is { } attributes)
                {
                    CompleteEap(eap, attributes);
                }
                else
                {
                    RefuseAuth(configured.Reason);
                }
            });
    }

    private void CompleteEap(EapExchange eap, IReadOnlyList<IkeConfigurationAttribute> configuration)
    {
        bool Said(IkeNotifyType type) => eap.First.OfType<NotifyPayload>().Any(n => n.NotifyType == type);
        var answer = new List<IkePayload> { Authentication.MakeWith(eap.Key!, this, ofInitiator: false, Peer!.LocalIdentity.ToPayload(ofInitiator: false)) };
        eap.Key!.Wipe();
        if (configuration.Count > 0)
        {
            answer.Add(new ConfigurationPayload(IkeConfigurationType.Reply, configuration));
        }

        Mobike = Peer.Mobike && Said(IkeNotifyType.MobikeSupported);
        if (Mobike)
        {
            answer.Add(new NotifyPayload(IkeNotifyType.MobikeSupported));
        }

        var others = Said(IkeNotifyType.InitialContact) ? Engine.OthersOf(this).ToList() : [];
        Establish(replaces: null);
        foreach (var other in others)
        {
            other.End(IkeEnd.Superseded, "the peer has begun anew", linger: false);
        }

        if (eap.First.Any(p => p is SecurityAssociationPayload))
        {
            var child = ChildNegotiation.Answer(this, eap.First, InitiatorNonce, ResponderNonce, inAuth: true, replaces: null);
            answer.AddRange(child.Payloads);
            if (child.Child is { } established)
            {
                AddChild(established, null);
            }
        }

        _eap = null;
        Respond(answer);
        StartNext();
    }
}
