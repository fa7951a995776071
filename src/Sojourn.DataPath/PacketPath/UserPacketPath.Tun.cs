using Sojourn.DataPath.Native;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Ip;

namespace Sojourn.DataPath.PacketPath;

/// <summary>Outwards: the thread, what it reads from the TUN device and in what order it takes that.</summary>
public sealed unsafe partial class UserPacketPath
{
    private const int Batch = 64;

    /// <summary>
    /// What may wait for the outbound thread, in buffers and octets: enough for a long path's window, while delay is what <see cref="FlowQueue"/> bounds. Short
    /// packets as many as come while somebody else has the processor, which is some milliseconds.
    /// </summary>
    private const int MostWaiting = 256, MostShortWaiting = 512, MostWaitingOctets = 4 << 20;

    /// <summary>What is carried between two looks into the TUN device. Fewer than are read: what does not find its turn is given up here, where it is known whose it is.</summary>
    private const int MostTaken = 64, MostTakenOctets = 128 << 10;
    private const int MostRead = 2 * MostTaken;

    private void RunOutbound()
    {
        using var scratch = NewScratch();
        using var waiting = new FlowQueue(MostWaiting, MostShortWaiting, MostWaitingOctets);
        var free = waiting.Reserve();
        var fds = stackalloc Libc.PollFd[2];
        fds[0] = new Libc.PollFd { Fd = _tun.Fd, Events = Libc.POLLIN };
        fds[1] = new Libc.PollFd { Fd = _wakeOutbound.Fd, Events = Libc.POLLIN };
        while (!_stopping)
        {
            WaitOutbound(fds, waiting.Count > 0);
            if (_stopping)
            {
                return;
            }

            if ((fds[0].Revents & Libc.POLLERR) != 0)
            {
                // Somebody deleted the interface. Nothing comes from it any more and the error would wake this thread for ever.
                fds[0].Fd = -1;
                _tunLost = true;
            }

            var now = DateTimeOffset.UtcNow;
            if ((fds[1].Revents & Libc.POLLIN) != 0)
            {
                _wakeOutbound.Reset();
                if (Volatile.Read(ref _releaseHeld))
                {
                    Volatile.Write(ref _releaseHeld, false);
                    ReleaseHeld(scratch, now);
                }
            }

            ReadTun(waiting, ref free);
            ServeFlows(waiting, scratch, now);
            ServeQueues(scratch, now);
            scratch.Outer.Flush();
            DeliverSignals();
            Volatile.Write(ref _allocated.Outbound, GC.GetAllocatedBytesForCurrentThread());
        }
    }

    /// <param name="free">The buffer that the next packet is read into: others give up theirs only when there is one.</param>
    private void ReadTun(FlowQueue waiting, ref int free)
    {
        var since = Nanoseconds();
        var octets = 0;
        for (var i = 0; i < MostRead && (i < Batch || octets < MostTakenOctets); i++)
        {
            var length = _tun.Read(waiting[free], out VirtioNetHeader header);
            if (length <= 0)
            {
                return;
            }

            octets += length;
            waiting.Add(free, length, header, since);
            free = waiting.Reserve();
        }
    }

    private void ServeFlows(FlowQueue waiting, PacketScratch scratch, DateTimeOffset now)
    {
        var octets = 0;
        for (var i = 0; i < MostTaken && octets < MostTakenOctets && waiting.TryTake(Nanoseconds(), out var packet); i++)
        {
            octets += packet.Length;
            Take(waiting[packet.Slot][..packet.Length], packet.Header, packet.FirstIsOver, scratch, now);
            waiting.Return(packet.Slot);
        }

        Volatile.Write(ref _counters.DelayDropped, waiting.Dropped);
        Volatile.Write(ref _counters.DelayMarked, waiting.Marked);
    }

    /// <summary>Takes what came from the kernel: a packet, or a long one that stands for several, which find their path together where nothing speaks against it.</summary>
    /// <param name="firstIsOver">The first of several is not carried.</param>
    private void Take(Span<byte> packet, in VirtioNetHeader header, bool firstIsOver, PacketScratch scratch, DateTimeOffset now)
    {
        if (!SegmentCutter.TryStart(packet, header.SegmentSize, header.IsPartial, out var segments))
        {
            _counters.TunRead++;
            if (!firstIsOver && header.TryComplete(packet, 0, out _))
            {
                Route(packet, scratch, now, relayed: false);
            }

            return;
        }

        _counters.TunRead += segments.Count;
        var classified = _table.Classify(packet, now, segments.Count);
        var passes = !_shaped && classified.Verdict == OutboundVerdict.Protect;
        if (passes && !MayPass(classified, packet.Length, segments.Count))
        {
            return;
        }

        while (!segments.Finished)
        {
            if (passes && !firstIsOver && TransmitSegments(classified.Path, packet, ref segments, scratch, now))
            {
                continue;
            }

            var segment = scratch.Segment[..segments.NextLength];
            segments.Next(segment);
            if (firstIsOver)
            {
                firstIsOver = false;
            }
            else if (passes)
            {
                Transmit(classified.Path, segment, scratch, now, relayed: false);
            }
            else
            {
                Route(classified, segment, scratch, now, relayed: false);
            }
        }
    }

    /// <param name="busy">There is something to do; it only looks.</param>
    private void WaitOutbound(Libc.PollFd* fds, bool busy)
    {
        long? departure;
        lock (_queueGate)
        {
            departure = _scheduler.NextDeparture;
        }

        if (busy || departure is not null)
        {
            var wait = busy ? 0 : Math.Max(0, departure!.Value - Nanoseconds());
            var timeout = new Libc.TimeSpec { Seconds = (nint)(wait / 1_000_000_000), Nanoseconds = (nint)(wait % 1_000_000_000) };
            _ = Libc.PreciselyPoll(fds, 2, &timeout, null);
        }
        else
        {
            _ = Libc.PreciselyPoll(fds, 2, null, null);
        }
    }
}
