using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Wire.Ip;

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

/// <summary>
/// IPv4 packets straight from and to the link (AF_PACKET): with the sender's link-layer address, and before the kernel
/// judges addresses. That is what Mobile IP needs where a node has no address yet (source 0.0.0.0) or one that does not
/// belong to the link (RFC 5944 3.7.2.3): the kernel drops the first kind and would ask ARP for the second.
/// </summary>
internal sealed unsafe class LinkSocket : IDisposable
{
    private const ushort EtherTypeIPv4 = 0x0800;
    private const int AttachFilter = 26, AddMembership = 1, MembershipMulticast = 0;

    private readonly FileDescriptor _fd;
    private readonly InterfaceTable _interfaces;
    private readonly HashSet<(int, byte)> _joined = [];

    /// <param name="interfaces">Names and addresses of the namespace's interfaces.</param>
    /// <param name="filter">Classic BPF over the IP header; what it refuses never leaves the kernel.</param>
    public LinkSocket(InterfaceTable interfaces, ReadOnlySpan<ulong> filter)
    {
        _interfaces = interfaces;
        // Protocol 0 until the filter stands, so that nothing unfiltered is queued.
        _fd = FileDescriptor.Socket(Libc.AF_PACKET, Libc.SOCK_DGRAM | Libc.SOCK_NONBLOCK, 0, "packet");
        fixed (ulong* program = filter)
        {
            var description = stackalloc nint[2];
            description[0] = filter.Length;
            description[1] = (nint)program;
            if (Libc.SetSockOpt(_fd.Value, Libc.SOL_SOCKET, AttachFilter, description, 16) != 0)
            {
                throw Libc.Failure("attach packet filter");
            }
        }

        var address = stackalloc byte[SocketAddressFormat.LinkSize];
        var length = SocketAddressFormat.WriteLink(address, EtherTypeIPv4, 0, []);
        if (Libc.Bind(_fd.Value, address, length) != 0)
        {
            throw Libc.Failure("bind packet socket");
        }
    }

    public int Fd => _fd.Value;

    /// <summary>BPF: refuses everything.</summary>
    public static ulong[] Nothing => [Instruction(0x6, 0, 0, 0)];

    /// <summary>BPF: unfragmented UDP to a port.</summary>
    public static ulong[] UdpTo(ushort port) =>
    [
        Instruction(0x30, 0, 0, 9), Instruction(0x15, 0, 6, IpProtocol.Udp), Instruction(0x28, 0, 0, 6), Instruction(0x45, 4, 0, 0x3FFF),
        Instruction(0xb1, 0, 0, 0), Instruction(0x48, 0, 0, 2), Instruction(0x15, 0, 1, port), Instruction(0x6, 0, 0, 0x40000), Instruction(0x6, 0, 0, 0),
    ];

    /// <summary>BPF: unfragmented ICMP messages of two types.</summary>
    public static ulong[] IcmpOf(byte first, byte second) =>
    [
        Instruction(0x30, 0, 0, 9), Instruction(0x15, 0, 7, IpProtocol.Icmp), Instruction(0x28, 0, 0, 6), Instruction(0x45, 5, 0, 0x3FFF),
        Instruction(0xb1, 0, 0, 0), Instruction(0x50, 0, 0, 0), Instruction(0x15, 1, 0, first), Instruction(0x15, 0, 1, second),
        Instruction(0x6, 0, 0, 0x40000), Instruction(0x6, 0, 0, 0),
    ];

