using System.Net;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;
using static Sojourn.Engine.Tests.Terminal.TerminalWorld;

namespace Sojourn.Engine.Tests.Terminal;

/// <summary>Embodiment 6 as octets between a terminal, anchor points and the engines of its home: HMIPv6 in the guest, Mobile IPv6 in the host.</summary>
public class TerminalAnchorTests
{
    private const string First = "2001:db8:f:1::/64", Second = "2001:db8:f:2::/64";

    private static readonly IPAddress s_map = IPAddress.Parse("2001:db8:3b::1"), s_other = IPAddress.Parse("2001:db8:3a::1"), s_home = IPAddress.Parse("2001:db8:a:7::77");
    private static readonly IPAddress s_regional = IPAddress.Parse("2001:db8:3b::ff:fe00:11"), s_regionalOther = IPAddress.Parse("2001:db8:3a::ff:fe00:12");
    private static readonly IPAddress s_first = IPAddress.Parse("2001:db8:f:1::ff:fe00:11"), s_second = IPAddress.Parse("2001:db8:f:2::ff:fe00:12");

    private static TerminalWorld Anchored(int bits, bool modeBits = true, bool data = false, Func<TerminalOptions, TerminalOptions>? change = null, Func<byte[], bool>? loses = null)
    {
        var world = new TerminalWorld(
            o =>
            {
                var options = o with
                {
                    Home = new FixedHome(s_home, IPNetwork.Parse("2001:db8:a:7::/64")),
                    PrefixRequest = null,
                    HomeAgent = Agent,
                    Scenarios = [10021, 10022, 10023],
                    AnchorPoints = new TerminalAnchorOptions { ModeBits = modeBits, Associations = [TerminalAnchor.Of(s_map, data), TerminalAnchor.Of(s_other, data)] },
                };
                return change?.Invoke(options) ?? options;
            },
            agent: o => o with { ForeignCareOfAddresses = true });
        _ = new TerminalAnchor(world, s_map, s_regional, data);
        _ = new TerminalAnchor(world, s_other, s_regionalOther, data);
        world.Loses = loses ?? world.Loses;
        Advertise(world, s_map, bits);
        world.Attach(Wlan, First);
        world.Run(TimeSpan.FromSeconds(8));
        return world;
    }

    private static void Advertise(TerminalWorld world, IPAddress anchor, int bits, uint valid = 3600)
    {
        world.Advertised.Clear();
        world.Advertised.Add(new MobilityAnchorPointOption(1, 10, (byte)(MobilityAnchorPointOption.RegionalFlag | bits), valid, anchor));
    }

    private static void Move(TerminalWorld world)
    {
        world.Tell(new LinkChanged(Wlan, false));
        world.Run(TimeSpan.FromMilliseconds(50));
        world.Attach(Cell, Second);
        world.Run(TimeSpan.FromSeconds(3));
    }

    private static string Ends(byte[] packet)
    {
        var ends = "";
        while (true)
        {
            ends += $"{new IPAddress(packet.AsSpan(8, 16))} > {new IPAddress(packet.AsSpan(24, 16))}";
            if (packet[6] != IpProtocol.IPv6)
            {
                return ends;
            }

            (packet, ends) = (packet[IPv6Header.Length..], ends + " | ");
        }
    }

    /// <summary>What goes under the home agent's transport association: headers with Home Address option or routing header before ESP, inside of tunnels.</summary>
    private static List<string> HomeSignals(TerminalWorld world, bool up, DateTimeOffset since) =>
        [.. world.Crossed.Where(c => c.Up == up && c.At >= since && IsHomeSignal(c.Packet)).Select(c => Ends(c.Packet))];

    private static bool IsHomeSignal(byte[] packet)
    {
        while (packet[6] == IpProtocol.IPv6)
        {
            packet = packet[IPv6Header.Length..];
        }

        return UpperOf(packet).Protocol == IpProtocol.Esp && MobileIpv6Packet.TryParse(packet, out var read, out _) && s_home.Equals(read.HomeAddress ?? read.RoutingHomeAddress);
    }

    private static void Exchange(TerminalWorld world)
    {
        var (peer, applications) = (world.ToPeer.Count, world.ToApplications.Count);
        world.Send(s_home, Peer);
        world.Run(TimeSpan.FromSeconds(1));
        world.Answer();
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Equal((peer + 1, applications + 1), (world.ToPeer.Count, world.ToApplications.Count));
    }

