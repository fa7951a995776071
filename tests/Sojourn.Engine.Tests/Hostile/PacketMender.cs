using System.Buffers.Binary;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Tests.Hostile;

/// <summary>Makes lengths and checksums of a spoiled packet right, so that it gets past the first checks.</summary>
internal static class PacketMender
{
    private const int ChecksumOfIpv4 = 10;

    public static void Mend(Span<byte> packet)
    {
        // Tunnels: what is inside has lengths and checksums of its own.
        while (packet.Length >= IPv6Header.Length && packet[0] >> 4 == 6)
        {
            BinaryPrimitives.WriteUInt16BigEndian(packet[4..], (ushort)(packet.Length - IPv6Header.Length));
            if (!IPv6Header.TryParse(packet, out var header, out _) || !IPv6ExtensionWalk.TryFindUpper(header, out var upper) || upper.IsFragment)
            {
                return;
            }

            var carried = packet[upper.UpperOffset..];
            if (upper.UpperProtocol == IpProtocol.IPv6)
            {
                packet = carried;
                continue;
            }

            // Home Address option and routing header name the addresses that count (RFC 6275 6.1.1, 6.3, 6.4).
            var (source, destination) = MobileIpv6Packet.TryParse(packet, out var read, out _)
                ? (read.EffectiveSource.GetAddressBytes(), read.EffectiveDestination.GetAddressBytes())
                : (packet[8..24].ToArray(), packet[24..40].ToArray());
            MendUpper(carried, upper.UpperProtocol, InternetChecksum.PseudoHeader(source, destination, upper.UpperProtocol, carried.Length));
            return;
        }

        if (packet.Length >= IPv4Header.MinimumLength && packet[0] == 0x45)
        {
            BinaryPrimitives.WriteUInt16BigEndian(packet[2..], (ushort)packet.Length);
            BinaryPrimitives.WriteUInt16BigEndian(packet[ChecksumOfIpv4..], 0);
            BinaryPrimitives.WriteUInt16BigEndian(packet[ChecksumOfIpv4..], InternetChecksum.Of(packet[..IPv4Header.MinimumLength]));
            var protocol = packet[9];
            var carried = packet[IPv4Header.MinimumLength..];
            MendUpper(carried, protocol, protocol == IpProtocol.Icmp ? 0 : InternetChecksum.PseudoHeader(packet[12..16], packet[16..20], protocol, carried.Length));
        }
    }

    private static void MendUpper(Span<byte> octets, byte protocol, ulong pseudo)
    {
        var at = protocol switch { IpProtocol.Udp => 6, IpProtocol.Tcp => 16, IpProtocol.Icmp or IpProtocol.Icmpv6 => 2, IpProtocol.Mobility => 4, _ => -1 };
        if (at < 0 || octets.Length < at + 2)
        {
            return;
        }

        if (protocol == IpProtocol.Udp)
        {
            BinaryPrimitives.WriteUInt16BigEndian(octets[4..], (ushort)octets.Length);
        }

        BinaryPrimitives.WriteUInt16BigEndian(octets[at..], 0);
        BinaryPrimitives.WriteUInt16BigEndian(octets[at..], InternetChecksum.Finish(InternetChecksum.Add(pseudo, octets)));
    }
}
