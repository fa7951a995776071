using System.Net;
using Sojourn.DataPath.Native;
using Sojourn.Engine;

namespace Sojourn.DataPath.Interception;

public sealed record Udp6PortOptions
{
    public required ushort Port { get; init; }

    /// <summary>Group joined on <see cref="Interfaces"/>; null = none.</summary>
    public IPAddress? Group { get; init; }

    /// <summary>Links on which the group is joined.</summary>
    public IReadOnlyCollection<string> Interfaces { get; init; } = [];
}

/// <summary>
/// An IPv6 UDP port that tells by which interface and for which address a datagram came, and sends by a chosen interface, as
/// link-local and multicast addresses need. Lives in the namespace of the thread that made it; datagrams are handed over one at a
/// time by a thread of its own.
/// </summary>
public sealed unsafe class Udp6Port : IDisposable
{
    private const int SoReuseAddress = 2, SoReceiveBufferForce = 33, SoSendBufferForce = 32;
    private const int JoinGroup = 20, V6Only = 26, MulticastLoop = 19, ReceivePacketInfo = 49, PacketInfo = 50;

    /// <summary>A burst of clients after a power cut fits; the kernel counts double.</summary>
    private const int BufferOctets = 8 << 20;

    private readonly Udp6PortOptions _options;
    private readonly Action<DatagramReceived> _received;
    private readonly InterfaceTable _interfaces = new();
    private readonly FileDescriptor _socket;
    private readonly WakeEvent _stop = new();
    private readonly Thread _thread;

    /// <exception cref="SystemCallException">The port is taken, or an interface is not there.</exception>
    public Udp6Port(Udp6PortOptions options, Action<DatagramReceived> received)
    {
        _options = options;
        _received = received;
        _socket = FileDescriptor.Socket(Libc.AF_INET6, Libc.SOCK_DGRAM | Libc.SOCK_NONBLOCK, 0, "UDP");
        try
        {
            Libc.SetOption(_socket.Value, Libc.SOL_IPV6, V6Only, 1, "IPV6_V6ONLY");
            Libc.SetOption(_socket.Value, Libc.SOL_IPV6, ReceivePacketInfo, 1, "IPV6_RECVPKTINFO");
            Libc.SetOption(_socket.Value, Libc.SOL_IPV6, MulticastLoop, 0, "IPV6_MULTICAST_LOOP");
            Libc.SetOption(_socket.Value, Libc.SOL_SOCKET, SoReceiveBufferForce, BufferOctets, "SO_RCVBUFFORCE");
            Libc.SetOption(_socket.Value, Libc.SOL_SOCKET, SoSendBufferForce, BufferOctets, "SO_SNDBUFFORCE");
            Libc.SetOption(_socket.Value, Libc.SOL_SOCKET, SoReuseAddress, 1, "SO_REUSEADDR");
            var address = stackalloc byte[SocketAddressFormat.Size];
            var length = SocketAddressFormat.Write(address, IPAddress.IPv6Any.GetAddressBytes(), options.Port);
            if (Libc.Bind(_socket.Value, address, length) != 0)
            {
                throw Libc.Failure($"bind UDP port {options.Port}");
            }

            foreach (var name in options.Group is null ? [] : options.Interfaces)
            {
                Join(options.Group!, name);
            }
        }
        catch
        {
            _socket.Dispose();
            _stop.Dispose();
            _interfaces.Dispose();
            throw;
        }

        _thread = new Thread(Run) { IsBackground = true, Name = $"UDP {options.Port}" };
        _thread.Start();
    }

    /// <summary>Carries out <see cref="SendDatagram"/>; its source port must be this one.</summary>
    /// <exception cref="SystemCallException">The system refuses.</exception>
    public void Send(SendDatagram datagram)
    {
        if (datagram.Source.Port != _options.Port)
        {
            throw new ArgumentException($"source port {datagram.Source.Port} is not {_options.Port}", nameof(datagram));
        }

        var octets = stackalloc byte[16];
        datagram.Destination.Address.TryWriteBytes(new Span<byte>(octets, 16), out _);
        var name = stackalloc byte[SocketAddressFormat.Size];
        var nameLength = SocketAddressFormat.Write(name, new ReadOnlySpan<byte>(octets, 16), (ushort)datagram.Destination.Port);
        const int controlLength = 40;
        var control = stackalloc byte[controlLength];
        new Span<byte>(control, controlLength).Clear();
        *(Libc.CmsgHdr*)control = new Libc.CmsgHdr { Length = 36, Level = Libc.SOL_IPV6, Type = PacketInfo };
        datagram.Source.Address.TryWriteBytes(new Span<byte>(control + 16, 16), out _);
        *(int*)(control + 32) = datagram.Interface is { } wanted
            ? _interfaces.IndexOf(wanted) ?? throw new SystemCallException($"send by {wanted}", Libc.ENODEV)
            : 0;
        fixed (byte* payload = datagram.Payload.Span)
        {
            var vector = new Libc.IoVec { Base = payload, Length = (nuint)datagram.Payload.Length };
            var message = new Libc.MsgHdr { Name = name, NameLength = nameLength, Vectors = &vector, VectorCount = 1, Control = control, ControlLength = controlLength };
            if (Libc.SendMessage(_socket.Value, &message, 0) < 0)
            {
                throw Libc.Failure($"send to {datagram.Destination}");
            }
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
        _stop.Dispose();
        _interfaces.Dispose();
    }

    private void Join(IPAddress group, string name)
    {
        // struct ipv6_mreq: group, interface index.
        var request = stackalloc byte[20];
        group.TryWriteBytes(new Span<byte>(request, 16), out _);
        *(int*)(request + 16) = _interfaces.IndexOf(name) ?? throw new SystemCallException($"join {group} on {name}", Libc.ENODEV);
        if (Libc.SetSockOpt(_socket.Value, Libc.SOL_IPV6, JoinGroup, request, 20) != 0)
        {
            throw Libc.Failure($"join {group} on {name}");
        }
    }

    private void Run()
    {
        var buffer = GC.AllocateUninitializedArray<byte>(65_536, pinned: true);
        var fds = stackalloc Libc.PollFd[2];
        fds[0] = new Libc.PollFd { Fd = _socket.Value, Events = Libc.POLLIN };
        fds[1] = new Libc.PollFd { Fd = _stop.Fd, Events = Libc.POLLIN };
        while (true)
        {
            _ = Libc.Poll(fds, 2, -1);
            if ((fds[1].Revents & Libc.POLLIN) != 0)
            {
                return;
            }

            Receive(buffer);
        }
    }

    private void Receive(byte[] buffer)
    {
        var name = stackalloc byte[SocketAddressFormat.Size];
        var control = stackalloc byte[ReceivedControl.BufferSize];
        fixed (byte* pointer = buffer)
        {
            for (var i = 0; i < 256; i++)
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
                if (received.Destination.Length != 16)
                {
                    continue;
                }

                _received(new DatagramReceived(
                    new IPEndPoint(new IPAddress(SocketAddressFormat.AddressOf(name)), SocketAddressFormat.PortOf(name)),
                    new IPEndPoint(new IPAddress(received.Destination), _options.Port), buffer.AsSpan(0, length).ToArray(), _interfaces.NameOf(received.InterfaceIndex)));
            }
        }
    }
}
