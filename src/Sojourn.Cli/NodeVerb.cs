using System.CommandLine;
using Sojourn.Host.Control;

namespace Sojourn.Cli;

/// <summary>What commands that talk to a node have in common: choosing the node, <c>--json</c>, errors as one line.</summary>
internal static class NodeVerb
{
    public static Command Create(string name, string text, Action<Command> declare, Func<NodeCall, Task<int>> run)
    {
        var choice = new NodeChoice();
        var json = new Option<bool>("--json") { Description = "Print the control API's answer" };
        var command = new Command(name, text);
        declare(command);
        choice.AddTo(command);
        command.Options.Add(json);
        command.SetAction(async (parse, cancellation) =>
        {
            try
            {
                using var client = new ControlClient(choice.SocketOf(parse));
                return await run(new NodeCall(parse, client, parse.GetValue(json), cancellation)).ConfigureAwait(false);
            }
            catch (CommandException e)
            {
                parse.InvocationConfiguration.Error.WriteLine($"sojourn: {e.Message}");
                return e.Status;
            }
            catch (ControlException e)
            {
                parse.InvocationConfiguration.Error.WriteLine($"sojourn: {e.Message}");
                return e.Refused ? ExitCode.Refused : ExitCode.Unreachable;
            }
            catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
            {
                return ExitCode.Success;
            }
        });
        return command;
    }
}

/// <summary>One call of a command.</summary>
internal sealed record NodeCall(ParseResult Parse, ControlClient Client, bool Json, CancellationToken Cancellation)
{
    public TextWriter Output => Parse.InvocationConfiguration.Output;

    /// <summary>Query part of a path from options that are set; names are the options' without dashes.</summary>
    public string Query(string path, params Option<string?>[] options)
    {
        var parts = options.Where(option => Parse.GetValue(option) is not null).Select(option => $"{option.Name.TrimStart('-')}={Uri.EscapeDataString(Parse.GetValue(option)!)}").ToList();
        return parts.Count == 0 ? path : $"{path}?{string.Join('&', parts)}";
    }
}
