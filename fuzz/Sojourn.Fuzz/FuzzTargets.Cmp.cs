using System.Formats.Asn1;
using Sojourn.Wire.Cmp;
using Sojourn.Wire.Tests.Cmp;

namespace Sojourn.Fuzz;

/// <summary>Certificate management: messages with their bodies, and the parts of X.509 in them.</summary>
internal static partial class FuzzTargets
{
    private static byte[][] CmpMessages => [.. CmpSamples.Messages.Values];

    private static IEnumerable<FuzzTarget> Cmp()
    {
        yield return new FuzzTarget(
            "cmp-message",
            ["PkiMessage.TryParse", "CertReqMsg.TryParseAll", "Pkcs10Request.TryParse", "CertStatus.TryParseAll", "CertResponse.TryParseAll", "RevocationDetails.TryParseAll", "PkiBodies.TryParseGeneralMessage", "PkiBodies.TryParseError", "PkiBodies.TryParseRevocationResponse", "PkiBodies.TryParseCertificates", "PollResponse.TryParse"],
            [.. CmpMessages, PollMessage()],
            input =>
            {
                if (!PkiMessage.TryParse(input, out var message, out _))
                {
                    return false;
                }

                Require(message.ExtraCertificates.Count <= CmpLimits.ExtraCertificates && message.Header.GeneralInfo.Count <= CmpLimits.GeneralInfo, "more than the limit");
                return ReadsBody(message);
            })
        {
            Allowance = 8192,
            PerOctet = 64,
            Holds = input => Same(input, PkiMessage.TryParse(input, out var m, out _) ? m.ToArray() : [],
                o => PkiMessage.TryParse(o.ToArray(), out var again, out _) && again.BodyType == m.BodyType && again.Body.Span.SequenceEqual(m.Body.Span)
                    && again.Header.TransactionId.Span.SequenceEqual(m.Header.TransactionId.Span) && again.Header.MessageTime?.ToUnixTimeSeconds() == m.Header.MessageTime?.ToUnixTimeSeconds()
                    && again.Header.GeneralInfo.Count == m.Header.GeneralInfo.Count && again.ExtraCertificates.Count == m.ExtraCertificates.Count && again.Protection.Span.SequenceEqual(m.Protection.Span)),
        };
        yield return new FuzzTarget(
            "x509-parts",
            ["CertificateFields.TryParse", "SubjectPublicKeyInfo.TryParse", "PasswordBasedMacParameters.TryParse", "Pbmac1Parameters.TryParse", "GeneralNames.TryParse", "DistinguishedName.TryParse"],
            [.. Parts()],
            input => CertificateFields.TryParse(input, out _, out _) | (SubjectPublicKeyInfo.TryParse(input, out var key, out _) && key.NamedCurve.Length >= 0) | PasswordBasedMacParameters.TryParse(input, out _, out _)
                | Pbmac1Parameters.TryParse(input, out _, out _) | GeneralNames.TryParse(input, out _, out _) | DistinguishedName.TryParse(input, out _, out _))
        { Allowance = 16384, PerOctet = 128 };
        yield return new FuzzTarget("ocsp-request", ["OcspRequest.TryParse"], [.. OcspRequests()], input => OcspRequest.TryParse(input, out var request, out _) && request.Certificates.Count is > 0 and <= CmpLimits.Items)
        {
            Allowance = 4096,
            PerOctet = 64,
            Holds = input => Same(input, OcspRequest.TryParse(input, out var r, out _) ? r.ToArray() : [], o => OcspRequest.TryParse(o, out var again, out _) && again.Certificates.Count == r.Certificates.Count && again.Nonce.Span.SequenceEqual(r.Nonce.Span)),
        };
    }

    private static IEnumerable<FuzzTarget> Revocation()
    {
        yield return new FuzzTarget("ocsp-response", ["OcspResponse.TryParse"], RevocationSamples.Responses, input => OcspResponse.TryParse(input, out var response, out _) && response.Responses.Count <= CmpLimits.Items)
        {
            Allowance = 8192,
            PerOctet = 64,
        };
        yield return new FuzzTarget("revocation-list", ["CertificateRevocationList.TryParse"], RevocationSamples.Lists, input => CertificateRevocationList.TryParse(input, out var list, out _) && list.Revoked.Count <= CmpLimits.RevokedCertificates)
        {
            Allowance = 16384,
            PerOctet = 64,
        };
    }

