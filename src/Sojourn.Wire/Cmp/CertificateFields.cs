using System.Formats.Asn1;

namespace Sojourn.Wire.Cmp;

/// <summary>What is needed of an X.509 certificate (RFC 5280 4.1). Names and key are DER.</summary>
public sealed record CertificateFields
{
    /// <summary>Two's complement.</summary>
    public required ReadOnlyMemory<byte> SerialNumber { get; init; }

    public required ReadOnlyMemory<byte> Issuer { get; init; }

    public required ReadOnlyMemory<byte> Subject { get; init; }

    public required DateTimeOffset NotBefore { get; init; }

    public required DateTimeOffset NotAfter { get; init; }

    /// <summary>SubjectPublicKeyInfo.</summary>
    public required ReadOnlyMemory<byte> PublicKey { get; init; }

    public IReadOnlyList<CertificateExtension> Extensions { get; init; } = [];

    /// <summary>What the issuer signed it with.</summary>
    public required AlgorithmIdentifier SignatureAlgorithm { get; init; }

    /// <summary>What the signature covers: tbsCertificate, DER.</summary>
    public required ReadOnlyMemory<byte> Signed { get; init; }

    public required ReadOnlyMemory<byte> Signature { get; init; }

    public static bool TryParse(ReadOnlyMemory<byte> octets, out CertificateFields certificate, out WireError error)
    {
        var fault = new DerFault();
        var all = new DerReader(octets, fault, "RFC 5280 4.1");
        var outer = all.Sequence("Certificate");
        all.End("Certificate");
        var same = outer;
        var signed = same.Element("tbsCertificate");
        var r = outer.Sequence("tbsCertificate");
        if (r.NextContext(0))
        {
            _ = r.Element("version");
        }

        var serial = r.Integer("serialNumber");
        _ = r.Algorithm("signature");
        var issuer = r.Element("issuer");
        var validity = r.Sequence("validity");
        var (from, to) = (validity.Time("notBefore"), validity.Time("notAfter"));
        var subject = r.Element("subject");
        var key = r.Element("subjectPublicKeyInfo");
        if (r.NextContext(1, constructed: false))
        {
            _ = r.Element("issuerUniqueID");
        }

        if (r.NextContext(2, constructed: false))
        {
            _ = r.Element("subjectUniqueID");
        }

        IReadOnlyList<CertificateExtension> extensions = r.NextContext(3) ? CertificateExtension.ReadAll(r.Explicit(3, "extensions").Sequence("extensions")) : [];
        r.End("tbsCertificate");
        var algorithm = outer.Algorithm("signatureAlgorithm");
        var signature = outer.BitString("signatureValue");
        outer.End("Certificate");
        certificate = new CertificateFields
        {
            SerialNumber = serial,
            Issuer = issuer,
            Subject = subject,
            NotBefore = from,
            NotAfter = to,
            PublicKey = key,
            Extensions = extensions,
            SignatureAlgorithm = algorithm,
            Signed = signed,
            Signature = signature,
        };
        error = fault.Error ?? default;
        return fault.Error is null;
    }
}

/// <summary>SubjectPublicKeyInfo (RFC 5280 4.1.2.7).</summary>
/// <param name="Key">The subjectPublicKey bit string.</param>
public readonly record struct SubjectPublicKeyInfo(AlgorithmIdentifier Algorithm, ReadOnlyMemory<byte> Key)
{
    public static bool TryParse(ReadOnlyMemory<byte> octets, out SubjectPublicKeyInfo key, out WireError error)
    {
        var fault = new DerFault();
        var all = new DerReader(octets, fault, "RFC 5280 4.1.2.7");
        var r = all.Sequence("SubjectPublicKeyInfo");
        all.End("SubjectPublicKeyInfo");
        key = new SubjectPublicKeyInfo(r.Algorithm("algorithm"), r.BitString("subjectPublicKey"));
        r.End("SubjectPublicKeyInfo");
        error = fault.Error ?? default;
        return fault.Error is null;
    }

    /// <summary>The named curve of an EC key; empty when there is none.</summary>
    public string NamedCurve
    {
        get
        {
            var fault = new DerFault();
            var oid = new DerReader(Algorithm.Parameters, fault, "RFC 5480 2.1.1").ObjectIdentifier("namedCurve");
            return fault.Error is null ? oid : "";
        }
    }
}
