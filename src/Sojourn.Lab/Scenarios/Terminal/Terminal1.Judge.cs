using System.Globalization;
using System.Net;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>What the links, tables and programs showed.</summary>
public sealed partial class Terminal1
{
    private static readonly string[] s_neighbourDiscovery = ["133", "134", "135", "136", "143"];

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        rows.Part("registration", () => JudgeRegistration(rows));
        rows.Part("home link", () => JudgeHomeLink(rows));
        rows.Part("being called", () => JudgeCall(rows));
        rows.Part("names and programs", () => JudgePrograms(rows));
        rows.Part("names over TCP", () => JudgeStreams(rows));
        rows.Part("errors", () => JudgeErrors(rows));
        rows.Part("download", () => JudgeDownload(rows));
        rows.Part("shell", () => JudgeShell(rows));
        rows.Part("path MTU", () => JudgeSizes(rows));
        rows.Part("narrow tunnel", () => JudgeNarrowTunnel(rows));
        rows.Part("access links", () => JudgeLinks(rows));
        rows.Part("headers", () => JudgeHeader(rows));
        rows.Part("kernel", () => JudgeKernel(rows, _kernel, "an IPv4 client of an IPv6-only server"));
    }

    /// <summary>On an access link, after a moment.</summary>
    private IEnumerable<DissectedPacket> Visited(long from = 0, long to = long.MaxValue) => On("access-5b", from, to).Concat(On("access-5a", from, to)).OrderBy(p => p.Time);

    private static bool IsTunnelled(DissectedPacket packet, string outerSource, string outerDestination, string innerSource, string innerDestination) =>
        packet.Of("ipv6.src") is [var o, var i, ..] && packet.Of("ipv6.dst") is [var od, var id, ..] && packet.First("esp.spi") is null
        && (o, od, i, id) == (outerSource, outerDestination, innerSource, innerDestination);

    private void JudgeRegistration(RowBook rows)
    {
        var careOf = Text(Only("tunnels registered"), "start");
        rows.Check("TM1.1", "10000 is valid, alone", () =>
        {
            var valid = _shown["scenarios registered"].Where(s => Text(s, "valid") == "True").Select(s => Text(s, "number")).ToList();
            return (valid is ["10000"], string.Join(" ", valid));
        });
        foreach (var row in (string[])["TM1.2", "TM0.2"])
        {
            rows.Check(row, "the care-of address has the prefix advertised on the foreign link", careOf.StartsWith("2001:db8:5b:", StringComparison.Ordinal) && _shown["tunnels before"].Count == 0, careOf);
        }

        var update = On("access-5b").FirstOrDefault(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate));
        rows.Check("TM1.3", "the update is L1: home address option, no IPsec, to the home agent", update is not null && update.To(HomeAgent) && update.Is("ipv6.opt.mipv6.home_address", Home) && update.First("esp.spi") is null, Line(update));
        var answer = On("access-5b").FirstOrDefault(p => p.Sender == "ar-b" && p.Is("mip6.mhtype", BindingAcknowledgement));
        foreach (var row in (string[])["TM1.5", "TM-FS1", "TM-A-1"])
        {
            rows.Check(
                row, "the acknowledgement is L2: routing header with the home address, no IPsec, status below 128; it runs 10000",
                answer is not null && answer.From(HomeAgent) && answer.Is("ipv6.routing.mipv6.home_address", Home) && answer.First("esp.spi") is null && int.Parse(answer.First("mip6.ba.status") ?? "255", NumberStyles.None, CultureInfo.InvariantCulture) < 128
                    && _choices.All(c => c.StartsWith("10000", StringComparison.Ordinal)),
                Line(answer));
        }

        var listed = _shown["binding-list registered"].SingleOrDefault(e => Text(e, "list") == "registration");
        foreach (var row in (string[])["TM1.6", "TM-P6"])
        {
            rows.Check(
                row, "the list names home agent, home address, care-of address and a life time; before there was nothing",
                _shown["binding-list before"].Count == 0 && Text(listed, "peer") == HomeAgent && Text(listed, "homeAddress") == Home && Text(listed, "careOfAddress") == careOf && Text(listed, "state") == "registered" && Text(listed, "expires").Length > 0, listed.ToString());
        }

        foreach (var row in (string[])["TM1.7", "TM1.8"])
        {
            rows.Check(row, "the acknowledgement has chosen program 10000", _choices.Count > 0 && _choices.All(c => c.StartsWith("10000", StringComparison.Ordinal)), string.Join("; ", _choices));
        }

        rows.Check("TM1.9", "the tunnel leads from the care-of address to the home agent", Text(Only("tunnels registered"), "end") == HomeAgent && Text(Only("tunnels registered"), "homeAddress") == Home, Only("tunnels registered").ToString());
        var own = Entries("registered").SingleOrDefault(e => Text(e, "kind") == "own");
        rows.Check("TM1.10", "the home address is shown as the pool's first address, which the host has; before there was nothing",
            _shown["translation before"].Count == 0 && Text(own, "ipv6Address") == Home && Text(own, "ipv4Address") == Host && _addresses.Contains($"inet {Host}/32", StringComparison.Ordinal) && !_addresses.Contains(Home, StringComparison.Ordinal),
            $"{own}; {_addresses.ReplaceLineEndings(" ")}");

        var later = Entries("end").Where(e => Text(e, "kind") == "own").ToList();
        var refreshed = Visited(_times["registered"].To).Count(p => p.Sender != "mn" && p.Is("mip6.mhtype", BindingAcknowledgement));
        rows.Check("TM-AC03", "acknowledgements after the first keep the address and renew the entry",
            refreshed > 0 && later.Count == 1 && Text(later[0], "ipv4Address") == Host && DateTimeOffset.Parse(Text(later[0], "expires"), CultureInfo.InvariantCulture) > DateTimeOffset.Parse(Text(own, "expires"), CultureInfo.InvariantCulture),
            $"{refreshed} acknowledgements, {string.Join("; ", later)}");
    }

    private void JudgeCall(RowBook rows)
    {
        var entry = Entries("called").SingleOrDefault(e => Text(e, "ipv6Address") == Correspondent);
        var shown = Text(entry, "ipv4Address");
        var served = _ran["called"] is { ExitCode: 0 } called && called.Output.Contains("this is mn", StringComparison.Ordinal);
        var observed = $"{entry}; the application saw {_callers.ReplaceLineEndings(" ")}; {_ran["called"].Output.Trim()}";
        var sound = served && shown.StartsWith("198.18.", StringComparison.Ordinal) && Text(entry, "origin") == "packet" && _callers.Contains(shown, StringComparison.Ordinal);
        foreach (var row in (string[])["TM-AC06", "TM1.15", "TM1.16", "TM-R81"])
        {
            rows.Check(row, "a correspondent's first packet makes an entry, and the application is called from its virtual address", sound && !Entries("registered").Any(e => Text(e, "kind") == "correspondent"), observed);
        }
    }

    private void JudgePrograms(RowBook rows)
    {
        var shown = _ran["named"].Output.Trim();
        var page = _ran["fetched"].Output.Trim();
        var fetched = _ran["fetched"].ExitCode == 0 && page.Contains("this is cn", StringComparison.Ordinal) && page.EndsWith($"200 {Host} {shown}", StringComparison.Ordinal);
        var (from, to) = _times["fetched"];
        var careOf = Text(Only("tunnels registered"), "start");
        var up = On("access-5b", from, to).Count(p => p.Sender == "mn" && IsTunnelled(p, careOf, HomeAgent, Home, Correspondent));
        var down = On("access-5b", from, to).Count(p => p.Sender == "ar-b" && IsTunnelled(p, HomeAgent, careOf, Correspondent, Home));
        var plainUp = On("core-cn", from, to).Count(p => p.Sender == "core" && p.From(Home) && p.To(Correspondent) && p.Of("ipv6.src").Count == 1);
        var plainDown = On("core-cn", from, to).Count(p => p.Sender == "cn" && p.From(Correspondent) && p.To(Home));
        var observed = string.Create(CultureInfo.InvariantCulture, $"curl: {page.ReplaceLineEndings(" ")}; L6 {up}, L5 {down}, at the correspondent {plainUp} from and {plainDown} to the home address");
        foreach (var row in (string[])["TM-AC01", "TM1.12", "TM1.13", "TM1.14", "TM1.17", "TM1.18", "TM1.19", "TM1.20", "TM1.21", "TM-R80", "TM-R83", "TM-C1", "TM-C13", "TM1.22", "TM-P7", "TM-P8", "TM-A-12", "TM-A-36"])
        {
            rows.Check(row, "an unmodified IPv4 client reads an IPv6-only page: L6 up, L5 down, and the correspondent sees the home address", fetched && Math.Min(Math.Min(up, down), Math.Min(plainUp, plainDown)) > 2, observed);
        }

        var named = IPAddress.TryParse(shown, out _) && _ran["named again"].Output.Trim() == shown;
        var names = $"{Name1} is {shown}, again {_ran["named again"].Output.Trim()}, {shown} is {_ran["reversed"].Output.Trim()}";
        foreach (var row in (string[])["TM-AC39", "TM-R85", "TM-S14", "TM-A-18"])
        {
            rows.Check(row, "the name has the same virtual address each time, and the address its name", named && _ran["reversed"].Output.Trim() == Name1 + "." && Text(Entry("used", Correspondent), "ipv4Address") == shown, names);
        }

        var traced = _ran["traced"].Output.Trim().Split('\n').Skip(1).Select(l => l.Trim()).ToList();

        // The first long answer may be the one by which the correspondent learns how much the tunnel carries.
        var answered = _ran["pinged long"].Output.Contains(" 4 received", StringComparison.Ordinal) || _ran["pinged long"].Output.Contains(" 3 received", StringComparison.Ordinal);
        rows.Check("TM-AC38", "ping and a long ping are answered", _ran["pinged"].Output.Contains(" 0% packet loss", StringComparison.Ordinal) && answered, $"{Last(_ran["pinged"])}; {Last(_ran["pinged long"])}");
        rows.Check("TM-AC38", "traceroute shows the guest first, routers under virtual addresses, and the correspondent last",
            traced.Count > 2 && traced[0].Contains(Resolver, StringComparison.Ordinal) && traced[^1].Contains(shown, StringComparison.Ordinal) && traced.Skip(1).SkipLast(1).Any(l => l.Contains(" 198.18.", StringComparison.Ordinal)), string.Join(" | ", traced));

        var entry = Entry("used", Web6);
        var literal = _ran["literal"].Output.Trim();
        foreach (var row in (string[])["TM-AC40", "TM-R82", "TM-A-17"])
        {
            rows.Check(row, "an IPv4 address is reached through the NAT64, and the table has both addresses",
                literal.Contains("this is web4", StringComparison.Ordinal) && literal.EndsWith("200 " + Web4, StringComparison.Ordinal) && Text(entry, "kind") == "virtual-ipv6" && Text(entry, "ipv4Address") == Web4
                && On("web").Any(p => p.Sender == "nat64" && p.Has("tcp")), $"{literal.ReplaceLineEndings(" ")}; {entry}");
        }

        rows.Check("TM-NC13", "packets from an address that the host was not given are dropped and counted, nothing leaves",
            _foreignAfter - _foreignBefore >= 3 && _shown["translation refused"].Count == _shown["translation used"].Count, string.Create(CultureInfo.InvariantCulture, $"xlat.src_miss_up {_foreignBefore} to {_foreignAfter}"));
    }

    /// <summary>BIND says 60 addresses to nobody by UDP: what comes whole has come by TCP.</summary>
    private void JudgeStreams(RowBook rows)
    {
        static string[] Lines(Nodes.CommandResult result) => [.. result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(l => !l.StartsWith(';'))];
        var (byTcp, byUdp, shown) = (Lines(_ran["all by TCP"]), Lines(_ran["all by UDP"]), Lines(_ran["shown"]));
        var asked = On("core-dns").Where(p => p.From(Home) && p.Is("tcp.dstport", "53")).Select(p => p.First("tcp.srcport")).Distinct().Count();
        rows.Check("TM-R85", "what a name server has no room for by UDP comes whole to an application that asks by TCP, that is told to, and that asks for virtual addresses",
            byTcp.Distinct().Count() == ManyAddresses && byUdp.Distinct().Count() == ManyAddresses && shown.Length == 8 && shown.All(l => l.StartsWith("198.18.", StringComparison.Ordinal))
            && Lines(_ran["one by TCP"]).SequenceEqual([_ran["named"].Output.Trim()]) && asked == 3,
            string.Create(CultureInfo.InvariantCulture, $"{byTcp.Length} and {byUdp.Length} addresses, {shown.Length} virtual ones; {Name1} by TCP: {_ran["one by TCP"].Output.Trim()}; {asked} connections from the home address to the name server; {_ran["all by TCP"].Errors}{(byTcp.Length < ManyAddresses ? _ran["all by TCP"].Output : "")}"));
    }

    private void JudgeErrors(RowBook rows)
    {
        var told = Visited().Where(IsAboutTunnel).ToList();
        var said = _ran["unreachable"].Output.Split('\n').FirstOrDefault(l => l.Contains("Unreachable", StringComparison.Ordinal)) ?? "nothing";
        rows.Check("TM-R73", "a router's error about a packet of the tunnel reaches the IPv4 application whose packet was inside",
            told.Count > 0 && said.Contains("Destination Host Unreachable", StringComparison.Ordinal), $"on the link {Line(told.FirstOrDefault())}; ping: {said.Trim()}");
    }

    /// <summary>Destination unreachable to the care-of address, quoting a packet from the home address inside the tunnel.</summary>
    private static bool IsAboutTunnel(DissectedPacket packet) =>
        packet.Sender != "mn" && packet.First("icmpv6.type") == "1" && packet.Of("ipv6.src") is [_, _, Home, ..] && packet.Of("ipv6.dst") is [_, HomeAgent, ..];

    private void JudgeSizes(RowBook rows)
    {
        var told = Visited(0, _times["narrow"].From).Where(p => p.Is("icmpv6.type", "2")).Select(p => p.First("icmpv6.mtu")).Distinct().ToList();
        var sent = _ran["sent"].ExitCode == 0;
        rows.Check("TM-AC38", "a narrow link's Packet Too Big reaches the host as fragmentation needed, 20 octets less, and TCP adapts",
            told is ["1320"] && _ran["too big"].Output.Contains("mtu = 1300", StringComparison.Ordinal) && _ran["route"].Output.Contains("mtu 1300", StringComparison.Ordinal) && sent,
            $"on the link {string.Join(" ", told)}; ping: {_ran["too big"].Output.Split('\n').FirstOrDefault(l => l.Contains("mtu", StringComparison.Ordinal))?.Trim()}; route: {_ran["route"].Output.ReplaceLineEndings(" ")}; iperf3: {_ran["sent"].Output.Trim().Split('\n').Reverse().FirstOrDefault(l => l.Contains("receiver", StringComparison.Ordinal))?.Trim()}");
    }

    private void JudgeNarrowTunnel(RowBook rows)
    {
        var (from, to) = _times["narrow"];
        var told = Visited(from, to).Concat(On("core-b", from, to)).Where(p => p.Is("icmpv6.type", "2")).Select(p => p.First("icmpv6.mtu")).ToHashSet();
        var longest = On("core-b", from, to).Select(p => int.Parse(p.First("frame.len") ?? "0", NumberStyles.None, CultureInfo.InvariantCulture)).DefaultIfEmpty(0).Max();
        var lost = Receiver("datagrams") is { } line && line.Split('(') is [.., var last] && double.TryParse(last.Split('%')[0], CultureInfo.InvariantCulture, out var percent) ? percent : 100;
        var pinged = _ran["long pings"].Output.Contains(" 5 received", StringComparison.Ordinal) || _ran["long pings"].Output.Contains(" 4 received", StringComparison.Ordinal) || _ran["long pings"].Output.Contains(" 3 received", StringComparison.Ordinal);
        rows.Check("TM-AC37", "over links of 1500 and 1280 octets TCP ends both ways, datagrams of 1400 octets and long pings arrive; the host's device has 1440, and nothing on the narrow link is longer than that takes",
            _ran["bulk up"].ExitCode == 0 && _ran["bulk down"].ExitCode == 0 && lost < 10 && pinged && told.Contains("1280") && longest is > 1200 and <= 1294 && _ran["device"].Output.Contains("mtu 1440", StringComparison.Ordinal),
            $"up {Receiver("bulk up")}; down {Receiver("bulk down")}; datagrams {Receiver("datagrams")}; {Last(_ran["long pings"])}; told {string.Join(" ", told)}; longest frame {longest}; {_ran["device"].Output.Trim()}");

        string? Receiver(string moment) => _ran[moment].Output.Trim().Split('\n').LastOrDefault(l => l.Contains("receiver", StringComparison.Ordinal))?.Trim();
    }

    private void JudgeLinks(RowBook rows)
    {
        // Before the tunnel's entry had to cut packets.
        var visited = Visited(_times["registered"].From, _times["narrow"].From).ToList();
        var other = visited.Where(p => !IsExpected(p)).ToList();
        var all = visited.Count;
        rows.Check("TM-AC01", "on the access links there is neighbour discovery, L1, L2, L5 and L6 alone, and no IPv4", other.Count == 0 && all > 1000,
            string.Create(CultureInfo.InvariantCulture, $"{all} packets, {other.Count} others{(other.Count > 0 ? ": " + string.Join("; ", other.Take(3).Select(Line)) : "")}"));
    }

    /// <summary>Part 23's header is a UDP header from the number of the adding part to the scenario number.</summary>
    private void JudgeHeader(RowBook rows)
    {
        var headers = Packets.Where(p => p.First("udp.srcport") is "24" or "25" or "251" && p.Of("udp.dstport").Any(port => int.Parse(port, NumberStyles.None, CultureInfo.InvariantCulture) is >= 10000 and <= 10023)).ToList();
        var datagrams = Packets.Count(p => p.First("udp.dstport") is not null);
        foreach (var row in (string[])["TM-FS3", "TM-A-3"])
        {
            rows.Check(row, "no link carries a scenario header", _choices.Count > 0 && datagrams > 10 && headers.Count == 0, string.Create(CultureInfo.InvariantCulture, $"{headers.Count} to ports 10000 to 10023 among {datagrams} datagrams"));
        }

        var foreign = Packets.Where(p => p.Link != "web" && (p.Has("ip") || p.Has("arp"))).ToList();
        rows.Check("TM-P26", "home, IP and visited networks are IPv6", Packets.Count > 1000 && foreign.Count == 0, $"{foreign.Count} packets of IPv4 on other links than the IPv4 server's{(foreign.Count > 0 ? ": " + Line(foreign[0]) : "")}");
    }

    private static bool IsExpected(DissectedPacket packet)
    {
        if (IsAboutTunnel(packet))
        {
            return true;
        }

        if (packet.Has("ip") || packet.Has("arp") || packet.First("esp.spi") is not null)
        {
            return false;
        }

        var (sources, destinations) = (packet.Of("ipv6.src"), packet.Of("ipv6.dst"));
        return sources.Count >= 2
            ? (sources[0] == HomeAgent && destinations[1] == Home) || (destinations[0] == HomeAgent && sources[1] == Home)
            : packet.First("mip6.mhtype") is BindingUpdate or BindingAcknowledgement || s_neighbourDiscovery.Contains(packet.First("icmpv6.type"));
    }

    private IEnumerable<JsonElement> Entries(string moment) => _shown["translation " + moment];

    private JsonElement Entry(string moment, string address) => Entries(moment).FirstOrDefault(e => Text(e, "ipv6Address") == address);

    private JsonElement Only(string table) => _shown[table] is [var only] ? only : default;

    private static string Line(DissectedPacket? packet) => packet is null ? "none" : $"{string.Join(":", packet.Protocols)} {string.Join(",", packet.Of("ipv6.src"))} > {string.Join(",", packet.Of("ipv6.dst"))} {packet.First("icmpv6.type")}";

    private static string Last(Nodes.CommandResult result) => result.Output.Trim().Split('\n').Reverse().FirstOrDefault(l => l.Contains("packet loss", StringComparison.Ordinal)) ?? result.Errors.Trim();
}
