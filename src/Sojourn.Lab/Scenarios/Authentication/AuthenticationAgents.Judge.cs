using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Wire.Ikev2;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>What the wires carried, what the nodes say, and what became of the tries.</summary>
public sealed partial class AuthenticationAgents
{
    private const string KeyUpdateRequest = "7", KeyUpdateResponse = "8", HashAndUrl = "12";

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        rows.Part("Home agents", () => Agents(rows));
        rows.Part("Networks", () => Networks(rows));
        rows.Part("Allocation", () => Allocation(rows));
        rows.Part("Identities", () => Identities(rows));
        rows.Part("Renewal", () => Renewal(rows));
        rows.Part("Card", () => Card(rows));
        rows.Part("False home agent", () => FalseAgent(rows));
        rows.Part("Tries", () => Tries(rows));
        rows.Measure("from IKE_SA_INIT to the second home agent to its proof, with its certificate issued meanwhile", _secondTook, "ms");
    }

    private void Agents(RowBook rows)
    {
        var reply = On("access-1", _started).FirstOrDefault(p => p.Is("icmpv6.type", DiscoveryReply));
        var named = reply?.Of("icmpv6.mip6.home_agent_address") ?? [];
        var init = On("access-1", _started).FirstOrDefault(p => p.Sender == "mn" && p.Is("isakmp.exchangetype", SaInit));
        rows.Check("TA-A12", "discovery names both home agents, the preferred first, and IKE goes to that one", named.SequenceEqual([First, Second]) && init?.To(First) == true && init.Time > reply!.Time, $"{string.Join(", ", named)}; IKE_SA_INIT to {init?.Destination}");
        rows.Check("TA-A14", "a home agent with a certificate obtained beforehand is verified", _mnVerified.Any(t => t.Contains(First, StringComparison.Ordinal)), _mnVerified.LastOrDefault() ?? "none");

        var proof = On("access-1", _started, _taken).FirstOrDefault(p => p.Sender != "mn" && p.Is("isakmp.exchangetype", Auth));
        var careOf = Text(_shown["mn"], "careOfAddress");
        var fetch = On("core-ca", _started, _taken).FirstOrDefault(p => p.From(careOf) && p.Of("http.request.uri").Any(u => u.StartsWith("/certificates/", StringComparison.Ordinal)));
        rows.Check("TA-A15", "IKE_AUTH has hash and URL in place of the certificate, the terminal fetches it from the authority and is registered", proof?.Is("isakmp.cert.encoding", HashAndUrl) == true && fetch is not null && Text(_shown["mn"], "state") == "REG",
            $"encoding {proof?.First("isakmp.cert.encoding")}, {fetch?.Source} > {fetch?.Destination} GET {fetch?.First("http.request.uri")}");
    }

    /// <summary>Who stands where: behind the home network's switches, and beyond the IP network.</summary>
    private void Networks(RowBook rows)
    {
        var behind = new[] { ("ha1", "home-ha1", "2001:db8:5::11"), ("ha2", "home-ha2", "2001:db8:5::12") }.Select(agent =>
        {
            var (node, link, address) = agent;
            bool Question(DissectedPacket p) => p.From(address) && p.To(DelegatingRouter) && p.Is("tcp.dstport", "8445");
            var (sent, heard) = (On(link, _started).FirstOrDefault(p => p.Sender == node && Question(p)), On("home-dr", _started).FirstOrDefault(p => p.Sender == "sw1" && Question(p)));

            // A router would have put its own address and one hop less.
            var switched = sent is not null && heard is not null && sent.First("eth.src") == heard.First("eth.src") && sent.First("ipv6.hlim") == heard.First("ipv6.hlim");
            return (Switched: switched, Text: $"{node} by {Way(p => p.Time >= _started && Question(p))}, hop limit {sent?.First("ipv6.hlim")} and {heard?.First("ipv6.hlim")}");
        }).ToList();
        bool Bound(string key) => _shown.TryGetValue(key, out var binding) && Text(binding, "homeAddress").Length > 0;
        rows.Check("TA-P6", "two home agents and one delegating router behind switches: either asks that router, by switches alone, and either has bound a terminal", behind.All(b => b.Switched) && Bound("binding moved") && Bound("binding at the second"),
            $"{string.Join("; ", behind.Select(b => b.Text))}; {Text(_shown["binding moved"], "nai")} bound at the first, {Text(_shown["binding at the second"], "nai")} at the second");

        var careOf = Text(_shown["mn"], "careOfAddress");
        var (asked, registered) = (Way(p => p.Is("cmp.body", InitializationRequest) && p.From(careOf)), Way(p => p.Time < _taken && p.Is("mip6.mhtype", BindingUpdate) && p.From(careOf)));
        var permission = Way(p => p.From(DelegatingRouter) && p.To(Authority) && p.Is("tcp.dstport", "8444"));
        rows.Check("TA-C20", "the authority in a network of its own, the zones joined through the IP network: what terminal and delegating router ask it goes there", asked == "access-1 core-ar1 core-ca" && registered == "access-1 core-ar1 home home-ha1" && permission == "home-dr home core-ca",
            $"certificate request by {asked}; binding update by {registered}; permission question by {permission}");
    }

    private void Identities(RowBook rows)
    {
        var home = Text(_shown["app"], "homeAddress");
        var byAddress = On("access-3", _started).FirstOrDefault(p => p.Sender == "app" && p.Is("isakmp.exchangetype", Auth));
        var byName = On("access-1", _started).FirstOrDefault(p => p.Sender == "mn" && p.Is("isakmp.exchangetype", Auth));
        rows.Check("TA-A16", "home-address mode: IDi is the home address; name mode: the identifier", byAddress?.Is("isakmp.id.data.ipv6_addr", home) == true && byName?.Is("isakmp.id.data.fqdn", Mn) == true,
            $"{byAddress?.First("isakmp.id.data.ipv6_addr")}; {byName?.First("isakmp.id.data.fqdn")}");
        bool Row(string name, string node) => _shown.TryGetValue("session of " + name, out var row) && Text(row, "homeAddress") == Text(_shown[node], "homeAddress") && Text(row, "state") == "bound";
        rows.Check("TA-A16", "the home agent shows identifier and home address of both alike", Row(Appliance, "app") && Row(Mn, "mn"), string.Join("; ", _shown.Where(s => s.Key.StartsWith("session", StringComparison.Ordinal)).Select(s => $"{Text(s.Value, "nai")} {Text(s.Value, "homeAddress")} {Text(s.Value, "state")}")));

        var update = On("access-3", _started).FirstOrDefault(p => p.Sender == "app" && p.Is("mip6.mhtype", BindingUpdate));
        var acknowledgement = On("access-3", _started).FirstOrDefault(p => p.Sender != "app" && p.Is("mip6.mhtype", BindingAcknowledgement));
        var registered = Text(_shown["app"], "state") == "REG" && update is not null && acknowledgement?.First("mip6.ba.status") is "0" or "1";
        var steps = On("access-3", _started).Any(p => p.Is("cmp.body", InitializationRequest)) && On("access-3", _started).Any(p => p.Is("dhcpv6.msgtype", Reply));
        foreach (var row in new[] { "TA-A21", "TA1.138", "TA-P2", "TA-C24" })
        {
            rows.Check(row, "an appliance that never moves is certified, gets its prefix, proves itself and is registered", registered && steps, $"{Text(_shown["app"], "state")}, BA status {acknowledgement?.First("mip6.ba.status")}");
        }
    }

    private void Renewal(RowBook rows)
    {
        var request = On("access-3", _started).FirstOrDefault(p => p.Sender == "app" && p.Is("cmp.body", KeyUpdateRequest));
        var response = On("access-3", _started).FirstOrDefault(p => p.Sender != "app" && p.Is("cmp.body", KeyUpdateResponse));
        var exchange = On("access-3", request?.Time ?? long.MaxValue).FirstOrDefault(p => p.Sender == "app" && p.Is("isakmp.exchangetype", SaInit));
        rows.Check("TA-A30", "kur with the old key and kup, then a key exchange with the new certificate", response is not null && exchange?.Time > response.Time && _applianceSessions == 1, $"kur {request is not null}, kup {response is not null}, IKE {exchange is not null}, {_applianceSessions} session");
        var careOf = Text(_shown["app"], "careOfAddress");
        var fell = _applianceSays.Any(t => t.StartsWith("REG to", StringComparison.Ordinal));
        rows.Check("TA-A30", "the binding stands all the time, and at the end", _bindingsDuring.Count > 0 && _bindingsDuring.All(b => b == careOf) && !fell && Text(_shown["appliance at the end"], "state") == "REG" && Text(_shown["binding at the end"], "careOfAddress") == careOf,
            $"{_bindingsDuring.Count} looks: {string.Join(" ", _bindingsDuring.Distinct())}; {Text(_shown["appliance at the end"], "state")}");
    }

    private void Card(RowBook rows)
    {
        var update = On("access-1", _taken, _moved).FirstOrDefault(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate));
        var answered = On("access-1", _taken, _moved).Any(p => p.Sender != "mn" && p.Is("mip6.mhtype", BindingAcknowledgement));
        rows.Check("TA-N28", "without its card the registered terminal renews its binding", _withoutCard == "REG" && update is not null && answered, $"{_withoutCard}, BU {update is not null}, BA {answered}");
        var without = On("access-2", _moved, _returned).Count(p => p.Sender == "mn" && (p.Is("isakmp.exchangetype", Auth) || p.Is("mip6.mhtype", BindingUpdate)));
        rows.Check("TA-N28", "the next key exchange needs it and does not come about", _missing.Length > 0 && without == 0, $"{_missing}; {without} IKE_AUTH or BU before the card was back");
        var init = On("access-2", _moved, _led).FirstOrDefault(p => p.Sender == "mn" && p.Is("isakmp.exchangetype", SaInit));
        var moved = On("access-2", _moved, _led).FirstOrDefault(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate));
        rows.Check("TA-A19", "with K = 0 a new IKE run precedes the BU", init is not null && moved?.Time > init.Time && !moved.Of("mip6.bu.k_flag").Any(f => f is "1" or "True") && Text(_shown["binding moved"], "careOfAddress") == Text(_shown["moved"], "careOfAddress"),
            $"IKE_SA_INIT {init is not null}, BU K {moved?.First("mip6.bu.k_flag")}, SPI {update?.First("esp.spi")} then {moved?.First("esp.spi")}");
    }

    private void FalseAgent(RowBook rows)
    {
        var reply = On("access-2", _led).FirstOrDefault(p => p.Is("icmpv6.type", DiscoveryReply));
        var wrong = On("access-2", _led).Where(p => p.Sender == "mn" && p.To(False)).ToList();
        var tried = wrong.Any(p => p.Is("isakmp.exchangetype", Auth));
        var updates = wrong.Count(p => p.First("mip6.mhtype") is not null || p.First("esp.spi") is not null);
        var next = On("access-2", _led).FirstOrDefault(p => p.Sender == "mn" && p.To(Second) && p.Is("isakmp.exchangetype", SaInit));
        var reason = _mnSays.FirstOrDefault(t => t.Contains($"no association with {False}", StringComparison.Ordinal)) ?? "no reason";
        var registered = Text(_shown["led astray"], "state") == "REG" && Text(_shown["binding at the second"], "homeAddress") == Text(_shown["led astray"], "homeAddress");
        foreach (var (row, text) in new[] { ("TA-H13", "a false home agent answers discovery, fails by its certificate, and the terminal takes the next"), ("TA-N18", "no BU to it, the next home agent, the reason reported"), ("TA1.129x", "the association is dropped and the next home agent of the answer tried") })
        {
            rows.Check(row, text, reply?.Is("icmpv6.mip6.home_agent_address", False) == true && tried && updates == 0 && next is not null && reason.Contains("not trusted", StringComparison.Ordinal) && registered,
                $"answer {string.Join(", ", reply?.Of("icmpv6.mip6.home_agent_address") ?? [])}; {updates} packets under ESP to it; {reason}; registered at {(registered ? Second : "none")}");
        }

        var question = On("home-ha2", _led).FirstOrDefault(p => p.Sender == "sw2" && p.Is("isakmp.exchangetype", Auth));
        var request = On("home-ha2", _started).FirstOrDefault(p => p.Sender == "ha2" && p.Is("cmp.body", InitializationRequest));
        var certified = On("home-ha2", _started).LastOrDefault(p => p.Sender == "sw2" && (p.Is("cmp.body", InitializationResponse) || p.Is("cmp.body", PkiConfirm)));
        var answer = On("home-ha2", _led).FirstOrDefault(p => p.Sender == "ha2" && p.Is("isakmp.exchangetype", Auth));
        var inTurn = question is not null && request?.Time > question.Time && certified?.Time > request.Time && answer?.Time > certified.Time;
        bool Asked(string link, string sender, string host, string port, long from, long to) => On(link, from, to).Any(p => p.Sender == sender && p.To(host) && p.Is("tcp.dstport", port));
        var permission = Asked("home-dr", "dr", Authority, "8444", _started, long.MaxValue);
        var allocation = Asked("home-ha2", "ha2", DelegatingRouter, "8445", question?.Time ?? 0, request?.Time ?? 0);

        // With the exported keys tshark reads inside TLS too.
        var questions = Packets.Where(p => p.Of("http.request.uri").Any(u => u.StartsWith("/v1/", StringComparison.Ordinal))).ToList();
        var clear = questions.Count(p => !p.Has("tls"));
        foreach (var (row, text) in new[] { ("TA-A11", "the delegating router is on another host than home agent and authority: the same result, and questions only inside TLS"), ("TA-C27", "several home agents and one delegating router that all of them ask") })
        {
            rows.Check(row, text, permission && allocation && clear == 0 && registered && Text(_shown["mn"], "state") == "REG", $"Q1 to the authority {permission}, Q2 of the second home agent between IKE_AUTH and its certificate {allocation}, {questions.Count} questions seen, {clear} of them in clear");
        }

        _secondTook = answer is null || next is null ? double.NaN : (answer.Time - next.Time) / 1e6;
        var verified = _mnSays.Any(t => t.Contains(Second, StringComparison.Ordinal));
        foreach (var (row, text) in new[] { ("TA1.183", "the second home agent asks for its certificate between the terminal's IKE_AUTH and its own"), ("TA-G11", "without a certificate beforehand it comes during the run"), ("TA-C22", "certificates obtained beforehand and during the sequence both serve"), ("TA-A14", "a home agent that gets its certificate during the terminal's run is verified") })
        {
            rows.Check(row, text, inTurn && registered && verified, $"IKE_AUTH, ir {Ms(question?.Time ?? 0, request?.Time ?? 0)} later, its end {Ms(question?.Time ?? 0, certified?.Time ?? 0)}, answer {Ms(question?.Time ?? 0, answer?.Time ?? 0)}");
        }
    }

    private void Tries(RowBook rows)
    {
        Refused(rows, "TA-N12", "a home address in no allocated prefix", "N12", "no prefix of");
        Refused(rows, "TA-N13", "the home address of another", "N13", "is not that of");
        Refused(rows, "TA-N13", "an address beside it in the prefix", "N13 spare", "is not that of");
        Refused(rows, "TA-N14", "a certificate that is over", "N14 over", "NotTimeValid");
        Refused(rows, "TA-N14", "one that has not begun", "N14 early", "NotTimeValid");
        Refused(rows, "TA-N14", "one of an authority of the same name", "N14 foreign", "PartialChain");
        Refused(rows, "TA-N15", "a revoked certificate, by OCSP", "N15 OCSP", "OCSP says revoked");
        Refused(rows, "TA-N15", "a revoked certificate, by CRL", "N15 CRL", "lists it as revoked");
        Refused(rows, "TA-N16", "a certificate whose status nobody knows", "N16 refused", "nobody says whether its certificate is revoked");
        var allowed = _secondSays.Any(t => t.Contains("is let in although nobody says", StringComparison.Ordinal)) && _secondSays.Any(t => t.Contains("terminals are let in when nobody can say", StringComparison.Ordinal));
        rows.Check("TA-N16", "the home agent with the exception says so at its start and each time, and goes on to ask whose the prefix is", allowed && !_tried["N16 allowed"].Up && _secondSays.Any(t => t.StartsWith("mn9", StringComparison.Ordinal) && t.Contains("no prefix of", StringComparison.Ordinal)), string.Join("; ", _secondSays.Where(t => t.StartsWith("mn9", StringComparison.Ordinal))));
        Refused(rows, "TA-N17", "a name that is not in the certificate", "N17 name", "neither a name in the certificate");
        Refused(rows, "TA-N17", "IDi that is not TSi", "N17 address", "not the address of the identity");
        Refused(rows, "TA-N17", "a range as TSi", "N17 range", "not exactly one address");
        Refused(rows, "TA-H3", "the appliance's certificate with another key", "H3", "signature");
        Refused(rows, "TA-H5", "a certificate of its name from another authority", "H5", "PartialChain");
        Refused(rows, "TA-H28", "a shared key in place of a certificate", "H28 shared key", "prove itself with a certificate");
        var notify = _newAnswer is { Length: >= 36 } answer && answer[16] == (byte)IkePayloadType.Notify ? (answer[34] << 8) | answer[35] : -1;
        rows.Check("TA-H28", "3DES, SHA-1 and group 2 alone: NO_PROPOSAL_CHOSEN", notify == (int)IkeNotifyType.NoProposalChosen, $"notify {notify}");
        rows.Check("TA-N30", "no answer to IKEv1 main mode", _oldAnswer is null || _oldAnswer[17] >> 4 != 1, _oldAnswer is null ? "none" : Convert.ToHexString(_oldAnswer));
        var errors = On("core-st", _tries).Where(p => p.Sender != "st" && p.Is("isakmp.exchangetype", Auth)).ToList();
        rows.Check("TA-M11", "whatever the cause, the answer to IKE_AUTH is one AUTHENTICATION_FAILED and nothing else", errors.Count >= 14 && errors.All(p => p.Of("isakmp.notify.msgtype").SequenceEqual(["24"])), $"{errors.Count} answers, notifies {string.Join(" ", errors.Select(p => string.Join(",", p.Of("isakmp.notify.msgtype"))).Distinct())}");
        rows.Check("TA-I2", "no try has got an association, and who was registered still is", _tried.Values.All(t => !t.Up && !t.Child) && Text(_shown["appliance at the end"], "state") == "REG", $"{_tried.Count} tries");
    }

    private void Refused(RowBook rows, string row, string text, string name, string reason)
    {
        var outcome = _tried[name];
        rows.Check(row, text + ": refused, and the home agent says why", !outcome.Up && !outcome.Child && _why[name].Contains(reason, StringComparison.Ordinal), $"{outcome.Reason}; {_why[name]}");
    }
}
