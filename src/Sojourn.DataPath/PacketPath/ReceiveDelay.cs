namespace Sojourn.DataPath.PacketPath;

/// <summary>What of packets that were received together is too many.</summary>
internal enum Excess
{
    None,

    /// <summary>The first of them.</summary>
    First,
    All,
}

/// <summary>
/// Keeps what waits at a socket short. Its buffer is bounded in octets, long enough for what comes while others have the processor, and what it loses at its end it loses
/// by dozens. So packets tell when the kernel had them (SO_TIMESTAMPNS); a queue that stands loses or marks single ones (<see cref="CoDel"/>), and senders slow
/// down before the buffer ends. Who does not listen is held to <see cref="Most"/> (<see cref="DelayBound"/>). For one thread.
/// </summary>
internal sealed class ReceiveDelay
{
    /// <summary>Nanoseconds. This queue faces no line but this machine's processor, so nothing is won by a long one: what a long segment takes, some times over.</summary>
    public const long Target = 1_000_000, Interval = 50_000_000, Most = 5_000_000, Patience = 5_000_000;

    private CoDel _delay = new(Target, Interval);
    private DelayBound _bound = new(Most, Patience, soon: 0);

    /// <param name="waited">The first of them, nanoseconds.</param>
    /// <param name="isLast">Nothing waits behind them: whoever was late, no queue stands.</param>
    public Excess Of(long waited, long now, bool isLast)
    {
        var over = _bound.Exceeds(isLast ? 0 : waited, now);
        return _delay.Drops(waited, now, isLast) ? Excess.First : over ? Excess.All : Excess.None;
    }
}
