// Readings:
// - M3, M5: no key ever meets the same sequence number twice, whatever happens to the node. Numbers are therefore stored as
//   used before they are used, in blocks; the next life starts above the last block.
// - RFC 4303 3.4.3 says nothing about a receiver that forgets its window. Here it does not: a number is stored as seen before
//   it is accepted, in blocks as well, and the next life takes nothing up to the stored mark.
// - That mark may lie above where the other end's counter stands. A restarted sender's first number lies at least Jump above
//   its last; who receives such a leap moves its own counter of the opposite direction on by Block, which is above every mark
//   the other end can have stored. Docs: decisions/0005.
using System.Collections.Concurrent;
using System.Globalization;

namespace Sojourn.Engine.Ipsec;

/// <summary>
/// Keeps, over restarts, how far the counters of associations may have run (spec M3, M5). Called from the control side and
/// from a pool thread, never from a packet thread.
/// </summary>
public interface ISequenceStore
{
    /// <summary>The highest number ever reserved, by association.</summary>
    IReadOnlyDictionary<string, ulong> ReadAll();

    /// <summary>Raises numbers (never lowers one) and forgets associations, in one transaction that is durable when this returns.</summary>
    /// <exception cref="IOException">Nothing was changed.</exception>
    void Write(IReadOnlyCollection<KeyValuePair<string, ulong>> raised, IReadOnlyCollection<string> forgotten);
}

/// <summary>One side of an association whose counter, or window, is to survive.</summary>
internal readonly record struct OneWay(SecurityType Protocol, SaParameters Parameters, bool Outbound, KeyFingerprint Fingerprint);

/// <summary>
/// Reserves sequence numbers of both directions in blocks that are stored before their use. A block costs one row in a
/// transaction shared with whatever else is due; an association that carries nothing costs its first row only.
/// </summary>
internal sealed class SequenceReservations
{
    /// <summary>Numbers a receiver stores as seen ahead of their arrival. Part of the wire protocol: both ends have to use the same.</summary>
    public const ulong StandardBlock = 1 << 18;

    /// <summary>What no path claims so long after the start belongs to nobody any more.</summary>
    private static readonly TimeSpan s_claimTime = TimeSpan.FromSeconds(60);

    private readonly ISequenceStore _store;
    private readonly Action<Action> _defer;
    private readonly Dictionary<string, ulong> _earlier;
    private readonly HashSet<string> _claimed = [];
    private readonly Dictionary<string, SequenceReservation> _reservations = [];
    private readonly HashSet<SequenceReservation> _left = [];
    private readonly ConcurrentQueue<SequenceReservation> _due = new();
    private readonly Lock _writing = new();
    private int _flushing;
    private DateTimeOffset? _claimedBy;
    private bool _unclaimedForgotten;

    /// <param name="defer">Runs the storing of the next blocks; a packet waits for none of it.</param>
    public SequenceReservations(ISequenceStore store, Action<Action> defer, ulong block = StandardBlock)
    {
        _store = store;
        _defer = defer;
        Block = block;
        _earlier = new Dictionary<string, ulong>(store.ReadAll());
    }

    public ulong Block { get; }

    /// <summary>Least distance between the last number of one life and the first of the next; also the size of a sender's block.</summary>
    public ulong Jump => 4 * Block;

    /// <summary>
    /// Reservations for associations, in their order; null for one whose counter is not kept. Stores what is new in one
    /// transaction. Control thread.
    /// </summary>
    public IReadOnlyList<SequenceReservation?> Reserve(IReadOnlyList<OneWay> associations)
    {
        var reservations = new SequenceReservation?[associations.Count];
        var fresh = new Dictionary<string, SequenceReservation>();
        for (var i = 0; i < reservations.Length; i++)
        {
            if (NameOf(associations[i]) is { } name)
            {
                reservations[i] = _reservations.GetValueOrDefault(name) ?? fresh.GetValueOrDefault(name);
                if (reservations[i] is null)
                {
                    fresh.Add(name, reservations[i] = Make(name, associations[i].Outbound, associations[i].Parameters.StaticKeys));
                }
            }
        }

        if (fresh.Count == 0)
        {
            return reservations;
        }

        lock (_writing)
        {
            _store.Write([.. fresh.Values.Select(made => KeyValuePair.Create(made.Name, made.Limit))], []);
        }

        foreach (var (name, made) in fresh)
        {
            _claimed.Add(name);
            _reservations.Add(name, made);
        }

        return reservations;
    }

    /// <summary>
    /// Takes the rows of associations that are gone off the disk. Control thread, now and then. What was reserved ahead and has
    /// no association yet stays, however long the node takes over it; so does, in memory, all that earlier lives reserved.
    /// </summary>
    public void Sweep(DateTimeOffset now)
    {
        if (_reservations.Count > 0)
        {
            // The first paths come together with all that the node takes up again.
            _claimedBy ??= now + s_claimTime;
        }

        _left.RemoveWhere(held => !held.IsOver);
        var gone = _left.ToList();
        var unclaimed = _unclaimedForgotten || _claimedBy is null || now < _claimedBy ? [] : _earlier.Keys.Where(name => IsOfOneKey(name) && !_claimed.Contains(name)).ToList();
        if (gone.Count + unclaimed.Count > 0)
        {
            lock (_writing)
            {
                gone.ForEach(left => left.Forgotten = true);
                _store.Write([], [.. gone.Select(left => left.Name), .. unclaimed]);
            }

            gone.ForEach(left => _reservations.Remove(left.Name));
            _left.Clear();
        }

        _unclaimedForgotten |= now >= _claimedBy;
    }

