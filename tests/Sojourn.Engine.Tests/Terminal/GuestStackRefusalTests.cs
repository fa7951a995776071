using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.Terminal;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;
using static Sojourn.Engine.Tests.Terminal.GuestStackTests;
using static Sojourn.Engine.Tests.Terminal.TerminalWorld;

namespace Sojourn.Engine.Tests.Terminal;

/// <summary>What the guest stack discards: one counter, nothing else changes (spec terminal 8.2).</summary>
public class GuestStackRefusalTests
{
    private static readonly IPAddress s_stranger = IPAddress.Parse("2001:db8:bad::1");

    /// <summary>Delivers a packet that must change nothing but this counter.</summary>
    private static void Refused(TerminalWorld world, string counter, byte[] packet, int times = 1)
    {
        var (terminal, before, heard) = (world.Terminal, world.Count(counter), world.ToApplications.Count);
        var state = State(terminal);
        world.ToTerminal(packet);
        world.Run(TimeSpan.FromMilliseconds(100));
        Assert.Equal(before + times, world.Count(counter));
        Assert.Equal(state, State(terminal));
        Assert.Equal(heard, world.ToApplications.Count);

        static string State(TerminalNode terminal) => string.Join('\n', [
            terminal.State, .. terminal.BindingUpdateList, .. terminal.Tables.Tunnels, .. terminal.Tables.Correspondents, terminal.Tables.HostHome, terminal.Tables.HostVirtual, terminal.Translations.Count]);
    }

    private static byte[] Acknowledgement(TerminalWorld world, ushort sequence = 1, IPAddress? home = null) => new MobileIpv6Packet
    {
        Source = Agent,
        Destination = world.Terminal.CareOfAddress!,
        RoutingHomeAddress = home ?? world.Terminal.HomeAddress,
        Protocol = IpProtocol.Mobility,
        Payload = new BindingAcknowledgement { Status = BindingStatus.Accepted, SequenceNumber = sequence, Lifetime = 100 }.ToArray(Agent, home ?? world.Terminal.HomeAddress!),
    }.ToArray();

    private static byte[] ToHome(TerminalWorld world) => Udp(Peer, world.Terminal.HomeAddress!, 5000, 5000, [1, 2, 3]);

    private static byte[] Tunnelled(TerminalWorld world, byte[] inner, IPAddress? source = null) => Ipv6Tunnel.Encapsulate(inner, source ?? Agent, world.Terminal.CareOfAddress!, 64);

    private static byte[] Routed(TerminalWorld world, Action<byte[]> change)
    {
        var user = ToHome(world);
        var packet = new MobileIpv6Packet { Source = Peer, Destination = world.Terminal.CareOfAddress!, RoutingHomeAddress = world.Terminal.HomeAddress, Protocol = IpProtocol.Udp, Payload = user[40..] }.ToArray();
        change(packet);
        return packet;
    }

    [Fact]
    [Trait("Row", "TM-NC01")]
    public void A_binding_that_is_refused_leaves_no_tunnel()
    {
        // No prefix of the home agent holds this home address: status 132.
        var world = new TerminalWorld(o => o with { Home = new FixedHome(IPAddress.Parse("2001:db8:a:77::77"), IPNetwork.Parse("2001:db8:a:77::/64")), PrefixRequest = null, HomeAgent = Agent });
        world.Attach(Wlan, "2001:db8:f:1::/64");
        world.Run(TimeSpan.FromSeconds(4));

        Assert.Equal(1, world.Count(GuestCounters.StatusRefused));
        Assert.Empty(world.Terminal.Tables.Tunnels);
        Assert.Null(world.Terminal.Tables.HostHome);
        Assert.NotEqual(TerminalState.Reg, world.Terminal.State);
        Assert.Equal($"BUP to SA: {Agent} refuses 2001:db8:a:77::77: NotHomeSubnet", world.Steps[^1]);

        // It asks again by itself: what was amiss may be mended.
        world.Run(TimeSpan.FromSeconds(40));
        Assert.Equal(4, world.Count(GuestCounters.StatusRefused));
    }

    [Fact]
    [Trait("Row", "TM-S3")]
    public void An_acknowledgement_without_the_AH_that_its_association_asks_for_is_refused()
    {
        var home = IPAddress.Parse("2001:db8:a:7::77");
        SaParameters OneWay(uint spi, IPAddress source, IPAddress destination) => new()
        {
            Spi = spi,
            Source = source,
            Destination = destination,
            Algorithm = IpsecAlgorithm.HmacSha256,
            Keys = new AssociationKeys(new KeyMaterial([]), new KeyMaterial(new byte[32])),
            StaticKeys = true,
        };
        var preset = new ChildSa(-1, 0, "ah", "ah", ChildMode.Transport, [TrafficSelector.Of(home)], [TrafficSelector.Of(Agent)], OneWay(0x1102, Agent, home), OneWay(0x1101, home, Agent), null);
        var world = new TerminalWorld(o => o with { Home = new FixedHome(home, IPNetwork.Parse("2001:db8:a:7::/64")), PrefixRequest = null, HomeAgent = Agent, AuthenticationHeaders = [preset] });
        world.Attach(Wlan, "2001:db8:f:1::/64");
        world.Run(TimeSpan.FromSeconds(4));

        // The home agent has bound and answered under ESP.
        Assert.NotNull(world.Binding);
        Assert.True(world.Count(GuestCounters.PolicyMismatch) > 0);
        Assert.Empty(world.Terminal.Tables.Tunnels);
        Assert.NotEqual(TerminalState.Reg, world.Terminal.State);
    }

