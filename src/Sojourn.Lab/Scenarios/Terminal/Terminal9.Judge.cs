using System.Globalization;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>What the access links carried by each method, and which program the terminal's log says it ran.</summary>
public sealed partial class Terminal9
{
    private static readonly Layouts s_layouts = new(new Dictionary<string, string>
    {
        [HomeAgent] = "HA",
        [Home] = "HoA",
        [AnchorPoint] = "MAP",
        [Correspondent] = "CN",
        [Plain] = "N",
        [CareOf] = "CoA",
        [OnLink] = "LCoA",
        [Regional] = "RCoA",
    });

    private const string RouterRenumbering = "138";

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        var log = File.ReadAllText(Path.Combine(run.Evidence, "nodes", "mn", "log.jsonl"));
        rows.Part("Choice", () => Choice(rows, log));
        rows.Part("Signals", () => Signals(rows));
        rows.Part("Download", () => Download(rows));
        rows.Part("Translation", () => Translation(rows));
        rows.Part("Routers", () => Routers(rows));
    }

    private static int Number(string run) => int.Parse(run.AsSpan(0, 5), NumberStyles.None, CultureInfo.InvariantCulture);

    /// <summary>Pings of the host at a moment, all of one layout each way. On a machine that stalls the program gives up on late replies; they are counted on the link.</summary>
    private (bool Right, string Seen) Pinged(string link, string moment, string up, string down)
    {
        var (from, to, result) = (_moments[moment].Settled, _moments[moment].To, _moments[moment].Up);
        var packets = On(link, from, to).Where(p => p.First("icmpv6.type") is "128" or "129" && Stack(p).EndsWith("icmpv6 data", StringComparison.Ordinal)).ToList();
        var (ups, downs) = (packets.Where(p => p.Sender == "mn").ToList(), packets.Where(p => p.Sender != "mn").ToList());
        return (result.Received > 0 && ups.Count >= 5 && downs.Count >= 5 && ups.All(p => s_layouts.Of(p) == up) && downs.All(p => s_layouts.Of(p) == down), $"{result.Summary}: {s_layouts.Tally(packets)}");
    }

    /// <summary>TM9.1, AC35, A-54: what came back, which program ran, and how packets went then.</summary>
    private void Choice(RowBook rows, string log)
    {
        (string Moment, int Number, string Of, string AtHome, (bool Right, string Seen) Pings)[] methods =
        [
            ("tunnel", 10012, HomeAgent, CareOf, Pinged("access-a", "tunnel", "IP6(CoA>HA) IP6(HoA>N) P", "IP6(HA>CoA) IP6(N>HoA) P")),
            ("short way", 10013, Correspondent, CareOf, Pinged("access-a", "short way", "IP6(CoA>CN) DO{HoA} P", "IP6(CN>CoA) RH2{HoA} P")),
            ("anchored", 10021, AnchorPoint, Regional, Pinged("access-b", "anchored", "IP6(LCoA>MAP) IP6(RCoA>HA) IP6(HoA>N) P", "IP6(MAP>LCoA) IP6(HA>RCoA) IP6(N>HoA) P")),
        ];
        var before = 0;
        var chosen = new List<int>();
        foreach (var method in methods)
        {
            var moment = _moments[method.Moment];
            var ran = moment.Ran.Skip(before).ToList();
            before = moment.Ran.Count;
            var first = ran.Count > 0 ? Number(ran[0]) : 0;
            chosen.Add(first);
            var right = first == method.Number && ran[0].Contains($"at the word of {method.Of} ", StringComparison.Ordinal) && method.Pings.Right && moment.AtHome == method.AtHome;
            foreach (var row in (string[])["TM-AC35", "TM9.1", "TM-C4", "TM-A-54"])
            {
                rows.Check(row, $"{method.Moment}: the answer of {method.Of} runs {method.Number}, and packets go as that method has it", right, $"{string.Join("; ", ran)}; at home {moment.AtHome}; {method.Pings.Seen}");
            }
        }

        var starts = log.Split('\n').Count(l => l.Contains("\"event\":\"node.started\"", StringComparison.Ordinal));
        var logged = _ran.Where(r => log.Contains(r, StringComparison.Ordinal)).Select(Number).Distinct().ToList();
        var same = _process.First is not null && _process.First == _process.Last;
        rows.Check("TM-AC35", "three different numbers in the log of one process, which was started once", chosen.Distinct().Count() == 3 && chosen.All(logged.Contains) && starts == 1 && same,
            string.Create(CultureInfo.InvariantCulture, $"{string.Join(", ", logged)}; {starts} starts; the process is {(same ? "the same" : "another")}"));

        // A-54: behind the anchor point no answer of the home agent chose; without one it does again.
        var back = _moments["translated"];
        var anchored = _moments["anchored"].Ran.Skip(_moments["short way"].Ran.Count).ToList();
        var returned = back.Ran.Skip(before).ToList();
        var advertised = On("access-b", _moments["anchored"].From).Where(p => p.Is("icmpv6.type", RouterAdvertisement)).ToList();
        var silent = On("access-a", 0, back.To).Where(p => p.Is("icmpv6.type", RouterAdvertisement)).ToList();
        rows.Check("TM-A-54", "the HMIPv6 part works where a router advertises the anchor point and there alone; the Mobile IPv6 part answers the home agent everywhere else",
            advertised.Count > 0 && advertised.All(p => p.Is("icmpv6.opt.map.global_address", AnchorPoint)) && silent.Count > 0 && silent.All(p => p.First("icmpv6.opt.map.global_address") is null)
                && anchored.TrueForAll(r => !r.Contains($"of {HomeAgent} ", StringComparison.Ordinal)) && returned.Count > 0 && returned[0].EndsWith($"of {HomeAgent} (part 25)", StringComparison.Ordinal) && back.AtHome == CareOf,
            $"at the anchor point: {string.Join("; ", anchored)}; then: {string.Join("; ", returned)}; at home {back.AtHome}");
        rows.Check("TM9.5", "the apparatus that joins the terminal's network to the others is the anchor point", methods[2].Pings.Right && _moments["anchored"].AtAnchor == OnLink && On("core-b", _moments["anchored"].Settled, _moments["anchored"].To).Any(p => s_layouts.Of(p) == "IP6(RCoA>HA) IP6(HoA>N) P"),
            $"{Regional} is at {_moments["anchored"].AtAnchor}; above it {s_layouts.Tally(On("core-b", _moments["anchored"].Settled, _moments["anchored"].To).Where(p => p.Sender == "map"))}");
    }

    /// <summary>R1 to R3: acknowledgements that reach the terminal start programs where one is valid, and nothing else does.</summary>
    private void Signals(RowBook rows)
    {
        var signals = Packets.Where(p => p.Link is "access-a" or "access-b" && p.Sender != "mn" && p.Is("mip6.mhtype", BindingAcknowledgement) && Source(p) is not "").ToList();
        var others = Packets.Count(p => p.Link is "access-a" or "access-b" && p.Sender != "mn" && p.First("mip6.mhtype") is { } type && type != BindingAcknowledgement);
        var came = Counts(signals.Select(Source));
        var discarded = _discarded.Select(d => d.Split("a message of ")[1].Split(' ')[0]).ToList();
        var sources = _ran.Select(r => r.Split("at the word of ")[1].Split(' ')[0]).ToList();
        var taken = Counts(sources.Concat(discarded));

        // An update that was sent twice is answered twice, and the second answer is one that nobody asked for.
        var repeated = _discarded.Where(d => !d.EndsWith(" scenario.not_valid", StringComparison.Ordinal)).ToList();
        foreach (var row in (string[])["TM-R1", "TM-R2"])
        {
            rows.Check(row, "acknowledgements of home agent, correspondent and anchor point start programs, none of them more than one; tests of the short way and data start none",
                others >= 2 && sources.Distinct().Count() == 3 && sources.GroupBy(s => s).All(g => g.Count() <= signals.Count(p => Source(p) == g.Key)) && repeated.TrueForAll(d => d.EndsWith(" ba.seq_or_cookie_bad", StringComparison.Ordinal)),
                $"programs: {Counts(sources)}; acknowledgements: {came}, with an outcome: {taken}; {others} other mobility messages; {string.Join("; ", _discarded)}");
        }

        // No method for correspondents is valid beside translation: the operator did not make one so.
        var moment = _moments["translated"];
        var late = On("access-a", moment.From, moment.To).Count(p => p.Sender != "mn" && p.Is("mip6.mhtype", BindingAcknowledgement) && Source(p) == Correspondent);
        var refused = _discarded.Count(d => d == $"a message of {Correspondent} is discarded at step 76: scenario.not_valid");
        rows.Check("TM-R3", "the answer of a correspondent starts 10013, and is discarded where no method for correspondents is valid",
            _moments["short way"].Ran.Any(r => r.StartsWith("10013: ", StringComparison.Ordinal) && r.Contains($" of {Correspondent} ", StringComparison.Ordinal)) && late > 0 && refused > 0 && !moment.Ran.Skip(_moments["anchored"].Ran.Count).Any(r => r.Contains($" of {Correspondent} ", StringComparison.Ordinal)),
            $"then {late} acknowledgements, {refused} of them discarded; {string.Join("; ", moment.Ran)}");

        // The home agent's answers behind the anchor point are the host part's own.
        static string Source(DissectedPacket packet) => packet.Of("ipv6.src") is [.., var source] && (source != HomeAgent || packet.Link == "access-a") ? source : "";

        static string Counts(IEnumerable<string> sources) =>
            string.Join("; ", sources.GroupBy(s => s).OrderBy(g => g.Key, StringComparer.Ordinal).Select(g => string.Create(CultureInfo.InvariantCulture, $"{g.Count()} of {g.Key}")));
    }

    /// <summary>One TCP connection of an unmodified program, by each method.</summary>
    private void Download(RowBook rows)
    {
        var segments = Packets.Where(p => p.Link is "access-a" or "access-b" && p.Sender != "mn" && p.Has("tcp") && p.Is("tcp.srcport", "9") && p.Time < _moments["translated"].From).ToList();
        string[] ways = ["IP6(HA>CoA) IP6(CN>HoA) P", "IP6(CN>CoA) RH2{HoA} P", "IP6(MAP>LCoA) IP6(CN>RCoA) RH2{HoA} P"];
        var counts = ways.Select(way => segments.Count(p => s_layouts.Of(p) == way)).ToList();
        foreach (var row in (string[])["TM-C4", "TM-AC35"])
        {
            rows.Check(row, "one download by curl begins in the tunnel, goes on by the short way and then behind the anchor point, and is whole", _received == _hashes["cn"] && counts[0] > 0 && counts[1] > 100 && counts[2] > 100, $"{(_received == _hashes["cn"] ? "whole" : _received)}; {s_layouts.Tally(segments)}");
        }

        var (left, first) = (_moments["anchored"].From, segments.Find(p => p.Link == "access-b"));
        if (first is not null)
        {
            rows.Measure("from leaving the first network to the download's first segment behind the anchor point", (first.Time - left) / 1e6, "ms");
        }
    }

    /// <summary>TM9.2, TM9.3: IPv4 at the host, IPv6 in the mobile tunnel on the link.</summary>
    private void Translation(RowBook rows)
    {
        var moment = _moments["translated"];
        var packets = On("access-a", moment.Settled, moment.To).Where(p => (p.Has("tcp") || p.First("icmpv6.type") is "128" or "129") && p.Of("ipv6.src").Concat(p.Of("ipv6.dst")).Contains(Plain)).ToList();
        var (ups, downs) = (packets.Where(p => p.Sender == "mn").ToList(), packets.Where(p => p.Sender != "mn").ToList());
        var old = packets.Count + On("access-a", moment.From, moment.To).Count(p => p.First("ip.src") is not null);
        var ran = moment.Ran.Count > 0 ? moment.Ran[^1] : "none";
        foreach (var row in (string[])["TM9.2", "TM9.3", "TM9.1"])
        {
            rows.Check(row, "an IPv4 program has a virtual address for its own and for the correspondent's; the link carries IPv6 in the mobile tunnel, which comes off before translation and is put on after it",
                _page == $"whole, {Virtual} {_shownAs}" && moment.Up.Received > 0 && Number(ran) == 10010 && ups.Count > 50 && downs.Count > 100 && old == packets.Count
                    && ups.TrueForAll(p => s_layouts.Of(p) == "IP6(CoA>HA) IP6(HoA>N) P") && downs.TrueForAll(p => s_layouts.Of(p) == "IP6(HA>CoA) IP6(N>HoA) P") && !moment.Host.Contains($" {Home}/", StringComparison.Ordinal),
                $"{ran}; curl: {_page}; {moment.Up.Summary}; {s_layouts.Tally(packets)}; {old - packets.Count} IPv4 packets");
        }
    }

    /// <summary>TM0.9: the anchor point's own router is configured, the one below has heard it from there, the other was told by renumbering.</summary>
    private void Routers(RowBook rows)
    {
        var (above, below) = (Advertised("below", "map", 0), Advertised("access-b", "ar-b", 0));
        var named = below.FirstOrDefault(p => p.First("icmpv6.opt.map.global_address") is not null);
        rows.Check("TM0.9", "a router that hears the option on its way up advertises it below, one further away, everything else as it is",
            above.Count > 0 && named is not null && above[0].Time < named.Time && Option(above[0]) == $"{AnchorPoint} distance 1 preference 11" && below.Where(p => p.Time >= named.Time).All(p => Option(p) == $"{AnchorPoint} distance 2 preference 11")
                && below.Where(p => p.Time >= named.Time).All(p => int.Parse(p.First("icmpv6.opt.map.valid_lifetime")!, CultureInfo.InvariantCulture) is > 1700 and <= 1800),
            $"{Option(above.FirstOrDefault())}, then {string.Join("; ", below.Select(Option).Distinct())}; valid {string.Join(", ", below.Select(p => p.First("icmpv6.opt.map.valid_lifetime")).Distinct())} s");

        var moment = _moments["renumbered"];
        var command = On("core-a", moment.From, moment.To).FirstOrDefault(p => p.Sender == "core" && p.Is("icmpv6.type", RouterRenumbering));
        var (before, after) = (Advertised("access-a", "ar-a", 0).Where(p => p.Time < moment.From).ToList(), Advertised("access-a", "ar-a", command?.Time ?? long.MaxValue));
        var pings = Pinged("access-a", "renumbered", "IP6(CoA>MAP) IP6(RCoA>HA) IP6(HoA>N) P", "IP6(MAP>CoA) IP6(HA>RCoA) IP6(N>HoA) P");
        var ran = moment.Ran.Skip(_moments["translated"].Ran.Count).Select(Number).ToList();
        const string answer = """{"type": 138, "code": 1, "sequence": 7, "prefixes": ["2001:db8:5a::/64"], "forbidden": [0]}""";
        rows.Check("TM0.9", "a router takes the option from a renumbering command under ESP, answers, and advertises it; the terminal on its link goes over to the anchor point, its IPv4 program with it",
            Stack(command).StartsWith("ipv6 esp icmpv6", StringComparison.Ordinal) && command!.Is("icmpv6.rr.pco.mp.opcode", "253") && _renumbered == answer && before.Count > 0 && before.All(p => Option(p) == "none") && Option(after.ElementAtOrDefault(1)) == $"{AnchorPoint} distance 3 preference 12"
                && ran is [10021, 10010] && moment.AtHome == Regional && moment.AtAnchor == CareOf && pings.Right,
            $"{Stack(command)}, operation {command?.First("icmpv6.rr.pco.mp.opcode")}; answer {_renumbered}; {string.Join("; ", before.Concat(after).Select(Option).Distinct())}; programs {string.Join(", ", ran)}; {pings.Seen}");

        List<DissectedPacket> Advertised(string link, string sender, long from) => [.. On(link, from).Where(p => p.Sender == sender && p.Is("icmpv6.type", RouterAdvertisement))];
        static string Option(DissectedPacket? packet) =>
            packet?.First("icmpv6.opt.map.global_address") is { } anchor ? $"{anchor} distance {packet.First("icmpv6.opt.map.distance")} preference {packet.First("icmpv6.opt.map.preference")}" : "none";
    }
}
