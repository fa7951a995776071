using System.Net;
using System.Text.Json;
using Sojourn.Engine.Ikev2;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;
using Sojourn.Roles.Enrolment;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>Home agents of terminals: several of them, a false one, their certificates and the terminals', and who is refused (spec authentication 5.1, 7.1, 7.6).</summary>
public sealed partial class AuthenticationAgents : TerminalScenario
{
    private const string Mn = "mn1.home.example", Appliance = "app.home.example", Outsider = "mn3.home.example";
    private const string Authority = "2001:db8:3::2", AuthorityUrl = "http://[2001:db8:3::2]:8080";
    private const string First = "2001:db8:a::1", Second = "2001:db8:a::2", DelegatingRouter = "2001:db8:5::13", False = "2001:db8:8::2", Stranger = "2001:db8:9::2";

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    private static readonly Dictionary<string, string> s_ends = new() { [Authority] = "ca", [First] = "ha1", [Second] = "ha2", [False] = "rogue" };

    private readonly Dictionary<string, JsonElement> _shown = [];
    private readonly Dictionary<string, ProbeOutcome> _tried = [];
    private readonly Dictionary<string, string> _why = [];
    private readonly Dictionary<string, (long From, long To)> _when = [];
    private IReadOnlyList<string> _secondSays = [], _mnStates = [], _mnSays = [], _mnVerified = [], _applianceSays = [];
    private IReadOnlyList<string> _bindingsDuring = [];
    private byte[]? _oldAnswer, _newAnswer;
    private string _missing = "", _withoutCard = "";
    private long _started, _taken, _moved, _returned, _led, _tries;
    private int _applianceSessions;
    private double _secondTook = double.NaN;

    public override string Name => "authentication/agents";

