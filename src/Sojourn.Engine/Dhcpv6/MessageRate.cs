using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Engine.Dhcpv6;

/// <summary>Counts messages per client in windows of time. Holds no more entries than there are messages in a window.</summary>
internal sealed class MessageRate(TimeSpan window)
{
    private readonly Dictionary<Duid, int> _counts = [];
    private DateTimeOffset _end;
    private int _strangers;

    public bool Allows(Duid client, int most, DateTimeOffset now)
    {
        Turn(now);
        var count = _counts.GetValueOrDefault(client) + 1;
        _counts[client] = count;
        return count <= most;
    }

    /// <summary>All clients that nobody knows, together.</summary>
    public bool AllowsStranger(int most, DateTimeOffset now)
    {
        Turn(now);
        return ++_strangers <= most;
    }

    private void Turn(DateTimeOffset now)
    {
        if (now >= _end)
        {
            _counts.Clear();
            _strangers = 0;
            _end = now + window;
        }
    }
}

/// <summary>Lets so many events a second through that a log stays readable under attack; counters have them all.</summary>
internal sealed class EventBudget
{
    private const int PerSecond = 10;
    private DateTimeOffset _second;
    private int _count;

    public bool Allows(DateTimeOffset now)
    {
        if (now - _second >= TimeSpan.FromSeconds(1))
        {
            _second = now;
            _count = 0;
        }

        return ++_count <= PerSecond;
    }
}
