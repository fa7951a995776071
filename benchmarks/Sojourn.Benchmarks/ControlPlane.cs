using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Sojourn.Benchmarks;

/// <param name="Registered">Users registered before the measured stretch.</param>
/// <param name="CpuMicroseconds">Per registration, by node.</param>
/// <param name="ResidentOctets">After the stretch, by node.</param>
internal sealed record ControlPlanePoint(
    int Registered, int Measured, double RegistrationsPerSecond, double RefusedPercent, int Repeated,
    IReadOnlyDictionary<string, double> CpuMicroseconds, IReadOnlyDictionary<string, long> ResidentOctets, IReadOnlyDictionary<string, int> Refusals);

/// <param name="RelayRequestsPerSecond">freeDiameter's, each measured beside the point of the same index; empty without freeDiameter.</param>
/// <param name="OctetsPerUser">Resident memory between the first and the last point, by node.</param>
/// <param name="HomeAgentRequests">HARs of the AAAH over all registrations: each was a full one.</param>
internal sealed record ControlPlaneResult(
    int Window, IReadOnlyList<ControlPlanePoint> Points, IReadOnlyList<double> RelayRequestsPerSecond, double? RatioToRelay,
    IReadOnlyDictionary<string, double> OctetsPerUser, double LastToFirstRate, long HomeAgentRequests, int Accepted);

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.KebabCaseLower)]
[JsonSerializable(typeof(ControlPlaneResult))]
internal sealed partial class ResultJson : JsonSerializerContext;

/// <summary>
/// Registrations per second through foreign agent, AAAF, AAAH and home agent (one process each, TLS between them), the cost
/// of one in each process, and what a registered user costs in memory. Every registration is a node's first: AMR, HAR, HAA,
/// AMA, subscriber and profiles read from SQLite, keys made, paths and routes installed at both agents.
/// </summary>
internal static class ControlPlane
{
    private const int WarmUp = 1000;

    public static async Task<ControlPlaneResult> RunAsync(ControlPlaneSettings settings, TextWriter progress, CancellationToken cancellation)
    {
        var folder = Directory.CreateTempSubdirectory("sojourn-benchmark-").FullName;
        try
        {
            using var network = new BenchmarkNetwork();
            var population = new Population(Math.Max(WarmUp, settings.Levels.Max()) + settings.Measured + WarmUp);
            progress.WriteLine($"provisioning {population.Count} users");
            var nodes = new BenchmarkNodes(folder, population, cancellation);
            await nodes.StartAsync(network.Hosts, cancellation);
            using var load = network["nodes"].Run(() => new MobileNodeLoad(population, "eth0"));
            load.WaitForAgent(TimeSpan.FromSeconds(30));
            return await MeasureAsync(settings, network, nodes, load, folder, progress, cancellation);
        }
        finally
        {
            if (settings.Keep)
            {
                progress.WriteLine($"files: {folder}");
            }
            else
            {
                Directory.Delete(folder, recursive: true);
            }
        }
    }

