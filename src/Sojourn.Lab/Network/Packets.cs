using System.Buffers.Binary;
using System.Net;
using Sojourn.Lab.Capture;

namespace Sojourn.Lab.Network;

/// <summary>IPv4 packets the lab itself makes.</summary>
internal static class Packets
{
    public static byte[] Udp(IPAddress source, IPAddress destination, ushort sourcePort, ushort destinationPort, ReadOnlySpan<byte> data, byte timeToLive = 64)
    {
        var packet = Ip(source, destination, 17, timeToLive, 8 + data.Length);
        var udp = packet.AsSpan(20);
        BinaryPrimitives.WriteUInt16BigEndian(udp, sourcePort);
        BinaryPrimitives.WriteUInt16BigEndian(udp[2..], destinationPort);
        BinaryPrimitives.WriteUInt16BigEndian(udp[4..], (ushort)udp.Length);
        data.CopyTo(udp[8..]);
        byte[] pseudo = [.. packet.AsSpan(12, 8), 0, 17, udp[4], udp[5], .. udp];
        BinaryPrimitives.WriteUInt16BigEndian(udp[6..], Ipv4Packet.Sum(pseudo));
        return packet;
    }

    /// <param name="message">From the type octet on, with its checksum.</param>
    public static byte[] Icmp(IPAddress source, IPAddress destination, ReadOnlySpan<byte> message, byte timeToLive)
    {
        var packet = Ip(source, destination, 1, timeToLive, message.Length);
        message.CopyTo(packet.AsSpan(20));
        return packet;
    }

    private static byte[] Ip(IPAddress source, IPAddress destination, byte protocol, byte timeToLive, int payload)
    {
        var packet = new byte[20 + payload];
        packet[0] = 0x45;
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(2), (ushort)packet.Length);
        packet[8] = timeToLive;
        packet[9] = protocol;
        source.TryWriteBytes(packet.AsSpan(12), out _);
        destination.TryWriteBytes(packet.AsSpan(16), out _);
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(10), Ipv4Packet.Sum(packet.AsSpan(0, 20)));
        return packet;
    }
}
