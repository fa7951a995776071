using System.Buffers.Binary;
using System.Net;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>
/// Tunnel data, type 4 (RFC 3519 3.3): a packet carried in UDP through a NAT.
/// <code>
/// |     Type 4    |  Next Header  |           Reserved            |
/// | Packet ...
/// </code>
/// </summary>
/// <param name="NextHeader">IP protocol number of the packet: 4, 47 or 55.</param>
public sealed record TunnelData(byte NextHeader, OctetString Packet) : MobileIpMessage
{
    public const int HeaderLength = 4;
    public const byte IpInIp = 4;

    public ushort Reserved { get; init; }

    public override MobileIpMessageType Type => MobileIpMessageType.TunnelData;

    public override int FixedLength => HeaderLength + Packet.Length;

    protected override void WriteFixed(Span<byte> destination)
    {
        destination[1] = NextHeader;
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], Reserved);
        Packet.Span.CopyTo(destination[HeaderLength..]);
    }

    /// <summary>Writes the header in front of a packet already in place; for the packet path.</summary>
    public static void WriteHeader(Span<byte> destination, byte nextHeader)
    {
        destination[0] = (byte)MobileIpMessageType.TunnelData;
        destination[1] = nextHeader;
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], 0);
    }
}

/// <summary>Tunnel data as it lies in a buffer; for the packet path.</summary>
public readonly ref struct TunnelDataView
{
    private readonly ReadOnlySpan<byte> _octets;

    private TunnelDataView(ReadOnlySpan<byte> octets) => _octets = octets;

    public byte NextHeader => _octets[1];

    public ReadOnlySpan<byte> Packet => _octets[TunnelData.HeaderLength..];

    public static bool TryParse(ReadOnlySpan<byte> datagram, out TunnelDataView view, out WireError error)
    {
        if (datagram.Length < TunnelData.HeaderLength)
        {
            view = default;
            error = new WireError("Length", datagram.Length, "message is shorter than its fixed part", "RFC 3519 3.3");
            return false;
        }

        if (datagram[0] != (byte)MobileIpMessageType.TunnelData)
        {
            view = default;
            error = new WireError("Type", 0, "a message of another type", "RFC 3519 3.3");
            return false;
        }

        view = new TunnelDataView(datagram);
        error = default;
        return true;
    }
}

/// <summary>
/// NAT keepalive (RFC 3519 4.9): an ICMP echo request from the home address to the home agent inside tunnel data, sent
/// when nothing else went out for the keepalive interval. The answer comes back the same way.
/// </summary>
public static class NatKeepalive
{
    private const int IpHeader = 20;
    private const int IcmpHeader = 8;
    private const byte EchoReply = 0;
    private const byte EchoRequest = 8;

    public static TunnelData Request(IPAddress homeAddress, IPAddress homeAgent, ushort identifier, ushort sequence) =>
        new(TunnelData.IpInIp, OctetString.Create(IpHeader + IcmpHeader, packet =>
        {
            packet[0] = 0x45;
            BinaryPrimitives.WriteUInt16BigEndian(packet[2..], IpHeader + IcmpHeader);
            packet[6] = 0x40;
            packet[8] = 64;
            packet[9] = 1;
            AddressOctets.Write(packet[12..], AddressOctets.Require(homeAddress));
            AddressOctets.Write(packet[16..], AddressOctets.Require(homeAgent));
            BinaryPrimitives.WriteUInt16BigEndian(packet[10..], IcmpChecksum.Compute(packet[..IpHeader]));
            var icmp = packet[IpHeader..];
            icmp[0] = EchoRequest;
            BinaryPrimitives.WriteUInt16BigEndian(icmp[4..], identifier);
            BinaryPrimitives.WriteUInt16BigEndian(icmp[6..], sequence);
            BinaryPrimitives.WriteUInt16BigEndian(icmp[2..], IcmpChecksum.Compute(icmp));
        }));

    /// <summary>Reads the home agent's answer; false for anything else that may come through the tunnel.</summary>
    public static bool TryReadReply(ReadOnlySpan<byte> datagram, out ushort identifier, out ushort sequence)
    {
        identifier = sequence = 0;
        if (!TunnelDataView.TryParse(datagram, out var view, out _) || view.NextHeader != TunnelData.IpInIp)
        {
            return false;
        }

        var packet = view.Packet;
        if (packet.Length < IpHeader || packet[0] >> 4 != 4 || packet[9] != 1)
        {
            return false;
        }

        var header = (packet[0] & 0x0F) * 4;
        if (header < IpHeader || packet.Length < header + IcmpHeader || packet[header] != EchoReply)
        {
            return false;
        }

        identifier = BinaryPrimitives.ReadUInt16BigEndian(packet[(header + 4)..]);
        sequence = BinaryPrimitives.ReadUInt16BigEndian(packet[(header + 6)..]);
        return true;
    }
}
