using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>What the parts show together: authority, delegating router and home agent are one chain (spec TA-C1, C2, C11, C13).</summary>
public sealed partial class Authentication1
{
    private const string Identification = "35", Certificate = "37", Authentication = "39", X509Signature = "4";

    private void Together(RowBook rows)
    {
        Permission(rows);
        Associations(rows);
        var ipv4 = Packets.Count(p => p.First("ip.src") is not null);
        rows.Check("TA-P11", "visited, IP and home network are IPv6, joined by routers", ipv4 == 0 && On("access-1", _returned).Any() && On("core-ar1", _returned).Any() && On("core-ha", _returned).Any(),
            $"{Packets.Count(p => p.Source is not null)} IPv6 packets on {Packets.Select(p => p.Link).Distinct().Count()} links, {ipv4} IPv4");
    }

    /// <summary>Query Q1: between what the client sends and what it is answered, under TLS and nowhere else.</summary>
    private void Permission(RowBook rows)
    {
        DissectedPacket? Relayed(string sender, string type, string inner) => On("core-ha", _returned).FirstOrDefault(p => p.Sender == sender && p.Of("dhcpv6.msgtype") is [var outer, .., var last] && outer == type && last == inner);
        var (solicit, advertise) = (Relayed("core", RelayForward, Solicit), Relayed("ha", RelayReply, Advertise));
        var (request, reply) = (Relayed("core", RelayForward, Request), Relayed("ha", RelayReply, Reply));
        if (solicit is null || advertise is null || request is null || reply is null)
        {
            rows.Check("TA1.109", "a delegation is on the link of the delegating router", false, "it is not");
            return;
        }

        IReadOnlyList<DissectedPacket> Queries(string direction, long from, long to) =>
            [.. On("core-ca", from, to).Where(p => p.Is(direction, Authentication1.Queries) && p.Has("tls") && p.Is("tcp.len", "0") is false)];
        foreach (var (step, from, to) in new[] { ("Solicit", solicit.Time, advertise.Time), ("Request", request.Time, reply.Time) })
        {
            var (asked, answered) = (Queries("tcp.dstport", from, to), Queries("tcp.srcport", from, to));
            rows.Check("TA1.109", $"DR > CA: asked after the {step}, before it is answered", asked.Count > 0 && asked[0].From(RouterLink) && asked[0].To(Authority), $"{asked.Count} TLS packets, {Ms(from, asked.Count > 0 ? asked[0].Time : to)} after the {step}");
            rows.Check("TA1.111", $"CA > DR: allowed, and the client hears of it only then", answered.Count > 0 && answered[^1].Time > asked[0].Time, $"{answered.Count} TLS packets, the last {Ms(answered.Count > 0 ? answered[^1].Time : from, to)} before the answer");
        }

        var bare = On("core-ca").Count(p => (p.Is("tcp.dstport", Authentication1.Queries) || p.Is("tcp.srcport", Authentication1.Queries)) && p.Of("tcp.len").Any(l => l != "0") && !p.Has("tls"));
        rows.Check("TA-Q1", "the question and its answer are seen only inside TLS", bare == 0, $"{bare} packets with something else");
        var certificate = On("access-1", _returned).FirstOrDefault(p => p.Sender == "ar1" && p.Is("cmp.body", PkiConfirm));
        rows.Check("TA-C2", "the home address comes of authority, delegating router and home agent together: certificate, question, prefix, question, association",
            certificate?.Time < solicit.Time && _asked.Count == 1 && _asked[0].Contains(_home!.ToString(), StringComparison.Ordinal), $"{_asked.Count} question of the home agent: {_asked.LastOrDefault()}");
        rows.Check("TA-C19", "the delegating router stands in the home agent device", advertise.Sender == "ha" && On("core-ha", _returned).Any(p => p.To(HomeAgent)), "one node answers DHCPv6 and IKEv2");
    }

