using System.Diagnostics;
using System.Net.Sockets;
using Sojourn.DataPath.DiffServ;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;
using Sojourn.DataPath.Xdp;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;

namespace Sojourn.DataPath.PacketPath;

/// <summary>
/// The user-space back end: a TUN interface on the inner side, raw and UDP sockets on the outer side, and a
/// <see cref="PathTable"/> between them. It lives in the namespace of the thread that made it and needs CAP_NET_ADMIN and
/// CAP_NET_RAW. One thread carries packets outwards (TUN, queues, shaper, protection, sending), one inwards (receiving,
/// opening, delivery, or on into another tunnel). Neither allocates per packet.
/// <see cref="Change"/> and <see cref="Report"/> may be called from any thread, one at a time.
/// </summary>
public sealed partial class UserPacketPath : IPacketPath
{
    private static readonly TimeSpan s_housekeeping = TimeSpan.FromMilliseconds(500);

    /// <summary>Restored associations announced per housekeeping round: a gateway that comes back does not flood its peers.</summary>
    private const int AnnouncementsPerRound = 1000;

    private readonly PacketPathOptions _options;
    private readonly NetworkNamespace _network = NetworkNamespace.Current();
    private readonly PathTable _table;
    private readonly NodeRouting _routing;
    private readonly TunDevice _tun;
    private readonly OuterSockets _outer;
    private readonly PacketPathCounters _counters = new();
    private readonly Lock _control = new();
    private readonly Dictionary<PathId, VpnPath> _paths = [];
    private readonly WakeEvent _wakeOutbound = new();
    private readonly WakeEvent _wakeInbound = new();
    private readonly Thread _outbound;
    private readonly Thread _inbound;
    private readonly Timer _housekeeper;
    private (long Outbound, long Inbound) _allocated;
    private long _lastKeepalive;
    private volatile bool _stopping;
    private bool _tunLossTold;
    private bool _disposed;

    /// <summary>Creates interface, sockets, rules and threads. <see cref="SystemCallException"/> when the system refuses one; nothing is left then.</summary>
    public UserPacketPath(PacketPathOptions options, IRandomSource random)
    {
        _options = options;
        _table = new PathTable(options.Table with { Sequences = options.Sequences }, random);
        var now = Nanoseconds();
        _lastKeepalive = now;
        _scheduler = new DiffServScheduler<QueuedPacket>(options.DiffServ, now, packet =>
        {
            _queueBuffers!.Return(packet.Slot);
            Interlocked.Increment(ref _counters.QueueDropped);
        });
        _shaped = options.DiffServ.Rate is not null;
        var ipv6 = NodeRouting.HasIPv6();
        using (var route = new Rtnetlink())
        {
            _tun = TunDevice.Create(options.TunName, options.TunMtu, route, segments: true, datagrams: true);
        }

        try
        {
            _outer = new OuterSockets(options.Routing.Mark, ipv6, options.Outer == OuterTransport.Raw ? null
                : new XdpTransport(_network, options.Routing.Mark, options.Outer == OuterTransport.Xdp, _wakeInbound.Set, report => options.Report?.Invoke(report)));
            _routing = new NodeRouting(options.Routing, options.TunName);
        }
        catch
        {
            _outer?.Dispose();
            _tun.Dispose();
            throw;
        }

        var slot = options.TunMtu + 64;
        _queueBuffers = new PacketBuffers(_shaped ? Enum.GetValues<ForwardingClass>().Sum(forwarding =>
            options.DiffServ.Queues.GetValueOrDefault(forwarding, DiffServOptions.DefaultQueues[forwarding]).LimitPackets) + 1 : 1, slot);
        _holdBuffers = new PacketBuffers(Math.Max(1, options.HeldPackets), slot);
        _held = new HeldPacket[Math.Max(1, options.HeldPackets)];
        _early = new EarlyPackets(options.EarlyPackets, slot + 128, options.EarlyTime);
        _outbound = new Thread(RunOutbound) { IsBackground = true, Name = "packet path outbound" };
        _inbound = new Thread(RunInbound) { IsBackground = true, Name = "packet path inbound" };
        _outbound.Start();
        _inbound.Start();
        _housekeeper = new Timer(_ => KeepHouse(), null, s_housekeeping, s_housekeeping);
    }

