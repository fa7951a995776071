using System.Collections;

namespace Sojourn.Engine.Ipsec;

/// <summary>
/// The installed paths that share an association, immutable for the packet threads. A few are an array; a preset association
/// that carries all users of a company is a map, so that one more user does not copy all the others.
/// </summary>
internal sealed class HolderSet : IEnumerable<InstalledPath>
{
    public const int MostFew = 4;

    public static readonly HolderSet Empty = new([], null);

    private readonly InstalledPath[] _few;

    /// <summary>By <see cref="InstalledPath.Order"/>, of which each path has its own.</summary>
    private readonly CopyOnWriteMap<ulong, InstalledPath>? _many;

    private HolderSet(InstalledPath[] few, CopyOnWriteMap<ulong, InstalledPath>? many)
    {
        _few = few;
        _many = many;
    }

    public int Count => _many?.Count ?? _few.Length;

    public bool AreFew => _many is null;

    /// <summary>All of them when they are few.</summary>
    public ReadOnlySpan<InstalledPath> Few => _few;

    public HolderSet With(InstalledPath path)
    {
        if (_many is not null)
        {
            return new HolderSet([], _many.With(path.Order, path));
        }

        if (Array.IndexOf(_few, path) >= 0)
        {
            return this;
        }

        if (_few.Length < MostFew)
        {
            return new HolderSet([.. _few, path], null);
        }

        var many = CopyOnWriteMap<ulong, InstalledPath>.Empty.With(path.Order, path);
        foreach (var other in _few)
        {
            many = many.With(other.Order, other);
        }

        return new HolderSet([], many);
    }

    public HolderSet Without(InstalledPath path)
    {
        if (_many is null)
        {
            return Array.IndexOf(_few, path) < 0 ? this : new HolderSet(Array.FindAll(_few, other => other != path), null);
        }

        var rest = _many.Without(path.Order);
        return rest.Count <= MostFew ? new HolderSet([.. rest.Values], null) : new HolderSet([], rest);
    }

    public IEnumerator<InstalledPath> GetEnumerator() => (_many?.Values ?? _few).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