    private static List<string> Carried(TerminalWorld world, bool up, DateTimeOffset since) =>
        [.. world.Crossed.Where(c => c.Up == up && c.At >= since).Select(c => Ends(c.Packet)).Where(e => e.EndsWith(up ? $"{s_home} > {Peer}" : $"{Peer} > {s_home}", StringComparison.Ordinal))];

    [Theory]
    [InlineData(MobilityAnchorPointOption.ModeV, 1)]
    [InlineData(MobilityAnchorPointOption.ModeV | MobilityAnchorPointOption.ModeP, 1)]
    [InlineData(MobilityAnchorPointOption.ModeP, 2)]
    [InlineData(MobilityAnchorPointOption.ModeI, 2)]
    [InlineData(0, 3)]
    [Trait("Row", "TM-A-24")]
    [Trait("Row", "TM-R4")]
    public void The_bits_of_the_option_choose_the_program_and_the_way(int bits, int type)
    {
        var world = Anchored(bits);
        Assert.Equal(TerminalState.Reg, world.Terminal.State);
        var run = Assert.Single(world.Events("scenario.run"));
        Assert.StartsWith($"{10020 + type}: ", run.Text, StringComparison.Ordinal);
        Assert.Equal(new AnchorRegistration((AnchorMode)type, s_map, s_first, s_regional), world.Terminal.AnchorAtHost);
        Assert.Equal(s_first, Assert.Single(world.Anchors[0].Bindings).CareOfAddress);
        Assert.Equal(s_regional, world.Binding!.CareOfAddress);

        var since = DateTimeOffset.MinValue;
        var (up, down) = type switch
        {
            1 => ($"{s_first} > {s_map} | {s_regional} > {Agent}", $"{s_map} > {s_first} | {Agent} > {s_regional}"),
            2 => ($"{s_regional} > {Agent}", $"{s_map} > {s_first} | {Agent} > {s_regional}"),
            _ => ($"{s_first} > {Agent}", $"{Agent} > {s_first}"),
        };
        Assert.Equal([up], HomeSignals(world, true, since).Distinct());
        Assert.Equal([down], HomeSignals(world, false, since).Distinct());

        since = world.Now;
        Exchange(world);
        Assert.Equal([type == 1 ? $"{s_first} > {s_map} | {s_regional} > {Agent} | {s_home} > {Peer}" : $"{s_regional} > {Agent} | {s_home} > {Peer}"], Carried(world, true, since));
        Assert.Equal([$"{s_map} > {s_first} | {Agent} > {s_regional} | {Peer} > {s_home}"], Carried(world, false, since));
        Assert.Contains(world.Effects.OfType<ConfigureHostSide>(), s => s_home.Equals(s.HomeAddress) && s_regional.Equals(s.RegionalAddress));
    }

    [Fact]
    [Trait("Row", "TM-S5")]
    public void Without_the_switch_the_bits_mean_nothing_and_everything_takes_the_tunnel()
    {
        var world = Anchored(MobilityAnchorPointOption.ModeP, modeBits: false);
        Assert.StartsWith("10021: ", Assert.Single(world.Events("scenario.run")).Text, StringComparison.Ordinal);
        Exchange(world);
    }

    [Theory]
    [InlineData(MobilityAnchorPointOption.ModeP)]
    [InlineData(0)]
    [Trait("Row", "TM-S5")]
    public void Where_a_network_filters_sources_the_terminal_goes_back_to_the_tunnel(int bits)
    {
        // Type 2 leaves from an address that is not of the link. Of type 3 the update is, and its answer gets lost.
        var world = Anchored(bits, loses: p => bits != 0 ? new IPAddress(p.AsSpan(8, 16)).Equals(s_regional) : new IPAddress(p.AsSpan(8, 16)).Equals(Agent) && new IPAddress(p.AsSpan(24, 16)).Equals(s_first));
        world.Run(TimeSpan.FromSeconds(8));
        Assert.Equal(s_regional, world.Binding!.CareOfAddress);
        Assert.Equal(TerminalState.Reg, world.Terminal.State);
        Assert.Single(world.Events("anchor.direct_failed"));
        Exchange(world);

        Move(world);
        Assert.Equal(AnchorMode.Tunnelled, world.Terminal.AnchorAtHost!.Mode);
        Exchange(world);
    }

