using System.Globalization;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Scenarios.Authentication;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>TM3: IPv4 applications, the signal under IPsec, data on every way there is (spec terminal 5.3, embodiment 3).</summary>
public sealed partial class Terminal3 : TerminalScenario
{
    private const string HomeAgent = "2001:db8:a::1", HomeAgent2 = "2001:db8:b::1", HomeAgent3 = "2001:db8:c::1", Host = "198.18.0.1";
    private const string Home = "2001:db8:a:1::100", Home2 = "2001:db8:b:1::102", Home3 = "2001:db8:a:1::103", Home4 = "2001:db8:b:1::104", Home5 = "2001:db8:c:1::105";
    private const string Route = "2001:db8:6::2", ProtectedRoute = "2001:db8:7::2", Plain = "2001:db8:8::2", Protected = "2001:db8:8::3", Filtered = "2001:db8:8::4";
    private const int Datagrams = 3;

    private static readonly string[] s_terminals = ["mn", "mn2", "mn3", "mn4", "mn5"];

    /// <summary>Longer than a terminal takes packets by the short way for a reason not to believe a binding error (RFC 6275 11.3.6).</summary>
    private static readonly TimeSpan s_quiet = TimeSpan.FromSeconds(3.5);

    private readonly Dictionary<string, IReadOnlyList<JsonElement>> _shown = [];
    private readonly Dictionary<string, long> _counted = [];
    private readonly Dictionary<string, string> _host = [];
    private readonly Dictionary<string, Use> _uses = [];
    private readonly Dictionary<string, IReadOnlyList<string>> _told = [];
    private long _started;

    /// <summary>What programs on a terminal's host did with one correspondent.</summary>
    /// <param name="CareOf">Of the terminal meanwhile.</param>
    /// <param name="Shown">Address that the host knows the correspondent by.</param>
    /// <param name="Called">The correspondent's own ping, which came first.</param>
    /// <param name="Page">What curl said.</param>
    private sealed record Use(string Node, string Home, string HomeAgent, string CareOf, string Peer, string Shown, PingResult Called, PingResult Pinged, CommandResult Page, long Since, long From, long To)
    {
        public bool Worked(string local) => Called.Received > 0 && Pinged.Received > 0 && Page.ExitCode == 0 && Page.Output.Trim().EndsWith($"200 {local} {Shown}", StringComparison.Ordinal);

        public string Text => $"{Peer} as {Shown}: {Pinged.Summary}; curl: {Page.Output.Trim().ReplaceLineEndings(" ")}{Page.Errors.Trim()}";
    }

    public override string Name => "terminal/3";

    /// <summary>An ICMPv6 error about a packet with a routing header, of the link that the terminal has left: tshark reckons the error's checksum with the address the quoted header names.</summary>
    public override string? Damaged(string link) => $"{base.Damaged(link)} || (icmpv6.type == 1 && icmpv6.code == 3)";

    protected override IReadOnlyList<string> Fields => [.. base.Fields, .. Layouts.Fields];

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        foreach (var program in (string[])["curl", "python3", "traceroute", "iperf3"])
        {
            _ = LabCommand.Find(program) ?? throw new ScenarioException($"this scenario needs {program}");
        }

        run.Progress.Step("Three home agents and five terminals are certified; correspondents serve a page");
        Certify(run, [("ha", HomeAgent), ("ha2", HomeAgent2), ("ha3", HomeAgent3), .. s_terminals.Select(node => (node, (string?)null))]);
        foreach (var address in (string[])[Protected, Filtered])
        {
            await run.ExecuteAsync("plain", ["ip", "address", "add", address + "/64", "dev", "eth0", "nodad"], cancellation);
        }

