using Sojourn.Engine;
using Sojourn.Roles.Configuration;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Host.Configuration;

internal sealed partial class ConfigurationRules
{
    private void Correspondent()
    {
        if (_node.Correspondent is not { } correspondent)
        {
            return;
        }

        if (!IPv6Octets.IsUnicastRoutable(correspondent.Address))
        {
            Error(correspondent.MarkOf(nameof(correspondent.Address)), $"{correspondent.Address} cannot be reached from other links", "a global unicast address");
        }

        if (correspondent.Link == correspondent.Device)
        {
            Error(correspondent.MarkOf(nameof(correspondent.Device)), $"'{correspondent.Device}' is the link", "a name of its own for the TUN device");
        }

        foreach (var association in _node.Associations.Where(a => a.Security != SecurityType.Esp))
        {
            Error(association.MarkOf(nameof(association.Security)), "a correspondent protects packets with ESP", "esp");
        }

        Pairwise(_node.Associations, a => a.Peer, (later, first) =>
            Error(later.MarkOf(nameof(AssociationOptions.Peer)), $"{later.Peer} is the home address of association '{first.Name}' too", "one association for each home address"));
    }
}
