using System.Globalization;
using System.Text.Json;
using Sojourn.Lab.Nodes;

namespace Sojourn.Benchmarks;

/// <summary>A TCP transfer by iperf3, whose server runs.</summary>
internal static class Iperf3
{
    /// <param name="more">Further options: <c>-R</c>, <c>-4</c>.</param>
    /// <param name="tries">A server that has just begun, or has not yet done with the client before, answers nothing or a refusal.</param>
    /// <returns>Mbit/s and octets that arrived.</returns>
    /// <exception cref="InvalidOperationException">It broke off.</exception>
    public static async Task<(double Rate, double Octets)> TransferAsync(BenchmarkHosts hosts, string from, string to, int streams, int seconds, CancellationToken cancellation, string? more = null, int tries = 10)
    {
        while (true)
        {
            List<string> command = ["iperf3", "-J", "-c", to, "-P", streams.ToString(CultureInfo.InvariantCulture), "-t", seconds.ToString(CultureInfo.InvariantCulture)];
            if (more is not null)
            {
                command.Add(more);
            }

            var result = await LabCommand.RunAsync(hosts.Inside(from, command), cancellation);
            using var report = JsonDocument.Parse(result.Output is "" ? "{}" : result.Output);

            // It may end with status 0 although nobody answered.
            if (result.ExitCode == 0 && report.RootElement.TryGetProperty("end", out var end) && end.TryGetProperty("sum_received", out var received))
            {
                return (received.GetProperty("bits_per_second").GetDouble() / 1e6, received.GetProperty("bytes").GetDouble());
            }

            if (--tries <= 0)
            {
                throw new InvalidOperationException($"{result}: {result.Output} {result.Errors}");
            }

            await Task.Delay(300, cancellation);
        }
    }
}
