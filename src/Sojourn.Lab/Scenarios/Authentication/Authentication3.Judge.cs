using System.Globalization;
using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>What the wires carried, as tshark reads it with the exported keys.</summary>
public sealed partial class Authentication3
{
    private static readonly string[] s_columns = ["mn1", "ar1", "ar2", "gw", "as", "ca", "ha", "cn"];

    private IPAddress? _onLink, _anchored;

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        var trigger = On("access-1", Started["mn1"]).FirstOrDefault(p => p.Sender == "mn1" && Local(p) && p.First("esp.spi") is null);
        _onLink = trigger?.Source;
        _anchored = trigger?.First("ipv6.opt.mipv6.home_address") is { } text ? IPAddress.Parse(text) : null;
        rows.Part("Device", () => Device(trigger, rows));
        rows.Part("Advertisement", () => Advertisement(trigger, rows));
        rows.Part("Access", () => Access(trigger, rows));
        rows.Part("Registration", () => Registration(rows));
        rows.Part("Movement", () => Movement(rows));
        rows.Part("Wrong password", () => WrongPassword(rows));
        rows.Part("Forgery", () => Forgery(rows));
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures) => [new LadderChapter("The first terminal, from power-on to the end", new Ladder(s_columns, [.. Steps()]))];

    private static bool Set(DissectedPacket packet, string flag) => packet.Of(flag).Any(f => f is "1" or "True");

    /// <summary>A local binding update: to the anchor point, not through the tunnel to it.</summary>
    private static bool Local(DissectedPacket p) => p.To(Gateway) && p.Of("ipv6.src").Count == 1 && p.Is("mip6.mhtype", BindingUpdate);

    private static bool LocalAnswer(DissectedPacket p) => p.From(Gateway) && p.Of("ipv6.src").Count == 1 && p.Is("mip6.mhtype", BindingAcknowledgement);

    /// <summary>Through the tunnel to the anchor point, and what is inside.</summary>
    private bool InTunnel(DissectedPacket p) => p.Sender == "mn1" && p.To(Gateway) && p.Of("ipv6.src") is [_, var inner, ..] && IPAddress.Parse(inner).Equals(_anchored);

    private static string Shown(DissectedPacket? p) => p is null ? "none" : $"{p.Source} > {p.Destination}, home address {p.First("ipv6.opt.mipv6.home_address") ?? p.First("ipv6.routing.mipv6.home_address")}, SPI {p.First("esp.spi") ?? "none"}, status {p.First("mip6.ba.status") ?? "-"}";

    private void Device(DissectedPacket? trigger, RowBook rows)
    {
        var signOn = SignOnOf("mn1", "access-1", Started["mn1"], _opened);
        rows.Check("TA3.163p", "device authentication, then the store, then the certificate, and only then the local binding update", signOn.InOrder && trigger?.Time > signOn.Of("pkiConf"), $"{signOn}; local update {(trigger is null ? "not seen" : Ms(signOn.Of("pkiConf") ?? trigger.Time, trigger.Time) + " after the certificate")}");
        JudgeTerminal(rows, signOn, Text(_shown["mn1"], "state"));

        // The new link's port is shut as well: the device proves itself there, and only then is the anchor point told.
        var asked = On("access-2", _moved).FirstOrDefault(p => p.Sender == "mn1" && p.Is("eapol.type", EapolStart));
        var told = On("access-2", asked?.Time ?? long.MaxValue).FirstOrDefault(p => p.Sender != "mn1" && IsEapol(p) && p.Is("eap.code", EapSuccess));
        var update = On("access-2", _moved).FirstOrDefault(p => p.Sender == "mn1" && Local(p));
        rows.Check("TA3.163p", "on another access link the device proves itself anew before the anchor point is told", told is not null && update?.Time > told.Time, told is null || asked is null ? "no success" : $"success {Ms(asked.Time, told.Time)} after the announcement, local update {(update is null ? "not seen" : Ms(told.Time, update.Time) + " after that")}");
        if (asked is not null && told is not null)
        {
            rows.Measure("device authentication on the link moved to, from announcement to success", (told.Time - asked.Time) / 1e6, "ms");
        }
    }

    private void Advertisement(DissectedPacket? trigger, RowBook rows)
    {
        var advertised = On("access-1", 0, trigger?.Time ?? long.MaxValue).FirstOrDefault(p => p.Sender == "ar1" && p.Is("icmpv6.type", RouterAdvertisement));
        rows.Check("TA3.161", "AR > MN: router advertisement with the anchor point", advertised is not null && advertised.Is("icmpv6.opt.map.global_address", Gateway) && advertised.Is("icmpv6.opt.prefix", s_first.BaseAddress.ToString()),
            advertised is null ? "none" : $"prefix {advertised.First("icmpv6.opt.prefix")}, anchor {string.Join(",", advertised.Of("icmpv6.opt.map.global_address"))}");
        foreach (var row in (string[])["TA3.162", "TM0.10"])
        {
            rows.Check(row, "the terminal forms a regional address of the anchor point's prefix and an on-link address", _onLink is not null && s_first.Contains(_onLink) && _anchored is not null && s_regional.Contains(_anchored) && !_anchored.Equals(IPAddress.Parse(Gateway)), $"{_anchored} at {_onLink}");
        }

        rows.Check("TA3.163", "MN > MAP: local binding update with A and M, from the on-link address, with the regional one as home address", trigger is not null && Set(trigger, "mip6.bu.a_flag") && Set(trigger, "mip6.bu.m_flag") && !Set(trigger, "mip6.bu.h_flag"), Shown(trigger));
        var certified = On("access-1", Started["mn1"]).FirstOrDefault(p => p.Sender == "ar1" && p.Is("cmp.body", PkiConfirm));
        rows.Check("TA-M67", "anchor option, local update with A and M, association by IKEv2; the certificate is there before", certified is not null && trigger?.Time > certified.Time && trigger.Is("mip6.mhtype", BindingUpdate)
            && On("access-1", trigger.Time).Any(p => p.Sender == "mn1" && Local(p) && p.First("esp.spi") is not null), certified is null || trigger is null ? "not complete" : $"local update {Ms(certified.Time, trigger.Time)} after the certificate");
    }

    private void Access(DissectedPacket? trigger, RowBook rows)
    {
        DissectedPacket? Of(string link, DissectedPacket? after, Func<DissectedPacket, bool> wanted) => after is null ? null : On(link, after.Time).FirstOrDefault(wanted);
        var init = Of("access-1", trigger, p => p.Sender == "mn1" && p.To(Gateway) && p.Is("isakmp.exchangetype", SaInit));
        var eap = Of("access-1", init, p => p.Sender == "mn1" && p.To(Gateway) && p.Is("isakmp.exchangetype", Auth) && p.Is("eap.type", "21"));
        var asked = Of("core-gw", init, p => p.Sender == "gw" && p.To(Server) && p.Is("radius.code", AccessRequest));
        var accepted = Of("core-gw", asked, p => p.Sender == "core" && p.From(Server) && p.Is("radius.code", AccessAccept));
        var solicit = Of("core-gw", accepted, p => p.Sender == "gw" && p.To(RouterLink) && p.Is("dhcpv6.msgtype", Solicit));
        var reply = Of("core-gw", solicit, p => p.Sender == "core" && p.From(RouterLink) && p.Is("dhcpv6.msgtype", Reply));
        var granted = Of("access-1", reply, p => p.Sender == "ar1" && p.From(Gateway) && p.Is("isakmp.typepayload", ConfigurationPayload) && p.Is("isakmp.cfg.attr.type", HomePrefixAttribute));
        var answer = Of("access-1", trigger, p => p.Sender == "ar1" && LocalAnswer(p));
        (string Name, DissectedPacket? Packet)[] steps = [("local BU", trigger), ("IKE_SA_INIT", init), ("Access-Request", asked), ("Access-Accept", accepted), ("Solicit", solicit), ("Reply", reply), ("CFG_REPLY", granted), ("local BA", answer)];
        var inOrder = steps.All(s => s.Packet is not null) && steps.Zip(steps.Skip(1)).All(pair => pair.First.Packet!.Time < pair.Second.Packet!.Time);
        var told = string.Join(", ", steps.Select(s => s.Packet is null ? $"no {s.Name}" : $"{s.Name} +{Ms(trigger!.Time, s.Packet.Time)}"));
        var early = On("access-1", Started["mn1"], trigger?.Time ?? 0).Count(p => p.Sender == "mn1" && p.First("isakmp.exchangetype") is not null)
            + On("core-gw", Started["mn1"], trigger?.Time ?? 0).Count(p => p.First("radius.code") is not null);
        rows.Check("TA3.163a", "its receipt starts access authentication; nothing of that was before, and nothing is bound", inOrder && early == 0, $"{early} messages of access before; {told}");
        rows.Check("TA3.141-150", "EAP in IKEv2, authentication server, Solicit to Reply between gateway and delegating router, then the prefix", inOrder && eap is not null && accepted!.First("radius.User_Name") == "mn1.home.example", told);
        rows.Check("TA3.150a", "the anchor point has bound regional to on-link address", inOrder && Text(_shown["anchored"], "homeAddress") == _anchored!.ToString() && Text(_shown["anchored"], "careOfAddress") == _onLink!.ToString(), _shown["anchored"].ToString());
        rows.Check("TA3.164", "MAP > MN: acknowledgement, accepted, with the regional address in the routing header", answer is not null && answer.Is("mip6.ba.status", "0") && answer.Is("ipv6.routing.mipv6.home_address", _anchored!.ToString()), Shown(answer));
        rows.Check("TA-A24", "authentication only after the local update, the acknowledgement only after its end; the gateway shows the binding, the home agent the regional address", inOrder && Text(_shown["anchored"], "homeAddress") == Text(_shown["at home"], "careOfAddress") && Text(_shown["at home"], "careOfAddress") == _anchored!.ToString(), told);
        var protectedUpdate = Of("access-1", trigger, p => p.Sender == "mn1" && Local(p) && p.First("esp.spi") is not null);
        var inClear = On("access-1", Started["mn1"]).Concat(On("access-2", Started["mn1"])).Count(p => LocalAnswer(p) && p.First("esp.spi") is null);
        rows.Check("TA-G27", "the update in clear is a trigger alone; what is acknowledged goes under the association", protectedUpdate?.Time > granted?.Time && answer?.First("esp.spi") is not null && inClear == 0, $"{Shown(protectedUpdate)}; {inClear} acknowledgements in clear");
        rows.Check("TA-C6", "the local update started the prefix request for an approved terminal", inOrder && reply?.First("dhcpv6.iaprefix.pref_addr") is not null, $"prefix {reply?.First("dhcpv6.iaprefix.pref_addr")}");
        rows.Check("TA-C16", "the anchor point took the local update as trigger of access authorisation", inOrder && early == 0, told);
        if (inOrder)
        {
            rows.Measure("from the local update to its acknowledgement", (answer!.Time - trigger!.Time) / 1e6, "ms");
        }
    }

    private void Registration(RowBook rows)
    {
        var inside = On("access-1", Started["mn1"], _removed).Where(p => InTunnel(p) && p.Is("mip6.mhtype", BindingUpdate)).ToList();
        var update = On("core-ha", Started["mn1"], _removed).FirstOrDefault(p => p.Sender == "core" && p.To(HomeAgent) && p.Is("mip6.mhtype", BindingUpdate) && _anchored!.Equals(p.Source) && p.First("esp.spi") is not null);
        var home = Text(_shown["mn1"], "homeAddress");
        rows.Check("TA3.165", "home address, IKE and registration follow; the update reaches home from the regional address, under ESP", update is not null && update.Is("ipv6.opt.mipv6.home_address", home) && inside.Count > 0 && _states.Contains("ACC to PFX", StringComparison.Ordinal),
            $"{Shown(update)}; {inside.Count} in the tunnel to the anchor point");
        rows.Check("TA-G28", "the care-of address at home is the regional one", _anchored is not null && Text(_shown["at home"], "careOfAddress") == _anchored.ToString(), _shown["at home"].ToString());
        var past = On("access-1", Started["mn1"], _removed).Count(p => p.Sender == "mn1" && p.To(HomeAgent));
        foreach (var row in (string[])["TA3.165", "TM-P22", "TM9.5", "TM-C15"])
        {
            rows.Check(row, "a correspondent reaches the terminal and is reached; nothing goes to the home agent past the tunnel", _toTerminal!.AllArrived && _toCorrespondent!.AllArrived && past == 0, $"{_toTerminal.Summary}; {_toCorrespondent!.Summary}; {past} past the tunnel");
        }

        rows.Measure("ping through home agent and anchor point, median", _toTerminal!.Median, "ms");
    }

    private void Movement(RowBook rows)
    {
        var before = On("access-1", Started["mn1"], _removed).LastOrDefault(p => p.Sender == "mn1" && Local(p));
        var update = On("access-2", _moved).FirstOrDefault(p => p.Sender == "mn1" && Local(p));
        var answer = On("access-2", update?.Time ?? long.MaxValue).FirstOrDefault(p => p.Sender == "ar2" && LocalAnswer(p));
        var there = Text(_shown["anchored moved"], "careOfAddress");
        rows.Check("TA3.166", "MN > MAP from the new link, under the same association, acknowledged; the anchor point has the new on-link address", update is not null && before is not null && update.First("esp.spi") == before.First("esp.spi") && update.First("esp.spi") is not null
            && answer?.Is("mip6.ba.status", "0") == true && IPAddress.TryParse(there, out var place) && s_second.Contains(place) && place.Equals(update.Source), $"{Shown(update)}; {Shown(answer)}; {_shown["anchored moved"]}");
        var atHome = On("core-ha", _removed, _overMove!.To).Concat(On("core-gw", _removed, _overMove.To)).Count(p => p.Is("mip6.mhtype", BindingUpdate));
        // Until the pings end: when the nodes are stopped, the gateway may go first, and the terminal asks for it.
        var access = On("access-2", _removed, _overMove.To).Concat(On("access-1", _removed, _overMove.To)).Where(p => p.First("isakmp.exchangetype") is SaInit or Auth).Concat(On("core-gw", _removed, _overMove.To).Where(p => p.First("radius.code") is not null)).ToList();
        foreach (var row in (string[])["TA-A25", "TM0.11"])
        {
            rows.Check(row, "the home agent sees no binding update, access to the home network is not asked for anew", update is not null && atHome == 0 && access.Count == 0,
                $"{atHome} binding updates on the way home, {access.Count} messages of access {string.Join("; ", access.Select(p => $"{p.Link} after {Ms(_removed, p.Time)} {p.Source} > {p.Destination}, exchange {p.First("isakmp.exchangetype") ?? "-"}, RADIUS {p.First("radius.code") ?? "-"}"))}");
        }

        foreach (var row in (string[])["TA0.7", "TM0.8"])
        {
            rows.Check(row, "the anchor point holds regional and on-link address, the home agent home and regional address, before and after", Text(_shown["at home moved"], "careOfAddress") == _anchored!.ToString() && Text(_shown["at home moved"], "homeAddress") == Text(_shown["mn1"], "homeAddress")
                && Text(_shown["anchored moved"], "homeAddress") == _anchored.ToString() && there != Text(_shown["anchored"], "careOfAddress"), $"{_shown["at home moved"]}");
        }

        var replies = Packets.Where(p => p.Time >= _overMove!.From && p.Sender == "mn1" && p.Is("icmpv6.type", "129")).ToList();
        var (last, next) = (replies.LastOrDefault(p => p.Link == "access-1"), replies.FirstOrDefault(p => p.Link == "access-2"));
        var gap = last is null || next is null ? double.NaN : (next.Time - last.Time) / 1e6;
        rows.Check("TA-A25", "the correspondent's pings go on at the same home address", _overMove!.Received > _overMove.Sent / 2 && double.IsFinite(gap), string.Create(CultureInfo.InvariantCulture, $"{_overMove.Summary}, gap {gap:F0} ms; {_handOvers.LastOrDefault()}"));
        rows.Measure("gap of a move inside the domain, from the last reply on the old link to the first on the new", gap, "ms");
        rows.Measure("pings of 10 ms lost over the move", _overMove.Sent - _overMove.Received, "packets");
        if (update is not null && answer is not null)
        {
            rows.Measure("update of the anchor point as the terminal sees it", (answer.Time - update.Time) / 1e6, "ms");
        }
    }

    private void WrongPassword(RowBook rows)
    {
        var answer = On("access-3", _wrongStarted, _wrongEnded).FirstOrDefault(p => p.Sender == "ar1" && LocalAnswer(p));
        rows.Check("TA3.150x", "MAP > MN: negative acknowledgement, status 129; the terminal stays where it was", answer is not null && answer.Is("mip6.ba.status", "129") && Text(_shown["refused"], "state") == "CERT", $"{Shown(answer)}; {Text(_shown["refused"], "state")}");
        var solicits = On("core-gw", _wrongStarted, _wrongEnded).Count(p => p.First("dhcpv6.msgtype") is not null);
        var home = On("core-gw", _wrongStarted, _wrongEnded).Count(p => p.Sender == "gw" && p.To(HomeAgent));
        rows.Check("TA-I5", "without access authentication no Solicit, no binding at the anchor point and nothing to the home agent", answer is not null && _refusedBindings.Count == 0 && solicits == 0 && home == 0, $"{solicits} DHCPv6 messages, {_refusedBindings.Count} bindings, {home} packets to the home agent");
        rows.Check("TA-N26", "status 129, no binding at the anchor point, no prefix asked for", answer?.Is("mip6.ba.status", "129") == true && _refusedBindings.Count == 0 && solicits == 0, $"{_refusals.FirstOrDefault()}; {_refusedBindings.Count} bindings, {solicits} DHCPv6 messages");
    }

    private void Forgery(RowBook rows)
    {
        var sent = On("access-3", _forged, _forgedEnd).Count(p => p.Sender == "mn2" && p.To(Gateway) && p.Is("mip6.bu.seqnr", "40000"));
        var answers = On("access-3", _forged, _forgedEnd).Count(p => p.Sender == "ar1" && p.Is("mip6.mhtype", BindingAcknowledgement));
        bool Held(IReadOnlyList<System.Text.Json.JsonElement> table, string before) => table.Any(b => Text(b, "homeAddress") == Text(_shown[before], "homeAddress") && Text(b, "careOfAddress") == Text(_shown[before], "careOfAddress"));
        var borrowed = On("core-gw", _forged, _forgedEnd).Count(p => p.Sender == "gw" && _anchored!.Equals(p.Source) && p.Is("mip6.bu.seqnr", "40000"));
        var reached = On("core-ha", _forged, _forgedEnd).Count(p => p.Sender == "core" && p.Is("mip6.bu.seqnr", "40000"));
        rows.Check("TA-H25", "the other terminal's regional address: the anchor point keeps its binding and answers nothing; from that address nothing gets past it", sent == 3 && answers == 0 && borrowed == 0 && Held(_afterForgery, "anchored"), $"{sent} forged, {answers} answered, {borrowed} past the gateway");
        var answered = On("core-ha", _forged, _forgedEnd).Count(p => p.Sender == "ha" && p.Is("mip6.mhtype", BindingAcknowledgement));
        foreach (var row in (string[])["TA-I3", "TA-N19"])
        {
            rows.Check(row, "a binding update in clear at the home agent: no answer, no binding, counted", reached == 1 && answered == 0 && Held(_homeAfterForgery, "at home") && _discarded == 1, $"{reached} at the home agent, {answered} answered, {_discarded} counted as discarded");
        }

        rows.Check("TA-H25", "the other terminal's home address, through the own tunnel: the home agent keeps its binding and answers nothing", reached == 1 && Held(_homeAfterForgery, "at home"), $"{reached} at the home agent; {string.Join("; ", _homeAfterForgery.Select(b => $"{Text(b, "homeAddress")} at {Text(b, "careOfAddress")}"))}");
    }

    /// <summary>The first terminal's story: its own packets on its links, the gateway's on the way home.</summary>
    private IEnumerable<LadderStep> Steps()
    {
        var seen = new HashSet<string>();
        foreach (var packet in Packets.Where(p => (p.Link is "access-1" or "access-2" or "core-gw") && p.Time >= Started["mn1"] && (p.Time < Started["mn2"] || p.Time >= _removed)))
        {
            var (name, kind) = Describe(packet);
            var router = packet.Link == "access-2" ? "ar2" : "ar1";
            var (from, to) = !IsEapol(packet) ? (OwnerOf(packet.Source), OwnerOf(packet.Destination)) : packet.Sender == "mn1" ? ("mn1", router) : (router, "mn1");
            var own = packet.Link != "core-gw";
            if (name is not null && from is not null && to is not null && own == (from == "mn1" || to == "mn1") && (kind != LadderKind.Protected || seen.Add($"{from} {to} {name} {packet.Link}")))
            {
                yield return new LadderStep((packet.Time - Started["mn1"]) / 1e6, from, to, name, $"{packet.Source} > {packet.Destination}", kind);
            }
        }
    }

    private string? OwnerOf(IPAddress? address) => ServerOf(address) switch
    {
        { } server => server,
        null when address is null => null,
        null => s_first.Contains(address) || s_second.Contains(address) ? "mn1" : address.Equals(_anchored) ? "gw" : null,
    };
}
