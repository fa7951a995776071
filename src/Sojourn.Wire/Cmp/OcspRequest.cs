using System.Formats.Asn1;

namespace Sojourn.Wire.Cmp;

/// <summary>CertID (RFC 6960 4.1.1): a certificate named by hashes of its issuer and its serial number.</summary>
/// <param name="SerialNumber">Two's complement.</param>
public sealed record OcspCertificateId(AlgorithmIdentifier HashAlgorithm, ReadOnlyMemory<byte> IssuerNameHash, ReadOnlyMemory<byte> IssuerKeyHash, ReadOnlyMemory<byte> SerialNumber)
{
    internal static OcspCertificateId Read(ref DerReader reader)
    {
        var id = reader.Sequence("CertID");
        var read = new OcspCertificateId(id.Algorithm("hashAlgorithm"), id.OctetString("issuerNameHash"), id.OctetString("issuerKeyHash"), id.Integer("serialNumber"));
        id.End("CertID");
        return read;
    }

    public void Write(AsnWriter writer)
    {
        using (writer.PushSequence())
        {
            HashAlgorithm.Write(writer);
            writer.WriteOctetString(IssuerNameHash.Span);
            writer.WriteOctetString(IssuerKeyHash.Span);
            writer.WriteInteger(SerialNumber.Span);
        }
    }
}

/// <summary>OCSPRequest (RFC 6960 4.1.1). A signature on it is skipped: everybody may ask.</summary>
/// <param name="Nonce">extnValue of the nonce extension (RFC 9654); empty = none.</param>
public sealed record OcspRequest(IReadOnlyList<OcspCertificateId> Certificates, ReadOnlyMemory<byte> Nonce)
{
    private const int LongestNonce = 130;

    public static bool TryParse(ReadOnlyMemory<byte> octets, out OcspRequest request, out WireError error)
    {
        var fault = new DerFault();
        var all = new DerReader(octets, fault, "RFC 6960 4.1.1");
        var outer = all.Sequence("OCSPRequest");
        all.End("OCSPRequest");
        var r = outer.Sequence("tbsRequest");
        if (r.NextContext(0))
        {
            var version = r.Explicit(0, "version");
            if (version.SmallInteger("version") != 0)
            {
                version.Fail("version", "not version 1");
            }
        }

        if (r.NextContext(1))
        {
            _ = r.Element("requestorName");
        }

        var list = r.Sequence("requestList");
        var certificates = new List<OcspCertificateId>();
        while (list.More)
        {
            if (certificates.Count == CmpLimits.Items)
            {
                list.Fail("requestList", "too many requests");
                break;
            }

            var item = list.Sequence("Request");
            certificates.Add(OcspCertificateId.Read(ref item));
            if (item.NextContext(0))
            {
                _ = item.Element("singleRequestExtensions");
            }

            item.End("Request");
        }

        ReadOnlyMemory<byte> nonce = default;
        if (r.NextContext(2))
        {
            foreach (var extension in CertificateExtension.ReadAll(r.Explicit(2, "requestExtensions").Sequence("requestExtensions")))
            {
                nonce = extension.Oid == CmpOids.OcspNonce ? extension.Value : nonce;
            }
        }

        r.End("tbsRequest");
        if (outer.NextContext(0))
        {
            _ = outer.Element("optionalSignature");
        }

        outer.End("OCSPRequest");
        if (fault.Error is null && (certificates.Count == 0 || nonce.Length > LongestNonce || certificates.Exists(c => c.SerialNumber.Length > CmpLimits.SerialNumber + 1)))
        {
            outer.Fail("requestList", "empty, or a value longer than allowed");
        }

        request = new OcspRequest(certificates, nonce);
        error = fault.Error ?? default;
        return fault.Error is null;
    }

    public byte[] ToArray()
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        using (writer.PushSequence())
        {
            using (writer.PushSequence())
            {
                foreach (var certificate in Certificates)
                {
                    using (writer.PushSequence())
                    {
                        certificate.Write(writer);
                    }
                }
            }

            if (!Nonce.IsEmpty)
            {
                using (writer.PushSequence(DerReader.Context(2)))
                using (writer.PushSequence())
                {
                    new CertificateExtension(CmpOids.OcspNonce, false, Nonce).Write(writer);
                }
            }
        }

        return writer.Encode();
    }
}
