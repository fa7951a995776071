using System.Net;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;
using static Sojourn.Engine.Tests.Terminal.GuestStackTests;
using static Sojourn.Engine.Tests.Terminal.TerminalWorld;

namespace Sojourn.Engine.Tests.Terminal;

/// <summary>Branches of routines 70, 100 and 120 (spec terminal 4.3 to 4.5) and of the readings that decide them.</summary>
public class GuestStackRoutineTests
{
    private const byte Tcp = 6, Sctp = 132;

    private static byte[] User(TerminalWorld world, byte protocol = IpProtocol.Udp) => protocol == IpProtocol.Udp
        ? Udp(world.Terminal.HomeAddress!, Peer, 5000, 5000, [1, 2, 3])
        : new MobileIpv6Packet { Source = world.Terminal.HomeAddress!, Destination = Peer, Protocol = protocol, Payload = new byte[20] }.ToArray();

    private static byte[] ToHome(TerminalWorld world) => Udp(Peer, world.Terminal.HomeAddress!, 5000, 5000, [1, 2, 3]);

    private static IEnumerable<byte[]> Sent(TerminalWorld world, int from) => world.Crossed[from..].Where(c => c.Up).Select(c => c.Packet);

    [Fact]
    [Trait("Row", "TM-R40")]
    [Trait("Row", "TM-R60")]
    [Trait("Row", "TM-A-13")]
    [Trait("Row", "TM-AC36")]
    public void At_home_packets_go_and_come_as_they_are_and_the_policy_still_counts()
    {
        var home = new FixedHome(IPAddress.Parse("2001:db8:a:7::77"), IPNetwork.Parse("2001:db8:a:7::/64"));
        var world = Registered(o => o with { Home = home, PrefixRequest = null, HomeAgent = Agent, DataPolicy = [new DataPolicyEntry(new IPNetwork(Peer, 128), DataTreatment.Discard, Tcp)] });
        world.Tell(new LinkChanged(Wlan, false));
        world.Attach(Cell, home.Prefix.ToString());
        world.Run(TimeSpan.FromSeconds(3));
        Assert.Null(world.Terminal.Tables.TunnelOf(home.Address));
        var before = world.Crossed.Count;

        world.Tell(new HostPacketSent(User(world)));
        world.Tell(new HostPacketSent(User(world, Tcp)));
        world.Run(TimeSpan.FromMilliseconds(100));
        Assert.Equal(User(world), Assert.Single(Sent(world, before)));
        Assert.Equal(1, world.Count(GuestCounters.PolicyDiscards));

        world.ToTerminal(ToHome(world));
        world.Run(TimeSpan.FromMilliseconds(100));
        Assert.Equal(ToHome(world), world.ToApplications[^1]);
    }

    [Fact]
    [Trait("Row", "TM-R43")]
    [Trait("Row", "TM-R44")]
    [Trait("Row", "TM-R46")]
    [Trait("Row", "TM-A-15")]
    [Trait("Row", "TM-SP5")]
    [Trait("Row", "TM-SP8")]
    public void By_the_short_way_a_policy_passes_protects_or_discards_and_without_one_a_packet_is_sent()
    {
        var network = new IPNetwork(Peer, 128);
        var world = Registered(o => o with
        {
            RouteOptimisation = [network],
            ProtectHomeTests = false,
            DataPolicy = [new DataPolicyEntry(network, DataTreatment.Bypass, IpProtocol.Udp), new DataPolicyEntry(network, DataTreatment.Discard, Tcp), new DataPolicyEntry(network, DataTreatment.Protect, Sctp)],
        });
        world.Tell(new HostPacketSent(User(world)));
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Single(world.Terminal.Tables.Correspondents);

        foreach (var (protocol, sent, counter) in new (byte, int, string?)[] { (IpProtocol.Udp, 1, null), (IpProtocol.Icmpv6, 1, null), (Tcp, 0, GuestCounters.PolicyDiscards), (Sctp, 0, GuestCounters.NoAssociationOut) })
        {
            var (before, counted) = (world.Crossed.Count, counter is null ? 0 : world.Count(counter));
            world.Tell(new HostPacketSent(User(world, protocol)));
            world.Run(TimeSpan.FromMilliseconds(5));
            var direct = Sent(world, before).Where(p => p[6] == IpProtocol.DestinationOptions).ToList();
            Assert.Equal((protocol, sent), (protocol, direct.Count));
            Assert.Equal(sent, Sent(world, before).Count());
            Assert.All(direct, p => Assert.Equal((world.Terminal.CareOfAddress, Peer, protocol), (new IPAddress(p.AsSpan(8, 16)), new IPAddress(p.AsSpan(24, 16)), UpperOf(p).Protocol)));
            Assert.Equal(1 - sent, counter is null ? 0 : world.Count(counter) - counted);
        }
    }

