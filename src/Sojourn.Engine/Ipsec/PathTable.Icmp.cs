using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;

namespace Sojourn.Engine.Ipsec;

/// <summary>Path MTU messages about outer packets.</summary>
public sealed partial class PathTable
{
    /// <summary>
    /// Takes an ICMP packet that reached a local gateway. A "too big" about one of our own outer packets lowers the path
    /// MTU: it must quote a packet between two gateways of a path and, with ESP or AH, the SPI of an outbound association
    /// and a sequence number that was sent (RFC 4301 8.2.1, 6.1.1: ICMP is not authenticated, so it is believed little).
    /// </summary>
    public IcmpOutcome OnIcmp(ReadOnlySpan<byte> outer, DateTimeOffset now)
    {
        if (!IpPacket.TryParse(outer, out var packet, out _) || packet.NextHeader != (packet.IsIPv6 ? IpProtocol.Icmpv6 : IpProtocol.Icmp)
            || !IcmpMessage.TryParse(packet.Payload, out var message, out _))
        {
            return IcmpOutcome.NotForUs;
        }

        var tooBig = packet.IsIPv6
            ? message.Type == Icmpv6Type.PacketTooBig && message.ChecksumIsRightIPv6(packet.Source, packet.Destination)
            : message.Type == IcmpType.DestinationUnreachable && message.Code == IcmpType.CodeFragmentationNeeded && message.ChecksumIsRight;
        if (!tooBig || !QuotedPacket.TryRead(message.Body, packet.IsIPv6, out var quoted))
        {
            return IcmpOutcome.NotForUs;
        }

        var snapshot = Current;
        if (!snapshot.Tunnels.TryGet(new TunnelKey(packet.IsIPv6, quoted.Source, quoted.Destination), out var tunnel))
        {
            return IcmpOutcome.NotForUs;
        }

        if (quoted.Protocol is { } protocol)
        {
            if (!snapshot.Outbound.TryGet(new AssociationKey(protocol, quoted.Spi, packet.IsIPv6, quoted.Source, quoted.Destination), out var candidates)
                || !Array.Exists(candidates.ToArray(), association => quoted.Sequence != 0 && (association.Sequence > uint.MaxValue || quoted.Sequence <= association.Sequence)))
            {
                return IcmpOutcome.Ignored;
            }
        }

        var mtu = packet.IsIPv6 ? (int)Math.Min(message.Parameter, int.MaxValue) : message.NextHopMtuIPv4;
        return tunnel.Learn(mtu, quoted.Length, now) ? IcmpOutcome.Learned : IcmpOutcome.Ignored;
    }
}
