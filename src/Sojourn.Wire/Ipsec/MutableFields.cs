using System.Buffers.Binary;
using Sojourn.Wire.Ip;

namespace Sojourn.Wire.Ipsec;

/// <summary>
/// Clears the fields that change in transit, as AH's integrity check sees a packet (RFC 4302 3.3.3.1 and appendix A).
/// Reading taken: an IPv4 option that the appendix does not list as immutable counts as mutable and is cleared whole,
/// type and length included. IPv6 routing headers are taken as they arrive, which is the form the sender predicts.
/// </summary>
public static class MutableFields
{
    /// <summary>Clears an IPv4 header with its options in place. False when the options are malformed.</summary>
    public static bool ClearIPv4(Span<byte> header)
    {
        header[1] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(header[6..], 0);
        header[8] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(header[10..], 0);
        var options = header[IPv4Header.MinimumLength..];
        var walk = new IPv4OptionWalk(options);
        while (walk.MoveNext())
        {
            if (walk.Type is not (IPv4OptionType.NoOperation or IPv4OptionType.Security or IPv4OptionType.ExtendedSecurity
                or IPv4OptionType.CommercialSecurity or IPv4OptionType.RouterAlert or IPv4OptionType.SenderDirectedDelivery))
            {
                options.Slice(walk.Offset, walk.Length).Clear();
            }
        }

        return !walk.Malformed;
    }

    /// <summary>
    /// Clears an IPv6 header and the extension headers up to <paramref name="end"/> in place. False when an options
    /// header is malformed. Options whose type has the change-en-route bit keep type and length and lose their data.
    /// </summary>
    /// <param name="packet">At least the octets up to <paramref name="end"/>.</param>
    /// <param name="end">Offset of the AH header.</param>
    public static bool ClearIPv6(Span<byte> packet, int end)
    {
        BinaryPrimitives.WriteUInt32BigEndian(packet, 0x60000000);
        packet[7] = 0;
        var type = packet[6];
        var at = IPv6Header.Length;
        while (at < end)
        {
            if (at + 8 > end)
            {
                return false;
            }

            var length = (packet[at + 1] + 1) * 8;
            if (at + length > end)
            {
                return false;
            }

            if (type is IpProtocol.HopByHop or IpProtocol.DestinationOptions && !ClearOptions(packet.Slice(at + 2, length - 2)))
            {
                return false;
            }

            type = packet[at];
            at += length;
        }

        return true;
    }

    private static bool ClearOptions(Span<byte> options)
    {
        var at = 0;
        while (at < options.Length)
        {
            if (options[at] == 0)
            {
                at++;
                continue;
            }

            if (at + 2 > options.Length || at + 2 + options[at + 1] > options.Length)
            {
                return false;
            }

            if ((options[at] & 0x20) != 0)
            {
                options.Slice(at + 2, options[at + 1]).Clear();
            }

            at += 2 + options[at + 1];
        }

        return true;
    }
}
