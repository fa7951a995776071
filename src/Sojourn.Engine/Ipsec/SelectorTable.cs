namespace Sojourn.Engine.Ipsec;

/// <summary>
/// Immutable classifier (tuple space search): one hash map per pair of prefix lengths in use, most specific first, so
/// that the cost depends on how many different pairs there are and not on how many users. Most specific = larger sum of
/// both prefix lengths, then longer source prefix. Of paths with the same selector an active one comes before a blocked
/// one, that before one that only receives, and the newest first. One that is for receiving alone is never chosen.
/// </summary>
internal sealed class SelectorTable
{
    public static readonly SelectorTable Empty = new([], []);

    private readonly Group[] _ipv4;
    private readonly Group[] _ipv6;

    private SelectorTable(Group[] ipv4, Group[] ipv6)
    {
        _ipv4 = ipv4;
        _ipv6 = ipv6;
    }

    public bool IsEmpty => _ipv4.Length == 0 && _ipv6.Length == 0;

    public InstalledPath? Find(bool isIPv6, UInt128 source, UInt128 destination)
    {
        foreach (var group in isIPv6 ? _ipv6 : _ipv4)
        {
            if (group.Paths.TryGet(new SelectorKey(source & group.SourceMask, destination & group.DestinationMask), out var paths) && paths.First.State != PathState.ReceiveOnly)
            {
                return paths.First;
            }
        }

        return null;
    }

    /// <summary>The path held by <paramref name="association"/> whose mirror image an inner packet is.</summary>
    public InstalledPath? FindInbound(bool isIPv6, UInt128 innerSource, UInt128 innerDestination, SecurityAssociation association)
    {
        var holders = association.Holders;
        if (holders.AreFew)
        {
            foreach (var holder in holders.Few)
            {
                if (holder.Inbound == association && holder.TakesInbound && holder.MatchesInbound(isIPv6, innerSource, innerDestination))
                {
                    return holder;
                }
            }

            return null;
        }

        foreach (var group in isIPv6 ? _ipv6 : _ipv4)
        {
            if (group.Paths.TryGet(new SelectorKey(innerDestination & group.SourceMask, innerSource & group.DestinationMask), out var paths))
            {
                foreach (var path in paths)
                {
                    if (path.Inbound == association && path.TakesInbound)
                    {
                        return path;
                    }
                }
            }
        }

        return null;
    }

    /// <summary>The encapsulation-only path between two gateways whose mirror image an inner packet is.</summary>
    public InstalledPath? FindInbound(bool isIPv6, UInt128 innerSource, UInt128 innerDestination, in TunnelKey tunnel)
    {
        foreach (var group in isIPv6 ? _ipv6 : _ipv4)
        {
            if (group.Paths.TryGet(new SelectorKey(innerDestination & group.SourceMask, innerSource & group.DestinationMask), out var paths))
            {
                foreach (var path in paths)
                {
                    if (path.Path.SecurityType == SecurityType.EncapsulationOnly && path.TakesInbound && path.TunnelKey == tunnel)
                    {
                        return path;
                    }
                }
            }
        }

        return null;
    }

    /// <param name="owner">See <see cref="CopyOnWriteMap{TKey, TValue}.With"/>.</param>
    public SelectorTable With(InstalledPath path, object? owner = null) => Change(path, add: true, owner);

    /// <param name="owner">See <see cref="CopyOnWriteMap{TKey, TValue}.With"/>.</param>
    public SelectorTable Without(InstalledPath path, object? owner = null) => Change(path, add: false, owner);

    private static int Rank(InstalledPath path) => path.State switch
    {
        PathState.Active => 0,
        PathState.Blocked => 1,
        PathState.InboundOnly => 2,
        _ => 3,
    };

    private SelectorTable Change(InstalledPath path, bool add, object? owner)
    {
        var groups = path.InnerIsIPv6 ? _ipv6 : _ipv4;
        var key = new SelectorKey(path.Source, path.Destination);
        var at = Array.FindIndex(groups, g => g.SourceMask == path.SourceMask && g.DestinationMask == path.DestinationMask);
        var group = at >= 0 ? groups[at] : new Group(path.Path.Source.PrefixLength, path.Path.Destination.PrefixLength, path.SourceMask, path.DestinationMask, CopyOnWriteMap<SelectorKey, Few<InstalledPath>>.Empty);
        _ = group.Paths.TryGet(key, out var before);
        var paths = !add ? before.Without(path) : before.IsEmpty ? new(path) : Ranked([.. before.ToArray(), path]);
        var map = paths.IsEmpty ? group.Paths.Without(key, owner) : group.Paths.With(key, paths, owner);
        if (at >= 0 && map == group.Paths && map.Count > 0)
        {
            return this;
        }

        group = group with { Paths = map };
        Group[] changed;
        if (at >= 0 && group.Paths.Count > 0)
        {
            changed = [.. groups];
            changed[at] = group;
        }
        else
        {
            changed = at >= 0 ? [.. groups[..at], .. groups[(at + 1)..]] : [.. groups, group];
            Array.Sort(changed, (a, b) => b.Specificity != a.Specificity ? b.Specificity.CompareTo(a.Specificity) : b.SourceLength.CompareTo(a.SourceLength));
        }

        return path.InnerIsIPv6 ? new SelectorTable(_ipv4, changed) : new SelectorTable(changed, _ipv6);
    }

    private static Few<InstalledPath> Ranked(InstalledPath[] paths)
    {
        Array.Sort(paths, (a, b) => Rank(a) != Rank(b) ? Rank(a).CompareTo(Rank(b)) : b.Order.CompareTo(a.Order));
        return Few<InstalledPath>.Of(paths);
    }

    private sealed record Group(int SourceLength, int DestinationLength, UInt128 SourceMask, UInt128 DestinationMask, CopyOnWriteMap<SelectorKey, Few<InstalledPath>> Paths)
    {
        public int Specificity => SourceLength + DestinationLength;
    }
}
