using System.Security.Cryptography;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Scenarios.Authentication;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>TM6: HMIPv6 in the guest and Mobile IPv6 in the host, three ways to register, moves below an anchor point and to another (spec terminal 5.6, embodiment 6).</summary>
public sealed partial class Terminal6 : TerminalScenario
{
    private const string HomeAgentName = "ha1.home.example", HomeAgent = "2001:db8:1::1", Correspondent = "2001:db8:2::2", Home = "2001:db8:1::100", Home2 = "2001:db8:1::102";
    private const string MapA = "2001:db8:3a::1", MapB = "2001:db8:3b::1", MapC = "2001:db8:3c::1";

    /// <summary>What the terminals' link-layer addresses make of the anchor points' prefixes.</summary>
    private const string RegionalA = "2001:db8:3a::ff:fe00:d001", RegionalB = "2001:db8:3b::ff:fe00:d001", RegionalC = "2001:db8:3c::ff:fe00:d001", Regional2 = "2001:db8:3a::ff:fe00:d002";

    private static readonly TimeSpan s_outOfReach = TimeSpan.FromMilliseconds(20), s_switchOn = TimeSpan.FromSeconds(40), s_move = TimeSpan.FromSeconds(15);

    private readonly Dictionary<string, Moment> _moments = [];
    private readonly List<JsonElement> _events = [];
    private readonly HashSet<string> _known = [];
    private IReadOnlyList<JsonElement> _secured = [], _policy = [];

    /// <summary>What is looked at while the terminal is at one access link.</summary>
    /// <param name="From">When it came there; nanoseconds since 1970.</param>
    /// <param name="Settled">When its packets were sent.</param>
    private sealed record Moment(
        string Link, long From, long Settled, long To, PingResult Down, PingResult Up, string HomeCareOf, string AnchorOnLink, string Host, string Links, IReadOnlyList<JsonElement> List, long Updates, long Told);

    public override string Name => "terminal/6";

    protected override IReadOnlyList<string> Fields =>
    [
        .. base.Fields, "icmpv6.opt.map.global_address", "icmpv6.opt.map.flag.r", "icmpv6.opt.map.flag.reserved", "mip6.bu.a_flag", "mip6.bu.h_flag", "mip6.bu.m_flag", "mip6.acoa.acoa",
        "icmpv6.echo.identifier",
    ];

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        run.Progress.Step("The operator certifies home agent and terminals; home agent, anchor points and access routers run");
        var database = await MakeAuthorityAsync(run, cancellation);
        await OperateAsync(run, ["ca", "identifier", "add", HomeAgentName, "--kind", "home-agent", "--address", HomeAgent, "--database", database], cancellation);
        await OperateAsync(run, ["ca", "issue", HomeAgentName, "--store", StoreOf(run, "ha"), "--database", database], cancellation);
        foreach (var (node, number) in (ReadOnlySpan<(string, byte)>)[("mn", 1), ("mn2", 2)])
        {
            SetAddress(run, node, number);
        }

        foreach (var node in (string[])["mn", "mn2"])
        {
            await OperateAsync(run, ["ca", "identifier", "add", node + ".home.example", "--database", database], cancellation);
            await OperateAsync(run, ["ca", "issue", node + ".home.example", "--store", StoreOf(run, node), "--database", database], cancellation);
            using var key = ECDsa.Create();
            key.ImportFromPem(await File.ReadAllTextAsync(Path.Combine(StoreOf(run, node), "key.pem"), cancellation));
            Guard($"the private key of {node}", key.ExportParameters(true).D!);
        }

        await Task.WhenAll(new[] { "ha", "map-a", "map-b", "map-c", "ar-a", "ar-b1", "ar-b2" }.Select(node => run.Node(node).StartAsync(cancellation)));

        run.Progress.Step("The terminal is switched on below the first anchor point, and moves on to its other access router, three ways to register each");
        await AttachAsync(run, "b1-v", MapB, async () =>
        {
            await run.Node("mn").StartAsync(cancellation);
            await ReachAsync(run, "mn", "REG", s_switchOn, cancellation);
        }, cancellation);
        foreach (var link in (string[])["b2-v", "b1-p", "b2-p", "b1-n", "b2-n"])
        {
            await MoveAsync(run, link, MapB, cancellation);
        }

