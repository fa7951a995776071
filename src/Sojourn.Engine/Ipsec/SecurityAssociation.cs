namespace Sojourn.Engine.Ipsec;

/// <summary>
/// One one-way association in use: keys, counter or window, lifetime, and the paths that hold it. Its addresses are not
/// here: a moved association (MOBIKE, RFC 4555) keeps its counter under new ones. Everything mutable is guarded by
/// <see cref="Gate"/>, which is uncontended when one thread serves a direction.
/// </summary>
internal sealed class SecurityAssociation : IDisposable
{
    /// <summary>Without extended numbers the soft limit is raised this far before the counter ends.</summary>
    private const ulong ExhaustionWarning = 0xF000_0000;

    private static readonly long s_announcePause = TimeSpan.FromMilliseconds(250).Ticks;

    private readonly ulong _lastSequence;
    private readonly ReplayWindow? _window;
    private readonly SequenceReservation? _reservation;
    private ulong _lastLeap;
    private long _lastAnnounced;
    private SaLifetime _lifetime;
    private bool _softRaised;
    private bool _hardRaised;
    private bool _closed;

    public SecurityAssociation(
        AssociationKey key, SaParameters parameters, bool outbound, KeyFingerprint fingerprint, ulong floor, SequenceReservation? reservation, ICipherProvider ciphers)
    {
        var protocol = key.Protocol;
        _reservation = reservation;
        SilentSinceRestart = !outbound && reservation is { Restored: true };
        Key = key;
        Parameters = parameters;
        Protocol = protocol;
        Outbound = outbound;
        Fingerprint = fingerprint;
        _lifetime = parameters.Lifetime;
        Sequence = floor;
        _lastSequence = parameters.ExtendedSequence ? ulong.MaxValue : uint.MaxValue;
        _window = outbound ? null : new ReplayWindow(parameters.ReplayWindow, parameters.ExtendedSequence, floor);
        if (protocol == SecurityType.Esp)
        {
            Cipher = ciphers.CreateCipher(parameters.Algorithm, parameters.Keys, parameters.ExtendedSequence);
        }
        else
        {
            Authenticator = ciphers.CreateAuthenticator(parameters.Algorithm, parameters.Keys);
        }
    }

    /// <summary>Itself: an object more for each of a million would be a cache miss more for each packet.</summary>
    public object Gate => this;

    /// <summary>Under which it is found. Control thread.</summary>
    public AssociationKey Key { get; set; }

    /// <summary>As first installed, but with the addresses of now.</summary>
    public SaParameters Parameters { get; private set; }

    public SecurityType Protocol { get; }

    public bool Outbound { get; }

    /// <summary>Names keys and suite, for finding the same association again.</summary>
    public KeyFingerprint Fingerprint { get; }

    public IPacketCipher? Cipher { get; }

    public IPacketAuthenticator? Authenticator { get; }

    /// <summary>Inbound only.</summary>
    public ReplayWindow Window => _window!;

    /// <summary>Outbound: last number used.</summary>
    public ulong Sequence { get; private set; }

    public ulong Packets { get; private set; }

    public ulong Bytes { get; private set; }

    public long LastUseTicks { get; private set; }

    /// <summary>Inbound: nothing has been accepted since this node restarted, and the sender may be below what was stored as seen.</summary>
    public bool SilentSinceRestart { get; private set; }

    public DropCounters Drops;

    /// <summary>What <see cref="Holders"/> becomes with the change that is being made; null outside one. Control thread.</summary>
    public HolderSet? NextHolders { get; set; }

    /// <summary>The installed paths that hold this association. Replaced whole by the control thread.</summary>
    public HolderSet Holders
    {
        get => Volatile.Read(ref _holders);
        set
        {
            Volatile.Write(ref _holders, value);
            Volatile.Write(ref _takesMobileHeader, TakesMobileHeaders(value));
        }
    }

    /// <summary>Whether a header of the mobile tunnel may stand under it.</summary>
    public bool TakesMobileHeader => Volatile.Read(ref _takesMobileHeader);

    private bool _takesMobileHeader;

    private HolderSet _holders = HolderSet.Empty;

