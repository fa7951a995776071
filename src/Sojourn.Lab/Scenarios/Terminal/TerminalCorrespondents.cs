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

/// <summary>Route optimisation between a terminal and correspondents of both kinds (spec terminal 5.4, AC11, AC13, AC17).</summary>
public sealed class TerminalCorrespondents : TerminalScenario
{
    private const string Authority = "http://[2001:db8:3::2]:8080", HomeAgent = "2001:db8:a::1", Home = "2001:db8:a:1::100";
    private const string Correspondent = "2001:db8:6::2", Plain = "2001:db8:7::2";
    private const string EchoRequest = "128", EchoReply = "129";
    private const string CertificatePayload = "37";
    private const string HomeTestInit = "1", CareOfTestInit = "2", HomeTest = "3", CareOfTest = "4", BindingError = "7";
    private const int Octets = 4 << 20;

    /// <summary>Longer than a terminal takes packets by the short way for a reason not to believe a binding error (RFC 6275 11.3.6).</summary>
    private static readonly TimeSpan s_quiet = TimeSpan.FromSeconds(3.5);

    private readonly Dictionary<string, IReadOnlyList<JsonElement>> _shown = [];
    private PingResult? _direct, _toPlain, _again;
    private string _hash = "", _received = "";
    private bool _bound, _boundAgain;
    private long _started, _asked, _optimised, _moved, _cleared, _back;
    private long _errors;

    public override string Name => "terminal/correspondents";

    /// <summary>An ICMPv6 error about a packet with a routing header, of the link that the terminal has left: tshark reckons the error's checksum with the address the quoted header names.</summary>
    public override string? Damaged(string link) => $"{base.Damaged(link)} || (icmpv6.type == 1 && icmpv6.code == 3)";

    protected override IReadOnlyList<string> Fields => [.. base.Fields, "mip6.be.status", "mip6.ni.hni", "mip6.bad.auth"];

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        if (LabCommand.Find("curl") is null || LabCommand.Find("python3") is null)
        {
            throw new ScenarioException("this scenario needs curl and python3 (Debian packages of these names)");
        }

        run.Progress.Step("Authority, home agent, routers and correspondents run; the terminal registers");
        var database = await MakeAuthorityAsync(run, cancellation);
        await IssueAsync(run, database, "ca", "ca.home.example", "2001:db8:3::2", cancellation);
        await WriteCardAsync(run, database, "mn", "mn.home.example", "mn", cancellation);
        await run.Node("ca").StartAsync(cancellation);
        await EnrolServerAsync(run, database, "ha", "ha1.home.example", "home-agent", Authority, HomeAgent, cancellation);
        await using var first = await RouterAdvertiser.StartAsync(run, "ar1", "acc0", "2001:db8:5a::/64", managed: false, cancellation);
        await using var second = await RouterAdvertiser.StartAsync(run, "ar2", "acc0", "2001:db8:5b::/64", managed: false, cancellation);
        await using var third = await RouterAdvertiser.StartAsync(run, "core", "cn", "2001:db8:6::/64", managed: false, cancellation);
        _started = LabRun.Now;
        await Task.WhenAll(run.Node("ha").StartAsync(cancellation), run.Node("cn").StartAsync(cancellation));
        await run.Node("mn").StartAsync(cancellation);
        await ReachAsync(run, "mn", "REG", TimeSpan.FromSeconds(30), cancellation);

        run.Progress.Step("The host pings both correspondents");
        _asked = LabRun.Now;
        await run.PingAsync("mn", Correspondent, new PingOptions(3), cancellation);
        _bound = await BoundAsync(run, "2001:db8:5a:", cancellation);
        await TakeAsync(run, "bound", cancellation);
        _optimised = LabRun.Now;
        _direct = await run.PingAsync("mn", Correspondent, new PingOptions(5), cancellation);
        _toPlain = await run.PingAsync("mn", Plain, new PingOptions(5), cancellation);
        run.Progress.Note($"{_direct.Summary}; {_toPlain.Summary}");

