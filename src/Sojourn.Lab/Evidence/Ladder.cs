using System.Globalization;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Evidence;

/// <summary>Which family a step of the ladder belongs to; decides its colour.</summary>
public enum LadderKind
{
    MobileIp,
    Diameter,
    Binding,
    Protected,
    Clear,
}

/// <summary>One arrow: a message, or a run of data packets between two nodes that look alike.</summary>
/// <param name="Milliseconds">After the first arrow.</param>
public sealed record LadderStep(double Milliseconds, string From, string To, string Name, string Detail, LadderKind Kind);

/// <summary>What happened, in order, as read from the captures: signalling, and the first packet of each kind of data between each pair of nodes.</summary>
public sealed record Ladder(IReadOnlyList<string> Nodes, IReadOnlyList<LadderStep> Steps)
{
    private static readonly string[] Housekeeping = ["CER", "CEA", "DWR", "DWA", "DPR", "DPA"];

    /// <param name="captures">Where to read.</param>
    /// <param name="from">First moment, nanoseconds since 1970.</param>
    /// <param name="to">Last moment.</param>
    /// <param name="about">Home address of the mobile node whose story this is; null = everybody's.</param>
    public static Ladder Of(CaptureSet captures, long from, long to, System.Net.IPAddress? about = null)
    {
        var steps = new List<(long Time, string From, string To, string Name, string Detail, LadderKind Kind)>();
        var sessions = new HashSet<string>();
        foreach (var signal in captures.Signals.Where(s => s.Time >= from && s.Time <= to && !Housekeeping.Contains(s.Name)))
        {
            if (about is not null && !IsAbout(signal, about))
            {
                continue;
            }

            steps.Add((signal.Time, signal.From, signal.To, signal.Name, Describe(signal), signal.MobileIp is null ? LadderKind.Diameter : signal.MobileIp.IsBinding ? LadderKind.Binding : LadderKind.MobileIp));
        }

        var seen = new HashSet<(string, string, SeenProtection, uint?, string)>();
        foreach (var packet in captures.Packets.Where(p => p.Time >= from && p.Time <= to && !p.Frame.Lost))
        {
            if (captures.Topology.Node(packet.SenderNode).Role == LabNode.RouterRole || packet.Host is not { } host || host.DestinationPort == 434 || host.SourcePort == 434
                || host.IsTcp || host.IcmpType is 9 or 10 || host.IsFragment || packet.Packet.Destination.GetAddressBytes()[0] >= 224
                || (about is not null && !host.Source.Equals(about) && !host.Destination.Equals(about)))
            {
                continue;
            }

            var what = host.IcmpType is 0 or 8 ? host.IcmpType == 8 ? "echo request" : "echo reply" : host.Describe();
            var far = captures.Topology.Owner(packet.Packet.Destination)?.Name is { } owner && packet.Protection != SeenProtection.None ? owner : packet.ReceiverNode;
            if (!seen.Add((packet.SenderNode, far, packet.Protection, packet.Spi, what)))
            {
                continue;
            }

            var (name, kind) = packet.Protection switch
            {
                SeenProtection.Esp => (string.Create(CultureInfo.InvariantCulture, $"ESP 0x{packet.Spi:x8}"), LadderKind.Protected),
                SeenProtection.Ah => (string.Create(CultureInfo.InvariantCulture, $"AH 0x{packet.Spi:x8}"), LadderKind.Protected),
                SeenProtection.Encapsulation => ("IP-in-IP", LadderKind.Protected),
                _ => ("clear", LadderKind.Clear),
            };
            var dscp = host.Dscp == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $", DSCP {host.Dscp}");
            steps.Add((packet.Time, packet.SenderNode, far, name, $"{what} {host.Source} > {host.Destination}{dscp}", kind));
        }

