using System.Globalization;
using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>What the wires carried, as tshark reads it with the exported keys.</summary>
public sealed partial class Authentication2
{
    private const string AccessChallenge = "11";
    private const string EapPayload = "48", AuthenticationPayload = "39", AuthenticationFailed = "24";
    private const string EapRequest = "1", EapResponse = "2", EapMd5 = "4", EapTtls = "21", Unreachable = "1", Prohibited = "1";
    private const string CmpPort = "8080";

    private static readonly string[] s_columns = ["mn1", "gw", "as", "ca", "ha", "cn"];

    private static readonly IPNetwork s_pool = IPNetwork.Parse("2001:db8:a:8000::/49"), s_visited = IPNetwork.Parse("2001:db8:f0::/44");

    /// <summary>The messages of one terminal's access, in the order that they have to have on the wires.</summary>
    private sealed record Access(
        DissectedPacket? Init, DissectedPacket? Question, DissectedPacket? Answer, DissectedPacket? Request, DissectedPacket? Accept, DissectedPacket? Told, DissectedPacket? Solicit, DissectedPacket? Asked, DissectedPacket? Allowed,
        DissectedPacket? Advertise, DissectedPacket? Wanted, DissectedPacket? Reply, DissectedPacket? Granted)
    {
        public IReadOnlyList<(string Name, DissectedPacket? Packet)> Steps =>
        [
            ("IKE_SA_INIT", Init), ("EAP request", Question), ("EAP response", Answer), ("Access-Request", Request), ("Access-Accept", Accept), ("whose IAID", Told), ("Solicit", Solicit), ("permission?", Asked), ("permission", Allowed),
            ("Advertise", Advertise), ("Request", Wanted), ("Reply", Reply), ("CFG_REPLY", Granted),
        ];

        /// <summary>All there, one after the other.</summary>
        public bool InOrder => Steps.All(s => s.Packet is not null) && Steps.Zip(Steps.Skip(1)).All(pair => pair.First.Packet!.Time < pair.Second.Packet!.Time);

        public override string ToString() => string.Join(", ", Steps.Select(s => s.Packet is null ? $"no {s.Name}" : string.Create(CultureInfo.InvariantCulture, $"{s.Name} +{(s.Packet.Time - (Init?.Time ?? s.Packet.Time)) / 1e6:F1}")));
    }

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        var accesses = new[] { "mn1", "mn2" }.ToDictionary(terminal => terminal, AccessOf);
        rows.Part("Access", () => First(accesses["mn1"], rows));
        rows.Part("Before access", () => BeforeAccess(accesses, rows));
        rows.Part("Prefix", () => Prefix(accesses["mn1"], rows));
        rows.Part("Registration", () => Registration(accesses["mn1"], rows));
        rows.Part("Two terminals", () => Both(accesses, rows));
        rows.Part("Wrong password", () => WrongPassword(rows));
        rows.Part("No permission", () => NoPermission(rows));
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures) => [new LadderChapter("From power-on to the end", new Ladder(s_columns, [.. Steps()]))];

    private string CareOf(string terminal) => Text(_shown[terminal], "careOfAddress");

    private Access AccessOf(string terminal)
    {
        var (from, link, careOf) = (Started[terminal], "access-" + terminal[2..], IPAddress.Parse(CareOf(terminal)));
        DissectedPacket? Of(string on, long after, Func<DissectedPacket, bool> wanted) => On(on, after).FirstOrDefault(wanted);
        bool Ike(DissectedPacket p, bool fromTerminal) => fromTerminal ? p.Sender == terminal && p.To(Gateway) && careOf.Equals(p.Source) : p.Sender == "ar" && p.From(Gateway) && careOf.Equals(p.Destination);
        bool Home(DissectedPacket p, string type) => p.Is("dhcpv6.msgtype", type) && (p.Sender == "gw" ? p.To(RouterLink) : p.From(RouterLink));
        bool Tls(DissectedPacket p, string sender, string port) => p.Sender == sender && (p.Is("tcp.dstport", port) || p.Is("tcp.srcport", port)) && p.First("tcp.len") is not (null or "0");
        var init = Of(link, from, p => Ike(p, true) && p.Is("isakmp.exchangetype", SaInit));
        var question = Of(link, init?.Time ?? from, p => Ike(p, false) && p.Is("isakmp.typepayload", EapPayload) && p.Is("eap.code", EapRequest));
        var answer = Of(link, question?.Time ?? from, p => Ike(p, true) && p.Is("isakmp.typepayload", EapPayload) && p.Is("eap.code", EapResponse) && p.Is("eap.type", EapTtls));
        var request = Of("core-gw", answer?.Time ?? from, p => p.Sender == "gw" && p.To(Server) && p.Is("radius.code", AccessRequest));
        var accept = Of("core-gw", request?.Time ?? from, p => p.Sender == "core" && p.From(Server) && p.Is("radius.code", AccessAccept));
        var told = Of("core-gw", accept?.Time ?? from, p => Tls(p, "gw", IdentityPort));
        var solicit = Of("core-gw", told?.Time ?? from, p => p.Sender == "gw" && Home(p, Solicit));
        var asked = Of("core-ha", solicit?.Time ?? from, p => Tls(p, "ha", PermissionPort));
        var allowed = Of("core-ha", asked?.Time ?? from, p => Tls(p, "core", PermissionPort));
        var advertise = Of("core-gw", solicit?.Time ?? from, p => p.Sender == "core" && Home(p, Advertise));
        var wanted = Of("core-gw", advertise?.Time ?? from, p => p.Sender == "gw" && Home(p, Request));
        var reply = Of("core-gw", wanted?.Time ?? from, p => p.Sender == "core" && Home(p, Reply));
        var granted = Of(link, init?.Time ?? from, p => Ike(p, false) && p.Is("isakmp.typepayload", ConfigurationPayload) && p.Is("isakmp.typepayload", AuthenticationPayload));
        return new Access(init, question, answer, request, accept, told, solicit, asked, allowed, advertise, wanted, reply, granted);
    }

    private void First(Access access, RowBook rows)
    {
        rows.Check("TA-A22", "on the wires: access authentication, Solicit to Reply between gateway and delegating router, then the reply with the prefix", access.InOrder, access.ToString());
        rows.Check("TA2.140", "MN > GW: what it sends first begins authentication", access.Init is { } init && On("access-1", Started["mn1"], init.Time).All(p => p.Sender != "mn1" || !p.To(HomeAgent)), access.Init is null ? "none" : $"{access.Init.Source} > {access.Init.Destination}");
        rows.Check("TA2.141", "GW > MN: EAP request, with the gateway's certificate", access.Question is { } q && q.Is("isakmp.typepayload", "37"), access.Question is null ? "none" : $"payloads {Payloads(access.Question)}");
        rows.Check("TA2.142", "MN > GW: user and password, inside EAP-TTLS inside IKE_AUTH", access.Answer is not null, access.Answer is null ? "none" : $"EAP type {string.Join(",", access.Answer.Of("eap.type"))}, payloads {Payloads(access.Answer)}");
        var radius = On("core-gw", access.Request?.Time ?? 0, access.Accept?.Time ?? 0).Where(p => p.First("radius.code") is not null).ToList();
        rows.Check("TA2.142a", "GW, AS: Access-Request, challenges, Access-Accept naming the terminal", radius.Any(p => p.Is("radius.code", AccessChallenge)) && access.Accept?.First("radius.User_Name") == "mn1.home.example",
            $"codes {string.Join(",", radius.Select(p => p.First("radius.code")))}, User-Name {access.Accept?.First("radius.User_Name")}");
        rows.Check("TA-G8", "gateway and authentication server speak RADIUS between the terminal's answer and the Solicit", access.InOrder && radius.Count > 1 && radius.All(p => p.Time > access.Answer!.Time && p.Time < access.Solicit!.Time), $"{radius.Count} packets of RADIUS; {access}");
        var all = Packets.Where(p => p.First("radius.code") is not null).ToList();
        rows.Check("TA-M51", "a Message-Authenticator in every packet of RADIUS", all.Count > 0 && all.All(p => p.First("radius.Message_Authenticator") is not null), $"{all.Count} packets, {all.Count(p => p.First("radius.Message_Authenticator") is null)} without");
        rows.Check("TA-M52", "EAP in IKEv2, and the prefix as configuration payload of the last answer", access.InOrder && access.Granted!.Is("isakmp.cfg.attr.type", HomePrefixAttribute), access.ToString());
        var bare = Packets.Count(p => p.Is("eap.type", EapMd5));
        rows.Check("TA-M54", "the password goes inside EAP-TTLS, never as EAP-MD5 (and is in no capture)", bare == 0 && access.Answer is not null, $"{bare} packets of EAP-MD5, EAP types of the answer {string.Join(",", access.Answer?.Of("eap.type") ?? [])}");
        rows.Check("TA-D11", "the authentication server's store knows users, passwords and whose terminal they stand for", _granted.Any(t => t.Contains("mn1.home.example", StringComparison.Ordinal) || t.Contains("alice", StringComparison.Ordinal)) && _refusals.Count > 0,
            $"{string.Join("; ", _granted)}; {_refusals.Count} refused");
        rows.Check("TA-P4", "the gateway is requesting router and authorises access", access.Solicit is not null && access.Accept is not null && Text(_shown["gateway"], "state") == "granted", _shown["gateway"].ToString());
        if (access.InOrder)
        {
            rows.Measure("access as the terminal sees it, from IKE_SA_INIT to the prefix", (access.Granted!.Time - access.Init!.Time) / 1e6, "ms");
            rows.Measure("prefix delegation as the gateway sees it", (access.Reply!.Time - access.Solicit!.Time) / 1e6, "ms");
        }
    }

    private void BeforeAccess(Dictionary<string, Access> accesses, RowBook rows)
    {
        var early = accesses.SelectMany(a => On("core-gw", 0, a.Value.Granted?.Time ?? long.MaxValue).Where(p => p.Sender == "gw" && p.From(CareOf(a.Key)))).ToList();
        var others = early.Where(p => !(p.To(Authority) && p.Is("tcp.dstport", CmpPort))).ToList();
        rows.Check("TA-G7", "before access the gateway passes what goes to the authority's CMP port and nothing else", early.Count > 0 && others.Count == 0, $"{early.Count} packets to {Authority}, {others.Count} to others");
        var late = On("core-gw", accesses["mn1"].Granted?.Time ?? long.MaxValue).Count(p => p.Sender == "gw" && p.From(CareOf("mn1")) && p.To(HomeAgent));
        var strangers = Packets.Where(p => p.Link == "core-gw" && p.Sender == "gw" && p.Source is { } source && s_visited.Contains(source) && p.To(HomeAgent) && !p.From(CareOf("mn1")) && !p.From(CareOf("mn2"))).ToList();
        rows.Check("TA-C15", "only terminals that have authenticated reach the home agent", late > 0 && strangers.Count == 0, $"{late} packets of the first terminal after access, {strangers.Count} of terminals without it");
        var through = On("core-gw", _died, _back).Count(p => p.Sender == "gw" && p.To(Correspondent));
        var shut = On("visited", _died, _back).Count(p => p.Sender == "gw" && p.Is("icmpv6.type", Unreachable) && p.Is("icmpv6.code", Prohibited));
        rows.Check("TA-C15", "a gateway that has died leaves its access links shut", _withoutGateway!.Received == 0 && through == 0 && shut > 0, $"ping {_withoutGateway.Summary}, {through} packets behind it, {shut} ICMPv6 1/1 of its kernel");
        var own = Packets.Where(p => p.Link == "core-gw" && p.Sender == "gw" && p.To(Authority) && (p.From(GatewayLink) || p.From(Gateway))).ToList();
        var asked = Packets.Count(p => p.Link == "core-ca" && p.Is("tcp.dstport", PermissionPort) && p.First("tcp.len") is not (null or "0") && !p.From(RouterLink));
        rows.Check("TA-G31", "the gateway never asks the authority; delegating router and home agent do", own.Count == 0 && asked == 0 && accesses["mn1"].Asked is not null, $"{own.Count} packets of the gateway, {asked} questions of others than {RouterLink}");
    }

    private void Prefix(Access access, RowBook rows)
    {
        var lease = _leases.FirstOrDefault(l => Text(l, "identifier") == "mn1.home.example");
        var iaid = uint.TryParse(Text(lease, "iaid"), CultureInfo.InvariantCulture, out var number) ? number.ToString("x8", CultureInfo.InvariantCulture) : "none";
        bool Names(DissectedPacket? p) => p is not null && p.Of("dhcpv6.iaid").Any(i => i.EndsWith(iaid, StringComparison.OrdinalIgnoreCase)) && p.Of("dhcpv6.duid.bytes").Any(d => d.Replace(":", "", StringComparison.Ordinal).Equals(GatewayDuid.Replace(":", "", StringComparison.Ordinal), StringComparison.OrdinalIgnoreCase));
        string Shown(DissectedPacket? p) => p is null ? "none" : $"{p.Source} > {p.Destination}, IAID {string.Join(",", p.Of("dhcpv6.iaid"))}, prefix {p.First("dhcpv6.iaprefix.pref_addr") ?? "none"}";
        rows.Check("TA2.143", "GW > DR: Solicit with the gateway's DUID and the terminal's IAID", Names(access.Solicit), Shown(access.Solicit));
        rows.Check("TA2.143a", "the delegating router finds the terminal's identifier by that IAID", Text(lease, "client") == GatewayDuid && Text(lease, "identifier") == "mn1.home.example", lease.ToString());
        rows.Check("TA2.144", "DR > CA: permission query, inside TLS, between Solicit and Advertise", access.Asked?.Time < access.Advertise?.Time, access.Asked is null ? "none" : $"{access.Asked.Source} > {access.Asked.Destination} {Ms(access.Solicit!.Time, access.Asked.Time)} after the Solicit");
        rows.Check("TA2.146", "CA > DR: the answer, and the Advertise after it", access.Allowed?.Time < access.Advertise?.Time, access.Allowed is null ? "none" : $"{Ms(access.Asked!.Time, access.Allowed.Time)}");
        rows.Check("TA2.147", "DR > GW: Advertise", Names(access.Advertise), Shown(access.Advertise));
        rows.Check("TA2.148", "GW > DR: Request", Names(access.Wanted), Shown(access.Wanted));
        var prefix = access.Reply?.First("dhcpv6.iaprefix.pref_addr");
        rows.Check("TA2.149", "DR > GW: Reply with a prefix of the pool", Names(access.Reply) && prefix is not null && s_pool.Contains(IPAddress.Parse(prefix)), Shown(access.Reply));
        var value = access.Granted?.Of("isakmp.cfg.attr.value").Select(v => v.Replace(":", "", StringComparison.Ordinal)).ToList() ?? [];
        var carried = prefix is null ? "none" : Convert.ToHexStringLower(IPAddress.Parse(prefix).GetAddressBytes().AsSpan(0, 8));
        rows.Check("TA2.150", "GW > MN: the last answer of IKE_AUTH carries the prefix (MIP6_HOME_PREFIX)", access.Granted is { } granted && granted.Is("isakmp.cfg.attr.type", HomePrefixAttribute) && value.Any(v => v.Contains(carried, StringComparison.Ordinal)) && granted.Time > access.Reply?.Time,
            $"attributes {string.Join(",", access.Granted?.Of("isakmp.cfg.attr.type") ?? [])}: {string.Join(",", value)}; delegated {prefix}");
        var solicited = On("access-1").Concat(On("access-2")).Concat(On("access-3")).Count(p => p.First("dhcpv6.msgtype") is not null);
        rows.Check("TA-C14", "the terminals themselves say nothing of prefix delegation", solicited == 0 && Text(_shown["mn1"], "homeAddress").Length > 0, $"{solicited} DHCPv6 messages on access links");
    }

    private void Registration(Access access, RowBook rows)
    {
        var home = Text(_shown["mn1"], "homeAddress");
        var prefix = access.Reply?.First("dhcpv6.iaprefix.pref_addr");
        var after = On("access-1", access.Granted?.Time ?? long.MaxValue).ToList();
        var discovery = after.Find(p => p.Sender == "mn1" && p.Is("icmpv6.type", DiscoveryRequest));
        var ike = after.Find(p => p.Sender == "mn1" && p.To(HomeAgent) && p.Is("isakmp.exchangetype", SaInit));
        var update = after.Find(p => p.Sender == "mn1" && p.To(HomeAgent) && p.Is("mip6.mhtype", BindingUpdate) && p.First("esp.spi") is not null);
        var acknowledgement = after.Find(p => p.Sender == "ar" && p.From(HomeAgent) && p.Is("mip6.mhtype", BindingAcknowledgement) && p.First("esp.spi") is not null);
        rows.Check("TA2.151", "home address in that prefix, discovery, IKE, and registration under ESP, all after access",
            prefix is not null && IPAddress.TryParse(home, out var address) && new IPNetwork(IPAddress.Parse(prefix), 64).Contains(address) && discovery?.Time < ike?.Time && ike?.Time < update?.Time && update?.Time < acknowledgement?.Time && update!.Is("ipv6.opt.mipv6.home_address", home),
            $"{home}; discovery, IKE, BU, BA {string.Join(", ", new[] { discovery, ike, update, acknowledgement }.Select(p => p is null ? "none" : Ms(access.Granted!.Time, p.Time)))} after the prefix");
        rows.Check("TA-A22", "the terminal is reached at its home address, and reaches others", _toTerminal!.AllArrived && _toCorrespondent!.AllArrived, $"{_toTerminal.Summary}; {_toCorrespondent!.Summary}");
        if (acknowledgement is not null)
        {
            rows.Measure("from power-on to the registration", (acknowledgement.Time - Started["mn1"]) / 1e6, "ms");
        }
    }

    private void Both(Dictionary<string, Access> accesses, RowBook rows)
    {
        var gateway = _leases.Where(l => Text(l, "client") == GatewayDuid && Text(l, "state") == "allocated").ToList();
        rows.Check("TA-A23", "two IAIDs under the gateway's DUID, two prefixes", accesses.Values.All(a => a.InOrder) && gateway.Count == 2 && gateway.Select(l => Text(l, "iaid")).Distinct().Count() == 2 && gateway.Select(l => Text(l, "prefix")).Distinct().Count() == 2,
            string.Join("; ", gateway.Select(l => $"{Text(l, "identifier")} IAID {Text(l, "iaid")} {Text(l, "prefix")}")));
        var written = _identities.Where(i => Text(i, "duid") == GatewayDuid).ToList();
        rows.Check("TA-A23", "two identifiers in the table of identities", written.Select(i => Text(i, "identifier")).Order(StringComparer.Ordinal).SequenceEqual(["mn1.home.example", "mn2.home.example"]), string.Join("; ", written.Select(i => $"{Text(i, "identifier")} {Text(i, "origin")}")));
        rows.Check("TA-G6", "the gateway wrote these rows, each before its Solicit", written.Count == 2 && written.All(i => Text(i, "origin") == "gateway") && accesses.Values.All(a => a.Told?.Time < a.Solicit?.Time), string.Join("; ", accesses.Select(a => $"{a.Key} {(a.Value.Told is { } t && a.Value.Solicit is { } s ? Ms(t.Time, s.Time) : "?")}")));
    }

    private void WrongPassword(RowBook rows)
    {
        var (from, to) = (_wrongStarted, _wrongEnded);
        var rejects = On("core-gw", from, to).Count(p => p.Sender == "core" && p.Is("radius.code", AccessReject));
        var failures = On("access-3", from, to).Where(p => p.Sender == "ar" && p.From(Gateway) && (p.Is("eap.code", EapFailure) || p.Is("isakmp.notify.msgtype", AuthenticationFailed))).ToList();
        rows.Check("TA2.142x", "AS > GW Access-Reject, GW > MN EAP failure: no association", rejects > 0 && failures.Count > 0 && !On("access-3", from, to).Any(p => p.Is("isakmp.typepayload", ConfigurationPayload) && p.From(Gateway)), $"{rejects} rejected, {failures.Count} negative replies");
        var asked = On("core-gw", from, to).Count(p => p.Sender == "gw" && (p.First("dhcpv6.msgtype") is not null || (p.Is("tcp.dstport", IdentityPort) && p.First("tcp.len") is not (null or "0"))));
        var errors = On("access-3", from, to).Where(p => p.Sender == "ar" && p.From(Gateway) && p.Is("icmpv6.type", Unreachable) && p.Is("icmpv6.code", Prohibited)).ToList();
        var passed = On("core-gw", from, to).Count(p => p.Sender == "gw" && p.From(_careOf3) && p.To(HomeAgent));
        rows.Check("TA-N24", "no Solicit, nothing told to the delegating router; its packets to the home agent stay at the gateway and are answered with ICMPv6 1/1", asked == 0 && errors.Count > 0 && passed == 0 && _shutOut!.Received == 0,
            $"{asked} messages to the delegating router, {passed} of its packets behind the gateway, {errors.Count} ICMPv6 1/1, ping {_shutOut!.Summary}");
        rows.Check("TA-I5", "without access authentication no Solicit and no way home", rejects > 0 && asked == 0 && passed == 0 && _shutOut.Sent > 0 && _shutOut.Received == 0, $"{rejects} Access-Reject, {asked} messages to the delegating router, {passed} of {_shutOut.Sent} pings home behind the gateway");
    }

    private void NoPermission(RowBook rows)
    {
        var accept = On("core-gw", _retried).FirstOrDefault(p => p.Sender == "core" && p.Is("radius.code", AccessAccept));
        var advertise = On("core-gw", accept?.Time ?? long.MaxValue).FirstOrDefault(p => p.Sender == "core" && p.Is("dhcpv6.msgtype", Advertise));
        var request = On("core-gw", accept?.Time ?? long.MaxValue).FirstOrDefault(p => p.Sender == "gw" && p.Is("dhcpv6.msgtype", Request));
        var negative = On("access-3", accept?.Time ?? long.MaxValue).FirstOrDefault(p => p.Sender == "ar" && p.From(Gateway) && p.Is("isakmp.notify.msgtype", AuthenticationFailed));
        var row = _permissions.FirstOrDefault(p => Text(p, "identifier") == "mn3.home.example");
        rows.Check("TA2.145", "the authority looks up the identifier's flag: with it there is a prefix, without it none", Text(row, "allowed") == "False" && advertise is not null && advertise.First("dhcpv6.iaprefix.pref_addr") is null && request is null
            && _permissions.Any(p => Text(p, "identifier") == "mn1.home.example" && Text(p, "allowed") == "True"), $"{row}; Advertise {(advertise is null ? "none" : "without prefix")}");
        rows.Check("TA2.150x", "after the Access-Accept the negative reply of IKE_AUTH, and the reason in the gateway's log", accept is not null && negative is not null && negative.Time > advertise?.Time && _gatewayRefusals.Any(t => t.Contains("no prefix", StringComparison.Ordinal)), _gatewayRefusals.LastOrDefault() ?? "none");
        rows.Check("TA-N25", "no prefix, and access withdrawn", !_leasesAtEnd.Any(l => Text(l, "identifier") == "mn3.home.example" && Text(l, "state") == "allocated") && !_sessionsAtEnd.Any(s => Text(s, "nai") == "mn3.home.example") && negative is not null
            && !On("core-gw", _retried).Any(p => p.Sender == "gw" && p.From(_careOf3) && !p.To(Authority)), $"{_sessionsAtEnd.Count} sessions, {_leasesAtEnd.Count} leases");
    }

    /// <summary>The first terminal's story: its own packets on its link, the gateway's on the way home.</summary>
    private IEnumerable<LadderStep> Steps()
    {
        var seen = new HashSet<string>();
        foreach (var packet in Packets.Where(p => (p.Link is "access-1" or "core-gw" || (p.Link == "core-ha" && p.Is("tcp.dstport", PermissionPort))) && p.Time >= Started["mn1"] && p.Time < Started["mn2"]))
        {
            var (name, kind) = Describe(packet);
            var (from, to) = (OwnerOf(packet.Source), OwnerOf(packet.Destination));
            if (name is not null && from is not null && to is not null && (packet.Link == "access-1") == (from == "mn1" || to == "mn1") && (kind != LadderKind.Protected || seen.Add($"{from} {to} {name}")))
            {
                yield return new LadderStep((packet.Time - Started["mn1"]) / 1e6, from, to, name, $"{packet.Source} > {packet.Destination}", kind);
            }
        }
    }

    private string? OwnerOf(IPAddress? address) => ServerOf(address) ?? (address?.ToString() == CareOf("mn1") ? "mn1" : null);
}
