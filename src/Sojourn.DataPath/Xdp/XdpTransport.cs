using System.Net;
using System.Runtime.InteropServices;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Wire.Ip;

namespace Sojourn.DataPath.Xdp;

/// <summary>
/// AF_XDP for tunnels without UDP: which interfaces lead to their far ends, and by which station on them. A thread of its own follows the kernel's
/// routes, links and neighbours, and swaps what packet threads look at. Whatever it does not know is left to raw sockets, which have the kernel
/// find it out: a packet is never held back here. What passes here passes no packet filter and no queueing discipline of the kernel's.
/// </summary>
internal sealed unsafe class XdpTransport : IDisposable
{
    /// <summary>Far ends that are followed; those of further ones are reached by raw sockets. Each is looked up again when a route changes.</summary>
    private const int MostRemotes = 1024;

    /// <summary>Addresses of ours; what comes to further ones comes by raw sockets.</summary>
    private const int MostAddresses = 1024;

    /// <summary>RTMGRP_LINK, _NEIGH, IPv4 _IFADDR, _ROUTE, _RULE, IPv6 _IFADDR, _ROUTE, and the group of IPv6 rules.</summary>
    private const uint Groups = 0x1 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 0x40000;

    private const ushort NewLink = 16, DeleteLink = 17, NewNeighbour = 28, DeleteNeighbour = 29;

    /// <summary>How often neighbours in use are said to be so, and far ends that no interface leads to are looked for again.</summary>
    private const int UseMilliseconds = 1000;

    /// <summary>Notices come in swarms: what comes within this is looked at together.</summary>
    private const int SwarmMilliseconds = 20;

    private readonly NetworkNamespace _network;
    private readonly uint _mark;
    private readonly Action _changed;
    private readonly Action<EngineEvent> _report;
    private readonly bool _wanted;
    private readonly Lock _gate = new();
    private readonly Dictionary<IPAddress, int> _remotes = [], _locals = [];
    private readonly WakeEvent _wake = new();
    private readonly Dictionary<int, XdpInterface> _interfaces = [];
    private readonly Dictionary<int, LinkState> _refused = [];
    private Thread? _thread;
    private FileDescriptor? _addresses;
    private Dictionary<UInt128, Way> _ways = [];
    private HashSet<(int Interface, IPAddress Address)> _hops = [];
    private XdpSocket[] _sockets = [];
    private bool _lost;
    private volatile bool _stopping;

    /// <summary>How a far end is reached.</summary>
    private sealed record Way((int Interface, IPAddress Address) Hop, XdpInterface Interface, byte[] Header, bool Stale)
    {
        public volatile bool Used;
    }

    /// <param name="network">Where the interfaces are.</param>
    /// <param name="mark">Of our own packets, for routing.</param>
    /// <param name="wanted">Not having it is worth a warning.</param>
    /// <param name="changed">Called when <see cref="Sockets"/> has changed.</param>
    public XdpTransport(NetworkNamespace network, uint mark, bool wanted, Action changed, Action<EngineEvent> report) =>
        (_network, _mark, _wanted, _changed, _report) = (network, mark, wanted, changed, report);

    /// <summary>All that receive.</summary>
    public XdpSocket[] Sockets => Volatile.Read(ref _sockets);

    /// <summary>A tunnel stands between these addresses.</summary>
    public void Follow(IPAddress local, IPAddress remote) => Count(local, remote, 1);

    /// <summary>It stands no more.</summary>
    public void Leave(IPAddress local, IPAddress remote) => Count(local, remote, -1);

    /// <summary>Sends complete packets to one destination. How many of the first it took.</summary>
    public int Send(ReadOnlySpan<byte> destination, Libc.IoVec* packets, int count)
    {
        if (!Volatile.Read(ref _ways).TryGetValue(KeyOf(destination), out var way))
        {
            return 0;
        }

        way.Used = true;
        var fitting = 0;
        while (fitting < count && (int)packets[fitting].Length <= way.Interface.LongestPacket)
        {
            fitting++;
        }

        var taken = way.Interface.Sockets[0].Send(way.Header, packets, fitting);
        if (taken < fitting && way.Interface.IsBroken)
        {
            // The link may have been down between two notices, and no other may come.
            _wake.Set();
        }

        return taken;
    }

    /// <summary>The IP packet of a received frame, without padding; empty when there is none to be trusted.</summary>
    public static ReadOnlySpan<byte> PacketOf(ReadOnlySpan<byte> frame)
    {
        var packet = frame[Math.Min(XdpSocket.EthernetHeader, frame.Length)..];
        return IpPacket.TryParse(packet, out var ip, out _) && (ip.IsIPv6 || ip.AsIPv4().ChecksumIsRight) ? ip.Octets : [];
    }

