using System.CommandLine;
using System.Globalization;
using Sojourn.Engine;
using Sojourn.Lab;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;
using Spectre.Console;

namespace Sojourn.Cli.Verbs;

/// <summary><c>sojourn lab …</c> and <c>sojourn demo</c>.</summary>
internal static class LabVerbs
{
    public static Command Lab() => new("lab", "Reproduce scenarios with real packets between network namespaces (needs root).")
    {
        List(),
        Run(),
        Up(),
        Down(),
        Hold(),
    };

    public static Command Demo()
    {
        var output = new Option<string>("--out") { Description = "Folder for the evidence.", DefaultValueFactory = _ => "demo-out", HelpName = "DIR" };
        var command = new Command("demo", "See it work: a user logs in from a visited network, moves twice, and changes the destination (needs root, about a minute).") { output };
        command.SetAction((parse, cancellation) => Guarded(() => DemoRun.RunAsync(parse.GetValue(output)!, cancellation)));
        return command;
    }

    private static Command List()
    {
        var json = new Option<bool>("--json") { Description = "Machine-readable." };
        var command = new Command("list", "What there is to run and what each scenario demonstrates.") { json };
        command.SetAction(parse =>
        {
            var scenarios = ScenarioDefinition.Names.Select(n => ScenarioDefinition.Load(n)).ToList();
            if (parse.GetValue(json))
            {
                Console.WriteLine(System.Text.Json.JsonSerializer.Serialize(new { schema = 1, scenarios = scenarios.Select(s => new { name = s.Name, title = s.Title, demonstrates = s.Demonstrates }) }));
                return ExitCode.Success;
            }

            PrepareConsole();
            foreach (var scenario in scenarios)
            {
                AnsiConsole.MarkupLineInterpolated($"[bold]{scenario.Name}[/]  {scenario.Title}");
                AnsiConsole.Write(new Padder(new Text(scenario.Demonstrates), new Padding(4, 0, 0, 1)));
            }

            Console.WriteLine("sojourn lab run NAME [--out DIR]");
            return ExitCode.Success;
        });
        return command;
    }

    private static Command Run()
    {
        var name = Name();
        var output = new Option<string?>("--out") { Description = "Folder for the evidence; lab-out/NAME when left out.", HelpName = "DIR" };
        var json = new Option<bool>("--json") { Description = "Print report.json instead of text." };
        var variant = new VariantOptions();
        var command = new Command("run", "Build the scenario, run it, judge it from outside, leave evidence, remove everything.") { name, output, json };
        variant.AddTo(command);
        command.SetAction((parse, cancellation) => Guarded(async () =>
        {
            var definition = ScenarioDefinition.Load(parse.GetValue(name)!, variant.Read(parse));
            var folder = parse.GetValue(output) ?? Path.Combine("lab-out", definition.Name);
            var quiet = parse.GetValue(json);
            var outcome = await ScenarioRunner.RunAsync(definition, folder, quiet ? new SilentProgress() : new ConsoleProgress(), cancellation);
            if (quiet)
            {
                Console.Write(outcome.Report.ToJson());
            }
            else
            {
                OutcomeText.Rows(outcome);
            }

            return outcome.Report.Passed ? ExitCode.Success : ExitCode.Refused;
        }));
        return command;
    }

    private static Command Up()
    {
        var name = Name();
        var output = new Option<string?>("--out") { Description = "Folder for captures.", HelpName = "DIR" };
        var variant = new VariantOptions();
        var command = new Command("up", "Build the scenario, start all its nodes and leave it standing for exploration.") { name, output };
        variant.AddTo(command);
        command.SetAction((parse, cancellation) => Guarded(async () =>
        {
            var definition = ScenarioDefinition.Load(parse.GetValue(name)!, variant.Read(parse));
            var folder = Path.GetFullPath(parse.GetValue(output) ?? Path.Combine("lab-out", definition.Name));
            return await StandingLab.UpAsync(definition, folder, [.. parse.Tokens.Skip(2).Select(t => t.Value).Where(t => t != definition.Name)], cancellation);
        }));
        return command;
    }

    /// <summary>The process behind <c>lab up</c>: it carries the wires.</summary>
    private static Command Hold()
    {
        var name = Name();
        var output = new Option<string>("--out") { Required = true };
        var variant = new VariantOptions();
        var command = new Command("hold", "Used by 'lab up'.") { name, output };
        command.Hidden = true;
        variant.AddTo(command);
        command.SetAction((parse, cancellation) => Guarded(() => StandingLab.HoldAsync(ScenarioDefinition.Load(parse.GetValue(name)!, variant.Read(parse)), parse.GetValue(output)!, cancellation)));
        return command;
    }