        await DownloadAsync(run, cancellation);
        await TakeAsync(run, "moved", cancellation);
        await ForgetAsync(run, cancellation);
        _shown["events"] = [.. PathLines.Rows(await run.ShowAsync("mn", "events", cancellation)).Where(e => Text(e, "event") == "scenario.run")];
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures) =>
    [
        new LadderChapter("From the first packet to the short way", new Ladder(["mn", "ha", "cn"], [.. Steps(_asked, _optimised)])),
        new LadderChapter("The correspondent has forgotten the binding", new Ladder(["mn", "ha", "cn"], [.. Steps(_cleared, _back)])),
    ];

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        rows.Part("Optimisation", () => Optimisation(rows));
        rows.Part("Move", () => Moving(rows));
        rows.Part("Error", () => Error(rows));
    }

    private void Optimisation(RowBook rows)
    {
        var tests = new[] { (HomeTestInit, "mn"), (CareOfTestInit, "mn"), (HomeTest, "ar1"), (CareOfTest, "ar1") }.Select(t => First("access-1", t.Item2, t.Item1, _asked)).ToList();
        var stacks = tests.Select(Stack).ToList();
        foreach (var row in new[] { "TM3.40", "TM-SP2", "TM-A-22" })
        {
            rows.Check(
                row, "home test through the tunnel and under ESP, care-of test directly and in clear, both before the update",
                stacks.SequenceEqual(["ipv6 esp ipv6 mipv6", "ipv6 mipv6", "ipv6 esp ipv6 mipv6", "ipv6 mipv6"]) && tests[0]!.To(HomeAgent) && tests[1]!.To(Correspondent) && Update() is { } sent && tests.All(t => t!.Time < sent.Time),
                string.Join("; ", tests.Zip(stacks, (t, s) => $"{s} {t?.Source} > {t?.Destination}")));
        }

        var home = On("access-1", _started).FirstOrDefault(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate) && p.To(HomeAgent));
        var certificates = On("access-1", _started, home?.Time ?? 0).Count(p => p.Is("isakmp.exchangetype", Auth) && p.Of("isakmp.typepayload").Contains(CertificatePayload));
        rows.Check("TM-S2", "both ends prove themselves with certificates by IKEv2, the update has the K flag, and home tests go under an association of their own",
            certificates >= 2 && home is not null && home.Of("mip6.bu.k_flag").Any(f => f is "1" or "True") && home.First("esp.spi") is { } spi && tests[0]?.First("esp.spi") is { } other && spi != other,
            $"{certificates} IKE_AUTH messages with certificates; K {home?.First("mip6.bu.k_flag")}; SPI {home?.First("esp.spi")}, home test {tests[0]?.First("esp.spi")}");
        var lists = _shown["binding-list bound"].Select(b => $"{Text(b, "list")} {Text(b, "peer")}").Order().ToList();
        rows.Check("TM-P9", "the data path's binding list has the correspondent alone, the registration's the home agent too; the tunnel leads to the home agent",
            lists.SequenceEqual(new[] { $"forwarding {Correspondent}", $"registration {HomeAgent}", $"registration {Correspondent}" }.Order()) && _shown["tunnels bound"] is [var tunnel] && Text(tunnel, "end") == HomeAgent, $"{string.Join(", ", lists)}; {string.Join("; ", _shown["tunnels bound"])}");
        foreach (var row in new[] { "TM3.41", "TM-L15" })
        {
            rows.Check(row, "the update goes to the correspondent with the Home Address option, nonce indices and authorization data", Stack(Update()) == "ipv6 ipv6.dstopts mipv6" && Update()!.Is("ipv6.opt.mipv6.home_address", Home) && Update()!.First("mip6.ni.hni") is not null && Update()!.First("mip6.bad.auth") is not null,
                $"{Stack(Update())} {Update()?.Source} > {Update()?.Destination}");
        }

        var answer = On("access-1", _asked).FirstOrDefault(p => p.Sender == "ar1" && p.Is("mip6.mhtype", BindingAcknowledgement) && p.From(Correspondent));
        foreach (var row in new[] { "TM3.42", "TM-L16" })
        {
            rows.Check(row, "it is acknowledged with routing header and authorization data, without IPsec", Stack(answer) == "ipv6 ipv6.routing mipv6" && answer!.Is("ipv6.routing.mipv6.home_address", Home) && answer.Is("mip6.ba.status", "0") && answer.First("mip6.bad.auth") is not null, $"{Stack(answer)}, status {answer?.First("mip6.ba.status")}");
        }

        var careOf = $"{Update()?.Source}";
        rows.Check("TM-R104", "the correspondent has the binding", _bound && _shown["bindings bound"].Any(b => Text(b, "homeAddress") == Home && Text(b, "careOfAddress") == careOf), string.Join("; ", _shown["bindings bound"]));
        var (up, down) = (Echo("access-1", "mn", EchoRequest, Correspondent, _optimised, _moved), Echo("access-1", "ar1", EchoReply, Correspondent, _optimised, _moved));
        rows.Check("TM-L12", "up: care-of address, Home Address option", up.Count == 5 && up.All(p => Stack(p).StartsWith("ipv6 ipv6.dstopts icmpv6", StringComparison.Ordinal) && p.From(careOf) && p.To(Correspondent)), $"{up.Count} of {Stack(up.FirstOrDefault())}");
        rows.Check("TM-L11", "down: to the care-of address with the routing header", down.Count == 5 && down.All(p => Stack(p).StartsWith("ipv6 ipv6.routing icmpv6", StringComparison.Ordinal) && p.From(Correspondent) && p.To(careOf)), $"{down.Count} of {Stack(down.FirstOrDefault())}");
        var past = On("core-ha", _optimised, _moved).Count(p => (p.Is("icmpv6.type", EchoRequest) || p.Is("icmpv6.type", EchoReply)) && !Ends(p).Contains(Plain, StringComparison.Ordinal));
        var programs = _shown["events"].Select(e => Text(e, "text")).ToList();
        foreach (var row in new[] { "TM4.4", "TM4.7", "TM0.7", "TM-C9" })
        {
            rows.Check(row, "unmodified pings go and come by the short way, the home agent's link carries none of them; program 10013 ran", _direct!.Received > 0 && up.Count == 5 && down.Count == 5 && past == 0 && programs.Exists(t => t.StartsWith("10013", StringComparison.Ordinal)),
                $"{_direct.Summary}; {past} at the home agent; {string.Join(", ", programs.Select(t => t.Split(':')[0]).Distinct())}");
        }

        var tunnelled = Echo("access-1", "mn", EchoRequest, Plain, _optimised, _moved);
        // On the wire, too: a ping of the system does not wait for late replies.
        var back = Echo("access-1", "ar1", EchoReply, Plain, _optimised, _moved);
        rows.Check("TM-R104", "a correspondent that knows nothing of it is reached through the tunnel", _toPlain!.Received > 0 && back.Count == 5 && tunnelled.Count == 5 && tunnelled.All(p => Stack(p).StartsWith("ipv6 ipv6 icmpv6", StringComparison.Ordinal)), $"{_toPlain.Summary}; {Stack(tunnelled.FirstOrDefault())}");

        DissectedPacket? Update() => On("access-1", _asked).FirstOrDefault(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate) && p.To(Correspondent));
    }

    private void Moving(RowBook rows)
    {
        var binding = _shown["bindings moved"].FirstOrDefault(b => Text(b, "homeAddress") == Home);
        var data = On("access-2", _moved, _cleared).Where(p => p.Sender == "ar2" && p.Has("tcp") && p.Has("ipv6.routing")).ToList();
        rows.Check("TM-C9", "a download by curl goes on by the short way after a move, and is whole", _hash.Length > 0 && _received == _hash && Text(binding, "careOfAddress").StartsWith("2001:db8:5b:", StringComparison.Ordinal) && data.Count > 100 && data.All(p => p.To(Text(binding, "careOfAddress"))),
            string.Create(CultureInfo.InvariantCulture, $"{_received} of {_hash}; {data.Count} packets with routing header after the move; {binding}"));
        var update = On("access-2", _moved).FirstOrDefault(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate) && p.To(Correspondent));
        if (update is not null)
        {
            rows.Measure("from the move to the update of the correspondent", (update.Time - _moved) / 1e6, "ms");
        }
    }

    private void Error(RowBook rows)
    {
        var error = On("access-2", _cleared).FirstOrDefault(p => p.Sender == "ar2" && p.Is("mip6.mhtype", BindingError));
        rows.Check("TM-L17", "the correspondent that has no binding any more answers the option with a binding error, without routing header", Stack(error) == "ipv6 mipv6" && error!.From(Correspondent) && error.Is("mip6.be.status", "1"), $"{Stack(error)}, status {error?.First("mip6.be.status")}");
        var after = Echo("access-2", "mn", EchoRequest, Correspondent, error?.Time ?? _cleared, _back);
        var tunnelled = after.FirstOrDefault(p => Stack(p).StartsWith("ipv6 ipv6 icmpv6", StringComparison.Ordinal));
        var direct = after.LastOrDefault();
        foreach (var row in new[] { "TM4.5", "TM-AC13", "TM3.48", "TM-A-23", "TM-R1" })
        {
            rows.Check(
                row, "after a restart without the binding the entry is removed and counted once, packets go by way of home, and the short way comes back after new tests",
                _errors == 1 && _shown["bindings restarted"].Count == 0 && tunnelled is not null && _boundAgain && direct is not null && Stack(direct).StartsWith("ipv6 ipv6.dstopts icmpv6", StringComparison.Ordinal) && direct.Time > tunnelled.Time && First("access-2", "mn", CareOfTestInit, error?.Time ?? long.MaxValue) is not null && _again!.Received > 0,
                string.Create(CultureInfo.InvariantCulture, $"be.binding_deleted +{_errors}; then {Stack(tunnelled)}, at the end {Stack(direct)}; {_again!.Summary}"));
        }
    }

    private async Task DownloadAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("curl downloads 4 MB on the host, which moves meanwhile");
        var folder = run.Directory.FolderOf("cn");
        var content = RandomNumberGenerator.GetBytes(Octets);
        await File.WriteAllBytesAsync(Path.Combine(folder, "file"), content, cancellation);
        _hash = Convert.ToHexStringLower(SHA256.HashData(content));
        await using var server = await ForeignProgram.StartAsync(
            run, "cn", ["python3", "-m", "http.server", "-b", Correspondent, "-d", folder, "8000"], ForeignProgram.Listens(run, "cn", 8000, cancellation), cancellation);
        var target = Path.Combine(run.Directory.FolderOf("mn"), "file");
        var download = run.ExecuteAsync("mn", ["curl", "-6", "-sS", "--max-time", "20", "--limit-rate", "1M", "-o", target, $"http://[{Correspondent}]:8000/file"], cancellation);
        await Task.Delay(1500, cancellation);
        _moved = LabRun.Now;
        var radio = run.Network.Radio("mn", "eth0");
        radio.Leave();
        await Task.Delay(50, cancellation);
        radio.Reach("access-2");
        var result = await download;
        _received = result.ExitCode == 0 ? Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(target, cancellation))) : $"{result}: {result.Errors.Trim()}";
    }

    /// <summary>The correspondent has lost what it knew, the terminal has not heard of it.</summary>
    private async Task ForgetAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The correspondent is killed and started again; the host pings it");
        await Task.Delay(s_quiet, cancellation);
        var before = await CounterAsync(run, "be.binding_deleted", cancellation);
        _cleared = LabRun.Now;
        await run.Node("cn").KillAsync();
        await run.Node("cn").StartAsync(cancellation);
        await TakeAsync(run, "restarted", cancellation);
        await LabRun.UntilAsync(async () => (await run.PingAsync("core", Correspondent, new PingOptions(1) { Wait = TimeSpan.FromMilliseconds(500) }, cancellation)).Received > 0, TimeSpan.FromSeconds(10), cancellation);
        _again = await run.PingAsync("mn", Correspondent, new PingOptions(20), cancellation);
        _boundAgain = await BoundAsync(run, "2001:db8:5b:", cancellation);
        await run.PingAsync("mn", Correspondent, new PingOptions(2), cancellation);
        _errors = await CounterAsync(run, "be.binding_deleted", cancellation) - before;
        _back = LabRun.Now;
    }

    private async Task TakeAsync(LabRun run, string moment, CancellationToken cancellation)
    {
        foreach (var (node, table) in new[] { ("cn", "bindings"), ("mn", "binding-list"), ("mn", "tunnels") })
        {
            _shown[$"{table} {moment}"] = [.. PathLines.Rows(await run.ShowAsync(node, table, cancellation))];
        }
    }

    private static Task<bool> BoundAsync(LabRun run, string network, CancellationToken cancellation) => LabRun.UntilAsync(
        async () => PathLines.Rows(await run.ShowAsync("cn", "bindings", cancellation)).Any(b => Text(b, "homeAddress") == Home && Text(b, "careOfAddress").StartsWith(network, StringComparison.Ordinal)), TimeSpan.FromSeconds(5), cancellation);

    private static async Task<long> CounterAsync(LabRun run, string name, CancellationToken cancellation) =>
        (await run.ShowAsync("mn", "counters", cancellation)).GetProperty("counters").TryGetProperty(name, out var count) ? count.GetInt64() : 0;

    private DissectedPacket? First(string link, string sender, string type, long from) => On(link, from).FirstOrDefault(p => p.Sender == sender && p.Is("mip6.mhtype", type));

    private List<DissectedPacket> Echo(string link, string sender, string type, string correspondent, long from, long to) =>
        [.. On(link, from, to).Where(p => p.Sender == sender && p.Is("icmpv6.type", type) && Ends(p).Contains(correspondent, StringComparison.Ordinal))];

    private IEnumerable<LadderStep> Steps(long from, long to)
    {
        foreach (var packet in Packets.Where(p => p.Link is "access-1" or "access-2" && p.Time >= from && p.Time <= to && p.First("mip6.mhtype") is not null))
        {
            var name = packet.First("mip6.mhtype") switch { HomeTestInit => "HoTI", CareOfTestInit => "CoTI", HomeTest => "HoT", CareOfTest => "CoT", BindingUpdate => "BU", BindingAcknowledgement => "BA", BindingError => "BE", _ => "MH" };
            var other = packet.To(Correspondent) || packet.From(Correspondent) ? "cn" : "ha";
            var outward = packet.Sender == "mn";
            yield return new LadderStep((packet.Time - from) / 1e6, outward ? "mn" : other, outward ? other : "mn", name, $"{packet.Source} > {packet.Destination}", LadderKind.Binding);
        }
    }
}
