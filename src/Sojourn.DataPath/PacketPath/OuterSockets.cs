using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Interception;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Xdp;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Ip;

namespace Sojourn.DataPath.PacketPath;

internal enum OuterSocketKind : byte
{
    /// <summary>Whole IPv4 packets.</summary>
    RawIPv4,

    /// <summary>What follows an IPv6 header and its extensions.</summary>
    RawIPv6,
    UdpIPv4,
    UdpIPv6,
    IcmpIPv4,
    IcmpIPv6,

    /// <summary>Ethernet frames with whole packets of either family.</summary>
    Xdp,
}

/// <param name="Port">Of a UDP socket; 0 for others.</param>
/// <param name="Xdp">Only of that kind.</param>
internal sealed record OuterSocket(OuterSocketKind Kind, byte Protocol, FileDescriptor Fd, ushort Port = 0, XdpSocket? Xdp = null)
{
    /// <summary>What its buffer makes packets wait for; used by the inbound thread.</summary>
    public ReceiveDelay Delay { get; } = new();

    /// <summary>Whether a datagram waits (FIONREAD: octets of the next one).</summary>
    public unsafe bool HasMore()
    {
        const nuint NextLength = 0x541B;
        var length = 0;
        return Libc.IoCtl(Fd.Value, NextLength, &length) == 0 && length > 0;
    }
}

/// <summary>
/// Sockets on the outer side: one raw socket per tunnel protocol and family, UDP for encapsulated ESP, ICMP for path MTU,
/// and raw sockets that send complete packets. All carry a mark by which routing keeps them out of the packet path.
/// Where AF_XDP can be had, most packets of tunnels without UDP pass there instead; the raw sockets take what it leaves.
/// A raw socket also keeps the kernel from answering "protocol unreachable" to the far end.
/// </summary>
internal sealed unsafe class OuterSockets : IDisposable
{
    private const int SoMark = 36, SoReceiveBufferForce = 33, IpHeaderIncluded = 3, IpPacketInfo = 8, IpReceiveTos = 13;
    private const int Ipv6ReceivePacketInfo = 49, Ipv6ReceiveHopLimit = 51, Ipv6ReceiveTrafficClass = 66, Ipv6Only = 26, SolIcmpv6 = 58;
    private const int ReceiveBuffer = 4 * 1024 * 1024, SendBuffer = 4 * 1024 * 1024;
    private const int SoSendBufferForce = 32, IpTypeOfService = 1, IpTimeToLive = 2, UdpSegment = 103, UdpReceiveOffload = 104, SoTimestamp = 35;

    private const int Ipv6FlowInformation = 11, Ipv6PacketInfo = 50, Ipv6HopLimit = 52, Ipv6TrafficClass = 67, Ipv6AutomaticFlowLabel = 70;

    /// <summary>IP_PMTUDISC_WANT: fragments what does not fit; IP_PMTUDISC_PROBE: DF on everything and no fragments, whatever the kernel believes of the path.</summary>
    private const int IpDiscoverMtu = 10, Ipv6DiscoverMtu = 23, Want = 1, Probe = 3;

    private readonly uint _mark;
    private readonly XdpTransport? _xdp;
    private readonly FileDescriptor _send4;
    private readonly FileDescriptor? _send6;
    private readonly List<OuterSocket> _receivers = [];
    private readonly ConcurrentDictionary<(ushort Port, bool IPv6), OuterSocket> _udp = new();
    private readonly Lock _fragmenting = new();
    private volatile bool _refusesSegments;

