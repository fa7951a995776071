// Readings:
// - A response proves something only under the key of the certificate's issuer, or of a responder the issuer has certified for
//   OCSP signing (RFC 6960 4.2.2.2) with ocsp-nocheck: about one without it one would have to ask in turn.
// - The nonce has to come back (RFC 9654). A responder that leaves it out signs beforehand, and what it says may be a recording; it
//   is believed only where that is allowed, within thisUpdate and nextUpdate.
using System.Formats.Asn1;
using System.Security.Cryptography;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Wire.Cmp;

namespace Sojourn.Engine.Revocation;

/// <summary>One question to an OCSP responder (RFC 6960), and what its response proves.</summary>
public sealed class OcspQuestion
{
    private const int NonceLength = 32;

    private readonly CertificateFields _issuer;
    private readonly OcspCertificateId _id;
    private readonly byte[] _nonce;
    private readonly bool _nonceRequired;

    /// <param name="issuer">Of the certificate that is asked about.</param>
    /// <exception cref="ArgumentException">The issuer's key cannot be read.</exception>
    public OcspQuestion(CertificateFields certificate, CertificateFields issuer, IRandomSource random, bool nonceRequired = true)
    {
        if (!SubjectPublicKeyInfo.TryParse(issuer.PublicKey, out var key, out var error))
        {
            throw new ArgumentException(error.ToString(), nameof(issuer));
        }

        _issuer = issuer;
        _nonceRequired = nonceRequired;

        // SHA-1 is the one hash that every responder knows certificates by; it protects nothing here.
        _id = new OcspCertificateId(AlgorithmIdentifier.WithNull(CmpOids.Sha1), SHA1.HashData(certificate.Issuer.Span), SHA1.HashData(key.Key.Span), certificate.SerialNumber);
        var value = new AsnWriter(AsnEncodingRules.DER);
        value.WriteOctetString(random.NextBytes(NonceLength));
        _nonce = value.Encode();
        Request = new OcspRequest([_id], _nonce).ToArray();
    }

    /// <summary>OCSPRequest, DER.</summary>
    public ReadOnlyMemory<byte> Request { get; }

    /// <summary>What the response proves at this time.</summary>
    public RevocationAnswer Judge(ReadOnlyMemory<byte> octets, DateTimeOffset now)
    {
        if (!OcspResponse.TryParse(octets, out var response, out var error))
        {
            return RevocationAnswer.Unknown($"the OCSP response cannot be read: {error}");
        }

        if (response.Status != OcspResponseStatus.Successful)
        {
            return RevocationAnswer.Unknown($"the OCSP responder says {response.Status}");
        }

        if (!IsSigned(response, now))
        {
            return RevocationAnswer.Unknown("the OCSP response is not signed by the issuer or a responder of the issuer's");
        }

        if (response.Nonce.IsEmpty ? _nonceRequired : !response.Nonce.Span.SequenceEqual(_nonce))
        {
            return RevocationAnswer.Unknown("the OCSP response has not the nonce of the request");
        }

        if (response.Responses.FirstOrDefault(IsMeant) is not { } single)
        {
            return RevocationAnswer.Unknown("the OCSP response is about another certificate");
        }

        if (single.ThisUpdate > now + RevocationTimes.Tolerance || single.NextUpdate + RevocationTimes.Tolerance < now)
        {
            return RevocationAnswer.Unknown($"the OCSP response is good from {single.ThisUpdate:u} to {single.NextUpdate:u} only");
        }

        return single.Status switch
        {
            OcspCertificateStatus.Good => new RevocationAnswer(RevocationStatus.Good, "OCSP says good"),
            OcspCertificateStatus.Revoked => new RevocationAnswer(RevocationStatus.Revoked, $"OCSP says revoked since {single.RevokedAt:u}"),
            _ => RevocationAnswer.Unknown("the OCSP responder does not know the certificate"),
        };
    }

    private bool IsMeant(OcspSingleResponse single) =>
        single.Id.HashAlgorithm.Oid == _id.HashAlgorithm.Oid && single.Id.IssuerNameHash.Span.SequenceEqual(_id.IssuerNameHash.Span)
        && single.Id.IssuerKeyHash.Span.SequenceEqual(_id.IssuerKeyHash.Span) && single.Id.SerialNumber.Span.SequenceEqual(_id.SerialNumber.Span);

    private bool IsSigned(OcspResponse response, DateTimeOffset now)
    {
        bool By(CertificateFields signer) => PublicKeys.Verify(signer.PublicKey, response.Algorithm, response.Signed.Span, response.Signature.Span) == Verification.Good;
        if (Names(response, _issuer) && By(_issuer))
        {
            return true;
        }

        return response.Certificates.Any(der => CertificateFields.TryParse(der, out var responder, out _) && Names(response, responder) && IsResponder(responder, now) && By(responder));
    }

    private static bool Names(OcspResponse response, CertificateFields signer) =>
        response.ResponderKeyHash.IsEmpty ? response.ResponderName.Span.SequenceEqual(signer.Subject.Span)
        : SubjectPublicKeyInfo.TryParse(signer.PublicKey, out var key, out _) && response.ResponderKeyHash.Span.SequenceEqual(SHA1.HashData(key.Key.Span));

    /// <summary>Certified by the issuer itself for this purpose, valid now, and not to be asked about.</summary>
    private bool IsResponder(CertificateFields responder, DateTimeOffset now) =>
        responder.NotBefore <= now && responder.NotAfter >= now && responder.Extensions.Any(e => e.Oid == CmpOids.OcspNoCheck)
        && responder.Extensions.Any(e => e.Oid == CmpOids.ExtendedKeyUsage && Purposes(e.Value).Contains(CmpOids.OcspSigning))
        && CertificateIssuers.Signed(responder, _issuer);

    private static List<string> Purposes(ReadOnlyMemory<byte> octets)
    {
        var purposes = new List<string>();
        try
        {
            var list = new AsnReader(octets, AsnEncodingRules.DER).ReadSequence();
            while (list.HasData)
            {
                purposes.Add(list.ReadObjectIdentifier());
            }
        }
        catch (AsnContentException)
        {
            purposes.Clear();
        }

        return purposes;
    }
}

internal static class RevocationTimes
{
    /// <summary>How far clocks may be apart.</summary>
    public static readonly TimeSpan Tolerance = TimeSpan.FromMinutes(5);
}
