namespace Sojourn.DataPath.DiffServ;

/// <summary>
/// Meters, queues and shapes packets at a tunnel entrance. Pure: the caller gives the time (nanoseconds of any steady
/// clock) and moves the packets, of which only <typeparamref name="T"/> is kept. One caller at a time.
/// Order of service: <see cref="ForwardingClass.Expedited"/> while its share of the rate lasts, then the others by
/// deficit round robin (Shreedhar and Varghese), and expedited packets above their share when nothing else waits.
/// Nothing is allocated once the queues have grown to their limits.
/// </summary>
public sealed class DiffServScheduler<T>
{
    private const int Quantum = 1600;

    private readonly ClassQueue[] _queues;
    private readonly Action<T> _dropped;
    private readonly double _nanosecondsPerOctet;
    private readonly long _burst;
    private TokenBucket _expedited;
    private long _free;
    private int _turn;
    private bool _turnStarted;
    private int _waiting;

    /// <param name="options">With <see cref="DiffServOptions.Rate"/> null only the meters work; see <see cref="TryAdmit"/>.</param>
    /// <param name="dropped">Told of every packet given up while queued or when queueing, so that its buffer can be used again.</param>
    public DiffServScheduler(DiffServOptions options, long now, Action<T> dropped)
    {
        _dropped = dropped;
        _queues = new ClassQueue[ForwardingClasses.Count];
        for (var i = 0; i < _queues.Length; i++)
        {
            var queue = options.Queues.GetValueOrDefault((ForwardingClass)i, DiffServOptions.DefaultQueues[(ForwardingClass)i]);
            _queues[i] = new ClassQueue(queue, now);
        }

        if (options.Rate is { } rate)
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rate, "Rate");
            _nanosecondsPerOctet = 8e9 / rate;
            _burst = (long)options.Burst.TotalNanoseconds;
            var share = (long)(rate * Math.Clamp(options.ExpeditedShare, 0, 1));
            _expedited = new TokenBucket(share, Math.Max(4 * 1500, (int)Math.Min(int.MaxValue, share / 8 / 20)), now);
        }

        _free = now;
    }

    public int Waiting => _waiting;

    /// <summary>Meters a packet. False: over its class's rate and to be dropped (counted here).</summary>
    public bool TryAdmit(int octets, byte dscp, long now)
    {
        var queue = _queues[(int)ForwardingClasses.Of(dscp)];
        if (queue.Options.Meter is null || queue.Meter.TryTake(octets, now))
        {
            return true;
        }

        queue.Dropped++;
        return false;
    }

    /// <summary>Counts a packet that passes without queueing.</summary>
    public void CountPassed(int octets, byte dscp, int packets = 1)
    {
        var queue = _queues[(int)ForwardingClasses.Of(dscp)];
        queue.Packets += packets;
        queue.Octets += octets;
    }

    /// <summary>
    /// Queues a packet. A full queue drops the arriving packet or its oldest ones, by its option. Assured forwarding gives
    /// up drop precedence 3 from half of the limit on and 2 from three quarters on (RFC 2597 section 2).
    /// </summary>
    public void Enqueue(T packet, int octets, byte dscp)
    {
        var queue = _queues[(int)ForwardingClasses.Of(dscp)];
        var limit = queue.Options.LimitOctets;
        var allowed = ForwardingClasses.DropPrecedence(dscp) switch { 3 => limit / 2, 2 => limit / 4 * 3, _ => limit };
        var occupancy = Math.Max(octets, QueueOptions.MinimumOccupancy);
        if (queue.Occupied + occupancy > allowed)
        {
            while (queue.Options.DropOldest && queue.Count > 0 && queue.Occupied + occupancy > allowed)
            {
                _waiting--;
                queue.Dropped++;
                _dropped(queue.Take().Packet);
            }

            if (queue.Occupied + occupancy > allowed)
            {
                queue.Dropped++;
                _dropped(packet);
                return;
            }
        }

        queue.Put(new Entry(packet, octets));
        _waiting++;
    }

    /// <summary>When <see cref="TryDequeue"/> will give a packet: now or later; null when nothing waits.</summary>
    public long? NextDeparture => _waiting == 0 ? null : _free;

    /// <summary>The next packet when the rate allows one now. The caller tells with <see cref="Charge"/> how long the outer packets were.</summary>
    public bool TryDequeue(long now, out T packet, out ForwardingClass forwarding)
    {
        packet = default!;
        forwarding = default;
        if (_waiting == 0 || now < _free)
        {
            return false;
        }

        var expedited = _queues[0];
        if (expedited.Count > 0 && (expedited.Count == _waiting || _expedited.HasCredit(now)))
        {
            packet = Leave(expedited);
            return true;
        }

        forwarding = NextByDeficit();
        packet = Leave(_queues[(int)forwarding]);
        return true;
    }

    /// <summary>Books what left for the last dequeued packet: octets of all its outer packets.</summary>
    public void Charge(ForwardingClass forwarding, int outerOctets, long now)
    {
        if (forwarding == ForwardingClass.Expedited)
        {
            _expedited.Charge(outerOctets);
        }

        _free = Math.Max(_free, now - _burst) + (long)(outerOctets * _nanosecondsPerOctet);
    }

    public ClassReport Report(ForwardingClass forwarding)
    {
        var queue = _queues[(int)forwarding];
        return new ClassReport(forwarding, queue.Packets, queue.Octets, queue.Dropped, queue.Count, queue.Occupied);
    }

    /// <summary>Gives up everything that waits.</summary>
    public void Clear()
    {
        foreach (var queue in _queues)
        {
            while (queue.Count > 0)
            {
                _waiting--;
                _dropped(queue.Take().Packet);
            }
        }
    }

    private ForwardingClass NextByDeficit()
    {
        // Some queue other than the first is not empty here, and each visit adds to a deficit, so this ends: the largest
        // packet (64 KiB) needs at most 64 KiB / quantum rounds.
        while (true)
        {
            var queue = _queues[1 + _turn];
            if (queue.Count > 0)
            {
                if (!_turnStarted)
                {
                    queue.Deficit += Quantum * Math.Max(1, queue.Options.Weight);
                    _turnStarted = true;
                }

                if (queue.NextOctets <= queue.Deficit)
                {
                    queue.Deficit -= queue.NextOctets;
                    return (ForwardingClass)(1 + _turn);
                }
            }
            else
            {
                queue.Deficit = 0;
            }

            _turn = (_turn + 1) % (_queues.Length - 1);
            _turnStarted = false;
        }
    }

    private T Leave(ClassQueue queue)
    {
        var entry = queue.Take();
        _waiting--;
        queue.Packets++;
        queue.Octets += entry.Octets;
        return entry.Packet;
    }

    private readonly record struct Entry(T Packet, int Octets);

    private sealed class ClassQueue(QueueOptions options, long now)
    {
        public readonly QueueOptions Options = options;
        public TokenBucket Meter = new(options.Meter?.BitsPerSecond ?? 0, options.Meter?.BurstOctets ?? 0, now);
        public long Packets;
        public long Octets;
        public long Dropped;
        public int Deficit;
        public int Occupied;
        private Entry[] _ring = new Entry[64];
        private int _head;

        public int Count { get; private set; }

        public int NextOctets => _ring[_head].Octets;

        public void Put(Entry entry)
        {
            if (Count == _ring.Length)
            {
                var larger = new Entry[_ring.Length * 2];
                for (var i = 0; i < Count; i++)
                {
                    larger[i] = _ring[(_head + i) & (_ring.Length - 1)];
                }

                _ring = larger;
                _head = 0;
            }

            _ring[(_head + Count++) & (_ring.Length - 1)] = entry;
            Occupied += Math.Max(entry.Octets, QueueOptions.MinimumOccupancy);
        }

        public Entry Take()
        {
            var entry = _ring[_head];
            _ring[_head] = default;
            _head = (_head + 1) & (_ring.Length - 1);
            Count--;
            Occupied -= Math.Max(entry.Octets, QueueOptions.MinimumOccupancy);
            return entry;
        }
    }
}
