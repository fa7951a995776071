using System.Globalization;
using System.Net;
using System.Text.Json;
using Sojourn.Lab.Capture;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

/// <summary>Moves while the visited AAA server has lost its cache or come back with it, to an agent left before, from one out of reach.</summary>
public sealed partial class NetworkVpn9
{
    /// <summary>R38: what a silent old agent may cost, and what the lab's own machine may add.</summary>
    private static readonly TimeSpan OldAgentWait = TimeSpan.FromMilliseconds(500), Slack = TimeSpan.FromMilliseconds(150);

    /// <summary>Longer than the hand-off tunnels of the scenario file last.</summary>
    private static readonly TimeSpan HandOffOver = TimeSpan.FromSeconds(4.5);

    private readonly List<PingResult> _followed = [];
    private SeenRegistration? _moved, _back, _unreached, _final;
    private PingResult? _movedPing, _backPing, _unreachedCompany, _unreachedPartner, _finalPing;

    private async Task MovesAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The visited AAA server dies and loses its disk; Alice moves to the other agent and back");
        await RestartAaaAsync(run, () => run.Node("aaaf").LoseState(), cancellation);
        await _tables.TakeAsync(run, "lost", cancellation);
        _moved = await AttachAsync(run, "access-2", cancellation);
        _movedPing = await run.PingAsync("alice", Host.ToString(), new PingOptions(5), cancellation);
        foreach (var host in (IPAddress[])[CompanyHost, SecondHost, AuthenticatedHost, EncapsulatedHost])
        {
            _followed.Add(await run.PingAsync("alice", host.ToString(), new PingOptions(3), cancellation));
        }

        await _tables.TakeAsync(run, "moved", cancellation);
        _back = await AttachAsync(run, "access-1", cancellation);
        _backPing = await run.PingAsync("alice", Host.ToString(), new PingOptions(5), cancellation);
        await _tables.TakeAsync(run, "back", cancellation);
        await ReplayAsync(run, cancellation);
        await Task.Delay(HandOffOver, cancellation);
        await _tables.TakeAsync(run, "rested", cancellation);
        await SpoiledAsync(run, cancellation);

