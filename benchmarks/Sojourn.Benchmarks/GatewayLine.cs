using System.Diagnostics;
using Sojourn.DataPath.Netlink;

namespace Sojourn.Benchmarks;

/// <summary>What the three links of a line do with long segments.</summary>
internal enum LineMode
{
    /// <summary>veth pairs as the kernel makes them.</summary>
    Offloads,

    /// <summary>The link between the gateways cuts to the MTU, those to the hosts are as they are.</summary>
    Outer,

    /// <summary>Every link cuts to the MTU, and receivers put together what comes in (GRO): closest to real network cards.</summary>
    Cut,

    /// <summary>No offload of any kind on any link.</summary>
    None,
}

/// <summary>
/// Two hosts and what lies between them, MTU 1500 throughout, in IPv4 and IPv6:
/// <code>
/// a 10.1.0.2 ── 10.1.0.1 ga 192.0.2.1 ── 192.0.2.2 gb 10.2.0.1 ── 10.2.0.2 b
/// a 2001:db8:1::2 ── ::1 ga 2001:db8:a::1 ── 2001:db8:a::2 gb 2001:db8:2::1 ── ::2 b
/// </code>
/// What stands in the middle says the <see cref="LineTunnel"/>. A line whose name ends in 6 is IPv6 inside and outside.
/// </summary>
internal sealed class GatewayLine : IAsyncDisposable
{
    private LineTunnel? _tunnel;

    /// <param name="name">A kind; with <c>@FOLDER</c> behind it the nodes are those of the build that lies there.</param>
    public GatewayLine(string name, LineMode mode)
    {
        (Kind, Build) = name.Split('@', 2) is [var kind, var folder] ? (kind, folder) : (name, null);
        Name = Build is null ? Kind : $"{Kind}@{Path.GetFileName(Build)}";
        var (inner, outer) = mode switch
        {
            LineMode.Cut => (LinkMode.Cut, LinkMode.Cut),
            LineMode.None => (LinkMode.Plain, LinkMode.Plain),
            _ => (LinkMode.Offloads, LinkMode.Offloads),
        };
        Hosts = new BenchmarkHosts("a", "ga", "gb", "b");
        try
        {
            Hosts.Join("a", "eth0", "ga", "inside", ["10.1.0.2/24", "2001:db8:1::2/64"], ["10.1.0.1/24", "2001:db8:1::1/64"], inner);
            Hosts.Join("ga", "outside", "gb", "outside", ["192.0.2.1/24", "2001:db8:a::1/64"], ["192.0.2.2/24", "2001:db8:a::2/64"], outer);
            Hosts.Join("gb", "inside", "b", "eth0", ["10.2.0.1/24", "2001:db8:2::1/64"], ["10.2.0.2/24", "2001:db8:2::2/64"], inner);
            foreach (var (host, net) in new[] { ("a", "1"), ("b", "2") })
            {
                Hosts.Via(host, "0.0.0.0/0", $"10.{net}.0.1", "eth0");
                Hosts.Via(host, "::/0", $"2001:db8:{net}::1", "eth0");
            }

            foreach (var gateway in (string[])["ga", "gb"])
            {
                Hosts.Forward6(gateway);
                if (mode is LineMode.Outer or LineMode.Cut)
                {
                    // Also of UDP (UDP_SEGMENT), which other switches leave whole. At a sender's own end it would slow TCP down to a fraction.
                    using var route = Rtnetlink.Open(Hosts[gateway]);
                    route.SetSegmentsAtOnce("outside", 1);
                }
            }
        }
        catch
        {
            Hosts.Dispose();
            throw;
        }
    }

    public string Kind { get; }

    /// <summary>Folder of another build of ours; null = this one.</summary>
    public string? Build { get; }

    /// <summary>How it is called in figures.</summary>
    public string Name { get; }

    public BenchmarkHosts Hosts { get; }

    public bool Ipv6 => Kind.EndsWith('6');