    /// <param name="xdp">Belongs to the sockets from now on; null = raw sockets alone.</param>
    public OuterSockets(uint mark, bool ipv6, XdpTransport? xdp = null)
    {
        (_mark, _xdp) = (mark, xdp);
        _send4 = Open(Libc.AF_INET, Libc.SOCK_RAW, 255, "raw IPv4");
        Libc.SetOption(_send4.Value, Libc.SOL_IP, IpHeaderIncluded, 1, "IP_HDRINCL");
        byte[] protocols = [IpProtocol.Esp, IpProtocol.Ah, IpProtocol.IPv4, IpProtocol.IPv6];
        foreach (var protocol in protocols)
        {
            _receivers.Add(new OuterSocket(OuterSocketKind.RawIPv4, protocol, Receiver(Libc.AF_INET, Libc.SOCK_RAW, protocol)));
        }

        var icmp = Receiver(Libc.AF_INET, Libc.SOCK_RAW, IpProtocol.Icmp);
        SetFilter(icmp, Libc.SOL_RAW, 1, [~(1u << 3)]);
        _receivers.Add(new OuterSocket(OuterSocketKind.IcmpIPv4, IpProtocol.Icmp, icmp));
        if (!ipv6)
        {
            return;
        }

        // With protocol 255 an IPv6 raw socket takes whole packets (the kernel's rawv6_init_sk).
        _send6 = Open(Libc.AF_INET6, Libc.SOCK_RAW, 255, "raw IPv6");
        foreach (var protocol in protocols)
        {
            _receivers.Add(new OuterSocket(OuterSocketKind.RawIPv6, protocol, Receiver(Libc.AF_INET6, Libc.SOCK_RAW, protocol)));
        }

        var icmp6 = Receiver(Libc.AF_INET6, Libc.SOCK_RAW, IpProtocol.Icmpv6);
        Span<uint> filter = stackalloc uint[8];
        filter.Fill(uint.MaxValue);
        filter[0] = ~(1u << 2);
        SetFilter(icmp6, SolIcmpv6, 1, filter);
        _receivers.Add(new OuterSocket(OuterSocketKind.IcmpIPv6, IpProtocol.Icmpv6, icmp6));
    }

    /// <summary>All sockets to wait on; changes by <see cref="EnsureUdp"/> and with the interfaces that AF_XDP has.</summary>
    public OuterSocket[] Receivers
    {
        get
        {
            lock (_receivers)
            {
                return [.. _receivers, .. (_xdp?.Sockets ?? []).Select(socket => new OuterSocket(OuterSocketKind.Xdp, 0, socket.Fd, Xdp: socket))];
            }
        }
    }

    /// <summary>A path stands whose packets could pass by AF_XDP.</summary>
    public void Follow(VpnPath path)
    {
        if (path.Udp is null)
        {
            _xdp?.Follow(path.LocalGateway, path.RemoteGateway);
        }
    }

    /// <summary>It stands no more.</summary>
    public void Leave(VpnPath path)
    {
        if (path.Udp is null)
        {
            _xdp?.Leave(path.LocalGateway, path.RemoteGateway);
        }
    }

    /// <summary>Whether <see cref="SendFrames"/> may take anything.</summary>
    public bool HasXdp => _xdp is not null;

    /// <summary>Sends complete outer packets to one destination by AF_XDP. How many of the first it took; the rest is for <see cref="SendRaw"/>.</summary>
    public int SendFrames(ReadOnlySpan<byte> destination, Libc.IoVec* packets, int count) => _xdp?.Send(destination, packets, count) ?? 0;

    /// <summary>Opens the UDP port for encapsulated ESP when it is not open yet. True when a socket was added.</summary>
    public bool EnsureUdp(ushort port, bool ipv6)
    {
        lock (_receivers)
        {
            if (_udp.ContainsKey((port, ipv6)))
            {
                return false;
            }

            var fd = Receiver(ipv6 ? Libc.AF_INET6 : Libc.AF_INET, Libc.SOCK_DGRAM, IpProtocol.Udp);
            Libc.SetOption(fd.Value, Libc.SOL_UDP, UdpReceiveOffload, 1, "UDP_GRO");
            Libc.SetOption(fd.Value, Libc.SOL_SOCKET, SoTimestamp, 1, "SO_TIMESTAMPNS");
            Libc.SetOption(fd.Value, Libc.SOL_SOCKET, SoSendBufferForce, SendBuffer, "SO_SNDBUFFORCE");
            if (ipv6)
            {
                Libc.SetOption(fd.Value, Libc.SOL_IPV6, Ipv6Only, 1, "IPV6_V6ONLY");
                // A packet without a flow label is to leave without one, as from the raw socket.
                Libc.SetOption(fd.Value, Libc.SOL_IPV6, Ipv6AutomaticFlowLabel, 0, "IPV6_AUTOFLOWLABEL");
            }

            DiscoverMtu(fd, ipv6, Probe);

            var address = stackalloc byte[SocketAddressFormat.Size];
            var length = SocketAddressFormat.Write(address, new byte[ipv6 ? 16 : 4], port);
            if (Libc.Bind(fd.Value, address, length) != 0)
            {
                var failure = Libc.Failure($"bind UDP port {port}{(ipv6 ? " (IPv6)" : "")} for encapsulated ESP");
                fd.Dispose();
                throw failure;
            }

            var socket = new OuterSocket(ipv6 ? OuterSocketKind.UdpIPv6 : OuterSocketKind.UdpIPv4, IpProtocol.Udp, fd, port);
            _udp[(port, ipv6)] = socket;
            _receivers.Add(socket);
            return true;
        }
    }