        await using var first = await RouterAdvertiser.StartAsync(run, "core", "cn", "2001:db8:6::/64", managed: false, cancellation);
        await using var second = await RouterAdvertiser.StartAsync(run, "core", "cnp", "2001:db8:7::/64", managed: false, cancellation);
        await Task.WhenAll(((string[])["ha", "ha2", "ha3", "cn", "cnp"]).Select(node => run.Node(node).StartAsync(cancellation)));
        await using var measure = await ForeignProgram.StartAsync(run, "plain", ["iperf3", "-s", "-6"], ForeignProgram.Listens(run, "plain", 5201, cancellation), cancellation);
        var pages = run.Directory.FolderOf("pages");
        await File.WriteAllTextAsync(Path.Combine(pages, "index.html"), "a page\n", cancellation);
        await using var web = await ServeAsync(run, "plain", pages, cancellation);
        await using var web1 = await ServeAsync(run, "cn", pages, cancellation);
        await using var web2 = await ServeAsync(run, "cnp", pages, cancellation);

        run.Progress.Step("The terminals are switched on");
        _started = LabRun.Now;
        await using var a = await AdvertiseAsync(run, 0, "2001:db8:51::/64", cancellation);
        await using var b = await AdvertiseAsync(run, 1, "2001:db8:52::/64", cancellation);
        await using var c = await AdvertiseAsync(run, 2, "2001:db8:53::/64", cancellation);
        await using var d = await AdvertiseAsync(run, 3, "2001:db8:54::/64", cancellation);
        await using var e = await AdvertiseAsync(run, 4, "2001:db8:55::/64", cancellation);
        await using var f = await AdvertiseAsync(run, 5, "2001:db8:56::/64", cancellation);
        await Task.WhenAll(s_terminals.Select(node => run.Node(node).StartAsync(cancellation)));
        foreach (var node in s_terminals)
        {
            await ReachAsync(run, node, "REG", TimeSpan.FromSeconds(40), cancellation);
            await TakeAsync(run, node, "registered", cancellation);
        }

        _told["mn registered"] = await EventsAsync(run, "mn", "scenario.run", cancellation);
        await Task.WhenAll(UsePlainAsync(run, cancellation), KeepAsync(run, cancellation), GoUnprotectedAsync(run, cancellation));
        await UseRoutesAsync(run, cancellation);
        await ForgeAsync(run, cancellation);
        await ForgetAsync(run, cancellation);
        await SwitchAsync(run, cancellation);
        foreach (var node in s_terminals)
        {
            await TakeAsync(run, node, "end", cancellation);
        }

