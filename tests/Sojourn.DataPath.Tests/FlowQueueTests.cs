using System.Net;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.PacketPath;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Udp;
using Xunit;

namespace Sojourn.DataPath.Tests;

/// <summary>FQ-CoDel (RFC 8290) on a clock of the test's own: nanoseconds.</summary>
public sealed class FlowQueueTests : IDisposable
{
    private const long Millisecond = 1_000_000;

    private readonly FlowQueue _queue = new(packets: 256, shortPackets: 400, octets: 4 << 20);
    private long _now;

    public void Dispose() => _queue.Dispose();

    [Fact]
    public void Each_flow_keeps_its_order_and_none_waits_for_anothers_backlog()
    {
        for (var i = 0; i < 100; i++)
        {
            Add(flow: 1, number: i);
        }

        Add(flow: 2, number: 1000);
        Add(flow: 2, number: 1001);
        var taken = TakeAll();
        Assert.Equal(Enumerable.Range(0, 100), taken.Where(number => number < 1000));
        // One quantum of the flow that was there, then the one that has just begun.
        Assert.InRange(taken.IndexOf(1000), 0, 2);
        Assert.InRange(taken.IndexOf(1001), 0, 5);
    }

    [Fact]
    public void Two_flows_that_send_much_get_the_same_share_in_octets()
    {
        for (var i = 0; i < 100; i++)
        {
            Add(flow: 1, number: i, length: 1500);
            Add(flow: 2, number: 1000 + i, length: 500);
        }

        var octets = (First: 0, Second: 0);
        for (var i = 0; i < 60; i++)
        {
            _ = Take() < 1000 ? octets.First += 1500 : octets.Second += 500;
        }

        Assert.InRange(octets.First, octets.Second - 3100, octets.Second + 3100);
    }

    [Fact]
    public void A_burst_that_drains_loses_nothing()
    {
        for (var burst = 0; burst < 50; burst++)
        {
            for (var i = 0; i < 200; i++)
            {
                Add(flow: 1, number: i);
            }

            for (var i = 0; i < 200; i++, _now += Millisecond / 25)
            {
                Assert.Equal(i, Take());
            }
        }

        Assert.Equal(0, _queue.Dropped);
    }

    /// <summary>A sender that heeds losses halves its rate a round trip after each, as TCP does; without losses it would fill every buffer.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_queue_that_stands_is_made_short_by_losses_or_by_marks_where_the_sender_takes_them(bool takesMarks)
    {
        // One packet leaves each 100 µs; the window is what is in the queue and 5 ms of packets under way.
        var (window, heard, waits, marks) = (60.0, -100 * Millisecond, new List<long>(), 0);
        for (var step = 0; step < 60_000; step++, _now += Millisecond / 10)
        {
            while (_queue.Count + 50 < window)
            {
                Add(flow: 1, number: step, ecn: takesMarks ? Ecn.Capable0 : Ecn.NotCapable, protocol: IpProtocol.Tcp);
            }

            var before = _queue.Dropped + _queue.Marked;
            if (_queue.TryTake(_now, out var packet))
            {
                waits.Add(_now - packet.Since);
                marks += (_queue[packet.Slot][1] & Ecn.Mask) == Ecn.CongestionExperienced ? 1 : 0;
                _queue.Return(packet.Slot);
            }

            window += 1 / window;
            if (_queue.Dropped + _queue.Marked > before && _now - heard > 10 * Millisecond)
            {
                (window, heard) = (window / 2, _now);
            }
        }

        waits.Sort();
        Assert.True(_queue.Dropped + _queue.Marked > 0);
        Assert.Equal(takesMarks, _queue.Dropped == 0);
        Assert.Equal(takesMarks ? _queue.Marked : 0, marks);
        Assert.True(waits[waits.Count / 2] < 6 * Millisecond, $"half wait {waits[waits.Count / 2] / 1e6} ms");
        Assert.True(waits.Count > 60_000 * 0.9, $"{waits.Count} packets left");
    }

    /// <summary>Twice what can leave, for a second, from a sender that heeds nothing; beside it one that sends little.</summary>
    [Fact]
    public void A_flood_that_heeds_no_losses_waits_for_three_milliseconds_at_most()
    {
        var (waits, few) = (new List<long>(), 0);
        for (var step = 0; step < 10_000; step++, _now += Millisecond / 10)
        {
            Add(flow: 1, number: 2 * step);
            Add(flow: 1, number: (2 * step) + 1);
            if (step % 100 == 0)
            {
                Add(flow: 2, number: 1_000_000);
            }

            Assert.True(_queue.TryTake(_now, out var packet));
            few += BitConverter.ToInt32(_queue[packet.Slot][28..]) == 1_000_000 ? 1 : 0;
            waits.Add(_now - packet.Since);
            _queue.Return(packet.Slot);
        }

        Assert.Equal(100, few);
        Assert.InRange(waits.Take(80).Max(), 3 * Millisecond, 8 * Millisecond);
        Assert.InRange(waits.Skip(300).Max(), 2 * Millisecond, 3 * Millisecond);
        Assert.InRange(_queue.Dropped, 10_000, 10_100);
    }

