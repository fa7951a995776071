// Readings of RFC 5944 5.7.1:
// - NTP seconds wrap in 2036. Values are therefore compared as serial numbers: the signed difference decides.
// - After resynchronisation the sender may go below values it sent before: none of them was accepted.
namespace Sojourn.Engine.MobileIpv4;

/// <summary>64-bit Identification as NTP timestamp: seconds since 1900 in the high half, fraction in the low one.</summary>
public static class Identification
{
    /// <summary>Difference of clocks a receiver accepts unless configured otherwise (RFC 5944 5.7.1).</summary>
    public static readonly TimeSpan DefaultTolerance = TimeSpan.FromSeconds(7);

    private static readonly DateTimeOffset NtpEpoch = new(1900, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public static ulong FromTime(DateTimeOffset time)
    {
        var ticks = (time - NtpEpoch).Ticks;
        var seconds = ticks / TimeSpan.TicksPerSecond;
        var fraction = (ulong)(ticks % TimeSpan.TicksPerSecond) * (1UL << 32) / TimeSpan.TicksPerSecond;
        return ((ulong)(uint)seconds << 32) | fraction;
    }

    /// <summary>How far <paramref name="identification"/> lies after <paramref name="time"/>; negative = before.</summary>
    public static TimeSpan Ahead(ulong identification, DateTimeOffset time)
    {
        var difference = (long)(identification - FromTime(time));
        return TimeSpan.FromSeconds(difference / 4294967296.0);
    }

    /// <summary>Whether <paramref name="later"/> comes after <paramref name="earlier"/>.</summary>
    public static bool IsAfter(ulong later, ulong earlier) => (long)(later - earlier) > 0;

    /// <summary>Identification of a refusal with code 133: low half of the request, high half of the receiver's clock.</summary>
    public static ulong ForMismatch(ulong request, DateTimeOffset now) => (FromTime(now) & 0xFFFFFFFF_00000000) | (uint)request;
}

/// <summary>Makes strictly growing Identifications for one association.</summary>
public sealed class IdentificationSource(IRandomSource random)
{
    private ulong _last;
    private bool _any;

    /// <summary>What resynchronisation added to the clock.</summary>
    public TimeSpan Offset { get; private set; }

    public ulong Next(DateTimeOffset now)
    {
        // A clock tick is 429 units of the fraction; what it does not tell is filled with randomness (RFC 5944 5.7.1).
        var next = Identification.FromTime(now + Offset) + (random.NextUInt32() & 0xFF);
        if (_any && !Identification.IsAfter(next, _last))
        {
            next = _last + 1;
        }

        _last = next;
        _any = true;
        return next;
    }

    /// <summary>Takes the receiver's time of day from the high half of an Identification it refused with.</summary>
    public void Resynchronise(ulong identification, DateTimeOffset now)
    {
        // The middle of the second told: the low half is the request's and says nothing of the receiver's clock.
        Offset = Identification.Ahead((identification & 0xFFFFFFFF_00000000) | 0x80000000, now);
        _any = false;
    }
}

/// <summary>What a receiver makes of an Identification.</summary>
public enum IdentificationResult : byte
{
    Fresh,

    /// <summary>Too far from the receiver's clock.</summary>
    OutOfTolerance,

    /// <summary>Not after the last one accepted from this sender: a repetition or a latecomer.</summary>
    NotGrowing,
}

/// <summary>The receiver's check for one sender and home address. An immutable value, so that it can be saved and only committed once all else is right.</summary>
/// <param name="LastAccepted">Null before the first.</param>
public readonly record struct IdentificationGuard(ulong? LastAccepted)
{
    public IdentificationResult Check(ulong identification, DateTimeOffset now, TimeSpan tolerance) =>
        Identification.Ahead(identification, now).Duration() > tolerance ? IdentificationResult.OutOfTolerance
        : LastAccepted is { } last && !Identification.IsAfter(identification, last) ? IdentificationResult.NotGrowing
        : IdentificationResult.Fresh;

    public IdentificationGuard Accept(ulong identification) => new(identification);
}
