using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Sojourn.Lab.Browsing;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Network;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Scenarios.Authentication;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>TM1: IPv4 applications over Mobile IPv6, the home agent's answer choosing the translation (spec terminal 5.1, embodiment 1).</summary>
public sealed partial class Terminal1 : TerminalScenario
{
    private const string HomeAgent = "2001:db8:1::1", Home = "2001:db8:1::100", Correspondent = "2001:db8:2::2", NameServerAddress = "2001:db8:7::53", Host = "198.18.0.1", Resolver = "198.18.255.254";
    private const string Name1 = "cn.home.example", Web4 = "192.0.2.5", Web6 = "2001:db8:64::c000:205", Foreign = "10.9.9.9";
    private const string Many = "many.home.example";
    private const int DownloadLength = 200_000_000, Moves = 6, OneRecordedOf = 50, ManyAddresses = 60;

    private static readonly TimeSpan s_outOfReach = TimeSpan.FromMilliseconds(20), s_recorded = TimeSpan.FromMilliseconds(200);

    private readonly Dictionary<string, IReadOnlyList<JsonElement>> _shown = [];
    private readonly Dictionary<string, CommandResult> _ran = [];
    private readonly Dictionary<string, (long From, long To)> _times = [];
    private string _served = "", _callers = "", _addresses = "", _kernel = "";
    private IReadOnlyList<string> _choices = [];
    private readonly List<(string From, string Link, long Left, string CareOf)> _moves = [];
    private long _foreignBefore, _foreignAfter;

    public override string Name => "terminal/1";

    /// <summary>
    /// What the move has lost comes again in other pieces, and on the home agent's link each of them twice: tshark calls that an error of its
    /// reassembly. Errors quote the beginning of a segment, and tshark checks the checksum of such a piece inside a tunnel's header.
    /// </summary>
    public override string? Damaged(string link) => "frame.comment or tcp.analysis.retransmission or tcp.analysis.out_of_order or (http and _ws.malformed) or (icmpv6.type in {1, 2} and tcp)";

    protected override IReadOnlyList<string> Fields => [.. base.Fields, "tcp.srcport", "tcp.dstport", "tcp.len", "tcp.flags.syn", "ipv6.nxt", "icmpv6.mtu", "dns.qry.name", "udp.srcport", "udp.dstport", "frame.len", .. s_homeLinkFields];

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        if (Chromium.Missing is { } missing)
        {
            throw new ScenarioException($"this scenario needs a browser: {missing}");
        }

        foreach (var program in (string[])["named", "dig", "nsupdate", "tsig-keygen", "curl", "traceroute", "iperf3", "tayga", "python3", "ss", .. s_shellTools])
        {
            _ = LabCommand.Find(program) ?? throw new ScenarioException($"this scenario needs {program}");
        }

        run.Progress.Step("Servers: names (BIND), web pages, a NAT64 (TAYGA); home agent and terminal are certified");
        var database = await MakeAuthorityAsync(run, cancellation);
        foreach (var (node, name, kind) in new[] { ("ha", "ha1.home.example", "home-agent"), ("mn", "mn1.home.example", "terminal") })
        {
            await OperateAsync(run, ["ca", "identifier", "add", name, .. node == "ha" ? (string[])["--kind", kind, "--address", HomeAgent] : [], "--database", database], cancellation);
            await OperateAsync(run, ["ca", "issue", name, "--store", StoreOf(run, node), "--database", database], cancellation);
            using var key = ECDsa.Create();
            key.ImportFromPem(await File.ReadAllTextAsync(Path.Combine(StoreOf(run, node), "key.pem"), cancellation));
            Guard($"the private key of {node}", key.ExportParameters(true).D!);
        }

