// Readings:
// - Every home address has an entry of its own; the first has the first address of the pool. It lives as long as the binding.
// - An address of a correspondent is never taken away before its time is over, so a full pool refuses. An eighth of it is kept for
//   names that applications ask for: who sends packets from many addresses to the home address cannot stop look-ups.
// - Addresses go out in turn and come back to the end of the queue: an application that holds one for too long meets nobody
//   rather than somebody else.
// - What comes from within the NAT64 prefix is the IPv4 address in it, with or without an entry from before.
using System.Net;

namespace Sojourn.Engine.Translation;

/// <summary>
/// Table 230 (spec terminal 3.3) with the two pools (3.7): IPv6 addresses and the IPv4 addresses they are to the host, by either key. One thread at a
/// time. Looking up and using an entry allocates nothing.
/// </summary>
public sealed class TranslationTable
{
    private readonly Dictionary<UInt128, TranslationEntry> _by6 = [];
    private readonly Dictionary<uint, TranslationEntry> _by4 = [];
    private readonly Queue<uint> _returned = [];
    private readonly List<TranslationEntry> _own = [];
    private readonly UseOrder _short = new();
    private readonly UseOrder _long = new();
    private readonly TranslationOptions _options;
    private readonly uint _network, _mask, _firstAddress, _lastAddress;
    private readonly int _capacity;
    private uint _next;
    private int _virtual;

    /// <exception cref="ArgumentException">See <see cref="TranslationOptions.Validate"/>.</exception>
    public TranslationTable(TranslationOptions options)
    {
        options.Validate();
        _options = options;
        _mask = uint.MaxValue << (32 - options.Ipv4Pool.PrefixLength);
        _network = AddressBits.Of4(options.Ipv4Pool.BaseAddress);
        (_firstAddress, _lastAddress) = (_network + 1, (_network | ~_mask) - 1);
        _next = _firstAddress + 1;
        _capacity = (int)Math.Min(_lastAddress - _firstAddress - 1, (uint)options.MaximumEntries);
    }

    /// <summary>What the host is given when the first home address is bound (V4h).</summary>
    public IPAddress OwnAddress => AddressBits.To4(_firstAddress);

    /// <summary>Where names are asked for; also the source of ICMP errors from this side of the host's link.</summary>
    public IPAddress ResolverAddress => AddressBits.To4(_lastAddress);

    /// <summary>All entries whose time is not over, in no particular order.</summary>
    public IEnumerable<TranslationEntry> Entries => _by6.Values;

    public int Count => _by6.Count;

    /// <summary>Correspondents' addresses in use.</summary>
    public int Correspondents { get; private set; }

    /// <summary>When <see cref="Expire"/> has something to do; null with an empty table.</summary>
    public DateTimeOffset? NextExpiry
    {
        get
        {
            var next = Earlier(_short.First?.Expires, _long.First?.Expires);
            foreach (var own in _own)
            {
                next = Earlier(next, own.Expires);
            }

            return next;
        }
    }

    internal uint Resolver => _lastAddress;

    internal Nat64Prefix? Ipv6Pool => _options.Ipv6Pool;

    /// <summary>Finds the entry of a home address and renews it, or makes one (steps 64 and 82).</summary>
    /// <param name="validUntil">End of the binding.</param>
    /// <param name="virtualIpv4">What the host's interface has to have.</param>
    /// <returns>False when the pool is empty; the table is then as before.</returns>
    public bool TryBindOwn(IPAddress homeAddress, DateTimeOffset validUntil, DateTimeOffset now, out IPAddress virtualIpv4)
    {
        Expire(now);
        virtualIpv4 = IPAddress.None;
        var address = AddressBits.Of6(homeAddress);
        if (!_by6.TryGetValue(address, out var entry) || entry.Kind != TranslationKind.Own)
        {
            uint mine;
            if (!_by4.ContainsKey(_firstAddress))
            {
                mine = _firstAddress;
            }
            else if (!TryTake(now, reserve: 0, out mine))
            {
                return false;
            }

            if (entry is not null)
            {
                Remove(entry);
            }

            entry = new TranslationEntry(address, mine, TranslationKind.Own, TranslationOrigin.Registration);
            Add(entry);
            _own.Add(entry);
        }

        // A correspondent's binding (step 82 of 10011) is over sooner than the home agent's, and takes nothing away from what that one gave.
        (entry.LastUse, entry.Expires) = (now, entry.Expires > validUntil ? entry.Expires : validUntil);
        virtualIpv4 = entry.Ipv4Address;
        return true;
    }

    /// <summary>Takes a home address out that is not ours any more. Correspondents' entries stay for their time.</summary>
    public void RemoveOwn(IPAddress homeAddress)
    {
        if (_by6.TryGetValue(AddressBits.Of6(homeAddress), out var entry) && entry.Kind == TranslationKind.Own)
        {
            Remove(entry);
        }
    }

    /// <summary>The correspondent's entry, made when there is none and used now; null when the pool is empty (R81, R85).</summary>
    public TranslationEntry? OfCorrespondent(IPAddress address, TranslationOrigin origin, DateTimeOffset now) =>
        OfCorrespondent(AddressBits.Of6(address), origin, usedByTcp: false, now);

