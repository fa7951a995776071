using System.Globalization;
using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>
/// How long a move interrupts a terminal whose key exchange moves along (K bit, rows TA-A19, M14), where the zones are joined directly and
/// the authority stands on the home link (row TA-C20).
/// </summary>
public sealed class AuthenticationMoves : TerminalScenario
{
    private const string Name1 = "mn1.home.example", HomeAgent = "2001:db8:a::1", Authority = "http://[2001:db8:5::3]:8080";
    private const int Moves = 20;

    private static readonly TimeSpan s_outOfReach = TimeSpan.FromMilliseconds(20), s_between = TimeSpan.FromMilliseconds(850), s_interval = TimeSpan.FromMilliseconds(10);

    private readonly List<(long Left, long Reached, string Link)> _moves = [];
    private PingResult? _calm;
    private string _state = "", _binding = "", _careOf = "", _firstCareOf = "";

    public override string Name => "authentication/moves";

    protected override IReadOnlyList<string> Fields => [.. base.Fields, "icmpv6.echo.sequence_number"];

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        run.Progress.Step("A terminal is registered");
        var database = await MakeAuthorityAsync(run, cancellation);
        await Task.WhenAll(
            WriteCardAsync(run, database, "mn", Name1, "mn1", cancellation),
            AllowPrefixAsync(run, "ha", "00:03:00:01:02:00:00:00:00:c1", "193", Name1, cancellation),
            ListServerAsync(run, database, "ha", "ha1.home.example", "home-agent", [HomeAgent], "ha", cancellation),
            run.Node("ca").StartAsync(cancellation));
        await EnrolAsync(run, "ha", "ha1.home.example", Authority, "ha", cancellation);
        await run.Node("ha").StartAsync(cancellation);
        await using var first = await RouterAdvertiser.StartAsync(run, "ar1", "acc0", "2001:db8:f1::/64", managed: false, cancellation);
        await using var second = await RouterAdvertiser.StartAsync(run, "ar2", "acc0", "2001:db8:f2::/64", managed: false, cancellation);
        await run.Node("mn").StartAsync(cancellation);
        var session = await ReachAsync(run, "mn", "REG", TimeSpan.FromSeconds(30), cancellation);
        var home = Text(session, "homeAddress");
        _firstCareOf = Text(session, "careOfAddress");
        _calm = await run.PingAsync("cn", home, new PingOptions(20), cancellation);

        run.Progress.Step($"It moves {Moves} times while it is pinged every 10 ms");
        var pings = run.PingAsync("cn", home, new PingOptions((int)((Moves * (s_between + s_outOfReach)) / s_interval) + 150) { Interval = s_interval }, cancellation);
        await Task.Delay(300, cancellation);
        var radio = run.Network.Radio("mn", "eth0");
        for (var i = 0; i < Moves; i++)
        {
            var (link, left) = (i % 2 == 0 ? "access-2" : "access-1", LabRun.Now);
            radio.Leave();
            await Task.Delay(s_outOfReach, cancellation);
            radio.Reach(link);
            _moves.Add((left, LabRun.Now, link));
            await Task.Delay(s_between, cancellation);
        }

        run.Progress.Note((await pings).Summary);
        session = await ReachAsync(run, "mn", "REG", TimeSpan.FromSeconds(10), cancellation);
        (_state, _careOf) = (Text(session, "state"), Text(session, "careOfAddress"));
        _binding = PathLines.Rows(await run.ShowAsync("ha", "bindings", cancellation)).Select(b => Text(b, "careOfAddress")).FirstOrDefault() ?? "";
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures) =>
    [
        new LadderChapter("The first messages on either link", new Ladder(
            ["mn", "ar1", "ar2", "ha"], [.. SignallingSteps("mn", new Dictionary<string, string> { [HomeAgent] = "ha" }, new Dictionary<string, string> { ["access-1"] = "ar1", ["access-2"] = "ar2" }, _moves.Count > 0 ? _moves[0].Left : 0)])),
    ];

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        var replies = Packets.Where(p => p.Sender == "mn" && p.Link.StartsWith("access", StringComparison.Ordinal) && p.Is("icmpv6.type", "129")).ToList();
        var (gaps, missed) = (new List<double>(), new List<int>());
        var (updates, spis) = (0, new HashSet<string>());
        for (var i = 0; i < _moves.Count; i++)
        {
            var (left, reached, link) = _moves[i];
            var until = i + 1 < _moves.Count ? _moves[i + 1].Left : long.MaxValue;
            var last = replies.LastOrDefault(p => p.Link != link && p.Time <= reached);

            // An access router keeps some packets for a terminal it cannot find, and hands them over when it is back: they end no gap.
            var next = replies.FirstOrDefault(p => p.Link == link && p.Time > reached && p.Time < until && Number(p) > (last is null ? 0 : Number(last)));
            if (last is not null && next is not null)
            {
                gaps.Add((next.Time - last.Time) / 1e6);
                missed.Add(Number(next) - Number(last) - 1);
            }

            var sent = On(link, reached, until).Where(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate)).ToList();
            updates += sent.Count(p => p.Of("mip6.bu.k_flag").Any(f => f is "1" or "True")) > 0 ? 1 : 0;
            spis.UnionWith(sent.Select(p => p.First("esp.spi") ?? "clear"));
        }

        var exchanges = Packets.Count(p => p.Time >= _moves[0].Left && p.Is("isakmp.exchangetype", SaInit));
        var observed = string.Create(CultureInfo.InvariantCulture, $"{gaps.Count} of {Moves} moves with answers on both sides, {updates} with a BU with K, SPIs {string.Join(" ", spis)}, {exchanges} IKE_SA_INIT");
        foreach (var row in new[] { "TA-A19", "TA-M14" })
        {
            rows.Check(row, "twenty moves: a BU with K under one SPI each time, and no key exchange", gaps.Count == Moves && updates == Moves && spis.Count == 1 && !spis.Contains("clear") && exchanges == 0, observed);
        }

        rows.Check("TA-A19", "registered at the end, and the binding leads to where the terminal is", _state == "REG" && _binding == _careOf && IPAddress.TryParse(_careOf, out _), $"{_state}, binding {_binding}, care-of address {_careOf}");
        var (asked, registered) = (Way(p => p.Is("cmp.body", InitializationRequest) && p.From(_firstCareOf)), Way(p => p.Is("mip6.mhtype", BindingUpdate) && p.From(_firstCareOf)));
        rows.Check("TA-C20", "the zones are joined directly and the authority is on the home link: certificate request and binding update cross access link, joint and home link", asked == "access-1 joint-1 home home-ca" && registered == "access-1 joint-1 home home-ha",
            $"request by {asked}; binding update by {registered}");
        if (gaps.Count == 0)
        {
            return;
        }

        gaps.Sort();
        missed.Sort();
        var (median, worst, trip) = (gaps[gaps.Count / 2], gaps[^1], _calm!.Median);
        rows.Measure("gap of a move, median of 20", median, "ms");
        rows.Measure("gap of a move, worst of 20", worst, "ms");
        rows.Measure("gap of a move, median, in round trips between correspondent and terminal", median / trip, "round trips");
        rows.Measure("gap of a move, worst, in round trips between correspondent and terminal", worst / trip, "round trips");
        rows.Measure("round trip between correspondent and terminal, median", trip, "ms");
        rows.Measure("pings that were lost or late in a move, median", missed[missed.Count / 2], "packets");
        rows.Measure("pings that were lost or late in a move, worst", missed[^1], "packets");
    }

    private static int Number(DissectedPacket reply) => reply.First("icmpv6.echo.sequence_number") is { } text && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : -1;
}
