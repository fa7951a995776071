using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// IKE_AUTH as responder, and the proof of a peer on either side: certificate (fetched where allowed), signature, then whoever
/// has to authorise the peer. Whatever the cause of a refusal, the peer sees AUTHENTICATION_FAILED (row TA-M11).
/// </summary>
internal sealed partial class IkeSa
{
    /// <summary>CERT, CERTREQ and what goes with them in our IKE_AUTH message.</summary>
    public IEnumerable<IkePayload> CertificatePayloads(IkePeer peer) => peer.Credential is { } credential ? credential.ToPayloads(PeerFetchesCertificates) : [];

    /// <summary>Proves the peer and calls back, at once or after answers from outside, with null or the reason of the refusal.</summary>
    public void ProvePeer(IkePeer peer, bool ofInitiator, IdentificationPayload id, IReadOnlyList<IkePayload> payloads, IReadOnlyList<TrafficSelector> remoteSelectors, Action<string?> then)
    {
        var auth = payloads.OfType<AuthenticationPayload>().First();
        var certificates = new List<X509Certificate2>();
        Uri? url = null;
        byte[] hash = [];
        foreach (var payload in payloads.OfType<CertificatePayload>())
        {
            if (payload.Encoding == IkeCertificateEncoding.X509Signature && Load(payload.Data.Span) is { } certificate)
            {
                certificates.Add(certificate);
            }
            else if (payload.Encoding == IkeCertificateEncoding.HashAndUrl && url is null && certificates.Count == 0 && payload.Data.Length > 20)
            {
                hash = payload.Data.Span[..20].ToArray();
                url = Uri.TryCreate(Encoding.ASCII.GetString(payload.Data.Span[20..]), UriKind.Absolute, out var given) ? given : null;
                if (url is null || url.Scheme != Uri.UriSchemeHttp || !Engine.Options.CertificateHosts.Contains(url.Host))
                {
                    then("the certificate's URL is not on a host that is allowed");
                    return;
                }
            }
        }

        if (url is null)
        {
            Verify();
            return;
        }

        Engine.Ask(this, number => new FetchCertificate(number, url), answer =>
        {
            if (((CertificateFetched)answer).Certificate is not { } der || !SHA1.HashData(der.Span).AsSpan().SequenceEqual(hash) || Load(der.Span) is not { } fetched)
            {
                then("the certificate could not be fetched or is another one");
                return;
            }

            certificates.Insert(0, fetched);
            Verify();
        });

        void Verify()
        {
            RemoteCertificate = certificates.FirstOrDefault();
            var identity = IkeIdentity.From(id);
            if (Authentication.Refuse(this, peer, ofInitiator, id, auth, certificates) is { } reason)
            {
                then(reason);
                return;
            }

            if (peer.Children.Any(c => c.OneRemoteAddress) && remoteSelectors.Count > 0 && SingleAddressFault(peer, identity, remoteSelectors) is { } fault)
            {
                then(fault);
                return;
            }

            if (!peer.Authorize)
            {
                then(null);
                return;
            }

            AuthorizedAddress = !peer.Children.Any(c => c.OneRemoteAddress) ? null : remoteSelectors.Count > 0 ? remoteSelectors[0].StartAddress : IPAddress.IPv6Any;

            Engine.Ask(
                this,
                number => new AuthorizePeer(number, peer.Name, identity, RemoteCertificate?.RawDataMemory, remoteSelectors, Remote),
                answer => then(((PeerAuthorized)answer).Allowed ? null : ((PeerAuthorized)answer).Reason));
        }
    }

    /// <summary>A terminal names exactly one address of its own; in home-address mode that is its identity (spec authentication 7.1; row TA-N17).</summary>
    private static string? SingleAddressFault(IkePeer peer, IkeIdentity identity, IReadOnlyList<TrafficSelector> selectors)
    {
        var address = selectors[0].StartAddress;
        return selectors.Any(s => !s.StartAddress.Equals(address) || !s.EndAddress.Equals(address)) ? "the traffic selector is not exactly one address"
            : !peer.IdentityInCertificate && identity.Address is { } home && !home.Equals(address) ? "the traffic selector is not the address of the identity"
            : null;
    }

