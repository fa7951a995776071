using System.Globalization;
using System.Net;
using System.Text;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Evidence;

/// <summary>One path as a node showed it.</summary>
public sealed record PathLine(string Node, string Id, string Selector, string Security, string Ends, string Spis, string Dscp, string Origin, string Traffic);

/// <summary>A part of the story with its own ladder.</summary>
public sealed record LadderChapter(string Title, Ladder Ladder);

/// <summary><c>report.html</c>: everything of the run on one page without outside files.</summary>
public static class HtmlReport
{
    private const string Style =
        """
        :root{color-scheme:light dark;--fg:#1b2330;--bg:#fff;--soft:#f3f5f8;--line:#d5dbe3;--dim:#667489;--ok:#137a3f;--bad:#b3261e;--mip:#1d5fd1;--dia:#8a4bd0;--bind:#c4640a;--esp:#0b7d74;--clear:#8a94a3}
        @media(prefers-color-scheme:dark){:root{--fg:#e4e8ee;--bg:#12161d;--soft:#1a2029;--line:#333c49;--dim:#98a4b5;--ok:#4cc38a;--bad:#ff7a70;--mip:#79a8ff;--dia:#c39bf5;--bind:#f2a65a;--esp:#4fd1c5;--clear:#8a94a3}}
        body{font:15px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);margin:0 auto;max-width:1240px;padding:24px}
        h1{font-size:26px;margin:0}h2{font-size:19px;margin:34px 0 8px;border-bottom:1px solid var(--line);padding-bottom:4px}h3{font-size:16px;margin:22px 0 6px}
        .lead{color:var(--dim);max-width:80ch}.badge{display:inline-block;padding:2px 12px;border-radius:12px;color:#fff;font-weight:600}.badge.ok{background:#137a3f}.badge.bad{background:#b3261e}
        table{border-collapse:collapse;width:100%;font-size:13.5px}th,td{text-align:left;vertical-align:top;padding:5px 9px;border-bottom:1px solid var(--line)}th{background:var(--soft)}
        td.mark{font-weight:700}tr.ok td.mark{color:var(--ok)}tr.bad td.mark{color:var(--bad)}tr.bad{background:color-mix(in srgb,var(--bad) 9%,transparent)}code,td.mono{font:12.5px ui-monospace,monospace}
        .wide{overflow-x:auto}svg{max-width:none;height:auto;font-family:system-ui,sans-serif}svg text{fill:var(--fg);font-size:12px;text-anchor:middle}
        svg .node{font-weight:600;font-size:13.5px}svg .role,svg .detail{fill:var(--dim);font-size:10.5px}svg .time{text-anchor:end;fill:var(--dim);font-size:11px}svg .life{stroke:var(--line);stroke-width:1.5}
        svg .mobileip line{stroke:var(--mip)}svg .diameter line{stroke:var(--dia)}svg .binding line{stroke:var(--bind)}svg .protected line{stroke:var(--esp);stroke-width:3}svg .clear line{stroke:var(--clear);stroke-dasharray:4 3}svg .ladder line{stroke-width:1.7}.ladder line{stroke-width:1.8}
        svg .box rect{fill:var(--soft);stroke:var(--dim);stroke-width:1.3}svg .box.host rect,svg .box.router rect{stroke-dasharray:4 3}svg .link line{stroke-width:2.4;stroke:var(--dim)}svg .link.access line{stroke:var(--mip)}svg .link.company line,svg .link.partner line,svg .link.home line{stroke:var(--bind)}
        svg .tunnel path{fill:none;stroke:var(--esp);stroke-width:3.2;stroke-dasharray:9 5;opacity:.85}svg .tunnel text{fill:var(--esp);font-size:11.5px;font-weight:600}
        figure{display:inline-block;margin:12px 16px 12px 0}figure img{display:block;max-width:560px;border:1px solid var(--line)}figcaption{color:var(--dim);font-size:13px}
        .key span{margin-right:16px;font-size:13px}.key i{display:inline-block;width:26px;height:0;border-top:3px solid;vertical-align:middle;margin-right:6px}
        """;

