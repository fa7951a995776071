using System.Buffers.Binary;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Tcp;
using Sojourn.Wire.Udp;
using Xunit;

namespace Sojourn.Wire.Tests.Ip;

public class TransportTests
{
    private static readonly byte[] s_a = [192, 0, 2, 1], s_b = [198, 51, 100, 2];

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(3)]
    public void The_mss_option_is_lowered_wherever_it_stands(int leadingNoOperations)
    {
        byte[] options = [.. Enumerable.Repeat((byte)1, leadingNoOperations), 2, 4, 0x05, 0xB4, 3, 3, 7];
        Array.Resize(ref options, (options.Length + 3) & ~3);
        var segment = new byte[20 + options.Length];
        segment[12] = (byte)(segment.Length / 4 << 4);
        segment[13] = (byte)(TcpFlags.Syn | TcpFlags.Ack);
        options.CopyTo(segment.AsSpan(20));
        var sum = InternetChecksum.PseudoHeader(s_a, s_b, IpProtocol.Tcp, segment.Length);
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(16), InternetChecksum.Finish(InternetChecksum.Add(sum, segment)));
        Assert.True(TcpHeader.ClampMaximumSegmentSize(segment, 1337));
        Assert.True(TcpHeader.TryParse(segment, out var header, out _));
        Assert.True(header.TryFindMaximumSegmentSize(out _, out var mss));
        Assert.Equal(1337, mss);
        Assert.True(header.ChecksumIsRight(s_a, s_b));
        Assert.False(TcpHeader.ClampMaximumSegmentSize(segment, 1400));
        segment[13] = (byte)TcpFlags.Ack;
        Assert.False(TcpHeader.ClampMaximumSegmentSize(segment, 100));
    }

    [Fact]
    public void A_udp_checksum_is_made_and_checked_and_zero_means_none()
    {
        var datagram = new byte[13];
        "hello"u8.CopyTo(datagram.AsSpan(8));
        UdpHeader.Write(datagram, 434, 435);
        Assert.True(UdpHeader.TryParse(datagram, out var udp, out _) && udp.ChecksumIsRight(s_a, s_b) && udp.Checksum == 0);
        UdpHeader.WriteChecksum(datagram, s_a, s_b);
        Assert.True(UdpHeader.TryParse(datagram, out udp, out _) && udp.ChecksumIsRight(s_a, s_b) && udp.Checksum != 0);
        datagram[9] ^= 4;
        Assert.False(udp.ChecksumIsRight(s_a, s_b));
        datagram[5] = 14;
        Assert.False(UdpHeader.TryParse(datagram, out _, out var error));
        Assert.Equal("Length", error.Field);
    }

    [Fact]
    public void An_icmp_error_quotes_what_fits_and_never_answers_an_error()
    {
        var packet = new byte[1400];
        IPv4Header.Write(packet, 0, packet.Length, 1, IPv4Header.DontFragmentFlag, 64, IpProtocol.Udp, s_a, s_b);
        Assert.True(IpPacket.TryParse(packet, out var offending, out _));
        Assert.True(IcmpError.MayAnswer(offending));
        var buffer = new byte[2048];
        var length = IcmpError.WriteTooBig(offending, s_b, 1300, buffer);
        Assert.Equal(IcmpError.MaximumIPv4, length);
        Assert.True(IPv4Header.TryParse(buffer.AsSpan(0, length), out var reply, out _) && reply.ChecksumIsRight);
        Assert.True(IcmpMessage.TryParse(reply.Payload, out var message, out _) && message.ChecksumIsRight);
        Assert.Equal((3, 4, 1300), ((int)message.Type, (int)message.Code, message.NextHopMtuIPv4));
        Assert.Equal(packet[..message.Body.Length], message.Body.ToArray());
        Assert.True(IpPacket.TryParse(buffer.AsSpan(0, length), out var error, out _));
        Assert.False(IcmpError.MayAnswer(error));
        Assert.Equal(0, IcmpError.WriteTooBig(offending, s_b, 1300, new byte[100]));
    }

    [Fact]
    public void An_echo_is_written_with_the_checksum_of_its_version()
    {
        var message = new byte[12];
        "ping"u8.CopyTo(message.AsSpan(8));
        IcmpMessage.WriteIPv4(message, IcmpType.EchoRequest, 0, 0x12340007);
        Assert.True(IcmpMessage.TryParse(message, out var echo, out _) && echo.ChecksumIsRight);
        Assert.Equal((0x1234, 7), ((int)echo.Identifier, (int)echo.SequenceNumber));
        byte[] a = [0x20, 1, .. new byte[14]], b = [0x20, 2, .. new byte[14]];
        IcmpMessage.WriteIPv6(message, Icmpv6Type.EchoRequest, 0, 0x12340007, a, b);
        Assert.True(IcmpMessage.TryParse(message, out echo, out _) && echo.ChecksumIsRightIPv6(a, b));
    }
}
