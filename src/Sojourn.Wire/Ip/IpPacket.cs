using System.Net;

namespace Sojourn.Wire.Ip;

/// <summary>View of an IP packet of either version, for code that treats both alike.</summary>
public readonly ref struct IpPacket
{
    private IpPacket(ReadOnlySpan<byte> octets, bool isIPv6, int headerLength)
    {
        Octets = octets;
        IsIPv6 = isIPv6;
        HeaderLength = headerLength;
    }

    /// <summary>The packet without link padding.</summary>
    public ReadOnlySpan<byte> Octets { get; }

    public bool IsIPv6 { get; }

    /// <summary>Length of the fixed header with IPv4 options, without IPv6 extension headers.</summary>
    public int HeaderLength { get; }

    public ReadOnlySpan<byte> Source => IsIPv6 ? Octets.Slice(8, 16) : Octets.Slice(12, 4);

    public ReadOnlySpan<byte> Destination => IsIPv6 ? Octets.Slice(24, 16) : Octets.Slice(16, 4);

    public IPAddress SourceAddress => new(Source);

    public IPAddress DestinationAddress => new(Destination);

    /// <summary>TOS octet or traffic class.</summary>
    public byte TrafficClass => IsIPv6 ? (byte)((Octets[0] << 4) | (Octets[1] >> 4)) : Octets[1];

    public byte Dscp => (byte)(TrafficClass >> 2);

    public byte HopLimit => IsIPv6 ? Octets[7] : Octets[8];

    /// <summary>IPv4 Protocol or first IPv6 Next Header.</summary>
    public byte NextHeader => IsIPv6 ? Octets[6] : Octets[9];

    public ReadOnlySpan<byte> Payload => Octets[HeaderLength..];

    public static bool TryParse(ReadOnlySpan<byte> octets, out IpPacket value, out WireError error)
    {
        if (octets.Length > 0 && octets[0] >> 4 == 6)
        {
            var sound = IPv6Header.TryParse(octets, out var header, out error);
            value = sound ? new IpPacket(header.Packet, true, IPv6Header.Length) : default;
            return sound;
        }
        else
        {
            var sound = IPv4Header.TryParse(octets, out var header, out error);
            value = sound ? new IpPacket(header.Packet, false, header.HeaderLength) : default;
            return sound;
        }
    }

    /// <summary>The packet as IPv4; only when <see cref="IsIPv6"/> is false.</summary>
    public IPv4Header AsIPv4() => IPv4Header.OfChecked(Octets);

    /// <summary>The packet as IPv6; only when <see cref="IsIPv6"/> is true.</summary>
    public IPv6Header AsIPv6() => IPv6Header.OfChecked(Octets);

    /// <summary>View of octets that were read before and are exactly one packet, without judging them again.</summary>
    public static IpPacket OfChecked(ReadOnlySpan<byte> packet) => packet[0] >> 4 == 6
        ? new IpPacket(packet, true, IPv6Header.Length)
        : new IpPacket(packet, false, (packet[0] & 0x0F) * 4);

    /// <summary>Writes TOS or traffic class, with the IPv4 checksum kept right.</summary>
    public static void RewriteTrafficClass(Span<byte> packet, byte trafficClass)
    {
        if (packet[0] >> 4 == 6)
        {
            IPv6Header.RewriteTrafficClass(packet, trafficClass);
        }
        else
        {
            IPv4Header.RewriteTypeOfService(packet, trafficClass);
        }
    }

    /// <summary>Length of the packet that starts here, from its own header; 0 when it is none.</summary>
    public static int LengthOf(ReadOnlySpan<byte> octets) =>
        TryParse(octets, out var packet, out _) ? packet.Octets.Length : 0;
}
