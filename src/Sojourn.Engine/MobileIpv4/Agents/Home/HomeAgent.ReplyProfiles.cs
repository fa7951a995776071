// Reading of R15: the AMA brings the profiles. Claims 17 and 20 let the new agent have them from the reply, so a home agent
// may put them there as well, for agents whose visited AAA server has kept none; they are this agent's own, after its switch.
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>Profiles for the foreign agent in the reply to a node that moved (spec R15, claims 17, 20).</summary>
public sealed partial class HomeAgent
{
    /// <summary>Appends one sealed profile for each leg that ends at the new agent, behind what the node's own key protects.</summary>
    private RegistrationReply WithProfiles(RegistrationReply reply, Registration registration, MobilityAssociation agents, EffectSink effects)
    {
        var desired = registration.Desired;
        if (!_options.ProfilesInReply || !reply.Code.IsAccepted() || reply.Lifetime == 0 || registration.Before is not { } before || before.CareOfAddress.Equals(desired.CareOfAddress))
        {
            return reply;
        }

        var association = BindingAssociation.OfAgents(agents);
        var header = reply.ToArray().AsSpan(0, RegistrationReply.WireLength).ToArray();
        foreach (var profile in desired.Profiles.Where(p => p.View == ProfileView.Down && p.DestinationGateway.Equals(desired.CareOfAddress)))
        {
            var sealedProfile = association.Seal(header, _profileAvps.Encode(profile.Mirror(), association.WrappingKey), Random);
            reply = reply.With(ProjectExtensions.SealedVpnProfile(_options.EnterpriseNumber, sealedProfile));
            effects.Count("ha.rrp.profile_given");
        }

        return reply;
    }
}
