using System.Buffers.Binary;
using System.Globalization;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>
/// The gap of a move is the time from the last echo reply that the mobile side sends on the old link to the first one on the new link, less the time that the
/// lab needs to bring it there: a reply shows that the request has arrived. The targets are measured; what a crowded machine must hold too is judged.
/// </summary>
public sealed partial class TerminalMoves
{
    private const string EchoRequest = "128", EchoReply = "129", CareOfTestInit = "2";

    /// <summary>Beyond the target, in the median of twenty moves; for a machine that has other things to do.</summary>
    private const double Crowd = 120;

    /// <summary>Moves of twenty that have to show it; a machine that stands still for half a second spoils one or the other.</summary>
    private const int Most = Moves - 2;

    /// <summary>One ping in so many may stay without answer in make before break; break before make loses ten times that in every move.</summary>
    private const int OneLostOf = 200;

    /// <param name="Gap">Milliseconds without a packet, NaN where none came.</param>
    /// <param name="Detect">From the new link to the first binding update.</param>
    /// <param name="Register">From there to the acknowledgement.</param>
    /// <param name="Path">From there to the first packet.</param>
    private sealed record Parts(double Gap, double Detect, double Register, double Path);

    public override IReadOnlyList<HandOver> HandOvers(CaptureSet captures) =>
    [
        .. _moves.Where(m => !m.Key.ReachesFirst).SelectMany(m => m.Value.Select((moved, i) => (Title: $"{m.Key.Title}, move {i + 1}", Parts: PartsOf(m.Key, moved)))).Where(m => double.IsFinite(m.Parts.Gap)).Select(m => new HandOver(
            m.Title,
            [
                new HandOverPart("detect", 0, m.Parts.Detect), new HandOverPart("register", m.Parts.Detect, m.Parts.Detect + m.Parts.Register),
                new HandOverPart("path set-up", m.Parts.Detect + m.Parts.Register, m.Parts.Detect + m.Parts.Register + Math.Max(0, m.Parts.Path)),
            ],
            null)),
    ];

    private ILookup<string, DissectedPacket> _carried = Array.Empty<DissectedPacket>().ToLookup(p => p.Link);

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        _carried = Packets.ToLookup(p => p.Link);
        foreach (var (kind, moves) in _moves)
        {
            rows.Part(kind.Title, () =>
            {
                if (kind.ReachesFirst)
                {
                    JudgeFirst(rows, kind, moves);
                }
                else if (kind.Knows == "peer")
                {
                    JudgeRoute(rows, kind, moves);
                }
                else
                {
                    JudgeKind(rows, kind, moves);
                }
            });
        }