    [Fact]
    [Trait("Row", "TM-R61")]
    [Trait("Row", "TM-R69")]
    [Trait("Row", "TM-A-14")]
    public void The_next_header_decides_how_a_packet_comes_to_the_applications()
    {
        var world = Registered(o => o with { DataPolicy = [new DataPolicyEntry(new IPNetwork(Peer, 128), DataTreatment.Protect, Tcp)] });
        var (user, careOf) = (ToHome(world), world.Terminal.CareOfAddress!);
        byte[] own = Udp(Peer, careOf, 5000, 5000, [1]);
        byte[][] wires =
        [
            new MobileIpv6Packet { Source = Peer, Destination = careOf, RoutingHomeAddress = world.Terminal.HomeAddress, Protocol = IpProtocol.Udp, Payload = user[40..] }.ToArray(),
            world.Protected(user, Agent),
            Ipv6Tunnel.Encapsulate(user, Agent, careOf, 64),
            own,
        ];
        Assert.Equal([IpProtocol.Routing, IpProtocol.Esp, IpProtocol.IPv6, IpProtocol.Udp], wires.Select(w => w[6]));
        foreach (var wire in wires)
        {
            world.ToTerminal(wire);
            world.Run(TimeSpan.FromMilliseconds(100));
        }

        Assert.Equal([user, user, user, own], world.ToApplications);
    }

