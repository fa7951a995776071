using System.Globalization;
using System.Net;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>TA1: the terminal is the requesting router (spec authentication 5.1, embodiment 1).</summary>
public sealed partial class Authentication1 : TerminalScenario
{
    private const string Name1 = "mn1.home.example", Duid = "00:03:00:01:02:00:00:00:00:c1";
    private const string AuthorityName = "ca.home.example", Queries = "8444";
    private const string Authority = "2001:db8:3::2", RouterLink = "2001:db8:5::2", Correspondent = "2001:db8:6::2";

    private static readonly IPNetwork s_first = IPNetwork.Parse("2001:db8:f1::/64"), s_second = IPNetwork.Parse("2001:db8:f2::/64"), s_pool = IPNetwork.Parse("2001:db8:a:8000::/49");

    private readonly Dictionary<string, JsonElement> _shown = [];
    private IReadOnlyList<string> _store = [], _storeText = [], _asked = [];
    private byte[] _privateKey = [], _publicKey = [];
    private string _missing = "", _states = "";
    private long _started, _removed, _returned;
    private IPAddress? _home;

    public override string Name => "authentication/1";

    protected override IReadOnlyList<string> Fields => [.. base.Fields, "ip.src", "tcp.srcport", "tcp.dstport", "tcp.len", "udp.port", "isakmp.spi", "isakmp.cert.encoding"];

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        await PrepareAsync(run, cancellation);
        await using var first = await RouterAdvertiser.StartAsync(run, "ar1", "acc0", s_first.ToString(), managed: false, cancellation);
        await using var second = await RouterAdvertiser.StartAsync(run, "ar2", "acc0", s_second.ToString(), managed: false, cancellation);
        await StartTerminalAsync(run, cancellation);
        await UseAsync(run, cancellation);
        await MoveAsync(run, cancellation);
        _asked = await EventsAsync(run, "ha", "prefix.allocation_asked", cancellation);
        _states = string.Join(" ", await EventsAsync(run, "mn", "terminal.state", cancellation));
        _store = [.. System.IO.Directory.GetFiles(StoreOf(run, "mn")).Select(f => System.IO.Path.GetFileName(f)!).Order(StringComparer.Ordinal)];
        _storeText = [.. System.IO.Directory.GetFiles(StoreOf(run, "mn"), "*.pem").Where(f => !f.EndsWith("key.pem", StringComparison.Ordinal)).Select(File.ReadAllText)];
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures) => [new LadderChapter("From power-on to the end", new Ladder(Columns, [.. Steps()]))];

    /// <summary>What operators and issuers of cards do before a terminal is switched on.</summary>
    private async Task PrepareAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The operator makes the authority, lists the terminal and its prefix request; its card is written");
        var database = await MakeAuthorityAsync(run, cancellation);
        var card = WriteCardAsync(run, database, "mn", Name1, "mn1", cancellation);
        await Task.WhenAll(
            card,
            AllowPrefixAsync(run, "ha", Duid, "193", Name1, cancellation),
            IssueAsync(run, database, "ca", AuthorityName, [Authority], cancellation),
            ListServerAsync(run, database, "ha", HomeAgentName, "home-agent", [HomeAgent], "ha", cancellation));
        (_privateKey, _publicKey) = await card;
        await run.Node("ca").StartAsync(cancellation);
        await StartHomeAgentAsync(run, cancellation);
    }

    /// <summary>The terminal is switched on without its card, then gets it (TA-N28), and goes as far as it can.</summary>
    private async Task StartTerminalAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The terminal is switched on without its card");
        var (key, away) = (System.IO.Path.Combine(StoreOf(run, "mn"), "key.pem"), System.IO.Path.Combine(run.Directory.FolderOf("mn"), "taken-out.pem"));
        File.Move(key, away);
        _started = LabRun.Now;
        await run.Node("mn").StartAsync(cancellation);
        await AwaitEventAsync(run, "mn", "terminal.credentials_missing", TimeSpan.FromSeconds(20), cancellation);
        _missing = (await EventsAsync(run, "mn", "terminal.credentials_missing", cancellation)).FirstOrDefault() ?? "";
        await ShowAsync(run, "without card", cancellation);
        run.Progress.Note(_missing);
        run.Progress.Step("Its card is put in");
        _returned = LabRun.Now;
        File.Move(away, key);
        var session = _shown["arrived"] = await ReachAsync(run, "mn", "REG", TimeSpan.FromSeconds(60), cancellation);
        _home = IPAddress.TryParse(TableQuestions.Text(session, "homeAddress"), out var home) ? home : null;
        run.Progress.Note(string.Create(CultureInfo.InvariantCulture, $"REG after {(LabRun.Now - _returned) / 1e6:F0} ms: {session}"));
    }

    private async Task ShowAsync(LabRun run, string moment, CancellationToken cancellation) => _shown[moment] = await SessionAsync(run, "mn", cancellation);
}
