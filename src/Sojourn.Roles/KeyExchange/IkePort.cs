using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.KeyExchange;

/// <summary>
/// The two UDP ports of an IKE engine on real sockets: one socket for each local address and port, opened when the address is
/// added or first sent from. Each has a thread that reads. ESP that arrives on the NAT traversal port is left to whoever shares
/// it; the engine drops what has no marker.
/// </summary>
public sealed class IkePort(Action<EngineInput> deliver, Action<string, long> count, NetworkNamespace? space = null) : IEffectPort, IDisposable
{
    private const int LongestDatagram = 65_535;

    private readonly Lock _gate = new();
    private readonly Dictionary<IPEndPoint, Socket> _sockets = [];
    private bool _disposed;

    /// <summary>Listens on an address of this node.</summary>
    /// <exception cref="SocketException">The address is not here, or the port is taken.</exception>
    public void Listen(IPEndPoint local) => Open(local);

    public bool TryCarryOut(Effect effect)
    {
        if (effect is not SendDatagram datagram)
        {
            return false;
        }

        try
        {
            Open(datagram.Source).SendTo(datagram.Payload.Span, datagram.Destination);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            count("ike.port.send_failed", 1);
        }

        return true;
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _disposed = true;
            foreach (var socket in _sockets.Values)
            {
                socket.Dispose();
            }

            _sockets.Clear();
        }
    }

    private Socket Open(IPEndPoint local)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_sockets.TryGetValue(local, out var known))
            {
                return known;
            }

            Socket Make()
            {
                var made = new Socket(local.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
                try
                {
                    made.Bind(local);
                    return made;
                }
                catch
                {
                    made.Dispose();
                    throw;
                }
            }

            var socket = space is null ? Make() : space.Run(Make);
            _sockets.Add(local, socket);
            new Thread(() => Read(socket, local)) { IsBackground = true, Name = $"ike {local}" }.Start();
            return socket;
        }
    }

    private void Read(Socket socket, IPEndPoint local)
    {
        var buffer = new byte[LongestDatagram];
        EndPoint from = new IPEndPoint(local.AddressFamily == AddressFamily.InterNetworkV6 ? IPAddress.IPv6Any : IPAddress.Any, 0);
        while (true)
        {
            try
            {
                var length = socket.ReceiveFrom(buffer, ref from);
                deliver(new DatagramReceived((IPEndPoint)from, local, buffer[..length]));
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.ConnectionRefused or SocketError.HostUnreachable or SocketError.NetworkUnreachable)
            {
                // An ICMP error for something sent earlier; retransmission takes care of it.
                count("ike.port.unreachable", 1);
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                return;
            }
        }
    }
}
