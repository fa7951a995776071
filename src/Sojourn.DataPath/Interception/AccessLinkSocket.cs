using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;

namespace Sojourn.DataPath.Interception;

/// <summary>
/// IPv6 packets of one Ethernet link for a host stack of our own (spec terminal TM-M1): every packet with its sender's link-layer
/// address, whatever group it is sent to, before the kernel sees it. The kernel's own IPv6 is switched off on the link, so that it
/// neither answers nor chooses addresses there. Lives in the namespace of the thread that made it; packets are handed over by a
/// thread of its own.
/// </summary>
public sealed unsafe class AccessLinkSocket : IDisposable
{
    private const ushort EtherTypeIPv6 = 0x86DD;
    private const int AddMembership = 1, MembershipAllMulticast = 2, IgnoreOutgoing = 23, ReceiveBufferForce = 33;
    private const int BufferOctets = 4 << 20, LongestPacket = 65_575;

    /// <summary>Packets taken in one go before the thread sleeps again.</summary>
    private const int Batch = 64;

    private readonly FileDescriptor _fd;
    private readonly LinkState _link;
    private readonly Action<LinkAddress, ReadOnlyMemory<byte>> _received;
    private readonly WakeEvent _stop = new();
    private readonly string? _formerSetting;
    private readonly Thread _thread;

    /// <exception cref="IOException">The interface is not there, or the system refuses.</exception>
    public AccessLinkSocket(string name, Action<LinkAddress, ReadOnlyMemory<byte>> received)
    {
        _received = received;
        using (var route = new Rtnetlink())
        {
            _link = route.Link(name);
        }

        _fd = FileDescriptor.Socket(Libc.AF_PACKET, Libc.SOCK_DGRAM | Libc.SOCK_NONBLOCK, 0, "packet");
        try
        {
            _formerSetting = Sysctl.Change("1", "ipv6", "conf", name, "disable_ipv6");
            Libc.SetOption(_fd.Value, Libc.SOL_SOCKET, ReceiveBufferForce, BufferOctets, "SO_RCVBUFFORCE");
            Libc.SetOption(_fd.Value, Libc.SOL_PACKET, IgnoreOutgoing, 1, "PACKET_IGNORE_OUTGOING");
            var membership = stackalloc byte[16];
            new Span<byte>(membership, 16).Clear();
            *(int*)membership = _link.Index;
            *(ushort*)(membership + 4) = MembershipAllMulticast;
            if (Libc.SetSockOpt(_fd.Value, Libc.SOL_PACKET, AddMembership, membership, 16) != 0)
            {
                throw Libc.Failure($"take all multicast on {name}");
            }

            var address = stackalloc byte[SocketAddressFormat.LinkSize];
            var length = SocketAddressFormat.WriteLink(address, EtherTypeIPv6, _link.Index, []);
            if (Libc.Bind(_fd.Value, address, length) != 0)
            {
                throw Libc.Failure($"bind packet socket to {name}");
            }
        }
        catch
        {
            Restore();
            _fd.Dispose();
            _stop.Dispose();
            throw;
        }

        _thread = new Thread(Run) { IsBackground = true, Name = $"link {name}" };
        _thread.Start();
    }

    /// <summary>False when the link does not take it (down, queue full).</summary>
    public bool Send(LinkAddress destination, ReadOnlySpan<byte> packet)
    {
        var address = stackalloc byte[SocketAddressFormat.LinkSize];
        var length = SocketAddressFormat.WriteLink(address, EtherTypeIPv6, _link.Index, destination.ToArray());
        fixed (byte* pointer = packet)
        {
            return Libc.SendTo(_fd.Value, pointer, (nuint)packet.Length, Libc.MSG_DONTWAIT, address, length) == packet.Length;
        }
    }

    public void Dispose()
    {
        _stop.Set();
        if (Thread.CurrentThread != _thread)
        {
            _thread.Join();
        }

        Restore();
        _fd.Dispose();
        _stop.Dispose();
    }

    private void Restore()
    {
        if (_formerSetting is not null)
        {
            try
            {
                Sysctl.Change(_formerSetting, "ipv6", "conf", _link.Name, "disable_ipv6");
            }
            catch (IOException)
            {
                // The interface has gone, and its setting with it.
            }
        }
    }

    private void Run()
    {
        var buffer = GC.AllocateUninitializedArray<byte>(LongestPacket, pinned: true);
        var from = stackalloc byte[32];
        var fds = stackalloc Libc.PollFd[2];
        fds[0] = new Libc.PollFd { Fd = _fd.Value, Events = Libc.POLLIN };
        fds[1] = new Libc.PollFd { Fd = _stop.Fd, Events = Libc.POLLIN };
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
                int length;
                fixed (byte* pointer = buffer)
                {
                    var vector = new Libc.IoVec { Base = pointer, Length = (nuint)buffer.Length };
                    var message = new Libc.MsgHdr { Name = from, NameLength = 32, Vectors = &vector, VectorCount = 1 };
                    length = (int)Libc.ReceiveMessage(_fd.Value, &message, 0);
                }

                if (length < 0)
                {
                    break;
                }

                var delivery = (LinkDelivery)from[10];
                if (delivery is LinkDelivery.Host or LinkDelivery.Multicast && from[11] == 6)
                {
                    _received(new LinkAddress(new ReadOnlySpan<byte>(from + 12, 6)), buffer.AsMemory(0, length).ToArray());
                }
            }
        }
    }
}
