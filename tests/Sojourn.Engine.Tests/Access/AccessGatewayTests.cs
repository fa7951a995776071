using System.Net;
using Sojourn.Engine.Access;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Tests.Ikev2;
using Sojourn.Wire.Ip;
using Xunit;
using static Sojourn.Engine.Tests.Access.GatewayWorld;

namespace Sojourn.Engine.Tests.Access;

/// <summary>Embodiments 2 and 3 inside the engines: terminal → gateway → authentication server, delegating router, authority.</summary>
public sealed class AccessGatewayTests
{
    private static readonly IPAddress s_regional = IPAddress.Parse("2001:db8:b:1::77");

    private static GatewayWorld WithAnchor() => new(o => o with
    {
        Anchor = new MobilityAnchorPointOptions { Address = GatewayAddress, RegionalPrefix = IPNetwork.Parse("2001:db8:b:1::/64") },
    });

    [Fact]
    [Trait("Row", "TA2.140")]
    [Trait("Row", "TA2.143")]
    [Trait("Row", "TA2.143a")]
    [Trait("Row", "TA2.144")]
    [Trait("Row", "TA2.146")]
    [Trait("Row", "TA2.147")]
    [Trait("Row", "TA2.148")]
    [Trait("Row", "TA2.149")]
    [Trait("Row", "TA2.150")]
    [Trait("Row", "TA-A22")]
    [Trait("Row", "TA-C14")]
    [Trait("Row", "TA-P4")]
    public void Access_then_whose_IAID_then_the_prefix_then_the_answer_that_carries_it()
    {
        using var world = new GatewayWorld();
        var terminal = world.Connect(First);
        world.Run(5);

        string[] order = ["IkeSaInit answer", "RADIUS", "IkeAuth answer", "whose IAID", "Solicit", "Request", "IkeAuth answer"];
        var at = -1;
        foreach (var step in order)
        {
            at = world.Log.FindIndex(at + 1, l => l == step);
            Assert.True(at >= 0, $"{step} after {string.Join(", ", world.Log)}");
        }

        Assert.Equal(world.Log.Count - 1, at);
        var prefix = PrefixOf(terminal);
        Assert.Equal(world.Delegation.Router.Leases.Single(l => l.IsAllocated).Prefix, prefix);
        Assert.Equal(prefix, world.Session!.Prefix);
        Assert.Equal("mn1.home.example", world.Session.Identifier);
        Assert.Equal(["mn1.home.example"], world.Delegation.Queries.Select(q => q.Identifier).Distinct());
        Assert.Equal("mn1.home.example", Assert.Single(world.Delegation.Identities, i => i.Value.Origin == IdentityOrigin.Gateway).Value.Identifier);
    }

    [Fact]
    [Trait("Row", "TA-C15")]
    [Trait("Row", "TA-I5")]
    [Trait("Row", "TA-G7")]
    public void Before_access_only_the_named_servers_are_reached_and_afterwards_everything_from_that_address_only()
    {
        using var world = new GatewayWorld();
        Assert.Equal("prohibited", world.Packet(First, AgentAddress));
        Assert.Equal("forwarded", world.Packet(First, Authority, port: 80));
        Assert.Equal("prohibited", world.Packet(First, Authority, port: 22));
        Assert.Equal("prohibited", world.Packet(First, AgentAddress, IpProtocol.Udp, 500));
        world.Connect(First);
        world.Run(5);

        Assert.Equal("forwarded", world.Packet(First, AgentAddress));
        Assert.Equal("prohibited", world.Packet(Second, AgentAddress));

        world.ToGateway(new EndAccess("mn1.home.example"));
        Assert.Equal("prohibited", world.Packet(First, AgentAddress));
        Assert.Null(world.Session);
    }

    [Fact]
    [Trait("Row", "TA2.142x")]
    [Trait("Row", "TA-N24")]
    public void A_wrong_password_sends_no_Solicit_and_opens_nothing()
    {
        using var world = new GatewayWorld();
        var terminal = world.Connect(First, password: "wrong");
        world.Run(5);

        Assert.Equal(IkeEnd.Refused, Assert.Single(terminal.Of<IkeSaDown>()).End);
        Assert.DoesNotContain("Solicit", world.Log);
        Assert.DoesNotContain("whose IAID", world.Log);
        Assert.Null(world.Session);
        Assert.Equal("prohibited", world.Packet(First, AgentAddress));
    }

