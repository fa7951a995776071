using System.CommandLine;

namespace Sojourn.Cli.Verbs;

/// <summary><c>sojourn status</c>. Exit status 1 when the node's health is failed.</summary>
internal static class StatusVerb
{
    public static Command Create() => NodeVerb.Create("status", "What a node is and how it is", _ => { }, async call =>
    {
        var status = await call.Client.GetAsync("status", call.Cancellation).ConfigureAwait(false);
        if (call.Json)
        {
            call.Output.WriteLine(TableText.Indent(status));
        }
        else
        {
            TableText.WriteAll(call.Output, status);
        }

        return status.GetProperty("health").GetString() == "failed" ? ExitCode.Refused : ExitCode.Success;
    });
}
