using System.Globalization;
using System.Net;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>Key exchange, registration, traffic and movement with the home agent.</summary>
public sealed partial class Authentication1
{
    private const string HomeAgent = "2001:db8:a::1", HomeAgentName = "ha1.home.example";

    private static readonly TimeSpan s_outOfReach = TimeSpan.FromMilliseconds(20);

    private PingResult? _toTerminal, _toCorrespondent, _overMove;
    private IReadOnlyList<string> _handOvers = [], _verified = [];
    private long _moved;

    /// <summary>The home agent's certificate is obtained beforehand (TA1.181, 182).</summary>
    private static async Task StartHomeAgentAsync(LabRun run, CancellationToken cancellation)
    {
        await EnrolAsync(run, "ha", HomeAgentName, $"http://[{Authority}]:8080", "ha", cancellation);
        await run.Node("ha").StartAsync(cancellation);
    }

    private async Task UseAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("A correspondent pings the home address, and the terminal pings the correspondent");
        _verified = await EventsAsync(run, "mn", "ike.sa.up", cancellation);
        _shown["binding"] = PathLines.Rows(await run.ShowAsync("ha", "bindings", cancellation)).FirstOrDefault();
        _shown["list"] = PathLines.Rows(await run.ShowAsync("mn", "bindings", cancellation)).FirstOrDefault();
        _toTerminal = await run.PingAsync("cn", _home!.ToString(), new PingOptions(20), cancellation);
        run.Progress.Note(_toTerminal.Summary);
        _toCorrespondent = await run.PingAsync("mn", Correspondent, new PingOptions(20), cancellation);
        run.Progress.Note(_toCorrespondent.Summary);
    }

    private async Task MoveAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The terminal moves to network 5a while it is pinged every 10 ms");
        var radio = run.Network.Radio("mn", "eth0");
        var pings = run.PingAsync("cn", _home!.ToString(), new PingOptions(400) { Interval = TimeSpan.FromMilliseconds(10) }, cancellation);
        await Task.Delay(1000, cancellation);
        _removed = LabRun.Now;
        radio.Leave();
        await Task.Delay(s_outOfReach, cancellation);
        radio.Reach("access-2");
        _moved = LabRun.Now;
        _overMove = await pings;
        run.Progress.Note(_overMove.Summary);
        await AwaitAsync(run, "mn is registered again", async () => await StateAsync(run, "mn", cancellation) == "REG", TimeSpan.FromSeconds(20), cancellation);
        await ShowAsync(run, "moved", cancellation);
        _shown["binding moved"] = PathLines.Rows(await run.ShowAsync("ha", "bindings", cancellation)).FirstOrDefault();
        _handOvers = await EventsAsync(run, "mn", "handover.timed", cancellation);
        run.Progress.Note(_handOvers.LastOrDefault() ?? "no hand-over was timed");
    }

    private void KeyExchange(RowBook rows)
    {
        var (asked, answered) = (On("access-1", _returned).FirstOrDefault(p => p.Sender == "mn" && p.Is("icmpv6.type", DiscoveryRequest)), On("access-1", _returned).FirstOrDefault(p => p.Sender == "ar1" && p.Is("icmpv6.type", DiscoveryReply)));
        var anycast = new IPAddress([.. _home!.GetAddressBytes()[..8], 0xFD, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE]);
        rows.Check("TA1.116", "MN > Home-Agents anycast address of its prefix: discovery request", asked is not null && anycast.Equals(asked.Destination), $"{asked?.Destination}");
        rows.Check("TA1.117", "HA > MN: discovery reply", answered is not null && answered.Time > asked?.Time && answered.Is("icmpv6.mip6.home_agent_address", HomeAgent), $"{string.Join(", ", answered?.Of("icmpv6.mip6.home_agent_address") ?? [])}");
        // A request whose answer is late is sent again (RFC 7296 2.1): the first of each counts.
        var ike = On("access-1", _returned, _removed).Where(p => p.First("isakmp.exchangetype") is SaInit or Auth).DistinctBy(p => (p.Sender, p.First("isakmp.exchangetype"), p.First("isakmp.messageid"))).ToList();
        rows.Check("TA1.118", "it takes the address of the answer and speaks IKE with it", ike.FirstOrDefault() is { Sender: "mn" } first && first.To(HomeAgent) && first.Time > answered?.Time, $"{ike.FirstOrDefault()?.Destination}");
        rows.Check("TA-A13", "exactly IKE_SA_INIT and IKE_AUTH", ike.Select(p => (p.Sender == "mn", p.First("isakmp.exchangetype"))).Distinct().SequenceEqual([(true, SaInit), (false, SaInit), (true, Auth), (false, Auth)]), string.Join(", ", ike.Select(p => $"{p.Sender} {p.First("isakmp.exchangetype")}")));
        var update = On("access-1", _returned, _removed).FirstOrDefault(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate));
        rows.Check("TA-M10", "no third message: after request and response of IKE_AUTH both sides use the associations", ike.Count >= 4 && ike.Count(p => p.Is("isakmp.exchangetype", Auth)) == 2 && update?.First("esp.spi") is not null && update.Time > ike[^1].Time
            && On("access-1", update.Time, _removed).Any(p => p.Sender != "mn" && p.Is("mip6.mhtype", BindingAcknowledgement) && p.First("esp.spi") is not null), $"{ike.Count} messages of IKE, then {(update is null ? "no BU" : $"BU under SPI {update.First("esp.spi")}")}");
        if (ike.Count < 4)
        {
            return;
        }

        var (init, chosen) = (ike[0], ike[1]);
        var (auth, proof) = (ike.First(p => p.Sender == "mn" && p.Is("isakmp.exchangetype", Auth)), ike.First(p => p.Sender != "mn" && p.Is("isakmp.exchangetype", Auth)));
        rows.Check("TA1.121", "MN > HA: proposals", init.Is("isakmp.typepayload", "33"), Payloads(init));
        rows.Check("TA1.123", "with key exchange value and nonce", init.Is("isakmp.typepayload", "34") && init.Is("isakmp.typepayload", "40"), Payloads(init));
        rows.Check("TA1.122", "HA > MN: the proposal chosen", chosen.Sender == "ar1" && chosen.Is("isakmp.typepayload", "33"), Payloads(chosen));
        rows.Check("TA1.124", "with key exchange value and nonce", chosen.Is("isakmp.typepayload", "34") && chosen.Is("isakmp.typepayload", "40"), Payloads(chosen));
        rows.Check("TA1.125", "MN > HA: identity, certificate and signature; the home address as selector", auth.Is("isakmp.id.data.fqdn", Name1) && auth.Is("isakmp.typepayload", "37") && auth.Is("isakmp.typepayload", "39") && auth.Is("isakmp.ts.start_ipv6", _home.ToString()),
            $"{string.Join(",", auth.Of("isakmp.id.data.fqdn"))}, selectors {string.Join(",", auth.Of("isakmp.ts.start_ipv6"))}, payloads {Payloads(auth)}");
        rows.Check("TA1.129", "HA > MN: its address as identity, certificate and signature", proof.Is("isakmp.id.data.ipv6_addr", HomeAgent) && proof.Is("isakmp.typepayload", "37") && proof.Is("isakmp.typepayload", "39"), $"{string.Join(",", proof.Of("isakmp.id.data.ipv6_addr"))}, payloads {Payloads(proof)}");
        rows.Check("TA1.129a", "the terminal has verified it", _verified.Any(t => t.Contains(HomeAgent, StringComparison.Ordinal)), _verified.LastOrDefault() ?? "none");
        rows.Check("TA1.130", "the IPsec proposal, transport mode", auth.Is("isakmp.typepayload", "33") && auth.Is("isakmp.notify.msgtype", "16391"), $"notifies {string.Join(",", auth.Of("isakmp.notify.msgtype"))}");
        rows.Check("TA1.131", "the one chosen, transport mode", proof.Is("isakmp.typepayload", "33") && proof.Is("isakmp.notify.msgtype", "16391"), $"notifies {string.Join(",", proof.Of("isakmp.notify.msgtype"))}");
        rows.Measure("key exchange as the terminal sees it", (proof.Time - init.Time) / 1e6, "ms");
    }

    private void Registration(RowBook rows)
    {
        var update = On("access-1", _returned).FirstOrDefault(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate));
        var acknowledgement = On("access-1", _returned).FirstOrDefault(p => p.Sender == "ar1" && p.Is("mip6.mhtype", BindingAcknowledgement));
        var careOf = Text(_shown["arrived"], "careOfAddress");
        rows.Check("TA1.133", "MN > HA: BU from the care-of address with the home address as option, behind ESP", update is not null && update.From(careOf) && update.To(HomeAgent) && update.Is("ipv6.opt.mipv6.home_address", _home!.ToString()) && update.First("esp.spi") is not null,
            update is null ? "none" : $"{update.Source} > {update.Destination}, home address {update.First("ipv6.opt.mipv6.home_address")}, SPI {update.First("esp.spi")}");
        rows.Check("TA1.136", "HA > MN: BA to the care-of address with the home address in the routing header, behind ESP", acknowledgement is not null && acknowledgement.From(HomeAgent) && acknowledgement.To(careOf) && acknowledgement.Is("ipv6.routing.mipv6.home_address", _home!.ToString())
            && acknowledgement.First("esp.spi") is not null && acknowledgement.First("esp.spi") != update?.First("esp.spi"),
            acknowledgement is null ? "none" : $"{acknowledgement.Source} > {acknowledgement.Destination}, status {acknowledgement.First("mip6.ba.status")}, SPI {acknowledgement.First("esp.spi")}");
        rows.Check("TA1.135", "the home agent's binding has home address and care-of address", Text(_shown["binding"], "homeAddress") == _home!.ToString() && Text(_shown["binding"], "careOfAddress") == careOf, _shown["binding"].ToString());
        rows.Check("TA1.137", "the terminal's list entry is registered", Text(_shown["arrived"], "state") == "REG" && Text(_shown["list"], "requestSent") == "False" && _states.Contains("SA to BUP BUP to REG", StringComparison.Ordinal), _states);
        var clear = Packets.Where(p => p.Time >= _returned && p.First("mip6.mhtype") is not null && p.First("esp.spi") is null).ToList();
        rows.Check("TA-A17", "updates and acknowledgements are seen only as ESP, on every link", clear.Count == 0 && update is not null && acknowledgement is not null, $"{clear.Count} in clear, {Packets.Count(p => p.First("mip6.mhtype") is not null)} under ESP");
        if (update is not null && acknowledgement is not null)
        {
            rows.Measure("registration as the terminal sees it", (acknowledgement.Time - update.Time) / 1e6, "ms");
            rows.Measure("from the card to the registration", (acknowledgement.Time - _returned) / 1e6, "ms");
        }
    }

    private void Traffic(RowBook rows)
    {
        rows.Check("TA-A18", "a correspondent's unmodified ping to the home address is answered, and the terminal's to it", _toTerminal!.AllArrived && _toCorrespondent!.AllArrived, $"{_toTerminal.Summary}; {_toCorrespondent!.Summary}");
        bool InTunnel(DissectedPacket p, string sender) => p.Sender == sender && p.Of("ipv6.src").Count == 2 && p.Of("icmpv6.type").Any(t => t is "128" or "129");
        var (down, up) = (On("access-1", _toTerminal.From, _toTerminal.To).Count(p => InTunnel(p, "ar1")), On("access-1", _toTerminal.From, _toTerminal.To).Count(p => InTunnel(p, "mn")));
        var bare = On("access-1", _returned).Concat(On("access-2", _returned)).Count(p => p.Of("ipv6.src").Count == 1 && (_home!.Equals(p.Source) || _home.Equals(p.Destination)));
        rows.Check("TA-A18", "through the tunnel between care-of address and home agent, never past it", down == _toTerminal.Sent && up == _toTerminal.Received && bare == 0, $"{down} down, {up} up in the tunnel, {bare} past it");
        bool Ping(DissectedPacket p, int headers) => p.Of("ipv6.src").Count == headers && p.Is("icmpv6.type", "128") && p.Of("ipv6.dst")[^1] == _home!.ToString();
        var captured = On("core-ha", _toTerminal.From, _toTerminal.To).Where(p => Ping(p, 1) && p.Sender == "core").ToList();
        var forwarded = On("core-ha", _toTerminal.From, _toTerminal.To).Where(p => Ping(p, 2) && p.Sender == "ha" && p.From(HomeAgent) && p.To(Text(_shown["arrived"], "careOfAddress"))).ToList();
        rows.Check("TA-P12", "the home agent takes what the correspondent sends to the home address and forwards it to the care-of address", captured.Count == _toTerminal.Sent && forwarded.Count == captured.Count && captured.All(p => p.From(Correspondent)), $"{captured.Count} to {_home} taken, {forwarded.Count} forwarded to {Text(_shown["arrived"], "careOfAddress")}");
        rows.Check("TA-C9", "with signature material from a store that was put in later it is registered and reached before it has moved at all", _verified.Count > 0 && _toTerminal.AllArrived && _toTerminal.To < _removed, $"card after {Ms(_started, _returned)}, reached {Ms(_toTerminal.To, _removed)} before its first move");
        rows.Measure("ping through the home agent, median", _toTerminal.Median, "ms");
    }

    private void Movement(RowBook rows)
    {
        var update = On("access-2", _moved).FirstOrDefault(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate));
        var before = On("access-1", _returned, _removed).LastOrDefault(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate));
        var exchanges = On("access-2", _moved).Count(p => p.Is("isakmp.exchangetype", SaInit));
        var careOf = Text(_shown["moved"], "careOfAddress");
        rows.Check("TA-A19", "on the new link a BU under the same SPI with K set, no new IKE_SA_INIT", update is not null && before is not null && update.First("esp.spi") == before.First("esp.spi") && update.Of("mip6.bu.k_flag").Any(f => f is "1" or "True") && exchanges == 0,
            update is null ? "no BU" : $"SPI {before?.First("esp.spi")} and {update.First("esp.spi")}, K {update.First("mip6.bu.k_flag")}, {exchanges} IKE_SA_INIT");
        rows.Check("TA-A19", "the binding shows the new care-of address, and the home address stays", IPAddress.TryParse(careOf, out var there) && s_second.Contains(there) && Text(_shown["binding moved"], "careOfAddress") == careOf && Text(_shown["moved"], "homeAddress") == _home!.ToString(), $"{careOf}");
        var replies = Packets.Where(p => p.Time >= _overMove!.From && p.Sender == "mn" && p.Is("icmpv6.type", "129")).ToList();
        var (last, next) = (replies.LastOrDefault(p => p.Link == "access-1"), replies.FirstOrDefault(p => p.Link == "access-2"));
        var gap = last is null || next is null ? double.NaN : (next.Time - last.Time) / 1e6;
        rows.Check("TA0.1", "the terminal is reached at the same home address again", _overMove!.Received > _overMove.Sent / 2 && double.IsFinite(gap), string.Create(CultureInfo.InvariantCulture, $"{_overMove.Summary}, gap {gap:F0} ms; {_handOvers.LastOrDefault()}"));
        rows.Measure("gap of a move, from the last reply on the old link to the first on the new", gap, "ms");
        rows.Measure("pings of 10 ms lost over the move", _overMove.Sent - _overMove.Received, "packets");
    }
}
