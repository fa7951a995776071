using System.Runtime.InteropServices;
using Sojourn.DataPath.Native;

namespace Sojourn.DataPath.Netlink;

/// <summary>The kernel refused a netlink request. The message names the object, the errno text and the kernel's own hint where it gave one.</summary>
public sealed class NetlinkException(string operation, int errno, string? hint = null) : SystemCallException(operation, errno, hint);

/// <summary>
/// One netlink socket (rtnetlink unless told otherwise): requests with acknowledgement, dumps of several parts, and multicast notices. It belongs to
/// the network namespace of the thread that opened it, whoever uses it later. One request at a time.
/// </summary>
internal sealed unsafe class NetlinkSocket : IDisposable
{
    private const int ReceiveSize = 256 * 1024;
    private const ushort TypeError = 2, TypeDone = 3, FlagMulti = 0x2, FlagDumpInterrupted = 0x10, FlagCapped = 0x100, FlagAckAttributes = 0x200;
    private const int CapAck = 10, ExtAck = 11;

    private readonly FileDescriptor _fd;
    private readonly byte[] _receive = GC.AllocateUninitializedArray<byte>(ReceiveSize, pinned: true);
    private readonly Lock _gate = new();
    private uint _sequence;

    /// <param name="groups">Multicast groups whose notices are to be read, as bits.</param>
    /// <param name="protocol">NETLINK_ROUTE, or another family of netlink(7).</param>
    public NetlinkSocket(uint groups = 0, int protocol = 0)
    {
        _fd = FileDescriptor.Socket(Libc.AF_NETLINK, Libc.SOCK_RAW, protocol, "netlink");
        Libc.SetOption(_fd.Value, Libc.SOL_NETLINK, CapAck, 1, "NETLINK_CAP_ACK");
        Libc.SetOption(_fd.Value, Libc.SOL_NETLINK, ExtAck, 1, "NETLINK_EXT_ACK");
        Span<uint> address = [Libc.AF_NETLINK, 0, groups];
        fixed (uint* pointer = address)
        {
            if (Libc.Bind(_fd.Value, pointer, 12) != 0)
            {
                throw Libc.Failure("bind netlink socket");
            }
        }
    }

    public int Fd => _fd.Value;

    /// <summary>Takes one message: its type and what follows the nlmsghdr.</summary>
    public delegate void MessageHandler(ushort type, ReadOnlySpan<byte> body);

    /// <summary>Sends a request and waits for the kernel's word on it. <paramref name="operation"/> starts the error text.</summary>
    public void Execute(NetlinkRequest request, string operation) => Exchange([request], operation, null);

    /// <summary>Sends requests that the kernel takes as one: all or none. The last one that can be answered asks for the acknowledgement.</summary>
    public void ExecuteBatch(IReadOnlyList<NetlinkRequest> requests, string operation) => Exchange(requests, operation, null);

    /// <summary>Asks for one object or a dump. A dump the kernel marks as interrupted by a change is asked again.</summary>
    public void Query(Func<NetlinkRequest> request, string operation, Action restart, MessageHandler handler)
    {
        for (var attempt = 0; ; attempt++)
        {
            restart();
            if (Exchange([request()], operation, handler) || attempt == 8)
            {
                return;
            }
        }
    }

    /// <summary>Reads waiting notices without blocking. False when the kernel lost some (the caller then asks for everything).</summary>
    public bool ReadNotices(MessageHandler handler)
    {
        lock (_gate)
        {
            while (true)
            {
                var read = Receive(Libc.MSG_DONTWAIT);
                if (read < 0)
                {
                    return Libc.LastError == Libc.EAGAIN;
                }

                Walk(_receive.AsSpan(0, read), (type, _, _, body) =>
                {
                    handler(type, body);
                    return true;
                });
            }
        }
    }

    public void Dispose() => _fd.Dispose();

    private bool Exchange(IReadOnlyList<NetlinkRequest> requests, string operation, MessageHandler? handler)
    {
        lock (_gate)
        {
            var sequence = ++_sequence;
            var message = requests.Count == 1 ? requests[0].Finish(sequence) : [.. requests.SelectMany(r => r.Finish(sequence).ToArray())];
            fixed (byte* pointer = message)
            {
                if (Libc.Send(_fd.Value, pointer, (nuint)message.Length, 0) < 0)
                {
                    throw Libc.Failure(operation);
                }
            }

            var consistent = true;
            var finished = false;
            while (!finished)
            {
                var read = Receive(0);
                if (read < 0)
                {
                    throw Libc.Failure(operation);
                }

                Walk(_receive.AsSpan(0, read), (type, flags, answered, body) =>
                {
                    if (answered != sequence)
                    {
                        return true;
                    }

                    consistent &= (flags & FlagDumpInterrupted) == 0;
                    switch (type)
                    {
                        case TypeError:
                            finished = true;
                            ThrowOnError(operation, flags, body);
                            return false;
                        case TypeDone:
                            finished = true;
                            ThrowOnError(operation, flags, body);
                            return false;
                        default:
                            handler?.Invoke(type, body);
                            // A single answer to a "get" without the acknowledge flag ends the exchange by itself.
                            finished = handler is not null && (flags & FlagMulti) == 0;
                            return !finished;
                    }
                });
            }

            return consistent;
        }
    }

    private int Receive(int flags)
    {
        fixed (byte* pointer = _receive)
        {
            while (true)
            {
                var read = Libc.Receive(_fd.Value, pointer, ReceiveSize, flags);
                if (read >= 0 || Libc.LastError != Libc.EINTR)
                {
                    return (int)read;
                }
            }
        }
    }

    private delegate bool Visitor(ushort type, ushort flags, uint sequence, ReadOnlySpan<byte> body);

    private static void Walk(ReadOnlySpan<byte> data, Visitor visitor)
    {
        while (data.Length >= 16)
        {
            var length = MemoryMarshal.Read<int>(data);
            if (length < 16 || length > data.Length)
            {
                return;
            }

            if (!visitor(MemoryMarshal.Read<ushort>(data[4..]), MemoryMarshal.Read<ushort>(data[6..]), MemoryMarshal.Read<uint>(data[8..]), data[16..length]))
            {
                return;
            }

            data = data[Math.Min(data.Length, (length + 3) & ~3)..];
        }
    }

    private static void ThrowOnError(string operation, ushort flags, ReadOnlySpan<byte> body)
    {
        var error = body.Length >= 4 ? MemoryMarshal.Read<int>(body) : 0;
        if (error >= 0)
        {
            return;
        }

        string? hint = null;
        if ((flags & FlagAckAttributes) != 0 && body.Length >= 20)
        {
            var original = (flags & FlagCapped) != 0 ? 16 : MemoryMarshal.Read<int>(body[4..]);
            var attributes = new AttributeReader(body[Math.Clamp(4 + original, 0, body.Length)..]);
            while (attributes.Next())
            {
                if (attributes.Type == 1)
                {
                    hint = attributes.Text;
                }
            }
        }

        throw new NetlinkException(operation, -error, hint);
    }
}
