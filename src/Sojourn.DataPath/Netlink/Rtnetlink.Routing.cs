using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Sojourn.DataPath.Native;

namespace Sojourn.DataPath.Netlink;

public sealed partial class Rtnetlink
{
    private const ushort NewRoute = 24, DeleteRouteType = 25, GetRoute = 26, NewRule = 32, DeleteRuleType = 33, GetRule = 34;
    private const byte ScopeUniverse = 0, ScopeLink = 253, ScopeHost = 254, ScopeNowhere = 255;
    private const uint RouteOnLink = 4, RouteCloned = 0x200, RuleInvert = 2;

    public void AddRoute(Route route) =>
        _socket.Execute(RouteMessage(route, NewRoute, NetlinkRequest.Create | NetlinkRequest.Exclusive), $"add route {route}");

    /// <summary>Adds the route or replaces the one of the same table, destination and metric.</summary>
    public void ReplaceRoute(Route route) =>
        _socket.Execute(RouteMessage(route, NewRoute, NetlinkRequest.Create | NetlinkRequest.Replace), $"replace route {route}");

    public void RemoveRoute(Route route) => _socket.Execute(RouteMessage(route, DeleteRouteType, 0), $"remove route {route}");

    /// <summary>Routes of both families; of one table when given. Cached (cloned) routes are left out.</summary>
    public IReadOnlyList<Route> Routes(uint? table = null)
    {
        var names = InterfaceNames();
        var routes = new List<Route>();
        _socket.Query(() =>
        {
            var request = new NetlinkRequest(GetRoute, NetlinkRequest.Dump);
            request.Header(12);
            return request;
        }, "list routes", routes.Clear, (type, body) =>
        {
            if (ParseRoute(type, body, names) is { } route && (table is null || route.Table == table))
            {
                routes.Add(route);
            }
        });
        return routes;
    }

    /// <summary>The route the kernel would take for a packet of this node to <paramref name="destination"/>; null = unreachable.</summary>
    public Route? LookUp(IPAddress destination, IPAddress? source = null)
    {
        var names = InterfaceNames();
        Route? found = null;
        try
        {
            _socket.Query(() =>
            {
                var request = new NetlinkRequest(GetRoute, 0);
                var header = request.Header(12);
                header[0] = Family(destination);
                header[1] = (byte)(destination.GetAddressBytes().Length * 8);
                request.Attribute(1, destination);
                return source is null ? request : request.Attribute(2, source);
            }, $"look up route to {destination}", () => found = null, (type, body) => found = ParseRoute(type, body, names, cloned: true));
        }
        catch (NetlinkException refused) when (refused.Errno is Libc.ENETUNREACH or Libc.EHOSTUNREACH or Libc.EINVAL)
        {
            return null;
        }

        return found;
    }

    public void AddRule(PolicyRule rule) => _socket.Execute(RuleMessage(rule, NewRule, NetlinkRequest.Create | NetlinkRequest.Exclusive), $"add rule {rule}");

    public void RemoveRule(PolicyRule rule) => _socket.Execute(RuleMessage(rule, DeleteRuleType, 0), $"remove rule {rule}");

    /// <summary>Rules of both families in order of priority.</summary>
    public IReadOnlyList<PolicyRule> Rules()
    {
        var rules = new List<PolicyRule>();
        _socket.Query(() =>
        {
            var request = new NetlinkRequest(GetRule, NetlinkRequest.Dump);
            request.Header(12);
            return request;
        }, "list rules", rules.Clear, (type, body) =>
        {
            if (ParseRule(type, body) is { } rule)
            {
                rules.Add(rule);
            }
        });
        return rules;
    }

    private NetlinkRequest RouteMessage(Route route, ushort type, int flags)
    {
        var adding = type == NewRoute;
        var request = new NetlinkRequest(type, (ushort)(NetlinkRequest.Acknowledge | flags));
        var header = request.Header(12);
        header[0] = Family(route.Destination.BaseAddress);
        header[1] = (byte)route.Destination.PrefixLength;
        header[4] = route.Table < 256 ? (byte)route.Table : (byte)0;
        header[5] = adding ? route.Protocol : (byte)0;
        header[6] = !adding ? ScopeNowhere
            : route.Type == RouteType.Local ? ScopeHost
            : route.Gateway is null && route.Type == RouteType.Unicast && header[0] == Libc.AF_INET ? ScopeLink
            : ScopeUniverse;
        header[7] = (byte)route.Type;
        MemoryMarshal.Write(header[8..], route.OnLink ? RouteOnLink : 0);
        request.Attribute(15, route.Table);
        if (route.Destination.PrefixLength > 0)
        {
            request.Attribute(1, route.Destination.BaseAddress);
        }

        if (route.Gateway is not null)
        {
            request.Attribute(5, route.Gateway);
        }

        if (route.Interface is not null)
        {
            request.Attribute(4, Link(route.Interface).Index);
        }

        if (route.PreferredSource is not null)
        {
            request.Attribute(7, route.PreferredSource);
        }

        if (route.Metric != 0)
        {
            request.Attribute(6, route.Metric);
        }

        if (route.Mtu != 0)
        {
            var metrics = request.Begin(8);
            request.Attribute(2, (uint)route.Mtu);
            request.End(metrics);
        }

        return request;
    }

