using System.Globalization;
using System.Security.Cryptography;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Network;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Scenarios.Authentication;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>The negative rows on running nodes (spec terminal 8.2): packets of scapy's making on every side of terminals, home agent and correspondent.</summary>
public sealed partial class TerminalHostile : TerminalScenario
{
    private const string HomeAgent = "2001:db8:1::1", Home = "2001:db8:1::100", Translated = "2001:db8:1::200", Nobody = "2001:db8:1::dead";
    private const string Correspondent = "2001:db8:6::2", Plain = "2001:db8:7::2", Discarded = "2001:db8:d::1", Stranger = "2001:db8:bad::1";
    private const string BindingError = "7", Unreachable = "1";

    /// <summary>Frames of this length or longer under ESP carry no ping: what the scenario sends from the correspondent to be caught.</summary>
    private const int LongFrame = 400, Probe = 333;

    private static readonly TimeSpan s_refresh = TimeSpan.FromSeconds(65);

    private string _pinged = "", _refusedPing = "";
    private long _from, _to, _errorsFrom, _ranFrom, _ranUntil;
    private int _runsBefore, _runs;
    private bool _shortWayEnds;

    public override string Name => "terminal/hostile";

    /// <summary>What is put on the links is wrong on purpose, and errors quote it.</summary>
    public override string? Damaged(string link) => "frame.comment || icmpv6.type == 1 || icmpv6.type == 4";

    protected override IReadOnlyList<string> Fields => [.. base.Fields, "frame.comment", "mip6.be.status", "icmpv6.code", "icmpv6.echo.sequence_number", "udp.dstport"];

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        run.Progress.Step("Home agent and terminals are certified; a terminal is switched on while its home agent is not there");
        var database = await MakeAuthorityAsync(run, cancellation);
        foreach (var (node, name) in new[] { ("ha", "ha1.home.example"), ("mn", "mn1.home.example"), ("mt", "mn2.home.example") })
        {
            await OperateAsync(run, ["ca", "identifier", "add", name, .. node == "ha" ? (string[])["--kind", "home-agent", "--address", HomeAgent] : [], "--database", database], cancellation);
            await OperateAsync(run, ["ca", "issue", name, "--store", StoreOf(run, node), "--database", database], cancellation);
            using var key = ECDsa.Create();
            key.ImportFromPem(await File.ReadAllTextAsync(Path.Combine(StoreOf(run, node), "key.pem"), cancellation));
            Guard($"the private key of {node}", key.ExportParameters(true).D!);
        }

        await using var first = await RouterAdvertiser.StartAsync(run, "ar1", "acc0", "2001:db8:5a::/64", managed: false, cancellation);
        await using var second = await RouterAdvertiser.StartAsync(run, "ar1", "acc1", "2001:db8:5b::/64", managed: false, cancellation);
        await using var third = await RouterAdvertiser.StartAsync(run, "core", "cn", "2001:db8:6::/64", managed: false, cancellation);
        await using var forge = await StartForgeAsync(run, cancellation);
        _from = LabRun.Now;
        await Task.WhenAll(run.Node("cn").StartAsync(cancellation), run.Node("mn").StartAsync(cancellation));
        await ReachAsync(run, "mn", "HAK", TimeSpan.FromSeconds(20), cancellation);
        await SendTooEarlyAsync(run, cancellation);

        run.Progress.Step("The home agent is switched on, both terminals register");
        await run.Node("ha").StartAsync(cancellation);
        await run.Node("mt").StartAsync(cancellation);
        await Task.WhenAll(ReachAsync(run, "mn", "REG", TimeSpan.FromSeconds(40), cancellation), ReachAsync(run, "mt", "REG", TimeSpan.FromSeconds(40), cancellation));
        await run.PingAsync("mn", Correspondent, new PingOptions(3), cancellation);
        await AwaitAsync(run, "the short way to the correspondent", async () => PathLines.Rows(await run.ShowAsync("mn", "binding-list", cancellation)).Any(b => Text(b, "list") == "forwarding"), TimeSpan.FromSeconds(8), cancellation);
        await using var ping = await ForeignProgram.StartAsync(run, "mn", ["ping", "-6", "-n", "-O", "-i", "0.2", Plain], ForeignProgram.Lives(), cancellation);
        await AwaitAsync(run, "the ping through the tunnel", () => Task.FromResult(ping.Said.Contains("ttl=", StringComparison.Ordinal)), TimeSpan.FromSeconds(5), cancellation);
        LearnPlaces(run);

