using System.Formats.Asn1;
using System.Net;
using System.Text;

namespace Sojourn.Wire.Cmp;

/// <summary>What a subjectAltName holds that is understood here (RFC 5280 4.2.1.6).</summary>
/// <param name="Others">How many names of other kinds there are.</param>
public sealed record GeneralNames(IReadOnlyList<string> DnsNames, IReadOnlyList<IPAddress> Addresses, int Others)
{
    private const int DnsName = 2;
    private const int Address = 7;

    public static bool TryParse(ReadOnlyMemory<byte> octets, out GeneralNames names, out WireError error)
    {
        var fault = new DerFault();
        var all = new DerReader(octets, fault, "RFC 5280 4.2.1.6");
        var list = all.Sequence("GeneralNames");
        all.End("GeneralNames");
        var (dns, addresses, others) = (new List<string>(), new List<IPAddress>(), 0);
        while (list.More)
        {
            if (dns.Count + addresses.Count + others == CmpLimits.Names)
            {
                list.Fail("GeneralNames", "too many");
                break;
            }

            if (list.NextContext(DnsName, constructed: false))
            {
                var text = list.Content(DerReader.Context(DnsName, constructed: false), "dNSName").Span;
                if (text.ContainsAnyExceptInRange((byte)0x21, (byte)0x7E))
                {
                    list.Fail("dNSName", "not printable ASCII");
                }

                dns.Add(Encoding.ASCII.GetString(text));
            }
            else if (list.NextContext(Address, constructed: false))
            {
                var address = list.Content(DerReader.Context(Address, constructed: false), "iPAddress").Span;
                if (address.Length is 4 or 16)
                {
                    addresses.Add(new IPAddress(address));
                }
                else
                {
                    list.Fail("iPAddress", "neither 4 nor 16 octets");
                }
            }
            else
            {
                _ = list.Element("GeneralName");
                others++;
            }
        }

        names = new GeneralNames(dns, addresses, others);
        error = fault.Error ?? default;
        return fault.Error is null;
    }

    /// <summary>GeneralNames in DER.</summary>
    public byte[] ToArray()
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            foreach (var name in DnsNames)
            {
                writer.WriteCharacterString(UniversalTagNumber.IA5String, name, DerReader.Context(DnsName, constructed: false));
            }

            foreach (var address in Addresses)
            {
                writer.WriteOctetString(address.GetAddressBytes(), DerReader.Context(Address, constructed: false));
            }
        }

        return writer.Encode();
    }
}

/// <summary>One attribute of a distinguished name.</summary>
/// <param name="Text">Null when the value is of a string type that is not understood.</param>
public readonly record struct NameAttribute(string Oid, string? Text);

/// <summary>Name of X.501 (RFC 5280 4.1.2.4): a sequence of relative distinguished names, outermost first.</summary>
public sealed record DistinguishedName(IReadOnlyList<IReadOnlyList<NameAttribute>> Parts)
{
    public static bool TryParse(ReadOnlyMemory<byte> octets, out DistinguishedName name, out WireError error)
    {
        var fault = new DerFault();
        var all = new DerReader(octets, fault, "RFC 5280 4.1.2.4");
        var sequence = all.Sequence("Name");
        all.End("Name");
        var parts = new List<IReadOnlyList<NameAttribute>>();
        var count = 0;
        while (sequence.More)
        {
            var set = sequence.Inside(Asn1Tag.SetOf, "RelativeDistinguishedName");
            var attributes = new List<NameAttribute>();
            while (set.More)
            {
                if (count++ == CmpLimits.Names)
                {
                    set.Fail("Name", "too many attributes");
                    break;
                }

                var r = set.Sequence("AttributeTypeAndValue");
                var oid = r.ObjectIdentifier("type");
                var tag = r.NextTag;
                var value = r.Inside(tag, "value").Rest;
                r.End("AttributeTypeAndValue");
                attributes.Add(new NameAttribute(oid, Text(tag, value.Span)));
            }

            parts.Add(attributes);
        }

        name = new DistinguishedName(parts);
        error = fault.Error ?? default;
        return fault.Error is null;
    }

    private static string? Text(Asn1Tag tag, ReadOnlySpan<byte> value)
    {
        if (tag.TagClass != TagClass.Universal)
        {
            return null;
        }

        switch ((UniversalTagNumber)tag.TagValue)
        {
            case UniversalTagNumber.UTF8String:
                return System.Text.Unicode.Utf8.IsValid(value) ? Encoding.UTF8.GetString(value) : null;
            case UniversalTagNumber.PrintableString or UniversalTagNumber.IA5String:
                return Ascii.IsValid(value) ? Encoding.ASCII.GetString(value) : null;
            default:
                return null;
        }
    }
}