    private static IEnumerable<byte[]> OcspRequests()
    {
        var id = new OcspCertificateId(AlgorithmIdentifier.WithNull(CmpOids.Sha1), new byte[20], new byte[20], (byte[])[1, 2, 3]);
        yield return new OcspRequest([id], default).ToArray();
        yield return new OcspRequest([id, id with { HashAlgorithm = new AlgorithmIdentifier(CmpOids.Sha256), IssuerNameHash = new byte[32] }], (byte[])[4, 2, 9, 9]).ToArray();
    }

    private static bool ReadsBody(PkiMessage message) => message.BodyType switch
    {
        PkiBodyType.InitializationRequest or PkiBodyType.CertificationRequest or PkiBodyType.KeyUpdateRequest => CertReqMsg.TryParseAll(message.Body, out var requests, out _) && requests.Count is > 0 and <= CmpLimits.Items,
        PkiBodyType.InitializationResponse or PkiBodyType.CertificationResponse or PkiBodyType.KeyUpdateResponse => CertResponse.TryParseAll(message.Body, out _, out _, out _),
        PkiBodyType.Pkcs10Request => Pkcs10Request.TryParse(message.Body, out _, out _),
        PkiBodyType.CertificateConfirm => CertStatus.TryParseAll(message.Body, out _, out _),
        PkiBodyType.RevocationRequest => RevocationDetails.TryParseAll(message.Body, out _, out _),
        PkiBodyType.RevocationResponse => PkiBodies.TryParseRevocationResponse(message.Body, out var statuses, out _) && statuses.Count <= CmpLimits.Items,
        PkiBodyType.PollResponse => PollResponse.TryParse(message.Body, out _, out _),
        PkiBodyType.GeneralMessage or PkiBodyType.GeneralResponse => PkiBodies.TryParseGeneralMessage(message.Body, out var items, out _)
            && items.All(item => PkiBodies.TryParseCertificates(item.Value, out var authorities, out _) ? authorities.Count <= CmpLimits.ExtraCertificates : item.Type.Length >= 0),
        PkiBodyType.Error => PkiBodies.TryParseError(message.Body, out _, out _),
        _ => true,
    };

    /// <summary>pollRep for request 0, to be asked again after 5 s. OpenSSL's samples hold none.</summary>
    private static byte[] PollMessage() => PkiMessage.Encode(new PkiHeader { TransactionId = new byte[16], SenderNonce = new byte[16] }, PkiBodyType.PollResponse, writer =>
    {
        using (writer.PushSequence())
        using (writer.PushSequence())
        {
            writer.WriteInteger(0);
            writer.WriteInteger(5);
            using (writer.PushSequence())
            {
                writer.WriteCharacterString(UniversalTagNumber.UTF8String, "later");
            }
        }
    }, null);

    private static IEnumerable<byte[]> Parts()
    {
        foreach (var octets in CmpMessages)
        {
            if (!PkiMessage.TryParse(octets, out var message, out _))
            {
                continue;
            }

            foreach (var certificate in message.ExtraCertificates)
            {
                yield return certificate.ToArray();
                if (CertificateFields.TryParse(certificate, out var fields, out _))
                {
                    yield return fields.PublicKey.ToArray();
                    yield return fields.Subject.ToArray();
                    foreach (var extension in fields.Extensions)
                    {
                        yield return extension.Value.ToArray();
                    }
                }
            }

            if (message.Header.ProtectionAlgorithm is { Oid: CmpOids.PasswordBasedMac } algorithm)
            {
                yield return algorithm.Parameters.ToArray();
            }
        }

        var hmac = AlgorithmIdentifier.WithNull(CmpOids.HmacSha256);
        yield return new Pbmac1Parameters(new byte[16], 1000, 32, hmac, hmac).ToAlgorithm().Parameters.ToArray();
    }
}
