namespace Sojourn.Engine.Ipsec;

/// <summary>
/// Immutable hash map for the packet path: reading is one array index and a short scan, and a changed copy shares all
/// buckets but one. A full rebuild per registration would cost milliseconds with tens of thousands of paths.
/// </summary>
internal sealed class CopyOnWriteMap<TKey, TValue>
    where TKey : struct, IEquatable<TKey>
{
    public static readonly CopyOnWriteMap<TKey, TValue> Empty = new(new Entry[]?[16], 0);

    private readonly Entry[]?[] _buckets;

    private CopyOnWriteMap(Entry[]?[] buckets, int count)
    {
        _buckets = buckets;
        Count = count;
    }

    public int Count { get; }

    public bool TryGet(in TKey key, out TValue value)
    {
        var bucket = _buckets[key.GetHashCode() & (_buckets.Length - 1)];
        if (bucket is not null)
        {
            foreach (ref readonly var entry in bucket.AsSpan())
            {
                if (entry.Key.Equals(key))
                {
                    value = entry.Value;
                    return true;
                }
            }
        }

        value = default!;
        return false;
    }

    public CopyOnWriteMap<TKey, TValue> With(TKey key, TValue value)
    {
        var buckets = Count >= 2 * _buckets.Length ? Grow() : (Entry[]?[])_buckets.Clone();
        ref var bucket = ref buckets[key.GetHashCode() & (buckets.Length - 1)];
        var at = bucket is null ? -1 : Array.FindIndex(bucket, entry => entry.Key.Equals(key));
        Entry[] changed = at >= 0 ? [.. bucket!] : [.. bucket ?? [], default];
        changed[at >= 0 ? at : ^1] = new Entry(key, value);
        bucket = changed;
        return new CopyOnWriteMap<TKey, TValue>(buckets, at >= 0 ? Count : Count + 1);
    }

    public CopyOnWriteMap<TKey, TValue> Without(TKey key)
    {
        if (!TryGet(key, out _))
        {
            return this;
        }

        var buckets = (Entry[]?[])_buckets.Clone();
        ref var bucket = ref buckets[key.GetHashCode() & (buckets.Length - 1)];
        var rest = Array.FindAll(bucket!, entry => !entry.Key.Equals(key));
        bucket = rest.Length == 0 ? null : rest;
        return new CopyOnWriteMap<TKey, TValue>(buckets, Count - 1);
    }

    private Entry[]?[] Grow()
    {
        var lists = new List<Entry>?[_buckets.Length * 4];
        foreach (var bucket in _buckets)
        {
            foreach (var entry in bucket ?? [])
            {
                (lists[entry.Key.GetHashCode() & (lists.Length - 1)] ??= []).Add(entry);
            }
        }

        return Array.ConvertAll(lists, list => list?.ToArray());
    }

    private readonly record struct Entry(TKey Key, TValue Value);
}
