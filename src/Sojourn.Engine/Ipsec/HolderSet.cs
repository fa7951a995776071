using System.Collections;

namespace Sojourn.Engine.Ipsec;

/// <summary>
/// The installed paths that share an association, immutable for the packet threads. A few are an array; a preset association
/// that carries all users of a company is a map, so that one more user does not copy all the others.
/// </summary>
internal sealed class HolderSet : IEnumerable<InstalledPath>
{
    public const int MostFew = 4;

    public static readonly HolderSet Empty = new(default, null);

    private readonly Few<InstalledPath> _few;

    /// <summary>By <see cref="InstalledPath.Order"/>, of which each path has its own.</summary>
    private readonly CopyOnWriteMap<ulong, InstalledPath>? _many;

    private HolderSet(Few<InstalledPath> few, CopyOnWriteMap<ulong, InstalledPath>? many)
    {
        _few = few;
        _many = many;
    }

    /// <summary>A path by itself: what nearly every association has, and both of a path the same.</summary>
    public static HolderSet Of(InstalledPath path) => new(new Few<InstalledPath>(path), null);

    public int Count => _many?.Count ?? _few.Count;

    public bool AreFew => _many is null;

    /// <summary>All of them when they are few.</summary>
    public Few<InstalledPath> Few => _few;

    public HolderSet With(InstalledPath path)
    {
        if (_many is not null)
        {
            return new HolderSet(default, _many.With(path.Order, path));
        }

        if (_few.IsEmpty)
        {
            return path.Alone;
        }

        if (_few.Contains(path))
        {
            return this;
        }

        if (_few.Count < MostFew)
        {
            return new HolderSet(Few<InstalledPath>.Of([.. _few.ToArray(), path]), null);
        }

        var many = CopyOnWriteMap<ulong, InstalledPath>.Empty.With(path.Order, path);
        foreach (var other in _few)
        {
            many = many.With(other.Order, other);
        }

        return new HolderSet(default, many);
    }

    public HolderSet Without(InstalledPath path)
    {
        if (_many is null)
        {
            return _few.Contains(path) ? new HolderSet(_few.Without(path), null) : this;
        }

        var rest = _many.Without(path.Order);
        return rest.Count <= MostFew ? new HolderSet(Few<InstalledPath>.Of([.. rest.Values]), null) : new HolderSet(default, rest);
    }

    public IEnumerator<InstalledPath> GetEnumerator() => (_many?.Values ?? _few.ToArray()).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
