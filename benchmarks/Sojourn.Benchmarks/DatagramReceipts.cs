using System.Net.Sockets;
using System.Runtime.InteropServices;
using Sojourn.DataPath.Native;

namespace Sojourn.Benchmarks;

/// <summary>Datagrams of a socket, up to 64 with a call, each with the time at which the kernel had it (SO_TIMESTAMPNS): what a receiver waits for the processor is not the line's delay.</summary>
internal sealed unsafe class DatagramReceipts : IDisposable
{
    private const int Most = 64, Longest = 2048, TimestampNanoseconds = 35, WaitForOne = 0x10000;

    private readonly int _socket;
    private readonly byte* _data = (byte*)NativeMemory.Alloc(Most, Longest);
    private readonly byte* _beside = (byte*)NativeMemory.Alloc(Most, ReceivedControl.BufferSize);
    private readonly Libc.IoVec* _vectors = (Libc.IoVec*)NativeMemory.AllocZeroed(Most, (nuint)sizeof(Libc.IoVec));
    private readonly Libc.MultipleMsgHdr* _messages = (Libc.MultipleMsgHdr*)NativeMemory.AllocZeroed(Most, (nuint)sizeof(Libc.MultipleMsgHdr));

    /// <param name="socket">Blocks, with a limit of time.</param>
    public DatagramReceipts(Socket socket)
    {
        _socket = (int)socket.Handle;
        socket.SetRawSocketOption(Libc.SOL_SOCKET, TimestampNanoseconds, [1, 0, 0, 0]);
        for (var i = 0; i < Most; i++)
        {
            _vectors[i] = new Libc.IoVec { Base = _data + (i * Longest), Length = Longest };
            _messages[i].Header = new Libc.MsgHdr { Vectors = _vectors + i, VectorCount = 1, Control = _beside + (i * ReceivedControl.BufferSize) };
        }
    }

    /// <summary>The clock of <see cref="Arrived"/>, in nanoseconds.</summary>
    public static long Now => (DateTime.UtcNow - DateTime.UnixEpoch).Ticks * TimeSpan.NanosecondsPerTick;

    public ReadOnlySpan<byte> this[int index] => new(_data + (index * Longest), (int)_messages[index].Length);

    /// <summary>Waits for one and takes what there is. Returns how many; 0 when none came in time.</summary>
    public int Receive()
    {
        for (var i = 0; i < Most; i++)
        {
            // The kernel leaves the length there that it has used.
            _messages[i].Header.ControlLength = ReceivedControl.BufferSize;
        }

        return Math.Max(0, Libc.ReceiveMessages(_socket, _messages, Most, WaitForOne, null));
    }

    /// <summary>When the kernel had it, in nanoseconds. The first ones may come before it begins to say so.</summary>
    public long Arrived(int index) => ReceivedControl.Read(_messages[index].Header).Arrived is > 0 and var arrived ? arrived : Now;

    public void Dispose()
    {
        NativeMemory.Free(_data);
        NativeMemory.Free(_beside);
        NativeMemory.Free(_vectors);
        NativeMemory.Free(_messages);
    }
}
