using System.Globalization;
using System.Net;
using System.Text;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Evidence;

/// <summary>Draws a ladder: one line per node, one arrow per step, times at the left.</summary>
public static class LadderSvg
{
    private const int Column = 150, Row = 40, Left = 90, Top = 64;

    public static string Draw(Ladder ladder, LabTopology topology)
    {
        var svg = new StringBuilder();
        var width = Left + (Column * Math.Max(1, ladder.Nodes.Count)) + 40;
        var height = Top + (Row * (ladder.Steps.Count + 1));
        svg.Append(CultureInfo.InvariantCulture, $"<svg class='ladder' viewBox='0 0 {width} {height}' width='{width}' role='img' aria-label='Ladder diagram'>");
        svg.Append("<defs><marker id='tip' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto-start-reverse'><path d='M0,0 L8,4 L0,8 z' fill='context-stroke'/></marker></defs>");
        for (var i = 0; i < ladder.Nodes.Count; i++)
        {
            var x = X(i);
            svg.Append(CultureInfo.InvariantCulture, $"<text x='{x}' y='22' class='node'>{Text(ladder.Nodes[i])}</text><text x='{x}' y='38' class='role'>{Text(topology.Node(ladder.Nodes[i]).Role)}</text><line x1='{x}' y1='46' x2='{x}' y2='{height - 10}' class='life'/>");
        }

        for (var i = 0; i < ladder.Steps.Count; i++)
        {
            var step = ladder.Steps[i];
            var y = Top + (Row * i) + 24;
            var from = X(ladder.Nodes.ToList().IndexOf(step.From));
            var to = X(ladder.Nodes.ToList().IndexOf(step.To));
            var style = step.Kind.ToString().ToLowerInvariant();
            var middle = (from + to) / 2;
            svg.Append(CultureInfo.InvariantCulture, $"<text x='{Left - 14}' y='{y + 4}' class='time'>{step.Milliseconds:F2} ms</text>");
            svg.Append(CultureInfo.InvariantCulture, $"<g class='{style}'><title>{Text($"{step.From} > {step.To}: {step.Name}. {step.Detail}")}</title><line x1='{from}' y1='{y}' x2='{to}' y2='{y}' marker-end='url(#tip)'/><text x='{middle}' y='{y - 6}'>{Text(step.Name)}</text><text x='{middle}' y='{y + 12}' class='detail'>{Text(Short(step.Detail, Math.Abs(to - from)))}</text></g>");
        }

        return svg.Append("</svg>").ToString();
    }

    private static int X(int column) => Left + 60 + (Column * column);

    private static string Text(string text) => WebUtility.HtmlEncode(text);

    /// <summary>What fits beside the arrow; the whole text is in the tooltip.</summary>
    private static string Short(string text, int room)
    {
        var letters = Math.Max(26, room / 5);
        return text.Length <= letters ? text : text[..(letters - 1)] + "…";
    }
}
