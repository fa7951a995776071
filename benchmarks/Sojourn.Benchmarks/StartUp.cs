using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using Sojourn.Lab.Nodes;

namespace Sojourn.Benchmarks;

/// <summary>
/// How long a small gateway, started anew, takes until it answers at its control socket, and how large it is then; beside it the program that only says its
/// version: runtime and command line.
/// </summary>
internal static class StartUp
{
    private sealed record Start(double Milliseconds, double CpuMilliseconds, double Resident);

    public static async Task RunAsync(int rounds, TextWriter output, CancellationToken cancellation)
    {
        var folder = Directory.CreateTempSubdirectory("sojourn-bench-start-").FullName;
        try
        {
            await GatewayConfiguration.WriteKeyAsync(folder, cancellation);
            var own = Directory.CreateDirectory(Path.Combine(folder, "ga")).FullName;
            await File.WriteAllTextAsync(Path.Combine(own, "config.yaml"), "node: ga\nstate-directory: state\ncontrol: { socket: control.sock }\nlog: { level: warning, file: log.jsonl }\n" + GatewayConfiguration.Of("ga", udp: true), cancellation);
            var starts = new List<Start>();
            var versions = new List<double>();
            for (var round = 0; round <= rounds; round++)
            {
                // Killed, a node leaves rules behind, so each gets hosts of its own.
                using var hosts = new BenchmarkHosts("ga", "gb");
                hosts.Join("ga", "outside", "gb", "outside", ["192.0.2.1/24"], ["192.0.2.2/24"]);
                var watch = Stopwatch.StartNew();
                await hosts.CheckedAsync("ga", [.. LabCommand.Sojourn, "--version"], cancellation);
                var version = watch.Elapsed.TotalMilliseconds;
                var start = await StartAsync(hosts, own, cancellation);

                // The first one reads everything from the disk.
                if (round > 0)
                {
                    starts.Add(start);
                    versions.Add(version);
                }
            }

            await output.WriteLineAsync(string.Create(CultureInfo.InvariantCulture, $"gateway ready: {Statistics.Median(starts.Select(s => s.Milliseconds)):F0} ms, {Statistics.Median(starts.Select(s => s.CpuMilliseconds)):F0} ms of processor time, {Statistics.Median(starts.Select(s => s.Resident)):F1} MiB resident (medians of {rounds})"));
            await output.WriteLineAsync(string.Create(CultureInfo.InvariantCulture, $"the program saying its version: {Statistics.Median(versions):F0} ms"));
            await output.WriteLineAsync("of a minimal host on the plain runtime 70 ms and 42 MiB, of Kestrel alone 200 ms and 51 MiB were measured on a quiet machine");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<Start> StartAsync(BenchmarkHosts hosts, string folder, CancellationToken cancellation)
    {
        var socket = Path.Combine(folder, "control.sock");
        var watch = Stopwatch.StartNew();
        var (process, words) = hosts.Start("ga", [.. LabCommand.Sojourn, "run", "--config", Path.Combine(folder, "config.yaml")]);
        while (!Listens(socket))
        {
            if (process.HasExited || watch.Elapsed > TimeSpan.FromMinutes(1))
            {
                throw new InvalidOperationException("the gateway did not start: " + string.Join(' ', words));
            }

            await Task.Delay(1, cancellation);
        }

        var took = watch.Elapsed.TotalMilliseconds;
        process.Refresh();
        return new Start(took, process.TotalProcessorTime.TotalMilliseconds, process.WorkingSet64 / 1048576.0);
    }

    private static bool Listens(string path)
    {
        if (!File.Exists(path))
        {
            return false;
        }

        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(path));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