    /// <summary>Takes packets to an IPv4 group (its last octet, 224.0.0.x) on an interface.</summary>
    public void Join(string name, byte group)
    {
        if (_interfaces.IndexOf(name) is not { } index || !_joined.Add((index, group)))
        {
            return;
        }

        var request = stackalloc byte[16];
        new Span<byte>(request, 16).Clear();
        *(int*)request = index;
        *(ushort*)(request + 4) = MembershipMulticast;
        *(ushort*)(request + 6) = 6;
        ReadOnlySpan<byte> mac = [0x01, 0x00, 0x5E, 0, 0, group];
        mac.CopyTo(new Span<byte>(request + 8, 8));
        if (Libc.SetSockOpt(_fd.Value, Libc.SOL_PACKET, AddMembership, request, 16) != 0)
        {
            throw Libc.Failure($"join 224.0.0.{group} on {name}");
        }
    }

    /// <summary>Receives one IP packet, or returns -1 when none waits.</summary>
    public int Receive(Span<byte> buffer, out int interfaceIndex, out LinkAddress? source, out LinkDelivery delivery)
    {
        var from = stackalloc byte[32];
        fixed (byte* pointer = buffer)
        {
            var vector = new Libc.IoVec { Base = pointer, Length = (nuint)buffer.Length };
            var message = new Libc.MsgHdr { Name = from, NameLength = 32, Vectors = &vector, VectorCount = 1 };
            var length = (int)Libc.ReceiveMessage(_fd.Value, &message, 0);
            interfaceIndex = *(int*)(from + 4);
            delivery = (LinkDelivery)from[10];
            source = length >= 0 && from[11] is > 0 and <= 8 ? new LinkAddress(new ReadOnlySpan<byte>(from + 12, from[11])) : null;
            return length;
        }
    }

    /// <summary>Sends a finished IPv4 packet by an interface. Broadcast and multicast find their own link-layer address; for the rest <paramref name="to"/> or, without it, the link's broadcast address is used.</summary>
    public void Send(string name, ReadOnlySpan<byte> packet, LinkAddress? to)
    {
        var link = _interfaces.Find(name) ?? throw new SystemCallException($"send by {name}", Libc.ENODEV);
        var mac = to?.ToArray() ?? [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
        if (to is null && (packet[16] & 0xF0) == 0xE0)
        {
            mac = [0x01, 0x00, 0x5E, (byte)(packet[17] & 0x7F), packet[18], packet[19]];
        }

        var address = stackalloc byte[SocketAddressFormat.LinkSize];
        var length = SocketAddressFormat.WriteLink(address, EtherTypeIPv4, link.Index, mac);
        if (packet.Length <= link.Mtu)
        {
            SendOne(packet, address, length, name);
            return;
        }

        if (!IPv4Header.TryParse(packet, out var header, out _))
        {
            throw new ArgumentException("not an IPv4 packet", nameof(packet));
        }

        var fragmenter = new IPv4Fragmenter(header, link.Mtu);
        var fragment = new byte[link.Mtu];
        while (!fragmenter.Finished)
        {
            var size = fragmenter.Next(fragment);
            if (size == 0)
            {
                throw new SystemCallException($"send {packet.Length} octets by {name}", Libc.EMSGSIZE);
            }

            SendOne(fragment.AsSpan(0, size), address, length, name);
        }
    }

    public void Dispose() => _fd.Dispose();

    private void SendOne(ReadOnlySpan<byte> packet, byte* address, uint length, string name)
    {
        fixed (byte* pointer = packet)
        {
            if (Libc.SendTo(_fd.Value, pointer, (nuint)packet.Length, 0, address, length) < 0)
            {
                throw Libc.Failure($"send by {name}");
            }
        }
    }

    /// <summary>struct sock_filter: code, jump if true, jump if false, operand.</summary>
    private static ulong Instruction(ushort code, byte ifTrue, byte ifFalse, uint operand)
    {
        Span<byte> octets = stackalloc byte[8];
        System.Runtime.InteropServices.MemoryMarshal.Write(octets, code);
        octets[2] = ifTrue;
        octets[3] = ifFalse;
        System.Runtime.InteropServices.MemoryMarshal.Write(octets[4..], operand);
        return System.Runtime.InteropServices.MemoryMarshal.Read<ulong>(octets);
    }
}
