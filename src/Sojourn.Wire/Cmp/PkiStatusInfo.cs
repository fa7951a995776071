using System.Formats.Asn1;

namespace Sojourn.Wire.Cmp;

/// <summary>PKIStatus (RFC 9810 5.2.3), as far as this authority says or understands it.</summary>
public enum PkiStatus
{
    Accepted = 0,
    GrantedWithMods = 1,
    Rejection = 2,
    Waiting = 3,
}

/// <summary>PKIFailureInfo: numbers of the bits (RFC 9810 5.2.3).</summary>
public enum PkiFailure
{
    BadAlg = 0,
    BadMessageCheck = 1,
    BadRequest = 2,
    BadTime = 3,
    BadCertId = 4,
    BadDataFormat = 5,
    BadPop = 9,
    CertRevoked = 10,
    BadRecipientNonce = 13,
    BadSenderNonce = 18,
    BadCertTemplate = 19,
    TransactionIdInUse = 21,
    UnsupportedVersion = 22,
    NotAuthorized = 23,
    SystemUnavail = 24,
    DuplicateCertReq = 26,
}

/// <summary>PKIStatusInfo: SEQUENCE { status INTEGER, statusString SEQUENCE OF UTF8String OPTIONAL, failInfo BIT STRING OPTIONAL }.</summary>
/// <param name="Failures">Set bits of failInfo.</param>
public sealed record PkiStatusInfo(int Status, IReadOnlyList<string> Text, IReadOnlyList<int> Failures)
{
    public static readonly PkiStatusInfo Accepted = new((int)PkiStatus.Accepted, [], []);

    public static PkiStatusInfo Rejection(PkiFailure failure, string text) => new((int)PkiStatus.Rejection, [text], [(int)failure]);

    internal static PkiStatusInfo Read(ref DerReader reader)
    {
        var r = reader.Sequence("PKIStatusInfo");
        var status = r.SmallInteger("status");
        var text = r.Next(Asn1Tag.Sequence) ? ReadFreeText(ref r, "statusString") : [];
        var failures = new List<int>();
        if (r.More)
        {
            var bits = r.Bits("failInfo", out _).Span;
            for (var i = 0; i < Math.Min(bits.Length, 8) * 8; i++)
            {
                if ((bits[i / 8] & (0x80 >> (i % 8))) != 0)
                {
                    failures.Add(i);
                }
            }
        }

        r.End("PKIStatusInfo");
        return new PkiStatusInfo(status, text, failures);
    }

    public void Write(AsnWriter writer)
    {
        using (writer.PushSequence())
        {
            writer.WriteInteger(Status);
            if (Text.Count > 0)
            {
                WriteFreeText(writer, Text);
            }

            if (Failures.Count > 0)
            {
                // A named bit list has no trailing zeros in DER (X.690 11.2.2).
                var last = Failures.Max();
                var bits = new byte[(last / 8) + 1];
                foreach (var bit in Failures)
                {
                    bits[bit / 8] |= (byte)(0x80 >> (bit % 8));
                }

                writer.WriteBitString(bits, 7 - (last % 8));
            }
        }
    }

    internal static List<string> ReadFreeText(ref DerReader reader, string field)
    {
        var list = reader.Sequence(field);
        var texts = new List<string>();
        while (list.More)
        {
            if (texts.Count == CmpLimits.FreeTexts)
            {
                list.Fail(field, "too many texts");
                break;
            }

            texts.Add(list.Utf8(field));
        }

        return texts;
    }

    internal static void WriteFreeText(AsnWriter writer, IReadOnlyList<string> texts)
    {
        using (writer.PushSequence())
        {
            foreach (var text in texts)
            {
                writer.WriteCharacterString(UniversalTagNumber.UTF8String, text);
            }
        }
    }
}
