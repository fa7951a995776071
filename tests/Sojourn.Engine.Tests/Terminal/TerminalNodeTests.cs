using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal;
using Sojourn.Engine.Tests.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Ikev2;
using Xunit;
using static Sojourn.Engine.Tests.Terminal.TerminalWorld;

namespace Sojourn.Engine.Tests.Terminal;

/// <summary>The whole sequence of embodiment 1 as octets between a terminal and the engines of its home.</summary>
public class TerminalNodeTests
{
    private const string First = "2001:db8:f:1::/64", Second = "2001:db8:f:2::/64";

    private static TerminalWorld Registered(Func<TerminalOptions, TerminalOptions>? change = null)
    {
        var world = new TerminalWorld(change);
        world.Attach(Wlan, First);
        world.Run(TimeSpan.FromSeconds(8));
        Assert.True(world.Terminal.State == TerminalState.Reg, string.Join('\n', world.Steps));
        return world;
    }

    [Fact]
    [Trait("Row", "TA1.115")]
    [Trait("Row", "TA1.121")]
    [Trait("Row", "TA1.122")]
    [Trait("Row", "TA1.123")]
    [Trait("Row", "TA1.124")]
    [Trait("Row", "TA1.125")]
    [Trait("Row", "TA1.129")]
    [Trait("Row", "TA1.129a")]
    [Trait("Row", "TA1.130")]
    [Trait("Row", "TA1.131")]
    [Trait("Row", "TA1.132")]
    [Trait("Row", "TA1.132a")]
    [Trait("Row", "TA-M10")]
    public void From_power_on_to_a_registration_state_by_state()
    {
        var world = Registered(o => o with { Enrols = true });

        Assert.Equal(
            ["OFF to LINK", "LINK to DEV", "DEV to CERT", "CERT to PFX", "PFX to HOA", "HOA to HAK", "HAK to IKE", "IKE to SA", "SA to BUP", "BUP to REG"],
            world.Steps);
        Assert.True(Pool.Contains(world.Terminal.HomeAddress!));
        Assert.EndsWith("::ff:fe00:11", world.Terminal.HomeAddress!.ToString(), StringComparison.Ordinal);
        Assert.Equal(world.Terminal.HomeAddress, world.Binding!.HomeAddress);
        Assert.Equal(world.Terminal.CareOfAddress, world.Binding.CareOfAddress);
        Assert.True(IPNetwork.Parse(First).Contains(world.Terminal.CareOfAddress!));
        Assert.Equal(["IkeSaInit", "IkeSaInit", "IkeAuth", "IkeAuth"], world.Ike.Select(h => h.Exchange.ToString()));
        Assert.Empty(world.Of(IpProtocol.Mobility));
        Assert.Equal([true, false], world.Of(IpProtocol.Esp).Select(c => c.Up));
    }

    [Fact]
    public void A_terminal_that_has_none_enrols_once()
    {
        var world = new TerminalWorld(o => o with { Enrols = true }) { Credential = null };
        world.Attach(Wlan, First);
        world.Run(TimeSpan.FromSeconds(8));

        Assert.Equal(TerminalState.Reg, world.Terminal.State);
        Assert.Single(world.Effects.OfType<Enrol>());
    }

    [Fact]
    public void A_terminal_that_was_told_to_be_silent_stays_so_when_its_prefix_is_renewed()
    {
        var world = Registered();
        world.Tell(new DeregisterTerminal());
        world.Run(TimeSpan.FromSeconds(20));
        Assert.Empty(world.Bindings);

        var renewals = world.Effects.OfType<SaveState>().Count(s => s.Key.Table == "dhcp6.client");
        world.Run(TimeSpan.FromMinutes(15));
        Assert.True(world.Effects.OfType<SaveState>().Count(s => s.Key.Table == "dhcp6.client") > renewals);
        Assert.Empty(world.Bindings);

        world.Tell(new RegisterTerminal());
        world.Run(TimeSpan.FromSeconds(3));
        Assert.Equal((TerminalState.Reg, world.Terminal.HomeAddress), (world.Terminal.State, world.Binding?.HomeAddress));
    }

