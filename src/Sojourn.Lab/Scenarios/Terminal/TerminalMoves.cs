using System.Globalization;
using System.Net;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Network;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Scenarios.Authentication;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>
/// How long a move interrupts a terminal, by the kind of its tunnel, and what TCP and UDP of IPv4 applications lose by six of them (AC05).
/// Every link takes 10 ms, so that bounds count round trips.
/// </summary>
public sealed partial class TerminalMoves : TerminalScenario
{
    private const string HomeAgent = "2001:db8:1::1", AnchorPoint = "2001:db8:3b::1", Correspondent = "2001:db8:2::2", Legacy = "2001:db8:1::107";
    private const int Moves = 20, MovesOfTransfer = 6, Pings = 200, TcpPort = 5201, UdpPort = 5202;

    /// <summary>One way over an access link.</summary>
    private const long Link = 10_000_000;

    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(4), s_switchOn = TimeSpan.FromSeconds(60), s_bound = TimeSpan.FromSeconds(10);

    private static readonly Kind[] s_kinds =
    [
        new("plain tunnel", "plain", "cn", "2001:db8:1::101", ["plain-1", "plain-2"], "ha", HomeAgent, "2001:db8:1::101", 80),
        new("tunnel under ESP", "sealed", "cn", "2001:db8:1::102", ["sealed-1", "sealed-2"], "ha", HomeAgent, "2001:db8:1::102", 80),
        new("below one anchor point", "local", "cn", "2001:db8:1::103", ["local-1", "local-2"], "map", AnchorPoint, "2001:db8:3b::ff:fe00:d001", 40),
        new("mobile network", "mr", "cn", "2001:db8:9::2", ["mr-1", "mr-2"], "ha", HomeAgent, "2001:db8:1::200", 80),
        new("make before break", "both", "cn", "2001:db8:1::105", ["both-1", "both-2", "both-3", "both-4"], "ha", HomeAgent, "2001:db8:1::105", 80),
        new("short way", "route", "peer", "2001:db8:1::106", ["route-1", "route-2"], "peer", HomeAgent, "2001:db8:1::106", 80),
    ];

    private readonly Dictionary<Kind, List<Moved>> _moves = [];
    private readonly List<Moved> _transferMoves = [];
    private readonly Dictionary<string, CommandResult> _transfers = [];

    /// <summary>Who moves, and what is looked at.</summary>
    /// <param name="Pinger">Node that pings <paramref name="Target"/> meanwhile.</param>
    /// <param name="Links">In the order it comes to them.</param>
    /// <param name="Knows">Node whose binding of <paramref name="Bound"/> ends a move.</param>
    /// <param name="Anchor">Whom the terminal tells of the move first: home agent or anchor point.</param>
    /// <param name="RoundTrip">Between terminal and <paramref name="Anchor"/>, milliseconds.</param>
    private sealed record Kind(string Title, string Node, string Pinger, string Target, string[] Links, string Knows, string Anchor, string Bound, double RoundTrip)
    {
        /// <summary>Has an interface for either link and reaches the new one first.</summary>
        public bool ReachesFirst => Links.Length > 2;
    }

    /// <param name="Left">When the old link was lost; nanoseconds since 1970.</param>
    /// <param name="Reached">When the new one was in reach.</param>
    /// <param name="Known">When the binding was there.</param>
    private sealed record Moved(string Old, string New, long Left, long Reached, long Known, PingResult? Pinged);

    public override string Name => "terminal/moves";

    protected override IReadOnlyList<string> Fields => [.. base.Fields, "icmpv6.echo.identifier", "icmpv6.echo.sequence_number", "udp.dstport", "udp.payload", "tcp.analysis.retransmission", "tcp.dstport"];

    /// <summary>For how long TCP and UDP send: a minute as row AC05 has it, where the variable says 60; less in tests, which have to end.</summary>
    private static TimeSpan TransferTime => TimeSpan.FromSeconds(
        int.TryParse(Environment.GetEnvironmentVariable("SOJOURN_TRANSFER_SECONDS"), NumberStyles.None, CultureInfo.InvariantCulture, out var seconds) ? Math.Clamp(seconds, 15, 600) : 20);

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        _ = LabCommand.Find("iperf3") ?? throw new ScenarioException("this scenario needs iperf3");
        run.Progress.Step("Home agent, anchor point, access routers and correspondents run; the terminals are switched on");
        Certify(run, [("ha", HomeAgent), .. s_kinds.Select(kind => (kind.Node, (string?)null)), ("legacy", null)]);
        SetAddress(run, "local", 1);
        run.Network.Radio("both", "eth1").Leave();

