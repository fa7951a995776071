using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Udp;

namespace Sojourn.DataPath.Interception;

/// <summary>What a <see cref="UdpPort"/> takes straight from the link.</summary>
public enum LinkReception : byte
{
    /// <summary>Nothing: ordinary UDP socket. No link-layer sources.</summary>
    None,

    /// <summary>Datagrams to addresses of this node, broadcasts and multicasts (a foreign agent's access links).</summary>
    OwnAddresses,

    /// <summary>Also datagrams that the link layer brought here for an address this node does not have yet (a mobile node waiting for its reply).</summary>
    AnyAddress,
}

public sealed record UdpPortOptions
{
    public required ushort Port { get; init; }

    public LinkReception LinkReception { get; init; }

    /// <summary>Interfaces where <see cref="LinkReception"/> applies; empty = all.</summary>
    public IReadOnlyCollection<string> LinkInterfaces { get; init; } = [];

    /// <summary>
    /// Mark of what leaves (<see cref="PacketPath.NodeRoutingOptions.Mark"/>); 0 = none. A gateway marks its signalling like
    /// its outer packets: a binding update is addressed to a correspondent, whose ordinary packets belong into a path.
    /// </summary>
    public uint Mark { get; init; }

    /// <summary>Groups joined on those interfaces, as the last octet of 224.0.0.x. 11 is "all mobility agents" (RFC 5944 2.4).</summary>
    public IReadOnlyCollection<byte> LinkGroups { get; init; } = [];
}

/// <summary>
/// An IPv4 UDP port that tells by which interface and for which address a datagram came, and, where asked to, from which
/// link-layer address; and that can answer to a link-layer address without ARP. With interception
/// (<see cref="PacketPath.NodeRouting.InterceptUdp"/>) the destination is the host the sender meant. Lives in the namespace
/// of the thread that made it; datagrams are handed over one at a time by a thread of its own.
/// Fragmented datagrams reach a link reception interface through the kernel's socket, without link-layer source.
/// </summary>
public sealed unsafe class UdpPort : IDisposable
{
    private const int IpTransparent = 19, IpPacketInfo = 8, SoBroadcast = 6, SoMark = 36, SoReuseAddress = 2, HeaderLengths = IPv4Header.MinimumLength + UdpHeader.HeaderLength;

    private readonly UdpPortOptions _options;
    private readonly Action<DatagramReceived> _received;
    private readonly InterfaceTable _interfaces = new();
    private readonly FileDescriptor _socket;
    private readonly LinkSocket? _link;
    private readonly WakeEvent _stop = new();
    private readonly Thread _thread;
    private int _identification = Random.Shared.Next();
    private long _malformed;
    private long _foreign;

    public UdpPort(UdpPortOptions options, Action<DatagramReceived> received)
    {
        _options = options;
        _received = received;
        _socket = FileDescriptor.Socket(Libc.AF_INET, Libc.SOCK_DGRAM | Libc.SOCK_NONBLOCK, 0, "UDP");
        try
        {
            Libc.SetOption(_socket.Value, Libc.SOL_SOCKET, SoReuseAddress, 1, "SO_REUSEADDR");
            Libc.SetOption(_socket.Value, Libc.SOL_SOCKET, SoBroadcast, 1, "SO_BROADCAST");
            Libc.SetOption(_socket.Value, Libc.SOL_IP, IpPacketInfo, 1, "IP_PKTINFO");
            // A gateway answers in the name of the host whose datagram it took.
            Libc.SetOption(_socket.Value, Libc.SOL_IP, IpTransparent, 1, "IP_TRANSPARENT");
            if (options.Mark != 0)
            {
                Libc.SetOption(_socket.Value, Libc.SOL_SOCKET, SoMark, (int)options.Mark, "SO_MARK");
            }

            var address = stackalloc byte[SocketAddressFormat.Size];
            var length = SocketAddressFormat.Write(address, [0, 0, 0, 0], options.Port);
            if (Libc.Bind(_socket.Value, address, length) != 0)
            {
                throw Libc.Failure($"bind UDP port {options.Port}");
            }

            // Sending to a link-layer address needs the packet socket even where nothing is received by it.
            _link = new LinkSocket(_interfaces, options.LinkReception == LinkReception.None ? LinkSocket.Nothing : LinkSocket.UdpTo(options.Port));
            foreach (var name in options.LinkInterfaces)
            {
                foreach (var group in options.LinkGroups)
                {
                    _link.Join(name, group);
                }
            }
        }
        catch
        {
            _link?.Dispose();
            _socket.Dispose();
            _stop.Dispose();
            _interfaces.Dispose();
            throw;
        }

        _thread = new Thread(Run) { IsBackground = true, Name = $"UDP {options.Port}" };
        _thread.Start();
    }