    [Fact]
    [Trait("Row", "TM-NC02")]
    [Trait("Row", "TM-NC03")]
    [Trait("Row", "TM-R32")]
    public void ESP_of_no_association_or_with_a_wrong_check_value_or_again_is_discarded()
    {
        var world = Registered();
        var real = world.Crossed.Last(c => !c.Up && TerminalWorld.UpperOf(c.Packet).Protocol == IpProtocol.Esp).Packet;
        var (unknown, broken) = (real.ToArray(), real.ToArray());
        unknown[UpperOf(real).Offset] ^= 0x55;
        broken[^1] ^= 1;
        broken[UpperOf(real).Offset + 7]++;

        Refused(world, GuestCounters.IpsecFailed, real);
        Refused(world, GuestCounters.IpsecFailed, broken);
        unknown = Without(unknown);
        Refused(world, GuestCounters.NoAssociationIn, unknown);

        // Behind its routing header an unknown association is refused as well.
        real[UpperOf(real).Offset] ^= 0x55;
        Refused(world, GuestCounters.NoAssociationIn, real);

        static byte[] Without(byte[] packet) => [.. packet[..4], (byte)((packet.Length - 64) >> 8), (byte)(packet.Length - 64), IpProtocol.Esp, .. packet[7..40], .. packet[64..]];
    }

    [Fact]
    [Trait("Row", "TM-NC04")]
    [Trait("Row", "TM-R33")]
    [Trait("Row", "TM-R36")]
    public void An_acknowledgement_in_clear_does_not_meet_the_policy()
    {
        var world = Registered();
        Refused(world, GuestCounters.PolicyMismatch, Acknowledgement(world));
    }

    [Fact]
    [Trait("Row", "TM-NC06")]
    [Trait("Row", "TM-R67")]
    public void Only_the_home_agent_tunnels()
    {
        var world = Registered();
        Refused(world, GuestCounters.TunnelSourceBad, Tunnelled(world, ToHome(world), s_stranger));
    }

    [Fact]
    [Trait("Row", "TM-NC08")]
    [Trait("Row", "TM-R30")]
    [Trait("Row", "TM-R62")]
    [Trait("Row", "TM-R70")]
    [Trait("Row", "TM-S12")]
    public void A_routing_header_that_is_not_ours_is_refused_in_front_of_data_and_of_an_acknowledgement()
    {
        var world = Registered();
        Refused(world, GuestCounters.HomeAddressBad, Routed(world, p => p[63] ^= 1));
        Refused(world, GuestCounters.HomeAddressBad, Routed(world, p => p[43] = 0));
        Refused(world, GuestCounters.HomeAddressBad, Routed(world, p => p[43] = 2));
        Refused(world, GuestCounters.HomeAddressBad, Routed(world, p => p[42] = 0));
        Refused(world, GuestCounters.RoutingHeaderBad, Acknowledgement(world, home: IPAddress.Parse("2001:db8:a::dead")));
        foreach (var left in new byte[] { 0, 2 })
        {
            var acknowledgement = Acknowledgement(world);
            acknowledgement[43] = left;
            Refused(world, GuestCounters.RoutingHeaderBad, acknowledgement);
        }

        world.ToTerminal(Routed(world, _ => { }));
        world.Run(TimeSpan.FromMilliseconds(100));
        Assert.Equal(ToHome(world), Assert.Single(world.ToApplications));
    }

    [Fact]
    [Trait("Row", "TM-NC09")]
    public void While_no_number_of_the_home_agent_is_valid_its_acknowledgement_chooses_nothing()
    {
        var world = new TerminalWorld(o => o with { Scenarios = [10011] });
        world.Attach(Wlan, "2001:db8:f:1::/64");
        world.Run(TimeSpan.FromSeconds(3));

        Assert.True(world.Count(GuestCounters.ScenarioNotValid) > 0);
        Assert.Equal(TerminalState.Bup, world.Terminal.State);
        Assert.Empty(world.Terminal.Tables.Tunnels);
        Assert.NotNull(world.Binding);

        // The update is sent again; once a number is valid its answer counts.
        world.Tell(new SetScenario(10010, true));
        world.Run(TimeSpan.FromSeconds(10));
        Assert.Equal(TerminalState.Reg, world.Terminal.State);
        Assert.Single(world.Terminal.Tables.Tunnels);
    }

