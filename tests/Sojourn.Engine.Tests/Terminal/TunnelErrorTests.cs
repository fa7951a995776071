using System.Net;
using Sojourn.Engine.Terminal;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;
using Xunit;
using static Sojourn.Engine.Tests.Terminal.GuestStackTests;
using static Sojourn.Engine.Tests.Terminal.TerminalWorld;

namespace Sojourn.Engine.Tests.Terminal;

/// <summary>What applications hear when the way of their packets does not carry (RFC 2473 8).</summary>
public class TunnelErrorTests
{
    private static readonly IPAddress s_router = IPAddress.Parse("2001:db8:99::1");

    [Theory]
    [Trait("Row", "TM-R73")]
    [InlineData(Icmpv6Type.DestinationUnreachable, (byte)0)]
    [InlineData(Icmpv6Type.DestinationUnreachable, (byte)3)]
    [InlineData(Icmpv6Type.TimeExceeded, (byte)0)]
    public void An_error_about_a_tunnel_packet_tells_the_application_that_its_destination_is_not_reached(byte type, byte code)
    {
        var world = Laboratory(10001);
        var sent = SendOne(world, out var wire);

        Report(world, type, code, wire);

        var told = Assert.Single(world.ToApplications);
        Assert.True(IPv6Header.TryParse(told, out var header, out _));
        Assert.Equal((Agent, world.Terminal.HomeAddress), (header.SourceAddress, header.DestinationAddress));
        var message = told.AsSpan(IPv6Header.Length);
        Assert.Equal((Icmpv6Type.DestinationUnreachable, Icmpv6Type.CodeAddressUnreachable), (message[0], message[1]));
        Assert.True(IcmpMessage.TryParse(message, out var error, out _) && error.ChecksumIsRightIPv6(header.Source, header.Destination));
        Assert.Equal(sent, error.Body.ToArray());
    }

    [Fact]
    [Trait("Row", "TM-R73")]
    public void An_IPv4_application_hears_it_as_host_unreachable_about_its_own_packet()
    {
        var world = Laboratory(10000);
        world.Forward(Udp(Peer, world.Terminal.HomeAddress!, 5000, 5000, new byte[8]));
        world.Run(TimeSpan.FromMilliseconds(100));
        Assert.True(IPv4Header.TryParse(Assert.Single(world.ToApplications), out var called, out _));
        var (own, peer) = (called.DestinationAddress, called.SourceAddress);
        var sent = Udp4(own, peer, new byte[32]);
        world.Tell(new HostPacketSent(sent));
        var wire = world.Crossed.Last(c => c.Up && c.Packet[6] == IpProtocol.IPv6).Packet;

        world.ToApplications.Clear();
        Report(world, Icmpv6Type.TimeExceeded, 0, wire);

        Assert.True(IPv4Header.TryParse(Assert.Single(world.ToApplications), out var ip, out _));
        Assert.Equal((IpProtocol.Icmp, own), (ip.Protocol, ip.DestinationAddress));
        Assert.Equal((IcmpType.DestinationUnreachable, IcmpType.CodeHostUnreachable), (ip.Payload[0], ip.Payload[1]));
        var quoted = ip.Payload[IcmpMessage.HeaderLength..];
        Assert.Equal(sent[12..20], quoted[12..20].ToArray());
        Assert.Equal(sent[20..28], quoted[20..28].ToArray());
    }

    [Fact]
    [Trait("Row", "TM-R73")]
    public void An_error_about_the_short_way_stays_what_it_is_without_the_headers_of_that_way()
    {
        var world = Registered(o => o with { RouteOptimisation = [new IPNetwork(Peer, 128)], ProtectHomeTests = false });
        for (var i = 0; i < 2; i++)
        {
            world.Send(world.Terminal.HomeAddress!, Peer);
            world.Run(TimeSpan.FromSeconds(2));
        }

        var sent = Udp(world.Terminal.HomeAddress!, Peer, 5000, 5000, new byte[64]);
        world.Tell(new HostPacketSent(sent));
        var wire = world.Crossed.Last(c => c.Up).Packet;
        Assert.Equal(IpProtocol.DestinationOptions, wire[6]);
        world.ToApplications.Clear();

        Report(world, Icmpv6Type.TimeExceeded, 0, wire);

        var told = Assert.Single(world.ToApplications);
        Assert.Equal((s_router, world.Terminal.HomeAddress), (new IPAddress(told.AsSpan(8, 16)), new IPAddress(told.AsSpan(24, 16))));
        Assert.Equal((Icmpv6Type.TimeExceeded, 0), (told[40], told[41]));
        Assert.Equal(sent, told[48..]);
    }

