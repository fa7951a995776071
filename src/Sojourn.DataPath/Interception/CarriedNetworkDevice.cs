using System.Net;
using Sojourn.DataPath.Netlink;
using Sojourn.DataPath.PacketPath;

namespace Sojourn.DataPath.Interception;

/// <summary>
/// The TUN device of a terminal that its applications reach an inner network through (spec terminal embodiment 8). While there is no
/// address to send from, that network is unreachable: nothing for it takes the default route. Lives in the namespace of the thread that
/// made it; packets are handed over by a thread of its own. Address and routes go with it.
/// </summary>
public sealed class CarriedNetworkDevice : IDisposable
{
    /// <summary>Comes after the route to the device.</summary>
    private const uint ShutMetric = 0x7FFF_FFFF;

    private readonly Rtnetlink _route = new();
    private readonly TunDevice _tun;
    private readonly TunReader _reader;
    private readonly IReadOnlyList<IPNetwork> _networks;
    private readonly IPAddress? _address;
    private readonly List<Route> _standing = [];
    private IPAddress? _source;

    /// <param name="mtu">Octets. A stream carries the packets, so that no link below sets a bound.</param>
    /// <param name="networks">What lies behind the gateway.</param>
    /// <param name="gateway">The gateway itself, which may have an address of those networks, and the device that leads to it.</param>
    /// <param name="address">An address of its own for the device; null: applications use the one told by <see cref="UseSource"/>.</param>
    /// <param name="sent">Gets every packet that an application sends.</param>
    /// <exception cref="IOException">The system refuses device or routes.</exception>
    public CarriedNetworkDevice(string name, int mtu, IReadOnlyList<IPNetwork> networks, (IPAddress Gateway, string Device) gateway, IPAddress? address, PacketHandler sent)
    {
        (_networks, _address) = (networks, address);
        try
        {
            _tun = TunDevice.Create(name, mtu, _route);
            foreach (var network in networks)
            {
                Stand(new Route { Destination = network, Type = RouteType.Unreachable, Metric = ShutMetric });
            }

            Stand(new Route { Destination = new IPNetwork(gateway.Gateway, 128), Interface = gateway.Device });
            if (address is not null)
            {
                _route.AddAddress(name, address, 128, detectDuplicates: false);
                UseSource(address);
            }
        }
        catch
        {
            TakeBack();
            _tun?.Dispose();
            _route.Dispose();
            throw;
        }

        _reader = new TunReader(_tun, sent);
    }

    public string Name => _tun.Name;

    /// <summary>False when the kernel does not take it. Any thread.</summary>
    public bool Deliver(ReadOnlySpan<byte> packet) => _tun.Write(packet);

    /// <summary>Which address of this node applications get; null: none, and the networks cannot be reached. Counts where the device has none of its own.</summary>
    /// <exception cref="IOException">The system refuses.</exception>
    public void UseSource(IPAddress? source)
    {
        source = _address ?? source;
        if (Equals(source, _source))
        {
            return;
        }

        foreach (var network in _networks)
        {
            if (source is null)
            {
                _route.RemoveRoute(new Route { Destination = network, Interface = Name });
            }
            else
            {
                _route.ReplaceRoute(new Route { Destination = network, Interface = Name, PreferredSource = source });
            }
        }

        _source = source;
    }

    public void Dispose()
    {
        _reader.Dispose();
        TakeBack();
        _tun.Dispose();
        _route.Dispose();
    }

    private void Stand(Route route)
    {
        _route.ReplaceRoute(route);
        _standing.Add(route);
    }

    private void TakeBack()
    {
        foreach (var route in _standing)
        {
            try
            {
                _route.RemoveRoute(route);
            }
            catch (IOException)
            {
                // It went with its device.
            }
        }

        _standing.Clear();
    }
}
