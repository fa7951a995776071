using System.Runtime.InteropServices;
using Sojourn.DataPath.Native;
using Sojourn.Wire.Ip;

namespace Sojourn.DataPath.PacketPath;

/// <summary>
/// What has been read from a TUN device and waits for the packet thread (FQ-CoDel, RFC 8290). Every flow has a queue of its own; flows are served in
/// turns, octet for octet, and one that has just begun to send, or sends little, comes first: it does not wait for what others send. A queue
/// that stands loses packets (<see cref="CoDel"/>); of what is not TCP, whose senders may not listen, all that is too late (<see cref="DelayBound"/>). When there are no buffers any more, who has most in them gives up its oldest. For one thread; allocates nothing.
/// </summary>
internal sealed class FlowQueue : IDisposable
{
    private const int Queues = 256, Quantum = 1514, MostDropped = 32, None = -1;

    /// <summary>For packets of those who may not listen, in nanoseconds: see <see cref="DelayBound"/>.</summary>
    private const long Most = 3_000_000, Patience = 5_000_000, Soon = 100_000_000;

    /// <summary>What the kernel hands over at most, headers included.</summary>
    private const int LongestPacket = 65_600;

    /// <summary>Up to here a packet is short.</summary>
    private const int LongestShort = 2048;

    private readonly PacketBuffers _buffers, _short;
    private readonly int _longs;
    private readonly Packet[] _packets;
    private readonly Flow[] _flows = new Flow[Queues];
    private readonly int _limit;
    private FlowList _new = FlowList.Empty, _old = FlowList.Empty;
    private int _octets;

    /// <param name="packets">Buffers of any length; a packet that stands for several takes one.</param>
    /// <param name="shortPackets">Buffers beside them that take an ordinary packet: many of those may have to wait for a moment, and memory is not to be touched for each as for a long one.</param>
    /// <param name="octets">What may wait in them altogether.</param>
    public FlowQueue(int packets, int shortPackets, int octets)
    {
        _buffers = new PacketBuffers(packets, LongestPacket);
        _short = new PacketBuffers(shortPackets, LongestShort);
        _packets = new Packet[packets + shortPackets];
        (_longs, _limit) = (packets, octets);
        Array.Fill(_flows, new Flow { Head = None, Next = None, Delay = new CoDel(CoDel.Target, CoDel.Interval), Bound = new DelayBound(Most, Patience, Soon) });
    }

    /// <param name="Header">What the kernel has left to be done.</param>
    /// <param name="Since">When it was added.</param>
    public readonly record struct Packet(int Slot, int Length, VirtioNetHeader Header, long Since, int Next)
    {
        /// <summary>It stands for several, and the first of them is one too many.</summary>
        public bool FirstIsOver { get; init; }
    }

    public int Count { get; private set; }

    /// <summary>Packets given up here, because they had waited for too long or others needed room.</summary>
    public long Dropped { get; private set; }

    /// <summary>Packets that said so instead, as their senders take marks (RFC 3168).</summary>
    public long Marked { get; private set; }

    public Span<byte> this[int slot] => slot < _longs ? _buffers[slot] : _short[slot - _longs];

    /// <summary>A buffer to read a packet into; belongs to the caller until it is added or returned.</summary>
    public int Reserve()
    {
        int slot;
        while (!_buffers.TryRent(out slot))
        {
            GiveUp(Scarce.LongBuffers);
        }

        return slot;
    }

    public void Return(int slot)
    {
        if (slot < _longs)
        {
            _buffers.Return(slot);
        }
        else
        {
            _short.Return(slot - _longs);
        }
    }

    /// <summary>Takes the packet that lies in a reserved buffer.</summary>
    public void Add(int slot, int length, in VirtioNetHeader header, long now)
    {
        var number = QueueOf(_buffers[slot][..length], out var protocol);
        if (length <= LongestShort)
        {
            int small;
            while (!_short.TryRent(out small))
            {
                GiveUp(Scarce.ShortBuffers);
            }

            _buffers[slot][..length].CopyTo(_short[small]);
            _buffers.Return(slot);
            slot = _longs + small;
        }

        ref var flow = ref _flows[number];
        _packets[slot] = new Packet(slot, length, header, now, None);
        if (flow.Head == None)
        {
            flow.Head = slot;
        }
        else
        {
            _packets[flow.Tail] = _packets[flow.Tail] with { Next = slot };
        }

        flow.Tail = slot;
        flow.Listens = protocol == IpProtocol.Tcp;
        flow.Octets += length;
        flow.Count++;
        flow.Longs += slot < _longs ? 1 : 0;
        _octets += length;
        Count++;
        if (!flow.IsServed)
        {
            (flow.IsServed, flow.Deficit) = (true, Quantum);
            _new.Add(_flows, number);
        }

        while (_octets > _limit && Count > 1)
        {
            GiveUp(Scarce.Octets);
        }
    }

