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

    /// <summary>IPv4 or IPv6; link reception is for IPv4.</summary>
    public AddressFamily Family { get; init; } = AddressFamily.InterNetwork;

    /// <summary>The kernel opens ESP that comes here (RFC 3948) and hands over the rest, non-ESP marker included.</summary>
    public bool EspEncapsulation { get; init; }

    /// <summary>IPv6 group joined on <see cref="GroupInterfaces"/>; null = none.</summary>
    public IPAddress? Group { get; init; }

    public IReadOnlyCollection<string> GroupInterfaces { get; init; } = [];

    /// <summary>Asked about every datagram of the socket before it is handed over; null = nobody is.</summary>
    public IDatagramScreen? Screen { get; init; }
}

/// <summary>
/// A UDP port of one family that tells by which interface and for which address a datagram came, and sends by a chosen interface,
/// as link-local and multicast addresses need. For IPv4 it also tells, where asked to, from which link-layer address, and can
/// answer to a link-layer address without ARP. With interception (<see cref="PacketPath.NodeRouting.InterceptUdp"/>) the
/// destination is the host the sender meant. Lives in the namespace of the thread that made it; datagrams are handed over one at
/// a time by a thread of its own.
/// Fragmented datagrams reach a link reception interface through the kernel's socket, without link-layer source.
/// </summary>
public sealed unsafe class UdpPort : IDisposable
{
    private const int HeaderLengths = IPv4Header.MinimumLength + UdpHeader.HeaderLength;

    /// <summary>Datagrams taken off one socket before the other is looked at.</summary>
    private const int Turn = 4 * DatagramBatch.Capacity;

    private readonly UdpPortOptions _options;
    private readonly Action<DatagramReceived> _received;
    private readonly InterfaceTable _interfaces = new();
    private readonly DatagramSocket _socket;
    private readonly LinkSocket? _link;
    private readonly WakeEvent _stop = new();
    private readonly Thread _thread;
    private int _identification = Random.Shared.Next();
    private long _malformed;
    private long _foreign;

    /// <exception cref="SystemCallException">The port is taken, or an interface is not there.</exception>
    public UdpPort(UdpPortOptions options, Action<DatagramReceived> received)
    {
        _options = options;
        _received = received;
        try
        {
            _socket = new DatagramSocket(options.Family, options.Port, options.Mark, _interfaces);
            if (options.EspEncapsulation)
            {
                _socket.TakeEsp();
            }

            foreach (var name in options.Group is null ? [] : options.GroupInterfaces)
            {
                _socket.Join(options.Group!, name);
            }

            if (options.Family == AddressFamily.InterNetwork)
            {
                // Sending to a link-layer address needs the packet socket even where nothing is received by it.
                _link = new LinkSocket(_interfaces, options.LinkReception == LinkReception.None ? [] : PacketFilter.UdpTo(options.Port));
                foreach (var name in options.LinkInterfaces)
                {
                    foreach (var group in options.LinkGroups)
                    {
                        _link.Join(name, group);
                    }
                }
            }
        }
        catch
        {
            _link?.Dispose();
            _socket?.Dispose();
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

        if (_link is not null && datagram.Interface is { } name && (datagram.LinkDestination is not null || datagram.Source.Address.Equals(IPAddress.Any)))
        {
            SendToLink(name, datagram);
        }
        else
        {
            _socket.Send(datagram);
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

    private void Run()
    {
        var buffer = GC.AllocateUninitializedArray<byte>(DatagramSocket.LongestDatagram, pinned: true);
        using var batch = new DatagramBatch();
        var fds = stackalloc Libc.PollFd[3];
        fds[0] = new Libc.PollFd { Fd = _socket.Fd, Events = Libc.POLLIN };
        fds[1] = new Libc.PollFd { Fd = _stop.Fd, Events = Libc.POLLIN };
        fds[2] = new Libc.PollFd { Fd = _link?.Fd ?? -1, Events = Libc.POLLIN };
        while (true)
        {
            _ = Libc.Poll(fds, 3, -1);
            if ((fds[1].Revents & Libc.POLLIN) != 0)
            {
                return;
            }

            if (_link is not null)
            {
                ReceiveFromLink(_link, buffer);
            }

            ReceiveFromSocket(batch);
        }
    }

    private void ReceiveFromSocket(DatagramBatch batch)
    {
        for (var taken = 0; taken < Turn; taken += DatagramBatch.Capacity)
        {
            var count = batch.Receive(_socket.Fd);
            for (var i = 0; i < count; i++)
            {
                if (!IsScreened(batch, i) && _socket.Received(batch, i) is { } datagram && !(datagram.Interface is { } name && TakenFromLink(name, datagram.Payload.Length)))
                {
                    _received(datagram);
                }
            }

            batch.SendAnswers(_socket.Fd);
            if (count < DatagramBatch.Capacity)
            {
                return;
            }
        }
    }

    private bool IsScreened(DatagramBatch batch, int index)
    {
        if (_options.Screen is not { } screen || !screen.Stops(batch.Data(index), batch.Source(index), batch.SourcePort(index), batch.AnswerTo(index), out var length))
        {
            return false;
        }

        if (length > 0 && !batch.About(index).Destination.IsEmpty)
        {
            batch.Answer(index, length);
        }

        return true;
    }

    /// <summary>Whether the packet socket has handed over the same datagram already: one that fits the link came in one piece.</summary>
    private bool TakenFromLink(string interfaceName, int length) =>
        UsesLink(interfaceName) && length + HeaderLengths <= (_interfaces.Find(interfaceName)?.Mtu ?? 0);

    private bool UsesLink(string interfaceName) =>
        _options.LinkReception != LinkReception.None && interfaceName != "lo" && (_options.LinkInterfaces.Count == 0 || _options.LinkInterfaces.Contains(interfaceName));

    private void ReceiveFromLink(LinkSocket link, byte[] buffer)
    {
        for (var i = 0; i < Turn; i++)
        {
            var length = link.Receive(buffer, out var origin);
            if (length < 0)
            {
                return;
            }

            if (_interfaces.NameOf(origin.Interface) is not { } name || !UsesLink(name))
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
            if (!IsForUs(destination, origin.Delivery))
            {
                Interlocked.Increment(ref _foreign);
                continue;
            }

            _received(new DatagramReceived(
                new IPEndPoint(header.SourceAddress, udp.SourcePort), new IPEndPoint(destination, udp.DestinationPort), udp.Payload.ToArray(), name, origin.Source));
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