    [Fact]
    [Trait("Row", "TM-R73")]
    public void An_error_that_quotes_no_packet_of_ours_or_an_error_reaches_no_application()
    {
        var world = Laboratory(10001);
        _ = SendOne(world, out var wire);
        var home = world.Terminal.HomeAddress!;

        // To another than the home agent; from another than us; of somebody else inside.
        foreach (var (at, address) in new[] { (24, Peer), (8, Peer), (48, Peer) })
        {
            var forged = wire.ToArray();
            address.GetAddressBytes().CopyTo(forged, at);
            Report(world, Icmpv6Type.DestinationUnreachable, 0, forged);
        }

        // About an ICMPv6 error that an application sent.
        var error = new byte[IcmpError.MaximumIPv6];
        var length = IcmpError.Write(IpPacket.OfChecked(Udp(Peer, home, 1, 2, [])), home.GetAddressBytes(), Icmpv6Type.DestinationUnreachable, 4, 0, error);
        world.Tell(new HostPacketSent(error[..length]));
        Report(world, Icmpv6Type.DestinationUnreachable, 0, world.Crossed.Last(c => c.Up).Packet);

        Assert.DoesNotContain(world.ToApplications, p => new IPAddress(p.AsSpan(24, 16)).Equals(home));
        Assert.Equal(0, world.Count("terminal.error.passed_on"));
    }

    [Fact]
    [Trait("Row", "TM-R73")]
    public void What_ESP_hides_is_counted()
    {
        var world = Registered(o => o with { DataPolicy = [new DataPolicyEntry(IPNetwork.Parse("::/0"), DataTreatment.Protect)] });
        world.Send(world.Terminal.HomeAddress!, Peer);
        world.Run(TimeSpan.FromSeconds(1));
        world.Send(world.Terminal.HomeAddress!, Peer);
        var wire = world.Crossed.Last(c => c.Up && c.Packet[6] == IpProtocol.Esp && new IPAddress(c.Packet.AsSpan(8, 16)).Equals(world.Terminal.CareOfAddress)).Packet;
        Report(world, Icmpv6Type.DestinationUnreachable, 0, wire);
        Assert.Equal(1, world.Count("terminal.error.sealed"));
        Assert.Empty(world.ToApplications);
    }

    private static byte[] SendOne(TerminalWorld world, out byte[] wire)
    {
        var sent = Udp(world.Terminal.HomeAddress!, Peer, 5000, 5000, new byte[64]);
        world.Tell(new HostPacketSent(sent));
        wire = world.Crossed.Last(c => c.Up && c.Packet[6] == IpProtocol.IPv6).Packet;
        return sent;
    }

    /// <summary>A router of the way says something about a packet that left.</summary>
    private static void Report(TerminalWorld world, byte type, byte code, byte[] about)
    {
        var error = new byte[IcmpError.MaximumIPv6];
        var length = IcmpError.Write(IpPacket.OfChecked(about), s_router.GetAddressBytes(), type, code, 0, error);
        world.Terminal.CareOfAddress!.GetAddressBytes().CopyTo(error, 24);
        IcmpMessage.WriteIPv6(error.AsSpan(IPv6Header.Length, length - IPv6Header.Length), type, code, 0, error.AsSpan(8, 16), error.AsSpan(24, 16));
        world.ToTerminal(error[..length]);
        world.Run(TimeSpan.FromMilliseconds(50));
    }
}
