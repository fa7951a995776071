using System.Net;
using Sojourn.DataPath.Interception;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.TerminalControl;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.TerminalControl;

/// <summary>
/// The home link (RFC 6275 10.4.1): neighbour discovery for terminals that are away is the engine's, and what other hosts of the link,
/// or routers, send to their home addresses is led into the home agent's device as long as they are.
/// </summary>
internal sealed class HomeLinkPort : IEffectPort, IDisposable
{
    private readonly HomeLink _link;
    private readonly RoutedDevice _device;
    private readonly NeighborDiscoverySocket _socket;
    private readonly NodeServices _services;

    public HomeLinkPort(HomeLink link, RoutedDevice device, Action<EngineInput> deliver, NodeServices services)
    {
        (_link, _device, _services) = (link, device, services);
        _socket = new NeighborDiscoverySocket(link.Interface, (source, packet) => deliver(new Ipv6PacketReceived(packet, link.Interface, source)));
    }

    /// <summary>The link as the system has it.</summary>
    /// <exception cref="InvalidDataException">It cannot be a home link.</exception>
    public static HomeLink Read(string name)
    {
        try
        {
            var (address, local) = NeighborDiscoverySocket.AddressesOf(name);
            return new HomeLink(name, address, local);
        }
        catch (IOException e)
        {
            throw new InvalidDataException($"home-link: {e.Message}", e);
        }
    }

    public bool TryCarryOut(Effect effect)
    {
        switch (effect)
        {
            case SendIpv6Packet { Interface: { } name, LinkDestination: { } destination } sent when name == _link.Interface:
                if (!_socket.Send(destination, sent.Packet.Span))
                {
                    _services.Count("ha6.home_link.send_failed", 1);
                }

                return true;
            case AttractHomeAddress home:
                _device.Attract(new IPNetwork(home.Address, 128));
                return true;
            case ReleaseHomeAddress home:
                _device.Release(new IPNetwork(home.Address, 128));
                return true;
            default:
                return false;
        }
    }

    public void Dispose() => _socket.Dispose();
}
