using System.Globalization;
using System.Net;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Lab.Scenarios;

/// <summary>NV9: rules that hold everywhere (spec network-vpn section 5), and every node of the providers killed under traffic.</summary>
public sealed partial class NetworkVpn9 : Scenario
{
    private const string AliceNai = "alice@home.example", BobNai = "bob@home.example", CarolNai = "carol@home.example", DoraNai = "dora@home.example", EveNai = "eve@home.example";

    private static readonly IPAddress Alice = IPAddress.Parse("10.99.0.10"), Bob = IPAddress.Parse("10.99.0.11"), Carol = IPAddress.Parse("10.99.0.12"), Dora = IPAddress.Parse("10.99.0.13"),
        Eve = IPAddress.Parse("10.99.0.14"), CompanyHost = IPAddress.Parse("192.168.50.10"), Host = IPAddress.Parse("192.168.60.10"), SecondHost = IPAddress.Parse("192.168.70.10"),
        AuthenticatedHost = IPAddress.Parse("192.168.60.11"), EncapsulatedHost = IPAddress.Parse("192.168.70.11"),
        Agent = IPAddress.Parse("10.0.1.2"), NextAgent = IPAddress.Parse("10.0.11.2"), Home = IPAddress.Parse("10.0.3.2"), Partner = IPAddress.Parse("10.0.4.2"), SecondPartner = IPAddress.Parse("10.0.14.2");

    /// <summary>Every node that may hold something of a user.</summary>
    private static readonly string[] Holders = ["fa1", "fa2", "ha", "pcn", "pcn2", "aaaf", "aaah"];

    /// <summary>NV-A28's limit.</summary>
    private static readonly TimeSpan EmptyWithin = TimeSpan.FromSeconds(2);

    /// <summary>Lifetime of Bob's registration, as the scenario file has it.</summary>
    private static readonly TimeSpan BobsLifetime = TimeSpan.FromSeconds(20);

    private readonly Tables _tables = new();
    private readonly List<Crash> _crashes = [];
    private readonly Dictionary<string, (bool Empty, double Seconds, string Left)> _emptied = [];
    private SeenRegistration? _alice, _eve, _bob, _carol, _doraCut, _dora, _again, _mallory, _moved, _back;
    private PingResult? _company, _partner, _second, _evePing, _shared, _during, _cutPing, _authenticated, _encapsulated, _renewing, _afterMallory, _movedPing, _backPing, _afterForgery;
    private IReadOnlyList<string> _routesBefore = [], _routesAfter = [];
    private long _forgedFrom;

    public override string Name => "network-vpn/9";

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        await UsersAsync(run, cancellation);
        await SharedAssociationAsync(run, cancellation);
        await UnreachableGatewayAsync(run, cancellation);
        await RenewalAsync(run, cancellation);
        await ImpostorAsync(run, cancellation);
        await ForgeryAsync(run, cancellation);
        await MovesAsync(run, cancellation);
        foreach (var node in (string[])["ha", "fa1", "pcn", "aaaf", "aaah"])
        {
            _crashes.Add(await CrashAsync(run, node, cancellation));
        }

