using Sojourn.Wire.Tcp;
using Sojourn.Wire.Udp;

namespace Sojourn.Wire.Ip;

/// <summary>
/// Packets that stand for several (segmentation offload): a TCP segment, or a run of UDP datagrams, too long for its path, with the
/// number of payload octets that each packet of it is to have. Such a packet has one header and a checksum over the whole.
/// </summary>
public static class Segmentation
{
    /// <summary>Octets of the longest packet that it stands for; its own length where it stands for itself alone.</summary>
    /// <param name="size">Payload octets of each; 0 = it is a packet like any other.</param>
    public static int LongestOf(ReadOnlySpan<byte> packet, int size) => size > 0 && TryFind(packet, out _, out var payload, out _) ? Math.Min(packet.Length, payload + size) : packet.Length;

    /// <summary>Finds the transport header behind IP headers of both versions, tunnels' too.</summary>
    /// <param name="transport">Octets in front of it.</param>
    /// <param name="payload">Octets in front of what it carries.</param>
    /// <returns>False where there is neither TCP nor UDP, or a fragment of it.</returns>
    public static bool TryFind(ReadOnlySpan<byte> packet, out int transport, out int payload, out byte protocol)
    {
        transport = payload = 0;
        do
        {
            if (!TrySkip(packet[transport..], out var length, out protocol))
            {
                return false;
            }

            transport += length;
        }
        while (protocol is IpProtocol.IPv6 or IpProtocol.IPv4);

        switch (protocol)
        {
            case IpProtocol.Tcp when TcpHeader.TryParse(packet[transport..], out var tcp, out _):
                payload = transport + tcp.HeaderLength;
                return true;
            case IpProtocol.Udp when packet.Length - transport >= UdpHeader.HeaderLength:
                payload = transport + UdpHeader.HeaderLength;
                return true;
            default:
                return false;
        }
    }

    /// <summary>The packets that it stands for, made by a <see cref="SegmentCutter"/>.</summary>
    /// <param name="size">Payload octets of each but the last.</param>
    public static IReadOnlyList<ReadOnlyMemory<byte>> Cut(ReadOnlyMemory<byte> packet, int size)
    {
        if (!SegmentCutter.TryStart(packet.Span, size, partial: false, out var cutter))
        {
            return [packet];
        }

        var room = GC.AllocateUninitializedArray<byte>(cutter.LengthOfAll);
        var segments = new ReadOnlyMemory<byte>[cutter.Count];
        for (int i = 0, at = 0; !cutter.Finished; i++)
        {
            var length = cutter.Next(room.AsSpan(at));
            segments[i] = room.AsMemory(at, length);
            at += length;
        }

        return segments;
    }

    /// <summary>Octets of all the packets together that it stands for.</summary>
    public static int LengthOfAll(ReadOnlySpan<byte> packet, int size) => SegmentCutter.TryStart(packet, size, partial: true, out var cutter) ? cutter.LengthOfAll : packet.Length;

    /// <summary>Writes the packets that it stands for back to back.</summary>
    /// <param name="output">At least <see cref="LengthOfAll"/> octets, none of them the packet's own.</param>
    /// <returns>Octets written.</returns>
    public static int Cut(ReadOnlySpan<byte> packet, int size, Span<byte> output)
    {
        if (!SegmentCutter.TryStart(packet, size, partial: false, out var cutter))
        {
            packet.CopyTo(output);
            return packet.Length;
        }

        var at = 0;
        while (!cutter.Finished)
        {
            at += cutter.Next(output[at..]);
        }

        return at;
    }

    internal static bool TrySkip(ReadOnlySpan<byte> packet, out int length, out byte protocol)
    {
        (length, protocol) = (0, 0);
        if (IPv6Header.TryParse(packet, out var six, out _))
        {
            if (!IPv6ExtensionWalk.TryFindUpper(six, out var upper) || upper.IsFragment)
            {
                return false;
            }

            (length, protocol) = (upper.UpperOffset, upper.UpperProtocol);
            return true;
        }

        if (!IPv4Header.TryParse(packet, out var four, out _) || four.IsFragment)
        {
            return false;
        }

        (length, protocol) = (four.HeaderLength, four.Protocol);
        return true;
    }
}