        run.Progress.Step("The visited AAA server dies and comes back with what it had; Alice moves, and the old agent cannot be reached");
        await RestartAaaAsync(run, () => { }, cancellation);
        await _tables.TakeAsync(run, "kept", cancellation);
        run.Network.Wire("core-fa1").Cut = true;
        _unreached = await AttachAsync(run, "access-2", cancellation);
        _unreachedCompany = await run.PingAsync("alice", CompanyHost.ToString(), new PingOptions(5), cancellation);
        _unreachedPartner = await run.PingAsync("cn", Alice.ToString(), new PingOptions(5), cancellation);
        run.Network.Wire("core-fa1").Cut = false;
        _final = await AttachAsync(run, "access-1", cancellation);
        _finalPing = await run.PingAsync("alice", Host.ToString(), new PingOptions(5), cancellation);
        await Task.Delay(HandOffOver, cancellation);
        await _tables.TakeAsync(run, "settled", cancellation);
    }

    /// <summary>Kills the visited AAA server and starts it again; its peers have found it when this returns.</summary>
    private static async Task RestartAaaAsync(LabRun run, Action meanwhile, CancellationToken cancellation)
    {
        var node = run.Node("aaaf");
        await node.KillAsync();
        meanwhile();
        await node.StartAsync(cancellation);
        await LabRun.UntilAsync(
            async () => (await node.Control.GetAsync("peers", cancellation)).GetProperty("peers").EnumerateArray().All(p => p.GetProperty("up").GetBoolean()),
            TimeSpan.FromSeconds(45),
            cancellation);
    }

    /// <summary>Alice's radio leaves where it is and reaches another link; waits for the reply there.</summary>
    private static async Task<SeenRegistration> AttachAsync(LabRun run, string link, CancellationToken cancellation)
    {
        var radio = run.Network.Radio("alice", "eth0");
        var from = LabRun.Now;
        radio.Leave();
        await Task.Delay(20, cancellation);
        radio.Reach(link);
        return await run.AwaitReplyAsync("alice", link, from, cancellation);
    }

    private void Moves(CaptureSet captures, RowBook rows)
    {
        bool AskedHome(SeenRegistration move) => captures.Signals.During(move.From, move.Replied ?? move.From).Any(s => s is { Name: "AMR", From: "aaaf", To: "aaah" });
        rows.Check("NV-A20", "the AAAF has lost its cache: the AMR of a move inside the domain goes on to the AAAH, and the move succeeds", _tables.Rows("lost", "aaaf", "vpn-cache").Count == 0 && AskedHome(_moved!) && _moved!.Accepted && _movedPing!.AllArrived,
            $"{_tables.Rows("lost", "aaaf", "vpn-cache").Count} sessions in the cache, AMR to the AAAH: {AskedHome(_moved!)}; accepted: {_moved!.Accepted}; {_movedPing!.Summary}");
        rows.Check("NV-A20", "the AAAF has restarted with its disk: it has its cache, answers the next move from it, and the move succeeds", _tables.Profiles("kept", "aaaf", AliceNai).Count > 0 && !AskedHome(_unreached!) && _unreached!.Accepted,
            $"{_tables.Profiles("kept", "aaaf", AliceNai).Count} profiles in the cache, AMR to the AAAH: {AskedHome(_unreached!)}; accepted: {_unreached!.Accepted}");
        foreach (var (ping, host, expected) in _followed.Zip(
            (IPAddress[])[CompanyHost, SecondHost, AuthenticatedHost, EncapsulatedHost],
            (string[])["fa2 -ESP-> ha, ha -ESP-> sgw, sgw -clear-> companyhost", "fa2 -ESP-> pcn2, pcn2 -clear-> cn2", "fa2 -AH-> pcn, pcn -clear-> cn", "fa2 -ENCAPSULATION-> pcn2, pcn2 -clear-> cn2"]))
        {
            var trace = captures.Trace(ping, Alice, host, 8);
            rows.Check("NV9.3", $"the profile towards {host} follows the node, of the security type it has", trace == "alice -clear-> fa2, " + expected && ping.AllArrived, $"{trace}; {ping.Summary}");
        }

        var expired = captures.Packets.Where(p => p.Time >= _moved.From && p.Time <= _finalPing!.To && (p.Host ?? p.Packet).IcmpType == 11).ToList();
        rows.Check("NV9.11", "to the other agent and back again, twice: the last registration wins and there is no loop", _back is { Accepted: true } && _final is { Accepted: true } && _backPing!.AllArrived && _finalPing!.AllArrived && expired.Count == 0,
            $"accepted: {_back!.Accepted}, {_final!.Accepted}; {_backPing!.Summary}; {_finalPing!.Summary}; {expired.Count} TTL-expired");

        // Spec 5.8: who encrypts towards whom for the user.
        string Sends(string node, IEnumerable<string> to) => $"{node} > {string.Join("+", to.Order(StringComparer.Ordinal))}";
        var senders = ((string[])["fa1", "fa2", "ha", "pcn", "pcn2"]).Select(node => Sends(node, Senders("settled", node))).ToList();
        List<string> wanted = [.. (((string, IPAddress[])[])[("fa1", [Home, Partner, SecondPartner]), ("fa2", []), ("ha", [Agent, Company]), ("pcn", [Agent]), ("pcn2", [Agent])]).Select(s => Sends(s.Item1, s.Item2.Select(a => a.ToString())))];
        rows.Check("NV9.11", "after the hand-off time the user's tunnels are those of a first registration, and the other agent has none", senders.SequenceEqual(wanted), string.Join("; ", senders));
        OldAgentOutOfReach(captures, rows);
    }

    /// <summary>NV9.9, NV-A29: a silent old agent.</summary>
    private void OldAgentOutOfReach(CaptureSet captures, RowBook rows)
    {
        var signals = captures.Signals.During(_unreached!.From, _unreached.Replied ?? _unreached.From).ToList();
        var asked = signals.FirstOrDefault(s => s is { Name: "BU", From: "fa2" });
        var answered = signals.Any(s => s is { Name: "BA", To: "fa2" });
        var waited = asked is null || _unreached.Replied is null ? double.NaN : (_unreached.Replied.Value - asked.Time) / 1e6;
        foreach (var id in (string[])["NV9.9", "NV-A29"])
        {
            rows.Check(id, "the old agent cannot be reached: the reply comes to the node all the same, within the old-FA wait", _unreached.Accepted && asked is not null && !answered && waited <= (OldAgentWait + Slack).TotalMilliseconds,
                string.Create(CultureInfo.InvariantCulture, $"accepted: {_unreached.Accepted}; BU to the old agent {(asked is null ? "not seen" : "sent")}, acknowledged: {answered}; the reply {waited:F0} ms behind the BU"));
            rows.Check(id, "and the paths over home agent and gateway work", _unreachedCompany!.AllArrived && _unreachedPartner!.AllArrived, $"{_unreachedCompany.Summary}; {_unreachedPartner!.Summary}");
        }

        rows.Measure("a move from an agent out of reach, from the binding update to the reply", waited, "ms");
    }

    private IReadOnlyList<string> AlicesPaths(string moment, string node) =>
        [.. _tables.Rows(moment, node, "paths").Where(OfAlice).Select(p => $"{PathText(p)} {Text(p, "state")}").Order(StringComparer.Ordinal)];

    private IEnumerable<string> Senders(string moment, string node) =>
        _tables.Rows(moment, node, "paths").Where(p => OfAlice(p) && Text(p, "state") == "active").Select(p => Text(p, "remoteGateway")).Distinct();

    private static bool OfAlice(JsonElement path) => Mentions(path, AliceNai) || Mentions(path, Alice + "/32");
}
