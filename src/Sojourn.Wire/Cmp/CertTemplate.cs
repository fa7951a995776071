using System.Formats.Asn1;

namespace Sojourn.Wire.Cmp;

/// <summary>An X.509 extension (RFC 5280 4.1.2.9).</summary>
/// <param name="Value">What the OCTET STRING holds.</param>
public readonly record struct CertificateExtension(string Oid, bool Critical, ReadOnlyMemory<byte> Value)
{
    /// <summary>Reads what stands inside <c>Extensions</c>.</summary>
    internal static List<CertificateExtension> ReadAll(DerReader list)
    {
        var extensions = new List<CertificateExtension>();
        while (list.More)
        {
            if (extensions.Count == CmpLimits.Extensions)
            {
                list.Fail("extensions", "too many");
                break;
            }

            var r = list.Sequence("Extension");
            var oid = r.ObjectIdentifier("extnID");
            var critical = false;
            if (r.Next(Asn1Tag.Boolean))
            {
                var value = r.Content(Asn1Tag.Boolean, "critical").Span;
                critical = value.Length == 1 && value[0] == 0xFF;
            }

            extensions.Add(new CertificateExtension(oid, critical, r.OctetString("extnValue")));
            r.End("Extension");
        }

        return extensions;
    }

    public void Write(AsnWriter writer)
    {
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(Oid);
            if (Critical)
            {
                writer.WriteBoolean(true);
            }

            writer.WriteOctetString(Value.Span);
        }
    }
}

/// <summary>
/// CertTemplate (RFC 4211 section 5): what the requester wants in the certificate. Names and keys are DER; empty = not stated.
/// </summary>
/// <remarks><code>
/// SEQUENCE { [0] version, [1] serialNumber, [2] signingAlg, [3] issuer (explicit), [4] validity, [5] subject (explicit),
///   [6] publicKey, [7] issuerUID, [8] subjectUID, [9] extensions }   -- implicit but for the names
/// </code></remarks>
public sealed record CertTemplate
{
    /// <summary>Two's complement.</summary>
    public ReadOnlyMemory<byte> SerialNumber { get; init; }

    public ReadOnlyMemory<byte> Issuer { get; init; }

    public ReadOnlyMemory<byte> Subject { get; init; }

    /// <summary>SubjectPublicKeyInfo.</summary>
    public ReadOnlyMemory<byte> PublicKey { get; init; }

    public bool AsksValidity { get; init; }

    public IReadOnlyList<CertificateExtension> Extensions { get; init; } = [];

    internal static CertTemplate Read(ref DerReader reader)
    {
        var r = reader.Sequence("CertTemplate");
        var template = new CertTemplate();
        Skip(ref r, 0, constructed: false, "version");
        if (r.NextContext(1, constructed: false))
        {
            var serial = r.Integer(DerReader.Context(1, constructed: false), "serialNumber");
            if (serial.Length > CmpLimits.SerialNumber + 1)
            {
                r.Fail("serialNumber", "longer than a serial number may be");
            }

            template = template with { SerialNumber = serial };
        }

        Skip(ref r, 2, constructed: true, "signingAlg");
        template = template with { Issuer = Name(ref r, 3, "issuer") };
        template = template with { AsksValidity = Skip(ref r, 4, constructed: true, "validity") };
        template = template with { Subject = Name(ref r, 5, "subject") };
        if (r.NextContext(6))
        {
            var key = r.Element("publicKey");
            if (key.Length > CmpLimits.PublicKey)
            {
                r.Fail("publicKey", "longer than any key here");
            }
            else if (r.Ok)
            {
                // The implicit tag stands in place of SEQUENCE.
                var whole = key.ToArray();
                whole[0] = 0x30;
                template = template with { PublicKey = whole };
            }
        }

        Skip(ref r, 7, constructed: false, "issuerUID");
        Skip(ref r, 8, constructed: false, "subjectUID");
        if (r.NextContext(9))
        {
            template = template with { Extensions = CertificateExtension.ReadAll(r.Explicit(9, "extensions")) };
        }

        r.End("CertTemplate");
        return template;
    }

    public void Write(AsnWriter writer)
    {
        using (writer.PushSequence())
        {
            if (!SerialNumber.IsEmpty)
            {
                writer.WriteInteger(SerialNumber.Span, DerReader.Context(1, constructed: false));
            }

            Name(writer, 3, Issuer);
            Name(writer, 5, Subject);
            if (!PublicKey.IsEmpty)
            {
                var key = PublicKey.ToArray();
                key[0] = 0xA6;
                writer.WriteEncodedValue(key);
            }

            if (Extensions.Count > 0)
            {
                using (writer.PushSequence(DerReader.Context(9)))
                {
                    foreach (var extension in Extensions)
                    {
                        extension.Write(writer);
                    }
                }
            }
        }
    }

    private static bool Skip(ref DerReader r, int tag, bool constructed, string field)
    {
        if (!r.NextContext(tag, constructed))
        {
            return false;
        }

        _ = r.Element(field);
        return true;
    }

    private static ReadOnlyMemory<byte> Name(ref DerReader r, int tag, string field)
    {
        if (!r.NextContext(tag))
        {
            return default;
        }

        var inside = r.Explicit(tag, field);
        var name = inside.Element(field);
        inside.End(field);
        return name;
    }

    private static void Name(AsnWriter writer, int tag, ReadOnlyMemory<byte> name)
    {
        if (!name.IsEmpty)
        {
            using (writer.PushSequence(DerReader.Context(tag)))
            {
                writer.WriteEncodedValue(name.Span);
            }
        }
    }
}
