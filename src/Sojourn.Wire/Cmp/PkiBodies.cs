using System.Formats.Asn1;

namespace Sojourn.Wire.Cmp;

/// <summary>CertStatus of certConf (RFC 9810 5.3.18).</summary>
/// <param name="CertificateHash">Hash over the certificate's DER.</param>
/// <param name="HashAlgorithm">Only with cmp2021; otherwise the hash of the certificate's signature.</param>
public sealed record CertStatus(ReadOnlyMemory<byte> CertificateHash, int RequestId, PkiStatusInfo? Status, AlgorithmIdentifier? HashAlgorithm)
{
    /// <summary>Reads CertConfirmContent. An empty one rejects everything that was issued.</summary>
    public static bool TryParseAll(ReadOnlyMemory<byte> octets, out IReadOnlyList<CertStatus> statuses, out WireError error)
    {
        var fault = new DerFault();
        var all = new DerReader(octets, fault, "RFC 9810 5.3.18");
        var list = all.Sequence("CertConfirmContent");
        all.End("CertConfirmContent");
        var found = new List<CertStatus>();
        while (list.More)
        {
            if (found.Count == CmpLimits.Items)
            {
                list.Fail("CertConfirmContent", "too many");
                break;
            }

            var r = list.Sequence("CertStatus");
            var hash = r.OctetString("certHash");
            var id = r.SmallInteger("certReqId");
            var status = r.Next(Asn1Tag.Sequence) ? PkiStatusInfo.Read(ref r) : null;
            AlgorithmIdentifier? algorithm = null;
            if (r.NextContext(0))
            {
                var inside = r.Explicit(0, "hashAlg");
                algorithm = inside.Algorithm("hashAlg");
                inside.End("hashAlg");
            }

            r.End("CertStatus");
            found.Add(new CertStatus(hash, id, status, algorithm));
        }

        statuses = found;
        error = fault.Error ?? default;
        return fault.Error is null;
    }

    /// <summary>Writes CertConfirmContent.</summary>
    public static void WriteAll(AsnWriter writer, IReadOnlyList<CertStatus> statuses)
    {
        using (writer.PushSequence())
        {
            foreach (var status in statuses)
            {
                status.Write(writer);
            }
        }
    }

    public void Write(AsnWriter writer)
    {
        using (writer.PushSequence())
        {
            writer.WriteOctetString(CertificateHash.Span);
            writer.WriteInteger(RequestId);
            Status?.Write(writer);
            if (HashAlgorithm is { } algorithm)
            {
                using (writer.PushSequence(DerReader.Context(0)))
                {
                    algorithm.Write(writer);
                }
            }
        }
    }
}

/// <summary>CertResponse of CertRepMessage (RFC 9810 5.3.4).</summary>
/// <param name="Certificate">DER; null when none was issued.</param>
public sealed record CertResponse(int RequestId, PkiStatusInfo Status, ReadOnlyMemory<byte>? Certificate)
{
    /// <summary>Writes CertRepMessage: SEQUENCE { [1] caPubs OPTIONAL, response SEQUENCE OF CertResponse }.</summary>
    public static void WriteAll(AsnWriter writer, IReadOnlyList<CertResponse> responses, IReadOnlyList<ReadOnlyMemory<byte>> authorities)
    {
        using (writer.PushSequence())
        {
            if (authorities.Count > 0)
            {
                using (writer.PushSequence(DerReader.Context(1)))
                using (writer.PushSequence())
                {
                    foreach (var authority in authorities)
                    {
                        writer.WriteEncodedValue(authority.Span);
                    }
                }
            }

            using (writer.PushSequence())
            {
                foreach (var response in responses)
                {
                    response.Write(writer);
                }
            }
        }
    }

