using Sojourn.Roles.Configuration;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Host.Configuration;

/// <summary>The mobile router's section.</summary>
internal sealed partial class ConfigurationRules
{
    private void MobileRouter()
    {
        if (_node is not { MobileRouter: { } router, Terminal: { } terminal })
        {
            return;
        }

        AdvertisedLinks(router.Links);
        foreach (var link in router.Links.Where(l => l.Prefixes.Count == 0 || l.Interface == terminal.Device || terminal.Links.Contains(l.Interface)))
        {
            Error(link.Mark, $"{link.Interface} is no inner link of this router", "a link with prefixes of its own, that is no access link and not the TUN device");
        }

        foreach (var network in router.Registered.Where(n => !IPv6Octets.IsUnicastRoutable(n.BaseAddress) || (terminal.HomeAddress is { } home && n.Contains(home))))
        {
            Error(router.Mark, $"{network} cannot move along: it is no global prefix, or the home address lies in it", "prefixes that the home agent has listed for this router");
        }

        foreach (var link in router.Links.Where(l => l.Prefixes.Any(p => !router.Registered.Any(n => n.PrefixLength <= p.PrefixLength && n.Contains(p.BaseAddress)))))
        {
            Error(link.MarkOf(nameof(link.Prefixes)), $"a prefix of {link.Interface} is in none of 'networks', so it would lead nowhere", string.Join(", ", router.Registered));
        }
    }
}
