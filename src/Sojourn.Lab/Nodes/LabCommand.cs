using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace Sojourn.Lab.Nodes;

/// <summary>What a command printed and how it ended.</summary>
public sealed record CommandResult(string CommandLine, int ExitCode, string Output, string Errors)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{CommandLine}: exit {ExitCode}");
}

/// <summary>Runs other programs, inside a namespace when asked, and ends them by their own id only.</summary>
public static partial class LabCommand
{
    /// <summary>Full path of a program, null when it is not installed.</summary>
    public static string? Find(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Concat(["/usr/sbin", "/sbin", "/usr/bin", "/bin"])
            .Select(directory => Path.Combine(directory, program))
            .FirstOrDefault(File.Exists);

    /// <summary>How to start this very program again: <c>dotnet exec sojourn.dll</c> or the executable itself.</summary>
    public static IReadOnlyList<string> Sojourn
    {
        get
        {
            var assembly = Path.Combine(AppContext.BaseDirectory, "sojourn.dll");
            if (!File.Exists(assembly))
            {
                return [Environment.ProcessPath ?? throw new InvalidOperationException("this program does not know its own path")];
            }

            var host = Environment.ProcessPath is { } own && Path.GetFileNameWithoutExtension(own) == "dotnet" ? own : Find("dotnet") ?? "dotnet";
            return [host, "exec", assembly];
        }
    }

    /// <summary>The command line that runs <paramref name="command"/> inside a named namespace. nsenter(1) execs it, so the process id stays.</summary>
    public static IReadOnlyList<string> Inside(string space, IEnumerable<string> command) => ["nsenter", $"--net=/run/netns/{space}", .. command];

    /// <summary>Runs a command to its end.</summary>
    /// <exception cref="Topology.ScenarioException">It cannot be started.</exception>
    public static async Task<CommandResult> RunAsync(IReadOnlyList<string> command, CancellationToken cancellation, TimeSpan? limit = null)
    {
        using var process = Start(command, redirect: true);
        var output = new StringBuilder();
        var errors = new StringBuilder();
        process.OutputDataReceived += (_, e) => Append(output, e.Data);
        process.ErrorDataReceived += (_, e) => Append(errors, e.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        timeout.CancelAfter(limit ?? TimeSpan.FromMinutes(2));
        try
        {
            await process.WaitForExitAsync(timeout.Token);
        }
        catch (OperationCanceledException)
        {
            await KillAsync(process);
            cancellation.ThrowIfCancellationRequested();
            throw new Topology.ScenarioException($"'{Shortened(command)}' did not end in time");
        }

        lock (output)
        {
            lock (errors)
            {
                return new CommandResult(string.Join(' ', command), process.ExitCode, output.ToString(), errors.ToString());
            }
        }
    }

    /// <summary>A command as a person knows it again. What it was given beyond its first words may be keys, and much.</summary>
    private static string Shortened(IReadOnlyList<string> command) => string.Join(' ', command.Take(4)) + (command.Count > 4 ? " …" : "");

    /// <summary>
    /// Kills a process with its children. What somebody else still holds open of its output is not waited for: the end of that may
    /// never come.
    /// </summary>
    public static async Task KillAsync(Process process)
    {
        process.Kill(entireProcessTree: true);
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(5));
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
        }
    }

    public static Process Start(IReadOnlyList<string> command, bool redirect, IReadOnlyDictionary<string, string>? environment = null, string? directory = null)
    {
        var start = new ProcessStartInfo(command[0], command.Skip(1)) { RedirectStandardOutput = redirect, RedirectStandardError = redirect, RedirectStandardInput = redirect, WorkingDirectory = directory ?? "" };
        foreach (var (name, value) in environment ?? new Dictionary<string, string>())
        {
            start.Environment[name] = value;
        }

        // A command's words are compared with what it prints; they must not depend on the user's language.
        start.Environment["LC_ALL"] = "C.UTF-8";

        // A node that is killed would leave the pipes of the runtime's debugger behind.
        start.Environment["DOTNET_EnableDiagnostics"] = "0";
        try
        {
            var process = Process.Start(start) ?? throw new Topology.ScenarioException($"cannot start {command[0]}");
            if (redirect)
            {
                process.StandardInput.Close();
            }

            return process;
        }
        catch (Win32Exception e)
        {
            throw new Topology.ScenarioException($"cannot start {command[0]}: {e.Message}", e);
        }
    }

    /// <summary>Asks a process to end (SIGTERM, or SIGINT) without waiting.</summary>
    public static void Signal(Process process, int signal = 15)
    {
        if (!process.HasExited)
        {
            _ = Kill(process.Id, signal);
        }
    }

    private static void Append(StringBuilder text, string? line)
    {
        if (line is not null)
        {
            lock (text)
            {
                text.Append(line).Append('\n');
            }
        }
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int process, int signal);
}
