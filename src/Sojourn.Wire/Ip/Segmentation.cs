using System.Buffers.Binary;
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

    /// <summary>
    /// The packets that it stands for. The sum of addresses and protocol is taken from the checksum of the whole, so that what was damaged
    /// stays damaged and routing headers need no thought (RFC 8200 8.1).
    /// </summary>
    /// <param name="size">Payload octets of each but the last.</param>
    public static IReadOnlyList<ReadOnlyMemory<byte>> Cut(ReadOnlyMemory<byte> packet, int size)
    {
        var count = CountOf(packet.Span, size, out var payload);
        if (count == 1)
        {
            return [packet];
        }

        var room = GC.AllocateUninitializedArray<byte>(packet.Length + ((count - 1) * payload));
        _ = Cut(packet.Span, size, room);
        return [.. Enumerable.Range(0, count).Select(ReadOnlyMemory<byte> (i) => room.AsMemory(i * (payload + size), payload + Math.Min(size, packet.Length - payload - (i * size))))];
    }

    /// <summary>Octets of all the packets together that it stands for.</summary>
    public static int LengthOfAll(ReadOnlySpan<byte> packet, int size) => packet.Length + ((CountOf(packet, size, out var payload) - 1) * payload);

    /// <summary>Writes the packets that it stands for back to back.</summary>
    /// <param name="output">At least <see cref="LengthOfAll"/> octets, none of them the packet's own.</param>
    /// <returns>Octets written.</returns>
    public static int Cut(ReadOnlySpan<byte> packet, int size, Span<byte> output)
    {
        var count = CountOf(packet, size, out var payload);
        if (count == 1)
        {
            packet.CopyTo(output);
            return packet.Length;
        }

        _ = TryFind(packet, out var transport, out _, out var protocol);
        Span<byte> rest = stackalloc byte[8];
        rest.Clear();
        BinaryPrimitives.WriteInt32BigEndian(rest[4..], packet.Length - transport);
        var addresses = InternetChecksum.Finish(InternetChecksum.Add(InternetChecksum.Add(0, rest), packet[transport..]));
        BinaryPrimitives.WriteUInt16BigEndian(rest, addresses);
        var at = 0;
        for (var i = 0; i < count; i++)
        {
            var piece = packet.Slice(payload + (i * size), Math.Min(size, packet.Length - payload - (i * size)));
            var segment = output.Slice(at, payload + piece.Length);
            packet[..payload].CopyTo(segment);
            piece.CopyTo(segment[payload..]);
            WriteHeaders(segment, transport, i);
            BinaryPrimitives.WriteInt32BigEndian(rest[4..], segment.Length - transport);
            WriteTransport(segment[transport..], protocol, rest, i * size, first: i == 0, last: i == count - 1);
            at += segment.Length;
        }

        return at;
    }

    private static int CountOf(ReadOnlySpan<byte> packet, int size, out int payload)
    {
        payload = 0;
        return size <= 0 || !TryFind(packet, out _, out payload, out _) || packet.Length - payload <= size ? 1 : (packet.Length - payload + size - 1) / size;
    }

    private static bool TrySkip(ReadOnlySpan<byte> packet, out int length, out byte protocol)
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

    /// <summary>Lengths of all IP headers; numbers of IPv4 packets go on counting.</summary>
    private static void WriteHeaders(Span<byte> segment, int transport, int number)
    {
        for (var at = 0; at < transport;)
        {
            var packet = segment[at..];
            if (packet[0] >> 4 == 6)
            {
                BinaryPrimitives.WriteUInt16BigEndian(packet[4..], (ushort)(packet.Length - IPv6Header.Length));
            }
            else
            {
                BinaryPrimitives.WriteUInt16BigEndian(packet[2..], (ushort)packet.Length);
                BinaryPrimitives.WriteUInt16BigEndian(packet[4..], (ushort)(BinaryPrimitives.ReadUInt16BigEndian(packet[4..]) + number));
                IPv4Header.WriteChecksum(packet[..((packet[0] & 0x0F) * 4)]);
            }

            _ = TrySkip(packet, out var length, out _);
            at += length;
        }
    }

    /// <param name="pseudo">Eight octets that add up to the pseudo-header.</param>
    private static void WriteTransport(Span<byte> segment, byte protocol, ReadOnlySpan<byte> pseudo, int offset, bool first, bool last)
    {
        if (protocol == IpProtocol.Udp)
        {
            BinaryPrimitives.WriteUInt16BigEndian(segment[4..], (ushort)segment.Length);
            if (BinaryPrimitives.ReadUInt16BigEndian(segment[6..]) != 0)
            {
                segment[6] = segment[7] = 0;
                var sum = InternetChecksum.Finish(InternetChecksum.Add(InternetChecksum.Add(0, pseudo), segment));
                BinaryPrimitives.WriteUInt16BigEndian(segment[6..], sum == 0 ? (ushort)0xFFFF : sum);
            }

            return;
        }

        BinaryPrimitives.WriteUInt32BigEndian(segment[4..], BinaryPrimitives.ReadUInt32BigEndian(segment[4..]) + (uint)offset);

        // What ends something is said by the last; that the window was made smaller (RFC 3168 6.1.2) is said once.
        var spared = (last ? TcpFlags.None : TcpFlags.Fin | TcpFlags.Psh) | (first ? TcpFlags.None : TcpFlags.Cwr);
        segment[13] &= (byte)~spared;
        segment[16] = segment[17] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(segment[16..], InternetChecksum.Finish(InternetChecksum.Add(InternetChecksum.Add(0, pseudo), segment)));
    }
}