    private static Command Down()
    {
        var command = new Command("down", "Take standing labs down and remove what crashed runs left.");
        command.SetAction((_, cancellation) => Guarded(() => StandingLab.DownAsync(cancellation)));
        return command;
    }

    private static Argument<string> Name() => new("NAME") { Description = "Scenario, e.g. network-vpn/1 (see 'lab list')." };

    /// <summary>By these verbs alone: what finds out about the terminal would be a tenth of what a node's start takes.</summary>
    private static void PrepareConsole()
    {
        if (Console.IsOutputRedirected)
        {
            // Plain text, and as wide as it comes, for files and pipes.
            AnsiConsole.Profile.Capabilities.Ansi = false;
            AnsiConsole.Profile.Width = 200;
        }
    }

    private static async Task<int> Guarded(Func<Task<int>> action)
    {
        PrepareConsole();
        try
        {
            return await action();
        }
        catch (OperationCanceledException)
        {
            Console.Error.WriteLine("stopped; everything was removed");
            return 130;
        }
        catch (Exception e) when (e is ScenarioException or IOException or UnauthorizedAccessException or Storage.StorageException)
        {
            Console.Error.WriteLine($"sojourn: {e.Message}");
            return ExitCode.Failed;
        }
    }

    private sealed class VariantOptions
    {
        private readonly Option<string> _security = new("--security") { Description = "Protection of the profiles: esp, ah or encapsulation.", DefaultValueFactory = _ => "esp" };
        private readonly Option<string> _share = new("--share") { Description = "user: associations of each user's own; shared: those preset between gateways.", DefaultValueFactory = _ => "user" };
        private readonly Option<string?> _delay = new("--delay") { Description = "One-way delay of every core link, e.g. 20ms.", HelpName = "TIME" };
        private readonly Option<string> _gateway = new("--gateway") { Description = "own, linux: a Linux kernel in a virtual machine as company gateway, keyed: a company gateway that agrees on keys by IKEv2, or kernel: our own in a virtual machine, with data-path kernel.", DefaultValueFactory = _ => "own" };
        private readonly Option<string> _transport = new("--transport") { Description = "raw or xdp: tunnels pass the nodes' outer interfaces by raw sockets or AF_XDP.", DefaultValueFactory = _ => "raw" };

        public VariantOptions()
        {
            _security.AcceptOnlyFromAmong("esp", "ah", "encapsulation");
            _share.AcceptOnlyFromAmong("user", "shared");
            _gateway.AcceptOnlyFromAmong("own", "linux", "keyed", "kernel");
            _transport.AcceptOnlyFromAmong("raw", "xdp");
        }

        public void AddTo(Command command)
        {
            command.Options.Add(_security);
            command.Options.Add(_share);
            command.Options.Add(_delay);
            command.Options.Add(_gateway);
            command.Options.Add(_transport);
        }

        public ScenarioOptions Read(ParseResult parse) => new()
        {
            Security = parse.GetValue(_security) switch { "ah" => SecurityType.Ah, "esp" => SecurityType.Esp, _ => SecurityType.EncapsulationOnly },
            UserSpecific = parse.GetValue(_share) == "user",
            Delay = parse.GetValue(_delay) is { } delay ? ScenarioDefinition.Duration(delay, "--delay") : null,
            Gateway = parse.GetValue(_gateway) switch { "linux" => GatewayPeer.Linux, "keyed" => GatewayPeer.Keyed, "kernel" => GatewayPeer.Kernel, _ => GatewayPeer.Own },
            Xdp = parse.GetValue(_transport) == "xdp",
        };
    }
}

/// <summary>Says nothing.</summary>
internal sealed class SilentProgress : ILabProgress
{
    public void Step(string text)
    {
    }

    public void Note(string text)
    {
    }
}

/// <summary>One line per step, with the time since the start.</summary>
internal sealed class ConsoleProgress : ILabProgress
{
    private readonly System.Diagnostics.Stopwatch _watch = System.Diagnostics.Stopwatch.StartNew();

    public void Step(string text) => AnsiConsole.MarkupLineInterpolated($"[grey]{Time}[/]  {text}");

    public void Note(string text) => AnsiConsole.MarkupLineInterpolated($"[grey]{new string(' ', Time.Length)}    {text}[/]");

    private string Time => string.Create(CultureInfo.InvariantCulture, $"{_watch.Elapsed.TotalSeconds,6:F1} s");
}
