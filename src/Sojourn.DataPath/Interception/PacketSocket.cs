using Sojourn.DataPath.Native;
using Sojourn.Engine;

namespace Sojourn.DataPath.Interception;

/// <summary>How the link layer delivered a packet (sll_pkttype).</summary>
internal enum LinkDelivery : byte
{
    /// <summary>To this interface's address.</summary>
    Host = 0,
    Broadcast = 1,
    Multicast = 2,

    /// <summary>To another host; seen only by a promiscuous interface.</summary>
    Other = 3,
}

/// <summary>What the link layer says of a packet that arrived (sockaddr_ll).</summary>
/// <param name="Interface">Index.</param>
/// <param name="Source">Null when the link has no addresses.</param>
internal readonly record struct PacketOrigin(int Interface, ushort EtherType, LinkDelivery Delivery, LinkAddress? Source);

/// <summary>
/// A socket for packets without their link-layer header (AF_PACKET), in the namespace of the thread that made it. It hears nothing
/// until it is bound, so that nothing unfiltered is queued.
/// </summary>
/// <param name="frames">Packets have their link-layer header.</param>
internal sealed unsafe class PacketSocket(bool frames = false) : IDisposable
{
    public const ushort EveryEtherType = 3;

    private const int AddMembership = 1, VirtioHeader = 15, IgnoreOutgoing = 23, AttachFilter = 26, ReceiveBufferForce = 33;
    private const ushort MembershipMulticast = 0, MembershipAllMulticast = 2;

    /// <summary>Packets taken in one go before the thread sleeps again.</summary>
    private const int Batch = 64;

    private readonly FileDescriptor _fd = FileDescriptor.Socket(Libc.AF_PACKET, (frames ? Libc.SOCK_RAW : Libc.SOCK_DGRAM) | Libc.SOCK_NONBLOCK, 0, "packet");
    private WakeEvent? _stop;
    private Thread? _thread;

    public int Fd => _fd.Value;

    /// <param name="program">Classic BPF over the packet (<see cref="PacketFilter"/>); what it refuses never leaves the kernel.</param>
    /// <exception cref="IOException">The system refuses.</exception>
    public void Filter(ReadOnlySpan<ulong> program)
    {
        fixed (ulong* instructions = program)
        {
            var description = stackalloc nint[2];
            description[0] = program.Length;
            description[1] = (nint)instructions;
            if (Libc.SetSockOpt(Fd, Libc.SOL_SOCKET, AttachFilter, description, 16) != 0)
            {
                throw Libc.Failure("attach packet filter");
            }
        }
    }

    /// <summary>Does not hear what this host sends.</summary>
    public void LeaveOutgoing() => Libc.SetOption(Fd, Libc.SOL_PACKET, IgnoreOutgoing, 1, "PACKET_IGNORE_OUTGOING");

    /// <summary>Puts a <see cref="VirtioNetHeader"/> in front of every frame, and wants one; only for frames.</summary>
    public void DescribeSegments() => Libc.SetOption(Fd, Libc.SOL_PACKET, VirtioHeader, 1, "PACKET_VNET_HDR");

    public void SizeQueue(int octets) => Libc.SetOption(Fd, Libc.SOL_SOCKET, ReceiveBufferForce, octets, "SO_RCVBUFFORCE");

    /// <summary>Takes frames to a group address.</summary>
    /// <exception cref="IOException">The system refuses.</exception>
    public void JoinGroup(int interfaceIndex, ReadOnlySpan<byte> group, string what) => Join(interfaceIndex, MembershipMulticast, group, what);

    /// <exception cref="IOException">The system refuses.</exception>
    public void JoinEveryGroup(int interfaceIndex, string what) => Join(interfaceIndex, MembershipAllMulticast, [], what);

