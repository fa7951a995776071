using Sojourn.Wire.Dhcpv6;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Udp;

namespace Sojourn.VirtualInternet.Authentication;

/// <summary>What packets are called in the story of a run; null for what only fills it, such as neighbour discovery.</summary>
internal static class PacketNames
{
    public static string? Of(ReadOnlySpan<byte> packet)
    {
        if (!IPv6Header.TryParse(packet, out var header, out _) || !IPv6ExtensionWalk.TryFindUpper(header, out var upper))
        {
            return "unreadable";
        }

        var rest = header.Packet[upper.UpperOffset..];
        return upper.UpperProtocol switch
        {
            IpProtocol.Esp => "ESP",
            IpProtocol.IPv6 => $"tunnelled {Of(rest)}",
            IpProtocol.Icmpv6 => (Icmpv6MessageType)rest[0] is var type and not (Icmpv6MessageType.NeighborSolicitation or Icmpv6MessageType.NeighborAdvertisement or Icmpv6MessageType.RouterSolicitation or Icmpv6MessageType.RouterAdvertisement)
                ? type.ToString() : null,
            IpProtocol.Udp when UdpHeader.TryParse(rest, out var udp, out _) => OfUdp(udp),
            var other => $"protocol {other}",
        };
    }

    public static string OfDhcp(ReadOnlySpan<byte> message)
    {
        while (RelayMessage.Is(message) && RelayMessage.TryParse(message, out var relay, out _))
        {
            message = relay.Relayed;
        }

        return message.IsEmpty ? "unreadable" : $"DHCPv6 {(Dhcpv6MessageType)message[0]}";
    }

    private static string OfUdp(in UdpHeader udp) => udp.DestinationPort switch
    {
        Ikev2Limits.Port when udp.Payload.Length >= 28 && IkeHeader.TryParse(udp.Payload.ToArray(), out var ike, out _) => $"{ike.Exchange} {ike.MessageId}{(ike.IsResponse ? " response" : "")}",
        Dhcpv6Limits.ClientPort or Dhcpv6Limits.ServerPort => OfDhcp(udp.Payload),
        _ => "datagram",
    };
}
