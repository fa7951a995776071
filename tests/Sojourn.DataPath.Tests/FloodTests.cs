using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.DiffServ;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Xunit;
using Xunit.Abstractions;

namespace Sojourn.DataPath.Tests;

/// <summary>Tests that measure: nothing else of this project runs beside them.</summary>
[CollectionDefinition(nameof(Measurements), DisableParallelization = true)]
public class Measurements;

[Collection(nameof(Measurements))]
public class FloodTests(ITestOutputHelper output)
{
    private const double Capacity = 20e6;

    private const int Voices = 2500;

    /// <summary>Packets that may wait in the kernel for the gateway's thread: half of what its queue takes (500).</summary>
    private const int MayWait = 250;

    /// <summary>
    /// 5 % of the capacity expedited, 200 % best effort. The host may stall for a while, in any of its threads: then the voice
    /// makes a pause, as a microphone does, and the flood waits until the gateway reads again, so that neither is lost before it
    /// comes to the scheduler; and buffers behind it are large. Flood is made up for, so that it stays twice the capacity.
    /// </summary>
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
        using var receiver = new Counter(PacketPathTests.Udp(pair.B, 7000), PacketPathTests.Udp(pair.B, 7001));
        using var expedited = PacketPathTests.Udp(pair.A);
        using var flood = PacketPathTests.Udp(pair.A);
        expedited.SetSocketOption(SocketOptionLevel.IP, SocketOptionName.TypeOfService, marked ? 46 << 2 : 0);
        var host = IPAddress.Parse("10.2.0.2");
        var (voice, data) = (new byte[200 - 28], new byte[1400 - 28]);
        var (read, core) = (GatewayPair.Counter(pair.PathA, "datapath.tun_read"), Carried(pair));
        var (clock, last, speaking, served, progress, sending) = (Stopwatch.StartNew(), 0.0, 0.0, 0.0, 0.0, 0L);
        long voices = 0, floods = 0;
        while (voices < Voices || floods * 1400 * 8 < clock.Elapsed.TotalSeconds * Capacity * 1.8)
        {
            Assert.True(clock.Elapsed.TotalSeconds < 40, $"the host is too slow for a flood: {voices} and {floods} packets in {clock.Elapsed.TotalSeconds:F0} s\n{pair.Describe()}");
            var (now, sent) = (clock.Elapsed.TotalSeconds, GatewayPair.Counter(pair.PathA, "datapath.outer_sent"));
            speaking += Math.Min(now - last, 0.005);
            // Time in which both ends ran: neither this thread nor the gateway's stood still for longer than the shaper makes up for.
            progress = sent > sending ? now : progress;
            served += now - progress < 0.004 ? Math.Min(now - last, 0.005) : 0;
            (last, sending) = (now, sent);
            var waiting = voices + floods - (GatewayPair.Counter(pair.PathA, "datapath.tun_read") - read);
            for (; voices * 200 * 8 < speaking * Capacity * 0.05 && voices < Voices; voices++, waiting++)
            {
                BinaryPrimitives.WriteInt64BigEndian(voice, Stopwatch.GetTimestamp());
                expedited.SendTo(voice, new IPEndPoint(host, 7000));
            }

            for (; floods * 1400 * 8 < now * Capacity * 2 && waiting < MayWait; floods++, waiting++)
            {
                flood.SendTo(data, new IPEndPoint(host, 7001));
            }

            Thread.Sleep(1);
        }

        var seconds = clock.Elapsed.TotalSeconds;
        // The queue of 256 KiB drains after the last packet was sent.
        Assert.True(SpinWait.SpinUntil(() => pair.PathA.Report().Classes.All(entry => entry.WaitingPackets == 0), TimeSpan.FromSeconds(10)));
        Thread.Sleep(500);
        var lost = voices - receiver.Expedited;
        var outer = Carried(pair) - core;
        var classes = pair.PathA.Report().Classes;
        var described = $"expedited {receiver.Expedited}/{voices}, flood {receiver.Flood}/{floods} in {seconds:F1} s, served {served:F1} s, outer {outer / seconds / 1e6:F2} Mbit/s, worst delay {receiver.WorstDelay.TotalMilliseconds:F1} ms\n{string.Join('\n', classes)}\n{pair.Describe()}";
        if (!marked)
        {
            // The control: unmarked, the same flow waits in the flood's queue (256 KiB are 105 ms at this rate).
            Assert.True(receiver.WorstDelay > TimeSpan.FromMilliseconds(60), described);
            return;
        }