        steps.Sort((a, b) => a.Time.CompareTo(b.Time));
        var start = steps.Count == 0 ? 0 : steps[0].Time;
        var used = steps.SelectMany(s => new[] { s.From, s.To }).ToHashSet();
        return new Ladder(
            [.. Columns(captures.Topology).Where(used.Contains)],
            [.. steps.Select(s => new LadderStep((s.Time - start) / 1e6, s.From, s.To, s.Name, s.Detail, s.Kind))]);
    }

    /// <summary>Nodes in the order people draw them: terminal, foreign agents, AAA servers, home agent, gateways, hosts.</summary>
    public static IEnumerable<string> Columns(LabTopology topology) => topology.Nodes
        .OrderBy(n => n.Role switch
        {
            "mobile-node" => 0,
            "foreign-agent" => 1,
            "aaa" when n.Settings?["aaa"]["serves"].TextOrNull == "visited" => 2,
            "aaa" => 3,
            "home-agent" => 4,
            LabNode.RouterRole => 5,
            "gateway" or LabNode.MachineRole => 6,
            _ => 7,
        })
        .ThenBy(n => n.Name, StringComparer.Ordinal)
        .Select(n => n.Name);

    private static bool IsAbout(Signal signal, System.Net.IPAddress home)
    {
        if (signal.MobileIp is { } message)
        {
            return message.Type is 7 or 15 || message.HomeAddress.Equals(home);
        }

        var diameter = signal.Diameter!;
        return diameter.Find(333)?.Address is { } address ? address.Equals(home)
            : diameter.Find(320) is { } request ? MobileIpView.Parse(request.Data)?.HomeAddress.Equals(home) == true
            : diameter.Find(321) is { } reply ? MobileIpView.Parse(reply.Data)?.HomeAddress.Equals(home) == true
            : diameter.Name is not ("HAA" or "AMA");
    }

    private static string Describe(Signal signal)
    {
        if (signal.MobileIp is { } mip)
        {
            return mip.Type switch
            {
                1 => string.Create(CultureInfo.InvariantCulture, $"Registration Request: {mip.Nai ?? "?"}, home {mip.HomeAddress}, care-of {mip.CareOfAddress}, {mip.Lifetime} s"),
                3 => string.Create(CultureInfo.InvariantCulture, $"Registration Reply: {(mip.Code is 0 or 1 ? "accepted" : $"refused, code {mip.Code}")}, {mip.Lifetime} s"),
                255 when mip.IsBindingUpdate => string.Create(CultureInfo.InvariantCulture, $"Binding Update to {signal.Way[0].Packet.Destination}: home {mip.HomeAddress}, care-of {mip.CareOfAddress}, {mip.Lifetime} s"),
                255 when mip.IsBindingAcknowledgement => string.Create(CultureInfo.InvariantCulture, $"Binding Acknowledgement: {(mip.Code == 0 ? "accepted" : $"status {mip.Code}")}"),
                255 => mip.BindingKind == 3 ? "Binding Request" : "Binding Warning",
                _ => "",
            };
        }

        var diameter = signal.Diameter!;
        var parts = new List<string>();
        if (diameter.UserName is { } user)
        {
            parts.Add(user);
        }

        if (diameter.ResultCode is { } code)
        {
            parts.Add(string.Create(CultureInfo.InvariantCulture, $"result {code}"));
        }

        if (diameter.Profiles.Count() is var profiles and > 0)
        {
            parts.Add(profiles == 1 ? "1 VPN profile" : string.Create(CultureInfo.InvariantCulture, $"{profiles} VPN profiles"));
        }

        if (diameter.ProfileCache)
        {
            parts.Add("Profile-Cache");
        }

        if (diameter.Find(4, DiameterView.SojournVendor)?.Address is { } previous)
        {
            parts.Add($"previous FA {previous}");
        }

        var contains = diameter.Find(320) is not null ? "carries the RRQ" : diameter.Find(321) is not null ? "carries the RRP" : null;
        if (contains is not null)
        {
            parts.Add(contains);
        }

        return string.Join(", ", parts);
    }
}