    /// <summary>The packet whose turn it is. Its buffer has to be returned.</summary>
    public bool TryTake(long now, out Packet packet)
    {
        while (true)
        {
            var fresh = _new.First != None;
            var number = fresh ? _new.First : _old.First;
            if (number == None)
            {
                packet = default;
                return false;
            }

            ref var flow = ref _flows[number];
            if (flow.Head == None || flow.Deficit <= 0)
            {
                (fresh ? ref _new : ref _old).RemoveFirst(_flows);
                if (flow.Head == None && !(fresh && _old.First != None))
                {
                    flow.IsServed = false;
                    continue;
                }

                // An empty new one too: who stops and begins again must not always come first (RFC 8290 4.2).
                flow.Deficit += flow.Deficit <= 0 ? Quantum : 0;
                _old.Add(_flows, number);
                continue;
            }

            packet = TakeFrom(ref flow);
            var waited = now - packet.Since;
            if (!flow.Listens && flow.Bound.Exceeds(waited, now))
            {
                Dropped++;
                Return(packet.Slot);
                continue;
            }

            if (flow.Delay.Drops(waited, now, flow.Octets <= Quantum) && !TryMark(this[packet.Slot][..packet.Length]))
            {
                Dropped++;
                if (packet.Header.SegmentSize == 0)
                {
                    Return(packet.Slot);
                    continue;
                }

                packet = packet with { FirstIsOver = true };
            }

            flow.Deficit -= packet.Length;
            return true;
        }
    }

    public void Dispose()
    {
        _buffers.Dispose();
        _short.Dispose();
    }

    private Packet TakeFrom(ref Flow flow)
    {
        var packet = _packets[flow.Head];
        flow.Head = packet.Next;
        flow.Octets -= packet.Length;
        flow.Count--;
        flow.Longs -= packet.Slot < _longs ? 1 : 0;
        _octets -= packet.Length;
        Count--;
        return packet;
    }

    /// <summary>The flow with the most of what is scarce gives up half of its packets, but not too many at once (RFC 8290 4.1.1 leaves how many open).</summary>
    private void GiveUp(Scarce scarce)
    {
        var most = 0;
        for (var i = 1; i < Queues; i++)
        {
            most = _flows[i].Uses(scarce) > _flows[most].Uses(scarce) ? i : most;
        }

        ref var flow = ref _flows[most];
        for (var left = Math.Clamp(flow.Count / 2, 1, MostDropped); left > 0 && flow.Head != None; left--)
        {
            Return(TakeFrom(ref flow).Slot);
            Dropped++;
        }
    }

    private bool TryMark(Span<byte> octets)
    {
        if (!IpPacket.TryParse(octets, out var packet, out _) || (packet.TrafficClass & Ecn.Mask) == Ecn.NotCapable)
        {
            return false;
        }

        IpPacket.RewriteTrafficClass(octets, (byte)(packet.TrafficClass | Ecn.CongestionExperienced));
        Marked++;
        return true;
    }

    /// <summary>By addresses, protocol and ports; spread differently in each process, so that nobody can aim at another's queue.</summary>
    private static int QueueOf(ReadOnlySpan<byte> octets, out byte protocol)
    {
        protocol = 0;
        if (!IpPacket.TryParse(octets, out var packet, out _))
        {
            return 0;
        }

        protocol = packet.NextHeader;
        var hash = default(HashCode);
        hash.AddBytes(packet.Source);
        hash.AddBytes(packet.Destination);
        hash.Add(packet.NextHeader);
        if (packet.NextHeader is IpProtocol.Tcp or IpProtocol.Udp && octets.Length >= packet.HeaderLength + 4 && (packet.IsIPv6 || !packet.AsIPv4().IsFragment))
        {
            hash.Add(MemoryMarshal.Read<uint>(octets[packet.HeaderLength..]));
        }

        return (int)((uint)hash.ToHashCode() % Queues);
    }

    private enum Scarce : byte
    {
        Octets,
        LongBuffers,
        ShortBuffers,
    }

    private struct Flow
    {
        public int Head, Tail, Next, Count, Longs, Octets, Deficit;
        public bool IsServed, Listens;
        public CoDel Delay;
        public DelayBound Bound;

        public readonly int Uses(Scarce scarce) => scarce switch
        {
            Scarce.ShortBuffers => Count - Longs,
            Scarce.LongBuffers when Longs == 0 => 0,
            _ => Octets,
        };
    }

    /// <summary>Flows in the order of their turns.</summary>
    private struct FlowList
    {
        public static readonly FlowList Empty = new() { First = None };

        public int First;
        private int _last;

        public void Add(Flow[] flows, int number)
        {
            flows[number].Next = None;
            if (First == None)
            {
                First = number;
            }
            else
            {
                flows[_last].Next = number;
            }

            _last = number;
        }

        public void RemoveFirst(Flow[] flows) => First = flows[First].Next;
    }
}