        _told["mn"] = await EventsAsync(run, "mn", "scenario.run", cancellation);
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures) =>
    [
        new LadderChapter("The terminal registers", new Ladder(
            ["mn", "ar1", "ha"], [.. SignallingSteps("mn", new Dictionary<string, string> { [HomeAgent] = "ha" }, new Dictionary<string, string> { ["access-1"] = "ar1" }, _started)])),
    ];

    /// <summary>AC10, AC15 and what the policy discards: three addresses of one correspondent, each with a policy of its own.</summary>
    private async Task UsePlainAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("IPv4 programs on the first terminal: plainly, under ESP, and what is not to leave");
        await UseAsync(run, "plain", ("mn", Home, HomeAgent), "plain", Plain, cancellation);
        var shown = _uses["plain"].Shown;
        var traced = await run.ExecuteAsync("mn", ["traceroute", "-4", "-n", "-q", "1", "-w", "1", "-m", "8", shown], cancellation);
        var sent = await run.ExecuteAsync("mn", ["iperf3", "-4", "-c", shown, "-n", "1M", "--connect-timeout", "5000"], cancellation);
        (_host["traceroute"], _host["iperf3"]) = (traced.Output.Trim(), sent.ExitCode == 0 ? sent.Output.Trim().Split('\n').Last(l => l.Contains("receiver", StringComparison.Ordinal)).Trim() : sent.Errors.Trim() + sent.Output.Trim());
        await UseAsync(run, "protected", ("mn", Home, HomeAgent), "plain", Protected, cancellation);
        await UseAsync(run, "filtered", ("mn", Home, HomeAgent), "plain", Filtered, cancellation);
        await CountedAsync(run, "discarded", "mn", "spd.discard_out", () => SendAsync(run, "mn", _uses["filtered"].Shown, null, cancellation), cancellation);
        await CountedAsync(run, "not heard", "mn", "spd.mismatch_in", () => SendAsync(run, "plain", Home, Filtered, cancellation), cancellation);
    }

    /// <summary>AC14, AC16.</summary>
    private async Task KeepAsync(LabRun run, CancellationToken cancellation)
    {
        await UseAsync(run, "kept", ("mn2", Home2, HomeAgent2), "plain", Plain, cancellation);
        await UseAsync(run, "kept up", ("mn3", Home3, HomeAgent), "plain", Plain, cancellation);
        await UseAsync(run, "kept down", ("mn4", Home4, HomeAgent2), "plain", Plain, cancellation);
    }

    /// <summary>The home agent makes no association for data: the policy decides what leaves all the same.</summary>
    private async Task GoUnprotectedAsync(LabRun run, CancellationToken cancellation)
    {
        await UseAsync(run, "unprotected", ("mn5", Home5, HomeAgent3), "plain", Plain, cancellation);
        await CountedAsync(run, "without association", "mn5", "ipsec.sa_not_found_out", () => SendAsync(run, "mn5", _uses["unprotected"].Shown, null, cancellation), cancellation);
        await CountedAsync(run, "in clear", "mn5", "spd.mismatch_in", () => SendAsync(run, "plain", Home5, Plain, cancellation), cancellation);
        _told["mn5 refused"] = await EventsAsync(run, "mn5", "terminal.protection_refused", cancellation);
    }

    /// <summary>AC11, AC12, and a correspondent that the policy wants ESP with and that has no association.</summary>
    private async Task UseRoutesAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("By the short way, with ESP and without; and where ESP is wanted and there is no association");
        await TakeAsync(run, "mn", "before the short way", cancellation);
        _counted["asked"] = LabRun.Now;
        foreach (var (name, node, home, caller, peer) in new[] { ("route", "mn", Home, "cn", Route), ("protected route", "mn", Home, "cnp", ProtectedRoute), ("route without association", "mn2", Home2, "cn", Route) })
        {
            var shown = await LearnAsync(run, node, home, caller, peer, cancellation);
            await run.PingAsync(node, shown.Address, new PingOptions(3) { Wait = TimeSpan.FromMilliseconds(500) }, cancellation);
            await AwaitAsync(run, $"{node} and {caller} take the short way", () => BoundAsync(run, node, home, caller, peer, cancellation), TimeSpan.FromSeconds(8), cancellation);
            if (name != "route without association")
            {
                await UseAsync(run, name, (node, home, HomeAgent), caller, peer, cancellation);
                continue;
            }

            await CountedAsync(run, name, node, "ipsec.sa_not_found_out", async () => await run.PingAsync(node, shown.Address, new PingOptions(Datagrams) { Wait = TimeSpan.FromMilliseconds(500) }, cancellation), cancellation);
            await CountedAsync(run, "route in clear", node, "spd.mismatch_in", async () => await run.PingAsync(caller, home, new PingOptions(Datagrams) { Wait = TimeSpan.FromMilliseconds(500) }, cancellation), cancellation);
        }

        await TakeAsync(run, "mn", "on the short way", cancellation);
        _shown["bindings cn"] = [.. PathLines.Rows(await run.ShowAsync("cn", "bindings", cancellation))];
    }

    /// <summary>TM3.48: the correspondent has lost what it knew, the terminal has not heard of it.</summary>
    private async Task ForgetAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The correspondent forgets its binding; the host pings again");
        await Task.Delay(s_quiet, cancellation);
        _counted["forgotten"] = LabRun.Now;
        await CountedAsync(
            run, "error", "mn", "be.binding_deleted",
            async () =>
            {
                await OperateAsync(run, ["clear", "session", "--all", "--socket", run.Node("cn").Control.SocketPath], cancellation);
                await run.PingAsync("mn", _uses["route"].Shown, new PingOptions(20), cancellation);
                await AwaitAsync(run, "the short way comes back", () => BoundAsync(run, "mn", Home, "cn", Route, cancellation), TimeSpan.FromSeconds(8), cancellation);
            },
            cancellation);
        await UseAsync(run, "route again", ("mn", Home, HomeAgent), "cn", Route, cancellation);
    }

    /// <summary>AC17, TM4.7: the same terminal serves IPv6 applications from its next acknowledgement on, which a move brings.</summary>
    private async Task SwitchAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The operator switches the first terminal to IPv6 applications, and it moves");
        foreach (var number in (string[])["10012", "10013"])
        {
            await OperateAsync(run, ["terminal", "scenario", number, "valid", "--socket", run.Node("mn").Control.SocketPath], cancellation);
        }

        var radio = run.Network.Radio("mn", "eth0");
        radio.Leave();
        await Task.Delay(20, cancellation);
        radio.Reach("access-1b");
        await AwaitAsync(run, "the host has its home address", async () => (await AddressesAsync(run, "mn", cancellation)).Contains($" {Home}/128", StringComparison.Ordinal), TimeSpan.FromSeconds(10), cancellation);
        await ReachAsync(run, "mn", "REG", TimeSpan.FromSeconds(10), cancellation);
        await run.PingAsync("mn", ProtectedRoute, new PingOptions(3), cancellation);
        await AwaitAsync(
            run, "mn and cnp take the short way from the new network",
            async () => (await TableAsync(run, "cnp", "bindings", cancellation)).Any(r => Text(r, "careOfAddress").StartsWith("2001:db8:56:", StringComparison.Ordinal)) && await BoundAsync(run, "mn", Home, "cnp", ProtectedRoute, cancellation), TimeSpan.FromSeconds(8), cancellation);
        await TakeAsync(run, "mn", "switched", cancellation);
        await UseAsync(run, "IPv6 by the protected short way", ("mn", Home, HomeAgent), "cnp", ProtectedRoute, cancellation);
        await UseAsync(run, "IPv6 under ESP", ("mn", Home, HomeAgent), "plain", Protected, cancellation);
        await UseAsync(run, "IPv6 plainly", ("mn", Home, HomeAgent), "plain", Plain, cancellation);
    }

    /// <summary>A correspondent calls; then the host pings it and fetches a page under the address it knows it by.</summary>
    private async Task UseAsync(LabRun run, string name, (string Node, string Home, string HomeAgent) terminal, string caller, string peer, CancellationToken cancellation)
    {
        var since = LabRun.Now;
        var (shown, called) = await LearnAsync(run, terminal.Node, terminal.Home, caller, peer, cancellation);
        var from = LabRun.Now;
        var pinged = await run.PingAsync(terminal.Node, shown, new PingOptions(5), cancellation);
        var page = await run.ExecuteAsync(terminal.Node, ["curl", "-sS", "-m", "10", "-w", " %{http_code} %{local_ip} %{remote_ip}", shown.Contains(':', StringComparison.Ordinal) ? $"http://[{shown}]/" : $"http://{shown}/"], cancellation);
        var careOf = Text((await TableAsync(run, terminal.Node, "tunnels", cancellation)).FirstOrDefault(), "start");
        _uses[name] = new Use(terminal.Node, terminal.Home, terminal.HomeAgent, careOf, peer, shown, called, pinged, page, since, from, LabRun.Now);
        run.Progress.Note($"{name}: {_uses[name].Text}");
    }

    /// <summary>The first packet is the correspondent's; the address that applications then see it by.</summary>
    private static async Task<(string Address, PingResult Called)> LearnAsync(LabRun run, string node, string home, string caller, string peer, CancellationToken cancellation)
    {
        var called = await run.PingAsync(caller, home, new PingOptions(2) { From = peer }, cancellation);
        var entry = (await TableAsync(run, node, "translation", cancellation)).FirstOrDefault(t => Text(t, "ipv6Address") == peer);
        return ((await AddressesAsync(run, node, cancellation)).Contains(Host, StringComparison.Ordinal) ? Text(entry, "ipv4Address") : peer, called);
    }

    private static async Task<bool> BoundAsync(LabRun run, string node, string home, string caller, string peer, CancellationToken cancellation) =>
        (await TableAsync(run, caller, "bindings", cancellation)).Any(b => Text(b, "homeAddress") == home)
        && (await TableAsync(run, node, "binding-list", cancellation)).Any(r => Text(r, "list") == "forwarding" && Text(r, "peer") == peer);

    /// <summary>UDP to the discard port, from any program that can send it.</summary>
    private static Task<CommandResult> SendAsync(LabRun run, string node, string to, string? from, CancellationToken cancellation) => run.ExecuteAsync(
        node,
        [
            "python3", "-c", "import socket, sys\nto = socket.getaddrinfo(sys.argv[1], 9, type=socket.SOCK_DGRAM)[0]\ns = socket.socket(to[0], to[1])\nif sys.argv[2]: s.bind((sys.argv[2], 0))\nfor i in range(int(sys.argv[3])): s.sendto(bytes(32), to[4])",
            to, from ?? "", Datagrams.ToString(CultureInfo.InvariantCulture),
        ],
        cancellation);

    /// <summary>By how much a counter of a terminal rises meanwhile, and when that was.</summary>
    private async Task CountedAsync(LabRun run, string name, string node, string counter, Func<Task> act, CancellationToken cancellation)
    {
        var before = await CounterAsync(run, node, counter, cancellation);
        _counted[name + " from"] = LabRun.Now;
        await act();
        await LabRun.UntilAsync(async () => await CounterAsync(run, node, counter, cancellation) > before, TimeSpan.FromSeconds(2), cancellation);
        await Task.Delay(100, cancellation);
        _counted[name + " to"] = LabRun.Now;
        _counted[name] = await CounterAsync(run, node, counter, cancellation) - before;
    }

    private async Task TakeAsync(LabRun run, string node, string moment, CancellationToken cancellation)
    {
        foreach (var table in (string[])["scenarios", "binding-list", "tunnels", "translation", "sa"])
        {
            _shown[$"{node} {table} {moment}"] = await TableAsync(run, node, table, cancellation);
        }

        _shown[$"bindings {moment}"] = await TableAsync(run, "ha", "bindings", cancellation);
        _host[$"{node} {moment}"] = await AddressesAsync(run, node, cancellation);
    }

    private static async Task<IReadOnlyList<JsonElement>> TableAsync(LabRun run, string node, string table, CancellationToken cancellation) => [.. PathLines.Rows(await run.ShowAsync(node, table, cancellation))];

    /// <summary>Interface 19.</summary>
    private static async Task<string> AddressesAsync(LabRun run, string node, CancellationToken cancellation) =>
        (await run.ExecuteAsync(node, ["ip", "-o", "address", "show", "dev", "mip0"], cancellation)).Output.ReplaceLineEndings(" ");

    private static Task<ForeignProgram> AdvertiseAsync(LabRun run, int access, string prefix, CancellationToken cancellation) =>
        RouterAdvertiser.StartAsync(run, "ar1", string.Create(CultureInfo.InvariantCulture, $"acc{access}"), prefix, managed: false, cancellation);

    private static Task<ForeignProgram> ServeAsync(LabRun run, string node, string pages, CancellationToken cancellation) => ForeignProgram.StartAsync(
        run, node, ["python3", "-u", "-m", "http.server", "80", "--bind", "::", "--directory", pages], ForeignProgram.Listens(run, node, 80, cancellation), cancellation);
}