    /// <summary>Sends a complete outer packet. 0 or errno.</summary>
    public int Send(ReadOnlySpan<byte> packet)
    {
        var ipv6 = packet[0] >> 4 == 6;
        if (ipv6 && _send6 is null)
        {
            return Libc.ENETUNREACH;
        }

        var address = stackalloc byte[SocketAddressFormat.Size];
        var length = SocketAddressFormat.Write(address, ipv6 ? packet.Slice(24, 16) : packet.Slice(16, 4), 0);
        fixed (byte* pointer = packet)
        {
            return Libc.SendTo((ipv6 ? _send6! : _send4).Value, pointer, (nuint)packet.Length, 0, address, length) < 0 ? Libc.LastError : 0;
        }
    }

    /// <summary>Sends complete outer packets of one family. How many the kernel took; 0 with errno when it refuses the first.</summary>
    public int SendRaw(bool ipv6, Libc.MultipleMsgHdr* messages, int count, out int error)
    {
        error = Libc.ENETUNREACH;
        if (ipv6 && _send6 is null)
        {
            return 0;
        }

        var taken = Libc.SendMessages((ipv6 ? _send6! : _send4).Value, messages, (uint)count, 0);
        error = taken < 0 ? Libc.LastError : 0;
        return Math.Max(0, taken);
    }

    /// <summary>Sends datagrams of one length but for the last, none of them to be fragmented, as one (UDP_SEGMENT).</summary>
    /// <param name="header">IP and UDP header of the first: ends, ports, class, hop limit and flow label of all.</param>
    /// <param name="payloads">One for each.</param>
    /// <returns>False when the kernel refuses, and nothing was sent.</returns>
    public bool SendSegments(byte* header, Libc.IoVec* payloads, int count, int size)
    {
        var ipv6 = header[0] >> 4 == 6;
        var udp = header + (ipv6 ? IPv6Header.Length : IPv4Header.MinimumLength);
        if (_refusesSegments || !_udp.TryGetValue((BinaryPrimitives.ReadUInt16BigEndian(new ReadOnlySpan<byte>(udp, 2)), ipv6), out var socket))
        {
            return false;
        }

        var name = stackalloc byte[SocketAddressFormat.Size];
        var destination = ipv6 ? new ReadOnlySpan<byte>(header + 24, 16) : new ReadOnlySpan<byte>(header + 16, 4);
        var nameLength = SocketAddressFormat.Write(name, destination, BinaryPrimitives.ReadUInt16BigEndian(new ReadOnlySpan<byte>(udp + 2, 2)));
        var control = new ControlWriter(stackalloc byte[ControlWriter.Size]);
        if (ipv6)
        {
            // struct in6_pktinfo: source, interface index.
            new ReadOnlySpan<byte>(header + 8, 16).CopyTo(control.Add(Libc.SOL_IPV6, Ipv6PacketInfo, 20));
            control.AddNumber(Libc.SOL_IPV6, Ipv6TrafficClass, (BinaryPrimitives.ReadUInt16BigEndian(new ReadOnlySpan<byte>(header, 2)) >> 4) & 0xFF);
            control.AddNumber(Libc.SOL_IPV6, Ipv6HopLimit, header[7]);
            var label = *(int*)header & BinaryPrimitives.ReverseEndianness(0xFFFFF);
            if (label != 0)
            {
                control.AddNumber(Libc.SOL_IPV6, Ipv6FlowInformation, label);
            }
        }
        else
        {
            // struct in_pktinfo: interface index, source, destination.
            new ReadOnlySpan<byte>(header + 12, 4).CopyTo(control.Add(Libc.SOL_IP, IpPacketInfo, 12)[4..]);
            control.AddNumber(Libc.SOL_IP, IpTypeOfService, header[1]);
            control.AddNumber(Libc.SOL_IP, IpTimeToLive, header[8]);
        }

        BinaryPrimitives.WriteUInt16LittleEndian(control.Add(Libc.SOL_UDP, UdpSegment, 2), (ushort)size);
        var message = new Libc.MsgHdr { Name = name, NameLength = nameLength, Vectors = payloads, VectorCount = (nuint)count, Control = control.Start, ControlLength = (nuint)control.Length };
        if (Libc.SendMessage(socket.Fd.Value, &message, 0) >= 0)
        {
            return true;
        }

        // Kernels before 6.11 do not cut for a link that makes no checksums.
        _refusesSegments |= Libc.LastError == Libc.EIO;
        return false;
    }

