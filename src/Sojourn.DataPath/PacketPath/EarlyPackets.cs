namespace Sojourn.DataPath.PacketPath;

/// <summary>
/// Outer packets that came before the keys that open them, oldest first. A gateway that nobody knows may send them too:
/// their number, the share of one sender and their time are bounded. One caller at a time.
/// </summary>
internal sealed class EarlyPackets(int count, int slotSize, TimeSpan time) : IDisposable
{
    private const int Senders = 256;

    private readonly PacketBuffers _buffers = new(Math.Max(1, count), slotSize);
    private readonly Queue<Early> _packets = new(count);
    private readonly int[] _ofSender = new int[Senders];
    private readonly int _share = Math.Max(1, count / 2);
    private readonly long _nanoseconds = (long)time.TotalNanoseconds;

    private readonly record struct Early(int Slot, int Length, byte Sender, long Until);

    /// <param name="sender">Outer source address.</param>
    /// <param name="now">Nanoseconds of a clock that only goes forward.</param>
    /// <returns>False when there is no room for it.</returns>
    public bool TryKeep(ReadOnlySpan<byte> packet, ReadOnlySpan<byte> sender, long now)
    {
        while (_packets.TryPeek(out var oldest) && oldest.Until <= now)
        {
            Free(_packets.Dequeue());
        }

        var bucket = (byte)0;
        foreach (var octet in sender)
        {
            bucket = (byte)((bucket * 31) + octet);
        }

        if (count == 0 || packet.Length > _buffers.SlotSize || _ofSender[bucket] >= _share || !_buffers.TryRent(out var slot))
        {
            return false;
        }

        packet.CopyTo(_buffers[slot]);
        _ofSender[bucket]++;
        _packets.Enqueue(new Early(slot, packet.Length, bucket, now + _nanoseconds));
        return true;
    }

    /// <summary>How many are kept.</summary>
    public int Count => _packets.Count;

    /// <summary>Takes the oldest out. False when its time was over, or there is none.</summary>
    public bool TryTake(Span<byte> packet, long now, out int length)
    {
        length = 0;
        if (!_packets.TryDequeue(out var oldest))
        {
            return false;
        }

        if (oldest.Until > now)
        {
            length = oldest.Length;
            _buffers[oldest.Slot][..length].CopyTo(packet);
        }

        Free(oldest);
        return length > 0;
    }

    public void Dispose() => _buffers.Dispose();

    private void Free(Early packet)
    {
        _buffers.Return(packet.Slot);
        _ofSender[packet.Sender]--;
    }
}
