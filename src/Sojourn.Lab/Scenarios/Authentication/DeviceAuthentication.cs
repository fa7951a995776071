using System.Net;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Topology;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>
/// Device authentication at access routers (rows TA1.101 to 107a, TA-A5, TA-A6, TA-N5, TA-H23): registry at the router and at a server,
/// M = 0 and M = 1, an unregistered device, a cloned address, and addresses alone.
/// </summary>
public sealed class DeviceAuthentication : TerminalScenario
{
    private const string Authority = "2001:db8:3::2";
    private const string AccessRequest = "1", AccessAccept = "2", AccessReject = "3", AccessChallenge = "11";

    /// <summary>With the last octet of their link-layer address.</summary>
    private static readonly (string Node, byte Number)[] s_terminals = [("mn1", 1), ("mn2", 2), ("unknown", 3), ("clone", 1)];
    private static readonly IPNetwork s_first = IPNetwork.Parse("2001:db8:f1::/64"), s_leased = IPNetwork.Parse("2001:db8:f2::1000/116"), s_forged = IPNetwork.Parse("2001:db8:bad::/64");

    private readonly Dictionary<string, JsonElement> _shown = [];
    private readonly Dictionary<string, string> _steps = [];
    private readonly Dictionary<string, bool> _opened = [];
    private readonly Dictionary<string, string> _stores = [];
    private IReadOnlyList<string> _concessions = [], _otherConcessions = [];
    private PingResult? _printer, _camera, _neighbours;
    private JsonElement _portsAfter;
    private string _entries = "", _entriesAfter = "";

    public override string Name => "authentication/devices";

    protected override IReadOnlyList<string> Fields => [.. base.Fields, .. DeviceFields, "radius.code", "radius.Calling_Station_Id", "dhcpv6.iaaddr.ip"];

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        if (!AddressServer.IsAvailable)
        {
            throw new ScenarioException("this scenario needs kea-dhcp6 (Debian package kea-dhcp6-server)");
        }

        await PrepareAsync(run, cancellation);
        await using var first = await RouterAdvertiser.StartAsync(run, "ar1", "access0", s_first.ToString(), managed: false, cancellation);
        await using var second = await RouterAdvertiser.StartAsync(run, "ar2", "access0", "2001:db8:f2::/64", managed: true, cancellation);
        await using var kea = await AddressServer.StartAsync(run, "ar2", "access0", "2001:db8:f2::/64", "2001:db8:f2::1000 - 2001:db8:f2::1fff", cancellation);

        run.Progress.Step("Four terminals are switched on: two that are registered, one that is not, one with an address that is not its own");
        await Task.WhenAll(((string[])["mn1", "mn2", "unknown"]).Select(node => run.Node(node).StartAsync(cancellation)));
        foreach (var node in (string[])["mn1", "mn2"])
        {
            _shown[node] = await ReachAsync(run, node, "HOA", TimeSpan.FromSeconds(60), cancellation);
            run.Progress.Note($"{node}: {_shown[node]}");
        }

        _entries = await EntriesAsync(run, cancellation);
        await run.Node("clone").StartAsync(cancellation);
        foreach (var node in (string[])["unknown", "clone"])
        {
            await AwaitEventAsync(run, node, "terminal.not_admitted", TimeSpan.FromSeconds(40), cancellation);
        }

        // Time to do something they must not do.
        await Task.Delay(TimeSpan.FromSeconds(5), cancellation);
        foreach (var (node, _) in s_terminals)
        {
            _shown[node + " in the end"] = await SessionAsync(run, node, cancellation);
            _steps[node] = string.Join(" ", (await EventsAsync(run, node, "terminal.state", cancellation)).Concat(await EventsAsync(run, node, "terminal.not_admitted", cancellation)));
            _stores[node] = string.Join(" ", System.IO.Directory.GetFiles(StoreOf(run, node)).Select(Path.GetFileName).Order(StringComparer.Ordinal));
            _opened[node] = OpenedAt(run, node) is not null;
        }

