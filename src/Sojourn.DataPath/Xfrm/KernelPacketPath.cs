using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Interception;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;

namespace Sojourn.DataPath.Xfrm;

/// <summary>
/// The kernel back end: paths are policies and associations of Linux (XFRM), and the kernel protects and opens. What paths select is led
/// by the same rules as in user space into a device that swallows everything; only a policy gets it out of there, so what has no
/// association goes nowhere. Lives in the namespace of the thread that made it and needs CAP_NET_ADMIN.
/// What it cannot do it refuses: see <see cref="Lacks"/> and decision 0007.
/// </summary>
public sealed partial class KernelPacketPath : IPacketPath
{
    private static readonly TimeSpan s_housekeeping = TimeSpan.FromMilliseconds(500);

    private readonly PacketPathOptions _options;
    private readonly NetworkNamespace _network = NetworkNamespace.Current();
    private readonly Lock _control = new();
    private readonly Dictionary<PathId, InstalledPath> _paths = [];
    private readonly Dictionary<ushort, List<UdpPort>> _udp = [];
    private readonly ConcurrentDictionary<uint, PathId> _waiting = [];
    private readonly ConcurrentQueue<PathSignalled> _signals = new();
    private readonly XfrmDatabase _database = new();
    private readonly KernelAssociations _associations;
    private readonly KernelPolicies _policies;
    private readonly KernelMarks _marks;
    private readonly NodeRouting _routing;
    private readonly XfrmNotices _notices;
    private readonly Timer _housekeeper;
    private readonly string? _acquireTime;
    private readonly KernelCounters _counters;
    private DateTimeOffset _lastKeepalive = DateTimeOffset.UtcNow;
    private ulong _order;
    private bool _disposed;

    /// <summary>Takes over what an earlier life left, then sets device and rules. <see cref="SystemCallException"/> when the system refuses one.</summary>
    public KernelPacketPath(PacketPathOptions options)
    {
        _options = options;
        _associations = new KernelAssociations(
            _database, options.Sequences is { } store ? new SequenceReservations(store, options.Table.Defer) : null, options.Routing.Mark);
        _marks = new KernelMarks(_network);
        _policies = new KernelPolicies(_database, _marks);
        _counters = _network.Run(() => new KernelCounters());
        using (var route = new Rtnetlink())
        {
            if (route.FindLink(options.TunName) is not null)
            {
                route.DeleteLink(options.TunName);
            }

            _policies.TakeOver();
            _associations.TakeOver();
            route.CreateDummy(options.TunName);
            route.SetUp(options.TunName);
        }

        _routing = new NodeRouting(options.Routing, options.TunName);
        _policies.Exempt(options.Routing.Mark, ipv6: false);
        if (NodeRouting.HasIPv6())
        {
            _policies.Exempt(options.Routing.Mark, ipv6: true);
        }

        // How long the kernel goes on dropping without a word after it has said once that a packet waits.
        _acquireTime = Sysctl.Change("1", "core", "xfrm_acq_expires");
        _notices = new XfrmNotices(OnExpired, OnAcquired);
        _housekeeper = new Timer(_ => KeepHouse(), null, s_housekeeping, s_housekeeping);
    }

    /// <inheritdoc/>
    public NodeRouting Routing => _routing;

    /// <inheritdoc/>
    public int ActivePaths
    {
        get
        {
            lock (_control)
            {
                return _paths.Values.Count(p => p.Path.State == PathState.Active);
            }
        }
    }

    /// <summary>Why there can be no kernel back end in the namespace of the calling thread; null = there can.</summary>
    public static string? Missing() => XfrmDatabase.Lacking();

    /// <summary>What of a path the kernel does not do; null = it does all of it.</summary>
    public static string? Lacks(VpnPath path) =>
        path is { SecurityType: SecurityType.EncapsulationOnly, State: not PathState.Blocked } ? "the kernel back end has no tunnels without IPsec"
        : path.Meter is not null ? "the kernel back end does not count for accounting"
        : path.MobileHeader != MobileHeader.None || path.Traffic != PathTraffic.All ? "the kernel back end has no tunnels of Mobile IPv6"
        : new[] { path.Outbound, path.Inbound }.OfType<SaParameters>().Select(a => XfrmFormat.Lacks(path.SecurityType, a)).FirstOrDefault(lacking => lacking is not null);

