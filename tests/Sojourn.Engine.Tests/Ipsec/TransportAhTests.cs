using System.Net;
using System.Security.Cryptography;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

/// <summary>AH before ESP behind a type 2 routing header (spec terminal L4): what it covers, and what must not pass.</summary>
public class TransportAhTests
{
    private const uint Spi = 0x1102;

    private static readonly DateTimeOffset s_now = IpsecBench.Start;
    private static readonly IPAddress s_home = IPAddress.Parse("2001:db8:a:1::10"), s_agent = IPAddress.Parse("2001:db8:a::1"), s_careOf = IPAddress.Parse("2001:db8:c::5");
    private static readonly byte[] s_key = [.. Enumerable.Range(1, 32).Select(i => (byte)i)], s_esp = [.. Enumerable.Range(0, 48).Select(i => (byte)(i * 5))];

    [Fact]
    [Trait("Row", "TM-S3")]
    public void The_check_value_is_that_of_the_packet_as_its_final_receiver_has_it()
    {
        using var agent = Make(atAgent: true);
        Assert.Equal(DropReason.None, agent.TryProtect(s_home, Packet(), s_now, out var wire));
        Assert.Equal([IpProtocol.Routing, IpProtocol.Ah, IpProtocol.Esp], [wire[6], wire[40], wire[64]]);
        Assert.Equal(s_esp, wire[96..]);

        // By hand (RFC 4302 3.3.3.1.2): traffic class, flow label and hop limit zero, home address in the destination field, care-of address in the routing header, no segment left.
        byte[] covered =
        [
            0x60, 0, 0, 0, 0, 24 + 32 + 48, IpProtocol.Routing, 0, .. s_agent.GetAddressBytes(), .. s_home.GetAddressBytes(),
            IpProtocol.Ah, 2, 2, 0, 0, 0, 0, 0, .. s_careOf.GetAddressBytes(),
            IpProtocol.Esp, 6, 0, 0, 0, 0, 0x11, 0x02, 0, 0, 0, 1, .. new byte[20],
            .. s_esp,
        ];
        Assert.Equal(HMACSHA256.HashData(s_key, covered)[..16], wire[76..92]);
    }

    [Fact]
    [Trait("Row", "TM-S3")]
    public void What_routers_change_does_not_count_and_the_packet_comes_out_as_it_went_in()
    {
        using var agent = Make(atAgent: true);
        using var terminal = Make(atAgent: false);
        Assert.True(agent.Covers(s_home) && terminal.Covers(s_agent) && !terminal.Covers(s_careOf));
        Assert.Equal(DropReason.None, agent.TryProtect(s_home, Packet(), s_now, out var wire));
        wire[7] -= 5;
        IPv6Header.RewriteTrafficClass(wire, 0x03);
        Assert.Equal(DropReason.None, terminal.TryOpen(wire, s_now, out var opened));
        var expected = Packet();
        expected[7] -= 5;
        IPv6Header.RewriteTrafficClass(expected, 0x03);
        Assert.Equal(expected, opened);
    }

    [Theory]
    [InlineData(39, nameof(DropReason.BadIcv))] // care-of address
    [InlineData(23, nameof(DropReason.UnknownSpi))] // home agent
    [InlineData(63, nameof(DropReason.UnknownSpi))] // home address
    [InlineData(71, nameof(DropReason.UnknownSpi))] // SPI
    [InlineData(75, nameof(DropReason.BadIcv))] // sequence number
    [InlineData(80, nameof(DropReason.BadIcv))] // check value
    [InlineData(95, nameof(DropReason.BadIcv))] // padding behind it
    [InlineData(65, nameof(DropReason.Malformed))] // length of the header
    [InlineData(130, nameof(DropReason.BadIcv))] // ESP
    [Trait("Row", "TM-S3")]
    public void A_packet_that_was_changed_is_refused(int octet, string reason)
    {
        using var agent = Make(atAgent: true);
        using var terminal = Make(atAgent: false);
        Assert.Equal(DropReason.None, agent.TryProtect(s_home, Packet(), s_now, out var wire));
        wire[octet] ^= 1;
        Assert.Equal(Enum.Parse<DropReason>(reason), terminal.TryOpen(wire, s_now, out var opened));
        Assert.Empty(opened);
        wire[octet] ^= 1;
        Assert.Equal(DropReason.None, terminal.TryOpen(wire, s_now, out _));
    }

    [Fact]
    public void Nobody_elses_packets_get_the_header()
    {
        using var agent = Make(atAgent: true);
        Assert.False(agent.Covers(s_careOf));
        Assert.Equal(DropReason.NoPath, agent.TryProtect(s_careOf, Packet(), s_now, out _));
    }

    private static byte[] Packet() => new MobileIpv6Packet { Source = s_agent, Destination = s_careOf, RoutingHomeAddress = s_home, Protocol = IpProtocol.Esp, Payload = s_esp }.ToArray();

    private static TransportAh Make(bool atAgent)
    {
        static SaParameters OneWay(uint spi, IPAddress source, IPAddress destination) => new()
        {
            Spi = spi,
            Source = source,
            Destination = destination,
            Algorithm = IpsecAlgorithm.HmacSha256,
            Keys = new AssociationKeys(new KeyMaterial([]), new KeyMaterial(s_key)),
            ExtendedSequence = false,
            ReplayWindow = 0,
            StaticKeys = true,
        };
        var (down, up) = (OneWay(Spi, s_agent, s_home), OneWay(Spi - 1, s_home, s_agent));
        var (local, peer) = atAgent ? (s_agent, s_home) : (s_home, s_agent);
        return new TransportAh([new ChildSa(-1, 0, "preset", "preset", ChildMode.Transport, [TrafficSelector.Of(local)], [TrafficSelector.Of(peer)], atAgent ? up : down, atAgent ? down : up, null)]);
    }
}
