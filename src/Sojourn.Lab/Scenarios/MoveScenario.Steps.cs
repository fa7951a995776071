using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

/// <summary>Steps that several kinds of move have.</summary>
public abstract partial class MoveScenario
{
    /// <summary>The old agent named in a request (docs/wire-extensions.md section 2) or a Diameter message (section 1); null when none is.</summary>
    private protected static IPAddress? PreviousAgent(Signal? message)
    {
        if (message?.Diameter is { } diameter)
        {
            return diameter.Find(4, DiameterView.SojournVendor)?.Address;
        }

        // RFC 3115: two octets reserved, vendor, type 3 of that vendor, address.
        return message?.MobileIp?.Extensions
            .Where(e => e.Type == 134 && e.Data.Length >= 12 && BinaryPrimitives.ReadUInt32BigEndian(e.Data.Span[2..]) == DiameterView.SojournVendor && BinaryPrimitives.ReadUInt16BigEndian(e.Data.Span[6..]) == 3)
            .Select(e => new IPAddress(e.Data.Span.Slice(8, 4))).FirstOrDefault();
    }

    /// <summary>The home agent's part.</summary>
    private protected void HomeAgentTurns(RowBook rows, (string Cache, string Tunnels) ids, IPAddress old, IPAddress next, IPAddress company)
    {
        var profiles = Tables.Profiles("after", "ha", Nai);
        rows.Check(ids.Cache, "the HA's profile towards the FA names nFA and no longer oFA", profiles.Any(p => Mentions(p, next.ToString())) && !profiles.Any(p => Mentions(p, old.ToString())),
            string.Join("; ", profiles.Select(p => $"{Text(p, "sourceGateway")} > {Text(p, "destinationGateway")}")));
        var turned = Tables.Path("after", "ha", Home, next, Nai);
        rows.Check(ids.Tunnels, "HA: the tunnel to oFA is gone, one to nFA stands, and what comes from nFA is taken", !HasOut("after", "ha", Home, old) && Tables.Legs("after", "ha", Home, next) == (true, true), $"paths of the HA: {Out("after", "ha")}");
        var (before, after) = (PathText(Tables.Path("before", "ha", Home, company, Nai)), PathText(Tables.Path("after", "ha", Home, company, Nai)));
        rows.Check(ids.Tunnels, "the tunnels to and from the company's gateway are untouched", before == after && turned.ValueKind == System.Text.Json.JsonValueKind.Object, $"before: {before}; after: {after}");
    }

    /// <summary>The new agent's tunnel to the far end.</summary>
    private protected void NewAgentSends(CaptureSet captures, RowBook rows, string id, string node, string core, IPAddress next, SeenProtection want)
    {
        var sent = captures.On(core).Where(p => p.SenderNode == node && p.Between(next, FarEnd.Address) && p.Protection == want && p.Time >= First!.Began && p.Time <= First.Registration.Replied + 2_000_000_000L).ToList();
        rows.Check(id, $"nFA: marks by DiffServ, sets its tunnel to {FarEnd.Node}, takes what comes from it",
            Tables.Legs("after", node, next, FarEnd.Address) == (true, true) && sent.Count > 0 && sent.All(p => p.Packet.Dscp == 46),
            $"{sent.Count} {want.Name()} nFA > {FarEnd.Node}, outer DSCP {string.Join("/", sent.Select(p => p.Packet.Dscp).Distinct())}; paths of nFA: {Out("after", node)}");
    }

