using System.Runtime.InteropServices;
using Sojourn.DataPath.Native;

namespace Sojourn.DataPath.Xdp;

/// <summary>
/// An AF_XDP socket of one queue of an interface (linux/if_xdp.h): frames in memory shared with the kernel, and four rings that say whose they are.
/// One thread at a time receives, inside <see cref="Gate"/>; any thread sends. After <see cref="Dispose"/> it receives and takes nothing.
/// </summary>
internal sealed unsafe class XdpSocket : IDisposable
{
    /// <summary>Octets that the kernel keeps free in front of a received frame (XDP_PACKET_HEADROOM).</summary>
    public const int Headroom = 256;

    public const int EthernetHeader = 14;

    /// <summary>Powers of two, as rings have to be. What comes faster than it is read finds no frame and is lost, as with a full socket buffer.</summary>
    private const int ReceiveFrames = 2048, SendFrames = 1024;

    private const int MemoryRegister = 4, FillRing = 5, CompletionRing = 6, ReceiveRing = 2, SendRing = 3, MapOffsets = 1, SendBufferForce = 32, SendBuffer = 16 * 1024 * 1024;
    private const long ReceivePage = 0, SendPage = 0x80000000, FillPage = 0x100000000, CompletionPage = 0x180000000;
    private const int MostKicks = 4 * SendFrames / 32;

    private readonly Lock _sending = new();
    private readonly FileDescriptor _fd;
    private readonly int _frameSize;
    private readonly nuint _memorySize;
    private readonly int[] _free = [.. Enumerable.Range(ReceiveFrames, SendFrames)];
    private byte* _memory;
    private Ring _fill, _completed, _received, _toSend;
    private int _freeCount = SendFrames;
    private bool _closed;
    private volatile bool _broken;