    /// <inheritdoc/>
    public NodeRouting Routing => _routing;

    /// <summary>
    /// Changes the set of paths as one step (spec S235). New selectors lead into the packet path before the paths stand and
    /// until after they are gone, so that nothing they match leaves in clear meanwhile. Throws when the kernel or the
    /// sequence store refuses; nothing is changed then.
    /// </summary>
    public PathChangeResult Change(IReadOnlyList<VpnPath> install, IReadOnlyList<PathId> remove)
    {
        lock (_control)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_options.Sequences is null && install.FirstOrDefault(path => path.Outbound is { StaticKeys: true }) is { } unkept)
            {
                return new PathChangeResult(new PathRefusal(unkept.Id, PathRefusalReason.StaticKeyNotAllowed,
                    "an association with typed-in keys needs a store for its counter", "M5"));
            }

            var added = 0;
            PathChangeResult? result = null;
            try
            {
                foreach (var path in install)
                {
                    Lead(path);
                    added++;
                }

                OpenUdpPorts(install);
                result = _table.Change(install, remove, DateTimeOffset.UtcNow);
            }
            finally
            {
                if (result is not { IsDone: true })
                {
                    foreach (var path in install.Take(added))
                    {
                        LeadNoMore(path);
                    }
                }
            }

            if (result.IsDone)
            {
                foreach (var path in install)
                {
                    Forget(path.Id);
                    _paths.Add(path.Id, path);
                    _outer.Follow(path);
                }

                foreach (var id in remove)
                {
                    Forget(id);
                }

                ReleaseHeld();
                if (_options.EarlyPackets > 0)
                {
                    Volatile.Write(ref _openEarly, true);
                    _wakeInbound.Set();
                }
            }

