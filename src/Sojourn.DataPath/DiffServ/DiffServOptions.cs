namespace Sojourn.DataPath.DiffServ;

/// <summary>Forwarding classes at a tunnel entrance, in order of service for the first, by weight for the rest.</summary>
public enum ForwardingClass : byte
{
    /// <summary>EF and voice-admit (RFC 3246, RFC 5865): strict priority up to a rate.</summary>
    Expedited,

    /// <summary>CS6, CS7: routing and signalling (RFC 4594 3.1).</summary>
    Control,
    Assured4,
    Assured3,
    Assured2,
    Assured1,
    BestEffort,
}

/// <summary>Which class a DSCP belongs to. Class selectors go with the assured class of their number (RFC 2474 4.2.2); unknown values are best effort.</summary>
public static class ForwardingClasses
{
    public static readonly int Count = Enum.GetValues<ForwardingClass>().Length;

    private static readonly ForwardingClass[] s_byDscp = Build();

    public static ForwardingClass Of(byte dscp) => s_byDscp[dscp & 0x3F];

    /// <summary>1..3 for assured forwarding (3 is dropped first, RFC 2597), else 1.</summary>
    public static int DropPrecedence(byte dscp) =>
        Of(dscp) is >= ForwardingClass.Assured4 and <= ForwardingClass.Assured1 && (dscp & 0x7) is 2 or 4 or 6 ? (dscp & 0x7) / 2 : 1;

    private static ForwardingClass[] Build()
    {
        var map = new ForwardingClass[64];
        Array.Fill(map, ForwardingClass.BestEffort);
        map[46] = map[44] = ForwardingClass.Expedited;
        map[48] = map[56] = ForwardingClass.Control;
        Set(4, ForwardingClass.Assured4);
        Set(3, ForwardingClass.Assured3);
        Set(2, ForwardingClass.Assured2);
        Set(1, ForwardingClass.Assured1);
        map[40] = ForwardingClass.Assured4;
        // CS1 is lower-effort traffic (RFC 4594 4.10), not an assured class.
        map[8] = ForwardingClass.BestEffort;
        return map;

        void Set(int number, ForwardingClass forwarding)
        {
            for (var precedence = 0; precedence <= 3; precedence++)
            {
                map[(number * 8) + (precedence * 2)] = forwarding;
            }
        }
    }
}

/// <summary>A token bucket that limits one class before it is queued; what exceeds it is dropped (RFC 2475 2.3.3.4, RFC 3246 3).</summary>
/// <param name="BitsPerSecond">Committed rate of inner packets.</param>
/// <param name="BurstOctets">Bucket size.</param>
public sealed record MeterOptions(long BitsPerSecond, int BurstOctets);

/// <summary>Queue of one class.</summary>
/// <param name="Weight">Share of what strict priority leaves; not used by <see cref="ForwardingClass.Expedited"/>.</param>
/// <param name="LimitOctets">Most octets waiting; a packet counts for at least <see cref="MinimumOccupancy"/>.</param>
/// <param name="DropOldest">True: a full queue gives up its oldest packet (fresh data matters, e.g. voice). False: the arriving one.</param>
public sealed record QueueOptions(int Weight, int LimitOctets, bool DropOldest = false, MeterOptions? Meter = null)
{
    /// <summary>A packet's buffer is not smaller for a small packet: without this a flood of tiny packets in one class would take all buffers.</summary>
    public const int MinimumOccupancy = 512;

    /// <summary>Most packets waiting.</summary>
    internal int LimitPackets => LimitOctets / MinimumOccupancy;
}

/// <summary>Conditioning at the tunnel entrance (spec NV9.4, goal G2).</summary>
public sealed record DiffServOptions
{
    /// <summary>Capacity of the tunnel in bits per second of outer packets; null = packets pass without queueing.</summary>
    public long? Rate { get; init; }

    /// <summary>Most of <see cref="Rate"/> that strict priority may take while others wait, 0..1.</summary>
    public double ExpeditedShare { get; init; } = 0.5;

    /// <summary>How long the output may run ahead of the rate, to make up for late wake-ups. What leaves at once is at most this times the rate.</summary>
    public TimeSpan Burst { get; init; } = TimeSpan.FromMilliseconds(4);

    public IReadOnlyDictionary<ForwardingClass, QueueOptions> Queues { get; init; } = DefaultQueues;

    public static readonly IReadOnlyDictionary<ForwardingClass, QueueOptions> DefaultQueues = new Dictionary<ForwardingClass, QueueOptions>
    {
        [ForwardingClass.Expedited] = new(0, 64 * 1024, DropOldest: true),
        [ForwardingClass.Control] = new(2, 64 * 1024),
        [ForwardingClass.Assured4] = new(4, 256 * 1024),
        [ForwardingClass.Assured3] = new(3, 256 * 1024),
        [ForwardingClass.Assured2] = new(2, 256 * 1024),
        [ForwardingClass.Assured1] = new(2, 256 * 1024),
        [ForwardingClass.BestEffort] = new(1, 256 * 1024),
    };
}

/// <summary>What a class has done so far. Octets are of inner packets.</summary>
public readonly record struct ClassReport(ForwardingClass Class, long Packets, long Octets, long Dropped, int WaitingPackets, int WaitingOctets);
