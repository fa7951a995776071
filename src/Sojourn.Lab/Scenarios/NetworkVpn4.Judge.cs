using System.Globalization;
using System.Net;
using Sojourn.Engine;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

public sealed partial class NetworkVpn4
{
    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        var options = run.Definition.Options;
        var want = options.Security.Seen();
        rows.Part("Steps", () => Steps(captures, rows, want));
        rows.Part("DirectPath", () => DirectPath(captures, rows, want));
        rows.Part("Forgeries", () => Forgeries(captures, rows));
        rows.Part("SecurityTypes", () => SecurityTypes(captures, rows));
        rows.Part("SeveralProfiles", () => SeveralProfiles(captures, rows));
        rows.Part("Decisions", () => Decisions(captures, rows));
        rows.Part("Unreachable", () => Unreachable(captures, rows, want));

        var registration = Registration(captures);
        var request = registration.FirstOrDefault(s => s.Name == "RRQ");
        var reply = registration.LastOrDefault(s => s.Name == "RRP");
        rows.Measure("registration, RRQ to RRP on the access link", request is null || reply is null ? double.NaN : (reply.Time - request.Time) / 1e6, "ms");
        rows.Measure("ping on the direct path, median", _up!.Median, "ms");
        rows.Measure("ping sent", _up.Sent, "packets");
        rows.Measure("ping received", _up.Received, "packets");
    }

    private IReadOnlyList<Signal> Registration(CaptureSet captures) => captures.Of(_alice!);

    private Signal? First(CaptureSet captures, string name, string from, string to) =>
        Registration(captures).FirstOrDefault(s => s.Name == name && s.From == from && s.To == to);

    /// <summary>NV4.1-NV4.12 and the order of NV-A9.</summary>
    private void Steps(CaptureSet captures, RowBook rows, SeenProtection want)
    {
        var request = First(captures, "RRQ", "alice", "fa1");
        var har = First(captures, "HAR", "aaah", "ha");
        var update = First(captures, "BU", "ha", "pcn");
        var acknowledgement = First(captures, "BA", "pcn", "ha");
        var haa = First(captures, "HAA", "ha", "aaah");
        var ama = First(captures, "AMA", "aaah", "aaaf");
        var relayed = First(captures, "AMA", "aaaf", "fa1");
        var reply = First(captures, "RRP", "fa1", "alice");
        var legs = har?.Diameter!.Profiles.ToList() ?? [];

        rows.Check("NV4.1", "the partner's domain and gateway stand in the CN-GW table as dynamic", legs is [var only] && only.Vpn(18)?.Number == 1, $"gateway type in the HAR: {(legs is [var leg] ? leg.Vpn(18)?.Number : null)}");
        rows.Check("NV4.2", "MN > FA: Registration Request", request?.MobileIp!.Nai == "alice@home.example", request is null ? "none" : $"RRQ of {request.MobileIp!.Nai}");
        var first = First(captures, "AMR", "fa1", "aaaf");
        var second = First(captures, "AMR", "aaaf", "aaah");
        rows.Check("NV4.3", "FA > AAAF > AAAH: AMR", first is not null && second is not null && second.Time > first.Time, $"{first?.ToString() ?? "missing"}, {second?.ToString() ?? "missing"}");
        rows.Check("NV4.4", "the AAAH finds a dynamic gateway and caches P(FA-PCN)", legs.Count == 1 && _tables.Profiles("reply", "aaah", "alice@home.example").Count == 1, string.Join("; ", legs.Select(Leg)));
        rows.Check("NV4.5", "AAAH > HA: HAR with that profile, source gateway PCN, destination gateway FA", legs is [var down] && Gateways(down, Partner, Agent) && har!.Diameter!.ProfileCache, string.Join("; ", legs.Select(Leg)));
        rows.Check("NV4.6", "the HA sends a BU with the VPN data, addressed to the correspondent", update is not null && har is not null && update.Time > har.Time && update.Way[0].Packet.Destination.Equals(Host) && update.MobileIp!.Extensions.Any(e => e.Type == 38),
            update is null ? "no BU" : $"BU to {update.Way[0].Packet.Destination}, home {update.MobileIp!.HomeAddress}, care-of {update.MobileIp.CareOfAddress}, {update.MobileIp.Octets.Length} octets");
        rows.Check("NV4.7", "the PCN intercepts it, caches, marks and sets its tunnel to the FA", _tables.Legs("reply", "pcn", Partner, Agent) == (true, true) && _tables.Profiles("reply", "pcn", Alice.ToString()).Count + _tables.Profiles("reply", "pcn", "alice@home.example").Count > 0,
            $"with the reply held: {PathText(_tables.Rows("reply", "pcn", "paths").FirstOrDefault(p => Is(p, "remoteGateway", Agent)))}");
        rows.Check("NV4.8", "PCN > HA: BA", acknowledgement?.MobileIp!.Code == 0 && update is not null && acknowledgement.Time > update.Time, acknowledgement is null ? "no BA" : $"status {acknowledgement.MobileIp!.Code}, {(acknowledgement.Time - update!.Time) / 1e6:F2} ms after the BU");
        rows.Check("NV4.9", "HA > AAAH: HAA, only after the BA", haa is not null && acknowledgement is not null && haa.Time > acknowledgement.Time && haa.Diameter!.ResultCode == 2001, haa is null ? "no HAA" : $"result {haa.Diameter!.ResultCode}, {(haa.Time - acknowledgement!.Time) / 1e6:F2} ms after the BA left the PCN");
        var amaLegs = relayed?.Diameter!.Profiles.ToList() ?? [];
        rows.Check("NV4.10", "AAAH > AAAF > FA: AMA with P(FA-PCN), source gateway FA; the AAAF caches it", ama is not null && relayed is not null && amaLegs is [var up] && Gateways(up, Agent, Partner) && _tables.Profiles("reply", "aaaf", "alice@home.example").Count == 1, string.Join("; ", amaLegs.Select(Leg)));
        rows.Check("NV4.11", "the FA caches, marks and sets its tunnel to the PCN", _tables.Legs("reply", "fa1", Agent, Partner) == (true, true), $"with the reply held: {PathText(_tables.Path("reply", "fa1", Agent, Partner, "alice@home.example"))}");
        rows.Check("NV4.12", "FA > MN: Registration Reply", reply?.MobileIp!.Code is 0 or 1 && relayed is not null && reply!.Time > relayed.Time, reply is null ? "none" : $"code {reply.MobileIp!.Code}");

        var order = Registration(captures).WithoutRepetitions().Where(s => s.Name is "HAR" or "BU" or "BA" or "HAA" or "AMA" or "RRP").Select(s => s.Name).ToList();
        rows.Check("NV-A9", "order HAR, BU to CN's address, BA from PCN, HAA, AMA, RRP", order.SequenceEqual(["HAR", "BU", "BA", "HAA", "AMA", "AMA", "RRP"]), string.Join(", ", order));
        var behind = captures.On("partner").Where(p => p.Packet.IsUdp && (p.Packet.DestinationPort == 434 || p.Packet.SourcePort == 434)).ToList();
        rows.Check("NV-A9", "the BU never reaches the correspondent, in the whole run", behind.Count == 0, behind.Count("Mobile IP datagrams behind the gateway"));
    }

    /// <summary>NV4.13 and the data of NV-A9.</summary>
    private void DirectPath(CaptureSet captures, RowBook rows, SeenProtection want)
    {
        var word = want switch { SeenProtection.Ah => "AH", SeenProtection.Esp => "ESP", _ => "ENCAPSULATION" };
        var up = captures.Trace(_up!, Alice, Host, 8);
        var down = captures.Trace(_up!, Host, Alice, 0);
        rows.Check("NV4.13", "MN-FA clear, FA-PCN protected both ways on the direct path, PCN-CN clear",
            up == $"alice -clear-> fa1, fa1 -{word}-> pcn, pcn -clear-> cn" && down == $"cn -clear-> pcn, pcn -{word}-> fa1, fa1 -clear-> alice", $"up: {up}; down: {down}");
        rows.Check("NV4.13", "the ping comes back, and the partner's host reaches the home address", _up!.AllArrived && _down!.AllArrived, $"{_up.Summary}; from the partner's host: {_down!.Summary}");
        rows.Check("NV4.13", "the user can reach any host of the partner group", _group!.AllArrived && captures.Trace(_group, Dora, ThirdHost, 8) == $"dora -clear-> fa1, fa1 -{word}-> pcn, pcn -clear-> cn", $"{_group.Summary}: {captures.Trace(_group, Dora, ThirdHost, 8)}");
        var toPartner = captures.On("core-fa1").During(_up).Count(p => p.Between(Agent, Partner) && p.Protection == want);
        var toAgent = captures.On("core-pcn").During(_up).Count(p => p.Between(Partner, Agent) && p.Protection == want);
        rows.Check("NV-A9", $"{want.Name()} FA-PCN both ways", toPartner >= _up.Sent && toAgent >= _up.Sent, $"{toPartner} FA > PCN, {toAgent} PCN > FA");
        var atHome = captures.On("core-ha").During(_up).Where(p => p.Protection != SeenProtection.None || p.Between(Alice, Host) || p.Between(Host, Alice)).ToList();
        rows.Check("NV-A9", "the links of the HA carry none of the user's data", atHome.Count == 0, atHome.Count("data packets"));
        var clear = captures.On(LinkKind.Core).Readable(Alice, Host);
        rows.Check("NV-A9", "no clear packet of the pair on any core link, in the whole run", clear.Count == 0, clear.Count("clear packets"));
        var vpn = captures.On(LinkKind.Access).Concat(captures.On(LinkKind.Partner)).Concat(captures.On(LinkKind.Company)).VpnTraffic();
        rows.Check("NV-A34", "no IPsec, IKE or VPN packet to or from any terminal or host", vpn.Count == 0, vpn.Count("such packets"));
    }

    /// <summary>NV-A30.</summary>
    private void Forgeries(CaptureSet captures, RowBook rows)
    {
        foreach (var node in (string[])["pcn", "fa1"])
        {
            var before = _tables.Paths("alice", node, "alice@home.example").Concat(_tables.Rows("alice", node, "paths").Where(p => Mentions(p, "10.99.0.10/32")).Select(PathText)).Distinct().ToList();
            var after = _tables.Paths("forged", node, "alice@home.example").Concat(_tables.Rows("forged", node, "paths").Where(p => Mentions(p, "10.99.0.10/32")).Select(PathText)).Distinct().ToList();
            var same = _tables.Rows("alice", node, "paths").Count == _tables.Rows("forged", node, "paths").Count && before.SequenceEqual(after) && before.Count > 0;
            rows.Check("NV-A30", $"forged and replayed binding updates change no table of {node}", same,
                same ? $"{_tables.Rows("forged", node, "paths").Count} paths before and after" : $"before: {string.Join("; ", before)}; after: {string.Join("; ", after)}");
        }

        foreach (var (what, _, counters) in _forgeries.Append(("unknown home agent", [], ["unknown_home_agent"])))
        {
            var counted = counters.Select(c => (Name: c, By: Counter("forged", "pcn", c) - Counter("alice", "pcn", c))).ToList();
            rows.Check("NV-A30", $"to the gateway, {what}: dropped and counted", counted.Any(c => c.By >= 1), string.Join(", ", counted.Select(c => string.Create(CultureInfo.InvariantCulture, $"counter …{c.Name} grew by {c.By}"))));
        }

        var accepted = captures.Signals.During(_forgedFrom, _forgedTo).Where(s => s is { Name: "BA", From: "pcn" } && s.MobileIp!.Code == 0).ToList();
        rows.Check("NV-A30", "no forged update is acknowledged; the exact repetition only gets the answer it had got", accepted.Count <= 1, $"{accepted.Count} positive BA for {_forgeries.Count + 2} datagrams");
        var stolen = captures.Packets.Where(p => p.Time >= _forgedFrom && p.Protection != SeenProtection.None && p.Packet.Destination.Equals(IPAddress.Parse("10.0.11.2"))).ToList();
        rows.Check("NV-A30", "to the foreign agent, a next agent without proof: no packet goes to it", stolen.Count == 0, stolen.Count("packets towards the pretender"));
        rows.Check("NV-A30", "the user's traffic goes on", _afterForgeries!.AllArrived, _afterForgeries.Summary);
    }

    /// <summary>NV-A23.</summary>
    private void SecurityTypes(CaptureSet captures, RowBook rows)
    {
        foreach (var (ping, host, link, protocol, name, readable) in ((PingResult, IPAddress, string, byte, string, bool)[])
            [(_authenticated!, Host, "core-pcn", 51, "AH", true), (_encrypted!, SecondHost, "core-pcn", 50, "ESP", false), (_encapsulated!, CompanyHost, "core-sgw", 4, "encapsulation only", true)])
        {
            var packets = captures.On(link).During(ping).Where(p => p.Packet.Protocol == protocol).ToList();
            rows.Check("NV-A23", $"{name}: protocol {protocol} is seen and the flow works", packets.Count >= 2 * ping.Sent && ping.AllArrived, $"{packets.Count} packets of protocol {protocol}; {ping.Summary}");

            // ping fills its packets with counting octets from 0x10 on; they are looked for as they stand on the wire.
            byte[] pattern = [0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x2b];
            var plain = packets.Count(p => p.Packet.Octets.IndexOf(pattern) >= 0);
            rows.Check("NV-A23", readable ? $"{name}: the payload is readable" : $"{name}: the payload is not readable", packets.Count > 0 && (readable ? plain == packets.Count : plain == 0), $"ping's data stands readable in {plain} of {packets.Count} packets");
        }

        var changed = captures.On("core-pcn").During(_changed!).Count(p => p.Frame.Comment is not null && p.Packet.Protocol == 51);
        var delivered = captures.On("partner").During(_changed!).Hosts(Carol, Host).ToList();
        rows.Check("NV-A23", "AH: a packet with one octet changed is dropped", changed >= _changed!.Sent && delivered.Count == 0 && _changed.Received == 0, $"{changed} changed, {delivered.Count} delivered, {_changed.Received} replies");
    }

    /// <summary>NV-A25.</summary>
    private void SeveralProfiles(CaptureSet captures, RowBook rows)
    {
        var signals = captures.Of(_carol!);

        // On a crowded machine an update may be sent again under a new number, and be answered again.
        var updates = signals.Where(s => s is { Name: "BU", From: "ha" }).GroupBy(s => s.Way[0].Packet.Destination).ToList();
        var acknowledged = signals.Where(s => s is { Name: "BA", From: "pcn" } && s.MobileIp!.Code == 0).ToList();
        var first = updates.ConvertAll(u => acknowledged.FirstOrDefault(a => u.Any(s => s.MobileIp!.Identification == a.MobileIp!.Identification)));
        var haa = signals.FirstOrDefault(s => s.Name == "HAA");
        rows.Check("NV-A25", "one static and two dynamic profiles: BUs to two, HAA after the second BA", updates.Count == 2 && haa is not null && first.All(a => a?.Time < haa.Time),
            $"{string.Join(" and ", updates.Select(u => $"{u.Count()} BU to {u.Key}"))}, {acknowledged.Count} BA, {(haa is null ? "no HAA" : $"HAA {string.Join(" and ", first.Select(a => $"{(haa.Time - a?.Time) / 1e6:F2}"))} ms after the first to each")}");
        foreach (var (ping, host, expected) in ((PingResult, IPAddress, string)[])
            [(_authenticated!, Host, "carol -clear-> fa1, fa1 -AH-> pcn, pcn -clear-> cn"), (_encrypted!, SecondHost, "carol -clear-> fa1, fa1 -ESP-> pcn, pcn -clear-> cn"),
             (_encapsulated!, CompanyHost, "carol -clear-> fa1, fa1 -ENCAPSULATION-> ha, ha -ENCAPSULATION-> sgw, sgw -clear-> companyhost")])
        {
            var trace = captures.Trace(ping, Carol, host, 8);
            rows.Check("NV-A25", $"the flow to {host} is on its own path", trace == expected && ping.AllArrived, trace);
        }
    }

    /// <summary>NV-A18: what the path decision made of the CN-GW table, as sent in the HAR.</summary>
    private void Decisions(CaptureSet captures, RowBook rows)
    {
        var har = captures.Of(_carol!).FirstOrDefault(s => s.Name == "HAR");
        var legs = har?.Diameter!.Profiles.ToList() ?? [];
        foreach (var (number, text, expected) in ((uint, string, (IPAddress, IPAddress)[])[])
            [(11, "dynamic row: leg FA-PCN", [(Partner, Agent)]), (12, "the longest of overlapping rows decides: 192.168.60.0/24 dynamic, not 192.168.0.0/16 static", [(Partner, Agent)]),
             (13, "static row: legs FA-HA and HA-SGW", [(Home, Agent), (Home, Company)]), (14, "correspondent in the home network: FA-HA only", [(Home, Agent)]), (15, "no row: FA-HA only", [(Home, Agent)])])
        {
            var found = legs.Where(l => l.Vpn(7)?.Number == number).ToList();
            rows.Check("NV-A18", text, found.Count == expected.Length && expected.All(e => found.Any(l => Gateways(l, e.Item1, e.Item2))), string.Join("; ", found.Select(Leg)));
        }

        rows.Check("NV-A18", "a host in the home network is reached through the FA-HA leg", _home!.AllArrived && captures.Trace(_home, Carol, Printer, 8) == "carol -clear-> fa1, fa1 -ESP-> ha, ha -clear-> printer", $"{_home.Summary}: {captures.Trace(_home, Carol, Printer, 8)}");
    }

    /// <summary>NV-A29, the part at registration.</summary>
    private void Unreachable(CaptureSet captures, RowBook rows, SeenProtection want)
    {
        var updates = captures.Signals.During(_dora!.From, _cutPing!.From).Where(s => s is { Name: "BU", From: "ha" } && s.MobileIp!.HomeAddress.Equals(Dora)).ToList();

        // The node asks again after a second and then two; each request is a registration of its own, and the last one is seen out.
        var gaps = updates.Zip(updates.Skip(1), (a, b) => (b.Time - a.Time) / 1e9).TakeLast(2).ToList();
        rows.Check("NV-A29", "the gateway cannot be reached: the BU is sent three times, a second apart", updates.Count >= 3 && gaps.All(g => g is > 0.8 and < 1.5), string.Create(CultureInfo.InvariantCulture, $"{updates.Count} BU, the last gaps {string.Join(", ", gaps.Select(g => g.ToString("F2", CultureInfo.InvariantCulture)))} s"));
        rows.Check("NV-A29", "the registration is refused by default", _dora is { Accepted: false, Replied: not null }, _dora.Replied is null ? "no reply" : $"reply code {_dora.Code}");
        var clear = captures.On(LinkKind.Core).Where(p => p.Time >= _dora.From && p.Time <= _cutPing.To).Readable(Dora, Host);
        var left = _tables.Paths("cut", "fa1", "dora@home.example").Count + _tables.Paths("cut", "ha", "dora@home.example").Count;
        rows.Check("NV-A29", "no clear traffic, no tunnel, no reply", clear.Count == 0 && _cutPing.Received == 0 && left == 0, $"{clear.Count} clear packets on core links, {_cutPing.Received} replies, {left} paths");
        rows.Check("NV-A29", "once the gateway is back the same user is served", _doraLater is { Accepted: true } && _group!.AllArrived, $"registration {(_doraLater!.Accepted ? "accepted" : "refused")}; {_group!.Summary}");
    }

    /// <summary>Sum of a node's counters whose name ends so.</summary>
    private long Counter(string moment, string node, string ending) => _tables.Counter(moment, node, ending);
}
