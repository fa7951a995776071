using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using Sojourn.Benchmarks;

if (args is ["ike" or "ike-responder", ..])
{
    return await KeyExchangeBenchmark.MainAsync(args);
}

string[] flags = ["--users", "--measured", "--window", "--json", "--clients", "--seconds", "--trials", "--highest", "--repeat", "--rounds", "--certificates", "--lines", "--batch"];
var options = new Dictionary<string, string>();
for (var i = 1; i < args.Length; i++)
{
    if (args[i] is "--no-relay" or "--keep" or "--no-offloads" or "--cut" or "--outer" or "--ipv6" or "--tcp" or "--everything" or "--quick")
    {
        options[args[i]] = "";
    }
    else if (flags.Contains(args[i]) && i + 1 < args.Length)
    {
        options[args[i]] = args[++i];
    }
    else
    {
        return Usage();
    }
}

if (args is ["tables", ..])
{
    Tables.Run([.. options.GetValueOrDefault("--users", "1,64,100000,1000000").Split(',').Select(Number)], Option("--batch", 1000), Console.Out);
    return 0;
}

if (args is not ["control-plane" or "delegations" or "enrolment" or "translation" or "line" or "home-agent" or "start", ..])
{
    return Usage();
}

using var ending = new CancellationTokenSource();

// Namespaces, processes and files of a run go with it, also when it is cut short.
using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, End);
using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, End);
if (args[0] == "delegations")
{
    return await Delegations.RunAsync(
        new DelegationsSettings(Option("--clients", 50_000), Option("--seconds", 6), Option("--trials", 7), Option("--highest", 16_000), options.ContainsKey("--keep")), Console.Out, ending.Token);
}

if (args[0] == "translation")
{
    var stretches = await Translation.RunAsync(new TranslationSettings(Option("--rounds", 5), Option("--seconds", 4), !options.ContainsKey("--no-offloads")), Console.Error, ending.Token);
    Translation.Print(stretches, Console.Out);
    if (options.GetValueOrDefault("--json") is { } figures)
    {
        File.WriteAllText(figures, JsonSerializer.Serialize(stretches, TranslationJson.Default.IReadOnlyListTranslationStretch) + "\n");
    }

    return 0;
}

if (args[0] == "line")
{
    var (everything, quick) = (options.ContainsKey("--everything"), options.ContainsKey("--quick"));
    IReadOnlyList<LineMode> modes = everything ? Enum.GetValues<LineMode>()
        : quick ? [LineMode.Offloads, LineMode.Cut]
        : [options.ContainsKey("--no-offloads") ? LineMode.None : options.ContainsKey("--cut") ? LineMode.Cut : options.ContainsKey("--outer") ? LineMode.Outer : LineMode.Offloads];
    var lines = options.GetValueOrDefault("--lines")?.Split(',') ?? (everything ? Line.All : options.ContainsKey("--ipv6") ? ["plain", "sojourn", "wireguard", "plain6", "sojourn6", "wireguard6"] : quick ? ["plain", "sojourn", "libcrypto", "wireguard", "strongswan"] : Line.Main);
    var carried = LineReport.Judge(await Line.RunAsync(new LineSettings(Option("--rounds", quick ? 1 : 5), Option("--seconds", quick ? 1 : 2), modes, lines, everything || quick || !options.ContainsKey("--tcp")), Console.Error, ending.Token));
    LineReport.Print(carried, Console.Out);
    if (options.GetValueOrDefault("--json") is { } figures)
    {
        File.WriteAllText(figures, JsonSerializer.Serialize(carried, LineJson.Default.LineResult) + "\n");
    }

    return 0;
}

if (args[0] == "start")
{
    await StartUp.RunAsync(Option("--rounds", 9), Console.Out, ending.Token);
    return 0;
}

if (args[0] == "home-agent")
{
    await HomeAgentServers.RunAsync(Option("--rounds", 3), Option("--seconds", 3), Console.Out, ending.Token);
    return 0;
}

if (args[0] == "enrolment")
{
    var enrolment = await Enrolment.RunAsync(
        new EnrolmentSettings(Option("--repeat", 300), Option("--rounds", 7), Option("--certificates", 4000), Option("--window", 32)), Console.Error, ending.Token);
    Enrolment.Print(enrolment, Console.Out);
    if (options.GetValueOrDefault("--json") is { } figures)
    {
        File.WriteAllText(figures, JsonSerializer.Serialize(enrolment, EnrolmentJson.Default.EnrolmentResult) + "\n");
    }

    return 0;
}

var settings = new ControlPlaneSettings(
    [.. options.GetValueOrDefault("--users", "1000,10000,100000").Split(',').Select(Number)],
    Number(options.GetValueOrDefault("--measured", "4000")), Number(options.GetValueOrDefault("--window", "128")), !options.ContainsKey("--no-relay"), options.ContainsKey("--keep"));
ControlPlaneResult result;
try
{
    result = await ControlPlane.RunAsync(settings, Console.Error, ending.Token);
}
catch (OperationCanceledException) when (ending.IsCancellationRequested)
{
    Console.Error.WriteLine("ended before its time");
    return 130;
}

ControlPlane.Print(result, Console.Out);
if (options.GetValueOrDefault("--json") is { } file)
{
    File.WriteAllText(file, JsonSerializer.Serialize(result, ResultJson.Default.ControlPlaneResult) + "\n");
}

return 0;

void End(PosixSignalContext signal)
{
    signal.Cancel = true;
    ending.Cancel();
}

int Option(string name, int otherwise) => options.GetValueOrDefault(name) is { } text ? Number(text) : otherwise;

static int Number(string text) => int.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture);

static int Usage()
{
    Console.Error.WriteLine("usage: benchmarks/run control-plane [--users 1000,10000,100000] [--measured N] [--window N] [--no-relay] [--keep] [--json FILE]");
    Console.Error.WriteLine("       benchmarks/run enrolment [--repeat N] [--rounds N] [--certificates N] [--window N] [--json FILE]");
    Console.Error.WriteLine("       benchmarks/run delegations [--clients N] [--seconds N] [--trials N] [--highest N] [--keep]");
    Console.Error.WriteLine("       benchmarks/run translation [--rounds N] [--seconds N] [--no-offloads] [--json FILE]");
    Console.Error.WriteLine("       benchmarks/run line [--everything | --quick] [--rounds N] [--seconds N] [--lines A,B,...] [--outer | --cut | --no-offloads] [--ipv6] [--tcp] [--json FILE]");
    Console.Error.WriteLine("       benchmarks/run home-agent [--rounds N] [--seconds N]");
    Console.Error.WriteLine("       benchmarks/run start [--rounds N]");
    Console.Error.WriteLine("       benchmarks/run tables [--users 1,64,100000,1000000] [--batch N]");
    Console.Error.WriteLine("       benchmarks/run ike [--setups N] [--rounds N] [--window N] [--json FILE]");
    return 2;
}