    /// <summary>Address of the host at the far end, and of the one at this end.</summary>
    public string Far => Ipv6 ? "2001:db8:2::2" : "10.2.0.2";

    public string Near => Ipv6 ? "2001:db8:1::2" : "10.1.0.2";

    /// <summary>What the line is about.</summary>
    public LineTunnel Tunnel => _tunnel ?? throw new InvalidOperationException("the line has not been started");

    public async Task StartAsync(string folder, string wireguard, CancellationToken cancellation)
    {
        Hosts.Start("b", ["iperf3", "-s"]);
        _tunnel = Kind switch
        {
            "plain" or "plain6" => new PlainForwarding(this),
            "sojourn" or "native" or "native-xdp" or "libcrypto" => new SojournGateways(this, folder),
            "sojourn6" => new SojournPacketPaths(this),
            "moving" => new SojournInProcess(this, folder),
            "wireguard" or "wireguard6" => new WireguardGo(this, folder, wireguard),
            "strongswan" => new StrongSwanGateways(this, folder),
            _ => throw new ArgumentException($"there is no line '{Kind}'"),
        };
        await _tunnel.StartAsync(cancellation);
        await Hosts.ReachAsync("a", Far, cancellation);
    }

    public async ValueTask DisposeAsync()
    {
        if (_tunnel is not null)
        {
            await _tunnel.DisposeAsync();
        }

        Hosts.Dispose();
    }
}

/// <summary>What joins the two networks of a line.</summary>
internal abstract class LineTunnel(GatewayLine line) : IAsyncDisposable
{
    protected GatewayLine Line { get; } = line;

    protected BenchmarkHosts Hosts => Line.Hosts;

    /// <summary>The processes of both ends; none where the kernel does it.</summary>
    protected List<Process> Ends { get; } = [];

    /// <summary>User and system time of both ends so far.</summary>
    public virtual TimeSpan Cpu => Ends.Aggregate(TimeSpan.Zero, (sum, process) =>
    {
        process.Refresh();
        return sum + process.TotalProcessorTime;
    });

    /// <summary>Resident octets of the larger end; null where there is no process of its own.</summary>
    public long? Resident => Ends.Count == 0 ? null : Ends.Max(process =>
    {
        process.Refresh();
        return process.WorkingSet64;
    });

    public abstract Task StartAsync(CancellationToken cancellation);

    /// <summary>Collections of the last generation so far and octets ever taken from the managed heap, of both ends; null where they have none of their own.</summary>
    public virtual Task<(long Full, long Allocated)?> HeapAsync(CancellationToken cancellation) => Task.FromResult<(long, long)?>(null);

    /// <summary>Ends what the two ends have agreed on; the next packet, or <see cref="InitiateAsync"/>, has to begin anew.</summary>
    /// <returns>False where that cannot be done.</returns>
    public virtual Task<bool> ForgetAsync(CancellationToken cancellation) => Task.FromResult(false);

    /// <summary>Begins, where not the first packet does.</summary>
    public virtual Task InitiateAsync(CancellationToken cancellation) => Task.CompletedTask;

    /// <summary>Tells the end at ga, whose old address is gone, its new one, where it does not see that by itself.</summary>
    /// <returns>False where it cannot move.</returns>
    public virtual Task<bool> MoveAsync(string address, CancellationToken cancellation) => Task.FromResult(false);

    public virtual ValueTask DisposeAsync() => ValueTask.CompletedTask;
}

/// <summary>Two routers.</summary>
internal sealed class PlainForwarding(GatewayLine line) : LineTunnel(line)
{
    public override Task StartAsync(CancellationToken cancellation)
    {
        Hosts.Via("ga", "10.2.0.0/24", "192.0.2.2", "outside");
        Hosts.Via("gb", "10.1.0.0/24", "192.0.2.1", "outside");
        Hosts.Via("ga", "2001:db8:2::/64", "2001:db8:a::2", "outside");
        Hosts.Via("gb", "2001:db8:1::/64", "2001:db8:a::1", "outside");
        return Task.CompletedTask;
    }
}
