namespace Sojourn.Engine.Ipsec;

/// <summary>
/// Path MTU between two tunnel ends (RFC 4301 8.2, RFC 1191, RFC 8201), shared by all paths between them. A learned
/// value is forgotten after ten minutes (RFC 1191 6.3), so that a larger path is found again.
/// </summary>
internal sealed class TunnelMtu(int linkMtu, TunnelKey ends)
{
    public const int FloorIPv4 = 576;
    public const int FloorIPv6 = 1280;
    private const int ReportsPerSecond = 4;
    private static readonly long s_lifetime = TimeSpan.FromMinutes(10).Ticks;

    /// <summary>Sizes to try when a router does not say what fits (RFC 1191 7).</summary>
    private static readonly int[] s_plateaus = [32000, 17914, 8166, 4352, 2002, 1492, 1006, FloorIPv4];

    private readonly Lock _gate = new();
    private volatile int _learned;
    private long _learnedUntil;
    private long _second;
    private int _reports;

    /// <summary>The ends, here and not in each path between them.</summary>
    public TunnelKey Ends { get; } = ends;

    public byte[] LocalOctets { get; } = AddressNumber.Octets(ends.Local, ends.IsIPv6);

    public byte[] RemoteOctets { get; } = AddressNumber.Octets(ends.Remote, ends.IsIPv6);

    /// <summary>How many paths use these ends. Control thread.</summary>
    public int Holders { get; set; }

    /// <summary>
    /// A router on the path wants less than 576 octets: outer packets then go without DF, since a value that low is more
    /// likely a lie than a link and both must be survived.
    /// </summary>
    public bool BelowFloor { get; private set; }

    /// <summary>Longest outer packet in octets.</summary>
    public int Current(DateTimeOffset now)
    {
        var learned = _learned;
        if (learned == 0)
        {
            return linkMtu;
        }

        if (now.UtcTicks < Volatile.Read(ref _learnedUntil))
        {
            return Math.Min(learned, linkMtu);
        }

        lock (_gate)
        {
            _learned = 0;
            BelowFloor = false;
        }

        return linkMtu;
    }

    /// <summary>Takes a router's word. Only ever lowers the value.</summary>
    /// <param name="reported">Next-hop MTU, 0 when the router is from before RFC 1191.</param>
    /// <param name="packetLength">Total length of the outer packet that did not fit.</param>
    public bool Learn(int reported, int packetLength, DateTimeOffset now)
    {
        lock (_gate)
        {
            var second = now.UtcTicks / TimeSpan.TicksPerSecond;
            _reports = second == _second ? _reports + 1 : 1;
            _second = second;
            if (_reports > ReportsPerSecond)
            {
                return false;
            }

            var current = Current(now);
            if (reported == 0 && !Ends.IsIPv6)
            {
                reported = Array.Find(s_plateaus, plateau => plateau < Math.Min(packetLength, current));
            }

            // An IPv6 link carries 1280; a report below that is not to be followed (RFC 8201 4).
            var floor = Ends.IsIPv6 ? FloorIPv6 : FloorIPv4;
            if (reported >= current || (Ends.IsIPv6 && reported < floor))
            {
                return false;
            }

            BelowFloor = reported < floor;
            Volatile.Write(ref _learnedUntil, now.UtcTicks + s_lifetime);
            _learned = Math.Max(reported, floor);
            return true;
        }
    }
}
