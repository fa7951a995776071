using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Native;
using Sojourn.Engine;

namespace Sojourn.DataPath.Interception;

/// <summary>
/// A bound UDP socket of one family that tells for which address and by which interface a datagram came, and sends from a chosen
/// address by a chosen interface. Not blocking; whoever holds it waits on <see cref="Fd"/>.
/// </summary>
internal sealed unsafe class DatagramSocket : IDisposable
{
    public const int LongestDatagram = 65_536;

    private const int SoReuseAddress = 2, SoBroadcast = 6, SoSendBufferForce = 32, SoReceiveBufferForce = 33, SoMark = 36;
    private const int Encapsulation = 100, EspInUdp = 2;
    private const int PacketInfo4 = 8, Transparent4 = 19;
    private const int MulticastLoop6 = 19, JoinGroup6 = 20, Only6 = 26, ReceivePacketInfo6 = 49, PacketInfo6 = 50;

    /// <summary>A burst of clients after a power cut fits; the kernel counts double.</summary>
    private const int BufferOctets = 8 << 20;

    private readonly FileDescriptor _fd;
    private readonly InterfaceTable _interfaces;
    private readonly ushort _port;

    /// <exception cref="SystemCallException">The port is taken.</exception>
    public DatagramSocket(AddressFamily family, ushort port, uint mark, InterfaceTable interfaces)
    {
        var ipv6 = family == AddressFamily.InterNetworkV6;
        (_interfaces, _port) = (interfaces, port);
        _fd = FileDescriptor.Socket(ipv6 ? Libc.AF_INET6 : Libc.AF_INET, Libc.SOCK_DGRAM | Libc.SOCK_NONBLOCK, 0, "UDP");
        try
        {
            Libc.SetOption(_fd.Value, Libc.SOL_SOCKET, SoReuseAddress, 1, "SO_REUSEADDR");
            Libc.SetOption(_fd.Value, Libc.SOL_SOCKET, SoReceiveBufferForce, BufferOctets, "SO_RCVBUFFORCE");
            Libc.SetOption(_fd.Value, Libc.SOL_SOCKET, SoSendBufferForce, BufferOctets, "SO_SNDBUFFORCE");
            if (mark != 0)
            {
                Libc.SetOption(_fd.Value, Libc.SOL_SOCKET, SoMark, (int)mark, "SO_MARK");
            }

            if (ipv6)
            {
                Libc.SetOption(_fd.Value, Libc.SOL_IPV6, Only6, 1, "IPV6_V6ONLY");
                Libc.SetOption(_fd.Value, Libc.SOL_IPV6, ReceivePacketInfo6, 1, "IPV6_RECVPKTINFO");
                Libc.SetOption(_fd.Value, Libc.SOL_IPV6, MulticastLoop6, 0, "IPV6_MULTICAST_LOOP");
            }
            else
            {
                Libc.SetOption(_fd.Value, Libc.SOL_SOCKET, SoBroadcast, 1, "SO_BROADCAST");
                Libc.SetOption(_fd.Value, Libc.SOL_IP, PacketInfo4, 1, "IP_PKTINFO");
                // A gateway answers in the name of the host whose datagram it took.
                Libc.SetOption(_fd.Value, Libc.SOL_IP, Transparent4, 1, "IP_TRANSPARENT");
            }

            var address = stackalloc byte[SocketAddressFormat.Size];
            var length = SocketAddressFormat.Write(address, new byte[ipv6 ? 16 : 4], port);
            if (Libc.Bind(_fd.Value, address, length) != 0)
            {
                throw Libc.Failure($"bind UDP port {port}{(ipv6 ? " (IPv6)" : "")}");
            }
        }
        catch
        {
            _fd.Dispose();
            throw;
        }
    }

    public int Fd => _fd.Value;

    /// <summary>Lets the kernel's IPsec take ESP out of what comes (udp(7), UDP_ENCAP).</summary>
    public void TakeEsp() => Libc.SetOption(_fd.Value, Libc.SOL_UDP, Encapsulation, EspInUdp, "UDP_ENCAP");