    public static string Write(
        ScenarioDefinition scenario, Report report, IReadOnlyList<LadderChapter> chapters, IReadOnlyList<PathLine> paths, IReadOnlyList<DrawnTunnel> tunnels,
        IReadOnlyList<(string File, string Caption)> pictures, IReadOnlyList<HandOver> handOvers)
    {
        var html = new StringBuilder();
        html.Append("<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width,initial-scale=1'>");
        html.Append(CultureInfo.InvariantCulture, $"<title>{Text(scenario.Name)}: {Text(scenario.Title)}</title><style>{Style}</style></head><body>");
        html.Append(CultureInfo.InvariantCulture, $"<h1>{Text(scenario.Title)}</h1><p class='lead'>{Text(scenario.Demonstrates)}</p>");
        html.Append(CultureInfo.InvariantCulture, $"<p><span class='badge {(report.Passed ? "ok" : "bad")}'>{(report.Passed ? "passed" : "failed")}</span> {report.Rows.Count(r => r.Passed)} of {report.Rows.Count} rows &middot; {Text(scenario.Name)} &middot; {Text(scenario.Options.ToString())} &middot; {report.Started:yyyy-MM-dd HH:mm:ss} UTC &middot; {report.DurationSeconds:F1} s</p>");
        html.Append("<h2>Topology</h2><p class='key'><span style='color:var(--mip)'><i></i>access</span><span style='color:var(--dim)'><i></i>core</span><span style='color:var(--bind)'><i></i>home, company, partner</span><span style='color:var(--esp)'><i style='border-top-style:dashed'></i>tunnel</span></p><div class='wide'>");
        html.Append(TopologySvg.Draw(scenario.Topology, tunnels)).Append("</div>");
        html.Append("<h2>What happened</h2><p class='lead'>Read from the captures; Diameter was opened with the TLS secrets the lab's nodes exported, ESP with the exported keys. Point at an arrow for the whole text.</p><p class='key'><span style='color:var(--mip)'><i></i>Mobile IP</span><span style='color:var(--dia)'><i></i>Diameter</span><span style='color:var(--bind)'><i></i>binding messages</span><span style='color:var(--esp)'><i></i>protected data</span><span style='color:var(--clear)'><i style='border-top-style:dashed'></i>clear data</span></p>");
        foreach (var chapter in chapters)
        {
            html.Append(CultureInfo.InvariantCulture, $"<h3>{Text(chapter.Title)}</h3><div class='wide'>{LadderSvg.Draw(chapter.Ladder, scenario.Topology)}</div>");
        }

        if (handOvers.Count > 0)
        {
            html.Append("<h2>Hand-overs</h2><p class='lead'>From the captures: each bar begins with the last packet by the old way and ends with the first by the new one. Point at a part for its length.</p>");
            html.Append(HandOverTimeline.Draw(handOvers));
        }

        foreach (var (file, caption) in pictures)
        {
            html.Append(CultureInfo.InvariantCulture, $"<figure><img src='{Text(file)}' alt='{Text(caption)}'><figcaption>{Text(caption)}</figcaption></figure>");
        }

        html.Append("<h2>Paths at the end</h2><div class='wide'><table><tr><th>node</th><th>path</th><th>selector</th><th>security</th><th>tunnel</th><th>SPIs out / in</th><th>DSCP</th><th>origin</th><th>packets out / in</th></tr>");
        foreach (var path in paths)
        {
            html.Append(CultureInfo.InvariantCulture, $"<tr><td>{Text(path.Node)}</td><td class='mono'>{Text(path.Id)}</td><td class='mono'>{Text(path.Selector)}</td><td>{Text(path.Security)}</td><td class='mono'>{Text(path.Ends)}</td><td class='mono'>{Text(path.Spis)}</td><td>{Text(path.Dscp)}</td><td>{Text(path.Origin)}</td><td>{Text(path.Traffic)}</td></tr>");
        }

        html.Append("</table></div><h2>Rows of the specification</h2><table><tr><th></th><th>id</th><th>demand</th><th>observed</th></tr>");
        foreach (var row in report.Rows)
        {
            html.Append(CultureInfo.InvariantCulture, $"<tr class='{(row.Passed ? "ok" : "bad")}'><td class='mark'>{(row.Passed ? "✓" : "✗")}</td><td>{Text(row.Id)}</td><td>{Text(row.Text)}</td><td>{Text(row.Observed)}</td></tr>");
        }

        html.Append("</table><h2>Measurements</h2><table><tr><th>what</th><th>value</th><th>unit</th></tr>");
        foreach (var measurement in report.Measurements)
        {
            html.Append(CultureInfo.InvariantCulture, $"<tr><td>{Text(measurement.Name)}</td><td>{measurement.Value:0.###}</td><td>{Text(measurement.Unit)}</td></tr>");
        }

        html.Append("</table><h2>Files</h2><table><tr><th>file</th><th>content</th></tr><tr><td><a href='report.json'>report.json</a></td><td>rows and measurements for programs</td></tr><tr><td><a href='topology.json'>topology.json</a></td><td>nodes and links</td></tr>");
        foreach (var link in scenario.Topology.Links)
        {
            html.Append(CultureInfo.InvariantCulture, $"<tr><td><a href='captures/{link.Name}.pcapng'>captures/{link.Name}.pcapng</a></td><td>{link.Kind.ToString().ToLowerInvariant()} link {Text(link.First.ToString())} – {Text(link.Second.ToString())}, whole run</td></tr>");
        }

        html.Append("<tr><td>keys/</td><td><code>esp_sa</code> and <code>tls_keys.log</code> for Wireshark</td></tr>");
        foreach (var node in scenario.Topology.Nodes.Where(n => n.RunsSojourn))
        {
            html.Append(CultureInfo.InvariantCulture, $"<tr><td><a href='nodes/{node.Name}/'>nodes/{node.Name}/</a></td><td>{Text(node.Label)}: configuration, log, paths</td></tr>");
        }

        foreach (var node in scenario.Topology.Nodes.Where(n => n.Role == LabNode.MachineRole))
        {
            html.Append(CultureInfo.InvariantCulture, $"<tr><td><a href='nodes/{node.Name}/'>nodes/{node.Name}/</a></td><td>{Text(node.Label)}: commands entered, tables and counters of its kernel</td></tr>");
        }

        return html.Append("</table></body></html>\n").ToString();
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
