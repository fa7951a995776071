using System.Collections.Concurrent;
using System.Net;

namespace Sojourn.Engine.Ipsec;

/// <summary>
/// The packet path's table: security policy and association databases (RFC 4301 4.4) over <see cref="VpnPath"/>, and
/// what is done with a packet, without I/O. One control thread calls <see cref="Change"/>, <see cref="Report"/> and
/// <see cref="CheckLifetimes"/>; packet threads call the rest at the same time and see an immutable snapshot, so that
/// a change is atomic for every packet (spec S235).
///
/// Readings taken: ESP and AH in tunnel mode only. The outer header takes the marked DSCP (RFC 2983, spec NV9.4), ECN
/// follows RFC 6040 normal mode, IPv4 DF is copied, an IPv6 flow label is copied into an IPv6 outer header. TTL and hop
/// limit of the inner packet are left alone in both directions: the router that hands packets in decrements them.
/// Native and UDP-encapsulated ESP are both taken for every association, as RFC 7296 2.23 wants. A blocked path takes
/// nothing in either direction.
/// </summary>
public sealed partial class PathTable
{
    /// <summary>What an output buffer needs beyond the inner packet, per outer packet.</summary>
    public const int MaximumOverhead = 128;

    /// <summary>Octets that <see cref="Announce"/> needs for its packet.</summary>
    public const int AnnouncementLength = MaximumOverhead + DummyPayload;

    /// <summary>As long as a TCP acknowledgement over IPv4, the commonest short packet.</summary>
    private const int DummyPayload = 40;

    private const int MaximumWaitingSignals = 4096;
    private const int LeastWatched = 64;

    private readonly PathTableOptions _options;
    private readonly IRandomSource _random;
    private readonly SequenceReservations? _sequences;
    private DropCounters _drops;
    private readonly ConcurrentQueue<PathSignalled> _signals = new();
    private readonly ConcurrentQueue<InstalledPath> _announcements = new();
    private readonly PriorityQueue<SecurityAssociation, DateTimeOffset> _expiring = new();
    private Snapshot _snapshot = Snapshot.Empty;
    private int _identification;

    public PathTable(PathTableOptions options, IRandomSource random)
    {
        _options = options;
        _random = random;
        _identification = (int)random.NextUInt32();
        _icmpBudget = options.IcmpErrorsPerSecond;
        _sequences = options.Sequences is { } store ? new SequenceReservations(store, options.Defer) : null;
    }

    private Snapshot Current => Volatile.Read(ref _snapshot);

    /// <summary>Takes the oldest signal not yet taken. Any thread.</summary>
    public bool TryTakeSignal(out PathSignalled signal)
    {
        var taken = _signals.TryDequeue(out var next);
        signal = next!;
        return taken;
    }

    /// <summary>
    /// Takes a path whose association came back from an earlier life and has heard nothing since: send what <see cref="Announce"/>
    /// makes, so that the far end is ahead of what was stored before its next packet. Any thread.
    /// </summary>
    public bool TryTakeAnnouncement(out PathHandle path)
    {
        while (_announcements.TryDequeue(out var next))
        {
            if (next is { Retired: false, Inbound.SilentSinceRestart: true })
            {
                path = new PathHandle(next);
                return true;
            }
        }

        path = default;
        return false;
    }

    /// <summary>Refusals of the whole table by counter name, those of no path included. Any thread.</summary>
    public IReadOnlyDictionary<string, long> Drops => _drops.ToReport();

    /// <summary>Installed paths in state <see cref="PathState.Active"/>. Control thread.</summary>
    public int ActivePaths { get; private set; }

    /// <summary>Every path with its counters. Control thread.</summary>
    public IReadOnlyList<PathReport> Report(DateTimeOffset now) =>
        [.. _paths.Values.OrderBy(path => path.Order).Select(path => ReportOf(path, now))];

    /// <summary>Raises the lifetime signals of associations that no packet passes, and forgets the stored counters of those that are gone. Control thread, now and then.</summary>
    /// <exception cref="IOException">The counters could not be forgotten; the next call tries again.</exception>
    public void CheckLifetimes(DateTimeOffset now)
    {
        while (_expiring.TryPeek(out var association, out var at) && at <= now)
        {
            _expiring.Dequeue();
            PathSignal? signal;
            lock (association.Gate)
            {
                signal = association.DueSignal(now);
            }

            RaiseForHolders(association, signal);
            Watch(association, Current, now);
        }

        _sequences?.Sweep(now);
    }

