using System.Security.Cryptography;
using Sojourn.Engine;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Enrolment;
using Sojourn.Roles.Enrolment;
using Sojourn.Storage;

namespace Sojourn.Roles.CertificateAuthority;

/// <summary>
/// Enrolment at an authority's database, in one process: for servers on its own host, above all the one that takes its queries, for
/// which it needs a certificate before it can run. The messages are those of an enrolment over the network.
/// </summary>
public static class LocalEnrolment
{
    private static readonly TimeSpan SecretLifetime = TimeSpan.FromMinutes(5);

    /// <summary>A certificate for the key of a store; it is in the store when this ends with <see cref="CmpIssued"/>.</summary>
    /// <param name="publicUri">What the certificate says about where CRL and OCSP are, as option <c>ca.public-uri</c>; null = nothing.</param>
    /// <param name="actor">Who did it, for the audit trail.</param>
    /// <exception cref="StorageException">There is no authority, or it does not know the store's identifier.</exception>
    /// <exception cref="CryptographicException">The authority's key does not fit its certificate.</exception>
    /// <exception cref="CredentialStoreException">The certificate cannot be written.</exception>
    public static CmpEnd Enrol(AuthorityStore authority, CredentialStore store, string? publicUri, string actor, TimeProvider time)
    {
        var (certificate, key) = authority.Authority() ?? throw new StorageException("there is no authority in this database; use: sojourn ca init");
        using var signer = new EcdsaSigner(certificate, key);
        key.Wipe();
        var (crl, ocsp) = CaRole.StatusUris(publicUri);
        var issuer = new CertificationAuthority(signer, new AuthorityOptions { CrlUri = crl, OcspUri = ocsp }, SystemRandomSource.Instance);
        var secret = authority.AddSecret(store.Identifier, null, null, SecretLifetime, actor);
        var wish = new CertificateWish(CertificateRequestKind.Initial, store.Identifier, store.Key, AskImplicitConfirmation: true);
        var exchange = CmpExchange.Certificate(CmpRequester.BySecret(secret.Reference, secret.Secret, []), wish, SystemRandomSource.Instance);
        var step = exchange.Begin(time.GetUtcNow());
        while (step is CmpSend send)
        {
            var answer = authority.InOneTransaction(() =>
            {
                var effects = new EffectSink();
                var response = issuer.Answer(send.Message, actor, authority, time.GetUtcNow(), effects);
                authority.Apply(effects.Effects);
                return response;
            });
            step = exchange.Receive(answer, time.GetUtcNow());
        }

        secret.Secret.Wipe();
        if (step is CmpIssued issued)
        {
            store.Save(issued);
        }

        return (CmpEnd)step;
    }
}
