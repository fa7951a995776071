using System.Globalization;
using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

/// <summary>Users with and without VPNs, shared associations, security types, a gateway out of reach, a renewal.</summary>
public sealed partial class NetworkVpn9
{
    private SeenRegistration? _alice, _eve, _bob, _carol, _doraCut, _dora, _again;
    private PingResult? _company, _partner, _second, _evePing, _shared, _during, _cutPing, _authenticated, _encapsulated, _renewing;
    private IReadOnlyList<string> _routesBefore = [], _routesAfter = [];

    /// <summary>NV9.1, NV9.4, NV9.5.</summary>
    private async Task UsersAsync(LabRun run, CancellationToken cancellation)
    {
        await run.WarmUpAsync("alice", "access-1", CompanyHost.ToString(), cancellation);
        _alice = await run.RegisterAsync("alice", "access-1", cancellation);
        await _tables.TakeAsync(run, "alice", cancellation);
        await ShowInstalledAsync(run, cancellation);
        _company = await run.PingAsync("alice", CompanyHost.ToString(), new PingOptions(5), cancellation);
        _partner = await run.PingAsync("alice", Host.ToString(), new PingOptions(5) { TypeOfService = 0x48 }, cancellation);
        _second = await run.PingAsync("alice", SecondHost.ToString(), new PingOptions(5), cancellation);
        _eve = await run.RegisterAsync("eve", "access-eve", cancellation);
        _evePing = await run.PingAsync("eve", CompanyHost.ToString(), new PingOptions(3) { Wait = TimeSpan.FromMilliseconds(500) }, cancellation);
        await _tables.TakeAsync(run, "eve", cancellation);
    }

    /// <summary>NV9.2, NV-A22.</summary>
    private async Task SharedAssociationAsync(LabRun run, CancellationToken cancellation)
    {
        _bob = await run.RegisterAsync("bob", "access-bob", cancellation);
        _carol = await run.RegisterAsync("carol", "access-carol", cancellation);
        _shared = await run.PingAsync("carol", CompanyHost.ToString(), new PingOptions(3), cancellation);
        await _tables.TakeAsync(run, "shared", cancellation);
        run.Progress.Step("Carol leaves while Bob goes on under the same association");
        var going = run.PingAsync("bob", CompanyHost.ToString(), new PingOptions(60), cancellation);
        await Task.Delay(1000, cancellation);
        await run.Node("carol").StopAsync();
        _during = await going;
        await _tables.TakeAsync(run, "carol-gone", cancellation);
    }

    /// <summary>NV9.3, NV9.9, NV-A29.</summary>
    private async Task UnreachableGatewayAsync(LabRun run, CancellationToken cancellation)
    {
        var wire = run.Network.Wire("core-pcn2");
        wire.Cut = true;
        run.Progress.Step("The second partner's gateway cannot be reached");
        var registering = run.RegisterAsync("dora", "access-dora", cancellation);
        await ForgeAcknowledgementsAsync(run, registering, cancellation);
        _doraCut = await registering;
        _cutPing = await run.PingAsync("dora", EncapsulatedHost.ToString(), new PingOptions(3) { Wait = TimeSpan.FromMilliseconds(500) }, cancellation);
        await _tables.TakeAsync(run, "cut", cancellation);
        await run.Node("dora").StopAsync();
        wire.Cut = false;
        _dora = await run.RegisterAsync("dora", "access-dora", cancellation);
        _authenticated = await run.PingAsync("dora", AuthenticatedHost.ToString(), new PingOptions(3), cancellation);
        _encapsulated = await run.PingAsync("dora", EncapsulatedHost.ToString(), new PingOptions(3), cancellation);
    }

