using System.Text.Encodings.Web;
using System.Text.Json;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Evidence;

/// <summary><c>topology.json</c>: nodes with roles, interfaces, addresses and home addresses; links with their kind.</summary>
public static class TopologyFile
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web) { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static string Write(ScenarioDefinition scenario) => JsonSerializer.Serialize(
        new
        {
            schema = 1,
            scenario = scenario.Name,
            variant = scenario.Options.ToString(),
            nodes = scenario.Topology.Nodes.Select(n => new
            {
                name = n.Name,
                label = n.Label,
                role = n.Role,
                on = n.On,
                homeAddress = n.HomeAddress?.ToString(),
                interfaces = scenario.Topology.LinksOf(n.Name).Select(l => l.Link.Ends[l.End])
                    .Concat(n.MoreAddresses)
                    .GroupBy(e => e.Interface)
                    .Select(g => new { name = g.Key, addresses = g.Where(e => e.Address is not null).Select(e => $"{e.Address}/{e.PrefixLength}") }),
                routes = n.Routes.Select(r => r.ToString()),
            }),
            links = scenario.Topology.Links.Select(l => new
            {
                name = l.Name,
                kind = l.Kind.ToString().ToLowerInvariant(),
                ends = l.Ends.Select(e => new { node = e.Node, @interface = e.Interface }),
                delayMilliseconds = l.Character.Delay.TotalMilliseconds,
                rateBitsPerSecond = l.Character.RateBitsPerSecond == 0 ? (long?)null : l.Character.RateBitsPerSecond,
                capture = $"captures/{l.Name}.pcapng",
            }),
        },
        Json) + "\n";
}