    /// <summary>Signature, certificate and association belong together, and the registration comes under just that association.</summary>
    private void Associations(RowBook rows)
    {
        var ike = On("access-1", _returned, _removed).Where(p => p.First("isakmp.exchangetype") is SaInit or Auth).ToList();
        rows.Check("TA-S3", "IKE over UDP: a header and one or more payloads", ike.Count >= 4 && ike.All(p => p.Of("udp.port").Any(port => port is "500" or "4500") && p.Of("isakmp.typepayload").Count > 0), $"{ike.Count} messages, fewest payloads {ike.Select(p => p.Of("isakmp.typepayload").Count).DefaultIfEmpty().Min()}");
        var (auth, proof) = (ike.FirstOrDefault(p => p.Sender == "mn" && p.Is("isakmp.exchangetype", Auth)), ike.FirstOrDefault(p => p.Sender != "mn" && p.Is("isakmp.exchangetype", Auth)));
        if (auth is null || proof is null)
        {
            rows.Check("TA-S4", "IKE_AUTH is seen", false, "it is not");
            return;
        }

        rows.Check("TA-S4", "identification, signature and certificate, with the home address named", new[] { Identification, Authentication, Certificate }.All(type => auth.Is("isakmp.typepayload", type)) && auth.Is("isakmp.ts.start_ipv6", _home!.ToString()), Payloads(auth));
        rows.Check("TA0.6", "IKE makes the associations, with signatures and X.509 on both sides", new[] { auth, proof }.All(p => p.Is("isakmp.cert.encoding", X509Signature) && p.First("isakmp.auth.method") is "14" or "9"),
            $"methods {auth.First("isakmp.auth.method")} and {proof.First("isakmp.auth.method")}, certificates {auth.First("isakmp.cert.encoding")} and {proof.First("isakmp.cert.encoding")}");
        var update = On("access-1", proof.Time).FirstOrDefault(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate));
        var acknowledgement = On("access-1", proof.Time).FirstOrDefault(p => p.Sender == "ar1" && p.Is("mip6.mhtype", BindingAcknowledgement));
        var (towards, back) = (Spi(proof), Spi(auth));
        rows.Check("TA-C1", "the registration comes under the association that the signatures made, and the binding has the certificate's identifier",
            towards is not null && back is not null && Spi(update) == towards && Spi(acknowledgement) == back && Text(_shown["binding"], "nai") == Name1,
            $"negotiated {towards:x8} and {back:x8}, used {Spi(update):x8} and {Spi(acknowledgement):x8}, binding of {Text(_shown["binding"], "nai")}");
        rows.Check("TA-C11", "asked for an association, the home agent asks its delegating router, and makes it for the prefix it delegated", _asked.Count == 1 && _asked[0].Contains("lies in its prefix", StringComparison.Ordinal) && towards is not null, _asked.LastOrDefault() ?? "none");
        rows.Check("TA-P7", "IPsec, binding cache and credentials of its own", Spi(update) == towards && Text(_shown["binding"], "homeAddress") == _home!.ToString() && proof.Is("isakmp.id.data.ipv6_addr", HomeAgent) && proof.Is("isakmp.typepayload", Certificate), $"{HomeAgentName}");
        var payload = On("access-1", _toTerminal!.From, _toTerminal.To).Count(p => p.First("esp.spi") is not null && p.First("mip6.mhtype") is null && p.Of("icmpv6.type").Any(t => t is "128" or "129"));
        rows.Check("TA-G34", "the association is for signalling: payload takes none of it", payload == 0 && update is not null && update.First("esp.spi") is not null, $"{payload} pings under it");
    }

    /// <summary>Of an ESP packet, or of the proposal of an IKE_AUTH message; null = none.</summary>
    private static uint? Spi(DissectedPacket? packet)
    {
        var text = packet?.First("esp.spi") ?? packet?.Of("isakmp.spi").LastOrDefault(spi => spi.Replace("0x", "", StringComparison.Ordinal).Replace(":", "", StringComparison.Ordinal).Length == 8);
        return text is null ? null : Convert.ToUInt32(text.Replace("0x", "", StringComparison.Ordinal).Replace(":", "", StringComparison.Ordinal), 16);
    }
}
