using Sojourn.Engine.CertificateAuthority;
using Sojourn.Wire.Cmp;

namespace Sojourn.Engine.Revocation;

/// <summary>A CRL whose signature was found to be that of the authority (RFC 5280 6.3).</summary>
public sealed class RevocationList
{
    private readonly CertificateRevocationList _list;

    private RevocationList(CertificateRevocationList list, DateTimeOffset until) => (_list, Until) = (list, until);

    /// <summary>nextUpdate: from then on it proves nothing.</summary>
    public DateTimeOffset Until { get; }

    /// <summary>Takes a CRL when it is signed by this authority and in force.</summary>
    /// <param name="fault">Why not.</param>
    public static RevocationList? Take(ReadOnlyMemory<byte> octets, CertificateFields authority, DateTimeOffset now, out string fault)
    {
        fault = "";
        if (!CertificateRevocationList.TryParse(octets, out var list, out var error))
        {
            fault = $"the CRL cannot be read: {error}";
        }
        else if (!list.Issuer.Span.SequenceEqual(authority.Subject.Span) || PublicKeys.Verify(authority.PublicKey, list.Algorithm, list.Signed.Span, list.Signature.Span) != Verification.Good)
        {
            fault = "the CRL is not signed by the certificate's issuer";
        }
        else if (list.NextUpdate is not { } until || list.ThisUpdate > now + RevocationTimes.Tolerance || until < now)
        {
            fault = $"the CRL is good from {list.ThisUpdate:u} to {list.NextUpdate:u} only";
        }
        else
        {
            return new RevocationList(list, until);
        }

        return null;
    }

    /// <param name="certificate">Of the authority whose list this is.</param>
    public RevocationAnswer Judge(CertificateFields certificate) =>
        _list.Revoked.TryGetValue(Convert.ToHexStringLower(certificate.SerialNumber.Span), out var at)
            ? new RevocationAnswer(RevocationStatus.Revoked, $"the CRL of {_list.ThisUpdate:u} lists it as revoked since {at:u}")
            : new RevocationAnswer(RevocationStatus.Good, $"the CRL of {_list.ThisUpdate:u} does not list it");
}
