using System.Text.Encodings.Web;
using System.Text.Json;

namespace Sojourn.Lab.Evidence;

/// <summary>One demand of the specification and what was seen of it.</summary>
/// <param name="Id">Row or acceptance id, e.g. <c>NV1.12</c> or <c>NV-A1</c>.</param>
/// <param name="Text">What is demanded.</param>
/// <param name="Passed">True when it was seen (or, for a negative row, seen not to happen).</param>
/// <param name="Observed">What was seen, with numbers.</param>
public sealed record ReportRow(string Id, string Text, bool Passed, string Observed);

/// <summary>A number worth following over time.</summary>
public sealed record Measurement(string Name, double Value, string Unit);

/// <summary>The outcome of one run: <c>report.json</c>.</summary>
public sealed record Report
{
    public const int CurrentSchema = 1;

    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web) { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public int Schema { get; init; } = CurrentSchema;

    public required string Scenario { get; init; }

    public required DateTimeOffset Started { get; init; }

    public required double DurationSeconds { get; init; }

    /// <summary>True when there are rows and all of them passed.</summary>
    public bool Passed => Rows.Count > 0 && Rows.All(r => r.Passed);

    public required IReadOnlyList<ReportRow> Rows { get; init; }

    public required IReadOnlyList<Measurement> Measurements { get; init; }

    public string ToJson() => JsonSerializer.Serialize(this, Json) + "\n";

    public static Report Parse(string json)
    {
        using var document = JsonDocument.Parse(json);
        var root = document.RootElement;
        return new Report
        {
            Schema = root.GetProperty("schema").GetInt32(),
            Scenario = root.GetProperty("scenario").GetString()!,
            Started = root.GetProperty("started").GetDateTimeOffset(),
            DurationSeconds = root.GetProperty("durationSeconds").GetDouble(),
            Rows = root.GetProperty("rows").Deserialize<List<ReportRow>>(Json)!,
            Measurements = root.GetProperty("measurements").Deserialize<List<Measurement>>(Json)!,
        };
    }
}
