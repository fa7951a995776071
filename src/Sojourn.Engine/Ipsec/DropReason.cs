namespace Sojourn.Engine.Ipsec;

/// <summary>Why the packet path did not carry a packet. <see cref="DropReasons.CounterName"/> gives the counter.</summary>
public enum DropReason : byte
{
    None,

    /// <summary>No path's selector matches. Not a loss by itself: the caller may route the packet otherwise.</summary>
    NoPath,
    PathBlocked,

    /// <summary>The best matching path only receives (a former agent's inbound half).</summary>
    InboundOnly,

    /// <summary>Not an IP packet, or ESP, AH or UDP that cannot be read.</summary>
    Malformed,

    /// <summary>The decapsulated packet is not IP of the announced version, or its padding is wrong.</summary>
    InnerMalformed,
    UnknownSpi,

    /// <summary>Encapsulation only: no path has these two gateways.</summary>
    UnknownGateway,
    Replay,
    BadIcv,

    /// <summary>Authentic, but not the mirror image of any path holding the association (RFC 4301 5.2).</summary>
    SelectorMismatch,

    /// <summary>A fragment reached IPsec before reassembly (RFC 4303 3.4.1).</summary>
    OuterFragment,

    /// <summary>Congestion mark on the outer header of a packet whose sender does not take marks (RFC 6040 4.2).</summary>
    EcnIllegal,

    /// <summary>An association's hard limit is reached (RFC 4301 4.4.2.1).</summary>
    LifetimeExpired,

    /// <summary>The sequence number would repeat (RFC 4303 3.3.3).</summary>
    SequenceExhausted,

    /// <summary>Does not fit and no ICMP error may be or could be sent about it.</summary>
    TooBig,

    /// <summary>ESP dummy packet, next header 59 (RFC 4303 2.6): not an error.</summary>
    Dummy,

    /// <summary>The caller's output buffer is too small.</summary>
    OutputTooSmall,

    /// <summary>The number is not stored yet as used, or as seen, so that a crash could make it repeat (M3, M5).</summary>
    SequenceNotStored,

    /// <summary>Came through a tunnel without protection, and its way back is protected (RFC 4301 5.2).</summary>
    Unprotected,

    /// <summary>Under ESP a header of the mobile tunnel that another than the far end claims to have written.</summary>
    TunnelSource,
}

public static class DropReasons
{
    public static readonly int Count = Enum.GetValues<DropReason>().Length;

    private static readonly string[] s_names =
    [
        "ipsec.none", "ipsec.no_path", "ipsec.path_blocked", "ipsec.inbound_only", "ipsec.malformed", "ipsec.inner_malformed",
        "ipsec.unknown_spi", "ipsec.unknown_gateway", "ipsec.replay", "ipsec.bad_icv", "ipsec.selector_mismatch",
        "ipsec.outer_fragment", "ipsec.ecn_illegal", "ipsec.lifetime_expired", "ipsec.sequence_exhausted", "ipsec.too_big",
        "ipsec.dummy", "ipsec.output_too_small", "ipsec.sequence_not_stored", "ipsec.unprotected", "ipsec.tunnel_source",
    ];

    /// <summary>The counter of spec terminal 4.9 for a packet that was not taken; null = it has none.</summary>
    /// <param name="tunnelSource">The counter of this node for a tunnel from where its far end is not.</param>
    public static string? InboundCounter(this DropReason reason, bool underEsp, string tunnelSource = "ha.reverse_tunnel_bad") => reason switch
    {
        DropReason.UnknownSpi => "ipsec.sa_not_found_in",
        DropReason.Replay or DropReason.BadIcv or DropReason.LifetimeExpired or DropReason.InnerMalformed => "ipsec.failed_in",
        DropReason.Unprotected => "spd.mismatch_in",
        DropReason.SelectorMismatch => underEsp ? "spd.mismatch_in" : tunnelSource,
        DropReason.UnknownGateway or DropReason.TunnelSource => tunnelSource,
        _ => null,
    };

    public static string CounterName(this DropReason reason) => s_names[(int)reason];
}

/// <summary>Counts per <see cref="DropReason"/>, from any thread. There are several to a user and most count nothing, so the counters come with the first. A field, never copied.</summary>
internal struct DropCounters
{
    private long[]? _counts;

    public void Add(DropReason reason, int packets = 1)
    {
        var counts = Volatile.Read(ref _counts);
        if (counts is null)
        {
            var fresh = new long[DropReasons.Count];
            counts = Interlocked.CompareExchange(ref _counts, fresh, null) ?? fresh;
        }

        Interlocked.Add(ref counts[(int)reason], packets);
    }

    public readonly IReadOnlyDictionary<string, long> ToReport()
    {
        var report = new SortedDictionary<string, long>(StringComparer.Ordinal);
        var counts = _counts ?? [];
        for (var i = 1; i < counts.Length; i++)
        {
            var count = Interlocked.Read(ref counts[i]);
            if (count != 0)
            {
                report[((DropReason)i).CounterName()] = count;
            }
        }

        return report;
    }
}
