using System.Globalization;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

/// <summary>NV-A19: what both ends of every leg show of associations and marks, against the profiles as they were sent.</summary>
public sealed partial class NetworkVpn9
{
    private static readonly string[] Gateways = ["fa1", "ha", "pcn", "pcn2"];

    private readonly Dictionary<(string Node, string Table), IReadOnlyList<JsonElement>> _shown = [];

    private async Task ShowInstalledAsync(LabRun run, CancellationToken cancellation)
    {
        foreach (var node in Gateways)
        {
            foreach (var table in (string[])["ipsec", "qos"])
            {
                _shown[(node, table)] = [.. PathLines.Rows(await run.ShowAsync(node, table, cancellation))];
            }
        }
    }

    private void Installed(CaptureSet captures, RowBook rows)
    {
        var sent = captures.Of(_alice!).LastOrDefault(s => s is { Name: "AMA", To: "fa1" })?.Diameter!.Profiles.ToList() ?? [];
        var keyed = sent.Where(p => p.Vpn(19)?.Number > 0).ToList();
        foreach (var profile in keyed)
        {
            var (agent, far) = (profile.Vpn(16)!.Address!.ToString(), profile.Vpn(17)!.Address!);
            var (up, down) = (Hex([profile.Vpn(19)!.Number]), Hex([profile.Vpn(20)!.Number]));
            var end = captures.Topology.Owner(far)?.Name ?? "";
            var (near, opposite) = (Association("fa1", "out", up, agent, far.ToString()), Association("fa1", "in", down, far.ToString(), agent));
            var (there, back) = (Association(end, "out", down, far.ToString(), agent), Association(end, "in", up, agent, far.ToString()));
            rows.Check("NV-A19", $"profile {profile.Vpn(7)?.Number}: fa1 and {end} show its associations of both directions, its tunnel ends and its marks",
                new[] { near, opposite, there, back }.All(a => a.ValueKind == JsonValueKind.Object) && Mark("fa1", near) == Wanted(profile, 13) && Mark(end, there) == Wanted(profile, 14),
                $"{Leg(profile)}; fa1 out {Shown(near)}, in {Shown(opposite)}, DSCP {Mark("fa1", near)}; {end} out {Shown(there)}, in {Shown(back)}, DSCP {Mark(end, there)}");
        }

        rows.Check("NV-A19", "every profile that was sent has been looked for", keyed.Count == 4 && sent.Count == 5, string.Create(CultureInfo.InvariantCulture, $"{sent.Count} profiles in the AMA, {keyed.Count} with associations"));
    }

    private JsonElement Association(string node, string direction, string spi, string from, string to) =>
        _shown.GetValueOrDefault((node, "ipsec"), []).FirstOrDefault(a => Text(a, "direction") == direction && Text(a, "spi") == spi && Text(a, "tunnelSource") == from && Text(a, "tunnelDestination") == to);

    private string Mark(string node, JsonElement association) =>
        Text(_shown.GetValueOrDefault((node, "qos"), []).FirstOrDefault(f => Text(f, "path") == Text(association, "path")), "dscp");

    /// <summary>TOS 0 marks nothing (S224).</summary>
    private static string Wanted(DiameterView.Avp profile, uint code) =>
        profile.Vpn(code)?.Number is { } tos and not 0 ? string.Create(CultureInfo.InvariantCulture, $"{tos >> 2}") : "";

    private static string Shown(JsonElement association) =>
        association.ValueKind == JsonValueKind.Object ? $"{Text(association, "spi")} {Text(association, "tunnelSource")} > {Text(association, "tunnelDestination")}" : "missing";
}
