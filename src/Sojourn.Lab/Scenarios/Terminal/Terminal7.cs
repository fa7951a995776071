using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Scenarios.Authentication;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>TM7: networks that move, a terminal in one, one inside the other, and one home agent for all of them (spec terminal 5.7, embodiment 7).</summary>
public sealed partial class Terminal7 : TerminalScenario
{
    private const string HomeAgentName = "ha1.home.example", HomeAgent = "2001:db8:1::1", Correspondent = "2001:db8:2::2", OnBoard = "2001:db8:9:2::2", Spoofed = "2001:db8:77::7";
    private const string Router = "2001:db8:1::200", InnerRouter = "2001:db8:1::300", Terminal = "2001:db8:1::100";

    /// <summary>Of no protocol that tshark would read into random octets.</summary>
    private const int TransferPort = 49_999;

    private static readonly Dictionary<string, string> s_names = new() { ["mr"] = "mr1.home.example", ["mr2"] = "mr2.home.example", ["mn"] = "mn1.home.example" };
    private static readonly TimeSpan s_outOfReach = TimeSpan.FromMilliseconds(20), s_switchOn = TimeSpan.FromSeconds(40), s_transfer = TimeSpan.FromSeconds(5);

    private readonly Dictionary<string, IReadOnlyList<JsonElement>> _shown = [];
    private readonly Dictionary<string, PingResult> _pings = [];
    private readonly Dictionary<string, (long From, long To)> _times = [];
    private long _left, _refusedBefore, _refusedAfter, _spoofedFrom, _spoofedTo;
    private string _kernel = "";
    private TransferResult? _transfer;

    public override string Name => "terminal/7";

    protected override IReadOnlyList<string> Fields =>
        [.. base.Fields, "icmpv6.echo.sequence_number", "icmpv6.mtu", "mip6.nemo.bu.r_flag", "mip6.nemo.ba.r_flag", "mip6.nemo.mnp.mnp", "mip6.nemo.mnp.pfl", "tcp.len", "udp.srcport", "udp.payload"];

    /// <summary>Errors about what was on its way when the router left quote the beginning of a segment, and tshark checks the checksum of such a piece within three headers.</summary>
    public override string? Damaged(string link) => $"{base.Damaged(link)} || (icmpv6.type in {{1, 2}} && tcp)";

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        run.Progress.Step("The operator certifies home agent, routers and terminal, and lists which networks may move");
        var database = await MakeAuthorityAsync(run, cancellation);
        await OperateAsync(run, ["ca", "identifier", "add", HomeAgentName, "--kind", "home-agent", "--address", HomeAgent, "--database", database], cancellation);
        await OperateAsync(run, ["ca", "issue", HomeAgentName, "--store", StoreOf(run, "ha"), "--database", database], cancellation);
        foreach (var (node, name) in s_names)
        {
            await OperateAsync(run, ["ca", "identifier", "add", name, "--database", database], cancellation);
            await OperateAsync(run, ["ca", "issue", name, "--store", StoreOf(run, node), "--database", database], cancellation);
            using var key = ECDsa.Create();
            key.ImportFromPem(await System.IO.File.ReadAllTextAsync(System.IO.Path.Combine(StoreOf(run, node), "key.pem"), cancellation));
            Guard($"the private key of {node}", key.ExportParameters(true).D!);
        }

        await run.Node("ha").StartAsync(cancellation);
        await using var b = await RouterAdvertiser.StartAsync(run, "ar-b", "acc0", "2001:db8:5b::/64", managed: false, cancellation);
        await using var a = await RouterAdvertiser.StartAsync(run, "ar-a", "acc0", "2001:db8:5a::/64", managed: false, cancellation);

