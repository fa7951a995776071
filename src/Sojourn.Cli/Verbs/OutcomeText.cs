using System.Globalization;
using Sojourn.Lab;
using Sojourn.Lab.Evidence;
using Spectre.Console;

namespace Sojourn.Cli.Verbs;

/// <summary>Prints outcomes for people.</summary>
internal static class OutcomeText
{
    public static void Rows(ScenarioOutcome outcome)
    {
        AnsiConsole.WriteLine();
        foreach (var row in outcome.Report.Rows)
        {
            AnsiConsole.MarkupLineInterpolated(row.Passed ? (FormattableString)$"[green]pass[/]  [bold]{row.Id,-7}[/] {row.Text}" : $"[red]FAIL[/]  [bold]{row.Id,-7}[/] {row.Text}");
            AnsiConsole.Write(new Padder(new Markup($"[grey]{Markup.Escape(row.Observed)}[/]"), new Padding(14, 0, 0, 0)));
        }

        AnsiConsole.WriteLine();
        foreach (var measurement in outcome.Report.Measurements)
        {
            AnsiConsole.MarkupLineInterpolated($"{measurement.Name}: [bold]{measurement.Value:0.##}[/] {measurement.Unit}");
        }

        var passed = outcome.Report.Rows.Count(r => r.Passed);
        AnsiConsole.MarkupLineInterpolated(outcome.Report.Passed
            ? (FormattableString)$"[green]{outcome.Report.Scenario} passed[/], {passed} rows in {outcome.Report.DurationSeconds:F1} s"
            : $"[red]{outcome.Report.Scenario} failed[/], {outcome.Report.Rows.Count - passed} of {outcome.Report.Rows.Count} rows");
        Console.WriteLine($"evidence: {Path.Combine(outcome.Evidence, "report.html")}");
    }

    /// <summary>The ladder as text, one message a line.</summary>
    public static void Ladder(Ladder ladder)
    {
        var name = ladder.Nodes.Select(n => n.Length).DefaultIfEmpty(4).Max();
        foreach (var step in ladder.Steps)
        {
            var colour = step.Kind switch
            {
                LadderKind.MobileIp => "blue",
                LadderKind.Diameter => "magenta",
                LadderKind.Binding => "darkorange",
                LadderKind.Protected => "teal",
                _ => "grey",
            };
            AnsiConsole.MarkupLine(string.Create(CultureInfo.InvariantCulture,
                $"[grey]{step.Milliseconds,9:F2} ms[/]  {step.From.PadLeft(name)} [{colour}]──▶[/] {step.To.PadRight(name)}  [{colour}]{Markup.Escape(step.Name),-16}[/] [grey]{Markup.Escape(step.Detail)}[/]"));
        }
    }
}