        run.Progress.Step("It moves to the other anchor points, one of which takes it without ESP; a second terminal has ESP at both levels with the other");
        await MoveAsync(run, "a-v", MapA, cancellation);
        await MoveAsync(run, "c-v", MapC, cancellation);
        await AttachAsync(run, "a-w", MapA, async () =>
        {
            await run.Node("mn2").StartAsync(cancellation);
            await ReachAsync(run, "mn2", "REG", s_switchOn, cancellation);
        }, cancellation);
        _secured = [.. PathLines.Rows(await run.ShowAsync("mn2", "sa", cancellation))];
        _policy = [.. PathLines.Rows(await run.ShowAsync("mn", "scenarios", cancellation))];
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures) =>
    [
        .. _moments.Values.Select(moment => new LadderChapter(
            $"At {moment.Link}", new Ladder([TerminalOf(moment.Link), RouterOf(moment.Link), "ha"], [.. SignallingSteps(TerminalOf(moment.Link), new Dictionary<string, string> { [HomeAgent] = "ha" }, new Dictionary<string, string> { [moment.Link] = RouterOf(moment.Link) }, moment.From).Where(s => s.Milliseconds < (moment.Settled - moment.From) / 1e6)]))),
    ];

    private static string TerminalOf(string link) => link == "a-w" ? "mn2" : "mn";

    private static string RouterOf(string link) => link == "c-v" ? "ar-a" : "ar-" + link.Split('-')[0];

    private async Task MoveAsync(LabRun run, string link, string anchor, CancellationToken cancellation)
    {
        var radio = run.Network.Radio("mn", "eth0");
        await AttachAsync(run, link, anchor, async () =>
        {
            radio.Leave();
            await Task.Delay(s_outOfReach, cancellation);
            radio.Reach(link);
            var prefix = PrefixOf(run, link);
            await AwaitAsync(run, $"the anchor point knows of {link}", async () => (await OnLinkAsync(run, anchor, RegionalOf(link), cancellation)).StartsWith(prefix, StringComparison.Ordinal), s_move, cancellation);
            await AwaitAsync(run, "the home agent has the regional address", async () => (await AtHomeAsync(run, link, cancellation)) == RegionalOf(link), s_move, cancellation);
            await ReachAsync(run, "mn", "REG", s_move, cancellation);
        }, cancellation);
    }

    /// <summary>Brings a terminal to a link, pings both ways, and takes what the nodes show.</summary>
    private async Task AttachAsync(LabRun run, string link, string anchor, Func<Task> arrive, CancellationToken cancellation)
    {
        var node = TerminalOf(link);
        var home = link == "a-w" ? Home2 : Home;
        var updates = await CounterAsync(run, "ha", "mip6.ha.updates", cancellation);
        var from = LabRun.Now;
        await arrive();
        var settled = LabRun.Now;
        var down = await run.PingAsync("cn", home, new PingOptions(5), cancellation);
        var up = await run.PingAsync(node, Correspondent, new PingOptions(5), cancellation);
        run.Progress.Note($"{link}: {down.Summary}; {up.Summary}");
        var events = await NewEventsAsync(run, node, cancellation);
        _moments[link] = new Moment(
            link, from, settled, LabRun.Now, down, up,
            await AtHomeAsync(run, link, cancellation), await OnLinkAsync(run, anchor, RegionalOf(link), cancellation),
            (await run.ExecuteAsync(node, ["ip", "-o", "-6", "addr", "show", "dev", "mip0"], cancellation)).Output, (await run.ExecuteAsync(node, ["ip", "-o", "-6", "addr", "show", "dev", "eth0"], cancellation)).Output,
            [.. PathLines.Rows(await run.ShowAsync(node, "binding-list", cancellation))],
            await CounterAsync(run, "ha", "mip6.ha.updates", cancellation) - updates, events.Count(e => Text(e, "event") == "anchor.host_told"));
        _events.AddRange(node == "mn" ? events : []);
    }

    /// <summary>What a node has told since it was asked last; it keeps the latest events only.</summary>
    private async Task<IReadOnlyList<JsonElement>> NewEventsAsync(LabRun run, string node, CancellationToken cancellation) =>
        [.. PathLines.Rows(await run.ShowAsync(node, "events", cancellation)).Where(e => Text(e, "event") is "scenario.run" or "anchor.host_told" && _known.Add($"{node} {Text(e, "time")} {Text(e, "text")}"))];

    private static string RegionalOf(string link) => link switch { "a-v" => RegionalA, "a-w" => Regional2, "c-v" => RegionalC, _ => RegionalB };

    private static string PrefixOf(LabRun run, string link) => run.Topology.Link(link).Ends[1].Address!.ToString()[..^1];

    private static async Task<string> OnLinkAsync(LabRun run, string anchor, string regional, CancellationToken cancellation) =>
        CareOf(PathLines.Rows(await run.ShowAsync(anchor switch { MapA => "map-a", MapB => "map-b", _ => "map-c" }, "bindings", cancellation)), regional);

    private static async Task<string> AtHomeAsync(LabRun run, string link, CancellationToken cancellation) =>
        CareOf(PathLines.Rows(await run.ShowAsync("ha", "bindings", cancellation)), link == "a-w" ? Home2 : Home);

    private static string CareOf(IEnumerable<JsonElement> bindings, string home) => bindings.Where(b => Text(b, "homeAddress") == home).Select(b => Text(b, "careOfAddress")).FirstOrDefault("");
}
