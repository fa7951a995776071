using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Sojourn.Host.Control;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Nodes;

/// <summary>One node as a process of its own, in its namespace.</summary>
public sealed class NodeProcess : IAsyncDisposable
{
    private static readonly TimeSpan PoliteStop = TimeSpan.FromSeconds(8);
    private readonly RunDirectory _run;
    private readonly string _space;
    private Process? _process;
    private FileStream? _console;

    /// <param name="run">Where its files are.</param>
    /// <param name="name">Node.</param>
    /// <param name="space">Name of its network namespace.</param>
    public NodeProcess(RunDirectory run, string name, string space)
    {
        _run = run;
        Name = name;
        _space = space;
        Control = new ControlClient(NodeFiles.SocketOf(run, name), TimeSpan.FromSeconds(10));
    }

    public string Name { get; }

    public ControlClient Control { get; }

    public bool IsRunning => _process is { HasExited: false };

    public int? ProcessId => IsRunning ? _process!.Id : null;

    /// <summary>What it wrote on standard output and error; that is only what could not go to its log.</summary>
    public string ConsolePath => Path.Combine(_run.FolderOf(Name), "console.txt");

    /// <summary>Starts it and waits until its control socket answers.</summary>
    /// <exception cref="ScenarioException">It ended, or did not get ready in time; the message has its last words.</exception>
    public async Task StartAsync(CancellationToken cancellation)
    {
        if (IsRunning)
        {
            return;
        }

        // Only the lab's own copy of the runtime settings switches TLS key logging on; the product has no such option.
        var program = LabCommand.Sojourn;
        if (program is [var host, "exec", var assembly])
        {
            program = [host, "exec", "--runtimeconfig", WriteRuntimeSettings(assembly), "--depsfile", Path.ChangeExtension(assembly, ".deps.json"), assembly];
        }

        var process = LabCommand.Start(
            LabCommand.Inside(_space, [.. program, "run", "--config", NodeFiles.ConfigurationOf(_run, Name)]),
            redirect: true,
            new Dictionary<string, string> { ["SSLKEYLOGFILE"] = NodeFiles.TlsKeysOf(_run, Name), ["DOTNET_TieredPGO"] = "0" });
        _process = process;
        _console ??= new FileStream(ConsolePath, FileMode.Append, FileAccess.Write, FileShare.ReadWrite);
        process.OutputDataReceived += Write;
        process.ErrorDataReceived += Write;
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        _run.Remember(process.Id);
        var watch = Stopwatch.StartNew();
        while (!await Control.IsReadyAsync(cancellation))
        {
            if (process.HasExited)
            {
                await process.WaitForExitAsync(cancellation);
                throw new ScenarioException(string.Create(CultureInfo.InvariantCulture, $"node '{Name}' ended at its start with status {process.ExitCode}: {LastWords()}"));
            }

            if (watch.Elapsed > TimeSpan.FromSeconds(60))
            {
                throw new ScenarioException($"node '{Name}' was not ready after a minute: {LastWords()}");
            }

            await Task.Delay(50, cancellation);
        }
    }

    /// <summary>Stops it as an operator would (SIGTERM), and harder when it does not obey.</summary>
    /// <returns>False when it had to be killed.</returns>
    public async Task<bool> StopAsync()
    {
        if (_process is not { HasExited: false } process)
        {
            return true;
        }

        LabCommand.Signal(process);
        using var limit = new CancellationTokenSource(PoliteStop);
        try
        {
            await process.WaitForExitAsync(limit.Token);
            return true;
        }
        catch (OperationCanceledException)
        {
            await LabCommand.KillAsync(process);
            return false;
        }
    }

    /// <summary>A crash: the process ends at once, without a word to anybody.</summary>
    public async Task KillAsync()
    {
        if (_process is { HasExited: false } process)
        {
            await LabCommand.KillAsync(process);
        }
    }

    /// <summary>A disk that is gone: what the stopped node had kept is not there when it starts again.</summary>
    public void LoseState() => Directory.Delete(NodeFiles.StateOf(_run, Name), recursive: true);

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _process?.Dispose();
        _console?.Dispose();
        Control.Dispose();
    }

    private static string WriteRuntimeSettings(string assembly)
    {
        var path = Path.Combine(Path.GetDirectoryName(assembly)!, "sojourn.lab.runtimeconfig.json");
        var settings = JsonNode.Parse(File.ReadAllText(Path.ChangeExtension(assembly, ".runtimeconfig.json")))!;
        var options = settings["runtimeOptions"]!.AsObject();
        var properties = options["configProperties"] as JsonObject;
        if (properties is null)
        {
            options["configProperties"] = properties = [];
        }

        properties["System.Net.EnableSslKeyLogging"] = true;
        var text = settings.ToJsonString(new JsonSerializerOptions { WriteIndented = true });
        if (!File.Exists(path) || File.ReadAllText(path) != text)
        {
            File.WriteAllText(path, text);
        }

        return path;
    }

    private void Write(object sender, DataReceivedEventArgs line)
    {
        if (line.Data is not null)
        {
            lock (this)
            {
                _console?.Write(System.Text.Encoding.UTF8.GetBytes(line.Data + "\n"));
                _console?.Flush();
            }
        }
    }

    private string LastWords()
    {
        var lines = new[] { ConsolePath, NodeFiles.LogOf(_run, Name) }.Where(File.Exists).SelectMany(ReadShared).Where(l => l.Length > 0).TakeLast(5).ToList();
        return lines.Count == 0 ? "it said nothing" : string.Join(" | ", lines);
    }

    private static IEnumerable<string> ReadShared(string path)
    {
        using var reader = new StreamReader(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        return reader.ReadToEnd().Split('\n');
    }
}
