using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;

namespace Sojourn.Lab.Scenarios;

/// <summary>NV8: a dynamic gateway is told on the correspondent's first packet, or by option on the node's (spec network-vpn section 5, claim 5).</summary>
public sealed partial class NetworkVpn8 : Scenario
{
    private const string AliceNai = "alice@home.example";

    /// <summary>Longer than a packet path holds a packet.</summary>
    private static readonly TimeSpan HeldAtMost = TimeSpan.FromSeconds(3);

    private static readonly IPAddress Alice = IPAddress.Parse("10.99.0.10"), Bob = IPAddress.Parse("10.99.0.11"),
        Host = IPAddress.Parse("192.168.60.10"), SecondHost = IPAddress.Parse("192.168.60.11"),
        Agent = IPAddress.Parse("10.0.1.2"), Home = IPAddress.Parse("10.0.3.2"), Partner = IPAddress.Parse("10.0.4.2");

    private readonly Tables _tables = new();
    private SeenRegistration? _alice, _bob;
    private PingResult? _early, _first, _up, _down, _bobFirst, _bobDown;
    private CommandResult? _reloaded;

    public override string Name => "network-vpn/8";

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        await WarmUpAsync(run, cancellation);
        _alice = await run.RegisterAndLookAsync("alice", "access-alice", () => _tables.TakeAsync(run, "reply", cancellation), cancellation);

        run.Progress.Step("Alice speaks first; the home agent does not distribute on that");
        _early = await run.PingAsync("alice", Host.ToString(), new PingOptions(3) { Wait = TimeSpan.FromMilliseconds(500) }, cancellation);
        run.Progress.Note(_early.Summary);
        await Task.Delay(HeldAtMost, cancellation);
        await _tables.TakeAsync(run, "early", cancellation);

        run.Progress.Step("The partner's host sends its first packet to Alice");
        _first = await run.PingAsync("cn", Alice.ToString(), new PingOptions(10) { From = Host.ToString() }, cancellation);
        run.Progress.Note(_first.Summary);
        await _tables.TakeAsync(run, "first", cancellation);
        _up = await run.PingAsync("alice", Host.ToString(), new PingOptions(20), cancellation);
        _down = await run.PingAsync("cn", Alice.ToString(), new PingOptions(5) { From = Host.ToString() }, cancellation);

        run.Progress.Step("The home agent is told to distribute on packets of mobile nodes too; Bob speaks first");
        var configuration = NodeFiles.ConfigurationOf(run.Directory, "ha");
        var lines = (await File.ReadAllLinesAsync(configuration, cancellation)).ToList();
        var section = lines.FindIndex(l => l.StartsWith("home-agent:", StringComparison.Ordinal));
        var next = lines[section + 1];
        lines.Insert(section + 1, next[..^next.TrimStart().Length] + "trigger-from-mobile-node: true");
        await File.WriteAllLinesAsync(configuration, lines, cancellation);
        _reloaded = await run.SojournAsync(["reload", "--socket", run.Node("ha").Control.SocketPath], cancellation);
        _bob = await run.RegisterAndLookAsync("bob", "access-bob", () => _tables.TakeAsync(run, "bob-reply", cancellation), cancellation);
        _bobFirst = await run.PingAsync("bob", SecondHost.ToString(), new PingOptions(10), cancellation);
        run.Progress.Note(_bobFirst.Summary);
        _bobDown = await run.PingAsync("cn", Bob.ToString(), new PingOptions(5) { From = SecondHost.ToString() }, cancellation);
        await _tables.TakeAsync(run, "bob", cancellation);
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures)
    {
        var chapters = new List<LadderChapter>();
        if (_alice is not null && _early is not null)
        {
            chapters.Add(new LadderChapter("Alice registers and speaks first", Ladder.Of(captures, _alice.From, _early.To, Alice)));
        }

        if (_first is not null && _down is not null)
        {
            chapters.Add(new LadderChapter("The partner's host sends its first packet", Ladder.Of(captures, _first.From, _down.To, Alice)));
        }

        if (_bob is not null && _bobDown is not null)
        {
            chapters.Add(new LadderChapter("Bob registers and speaks first; by option that distributes his profile", Ladder.Of(captures, _bob.From, _bobDown.To, Bob)));
        }

        return chapters;
    }

    /// <summary>Everything once unobserved, so that no compiler makes an update look unanswered.</summary>
    private static async Task WarmUpAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Note("once unobserved, so that no compiler is measured");
        await run.RegisterAsync("alice", "access-alice", cancellation);
        await run.PingAsync("cn", Alice.ToString(), new PingOptions(3) { From = Host.ToString() }, cancellation);
        await run.PingAsync("alice", Host.ToString(), new PingOptions(2) { Wait = TimeSpan.FromMilliseconds(300) }, cancellation);
        await run.Node("alice").StopAsync();
        await Task.Delay(TimeSpan.FromSeconds(1), cancellation);
    }
}
