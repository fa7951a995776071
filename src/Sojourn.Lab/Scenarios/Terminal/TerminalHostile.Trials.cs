using System.Globalization;
using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Network;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Scenarios.Authentication;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>How a trial is made and judged: the named counter goes up by the number of packets, no other does, and the tables stay.</summary>
public sealed partial class TerminalHostile
{
    /// <summary>Names of spec terminal 4.9.</summary>
    private static readonly HashSet<string> s_counters =
    [
        "ba.status_refused", "ba.tunnel_set_failed", "ba.xlat_failed", "ba.bul_failed", "ba.map_info_failed", "ba.rh_bad", "ba.seq_or_cookie_bad", "scenario.not_valid", "ipsec.sa_not_found_in", "ipsec.sa_not_found_out",
        "ipsec.failed_in", "spd.mismatch_in", "spd.discard_out", "rx.rh_home_addr_bad", "rx.tunnel_source_bad", "rx.nest_limit", "tx.no_tunnel", "xlat.dst_miss_down", "xlat.src_miss_up", "xlat.pool4_empty", "xlat.pool6_empty",
        "be.ignored", "be.binding_deleted", "ha.reverse_tunnel_bad", "ha.bu_refused", "map.reverse_tunnel_bad", "mh.malformed", "mip6.cn.unknown_binding",
    ];

    /// <summary>What a table shows that time and traffic change by themselves.</summary>
    private static readonly HashSet<string> s_volatile = ["expires", "lastUse", "packetsIn", "packetsOut", "state", "requestSent"];

    private static readonly TimeSpan s_countedWithin = TimeSpan.FromSeconds(5), s_settle = TimeSpan.FromMilliseconds(150);

    private readonly List<Trial> _trials = [];
    private readonly Dictionary<string, byte[]> _places = [];
    private readonly Dictionary<string, string> _careOf = [];
    private ForeignProgram? _forge;
    private string _requests = "";
    private int _number;

