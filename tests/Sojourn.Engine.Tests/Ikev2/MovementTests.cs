using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Ikev2;
using Xunit;

namespace Sojourn.Engine.Tests.Ikev2;

/// <summary>NAT, MOBIKE and the K bit.</summary>
public class MovementTests
{
    private static readonly IPAddress s_visited = IPAddress.Parse("203.0.113.9");

    private static IkeNetwork Mobile(bool force = false) =>
        IkePair.Network(p => p with { Mobike = true, ForceUdpEncapsulation = force }, p => p with { Mobike = true }).Connect();

    [Fact]
    public void Without_nat_or_mobike_everything_stays_on_port_500()
    {
        var network = IkePair.Network().Connect();
        Assert.All(network.Sent, d => Assert.Equal(500, d.Destination.Port));
        Assert.Null(network.A.Child.Udp);
        Assert.False(network.B.Sa.NatDetected);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Udp_encapsulation_can_be_forced_by_either_end(bool terminal)
    {
        var network = IkePair.Network(p => p with { ForceUdpEncapsulation = terminal }, p => p with { ForceUdpEncapsulation = !terminal }).Connect();
        network.AssertAgree(1, 1);
        Assert.NotNull(network.A.Child.Udp);
        Assert.All(network.Sent.Where(d => d.Payload.Length > 1 && d.HasMarker), d => Assert.Equal(4500, d.Destination.Port));
        Assert.Contains(network.Sent, d => d.Destination.Port == 4500);
    }

    // terminal 10.0.0.9 ── NAT 192.0.2.1:40000+ ── agent
    [Fact]
    public void A_nat_is_found_crossed_and_followed_when_its_mapping_changes()
    {
        var inside = IPAddress.Parse("10.0.0.9");
        var offset = 40000;
        var network = IkePair.Network();
        network.A.Address = inside;
        network.A.Addresses.Add(inside);
        network.Change = d => d.Source.Address.Equals(inside) ? d with { Source = new IPEndPoint(IkeNetwork.Terminal, offset + d.Source.Port) }
            : d.Destination.Address.Equals(IkeNetwork.Terminal) ? d with { Destination = new IPEndPoint(inside, d.Destination.Port % 10000 is 500 ? 500 : 4500) } : d;
        network.Connect();
        Assert.Single(network.B.Engine.IkeSas);
        Assert.True(network.A.Sa.NatDetected && network.B.Sa.NatDetected);
        Assert.Equal(new UdpEncapsulation(4500, 44500), network.B.Child.Udp);
        Assert.Equal(new UdpEncapsulation(4500, 4500), network.A.Child.Udp);
        network.Run(45);
        Assert.True(network.Sent.Count(d => d.Payload.Span is [0xFF]) >= 2);

        offset = 45000;
        network.Tell(network.A, new CheckLiveness(network.A.Sa.Id));
        network.Run();
        Assert.Equal(49500, network.B.Sa.Remote.Port);
        Assert.Equal(new UdpEncapsulation(4500, 49500), network.B.Child.Udp);
    }

    // terminal (new address) ──► UPDATE_SA_ADDRESSES, NAT_DETECTION, COOKIE2   ◄── NAT_DETECTION, COOKIE2
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Row", "TA-M14")]
    public void Mobike_moves_the_ike_sa_and_its_tunnels_without_new_keys(bool force)
    {
        var network = Mobile(force);
        var (spi, keys) = (network.A.Child.Inbound.Spi, network.A.Child.Inbound.Keys);
        var before = network.Sent.Count;
        Move(network, s_visited);
        network.Run();
        network.AssertAgree(1, 1);
        Assert.Equal(2, network.Sent.Count - before);
        Assert.Equal((spi, keys), (network.A.Child.Inbound.Spi, network.A.Child.Inbound.Keys));
        Assert.Equal(s_visited, network.B.Child.Outbound.Destination);
        Assert.Equal(s_visited, network.A.Child.Inbound.Destination);
        Assert.Equal(force, network.B.Child.Udp is not null);
    }

    [Fact]
    public void A_request_on_its_way_goes_on_from_the_new_address()
    {
        var network = Mobile();
        network.Fate = d => d.Source.Address.Equals(IkeNetwork.Terminal) ? [] : [IkeNetwork.Delay];
        network.Tell(network.A, new RekeyChild(network.A.Child.Id));
        network.Run(0.3);
        Move(network, s_visited);
        network.Run();
        network.AssertAgree(1, 1);
        Assert.Equal(2, network.A.Of<ChildSaUp>().Count());
        Assert.Equal(s_visited, network.B.Child.Outbound.Destination);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Moves_in_quick_succession_end_at_the_last_address(int seed)
    {
        var network = Mobile();
        var random = new Random(seed);
        network.Fate = _ => random.Next(4) == 0 ? [] : [TimeSpan.FromMilliseconds(random.Next(5, 80))];
        IPAddress? last = null;
        for (var i = 0; i < 10; i++)
        {
            last = IPAddress.Parse($"203.0.113.{10 + i}");
            Move(network, last);
            network.Run(random.NextDouble() / 5);
        }

        network.Run(30);
        network.AssertAgree(1, 1);
        Assert.Equal(last, network.B.Sa.Remote.Address);
    }

    [Fact]
    public void A_rekeyed_ike_sa_can_still_move_from_the_same_end_only()
    {
        var network = Mobile();
        network.Tell(network.B, new RekeyIke(network.B.Sa.Id));
        network.Run();
        Assert.True(network.B.Sa.IsInitiator);
        Move(network, s_visited);
        network.Run();
        network.AssertAgree(1, 1);
        Assert.Equal(s_visited, network.B.Sa.Remote.Address);
        network.Tell(network.B, new ChangeLocalAddress(network.B.Sa.Id, IPAddress.Parse("198.51.100.2")));
        network.Run();
        Assert.Equal(IkeNetwork.Agent, network.B.Sa.Local.Address);
    }

    [Fact]
    public void Without_mobike_nothing_moves()
    {
        var network = IkePair.Network().Connect();
        Move(network, s_visited);
        network.Run();
        Assert.Equal(IkeNetwork.Terminal, network.B.Sa.Remote.Address);
        Assert.Equal(IkeNetwork.Terminal, network.A.Sa.Local.Address);
        Assert.Contains(network.A.Of<Report>(), r => r.Event.Kind == "ike.mobike.refused");
    }

    // The binding update has told both ends; not one IKE message is needed, and the child stays with the home address.
    [Fact]
    [Trait("Row", "TA-M14")]
    public void With_the_k_bit_the_end_moves_without_a_message_and_the_child_stays()
    {
        var network = IkePair.Network(p => p with { Children = [EstablishmentTests.MobileChild] }, p => p with { Children = [EstablishmentTests.AgentMobileChild] }).Connect();
        var (before, child) = (network.Sent.Count, network.B.Child);
        network.A.Addresses.Add(s_visited);
        network.Tell(network.A, new MoveIkeEnd(network.A.Sa.Id, s_visited, null));
        network.Tell(network.B, new MoveIkeEnd(network.B.Sa.Id, null, s_visited));
        network.Run();
        Assert.Equal(before, network.Sent.Count);
        Assert.Equal(child, network.B.Child);
        Assert.Empty(network.B.Of<ChildSaMoved>());

        network.Tell(network.B, new CheckLiveness(network.B.Sa.Id));
        network.Run();
        Assert.Equal(s_visited, network.Sent.Last(d => d.Header.IsResponse).Source.Address);
        network.AssertAgree(1, 1);
    }

    private static void Move(IkeNetwork network, IPAddress to)
    {
        network.A.Addresses.Clear();
        network.A.Addresses.Add(to);
        network.A.Address = to;
        network.Tell(network.A, new ChangeLocalAddress(network.A.Sa.Id, to));
    }
}
