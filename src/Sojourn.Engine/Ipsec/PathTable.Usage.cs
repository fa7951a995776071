namespace Sojourn.Engine.Ipsec;

/// <summary>Counting for accounting: one meter per user, profile and service class, whatever paths come and go.</summary>
public sealed partial class PathTable
{
    private readonly Dictionary<PathMeter, UsageMeter> _meters = [];

    /// <summary>
    /// Takes what was carried since the last call; nothing is counted twice and nothing is left out. A meter without paths goes once
    /// it has nothing more to say. Control thread.
    /// </summary>
    public IReadOnlyList<(string Session, ProfileUsage Usage)> TakeUsage()
    {
        var carried = new List<(string, ProfileUsage)>();
        foreach (var (name, meter) in _meters)
        {
            if (meter.Take() is { IsZero: false } figures)
            {
                carried.Add((name.Session, new ProfileUsage(name.ProfileNumber, name.UpTos, name.DownTos, meter.Revision, figures)));
            }
            else if (meter.Holders == 0)
            {
                _meters.Remove(name);
            }
        }

        return carried;
    }

    private UsageMeter? MeterOf(VpnPath path)
    {
        if (path.Meter is not { } name)
        {
            return null;
        }

        if (!_meters.TryGetValue(name, out var meter))
        {
            _meters[name] = meter = new UsageMeter(name.SendsUp);
        }

        meter.Holders++;
        meter.Revision = Math.Max(meter.Revision, path.Origin.Revision);
        return meter;
    }
}

/// <summary>Packet threads add, the control thread takes.</summary>
internal sealed class UsageMeter(bool sendsUp)
{
    private long _packetsOut;
    private long _octetsOut;
    private long _packetsIn;
    private long _octetsIn;

    /// <summary>Paths that count here. Control thread.</summary>
    public int Holders { get; set; }

    public ulong Revision { get; set; }

    public void CountOut(int octets, int packets)
    {
        Interlocked.Add(ref _packetsOut, packets);
        Interlocked.Add(ref _octetsOut, octets);
    }

    public void CountIn(int octets)
    {
        Interlocked.Increment(ref _packetsIn);
        Interlocked.Add(ref _octetsIn, octets);
    }

    public UsageFigures Take()
    {
        var (packetsOut, octetsOut) = ((ulong)Interlocked.Exchange(ref _packetsOut, 0), (ulong)Interlocked.Exchange(ref _octetsOut, 0));
        var (packetsIn, octetsIn) = ((ulong)Interlocked.Exchange(ref _packetsIn, 0), (ulong)Interlocked.Exchange(ref _octetsIn, 0));
        return sendsUp ? new(packetsOut, octetsOut, packetsIn, octetsIn) : new(packetsIn, octetsIn, packetsOut, octetsOut);
    }
}