    /// <summary>NV9.6, NV-A26.</summary>
    private async Task RenewalAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Alice registers again at the same agent, under traffic");
        var going = run.PingAsync("alice", Host.ToString(), new PingOptions(100) { Interval = TimeSpan.FromMilliseconds(20) }, cancellation);
        await Task.Delay(500, cancellation);
        await _tables.TakeAsync(run, "before-renewal", cancellation);
        _routesBefore = Kernel(run, "fa1");
        var from = LabRun.Now;
        await run.Node("alice").Control.PostAsync("register", new { serviceUpdate = false }, [], cancellation);
        _again = await run.AwaitReplyAsync("alice", "access-1", from, cancellation);
        await _tables.TakeAsync(run, "renewed", cancellation);
        _routesAfter = Kernel(run, "fa1");
        _renewing = await going;
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
        var updates = signals.Where(s => s is { Name: "BU", From: "ha" }).Select(u => u.Way[0].Packet.Destination).ToList();
        var acknowledgements = signals.Where(s => s is { Name: "BA", To: "ha" } && s.MobileIp!.Code == 0).ToList();
        var haa = signals.FirstOrDefault(s => s.Name == "HAA");
        rows.Check("NV9.5", "one static and four dynamic profiles of three security types: a BU for each dynamic one, the HAA after the last BA",
            updates.Distinct().Count() == 4 && updates.Count == 4 && acknowledgements.Count == 4 && haa is not null && acknowledgements.All(a => a.Time < haa.Time),
            $"BU to {string.Join(", ", updates)}; {acknowledgements.Count} BA, HAA {(haa is null ? "missing" : string.Create(CultureInfo.InvariantCulture, $"{(haa.Time - acknowledgements.LastOrDefault()?.Time ?? 0) / 1e6:F2} ms after the last"))}");
        foreach (var (ping, host, expected) in ((PingResult, IPAddress, string)[])
            [(_company!, CompanyHost, "alice -clear-> fa1, fa1 -ESP-> ha, ha -ESP-> sgw, sgw -clear-> companyhost"), (_partner!, Host, "alice -clear-> fa1, fa1 -ESP-> pcn, pcn -clear-> cn"),
             (_second!, SecondHost, "alice -clear-> fa1, fa1 -ESP-> pcn2, pcn2 -clear-> cn2")])
        {
            var trace = captures.Trace(ping, Alice, host, 8);
            rows.Check("NV9.5", $"the flow to {host} is on its own path", trace == expected && ping.AllArrived, trace);
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
        rows.Check("NV9.2", "vpnshare 1: SPIs of its own for each profile", own.Count == 4 && own.Distinct().Count() == 4 && !own.Contains(Spis(bob)), string.Join(", ", own));
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

        // One that comes when its update has been given up meets nothing to acknowledge.
        long Grown(string counter) => _tables.Counter("cut", "ha", counter) - _tables.Counter("carol-gone", "ha", counter);
        var (forged, unexpected) = (Grown("ha.ba.bad_mac"), Grown("ha.ba.unexpected"));
        foreach (var id in (string[])["NV9.10", "NV-A30"])
        {
            rows.Check(id, "forged acknowledgements to updates that wait are dropped and counted, and the registration is refused all the same", _forgedAcknowledgements > 0 && forged > 0 && forged + unexpected >= _forgedAcknowledgements && _doraCut is { Accepted: false },
                $"{_forgedAcknowledgements} forged, {forged} counted as not authentic, {unexpected} as unexpected; reply code {_doraCut!.Code}");
        }
    }

    /// <summary>NV9.6, NV-A26.</summary>
    private void Renewal(CaptureSet captures, RowBook rows)
    {
        List<string> Rows(string moment) => [.. ((string[])["fa1", "ha", "pcn", "pcn2"]).SelectMany(n => AlicesPaths(moment, n).Select(p => $"{n} {p}"))];
        var (before, after) = (Rows("before-renewal"), Rows("renewed"));
        var signals = captures.Signals.During(_again!.From, _again.Replied ?? _again.From).ToList();
        var updates = signals.Where(s => s is { Name: "BU", From: "ha" }).ToList();
        var asked = signals.Where(s => s.Name is "AMR" or "HAR").ToList();
        var sequences = captures.On("core-fa1").During(_renewing!).Where(p => p.SenderNode == "fa1" && p.Protection == SeenProtection.Esp && p.Host is { } h && h.Source.Equals(Alice)).Select(p => p.Sequence!.Value).ToList();
        rows.Check("NV9.6", "a registration at the same agent is answered without the AAA servers; dynamic gateways get their lifetime refreshed, nothing else", _again.Accepted && asked.Count == 0 && updates.Select(u => u.To).Distinct().Order(StringComparer.Ordinal).SequenceEqual(["pcn", "pcn2"]) && before.SequenceEqual(after),
            $"accepted: {_again.Accepted}; {asked.Count} AMR or HAR, BU to {string.Join(" and ", updates.Select(u => u.To))}; paths {(before.SequenceEqual(after) ? "the same" : "differ: " + string.Join("; ", after.Except(before)))}");
        rows.Check("NV-A26", "no SPI and no route changes", before.SequenceEqual(after) && before.Count > 0 && _routesBefore.SequenceEqual(_routesAfter), $"{before.Count} paths and {_routesBefore.Count} routes and rules of fa1's kernel before, {string.Join("; ", after.Except(before).Concat(_routesAfter.Except(_routesBefore)))} new");
        rows.Check("NV-A26", "no packet is lost and the counter goes on by one", _renewing!.AllArrived && sequences.Zip(sequences.Skip(1)).All(p => p.Second == p.First + 1), $"{_renewing.Summary}; {sequences.Count} sequence numbers from {sequences.FirstOrDefault()} to {sequences.LastOrDefault()}");
    }
}
