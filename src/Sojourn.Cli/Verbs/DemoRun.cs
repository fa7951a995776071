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
          Alice's laptop        visited network                 home network              company network
          (no VPN software)                                                               (no VPN software)

             ┌───────┐  clear   ┌───────┐   IPsec    ┌────────┐   IPsec    ┌─────────┐  clear  ┌──────┐
             │ alice ├──────────┤  fa1  ╞════════════╡   ha   ╞════════════╡   sgw   ├─────────┤  cn  │
             └───────┘          └───┬───┘            └───┬────┘            └─────────┘         └──────┘
            10.99.0.10              │ login              │ profiles                          192.168.50.10
                                ┌───┴───┐            ┌───┴────┐
                                │ aaaf  ├────────────┤  aaah  │  subscribers, VPN profiles
                                └───────┘  Diameter  └────────┘
        """;

    public static async Task<int> RunAsync(string folder, CancellationToken cancellation)
    {
        var definition = ScenarioDefinition.Load("network-vpn/1");
        Heading("Secure paths that are set up by a login");
        Console.WriteLine(Picture);
        Console.WriteLine();
        AnsiConsole.WriteLine("Twelve hosts are about to be built as network namespaces on this machine and removed again at the end.");
        AnsiConsole.WriteLine();
        await EnsurePingAsync(cancellation);
        var outcome = AnsiConsole.Profile.Capabilities.Interactive && !Console.IsOutputRedirected
            ? await WithSpinnerAsync(definition, folder, cancellation)
            : await ScenarioRunner.RunAsync(definition, folder, new ConsoleProgress(), cancellation);

        AnsiConsole.WriteLine();
        Heading("What went over the wire when Alice logged in and pinged the company");
        OutcomeText.Ladder(outcome.Chapters[0].Ladder);

        AnsiConsole.WriteLine();
        Heading("The paths the login set up");
        var table = new Table().Border(TableBorder.Simple).AddColumns("node", "packets", "tunnel", "protection", "DSCP");
        foreach (var path in outcome.Paths)
        {
            table.AddRow(Markup.Escape(path.Node), Markup.Escape(path.Selector), Markup.Escape(path.Ends), Markup.Escape(path.Security), Markup.Escape(path.Dscp));
        }

        AnsiConsole.Write(table);
        Heading("What came of it");
        var report = outcome.Report;
        string[] highlights = ["NV1.14", "NV1.15", "NV-A2", "NV-A24", "NV-A27", "NV-A33", "NV-A32"];
        foreach (var row in highlights.Select(id => report.Rows.FirstOrDefault(r => r.Id == id && !r.Passed) ?? report.Rows.FirstOrDefault(r => r.Id == id)).OfType<ReportRow>())
        {
            AnsiConsole.MarkupLineInterpolated(row.Passed ? (FormattableString)$"  [green]✓[/] {row.Text}" : $"  [red]✗[/] {row.Text}");
        }

        double Value(string name) => report.Measurements.FirstOrDefault(m => m.Name.StartsWith(name, StringComparison.Ordinal))?.Value ?? double.NaN;
        AnsiConsole.WriteLine();
        AnsiConsole.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Alice's login took {Value("registration"):F1} ms on links with 1 to 2 ms delay each; her ping came back {Value("ping received")} of {Value("ping sent")} times, {Value("ping through"):F2} ms."));
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
