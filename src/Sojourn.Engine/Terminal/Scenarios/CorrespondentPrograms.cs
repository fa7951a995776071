using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Terminal.Scenarios;

/// <summary>What an acknowledgement or error of a correspondent sets: part 24's own binding list (steps 83 to 85, 92 to 94).</summary>
public abstract class CorrespondentProgram(int number, string substance, HostAddressing addressing) : ScenarioProgram(number, substance, new ScenarioTrigger(ControlPeer.Correspondent), addressing)
{
    /// <param name="steps">Numbers of the routine's steps, for the log: list, host.</param>
    protected ScenarioResult Route(ControlMessage message, IScenarioGuest guest, (string List, string Host) steps)
    {
        // 83, 92: the MH type decides. Steps 85 and 94 delete the sender's entry alone; that there is none is no failure.
        if (message.Message is BindingError)
        {
            guest.RemoveCorrespondent(message.Source);
            return ScenarioResult.Done;
        }

        if (CheckStatus(message, "R27") is { } refused)
        {
            return refused;
        }

        if (!guest.TrySetCorrespondent(message.Source, message.HomeAddress, message.Destination, message.Expires))
        {
            return new ScenarioResult(GuestCounters.BindingListFailed, steps.List);
        }

        return Addressing != HostAddressing.Translated || guest.TryBindVirtualAddress(message.HomeAddress, message.Expires, message.Now)
            ? ScenarioResult.Done
            : new ScenarioResult(GuestCounters.TranslationFailed, steps.Host);
    }
}

/// <summary>Embodiment 3: route optimisation for IPv4 applications.</summary>
public sealed class TranslatedRouteProgram() : CorrespondentProgram(10011, "IPv4-IPv6 translation, route optimisation", HostAddressing.Translated)
{
    public override ScenarioResult Run(ControlMessage message, IScenarioGuest guest) => Route(message, guest, ("84", "82"));
}

/// <summary>Embodiments 4 and 5: route optimisation for IPv6 applications.</summary>
public sealed class RouteProgram() : CorrespondentProgram(10013, "no translation, route optimisation", HostAddressing.Native)
{
    public override ScenarioResult Run(ControlMessage message, IScenarioGuest guest) => Route(message, guest, ("93", "93"));
}
