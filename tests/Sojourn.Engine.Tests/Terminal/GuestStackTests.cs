using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Sojourn.Wire.Udp;
using Xunit;
using static Sojourn.Engine.Tests.Terminal.TerminalWorld;

namespace Sojourn.Engine.Tests.Terminal;

/// <summary>Embodiments 1 to 4 as octets between a terminal, the engines of its home and a correspondent.</summary>
public class GuestStackTests
{
    private const string First = "2001:db8:f:1::/64", Second = "2001:db8:f:2::/64";

    private static readonly IPAddress s_host4 = IPAddress.Parse("198.18.0.1");
    private static readonly IPNetwork s_everybody = IPNetwork.Parse("::/0");

    internal static TerminalWorld Registered(Func<TerminalOptions, TerminalOptions>? change = null)
    {
        var world = new TerminalWorld(change);
        return Attached(world);
    }

    /// <summary>No IPsec on the signal .</summary>
    internal static TerminalWorld Laboratory(int number)
    {
        var home = new FixedHome(IPAddress.Parse("2001:db8:a:7::77"), IPNetwork.Parse("2001:db8:a:7::/64"));
        return Attached(new TerminalWorld(
            o => o with { Home = home, PrefixRequest = null, HomeAgent = Agent, Signalling = SignallingTreatment.Bypass, Scenarios = [number] }, signalling: SignallingTreatment.Bypass));
    }

    internal static TerminalWorld Attached(TerminalWorld world)
    {
        world.Attach(Wlan, First);
        world.Run(TimeSpan.FromSeconds(8));
        Assert.True(world.Terminal.State == TerminalState.Reg, string.Join('\n', world.Steps));
        return world;
    }

    internal static void Move(TerminalWorld world)
    {
        world.Tell(new LinkChanged(Wlan, false));
        world.Attach(Cell, Second);
        world.Run(TimeSpan.FromSeconds(3));
        Assert.Equal(TerminalState.Reg, world.Terminal.State);
    }

    private static TerminalOptions Protecting(TerminalOptions options) => options with { DataPolicy = [new DataPolicyEntry(s_everybody, DataTreatment.Protect)] };

    private static TerminalOptions Routing(TerminalOptions options) => options with { RouteOptimisation = [new IPNetwork(Peer, 128)], ProtectHomeTests = false };

    private static void Exchange(TerminalWorld world)
    {
        world.Send(world.Terminal.HomeAddress!, Peer);
        world.Run(TimeSpan.FromSeconds(1));
        world.Answer();
        world.Run(TimeSpan.FromSeconds(1));
    }

    private static IEnumerable<byte[]> Ups(TerminalWorld world, byte nextHeader) => world.Crossed.Where(c => c.Up && c.Packet[6] == nextHeader).Select(c => c.Packet);

    private static IEnumerable<byte[]> Downs(TerminalWorld world, byte nextHeader) => world.Crossed.Where(c => !c.Up && c.Packet[6] == nextHeader).Select(c => c.Packet);

    private static IPAddress Source(byte[] packet) => new(packet.AsSpan(8, 16));

    private static IPAddress Destination(byte[] packet) => new(packet.AsSpan(24, 16));

    internal static byte[] Udp4(IPAddress source, IPAddress destination, ReadOnlySpan<byte> payload)
    {
        var packet = new byte[IPv4Header.MinimumLength + UdpHeader.HeaderLength + payload.Length];
        payload.CopyTo(packet.AsSpan(IPv4Header.MinimumLength + UdpHeader.HeaderLength));
        UdpHeader.Write(packet.AsSpan(IPv4Header.MinimumLength), 5000, 5000);
        UdpHeader.WriteChecksum(packet.AsSpan(IPv4Header.MinimumLength), source.GetAddressBytes(), destination.GetAddressBytes());
        packet[0] = 0x45;
        packet[2] = (byte)(packet.Length >> 8);
        packet[3] = (byte)packet.Length;
        packet[8] = 64;
        packet[9] = IpProtocol.Udp;
        source.GetAddressBytes().CopyTo(packet, 12);
        destination.GetAddressBytes().CopyTo(packet, 16);
        var sum = InternetChecksum.Of(packet.AsSpan(0, IPv4Header.MinimumLength));
        packet[10] = (byte)(sum >> 8);
        packet[11] = (byte)sum;
        return packet;
    }