    private static async Task<ControlPlaneResult> MeasureAsync(
        ControlPlaneSettings settings, BenchmarkNetwork network, BenchmarkNodes nodes, MobileNodeLoad load, string folder, TextWriter progress, CancellationToken cancellation)
    {
        var points = new List<ControlPlanePoint>();
        var relay = new List<double>();
        var (registered, accepted) = (0, 0);
        Fill(WarmUp, measured: false);
        foreach (var level in settings.Levels)
        {
            Fill(level, measured: false);
            if (FreeDiameterRelay.IsInstalled && settings.Relay)
            {
                relay.Add(new FreeDiameterRelay(network["relay"], Path.Combine(folder, $"relay{relay.Count}")).Measure(settings.Window, TimeSpan.FromSeconds(3)));
                progress.WriteLine(string.Create(CultureInfo.InvariantCulture, $"freeDiameter relay: {relay[^1]:0} requests/s"));
            }

            Fill(level + settings.Measured, measured: true);
        }

        var (low, high) = (points[0], points[^1]);
        var users = high.Registered - low.Registered;
        return new ControlPlaneResult(
            settings.Window, points, relay,
            relay.Count > 0 ? Statistics.Median(points.Zip(relay, (point, requests) => point.RegistrationsPerSecond / requests)) : null,
            BenchmarkNodes.Names.ToDictionary(n => n, n => users > 0 ? (double)(high.ResidentOctets[n] - low.ResidentOctets[n]) / users : 0),
            high.RegistrationsPerSecond / low.RegistrationsPerSecond,
            await nodes.CounterAsync("aaah", "aaah.har.sent", cancellation), accepted);

        void Fill(int upTo, bool measured)
        {
            if (upTo <= registered)
            {
                return;
            }

            var before = BenchmarkNodes.Names.ToDictionary(n => n, n => nodes.UsageOf(n).Cpu);
            var result = load.Register(registered, upTo, settings.Window, cancellation);
            accepted += result.Accepted;
            var point = new ControlPlanePoint(
                registered, upTo - registered, result.PerSecond, 100.0 * result.Refused / (upTo - registered), result.Repeated,
                BenchmarkNodes.Names.ToDictionary(n => n, n => (nodes.UsageOf(n).Cpu - before[n]).TotalMicroseconds / (upTo - registered)),
                BenchmarkNodes.Names.ToDictionary(n => n, n => nodes.UsageOf(n).ResidentOctets), result.Refusals);
            registered = upTo;
            progress.WriteLine($"{(measured ? "measured" : "filled")}: {Line(point)}");
            if (measured)
            {
                points.Add(point);
            }
        }
    }

    public static string Line(ControlPlanePoint point) => string.Create(CultureInfo.InvariantCulture,
        $"{point.Registered,7} users + {point.Measured}: {point.RegistrationsPerSecond:0}/s, {point.RefusedPercent:0.00} % refused, {point.Repeated} repeated; us each: {string.Join(", ", point.CpuMicroseconds.Select(c => string.Create(CultureInfo.InvariantCulture, $"{c.Key} {c.Value:0}")))}; MB: {string.Join(", ", point.ResidentOctets.Select(r => $"{r.Key} {r.Value >> 20}"))}{(point.Refusals.Count > 0 ? "; " : "")}{string.Join(", ", point.Refusals.Select(r => $"{r.Value} {r.Key}"))}");

    public static void Print(ControlPlaneResult result, TextWriter output)
    {
        foreach (var point in result.Points)
        {
            output.WriteLine(Line(point));
        }

        Row("registrations/s to freeDiameter relay requests/s", result.RatioToRelay, "0.000", ">= 0.25");
        Row("AAAH CPU per registration, us", result.Points[^1].CpuMicroseconds["aaah"], "0", "<= 120");
        Row("refused, %", result.Points.Max(p => p.RefusedPercent), "0.00", "< 1");
        Row("rate at the last level to rate at the first", result.LastToFirstRate, "0.00", ">= 0.90");
        Row("AAAH octets per user", result.OctetsPerUser["aaah"], "0", "linear");
        Row("home agent octets per user", result.OctetsPerUser["ha"], "0", "linear");
        Row("HARs per accepted registration", (double)result.HomeAgentRequests / result.Accepted, "0.00", ">= 1");

        void Row(string what, double? value, string format, string wanted) =>
            output.WriteLine($"{what,-52} {value?.ToString(format, CultureInfo.InvariantCulture) ?? "not measured",12}   wanted {wanted}");
    }
}

/// <param name="Levels">Numbers of registered users at which a stretch is measured, growing.</param>
/// <param name="Measured">Registrations in each stretch.</param>
internal sealed record ControlPlaneSettings(IReadOnlyList<int> Levels, int Measured, int Window, bool Relay, bool Keep);
