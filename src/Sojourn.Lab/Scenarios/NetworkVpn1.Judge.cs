using System.Globalization;
using System.Net;
using Sojourn.Engine;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

public sealed partial class NetworkVpn1
{
    private const byte ExpeditedDscp = 46, Assured11Dscp = 10;

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        var options = run.Definition.Options;
        var want = options.Security.Seen();
        rows.Part("Steps", () => Steps(captures, rows, want, options));
        rows.Part("LinuxKernel", () => LinuxKernel(captures, rows, want));
        rows.Part("KeyExchange", () => KeyExchange(captures, rows, options));
        rows.Part("WholePath", () => WholePath(captures, rows, want, options));
        rows.Part("Order", () => Order(captures, rows, options));
        rows.Part("Unlisted", () => Unlisted(captures, rows));
        rows.Part("Caches", () => Caches(captures, rows));
        rows.Part("Marks", () => Marks(captures, rows, want));
        rows.Part("Sizes", () => Sizes(captures, rows, want));
        rows.Part("EspInIp", () => JudgeWrapped(captures, rows));
        rows.Part("Transport", () => JudgeTransport(rows));
        rows.Part("Impostor", () => Impostor(captures, rows));
        rows.Part("Noise", () => Noise(rows));
        rows.Part("Careless", () => Careless(captures, rows));
        rows.Part("Shares", () => Shares(captures, rows, options));
        rows.Part("Provisioned", () => Provisioned(captures, rows));
        rows.Part("Installed", () => Installed(captures, rows, options));
        rows.Part("EndHosts", () => EndHosts(captures, rows));
        rows.Part("Accounting", () => Accounting(captures, rows));

