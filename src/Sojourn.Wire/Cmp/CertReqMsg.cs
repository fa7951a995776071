using System.Formats.Asn1;

namespace Sojourn.Wire.Cmp;

/// <summary>Alternatives of ProofOfPossession (RFC 4211 section 4).</summary>
public enum ProofOfPossession : byte
{
    RaVerified = 0,
    Signature = 1,
    KeyEncipherment = 2,
    KeyAgreement = 3,

    /// <summary>The field is absent.</summary>
    None = 255,
}

/// <summary>
/// CertReqMsg (RFC 4211 section 3): one request of ir, cr or kur. A signature that proves possession covers
/// <see cref="Request"/>, unless <see cref="HasPossessionInput"/>.
/// </summary>
public sealed record CertReqMsg
{
    private const string Clause = "RFC 4211 3";

    /// <summary>certReqId; an integer of the requester's choice.</summary>
    public required int Id { get; init; }

    public required CertTemplate Template { get; init; }

    public IReadOnlyList<InfoTypeAndValue> Controls { get; init; } = [];

    /// <summary>CertRequest in DER.</summary>
    public ReadOnlyMemory<byte> Request { get; init; }

    public ProofOfPossession Possession { get; init; } = ProofOfPossession.None;

    public bool HasPossessionInput { get; init; }

    public AlgorithmIdentifier PossessionAlgorithm { get; init; }

    public ReadOnlyMemory<byte> PossessionSignature { get; init; }

    /// <summary>Reads CertReqMessages: one request or more.</summary>
    public static bool TryParseAll(ReadOnlyMemory<byte> octets, out IReadOnlyList<CertReqMsg> requests, out WireError error)
    {
        var fault = new DerFault();
        var all = new DerReader(octets, fault, Clause);
        var list = all.Sequence("CertReqMessages");
        all.End("CertReqMessages");
        var found = new List<CertReqMsg>();
        while (list.More)
        {
            if (found.Count == CmpLimits.Items)
            {
                list.Fail("CertReqMessages", "too many requests");
                break;
            }

            found.Add(Read(ref list));
        }

        if (fault.Error is null && found.Count == 0)
        {
            list.Fail("CertReqMessages", "no request");
        }

        requests = found;
        error = fault.Error ?? default;
        return fault.Error is null;
    }

    /// <summary>Writes CertReqMessages.</summary>
    public static void WriteAll(AsnWriter writer, IReadOnlyList<CertReqMsg> requests)
    {
        using (writer.PushSequence())
        {
            foreach (var request in requests)
            {
                request.Write(writer);
            }
        }
    }

    /// <summary>CertRequest in DER, which the proof of possession signs.</summary>
    public static byte[] EncodeRequest(int id, CertTemplate template, IReadOnlyList<InfoTypeAndValue> controls)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteInteger(id);
            template.Write(writer);
            if (controls.Count > 0)
            {
                using (writer.PushSequence())
                {
                    foreach (var control in controls)
                    {
                        control.Write(writer);
                    }
                }
            }
        }

        return writer.Encode();
    }

    private void Write(AsnWriter writer)
    {
        using (writer.PushSequence())
        {
            writer.WriteEncodedValue(Request.IsEmpty ? EncodeRequest(Id, Template, Controls) : Request.Span);
            switch (Possession)
            {
                case ProofOfPossession.RaVerified:
                    writer.WriteNull(DerReader.Context(0, constructed: false));
                    break;
                case ProofOfPossession.Signature:
                    using (writer.PushSequence(DerReader.Context(1)))
                    {
                        PossessionAlgorithm.Write(writer);
                        writer.WriteBitString(PossessionSignature.Span);
                    }

                    break;
            }
        }
    }

    private static CertReqMsg Read(ref DerReader reader)
    {
        var r = reader.Sequence("CertReqMsg");
        var ahead = r;
        var octets = ahead.Element("CertRequest");
        var inside = r.Sequence("CertRequest");
        var id = inside.SmallInteger("certReqId");
        var template = CertTemplate.Read(ref inside);
        var controls = inside.More ? InfoTypeAndValue.ReadAll(inside.Sequence("controls")) : [];
        inside.End("CertRequest");
        var request = new CertReqMsg { Id = id, Template = template, Controls = controls, Request = octets };
        if (r.NextContext(0, constructed: false))
        {
            _ = r.Element("popo");
            request = request with { Possession = ProofOfPossession.RaVerified };
        }
        else if (r.NextContext(1))
        {
            var proof = r.Explicit(1, "popo");
            var input = proof.NextContext(0);
            if (input)
            {
                _ = proof.Element("poposkInput");
            }

            request = request with
            {
                Possession = ProofOfPossession.Signature,
                HasPossessionInput = input,
                PossessionAlgorithm = proof.Algorithm("algorithmIdentifier"),
                PossessionSignature = proof.BitString("signature"),
            };
            proof.End("popo");
        }
        else if (r.NextContext(2) || r.NextContext(3))
        {
            var possession = r.NextContext(2) ? ProofOfPossession.KeyEncipherment : ProofOfPossession.KeyAgreement;
            _ = r.Element("popo");
            request = request with { Possession = possession };
        }

        if (r.More)
        {
            _ = r.Sequence("regInfo");
        }

        r.End("CertReqMsg");
        return request;
    }
}

