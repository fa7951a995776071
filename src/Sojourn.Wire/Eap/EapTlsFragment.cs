using System.Buffers.Binary;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.Eap;

/// <summary>
/// Type-Data of EAP-TLS (RFC 5216 3.1) and EAP-TTLS (RFC 5281 9.1), which have the same form but for the version in TTLS.
/// <code>
/// |L M S R R| V V V |     TLS Message Length (4, with L)     | TLS Data ...
/// </code>
/// Reserved bits are ignored; an empty one acknowledges a fragment.
/// </summary>
/// <param name="MessageLength">Octets of the whole flight; null without L.</param>
/// <param name="More">Another fragment follows an acknowledgement.</param>
/// <param name="Start">From the server alone, with its first message.</param>
/// <param name="Version">TTLS: 0. EAP-TLS writes these bits as zero.</param>
public sealed record EapTlsFragment(uint? MessageLength, bool More, bool Start, byte Version, OctetString Data)
{
    private const byte LengthFlag = 0x80, MoreFlag = 0x40, StartFlag = 0x20;

    public static EapTlsFragment Acknowledgement { get; } = new(null, false, false, 0, default);

    public bool IsAcknowledgement => MessageLength is null && !More && !Start && Data.Length == 0;

    public static bool TryParse(ReadOnlySpan<byte> octets, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out EapTlsFragment? fragment, out WireError error)
    {
        fragment = null;
        var withLength = octets.Length > 0 && (octets[0] & LengthFlag) != 0;
        if (octets.Length < (withLength ? 5 : 1))
        {
            error = new WireError("Flags", 0, "shorter than its fixed fields", "RFC 5216 3.1");
            return false;
        }

        uint? length = withLength ? BinaryPrimitives.ReadUInt32BigEndian(octets[1..]) : null;
        var data = octets[(withLength ? 5 : 1)..];
        if (length is > EapLimits.TlsMessageLength || length < data.Length)
        {
            error = new WireError("TLS Message Length", 1, "more than the limit or less than there is", "RFC 5216 3.1");
            return false;
        }

        fragment = new EapTlsFragment(length, (octets[0] & MoreFlag) != 0, (octets[0] & StartFlag) != 0, (byte)(octets[0] & 7), data);
        error = default;
        return true;
    }

    public byte[] ToArray()
    {
        var header = MessageLength is null ? 1 : 5;
        var octets = new byte[header + Data.Length];
        octets[0] = (byte)((MessageLength is null ? 0 : LengthFlag) | (More ? MoreFlag : 0) | (Start ? StartFlag : 0) | (Version & 7));
        if (MessageLength is { } length)
        {
            BinaryPrimitives.WriteUInt32BigEndian(octets.AsSpan(1), length);
        }

        Data.Span.CopyTo(octets.AsSpan(header));
        return octets;
    }
}
