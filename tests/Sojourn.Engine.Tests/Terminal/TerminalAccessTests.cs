using System.Net;
using Sojourn.Engine.Access;
using Sojourn.Engine.Terminal;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;
using static Sojourn.Engine.Tests.Terminal.TerminalWorld;

namespace Sojourn.Engine.Tests.Terminal;

/// <summary>The terminal behind a gateway (embodiment 2) and behind one that is an anchor point (embodiment 3), as octets.</summary>
public sealed class TerminalAccessTests
{
    private const string First = "2001:db8:f:1::/64", Second = "2001:db8:f:2::/64";

    private static TerminalWorld Behind(bool anchor, string password = TerminalGateway.Password, string server = TerminalGateway.ServerName, int prefixLifetime = 1200, TimeSpan? lasts = null, bool enrols = false)
    {
        var access = TerminalGateway.Access(anchor ? null : TerminalGateway.Address, password, server);
        var world = new TerminalWorld(o => o with { Access = access, PrefixRequest = null, Enrols = enrols }, prefixLifetime: prefixLifetime);
        _ = new TerminalGateway(world, anchor, lasts);
        world.Attach(Wlan, First);
        world.Run(TimeSpan.FromSeconds(8));
        return world;
    }

    private static TerminalWorld Registered(bool anchor, int prefixLifetime = 1200, TimeSpan? lasts = null)
    {
        var world = Behind(anchor, prefixLifetime: prefixLifetime, lasts: lasts);
        Assert.True(world.Terminal.State == TerminalState.Reg, string.Join('\n', world.Steps));
        return world;
    }

