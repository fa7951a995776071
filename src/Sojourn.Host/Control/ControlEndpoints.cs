using System.Net;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Sojourn.Engine;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Host.Configuration;
using Sojourn.Host.Observation;

namespace Sojourn.Host.Control;

/// <summary>What the control API can do.</summary>
internal sealed partial class ControlEndpoints(NodeHost host)
{
    private const int MostEvents = 100_000;

    private static readonly Parameter[] EventParameters =
    [
        new("session", "Mobility session"), new("nai", "User"), new("home-address", "Home address"), new("event", "Event, or the beginning of its dotted name"),
        new("level", "Least severity: debug, information, warning, error"), new("count", "How many of the latest (100)"),
    ];

    private string Node => host.Node.Options.Node;

    public IReadOnlyList<Endpoint> All() =>
    [
        Get("status", "What the node is and how it is.", Status),
        Get("health", "Whether the node is well, and why not.", () => Task.FromResult(new HealthDocument(Node, host.Health.Summary, host.Health.Reasons))),
        Get("counters", "All counters by dotted name.", () => Task.FromResult(host.Tables.Counters())),
        new("GET", "metrics", "Metrics in Prometheus' text format.", null, typeof(string), Metrics, []),
        Get("paths", "The desired paths and how they stand in the packet path.", () => host.Tables.Paths()),
        Get("sessions", "Mobility sessions this node knows.", () => host.Tables.Sessions()),
        Get("bindings", "Mobility bindings (home agent, dynamic gateway).", () => host.Tables.Bindings()),
        Get("visitors", "The visitor list (foreign agent).", () => host.Tables.Visitors()),
        Get("leases", "Delegated prefixes (delegating router).", () => host.Tables.Leases()),
        Get("certificates", "Certificates of terminals with preset home addresses (home agent, spec D6).", () => host.Tables.Certificates()),
        Get("names", "Terminals' names in the name service (home agent).", () => host.Tables.Names()),
        Get("scenarios", "Scenario policy: which communication methods are valid (terminal).", () => host.Tables.Scenarios()),
        Get("binding-list", "Binding update lists: of registration and of forwarding (terminal).", () => host.Tables.BindingList()),
        Get("tunnels", "Tunnel information: from which care-of address to which home agent (terminal).", () => host.Tables.MobileTunnels()),
        Get("servers", "Servers of the packet path and what each carried (home agent of Mobile IPv6).", () => Task.FromResult(host.Tables.Servers())),
        Get("policy", "What is done with packets of applications (terminal).", () => host.Tables.DataPolicies()),
        Get("sa", "Pairs of associations the key exchange made, with packets under each (terminal).", () => host.Tables.ChildSas()),
        Get("translation", "The IPv4-IPv6 translation table (terminal).", () => host.Tables.Translations()),
        Get("vpn-cache", "The VPN information cache, every field of a profile.", () => host.Tables.VpnCache()),
        Get("vpn-db", "The VPN database, every field of an instance (home AAA server).", () => host.Tables.VpnDatabase()),
        Get("cn-gw", "The CN-GW address table (home AAA server).", () => host.Tables.CorrespondentGateways()),
        Get("peers", "Diameter peers.", () => host.Tables.Peers()),
        Get("qos", "Marking filters and traffic classes.", () => host.Tables.Qos()),
        Get("ipsec", "The IPsec information table: selectors, associations, tunnels.", () => host.Tables.Associations()),
        Get("routes", "Routes and rules of this node's making.", () => Task.FromResult(host.Tables.Routes())),
        Get("config", "The configuration in force, defaults included.", () => Task.FromResult(
            new ConfigurationDocument(Node, host.Node.Options.File, host.Loaded, ConfigurationView.Of(host.Node.Options)))),
        new("GET", "events", "The latest events; with follow=true new ones too, one JSON object per line.", null, typeof(EventsDocument), Events,
            [.. EventParameters, new Parameter("follow", "true = keep sending")]),
        new("GET", "explain", "Why something was refused, newest first: the rule, what it says, where.", null, typeof(ExplainDocument), Explain,
            [new("nai", "User"), new("home-address", "Home address"), new("session", "Mobility session"), new("count", "How many (1)")]),
        new("GET", "audit", "What was done to this node, and at a home AAA server to its subscribers, newest first.", null, typeof(AuditDocument), Audited, [new("count", "How many (100)")]),
        new("GET", "usage", "What users' profiles carried, by day, and totals by user (home AAA server).", null, typeof(UsageDocument), Usage, UsageParameters),
        new("GET", "usage-charges", "What every accounting record adds, profile by profile, in the order they came (home AAA server).", null, typeof(UsageChargesDocument), UsageCharges,
            [.. UsageParameters, new("after", "Only behind this id (0)"), new("count", "Accounting records at most (1000)")]),
        new("POST", "clear", "Ends sessions: by session, nai, home address, or all.", typeof(ClearRequest), typeof(ClearedDocument), Clear, []),
        new("POST", "forget", "Makes a home agent forget a terminal's certificate, with association, binding and name; others may then have its preset home address.", typeof(ForgetRequest), typeof(ForgottenDocument), Forget, []),
        new("POST", "scenario", "Makes a scenario number of a terminal valid or not; in force with the next binding acknowledgement. Numbers it excludes are not valid any more.", typeof(ScenarioRequest), typeof(ScenarioSetDocument), SetScenario, []),
        new("POST", "register", "Makes a mobile node register again; with serviceUpdate the home AAA server then searches the VPN database anew.", typeof(RegisterRequest), typeof(RegisteringDocument), Register, []),
        new("POST", "reload", "Reads the configuration file again; with dryRun only tells what would change.", typeof(ReloadRequest), typeof(ReloadDocument), Reload, []),
        new("POST", "stop", "Stops the node in an orderly way.", null, typeof(StoppingDocument), Stop, []),
    ];

