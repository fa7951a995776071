namespace Sojourn.Engine.Diameter;

/// <summary>What the watchdog asks of its peer.</summary>
internal enum WatchdogAction : byte
{
    None,
    SendWatchdog,

    /// <summary>Requests waiting here go elsewhere.</summary>
    FailOver,

    /// <summary>The peer is in full use again.</summary>
    FailBack,

    CloseConnection,
}

/// <summary>
/// The algorithm of RFC 3539 section 3.4.1. Readings taken: a connection that ended with a disconnect request is no
/// failure, so the next one begins in INITIAL; in REOPEN messages are processed as usual (throwing them away would make
/// the other side lose requests it may already send) and the peer is the last choice for ours until it is OKAY; Tw is
/// jittered anew when the timer has run out, not with every message that puts it off.
/// </summary>
internal sealed class PeerWatchdog(TimeSpan interval, IRandomSource random)
{
    private TimeSpan? _wait;
    private bool _pending;
    private int _answers;

    public WatchdogState State { get; private set; }

    /// <summary>Null while there is no connection.</summary>
    public DateTimeOffset? Timer { get; private set; }

    public WatchdogAction ConnectionUp(DateTimeOffset now)
    {
        _wait = null;
        Restart(now);
        if (State != WatchdogState.Down)
        {
            State = WatchdogState.Okay;
            _pending = false;
            return WatchdogAction.None;
        }

        State = WatchdogState.Reopen;
        _answers = 0;
        _pending = true;
        return WatchdogAction.SendWatchdog;
    }

    /// <param name="orderly">After DPR and DPA.</param>
    public void ConnectionDown(bool orderly)
    {
        State = orderly ? WatchdogState.Initial : WatchdogState.Down;
        Timer = null;
        _pending = false;
    }

    public WatchdogAction AnswerReceived(DateTimeOffset now)
    {
        _pending = false;
        switch (State)
        {
            case WatchdogState.Suspect:
                State = WatchdogState.Okay;
                Restart(now);
                return WatchdogAction.FailBack;
            case WatchdogState.Reopen when ++_answers < 3:
                return WatchdogAction.None;
            case WatchdogState.Reopen:
                State = WatchdogState.Okay;
                return WatchdogAction.FailBack;
            default:
                Restart(now);
                return WatchdogAction.None;
        }
    }

    /// <summary>Any message but a watchdog answer.</summary>
    public WatchdogAction MessageReceived(DateTimeOffset now)
    {
        switch (State)
        {
            case WatchdogState.Suspect:
                State = WatchdogState.Okay;
                Restart(now);
                return WatchdogAction.FailBack;
            case WatchdogState.Okay:
                Restart(now);
                return WatchdogAction.None;
            default:
                return WatchdogAction.None;
        }
    }

    public WatchdogAction TimerExpired(DateTimeOffset now)
    {
        _wait = null;
        Restart(now);
        switch (State)
        {
            case WatchdogState.Okay or WatchdogState.Reopen when !_pending:
                _pending = true;
                return WatchdogAction.SendWatchdog;
            case WatchdogState.Okay:
                State = WatchdogState.Suspect;
                return WatchdogAction.FailOver;
            case WatchdogState.Reopen when _answers >= 0:
                _answers = -1;
                return WatchdogAction.None;
            default:
                return WatchdogAction.CloseConnection;
        }
    }

    private void Restart(DateTimeOffset now) => Timer = now + (_wait ??= Jittered());

    /// <summary>Tw with up to two seconds either way (RFC 3539 section 3.4.1), a third when Tw is below its minimum of 6 s.</summary>
    private TimeSpan Jittered()
    {
        var spread = interval >= TimeSpan.FromSeconds(6) ? TimeSpan.FromSeconds(2) : interval / 3;
        return interval + (spread * ((random.NextUInt32() / (double)uint.MaxValue * 2) - 1));
    }
}
