using System.Buffers.Binary;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Ipsec;
using Sojourn.Wire.Udp;

namespace Sojourn.Engine.Ipsec;

/// <summary>The start of one of our outer packets as an ICMP error quotes it: cut off, at least 8 octets behind the IP header.</summary>
/// <param name="Protocol">Esp or Ah; null for plain encapsulation.</param>
internal readonly record struct QuotedPacket(UInt128 Source, UInt128 Destination, int Length, SecurityType? Protocol, uint Spi, uint Sequence)
{
    public static bool TryRead(ReadOnlySpan<byte> octets, bool isIPv6, out QuotedPacket quoted)
    {
        quoted = default;
        var headerLength = isIPv6 ? IPv6Header.Length : octets.Length > 0 ? (octets[0] & 0x0F) * 4 : 0;
        if (headerLength < IPv4Header.MinimumLength || octets.Length < headerLength + 8 || octets[0] >> 4 != (isIPv6 ? 6 : 4))
        {
            return false;
        }

        var addressLength = isIPv6 ? 16 : 4;
        var addresses = octets[(isIPv6 ? 8 : 12)..];
        var length = BinaryPrimitives.ReadUInt16BigEndian(octets[(isIPv6 ? 4 : 2)..]) + (isIPv6 ? IPv6Header.Length : 0);
        var source = AddressNumber.Of(addresses[..addressLength]);
        var destination = AddressNumber.Of(addresses.Slice(addressLength, addressLength));
        var payload = octets[headerLength..];
        switch (isIPv6 ? octets[6] : octets[9])
        {
            case IpProtocol.Esp:
                return Associated(SecurityType.Esp, payload, out quoted);
            case IpProtocol.Udp when payload.Length >= UdpHeader.HeaderLength + EspHeader.Length:
                return Associated(SecurityType.Esp, payload[UdpHeader.HeaderLength..], out quoted);
            case IpProtocol.Ah when payload.Length >= AhHeader.FixedLength:
                return Associated(SecurityType.Ah, payload[4..], out quoted);
            case IpProtocol.IPv4 or IpProtocol.IPv6:
                quoted = new QuotedPacket(source, destination, length, null, 0, 0);
                return true;
            default:
                return false;
        }

        bool Associated(SecurityType protocol, ReadOnlySpan<byte> spiAndSequence, out QuotedPacket result)
        {
            result = new QuotedPacket(
                source, destination, length, protocol,
                BinaryPrimitives.ReadUInt32BigEndian(spiAndSequence), BinaryPrimitives.ReadUInt32BigEndian(spiAndSequence[4..]));
            return true;
        }
    }
}
