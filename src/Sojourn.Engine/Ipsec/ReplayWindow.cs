namespace Sojourn.Engine.Ipsec;

/// <summary>
/// Anti-replay window of one inbound association (RFC 4303 3.4.3) with the sequence number inference of extended
/// sequence numbers (RFC 4303 appendix A2). A packet is checked before its ICV is verified and accepted only after.
/// Bits are kept in a ring of 64-bit blocks (as RFC 6479), so that moving the window clears whole blocks.
/// </summary>
public sealed class ReplayWindow
{
    public const int MaximumWidth = 1 << 16;

    private readonly ulong _floor;
    private readonly bool _extended;

    /// <summary>Made with the first packet: of a million associations most are silent.</summary>
    private ulong[]? _blocks;

    /// <param name="width">Packets; 0 = everything authentic is taken.</param>
    /// <param name="floor">Sequence number up to which everything counts as seen.</param>
    public ReplayWindow(int width, bool extended, ulong floor = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(width);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(width, MaximumWidth);
        Width = width;
        _extended = extended;
        _floor = Top = floor;
    }

    public int Width { get; }

    /// <summary>Highest sequence number accepted.</summary>
    public ulong Top { get; private set; }

    /// <summary>
    /// Full sequence number of a packet that carries <paramref name="low"/>. With extended numbers the high half is the
    /// one that puts it nearest to the window; 0 = it lies before the first packet.
    /// </summary>
    public ulong Infer(uint low)
    {
        if (!_extended)
        {
            return low;
        }

        // With the window off a half circle is looked back, so that reordering does not cost the high half.
        var width = Width == 0 ? 1U << 31 : (uint)Width;
        var topHigh = Top >> 32;
        var topLow = (uint)Top;
        var bottomLow = unchecked(topLow - width + 1);
        if (topLow >= width - 1)
        {
            return ((low >= bottomLow ? topHigh : topHigh + 1) << 32) | low;
        }

        if (low < bottomLow)
        {
            return (topHigh << 32) | low;
        }

        return topHigh == 0 ? 0 : ((topHigh - 1) << 32) | low;
    }

    /// <summary>False when the number was seen, is older than the window, or is 0, which no sender uses.</summary>
    public bool MayAccept(ulong sequence)
    {
        if (sequence == 0)
        {
            return Width == 0 && !_extended;
        }

        if (Width == 0 || sequence > Top)
        {
            return true;
        }

        // Without blocks nothing has come yet, and everything up to the top counts as seen.
        return Top - sequence < (ulong)Width && _blocks is { } blocks && (blocks[BlockOf(blocks, sequence)] & BitOf(sequence)) == 0;
    }

    /// <summary>Records an authentic packet. Only after <see cref="MayAccept"/> said yes.</summary>
    public void Accept(ulong sequence)
    {
        var blocks = _blocks ??= NewBlocks();
        if (sequence > Top)
        {
            var steps = Math.Min((sequence >> 6) - (Top >> 6), (ulong)blocks.Length);
            for (ulong i = 0; i < steps; i++)
            {
                blocks[BlockOf(blocks, sequence - (i << 6))] = 0;
            }

            Top = sequence;
        }

        blocks[BlockOf(blocks, sequence)] |= BitOf(sequence);
    }

    private ulong[] NewBlocks()
    {
        // One block more than the width needs: the block of the top is partly ahead of the window.
        var blocks = new ulong[System.Numerics.BitOperations.RoundUpToPowerOf2((uint)((Width + 63) / 64 + 1))];
        if (_floor > 0)
        {
            Array.Fill(blocks, ulong.MaxValue);
            var position = (int)(_floor & 63);
            if (position < 63)
            {
                blocks[BlockOf(blocks, _floor)] &= (1UL << (position + 1)) - 1;
            }
        }

        return blocks;
    }

    private static int BlockOf(ulong[] blocks, ulong sequence) => (int)(sequence >> 6) & (blocks.Length - 1);

    private static ulong BitOf(ulong sequence) => 1UL << (int)(sequence & 63);
}