    [Fact]
    public void A_certificate_in_the_store_and_a_home_address_by_hand_leave_out_their_steps()
    {
        var home = new FixedHome(IPAddress.Parse("2001:db8:a:7::77"), IPNetwork.Parse("2001:db8:a:7::/64"));
        var world = Registered(o => o with { Home = home, PrefixRequest = null, Enrols = true });

        Assert.Empty(world.Effects.OfType<Enrol>());
        Assert.DoesNotContain(world.Crossed, c => c.Up && c.Packet[24] == 0xFF);
        Assert.Equal(home.Address, world.Binding!.HomeAddress);
    }

    [Fact]
    [Trait("Row", "TA4.176a")]
    [Trait("Row", "TA4.177")]
    [Trait("Row", "TA-G22")]
    public void A_home_address_by_hand_follows_the_home_prefix_through_discovery_IKE_and_registration()
    {
        var home = new FixedHome(IPAddress.Parse("2001:db8:a:7::77"), IPNetwork.Parse("2001:db8:a:7::/64"));
        var (next, nextHome) = (IPNetwork.Parse("2001:db8:a:8::/64"), IPAddress.Parse("2001:db8:a:8::77"));
        var world = Registered(o => o with { Home = home, PrefixRequest = null });
        var day = world.Now + TimeSpan.FromDays(1);
        var before = world.Ike.Count(h => h is { Exchange: IkeExchange.IkeSaInit, IsResponse: false });
        world.TellHomeAgent(new SetHomePrefixes([new HomePrefix(next, day, day, OnLink: false), new HomePrefix(home.Prefix, world.Now + TimeSpan.FromMinutes(10), world.Now, OnLink: false)]));
        world.TellHomeAgent(new AdvertisePrefixes([home.Address]));
        world.Run(TimeSpan.FromSeconds(5));

        Assert.Equal((nextHome, TerminalState.Reg), (world.Terminal.HomeAddress, world.Terminal.State));
        Assert.Equal(before + 1, world.Ike.Count(h => h is { Exchange: IkeExchange.IkeSaInit, IsResponse: false }));
        Assert.Equal([home.Address, nextHome], world.Bindings.Select(b => b.HomeAddress));

        // The solicitation that says the advertisement has come is not repeated from the new home address.
        Assert.Equal(1, world.Count("mip6.mn.solicitations"));

        // Nobody deregisters the old binding; it lives as long as its prefix.
        world.Run(TimeSpan.FromMinutes(11));
        Assert.Equal(nextHome, Assert.Single(world.Bindings).HomeAddress);

        // Its next life begins where this one ended, unless the operator has given it another address or the new prefix is over too.
        var saved = world.Effects.OfType<SaveState>().Where(s => s.Key.Table == "terminal-home").Select(s => new SavedState(s.Key, s.Value)).ToList();
        Assert.Equal(nextHome, HomeOf(home, world.Now));
        Assert.Equal(home.Address, HomeOf(home, day + TimeSpan.FromMinutes(1)));
        var other = new FixedHome(IPAddress.Parse("2001:db8:a:7::78"), home.Prefix);
        Assert.Equal(other.Address, HomeOf(other, world.Now));

        IPAddress HomeOf(FixedHome configured, DateTimeOffset now)
        {
            using var terminal = new TerminalNode(new TerminalOptions { Links = [new TerminalLink(Wlan, new LinkAddress([2, 0, 0, 0, 0, 0x11]))], Home = configured }, new SeededRandom(6));
            terminal.Handle(new EngineStarted(saved), now, new EffectSink());
            return terminal.HomeAddress!;
        }
    }

    [Fact]
    public void Applications_reach_a_correspondent_through_the_tunnel_and_are_reached()
    {
        var world = Registered();

        world.Send(world.Terminal.HomeAddress!, Peer);
        world.Run(TimeSpan.FromSeconds(1));
        world.Answer();
        world.Run(TimeSpan.FromSeconds(1));

        Assert.Equal(world.Terminal.HomeAddress, new IPAddress(Assert.Single(world.ToPeer).AsSpan(8, 16)));
        Assert.Equal(Peer, new IPAddress(Assert.Single(world.ToApplications).AsSpan(8, 16)));
        var outer = Assert.Single(world.Of(IpProtocol.IPv6), c => c.Up).Packet;
        Assert.Equal(world.Terminal.CareOfAddress, new IPAddress(outer.AsSpan(8, 16)));
        Assert.Equal(Agent, new IPAddress(outer.AsSpan(24, 16)));
    }

