using System.Formats.Asn1;
using System.Globalization;
using System.Text;

namespace Sojourn.Wire.Cmp;

/// <summary>Where the first fault of a message is noted; shared by all readers of the message.</summary>
internal sealed class DerFault
{
    public WireError? Error { get; set; }
}

/// <summary>
/// Walks DER (X.690) without throwing. The first fault sticks: from then on every read gives an empty value and
/// <see cref="Ok"/> is false, so that a structure is read straight down and asked once. Contents are slices, not copies.
/// </summary>
internal ref struct DerReader
{
    private static readonly string[] TimeForms = ["yyyyMMddHHmmss'Z'", "yyyyMMddHHmmss.FFFFFFF'Z'"];

    private readonly ReadOnlyMemory<byte> _whole;
    private readonly DerFault _fault;
    private readonly string _clause;
    private readonly int _end;
    private int _at;

    public DerReader(ReadOnlyMemory<byte> whole, DerFault fault, string clause)
        : this(whole, fault, clause, 0, whole.Length)
    {
    }

    private DerReader(ReadOnlyMemory<byte> whole, DerFault fault, string clause, int at, int end)
    {
        _whole = whole;
        _fault = fault;
        _clause = clause;
        _at = at;
        _end = end;
    }

    public readonly bool Ok => _fault.Error is null;

    /// <summary>Something is left to read, and nothing was wrong so far.</summary>
    public readonly bool More => Ok && _at < _end;

    /// <summary>Everything this reader has left.</summary>
    public readonly ReadOnlyMemory<byte> Rest => Ok ? _whole[_at.._end] : default;

    public static Asn1Tag Context(int number, bool constructed = true) => new(TagClass.ContextSpecific, number, constructed);

    /// <summary>Whether the next value has this tag.</summary>
    public readonly bool Next(Asn1Tag tag) => More && Asn1Tag.TryDecode(_whole.Span[_at.._end], out var found, out _) && found == tag;

    public readonly bool NextContext(int number, bool constructed = true) => Next(Context(number, constructed));

    /// <summary>The tag of the next value; the end-of-contents tag when there is none.</summary>
    public readonly Asn1Tag NextTag => More && Asn1Tag.TryDecode(_whole.Span[_at.._end], out var found, out _) ? found : default;

    /// <summary>The next value with tag and length, whatever it is.</summary>
    public ReadOnlyMemory<byte> Element(string field) => Take(null, field, out var whole) is null ? default : whole;

    /// <summary>The content of the next value, which must have this tag.</summary>
    public ReadOnlyMemory<byte> Content(Asn1Tag tag, string field) => Take(tag, field, out _) is { } range ? _whole[range] : default;

    public DerReader Inside(Asn1Tag tag, string field) =>
        Take(tag, field, out _) is { } range ? new DerReader(_whole, _fault, _clause, range.Start.Value, range.End.Value) : new DerReader(_whole, _fault, _clause, _end, _end);

    public DerReader Sequence(string field) => Inside(Asn1Tag.Sequence, field);

    /// <summary>What a context tag wraps.</summary>
    public DerReader Explicit(int number, string field) => Inside(Context(number), field);

    public ReadOnlyMemory<byte> OctetString(string field) => Content(Asn1Tag.PrimitiveOctetString, field);

    /// <summary>Two's complement, as encoded.</summary>
    public ReadOnlyMemory<byte> Integer(string field) => Integer(Asn1Tag.Integer, field);

    public ReadOnlyMemory<byte> Integer(Asn1Tag tag, string field)
    {
        var at = _at;
        var content = Content(tag, field);
        if (Ok && (content.Length == 0 || (content.Length > 1 && ((content.Span[0] == 0 && content.Span[1] < 0x80) || (content.Span[0] == 0xFF && content.Span[1] >= 0x80)))))
        {
            Fail(field, at, "not the shortest form of an integer");
        }

        return content;
    }

    /// <summary>An integer of at most 31 bits; negative ones are read as they are.</summary>
    public int SmallInteger(string field)
    {
        var at = _at;
        var content = Integer(field).Span;
        if (!Ok)
        {
            return 0;
        }

        if (content.Length > 4)
        {
            Fail(field, at, "out of range");
            return 0;
        }

        var value = (int)(sbyte)content[0];
        for (var i = 1; i < content.Length; i++)
        {
            value = (value << 8) | content[i];
        }

        return value;
    }

    /// <summary>A bit string of whole octets, which is what signatures and keys are.</summary>
    public ReadOnlyMemory<byte> BitString(string field)
    {
        var at = _at;
        var bits = Bits(field, out var unused);
        if (Ok && unused != 0)
        {
            Fail(field, at, "not a whole number of octets");
        }

        return bits;
    }

    public ReadOnlyMemory<byte> Bits(string field, out int unused)
    {
        var at = _at;
        unused = 0;
        var content = Content(Asn1Tag.PrimitiveBitString, field);
        if (!Ok)
        {
            return default;
        }

        if (content.Length == 0 || content.Span[0] > 7 || (content.Length == 1 && content.Span[0] != 0))
        {
            Fail(field, at, "not a bit string");
            return default;
        }

        unused = content.Span[0];
        return content[1..];
    }

    public void Null(string field)
    {
        var at = _at;
        if (Content(Asn1Tag.Null, field).Length != 0)
        {
            Fail(field, at, "NULL has no content");
        }
    }

    /// <summary>Dotted decimal; empty after a fault.</summary>
    public string ObjectIdentifier(string field)
    {
        var at = _at;
        var content = Content(Asn1Tag.ObjectIdentifier, field).Span;
        if (!Ok)
        {
            return "";
        }

        if (content.Length is 0 or > CmpLimits.ObjectIdentifier || content[^1] >= 0x80)
        {
            Fail(field, at, "not an object identifier");
            return "";
        }

        var text = new StringBuilder(32);
        ulong arc = 0;
        var fresh = true;
        foreach (var octet in content)
        {
            if ((fresh && octet == 0x80) || arc > (ulong.MaxValue >> 7))
            {
                Fail(field, at, "not an object identifier");
                return "";
            }

            arc = (arc << 7) | (uint)(octet & 0x7F);
            fresh = octet < 0x80;
            if (!fresh)
            {
                continue;
            }

            if (text.Length == 0)
            {
                var first = Math.Min(arc / 40, 2);
                text.Append(first).Append('.').Append(arc - (first * 40));
            }
            else
            {
                text.Append('.').Append(arc);
            }

            arc = 0;
        }

        return text.ToString();
    }

    public DateTimeOffset GeneralizedTime(string field)
    {
        var at = _at;
        var content = Content(new Asn1Tag(UniversalTagNumber.GeneralizedTime), field);
        if (content.Length <= 24 && DateTimeOffset.TryParseExact(Encoding.ASCII.GetString(content.Span), TimeForms, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var time))
        {
            return time;
        }

        Fail(field, at, "not a time in UTC");
        return default;
    }

    /// <summary>Time of X.509: UTCTime up to 2049, GeneralizedTime beyond (RFC 5280 4.1.2.5).</summary>
    public DateTimeOffset Time(string field)
    {
        if (!Next(new Asn1Tag(UniversalTagNumber.UtcTime)))
        {
            return GeneralizedTime(field);
        }

        var at = _at;
        var text = Encoding.ASCII.GetString(Content(new Asn1Tag(UniversalTagNumber.UtcTime), field).Span);
        if (text.Length == 13 && DateTimeOffset.TryParseExact((text[0] < '5' ? "20" : "19") + text, "yyyyMMddHHmmss'Z'", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var time))
        {
            return time;
        }

        Fail(field, at, "not a time in UTC");
        return default;
    }

    public string Utf8(string field)
    {
        var at = _at;
        var content = Content(new Asn1Tag(UniversalTagNumber.UTF8String), field);
        if (Ok && !System.Text.Unicode.Utf8.IsValid(content.Span))
        {
            Fail(field, at, "not UTF-8");
        }

        return Ok ? Encoding.UTF8.GetString(content.Span) : "";
    }

    public AlgorithmIdentifier Algorithm(string field)
    {
        var inside = Sequence(field);
        var oid = inside.ObjectIdentifier(field);
        var parameters = inside.More ? inside.Element(field) : default;
        inside.End(field);
        return new AlgorithmIdentifier(oid, parameters);
    }

    /// <summary>Nothing may follow.</summary>
    public readonly void End(string field)
    {
        if (More)
        {
            Fail(field, _at, "something follows that does not belong here");
        }
    }

    public readonly void Fail(string field, string reason) => Fail(field, _at, reason);

    private readonly void Fail(string field, int at, string reason) => _fault.Error ??= new WireError(field, at, reason, _clause);

    private Range? Take(Asn1Tag? expected, string field, out ReadOnlyMemory<byte> whole)
    {
        whole = default;
        if (!Ok)
        {
            return null;
        }

        if (!AsnDecoder.TryReadEncodedValue(_whole.Span[_at.._end], AsnEncodingRules.DER, out var tag, out var offset, out var length, out var consumed))
        {
            Fail(field, _at, "missing or not DER");
            return null;
        }

        if (expected is { } wanted && tag != wanted)
        {
            Fail(field, _at, "another type is expected here");
            return null;
        }

        whole = _whole.Slice(_at, consumed);
        var start = _at + offset;
        _at += consumed;
        return start..(start + length);
    }
}

/// <summary>AlgorithmIdentifier (RFC 5280 4.1.1.2).</summary>
/// <param name="Oid">Dotted decimal.</param>
/// <param name="Parameters">DER; empty when absent.</param>
public readonly record struct AlgorithmIdentifier(string Oid, ReadOnlyMemory<byte> Parameters)
{
    /// <summary>Without parameters.</summary>
    public AlgorithmIdentifier(string oid)
        : this(oid, default)
    {
    }

    /// <summary>With the parameter NULL, as RSA and HMAC identifiers are usually written.</summary>
    public static AlgorithmIdentifier WithNull(string oid) => new(oid, (byte[])[5, 0]);

    public void Write(AsnWriter writer)
    {
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(Oid);
            if (!Parameters.IsEmpty)
            {
                writer.WriteEncodedValue(Parameters.Span);
            }
        }
    }
}
