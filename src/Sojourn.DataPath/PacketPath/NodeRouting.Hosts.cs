using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Interception;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Wire.Ip;

namespace Sojourn.DataPath.PacketPath;

/// <summary>Visitors of a foreign agent, home addresses of a home agent, the home address of a mobile node.</summary>
public sealed partial class NodeRouting
{
    private static readonly TimeSpan s_announcementInterval = TimeSpan.FromSeconds(1);

    private readonly Dictionary<string, int> _prepared = [];
    private Timer? _announcements;
    private readonly Dictionary<IPAddress, int> _pendingAnnouncements = [];
    private ImmutableHashSet<UInt128> _outOfReach = [];

    /// <summary>
    /// Packets that leave the path for <paramref name="address"/> go to that link-layer address, and every packet the visitor
    /// sends into the link enters the path. A visitor that is known moves to the new link.
    /// </summary>
    public void AddVisitor(IPAddress address, string @interface, LinkAddress linkAddress)
    {
        lock (_gate)
        {
            PrepareInterface(@interface);
            _visitors.TryGetValue(address, out var before);
            _route.SetNeighbour(@interface, address, linkAddress, _options.Owner);
            _route.ReplaceRoute(VisitorRoute(address, @interface));
            if (!_options.VisitorLinks.Contains(@interface))
            {
                AddRule(VisitorRule(address, @interface));
            }

            _visitors[address] = (@interface, linkAddress);
            Reach(address, inReach: true);
            if (before.Interface is { } old && old != @interface)
            {
                RemoveVisitorFrom(address, old);
            }
        }
    }

    /// <summary>Whether packets for a visitor can be delivered. An address that is no visitor's is none of our business.</summary>
    private void Reach(IPAddress address, bool inReach)
    {
        lock (_gate)
        {
            if (inReach || _visitors.ContainsKey(address))
            {
                var number = Number(address);
                _outOfReach = inReach ? _outOfReach.Remove(number) : _outOfReach.Add(number);
            }
        }
    }

    /// <summary>Whether an inner packet is for a visitor that cannot be reached now. Any thread may ask.</summary>
    internal bool IsOutOfReach(ReadOnlySpan<byte> inner)
    {
        var visitors = Volatile.Read(ref _outOfReach);
        return visitors.Count > 0 && IpPacket.TryParse(inner, out var packet, out _) && visitors.Contains(Number(packet.Destination));
    }

    private static UInt128 Number(IPAddress address)
    {
        Span<byte> octets = stackalloc byte[16];
        address.TryWriteBytes(octets, out var length);
        return Number(octets[..length]);
    }

    private static UInt128 Number(ReadOnlySpan<byte> address) =>
        address.Length == 16 ? BinaryPrimitives.ReadUInt128BigEndian(address) : BinaryPrimitives.ReadUInt32BigEndian(address);

    /// <summary>An unknown address is no error.</summary>
    public void RemoveVisitor(IPAddress address)
    {
        lock (_gate)
        {
            Reach(address, inReach: true);
            if (_visitors.Remove(address, out var visitor))
            {
                Quietly(() => _route.RemoveRoute(VisitorRoute(address, visitor.Interface)));
                RemoveVisitorFrom(address, visitor.Interface);
            }
        }
    }

    /// <summary>
    /// Leads packets for <paramref name="address"/> into the path; with a home interface also answers ARP for it there and
    /// tells the link at once and twice more (RFC 5944 4.6, gratuitous ARP).
    /// </summary>
    public void Attract(IPAddress address, string? homeInterface)
    {
        lock (_gate)
        {
            if (_tun is null)
            {
                throw new InvalidOperationException("this node has no packet path to attract home addresses into");
            }

            _attracted.TryGetValue(address, out var before);
            _route.ReplaceRoute(HomeRoute(address));
            _route.ReplaceRoute(HomeGuard(address));
            if (before is not null && before != homeInterface)
            {
                Quietly(() => _route.RemoveProxyNeighbour(before, address));
            }

            _attracted[address] = homeInterface;
            _selectors.Attract(address);
            if (homeInterface is not null)
            {
                PrepareInterface(homeInterface);
                // The kernel delays proxy answers by up to 0.8 s unless told not to.
                _network.Run(() => Change("0", address.AddressFamily == AddressFamily.InterNetworkV6 ? "ipv6" : "ipv4", "neigh", homeInterface, "proxy_delay"));
                _route.AddProxyNeighbour(homeInterface, address, _options.Owner);
                Announce(address);
            }
        }
    }

    /// <summary>An unknown address is no error.</summary>
    public void Release(IPAddress address)
    {
        lock (_gate)
        {
            if (!_attracted.Remove(address, out var homeInterface))
            {
                return;
            }

            _pendingAnnouncements.Remove(address);
            if (homeInterface is not null)
            {
                Quietly(() => _route.RemoveProxyNeighbour(homeInterface, address));
            }

            _selectors.Release(address);
            Quietly(() => _route.RemoveRoute(HomeGuard(address)));
            Quietly(() => _route.RemoveRoute(HomeRoute(address)));
        }
    }

