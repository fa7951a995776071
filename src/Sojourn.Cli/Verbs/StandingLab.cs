using System.Diagnostics;
using System.Globalization;
using Sojourn.Lab;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;

namespace Sojourn.Cli.Verbs;

/// <summary><c>lab up</c> and <c>lab down</c>: a lab that stands until it is taken down. A process in the background carries its wires.</summary>
internal static class StandingLab
{
    private const string ReadyFile = "ready";

    public static async Task<int> UpAsync(ScenarioDefinition definition, string folder, IReadOnlyList<string> arguments, CancellationToken cancellation)
    {
        Directory.CreateDirectory(folder);
        var log = Path.Combine(folder, "lab.log");
        // setsid: Ctrl-C in this terminal must not reach the lab.
        var variant = new List<string>();
        for (var i = 0; i < arguments.Count; i++)
        {
            if (arguments[i] == "--out")
            {
                i++;
                continue;
            }

            variant.Add(arguments[i]);
        }

        using var holder = LabCommand.Start(
            ["setsid", "sh", "-c", "exec \"$@\" >\"$0\" 2>&1 </dev/null", log, .. LabCommand.Sojourn, "lab", "hold", definition.Name, "--out", folder, .. variant], redirect: true);
        Console.WriteLine($"building {definition.Name} …");
        while (true)
        {
            if (RunDirectory.All.FirstOrDefault(r => r.OwnerProcess == holder.Id && File.Exists(Path.Combine(r.Folder, ReadyFile))) is { } run)
            {
                Console.Write(File.ReadAllText(Path.Combine(run.Folder, ReadyFile)));
                return ExitCode.Success;
            }

            if (holder.HasExited)
            {
                Console.Error.WriteLine($"sojourn: the lab did not come up; see {log}:");
                Console.Error.WriteLine(File.ReadAllText(log).Trim());
                return ExitCode.Failed;
            }

            await Task.Delay(100, cancellation);
        }
    }

    public static async Task<int> HoldAsync(ScenarioDefinition definition, string folder, CancellationToken cancellation)
    {
        await using var run = await LabRun.BuildAsync(definition, folder, new ConsoleProgress());
        await run.StartAsync(cancellation);
        foreach (var node in run.Topology.Nodes.Where(n => n is { RunsSojourn: true, StartAtOnce: false, Label: var label } && !label.StartsWith("Impostor", StringComparison.Ordinal)))
        {
            await run.Node(node.Name).StartAsync(cancellation);
        }

        var text = new System.Text.StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{definition.Name} stands: {definition.Title}\n");
        text.Append(CultureInfo.InvariantCulture, $"captures grow in {Path.Combine(run.Evidence, "captures")}\n\n");
        foreach (var node in run.Topology.Nodes)
        {
            text.Append(CultureInfo.InvariantCulture, $"  {node.Name,-12} {node.Role,-16} {(node.RunsSojourn ? $"sojourn show paths --socket {NodeFiles.SocketOf(run.Directory, node.Name)}" : node.Role == LabNode.MachineRole ? node.Label : $"ip netns exec {run.SpaceOf(node.Name)} ping …")}\n");
        }

        text.Append("\nsojourn lab down takes it down.\n");
        File.WriteAllText(Path.Combine(run.Directory.Folder, ReadyFile), text.ToString());
        try
        {
            await Task.Delay(Timeout.Infinite, cancellation);
        }
        catch (OperationCanceledException)
        {
            // 'lab down' or a signal: the lab is removed on the way out.
        }

        return ExitCode.Success;
    }

    public static async Task<int> DownAsync(CancellationToken cancellation)
    {
        var count = 0;
        foreach (var run in RunDirectory.All)
        {
            if (run.OwnerProcess is not { } owner || !File.Exists(Path.Combine(run.Folder, ReadyFile)))
            {
                continue;
            }

            using var process = Process.GetProcessById(owner);
            LabCommand.Signal(process);
            for (var i = 0; i < 300 && Directory.Exists(run.Folder); i++)
            {
                await Task.Delay(100, cancellation);
            }

            Console.WriteLine($"took {run.Id} down");
            count++;
        }

        foreach (var removed in RunDirectory.RemoveLeftovers())
        {
            Console.WriteLine($"removed {removed}");
            count++;
        }

        if (count == 0)
        {
            Console.WriteLine("nothing stands");
        }

        return ExitCode.Success;
    }
}