    [Theory]
    [InlineData(MobilityAnchorPointOption.ModeV)]
    [InlineData(MobilityAnchorPointOption.ModeP)]
    [InlineData(0)]
    [Trait("Row", "TM6.9")]
    [Trait("Row", "TM-R24")]
    public void A_move_below_the_anchor_point_is_told_to_it_alone(int bits)
    {
        var world = Anchored(bits);
        var (told, since) = (world.Events("anchor.host_told").Count(), world.Now);
        Move(world);
        Assert.Equal(s_second, Assert.Single(world.Anchors[0].Bindings).CareOfAddress);
        Assert.Empty(HomeSignals(world, true, since));
        Assert.Equal(told, world.Events("anchor.host_told").Count());
        Assert.Equal(2, world.Events("scenario.run").Count());
        Exchange(world);
    }

    [Fact]
    [Trait("Row", "TM-A-27")]
    [Trait("Row", "TM-A-55")]
    public void Another_type_has_the_home_agent_told_anew_from_where_the_terminal_is_now()
    {
        var world = Anchored(0);
        Move(world);
        var since = world.Now;
        Advertise(world, s_map, MobilityAnchorPointOption.ModeV);
        world.Tell(new LinkChanged(Cell, false));
        world.Run(TimeSpan.FromMilliseconds(50));
        world.Attach(Wlan, First);
        world.Run(TimeSpan.FromSeconds(3));
        Assert.Equal($"{s_first} > {s_map} | {s_regional} > {Agent}", Assert.Single(HomeSignals(world, true, since)));
        Assert.Equal(AnchorMode.Tunnelled, world.Terminal.AnchorAtHost!.Mode);
        Exchange(world);
    }

    [Fact]
    [Trait("Row", "TM6.51")]
    public void A_move_to_another_anchor_point_gives_another_regional_address_and_is_told_at_home()
    {
        var world = Anchored(MobilityAnchorPointOption.ModeV);
        Advertise(world, s_other, MobilityAnchorPointOption.ModeV);
        Move(world);
        Assert.Equal(s_regionalOther, world.Binding!.CareOfAddress);
        Assert.Equal(2, world.Events("anchor.host_told").Count());
        Exchange(world);
    }

    [Fact]
    [Trait("Row", "TM-NC22")]
    [Trait("Row", "TM-A-54")]
    public void Where_no_anchor_point_is_advertised_any_more_the_terminal_is_one_of_plain_mobile_ipv6()
    {
        var world = Anchored(MobilityAnchorPointOption.ModeV, change: o => o with { Scenarios = [10012, 10021] });
        world.Advertised.Clear();
        Move(world);
        Assert.Equal(s_second, world.Binding!.CareOfAddress);
        Assert.Null(world.Terminal.AnchorAtHost);
        Assert.StartsWith("10012: ", world.Events("scenario.run").Last().Text, StringComparison.Ordinal);
        Exchange(world);
    }

    [Fact]
    [Trait("Row", "TM6.52")]
    [Trait("Row", "TM-R93")]
    public void Each_level_has_associations_of_its_own()
    {
        var world = Anchored(MobilityAnchorPointOption.ModeV, data: true, change: o => o with { DataPolicy = [new DataPolicyEntry(IPNetwork.Parse("::/0"), DataTreatment.Protect)] });
        world.KeepsMobileHeader = false;
        Exchange(world);
        Assert.Empty(Carried(world, true, DateTimeOffset.MinValue));
        Assert.Equal(4, world.Terminal.AssociationUses.Count());
        Assert.All(world.Terminal.AssociationUses, use => Assert.True(use.PacketsIn > 0 && use.PacketsOut > 0, use.Child.Name));
    }

    [Fact]
    public void What_is_to_come_under_esp_of_the_anchor_point_is_not_taken_in_clear()
    {
        var world = Anchored(MobilityAnchorPointOption.ModeV, data: true);
        var user = Udp(Peer, s_home, 5000, 5000, new byte[8]);
        var inner = Engine.Ipsec.Ipv6Tunnel.Encapsulate(user, Agent, s_regional, 64);
        world.ToTerminal(Wlan, Engine.Ipsec.Ipv6Tunnel.Encapsulate(inner, s_map, s_first, 64));
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Empty(world.ToApplications);
        Assert.Equal(1, world.Count(GuestCounters.TunnelSourceBad));
        Exchange(world);
    }