    private static Endpoint Get<T>(string path, string text, Func<Task<T>> read) =>
        new("GET", path, text, null, typeof(T), async context => await Answer(context, await read().ConfigureAwait(false)).ConfigureAwait(false), []);

    private async Task<StatusDocument> Status()
    {
        var options = host.Node.Options;
        var interop = options.Interop;
        IEnumerable<string> concessions =
        [
            .. interop.LegacyAuthenticators ? ["interop.legacy-authenticators"] : Array.Empty<string>(),
            .. interop.PlainSessionKeys ? ["interop.plain-session-keys"] : Array.Empty<string>(),
            .. options.Diameter is { AllowPlainTcp: true } ? ["diameter.allow-plain-tcp"] : Array.Empty<string>(),
            .. options.Console is { PlainHttp: true } ? ["console.plain-http"] : Array.Empty<string>(),
            .. options.AccessServer is { AddressOnlyDevices: true } ? ["access-server.address-only-devices: a cloned device address is let in"] : Array.Empty<string>(),
            .. options.AccessAuthenticator is { AddressOnlyDevices: true } ? ["access-authenticator.address-only-devices: a cloned device address is let in"] : Array.Empty<string>(),
            .. options.Terminal?.Scenarios.Any(number => number is 10000 or 10001) == true ? ["terminal.scenarios: binding updates leave unprotected"] : Array.Empty<string>(),
            .. options.Terminal?.AnchorPoints?.Unprotected.Count > 0 ? ["terminal.anchor-points.unprotected: anchor points are believed without IPsec"] : Array.Empty<string>(),
            .. options.AnchorPoint?.Unprotected.Count > 0 ? ["anchor-point.unprotected: regional addresses are bound for whoever names them"] : Array.Empty<string>(),
            .. options.AccessServer is { HiddenPasswords: true } ? ["access-server.hidden-passwords"] : Array.Empty<string>(),
        ];
        return new StatusDocument(
            Node, options.Role, NodeHost.Version, Environment.ProcessId, host.Node.Started, (long)(DateTimeOffset.UtcNow - host.Node.Started).TotalSeconds,
            host.Health.Summary, host.Health.Reasons, options.File, host.Loaded, host.RestartNeededFor, options.Diameter?.Identity, host.Node.KeyExportPath,
            [.. concessions], await host.Tables.Counts().ConfigureAwait(false),
            new SortedDictionary<string, long>(host.Tables.Counters().Counters.Where(c => c.Value != 0).ToDictionary(), StringComparer.Ordinal));
    }

    private async Task Metrics(HttpContext context)
    {
        await host.RefreshAsync().ConfigureAwait(false);
        context.Response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
        await context.Response.WriteAsync(host.PrometheusText.Write(), context.RequestAborted).ConfigureAwait(false);
    }