    [Theory]
    [InlineData("the authority refuses")]
    [InlineData("the delegating router does not know the gateway")]
    [InlineData("the delegating router is silent")]
    [Trait("Row", "TA2.150x")]
    [Trait("Row", "TA-N25")]
    public void Without_a_prefix_access_is_withdrawn(string why)
    {
        using var world = new GatewayWorld();
        if (why.StartsWith("the authority", StringComparison.Ordinal))
        {
            world.Delegation.Approved.Clear();
        }

        world.Registers = !why.Contains("not know", StringComparison.Ordinal);
        world.RouterAnswers = !why.Contains("silent", StringComparison.Ordinal);
        var terminal = world.Connect(First);
        world.Run(40);

        Assert.Equal(IkeEnd.Refused, Assert.Single(terminal.Of<IkeSaDown>()).End);
        Assert.Null(PrefixOf(terminal));
        Assert.Null(world.Session);
        Assert.Equal("prohibited", world.Packet(First, AgentAddress));
        Assert.Contains(world.Effects.OfType<Report>(), r => r.Event is { Kind: "access.refused", Rule: "TA2.150x" });
        Assert.DoesNotContain(world.Delegation.Router.Leases, l => l.IsAllocated);
    }

    [Fact]
    [Trait("Row", "TA-A23")]
    [Trait("Row", "TA-G6")]
    public void Two_terminals_have_two_IAIDs_of_one_client_two_prefixes_and_two_identifiers()
    {
        using var world = new GatewayWorld();
        var (alice, bob) = (world.Connect(First), world.Connect(Second, "bob", "staple"));
        world.Run(5);

        Assert.Equal(["mn1.home.example", "mn2.home.example"], world.Engine.Sessions.Select(s => s.Identifier).Order());
        var leases = world.Delegation.Router.Leases.Where(l => l.IsAllocated).ToList();
        Assert.Equal(2, leases.Count);
        Assert.Single(leases.Select(l => l.Key.Client).Distinct());
        Assert.Equal(2, leases.Select(l => l.Key.Iaid).Distinct().Count());
        Assert.NotEqual(PrefixOf(alice), PrefixOf(bob));

        // Both names stand in the identity table, under the gateway's DUID.
        Assert.Equal(["mn1.home.example", "mn2.home.example"], world.Delegation.Identities.Where(i => i.Key.Client.Equals(world.Engine.Duid)).Select(i => i.Value.Identifier).Order());
    }

    [Fact]
    public void A_terminal_that_begins_anew_keeps_its_prefix_and_one_that_leaves_gives_it_back()
    {
        using var world = new GatewayWorld();
        var prefix = PrefixOf(Connected(world));
        var again = world.Connect(First);
        world.Run(5);
        Assert.Equal(prefix, PrefixOf(again));
        Assert.Single(world.Delegation.Router.Leases, l => l.IsAllocated);

        var sa = again.Sa.Id;
        world.ToTerminal(again, new CloseIke(sa));
        world.Run(5);
        Assert.Empty(world.Engine.Sessions);
        Assert.DoesNotContain(world.Delegation.Router.Leases, l => l.IsAllocated);
        Assert.Equal("prohibited", world.Packet(First, AgentAddress));
    }

    [Fact]
    public void A_delegating_router_elsewhere_is_asked_through_a_relay_agent_of_the_gateway_s_own()
    {
        using var world = new GatewayWorld(o => o with { RelayTo = [Router] });
        var terminal = Connected(world);

        Assert.Contains("RelayForward", world.Log);
        Assert.DoesNotContain("Solicit", world.Log);
        Assert.Equal(world.Delegation.Router.Leases.Single(l => l.IsAllocated).Prefix, PrefixOf(terminal));
    }

