using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>The AUTH payload (RFC 7296 2.15): who an end is, bound to everything both have said before.</summary>
internal static class Authentication
{
    private static ReadOnlySpan<byte> KeyPad => "Key Pad for IKEv2"u8;

    /// <summary>Our AUTH payload; null when we have nothing that the peer takes.</summary>
    public static AuthenticationPayload? Make(IkeSa sa, IkePeer peer, bool ofInitiator, IdentificationPayload id)
    {
        var octets = SignedOctets(sa, ofInitiator, id);
        if (peer.Credential is { } credential)
        {
            return IkeSigning.Sign(credential.PrivateKey, sa.PeerHashes, octets);
        }

        return peer.PreSharedKey is { } key ? new AuthenticationPayload(IkeAuthenticationMethod.SharedKey, Mac(sa, key, octets)) : null;
    }

    /// <summary>Why <see cref="Make"/> has nothing.</summary>
    public static string WhyNone(IkePeer peer) =>
        peer.Credential?.PrivateKey.IsPresent() == false ? "the private key has been taken out of its store" : "the peer takes no proof that we could give";

    /// <summary>Null when the peer is who it says; else why not, for the log.</summary>
    public static string? Refuse(IkeSa sa, IkePeer peer, bool ofInitiator, IdentificationPayload id, AuthenticationPayload auth, IReadOnlyList<X509Certificate2> certificates)
    {
        var octets = SignedOctets(sa, ofInitiator, id);
        if (auth.Method == IkeAuthenticationMethod.SharedKey)
        {
            if (peer.PreSharedKey is not { } key || peer.RemoteIdentity is null || peer.Trust is not null)
            {
                return "this peer has to prove itself with a certificate";
            }

            return CryptographicOperations.FixedTimeEquals(Mac(sa, key, octets), auth.Data.Span) ? null : "the pre-shared key is not the same";
        }

        if (peer.Trust is not { } trust)
        {
            return "this peer has to prove itself with the pre-shared key";
        }

        if (certificates.Count == 0)
        {
            return "there is no certificate";
        }

        var identity = IkeIdentity.From(id);
        var own = certificates[0];
        return trust.Refuse(own, certificates.Skip(1), sa.Engine.Now) is { } untrusted ? $"the certificate is not trusted: {untrusted}"
            : peer.IdentityInCertificate && !identity.IsIn(own) ? $"the certificate is not that of {identity}"
            : IkeSigning.Verify(own, auth, octets);
    }

    /// <summary>AUTH with a shared key, which EAP has given (RFC 7296 2.16).</summary>
    public static AuthenticationPayload MakeWith(KeyMaterial key, IkeSa sa, bool ofInitiator, IdentificationPayload id) =>
        new(IkeAuthenticationMethod.SharedKey, Mac(sa, key, SignedOctets(sa, ofInitiator, id)));

    public static bool IsMadeWith(KeyMaterial key, IkeSa sa, bool ofInitiator, IdentificationPayload id, AuthenticationPayload auth) =>
        auth.Method == IkeAuthenticationMethod.SharedKey && CryptographicOperations.FixedTimeEquals(Mac(sa, key, SignedOctets(sa, ofInitiator, id)), auth.Data.Span);

    private static byte[] SignedOctets(IkeSa sa, bool ofInitiator, IdentificationPayload id)
    {
        var key = ofInitiator ? sa.Keys!.AuthInitiator : sa.Keys!.AuthResponder;
        var idMac = PseudoRandomFunction.Compute(sa.Suite!.Prf, key.Octets, id.Body());
        return
        [
            .. ofInitiator ? sa.InitRequest : sa.InitResponse,
            .. (ofInitiator ? sa.ResponderNonce : sa.InitiatorNonce).Span,
            .. idMac,
            .. sa.IntermediateAuthentication(),
        ];
    }

    private static byte[] Mac(IkeSa sa, KeyMaterial key, byte[] octets)
    {
        var prf = sa.Suite!.Prf;
        return PseudoRandomFunction.Compute(prf, PseudoRandomFunction.Compute(prf, key.Octets, KeyPad), octets);
    }
}
