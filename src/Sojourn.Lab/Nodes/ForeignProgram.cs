using System.Diagnostics;
using System.Globalization;
using System.Text;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Nodes;

/// <summary>A program of another maker that runs on a node while a scenario needs it.</summary>
internal sealed class ForeignProgram : IAsyncDisposable
{
    private static readonly TimeSpan s_startLimit = TimeSpan.FromSeconds(20), s_endLimit = TimeSpan.FromSeconds(3);

    private readonly Process _process;
    private readonly StringBuilder _said = new();

    private ForeignProgram(Process process) => _process = process;

    /// <summary>What it has printed until now.</summary>
    public string Said
    {
        get
        {
            lock (_said)
            {
                return _said.ToString();
            }
        }
    }

    public bool HasEnded => _process.HasExited;

    /// <summary>Starts a program on a node and waits until it is ready.</summary>
    /// <param name="ready">Asked again and again; <see cref="Listens"/> or <see cref="Lives"/>, or a question to the program.</param>
    /// <param name="folder">Where it runs; null = here.</param>
    /// <exception cref="ScenarioException">It is not installed, ends at its start, or is not ready in time.</exception>
    public static async Task<ForeignProgram> StartAsync(
        LabRun run, string node, IReadOnlyList<string> command, Func<Task<bool>> ready, CancellationToken cancellation, IReadOnlyDictionary<string, string>? environment = null, string? folder = null)
    {
        var path = LabCommand.Find(command[0]) ?? throw new ScenarioException($"{command[0]} is not installed");
        var process = LabCommand.Start(LabCommand.Inside(run.SpaceOf(node), [path, .. command.Skip(1)]), redirect: true, environment, folder);
        run.Directory.Remember(process.Id);
        var program = new ForeignProgram(process);
        process.OutputDataReceived += program.Take;
        process.ErrorDataReceived += program.Take;
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        try
        {
            if (await LabRun.UntilAsync(async () => program.HasEnded || await ready(), s_startLimit, cancellation) && !program.HasEnded)
            {
                return program;
            }
        }
        catch
        {
            await program.DisposeAsync();
            throw;
        }

        await program.DisposeAsync();
        throw new ScenarioException($"{command[0]} on {node} does not start: {program.Said}");
    }

    /// <summary>Ready once a TCP or UDP port of the node is open.</summary>
    public static Func<Task<bool>> Listens(LabRun run, string node, int port, CancellationToken cancellation) =>
        async () => (await run.ExecuteAsync(node, ["ss", "-Hltun", "sport", "=", ":" + port.ToString(CultureInfo.InvariantCulture)], cancellation)).Output.Trim().Length > 0;

    /// <summary>Ready once it has lived for a moment: for programs that show in no other way that they found nothing wrong.</summary>
    public static Func<Task<bool>> Lives()
    {
        var started = Stopwatch.GetTimestamp();
        return () => Task.FromResult(Stopwatch.GetElapsedTime(started) > TimeSpan.FromMilliseconds(300));
    }

    public async ValueTask DisposeAsync()
    {
        LabCommand.Signal(_process);
        using var limit = new CancellationTokenSource(s_endLimit);
        try
        {
            await _process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            _process.Kill();
        }

        _process.Dispose();
    }

    private void Take(object sender, DataReceivedEventArgs line)
    {
        lock (_said)
        {
            _said.AppendLine(line.Data);
        }
    }
}
