using System.CommandLine;
using System.Text.Json;

namespace Sojourn.Cli.Verbs;

/// <summary><c>sojourn show usage</c> for people, <c>sojourn usage export</c> for billing. Both ask the home AAA server.</summary>
internal static class UsageVerbs
{
    private const int RecordsAtOnce = 1000;

    private static readonly (string Heading, string Path)[] Columns =
    [
        ("DAY", "day"), ("USER", "nai"), ("PROFILE", "profileNumber"), ("CLASS UP", "upClass"), ("DOWN", "downClass"), ("MEASURED BY", "measuredBy"),
        ("PACKETS UP", "packetsUp"), ("OCTETS UP", "octetsUp"), ("PACKETS DOWN", "packetsDown"), ("OCTETS DOWN", "octetsDown"),
    ];

    private static readonly (string Heading, string Path)[] TotalColumns =
    [
        ("TOTAL OF", "nai"), ("MEASURED BY", "measuredBy"), ("PACKETS UP", "packetsUp"), ("OCTETS UP", "octetsUp"), ("PACKETS DOWN", "packetsDown"), ("OCTETS DOWN", "octetsDown"),
    ];

    private static readonly (string Column, string Path)[] CsvColumns =
    [
        ("id", "id"), ("time", "time"), ("record", "record"), ("nai", "nai"), ("home_address", "homeAddress"), ("session", "session"), ("accounting_session", "accountingSession"),
        ("record_number", "recordNumber"), ("agent", "agent"), ("agent_realm", "agentRealm"), ("measured_by", "measuredBy"), ("session_known", "sessionKnown"),
        ("session_time", "sessionTime"), ("profile", "profileNumber"), ("up_class", "upClass"), ("down_class", "downClass"), ("revision", "revision"),
        ("packets_up", "packetsUp"), ("octets_up", "octetsUp"), ("packets_down", "packetsDown"), ("octets_down", "octetsDown"),
    ];

    public static Command Show()
    {
        var (nai, since, until) = Bounds();
        return NodeVerb.Create("usage", "What users' profiles carried, by day (home AAA server)", command => Add(command, nai, since, until), async call =>
        {
            var document = await call.Client.GetAsync(call.Query("usage", nai, since, until), call.Cancellation).ConfigureAwait(false);
            if (call.Json)
            {
                call.Output.WriteLine(TableText.Indent(document));
                return ExitCode.Success;
            }

            TableText.Write(call.Output, document.GetProperty("usage"), Columns);
            if (document.GetProperty("totals").GetArrayLength() > 0)
            {
                call.Output.WriteLine();
                TableText.Write(call.Output, document.GetProperty("totals"), TotalColumns);
            }

            return ExitCode.Success;
        });
    }

    public static Command Usage()
    {
        var (nai, since, until) = Bounds();
        var csv = new Option<bool>("--csv") { Description = "Comma-separated values (RFC 4180) with a heading; the default" };
        var measured = new Option<string>("--measured-by") { Description = "foreign-agent (what is billed), home-agent or all", DefaultValueFactory = _ => "foreign-agent" };
        measured.AcceptOnlyFromAmong("foreign-agent", "home-agent", "all");
        var usage = new Command("usage", "Accounting records of the home AAA server");
        usage.Subcommands.Add(NodeVerb.Create(
            "export", "Write what every accounting record adds, one line per profile",
            command =>
            {
                Add(command, nai, since, until);
                command.Options.Add(csv);
                command.Options.Add(measured);
            },
            call => Export(call, call.Query("usage-charges", nai, since, until), call.Parse.GetValue(measured)!)));
        return usage;
    }

    private static async Task<int> Export(NodeCall call, string path, string measured)
    {
        if (!call.Json)
        {
            call.Output.Write(string.Join(',', CsvColumns.Select(c => c.Column)) + "\r\n");
        }

        long after = 0;
        while (true)
        {
            var page = await call.Client.GetAsync($"{path}{(path.Contains('?', StringComparison.Ordinal) ? '&' : '?')}after={after}&count={RecordsAtOnce}", call.Cancellation).ConfigureAwait(false);
            foreach (var charge in page.GetProperty("charges").EnumerateArray().Where(c => measured == "all" || c.GetProperty("measuredBy").GetString() == measured))
            {
                call.Output.Write(call.Json ? charge.GetRawText() + "\n" : string.Join(',', CsvColumns.Select(c => Field(charge.GetProperty(c.Path)))) + "\r\n");
            }

            if (page.GetProperty("next").ValueKind == JsonValueKind.Null)
            {
                return ExitCode.Success;
            }

            after = page.GetProperty("next").GetInt64();
        }
    }

    /// <summary>A field of RFC 4180. One a spreadsheet would take for a formula gets an apostrophe: names come from roaming partners.</summary>
    private static string Field(JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.String)
        {
            return value.ValueKind == JsonValueKind.Null ? "" : value.GetRawText();
        }

        var text = value.GetString()!;
        if (text.Length > 0 && "=+-@\t".Contains(text[0], StringComparison.Ordinal))
        {
            text = "'" + text;
        }

        return text.AsSpan().IndexOfAny(",\"\r\n") < 0 ? text : $"\"{text.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
    }

    private static (Option<string?> Nai, Option<string?> Since, Option<string?> Until) Bounds() => (
        new Option<string?>("--nai") { Description = "User" },
        new Option<string?>("--since") { Description = "From this day or time on (UTC), e.g. 2026-11-01" },
        new Option<string?>("--until") { Description = "Before this day or time (UTC)" });

    private static void Add(Command command, params Option[] options)
    {
        foreach (var option in options)
        {
            command.Options.Add(option);
        }
    }
}
