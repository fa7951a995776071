using System.Globalization;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;

namespace Sojourn.Lab.Scenarios.Terminal;

public sealed partial class Terminal5
{
    private const string Invite = "INVITE", Acknowledge = "ACK", Bye = "BYE";

    /// <summary>One-way delays that are good, and that are not acceptable (ITU-T G.114).</summary>
    private static readonly TimeSpan s_good = TimeSpan.FromMilliseconds(150), s_unacceptable = TimeSpan.FromMilliseconds(400);

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        rows.Part("Set-up", () => SetUp(rows));
        rows.Part("Plain tunnel", () => Layouts(rows, Plain, "", ["TM5.10", "TM5.11", "TM5.12", "TM5.13", "TM5.14", "TM5.15", "TM5.16"], []));
        rows.Part("Both headers", () => Layouts(rows, Kept, "esp ipv6 ", ["TM5.10", "TM5.20", "TM5.21", "TM5.22", "TM5.23", "TM5.24", "TM5.25"], ["TM-L7", "TM-L8"]));
        rows.Part("ESP alone", () => Layouts(rows, Protected, "esp ", ["TM5.10", "TM5.30", "TM5.31", "TM5.32", "TM5.33", "TM5.34", "TM5.35"], ["TM-L9", "TM-L10"]));
        rows.Part("The short way", () => ShortWay(rows));
        rows.Part("Moves", () => Moving(rows));
        rows.Part("Host's association", () => WithoutHost(rows));
        rows.Part("Guest's association", () => WithoutGuest(rows));
        rows.Part("Layers", () => Layers(rows));
    }

    private void SetUp(RowBook rows)
    {
        foreach (var line in _lines)
        {
            var (asked, offered, invited) = (Sip("core-cn", "cn", line, Invite), Sip("core-proxy", "proxy", line, Invite), Sip(line.Link, line.Terminal, line, Invite));
            rows.Check("TM5.1", $"INVITE to the home address: from the correspondent to the proxy, from there to the host of {line.Terminal}",
                asked?.To(Proxy) == true && offered is not null && offered.Of("ipv6.dst").Contains(line.Home) && invited?.From(Proxy) == true && invited.To(line.Home), $"{Told(asked)}; {Told(offered)}; {Told(invited)}");
            var (answer, received) = (Answered(line.Link, "phone", line, Invite), Answered("core-cn", "core", line, Invite));
            rows.Check("TM5.2", "200 OK gives the home address for audio, and reaches the correspondent as it was",
                new[] { answer, received }.All(p => p?.First("sdp.connection_info.address") == line.Home) && answer!.From(line.Home) && answer.To(Proxy) && received!.From(Proxy), $"{Told(answer)}; {Told(received)}, audio to {received?.First("sdp.connection_info.address")}");
            var (sent, acknowledged) = (Sip("core-cn", "cn", line, Acknowledge), Sip(line.Link, line.Terminal, line, Acknowledge));
            var (heard, spoken) = (Audio(line.Link, line.Terminal, line).Count(p => p.Time > acknowledged?.Time), Audio("core-cn", "core", line).Count(p => p.Time > acknowledged?.Time));
            rows.Check("TM5.3", "ACK comes by way of the proxy, and then audio flows each way",
                sent?.To(Proxy) == true && acknowledged?.From(Proxy) == true && heard > 0 && spoken > 0, $"{Told(sent)}; {Told(acknowledged)}; then {heard} packets of audio to the host, {spoken} from it");
            foreach (var row in new[] { "TM-P25", "TM-AC18" })
            {
                rows.Check(row, $"the call to {line.Terminal} is set up and ended over Kamailio, to SIPp's satisfaction", _outcomes.GetValueOrDefault(line.Call) == 0 && Answered("core-cn", "core", line, Bye) is not null, $"SIPp's exit status {_outcomes.GetValueOrDefault(line.Call)}, {Told(Answered("core-cn", "core", line, Bye))}");
            }
        }
    }

    /// <summary>One of Figs. 24 to 26: what stands between the tunnel's first header and the host's packet.</summary>
    /// <param name="figure">Down from the correspondent, tunnel down, guest in, host in, host out, guest out, home agent out.</param>
    /// <param name="layouts">Rows of the layout down and up.</param>
    private void Layouts(RowBook rows, Line line, string between, string[] figure, string[] layouts)
    {
        const string Own = "ipv6 esp udp rtp";
        var tunnelled = $"ipv6 {between}{Own}";
        var (down, up) = (Visited(line, down: true), Visited(line, down: false));
        var (fromCorrespondent, toHost, fromHost, toCorrespondent) = (Audio("core-cn", "cn", line), Audio(line.Link, line.Terminal, line), Audio(line.Link, "phone", line), Audio("core-cn", "core", line));
        Check(figure[0], "the correspondent protects audio itself: IPv6, ESP, UDP, RTP, to the home address", fromCorrespondent, Own, [$"{Correspondent} > {line.Home}"]);
        Check("TM-L18", "as the correspondent sends it, and as it comes back to it", [.. fromCorrespondent.Concat(toCorrespondent)], Own, [$"{Correspondent} > {line.Home}", $"{line.Home} > {Correspondent}"]);
        foreach (var row in new[] { figure[1], "TM-AC18" }.Concat(layouts.Take(1)))
        {
            Check(row, "the home agent sends it to the care-of address in the tunnel", down, tunnelled, [Ends(line, between, down: true)]);
        }

        var same = Numbers(down).Intersect(Numbers(toHost)).Count();
        rows.Check(figure[2], $"the guest of {line.Terminal} takes the tunnel off, and nothing else: what arrives in the tunnel is on interface 19 with the same SPI and number", same > 25 && down.All(p => p.Of("esp.spi").LastOrDefault() == Spi(line.Down)),
            string.Create(CultureInfo.InvariantCulture, $"{down.Count} in the tunnel, {toHost.Count} at the host, {same} of them the same"));
        var (opened, protectedOnes) = _carried.GetValueOrDefault(line.Terminal);
        Check(figure[3], "interface 19 has the packet with the host's own ESP", toHost, Own, [$"{Correspondent} > {line.Home}"]);
        rows.Check(figure[3], "and the host's kernel has opened what came", opened > 25 && protectedOnes > 25, string.Create(CultureInfo.InvariantCulture, $"{opened} opened, {protectedOnes} protected by the kernel"));
        Check(figure[4], "the host protects its audio before the guest sees it", fromHost, Own, [$"{line.Home} > {Correspondent}"]);
        foreach (var row in new[] { figure[5], "TM-AC18" }.Concat(layouts.Skip(1)))
        {
            Check(row, "the guest sends it to the home agent in the tunnel", up, tunnelled, [Ends(line, between, down: false)]);
        }

        var forwarded = Numbers(up).Intersect(Numbers(toCorrespondent)).Count();
        Check(figure[6], "the home agent takes the tunnel off and forwards", toCorrespondent, Own, [$"{line.Home} > {Correspondent}"]);
        rows.Check(figure[6], "the packets of the tunnel, unchanged inside", forwarded > 25, string.Create(CultureInfo.InvariantCulture, $"{up.Count} in the tunnel, {toCorrespondent.Count} at the correspondent, {forwarded} of them the same"));

        void Check(string row, string text, IReadOnlyList<DissectedPacket> packets, string stack, string[] ends) => rows.Check(
            row, $"{text} ({line.Terminal})", packets.Count > 25 && packets.All(p => Stack(p) == stack && ends.Contains(Inner(p, ends[0]))),
            string.Create(CultureInfo.InvariantCulture, $"{packets.Count} packets, {string.Join(" or ", packets.Select(Stack).Distinct())}; {string.Join(" or ", packets.Select(p => Inner(p, ends[0])).Distinct().Take(4))}"));
    }

    /// <summary>AC21: the proxy has a binding of one terminal; its later messages go past the home agent.</summary>
    private void ShortWay(RowBook rows)
    {
        var before = new[] { (Plain, "ipv6 ipv6 udp sip sdp"), (Protected, "ipv6 esp ipv6 udp sip sdp"), (Kept, "ipv6 esp ipv6 ipv6 udp sip sdp") };
        foreach (var (line, stack) in before)
        {
            var invited = Packets.FirstOrDefault(p => p.Link.StartsWith("access", StringComparison.Ordinal) && p.Sender != line.Terminal && p.Is("sip.Method", Invite) && p.Is("sip.Call-ID", line.Call));
            rows.Check("TM5.4", $"without a binding INVITE comes to {line.Terminal} through the home agent, as its tunnel is", Stack(invited) == stack && invited!.From(line.HomeAgent), Told(invited));
        }

        var (bye, answer) = (Packets.LastOrDefault(p => p.Link == "access-1" && p.Sender == "ar2" && p.Is("sip.Method", Bye)), Packets.LastOrDefault(p => p.Link == "access-1" && p.Sender == "mn" && p.Is("sip.CSeq.method", Bye)));
        var past = Packets.Count(p => p.Link == "core-ha" && p.Has("sip") && p.Is("sip.CSeq.method", Bye) && p.Is("sip.Call-ID", Plain.Call));
        foreach (var row in new[] { "TM5.4", "TM-AC21", "TM-A-42" })
        {
            rows.Check(row, "with a binding SIP goes directly: down with the routing header, up with the Home Address option, nothing by way of the home agent",
                _bound && Stack(bye) == "ipv6 ipv6.routing udp sip" && bye!.From(Proxy) && Stack(answer) == "ipv6 ipv6.dstopts udp sip" && answer!.To(Proxy) && past == 0,
                $"{Told(bye)}; {Told(answer)}; {past} of these messages at the home agent");
        }
    }

    private void Moving(RowBook rows)
    {
        var (down, up) = (Missed("core-cn", "cn", Protected.Link, Protected.Terminal, s_unacceptable), Missed(Protected.Link, "phone", "core-cn", "core", s_unacceptable));
        var invites = Packets.Count(p => p.Link == "core-cn" && p.Is("sip.Method", Invite) && p.Is("sip.Call-ID", Protected.Call) && p.First("sip.to.tag") is not null);
        var reached = _moves.Count(m => On(m.Link, m.Left, m.Until).Any(p => p.Sender == Protected.Terminal && p.Has("rtp")) && On(m.Link, m.Left, m.Until).Any(p => p.Sender != Protected.Terminal && p.Has("rtp")));
        var ended = _outcomes.GetValueOrDefault(Protected.Call) == 0 && Answered("core-cn", "core", Protected, Bye) is { } answer && answer.Time > _moves[^1].Until;
        var observed = string.Create(CultureInfo.InvariantCulture, $"{reached} of {_moves.Count} with audio both ways on the new link; lost or late down {string.Join(" ", down)}, up {string.Join(" ", up)}; {invites} INVITEs in the dialog; the call {(ended ? "ended by BYE after them" : "did not end as it should")}");
        rows.Check("TM-AC20", "in a call with 20 ms of audio a packet the terminal changes links twenty times: the call goes on and ends by BYE, and nobody invites anew", reached == Moves && _moves.Count == Moves && invites == 0 && ended, observed);
        foreach (var (way, lost) in new[] { ("down", down), ("up", up) })
        {
            rows.Check("TM-AC20", $"lost {way} per move, or so late (400 ms) that nobody would play it: median at most 10 packets, worst at most 25", lost is [.., <= 25] && lost[lost.Count / 2] <= 10, string.Join(" ", lost));
            Measure($"audio lost or later than 400 ms, {way}", lost);
        }

        Measure("audio lost or later than 150 ms, down", Missed("core-cn", "cn", Protected.Link, Protected.Terminal, s_good));
        Measure("audio lost or later than 150 ms, up", Missed(Protected.Link, "phone", "core-cn", "core", s_good));

        void Measure(string name, List<int> counts)
        {
            rows.Measure($"{name}, per move, median of {Moves}", counts[counts.Count / 2], "packets");
            rows.Measure($"{name}, per move, worst of {Moves}", counts[^1], "packets");
        }

        // By sequence number (RFC 3550 5.1): sent after a move began and before the next. Who waits for somebody to come back holds
        // packets meanwhile, the terminal, the home agent, a router; what they bring too late is as good as lost to a telephone.
        List<int> Missed(string from, string sender, string to, string receiver, TimeSpan late)
        {
            var arrived = Audio(to, receiver, Protected).GroupBy(p => p.First("rtp.seq")!).ToDictionary(g => g.Key, g => g.First().Time);
            return
            [
                .. _moves.Select(m => Audio(from, sender, Protected).Count(
                    p => p.Time >= m.Left && p.Time < m.Until && !(arrived.TryGetValue(p.First("rtp.seq")!, out var time) && time - p.Time <= late.TotalNanoseconds))).Order(),
            ];
        }
    }

    private void WithoutHost(RowBook rows)
    {
        var (from, to) = _withoutHost;
        var (sent, arriving, back) = (Between("core-cn", "cn", Plain.Home), Between(Plain.Link, Plain.Terminal, Plain.Home), Between("core-cn", "core", Correspondent));
        var ended = _outcomes.GetValueOrDefault(Plain.Call) == 0;
        rows.Check("TM-AC19", "without the host's own association audio stops, while the tunnel goes on delivering to it and SIP ends the call",
            sent > 25 && arriving > 25 && back == 0 && ended && Answered("core-cn", "core", Plain, Bye) is { } answer && answer.Time > to,
            string.Create(CultureInfo.InvariantCulture, $"in {(to - from) / 1e9:F1} s: {sent} packets sent by the correspondent, {arriving} brought to the host, whose kernel has nothing to open them with; {back} came from it; then {Told(Answered("core-cn", "core", Plain, Bye))}"));

        int Between(string link, string sender, string target) => On(link, from, to).Count(p => p.Sender == sender && p.Has("esp") && p.To(target) && (p.From(Plain.Home) || p.To(Plain.Home)));
    }

    private void WithoutGuest(RowBook rows)
    {
        var (from, to) = _withoutGuest;
        var (sent, offered) = (Count("core-cn", "cn", p => p.Has("rtp")), Count(Protected.Link, "phone", p => p.Has("rtp")));
        var (arriving, back) = (Count(Protected.Link, Protected.Terminal, _ => true), Count("core-cn", "core", p => p.Has("rtp")));
        var (asked, answered) = (Count("core-proxy", "proxy", p => p.Is("sip.Method", Bye)), Count("core-proxy", "core", p => p.Is("sip.CSeq.method", Bye) && p.First("sip.Status-Code") is not null && p.From(Protected.Home)));
        rows.Check("TM-AC19", "without the guest's association everything stops, audio both ways and SIP; with a new one the call ends",
            sent > 10 && offered > 10 && arriving == 0 && back == 0 && asked > 0 && answered == 0 && _back && _outcomes.GetValueOrDefault("call-again") == 0,
            string.Create(CultureInfo.InvariantCulture, $"in {(to - from) / 1e9:F1} s: {sent} sent by the correspondent and {offered} by the host, {arriving} and {back} arrived; {asked} BYE sent by the proxy, {answered} answered; later SIPp's exit status {_outcomes.GetValueOrDefault("call-again")}"));

        int Count(string link, string sender, Func<DissectedPacket, bool> wanted) =>
            On(link, from, to).Count(p => p.Sender == sender && p.First("icmpv6.type") is null && (p.Of("ipv6.src").Contains(Protected.Home) || p.Of("ipv6.dst").Contains(Protected.Home)) && wanted(p));
    }

    private void Layers(RowBook rows)
    {
        var tunnelled = Packets.Where(p => p.Has("rtp") && p.Link.StartsWith("access", StringComparison.Ordinal) && p.Of("esp.spi").Count == 2).ToList();
        var (outer, inner) = (tunnelled.Select(p => p.Of("esp.spi")[0]).Distinct().ToList(), tunnelled.Select(p => p.Of("esp.spi")[1]).Distinct().ToList());
        var known = _lines.SelectMany(l => new[] { Spi(l.Down), Spi(l.Up) }).ToHashSet();
        var clear = Packets.Count(p => p.Has("rtp") && !p.Has("esp"));
        var observed = string.Create(CultureInfo.InvariantCulture, $"{tunnelled.Count} packets with two ESP headers; outer SPIs {string.Join(" ", outer)}, inner {string.Join(" ", inner)}; {clear} packets of audio without ESP");
        foreach (var row in new[] { "TM-AC19", "TM-R92", "TM5.36", "TM-C5", "TM-C14", "TM9.4" })
        {
            rows.Check(row, "two layers of ESP at once, each with its own SPIs: outside the guest's with the home agent, inside the hosts' own, which the home agent passes on closed",
                tunnelled.Count > 100 && outer.Count >= 4 && inner.Count == 4 && !outer.Intersect(inner).Any() && inner.All(known.Contains) && clear == 0, observed);
        }
    }

    private IReadOnlyList<DissectedPacket> Audio(string link, string sender, Line line) =>
        [.. On(link, _calls[line.Call].From, _calls[line.Call].To).Where(p => p.Sender == sender && p.Has("rtp") && (p.Of("ipv6.src").Contains(line.Home) || p.Of("ipv6.dst").Contains(line.Home)))];

    /// <summary>Audio on the access links, to or from the terminal.</summary>
    private IReadOnlyList<DissectedPacket> Visited(Line line, bool down) =>
        [.. On(_calls[line.Call].From, _calls[line.Call].To).Where(p => p.Link.StartsWith("access", StringComparison.Ordinal) && (p.Sender == line.Terminal) != down && p.Has("rtp") && p.Of(down ? "ipv6.dst" : "ipv6.src").Contains(line.Home))];

    private IEnumerable<DissectedPacket> On(long from, long to) => Packets.Where(p => p.Time >= from && p.Time <= to);

    private DissectedPacket? Sip(string link, string sender, Line line, string method) => Packets.FirstOrDefault(p => p.Link == link && p.Sender == sender && p.Is("sip.Method", method) && p.Is("sip.Call-ID", line.Call));

    private DissectedPacket? Answered(string link, string sender, Line line, string method) =>
        Packets.FirstOrDefault(p => p.Link == link && p.Sender == sender && p.Is("sip.Status-Code", "200") && p.Is("sip.CSeq.method", method) && p.Is("sip.Call-ID", line.Call));

    private static HashSet<string> Numbers(IEnumerable<DissectedPacket> packets) => [.. packets.Select(p => $"{p.Of("esp.spi").LastOrDefault()} {p.First("rtp.seq")}")];

    private static string Spi(HostAssociation association) => string.Create(CultureInfo.InvariantCulture, $"0x{association.Spi:x8}");

    /// <summary>Ends of all headers, the care-of address without its number.</summary>
    private static string Inner(DissectedPacket packet, string wanted)
    {
        var all = string.Join(", ", packet.Of("ipv6.src").Zip(packet.Of("ipv6.dst"), (s, d) => $"{Place(s)} > {Place(d)}"));
        return wanted.Contains("CoA", StringComparison.Ordinal) ? all : string.Join(", ", packet.Of("ipv6.src").Zip(packet.Of("ipv6.dst"), (s, d) => $"{s} > {d}"));
    }

    private static string Place(string address) => address.StartsWith("2001:db8:5", StringComparison.Ordinal) ? "CoA" : address;

    private static string Ends(Line line, string between, bool down)
    {
        var outer = down ? $"{line.HomeAgent} > CoA" : $"CoA > {line.HomeAgent}";
        return $"{outer}, {(between.Contains("ipv6", StringComparison.Ordinal) ? outer + ", " : "")}{(down ? $"{Correspondent} > {line.Home}" : $"{line.Home} > {Correspondent}")}";
    }

    private static string Told(DissectedPacket? packet) => packet is null ? "none" : $"{packet.First("sip.Method") ?? packet.First("sip.Status-Code")} {Stack(packet)} {string.Join(", ", packet.Of("ipv6.src").Zip(packet.Of("ipv6.dst"), (s, d) => $"{s} > {d}"))} on {packet.Link}";
}