    private async Task Events(HttpContext context)
    {
        if (Filter(context, out var filter, out var count) is { } wrong)
        {
            await Refuse(context, wrong).ConfigureAwait(false);
            return;
        }

        if (context.Request.Query["follow"] != "true")
        {
            await Answer(context, new EventsDocument(Node, [.. host.Events.Latest(count, filter.Matches).Select(View)])).ConfigureAwait(false);
            return;
        }

        context.Response.ContentType = "application/x-ndjson";
        await context.Response.StartAsync(context.RequestAborted).ConfigureAwait(false);
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, host.Ended);
        try
        {
            await foreach (var recorded in host.Events.Follow(count, filter.Matches, ended.Token).ConfigureAwait(false))
            {
                await context.Response.WriteAsync(JsonSerializer.Serialize(View(recorded), ControlJson.Options) + "\n", ended.Token).ConfigureAwait(false);
                await context.Response.Body.FlushAsync(ended.Token).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException)
        {
            // The follower left, or the node ends.
        }
    }

    private async Task Explain(HttpContext context)
    {
        if (Filter(context, out var filter, out var count) is { } wrong)
        {
            await Refuse(context, wrong).ConfigureAwait(false);
            return;
        }

        var refusals = host.Events.Latest(MostEvents, recorded => filter.Matches(recorded) && IsRefusal(recorded.Event))
            .Reverse().Take(context.Request.Query.ContainsKey("count") ? count : 1)
            .Select(recorded =>
            {
                var e = recorded.Event;
                var entry = MessageCatalogue.Find(e.Kind);
                return new Explanation(
                    recorded.Time, Node, e.Kind, e.Text, e.Rule, RuleSentences.Find(e.Rule), e.Session, e.Nai, e.HomeAddress, e.CareOfAddress, e.Peer, entry?.Meaning, entry?.Action);
            });
        await Answer(context, new ExplainDocument(Node, [.. refusals])).ConfigureAwait(false);
    }

    private async Task Audited(HttpContext context)
    {
        if (Filter(context, out _, out var count) is { } wrong)
        {
            await Refuse(context, wrong).ConfigureAwait(false);
            return;
        }

        await Answer(context, new AuditDocument(Node, host.Node.AuditEntries(count))).ConfigureAwait(false);
    }

    private async Task Clear(HttpContext context)
    {
        if (await Body<ClearRequest>(context).ConfigureAwait(false) is not { } request)
        {
            return;
        }

        if (request is { Session: null, Nai: null, HomeAddress: null, All: false })
        {
            await Refuse(context, ("nothing names what to clear", "session, nai, homeAddress, or all: true")).ConfigureAwait(false);
            return;
        }

        var commands = await host.Node.ClearAsync(request.Session, request.Nai, request.HomeAddress).ConfigureAwait(false);
        host.Audit("api", "session.clear", request.Session ?? request.Nai ?? request.HomeAddress?.ToString() ?? "all");
        host.Report(new EngineEvent("node.cleared", EventSeverity.Information, $"an operator ended {(request.All ? "all sessions" : "sessions")}")
        {
            Session = request.Session,
            Nai = request.Nai,
            HomeAddress = request.HomeAddress,
        });
        await Answer(context, new ClearedDocument(Node, commands)).ConfigureAwait(false);
    }

    private async Task Forget(HttpContext context)
    {
        if (await Body<ForgetRequest>(context).ConfigureAwait(false) is not { } request)
        {
            return;
        }

        if (TerminalIdentifier.TryCanonical(request.Identifier, out var reason) is not { } identifier)
        {
            await Refuse(context, ($"'{request.Identifier}' {reason}", "a host name or a distinguished name")).ConfigureAwait(false);
            return;
        }

        if (!await host.Node.ForgetAsync(identifier).ConfigureAwait(false))
        {
            await Refuse(context, ($"{Node} keeps no certificate of {identifier}", "an identifier of `certificates`")).ConfigureAwait(false);
            return;
        }

        host.Audit("api", "certificate.forget", identifier);
        await Answer(context, new ForgottenDocument(Node, identifier)).ConfigureAwait(false);
    }

    private async Task SetScenario(HttpContext context)
    {
        if (await Body<ScenarioRequest>(context).ConfigureAwait(false) is not { } request)
        {
            return;
        }

        if (!await host.Node.SetScenarioAsync(request.Number, request.Valid).ConfigureAwait(false))
        {
            await Refuse(context, ($"{Node} has no scenario {request.Number}", "a number of `scenarios`")).ConfigureAwait(false);
            return;
        }

        host.Audit("api", "scenario.set", $"{request.Number} {(request.Valid ? "valid" : "not valid")}");
        await Answer(context, new ScenarioSetDocument(Node, request.Number, request.Valid)).ConfigureAwait(false);
    }