    public void Dispose()
    {
        _stopping = true;
        _wake.Set();
        _thread?.Join();
        _wake.Dispose();
    }

    /// <summary>An IPv4 address stands as ::ffff:a.b.c.d, which is nobody's on a wire.</summary>
    private static UInt128 KeyOf(ReadOnlySpan<byte> address) =>
        address.Length == 16 ? MemoryMarshal.Read<UInt128>(address) : new UInt128(((ulong)MemoryMarshal.Read<uint>(address) << 32) | 0xFFFF_0000, 0);

    private void Count(IPAddress local, IPAddress remote, int change)
    {
        lock (_gate)
        {
            if (Change(_remotes, remote) | Change(_locals, local))
            {
                _wake.Set();
            }

            // Who has no such tunnel has no such thread.
            if (_thread is null)
            {
                _thread = new Thread(Run) { IsBackground = true, Name = "AF_XDP next hops" };
                _thread.Start();
            }
        }

        bool Change(Dictionary<IPAddress, int> counts, IPAddress address)
        {
            var before = counts.GetValueOrDefault(address);
            if (before + change == 0)
            {
                counts.Remove(address);
            }
            else
            {
                counts[address] = before + change;
            }

            return before == 0 || before + change == 0;
        }
    }

    private void Run()
    {
        try
        {
            _network.Enter();
            using var notices = new NetlinkSocket(Groups);
            using var route = new Rtnetlink();
            Watch(notices, route);
        }
        catch (IOException refused)
        {
            Volatile.Write(ref _ways, []);
            Refuse($"routes and neighbours cannot be followed: {refused.Message}");
        }
        finally
        {
            Volatile.Write(ref _ways, []);
            foreach (var gone in _interfaces.Values)
            {
                gone.Dispose();
            }

            _addresses?.Dispose();
        }
    }

    private void Watch(NetlinkSocket notices, Rtnetlink route)
    {
        var fds = stackalloc Libc.PollFd[2];
        fds[0] = new Libc.PollFd { Fd = _wake.Fd, Events = Libc.POLLIN };
        fds[1] = new Libc.PollFd { Fd = notices.Fd, Events = Libc.POLLIN };
        var known = new HashSet<IPAddress>();
        while (!_stopping)
        {
            var ready = Libc.Poll(fds, 2, _lost || _ways.Count > 0 ? UseMilliseconds : -1);
            if (_stopping || (ready < 0 && Libc.LastError != Libc.EINTR))
            {
                return;
            }

            // A look between the notices of a change may find neither what was nor what will be.
            var changed = ready == 0 && _lost;
            if (ready > 0 && (fds[0].Revents & Libc.POLLIN) != 0)
            {
                _wake.Reset();
                changed = true;
            }

            if (ready > 0 && (fds[1].Revents & Libc.POLLIN) != 0)
            {
                changed |= Read(notices);
            }

            if (changed)
            {
                TellAddresses(known);
                Update(route);
                _ = Libc.Poll(fds, 1, SwarmMilliseconds);
            }

            KeepInUse(route);
        }
    }

    /// <summary>Takes the kernel's word. True when something has to be looked up anew; ways by routes that changed are given up at once.</summary>
    private bool Read(NetlinkSocket notices)
    {
        bool changed = false, routes = false;
        routes |= !notices.ReadNotices((type, body) =>
        {
            switch (type)
            {
                case NewNeighbour or DeleteNeighbour:
                    changed |= Rtnetlink.ParseStation(type, body) is { } station && _hops.Contains(station.Hop);
                    break;
                case NewLink or DeleteLink:
                    changed = true;
                    break;
                default:
                    routes = true;
                    break;
            }
        });
        if (routes)
        {
            Volatile.Write(ref _ways, []);
        }

        return changed || routes;
    }

    private void TellAddresses(HashSet<IPAddress> known)
    {
        IPAddress[] wanted;
        lock (_gate)
        {
            wanted = [.. _locals.Keys];
        }

        if (wanted.Length == 0 && _addresses is null)
        {
            return;
        }

        try
        {
            _addresses ??= Bpf.CreateMap(Bpf.HashMap, XdpProgram.AddressLength, sizeof(uint), MostAddresses);
        }
        catch (SystemCallException)
        {
            // Told when an interface wants it.
            return;
        }

        var key = stackalloc byte[XdpProgram.AddressLength];
        uint value = 1;
        foreach (var address in known.Except(wanted).ToList())
        {
            WriteKey(address);
            Bpf.Delete(_addresses, key);
            known.Remove(address);
        }

        foreach (var address in wanted.Where(address => known.Count < MostAddresses && known.Add(address)))
        {
            WriteKey(address);
            Bpf.Update(_addresses, key, &value);
        }

        void WriteKey(IPAddress address)
        {
            var octets = new Span<byte>(key, XdpProgram.AddressLength);
            octets.Clear();
            var length = address.GetAddressBytes().Length;
            address.TryWriteBytes(octets[^length..], out _);
        }
    }

