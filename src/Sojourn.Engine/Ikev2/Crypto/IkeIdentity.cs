using System.Formats.Asn1;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Ikev2;

/// <summary>Who an end of an IKE SA says it is (RFC 7296 3.5). Compares by type and octets.</summary>
public sealed record IkeIdentity(IkeIdType Type, OctetString Data)
{
    public static IkeIdentity Of(IPAddress address) =>
        new(address.AddressFamily == AddressFamily.InterNetworkV6 ? IkeIdType.IPv6Address : IkeIdType.IPv4Address, address.GetAddressBytes());

    public static IkeIdentity OfName(string fqdn) => new(IkeIdType.Fqdn, Encoding.ASCII.GetBytes(fqdn));

    public static IkeIdentity OfMailbox(string mailbox) => new(IkeIdType.Rfc822Address, Encoding.ASCII.GetBytes(mailbox));

    public static IkeIdentity Of(X500DistinguishedName name) => new(IkeIdType.DerAsn1Dn, name.RawData);

    public static IkeIdentity OfKey(ReadOnlySpan<byte> keyId) => new(IkeIdType.KeyId, keyId);

    /// <summary>An address, a distinguished name (<c>CN=…</c>), a mailbox (<c>a@b</c>) or else a domain name.</summary>
    public static IkeIdentity Parse(string text) =>
        IPAddress.TryParse(text, out var address) ? Of(address)
        : text.Contains('=', StringComparison.Ordinal) ? Of(new X500DistinguishedName(text))
        : text.Contains('@', StringComparison.Ordinal) ? OfMailbox(text)
        : OfName(text);

    public static IkeIdentity From(IdentificationPayload payload) => new(payload.IdType, payload.Data);

    public IdentificationPayload ToPayload(bool ofInitiator) => new(ofInitiator, Type, Data);

    public IPAddress? Address => Type is IkeIdType.IPv4Address or IkeIdType.IPv6Address ? new IPAddress(Data.Span) : null;

    /// <summary>Whether a certificate is this identity's: a name, mailbox or address must be a subjectAltName, a distinguished name the subject (RFC 4945 3.1).</summary>
    public bool IsIn(X509Certificate2 certificate)
    {
        if (Type == IkeIdType.DerAsn1Dn)
        {
            return certificate.SubjectName.RawData.AsSpan().SequenceEqual(Data.Span);
        }

        var wanted = Type switch { IkeIdType.Rfc822Address => 1, IkeIdType.Fqdn => 2, IkeIdType.IPv4Address or IkeIdType.IPv6Address => 7, _ => -1 };
        var extension = certificate.Extensions.FirstOrDefault(e => e.Oid?.Value == "2.5.29.17");
        if (wanted < 0 || extension is null)
        {
            return false;
        }

        try
        {
            var names = new AsnReader(extension.RawData, AsnEncodingRules.DER).ReadSequence();
            while (names.HasData)
            {
                var tag = names.PeekTag();
                var name = names.ReadEncodedValue();
                if (tag.TagClass != TagClass.ContextSpecific || tag.TagValue != wanted)
                {
                    continue;
                }

                var value = AsnDecoder.ReadOctetString(name.Span, AsnEncodingRules.DER, out _, new Asn1Tag(TagClass.ContextSpecific, wanted));
                if (wanted == 7 ? value.AsSpan().SequenceEqual(Data.Span) : Ascii.EqualsIgnoreCase(value, Data.Span))
                {
                    return true;
                }
            }
        }
        catch (AsnContentException)
        {
            // A certificate that cannot be read proves nothing.
        }

        return false;
    }

    public override string ToString() => Type switch
    {
        IkeIdType.IPv4Address or IkeIdType.IPv6Address => Address!.ToString(),
        IkeIdType.Fqdn or IkeIdType.Rfc822Address => Printable(Data.Span),
        IkeIdType.DerAsn1Dn => DistinguishedName(),
        _ => $"{Type}:{Convert.ToHexStringLower(Data.Span)}",
    };

    private string DistinguishedName()
    {
        try
        {
            return new X500DistinguishedName(Data.Span).Name;
        }
        catch (System.Security.Cryptography.CryptographicException)
        {
            return $"{Type}:{Convert.ToHexStringLower(Data.Span)}";
        }
    }

    private static string Printable(ReadOnlySpan<byte> octets)
    {
        var text = new StringBuilder(octets.Length);
        foreach (var octet in octets)
        {
            text.Append(octet is >= 0x21 and < 0x7F ? (char)octet : '?');
        }

        return text.ToString();
    }
}
