using Sojourn.Engine.MobileIpv6;

namespace Sojourn.Engine.Terminal.Scenarios;

/// <summary>Embodiment 6: an acknowledgement of the anchor point whose router advertisement named this registration type (steps 95 to 99).</summary>
public sealed class AnchorProgram(AnchorMode mode)
    : ScenarioProgram(10020 + (int)mode, $"MAP registration type {(int)mode}", new ScenarioTrigger(ControlPeer.AnchorPoint, (int)mode), HostAddressing.Untouched)
{
    public override ScenarioResult Run(ControlMessage message, IScenarioGuest guest)
    {
        if (CheckStatus(message, "R27") is { } refused)
        {
            return refused;
        }

        var registration = new AnchorRegistration(mode, message.Source, message.Destination, message.HomeAddress);
        if (!guest.TrySetAnchor(registration))
        {
            return new ScenarioResult(GuestCounters.AnchorInfoFailed, mode switch { AnchorMode.Tunnelled => "95", AnchorMode.DirectUpdate => "98", _ => "99" });
        }

        // 96: the host part hears nothing of a move below the anchor point.
        if (!guest.HostKnows(registration))
        {
            guest.TellHost(registration);
        }

        return ScenarioResult.Done;
    }
}