        await AttackLinkAsync(run, cancellation);
        await AttackAssociationsAsync(run, cancellation);
        await UseHostAsync(run, cancellation);
        await AttackNetworkAsync(run, cancellation);
        await AttackTranslationAsync(run, cancellation);
        await AttackRegistrationAsync(run, cancellation);
        await Task.Delay(600, cancellation);
        _pinged = ping.Said;
        _to = LabRun.Now;
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures) =>
        [new LadderChapter("The terminal registers", new Ladder(["mn", "ar1", "ha"], [.. SignallingSteps("mn", new Dictionary<string, string> { [HomeAgent] = "ha" }, new Dictionary<string, string> { ["access-1"] = "ar1" }, _from)]))];

    /// <summary>NC16: the host has been given the home address and a way by hand.</summary>
    private async Task SendTooEarlyAsync(LabRun run, CancellationToken cancellation)
    {
        await run.ExecuteAsync("mn", ["ip", "address", "add", Home + "/128", "dev", "mip0", "nodad"], cancellation);
        await run.ExecuteAsync("mn", ["ip", "route", "add", Plain + "/128", "dev", "mip0", "src", Home], cancellation);
        await TryAsync(run, "TM-NC16", "a datagram before any registration, away from home", "mn", "tx.no_tunnel", 1, () => DatagramAsync(run, "mn", Plain, cancellation), cancellation);
        await run.ExecuteAsync("mn", ["ip", "route", "del", Plain + "/128", "dev", "mip0"], cancellation);
        await run.ExecuteAsync("mn", ["ip", "address", "del", Home + "/128", "dev", "mip0"], cancellation);
    }

    private async Task AttackLinkAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("On the access link: tunnels, routing headers, acknowledgements and errors of the wrong kind");
        await InjectAsync(run, "TM-NC04", "plain-answer", "access-1", "spd.mismatch_in", cancellation);
        await InjectAsync(run, "TM-NC05", "plain-tunnel", "access-1", "spd.mismatch_in", cancellation);
        await InjectAsync(run, "TM-NC05", "plain-routed", "access-1", "spd.mismatch_in", cancellation);
        await InjectAsync(run, "TM-NC06", "stranger-tunnel", "access-1", "rx.tunnel_source_bad", cancellation);
        await InjectAsync(run, "TM-NC08", "routed", "access-1", "rx.rh_home_addr_bad", cancellation);
        await InjectAsync(run, "TM-NC08", "routed-answer", "access-1", "ba.rh_bad", cancellation);
        await InjectAsync(run, "TM-NC18", "forged-answer", "access-1", "ba.seq_or_cookie_bad", cancellation, ("sequence", 7));
        await InjectAsync(run, "TM-NC20", "nested", "access-1", "rx.nest_limit", cancellation);
        await InjectAsync(run, "TM-NC27", "malformed", "access-1", "mh.malformed", cancellation);

        // While its traffic comes, a correspondent's error is not believed.
        await run.PingAsync("mn", Correspondent, new PingOptions(3), cancellation);
        await InjectAsync(run, "TM-NC19", "forged-error", "access-1", "be.ignored", cancellation);

        // Data to scenario ports is data: the host answers that nobody listens.
        (_runsBefore, _ranFrom) = ((await EventsAsync(run, "mn", "scenario.run", cancellation)).Count, LabRun.Now);
        foreach (var (place, destination) in new[] { ("access-1", _careOf["access-1"]), ("core-plain", Home) })
        {
            await InjectAsync(run, "TM-NC17", "scenario-port", place, null, cancellation, ("destination", destination), ("peer", Plain));
        }

        (_runs, _ranUntil) = ((await EventsAsync(run, "mn", "scenario.run", cancellation)).Count, LabRun.Now);
    }

    /// <summary>NC02, NC03, NC07: a packet of the home agent that is kept from the terminal, and what can be made of it.</summary>
    private async Task AttackAssociationsAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Under ESP: unknown association, wrong check value, again, a stranger's header inside");
        var caught = await CatchAsync(run, frame => frame.Data[20] == 50 && frame.Data.Length > LongFrame, () => DatagramAsync(run, "plain", Home, cancellation, Probe), cancellation);
        await InjectAsync(run, "TM-NC02", "unknown-spi", "access-1", "ipsec.sa_not_found_in", cancellation, ("packet", caught));
        await InjectAsync(run, "TM-NC03", "wrong-icv", "access-1", "ipsec.failed_in", cancellation, ("packet", caught));
        await InjectAsync(run, "TM-NC07", "stranger-inside", "access-1", "rx.tunnel_source_bad", cancellation, ("packet", caught));
        var taken = run.Network.Wire("access-1").Recording.Frames().Last(f => f.Sender == 1 && f.Comment is null && IsIpv6(f.Data) && f.Data[20] == 50);
        await TryAsync(run, "TM-NC03", "a packet that the terminal has taken, again", "mn", "ipsec.failed_in", 1, () => PutAsync(run, "access-1", taken.Data, "TM-NC03 replayed"), cancellation);
    }

    private async Task UseHostAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("From the host: to whom the policy discards, and to whom no association leads");
        await TryAsync(run, "TM-NC14", "a datagram to whom the policy discards", "mn", "spd.discard_out", 1, () => DatagramAsync(run, "mn", Discarded, cancellation), cancellation);
        await run.PingAsync("mn", Correspondent, new PingOptions(2), cancellation);
        await TryAsync(run, "TM-NC15", "a datagram by the short way, for which no association is there", "mn", "ipsec.sa_not_found_out", 1, () => DatagramAsync(run, "mn", Correspondent, cancellation), cancellation);
    }

    private async Task AttackNetworkAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("At home agent and correspondent: a reverse tunnel from elsewhere, a home address without binding");
        await InjectAsync(run, "TM-NC25", "reverse-tunnel", "core-ha", "ha.reverse_tunnel_bad", cancellation, ("home", Translated), ("peer", Plain));
        _errorsFrom = LabRun.Now;
        await InjectAsync(run, "TM-NC26", "home-address-option", "core-cn", "mip6.cn.unknown_binding", cancellation);
    }

    /// <summary>NC12, NC13: a pool of six addresses, and no IPv6 pool.</summary>
    private async Task AttackTranslationAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("At the terminal with translation: callers until the pool is empty, and those beyond");

        // Somebody listens, or the host's answers and what becomes of them would be callers too.
        await using var listener = await ForeignProgram.StartAsync(
            run, "mt", ["python3", "-c", "import socket, time\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('0.0.0.0', 7))\ntime.sleep(600)"], ForeignProgram.Listens(run, "mt", 7, cancellation), cancellation);
        foreach (var packet in await MakeAsync("callers", Facts(run, "access-2", [("from", 1), ("to", 9)]), cancellation))
        {
            await PutAsync(run, "access-2", [.. _places["access-2"], .. packet], "callers that fill the pool");
        }

        await AwaitAsync(run, "the pool is full", async () => await CountAsync(run, "mt", "xlat.pool4_empty", cancellation) > 0, TimeSpan.FromSeconds(3), cancellation);
        await Task.Delay(100, cancellation);
        await InjectAsync(run, "TM-NC12", "callers", "access-2", "xlat.pool4_empty", cancellation, ("from", 20), ("to", 22));
        await TryAsync(
            run, "TM-NC12", "ping to an IPv4 address for which there is no IPv6 address", "mt", "xlat.pool6_empty", 1,
            async () => _refusedPing = (await run.PingAsync("mt", "192.0.2.77", new PingOptions(1) { Wait = TimeSpan.FromSeconds(1) }, cancellation)).Output, cancellation);
        await InjectAsync(run, "TM-NC13", "for-others", "access-2", "xlat.dst_miss_down", cancellation);
    }

    /// <summary>NC09, NC18, NC01: the home agent's answers are kept from the terminal, which asks again, and something else comes in their place.</summary>
    private async Task AttackRegistrationAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The binding is renewed: answers that no method is valid for, that are late, that refuse");

        // Nobody uses the short way to the correspondent any more: its binding ends some time during these trials, whatever they do.
        _shortWayEnds = true;
        await SetMethodAsync(run, "not-valid", cancellation);
        var wire = run.Network.Wire("access-1");
        wire.Tap = IsAnswer;
        try
        {
            var answer = Convert.FromHexString(await NextAnswerAsync(run, s_refresh, cancellation));
            await TryAsync(run, "TM-NC09", "an acknowledgement while only the correspondents' number is valid", "mn", "scenario.not_valid", 1, () => PutAsync(run, "access-1", [.. _places["access-1"], .. answer], "TM-NC09 acknowledgement"), cancellation);
            await SetMethodAsync(run, "valid", cancellation);
            await InjectAsync(run, "TM-NC18", "late-answer", "access-1", "ba.seq_or_cookie_bad", cancellation, ("packet", await NextAnswerAsync(run, TimeSpan.FromSeconds(8), cancellation)));
            await InjectAsync(run, "TM-NC01", "refused-answer", "access-1", "ba.status_refused", cancellation, ("packet", await NextAnswerAsync(run, TimeSpan.FromSeconds(8), cancellation)), ("status", 129));
        }
        finally
        {
            wire.Tap = null;
        }

        static WireVerdict IsAnswer(CapturedFrame frame) => frame.Sender == 1 && IsProtectedAnswer(frame.Data) ? WireVerdict.Lose : WireVerdict.Pass;
    }

    private Task SetMethodAsync(LabRun run, string how, CancellationToken cancellation) => OperateAsync(run, ["terminal", "scenario", "10012", how, "--socket", run.Node("mn").Control.SocketPath], cancellation);

    private static bool IsIpv6(byte[] frame) => frame.Length > 60 && frame[12] == 0x86 && frame[13] == 0xDD;

    /// <summary>ESP behind a routing header.</summary>
    private static bool IsProtectedAnswer(byte[] frame) => IsIpv6(frame) && frame[20] == 43 && frame[54] == 50;

    private static Task DatagramAsync(LabRun run, string node, string destination, CancellationToken cancellation, int length = 20) =>
        run.ExecuteAsync(node, ["bash", "-c", string.Create(CultureInfo.InvariantCulture, $"head -c {length} /dev/zero > /dev/udp/{destination}/7")], cancellation);
}