    /// <summary>One packet a millisecond, and no processor for twelve out of every twenty milliseconds; half of those times while the queue is served.</summary>
    [Fact]
    public void What_waits_because_its_thread_has_no_processor_is_not_given_up()
    {
        for (var round = 0; round < 500; round++)
        {
            for (var step = 0; step < 20; step++, _now += Millisecond)
            {
                Add(flow: 1, number: (20 * round) + step);
                if (step < 12 && (step != 6 || round % 2 == 0))
                {
                    continue;
                }

                for (var served = 0; served < (step == 6 ? 3 : 100) && _queue.TryTake(_now, out var packet); served++)
                {
                    _queue.Return(packet.Slot);
                }
            }
        }

        Assert.Equal(0, _queue.Dropped);
    }

    [Fact]
    public void A_flood_pushes_out_its_own_packets_only()
    {
        for (var i = 0; i < 5; i++)
        {
            Add(flow: 2, number: 1000 + i, length: 100);
        }

        for (var i = 0; i < 10_000; i++)
        {
            Add(flow: 1, number: i);
        }

        Assert.Equal(10_005 - _queue.Count, _queue.Dropped);
        var taken = TakeAll();
        Assert.Equal([1000, 1001, 1002, 1003, 1004], taken.Where(number => number >= 1000 && number < 1005).Take(5));

        // The newest of the flood are kept, in order.
        Assert.Equal(9_999, taken[^1]);
    }

    [Fact]
    public void What_waits_is_bounded_in_octets_and_all_buffers_come_back()
    {
        for (var i = 0; i < 500; i++)
        {
            Add(flow: i % 7, number: i, length: 60_000);
        }

        Assert.InRange(_queue.Count, 35, (4 << 20) / 60_000);
        TakeAll();
        var slots = Enumerable.Range(0, 256).Select(_ => _queue.Reserve()).ToHashSet();
        Assert.Equal(256, slots.Count);
    }

    /// <summary>Short packets lie in buffers of their own: a flood of them takes none that long ones need, and the other way round.</summary>
    [Fact]
    public void Short_packets_and_long_ones_push_out_their_own_kind()
    {
        for (var i = 0; i < 100; i++)
        {
            Add(flow: 1, number: 10_000 + i, length: 5000);
        }

        for (var i = 0; i < 2000; i++)
        {
            Add(flow: 2, number: i);
        }

        Assert.InRange(_queue.Count, 100 + 350, 100 + 400);
        for (var i = 0; i < 700; i++)
        {
            Add(flow: 1, number: 20_000 + i, length: 5000);
        }

        var taken = TakeAll();
        var few = taken.Where(number => number < 10_000).ToList();
        Assert.InRange(few.Count, 350, 400);
        Assert.Equal(Enumerable.Range(2000 - few.Count, few.Count), few);
        Assert.InRange(taken.Count - few.Count, 200, 256);
        Assert.Equal(20_699, taken.Last(number => number >= 10_000));
    }

    [Fact]
    public void Of_a_packet_that_stands_for_several_only_the_first_is_lost()
    {
        var (over, taken) = (0, 0);
        for (var i = 0; i < 3000; i++, _now += Millisecond)
        {
            Add(flow: 1, number: i, length: 5000, segments: true, protocol: IpProtocol.Tcp);
            if (i >= 20 && _queue.TryTake(_now, out var packet))
            {
                taken++;
                over += packet.FirstIsOver ? 1 : 0;
                _queue.Return(packet.Slot);
            }
        }

        Assert.Equal(2980, taken);
        Assert.True(over > 10, $"{over}");
        Assert.Equal(over, _queue.Dropped);
    }

    [Fact]
    public void Queueing_allocates_nothing()
    {
        var packet = Make(1, 0, 200, Ecn.NotCapable, IpProtocol.Udp);
        Go();
        var before = GC.GetAllocatedBytesForCurrentThread();
        Go();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Go()
        {
            for (var i = 0; i < 1000; i++)
            {
                var slot = _queue.Reserve();
                packet.CopyTo(_queue[slot]);
                _queue.Add(slot, packet.Length, default, _now);
            }

            while (_queue.TryTake(_now, out var taken))
            {
                _queue.Return(taken.Slot);
            }
        }
    }

    private void Add(int flow, int number, int length = 1000, byte ecn = Ecn.NotCapable, bool segments = false, byte protocol = IpProtocol.Udp)
    {
        var slot = _queue.Reserve();
        Make(flow, number, length, ecn, protocol).CopyTo(_queue[slot]);
        _queue.Add(slot, length, segments ? VirtioNetHeader.OfPartialTcp(false, 20, 40, 1000) : default, _now);
    }

    /// <summary>Only the ports of a transport header; the number comes after what is UDP's.</summary>
    private static byte[] Make(int flow, int number, int length, byte ecn, byte protocol)
    {
        var packet = new byte[length];
        UdpHeader.Write(packet.AsSpan(20), (ushort)(4000 + flow), 5000);
        BitConverter.TryWriteBytes(packet.AsSpan(28), number);
        IPv4Header.Write(packet, ecn, length, 0, IPv4Header.DontFragmentFlag, 64, protocol, IPAddress.Parse("10.1.0.2").GetAddressBytes(), IPAddress.Parse("10.2.0.2").GetAddressBytes());
        return packet;
    }

    private int Take()
    {
        Assert.True(_queue.TryTake(_now, out var packet));
        var number = BitConverter.ToInt32(_queue[packet.Slot][28..]);
        _queue.Return(packet.Slot);
        return number;
    }

    private List<int> TakeAll()
    {
        var taken = new List<int>();
        while (_queue.Count > 0)
        {
            taken.Add(Take());
        }

        return taken;
    }
}
