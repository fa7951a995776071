namespace Sojourn.Engine.Terminal.Scenarios;

/// <summary>What an acknowledgement of the home agent sets: the tunnel (steps 63, 66, 81, 91), then what the host sees.</summary>
public abstract class HomeAgentProgram(int number, string substance, HostAddressing addressing) : ScenarioProgram(number, substance, new ScenarioTrigger(ControlPeer.HomeAgent), addressing)
{
    /// <param name="steps">Numbers of the routine's steps, for the log: status, tunnel, host.</param>
    protected ScenarioResult Register(ControlMessage message, IScenarioGuest guest, (string Status, string Tunnel, string Host) steps)
    {
        if (CheckStatus(message, steps.Status) is { } refused)
        {
            return refused;
        }

        if (!guest.TrySetTunnel(message.Source, message.Destination, message.HomeAddress))
        {
            return new ScenarioResult(GuestCounters.TunnelSetFailed, steps.Tunnel);
        }

        if (Addressing == HostAddressing.Translated)
        {
            return guest.TryBindVirtualAddress(message.HomeAddress, message.Expires, message.Now) ? ScenarioResult.Done : new ScenarioResult(GuestCounters.TranslationFailed, steps.Host);
        }

        guest.ShowHomeAddress(message.HomeAddress);
        return ScenarioResult.Done;
    }
}

/// <summary>Embodiment 1: IPv4 applications, the signal without IPsec; for laboratories .</summary>
public sealed class TranslationProgram() : HomeAgentProgram(10000, "IPv4-IPv6 translation, no IPsec on the signal", HostAddressing.Translated)
{
    public override ScenarioResult Run(ControlMessage message, IScenarioGuest guest) => Register(message, guest, ("62", "63", "64"));
}

/// <summary>Embodiment 2: IPv6 applications, the signal without IPsec; for laboratories .</summary>
public sealed class TunnelProgram() : HomeAgentProgram(10001, "no translation, no IPsec on the signal", HostAddressing.Native)
{
    public override ScenarioResult Run(ControlMessage message, IScenarioGuest guest) => Register(message, guest, ("65", "66", "66"));
}

/// <summary>Embodiment 3: IPv4 applications.</summary>
public sealed class ProtectedTranslationProgram() : HomeAgentProgram(10010, "IPv4-IPv6 translation", HostAddressing.Translated)
{
    public override ScenarioResult Run(ControlMessage message, IScenarioGuest guest) => Register(message, guest, ("R27", "81", "82"));
}

/// <summary>Embodiments 4 and 5: IPv6 applications.</summary>
public sealed class ProtectedTunnelProgram() : HomeAgentProgram(10012, "no translation", HostAddressing.Native)
{
    public override ScenarioResult Run(ControlMessage message, IScenarioGuest guest) => Register(message, guest, ("R27", "91", "91"));
}