            DeliverSignals();
            return result;
        }
    }

    /// <inheritdoc/>
    public void Reserve(IEnumerable<VpnPath> paths)
    {
        lock (_control)
        {
            _table.Reserve(paths);
        }
    }

    /// <inheritdoc/>
    public bool Apply(Effect effect, out PathRefusal? refusal)
    {
        refusal = null;
        if (effect is not ChangePaths change)
        {
            if (!_routing.Apply(effect))
            {
                return false;
            }

            if (effect is AddVisitor or HoldVisitor { Hold: false })
            {
                ReleaseHeld();
            }

            return true;
        }

        refusal = this.CarryOut(change, _options.Signal);
        return true;
    }

    /// <inheritdoc/>
    public void ListenUdp(ushort port)
    {
        lock (_control)
        {
            _network.Run(() =>
            {
                _outer.EnsureUdp(port, ipv6: false);
                if (NodeRouting.HasIPv6())
                {
                    _outer.EnsureUdp(port, ipv6: true);
                }
            });
        }

        _wakeInbound.Set();
    }

    /// <inheritdoc/>
    public bool SendUdp(SendDatagram datagram) => _outer.SendUdp(datagram) == 0;

    /// <inheritdoc/>
    public IReadOnlyList<(string Session, ProfileUsage Usage)> TakeUsage()
    {
        lock (_control)
        {
            return _table.TakeUsage();
        }
    }

    /// <inheritdoc/>
    public int ActivePaths
    {
        get
        {
            lock (_control)
            {
                return _table.ActivePaths;
            }
        }
    }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, long> Counters
    {
        get
        {
            var counters = _counters.ToReport();
            foreach (var (name, count) in _table.Drops)
            {
                counters[name] = count;
            }

            return counters;
        }
    }

    /// <summary>Octets that the two packet threads have taken from the managed heap, as of the last time each had no packet in hand.</summary>
    internal long Allocated => Volatile.Read(ref _allocated.Outbound) + Volatile.Read(ref _allocated.Inbound);

    /// <inheritdoc/>
    public bool Holds(PathId id)
    {
        lock (_control)
        {
            return _paths.ContainsKey(id);
        }
    }

    public PacketPathReport Report()
    {
        lock (_control)
        {
            ClassReport[] classes;
            lock (_queueGate)
            {
                classes = [.. Enum.GetValues<ForwardingClass>().Select(_scheduler.Report)];
            }

            return new PacketPathReport(_table.Report(DateTimeOffset.UtcNow), classes, Counters);
        }
    }

    /// <summary>Stops the threads, then removes interface, rules, routes and neighbours.</summary>
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

        _stopping = true;
        _wakeOutbound.Set();
        _wakeInbound.Set();
        _outbound.Join();
        _inbound.Join();
        using (var stopped = new ManualResetEvent(false))
        {
            if (_housekeeper.Dispose(stopped))
            {
                stopped.WaitOne();
            }
        }

        _routing.Dispose();
        _tun.Dispose();
        _outer.Dispose();
        _wakeOutbound.Dispose();
        _wakeInbound.Dispose();
        _queueBuffers.Dispose();
        _holdBuffers.Dispose();
        _early.Dispose();
        _network.Dispose();
    }

    private static long Nanoseconds() => (long)(Stopwatch.GetTimestamp() * (1e9 / Stopwatch.Frequency));

    private void Forget(PathId id)
    {
        if (_paths.Remove(id, out var path))
        {
            LeadNoMore(path);
            _outer.Leave(path);
        }
    }

    /// <summary>Leads what a path selects into the packet path, unless it is for receiving alone.</summary>
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

    private void ReleaseHeld()
    {
        Volatile.Write(ref _releaseHeld, true);
        _wakeOutbound.Set();
    }

    private void OpenUdpPorts(IReadOnlyList<VpnPath> paths)
    {
        var opened = false;
        foreach (var path in paths)
        {
            if (path.Udp is { } udp)
            {
                opened |= _network.Run(() => _outer.EnsureUdp(udp.LocalPort, path.LocalGateway.AddressFamily == AddressFamily.InterNetworkV6));
            }
        }

        if (opened)
        {
            _wakeInbound.Set();
        }
    }

    private void KeepHouse()
    {
        lock (_control)
        {
            if (_disposed)
            {
                return;
            }

            if (_tunLost && !_tunLossTold)
            {
                _tunLossTold = true;
                foreach (var id in _paths.Keys)
                {
                    _options.Signal?.Invoke(new PathSignalled(id, PathSignal.InstallFailed));
                }
            }

            try
            {
                _table.CheckLifetimes(DateTimeOffset.UtcNow);
            }
            catch (IOException)
            {
                // Counters of associations that are gone stay stored until the disk takes the change.
            }

            ExpireHeld();
            Span<byte> dummy = stackalloc byte[PathTable.AnnouncementLength];
            for (var sent = 0; sent < AnnouncementsPerRound && _table.TryTakeAnnouncement(out var restored); sent++)
            {
                Announce(restored, dummy, DateTimeOffset.UtcNow);
            }

            if (_options.NatKeepalive is { } interval && Nanoseconds() - _lastKeepalive >= interval.TotalNanoseconds)
            {
                _lastKeepalive = Nanoseconds();
                foreach (var path in _paths.Values.Where(path => path.Udp is not null && path.State != PathState.Blocked)
                    .DistinctBy(path => (path.LocalGateway, path.RemoteGateway, path.Udp)))
                {
                    _outer.SendKeepalive(path.LocalGateway, path.Udp!.LocalPort, path.RemoteGateway, path.Udp.RemotePort);
                }
            }
        }

        DeliverSignals();
    }

    private void DeliverSignals()
    {
        while (_table.TryTakeSignal(out var signal))
        {
            _options.Signal?.Invoke(signal);
        }
    }
}
