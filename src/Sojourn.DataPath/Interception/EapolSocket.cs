using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Wire.Eap;

namespace Sojourn.DataPath.Interception;

/// <summary>
/// EAPOL frames of one Ethernet link (IEEE 802.1X, row TA-M50), before a bridge or the kernel's stack sees them: a port that is shut to
/// everything else is heard. Lives in the namespace of the thread that made it; frames are handed over by a thread of its own.
/// </summary>
public sealed unsafe class EapolSocket : IDisposable
{
    private const ushort EveryEtherType = 3;
    private const int AddMembership = 1, MembershipMulticast = 0, IgnoreOutgoing = 23, AttachFilter = 26;

    /// <summary>Where classic BPF finds the Ethernet type and how the frame was delivered (SKF_AD_PROTOCOL, SKF_AD_PKTTYPE).</summary>
    private const uint AncillaryProtocol = 0xFFFFF000, AncillaryDelivery = 0xFFFFF004;

    private const int LongestFrame = 4096 + EapolFrame.HeaderLength, Batch = 64;

    private readonly FileDescriptor _fd;
    private readonly LinkState _link;
    private readonly Action<LinkAddress, ReadOnlyMemory<byte>> _received;
    private readonly Action<LinkAddress>? _heard;
    private readonly WakeEvent _stop = new();
    private readonly Thread _thread;

    /// <param name="received">Source and frame, from its version octet on.</param>
    /// <param name="heard">Source of a group frame that is not EAPOL: how a station that knows no EAPOL shows that it is there. Null = they are not looked at.</param>
    /// <exception cref="IOException">The interface is not there, or the system refuses.</exception>
    public EapolSocket(string name, Action<LinkAddress, ReadOnlyMemory<byte>> received, Action<LinkAddress>? heard = null)
    {
        (_received, _heard) = (received, heard);
        using (var route = new Rtnetlink())
        {
            _link = route.Link(name);
        }

        // Protocol 0 until the filter stands, so that nothing unfiltered is queued.
        _fd = FileDescriptor.Socket(Libc.AF_PACKET, Libc.SOCK_DGRAM | Libc.SOCK_NONBLOCK, 0, "packet");
        try
        {
            Filter(heard is null ? EapolOnly : EapolAndGroups);
            Libc.SetOption(_fd.Value, Libc.SOL_PACKET, IgnoreOutgoing, 1, "PACKET_IGNORE_OUTGOING");
            var membership = stackalloc byte[16];
            new Span<byte>(membership, 16).Clear();
            *(int*)membership = _link.Index;
            *(ushort*)(membership + 4) = MembershipMulticast;
            *(ushort*)(membership + 6) = 6;
            EapolFrame.GroupAddress.CopyTo(new Span<byte>(membership + 8, 8));
            if (Libc.SetSockOpt(_fd.Value, Libc.SOL_PACKET, AddMembership, membership, 16) != 0)
            {
                throw Libc.Failure($"join the port access group on {name}");
            }

            // A socket for every type hears a frame before the bridge decides about it; one for a type alone would come after.
            var address = stackalloc byte[SocketAddressFormat.LinkSize];
            var length = SocketAddressFormat.WriteLink(address, EveryEtherType, _link.Index, []);
            if (Libc.Bind(_fd.Value, address, length) != 0)
            {
                throw Libc.Failure($"bind packet socket to {name}");
            }
        }
        catch
        {
            _fd.Dispose();
            _stop.Dispose();
            throw;
        }

        _thread = new Thread(Run) { IsBackground = true, Name = $"eapol {name}" };
        _thread.Start();
    }

    private static ulong[] EapolOnly =>
    [
        Instruction(0x20, 0, 0, AncillaryProtocol), Instruction(0x15, 0, 1, EapolFrame.EtherType), Instruction(0x6, 0, 0, LongestFrame), Instruction(0x6, 0, 0, 0),
    ];

    /// <summary>Group frames of other types give their source alone.</summary>
    private static ulong[] EapolAndGroups =>
    [
        Instruction(0x20, 0, 0, AncillaryProtocol), Instruction(0x15, 3, 0, EapolFrame.EtherType),
        Instruction(0x20, 0, 0, AncillaryDelivery), Instruction(0x15, 2, 0, (uint)LinkDelivery.Broadcast), Instruction(0x15, 1, 2, (uint)LinkDelivery.Multicast),
        Instruction(0x6, 0, 0, LongestFrame), Instruction(0x6, 0, 0, 1), Instruction(0x6, 0, 0, 0),
    ];

    /// <summary>False when the link does not take it (down, queue full).</summary>
    public bool Send(LinkAddress destination, ReadOnlySpan<byte> frame)
    {
        var address = stackalloc byte[SocketAddressFormat.LinkSize];
        var length = SocketAddressFormat.WriteLink(address, EapolFrame.EtherType, _link.Index, destination.ToArray());
        fixed (byte* pointer = frame)
        {
            return Libc.SendTo(_fd.Value, pointer, (nuint)frame.Length, Libc.MSG_DONTWAIT, address, length) == frame.Length;
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

    private static ulong Instruction(ushort code, byte ifTrue, byte ifFalse, uint k) => code | ((ulong)ifTrue << 16) | ((ulong)ifFalse << 24) | ((ulong)k << 32);

    private void Filter(ulong[] program)
    {
        fixed (ulong* instructions = program)
        {
            var description = stackalloc nint[2];
            description[0] = program.Length;
            description[1] = (nint)instructions;
            if (Libc.SetSockOpt(_fd.Value, Libc.SOL_SOCKET, AttachFilter, description, 16) != 0)
            {
                throw Libc.Failure("attach packet filter");
            }
        }
    }

    private void Run()
    {
        var buffer = GC.AllocateUninitializedArray<byte>(LongestFrame, pinned: true);
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

                if (from[11] != 6)
                {
                    continue;
                }

                var source = new LinkAddress(new ReadOnlySpan<byte>(from + 12, 6));
                if (((from[2] << 8) | from[3]) != EapolFrame.EtherType)
                {
                    _heard?.Invoke(source);
                }
                else if ((LinkDelivery)from[10] != LinkDelivery.Other)
                {
                    _received(source, buffer.AsMemory(0, length).ToArray());
                }
            }
        }
    }
}
