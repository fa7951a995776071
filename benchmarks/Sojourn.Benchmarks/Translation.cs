using System.Globalization;
using System.Text.Json.Serialization;
using Sojourn.Lab.Nodes;

namespace Sojourn.Benchmarks;

/// <param name="Offloads">The veth pairs keep their segmentation and checksum offloads.</param>
internal sealed record TranslationSettings(int Rounds, int Seconds, bool Offloads);

/// <summary>One transfer: what arrived, and the processor time that translating took.</summary>
internal sealed record TranslationStretch(string Translator, string Direction, int Round, double MegabitsPerSecond, double CpuSecondsPerGigabyte);

/// <summary>
/// TCP throughput of IPv4 applications to a server that has IPv6 only: the terminal at home (no tunnel), TAYGA, and the terminal in a
/// visited network (tunnel to its home agent), in turns on the same machine. The transfer is iperf3's, one stream.
/// </summary>
internal static class Translation
{
    private static readonly string[] s_hosts = ["home", "tayga", "away"];

    public static async Task<IReadOnlyList<TranslationStretch>> RunAsync(TranslationSettings settings, TextWriter progress, CancellationToken cancellation)
    {
        foreach (var program in (string[])["iperf3", "tayga", "radvd"])
        {
            _ = LabCommand.Find(program) ?? throw new InvalidOperationException($"this benchmark needs {program}");
        }

        var folder = Directory.CreateTempSubdirectory("sojourn-bench-translation-").FullName;
        var stretches = new List<TranslationStretch>();
        try
        {
            using var network = new TranslationNetwork(folder, settings.Offloads);
            await network.StartAsync(cancellation);

            // Round 0 warms up and is not kept.
            for (var round = 0; round <= settings.Rounds; round++)
            {
                foreach (var direction in (string[])["up", "down"])
                {
                    foreach (var host in s_hosts)
                    {
                        var stretch = await TransferAsync(network, host, direction, round, settings.Seconds, cancellation);
                        await progress.WriteLineAsync(string.Create(CultureInfo.InvariantCulture, $"{round} {direction,-4} {host,-5} {stretch.MegabitsPerSecond,8:F0} Mbit/s {stretch.CpuSecondsPerGigabyte,6:F2} s/GB"));
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
            Directory.Delete(folder, recursive: true);
        }

        return stretches;
    }

    public static void Print(IReadOnlyList<TranslationStretch> stretches, TextWriter output)
    {
        output.WriteLine("direction  translator  Mbit/s (median)  CPU s/GB  ratio to TAYGA (median of the rounds)");
        foreach (var group in stretches.GroupBy(s => (s.Direction, s.Translator)))
        {
            var ratios = group.Select(s => s.MegabitsPerSecond / stretches.First(t => t.Translator == "tayga" && t.Direction == s.Direction && t.Round == s.Round).MegabitsPerSecond);
            output.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{group.Key.Direction,-9}  {group.Key.Translator,-10}  {Statistics.Median(group.Select(s => s.MegabitsPerSecond)),15:F0}  {Statistics.Median(group.Select(s => s.CpuSecondsPerGigabyte)),8:F2}  {Statistics.Median(ratios):F2}"));
        }
    }

    private static async Task<TranslationStretch> TransferAsync(TranslationNetwork network, string host, string direction, int round, int seconds, CancellationToken cancellation)
    {
        var before = network.CpuOf(host);
        var (rate, octets) = await Iperf3.TransferAsync(network.Hosts, host, TranslationNetwork.Server4, 1, seconds, cancellation, direction == "down" ? "-R" : null);
        var cpu = network.CpuOf(host) - before;
        return new TranslationStretch(host, direction, round, rate, cpu.TotalSeconds / Math.Max(octets / 1e9, 1e-6));
    }
}

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(IReadOnlyList<TranslationStretch>))]
internal sealed partial class TranslationJson : JsonSerializerContext;