        await DeparturesAsync(run, cancellation);
    }

    /// <summary>A restarted sender leaps on purpose (decision 0005), which tshark takes for lost packets.</summary>
    public override string? Damaged(string link) => "frame.comment || esp.sequence-analysis.wrong-sequence-number";

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures)
    {
        var chapters = new List<LadderChapter>();
        if (_alice?.Replied is { } replied)
        {
            chapters.Add(new LadderChapter("Alice: one static and two dynamic profiles", Ladder.Of(captures, _alice.From, replied, Alice)));
        }

        if (_again?.Replied is { } renewed)
        {
            chapters.Add(new LadderChapter("Alice registers again where she is", Ladder.Of(captures, _again.From, renewed, Alice)));
        }

        chapters.AddRange(_crashes.Select(c => new LadderChapter($"{c.Node} is killed and comes back", Ladder.Of(captures, c.Killed, c.Flowing ?? c.Began, Alice))));
        return chapters;
    }

    /// <summary>NV9.1, NV9.4, NV9.5.</summary>
    private async Task UsersAsync(LabRun run, CancellationToken cancellation)
    {
        await run.WarmUpAsync("alice", "access-1", CompanyHost.ToString(), cancellation);
        _alice = await run.RegisterAsync("alice", "access-1", cancellation);
        await _tables.TakeAsync(run, "alice", cancellation);
        _company = await run.PingAsync("alice", CompanyHost.ToString(), new PingOptions(5), cancellation);
        _partner = await run.PingAsync("alice", Host.ToString(), new PingOptions(5) { TypeOfService = 0x48 }, cancellation);
        _second = await run.PingAsync("alice", SecondHost.ToString(), new PingOptions(5), cancellation);
        _eve = await run.RegisterAsync("eve", "access-eve", cancellation);
        _evePing = await run.PingAsync("eve", CompanyHost.ToString(), new PingOptions(3) { Wait = TimeSpan.FromMilliseconds(500) }, cancellation);
        await _tables.TakeAsync(run, "eve", cancellation);
    }

    /// <summary>NV9.2, NV-A22.</summary>
    private async Task SharedAssociationAsync(LabRun run, CancellationToken cancellation)
    {
        _bob = await run.RegisterAsync("bob", "access-bob", cancellation);
        _carol = await run.RegisterAsync("carol", "access-carol", cancellation);
        _shared = await run.PingAsync("carol", CompanyHost.ToString(), new PingOptions(3), cancellation);
        await _tables.TakeAsync(run, "shared", cancellation);
        run.Progress.Step("Carol leaves while Bob goes on under the same association");
        var going = run.PingAsync("bob", CompanyHost.ToString(), new PingOptions(60), cancellation);
        await Task.Delay(1000, cancellation);
        await run.Node("carol").StopAsync();
        _during = await going;
        await _tables.TakeAsync(run, "carol-gone", cancellation);
    }

    /// <summary>NV9.3, NV9.9, NV-A29.</summary>
    private async Task UnreachableGatewayAsync(LabRun run, CancellationToken cancellation)
    {
        var wire = run.Network.Wire("core-pcn2");
        wire.Cut = true;
        run.Progress.Step("The second partner's gateway cannot be reached");
        _doraCut = await run.RegisterAsync("dora", "access-dora", cancellation);
        _cutPing = await run.PingAsync("dora", EncapsulatedHost.ToString(), new PingOptions(3) { Wait = TimeSpan.FromMilliseconds(500) }, cancellation);
        await _tables.TakeAsync(run, "cut", cancellation);
        await run.Node("dora").StopAsync();
        wire.Cut = false;
        _dora = await run.RegisterAsync("dora", "access-dora", cancellation);
        _authenticated = await run.PingAsync("dora", AuthenticatedHost.ToString(), new PingOptions(3), cancellation);
        _encapsulated = await run.PingAsync("dora", EncapsulatedHost.ToString(), new PingOptions(3), cancellation);
    }

    /// <summary>NV9.6, NV-A26.</summary>
    private async Task RenewalAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Alice registers again at the same agent, under traffic");
        var going = run.PingAsync("alice", Host.ToString(), new PingOptions(100) { Interval = TimeSpan.FromMilliseconds(20) }, cancellation);
        await Task.Delay(500, cancellation);
        await _tables.TakeAsync(run, "before-renewal", cancellation);
        _routesBefore = Routes(run, "fa1");
        var from = LabRun.Now;
        await run.Node("alice").Control.PostAsync("register", new { serviceUpdate = false }, cancellation);
        _again = await run.AwaitReplyAsync("alice", "access-1", from, cancellation);
        await _tables.TakeAsync(run, "renewed", cancellation);
        _routesAfter = Routes(run, "fa1");
        _renewing = await going;
    }

    /// <summary>NV9.7, NV-A27.</summary>
    private async Task ImpostorAsync(LabRun run, CancellationToken cancellation)
    {
        await _tables.TakeAsync(run, "before-mallory", cancellation);
        _mallory = await run.RegisterAsync("mallory", "access-mallory", cancellation);
        await run.Node("mallory").StopAsync();
        await _tables.TakeAsync(run, "mallory", cancellation);
        _afterMallory = await run.PingAsync("alice", Host.ToString(), new PingOptions(3), cancellation);
    }

    /// <summary>NV9.10: a binding update without the contract's key, and one for somebody who is not here.</summary>
    private async Task ForgeryAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Somebody without the keys sends binding updates to the gateway and to the foreign agent");
        _forgedFrom = LabRun.Now;
        var forger = new BindingAssociation(AuthenticationKind.HomeCorrespondent, 0x300, new KeyMaterial(SystemRandomSource.Instance.NextBytes(32)));
        var update = new BindingUpdate
        {
            Flags = BindingUpdateFlags.AcknowledgementWanted,
            Lifetime = 60,
            HomeAddress = Alice,
            CareOfAddress = NextAgent,
            Supplier = Home,
            Identification = Identification.FromTime(DateTimeOffset.UtcNow),
        };
        foreach (var (link, to, source, message) in ((string, IPAddress, IPAddress, BindingUpdate)[])
            [("core-pcn", Partner, Home, update), ("core-fa1", Agent, NextAgent, update with { Supplier = NextAgent })])
        {
            var wire = run.Network.Wire(link);
            var like = wire.Recording.Frames().Last(f => f.Sender == 1 && Ipv4Packet.Of(f) is not null);
            wire.Inject(1, Datagrams.Udp(like, source, to, 434, 434, forger.Sign(message).ToArray()), "forged by the scenario");
        }

        await Task.Delay(400, cancellation);
        await _tables.TakeAsync(run, "forged", cancellation);
        _afterForgery = await run.PingAsync("alice", Host.ToString(), new PingOptions(3), cancellation);
    }

    /// <summary>NV-A20: the visited AAA server has forgotten; NV9.11: to and fro.</summary>
    private async Task MovesAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The visited AAA server's cache is empty; Alice moves to the other agent and back");
        await run.SojournAsync(["clear", "session", "--all", "--socket", run.Node("aaaf").Control.SocketPath], cancellation);
        await _tables.TakeAsync(run, "cleared", cancellation);
        var radio = run.Network.Radio("alice", "eth0");
        var from = LabRun.Now;
        radio.Leave();
        await Task.Delay(20, cancellation);
        radio.Reach("access-2");
        _moved = await run.AwaitReplyAsync("alice", "access-2", from, cancellation);
        _movedPing = await run.PingAsync("alice", Host.ToString(), new PingOptions(5), cancellation);
        await _tables.TakeAsync(run, "moved", cancellation);
        from = LabRun.Now;
        radio.Leave();
        await Task.Delay(20, cancellation);
        radio.Reach("access-1");
        _back = await run.AwaitReplyAsync("alice", "access-1", from, cancellation);
        _backPing = await run.PingAsync("alice", Host.ToString(), new PingOptions(5), cancellation);

        // Longer than the hand-off tunnels last.
        await Task.Delay(4500, cancellation);
        await _tables.TakeAsync(run, "back", cancellation);
    }

    /// <summary>The process of a node ends in the middle of traffic, without a word to anybody, and is started again.</summary>
    private async Task<Crash> CrashAsync(LabRun run, string node, CancellationToken cancellation)
    {
        run.Progress.Step($"{node} is killed under traffic and started again");
        await _tables.TakeAsync(run, "before " + node, cancellation);
        var traffic = ((string, IPAddress)[])[("alice", CompanyHost), ("alice", Host), ("companyhost", Alice), ("cn", Alice)];
        var going = traffic.Select(t => run.PingAsync(t.Item1, t.Item2.ToString(), new PingOptions(400) { Interval = TimeSpan.FromMilliseconds(50), Wait = TimeSpan.FromSeconds(1) }, cancellation)).ToList();
        await Task.Delay(1500, cancellation);
        var killed = LabRun.Now;
        await run.Node(node).KillAsync();
        await Task.Delay(500, cancellation);
        var began = LabRun.Now;
        await run.Node(node).StartAsync(cancellation);
        var up = LabRun.Now;
        var results = await Task.WhenAll(going);
        var flowing = new List<PingResult>();
        foreach (var (from, to) in traffic)
        {
            flowing.Add(await run.PingAsync(from, to.ToString(), new PingOptions(5), cancellation));
        }

        await _tables.TakeAsync(run, "after " + node, cancellation);
        run.Progress.Note(string.Create(CultureInfo.InvariantCulture, $"started in {(up - began) / 1e9:F1} s; {string.Join(", ", results.Select(r => $"{r.Received} of {r.Sent}"))} during it, {string.Join(", ", flowing.Select(r => $"{r.Received} of {r.Sent}"))} after it"));
        return new Crash(node, killed, began, up, results, flowing) { Flowing = LabRun.Now };
    }

    /// <summary>NV9.8, NV-A28.</summary>
    private async Task DeparturesAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Alice deregisters; Bob falls silent");
        await run.Node("alice").StopAsync();
        await EmptyAsync(run, "deregistration", AliceNai, Alice, LabRun.Now, cancellation);
        await run.Node("bob").KillAsync();
        var last = run.Network.Wire("access-bob").Recording.Frames().Last(f => Ipv4Packet.Of(f) is { } p && MobileNodes.Reply(p) is { Code: 0 or 1 });
        var end = last.Time + (long)BobsLifetime.TotalNanoseconds;
        if (end > LabRun.Now)
        {
            await Task.Delay(TimeSpan.FromTicks((end - LabRun.Now) / 100), cancellation);
        }

        await EmptyAsync(run, "silence until the lifetime's end", BobNai, Bob, end, cancellation);
    }

    private async Task EmptyAsync(LabRun run, string what, string nai, IPAddress home, long since, CancellationToken cancellation)
    {
        var left = "";
        var empty = await LabRun.UntilAsync(
            async () =>
            {
                await _tables.TakeAsync(run, what, cancellation);
                left = string.Join("; ", Holders.SelectMany(node => Left(what, node, nai, home).Select(row => $"{node}: {row}")));
                return left.Length == 0;
            },
            EmptyWithin + EmptyWithin,
            cancellation);
        _emptied[what] = (empty, (LabRun.Now - since) / 1e9, left);
    }

    /// <summary>What a node still has of a user; a preset association is nobody's.</summary>
    private IEnumerable<string> Left(string moment, string node, string nai, IPAddress home) =>
        ((string[])["paths", "vpn-cache"]).SelectMany(table => _tables.Rows(moment, node, table)
            .Where(r => r.GetRawText().Contains($"\"{nai}\"", StringComparison.Ordinal) || r.GetRawText().Contains($"\"{home}", StringComparison.Ordinal)).Select(r => $"a row of {table}"));

    private static IReadOnlyList<string> Routes(LabRun run, string node)
    {
        using var route = Rtnetlink.Open(run.Network.Namespace(node));
        return [.. route.Routes().Select(r => r.ToString())];
    }

    /// <summary>One kill and what the pings across it saw.</summary>
    /// <param name="Killed">When.</param>
    /// <param name="Began">When it was started again.</param>
    /// <param name="Up">When its control socket answered.</param>
    /// <param name="During">Pings that began before and ended after.</param>
    /// <param name="After">Pings right behind them.</param>
    private sealed record Crash(string Node, long Killed, long Began, long Up, IReadOnlyList<PingResult> During, IReadOnlyList<PingResult> After)
    {
        public long? Flowing { get; init; }
    }
}
