using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Scenarios.Authentication;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>TM4: IPv6 applications, the signal under IPsec, data plain and protected, methods switched while the terminal runs (spec terminal 5.4, embodiment 4).</summary>
public sealed partial class Terminal4 : TerminalScenario
{
    private const string Authority = "http://[2001:db8:3::2]:8080", HomeAgent = "2001:db8:a::1", Correspondent = "2001:db8:6::2";
    private const string Home = "2001:db8:a:1::100", Home2 = "2001:db8:a:1::102", Home3 = "2001:db8:a:1::103", Virtual = "198.18.0.1";
    private const string EchoRequest = "128", EchoReply = "129", ParameterProblem = "4";
    private const int Octets = 8 << 20;

    /// <summary>Sends a file to whoever asks with a line, as gopher has it: nothing that tshark puts together, so that what TCP sends twice over a move is no fault of reassembly.</summary>
    internal const string Server = """
        import socket, sys
        listener = socket.create_server((sys.argv[1], 9), family=socket.AF_INET6)
        while True:
            client, _ = listener.accept()
            client.makefile("rb").readline()
            client.sendfile(open(sys.argv[2], "rb"))
            client.close()
        """;

    private readonly Dictionary<string, IReadOnlyList<JsonElement>> _shown = [];
    private readonly Dictionary<string, string> _host = [];
    private PingResult? _plain, _dropped, _kept, _translated;
    private string _hash = "", _received = "", _kernel = "";
    private long _started, _pinged, _moved, _switched;
    private (long From, long To) _renewed, _translatedPing;

    public override string Name => "terminal/4";

    /// <summary>A router's kernel that finds nobody on the link any more quotes segments it has cut itself, and their checksum is not done.</summary>
    public override string? Damaged(string link) => $"{base.Damaged(link)} || (icmpv6.type == 1 && icmpv6.code == 3)";

    protected override IReadOnlyList<string> Fields => [.. base.Fields, "frame.len", "icmpv6.echo.identifier", .. s_callFields];

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        if (LabCommand.Find("curl") is null || LabCommand.Find("python3") is null || LabCommand.Find("sipp") is null)
        {
            throw new ScenarioException("this scenario needs curl, python3 and sipp (Debian packages curl, python3 with python3-cryptography, sip-tester)");
        }

        run.Progress.Step("Authority, home agent and routers run; three terminals are switched on");
        var database = await MakeAuthorityAsync(run, cancellation);
        await IssueAsync(run, database, "ca", "ca.home.example", "2001:db8:3::2", cancellation);
        foreach (var node in new[] { "mn", "mn2", "mn3" })
        {
            await WriteCardAsync(run, database, node, $"{node}.home.example", node, cancellation);
        }

        await run.Node("ca").StartAsync(cancellation);
        await EnrolServerAsync(run, database, "ha", "ha1.home.example", "home-agent", Authority, HomeAgent, cancellation);
        await run.Node("ha").StartAsync(cancellation);
        await using var first = await RouterAdvertiser.StartAsync(run, "ar1", "acc0", "2001:db8:5a::/64", managed: false, cancellation);
        await using var second = await RouterAdvertiser.StartAsync(run, "ar2", "acc0", "2001:db8:5b::/64", managed: false, cancellation);
        await using var third = await RouterAdvertiser.StartAsync(run, "ar2", "acc1", "2001:db8:5c::/64", managed: false, cancellation);
        await using var fourth = await RouterAdvertiser.StartAsync(run, "ar2", "acc2", "2001:db8:5d::/64", managed: false, cancellation);
        _started = LabRun.Now;
        await run.Node("mn").StartAsync(cancellation);
        await using var watch = await WatchHostAsync(run, cancellation);
        await Task.WhenAll(new[] { "mn2", "mn3" }.Select(node => run.Node(node).StartAsync(cancellation)));
        foreach (var node in new[] { "mn", "mn2", "mn3" })
        {
            await ReachAsync(run, node, "REG", TimeSpan.FromSeconds(30), cancellation);
        }

        await TakeAsync(run, "registered", cancellation);

