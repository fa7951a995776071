using System.CommandLine;

namespace Sojourn.Cli.Verbs;

/// <summary><c>sojourn explain</c>: which rule refused, what it says, where. Exit status 1 when nothing was refused.</summary>
internal static class ExplainVerb
{
    public static Command Create()
    {
        var nai = new Option<string?>("--nai") { Description = "Of this user" };
        var home = new Option<string?>("--home-address") { Description = "Of this home address" };
        var session = new Option<string?>("--session") { Description = "Of this mobility session" };
        var count = new Option<string?>("--count") { Description = "How many, newest first (1)" };
        return NodeVerb.Create(
            "explain", "Why something was refused last: the rule, what it says, and at which node",
            command =>
            {
                command.Options.Add(nai);
                command.Options.Add(home);
                command.Options.Add(session);
                command.Options.Add(count);
            },
            async call =>
            {
                var document = await call.Client.GetAsync(call.Query("explain", nai, home, session, count), call.Cancellation).ConfigureAwait(false);
                var found = document.GetProperty("explanations");
                if (call.Json)
                {
                    call.Output.WriteLine(TableText.Indent(document));
                }
                else if (found.GetArrayLength() == 0)
                {
                    call.Output.WriteLine("nothing was refused");
                }
                else
                {
                    foreach (var e in found.EnumerateArray())
                    {
                        call.Output.WriteLine($"{TableText.At(e, "time")} at {TableText.At(e, "node")}: {TableText.At(e, "what")}");
                        call.Output.WriteLine($"  rule     {TableText.At(e, "rule")}");
                        call.Output.WriteLine($"  it says  {TableText.At(e, "sentence")}");
                        foreach (var (label, member) in new[] { ("event", "event"), ("user", "nai"), ("home", "homeAddress"), ("care-of", "careOfAddress"), ("peer", "peer"), ("session", "session"), ("to do", "action") })
                        {
                            if (TableText.At(e, member) is not "-" and var text)
                            {
                                call.Output.WriteLine($"  {label,-8} {text}");
                            }
                        }
                    }
                }

                return found.GetArrayLength() == 0 ? ExitCode.Refused : ExitCode.Success;
            });
    }
}
