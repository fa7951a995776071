using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Sojourn.DataPath.Netlink;

namespace Sojourn.Benchmarks;

/// <summary>Datagrams of one stretch.</summary>
/// <param name="Seconds">How long was sent.</param>
/// <param name="Carried">Arrived while others were still being sent.</param>
/// <param name="Arrived">Arrived at all: what stands in a queue at the end comes later.</param>
/// <param name="DelayP99">One way, in milliseconds; at most 99 % of those that arrived took longer.</param>
internal sealed record UdpStretch(double Seconds, long Sent, long Carried, long Arrived, double DelayP99)
{
    public double Loss => Sent == 0 ? 0 : 1 - ((double)Arrived / Sent);

    /// <summary>Thousand datagrams a second.</summary>
    public double Rate => Carried / Seconds / 1e3;
}

/// <summary>
/// Datagrams from one host to another at a rate, each with the time it left: sender and receiver are threads of this process with one clock. The rate is kept in
/// steps of a fifth of a millisecond; a sender that cannot keep it sends as fast as it can.
/// </summary>
internal sealed partial class UdpTraffic : IDisposable
{
    private const int Port = 5400, HeaderLength = 12;
    private const int SolSocket = 1, ReceiveBufferForce = 33;

    private readonly Socket _sender, _receiver;
    private readonly Thread _thread;

    /// <summary>Arrivals by delay in steps of 10 µs; longer than the last is counted there.</summary>
    private readonly long[] _delays = new long[200_000];

    private long _arrived;
    private uint _stretch;
    private volatile bool _ended;

    public UdpTraffic(NetworkNamespace from, NetworkNamespace to, string address)
    {
        var far = new IPEndPoint(IPAddress.Parse(address), Port);
        _receiver = to.Run(() => new Socket(far.AddressFamily, SocketType.Dgram, ProtocolType.Udp));

        // Twice that in the kernel: what a receiver waits for the processor is not the line's loss.
        Span<byte> size = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(size, 8 << 20);
        _receiver.SetRawSocketOption(SolSocket, ReceiveBufferForce, size);
        _receiver.ReceiveTimeout = 200;
        _receiver.Bind(far);
        _sender = from.Run(() => new Socket(far.AddressFamily, SocketType.Dgram, ProtocolType.Udp));
        _sender.Connect(far);
        _thread = new Thread(Receive) { IsBackground = true, Name = "datagram receiver" };
        _thread.Start();
    }

    /// <param name="rate">Datagrams per second; infinity: as fast as one thread can.</param>
    /// <param name="length">Octets of UDP payload.</param>
    public UdpStretch Send(double rate, TimeSpan time, int length)
    {
        var packet = new byte[length];
        Interlocked.Increment(ref _stretch);
        Array.Clear(_delays);
        Interlocked.Exchange(ref _arrived, 0);
        BinaryPrimitives.WriteUInt32LittleEndian(packet, _stretch);
        var sent = 0L;
        var watch = Stopwatch.StartNew();
        while (watch.Elapsed < time)
        {
            for (var due = double.IsInfinity(rate) ? sent + 64 : (long)(watch.Elapsed.TotalSeconds * rate); sent < due && watch.Elapsed < time; sent++)
            {
                BinaryPrimitives.WriteInt64LittleEndian(packet.AsSpan(4), DatagramReceipts.Now);
                try
                {
                    _sender.Send(packet);
                }
                catch (SocketException e) when (e.SocketErrorCode is SocketError.NoBufferSpaceAvailable or SocketError.ConnectionRefused or SocketError.NetworkUnreachable or SocketError.HostUnreachable)
                {
                    // Lost, as it would be further on.
                }
            }

            if (!double.IsInfinity(rate))
            {
                _ = SleepMicroseconds(200);
            }
        }

        var seconds = watch.Elapsed.TotalSeconds;
        var carried = Interlocked.Read(ref _arrived);

        // Queues run empty.
        long before;
        do
        {
            before = Interlocked.Read(ref _arrived);
            Thread.Sleep(100);
        }
        while (Interlocked.Read(ref _arrived) != before);
        return new UdpStretch(seconds, sent, carried, before, Percentile(before, 0.99));
    }

