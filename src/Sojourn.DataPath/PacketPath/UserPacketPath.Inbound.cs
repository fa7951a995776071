using System.Net;
using Sojourn.DataPath.DiffServ;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Xdp;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Ipsec;

namespace Sojourn.DataPath.PacketPath;

/// <summary>Inwards: outer sockets, opening, delivery to the kernel or on into another tunnel.</summary>
public sealed unsafe partial class UserPacketPath
{
    /// <summary>Time-exceeded errors per second; used by the inbound thread only.</summary>
    private TokenBucket _hopErrors = new(8 * 100, 100, Nanoseconds());

    /// <summary>Frames cost no call each; many at a time make long segments of what they carry.</summary>
    private const int FrameBatch = 256;

    /// <summary>Packets of a raw socket in a row, before what they carry is delivered.</summary>
    private const int RawRun = 128;

    /// <summary>
    /// This thread goes first: what waits at its sockets waits in one queue for all, while what waits to leave waits by flows (<see cref="FlowQueue"/>), where one that sends
    /// little does not wait for one that sends much. Not by so much that a flood takes the processor from everybody else (decision 0006).
    /// </summary>
    private const int InboundNice = -8;

    private readonly EarlyPackets _early;
    private bool _openEarly;

    private void RunInbound()
    {
        GoFirst();
        using var scratch = NewScratch();
        using var raw4 = new RawBatch(ipv6: false);
        using var raw6 = new RawBatch(ipv6: true);
        var control = stackalloc byte[ReceivedControl.BufferSize];
        var name = stackalloc byte[SocketAddressFormat.Size];
        var sockets = _outer.Receivers;
        var fds = new Libc.PollFd[sockets.Length + 1];
        Prepare(sockets, fds);
        while (!_stopping)
        {
            fixed (Libc.PollFd* pointer = fds)
            {
                _ = Libc.Poll(pointer, (nuint)fds.Length, -1);
            }

            if (_stopping)
            {
                return;
            }

            var now = DateTimeOffset.UtcNow;
            var relayed = _counters.Relayed;
            for (var i = 0; i < sockets.Length; i++)
            {
                if (fds[i].Revents == 0)
                {
                    continue;
                }

                if (sockets[i].Xdp is { } frames)
                {
                    ReceiveFrames(frames, scratch, now);
                    continue;
                }

                if (sockets[i].Kind is OuterSocketKind.RawIPv4 or OuterSocketKind.RawIPv6)
                {
                    ReceiveRaw(sockets[i], sockets[i].Kind == OuterSocketKind.RawIPv6 ? raw6 : raw4, scratch, now);
                    continue;
                }

                for (var packets = 0; packets < Batch && ReceiveOne(sockets[i], scratch, control, name, now); packets++)
                {
                }
            }

            if ((fds[^1].Revents & Libc.POLLIN) != 0)
            {
                _wakeInbound.Reset();
                if (Volatile.Read(ref _openEarly))
                {
                    Volatile.Write(ref _openEarly, false);
                    OpenEarly(scratch, now);
                }

                sockets = _outer.Receivers;
                fds = new Libc.PollFd[sockets.Length + 1];
                Prepare(sockets, fds);
            }

            scratch.Deliver();
            scratch.Outer.Flush();
            if (_shaped && _counters.Relayed != relayed)
            {
                _wakeOutbound.Set();
            }

            DeliverSignals();
            Volatile.Write(ref _allocated.Inbound, GC.GetAllocatedBytesForCurrentThread());
        }
    }

    /// <summary>Needs CAP_SYS_NICE; without it this thread is as any other. Threads that it starts are not like it.</summary>
    private static void GoFirst()
    {
        var priority = 0;
        if (Libc.SetScheduler(0, Libc.SCHED_OTHER | Libc.SCHED_RESET_ON_FORK, &priority) == 0)
        {
            _ = Libc.SetPriority(Libc.PRIO_PROCESS, 0, InboundNice);
        }
    }

    private void Prepare(OuterSocket[] sockets, Libc.PollFd[] fds)
    {
        for (var i = 0; i < sockets.Length; i++)
        {
            fds[i] = new Libc.PollFd { Fd = sockets[i].Fd.Value, Events = Libc.POLLIN };
        }

        fds[^1] = new Libc.PollFd { Fd = _wakeInbound.Fd, Events = Libc.POLLIN };
    }