        run.Progress.Step("The router is switched on in network 5b, then a terminal on board");
        await SwitchOnAsync(run, "mr", cancellation);
        await SwitchOnAsync(run, "mn", cancellation);
        await TakeAsync(run, "on board", cancellation);
        await PingBothAsync(run, "on board", cancellation);
        _pings["fixed up"] = await run.PingAsync("lfn", Correspondent, new PingOptions(5), cancellation);
        _pings["fixed down"] = await run.PingAsync("cn", OnBoard, new PingOptions(5), cancellation);
        _pings["long"] = await run.PingAsync("cn", Terminal, new PingOptions(12) { Size = 1452, Interval = TimeSpan.FromMilliseconds(100) }, cancellation);
        await SpoofAsync(run, cancellation);
        await FlowAsync(run, cancellation);
        await MoveAsync(run, cancellation);
        await NestAsync(run, cancellation);
        await ProtectAsync(run, cancellation);
        _kernel = await AskKernelAsync(run, ["mn", "mr", "mr2", "ha"], cancellation);
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures)
    {
        var ends = new Dictionary<string, string> { [HomeAgent] = "ha" };
        return
        [
            new LadderChapter("The router registers", new Ladder(["mr", "ar-b", "ha"], [.. SignallingSteps("mr", ends, new Dictionary<string, string> { ["access-5b"] = "ar-b" }, _times["mr"].From).Where(s => s.Milliseconds < (_times["mr"].To - _times["mr"].From) / 1e6)])),
            new LadderChapter("The terminal on board registers", new Ladder(["mn", "mr", "ha"], [.. SignallingSteps("mn", ends, new Dictionary<string, string> { ["moving"] = "mr" }, _times["mn"].From)])),
            new LadderChapter("The router moves", new Ladder(["mr", "ar-a", "ha"], [.. SignallingSteps("mr", ends, new Dictionary<string, string> { ["access-5a"] = "ar-a" }, _left)])),
        ];
    }

    private async Task SwitchOnAsync(LabRun run, string node, CancellationToken cancellation, string? moment = null)
    {
        var from = LabRun.Now;
        await run.Node(node).StartAsync(cancellation);
        await ReachAsync(run, node, "REG", s_switchOn, cancellation);
        _times[moment ?? node] = (from, LabRun.Now);
    }

    /// <summary>Pings to the terminal and from it.</summary>
    private async Task PingBothAsync(LabRun run, string moment, CancellationToken cancellation)
    {
        var from = LabRun.Now;
        _pings[moment + " down"] = await run.PingAsync("cn", Terminal, new PingOptions(5), cancellation);
        _pings[moment + " up"] = await run.PingAsync("mn", Correspondent, new PingOptions(5), cancellation);
        _times[moment] = (from, LabRun.Now);
        run.Progress.Note($"{moment}: {_pings[moment + " down"].Summary}; {_pings[moment + " up"].Summary}");
    }

    /// <summary>Somebody on board uses addresses that are not the network's: the router's own, and one from nowhere.</summary>
    private async Task SpoofAsync(LabRun run, CancellationToken cancellation)
    {
        _spoofedFrom = LabRun.Now;
        foreach (var address in new[] { Spoofed, Router })
        {
            await run.ExecuteAsync("lfn", ["ip", "-6", "address", "add", address + "/128", "dev", "eth0", "nodad"], cancellation);
            await run.PingAsync("lfn", Correspondent, new PingOptions(3) { From = address, Wait = TimeSpan.FromMilliseconds(300) }, cancellation);
        }

        _spoofedTo = LabRun.Now;
    }

    private async Task MoveAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("It moves to network 5a while a transfer to the terminal runs");
        var transfer = Transfer.RunAsync(
            run.Network.Namespace("cn"), run.Network.Namespace("mn"), new IPEndPoint(IPAddress.Parse(Terminal), TransferPort), s_transfer, s_transfer + TimeSpan.FromSeconds(15), cancellation);
        await Task.Delay(1000, cancellation);
        await FlowsAsync(
            run, async () =>
            {
                await Task.Delay(500, cancellation);
                var radio = run.Network.Radio("mr", "out0");
                _left = LabRun.Now;
                radio.Leave();
                await Task.Delay(s_outOfReach, cancellation);
                radio.Reach("access-5a");
            }, cancellation);
        _transfer = await transfer;
        run.Progress.Note(_transfer.ToString());
        await TakeAsync(run, "moved", cancellation);
        _times["moved"] = (_left, LabRun.Now);
    }

    private async Task NestAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("A second router is switched on behind it and asks for a network that is not its own, too");
        _refusedBefore = await CounterAsync(run, "ha", "ha.bu_refused", cancellation);
        var from = LabRun.Now;
        await run.Node("mr2").StartAsync(cancellation);
        await LabRun.UntilAsync(async () => await CounterAsync(run, "ha", "ha.bu_refused", cancellation) > _refusedBefore, s_switchOn, cancellation);
        _refusedAfter = await CounterAsync(run, "ha", "ha.bu_refused", cancellation);
        await TakeAsync(run, "refused", cancellation);
        _times["refused"] = (from, LabRun.Now);
        await run.Node("mr2").StopAsync();

        run.Progress.Step("With its own network alone it is taken; the terminal moves behind it");
        Change(run, "mr2", """
            mobile-router:
              networks: [ "2001:db8:19::/64" ]
            """);
        await SwitchOnAsync(run, "mr2", cancellation);
        var radio = run.Network.Radio("mn", "eth0");
        radio.Leave();
        await Task.Delay(s_outOfReach, cancellation);
        radio.Reach("inner");
        await LabRun.UntilAsync(async () => CareOf(PathLines.Rows(await run.ShowAsync("ha", "bindings", cancellation)), Terminal).StartsWith("2001:db8:19:", StringComparison.Ordinal), s_switchOn, cancellation);
        await ReachAsync(run, "mn", "REG", TimeSpan.FromSeconds(10), cancellation);
        await TakeAsync(run, "nested", cancellation);
        await PingBothAsync(run, "nested", cancellation);
    }

    /// <summary>TM7.8, AC31: ESP of the terminal inside the router's plain tunnel, then ESP at both levels.</summary>
    private async Task ProtectAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Back behind the first router the terminal has all its packets under ESP, then the router too");
        await run.Node("mn").StopAsync();
        await run.Node("mr2").StopAsync();
        var radio = run.Network.Radio("mn", "eth0");
        radio.Leave();
        await Task.Delay(s_outOfReach, cancellation);
        radio.Reach("moving");
        foreach (var (node, moment) in new[] { ("mn", "one level"), ("mr", "both levels") })
        {
            await run.Node(node).StopAsync();
            Change(run, node, "terminal: { data-policy: [ { peers: \"::/0\", treatment: protect } ] }");
            await SwitchOnAsync(run, node, cancellation, node + " protected");
            await LabRun.UntilAsync(async () => (await run.PingAsync("mn", Correspondent, new PingOptions(1) { Wait = TimeSpan.FromSeconds(1) }, cancellation)).Received > 0, s_switchOn, cancellation);
            await TakeAsync(run, moment, cancellation);
            await TakeServersAsync(run, "before ESP", cancellation);
            await PingBothAsync(run, moment, cancellation);
            await TakeServersAsync(run, "after ESP", cancellation);
        }
    }

    private async Task TakeAsync(LabRun run, string moment, CancellationToken cancellation)
    {
        foreach (var table in (string[])["bindings", "paths"])
        {
            _shown[$"{table} {moment}"] = [.. PathLines.Rows(await run.ShowAsync("ha", table, cancellation))];
        }
    }

    private static string CareOf(IEnumerable<JsonElement> bindings, string home) => bindings.Where(b => Text(b, "homeAddress") == home).Select(b => Text(b, "careOfAddress")).FirstOrDefault("");

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);
}
