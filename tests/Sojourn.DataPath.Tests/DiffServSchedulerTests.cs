using Sojourn.DataPath.DiffServ;
using Xunit;

namespace Sojourn.DataPath.Tests;

public class DiffServSchedulerTests
{
    private const long Second = 1_000_000_000;

    private readonly record struct Packet(byte Dscp, int Octets, long Arrived);

    private sealed class Flow(byte dscp, int octets, double bitsPerSecond)
    {
        public readonly byte Dscp = dscp;
        public readonly int Octets = octets;
        public readonly double Gap = octets * 8e9 / bitsPerSecond;
        public double Next;
        public long Offered, Sent, SentOctets, Lost, WorstDelay;
    }

    /// <summary>Offers constant-rate flows to a scheduler for some virtual seconds.</summary>
    private static long Run(DiffServOptions options, double seconds, params Flow[] flows)
    {
        var byDscp = flows.ToDictionary(flow => flow.Dscp);
        var scheduler = new DiffServScheduler<Packet>(options, 0, packet => byDscp[packet.Dscp].Lost++);
        long now = 0, octets = 0;
        var end = (long)(seconds * Second);
        while (now < end)
        {
            foreach (var flow in flows)
            {
                while (flow.Next <= now)
                {
                    scheduler.Enqueue(new Packet(flow.Dscp, flow.Octets, now), flow.Octets, flow.Dscp);
                    flow.Offered++;
                    flow.Next += flow.Gap;
                }
            }

            while (scheduler.TryDequeue(now, out var packet, out var forwarding))
            {
                scheduler.Charge(forwarding, packet.Octets, now);
                var flow = byDscp[packet.Dscp];
                flow.Sent++;
                flow.SentOctets += packet.Octets;
                flow.WorstDelay = Math.Max(flow.WorstDelay, now - packet.Arrived);
                octets += packet.Octets;
            }

            now = (long)Math.Max(now + 1, Math.Min(flows.Min(flow => flow.Next), scheduler.NextDeparture ?? long.MaxValue));
        }

        return octets;
    }

    [Fact]
    [Trait("Row", "NV9.4")]
    public void Expedited_packets_survive_a_best_effort_flood_of_twice_the_capacity()
    {
        var expedited = new Flow(46, 200, 1e6);
        var flood = new Flow(0, 1400, 40e6);
        var octets = Run(new DiffServOptions { Rate = 20_000_000 }, 10, flood, expedited);

        Assert.Equal(0, expedited.Lost);
        Assert.True(expedited.Offered - expedited.Sent <= 1);
        Assert.True(expedited.WorstDelay < 2_000_000, $"worst delay {expedited.WorstDelay} ns");
        Assert.True(flood.Lost > flood.Offered * 0.45, $"flood lost {flood.Lost} of {flood.Offered}");
        Assert.InRange(octets * 8 / 10, 19_900_000, 20_100_000);
    }

    [Fact]
    public void Expedited_packets_above_their_share_do_not_starve_the_others()
    {
        var expedited = new Flow(46, 1000, 40e6);
        var effort = new Flow(0, 1000, 20e6);
        Run(new DiffServOptions { Rate = 20_000_000, ExpeditedShare = 0.3 }, 5, expedited, effort);
        Assert.InRange(expedited.SentOctets * 8 / 5, 5_800_000, 6_300_000);
        Assert.InRange(effort.SentOctets * 8 / 5, 13_500_000, 14_200_000);
        Assert.True(expedited.Lost > 0);
    }

    [Fact]
    public void Alone_the_expedited_class_may_use_the_whole_rate()
    {
        var expedited = new Flow(46, 1000, 30e6);
        Run(new DiffServOptions { Rate = 20_000_000, ExpeditedShare = 0.3 }, 5, expedited);
        Assert.InRange(expedited.SentOctets * 8 / 5, 19_800_000, 20_200_000);
    }

    [Fact]
    public void Classes_share_by_weight_in_octets_whatever_their_packet_sizes()
    {
        Flow af4 = new(34, 200, 30e6), af1 = new(10, 1500, 30e6), effort = new(0, 700, 30e6);
        Run(new DiffServOptions { Rate = 14_000_000 }, 10, af4, af1, effort);
        Assert.InRange((double)af4.SentOctets / effort.SentOctets, 3.8, 4.2);
        Assert.InRange((double)af1.SentOctets / effort.SentOctets, 1.9, 2.1);
    }

    [Fact]
    public void An_unused_share_goes_to_whoever_waits()
    {
        Flow af4 = new(34, 1000, 1e6), effort = new(0, 1000, 30e6);
        Run(new DiffServOptions { Rate = 10_000_000 }, 10, af4, effort);
        Assert.Equal(0, af4.Lost);
        Assert.InRange(effort.SentOctets * 8 / 10, 8_900_000, 9_100_000);
    }

