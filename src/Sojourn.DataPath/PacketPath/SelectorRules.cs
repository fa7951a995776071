using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Sojourn.DataPath.PacketPath;

/// <summary>
/// Decides which selectors need a policy rule of their own. The kernel asks rules one after another, for every packet and
/// again for every rule that is added, so a rule per user makes both cost more with every user. A selector needs none
/// where its packets come into the path anyway: inside a wider selector that has a rule, or to an address the node attracts
/// by a route. When what covers it goes, it gets its rule first.
/// </summary>
/// <param name="add">Sets a rule; called before anything relies on it.</param>
/// <param name="remove">Removes one.</param>
internal sealed class SelectorRules(Action<IPNetwork, IPNetwork> add, Action<IPNetwork, IPNetwork> remove)
{
    private readonly Dictionary<(IPNetwork Source, IPNetwork Destination), Entry> _selectors = [];
    private readonly Dictionary<(int Source, int Destination, AddressFamily Family), int> _ruledLengths = [];
    private readonly Dictionary<IPAddress, HashSet<(IPNetwork, IPNetwork)>> _byAttraction = [];
    private readonly HashSet<IPAddress> _attracted = [];

    /// <summary>Selectors that have a rule.</summary>
    public int Ruled { get; private set; }

    /// <summary>Counted: each call needs one <see cref="Remove"/>. When setting a rule throws, nothing has changed.</summary>
    public void Add(IPNetwork source, IPNetwork destination)
    {
        if (_selectors.TryGetValue((source, destination), out var known))
        {
            known.Uses++;
            return;
        }

        var entry = new Entry();
        Place((source, destination), entry);
        _selectors.Add((source, destination), entry);
    }

    /// <summary>An unknown selector is no error.</summary>
    public void Remove(IPNetwork source, IPNetwork destination)
    {
        var key = (source, destination);
        if (!_selectors.TryGetValue(key, out var entry) || --entry.Uses > 0)
        {
            return;
        }

        _selectors.Remove(key);
        if (entry.Attracted)
        {
            Detach(key);
        }
        else if (entry.CoveredBy is { } wider)
        {
            _selectors[wider].Covers--;
        }
        else
        {
            Unrule(key, entry);
        }
    }

    /// <summary>From now on a route leads packets for the address into the path.</summary>
    public void Attract(IPAddress address) => _attracted.Add(address);

    /// <summary>The route is about to go: selectors to the address get rules.</summary>
    public void Release(IPAddress address)
    {
        _attracted.Remove(address);
        if (_byAttraction.Remove(address, out var selectors))
        {
            foreach (var key in selectors)
            {
                var entry = _selectors[key];
                entry.Attracted = false;
                Place(key, entry);
            }
        }
    }

    private void Place((IPNetwork Source, IPNetwork Destination) key, Entry entry)
    {
        if (IsHost(key.Destination) && _attracted.Contains(key.Destination.BaseAddress))
        {
            entry.Attracted = true;
            entry.CoveredBy = null;
            ref var selectors = ref CollectionsMarshal.GetValueRefOrAddDefault(_byAttraction, key.Destination.BaseAddress, out _);
            (selectors ??= []).Add(key);
        }
        else if (Wider(key) is { } wider)
        {
            entry.CoveredBy = wider;
            _selectors[wider].Covers++;
        }
        else
        {
            add(key.Source, key.Destination);
            entry.CoveredBy = null;
            CollectionsMarshal.GetValueRefOrAddDefault(_ruledLengths, Lengths(key), out _)++;
            Ruled++;
        }
    }

    private void Unrule((IPNetwork Source, IPNetwork Destination) key, Entry entry)
    {
        Ruled--;
        if (--CollectionsMarshal.GetValueRefOrNullRef(_ruledLengths, Lengths(key)) == 0)
        {
            _ruledLengths.Remove(Lengths(key));
        }

        if (entry.Covers > 0)
        {
            foreach (var (covered, other) in _selectors.Where(s => s.Value.CoveredBy == key).ToList())
            {
                Place(covered, other);
            }
        }

        remove(key.Source, key.Destination);
    }

    /// <summary>A selector with a rule that holds everything of this one: one look-up for each pair of prefix lengths in use.</summary>
    private (IPNetwork, IPNetwork)? Wider((IPNetwork Source, IPNetwork Destination) key)
    {
        foreach (var (source, destination, family) in _ruledLengths.Keys)
        {
            if (family == key.Source.BaseAddress.AddressFamily && source <= key.Source.PrefixLength && destination <= key.Destination.PrefixLength)
            {
                var wider = (Cut(key.Source, source), Cut(key.Destination, destination));
                if (wider != key && _selectors.TryGetValue(wider, out var entry) && entry is { CoveredBy: null, Attracted: false })
                {
                    return wider;
                }
            }
        }

        return null;
    }

    private void Detach((IPNetwork Source, IPNetwork Destination) key)
    {
        var selectors = _byAttraction[key.Destination.BaseAddress];
        selectors.Remove(key);
        if (selectors.Count == 0)
        {
            _byAttraction.Remove(key.Destination.BaseAddress);
        }
    }

    private static (int, int, AddressFamily) Lengths((IPNetwork Source, IPNetwork Destination) key) =>
        (key.Source.PrefixLength, key.Destination.PrefixLength, key.Source.BaseAddress.AddressFamily);

    private static IPNetwork Cut(IPNetwork prefix, int length)
    {
        Span<byte> octets = stackalloc byte[16];
        prefix.BaseAddress.TryWriteBytes(octets, out var count);
        for (var i = 0; i < count; i++)
        {
            octets[i] &= (byte)(0xFF << (8 - Math.Clamp(length - (8 * i), 0, 8)));
        }

        return new IPNetwork(new IPAddress(octets[..count]), length);
    }

    private static bool IsHost(IPNetwork prefix) => prefix.PrefixLength == (prefix.BaseAddress.AddressFamily == AddressFamily.InterNetworkV6 ? 128 : 32);

    private sealed class Entry
    {
        public int Uses { get; set; } = 1;

        /// <summary>The wider selector whose rule serves this one too.</summary>
        public (IPNetwork, IPNetwork)? CoveredBy { get; set; }

        public int Covers { get; set; }

        public bool Attracted { get; set; }
    }
}
