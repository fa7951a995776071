using Sojourn.Engine;
using Sojourn.Roles.Configuration;

namespace Sojourn.Host.Configuration;

internal sealed partial class ConfigurationRules
{
    private void AnchorPoints()
    {
        if (_node.AnchorPoint is { } anchor)
        {
            AnchorAssociations(anchor.Terminals);
            foreach (var association in _node.Associations.Where(a => a.Security != SecurityType.Esp || !a.Peer.GetAddressBytes().AsSpan(0, 8).SequenceEqual(anchor.Address.GetAddressBytes().AsSpan(0, 8))))
            {
                Error(association.Mark, $"association '{association.Name}' is not one of ESP with a regional address", $"security: esp, and a peer within the first 64 bits of {anchor.Address}");
            }
        }

        if (_node.AnchorPoint is { Unprotected.Count: > 0 } open)
        {
            foreach (var addresses in open.Unprotected.Where(a => a.PrefixLength < 64 || !a.BaseAddress.GetAddressBytes().AsSpan(0, 8).SequenceEqual(open.Address.GetAddressBytes().AsSpan(0, 8))))
            {
                Error(open.MarkOf(nameof(open.Unprotected)), $"{addresses} are no regional addresses", $"prefixes within the first 64 bits of {open.Address}");
            }

            foreach (var association in _node.Associations.Where(a => open.Unprotected.Exists(addresses => addresses.Contains(a.Peer))))
            {
                Error(open.MarkOf(nameof(open.Unprotected)), $"{association.Peer} may register without the association '{association.Name}'", "prefixes that hold no peer of an association");
            }
        }

        if (_node.Terminal is not { AnchorPoints: { } used } terminal)
        {
            return;
        }

        AnchorAssociations(used.Anchors);
        if (used.Anchors.Count + used.Unprotected.Count == 0)
        {
            Error(used.Mark, "no anchor point may be used", "'anchors' or 'unprotected'");
        }

        foreach (var association in _node.Associations.Where(a => used.Unprotected.Contains(a.Peer)))
        {
            Error(used.MarkOf(nameof(used.Unprotected)), $"{association.Peer} is registered with under '{association.Name}' and in clear", "an anchor point in one of the two");
        }

        if (terminal.Access is not null)
        {
            Error(used.Mark, "with 'access' the anchor point is the gateway", "'access' or 'anchor-points'");
        }

        int[] needed = used.ModeBits ? [10021, 10022, 10023] : [10020 + (int)used.Type];
        foreach (var number in needed.Where(n => !terminal.Scenarios.Contains(n)))
        {
            Error(terminal.MarkOf(nameof(terminal.Scenarios)), $"{number} is not valid, so a registration of its type would be discarded", string.Join(", ", needed) + " among the scenarios");
        }
    }

    private void AnchorAssociations(IReadOnlyList<AnchorAssociationsSection> pairs)
    {
        foreach (var pair in pairs)
        {
            foreach (var name in pair.Names.Where(name => !_node.Associations.Exists(a => a.Name == name)))
            {
                Unresolved(pair.MarkOf(nameof(pair.Signalling)), "association", name, _node.Associations.Select(a => a.Name));
            }

            var peers = _node.Associations.Where(a => pair.Names.Contains(a.Name)).Select(a => a.Peer).Distinct().ToList();
            if (peers.Count > 1)
            {
                Error(pair.Mark, $"'{pair.Signalling}' and '{pair.Data}' are with different peers", "associations with one peer");
            }
        }
    }
}