    /// <summary>The highest rate of which at most a hundredth is lost, by halving between nothing and what was sent at full speed.</summary>
    /// <returns>Thousand datagrams a second that arrived at that rate.</returns>
    public double Highest(TimeSpan time, int length, int trials)
    {
        const double Allowed = 0.01;
        var flood = Send(double.PositiveInfinity, time, length);
        if (flood.Loss <= Allowed)
        {
            return flood.Rate;
        }

        var (low, high, best) = (0.0, flood.Sent / flood.Seconds, 0.0);
        for (var (trial, rate) = (0, Math.Min(flood.Rate * 1e3, high)); trial < trials; trial++, rate = (low + high) / 2)
        {
            var stretch = Send(rate, time, length);
            if (stretch.Loss <= Allowed)
            {
                (low, best) = (rate, Math.Max(best, stretch.Arrived / stretch.Seconds / 1e3));
            }
            else
            {
                high = rate;
            }
        }

        return best;
    }

    public void Dispose()
    {
        _ended = true;
        _thread.Join();
        _sender.Dispose();
        _receiver.Dispose();
    }

    private void Receive()
    {
        using var batch = new DatagramReceipts(_receiver);
        while (!_ended)
        {
            var count = batch.Receive();
            for (var i = 0; i < count; i++)
            {
                var datagram = batch[i];
                if (datagram.Length >= HeaderLength && BinaryPrimitives.ReadUInt32LittleEndian(datagram) == Volatile.Read(ref _stretch))
                {
                    var delay = (batch.Arrived(i) - BinaryPrimitives.ReadInt64LittleEndian(datagram[4..])) / 10_000;
                    _delays[Math.Clamp((int)delay, 0, _delays.Length - 1)]++;
                    Interlocked.Increment(ref _arrived);
                }
            }
        }
    }

    private double Percentile(long count, double share)
    {
        var sum = 0L;
        for (var i = 0; i < _delays.Length; i++)
        {
            if ((sum += _delays[i]) >= count * share)
            {
                return (i + 1) / 100.0;
            }
        }

        return double.NaN;
    }

    [LibraryImport("libc", EntryPoint = "usleep")]
    private static partial int SleepMicroseconds(uint time);
}

/// <summary>A small datagram every so often to a host that sends it back; when each came back.</summary>
internal sealed class EchoFlow : IDisposable
{
    private const int Port = 5401;

    private readonly Socket _socket, _echo;
    private readonly Thread[] _threads;
    private readonly List<long> _replies = [];
    private volatile bool _ended;

    public EchoFlow(NetworkNamespace from, NetworkNamespace to, string address, TimeSpan interval)
    {
        var far = new IPEndPoint(IPAddress.Parse(address), Port);
        _echo = to.Run(() => new Socket(far.AddressFamily, SocketType.Dgram, ProtocolType.Udp));
        _echo.ReceiveTimeout = 200;
        _echo.Bind(far);
        _socket = from.Run(() => new Socket(far.AddressFamily, SocketType.Dgram, ProtocolType.Udp));
        _socket.ReceiveTimeout = 200;
        _socket.Connect(far);
        _threads = [new Thread(Answer), new Thread(Listen), new Thread(() => Ask(interval))];
        foreach (var thread in _threads)
        {
            thread.IsBackground = true;
            thread.Start();
        }
    }

    /// <summary><see cref="Stopwatch"/> times at which replies came, in order.</summary>
    public IReadOnlyList<long> Replies
    {
        get
        {
            lock (_replies)
            {
                return [.. _replies];
            }
        }
    }

    public void Dispose()
    {
        _ended = true;
        foreach (var thread in _threads)
        {
            thread.Join();
        }

        _socket.Dispose();
        _echo.Dispose();
    }

    private void Ask(TimeSpan interval)
    {
        byte[] packet = [1, 2, 3, 4];
        while (!_ended)
        {
            Quietly(() => _socket.Send(packet));
            Thread.Sleep(interval);
        }
    }

    private void Listen()
    {
        var buffer = new byte[64];
        while (!_ended)
        {
            Quietly(() =>
            {
                _socket.Receive(buffer);
                lock (_replies)
                {
                    _replies.Add(Stopwatch.GetTimestamp());
                }
            });
        }
    }

    private void Answer()
    {
        var buffer = new byte[64];
        EndPoint from = new IPEndPoint(_echo.AddressFamily == AddressFamily.InterNetwork ? IPAddress.Any : IPAddress.IPv6Any, 0);
        while (!_ended)
        {
            Quietly(() => _echo.SendTo(buffer.AsSpan(0, _echo.ReceiveFrom(buffer, ref from)), from));
        }
    }

    /// <summary>A path that is not there yet, or no more, is what is waited for.</summary>
    private static void Quietly(Action action)
    {
        try
        {
            action();
        }
        catch (SocketException)
        {
        }
    }
}
