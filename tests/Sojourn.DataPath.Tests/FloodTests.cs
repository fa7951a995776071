using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.DiffServ;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Xunit;

namespace Sojourn.DataPath.Tests;

/// <summary>Tests that measure: nothing else of this project runs beside them.</summary>
[CollectionDefinition(nameof(Measurements), DisableParallelization = true)]
public class Measurements;

[Collection(nameof(Measurements))]
public class FloodTests
{
    private const double Capacity = 20e6;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Row", "NV9.4")]
    [Trait("Row", "NV-A24")]
    public void On_real_packets_a_flow_survives_a_flood_of_twice_the_tunnels_capacity_when_it_is_marked_expedited(bool marked)
    {
        using var pair = new GatewayPair(new PacketPathOptions { DiffServ = new DiffServOptions { Rate = (long)Capacity } });
        pair.Connect(SecurityType.Esp);
        Assert.Equal(0, TestNetwork.Exec(pair.A, "ping", "-c1", "-W2", "10.2.0.2").Status);
        using var core = new PacketCapture(pair.Core, "west");
        using var receiver = new Counter(PacketPathTests.Udp(pair.B, 7000), PacketPathTests.Udp(pair.B, 7001));
        using var expedited = PacketPathTests.Udp(pair.A);
        using var flood = PacketPathTests.Udp(pair.A);
        expedited.SetSocketOption(SocketOptionLevel.IP, SocketOptionName.TypeOfService, marked ? 46 << 2 : 0);
        var host = IPAddress.Parse("10.2.0.2");
        var (voice, data) = (new byte[200 - 28], new byte[1400 - 28]);
        var clock = Stopwatch.StartNew();
        long voices = 0, floods = 0;
        while (clock.Elapsed.TotalSeconds < 4)
        {
            var bits = clock.Elapsed.TotalSeconds * Capacity;
            // 5 % of the capacity expedited, 200 % best effort, both counted as inner IP packets.
            for (; voices * 200 * 8 < bits * 0.05; voices++)
            {
                BinaryPrimitives.WriteInt64BigEndian(voice, Stopwatch.GetTimestamp());
                expedited.SendTo(voice, new IPEndPoint(host, 7000));
            }

            for (; floods * 1400 * 8 < bits * 2; floods++)
            {
                flood.SendTo(data, new IPEndPoint(host, 7001));
            }

            Thread.Sleep(1);
        }

        var seconds = clock.Elapsed.TotalSeconds;
        Thread.Sleep(500);
        var lost = voices - receiver.Expedited;
        var outer = core.Packets.ToArray().Where(packet => packet[9] == 50 && packet[12] == 192).Sum(packet => packet.Length) * 8L;
        var classes = pair.PathA.Report().Classes;
        var described = $"expedited {receiver.Expedited}/{voices}, flood {receiver.Flood}/{floods}, outer {outer / seconds / 1e6:F2} Mbit/s, worst delay {receiver.WorstDelay.TotalMilliseconds:F1} ms\n{string.Join('\n', classes)}\n{pair.Describe()}";
        if (!marked)
        {
            // The control: unmarked, the same flow waits in the flood's queue (256 KiB are 105 ms at this rate).
            Assert.True(receiver.WorstDelay > TimeSpan.FromMilliseconds(60), described);
            return;
        }

        Assert.True(lost < voices * 0.001, described);
        Assert.True(receiver.Flood < floods * 0.6, described);
        // The queue of 256 KiB drains after the last packet was sent.
        Assert.InRange(outer, Capacity * seconds * 0.9, (Capacity * seconds * 1.01) + (256 * 1024 * 8 * 1.1));
        Assert.Equal(0, classes.Single(entry => entry.Class == ForwardingClass.Expedited).Dropped);
        Assert.True(classes.Single(entry => entry.Class == ForwardingClass.BestEffort).Dropped > floods * 0.4, described);
    }

    [Theory]
    [InlineData(null)]
    [InlineData(1_000_000_000L)]
    public void Carrying_packets_allocates_nothing(long? rate)
    {
        using var pair = new GatewayPair(new PacketPathOptions { DiffServ = new DiffServOptions { Rate = rate } });
        pair.Connect(SecurityType.Esp);
        Assert.Equal(0, TestNetwork.Exec(pair.A, "ping", "-f", "-q", "-c", "2000", "10.2.0.2").Status);
        // Starting a program and the housekeeping of some seconds allocate too: the slope between two counts is what packets cost.
        const int few = 2_000, many = 22_000;
        var fixedCost = Allocated(pair, few);
        var slope = (double)(Allocated(pair, many) - fixedCost) / (many - few);
        // Each packet is carried four times on its way there and back; one object each would be 96 octets at least.
        Assert.True(slope < 24, $"{slope} octets per packet there and back");
    }

    private static long Allocated(GatewayPair pair, int packets)
    {
        var before = GC.GetTotalAllocatedBytes(precise: true);
        Assert.Equal(0, TestNetwork.Exec(pair.A, "ping", "-f", "-q", "-c", $"{packets}", "10.2.0.2").Status);
        return GC.GetTotalAllocatedBytes(precise: true) - before;
    }

    /// <summary>Counts what arrives on two sockets.</summary>
    private sealed class Counter : IDisposable
    {
        private readonly Socket[] _sockets;
        private readonly Thread _thread;
        private volatile bool _stopping;

        public Counter(Socket expedited, Socket flood)
        {
            _sockets = [expedited, flood];
            _thread = new Thread(() =>
            {
                var buffer = new byte[2048];
                while (!_stopping)
                {
                    var ready = new List<Socket>(_sockets);
                    Socket.Select(ready, null, null, 20_000);
                    foreach (var socket in ready)
                    {
                        for (var i = 0; i < 64 && socket.Available > 0; i++)
                        {
                            socket.Receive(buffer);
                            if (socket == flood)
                            {
                                Flood++;
                                continue;
                            }

                            Expedited++;
                            var delay = Stopwatch.GetElapsedTime(BinaryPrimitives.ReadInt64BigEndian(buffer));
                            WorstDelay = delay > WorstDelay ? delay : WorstDelay;
                        }
                    }
                }
            })
            { IsBackground = true };
            _thread.Start();
        }

        public long Expedited { get; private set; }

        public long Flood { get; private set; }

        public TimeSpan WorstDelay { get; private set; }

        public void Dispose()
        {
            _stopping = true;
            _thread.Join();
            foreach (var socket in _sockets)
            {
                socket.Dispose();
            }
        }
    }
}
