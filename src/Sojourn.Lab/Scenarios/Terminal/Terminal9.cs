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

/// <summary>TM9: one running terminal takes its method from the control signal that comes back (spec terminal 5.9, AC35).</summary>
public sealed partial class Terminal9 : TerminalScenario
{
    private const string HomeAgent = "2001:db8:1::1", Home = "2001:db8:1::100", AnchorPoint = "2001:db8:3b::1", Correspondent = "2001:db8:6::2", Plain = "2001:db8:7::2", Virtual = "198.18.0.1";

    /// <summary>What the terminal's link-layer address makes of the three prefixes.</summary>
    private const string CareOf = "2001:db8:5a::ff:fe00:d001", OnLink = "2001:db8:5b::ff:fe00:d001", Regional = "2001:db8:3b::ff:fe00:d001";

    /// <summary>Of the download over three methods, and of the one by IPv4.</summary>
    private const int Octets = 4 << 20, FewOctets = 256 << 10;

    private static readonly TimeSpan s_switchOn = TimeSpan.FromSeconds(40), s_move = TimeSpan.FromSeconds(15), s_outOfReach = TimeSpan.FromMilliseconds(20);

    private readonly Dictionary<string, Moment> _moments = [];
    private readonly Dictionary<string, string> _hashes = [];
    private IReadOnlyList<string> _ran = [], _discarded = [];
    private string _received = "", _page = "", _shownAs = "", _renumbered = "";
    private (int? First, int? Last) _process;

    /// <summary>The terminal while one method is in use.</summary>
    /// <param name="From">When it came to it; nanoseconds since 1970.</param>
    /// <param name="Settled">When the control signal had been taken, and before anything was sent for this moment.</param>
    /// <param name="Ran">Programs that had run by the end of it.</param>
    private sealed record Moment(long From, long Settled, long To, PingResult Up, string AtHome, string AtCorrespondent, string AtAnchor, string Host, IReadOnlyList<string> Ran);

    public override string Name => "terminal/9";

    /// <summary>A router's kernel that finds nobody on the link any more quotes segments it has cut itself, and tshark reckons their checksum with the address of a routing header.</summary>
    public override string? Damaged(string link) => $"{base.Damaged(link)} || (icmpv6.type == 1 && icmpv6.code == 3)";

    protected override IReadOnlyList<string> Fields => [.. base.Fields, .. Layouts.Fields, "icmpv6.code", "icmpv6.opt.map.global_address", "icmpv6.opt.map.distance", "icmpv6.opt.map.preference", "icmpv6.opt.map.valid_lifetime", "icmpv6.rr.pco.mp.opcode", "ip.src"];

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        if (LabCommand.Find("curl") is null || LabCommand.Find("python3") is null)
        {
            throw new ScenarioException("this scenario needs curl and python3 (Debian packages of these names)");
        }

        run.Progress.Step("Home agent, anchor point, routers and correspondents run; the terminal is switched on where no anchor point is");
        Certify(run, [("ha", HomeAgent), ("mn", null)]);
        SetAddress(run, "mn", 1);
        await using var advertiser = await RouterAdvertiser.StartAsync(run, "core", "cn", "2001:db8:6::/64", managed: false, cancellation);
        await Task.WhenAll(((string[])["ha", "ar-a", "ar-b", "map", "map-ra", "cn"]).Select(node => run.Node(node).StartAsync(cancellation)));
        await using var server = await ServeAsync(run, "cn", Correspondent, Octets, cancellation);
        await using var plainServer = await ServeAsync(run, "plain", Plain, FewOctets, cancellation);
        await AttachAsync(run, "tunnel", Plain, async () =>
        {
            await run.Node("mn").StartAsync(cancellation);
            await ReachAsync(run, "mn", "REG", s_switchOn, cancellation);
        }, cancellation);
        _process.First = run.Node("mn").ProcessId;

        run.Progress.Step("curl on the host begins a download, which its correspondent soon sends by the short way");
        var target = Path.Combine(run.Directory.FolderOf("mn"), "file");
        Task<CommandResult>? download = null;
        await AttachAsync(run, "short way", Correspondent, async () =>
        {
            download = run.ExecuteAsync("mn", ["curl", "-6", "-sS", "--max-time", "120", "--limit-rate", "400K", "-o", target, $"gopher://[{Correspondent}]:9/9file"], cancellation);
            await AwaitAsync(run, "the correspondent binds the care-of address", async () => await CareOfAsync(run, "cn", cancellation) == CareOf, s_move, cancellation);
        }, cancellation);