        rows.Measure("registration, RRQ to RRP on the access link", Between(captures, "RRQ", "RRP", "alice", "alice"), "ms");
        rows.Measure("ping through the tunnels, median", _up!.Median, "ms");
        rows.Measure("ping sent", _up.Sent, "packets");
        rows.Measure("ping received", _up.Received, "packets");
    }

    private IReadOnlyList<Signal> AliceRegistration(CaptureSet captures) => captures.Of(_alice!);

    private Signal? First(CaptureSet captures, string name, string from, string to) =>
        AliceRegistration(captures).FirstOrDefault(s => s.Name == name && s.From == from && s.To == to);

    private double Between(CaptureSet captures, string first, string last, string from, string to)
    {
        var start = AliceRegistration(captures).FirstOrDefault(s => s.Name == first && s.From == from);
        var end = AliceRegistration(captures).LastOrDefault(s => s.Name == last && s.To == to);
        return start is null || end is null ? double.NaN : (end.Time - start.Time) / 1e6;
    }

    /// <summary>NV1.1-NV1.13, one by one.</summary>
    private void Steps(CaptureSet captures, RowBook rows, SeenProtection want, ScenarioOptions options)
    {
        var standing = captures.On("core-sgw").Where(p => p.SenderNode == "sgw" && p.Time >= _before!.From && p.Time <= _before.To && p.Protection == want && p.Between(Company, Home)).ToList();
        rows.Check("NV1.2", "the company's gateway has its tunnel to the home agent before anybody registers",
            standing.Count > 0 && StandingTunnels > 0,
            $"before any login: {standing.Count} {want.Name()} packets SGW > HA for {_before!.Sent} pings of the company host, {StandingTunnels} standing path(s)");

        var request = First(captures, "RRQ", "alice", "fa1");
        rows.Check("NV1.4", "the mobile node attaches to a visited network and sends a Registration Request to the foreign agent",
            request?.MobileIp is { Nai: "alice@home.example" }, request is null ? "no request" : $"RRQ of {request.MobileIp!.Nai}, care-of {request.MobileIp.CareOfAddress}");

        rows.Check("NV1.5", "FA > AAAF > AAAH: AMR with the Registration Request and the NAI", () =>
        {
            var first = First(captures, "AMR", "fa1", "aaaf");
            var second = First(captures, "AMR", "aaaf", "aaah");
            var carries = new[] { first, second }.All(m => m?.Diameter!.UserName == "alice@home.example" && m.Diameter.Find(320) is { } inner && inner.Data.Span.SequenceEqual(request!.MobileIp!.Octets.Span));
            return (carries && first!.Time > request!.Time && second!.Time > first.Time, carries ? "both AMRs carry alice@home.example and the request octet by octet" : "an AMR is missing or carries something else");
        });

        var har = First(captures, "HAR", "aaah", "ha");
        var legs = har?.Diameter!.Profiles.ToList() ?? [];
        rows.Check("NV1.6", "the AAAH finds the company's static gateway and makes the legs FA-HA and HA-SGW",
            legs.Count == 2 && legs.Any(l => Gateways(l, Home, Agent)) && legs.Any(l => Gateways(l, Home, Company)) && legs.All(l => l.Vpn(18)?.Number == 0),
            $"HAR carries {legs.Count} profiles: {string.Join("; ", legs.Select(Leg))}");

        rows.Check("NV1.7", "AAAH > HA: HAR with the Registration Request, both profiles and Profile-Cache",
            har is not null && legs.Count == 2 && har.Diameter!.ProfileCache && har.Diameter.Find(320) is { } carried && carried.Data.Span.SequenceEqual(request!.MobileIp!.Octets.Span),
            har is null ? "no HAR" : $"{legs.Count} profiles, Profile-Cache {(har.Diameter!.ProfileCache ? "set" : "missing")}, request {(har.Diameter.Find(320) is null ? "missing" : "inside")}");

        var toCompany = captures.On("core-ha").During(_up!).Where(p => p.SenderNode == "ha" && p.Between(Home, Company) && p.Protection == want).ToList();
        var toAgent = captures.On("core-ha").During(_up!).Where(p => p.SenderNode == "ha" && p.Between(Home, Agent) && p.Protection == want).ToList();
        var signalling = SignalledToCompany(captures);
        rows.Check("NV1.8", $"the HA sets its tunnels to SGW and FA and takes what comes from both; nothing{ButTheKeyExchange(options)} is signalled to SGW",
            toCompany.Count >= _up!.Sent && toAgent.Count >= _up.Sent && signalling.Count == 0,
            $"{toCompany.Count} {want.Name()} HA > SGW, {toAgent.Count} HA > FA; {signalling.Count("signalling packets to SGW")}");

        var haa = First(captures, "HAA", "ha", "aaah");
        rows.Check("NV1.9", "HA > AAAH: HAA once the registration is complete", haa is not null && har is not null && haa.Time > har.Time && haa.Diameter!.ResultCode == 2001 && haa.Diameter.Find(321) is not null,
            haa is null ? "no HAA" : $"HAA {(haa.Time - har!.Time) / 1e6:F2} ms after the HAR, result {haa.Diameter!.ResultCode}, reply {(haa.Diameter.Find(321) is null ? "missing" : "inside")}");

        var ama = First(captures, "AMA", "aaah", "aaaf");
        var amaLegs = ama?.Diameter!.Profiles.ToList() ?? [];
        rows.Check("NV1.10", "AAAH > AAAF: AMA with the FA-HA profile and Profile-Cache",
            ama is not null && amaLegs.Count == 1 && Gateways(amaLegs[0], Agent, Home) && ama.Diameter!.ProfileCache, ama is null ? "no AMA" : string.Join("; ", amaLegs.Select(Leg)));

        var relayed = First(captures, "AMA", "aaaf", "fa1");
        var visitedCache = _tables.Profiles("reply", "aaaf", "alice@home.example");
        rows.Check("NV1.11", "the AAAF caches the FA-HA profile and relays the AMA to the FA",
            relayed is not null && ama is not null && relayed.Time > ama.Time && relayed.Diameter!.Profiles.Count() == 1 && visitedCache.Count == 1,
            $"AMA relayed {(relayed is null ? "not at all" : $"after {(relayed.Time - ama!.Time) / 1e6:F2} ms")}; AAAF cache: {visitedCache.Count} profile");

        var fromAgent = captures.On("core-fa1").During(_up).Where(p => p.SenderNode == "fa1" && p.Between(Agent, Home) && p.Protection == want).ToList();
        rows.Check("NV1.12", "the FA marks by DiffServ, sets its tunnel to the HA and takes what comes from it",
            fromAgent.Count >= _up.Sent && fromAgent.All(p => p.Packet.Dscp == ExpeditedDscp), $"{fromAgent.Count} {want.Name()} FA > HA, outer DSCP {string.Join("/", fromAgent.Select(p => p.Packet.Dscp).Distinct())}");

        var reply = First(captures, "RRP", "fa1", "alice");
        rows.Check("NV1.13", "FA > MN: Registration Reply", reply?.MobileIp!.Code is 0 or 1 && relayed is not null && reply!.Time > relayed.Time, reply is null ? "no reply" : $"code {reply.MobileIp!.Code}, {(reply.Time - relayed!.Time) / 1e6:F2} ms after the AMA");
    }

    /// <summary>NV1.14, NV-A1.</summary>
    private void WholePath(CaptureSet captures, RowBook rows, SeenProtection want, ScenarioOptions options)
    {
        var word = want switch { SeenProtection.Ah => "AH", SeenProtection.Esp => "ESP", _ => "ENCAPSULATION" };
        var up = captures.Trace(_up!, Alice, Host, 8);
        var down = captures.Trace(_up!, Host, Alice, 0);
        rows.Check("NV1.14", "up: MN, FA, tunnel, HA, tunnel, SGW, CN; down: the same way back; clear only on MN-FA and SGW-CN",
            up == $"alice -clear-> fa1, fa1 -{word}-> ha, ha -{word}-> sgw, sgw -clear-> cn" && down == $"cn -clear-> sgw, sgw -{word}-> ha, ha -{word}-> fa1, fa1 -clear-> alice",
            $"up: {up}; down: {down}");

        rows.Check("NV-A1", "the ping of the registered user comes back", _up!.AllArrived, _up.Summary);
        rows.Check("NV-A1", "the company host reaches the mobile node's home address", _down!.AllArrived, _down.Summary);
        var keying = First(captures, "AMA", "aaaf", "fa1")?.Diameter!.Profiles.FirstOrDefault();
        var (spiUp, spiDown) = keying?.Vpn(22)?.Number == 1 ? (keying.Vpn(19)!.Number, keying.Vpn(20)!.Number) : (0x2001u, 0x2002u);
        var (toCompany, fromCompany) = options.Gateway == GatewayPeer.Keyed ? AgreedSpis() : (0x1001u, 0x1002u);
        foreach (var (link, from, to, spi, id) in ((string, IPAddress, IPAddress, uint, string)[])
            [("core-fa1", Agent, Home, spiUp, "FA > HA"), ("core-ha", Home, Company, toCompany, "HA > SGW"), ("core-sgw", Company, Home, fromCompany, "SGW > HA"), ("core-ha", Home, Agent, spiDown, "HA > FA")])
        {
            var packets = captures.On(link).During(_up).Where(p => p.Between(from, to) && p.Protection == want).ToList();
            var spis = packets.Select(p => p.Spi).Distinct().ToList();
            rows.Check("NV-A1", string.Create(CultureInfo.InvariantCulture, $"{want.Name()} {id} {(want == SeenProtection.Encapsulation ? "" : $"under the profile's SPI 0x{spi:x8}")}"),
                packets.Count >= _up.Sent && (want == SeenProtection.Encapsulation || spis is [var only] && only == spi),
                string.Create(CultureInfo.InvariantCulture, $"{packets.Count} packets, SPI {string.Join(", ", spis.Select(s => s is null ? "none" : $"0x{s:x8}"))}"));
        }

        var leaked = captures.On(LinkKind.Core).Readable(Alice, Host);
        rows.Check("NV-A1", "no clear packet of the pair on any core link, in the whole run", leaked.Count == 0, leaked.Count("clear packets"));
        var access = captures.On("access-alice").During(_up).Readable(Alice, Host);
        var company = captures.On("company").During(_up).Readable(Alice, Host);
        rows.Check("NV-A1", "clear ICMP on MN-FA and SGW-CN", access.Count == 2 * _up.Sent && company.Count == 2 * _up.Sent, $"{access.Count} on MN-FA, {company.Count} on SGW-CN for {_up.Sent} echoes");
        var vpn = captures.On(LinkKind.Access).Concat(captures.On(LinkKind.Company)).VpnTraffic();
        rows.Check("NV-A1", "no IPsec, IKE or VPN packet to or from MN or CN", vpn.Count == 0, vpn.Count("such packets"));
        if (want == SeenProtection.Esp)
        {
            var esp = captures.On(LinkKind.Core).Where(p => p.Protection == SeenProtection.Esp).ToList();
            var closed = esp.Count(p => p.Inner is null && !p.Packet.IsFragment && p.Frame.Comment is null);
            rows.Check("NV1.14", "every ESP packet opens with the exported keys and its ICV is right", closed == 0 && esp.Count > 0, $"{esp.Count} ESP packets, {closed} that no key opened");
        }
    }

    /// <summary>NV-A2.</summary>
    private void Order(CaptureSet captures, RowBook rows, ScenarioOptions options)
    {
        var order = AliceRegistration(captures).Where(s => s.Name is "RRQ" or "AMR" or "HAR" or "HAA" or "AMA" or "RRP").Select(s => s.Name).ToList();
        var expected = new[] { "RRQ", "AMR", "AMR", "HAR", "HAA", "AMA", "AMA", "RRP" };
        rows.Check("NV-A2", "HAR precedes HAA precedes AMA precedes RRP", order.SequenceEqual(expected), string.Join(", ", order));

        // The wire held the reply back while these tables were read.
        var agent = _tables.Legs("reply", "fa1", Agent, Home);
        var home = _tables.Legs("reply", "ha", Home, Agent);
        rows.Check("NV-A2", "at the instant the RRP leaves the FA both directions FA-HA are installed at FA and HA", agent == (true, true) && home == (true, true),
            $"with the reply held on the access link: FA out {agent.Out} in {agent.In}, HA out {home.Out} in {home.In}");
        var toCompany = SignalledToCompany(captures);
        rows.Check("NV-A2", $"SGW sees no signalling packet at all{ButTheKeyExchange(options)}, in the whole run", toCompany.Count == 0, toCompany.Count("unprotected packets to SGW"));
    }

    /// <summary>NV1.15, NV-A3.</summary>
    private void Unlisted(CaptureSet captures, RowBook rows)
    {
        var carried = captures.Packets.Where(p => p.Time >= _eve!.From).Hosts(Eve, Host).ToList();
        var inTunnels = carried.Where(p => p.Protection is SeenProtection.Esp or SeenProtection.Ah).ToList();
        var atCompany = captures.On("company").Where(p => p.Packet.Source.Equals(Eve) || p.Packet.Destination.Equals(Eve)).ToList();
        var profiles = ((string[])["aaah", "aaaf", "fa1", "ha"]).ToDictionary(n => n, n => _tables.Profiles("eve", n, "eve@home.example").Count);
        var attempts = captures.On("access-eve").Hosts(Eve, Host).Count(p => p.SenderNode == "eve");
        var observed = $"registration {(_eve!.Accepted ? "accepted" : $"code {_eve.Code}")}, {attempts} packets sent, {_evePing!.Received} replies, {inTunnels.Count} in a secured tunnel, {atCompany.Count} in the company";
        rows.Check("NV1.15", "a user the company did not list gets no tunnel, and his packets never enter the company", attempts > 0 && inTunnels.Count == 0 && atCompany.Count == 0 && _evePing.Received == 0, observed);
        rows.Check("NV-A3", "the caches have no profile of his", _eve.Accepted && profiles.Values.All(c => c == 0), string.Join(", ", profiles.Select(p => $"{p.Key}: {p.Value}")));
        rows.Check("NV-A3", "no ESP or AH bears his packets, no reply, and no packet of his leaves SGW", attempts > 0 && inTunnels.Count == 0 && _evePing.Received == 0 && atCompany.Count == 0, observed);
        var crossing = captures.On("core-sgw").Where(p => p.ReceiverNode == "sgw").Hosts(Eve, Host).ToList();
        rows.Check("NV-A3", "the home agent itself keeps his packets out of the core towards the company", crossing.Count == 0, crossing.Count("packets towards SGW"));
    }

    /// <summary>NV-A4.</summary>
    private void Caches(CaptureSet captures, RowBook rows)
    {
        foreach (var (node, expected) in ((string, int)[])[("aaah", 2), ("aaaf", 1), ("ha", 2), ("fa1", 1)])
        {
            var count = _tables.Profiles("alice", node, "alice@home.example").Count;
            rows.Check("NV-A4", $"after NV1 the cache of {node} holds {expected} profile(s)", count == expected, $"{count} profile(s)");
        }

        var har = First(captures, "HAR", "aaah", "ha")?.Diameter;
        var ama = First(captures, "AMA", "aaaf", "fa1")?.Diameter;
        rows.Check("NV-A4", "AMA and HAR carry Profile-Cache; the CN-GW row is static", har?.ProfileCache == true && ama?.ProfileCache == true && _gateways!.Output.Contains("static", StringComparison.OrdinalIgnoreCase),
            $"HAR {har?.ProfileCache}, AMA {ama?.ProfileCache}; gateways: {_gateways!.Output.Trim()}");
    }

    /// <summary>NV-A24.</summary>
    private void Marks(CaptureSet captures, RowBook rows, SeenProtection want)
    {
        rows.Check("NV-A24", "profile 0xB8 up, 0x28 down: DSCP 46 and 10 on inner and outer packets in the right directions", () =>
        {
            var up = captures.On("core-fa1").During(_marked!).Hosts(Alice, Host).ToList();
            var down = captures.On("core-ha").During(_marked!).Hosts(Host, Alice).Where(p => p.SenderNode == "ha").ToList();
            var right = up.Count > 0 && down.Count > 0
                && up.All(p => p.Packet.Dscp == ExpeditedDscp && p.Inner!.Dscp == ExpeditedDscp)
                && down.All(p => p.Packet.Dscp == Assured11Dscp && p.Inner!.Dscp == Assured11Dscp);
            return (right, $"up outer/inner {Values(up)}, down outer/inner {Values(down)}");
        });
        rows.Check("NV-A24", "TOS 0 in the profile: DSCP as the host sent it", () =>
        {
            var up = captures.On(LinkKind.Core).During(_bobPing!).Hosts(Bob, Host).ToList();
            var delivered = captures.On("company").During(_bobPing!).Hosts(Bob, Host).ToList();
            return (up.Count > 0 && up.All(p => p.Packet.Dscp == 18 && p.Inner!.Dscp == 18) && delivered.Count > 0 && delivered.All(p => p.Packet.Dscp == 18), $"sent with DSCP 18: outer/inner {Values(up)}, delivered {string.Join("/", delivered.Select(p => p.Packet.Dscp).Distinct())}");
        });
        rows.Check("NV-A24", "ECN CE marked on the core survives to the inner packet", () =>
        {
            var marked = captures.On("core-fa1").During(_ecn!).Count(p => p.Protection == want && p.Frame.Comment is not null && p.Packet.Ecn == 3);
            var delivered = captures.On("company").During(_ecn!).Hosts(Alice, Host).ToList();
            return (marked >= _ecn!.Sent && delivered.Count >= _ecn.Sent && delivered.All(p => p.Packet.Ecn == 3), $"{marked} packets marked CE on the core, {delivered.Count(p => p.Packet.Ecn == 3)} of {delivered.Count} delivered with CE");
        });
    }

    /// <summary>NV-A33.</summary>
    private void Sizes(CaptureSet captures, RowBook rows, SeenProtection want)
    {
        var tall = captures.Packets.Where(p => p.Packet.Octets.Length > 1500).ToList();
        rows.Check("NV-A33", "1500-octet packets without DF are delivered whole", _whole!.AllArrived && tall.Count == 0, $"{_whole.Summary}; {tall.Count} packets over 1500 octets on any link");
        rows.Check("NV-A33", "1500-octet packets with DF: ICMP too big with the right size, and that size passes",
            _tooBig!.Received == 0 && _mtus.Count > 0 && _fits is { AllArrived: true },
            $"MTU told: {(_mtus.Count == 0 ? "none" : string.Join(", then ", _mtus))}; pings of exactly that size: {_fits?.Summary ?? "not sent"}");
        rows.Check("NV-A33", "the size told is the largest that fits: its protected packet is the largest that a 1500-octet link carries", () =>
        {
            var largest = captures.On(LinkKind.Core).During(_fits!).Where(p => p.Protection == want).Select(p => p.Packet.Octets.Length).DefaultIfEmpty().Max();
            // ESP pads to a multiple of 4 or of the cipher block: up to 15 octets may stay unused.
            return (largest is > 1484 and <= 1500, $"largest outer packet {largest} octets");
        });
        rows.Check("NV-A33", want == SeenProtection.Encapsulation ? "a replayed packet without cryptography is delivered again: there is nothing to tell it by" : "a replayed packet is dropped", () =>
        {
            var delivered = captures.On("company").Where(p => p.Time >= _replayed!.Value.Time && p.Time <= _replayUntil && p.ReceiverNode == "cn").ToList();
            var injected = captures.On("core-ha").Count(p => p.Frame.Comment == "sent again by the scenario");
            var went = captures.On("core-ha").Count(p => p.Time >= _replayed!.Value.Time && p.Time <= _replayUntil && p.SenderNode == "ha" && p.Protection != SeenProtection.None);
            return want == SeenProtection.Encapsulation
                ? (injected == 1, $"{injected} sent again, {delivered.Count} delivered")
                : (injected == 1 && delivered.Count == 0 && went == 0, $"{injected} sent again, {went} passed on by the HA, {delivered.Count} delivered");
        });
    }

    /// <summary>NV-A27.</summary>
    private void Impostor(CaptureSet captures, RowBook rows)
    {
        rows.Check("NV-A27", "a request with a wrong MN-AAA authenticator at another foreign agent is refused", _mallory is { Accepted: false, Replied: not null }, _mallory!.Replied is null ? "no reply at all" : $"reply code {_mallory.Code}");
        var paths = _tables.Rows("mallory", "fa2", "paths").Count(p => Mentions(p, "10.99.0.10/32"));
        var cached = _tables.Profiles("mallory", "fa2", "alice@home.example").Count;
        var tunnelled = captures.Packets.Where(p => p.Time >= _mallory.From && p.Protection != SeenProtection.None && (p.Packet.Source.Equals(SecondAgent) || p.Packet.Destination.Equals(SecondAgent)) && p.Time <= _afterMallory!.To).ToList();
        rows.Check("NV-A27", "no new tunnel at that agent, and no cached profile stays there", paths == 0 && cached == 0 && tunnelled.Count == 0, $"{paths} paths, {cached} profiles, {tunnelled.Count("tunnelled packets there")}");
        var before = _tables.Paths("before-mallory", "ha", "alice@home.example");
        var after = _tables.Paths("mallory", "ha", "alice@home.example");
        rows.Check("NV-A27", "the old path is unchanged and still carries", before.Count > 0 && before.SequenceEqual(after) && _afterMallory!.AllArrived, $"HA paths of alice before: {string.Join("; ", before)}; after: {string.Join("; ", after)}; ping: {_afterMallory!.Summary}");
    }

    /// <summary>Everything unprotected that any node sent to the company's gateway; not what the scenario put on the link, and no key exchange of the two gateways.</summary>
    private static List<Sighting> SignalledToCompany(CaptureSet captures) =>
        [.. captures.On("core-sgw").Where(p => p.ReceiverNode == "sgw" && p.Packet.Destination.Equals(Company) && p.Protection == SeenProtection.None && p.Frame.Comment is null && !IsKeyExchange(p))];

    /// <summary>A stranger's noise changed no table, is counted under names that `status` shows, and hurt nobody.</summary>
    private void Noise(RowBook rows)
    {
        foreach (var (node, sent) in _noise)
        {
            string[] Standing(string moment) => [.. _tables.Rows(moment, node, "paths").Select(PathText), .. _tables.Rows(moment, node, "vpn-cache").Select(r => r.GetRawText())];
            var counted = _tables.Increase("quiet", "noise", node).Where(c => RefusalNames.Any(n => c.Name.Contains(n, StringComparison.Ordinal))).ToList();
            var isServer = node.StartsWith("aaa", StringComparison.Ordinal);

            // A gateway need not count ICMP it does not know; a static one has no Mobile IP port; the kernel answers IP-in-IP that nobody takes.
            var expected = isServer ? sent : NoisePackets * (node != "sgw" ? 4 : _kernelBefore is null ? 3 : 2);
            rows.Check("LAB", $"noise on the ports of {node} changes nothing and is counted by name", Standing("quiet").SequenceEqual(Standing("noise")) && counted.Sum(c => c.By) >= expected,
                string.Create(CultureInfo.InvariantCulture, $"{sent} {(isServer ? "connections" : "packets")}; {string.Join(", ", counted.Select(c => $"{c.Name} +{c.By}"))}"));
        }

        rows.Check("LAB", "after the noise the users' traffic goes on", _afterNoise!.AllArrived, _afterNoise.Summary);
    }

    /// <summary>NV-A21.</summary>
    private void Careless(CaptureSet captures, RowBook rows)
    {
        foreach (var (what, registration, asked) in _careless)
        {
            var sound = what == SoundProfile;
            var paths = _tables.Rows(what, "fa2", "paths").Count(p => Mentions(p, "10.88.0.10/32") && Mentions(p, "192.168.70.0/24"));
            var ama = captures.Signals.LastOrDefault(s => s is { Name: "AMA", From: "rogue" } && s.Time <= (registration.Replied ?? long.MaxValue) && s.Time >= registration.From);
            var observed = string.Create(CultureInfo.InvariantCulture, $"AMA {(ama is null ? "not seen" : $"with result {ama.Diameter!.ResultCode}, algorithm {ama.Diameter.Profiles.First().Vpn(21)?.Number}, down SPI 0x{ama.Diameter.Profiles.First().Vpn(20)?.Number:x8}")}; reply {(registration.Replied is null ? "none" : $"code {registration.Code}")}; {paths} path(s) of the user at the agent");
            if (sound)
            {
                rows.Check("NV-A21", "control: an AMA with a sound profile is accepted and makes a path", asked && registration.Accepted && paths == 1 && ama is not null, observed);
            }
            else
            {
                rows.Check("NV-A21", $"an AMA whose profile has {what}: refused, no tunnel, the reply says so", asked && registration is { Accepted: false, Replied: not null } && paths == 0 && ama?.Diameter!.ResultCode == 2001, observed);
            }
        }
    }

    /// <summary>NV-A22 and what a removal leaves (NV-A19).</summary>
    private void Shares(CaptureSet captures, RowBook rows, ScenarioOptions options)
    {
        var alice = captures.Spis("core-fa1", _up!, Alice);
        var bob = captures.Spis("core-fa1", _bobPing!, Bob);
        if (options.Security == SecurityType.EncapsulationOnly)
        {
            rows.Check("NV-A22", "encapsulation only: no association, no key anywhere", !KeysSent(captures), KeysSent(captures) ? "a Wrapped-Key was sent with a profile" : "no key with any profile");
        }
        else if (options.UserSpecific)
        {
            rows.Check("NV-A22", "vpnshare 1: two users between the same gateways have distinct SPIs and keys", alice.Count == 2 && bob.Count == 2 && !alice.Intersect(bob).Any(), $"alice {Hex(alice)}, bob {Hex(bob)}");
        }
        else
        {
            rows.Check("NV-A22", "vpnshare 0: two users between the same gateways share one SPI per direction", alice.Count == 2 && alice.SetEquals(bob), $"alice {Hex(alice)}, bob {Hex(bob)}");
            rows.Check("NV-A22", "vpnshare 0: no key AVP in AMA or HAR", !KeysSent(captures), KeysSent(captures) ? "a Wrapped-Key was sent with a profile" : "no Wrapped-Key in any profile");
        }

        rows.Check("NV-A22", "removing one user leaves the other's ping unbroken", _during!.AllArrived, _during.Summary);
        var left = ((string[])["fa1", "ha"]).ToDictionary(n => n, n => _tables.Paths("bob-gone", n, "bob@home.example").Count + _tables.Profiles("bob-gone", n, "bob@home.example").Count);
        rows.Check("NV-A19", "after a user has left, none of his rows is left at FA or HA", left.Values.All(c => c == 0), string.Join(", ", left.Select(l => $"{l.Key}: {l.Value}")));
    }

    /// <summary>NV1.1, NV1.3, NV-A17, NV-A32.</summary>
    private void Provisioned(CaptureSet captures, RowBook rows)
    {
        rows.Check("NV1.1", "the company's contract is on record: SPIs and keys at its gateway, quality of service, the users allowed",
            _profiles!.ExitCode == 0 && _profiles.Output.Contains("alice@home.example", StringComparison.Ordinal) && _profiles.Output.Contains("bob@home.example", StringComparison.Ordinal) && !_profiles.Output.Contains("eve@home.example", StringComparison.Ordinal),
            "`sojourn profile list` names alice and bob and not eve");
        rows.Check("NV1.3", "each listed user has a VPN database instance, and the company one static CN-GW row",
            _profiles.Output.Contains("192.168.50.0/24", StringComparison.Ordinal) && _gateways!.Output.Contains("192.168.50.0/24", StringComparison.Ordinal) && _gateways.Output.Contains("10.0.5.2", StringComparison.Ordinal),
            $"{_gateways!.Output.ReplaceLineEndings(" ").Trim()}");
        Lists(rows, "sojourn profile list (3.1)", _profiles, "profileNumber", "nai", "vpnshare", "destaddr", "upclass", "downclass", "upSpi", "downSpi", "sectype", "algorithm", "contractKeys", "route", "trigger", "enabled");
        Lists(rows, "sojourn show vpn-db (3.1)", _databaseShown!, "profileNumber", "nai", "vpnShare", "destination", "upClass", "downClass", "upSpi", "downSpi", "security", "algorithm", "route", "trigger", "enabled");
        Lists(rows, "sojourn show vpn-cache (3.2)", _cacheShown!, "session", "profileCount", "profileNumber", "source", "destination", "tos", "security", "sourceGateway", "destinationGateway", "gatewayType", "upSpi", "downSpi", "algorithm", "keying", "keyFingerprint", "revision", "supplier");
        var changed = captures.Signals.During(_bobSecond!.From, _bobAgain!.To).FirstOrDefault(s => s.Name == "AMA" && s.To == "fa1")?.Diameter!.Profiles.FirstOrDefault();
        var marked = captures.On("core-fa1").During(_bobAgain).Hosts(Bob, Host).ToList();
        rows.Check("NV-A17", "a change in the database shows in the next distribution", changed?.Vpn(13)?.Number == 26 << 2 && changed.Vpn(14)?.Number == 18 << 2 && marked.Count > 0 && marked.All(p => p.Packet.Dscp == 26),
            $"class 3 up, 2 down: AMA says TOS {changed?.Vpn(13)?.Number} up, {changed?.Vpn(14)?.Number} down; packets {Values(marked)}");
        foreach (var (suite, check) in _staticKeys)
        {
            rows.Check("NV-A32", $"a configuration with {suite} and a typed-in key is rejected", check.ExitCode == 1 && check.Output.Contains("typed-in key", StringComparison.Ordinal), $"`sojourn check` exit {check.ExitCode}: {check.Output.Trim().Split('\n')[0]}");
        }
    }

    private static void Lists(RowBook rows, string command, CommandResult shown, params string[] fields)
    {
        var missing = fields.Where(f => !shown.Output.Contains($"\"{f}\"", StringComparison.Ordinal)).ToList();
        rows.Check("NV-A17", $"`{command}` lists all fields for a user", shown.ExitCode == 0 && missing.Count == 0 && shown.Output.Contains("alice@home.example", StringComparison.Ordinal),
            shown.ExitCode != 0 ? $"exit {shown.ExitCode}: {shown.Errors.Trim()}" : missing.Count == 0 ? $"{fields.Length} fields" : $"missing: {string.Join(", ", missing)}");
    }

    /// <summary>NV-A19.</summary>
    private void Installed(CaptureSet captures, RowBook rows, ScenarioOptions options)
    {
        foreach (var (node, local, remote, dscp) in ((string, IPAddress, IPAddress, byte)[])[("fa1", Agent, Home, ExpeditedDscp), ("ha", Home, Agent, Assured11Dscp)])
        {
            var path = _tables.Rows("alice", node, "paths").FirstOrDefault(p => Is(p, "localGateway", local) && Is(p, "remoteGateway", remote) && Mentions(p, "alice@home.example"));
            rows.Check("NV-A19", $"the path table of {node} matches the profile: tunnel ends, selector, mark",
                path.ValueKind == System.Text.Json.JsonValueKind.Object && path.GetRawText().Contains("10.99.0.10/32", StringComparison.Ordinal) && path.GetRawText().Contains("192.168.50.0/24", StringComparison.Ordinal) && path.TryGetProperty("markDscp", out var mark) && mark.GetInt32() == dscp,
                path.ValueKind == System.Text.Json.JsonValueKind.Object ? PathText(path) : "no such path");
        }

        var routed = _agentRoutes.Where(r => r.Contains("sojourn0", StringComparison.Ordinal) || r.Contains("10.99.0.10", StringComparison.Ordinal)).ToList();
        rows.Check("NV-A19", "the kernel of the FA routes the user's packets to the virtual device", routed.Any(r => r.Contains("sojourn0", StringComparison.Ordinal)), string.Join("; ", routed));
    }

    /// <summary>NV-A34.</summary>
    private void EndHosts(CaptureSet captures, RowBook rows)
    {
        var foreign = _aliceSockets.Where(s => !s.EndsWith(":434", StringComparison.Ordinal) && !s.StartsWith("raw", StringComparison.Ordinal)).ToList();
        rows.Check("NV-A34", "the mobile node opens no transport socket but UDP 434 (and listens for ICMP agent advertisements)", _aliceSockets.Count > 0 && foreign.Count == 0 && _aliceSockets.All(s => !s.StartsWith("raw", StringComparison.Ordinal) || s.EndsWith(":1", StringComparison.Ordinal)), string.Join(", ", _aliceSockets));
        rows.Check("NV-A34", "the company host opens no socket", _hostSockets.Count == 0, _hostSockets.Count == 0 ? "none" : string.Join(", ", _hostSockets));
        rows.Check("NV-A34", "neither has a tunnel device", _aliceDevices.Concat(_hostDevices).All(d => d is "lo" or "eth0"), $"alice: {string.Join(" ", _aliceDevices)}; cn: {string.Join(" ", _hostDevices)}");
    }
}
