using System.Runtime.InteropServices;
using Sojourn.DataPath.Native;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Udp;

namespace Sojourn.DataPath.PacketPath;

/// <summary>
/// Outer packets on their way, in the order they were made. Encapsulated ESP of equal length between the same two ends leaves with one call, from the UDP
/// socket of its port, and the kernel cuts it as late as it can (UDP_SEGMENT, udp(7)); everything else leaves as it stands by AF_XDP
/// or from raw sockets, many with one call. For one thread; allocates nothing.
/// </summary>
internal sealed unsafe class OuterBatch(OuterSockets sockets, PacketPathCounters counters) : IDisposable
{
    private const int Capacity = 256 * 1024, MostPackets = 512, MostMessages = 64;

    /// <summary>UDP_MAX_SEGMENTS of kernels before 6.9, and the longest datagram.</summary>
    private const int MostSegments = 64, LongestPayload = 65_507;

    private readonly byte* _memory = (byte*)NativeMemory.AlignedAlloc(Capacity, 64);
    private readonly Entry* _entries = (Entry*)NativeMemory.Alloc(MostPackets, (nuint)sizeof(Entry));
    private readonly Libc.IoVec* _vectors = (Libc.IoVec*)NativeMemory.Alloc(MostMessages, (nuint)sizeof(Libc.IoVec));
    private readonly Libc.MultipleMsgHdr* _messages = (Libc.MultipleMsgHdr*)NativeMemory.AllocZeroed(MostMessages, (nuint)sizeof(Libc.MultipleMsgHdr));
    private readonly byte* _names = (byte*)NativeMemory.Alloc(MostMessages * SocketAddressFormat.Size);
    private int _count, _used;

    private readonly record struct Entry(int Offset, int Length);

    /// <summary>Room for what an inner packet of this length may become, in as many fragments as it takes.</summary>
    public Span<byte> RoomFor(int innerLength)
    {
        // Fragments of the smallest path still hold 256 octets each.
        return Room((2 * innerLength) + (((innerLength / 256) + 2) * PathTable.MaximumOverhead));
    }

    /// <summary>Room for what inner packets that need no fragments become.</summary>
    /// <param name="octets">Of all of them.</param>
    public Span<byte> RoomFor(int octets, int packets) => Room(octets + (packets * PathTable.MaximumOverhead));

    private Span<byte> Room(int needed)
    {
        if (_used + needed > Capacity)
        {
            Flush();
        }

        return new Span<byte>(_memory + _used, Capacity - _used);
    }

    /// <summary>Takes the packets that were made in <see cref="RoomFor(int)"/>.</summary>
    public void Add(in OutboundResult made)
    {
        var at = _used + made.Offset;
        foreach (var packet in made.Packets(new ReadOnlySpan<byte>(_memory + _used, Capacity - _used)))
        {
            if (_count == MostPackets)
            {
                Send();
            }

            _entries[_count++] = new Entry(at, packet.Length);
            at += packet.Length;
        }

        _used = (at + 63) & ~63;
    }

    /// <summary>Sends what is there.</summary>
    public void Flush()
    {
        Send();
        _used = 0;
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(_memory);
        NativeMemory.Free(_entries);
        NativeMemory.Free(_vectors);
        NativeMemory.Free(_messages);
        NativeMemory.Free(_names);
    }

    private byte* PacketAt(int index) => _memory + _entries[index].Offset;

    private void Send()
    {
        for (var at = 0; at < _count;)
        {
            var run = DatagramsAlike(at);
            if (run > 1 && SendSegments(at, run))
            {
                at += run;
                continue;
            }

            // What the UDP socket did not take leaves packet by packet.
            var end = at + Math.Max(1, run);
            while (run <= 1 && end < _count && end - at < MostMessages && IsIPv6(end) == IsIPv6(at) && DatagramsAlike(end) <= 1)
            {
                end++;
            }

            SendRaw(at, end);
            at = end;
        }

        _count = 0;
    }

    private bool IsIPv6(int index) => PacketAt(index)[0] >> 4 == 6;

