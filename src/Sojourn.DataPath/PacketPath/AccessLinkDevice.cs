using System.Net;
using Sojourn.DataPath.Netlink;

namespace Sojourn.DataPath.PacketPath;

/// <summary>
/// A TUN interface that everything is led through which comes by some links and is not for this node's kernel; what is written goes
/// wherever routing leads. IPv4 of those links goes nowhere. Rules and a route without device stay when this object, or the process,
/// goes: without it the links are shut (ICMP "administratively prohibited"), not open. A later one takes them over.
/// </summary>
public sealed class AccessLinkDevice : IDisposable
{
    /// <summary>rtm_protocol and FRA_PROTOCOL of what is set here.</summary>
    public const byte Owner = 117;

    private const uint Table = 4350, Priority = 4350;

    /// <summary>Comes after the route to the device, and counts when that has gone with it.</summary>
    private const uint ShutMetric = 0x7FFF_FFFF;

    private static readonly IPNetwork s_everything = new(IPAddress.IPv6Any, 0);

    private readonly RoutedDevice _device;

    /// <param name="mtu">Octets.</param>
    /// <exception cref="IOException">The system refuses interface, rules or routes.</exception>
    public AccessLinkDevice(string name, int mtu, IEnumerable<string> links)
    {
        using var route = new Rtnetlink();
        route.ReplaceRoute(new Route { Destination = s_everything, Table = Table, Type = RouteType.Prohibit, Metric = ShutMetric, Protocol = Owner });
        var wanted = links.SelectMany(link => new[]
        {
            new PolicyRule { Priority = Priority, Table = Table, InboundInterface = link, IPv6 = true, Owner = Owner },
            new PolicyRule { Priority = Priority, Action = RuleAction.Prohibit, InboundInterface = link, Owner = Owner },
        }).ToList();
        var present = route.Rules().Where(rule => rule.Owner == Owner).ToList();
        foreach (var rule in wanted.Where(rule => !present.Exists(p => Same(p, rule))))
        {
            route.AddRule(rule);
        }

        foreach (var stale in present.Where(p => !wanted.Exists(rule => Same(p, rule))))
        {
            route.RemoveRule(stale);
        }

        _device = new RoutedDevice(name, mtu, []);
        try
        {
            route.ReplaceRoute(new Route { Destination = s_everything, Table = Table, Interface = name, Protocol = Owner });
        }
        catch
        {
            _device.Dispose();
            throw;
        }
    }

    public string Name => _device.Name;

    /// <inheritdoc cref="RoutedDevice.Start"/>
    public void Start(PacketHandler handler) => _device.Start(handler);

    /// <inheritdoc cref="RoutedDevice.Write"/>
    public bool Write(ReadOnlySpan<byte> packet) => _device.Write(packet);

    public void Dispose() => _device.Dispose();

    private static bool Same(PolicyRule one, PolicyRule other) => (one.InboundInterface, one.IPv6, one.Action) == (other.InboundInterface, other.IPv6, other.Action);
}
