using System.Globalization;
using System.Runtime.CompilerServices;
using Sojourn.Engine;

namespace Sojourn.DataPath.PacketPath;

/// <summary>
/// Keeps, over restarts, how far the counter of an association with typed-in keys may have run (spec M5). Called from the
/// control side and from a pool thread, never from a packet thread.
/// </summary>
public interface ISequenceStore
{
    /// <summary>The highest number ever reserved for the association, 0 when unknown.</summary>
    ulong Read(string association);

    /// <summary>Must be durable when it returns.</summary>
    void Write(string association, ulong reservedUpTo);
}

/// <summary>
/// Hands out sequence numbers of typed-in associations in blocks that are stored before their first use, so that a counter
/// never repeats after a restart: the next life starts above the last block. The next block is stored when half of the
/// present one is gone; should that not succeed in time, sending stops rather than running past what is stored.
/// </summary>
internal sealed class SequenceReservations(ISequenceStore store, ulong block = 1 << 20)
{
    /// <summary>Most numbers one inner packet may take: its fragments.</summary>
    private const ulong Margin = 128;

    private readonly Dictionary<string, Reservation> _byName = [];
    private readonly ConditionalWeakTable<SaParameters, Reservation> _byParameters = [];

    /// <summary>The path with the floor its counter must start above; reserves the first block.</summary>
    public VpnPath Prepare(VpnPath path)
    {
        if (path.Outbound is not { StaticKeys: true } outbound)
        {
            return path;
        }

        var name = string.Create(CultureInfo.InvariantCulture, $"{path.SecurityType}/{outbound.Spi:x8}/{outbound.Source}>{outbound.Destination}");
        lock (_byName)
        {
            if (!_byName.TryGetValue(name, out var reservation))
            {
                var floor = Math.Max(store.Read(name), outbound.SequenceFloor);
                store.Write(name, floor + block);
                reservation = new Reservation { Name = name, Used = floor, Limit = floor + block };
                _byName.Add(name, reservation);
            }

            var prepared = outbound with { SequenceFloor = Math.Max(outbound.SequenceFloor, Volatile.Read(ref reservation.Used)) };
            _byParameters.Add(prepared, reservation);
            return path with { Outbound = prepared };
        }
    }

    /// <summary>Whether the next packet's numbers are stored as used.</summary>
    public bool MaySend(VpnPath path)
    {
        if (!_byParameters.TryGetValue(path.Outbound!, out var reservation))
        {
            return true;
        }

        var used = Volatile.Read(ref reservation.Used);
        ExtendInTime(reservation, used);
        return used + Margin <= Volatile.Read(ref reservation.Limit);
    }

    /// <summary>Books what a packet took.</summary>
    public void Sent(VpnPath path, int packets)
    {
        if (_byParameters.TryGetValue(path.Outbound!, out var reservation))
        {
            Interlocked.Add(ref reservation.Used, (ulong)packets);
        }
    }

    private void ExtendInTime(Reservation reservation, ulong used)
    {
        if (Volatile.Read(ref reservation.Limit) < used + (block / 2) && Interlocked.Exchange(ref reservation.Storing, 1) == 0)
        {
            ThreadPool.UnsafeQueueUserWorkItem(static state => state.Owner.Extend(state.Reservation), (Owner: this, Reservation: reservation), preferLocal: false);
        }
    }

    private void Extend(Reservation reservation)
    {
        try
        {
            var limit = Volatile.Read(ref reservation.Used) + block;
            store.Write(reservation.Name, limit);
            Volatile.Write(ref reservation.Limit, limit);
        }
        catch (Exception failure) when (failure is not OutOfMemoryException)
        {
            // Asked again with the next packet; MaySend refuses once the present block is used up.
        }
        finally
        {
            Volatile.Write(ref reservation.Storing, 0);
        }
    }

    private sealed class Reservation
    {
        public required string Name { get; init; }

        public ulong Used;
        public ulong Limit;
        public int Storing;
    }
}
