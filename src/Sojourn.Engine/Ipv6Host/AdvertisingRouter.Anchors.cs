using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Ipv6Host;

/// <summary>Where an access router's MAP options come from.</summary>
public sealed partial class AdvertisingRouter
{
    /// <summary>Keys are interfaces; values are commands with the one operation that set the link.</summary>
    private const string Table = "renumbered-links";

    public void Dispose() => _commands?.Dispose();

    private IEnumerable<MobilityAnchorPointOption> AnchorsOf(Advertising link, DateTimeOffset now) =>
        link.Link.Anchors.Concat(link.Commanded).Concat(_learned.Options(now)).DistinctBy(a => a.Address).Take(MaximumAnchors);

    /// <summary>A packet on the link of a router above; an advertisement is held to RFC 4861 6.1.2.</summary>
    private void OnAbove(string above, ReadOnlySpan<byte> packet, DateTimeOffset now, EffectSink effects)
    {
        if (!MobileIpv6Packet.TryParse(packet, out var read, out _) || read.Protocol != IpProtocol.Icmpv6 || read.HopLimit != Icmpv6Limits.NeighborDiscoveryHopLimit || !read.Source.IsIPv6LinkLocal
            || !Icmpv6Message.ChecksumIsRight(read.Payload.Span, read.Source, read.Destination) || !Icmpv6Message.TryParse(read.Payload.Span, out var message, out _) || message is not RouterAdvertisement advertisement)
        {
            effects.Count("router.above.refused");
            return;
        }

        effects.Count("router.above.heard");
        if (_learned.Hear(above, read.Source, advertisement.Options, now))
        {
            AnchorsChanged(now, effects);
        }
    }

    private void OnCommand(RouterCommands commands, ReadOnlySpan<byte> packet, DateTimeOffset now, EffectSink effects)
    {
        if (commands.Take(packet, now, effects, out var again) is not { } command)
        {
            return;
        }

        var results = new List<RenumberingResult>();
        var (carryOut, changed) = (!again && !command.Has(RouterRenumberingFlags.Test), false);
        foreach (var operation in command.Operations)
        {
            var forbidden = !operation.TryReadAnchorPoints(out var anchors) || anchors.Any(a => !IPv6Octets.IsUnicastRoutable(a.Address));
            for (var i = 0; i < _links.Count; i++)
            {
                var matched = _links[i].Link.Prefixes.Where(operation.Matches).ToList();
                results.AddRange(matched.Select(prefix => new RenumberingResult(forbidden, operation.Ordinal, (uint)(i + 1), (byte)prefix.PrefixLength, prefix.BaseAddress)));
                if (matched.Count > 0 && !forbidden && carryOut)
                {
                    _links[i].Commanded = anchors;
                    changed = true;
                    effects.Emit(new SaveState(new StateKey(Table, _links[i].Link.Interface), (command with { Operations = [operation] }).ToArray(System.Net.IPAddress.IPv6Any, System.Net.IPAddress.IPv6Any)));
                }
            }
        }

        if (changed)
        {
            AnchorsChanged(now, effects);
        }

        if (command.Has(RouterRenumberingFlags.ResultRequested))
        {
            commands.Answer(command, again, results, now, effects);
        }
    }

    private void Restore(IReadOnlyList<SavedState> state)
    {
        if (_commands is null)
        {
            return;
        }

        _commands.Restore(state);
        foreach (var saved in state.Where(s => s.Key.Table == Table))
        {
            if (_links.Find(l => l.Link.Interface == saved.Key.Key) is { } link && Icmpv6Message.TryParse(saved.Value.Span, out var message, out _)
                && message is RouterRenumbering { Operations: [var operation] } && operation.TryReadAnchorPoints(out var anchors))
            {
                link.Commanded = anchors;
            }
        }
    }

    /// <summary>Hosts hear of it at once, as far as RFC 4861 6.2.4 lets them.</summary>
    private void AnchorsChanged(DateTimeOffset now, EffectSink effects)
    {
        foreach (var link in _links.Where(l => l.NextAt is not null))
        {
            var at = link.LastAt is { } last && last + s_leastDistance > now ? last + s_leastDistance : now;
            link.NextAt = at < link.NextAt ? at : link.NextAt;
            var anchors = AnchorsOf(link, now).Select(a => $"{a.Address} at distance {a.Distance}{(a.ValidLifetime == 0 ? ", taken back" : "")}").ToList();
            effects.Emit(new Report(new EngineEvent("router.anchors_changed", EventSeverity.Information, $"{link.Link.Interface} advertises {(anchors.Count == 0 ? "no anchor point" : string.Join("; ", anchors))}") { Rule = "TM0.9" }));
        }
    }
}
