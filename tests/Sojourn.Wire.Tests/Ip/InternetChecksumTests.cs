using FsCheck;
using FsCheck.Fluent;
using Sojourn.Wire.Ip;
using Xunit;

namespace Sojourn.Wire.Tests.Ip;

public class InternetChecksumTests
{
    /// <summary>RFC 1071 as it is written: 16-bit big-endian words, carries folded in.</summary>
    private static ushort Obvious(ReadOnlySpan<byte> octets)
    {
        uint sum = 0;
        for (var i = 0; i < octets.Length; i++)
        {
            sum += i % 2 == 0 ? (uint)octets[i] << 8 : octets[i];
            sum = (sum & 0xFFFF) + (sum >> 16);
        }

        return (ushort)~sum;
    }

    [Fact]
    public void Agrees_with_the_obvious_sum_for_any_octets()
    {
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(500), Prop.ForAll(
            Gen.Choose(0, 255).Select(o => (byte)o).ArrayOf().ToArbitrary(),
            octets => InternetChecksum.Of(octets) == Obvious(octets)));
        Assert.Equal(Obvious(Enumerable.Repeat((byte)0xFF, 65535).ToArray()), InternetChecksum.Of(Enumerable.Repeat((byte)0xFF, 65535).ToArray()));
    }

    /// <summary>Every number of octets that is left over behind those that are added many at a time, and sums that carry.</summary>
    [Fact]
    public void Agrees_with_the_obvious_sum_for_any_length()
    {
        var octets = new byte[1600];
        foreach (var fill in (Action<byte[]>[])[new Random(1).NextBytes, all => Array.Fill(all, (byte)0xFF)])
        {
            fill(octets);
            for (var length = 0; length <= octets.Length; length++)
            {
                Assert.Equal(Obvious(octets.AsSpan(0, length)), InternetChecksum.Of(octets.AsSpan(0, length)));
            }
        }
    }

    [Fact]
    public void The_example_of_rfc_1071()
    {
        byte[] octets = [0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7];
        Assert.Equal(0xFFFF - 0xDDF2, InternetChecksum.Of(octets));
    }

    [Fact]
    public void An_update_equals_a_new_sum()
    {
        var random = new Random(1);
        for (var i = 0; i < 5000; i++)
        {
            var octets = new byte[40];
            random.NextBytes(octets);
            var before = InternetChecksum.Of(octets);
            var at = 2 * random.Next(20);
            var oldWord = (ushort)((octets[at] << 8) | octets[at + 1]);
            var newWord = (ushort)random.Next(0x10000);
            (octets[at], octets[at + 1]) = ((byte)(newWord >> 8), (byte)newWord);
            Assert.Equal(InternetChecksum.Of(octets), InternetChecksum.Update(before, oldWord, newWord));
        }
    }

    /// <summary>RFC 1624 section 4: the case the older equation gets wrong.</summary>
    [Fact]
    public void The_example_of_rfc_1624() => Assert.Equal(0x0000, InternetChecksum.Update(0xDD2F, 0x5555, 0x3285));
}