    [Fact]
    [Trait("Row", "TM-NC17")]
    public void A_datagram_to_a_scenario_number_is_a_datagram()
    {
        var world = Registered();
        var (runs, before) = (world.Events("scenario.run").Count(), world.ToApplications.Count);
        foreach (ushort port in new[] { 10000, 10012, 10023 })
        {
            world.ToTerminal(Udp(Peer, world.Terminal.CareOfAddress!, port, port, Acknowledgement(world)));
            world.ToTerminal(Tunnelled(world, Udp(Peer, world.Terminal.HomeAddress!, port, port, Acknowledgement(world))));
        }

        world.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(before + 6, world.ToApplications.Count);
        Assert.Equal(runs, world.Events("scenario.run").Count());
    }

    [Fact]
    [Trait("Row", "TM-NC18")]
    public void An_acknowledgement_with_another_sequence_number_is_nobodys_answer()
    {
        var world = Laboratory(10001);
        Refused(world, GuestCounters.SequenceOrCookieBad, Acknowledgement(world, sequence: 7));

        // While one is outstanding, too.
        world.Loses = packet => packet[6] == IpProtocol.Routing;
        world.Tell(new LinkChanged(Wlan, false));
        world.Attach(Cell, "2001:db8:f:2::/64");
        world.Run(TimeSpan.FromMilliseconds(200));
        Assert.Equal(TerminalState.Bup, world.Terminal.State);
        world.Loses = _ => false;
        var sent = world.Terminal.HomeRegistration!.SequenceNumber;
        var before = world.Count(GuestCounters.SequenceOrCookieBad);
        world.ToTerminal(Acknowledgement(world, sequence: (ushort)(sent - 5)));
        world.Run(TimeSpan.FromMilliseconds(50));
        Assert.Equal(before + 1, world.Count(GuestCounters.SequenceOrCookieBad));
    }

    [Fact]
    [Trait("Row", "TM-NC20")]
    [Trait("Row", "TM-R71")]
    [Trait("Row", "TM-A-20")]
    public void Tunnels_inside_one_another_end_at_the_fourth_and_a_users_own_tunnel_is_his()
    {
        var world = Registered();
        var packet = ToHome(world);
        for (var level = 0; level < 4; level++)
        {
            packet = Tunnelled(world, packet);
        }

        world.ToTerminal(packet);
        world.Run(TimeSpan.FromMilliseconds(100));
        Assert.Equal(ToHome(world), Assert.Single(world.ToApplications));
        Refused(world, GuestCounters.NestLimit, Tunnelled(world, packet));

        //
        var own = Ipv6Tunnel.Encapsulate(ToHome(world), s_stranger, world.Terminal.HomeAddress!, 64);
        world.ToTerminal(Tunnelled(world, own));
        world.Run(TimeSpan.FromMilliseconds(100));
        Assert.Equal(own, world.ToApplications[^1]);
    }

    [Fact]
    [Trait("Row", "TM-NC13")]
    [Trait("Row", "TM-A-16")]
    public void What_comes_out_of_the_tunnel_for_somebody_else_reaches_nobody()
    {
        var elsewhere = Udp(Peer, IPAddress.Parse("2001:db8:a::beef"), 5000, 5000, [1]);
        var world = Registered();
        Refused(world, "terminal.tunnel.refused", Tunnelled(world, elsewhere));

        var translated = Registered(o => o with { Scenarios = [10010, 10011] });
        Refused(translated, GuestCounters.DestinationUnknown, Tunnelled(translated, elsewhere));
    }

    [Fact]
    [Trait("Row", "TM-NC27")]
    public void A_mobility_header_that_cannot_be_read_is_counted()
    {
        var world = Registered();
        var (wrongSum, wrongLength, reserved) = (Acknowledgement(world), Acknowledgement(world), Acknowledgement(world));
        wrongSum[69] ^= 1;
        wrongLength[65] = 40;
        reserved[66] = 200;
        var sum = MobilityMessage.ChecksumIsRight(reserved.AsSpan(64), Agent, world.Terminal.HomeAddress!);
        Assert.False(sum);

        Refused(world, GuestCounters.MalformedMobility, wrongSum);
        Refused(world, GuestCounters.MalformedMobility, wrongLength);
        Refused(world, GuestCounters.MalformedMobility, reserved);
        var unknown = new MobileIpv6Packet { Source = Agent, Destination = world.Terminal.CareOfAddress!, Protocol = IpProtocol.Mobility, Payload = Reserved(world.Terminal.CareOfAddress!) }.ToArray();
        Refused(world, GuestCounters.MalformedMobility, unknown);

        static byte[] Reserved(IPAddress destination)
        {
            byte[] header = [59, 0, 200, 0, 0, 0, 0, 0];
            var sum = InternetChecksum.Finish(InternetChecksum.Add(InternetChecksum.PseudoHeader(Agent.GetAddressBytes(), destination.GetAddressBytes(), IpProtocol.Mobility, header.Length), header));
            (header[4], header[5]) = ((byte)(sum >> 8), (byte)sum);
            return header;
        }
    }
}