    [Fact]
    public void After_a_restart_nobody_has_access_and_prefixes_of_terminals_that_do_not_come_back_are_given_back()
    {
        using var world = new GatewayWorld();
        var prefix = PrefixOf(Connected(world));
        world.Restart();
        Assert.Equal("prohibited", world.Packet(First, AgentAddress));
        Assert.Equal(prefix, PrefixOf(Connected(world)));
        world.Run(11 * 60);
        Assert.Single(world.Delegation.Router.Leases, l => l.IsAllocated);

        world.Restart();
        world.Run(11 * 60);
        Assert.DoesNotContain(world.Delegation.Router.Leases, l => l.IsAllocated);
    }

    [Fact]
    public void Access_ends_when_its_time_is_over()
    {
        using var world = new GatewayWorld();
        Connected(world);
        Assert.Equal(world.Now.AddHours(8), world.Session!.Until!.Value, TimeSpan.FromSeconds(10));
        world.Run(8 * 3600);
        Assert.Empty(world.Engine.Sessions);
        Assert.Equal("prohibited", world.Packet(First, AgentAddress));
    }

    [Fact]
    [Trait("Row", "TA3.163a")]
    [Trait("Row", "TA3.141-150")]
    [Trait("Row", "TA3.150a")]
    [Trait("Row", "TA3.164")]
    [Trait("Row", "TA-A24")]
    [Trait("Row", "TA-C6")]
    [Trait("Row", "TM-NC25")]
    public void Behind_an_anchor_the_local_update_begins_everything_and_its_acknowledgement_ends_it()
    {
        using var world = WithAnchor();

        // Nobody gets in without the trigger.
        var early = world.Connect(First, regional: s_regional);
        world.Run(5);
        Assert.Equal(IkeEnd.Refused, Assert.Single(early.Of<IkeSaDown>()).End);
        Assert.DoesNotContain("RADIUS", world.Log);
        world.Log.Clear();

        world.BindLocally(First, s_regional, 1);
        Assert.Empty(world.Engine.Bindings);
        var terminal = world.Connect(First, regional: s_regional);
        world.Run(5);

        Assert.Equal("local update", world.Log[0]);
        Assert.True(world.Log.IndexOf("RADIUS") < world.Log.IndexOf("Solicit"));
        Assert.True(world.Log.IndexOf("Solicit") < world.Log.IndexOf("local acknowledgement 0"), string.Join(", ", world.Log));
        Assert.True(world.Log.LastIndexOf("IkeAuth answer") < world.Log.IndexOf("local acknowledgement 0"));
        var bound = Assert.Single(world.Engine.Bindings);
        Assert.Equal((s_regional, First, "mn1.home.example"), (bound.HomeAddress, bound.CareOfAddress, bound.Identifier));
        Assert.NotNull(PrefixOf(terminal));

        // The regional address passes out of its tunnel, from where it is bound, and in no other way.
        Assert.Equal("forwarded", world.Tunnelled(First, s_regional, AgentAddress));
        Assert.Equal(0, world.CountOnPath("map.reverse_tunnel_bad"));
        Assert.Equal("dropped", world.Tunnelled(Second, s_regional, AgentAddress));
        Assert.Equal("dropped", world.Tunnelled(First, IPAddress.Parse("2001:db8:b:1::78"), AgentAddress));
        Assert.Equal(2, world.CountOnPath("map.reverse_tunnel_bad"));
        Assert.Equal("prohibited", world.Packet(s_regional, AgentAddress));
        Assert.Equal((s_regional, First), (Assert.Single(world.Engine.Bindings).HomeAddress, world.Engine.Bindings.Single().CareOfAddress));
    }

    [Fact]
    [Trait("Row", "TA3.150x")]
    [Trait("Row", "TA-N26")]
    public void Behind_an_anchor_failed_access_is_answered_with_129()
    {
        using var world = WithAnchor();
        world.BindLocally(First, s_regional, 1);
        world.Connect(First, password: "wrong", regional: s_regional);
        world.Run(5);
        Assert.Equal("local acknowledgement 129 in clear", world.Log[^1]);
        Assert.Empty(world.Engine.Bindings);
        Assert.Equal("dropped", world.Tunnelled(First, s_regional, AgentAddress));
    }

    private static IkeNode Connected(GatewayWorld world)
    {
        var terminal = world.Connect(First);
        world.Run(5);
        Assert.NotNull(PrefixOf(terminal));
        return terminal;
    }
}