    /// <summary>Gives the interface the home address and makes the gateway the default router through it, whatever prefix it has. Replaces the earlier attachment.</summary>
    public void Attach(string @interface, IPAddress homeAddress, IPAddress gateway)
    {
        lock (_gate)
        {
            var host = Host(homeAddress);
            PrepareInterface(@interface);
            var before = _attachment;
            _route.AddAddress(@interface, homeAddress, host.PrefixLength, detectDuplicates: false, owner: _options.Owner);
            _route.ReplaceRoute(DefaultRoute(@interface, homeAddress, gateway));
            _attachment = (@interface, homeAddress, gateway);
            if (before is { } former && !former.Gateway.Equals(gateway))
            {
                // Packets wait there for a router that is out of reach, and the programs that sent them wait for their buffers.
                Quietly(() => _route.RemoveNeighbour(former.Interface, former.Gateway));
            }

            if (before is { } old && (old.Interface != @interface || !old.Address.Equals(homeAddress)))
            {
                Quietly(() => _route.RemoveAddress(old.Interface, old.Address, Host(old.Address).PrefixLength));
            }
        }
    }

    /// <summary>An attachment that has been replaced meanwhile stays.</summary>
    public void Detach(string @interface, IPAddress homeAddress)
    {
        lock (_gate)
        {
            if (_attachment is { } now && now.Interface == @interface && now.Address.Equals(homeAddress))
            {
                Quietly(() => _route.RemoveRoute(DefaultRoute(@interface, homeAddress, now.Gateway)));
                Quietly(() => _route.RemoveAddress(@interface, homeAddress, Host(homeAddress).PrefixLength));
                _attachment = null;
            }
        }
    }

    private Route DefaultRoute(string @interface, IPAddress homeAddress, IPAddress gateway) => new()
    {
        Destination = Everything(homeAddress.AddressFamily == AddressFamily.InterNetworkV6),
        Gateway = gateway,
        Interface = @interface,
        PreferredSource = homeAddress,
        OnLink = true,
        Protocol = _options.Owner,
    };

    private Route VisitorRoute(IPAddress address, string @interface) =>
        new() { Destination = Host(address), Table = VisitorTable, Interface = @interface, Protocol = _options.Owner, Metric = 1 };

    private PolicyRule VisitorRule(IPAddress address, string @interface) => new()
    {
        Priority = _options.FirstPriority + 16,
        Table = PathTableNumber,
        Source = Host(address),
        InboundInterface = @interface,
    };

    private Route HomeRoute(IPAddress address) =>
        new() { Destination = Host(address), Table = HomeTable, Interface = _tun, Protocol = _options.Owner, Metric = 1 };

    private Route HomeGuard(IPAddress address) =>
        new() { Destination = Host(address), Table = GuardTable, Type = RouteType.Unreachable, Protocol = _options.Owner };

    private void RemoveVisitorFrom(IPAddress address, string @interface)
    {
        if (!_options.VisitorLinks.Contains(@interface))
        {
            Quietly(() => _route.RemoveRule(VisitorRule(address, @interface) with { Owner = _options.Owner }));
        }

        Quietly(() => _route.RemoveNeighbour(@interface, address));
    }

    /// <summary>For an interface that came after the start.</summary>
    private void PrepareInterface(string name)
    {
        // Entering the namespace takes a thread; once is enough while the interface is the same.
        var index = _route.Link(name).Index;
        if (_prepared.GetValueOrDefault(name) != index)
        {
            _network.Run(() => Prepare(name));
            _prepared[name] = index;
        }
    }

    private void Prepare(string name)
    {
        Change("0", "ipv4", "conf", name, "rp_filter");
        if (_options.Forwarding)
        {
            Change("0", "ipv4", "conf", name, "send_redirects");
        }

        Change("0", "ipv4", "conf", name, "accept_redirects");
    }

    private void Announce(IPAddress address)
    {
        if (address.AddressFamily != AddressFamily.InterNetwork)
        {
            return;
        }

        _pendingAnnouncements[address] = 3;
        SendAnnouncements([address]);
        _announcements ??= new Timer(_ =>
        {
            lock (_gate)
            {
                if (!_disposed)
                {
                    SendAnnouncements([.. _pendingAnnouncements.Keys]);
                }
            }
        }, null, s_announcementInterval, s_announcementInterval);
    }

    private void SendAnnouncements(IReadOnlyList<IPAddress> addresses)
    {
        foreach (var address in addresses)
        {
            if (_attracted.GetValueOrDefault(address) is { } homeInterface && _route.FindLink(homeInterface) is { Address.Length: 6 } link)
            {
                GratuitousArp.Send(_network, link, address);
            }

            if (--System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrNullRef(_pendingAnnouncements, address) <= 0)
            {
                _pendingAnnouncements.Remove(address);
            }
        }

        if (_pendingAnnouncements.Count == 0)
        {
            _announcements?.Dispose();
            _announcements = null;
        }
    }
}