        run.Progress.Step("The terminal moves to a network with an anchor point");
        await AttachAsync(run, "anchored", Plain, async () =>
        {
            await MoveAsync(run, "access-b", cancellation);
            await AwaitAsync(run, "the anchor point knows the terminal", async () => await CareOfAsync(run, "map", cancellation, Regional) == OnLink, s_move, cancellation);
            await AwaitAsync(run, "the home agent has the regional address", async () => await CareOfAsync(run, "ha", cancellation) == Regional, s_move, cancellation);
            await AwaitAsync(run, "the correspondent has it too", async () => await CareOfAsync(run, "cn", cancellation) == Regional, s_move, cancellation);
        }, cancellation);
        var fetched = await download!;
        _received = fetched.ExitCode == 0 ? Hash(await File.ReadAllBytesAsync(target, cancellation)) : $"{fetched}: {fetched.Errors.Trim()}";

        run.Progress.Step("The operator makes translation valid, and the terminal moves back");
        await OperateAsync(run, ["terminal", "scenario", "10010", "valid", "--socket", run.Node("mn").Control.SocketPath], cancellation);
        await AttachAsync(run, "translated", Plain, async () =>
        {
            await MoveAsync(run, "access-a", cancellation);
            await AwaitAsync(run, "the host has a virtual address", async () => (await AddressesAsync(run, cancellation)).Contains($" {Virtual}/", StringComparison.Ordinal), s_move, cancellation);
            await ReachAsync(run, "mn", "REG", s_move, cancellation);
        }, cancellation);