    private async Task Register(HttpContext context)
    {
        if (await Body<RegisterRequest>(context).ConfigureAwait(false) is not { } request)
        {
            return;
        }

        if (!host.Node.Register(request.ServiceUpdate))
        {
            await Refuse(context, ($"{Node} registers nowhere", "a node with role mobile-node")).ConfigureAwait(false);
            return;
        }

        host.Audit("api", "node.register", request.ServiceUpdate ? "service update" : "renewal");
        await Answer(context, new RegisteringDocument(Node, request.ServiceUpdate)).ConfigureAwait(false);
    }

    private async Task Reload(HttpContext context)
    {
        if (await Body<ReloadRequest>(context).ConfigureAwait(false) is not { } request)
        {
            return;
        }

        var done = await host.ReloadAsync(request.DryRun).ConfigureAwait(false);
        context.Response.StatusCode = done.Accepted ? StatusCodes.Status200OK : StatusCodes.Status409Conflict;
        await Answer(context, done).ConfigureAwait(false);
    }

    private async Task Stop(HttpContext context)
    {
        host.Audit("api", "node.stop", Node);
        await Answer(context, new StoppingDocument(Node)).ConfigureAwait(false);
        await context.Response.CompleteAsync().ConfigureAwait(false);
        host.AskToStop();
    }

    private static bool IsRefusal(EngineEvent e) =>
        e.Kind.Contains("refused", StringComparison.Ordinal) || e.Kind.Contains("dropped", StringComparison.Ordinal) || e.Kind.Contains("failed", StringComparison.Ordinal)
        || (e.Severity >= EventSeverity.Warning && e.Rule is not null);

    private EventView View(RecordedEvent recorded)
    {
        var e = recorded.Event;
        return new EventView(
            recorded.Number, recorded.Time, e.Severity, recorded.Id, e.Kind, Node, e.Session, e.Peer, e.Nai, e.HomeAddress, e.CareOfAddress,
            e.Spi is { } spi ? new Roles.Configuration.SpiValue(spi).ToString() : null, e.Rule, e.Text, e.Phases);
    }

    private static (string Error, string Allowed)? Filter(HttpContext context, out EventFilter filter, out int count)
    {
        var query = context.Request.Query;
        filter = new EventFilter();
        count = 100;
        IPAddress? home = null;
        if (query.TryGetValue("home-address", out var address) && !IPAddress.TryParse(address, out home))
        {
            return ($"'{address}' is not an address", "an IPv4 address");
        }

        var severity = EventSeverity.Debug;
        if (query.TryGetValue("level", out var level) && (int.TryParse(level, out _) || !Enum.TryParse(level, ignoreCase: true, out severity)))
        {
            return ($"'{level}' is not a level", "debug, information, warning, error");
        }

        if (query.TryGetValue("count", out var number) && (!int.TryParse(number, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out count) || count > MostEvents))
        {
            return ($"'{number}' is not a count", $"0 to {MostEvents}");
        }

        filter = new EventFilter(Text("session"), Text("nai"), home, Text("event"), severity);
        return null;

        string? Text(string name) => query.TryGetValue(name, out var value) ? value.ToString() : null;
    }

    private async Task<T?> Body<T>(HttpContext context)
        where T : class
    {
        // A body may come without a length (chunked); an absent one means the defaults.
        using var body = new MemoryStream();
        await context.Request.Body.CopyToAsync(body, context.RequestAborted).ConfigureAwait(false);
        if (body.Length == 0)
        {
            return Empty<T>();
        }

        try
        {
            return JsonSerializer.Deserialize<T>(body.GetBuffer().AsSpan(0, (int)body.Length), ControlJson.Options) ?? Empty<T>();
        }
        catch (JsonException e)
        {
            await Refuse(context, ($"the body cannot be read: {e.Message}", $"a JSON object like {JsonSerializer.Serialize(Empty<T>(), ControlJson.Options)}")).ConfigureAwait(false);
            return null;
        }
    }

    /// <summary>All members of a request body have defaults.</summary>
    private static T Empty<T>()
        where T : class => JsonSerializer.Deserialize<T>("{}", ControlJson.Options)!;

    private Task Refuse(HttpContext context, (string Error, string Allowed) wrong)
    {
        context.Response.StatusCode = StatusCodes.Status400BadRequest;
        return Answer(context, new ErrorDocument(Node, wrong.Error, wrong.Allowed));
    }

    private static Task Answer<T>(HttpContext context, T document)
    {
        context.Response.ContentType = "application/json";
        return JsonSerializer.SerializeAsync(context.Response.Body, document, ControlJson.Options, context.RequestAborted);
    }
}