    [Fact]
    [Trait("Row", "TM4.1")]
    [Trait("Row", "TM4.2")]
    [Trait("Row", "TM4.3")]
    [Trait("Row", "TM-R35")]
    [Trait("Row", "TM-A-7")]
    [Trait("Row", "TM-A-19")]
    public void Embodiment_4_registers_by_10012_and_gives_the_host_its_home_address()
    {
        var world = Registered();
        var terminal = world.Terminal;

        Assert.StartsWith("10012: ", Assert.Single(world.Events("scenario.run")).Text, StringComparison.Ordinal);
        Assert.Equal(new TunnelInformation(terminal.CareOfAddress!, Agent, terminal.HomeAddress!), Assert.Single(terminal.Tables.Tunnels));
        Assert.Equal(new ConfigureHostSide(terminal.HomeAddress, terminal.CareOfAddress), world.Effects.OfType<ConfigureHostSide>().Last());
        Assert.Empty(terminal.Translations.Entries);
        Assert.Equal((Agent, BindingUpdateState.Registered), (terminal.BindingUpdateList.Single().Peer, terminal.BindingUpdateList.Single().State));

        // The host has no home address before.
        Assert.All(world.Effects.TakeWhile(e => e is not Report { Event.Kind: "scenario.run" }).OfType<ConfigureHostSide>(), side => Assert.Null(side.HomeAddress));
    }

    [Theory]
    [InlineData(10000)]
    [InlineData(10010)]
    [Trait("Row", "TM1.1")]
    [Trait("Row", "TM1.3")]
    [Trait("Row", "TM1.6")]
    [Trait("Row", "TM1.7")]
    [Trait("Row", "TM1.8")]
    [Trait("Row", "TM1.9")]
    [Trait("Row", "TM1.10")]
    [Trait("Row", "TM3.1")]
    [Trait("Row", "TM3.8")]
    [Trait("Row", "TM3.10")]
    [Trait("Row", "TM3.11")]
    [Trait("Row", "TM3.12")]
    [Trait("Row", "TM-R31")]
    [Trait("Row", "TM-A-1")]
    [Trait("Row", "TM-A-8")]
    public void Embodiments_1_and_3_give_the_host_a_virtual_address_and_keep_it_over_renewals(int number)
    {
        var world = number == 10000 ? Laboratory(number) : Registered(o => o with { Scenarios = [10010, 10011], BindingLifetime = TimeSpan.FromSeconds(60) });
        var terminal = world.Terminal;

        Assert.StartsWith($"{number}: ", world.Events("scenario.run").First().Text, StringComparison.Ordinal);
        Assert.Equal(new ConfigureHostSide(null, terminal.CareOfAddress, s_host4), world.Effects.OfType<ConfigureHostSide>().Last());
        Assert.Equal(terminal.CareOfAddress, Assert.Single(terminal.Tables.Tunnels).CareOfAddress);
        var own = Assert.Single(terminal.Translations.Entries);
        Assert.Equal((terminal.HomeAddress, s_host4), (own.Ipv6Address, own.Ipv4Address));

        // The signal is under ESP in embodiment 3 and in clear in the laboratory.
        Assert.Equal(number == 10000, world.Of(IpProtocol.Mobility).Any());
        Assert.Equal(number == 10010, world.Of(IpProtocol.Esp).Any());
        if (number == 10010)
        {
            var until = own.Expires;
            world.Run(TimeSpan.FromSeconds(60));
            Assert.True(own.Expires > until);
            Assert.Equal(s_host4, Assert.Single(terminal.Translations.Entries).Ipv4Address);
        }
    }

