namespace Sojourn.DataPath.PacketPath;

/// <summary>
/// Bounds in time a queue whose senders do not listen to single losses (<see cref="CoDel"/>): when packets have left it late for some time, each that is late is one
/// too many, until one is not; so soon after that it has no time again. A burst that is served soon loses nothing. Neither does what has waited because
/// the thread that serves it had no processor: of the time between two packets no more counts than one may take. Times are nanoseconds of any steady clock.
/// </summary>
/// <param name="most">What a packet may have to wait.</param>
/// <param name="patience">For how long packets may leave later than that.</param>
/// <param name="soon">For how long after the last one given up the next late one is given up at once.</param>
internal struct DelayBound(long most, long patience, long soon)
{
    private const long LongestService = 1_000_000;

    private long _last, _late, _until;
    private bool _isLate;

    /// <summary>Whether the packet that leaves the queue now is given up.</summary>
    /// <param name="waited">Since it came into the queue.</param>
    public bool Exceeds(long waited, long now)
    {
        var served = Math.Clamp(now - _last, 0, LongestService);
        _last = now;
        if (waited <= most)
        {
            _isLate = false;
            return false;
        }

        _late = _isLate ? _late + served : 0;
        _isLate = true;
        if (now >= _until && _late < patience)
        {
            return false;
        }

        _until = now + soon;
        return true;
    }
}
