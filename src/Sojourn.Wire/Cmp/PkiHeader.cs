using System.Formats.Asn1;

namespace Sojourn.Wire.Cmp;

/// <summary>InfoTypeAndValue (RFC 9810 5.1.1).</summary>
/// <param name="Value">DER; empty when absent.</param>
public readonly record struct InfoTypeAndValue(string Type, ReadOnlyMemory<byte> Value)
{
    internal static InfoTypeAndValue Read(ref DerReader reader)
    {
        var item = reader.Sequence("InfoTypeAndValue");
        var type = item.ObjectIdentifier("infoType");
        var value = item.More ? item.Element("infoValue") : default;
        item.End("InfoTypeAndValue");
        return new InfoTypeAndValue(type, value);
    }

    internal static List<InfoTypeAndValue> ReadAll(DerReader list)
    {
        var items = new List<InfoTypeAndValue>();
        while (list.More)
        {
            if (items.Count == CmpLimits.GeneralInfo)
            {
                list.Fail("InfoTypeAndValue", "too many");
                break;
            }

            items.Add(Read(ref list));
        }

        return items;
    }

    public void Write(AsnWriter writer)
    {
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(Type);
            if (!Value.IsEmpty)
            {
                writer.WriteEncodedValue(Value.Span);
            }
        }
    }
}

/// <summary>
/// PKIHeader (RFC 9810 5.1.1). Names are GeneralNames in DER, octet strings without tag and length; empty = absent.
/// </summary>
/// <remarks><code>
/// SEQUENCE { pvno INTEGER, sender GeneralName, recipient GeneralName,
///   [0] messageTime, [1] protectionAlg, [2] senderKID, [3] recipKID, [4] transactionID, [5] senderNonce,
///   [6] recipNonce, [7] freeText, [8] generalInfo }   -- all tags explicit
/// </code></remarks>
public sealed record PkiHeader
{
    /// <summary>cmp2000.</summary>
    public const int Version2 = 2;

    /// <summary>cmp2021.</summary>
    public const int Version3 = 3;

    /// <summary>directoryName with no RDN: the sender is known by its key identifier only (RFC 9810 5.1.1).</summary>
    public static readonly ReadOnlyMemory<byte> NullName = (byte[])[0xA4, 2, 0x30, 0];

    public int Version { get; init; } = Version2;

    public ReadOnlyMemory<byte> Sender { get; init; } = NullName;

    public ReadOnlyMemory<byte> Recipient { get; init; } = NullName;

    public DateTimeOffset? MessageTime { get; init; }

    public AlgorithmIdentifier? ProtectionAlgorithm { get; init; }

    public ReadOnlyMemory<byte> SenderKeyId { get; init; }

    public ReadOnlyMemory<byte> RecipientKeyId { get; init; }

    public ReadOnlyMemory<byte> TransactionId { get; init; }

    public ReadOnlyMemory<byte> SenderNonce { get; init; }

    public ReadOnlyMemory<byte> RecipientNonce { get; init; }

    public IReadOnlyList<string> FreeText { get; init; } = [];

    public IReadOnlyList<InfoTypeAndValue> GeneralInfo { get; init; } = [];

    public bool AsksImplicitConfirmation => GeneralInfo.Any(item => item.Type == CmpOids.ImplicitConfirm);

    internal static PkiHeader Read(ref DerReader reader)
    {
        var r = reader.Sequence("PKIHeader");
        var header = new PkiHeader { Version = r.SmallInteger("pvno"), Sender = r.Element("sender"), Recipient = r.Element("recipient") };
        if (r.NextContext(0))
        {
            var time = r.Explicit(0, "messageTime");
            header = header with { MessageTime = time.GeneralizedTime("messageTime") };
            time.End("messageTime");
        }

        if (r.NextContext(1))
        {
            var algorithm = r.Explicit(1, "protectionAlg");
            header = header with { ProtectionAlgorithm = algorithm.Algorithm("protectionAlg") };
            algorithm.End("protectionAlg");
        }

        header = header with
        {
            SenderKeyId = Octets(ref r, 2, "senderKID"),
            RecipientKeyId = Octets(ref r, 3, "recipKID"),
            TransactionId = Octets(ref r, 4, "transactionID"),
            SenderNonce = Octets(ref r, 5, "senderNonce"),
            RecipientNonce = Octets(ref r, 6, "recipNonce"),
        };
        if (r.NextContext(7))
        {
            var text = r.Explicit(7, "freeText");
            header = header with { FreeText = PkiStatusInfo.ReadFreeText(ref text, "freeText") };
            text.End("freeText");
        }

        if (r.NextContext(8))
        {
            var info = r.Explicit(8, "generalInfo");
            header = header with { GeneralInfo = InfoTypeAndValue.ReadAll(info.Sequence("generalInfo")) };
            info.End("generalInfo");
        }

        r.End("PKIHeader");
        return header;
    }

    public void Write(AsnWriter writer)
    {
        using (writer.PushSequence())
        {
            writer.WriteInteger(Version);
            writer.WriteEncodedValue(Sender.Span);
            writer.WriteEncodedValue(Recipient.Span);
            if (MessageTime is { } time)
            {
                using (writer.PushSequence(DerReader.Context(0)))
                {
                    writer.WriteGeneralizedTime(time, omitFractionalSeconds: true);
                }
            }

            if (ProtectionAlgorithm is { } algorithm)
            {
                using (writer.PushSequence(DerReader.Context(1)))
                {
                    algorithm.Write(writer);
                }
            }

            Write(writer, 2, SenderKeyId);
            Write(writer, 3, RecipientKeyId);
            Write(writer, 4, TransactionId);
            Write(writer, 5, SenderNonce);
            Write(writer, 6, RecipientNonce);
            if (FreeText.Count > 0)
            {
                using (writer.PushSequence(DerReader.Context(7)))
                {
                    PkiStatusInfo.WriteFreeText(writer, FreeText);
                }
            }

            if (GeneralInfo.Count > 0)
            {
                using (writer.PushSequence(DerReader.Context(8)))
                using (writer.PushSequence())
                {
                    foreach (var item in GeneralInfo)
                    {
                        item.Write(writer);
                    }
                }
            }
        }
    }

    private static ReadOnlyMemory<byte> Octets(ref DerReader reader, int tag, string field)
    {
        if (!reader.NextContext(tag))
        {
            return default;
        }

        var inside = reader.Explicit(tag, field);
        var octets = inside.OctetString(field);
        inside.End(field);
        if (octets.Length > CmpLimits.Identifier)
        {
            reader.Fail(field, "too long");
        }

        return octets;
    }

    private static void Write(AsnWriter writer, int tag, ReadOnlyMemory<byte> octets)
    {
        if (!octets.IsEmpty)
        {
            using (writer.PushSequence(DerReader.Context(tag)))
            {
                writer.WriteOctetString(octets.Span);
            }
        }
    }
}