    [Fact]
    [Trait("Row", "TM1.12")]
    [Trait("Row", "TM1.14")]
    [Trait("Row", "TM1.15")]
    [Trait("Row", "TM1.16")]
    [Trait("Row", "TM1.17")]
    [Trait("Row", "TM1.18")]
    [Trait("Row", "TM1.19")]
    [Trait("Row", "TM1.20")]
    [Trait("Row", "TM3.20")]
    [Trait("Row", "TM3.22")]
    [Trait("Row", "TM3.24")]
    [Trait("Row", "TM3.25")]
    [Trait("Row", "TM3.26")]
    [Trait("Row", "TM-R90")]
    [Trait("Row", "TM-C1")]
    [Trait("Row", "TM9.2")]
    [Trait("Row", "TM9.3")]
    [Trait("Row", "TM-A-12")]
    [Trait("Row", "TM-A-16")]
    [Trait("Row", "TM-A-36")]
    [Trait("Row", "TM-A-43")]
    public void An_IPv4_application_hears_a_correspondent_under_a_virtual_address_and_answers_it()
    {
        var world = Registered(o => o with { Scenarios = [10010, 10011] });

        world.Answer();
        world.Run(TimeSpan.FromSeconds(1));

        var heard = Assert.Single(world.ToApplications);
        Assert.True(IPv4Header.TryParse(heard, out var header, out _));
        var (peer4, destination) = (new IPAddress(header.Source), new IPAddress(header.Destination));
        Assert.Equal(s_host4, destination);
        Assert.NotEqual(s_host4, peer4);

        world.Tell(new HostPacketSent(Udp4(s_host4, peer4, [1, 2, 3])));
        world.Run(TimeSpan.FromSeconds(1));
        var outer = Assert.Single(Ups(world, IpProtocol.IPv6));
        Assert.Equal((world.Terminal.CareOfAddress, Agent), (Source(outer), Destination(outer)));
        var reached = Assert.Single(world.ToPeer);
        Assert.Equal((world.Terminal.HomeAddress, Peer), (Source(reached), Destination(reached)));
        Assert.Equal([1, 2, 3], reached[48..]);
        Assert.DoesNotContain(world.Crossed, c => c.Packet[0] >> 4 == 4);

        // R83: an address that the host was not given.
        world.Tell(new HostPacketSent(Udp4(IPAddress.Parse("198.18.0.9"), peer4, [4])));
        Assert.Equal(1, world.Count(GuestCounters.SourceUnknown));
    }

