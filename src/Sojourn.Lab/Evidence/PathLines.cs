using System.Globalization;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Evidence;

/// <summary>Turns the nodes' path tables and the captures into what the page draws.</summary>
public static class PathLines
{
    public static IReadOnlyList<PathLine> Read(IReadOnlyDictionary<string, JsonElement> tables) =>
        [.. tables.SelectMany(t => Rows(t.Value).Select(p => Line(t.Key, p)))];

    /// <summary>The rows of a table: the table itself when it is a list, else its first list.</summary>
    public static IEnumerable<JsonElement> Rows(JsonElement table) =>
        table.ValueKind == JsonValueKind.Array ? table.EnumerateArray()
        : table.ValueKind == JsonValueKind.Object && table.EnumerateObject().FirstOrDefault(p => p.Value.ValueKind == JsonValueKind.Array) is { Value.ValueKind: JsonValueKind.Array } list ? list.Value.EnumerateArray()
        : [];

    /// <summary>Tunnels that really carried packets, one per pair of nodes and protection.</summary>
    public static IReadOnlyList<DrawnTunnel> Tunnels(LabTopology topology, CaptureSet captures) =>
    [
        .. captures.Packets.Where(p => p.Protection != SeenProtection.None && !p.Frame.Lost)
            .Select(p => (From: topology.Owner(p.Packet.Source)?.Name, To: topology.Owner(p.Packet.Destination)?.Name, p.Protection))
            .Where(t => t is { From: not null, To: not null } && t.From != t.To)
            .Select(t => string.CompareOrdinal(t.From, t.To) < 0 ? t : (From: t.To, To: t.From, t.Protection))
            .Distinct()
            .GroupBy(t => (t.From, t.To))
            .Select(g => new DrawnTunnel(g.Key.From!, g.Key.To!, string.Join(", ", g.Select(t => t.Protection == SeenProtection.Encapsulation ? "IP-in-IP" : t.Protection.ToString().ToUpperInvariant())))),
    ];

    private static PathLine Line(string node, JsonElement path) => new(
        node,
        Text(path, "id"),
        $"{Text(path, "source")} > {Text(path, "destination")}",
        string.Join(" ", new[] { Text(path, "security"), Text(path, "algorithm"), Text(path, "state") }.Where(t => t.Length > 0)),
        $"{Text(path, "localGateway")} > {Text(path, "remoteGateway")}",
        $"{Spi(path, "outbound")} / {Spi(path, "inbound")}",
        Text(path, "markDscp"),
        path.TryGetProperty("origin", out var origin) ? string.Join(" ", new[] { Text(origin, "row"), Text(origin, "nai") }.Where(t => t.Length > 0)) : "",
        $"{Packets(path, "outbound")} / {Packets(path, "inbound")}");

    private static string Spi(JsonElement path, string half) => path.TryGetProperty(half, out var sa) && sa.ValueKind == JsonValueKind.Object ? Text(sa, "spi") : "–";

    private static string Packets(JsonElement path, string half) => path.TryGetProperty(half, out var sa) && sa.ValueKind == JsonValueKind.Object ? Text(sa, "packets") : "–";

    private static string Text(JsonElement element, string name) => !element.TryGetProperty(name, out var value) ? "" : value.ValueKind switch
    {
        JsonValueKind.String => value.GetString()!,
        JsonValueKind.Number => value.GetInt64().ToString(CultureInfo.InvariantCulture),
        JsonValueKind.True => "yes",
        JsonValueKind.False => "no",
        _ => "",
    };
}
