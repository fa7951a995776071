using System.Globalization;
using System.Text.RegularExpressions;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>What the wires carried, on the access link (V), above the anchor point (M) and at home, and what the nodes show.</summary>
public sealed partial class Terminal6
{
    private const string EchoRequest = "128", EchoReply = "129";

    /// <summary>Reserved bits of the MAP option with V, with P, and with none of them, as tshark prints them.</summary>
    private static readonly Dictionary<char, int> s_bits = new() { ['v'] = 0x04, ['p'] = 0x08, ['n'] = 0 };

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        rows.Part("Anchor point", () => AnchorPoint(rows));
        rows.Part("Choice", () => Choice(rows));
        rows.Part("Type 1", () => Tunnelled(rows));
        rows.Part("Type 2", () => DirectUpdate(rows));
        rows.Part("Type 3", () => Direct(rows));
        rows.Part("Moves", () => Moves(rows));
        rows.Part("In clear", () => InClear(rows));
        rows.Part("Two levels", () => TwoLevels(rows));
    }

    private static string Seen(DissectedPacket? packet) => $"{Ends(packet)} ({Stack(packet)})";

    private static string Seen(IReadOnlyList<DissectedPacket> packets) => $"{packets.Count} packets: {string.Join("; ", packets.Select(Ends).Distinct())}";

    private static bool IsSet(DissectedPacket packet, string flag) => packet.Of(flag).Any(f => f is "1" or "True");

    private static string Above(Moment moment) => moment.Link.StartsWith('a') ? "core-a" : "core-b";

    private IEnumerable<DissectedPacket> Of(string link, Moment moment, string sender, string type, string home) =>
        On(link, moment.From, moment.To).Where(p => p.Sender == sender && p.Is("mip6.mhtype", type) && p.Is(type == BindingUpdate ? "ipv6.opt.mipv6.home_address" : "ipv6.routing.mipv6.home_address", home));

    /// <summary>The last registration at home on a link, as update and acknowledgement.</summary>
    private (DissectedPacket? Update, DissectedPacket? Answer) AtHome(string link, Moment moment, string near, string far) =>
        (Of(link, moment, near, BindingUpdate, Home).LastOrDefault(), Of(link, moment, far, BindingAcknowledgement, Home).LastOrDefault());

    private List<DissectedPacket> Echoes(string link, Moment moment, string sender) => [.. On(link, moment.Settled, moment.To).Where(p => p.Sender == sender && p.First("icmpv6.type") is EchoRequest or EchoReply)];

    private static bool AllAre(IReadOnlyList<DissectedPacket> packets, string ends) => packets.Count >= 10 && packets.All(p => Ends(p) == ends);

    /// <summary>On a machine that stalls a ping gives up on late replies; how many came is counted on the links.</summary>
    private static bool Passed(Moment moment) => moment.Down.Received > 0 && moment.Up.Received > 0;

    private static string AnchorOf(Moment moment) => moment.Link[0] switch { 'a' => MapA, 'b' => MapB, _ => MapC };

    private void AnchorPoint(RowBook rows)
    {
        var moment = _moments["b1-v"];
        var onLink = moment.AnchorOnLink;
        foreach (var at in _moments.Values.Where(m => m.Link != "a-w"))
        {
            var advertised = On(at.Link, at.From, at.To).FirstOrDefault(p => p.Is("icmpv6.type", RouterAdvertisement));
            var bits = Convert.ToInt32(advertised?.First("icmpv6.opt.map.flag.reserved") ?? "255", (advertised?.First("icmpv6.opt.map.flag.reserved") ?? "").StartsWith("0x", StringComparison.Ordinal) ? 16 : 10);
            var run = _events.Where(e => Text(e, "event") == "scenario.run").Select(e => Text(e, "text")[..5]).ElementAtOrDefault(_moments.Keys.ToList().IndexOf(at.Link));
            foreach (var row in (string[])["TM6.2", "TM-FS4", "TM-A-24", "TM-R4"])
            {
                rows.Check(row, $"{at.Link}: the option names anchor point and bits, an on-link and a regional address come of it, and the type they stand for is run",
                    advertised is not null && advertised.Is("icmpv6.opt.map.global_address", AnchorOf(at)) && bits == s_bits[at.Link[^1]] && at.AnchorOnLink.EndsWith("::ff:fe00:d001", StringComparison.Ordinal) && run == Number(at.Link),
                    $"{advertised?.First("icmpv6.opt.map.global_address")}, reserved bits 0x{bits:x2}; {at.AnchorOnLink}, {RegionalOf(at.Link)}; {run}");
            }
        }

        var update = Of("b1-v", moment, "mn", BindingUpdate, RegionalB).LastOrDefault();
        foreach (var row in (string[])["TM6.3", "TM-L20"])
        {
            rows.Check(row, "A and M set, H not, from the on-link address with the regional one in the Home Address option, under ESP",
                update is not null && Ends(update) == Ends((onLink, MapB)) && Stack(update) == "ipv6 ipv6.dstopts esp mipv6" && IsSet(update, "mip6.bu.a_flag") && IsSet(update, "mip6.bu.m_flag") && !IsSet(update, "mip6.bu.h_flag"),
                $"{Seen(update)}, A {update?.First("mip6.bu.a_flag")}, M {update?.First("mip6.bu.m_flag")}, H {update?.First("mip6.bu.h_flag")}");
        }

        var answer = Of("b1-v", moment, "ar-b1", BindingAcknowledgement, RegionalB).LastOrDefault();
        foreach (var row in (string[])["TM6.4", "TM-L21"])
        {
            rows.Check(row, "to the on-link address, the regional one in the routing header, under ESP", answer is not null && Ends(answer) == Ends((MapB, onLink)) && Stack(answer) == "ipv6 ipv6.routing esp mipv6" && answer.Is("mip6.ba.status", "0"),
                $"{Seen(answer)}, status {answer?.First("mip6.ba.status")}");
        }

        rows.Check("TM6.5", "the list of the guest's part has the anchor point with both addresses", Listed(moment, MapB, RegionalB, onLink), List(moment));
        var boxes = _moments["a-v"];
        foreach (var row in (string[])["TM-P22", "TM-A-46", "TM0.8", "TM-C15", "TM9.5"])
        {
            rows.Check(row, "an anchor point above two access routers and one in an access router bind, and tunnel both ways", Passed(moment) && Passed(boxes) && boxes.AnchorOnLink.StartsWith("2001:db8:a11:", StringComparison.Ordinal),
                $"{onLink}: {moment.Down.Summary}; {boxes.AnchorOnLink}: {boxes.Down.Summary}");
        }
    }

    private static bool Listed(Moment moment, string peer, string home, string careOf) =>
        moment.List.Any(e => Text(e, "list") == "registration" && Text(e, "state") == "registered" && Text(e, "peer") == peer && Text(e, "homeAddress") == home && Text(e, "careOfAddress") == careOf);

    private static string List(Moment moment) => string.Join("; ", moment.List.Select(e => $"{Text(e, "list")} {Text(e, "peer")}: {Text(e, "homeAddress")} at {Text(e, "careOfAddress")}"));

    private static string Number(string link) => link[^1] switch { 'v' => "10021", 'p' => "10022", _ => "10023" };

    private void Choice(RowBook rows)
    {
        var run = _events.Where(e => Text(e, "event") == "scenario.run").Select(e => Text(e, "text")).ToList();
        var told = _events.Where(e => Text(e, "event") == "anchor.host_told").Select(e => Text(e, "text")).ToList();
        var expected = _moments.Keys.Where(l => l != "a-w").Select(Number).ToList();
        var valid = string.Join(", ", _policy.Where(p => p.GetProperty("valid").GetBoolean()).Select(p => Text(p, "number")));
        rows.Check("TM6.1", "10021, 10022 and 10023 are valid, nothing else", valid == "10021, 10022, 10023", valid);
        foreach (var row in (string[])["TM6.6", "TM6.7", "TM-C11"])
        {
            rows.Check(row, "each acknowledgement of an anchor point starts the program of its registration type, those of the home agent none", run.Select(r => r[..5]).SequenceEqual(expected) && run.All(r => r.EndsWith($" {MapA} (part 251)", StringComparison.Ordinal) || r.EndsWith($" {MapB} (part 251)", StringComparison.Ordinal) || r.EndsWith($" {MapC} (part 251)", StringComparison.Ordinal)), string.Join("; ", run));
        }

        string[] hears = [$"{RegionalB} at {MapB} is the care-of address, MAP registration type 1", $"{RegionalB} at {MapB} is the care-of address, MAP registration type 2", $"{RegionalB} at {MapB} is the care-of address, MAP registration type 3", $"{RegionalA} at {MapA} is the care-of address, MAP registration type 1", $"{RegionalC} at {MapC} is the care-of address, MAP registration type 1"];
        foreach (var row in (string[])["TM6.8", "TM6.10", "TM-R23", "TM-R24", "TM-R25", "TM-A-27", "TM-P13", "TM-A-53"])
        {
            rows.Check(row, "the host part hears of every new regional address and of every new type, once, and registers then", told.SequenceEqual(hears) && _moments.Values.Where(m => m.Told == 1).All(m => m.Updates >= 1), string.Join("; ", told));
        }

        var (first, last) = (_moments["b1-v"], _moments["a-v"]);
        foreach (var row in (string[])["TM-A-30", "TM-P5"])
        {
            rows.Check(row, "the host's interface has home and regional address, of the anchor point of the moment", Has(first.Host, Home) && Has(first.Host, RegionalB) && Has(last.Host, RegionalA) && !Has(last.Host, RegionalB), Regex.Replace(first.Host + last.Host, @"\s+", " "));
        }

        static bool Has(string shown, string address) => shown.Contains($" {address}/128 ", StringComparison.Ordinal);
    }

    private void Tunnelled(RowBook rows)
    {
        var moment = _moments["b1-v"];
        var onLink = moment.AnchorOnLink;
        var (update, answer) = AtHome("b1-v", moment, "mn", "ar-b1");
        var (above, comes) = AtHome("core-b", moment, "map-b", "core");
        foreach (var row in (string[])["TM6.20", "TM-L22", "TM-A-37", "TM-R93"])
        {
            rows.Check(row, "the update goes inside the tunnel to the anchor point, the regional address as alternate; above it without that header, home has the regional address",
                Ends(update) == Ends((onLink, MapB), (RegionalB, HomeAgent)) && Ends(above) == Ends((RegionalB, HomeAgent)) && update!.Is("mip6.acoa.acoa", RegionalB) && moment.HomeCareOf == RegionalB, $"{Seen(update)}; {Seen(above)}; alternate {update?.First("mip6.acoa.acoa")}; {moment.HomeCareOf}");
        }

        ByAnchor(rows, ["TM6.21", "TM-L23"], moment, answer, comes);
        Protected(rows, "TM6.22", update, answer);
        Down(rows, ["TM6.23"], moment);
        var (up, out_) = (Echoes("b1-v", moment, "mn"), Echoes("core-b", moment, "map-b"));
        foreach (var row in (string[])["TM6.24", "TM-L28"])
        {
            rows.Check(row, "the home agent's tunnel inside the anchor point's, above it that alone", Passed(moment) && AllAre(up, Ends((onLink, MapB), (RegionalB, HomeAgent), (Home, Correspondent))) && AllAre(out_, Ends((RegionalB, HomeAgent), (Home, Correspondent))), $"{Seen(up)}; {Seen(out_)}");
        }

        rows.Check("TM-AC22", "both registrations, log 10021, the home agent has the regional address, pings both ways", Passed(moment) && moment.HomeCareOf == RegionalB && Ends(above) == Ends((RegionalB, HomeAgent)), $"{moment.Down.Summary}; {moment.Up.Summary}");
        rows.Check("TM6.53", "above the anchor point the registration is one of plain Mobile IPv6", Stack(above) == "ipv6 ipv6.dstopts esp mipv6" && Stack(comes) == "ipv6 ipv6.routing esp mipv6" && above!.Is("ipv6.opt.mipv6.home_address", Home), $"{Seen(above)}; {Seen(comes)}");
        foreach (var row in (string[])["TM0.11", "TM0.10"])
        {
            var first = Of("b1-v", moment, "mn", BindingUpdate, RegionalB).FirstOrDefault()?.Time;
            var bound = Of("b1-v", moment, "ar-b1", BindingAcknowledgement, RegionalB).FirstOrDefault()?.Time;
            var then = Of("b1-v", moment, "mn", BindingUpdate, Home).FirstOrDefault()?.Time;
            rows.Check(row, "first the anchor point, then the home agent", first < bound && bound < then, $"{Ms(first ?? 0, bound ?? 0)}, then {Ms(bound ?? 0, then ?? 0)}");
        }
    }

    private static void ByAnchor(RowBook rows, string[] ids, Moment moment, DissectedPacket? answer, DissectedPacket? comes)
    {
        foreach (var row in ids)
        {
            rows.Check(row, "the acknowledgement goes to the regional address and comes through the anchor point's tunnel; the host part lists the home agent",
                Ends(comes) == Ends((HomeAgent, RegionalB)) && Ends(answer) == Ends((MapB, moment.AnchorOnLink), (HomeAgent, RegionalB)) && answer!.Is("mip6.ba.status", "0") && Listed(moment, HomeAgent, Home, RegionalB), $"{Seen(comes)}; {Seen(answer)}; {List(moment)}");
        }
    }

    private static void Protected(RowBook rows, string row, DissectedPacket? update, DissectedPacket? answer)
    {
        var spis = new[] { update, answer }.Select(p => p?.First("esp.spi") ?? "").ToList();
        rows.Check(row, "the registration at home is under ESP of the host part, which the anchor point has no part in", spis.All(s => s.Length > 0 && !s.StartsWith("0x00000b0", StringComparison.Ordinal)) && Stack(update).EndsWith("ipv6 ipv6.dstopts esp mipv6", StringComparison.Ordinal) && Stack(answer).EndsWith("ipv6 ipv6.routing esp mipv6", StringComparison.Ordinal),
            $"{string.Join(", ", spis)}; {Stack(update)}; {Stack(answer)}");
    }

    private void Down(RowBook rows, string[] ids, Moment moment)
    {
        var (above, below) = (Echoes("core-b", moment, "core"), Echoes(moment.Link, moment, RouterOf(moment.Link)));
        foreach (var row in ids.Append("TM-L27"))
        {
            rows.Check(row, "data down: to the regional address, and from the anchor point on in its tunnel", Passed(moment) && AllAre(above, Ends((HomeAgent, RegionalB), (Correspondent, Home))) && AllAre(below, Ends((MapB, moment.AnchorOnLink), (HomeAgent, RegionalB), (Correspondent, Home))),
                $"{Seen(above)}; {Seen(below)}; {moment.Down.Summary}");
        }
    }

    /// <summary>L29 on the access link, and unchanged above.</summary>
    private void Up(RowBook rows, string[] ids, Moment moment)
    {
        var (up, out_) = (Echoes(moment.Link, moment, "mn"), Echoes("core-b", moment, "map-b"));
        foreach (var row in ids.Concat(["TM-L29", "TM-A-26"]))
        {
            rows.Check(row, "data up: the home agent's tunnel from the regional address, past the anchor point", Passed(moment) && AllAre(up, Ends((RegionalB, HomeAgent), (Home, Correspondent))) && AllAre(out_, Ends((RegionalB, HomeAgent), (Home, Correspondent))), $"{Seen(up)}; {Seen(out_)}");
        }
    }

    private void DirectUpdate(RowBook rows)
    {
        var moment = _moments["b1-p"];
        var (update, answer) = AtHome("b1-p", moment, "mn", "ar-b1");
        var (_, comes) = AtHome("core-b", moment, "map-b", "core");
        foreach (var row in (string[])["TM6.30", "TM-L24"])
        {
            rows.Check(row, "the update leaves directly from the regional address", Ends(update) == Ends((RegionalB, HomeAgent)) && update!.Is("mip6.acoa.acoa", RegionalB) && moment.HomeCareOf == RegionalB, $"{Seen(update)}; {moment.HomeCareOf}");
        }

        ByAnchor(rows, ["TM6.31", "TM-L23"], moment, answer, comes);
        Protected(rows, "TM6.32", update, answer);
        Down(rows, ["TM6.33"], moment);
        Up(rows, ["TM6.34", "TM-AC23"], moment);
    }

    private void Direct(RowBook rows)
    {
        var moment = _moments["b1-n"];
        var onLink = moment.AnchorOnLink;
        var (update, answer) = AtHome("b1-n", moment, "mn", "ar-b1");
        foreach (var row in (string[])["TM6.40", "TM-L25", "TM-A-55"])
        {
            rows.Check(row, "the update leaves from the on-link address and binds the regional one", Ends(update) == Ends((onLink, HomeAgent)) && update!.Is("mip6.acoa.acoa", RegionalB) && moment.HomeCareOf == RegionalB, $"{Seen(update)}; alternate {update?.First("mip6.acoa.acoa")}; {moment.HomeCareOf}");
        }

        foreach (var row in (string[])["TM6.41", "TM-L26", "TM-A-25"])
        {
            rows.Check(row, "the acknowledgement comes directly to the on-link address, and the host part lists the home agent", Ends(answer) == Ends((HomeAgent, onLink)) && answer!.Is("mip6.ba.status", "0") && Listed(moment, HomeAgent, Home, RegionalB), $"{Seen(answer)}; {List(moment)}");
        }

        Protected(rows, "TM6.42", update, answer);
        Down(rows, ["TM6.43"], moment);
        Up(rows, ["TM6.44", "TM-AC24"], moment);
    }

    private void Moves(RowBook rows)
    {
        foreach (var (link, before) in (ReadOnlySpan<(string, string)>)[("b2-v", "b1-v"), ("b2-p", "b1-p"), ("b2-n", "b1-n")])
        {
            var (moment, former) = (_moments[link], _moments[before]);
            var told = Of(link, moment, "mn", BindingUpdate, RegionalB).Count();
            var atHome = On(link, moment.From, moment.To).Count(p => p.Sender == "mn" && (p.Is("ipv6.opt.mipv6.home_address", Home) || p.First("isakmp.exchangetype") is SaInit or Auth));
            var observed = string.Create(CultureInfo.InvariantCulture, $"{told} BU to the anchor point, {atHome} packets for the home agent, whose counter went up by {moment.Updates}; {moment.AnchorOnLink}, home has {moment.HomeCareOf}; {moment.Down.Summary}");
            foreach (var row in (string[])["TM6.9", "TM6.50", "TM-AC25", "TM0.11"])
            {
                rows.Check(row, $"{before} to {link}: the anchor point alone is told, and data go on", told >= 1 && atHome == 0 && moment.Updates == 0 && moment.Told == 0 && !moment.AnchorOnLink.Equals(former.AnchorOnLink, StringComparison.Ordinal) && moment.HomeCareOf == RegionalB && Passed(moment), observed);
            }

            if (Of(link, moment, "ar-b2", BindingAcknowledgement, RegionalB).FirstOrDefault() is { } answered)
            {
                rows.Measure($"from arrival at {link} to the anchor point's acknowledgement", (answered.Time - moment.From) / 1e6, "ms");
            }
        }

        var other = _moments["a-v"];
        var update = Of("a-v", other, "mn", BindingUpdate, Home).LastOrDefault();
        var local = Of("a-v", other, "mn", BindingUpdate, RegionalA).LastOrDefault();
        foreach (var row in (string[])["TM6.51", "TM-AC26"])
        {
            rows.Check(row, "a new regional address is bound at the other anchor point, and then at home", Ends(local) == Ends((other.AnchorOnLink, MapA)) && Ends(update) == Ends((other.AnchorOnLink, MapA), (RegionalA, HomeAgent)) && local!.Time < update!.Time && other.HomeCareOf == RegionalA && other.Told == 1 && Passed(other),
                $"{Seen(local)}; {Seen(update)}; home has {other.HomeCareOf}; {other.Down.Summary}");
        }
    }

    /// <summary>SP6: ESP on the way to an anchor point or none, as both ends are configured.</summary>
    private void InClear(RowBook rows)
    {
        var moment = _moments["c-v"];
        var onLink = moment.AnchorOnLink;
        var (update, answer) = (Of("c-v", moment, "mn", BindingUpdate, RegionalC).LastOrDefault(), Of("c-v", moment, "ar-a", BindingAcknowledgement, RegionalC).LastOrDefault());
        var (up, down) = (Echoes("c-v", moment, "mn"), Echoes("c-v", moment, "ar-a"));
        var elsewhere = Packets.Where(p => p.Link != "c-v" && p.First("mip6.mhtype") is BindingUpdate or BindingAcknowledgement).ToList();
        var plain = elsewhere.Count(p => !Stack(p).Contains("esp", StringComparison.Ordinal));
        foreach (var row in (string[])["TM-SP6", "TM-A-51"])
        {
            rows.Check(row, "the registration with this anchor point goes without ESP both ways, and so do the data in its tunnel; what goes home through it has ESP, and with the other anchor points everything has",
                Passed(moment) && Ends(update) == Ends((onLink, MapC)) && Stack(update) == "ipv6 ipv6.dstopts mipv6" && Ends(answer) == Ends((MapC, onLink)) && Stack(answer) == "ipv6 ipv6.routing mipv6" && answer!.Is("mip6.ba.status", "0")
                    && AllAre(up, Ends((onLink, MapC), (RegionalC, HomeAgent), (Home, Correspondent))) && AllAre(down, Ends((MapC, onLink), (HomeAgent, RegionalC), (Correspondent, Home))) && moment.HomeCareOf == RegionalC
                    && On("c-v", moment.From, moment.To).Where(p => p.First("mip6.mhtype") is not null && (p.Is("ipv6.opt.mipv6.home_address", Home) || p.Is("ipv6.routing.mipv6.home_address", Home))).All(p => p.Has("esp")) && elsewhere.Count > 10 && plain == 0,
                $"{Seen(update)}; {Seen(answer)}; {moment.Up.Summary}; {plain} of {elsewhere.Count} other binding messages in clear");
        }
    }

    private void TwoLevels(RowBook rows)
    {
        var moment = _moments["a-w"];
        var onLink = moment.AnchorOnLink;
        var (up, out_) = (Echoes("a-w", moment, "mn2"), Echoes("core-a", moment, "ar-a"));
        var (down, in_) = (Echoes("a-w", moment, "ar-a"), Echoes("core-a", moment, "core"));
        var inner = out_.Concat(in_).SelectMany(p => p.Of("esp.spi")).ToHashSet();
        bool Level(IReadOnlyList<DissectedPacket> packets, string outer, string ends, string stack) =>
            packets.Count >= 10 && packets.All(p => Ends(p) == ends && Stack(p).StartsWith(stack, StringComparison.Ordinal) && (outer.Length == 0 ? p.Of("esp.spi").Count == 1 : p.Of("esp.spi") is [var first, var second] && first == outer && inner.Contains(second)));
        var ok = Passed(moment)
            && Level(up, "0x00000a21", Ends((onLink, MapA), (Regional2, HomeAgent), (Home2, Correspondent)), "ipv6 esp ipv6 esp ipv6")
            && Level(down, "0x00000a22", Ends((MapA, onLink), (HomeAgent, Regional2), (Correspondent, Home2)), "ipv6 esp ipv6 esp ipv6")
            && Level(out_, "", Ends((Regional2, HomeAgent), (Home2, Correspondent)), "ipv6 esp ipv6") && Level(in_, "", Ends((HomeAgent, Regional2), (Correspondent, Home2)), "ipv6 esp ipv6");
        var apart = _secured.Select(s => Text(s, "spiIn")).ToList();
        foreach (var row in (string[])["TM6.52", "TM-AC27", "TM-C3", "TM-M4", "TM-P12"])
        {
            rows.Check(row, "two layers of ESP on the access link, the inner one alone behind the anchor point, each with associations of its own", ok && apart.Contains("0x00000a12") && apart.Contains("0x00000a22") && apart.Count(s => !s.StartsWith("0x00000a", StringComparison.Ordinal)) >= 2,
                $"{Seen(up)} SPI {Spis(up)}; {Seen(down)} SPI {Spis(down)}; above SPI {Spis(out_)} and {Spis(in_)}; associations {string.Join(", ", apart)}");
        }

        static string Spis(IEnumerable<DissectedPacket> packets) => string.Join(", ", packets.Select(p => string.Join("+", p.Of("esp.spi"))).Distinct());
    }
}