        run.Progress.Step("The operator's station tells this network's router of the anchor point");
        await AttachAsync(run, "renumbered", Plain, async () =>
        {
            _renumbered = await RenumberAsync(run, cancellation);
            await AwaitAsync(run, "the anchor point knows the terminal", async () => await CareOfAsync(run, "map", cancellation, Regional) == CareOf, s_move, cancellation);
            await AwaitAsync(run, "the home agent has the regional address", async () => await CareOfAsync(run, "ha", cancellation) == Regional, s_move, cancellation);
            await ReachAsync(run, "mn", "REG", s_move, cancellation);
        }, cancellation);
        _process.Last = run.Node("mn").ProcessId;
        _ran = await EventsAsync(run, "mn", "scenario.run", cancellation);
        _discarded = await EventsAsync(run, "mn", "scenario.discarded", cancellation);
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures)
    {
        (string Title, string Moment, string Link)[] chapters = [("The home agent answers", "tunnel", "access-a"), ("The correspondent answers", "short way", "access-a"), ("The anchor point answers", "anchored", "access-b"), ("The home agent answers again", "translated", "access-a"), ("The anchor point answers again", "renumbered", "access-a")];
        return
        [
            .. chapters.Where(c => _moments.ContainsKey(c.Moment)).Select(c => new LadderChapter(c.Title, new Ladder(
                ["mn", "map", "ha", "cn"],
                [
                    .. SignallingSteps("mn", new Dictionary<string, string> { [HomeAgent] = "ha", [Correspondent] = "cn" }, new Dictionary<string, string> { [c.Link] = "map" }, _moments[c.Moment].From)
                        .Where(s => s.Milliseconds < (_moments[c.Moment].Settled - _moments[c.Moment].From) / 1e6),
                ]))),
        ];
    }

    private static string Hash(byte[] octets) => Convert.ToHexStringLower(SHA256.HashData(octets));

    private async Task<ForeignProgram> ServeAsync(LabRun run, string node, string address, int octets, CancellationToken cancellation)
    {
        var content = RandomNumberGenerator.GetBytes(octets);
        var file = Path.Combine(run.Directory.FolderOf(node), "file");
        await File.WriteAllBytesAsync(file, content, cancellation);
        _hashes[node] = Hash(content);
        return await ForeignProgram.StartAsync(run, node, ["python3", "-c", Terminal4.Server, address, file], ForeignProgram.Listens(run, node, 9, cancellation), cancellation);
    }

    private static async Task MoveAsync(LabRun run, string link, CancellationToken cancellation)
    {
        var radio = run.Network.Radio("mn", "eth0");
        radio.Leave();
        await Task.Delay(s_outOfReach, cancellation);
        radio.Reach(link);
    }

    /// <summary>Brings the terminal to a method, has its host ping somebody, and takes what the nodes show.</summary>
    private async Task AttachAsync(LabRun run, string moment, string peer, Func<Task> arrive, CancellationToken cancellation)
    {
        var from = LabRun.Now;
        await arrive();
        var settled = LabRun.Now;
        var up = moment switch
        {
            "translated" => await UseIPv4Async(run, cancellation),
            "renumbered" => await run.PingAsync("mn", _shownAs, new PingOptions(5), cancellation),
            _ => await run.PingAsync("mn", peer, new PingOptions(5), cancellation),
        };
        run.Progress.Note($"{moment}: {up.Summary}");
        _moments[moment] = new Moment(
            from, settled, LabRun.Now, up, await CareOfAsync(run, "ha", cancellation), await CareOfAsync(run, "cn", cancellation), await CareOfAsync(run, "map", cancellation, Regional),
            await AddressesAsync(run, cancellation), await EventsAsync(run, "mn", "scenario.run", cancellation));
    }

    /// <summary>The correspondent calls first; then IPv4 programs of the host use the address they know it by.</summary>
    private async Task<PingResult> UseIPv4Async(LabRun run, CancellationToken cancellation)
    {
        await run.PingAsync("plain", Home, new PingOptions(2), cancellation);
        _shownAs = Text(PathLines.Rows(await run.ShowAsync("mn", "translation", cancellation)).FirstOrDefault(t => Text(t, "ipv6Address") == Plain), "ipv4Address");
        var target = Path.Combine(run.Directory.FolderOf("mn"), "file4");
        var fetched = await run.ExecuteAsync("mn", ["curl", "-4", "-sS", "--max-time", "60", "-w", "%{local_ip} %{remote_ip}", "-o", target, $"gopher://{_shownAs}:9/9file"], cancellation);
        var same = fetched.ExitCode == 0 && Hash(await File.ReadAllBytesAsync(target, cancellation)) == _hashes["plain"];
        _page = string.Create(CultureInfo.InvariantCulture, $"{(same ? "whole" : "not whole")}, {fetched.Output.Trim()}{fetched.Errors.Trim()}");
        return await run.PingAsync("mn", _shownAs, new PingOptions(5), cancellation);
    }

    /// <summary>By a program that has nothing to do with us but the preset keys.</summary>
    /// <returns>What the router answered it.</returns>
    private static async Task<string> RenumberAsync(LabRun run, CancellationToken cancellation)
    {
        var keys = File.ReadLines(NodeFiles.EspKeysOf(run.Directory, "ar-a")).Select(line => line.Split("\",\"")).Where(f => f.Length >= 8).ToDictionary(f => f[3]);
        object Key(int spi)
        {
            var fields = keys[string.Create(CultureInfo.InvariantCulture, $"0x{spi:x8}")];
            return new { spi, encryption = fields[5].Replace("0x", "", StringComparison.Ordinal), authentication = fields[7].Replace("0x", "", StringComparison.Ordinal).Trim('"') };
        }

        var request = Path.Combine(run.Directory.FolderOf("plain"), "command.json");
        var asked = new { station = Plain, router = "2001:db8:51::2", sequence = 7, match = "2001:db8:5a::", length = 64, anchor = AnchorPoint, distance = 3, preference = 12, lifetime = 900, @out = Key(0xC01), @in = Key(0xC02) };
        await File.WriteAllTextAsync(request, JsonSerializer.Serialize(asked), cancellation);
        var result = await run.ExecuteAsync("plain", ["/usr/bin/python3", Path.Combine(ScenarioDefinition.Root, "terminal/9", "renumber.py"), request], cancellation);
        return (result.Output + result.Errors).Trim();
    }

    private static async Task<string> CareOfAsync(LabRun run, string node, CancellationToken cancellation, string home = Home) =>
        PathLines.Rows(await run.ShowAsync(node, "bindings", cancellation)).Where(b => Text(b, "homeAddress") == home).Select(b => Text(b, "careOfAddress")).FirstOrDefault("");

    /// <summary>Interface 19.</summary>
    private static async Task<string> AddressesAsync(LabRun run, CancellationToken cancellation) =>
        string.Join(' ', (await run.ExecuteAsync("mn", ["ip", "-o", "addr", "show", "dev", "mip0"], cancellation)).Output.Split((char[])[' ', '\n', '\\'], StringSplitOptions.RemoveEmptyEntries)) + " ";
}