    [Theory]
    [InlineData(10001, 24)]
    [InlineData(10012, 25)]
    [Trait("Row", "TM-R5")]
    [Trait("Row", "TM-A-2")]
    [Trait("Row", "TM-A-45")]
    public void The_part_that_adds_the_scenario_header_is_known(int number, int part)
    {
        var world = number == 10001 ? Laboratory(number) : Registered();
        Assert.EndsWith($"(part {part})", world.Events("scenario.run").First().Text, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Row", "TM-FS3")]
    [Trait("Row", "TM-A-3")]
    public void No_scenario_header_leaves_the_terminal_on_either_side()
    {
        var world = Registered(o => o with { RouteOptimisation = [new IPNetwork(Peer, 128)], ProtectHomeTests = false });
        world.Tell(new HostPacketSent(User(world)));
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(2, world.Events("scenario.run").Count());

        Assert.All(world.Crossed.Select(c => c.Packet).Concat(world.ToApplications), packet => Assert.False(IsScenarioHeader(packet)));

        // By itself or inside of tunnels: the number would be a destination port.
        static bool IsScenarioHeader(ReadOnlySpan<byte> packet)
        {
            while (IPv6Header.TryParse(packet, out var header, out _) && IPv6ExtensionWalk.TryFindUpper(header, out var upper))
            {
                packet = packet[upper.UpperOffset..];
                if (upper.UpperProtocol != IpProtocol.IPv6)
                {
                    return upper.UpperProtocol == IpProtocol.Udp && ((packet[2] << 8) | packet[3]) is >= 10000 and <= 10023;
                }
            }

            return false;
        }
    }

    [Fact]
    [Trait("Row", "TM-A-52")]
    public void A_terminal_that_is_told_nothing_has_only_methods_with_IPsec_on_the_signal()
    {
        var world = Registered();
        Assert.Equal([10012, 10013], world.Terminal.Scenarios.Entries.Where(e => e.Valid).Select(e => e.Number));
        Assert.Empty(world.Of(IpProtocol.Mobility));
        Assert.NotEmpty(world.Of(IpProtocol.Esp));
    }

    [Fact]
    [Trait("Row", "TM-R34")]
    [Trait("Row", "TM-R36")]
    [Trait("Row", "TM-A-6")]
    public void Neither_a_refusal_nor_an_error_message_makes_an_entry_of_the_binding_update_list()
    {
        var world = Laboratory(10001);
        var (terminal, home) = (world.Terminal, world.Terminal.HomeAddress!);
        var former = Assert.Single(terminal.BindingUpdateList);
        world.Loses = packet => packet[6] == IpProtocol.Routing;
        world.Tell(new LinkChanged(Wlan, false));
        world.Attach(Cell, "2001:db8:f:2::/64");
        world.Run(TimeSpan.FromMilliseconds(200));
        Assert.Equal(TerminalState.Bup, terminal.State);
        world.Loses = _ => false;

        var refusal = new MobileIpv6Packet
        {
            Source = Agent,
            Destination = terminal.CareOfAddress!,
            RoutingHomeAddress = home,
            Protocol = IpProtocol.Mobility,
            Payload = new BindingAcknowledgement { Status = BindingStatus.InsufficientResources, SequenceNumber = terminal.HomeRegistration!.SequenceNumber, Lifetime = 100 }.ToArray(Agent, home),
        };
        world.ToTerminal(refusal.ToArray());
        world.Run(TimeSpan.FromMilliseconds(50));
        Assert.Equal(1, world.Count(GuestCounters.StatusRefused));
        var entry = Assert.Single(terminal.BindingUpdateList);
        Assert.NotEqual(terminal.CareOfAddress, former.GrantedCareOfAddress);
        Assert.Equal((former.GrantedCareOfAddress, former.Expires), (entry.GrantedCareOfAddress, entry.Expires));

        var error = new MobileIpv6Packet { Source = Peer, Destination = terminal.CareOfAddress!, Protocol = IpProtocol.Mobility, Payload = new BindingError(BindingErrorStatus.UnknownBinding, home).ToArray(Peer, terminal.CareOfAddress!) };
        world.ToTerminal(error.ToArray());
        world.Run(TimeSpan.FromMilliseconds(50));
        Assert.Equal(1, world.Count(GuestCounters.ErrorIgnored));
        Assert.DoesNotContain(terminal.BindingUpdateList, e => e.Peer.Equals(Peer));
    }

    [Fact]
    [Trait("Row", "TM-A-21")]
    public void Part_24_lists_correspondents_alone_and_what_is_for_the_home_agent_takes_the_tunnel()
    {
        var world = Registered(o => o with { RouteOptimisation = [IPNetwork.Parse("::/0")], ProtectHomeTests = false });
        world.Tell(new HostPacketSent(User(world)));
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Equal([Agent, Peer], world.Terminal.BindingUpdateList.Select(e => e.Peer));
        Assert.Equal(Peer, Assert.Single(world.Terminal.Tables.Correspondents).Peer);

        var before = world.Crossed.Count;
        world.Send(world.Terminal.HomeAddress!, Agent);
        var sent = Assert.Single(Sent(world, before), p => UpperOf(p).Protocol == IpProtocol.IPv6 && p[46] == IpProtocol.Udp);
        Assert.Equal((world.Terminal.CareOfAddress, Agent, world.Terminal.HomeAddress, Agent), (new IPAddress(sent.AsSpan(8, 16)), new IPAddress(sent.AsSpan(24, 16)), new IPAddress(sent.AsSpan(48, 16)), new IPAddress(sent.AsSpan(64, 16))));
    }

    [Fact]
    [Trait("Row", "TM-R73")]
    [Trait("Row", "TM-S8")]
    public void Packet_Too_Big_about_a_tunnel_packet_changes_the_tunnels_path_MTU_and_the_sender_is_told()
    {
        var world = Registered();
        world.Send(world.Terminal.HomeAddress!, Peer, 1400 - 48);
        world.Run(TimeSpan.FromMilliseconds(100));
        var wire = world.Crossed.Last(c => c.Up).Packet;
        Assert.Equal(1440, wire.Length);
        Assert.Single(world.ToPeer);
        var tunnel = Assert.Single(world.Terminal.Tables.Tunnels);
        Assert.Equal(1500, world.Terminal.PathMtuOf(tunnel));

        var router = IPAddress.Parse("2001:db8:77::1");
        var error = new byte[IcmpError.MaximumIPv6];
        world.ToTerminal(error[..IcmpError.WriteTooBig(IpPacket.OfChecked(wire), router.GetAddressBytes(), 1380, error)]);
        world.Run(TimeSpan.FromMilliseconds(100));
        Assert.Equal(1380, world.Terminal.PathMtuOf(tunnel));

        world.Send(world.Terminal.HomeAddress!, Peer, 1400 - 48);
        world.Send(world.Terminal.HomeAddress!, Peer, 1340 - 48);
        world.Run(TimeSpan.FromMilliseconds(100));
        Assert.Equal([1400, 1340], world.ToPeer.Select(p => p.Length));
        var told = world.ToApplications[^1];
        Assert.Equal((IpProtocol.Icmpv6, 2, 1340), (told[6], told[40], (told[46] << 8) | told[47]));
        Assert.Equal(world.Terminal.HomeAddress, new IPAddress(told.AsSpan(24, 16)));
    }
}