    [Fact]
    public void What_a_stranger_tunnels_reaches_no_application()
    {
        var world = Registered();
        var inner = Udp(Peer, world.Terminal.HomeAddress!, 5000, 5000, [1, 2, 3]);

        world.ToTerminal(new Wire.MobileIpv6.MobileIpv6Packet { Source = IPAddress.Parse("2001:db8:bad::1"), Destination = world.Terminal.CareOfAddress!, Protocol = IpProtocol.IPv6, Payload = inner }.ToArray());
        world.Run(TimeSpan.FromSeconds(1));

        Assert.Empty(world.ToApplications);
        Assert.Equal(1, world.Count(GuestCounters.TunnelSourceBad));
    }

    [Fact]
    public void Before_the_binding_nothing_of_an_application_leaves_and_what_waited_goes_first()
    {
        var world = new TerminalWorld { Authorises = _ => true };
        world.Attach(Wlan, First);
        for (var i = 0; i < 200 && world.Terminal.State < TerminalState.Hoa; i++)
        {
            world.Run(TimeSpan.FromMilliseconds(20));
        }

        world.Send(world.Terminal.HomeAddress!, Peer);
        Assert.DoesNotContain(world.Crossed, c => c.Up && new IPAddress(c.Packet.AsSpan(8, 16)).Equals(world.Terminal.HomeAddress));
        world.Run(TimeSpan.FromSeconds(8));

        Assert.Single(world.ToPeer);
        Assert.All(world.Crossed.Where(c => c.Up), c => Assert.NotEqual(world.Terminal.HomeAddress, new IPAddress(c.Packet.AsSpan(8, 16))));
    }

    [Fact]
    [Trait("Row", "TA-A19")]
    public void A_move_to_the_other_link_takes_the_keys_along_and_tells_what_it_cost()
    {
        var world = Registered();
        var (sa, ike) = (world.Terminal.Associations.Single().Id, world.Ike.Count());

        world.Tell(new LinkChanged(Wlan, false));
        world.Run(TimeSpan.FromMilliseconds(50));
        Assert.Equal(TerminalState.Off, world.Terminal.State);
        world.Attach(Cell, Second);
        world.Run(TimeSpan.FromSeconds(3));

        Assert.Equal(TerminalState.Reg, world.Terminal.State);
        Assert.True(IPNetwork.Parse(Second).Contains(world.Binding!.CareOfAddress));
        Assert.Equal(sa, world.Terminal.Associations.Single().Id);
        Assert.Equal(ike, world.Ike.Count());
        Assert.Equal(world.Terminal.CareOfAddress, world.AgentSas.Single().Remote.Address);
        var move = world.Events("handover.timed").Last();
        Assert.Equal(["detect", "update"], move.Phases!.Select(p => p.Name));
        Assert.InRange(move.Phases!.Sum(p => p.Milliseconds), 60, 200);
        world.Send(world.Terminal.HomeAddress!, Peer);
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Single(world.ToPeer);
    }

    [Fact]
    public void To_the_newest_link_the_terminal_moves_while_the_former_is_there_and_nothing_is_lost()
    {
        var world = Registered(o => o with { LinkPreference = LinkPreference.Newest });
        foreach (var (link, prefix, former) in new[] { (Cell, Second, Wlan), (Wlan, First, Cell), (Cell, Second, Wlan) })
        {
            var (taken, got, sent) = (world.ToPeer.Count, world.ToApplications.Count, 0);
            world.Attach(link, prefix);
            for (; !IPNetwork.Parse(prefix).Contains(world.Binding!.CareOfAddress) || sent < 30; sent++)
            {
                world.Send(world.Terminal.HomeAddress!, Peer);
                world.Answer();
                world.Run(TimeSpan.FromMilliseconds(2));
            }

            world.Run(TimeSpan.FromMilliseconds(100));
            world.Tell(new LinkChanged(former, false));
            world.Run(TimeSpan.FromMilliseconds(100));
            Assert.Equal((link, TerminalState.Reg), (world.Terminal.ActiveLink, world.Terminal.State));
            Assert.Equal((sent, sent), (world.ToPeer.Count - taken, world.ToApplications.Count - got));
        }
    }