    /// <summary>Deletes what is over (3.3) and returns how many entries that were.</summary>
    public int Expire(DateTimeOffset now)
    {
        var before = _by6.Count;
        while (_short.First is { } entry && entry.Expires <= now)
        {
            Remove(entry);
        }

        while (_long.First is { } entry && entry.Expires <= now)
        {
            Remove(entry);
        }

        for (var i = _own.Count - 1; i >= 0; i--)
        {
            if (_own[i].Expires <= now)
            {
                Remove(_own[i]);
            }
        }

        return before - _by6.Count;
    }

    internal TranslationEntry? Find(UInt128 address, DateTimeOffset now) =>
        _by6.TryGetValue(address, out var entry) && entry.Expires > now ? entry : null;

    internal TranslationEntry? Find(uint address, DateTimeOffset now) =>
        _by4.TryGetValue(address, out var entry) && entry.Expires > now ? entry : null;

    internal bool InPool(uint address) => (address & _mask) == _network;

    internal TranslationEntry? OfCorrespondent(UInt128 address, TranslationOrigin origin, bool usedByTcp, DateTimeOffset now)
    {
        if (_by6.TryGetValue(address, out var entry))
        {
            if (entry.Expires > now)
            {
                Use(entry, usedByTcp, now);
                return entry;
            }

            Remove(entry);
        }

        if (!TryTake(now, origin == TranslationOrigin.Name ? 0 : _capacity / 8, out var taken))
        {
            return null;
        }

        return Begin(new TranslationEntry(address, taken, TranslationKind.Correspondent, origin), usedByTcp, now);
    }

    /// <summary>The entry of an IPv4 destination that a NAT64 leads to (R82), and of the source of what comes back; null without a pool or when there are too many.</summary>
    internal TranslationEntry? OfVirtualIpv6(uint address, bool usedByTcp, DateTimeOffset now)
    {
        if (Find(address, now) is { } entry)
        {
            Use(entry, usedByTcp, now);
            return entry;
        }

        if (Ipv6Pool is not { } pool)
        {
            return null;
        }

        if (_virtual >= _options.MaximumEntries || _by4.ContainsKey(address))
        {
            Expire(now);
        }

        return _virtual < _options.MaximumEntries
            ? Begin(new TranslationEntry(pool.Embed(address), address, TranslationKind.VirtualIpv6, TranslationOrigin.Packet), usedByTcp, now)
            : null;
    }

    /// <summary>A packet or query has gone by: the entry lives on. An own entry lives by its binding alone.</summary>
    internal void Use(TranslationEntry entry, bool byTcp, DateTimeOffset now)
    {
        entry.LastUse = now;
        if (entry.Kind == TranslationKind.Own)
        {
            return;
        }

        var order = entry.UsedByTcp ? _long : _short;
        if (byTcp && !entry.UsedByTcp)
        {
            order.Remove(entry);
            entry.UsedByTcp = true;
            _long.Append(entry);
        }
        else
        {
            order.MoveToEnd(entry);
        }

        entry.Expires = now + (entry.UsedByTcp ? _options.TcpIdle : _options.Idle);
    }

    private static DateTimeOffset? Earlier(DateTimeOffset? one, DateTimeOffset? other) => one is null || other < one ? other : one;

    private bool TryTake(DateTimeOffset now, int reserve, out uint address)
    {
        if (Correspondents >= _capacity - reserve)
        {
            Expire(now);
        }

        address = 0;
        if (Correspondents >= _capacity - reserve)
        {
            return false;
        }

        address = _next < _lastAddress ? _next++ : _returned.Dequeue();
        return true;
    }

    private TranslationEntry Begin(TranslationEntry entry, bool usedByTcp, DateTimeOffset now)
    {
        entry.UsedByTcp = usedByTcp;
        (usedByTcp ? _long : _short).Append(entry);
        Add(entry);
        Use(entry, usedByTcp, now);
        return entry;
    }

    private void Add(TranslationEntry entry)
    {
        _by6[entry.Ipv6] = entry;
        _by4[entry.Ipv4] = entry;
        Account(entry, 1);
    }

    private void Remove(TranslationEntry entry)
    {
        _by6.Remove(entry.Ipv6);
        _by4.Remove(entry.Ipv4);
        Account(entry, -1);
        if (entry.Kind == TranslationKind.Own)
        {
            _own.Remove(entry);
        }
        else
        {
            (entry.UsedByTcp ? _long : _short).Remove(entry);
        }

        if (entry.Kind != TranslationKind.VirtualIpv6 && entry.Ipv4 != _firstAddress)
        {
            _returned.Enqueue(entry.Ipv4);
        }
    }

    private void Account(TranslationEntry entry, int change)
    {
        if (entry.Kind == TranslationKind.VirtualIpv6)
        {
            _virtual += change;
        }
        else if (entry.Ipv4 != _firstAddress)
        {
            Correspondents += change;
        }
    }
}
