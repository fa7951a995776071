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

        if (_node.Terminal is not { AnchorPoints: { } used } terminal)
        {
            return;
        }

        AnchorAssociations(used.Anchors);
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