        await using var names = await StartNamesAsync(run, cancellation);
        await using var web = await ServeAsync(run, "cn", "::", 80, WritePages(run, "cn"), cancellation);
        await using var nat = await TranslateAsync(run, cancellation);
        await using var web4 = await ServeAsync(run, "web4", "0.0.0.0", 80, WritePages(run, "web4"), cancellation);
        await using var measure = await ForeignProgram.StartAsync(run, "cn", ["iperf3", "-s", "-6"], ForeignProgram.Listens(run, "cn", 5201, cancellation), cancellation);
        await using var shell = await OfferShellAsync(run, cancellation);
        await run.Node("ha").StartAsync(cancellation);

        run.Progress.Step("The terminal is switched on where no router advertises, then in network 5b");
        await run.Node("mn").StartAsync(cancellation);
        await TakeAsync(run, "before", cancellation);
        await RememberAsync(run, cancellation);
        await using var b = await RouterAdvertiser.StartAsync(run, "ar-b", "acc0", "2001:db8:5b::/64", managed: false, cancellation);
        await using var a = await RouterAdvertiser.StartAsync(run, "ar-a", "acc0", "2001:db8:5a::/64", managed: false, cancellation);
        var from = LabRun.Now;
        await ReachAsync(run, "mn", "REG", TimeSpan.FromSeconds(30), cancellation);
        _times["registered"] = (from, LabRun.Now);
        await TakeAsync(run, "registered", cancellation);
        _choices = await EventsAsync(run, "mn", "scenario.run", cancellation);
        _addresses = (await run.ExecuteAsync("mn", ["ip", "-o", "address", "show", "dev", "mip0"], cancellation)).Output;