    /// <param name="interfaceIndex">0 = every interface.</param>
    /// <exception cref="IOException">The system refuses.</exception>
    public void Bind(ushort etherType, int interfaceIndex, string name)
    {
        var address = stackalloc byte[SocketAddressFormat.LinkSize];
        var length = SocketAddressFormat.WriteLink(address, etherType, interfaceIndex, []);
        if (Libc.Bind(Fd, address, length) != 0)
        {
            throw Libc.Failure($"bind packet socket to {name}");
        }
    }

    /// <summary>False when the link does not take it (down, queue full); the reason is the last error.</summary>
    public bool TrySend(ReadOnlySpan<byte> packet, ushort etherType, int interfaceIndex, ReadOnlySpan<byte> destination, int flags = Libc.MSG_DONTWAIT)
    {
        var address = stackalloc byte[SocketAddressFormat.LinkSize];
        var length = SocketAddressFormat.WriteLink(address, etherType, interfaceIndex, destination);
        fixed (byte* pointer = packet)
        {
            return Libc.SendTo(Fd, pointer, (nuint)packet.Length, flags, address, length) == packet.Length;
        }
    }

    /// <summary>Receives one packet, or returns -1 when none waits.</summary>
    public int Receive(Span<byte> buffer, out PacketOrigin origin)
    {
        var from = stackalloc byte[32];
        fixed (byte* pointer = buffer)
        {
            var vector = new Libc.IoVec { Base = pointer, Length = (nuint)buffer.Length };
            var message = new Libc.MsgHdr { Name = from, NameLength = 32, Vectors = &vector, VectorCount = 1 };
            var length = (int)Libc.ReceiveMessage(Fd, &message, 0);
            LinkAddress? source = length >= 0 && from[11] is > 0 and <= 8 ? new LinkAddress(new ReadOnlySpan<byte>(from + 12, from[11])) : null;
            origin = new PacketOrigin(*(int*)(from + 4), (ushort)((from[2] << 8) | from[3]), (LinkDelivery)from[10], source);
            return length;
        }
    }

    /// <summary>Hands every packet over from a thread of its own, until the socket is disposed.</summary>
    /// <param name="longest">Octets; more are cut off.</param>
    public void Listen(string threadName, int longest, Action<PacketOrigin, ReadOnlyMemory<byte>> received)
    {
        _stop = new WakeEvent();
        _thread = new Thread(() => Run(_stop, longest, received)) { IsBackground = true, Name = threadName };
        _thread.Start();
    }

    public void Dispose()
    {
        _stop?.Set();
        if (Thread.CurrentThread != _thread)
        {
            _thread?.Join();
        }

        _fd.Dispose();
        _stop?.Dispose();
    }

    private void Join(int interfaceIndex, ushort kind, ReadOnlySpan<byte> group, string what)
    {
        var request = stackalloc byte[16];
        new Span<byte>(request, 16).Clear();
        *(int*)request = interfaceIndex;
        *(ushort*)(request + 4) = kind;
        *(ushort*)(request + 6) = (ushort)group.Length;
        group.CopyTo(new Span<byte>(request + 8, 8));
        if (Libc.SetSockOpt(Fd, Libc.SOL_PACKET, AddMembership, request, 16) != 0)
        {
            throw Libc.Failure(what);
        }
    }

    private void Run(WakeEvent stop, int longest, Action<PacketOrigin, ReadOnlyMemory<byte>> received)
    {
        var buffer = GC.AllocateUninitializedArray<byte>(longest, pinned: true);
        var fds = stackalloc Libc.PollFd[2];
        fds[0] = new Libc.PollFd { Fd = Fd, Events = Libc.POLLIN };
        fds[1] = new Libc.PollFd { Fd = stop.Fd, Events = Libc.POLLIN };
        while (true)
        {
            if (Libc.Poll(fds, 2, -1) < 0 && Libc.LastError != Libc.EINTR)
            {
                return;
            }

            if (fds[1].Revents != 0)
            {
                return;
            }

            for (var taken = 0; taken < Batch; taken++)
            {
                var length = Receive(buffer, out var origin);
                if (length < 0)
                {
                    break;
                }

                received(origin, buffer.AsMemory(0, length));
            }
        }
    }
}
