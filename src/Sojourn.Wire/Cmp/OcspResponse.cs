using System.Formats.Asn1;

namespace Sojourn.Wire.Cmp;

/// <summary>OCSPResponseStatus (RFC 6960 4.2.1).</summary>
public enum OcspResponseStatus : byte
{
    Successful = 0,
    MalformedRequest = 1,
    InternalError = 2,
    TryLater = 3,
    SignatureRequired = 5,
    Unauthorized = 6,
}

/// <summary>CertStatus (RFC 6960 4.2.1).</summary>
public enum OcspCertificateStatus : byte
{
    Good = 0,
    Revoked = 1,

    /// <summary>The responder does not know the certificate.</summary>
    Unknown = 2,
}

/// <summary>SingleResponse (RFC 6960 4.2.1).</summary>
/// <param name="RevokedAt">Only of <see cref="OcspCertificateStatus.Revoked"/>.</param>
/// <param name="NextUpdate">Null: something newer is there at any time.</param>
public sealed record OcspSingleResponse(OcspCertificateId Id, OcspCertificateStatus Status, DateTimeOffset? RevokedAt, DateTimeOffset ThisUpdate, DateTimeOffset? NextUpdate);

/// <summary>OCSPResponse with a BasicOCSPResponse in it (RFC 6960 4.2.1). Nothing is believed of it before its signature was checked.</summary>
public sealed record OcspResponse
{
    public required OcspResponseStatus Status { get; init; }

    /// <summary>What the signature covers: ResponseData, DER. Empty unless successful, as everything below.</summary>
    public ReadOnlyMemory<byte> Signed { get; init; }

    /// <summary>Name of the responder, DER; empty when it is named by its key.</summary>
    public ReadOnlyMemory<byte> ResponderName { get; init; }

    /// <summary>SHA-1 of the responder's public key bits; empty when it is named by its name.</summary>
    public ReadOnlyMemory<byte> ResponderKeyHash { get; init; }

    public DateTimeOffset ProducedAt { get; init; }

    public IReadOnlyList<OcspSingleResponse> Responses { get; init; } = [];

    /// <summary>extnValue of the nonce extension (RFC 9654); empty = none.</summary>
    public ReadOnlyMemory<byte> Nonce { get; init; }

    public AlgorithmIdentifier Algorithm { get; init; }

    public ReadOnlyMemory<byte> Signature { get; init; }

    /// <summary>Certificates, DER, that help to check the signature.</summary>
    public IReadOnlyList<ReadOnlyMemory<byte>> Certificates { get; init; } = [];

    public static bool TryParse(ReadOnlyMemory<byte> octets, out OcspResponse response, out WireError error)
    {
        var fault = new DerFault();
        response = Read(octets, fault);
        error = fault.Error ?? default;
        return fault.Error is null;
    }

    private static OcspResponse Read(ReadOnlyMemory<byte> octets, DerFault fault)
    {
        var all = new DerReader(octets, fault, "RFC 6960 4.2.1");
        var outer = all.Sequence("OCSPResponse");
        all.End("OCSPResponse");
        var status = outer.Content(new Asn1Tag(UniversalTagNumber.Enumerated), "responseStatus");
        if (status.Length != 1 || !Enum.IsDefined((OcspResponseStatus)status.Span[0]))
        {
            outer.Fail("responseStatus", "not a status");
            return new OcspResponse { Status = OcspResponseStatus.InternalError };
        }

        var result = new OcspResponse { Status = (OcspResponseStatus)status.Span[0] };
        if (result.Status != OcspResponseStatus.Successful)
        {
            return result;
        }

        var bytes = outer.Explicit(0, "responseBytes").Sequence("ResponseBytes");
        outer.End("OCSPResponse");
        if (bytes.ObjectIdentifier("responseType") != CmpOids.OcspBasic)
        {
            bytes.Fail("responseType", "not a basic response");
        }

        var whole = bytes.Inside(Asn1Tag.PrimitiveOctetString, "response");
        bytes.End("ResponseBytes");
        var basic = whole.Sequence("BasicOCSPResponse");
        whole.End("BasicOCSPResponse");
        var same = basic;
        result = ReadData(basic.Sequence("ResponseData"), result with { Signed = same.Element("ResponseData") }) with { Algorithm = basic.Algorithm("signatureAlgorithm"), Signature = basic.BitString("signature") };
        if (basic.NextContext(0))
        {
            var list = basic.Explicit(0, "certs").Sequence("certs");
            var certificates = new List<ReadOnlyMemory<byte>>();
            while (list.More && certificates.Count < CmpLimits.ExtraCertificates)
            {
                certificates.Add(list.Element("certs"));
            }

            list.End("certs");
            result = result with { Certificates = certificates };
        }

        basic.End("BasicOCSPResponse");
        return result;
    }

    private static OcspResponse ReadData(DerReader data, OcspResponse result)
    {
        if (data.NextContext(0))
        {
            var version = data.Explicit(0, "version");
            if (version.SmallInteger("version") != 0)
            {
                version.Fail("version", "not version 1");
            }
        }

        if (data.NextContext(1))
        {
            result = result with { ResponderName = data.Explicit(1, "byName").Element("byName") };
        }
        else
        {
            result = result with { ResponderKeyHash = data.Explicit(2, "byKey").OctetString("byKey") };
        }

        result = result with { ProducedAt = data.GeneralizedTime("producedAt") };
        var list = data.Sequence("responses");
        var responses = new List<OcspSingleResponse>();
        while (list.More && responses.Count < CmpLimits.Items)
        {
            responses.Add(ReadSingle(list.Sequence("SingleResponse")));
        }

        list.End("responses");
        if (data.NextContext(1))
        {
            foreach (var extension in CertificateExtension.ReadAll(data.Explicit(1, "responseExtensions").Sequence("responseExtensions")))
            {
                result = extension.Oid == CmpOids.OcspNonce ? result with { Nonce = extension.Value } : result;
            }
        }

        data.End("ResponseData");
        return result with { Responses = responses };
    }

    private static OcspSingleResponse ReadSingle(DerReader r)
    {
        var id = OcspCertificateId.Read(ref r);
        var (status, revokedAt) = (OcspCertificateStatus.Unknown, (DateTimeOffset?)null);
        if (r.NextContext(0, constructed: false))
        {
            _ = r.Element("good");
            status = OcspCertificateStatus.Good;
        }
        else if (r.NextContext(1))
        {
            var revoked = r.Inside(DerReader.Context(1), "revoked");
            (status, revokedAt) = (OcspCertificateStatus.Revoked, revoked.GeneralizedTime("revocationTime"));
            if (revoked.NextContext(0))
            {
                _ = revoked.Element("revocationReason");
            }

            revoked.End("revoked");
        }
        else
        {
            _ = r.Content(DerReader.Context(2, constructed: false), "unknown");
        }

        var from = r.GeneralizedTime("thisUpdate");
        DateTimeOffset? to = r.NextContext(0) ? r.Explicit(0, "nextUpdate").GeneralizedTime("nextUpdate") : null;
        if (r.NextContext(1))
        {
            _ = r.Element("singleExtensions");
        }

        r.End("SingleResponse");
        return new OcspSingleResponse(id, status, revokedAt, from, to);
    }
}