    /// <summary>How many packets from here on are UDP that may not be fragmented and differ in nothing but identification and payload, with the last one shorter at most; 0 when this one is something else.</summary>
    private int DatagramsAlike(int index)
    {
        var first = PacketAt(index);
        var length = _entries[index].Length;
        if (!(first[0] == 0x45 ? first[9] == IpProtocol.Udp && first[6] == 0x40 && first[7] == 0 : IsIPv6(index) && first[6] == IpProtocol.Udp))
        {
            return 0;
        }

        var payload = length - HeadersOf(index);
        var most = Math.Min(Math.Min(MostSegments, LongestPayload / Math.Max(1, payload)), _count - index);
        var count = 1;
        for (; count < most; count++)
        {
            var nextLength = _entries[index + count].Length;
            if (nextLength > length || !(IsIPv6(index) ? IsAlike6(first, PacketAt(index + count)) : IsAlike4(first, PacketAt(index + count))))
            {
                break;
            }

            if (nextLength < length)
            {
                return count + 1;
            }
        }

        return count;
    }

    /// <summary>Version, header length and class; DF; TTL and protocol; addresses; ports.</summary>
    private static bool IsAlike4(byte* first, byte* next) =>
        *(ushort*)next == *(ushort*)first && *(uint*)(next + 6) == *(uint*)(first + 6) && *(ulong*)(next + 12) == *(ulong*)(first + 12) && *(uint*)(next + 20) == *(uint*)(first + 20);

    /// <summary>Version, class and flow label; protocol and hop limit; addresses and ports.</summary>
    private static bool IsAlike6(byte* first, byte* next) =>
        *(uint*)next == *(uint*)first && *(ushort*)(next + 6) == *(ushort*)(first + 6) && new ReadOnlySpan<byte>(next + 8, 36).SequenceEqual(new ReadOnlySpan<byte>(first + 8, 36));

    private int HeadersOf(int index) => (IsIPv6(index) ? IPv6Header.Length : IPv4Header.MinimumLength) + UdpHeader.HeaderLength;

    private bool SendSegments(int index, int count)
    {
        var headers = HeadersOf(index);
        for (var i = 0; i < count; i++)
        {
            _vectors[i] = new Libc.IoVec { Base = PacketAt(index + i) + headers, Length = (nuint)(_entries[index + i].Length - headers) };
        }

        if (!sockets.SendSegments(PacketAt(index), _vectors, count, _entries[index].Length - headers))
        {
            return false;
        }

        Interlocked.Add(ref counters.OuterSent, count);
        return true;
    }

    /// <summary>By AF_XDP what it takes, which knows one destination at a time, and by a raw socket the rest.</summary>
    private void SendRaw(int index, int end)
    {
        while (index < end)
        {
            var count = Math.Min(MostMessages, sockets.HasXdp ? AlikeInDestination(index, end) : end - index);
            for (var i = 0; i < count; i++)
            {
                _vectors[i] = new Libc.IoVec { Base = PacketAt(index + i), Length = (nuint)_entries[index + i].Length };
            }

            var sent = sockets.SendFrames(DestinationOf(index), _vectors, count);
            if (sent > 0)
            {
                Interlocked.Add(ref counters.OuterSent, sent);
                Interlocked.Add(ref counters.XdpSent, sent);
            }

            SendMessages(index, sent, count);
            index += count;
        }
    }

    private void SendMessages(int index, int sent, int count)
    {
        for (var i = sent; i < count; i++)
        {
            var name = _names + (i * SocketAddressFormat.Size);
            _messages[i].Header.Name = name;
            _messages[i].Header.NameLength = SocketAddressFormat.Write(name, DestinationOf(index + i), 0);
            _messages[i].Header.Vectors = _vectors + i;
            _messages[i].Header.VectorCount = 1;
        }

        while (sent < count)
        {
            var taken = sockets.SendRaw(IsIPv6(index), _messages + sent, count - sent, out var error);
            if (taken > 0)
            {
                Interlocked.Add(ref counters.OuterSent, taken);
                sent += taken;
                continue;
            }

            Interlocked.Increment(ref error == Libc.EMSGSIZE ? ref counters.SendTooLong : ref counters.SendFailed);
            sent++;
        }
    }

    private ReadOnlySpan<byte> DestinationOf(int index) => IsIPv6(index) ? new ReadOnlySpan<byte>(PacketAt(index) + 24, 16) : new ReadOnlySpan<byte>(PacketAt(index) + 16, 4);

    private int AlikeInDestination(int index, int end)
    {
        var count = 1;
        while (index + count < end && DestinationOf(index + count).SequenceEqual(DestinationOf(index)))
        {
            count++;
        }

        return count;
    }
}
