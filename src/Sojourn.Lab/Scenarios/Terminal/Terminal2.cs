using System.Globalization;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Network;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Scenarios.Authentication;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>TM2: IPv6 applications, the signal without IPsec (spec terminal 5.2, embodiment 2); beside it what ends, and what is refused, with embodiment 1.</summary>
public sealed partial class Terminal2 : TerminalScenario
{
    private const string HomeAgent = "2001:db8:1::1", Home = "2001:db8:1::100", Home2 = "2001:db8:1::102", Home3 = "2001:db8:9::103", Correspondent = "2001:db8:2::2", Host = "198.18.0.1";

    private readonly Dictionary<string, IReadOnlyList<JsonElement>> _shown = [];
    private readonly Dictionary<string, CommandResult> _ran = [];
    private readonly Dictionary<string, (long From, long To)> _times = [];
    private readonly Dictionary<string, string> _host = [];
    private PingResult? _pinged, _called, _pingedAgain;
    private IReadOnlyList<string> _choices = [], _discards = [];
    private long _refusals;

    public override string Name => "terminal/2";

    protected override IReadOnlyList<string> Fields => [.. base.Fields, .. Layouts.Fields];

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        foreach (var program in (string[])["curl", "iperf3", "python3"])
        {
            _ = LabCommand.Find(program) ?? throw new ScenarioException($"this scenario needs {program}");
        }

        run.Progress.Step("Home agent and terminals are certified; the correspondent serves a page and iperf3");
        Certify(run, [("ha", HomeAgent), ("mn", null), ("mn2", null), ("mn3", null)]);
        var pages = run.Directory.FolderOf("pages");
        await File.WriteAllTextAsync(Path.Combine(pages, "index.html"), "this is cn\n", cancellation);
        await using var web = await ForeignProgram.StartAsync(
            run, "cn", ["python3", "-u", "-m", "http.server", "80", "--bind", "::", "--directory", pages], ForeignProgram.Listens(run, "cn", 80, cancellation), cancellation);
        await using var measure = await ForeignProgram.StartAsync(run, "cn", ["iperf3", "-s", "-6"], ForeignProgram.Listens(run, "cn", 5201, cancellation), cancellation);
        await run.Node("ha").StartAsync(cancellation);

        run.Progress.Step("The terminals are switched on where no router advertises; then the routers begin to");
        await Task.WhenAll(run.Node("mn").StartAsync(cancellation), run.Node("mn2").StartAsync(cancellation), run.Node("mn3").StartAsync(cancellation));
        await TakeAsync(run, "mn", "before", cancellation);
        await using var a = await RouterAdvertiser.StartAsync(run, "ar-a", "acc0", "2001:db8:5a::/64", managed: false, cancellation);
        await using var b = await RouterAdvertiser.StartAsync(run, "ar-b", "acc0", "2001:db8:5b::/64", managed: false, cancellation);
        await using var c = await RouterAdvertiser.StartAsync(run, "ar-b", "acc1", "2001:db8:5c::/64", managed: false, cancellation);
        await using var d = await RouterAdvertiser.StartAsync(run, "ar-b", "acc2", "2001:db8:5d::/64", managed: false, cancellation);
        await using var e = await RouterAdvertiser.StartAsync(run, "ar-a", "acc1", "2001:db8:5e::/64", managed: false, cancellation);
        var from = LabRun.Now;
        await ReachAsync(run, "mn", "REG", TimeSpan.FromSeconds(30), cancellation);
        await TakeAsync(run, "mn", "registered", cancellation);
        _times["registered"] = (from, LabRun.Now);
        _choices = await EventsAsync(run, "mn", "scenario.run", cancellation);
        await ReachAsync(run, "mn2", "REG", TimeSpan.FromSeconds(30), cancellation);

