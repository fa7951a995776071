using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>IKE_AUTH as initiator, with the first child SA in it (RFC 7296 1.2).</summary>
internal sealed class AuthTask(IkeSa sa) : IkeTask(sa)
{
    private ChildNegotiation? _child;

    public override IkeExchange Exchange => IkeExchange.IkeAuth;

    public override IReadOnlyList<IkePayload>? Build()
    {
        var peer = Sa.Peer!;
        var id = peer.LocalIdentity.ToPayload(ofInitiator: true);
        if (Authentication.Make(Sa, peer, ofInitiator: true, id) is not { } auth)
        {
            Sa.End(IkeEnd.Refused, "the peer takes no proof that we could give", linger: false);
            return null;
        }

        var payloads = new List<IkePayload> { id };
        payloads.AddRange(Sa.CertificatePayloads(peer));
        if (peer.Trust is { } trust)
        {
            payloads.Add(trust.Request);
        }

        if (peer.RemoteIdentity is { } wanted)
        {
            payloads.Add(wanted.ToPayload(ofInitiator: false));
        }

        payloads.Add(auth);
        Sa.RemoteIdentity = peer.RemoteIdentity;
        if (peer.RemoteIdentity is not null && !Engine.OthersOf(Sa).Any())
        {
            payloads.Add(new NotifyPayload(IkeNotifyType.InitialContact));
        }

        if (Engine.Options.CertificateHosts.Count > 0)
        {
            payloads.Add(new NotifyPayload(IkeNotifyType.HttpCertLookupSupported));
        }

        if (peer.Mobike)
        {
            payloads.Add(new NotifyPayload(IkeNotifyType.MobikeSupported));
        }

        if (peer.Children.Count > 0)
        {
            _child = new ChildNegotiation(Sa, peer.Children[0], null, inAuth: true);
            payloads.AddRange(_child.Payloads());
        }

        return payloads;
    }

    public override void Process(IReadOnlyList<IkePayload> payloads)
    {
        var peer = Sa.Peer!;
        var id = payloads.OfType<IdentificationPayload>().FirstOrDefault();
        if (id is null || !payloads.OfType<AuthenticationPayload>().Any())
        {
            Sa.End(IkeEnd.Refused, $"the peer answers {(object?)Error(payloads)?.NotifyType ?? "without AUTH"}", linger: false);
            return;
        }

        var identity = IkeIdentity.From(id);
        if (peer.RemoteIdentity is not null && peer.RemoteIdentity != identity)
        {
            Refuse($"the peer says it is {identity}");
            return;
        }

        // Whoever is asked outside may never answer.
        Sa.RemoteIdentity = identity;
        Sa.ForgetAt = Engine.Now + (2 * Engine.Options.HalfOpenLifetime);
        Sa.Suspend();
        Sa.ProvePeer(peer, ofInitiator: false, id, payloads, [], refusal =>
        {
            if (refusal is not null)
            {
                Refuse(refusal);
                return;
            }

            Complete(peer, payloads);
            Sa.Resume();
        });
    }

    private void Complete(IkePeer peer, IReadOnlyList<IkePayload> payloads)
    {
        Sa.Mobike = peer.Mobike && Notify(payloads, IkeNotifyType.MobikeSupported) is not null;
        Sa.Establish(replaces: null);
        if (_child is not null)
        {
            var (child, error) = _child.Complete(payloads, Sa.InitiatorNonce, Sa.ResponderNonce, null);
            if (child is not null)
            {
                Sa.AddChild(child, null);
            }
            else
            {
                _child.Refused(error);
            }
        }

        foreach (var further in peer.Children.Skip(1))
        {
            Sa.Enqueue(new CreateChildTask(Sa, further, null));
        }
    }

    /// <summary>The peer believes the SA stands, so it is told that it does not (RFC 7296 2.21.2).</summary>
    private void Refuse(string reason)
    {
        Engine.Effects.Count("ike.auth.refused");
        Sa.SendOnce(IkeExchange.Informational, [new NotifyPayload(IkeNotifyType.AuthenticationFailed)]);
        Sa.End(IkeEnd.Refused, reason, linger: false);
    }
}
