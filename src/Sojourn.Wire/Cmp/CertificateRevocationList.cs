using System.Formats.Asn1;

namespace Sojourn.Wire.Cmp;

/// <summary>CertificateList (RFC 5280 5.1): serial numbers an authority has revoked. Nothing is believed of it before its signature was checked.</summary>
/// <remarks>
/// Partitioned, indirect and delta lists say so in critical extensions; they cannot tell that a certificate is good, and one with a
/// critical extension is refused as RFC 5280 5.2 demands of whoever does not process it.
/// </remarks>
public sealed record CertificateRevocationList
{
    /// <summary>What the signature covers: tbsCertList, DER.</summary>
    public required ReadOnlyMemory<byte> Signed { get; init; }

    /// <summary>DER.</summary>
    public required ReadOnlyMemory<byte> Issuer { get; init; }

    public required DateTimeOffset ThisUpdate { get; init; }

    /// <summary>Null where the issuer does not say; RFC 5280 5.1.2.5 demands it.</summary>
    public required DateTimeOffset? NextUpdate { get; init; }

    /// <summary>Time of revocation by serial number, lower-case hexadecimal of its two's complement.</summary>
    public required IReadOnlyDictionary<string, DateTimeOffset> Revoked { get; init; }

    public required AlgorithmIdentifier Algorithm { get; init; }

    public required ReadOnlyMemory<byte> Signature { get; init; }

    public static bool TryParse(ReadOnlyMemory<byte> octets, out CertificateRevocationList list, out WireError error)
    {
        var fault = new DerFault();
        var all = new DerReader(octets, fault, "RFC 5280 5.1");
        if (octets.Length > CmpLimits.RevocationList)
        {
            all.Fail("CertificateList", "longer than allowed");
        }

        var outer = all.Sequence("CertificateList");
        all.End("CertificateList");
        var same = outer;
        var signed = same.Element("tbsCertList");
        var r = outer.Sequence("tbsCertList");
        var version = 0;
        if (r.Next(Asn1Tag.Integer))
        {
            version = r.SmallInteger("version");
            if (version != 1)
            {
                r.Fail("version", "not version 2");
            }
        }

        _ = r.Algorithm("signature");
        var issuer = r.Element("issuer");
        var from = r.Time("thisUpdate");
        DateTimeOffset? to = r.Next(new Asn1Tag(UniversalTagNumber.UtcTime)) || r.Next(new Asn1Tag(UniversalTagNumber.GeneralizedTime)) ? r.Time("nextUpdate") : null;
        var revoked = new Dictionary<string, DateTimeOffset>(StringComparer.Ordinal);
        if (r.Next(Asn1Tag.Sequence))
        {
            ReadEntries(r.Sequence("revokedCertificates"), revoked);
        }

        if (version == 1 && r.NextContext(0))
        {
            RefuseCritical(r.Explicit(0, "crlExtensions").Sequence("crlExtensions"), "crlExtensions");
        }

        r.End("tbsCertList");
        var algorithm = outer.Algorithm("signatureAlgorithm");
        var signature = outer.BitString("signatureValue");
        outer.End("CertificateList");
        list = new CertificateRevocationList { Signed = signed, Issuer = issuer, ThisUpdate = from, NextUpdate = to, Revoked = revoked, Algorithm = algorithm, Signature = signature };
        error = fault.Error ?? default;
        return fault.Error is null;
    }

    private static void ReadEntries(DerReader list, Dictionary<string, DateTimeOffset> revoked)
    {
        while (list.More)
        {
            if (revoked.Count == CmpLimits.RevokedCertificates)
            {
                list.Fail("revokedCertificates", "more than allowed");
                return;
            }

            var entry = list.Sequence("revokedCertificate");
            var serial = entry.Integer("userCertificate");
            if (serial.Length > CmpLimits.SerialNumber + 1)
            {
                entry.Fail("userCertificate", "longer than a serial number may be");
            }

            var at = entry.Time("revocationDate");
            if (entry.More)
            {
                RefuseCritical(entry.Sequence("crlEntryExtensions"), "crlEntryExtensions");
            }

            entry.End("revokedCertificate");
            if (list.Ok)
            {
                revoked[Convert.ToHexStringLower(serial.Span)] = at;
            }
        }
    }

    private static void RefuseCritical(DerReader extensions, string field)
    {
        if (CertificateExtension.ReadAll(extensions).Exists(e => e.Critical))
        {
            extensions.Fail(field, "a critical extension that is not understood");
        }
    }
}
