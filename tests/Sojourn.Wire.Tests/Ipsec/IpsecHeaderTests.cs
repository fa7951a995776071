using Sojourn.Wire.Ip;
using Sojourn.Wire.Ipsec;
using Xunit;

namespace Sojourn.Wire.Tests.Ipsec;

public class IpsecHeaderTests
{
    [Theory]
    [InlineData(28, 4, 2)]
    [InlineData(30, 4, 0)]
    [InlineData(31, 4, 3)]
    [InlineData(28, 16, 2)]
    [InlineData(31, 16, 15)]
    public void Padding_fills_to_the_alignment_and_comes_off_again(int payload, int alignment, int padding)
    {
        Assert.Equal(padding, EspTrailer.PaddingFor(payload, alignment));
        var plaintext = new byte[payload + padding + 2];
        Array.Fill(plaintext, (byte)0xEE);
        Assert.Equal(padding + 2, EspTrailer.Write(plaintext.AsSpan(payload), padding, IpProtocol.IPv4));
        Assert.True(EspTrailer.TryParse(plaintext, out var length, out var next, out _));
        Assert.Equal((payload, IpProtocol.IPv4), (length, next));
        if (padding > 0)
        {
            plaintext[payload] ^= 1;
            Assert.False(EspTrailer.TryParse(plaintext, out _, out _, out var error));
            Assert.Equal("Padding", error.Field);
        }

        Assert.False(EspTrailer.TryParse([5, 4], out _, out _, out var tooLong));
        Assert.Equal("Pad Length", tooLong.Field);
    }

    [Fact]
    public void An_ah_header_is_written_and_taken_apart()
    {
        var octets = new byte[40];
        Array.Fill(octets, (byte)0xEE);
        AhHeader.Write(octets, IpProtocol.IPv4, 28, 0xDEADBEEF, 7);
        Assert.True(AhHeader.TryParse(octets, out var ah, out _));
        Assert.Equal((IpProtocol.IPv4, 28, 0xDEADBEEFu, 7u, 16, 12), (ah.NextHeader, ah.HeaderLength, ah.Spi, ah.SequenceNumber, ah.IcvAndPadding.Length, ah.Payload.Length));
        Assert.True(ah.IcvAndPadding.IndexOfAnyExcept((byte)0) < 0);
        Assert.False(AhHeader.TryParse(octets.AsSpan(0, 27), out _, out var error));
        Assert.Equal("Payload Len", error.Field);
    }

    [Theory]
    [InlineData("FF", EspInUdpContent.Keepalive)]
    [InlineData("00000000AABBCCDD", EspInUdpContent.NonEsp)]
    [InlineData("0000010000000001", EspInUdpContent.Esp)]
    [InlineData("00000100", EspInUdpContent.Malformed)]
    public void Udp_payloads_are_told_apart(string octets, EspInUdpContent content) =>
        Assert.Equal(content, EspInUdp.Classify(Convert.FromHexString(octets)));

    /// <summary>RFC 4302 appendix A1: router alert and security stay, timestamp and record route are cleared whole.</summary>
    [Fact]
    public void Mutable_ipv4_fields_and_options_are_cleared()
    {
        var header = new byte[40];
        IPv4Header.Write(header, 0xB8, 40, 0x1234, IPv4Header.DontFragmentFlag, 64, IpProtocol.Ah, [1, 2, 3, 4], [5, 6, 7, 8]);
        header[0] = 0x4A;
        byte[] options = [148, 4, 0, 0, 7, 7, 4, 9, 9, 9, 9, 1, 68, 4, 5, 0, 130, 3, 1, 0];
        options.CopyTo(header.AsSpan(20));
        Assert.True(MutableFields.ClearIPv4(header));
        Assert.Equal(
            "4A000028123400000033000001020304050607089404000000000000000000010000000082030100",
            Convert.ToHexString(header));
        header[21] = 60;
        Assert.False(MutableFields.ClearIPv4(header));
    }

    /// <summary>Class, flow label and hop limit go; an option with the change-en-route bit loses its data, others keep it.</summary>
    [Fact]
    public void Mutable_ipv6_fields_and_options_are_cleared()
    {
        var packet = new byte[56];
        IPv6Header.Write(packet, 0xB8, 0xABCDE, 16, IpProtocol.HopByHop, 64, new byte[16], new byte[16]);
        byte[] options = [51, 1, 0x3E, 3, 1, 2, 3, 0x1E, 3, 4, 5, 6, 0, 1, 1, 0];
        options.CopyTo(packet.AsSpan(40));
        Assert.True(MutableFields.ClearIPv6(packet, 56));
        Assert.Equal("60000000001000", Convert.ToHexString(packet.AsSpan(0, 7)));
        Assert.Equal(0, packet[7]);
        Assert.Equal("33013E030000001E0304050600010100", Convert.ToHexString(packet.AsSpan(40)));
        packet[43] = 200;
        Assert.False(MutableFields.ClearIPv6(packet, 56));
    }
}