        Assert.True(lost < voices * 0.001, described);
        Assert.True(receiver.Flood < floods * 0.6, described);
        Assert.InRange(outer, Capacity * served * 0.8, (Capacity * seconds * 1.01) + (256 * 1024 * 8 * 1.1));
        Assert.Equal(0, classes.Single(entry => entry.Class == ForwardingClass.Expedited).Dropped);
        Assert.True(classes.Single(entry => entry.Class == ForwardingClass.BestEffort).Dropped > floods * 0.4, described);
    }

    /// <summary>Bits of IP that came from the first gateway, by the core's own count: of that nothing is ever missed.</summary>
    private static long Carried(GatewayPair pair) => pair.Core.Run(() =>
    {
        // proc(5): octets and packets received come first; each frame has 14 octets of Ethernet.
        var counts = File.ReadAllLines("/proc/thread-self/net/dev").Single(line => line.Trim().StartsWith("west:", StringComparison.Ordinal))
            .Split(':')[1].Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(long.Parse).ToArray();
        return (counts[0] - (14 * counts[1])) * 8;
    });

    /// <summary>
    /// More than the gateway can carry, without a shaper and without marks: what is too much is given up in the gateway's own queue, and the
    /// gateway goes on carrying. Whose it is and in what order flows are served is what <see cref="FlowQueueTests"/> shows; how long packets wait here is
    /// said and not judged, as the machine is what they wait for besides.
    /// </summary>
    [Theory]
    [InlineData(1372)]
    [InlineData(36)]
    public void More_than_can_be_carried_is_given_up_by_the_queue_and_the_rest_goes_through(int octets)
    {
        using var pair = new GatewayPair();
        pair.Connect(SecurityType.Esp, udp: true);
        Assert.Equal(0, TestNetwork.Exec(pair.A, "ping", "-c1", "-W2", "10.2.0.2").Status);
        using var receiver = new Counter(PacketPathTests.Udp(pair.B, 7000), PacketPathTests.Udp(pair.B, 7001));
        using var little = PacketPathTests.Udp(pair.A);
        var (host, clock) = (IPAddress.Parse("10.2.0.2"), Stopwatch.StartNew());
        var (stopping, sent, sparse) = (false, 0L, 0L);
        var flooders = Enumerable.Range(0, 2).Select(_ => new Thread(() =>
        {
            using var socket = PacketPathTests.Udp(pair.A);
            socket.Connect(host, 7001);
            for (var data = new byte[octets]; !Volatile.Read(ref stopping); Interlocked.Increment(ref sent))
            {
                BinaryPrimitives.WriteInt64BigEndian(data, Stopwatch.GetTimestamp());
                socket.Send(data);
            }
        })
        { IsBackground = true }).ToList();
        flooders.ForEach(flooder => flooder.Start());
        var voice = new byte[172];
        for (; clock.Elapsed.TotalSeconds < 2 || (clock.Elapsed.TotalSeconds < 40 && GatewayPair.Counter(pair.PathA, "datapath.delay_dropped") < 1000); sparse++)
        {
            BinaryPrimitives.WriteInt64BigEndian(voice, Stopwatch.GetTimestamp());
            little.SendTo(voice, new IPEndPoint(host, 7000));
            Thread.Sleep(2);
        }

        Volatile.Write(ref stopping, true);
        flooders.ForEach(flooder => flooder.Join());
        var seconds = clock.Elapsed.TotalSeconds;
        Thread.Sleep(300);
        var (waits, floods) = (receiver.DelaysOfExpedited, receiver.DelaysOfFlood);
        var figures = $"{octets} octets: {sent / seconds:F0}/s sent, {receiver.Flood / seconds:F0}/s carried; delay, ms, half and 99 of 100: flood {Percentile(floods, 50):F2}, {Percentile(floods, 99):F2}; "
            + $"beside it {Percentile(waits, 50):F2}, {Percentile(waits, 99):F2}, {receiver.Expedited} of {sparse} arrived\n{pair.Describe()}";
        output.WriteLine(figures);
        Assert.True(GatewayPair.Counter(pair.PathA, "datapath.delay_dropped") >= 1000, figures);
        Assert.True(receiver.Flood > 100 && receiver.Expedited > 0, figures);
    }

    private static double Percentile(List<TimeSpan> delays, int percent) => delays.Order().ElementAt(delays.Count * percent / 100).TotalMilliseconds;

    /// <summary>Counts what arrives on two sockets.</summary>
    private sealed class Counter : IDisposable
    {
        private readonly Socket[] _sockets;
        private readonly Thread _thread;
        private volatile bool _stopping;

        public Counter(Socket expedited, Socket flood)
        {
            _sockets = [expedited, flood];
            foreach (var socket in _sockets)
            {
                // SO_RCVBUFFORCE: eight megabytes are seconds of either flow.
                socket.SetRawSocketOption(1, 33, BitConverter.GetBytes(8 << 20));
            }

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
                            var delay = Stopwatch.GetElapsedTime(BinaryPrimitives.ReadInt64BigEndian(buffer));
                            (socket == flood ? DelaysOfFlood : DelaysOfExpedited).Add(delay);
                            if (socket == flood)
                            {
                                Flood++;
                                continue;
                            }

                            Expedited++;
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

        public List<TimeSpan> DelaysOfExpedited { get; } = [];

        /// <summary>Means something where the flood carries the time too.</summary>
        public List<TimeSpan> DelaysOfFlood { get; } = [];

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
