using System.Globalization;
using Sojourn.Lab;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;
using Spectre.Console;

namespace Sojourn.Cli.Verbs;

/// <summary><c>sojourn demo</c>: the first scenario for somebody who has never seen the system.</summary>
internal static class DemoRun
{
    private const string Picture =
        """
          Alice's laptop            visited networks                                          partners' networks
          (no VPN software)                                                                   (no VPN software)
                            first    ┌───────┐
             ┌───────┐   ┌───────────┤  fa1  ╞══╗                            ┌────────┐        ┌──────┐
             │ alice ├───┤ then      └───────┘  ╠═══════════ IPsec ══════════╡  pcn   ├────────┤  cn  │
             └───────┘   ├───────────┤  fa2  ╞══╣                            └────────┘        └──────┘
            10.99.0.10   │           └───┬───┘  ║                            ┌────────┐        ┌──────┐
                         │ then      ┌───────┐  ╚══ after she changed it ════╡  pcn2  ├────────┤  cn2 │
                         └───────────┤  fa3  ╞══╝                            └────────┘        └──────┘
                                     └───┬───┘
                     aaaf, aaaf2 ── Diameter ── aaah (users, profiles, customer page) ── ha
        """;

    public static async Task<int> RunAsync(string folder, CancellationToken cancellation)
    {
        var definition = ScenarioDefinition.Load("network-vpn/tour");
        Heading("Secure paths that are set up by a login and follow the user");
        Console.WriteLine(Picture);
        Console.WriteLine();
        AnsiConsole.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{definition.Topology.Nodes.Count} hosts are about to be built as network namespaces on this machine and removed again at the end."));
        AnsiConsole.WriteLine();
        await EnsurePingAsync(cancellation);
        var outcome = AnsiConsole.Profile.Capabilities.Interactive && !Console.IsOutputRedirected
            ? await WithSpinnerAsync(definition, folder, cancellation)
            : await ScenarioRunner.RunAsync(definition, folder, new ConsoleProgress(), cancellation);

        foreach (var chapter in outcome.Chapters)
        {
            AnsiConsole.WriteLine();
            Heading(chapter.Title);
            OutcomeText.Ladder(chapter.Ladder);
        }

        AnsiConsole.WriteLine();
        Heading("The paths at the end");
        var table = new Table().Border(TableBorder.Simple).AddColumns("node", "packets", "tunnel", "protection", "DSCP");
        foreach (var path in outcome.Paths)
        {
            table.AddRow(Markup.Escape(path.Node), Markup.Escape(path.Selector), Markup.Escape(path.Ends), Markup.Escape(path.Security), Markup.Escape(path.Dscp));
        }

        AnsiConsole.Write(table);
        Heading("What came of it");
        var report = outcome.Report;
        foreach (var row in report.Rows.Where(r => r.Id != "LAB" || !r.Passed))
        {
            AnsiConsole.MarkupLineInterpolated(row.Passed ? (FormattableString)$"  [green]✓[/] {row.Text}" : $"  [red]✗[/] {row.Text}: {row.Observed}");
        }

        AnsiConsole.WriteLine();
        var gaps = new Table().Border(TableBorder.Simple).AddColumns("measured on links with 10 ms delay each", "");
        foreach (var measured in report.Measurements)
        {
            gaps.AddRow(Markup.Escape(measured.Name), Markup.Escape(string.Create(CultureInfo.InvariantCulture, $"{measured.Value:0.#} {measured.Unit}")));
        }

        AnsiConsole.Write(gaps);
        AnsiConsole.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{report.Rows.Count(r => r.Passed)} of {report.Rows.Count} checks passed in {report.DurationSeconds:F0} s."));
        AnsiConsole.WriteLine();
        Console.WriteLine($"The whole story with pictures: {Path.Combine(outcome.Evidence, "report.html")}");
        Console.WriteLine($"Every packet, for Wireshark:   {Path.Combine(outcome.Evidence, "captures")} (keys in {Path.Combine(outcome.Evidence, "keys")})");
        Console.WriteLine("More scenarios:                sojourn lab list");
        return report.Passed ? ExitCode.Success : ExitCode.Refused;
    }

    private static async Task<ScenarioOutcome> WithSpinnerAsync(ScenarioDefinition definition, string folder, CancellationToken cancellation) =>
        await AnsiConsole.Status().Spinner(Spinner.Known.Dots).StartAsync("Building", status => ScenarioRunner.RunAsync(definition, folder, new StatusProgress(status), cancellation));

    /// <summary>The one outside program the lab needs beside util-linux.</summary>
    private static async Task EnsurePingAsync(CancellationToken cancellation)
    {
        if (LabCommand.Find("ping") is not null)
        {
            return;
        }

        AnsiConsole.WriteLine("Installing ping (Debian package iputils-ping) …");
        var apt = LabCommand.Find("apt-get") ?? throw new ScenarioException("ping is not installed, and there is no apt-get to install iputils-ping with");
        var result = await LabCommand.RunAsync([apt, "install", "-y", "--no-install-recommends", "iputils-ping"], cancellation, TimeSpan.FromMinutes(5));
        if (result.ExitCode != 0)
        {
            await LabCommand.RunAsync([apt, "update"], cancellation, TimeSpan.FromMinutes(5));
            result = await LabCommand.RunAsync([apt, "install", "-y", "--no-install-recommends", "iputils-ping"], cancellation, TimeSpan.FromMinutes(5));
        }

        if (LabCommand.Find("ping") is null)
        {
            throw new ScenarioException($"ping could not be installed: {result.Errors.Trim()}");
        }
    }

    private static void Heading(string text)
    {
        AnsiConsole.MarkupLineInterpolated($"[bold]{text}[/]");
        AnsiConsole.WriteLine();
    }

    /// <summary>A spinner with the current step; finished steps stay above it.</summary>
    private sealed class StatusProgress(StatusContext status) : ILabProgress
    {
        private readonly System.Diagnostics.Stopwatch _watch = System.Diagnostics.Stopwatch.StartNew();

        public void Step(string text)
        {
            AnsiConsole.MarkupLineInterpolated($"[grey]{_watch.Elapsed.TotalSeconds,5:F1} s[/]  {text}");
            status.Status(Markup.Escape(text));
        }

        public void Note(string text) => AnsiConsole.MarkupLineInterpolated($"           [grey]{text}[/]");
    }
}
