using System.CommandLine;
using System.Net;
using Sojourn.Host.Control;

namespace Sojourn.Cli.Verbs;

/// <summary>Verbs that change a running node: <c>clear</c>, <c>register</c>, <c>reload</c>, <c>stop</c>; and <c>openapi</c>.</summary>
internal static class OperateVerbs
{
    private const int Conflict = 409;

    public static Command Clear()
    {
        var session = new Option<string?>("--session") { Description = "This mobility session" };
        var nai = new Option<string?>("--nai") { Description = "All sessions of this user" };
        var home = new Option<string?>("--home-address") { Description = "The session of this home address" };
        var all = new Option<bool>("--all") { Description = "Every session of the node" };
        var identifier = new Argument<string>("identifier") { Description = "Whom the certificate names" };
        return new Command("clear", "End what a node holds")
        {
            NodeVerb.Create(
                "session", "End sessions, with their bindings and paths",
                command =>
                {
                    command.Options.Add(session);
                    command.Options.Add(nai);
                    command.Options.Add(home);
                    command.Options.Add(all);
                },
                async call =>
                {
                    IPAddress? address = null;
                    if (call.Parse.GetValue(home) is { } text && !IPAddress.TryParse(text, out address))
                    {
                        throw new CommandException(ExitCode.Usage, $"'{text}' is not an address");
                    }

                    var request = new ClearRequest(call.Parse.GetValue(session), call.Parse.GetValue(nai), address, call.Parse.GetValue(all));
                    var done = await call.Client.PostAsync("clear", request, [], call.Cancellation).ConfigureAwait(false);
                    call.Output.WriteLine(call.Json ? TableText.Indent(done) : "cleared");
                    return ExitCode.Success;
                }),
            NodeVerb.Create(
                "certificate", "Forget a terminal's certificate at its home agent: association, binding and name go, and others may have its home address",
                command => command.Arguments.Add(identifier),
                async call =>
                {
                    var done = await call.Client.PostAsync("forget", new ForgetRequest(call.Parse.GetValue(identifier)!), [], call.Cancellation).ConfigureAwait(false);
                    call.Output.WriteLine(call.Json ? TableText.Indent(done) : "forgotten");
                    return ExitCode.Success;
                }),
        };
    }

    public static Command Register()
    {
        var update = new Option<bool>("--service-update") { Description = "Let the home AAA server search the VPN database anew, so that a changed profile counts at once" };
        return NodeVerb.Create("register", "Make a mobile node register again at once", command => command.Options.Add(update), async call =>
        {
            var done = await call.Client.PostAsync("register", new RegisterRequest(call.Parse.GetValue(update)), [], call.Cancellation).ConfigureAwait(false);
            call.Output.WriteLine(call.Json ? TableText.Indent(done) : call.Parse.GetValue(update) ? "registering with a service update" : "registering");
            return ExitCode.Success;
        });
    }

    /// <summary><c>sojourn terminal up</c>, and <c>sojourn terminal scenario NUMBER valid|not-valid</c>.</summary>
    public static Command Terminal()
    {
        var number = new Argument<int>("number") { Description = "Scenario number, as `show scenarios` lists them" };
        var status = new Argument<string>("status") { Description = "valid, or not-valid" };
        status.AcceptOnlyFromAmong("valid", "not-valid");
        return new Command("terminal", "Bring a terminal up, or change one while it runs")
        {
            TerminalUpVerb.Create(),
            NodeVerb.Create(
                "scenario", "Make a communication method valid or not; in force with the next binding acknowledgement",
                command =>
                {
                    command.Arguments.Add(number);
                    command.Arguments.Add(status);
                },
                async call =>
                {
                    var request = new ScenarioRequest(call.Parse.GetValue(number), call.Parse.GetValue(status) == "valid");
                    var done = await call.Client.PostAsync("scenario", request, [], call.Cancellation).ConfigureAwait(false);
                    call.Output.WriteLine(call.Json ? TableText.Indent(done) : $"{request.Number} is {(request.Valid ? "valid" : "not valid")}");
                    return ExitCode.Success;
                }),
        };
    }

    public static Command Reload()
    {
        var dryRun = new Option<bool>("--dry-run") { Description = "Only tell what would change" };
        return NodeVerb.Create("reload", "Take over a changed configuration; exit status 1 when it is refused", command => command.Options.Add(dryRun), async call =>
        {
            var done = await call.Client.PostAsync("reload", new ReloadRequest(call.Parse.GetValue(dryRun)), [Conflict], call.Cancellation).ConfigureAwait(false);
            var accepted = done.GetProperty("accepted").GetBoolean();
            if (call.Json)
            {
                call.Output.WriteLine(TableText.Indent(done));
                return accepted ? ExitCode.Success : ExitCode.Refused;
            }

            foreach (var f in done.GetProperty("findings").EnumerateArray())
            {
                var allowed = TableText.At(f, "allowed");
                call.Output.WriteLine($"{TableText.At(f, "file")}:{TableText.At(f, "line")}:{TableText.At(f, "column")}: {TableText.At(f, "text")}{(allowed == "-" ? "" : $"; allowed: {allowed}")}");
            }

            foreach (var c in done.GetProperty("changes").EnumerateArray())
            {
                var (before, after) = (TableText.At(c, "before"), TableText.At(c, "after"));
                call.Output.WriteLine($"{(before == "-" ? "+" : after == "-" ? "-" : "~")} {TableText.At(c, "option")}: {(before == "-" ? after : after == "-" ? before : $"{before} -> {after}")}{(c.GetProperty("applied").GetBoolean() ? "" : "  (waits for a restart)")}");
            }

            call.Output.WriteLine(!accepted ? "refused, the old configuration stays"
                : done.GetProperty("changes").GetArrayLength() == 0 ? "nothing changes"
                : call.Parse.GetValue(dryRun) ? "would be taken over" : "taken over");
            return accepted ? ExitCode.Success : ExitCode.Refused;
        });
    }

    public static Command Stop() => NodeVerb.Create("stop", "Stop a node in an orderly way", _ => { }, async call =>
    {
        var done = await call.Client.PostAsync("stop", new { }, [], call.Cancellation).ConfigureAwait(false);
        call.Output.WriteLine(call.Json ? TableText.Indent(done) : "stopping");
        return ExitCode.Success;
    });

    public static Command OpenApi()
    {
        var command = new Command("openapi", "Print the OpenAPI document of the control API");
        command.SetAction(parse => parse.InvocationConfiguration.Output.WriteLine(ControlServer.OpenApi()));
        return command;
    }
}
