using System.Globalization;
using System.Text;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Scenarios;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab;

/// <summary>The outcome of a run with what its page shows.</summary>
/// <param name="Report">The judged rows and what was measured.</param>
/// <param name="Chapters">The ladder of messages.</param>
/// <param name="Paths">The paths of the nodes at the end.</param>
/// <param name="Evidence">Folder of the evidence.</param>
/// <param name="Run">Name of the run, with which the names of its namespaces began.</param>
public sealed record ScenarioOutcome(Report Report, IReadOnlyList<LadderChapter> Chapters, IReadOnlyList<PathLine> Paths, string Evidence, string Run);

/// <summary>Runs one scenario from nothing to evidence and leaves the machine as it was, whatever happens.</summary>
public static class ScenarioRunner
{
    /// <summary>For machines and nodes to start, emulated ones among them; what the scenario itself may take counts from there.</summary>
    private static readonly TimeSpan s_startLimit = TimeSpan.FromMinutes(10);

    /// <param name="definition">Scenario with its variant.</param>
    /// <param name="evidence">Folder for the evidence.</param>
    /// <param name="progress">Told what happens.</param>
    /// <param name="cancellation">Ends the run early; everything is removed then too.</param>
    /// <exception cref="ScenarioException">The scenario could not be built or driven. Evidence of what happened so far is in the folder.</exception>
    public static async Task<ScenarioOutcome> RunAsync(ScenarioDefinition definition, string evidence, ILabProgress progress, CancellationToken cancellation)
    {
        var scenario = Scenario.All.TryGetValue(definition.Name, out var make) ? make() : throw new ScenarioException($"scenario '{definition.Name}' has no script");
        var started = DateTimeOffset.UtcNow;
        var steps = new StepProgress(progress);
        progress = steps;
        await using var run = await LabRun.BuildAsync(definition, evidence, progress);
        evidence = run.Evidence;
        Exception? failure = null;
        IReadOnlyDictionary<string, JsonElement> paths = new Dictionary<string, JsonElement>();
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        try
        {
            limit.CancelAfter(s_startLimit);
            await run.StartAsync(limit.Token);
            limit.CancelAfter(scenario.Limit);
            await scenario.DriveAsync(run, limit.Token);
            paths = await CollectPathsAsync(run, limit.Token);
            foreach (var (name, machine) in run.Machines)
            {
                await machine.CollectAsync(Directory.CreateDirectory(Path.Combine(evidence, "nodes", name)).FullName, limit.Token);
            }
        }
        catch (OperationCanceledException e) when (limit.IsCancellationRequested && !cancellation.IsCancellationRequested)
        {
            failure = new ScenarioException($"not done after {scenario.Limit.TotalSeconds:F0} s; it was at '{steps.Last}'", e);
        }
        catch (Exception e)
        {
            failure = e;
        }

        progress.Step("Stopping and reading the captures");
        await Task.WhenAll(run.Nodes.Values.Select(n => n.StopAsync()));
        run.Network.StopRecording();
        CopyNodeFiles(run, paths);
        File.WriteAllText(Path.Combine(evidence, "topology.json"), TopologyFile.Write(definition));
        if (failure is not null)
        {
            throw failure is OperationCanceledException or ScenarioException ? failure : new ScenarioException($"the scenario broke off: {failure.Message}", failure);
        }

        var captures = CaptureSet.Read(
            definition.Topology, Path.Combine(evidence, "captures"),
            EspKeys.Read([Path.Combine(evidence, "keys", "esp_sa")]), TlsKeys.Read([Path.Combine(evidence, "keys", "tls_keys.log")]));
        var rows = new RowBook();
        scenario.Judge(run, captures, rows);
        Claims.Judge(definition.Name, definition.Options.Security, captures, rows);
        await CommonRows.JudgeAsync(scenario, run, captures, rows, cancellation);
        var report = new Report
        {
            Scenario = definition.Name,
            Started = started,
            DurationSeconds = Math.Round((DateTimeOffset.UtcNow - started).TotalSeconds, 3),
            Rows = rows.Rows,
            Measurements = rows.Measurements,
        };
        var chapters = scenario.Chapters(captures);
        var lines = PathLines.Read(paths);
        File.WriteAllText(Path.Combine(evidence, "report.json"), report.ToJson());
        File.WriteAllText(Path.Combine(evidence, "report.html"), HtmlReport.Write(definition, report, chapters, lines, PathLines.Tunnels(definition.Topology, captures), scenario.Pictures, scenario.HandOvers(captures)));
        return new ScenarioOutcome(report, chapters, lines, evidence, run.Directory.Id);
    }

    /// <summary>Passes on what happens and knows the step that a run is at.</summary>
    private sealed class StepProgress(ILabProgress inner) : ILabProgress
    {
        public string Last { get; private set; } = "building";

        public void Step(string text) => inner.Step(Last = text);

        public void Note(string text) => inner.Note(text);
    }

    private static async Task<IReadOnlyDictionary<string, JsonElement>> CollectPathsAsync(LabRun run, CancellationToken cancellation)
    {
        var paths = new Dictionary<string, JsonElement>();
        foreach (var node in run.Showing)
        {
            paths.Add(node.Name, await run.ShowAsync(node.Name, "paths", cancellation));
        }

        return paths;
    }

    /// <summary>Copies what belongs to the evidence out of the private run directory: configurations, logs, paths and the two key files.</summary>
    private static void CopyNodeFiles(LabRun run, IReadOnlyDictionary<string, JsonElement> paths)
    {
        foreach (var node in run.Nodes.Keys)
        {
            var folder = Path.Combine(run.Evidence, "nodes", node);
            Directory.CreateDirectory(folder);
            Copy(NodeFiles.ConfigurationOf(run.Directory, node), Path.Combine(folder, "config.yaml"));
            Copy(NodeFiles.LogOf(run.Directory, node), Path.Combine(folder, "log.jsonl"));
            if (File.Exists(run.Node(node).ConsolePath) && new FileInfo(run.Node(node).ConsolePath).Length > 0)
            {
                Copy(run.Node(node).ConsolePath, Path.Combine(folder, "console.txt"));
            }

            File.WriteAllText(
                Path.Combine(folder, "paths.json"),
                paths.TryGetValue(node, out var table) ? JsonSerializer.Serialize(table, new JsonSerializerOptions { WriteIndented = true }) + "\n" : "{}\n");
        }

        Join(run, NodeFiles.EspKeysOf, "esp_sa");
        Join(run, NodeFiles.TlsKeysOf, "tls_keys.log");
        Join(run, NodeFiles.IkeKeysOf, "ikev2_decryption_table");
    }

    private static void Join(LabRun run, Func<RunDirectory, string, string> file, string name)
    {
        // Hosts that run nothing of ours may have associations too; the scenario leaves their keys.
        var lines = run.Topology.Nodes.Select(n => file(run.Directory, n.Name)).Where(File.Exists).SelectMany(File.ReadLines).Distinct();
        File.WriteAllLines(Path.Combine(run.Evidence, "keys", name), lines, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false));
    }

    private static void Copy(string from, string to)
    {
        if (File.Exists(from))
        {
            using var source = new FileStream(from, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            using var target = File.Create(to);
            source.CopyTo(target);
        }
        else
        {
            File.WriteAllText(to, "");
        }
    }
}
