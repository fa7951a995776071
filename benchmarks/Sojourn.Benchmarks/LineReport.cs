using System.Globalization;
using System.Text.Json.Serialization;

namespace Sojourn.Benchmarks;

/// <summary>A value wanted, and what was measured; null where nothing was.</summary>
internal sealed record LineVerdict(LineMode Mode, string What, double Wanted, bool AtLeast, double? Measured)
{
    public bool? Reached => Measured is { } value ? (AtLeast ? value >= Wanted : value <= Wanted) : null;
}

internal sealed record LineResult(IReadOnlyList<LineFigure> Figures, IReadOnlyList<LineVerdict> Verdicts);

internal static class LineReport
{
    private static readonly (string Name, string Meaning)[] s_measures =
    [
        ("tcp-1", "TCP, one stream, Mbit/s"), ("tcp-4", "TCP, four streams, Mbit/s"), ("cpu", "CPU of both ends, s/GB"), ("ping", "ping idle, average, ms"), ("ping-p99", "ping idle, p99, ms"),
        ("ping-tcp", "ping beside tcp-1, median, ms"), ("udp-1400", "1400 B, thousand/s"), ("udp-64", "64 B, thousand/s"), ("loss-64", "lost of 100,000/s, %"), ("flood-1400", "flooded, 1400 B: part of best"),
        ("flood-64", "flooded, 64 B: part of best"), ("delay-1400", "delay p99 then, 1400 B, ms"), ("delay-64", "delay p99 then, 64 B, ms"), ("memory", "resident, larger end, MiB"), ("initiate", "to first reply, ms"), ("gap", "gap of a move, ms"),
        ("gen2", "collections of the last generation in 60 s of TCP, both ends"), ("allocated", "octets allocated meanwhile, both ends, KiB/s"),
    ];

    /// <summary>What issue 6 asks for: of a line, beside another one (null: the value itself).</summary>
    private static readonly (LineMode Mode, string Measure, string Line, string? Other, bool AtLeast, double Wanted)[] s_wanted =
    [
        (LineMode.Offloads, "tcp-1", "sojourn", "plain", true, 0.5), (LineMode.Offloads, "tcp-1", "sojourn", "wireguard", true, 2.5), (LineMode.Offloads, "tcp-4", "sojourn", "wireguard", true, 3.0),
        (LineMode.Offloads, "tcp-1", "sojourn", "strongswan", true, 12), (LineMode.Offloads, "tcp-1", "libcrypto", "wireguard", true, 1.7), (LineMode.Offloads, "tcp-1", "sojourn6", "sojourn", true, 0.9),
        (LineMode.Offloads, "udp-1400", "sojourn", "wireguard", true, 2.0), (LineMode.Offloads, "udp-64", "sojourn", "plain", true, 0.6), (LineMode.Offloads, "udp-64", "sojourn", "wireguard", true, 1.8),
        (LineMode.Offloads, "loss-64", "sojourn", null, false, 0.2), (LineMode.Offloads, "ping-tcp", "sojourn", null, false, 1), (LineMode.Offloads, "ping-tcp", "sojourn", "wireguard", false, 0.35),
        (LineMode.Offloads, "ping", "sojourn", null, false, 0.1), (LineMode.Offloads, "ping-p99", "sojourn", "wireguard", false, 1), (LineMode.Offloads, "flood-1400", "sojourn", null, true, 0.9),
        (LineMode.Offloads, "flood-64", "sojourn", null, true, 0.9), (LineMode.Offloads, "delay-1400", "sojourn", null, false, 10), (LineMode.Offloads, "delay-64", "sojourn", null, false, 10),
        (LineMode.Offloads, "memory", "sojourn", null, false, 100), (LineMode.Offloads, "cpu", "sojourn", "wireguard", false, 0.5), (LineMode.Offloads, "initiate", "sojourn", null, false, 25),
        (LineMode.Offloads, "gap", "sojourn", "wireguard", false, 1), (LineMode.Offloads, "gen2", "sojourn", null, false, 0), (LineMode.Outer, "tcp-1", "sojourn", "plain", true, 1.0), (LineMode.Outer, "tcp-1", "sojourn", "wireguard", true, 3.0),
        (LineMode.Cut, "tcp-1", "sojourn", "wireguard", true, 1.2), (LineMode.Cut, "tcp-1", "sojourn", "plain", true, 0.65), (LineMode.None, "tcp-1", "native-xdp", "plain", true, 1.2), (LineMode.None, "tcp-1", "native", "plain", true, 0.6),
    ];