    [Fact]
    public void Of_the_listed_links_the_first_usable_one_counts_and_of_the_newest_the_one_before_when_it_goes()
    {
        var listed = Registered();
        listed.Attach(Cell, Second);
        listed.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(Wlan, listed.Terminal.ActiveLink);

        var newest = Registered(o => o with { LinkPreference = LinkPreference.Newest });
        newest.Attach(Cell, Second);
        newest.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(Cell, newest.Terminal.ActiveLink);
        newest.Tell(new LinkChanged(Cell, false));
        newest.Run(TimeSpan.FromSeconds(1));
        Assert.Equal((Wlan, TerminalState.Reg), (newest.Terminal.ActiveLink, newest.Terminal.State));
    }

    [Fact]
    [Trait("Row", "TA-A19")]
    public void Without_the_K_bit_a_move_runs_the_key_exchange_anew()
    {
        var world = Registered(o => o with { KeyManagementMoves = false });
        var sa = world.Terminal.Associations.Single().Id;

        world.Tell(new LinkChanged(Wlan, false));
        world.Attach(Cell, Second);
        world.Run(TimeSpan.FromSeconds(5));

        Assert.Equal(TerminalState.Reg, world.Terminal.State);
        Assert.NotEqual(sa, world.Terminal.Associations.Last().Id);
        Assert.Equal(2, world.Ike.Count(h => h.Exchange == IkeExchange.IkeSaInit && !h.IsResponse));
        Assert.Equal(world.Terminal.CareOfAddress, world.Binding!.CareOfAddress);
    }

    [Theory]
    [Trait("Row", "TA-A16")]
    [InlineData(IdentityMode.Name, "mn1.home.example")]
    [InlineData(IdentityMode.HomeAddress, null)]
    public void The_terminal_names_itself_by_its_identifier_or_by_its_home_address(IdentityMode mode, string? name)
    {
        var world = Registered(o => o with { IdentityMode = mode });

        var asked = Assert.Single(world.Asked);
        Assert.Equal(name is null ? IkeIdentity.Of(world.Terminal.HomeAddress!) : IkeIdentity.OfName(name), asked.Identity);
        Assert.All(asked.RemoteSelectors, s => Assert.Equal(world.Terminal.HomeAddress, s.StartAddress));
    }

    [Fact]
    public void A_refused_enrolment_leaves_the_terminal_where_it_was_and_says_why()
    {
        var world = new TerminalWorld(o => o with { Enrols = true }) { Credential = null, EnrolmentRefusal = "the authority refuses: notAuthorized" };

        world.Attach(Wlan, First);
        world.Run(TimeSpan.FromSeconds(20));

        Assert.Equal(TerminalState.Dev, world.Terminal.State);
        Assert.Equal("the authority refuses: notAuthorized", world.Events("terminal.enrolment_refused").First().Text);
        Assert.InRange(world.Effects.OfType<Enrol>().Count(), 2, 4);
        Assert.DoesNotContain(world.Crossed, c => c.Up && c.Packet[24] == 0xFF);

        world.EnrolmentRefusal = null;
        world.Run(TimeSpan.FromSeconds(60));
        Assert.Equal(TerminalState.Reg, world.Terminal.State);
    }

    [Fact]
    public void A_refused_prefix_leaves_the_terminal_with_its_certificate_only()
    {
        var world = new TerminalWorld();
        world.Delegation.Approved.Clear();

        world.Attach(Wlan, First);
        world.Run(TimeSpan.FromSeconds(20));

        Assert.Equal(TerminalState.Cert, world.Terminal.State);
        Assert.True(world.Count("terminal.prefix_unavailable") > 0);
        Assert.Empty(world.Ike);
    }

