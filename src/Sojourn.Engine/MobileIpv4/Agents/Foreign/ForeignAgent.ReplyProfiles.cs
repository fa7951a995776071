// Readings of R15:
// - Only what the FA-HA association protects and the node's own does not is for this agent, and it goes no further.
// - A profile of the reply takes the place of the AMA's of the same number: the home agent has made it at its switch, the
//   visited AAA server has it from earlier. What the reply does not name stays as the AMA says.
// - A reply with a profile that cannot be used is none to be used at all: nothing of it is set (NV9.7).
using System.Net;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>Profiles that come in the home agent's reply (spec R15, claims 17, 20).</summary>
public sealed partial class ForeignAgent
{
    /// <summary>Takes the profiles out of an authentic reply. False when one of them cannot be used.</summary>
    /// <param name="reply">Without its FA-HA extension; afterwards what goes to the node.</param>
    /// <param name="profiles">The AMA's; afterwards those to be set.</param>
    private bool TakeProfiles(MobilityAssociation agents, IPAddress homeAddress, ref RegistrationReply reply, ref IReadOnlyList<VpnProfile>? profiles, EffectSink effects, out string problem)
    {
        problem = "";
        if (!reply.TryFindAuthentication(AuthenticationKind.MobileHome, out _, out var covered))
        {
            return true;
        }

        var carriers = reply.Extensions.Skip(covered + 1).OfType<VendorExtension>()
            .Where(e => e.Critical && e.Enterprise == _options.EnterpriseNumber && e.VendorType == ProjectExtensions.SealedVpnProfileType).ToList();
        if (carriers.Count == 0)
        {
            return true;
        }

        var header = reply.ToArray().AsSpan(0, RegistrationReply.WireLength).ToArray();
        reply = reply with { Extensions = MobileIpExtensions.Of(reply.Extensions.Where((e, i) => i <= covered || !carriers.Contains(e))) };
        if (profiles is null)
        {
            // A renewal changes no path (NV9.6).
            effects.Count("fa.rrp.profiles_not_wanted");
            return true;
        }

        var association = BindingAssociation.OfAgents(agents);
        var told = new Dictionary<uint, VpnProfile>();
        foreach (var carrier in carriers)
        {
            if (association.Open(header, carrier.Value.Span) is not { } plaintext)
            {
                problem = "a sealed profile in the home agent's reply does not open";
                return false;
            }

            if (!_profileAvps.TryDecode(plaintext, association.WrappingKey, out var profile, out problem))
            {
                return false;
            }

            if (profile.View != ProfileView.Up || !profile.Source.Equals(new IPNetwork(homeAddress, 32)) || !profile.SourceGateway.Equals(_options.CareOfAddress) || !told.TryAdd(profile.ProfileNumber, profile))
            {
                problem = $"profile {profile.ProfileNumber} in the home agent's reply is not one of this visitor at this agent";
                return false;
            }
        }

        profiles = [.. profiles.Where(p => !told.ContainsKey(p.ProfileNumber)), .. told.Values];
        effects.Count("fa.rrp.profiles_taken", told.Count);
        return true;
    }
}
