using Sojourn.Engine.CertificateAuthority;
using Sojourn.Wire.Cmp;

namespace Sojourn.Engine.Revocation;

/// <summary>Which of several authorities a certificate comes from.</summary>
public static class CertificateIssuers
{
    /// <summary>The authority whose name the certificate bears and whose key has signed it; null = none of them.</summary>
    public static CertificateFields? Of(CertificateFields certificate, IEnumerable<CertificateFields> authorities) => authorities.FirstOrDefault(authority => Signed(certificate, authority));

    internal static bool Signed(CertificateFields certificate, CertificateFields authority) =>
        certificate.Issuer.Span.SequenceEqual(authority.Subject.Span)
        && PublicKeys.Verify(authority.PublicKey, certificate.SignatureAlgorithm, certificate.Signed.Span, certificate.Signature.Span) == Verification.Good;
}
