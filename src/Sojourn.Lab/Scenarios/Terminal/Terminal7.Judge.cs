using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>What the wires carried and the home agent shows.</summary>
public sealed partial class Terminal7
{
    private const string EchoRequest = "128", EchoReply = "129", PacketTooBig = "2", NotAuthorizedForPrefix = "142";

    private string RouterAt => CareOf(_shown["bindings on board"], Router);

    private string TerminalAt => CareOf(_shown["bindings on board"], Terminal);

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        rows.Part("Registration", () => Registration(rows));
        rows.Part("Headers", () => Headers(rows));
        rows.Part("Ingress", () => Ingress(rows));
        rows.Part("Move", () => Move(rows));
        rows.Part("Servers", () => JudgeServers(rows));
        rows.Part("Refusal", () => Refusal(rows));
        rows.Part("Nesting", () => Nesting(rows));
        rows.Part("Protection", () => Protection(rows));
        rows.Part("Kernel", () => JudgeKernel(rows, _kernel, "a terminal behind a mobile router"));
    }

    private IReadOnlyList<DissectedPacket> Echoes(string link, string moment, string sender) =>
        [.. On(link, _times[moment].From, _times[moment].To).Where(p => p.Sender == sender && p.First("icmpv6.type") is EchoRequest or EchoReply)];

    private static bool AllAre(IReadOnlyList<DissectedPacket> packets, string down, string other) => packets.Count >= 10 && packets.All(p => Ends(p) == down || Ends(p) == other);

    private static string Seen(IReadOnlyList<DissectedPacket> packets) => $"{packets.Count} packets: {string.Join("; ", packets.Select(Ends).Distinct())}";

    private IEnumerable<DissectedPacket> Updates(string link, string home, long from, long to) =>
        On(link, from, to).Where(p => p.Is("mip6.mhtype", BindingUpdate) && p.Is("ipv6.opt.mipv6.home_address", home));

    private void Registration(RowBook rows)
    {
        var (from, to) = _times["mr"];
        var update = Updates("access-5b", Router, from, to).LastOrDefault();
        var answer = On("access-5b", from, to).LastOrDefault(p => p.Is("mip6.mhtype", BindingAcknowledgement) && p.Is("ipv6.routing.mipv6.home_address", Router));
        var asked = update is not null && update.Of("mip6.nemo.bu.r_flag").Any(IsSet) && update.Is("mip6.nemo.mnp.mnp", "2001:db8:9::") && update.Is("mip6.nemo.mnp.pfl", "48");
        var taken = answer is not null && answer.Is("mip6.ba.status", "0") && answer.Of("mip6.nemo.ba.r_flag").Any(IsSet);
        var paths = _shown["paths on board"].Where(p => Text(p, "remoteGateway") == RouterAt).Select(p => Text(p, "destination")).Order().ToList();
        var observed = $"BU R {update?.First("mip6.nemo.bu.r_flag")}, network {update?.First("mip6.nemo.mnp.mnp")}/{update?.First("mip6.nemo.mnp.pfl")}; BA status {answer?.First("mip6.ba.status")}, R {answer?.First("mip6.nemo.ba.r_flag")}; to {RouterAt}: {string.Join(", ", paths)}";
        foreach (var row in (string[])["TM7.1", "TM-S6"])
        {
            rows.Check(row, "R flag and network in the router's update, R flag in the answer; home address and network lead to its care-of address", asked && taken && paths.SequenceEqual([Router + "/128", "2001:db8:9::/48"]) && RouterAt.StartsWith("2001:db8:5b:", StringComparison.Ordinal), observed);
        }

        (from, to) = _times["mn"];
        var inside = Updates("access-5b", Terminal, from, to).LastOrDefault();
        var outside = inside is null ? "none" : Ends(inside);
        rows.Check("TM7.2", "the terminal's care-of address is the network's; its update crosses the link above the router inside the router's tunnel",
            TerminalAt.StartsWith("2001:db8:9:", StringComparison.Ordinal) && outside.StartsWith(Ends((RouterAt, HomeAgent), (TerminalAt, HomeAgent)), StringComparison.Ordinal), $"{Terminal} is at {TerminalAt}; {outside}");
        rows.Check("TM7.3", "both tunnels end on the home agent", _shown["paths on board"].All(p => Text(p, "localGateway") == HomeAgent) && _shown["paths on board"].Select(p => Text(p, "remoteGateway")).ToHashSet().SetEquals([RouterAt, TerminalAt]),
            string.Join("; ", _shown["paths on board"].Select(PathText)));
        rows.Measure("from switching the router on to its registration", (_times["mr"].To - _times["mr"].From) / 1e6, "ms");
    }

    private static bool IsSet(string flag) => flag is "1" or "True";

    private void Headers(RowBook rows)
    {
        var (outerDown, innerDown) = (Ends((HomeAgent, RouterAt), (HomeAgent, TerminalAt), (Correspondent, Terminal)), Ends((HomeAgent, TerminalAt), (Correspondent, Terminal)));
        var (outerUp, innerUp) = (Ends((RouterAt, HomeAgent), (TerminalAt, HomeAgent), (Terminal, Correspondent)), Ends((TerminalAt, HomeAgent), (Terminal, Correspondent)));
        var (above, behind) = (Echoes("access-5b", "on board", "ar-b"), Echoes("moving", "on board", "mr"));
        var (up, out_) = (Echoes("moving", "on board", "mn"), Echoes("access-5b", "on board", "mr"));
        var arrived = _pings["on board down"].AllArrived && _pings["on board up"].AllArrived;
        foreach (var row in (string[])["TM7.4", "TM7.5", "TM7.12", "TM-C6", "TM-A-32"])
        {
            rows.Check(row, "above the router the terminal's header, and the router's around it", arrived && AllAre(above, outerDown, outerDown), Seen(above));
        }

        foreach (var row in (string[])["TM7.6", "TM-L30"])
        {
            rows.Check(row, "two headers above the router, behind it its own is gone, at the terminal both", arrived && AllAre(above, outerDown, outerDown) && AllAre(behind, innerDown, innerDown), $"{Seen(above)}; {Seen(behind)}; {_pings["on board down"].Summary}");
        }

        var plain = On("core-cn", _times["on board"].From, _times["on board"].To).Where(p => p.Sender == "core" && p.First("icmpv6.type") is EchoRequest or EchoReply).ToList();
        foreach (var row in (string[])["TM7.7", "TM-L31", "TM-R94", "TM-A-31"])
        {
            rows.Check(row, "up, the router puts its header around the terminal's, and the home agent takes both off", arrived && AllAre(up, innerUp, innerUp) && AllAre(out_, outerUp, outerUp) && AllAre(plain, Ends((Terminal, Correspondent)), ""), $"{Seen(up)}; {Seen(out_)}; {Seen(plain)}");
        }

        rows.Check("TM-AC28", "two headers above the router, one behind it", arrived && AllAre(above, outerDown, outerDown) && AllAre(behind, innerDown, innerDown) && AllAre(out_, outerUp, outerUp), $"{Seen(above)}; {Seen(out_)}; {Seen(behind)}");
        foreach (var row in (string[])["TM-P23", "TM0.12"])
        {
            rows.Check(row, "a host on board that knows nothing is reached and reaches out, through the router's tunnel", _pings["fixed up"].AllArrived && _pings["fixed down"].AllArrived, $"{_pings["fixed up"].Summary}; {_pings["fixed down"].Summary}");
        }

        // Everything that leaves by the access link is in the tunnel, or the router's own.
        var past = Packets.Where(p => p.Link.StartsWith("access-", StringComparison.Ordinal) && p.Sender == "mr" && p.First("ipv6.src") is { } source && (source.StartsWith("2001:db8:9:", StringComparison.Ordinal) || source.StartsWith("2001:db8:1:", StringComparison.Ordinal))).ToList();
        var carried = On("access-5b").Count(p => p.Of("ipv6.src").Contains(OnBoard) || p.Of("ipv6.dst").Contains(OnBoard));
        rows.Check("TM-R106", "the network's packets cross the link above the router in its tunnel and nowhere else", past.Count == 0 && carried >= 20, $"{carried} packets of {OnBoard} in the tunnel, {past.Count} packets of the network or a home address outside it{(past.Count > 0 ? ": " + Ends(past[0]) : "")}");
        var told = On("core-cn").Where(p => p.Sender == "core" && p.First("icmpv6.type") == PacketTooBig).Select(p => p.First("icmpv6.mtu") ?? "").Distinct().ToList();
        rows.Check("TM-AC28", "packets too long for both headers are answered until they fit them, and then the correspondent gets through", told is [.., "1420"] && _pings["long"].Received > 0, $"MTU {string.Join(", ", told)}; {_pings["long"].Summary}");
    }

    private void Ingress(RowBook rows)
    {
        var tried = On("on-board", _spoofedFrom, _spoofedTo).Count(p => p.Sender == "lfn" && p.First("icmpv6.type") == EchoRequest && (p.From(Spoofed) || p.From(Router)));
        var passed = On("access-5b", _spoofedFrom, _spoofedTo).Where(p => p.First("icmpv6.type") == EchoRequest && (p.Of("ipv6.src").Contains(Spoofed) || p.Of("ipv6.src").Contains(Router))).ToList();
        rows.Check("TM-R106", "what does not come from the network's addresses does not leave, be it the router's own address", tried >= 4 && passed.Count == 0, $"{tried} tried, {passed.Count} passed");
    }

    private void Move(RowBook rows)
    {
        var (from, to) = _times["moved"];
        var routers = Updates("access-5a", Router, from, to).ToList();
        var terminals = Updates("moving", Terminal, from, to).Count() + On("moving", from, to).Count(p => p.First("isakmp.exchangetype") is SaInit or Auth);
        var at = CareOf(_shown["bindings moved"], Router);
        var stays = CareOf(_shown["bindings moved"], Terminal) == TerminalAt;
        var observed = $"{routers.Count} BU of the router; {terminals} BU or key exchanges of the terminal; the router is at {at}; {_transfer}";
        foreach (var row in (string[])["TM7.10", "TM-AC29"])
        {
            rows.Check(row, "one update of the router, none of the terminal, whose binding and transfer go on", routers.Count == 1 && terminals == 0 && stays && at.StartsWith("2001:db8:5a:", StringComparison.Ordinal) && _transfer!.Whole && Equals(_transfer.From?.Address, IPAddress.Parse(Correspondent)), observed);
        }

        rows.Measure("longest pause of the transfer over the router's move", _transfer!.LongestPause.TotalMilliseconds, "ms");
    }

    private void Refusal(RowBook rows)
    {
        var (from, to) = _times["refused"];
        var answers = On("between", from, to).Where(p => p.Is("mip6.mhtype", BindingAcknowledgement) && p.Is("ipv6.routing.mipv6.home_address", InnerRouter)).Select(p => p.First("mip6.ba.status") ?? "").ToList();
        var bound = CareOf(_shown["bindings refused"], InnerRouter);
        var paths = _shown["paths refused"].Count(p => Text(p, "destination").StartsWith("2001:db8:19:", StringComparison.Ordinal) || Text(p, "destination").StartsWith("2001:db8:29:", StringComparison.Ordinal) || Text(p, "destination").StartsWith(InnerRouter, StringComparison.Ordinal));
        foreach (var row in (string[])["TM-NC24", "TM-R100"])
        {
            rows.Check(row, "status 142, no binding, no tunnel, counted", answers.Count > 0 && answers.All(a => a == NotAuthorizedForPrefix) && bound.Length == 0 && paths == 0 && _refusedAfter > _refusedBefore,
                $"status {string.Join(", ", answers)}; binding '{bound}', {paths} paths; ha.bu_refused {Number(_refusedBefore)}, then {Number(_refusedAfter)}");
        }
    }

    private void Nesting(RowBook rows)
    {
        var bindings = _shown["bindings nested"];
        var (outer, middle, inner) = (CareOf(bindings, Router), CareOf(bindings, InnerRouter), CareOf(bindings, Terminal));
        var down = Echoes("access-5a", "nested", "ar-a");
        var up = Echoes("access-5a", "nested", "mr");
        var between = Echoes("between", "nested", "mr");
        var last = Echoes("inner", "nested", "mr2");
        var ok = _pings["nested down"].AllArrived && _pings["nested up"].AllArrived
            && AllAre(down, Ends((HomeAgent, outer), (HomeAgent, middle), (HomeAgent, inner), (Correspondent, Terminal)), "")
            && AllAre(up, Ends((outer, HomeAgent), (middle, HomeAgent), (inner, HomeAgent), (Terminal, Correspondent)), "")
            && AllAre(between, Ends((HomeAgent, middle), (HomeAgent, inner), (Correspondent, Terminal)), "")
            && AllAre(last, Ends((HomeAgent, inner), (Correspondent, Terminal)), "");
        foreach (var row in (string[])["TM7.11", "TM-AC30"])
        {
            rows.Check(row, "three headers on the outermost link, one less behind each router", ok, $"{Seen(down)}; {Seen(up)}; {Seen(between)}; {Seen(last)}");
        }
    }

    /// <summary>Headers above the router and behind it, in each direction.</summary>
    private void Protection(RowBook rows)
    {
        var (router, terminal) = (CareOf(_shown["bindings both levels"], Router), CareOf(_shown["bindings both levels"], Terminal));
        var down = Ends((HomeAgent, router), (HomeAgent, terminal), (Correspondent, Terminal));
        var up = Ends((router, HomeAgent), (terminal, HomeAgent), (Terminal, Correspondent));
        foreach (var (moment, above, behind) in new[] { ("one level", "ipv6 ipv6 esp ipv6", "ipv6 esp ipv6"), ("both levels", "ipv6 esp ipv6 esp ipv6", "ipv6 esp ipv6") })
        {
            var (downs, ups, inside) = (Echoes("access-5a", moment, "ar-a"), Echoes("access-5a", moment, "mr"), Echoes("moving", moment, "mr").Concat(Echoes("moving", moment, "mn")).ToList());
            var right = AllAre(downs, down, "") && AllAre(ups, up, "") && downs.Concat(ups).All(p => Layers(p) == above) && inside.Count >= 20 && inside.All(p => Layers(p) == behind);
            foreach (var row in moment == "one level" ? (string[])["TM7.8"] : ["TM7.8", "TM-AC31"])
            {
                rows.Check(row, moment == "one level" ? "the terminal's ESP is in the router's plain tunnel, both ways" : "ESP of the terminal inside ESP of the router, both ways, and no plain mobile header is left",
                    right && _pings[moment + " down"].Received > 0 && _pings[moment + " up"].Received > 0,
                    $"{string.Join("; ", downs.Concat(ups).Select(p => $"{Layers(p)} {Ends(p)}").Distinct())}; behind the router {string.Join("; ", inside.Select(Layers).Distinct())}");
            }
        }

        // What an error quotes stands behind the ICMPv6 header.
        static string Layers(DissectedPacket packet) => string.Join(' ', packet.Protocols.SkipWhile(p => p != "ipv6").TakeWhile(p => p != "icmpv6"));
    }
}
