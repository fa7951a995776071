using System.Globalization;
using System.Net;
using Sojourn.DataPath.Netlink;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Network;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios;

/// <summary>
/// What the scenarios of moves have in common: Alice goes from one agent to the other and back, with traffic both ways. First
/// once, looked at closely; then with packets still under way on the old path; then twenty times, one per second; then with
/// the new link in reach before the old one is lost.
/// </summary>
public abstract partial class MoveScenario : Scenario
{
    /// <summary>Moves of the series, which ends where it began.</summary>
    private const int SeriesLength = 20;

    private protected static readonly IPAddress Alice = IPAddress.Parse("10.99.0.10"), Home = IPAddress.Parse("10.0.3.2");
    private protected const string Nai = "alice@home.example";

    /// <summary>More than the hand-off tunnel time of the scenario files, and than the lifetime of an advertisement.</summary>
    private static readonly TimeSpan Settling = TimeSpan.FromSeconds(4.5);

    private readonly List<Move> _series = [];
    private readonly List<Traffic> _traffic = [];

    private protected Tables Tables { get; } = new();

    private protected Move? First { get; private set; }

    private Move? Delayed { get; set; }

    private Move? There { get; set; }

    private Move? Back { get; set; }

    private long _heldFrom, _released;
    private PingResult? _start, _settled, _end;
    private IReadOnlyList<string> _routesLeft = [];

    /// <summary>UDP payload of the downlink's datagrams, octets.</summary>
    private protected virtual int FlowOctets => 64;

    /// <summary>The correspondent's node and address.</summary>
    private protected abstract (string Node, IPAddress Address) Correspondent { get; }

    /// <summary>The agent at which Alice begins, and the other one.</summary>
    private protected abstract (Attachment Here, Attachment There) Agents { get; }

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        var (here, there) = Agents;
        var radio = run.Network.Radio("alice", "eth0");
        await run.RegisterAsync("alice", here.Access, cancellation);

        // Every program compiles itself on the first way through; what is measured should not be that.
        run.Progress.Note("once there and back unobserved, so that no compiler is measured");
        await run.PingAsync("alice", Correspondent.Address.ToString(), new PingOptions(5), cancellation);
        await MoveAsync(run, radio, here, there, cancellation);
        await run.PingAsync("alice", Correspondent.Address.ToString(), new PingOptions(5), cancellation);
        await MoveAsync(run, radio, there, here, cancellation);
        await Task.Delay(Settling, cancellation);
        _start = await run.PingAsync("alice", Correspondent.Address.ToString(), new PingOptions(5), cancellation);

        run.Progress.Step($"Alice moves from {here.Node} to {there.Node} while traffic flows");
        await Tables.TakeAsync(run, "before", cancellation);
        await using (var traffic = Begin(run, "move", 400, cancellation))
        {
            await Task.Delay(1000, cancellation);
            First = await MoveAsync(run, radio, here, there, cancellation);
            await Tables.TakeAsync(run, "after", cancellation);
            await traffic.EndAsync(cancellation);
        }

        await Task.Delay(Settling, cancellation);
        await Tables.TakeAsync(run, "settled", cancellation);
        using (var route = Rtnetlink.Open(run.Network.Namespace(here.Node)))
        {
            _routesLeft = [.. route.Routes().Select(r => r.ToString()).Where(r => r.Contains(Alice.ToString(), StringComparison.Ordinal))];
        }

        _settled = await run.PingAsync("alice", Correspondent.Address.ToString(), new PingOptions(5), cancellation);
        await MoveAsync(run, radio, there, here, cancellation);
        await Task.Delay(Settling, cancellation);

