using System.Collections.Concurrent;
using System.Diagnostics.Metrics;

namespace Sojourn.Host.Observation;

/// <summary>A state that metrics show beside the counters; taken afresh for every scrape.</summary>
/// <param name="Gauges">Name (dotted) to value.</param>
/// <param name="Things">What is configured: kind and name, and whether it is up.</param>
/// <param name="Traffic">Running totals of the packet path by dotted name.</param>
public sealed record MetricSnapshot(
    IReadOnlyDictionary<string, long> Gauges, IReadOnlyList<(string Kind, string Name, bool Up)> Things, IReadOnlyDictionary<string, long> Traffic)
{
    public static readonly MetricSnapshot Empty = new(new Dictionary<string, long>(), [], new Dictionary<string, long>());
}

/// <summary>The node's meter, named <c>Sojourn</c>. Engine counters are one instrument with the counter's name as tag.</summary>
public sealed class NodeMetrics : IDisposable
{
    private readonly Meter _meter = new("Sojourn", "1");
    private readonly ConcurrentDictionary<string, long> _counters = new();
    private volatile MetricSnapshot _snapshot = MetricSnapshot.Empty;

    public NodeMetrics(string node, string role)
    {
        KeyValuePair<string, object?>[] self = [new("node", node), new("role", role)];
        Node = node;
        _meter.CreateObservableCounter("sojourn.events", () => _counters.Select(c => new Measurement<long>(c.Value, new KeyValuePair<string, object?>("event", c.Key))), "{event}", "What the protocols counted, by dotted counter name (docs/cli.md).");
        _meter.CreateObservableGauge("sojourn.node", () => new Measurement<long>(1, self), null, "The node itself: its name and role.");
        _meter.CreateObservableGauge("sojourn.state", () => _snapshot.Gauges.Select(g => new Measurement<long>(g.Value, new KeyValuePair<string, object?>("of", g.Key))), null, "How many sessions, bindings, visitors and paths there are.");
        _meter.CreateObservableGauge("sojourn.configured", () => _snapshot.Things.Select(t => Thing(t, 1)), null, "1 for every thing that is configured.");
        _meter.CreateObservableGauge("sojourn.up", () => _snapshot.Things.Select(t => Thing(t, t.Up ? 1 : 0)), null, "1 for every configured thing that is up, 0 for one that is not.");
        _meter.CreateObservableCounter("sojourn.traffic", () => _snapshot.Traffic.Select(t => new Measurement<long>(t.Value, new KeyValuePair<string, object?>("counter", t.Key))), null, "Running totals of the packet path.");
    }

    public string Node { get; }

    /// <summary>Whether a meter is this node's own or the runtime's.</summary>
    public bool Includes(Meter meter) => ReferenceEquals(meter, _meter) || meter.Name == "System.Runtime";

    /// <summary>All engine counters so far.</summary>
    public IReadOnlyDictionary<string, long> Counters => new SortedDictionary<string, long>(_counters, StringComparer.Ordinal);

    public void Count(string counter, long amount) =>
        _counters.AddOrUpdate(counter, static (_, added) => added, static (_, old, added) => old + added, amount);

    public void Take(MetricSnapshot snapshot) => _snapshot = snapshot;

    public void Dispose() => _meter.Dispose();

    private static Measurement<long> Thing((string Kind, string Name, bool Up) thing, long value) =>
        new(value, new KeyValuePair<string, object?>("kind", thing.Kind), new KeyValuePair<string, object?>("name", thing.Name));
}
