using System.Diagnostics;
using System.Globalization;
using Sojourn.Lab.Nodes;

namespace Sojourn.Benchmarks;

/// <param name="Rounds">Turns of all lines and loads.</param>
/// <param name="Seconds">Length of a transfer.</param>
/// <param name="Lines">See <see cref="GatewayLine"/>.</param>
/// <param name="Small">With loads of small packets, floods and moves too, not TCP alone.</param>
internal sealed record LineSettings(int Rounds, int Seconds, IReadOnlyList<LineMode> Modes, IReadOnlyList<string> Lines, bool Small);

/// <summary>One value of one turn.</summary>
internal sealed record LineFigure(LineMode Mode, string Line, string Measure, int Round, double Value);

/// <summary>What two gateways carry, beside plain forwarding and what others would use in the same place, in turns on the same machine.</summary>
internal static class Line
{
    public static readonly IReadOnlyList<string> All = ["plain", "sojourn", "libcrypto", "native", "native-xdp", "wireguard", "strongswan", "plain6", "sojourn6", "wireguard6"];

    /// <summary>Those that say something where links differ and not ciphers or addresses.</summary>
    public static readonly IReadOnlyList<string> Main = ["plain", "sojourn", "native", "native-xdp", "wireguard", "strongswan"];

    public static async Task<IReadOnlyList<LineFigure>> RunAsync(LineSettings settings, TextWriter progress, CancellationToken cancellation)
    {
        foreach (var program in (string[])["iperf3", "ping"])
        {
            _ = LabCommand.Find(program) ?? throw new InvalidOperationException($"this benchmark needs {program}");
        }

        var kinds = settings.Lines.ToList();
        var wireguard = kinds.Exists(k => k.StartsWith("wireguard", StringComparison.Ordinal)) ? await ReferenceWireguard.ObtainAsync(progress, cancellation) : null;
        if (wireguard is null)
        {
            kinds.RemoveAll(k => k.StartsWith("wireguard", StringComparison.Ordinal));
        }
        else
        {
            await progress.WriteLineAsync($"wireguard-go {wireguard.Version}{(wireguard.Newest ? ", Debian's newest" : "")}");
        }

        if (kinds.Contains("strongswan") && Charon.Missing is { } missing)
        {
            await progress.WriteLineAsync($"strongSwan is left out: {missing}");
            kinds.Remove("strongswan");
        }

        var figures = new List<LineFigure>();
        var folder = Directory.CreateTempSubdirectory("sojourn-bench-line-").FullName;
        try
        {
            foreach (var mode in settings.Modes)
            {
                // Ciphers, address families, moves: once is enough.
                var first = mode == settings.Modes[0];
                List<string> chosen = first && settings.Small ? [.. kinds, "moving"] : first ? kinds : [.. kinds.Where(kind => Main.Contains(kind.Split('@')[0]))];
                await RunAsync(mode, chosen, settings, Path.Combine(folder, mode.ToString()), wireguard?.Program ?? "", figures, progress, cancellation);
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        return figures;
    }

    private static async Task RunAsync(LineMode mode, IReadOnlyList<string> kinds, LineSettings settings, string folder, string wireguard, List<LineFigure> figures, TextWriter progress, CancellationToken cancellation)
    {
        var lines = new List<GatewayLine>();
        try
        {
            foreach (var kind in kinds)
            {
                var line = new GatewayLine(kind, mode);
                lines.Add(line);
                await line.StartAsync(Directory.CreateDirectory(Path.Combine(folder, line.Name)).FullName, wireguard, cancellation);
            }

            // Round 0 warms up and is not kept.
            for (var round = 0; round <= settings.Rounds; round++)
            {
                foreach (var load in LineLoads.Of(settings, mode, round))
                {
                    foreach (var line in lines.Where(line => load.Applies(line.Kind)))
                    {
                        var name = line.Kind == "moving" ? "sojourn" : line.Name;
                        var watch = Stopwatch.StartNew();
                        IReadOnlyList<(string Measure, double Value)> values;
                        try
                        {
                            values = await load.Run(line, cancellation);
                        }
                        catch (InvalidOperationException failed)
                        {
                            // What the others gave is not lost for it.
                            await progress.WriteLineAsync($"{mode} {round} {name,-10} failed: {failed.Message}");
                            continue;
                        }

                        await progress.WriteLineAsync(string.Create(CultureInfo.InvariantCulture,
                            $"{mode} {round} {name,-10} {string.Join(", ", values.Select(v => string.Create(CultureInfo.InvariantCulture, $"{v.Measure} {v.Value:G4}")))}  ({watch.Elapsed.TotalSeconds:F1} s)"));
                        if (round > 0)
                        {
                            figures.AddRange(values.Where(v => !double.IsNaN(v.Value)).Select(v => new LineFigure(mode, name, v.Measure, round, v.Value)));
                        }
                    }
                }
            }
        }
        finally
        {
            foreach (var line in lines)
            {
                await line.DisposeAsync();
            }
        }
    }
}
