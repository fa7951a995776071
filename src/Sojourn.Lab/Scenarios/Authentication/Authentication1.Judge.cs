using System.Globalization;
using System.Net;
using System.Text;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>What the wires carried, as tshark reads it with the exported keys.</summary>
public sealed partial class Authentication1
{
    private static readonly string[] Columns = ["mn", "ar1", "ar2", "core", "ca", "ha", "cn"];

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        rows.Part("Link", () => Link(rows));
        rows.Part("Card", () => Card(run, rows));
        rows.Part("Enrolment", () => Enrolment(run, rows));
        rows.Part("Delegation", () => Delegation(rows));
        rows.Part("KeyExchange", () => KeyExchange(rows));
        rows.Part("Registration", () => Registration(rows));
        rows.Part("Traffic", () => Traffic(rows));
        rows.Part("Movement", () => Movement(rows));
        rows.Part("Together", () => Together(rows));
    }

    private void Link(RowBook rows)
    {
        var advertised = On("access-1", _started).FirstOrDefault(p => p.Sender == "ar1" && p.Is("icmpv6.type", RouterAdvertisement));
        var own = On("access-1", _started).FirstOrDefault(p => p.Sender == "mn" && p.Source is { } source && s_first.Contains(source));
        rows.Check("TA1.101", "the access router's advertisement reaches the terminal at power-on, with prefix and M bit (clear)", advertised is not null && advertised.Is("icmpv6.opt.prefix", s_first.BaseAddress.ToString())
            && !advertised.Is("icmpv6.nd.ra.flag.m", "1") && !advertised.Is("icmpv6.nd.ra.flag.m", "True") && own is not null && own.Time > advertised.Time,
            advertised is null || own is null ? "none" : $"radvd {string.Join(", ", advertised.Of("icmpv6.opt.prefix"))}, M {advertised.First("icmpv6.nd.ra.flag.m")}; first packet from {own.Source} {Ms(advertised.Time, own.Time)} later");
        rows.Check("TA0.2", "the prefix is not the home prefix: the terminal forms a care-of address in it", own is not null && Text(_shown["arrived"], "careOfAddress") == own.Source!.ToString() && !s_pool.Contains(own.Source), $"{Text(_shown["arrived"], "careOfAddress")}");
    }

    private void Card(LabRun run, RowBook rows)
    {
        var signed = On("access-1", _started, _returned).Where(p => p.Sender == "mn" && (p.Has("cmp") || p.Has("isakmp") || p.Has("dhcpv6"))).ToList();
        rows.Check("TA-N28", "without its store the terminal stops at DEV and says why; nothing of what follows leaves", Text(_shown["without card"], "state") == "DEV" && _missing.Length > 0 && signed.Count == 0,
            $"{Text(_shown["without card"], "state")}: {_missing}; {signed.Count} packets of CMP, DHCPv6 or IKE");
        var loaded = On("access-1", _returned).FirstOrDefault(p => p.Sender == "mn" && p.Is("cmp.body", InitializationRequest));
        rows.Check("TA1.104a", "identifier and keys are loaded from the store, which comes last", loaded is not null && Text(_shown["arrived"], "nai") == Name1, loaded is null ? "no request" : $"{Text(_shown["arrived"], "nai")} asks {Ms(_returned, loaded.Time)} after its card was put in");

        var places = Directory.GetFiles(Path.Combine(run.Evidence, "captures")).Concat(Directory.GetFiles(Path.Combine(run.Evidence, "nodes"), "*", SearchOption.AllDirectories)).ToList();
        byte[][] forms = [_privateKey, Encoding.ASCII.GetBytes(Convert.ToHexStringLower(_privateKey)), Encoding.ASCII.GetBytes(Convert.ToHexString(_privateKey)), Encoding.ASCII.GetBytes(Convert.ToBase64String(_privateKey)[..40])];
        var found = places.Where(f => File.ReadAllBytes(f) is var octets && forms.Any(form => octets.AsSpan().IndexOf(form) >= 0)).Select(Path.GetFileName).ToList();
        var asked = File.ReadAllBytes(Path.Combine(run.Evidence, "captures", "access-1.pcapng"));
        var named = asked.AsSpan().IndexOf(Encoding.ASCII.GetBytes(Name1)) >= 0;
        var certified = asked.AsSpan().IndexOf(_publicKey.AsSpan(_publicKey.Length - 64)) >= 0;
        rows.Check("TA-A7", "the request carries the store's identifier and public key; the private key is nowhere", loaded is not null && named && certified && found.Count == 0 && forms.Length == 4,
            $"identifier {(named ? "seen" : "not seen")}, public key {(certified ? "seen" : "not seen")}, private key in {found.Count} of {places.Count} files");
    }

    private void Enrolment(LabRun run, RowBook rows)
    {
        DissectedPacket? Message(string link, string sender, string body) => On(link, _returned).FirstOrDefault(p => p.Sender == sender && p.Is("cmp.body", body));
        var (request, response) = (Message("access-1", "mn", InitializationRequest), Message("access-1", "ar1", InitializationResponse));
        var (confirm, confirmed) = (Message("access-1", "mn", CertificateConfirm), Message("access-1", "ar1", PkiConfirm));
        var careOf = IPAddress.Parse(Text(_shown["arrived"], "careOfAddress"));
        rows.Check("TA1.105", "MN > CA: ir, from the care-of address", request is not null && careOf.Equals(request.Source) && request.To(Authority) && Message("core-ca", "core", InitializationRequest) is not null,
            request is null ? "none" : $"{request.Source} > {request.Destination}");
        rows.Check("TA1.107", "CA > MN: ip, then certConf and pkiConf", request is not null && response?.Time > request.Time && confirm?.Time > response.Time && confirmed?.Time > confirm.Time,
            response is null || confirmed is null ? "not complete" : $"{Ms(request!.Time, response.Time)} to the certificate, {Ms(request.Time, confirmed.Time)} with confirmation");
        var authority = File.ReadAllText(Path.Combine(run.Evidence, "nodes", "mn", "log.jsonl"));
        rows.Check("TA1.107a", "certificate and the authority's certificate lie beside the key pair", _store.SequenceEqual(["authorities.pem", "certificate.pem", "identifier", "key.pem"]) && _storeText.Count == 2 && _storeText.All(t => t.Contains("BEGIN CERTIFICATE", StringComparison.Ordinal))
            && authority.Contains("terminal.enrolled", StringComparison.Ordinal), string.Join(", ", _store));
        if (request is not null && confirmed is not null)
        {
            rows.Measure("enrolment as the terminal sees it", (confirmed.Time - request.Time) / 1e6, "ms");
        }
    }

    private void Delegation(RowBook rows)
    {
        DissectedPacket? Message(string link, string sender, string type, Func<DissectedPacket, bool>? more = null) =>
            On(link, _returned).FirstOrDefault(p => p.Sender == sender && p.Is("dhcpv6.msgtype", type) && (more is null || more(p)));
        var solicit = Message("access-1", "mn", Solicit);
        var (advertise, request, reply) = (Message("access-1", "ar1", Advertise), Message("access-1", "mn", Request), Message("access-1", "ar1", Reply));
        rows.Check("TA1.108", "MN > ff02::1:2: Solicit with client identifier and IA_PD with its IAID", solicit is not null && solicit.To("ff02::1:2") && Names(solicit) && solicit.Is("dhcpv6.option.type", "1") && solicit.Is("dhcpv6.option.type", "25")
            && solicit.Source!.IsIPv6LinkLocal, solicit is null ? "none" : $"{solicit.Source}, IAID {string.Join(",", solicit.Of("dhcpv6.iaid"))}, options {string.Join(",", solicit.Of("dhcpv6.option.type"))}");
        var (forward, back) = (Message("core-ha", "core", RelayForward), Message("core-ha", "ha", RelayReply));
        rows.Check("TA-G14", "the relay agent of the access router takes the Solicit to the delegating router at home", forward is not null && forward.Time > solicit?.Time && forward.Of("dhcpv6.msgtype") is [RelayForward, .., Solicit] && forward.From("2001:db8:1::2") && forward.To(RouterLink), forward is null ? "none" : $"{string.Join(" ", forward.Of("dhcpv6.msgtype"))}, {forward.Source} > {forward.Destination}");
        rows.Check("TA-M22", "the access router relays it home and brings the answer back", forward is not null && back is not null && forward.From("2001:db8:1::2") && forward.To(RouterLink) && back.To("2001:db8:1::2"), forward is null || back is null ? "none" : $"{forward.Source} > {forward.Destination} and back");
        rows.Check("TA1.112", "DR > MN: Advertise with server identifier, client identifier and IA_PD", advertise is not null && advertise.Time > solicit?.Time && advertise.Is("dhcpv6.option.type", "2") && advertise.Is("dhcpv6.option.type", "1") && Names(advertise), advertise is null ? "none" : $"prefix {advertise.First("dhcpv6.iaprefix.pref_addr") ?? "none"}");
        var prefix = reply?.First("dhcpv6.iaprefix.pref_addr");
        rows.Check("TA1.113", "MN > DR: Request with the IA_PD and the prefix advertised", request is not null && Names(request) && request.First("dhcpv6.iaprefix.pref_addr") == advertise?.First("dhcpv6.iaprefix.pref_addr"), request is null ? "none" : $"prefix {request.First("dhcpv6.iaprefix.pref_addr")}");
        rows.Check("TA-C21", "a prefix that the Advertise names is named in the Request", advertise?.First("dhcpv6.iaprefix.pref_addr") is { } named && request is not null && request.Is("dhcpv6.iaprefix.pref_addr", named), $"{advertise?.First("dhcpv6.iaprefix.pref_addr")} and {request?.First("dhcpv6.iaprefix.pref_addr")}");
        rows.Check("TA-A9", "the prefix is in the Advertise, the Request names it and the Reply grants the same", advertise?.First("dhcpv6.iaprefix.pref_addr") is { } offered && request?.First("dhcpv6.iaprefix.pref_addr") == offered && prefix == offered, $"{prefix}");
        rows.Check("TA1.114", "DR > MN: Reply with a prefix of the pool", prefix is not null && s_pool.Contains(IPAddress.Parse(prefix)), prefix ?? "none");
        rows.Check("TA1.115", "home address = prefix and interface identifier, on the side that applications see", _home is not null && prefix is not null && new IPNetwork(IPAddress.Parse(prefix), 64).Contains(_home) && _home.GetAddressBytes()[8..].SequenceEqual(Identifier()),
            $"{_home}");
        if (solicit is not null && reply is not null)
        {
            rows.Measure("prefix delegation as the terminal sees it", (reply.Time - solicit.Time) / 1e6, "ms");
        }
    }

    /// <summary>Whether a message is about the terminal's IAID, 193.</summary>
    private static bool Names(DissectedPacket message) => message.Of("dhcpv6.iaid").Any(iaid => iaid.EndsWith("c1", StringComparison.OrdinalIgnoreCase));

    /// <summary>The interface identifier of the care-of address, which is made from the same link-layer address.</summary>
    private byte[] Identifier() => IPAddress.Parse(Text(_shown["arrived"], "careOfAddress")).GetAddressBytes()[8..];

    /// <summary>The terminal's own story: what crossed its links and is no neighbour discovery.</summary>
    private IEnumerable<LadderStep> Steps()
    {
        var seen = new HashSet<string>();
        foreach (var packet in Packets.Where(p => p.Link.StartsWith("access", StringComparison.Ordinal) && p.Time >= _started))
        {
            var (name, kind) = Describe(packet);
            var to = packet.Sender == "mn" ? Owner(packet) : "mn";
            var from = packet.Sender == "mn" ? "mn" : OwnerOf(packet.Source) ?? packet.Sender;
            if (name is not null && (kind != LadderKind.Clear || seen.Add($"{from} {to} {name}")) && (kind != LadderKind.Protected || seen.Add($"{from} {to} {name} {packet.First("esp.spi")} {packet.Link}")))
            {
                yield return new LadderStep((packet.Time - _started) / 1e6, from, to, name, $"{packet.Source} > {packet.Destination}", kind);
            }
        }
    }

    private static string Owner(DissectedPacket packet) => OwnerOf(packet.Destination) ?? (packet.Link == "access-1" ? "ar1" : "ar2");

    private static string? OwnerOf(IPAddress? address) => address switch
    {
        null => null,
        _ when address.Equals(IPAddress.Parse(Authority)) => "ca",
        _ when address.Equals(IPAddress.Parse(HomeAgent)) => "ha",
        _ when address.Equals(IPAddress.Parse(Correspondent)) => "cn",
        _ => null,
    };

    private static (string? Name, LadderKind Kind) Describe(DissectedPacket packet) => packet switch
    {
        _ when packet.Is("icmpv6.type", RouterAdvertisement) => ("RA", LadderKind.Clear),
        _ when packet.First("cmp.body") is { } body => (body switch { InitializationRequest => "ir", InitializationResponse => "ip", CertificateConfirm => "certConf", PkiConfirm => "pkiConf", _ => $"CMP {body}" }, LadderKind.Diameter),
        _ when packet.First("dhcpv6.msgtype") is { } type => (type switch { Solicit => "Solicit", Advertise => "Advertise", Request => "Request", Reply => "Reply", _ => $"DHCPv6 {type}" }, LadderKind.Diameter),
        _ when packet.First("isakmp.exchangetype") is { } exchange => (exchange switch { "34" => "IKE_SA_INIT", "35" => "IKE_AUTH", "37" => "INFORMATIONAL", _ => $"IKE {exchange}" }, LadderKind.Diameter),
        _ when packet.Is("icmpv6.type", DiscoveryRequest) || packet.Is("icmpv6.type", DiscoveryReply) => (packet.Is("icmpv6.type", DiscoveryRequest) ? "discovery request" : "discovery reply", LadderKind.MobileIp),
        _ when packet.First("mip6.mhtype") is { } message => (message switch { "5" => "BU", "6" => "BA", _ => $"MH {message}" }, LadderKind.Binding),
        _ when packet.Of("ipv6.src").Count > 1 => ("tunnel", LadderKind.Protected),
        _ => (null, LadderKind.Clear),
    };
}
