using Sojourn.DataPath.Interception;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Engine.Access;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.AccessAuthenticator;

/// <summary>The shut ports of an access link, and EAPOL on them.</summary>
internal sealed class AccessPort : IEffectPort, IDisposable
{
    private readonly AccessBridge _bridge;
    private readonly Dictionary<string, EapolSocket> _sockets = [];
    private readonly NodeServices _services;

    /// <exception cref="IOException">A port is not there or belongs to another bridge, or the system refuses.</exception>
    public AccessPort(AccessAuthenticatorSection section, Action<EngineInput> deliver, NodeServices services)
    {
        _services = services;
        _bridge = new AccessBridge(section.Bridge, section.Ports, section.Addresses.Select(a => (a.Address, a.PrefixLength)), section.IsolatePorts);
        try
        {
            foreach (var port in section.Ports)
            {
                _sockets.Add(port, new EapolSocket(
                    port, (source, frame) => deliver(new EapolReceived(port, source, frame)), section.AddressOnlyDevices ? source => deliver(new StationSeen(port, source)) : null));
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public bool TryCarryOut(Effect effect)
    {
        switch (effect)
        {
            case SendEapol sent when _sockets.TryGetValue(sent.Interface, out var socket):
                if (!socket.Send(sent.Destination, sent.Frame.Span))
                {
                    _services.Count("access.port.send_failed", 1);
                }

                return true;
            case StationAuthorized station:
                try
                {
                    if (station.Allowed)
                    {
                        _bridge.Admit(station.Interface, station.Station);
                    }
                    else
                    {
                        _bridge.Expel(station.Interface, station.Station);
                    }
                }
                catch (IOException e)
                {
                    _services.Report(new EngineEvent("access.port_not_set", EventSeverity.Error, $"the system refuses to {(station.Allowed ? "open" : "shut")} {station.Interface} for {station.Station}: {e.Message}"));
                }

                return true;
            default:
                return false;
        }
    }

    public void Dispose()
    {
        foreach (var socket in _sockets.Values)
        {
            socket.Dispose();
        }

        _bridge.Dispose();
    }
}