    /// <summary>Sends a datagram from an open UDP port, in fragments where it has to. 0 or errno.</summary>
    public int SendUdp(SendDatagram datagram)
    {
        var ipv6 = datagram.Source.AddressFamily == AddressFamily.InterNetworkV6;
        if (!_udp.TryGetValue(((ushort)datagram.Source.Port, ipv6), out var socket))
        {
            return Libc.ENETUNREACH;
        }

        // Nobody else wants fragments from this socket; what a packet thread sends meanwhile fits without.
        lock (_fragmenting)
        {
            DiscoverMtu(socket.Fd, ipv6, Want);
            var error = DatagramSocket.Send(socket.Fd, datagram, 0);
            DiscoverMtu(socket.Fd, ipv6, Probe);
            return error;
        }
    }

    private static void DiscoverMtu(FileDescriptor socket, bool ipv6, int how) =>
        Libc.SetOption(socket.Value, ipv6 ? Libc.SOL_IPV6 : Libc.SOL_IP, ipv6 ? Ipv6DiscoverMtu : IpDiscoverMtu, how, ipv6 ? "IPV6_MTU_DISCOVER" : "IP_MTU_DISCOVER");

    /// <summary>Sends a NAT keepalive (RFC 3948 2.3) for a path with UDP encapsulation.</summary>
    public int SendKeepalive(IPAddress local, ushort localPort, IPAddress remote, ushort remotePort)
    {
        var ipv6 = local.AddressFamily == AddressFamily.InterNetworkV6;
        Span<byte> packet = stackalloc byte[40 + 8 + 1];
        packet = packet[..((ipv6 ? 40 : 20) + 9)];
        var source = local.GetAddressBytes();
        var destination = remote.GetAddressBytes();
        var datagram = packet[^9..];
        datagram[8] = 0xFF;
        Wire.Udp.UdpHeader.Write(datagram, localPort, remotePort);
        Wire.Udp.UdpHeader.WriteChecksum(datagram, source, destination);
        if (ipv6)
        {
            IPv6Header.Write(packet, 0, 0, datagram.Length, IpProtocol.Udp, 64, source, destination);
        }
        else
        {
            IPv4Header.Write(packet, 0, packet.Length, 0, IPv4Header.DontFragmentFlag, 64, IpProtocol.Udp, source, destination);
        }

        return Send(packet);
    }

    public void Dispose()
    {
        _xdp?.Dispose();
        _send4.Dispose();
        _send6?.Dispose();
        foreach (var receiver in _receivers)
        {
            receiver.Fd.Dispose();
        }
    }

    private FileDescriptor Open(int family, int type, int protocol, string name)
    {
        var fd = FileDescriptor.Socket(family, type | Libc.SOCK_NONBLOCK, protocol, name);
        Libc.SetOption(fd.Value, Libc.SOL_SOCKET, SoMark, (int)_mark, "SO_MARK");
        return fd;
    }

    private FileDescriptor Receiver(int family, int type, int protocol)
    {
        var fd = Open(family, type, protocol, $"{(type == Libc.SOCK_RAW ? $"raw protocol {protocol}" : "UDP")}{(family == Libc.AF_INET6 ? " IPv6" : "")}");
        Libc.SetOption(fd.Value, Libc.SOL_SOCKET, SoReceiveBufferForce, ReceiveBuffer, "SO_RCVBUFFORCE");
        if (family == Libc.AF_INET6)
        {
            Libc.SetOption(fd.Value, Libc.SOL_IPV6, Ipv6ReceivePacketInfo, 1, "IPV6_RECVPKTINFO");
            Libc.SetOption(fd.Value, Libc.SOL_IPV6, Ipv6ReceiveTrafficClass, 1, "IPV6_RECVTCLASS");
            Libc.SetOption(fd.Value, Libc.SOL_IPV6, Ipv6ReceiveHopLimit, 1, "IPV6_RECVHOPLIMIT");
        }
        else if (type == Libc.SOCK_DGRAM)
        {
            Libc.SetOption(fd.Value, Libc.SOL_IP, IpPacketInfo, 1, "IP_PKTINFO");
            Libc.SetOption(fd.Value, Libc.SOL_IP, IpReceiveTos, 1, "IP_RECVTOS");
        }

        return fd;
    }

    private static void SetFilter(FileDescriptor fd, int level, int option, ReadOnlySpan<uint> blocked)
    {
        fixed (uint* pointer = blocked)
        {
            if (Libc.SetSockOpt(fd.Value, level, option, pointer, (uint)(blocked.Length * 4)) != 0)
            {
                throw Libc.Failure("set ICMP filter");
            }
        }
    }
}