    /// <summary>Which counters of the specification went up during a trial, and whether the node's tables are as before.</summary>
    private sealed record Trial(string Row, string What, string Node, string? Counter, int Times, IReadOnlyDictionary<string, long> Counted, string Before, string After);

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        rows.Part("Trials", () => Trials(rows));
        rows.Part("Answers", () => Answers(rows));
        rows.Part("Others", () => Others(rows));
    }

    private void Trials(RowBook rows)
    {
        foreach (var trial in _trials)
        {
            var expected = trial.Counter is null ? "" : Text(new Dictionary<string, long> { [trial.Counter] = trial.Times });
            rows.Check(
                trial.Row, string.Create(CultureInfo.InvariantCulture, $"{trial.What}: {trial.Counter ?? "no counter"}{(trial.Counter is null ? "" : $" +{trial.Times} and no other")}, no table changes"),
                Text(trial.Counted) == expected && trial.Before == trial.After && trial.Before.Length > 0,
                $"{trial.Node}: {(trial.Counted.Count == 0 ? "nothing counted" : Text(trial.Counted))}; tables {(trial.Before == trial.After ? "as before" : $"before {trial.Before}, after {trial.After}")}");
        }

        foreach (var row in _trials.Select(t => t.Row).Distinct().Where(r => r is not ("TM-NC14" or "TM-NC15" or "TM-NC16")))
        {
            var seen = Packets.Where(p => p.First("frame.comment")?.StartsWith(row, StringComparison.Ordinal) == true).ToList();
            rows.Check(row, "what was put on the link is on the link", seen.Count > 0, string.Join("; ", seen.Select(p => $"{p.Link}: {string.Join(' ', p.Protocols.SkipWhile(n => n != "ipv6"))}").Distinct()));
        }

        static string Text(IReadOnlyDictionary<string, long> counted) => string.Join(", ", counted.OrderBy(c => c.Key, StringComparer.Ordinal).Select(c => string.Create(CultureInfo.InvariantCulture, $"{c.Key} +{c.Value}")));
    }

    private void Answers(RowBook rows)
    {
        var errors = On("core-cn", _errorsFrom).Where(p => p.Sender == "cn" && p.Is("mip6.mhtype", BindingError)).ToList();
        rows.Check("TM-NC26", "one binding error of status 1, to who sent it; nothing reaches an application", errors is [var error] && error.Is("mip6.be.status", "1") && error.To(Stranger), $"{errors.Count}: {errors.FirstOrDefault()?.First("mip6.be.status")} to {errors.FirstOrDefault()?.Destination}");
        rows.Check("TM-NC12", "the host is told that nobody can be reached there", _refusedPing.Contains("nreachable", StringComparison.Ordinal), _refusedPing.Trim().ReplaceLineEndings("; "));
        var quoted = new[] { "access-1", "core-plain" }.Select(link => On(link, _from).Count(p => p.Is("icmpv6.type", Unreachable) && p.Is("icmpv6.code", "4") && p.Is("udp.dstport", "10012"))).ToList();

        // The answer to an update that was repeated meanwhile is late, and runs none.
        var answers = On("access-1", _from, _ranUntil).Where(p => p.Sender == "ar1" && p.Is("mip6.mhtype", BindingAcknowledgement) && p.First("frame.comment") is null && p.First("udp.dstport") is null).Select(p => p.Time).ToList();
        var meanwhile = answers.Count(t => t >= _ranFrom);
        rows.Check(
            "TM-NC17", "the host gets the datagrams and answers them as any other that nobody waits for; scenario programs ran for acknowledgements alone, none for these",
            quoted.TrueForAll(n => n > 0) && _runsBefore > 0 && _runs <= answers.Count && _runs - _runsBefore <= meanwhile,
            string.Create(CultureInfo.InvariantCulture, $"port unreachable {string.Join(" and ", quoted)} times; {_runsBefore} programs run before and {_runs} after, {answers.Count} acknowledgements, {meanwhile} meanwhile"));
    }

    private void Others(RowBook rows)
    {
        var taken = Sequences().Matches(_pinged).Select(m => int.Parse(m.Groups[1].Value, CultureInfo.InvariantCulture)).ToHashSet();
        var last = taken.DefaultIfEmpty(0).Max();
        var missing = Enumerable.Range(1, last).Except(taken).ToList();
        foreach (var row in _trials.Where(t => t.Node == "mn" && t.Row != "TM-NC16").Select(t => t.Row).Distinct())
        {
            rows.Check(row, "a ping of the host through the tunnel misses no answer over all of it", taken.Count > 50 && missing.Count == 0, string.Create(CultureInfo.InvariantCulture, $"{taken.Count} answers, missing {missing.Count}{(missing.Count > 0 ? ": " + string.Join(' ', missing.Take(5)) : "")}"));
        }

        rows.Measure($"from the start of the terminal to the last of {_trials.Count} trials", (_to - _from) / 1e9, "s");
    }

    /// <summary>Does something that has to raise one counter of a node and nothing else.</summary>
    /// <param name="counter">Null: none.</param>
    private async Task TryAsync(LabRun run, string row, string what, string node, string? counter, int times, Func<Task> act, CancellationToken cancellation)
    {
        var (tables, counters) = (await TablesAsync(run, node, cancellation), await CountersAsync(run, node, cancellation));
        await act();
        if (counter is not null)
        {
            await LabRun.UntilAsync(async () => (await CountersAsync(run, node, cancellation)).GetValueOrDefault(counter) >= counters.GetValueOrDefault(counter) + times, s_countedWithin, cancellation);
        }

        await Task.Delay(s_settle, cancellation);
        var after = await CountersAsync(run, node, cancellation);
        var counted = after.Where(c => c.Value != counters.GetValueOrDefault(c.Key)).ToDictionary(c => c.Key, c => c.Value - counters.GetValueOrDefault(c.Key));
        _trials.Add(new Trial(row, what, node, counter, times, counted, tables, await TablesAsync(run, node, cancellation)));
    }

    /// <summary>Has packets made and puts them on a link as its router, or as the correspondent of that link, would.</summary>
    private async Task InjectAsync(LabRun run, string row, string kind, string link, string? counter, CancellationToken cancellation, params (string Name, object Value)[] facts)
    {
        var packets = await MakeAsync(kind, Facts(run, link, facts), cancellation);
        var node = link switch { "core-ha" => "ha", "core-cn" => "cn", "access-2" => "mt", _ => "mn" };
        await TryAsync(
            run, row, kind.Replace('-', ' '), node, counter, packets.Count,
            async () =>
            {
                foreach (var packet in packets)
                {
                    await PutAsync(run, link, [.. _places[link], .. packet], $"{row} {kind}");
                }
            },
            cancellation);
    }

    private static Task PutAsync(LabRun run, string link, byte[] frame, string why)
    {
        run.Network.Wire(link).Inject(link == "core-plain" ? 0 : 1, frame, why);
        return Task.CompletedTask;
    }

    /// <summary>What the maker has to know: addresses as they are on a link, and keys.</summary>
    private Dictionary<string, object> Facts(LabRun run, string link, IEnumerable<(string Name, object Value)> more)
    {
        var facts = new Dictionary<string, object>
        {
            ["agent"] = HomeAgent,
            ["careof"] = _careOf[link == "access-2" ? link : "access-1"],
            ["home"] = link == "access-2" ? Translated : Home,
            ["other"] = Nobody,
            ["peer"] = Correspondent,
            ["stranger"] = Stranger,
            ["keys"] = Keys(run),
        };
        foreach (var (name, value) in more)
        {
            facts[name] = value;
        }

        return facts;
    }

    private static Dictionary<string, string> Keys(LabRun run)
    {
        var keys = new Dictionary<string, string>();
        foreach (var fields in File.ReadLines(NodeFiles.EspKeysOf(run.Directory, "ha")).Select(line => line.Split("\",\"")).Where(f => f.Length >= 8))
        {
            keys[fields[3][2..]] = fields[5].Trim('"')[2..];
        }

        return keys;
    }

    private async Task<ForeignProgram> StartForgeAsync(LabRun run, CancellationToken cancellation)
    {
        _requests = Path.Combine(run.Directory.FolderOf("forge"), "requests");
        return _forge = await ForeignProgram.StartAsync(
            run, "plain", ["/usr/bin/python3", Path.Combine(ScenarioDefinition.Root, Name, "forge.py"), _requests], () => Task.FromResult(File.Exists(_requests)), cancellation);
    }

    /// <exception cref="ScenarioException">The maker makes nothing of it.</exception>
    private async Task<IReadOnlyList<byte[]>> MakeAsync(string kind, Dictionary<string, object> facts, CancellationToken cancellation)
    {
        var number = string.Create(CultureInfo.InvariantCulture, $"{++_number} ");
        facts["make"] = kind;
        facts["number"] = _number;
        await using (var fifo = new FileStream(_requests, FileMode.Open, FileAccess.Write))
        {
            await JsonSerializer.SerializeAsync(fifo, facts, cancellationToken: cancellation);
            fifo.WriteByte((byte)'\n');
        }

        string? line = null;
        await LabRun.UntilAsync(() => Task.FromResult((line = _forge!.Said.Split('\n').FirstOrDefault(l => l.StartsWith(number, StringComparison.Ordinal))) is not null || _forge.HasEnded), TimeSpan.FromSeconds(10), cancellation);
        return line is null ? throw new ScenarioException($"no packets of kind {kind}: {_forge!.Said}") : [.. line.Trim().Split(' ').Skip(1).Select(Convert.FromHexString)];
    }

    /// <summary>The Ethernet headers by which packets reach nodes: those of the last that did.</summary>
    private void LearnPlaces(LabRun run)
    {
        foreach (var (link, sender) in new[] { ("access-1", 1), ("access-2", 1), ("core-ha", 1), ("core-cn", 1), ("core-plain", 0) })
        {
            var frame = run.Network.Wire(link).Recording.Frames().LastOrDefault(f => f.Sender == sender && IsIpv6(f.Data) && (f.Data[0] & 1) == 0) ?? throw new ScenarioException($"nothing has crossed {link} yet");
            _places[link] = frame.Data[..14];
            if (link.StartsWith("access", StringComparison.Ordinal))
            {
                _careOf[link] = new IPAddress(run.Network.Wire(link).Recording.Frames().Last(f => f.Sender == 0 && IsIpv6(f.Data) && f.Data[22] == 0x20).Data.AsSpan(22, 16)).ToString();
            }
        }
    }

    /// <summary>Keeps the first frame of a kind from the terminal; its packet.</summary>
    private static async Task<string> CatchAsync(LabRun run, Func<CapturedFrame, bool> wanted, Func<Task> cause, CancellationToken cancellation)
    {
        var wire = run.Network.Wire("access-1");
        var before = wire.Recording.Count;
        wire.Tap = frame => frame.Sender == 1 && IsIpv6(frame.Data) && wanted(frame) ? WireVerdict.Lose : WireVerdict.Pass;
        try
        {
            await cause();
            CapturedFrame? caught = null;
            await LabRun.UntilAsync(() => Task.FromResult((caught = wire.Recording.Frames(before).FirstOrDefault(f => f.Lost)) is not null), TimeSpan.FromSeconds(5), cancellation);
            return Convert.ToHexStringLower((caught ?? throw new ScenarioException("the packet to be caught did not come")).Data.AsSpan(14));
        }
        finally
        {
            wire.Tap = null;
        }
    }

    /// <summary>The next acknowledgement that the wire loses; its packet.</summary>
    private static async Task<string> NextAnswerAsync(LabRun run, TimeSpan limit, CancellationToken cancellation)
    {
        var recording = run.Network.Wire("access-1").Recording;
        var before = recording.Count;
        CapturedFrame? answer = null;
        await LabRun.UntilAsync(() => Task.FromResult((answer = recording.Frames(before).FirstOrDefault(f => f.Lost && IsProtectedAnswer(f.Data))) is not null), limit, cancellation);
        return Convert.ToHexStringLower((answer ?? throw new ScenarioException("the terminal does not renew its binding")).Data.AsSpan(14));
    }

    private async Task<string> TablesAsync(LabRun run, string node, CancellationToken cancellation)
    {
        var shown = new List<string>();
        foreach (var table in node is "mn" or "mt" ? (string[])["binding-list", "tunnels", "policy", "sa", "translation", "scenarios", "bindings"] : ["bindings", "sessions"])
        {
            var rows = PathLines.Rows(await run.ShowAsync(node, table, cancellation)).Where(row => !_shortWayEnds || Text(row, "peer") != Correspondent).Select(row => string.Join(' ', row.EnumerateObject().Where(p => !s_volatile.Contains(p.Name)).Select(p => p.Value.ToString())));
            shown.Add($"{table}: {string.Join(" | ", rows.Order(StringComparer.Ordinal))}");
        }

        return string.Join("; ", shown);
    }

    private static async Task<Dictionary<string, long>> CountersAsync(LabRun run, string node, CancellationToken cancellation) =>
        (await run.ShowAsync(node, "counters", cancellation)).GetProperty("counters").EnumerateObject().Where(c => s_counters.Contains(c.Name)).ToDictionary(c => c.Name, c => c.Value.GetInt64());

    private static async Task<long> CountAsync(LabRun run, string node, string counter, CancellationToken cancellation) => (await CountersAsync(run, node, cancellation)).GetValueOrDefault(counter);

    [GeneratedRegex(@"icmp_seq=(\d+) ttl=")]
    private static partial Regex Sequences();
}