    /// <summary>Joins an IPv6 group on a link.</summary>
    /// <exception cref="SystemCallException">The interface is not there.</exception>
    public void Join(IPAddress group, string name)
    {
        // struct ipv6_mreq: group, interface index.
        var request = stackalloc byte[20];
        group.TryWriteBytes(new Span<byte>(request, 16), out _);
        *(int*)(request + 16) = _interfaces.IndexOf(name) ?? throw new SystemCallException($"join {group} on {name}", Libc.ENODEV);
        if (Libc.SetSockOpt(_fd.Value, Libc.SOL_IPV6, JoinGroup6, request, 20) != 0)
        {
            throw Libc.Failure($"join {group} on {name}");
        }
    }

    /// <exception cref="SystemCallException">The system refuses.</exception>
    public void Send(SendDatagram datagram)
    {
        var index = datagram.Interface is { } wanted
            ? _interfaces.IndexOf(wanted) ?? throw new SystemCallException($"send by {wanted}", Libc.ENODEV)
            : 0;
        if (Send(_fd, datagram, index) != 0)
        {
            throw Libc.Failure($"send to {datagram.Destination}");
        }
    }

    /// <summary>Sends by any UDP socket of the datagram's family. 0 or errno.</summary>
    public static int Send(FileDescriptor socket, SendDatagram datagram, int interfaceIndex)
    {
        const int header = 16, controlSize = 40;
        var ipv6 = datagram.Destination.AddressFamily == AddressFamily.InterNetworkV6;
        var octets = stackalloc byte[16];
        datagram.Destination.Address.TryWriteBytes(new Span<byte>(octets, 16), out var size);
        var name = stackalloc byte[SocketAddressFormat.Size];
        var nameLength = SocketAddressFormat.Write(name, new ReadOnlySpan<byte>(octets, size), (ushort)datagram.Destination.Port);
        var control = stackalloc byte[controlSize];
        new Span<byte>(control, controlSize).Clear();
        if (ipv6)
        {
            // struct in6_pktinfo: address, interface index.
            *(Libc.CmsgHdr*)control = new Libc.CmsgHdr { Length = header + 20, Level = Libc.SOL_IPV6, Type = PacketInfo6 };
            datagram.Source.Address.TryWriteBytes(new Span<byte>(control + header, 16), out _);
            *(int*)(control + header + 16) = interfaceIndex;
        }
        else
        {
            // struct in_pktinfo: interface index, source, destination.
            *(Libc.CmsgHdr*)control = new Libc.CmsgHdr { Length = header + 12, Level = Libc.SOL_IP, Type = PacketInfo4 };
            *(int*)(control + header) = interfaceIndex;
            datagram.Source.Address.TryWriteBytes(new Span<byte>(control + header + 4, 4), out _);
        }

        fixed (byte* payload = datagram.Payload.Span)
        {
            var vector = new Libc.IoVec { Base = payload, Length = (nuint)datagram.Payload.Length };
            var message = new Libc.MsgHdr
            {
                Name = name,
                NameLength = nameLength,
                Vectors = &vector,
                VectorCount = 1,
                Control = control,
                ControlLength = (nuint)(ipv6 ? controlSize : 32),
            };
            return Libc.SendMessage(socket.Value, &message, 0) < 0 ? Libc.LastError : 0;
        }
    }

    /// <summary>A datagram of a batch of this socket; null for one that does not tell for whom it was.</summary>
    public DatagramReceived? Received(DatagramBatch batch, int index)
    {
        var about = batch.About(index);
        return about.Destination.IsEmpty
            ? null
            : new DatagramReceived(
                new IPEndPoint(new IPAddress(batch.Source(index)), batch.SourcePort(index)), new IPEndPoint(new IPAddress(about.Destination), _port),
                batch.Data(index).ToArray(), _interfaces.NameOf(about.InterfaceIndex));
    }

    public void Dispose() => _fd.Dispose();
}
