using System.Globalization;
using Sojourn.Fuzz;

// Usage: [--list] [--target NAME] [--seed N] [--count N] [--input HEX]
string? Option(string name) => Array.IndexOf(args, name) is var at and >= 0 && at + 1 < args.Length ? args[at + 1] : null;

if (args.Contains("--list"))
{
    foreach (var target in FuzzTargets.All)
    {
        Console.WriteLine($"{target.Name,-24} {string.Join(", ", target.Covers)}");
    }

    return 0;
}

var chosen = FuzzTargets.All.Where(t => Option("--target") is not { } name || t.Name == name).ToList();
if (chosen.Count == 0)
{
    Console.Error.WriteLine($"there is no target called {Option("--target")}; see --list");
    return 2;
}

try
{
    if (Option("--input") is { } hex)
    {
        foreach (var target in chosen)
        {
            Console.WriteLine($"{target.Name}: {(FuzzRun.Once(target, Convert.FromHexString(hex)) ? "accepted" : "refused")}");
        }

        return 0;
    }

    var seed = ulong.Parse(Option("--seed") ?? "1", CultureInfo.InvariantCulture);
    var count = long.Parse(Option("--count") ?? "2000000", CultureInfo.InvariantCulture);
    foreach (var target in chosen)
    {
        Console.WriteLine(FuzzRun.Run(target, seed, count));
    }

    return 0;
}
catch (FuzzFailure failure)
{
    Console.Error.WriteLine(failure.Message);
    Console.Error.WriteLine(failure.InnerException?.StackTrace);
    return 1;
}
