using System.Globalization;
using System.Net;
using System.Text;

namespace Sojourn.Lab.Evidence;

/// <summary>One part of a hand-over, milliseconds from the last packet by the old way.</summary>
public sealed record HandOverPart(string Name, double From, double To);

/// <summary>What one interruption consists of, in order. <paramref name="Reply"/>: when the node had its reply; null when it had none.</summary>
public sealed record HandOver(string Title, IReadOnlyList<HandOverPart> Parts, double? Reply);

/// <summary>Draws hand-overs as bars under one another on one scale, each cut into its parts.</summary>
public static class HandOverTimeline
{
    private const int Left = 270, Width = 860, Row = 26, Top = 30;

    private static readonly string[] Colours = ["#8a94a3", "#c4640a", "#e0a93b", "#1d5fd1", "#8a4bd0", "#0b7d74"];

    public static string Draw(IReadOnlyList<HandOver> handOvers)
    {
        var names = handOvers.SelectMany(h => h.Parts).Select(p => p.Name).Distinct().ToList();
        var longest = Math.Max(1, handOvers.SelectMany(h => h.Parts.Select(p => p.To).Append(h.Reply ?? 0)).DefaultIfEmpty(1).Max());
        var step = new[] { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000 }.First(s => longest / s <= 12 || s == 10_000);
        var height = Top + (Row * handOvers.Count) + 10;
        var svg = new StringBuilder("<p class='key'>");
        foreach (var name in names)
        {
            svg.Append(CultureInfo.InvariantCulture, $"<span style='color:{Colour(name)}'><i></i>{Text(name)}</span>");
        }

        svg.Append("<span>&#9670; reply to the node</span></p><div class='wide'>");
        svg.Append(CultureInfo.InvariantCulture, $"<svg class='timeline' viewBox='0 0 {Left + Width + 60} {height}' width='{Left + Width + 60}' role='img' aria-label='Timeline of the hand-overs'>");
        for (double tick = 0; tick <= longest; tick += step)
        {
            svg.Append(CultureInfo.InvariantCulture, $"<line x1='{X(tick):F1}' y1='{Top - 8}' x2='{X(tick):F1}' y2='{height - 6}' class='life'/><text x='{X(tick):F1}' y='{Top - 12}' class='role'>{tick:0} ms</text>");
        }

        for (var i = 0; i < handOvers.Count; i++)
        {
            var y = Top + (Row * i);
            svg.Append(CultureInfo.InvariantCulture, $"<text x='{Left - 10}' y='{y + 14}' class='time'>{Text(handOvers[i].Title)}</text>");
            foreach (var part in handOvers[i].Parts)
            {
                svg.Append(CultureInfo.InvariantCulture, $"<rect x='{X(part.From):F1}' y='{y + 3}' width='{Math.Max(0.5, X(part.To) - X(part.From)):F1}' height='15' fill='{Colour(part.Name)}'><title>{Text(part.Name)}: {part.To - part.From:F2} ms, from {part.From:F2} ms on</title></rect>");
            }

            if (handOvers[i].Reply is { } reply)
            {
                svg.Append(CultureInfo.InvariantCulture, $"<text x='{X(reply):F1}' y='{y + 15}'>&#9670;<title>reply after {reply:F2} ms</title></text>");
            }
        }

        return svg.Append("</svg></div>").ToString();

        double X(double milliseconds) => Left + (milliseconds / longest * Width);

        string Colour(string name) => Colours[names.IndexOf(name) % Colours.Length];
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