        rows.Part("Transfer", () => JudgeTransfer(rows));
    }

    private void JudgeKind(RowBook rows, Kind kind, List<Moved> moves)
    {
        var parts = moves.ConvertAll(m => PartsOf(kind, m));
        var gaps = parts.ConvertAll(p => p.Gap).FindAll(double.IsFinite);
        var signed = moves.Count(m => Carried(m.New, m.Reached, m.Reached + 2_000_000_000).Any(p => p.Sender == kind.Node && p.Is("mip6.mhtype", BindingUpdate) && p.To(kind.Anchor) && p.First("esp.spi") is not null));
        var others = kind.Knows == "map" ? moves.Sum(m => Carried(m.New, m.Reached, m.Known).Count(p => p.Sender == kind.Node && p.Is("mip6.mhtype", BindingUpdate) && p.Is("ipv6.dst", HomeAgent))) : 0;
        var bound = kind.RoundTrip + 30 + Crowd;
        string[] ids = kind.Node switch { "sealed" => ["TM0.4", "TM0.6"], "local" => ["TM6.50", "TM-AC25"], "mr" => ["TM7.10"], _ => ["TM0.4"] };
        foreach (var id in ids)
        {
            rows.Check(
                id, string.Create(CultureInfo.InvariantCulture, $"{kind.Title}, {Moves} moves: an update under ESP to {kind.Knows} each{(kind.Knows == "map" ? " and none to the home agent" : "")}, and packets again within {bound} ms in the median"),
                moves.Count == Moves && signed >= Most && others == 0 && gaps.Count >= Most && Median(gaps) <= bound,
                string.Create(CultureInfo.InvariantCulture, $"{signed} updates under ESP, {others} to the home agent, {gaps.Count} moves with packets on both sides; median {Median(gaps):F1} ms, worst {gaps.DefaultIfEmpty(double.NaN).Max():F1} ms"));
        }

        Measure(rows, $"{kind.Title}: gap", gaps);
        Measure(rows, $"{kind.Title}: detect", parts.ConvertAll(p => p.Detect));
        Measure(rows, $"{kind.Title}: register", parts.ConvertAll(p => p.Register));
        Measure(rows, $"{kind.Title}: path set-up", parts.ConvertAll(p => p.Path));
        rows.Measure($"{kind.Title}: gap, median, beyond one round trip to the anchor (target 30)", Median(gaps) - kind.RoundTrip, "ms");
        rows.Measure($"{kind.Title}: pings without answer in a move, median", Median(moves.ConvertAll(m => (double)(m.Pinged!.Sent - m.Pinged.Received))), "packets");
    }

    /// <summary>Make before break: every ping of the moves is answered.</summary>
    private void JudgeFirst(RowBook rows, Kind kind, List<Moved> moves)
    {
        var (sent, received) = (moves.Sum(m => m.Pinged!.Sent), moves.Sum(m => m.Pinged!.Received));
        var both = moves.Count(m => Replies(kind, m.Old, m.Reached - 100_000_000, m.Left).Count > 0 && Replies(kind, m.New, m.Reached, m.Left + 500_000_000).Count > 0);
        rows.Check(
            "TM0.4", $"{kind.Title}, {Moves} moves: packets on the old link until home knows the new one, then there, and not one in {OneLostOf} is lost",
            moves.Count == Moves && both >= Most && sent == Moves * Pings && (sent - received) * OneLostOf < sent, string.Create(CultureInfo.InvariantCulture, $"{received} of {sent} pings answered; {both} of {moves.Count} moves with replies on both links"));
        rows.Measure($"{kind.Title}: pings without answer, all moves", sent - received, "packets");
        Measure(rows, $"{kind.Title}: from the new link to the binding", moves.ConvertAll(m => (m.Known - m.Reached) / 1e6));
    }

    /// <summary>The short way after a move: care-of test beside the registration, packets by way of home meanwhile.</summary>
    private void JudgeRoute(RowBook rows, Kind kind, List<Moved> moves)
    {
        List<double> gaps = [], back = [];
        var (tested, meanwhile) = (0, 0);
        foreach (var moved in moves)
        {
            var until = Until(kind, moved);
            var last = LastReply(kind, moved);
            var arrived = Carried(moved.New, moved.Reached, until).Where(p => p.Sender != kind.Node && p.Is("icmpv6.type", EchoRequest) && IsAfter(last, p)).ToList();
            var direct = arrived.FirstOrDefault(p => p.Has("ipv6.routing"));
            if (last is not null && direct is not null)
            {
                gaps.Add((arrived[0].Time + Link - last.Time - (moved.Reached - moved.Left)) / 1e6);
                back.Add((direct.Time + Link - moved.Reached) / 1e6);
            }

            meanwhile += direct is not null && arrived.Exists(p => p.Time < direct.Time && Stack(p).StartsWith("ipv6 ipv6 icmpv6", StringComparison.Ordinal)) ? 1 : 0;
            var answer = Carried(moved.New, moved.Reached, until).FirstOrDefault(p => p.Sender != kind.Node && p.Is("mip6.mhtype", BindingAcknowledgement) && p.From(HomeAgent));
            tested += answer is not null && Carried(moved.New, moved.Reached, answer.Time).Any(p => p.Sender == kind.Node && p.Is("mip6.mhtype", CareOfTestInit)) ? 1 : 0;
        }

        var bound = (2 * kind.RoundTrip) + 50 + Crowd;
        foreach (var id in (string[])["TM4.7", "TM-C9"])
        {
            rows.Check(
                id, string.Create(CultureInfo.InvariantCulture, $"{kind.Title}, {Moves} moves: the care-of test begins before the home agent answers, packets come by way of home meanwhile, and by the short way within {bound} ms in the median"),
                moves.Count == Moves && tested >= Most && meanwhile >= Moves / 2 && back.Count >= Most && Median(back) <= bound,
                string.Create(CultureInfo.InvariantCulture, $"{tested} tests beside the registration, {meanwhile} moves with packets by way of home in between; median {Median(back):F1} ms, worst {back.DefaultIfEmpty(double.NaN).Max():F1} ms"));
        }

        Measure(rows, $"{kind.Title}: gap", gaps);
        Measure(rows, $"{kind.Title}: back on the new link", back);
        rows.Measure($"{kind.Title}: back, median, beyond two round trips (target 50)", Median(back) - (2 * kind.RoundTrip), "ms");
    }

    private Parts PartsOf(Kind kind, Moved moved)
    {
        var until = Until(kind, moved);
        var last = LastReply(kind, moved);
        var first = Replies(kind, moved.New, moved.Reached, until).Find(p => IsAfter(last, p));
        var update = Carried(moved.New, moved.Reached, until).FirstOrDefault(p => p.Sender == kind.Node && p.Is("mip6.mhtype", BindingUpdate));
        var answer = update is null ? null : Carried(moved.New, update.Time, until).FirstOrDefault(p => p.Sender != kind.Node && p.Is("mip6.mhtype", BindingAcknowledgement) && p.Is("ipv6.src", kind.Anchor));
        return new Parts(
            first is null ? double.NaN : (first.Time - last!.Time - (moved.Reached - moved.Left)) / 1e6,
            update is null ? double.NaN : (update.Time - moved.Reached) / 1e6,
            answer is null ? double.NaN : (answer.Time + Link - update!.Time) / 1e6,
            answer is null || first is null ? double.NaN : (first.Time - answer.Time - Link) / 1e6);
    }

    private long Until(Kind kind, Moved moved) => _moves[kind].SkipWhile(m => m != moved).Skip(1).Select(m => m.Left).FirstOrDefault(long.MaxValue);

    /// <summary>Of one link, since there are many questions and most packets are of others.</summary>
    private IEnumerable<DissectedPacket> Carried(string link, long from, long to) => _carried[link].Where(p => p.Time >= from && p.Time <= to);

    private List<DissectedPacket> Replies(Kind kind, string link, long from, long to) => [.. Carried(link, from, to).Where(p => p.Sender == kind.Node && p.Is("icmpv6.type", EchoReply))];

    private DissectedPacket? LastReply(Kind kind, Moved moved) => Replies(kind, moved.Old, moved.Left - 100_000_000, moved.Reached).LastOrDefault();

    /// <summary>Of the same ping. An access router hands over what it has kept since the terminal was there before: packets of an earlier one.</summary>
    private static bool IsAfter(DissectedPacket? last, DissectedPacket packet) =>
        last is not null && last.First("icmpv6.echo.identifier") == packet.First("icmpv6.echo.identifier") && Sequence(packet) > Sequence(last);

    private static int Sequence(DissectedPacket packet) => int.TryParse(packet.First("icmpv6.echo.sequence_number"), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : -1;

    private void JudgeTransfer(RowBook rows)
    {
        var windows = _transferMoves.ConvertAll(m => (From: m.Left - 200_000_000, To: m.Known + 1_500_000_000));
        bool Around(long from, long to) => windows.Exists(w => from >= w.From && to <= w.To);

        var datagrams = Packets.Where(p => p.Link == "core-cn" && p.Sender == "core" && p.Is("udp.dstport", Number(UdpPort))).Select(p => (p.Time, Number: DatagramOf(p))).Where(d => d.Number > 0).OrderBy(d => d.Number).ToList();
        var holes = datagrams.Zip(datagrams.Skip(1)).Where(pair => pair.Second.Number > pair.First.Number + 1).Select(pair => (From: pair.First.Time, To: pair.Second.Time, Lost: pair.Second.Number - pair.First.Number - 1)).ToList();
        var repeated = Packets.Where(p => p.Link == "core-cn" && p.Sender == "core" && p.Is("tcp.dstport", Number(TcpPort)) && p.First("tcp.analysis.retransmission") is not null).Select(p => p.Time).ToList();
        var (tcp, udp) = (SumOf("TCP", "sum_received"), SumOf("UDP", "sum"));
        var (sent, lost) = (Value(udp, "packets"), Value(udp, "lost_packets"));
        var whole = _transfers.Values.All(t => t.ExitCode == 0) && Value(tcp, "bytes") > 0 && sent > 0 && datagrams.Count > 0.9 * sent;
        rows.Check(
            "TM-AC05", $"iperf3 -4 by TCP and by UDP comes to its end over {MovesOfTransfer} moves, and what is lost or sent again is so around the moves",
            whole && _transferMoves.Count == MovesOfTransfer && holes.TrueForAll(h => Around(h.From, h.To)) && repeated.TrueForAll(t => Around(t, t)),
            string.Create(CultureInfo.InvariantCulture, $"{TransferTime.TotalSeconds} s: TCP {Value(tcp, "bytes") / 1e6:F1} MB, {repeated.Count} segments again, {repeated.Count(t => !Around(t, t))} of them elsewhere; UDP {sent} datagrams, {lost} lost, {holes.Count} holes of {holes.Sum(h => h.Lost)} on the last link, {holes.Count(h => !Around(h.From, h.To))} elsewhere{Failure()}"));
        rows.Measure("datagrams of iperf3 lost in a move, mean", lost / (double)MovesOfTransfer, "packets");

        string Failure() => string.Concat(_transfers.Where(t => t.Value.ExitCode != 0).Select(t => $"; {t.Key}: {t.Value.Errors.Trim()} {t.Value.Output.Trim().Split('\n').LastOrDefault(l => l.Contains("error", StringComparison.Ordinal))}"));
    }

    private JsonElement? SumOf(string transfer, string sum)
    {
        if (!_transfers.TryGetValue(transfer, out var result) || result.ExitCode != 0)
        {
            return null;
        }

        using var document = JsonDocument.Parse(result.Output);
        return document.RootElement.GetProperty("end").GetProperty(sum).Clone();
    }

    private static long Value(JsonElement? sum, string name) => sum is { } values && values.TryGetProperty(name, out var value) ? value.GetInt64() : 0;

    /// <summary>The number that iperf3 3.x writes behind seconds and microseconds.</summary>
    private static uint DatagramOf(DissectedPacket packet) =>
        packet.First("udp.payload") is { Length: >= 24 } text ? BinaryPrimitives.ReadUInt32BigEndian(Convert.FromHexString(text.Replace(":", "", StringComparison.Ordinal)).AsSpan(8)) : 0;

    private static double Median(List<double> values) => values.Count == 0 ? double.NaN : values.Order().ElementAt(values.Count / 2);

    private static void Measure(RowBook rows, string name, List<double> values)
    {
        values = values.FindAll(double.IsFinite);
        rows.Measure($"{name}, median of {values.Count}", Median(values), "ms");
        rows.Measure($"{name}, worst of {values.Count}", values.DefaultIfEmpty(double.NaN).Max(), "ms");
    }
}