    /// <summary>
    /// Remembers when time alone ends an association; what packets use up is seen when they pass. What was renewed or has gone
    /// leaves its former time here; once most are of that kind the others are listed anew.
    /// </summary>
    private void Watch(SecurityAssociation association, Snapshot snapshot, DateTimeOffset? after = null)
    {
        if (_expiring.Count > LeastWatched + (2 * _listed))
        {
            _expiring.Clear();
            foreach (var listed in snapshot.Outbound.Values.Concat(snapshot.Inbound.Values).SelectMany(atKey => atKey.ToArray()).Where(listed => listed != association))
            {
                if (listed.NextTime(after) is { } time)
                {
                    _expiring.Enqueue(listed, time);
                }
            }
        }

        if (association.NextTime(after) is { } next)
        {
            _expiring.Enqueue(association, next);
        }
    }

    private static PathReport ReportOf(InstalledPath path, DateTimeOffset now)
    {
        var counters = path.Counters;
        var mtu = path.Tunnel.Current(now);
        return new PathReport(
            path.Path, Interlocked.Read(ref counters.PacketsOut), Interlocked.Read(ref counters.BytesOut),
            Interlocked.Read(ref counters.PacketsIn), Interlocked.Read(ref counters.BytesIn),
            TimeOf(Interlocked.Read(ref counters.LastOutTicks)), TimeOf(Interlocked.Read(ref counters.LastInTicks)),
            mtu, path.InnerMtu(mtu), Interlocked.Read(ref counters.EcnUnexpected),
            ReportOf(path.Outbound), ReportOf(path.Inbound), counters.Drops.ToReport());
    }

    private static AssociationReport? ReportOf(SecurityAssociation? association)
    {
        if (association is null)
        {
            return null;
        }

        lock (association.Gate)
        {
            var parameters = association.Parameters;
            return new AssociationReport(
                association.Protocol, parameters.Spi, parameters.Source, parameters.Destination, parameters.Algorithm,
                parameters.ExtendedSequence, association.Packets, association.Bytes,
                association.Outbound ? association.Sequence : association.Window.Top, association.Holders.Count,
                TimeOf(association.LastUseTicks), association.Cipher?.Library, association.Drops.ToReport());
        }
    }

    private static DateTimeOffset? TimeOf(long ticks) => ticks == 0 ? null : new DateTimeOffset(ticks, TimeSpan.Zero);

    private void Raise(InstalledPath path, PathSignal signal)
    {
        if (_signals.Count < MaximumWaitingSignals)
        {
            _signals.Enqueue(new PathSignalled(path.Path.Id, signal));
        }
    }

    private void RaiseForHolders(SecurityAssociation association, PathSignal? signal)
    {
        if (signal is { } due)
        {
            foreach (var holder in association.Holders)
            {
                Raise(holder, due);
            }
        }
    }

    private DropReason Drop(DropReason reason, InstalledPath? path = null, int packets = 1)
    {
        _drops.Add(reason, packets);
        path?.Counters.Drops.Add(reason, packets);
        return reason;
    }

    /// <summary>Everything a packet needs, swapped as a whole.</summary>
    private sealed record Snapshot(
        SelectorTable Selectors,
        SelectorTable HomeTests,
        CopyOnWriteMap<AssociationKey, Few<SecurityAssociation>> Inbound,
        CopyOnWriteMap<AssociationKey, Few<SecurityAssociation>> Outbound,
        CopyOnWriteMap<TunnelKey, TunnelMtu> Tunnels)
    {
        public static readonly Snapshot Empty = new(
            SelectorTable.Empty, SelectorTable.Empty, CopyOnWriteMap<AssociationKey, Few<SecurityAssociation>>.Empty,
            CopyOnWriteMap<AssociationKey, Few<SecurityAssociation>>.Empty, CopyOnWriteMap<TunnelKey, TunnelMtu>.Empty);

        public Snapshot With(InstalledPath path, object? owner) => With(path.Path.Traffic, Of(path.Path.Traffic).With(path, owner));

        public Snapshot Without(InstalledPath path, object? owner) => With(path.Path.Traffic, Of(path.Path.Traffic).Without(path, owner));

        /// <summary>A table that its owner changed in place is the same as before.</summary>
        private Snapshot With(PathTraffic traffic, SelectorTable table) =>
            table == Of(traffic) ? this : traffic == PathTraffic.HomeTests ? this with { HomeTests = table } : this with { Selectors = table };

        private SelectorTable Of(PathTraffic traffic) => traffic == PathTraffic.HomeTests ? HomeTests : Selectors;

        /// <summary>The associations of a direction.</summary>
        public CopyOnWriteMap<AssociationKey, Few<SecurityAssociation>> Of(bool outbound) => outbound ? Outbound : Inbound;
    }
}
