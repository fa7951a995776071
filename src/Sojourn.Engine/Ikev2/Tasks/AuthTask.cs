using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>IKE_AUTH as initiator with a signature or a pre-shared key (RFC 7296 1.2).</summary>
internal sealed class AuthTask(IkeSa sa) : FirstAuthTask(sa)
{
    public override IReadOnlyList<IkePayload>? Build()
    {
        var peer = Sa.Peer!;
        var id = peer.LocalIdentity.ToPayload(ofInitiator: true);
        if (Authentication.Make(Sa, peer, ofInitiator: true, id) is not { } auth)
        {
            End(Authentication.WhyNone(peer));
            return null;
        }

        List<IkePayload> payloads = [id, .. Sa.CertificatePayloads(peer), .. Wanted(), auth, .. Announced(), .. Sa.OwnCrashToken()];
        if (Engine.Options.CertificateHosts.Count > 0)
        {
            payloads.Add(new NotifyPayload(IkeNotifyType.HttpCertLookupSupported));
        }

        payloads.AddRange(FirstChild());
        return payloads;
    }

    public override void Process(IReadOnlyList<IkePayload> payloads)
    {
        if (payloads.OfType<IdentificationPayload>().FirstOrDefault() is not { } id || !payloads.OfType<AuthenticationPayload>().Any())
        {
            EndForLackOf("AUTH", payloads);
            return;
        }

        ProveResponder(id, payloads, () =>
        {
            Establish(payloads);
            MakeChildren(payloads);
        });
    }
}
