using Sojourn.Engine.Aaa;
using Xunit;

namespace Sojourn.Engine.Tests.Aaa;

public class KeyGeneratorTests
{
    [Theory]
    [Trait("Row", "M13")]
    [InlineData(0u, 0xFFFFu)]
    [InlineData(255u, 0xFFFFu)]
    [InlineData(0x2000u, 0x1000u)]
    [InlineData(0x1001u, 0x11FEu)]
    public void A_range_below_256_or_without_a_whole_block_is_refused(uint first, uint last) =>
        Assert.Throws<ArgumentException>(() => new SpiRange(first, last));

    [Fact]
    public void A_range_that_is_not_aligned_gives_the_whole_blocks_inside_it() =>
        Assert.Equal(0x1100u, new KeyGenerator(new SpiRange(0x1001, 0x11FF), SystemRandomSource.Instance).ReserveSpiBlock());

    [Fact]
    [Trait("Row", "M13")]
    public void The_top_of_the_number_space_can_be_used()
    {
        var keys = new KeyGenerator(new SpiRange(0xFFFF_FE00, 0xFFFF_FFFF), SystemRandomSource.Instance);
        Assert.Equal([0xFFFF_FE00, 0xFFFF_FF00], new[] { keys.ReserveSpiBlock(), keys.ReserveSpiBlock() }.Order());
    }

    [Fact]
    [Trait("Row", "M13")]
    public void Blocks_are_aligned_inside_the_range_unique_while_live_and_used_again_last()
    {
        var keys = new KeyGenerator(new SpiRange(0x1080, 0x20FF), SystemRandomSource.Instance);
        var first = keys.ReserveSpiBlock();
        var live = new HashSet<uint> { first };
        keys.Release(first + 17);
        for (var i = 0; i < 15; i++)
        {
            var block = keys.ReserveSpiBlock();
            Assert.Equal(0u, block % 256);
            Assert.InRange(block, 0x1100u, 0x2000u);
            Assert.True(live.Add(block), "a released block rests until the range has been round");
        }

        Assert.Equal(first, keys.ReserveSpiBlock());
        Assert.Equal(0u, keys.ReserveSpiBlock());
    }

    [Fact]
    public void Blocks_of_restored_sessions_are_not_given_out_again()
    {
        var keys = new KeyGenerator(new SpiRange(0x1000, 0x11FF), SystemRandomSource.Instance);
        keys.Claim(0x1042);
        keys.Claim(0x9942);
        Assert.Equal(0x1100u, keys.ReserveSpiBlock());
        Assert.Equal(0u, keys.ReserveSpiBlock());
    }

    [Fact]
    public void Secrets_and_nonces_come_from_the_source_of_randomness_and_never_twice()
    {
        var keys = new KeyGenerator(new SpiRange(0x1000, 0x11FF), SystemRandomSource.Instance);
        Assert.Equal(32, keys.NewRoot().Length);
        Assert.NotEqual(keys.NewRoot(), keys.NewRoot());
        Assert.NotEqual(keys.NewSessionKey(), keys.NewSessionKey());
        Assert.InRange(keys.NewNonce().Length, 16, 255);
        Assert.NotEqual(keys.NewNonce(), keys.NewNonce());
    }
}
