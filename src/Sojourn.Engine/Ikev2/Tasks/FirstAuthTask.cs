using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>What IKE_AUTH as initiator is, however the initiator proves itself: the responder proves itself, and the first child SA is made in it.</summary>
internal abstract class FirstAuthTask(IkeSa sa) : IkeTask(sa)
{
    private ChildNegotiation? _child;

    public override IkeExchange Exchange => IkeExchange.IkeAuth;

    /// <summary>Whose certificate is believed, and who is wanted.</summary>
    protected IEnumerable<IkePayload> Wanted()
    {
        var peer = Sa.Peer!;
        if (peer.Trust is { } trust)
        {
            yield return trust.Request;
        }

        if (peer.RemoteIdentity is { } wanted)
        {
            yield return wanted.ToPayload(ofInitiator: false);
        }
    }

    /// <summary>That this is the only SA with the peer, when it is, and what this end can do.</summary>
    protected IEnumerable<IkePayload> Announced()
    {
        var peer = Sa.Peer!;

        // The engine finds others with the same peer by it.
        Sa.RemoteIdentity = peer.RemoteIdentity;
        if (peer.RemoteIdentity is not null && !Engine.OthersOf(Sa).Any())
        {
            yield return new NotifyPayload(IkeNotifyType.InitialContact);
        }

        if (peer.Mobike)
        {
            yield return new NotifyPayload(IkeNotifyType.MobikeSupported);
        }
    }

    /// <summary>The proposal of the first child SA; nothing when the peer is to have none.</summary>
    protected IEnumerable<IkePayload> FirstChild()
    {
        if (Sa.Peer!.Children.Count == 0)
        {
            return [];
        }

        _child = new ChildNegotiation(Sa, Sa.Peer.Children[0], null, inAuth: true);
        return _child.Payloads();
    }

    /// <summary>Has the responder's proof looked at; refuses it, or goes on with <paramref name="proved"/>.</summary>
    protected void ProveResponder(IdentificationPayload id, IReadOnlyList<IkePayload> payloads, Action proved)
    {
        var peer = Sa.Peer!;
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

            proved();
            Sa.Resume();
        });
    }

    protected void Establish(IReadOnlyList<IkePayload> payloads)
    {
        Sa.Mobike = Sa.Peer!.Mobike && Notify(payloads, IkeNotifyType.MobikeSupported) is not null;
        Sa.KeepCrashToken(payloads);
        Sa.Establish(replaces: null);
    }

    /// <summary>Completes the first child SA and asks for the others.</summary>
    protected void MakeChildren(IReadOnlyList<IkePayload> payloads)
    {
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

        foreach (var further in Sa.Peer!.Children.Skip(1))
        {
            Sa.Enqueue(new CreateChildTask(Sa, further, null));
        }
    }

    protected void End(string reason)
    {
        Dispose();
        Sa.End(IkeEnd.Refused, reason, linger: false);
    }

    /// <summary>The answer lacks payloads it has to have; the reason given is the peer's, where it names one.</summary>
    protected void EndForLackOf(string missing, IReadOnlyList<IkePayload> payloads) =>
        End($"the peer answers {(object?)Error(payloads)?.NotifyType ?? $"without {missing}"}");

    /// <summary>The peer believes the SA stands, so it is told that it does not (RFC 7296 2.21.2).</summary>
    protected void Refuse(string reason)
    {
        Engine.Effects.Count("ike.auth.refused");
        Sa.SendOnce(IkeExchange.Informational, [new NotifyPayload(IkeNotifyType.AuthenticationFailed)]);
        End(reason);
    }
}