/// <summary>CertificationRequest of PKCS#10 (RFC 2986 section 4), the body of p10cr.</summary>
public sealed record Pkcs10Request
{
    /// <summary>Name in DER.</summary>
    public required ReadOnlyMemory<byte> Subject { get; init; }

    /// <summary>SubjectPublicKeyInfo.</summary>
    public required ReadOnlyMemory<byte> PublicKey { get; init; }

    /// <summary>Of the attribute extensionRequest.</summary>
    public IReadOnlyList<CertificateExtension> Extensions { get; init; } = [];

    /// <summary>CertificationRequestInfo in DER, which the signature covers.</summary>
    public required ReadOnlyMemory<byte> Info { get; init; }

    public required AlgorithmIdentifier SignatureAlgorithm { get; init; }

    public required ReadOnlyMemory<byte> Signature { get; init; }

    public static bool TryParse(ReadOnlyMemory<byte> octets, out Pkcs10Request request, out WireError error)
    {
        var fault = new DerFault();
        var all = new DerReader(octets, fault, "RFC 2986 4");
        var r = all.Sequence("CertificationRequest");
        all.End("CertificationRequest");
        var ahead = r;
        var infoOctets = ahead.Element("certificationRequestInfo");
        var info = r.Sequence("certificationRequestInfo");
        if (info.SmallInteger("version") != 0)
        {
            info.Fail("version", "not version 1");
        }

        var subject = info.Element("subject");
        var key = info.Element("subjectPKInfo");
        if (key.Length > CmpLimits.PublicKey)
        {
            info.Fail("subjectPKInfo", "longer than any key here");
        }

        IReadOnlyList<CertificateExtension> extensions = [];
        if (info.More)
        {
            var attributes = info.Explicit(0, "attributes");
            var count = 0;
            while (attributes.More)
            {
                if (count++ == CmpLimits.Items)
                {
                    attributes.Fail("attributes", "too many");
                    break;
                }

                var attribute = attributes.Sequence("Attribute");
                if (attribute.ObjectIdentifier("type") == CmpOids.ExtensionRequest)
                {
                    var values = attribute.Inside(Asn1Tag.SetOf, "values");
                    extensions = CertificateExtension.ReadAll(values.Sequence("extensionRequest"));
                    values.End("values");
                }
                else
                {
                    _ = attribute.Element("values");
                }

                attribute.End("Attribute");
            }
        }

        info.End("certificationRequestInfo");
        request = new Pkcs10Request
        {
            Subject = subject,
            PublicKey = key,
            Extensions = extensions,
            Info = infoOctets,
            SignatureAlgorithm = r.Algorithm("signatureAlgorithm"),
            Signature = r.BitString("signature"),
        };
        r.End("CertificationRequest");
        error = fault.Error ?? default;
        return fault.Error is null;
    }
}