    /// <inheritdoc/>
    public PathChangeResult Change(IReadOnlyList<VpnPath> install, IReadOnlyList<PathId> remove)
    {
        lock (_control)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            var leaving = new HashSet<PathId>(remove);
            foreach (var path in install)
            {
                if (!leaving.Add(path.Id))
                {
                    return new PathChangeResult(new PathRefusal(path.Id, PathRefusalReason.DuplicateId, "the same path twice in one change", "S235"));
                }
            }

            if (install.Select(path => Check(path, leaving)).FirstOrDefault(r => r is not null) is { } refusal)
            {
                return new PathChangeResult(refusal);
            }

            foreach (var port in install.Where(p => p.Udp is not null).Select(p => p.Udp!.LocalPort).Distinct())
            {
                ListenUdp(port);
            }

            var former = leaving.Select(id => _paths.GetValueOrDefault(id)).OfType<InstalledPath>().ToList();
            Install([.. install], former, leaving);
            DeliverSignals();
            return PathChangeResult.Done;
        }
    }

    /// <inheritdoc/>
    public void Reserve(IEnumerable<VpnPath> paths)
    {
        lock (_control)
        {
            _associations.Reserve(paths);
        }
    }

    /// <inheritdoc/>
    public bool Apply(Effect effect, out PathRefusal? refusal)
    {
        refusal = null;
        if (effect is not ChangePaths change)
        {
            return _routing.Apply(effect);
        }

        refusal = this.CarryOut(change, _options.Signal);
        return true;
    }

    /// <inheritdoc/>
    public void ListenUdp(ushort port)
    {
        lock (_control)
        {
            if (_udp.ContainsKey(port))
            {
                return;
            }

            var families = NodeRouting.HasIPv6() ? new[] { AddressFamily.InterNetwork, AddressFamily.InterNetworkV6 } : [AddressFamily.InterNetwork];
            _udp.Add(port, [.. families.Select(family => _network.Run(() => new UdpPort(
                new UdpPortOptions { Port = port, Family = family, Mark = _options.Routing.Mark, EspEncapsulation = true },
                datagram => _options.UdpNotEsp?.Invoke(datagram))))]);
        }
    }

    /// <inheritdoc/>
    public bool SendUdp(SendDatagram datagram)
    {
        UdpPort? port;
        lock (_control)
        {
            port = _udp.GetValueOrDefault((ushort)datagram.Source.Port)?[datagram.Source.AddressFamily == AddressFamily.InterNetworkV6 ? 1 : 0];
        }

        try
        {
            port?.Send(datagram);
            return port is not null;
        }
        catch (SystemCallException)
        {
            return false;
        }
    }

    /// <inheritdoc/>
    /// <remarks>Nothing: paths that have a meter are refused.</remarks>
    public IReadOnlyList<(string Session, ProfileUsage Usage)> TakeUsage() => [];

    /// <inheritdoc/>
    public bool Holds(PathId id)
    {
        lock (_control)
        {
            return _paths.ContainsKey(id);
        }
    }

    /// <summary>Takes policies, associations, rules and device away.</summary>
    public void Dispose()
    {
        lock (_control)
        {
            if (_disposed)
            {
                return;
            }

            _disposed = true;
        }

        _notices.Dispose();
        using (var stopped = new ManualResetEvent(false))
        {
            if (_housekeeper.Dispose(stopped))
            {
                stopped.WaitOne();
            }
        }

        // The rules last: until then what paths selected ends in the device.
        _policies.TakeOver();
        _associations.TakeOver();
        _marks.Dispose();
        _database.Dispose();
        foreach (var port in _udp.Values.SelectMany(ports => ports))
        {
            port.Dispose();
        }

        _routing.Dispose();
        _network.Run(() =>
        {
            using var route = new Rtnetlink();
            route.DeleteLink(_options.TunName);
            if (_acquireTime is { } before)
            {
                Sysctl.Change(before, "core", "xfrm_acq_expires");
            }
        });
        _network.Dispose();
    }

    private PathRefusal? Check(VpnPath path, HashSet<PathId> leaving) =>
        PathRules.Check(path)
        ?? (Lacks(path) is { } lacking ? new PathRefusal(path.Id, PathRefusalReason.NotInThisBackEnd, lacking, "packet-path.data-path") : null)
        ?? (_options.Sequences is null && path.Outbound is { StaticKeys: true }
            ? new PathRefusal(path.Id, PathRefusalReason.StaticKeyNotAllowed, "an association with typed-in keys needs a store for its counter", "M5")
            : null)
        ?? _associations.Check(path, path.Outbound, true, leaving)
        ?? _associations.Check(path, path.Inbound, false, leaving);

    /// <summary>Rules, associations, policies; then what is no longer wanted, the other way round.</summary>
    private void Install(List<VpnPath> install, List<InstalledPath> former, HashSet<PathId> leaving)
    {
        var made = new List<KernelAssociation>();
        IReadOnlyList<KernelAssociations.Entry> entered = [];
        var installed = new List<InstalledPath>();
        try
        {
            foreach (var path in install)
            {
                var waiting = path.State == PathState.Blocked ? _associations.NextNumber() : 0;
                installed.Add(new InstalledPath(path, null, null, [], waiting));
                var outbound = _associations.Hold(path, path.Outbound, true, leaving, made);
                installed[^1] = installed[^1] with { Outbound = outbound };
                var inbound = _associations.Hold(path, path.Inbound, false, leaving, made);
                installed[^1] = installed[^1] with { Inbound = inbound, Claims = [.. KernelPolicies.ClaimsOf(path, ++_order, outbound, inbound, waiting)] };
                Lead(path);
            }

            entered = _associations.Enter(made);
            _policies.Change([.. installed.SelectMany(p => p.Claims)], [.. former.SelectMany(p => p.Claims)]);
        }
        catch
        {
            _associations.Undo(entered);
            foreach (var path in installed)
            {
                LeadNoMore(path.Path);
                Leave(path, former.Find(f => f.Path.Id == path.Path.Id));
            }

            throw;
        }

        foreach (var path in former)
        {
            _paths.Remove(path.Path.Id);
            _waiting.TryRemove(path.Waiting, out _);
            LeadNoMore(path.Path);
            Leave(path, installed.Find(i => i.Path.Id == path.Path.Id));
        }

        foreach (var path in installed)
        {
            _paths.Add(path.Path.Id, path);
            if (path.Waiting != 0)
            {
                _waiting[path.Waiting] = path.Path.Id;
            }
        }
    }

    /// <summary>Lets go of what a path held, but for what its counterpart of the same name goes on holding.</summary>
    private void Leave(InstalledPath path, InstalledPath? other)
    {
        foreach (var association in (KernelAssociation?[])[path.Outbound, path.Inbound])
        {
            if (association != other?.Outbound && association != other?.Inbound)
            {
                _associations.Release(association, path.Path.Id);
            }
        }
    }

    private void Lead(VpnPath path)
    {
        if (path.State != PathState.ReceiveOnly)
        {
            _routing.AddSelector(path.Source, path.Destination);
        }
    }

    private void LeadNoMore(VpnPath path)
    {
        if (path.State != PathState.ReceiveOnly)
        {
            _routing.RemoveSelector(path.Source, path.Destination);
        }
    }

    /// <param name="Waiting">Request id under which the kernel says that a packet waits; 0 = the path is not blocked.</param>
    private sealed record InstalledPath(VpnPath Path, KernelAssociation? Outbound, KernelAssociation? Inbound, IReadOnlyList<PolicyClaim> Claims, uint Waiting);
}
