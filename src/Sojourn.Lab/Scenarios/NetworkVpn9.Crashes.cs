using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using Sojourn.DataPath.Netlink;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

/// <summary>Ends: nodes that are killed under traffic, users who leave or fall silent.</summary>
public sealed partial class NetworkVpn9
{
    /// <summary>NV-A28's limit.</summary>
    private static readonly TimeSpan EmptyWithin = TimeSpan.FromSeconds(2);

    /// <summary>Lifetime of Bob's registration, as the scenario file has it.</summary>
    private static readonly TimeSpan BobsLifetime = TimeSpan.FromSeconds(20);

    private readonly List<Crash> _crashes = [];
    private readonly List<string> _held = [];
    private readonly Dictionary<string, (bool Empty, double Seconds, string Left)> _emptied = [];

    /// <summary>The process of a node ends in the middle of traffic, without a word to anybody, and is started again.</summary>
    private async Task<Crash> CrashAsync(LabRun run, string node, CancellationToken cancellation)
    {
        run.Progress.Step($"{node} is killed under traffic and started again");
        await _tables.TakeAsync(run, "before " + node, cancellation);
        var traffic = ((string, IPAddress)[])[("alice", CompanyHost), ("alice", Host), ("companyhost", Alice), ("cn", Alice)];
        var going = traffic.Select(t => run.PingAsync(t.Item1, t.Item2.ToString(), new PingOptions(240) { Interval = TimeSpan.FromMilliseconds(50), Wait = TimeSpan.FromSeconds(1) }, cancellation)).ToList();
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
        foreach (var (user, nai, home) in ((string, string, IPAddress)[])[("Alice", AliceNai, Alice), ("Bob", BobNai, Bob)])
        {
            foreach (var node in Holders)
            {
                if ((await LeftAsync(run, node, nai, home, cancellation)).Count > 0)
                {
                    _held.Add($"{user} at {node}");
                }
            }
        }

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

    /// <summary>Asks every node until it has nothing of the user; each by itself, so that a slow one does not delay the others' answers.</summary>
    private async Task EmptyAsync(LabRun run, string what, string nai, IPAddress home, long since, CancellationToken cancellation)
    {
        var nodes = await Task.WhenAll(Holders.Select(async node =>
        {
            IReadOnlyList<string> left = [];
            var empty = await LabRun.UntilAsync(async () => (left = await LeftAsync(run, node, nai, home, cancellation)).Count == 0, EmptyWithin + EmptyWithin, cancellation);
            return (Node: node, Empty: empty, At: LabRun.Now, Left: left);
        }));
        _emptied[what] = (nodes.All(n => n.Empty), (nodes.Max(n => n.At) - since) / 1e9, string.Join("; ", nodes.Where(n => !n.Empty).Select(n => $"{n.Node}: {string.Join(", ", n.Left)}")));
    }

    /// <summary>What a node still has of a user, in its own tables and in its kernel's; a preset association is nobody's.</summary>
    private static async Task<IReadOnlyList<string>> LeftAsync(LabRun run, string node, string nai, IPAddress home, CancellationToken cancellation)
    {
        bool Names(string text) => text.Contains(nai, StringComparison.Ordinal) || text.Contains($"\"{home}\"", StringComparison.Ordinal) || text.Contains($"{home}/32", StringComparison.Ordinal);
        var left = new List<string>();
        foreach (var table in run.Topology.Node(node).Role == "aaa" ? (string[])["sessions", "vpn-cache"] : ["paths", "vpn-cache", "ipsec", "qos", "bindings", "visitors"])
        {
            left.AddRange(PathLines.Rows(await run.ShowAsync(node, table, cancellation)).Where(r => Names(r.GetRawText())).Select(_ => "a row of " + table));
        }

        return [.. left, .. Kernel(run, node).Where(Names)];
    }

    /// <summary>Routes and policy rules of a node's namespace.</summary>
    private static IReadOnlyList<string> Kernel(LabRun run, string node)
    {
        using var route = Rtnetlink.Open(run.Network.Namespace(node));
        return [.. route.Routes().Select(r => r.ToString()), .. route.Rules().Select(r => r.ToString())];
    }

    /// <summary>What a killed node takes up again.</summary>
    private void Crashes(CaptureSet captures, RowBook rows, Crash crash)
    {
        const string id = "restart";
        rows.Check(id, $"{crash.Node}: packets flow again in both directions", crash.After.All(p => p.AllArrived), string.Join("; ", crash.After.Select(p => p.Summary)));
        var signals = captures.Signals.During(crash.Killed, crash.Flowing!.Value).ToList();
        var logins = signals.Where(s => s.Name is "AMR" or "HAR").ToList();
        rows.Check(id, $"{crash.Node}: without a new login", logins.Count == 0, logins.Count == 0 ? $"neither AMR nor HAR among {signals.Count} messages" : string.Join(", ", logins));
        var table = crash.Node.StartsWith("aaa", StringComparison.Ordinal) ? "vpn-cache" : "paths";
        List<string> Rows(string moment) => [.. _tables.Rows(moment + " " + crash.Node, crash.Node, table).Select(r => table == "paths" ? $"{PathText(r)} {Text(r, "state")}" : $"{Text(r, "session")} {Text(r, "nai")} {Text(r, "homeAddress")} {Text(r, "careOfAddress")} {Text(r, "profileCount")}").Order(StringComparer.Ordinal)];
        var (before, after) = (Rows("before"), Rows("after"));
        rows.Check(id, $"{crash.Node}: with the rows it had, under the same SPIs", before.Count > 0 && before.SequenceEqual(after), before.SequenceEqual(after) ? $"{before.Count} rows of {table}" : $"gone: {string.Join("; ", before.Except(after))}; new: {string.Join("; ", after.Except(before))}");
        rows.Measure($"{crash.Node} killed, until its control socket answers again", (crash.Up - crash.Began) / 1e9, "s");
        rows.Measure($"pings lost in all while {crash.Node} was away", crash.During.Sum(p => p.Sent - p.Received), "packets");
    }

    /// <summary>M3 over the whole run, crashes included.</summary>
    private static void Nonces(CaptureSet captures, RowBook rows)
    {
        // Only SPIs that had one key in the run are compared; each packet is counted on its sender's own link.
        var single = captures.EspKeys.All.GroupBy(k => k.Spi).Where(g => g.Count() == 1).Select(g => g.Key).ToHashSet();
        var sent = captures.On(LinkKind.Core)
            .Where(p => p.Protection == SeenProtection.Esp && single.Contains(p.Spi!.Value) && p.Frame.Comment is null
                && p.Packet.Source.Equals(captures.Topology.Link(p.Link).Ends.FirstOrDefault(e => e.Node == p.SenderNode)?.Address))
            .Select(p => (p.Spi, p.Packet.Destination, p.Sequence, Iv: BinaryPrimitives.ReadUInt64BigEndian(p.Packet.Payload.Span[8..]))).ToList();
        var repeated = sent.Count - sent.Select(p => (p.Spi, p.Destination, p.Iv)).Distinct().Count();
        var numbers = sent.Count - sent.Select(p => (p.Spi, p.Destination, p.Sequence)).Distinct().Count();
        rows.Check("M3", "no SPI, key and IV is used twice, and no sequence number, over all crashes", repeated == 0 && numbers == 0 && sent.Count > 0, string.Create(CultureInfo.InvariantCulture, $"{sent.Count} ESP packets under {single.Count} SPIs, {repeated} IVs and {numbers} sequence numbers repeated"));
    }

    /// <summary>NV9.8, NV-A28.</summary>
    private void Departures(RowBook rows)
    {
        // The visited AAA server lost Bob with its disk.
        string[] holders = ["Alice at fa1", "Alice at ha", "Alice at pcn", "Alice at pcn2", "Alice at aaaf", "Alice at aaah", "Bob at fa1", "Bob at ha", "Bob at aaah"];
        rows.Check("NV9.8", "control: before that every node that serves a user has rows of hers or his", holders.All(_held.Contains), string.Join(", ", _held));
        foreach (var (what, (empty, seconds, left)) in _emptied)
        {
            var text = empty ? string.Create(CultureInfo.InvariantCulture, $"empty {seconds:F2} s after it at {string.Join(", ", Holders)}") : "left: " + left;
            rows.Check("NV9.8", $"{what}: rows, routes, filters and cache entries of the user vanish everywhere", empty, text);
            rows.Check("NV-A28", $"{what}: all tables are empty within 2 s", empty && seconds <= EmptyWithin.TotalSeconds + 0.3, text);
            rows.Measure($"{what}, until every table is empty", seconds, "s");
        }
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
