using System.Buffers.Binary;
using Sojourn.Wire.Tcp;

namespace Sojourn.Wire.Ip;

/// <summary>
/// Cuts a packet that stands for several (<see cref="Segmentation"/>) one by one, without memory of its own. The sum of addresses and
/// protocol is taken from the checksum of the whole, so that what was damaged stays damaged and routing headers need no thought
/// (RFC 8200 8.1).
/// </summary>
public ref struct SegmentCutter
{
    private readonly ReadOnlySpan<byte> _whole;
    private readonly int _size, _outermost, _transport, _payload;
    private readonly byte _protocol;
    private readonly ushort _pseudo;
    private int _number;

    private SegmentCutter(ReadOnlySpan<byte> whole, int size, int transport, int payload, byte protocol, bool partial)
    {
        _whole = whole;
        (_size, _transport, _payload, _protocol) = (size, transport, payload, protocol);
        _ = Segmentation.TrySkip(whole, out _outermost, out _);
        Span<byte> length = stackalloc byte[8];
        length.Clear();
        BinaryPrimitives.WriteInt32BigEndian(length[4..], whole.Length - transport);
        var sum = InternetChecksum.Add(0, length);
        if (partial)
        {
            // The field holds addresses, protocol and length; the length goes.
            BinaryPrimitives.WriteUInt16BigEndian(length, InternetChecksum.Finish(sum));
            length[4..].Clear();
            _pseudo = (ushort)~InternetChecksum.Finish(InternetChecksum.Add(InternetChecksum.Add(0, length), whole.Slice(transport + ChecksumAt(protocol), 2)));
        }
        else
        {
            _pseudo = InternetChecksum.Finish(InternetChecksum.Add(sum, whole[transport..]));
        }
    }

    public readonly int Count => (_whole.Length - _payload + _size - 1) / _size;

    /// <summary>Octets of all of them together.</summary>
    public readonly int LengthOfAll => _whole.Length + ((Count - 1) * _payload);

    public readonly bool Finished => _payload + (_number * _size) >= _whole.Length;

    /// <param name="size">Payload octets of each packet but the last.</param>
    /// <param name="partial">The checksum field holds the sum of the pseudo-header alone, as a segmentation offload has it.</param>
    /// <returns>False where there is nothing to cut: it is one packet, and its checksum is what it is.</returns>
    public static bool TryStart(ReadOnlySpan<byte> packet, int size, bool partial, out SegmentCutter cutter)
    {
        cutter = default;
        if (size <= 0 || !Segmentation.TryFind(packet, out var transport, out var payload, out var protocol) || packet.Length - payload <= size)
        {
            return false;
        }

        cutter = new SegmentCutter(packet, size, transport, payload, protocol, partial);
        return true;
    }

    /// <summary>Octets of the next one.</summary>
    public readonly int NextLength => _payload + Math.Min(_size, _whole.Length - _payload - (_number * _size));

    /// <summary>Writes the next one; returns its length.</summary>
    public int Next(Span<byte> output)
    {
        var segment = output[..NextLength];
        _whole[.._payload].CopyTo(segment);
        _whole.Slice(_payload + (_number * _size), segment.Length - _payload).CopyTo(segment[_payload..]);
        WriteHeaders(segment);
        var (first, offset) = (_number == 0, _number * _size);
        _number++;
        WriteTransport(segment[_transport..], offset, first, Finished);
        return segment.Length;
    }

    private static int ChecksumAt(byte protocol) => protocol == IpProtocol.Udp ? 6 : 16;

    /// <summary>Lengths of all IP headers; numbers of IPv4 packets go on counting.</summary>
    private readonly void WriteHeaders(Span<byte> segment)
    {
        for (var at = 0; at < _transport;)
        {
            var packet = segment[at..];
            if (packet[0] >> 4 == 6)
            {
                BinaryPrimitives.WriteUInt16BigEndian(packet[4..], (ushort)(packet.Length - IPv6Header.Length));
            }
            else
            {
                BinaryPrimitives.WriteUInt16BigEndian(packet[2..], (ushort)packet.Length);
                BinaryPrimitives.WriteUInt16BigEndian(packet[4..], (ushort)(BinaryPrimitives.ReadUInt16BigEndian(packet[4..]) + _number));
                IPv4Header.WriteChecksum(packet[..((packet[0] & 0x0F) * 4)]);
            }

            var length = _outermost;
            if (at > 0)
            {
                _ = Segmentation.TrySkip(packet, out length, out _);
            }

            at += length;
        }
    }

    private readonly void WriteTransport(Span<byte> segment, int offset, bool first, bool last)
    {
        Span<byte> pseudo = stackalloc byte[8];
        pseudo.Clear();
        BinaryPrimitives.WriteUInt16BigEndian(pseudo, _pseudo);
        BinaryPrimitives.WriteInt32BigEndian(pseudo[4..], segment.Length);
        if (_protocol == IpProtocol.Udp)
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
