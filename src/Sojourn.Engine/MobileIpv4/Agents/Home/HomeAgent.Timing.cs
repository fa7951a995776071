// Phases of a hand-over at the home agent: gateways (request to the last acknowledgement of a binding update), path set-up (the
// switch to the first authentic packet from the new place).
using System.Net;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>How long a hand-over takes here, phase by phase.</summary>
public sealed partial class HomeAgent
{
    /// <summary>Nodes whose first packet from the new place has not come: since when the paths lead there.</summary>
    private readonly Dictionary<IPAddress, DateTimeOffset> _switched = [];

    private void SwitchTimed(Registration registration, DateTimeOffset now, EffectSink effects)
    {
        var desired = registration.Desired;
        if (registration.Before?.CareOfAddress.Equals(desired.CareOfAddress) == true)
        {
            return;
        }

        _switched[desired.HomeAddress] = now;
        var phase = new EventPhase("gateways", (now - registration.Began).TotalMilliseconds);
        effects.Emit(new Report(Event("handover.timed", EventSeverity.Information, $"switched to {desired.CareOfAddress}: {phase}", desired, null) with { Phases = [phase] }));
    }

    private void FirstPacketTimed(VpnPath path, DateTimeOffset now, EffectSink effects)
    {
        if (path.Origin is not { HomeAddress: { } home } || VpnControl.IsLingering(path.Id) || !_bindings.TryGetValue(home, out var binding)
            || !path.RemoteGateway.Equals(binding.CareOfAddress) || !_switched.Remove(home, out var since))
        {
            return;
        }

        var phase = new EventPhase("path set-up", (now - since).TotalMilliseconds);
        effects.Emit(new Report(Event("handover.first_packet", EventSeverity.Information, $"first packet from {path.RemoteGateway}: {phase}", binding, null) with { Peer = path.RemoteGateway.ToString(), Phases = [phase] }));
    }
}