    public static bool TryParseAll(ReadOnlyMemory<byte> octets, out IReadOnlyList<CertResponse> responses, out IReadOnlyList<ReadOnlyMemory<byte>> authorities, out WireError error)
    {
        var fault = new DerFault();
        var all = new DerReader(octets, fault, "RFC 9810 5.3.4");
        var r = all.Sequence("CertRepMessage");
        all.End("CertRepMessage");
        var issuers = new List<ReadOnlyMemory<byte>>();
        if (r.NextContext(1))
        {
            var list = r.Explicit(1, "caPubs").Sequence("caPubs");
            while (list.More && issuers.Count < CmpLimits.ExtraCertificates)
            {
                issuers.Add(list.Element("caPubs"));
            }

            list.End("caPubs");
        }

        var found = new List<CertResponse>();
        var items = r.Sequence("response");
        while (items.More && found.Count < CmpLimits.Items)
        {
            var item = items.Sequence("CertResponse");
            var id = item.SmallInteger("certReqId");
            var status = PkiStatusInfo.Read(ref item);
            ReadOnlyMemory<byte>? certificate = null;
            if (item.Next(Asn1Tag.Sequence))
            {
                var pair = item.Sequence("certifiedKeyPair");
                certificate = pair.NextContext(0) ? pair.Explicit(0, "certificate").Element("certificate") : null;
            }

            found.Add(new CertResponse(id, status, certificate));
        }

        items.End("response");
        r.End("CertRepMessage");
        responses = found;
        authorities = issuers;
        error = fault.Error ?? default;
        return fault.Error is null;
    }

    private void Write(AsnWriter writer)
    {
        using (writer.PushSequence())
        {
            writer.WriteInteger(RequestId);
            Status.Write(writer);
            if (Certificate is { } certificate)
            {
                using (writer.PushSequence())
                using (writer.PushSequence(DerReader.Context(0)))
                {
                    writer.WriteEncodedValue(certificate.Span);
                }
            }
        }
    }
}

/// <summary>RevDetails of rr (RFC 9810 5.3.9).</summary>
/// <param name="Certificate">Issuer and serial number name it.</param>
/// <param name="Reason">CRLReason of crlEntryDetails (RFC 5280 5.3.1); null = not stated.</param>
public sealed record RevocationDetails(CertTemplate Certificate, int? Reason)
{
    public static bool TryParseAll(ReadOnlyMemory<byte> octets, out IReadOnlyList<RevocationDetails> details, out WireError error)
    {
        var fault = new DerFault();
        var all = new DerReader(octets, fault, "RFC 9810 5.3.9");
        var list = all.Sequence("RevReqContent");
        all.End("RevReqContent");
        var found = new List<RevocationDetails>();
        while (list.More)
        {
            if (found.Count == CmpLimits.Items)
            {
                list.Fail("RevReqContent", "too many");
                break;
            }

            var r = list.Sequence("RevDetails");
            var template = CertTemplate.Read(ref r);
            int? reason = null;
            foreach (var extension in r.More ? CertificateExtension.ReadAll(r.Sequence("crlEntryDetails")) : [])
            {
                if (extension.Oid == CmpOids.ReasonCode)
                {
                    var value = new DerReader(extension.Value, fault, "RFC 5280 5.3.1").Content(Asn1Tag.Enumerated, "reasonCode").Span;
                    reason = value.Length == 1 ? value[0] : null;
                }
            }

            r.End("RevDetails");
            found.Add(new RevocationDetails(template, reason));
        }

        if (fault.Error is null && found.Count == 0)
        {
            list.Fail("RevReqContent", "nothing to revoke");
        }

        details = found;
        error = fault.Error ?? default;
        return fault.Error is null;
    }

    /// <summary>Writes RevReqContent.</summary>
    public static void WriteAll(AsnWriter writer, IReadOnlyList<RevocationDetails> details)
    {
        using (writer.PushSequence())
        {
            foreach (var detail in details)
            {
                detail.Write(writer);
            }
        }
    }

    public void Write(AsnWriter writer)
    {
        using (writer.PushSequence())
        {
            Certificate.Write(writer);
            if (Reason is { } reason)
            {
                using (writer.PushSequence())
                {
                    new CertificateExtension(CmpOids.ReasonCode, false, (byte[])[0x0A, 1, (byte)reason]).Write(writer);
                }
            }
        }
    }
}

/// <summary>PollRepContent (RFC 9810 5.3.22) for one request.</summary>
/// <param name="RequestId">certReqId.</param>
/// <param name="CheckAfter">Seconds after which the requester may ask again.</param>
public readonly record struct PollResponse(int RequestId, int CheckAfter)
{
    public static bool TryParse(ReadOnlyMemory<byte> octets, out PollResponse response, out WireError error)
    {
        var fault = new DerFault();
        var all = new DerReader(octets, fault, "RFC 9810 5.3.22");
        var list = all.Sequence("PollRepContent");
        all.End("PollRepContent");
        var r = list.Sequence("PollRepContent");
        list.End("PollRepContent");
        response = new PollResponse(r.SmallInteger("certReqId"), r.SmallInteger("checkAfter"));
        if (r.More)
        {
            _ = PkiStatusInfo.ReadFreeText(ref r, "reason");
        }

        r.End("PollRepContent");
        error = fault.Error ?? default;
        return fault.Error is null;
    }
}

