using System.Formats.Asn1;
using System.Text;

namespace Sojourn.Wire.Cmp;

/// <summary>Where a certificate says its status can be asked for: authority information access (RFC 5280 4.2.2.1) and CRL distribution points (4.2.1.13).</summary>
/// <param name="Ocsp">http addresses of responders, in their order.</param>
/// <param name="Lists">http addresses of CRLs that cover every reason.</param>
public sealed record StatusLocations(IReadOnlyList<Uri> Ocsp, IReadOnlyList<Uri> Lists)
{
    private const int UniformResourceIdentifier = 6;

    /// <summary>Of a certificate; what cannot be read, or is no http address, is left out.</summary>
    public static StatusLocations Of(CertificateFields certificate)
    {
        var (ocsp, lists) = (new List<Uri>(), new List<Uri>());
        foreach (var extension in certificate.Extensions)
        {
            if (extension.Oid == CmpOids.AuthorityInformationAccess)
            {
                ReadAccess(extension.Value, ocsp);
            }
            else if (extension.Oid == CmpOids.CrlDistributionPoints)
            {
                ReadPoints(extension.Value, lists);
            }
        }

        return new StatusLocations(ocsp, lists);
    }

    private static void ReadAccess(ReadOnlyMemory<byte> octets, List<Uri> found)
    {
        var all = new DerReader(octets, new DerFault(), "RFC 5280 4.2.2.1");
        var list = all.Sequence("AuthorityInfoAccessSyntax");
        for (var i = 0; list.More && i < CmpLimits.Names; i++)
        {
            var description = list.Sequence("AccessDescription");
            if (description.ObjectIdentifier("accessMethod") == CmpOids.OcspAccess)
            {
                Take(ref description, found);
            }
        }
    }

    private static void ReadPoints(ReadOnlyMemory<byte> octets, List<Uri> found)
    {
        var all = new DerReader(octets, new DerFault(), "RFC 5280 4.2.1.13");
        var list = all.Sequence("CRLDistributionPoints");
        for (var i = 0; list.More && i < CmpLimits.Names; i++)
        {
            var point = list.Sequence("DistributionPoint");
            if (!point.NextContext(0))
            {
                continue;
            }

            var name = point.Explicit(0, "distributionPoint");
            if (!name.NextContext(0) || point.More)
            {
                // Relative names, and points for some reasons or of another issuer.
                continue;
            }

            var names = name.Explicit(0, "fullName");
            for (var n = 0; names.More && n < CmpLimits.Names; n++)
            {
                Take(ref names, found);
            }
        }
    }

    private static void Take(ref DerReader name, List<Uri> found)
    {
        if (!name.NextContext(UniformResourceIdentifier, constructed: false))
        {
            _ = name.Element("GeneralName");
        }
        else if (Uri.TryCreate(Encoding.ASCII.GetString(name.Content(DerReader.Context(UniformResourceIdentifier, constructed: false), "uniformResourceIdentifier").Span), UriKind.Absolute, out var uri) && uri.Scheme == Uri.UriSchemeHttp)
        {
            found.Add(uri);
        }
    }
}
