using System.Net;
using Sojourn.Lab.Capture;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

/// <summary>NV6: move between domains, dynamic gateway (spec network-vpn section 5).</summary>
public sealed class NetworkVpn6 : MoveScenario
{
    private static readonly IPAddress Partner = IPAddress.Parse("10.0.4.2"), Host = IPAddress.Parse("192.168.60.10");

    public override string Name => "network-vpn/6";

    /// <summary>10 Mbit/s with the headers.</summary>
    private protected override int FlowOctets => 1222;

    private protected override (string Node, IPAddress Address) Correspondent => ("cn", Host);

    private protected override (Attachment Here, Attachment There) Agents => (new("fa1", "access-1", "core-fa1"), new("fa3", "access-3", "core-fa3"));

    private protected override (string Node, IPAddress Address) FarEnd => ("pcn", Partner);

    private protected override HandOffRows Rows => new("NV6.11", "NV6.12", "NV6.13", "NV6.14", "NV6.15", "NV6.15", "NV-A12", "NV6.15");

    private protected override IReadOnlyList<(string From, string To)> RoundTrips => [("fa3", "aaah"), ("aaah", "ha"), ("ha", "pcn"), ("fa3", "fa1")];

    private protected override IReadOnlyList<string> Hops(string agent) => ["alice", agent, "pcn", "cn"];

    private protected override void Steps(LabRun run, CaptureSet captures, RowBook rows)
    {
        var (old, next) = (AddressOf(captures.Topology, "fa1"), AddressOf(captures.Topology, "fa3"));
        var want = run.Definition.Options.Security.Seen();
        var request = Of(captures, "RRQ", "alice", "fa3");
        var first = Of(captures, "AMR", "fa3", "aaaf2");
        var second = Of(captures, "AMR", "aaaf2", "aaah");
        var har = Of(captures, "HAR", "aaah", "ha");
        var acknowledgement = Of(captures, "BA", "pcn", "ha");
        var haa = Of(captures, "HAA", "ha", "aaah");
        var ama = Of(captures, "AMA", "aaah", "aaaf2");
        var relayed = Of(captures, "AMA", "aaaf2", "fa3");
        var legs = har?.Diameter!.Profiles.ToList() ?? [];
        var amaLegs = relayed?.Diameter!.Profiles.ToList() ?? [];
        var searched = Tables.Increase("before", "after", "aaah").Where(c => c.Name.EndsWith("vpn_db.searched", StringComparison.Ordinal)).Sum(c => c.By);
        var unasked = $"{searched} searches during the move, {Tables.Counter("before", "aaah", "vpn_db.searched")} before it";
        var cached = Tables.Profiles("after", "aaaf2", Nai).Count;

        rows.Check("NV6.1", "MN > nFA: RRQ, with the old FA named", request is not null && old.Equals(PreviousAgent(request)), request is null ? "no RRQ" : $"RRQ of {request.MobileIp!.Nai}, care-of {request.MobileIp.CareOfAddress}, old FA {PreviousAgent(request)}");
        rows.Check("NV6.2", "nFA > AAAF' > AAAH: AMR", first is not null && second is not null && second.Time > first.Time, $"{first?.ToString() ?? "missing"}, {second?.ToString() ?? "missing"}");
        rows.Check("NV6.3", "the AAAH takes P(FA-PCN), which it holds, and rewrites its FA to nFA",
            searched == 0 && Tables.Counter("before", "aaah", "vpn_db.searched") > 0 && legs.Any(l => Gateways(l, Partner, next)), $"{unasked}; {string.Join("; ", legs.Select(Leg))}");
        rows.Check("NV6.4", "AAAH > HA: HAR with the profile", legs is [var only] && Gateways(only, Partner, next) && har!.Diameter!.ProfileCache, $"{legs.Count} profile: {string.Join("; ", legs.Select(Leg))}");
        GatewayTurns(captures, rows, ("NV6.5", "NV6.6", "NV6.7"), old, next);
        rows.Check("NV6.8", "HA > AAAH: HAA that names the old FA, only after the BA", haa?.Diameter!.ResultCode == 2001 && old.Equals(PreviousAgent(haa)) && haa.Time > acknowledgement?.Time,
            haa is null ? "no HAA" : $"result {haa.Diameter!.ResultCode}, old FA {PreviousAgent(haa)}, {(haa.Time - acknowledgement?.Time) / 1e6:F2} ms after the BA left the gateway");
        rows.Check("NV6.9", "AAAH > AAAF' > nFA: AMA with P(FA-PCN) and the old FA's address; AAAF' caches it",
            old.Equals(PreviousAgent(ama)) && old.Equals(PreviousAgent(relayed)) && amaLegs is [var leg] && Gateways(leg, next, Partner) && ama!.Time > haa?.Time && relayed!.Time > ama.Time && cached == 1,
            relayed is null ? "no AMA" : $"old FA {PreviousAgent(relayed)}; {string.Join("; ", amaLegs.Select(Leg))}; {cached} profile at the AAAF'");
        NewAgentSends(captures, rows, "NV6.10", "fa3", "core-fa3", next, want);

        rows.Check("NV-A12", "the AMR reaches the AAAH, which asks no database", second is not null && searched == 0, $"{second?.ToString() ?? "no AMR"}; {unasked}");
        rows.Check("NV-A12", "HAA with the old FA only after the BA", acknowledgement is not null && haa?.Time > acknowledgement.Time && old.Equals(PreviousAgent(haa)), $"{acknowledgement?.ToString() ?? "no BA"}, {haa?.ToString() ?? "no HAA"}");
        DestinationTurns(captures, rows, "NV-A12", "core-pcn", "pcn", Partner, old, next, want);
    }
}
