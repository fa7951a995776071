using System.CommandLine;
using System.Text.Json;

namespace Sojourn.Cli.Verbs;

/// <summary><c>sojourn events [--follow]</c>; also <c>sojourn show events</c>.</summary>
internal static class EventsVerb
{
    public static Command Create()
    {
        var session = new Option<string?>("--session") { Description = "Only this mobility session" };
        var nai = new Option<string?>("--nai") { Description = "Only this user" };
        var home = new Option<string?>("--home-address") { Description = "Only this home address" };
        var kind = new Option<string?>("--event") { Description = "Only this event, or all that begin so (registration)" };
        var level = new Option<string?>("--level") { Description = "Least severity: debug, information, warning, error" };
        var count = new Option<string?>("--count") { Description = "How many of the latest (100)" };
        var follow = new Option<bool>("--follow", "-f") { Description = "Keep printing new events" };
        return NodeVerb.Create(
            "events", "What happened at a node",
            command =>
            {
                foreach (var option in new Option[] { session, nai, home, kind, level, count, follow })
                {
                    command.Options.Add(option);
                }
            },
            async call =>
            {
                var path = call.Query("events", session, nai, home, kind, level, count);
                if (!call.Parse.GetValue(follow))
                {
                    var document = await call.Client.GetAsync(path, call.Cancellation).ConfigureAwait(false);
                    if (call.Json)
                    {
                        call.Output.WriteLine(TableText.Indent(document));
                        return ExitCode.Success;
                    }

                    foreach (var e in document.GetProperty("events").EnumerateArray())
                    {
                        call.Output.WriteLine(Line(e));
                    }

                    return ExitCode.Success;
                }

                await foreach (var line in call.Client.LinesAsync(path + (path.Contains('?') ? "&" : "?") + "follow=true", call.Cancellation).ConfigureAwait(false))
                {
                    call.Output.WriteLine(call.Json ? line : Line(JsonDocument.Parse(line).RootElement));
                    call.Output.Flush();
                }

                return ExitCode.Success;
            });
    }

    private static string Line(JsonElement e)
    {
        var who = string.Join(' ', new[] { "nai", "hoa", "coa", "peer", "spi" }.Select(name => TableText.At(e, name)).Where(text => text != "-"));
        var rule = TableText.At(e, "rule");
        return $"{TableText.At(e, "time")} {TableText.At(e, "level"),-11} {TableText.At(e, "id")} {TableText.At(e, "event")}: {TableText.At(e, "text")}{(who.Length > 0 ? $" [{who}]" : "")}{(rule == "-" ? "" : $" ({rule})")}";
    }
}
