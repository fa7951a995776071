using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Network;

namespace Sojourn.Lab.Scenarios;

/// <summary>Frames the lab itself puts on a link.</summary>
internal static class Datagrams
{
    /// <summary>A UDP datagram in a frame with the link addresses of <paramref name="like"/>.</summary>
    public static byte[] Udp(CapturedFrame like, IPAddress source, IPAddress destination, ushort sourcePort, ushort destinationPort, ReadOnlySpan<byte> data) =>
        [.. like.Data.AsSpan(0, 14), .. Packets.Udp(source, destination, sourcePort, destinationPort, data)];
}
