using Sojourn.DataPath.PacketPath;
using Xunit;

namespace Sojourn.DataPath.Tests;

/// <summary>Packets that come before their keys (spec R33).</summary>
public sealed class EarlyPacketsTests
{
    private static readonly byte[] Gateway = [10, 0, 3, 2], Stranger = [10, 0, 9, 9];

    private readonly byte[] _out = new byte[2048];

    [Fact]
    [Trait("Row", "R33")]
    public void They_come_out_in_order_while_their_time_lasts()
    {
        using var early = new EarlyPackets(8, 128, TimeSpan.FromMilliseconds(500));
        Assert.True(early.TryKeep([1, 1, 1], Gateway, now: 0));
        Assert.True(early.TryKeep([2, 2], Gateway, now: 400_000_000));
        Assert.Equal(2, early.Count);
        Assert.False(early.TryTake(_out, now: 500_000_000, out _));
        Assert.True(early.TryTake(_out, now: 500_000_000, out var length));
        Assert.Equal([2, 2], _out[..length]);
        Assert.False(early.TryTake(_out, now: 500_000_000, out _));
    }

    [Fact]
    [Trait("Row", "R33")]
    public void One_sender_gets_half_and_what_does_not_fit_is_refused()
    {
        using var early = new EarlyPackets(8, 128, TimeSpan.FromMilliseconds(500));
        Assert.Equal(4, Enumerable.Range(0, 10).Count(i => early.TryKeep([(byte)i], Stranger, now: 0)));
        Assert.Equal(4, Enumerable.Range(0, 10).Count(i => early.TryKeep([(byte)i], Gateway, now: 0)));
        Assert.False(early.TryKeep([1], [10, 0, 3, 3], now: 0));
        Assert.True(early.TryKeep([1], Gateway, now: 600_000_000));
        Assert.Equal(1, early.Count);
        Assert.False(early.TryKeep(new byte[129], Stranger, now: 600_000_000));
    }

    [Fact]
    public void None_are_kept_where_none_are_wanted()
    {
        using var early = new EarlyPackets(0, 128, TimeSpan.FromMilliseconds(500));
        Assert.False(early.TryKeep([1], Gateway, now: 0));
    }
}