    /// <summary>The partner gateway's part: one binding update from the home agent, one acknowledgement, and the turn.</summary>
    private protected void GatewayTurns(CaptureSet captures, RowBook rows, (string Update, string Turn, string Acknowledgement) ids, IPAddress old, IPAddress next)
    {
        var updates = First!.Signals(captures).Where(s => s is { Name: "BU", From: "ha" }).ToList();
        var update = updates.FirstOrDefault();
        var acknowledgement = Of(captures, "BA", FarEnd.Node, "ha");
        var profiles = Tables.Profiles("after", "ha", Nai);
        rows.Check(ids.Update, "HA: its profile names nFA instead of oFA, so BU to the CN, once", updates.Count == 1 && update!.Way[0].Packet.Destination.Equals(Correspondent.Address) && next.Equals(update.MobileIp!.CareOfAddress)
                && profiles.Any(p => Mentions(p, next.ToString())) && !profiles.Any(p => Mentions(p, old.ToString())),
            update is null ? "no BU" : $"{updates.Count} BU to {update.Way[0].Packet.Destination}, care-of {update.MobileIp!.CareOfAddress}; {string.Join("; ", profiles.Select(p => $"{Text(p, "sourceGateway")} > {Text(p, "destinationGateway")}"))}");
        rows.Check(ids.Turn, $"{FarEnd.Node}: the tunnel to oFA is gone, one to nFA stands, and what comes from nFA is taken",
            !HasOut("after", FarEnd.Node, FarEnd.Address, old) && Tables.Legs("after", FarEnd.Node, FarEnd.Address, next) == (true, true), $"paths: {string.Join("; ", Tables.Rows("after", FarEnd.Node, "paths").Select(p => $"{Text(p, "state")} {PathText(p)}"))}");
        rows.Check(ids.Acknowledgement, $"{FarEnd.Node} > HA: BA, accepted", acknowledgement?.MobileIp!.Code == 0 && acknowledgement.Time > update?.Time,
            acknowledgement is null ? "no BA" : $"status {acknowledgement.MobileIp!.Code}, {(acknowledgement.Time - update?.Time) / 1e6:F2} ms after the BU left the HA");
        var behind = captures.On(LinkKind.Partner).Where(p => p.Packet.IsUdp && (p.Packet.DestinationPort == 434 || p.Packet.SourcePort == 434)).ToList();
        rows.Check(ids.Turn, "no update ever reaches the correspondent", behind.Count == 0, behind.Count("Mobile IP datagrams behind the gateway"));
        var atHome = captures.On("core-ha").Where(p => p.Protection != SeenProtection.None).ToList();
        rows.Check(ids.Turn, "the links of the HA carry none of the user's data, in the whole run", atHome.Count == 0, atHome.Count("protected packets"));
    }

    /// <summary>The node that sends the downlink turns from the old agent to the new one at one instant.</summary>
    private protected void DestinationTurns(CaptureSet captures, RowBook rows, string id, string link, string node, IPAddress source, IPAddress old, IPAddress next, SeenProtection want)
    {
        var end = _traffic.Single(t => t.Name == "move").To;
        var sent = captures.On(link).Where(p => p.SenderNode == node && p.Protection == want && p.Time >= First!.Began - 500_000_000 && p.Time <= end).ToList();
        var (toOld, toNew) = (sent.Where(p => p.Between(source, old)).ToList(), sent.Where(p => p.Between(source, next)).ToList());
        rows.Check(id, $"the {want.Name()} destination of {node} turns from oFA to nFA", toOld.Count > 0 && toNew.Count > 0 && toOld[^1].Time <= toNew[0].Time,
            string.Create(CultureInfo.InvariantCulture, $"{toOld.Count} packets to oFA, then {toNew.Count} to nFA"));
        rows.Check(id, $"{node} has no row towards oFA once the hand-off time is over", !Tables.Legs("settled", node, source, old).In, $"paths of {node}: {Out("settled", node)}");
    }

    /// <summary>SPIs of the user's packets between two gateways on a link.</summary>
    private protected static HashSet<uint> SpisOf(IEnumerable<Sighting> packets, IPAddress one, IPAddress other) =>
        [.. packets.Where(p => p.Spi is not null && (p.Between(one, other) || p.Between(other, one))).Select(p => p.Spi!.Value)];
}
