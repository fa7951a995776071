using System.Collections;
using System.Collections.Immutable;

namespace Sojourn.Engine.Ipsec;

/// <summary>
/// The installed paths that share an association, immutable for the packet threads. A few are an array; a preset association
/// that carries all users of a company is a tree, so that one more user does not copy all the others.
/// </summary>
internal sealed class HolderSet : IEnumerable<InstalledPath>
{
    public const int MostFew = 4;

    public static readonly HolderSet Empty = new([], null);

    private readonly InstalledPath[] _few;
    private readonly ImmutableHashSet<InstalledPath>? _many;

    private HolderSet(InstalledPath[] few, ImmutableHashSet<InstalledPath>? many)
    {
        _few = few;
        _many = many;
    }

    public int Count => _many?.Count ?? _few.Length;

    public bool AreFew => _many is null;

    /// <summary>All of them when they are few.</summary>
    public ReadOnlySpan<InstalledPath> Few => _few;

    public HolderSet With(InstalledPath path) =>
        _many is not null ? new HolderSet([], _many.Add(path))
        : Array.IndexOf(_few, path) >= 0 ? this
        : _few.Length < MostFew ? new HolderSet([.. _few, path], null)
        : new HolderSet([], [.. _few, path]);

    public HolderSet Without(InstalledPath path)
    {
        if (_many is null)
        {
            return Array.IndexOf(_few, path) < 0 ? this : new HolderSet(Array.FindAll(_few, other => other != path), null);
        }

        var rest = _many.Remove(path);
        return rest.Count <= MostFew ? new HolderSet([.. rest], null) : new HolderSet([], rest);
    }

    public IEnumerator<InstalledPath> GetEnumerator() => (_many ?? _few.AsEnumerable()).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
