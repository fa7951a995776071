using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Sojourn.DataPath.Netlink;
using Sojourn.Lab.Nodes;

namespace Sojourn.Benchmarks;

/// <summary>Something done to a line, and what it gives.</summary>
/// <param name="Applies">To which lines, by name.</param>
internal sealed record LineLoad(Func<string, bool> Applies, Func<GatewayLine, CancellationToken, Task<IReadOnlyList<(string Measure, double Value)>>> Run);

internal static partial class LineLoads
{
    /// <summary>Rates of 64-octet datagrams at which nothing should be lost, per second.</summary>
    private const double Steady = 100_000;

    /// <summary>For how long nothing may collect the last generation.</summary>
    private const int Uncollected = 60;

    public static IEnumerable<LineLoad> Of(LineSettings settings, LineMode mode, int round)
    {
        var time = TimeSpan.FromSeconds(settings.Seconds);
        var trial = time / 2;
        var carries = (string kind) => kind != "moving";
        yield return new(carries, (line, c) => TcpAsync(line, 1, settings.Seconds, c));
        if (round == 0)
        {
            yield break;
        }

        yield return new(carries, (line, c) => TcpAsync(line, 4, settings.Seconds, c));
        if (!settings.Small)
        {
            yield break;
        }

        yield return new(carries, (line, c) => IdleAsync(line, time, c));
        yield return new(carries, (line, _) => Task.Run(() => Datagrams(line, 1400, trial)));
        yield return new(carries, (line, _) => Task.Run(() => Datagrams(line, 64, trial)));
        if (mode == settings.Modes[0])
        {
            var moves = (string kind) => kind is "moving" or "wireguard" or "strongswan";
            yield return new(moves, InitiateAsync);
            yield return new(moves, MoveAsync);
            if (round == 1)
            {
                yield return new(kind => kind == "sojourn", CollectionsAsync);
            }
        }
    }

    /// <summary>iperf3's streams with a ping beside them.</summary>
    private static async Task<IReadOnlyList<(string, double)>> TcpAsync(GatewayLine line, int streams, int seconds, CancellationToken cancellation)
    {
        var before = line.Tunnel.Cpu;
        var time = seconds.ToString(CultureInfo.InvariantCulture);
        var ping = LabCommand.RunAsync(line.Hosts.Inside("a", "ping", "-i", "0.02", "-w", time, line.Far), cancellation);
        var (rate, octets) = await Iperf3.TransferAsync(line.Hosts, "a", line.Far, streams, seconds, cancellation);
        var cpu = line.Tunnel.Cpu - before;
        var times = TimesOf((await ping).Output);
        List<(string, double)> values = [(streams == 1 ? "tcp-1" : "tcp-4", rate)];
        if (streams == 1)
        {
            values.Add(("cpu", cpu == TimeSpan.Zero ? double.NaN : cpu.TotalSeconds / Math.Max(octets / 1e9, 1e-6)));
            values.Add(("ping-tcp", Statistics.Median(times)));
        }

        return values;
    }

    private static async Task<IReadOnlyList<(string, double)>> IdleAsync(GatewayLine line, TimeSpan time, CancellationToken cancellation)
    {
        var count = ((int)(time.TotalSeconds * 100)).ToString(CultureInfo.InvariantCulture);
        var times = TimesOf((await LabCommand.RunAsync(line.Hosts.Inside("a", "ping", "-i", "0.01", "-c", count, line.Far), cancellation)).Output);
        return times.Count == 0 ? [] : [("ping", times.Average()), ("ping-p99", times[(int)((times.Count - 1) * 0.99)])];
    }

    /// <summary>The highest rate, what is carried of twice that and how late, and for small packets what a steady rate loses.</summary>
    private static IReadOnlyList<(string, double)> Datagrams(GatewayLine line, int size, TimeSpan trial)
    {
        // 1400 octets are the packet's, since they have to fit the inner MTU of all; 64 are the payload's.
        var length = size == 64 ? size : size - (line.Ipv6 ? 48 : 28);
        using var traffic = new UdpTraffic(line.Hosts["a"], line.Hosts["b"], line.Far);
        var best = traffic.Highest(trial, length, trials: 6);
        List<(string, double)> values = [(Name("udp"), best)];
        if (size == 64)
        {
            values.Add(("loss-64", 100 * traffic.Send(Steady, 2 * trial, length).Loss));
        }

        var flood = traffic.Send(2e3 * best, 2 * trial, length);

        // What one sender cannot send is no flood.
        if (flood.Sent / flood.Seconds > 1.5e3 * best)
        {
            values.Add((Name("flood"), flood.Rate / best));
            values.Add((Name("delay"), flood.DelayP99));
        }

        if (size == 64 && line.Tunnel.Resident is { } resident)
        {
            values.Add(("memory", resident / 1048576.0));
        }

        return values;

        string Name(string what) => string.Create(CultureInfo.InvariantCulture, $"{what}-{size}");
    }

