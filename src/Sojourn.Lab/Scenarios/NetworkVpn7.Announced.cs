using System.Globalization;
using System.Net;
using Sojourn.Lab.Browsing;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Nodes;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

/// <summary>NV7 once more, but the home AAA server itself tells the session of the change (RFC 6733 8.3).</summary>
public sealed partial class NetworkVpn7
{
    private SeenRegistration? _announced;
    private CommandResult? _reloaded;
    private PingResult? _announcedPing;
    private Page? _changedBack;
    private long _announcedFrom;

    /// <summary>Alice enters the first correspondent again. Nobody touches her terminal.</summary>
    private async Task AnnouncedAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The AAA server is told to announce changes; Alice changes back, and her terminal asks for nothing");
        var configuration = NodeFiles.ConfigurationOf(run.Directory, "aaah");
        var lines = (await File.ReadAllLinesAsync(configuration, cancellation)).ToList();
        var section = lines.FindIndex(l => l.StartsWith("aaa:", StringComparison.Ordinal));
        var next = lines[section + 1];
        lines.Insert(section + 1, next[..^next.TrimStart().Length] + "announce-changes: true");
        await File.WriteAllLinesAsync(configuration, lines, cancellation);
        _reloaded = await run.SojournAsync(["reload", "--socket", run.Node("aaah").Control.SocketPath], cancellation);

        // It looks every second, and what was there before it began to look is not announced.
        await Task.Delay(TimeSpan.FromSeconds(2), cancellation);
        using var authority = NodeFiles.Authority(run.Directory);
        var site = NodeFiles.ConsoleOf(run.Topology.Node("aaah"));
        using var browser = new Browser(site, place: new BrowserPlace(run.Network.Namespace("desk"), new IPEndPoint(Web, site.Port), authority));
        await browser.Login(AliceNai, _password);
        _announcedFrom = LabRun.Now;
        _changedBack = await browser.Change((int)AlicesProfile, ("destination", Host.ToString()));
        _announced = await run.AwaitReplyAsync("alice", "access-alice", _announcedFrom, cancellation);
        await _tables.TakeAsync(run, "announced", cancellation);
        _announcedPing = await run.PingAsync("alice", Host.ToString(), new PingOptions(5), cancellation);
        run.Progress.Note(_announcedPing.Summary);
    }

    private void JudgeAnnounced(CaptureSet captures, RowBook rows, SeenProtection want)
    {
        var signals = captures.Of(_announced!);
        var asked = captures.Signals.During(_announcedFrom, _announced!.Replied ?? _announcedFrom).Where(s => s.Name is "RAR" or "RAA").Select(s => s.ToString()).ToList();
        var request = signals.FirstOrDefault(s => s.Name == "RRQ");
        rows.Check("NV7.4", "with changes announced, the AAAH asks the FA for a registration by itself (RAR), and searches the database for it",
            _reloaded is { ExitCode: 0 } && asked.Take(2).SequenceEqual(["aaah > aaaf RAR", "aaaf > fa1 RAR"]) && asked.Contains("aaaf > aaah RAA") && Searches("announced") == Searches("end") + 1,
            $"the page answers {(int)_changedBack!.Status}; {string.Join(", ", asked)}; {Searches("end")} searches before, {Searches("announced")} after");
        rows.Check("NV7.3", "the terminal's request is a plain one, and the FA makes its AMR one with a service update",
            request is not null && !AsksUpdate(request) && signals.FirstOrDefault(s => s is { Name: "AMR", To: "aaah" }) is { } amr && AsksUpdate(amr), string.Join(", ", signals.Select(s => s.Name)));
        var trace = captures.Trace(_announcedPing!, Alice, Host, 8);
        rows.Check("NV7.10", "so the path moves without the terminal's asking for it",
            _announcedPing!.AllArrived && trace == $"alice -clear-> fa1, fa1 -{Word(want)}-> pcn, pcn -clear-> cn" && !_tables.Legs("announced", "fa1", Agent, NewPartner).Out,
            $"{_announcedPing.Summary}: {trace}");
        rows.Measure("announced change, page to reply on the access link", _announced.Replied is { } replied ? (replied - _announcedFrom) / 1e6 : double.NaN, "ms");
    }
}