    public static LineResult Judge(IReadOnlyList<LineFigure> figures) => new(figures,
    [
        .. s_wanted.Where(w => figures.Any(f => f.Mode == w.Mode)).Select(w =>
        {
            var own = figures.Where(f => (f.Mode, f.Measure, f.Line) == (w.Mode, w.Measure, w.Line)).ToDictionary(f => f.Round, f => f.Value);
            var others = w.Other is null ? own.ToDictionary(f => f.Key, _ => 1.0) : figures.Where(f => (f.Mode, f.Measure, f.Line) == (w.Mode, w.Measure, w.Other)).ToDictionary(f => f.Round, f => f.Value);
            var ratios = own.Where(f => others.ContainsKey(f.Key)).Select(f => f.Value / others[f.Key]).ToList();
            return new LineVerdict(w.Mode, $"{w.Measure}: {w.Line}{(w.Other is null ? "" : " to " + w.Other)}", w.Wanted, w.AtLeast, ratios.Count == 0 ? null : Statistics.Median(ratios));
        }),
    ]);

    /// <summary>Tables as in README.md, medians of the rounds.</summary>
    public static void Print(LineResult result, TextWriter output)
    {
        foreach (var mode in result.Figures.GroupBy(f => f.Mode))
        {
            var lines = mode.Select(f => f.Line).Distinct().ToList();
            output.WriteLine($"\n{Describe(mode.Key)}, medians of {mode.Max(f => f.Round)}:\n\n| | {string.Join(" | ", lines)} |\n|---|{string.Concat(lines.Select(_ => "---|"))}");
            foreach (var (name, meaning) in s_measures.Where(m => mode.Any(f => f.Measure == m.Name)))
            {
                output.WriteLine($"| {name}: {meaning} | {string.Join(" | ", lines.Select(line => Show(mode.Where(f => f.Line == line && f.Measure == name).Select(f => f.Value).ToList())))} |");
            }
        }

        output.WriteLine("\n| Links | Wanted (medians of the ratios of each turn) | Bound | Measured | |\n|---|---|---|---|---|");
        foreach (var verdict in result.Verdicts)
        {
            var said = verdict.Reached switch { true => "reached", false => "**not reached**", null => "not measured" };
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {verdict.Mode.ToString().ToLowerInvariant()} | {verdict.What} | {(verdict.AtLeast ? "≥" : "≤")} {verdict.Wanted} | {(verdict.Measured is { } value ? Number(value) : "")} | {said} |"));
        }
    }

    private static string Describe(LineMode mode) => mode switch
    {
        LineMode.Outer => "outer: the link between the gateways cuts to the MTU",
        LineMode.Cut => "cut: every link cuts to the MTU, GRO at receivers",
        LineMode.None => "none: no offload on any link",
        _ => "offloads: veth pairs with their offloads",
    };

    private static string Show(IReadOnlyList<double> values) => values.Count == 0 ? "" : Number(Statistics.Median(values));

    private static string Number(double value) => value.ToString(value >= 100 ? "N0" : value >= 10 ? "F1" : "F2", CultureInfo.InvariantCulture);
}

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, UseStringEnumConverter = true, NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals)]
[JsonSerializable(typeof(LineResult))]
internal sealed partial class LineJson : JsonSerializerContext;
