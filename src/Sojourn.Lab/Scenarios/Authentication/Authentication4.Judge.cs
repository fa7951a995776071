using System.Globalization;
using System.Net;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>What the wires carried and the home agent shows.</summary>
public sealed partial class Authentication4
{
    private const string AuthenticationFailed = "24";

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        rows.Part("Device", () => Device(rows));
        rows.Part("Registration", () => Registration(rows));
        rows.Part("Names", () => Names(rows));
        rows.Part("Hostile", () => Hostile(rows));
        rows.Part("Renumbering", () => Renumbering(rows));
        rows.Part("Restart", () => Restart(rows));
    }

    private void Device(RowBook rows)
    {
        var signOn = SignOnOf("mn1", "access-1", _registered, _opened);
        var advertised = On("access-1").FirstOrDefault(p => p.Sender == "ar" && p.Is("icmpv6.type", RouterAdvertisement));
        var formed = IPAddress.TryParse(Text(_shown["mn1"][0], "careOfAddress"), out var careOf) && s_access.Contains(careOf) && advertised?.First("icmpv6.nd.ra.flag.m") is "0" or "False";
        rows.Check("TA4.101-107", "device authentication, a care-of address by M = 0, then the store, then the certificate, with the approval set", signOn.InOrder && formed && Permissions().GetValueOrDefault(Name1), $"{signOn}; {careOf}; approved {Permissions().GetValueOrDefault(Name1)}");
        JudgeTerminal(rows, signOn, Text(_shown["mn1"][0], "state"));
    }

    private void Registration(RowBook rows)
    {
        var dhcp = Packets.Count(p => p.Has("dhcpv6"));
        var certificates = _shown["certificates registered"];
        var kept = certificates.FirstOrDefault(c => Text(c, "identifier") == Name1);
        rows.Check("TA-A26", "no DHCPv6 on any link; the home agent has the home address with the certificate of its terminal", dhcp == 0 && Text(kept, "homeAddress") == Home1 && Text(kept, "serial") == _serial1 && _serial1.Length > 0 && _toTerminal!.AllArrived,
            $"{dhcp} packets of DHCPv6; {kept}; the card's certificate is {_serial1}; {_toTerminal!.Summary}");
        foreach (var id in (string[])["TA-D6", "TA-C12"])
        {
            rows.Check(id, "one certificate row by home address and by identifier", certificates.Count == 2 && certificates.Select(c => Text(c, "identifier")).Order().SequenceEqual([Name1, Name2]) && certificates.Select(c => Text(c, "homeAddress")).Order().SequenceEqual([Home1, Home2]), string.Join("; ", Rows("certificates registered")));
        }

        rows.Check("TA-G23", "the first home address is the configured one", Text(_shown["mn1"][0], "homeAddress") == Home1 && Text(_shown["mn2"][0], "homeAddress") == Home2, $"{Text(_shown["mn1"][0], "homeAddress")}, {Text(_shown["mn2"][0], "homeAddress")}");
        var flow = Flow("access-1", "mn1", Home1, _registered, _forged);
        var enrolled = On("access-1", _registered).FirstOrDefault(p => p.Sender == "ar" && p.Is("cmp.body", PkiConfirm));
        rows.Check("TA4.121-125", "MN > HA: identity, certificate and signature, the home address as selector; after the certificate was confirmed", flow.Auth is { } auth && auth.Is("isakmp.id.data.fqdn", Name1) && auth.Is("isakmp.typepayload", "37") && auth.Is("isakmp.typepayload", "39")
            && auth.Is("isakmp.ts.start_ipv6", Home1) && enrolled is not null && enrolled.Time < auth.Time, flow.Auth is null ? "no IKE_AUTH" : $"{string.Join(",", flow.Auth.Of("isakmp.id.data.fqdn"))}, selectors {string.Join(",", flow.Auth.Of("isakmp.ts.start_ipv6"))}, payloads {Payloads(flow.Auth)}");
        rows.Check("TA4.171", "then the certificate is kept", Text(kept, "serial") == _serial1 && DateTimeOffset.TryParse(Text(kept, "kept"), CultureInfo.InvariantCulture, out var at) && Nanoseconds(at) > flow.Auth?.Time && Nanoseconds(at) < _forged, $"{kept}");
        var asked = Packets.Count(p => p.First("http.request.uri") is not null && p.Time < _changed && (p.Link is "core-ha" or "core-ca") && p.Is("http.request.uri", "/v1/allocation"));
        rows.Check("TA4.129-132", "HA > MN: its certificate, signature and the associations, in transport mode; no question to a delegating router", flow.Proof is { } proof && proof.Is("isakmp.typepayload", "37") && proof.Is("isakmp.typepayload", "39") && proof.Is("isakmp.notify.msgtype", "16391") && asked == 0,
            flow.Proof is null ? "no answer" : $"payloads {Payloads(flow.Proof)}, {asked} questions");
        rows.Check("TA4.133-137", "BU and BA behind ESP, the binding stands", flow.Update?.First("esp.spi") is not null && flow.Acknowledgement?.First("esp.spi") is not null && flow.Acknowledgement.First("mip6.ba.status") == "0"
            && _shown["bindings registered"].Any(b => Text(b, "homeAddress") == Home1 && Text(b, "careOfAddress") == Text(_shown["mn1"][0], "careOfAddress")), $"BA status {flow.Acknowledgement?.First("mip6.ba.status")}; {string.Join("; ", _shown["bindings registered"].Select(b => $"{Text(b, "homeAddress")} at {Text(b, "careOfAddress")}"))}");
        var discovery = On("access-1", _registered).FirstOrDefault(p => p.Sender == "mn1" && p.Is("icmpv6.type", DiscoveryRequest));
        var anycast = new IPAddress([.. IPNetwork.Parse(OldPrefix).BaseAddress.GetAddressBytes()[..8], 0xFD, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE]);
        rows.Check("TA0.4", "the terminal asks the anycast address of its home prefix and registers with the agent named", discovery is not null && anycast.Equals(discovery.Destination) && flow.Update?.To(HomeAgent) == true && discovery.Time < flow.Update.Time, $"{discovery?.Destination}, then {flow.Update?.Destination}");
        rows.Check("TA-S11", "BU: care-of address, Home Address option, ESP, mobility header, in this order", flow.Update is { } bu && bu.From(Text(_shown["mn1"][0], "careOfAddress")) && bu.Protocols.SkipWhile(p => p != "ipv6").SequenceEqual(["ipv6", "ipv6.dstopts", "esp", "mipv6"]), $"{string.Join(":", flow.Update?.Protocols ?? [])} from {flow.Update?.Source}");
        rows.Check("TA-S12", "BA: to the care-of address, routing header, ESP, mobility header, in this order", flow.Acknowledgement is { } ba && ba.To(Text(_shown["mn1"][0], "careOfAddress")) && ba.Protocols.SkipWhile(p => p != "ipv6").SequenceEqual(["ipv6", "ipv6.routing", "esp", "mipv6"]), $"{string.Join(":", flow.Acknowledgement?.Protocols ?? [])} to {flow.Acknowledgement?.Destination}");
        rows.Check("TA-P7", "IPsec, binding cache, a credential of its own and the table of certificates are one home agent's", flow.Update?.First("esp.spi") is not null && flow.Proof?.Is("isakmp.id.data.ipv6_addr", HomeAgent) == true && _shown["bindings registered"].Count == 2 && certificates.Count == 2,
            $"ESP SPI {flow.Update?.First("esp.spi")}, identity {flow.Proof?.First("isakmp.id.data.ipv6_addr")}, {_shown["bindings registered"].Count} bindings, {certificates.Count} certificates");
        if (flow is { Auth: not null, Acknowledgement: { } end } && enrolled is not null)
        {
            rows.Measure("from the confirmed certificate to the registration", (end.Time - enrolled.Time) / 1e6, "ms");
        }
    }

    private void Names(RowBook rows)
    {
        var (update, acknowledged) = (On("access-1", _registered).FirstOrDefault(p => p.Sender == "mn1" && p.Is("mip6.mhtype", BindingUpdate)), On("access-1", _registered).FirstOrDefault(p => p.Sender == "ar" && p.Is("mip6.mhtype", BindingAcknowledgement)));
        var sent = On("core-dns", _registered).Where(p => p.Sender == "core" && p.Has("dns") && p.From(HomeAgent)).ToList();
        foreach (var id in (string[])["TA1.137a", "TA-C23", "TA-P10"])
        {
            rows.Check(id, "the home agent updates the name server, and the name leads to the home address, the address to the name", sent.Count > 0 && _dug["registered"] == Home1 && _dug["reverse"] == Name1 + ".", $"{sent.Count} packets of DNS from {HomeAgent}; {Name1} is {_dug["registered"]}, back {_dug["reverse"]}");
        }

        rows.Check("TA-A20", "dig gives the home address while the terminal is registered, and nothing afterwards", _dug["registered"] == Home1 && _dug["left"].Length == 0 && _shown["bindings left"].Count == 0, $"{_dug["registered"]}, then '{_dug["left"]}'");
        rows.Check("TA-A20", "the binding update asks for it, the acknowledgement says it is done", update?.First("mip6.dnsu.mn_id") is not null && acknowledged?.First("mip6.dnsu.status") == "0", $"asks for {update?.First("mip6.dnsu.mn_id")}, status {acknowledged?.First("mip6.dnsu.status")}");
        rows.Check("TA-G33", "the name of a terminal that does not ask is registered too", _shown["names registered"].Any(n => Text(n, "name") == Name2 && Text(n, "homeAddress") == Home2 && Text(n, "state") == "registered"), string.Join("; ", _shown["names registered"]));
    }

    private void Renumbering(RowBook rows)
    {
        var reloaded = _reload is { ExitCode: 0 } && !_reload.Output.Contains("waits for a restart", StringComparison.Ordinal);
        rows.Check("TA4.172p", "the home prefix changes while the terminals are registered", reloaded && _shown["bindings borrowed"].Count(b => Text(b, "homeAddress") is Home1 or Home2) == 2, _reload!.Output.Trim().ReplaceLineEndings("; "));
        var questions = On("core-ca", _changed).Where(p => p.Sender == "core" && p.Is("http.request.uri", "/v1/permission")).ToList();
        var about = questions.SelectMany(q => q.Of("json.value.string")).Where(v => v.EndsWith(".example", StringComparison.Ordinal)).Order().ToList();

        // Terminal 3 has no binding; it goes on trying to get an association, and the home agent asks then.
        var registered = about.Where(n => n is Name1 or Name2);
        var counted = _askedAfter - _askedBefore;
        foreach (var id in (string[])["TA4.172", "TA4.173"])
        {
            rows.Check(id, "HA > CA, inside TLS: one question about each registered terminal, by the identifier of its certificate", registered.SequenceEqual([Name1, Name2]) && counted >= 2 && counted <= about.Count, $"{string.Join(", ", about)}; {counted} counted");
        }

        var answers = On("core-ca", _changed).Where(p => p.Sender == "ca" && p.Of("json.value.string").Any(v => v is Name1 or Name2)).SelectMany(p => p.Of("json.value.string")).ToList();
        var flags = Permissions();
        rows.Check("TA4.174", "the authority decides by its flag", flags.GetValueOrDefault(Name1) && answers.Contains("ok") && answers.Contains("flag-clear"), string.Join(", ", answers));
        rows.Check("TA4.175", "CA > HA: allowed", answers.Contains("ok"), string.Join(", ", answers));

        var reports = On("core-ca", _registered).Where(p => p.Sender == "core" && p.From("2001:db8:5::2")).SelectMany(p => p.Of("http.request.uri")).ToList();
        rows.Check("TA-G32", "the home agent sends the authority that question and, beside looking at certificates' status, nothing", questions.Count > 0 && reports.All(uri => uri is "/v1/permission" or "/ocsp" or "/ca.crl"), string.Join(", ", reports.GroupBy(u => u).Select(g => string.Create(CultureInfo.InvariantCulture, $"{g.Count()} {g.Key}"))));

        var told = Told("access-1");
        var silent = Told("access-2");
        var clear = Packets.Count(p => p.Time >= _changed && p.Is("icmpv6.type", PrefixAdvertisement) && p.First("esp.spi") is null);
        var spi = On("access-1", _registered, _forged).FirstOrDefault(p => p.Sender == "ar" && p.Is("mip6.mhtype", BindingAcknowledgement))?.First("esp.spi");
        foreach (var id in (string[])["TA4.176", "TA-C28", "TA-C7", "TA-C17"])
        {
            rows.Check(id, "HA > MN: the prefix advertisement with the new prefix, only under the association of the registration, and after the answer", told.Count > 0 && clear == 0 && told[0].Is("icmpv6.opt.prefix", IPNetwork.Parse(NewPrefix).BaseAddress.ToString()) && spi is not null && told[0].Is("esp.spi", spi)
                && questions.Count > 0 && told[0].Time > questions[0].Time, told.Count == 0 ? "none" : $"prefixes {string.Join(", ", told[0].Of("icmpv6.opt.prefix"))} under SPI {told[0].First("esp.spi")} ({spi}), {clear} in clear");
        }

        // What somebody forged came in clear, before that (TA-H14).
        var prefixes = Packets.Where(p => p.Time >= _registered && p.First("icmpv6.type") is PrefixSolicitation or PrefixAdvertisement && p.First("esp.spi") is not null).ToList();
        rows.Check("TM-SP3", "prefix advertisements, and solicitations if there are any, go between home address and home agent under ESP in transport mode",
            told.Count > 0 && clear == 0 && prefixes.All(p => Stack(p) == (p.Is("icmpv6.type", PrefixAdvertisement) ? "ipv6 ipv6.routing esp icmpv6" : "ipv6 ipv6.dstopts esp icmpv6")),
            string.Join(", ", prefixes.GroupBy(p => $"{p.First("icmpv6.type")}: {Stack(p)}").Select(g => string.Create(CultureInfo.InvariantCulture, $"{g.Count()} × {g.Key}"))));
        foreach (var id in (string[])["TA-N27", "TA-I4", "TA4.175x"])
        {
            rows.Check(id, "a terminal that is not approved hears nothing of it, and its binding lives out its lifetime", silent.Count == 0 && told.Count > 0 && Has("followed", Home2) && !Has("ended", Home2), $"{silent.Count} advertisements to {Name2}, {told.Count} to {Name1}; its binding {(Has("followed", Home2) ? "stands" : "is gone")}, at the end {(Has("ended", Home2) ? "stands" : "is gone")}");
        }

        var after = Flow("access-1", "mn1", NewHome1, _changed, _ended);
        var discovery = On("access-1", _changed).FirstOrDefault(p => p.Sender == "mn1" && p.Is("icmpv6.type", DiscoveryRequest));
        rows.Check("TA4.176a", "the terminal builds a new home address of the new prefix, with its interface identifier", Text(_shown["mn1 followed"][0], "homeAddress") == NewHome1, Text(_shown["mn1 followed"][0], "homeAddress"));
        foreach (var id in (string[])["TA4.177", "TA-G22"])
        {
            rows.Check(id, "discovery, IKEv2 with the certificate and registration run again for it", discovery is not null && after.Auth is { } again && again.Time > discovery.Time && again.Is("isakmp.ts.start_ipv6", NewHome1) && again.Is("isakmp.typepayload", "37") && after.Acknowledgement is { } accepted && accepted.Time > again.Time
                && accepted.Is("ipv6.routing.mipv6.home_address", NewHome1), $"discovery {discovery?.Destination}, IKE_AUTH for {string.Join(",", after.Auth?.Of("isakmp.ts.start_ipv6") ?? [])}, BA {after.Acknowledgement?.First("ipv6.routing.mipv6.home_address")}");
        }

        var row = _shown["certificates followed"].Where(c => Text(c, "identifier") == Name1).ToList();
        foreach (var id in (string[])["TA-A27", "TA-G21"])
        {
            rows.Check(id, "exactly one certificate row is the terminal's, with the new home address", row.Count == 1 && Text(row[0], "homeAddress") == NewHome1 && !_shown["certificates followed"].Any(c => Text(c, "homeAddress") == Home1), string.Join("; ", Rows("certificates followed")));
        }

        rows.Check("TA-A27", "it is reached at the new one, its name leads there, and the old binding is gone by its lifetime", _toNewHome!.AllArrived && _dug["followed"] == NewHome1 && Has("followed", NewHome1) && Has("followed", Home1) && !Has("ended", Home1) && Has("ended", NewHome1),
            $"{_toNewHome.Summary}; {Name1} is {_dug["followed"]}; bindings {Bindings("followed")}, at the end {Bindings("ended")}");
        rows.Check("TA-G24", "the home agent advertises its own prefixes, the same ones to everybody", told.All(t => t.Of("icmpv6.opt.prefix").Order().SequenceEqual(((string[])[OldPrefix, NewPrefix]).Select(p => IPNetwork.Parse(p).BaseAddress.ToString()).Order())), string.Join("; ", told.Select(t => string.Join(", ", t.Of("icmpv6.opt.prefix")))));
        rows.Check("TA-A20", "the name of a terminal goes with its binding's end", _dug["ended"].Length == 0, $"'{_dug["ended"]}'");
        rows.Measure("from the change of the home prefix to the registration with the new home address", (_followed - _changed) / 1e6, "ms");

        IReadOnlyList<DissectedPacket> Told(string link) => [.. On(link, _changed).Where(p => p.Sender == "ar" && p.Is("icmpv6.type", PrefixAdvertisement))];
        bool Has(string moment, string home) => _shown["bindings " + moment].Any(b => Text(b, "homeAddress") == home);
        string Bindings(string moment) => string.Join(", ", _shown["bindings " + moment].Select(b => Text(b, "homeAddress")));
    }

    private void Restart(RowBook rows)
    {
        var (before, after, forgotten) = (Rows("certificates left"), Rows("certificates restarted"), Rows("certificates forgotten"));
        rows.Check("restart", "the home agent comes back with its certificates", before.Count == 3 && before.SequenceEqual(after), $"{before.Count} rows, then {after.Count}{(before.SequenceEqual(after) ? ", the same" : "")}");
        rows.Check("TA-D6", "a terminal that an operator lets it forget has no row any more, the others have theirs", after.Except(forgotten).Single().Contains(Name3, StringComparison.Ordinal) && forgotten.Count == after.Count - 1, string.Join("; ", forgotten));
    }

    /// <summary>Key exchange and registration of one home address on a terminal's link.</summary>
    private (DissectedPacket? Auth, DissectedPacket? Proof, DissectedPacket? Update, DissectedPacket? Acknowledgement) Flow(string link, string terminal, string home, long from, long to)
    {
        var packets = On(link, from, to).ToList();
        var auth = packets.FirstOrDefault(p => p.Sender == terminal && p.Is("isakmp.exchangetype", Auth) && p.Is("isakmp.ts.start_ipv6", home));
        return (auth, packets.FirstOrDefault(p => p.Sender != terminal && p.Is("isakmp.exchangetype", Auth) && p.Time > auth?.Time),
            packets.FirstOrDefault(p => p.Sender == terminal && p.Is("mip6.mhtype", BindingUpdate) && p.Is("ipv6.opt.mipv6.home_address", home)),
            packets.FirstOrDefault(p => p.Sender != terminal && p.Is("mip6.mhtype", BindingAcknowledgement) && p.Is("ipv6.routing.mipv6.home_address", home)));
    }

    /// <summary>The authority's table before the change: whether each identifier is allowed.</summary>
    private Dictionary<string, bool> Permissions()
    {
        using var table = JsonDocument.Parse(_permissions);
        return PathLines.Rows(table.RootElement).ToDictionary(r => Text(r, "identifier"), r => r.GetProperty("allowed").GetBoolean() && r.GetProperty("effective").GetBoolean());
    }

    private static long Nanoseconds(DateTimeOffset time) => (time - DateTimeOffset.UnixEpoch).Ticks * 100;
}