    /// <summary>Handles frames where they lie.</summary>
    private void ReceiveFrames(XdpSocket socket, PacketScratch scratch, DateTimeOffset now)
    {
        lock (socket.Gate)
        {
            var count = socket.Waiting(FrameBatch);
            for (var i = 0; i < count; i++)
            {
                var packet = XdpTransport.PacketOf(socket.FrameAt(i));
                if (!packet.IsEmpty)
                {
                    OpenOrKeep(packet, scratch, now);
                }
            }

            socket.Release(count);
            Interlocked.Add(ref _counters.OuterReceived, count);
            Interlocked.Add(ref _counters.XdpReceived, count);
        }
    }

    /// <summary>Handles what waits at a raw socket, with what comes meanwhile: the longer the run, the longer the segments that are delivered.</summary>
    private void ReceiveRaw(OuterSocket socket, RawBatch raw, PacketScratch scratch, DateTimeOffset now)
    {
        for (int taken = 0, count; taken < RawRun && (count = raw.Receive(socket.Fd.Value)) != 0; taken += Math.Max(1, count))
        {
            if (count < 0 && Libc.LastError is Libc.EAGAIN or Libc.ENETDOWN)
            {
                return;
            }

            // An error other than "nothing waits" (an ICMP error about an earlier packet) is taken off by having been read.
            for (var i = 0; i < count; i++)
            {
                var packet = raw.Packet(i);
                if (socket.Kind == OuterSocketKind.RawIPv6)
                {
                    WriteHeader(packet, socket.Protocol, raw.Name(i), raw.Message(i));
                }

                OpenOrKeep(packet, scratch, now);
            }

            Interlocked.Add(ref _counters.OuterReceived, Math.Max(0, count));
        }
    }

    /// <summary>Receives and handles one packet; false when none waits.</summary>
    private bool ReceiveOne(OuterSocket socket, PacketScratch scratch, byte* control, byte* name, DateTimeOffset now)
    {
        // An IPv6 raw socket gives no header: room is left in front to write one.
        var headroom = socket.Kind is OuterSocketKind.IcmpIPv6 ? IPv6Header.Length : 0;
        var vector = new Libc.IoVec { Base = scratch.InputPointer + headroom, Length = (nuint)(PacketScratch.Largest - headroom) };
        var message = new Libc.MsgHdr
        {
            Name = name,
            NameLength = SocketAddressFormat.Size,
            Vectors = &vector,
            VectorCount = 1,
            Control = control,
            ControlLength = ReceivedControl.BufferSize,
        };
        var length = (int)Libc.ReceiveMessage(socket.Fd.Value, &message, 0);
        if (length < 0)
        {
            // An error other than "nothing waits" (an ICMP error about an earlier packet) is taken off by having been read.
            return Libc.LastError is not (Libc.EAGAIN or Libc.ENETDOWN);
        }

        Interlocked.Increment(ref _counters.OuterReceived);
        var data = scratch.Input[..(headroom + length)];
        switch (socket.Kind)
        {
            case OuterSocketKind.UdpIPv4 or OuterSocketKind.UdpIPv6:
                OpenDatagrams(data, socket, name, ReceivedControl.Read(message), scratch, now);
                break;
            case OuterSocketKind.IcmpIPv4:
                Learn(_table.OnIcmp(data, now));
                break;
            case OuterSocketKind.IcmpIPv6:
                WriteHeader(data, socket.Protocol, name, message);
                Learn(_table.OnIcmp(data, now));
                break;
        }

        return true;
    }

    /// <summary>Opens what came as one. Of what has waited for too long only what sets up associations is opened.</summary>
    private void OpenDatagrams(Span<byte> data, OuterSocket socket, byte* name, in ReceivedControl received, PacketScratch scratch, DateTimeOffset now)
    {
        if (received.Destination.IsEmpty)
        {
            return;
        }

        var size = received.SegmentSize > 0 ? received.SegmentSize : Math.Max(1, data.Length);
        var nanoseconds = (DateTime.UtcNow - DateTime.UnixEpoch).Ticks * TimeSpan.NanosecondsPerTick;
        var waited = received.Arrived == 0 ? 0 : nanoseconds - received.Arrived;
        var excess = socket.Delay.Of(waited, nanoseconds, isLast: waited < ReceiveDelay.Target || !socket.HasMore());
        Interlocked.Add(ref _counters.OuterReceived, Math.Max(0, ((data.Length + size - 1) / size) - 1));
        for (var at = 0; at < data.Length; at += size)
        {
            var datagram = data.Slice(at, Math.Min(size, data.Length - at));
            if (!(excess == Excess.All || (excess == Excess.First && at == 0)) || EspInUdp.Classify(datagram) != EspInUdpContent.Esp)
            {
                OpenDatagram(datagram, socket, name, received, scratch, now);
            }
            else if (excess == Excess.First && received.IsEcnCapable)
            {
                Interlocked.Increment(ref _counters.InboundDelayMarked);
                OpenDatagram(datagram, socket, name, received.Marked(), scratch, now);
            }
            else
            {
                Interlocked.Increment(ref _counters.InboundDelayDropped);
            }
        }
    }

