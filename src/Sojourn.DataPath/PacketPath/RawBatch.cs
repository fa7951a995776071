using System.Runtime.InteropServices;
using Sojourn.DataPath.Interception;
using Sojourn.DataPath.Native;
using Sojourn.Wire.Ip;

namespace Sojourn.DataPath.PacketPath;

/// <summary>Packets taken off a raw socket with one call: of short ones a call for each would cost as much as opening it.</summary>
internal sealed unsafe class RawBatch : IDisposable
{
    public const int Capacity = 64;

    /// <summary>
    /// Room for the longest packet; pages nobody writes to cost nothing. Not a power of two, or all packets would start in one set of the
    /// processor's caches.
    /// </summary>
    private const int Slot = PacketScratch.Largest + 1600;

    private readonly byte* _slots = (byte*)NativeMemory.Alloc((nuint)Slot * Capacity);
    private readonly byte* _controls = (byte*)NativeMemory.Alloc(Capacity, ReceivedControl.BufferSize + SocketAddressFormat.Size);
    private readonly Libc.MultipleMsgHdr* _messages = (Libc.MultipleMsgHdr*)NativeMemory.AllocZeroed(Capacity, (nuint)sizeof(Libc.MultipleMsgHdr));
    private readonly Libc.IoVec* _vectors = (Libc.IoVec*)NativeMemory.AllocZeroed(Capacity, (nuint)sizeof(Libc.IoVec));
    private int _headroom;

    /// <summary>Takes what waits, up to <see cref="Capacity"/>: how many, or -1 with errno.</summary>
    public int Receive(OuterSocket socket)
    {
        // IPv4 comes whole. An IPv6 raw socket gives no header: room is left in front to write one, of what comes beside the data.
        var ipv6 = socket.Kind == OuterSocketKind.RawIPv6;
        _headroom = ipv6 ? IPv6Header.Length : 0;
        for (var i = 0; i < Capacity; i++)
        {
            _vectors[i] = new Libc.IoVec { Base = _slots + ((nint)i * Slot) + _headroom, Length = (nuint)(PacketScratch.Largest - _headroom) };
            _messages[i].Header = new Libc.MsgHdr
            {
                Name = ipv6 ? Name(i) : null,
                NameLength = ipv6 ? SocketAddressFormat.Size : 0u,
                Vectors = _vectors + i,
                VectorCount = 1,
                Control = ipv6 ? Name(i) + SocketAddressFormat.Size : null,
                ControlLength = ipv6 ? ReceivedControl.BufferSize : 0u,
            };
        }

        return Libc.ReceiveMessages(socket.Fd.Value, _messages, Capacity, 0, null);
    }

    /// <summary>With the room in front.</summary>
    public Span<byte> Packet(int index) => new(_slots + ((nint)index * Slot), _headroom + (int)_messages[index].Length);

    public ref readonly Libc.MsgHdr Message(int index) => ref _messages[index].Header;

    /// <summary>Sender, of IPv6 alone.</summary>
    public byte* Name(int index) => _controls + (index * (ReceivedControl.BufferSize + SocketAddressFormat.Size));

    public void Dispose()
    {
        NativeMemory.Free(_slots);
        NativeMemory.Free(_controls);
        NativeMemory.Free(_messages);
        NativeMemory.Free(_vectors);
    }
}
