using System.Net;
using Sojourn.DataPath.PacketPath;
using Sojourn.Wire.Ip;
using Xunit;

namespace Sojourn.DataPath.Tests;

public sealed unsafe class PacketScratchTests : IDisposable
{
    private readonly PacketScratch _scratch = new(new OuterBatch(null!, new PacketPathCounters()), (_, _, _) => { }, datagrams: true);

    public void Dispose() => _scratch.Dispose();

    /// <summary>What may follow the latest without its path being looked for: nothing that could have another.</summary>
    [Theory]
    [InlineData("192.0.2.1", "192.0.2.2", "192.0.2.3")]
    [InlineData("2001:db8::1", "2001:db8::2", "2001:db8::3")]
    public void A_packet_goes_the_way_of_the_latest_only_between_the_same_two_with_the_same_transport(string a, string b, string c)
    {
        var tcp = Packet(a, b, IpProtocol.Tcp);
        Assert.False(_scratch.IsOfLastDelivered(tcp));
        Deliver(tcp);
        Assert.True(_scratch.IsOfLastDelivered(Packet(a, b, IpProtocol.Tcp)));
        byte[][] others = [Packet(a, c, IpProtocol.Tcp), Packet(c, b, IpProtocol.Tcp), Packet(b, a, IpProtocol.Tcp), Packet(a, b, IpProtocol.Udp), Packet(a, b, IpProtocol.Esp), tcp[..30]];
        Assert.All(others, other => Assert.False(_scratch.IsOfLastDelivered(other)));
        Assert.False(_scratch.IsOfLastDelivered(a.Contains(':', StringComparison.Ordinal) ? Packet("192.0.2.1", "192.0.2.2", IpProtocol.Tcp) : Packet("2001:db8::1", "2001:db8::2", IpProtocol.Tcp)));
        Deliver(Packet(a, c, IpProtocol.Tcp));
        Assert.False(_scratch.IsOfLastDelivered(tcp));
        Assert.True(_scratch.IsOfLastDelivered(Packet(a, c, IpProtocol.Tcp)));
    }

    /// <summary>A home test or an echo may have a path of its own.</summary>
    [Theory]
    [InlineData(IpProtocol.Mobility)]
    [InlineData(IpProtocol.Icmpv6)]
    [InlineData(IpProtocol.IPv6)]
    public void Nothing_follows_what_is_neither_tcp_nor_udp(byte protocol)
    {
        var packet = Packet("2001:db8::1", "2001:db8::2", protocol);
        Deliver(packet);
        Assert.False(_scratch.IsOfLastDelivered(packet));
    }

    /// <summary>Paths may change whenever the thread waits.</summary>
    [Fact]
    public void It_is_forgotten_when_all_is_delivered()
    {
        var packet = Packet("192.0.2.1", "192.0.2.2", IpProtocol.Udp);
        Deliver(packet);
        Assert.True(_scratch.IsOfLastDelivered(packet));
        _scratch.Deliver();
        Assert.False(_scratch.IsOfLastDelivered(packet));
        Deliver(Packet("192.0.2.1", "192.0.2.2", IpProtocol.Udp)[..28]);
        Assert.False(_scratch.IsOfLastDelivered(packet));
    }

    private void Deliver(byte[] packet)
    {
        var room = _scratch.RoomToOpen(packet.Length);
        packet.CopyTo(room);
        _scratch.Deliver(room[..packet.Length]);
    }

    private static byte[] Packet(string source, string destination, byte protocol)
    {
        var (from, to) = (IPAddress.Parse(source).GetAddressBytes(), IPAddress.Parse(destination).GetAddressBytes());
        var packet = new byte[80];
        if (from.Length == 16)
        {
            IPv6Header.Write(packet, 0, 0, packet.Length - IPv6Header.Length, protocol, 64, from, to);
        }
        else
        {
            IPv4Header.Write(packet, 0, packet.Length, 1, 0, 64, protocol, from, to);
        }

        return packet;
    }
}
