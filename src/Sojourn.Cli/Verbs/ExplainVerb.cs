using System.CommandLine;
using System.Globalization;
using System.Text.Json;

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
        var handOver = new Option<bool>("--hand-over") { Description = "How long the last hand-over took at this node, phase by phase, instead" };
        return NodeVerb.Create(
            "explain", "Why something was refused last: the rule, what it says, and at which node",
            command =>
            {
                command.Options.Add(nai);
                command.Options.Add(home);
                command.Options.Add(session);
                command.Options.Add(count);
                command.Options.Add(handOver);
            },
            async call =>
            {
                if (call.Parse.GetValue(handOver))
                {
                    return await HandOverAsync(call, nai, home, session, count).ConfigureAwait(false);
                }

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

    /// <summary>The phases of the latest hand-overs, newest first. Exit status 1 when there was none.</summary>
    private static async Task<int> HandOverAsync(NodeCall call, Option<string?> nai, Option<string?> home, Option<string?> session, Option<string?> count)
    {
        var path = call.Query("events", nai, home, session);
        var document = await call.Client.GetAsync($"{path}{(path.Contains('?') ? '&' : '?')}event=handover&count=1000", call.Cancellation).ConfigureAwait(false);
        var wanted = int.TryParse(call.Parse.GetValue(count), NumberStyles.None, CultureInfo.InvariantCulture, out var asked) ? asked : 1;

        // A hand-over is what was timed, with the first packet that came after it.
        var told = new List<JsonElement>();
        var found = 0;
        foreach (var e in document.GetProperty("events").EnumerateArray().Reverse().TakeWhile(_ => found < wanted))
        {
            told.Add(e);
            found += e.GetProperty("event").GetString() == "handover.timed" ? 1 : 0;
        }

        if (call.Json)
        {
            call.Output.WriteLine(JsonSerializer.Serialize(new { node = document.GetProperty("node").GetString(), handOvers = told }, CliJson.Indented));
        }
        else if (told.Count == 0)
        {
            call.Output.WriteLine("no hand-over yet");
        }

        foreach (var e in call.Json ? [] : told)
        {
            call.Output.WriteLine($"{TableText.At(e, "time")} at {TableText.At(e, "node")}: {TableText.At(e, "text")}");
            foreach (var phase in e.TryGetProperty("phases", out var phases) && phases.ValueKind == JsonValueKind.Array ? phases.EnumerateArray().ToList() : [])
            {
                call.Output.WriteLine(FormattableString.Invariant($"  {TableText.At(phase, "name"),-12} {phase.GetProperty("milliseconds").GetDouble(),9:F1} ms"));
            }

            if (TableText.At(e, "nai") is not "-" and var user)
            {
                call.Output.WriteLine($"  user         {user}");
            }
        }

        return told.Count == 0 ? ExitCode.Refused : ExitCode.Success;
    }
}
