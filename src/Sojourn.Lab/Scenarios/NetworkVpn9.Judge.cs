using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

public sealed partial class NetworkVpn9
{
    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        rows.Part("Users", () => Users(captures, rows));
        rows.Part("Shared", () => Shared(captures, rows));
        rows.Part("SecurityTypes", () => SecurityTypes(captures, rows));
        rows.Part("Unreachable", () => Unreachable(captures, rows));
        rows.Part("Renewal", () => Renewal(captures, rows));
        rows.Part("Impostor", () => Impostor(captures, rows));
        rows.Part("Forgery", () => Forgery(captures, rows));
        rows.Part("Moves", () => Moves(captures, rows));
        foreach (var crash in _crashes)
        {
            rows.Part("Crash of " + crash.Node, () => Crashes(captures, rows, crash));
        }

        rows.Part("Nonces", () => Nonces(captures, rows));
        rows.Part("Departures", () => Departures(captures, rows));
    }

    /// <summary>NV9.1, NV9.4, NV9.5, NV-A25.</summary>
    private void Users(CaptureSet captures, RowBook rows)
    {
        var paths = _tables.Paths("eve", "fa1", EveNai).Where(p => !p.Contains("encapsulation", StringComparison.OrdinalIgnoreCase)).ToList();
        var cached = Holders.Sum(n => _tables.Profiles("eve", n, EveNai).Count(p => Text(p, "profileNumber").Length > 0));
        var leaked = captures.On("company").During(_evePing!).Where(p => p.Host is { } h && h.Source.Equals(Eve)).ToList();
        rows.Check("NV9.1", "without a VPN instance the registration succeeds, with no profile, no tunnel and no access to the company", _eve is { Accepted: true } && _evePing!.Received == 0 && paths.Count == 0 && cached == 0 && leaked.Count == 0,
            string.Create(CultureInfo.InvariantCulture, $"accepted: {_eve!.Accepted}; {cached} profiles, {paths.Count} protected paths; {_evePing!.Summary}; {leaked.Count} packets of Eve in the company"));

        var marked = captures.On("core-fa1").During(_company!).Where(p => p.SenderNode == "fa1" && p.Protection == SeenProtection.Esp && p.Host is { } h && h.Source.Equals(Alice)).ToList();
        var plain = captures.On("core-fa1").During(_partner!).Where(p => p.SenderNode == "fa1" && p.Protection == SeenProtection.Esp && p.Host is { } h && h.Source.Equals(Alice) && h.Destination.Equals(Host)).ToList();
        rows.Check("NV9.4", "a profile with a TOS marks inner and outer header, one with TOS 0 leaves the DSCP as the host sent it",
            marked.Count > 0 && marked.All(p => p.Packet.Dscp == 46 && p.Inner!.Dscp == 46) && plain.Count > 0 && plain.All(p => p.Packet.Dscp == 18 && p.Inner!.Dscp == 18), $"outer/inner DSCP: {Values(marked)} with class 5, {Values(plain)} with class 0 and 18 from the host");

        var signals = captures.Of(_alice!);
        var updates = signals.Where(s => s is { Name: "BU", From: "ha" }).ToList();
        var acknowledgements = signals.Where(s => s is { Name: "BA", To: "ha" } && s.MobileIp!.Code == 0).ToList();
        var haa = signals.FirstOrDefault(s => s.Name == "HAA");
        foreach (var id in (string[])["NV9.5", "NV-A25"])
        {
            rows.Check(id, "one static and two dynamic profiles: a BU to each gateway, the HAA after the last BA", updates.Select(u => u.To).Distinct().Count() == 2 && acknowledgements.Select(a => a.From).Distinct().Count() == 2 && haa is not null && acknowledgements.All(a => a.Time < haa.Time),
                $"BU to {string.Join(" and ", updates.Select(u => u.To))}, {acknowledgements.Count} BA, HAA {(haa is null ? "missing" : string.Create(CultureInfo.InvariantCulture, $"{(haa.Time - acknowledgements.LastOrDefault()?.Time ?? 0) / 1e6:F2} ms after the last"))}");
        }

        foreach (var (ping, host, expected) in ((PingResult, IPAddress, string)[])
            [(_company!, CompanyHost, "alice -clear-> fa1, fa1 -ESP-> ha, ha -ESP-> sgw, sgw -clear-> companyhost"), (_partner!, Host, "alice -clear-> fa1, fa1 -ESP-> pcn, pcn -clear-> cn"),
             (_second!, SecondHost, "alice -clear-> fa1, fa1 -ESP-> pcn2, pcn2 -clear-> cn2")])
        {
            var trace = captures.Trace(ping, Alice, host, 8);
            rows.Check("NV-A25", $"the flow to {host} is on its own path", trace == expected && ping.AllArrived, trace);
        }
    }

    /// <summary>NV9.2, NV-A22.</summary>
    private void Shared(CaptureSet captures, RowBook rows)
    {
        string PathOf(string nai, string moment = "shared") => PathText(_tables.Path(moment, "fa1", Agent, Home, nai));
        string Spis(string path) => path[(path.LastIndexOf("SPI", StringComparison.Ordinal) is var at && at >= 0 ? at : 0)..];
        var (bob, carol) = (PathOf(BobNai), PathOf(CarolNai));
        var keys = new[] { _bob!, _carol! }.SelectMany(captures.Of).Where(s => s.Diameter is not null).SelectMany(s => s.Diameter!.Profiles).Count(p => p.Vpn(6) is not null);
        foreach (var id in (string[])["NV9.2", "NV-A22"])
        {
            rows.Check(id, "vpnshare 0: two users share one SPI of the preset association, and no key is in any message", Spis(bob) == Spis(carol) && Spis(bob).Contains("SPI ", StringComparison.Ordinal) && keys == 0, $"Bob {Spis(bob)}, Carol {Spis(carol)}; {keys} keys in profiles");
        }

        rows.Check("NV-A22", "removing one user leaves the other's ping unbroken", _during!.AllArrived && _tables.Paths("carol-gone", "fa1", CarolNai).Count == 0 && PathOf(BobNai, "carol-gone") == bob, $"{_during.Summary}; Carol has {_tables.Paths("carol-gone", "fa1", CarolNai).Count} paths left");
        var own = _tables.Paths("alice", "fa1", AliceNai).Select(Spis).Where(s => s.Contains("0x", StringComparison.Ordinal)).ToList();
        rows.Check("NV9.2", "vpnshare 1: SPIs of its own for each profile", own.Count == 3 && own.Distinct().Count() == 3 && !own.Contains(Spis(bob)), string.Join(", ", own));
    }

    /// <summary>NV9.3.</summary>
    private void SecurityTypes(CaptureSet captures, RowBook rows)
    {
        foreach (var (ping, user, host, expected) in ((PingResult, IPAddress, IPAddress, string)[])
            [(_authenticated!, Dora, AuthenticatedHost, "dora -clear-> fa1, fa1 -AH-> pcn, pcn -clear-> cn"), (_encapsulated!, Dora, EncapsulatedHost, "dora -clear-> fa1, fa1 -ENCAPSULATION-> pcn2, pcn2 -clear-> cn2"),
             (_second!, Alice, SecondHost, "alice -clear-> fa1, fa1 -ESP-> pcn2, pcn2 -clear-> cn2")])
        {
            var trace = captures.Trace(ping, user, host, 8);
            rows.Check("NV9.3", $"the profile towards {host} has its security type on the wire", trace == expected && ping.AllArrived, trace);
        }
    }

    /// <summary>NV9.9, NV-A29.</summary>
    private void Unreachable(CaptureSet captures, RowBook rows)
    {
        var updates = captures.Signals.During(_doraCut!.From, _cutPing!.From).Where(s => s is { Name: "BU", From: "ha" } && s.MobileIp!.HomeAddress.Equals(Dora) && s.Way[0].Packet.Destination.Equals(EncapsulatedHost)).ToList();
        var clear = captures.On(LinkKind.Core).Where(p => p.Time >= _doraCut.From && p.Time <= _cutPing.To).Readable(Dora, EncapsulatedHost);
        var left = _tables.Paths("cut", "fa1", DoraNai).Count + _tables.Paths("cut", "ha", DoraNai).Count;
        foreach (var id in (string[])["NV9.9", "NV-A29"])
        {
            rows.Check(id, "the gateway cannot be reached: the BU is repeated, then the registration is refused, and nothing goes in clear", updates.Count >= 3 && _doraCut is { Accepted: false, Replied: not null } && clear.Count == 0 && _cutPing.Received == 0 && left == 0,
                string.Create(CultureInfo.InvariantCulture, $"{updates.Count} BU, reply code {_doraCut.Code}, {clear.Count} clear packets, {_cutPing.Received} replies, {left} paths"));
        }

        rows.Check("NV-A29", "once the gateway is back the same user is served", _dora is { Accepted: true } && _encapsulated!.AllArrived, $"accepted: {_dora!.Accepted}; {_encapsulated!.Summary}");
    }

    /// <summary>NV9.6, NV-A26.</summary>
    private void Renewal(CaptureSet captures, RowBook rows)
    {
        var before = ((string[])["fa1", "ha", "pcn", "pcn2"]).SelectMany(n => _tables.Rows("before-renewal", n, "paths").Select(p => $"{n} {PathText(p)} {Text(p, "state")}")).Order(StringComparer.Ordinal).ToList();
        var after = ((string[])["fa1", "ha", "pcn", "pcn2"]).SelectMany(n => _tables.Rows("renewed", n, "paths").Select(p => $"{n} {PathText(p)} {Text(p, "state")}")).Order(StringComparer.Ordinal).ToList();
        var signals = captures.Signals.During(_again!.From, _again.Replied ?? _again.From).ToList();
        var updates = signals.Where(s => s is { Name: "BU", From: "ha" }).ToList();
        var asked = signals.Where(s => s.Name is "AMR" or "HAR").ToList();
        var sequences = captures.On("core-fa1").During(_renewing!).Where(p => p.SenderNode == "fa1" && p.Protection == SeenProtection.Esp && p.Host is { } h && h.Source.Equals(Alice)).Select(p => p.Sequence!.Value).ToList();
        rows.Check("NV9.6", "a registration at the same agent is answered without the AAA servers; dynamic gateways get their lifetime refreshed, nothing else", _again.Accepted && asked.Count == 0 && updates.Select(u => u.To).Distinct().Order(StringComparer.Ordinal).SequenceEqual(["pcn", "pcn2"]) && before.SequenceEqual(after),
            $"accepted: {_again.Accepted}; {asked.Count} AMR or HAR, BU to {string.Join(" and ", updates.Select(u => u.To))}; paths {(before.SequenceEqual(after) ? "the same" : "differ: " + string.Join("; ", after.Except(before)))}");
        rows.Check("NV-A26", "no SPI and no route changes", before.SequenceEqual(after) && before.Count > 0 && _routesBefore.SequenceEqual(_routesAfter), $"{before.Count} paths and {_routesBefore.Count} routes of fa1 before, {string.Join("; ", after.Except(before).Concat(_routesAfter.Except(_routesBefore)))} new");
        rows.Check("NV-A26", "no packet is lost and the counter goes on by one", _renewing!.AllArrived && sequences.Zip(sequences.Skip(1)).All(p => p.Second == p.First + 1), $"{_renewing.Summary}; {sequences.Count} sequence numbers from {sequences.FirstOrDefault()} to {sequences.LastOrDefault()}");
    }

    /// <summary>NV9.7, NV-A27.</summary>
    private void Impostor(CaptureSet captures, RowBook rows)
    {
        var paths = _tables.Paths("mallory", "fa2", AliceNai);
        var cached = _tables.Profiles("mallory", "fa2", AliceNai);
        var (before, after) = (_tables.Paths("before-mallory", "fa1", AliceNai), _tables.Paths("mallory", "fa1", AliceNai));
        foreach (var id in (string[])["NV9.7", "NV-A27"])
        {
            rows.Check(id, "a wrong MN-AAA authenticator at another agent: refused, no tunnel and no profile there, the path where she is unchanged", _mallory is { Accepted: false, Replied: not null } && paths.Count == 0 && cached.Count == 0 && before.SequenceEqual(after) && before.Count > 0 && _afterMallory!.AllArrived,
                $"reply code {_mallory!.Code}; {paths.Count} paths and {cached.Count} profiles at fa2; {before.Count} paths at fa1, {(before.SequenceEqual(after) ? "the same" : "changed")}; {_afterMallory!.Summary}");
        }
    }

    /// <summary>NV9.10.</summary>
    private void Forgery(CaptureSet captures, RowBook rows)
    {
        var answers = captures.Signals.During(_forgedFrom, _afterForgery!.From).Where(s => s.Name == "BA" && s.From is "pcn" or "fa1").ToList();
        foreach (var (node, counter) in ((string, string)[])[("pcn", "bad_mac"), ("fa1", "fa.bu.bad_authenticator")])
        {
            var counted = _tables.Counter("forged", node, counter) - _tables.Counter("mallory", node, counter);
            var same = _tables.Paths("forged", node, node == "pcn" ? Alice.ToString() : AliceNai).SequenceEqual(_tables.Paths("mallory", node, node == "pcn" ? Alice.ToString() : AliceNai));
            rows.Check("NV9.10", $"{node} drops and counts a binding update that does not prove itself; no table changes", counted == 1 && same && !answers.Any(a => a.From == node) && _afterForgery.AllArrived, $"counted {counted}, tables {(same ? "the same" : "changed")}, {answers.Count} answers; {_afterForgery.Summary}");
        }
    }

    /// <summary>NV-A20, NV9.11.</summary>
    private void Moves(CaptureSet captures, RowBook rows)
    {
        var signals = captures.Signals.During(_moved!.From, _moved.Replied ?? _moved.From).ToList();
        var passed = signals.Any(s => s is { Name: "AMR", From: "aaaf", To: "aaah" });
        rows.Check("NV-A20", "with an empty cache the AMR of a move inside the domain goes on to the AAAH, and the move succeeds", _tables.Profiles("cleared", "aaaf", AliceNai).Count == 0 && passed && _moved.Accepted && _movedPing!.AllArrived,
            $"{_tables.Profiles("cleared", "aaaf", AliceNai).Count} profiles in the cache, AMR to the AAAH: {passed}; accepted: {_moved.Accepted}; {_movedPing!.Summary}");
        var expired = captures.Packets.Where(p => p.Time >= _moved.From && p.Time <= _backPing!.To && (p.Host ?? p.Packet).IcmpType == 11).ToList();
        var there = _tables.Paths("back", "fa2", AliceNai);
        rows.Check("NV9.11", "to the other agent and at once back again: the last registration wins, no loop, nothing left at the other", _back is { Accepted: true } && _backPing!.AllArrived && expired.Count == 0 && there.Count == 0 && _tables.Legs("back", "ha", Home, Agent).Out && !_tables.Legs("back", "pcn", Partner, NextAgent).Out,
            $"accepted: {_back!.Accepted}; {_backPing!.Summary}; {expired.Count} TTL-expired; {there.Count} paths left at fa2");
    }

    /// <summary>What a killed node takes up again.</summary>
    private void Crashes(CaptureSet captures, RowBook rows, Crash crash)
    {
        var id = "restart." + crash.Node;
        rows.Check(id, "packets flow again in both directions", crash.After.All(p => p.AllArrived), string.Join("; ", crash.After.Select(p => p.Summary)));
        var signals = captures.Signals.During(crash.Killed, crash.Flowing!.Value).ToList();
        var logins = signals.Where(s => s.Name is "AMR" or "HAR").ToList();
        rows.Check(id, "without a new login", logins.Count == 0, logins.Count == 0 ? $"neither AMR nor HAR among {signals.Count} messages" : string.Join(", ", logins));
        var table = crash.Node.StartsWith("aaa", StringComparison.Ordinal) ? "vpn-cache" : "paths";
        List<string> Rows(string moment) => [.. _tables.Rows(moment + " " + crash.Node, crash.Node, table).Select(r => table == "paths" ? $"{PathText(r)} {Text(r, "state")}" : $"{Text(r, "session")} {Text(r, "nai")} {Text(r, "homeAddress")} {Text(r, "careOfAddress")} {Text(r, "profileCount")}").Order(StringComparer.Ordinal)];
        var (before, after) = (Rows("before"), Rows("after"));
        rows.Check(id, "with the rows it had, under the same SPIs", before.Count > 0 && before.SequenceEqual(after), before.SequenceEqual(after) ? $"{before.Count} rows of {table}" : $"gone: {string.Join("; ", before.Except(after))}; new: {string.Join("; ", after.Except(before))}");
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
    private void Departures(CaptureSet captures, RowBook rows)
    {
        _ = captures;
        foreach (var (what, (empty, seconds, left)) in _emptied)
        {
            var text = empty ? string.Create(CultureInfo.InvariantCulture, $"empty {seconds:F2} s after it at {string.Join(", ", Holders)}") : "left: " + left;
            rows.Check("NV9.8", $"{what}: rows, routes, filters and cache entries of the user vanish everywhere", empty, text);
            rows.Check("NV-A28", $"{what}: all tables are empty within 2 s", empty && seconds <= EmptyWithin.TotalSeconds + 0.3, text);
            rows.Measure($"{what}, until every table is empty", seconds, "s");
        }
    }
}
