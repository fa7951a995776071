using System.Globalization;
using System.Net;
using System.Text.Json;
using Sojourn.Engine;
using Sojourn.Host.Control;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Sojourn.Cli.Terminals;

/// <summary>A terminal's status on the screen, redrawn in place.</summary>
internal sealed class TerminalScreen
{
    private const int ShownEvents = 6, ShownCounters = 8;

    private readonly Queue<TerminalEvent> _events = new();
    private readonly Dictionary<string, (long By, DateTimeOffset At)> _rose = [];

    public IRenderable Draw(TerminalStatus status)
    {
        foreach (var e in status.Events)
        {
            _events.Enqueue(e);
        }

        while (_events.Count > ShownEvents)
        {
            _events.Dequeue();
        }

        foreach (var (name, by) in status.Rose)
        {
            _rose[name] = (_rose.GetValueOrDefault(name).By + by, status.At);
        }

        var rows = new Grid().AddColumn(new GridColumn().NoWrap().PadRight(3)).AddColumn();
        foreach (var (label, value) in TerminalText.Lines(status))
        {
            rows.AddRow(new Text(label, new Style(decoration: Decoration.Dim)), new Text(value, label != "state" ? Style.Plain : new Style(value.StartsWith("REG", StringComparison.Ordinal) ? Color.Green : Color.Yellow)));
        }

        var counters = new Grid().AddColumn(new GridColumn().NoWrap().PadRight(3)).AddColumn();
        foreach (var (name, (by, _)) in _rose.OrderByDescending(r => r.Value.At).ThenBy(r => r.Key, StringComparer.Ordinal).Take(ShownCounters))
        {
            counters.AddRow(new Text(name), new Text(string.Create(CultureInfo.InvariantCulture, $"+{by}")));
        }

        var events = new Rows(_events.Select(e => new Text(TerminalText.Line(e), e.Level >= EventSeverity.Warning ? new Style(Color.Yellow) : Style.Plain)));
        return new Rows(
            new Panel(rows).Header($" {status.Node} ").Expand(), new Panel(counters).Header(" counters that rose, the latest first ").Expand(), new Panel(events).Header(" events ").Expand(),
            new Text("Ctrl-C takes the terminal down", new Style(decoration: Decoration.Dim)));
    }
}

/// <summary>The same as lines: one when something has changed, one for counters every ten seconds.</summary>
internal sealed class TerminalLines(TextWriter output, bool json)
{
    private static readonly TimeSpan s_counters = TimeSpan.FromSeconds(10);

    private readonly SortedDictionary<string, long> _rose = new(StringComparer.Ordinal);
    private TerminalStatus? _last;
    private DateTimeOffset _counted;

    public void Show(TerminalStatus status)
    {
        foreach (var (name, by) in status.Rose)
        {
            _rose[name] = _rose.GetValueOrDefault(name) + by;
        }

        var counts = _rose.Count > 0 && status.At - _counted >= s_counters;
        if (!counts && !status.Differs(_last))
        {
            return;
        }

        if (json)
        {
            output.WriteLine(JsonSerializer.Serialize(status with { Rose = new Dictionary<string, long>(_rose) }, ControlJson.Options));
        }
        else
        {
            WriteText(status, counts);
        }

        if (json || counts)
        {
            _rose.Clear();
            _counted = status.At;
        }

        _last = status;
        output.Flush();
    }

    private void WriteText(TerminalStatus status, bool counts)
    {
        foreach (var e in status.Events)
        {
            output.WriteLine(TerminalText.Line(e));
        }

        if ((status with { Events = [] }).Differs(_last))
        {
            output.WriteLine($"{TerminalText.Time(status.At)} {string.Join(", ", TerminalText.Lines(status).Select(line => $"{line.Label} {line.Value}"))}");
        }

        if (counts)
        {
            output.WriteLine($"{TerminalText.Time(status.At)} counters {string.Join(", ", _rose.Select(r => string.Create(CultureInfo.InvariantCulture, $"{r.Key} +{r.Value}")))}");
        }
    }
}

/// <summary>The words of a status.</summary>
internal static class TerminalText
{
    public static IEnumerable<(string Label, string Value)> Lines(TerminalStatus status)
    {
        yield return ("state", status.State);
        yield return ("home address", Text(status.HomeAddress) + (status.VirtualAddress is { } shown ? $", for IPv4 applications {shown}" : ""));
        yield return ("care-of address", Text(status.CareOfAddress));
        yield return ("home agent", Text(status.HomeAgent) + (status.Expires is { } expires ? $", registered until {Time(expires)}" : ""));
        if (status.Anchor is { } anchor)
        {
            yield return ("anchor point", anchor.ToString());
        }

        foreach (var tunnel in status.Tunnels)
        {
            yield return ("tunnel", string.Create(CultureInfo.InvariantCulture, $"{tunnel.Start} to {tunnel.End}, {(tunnel.Protected ? "ESP" : "not protected")}, {tunnel.PathMtu} octets"));
        }

        yield return ("methods", string.Join(", ", status.Methods));
        yield return ("translations", status.Translations.ToString(CultureInfo.InvariantCulture));
        if (status.HandOver is { } handOver)
        {
            yield return ("last hand-over", $"{Time(handOver.At)}: {string.Join(", ", handOver.Phases)}");
        }
    }

    public static string Line(TerminalEvent e) => $"{Time(e.Time)} {(e.Level >= EventSeverity.Warning ? e.Level.ToString().ToLowerInvariant() + " " : "")}{e.Event}: {e.Text}";

    public static string Time(DateTimeOffset time) => time.ToLocalTime().ToString("HH:mm:ss", CultureInfo.InvariantCulture);

    private static string Text(IPAddress? address) => address?.ToString() ?? "none yet";
}