    /// <param name="interfaceIndex">In the namespace of the calling thread.</param>
    /// <param name="queue">From 0 on.</param>
    /// <param name="frameSize">2048 or 4096.</param>
    /// <exception cref="SystemCallException">EINVAL when the interface has no such queue.</exception>
    public XdpSocket(int interfaceIndex, int queue, int frameSize)
    {
        _frameSize = frameSize;
        _memorySize = (nuint)(ReceiveFrames + SendFrames) * (nuint)frameSize;
        _fd = FileDescriptor.Socket(Libc.AF_XDP, Libc.SOCK_RAW, 0, "AF_XDP");
        try
        {
            _memory = (byte*)Map(_memorySize, Libc.MAP_PRIVATE | Libc.MAP_ANONYMOUS | Libc.MAP_POPULATE, -1, 0);
            Span<ulong> registration = [(ulong)_memory, _memorySize, (uint)frameSize];
            Set(MemoryRegister, registration, "XDP_UMEM_REG");
            Span<uint> entries = [ReceiveFrames];
            Set(FillRing, entries, "XDP_UMEM_FILL_RING");
            Set(ReceiveRing, entries, "XDP_RX_RING");
            entries[0] = SendFrames;
            Set(CompletionRing, entries, "XDP_UMEM_COMPLETION_RING");
            Set(SendRing, entries, "XDP_TX_RING");

            // The kernel charges what it has not sent yet to the socket: frames are to be the bound, not octets.
            Libc.SetOption(_fd.Value, Libc.SOL_SOCKET, SendBufferForce, SendBuffer, "SO_SNDBUFFORCE");
            var offsets = stackalloc RingOffsets[4];
            var length = (uint)(4 * sizeof(RingOffsets));
            if (Libc.GetSockOpt(_fd.Value, Libc.SOL_XDP, MapOffsets, offsets, &length) != 0 || length != 4 * sizeof(RingOffsets))
            {
                throw Libc.Failure("ask for the offsets of AF_XDP rings");
            }

            _received = Ring.Map(_fd, ReceivePage, offsets[0], ReceiveFrames, sizeof(Descriptor));
            _toSend = Ring.Map(_fd, SendPage, offsets[1], SendFrames, sizeof(Descriptor));
            _fill = Ring.Map(_fd, FillPage, offsets[2], ReceiveFrames, sizeof(ulong));
            _completed = Ring.Map(_fd, CompletionPage, offsets[3], SendFrames, sizeof(ulong));
            for (uint i = 0; i < ReceiveFrames; i++)
            {
                *_fill.At<ulong>(i) = i * (ulong)frameSize;
            }

            Volatile.Write(ref *_fill.Producer, ReceiveFrames);

            // struct sockaddr_xdp. Without a flag the kernel takes the driver's own way (zero copy) where it has one, and copies where not.
            Span<uint> address = [Libc.AF_XDP, (uint)interfaceIndex, (uint)queue, 0];
            fixed (uint* pointer = address)
            {
                if (Libc.Bind(_fd.Value, pointer, 16) != 0)
                {
                    throw Libc.Failure($"bind AF_XDP socket to queue {queue}");
                }
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public FileDescriptor Fd => _fd;

    /// <summary>Held by whoever looks at received frames, which stay where they are as long.</summary>
    public Lock Gate { get; } = new();

    /// <summary>The kernel has refused to send; nothing is taken any more.</summary>
    public bool IsBroken => _broken;

    /// <summary>Received frames that wait, at most so many.</summary>
    public int Waiting(int most) => _closed ? 0 : (int)Math.Min((uint)most, Volatile.Read(ref *_received.Producer) - *_received.Consumer);

    /// <summary>A received frame with its Ethernet header, counted from the oldest that waits.</summary>
    public ReadOnlySpan<byte> FrameAt(int index)
    {
        var descriptor = _received.At<Descriptor>(*_received.Consumer + (uint)index);
        return new ReadOnlySpan<byte>(_memory + descriptor->Address, (int)descriptor->Length);
    }

    /// <summary>Gives the oldest frames back.</summary>
    public void Release(int count)
    {
        if (count == 0)
        {
            return;
        }

        var from = *_received.Consumer;
        var to = *_fill.Producer;
        for (uint i = 0; i < count; i++)
        {
            *_fill.At<ulong>(to + i) = _received.At<Descriptor>(from + i)->Address & ~((ulong)_frameSize - 1);
        }

        Volatile.Write(ref *_received.Consumer, from + (uint)count);
        Volatile.Write(ref *_fill.Producer, to + (uint)count);
    }

    /// <summary>Sends packets behind an Ethernet header. How many of the first it took; a socket whose interface is gone takes none.</summary>
    public int Send(ReadOnlySpan<byte> header, Libc.IoVec* packets, int count)
    {
        lock (_sending)
        {
            if (_closed || _broken)
            {
                return 0;
            }

            var producer = *_toSend.Producer;
            var taken = 0;
            for (; taken < count && EthernetHeader + (int)packets[taken].Length <= _frameSize; taken++)
            {
                if (_freeCount == 0)
                {
                    Volatile.Write(ref *_toSend.Producer, producer);
                    Kick();
                    if (!Reclaim())
                    {
                        return taken;
                    }
                }

                var address = (ulong)_free[--_freeCount] * (ulong)_frameSize;
                var frame = _memory + address;
                header.CopyTo(new Span<byte>(frame, EthernetHeader));
                Buffer.MemoryCopy(packets[taken].Base, frame + EthernetHeader, _frameSize - EthernetHeader, (long)packets[taken].Length);
                *_toSend.At<Descriptor>(producer++) = new Descriptor(address, (uint)packets[taken].Length + EthernetHeader);
            }

            Volatile.Write(ref *_toSend.Producer, producer);
            Kick();
            Reclaim();
            return taken;
        }
    }

    public void Dispose()
    {
        lock (Gate)
        {
            lock (_sending)
            {
                _closed = true;
                _fd.Dispose();
                foreach (ref var ring in (Span<Ring>)[_fill, _completed, _received, _toSend])
                {
                    ring.Unmap();
                }

                (_fill, _completed, _received, _toSend) = (default, default, default, default);
                if (_memory is not null)
                {
                    _ = Libc.UnmapMemory(_memory, _memorySize);
                    _memory = null;
                }
            }
        }
    }

    /// <summary>Has the kernel send what is in the ring; it does so many with one call. What it does not take now leaves with what follows.</summary>
    private void Kick()
    {
        for (var kicks = 0; kicks < MostKicks && Volatile.Read(ref *_toSend.Consumer) != *_toSend.Producer; kicks++)
        {
            if (Libc.SendTo(_fd.Value, null, 0, Libc.MSG_DONTWAIT, null, 0) < 0 && Libc.LastError is not (Libc.EAGAIN or Libc.EBUSY or Libc.ENOBUFS or Libc.EINTR))
            {
                _broken = true;
                return;
            }
        }
    }

    /// <summary>Takes back frames that were sent. False when none is free.</summary>
    private bool Reclaim()
    {
        var from = *_completed.Consumer;
        var count = Volatile.Read(ref *_completed.Producer) - from;
        for (uint i = 0; i < count; i++)
        {
            _free[_freeCount++] = (int)(*_completed.At<ulong>(from + i) / (ulong)_frameSize);
        }

        Volatile.Write(ref *_completed.Consumer, from + count);
        return _freeCount > 0;
    }

    private void Set<T>(int option, ReadOnlySpan<T> value, string name)
        where T : unmanaged
    {
        fixed (T* pointer = value)
        {
            if (Libc.SetSockOpt(_fd.Value, Libc.SOL_XDP, option, pointer, (uint)(value.Length * sizeof(T))) != 0)
            {
                throw Libc.Failure($"set socket option {name}");
            }
        }
    }

    private static void* Map(nuint size, int flags, int fd, long page)
    {
        var memory = Libc.MapMemory(null, size, Libc.PROT_READ | Libc.PROT_WRITE, flags, fd, (nint)page);
        return memory != (void*)-1 ? memory : throw Libc.Failure("map memory of an AF_XDP socket");
    }

    /// <summary>struct xdp_desc.</summary>
    private readonly record struct Descriptor(ulong Address, uint Length, uint Options = 0);

    /// <summary>struct xdp_ring_offset.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private readonly struct RingOffsets
    {
        public readonly ulong Producer, Consumer, Entries, Flags;
    }

    private struct Ring
    {
        private byte* _entries;
        private uint _mask;
        private void* _start;
        private nuint _size;

        public uint* Producer { get; private set; }

        public uint* Consumer { get; private set; }

        public static Ring Map(FileDescriptor fd, long page, in RingOffsets offsets, int entries, int entrySize)
        {
            var size = (nuint)offsets.Entries + (nuint)(entries * entrySize);
            var start = (byte*)XdpSocket.Map(size, Libc.MAP_SHARED | Libc.MAP_POPULATE, fd.Value, page);
            return new Ring
            {
                _start = start,
                _size = size,
                _entries = start + offsets.Entries,
                _mask = (uint)entries - 1,
                Producer = (uint*)(start + offsets.Producer),
                Consumer = (uint*)(start + offsets.Consumer),
            };
        }

        public readonly T* At<T>(uint index)
            where T : unmanaged => (T*)_entries + (index & _mask);

        public void Unmap()
        {
            if (_start is not null)
            {
                _ = Libc.UnmapMemory(_start, _size);
                _start = null;
            }
        }
    }
}