    private static bool TakesMobileHeaders(HolderSet holders)
    {
        // None of many.
        foreach (var holder in holders.Few)
        {
            if (holder.Path.MobileHeader != MobileHeader.None)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Takes new limits and addresses; the counter only ever goes up. Control thread.</summary>
    /// <returns>Whether the limits are others than before.</returns>
    public bool Renew(SaParameters parameters)
    {
        lock (Gate)
        {
            var changed = parameters.Lifetime != _lifetime;
            if (changed)
            {
                _lifetime = parameters.Lifetime;
                _softRaised = _hardRaised = false;
            }

            Parameters = parameters;
            if (Outbound)
            {
                Sequence = Math.Max(Sequence, parameters.SequenceFloor);
            }

            return changed;
        }
    }

    /// <summary>When time alone makes a signal due next; null when never again. Control thread.</summary>
    /// <param name="after">Only what comes later.</param>
    public DateTimeOffset? NextTime(DateTimeOffset? after)
    {
        var soft = _closed || _lifetime.SoftTime <= after ? null : _lifetime.SoftTime;
        var hard = _closed || _lifetime.HardTime <= after ? null : _lifetime.HardTime;
        return soft is null || hard < soft ? hard : soft;
    }

    /// <summary>The next outbound sequence number, or why there is none. Under <see cref="Gate"/>.</summary>
    public DropReason TryNext(DateTimeOffset now, out ulong sequence)
    {
        sequence = 0;
        if (_closed || Expired(now))
        {
            return DropReason.LifetimeExpired;
        }

        if (Sequence >= _lastSequence)
        {
            return DropReason.SequenceExhausted;
        }

        if (_reservation is { } reservation && !reservation.Covers(Sequence + 1))
        {
            return DropReason.SequenceNotStored;
        }

        sequence = ++Sequence;
        return DropReason.None;
    }

    /// <summary>
    /// Takes the number of an authentic packet into the window. Under <see cref="Gate"/>.
    /// </summary>
    /// <param name="leapt">The number lies so far ahead that the sender must have restarted.</param>
    /// <returns>Why the packet cannot be taken after all.</returns>
    public DropReason Accept(ulong sequence, out bool leapt)
    {
        leapt = false;
        if (_reservation is { } reservation)
        {
            leapt = sequence > Window.Top + reservation.Jump && sequence > _lastLeap + reservation.Jump;
            _lastLeap = leapt ? sequence : _lastLeap;
            if (!reservation.Covers(sequence))
            {
                return DropReason.SequenceNotStored;
            }

            SilentSinceRestart = false;
        }

        Window.Accept(sequence);
        return DropReason.None;
    }

    /// <summary>The far end has restarted and may take nothing up to a number it has stored: goes on above that.</summary>
    public void Leap()
    {
        lock (Gate)
        {
            if (Outbound && _reservation is { Permanent: false } reservation)
            {
                Sequence += reservation.Answer;
            }
        }
    }

    /// <summary>
    /// After a packet that was too old or not authentic: whether the far end may still be below what this node stored
    /// before its restart and has to hear of it. Not more often than every 250 ms. Under <see cref="Gate"/>.
    /// </summary>
    public bool HasToAnnounce(DateTimeOffset now)
    {
        if (!SilentSinceRestart || now.UtcTicks - _lastAnnounced < s_announcePause)
        {
            return false;
        }

        _lastAnnounced = now.UtcTicks;
        return true;
    }

    /// <summary>Whether an inbound association may still be used. Under <see cref="Gate"/>.</summary>
    public bool Usable(DateTimeOffset now) => !_closed && !Expired(now);

    /// <summary>Counts a packet. Under <see cref="Gate"/>.</summary>
    public void Use(int bytes, DateTimeOffset now)
    {
        Packets++;
        Bytes += (ulong)bytes;
        LastUseTicks = now.UtcTicks;
    }

    /// <summary>Signals that have become due since the last call. Under <see cref="Gate"/>.</summary>
    public PathSignal? DueSignal(DateTimeOffset now)
    {
        if (!_hardRaised && (Expired(now) || (Outbound && Sequence >= _lastSequence)))
        {
            _hardRaised = _softRaised = true;
            return PathSignal.HardLifetimeReached;
        }

        if (!_softRaised && (Packets >= _lifetime.SoftPackets || Bytes >= _lifetime.SoftBytes || now >= _lifetime.SoftTime
            || (Outbound && _lastSequence == uint.MaxValue && Sequence >= ExhaustionWarning)))
        {
            _softRaised = true;
            return PathSignal.SoftLifetimeReached;
        }

        return null;
    }

    /// <summary>Where the counter or the window stands at the end, for the memory of retired associations. Control thread.</summary>
    public ulong Close()
    {
        if (_reservation is { } reservation)
        {
            reservation.Release();
        }

        lock (Gate)
        {
            _closed = true;
            Dispose();
            return Outbound ? Sequence : Window.Top;
        }
    }

    public void Dispose()
    {
        Cipher?.Dispose();
        Authenticator?.Dispose();
    }

    private bool Expired(DateTimeOffset now) =>
        Packets >= _lifetime.HardPackets || Bytes >= _lifetime.HardBytes || now >= _lifetime.HardTime;
}
