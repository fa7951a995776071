using System.Globalization;
using System.Net;
using System.Text.Json;
using Sojourn.Lab.Capture;

namespace Sojourn.Lab.Scenarios;

/// <summary>Questions several scenarios ask tables and profiles.</summary>
internal static class TableQuestions
{
    /// <summary>A user's paths at a node, one line each.</summary>
    public static IReadOnlyList<string> Paths(this Tables tables, string moment, string node, string nai) =>
        [.. tables.Rows(moment, node, "paths").Where(p => Mentions(p, nai)).Select(PathText)];

    /// <summary>Whether a node's table has the two directions of a tunnel.</summary>
    public static (bool Out, bool In) Legs(this Tables tables, string moment, string node, IPAddress local, IPAddress remote)
    {
        var paths = tables.Rows(moment, node, "paths").Where(p => Is(p, "localGateway", local) && Is(p, "remoteGateway", remote)).ToList();
        return (paths.Any(p => Text(p, "state") == "active"), paths.Count > 0);
    }

    /// <summary>A user's path with these ends; undefined when there is none.</summary>
    public static JsonElement Path(this Tables tables, string moment, string node, IPAddress local, IPAddress remote, string nai) =>
        tables.Rows(moment, node, "paths").FirstOrDefault(p => Is(p, "localGateway", local) && Is(p, "remoteGateway", remote) && Mentions(p, nai));

    public static bool Mentions(JsonElement row, string text) => row.GetRawText().Contains($"\"{text}\"", StringComparison.Ordinal);

    public static bool Is(JsonElement row, string name, IPAddress address) => Text(row, name) == address.ToString();

    public static string Text(JsonElement row, string name) => row.ValueKind == JsonValueKind.Object && row.TryGetProperty(name, out var value) ? value.ToString() : "";

    public static string PathText(JsonElement path) =>
        $"{Text(path, "source")} > {Text(path, "destination")} {Text(path, "security")} {Text(path, "localGateway")} > {Text(path, "remoteGateway")} DSCP {Text(path, "markDscp")} SPI {Spi(path, "outbound")}/{Spi(path, "inbound")}";

    public static string Spi(JsonElement path, string half) => path.TryGetProperty(half, out var association) && association.ValueKind == JsonValueKind.Object ? Text(association, "spi") : "-";

    public static bool Gateways(DiameterView.Avp profile, IPAddress source, IPAddress destination) =>
        source.Equals(profile.Vpn(16)?.Address) && destination.Equals(profile.Vpn(17)?.Address);

    public static string Leg(DiameterView.Avp profile) =>
        string.Create(CultureInfo.InvariantCulture, $"{profile.Vpn(16)?.Address} > {profile.Vpn(17)?.Address}, security {profile.Vpn(15)?.Number}, gateway type {profile.Vpn(18)?.Number}, SPIs 0x{profile.Vpn(19)?.Number:x8}/0x{profile.Vpn(20)?.Number:x8}, TOS {profile.Vpn(13)?.Number}/{profile.Vpn(14)?.Number}");

    public static string Values(IEnumerable<Sighting> packets) =>
        string.Join(", ", packets.Select(p => string.Create(CultureInfo.InvariantCulture, $"{p.Packet.Dscp}/{p.Inner?.Dscp}")).Distinct());

    public static string Hex(IEnumerable<uint> spis) => string.Join("/", spis.Select(s => string.Create(CultureInfo.InvariantCulture, $"0x{s:x8}")));

    /// <summary>True when a Wrapped-Key went along with a profile between Sojourn nodes.</summary>
    public static bool KeysSent(CaptureSet captures) =>
        captures.Signals.Any(s => s.Diameter is { } message && captures.Topology.Node(s.From).RunsSojourn && message.Profiles.Any(p => p.Vpn(6) is not null));

    /// <summary>SPIs that carried a user's packets on a link.</summary>
    public static HashSet<uint> Spis(this CaptureSet captures, string link, PingResult ping, IPAddress user) =>
        [.. captures.On(link).During(ping).Where(p => p.Spi is not null && p.Host is { } host && (host.Source.Equals(user) || host.Destination.Equals(user))).Select(p => p.Spi!.Value)];
}
