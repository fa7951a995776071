using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Sojourn.Benchmarks;

/// <summary>Datagrams of a socket, up to 64 with a call, each with the time at which the kernel had it (SO_TIMESTAMPNS): what a receiver waits for the processor is not the line's delay.</summary>
internal sealed unsafe partial class DatagramReceipts : IDisposable
{
    private const int Most = 64, Longest = 2048, ControlLength = 64;
    private const int SolSocket = 1, TimestampNanoseconds = 35, WaitForOne = 0x10000;

    private readonly int _socket;
    private readonly byte* _memory = (byte*)NativeMemory.AllocZeroed(Most, Longest + ControlLength);
    private readonly Message[] _messages = GC.AllocateArray<Message>(Most, pinned: true);
    private readonly Vector[] _vectors = GC.AllocateArray<Vector>(Most, pinned: true);

    /// <param name="socket">Blocks, with a limit of time.</param>
    public DatagramReceipts(Socket socket)
    {
        _socket = (int)socket.Handle;
        socket.SetRawSocketOption(SolSocket, TimestampNanoseconds, [1, 0, 0, 0]);
        for (var i = 0; i < Most; i++)
        {
            _vectors[i] = new Vector { Base = _memory + (i * Longest), Length = Longest };
            _messages[i].Vectors = (Vector*)Marshal.UnsafeAddrOfPinnedArrayElement(_vectors, i);
            _messages[i].VectorCount = 1;
        }
    }

    /// <summary>The clock of <see cref="Arrived"/>, in nanoseconds.</summary>
    public static long Now => (DateTime.UtcNow - DateTime.UnixEpoch).Ticks * TimeSpan.NanosecondsPerTick;

    public ReadOnlySpan<byte> this[int i] => new(_memory + (i * Longest), _messages[i].Received);

    /// <summary>Waits for one and takes what there is. Returns how many; 0 when none came in time.</summary>
    public int Receive()
    {
        for (var i = 0; i < Most; i++)
        {
            _messages[i].Control = _memory + (Most * Longest) + (i * ControlLength);
            _messages[i].ControlLength = ControlLength;
        }

        return Math.Max(0, ReceiveMessages(_socket, (Message*)Marshal.UnsafeAddrOfPinnedArrayElement(_messages, 0), Most, WaitForOne, null));
    }

    /// <summary>When the kernel had it, in nanoseconds.</summary>
    public long Arrived(int i)
    {
        var control = (long*)_messages[i].Control;

        // Length, level and type; seconds and nanoseconds.
        return _messages[i].ControlLength >= 32 && (int)control[1] == SolSocket && (int)(control[1] >> 32) == TimestampNanoseconds
            ? (control[2] * 1_000_000_000) + control[3] : Now;
    }

    public void Dispose() => NativeMemory.Free(_memory);

    [LibraryImport("libc", EntryPoint = "recvmmsg")]
    private static partial int ReceiveMessages(int socket, Message* messages, uint count, int flags, void* timeout);

    [StructLayout(LayoutKind.Sequential)]
    private struct Vector
    {
        public void* Base;
        public nuint Length;
    }

    /// <summary>mmsghdr.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Message
    {
        public void* Name;
        public uint NameLength;
        public Vector* Vectors;
        public nuint VectorCount;
        public void* Control;
        public nuint ControlLength;
        public int Flags;
        private readonly int _unused;
        public int Received;
        private readonly int _padding;
    }
}