    [Fact]
    public void Higher_drop_precedence_goes_first()
    {
        var lost = new List<byte>();
        var options = new DiffServOptions { Rate = 1_000_000, Queues = new Dictionary<ForwardingClass, QueueOptions> { [ForwardingClass.Assured1] = new(1, 8000) } };
        var scheduler = new DiffServScheduler<byte>(options, 0, lost.Add);
        foreach (var dscp in (byte[])[10, 10, 10, 14, 14, 12, 12, 12, 10, 10, 10])
        {
            scheduler.Enqueue(dscp, 1000, dscp);
        }

        Assert.Equal([14, 12, 10], lost);
        Assert.Equal(8, scheduler.Waiting);
    }

    [Fact]
    public void A_full_queue_gives_up_its_oldest_packet_where_told_to()
    {
        var lost = new List<int>();
        var options = new DiffServOptions { Rate = 1_000_000, Queues = new Dictionary<ForwardingClass, QueueOptions> { [ForwardingClass.Expedited] = new(0, 3000, DropOldest: true) } };
        var scheduler = new DiffServScheduler<int>(options, 0, lost.Add);
        for (var i = 0; i < 5; i++)
        {
            scheduler.Enqueue(i, 1000, 46);
        }

        scheduler.Enqueue(99, 4000, 46);
        Assert.Equal([0, 1, 2, 3, 4, 99], lost);
        Assert.Equal(6, scheduler.Report(ForwardingClass.Expedited).Dropped);
    }

    [Fact]
    public void A_meter_drops_what_exceeds_its_rate()
    {
        var options = new DiffServOptions { Queues = new Dictionary<ForwardingClass, QueueOptions> { [ForwardingClass.Expedited] = new(0, 10_000, Meter: new MeterOptions(800_000, 2000)) } };
        var scheduler = new DiffServScheduler<int>(options, 0, _ => { });
        var passed = Enumerable.Range(0, 2000).Count(i => scheduler.TryAdmit(1000, 46, i * Second / 1000));
        Assert.InRange(passed, 200, 203);
        Assert.Equal(2000 - passed, scheduler.Report(ForwardingClass.Expedited).Dropped);
        Assert.True(scheduler.TryAdmit(1000, 0, 2 * Second));
    }

    [Fact]
    public void A_flood_of_tiny_packets_holds_no_more_buffers_than_its_queue_allows()
    {
        var lost = 0;
        var scheduler = new DiffServScheduler<int>(new DiffServOptions { Rate = 1_000_000 }, 0, _ => lost++);
        for (var i = 0; i < 10_000; i++)
        {
            scheduler.Enqueue(i, 40, 0);
        }

        Assert.Equal(512, scheduler.Waiting);
        Assert.Equal(10_000 - 512, lost);
    }

    [Fact]
    public void Packets_leave_evenly_spaced_at_the_rate()
    {
        var scheduler = new DiffServScheduler<int>(new DiffServOptions { Rate = 8_000_000, Burst = TimeSpan.Zero }, 0, _ => { });
        for (var i = 0; i < 10; i++)
        {
            scheduler.Enqueue(i, 1000, 0);
        }

        var departures = new List<long>();
        long now = 0;
        while (scheduler.NextDeparture is { } at)
        {
            now = Math.Max(now, at);
            Assert.True(scheduler.TryDequeue(now, out _, out var forwarding));
            scheduler.Charge(forwarding, 1000, now);
            Assert.False(scheduler.TryDequeue(now + 999_999, out _, out _));
            departures.Add(now);
        }

        Assert.Equal(Enumerable.Range(0, 10).Select(i => i * 1_000_000L), departures);
    }

    [Theory]
    [InlineData(46, ForwardingClass.Expedited, 1)]
    [InlineData(48, ForwardingClass.Control, 1)]
    [InlineData(34, ForwardingClass.Assured4, 1)]
    [InlineData(28, ForwardingClass.Assured3, 2)]
    [InlineData(22, ForwardingClass.Assured2, 3)]
    [InlineData(10, ForwardingClass.Assured1, 1)]
    [InlineData(8, ForwardingClass.BestEffort, 1)]
    [InlineData(16, ForwardingClass.Assured2, 1)]
    [InlineData(63, ForwardingClass.BestEffort, 1)]
    public void Code_points_belong_to_their_classes(byte dscp, ForwardingClass expected, int precedence)
    {
        Assert.Equal(expected, ForwardingClasses.Of(dscp));
        Assert.Equal(precedence, ForwardingClasses.DropPrecedence(dscp));
    }
}
