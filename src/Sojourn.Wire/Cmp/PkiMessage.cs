using System.Formats.Asn1;

namespace Sojourn.Wire.Cmp;

/// <summary>Alternatives of PKIBody (RFC 9810 5.1.2).</summary>
public enum PkiBodyType : byte
{
    InitializationRequest = 0,
    InitializationResponse = 1,
    CertificationRequest = 2,
    CertificationResponse = 3,
    Pkcs10Request = 4,
    KeyUpdateRequest = 7,
    KeyUpdateResponse = 8,
    RevocationRequest = 11,
    RevocationResponse = 12,
    Confirm = 19,
    GeneralMessage = 21,
    GeneralResponse = 22,
    Error = 23,
    CertificateConfirm = 24,
    PollRequest = 25,
    PollResponse = 26,
}

/// <summary>
/// PKIMessage (RFC 9810 5.1): header, body, protection, certificates. The body stays as it came, in DER, until the parser of
/// its type is asked; unknown bodies survive.
/// </summary>
/// <remarks><code>
/// SEQUENCE { header PKIHeader, body [n] PKIBody, [0] protection BIT STRING, [1] extraCerts SEQUENCE OF Certificate }
/// </code></remarks>
public sealed record PkiMessage
{
    private const string Clause = "RFC 9810 5.1";
    private const int LastBody = 26;

    public required PkiHeader Header { get; init; }

    public required PkiBodyType BodyType { get; init; }

    /// <summary>What the body's tag wraps, in DER.</summary>
    public required ReadOnlyMemory<byte> Body { get; init; }

    /// <summary>MAC or signature; empty = none.</summary>
    public ReadOnlyMemory<byte> Protection { get; init; }

    /// <summary>Certificates in DER.</summary>
    public IReadOnlyList<ReadOnlyMemory<byte>> ExtraCertificates { get; init; } = [];

    /// <summary>What the protection covers (RFC 9810 5.1.3): header and body in one SEQUENCE, as they came.</summary>
    public ReadOnlyMemory<byte> ProtectedPart { get; private init; }

    /// <summary>Reads a message. What it keeps are slices of <paramref name="octets"/>.</summary>
    public static bool TryParse(ReadOnlyMemory<byte> octets, out PkiMessage message, out WireError error)
    {
        message = null!;
        if (octets.Length > CmpLimits.Message)
        {
            error = new WireError("PKIMessage", 0, "longer than any message here", Clause);
            return false;
        }

        var fault = new DerFault();
        var all = new DerReader(octets, fault, Clause);
        var r = all.Sequence("PKIMessage");
        all.End("PKIMessage");
        var ahead = r;
        var headerOctets = ahead.Element("PKIHeader");
        var bodyOctets = ahead.Element("body");
        var header = PkiHeader.Read(ref r);
        var tag = r.NextTag;
        if (r.Ok && (tag.TagClass != TagClass.ContextSpecific || !tag.IsConstructed || tag.TagValue > LastBody))
        {
            r.Fail("body", "not an alternative of PKIBody");
        }

        var wrapped = r.Inside(tag, "body");
        var body = wrapped.Element("body");
        wrapped.End("body");
        ReadOnlyMemory<byte> protection = default;
        if (r.NextContext(0))
        {
            var inside = r.Explicit(0, "protection");
            protection = inside.BitString("protection");
            inside.End("protection");
        }

        var certificates = new List<ReadOnlyMemory<byte>>();
        if (r.NextContext(1))
        {
            var inside = r.Explicit(1, "extraCerts");
            var list = inside.Sequence("extraCerts");
            inside.End("extraCerts");
            while (list.More)
            {
                if (certificates.Count == CmpLimits.ExtraCertificates)
                {
                    list.Fail("extraCerts", "too many");
                    break;
                }

                certificates.Add(list.Element("extraCerts"));
            }
        }

        r.End("PKIMessage");
        if (fault.Error is { } found)
        {
            error = found;
            return false;
        }

        message = new PkiMessage
        {
            Header = header,
            BodyType = (PkiBodyType)tag.TagValue,
            Body = body,
            Protection = protection,
            ExtraCertificates = certificates,
            ProtectedPart = Join(headerOctets, bodyOctets),
        };
        error = default;
        return true;
    }

    /// <summary>Writes a message.</summary>
    /// <param name="body">Writes what the body's tag wraps.</param>
    /// <param name="protect">Makes MAC or signature of the protected part; null = none.</param>
    public static byte[] Encode(PkiHeader header, PkiBodyType type, Action<AsnWriter> body, Func<ReadOnlyMemory<byte>, byte[]>? protect, IReadOnlyList<ReadOnlyMemory<byte>>? extraCertificates = null)
    {
        var headerWriter = new AsnWriter(AsnEncodingRules.DER);
        header.Write(headerWriter);
        var bodyWriter = new AsnWriter(AsnEncodingRules.DER);
        using (bodyWriter.PushSequence(DerReader.Context((int)type)))
        {
            body(bodyWriter);
        }

        var (headerOctets, bodyOctets) = (headerWriter.Encode(), bodyWriter.Encode());
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteEncodedValue(headerOctets);
            writer.WriteEncodedValue(bodyOctets);
            if (protect is not null)
            {
                using (writer.PushSequence(DerReader.Context(0)))
                {
                    writer.WriteBitString(protect(Join(headerOctets, bodyOctets)));
                }
            }

            if (extraCertificates is { Count: > 0 })
            {
                using (writer.PushSequence(DerReader.Context(1)))
                using (writer.PushSequence())
                {
                    foreach (var certificate in extraCertificates)
                    {
                        writer.WriteEncodedValue(certificate.Span);
                    }
                }
            }
        }

        return writer.Encode();
    }

    /// <summary>The message anew, with its own protection.</summary>
    public byte[] ToArray() => Encode(Header, BodyType, writer => writer.WriteEncodedValue(Body.Span), Protection.IsEmpty ? null : _ => Protection.ToArray(), ExtraCertificates);

    private static byte[] Join(ReadOnlyMemory<byte> header, ReadOnlyMemory<byte> body)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteEncodedValue(header.Span);
            writer.WriteEncodedValue(body.Span);
        }

        return writer.Encode();
    }
}
