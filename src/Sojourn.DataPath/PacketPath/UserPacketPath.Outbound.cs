using Sojourn.DataPath.DiffServ;
using Sojourn.DataPath.Native;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;

namespace Sojourn.DataPath.PacketPath;

/// <summary>Outwards: classification, hold, meters and queues, protection, sending.</summary>
public sealed unsafe partial class UserPacketPath
{
    private readonly Lock _queueGate = new();
    private readonly DiffServScheduler<QueuedPacket> _scheduler;
    private readonly PacketBuffers _queueBuffers;
    private readonly bool _shaped;
    private readonly Lock _holdGate = new();
    private readonly PacketBuffers _holdBuffers;
    private readonly HeldPacket[] _held;
    private int _heldHead;
    private int _heldCount;
    private bool _releaseHeld;
    private volatile bool _tunLost;

    /// <param name="Relayed">Came out of a tunnel of this node; errors about it go back that way and not to the kernel.</param>
    private readonly record struct QueuedPacket(int Slot, int Length, PathHandle Path, bool Relayed);

    private readonly record struct HeldPacket(int Slot, int Length, long Until, bool Relayed);

    private PacketScratch NewScratch() => new(new OuterBatch(_outer, _counters), WriteTun, _tun.TakesDatagrams);

    /// <summary>Takes an inner packet to its path, into the hold, or back to the kernel. The packet may be changed in place.</summary>
    private void Route(Span<byte> inner, PacketScratch scratch, DateTimeOffset now, bool relayed) => Route(_table.Classify(inner, now, relayed: relayed), inner, scratch, now, relayed);

    private void Route(in Classification classified, Span<byte> inner, PacketScratch scratch, DateTimeOffset now, bool relayed)
    {
        switch (classified.Verdict)
        {
            case OutboundVerdict.Protect:
                if (!relayed || PassHop(inner, scratch, now))
                {
                    Admit(classified, inner, scratch, now, relayed);
                }

                break;
            case OutboundVerdict.Blocked:
                if (!relayed || PassHop(inner, scratch, now))
                {
                    Hold(inner, relayed);
                }

                break;
            case OutboundVerdict.NoPath when relayed && _routing.IsOutOfReach(inner):
                Hold(inner, relayed);
                break;
            case OutboundVerdict.NoPath when relayed:
                scratch.Deliver(inner);
                break;
            case OutboundVerdict.NoPath when inner[0] >> 4 == 6 && inner[24] == 0xFF && (inner[25] & 0xF) <= 2:
                // The kernel's own talk on the TUN link (MLD), never meant to go further.
                break;
            case OutboundVerdict.NoPath:
                // Something led it here that has no path any more: dropped, never forwarded in clear.
                Interlocked.Increment(ref _counters.NoPath);
                break;
        }
    }

    private void Admit(in Classification classified, ReadOnlySpan<byte> inner, PacketScratch scratch, DateTimeOffset now, bool relayed)
    {
        if (!_shaped)
        {
            if (MayPass(classified, inner.Length, 1))
            {
                Transmit(classified.Path, inner, scratch, now, relayed);
            }

            return;
        }

        lock (_queueGate)
        {
            if (!_scheduler.TryAdmit(inner.Length, classified.Dscp, Nanoseconds()))
            {
                Interlocked.Increment(ref _counters.MeterDropped);
            }
            else if (inner.Length > _queueBuffers.SlotSize || !_queueBuffers.TryRent(out var slot))
            {
                Interlocked.Increment(ref _counters.NoBuffer);
            }
            else
            {
                inner.CopyTo(_queueBuffers[slot]);
                _scheduler.Enqueue(new QueuedPacket(slot, inner.Length, classified.Path, relayed), inner.Length, classified.Dscp);
            }
        }
    }

    /// <summary>Meters and counts what passes without queueing.</summary>
    private bool MayPass(in Classification classified, int octets, int packets)
    {
        lock (_queueGate)
        {
            if (_scheduler.TryAdmit(octets, classified.Dscp, Nanoseconds()))
            {
                _scheduler.CountPassed(octets, classified.Dscp, packets);
                return true;
            }
        }

        Interlocked.Add(ref _counters.MeterDropped, packets);
        return false;
    }

