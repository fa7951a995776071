using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace Sojourn.Engine.Ipsec;

/// <summary>
/// Immutable hash map for the packet path: a trie of sixteen ways over the bits of the hash. A changed copy shares everything but the
/// nodes on the way to what changed, so that a registration costs some hundred octets with a hundred thousand paths as with a
/// thousand. That matters twice: what is copied lives on, and the collector has to carry it. Changes that belong together name one owner:
/// what such a change has copied, the next one changes in place, as nobody else can have seen it.
/// </summary>
internal sealed class CopyOnWriteMap<TKey, TValue>
    where TKey : struct, IEquatable<TKey>
{
    private const int Bits = 4, Ways = 1 << Bits;

    public static readonly CopyOnWriteMap<TKey, TValue> Empty = new(null, 0, null);

    private readonly object? _owner;

    /// <summary>A <see cref="Branch"/>, a <see cref="Leaf"/>, or null.</summary>
    private object? _root;

    private CopyOnWriteMap(object? root, int count, object? owner)
    {
        _root = root;
        _owner = owner;
        Count = count;
    }

    public int Count { get; private set; }

    /// <summary>In no particular order.</summary>
    public IEnumerable<TValue> Values
    {
        get
        {
            var open = new Stack<object?>([_root]);
            while (open.TryPop(out var node))
            {
                if (node is Branch branch)
                {
                    foreach (var below in branch.Below)
                    {
                        open.Push(below);
                    }
                }

                for (var leaf = node as Leaf; leaf is not null; leaf = leaf.Next)
                {
                    yield return leaf.Value;
                }
            }
        }
    }

    public bool TryGet(in TKey key, [MaybeNullWhen(false)] out TValue value)
    {
        var hash = HashOf(key);
        var node = _root;
        for (var rest = hash; node is Branch branch; rest <<= Bits)
        {
            node = branch.Below[Way(rest)];
        }

        for (var leaf = Unsafe.As<Leaf?>(node); leaf is not null; leaf = leaf.Next)
        {
            if (leaf.Hash == hash && leaf.Key.Equals(key))
            {
                value = leaf.Value;
                return true;
            }
        }

        value = default;
        return false;
    }

    /// <param name="owner">Who alone has seen the maps it got by naming itself, until it hands one on and names itself no more; null = nobody.</param>
    public CopyOnWriteMap<TKey, TValue> With(TKey key, TValue value, object? owner = null)
    {
        var count = Count;
        return Changed(Put(_root, HashOf(key), 0, key, value, owner, ref count), count, owner);
    }

    /// <param name="owner">See <see cref="With"/>.</param>
    public CopyOnWriteMap<TKey, TValue> Without(TKey key, object? owner = null) =>
        TryGet(key, out _) ? Changed(Take(_root!, HashOf(key), 0, key, owner), Count - 1, owner) : this;

    private CopyOnWriteMap<TKey, TValue> Changed(object? root, int count, object? owner)
    {
        if (owner is null || _owner != owner)
        {
            return new(root, count, owner);
        }

        (_root, Count) = (root, count);
        return this;
    }

    /// <summary>Spread over all bits, whatever the key makes of it; the upper ones decide first.</summary>
    private static uint HashOf(in TKey key) => (uint)key.GetHashCode() * 0x9E37_79B1u;

    private static int Way(uint rest) => (int)(rest >> (32 - Bits));

    private static object Put(object? node, uint hash, int depth, in TKey key, TValue value, object? owner, ref int count)
    {
        switch (node)
        {
            case null:
                count++;
                return new Leaf(hash, key, value, null);
            case Branch branch:
                ref readonly var below = ref branch.Below[Way(hash << depth)];
                return branch.With(Way(hash << depth), Put(below, hash, depth + Bits, key, value, owner, ref count), owner);
            case Leaf leaf when leaf.Hash == hash:
                count += leaf.Holds(key) ? 0 : 1;
                return new Leaf(hash, key, value, leaf.Without(key));
            default:
                // Two hashes that were alike so far: a branch for each further way they share, then both.
                return Put(new Branch(owner).With(Way(((Leaf)node).Hash << depth), node, owner), hash, depth, key, value, owner, ref count);
        }
    }

    private static object? Take(object node, uint hash, int depth, in TKey key, object? owner)
    {
        if (node is not Branch branch)
        {
            return ((Leaf)node).Without(key);
        }

        var left = branch.With(Way(hash << depth), Take(branch.Below[Way(hash << depth)]!, hash, depth + Bits, key, owner), owner);
        return left.OnlyLeaf(out var only) ? only : left;
    }

    [InlineArray(Ways)]
    private struct Slots
    {
        private object? _first;
    }

    private sealed class Branch(object? owner)
    {
        public Slots Below;
        private readonly object? _owner = owner;

        public Branch With(int way, object? node, object? owner)
        {
            var changed = owner is not null && _owner == owner ? this : new Branch(owner) { Below = Below };
            changed.Below[way] = node;
            return changed;
        }

        /// <summary>Whether there is nothing below but one leaf, or nothing, which then stands in this branch's place.</summary>
        public bool OnlyLeaf(out Leaf? only)
        {
            only = null;
            foreach (var node in Below)
            {
                if (node is Branch || (node is not null && only is not null))
                {
                    return false;
                }

                only ??= node as Leaf;
            }

            return true;
        }
    }

    /// <summary>One entry, and those others whose whole hash is the same.</summary>
    private sealed class Leaf(uint hash, TKey key, TValue value, Leaf? next)
    {
        public readonly uint Hash = hash;
        public readonly TKey Key = key;
        public readonly TValue Value = value;
        public readonly Leaf? Next = next;

        public bool Holds(in TKey key) => Key.Equals(key) || (Next is not null && Next.Holds(key));

        public Leaf? Without(in TKey key) =>
            Key.Equals(key) ? Next
            : Next is null ? this
            : new Leaf(Hash, Key, Value, Next.Without(key));
    }
}
