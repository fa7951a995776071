using System.Net;
using Sojourn.DataPath.Netlink;

namespace Sojourn.DataPath.PacketPath;

/// <summary>
/// A TUN interface that takes what comes by some links for some prefixes, wherever routing would lead it otherwise; what is written goes
/// wherever routing leads. What this node sends itself is left alone, so that it can talk with the same addresses by another way. Rules
/// and routes without device stay when this object, or the process, goes: those packets are unreachable then, and take no other way.
/// </summary>
public sealed class CarriedPrefixDevice : IDisposable
{
    /// <summary>rtm_protocol and FRA_PROTOCOL of what is set here.</summary>
    public const byte Owner = 119;

    private const uint Table = 4360, Priority = 4360;

    /// <summary>Comes after the route to the device, and counts when that has gone with it.</summary>
    private const uint ShutMetric = 0x7FFF_FFFF;

    private readonly Rtnetlink _route = new();
    private readonly RoutedDevice _device;
    private HashSet<IPNetwork> _prefixes = [];

    /// <param name="mtu">Octets.</param>
    /// <param name="links">Beside the device itself, whose packets may be for another of the prefixes.</param>
    /// <exception cref="IOException">The system refuses interface, rules or routes.</exception>
    public CarriedPrefixDevice(string name, int mtu, IEnumerable<string> links, IEnumerable<IPNetwork> prefixes)
    {
        _device = new RoutedDevice(name, mtu, []);
        try
        {
            foreach (var stale in _route.Rules().Where(rule => rule.Owner == Owner))
            {
                _route.RemoveRule(stale);
            }

            foreach (var left in _route.Routes(Table).Where(r => r.Destination.BaseAddress.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6))
            {
                _route.RemoveRoute(left);
            }

            Replace(prefixes);
            foreach (var link in links.Append(name))
            {
                _route.AddRule(new PolicyRule { Priority = Priority, Table = Table, InboundInterface = link, IPv6 = true, Owner = Owner });
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public string Name => _device.Name;

    /// <summary>Takes packets for these prefixes, and for no others, from now on. One thread at a time.</summary>
    /// <exception cref="IOException">The system refuses a route.</exception>
    public void Replace(IEnumerable<IPNetwork> prefixes)
    {
        var wanted = prefixes.ToHashSet();
        foreach (var prefix in wanted.Except(_prefixes))
        {
            _route.ReplaceRoute(Shut(prefix));
            _route.ReplaceRoute(ToDevice(prefix));
        }

        foreach (var prefix in _prefixes.Except(wanted))
        {
            _route.RemoveRoute(ToDevice(prefix));
            _route.RemoveRoute(Shut(prefix));
        }

        _prefixes = wanted;
    }

    /// <inheritdoc cref="RoutedDevice.Start"/>
    public void Start(PacketHandler handler) => _device.Start(handler);

    /// <inheritdoc cref="RoutedDevice.Write"/>
    public bool Write(ReadOnlySpan<byte> packet) => _device.Write(packet);

    public void Dispose()
    {
        _device.Dispose();
        _route.Dispose();
    }

    private static Route Shut(IPNetwork prefix) => new() { Destination = prefix, Table = Table, Type = RouteType.Unreachable, Metric = ShutMetric, Protocol = Owner };

    private Route ToDevice(IPNetwork prefix) => new() { Destination = prefix, Table = Table, Interface = Name, Protocol = Owner };
}