    [Fact]
    public void A_home_agent_that_refuses_leaves_the_terminal_knowing_it_and_no_update_goes_out()
    {
        var world = new TerminalWorld { Authorises = _ => false };

        world.Attach(Wlan, First);
        world.Run(TimeSpan.FromSeconds(20));

        Assert.True(world.Terminal.State is TerminalState.Hoa or TerminalState.Hak);
        Assert.Contains("AuthenticationFailed", world.Events("terminal.key_exchange_failed").Single().Text, StringComparison.Ordinal);
        Assert.Empty(world.Of(IpProtocol.Esp));
        Assert.Empty(world.Of(IpProtocol.Mobility));
        Assert.Single(world.Ike, h => h.Exchange == IkeExchange.IkeAuth && !h.IsResponse);
    }

    [Fact]
    [Trait("Row", "TA1.129x")]
    [Trait("Row", "TA-N18")]
    public void A_home_agent_with_a_certificate_of_another_address_gets_no_update()
    {
        var world = new TerminalWorld(agentCredential: TestAuthority.Home.Issue("2001:db8:a::dead"));

        world.Attach(Wlan, First);
        world.Run(TimeSpan.FromSeconds(20));

        Assert.NotEqual(TerminalState.Reg, world.Terminal.State);
        Assert.Equal("TA1.129x", world.Events("terminal.key_exchange_failed").First().Rule);
        Assert.Empty(world.Of(IpProtocol.Esp));
    }

    [Fact]
    [Trait("Row", "TA-N28")]
    public void A_store_that_is_taken_out_stops_the_next_key_exchange_and_not_the_registration()
    {
        var world = Registered(o => o with { KeyManagementMoves = false, BindingLifetime = TimeSpan.FromSeconds(40) });
        world.StoreThere = false;

        world.Run(TimeSpan.FromSeconds(120));
        Assert.Equal(TerminalState.Reg, world.Terminal.State);

        world.Tell(new LinkChanged(Wlan, false));
        world.Attach(Cell, Second);
        world.Run(TimeSpan.FromSeconds(5));
        Assert.NotEqual(TerminalState.Reg, world.Terminal.State);
        Assert.NotEmpty(world.Events("terminal.credentials_missing"));
        Assert.Equal(2, world.Ike.Count(h => h.Exchange == IkeExchange.IkeSaInit));
    }

    [Fact]
    [Trait("Row", "TA-N28")]
    public void A_store_that_is_not_there_at_the_start_stops_everything_behind_it()
    {
        var world = new TerminalWorld { StoreThere = false };

        world.Attach(Wlan, First);
        world.Run(TimeSpan.FromSeconds(30));

        Assert.Equal(TerminalState.Dev, world.Terminal.State);
        Assert.InRange(world.Effects.OfType<OpenCredentials>().Count(), 2, 8);
        Assert.Empty(world.Ike);

        world.StoreThere = true;
        world.Run(TimeSpan.FromSeconds(15));
        Assert.Equal(TerminalState.Reg, world.Terminal.State);
    }

    [Fact]
    public void A_lost_prefix_ends_the_home_address_and_the_associations()
    {
        var world = Registered();
        var home = world.Terminal.HomeAddress!;

        world.Delegation.Approved.Clear();
        world.Delegation.Identities.Clear();
        world.Run(TimeSpan.FromSeconds(1400));

        Assert.Equal(TerminalState.Cert, world.Terminal.State);
        Assert.Null(world.Terminal.HomeAddress);
        Assert.Empty(world.Terminal.Associations);
        Assert.Null(world.Effects.OfType<ConfigureHostSide>().Last().HomeAddress);
        world.Send(home, Peer);
        Assert.Equal(1, world.Count("terminal.host.foreign_source"));
    }

    [Fact]
    public void The_care_of_address_serves_the_control_plane_and_leaves_as_it_is()
    {
        var world = Registered();
        var careOf = world.Terminal.CareOfAddress!;

        world.Send(careOf, Peer);
        world.ToTerminal(Udp(Peer, careOf, 80, 5000, [1]));
        world.Run(TimeSpan.FromSeconds(1));

        Assert.Single(world.Crossed, c => c.Up && new IPAddress(c.Packet.AsSpan(24, 16)).Equals(Peer));
        Assert.Equal(careOf, new IPAddress(Assert.Single(world.ToApplications).AsSpan(24, 16)));
        var shown = world.Effects.OfType<ConfigureHostSide>().Last();
        Assert.Equal((world.Terminal.HomeAddress, careOf), (shown.HomeAddress, shown.CareOfAddress));
    }
}
