using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.TerminalControl;
using Sojourn.Engine.Tests.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;

namespace Sojourn.Engine.Tests.TerminalControl;

/// <summary>
/// From discovery to the binding, packet by packet:
/// <code>
/// terminal                                home agent                 delegating router
///    | --- 116 discovery request (anycast) --> |
///    | &lt;-- 117 reply ------------------------- |
///    | --- 121, 123 IKE_SA_INIT -------------> |
///    | &lt;-- 122, 124 -------------------------- |
///    | --- 125, 130 IKE_AUTH ----------------> | --- 126 query Q2 ------> |
///    |                                         | &lt;-- 128 allocated ------- |
///    | &lt;-- 129, 131 -------------------------- |
///    | === 133 binding update under ESP =====> |
///    | &lt;== 136 acknowledgement under ESP ===== |
/// </code>
/// </summary>
public class SignOnTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Row", "TA1.121")]
    [Trait("Row", "TA1.122")]
    [Trait("Row", "TA1.123")]
    [Trait("Row", "TA1.124")]
    [Trait("Row", "TA1.125")]
    [Trait("Row", "TA1.125a")]
    [Trait("Row", "TA1.125b")]
    [Trait("Row", "TA1.126")]
    [Trait("Row", "TA1.128")]
    [Trait("Row", "TA1.129")]
    [Trait("Row", "TA1.129a")]
    [Trait("Row", "TA1.130")]
    [Trait("Row", "TA1.131")]
    [Trait("Row", "TA1.132a")]
    [Trait("Row", "TA-S11")]
    [Trait("Row", "TA-S12")]
    [Trait("Row", "TA-R76")]
    [Trait("Row", "TA-C5")]
    [Trait("Row", "TA-D7")]
    [Trait("Row", "TA-G3")]
    public void A_terminal_finds_its_home_agent_proves_itself_and_is_registered(bool homeAddressMode)
    {
        var network = new HomeNetwork();
        var terminal = network.Registered(change: p => homeAddressMode ? p with { LocalIdentity = IkeIdentity.Of(HomeNetwork.Home1) } : p);

        Assert.Equal((HomeNetwork.CareOf1, "mn1.home.example"), (network.Binding(HomeNetwork.Home1)!.CareOfAddress, network.Binding(HomeNetwork.Home1)!.Identifier));
        var asked = Assert.Single(network.Asked);
        Assert.Equal((HomeNetwork.Home1, "mn1.home.example"), (asked.HomeAddress, asked.Identifier));
        var view = Assert.Single(network.Device.Terminals);
        Assert.Equal((HomeNetwork.Home1, "mn1.home.example", HomeNetwork.CareOf1), (view.HomeAddress, view.Identifier, view.Remote.Address));
        Assert.Equal(homeAddressMode ? HomeNetwork.Home1.ToString() : "mn1.home.example", view.Identity);
        Assert.Single(network.Device.Associations);

        // Discovery and key exchange in clear and UDP; binding messages nowhere but under ESP, with their headers in front.
        Assert.Equal([IpProtocol.Icmpv6, IpProtocol.Icmpv6, IpProtocol.Udp, IpProtocol.Udp, IpProtocol.Udp, IpProtocol.Udp, IpProtocol.DestinationOptions, IpProtocol.Routing], network.Sent.Take(8).Select(p => p[6]));
        Assert.Equal([IpProtocol.Esp, IpProtocol.Esp], network.Sent.Skip(6).Take(2).Select(p => p[40]));
        Assert.DoesNotContain(network.Sent, p => p[6] == IpProtocol.Mobility || (p[6] is IpProtocol.DestinationOptions or IpProtocol.Routing && p[40] == IpProtocol.Mobility));
        Assert.Equal(0, network.Counter("ha6.packet.discarded"));
        Assert.NotNull(terminal.Registration!.GrantedCareOfAddress);
    }

    [Fact]
    [Trait("Row", "TA-P12")]
    public void A_registered_terminal_is_reached_at_its_home_address_and_answers_from_it()
    {
        var network = new HomeNetwork();
        network.Registered();
        network.Registered("mn2.home.example", HomeNetwork.Home2, HomeNetwork.CareOf2, seed: 70);
        var output = new byte[4096];

        var question = HomeNetwork.Plain(HomeNetwork.Correspondent, HomeNetwork.Home1);
        var result = network.Tunnel.Forward(question, output, network.Now);
        Assert.Equal(HomeTunnelVerdict.Send, result.Verdict);
        AssertTunnelled(output.AsSpan(result.Offset, result.Length), HomeNetwork.CareOf1, question);

        var answer = HomeNetwork.Plain(HomeNetwork.Home1, HomeNetwork.Correspondent);
        result = network.Tunnel.Forward(HomeNetwork.Tunnelled(HomeNetwork.CareOf1, answer), output, network.Now);
        Assert.Equal(HomeTunnelVerdict.Send, result.Verdict);
        Assert.Equal(answer, output.AsSpan(result.Offset, result.Length).ToArray());

        // From one terminal to another it goes out again at once.
        var between = HomeNetwork.Plain(HomeNetwork.Home1, HomeNetwork.Home2);
        result = network.Tunnel.Forward(HomeNetwork.Tunnelled(HomeNetwork.CareOf1, between), output, network.Now);
        AssertTunnelled(output.AsSpan(result.Offset, result.Length), HomeNetwork.CareOf2, between);
    }

    [Fact]
    public void What_comes_through_the_tunnel_must_have_the_home_address_of_that_care_of_address()
    {
        var network = new HomeNetwork();
        network.Registered();
        network.Registered("mn2.home.example", HomeNetwork.Home2, HomeNetwork.CareOf2, seed: 70);
        var output = new byte[4096];
        void Dropped(IPAddress outer, IPAddress inner)
        {
            var result = network.Tunnel.Forward(HomeNetwork.Tunnelled(outer, HomeNetwork.Plain(inner, HomeNetwork.Correspondent)), output, network.Now);
            Assert.Equal(HomeTunnelVerdict.Drop, result.Verdict);
        }

        Dropped(HomeNetwork.CareOf2, HomeNetwork.Home1);
        Dropped(HomeNetwork.CareOf1, HomeNetwork.Correspondent);
        Dropped(HomeNetwork.Moved, HomeNetwork.Home1);
    }

    [Fact]
    public void A_packet_for_a_home_address_without_binding_is_answered_unreachable()
    {
        var network = new HomeNetwork();
        var output = new byte[4096];
        var result = network.Tunnel.Forward(HomeNetwork.Plain(HomeNetwork.Correspondent, HomeNetwork.Home1), output, network.Now);
        Assert.Equal(HomeTunnelVerdict.Send, result.Verdict);
        Assert.True(MobileIpv6Packet.TryParse(output.AsSpan(result.Offset, result.Length), out var error, out _));
        Assert.Equal((HomeNetwork.Agent, HomeNetwork.Correspondent, IpProtocol.Icmpv6), (error.Source, error.Destination, error.Protocol));
        Assert.Equal([1, 3], error.Payload.Span[..2].ToArray());
    }

    [Fact]
    [Trait("Row", "TA-M14")]
    [Trait("Row", "TA-G29")]
    public void With_K_a_move_keeps_key_exchange_and_associations()
    {
        var network = new HomeNetwork();
        var terminal = network.Registered();
        var spis = network.Device.Associations.Select(c => c.Inbound.Spi).ToList();
        var ike = Assert.Single(network.Device.IkeSas).Id;
        var before = network.Sent.Count;
        network.Move(terminal, HomeNetwork.Moved);
        network.Run(2);

        Assert.Equal(HomeNetwork.Moved, network.Binding(HomeNetwork.Home1)!.CareOfAddress);
        Assert.Equal(spis, network.Device.Associations.Select(c => c.Inbound.Spi));
        Assert.Equal(ike, Assert.Single(network.Device.IkeSas).Id);
        Assert.Equal(HomeNetwork.Moved, Assert.Single(network.Device.IkeSas).Remote.Address);
        Assert.DoesNotContain(network.Sent.Skip(before), p => p[6] == IpProtocol.Udp);

        // The key exchange works from the new place.
        terminal.Tell(new CheckLiveness(terminal.Ike.IkeSas.Single().Id));
        network.Run(2);
        Assert.Single(terminal.Ike.IkeSas);
        Assert.Contains(network.Sent.Skip(before), p => p[6] == IpProtocol.Udp);
    }

    [Fact]
    [Trait("Row", "TA-M14")]
    public void Without_K_the_terminal_proves_itself_again_before_its_update_and_the_former_key_exchange_goes()
    {
        var network = new HomeNetwork();
        var terminal = network.Registered(moves: false);
        var former = Assert.Single(network.Device.IkeSas);
        network.Move(terminal, HomeNetwork.Moved);
        network.Run(60);
        Assert.Equal(HomeNetwork.Moved, network.Binding(HomeNetwork.Home1)!.CareOfAddress);
        var ike = Assert.Single(network.Device.IkeSas);
        Assert.NotEqual((former.Id, former.InitiatorSpi), (ike.Id, ike.InitiatorSpi));
        Assert.Equal(HomeNetwork.Moved, ike.Remote.Address);
        Assert.Single(network.Device.Terminals);
        Assert.Single(network.Device.Associations);
    }

    [Fact]
    public void Rekeyings_of_both_kinds_leave_the_binding_renewable()
    {
        var network = new HomeNetwork();
        var terminal = network.Registered();
        terminal.Tell(new RekeyIke(terminal.Ike.IkeSas.Single().Id));
        network.Run(2);
        terminal.Tell(new RekeyChild(terminal.Ike.ChildSas.Single().Id));
        network.Run(2);
        Assert.Equal(Assert.Single(network.Device.IkeSas).Id, Assert.Single(network.Device.Terminals).IkeSa);
        var sequence = network.Binding(HomeNetwork.Home1)!.SequenceNumber;
        network.Move(terminal, HomeNetwork.Moved);
        network.Run(2);
        Assert.True(network.Binding(HomeNetwork.Home1)!.SequenceNumber > sequence);
        Assert.Single(network.Device.Associations);

        // And what belongs to the terminal goes with it.
        network.Tell(new AllocationWithdrawn(null, "mn1.home.example", "revoked"));
        Assert.Empty(network.Device.Associations);
        Assert.Null(network.Binding(HomeNetwork.Home1));
    }

    [Fact]
    [Trait("Row", "TA-M13")]
    public void A_terminal_that_gives_its_binding_up_loses_its_key_exchange_a_little_later()
    {
        var network = new HomeNetwork();
        var terminal = network.Registered();
        terminal.Leave();
        network.Run(2);
        Assert.Null(network.Binding(HomeNetwork.Home1));
        Assert.Single(network.Device.IkeSas);
        network.Run(12);
        Assert.Empty(network.Device.IkeSas);
        Assert.Empty(network.Device.Terminals);
        Assert.Empty(network.Device.Associations);
        Assert.Empty(terminal.Ike.IkeSas);
    }

    [Fact]
    public void The_agents_address_answers_echo_requests()
    {
        var network = new HomeNetwork();
        var echo = new Sojourn.Wire.Icmpv6.Echo(false, 7, 1, "hello"u8.ToArray());
        network.Post(new MobileIpv6Packet { Source = HomeNetwork.Correspondent, Destination = HomeNetwork.Agent, Protocol = IpProtocol.Icmpv6, Payload = echo.ToArray(HomeNetwork.Correspondent, HomeNetwork.Agent) }.ToArray());
        network.Run(1);
        var reply = Assert.Single(network.Elsewhere);
        Assert.Equal((byte)129, reply[40]);
    }

    private static void AssertTunnelled(ReadOnlySpan<byte> packet, IPAddress careOf, byte[] inner)
    {
        Assert.True(IPv6Header.TryParse(packet, out var header, out _));
        Assert.Equal((HomeNetwork.Agent, careOf, IpProtocol.IPv6), (header.SourceAddress, header.DestinationAddress, header.NextHeader));
        Assert.Equal(inner, header.Payload.ToArray());
    }
}
