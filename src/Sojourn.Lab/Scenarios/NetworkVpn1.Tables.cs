using System.Globalization;
using System.Net;
using System.Text.Json;
using Sojourn.Lab.Capture;

namespace Sojourn.Lab.Scenarios;

public sealed partial class NetworkVpn1
{
    private IReadOnlyList<JsonElement> Profiles(string moment, string node, string nai) => _tables.Profiles(moment, node, nai);

    private IReadOnlyList<string> Paths(string moment, string node, string nai) =>
        [.. _tables.Rows(moment, node, "paths").Where(p => Mentions(p, nai)).Select(PathText)];

    /// <summary>Whether a node's table has the two directions of a tunnel.</summary>
    private (bool Out, bool In) Legs(string moment, string node, IPAddress local, IPAddress remote)
    {
        var paths = _tables.Rows(moment, node, "paths").Where(p => Is(p, "localGateway", local) && Is(p, "remoteGateway", remote)).ToList();
        return (paths.Any(p => Text(p, "state") == "active"), paths.Count > 0);
    }

    private static bool Mentions(JsonElement row, string text) => row.GetRawText().Contains($"\"{text}\"", StringComparison.Ordinal);

    private static bool Is(JsonElement row, string name, IPAddress address) => Text(row, name) == address.ToString();

    private static string Text(JsonElement row, string name) => row.TryGetProperty(name, out var value) ? value.ToString() : "";

    private static string PathText(JsonElement path) =>
        $"{Text(path, "source")} > {Text(path, "destination")} {Text(path, "security")} {Text(path, "localGateway")} > {Text(path, "remoteGateway")} DSCP {Text(path, "markDscp")} SPI {Spi(path, "outbound")}/{Spi(path, "inbound")}";

    private static string Spi(JsonElement path, string half) => path.TryGetProperty(half, out var association) && association.ValueKind == JsonValueKind.Object ? Text(association, "spi") : "-";

    private static bool Gateways(DiameterView.Avp profile, IPAddress source, IPAddress destination) =>
        source.Equals(profile.Vpn(16)?.Address) && destination.Equals(profile.Vpn(17)?.Address);

    private static string Leg(DiameterView.Avp profile) =>
        string.Create(CultureInfo.InvariantCulture, $"{profile.Vpn(16)?.Address} > {profile.Vpn(17)?.Address}, security {profile.Vpn(15)?.Number}, gateway type {profile.Vpn(18)?.Number}, SPIs 0x{profile.Vpn(19)?.Number:x8}/0x{profile.Vpn(20)?.Number:x8}, TOS {profile.Vpn(13)?.Number}/{profile.Vpn(14)?.Number}");

    private static string Values(IEnumerable<Sighting> packets) =>
        string.Join(", ", packets.Select(p => string.Create(CultureInfo.InvariantCulture, $"{p.Packet.Dscp}/{p.Inner?.Dscp}")).Distinct());

    /// <summary>SPIs that carried a user's packets between FA and HA.</summary>
    private static HashSet<uint> Spis(CaptureSet captures, PingResult ping, IPAddress user) =>
        [.. captures.On("core-fa1").During(ping).Where(p => p.Spi is not null && p.Host is { } host && (host.Source.Equals(user) || host.Destination.Equals(user))).Select(p => p.Spi!.Value)];

    private static bool KeysSent(CaptureSet captures) =>
        captures.Signals.Any(s => s.Diameter is { } message && message.Profiles.Any(p => p.Vpn(6) is not null));

    private static string Hex(IEnumerable<uint> spis) => string.Join("/", spis.Select(s => string.Create(CultureInfo.InvariantCulture, $"0x{s:x8}")));
}
