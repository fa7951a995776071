using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Sojourn.Engine;
using Sojourn.Engine.Aaa;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;
using Sojourn.Wire;
using Sojourn.Wire.Diameter;

namespace Sojourn.Lab.Scenarios;

/// <summary>What holds in every scenario: nothing lost, nothing malformed, no secret anywhere.</summary>
internal static class CommonRows
{
    public static async Task JudgeAsync(Scenario scenario, LabRun run, CaptureSet captures, RowBook rows, CancellationToken cancellation)
    {
        rows.Check("LAB", "the wires lost no frame that the scenario did not lose on purpose", run.Network.Dropped == 0,
            string.Create(CultureInfo.InvariantCulture, $"{captures.Frames.Count} frames on {run.Topology.Links.Count} links, {run.Network.Dropped} dropped{(run.Network.Losers is { Length: > 0 } losers ? $" ({losers})" : "")}"));
        var messages = captures.Signals.Where(s => s.MobileIp is not null && s.Way.All(w => w.Frame.Comment is null)).ToList();
        var broken = messages.Where(s => !s.MobileIp!.IsWhole).ToList();
        if (scenario.SpeaksMobileIpv4)
        {
            rows.Check("LAB", "every Mobile IP message ends where its last extension ends", broken.Count == 0 && messages.Count > 0,
                broken.Count == 0 ? string.Create(CultureInfo.InvariantCulture, $"{messages.Count} messages") : string.Join("; ", broken.Take(5)));
        }

        if (StrictJudge.IsAvailable)
        {
            // An SPI may come back with other keys after a move; tshark knows but one key for an SPI.
            var ambiguous = captures.EspKeys.All.GroupBy(k => k.Spi).Where(g => g.Count() > 1).Select(g => string.Create(CultureInfo.InvariantCulture, $"0x{g.Key:x8}")).ToList();
            string? Except(string link) => string.Join(" || ", new[] { scenario.Damaged(link), ambiguous.Count == 0 || !scenario.OpensEsp ? null : $"esp.spi in {{{string.Join(", ", ambiguous)}}}" }.OfType<string>()) is { Length: > 0 } filter ? $"({filter})" : null;
            var links = run.Topology.Links;
            var read = new IReadOnlyList<string>[links.Count];
            await Parallel.ForAsync(0, links.Count, cancellation, async (i, stop) =>
                read[i] = await StrictJudge.FaultsAsync(Path.Combine(run.Evidence, "captures", links[i].Name + ".pcapng"), run.Evidence, scenario.OpensEsp, Except(links[i].Name), stop));
            var faults = read.SelectMany(found => found).ToList();

            rows.Check("LAB", scenario.OpensEsp ? "tshark, with the exported keys, opens every ESP packet and finds no malformed packet, expert error or wrong checksum in any capture" : "tshark finds no malformed packet, expert error or wrong checksum in any capture", faults.Count == 0,
                faults.Count == 0 ? string.Create(CultureInfo.InvariantCulture, $"{run.Topology.Links.Count} captures clean") : string.Join("; ", faults.Take(6)));
        }

        Secrets(scenario, run, captures, rows);
    }

    /// <summary>NV-A32: every key of database, configuration and associations, raw, in hexadecimal and in base64, in everything anybody could read.</summary>
    private static void Secrets(Scenario scenario, LabRun run, CaptureSet captures, RowBook rows)
    {
        var secrets = NodeFiles.Secrets(run.Directory)
            .Concat(captures.EspKeys.All.SelectMany(k => new[] { ($"ESP cipher key of SPI 0x{k.Spi:x8}", k.CipherKey), ($"ESP authentication key of SPI 0x{k.Spi:x8}", k.AuthenticationKey) }))
            .Concat(Roots(run, captures))
            .Concat(scenario.Secrets)
            .Where(s => s.Item2.Length >= 16)
            .ToList();
        var places = new List<(string Name, byte[] Octets)>();
        places.AddRange(Directory.GetFiles(Path.Combine(run.Evidence, "captures")).Select(f => (Path.GetFileName(f), File.ReadAllBytes(f))));
        places.AddRange(Directory.GetFiles(Path.Combine(run.Evidence, "nodes"), "*", SearchOption.AllDirectories).Select(f => (Path.GetRelativePath(run.Evidence, f), File.ReadAllBytes(f))));
        places.AddRange(captures.Signals.Where(s => s.Diameter is not null).Select(s => ($"{s} inside TLS", s.Diameter!.Octets.ToArray())));
        places.AddRange(run.Commands.Select(c => ("output of " + c.CommandLine, Encoding.UTF8.GetBytes(c.Output + c.Errors))));
        // A mixed-case hexadecimal print is as good as a lower-case one, so text is compared in lower case too.
        var forms = secrets.SelectMany(s => ((byte[][])[s.Item2, Encoding.ASCII.GetBytes(Convert.ToHexStringLower(s.Item2)), Encoding.ASCII.GetBytes(Convert.ToHexString(s.Item2)), Encoding.ASCII.GetBytes(Convert.ToBase64String(s.Item2).TrimEnd('='))])
            .Select(form => (Name: s.Item1, Form: form))).ToLookup(f => BinaryPrimitives.ReadUInt64LittleEndian(f.Form));
        var begins = forms.Select(f => f.Key).ToHashSet();
        var found = new List<string>();
        foreach (var (place, octets) in places)
        {
            for (var i = 0; i + sizeof(ulong) <= octets.Length; i++)
            {
                var begin = BinaryPrimitives.ReadUInt64LittleEndian(octets.AsSpan(i));
                if (begins.Contains(begin))
                {
                    found.AddRange(forms[begin].Where(f => octets.AsSpan(i).StartsWith(f.Form)).Select(f => $"{f.Name} in {place}"));
                }
            }
        }

        rows.Check(scenario.SecretsRow, "no key of the database, the configuration or an association is in any capture, inside TLS, in any log or in any output",
            found.Count == 0 && secrets.Count > 0,
            found.Count == 0 ? string.Create(CultureInfo.InvariantCulture, $"{secrets.Count} keys looked for in {places.Count} places, none found") : string.Join("; ", found.Take(5)));
    }

    /// <summary>The root keys of profiles, which the AAA servers make and caches hold: unwrapped from the messages that brought them.</summary>
    private static IEnumerable<(string Name, byte[] Octets)> Roots(LabRun run, CaptureSet captures)
    {
        var profiles = new VpnProfileAvps(DiameterDictionary.Default);
        var wrapping = NodeFiles.Secrets(run.Directory).Where(s => s.Octets.Length == 32).Select(s => new KeyMaterial(s.Octets)).ToList();
        return captures.Signals.Where(s => s.Diameter is { } message && message.Profiles.Any(p => p.Vpn(6) is not null))
            .SelectMany(s => DiameterMessage.TryParse(s.Diameter!.Octets.ToArray(), DiameterLimits.Default, out var message, out WireError _) ? wrapping.Select(key => (message.Avps, Key: key)) : [])
            .SelectMany(m => profiles.TryReadAll(m.Avps, m.Key, out var read, out _) ? read : [])
            .Select(p => p.Keying).OfType<ProfileKeying.Derived>()
            .Select(k => ("root key of a profile", k.Root.Octets.ToArray()))
            .DistinctBy(k => Convert.ToHexString(k.Item2));
    }
}