        await Task.WhenAll(EndAsync(run, cancellation), UseAsync(run, cancellation), BeRefusedAsync(run, cancellation));
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures) =>
    [
        new LadderChapter("The terminal registers", new Ladder(
            ["mn", "ar-b", "ha"], [.. SignallingSteps("mn", new Dictionary<string, string> { [HomeAgent] = "ha" }, new Dictionary<string, string> { ["access-5b"] = "ar-b" }, _times["registered"].From)])),
        new LadderChapter("It moves", new Ladder(
            ["mn", "ar-a", "ha"], [.. SignallingSteps("mn", new Dictionary<string, string> { [HomeAgent] = "ha" }, new Dictionary<string, string> { ["access-5a"] = "ar-a" }, _times["moved"].From)])),
    ];

    /// <summary>AC08: unmodified IPv6 programs, then the same after a move.</summary>
    private async Task UseAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("IPv6 programs on the host, and a correspondent that calls it; then a move");
        var from = LabRun.Now;
        _called = await run.PingAsync("cn", Home, new PingOptions(5), cancellation);
        _pinged = await run.PingAsync("mn", Correspondent, new PingOptions(5), cancellation);
        await RunAsync(run, "fetched", ["curl", "-6", "-sS", "-m", "10", "-w", " %{http_code} %{local_ip} %{remote_ip}", $"http://[{Correspondent}]/"], cancellation);
        await RunAsync(run, "sent", ["iperf3", "-6", "-c", Correspondent, "-n", "1M", "--connect-timeout", "5000"], cancellation);
        await TakeAsync(run, "mn", "used", cancellation);
        _times["used"] = (from, LabRun.Now);

        from = LabRun.Now;
        var radio = run.Network.Radio("mn", "eth0");
        radio.Leave();
        await Task.Delay(20, cancellation);
        radio.Reach("access-5a");
        await AwaitAsync(
            run, "the home agent has the care-of address of network 5a",
            async () => PathLines.Rows(await run.ShowAsync("ha", "bindings", cancellation)).Any(r => TableQuestions.Text(r, "careOfAddress").StartsWith("2001:db8:5a:", StringComparison.Ordinal)), TimeSpan.FromSeconds(10), cancellation);
        await ReachAsync(run, "mn", "REG", TimeSpan.FromSeconds(10), cancellation);
        await TakeAsync(run, "mn", "moved", cancellation);
        _pingedAgain = await run.PingAsync("mn", Correspondent, new PingOptions(5), cancellation);
        _times["moved"] = (from, LabRun.Now);
    }

    /// <summary>AC07: what has a lifetime goes at its end when no update arrives any more.</summary>
    private async Task EndAsync(LabRun run, CancellationToken cancellation)
    {
        var from = LabRun.Now;
        await run.PingAsync("cn", Home2, new PingOptions(3), cancellation);
        await TakeAsync(run, "mn2", "before the end", cancellation);
        run.Progress.Step("Binding updates of the second terminal get lost");
        run.Network.Wire("access-2").Tap = frame => frame.Sender == 0 && IsUpdate(frame.Data) ? WireVerdict.Lose : WireVerdict.Pass;
        _times["lost"] = (LabRun.Now, 0);
        await AwaitAsync(
            run, "list, tunnel, translations and binding of mn2 are over",
            async () =>
            {
                await TakeAsync(run, "mn2", "after the end", cancellation);
                return IsOver("after the end");
            },
            TimeSpan.FromSeconds(25), cancellation);
        _times["lost"] = (_times["lost"].From, LabRun.Now);
        _times["ended"] = (from, LabRun.Now);
    }

    /// <summary>TM1.11, TM2.11: the home agent says no, to the one method and to the other.</summary>
    private async Task BeRefusedAsync(LabRun run, CancellationToken cancellation)
    {
        await AwaitAsync(run, "mn3 is refused", async () => await CounterAsync(run, "mn3", "ba.status_refused", cancellation) > 0, TimeSpan.FromSeconds(10), cancellation);
        await TakeAsync(run, "mn3", "refused by 10001", cancellation);
        await OperateAsync(run, ["terminal", "scenario", "10000", "valid", "--socket", run.Node("mn3").Control.SocketPath], cancellation);
        var before = await CounterAsync(run, "mn3", "ba.status_refused", cancellation);

        // A new care-of address is a reason to ask again at once.
        var radio = run.Network.Radio("mn3", "eth0");
        radio.Leave();
        await Task.Delay(20, cancellation);
        radio.Reach("access-3b");
        await AwaitAsync(run, "mn3 is refused again", async () => await CounterAsync(run, "mn3", "ba.status_refused", cancellation) > before, TimeSpan.FromSeconds(20), cancellation);
        await TakeAsync(run, "mn3", "refused by 10000", cancellation);
        _refusals = await CounterAsync(run, "mn3", "ba.status_refused", cancellation) - before;
        _discards = await EventsAsync(run, "mn3", "scenario.discarded", cancellation);
    }

    /// <summary>Next header destination options, and a mobility header with an update behind the home address option (L1).</summary>
    private static bool IsUpdate(byte[] frame) => frame.Length > 80 && frame[20] == 60 && frame[54] == 135 && frame[80] == 5;

    private bool IsOver(string moment) =>
        _shown["translation " + moment].Count == 0 && _shown["tunnels " + moment].Count == 0 && !_shown["binding-list " + moment].Any(e => TableQuestions.Text(e, "state") == "registered")
        && !_shown["bindings " + moment].Any(e => TableQuestions.Text(e, "homeAddress") == Home2);

    private async Task RunAsync(LabRun run, string moment, IReadOnlyList<string> command, CancellationToken cancellation)
    {
        _ran[moment] = await run.ExecuteAsync("mn", command, cancellation);
        if (_ran[moment].ExitCode != 0)
        {
            run.Progress.Note(string.Create(CultureInfo.InvariantCulture, $"{moment}: {_ran[moment].Output.Trim()} {_ran[moment].Errors.Trim()}"));
        }
    }

    private async Task TakeAsync(LabRun run, string node, string moment, CancellationToken cancellation)
    {
        foreach (var table in (string[])["translation", "binding-list", "tunnels", "scenarios"])
        {
            _shown[$"{table} {moment}"] = [.. PathLines.Rows(await run.ShowAsync(node, table, cancellation))];
        }

        _shown["bindings " + moment] = [.. PathLines.Rows(await run.ShowAsync("ha", "bindings", cancellation))];
        _host[moment] = (await run.ExecuteAsync(node, ["ip", "-o", "address", "show", "dev", "mip0"], cancellation)).Output;
    }
}
