using Sojourn.Wire.Ip;
using Xunit;

namespace Sojourn.Wire.Tests.Ip;

public sealed class CarriedPacketTests
{
    [Fact]
    public void A_packet_is_whole_only_once_the_stream_has_brought_all_of_it()
    {
        var packet = Enumerable.Range(0, 40).Select(i => (byte)(0x60 + i)).ToArray();
        var stream = new byte[CarriedPacket.PrefixLength + packet.Length + 3];
        Assert.Equal(42, CarriedPacket.Write(stream, packet));
        Assert.Equal([0, 40, 0x60], stream[..3]);
        for (var had = 0; had < 42; had++)
        {
            Assert.True(CarriedPacket.TryParse(stream.AsSpan(0, had), out var part, out _));
            Assert.Equal((0, 0), (part.FrameLength, part.Packet.Length));
        }

        Assert.True(CarriedPacket.TryParse(stream, out var whole, out _));
        Assert.Equal(42, whole.FrameLength);
        Assert.Equal(packet, whole.Packet.ToArray());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(19)]
    public void A_length_that_no_packet_has_is_refused_before_more_is_awaited(byte length)
    {
        Assert.False(CarriedPacket.TryParse([0, length], out _, out var error));
        Assert.Equal("Length", error.Field);
    }

    [Fact]
    public void The_longest_packet_fits_and_a_longer_one_is_not_cut_short()
    {
        var stream = new byte[CarriedPacket.LongestFrame];
        Assert.Equal(stream.Length, CarriedPacket.Write(stream, new byte[ushort.MaxValue]));
        Assert.True(CarriedPacket.TryParse(stream, out var whole, out _));
        Assert.Equal(ushort.MaxValue, whole.Packet.Length);
        Assert.Throws<OverflowException>(() => CarriedPacket.Write(new byte[70_000], new byte[65_536]));
    }
}