    /// <summary>Datagrams on the link that could not be read (header, length, checksum).</summary>
    public long Malformed => Interlocked.Read(ref _malformed);

    /// <summary>Datagrams on the link for somebody else.</summary>
    public long Foreign => Interlocked.Read(ref _foreign);

    /// <summary>
    /// Carries out <see cref="SendDatagram"/>; its source port must be this one. A source of 0.0.0.0 together with an
    /// interface stays 0.0.0.0 on the wire. <see cref="SystemCallException"/> when the system refuses.
    /// </summary>
    public void Send(SendDatagram datagram)
    {
        if (datagram.Source.Port != _options.Port)
        {
            throw new ArgumentException($"source port {datagram.Source.Port} is not {_options.Port}", nameof(datagram));
        }

        if (datagram.Interface is { } name && (datagram.LinkDestination is not null || datagram.Source.Address.Equals(IPAddress.Any)))
        {
            SendToLink(name, datagram);
        }
        else
        {
            SendRouted(datagram);
        }
    }

    public void Dispose()
    {
        _stop.Set();
        if (Thread.CurrentThread != _thread)
        {
            _thread.Join();
        }

        _socket.Dispose();
        _link?.Dispose();
        _stop.Dispose();
        _interfaces.Dispose();
    }

    private void SendToLink(string name, SendDatagram datagram)
    {
        var packet = new byte[HeaderLengths + datagram.Payload.Length];
        var source = datagram.Source.Address.GetAddressBytes();
        var destination = datagram.Destination.Address.GetAddressBytes();
        datagram.Payload.Span.CopyTo(packet.AsSpan(HeaderLengths));
        var udp = packet.AsSpan(IPv4Header.MinimumLength);
        UdpHeader.Write(udp, (ushort)datagram.Source.Port, (ushort)datagram.Destination.Port);
        UdpHeader.WriteChecksum(udp, source, destination);
        IPv4Header.Write(packet, 0, packet.Length, (ushort)Interlocked.Increment(ref _identification), 0, 64, IpProtocol.Udp, source, destination);
        var broadcast = datagram.Destination.Address.Equals(IPAddress.Broadcast) || (destination[0] & 0xF0) == 0xE0;
        var to = datagram.LinkDestination ?? (broadcast ? null : _interfaces.NeighbourOf(name, datagram.Destination.Address));
        _link!.Send(name, packet, to);
    }

    private void SendRouted(SendDatagram datagram)
    {
        var name = stackalloc byte[SocketAddressFormat.Size];
        var nameLength = SocketAddressFormat.Write(name, datagram.Destination.Address.GetAddressBytes(), (ushort)datagram.Destination.Port);
        var control = stackalloc byte[32];
        new Span<byte>(control, 32).Clear();
        *(Libc.CmsgHdr*)control = new Libc.CmsgHdr { Length = 28, Level = Libc.SOL_IP, Type = IpPacketInfo };
        *(int*)(control + 16) = datagram.Interface is { } wanted
            ? _interfaces.IndexOf(wanted) ?? throw new SystemCallException($"send by {wanted}", Libc.ENODEV)
            : 0;
        datagram.Source.Address.TryWriteBytes(new Span<byte>(control + 20, 4), out _);
        fixed (byte* payload = datagram.Payload.Span)
        {
            var vector = new Libc.IoVec { Base = payload, Length = (nuint)datagram.Payload.Length };
            var message = new Libc.MsgHdr { Name = name, NameLength = nameLength, Vectors = &vector, VectorCount = 1, Control = control, ControlLength = 32 };
            if (Libc.SendMessage(_socket.Value, &message, 0) < 0)
            {
                throw Libc.Failure($"send to {datagram.Destination}");
            }
        }
    }

