using System.Text.Json;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios;

/// <summary>Tables of all nodes at named moments, as their control API showed them.</summary>
internal sealed class Tables
{
    private static readonly IReadOnlySet<string> OfGateways = new HashSet<string> { "paths", "ipsec", "qos", "bindings" };

    private readonly Dictionary<(string Moment, string Node, string Table), JsonElement> _taken = [];

    /// <summary>Tables taken beside counters, VPN information caches and, of gateways, paths.</summary>
    public IReadOnlyList<string> More { get; init; } = [];

    /// <summary>Takes the tables of every running gateway and AAA server.</summary>
    public async Task TakeAsync(LabRun run, string moment, CancellationToken cancellation)
    {
        await Task.WhenAll(run.Showing.Where(n => n.Role != "mobile-node").SelectMany(node => TablesOf(node).Select(async table =>
        {
            var content = await run.ShowAsync(node.Name, table, cancellation);
            lock (_taken)
            {
                _taken[(moment, node.Name, table)] = content;
            }
        })));
    }

    /// <summary>Rows of a table at a moment; empty when it was not taken.</summary>
    public IReadOnlyList<JsonElement> Rows(string moment, string node, string table) =>
        _taken.TryGetValue((moment, node, table), out var content) ? [.. PathLines.Rows(content)] : [];

    /// <summary>Profiles in a node's VPN information cache that belong to a user.</summary>
    public IReadOnlyList<JsonElement> Profiles(string moment, string node, string nai) =>
    [
        .. Rows(moment, node, "vpn-cache")
            .Where(r => r.GetRawText().Contains($"\"{nai}\"", StringComparison.Ordinal))
            .SelectMany(r => r.TryGetProperty("profiles", out var profiles) && profiles.ValueKind == JsonValueKind.Array ? profiles.EnumerateArray() : Enumerable.Repeat(r, 1)),
    ];

    /// <summary>Sum of a node's counters whose dotted name ends so.</summary>
    public long Counter(string moment, string node, string ending) =>
        Table(moment, node, "counters") is { } table ? Sum(table, ending) : 0;

    /// <summary>Counters of a node that are higher at the second moment, and by how much.</summary>
    public IReadOnlyList<(string Name, long By)> Increase(string before, string after, string node)
    {
        var old = Counters(before, node);
        return [.. Counters(after, node).Select(c => (c.Key, c.Value - old.GetValueOrDefault(c.Key))).Where(c => c.Item2 > 0)];
    }

    public JsonElement? Table(string moment, string node, string table) => _taken.TryGetValue((moment, node, table), out var content) ? content : null;

    private Dictionary<string, long> Counters(string moment, string node) =>
        Table(moment, node, "counters") is { } table ? table.GetProperty("counters").EnumerateObject().ToDictionary(p => p.Name, p => p.Value.GetInt64()) : [];

    private IEnumerable<string> TablesOf(LabNode node) =>
        ((string[])["counters", "paths", "vpn-cache", .. More]).Where(t => node.Role != "aaa" || !OfGateways.Contains(t));

    /// <summary>Counters come as a map of names to numbers, or as rows with name and value.</summary>
    private static long Sum(JsonElement element, string ending) => element.ValueKind switch
    {
        JsonValueKind.Object when element.TryGetProperty("name", out var name) && element.TryGetProperty("value", out var value) && name.ValueKind == JsonValueKind.String =>
            name.GetString()!.EndsWith(ending, StringComparison.Ordinal) ? value.GetInt64() : 0,
        JsonValueKind.Object => element.EnumerateObject().Sum(p => p.Value.ValueKind == JsonValueKind.Number ? p.Name.EndsWith(ending, StringComparison.Ordinal) ? p.Value.GetInt64() : 0 : Sum(p.Value, ending)),
        JsonValueKind.Array => element.EnumerateArray().Sum(e => Sum(e, ending)),
        _ => 0,
    };
}
