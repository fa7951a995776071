using System.Buffers.Binary;
using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Sojourn.Lab.Network;

/// <summary>
/// A raw layer 2 socket (packet(7)) on one interface: takes every frame that arrives there with the kernel's arrival time,
/// sends whole frames. It belongs to the namespace of the thread that opened it.
/// </summary>
internal sealed unsafe partial class PacketSocket : IDisposable
{
    private const int AddressFamilyPacket = 17, SocketRaw = 3, CloseOnExec = 0x80000, NonBlocking = 0x800;
    private const int LevelSocket = 1, LevelPacket = 263;
    private const int OptionReceiveBufferForce = 33, OptionTimestampNanoseconds = 35, OptionTimestampNanosecondsNew = 64;
    private const int OptionStatistics = 6, OptionQdiscBypass = 20, OptionIgnoreOutgoing = 23;
    private const int DontWait = 0x40;
    private const int Again = 11, Interrupted = 4, NoBuffers = 105, NetworkDown = 100;
    private const int ReceiveBuffer = 64 << 20;

    /// <summary>Longest frame taken: an Ethernet header and the largest IPv4 packet.</summary>
    public const int FrameLimit = 14 + 65535;

    private readonly int _fd;
    private readonly byte[] _buffer = GC.AllocateUninitializedArray<byte>(FrameLimit, pinned: true);

    public PacketSocket(string name)
    {
        var index = InterfaceIndex(name);
        if (index == 0)
        {
            throw Failure($"find interface {name}");
        }

        // Protocol 0 receives nothing until bind names one: no frame of another interface slips in between.
        _fd = Socket(AddressFamilyPacket, SocketRaw | CloseOnExec | NonBlocking, 0);
        if (_fd < 0)
        {
            throw Failure("open packet socket");
        }

        try
        {
            Set(LevelSocket, OptionReceiveBufferForce, ReceiveBuffer, "SO_RCVBUFFORCE");
            Set(LevelSocket, OptionTimestampNanoseconds, 1, "SO_TIMESTAMPNS");
            Set(LevelPacket, OptionIgnoreOutgoing, 1, "PACKET_IGNORE_OUTGOING");
            Set(LevelPacket, OptionQdiscBypass, 1, "PACKET_QDISC_BYPASS");
            var address = stackalloc byte[20];
            new Span<byte>(address, 20).Clear();
            MemoryMarshal.Write(new Span<byte>(address, 2), (ushort)AddressFamilyPacket);
            BinaryPrimitives.WriteUInt16BigEndian(new Span<byte>(address + 2, 2), 3);
            MemoryMarshal.Write(new Span<byte>(address + 4, 4), index);
            if (Bind(_fd, address, 20) != 0)
            {
                throw Failure($"bind packet socket to {name}");
            }
        }
        catch
        {
            _ = Close(_fd);
            throw;
        }
    }

    public int Descriptor => _fd;

    /// <summary>
    /// Takes the next frame without waiting. The frame is valid until the next call; <paramref name="time"/> is the kernel's
    /// arrival time in nanoseconds since 1970.
    /// </summary>
    public bool TryReceive(out ReadOnlySpan<byte> frame, out long time)
    {
        frame = default;
        time = 0;
        var control = stackalloc byte[64];
        fixed (byte* data = _buffer)
        {
            var vector = new IoVector { Base = data, Length = (nuint)_buffer.Length };
            var message = new Message { Vectors = &vector, VectorCount = 1, Control = control, ControlLength = 64 };
            nint length;
            do
            {
                length = ReceiveMessage(_fd, &message, DontWait);
            }
            while (length < 0 && Marshal.GetLastPInvokeError() == Interrupted);

            if (length < 0)
            {
                return Marshal.GetLastPInvokeError() is Again or NetworkDown ? false : throw Failure("receive frame");
            }

            var rest = new ReadOnlySpan<byte>(control, (int)message.ControlLength);
            while (rest.Length >= 16)
            {
                var size = (int)MemoryMarshal.Read<nuint>(rest);
                if (size < 16 || size > rest.Length)
                {
                    break;
                }

                if (MemoryMarshal.Read<int>(rest[8..]) == LevelSocket
                    && MemoryMarshal.Read<int>(rest[12..]) is OptionTimestampNanoseconds or OptionTimestampNanosecondsNew && size >= 32)
                {
                    time = (MemoryMarshal.Read<long>(rest[16..]) * 1_000_000_000) + MemoryMarshal.Read<long>(rest[24..]);
                }

                rest = rest[Math.Min(rest.Length, (size + 7) & ~7)..];
            }

            frame = _buffer.AsSpan(0, (int)length);
            return true;
        }
    }

    /// <summary>False when the kernel had no room for it. What is sent to an interface that a <see cref="Radio"/> has switched off is gone with it.</summary>
    public bool TrySend(ReadOnlySpan<byte> frame)
    {
        fixed (byte* data = frame)
        {
            nint sent;
            var tries = 0;
            do
            {
                sent = Send(_fd, data, (nuint)frame.Length, DontWait);
            }
            while (sent < 0 && (Marshal.GetLastPInvokeError() == Interrupted || (Marshal.GetLastPInvokeError() == NoBuffers && tries++ == 0)));

            // Asked twice, because an interface that goes down in the middle of a call answers with lack of room once.
            return sent == frame.Length || Marshal.GetLastPInvokeError() switch
            {
                NetworkDown => true,
                Again or NoBuffers => false,
                _ => throw Failure("send frame"),
            };
        }
    }

    /// <summary>Frames the kernel could not queue for us since the last call.</summary>
    public uint TakeDropCount()
    {
        var counters = stackalloc uint[2];
        uint length = 8;
        return GetOption(_fd, LevelPacket, OptionStatistics, counters, &length) == 0 ? counters[1] : throw Failure("read packet statistics");
    }

    public void Dispose() => _ = Close(_fd);

    private void Set(int level, int option, int value, string name)
    {
        if (SetOption(_fd, level, option, &value, sizeof(int)) != 0)
        {
            throw Failure($"set {name}");
        }
    }

    internal static Win32Exception Failure(string operation)
    {
        var error = Marshal.GetLastPInvokeError();
        return new Win32Exception(error, $"{operation}: {Marshal.GetPInvokeErrorMessage(error)}");
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct IoVector
    {
        public void* Base;
        public nuint Length;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Message
    {
        public void* Name;
        public uint NameLength;
        public IoVector* Vectors;
        public nuint VectorCount;
        public void* Control;
        public nuint ControlLength;
        public int Flags;
    }

    [LibraryImport("libc", EntryPoint = "socket", SetLastError = true)]
    private static partial int Socket(int domain, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "bind", SetLastError = true)]
    private static partial int Bind(int fd, void* address, uint length);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int fd);

    [LibraryImport("libc", EntryPoint = "recvmsg", SetLastError = true)]
    private static partial nint ReceiveMessage(int fd, Message* message, int flags);

    [LibraryImport("libc", EntryPoint = "send", SetLastError = true)]
    private static partial nint Send(int fd, void* data, nuint length, int flags);

    [LibraryImport("libc", EntryPoint = "setsockopt", SetLastError = true)]
    private static partial int SetOption(int fd, int level, int option, void* value, uint length);

    [LibraryImport("libc", EntryPoint = "getsockopt", SetLastError = true)]
    private static partial int GetOption(int fd, int level, int option, void* value, uint* length);

    [LibraryImport("libc", EntryPoint = "if_nametoindex", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int InterfaceIndex(string name);
}