    [Fact]
    [Trait("Row", "TM2.1")]
    [Trait("Row", "TM2.3")]
    [Trait("Row", "TM2.4")]
    [Trait("Row", "TM2.5")]
    [Trait("Row", "TM2.6")]
    [Trait("Row", "TM2.8")]
    [Trait("Row", "TM2.9")]
    [Trait("Row", "TM2.10")]
    [Trait("Row", "TM-R86")]
    public void Embodiment_2_hands_packets_to_the_host_as_they_are()
    {
        var world = Laboratory(10001);
        Exchange(world);

        Assert.StartsWith("10001: ", world.Events("scenario.run").First().Text, StringComparison.Ordinal);
        Assert.Equal(world.Terminal.HomeAddress, world.Effects.OfType<ConfigureHostSide>().Last().HomeAddress);
        Assert.Empty(world.Terminal.Translations.Entries);
        Assert.Single(Ups(world, IpProtocol.IPv6));
        Assert.Equal(Udp(Peer, world.Terminal.HomeAddress!, 5000, 5000, new byte[64]), Assert.Single(world.ToApplications));
        Assert.Equal(Udp(world.Terminal.HomeAddress!, Peer, 5000, 5000, new byte[64]), Assert.Single(world.ToPeer));
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    [Trait("Row", "TM3.61")]
    [Trait("Row", "TM3.62")]
    [Trait("Row", "TM3.63")]
    [Trait("Row", "TM3.66")]
    [Trait("Row", "TM3.67")]
    [Trait("Row", "TM3.71")]
    [Trait("Row", "TM3.72")]
    [Trait("Row", "TM3.75")]
    [Trait("Row", "TM4.8")]
    [Trait("Row", "TM4.9")]
    [Trait("Row", "TM-R49")]
    [Trait("Row", "TM-R64")]
    [Trait("Row", "TM-R66")]
    [Trait("Row", "TM-AC16")]
    [Trait("Row", "TM-A-11")]
    [Trait("Row", "TM-SP4")]
    public void Data_goes_under_ESP_with_and_without_the_mobile_header_whatever_the_other_end_does(bool terminalKeeps, bool agentKeeps)
    {
        var world = Registered(o => Protecting(o) with { KeepMobileHeader = terminalKeeps });
        world.KeepsMobileHeader = agentKeeps;
        var before = world.Crossed.Count;
        Exchange(world);

        var (up, down) = (world.Crossed[before..].Single(c => c.Up).Packet, world.Crossed[before..].Single(c => !c.Up).Packet);
        Assert.Equal((IpProtocol.Esp, IpProtocol.Esp), (up[6], down[6]));
        Assert.Equal((world.Terminal.CareOfAddress, Agent), (Source(up), Destination(up)));
        Assert.Single(world.ToPeer);
        Assert.Equal(Peer, Source(Assert.Single(world.ToApplications)));
        var inner = 48 + 64;
        Assert.Equal(40 + 8 + 8 + inner + 2 + (4 - ((inner + 2) % 4)) % 4 + 16 + (terminalKeeps ? 40 : 0), up.Length);
        Assert.Equal(up.Length + (agentKeeps ? 40 : 0) - (terminalKeeps ? 40 : 0), down.Length);

        // The association goes along when the terminal moves.
        Move(world);
        Exchange(world);
        Assert.Equal((2, 2), (world.ToPeer.Count, world.ToApplications.Count));
    }

    [Fact]
    [Trait("Row", "TM-A-20")]
    public void At_home_an_applications_own_tunnel_ends_at_the_application()
    {
        var home = new FixedHome(IPAddress.Parse("2001:db8:a:7::77"), IPNetwork.Parse("2001:db8:a:7::/64"));
        var world = new TerminalWorld(o => o with { Home = home, PrefixRequest = null, HomeAgent = Agent, Signalling = SignallingTreatment.Bypass, Scenarios = [10001] }, signalling: SignallingTreatment.Bypass);
        world.Attach(Wlan, "2001:db8:a:7::/64");
        world.Run(TimeSpan.FromSeconds(8));
        var tunnel = Ipv6Tunnel.Encapsulate(Udp(Peer, home.Address, 5000, 5000, [7]), Peer, home.Address, 64);

        world.ToTerminal(Wlan, tunnel);

        Assert.Equal(tunnel, Assert.Single(world.ToApplications));
    }

    [Fact]
    [Trait("Row", "TM-NC05")]
    [Trait("Row", "TM-NC07")]
    [Trait("Row", "TM-R65")]
    [Trait("Row", "TM-R67")]
    [Trait("Row", "TM-R68")]
    [Trait("Row", "TM-R70")]
    public void Where_the_policy_wants_ESP_nothing_else_is_heard_and_who_is_not_the_home_agent_is_not_heard_inside_it()
    {
        var world = Registered(Protecting);
        world.Answer();
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(1, world.Count(GuestCounters.PolicyMismatch));

        world.ToTerminal(world.Protected(Udp(Peer, world.Terminal.HomeAddress!, 1, 2, [1]), IPAddress.Parse("2001:db8:bad::1")));
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(1, world.Count(GuestCounters.TunnelSourceBad));
        Assert.Empty(world.ToApplications);
    }

    [Fact]
    [Trait("Row", "TM-NC14")]
    [Trait("Row", "TM-R48")]
    [Trait("Row", "TM-R51")]
    [Trait("Row", "TM-R47")]
    public void What_the_policy_discards_does_not_leave()
    {
        var world = Registered(o => o with { DataPolicy = [new DataPolicyEntry(new IPNetwork(Peer, 128), DataTreatment.Discard, IpProtocol.Udp)] });
        world.Send(world.Terminal.HomeAddress!, Peer);
        world.Send(world.Terminal.HomeAddress!, IPAddress.Parse("2001:db8:c::a"));
        world.Run(TimeSpan.FromSeconds(1));

        Assert.Equal(1, world.Count(GuestCounters.PolicyDiscards));
        Assert.Single(Ups(world, IpProtocol.IPv6));
        Assert.Empty(world.ToPeer);
    }

    [Fact]
    public void The_association_is_for_the_peers_that_the_policy_names_and_carries_all_of_theirs()
    {
        // The home agent takes nothing in clear that the association covers, so the other protocols of the peer go under it too.
        var world = Registered(o => o with { DataPolicy = [new DataPolicyEntry(new IPNetwork(Peer, 128), DataTreatment.Protect, IpProtocol.Tcp)] });
        world.Send(world.Terminal.HomeAddress!, Peer);
        world.Send(world.Terminal.HomeAddress!, IPAddress.Parse("2001:db8:c::a"));
        world.Run(TimeSpan.FromSeconds(1));

        Assert.Equal(Peer, Destination(Assert.Single(world.ToPeer)));
        Assert.Equal(IPAddress.Parse("2001:db8:c::a"), Destination(Assert.Single(Ups(world, IpProtocol.IPv6))[40..]));
    }

    [Fact]
    [Trait("Row", "TM-NC15")]
    public void Without_an_association_what_has_to_be_protected_does_not_leave()
    {
        var world = Registered(Protecting);
        world.EndDataAssociations();
        world.Run(TimeSpan.FromSeconds(1));
        var before = world.Crossed.Count(c => c.Up && c.Packet[6] is IpProtocol.Esp or IpProtocol.IPv6);
        world.Send(world.Terminal.HomeAddress!, Peer);
        world.Run(TimeSpan.FromSeconds(1));

        Assert.Equal(1, world.Count(GuestCounters.NoAssociationOut));
        Assert.Equal(before, world.Crossed.Count(c => c.Up && c.Packet[6] is IpProtocol.Esp or IpProtocol.IPv6));
    }

    [Fact]
    [Trait("Row", "TM-NC16")]
    [Trait("Row", "TM-R50")]
    public void Without_a_tunnel_a_packet_waits_a_moment_and_is_counted()
    {
        var world = new TerminalWorld { Authorises = _ => false };
        world.Attach(Wlan, First);
        world.Run(TimeSpan.FromSeconds(20));
        world.Send(world.Terminal.HomeAddress!, Peer);
        Assert.Equal(0, world.Count(GuestCounters.NoTunnel));
        world.Run(TimeSpan.FromSeconds(2));

        Assert.Equal(1, world.Count(GuestCounters.NoTunnel));
        Assert.DoesNotContain(world.Crossed, c => c.Up && Source(c.Packet).Equals(world.Terminal.HomeAddress));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Row", "TM3.40")]
    [Trait("Row", "TM3.41")]
    [Trait("Row", "TM3.43")]
    [Trait("Row", "TM3.44")]
    [Trait("Row", "TM3.45")]
    [Trait("Row", "TM3.49")]
    [Trait("Row", "TM3.50")]
    [Trait("Row", "TM3.55")]
    [Trait("Row", "TM3.56")]
    [Trait("Row", "TM4.4")]
    [Trait("Row", "TM4.7")]
    [Trait("Row", "TM-R41")]
    [Trait("Row", "TM-R42")]
    [Trait("Row", "TM-R62")]
    [Trait("Row", "TM-C9")]
    [Trait("Row", "TM-R72")]
    [Trait("Row", "TM-SP2")]
    public void With_a_correspondent_that_can_both_ways_become_short(bool protectTests)
    {
        var world = Registered(o => Routing(o) with { ProtectHomeTests = protectTests });
        world.KeepsMobileHeader = protectTests ? false : null;
        Exchange(world);
        var before = world.Crossed.Count;
        Exchange(world);

        Assert.StartsWith("10013: ", world.Events("scenario.run").Last().Text, StringComparison.Ordinal);
        Assert.Equal(Peer, Assert.Single(world.Terminal.Tables.Correspondents).Peer);
        Assert.Contains(world.Terminal.BindingUpdateList, e => e.Peer.Equals(Peer) && e.State == BindingUpdateState.Registered);
        Assert.Equal(world.Terminal.CareOfAddress, world.RouteOfPeer);
        var (up, down) = (world.Crossed[before..].Single(c => c.Up).Packet, world.Crossed[before..].Single(c => !c.Up).Packet);
        Assert.Equal((IpProtocol.DestinationOptions, IpProtocol.Routing), (up[6], down[6]));
        Assert.Equal((world.Terminal.CareOfAddress, Peer), (Source(up), Destination(up)));
        Assert.Equal(Udp(world.Terminal.HomeAddress!, Peer, 5000, 5000, new byte[64]), world.ToPeer[^1]);
        Assert.Equal(Udp(Peer, world.Terminal.HomeAddress!, 5000, 5000, new byte[64]), world.ToApplications[^1]);

        // Home tests are in a tunnel of ESP, or in the plain one (SP2); they are never outside.
        Assert.Equal(protectTests, !Ups(world, IpProtocol.IPv6).Any(p => p[46] == IpProtocol.Mobility));
        Assert.DoesNotContain(world.Crossed, c => c.Up && Source(c.Packet).Equals(world.Terminal.HomeAddress));

        // The home test came through the tunnel for the home address, and no application saw it (R72).
        Assert.Equal(protectTests, !Downs(world, IpProtocol.IPv6).Any(p => p[46] == IpProtocol.Mobility));
        Assert.DoesNotContain(world.ToApplications, p => p[6] != IpProtocol.Udp);

        // A move suspends the short way until the correspondent knows.
        Move(world);
        Exchange(world);
        Assert.Equal(world.Terminal.CareOfAddress, world.RouteOfPeer);
        Assert.Equal(world.Terminal.CareOfAddress, Assert.Single(world.Terminal.Tables.Correspondents).CareOfAddress);
    }

    [Fact]
    [Trait("Row", "TM3.51")]
    [Trait("Row", "TM3.52")]
    [Trait("Row", "TM3.57")]
    [Trait("Row", "TM-R45")]
    [Trait("Row", "TM-R63")]
    public void By_the_short_way_ESP_stands_behind_the_home_address_option_and_the_routing_header()
    {
        var home = new FixedHome(IPAddress.Parse("2001:db8:a:7::77"), IPNetwork.Parse("2001:db8:a:7::/64"));
        var world = Registered(o => Routing(Protecting(o)) with { Home = home, PrefixRequest = null, RouteAssociations = [Preset(home.Address, Peer, -1)] });
        world.KeepsMobileHeader = false;
        using var peer = new TransportEsp(new Tests.MobileIpv6.SeededRandom(9));
        Assert.True(peer.Install(Preset(Peer, home.Address, 1), 1));
        Exchange(world);
        Assert.Single(world.Terminal.Tables.Correspondents);
        var before = world.Crossed.Count;
        world.Send(home.Address, Peer);
        world.Run(TimeSpan.FromSeconds(1));

        var up = world.Crossed[before..].Single(c => c.Up).Packet;
        Assert.Equal((IpProtocol.DestinationOptions, IpProtocol.Esp), (up[6], up[40]));
        Assert.Equal((world.Terminal.CareOfAddress, Peer), (Source(up), Destination(up)));
        Assert.Equal(DropReason.None, peer.TryOpen(up, world.Now, out var opened));
        Assert.Equal(IpProtocol.Udp, UpperOf(opened.Packet).Protocol);

        var user = Udp(Peer, home.Address, 5000, 5000, [7]);
        var down = new MobileIpv6Packet { Source = Peer, Destination = world.Terminal.CareOfAddress!, RoutingHomeAddress = home.Address, Protocol = IpProtocol.Udp, Payload = user[40..] }.ToArray();
        Assert.Equal(DropReason.None, peer.TryProtect(1, down, world.Now, out var wire));
        world.ToTerminal(wire);
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(user, world.ToApplications[^1]);

        // In clear it does not meet the policy.
        var (mismatches, heard) = (world.Count(GuestCounters.PolicyMismatch), world.ToApplications.Count);
        world.ToTerminal(down);
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Equal((mismatches + 1, heard), (world.Count(GuestCounters.PolicyMismatch), world.ToApplications.Count));
    }

    private static ChildSa Preset(IPAddress near, IPAddress far, long number)
    {
        SaParameters OneWay(uint spi, IPAddress source, IPAddress destination, byte key) => new()
        {
            Spi = spi,
            Source = source,
            Destination = destination,
            Algorithm = IpsecAlgorithm.Aes128CbcHmacSha256,
            Keys = new AssociationKeys(new KeyMaterial([.. Enumerable.Repeat(key, 16)]), new KeyMaterial([.. Enumerable.Repeat(key, 32)])),
            ExtendedSequence = false,
            ReplayWindow = 0,
            StaticKeys = true,
        };
        var (fromTerminal, toTerminal) = near.Equals(Peer) ? (OneWay(0x2001, far, near, 1), OneWay(0x2002, near, far, 2)) : (OneWay(0x2001, near, far, 1), OneWay(0x2002, far, near, 2));
        return new ChildSa(number, 0, "preset", "preset", ChildMode.Transport, [TrafficSelector.Of(near)], [TrafficSelector.Of(far)],
            near.Equals(Peer) ? fromTerminal : toTerminal, near.Equals(Peer) ? toTerminal : fromTerminal, null);
    }

    [Fact]
    [Trait("Row", "TM3.48")]
    [Trait("Row", "TM4.5")]
    [Trait("Row", "TM-NC19")]
    [Trait("Row", "TM-AC13")]
    [Trait("Row", "TM-A-23")]
    public void A_binding_error_ends_the_short_way_but_not_while_it_works()
    {
        var world = Registered(Routing);
        Exchange(world);
        Exchange(world);
        var error = new MobileIpv6Packet
        {
            Source = Peer,
            Destination = world.Terminal.CareOfAddress!,
            Protocol = IpProtocol.Mobility,
            Payload = new BindingError(BindingErrorStatus.UnknownBinding, world.Terminal.HomeAddress!).ToArray(Peer, world.Terminal.CareOfAddress!),
        }.ToArray();

        world.ToTerminal(error);
        world.Run(TimeSpan.FromMilliseconds(50));
        Assert.Equal(1, world.Count(GuestCounters.ErrorIgnored));
        Assert.Single(world.Terminal.Tables.Correspondents);

        world.Run(TimeSpan.FromSeconds(5));
        world.ToTerminal(error);
        world.Loses = packet => packet[6] == IpProtocol.Mobility;
        world.Run(TimeSpan.FromMilliseconds(50));
        Assert.Equal(1, world.Count(GuestCounters.BindingDeleted));
        Assert.Empty(world.Terminal.Tables.Correspondents);
        Assert.DoesNotContain(world.Terminal.BindingUpdateList, e => e.Peer.Equals(Peer) && e.State == BindingUpdateState.Registered);
        Assert.Contains(world.Terminal.BindingUpdateList, e => e.Peer.Equals(Agent) && e.State == BindingUpdateState.Registered);
        var before = Ups(world, IpProtocol.IPv6).Count();
        world.Send(world.Terminal.HomeAddress!, Peer);
        Assert.Equal(before + 1, Ups(world, IpProtocol.IPv6).Count());

        // It comes back after another return routability.
        world.Loses = _ => false;
        world.Run(TimeSpan.FromSeconds(5));
        Assert.Single(world.Terminal.Tables.Correspondents);
    }

    [Fact]
    [Trait("Row", "TM-AC34")]
    public void A_switch_of_the_policy_counts_from_the_next_acknowledgement_on()
    {
        var world = Registered(o => o with { Scenarios = [10010, 10011], BindingLifetime = TimeSpan.FromSeconds(60) });
        world.Tell(new SetScenario(10012, true));
        Assert.Equal(s_host4, world.Effects.OfType<ConfigureHostSide>().Last().VirtualAddress);

        world.Run(TimeSpan.FromSeconds(60));

        Assert.StartsWith("10012: ", world.Events("scenario.run").Last().Text, StringComparison.Ordinal);
        Assert.Equal(new ConfigureHostSide(world.Terminal.HomeAddress, world.Terminal.CareOfAddress), world.Effects.OfType<ConfigureHostSide>().Last());
    }

    [Fact]
    [Trait("Row", "TM-S8")]
    public void A_tunnel_that_leaves_less_than_1280_octets_is_cut_at_its_entry_and_longer_packets_are_told_so()
    {
        var world = Registered(o => o with { Links = [.. o.Links.Select(l => l with { Mtu = 1280 })] });
        world.Send(world.Terminal.HomeAddress!, Peer, 1280 - 48);
        world.Send(world.Terminal.HomeAddress!, Peer, 1281 - 48);
        world.Run(TimeSpan.FromSeconds(1));

        Assert.Equal(2, Ups(world, IpProtocol.Fragment).Count());
        Assert.All(Ups(world, IpProtocol.Fragment), p => Assert.True(p.Length <= 1280));
        Assert.Equal(1280, Assert.Single(world.ToPeer).Length);
        var told = Assert.Single(world.ToApplications);
        Assert.Equal((2, 1280), (told[40], (told[46] << 8) | told[47]));
    }
}
