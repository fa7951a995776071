using System.Net;
using Sojourn.Lab.Capture;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

/// <summary>NV5: move inside one domain, dynamic gateway (spec network-vpn section 5).</summary>
public sealed class NetworkVpn5 : MoveScenario
{
    private static readonly IPAddress Partner = IPAddress.Parse("10.0.4.2"), Host = IPAddress.Parse("192.168.60.10");

    public override string Name => "network-vpn/5";

    /// <summary>10 Mbit/s with the headers (NV-A10).</summary>
    private protected override int FlowOctets => 1222;

    private protected override (string Node, IPAddress Address) Correspondent => ("cn", Host);

    private protected override (Attachment Here, Attachment There) Agents => (new("fa1", "access-1", "core-fa1"), new("fa2", "access-2", "core-fa2"));

    private protected override (string Node, IPAddress Address) FarEnd => ("pcn", Partner);

    private protected override HandOffRows Rows => new("NV5.10", "NV5.11", "NV5.12", "NV5.13", "NV5.14", "NV5.15", "NV-A10", "NV-A11");

    private protected override IReadOnlyList<(string From, string To)> RoundTrips => [("fa2", "aaaf"), ("fa2", "ha"), ("ha", "pcn"), ("fa2", "fa1")];

    private protected override IReadOnlyList<string> Hops(string agent) => ["alice", agent, "pcn", "cn"];

    private protected override void Steps(LabRun run, CaptureSet captures, RowBook rows)
    {
        var (old, next) = (AddressOf(captures.Topology, "fa1"), AddressOf(captures.Topology, "fa2"));
        var want = run.Definition.Options.Security.Seen();
        var request = Of(captures, "RRQ", "alice", "fa2");
        var asked = Of(captures, "AMR", "fa2", "aaaf");
        var answered = Of(captures, "AMA", "aaaf", "fa2");
        var forwarded = Of(captures, "RRQ", "fa2", "ha");
        var acknowledgement = Of(captures, "BA", "pcn", "ha");
        var reply = Of(captures, "RRP", "ha", "fa2");
        var legs = answered?.Diameter!.Profiles.ToList() ?? [];
        var beyond = First!.Signals(captures).Where(s => s.To == "aaah" || s.From == "aaah").ToList();

        rows.Check("NV5.1", "MN > nFA: RRQ that names the old FA", old.Equals(PreviousAgent(request)), request is null ? "no RRQ" : $"RRQ of {request.MobileIp!.Nai}, care-of {request.MobileIp.CareOfAddress}, old FA {PreviousAgent(request)}");
        rows.Check("NV5.2", "nFA > AAAF: AMR that names it; the AAAH is not asked", old.Equals(PreviousAgent(asked)) && beyond.Count == 0,
            asked is null ? "no AMR" : $"old FA {PreviousAgent(asked)}; to or from the AAAH: {(beyond.Count == 0 ? "nothing" : string.Join(", ", beyond))}");
        rows.Check("NV5.3", "AAAF > nFA: AMA with P(FA-PCN) from its cache, oFA replaced by nFA, which nFA caches",
            answered is not null && answered.Time > asked?.Time && answered.Diameter!.ResultCode == 2001 && legs is [var cached] && Gateways(cached, next, Partner) && Tables.Profiles("after", "fa2", Nai).Count == 1,
            $"{string.Join("; ", legs.Select(Leg))}; {Tables.Profiles("after", "fa2", Nai).Count} profile at nFA");
        rows.Check("NV5.4", "nFA > HA: the RRQ", forwarded is not null && forwarded.Time > answered?.Time && request is not null && forwarded.MobileIp!.Octets.Span.StartsWith(request.MobileIp!.Octets.Span[..24]),
            forwarded is null ? "no RRQ to the HA" : $"{(forwarded.Time - answered?.Time) / 1e6:F2} ms after the AMA, Identification {forwarded.MobileIp!.Identification:x16}");
        GatewayTurns(captures, rows, ("NV5.5", "NV5.6", "NV5.7"), old, next);
        rows.Check("NV5.8", "HA > nFA: RRP, only after the BA", reply?.MobileIp!.Code is 0 or 1 && reply.Time > acknowledgement?.Time, reply is null ? "no RRP" : $"code {reply.MobileIp!.Code}, {(reply.Time - acknowledgement?.Time) / 1e6:F2} ms after the BA left the gateway");
        NewAgentSends(captures, rows, "NV5.9", "fa2", "core-fa2", next, want);

        rows.Check("NV-A10", "BU and BA between HA and PCN precede the RRP of the HA", acknowledgement is not null && reply?.Time > acknowledgement.Time, $"{acknowledgement?.ToString() ?? "no BA"}, {reply?.ToString() ?? "no RRP"}");
        DestinationTurns(captures, rows, "NV-A10", "core-pcn", "pcn", Partner, old, next, want);
        rows.Check("NV-A11", "oFA's row towards the PCN is gone after the BU", !HasOut("after", "fa1", old, Partner), $"paths of oFA: {Out("after", "fa1")}");
    }
}