    [Fact]
    [Trait("Row", "TA2.141")]
    [Trait("Row", "TA2.142")]
    [Trait("Row", "TA2.142a")]
    [Trait("Row", "TA2.151")]
    [Trait("Row", "TA-M52")]
    public void Behind_a_gateway_access_comes_first_and_brings_the_home_prefix()
    {
        var world = Registered(anchor: false);

        Assert.Equal(
            ["OFF to LINK", "LINK to DEV", "DEV to CERT", "CERT to ACC", "ACC to PFX", "PFX to HOA", "HOA to HAK", "HAK to IKE", "IKE to SA", "SA to BUP", "BUP to REG"],
            world.Steps);
        Assert.Equal(["key exchange", "authentication server", "key exchange", "authentication server"], world.Gateway!.Log.Take(4));
        Assert.Equal("delegating router", world.Gateway.Log.Last(l => l != "key exchange"));
        Assert.DoesNotContain(world.Crossed, c => c.Up && c.Packet[24] == 0xFF); // the terminal asks for no prefix itself
        Assert.Empty(world.Gateway.Prohibited);
        Assert.True(Assert.Single(world.Gateway.Engine.Sessions).Prefix!.Value.Contains(world.Terminal.HomeAddress!));
        Assert.Equal((world.Terminal.HomeAddress, world.Terminal.OnLinkAddress), (world.Binding!.HomeAddress, world.Binding.CareOfAddress));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Row", "TA2.142x")]
    [Trait("Row", "TA3.150x")]
    [Trait("Row", "TA-N24")]
    public void A_wrong_password_leaves_the_terminal_where_it_was_and_it_asks_ever_more_slowly(bool anchor)
    {
        var world = Behind(anchor, "wrong");
        world.Run(TimeSpan.FromSeconds(120));

        Assert.Equal("DEV to CERT", world.Steps[^1]);
        Assert.InRange(world.Events("terminal.access_refused").Count(), 3, 7);
        Assert.DoesNotContain("delegating router", world.Gateway!.Log);
        Assert.Empty(world.ReachedHome);
        Assert.Empty(world.Gateway.Engine.Bindings);
        Assert.Equal(anchor, world.Count("hmip6.mn.refused.129") > 0);
    }

    [Fact]
    [Trait("Row", "TA-M54")]
    public void A_server_of_another_name_gets_no_password()
    {
        var world = Behind(anchor: false, server: "other.home.example");
        world.Run(TimeSpan.FromSeconds(20));

        Assert.Equal("DEV to CERT", world.Steps[^1]);
        Assert.Contains("authentication server", world.Gateway!.Log);
        Assert.Empty(world.Gateway.Passwords);
    }

    [Fact]
    public void A_move_takes_access_along_before_home_hears_of_it()
    {
        var world = Registered(anchor: false);
        var (asked, home) = (world.Gateway!.Passwords.Count, world.Terminal.HomeAddress);

        world.Tell(new LinkChanged(Wlan, false));
        world.Attach(Cell, Second);
        world.Run(TimeSpan.FromSeconds(3));

        Assert.Equal((TerminalState.Reg, home), (world.Terminal.State, world.Terminal.HomeAddress));
        Assert.True(IPNetwork.Parse(Second).Contains(world.Binding!.CareOfAddress));
        Assert.Equal(world.Terminal.OnLinkAddress, Assert.Single(world.Gateway.Engine.Sessions).Address);
        Assert.Equal(asked, world.Gateway.Passwords.Count);
        Assert.Empty(world.Gateway.Prohibited);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Row", "TA2.150x")]
    public void Access_that_is_taken_back_takes_the_home_address_with_it_and_is_asked_for_anew(bool anchor)
    {
        var world = Registered(anchor);
        world.Gateway!.Tell(new EndAccess(Name));
        world.Run(TimeSpan.FromMilliseconds(11)); // the Delete is on its way
        Assert.True(world.Terminal.State < TerminalState.Acc, world.Terminal.State.ToString());
        Assert.Null(world.Terminal.HomeAddress);
        Assert.Single(world.Events("terminal.access_lost"));

        world.Run(TimeSpan.FromSeconds(15));
        Assert.True(world.Terminal.State == TerminalState.Reg, string.Join('\n', world.Steps));
        Assert.Equal(2, world.Gateway.Passwords.Count);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Access_is_proved_anew_in_good_time_and_nobody_notices(bool anchor)
    {
        var world = Registered(anchor, prefixLifetime: 600);
        var home = world.Terminal.HomeAddress;
        var steps = world.Steps.Count;

        world.Run(TimeSpan.FromSeconds(1500));

        Assert.Equal((TerminalState.Reg, home), (world.Terminal.State, world.Terminal.HomeAddress));
        Assert.DoesNotContain(world.Steps.Skip(steps), step => step.Contains("CERT", StringComparison.Ordinal));
        Assert.DoesNotContain(world.Events("ike.sa.down"), down => down.Severity > EventSeverity.Information);
        Assert.InRange(world.Gateway!.Passwords.Count, 3, 6);
        Assert.Single(world.Gateway.Engine.Sessions);
        Assert.Equal(world.Terminal.CareOfAddress, world.Binding!.CareOfAddress);
    }

    [Fact]
    [Trait("Row", "TA3.163")]
    [Trait("Row", "TA3.141-150")]
    [Trait("Row", "TA3.164")]
    [Trait("Row", "TA3.165")]
    [Trait("Row", "TA-A24")]
    [Trait("Row", "TA-G28")]
    [Trait("Row", "TA-M67")]
    public void Behind_an_anchor_point_the_local_update_comes_after_the_certificate_and_before_everything_else()
    {
        var world = Behind(anchor: true, enrols: true);
        Assert.True(world.Terminal.State == TerminalState.Reg, string.Join('\n', world.Steps));

        Assert.Equal("local update in clear", world.Gateway!.Log[0]);
        Assert.Equal("key exchange", world.Gateway.Log[1]);
        Assert.True(world.Gateway.Log.IndexOf("delegating router") < world.Gateway.Log.IndexOf("local update"));
        var bound = Assert.Single(world.Gateway.Engine.Bindings);
        Assert.Equal((world.Terminal.OnLinkAddress, Name), (bound.CareOfAddress, bound.Identifier));
        Assert.True(TerminalGateway.Regional.Contains(bound.HomeAddress));
        Assert.Equal((bound.HomeAddress, bound.HomeAddress), (world.Terminal.CareOfAddress, world.Binding!.CareOfAddress));
        Assert.Empty(world.Gateway.Prohibited);

        // All that reached home came from the regional address.
        Assert.All(world.ReachedHome, p => Assert.Equal(bound.HomeAddress, new IPAddress(p.AsSpan(8, 16))));
        world.Send(world.Terminal.HomeAddress!, Peer);
        world.Run(TimeSpan.FromSeconds(1));
        world.Answer();
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(world.Terminal.HomeAddress, new IPAddress(Assert.Single(world.ToPeer).AsSpan(8, 16)));
        Assert.Equal(Peer, new IPAddress(Assert.Single(world.ToApplications).AsSpan(8, 16)));
    }

    [Fact]
    [Trait("Row", "TA-G27")]
    public void Without_a_certificate_the_anchor_point_hears_nothing()
    {
        var access = TerminalGateway.Access();
        var world = new TerminalWorld(o => o with { Access = access, PrefixRequest = null, Enrols = true }) { Credential = null, EnrolmentRefusal = "not yet" };
        _ = new TerminalGateway(world, anchor: true);
        world.Attach(Wlan, First);
        world.Run(TimeSpan.FromSeconds(2));
        Assert.Empty(world.Gateway!.Log);
        Assert.NotEmpty(world.Effects.OfType<Enrol>());

        world.EnrolmentRefusal = null;
        world.Run(TimeSpan.FromSeconds(20));
        Assert.True(world.Terminal.State == TerminalState.Reg, string.Join('\n', world.Steps));
    }

    [Fact]
    [Trait("Row", "TA3.166")]
    [Trait("Row", "TA-A25")]
    [Trait("Row", "TA0.7")]
    public void A_move_inside_the_domain_is_told_to_the_anchor_point_alone()
    {
        var world = Registered(anchor: true);
        var (asked, updates, ike) = (world.Gateway!.Passwords.Count, world.ReachedHome.Count, world.Ike.Count());
        var regional = world.Terminal.CareOfAddress;

        world.Tell(new LinkChanged(Wlan, false));
        world.Run(TimeSpan.FromMilliseconds(50));
        world.Advertised.Clear();
        world.Advertised.Add(new Wire.Icmpv6.MobilityAnchorPointOption(2, 10, Wire.Icmpv6.MobilityAnchorPointOption.RegionalFlag, 3600, TerminalGateway.Address));
        world.Attach(Cell, Second);
        world.Run(TimeSpan.FromSeconds(3));

        Assert.Equal(TerminalState.Reg, world.Terminal.State);
        var bound = Assert.Single(world.Gateway.Engine.Bindings);
        Assert.True(IPNetwork.Parse(Second).Contains(bound.CareOfAddress));
        Assert.Equal((regional, regional), (bound.HomeAddress, world.Binding!.CareOfAddress));
        Assert.Equal((asked, updates, ike), (world.Gateway.Passwords.Count, world.ReachedHome.Count, world.Ike.Count()));
        Assert.Equal(bound.CareOfAddress, world.Gateway.Engine.Sessions.Single().Address);
        Assert.Equal(["detect", "update"], world.Events("handover.timed").Last().Phases!.Select(p => p.Name));

        world.Send(world.Terminal.HomeAddress!, Peer);
        world.Run(TimeSpan.FromSeconds(1));
        world.Answer();
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Single(world.ToPeer);
        Assert.Single(world.ToApplications);
    }

    [Fact]
    public void What_an_application_sends_during_a_move_inside_waits_for_the_anchor_point()
    {
        var world = Registered(anchor: true);
        world.Tell(new LinkChanged(Wlan, false));
        world.Send(world.Terminal.HomeAddress!, Peer);
        world.Run(TimeSpan.FromMilliseconds(100));
        world.Attach(Cell, Second);
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Single(world.ToPeer);
    }

    [Fact]
    public void On_a_link_without_an_anchor_point_and_without_a_configured_gateway_nobody_is_asked()
    {
        var access = TerminalGateway.Access();
        var world = new TerminalWorld(o => o with { Access = access });
        world.Attach(Wlan, First);
        world.Run(TimeSpan.FromSeconds(8));

        Assert.Equal(TerminalState.Reg, world.Terminal.State);
        Assert.DoesNotContain("CERT to ACC", world.Steps);
        Assert.Equal(world.Terminal.OnLinkAddress, world.Binding!.CareOfAddress);
    }
}