/// <summary>Bodies that are lists of plain values: genm and genp, rp, error, pkiConf, pollReq.</summary>
public static class PkiBodies
{
    public static bool TryParseGeneralMessage(ReadOnlyMemory<byte> octets, out IReadOnlyList<InfoTypeAndValue> items, out WireError error)
    {
        var fault = new DerFault();
        var all = new DerReader(octets, fault, "RFC 9810 5.3.19");
        items = InfoTypeAndValue.ReadAll(all.Sequence("GenMsgContent"));
        all.End("GenMsgContent");
        error = fault.Error ?? default;
        return fault.Error is null;
    }

    public static void WriteGeneralMessage(AsnWriter writer, IReadOnlyList<InfoTypeAndValue> items)
    {
        using (writer.PushSequence())
        {
            foreach (var item in items)
            {
                item.Write(writer);
            }
        }
    }

    public static bool TryParseError(ReadOnlyMemory<byte> octets, out PkiStatusInfo status, out WireError error)
    {
        var fault = new DerFault();
        var r = new DerReader(octets, fault, "RFC 9810 5.3.21").Sequence("ErrorMsgContent");
        status = PkiStatusInfo.Read(ref r);
        error = fault.Error ?? default;
        return fault.Error is null;
    }

    /// <summary>ErrorMsgContent with the status alone.</summary>
    public static void WriteError(AsnWriter writer, PkiStatusInfo status)
    {
        using (writer.PushSequence())
        {
            status.Write(writer);
        }
    }

    /// <summary>The statuses of RevRepContent (RFC 9810 5.3.10), one for each request.</summary>
    public static bool TryParseRevocationResponse(ReadOnlyMemory<byte> octets, out IReadOnlyList<PkiStatusInfo> statuses, out WireError error)
    {
        var fault = new DerFault();
        var all = new DerReader(octets, fault, "RFC 9810 5.3.10");
        var r = all.Sequence("RevRepContent");
        all.End("RevRepContent");
        var list = r.Sequence("status");
        var found = new List<PkiStatusInfo>();
        while (list.More)
        {
            if (found.Count == CmpLimits.Items)
            {
                list.Fail("status", "too many");
                break;
            }

            found.Add(PkiStatusInfo.Read(ref list));
        }

        // What follows names the certificates and CRLs again; the transaction already says which they are.
        statuses = found;
        error = fault.Error ?? default;
        return fault.Error is null;
    }

    /// <summary>The value of caCerts in genp (RFC 9810 5.3.19.14): certificates in DER.</summary>
    public static bool TryParseCertificates(ReadOnlyMemory<byte> octets, out IReadOnlyList<ReadOnlyMemory<byte>> certificates, out WireError error)
    {
        var fault = new DerFault();
        var all = new DerReader(octets, fault, "RFC 9810 5.3.19.14");
        var list = all.Sequence("caCerts");
        all.End("caCerts");
        var found = new List<ReadOnlyMemory<byte>>();
        while (list.More)
        {
            if (found.Count == CmpLimits.ExtraCertificates)
            {
                list.Fail("caCerts", "too many");
                break;
            }

            found.Add(list.Element("caCerts"));
        }

        certificates = found;
        error = fault.Error ?? default;
        return fault.Error is null;
    }

    /// <summary>PollReqContent (RFC 9810 5.3.22) for one request.</summary>
    public static void WritePollRequest(AsnWriter writer, int requestId)
    {
        using (writer.PushSequence())
        using (writer.PushSequence())
        {
            writer.WriteInteger(requestId);
        }
    }

    /// <summary>RevRepContent with one status for each request.</summary>
    public static void WriteRevocationResponse(AsnWriter writer, IReadOnlyList<PkiStatusInfo> statuses)
    {
        using (writer.PushSequence())
        using (writer.PushSequence())
        {
            foreach (var status in statuses)
            {
                status.Write(writer);
            }
        }
    }
}
