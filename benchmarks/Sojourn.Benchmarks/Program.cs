using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using Sojourn.Benchmarks;

string[] flags = ["--users", "--measured", "--window", "--json"];
var options = new Dictionary<string, string>();
for (var i = 1; i < args.Length; i++)
{
    if (args[i] is "--no-relay" or "--keep")
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

if (args is not ["control-plane", ..])
{
    return Usage();
}

var settings = new ControlPlaneSettings(
    [.. options.GetValueOrDefault("--users", "1000,10000,100000").Split(',').Select(Number)],
    Number(options.GetValueOrDefault("--measured", "4000")), Number(options.GetValueOrDefault("--window", "128")), !options.ContainsKey("--no-relay"), options.ContainsKey("--keep"));
using var ending = new CancellationTokenSource();

// Namespaces, processes and files of a run go with it, also when it is cut short.
using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, End);
using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, End);
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

static int Number(string text) => int.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture);

static int Usage()
{
    Console.Error.WriteLine("usage: benchmarks/run control-plane [--users 1000,10000,100000] [--measured N] [--window N] [--no-relay] [--keep] [--json FILE]");
    return 2;
}