    private void Update(Rtnetlink route)
    {
        IPAddress[] remotes;
        lock (_gate)
        {
            remotes = [.. _remotes.Keys.Take(MostRemotes)];
        }

        var links = route.Links().ToDictionary(link => link.Index);
        var stations = remotes.Length == 0 ? [] : route.Stations();
        var hops = remotes.Select(remote => (Remote: remote, Hop: route.NextHop(remote, _mark))).Where(found => found.Hop is not null)
            .Select(found => (found.Remote, Hop: found.Hop!.Value)).ToList();
        _hops = [.. hops.Select(found => found.Hop)];
        var used = _hops.Select(hop => links.GetValueOrDefault(hop.Interface)).OfType<LinkState>().Where(link => link is { Up: true, Carrier: true, Name: not "lo" }).ToHashSet();
        var interfaces = Attach([.. used], [.. links.Keys]);
        var ways = new Dictionary<UInt128, Way>();
        foreach (var (remote, hop) in hops)
        {
            if (_interfaces.TryGetValue(hop.Interface, out var by) && stations.TryGetValue(hop, out var station))
            {
                var ethertype = remote.GetAddressBytes().Length == 16 ? (byte[])[0x86, 0xDD] : [0x08, 0x00];
                ways[KeyOf(remote.GetAddressBytes())] = new Way(hop, by, [.. station.Station.ToArray(), .. by.Link.Address!.Value.ToArray(), .. ethertype], station.State == Rtnetlink.NeighbourState.Stale);
            }
        }

        // Of a far end behind an interface in use, or one that refused, notices tell what is new.
        _lost = hops.Count < remotes.Length || hops.Exists(found => !_interfaces.ContainsKey(found.Hop.Interface) && !_refused.ContainsKey(found.Hop.Interface));
        Volatile.Write(ref _ways, ways);
        if (interfaces)
        {
            Volatile.Write(ref _sockets, [.. _interfaces.Values.SelectMany(by => by.Sockets)]);
            _changed();
        }
    }

    /// <summary>Gives every interface in use its program and takes it from others, and from those that are not what they were. True when something changed.</summary>
    private bool Attach(IReadOnlyList<LinkState> used, IReadOnlyList<int> present)
    {
        var changed = false;
        foreach (var (index, by) in _interfaces.ToList())
        {
            if (by.IsBroken || !used.Any(link => IsSame(link, by.Link)))
            {
                _interfaces.Remove(index);
                Volatile.Write(ref _ways, []);
                by.Dispose();
                changed = true;
            }
        }

        foreach (var index in _refused.Keys.Except(present).ToList())
        {
            _refused.Remove(index);
        }

        foreach (var link in used.Where(link => !_interfaces.ContainsKey(link.Index) && !(_refused.TryGetValue(link.Index, out var tried) && IsSame(tried, link))))
        {
            try
            {
                if (link.Address is not { } station || station.ToArray().Length != 6)
                {
                    throw new IOException("it is not Ethernet");
                }

                _addresses ??= Bpf.CreateMap(Bpf.HashMap, XdpProgram.AddressLength, sizeof(uint), MostAddresses);
                var by = new XdpInterface(link, _addresses);
                _interfaces[link.Index] = by;
                _refused.Remove(link.Index);
                changed = true;
                _report(new EngineEvent("path.xdp_used", EventSeverity.Information,
                    $"{link.Name} carries packets of tunnels by AF_XDP, {by.Sockets.Count} queue{(by.Sockets.Count == 1 ? "" : "s")}, in {(by.InDriver ? "driver" : "generic")} mode"));
            }
            catch (IOException refused)
            {
                _refused[link.Index] = link;
                Refuse($"{link.Name}: {refused.Message}");
            }
        }

        return changed;
    }

    private void Refuse(string reason) => _report(new EngineEvent("path.xdp_refused", _wanted ? EventSeverity.Warning : EventSeverity.Information,
        $"packets of tunnels pass by raw sockets, not by AF_XDP: {reason}"));

    private static bool IsSame(LinkState one, LinkState other) => one.Index == other.Index && one.Mtu == other.Mtu && one.Address.Equals(other.Address);

    /// <summary>The kernel does not see what passes here: it is told, or it would never confirm a neighbour again.</summary>
    private void KeepInUse(Rtnetlink route)
    {
        foreach (var way in _ways.Values.Where(way => way is { Used: true, Stale: true }).DistinctBy(way => way.Hop))
        {
            way.Used = false;
            try
            {
                route.UseNeighbour(way.Hop.Interface, way.Hop.Address);
            }
            catch (NetlinkException)
            {
                // Gone meanwhile: a notice says so.
            }
        }
    }
}