        run.Progress.Step("The hosts ping the correspondent");
        _pinged = LabRun.Now;
        _plain = await run.PingAsync("mn", Correspondent, new PingOptions(5), cancellation);
        _dropped = await run.PingAsync("mn2", Correspondent, new PingOptions(5), cancellation);
        _kept = await run.PingAsync("mn3", Correspondent, new PingOptions(5), cancellation);
        run.Progress.Note($"{_plain.Summary}; {_dropped.Summary}; {_kept.Summary}");
        await GoLocalAsync(run, cancellation);
        await using (var call = await CallAsync(run, cancellation))
        {
            await DownloadAsync(run, cancellation);
            await call.EndAsync(cancellation);
        }

        _watched = watch.Said;
        run.Progress.Step("The operator switches the first terminal to translation, and back");
        _switched = LabRun.Now;
        await SwitchAsync(run, 10010, Virtual, cancellation);
        await TakeAsync(run, "translated", cancellation);
        await TranslateAsync(run, cancellation);
        await SwitchAsync(run, 10012, Home, cancellation);
        await TakeAsync(run, "back", cancellation);
        _shown["events"] = [.. PathLines.Rows(await run.ShowAsync("mn", "events", cancellation)).Where(e => Text(e, "event") == "scenario.run")];
        _kernel = await AskKernelAsync(run, ["mn", "mn2", "mn3", "ha"], cancellation);
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures) =>
    [
        new LadderChapter("From power-on to the registration", new Ladder(
            ["mn", "ar1", "ca", "ha"], [.. SignallingSteps("mn", new Dictionary<string, string> { [HomeAgent] = "ha", ["2001:db8:3::2"] = "ca" }, new Dictionary<string, string> { ["access-1"] = "ar1" }, _started)])),
    ];

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        rows.Part("Registration", () => Registration(rows));
        rows.Part("Layouts", () => Layouts(rows));
        rows.Part("Move", () => Moving(rows));
        rows.Part("Call", () => Call(rows));
        rows.Part("Exclusion", () => Exclusion(rows));
        rows.Part("Switch", () => Switching(rows));
        rows.Part("Translation", () => Translating(rows));
        rows.Part("Protection", () => Protection(rows));
        rows.Part("Kernel", () => JudgeKernel(rows, _kernel, "registration, both forms of the ESP tunnel, and data"));
        rows.Check("TM-P3", "the mobility stack is the node's one program: the host's kernel has no address on the link, no association and no tunnel, and the host's programs are served", _kernel.Length == 0 && _host["link"].Length == 0 && _received == _hash && _hash.Length > 0, $"link: '{_host["link"]}'; kernel: '{_kernel}'");
    }

    private void Registration(RowBook rows)
    {
        var update = On("access-1", _started).FirstOrDefault(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate));
        var acknowledgement = On("access-1", _started).FirstOrDefault(p => p.Sender == "ar1" && p.Is("mip6.mhtype", BindingAcknowledgement));
        var (careOf, tunnel) = ($"{update?.Source}", _shown["tunnels registered"].FirstOrDefault());
        rows.Check("TM4.1", "10012 and 10013 are valid, nothing else", Valid("registered") == "10012, 10013", Valid("registered"));
        rows.Check(
            "TM4.2", "BU and BA under ESP behind option and routing header; the home agent's answer runs program 10012; the home agent is in the binding update list",
            Stack(update) == "ipv6 ipv6.dstopts esp mipv6" && Stack(acknowledgement) == "ipv6 ipv6.routing esp mipv6" && Text(_shown["events"].FirstOrDefault(), "text").StartsWith("10012: ", StringComparison.Ordinal)
                && _shown["binding-list registered"].Any(b => Text(b, "list") == "registration" && Text(b, "peer") == HomeAgent && Text(b, "state") == "registered" && Text(b, "careOfAddress") == careOf),
            $"BU {Stack(update)}, BA {Stack(acknowledgement)}; {Text(_shown["events"].FirstOrDefault(), "text")}; {string.Join("; ", _shown["binding-list registered"])}");
        rows.Check(
            "TM4.3", "tunnel information from the care-of address to the home agent, the home address on interface 19, no translation",
            Text(tunnel, "start") == careOf && Text(tunnel, "end") == HomeAgent && Text(tunnel, "homeAddress") == Home && _host["registered"].Contains($" {Home}/128 ", StringComparison.Ordinal)
                && !_host["registered"].Contains(" 198.18.", StringComparison.Ordinal) && _shown["translation registered"].Count == 0,
            $"{tunnel}; {_host["registered"]}; {_shown["translation registered"].Count} translations");
        rows.Check("TM-P4", "the access link's interface has no address of the system's own, the guest answers for the care-of address", _host["link"].Length == 0 && acknowledgement?.To(careOf) == true, $"the system has '{_host["link"]}' on eth0; BA to {acknowledgement?.Destination}");
        var problems = Packets.Where(p => p.Is("icmpv6.type", ParameterProblem)).ToList();
        rows.Check("TM-M1", "nobody answers mobility headers, ESP or tunnel packets with a Parameter Problem", problems.Count == 0, $"{problems.Count} of {Packets.Count} packets");
    }

    private void Layouts(RowBook rows)
    {
        var (plainUp, plainDown) = (Echo("access-1", "mn", EchoRequest), Echo("access-1", "ar1", EchoReply));
        var (dropUp, dropDown) = (Echo("access-3", "mn2", EchoRequest), Echo("access-3", "ar2", EchoReply));
        var (keepUp, keepDown) = (Echo("access-4", "mn3", EchoRequest), Echo("access-4", "ar2", EchoReply));
        rows.Check(
            "TM4.6", "without a policy every packet is in the plain mobile tunnel: care-of address and home agent outside, home address and correspondent inside",
            plainUp.Count == 5 && plainDown.Count == 5 && plainUp.All(p => Stack(p).StartsWith("ipv6 ipv6 icmpv6", StringComparison.Ordinal) && Ends(p) == $"{p.Source} > {HomeAgent} | {Home} > {Correspondent}")
                && plainDown.All(p => Stack(p).StartsWith("ipv6 ipv6 icmpv6", StringComparison.Ordinal) && Ends(p) == $"{HomeAgent} > {p.Destination} | {Correspondent} > {Home}") && _plain!.Received > 0,
            $"{plainUp.Count} up {Stack(plainUp.FirstOrDefault())} ({Ends(plainUp.FirstOrDefault())}), {plainDown.Count} down {Stack(plainDown.FirstOrDefault())}; {_plain!.Summary}");
        rows.Check(
            "TM4.9", "with protection and without the tunnel's header: ESP, and in it the user's packet",
            dropUp.Count == 5 && dropDown.Count == 5 && dropUp.Concat(dropDown).All(p => Stack(p).StartsWith("ipv6 esp ipv6 icmpv6", StringComparison.Ordinal)) && _dropped!.Received > 0,
            $"{dropUp.Count} up {Stack(dropUp.FirstOrDefault())}, {dropDown.Count} down {Stack(dropDown.FirstOrDefault())}; {_dropped!.Summary}");
        rows.Check(
            "TM4.8", "with protection and the tunnel's header: ESP, and in it the tunnel's header with the same ends, then the user's packet; the home agent leaves it out and both understand each other",
            keepUp.Count == 5 && keepUp.All(p => Stack(p).StartsWith("ipv6 esp ipv6 ipv6 icmpv6", StringComparison.Ordinal) && Ends(p) == $"{p.Source} > {HomeAgent} | {p.Source} > {HomeAgent} | {Home3} > {Correspondent}") && keepDown.Count == 5 && _kept!.Received > 0,
            $"{keepUp.Count} up {Stack(keepUp.FirstOrDefault())} ({Ends(keepUp.FirstOrDefault())}), {keepDown.Count} down {Stack(keepDown.FirstOrDefault())}; {_kept!.Summary}");
        var (shorter, longer) = (Length(dropUp.FirstOrDefault()), Length(keepUp.FirstOrDefault()));
        foreach (var row in new[] { "TM0.6", "TM-R91", "TM-R101", "TM-SP4", "TM-C2" })
        {
            rows.Check(row, "what the home agent captures goes through the mobile tunnel, where so configured under ESP in front of it or in its place, and what the terminal sends likewise",
                Plain(plainDown, Home) && Plain(plainUp, Home) && Under(dropDown) && Under(dropUp) && Under(keepDown) && Under(keepUp),
                $"{Stack(plainDown.FirstOrDefault())}, {Stack(dropDown.FirstOrDefault())}, {Stack(keepUp.FirstOrDefault())}");
        }

        rows.Check("TM-A-50", "ESP is outside, the tunnel's header inside", keepUp.Count == 5 && keepUp.All(p => Stack(p).StartsWith("ipv6 esp ipv6 ipv6", StringComparison.Ordinal)), Stack(keepUp.FirstOrDefault()));
        foreach (var row in new[] { "TM3.77", "TM-C10" })
        {
            rows.Check(row, "leaving the header out saves 40 octets of every packet", shorter > 0 && longer - shorter == 40, string.Create(CultureInfo.InvariantCulture, $"{longer} with it, {shorter} without"));
        }

        bool Plain(List<DissectedPacket> packets, string home) => packets.Count == 5 && packets.All(p => Stack(p).StartsWith("ipv6 ipv6 icmpv6", StringComparison.Ordinal) && p.Of("ipv6.src").Concat(p.Of("ipv6.dst")).Contains(home));
        bool Under(List<DissectedPacket> packets) => packets.Count == 5 && packets.All(p => Stack(p).StartsWith("ipv6 esp ipv6", StringComparison.Ordinal));

        var clear = Packets.Count(p => p.Link is "access-3" or "access-4" && (p.Is("icmpv6.type", EchoRequest) || p.Is("icmpv6.type", EchoReply)) && !p.Has("esp"));
        rows.Check("TM-R48", "what the policy wants protected is on no link of the terminal in clear", clear == 0, $"{clear} echo messages");
    }

    private void Moving(RowBook rows)
    {
        var before = Text(_shown["tunnels registered"].FirstOrDefault(), "start");
        var after = _shown["tunnels moved"];
        var changed = after.Count == 1 && Text(after[0], "start") is var start && start != before && start.StartsWith("2001:db8:5b:", StringComparison.Ordinal);
        foreach (var row in new[] { "TM-C8", "TM-P1", "TM-P2" })
        {
            rows.Check(row, "curl on the host downloads over a move between access networks; the host sees its home address all the time", _hash.Length > 0 && _received == _hash && changed && _host["moved"].Contains($" {Home}/128 ", StringComparison.Ordinal), $"{_received} of {_hash}; tunnel from {before}, then {string.Join(", ", after.Select(t => Text(t, "start")))}");
        }

        rows.Check("TM4.6", "and its data goes through the tunnel from the new care-of address", changed && On("access-2", _moved).Any(p => p.Sender == "mn" && p.Has("tcp") && Ends(p) == $"{Text(after[0], "start")} > {HomeAgent} | {Home} > {Correspondent}"), string.Join("; ", after));
        var data = On("access-2", _moved).FirstOrDefault(p => p.Sender == "ar2" && p.Has("tcp"));
        var last = On("access-1", 0, _moved).LastOrDefault(p => p.Sender == "ar1" && p.Has("tcp"));
        if (data is not null && last is not null)
        {
            rows.Measure("gap of the download at the move", (data.Time - last.Time) / 1e6, "ms");
        }
    }

    private void Switching(RowBook rows)
    {
        var programs = _shown["events"].Select(e => Text(e, "text").Split(':')[0]).ToList();
        var order = programs.Where((number, i) => i == 0 || programs[i - 1] != number).ToList();
        var answers = On("access-2", _switched).Count(p => p.Sender == "ar2" && p.Is("mip6.mhtype", BindingAcknowledgement) && p.Is("mip6.ba.status", "0"));
        var exchanges = On("access-2", _switched).Count(p => p.Is("isakmp.exchangetype", SaInit));
        foreach (var row in new[] { "TM-AC34", "TM-C4", "TM-C12", "TM-P10", "TM9.1" })
        {
            rows.Check(
                row, "a number made valid by the command line is in force with the next acknowledgement: the host gets a virtual IPv4 address, then its home address again, without restart or key exchange",
                order.SequenceEqual(["10012", "10010", "10012"]) && answers >= 2 && exchanges == 0 && Valid("translated") == "10010" && Valid("back") == "10012"
                    && _host["translated"].Contains($" {Virtual}/32 ", StringComparison.Ordinal) && !_host["translated"].Contains(Home, StringComparison.Ordinal) && _shown["translation translated"].Any(t => Text(t, "kind") == "own" && Text(t, "ipv6Address") == Home)
                    && _host["back"].Contains($" {Home}/128 ", StringComparison.Ordinal),
                $"programs {string.Join(", ", order)}; {answers} acknowledgements; {_host["translated"]}; {_host["back"]}");
        }
    }

    private async Task DownloadAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("curl downloads 8 MB on the host, which moves meanwhile");
        var folder = run.Directory.FolderOf("cn");
        var content = RandomNumberGenerator.GetBytes(Octets);
        await File.WriteAllBytesAsync(Path.Combine(folder, "file"), content, cancellation);
        _hash = Convert.ToHexStringLower(SHA256.HashData(content));
        await using var server = await ForeignProgram.StartAsync(run, "cn", ["python3", "-c", Server, Correspondent, Path.Combine(folder, "file")], ForeignProgram.Listens(run, "cn", 9, cancellation), cancellation);
        var target = Path.Combine(run.Directory.FolderOf("mn"), "file");
        var download = run.ExecuteAsync("mn", ["curl", "-6", "-sS", "--limit-rate", "2M", "-o", target, $"gopher://[{Correspondent}]:9/9file"], cancellation);
        await Task.Delay(1000, cancellation);
        _moved = LabRun.Now;
        var radio = run.Network.Radio("mn", "eth0");
        radio.Leave();
        await Task.Delay(50, cancellation);
        radio.Reach("access-2");
        var result = await download;
        _received = result.ExitCode == 0 ? Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(target, cancellation))) : $"{result}: {result.Errors.Trim()}";

        await ReachAsync(run, "mn", "REG", TimeSpan.FromSeconds(10), cancellation);
        await TakeAsync(run, "moved", cancellation);
    }

    private async Task SwitchAsync(LabRun run, int number, string expected, CancellationToken cancellation)
    {
        await OperateAsync(run, ["terminal", "scenario", number.ToString(CultureInfo.InvariantCulture), "valid", "--socket", run.Node("mn").Control.SocketPath], cancellation);
        await LabRun.UntilAsync(async () => (await AddressesAsync(run, cancellation)).Contains($" {expected}/", StringComparison.Ordinal), TimeSpan.FromSeconds(12), cancellation);
    }

    private async Task TakeAsync(LabRun run, string moment, CancellationToken cancellation)
    {
        foreach (var table in (string[])["scenarios", "binding-list", "tunnels", "translation"])
        {
            _shown[$"{table} {moment}"] = [.. PathLines.Rows(await run.ShowAsync("mn", table, cancellation))];
        }

        _shown[$"bindings {moment}"] = [.. PathLines.Rows(await run.ShowAsync("ha", "bindings", cancellation))];

        _host[moment] = await AddressesAsync(run, cancellation);
        _host["link"] = (await run.ExecuteAsync("mn", ["ip", "-o", "-6", "addr", "show", "dev", "eth0"], cancellation)).Output.Trim();
    }

    /// <summary>Interface 19, one address after another.</summary>
    private static async Task<string> AddressesAsync(LabRun run, CancellationToken cancellation) =>
        string.Join(' ', (await run.ExecuteAsync("mn", ["ip", "-o", "addr", "show", "dev", "mip0"], cancellation)).Output.Split((char[])[' ', '\n', '\\'], StringSplitOptions.RemoveEmptyEntries)) + " ";

    private string Valid(string moment) => string.Join(", ", _shown[$"scenarios {moment}"].Where(s => s.GetProperty("valid").GetBoolean()).Select(s => s.GetProperty("number").GetInt32()));

    private List<DissectedPacket> Echo(string link, string sender, string type) => [.. On(link, _pinged, _moved).Where(p => p.Sender == sender && p.Is("icmpv6.type", type) && p.First("icmpv6.echo.identifier") is not null && p.Is("ipv6.dst", type == EchoRequest ? Correspondent : Homes(link)))];

    private static string Homes(string link) => link switch { "access-3" => Home2, "access-4" => Home3, _ => Home };

    private static int Length(DissectedPacket? packet) => int.TryParse(packet?.First("frame.len"), NumberStyles.None, CultureInfo.InvariantCulture, out var length) ? length : 0;
}
