using System.Buffers.Binary;
using System.Net;
using Sojourn.Lab.Capture;

namespace Sojourn.Lab.Scenarios;

/// <summary>Frames the lab itself puts on a link.</summary>
internal static class Datagrams
{
    /// <summary>A UDP datagram in a frame with the link addresses of <paramref name="like"/>.</summary>
    public static byte[] Udp(CapturedFrame like, IPAddress source, IPAddress destination, ushort sourcePort, ushort destinationPort, ReadOnlySpan<byte> data)
    {
        var frame = new byte[14 + 20 + 8 + data.Length];
        like.Data.AsSpan(0, 14).CopyTo(frame);
        var ip = frame.AsSpan(14);
        ip[0] = 0x45;
        BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)ip.Length);
        ip[8] = 64;
        ip[9] = 17;
        source.TryWriteBytes(ip[12..], out _);
        destination.TryWriteBytes(ip[16..], out _);
        BinaryPrimitives.WriteUInt16BigEndian(ip[10..], Ipv4Packet.Sum(ip[..20]));
        var udp = ip[20..];
        BinaryPrimitives.WriteUInt16BigEndian(udp, sourcePort);
        BinaryPrimitives.WriteUInt16BigEndian(udp[2..], destinationPort);
        BinaryPrimitives.WriteUInt16BigEndian(udp[4..], (ushort)udp.Length);
        data.CopyTo(udp[8..]);
        byte[] pseudo = [.. ip.Slice(12, 8), 0, 17, udp[4], udp[5], .. udp];
        BinaryPrimitives.WriteUInt16BigEndian(udp[6..], Ipv4Packet.Sum(pseudo));
        return frame;
    }
}