    [Fact]
    [Trait("Row", "TM-R105")]
    public void Through_the_tunnel_comes_only_what_the_bound_on_link_address_sends()
    {
        var world = Anchored(MobilityAnchorPointOption.ModeV);
        var reached = world.ReachedHome.Count;
        var inner = Udp(s_regional, Agent, 5000, 5000, new byte[8]);
        world.Anchors[0].FromTerminal(Engine.Ipsec.Ipv6Tunnel.Encapsulate(inner, s_second, s_map, 64));
        Assert.Equal(reached, world.ReachedHome.Count);
        Assert.Equal(1, world.Anchors[0].Drops["map.reverse_tunnel_bad"]);
        world.Anchors[0].FromTerminal(Engine.Ipsec.Ipv6Tunnel.Encapsulate(inner, s_first, s_map, 64));
        Assert.Equal(reached + 1, world.ReachedHome.Count);
    }

    [Fact]
    [Trait("Row", "TM-R105")]
    public void An_update_in_clear_is_not_taken()
    {
        var world = Anchored(MobilityAnchorPointOption.ModeV);
        var update = new BindingUpdate { SequenceNumber = 0x7000, Flags = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.MobilityAnchorPoint, Lifetime = 100 };
        world.Anchors[0].FromTerminal(new MobileIpv6Packet { Source = s_second, Destination = s_map, HomeAddress = s_regional, Protocol = IpProtocol.Mobility, Payload = update.ToArray(s_regional, s_map) }.ToArray());
        Assert.Equal(s_first, Assert.Single(world.Anchors[0].Bindings).CareOfAddress);
        Assert.Equal(1, world.Anchors[0].Counters["hmip6.map.discarded.unprotected"]);
    }

    [Fact]
    [Trait("Row", "TM-SP6")]
    [Trait("Row", "TM-A-51")]
    public void Where_both_ends_say_so_the_registration_goes_without_esp()
    {
        var map = IPAddress.Parse("2001:db8:3c::1");
        var regional = IPAddress.Parse("2001:db8:3c::ff:fe00:12");
        var world = Anchored(MobilityAnchorPointOption.ModeV, change: o => o with { AnchorPoints = o.AnchorPoints! with { Unprotected = [map] } });
        var anchor = new TerminalAnchor(world, map, regional: null, data: false, new IPNetwork(regional, 128));
        Advertise(world, map, MobilityAnchorPointOption.ModeV);
        var since = world.Now;
        Move(world);
        Assert.Equal(s_second, Assert.Single(anchor.Bindings).CareOfAddress);
        Assert.Equal(regional, world.Binding!.CareOfAddress);
        Assert.Contains(world.Crossed, c => c.Up && c.At >= since && Ends(c.Packet) == $"{s_second} > {map}" && UpperOf(c.Packet).Protocol == IpProtocol.Mobility);
        Assert.Contains(world.Crossed, c => !c.Up && c.At >= since && Ends(c.Packet) == $"{map} > {s_second}" && UpperOf(c.Packet).Protocol == IpProtocol.Mobility);
        Exchange(world);
    }

    [Fact]
    [Trait("Row", "TM-SP6")]
    [Trait("Row", "TM-A-51")]
    public void An_anchor_point_that_was_not_told_to_takes_no_registration_without_esp()
    {
        var map = IPAddress.Parse("2001:db8:3c::1");
        var world = Anchored(MobilityAnchorPointOption.ModeV, change: o => o with { AnchorPoints = o.AnchorPoints! with { Unprotected = [map] } });
        var anchor = new TerminalAnchor(world, map, regional: null, data: false, IPNetwork.Parse("2001:db8:3c::7/128"));
        Advertise(world, map, MobilityAnchorPointOption.ModeV);
        Move(world);
        Assert.Empty(anchor.Bindings);
        Assert.True(anchor.Counters["hmip6.map.discarded.unprotected"] > 0);
    }

    [Fact]
    public void An_anchor_point_that_does_not_answer_is_done_without_until_the_terminal_moves()
    {
        var silent = true;
        var world = Anchored(MobilityAnchorPointOption.ModeV, change: o => o with { Scenarios = [10012, 10021] }, loses: p => silent && new IPAddress(p.AsSpan(24, 16)).Equals(s_map));
        world.Run(TimeSpan.FromSeconds(4));
        Assert.Equal(s_first, world.Binding!.CareOfAddress);
        Assert.StartsWith("10012: ", world.Events("scenario.run").Last().Text, StringComparison.Ordinal);
        Assert.Single(world.Events("anchor.given_up"));
        Exchange(world);

        silent = false;
        world.Run(TimeSpan.FromMinutes(2));
        Assert.Equal(s_first, world.Binding!.CareOfAddress);
        world.Tell(new LinkChanged(Wlan, false));
        world.Run(TimeSpan.FromMilliseconds(50));
        world.Attach(Wlan, Second);
        world.Run(TimeSpan.FromSeconds(3));
        Assert.Equal(s_regional, world.Binding!.CareOfAddress);
        Exchange(world);
    }

