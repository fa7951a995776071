using System.Runtime.InteropServices;
using Sojourn.DataPath.Interception;
using Sojourn.DataPath.Native;
using Sojourn.Wire.Ip;

namespace Sojourn.DataPath.PacketPath;

/// <summary>Packets taken off raw sockets of one family with one call (recvmmsg(2)). For one thread; allocates nothing.</summary>
internal sealed unsafe class RawBatch : IDisposable
{
    public const int Capacity = 64;

    /// <summary>
    /// Room for the longest packet; pages nobody writes to cost nothing. Not a power of two, or all packets would start in one set of the
    /// processor's caches.
    /// </summary>
    private const int Slot = PacketScratch.Largest + 1600;

    /// <summary>Sender and what comes beside the data, of IPv6 alone.</summary>
    private const int Beside = SocketAddressFormat.Size + 4 + ReceivedControl.BufferSize;

    /// <summary>IPv4 comes whole. An IPv6 raw socket gives no header: room is left in front to write one.</summary>
    private readonly int _headroom;
    private readonly byte* _slots = (byte*)NativeMemory.Alloc((nuint)Slot * Capacity);
    private readonly byte* _beside = null;
    private readonly Libc.MultipleMsgHdr* _messages = (Libc.MultipleMsgHdr*)NativeMemory.AllocZeroed(Capacity, (nuint)sizeof(Libc.MultipleMsgHdr));
    private readonly Libc.IoVec* _vectors = (Libc.IoVec*)NativeMemory.AllocZeroed(Capacity, (nuint)sizeof(Libc.IoVec));
    private int _used = Capacity;

    public RawBatch(bool ipv6)
    {
        if (ipv6)
        {
            _headroom = IPv6Header.Length;
            _beside = (byte*)NativeMemory.Alloc(Capacity, Beside);
        }

        for (var i = 0; i < Capacity; i++)
        {
            _vectors[i] = new Libc.IoVec { Base = _slots + ((nint)i * Slot) + _headroom, Length = (nuint)(PacketScratch.Largest - _headroom) };
            _messages[i].Header = new Libc.MsgHdr { Vectors = _vectors + i, VectorCount = 1 };
        }
    }

    /// <summary>Takes what waits, up to <see cref="Capacity"/>: how many, or -1 with errno.</summary>
    public int Receive(int socket)
    {
        // The kernel leaves lengths there that it has used.
        for (var i = 0; i < _used && _beside != null; i++)
        {
            ref var header = ref _messages[i].Header;
            header.Name = Name(i);
            header.NameLength = SocketAddressFormat.Size;
            header.Control = Name(i) + Beside - ReceivedControl.BufferSize;
            header.ControlLength = ReceivedControl.BufferSize;
        }

        var count = Libc.ReceiveMessages(socket, _messages, Capacity, 0, null);
        _used = Math.Max(0, count);
        return count;
    }

    /// <summary>With the room in front.</summary>
    public Span<byte> Packet(int index) => new(_slots + ((nint)index * Slot), _headroom + (int)_messages[index].Length);

    /// <summary>What came beside the data, of IPv6 alone.</summary>
    public ref readonly Libc.MsgHdr Message(int index) => ref _messages[index].Header;

    /// <summary>Sender, of IPv6 alone.</summary>
    public byte* Name(int index) => _beside + (index * Beside);

    public void Dispose()
    {
        NativeMemory.Free(_slots);
        NativeMemory.Free(_beside);
        NativeMemory.Free(_messages);
        NativeMemory.Free(_vectors);
    }
}
