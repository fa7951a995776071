using System.Net;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Sojourn.Wire.Udp;

namespace Sojourn.Engine.Ipv6Host;

/// <summary>
/// What a node does by itself at an address that is its own and not the kernel's, as a home agent's or a gateway's: UDP in and out of
/// whole packets, and echo.
/// </summary>
public static class VirtualAddress
{
    /// <summary>The datagram in a packet; null when there is none that is right. Over IPv6 one without checksum is not taken (RFC 8200 8.1).</summary>
    public static DatagramReceived? ReadDatagram(MobileIpv6Packet packet)
    {
        Span<byte> source = stackalloc byte[IPv6Octets.Size];
        Span<byte> destination = stackalloc byte[IPv6Octets.Size];
        IPv6Octets.Write(source, packet.Source);
        IPv6Octets.Write(destination, packet.Destination);
        return packet.Protocol == IpProtocol.Udp && UdpHeader.TryParse(packet.Payload.Span, out var datagram, out _) && datagram.Checksum != 0 && datagram.ChecksumIsRight(source, destination)
            ? new DatagramReceived(new IPEndPoint(packet.Source, datagram.SourcePort), new IPEndPoint(packet.Destination, datagram.DestinationPort), datagram.Payload.ToArray())
            : null;
    }

    /// <summary>The packet that carries a datagram.</summary>
    public static SendIpv6Packet Send(SendDatagram datagram)
    {
        var octets = new byte[UdpHeader.HeaderLength + datagram.Payload.Length];
        datagram.Payload.CopyTo(octets.AsMemory(UdpHeader.HeaderLength));
        UdpHeader.Write(octets, (ushort)datagram.Source.Port, (ushort)datagram.Destination.Port);
        UdpHeader.WriteChecksum(octets, datagram.Source.Address.GetAddressBytes(), datagram.Destination.Address.GetAddressBytes());
        return new SendIpv6Packet(new MobileIpv6Packet
        {
            Source = datagram.Source.Address,
            Destination = datagram.Destination.Address,
            Protocol = IpProtocol.Udp,
            Payload = octets,
        }.ToArray());
    }

    /// <summary>The answer to an echo request to <paramref name="address"/> (RFC 4443 4.2); null when the packet is none.</summary>
    public static SendIpv6Packet? AnswerEcho(MobileIpv6Packet packet, IPAddress address)
    {
        if (packet.Protocol != IpProtocol.Icmpv6 || packet.HomeAddress is not null || packet.RoutingHomeAddress is not null || !packet.Destination.Equals(address)
            || packet.Payload.Length == 0 || packet.Payload.Span[0] != (byte)Icmpv6MessageType.EchoRequest || !Icmpv6Message.ChecksumIsRight(packet.Payload.Span, packet.Source, packet.Destination)
            || !Icmpv6Message.TryParse(packet.Payload.Span, out var message, out _) || message is not Echo echo)
        {
            return null;
        }

        return new SendIpv6Packet(new MobileIpv6Packet
        {
            Source = address,
            Destination = packet.Source,
            Protocol = IpProtocol.Icmpv6,
            Payload = (echo with { IsReply = true }).ToArray(address, packet.Source),
        }.ToArray());
    }
}
