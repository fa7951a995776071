using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Netlink;
using Sojourn.Lab.Network;

namespace Sojourn.Lab;

/// <summary>
/// Steady flows of numbered datagrams over IPv6 from one node to another, each from a port of its own, sent and taken by the lab through plain
/// sockets of the two hosts. The number is what a datagram ends with.
/// </summary>
public sealed class FlowBundle : IDisposable
{
    private const int Octets = 32;

    private readonly Socket _taking;
    private readonly Socket[] _sending;
    private readonly Thread _sender, _taker;
    private volatile bool _stopping, _closing;
    private uint _sent;
    private int _taken;

    /// <param name="from">Namespace of the sending host.</param>
    /// <param name="to">Namespace of the host that takes the datagrams.</param>
    /// <param name="destination">What it is known by.</param>
    /// <param name="flows">How many.</param>
    /// <param name="interval">Time from one datagram of a flow to its next.</param>
    public FlowBundle(NetworkNamespace from, NetworkNamespace to, IPEndPoint destination, int flows, TimeSpan interval)
    {
        _taking = to.Run(() => Udp(destination.Port));
        _taking.ReceiveTimeout = 100;
        _sending = [.. Enumerable.Range(0, flows).Select(_ => from.Run(() => Udp(0)))];
        Ports = [.. _sending.Select(s => ((IPEndPoint)s.LocalEndPoint!).Port)];
        _taker = new Thread(Take) { IsBackground = true, Name = "flows, taking" };
        _sender = new Thread(() => Send(destination, interval)) { IsBackground = true, Name = "flows, sending" };
        _taker.Start();
        _sender.Start();
    }

    /// <summary>Source ports, by flow.</summary>
    public IReadOnlyList<int> Ports { get; }

    /// <summary>Datagrams of all flows that left the sending host. Complete once they have been stopped.</summary>
    public int Sent => (int)_sent * _sending.Length;

    /// <summary>Those that arrived.</summary>
    public int Taken => _taken;

    /// <summary>Ends the sending, and the taking when all has arrived or what was under way has had its time to.</summary>
    public async Task StopAsync(TimeSpan patience, CancellationToken cancellation)
    {
        _stopping = true;
        _sender.Join();
        for (var watch = Stopwatch.StartNew(); _taken < Sent && watch.Elapsed < patience;)
        {
            await Task.Delay(20, cancellation);
        }

        _closing = true;
        _taker.Join();
    }

    public void Dispose()
    {
        _stopping = _closing = true;
        _sender.Join();
        _taker.Join();
        _taking.Dispose();
        foreach (var socket in _sending)
        {
            socket.Dispose();
        }
    }

    private static Socket Udp(int port)
    {
        var socket = new Socket(AddressFamily.InterNetworkV6, SocketType.Dgram, ProtocolType.Udp) { ReceiveBufferSize = 1 << 20 };
        socket.Bind(new IPEndPoint(IPAddress.IPv6Any, port));
        return socket;
    }

    private void Send(IPEndPoint destination, TimeSpan interval)
    {
        PreciseWait.SharpenThread();
        Span<byte> datagram = new byte[Octets];
        for (var start = Stopwatch.GetTimestamp(); !_stopping; _sent++)
        {
            BinaryPrimitives.WriteUInt32BigEndian(datagram[^4..], _sent);
            foreach (var socket in _sending)
            {
                try
                {
                    socket.SendTo(datagram, destination);
                }
                catch (SocketException)
                {
                    // Told by an ICMPv6 error that an earlier one did not get there.
                }
            }

            var wait = (interval * (_sent + 1)) - Stopwatch.GetElapsedTime(start);
            if (wait > TimeSpan.Zero)
            {
                Thread.Sleep(wait);
            }
        }
    }

    private void Take()
    {
        Span<byte> datagram = stackalloc byte[2048];
        while (!_closing)
        {
            try
            {
                _taken += _taking.Receive(datagram) == Octets ? 1 : 0;
            }
            catch (SocketException)
            {
                // Nothing for a while.
            }
        }
    }
}
