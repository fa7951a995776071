namespace Sojourn.DataPath.PacketPath;

/// <summary>
/// Controlled delay (RFC 8289): says at the exit of a queue which packets are one too many, by how long each has waited there. A queue that drains within
/// an interval is a burst and loses nothing; one that stands loses packets at growing frequency until it is short again. Times are
/// nanoseconds of any steady clock.
/// </summary>
/// <param name="target">What a packet may have to wait for ever (RFC 8289 4.3).</param>
/// <param name="interval">How long it may take senders to hear that they are too many (RFC 8289 4.4).</param>
internal struct CoDel(long target, long interval)
{
    /// <summary>What suits a queue that faces the Internet.</summary>
    public const long Target = 5_000_000, Interval = 100_000_000;

    private long _firstAbove, _next;
    private int _count, _lastCount;
    private bool _dropping;

    /// <summary>Whether the packet that leaves the queue now is one too many.</summary>
    /// <param name="waited">Since it came into the queue.</param>
    /// <param name="isLast">Next to nothing waits behind it.</param>
    public bool Drops(long waited, long now, bool isLast)
    {
        var stands = false;
        if (waited < target || isLast)
        {
            _firstAbove = 0;
        }
        else if (_firstAbove == 0)
        {
            _firstAbove = now + interval;
        }
        else
        {
            stands = now >= _firstAbove;
        }

        if (!stands || (_dropping && now < _next))
        {
            _dropping &= stands;
            return false;
        }

        if (_dropping)
        {
            _count++;
            _next = Law(_next, _count);
            return true;
        }

        // Soon after the last time: not from the beginning (RFC 8289 5.6).
        var before = _count - _lastCount;
        _count = before > 1 && now - _next < 16 * interval ? before : 1;
        (_dropping, _lastCount, _next) = (true, _count, Law(now, _count));
        return true;
    }

    /// <summary>What TCP's rate is to its losses.</summary>
    private readonly long Law(long from, int count) => from + (long)(interval / Math.Sqrt(count));
}
