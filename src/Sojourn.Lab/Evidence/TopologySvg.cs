using System.Globalization;
using System.Net;
using System.Text;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Evidence;

/// <summary>A tunnel to draw over the topology.</summary>
public sealed record DrawnTunnel(string From, string To, string Label);

/// <summary>Draws the topology: terminals at the left, hosts at the right, links coloured by kind, tunnels as arcs.</summary>
public static class TopologySvg
{
    private const int Column = 210, Row = 92, Width = 150, Height = 46;

    public static string Draw(LabTopology topology, IReadOnlyList<DrawnTunnel> tunnels)
    {
        var places = Places(topology, out var rows);
        var width = (5 * Column) + 40;
        var height = (rows * Row) + 50;
        var svg = new StringBuilder();
        svg.Append(CultureInfo.InvariantCulture, $"<svg class='topology' viewBox='0 0 {width} {height}' width='{width}' role='img' aria-label='Topology'>");
        foreach (var link in topology.Links)
        {
            var (a, b) = (places[link.First.Node], places[link.Second.Node]);
            svg.Append(CultureInfo.InvariantCulture, $"<g class='link {link.Kind.ToString().ToLowerInvariant()}'><title>{Text($"{link.Name} ({link.Kind}), {link.Character.Delay.TotalMilliseconds} ms: {Describe(link.First)} - {Describe(link.Second)}")}</title><line x1='{a.X}' y1='{a.Y}' x2='{b.X}' y2='{b.Y}'/></g>");
        }

        foreach (var (tunnel, number) in tunnels.Select((t, i) => (t, i)))
        {
            var (a, b) = (places[tunnel.From], places[tunnel.To]);
            var bend = 46 + (14 * (number % 4));
            var middle = ((a.X + b.X) / 2, ((a.Y + b.Y) / 2) - bend);
            svg.Append(CultureInfo.InvariantCulture, $"<g class='tunnel'><title>{Text($"{tunnel.From} - {tunnel.To}: {tunnel.Label}")}</title><path d='M{a.X},{a.Y} Q{middle.Item1},{middle.Item2} {b.X},{b.Y}'/><text x='{middle.Item1}' y='{((a.Y + b.Y) / 2) - (bend / 2) - 4}'>{Text(tunnel.Label)}</text></g>");
        }

        foreach (var node in topology.Nodes)
        {
            var (x, y) = places[node.Name];
            var address = node.HomeAddress?.ToString() ?? topology.LinksOf(node.Name).Select(l => l.Link.Ends[l.End].Address).FirstOrDefault(a => a is not null)?.ToString() ?? "";
            svg.Append(CultureInfo.InvariantCulture, $"<g class='box {node.Role}'><title>{Text(node.Label)}</title><rect x='{x - (Width / 2)}' y='{y - (Height / 2)}' width='{Width}' height='{Height}' rx='7'/><text x='{x}' y='{y - 3}' class='node'>{Text(node.Name)}</text><text x='{x}' y='{y + 14}' class='role'>{Text(node.Role)} {address}</text></g>");
        }

        return svg.Append("</svg>").ToString();
    }

    private static Dictionary<string, (int X, int Y)> Places(LabTopology topology, out int rows)
    {
        var columns = topology.Nodes.GroupBy(n => n.Role switch
        {
            "mobile-node" => 0,
            "foreign-agent" => 1,
            LabNode.RouterRole or LabNode.SwitchRole => 2,
            LabNode.HostRole => 4,
            _ => 3,
        }).ToDictionary(g => g.Key, g => g.ToList());
        rows = columns.Values.Max(c => c.Count);
        var places = new Dictionary<string, (int, int)>();
        foreach (var (column, nodes) in columns)
        {
            for (var i = 0; i < nodes.Count; i++)
            {
                places.Add(nodes[i].Name, (20 + (Column / 2) + (column * Column), 30 + (int)((i + 0.5) * rows * Row / nodes.Count)));
            }
        }

        return places;
    }

    private static string Describe(LinkEnd end) => end.Address is null ? end.ToString() : $"{end} {end.Address}";

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