    private void Run()
    {
        var buffer = GC.AllocateUninitializedArray<byte>(65_536, pinned: true);
        var fds = stackalloc Libc.PollFd[3];
        fds[0] = new Libc.PollFd { Fd = _socket.Value, Events = Libc.POLLIN };
        fds[1] = new Libc.PollFd { Fd = _link!.Fd, Events = Libc.POLLIN };
        fds[2] = new Libc.PollFd { Fd = _stop.Fd, Events = Libc.POLLIN };
        while (true)
        {
            _ = Libc.Poll(fds, 3, -1);
            if ((fds[2].Revents & Libc.POLLIN) != 0)
            {
                return;
            }

            ReceiveFromLink(buffer);
            ReceiveFromSocket(buffer);
        }
    }

    private void ReceiveFromSocket(byte[] buffer)
    {
        var name = stackalloc byte[SocketAddressFormat.Size];
        var control = stackalloc byte[ReceivedControl.BufferSize];
        fixed (byte* pointer = buffer)
        {
            for (var i = 0; i < 64; i++)
            {
                var vector = new Libc.IoVec { Base = pointer, Length = (nuint)buffer.Length };
                var message = new Libc.MsgHdr
                {
                    Name = name,
                    NameLength = SocketAddressFormat.Size,
                    Vectors = &vector,
                    VectorCount = 1,
                    Control = control,
                    ControlLength = ReceivedControl.BufferSize,
                };
                var length = (int)Libc.ReceiveMessage(_socket.Value, &message, 0);
                if (length < 0)
                {
                    return;
                }

                var received = ReceivedControl.Read(message);
                var interfaceName = _interfaces.NameOf(received.InterfaceIndex);
                if (received.Destination.IsEmpty || (interfaceName is not null && TakenFromLink(interfaceName, length)))
                {
                    continue;
                }

                _received(new DatagramReceived(
                    new IPEndPoint(new IPAddress(SocketAddressFormat.AddressOf(name)), SocketAddressFormat.PortOf(name)),
                    new IPEndPoint(new IPAddress(received.Destination), _options.Port), buffer.AsSpan(0, length).ToArray(), interfaceName));
            }
        }
    }

    /// <summary>Whether the packet socket has handed over the same datagram already: one that fits the link came in one piece.</summary>
    private bool TakenFromLink(string interfaceName, int length) =>
        UsesLink(interfaceName) && length + HeaderLengths <= (_interfaces.Find(interfaceName)?.Mtu ?? 0);

    private bool UsesLink(string interfaceName) =>
        _options.LinkReception != LinkReception.None && interfaceName != "lo" && (_options.LinkInterfaces.Count == 0 || _options.LinkInterfaces.Contains(interfaceName));

    private void ReceiveFromLink(byte[] buffer)
    {
        for (var i = 0; i < 64; i++)
        {
            var length = _link!.Receive(buffer, out var index, out var source, out var delivery);
            if (length < 0)
            {
                return;
            }

            if (_interfaces.NameOf(index) is not { } name || !UsesLink(name))
            {
                continue;
            }

            if (!IPv4Header.TryParse(buffer.AsSpan(0, length), out var header, out _) || !header.ChecksumIsRight || header.IsFragment
                || !UdpHeader.TryParse(header.Payload, out var udp, out _)
                || (udp.Checksum != 0 && !udp.ChecksumIsRight(header.Source, header.Destination)))
            {
                Interlocked.Increment(ref _malformed);
                continue;
            }

            var destination = header.DestinationAddress;
            if (!IsForUs(destination, delivery))
            {
                Interlocked.Increment(ref _foreign);
                continue;
            }

            _received(new DatagramReceived(
                new IPEndPoint(header.SourceAddress, udp.SourcePort), new IPEndPoint(destination, udp.DestinationPort), udp.Payload.ToArray(), name, source));
        }
    }

    private bool IsForUs(IPAddress destination, LinkDelivery delivery) => delivery switch
    {
        LinkDelivery.Host => _options.LinkReception == LinkReception.AnyAddress || _interfaces.IsOwn(destination),
        // A link-layer broadcast may carry a unicast packet: from a node that knows our address and not our link-layer one.
        LinkDelivery.Broadcast or LinkDelivery.Multicast => destination.Equals(IPAddress.Broadcast)
            || (destination.GetAddressBytes()[0] & 0xF0) == 0xE0 || _interfaces.IsOwn(destination) || _interfaces.IsDirectedBroadcast(destination),
        _ => false,
    };
}
