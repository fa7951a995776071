using Sojourn.Wire.Ip;

namespace Sojourn.Engine.Ipsec;

/// <summary>Mobile tunnel and ESP tunnel between the same two ends (spec terminal 3.9), and what has to come under ESP.</summary>
public sealed partial class PathTable
{
    private static bool IsTunnelled(in IpPacket packet, in Outer from) =>
        packet.IsIPv6 == from.IsIPv6 && packet.NextHeader is IpProtocol.IPv4 or IpProtocol.IPv6 && AddressNumber.Of(packet.Destination) == from.Destination;

    /// <summary>L7, L8: the mobile tunnel's header under ESP. One level only, like ESP inside it.</summary>
    private InboundResult DeliverTunnelled(Snapshot snapshot, SecurityAssociation association, Span<byte> inner, in IpPacket tunnel, in Outer from, DateTimeOffset now)
    {
        if (AddressNumber.Of(tunnel.Source) != from.Source)
        {
            return RefusedBy(association, DropReason.TunnelSource);
        }

        if (EcnTunnel.Decapsulate(from.TrafficClass, tunnel.TrafficClass, out _) is not { } trafficClass)
        {
            return RefusedBy(association, DropReason.EcnIllegal);
        }

        var (protocol, length) = (tunnel.NextHeader, tunnel.Payload.Length);
        tunnel.Payload.CopyTo(inner);
        inner = inner[..length];
        if (!TryReadInner(inner, protocol, out var packet))
        {
            return RefusedBy(association, DropReason.InnerMalformed);
        }

        var path = snapshot.Selectors.FindInbound(packet.IsIPv6, AddressNumber.Of(packet.Source), AddressNumber.Of(packet.Destination), association);
        return path is null || (path.Path.Traffic == PathTraffic.HomeTests && !HomeTestPacket.IsOne(packet))
            ? RefusedBy(association, DropReason.SelectorMismatch)
            : Deliver(path, association, inner[..packet.Octets.Length], new Outer(from.IsIPv6, from.Source, from.Destination, trafficClass), now);
    }

    /// <summary>RFC 4301 5.2: whether what would go back to the source of this packet has to go under an association, or not at all.</summary>
    private static bool IsProtected(Snapshot snapshot, in IpPacket packet, InstalledPath? path, in TunnelKey tunnel)
    {
        var (source, destination) = (AddressNumber.Of(packet.Source), AddressNumber.Of(packet.Destination));
        var back = !snapshot.HomeTests.IsEmpty && HomeTestPacket.IsOne(packet) && snapshot.HomeTests.Find(packet.IsIPv6, destination, source) is { } test
            ? test
            : snapshot.Selectors.Find(packet.IsIPv6, destination, source);
        return back is not null && back != path && back.TunnelKey == tunnel && (back.Path.SecurityType != SecurityType.EncapsulationOnly || !back.TakesInbound);
    }
}
