using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json;
using Sojourn.Engine;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

public sealed partial class NetworkVpn7
{
    private bool _shared;

    /// <summary>Rows of one path in <c>show ipsec</c>.</summary>
    private int _associations;

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        var want = run.Definition.Options.Security.Seen();
        _shared = !run.Definition.Options.UserSpecific;
        _associations = run.Definition.Options.Security == SecurityType.EncapsulationOnly ? 0 : 2;
        rows.Part("Page", () => JudgePage(run, rows));
        rows.Part("Renewal", () => Renewal(captures, rows, want));
        rows.Part("Update", () => Update(captures, rows));
        rows.Part("NewPath", () => NewPath(captures, rows, want));
        rows.Part("OldPath", () => OldPath(captures, rows));
        rows.Part("Expiry", () => Expiry(captures, rows));
        rows.Part("Unchanged", () => Unchanged(captures, rows));
        rows.Part("Announced", () => JudgeAnnounced(captures, rows, want));

        var signals = captures.Of(_update!);
        rows.Measure("service update, RRQ to RRP on the access link", signals.Count == 0 ? double.NaN : (signals[^1].Time - signals[0].Time) / 1e6, "ms");
        rows.Measure("ping on the new path, median", _newUp!.Median, "ms");
        rows.Measure("binding request to the end of the old gateway's rows", (_gone - _asked) / 1e9, "s");
    }

    /// <summary>NV7.1 and what of NV-A14 is about the page.</summary>
    private void JudgePage(LabRun run, RowBook rows)
    {
        var (before, denied, after) = (Row("login", AlicesProfile), Row("denied", AlicesProfile), Row("changed", AlicesProfile));
        rows.Check("NV7.1", $"the user enters a new correspondent on the customer page, which rewrites the VPN database ({_visit!.Browser})",
            Text(before, "destination") == $"{Host}/32" && Text(after, "destination") == $"{NewHost}/32" && _visit.Said.Contains("Path 1 is changed", StringComparison.Ordinal),
            $"destination of profile 1 in show vpn-db: {Text(before, "destination")}, then {Text(after, "destination")}; the page: {_visit.Said}");
        var missing = Pictures.Where(p => !File.Exists(Path.Combine(run.Evidence, p.File))).Select(p => p.File).ToList();
        if (Pictures.Count > 0)
        {
            rows.Check("NV7.1", "pictures of the page are kept", missing.Count == 0, string.Join(", ", Pictures.Select(p => p.File)));
        }

        rows.Check("NV-A14", "without a login there is nothing to see", _withoutLogin is { Status: HttpStatusCode.SeeOther, Location: "/customer/login" }, $"{(int)_withoutLogin!.Status}, to {_withoutLogin.Location}");
        rows.Check("NV-A14", "another user's row cannot be seen: it is answered like one that does not exist",
            _foreignShown is { Status: HttpStatusCode.NotFound } && _nobodysShown is { Status: HttpStatusCode.NotFound } && _foreignShown.Text == _nobodysShown.Text,
            $"profile {BobsProfile} (Bob's): {(int)_foreignShown!.Status}, profile {NobodysProfile} (nobody's): {(int)_nobodysShown!.Status}, texts {(_foreignShown.Text == _nobodysShown.Text ? "equal" : "different")}");
        rows.Check("NV-A14", "another user's row cannot be edited, with the session's own form token either",
            _foreignChanged is { Status: HttpStatusCode.NotFound } && _nobodysChanged is { Status: HttpStatusCode.NotFound } && _foreignChanged.Text == _nobodysChanged.Text
                && Row("login", BobsProfile).GetRawText() == Row("end", BobsProfile).GetRawText(),
            $"{(int)_foreignChanged!.Status} and {(int)_nobodysChanged!.Status}; Bob's row leads to {Text(Row("end", BobsProfile), "destination")} at the beginning and at the end");
        rows.Check("NV-A14", "a company that does not list the user is refused as destination, and nothing is written",
            _unlisted is { Status: HttpStatusCode.UnprocessableEntity } && _unlisted.Text.Contains("is not among the destinations of your contract", StringComparison.Ordinal) && before.GetRawText() == denied.GetRawText(),
            $"{(int)_unlisted!.Status}; the row leads to {Text(denied, "destination")} still");
        rows.Check("NV-A14", "wrong passwords are slowed down, and the right one has to wait as well",
            _guesses.Count >= 3 && _guesses[^1] == HttpStatusCode.TooManyRequests && _guesses.SkipLast(1).All(g => g == HttpStatusCode.Forbidden) && _delay > TimeSpan.Zero && _rightButEarly == HttpStatusCode.TooManyRequests,
            string.Create(CultureInfo.InvariantCulture, $"guesses: {string.Join(", ", _guesses.Select(g => (int)g))}, wait {_delay.TotalSeconds:0} s; the right password at once: {(int)_rightButEarly}"));

        var secret = Encoding.ASCII.GetBytes(_password);
        var places = Directory.GetFiles(run.Evidence, "*", SearchOption.AllDirectories).Where(f => !f.EndsWith(".png", StringComparison.Ordinal)).ToList();
        var found = places.Where(f => File.ReadAllBytes(f).AsSpan().IndexOf(secret) >= 0).Select(f => Path.GetRelativePath(run.Evidence, f)).ToList();
        rows.Check("NV-A32", "the password of the page is in no capture, log or table", found.Count == 0, found.Count == 0 ? $"not in {places.Count} files" : string.Join(", ", found));
    }

    /// <summary>NV-A14: a renewal that passes the AAAH, with the new row in the database.</summary>
    private void Renewal(CaptureSet captures, RowBook rows, SeenProtection want)
    {
        var signals = captures.Of(_renewal!);
        var request = signals.FirstOrDefault(s => s.Name == "RRQ");
        var asked = signals.FirstOrDefault(s => s is { Name: "AMR", To: "aaah" });
        var legs = signals.FirstOrDefault(s => s.Name == "HAR")?.Diameter!.Profiles.ToList() ?? [];
        rows.Check("NV-A14", "a plain re-registration reaches the AAAH, whose database says otherwise by now",
            _renewal!.Accepted && request is not null && !AsksUpdate(request) && asked is not null && !AsksUpdate(asked), string.Join(", ", signals.Select(s => s.Name)));
        rows.Check("NV-A14", "the AAAH does not search the VPN database for it", Searches("changed") == Searches("renewed") && Searches("changed") > 0, $"{Searches("changed")} searches before and {Searches("renewed")} after");
        rows.Check("NV-A14", "the HAR carries the profile as it was", legs is [var leg] && Gateways(leg, Partner, Agent), string.Join("; ", legs.Select(Leg)));
        var trace = captures.Trace(_renewalPing!, Alice, Host, 8);
        rows.Check("NV-A14", "a plain re-registration does not move the path",
            _renewalPing!.AllArrived && trace == $"alice -clear-> fa1, fa1 -{Word(want)}-> pcn, pcn -clear-> cn" && _tables.Legs("renewed", "fa1", Agent, Partner).Out && !_tables.Legs("renewed", "fa1", Agent, NewPartner).Out,
            $"{_renewalPing.Summary}: {trace}");
        var told = captures.On("core-pcn2").Where(p => p.Time <= _update!.From && p.Packet.IsUdp && p.Packet.DestinationPort == 434).ToList();
        rows.Check("NV-A14", "the second partner's gateway hears of nothing before the service update", told.Count == 0, told.Count("Mobile IP datagrams"));
    }

    /// <summary>NV7.2-NV7.11.</summary>
    private void Update(CaptureSet captures, RowBook rows)
    {
        var signals = captures.Of(_update!).WithoutRepetitions();
        Signal? First(string name, string from, string to) => signals.FirstOrDefault(s => s.Name == name && s.From == from && s.To == to);
        var request = First("RRQ", "alice", "fa1");
        var (first, second) = (First("AMR", "fa1", "aaaf"), First("AMR", "aaaf", "aaah"));
        var (har, haa) = (First("HAR", "aaah", "ha"), First("HAA", "ha", "aaah"));
        var (update, acknowledgement) = (First("BU", "ha", "pcn2"), First("BA", "pcn2", "ha"));
        var (ama, relayed, reply) = (First("AMA", "aaah", "aaaf"), First("AMA", "aaaf", "fa1"), First("RRP", "fa1", "alice"));
        var legs = har?.Diameter!.Profiles.ToList() ?? [];
        var covered = request?.MobileIp!.Extensions.Select(e => e.Type).ToList() ?? [];
        rows.Check("NV7.2", "MN > FA: Registration Request with a service update request, inside what MN-HA authenticates",
            request is not null && AsksUpdate(request) && covered.IndexOf(134) is >= 0 and var at && at < covered.IndexOf(32), $"extensions {string.Join(", ", covered)}");
        rows.Check("NV7.3", "FA > AAAF > AAAH: AMR including it; the AAAF does not answer from its cache",
            first is not null && second is not null && second.Time > first.Time && AsksUpdate(first) && AsksUpdate(second) && ama?.Time > second.Time, $"{first?.ToString() ?? "missing"}, {second?.ToString() ?? "missing"}");
        var cached = _tables.Profiles("reply", "aaah", AliceNai);
        rows.Check("NV7.4", "the AAAH searches the database though it has the session cached, and caches P(FA-PCN') in place of P(FA-PCN)",
            Searches("reply") == Searches("renewed") + 1 && _tables.Profiles("renewed", "aaah", AliceNai).Count == 1 && cached is [var profile] && Mentions(profile, NewPartner.ToString()) && !Mentions(profile, Partner.ToString()),
            $"{Searches("renewed")} searches before, {Searches("reply")} after; cache: {string.Join("; ", cached.Select(Ends))}");
        rows.Check("NV7.5", "AAAH > HA: HAR with that profile alone", legs is [var leg] && Gateways(leg, NewPartner, Agent), string.Join("; ", legs.Select(Leg)));
        var all = signals.Where(s => s.Name == "BU").ToList();
        var home = _tables.Profiles("reply", "ha", AliceNai);
        rows.Check("NV7.6", "the HA caches it in place of the old one and sends a BU addressed to CN'",
            update is not null && update.Time > har!.Time && update.Way[0].Packet.Destination.Equals(NewHost) && all.Count == 1 && home is [var held] && Mentions(held, NewPartner.ToString()),
            $"{all.Count} BU, to {string.Join(", ", all.Select(u => u.Way[0].Packet.Destination))}; cache: {string.Join("; ", home.Select(Ends))}");
        rows.Check("NV7.7", "PCN' intercepts it, caches, marks and sets its tunnel to the FA",
            _tables.Legs("reply", "pcn2", NewPartner, Agent) == (true, true) && _tables.Rows("reply", "pcn2", "bindings").Any(b => IsOf(b, Alice)) && _tables.Rows("reply", "pcn2", "qos").Any(q => IsOf(q, Alice) && Text(q, "dscp") == "10"),
            $"with the reply held: {PathText(_tables.Rows("reply", "pcn2", "paths").FirstOrDefault(p => Is(p, "remoteGateway", Agent)))}");
        rows.Check("NV7.8", "PCN' > HA: BA", acknowledgement?.MobileIp!.Code == 0 && update is not null && acknowledgement.Time > update.Time, acknowledgement is null ? "no BA" : $"status {acknowledgement.MobileIp!.Code}, {(acknowledgement.Time - update!.Time) / 1e6:F2} ms after the BU");
        var amaLegs = relayed?.Diameter!.Profiles.ToList() ?? [];
        var visited = _tables.Profiles("reply", "aaaf", AliceNai);
        rows.Check("NV7.9", "HA > AAAH: HAA, after the BA; AAAH > AAAF > FA: AMA with P(FA-PCN'), which the AAAF caches",
            haa is not null && acknowledgement is not null && haa.Time > acknowledgement.Time && haa.Diameter!.ResultCode == 2001 && ama?.Time > haa.Time && amaLegs is [var up] && Gateways(up, Agent, NewPartner)
                && visited is [var entry] && Mentions(entry, NewPartner.ToString()),
            $"{string.Join(", ", signals.Select(s => s.Name))}; AMA: {string.Join("; ", amaLegs.Select(Leg))}; cache of the AAAF: {string.Join("; ", visited.Select(Ends))}");
        rows.Check("NV7.10", "the FA caches, marks and sets its tunnel to PCN'; its tunnel to PCN is gone with the profile",
            _tables.Legs("reply", "fa1", Agent, NewPartner) == (true, true) && !_tables.Legs("reply", "fa1", Agent, Partner).Out && !Towards("reply", Partner).Any(a => Text(a, "direction") == "out") && _tables.Rows("reply", "fa1", "qos").Any(q => IsOf(q, Alice) && Text(q, "dscp") == "46" && Mentions(q, $"{NewHost}/32")),
            $"with the reply held: {PathText(_tables.Path("reply", "fa1", Agent, NewPartner, AliceNai))}; with PCN in show ipsec: {string.Join(", ", Towards("reply", Partner).Select(a => $"{Text(a, "direction")} {Text(a, "spi")}"))}");
        rows.Check("NV7.11", "FA > MN: Registration Reply", reply?.MobileIp!.Code is 0 or 1 && relayed is not null && reply!.Time > relayed.Time, reply is null ? "none" : $"code {reply.MobileIp!.Code}");
        var order = signals.Select(s => s.Name).ToList();
        rows.Check("NV-A13", "order RRQ, AMR, HAR, BU, BA, HAA, AMA, RRP", order.SequenceEqual(["RRQ", "AMR", "AMR", "HAR", "BU", "BA", "HAA", "AMA", "AMA", "RRP"]), string.Join(", ", order));
        rows.Check("NV-A13", "DB row changed, and the AAAH searches the DB though the session is cached", Text(Row("renewed", AlicesProfile), "destination") == $"{NewHost}/32" && Searches("reply") == Searches("renewed") + 1,
            $"row: {Text(Row("renewed", AlicesProfile), "destination")}; {Searches("renewed")} searches before, {Searches("reply")} after");
    }

    /// <summary>NV-A13: the data on the new path.</summary>
    private void NewPath(CaptureSet captures, RowBook rows, SeenProtection want)
    {
        var (up, down) = (captures.Trace(_newUp!, Alice, NewHost, 8), captures.Trace(_newUp!, NewHost, Alice, 0));
        rows.Check("NV-A13", $"{want.Name()} FA-PCN' both ways, and the traffic to CN' works",
            _newUp!.AllArrived && _newDown!.AllArrived && _end!.AllArrived && up == $"alice -clear-> fa1, fa1 -{Word(want)}-> pcn2, pcn2 -clear-> cn2" && down == $"cn2 -clear-> pcn2, pcn2 -{Word(want)}-> fa1, fa1 -clear-> alice",
            $"{_newUp.Summary}; from CN': {_newDown!.Summary}; at the end: {_end!.Summary}; up: {up}; down: {down}");
        rows.Check("NV-A13", "none of it is lost when what the FA kept of the old path goes", Lost(_newFlow) == (0, 0) && _newFlow.Sent > 1000, Arrivals(_newFlow));
        var clear = captures.On(LinkKind.Core).Readable(Alice, NewHost).Concat(captures.On(LinkKind.Core).Readable(Alice, Host)).ToList();
        rows.Check("NV-A13", "no clear packet between Alice and either correspondent on any core link, in the whole run", clear.Count == 0, clear.Count("clear packets"));
        var updates = captures.Signals.During(_update!.From, _end!.To).Where(s => s.Name == "BU" && s.MobileIp!.HomeAddress.Equals(Alice)).ToList();
        rows.Check("NV-A13", "from the service update to the end of the traffic, BUs of Alice go to CN' only", updates.Count > 0 && updates.All(u => u.Way[0].Packet.Destination.Equals(NewHost) && u.To == "pcn2"),
            $"{updates.Count} BU, to {string.Join(", ", updates.Select(u => u.Way[0].Packet.Destination).Distinct())}");

        // The halves that received from PCN outlive the change by the time a rekeyed path is kept (R31), which is over by then.
        var (left, stands) = (Towards("asked", Partner), Towards("asked", NewPartner));
        rows.Check("NV-A13", $"show ipsec at the FA has no PCN row{(_shared ? " but the association preset for all users" : "")}, nor has show paths",
            left.Count == 0 && stands.Count == _associations && !_tables.Rows("asked", "fa1", "paths").Any(r => Is(r, "remoteGateway", Partner) && (!_shared || IsOf(r, Alice))) && _tables.Legs("asked", "fa1", Agent, NewPartner) == (true, true), $"{left.Count} rows with PCN, {stands.Count} with PCN'");
    }

    /// <summary>NV-A13: what becomes of the old correspondent.</summary>
    private void OldPath(CaptureSet captures, RowBook rows)
    {
        var after = captures.Packets.Where(p => !p.Frame.Lost && p.Time > _update!.Replied && p.Time < _announcedFrom).ToList();
        var carried = after.Where(p => p.SenderNode == "fa1" && p.Between(Agent, Partner) && p.Protection != SeenProtection.None).ToList();
        var delivered = after.Where(p => p.Link == "partner").Hosts(Alice, Host).ToList();
        rows.Check("NV-A13", "traffic to the old correspondent is not carried by the old path", _oldUp is { Sent: > 0, Received: 0 } && carried.Count == 0 && delivered.Count == 0,
            $"{_oldUp!.Summary}; {carried.Count("packets FA > PCN")}; {delivered.Count("delivered")}");
        rows.Check("NV-A13", "the old correspondent gets no answer either", _oldDown is { Sent: > 0, Received: 0 }, _oldDown!.Summary);
    }

    /// <summary>NV7.12, NV7.13, NV7.15 and their side of NV7.14: the gateway that no longer counts.</summary>
    private void Expiry(CaptureSet captures, RowBook rows)
    {
        var requests = Requests(captures, Alice);
        var granted = captures.Signals.LastOrDefault(s => s is { Name: "BA", From: "pcn" } && s.MobileIp!.HomeAddress.Equals(Alice) && s.MobileIp.Code == 0 && s.Time < (requests.FirstOrDefault()?.Time ?? long.MaxValue));
        var binding = _tables.Rows("reply", "pcn", "bindings").FirstOrDefault(b => IsOf(b, Alice));
        var later = _tables.Rows("asked", "pcn", "bindings").FirstOrDefault(b => IsOf(b, Alice));
        var lifetime = granted?.MobileIp!.Lifetime ?? 0;
        var expires = granted is null ? default : granted.At + BindingLifetime;
        rows.Check("NV7.12", "PCN keeps measuring what is left of the binding it holds for its CN",
            lifetime == BindingLifetime.TotalSeconds && Expires(binding) == Expires(later) && (Expires(later) - expires).Duration() < TimeSpan.FromSeconds(1) && Text(binding, "requestSent") == "False" && Text(later, "requestSent") == "True",
            $"granted {lifetime} s; show bindings: ends {Text(binding, "expires")} after the service update, {Text(later, "expires")} when the BR is out");
        var waited = granted is null || requests.Count == 0 ? double.NaN : (requests[0].Time - granted.Time) / 1e9;
        rows.Check("NV7.13", "below the threshold (20 %): one BR to the HA that supplied the data, naming the MN",
            requests is [var one] && one.To == "ha" && waited is > 11.8 and < 13.5 && one.MobileIp!.Lifetime is 2 or 3,
            string.Create(CultureInfo.InvariantCulture, $"{requests.Count} BR, {waited:F2} s after a binding of {lifetime} s was granted, {requests.FirstOrDefault()?.MobileIp!.Lifetime} s left"));
        var answers = captures.Signals.During(_update!.From, _end!.To).Where(s => s.From == "ha" && s.To == "pcn" && s.MobileIp is { IsBinding: true } m && m.HomeAddress.Equals(Alice)).ToList();
        rows.Check("NV7.14", "the asking gateway is in no profile of the MN any more: the HA does nothing", requests.Count > 0 && answers.Count == 0 && Counted("asked", "expired", "ha.br.not_in_cache") + Counted("reply", "asked", "ha.br.not_in_cache") == 1,
            $"{answers.Count} messages HA > PCN about Alice since the service update");
        var (held, none) = (OldRows("asked"), OldRows("expired"));
        var complete = held[0].Count == 1 && held[1].Count == 1 && held[2].Count == 1 && held[3].Count == _associations && held[4].Count == 1;
        rows.Check("NV7.15", "PCN gets no BU: VPN data, tunnel, marks and what it took from the FA are gone",
            complete && none.All(r => r.Count == 0), $"when asked: {Counts(held)}; after expiry: {Counts(none)}");
        rows.Check("NV7.15", "they end with the binding's lifetime, neither sooner nor much later", granted is not null && (_gone - granted.Time) / 1e9 is > 14.5 and < 18 && requests.Count > 0 && _gone > requests[0].Time,
            string.Create(CultureInfo.InvariantCulture, $"seen gone {(granted is null ? double.NaN : (_gone - granted.Time) / 1e9):F1} s after the BA"));
        rows.Check("NV-A15", "one BR to the HA, the HA sends nothing, PCN's rows disappear at expiry", requests.Count == 1 && answers.Count == 0 && complete && none.All(r => r.Count == 0),
            $"{requests.Count} BR, {answers.Count} answers, {Counts(none)} left");
        var late = captures.Packets.Where(p => !p.Frame.Lost && p.Time > _gone && p.Time < _announcedFrom && p.SenderNode == "pcn" && p.Between(Partner, Agent) && p.Protection != SeenProtection.None).ToList();
        rows.Check("NV-A15", "PCN sends nothing towards Alice's FA any more", late.Count == 0, late.Count("packets PCN > FA"));
    }

    /// <summary>NV7.14 and the counter-case of NV-A15: Bob, who did not change.</summary>
    private void Unchanged(CaptureSet captures, RowBook rows)
    {
        var requests = Requests(captures, Bob);
        // What was asked for just before, and is answered now, is not counted; what a slow machine says twice counts once.
        var signals = captures.Signals.During(requests.FirstOrDefault()?.Time ?? _update!.From, _end!.To).Where(s => s.MobileIp is { IsBinding: true } m && m.HomeAddress.Equals(Bob)).ToList();
        var updates = signals.Where(s => s is { Name: "BU", From: "ha", To: "pcn" }).DistinctBy(s => s.MobileIp!.Identification).ToList();
        var accepted = signals.Where(s => s is { Name: "BA", From: "pcn" } && s.MobileIp!.Code == 0 && s.MobileIp.Lifetime == BindingLifetime.TotalSeconds).DistinctBy(s => s.MobileIp!.Identification).Count();
        var answered = requests.All(r => updates.Any(u => u.Time > r.Time && u.Time < r.Time + 1_000_000_000L && u.Way[0].Packet.Destination.Equals(Host)));
        rows.Check("NV7.14", "counter-case, the asking gateway is in the profile: the HA answers with a BU, the lifetime is renewed", requests.Count > 0 && answered && updates.Count == requests.Count && accepted == updates.Count,
            $"{requests.Count} BR, {updates.Count} BU, {accepted} BA of {BindingLifetime.TotalSeconds} s");
        var (before, after) = (_tables.Rows("login", "pcn", "paths").FirstOrDefault(p => IsOf(p, Bob)), _tables.Rows("end", "pcn", "paths").FirstOrDefault(p => IsOf(p, Bob)));
        rows.Check("NV-A15", "counter-case: the HA answers the BR with a BU, rows continue", requests.Count > 0 && answered && before.ValueKind == JsonValueKind.Object && after.ValueKind == JsonValueKind.Object && PathText(before) == PathText(after)
                && _tables.Legs("end", "fa2", BobsAgent, Partner) == (true, true),
            $"before: {PathText(before)}; after: {PathText(after)}");
        var seconds = (_bob!.To - _bob.From) / 1e9;
        rows.Check("NV-A15", "counter-case: traffic continues without loss, over more than two lifetimes of the binding",
            _bob.AllArrived && _bob.Duplicates == 0 && _flow.Sent > 1000 && Lost(_flow) == (0, 0) && seconds > 2 * BindingLifetime.TotalSeconds,
            string.Create(CultureInfo.InvariantCulture, $"{seconds:F0} s: {_bob.Summary}; {Arrivals(_flow)}"));
    }

    private static (int Missing, int Doubled) Lost((uint Sent, IReadOnlyDictionary<uint, int> Taken) flow) =>
        (Enumerable.Range(0, (int)flow.Sent).Count(n => !flow.Taken.ContainsKey((uint)n)), flow.Taken.Count(t => t.Value > 1));

    private static string Arrivals((uint Sent, IReadOnlyDictionary<uint, int> Taken) flow) =>
        string.Create(CultureInfo.InvariantCulture, $"{flow.Sent} datagrams down, {Lost(flow).Missing} missing, {Lost(flow).Doubled} doubled");

    /// <summary>What the first partner's gateway holds of Alice.</summary>
    private List<List<JsonElement>> OldRows(string moment) =>
        [.. ((string[])["bindings", "vpn-cache", "paths", "ipsec", "qos"]).Select(table => _tables.Rows(moment, "pcn", table).Where(r => IsOf(r, Alice)).ToList())];

    private static string Counts(List<List<JsonElement>> rows) =>
        string.Create(CultureInfo.InvariantCulture, $"bindings {rows[0].Count}, vpn-cache {rows[1].Count}, paths {rows[2].Count}, ipsec {rows[3].Count}, qos {rows[4].Count}");

    /// <summary>BRs of the first partner's gateway naming a node, from the service update to the end of the traffic; then the nodes log out.</summary>
    private List<Signal> Requests(CaptureSet captures, IPAddress node) =>
        [.. captures.Signals.During(_update!.From, _end!.To).Where(s => s is { Name: "BR", From: "pcn" } && s.MobileIp!.HomeAddress.Equals(node))];

    /// <summary>Associations of the FA in <c>show ipsec</c> with a gateway at the other end; what is preset for all users aside.</summary>
    private List<JsonElement> Towards(string moment, IPAddress gateway) =>
        [.. _tables.Rows(moment, "fa1", "ipsec").Where(a => (Is(a, "tunnelDestination", gateway) || Is(a, "tunnelSource", gateway)) && (!_shared || IsOf(a, Alice)))];

    private JsonElement Row(string moment, uint number) =>
        _tables.Rows(moment, "aaah", "vpn-db").FirstOrDefault(r => Text(r, "profileNumber") == number.ToString(CultureInfo.InvariantCulture));

    private long Searches(string moment) => _tables.Counter(moment, "aaah", "vpn_db.searched");

    private long Counted(string before, string after, string counter) => _tables.Counter(after, "ha", counter) - _tables.Counter(before, "ha", counter);

    private static DateTimeOffset Expires(JsonElement row) =>
        DateTimeOffset.TryParse(Text(row, "expires"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var at) ? at : default;

    private static string Ends(JsonElement profile) => $"{Text(profile, "sourceGateway")} > {Text(profile, "destinationGateway")}";

    private static IEnumerable<JsonElement> Entries(JsonElement table) => PathLines.Rows(table);

    private static bool IsOf(JsonElement row, IPAddress node) => Mentions(row, node.ToString()) || Mentions(row, $"{node}/32");

    private static string Word(SeenProtection protection) => protection switch { SeenProtection.Ah => "AH", SeenProtection.Esp => "ESP", _ => "ENCAPSULATION" };

    /// <summary>A Service Update Request in a Registration Request (RFC 3115 form, type 2) or a Diameter message (docs/wire-extensions.md sections 1 and 2).</summary>
    private static bool AsksUpdate(Signal signal) => signal.Diameter is { } diameter
        ? diameter.Find(5, DiameterView.SojournVendor)?.Number == 1
        : signal.MobileIp!.Extensions.Any(e => e.Type == 134 && e.Data.Length >= 8 && BinaryPrimitives.ReadUInt32BigEndian(e.Data.Span[2..]) == DiameterView.SojournVendor && BinaryPrimitives.ReadUInt16BigEndian(e.Data.Span[6..]) == 2);
}
