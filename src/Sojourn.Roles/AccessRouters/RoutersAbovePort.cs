using Sojourn.DataPath.Interception;
using Sojourn.Engine;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.AccessRouters;

/// <summary>Hears router advertisements on the links of routers above.</summary>
internal sealed class RoutersAbovePort : IEffectPort, IDisposable
{
    private readonly List<RouterAdvertisementSocket> _sockets = [];

    /// <exception cref="IOException">A link is not there, or the system refuses.</exception>
    public RoutersAbovePort(IEnumerable<string> links, Action<EngineInput> deliver)
    {
        try
        {
            foreach (var name in links)
            {
                _sockets.Add(new RouterAdvertisementSocket(name, packet => deliver(new Ipv6PacketReceived(packet, name))));
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public bool TryCarryOut(Effect effect) => false;

    public void Dispose() => _sockets.ForEach(socket => socket.Dispose());
}