        // Routers of RFC 9131: a host that comes says where it is, and nobody has to ask.
        foreach (var router in (string[])["ar1", "ar2"])
        {
            var interfaces = run.Topology.LinksOf(router).Select(l => run.Topology.Link(l.Link.Name).Ends.First(e => e.Node == router).Interface);
            await run.ExecuteAsync(router, ["sysctl", "-q", "-w", .. interfaces.Select(i => $"net.ipv6.conf.{i}.accept_untracked_na=1")], cancellation);
        }

        await using var advertiser = await RouterAdvertiser.StartAsync(run, "core", "peer", "2001:db8:6::/64", managed: false, cancellation);
        await Task.WhenAll(((string[])["ha", "map", "ar1", "ar2", "peer"]).Select(node => run.Node(node).StartAsync(cancellation)));
        foreach (var nodes in s_kinds.Select(kind => kind.Node).Append("legacy").Chunk(2))
        {
            await Task.WhenAll(nodes.Select(node => run.Node(node).StartAsync(cancellation)));
        }

        foreach (var node in s_kinds.Select(kind => kind.Node).Append("legacy"))
        {
            await ReachAsync(run, node, "REG", s_switchOn, cancellation);
        }

        foreach (var kinds in s_kinds.Chunk(3))
        {
            run.Progress.Step($"{Moves} moves each: {string.Join(", ", kinds.Select(k => k.Title))}");
            LeaveOut(run, true);
            await Task.WhenAll(kinds.Select(kind => TravelAsync(run, kind, cancellation)));
            LeaveOut(run, false);
        }

