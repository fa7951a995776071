using FsCheck.Fluent;
using FsCheck;
using Sojourn.Engine.Ipsec;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

public class ReplayWindowTests
{
    /// <summary>The slow, obvious window: a set of everything accepted.</summary>
    private sealed class ObviousWindow(int width)
    {
        private readonly HashSet<ulong> _seen = [];
        private ulong _top;

        public bool Take(ulong sequence)
        {
            if (sequence == 0 || (sequence <= _top && _top - sequence >= (ulong)width) || !_seen.Add(sequence))
            {
                return false;
            }

            _top = Math.Max(_top, sequence);
            return true;
        }
    }

    [Fact]
    [Trait("Row", "NV-A33")]
    public void Takes_exactly_what_a_set_of_everything_seen_would_take()
    {
        var steps = Gen.Choose(-3000, 3000).ListOf(400);
        var widths = Gen.Elements(1, 2, 31, 32, 63, 64, 65, 128, 1000, 1024, 2048);
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(200), Prop.ForAll(steps.Zip(widths).ToArbitrary(), sample =>
        {
            var (jumps, width) = sample;
            var window = new ReplayWindow(width, extended: false);
            var obvious = new ObviousWindow(width);
            long at = 5000;
            foreach (var jump in jumps)
            {
                // Mostly small steps with repeats, now and then a leap.
                var sequence = (ulong)Math.Max(0, jump % 7 == 0 ? at + jump : at + (jump % 40));
                at = Math.Max(at, (long)sequence);
                var may = window.MayAccept(sequence);
                if (may)
                {
                    window.Accept(sequence);
                }

                if (may != obvious.Take(sequence))
                {
                    return false;
                }
            }

            return true;
        }));
    }

    [Theory]
    [InlineData(0x1_0000_0000UL, 64)]
    [InlineData(0xFFFF_FFF0UL, 64)]
    [InlineData(0x7_8000_0000UL, 1024)]
    [InlineData(0x2_0000_0005UL, 1024)]
    [InlineData(3UL, 1024)]
    public void The_high_half_is_the_one_nearest_to_the_window(ulong top, int width)
    {
        var window = new ReplayWindow(width, extended: true, floor: top);
        for (var distance = -(long)Math.Min((ulong)width - 1, top - 1); distance < 100_000; distance += distance < 2000 ? 1 : 997)
        {
            var sequence = (ulong)((long)top + distance);
            Assert.Equal(sequence, window.Infer((uint)sequence));
        }
    }

    [Fact]
    public void Everything_up_to_the_floor_counts_as_seen()
    {
        var window = new ReplayWindow(128, extended: true, floor: 1000);
        Assert.False(window.MayAccept(1000));
        Assert.False(window.MayAccept(900));
        Assert.True(window.MayAccept(1001));
        window.Accept(1001);
        Assert.False(window.MayAccept(1000));
        Assert.True(window.MayAccept(1070));
        window.Accept(1070);
        Assert.True(window.MayAccept(1002));
    }

    [Fact]
    public void Before_the_first_packet_there_is_no_earlier_high_half()
    {
        var window = new ReplayWindow(64, extended: true);
        Assert.False(window.MayAccept(window.Infer(0xFFFF_FFFF)));
        Assert.True(window.MayAccept(window.Infer(1)));
    }
}
