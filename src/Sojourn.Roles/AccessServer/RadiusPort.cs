using System.Net;
using System.Net.Sockets;
using Sojourn.Engine;
using Sojourn.Roles.Hosting;
using Sojourn.Wire.Radius;

namespace Sojourn.Roles.AccessServer;

/// <summary>UDP sockets of a RADIUS server or client: <see cref="SendDatagram"/> out, <see cref="DatagramReceived"/> in.</summary>
internal sealed class RadiusPort : IEffectPort, IDisposable
{
    private readonly Dictionary<IPEndPoint, Socket> _sockets = [];
    private readonly Action<EngineInput> _deliver;
    private readonly Action<string, long> _count;

    /// <exception cref="SocketException">An address cannot be bound.</exception>
    public RadiusPort(IEnumerable<IPEndPoint> listen, Action<EngineInput> deliver, Action<string, long> count)
    {
        (_deliver, _count) = (deliver, count);
        try
        {
            foreach (var local in listen)
            {
                var socket = new Socket(local.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
                _sockets.Add(local, socket);
                socket.Bind(local);
            }
        }
        catch
        {
            Dispose();
            throw;
        }

        foreach (var (local, socket) in _sockets)
        {
            new Thread(() => Receive(local, socket)) { Name = $"radius {local}", IsBackground = true }.Start();
        }
    }

    public bool TryCarryOut(Effect effect)
    {
        if (effect is not SendDatagram datagram || !_sockets.TryGetValue(datagram.Source, out var socket))
        {
            return false;
        }

        try
        {
            socket.SendTo(datagram.Payload.Span, datagram.Destination);
        }
        catch (SocketException)
        {
            // The network, not the node. Whoever asks repeats its question.
            _count("udp.send_failed", 1);
        }

        return true;
    }

    public void Dispose()
    {
        foreach (var socket in _sockets.Values)
        {
            socket.Dispose();
        }
    }

    private void Receive(IPEndPoint local, Socket socket)
    {
        var buffer = new byte[RadiusLimits.PacketLength];
        EndPoint from = new IPEndPoint(local.AddressFamily == AddressFamily.InterNetwork ? IPAddress.Any : IPAddress.IPv6Any, 0);
        while (true)
        {
            try
            {
                var source = from;
                var length = socket.ReceiveFrom(buffer, ref source);
                _deliver(new DatagramReceived((IPEndPoint)source, local, buffer.AsSpan(0, length).ToArray()));
            }
            catch (ObjectDisposedException)
            {
                return;
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.OperationAborted or SocketError.Interrupted or SocketError.NotSocket or SocketError.Shutdown)
            {
                return; // closed
            }
            catch (SocketException)
            {
                _count("udp.receive_failed", 1); // an ICMP error for an earlier answer, or a datagram longer than any RADIUS packet
            }
        }
    }
}
