using System.Net;
using Sojourn.Lab.Capture;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

/// <summary>NV2: move inside one domain, static path (spec network-vpn section 5).</summary>
public sealed class NetworkVpn2 : MoveScenario
{
    private static readonly IPAddress Company = IPAddress.Parse("10.0.5.2"), Host = IPAddress.Parse("192.168.50.10");

    public override string Name => "network-vpn/2";

    private protected override (string Node, IPAddress Address) Correspondent => ("cn", Host);

    private protected override (Attachment Here, Attachment There) Agents => (new("fa1", "access-1", "core-fa1"), new("fa2", "access-2", "core-fa2"));

    private protected override (string Node, IPAddress Address) FarEnd => ("ha", Home);

    private protected override HandOffRows Rows => new("NV2.10", "NV2.11", "NV2.12", "NV2.13", "NV2.14", "NV2.15", "NV-A5", "NV-A6");

    private protected override IReadOnlyList<(string From, string To)> RoundTrips => [("fa2", "aaaf"), ("fa2", "ha"), ("fa2", "fa1")];

    private protected override IReadOnlyList<string> Hops(string agent) => ["alice", agent, "ha", "sgw", "cn"];

    private protected override void Steps(LabRun run, CaptureSet captures, RowBook rows)
    {
        var (old, next) = (AddressOf(captures.Topology, "fa1"), AddressOf(captures.Topology, "fa2"));
        var want = run.Definition.Options.Security.Seen();
        var request = Of(captures, "RRQ", "alice", "fa2");
        var asked = Of(captures, "AMR", "fa2", "aaaf");
        var answered = Of(captures, "AMA", "aaaf", "fa2");
        var forwarded = Of(captures, "RRQ", "fa2", "ha");
        var reply = Of(captures, "RRP", "ha", "fa2");
        var legs = answered?.Diameter!.Profiles.ToList() ?? [];
        var beyond = First!.Signals(captures).Where(s => s.To == "aaah" || s.From == "aaah").ToList();

        rows.Check("NV2.1", "MN > nFA: RRQ that names the old FA", old.Equals(PreviousAgent(request)), request is null ? "no RRQ" : $"RRQ of {request.MobileIp!.Nai}, care-of {request.MobileIp.CareOfAddress}, old FA {PreviousAgent(request)}");
        rows.Check("NV2.2", "nFA > AAAF: AMR that names it; the AAAH is not asked", old.Equals(PreviousAgent(asked)) && beyond.Count == 0,
            asked is null ? "no AMR" : $"old FA {PreviousAgent(asked)}; to or from the AAAH: {(beyond.Count == 0 ? "nothing" : string.Join(", ", beyond))}");
        rows.Check("NV2.3", "the AAAF takes P(FA-HA) from its cache and replaces oFA by nFA",
            Tables.Increase("before", "after", "aaaf").Any(c => c.Name.EndsWith("move.answered", StringComparison.Ordinal)) && legs is [var cached] && Gateways(cached, next, Home),
            $"{string.Join(", ", Tables.Increase("before", "after", "aaaf").Select(c => $"{c.Name} +{c.By}"))}; {string.Join("; ", legs.Select(Leg))}");
        rows.Check("NV2.4", "AAAF > nFA: AMA with that profile, which nFA caches", answered is not null && answered.Time > asked?.Time && answered.Diameter!.ResultCode == 2001 && Tables.Profiles("after", "fa2", Nai).Count == 1,
            answered is null ? "no AMA" : $"result {answered.Diameter!.ResultCode}; {Tables.Profiles("after", "fa2", Nai).Count} profile at nFA");
        rows.Check("NV2.5", "nFA > HA: the RRQ", forwarded is not null && forwarded.Time > answered?.Time && request is not null && forwarded.MobileIp!.Octets.Span.StartsWith(request.MobileIp!.Octets.Span[..24]),
            forwarded is null ? "no RRQ to the HA" : $"{(forwarded.Time - answered?.Time) / 1e6:F2} ms after the AMA, Identification {forwarded.MobileIp!.Identification:x16}");
        HomeAgentTurns(rows, ("NV2.6", "NV2.7"), old, next, Company);
        rows.Check("NV2.8", "HA > nFA: RRP", reply?.MobileIp!.Code is 0 or 1 && reply.Time > forwarded?.Time, reply is null ? "no RRP" : $"code {reply.MobileIp!.Code}");
        NewAgentSends(captures, rows, "NV2.9", "fa2", "core-fa2", next, want);

        rows.Check("NV-A5", "no AMR passes the AAAF towards the AAAH", !First.Signals(captures).Any(s => s is { Name: "AMR", From: "aaaf" }), beyond.Count == 0 ? "none" : string.Join(", ", beyond));
        DestinationTurns(captures, rows, "NV-A5", "core-ha", "ha", Home, old, next, want);
        var company = SpisOf(captures.On("core-sgw"), Company, Home);
        rows.Check("NV-A5", "the company's tunnel keeps its SPIs", want == SeenProtection.Encapsulation ? company.Count == 0 : company.SetEquals([0x1001u, 0x1002u]), Hex(company));
        rows.Check("NV-A7", "after the hand-off tunnel time oFA shows nothing of this node", Tables.Paths("settled", "fa1", Nai).Count == 0 && Tables.Profiles("settled", "fa1", Nai).Count == 0,
            $"{Tables.Paths("settled", "fa1", Nai).Count} paths, {Tables.Profiles("settled", "fa1", Nai).Count} profiles");
    }
}
