using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Netlink;
using Sojourn.Lab.Network;

namespace Sojourn.Lab;

/// <summary>
/// Steady flows of numbered datagrams from one node to another, each from a port of its own, sent and taken by the lab through plain sockets of the
/// two hosts: what an application there would send and get. The number is what a datagram begins with.
/// </summary>
public sealed class Flow : IDisposable
{
    /// <summary>Discard (RFC 863): no Sojourn node listens there.</summary>
    public const ushort Port = 9;

    /// <summary>What is still under way so long after the last was sent counts as lost.</summary>
    private static readonly TimeSpan s_longest = TimeSpan.FromSeconds(10);

    private readonly Socket _taking;
    private readonly Socket[] _sending;
    private readonly IPEndPoint _destination;
    private readonly TimeSpan _interval;
    private readonly int _octets;
    private readonly Thread _sender, _taker;
    private readonly Dictionary<uint, int> _taken = [];
    private volatile bool _stopping, _closing;
    private uint _sent;
    private long _lastTaken;

    /// <param name="from">Namespace of the sending host.</param>
    /// <param name="to">Namespace of the host that takes the datagrams.</param>
    /// <param name="destination">Address it is known by.</param>
    /// <param name="interval">Time from one datagram of a flow to its next.</param>
    /// <param name="octets">UDP payload of each, at least 4 octets.</param>
    /// <param name="flows">How many.</param>
    public Flow(NetworkNamespace from, NetworkNamespace to, IPAddress destination, TimeSpan interval, int octets = 64, int flows = 1)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(octets, 4);
        _octets = octets;
        _destination = new IPEndPoint(destination, Port);
        _interval = interval;
        _taking = to.Run(() => Udp(destination.AddressFamily, Port));
        _sending = [.. Enumerable.Range(0, flows).Select(_ => from.Run(() => Udp(destination.AddressFamily, 0)))];
        SourcePorts = [.. _sending.Select(s => ((IPEndPoint)s.LocalEndPoint!).Port)];
        _taking.ReceiveTimeout = 200;
        _taker = new Thread(Take) { IsBackground = true, Name = "flow, taking" };
        _sender = new Thread(Send) { IsBackground = true, Name = "flow, sending", Priority = ThreadPriority.AboveNormal };
        _taker.Start();
        _sender.Start();
    }

    /// <summary>By flow.</summary>
    public IReadOnlyList<int> SourcePorts { get; }

    /// <summary>Datagrams of each flow that left the sending host; their numbers begin with 0.</summary>
    public uint Sent => _sent;

    /// <summary>How often each number arrived, of all flows. Complete once they have been stopped.</summary>
    public IReadOnlyDictionary<uint, int> Taken => _taken;

    /// <summary>The number in a datagram; null when it is none of a flow.</summary>
    public static uint? NumberOf(Capture.Ipv4Packet packet) =>
        packet.IsUdp && packet.DestinationPort == Port && packet.UdpData.Length >= 4 ? BinaryPrimitives.ReadUInt32BigEndian(packet.UdpData.Span) : null;

    /// <summary>
    /// Ends the sending, and the taking once nothing has arrived for a while: what waits in a queue under way, as in front of an emulated processor,
    /// is late and not lost.
    /// </summary>
    public async Task StopAsync(TimeSpan patience, CancellationToken cancellation)
    {
        _stopping = true;
        _sender.Join();
        var stopped = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(Math.Max(stopped, Volatile.Read(ref _lastTaken))) < patience && Stopwatch.GetElapsedTime(stopped) < s_longest)
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

    private static Socket Udp(AddressFamily family, int port)
    {
        var socket = new Socket(family, SocketType.Dgram, ProtocolType.Udp) { ReceiveBufferSize = 1 << 20 };
        socket.Bind(new IPEndPoint(family == AddressFamily.InterNetwork ? IPAddress.Any : IPAddress.IPv6Any, port));
        return socket;
    }

    private void Send()
    {
        PreciseWait.SharpenThread();
        Span<byte> datagram = new byte[_octets];
        var start = Stopwatch.GetTimestamp();
        while (!_stopping)
        {
            for (var due = (uint)(Stopwatch.GetElapsedTime(start) / _interval) + 1; _sent < due; _sent++)
            {
                BinaryPrimitives.WriteUInt32BigEndian(datagram, _sent);
                foreach (var socket in _sending)
                {
                    try
                    {
                        socket.SendTo(datagram, _destination);
                    }
                    catch (SocketException)
                    {
                        // A host without a way out for the moment: the number is used up, as when the packet is lost later.
                    }
                }
            }

            var wait = (_interval * _sent) - Stopwatch.GetElapsedTime(start);
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
                if (_taking.Receive(datagram) >= 4)
                {
                    var number = BinaryPrimitives.ReadUInt32BigEndian(datagram);
                    _taken[number] = _taken.GetValueOrDefault(number) + 1;
                    Volatile.Write(ref _lastTaken, Stopwatch.GetTimestamp());
                }
            }
            catch (SocketException)
            {
                // Nothing for a while.
            }
        }
    }
}
