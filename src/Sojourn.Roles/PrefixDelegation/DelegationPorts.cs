using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Interception;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Roles.Hosting;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Roles.PrefixDelegation;

/// <summary>Options of the DHCPv6 ports.</summary>
internal static class Dhcpv6Ports
{
    /// <summary>The port of servers and relay agents, in their group on these links (RFC 8415 7.1).</summary>
    public static UdpPortOptions Server(IReadOnlyCollection<string> links) => new()
    {
        Family = AddressFamily.InterNetworkV6,
        Port = Dhcpv6Limits.ServerPort,
        Group = DelegatingRouter.AllRelayAgentsAndServers,
        GroupInterfaces = links,
    };
}

/// <summary>Tells whoever listens that an allocation has ended (event Q3).</summary>
internal sealed class AllocationEvents(Action<AllocationEnded> ended) : IEffectPort
{
    public bool TryCarryOut(Effect effect)
    {
        if (effect is not AllocationEnded allocation)
        {
            return false;
        }

        ended(allocation);
        return true;
    }
}

/// <summary>
/// Routes of delegated prefixes in the main table. They stay when the node stops, as the leases do; the next life removes those
/// whose lease has ended meanwhile.
/// </summary>
internal sealed class DelegatedRoutePort : IEffectPort, IDisposable
{
    /// <summary>rtm_protocol of these routes.</summary>
    public const byte Owner = 116;

    /// <summary>ESRCH.</summary>
    private const int NoSuchRoute = 3;

    private readonly Rtnetlink _route = new();
    private readonly Action<EngineEvent> _report;

    public DelegatedRoutePort(Action<EngineEvent> report) => _report = report;

    public bool TryCarryOut(Effect effect)
    {
        switch (effect)
        {
            case SetDelegatedRoutes all:
                Set(all.Routes);
                return true;
            case AddDelegatedRoute add:
                Try(() => _route.ReplaceRoute(RouteOf(add.Route)));
                return true;
            case RemoveDelegatedRoute remove:
                Try(() => Remove(remove.Prefix));
                return true;
            default:
                return false;
        }
    }

    public void Dispose() => _route.Dispose();

    private void Set(IReadOnlyList<DelegatedRoute> routes)
    {
        var wanted = routes.Select(route => route.Prefix).ToHashSet();
        Try(() =>
        {
            foreach (var stale in _route.Routes(Route.MainTable).Where(route => route.Protocol == Owner && !wanted.Contains(route.Destination)))
            {
                _route.RemoveRoute(stale);
            }
        });
        foreach (var route in routes)
        {
            Try(() => _route.ReplaceRoute(RouteOf(route)));
        }
    }

    private void Remove(IPNetwork prefix)
    {
        try
        {
            _route.RemoveRoute(new Route { Destination = prefix, Protocol = Owner });
        }
        catch (NetlinkException gone) when (gone.Errno == NoSuchRoute)
        {
            // The link it led by went away, and the route with it.
        }
    }

    private void Try(Action change)
    {
        try
        {
            change();
        }
        catch (IOException e)
        {
            _report(new EngineEvent("prefix.route_failed", EventSeverity.Error, e.Message) { Rule = "TA-M28" });
        }
    }

    private static Route RouteOf(DelegatedRoute route) => new()
    {
        Destination = route.Prefix,
        Gateway = route.Gateway,
        Interface = route.Interface,
        Type = route.Gateway is null && route.Interface is null ? RouteType.Unreachable : RouteType.Unicast,
        Protocol = Owner,
    };
}
