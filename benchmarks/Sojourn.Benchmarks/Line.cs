using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;
using Sojourn.Lab.Nodes;

namespace Sojourn.Benchmarks;

/// <param name="Offloads">The veth pairs keep their segmentation and checksum offloads.</param>
/// <param name="Lines">Which of plain, sojourn, native, wireguard.</param>
internal sealed record LineSettings(int Rounds, int Seconds, bool Offloads, IReadOnlyList<string> Lines);

/// <summary>One transfer through a line.</summary>
/// <param name="Load"><c>tcp-1</c>, <c>tcp-4</c> (streams), or <c>udp-64</c> (datagrams of 64 octets as fast as iperf3 makes them).</param>
/// <param name="Rate">TCP: Mbit/s that arrived; UDP: thousand datagrams per second that arrived.</param>
/// <param name="CpuSecondsPerGigabyte">Both gateways together, of payload; 0 for plain forwarding, whose time is the kernel's.</param>
/// <param name="PingMedian">Milliseconds, beside the load.</param>
/// <param name="PingWorst">Milliseconds.</param>
internal sealed record LineStretch(string Line, string Load, int Round, double Rate, double CpuSecondsPerGigabyte, double PingMedian, double PingWorst);

/// <summary>What two gateways carry, beside plain forwarding and wireguard-go in the same place, in turns on the same machine.</summary>
internal static partial class Line
{
    private static readonly string[] s_loads = ["tcp-1", "tcp-4", "udp-64"];

    public static async Task<IReadOnlyList<LineStretch>> RunAsync(LineSettings settings, TextWriter progress, CancellationToken cancellation)
    {
        foreach (var program in (string[])["iperf3", "ping"])
        {
            _ = LabCommand.Find(program) ?? throw new InvalidOperationException($"this benchmark needs {program}");
        }

        var lines = new List<GatewayLine>();
        var stretches = new List<LineStretch>();
        var folder = Directory.CreateTempSubdirectory("sojourn-bench-line-").FullName;
        try
        {
            foreach (var kind in settings.Lines)
            {
                if (kind == "wireguard" && (LabCommand.Find("wireguard-go") is null || LabCommand.Find("wg") is null))
                {
                    await progress.WriteLineAsync("wireguard-go and wireguard-tools are not installed: left out");
                    continue;
                }

                var line = new GatewayLine(kind, string.Create(CultureInfo.InvariantCulture, $"sjbl{Environment.ProcessId}-{kind[..2]}"), Directory.CreateDirectory(Path.Combine(folder, kind)).FullName, settings.Offloads);
                lines.Add(line);
                await line.StartAsync(cancellation);
            }

            // Round 0 warms up and is not kept.
            for (var round = 0; round <= settings.Rounds; round++)
            {
                foreach (var load in s_loads)
                {
                    foreach (var line in lines)
                    {
                        var stretch = await LoadAsync(line, load, round, settings.Seconds, cancellation);
                        await progress.WriteLineAsync(string.Create(CultureInfo.InvariantCulture,
                            $"{round} {load} {line.Kind,-9} {stretch.Rate,8:F0} {(load[0] == 't' ? "Mbit/s" : "kpps")} {stretch.CpuSecondsPerGigabyte,6:F2} s/GB, ping {stretch.PingMedian:F2} ms, at worst {stretch.PingWorst:F1}"));
                        if (round > 0)
                        {
                            stretches.Add(stretch);
                        }
                    }
                }
            }
        }
        finally
        {
            foreach (var line in lines)
            {
                line.Dispose();
            }

            Directory.Delete(folder, recursive: true);
        }

        return stretches;
    }

    public static void Print(IReadOnlyList<LineStretch> stretches, TextWriter output)
    {
        output.WriteLine("load    line       rate (median)  CPU s/GB  ping ms  to plain  to wireguard-go (medians of the rounds)");
        foreach (var group in stretches.GroupBy(s => (s.Load, s.Line)))
        {
            output.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{group.Key.Load,-7} {group.Key.Line,-9} {Median(group.Select(s => s.Rate)),14:F0} {Median(group.Select(s => s.CpuSecondsPerGigabyte)),9:F2} {Median(group.Select(s => s.PingMedian)),8:F2} {RatioTo("plain"),9:F2} {RatioTo("wireguard"),9:F2}"));

            double RatioTo(string other) => Median(group.SelectMany(s => stretches.Where(t => t.Line == other && t.Load == s.Load && t.Round == s.Round).Select(t => s.Rate / t.Rate)));
        }
    }

    private static async Task<LineStretch> LoadAsync(GatewayLine line, string load, int round, int seconds, CancellationToken cancellation)
    {
        var before = line.Cpu;
        var time = seconds.ToString(CultureInfo.InvariantCulture);
        var ping = LabCommand.RunAsync(line.Inside("a", "ping", "-i", "0.02", "-w", time, GatewayLine.HostB), cancellation);
        IReadOnlyList<string> arguments = load switch { "tcp-1" => [], "tcp-4" => ["-P", "4"], _ => ["-u", "-l", "64", "-b", "0"] };
        var result = await LabCommand.RunAsync(line.Inside("a", ["iperf3", "-J", "-c", GatewayLine.HostB, "-t", time, .. arguments]), cancellation);
        if (result.ExitCode != 0)
        {
            throw new InvalidOperationException($"{result}: {result.Output} {result.Errors}");
        }

        var cpu = line.Cpu - before;
        var times = PingTime().Matches((await ping).Output).Select(m => double.Parse(m.Groups[1].Value, CultureInfo.InvariantCulture)).Order().ToList();
        using var report = JsonDocument.Parse(result.Output);
        var end = report.RootElement.GetProperty("end");
        double rate, octets;
        if (load[0] == 't')
        {
            var received = end.GetProperty("sum_received");
            (rate, octets) = (received.GetProperty("bits_per_second").GetDouble() / 1e6, received.GetProperty("bytes").GetDouble());
        }
        else
        {
            // The sum counts what was sent; the loss is the receiver's.
            var sum = end.GetProperty("sum");
            var arrived = sum.GetProperty("packets").GetDouble() - sum.GetProperty("lost_packets").GetDouble();
            (rate, octets) = (arrived / sum.GetProperty("seconds").GetDouble() / 1e3, arrived * 64);
        }

        return new LineStretch(line.Kind, load, round, rate, cpu.TotalSeconds / Math.Max(octets / 1e9, 1e-6), Median(times), times.Count == 0 ? double.NaN : times[^1]);
    }

    [GeneratedRegex(@"time=([\d.]+) ms")]
    private static partial Regex PingTime();

    private static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToList();
        return sorted.Count == 0 ? double.NaN : (sorted[(sorted.Count - 1) / 2] + sorted[sorted.Count / 2]) / 2;
    }
}

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals)]
[JsonSerializable(typeof(IReadOnlyList<LineStretch>))]
internal sealed partial class LineJson : JsonSerializerContext;