        await TransferAsync(run, cancellation);
    }

    public override IReadOnlyList<LadderChapter> Chapters(Capture.CaptureSet captures) =>
    [
        .. _moves.Where(m => m.Value.Count > 1).Select(m => new LadderChapter(
            $"{m.Key.Title}: the first messages on either link",
            new Ladder(
                [m.Key.Node, "ar1", "ar2", m.Key.Knows],
                [
                    .. SignallingSteps(
                        m.Key.Node, new Dictionary<string, string> { [m.Key.Anchor] = m.Key.Knows }, m.Key.Links.ToDictionary(l => l, l => RouterOf(captures.Topology, l)), m.Value[0].Left)
                        .Where(s => s.Milliseconds < (m.Value[1].Known - m.Value[0].Left) / 1e6),
                ]))),
    ];

    private static string RouterOf(LabTopology topology, string link) => topology.Link(link).Ends[1].Node;

    /// <summary>Data are recorded on the access links; the others would tell the same again.</summary>
    private static void LeaveOut(LabRun run, bool on)
    {
        foreach (var link in run.Topology.Links.Where(l => l.Kind != LinkKind.Access))
        {
            run.Network.Wire(link.Name).Tap = on ? frame => IsData(frame.Data) ? WireVerdict.PassUnrecorded : WireVerdict.Pass : null;
        }
    }

    /// <summary>IPv6 in IPv6, ESP right behind the header, and echoes; updates and acknowledgements have an extension header first.</summary>
    private static bool IsData(byte[] frame) => frame.Length > 54 && frame[12] == 0x86 && frame[13] == 0xDD && (frame[20] is 41 or 50 || (frame[20] == 58 && frame[54] is 128 or 129));

    private async Task TravelAsync(LabRun run, Kind kind, CancellationToken cancellation)
    {
        var moves = _moves[kind] = [];
        for (var i = 0; i < Moves; i++)
        {
            var pings = run.PingAsync(kind.Pinger, kind.Target, new PingOptions(Pings) { Interval = s_interval, Wait = TimeSpan.FromMilliseconds(200) }, cancellation);
            var old = kind.Links[i % kind.Links.Length];
            await UnderWayAsync(run, old, cancellation);
            var moved = await MoveAsync(run, kind, old, kind.Links[(i + 1) % kind.Links.Length], cancellation);
            moves.Add(moved with { Pinged = await pings });
        }

        run.Progress.Note($"{kind.Title}: {moves.Sum(m => m.Pinged!.Sent - m.Pinged.Received)} of {moves.Sum(m => m.Pinged!.Sent)} pings without answer");
    }

    /// <summary>Waits until the pings cross the link: a program takes its time to start where others are busy.</summary>
    private static async Task UnderWayAsync(LabRun run, string link, CancellationToken cancellation)
    {
        var recording = run.Network.Wire(link).Recording;
        var before = recording.Count;
        await LabRun.UntilAsync(() => Task.FromResult(recording.Count >= before + 20), TimeSpan.FromSeconds(3), cancellation);
    }

    private static async Task<Moved> MoveAsync(LabRun run, Kind kind, string old, string next, CancellationToken cancellation)
    {
        var (from, to) = (RadioOf(run, kind.Node, old), RadioOf(run, kind.Node, next));
        var left = LabRun.Now;
        if (!kind.ReachesFirst)
        {
            from.Leave();
        }

        to.Reach(next);
        var reached = LabRun.Now;
        var prefix = PrefixOf(run, next);
        await AwaitAsync(
            run, $"{kind.Knows} knows that {kind.Node} is at {next}",
            async () => PathLines.Rows(await run.ShowAsync(kind.Knows, "bindings", cancellation)).Any(b => Text(b, "homeAddress") == kind.Bound && IPAddress.TryParse(Text(b, "careOfAddress"), out var careOf) && prefix.Contains(careOf)),
            s_bound, cancellation);
        var known = LabRun.Now;
        if (kind.ReachesFirst)
        {
            // What was sent to the old address has to arrive: one way from the correspondent.
            await Task.Delay(100, cancellation);
            left = LabRun.Now;
            from.Leave();
        }

        return new Moved(old, next, left, reached, known, null);
    }

    private static Radio RadioOf(LabRun run, string node, string link) => run.Network.Radio(node, run.Topology.Link(link).Ends[0].Interface);

    private static IPNetwork PrefixOf(LabRun run, string link) => IPNetwork.Parse(run.Topology.Link(link).Ends[1].Address!.ToString()[..^1] + "/64");

    /// <summary>AC05, TCP and UDP at the same time.</summary>
    private async Task TransferAsync(LabRun run, CancellationToken cancellation)
    {
        var time = TransferTime;
        run.Progress.Step(string.Create(CultureInfo.InvariantCulture, $"iperf3 sends TCP and UDP over IPv4 for {time.TotalSeconds} s; its terminal moves {MovesOfTransfer} times"));
        await using var tcp = await ForeignProgram.StartAsync(run, "cn", ["iperf3", "-s", "-6", "-p", Number(TcpPort)], ForeignProgram.Listens(run, "cn", TcpPort, cancellation), cancellation);
        await using var udp = await ForeignProgram.StartAsync(run, "cn", ["iperf3", "-s", "-6", "-p", Number(UdpPort)], ForeignProgram.Listens(run, "cn", UdpPort, cancellation), cancellation);

        // The correspondent calls first, and the host sees it by an address of the pool.
        await run.PingAsync("cn", Legacy, new PingOptions(3), cancellation);
        var shown = PathLines.Rows(await run.ShowAsync("legacy", "translation", cancellation)).Where(t => Text(t, "ipv6Address") == Correspondent).Select(t => Text(t, "ipv4Address")).FirstOrDefault("");
        string[] common = ["iperf3", "-4", "-J", "-c", shown, "-t", Number((int)time.TotalSeconds), "--connect-timeout", "5000"];
        var transfers = new[]
        {
            ("TCP", run.ExecuteAsync("legacy", ["timeout", Number((int)time.TotalSeconds + 15), .. common, "-p", Number(TcpPort), "-b", "4M"], cancellation)),
            ("UDP", run.ExecuteAsync("legacy", ["timeout", Number((int)time.TotalSeconds + 15), .. common, "-p", Number(UdpPort), "-u", "-b", "1M", "-l", "250"], cancellation)),
        };
        var kind = new Kind("transfer", "legacy", "cn", Legacy, ["legacy-1", "legacy-2"], "ha", HomeAgent, Legacy, 80);
        for (var i = 0; i < MovesOfTransfer; i++)
        {
            await Task.Delay(time / (MovesOfTransfer + 1), cancellation);
            _transferMoves.Add(await MoveAsync(run, kind, kind.Links[i % 2], kind.Links[(i + 1) % 2], cancellation));
        }

        foreach (var (name, transfer) in transfers)
        {
            _transfers[name] = await transfer;
        }
    }

    private static string Number(int number) => number.ToString(CultureInfo.InvariantCulture);
}