    [Fact]
    public void In_place_of_a_silent_anchor_point_another_one_that_is_advertised_is_taken()
    {
        var world = Anchored(MobilityAnchorPointOption.ModeV);
        world.Loses = p => new IPAddress(p.AsSpan(24, 16)).Equals(s_map);
        world.Advertised.Add(new MobilityAnchorPointOption(2, 10, MobilityAnchorPointOption.RegionalFlag | MobilityAnchorPointOption.ModeV, 3600, s_other));
        Move(world);
        Assert.Equal(s_map, world.Terminal.LocalRegistration!.Peer);
        world.Run(TimeSpan.FromSeconds(12));
        Assert.Single(world.Events("anchor.given_up"));
        Assert.Equal(s_regionalOther, world.Binding!.CareOfAddress);
        Exchange(world);
    }

    [Fact]
    [Trait("Row", "TM-A-28")]
    public void On_its_way_to_the_host_part_the_acknowledgement_has_the_type_as_experimental_option()
    {
        var answer = new MobileIpv6Packet
        {
            Source = s_map,
            Destination = s_first,
            RoutingHomeAddress = s_regional,
            Protocol = IpProtocol.Mobility,
            Payload = new BindingAcknowledgement { Status = BindingStatus.Accepted, SequenceNumber = 7, Lifetime = 10 }.ToArray(s_map, s_regional),
        }.ToArray();
        var marked = HostTrigger.Write(answer, AnchorMode.DirectUpdate);
        Assert.True(MobileIpv6Packet.TryParse(marked, out var packet, out _));
        Assert.True(MobilityMessage.TryParse(packet.Payload.Span, out var message, out _));
        var option = Assert.IsType<UnknownMobilityOption>(Assert.Single(Assert.IsType<BindingAcknowledgement>(message).Options));
        Assert.Equal((18, "0102"), (option.Type, option.Data.ToString()));
        Assert.Equal(new AnchorRegistration(AnchorMode.DirectUpdate, s_map, s_first, s_regional), HostTrigger.Read(marked));
        Assert.Null(HostTrigger.Read(answer));
    }

    [Fact]
    [Trait("Row", "TM-NC21")]
    [Trait("Row", "TM-R23")]
    public void An_acknowledgement_without_our_regional_address_or_without_ipsec_changes_nothing()
    {
        var world = Anchored(MobilityAnchorPointOption.ModeV);
        var before = world.Terminal.LocalRegistration;
        byte[] Forged(IPAddress? routing) => new MobileIpv6Packet
        {
            Source = s_map,
            Destination = s_first,
            RoutingHomeAddress = routing,
            Protocol = IpProtocol.Mobility,
            Payload = new BindingAcknowledgement { Status = BindingStatus.InsufficientResources, SequenceNumber = before!.SequenceNumber, Lifetime = 0 }.ToArray(s_map, routing ?? s_first),
        }.ToArray();
        world.ToTerminal(Wlan, Forged(null));
        Assert.Equal(1, world.Count(GuestCounters.AnchorInfoFailed));
        world.ToTerminal(Wlan, Forged(s_regional));
        Assert.Equal(1, world.Count(GuestCounters.PolicyMismatch));
        world.ToTerminal(Wlan, Forged(s_regionalOther));
        Assert.Equal(1, world.Count(GuestCounters.RoutingHeaderBad));
        Assert.Equal(before, world.Terminal.LocalRegistration);
        Exchange(world);
    }

    [Fact]
    [Trait("Row", "TM-A-4")]
    public void A_registration_type_that_is_not_valid_is_discarded_and_home_hears_nothing()
    {
        var world = Anchored(MobilityAnchorPointOption.ModeP, change: o => o with { Scenarios = [10012, 10013, 10021] });
        Assert.True(world.Count(GuestCounters.ScenarioNotValid) > 0);
        Assert.Null(world.Binding);
        world.Tell(new SetScenario(10022, true));
        world.Run(TimeSpan.FromSeconds(40));
        Assert.Equal(s_regional, world.Binding!.CareOfAddress);
        Assert.True(world.Terminal.Scenarios.Entries.Where(e => e.Valid).Select(e => e.Number).SequenceEqual([10012, 10013, 10021, 10022]));
    }
}
