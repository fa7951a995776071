using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;

namespace Sojourn.Host.Observation;

/// <summary>
/// Collects meters with a <see cref="MeterListener"/> and writes them in Prometheus' text format 0.0.4. Counters and
/// gauges; a histogram shows as its sum and count.
/// </summary>
public sealed class PrometheusText : IDisposable
{
    /// <summary>Label sets per instrument; what comes beyond is not kept, so that a peer cannot grow the node by inventing names.</summary>
    private const int MaximumSeries = 4096;

    private readonly Lock _gate = new();
    private readonly SortedDictionary<string, Family> _families = new(StringComparer.Ordinal);
    private readonly MeterListener _listener = new();

    /// <param name="wanted">Picks the meters by themselves, not by name: one process may run several nodes.</param>
    public PrometheusText(Predicate<Meter> wanted)
    {
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (wanted(instrument.Meter))
            {
                listener.EnableMeasurementEvents(instrument);
            }
        };
        _listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Take(instrument, value, tags));
        _listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => Take(instrument, value, tags));
        _listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Take(instrument, value, tags));
        _listener.Start();
    }

    public string Write()
    {
        lock (_gate)
        {
            // What observable instruments no longer name is gone, not frozen at its last value.
            foreach (var family in _families.Values.Where(family => family.IsObservable))
            {
                family.Series.Clear();
            }

            _listener.RecordObservableInstruments();
            var output = new StringBuilder();
            foreach (var (name, family) in _families)
            {
                output.Append("# HELP ").Append(name).Append(' ').Append(family.Help.Replace("\n", " ", StringComparison.Ordinal)).Append('\n');
                output.Append("# TYPE ").Append(name).Append(' ').Append(family.Type).Append('\n');
                foreach (var (labels, value) in family.Series)
                {
                    if (family.Type == "summary")
                    {
                        output.Append(name).Append("_sum").Append(labels).Append(' ').Append(Number(value.Sum)).Append('\n');
                        output.Append(name).Append("_count").Append(labels).Append(' ').Append(value.Count).Append('\n');
                    }
                    else
                    {
                        output.Append(name).Append(labels).Append(' ').Append(Number(value.Sum)).Append('\n');
                    }
                }
            }

            return output.ToString();
        }
    }

    public void Dispose() => _listener.Dispose();

    private void Take(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        var type = instrument.GetType().Name;
        var observable = instrument.IsObservable;
        var (suffix, kind) = type.StartsWith("Counter", StringComparison.Ordinal) || type.StartsWith("ObservableCounter", StringComparison.Ordinal) ? ("_total", "counter")
            : type.StartsWith("Histogram", StringComparison.Ordinal) ? ("", "summary")
            : ("", "gauge");
        lock (_gate)
        {
            var name = instrument.Name.Replace('.', '_').Replace('-', '_') + suffix;
            if (!_families.TryGetValue(name, out var family))
            {
                _families.Add(name, family = new Family(kind, instrument.Description ?? "", observable));
            }

            var labels = Labels(tags);
            if (!family.Series.TryGetValue(labels, out var old) && family.Series.Count >= MaximumSeries)
            {
                return;
            }

            var adds = !observable && !type.StartsWith("Gauge", StringComparison.Ordinal);
            family.Series[labels] = adds ? (old.Sum + value, old.Count + 1) : (value, 1);
        }
    }

    private static string Labels(ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        if (tags.IsEmpty)
        {
            return "";
        }

        var labels = new StringBuilder("{");
        foreach (var tag in tags)
        {
            labels.Append(labels.Length > 1 ? "," : "").Append(tag.Key.Replace('.', '_').Replace('-', '_')).Append("=\"");
            var text = Convert.ToString(tag.Value, CultureInfo.InvariantCulture) ?? "";
            labels.Append(text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal)).Append('"');
        }

        return labels.Append('}').ToString();
    }

    private static string Number(double value) => value.ToString("R", CultureInfo.InvariantCulture);

    private sealed class Family(string type, string help, bool isObservable)
    {
        public string Type { get; } = type;

        public string Help { get; } = help;

        public bool IsObservable { get; } = isObservable;

        public SortedDictionary<string, (double Sum, long Count)> Series { get; } = new(StringComparer.Ordinal);
    }
}
