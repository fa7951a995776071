using System.Net;
using Sojourn.Lab.Capture;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

/// <summary>NV3: move between domains, static path (spec network-vpn section 5).</summary>
public sealed class NetworkVpn3 : MoveScenario
{
    private static readonly IPAddress Company = IPAddress.Parse("10.0.5.2"), Host = IPAddress.Parse("192.168.50.10");

    public override string Name => "network-vpn/3";

    private protected override (string Node, IPAddress Address) Correspondent => ("cn", Host);

    private protected override (Attachment Here, Attachment There) Agents => (new("fa1", "access-1", "core-fa1"), new("fa3", "access-3", "core-fa3"));

    private protected override (string Node, IPAddress Address) FarEnd => ("ha", Home);

    private protected override HandOffRows Rows => new("NV3.10", "NV3.11", "NV3.12", "NV3.13", "NV3.14", "NV3.14", "NV-A8", "NV3.14");

    private protected override IReadOnlyList<(string From, string To)> RoundTrips => [("fa3", "aaah"), ("aaah", "ha"), ("fa3", "fa1")];

    private protected override IReadOnlyList<string> Hops(string agent) => ["alice", agent, "ha", "sgw", "cn"];

    private protected override void Steps(LabRun run, CaptureSet captures, RowBook rows)
    {
        var (old, next) = (AddressOf(captures.Topology, "fa1"), AddressOf(captures.Topology, "fa3"));
        var want = run.Definition.Options.Security.Seen();
        var request = Of(captures, "RRQ", "alice", "fa3");
        var first = Of(captures, "AMR", "fa3", "aaaf2");
        var second = Of(captures, "AMR", "aaaf2", "aaah");
        var har = Of(captures, "HAR", "aaah", "ha");
        var haa = Of(captures, "HAA", "ha", "aaah");
        var ama = Of(captures, "AMA", "aaah", "aaaf2");
        var relayed = Of(captures, "AMA", "aaaf2", "fa3");
        var legs = har?.Diameter!.Profiles.ToList() ?? [];
        var amaLegs = ama?.Diameter!.Profiles.ToList() ?? [];
        var searched = Tables.Increase("before", "after", "aaah").Where(c => c.Name.EndsWith("vpn_db.searched", StringComparison.Ordinal)).Sum(c => c.By);
        var unasked = $"{searched} searches during the move, {Tables.Counter("before", "aaah", "vpn_db.searched")} before it";

        rows.Check("NV3.1", "MN > nFA: RRQ, with the old FA named", request is not null && old.Equals(PreviousAgent(request)), request is null ? "no RRQ" : $"RRQ of {request.MobileIp!.Nai}, care-of {request.MobileIp.CareOfAddress}, old FA {PreviousAgent(request)}");
        rows.Check("NV3.2", "nFA > AAAF' > AAAH: AMR", first is not null && second is not null && second.Time > first.Time, $"{first?.ToString() ?? "missing"}, {second?.ToString() ?? "missing"}");
        rows.Check("NV3.3", "the AAAH takes the path it holds and rewrites its FA to nFA",
            searched == 0 && Tables.Counter("before", "aaah", "vpn_db.searched") > 0 && legs.Any(l => Gateways(l, Home, next)), $"{unasked}; {string.Join("; ", legs.Select(Leg))}");
        rows.Check("NV3.4", "AAAH > HA: HAR with both profiles", legs.Count == 2 && legs.Any(l => Gateways(l, Home, next)) && legs.Any(l => Gateways(l, Home, Company)) && har!.Diameter!.ProfileCache, $"{legs.Count} profiles: {string.Join("; ", legs.Select(Leg))}");
        HomeAgentTurns(rows, ("NV3.5", "NV3.5"), old, next, Company);
        rows.Check("NV3.6", "HA > AAAH: HAA that names the old FA", haa?.Diameter!.ResultCode == 2001 && old.Equals(PreviousAgent(haa)), haa is null ? "no HAA" : $"result {haa.Diameter!.ResultCode}, old FA {PreviousAgent(haa)}");
        rows.Check("NV3.7", "AAAH > AAAF': AMA with P(FA-HA) and the old FA's address", old.Equals(PreviousAgent(ama)) && amaLegs is [var leg] && Gateways(leg, next, Home) && ama!.Time > haa?.Time,
            ama is null ? "no AMA" : $"old FA {PreviousAgent(ama)}; {string.Join("; ", amaLegs.Select(Leg))}");
        var cached = Tables.Profiles("after", "aaaf2", Nai).Count;
        rows.Check("NV3.8", "AAAF' caches the profile and relays the AMA to nFA", relayed is not null && relayed.Time > ama?.Time && cached == 1, $"{relayed?.ToString() ?? "not relayed"}; {cached} profile at the AAAF'");
        NewAgentSends(captures, rows, "NV3.9", "fa3", "core-fa3", next, want);

        rows.Check("NV-A8", "the AMR reaches the AAAH, which asks no database", second is not null && searched == 0, $"{second?.ToString() ?? "no AMR"}; {unasked}");
        rows.Check("NV-A8", "HAA and AMA carry the old FA", old.Equals(PreviousAgent(haa)) && old.Equals(PreviousAgent(relayed)), $"HAA {PreviousAgent(haa)}, AMA {PreviousAgent(relayed)}");
        rows.Check("NV-A8", "the cache of the AAAF' is filled", cached == 1, $"{cached} profile");
        DestinationTurns(captures, rows, "NV-A8", "core-ha", "ha", Home, old, next, want);
    }
}
