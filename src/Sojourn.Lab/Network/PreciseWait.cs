using System.Runtime.InteropServices;

namespace Sojourn.Lab.Network;

/// <summary>Waits for readable descriptors with a timeout in nanoseconds (ppoll(2)); the calling thread's timer slack is taken down once.</summary>
internal sealed unsafe partial class PreciseWait : IDisposable
{
    private const int SetTimerSlack = 29;
    private const short Readable = 1;
    private readonly PollDescriptor[] _descriptors;
    private readonly int _wake;

    /// <summary>Make it on the thread that will wait.</summary>
    public PreciseWait(params ReadOnlySpan<int> descriptors)
    {
        _wake = EventDescriptor(0, 0x80800);
        if (_wake < 0)
        {
            throw PacketSocket.Failure("create eventfd");
        }

        _descriptors = new PollDescriptor[descriptors.Length + 1];
        for (var i = 0; i < descriptors.Length; i++)
        {
            _descriptors[i] = new PollDescriptor { Descriptor = descriptors[i], Events = Readable };
        }

        _descriptors[^1] = new PollDescriptor { Descriptor = _wake, Events = Readable };
    }

    /// <summary>Without this the kernel may end a wait 50 µs late to save wake-ups.</summary>
    public static void SharpenThread() => _ = Control(SetTimerSlack, 1, 0, 0, 0);

    /// <summary>Ends a wait from another thread.</summary>
    public void Wake()
    {
        ulong one = 1;
        _ = Write(_wake, &one, sizeof(ulong));
    }

    /// <param name="nanoseconds">Negative = no limit.</param>
    public void Wait(long nanoseconds)
    {
        fixed (PollDescriptor* pointer = _descriptors)
        {
            if (nanoseconds < 0)
            {
                _ = Poll(pointer, (nuint)_descriptors.Length, null, null);
            }
            else
            {
                var time = stackalloc long[2];
                time[0] = nanoseconds / 1_000_000_000;
                time[1] = nanoseconds % 1_000_000_000;
                _ = Poll(pointer, (nuint)_descriptors.Length, time, null);
            }
        }

        if (_descriptors[^1].Returned != 0)
        {
            ulong value;
            _ = Read(_wake, &value, sizeof(ulong));
        }
    }

    public void Dispose() => _ = Close(_wake);

    [StructLayout(LayoutKind.Sequential)]
    private struct PollDescriptor
    {
        public int Descriptor;
        public short Events;
        public short Returned;
    }

    [LibraryImport("libc", EntryPoint = "ppoll", SetLastError = true)]
    private static partial int Poll(PollDescriptor* descriptors, nuint count, long* timeout, void* signals);

    [LibraryImport("libc", EntryPoint = "eventfd", SetLastError = true)]
    private static partial int EventDescriptor(uint initial, int flags);

    [LibraryImport("libc", EntryPoint = "prctl")]
    private static partial int Control(int option, nuint a, nuint b, nuint c, nuint d);

    [LibraryImport("libc", EntryPoint = "write")]
    private static partial nint Write(int fd, void* data, nuint length);

    [LibraryImport("libc", EntryPoint = "read")]
    private static partial nint Read(int fd, void* data, nuint length);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int fd);
}