    /// <summary>Sends what the rate allows now. Only the outbound thread dequeues.</summary>
    private void ServeQueues(PacketScratch scratch, DateTimeOffset now)
    {
        for (var i = 0; _shaped && i < Batch; i++)
        {
            QueuedPacket packet;
            ForwardingClass forwarding;
            lock (_queueGate)
            {
                if (!_scheduler.TryDequeue(Nanoseconds(), out packet, out forwarding))
                {
                    return;
                }
            }

            var sent = Transmit(packet.Path, _queueBuffers[packet.Slot][..packet.Length], scratch, now, packet.Relayed);
            lock (_queueGate)
            {
                _queueBuffers.Return(packet.Slot);
                _scheduler.Charge(forwarding, sent, Nanoseconds());
            }
        }
    }

    /// <summary>Protects and sends. Returns the octets of the outer packets.</summary>
    private int Transmit(PathHandle handle, ReadOnlySpan<byte> inner, PacketScratch scratch, DateTimeOffset now, bool relayed)
    {
        var room = scratch.Outer.RoomFor(inner.Length);
        var result = _table.Protect(handle, inner, room, now);
        switch (result.Verdict)
        {
            case OutboundVerdict.Send:
                scratch.Outer.Add(result);
                return result.Length;
            case OutboundVerdict.ReplyIcmp:
                Reply(room.Slice(result.Offset, result.Length), inner, scratch, now, relayed);
                return 0;
            case OutboundVerdict.Blocked:
                Hold(inner, relayed);
                return 0;
            case OutboundVerdict.NoPath:
                Interlocked.Increment(ref _counters.NoPath);
                return 0;
            default:
                return 0;
        }
    }

    /// <summary>Protects and sends as many as there is room for.</summary>
    /// <returns>False when none, and the next one has to go by itself.</returns>
    private bool TransmitSegments(PathHandle path, ReadOnlySpan<byte> packet, ref SegmentCutter segments, PacketScratch scratch, DateTimeOffset now)
    {
        var result = _table.ProtectSegments(path, packet, ref segments, scratch.Outer.RoomFor(segments.LengthOfAll, segments.Count), now);
        if (result.Verdict != OutboundVerdict.Send)
        {
            return false;
        }

        scratch.Outer.Add(result);
        return true;
    }

    private void SendOuter(ReadOnlySpan<byte> packet)
    {
        var error = _outer.Send(packet);
        Interlocked.Increment(ref error == 0 ? ref _counters.OuterSent : ref error == Libc.EMSGSIZE ? ref _counters.SendTooLong : ref _counters.SendFailed);
    }

    private void WriteTun(ReadOnlySpan<byte> packet) =>
        Interlocked.Increment(ref _tun.Write(packet, 0) ? ref _counters.TunWritten : ref _counters.TunFailed);

    private void WriteTun(Libc.IoVec* pieces, int count, int packets) =>
        Interlocked.Add(ref _tun.Write(pieces, count) ? ref _counters.TunWritten : ref _counters.TunFailed, packets);

    /// <summary>
    /// Takes an ICMP error to the sender of <paramref name="offending"/>. For a packet out of a tunnel the sender is behind
    /// that tunnel, whose selectors know only the packet's two ends: the error then speaks in the name of the packet's
    /// destination, as a home agent may for the node it stands for.
    /// </summary>
    private void Reply(Span<byte> error, ReadOnlySpan<byte> offending, PacketScratch scratch, DateTimeOffset now, bool relayed)
    {
        if (relayed && IpPacket.TryParse(offending, out var about, out _))
        {
            var copy = scratch.Reply[..error.Length];
            error.CopyTo(copy);
            if (about.IsIPv6)
            {
                about.Destination.CopyTo(copy[8..]);
                var message = copy[IPv6Header.Length..];
                IcmpMessage.WriteIPv6(message, message[0], message[1], System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(message[4..]), copy.Slice(8, 16), copy.Slice(24, 16));
            }
            else
            {
                about.Destination.CopyTo(copy[12..]);
                IPv4Header.WriteChecksum(copy[..((copy[0] & 0xF) * 4)]);
            }

            var classified = _table.Classify(copy, now);
            if (classified.Verdict == OutboundVerdict.Protect)
            {
                // An error is short and raises no error, so this does not come back here.
                var result = _table.Protect(classified.Path, copy, scratch.Outer.RoomFor(copy.Length), now);
                if (result.Verdict == OutboundVerdict.Send)
                {
                    scratch.Outer.Add(result);
                }

                return;
            }
        }

        WriteTun(error);
    }

