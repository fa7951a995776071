using System.Runtime.InteropServices;

namespace Sojourn.DataPath.PacketPath;

/// <summary>A fixed number of packet buffers outside the managed heap. One caller at a time.</summary>
internal sealed unsafe class PacketBuffers : IDisposable
{
    private readonly int[] _free;
    private readonly int _slotSize;
    private byte* _memory;
    private int _available;

    public PacketBuffers(int count, int slotSize)
    {
        _slotSize = (slotSize + 63) & ~63;
        _memory = (byte*)NativeMemory.AlignedAlloc((nuint)count * (nuint)_slotSize, 64);
        _free = [.. Enumerable.Range(0, count)];
        _available = count;
    }

    public int SlotSize => _slotSize;

    public bool TryRent(out int slot)
    {
        slot = _available > 0 ? _free[--_available] : -1;
        return slot >= 0;
    }

    public void Return(int slot) => _free[_available++] = slot;

    public Span<byte> this[int slot] => new(_memory + ((nint)slot * _slotSize), _slotSize);

    public void Dispose()
    {
        NativeMemory.AlignedFree(_memory);
        _memory = null;
    }
}

/// <summary>Working memory of one packet thread.</summary>
internal sealed unsafe class PacketScratch : IDisposable
{
    public const int Largest = 65_536;

    private byte* _memory = (byte*)NativeMemory.AlignedAlloc(8 * Largest, 64);

    /// <summary>A received packet, outer or inner.</summary>
    public Span<byte> Input => new(_memory, Largest);

    public byte* InputPointer => _memory;

    /// <summary>An opened packet.</summary>
    public Span<byte> Opened => new(_memory + Largest, Largest + 64);

    /// <summary>Protected packets: an inner packet of the largest size in fragments, each with its overhead.</summary>
    public Span<byte> Output => new(_memory + (3 * Largest), 4 * Largest);

    /// <summary>An ICMP error.</summary>
    public Span<byte> Reply => new(_memory + (7 * Largest), Largest);

    public void Dispose()
    {
        NativeMemory.AlignedFree(_memory);
        _memory = null;
    }
}
