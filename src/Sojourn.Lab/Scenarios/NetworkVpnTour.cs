using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

/// <summary>
/// The whole story in one run, for somebody who sees it for the first time: login, traffic, a move inside the domain, a move
/// to another provider, a change of destination on the customer page.
/// </summary>
public sealed class NetworkVpnTour : Scenario
{
    private const string Nai = "alice@home.example";
    private const uint Profile = 1;

    /// <summary>Packets: those on the access link, and those that come until the kernel has told the agent of its carrier.</summary>
    private const int OnTheAir = 40;

    /// <summary>More than the hand-off tunnel time of the scenario file.</summary>
    private static readonly TimeSpan Settling = TimeSpan.FromSeconds(4);

    private static readonly IPAddress Alice = IPAddress.Parse("10.99.0.10"), Host = IPAddress.Parse("192.168.60.10"), NewHost = IPAddress.Parse("192.168.70.10"), Web = IPAddress.Parse("10.0.7.1");
    private static readonly Attachment First = new("fa1", "access-1", "core-fa1"), Second = new("fa2", "access-2", "core-fa2"), Abroad = new("fa3", "access-3", "core-fa3");

    private readonly string _password = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(12));
    private readonly List<(Move Move, Traffic Traffic, string What, IReadOnlyList<(string, string)> Trips)> _moves = [];
    private SeenRegistration? _login, _update;
    private PingResult? _loginPing, _newPing;
    private CustomerVisit? _visit;

    public override string Name => "network-vpn/tour";

    public override IReadOnlyList<(string File, string Caption)> Pictures => _visit?.Pictures ?? [];

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        var radio = run.Network.Radio("alice", "eth0");
        radio.Leave();
        radio.Reach(First.Access);
        await CustomerVisit.SetPasswordAsync(run, Nai, _password, cancellation);
        await WarmUpAsync(run, radio, cancellation);
        _login = await run.RegisterAsync("alice", First.Access, cancellation);
        _loginPing = await run.PingAsync("alice", Host.ToString(), new PingOptions(10), cancellation);
        run.Progress.Note(_loginPing.Summary);

        await MoveAsync(First, Second, "inside the provider's network", [("fa2", "aaaf"), ("fa2", "ha"), ("ha", "pcn"), ("fa2", "fa1")]);
        await MoveAsync(Second, Abroad, "to another provider", [("fa3", "aaah"), ("aaah", "ha"), ("ha", "pcn"), ("fa3", "fa2")]);

        run.Progress.Step("Alice enters another destination on her provider's customer page");
        _visit = await CustomerVisit.ChangeDestinationAsync(run, Web, Nai, _password, Profile, NewHost, cancellation);
        run.Progress.Step("Her terminal asks for a service update");
        _update = await run.RegisterAgainAsync("alice", Abroad.Access, serviceUpdate: true, () => Task.CompletedTask, cancellation);
        _newPing = await run.PingAsync("alice", NewHost.ToString(), new PingOptions(10), cancellation);
        run.Progress.Note(_newPing.Summary);

        async Task MoveAsync(Attachment old, Attachment next, string what, IReadOnlyList<(string, string)> trips)
        {
            run.Progress.Step($"Alice moves {what}, from {old.Node} to {next.Node}, with a thousand packets a second on the way to her");
            await using var traffic = Traffic.Begin(run, what, ("cn", Host), ("alice", Alice), 250, 64, cancellation);
            await Task.Delay(800, cancellation);
            var move = await run.MoveAsync(radio, "alice", old, next, cancellation);
            await Task.Delay(500, cancellation);
            await traffic.EndAsync(cancellation);
            _moves.Add((move, traffic, what, trips));
            run.Progress.Note(string.Create(CultureInfo.InvariantCulture, $"{traffic.Sent} packets sent, {traffic.Sent - traffic.Taken.Count} lost"));
        }
    }

    /// <summary>Every program compiles itself on the first way through; what is shown and measured should not be that.</summary>
    private static async Task WarmUpAsync(LabRun run, Network.Radio radio, CancellationToken cancellation)
    {
        run.Progress.Step("Everything once unobserved, so that no compiler is measured");
        await run.RegisterAsync("alice", First.Access, cancellation);
        foreach (var (old, next) in ((Attachment, Attachment)[])[(First, Second), (Second, Abroad), (Abroad, First)])
        {
            await run.PingAsync("alice", Host.ToString(), new PingOptions(5), cancellation);
            await run.MoveAsync(radio, "alice", old, next, cancellation);
        }

        await run.Node("alice").StopAsync();
        await Task.Delay(Settling, cancellation);
    }

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        var want = run.Definition.Options.Security.Seen();
        var flow = captures.Packets.Where(p => !p.Frame.Lost && p.ReceiverNode == "alice" && Flow.NumberOf(p.Packet) is not null).ToList();
        rows.Check("NV4.12", "the login is granted", _login!.Accepted, $"code {_login.Code}");
        rows.Check("NV4.13", $"packets go as {want.Name()} straight between fa1 and the partner's gateway", _loginPing!.AllArrived && captures.On("core-fa1").During(_loginPing).Any(p => p.Protection == want), _loginPing.Summary);
        foreach (var ((move, traffic, what, trips), (gap, during)) in _moves.Zip(((string, string)[])[("NV-A10", "NV5.14"), ("NV-A12", "NV6.15")]))
        {
            var limit = trips.Sum(t => run.Topology.RoundTrip(t.Item1, t.Item2)) + 100;
            var phases = move.Phases(captures, flow);
            var lost = traffic.Sent - traffic.Taken.Count;
            var crowded = phases.Excused(run.ProcessorWait);
            rows.Check(gap, $"a move {what}: the downlink is back within the round trips of the signalling and 100 ms from the request", move.Registration.Accepted && phases.BackWithin(limit, run.ProcessorWait),
                string.Create(CultureInfo.InvariantCulture, $"{phases.FromRequest:F1} ms, allowed {limit:F0} ms and {crowded:F0} for which the machine had no processor free; whole gap {phases.Gap:F1} ms: detect {phases.Detect:F1} ms, register {phases.Register:F1} ms, path set-up {phases.Path:F1} ms"));
            rows.Check(during, $"a move {what}: nothing is lost but what was on the air when the link broke", traffic.Sent > 0 && lost <= phases.MayLose(OnTheAir, run.ProcessorWait), string.Create(CultureInfo.InvariantCulture, $"{traffic.Sent} sent, {lost} lost"));
            rows.Measure($"{what}: gap of the downlink", phases.Gap, "ms");
            rows.Measure($"{what}: detect", phases.Detect, "ms");
            rows.Measure($"{what}: register", phases.Register, "ms");
            rows.Measure($"{what}: path set-up", phases.Path, "ms");
            rows.Measure($"{what}: packets sent", traffic.Sent, "packets");
            rows.Measure($"{what}: packets lost", lost, "packets");
        }

        rows.Check("NV7.1", $"the customer page takes the new destination ({_visit!.Browser})", _visit.Said.Contains("Path 1 is changed", StringComparison.Ordinal), _visit.Said);
        rows.Check("NV7.11", "the service update is granted", _update!.Accepted, $"code {_update.Code}");
        var direct = captures.On("core-fa3").During(_newPing!).Count(p => p.Protection == want);
        rows.Check("NV7.10", $"packets go as {want.Name()} between fa3 and the second partner's gateway", _newPing!.AllArrived && direct >= 2 * _newPing.Sent, $"{_newPing.Summary}; {direct} protected packets");
        var clear = captures.On(LinkKind.Core).Readable(Alice, Host).Concat(captures.On(LinkKind.Core).Readable(Alice, NewHost)).ToList();
        rows.Check("NV4.13", "none of her packets was ever readable on the core", clear.Count == 0, clear.Count("clear packets"));

        var signals = captures.Of(_login);
        rows.Measure("login, request to reply on the access link", signals.Count == 0 ? double.NaN : (signals[^1].Time - signals[0].Time) / 1e6, "ms");
        rows.Measure("ping after the login, median", _loginPing.Median, "ms");
        rows.Measure("ping to the new destination, median", _newPing.Median, "ms");
    }

    public override IReadOnlyList<HandOver> HandOvers(CaptureSet captures)
    {
        var flow = captures.Packets.Where(p => !p.Frame.Lost && p.ReceiverNode == "alice" && Flow.NumberOf(p.Packet) is not null).ToList();
        return [.. _moves.Select(m => m.Move.Timeline(m.What, captures, flow))];
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures)
    {
        var chapters = new List<LadderChapter>();
        void Add(string title, long? from, long? to)
        {
            if (from is { } begin && to is { } end)
            {
                chapters.Add(new LadderChapter(title, Ladder.Of(captures, begin, end, Alice)));
            }
        }

        Add("Alice logs in: a direct path to a partner's host", _login?.From, _login?.Replied + 50_000_000);
        foreach (var (move, _, what, _) in _moves)
        {
            Add($"She moves {what}", move.Began, move.Registration.Replied + 50_000_000);
        }

        Add("Service update: the path leads to the second partner", _update?.From, _update?.Replied + 50_000_000);
        return chapters;
    }
}
