using System.Globalization;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>What the links, tables and programs showed.</summary>
public sealed partial class Terminal3
{
    private const string HomeTestInit = "1", CareOfTestInit = "2", HomeTest = "3", CareOfTest = "4", BindingError = "7";

    private const string PlainUp = "IP6(CoA>HA) IP6(HoA>CN) P", PlainDown = "IP6(HA>CoA) IP6(CN>HoA) P";
    private const string BothUp = "IP6(CoA>HA) ESP IP6(CoA>HA) IP6(HoA>CN) P", BothDown = "IP6(HA>CoA) ESP IP6(HA>CoA) IP6(CN>HoA) P";
    private const string EspUp = "IP6(CoA>HA) ESP IP6(HoA>CN) P", EspDown = "IP6(HA>CoA) ESP IP6(CN>HoA) P";
    private const string RouteUp = "IP6(CoA>CN) DO{HoA} P", RouteDown = "IP6(CN>CoA) RH2{HoA} P";
    private const string ProtectedRouteUp = "IP6(CoA>CN) DO{HoA} ESP P", ProtectedRouteDown = "IP6(CN>CoA) RH2{HoA} ESP P";

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        rows.Part("registration", () => JudgeRegistration(rows));
        rows.Part("plain tunnel", () => JudgePlain(rows));
        rows.Part("ESP", () => JudgeProtected(rows));
        rows.Part("discards", () => JudgeDiscards(rows));
        rows.Part("short way", () => JudgeRoutes(rows));
        rows.Part("error", () => JudgeError(rows));
        rows.Part("forged", () => JudgeForged(rows));
        rows.Part("IPv6", () => JudgeSwitch(rows));
        foreach (var (name, use) in _uses)
        {
            rows.Measure($"round trip, {name}", use.Pinged.Median, "ms");
        }
    }

    private static Layouts LayoutsOf(string homeAgent, string careOf, string home, string peer) =>
        new(new Dictionary<string, string> { [homeAgent] = "HA", [careOf] = "CoA", [home] = "HoA", [peer] = "CN" });

    private static Layouts LayoutsOf(Use use) => LayoutsOf(use.HomeAgent, use.CareOf, use.Home, use.Peer);

    private static string LinkOf(Use use) => use.CareOf.StartsWith("2001:db8:56:", StringComparison.Ordinal) ? "access-1b" : use.Node == "mn" ? "access-1" : "access-" + use.Node[2..];

    /// <summary>Echo messages and TCP between the host and one correspondent, on the access link.</summary>
    private List<DissectedPacket> Data(Use use, bool up) =>
        [.. On(LinkOf(use), use.From, use.To).Where(p => p.Sender == (up ? use.Node : "ar1") && IsData(p) && p.Of(up ? "ipv6.dst" : "ipv6.src").Contains(use.Peer))];

    /// <summary>The same on the correspondent's own link.</summary>
    private List<DissectedPacket> AtPeer(Use use, bool up) =>
        [.. On("core-plain", use.From, use.To).Where(p => p.Sender == (up ? "core" : "plain") && IsData(p) && p.Of(up ? "ipv6.dst" : "ipv6.src").Contains(use.Peer) && p.Of(up ? "ipv6.src" : "ipv6.dst").Contains(use.Home))];

    private static bool IsData(DissectedPacket packet) => packet.Has("tcp") || packet.First("icmpv6.type") is "128" or "129";

    /// <summary>Whether the programs worked and every packet of theirs had the layout; what was seen.</summary>
    private (bool Held, string Observed) Carried(string name, string up, string down, string local = Host)
    {
        var use = _uses[name];
        var (layouts, ups, downs) = (LayoutsOf(use), Data(use, up: true), Data(use, up: false));
        return (use.Worked(local) && ups.Count > 5 && downs.Count > 5 && ups.All(p => layouts.Of(p) == up) && downs.All(p => layouts.Of(p) == down), $"{use.Text}; up {layouts.Tally(ups)}; down {layouts.Tally(downs)}");
    }

    /// <summary>S2 with AH, which one home agent and one terminal are told to use: the terminal takes nothing else.</summary>
    private void Authenticated(RowBook rows)
    {
        var careOf = Text(_shown["mn5 tunnels registered"].FirstOrDefault(), "start");
        var layouts = LayoutsOf(HomeAgent3, careOf, Home5, "");
        var with = On("access-5").Where(p => p.Sender == "ar1" && p.Is("mip6.mhtype", BindingAcknowledgement)).ToList();
        var without = Packets.Where(p => p.Link.StartsWith("access", StringComparison.Ordinal) && p.Link != "access-5" && p.Is("mip6.mhtype", BindingAcknowledgement) && p.Has("esp")).ToList();
        var numbers = with.Select(p => p.First("ah.sequence")).ToList();
        var suites = s_terminals.SelectMany(node => _shown[node + " sa registered"]).Where(sa => Text(sa, "name") == "signalling").Select(sa => Text(sa, "algorithm")).ToList();
        rows.Check("TM-S3", "without a word in the configuration ESP is with AES-GCM", suites.Count == s_terminals.Length && suites.TrueForAll(s => s.Contains("Gcm", StringComparison.OrdinalIgnoreCase)), string.Join(" ", suites));
        rows.Check("TM-S3", "where both ends are told so the acknowledgement has AH directly before ESP, under the typed-in SPI, and the terminal registers; no other acknowledgement has AH",
            with.Count > 0 && with.All(p => layouts.Of(p) == "IP6(HA>CoA) RH2{HoA} AH ESP BA" && p.Is("ah.spi", "0x00001102")) && numbers.Distinct().Count() == numbers.Count && careOf.Length > 0 && without.Count > 3 && !without.Exists(p => p.Has("ah")),
            $"{layouts.Tally(with)}, numbers {string.Join(" ", numbers)}; {without.Count} others, {without.Count(p => p.Has("ah"))} of them with AH");
    }

    private void JudgeRegistration(RowBook rows)
    {
        var tunnel = _shown["mn tunnels registered"].FirstOrDefault();
        var careOf = Text(tunnel, "start");
        var layouts = LayoutsOf(HomeAgent, careOf, Home, "");
        rows.Check("TM3.1", "10010 and 10011 are valid, nothing else", Valid("registered") is "10010, 10011", Valid("registered"));
        var update = On("access-1").FirstOrDefault(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate));
        var answer = On("access-1").FirstOrDefault(p => p.Sender == "ar1" && p.Is("mip6.mhtype", BindingAcknowledgement));
        var flags = new[] { "mip6.bu.a_flag", "mip6.bu.h_flag", "mip6.bu.k_flag" };
        foreach (var row in (string[])["TM3.2", "TM-L3"])
        {
            rows.Check(row, "the update: Home Address option outside, ESP, the update with A, H, K and the care-of address as alternate", layouts.Of(update) == "IP6(CoA>HA) DO{HoA} ESP BU" && flags.All(f => update!.First(f) is "1" or "True") && update!.Is("mip6.acoa.acoa", careOf),
                $"{layouts.Of(update)}, flags {string.Join(" ", flags.Select(f => update?.First(f)))}, alternate {update?.First("mip6.acoa.acoa")}");
        }

        foreach (var row in (string[])["TM3.3", "TM-L4"])
        {
            rows.Check(row, "the acknowledgement: routing header outside, ESP, accepted; the home agent has the binding", layouts.Of(answer) == "IP6(HA>CoA) RH2{HoA} ESP BA" && answer!.Is("mip6.ba.status", "0") && _shown["bindings registered"].Any(b => Text(b, "homeAddress") == Home && Text(b, "careOfAddress") == careOf),
                $"{layouts.Of(answer)}, status {answer?.First("mip6.ba.status")}");
        }

        Authenticated(rows);
        var listed = _shown["mn binding-list registered"].FirstOrDefault(e => Text(e, "list") == "registration");
        foreach (var row in (string[])["TM3.4", "TM3.6", "TM3.7"])
        {
            rows.Check(row, "the acknowledgement is for the home address in its routing header, meets the policy, and puts its source into the list", answer?.Is("ipv6.routing.mipv6.home_address", Home) == true && Text(listed, "peer") == HomeAgent && Text(listed, "homeAddress") == Home && Text(listed, "careOfAddress") == careOf && Text(listed, "state") == "registered", $"{listed}");
        }

        var chosen = _told["mn registered"];
        foreach (var row in (string[])["TM3.8", "TM3.10"])
        {
            rows.Check(row, "the home agent's answer has chosen program 10010", chosen.Count > 0 && chosen.All(c => c.StartsWith("10010: ", StringComparison.Ordinal)), string.Join("; ", chosen));
        }

        rows.Check("TM3.11", "the tunnel leads from the care-of address to the home agent", careOf.StartsWith("2001:db8:51:", StringComparison.Ordinal) && Text(tunnel, "end") == HomeAgent && Text(tunnel, "homeAddress") == Home, $"{tunnel}");
        var own = _shown["mn translation registered"].SingleOrDefault(e => Text(e, "kind") == "own");
        rows.Check("TM3.12", "the home address is shown as the pool's first address, which the host has", Text(own, "ipv6Address") == Home && Text(own, "ipv4Address") == Host && _host["mn registered"].Contains($"inet {Host}/32", StringComparison.Ordinal) && !_host["mn registered"].Contains(Home, StringComparison.Ordinal), $"{own}; {_host["mn registered"]}");

        // What is sent on the third terminal's link under this association: updates, and solicitations of the home prefix.
        var signalling = _shown["mn3 sa end"].FirstOrDefault(s => Text(s, "name") == "signalling");
        var sent = On("access-3").Where(p => p.Sender == "mn3" && p.Is("esp.spi", Text(signalling, "spiOut"))).ToList();
        var came = On("access-3").Where(p => p.Sender == "ar1" && p.Is("esp.spi", Text(signalling, "spiIn")) && p.First("frame.comment") is null).ToList();
        foreach (var row in (string[])["TM3.5", "TM-AC09"])
        {
            rows.Check(
                row, "every message under the association for the signal counts one, each way, update and acknowledgement among them",
                sent.Exists(p => p.Is("mip6.mhtype", BindingUpdate)) && came.Exists(p => p.Is("mip6.mhtype", BindingAcknowledgement)) && (Text(signalling, "packetsOut"), Text(signalling, "packetsIn")) == (Number(sent.Count), Number(came.Count)),
                $"{sent.Count} sent, {came.Count} came; {signalling}");
        }

        static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);
    }

    private void JudgePlain(RowBook rows)
    {
        var (held, observed) = Carried("plain", PlainUp, PlainDown);
        var use = _uses["plain"];
        foreach (var row in (string[])["TM-AC10", "TM3.20", "TM3.21", "TM3.22", "TM3.23", "TM3.24", "TM3.25", "TM3.26", "TM-L5", "TM-L6"])
        {
            rows.Check(row, "without a policy for it a correspondent is spoken to through the plain mobile tunnel, and unmodified IPv4 programs are served", held, observed);
        }

        var (up, down) = (AtPeer(use, up: true), AtPeer(use, up: false));
        var layouts = LayoutsOf(use);
        rows.Check("TM3.28", "the home agent strips the tunnel's header and forwards: at the correspondent there are home address and correspondent alone", up.Count > 5 && down.Count > 5 && up.All(p => layouts.Of(p) == "IP6(HoA>CN) P") && down.All(p => layouts.Of(p) == "IP6(CN>HoA) P"), $"up {layouts.Tally(up)}; down {layouts.Tally(down)}");
        rows.Check("TM-AC10", "traceroute and iperf3 over IPv4 come to their end", _host["traceroute"].Split('\n')[^1].Contains(use.Shown, StringComparison.Ordinal) && _host["iperf3"].Contains("receiver", StringComparison.Ordinal), $"{_host["traceroute"].ReplaceLineEndings(" | ")}; {_host["iperf3"]}");
        var four = On("access-1", use.Since, use.To).Count(p => p.Has("ip") || p.Has("arp"));
        rows.Check("TM3.24", "there is no IPv4 on the access link", four == 0, string.Create(CultureInfo.InvariantCulture, $"{four} packets"));
    }

    private void JudgeProtected(RowBook rows)
    {
        var both = Carried("kept", BothUp, BothDown);
        foreach (var row in (string[])["TM-AC14", "TM3.60", "TM3.61", "TM3.62", "TM3.63", "TM3.64", "TM3.65", "TM3.66", "TM3.67", "TM-L7", "TM-L8"])
        {
            rows.Check(row, "where both ends keep the header, both headers stand on every packet, with the same ends", both.Held, both.Observed);
        }

        var esp = Carried("protected", EspUp, EspDown);
        foreach (var row in (string[])["TM-AC15", "TM3.70", "TM3.71", "TM3.72", "TM3.73", "TM3.74", "TM3.75", "TM-L9", "TM-L10"])
        {
            rows.Check(row, "where both ends leave the header out, ESP in tunnel mode stands alone", esp.Held, esp.Observed);
        }

        foreach (var (row, name) in new[] { ("TM3.68", "kept"), ("TM3.76", "protected") })
        {
            var use = _uses[name];
            var (layouts, up, down) = (LayoutsOf(use), AtPeer(use, up: true), AtPeer(use, up: false));
            rows.Check(row, "the home agent takes all that off and forwards: at the correspondent there are home address and correspondent alone", up.Count > 5 && down.Count > 5 && up.All(p => layouts.Of(p) == "IP6(HoA>CN) P") && down.All(p => layouts.Of(p) == "IP6(CN>HoA) P"), $"up {layouts.Tally(up)}; down {layouts.Tally(down)}");
        }

        var (longer, shorter) = (Lengths("kept"), Lengths("protected"));
        foreach (var row in (string[])["TM-AC15", "TM3.77"])
        {
            rows.Check(row, "the same ping is exactly 40 octets shorter without the header, either way", longer.Count == 2 && shorter.Count == 2 && longer.Zip(shorter).All(l => l.First - l.Second == 40), $"{string.Join(", ", longer)} with it, {string.Join(", ", shorter)} without");
        }

        var (up3, down3) = (Carried("kept up", BothUp, EspDown), Carried("kept down", EspUp, BothDown));
        rows.Check("TM-AC16", "a terminal that keeps the header and a home agent that leaves it out understand each other", up3.Held, up3.Observed);
        rows.Check("TM-AC16", "and so do a terminal that leaves it out and a home agent that keeps it", down3.Held, down3.Observed);

        List<int> Lengths(string name) => [.. new[] { true, false }.SelectMany(up => Data(_uses[name], up).Where(p => p.First("icmpv6.type") is "128" or "129").Select(Layouts.Length).Distinct())];
    }

    private void JudgeDiscards(RowBook rows)
    {
        var filtered = Carried("filtered", PlainUp, PlainDown);
        rows.Check("TM3.27", "what the policy discards is counted and on no link, and what it lets pass is carried", _counted["discarded"] == Datagrams && Leaked("discarded", Filtered) == 0 && filtered.Held, $"spd.discard_out +{_counted["discarded"]}, {Leaked("discarded", Filtered)} datagrams on links; {filtered.Observed}");
        rows.Check("TM3.23", "what comes through the tunnel against the policy is counted, and the host does not hear it", _counted["not heard"] == Datagrams && On("access-1", _counted["not heard from"], _counted["not heard to"]).Count(p => p.Sender == "ar1" && p.Is("udp.dstport", "9")) == Datagrams, $"spd.mismatch_in +{_counted["not heard"]}");

        var unprotected = Carried("unprotected", PlainUp, PlainDown);
        foreach (var row in (string[])["TM3.27", "TM3.67"])
        {
            rows.Check(row, "where the policy wants ESP and the home agent makes no association the packets are counted and on no link; what needs none is carried", _counted["without association"] == Datagrams && Leaked("without association", Plain) == 0 && unprotected.Held && _told["mn5 refused"].Count > 0,
                $"ipsec.sa_not_found_out +{_counted["without association"]}, {Leaked("without association", Plain)} datagrams on links; {string.Join("; ", _told["mn5 refused"])}; {unprotected.Observed}");
        }

        rows.Check("TM3.23", "what comes in clear though the policy wants ESP is counted, and the host does not hear it", _counted["in clear"] == Datagrams && On("access-5", _counted["in clear from"], _counted["in clear to"]).Count(p => p.Sender == "ar1" && p.Is("udp.dstport", "9")) == Datagrams, $"spd.mismatch_in +{_counted["in clear"]}");

        var left = On("access-2", _counted["route without association from"], _counted["route without association to"]).Where(p => p.Sender == "mn2" && IsData(p) && p.Of("ipv6.dst").Contains(Route)).ToList();
        rows.Check("TM3.58", "by the short way the same: without association nothing leaves, and it is counted", _counted["route without association"] == Datagrams && left.Count == 0, $"ipsec.sa_not_found_out +{_counted["route without association"]}, {left.Count} packets on the link");
        var came = On("access-2", _counted["route in clear from"], _counted["route in clear to"]).Where(p => p.Sender == "ar1" && p.Is("icmpv6.type", "128") && p.Has("ipv6.routing") && !p.Has("esp")).ToList();
        rows.Check("TM3.52", "and what comes by the short way in clear is counted, and not answered", _counted["route in clear"] == Datagrams && came.Count == Datagrams && !On("access-2", _counted["route in clear from"], _counted["route in clear to"]).Any(p => p.Sender == "mn2" && p.Is("icmpv6.type", "129")), $"spd.mismatch_in +{_counted["route in clear"]}, {came.Count} packets with routing header and without ESP");

        int Leaked(string moment, string peer) => Packets.Count(p => p.Time >= _counted[moment + " from"] && p.Time <= _counted[moment + " to"] && p.Is("udp.dstport", "9") && p.Of("ipv6.dst").Contains(peer));
    }

    private void JudgeRoutes(RowBook rows)
    {
        var use = _uses["route"];
        var (layouts, since) = (LayoutsOf(use), _counted["asked"]);
        var tests = new[] { (HomeTestInit, "mn"), (CareOfTestInit, "mn"), (HomeTest, "ar1"), (CareOfTest, "ar1") }.Select(t => On("access-1", since).FirstOrDefault(p => p.Sender == t.Item2 && p.Is("mip6.mhtype", t.Item1) && p.Fields.Values.Any(v => v.Contains(Route)))).ToList();
        var update = On("access-1", since).FirstOrDefault(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate) && p.To(Route));
        var answer = On("access-1", since).FirstOrDefault(p => p.Sender == "ar1" && p.Is("mip6.mhtype", BindingAcknowledgement) && p.From(Route));
        rows.Check("TM3.40", "home test by way of the home agent under ESP, care-of test directly, all before the update",
            tests.Select(layouts.Of).SequenceEqual(["IP6(CoA>HA) ESP IP6(HoA>CN) HoTI", "IP6(CoA>CN) CoTI", "IP6(HA>CoA) ESP IP6(CN>HoA) HoT", "IP6(CN>CoA) CoT"]) && update is not null && tests.All(t => t!.Time < update.Time), string.Join("; ", tests.Select(layouts.Of)));
        foreach (var row in (string[])["TM3.41", "TM-L15"])
        {
            rows.Check(row, "the update to the correspondent: Home Address option, nonce indices, authorization data", layouts.Of(update) == "IP6(CoA>CN) DO{HoA} BU" && update!.First("mip6.ni.hni") is not null && update.First("mip6.bad.auth") is not null, layouts.Of(update));
        }

        foreach (var row in (string[])["TM3.42", "TM-L16"])
        {
            rows.Check(row, "its acknowledgement: routing header, authorization data, no IPsec", layouts.Of(answer) == "IP6(CN>CoA) RH2{HoA} BA" && answer!.Is("mip6.ba.status", "0") && answer.First("mip6.bad.auth") is not null, layouts.Of(answer));
        }

        var list = _shown["mn binding-list on the short way"];
        var before = _shown["mn binding-list before the short way"];
        foreach (var row in (string[])["TM3.43", "TM3.45"])
        {
            rows.Check(row, "the lists of registration and of forwarding have gained the correspondent", !before.Any(e => Text(e, "peer") == Route) && list.Count(e => Text(e, "peer") == Route && Text(e, "homeAddress") == Home && Text(e, "careOfAddress") == use.CareOf && Text(e, "state") == "registered") == 2, string.Join("; ", list));
        }

        var programs = _told["mn"].Where(t => t.Contains(Route, StringComparison.Ordinal)).ToList();
        rows.Check("TM3.44", "the correspondent's answer has chosen program 10011", programs.Count > 0 && programs[0].StartsWith("10011: ", StringComparison.Ordinal), string.Join("; ", programs));
        var (was, own) = (Own("before the short way"), Own("on the short way"));
        rows.Check("TM3.46", "the own entry is the same and no shorter than before", Text(own, "ipv4Address") == Host && Text(own, "ipv6Address") == Home && DateTimeOffset.Parse(Text(own, "expires"), CultureInfo.InvariantCulture) >= DateTimeOffset.Parse(Text(was, "expires"), CultureInfo.InvariantCulture), $"{was}, then {own}");

        var route = Carried("route", RouteUp, RouteDown);
        var past = On("core-ha", use.From, use.To).Count(p => IsData(p) && p.Fields.Values.Any(v => v.Contains(Route)));
        foreach (var row in (string[])["TM-AC11", "TM3.49", "TM3.52", "TM3.53", "TM3.54", "TM3.55", "TM3.56", "TM-L11", "TM-L12"])
        {
            rows.Check(row, "IPv4 programs speak with the correspondent by the short way, past the home agent", route.Held && past == 0 && _shown["bindings cn"].Any(b => Text(b, "homeAddress") == Home && Text(b, "careOfAddress") == use.CareOf), string.Create(CultureInfo.InvariantCulture, $"{past} packets at the home agent; {route.Observed}"));
        }

        var esp = Carried("protected route", ProtectedRouteUp, ProtectedRouteDown);
        foreach (var row in (string[])["TM-AC12", "TM3.51", "TM3.57", "TM-L13", "TM-L14"])
        {
            rows.Check(row, "where the policy wants ESP it stands behind Home Address option and routing header", esp.Held, esp.Observed);
        }

        JsonElement Own(string moment) => _shown["mn translation " + moment].FirstOrDefault(e => Text(e, "kind") == "own");
    }

    private void JudgeError(RowBook rows)
    {
        var use = _uses["route"];
        var layouts = LayoutsOf(use);
        var error = On("access-1", _counted["forgotten"]).FirstOrDefault(p => p.Sender == "ar1" && p.Is("mip6.mhtype", BindingError));
        rows.Check("TM-L17", "the binding error comes without routing header and names the home address", layouts.Of(error) == "IP6(CN>CoA) BE" && error!.Is("mip6.be.status", "1") && error.Is("mip6.be.haddr", Home), $"{layouts.Of(error)}, status {error?.First("mip6.be.status")}, {error?.First("mip6.be.haddr")}");
        var after = On("access-1", error?.Time ?? long.MaxValue, _counted["error to"]).Where(p => p.Sender == "mn" && p.Is("icmpv6.type", "128") && p.Of("ipv6.dst").Contains(Route)).Select(layouts.Of).ToList();
        var again = Carried("route again", RouteUp, RouteDown);
        rows.Check("TM3.48", "the entry is removed once, IPv4 packets go through the tunnel, and after new tests by the short way again", _counted["error"] == 1 && after.Contains(PlainUp) && after.All(l => l is PlainUp or RouteUp) && again.Held, $"be.binding_deleted +{_counted["error"]}; {string.Join("; ", after.GroupBy(l => l).Select(g => $"{g.Count()} × {g.Key}"))}; {again.Observed}");
    }

    private void JudgeSwitch(RowBook rows)
    {
        var chosen = _told["mn"].Select(t => t.Split(':')[0]).Where(n => n is "10012" or "10013").Distinct().ToList();
        var route = Carried("IPv6 by the protected short way", ProtectedRouteUp, ProtectedRouteDown, Home);
        rows.Check("TM4.7", "after the switch an IPv6 application speaks with the correspondent by the short way under ESP", route.Held && chosen.Count == 2, $"{string.Join(", ", chosen)}; {route.Observed}");
        var translated = _shown["mn translation end"].Where(e => DateTimeOffset.Parse(Text(e, "lastUse"), CultureInfo.InvariantCulture) > DateTimeOffset.UnixEpoch.AddTicks(_uses["IPv6 by the protected short way"].Since / 100)).ToList();
        rows.Check("TM-AC17", "no entry of the translation table is made or used any more", translated.Count == 0, string.Join("; ", translated));
        foreach (var (name, up, down) in new[] { ("IPv6 by the protected short way", ProtectedRouteUp, ProtectedRouteDown), ("IPv6 under ESP", EspUp, EspDown), ("IPv6 plainly", PlainUp, PlainDown) })
        {
            var (held, observed) = Carried(name, up, down, Home);
            rows.Check("TM-AC17", $"{name}: the same layout as for an IPv4 application, the host has the home address, programs 10012 and 10013 ran", held && chosen.Count == 2 && _host["mn switched"].Contains($"inet6 {Home}/128", StringComparison.Ordinal), observed);
        }
    }

    private string Valid(string moment) => string.Join(", ", _shown["mn scenarios " + moment].Where(s => s.GetProperty("valid").GetBoolean()).Select(s => s.GetProperty("number").GetInt32()));
}