        await DelayedPathAsync(run, radio, cancellation);
        await SeriesAsync(run, radio, cancellation);
        await OverlapAsync(run, radio, cancellation);
        _end = await run.PingAsync("alice", Correspondent.Address.ToString(), new PingOptions(5), cancellation);
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures)
    {
        var chapters = new List<LadderChapter>();
        foreach (var (title, move) in ((string, Move?)[])[("Alice moves: break before make", First), ("Packets still under way on the old path", Delayed), ("Make before break", There)])
        {
            if (move?.Registration.Replied is { } replied)
            {
                chapters.Add(new LadderChapter(title, Ladder.Of(captures, move.Began, replied + 500_000_000, Alice)));
            }
        }

        return chapters;
    }

    public override IReadOnlyList<HandOver> HandOvers(CaptureSet captures)
    {
        var flow = captures.Packets.Where(p => !p.Frame.Lost && p.ReceiverNode == "alice" && Flow.NumberOf(p.Packet) is not null).ToList();
        var moves = new List<(string Title, Move? Move)> { ("break before make", First), ("packets still under way", Delayed) };
        moves.AddRange(_series.Select((move, i) => (string.Create(CultureInfo.InvariantCulture, $"move {i + 1} of the series"), (Move?)move)));
        return [.. moves.Where(m => m.Move is not null).Select(m => m.Move!.Timeline($"{m.Title}, to {m.Move.New.Node}", captures, flow))];
    }

    private static Task<Move> MoveAsync(LabRun run, Radio radio, Attachment old, Attachment next, CancellationToken cancellation) =>
        run.MoveAsync(radio, "alice", old, next, cancellation);

    /// <summary>The old path is slow: what the home agent sent there before it switched arrives after the hand-off.</summary>
    private async Task DelayedPathAsync(LabRun run, Radio radio, CancellationToken cancellation)
    {
        var (here, there) = Agents;
        run.Progress.Step("The same move, with packets still under way to the old agent");
        await using var traffic = Begin(run, "delayed", 300, cancellation);
        await Task.Delay(500, cancellation);
        var wire = run.Network.Wire(here.Core);
        var core = run.Topology.Link(here.Core).First.Node == here.Node ? 1 : 0;
        wire.Tap = frame => frame.Sender == core && Ipv4Packet.Of(frame) is { Protocol: 4 or 50 or 51 } ? WireVerdict.Hold : WireVerdict.Pass;
        _heldFrom = LabRun.Now;
        Delayed = await MoveAsync(run, radio, here, there, cancellation);

        // The acknowledgement precedes the reply; where the old agent does not answer at all, nothing is waited for.
        await Task.Delay(100, cancellation);
        _released = LabRun.Now;
        wire.Tap = null;
        wire.Release();
        await Task.Delay(500, cancellation);
        await Tables.TakeAsync(run, "delayed", cancellation);
        await traffic.EndAsync(cancellation);
        await MoveAsync(run, radio, there, here, cancellation);
    }

    private async Task SeriesAsync(LabRun run, Radio radio, CancellationToken cancellation)
    {
        var (here, there) = Agents;
        run.Progress.Step(string.Create(CultureInfo.InvariantCulture, $"{SeriesLength} moves to and fro, one per second"));
        await using (var traffic = Begin(run, "series", (SeriesLength + 1) * 100, cancellation))
        {
            for (var next = DateTime.UtcNow.AddSeconds(1); _series.Count < SeriesLength; next = next.AddSeconds(1))
            {
                await Task.Delay(next > DateTime.UtcNow ? next - DateTime.UtcNow : TimeSpan.Zero, cancellation);
                var (old, to) = _series.Count % 2 == 0 ? (here, there) : (there, here);
                _series.Add(await MoveAsync(run, radio, old, to, cancellation));
            }

            await Task.Delay(1000, cancellation);
            await traffic.EndAsync(cancellation);
        }

        await Task.Delay(Settling, cancellation);
        await Tables.TakeAsync(run, "series", cancellation);
    }

    /// <summary>Make before break: the node hears the new agent while it still hears the old one (RFC 5944 2.4.2.2).</summary>
    private async Task OverlapAsync(LabRun run, Radio radio, CancellationToken cancellation)
    {
        var (here, there) = Agents;
        run.Progress.Step("There and back with the new link in reach before the old one is lost");
        foreach (var (old, to) in ((Attachment, Attachment)[])[(here, there), (there, here)])
        {
            await Task.Delay(Settling, cancellation);
            await using var traffic = Begin(run, to == there ? "overlap-there" : "overlap-back", 300, cancellation);
            await Task.Delay(500, cancellation);
            var began = LabRun.Now;
            radio.Reach(to.Access);
            var move = new Move(old, to, began, await run.AwaitReplyAsync("alice", to.Access, began, cancellation));
            await Task.Delay(300, cancellation);
            radio.Lose(old.Access);
            await Task.Delay(500, cancellation);
            await traffic.EndAsync(cancellation);
            (There, Back) = to == there ? (move, Back) : (There, move);
        }
    }

    /// <summary>A ping every ten milliseconds both ways and a thousand datagrams per second down.</summary>
    private Traffic Begin(LabRun run, string name, int pings, CancellationToken cancellation)
    {
        var traffic = Traffic.Begin(run, name, Correspondent, ("alice", Alice), pings, FlowOctets, cancellation);
        _traffic.Add(traffic);
        return traffic;
    }
}
