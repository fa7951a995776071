using System.Globalization;
using Sojourn.Engine;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios;

/// <summary>
/// The claims (spec network-vpn section 6) that a scenario shows. A claim is a list of steps: it holds where every check of each of
/// its rows does, and the claims that say "IPsec" where IPsec is what the node's gateway sends.
/// </summary>
internal static class Claims
{
    private static readonly IReadOnlyDictionary<string, (string Claim, IReadOnlyList<string> Rows)[]> s_shown = new Dictionary<string, (string, IReadOnlyList<string>)[]>
    {
        ["network-vpn/1"] =
        [
            ("NV-C1", Steps("NV1", 3, (6, 11))), ("NV-C3", Steps("NV1", 7)), ("NV-C4", Steps("NV1", 10)), ("NV-C6", Steps("NV1", (4, 13))), ("NV-C8", Steps("NV1", 6, 7, 10)), ("NV-C9", Steps("NV1", 8, 12)),
            ("NV-C10", Steps("NV1", 11)), ("NV-C11", Steps("NV1", 11)), ("NV-C12", Steps("NV1", 12)), ("NV-C13", Steps("NV1", 12)), ("NV-C14", Steps("NV1", 12)), ("NV-C15", Steps("NV1", 12)), ("NV-C16", Steps("NV1", 2, (4, 13))),
        ],
        ["network-vpn/2"] =
        [
            ("NV-C7", Steps("NV2", 3, (6, 13))), ("NV-C10", Steps("NV2", 3, 4)), ("NV-C13", Steps("NV2", 9)), ("NV-C17", Steps("NV2", (1, 9), 13)), ("NV-C22", Steps("NV2", (10, 12))),
        ],
        ["network-vpn/3"] =
        [
            ("NV-C4", Steps("NV3", 7)), ("NV-C7", Steps("NV3", (3, 13))), ("NV-C10", Steps("NV3", 8)), ("NV-C18", Steps("NV3", (1, 9), 13)), ("NV-C23", Steps("NV3", (10, 12))),
        ],
        ["network-vpn/4"] =
        [
            ("NV-C1", Steps("NV4", (4, 10))), ("NV-C2", Steps("NV4", 6, 7)), ("NV-C4", Steps("NV4", 10)), ("NV-C6", Steps("NV4", (2, 12))), ("NV-C8", Steps("NV4", 4, 5, 10)), ("NV-C9", Steps("NV4", 7, 11)),
            ("NV-C10", Steps("NV4", 10)), ("NV-C12", Steps("NV4", 11)), ("NV-C13", Steps("NV4", 11)), ("NV-C15", Steps("NV4", 11)), ("NV-C19", Steps("NV4", (2, 12))),
        ],
        ["network-vpn/5"] =
        [
            ("NV-C2", Steps("NV5", 5)), ("NV-C7", Steps("NV5", (3, 13))), ("NV-C10", Steps("NV5", 3)), ("NV-C13", Steps("NV5", 9)), ("NV-C20", Steps("NV5", (1, 9), 13)), ("NV-C22", Steps("NV5", (10, 12))),
        ],
        ["network-vpn/6"] =
        [
            ("NV-C2", Steps("NV6", 5)), ("NV-C4", Steps("NV6", 9)), ("NV-C7", Steps("NV6", (3, 14))), ("NV-C21", Steps("NV6", (1, 10), 14)), ("NV-C23", Steps("NV6", (11, 13))),
        ],
        ["network-vpn/7"] = [("NV-C2", Steps("NV7", 6)), ("NV-C24", Steps("NV7", (1, 11))), ("NV-C25", Steps("NV7", (12, 15)))],
        ["network-vpn/8"] = [("NV-C5", Steps("NV8", (1, 4)))],
    };

    public static void Judge(string scenario, SecurityType security, CaptureSet captures, RowBook rows)
    {
        var agent = captures.On(LinkKind.Core).Where(p => captures.Topology.Node(p.SenderNode).Role == "foreign-agent").ToList();
        foreach (var (claim, steps) in s_shown.GetValueOrDefault(scenario, []))
        {
            var isIpsec = claim is "NV-C12" or "NV-C15";
            if (isIpsec && security == SecurityType.EncapsulationOnly)
            {
                continue;
            }

            var checks = rows.Rows.Where(r => steps.Contains(r.Id)).ToList();
            var missing = steps.Except(checks.Where(r => r.Passed).Select(r => r.Id)).Union(checks.Where(r => !r.Passed).Select(r => r.Id)).ToList();
            var secured = agent.Count(p => p.Protection is SeenProtection.Esp or SeenProtection.Ah);
            rows.Check(claim, $"all steps of the claim hold: {string.Join(", ", steps)}", missing.Count == 0 && (!isIpsec || secured > 0),
                missing.Count > 0 ? "not shown: " + string.Join(", ", missing) : string.Create(CultureInfo.InvariantCulture, $"{checks.Count} checks{(isIpsec ? $", {secured} packets of ESP or AH" : "")}"));
        }
    }

    private static IReadOnlyList<string> Steps(string embodiment, params Span[] numbers) =>
        [.. numbers.SelectMany(n => Enumerable.Range(n.First, n.Last - n.First + 1)).Select(n => string.Create(CultureInfo.InvariantCulture, $"{embodiment}.{n}"))];

    private readonly record struct Span(int First, int Last)
    {
        public static implicit operator Span(int step) => new(step, step);

        public static implicit operator Span((int First, int Last) steps) => new(steps.First, steps.Last);
    }
}