    private void AnswerAuth(IReadOnlyList<IkePayload> payloads)
    {
        if (AnswerEap(payloads))
        {
            return;
        }

        var id = payloads.OfType<IdentificationPayload>().FirstOrDefault(i => i.OfInitiator);
        var wanted = payloads.OfType<IdentificationPayload>().FirstOrDefault(i => !i.OfInitiator);
        if (id is null || payloads.OfType<AuthenticationPayload>().FirstOrDefault() is null || _round < Suite!.AdditionalGroups.Count)
        {
            RefuseAuth("IKE_AUTH without identity, without AUTH (and no peer that may use EAP), or too early");
            return;
        }

        var identity = IkeIdentity.From(id);
        if (Candidates.FirstOrDefault(p => !p.EapAuthenticator && (p.RemoteIdentity is null || p.RemoteIdentity == identity) && (wanted is null || p.LocalIdentity == IkeIdentity.From(wanted)) && Takes(p)) is not { } peer)
        {
            RefuseAuth($"nobody is known as {identity} who may use {Suite}");
            return;
        }

        (Peer, RemoteIdentity) = (peer, identity);
        (Local, Remote) = (_question!.Destination, _question.Source);
        PeerFetchesCertificates |= payloads.OfType<NotifyPayload>().Any(n => n.NotifyType == IkeNotifyType.HttpCertLookupSupported);
        PeerFragments &= peer.Fragmentation;

        // From here on the question outside may take its time: the half-open limit does not end it.
        ForgetAt = Engine.Now + (2 * Engine.Options.HalfOpenLifetime);
        var remote = payloads.OfType<SelectorsPayload>().FirstOrDefault(s => s.OfInitiator)?.Traffic.ToList() ?? [];
        ProvePeer(peer, ofInitiator: true, id, payloads, remote, refusal =>
        {
            if (State != IkeSaState.Negotiating)
            {
                return;
            }

            if (refusal is not null)
            {
                RefuseAuth(refusal);
            }
            else
            {
                // Its own proof may have come meanwhile, in answer to the question about the peer.
                CompleteAuth(Engine.Options.Peers.FirstOrDefault(p => p.Name == peer.Name) ?? peer, payloads);
            }
        });
    }

    /// <summary>The algorithms were agreed before anybody had a name; a peer with stricter ones is not let in with them.</summary>
    private bool Takes(IkePeer peer) => IkeProposals.Choose(peer.Proposals, [new IkeProposal(Chosen!.Number, Chosen.Protocol, default, Chosen.Transforms)], IkeProtocol.Ike, 0) is not null;

    private void CompleteAuth(IkePeer peer, IReadOnlyList<IkePayload> payloads)
    {
        bool Said(IkeNotifyType type) => payloads.OfType<NotifyPayload>().Any(n => n.NotifyType == type);
        var id = peer.LocalIdentity.ToPayload(ofInitiator: false);
        if (Authentication.Make(this, peer, ofInitiator: false, id) is not { } auth)
        {
            RefuseAuth(Authentication.WhyNone(peer));
            return;
        }

        Mobike = peer.Mobike && Said(IkeNotifyType.MobikeSupported);
        var others = Engine.OthersOf(this);
        var answer = new List<IkePayload> { id };
        answer.AddRange(CertificatePayloads(peer));
        answer.Add(auth);
        if (Mobike)
        {
            answer.Add(new NotifyPayload(IkeNotifyType.MobikeSupported));
        }

        KeepCrashToken(payloads);
        answer.AddRange(OwnCrashToken());
        Establish(replaces: null);
        if (Said(IkeNotifyType.InitialContact))
        {
            // Not what has been set up since the peer began: when both ends begin at once, each would take the other's away.
            foreach (var other in others.Where(o => o.EstablishedAt < CreatedAt))
            {
                other.End(IkeEnd.Superseded, "the peer has begun anew", linger: false);
            }
        }

        if (payloads.Any(p => p is SecurityAssociationPayload))
        {
            var child = ChildNegotiation.Answer(this, payloads, InitiatorNonce, ResponderNonce, inAuth: true, replaces: null);
            answer.AddRange(child.Payloads);
            if (child.Child is { } established)
            {
                AddChild(established, null);
            }
        }

        Respond(answer);
        StartNext();
    }

    private void RefuseAuth(string reason)
    {
        Engine.Effects.Count("ike.auth.refused");
        Engine.Tell("ike.auth.refused", EventSeverity.Warning, $"{Remote} is refused: {reason}", this, "TA-M11");
        Respond(IkeNotifyType.AuthenticationFailed);
        End(IkeEnd.Refused, reason, linger: true);
    }

    private static X509Certificate2? Load(ReadOnlySpan<byte> der)
    {
        try
        {
            return X509CertificateLoader.LoadCertificate(der);
        }
        catch (CryptographicException)
        {
            return null;
        }
    }
}
