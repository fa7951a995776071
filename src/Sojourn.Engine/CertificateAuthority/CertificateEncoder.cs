using System.Formats.Asn1;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using Sojourn.Wire.Cmp;

namespace Sojourn.Engine.CertificateAuthority;

/// <summary>Writes X.509 certificates after the profile of spec 7.6 (RFC 5280, RFC 4945).</summary>
internal static class CertificateEncoder
{
    private const int SerialLength = 16;

    /// <summary>126 random bits, positive and never zero (RFC 5280 4.1.2.2).</summary>
    public static byte[] SerialNumber(IRandomSource random)
    {
        var serial = random.NextBytes(SerialLength);
        serial[0] = (byte)((serial[0] & 0x3F) | 0x40);
        return serial;
    }

    /// <summary>Key identifier: SHA-1 over the key's bits (RFC 5280 4.2.1.2 (1)); a name, no protection.</summary>
    public static byte[] KeyIdentifier(ReadOnlyMemory<byte> subjectPublicKeyInfo) =>
        SubjectPublicKeyInfo.TryParse(subjectPublicKeyInfo, out var key, out _) ? SHA1.HashData(key.Key.Span) : [];

    /// <param name="authority">The issuer's certificate.</param>
    public static byte[] Encode(
        IAuthoritySigner signer, CertificateFields authority, ReadOnlySpan<byte> serial, ReadOnlyMemory<byte> subject, ReadOnlyMemory<byte> publicKey,
        DateTimeOffset notBefore, DateTimeOffset notAfter, IReadOnlyList<CertificateExtension> extensions)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER, 512);
        using (writer.PushSequence())
        {
            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
            {
                writer.WriteInteger(2);
            }

            writer.WriteInteger(serial);
            signer.Algorithm.Write(writer);
            writer.WriteEncodedValue(authority.Subject.Span);
            using (writer.PushSequence())
            {
                Time(writer, notBefore);
                Time(writer, notAfter);
            }

            writer.WriteEncodedValue(subject.Span);
            writer.WriteEncodedValue(publicKey.Span);
            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 3)))
            using (writer.PushSequence())
            {
                foreach (var extension in extensions)
                {
                    extension.Write(writer);
                }
            }
        }

        return Signed(signer, writer.Encode());
    }

    /// <summary>SEQUENCE { tbs, algorithm, signature }: certificates, CRLs and OCSP responses alike.</summary>
    public static byte[] Signed(IAuthoritySigner signer, byte[] body)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER, body.Length + 128);
        using (writer.PushSequence())
        {
            writer.WriteEncodedValue(body);
            signer.Algorithm.Write(writer);
            writer.WriteBitString(signer.Sign(body));
        }

        return writer.Encode();
    }

    /// <summary>Extensions of a certificate for <paramref name="entry"/>.</summary>
    public static List<CertificateExtension> Extensions(IdentifierEntry entry, ReadOnlyMemory<byte> publicKey, byte[] authorityKeyId, bool emptySubject, AuthorityOptions options)
    {
        var extensions = new List<CertificateExtension>
        {
            AuthorityKey(authorityKeyId),
            new(CmpOids.SubjectKeyIdentifier, false, Der(writer => writer.WriteOctetString(KeyIdentifier(publicKey)))),
            new(CmpOids.KeyUsage, true, Der(writer => writer.WriteBitString([0x80], 7))),
            new(CmpOids.ExtendedKeyUsage, false, Der(writer =>
            {
                using (writer.PushSequence())
                {
                    foreach (var purpose in Purposes(entry.Kind))
                    {
                        writer.WriteObjectIdentifier(purpose);
                    }
                }
            })),
        };
        var dns = TerminalIdentifier.IsHostName(entry.Identifier);
        if (dns || entry.Addresses.Count > 0)
        {
            extensions.Add(new CertificateExtension(CmpOids.SubjectAlternativeName, emptySubject, new GeneralNames(dns ? [entry.Identifier] : [], entry.Addresses, 0).ToArray()));
        }

        if (options.CrlUri is { } crl)
        {
            extensions.Add(new CertificateExtension(CmpOids.CrlDistributionPoints, false, Der(writer =>
            {
                using (writer.PushSequence())
                using (writer.PushSequence())
                using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
                using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
                {
                    Uri(writer, crl);
                }
            })));
        }

        if (options.OcspUri is { } ocsp)
        {
            extensions.Add(new CertificateExtension(CmpOids.AuthorityInformationAccess, false, Der(writer =>
            {
                using (writer.PushSequence())
                using (writer.PushSequence())
                {
                    writer.WriteObjectIdentifier(CmpOids.OcspAccess);
                    Uri(writer, ocsp);
                }
            })));
        }

        return extensions;
    }

    public static CertificateExtension AuthorityKey(byte[] keyId) => new(CmpOids.AuthorityKeyIdentifier, false, Der(writer =>
    {
        using (writer.PushSequence())
        {
            writer.WriteOctetString(keyId, new Asn1Tag(TagClass.ContextSpecific, 0));
        }
    }));

    /// <summary>CertId (RFC 4211 6.5): SEQUENCE { issuer GeneralName, serialNumber INTEGER }.</summary>
    public static byte[] CertificateId(ReadOnlySpan<byte> issuer, ReadOnlySpan<byte> serial)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteEncodedValue(DirectoryName(issuer));
            writer.WriteInteger(serial);
        }

        return writer.Encode();
    }

    /// <summary>A Name as GeneralName: directoryName (RFC 5280 4.2.1.6).</summary>
    public static byte[] DirectoryName(ReadOnlySpan<byte> name)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 4)))
        {
            writer.WriteEncodedValue(name);
        }

        return writer.Encode();
    }

    public static byte[] Der(Action<AsnWriter> write)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        write(writer);
        return writer.Encode();
    }

    /// <summary>UTCTime up to 2049 (RFC 5280 4.1.2.5).</summary>
    public static void Time(AsnWriter writer, DateTimeOffset time)
    {
        if (time.UtcDateTime.Year < 2050)
        {
            writer.WriteUtcTime(time);
        }
        else
        {
            writer.WriteGeneralizedTime(time, omitFractionalSeconds: true);
        }
    }

    private static string[] Purposes(IdentifierKind kind) => kind switch
    {
        IdentifierKind.Terminal => [CmpOids.IpsecIke],
        IdentifierKind.HomeAgent => [CmpOids.IpsecIke, CmpOids.ServerAuthentication, CmpOids.ClientAuthentication],
        _ => [CmpOids.ServerAuthentication, CmpOids.ClientAuthentication],
    };

    private static void Uri(AsnWriter writer, Uri uri) =>
        writer.WriteCharacterString(UniversalTagNumber.IA5String, uri.AbsoluteUri, new Asn1Tag(TagClass.ContextSpecific, 6));
}
