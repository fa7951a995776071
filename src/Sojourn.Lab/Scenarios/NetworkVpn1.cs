using System.Net;
using System.Text.Json;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Network;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios;

/// <summary>NV1: first registration, static path between home agent and company (spec network-vpn section 5).</summary>
public sealed partial class NetworkVpn1 : Scenario
{
    private static readonly IPAddress Alice = IPAddress.Parse("10.99.0.10"), Bob = IPAddress.Parse("10.99.0.11"), Eve = IPAddress.Parse("10.99.0.12"),
        Host = IPAddress.Parse("192.168.50.10"), Agent = IPAddress.Parse("10.0.1.2"), Home = IPAddress.Parse("10.0.3.2"), Company = IPAddress.Parse("10.0.5.2"),
        Trudy = IPAddress.Parse("10.88.0.10"), SecondAgent = IPAddress.Parse("10.0.11.2");

    /// <summary>Inbound SPI of the preset association of the second foreign agent.</summary>
    private const uint PresetSpi = 0x2012;

    /// <summary>Parts of the names under which refused input is counted.</summary>
    private static readonly string[] RefusalNames = ["malformed", "unexpected", "unknown", "refused", "bad"];

    private const string SoundProfile = "a sound profile";

    /// <summary>What the stranger sends: packets of each protocol to every gateway, connections to every AAA server.</summary>
    private const int NoisePackets = 50, NoiseConnections = 5;

    private readonly Tables _tables = new();
    private PingResult? _before, _up, _down, _bobPing, _evePing, _marked, _ecn, _whole, _tooBig, _fits, _during, _afterMallory, _afterNoise, _bobAgain;
    private SeenRegistration? _alice, _bob, _eve, _mallory, _bobSecond;
    private IReadOnlyList<string> _aliceSockets = [], _hostSockets = [], _aliceDevices = [], _hostDevices = [];
    private IReadOnlyList<string> _agentRoutes = [];
    private CommandResult? _profiles, _gateways, _databaseShown, _cacheShown;
    private (long Time, byte[] Frame)? _replayed;
    private readonly List<int> _mtus = [];
    private readonly List<(string Suite, CommandResult Check)> _staticKeys = [];
    private long _replayUntil;
    private readonly Dictionary<string, int> _noise = [];
    private readonly List<(string What, SeenRegistration Registration, bool Asked)> _careless = [];

    public override string Name => "network-vpn/1";

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        await ProvisionedAsync(run, cancellation);
        await KeyedAsync(run, cancellation);
        run.Progress.Step("The company's tunnel stands before anybody has logged in");
        await _tables.TakeAsync(run, "before", cancellation);
        _before = await run.PingAsync("cn", Alice.ToString(), new PingOptions(3) { Wait = TimeSpan.FromMilliseconds(400) }, cancellation);
        _kernelBefore = await LookIntoKernelAsync(run, cancellation);

        await run.WarmUpAsync("alice", "access-alice", Host.ToString(), cancellation);
        _alice = await run.RegisterAndLookAsync("alice", "access-alice", () => _tables.TakeAsync(run, "reply", cancellation), cancellation);
        run.Progress.Step("Alice pings the company host");
        _up = await run.PingAsync("alice", Host.ToString(), new PingOptions(20), cancellation);
        run.Progress.Note(_up.Summary);
        _down = await run.PingAsync("cn", Alice.ToString(), new PingOptions(5), cancellation);
        _kernelAfter = await LookIntoKernelAsync(run, cancellation);
        await LookForProgramsAsync(run, cancellation);
        await _tables.TakeAsync(run, "alice", cancellation);
        _agentRoutes = Routes(run, "fa1");
        _databaseShown = await run.SojournAsync(["show", "vpn-db", "--json", "--socket", run.Node("aaah").Control.SocketPath], cancellation);
        _cacheShown = await run.SojournAsync(["show", "vpn-cache", "--json", "--socket", run.Node("aaah").Control.SocketPath], cancellation);

