using System.Net;
using Sojourn.Lab.Browsing;
using Sojourn.Lab.Evidence;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>AC04: a browser downloads 200 MB from a server that has IPv6 only while the terminal moves six times.</summary>
public sealed partial class Terminal1
{
    private const int DownloadRate = 12_500_000;

    private static readonly TimeSpan s_downloadBound = TimeSpan.FromSeconds(150);

    /// <summary>What the browser kept, and the connections the host's kernel had for it after each move.</summary>
    private string _kept = "";
    private readonly SortedSet<string> _connections = [];

    /// <summary>A move comes when another seventh of the download is there, whatever the rate.</summary>
    private async Task DownloadAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The terminal moves six times while a browser downloads 200 MB and somebody works by ssh");
        var folder = run.Directory.FolderOf("downloads-mn");
        var file = Path.Combine(folder, "big");
        _served = await HashAsync(Path.Combine(run.Directory.FolderOf("pages-cn"), "big"), cancellation);
        var server = IPAddress.Parse(_ran["named"].Output.Trim());
        string[] links = ["access-5b", "access-5a"];
        await using var browser = await Chromium.StartAsync(run.Network.Namespace("mn"), (Name1, server));
        Sample(run, true);
        var work = WorkAsync(run, cancellation);
        var from = LabRun.Now;
        await browser.Download(new Uri($"http://{Name1}/big"), folder, DownloadRate);
        for (var move = 0; move < Moves; move++)
        {
            var part = (long)DownloadLength * (move + 1) / (Moves + 1);
            await LabRun.UntilAsync(() => Task.FromResult(Length() >= part), TimeSpan.FromSeconds(60), cancellation);

            // Around a move every frame is recorded, so that its gap can be measured.
            Sample(run, false);
            await Task.Delay(s_recorded, cancellation);
            var left = LabRun.Now;
            var radio = run.Network.Radio("mn", "eth0");
            radio.Leave();
            await Task.Delay(s_outOfReach, cancellation);
            radio.Reach(links[(move + 1) % 2]);
            var prefix = move % 2 == 0 ? "2001:db8:5a:" : "2001:db8:5b:";
            var careOf = "";
            await LabRun.UntilAsync(async () => (careOf = PathLines.Rows(await run.ShowAsync("mn", "tunnels", cancellation)).Select(t => Text(t, "start")).FirstOrDefault("")).StartsWith(prefix, StringComparison.Ordinal), TimeSpan.FromSeconds(10), cancellation);
            await Task.Delay(s_recorded, cancellation);
            Sample(run, true);
            _moves.Add((links[move % 2], links[(move + 1) % 2], left, careOf));
            await RunAsync(run, "connections", "mn", ["ss", "-Htn", "state", "established", "dst", $"{server}:80"], cancellation);
            _connections.UnionWith(_ran["connections"].Output.Split('\n').Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Where(line => line.Length >= 4).Select(line => $"{line[2]} > {line[3]}"));
        }

        await LabRun.UntilAsync(() => Task.FromResult(File.Exists(file) && new FileInfo(file).Length == DownloadLength), s_downloadBound, cancellation);
        LeaveShell(run);
        await work;
        Sample(run, false);
        _times["downloaded"] = (from, LabRun.Now);
        _kept = File.Exists(file) ? await HashAsync(file, cancellation) : $"{Length()} octets of an unfinished download";
        run.Progress.Note($"{_kept}; {string.Join(", ", _connections)}");
        await TakeAsync(run, "moved", cancellation);

        // While it is under way the file has another name.
        long Length() => new DirectoryInfo(folder).EnumerateFiles().Sum(f => f.Exists ? f.Length : 0);
    }

    private void JudgeDownload(RowBook rows)
    {
        var (from, to) = _times["downloaded"];
        var flows = On("core-cn", from, to).Where(p => p.Sender == "cn" && p.Is("tcp.srcport", "80") && p.First("tcp.len") is { } length && length != "0").Select(p => $"{p.Source} 80 > {p.Destination} {p.First("tcp.dstport")}").Distinct().ToList();
        var named = _ran["named"].Output.Trim();
        var stays = Text(Entry("moved", Correspondent), "ipv4Address") == named && Text(Entry("moved", Home), "ipv4Address") == Host;
        var starts = _moves.Select(m => m.CareOf).ToList();
        var changed = starts.Count == Moves && starts.Select((start, i) => start.StartsWith(i % 2 == 0 ? "2001:db8:5a:" : "2001:db8:5b:", StringComparison.Ordinal)).All(right => right);
        var carried = _moves.Select((m, i) => On(m.Link, m.Left, i + 1 < Moves ? _moves[i + 1].Left : to).Count(p => p.Is("tcp.srcport", "80"))).ToList();
        var same = _connections is { Count: 1 } && _connections.Single() is var only && only.StartsWith(Host + ":", StringComparison.Ordinal) && only.EndsWith($" {named}:80", StringComparison.Ordinal);
        rows.Check("TM-AC04", "a browser downloads 200 MB with the same hash over six moves, as one TCP connection of the same addresses on either side; the tunnel and both ends' lists have each new care-of address, the table is unchanged",
            _served.Length > 0 && _kept == _served && same && flows.Count == 1 && changed && stays && carried.All(c => c > 20)
            && _shown["binding-list moved"].Any(e => Text(e, "list") == "registration" && Text(e, "careOfAddress") == starts[^1]) && _shown["bindings moved"].Any(e => Text(e, "careOfAddress") == starts[^1]),
            $"kept {_kept}, served {_served}; {string.Join(", ", _connections)}; {string.Join(", ", flows)}; segments recorded after each move {string.Join(", ", carried)}; {string.Join(" > ", starts)}");
        rows.Measure("rate of the download with six moves", DownloadLength * 8e3 / Math.Max(1, to - from), "Mbit/s");
        var gaps = new List<double>();
        foreach (var move in _moves)
        {
            var last = On(move.From, 0, move.Left).LastOrDefault(p => p.Is("tcp.srcport", "80"));
            var late = On(move.Link, move.Left).FirstOrDefault(p => p.Is("tcp.srcport", "80"));
            if (last is not null && late is not null)
            {
                gaps.Add((late.Time - last.Time) / 1e6);
            }
        }

        if (gaps.Count > 0)
        {
            rows.Measure("gap of the download at a move, median", gaps.Order().ElementAt(gaps.Count / 2), "ms");
            rows.Measure("gap of the download at a move, worst", gaps.Max(), "ms");
        }
    }
}