    private static Route? ParseRoute(ushort type, ReadOnlySpan<byte> body, Dictionary<int, string> names, bool cloned = false)
    {
        if (type != NewRoute || body.Length < 12 || body[0] is not (Libc.AF_INET or Libc.AF_INET6))
        {
            return null;
        }

        var flags = MemoryMarshal.Read<uint>(body[8..]);
        if (!cloned && (flags & RouteCloned) != 0)
        {
            return null;
        }

        var destination = body[0] == Libc.AF_INET ? IPAddress.Any : IPAddress.IPv6Any;
        IPAddress? gateway = null, source = null;
        uint table = body[4], metric = 0;
        int output = 0, mtu = 0;
        var attributes = new AttributeReader(body[12..]);
        while (attributes.Next())
        {
            switch (attributes.Type)
            {
                case 1:
                    destination = attributes.Address ?? destination;
                    break;
                case 4:
                    output = attributes.Int32;
                    break;
                case 5:
                    gateway = attributes.Address;
                    break;
                case 6:
                    metric = attributes.UInt32;
                    break;
                case 7:
                    source = attributes.Address;
                    break;
                case 8:
                    var metrics = new AttributeReader(attributes.Value);
                    while (metrics.Next())
                    {
                        mtu = metrics.Type == 2 ? metrics.Int32 : mtu;
                    }

                    break;
                case 15:
                    table = attributes.UInt32;
                    break;
            }
        }

        return new Route
        {
            Destination = new IPNetwork(destination, body[1]),
            Table = table,
            Type = (RouteType)body[7],
            Gateway = gateway,
            Interface = output == 0 ? null : names.GetValueOrDefault(output, $"if{output}"),
            PreferredSource = source,
            Metric = metric,
            OnLink = (flags & RouteOnLink) != 0,
            Mtu = mtu,
            Protocol = body[5],
        };
    }

    private static NetlinkRequest RuleMessage(PolicyRule rule, ushort type, int flags)
    {
        var request = new NetlinkRequest(type, (ushort)(NetlinkRequest.Acknowledge | flags));
        var header = request.Header(12);
        header[0] = rule.Family;
        header[1] = (byte)(rule.Destination?.PrefixLength ?? 0);
        header[2] = (byte)(rule.Source?.PrefixLength ?? 0);
        header[4] = rule.Table < 256 ? (byte)rule.Table : (byte)0;
        header[7] = (byte)rule.Action;
        MemoryMarshal.Write(header[8..], rule.Invert ? RuleInvert : 0);
        request.Attribute(6, rule.Priority);
        request.Attribute(21, rule.Owner);
        if (rule.Table != 0)
        {
            request.Attribute(15, rule.Table);
        }

        if (rule.Destination is { PrefixLength: > 0 } destination)
        {
            request.Attribute(1, destination.BaseAddress);
        }

        if (rule.Source is { PrefixLength: > 0 } source)
        {
            request.Attribute(2, source.BaseAddress);
        }

        if (rule.InboundInterface is not null)
        {
            request.Attribute(3, rule.InboundInterface);
        }

        if (rule.OutboundInterface is not null)
        {
            request.Attribute(17, rule.OutboundInterface);
        }

        if (rule.SuppressedLength is { } suppressed)
        {
            request.Attribute(14, suppressed);
        }

        if (rule.Mark != 0)
        {
            request.Attribute(10, rule.Mark);
        }

        if (rule.Protocol != 0)
        {
            request.Attribute(22, rule.Protocol);
        }

        if (rule.DestinationPorts is { } ports)
        {
            request.Attribute(24, ports.First | ((uint)ports.Last << 16));
        }

        return request;
    }

    private static PolicyRule? ParseRule(ushort type, ReadOnlySpan<byte> body)
    {
        if (type != NewRule || body.Length < 12 || body[0] is not (Libc.AF_INET or Libc.AF_INET6))
        {
            return null;
        }

        var rule = new PolicyRule
        {
            Priority = 0,
            Table = body[4],
            Action = (RuleAction)body[7],
            Invert = (MemoryMarshal.Read<uint>(body[8..]) & RuleInvert) != 0,
            IPv6 = body[0] == Libc.AF_INET6,
            Owner = 0,
        };
        var attributes = new AttributeReader(body[12..]);
        while (attributes.Next())
        {
            rule = attributes.Type switch
            {
                1 when attributes.Address is { } address => rule with { Destination = new IPNetwork(address, body[1]) },
                2 when attributes.Address is { } address => rule with { Source = new IPNetwork(address, body[2]) },
                3 => rule with { InboundInterface = attributes.Text },
                6 => rule with { Priority = attributes.UInt32 },
                10 => rule with { Mark = attributes.UInt32 },
                14 when attributes.UInt32 != uint.MaxValue => rule with { SuppressedLength = attributes.UInt32 },
                15 => rule with { Table = attributes.UInt32 },
                17 => rule with { OutboundInterface = attributes.Text },
                21 => rule with { Owner = attributes.Value[0] },
                22 => rule with { Protocol = attributes.Value[0] },
                24 => rule with { DestinationPorts = ((ushort)attributes.UInt32, (ushort)(attributes.UInt32 >> 16)) },
                _ => rule,
            };
        }

        return rule;
    }

    private static byte Family(IPAddress address) => (byte)(address.AddressFamily == AddressFamily.InterNetworkV6 ? Libc.AF_INET6 : Libc.AF_INET);
}