    /// <summary>What a long transfer leaves to the collector.</summary>
    private static async Task<IReadOnlyList<(string, double)>> CollectionsAsync(GatewayLine line, CancellationToken cancellation)
    {
        var before = await line.Tunnel.HeapAsync(cancellation);
        await Iperf3.TransferAsync(line.Hosts, "a", line.Far, 1, Uncollected, cancellation);
        return await line.Tunnel.HeapAsync(cancellation) is { } after && before is { } began
            ? [("gen2", after.Full - began.Full), ("allocated", (after.Allocated - began.Allocated) / 1024.0 / Uncollected)] : [];
    }

    /// <summary>From the first packet, or from being told to begin, to the first reply.</summary>
    private static async Task<IReadOnlyList<(string, double)>> InitiateAsync(GatewayLine line, CancellationToken cancellation)
    {
        if (!await line.Tunnel.ForgetAsync(cancellation))
        {
            return [];
        }

        var began = Stopwatch.GetTimestamp();
        using var flow = new EchoFlow(line.Hosts["a"], line.Hosts["b"], line.Far, TimeSpan.FromMilliseconds(1));
        await line.Tunnel.InitiateAsync(cancellation);
        while (flow.Replies.Count == 0 && Stopwatch.GetElapsedTime(began) < TimeSpan.FromSeconds(10))
        {
            await Task.Delay(5, cancellation);
        }

        return flow.Replies is [var first, ..] ? [("initiate", Stopwatch.GetElapsedTime(began, first).TotalMilliseconds)] : throw new InvalidOperationException($"{line.Kind} does not begin again");
    }

    /// <summary>The outer address of ga becomes another during a TCP transfer; the gap is the longest time without a reply of an echo beside it. Afterwards it comes back.</summary>
    private static async Task<IReadOnlyList<(string, double)>> MoveAsync(GatewayLine line, CancellationToken cancellation)
    {
        const string home = "192.0.2.1", away = "192.0.2.3";
        var transfer = Iperf3.TransferAsync(line.Hosts, "a", line.Far, 1, 4, cancellation, tries: 1);
        using var flow = new EchoFlow(line.Hosts["a"], line.Hosts["b"], line.Far, TimeSpan.FromMilliseconds(2));
        await Task.Delay(1500, cancellation);
        var moved = Stopwatch.GetTimestamp();
        await ReaddressAsync(line, home, away, cancellation);

        // A reset ends the transfer with an error.
        await transfer;
        var replies = flow.Replies;
        await ReaddressAsync(line, away, home, cancellation);
        var back = Stopwatch.GetTimestamp();
        while ((flow.Replies is not [.., var last] || last < back) && Stopwatch.GetElapsedTime(back) < TimeSpan.FromSeconds(5))
        {
            await Task.Delay(20, cancellation);
        }

        return [("gap", replies.Zip(replies.Skip(1)).Where(pair => pair.Second > moved).Select(pair => Stopwatch.GetElapsedTime(pair.First, pair.Second).TotalMilliseconds).DefaultIfEmpty(double.NaN).Max())];
    }

    private static async Task ReaddressAsync(GatewayLine line, string from, string to, CancellationToken cancellation)
    {
        line.Hosts["ga"].Run(() =>
        {
            // The second address of a network would go with the first.
            Sysctl.Change("1", "ipv4", "conf", "outside", "promote_secondaries");
            using var route = new Rtnetlink();
            route.AddAddress("outside", System.Net.IPAddress.Parse(to), 24);
            route.RemoveAddress("outside", System.Net.IPAddress.Parse(from), 24);
        });
        await line.Tunnel.MoveAsync(to, cancellation);
    }

    private static List<double> TimesOf(string output) => [.. PingTime().Matches(output).Select(m => double.Parse(m.Groups[1].Value, CultureInfo.InvariantCulture)).Order()];

    [GeneratedRegex(@"time=([\d.]+) ms")]
    private static partial Regex PingTime();
}