    /// <summary>What a router does between two links, done between two tunnels: counts the hop, and refuses the last one. Without it two tunnels could form an endless loop.</summary>
    private bool PassHop(Span<byte> inner, PacketScratch scratch, DateTimeOffset now)
    {
        if (!IpPacket.TryParse(inner, out var packet, out _))
        {
            return false;
        }

        if (packet.HopLimit > 1)
        {
            if (packet.IsIPv6)
            {
                inner[7]--;
            }
            else
            {
                IPv4Header.DecrementTimeToLive(inner);
            }

            Interlocked.Increment(ref _counters.Relayed);
            return true;
        }

        Interlocked.Increment(ref _counters.HopLimit);
        if (IcmpError.MayAnswer(packet) && _hopErrors.TryTake(1, Nanoseconds()))
        {
            var error = scratch.Output;
            var length = IcmpError.Write(packet, packet.Destination, packet.IsIPv6 ? Icmpv6Type.TimeExceeded : IcmpType.TimeExceeded, 0, 0, error);
            if (length > 0)
            {
                Reply(error[..length], inner, scratch, now, relayed: true);
            }
        }

        return false;
    }

    private void Hold(ReadOnlySpan<byte> inner, bool relayed)
    {
        lock (_holdGate)
        {
            if (inner.Length > _holdBuffers.SlotSize || _options.HeldPackets == 0)
            {
                Interlocked.Increment(ref _counters.HeldDropped);
                return;
            }

            if (!_holdBuffers.TryRent(out var slot))
            {
                slot = TakeHeld().Slot;
                Interlocked.Increment(ref _counters.HeldDropped);
            }

            inner.CopyTo(_holdBuffers[slot]);
            PutHeld(new HeldPacket(slot, inner.Length, Nanoseconds() + (long)_options.HoldTime.TotalNanoseconds, relayed));
            Interlocked.Increment(ref _counters.Held);
        }
    }

    /// <summary>After a change of paths: what is held goes its way, or waits on.</summary>
    private void ReleaseHeld(PacketScratch scratch, DateTimeOffset now)
    {
        int count;
        lock (_holdGate)
        {
            count = _heldCount;
        }

        for (; count > 0; count--)
        {
            HeldPacket packet;
            int length;
            lock (_holdGate)
            {
                if (_heldCount == 0)
                {
                    return;
                }

                packet = TakeHeld();
                length = packet.Length;
                _holdBuffers[packet.Slot][..length].CopyTo(scratch.Input);
                _holdBuffers.Return(packet.Slot);
            }

            var inner = scratch.Input[..length];
            var classified = _table.Classify(inner, now);
            switch (classified.Verdict)
            {
                case OutboundVerdict.Protect:
                    Admit(classified, inner, scratch, now, packet.Relayed);
                    break;
                case OutboundVerdict.NoPath when packet.Relayed && !_routing.IsOutOfReach(inner):
                    WriteTun(inner);
                    break;
                case OutboundVerdict.NoPath when packet.Relayed:
                case OutboundVerdict.Blocked:
                    lock (_holdGate)
                    {
                        if (_holdBuffers.TryRent(out var slot))
                        {
                            inner.CopyTo(_holdBuffers[slot]);
                            PutHeld(packet with { Slot = slot });
                        }
                    }

                    break;
                default:
                    Interlocked.Increment(ref _counters.HeldDropped);
                    break;
            }
        }
    }

    private void ExpireHeld()
    {
        lock (_holdGate)
        {
            var now = Nanoseconds();
            while (_heldCount > 0 && _held[_heldHead].Until <= now)
            {
                _holdBuffers.Return(TakeHeld().Slot);
                Interlocked.Increment(ref _counters.HeldExpired);
            }
        }
    }

    private HeldPacket TakeHeld()
    {
        var packet = _held[_heldHead];
        _heldHead = (_heldHead + 1) % _held.Length;
        _heldCount--;
        return packet;
    }

    private void PutHeld(HeldPacket packet) => _held[(_heldHead + _heldCount++) % _held.Length] = packet;
}
