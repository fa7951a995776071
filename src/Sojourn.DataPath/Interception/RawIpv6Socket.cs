using System.Net;
using Sojourn.DataPath.Native;

namespace Sojourn.DataPath.Interception;

/// <summary>
/// A raw socket for one IPv6 protocol at one address of the node; payloads come and go without IPv6 header. The platform's sockets do not know every
/// protocol. Lives in the namespace of the thread that made it; payloads are handed over by a thread of its own.
/// </summary>
public sealed unsafe class RawIpv6Socket : IDisposable
{
    private const int LongestPayload = 65_535;

    private readonly FileDescriptor _fd;
    private readonly WakeEvent _stop = new();
    private readonly Thread _thread;

    /// <param name="received">Source and payload.</param>
    /// <exception cref="IOException">The address is none of this system's, or the system refuses.</exception>
    public RawIpv6Socket(byte protocol, IPAddress own, Action<IPAddress, ReadOnlyMemory<byte>> received)
    {
        _fd = FileDescriptor.Socket(Libc.AF_INET6, Libc.SOCK_RAW | Libc.SOCK_NONBLOCK, protocol, $"raw IPv6 protocol {protocol}");
        var address = stackalloc byte[SocketAddressFormat.Size];
        var length = SocketAddressFormat.Write(address, own.GetAddressBytes(), 0);
        if (Libc.Bind(_fd.Value, address, length) != 0)
        {
            var failure = Libc.Failure($"bind raw IPv6 protocol {protocol} to {own}");
            _fd.Dispose();
            _stop.Dispose();
            throw failure;
        }

        _thread = new Thread(() => Run(received)) { IsBackground = true, Name = $"raw IPv6 {protocol}" };
        _thread.Start();
    }

    /// <summary>False when the system does not take it.</summary>
    public bool Send(IPAddress destination, ReadOnlySpan<byte> payload)
    {
        var address = stackalloc byte[SocketAddressFormat.Size];
        var length = SocketAddressFormat.Write(address, destination.GetAddressBytes(), 0);
        fixed (byte* pointer = payload)
        {
            return Libc.SendTo(_fd.Value, pointer, (nuint)payload.Length, Libc.MSG_DONTWAIT, address, length) == payload.Length;
        }
    }

    public void Dispose()
    {
        _stop.Set();
        if (Thread.CurrentThread != _thread)
        {
            _thread.Join();
        }

        _fd.Dispose();
        _stop.Dispose();
    }

    private void Run(Action<IPAddress, ReadOnlyMemory<byte>> received)
    {
        var buffer = GC.AllocateUninitializedArray<byte>(LongestPayload, pinned: true);
        var from = stackalloc byte[SocketAddressFormat.Size];
        var fds = stackalloc Libc.PollFd[2];
        fds[0] = new Libc.PollFd { Fd = _fd.Value, Events = Libc.POLLIN };
        fds[1] = new Libc.PollFd { Fd = _stop.Fd, Events = Libc.POLLIN };
        while (Libc.Poll(fds, 2, -1) >= 0 || Libc.LastError == Libc.EINTR)
        {
            if (fds[1].Revents != 0)
            {
                return;
            }

            fixed (byte* pointer = buffer)
            {
                var vector = new Libc.IoVec { Base = pointer, Length = (nuint)buffer.Length };
                var message = new Libc.MsgHdr { Name = from, NameLength = SocketAddressFormat.Size, Vectors = &vector, VectorCount = 1 };
                var length = (int)Libc.ReceiveMessage(_fd.Value, &message, 0);
                if (length > 0)
                {
                    received(new IPAddress(SocketAddressFormat.AddressOf(from)), buffer.AsMemory(0, length).ToArray());
                }
            }
        }
    }
}
