using Sojourn.Wire.Ip;

namespace Sojourn.Wire.Icmp;

/// <summary>Whole IP packets that carry an ICMP error about another packet.</summary>
public static class IcmpError
{
    /// <summary>Longest ICMPv4 error (RFC 1812 4.3.2.3).</summary>
    public const int MaximumIPv4 = 576;

    /// <summary>Longest ICMPv6 error: the minimum MTU (RFC 4443 2.4 (c)).</summary>
    public const int MaximumIPv6 = 1280;

    private const byte HopLimit = 64;

    /// <summary>
    /// Whether an error may be sent about a packet at all: not about ICMP errors, later fragments, multicast or
    /// broadcast destinations, or sources that are not one host (RFC 1812 4.3.2.7, RFC 4443 2.4 (e)). Packet Too Big
    /// alone may answer a multicast IPv6 packet.
    /// </summary>
    public static bool MayAnswer(in IpPacket offending, bool packetTooBig = false)
    {
        if (!offending.IsIPv6)
        {
            var header = offending.AsIPv4();
            if (header.FragmentOffset != 0
                || header.Source[0] is 0 or 127 or >= 224 || header.Destination[0] >= 224)
            {
                return false;
            }

            return header.Protocol != IpProtocol.Icmp || (header.Payload.Length > 0 && !IcmpType.IsError(header.Payload[0]));
        }

        var v6 = offending.AsIPv6();
        if (!IPv6ExtensionWalk.TryFindUpper(v6, out var upper)
            || upper.IsLaterFragment || v6.Source[0] == 0xFF || v6.Source.IndexOfAnyExcept((byte)0) < 0
            || (v6.Destination[0] == 0xFF && !packetTooBig))
        {
            return false;
        }

        return upper.UpperProtocol != IpProtocol.Icmpv6
            || (upper.UpperOffset < v6.Packet.Length && !Icmpv6Type.IsError(v6.Packet[upper.UpperOffset]));
    }

    /// <summary>
    /// Writes the error packet: from <paramref name="source"/> (4 or 16 octets, of the offending packet's family) to the
    /// offending packet's source, with as much of that packet as fits. Returns its length, 0 when
    /// <paramref name="destination"/> is too small.
    /// </summary>
    public static int Write(in IpPacket offending, ReadOnlySpan<byte> source, byte type, byte code, uint parameter, Span<byte> destination)
    {
        var overhead = (offending.IsIPv6 ? IPv6Header.Length : IPv4Header.MinimumLength) + IcmpMessage.HeaderLength;
        var quoted = Math.Min(offending.Octets.Length, (offending.IsIPv6 ? MaximumIPv6 : MaximumIPv4) - overhead);
        if (destination.Length < overhead + quoted)
        {
            return 0;
        }

        offending.Octets[..quoted].CopyTo(destination[overhead..]);
        var total = overhead + quoted;
        if (offending.IsIPv6)
        {
            IPv6Header.Write(destination, 0, 0, total - IPv6Header.Length, IpProtocol.Icmpv6, HopLimit, source, offending.Source);
            IcmpMessage.WriteIPv6(destination[IPv6Header.Length..total], type, code, parameter, source, offending.Source);
        }
        else
        {
            IPv4Header.Write(destination, 0xC0, total, 0, IPv4Header.DontFragmentFlag, HopLimit, IpProtocol.Icmp, source, offending.Source);
            IcmpMessage.WriteIPv4(destination[IPv4Header.MinimumLength..total], type, code, parameter);
        }

        return total;
    }

    /// <summary>"Does not fit": fragmentation needed (RFC 1191) or Packet Too Big (RFC 4443 3.2).</summary>
    /// <param name="mtu">The longest packet that would fit, in octets.</param>
    public static int WriteTooBig(in IpPacket offending, ReadOnlySpan<byte> source, int mtu, Span<byte> destination) =>
        offending.IsIPv6
            ? Write(offending, source, Icmpv6Type.PacketTooBig, 0, (uint)mtu, destination)
            : Write(offending, source, IcmpType.DestinationUnreachable, IcmpType.CodeFragmentationNeeded, (uint)Math.Min(mtu, ushort.MaxValue), destination);

    /// <summary>Administratively prohibited (RFC 1812 5.2.7.1 code 13, RFC 4443 3.1 code 1).</summary>
    public static int WriteProhibited(in IpPacket offending, ReadOnlySpan<byte> source, Span<byte> destination) =>
        offending.IsIPv6
            ? Write(offending, source, Icmpv6Type.DestinationUnreachable, Icmpv6Type.CodeAdministrativelyProhibited, 0, destination)
            : Write(offending, source, IcmpType.DestinationUnreachable, IcmpType.CodeAdministrativelyProhibited, 0, destination);
}