    private void OpenDatagram(ReadOnlySpan<byte> payload, OuterSocket socket, byte* name, in ReceivedControl received, PacketScratch scratch, DateTimeOffset now)
    {
        if (payload is [0xFF])
        {
            Interlocked.Increment(ref _counters.UdpKeepalive);
            return;
        }

        var room = scratch.RoomToOpen(payload.Length);
        var opened = _table.InboundEspInUdp(payload, SocketAddressFormat.AddressOf(name), received.Destination, received.TrafficClass, room, now);
        Open(opened, room, scratch, now);
        if (opened.Verdict == InboundVerdict.NotForUs && _options.UdpNotEsp is { } others)
        {
            others(new DatagramReceived(
                new IPEndPoint(new IPAddress(SocketAddressFormat.AddressOf(name)), SocketAddressFormat.PortOf(name)),
                new IPEndPoint(new IPAddress(received.Destination), socket.Port), payload.ToArray()));
        }
    }

    private void OpenOrKeep(ReadOnlySpan<byte> outer, PacketScratch scratch, DateTimeOffset now)
    {
        var room = scratch.RoomToOpen(outer.Length);
        var result = _table.Inbound(outer, room, now);
        if (result.Reason is DropReason.UnknownSpi or DropReason.UnknownGateway && _options.EarlyPackets > 0
            && IpPacket.TryParse(outer, out var packet, out _) && _early.TryKeep(outer, packet.Source, Nanoseconds()))
        {
            _counters.Early++;
        }

        Open(result, room, scratch, now);
    }

    /// <summary>After a change of paths: what came too early may open now. What still does not was counted when it came.</summary>
    private void OpenEarly(PacketScratch scratch, DateTimeOffset now)
    {
        var nanoseconds = Nanoseconds();
        for (var count = _early.Count; count > 0; count--)
        {
            if (!_early.TryTake(scratch.Input, nanoseconds, out var length))
            {
                continue;
            }

            var outer = scratch.Input[..length];
            if (!_table.Knows(outer))
            {
                _ = IpPacket.TryParse(outer, out var packet, out _) && _early.TryKeep(outer, packet.Source, nanoseconds);
                continue;
            }

            _counters.EarlyOpened++;
            var room = scratch.RoomToOpen(outer.Length);
            Open(_table.Inbound(outer, room, now), room, scratch, now);
        }
    }

    /// <param name="room">Where the table has opened it to.</param>
    private void Open(in InboundResult result, Span<byte> room, PacketScratch scratch, DateTimeOffset now)
    {
        if (result.Verdict == InboundVerdict.Deliver)
        {
            var inner = room[..result.Length];
            if (scratch.IsOfLastDelivered(inner))
            {
                scratch.Deliver(inner);
            }
            else
            {
                Route(inner, scratch, now, relayed: true);
            }
        }
        else if (result.Verdict == InboundVerdict.NotForUs)
        {
            Interlocked.Increment(ref _counters.UdpNotEsp);
        }

        if (result.MustAnnounce)
        {
            Announce(result.Path, scratch.Output, now);
        }
    }

    private void Announce(PathHandle path, Span<byte> output, DateTimeOffset now)
    {
        foreach (var packet in _table.Announce(path, output, now).Packets(output))
        {
            SendOuter(packet);
        }
    }

    private void Learn(IcmpOutcome outcome)
    {
        if (outcome == IcmpOutcome.Learned)
        {
            Interlocked.Increment(ref _counters.IcmpLearned);
        }
    }

    private static void WriteHeader(Span<byte> packet, byte protocol, byte* name, in Libc.MsgHdr message)
    {
        var received = ReceivedControl.Read(message);
        var destination = received.Destination.IsEmpty ? new byte[16] : received.Destination;
        IPv6Header.Write(packet, received.TrafficClass, 0, packet.Length - IPv6Header.Length, protocol, received.HopLimit, SocketAddressFormat.AddressOf(name), destination);
    }
}
