namespace Sojourn.Engine.Ipsec;

/// <summary>
/// Immutable hash map for the packet path: reading is two array indices and a short scan, and a changed copy shares
/// everything but one chunk of buckets and the list of chunks. Both are of the order of the square root of the map, so that a
/// registration costs the same few kilobytes with a hundred thousand paths as with a thousand.
/// </summary>
internal sealed class CopyOnWriteMap<TKey, TValue>
    where TKey : struct, IEquatable<TKey>
{
    private const int ChunkBits = 8, ChunkSize = 1 << ChunkBits, EntriesPerBucket = 2, Growth = 4;

    public static readonly CopyOnWriteMap<TKey, TValue> Empty = new(new Entry[]?[1][], 16, 0);

    private readonly Entry[]?[]?[] _chunks;
    private readonly int _buckets;

    private CopyOnWriteMap(Entry[]?[]?[] chunks, int buckets, int count)
    {
        _chunks = chunks;
        _buckets = buckets;
        Count = count;
    }

    public int Count { get; }

    /// <summary>Array slots and entries a <see cref="With"/> or <see cref="Without"/> copies at most, growing aside.</summary>
    public int CopiedPerChange => _chunks.Length + Math.Min(_buckets, ChunkSize);

    public bool TryGet(in TKey key, out TValue value)
    {
        var at = BucketOf(key);
        if (_chunks[at >> ChunkBits] is { } chunk && chunk[at & (ChunkSize - 1)] is { } bucket)
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
        if (Count >= EntriesPerBucket * _buckets)
        {
            return Grow().With(key, value);
        }

        var bucket = Bucket(key);
        var at = bucket is null ? -1 : Array.FindIndex(bucket, entry => entry.Key.Equals(key));
        Entry[] changed = at >= 0 ? [.. bucket!] : [.. bucket ?? [], default];
        changed[at >= 0 ? at : ^1] = new Entry(key, value);
        return Replace(key, changed, at >= 0 ? Count : Count + 1);
    }

    public CopyOnWriteMap<TKey, TValue> Without(TKey key)
    {
        if (!TryGet(key, out _))
        {
            return this;
        }

        var rest = Array.FindAll(Bucket(key)!, entry => !entry.Key.Equals(key));
        return Replace(key, rest.Length == 0 ? null : rest, Count - 1);
    }

    private int BucketOf(in TKey key) => key.GetHashCode() & (_buckets - 1);

    private Entry[]? Bucket(in TKey key)
    {
        var at = BucketOf(key);
        return _chunks[at >> ChunkBits]?[at & (ChunkSize - 1)];
    }

    private CopyOnWriteMap<TKey, TValue> Replace(in TKey key, Entry[]? bucket, int count)
    {
        var at = BucketOf(key);
        var chunks = (Entry[]?[]?[])_chunks.Clone();
        ref var chunk = ref chunks[at >> ChunkBits];
        chunk = chunk is null ? new Entry[]?[Math.Min(_buckets, ChunkSize)] : (Entry[]?[])chunk.Clone();
        chunk[at & (ChunkSize - 1)] = bucket;
        return new CopyOnWriteMap<TKey, TValue>(chunks, _buckets, count);
    }

    private CopyOnWriteMap<TKey, TValue> Grow()
    {
        var size = _buckets * Growth;
        var lists = new List<Entry>?[size];
        foreach (var bucket in _chunks.SelectMany(chunk => chunk ?? []))
        {
            foreach (var entry in bucket ?? [])
            {
                (lists[entry.Key.GetHashCode() & (size - 1)] ??= []).Add(entry);
            }
        }

        var chunkSize = Math.Min(size, ChunkSize);
        var chunks = lists.Chunk(chunkSize).Select(part => Array.ConvertAll(part, list => list?.ToArray())).ToArray();
        return new CopyOnWriteMap<TKey, TValue>(chunks, size, Count);
    }

    private readonly record struct Entry(TKey Key, TValue Value);
}
