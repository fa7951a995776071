using System.CommandLine;
using System.Runtime.InteropServices;
using Sojourn.Host;
using Sojourn.Host.Configuration;

namespace Sojourn.Cli.Verbs;

/// <summary><c>sojourn run --config FILE</c>: a node, until it is told to stop.</summary>
internal static class RunVerb
{
    /// <summary>Goodbyes, routes and paths take less; what does not end by then is cut off.</summary>
    private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(5);

    public static Command Create()
    {
        var config = new Option<string>("--config") { Description = "Configuration file of the node", HelpName = "FILE", Required = true };
        var command = new Command("run", "Run a node in the foreground; SIGHUP reloads its configuration, SIGTERM and SIGINT stop it") { config };
        // The command line's own handler of SIGTERM and SIGINT waits for this action, so it is what asks the node to stop. It is there as soon as
        // this has returned: a node that starts must not keep it from that.
        command.SetAction((parse, cancellation) => Task.Run(() => RunAsync(parse.GetValue(config)!, parse.InvocationConfiguration.Error, cancellation)));
        return command;
    }

    private static async Task<int> RunAsync(string file, TextWriter error, CancellationToken stop)
    {
        var read = ConfigurationReader.ReadFile(file);
        foreach (var finding in read.Findings)
        {
            error.WriteLine(finding);
        }

        if (read.Node is not { } options)
        {
            return ExitCode.Refused;
        }

        var stopping = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var asked = stop.Register(() => stopping.TrySetResult());

        // Before the node is up: unhandled, the signal would end the process. What comes early reloads as soon as the node stands.
        var started = new TaskCompletionSource<NodeHost>(TaskCreationOptions.RunContinuationsAsynchronously);
        using var hungUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, context =>
        {
            context.Cancel = true;
            _ = ReloadAsync(started.Task, error);
        });
        NodeHost host;
        try
        {
            host = await NodeHost.StartAsync(options).ConfigureAwait(false);
        }
        catch (NodeStartException e)
        {
            error.WriteLine($"sojourn: {e.Message}");
            return ExitCode.Failed;
        }

        started.SetResult(host);
        await Task.WhenAny(stopping.Task, host.StopAsked).ConfigureAwait(false);
        var ended = host.DisposeAsync().AsTask();
        if (await Task.WhenAny(ended, Task.Delay(StopLimit, CancellationToken.None)).ConfigureAwait(false) != ended)
        {
            error.WriteLine($"sojourn: the node did not end within {StopLimit.TotalSeconds} s");
            return ExitCode.Failed;
        }

        await ended.ConfigureAwait(false);
        return ExitCode.Success;
    }

    private static async Task ReloadAsync(Task<NodeHost> started, TextWriter error)
    {
        try
        {
            await (await started.ConfigureAwait(false)).ReloadAsync(dryRun: false).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            // Nobody waits for this task: what went wrong would never be heard of.
            error.WriteLine($"sojourn: the configuration was not taken over: {e}");
        }
    }
}
