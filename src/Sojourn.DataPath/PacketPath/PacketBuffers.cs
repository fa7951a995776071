using System.Numerics;
using System.Runtime.InteropServices;
using Sojourn.Wire.Ip;

namespace Sojourn.DataPath.PacketPath;

/// <summary>
/// A fixed number of packet buffers outside the managed heap. One caller at a time. The lowest that is free is used: memory becomes resident when
/// it is touched, so what few long packets need is not spread over as many buffers as there ever were short ones.
/// </summary>
internal sealed unsafe class PacketBuffers : IDisposable
{
    private readonly ulong[] _free;
    private readonly int _slotSize;
    private byte* _memory;
    private int _lowest;

    public PacketBuffers(int count, int slotSize)
    {
        _slotSize = (slotSize + 63) & ~63;
        _memory = (byte*)NativeMemory.AlignedAlloc((nuint)count * (nuint)_slotSize, 64);
        _free = new ulong[(count + 63) / 64];
        for (var slot = 0; slot < count; slot++)
        {
            Return(slot);
        }
    }

    public int SlotSize => _slotSize;

    public bool TryRent(out int slot)
    {
        for (; _lowest < _free.Length; _lowest++)
        {
            if (_free[_lowest] is not 0 and var free)
            {
                _free[_lowest] &= free - 1;
                slot = (_lowest * 64) + BitOperations.TrailingZeroCount(free);
                return true;
            }
        }

        slot = -1;
        return false;
    }

    public void Return(int slot)
    {
        _free[slot / 64] |= 1UL << (slot % 64);
        _lowest = Math.Min(_lowest, slot / 64);
    }

    public Span<byte> this[int slot] => new(_memory + ((nint)slot * _slotSize), _slotSize);

    public void Dispose()
    {
        NativeMemory.AlignedFree(_memory);
        _memory = null;
    }
}

/// <summary>Working memory of one packet thread, and what it has not sent or delivered yet.</summary>
internal sealed unsafe class PacketScratch : IDisposable
{
    public const int Largest = 65_536;
    private const int OpenedSize = 4 * Largest, None = -1;

    private readonly SegmentMerger _merger;
    private byte* _memory = (byte*)NativeMemory.AlignedAlloc((4 * Largest) + OpenedSize, 64);
    private int _opened, _lastDelivered = None;

    /// <param name="outer">Takes outer packets.</param>
    /// <param name="deliver">Takes packets for the kernel.</param>
    /// <param name="datagrams">See <see cref="SegmentMerger"/>.</param>
    public PacketScratch(OuterBatch outer, MergedPacketHandler deliver, bool datagrams)
    {
        Outer = outer;
        _merger = new SegmentMerger(deliver, datagrams);
    }

    public OuterBatch Outer { get; }

    /// <summary>A received packet, outer or inner.</summary>
    public Span<byte> Input => new(_memory, Largest);

    public byte* InputPointer => _memory;

    /// <summary>One of the packets that the input stands for.</summary>
    public Span<byte> Segment => new(_memory + Largest, Largest);

    /// <summary>An ICMP error that is made here.</summary>
    public Span<byte> Output => new(_memory + (2 * Largest), Largest);

    /// <summary>An ICMP error that goes back into a tunnel.</summary>
    public Span<byte> Reply => new(_memory + (3 * Largest), Largest);

    /// <summary>Where a packet is opened to, behind those that wait for others to follow.</summary>
    public Span<byte> RoomToOpen(int outerLength)
    {
        // What opening needs beyond the packet, and a cache line.
        if (_opened + outerLength + 128 > OpenedSize)
        {
            Deliver();
        }

        return new Span<byte>(_memory + (4 * Largest) + _opened, OpenedSize - _opened);
    }

    /// <summary>
    /// Whether a packet is TCP or UDP between the same two addresses as the latest that was delivered and still lies here: then no path leads it elsewhere either. What is not, say
    /// a home test, may have a path of its own.
    /// </summary>
    public bool IsOfLastDelivered(ReadOnlySpan<byte> opened)
    {
        if (_lastDelivered == None)
        {
            return false;
        }

        var last = new ReadOnlySpan<byte>(_memory + (4 * Largest) + _lastDelivered, IPv6Header.Length);
        return opened.Length >= IPv6Header.Length && opened[0] == last[0] && (opened[0] >> 4 == 6
            ? opened[6] == last[6] && opened[6] is IpProtocol.Tcp or IpProtocol.Udp && opened.Slice(8, 32).SequenceEqual(last[8..])
            : opened[9] == last[9] && opened[9] is IpProtocol.Tcp or IpProtocol.Udp && opened.Slice(12, 8).SequenceEqual(last.Slice(12, 8)));
    }

    /// <summary>Delivers a packet that lies at the start of <see cref="RoomToOpen"/>, now or with others that follow it.</summary>
    public void Deliver(Span<byte> opened)
    {
        // Addresses stay as they are until all of it is delivered; what is merged changes in lengths and checksums alone.
        _lastDelivered = opened.Length >= IPv6Header.Length ? _opened : None;
        _merger.Add(opened);
        _opened += (opened.Length + 63) & ~63;
    }

    /// <summary>Delivers what waits.</summary>
    public void Deliver()
    {
        _merger.Flush();
        (_opened, _lastDelivered) = (0, None);
    }

    public void Dispose()
    {
        Outer.Dispose();
        _merger.Dispose();
        NativeMemory.AlignedFree(_memory);
        _memory = null;
    }
}
