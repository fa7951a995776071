using System.Net;
using System.Net.Sockets;

namespace Sojourn.WebConsole.Sessions;

/// <summary>
/// Slows guessing down. A name that gets wrong passwords must wait 1, 2, 4 … seconds between attempts, from the third on; a
/// source address likewise, from the eleventh on and for longer. An attempt counts as wrong from its beginning, so that many
/// at once gain nothing. A name waits a minute at most: an outsider can be a nuisance to its owner, not lock the owner out.
/// </summary>
/// <remarks>
/// An IPv6 source is its /64. Names are counted whether anybody has them or not. Wrong attempts are forgotten after an hour
/// without any. At most <see cref="MostEntries"/> of each kind are kept; the ones with fewest wrong attempts go first.
/// </remarks>
internal sealed class LoginThrottle(TimeProvider time)
{
    public const int MostEntries = 20_000;

    private const int FreeForName = 2;
    private const int FreeForSource = 10;
    private static readonly TimeSpan LongestForName = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan LongestForSource = TimeSpan.FromMinutes(15);
    private static readonly TimeSpan Memory = TimeSpan.FromHours(1);

    private readonly Lock _gate = new();
    private readonly Dictionary<string, Entry> _names = [];
    private readonly Dictionary<string, Entry> _sources = [];

    /// <summary>Zero = go on, and tell <see cref="Right"/> when the password was right. Otherwise how long to wait; the attempt does not count then.</summary>
    public TimeSpan Begin(string name, IPAddress source)
    {
        lock (_gate)
        {
            var now = time.GetUtcNow();
            var byName = Find(_names, name, now);
            var bySource = Find(_sources, Group(source), now);
            var until = byName.NotBefore > bySource.NotBefore ? byName.NotBefore : bySource.NotBefore;
            if (until > now)
            {
                return until - now;
            }

            byName.Wrong(now, FreeForName, LongestForName);
            bySource.Wrong(now, FreeForSource, LongestForSource);
            return TimeSpan.Zero;
        }
    }

    /// <summary>The attempt that began was right: the name starts afresh. The source only gets this attempt back, or its owner could guess other names for ever by logging in as itself in between.</summary>
    public void Right(string name, IPAddress source)
    {
        lock (_gate)
        {
            _names.Remove(name);
            if (_sources.TryGetValue(Group(source), out var entry))
            {
                entry.TakeBack();
            }
        }
    }

    private static Entry Find(Dictionary<string, Entry> entries, string key, DateTimeOffset now)
    {
        if (entries.TryGetValue(key, out var entry) && now - entry.Last < Memory)
        {
            return entry;
        }

        if (entries.Count >= MostEntries)
        {
            foreach (var old in entries.OrderBy(e => now - e.Value.Last < Memory).ThenBy(e => e.Value.Count).ThenBy(e => e.Value.Last).Take(MostEntries / 8).Select(e => e.Key).ToList())
            {
                entries.Remove(old);
            }
        }

        return entries[key] = new Entry { Last = now };
    }

    private static string Group(IPAddress source)
    {
        var address = source.IsIPv4MappedToIPv6 ? source.MapToIPv4() : source;
        return address.AddressFamily == AddressFamily.InterNetworkV6 ? Convert.ToHexString(address.GetAddressBytes().AsSpan(0, 8)) : address.ToString();
    }

    private sealed class Entry
    {
        public int Count { get; private set; }

        public DateTimeOffset Last { get; set; }

        public DateTimeOffset NotBefore { get; private set; }

        public void Wrong(DateTimeOffset now, int free, TimeSpan longest)
        {
            Count = Math.Min(Count + 1, 1000);
            Last = now;
            var wait = Count < free ? TimeSpan.Zero : TimeSpan.FromSeconds(Math.Min(Math.Pow(2, Count - free), longest.TotalSeconds));
            NotBefore = now + wait;
        }

        public void TakeBack()
        {
            Count--;
            NotBefore = Last;
        }
    }
}
