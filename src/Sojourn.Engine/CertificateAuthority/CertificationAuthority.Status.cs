using System.Formats.Asn1;
using System.Security.Cryptography;
using Sojourn.Wire.Cmp;

namespace Sojourn.Engine.CertificateAuthority;

/// <summary>Status of certificates for others: CRL (RFC 5280 section 5) and OCSP (RFC 6960), both signed with the authority's own key.</summary>
public sealed partial class CertificationAuthority
{
    private enum OcspStatus
    {
        Successful = 0,
        MalformedRequest = 1,
    }

    /// <summary>The CRL of all certificates that are revoked and not expired.</summary>
    /// <param name="number">Greater than that of every CRL before.</param>
    public byte[] RevocationList(long number, IReadOnlyList<IssuedCertificate> revoked, DateTimeOffset now)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteInteger(1);
            _signer.Algorithm.Write(writer);
            writer.WriteEncodedValue(_own.Subject.Span);
            CertificateEncoder.Time(writer, now);
            CertificateEncoder.Time(writer, now + _options.CrlLifetime);
            if (revoked.Count > 0)
            {
                using (writer.PushSequence())
                {
                    foreach (var certificate in revoked)
                    {
                        Entry(writer, certificate, now);
                    }
                }
            }

            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
            using (writer.PushSequence())
            {
                CertificateEncoder.AuthorityKey(_ownKeyId).Write(writer);
                new CertificateExtension(CmpOids.CrlNumber, false, CertificateEncoder.Der(inside => inside.WriteInteger(number))).Write(writer);
            }
        }

        return CertificateEncoder.Signed(_signer, writer.Encode());
    }

    /// <summary>Answers an OCSP request. Serial numbers that were never issued, and other authorities' certificates, are unknown.</summary>
    public byte[] Status(ReadOnlyMemory<byte> octets, IAuthorityView view, DateTimeOffset now, EffectSink effects)
    {
        effects.Count("ca.ocsp.request");
        if (!OcspRequest.TryParse(octets, out var request, out _))
        {
            effects.Count("ca.ocsp.malformed");
            return CertificateEncoder.Der(writer =>
            {
                using (writer.PushSequence())
                {
                    writer.WriteEnumeratedValue(OcspStatus.MalformedRequest);
                }
            });
        }

        var data = new AsnWriter(AsnEncodingRules.DER);
        using (data.PushSequence())
        {
            // The responder is named by its key: responderID [2] KeyHash.
            using (data.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 2)))
            {
                data.WriteOctetString(_ownKeyId);
            }

            data.WriteGeneralizedTime(now, omitFractionalSeconds: true);
            using (data.PushSequence())
            {
                foreach (var id in request.Certificates)
                {
                    Single(data, id, view, now);
                }
            }

            if (!request.Nonce.IsEmpty)
            {
                using (data.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 1)))
                using (data.PushSequence())
                {
                    new CertificateExtension(CmpOids.OcspNonce, false, request.Nonce).Write(data);
                }
            }
        }

        var basic = CertificateEncoder.Signed(_signer, data.Encode());
        return CertificateEncoder.Der(writer =>
        {
            using (writer.PushSequence())
            {
                writer.WriteEnumeratedValue(OcspStatus.Successful);
                using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
                using (writer.PushSequence())
                {
                    writer.WriteObjectIdentifier(CmpOids.OcspBasic);
                    writer.WriteOctetString(basic);
                }
            }
        });
    }

    private static void Entry(AsnWriter writer, IssuedCertificate certificate, DateTimeOffset now)
    {
        using (writer.PushSequence())
        {
            writer.WriteInteger(Convert.FromHexString(certificate.Serial));
            CertificateEncoder.Time(writer, certificate.RevokedAt ?? now);
            if (certificate.Reason is > RevocationReason.Unspecified and var reason)
            {
                using (writer.PushSequence())
                {
                    new CertificateExtension(CmpOids.ReasonCode, false, (byte[])[0x0A, 1, (byte)reason]).Write(writer);
                }
            }
        }
    }

    private void Single(AsnWriter writer, OcspCertificateId id, IAuthorityView view, DateTimeOffset now)
    {
        var certificate = IsOwn(id) ? view.Certificate(Convert.ToHexStringLower(id.SerialNumber.Span)) : null;
        using (writer.PushSequence())
        {
            id.Write(writer);
            switch (certificate)
            {
                case null:
                    writer.WriteNull(new Asn1Tag(TagClass.ContextSpecific, 2));
                    break;
                case { Status: CertificateStatus.Revoked }:
                    using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 1)))
                    {
                        writer.WriteGeneralizedTime(certificate.RevokedAt ?? now, omitFractionalSeconds: true);
                        if (certificate.Reason is > RevocationReason.Unspecified and var reason)
                        {
                            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
                            {
                                writer.WriteEncodedValue([0x0A, 1, (byte)reason]);
                            }
                        }
                    }

                    break;
                default:
                    writer.WriteNull(new Asn1Tag(TagClass.ContextSpecific, 0));
                    break;
            }

            writer.WriteGeneralizedTime(now, omitFractionalSeconds: true);
            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
            {
                writer.WriteGeneralizedTime(now + _options.OcspLifetime, omitFractionalSeconds: true);
            }
        }
    }

    /// <summary>SHA-1 is the hash everybody names certificates with here; it protects nothing.</summary>
    private bool IsOwn(OcspCertificateId id)
    {
        var hash = id.HashAlgorithm.Oid == CmpOids.Sha1 ? HashAlgorithmName.SHA1 : PublicKeys.HashOf(id.HashAlgorithm);
        return hash is { } name && SubjectPublicKeyInfo.TryParse(_own.PublicKey, out var key, out _)
            && id.IssuerNameHash.Span.SequenceEqual(CryptographicOperations.HashData(name, _own.Subject.Span))
            && id.IssuerKeyHash.Span.SequenceEqual(CryptographicOperations.HashData(name, key.Key.Span));
    }
}
