namespace Sojourn.Engine.Radius;

/// <summary>
/// Slows guessing down (row TA-H24): who gives wrong credentials waits 1, 2, 4 … seconds before the next attempt is looked at; a
/// user from the third wrong one on and a minute at most, so that nobody can be locked out for long by somebody else; a
/// station from the sixth on and a quarter of an hour at most. An attempt counts as wrong from its beginning.
/// </summary>
/// <remarks>Wrong attempts are forgotten after an hour without any; of each kind the latest <see cref="Most"/> are kept.</remarks>
internal sealed class AccessThrottle
{
    public const int Most = 20_000;

    private static readonly TimeSpan s_memory = TimeSpan.FromHours(1);

    private readonly Dictionary<string, Record> _users = [], _stations = [];

    /// <summary>Zero: the attempt may go on, and counts. Else how long to wait; it does not count then.</summary>
    /// <param name="station">Calling-Station-Id; empty when the client tells none.</param>
    public TimeSpan Begin(string user, string station, DateTimeOffset now)
    {
        var byUser = Find(_users, user, now);
        var byStation = station.Length == 0 ? null : Find(_stations, station, now);
        var until = byStation is not null && byStation.NotBefore > byUser.NotBefore ? byStation.NotBefore : byUser.NotBefore;
        if (until > now)
        {
            return until - now;
        }

        byUser.CountWrong(now, free: 2, TimeSpan.FromMinutes(1));
        byStation?.CountWrong(now, free: 5, TimeSpan.FromMinutes(15));
        return TimeSpan.Zero;
    }

    /// <summary>The attempt that began was right. The station gets this attempt back only, or its owner could guess others' passwords between own logins.</summary>
    public void Right(string user, string station)
    {
        _users.Remove(user);
        if (_stations.TryGetValue(station, out var record))
        {
            record.TakeBack();
        }
    }

    private static Record Find(Dictionary<string, Record> records, string key, DateTimeOffset now)
    {
        if (records.TryGetValue(key, out var record) && now - record.Last < s_memory)
        {
            return record;
        }

        if (records.Count >= Most)
        {
            foreach (var old in records.OrderBy(r => r.Value.Wrong).ThenBy(r => r.Value.Last).Take(Most / 8).Select(r => r.Key).ToList())
            {
                records.Remove(old);
            }
        }

        return records[key] = new Record { Last = now };
    }

    private sealed class Record
    {
        public int Wrong { get; private set; }

        public DateTimeOffset Last { get; set; }

        public DateTimeOffset NotBefore { get; private set; }

        public void CountWrong(DateTimeOffset now, int free, TimeSpan longest)
        {
            Wrong = Math.Min(Wrong + 1, 1000);
            Last = now;
            NotBefore = Wrong <= free ? now : now + TimeSpan.FromSeconds(Math.Min(Math.Pow(2, Wrong - free - 1), longest.TotalSeconds));
        }

        public void TakeBack()
        {
            Wrong--;
            NotBefore = Last;
        }
    }
}
