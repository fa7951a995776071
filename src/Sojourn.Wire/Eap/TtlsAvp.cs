using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.Eap;

/// <summary>
/// An AVP inside an EAP-TTLS tunnel (RFC 5281 10.1); without vendor the code is that of a RADIUS attribute.
/// <code>
/// |                           AVP Code                            |
/// |V M r r r r r r|                  AVP Length                   |
/// |                        Vendor-ID (with V)                     |
/// | Data ...                                     padding to four  |
/// </code>
/// </summary>
/// <param name="Mandatory">M: who does not know the AVP must fail the negotiation.</param>
/// <param name="Vendor">Null without V.</param>
public sealed record TtlsAvp(uint Code, uint? Vendor, bool Mandatory, OctetString Data)
{
    private const byte VendorFlag = 0x80, MandatoryFlag = 0x40;

    private int HeaderLength => Vendor is null ? 8 : 12;

    /// <summary>Octets with padding.</summary>
    public int PaddedLength => (HeaderLength + Data.Length + 3) & ~3;

    /// <summary>Reads a sequence of AVPs. The last one may lack its padding: some peers leave it out.</summary>
    public static bool TryParseAll(ReadOnlySpan<byte> octets, [NotNullWhen(true)] out IReadOnlyList<TtlsAvp>? avps, out WireError error)
    {
        avps = null;
        var read = new List<TtlsAvp>();
        for (var at = 0; at < octets.Length;)
        {
            var rest = octets[at..];
            if (rest.Length < 8)
            {
                error = new WireError("AVP Code", at, "shorter than the header", "RFC 5281 10.1");
                return false;
            }

            var header = (rest[4] & VendorFlag) != 0 ? 12 : 8;
            var length = (int)(BinaryPrimitives.ReadUInt32BigEndian(rest[4..]) & 0xFF_FFFF);
            if (length < header || length > rest.Length)
            {
                error = new WireError("AVP Length", at + 5, "AVP is not within the message", "RFC 5281 10.1");
                return false;
            }

            if (read.Count == EapLimits.TunnelAvps)
            {
                error = new WireError("AVP", at, "more than the limit", "EapLimits.TunnelAvps");
                return false;
            }

            read.Add(new TtlsAvp(
                BinaryPrimitives.ReadUInt32BigEndian(rest),
                header == 12 ? BinaryPrimitives.ReadUInt32BigEndian(rest[8..]) : null,
                (rest[4] & MandatoryFlag) != 0,
                rest[header..length]));
            at += Math.Min((length + 3) & ~3, rest.Length);
        }

        avps = read;
        error = default;
        return true;
    }

    public static byte[] Write(IReadOnlyList<TtlsAvp> avps)
    {
        var octets = new byte[avps.Sum(a => a.PaddedLength)];
        var at = 0;
        foreach (var avp in avps)
        {
            var to = octets.AsSpan(at);
            BinaryPrimitives.WriteUInt32BigEndian(to, avp.Code);
            BinaryPrimitives.WriteUInt32BigEndian(to[4..], (uint)(avp.HeaderLength + avp.Data.Length));
            to[4] = (byte)((avp.Vendor is null ? 0 : VendorFlag) | (avp.Mandatory ? MandatoryFlag : 0));
            if (avp.Vendor is { } vendor)
            {
                BinaryPrimitives.WriteUInt32BigEndian(to[8..], vendor);
            }

            avp.Data.Span.CopyTo(to[avp.HeaderLength..]);
            at += avp.PaddedLength;
        }

        return octets;
    }
}