        _bob = await run.RegisterAsync("bob", "access-bob", cancellation);
        _bobPing = await run.PingAsync("bob", Host.ToString(), new PingOptions(5) { TypeOfService = 0x48 }, cancellation);
        await _tables.TakeAsync(run, "bob", cancellation);

        _eve = await run.RegisterAsync("eve", "access-eve", cancellation);
        run.Progress.Step("Eve, whom the company did not list, tries the company host");
        _evePing = await run.PingAsync("eve", Host.ToString(), new PingOptions(5) { Wait = TimeSpan.FromMilliseconds(600) }, cancellation);
        run.Progress.Note(_evePing.Summary);
        await _tables.TakeAsync(run, "eve", cancellation);

        await MarksAsync(run, cancellation);
        await SizesAsync(run, cancellation);
        await ReplayAsync(run, cancellation);
        await WrappedAsync(run, cancellation);
        await ImpostorAsync(run, cancellation);
        await StrangerAsync(run, cancellation);
        await CarelessAaaAsync(run, cancellation);
        await RemovalAsync(run, cancellation);

        _aliceSockets = run.Sockets("alice");
        _hostSockets = run.Sockets("cn");
        _aliceDevices = Devices(run, "alice");
        _hostDevices = Devices(run, "cn");
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures)
    {
        var chapters = new List<LadderChapter>();
        if (_alice is not null && _up is not null)
        {
            chapters.Add(new LadderChapter("Alice registers and pings the company host", Ladder.Of(captures, _alice.From, _up.To, Alice)));
        }

        if (_bob is not null && _bobPing is not null)
        {
            chapters.Add(new LadderChapter("Bob, a second user between the same gateways", Ladder.Of(captures, _bob.From, _bobPing.To, Bob)));
        }

        if (_eve is not null && _evePing is not null)
        {
            chapters.Add(new LadderChapter("Eve, whom the company did not list", Ladder.Of(captures, _eve.From, _evePing.To, Eve)));
        }

        if (_mallory is not null && _afterMallory is not null)
        {
            chapters.Add(new LadderChapter("An impostor with Alice's name and a wrong key", Ladder.Of(captures, _mallory.From, _afterMallory.From, Alice)));
        }

        return chapters;
    }

    private async Task ProvisionedAsync(LabRun run, CancellationToken cancellation)
    {
        var database = NodeFiles.DatabaseOf(run.Directory, "aaah");
        _profiles = await run.SojournAsync(["profile", "list", "--database", database, "--json"], cancellation);
        _gateways = await run.SojournAsync(["gateway", "list", "--database", database, "--json"], cancellation);

        // A configuration with a typed-in key, right but for one word: a counter-mode suite (spec M5).
        var folder = run.Directory.FolderOf("rejected");
        foreach (var suite in (string[])["aes128-gcm16", "chacha20-poly1305"])
        {
            var wrong = Path.Combine(folder, suite + ".yaml");
            File.WriteAllText(wrong, File.ReadAllText(NodeFiles.ConfigurationOf(run.Directory, "fa2"))
                .Replace("aes128-cbc-hmac-sha256", suite, StringComparison.Ordinal)
                .Replace("node.crt", "../fa2/node.crt", StringComparison.Ordinal)
                .Replace("node.key", "../fa2/node.key", StringComparison.Ordinal));
            _staticKeys.Add((suite, await run.SojournAsync(["check", wrong], cancellation)));
        }
    }

    private async Task MarksAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Marks: DSCP by profile, congestion marked on the core");
        _marked = await run.PingAsync("alice", Host.ToString(), new PingOptions(5), cancellation);
        var wire = run.Network.Wire("core-fa1");
        wire.Tap = frame => frame.Sender == 0 && Ipv4Packet.Of(frame) is { Ecn: 2, Protocol: 4 or 50 or 51 } packet ? MarkCongestion(frame, packet) : WireVerdict.Pass;
        _ecn = await run.PingAsync("alice", Host.ToString(), new PingOptions(5) { TypeOfService = 2 }, cancellation);
        wire.Tap = null;
    }

    private async Task SizesAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Packets of 1500 octets, with and without DF");
        _whole = await run.PingAsync("alice", Host.ToString(), new PingOptions(3) { Size = 1472, DontFragment = false }, cancellation);
        _tooBig = await run.PingAsync("alice", Host.ToString(), new PingOptions(3) { Size = 1472, DontFragment = true }, cancellation);

        // Two tunnels in a row may differ in what they add: each tells its own limit, as routers on a path do (RFC 1191).
        for (var told = _tooBig.MtuTold; told is { } mtu && _fits is not { Received: > 0 } && _mtus.Count < 4; told = _fits.MtuTold)
        {
            _mtus.Add(mtu);
            _fits = await run.PingAsync("alice", Host.ToString(), new PingOptions(3) { Size = mtu - 28, DontFragment = true }, cancellation);
        }
    }

    private async Task ReplayAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("A protected packet is sent a second time");
        var from = LabRun.Now;
        await run.PingAsync("alice", Host.ToString(), new PingOptions(1), cancellation);
        var wire = run.Network.Wire("core-ha");
        var captured = wire.Recording.Frames().FirstOrDefault(f => f.Time >= from && f.Sender == 1 && Ipv4Packet.Of(f) is { } p && p.Source.Equals(Agent) && p.Protocol is 50 or 51 or 4);
        if (captured is not null)
        {
            _replayed = (LabRun.Now, captured.Data);
            wire.Inject(1, captured.Data, "sent again by the scenario");
            await Task.Delay(300, cancellation);
        }

        _replayUntil = LabRun.Now;
        await _tables.TakeAsync(run, "replay", cancellation);
    }

    private async Task ImpostorAsync(LabRun run, CancellationToken cancellation)
    {
        await _tables.TakeAsync(run, "before-mallory", cancellation);
        _mallory = await run.RegisterAsync("mallory", "access-mallory", cancellation);
        await run.Node("mallory").StopAsync();
        await _tables.TakeAsync(run, "mallory", cancellation);
        _afterMallory = await run.PingAsync("alice", Host.ToString(), new PingOptions(5), cancellation);
    }

    /// <summary>Noise on every port of every node.</summary>
    private async Task StrangerAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("A stranger sends every node noise on every port");
        await _tables.TakeAsync(run, "quiet", cancellation);
        var stranger = new Stranger(66);
        foreach (var node in (string[])["fa1", "fa2", "ha", .. run.Showing.Any(n => n.Name == "sgw") ? (string[])["sgw"] : []])
        {
            _noise[node] = stranger.Send(run, "core-" + node, NoisePackets);
        }

        foreach (var (node, address) in ((string, string)[])[("aaaf", "10.0.2.2"), ("aaah", "10.0.6.2")])
        {
            await stranger.DialAsync(run, "rogue", new IPEndPoint(IPAddress.Parse(address), 5658), NoiseConnections, cancellation);
            _noise[node] = NoiseConnections;
        }

        await Task.Delay(500, cancellation);
        await _tables.TakeAsync(run, "noise", cancellation);
        _ = await run.PingAsync("alice", Host.ToString(), new PingOptions(2), cancellation);
        _afterNoise = await run.PingAsync("alice", Host.ToString(), new PingOptions(5), cancellation);
    }

    /// <summary>NV-A21: the same answer three times, once right and twice with one thing wrong in its profile.</summary>
    private async Task CarelessAaaAsync(LabRun run, CancellationToken cancellation)
    {
        await using var rogue = new RogueAaa(run, "rogue", IPAddress.Parse("10.0.7.2"), "fa2-rogue");
        var good = RogueAaa.GoodProfile(Trudy, SecondAgent, Home);
        foreach (var (what, profile) in ((string, VpnProfile)[])
            [("an unknown algorithm", good with { Algorithm = (IpsecAlgorithm)99 }), ("an SPI that is in use at the agent", good with { DownSpi = PresetSpi }), (SoundProfile, good)])
        {
            rogue.Profile = profile;
            var answered = rogue.Answered;
            run.Progress.Note($"the careless AAA server sends {what}");

            // The agent dials the server again within its reconnection time; a node that registers earlier is refused for that.
            await PeerIsUpAsync(run, "fa2", RogueAaa.Identity, cancellation);
            var registration = await run.RegisterAsync("trudy", "access-trudy", cancellation);
            await _tables.TakeAsync(run, what, cancellation);
            _careless.Add((what, registration, rogue.Answered > answered));
            await run.Node("trudy").StopAsync();
        }
    }

    private static async Task PeerIsUpAsync(LabRun run, string node, string peer, CancellationToken cancellation)
    {
        for (var end = DateTime.UtcNow.AddSeconds(40); DateTime.UtcNow < end; await Task.Delay(200, cancellation))
        {
            var peers = await run.ShowAsync(node, "peers", cancellation);
            if (PathLines.Rows(peers).Any(p => TableQuestions.Text(p, "identity") == peer && TableQuestions.Text(p, "up") == "True"))
            {
                return;
            }
        }

        throw new ScenarioException($"{node} has no connection to {peer}");
    }

    private async Task RemovalAsync(LabRun run, CancellationToken cancellation)
    {
        await UseAsync(run, cancellation);
        run.Progress.Step("Bob leaves while Alice goes on");
        var going = run.PingAsync("alice", Host.ToString(), new PingOptions(60) { Interval = TimeSpan.FromMilliseconds(50) }, cancellation);
        await Task.Delay(500, cancellation);
        await run.Node("bob").StopAsync();
        _during = await going;
        await _tables.TakeAsync(run, "bob-gone", cancellation);
        await UsageAsync(run, cancellation);

        run.Progress.Step("Bob's profile is changed in the database; he comes back");
        var variables = run.Definition.Options;
        await run.SojournAsync(
            [
                "profile", "set", "2", "--user", "bob@home.example", "--destination", "192.168.50.0/24", "--up-class", "3", "--down-class", "2",
                "--share", variables.Share, "--security", variables.SecurityName, "--algorithm", variables.Algorithm, "--database", NodeFiles.DatabaseOf(run.Directory, "aaah"),
            ],
            cancellation);
        _bobSecond = await run.RegisterAsync("bob", "access-bob", cancellation);
        _bobAgain = await run.PingAsync("bob", Host.ToString(), new PingOptions(5), cancellation);
        await _tables.TakeAsync(run, "bob-again", cancellation);
    }

    /// <summary>What a congested router does to a packet that allows it (RFC 3168): both ECN bits set, header checksum mended.</summary>
    private static WireVerdict MarkCongestion(CapturedFrame frame, Ipv4Packet packet)
    {
        var changed = frame.Data.ToArray();
        changed[15] |= 3;
        changed[24] = changed[25] = 0;
        var sum = Ipv4Packet.Sum(changed.AsSpan(14, packet.HeaderLength));
        changed[24] = (byte)(sum >> 8);
        changed[25] = (byte)sum;
        return new WireVerdict.Replace(changed, "congestion marked by the scenario");
    }

    private static IReadOnlyList<string> Devices(LabRun run, string node)
    {
        using var route = Rtnetlink.Open(run.Network.Namespace(node));
        return [.. route.Links().Select(l => l.Name)];
    }

    /// <summary>Routes and rules of a node as its kernel tells them, seen from outside.</summary>
    private static IReadOnlyList<string> Routes(LabRun run, string node)
    {
        using var route = Rtnetlink.Open(run.Network.Namespace(node));
        return [.. route.Routes().Select(r => r.ToString()), .. route.Rules().Select(r => r.ToString())];
    }
}
