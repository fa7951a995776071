namespace Sojourn.DataPath.DiffServ;

/// <summary>Token bucket over a caller's clock in nanoseconds. May go into debt when told to.</summary>
public struct TokenBucket
{
    private readonly double _octetsPerNanosecond;
    private readonly double _depth;
    private double _tokens;
    private long _filled;

    public TokenBucket(long bitsPerSecond, int depthOctets, long now)
    {
        _octetsPerNanosecond = bitsPerSecond / 8e9;
        _depth = depthOctets;
        _tokens = depthOctets;
        _filled = now;
    }

    /// <summary>Takes the octets when there are that many.</summary>
    public bool TryTake(int octets, long now)
    {
        Fill(now);
        if (_tokens < octets)
        {
            return false;
        }

        _tokens -= octets;
        return true;
    }

    /// <summary>Whether anything is left; together with <see cref="Charge"/> the long-term rate holds although one packet may overdraw.</summary>
    public bool HasCredit(long now)
    {
        Fill(now);
        return _tokens > 0;
    }

    public void Charge(int octets) => _tokens -= octets;

    private void Fill(long now)
    {
        if (now > _filled)
        {
            _tokens = Math.Min(_depth, _tokens + ((now - _filled) * _octetsPerNanosecond));
            _filled = now;
        }
    }
}
