using System.Net;

namespace Sojourn.Engine.Dhcpv6;

/// <summary>
/// The prefix control table (spec D2) with its pools: by association and by prefix. An association keeps its prefix when its lease
/// ends; the one that ended longest ago gives way when no prefix is free.
/// </summary>
internal sealed class PrefixTable(IReadOnlyList<PrefixPool> pools)
{
    private readonly Dictionary<AssociationKey, Entry> _byKey = [];
    private readonly Dictionary<IPNetwork, Entry> _byPrefix = [];
    private readonly PriorityQueue<Entry, DateTimeOffset> _deadlines = new();
    private readonly Queue<(Entry Entry, DateTimeOffset Ended)> _ended = new();
    private readonly Dictionary<int, int> _lengths = [];

    public int Count => _byKey.Count;

    public IEnumerable<PrefixLease> Leases => _byKey.Values.Select(entry => entry.Lease);

    public IReadOnlyList<PrefixPool> Pools => pools;

    public DateTimeOffset? NextDeadline => _deadlines.TryPeek(out _, out var at) ? at : null;

    public PrefixLease? Find(AssociationKey key) => _byKey.GetValueOrDefault(key)?.Lease;

    /// <summary>The allocated lease whose prefix holds an address.</summary>
    public PrefixLease? Covering(IPAddress address)
    {
        // By every length in use and not by the pools: a lease outlives a pool that the configuration no longer has.
        foreach (var length in _lengths.Keys)
        {
            if (_byPrefix.TryGetValue(PrefixPool.PieceOf(address, length), out var entry) && entry.Lease.IsAllocated)
            {
                return entry.Lease;
            }
        }

        return null;
    }

    public bool IsOurs(IPNetwork prefix) => pools.Any(pool => pool.Contains(prefix));

    /// <summary>Whether an association could be given a prefix (spec R61).</summary>
    public bool HasPrefixFor(AssociationKey key) => _byKey.ContainsKey(key) || _ended.Count > 0 || pools.Any(pool => pool.HasFree);

    /// <summary>The prefix an association has or may have; a new one is taken, and with <paramref name="length"/> preferably of that length.</summary>
    /// <param name="evict">Told of an association whose ended lease gave way.</param>
    public IPNetwork? PrefixFor(AssociationKey key, int? length, Action<AssociationKey> evict)
    {
        if (_byKey.TryGetValue(key, out var present))
        {
            return present.Lease.Prefix;
        }

        foreach (var pool in pools.OrderBy(pool => pool.DelegatedLength == length ? 0 : 1))
        {
            if (pool.TryTake(out var prefix))
            {
                return prefix;
            }
        }

        while (_ended.TryDequeue(out var oldest))
        {
            if (IsCurrent(oldest))
            {
                var gone = oldest.Entry.Lease;
                Forget(oldest.Entry);
                evict(gone.Key);
                if (IsOurs(gone.Prefix))
                {
                    return gone.Prefix;
                }
            }
        }

        return null;
    }

    /// <summary>Puts a lease whose prefix came from <see cref="PrefixFor"/>, or a new state of a present one.</summary>
    public void Put(PrefixLease lease)
    {
        if (!_byKey.TryGetValue(lease.Key, out var entry))
        {
            entry = new Entry(lease);
            _byKey.Add(lease.Key, entry);
            _byPrefix[lease.Prefix] = entry;
            _lengths[lease.Prefix.PrefixLength] = _lengths.GetValueOrDefault(lease.Prefix.PrefixLength) + 1;
        }

        entry.Lease = lease;
        if (lease.State == LeaseState.Expired)
        {
            _ended.Enqueue((entry, lease.ValidUntil));
            DropStale();
        }
        else if (entry.Queued is not { } queued || lease.ValidUntil < queued)
        {
            Queue(entry);
        }
    }

    /// <summary>Takes a lease over from an earlier life. False when its prefix is another's.</summary>
    public bool Restore(PrefixLease lease)
    {
        if (_byPrefix.ContainsKey(lease.Prefix))
        {
            return false;
        }

        foreach (var pool in pools)
        {
            if (pool.TryTake(lease.Prefix))
            {
                break;
            }
        }

        Put(lease);
        return true;
    }

    public void Remove(AssociationKey key)
    {
        if (_byKey.TryGetValue(key, out var entry))
        {
            Forget(entry);
            pools.FirstOrDefault(pool => pool.Contains(entry.Lease.Prefix))?.GiveBack(entry.Lease.Prefix);
        }
    }

    /// <summary>The next offer or lease whose time is over.</summary>
    public bool TryTakeDue(DateTimeOffset now, out PrefixLease lease)
    {
        while (_deadlines.TryPeek(out var entry, out var at) && at <= now)
        {
            _deadlines.Dequeue();
            if (entry.Queued != at)
            {
                continue;
            }

            entry.Queued = null;
            if (_byKey.GetValueOrDefault(entry.Lease.Key) != entry || entry.Lease.State == LeaseState.Expired)
            {
                continue;
            }

            // A lease that was renewed has one place in the queue, however often.
            if (entry.Lease.ValidUntil > now)
            {
                Queue(entry);
                continue;
            }

            lease = entry.Lease;
            return true;
        }

        lease = null!;
        return false;
    }

    private bool IsCurrent((Entry Entry, DateTimeOffset Ended) ended) =>
        _byKey.GetValueOrDefault(ended.Entry.Lease.Key) == ended.Entry && ended.Entry.Lease.State == LeaseState.Expired && ended.Entry.Lease.ValidUntil == ended.Ended;

    private void Forget(Entry entry)
    {
        _byKey.Remove(entry.Lease.Key);
        _byPrefix.Remove(entry.Lease.Prefix);
        if (--_lengths[entry.Lease.Prefix.PrefixLength] == 0)
        {
            _lengths.Remove(entry.Lease.Prefix.PrefixLength);
        }
    }

    /// <summary>A client that comes and goes leaves an entry each time; together they may be twice the leases.</summary>
    private void DropStale()
    {
        if (_ended.Count > (2 * _byKey.Count) + 1024)
        {
            var current = _ended.Where(IsCurrent).ToList();
            _ended.Clear();
            current.ForEach(_ended.Enqueue);
        }
    }

    private void Queue(Entry entry)
    {
        entry.Queued = entry.Lease.ValidUntil;
        _deadlines.Enqueue(entry, entry.Lease.ValidUntil);
    }

    private sealed class Entry(PrefixLease lease)
    {
        public PrefixLease Lease { get; set; } = lease;

        /// <summary>Its place in the queue of deadlines that counts.</summary>
        public DateTimeOffset? Queued { get; set; }
    }
}