    protected override IReadOnlyList<string> Fields => [.. base.Fields, "isakmp.ispi", "isakmp.cert.encoding", "http.request.uri", "tcp.srcport", "tcp.dstport", "eth.src", "ipv6.hlim", "http.response.code", "json.value.string"];

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        var database = await PrepareAsync(run, cancellation);
        await using var first = await RouterAdvertiser.StartAsync(run, "ar1", "acc0", "2001:db8:f1::/64", managed: false, cancellation);
        await using var third = await RouterAdvertiser.StartAsync(run, "ar1", "acc1", "2001:db8:f3::/64", managed: false, cancellation);
        await using var second = await RouterAdvertiser.StartAsync(run, "ar2", "acc0", "2001:db8:f2::/64", managed: false, cancellation);
        await SignOnAsync(run, cancellation);
        await RenewAsync(run, cancellation);
        await TakeCardOutAsync(run, cancellation);
        await LeadAstrayAsync(run, cancellation);
        await TryAsync(run, database, cancellation);
        _secondSays = await EventsAsync(run, "ha2", "", cancellation);
        _shown["appliance at the end"] = await SessionAsync(run, "app", cancellation);
        _shown["binding at the end"] = (await RowsAsync(run, "ha1", "bindings", cancellation)).FirstOrDefault(b => Text(b, "nai") == Appliance);
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures) =>
    [
        new LadderChapter("The terminal: first home agent, network 5a, false home agent, second home agent", new Ladder(
            ["mn", "ar1", "ar2", "ca", "ha1", "rogue", "ha2"], [.. SignallingSteps("mn", s_ends, new Dictionary<string, string> { ["access-1"] = "ar1", ["access-2"] = "ar2" }, _started)])),
        new LadderChapter("The appliance: registration and renewal", new Ladder(
            ["app", "ar1", "ca", "ha1"], [.. SignallingSteps("app", s_ends, new Dictionary<string, string> { ["access-3"] = "ar1" }, _started)])),
    ];

    private static async Task<IReadOnlyList<JsonElement>> RowsAsync(LabRun run, string node, string table, CancellationToken cancellation) => [.. PathLines.Rows(await run.ShowAsync(node, table, cancellation))];

    private async Task<string> PrepareAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The operator makes the authority and certifies the first home agent beforehand; the second has none yet");
        var database = await MakeAuthorityAsync(run, cancellation);
        await Task.WhenAll(
            WriteCardAsync(run, database, "mn", Mn, "mn1", cancellation),
            WriteCardAsync(run, database, "app", Appliance, "app", cancellation),
            WriteCardAsync(run, database, "st", Outsider, "mn3", cancellation),
            AllowPrefixesAsync(),
            IssueAsync(run, database, "ca", "ca.home.example", [Authority], cancellation),
            ListServerAsync(run, database, "ha1", "ha1.home.example", "home-agent", [First, "2001:db8:5::11"], "ha1-tls", cancellation),
            ListServerAsync(run, database, "dr", "dr.home.example", "node", [DelegatingRouter], "dr-tls", cancellation),
            ListServerAsync(run, database, "ha2", "ha2-queries.home.example", "node", ["2001:db8:5::12"], "ha2-tls", cancellation),
            ListServerAsync(run, database, "ha2", "ha2.home.example", "home-agent", [Second], "ha2", cancellation));
        await run.Node("ca").StartAsync(cancellation);
        await Task.WhenAll(
            EnrolAsync(run, "ha1", "ha1.home.example", AuthorityUrl, "ha1-tls", cancellation),
            EnrolAsync(run, "dr", "dr.home.example", AuthorityUrl, "dr-tls", cancellation),
            EnrolAsync(run, "ha2", "ha2-queries.home.example", AuthorityUrl, "ha2-tls", cancellation),
            EnrolAsync(run, "st", Outsider, AuthorityUrl, "mn3", cancellation));
        await run.Node("dr").StartAsync(cancellation);
        CredentialStore.Create(System.IO.Path.Combine(run.Directory.FolderOf("ha2"), "own"), "ha2.home.example").Dispose();
        foreach (var agent in new[] { "ha1", "ha2" })
        {
            var folder = run.Directory.FolderOf(agent);
            await File.WriteAllTextAsync(System.IO.Path.Combine(folder, "anchors.pem"), await File.ReadAllTextAsync(System.IO.Path.Combine(folder, "credentials", "authorities.pem"), cancellation) + _partner.Pem, cancellation);
            await run.Node(agent).StartAsync(cancellation);
        }

        return database;

        // One database: a table is made once.
        async Task AllowPrefixesAsync()
        {
            await AllowPrefixAsync(run, "dr", "00:03:00:01:02:00:00:00:00:c1", "193", Mn, cancellation);
            await AllowPrefixAsync(run, "dr", "00:03:00:01:02:00:00:00:00:c2", "194", Appliance, cancellation);
        }
    }

    private async Task SignOnAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Terminal and appliance are switched on");
        _started = LabRun.Now;
        await Task.WhenAll(run.Node("mn").StartAsync(cancellation), run.Node("app").StartAsync(cancellation));
        _shown["mn"] = await ReachAsync(run, "mn", "REG", s_patience, cancellation);
        _shown["app"] = await ReachAsync(run, "app", "REG", s_patience, cancellation);
        _mnVerified = await EventsAsync(run, "mn", "ike.sa.up", cancellation);
        foreach (var session in await RowsAsync(run, "ha1", "sessions", cancellation))
        {
            _shown["session of " + Text(session, "nai")] = session;
        }
    }

    /// <summary>The appliance's certificate is due some seconds after it was issued.</summary>
    private async Task RenewAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The appliance renews its certificate and proves itself with it");
        var during = new List<string>();
        await AwaitAsync(run, "the appliance has proved itself with its new certificate", async () =>
        {
            during.Add(string.Join(",", (await RowsAsync(run, "ha1", "bindings", cancellation)).Where(b => Text(b, "nai") == Appliance).Select(b => Text(b, "careOfAddress"))));
            return (await EventsAsync(run, "app", "terminal.renewed", cancellation)).Count > 0 && (await EventsAsync(run, "app", "ike.sa.up", cancellation)).Count > 1
                && (_applianceSessions = (await RowsAsync(run, "ha1", "sessions", cancellation)).Count(s => Text(s, "nai") == Appliance)) == 1;
        }, s_patience, cancellation);
        _bindingsDuring = during;
        _applianceSays = await EventsAsync(run, "app", "", cancellation);
    }

    private async Task TakeCardOutAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The terminal's card is taken out; its binding is renewed, then it moves to network 5a, where it needs a new key exchange");
        var (key, away) = (System.IO.Path.Combine(StoreOf(run, "mn"), "key.pem"), System.IO.Path.Combine(run.Directory.FolderOf("mn"), "taken-out.pem"));
        async Task<string> ExpiresAsync() => Text((await RowsAsync(run, "ha1", "bindings", cancellation)).FirstOrDefault(b => Text(b, "nai") == Mn), "expires");
        File.Move(key, away);
        _taken = LabRun.Now;
        var before = await ExpiresAsync();
        await AwaitAsync(run, "the terminal's binding is renewed", async () => await ExpiresAsync() != before, TimeSpan.FromSeconds(15), cancellation);
        await Task.Delay(TimeSpan.FromMilliseconds(300), cancellation);
        _withoutCard = await StateAsync(run, "mn", cancellation);
        var radio = run.Network.Radio("mn", "eth0");
        radio.Leave();
        _moved = LabRun.Now;
        radio.Reach("access-2");
        await AwaitEventAsync(run, "mn", "terminal.credentials_missing", s_patience, cancellation);
        _missing = (await EventsAsync(run, "mn", "terminal.credentials_missing", cancellation)).LastOrDefault() ?? "";
        File.Move(away, key);
        _returned = LabRun.Now;
        _shown["moved"] = await ReachAsync(run, "mn", "REG", s_patience, cancellation);
        _shown["binding moved"] = (await RowsAsync(run, "ha1", "bindings", cancellation)).FirstOrDefault(b => Text(b, "nai") == Mn);
    }

    private async Task LeadAstrayAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Somebody leads the terminal's prefix to a false home agent, and the terminal is switched on again");
        var home = IPAddress.Parse(Text(_shown["moved"], "homeAddress"));
        var anycast = new IPAddress([.. home.GetAddressBytes()[..8], 0xFD, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE]);
        await run.Node("mn").StopAsync();
        await Must(run, "rogue", ["ip", "-6", "address", "add", $"{anycast}/128", "dev", "lo"], cancellation);
        await Must(run, "core", ["ip", "-6", "route", "add", $"{anycast}/128", "via", False], cancellation);
        var address = IPAddress.Parse(False);
        await using var rogue = new RogueHomeAgent(run.Network.Namespace("rogue"), address, [address, IPAddress.Parse(Second)], new IkePeer
        {
            Name = "terminals",
            LocalIdentity = IkeIdentity.Of(address),
            Credential = _foreign.Issue(False, -1, 1),
            Trust = new TrustAnchors(HomeAuthorities(run)),
            Children = [Signalling(IPNetwork.Parse("2001:db8:a::/48"), address)],
        });
        _led = LabRun.Now;
        await run.Node("mn").StartAsync(cancellation);
        _shown["led astray"] = await ReachAsync(run, "mn", "REG", s_patience, cancellation);
        (_mnStates, _mnSays) = (await EventsAsync(run, "mn", "terminal.state", cancellation), await EventsAsync(run, "mn", "", cancellation));
        _shown["binding at the second"] = (await RowsAsync(run, "ha2", "bindings", cancellation)).FirstOrDefault();
    }

    private static async Task Must(LabRun run, string node, IReadOnlyList<string> command, CancellationToken cancellation)
    {
        var result = await run.ExecuteAsync(node, command, cancellation);
        if (result.ExitCode != 0)
        {
            throw new ScenarioException($"{result}: {result.Errors.Trim()}");
        }
    }
}