        await ReadNeighbourAsync(run, "registered", cancellation);
        await BeCalledAsync(run, cancellation);
        await BeReachedFromHomeAsync(run, cancellation);
        await UseNamesAsync(run, cancellation);
        await UseFormerAddressAsync(run, cancellation);
        await DownloadAsync(run, cancellation);
        await NarrowAsync(run, cancellation);
        await NarrowTunnelAsync(run, cancellation);
        await LoseHomeAgentAsync(run, cancellation);
        await TakeAsync(run, "end", cancellation);
        _kernel = await AskKernelAsync(run, ["mn", "ha"], cancellation);
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures) =>
    [
        new LadderChapter("The terminal registers", new Ladder(
            ["mn", "ar-b", "ha"], [.. SignallingSteps("mn", new Dictionary<string, string> { [HomeAgent] = "ha" }, new Dictionary<string, string> { ["access-5b"] = "ar-b" }, _times["registered"].From)])),
        new LadderChapter("It moves during a download, six times", new Ladder(
            ["mn", "ar-a", "ha"], [.. SignallingSteps("mn", new Dictionary<string, string> { [HomeAgent] = "ha" }, new Dictionary<string, string> { ["access-5a"] = "ar-a" }, _moves[0].Left)])),
    ];

    /// <summary>AC06: a correspondent that the terminal has never heard of opens TCP to the home address.</summary>
    private async Task BeCalledAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("A correspondent calls first");
        await using var server = await ServeAsync(run, "mn", Host, 8080, WritePages(run, "mn"), cancellation);
        await RunAsync(run, "called", "cn", ["curl", "-6", "-sS", "-m", "10", $"http://[{Home}]:8080/"], cancellation);
        await LabRun.UntilAsync(() => Task.FromResult(server.Said.Contains("GET", StringComparison.Ordinal)), TimeSpan.FromSeconds(2), cancellation);
        _callers = server.Said;
        await TakeAsync(run, "called", cancellation);
    }

    /// <summary>AC01, AC38 to AC40: unmodified IPv4 programs.</summary>
    private async Task UseNamesAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("IPv4 programs: curl, dig, ping, traceroute; an IPv4 server behind the NAT64");
        var from = LabRun.Now;
        await RunAsync(run, "fetched", "mn", Resolving(run, "curl", "-4", "-sS", "-m", "10", "-w", " %{http_code} %{local_ip} %{remote_ip}", $"http://{Name1}/"), cancellation);
        _times["fetched"] = (from, LabRun.Now);
        await RunAsync(run, "named", "mn", ["dig", "@" + Resolver, "+short", "+time=3", Name1, "A"], cancellation);
        await RunAsync(run, "named again", "mn", ["dig", "@" + Resolver, "+short", "+time=3", Name1, "A"], cancellation);
        await RunAsync(run, "reversed", "mn", ["dig", "@" + Resolver, "+short", "+time=3", "-x", _ran["named"].Output.Trim()], cancellation);
        await RunAsync(run, "all by TCP", "mn", ["dig", "@" + Resolver, "+tcp", "+short", "+time=3", Many, "AAAA"], cancellation);
        await RunAsync(run, "all by UDP", "mn", ["dig", "@" + Resolver, "+short", "+time=3", Many, "AAAA"], cancellation);
        await RunAsync(run, "one by TCP", "mn", ["dig", "@" + Resolver, "+tcp", "+short", "+time=3", Name1, "A"], cancellation);
        await RunAsync(run, "shown", "mn", ["dig", "@" + Resolver, "+short", "+ignore", "+time=3", Many, "A"], cancellation);
        await RunAsync(run, "pinged", "mn", Resolving(run, "ping", "-4", "-c", "5", "-i", "0.1", "-W", "2", Name1), cancellation);
        await RunAsync(run, "pinged long", "mn", Resolving(run, "ping", "-4", "-c", "4", "-i", "0.3", "-W", "2", "-s", "4000", Name1), cancellation);
        await RunAsync(run, "traced", "mn", Resolving(run, "traceroute", "-4", "-n", "-q", "1", "-w", "1", "-m", "8", Name1), cancellation);
        await RunAsync(run, "literal", "mn", ["curl", "-4", "-sS", "-m", "10", "-w", " %{http_code} %{remote_ip}", $"http://{Web4}/"], cancellation);
        await TakeAsync(run, "used", cancellation);
    }

    /// <summary>NC13: the host sends from an address that it was not given.</summary>
    private async Task UseFormerAddressAsync(LabRun run, CancellationToken cancellation)
    {
        _foreignBefore = await SumAsync(run, "xlat.src_miss_up", cancellation);
        await run.ExecuteAsync("mn", ["ip", "address", "add", Foreign + "/32", "dev", "mip0"], cancellation);
        await run.PingAsync("mn", _ran["named"].Output.Trim(), new PingOptions(3) { From = Foreign, Wait = TimeSpan.FromMilliseconds(300) }, cancellation);
        await run.ExecuteAsync("mn", ["ip", "address", "del", Foreign + "/32", "dev", "mip0"], cancellation);
        _foreignAfter = await SumAsync(run, "xlat.src_miss_up", cancellation);
        await TakeAsync(run, "refused", cancellation);
    }

    /// <summary>Has the wires record one of so many packets of the bulk only: IP in IP and TCP. Everything else is recorded as ever.</summary>
    private static void Sample(LabRun run, bool on)
    {
        foreach (var link in run.Topology.Links)
        {
            var bulk = 0;
            run.Network.Wire(link.Name).Tap = on ? frame => frame.Data is { Length: > 20 } data && data[12] == 0x86 && data[20] is 6 or 41 && ++bulk % OneRecordedOf != 0 ? WireVerdict.PassUnrecorded : WireVerdict.Pass : null;
        }
    }

    /// <summary>AC38: the link to the correspondent takes less than the tunnel.</summary>
    private async Task NarrowAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The last link becomes narrow; ping and TCP have to find out");
        await run.ExecuteAsync("core", ["ip", "link", "set", "dev", "cn", "mtu", "1320"], cancellation);
        await RunAsync(run, "too big", "mn", ["ping", "-4", "-c", "3", "-i", "0.3", "-W", "1", "-M", "do", "-s", "1372", _ran["named"].Output.Trim()], cancellation);
        await RunAsync(run, "route", "mn", ["ip", "-4", "route", "get", _ran["named"].Output.Trim()], cancellation);
        await RunAsync(run, "sent", "mn", ["iperf3", "-4", "-c", _ran["named"].Output.Trim(), "-n", "1M", "--connect-timeout", "5000"], cancellation);
    }

    /// <summary>AC37: a link of 1280 octets on the tunnel's way, while the others take 1500.</summary>
    private async Task NarrowTunnelAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("A link on the tunnel's way becomes narrow: TCP both ways, datagrams of 1400 octets, long pings");
        var peer = _ran["named"].Output.Trim();
        await RunAsync(run, "device", "mn", ["ip", "-o", "link", "show", "dev", "mip0"], cancellation);
        await run.ExecuteAsync("core", ["ip", "link", "set", "dev", "cn", "mtu", "1500"], cancellation);
        var from = LabRun.Now;
        await run.ExecuteAsync("core", ["ip", "link", "set", "dev", "b0", "mtu", "1280"], cancellation);
        await run.ExecuteAsync("ar-b", ["ip", "link", "set", "dev", "up0", "mtu", "1280"], cancellation);
        foreach (var (moment, options) in new (string, string[])[] { ("bulk up", ["-n", "1M"]), ("bulk down", ["-n", "1M", "-R"]), ("datagrams", ["-u", "-l", "1400", "-b", "2M", "-t", "1"]) })
        {
            await RunAsync(run, moment, "mn", ["timeout", "20", "iperf3", "-4", "-f", "k", "-c", peer, "--connect-timeout", "5000", .. options], cancellation);
        }

        await RunAsync(run, "long pings", "mn", ["ping", "-4", "-c", "5", "-i", "0.3", "-W", "2", "-s", "3000", peer], cancellation);
        _times["narrow"] = (from, LabRun.Now);
    }

    /// <summary>R73: a router of the way has none to the home agent, and says so of the tunnel's packets.</summary>
    private async Task LoseHomeAgentAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("For a moment there is no way to the home agent");
        string[] route = ["unreachable", HomeAgent + "/128"];
        await run.ExecuteAsync("core", ["ip", "-6", "route", "add", .. route], cancellation);
        await RunAsync(run, "unreachable", "mn", ["ping", "-4", "-n", "-c", "2", "-i", "0.3", "-W", "1", _ran["named"].Output.Trim()], cancellation);
        await run.ExecuteAsync("core", ["ip", "-6", "route", "del", .. route], cancellation);
    }

    private async Task RunAsync(LabRun run, string moment, string node, IReadOnlyList<string> command, CancellationToken cancellation, TimeSpan? limit = null)
    {
        _ran[moment] = await run.ExecuteAsync(node, command, cancellation, limit);
        if (_ran[moment].ExitCode != 0)
        {
            run.Progress.Note($"{moment}: {_ran[moment].Output.Trim()} {_ran[moment].Errors.Trim()}");
        }
    }

    private async Task TakeAsync(LabRun run, string moment, CancellationToken cancellation)
    {
        foreach (var table in (string[])["translation", "binding-list", "tunnels", "scenarios"])
        {
            _shown[$"{table} {moment}"] = [.. PathLines.Rows(await run.ShowAsync("mn", table, cancellation))];
        }

        _shown["bindings " + moment] = [.. PathLines.Rows(await run.ShowAsync("ha", "bindings", cancellation))];
    }

    private static async Task<long> SumAsync(LabRun run, string counter, CancellationToken cancellation) =>
        (await run.ShowAsync("mn", "counters", cancellation)).GetProperty("counters").TryGetProperty(counter, out var value) ? value.GetInt64() : 0;

    private static async Task<string> HashAsync(string file, CancellationToken cancellation)
    {
        await using var stream = File.OpenRead(file);
        return Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, cancellation));
    }

    /// <summary>The command line, run where the terminal's resolver is the system's.</summary>
    private static IReadOnlyList<string> Resolving(LabRun run, params IReadOnlyList<string> command)
    {
        var file = Path.Combine(run.Directory.FolderOf("mn"), "resolv.conf");
        File.WriteAllText(file, $"nameserver {Resolver}\n");
        return ["unshare", "--mount", "sh", "-c", $"mount --bind {file} /etc/resolv.conf && exec \"$@\"", "sh", .. command];
    }

    /// <summary>A short page and a long one, in a folder of the node's.</summary>
    private static string WritePages(LabRun run, string node)
    {
        var folder = run.Directory.FolderOf("pages-" + node);
        File.WriteAllText(Path.Combine(folder, "index.html"), $"this is {node}\n");
        if (node == "cn")
        {
            var big = new byte[DownloadLength];
            new Random(1).NextBytes(big);
            File.WriteAllBytes(Path.Combine(folder, "big"), big);
        }

        return folder;
    }

    private static Task<ForeignProgram> ServeAsync(LabRun run, string node, string address, int port, string folder, CancellationToken cancellation) => ForeignProgram.StartAsync(
        run, node, ["python3", "-u", "-m", "http.server", port.ToString(CultureInfo.InvariantCulture), "--bind", address, "--directory", folder], ForeignProgram.Listens(run, node, port, cancellation), cancellation);

    private static async Task<NameServer> StartNamesAsync(LabRun run, CancellationToken cancellation)
    {
        var file = Path.Combine(run.Directory.FolderOf("dns"), "names.tsig");
        var key = await NameServer.MakeKeyAsync(run, file, "operator.home.example", cancellation);
        var names = await NameServer.StartAsync(run, "dns", NameServerAddress, ("home.example", "8.b.d.0.1.0.0.2.ip6.arpa"), file, key, cancellation);
        await names.UpdateAsync(run, "dns", $"zone home.example\nupdate add {Name1} 60 AAAA {Correspondent}", KeyOf(file), cancellation);
        var many = string.Join('\n', Enumerable.Range(1, ManyAddresses).Select(i => string.Create(CultureInfo.InvariantCulture, $"update add {Many} 60 AAAA 2001:db8:2::1:{i:x}")));
        await names.UpdateAsync(run, "dns", $"zone home.example\n{many}", KeyOf(file), cancellation);
        await names.DigUntilAsync(run, "dns", Name1, "AAAA", Correspondent, cancellation);
        return names;
    }

    /// <summary>As <c>nsupdate -y</c> takes it, out of tsig-keygen's file.</summary>
    private static string KeyOf(string file)
    {
        var quoted = File.ReadAllText(file).Split('"');
        return $"hmac-sha256:{quoted[1]}:{quoted[3]}";
    }

    private static async Task<ForeignProgram> TranslateAsync(LabRun run, CancellationToken cancellation)
    {
        var folder = run.Directory.FolderOf("tayga");
        var configuration = Path.Combine(folder, "tayga.conf");
        await File.WriteAllTextAsync(
            configuration, $"tun-device xlat\nipv4-addr 192.0.2.129\nipv6-addr 2001:db8:54:1::1\nprefix 2001:db8:64::/96\ndynamic-pool 192.0.2.128/25\ndata-dir {folder}\n", cancellation);
        foreach (var command in (string[][])
        [
            ["tayga", "-c", configuration, "--mktun"],
            ["ip", "link", "set", "xlat", "up"],
            ["ip", "route", "add", "192.0.2.128/25", "dev", "xlat"],
            ["ip", "-6", "route", "add", "2001:db8:64::/96", "dev", "xlat"],
        ])
        {
            var result = await run.ExecuteAsync("nat64", command, cancellation);
            if (result.ExitCode != 0)
            {
                throw new ScenarioException($"{result}: {result.Errors.Trim()}");
            }
        }

        return await ForeignProgram.StartAsync(run, "nat64", ["tayga", "-c", configuration, "-d"], ForeignProgram.Lives(), cancellation);
    }
}