        _entriesAfter = await EntriesAsync(run, cancellation);
        await AddressesAloneAsync(run, cancellation);
        _portsAfter = PathLines.Rows(await run.ShowAsync("ar1", "sessions", cancellation)).FirstOrDefault();
    }

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        rows.Part("Admitted", () => Admitted(rows));
        rows.Part("Summary", () => Summary(rows));
        rows.Part("Refused", () => Refused(rows));
        rows.Part("AddressesAlone", () => AddressesAlone(rows));
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures) =>
    [
        new LadderChapter("A registered device, by RADIUS, with M = 1", new Ladder(["mn2", "ar2", "as", "ca"], [.. Steps("access-mn2", "core-as")])),
        new LadderChapter("A device that nobody registered", new Ladder(["unknown", "ar2"], [.. Steps("access-unknown")])),
    ];

    private async Task PrepareAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Devices get certificates, terminals their cards, routers their registries");
        EquipDevices(run, [("ar1", "ar1", "ar1.visited.example"), ("as", "as", "as.visited.example")], s_terminals);
        var database = await MakeAuthorityAsync(run, cancellation);
        await Task.WhenAll(s_terminals.Select(async terminal =>
        {
            await WriteCardAsync(run, database, terminal.Node, terminal.Node + ".home.example", terminal.Node, cancellation);
            WatchStore(run, terminal.Node);
        }));
        SetAddress(run, "printer", 5);
        SetAddress(run, "camera", 6);
        await Task.WhenAll(((string[])["ca", "as", "ar1", "ar2", "ar3"]).Select(node => run.Node(node).StartAsync(cancellation)));
    }

    /// <summary>What the kernel of the first router lets pass, as iproute2 tells it.</summary>
    private static async Task<string> EntriesAsync(LabRun run, CancellationToken cancellation)
    {
        var entries = await run.ExecuteAsync("ar1", ["bridge", "fdb", "show", "br", "access0"], cancellation);
        return string.Join("; ", entries.Output.Split('\n').Where(l => l.Contains("02:00:00:00:d0", StringComparison.Ordinal)).Select(l => l.Trim()).Order(StringComparer.Ordinal));
    }

    /// <summary>Devices that know no EAPOL, at the router that takes addresses alone.</summary>
    private async Task AddressesAloneAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("A registered and an unregistered device without EAPOL ping at the router that takes addresses alone");
        _printer = await run.PingAsync("printer", Authority, new PingOptions(10), cancellation);
        _camera = await run.PingAsync("camera", Authority, new PingOptions(5), cancellation);
        _neighbours = await run.PingAsync("camera", "2001:db8:f3::1", new PingOptions(5), cancellation);
        run.Progress.Step("The admitted device gives itself out for a router");
        run.Network.Wire("access-printer").Inject(0, ForgedAdvertisement(), "a router advertisement of a station, sent by the scenario");
        await Task.Delay(500, cancellation);
        _concessions = await ConcessionsAsync(run, "ar3", cancellation);
        _otherConcessions = [.. await ConcessionsAsync(run, "ar1", cancellation), .. await ConcessionsAsync(run, "ar2", cancellation)];
        run.Progress.Note($"{_printer.Summary}; {_camera.Summary}");
    }

    /// <summary>To all nodes, from the registered device's address.</summary>
    private static byte[] ForgedAdvertisement()
    {
        var (source, group) = (IPAddress.Parse("fe80::ff:fe00:d005"), IPAddress.Parse("ff02::1"));
        var message = new Wire.Icmpv6.RouterAdvertisement { RouterLifetime = 1800, Options = NeighborDiscoveryOptions.Of(new PrefixInformationOption(s_forged.BaseAddress, 64, PrefixInformationFlags.OnLink | PrefixInformationFlags.Autonomous, 3600, 3600)) };
        return [0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0xD0, 5, 0x86, 0xDD, .. new MobileIpv6Packet { Source = source, Destination = group, HopLimit = 255, Protocol = IpProtocol.Icmpv6, Payload = message.ToArray(source, group) }.ToArray()];
    }

    private static async Task<IReadOnlyList<string>> ConcessionsAsync(LabRun run, string node, CancellationToken cancellation) =>
        [.. (await run.ShowAsync(node, "status", cancellation)).GetProperty("concessions").EnumerateArray().Select(c => c.GetString()!)];

    private DissectedPacket? Told(string link, string code) => On(link).FirstOrDefault(p => p.Sender is "ar1" or "ar2" && p.Is("eap.code", code));

    private void Admitted(RowBook rows)
    {
        foreach (var (node, router, link) in new[] { ("mn1", "ar1", "access-mn1"), ("mn2", "ar2", "access-mn2") })
        {
            var sent = On(link).Where(p => p.Sender == node).ToList();
            var asked = sent.FirstOrDefault(p => p.Is("eapol.type", EapolStart));
            var proof = sent.FirstOrDefault(p => p.Is("eap.type", EapTls));
            var told = Told(link, EapSuccess);
            var enrolment = sent.FirstOrDefault(p => p.Is("cmp.body", InitializationRequest));
            var careOf = IPAddress.TryParse(Text(_shown[node], "careOfAddress"), out var address) ? address : null;
            rows.Check("TA1.103", $"{node} announces itself with its device address and proves it by EAP-TLS", asked is not null && proof?.Time > asked.Time && told?.Time > proof.Time, $"EAPOL-Start from {asked?.First("eth.src")}, {sent.Count(p => p.Is("eap.type", EapTls))} packets of EAP-TLS");
            rows.Check("TA1.104", $"{router} > {node}: success", told is not null, told is null || asked is null ? "none" : $"{Ms(asked.Time, told.Time)} after the announcement");
            rows.Check("TA-A5", $"{node}: nothing of CMP before the success, and CMP after it", told is not null && enrolment?.Time > told.Time && !sent.Any(p => p.Time < told.Time && p.Has("cmp")), enrolment is null || told is null ? "no request" : $"request {Ms(told.Time, enrolment.Time)} after the success");
            rows.Check("TA1.104a", $"{node}: the store is opened", _opened[node] && enrolment is not null && Text(_shown[node], "nai") == node + ".home.example", Text(_shown[node], "nai"));
            var past = told is null ? 0 : Packets.Count(p => p.Time < told.Time && (p.Link == "core-" + router || p.Link == "visited-ca") && p.Sender == router && p.Source is { } source && (s_first.Contains(source) || s_leased.Contains(source)));
            rows.Check("TA1.104x", $"{router} forwards nothing of {node} before its success", told is not null && past == 0, $"{past} packets");
            if (node == "mn1")
            {
                var advertised = On(link).FirstOrDefault(p => p.Sender == router && p.Is("icmpv6.type", RouterAdvertisement));
                rows.Check("TA1.101", "the advertisement of the first router has M clear", advertised?.First("icmpv6.nd.ra.flag.m") is "0" or "False", $"M {advertised?.First("icmpv6.nd.ra.flag.m")}");
                var formed = careOf is not null && s_first.Contains(careOf) && careOf.GetAddressBytes()[8..].SequenceEqual(new byte[] { 0, 0, 0, 0xFF, 0xFE, 0, 0xD0, 1 });
                rows.Check("TA1.102", "M = 0: the care-of address is formed by autoconfiguration, without DHCPv6", formed && !sent.Any(p => p.Has("dhcpv6")), $"{careOf}");
                rows.Check("TA-A6", "registry at the access router: success without any RADIUS", told is not null && !Packets.Any(p => p.Link == "core-ar1" && p.First("radius.code") is not null), $"{_steps[node]}");
            }
            else
            {
                var advertised = On(link).FirstOrDefault(p => p.Sender == router && p.Is("icmpv6.type", RouterAdvertisement));
                rows.Check("TA1.101", "the advertisement of the second router has M set", advertised?.First("icmpv6.nd.ra.flag.m") is "1" or "True", $"M {advertised?.First("icmpv6.nd.ra.flag.m")}");
                var reply = On(link).LastOrDefault(p => p.Sender == router && p.Is("dhcpv6.msgtype", Reply) && p.First("dhcpv6.iaaddr.ip") is not null);
                rows.Check("TA1.102", "M = 1: the care-of address is the one the DHCPv6 server gave", careOf is not null && s_leased.Contains(careOf) && reply is not null && reply.Is("dhcpv6.iaaddr.ip", careOf.ToString()), $"{careOf}, Kea gave {reply?.First("dhcpv6.iaaddr.ip")}");
                var radius = On("core-as").Where(p => p.First("radius.code") is not null).ToList();
                var asks = radius.Where(p => p.Sender != "as" && p.Is("radius.code", AccessRequest) && p.Of("radius.Calling_Station_Id").Any(s => s.EndsWith("D0-02", StringComparison.OrdinalIgnoreCase))).ToList();
                var accept = radius.FirstOrDefault(p => p.Sender == "as" && p.Is("radius.code", AccessAccept));
                rows.Check("TA-A6", "registry at the server: Access-Request and Access-Accept between access router and server", asks.Count > 0 && accept is not null && told is not null && accept.Time < told.Time, $"{asks.Count} Access-Request, {radius.Count(p => p.Is("radius.code", AccessChallenge))} Access-Challenge, {radius.Count(p => p.Is("radius.code", AccessAccept))} Access-Accept");
                rows.Check("TA1.103a", "the server's registry is asked by device address", asks.Count > 0, asks.FirstOrDefault()?.First("radius.Calling_Station_Id") ?? "none");
            }

            if (asked is not null && told is not null)
            {
                rows.Measure($"device authentication of {node}, from announcement to success", (told.Time - asked.Time) / 1e6, "ms");
            }
        }
    }

    private void Summary(RowBook rows)
    {
        var (own, byServer) = (Told("access-mn1", EapSuccess) is not null, Told("access-mn2", EapSuccess) is not null);
        rows.Check("TA-P3", "the access routers advertise and authenticate devices, one by itself and one through a server", own && byServer && On("access-mn1").Concat(On("access-mn2")).Any(p => p.Is("icmpv6.type", RouterAdvertisement)), $"by itself {own}, through a server {byServer}");
        rows.Check("TA-C18", "device authentication at the access router, and by a server that has the function", own && byServer && On("core-as").Any(p => p.Sender == "as" && p.Is("radius.code", AccessAccept)), $"by itself {own}, by a server {byServer}");
        bool In(string node, IPNetwork network) => IPAddress.TryParse(Text(_shown[node], "careOfAddress"), out var address) && network.Contains(address);
        rows.Check("TA-C25", "the care-of address is stateless or stateful as the M bit says", In("mn1", s_first) && !On("access-mn1").Any(p => p.Has("dhcpv6")) && In("mn2", s_leased), $"{Text(_shown["mn1"], "careOfAddress")} and {Text(_shown["mn2"], "careOfAddress")}");
        var way = Way(p => p.Is("cmp.body", InitializationRequest) && p.From(Text(_shown["mn1"], "careOfAddress")));
        rows.Check("TA-C20", "the authority stands in the visited network: the first terminal's certificate request goes there and no further", way == "access-mn1 visited-ca", way);
        rows.Check("TA-D13", "the store holds identifier and key, and after enrolment certificate and authority's key", _stores["mn1"] == "authorities.pem certificate.pem identifier key.pem" && _stores["unknown"] == "identifier key.pem", $"enrolled: {_stores["mn1"]}; not enrolled: {_stores["unknown"]}");
    }

    private void Refused(RowBook rows)
    {
        foreach (var (row, node, link, what) in new[] { ("TA-N5", "unknown", "access-unknown", "an unregistered device"), ("TA-H23", "clone", "access-clone", "an admitted device's address on another port") })
        {
            var sent = On(link).Where(p => p.Sender == node).ToList();
            var told = Told(link, EapFailure);
            rows.Check(row, $"{what}: EAP-TLS ends with failure", told is not null && sent.Any(p => p.Is("eap.type", EapTls)) && Told(link, EapSuccess) is null, told is null ? "no failure" : $"{sent.Count(IsEapol)} EAPOL frames of it, then failure; {Text(_shown[node + " in the end"], "state")}: {_steps[node]}");
            rows.Check(row, $"{what}: no CMP, IKE or DHCPv6 leaves the link or is even sent", sent.Count(IsEapol) > 0 && !sent.Any(p => p.Has("cmp") || p.Has("isakmp") || p.Has("dhcpv6")), $"{sent.Count} frames sent, {sent.Count(p => !IsEapol(p))} of them neighbour discovery");
            rows.Check(row, $"{what}: the credential store is not opened", !_opened[node] && _opened["mn1"] && _opened["mn2"], _opened[node] ? "a file was read" : "no file was read; those of the admitted terminals were");
        }

        rows.Check("TA1.104x", "negative result: the store stays closed", !_opened["unknown"] && !_opened["clone"] && Text(_shown["unknown in the end"], "nai").Length == 0, $"unknown {Text(_shown["unknown in the end"], "state")}, clone {Text(_shown["clone in the end"], "state")}");
        rows.Check("TA-H23", "the kernel lets the address pass on its own port alone, before and after", _entries.Contains("dev acc0", StringComparison.Ordinal) && !_entriesAfter.Contains("dev acc1", StringComparison.Ordinal) && _entries == _entriesAfter, _entriesAfter);
        rows.Check("TA-H23", "the device whose address was used stays in", Text(_portsAfter, "state") == "in acc0" && Text(_shown["mn1 in the end"], "state") == "HOA", $"{_portsAfter}");
        var reject = On("core-as").FirstOrDefault(p => p.Sender == "as" && p.Is("radius.code", AccessReject));
        rows.Check("TA-D12", "who is not in the registry of the server is rejected by it", reject is not null, reject is null ? "none" : "Access-Reject");
    }

    private void AddressesAlone(RowBook rows)
    {
        rows.Check("TA-M50", "addresses alone: a registered device without EAPOL gets in, one that is not registered reaches nobody", _printer!.Received > 0 && _camera!.Received == 0 && _neighbours!.Received == 0, $"{_printer.Summary}; {_camera!.Summary}");
        var forged = Packets.Where(p => p.Is("icmpv6.opt.prefix", s_forged.BaseAddress.ToString())).ToList();
        rows.Check("TA-M55", "RA guard: a router advertisement of an admitted station reaches no other station", forged.Count == 1 && forged[0].Link == "access-printer" && _printer.Received > 0, string.Join(", ", forged.Select(p => p.Link)));
        rows.Check("TA-H23", "where addresses alone count the status page says that a cloned one is let in, elsewhere not", _concessions.Any(c => c.Contains("cloned", StringComparison.Ordinal)) && _otherConcessions.Count == 0, string.Join("; ", _concessions));
    }

    private IEnumerable<LadderStep> Steps(params string[] links)
    {
        var packets = Packets.Where(p => links.Contains(p.Link)).ToList();
        foreach (var packet in packets)
        {
            var to = (packet.Link, packet.Sender) switch
            {
                ("core-as", "as") or ("access-mn2", "mn2") or ("access-unknown", "unknown") => "ar2",
                ("core-as", _) => "as",
                ("access-mn2", _) => "mn2",
                _ => "unknown",
            };
            var from = packet.Link == "core-as" && packet.Sender != "as" ? "ar2" : packet.Sender;
            var (name, kind) = Describe(packet);
            if (name is not null)
            {
                yield return new LadderStep((packet.Time - packets[0].Time) / 1e6, from, to, name, packet.Link, kind);
            }
        }
    }

    private static (string? Name, LadderKind Kind) Describe(DissectedPacket packet) => packet switch
    {
        _ when packet.First("radius.code") is { } code => (code switch { AccessRequest => "Access-Request", AccessAccept => "Access-Accept", AccessReject => "Access-Reject", _ => "Access-Challenge" }, LadderKind.Diameter),
        _ when EapolName(packet) is { } eapol => (eapol, LadderKind.Clear),
        _ when packet.First("cmp.body") is { } body => (body switch { InitializationRequest => "ir", InitializationResponse => "ip", CertificateConfirm => "certConf", PkiConfirm => "pkiConf", _ => $"CMP {body}" }, LadderKind.Diameter),
        _ when packet.First("dhcpv6.msgtype") is { } type => (type switch { Solicit => "Solicit", Advertise => "Advertise", Request => "Request", Reply => "Reply", _ => $"DHCPv6 {type}" }, LadderKind.Diameter),
        _ => (null, LadderKind.Clear),
    };
}