    /// <summary>A reservation has lost its last association. Control thread.</summary>
    internal void Left(SequenceReservation reservation) => _left.Add(reservation);

    /// <summary>A reservation needs its next block. Any thread.</summary>
    internal void Due(SequenceReservation reservation)
    {
        _due.Enqueue(reservation);
        if (Interlocked.Exchange(ref _flushing, 1) == 0)
        {
            _defer(Flush);
        }
    }

    /// <summary>
    /// A typed-in key is named by its place, so that a new key there goes on counting; a derived one by itself, since it is
    /// what must not meet a number twice. The inbound side of a typed-in key is not kept: its sender need not be one of ours.
    /// </summary>
    private static string? NameOf(OneWay association)
    {
        var (protocol, parameters, outbound, fingerprint) = association;
        return !parameters.StaticKeys ? $"{(outbound ? "out" : "in")}:{fingerprint}"
            : outbound ? string.Create(CultureInfo.InvariantCulture, $"{protocol}/{parameters.Spi:x8}/{parameters.Source}>{parameters.Destination}")
            : null;
    }

    private static bool IsOfOneKey(string name) => name.StartsWith("out:", StringComparison.Ordinal) || name.StartsWith("in:", StringComparison.Ordinal);

    private SequenceReservation Make(string name, bool outbound, bool isStatic)
    {
        var known = _earlier.TryGetValue(name, out var mark);
        if (!outbound)
        {
            // Not raised before something arrives: the mark must not run away from the sender's counter while nobody sends.
            return new SequenceReservation(this, name, floor: mark, limit: known ? mark : Block, Block) { Restored = known };
        }

        var floor = known && !isStatic ? mark + Jump : mark;
        return new SequenceReservation(this, name, floor, floor + Jump, Jump) { Restored = known, Permanent = isStatic };
    }

    private void Flush()
    {
        do
        {
            StoreDue();
            Volatile.Write(ref _flushing, 0);
        }
        while (!_due.IsEmpty && Interlocked.Exchange(ref _flushing, 1) == 0);
    }

    private void StoreDue()
    {
        var due = new List<(SequenceReservation Reservation, ulong Wanted)>();
        while (_due.TryDequeue(out var reservation))
        {
            due.Add((reservation, reservation.Wanted));
        }

        lock (_writing)
        {
            due.RemoveAll(next => next.Reservation.Forgotten);
            try
            {
                _store.Write([.. due.Select(next => KeyValuePair.Create(next.Reservation.Name, next.Wanted))], []);
                due.ForEach(next => next.Reservation.Extend(next.Wanted));
            }
            catch (IOException)
            {
                // Asked again with the next packet, which is refused once the present block is used up.
                due.ForEach(next => next.Reservation.Extend(0));
            }
        }
    }
}

/// <summary>
/// How far one counter may run. <see cref="Covers"/> is called under the association's gate, <see cref="Extend"/> from
/// wherever blocks are stored, the rest from the control thread.
/// </summary>
internal sealed class SequenceReservation(SequenceReservations owner, string name, ulong floor, ulong limit, ulong block)
{
    private ulong _limit = limit;
    private ulong _wanted;
    private int _asked;
    private int _holders;
    private bool _wasHeld;

    public string Name => name;

    /// <summary>Numbers up to this one may have been used, or seen, in an earlier life.</summary>
    public ulong Floor => floor;

    /// <summary>Stored as used or seen.</summary>
    public ulong Limit => Volatile.Read(ref _limit);

    public ulong Wanted => Volatile.Read(ref _wanted);

    /// <summary>Made in an earlier life of this node.</summary>
    public bool Restored { get; init; }

    /// <summary>Of typed-in keys, which may come back with the configuration.</summary>
    public bool Permanent { get; init; }

    public ulong Jump => owner.Jump;

    /// <summary>What to move on by when the other end has restarted.</summary>
    public ulong Answer => owner.Block;

    /// <summary>It had an association and has none any more.</summary>
    public bool IsOver => _wasHeld && _holders == 0 && !Permanent;

    public void Hold()
    {
        _wasHeld = true;
        _holders++;
    }

    public void Release()
    {
        if (--_holders == 0)
        {
            owner.Left(this);
        }
    }

    public bool Forgotten { get; set; }

    /// <summary>False when <paramref name="sequence"/> is not stored yet. Asks for the next block when half of this one is gone.</summary>
    public bool Covers(ulong sequence)
    {
        var limit = Limit;
        if (sequence + (block / 2) > limit)
        {
            Volatile.Write(ref _wanted, Math.Max(_wanted, sequence + block));
            if (Interlocked.Exchange(ref _asked, 1) == 0)
            {
                owner.Due(this);
                limit = Limit;
            }
        }

        return sequence <= limit;
    }

    /// <param name="to">0 when nothing could be stored.</param>
    public void Extend(ulong to)
    {
        Volatile.Write(ref _limit, Math.Max(_limit, to));
        Volatile.Write(ref _asked, 0);
    }
}
