using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.TerminalControl;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;
using static Sojourn.Engine.Tests.TerminalControl.HomeNetwork;

namespace Sojourn.Engine.Tests.TerminalControl;

/// <summary>Packets of a terminal under ESP between it and its home agent: layouts L5 to L10, and what is refused.</summary>
public class DataProtectionTests
{
    private const int EspOctets = 8 + 8 + 2 + 16;

    private static readonly IPAddress s_peer = HomeNetwork.Correspondent;

    private static readonly TrafficSelector s_everywhere = TrafficSelector.Of(new IPNetwork(IPAddress.IPv6Any, 0));

    private static IkeChildOptions Data(IPAddress home, TrafficSelector? peers = null) => new() { Name = "data", Mode = ChildMode.Tunnel, LocalSelectors = [TrafficSelector.Of(home)], RemoteSelectors = [peers ?? s_everywhere] };

    private static IkeChildOptions HomeTests(IPAddress home) => new()
    {
        Name = "home-test",
        Mode = ChildMode.Tunnel,
        LocalSelectors = [SelectorNarrowing.Mobility(home, 1)],
        RemoteSelectors = [s_everywhere with { Protocol = SelectorNarrowing.MobilityHeader, StartPort = 3 << 8, EndPort = 3 << 8 }],
    };

    private static TestTerminal Registered(HomeNetwork network, params IkeChildOptions[] children)
    {
        var terminal = network.Registered(change: p => p with { Children = [.. p.Children, .. children] });
        network.Run(1);
        return terminal;
    }

    /// <summary>The terminal's end of its tunnel, on the packet path's own table.</summary>
    private static PathTable EndOf(TestTerminal terminal, MobileHeader header = MobileHeader.LeftOut, ChildSa? child = null, IPNetwork? inside = null)
    {
        var table = new PathTable(new PathTableOptions { ClampTcpMss = false }, new Ikev2.SeededRandom(3));
        child ??= terminal.TunnelChildren[^1];
        Assert.Null(table.Change(
            [
                new VpnPath
                {
                    Id = new PathId("terminal", "esp"),
                    Source = inside ?? new IPNetwork(terminal.Home, 128),
                    Destination = new IPNetwork(IPAddress.IPv6Any, 0),
                    SecurityType = SecurityType.Esp,
                    MobileHeader = header,
                    LocalGateway = terminal.CareOf,
                    RemoteGateway = Agent,
                    Outbound = child.Outbound with { Source = terminal.CareOf, Destination = Agent },
                    Inbound = child.Inbound with { Source = Agent, Destination = terminal.CareOf },
                    Origin = new PathOrigin("test", "TM-R49"),
                },
            ],
            [],
            terminal.Network.Now).Refusal);
        return table;
    }

    private static byte[]? Up(PathTable terminal, byte[] packet, DateTimeOffset now)
    {
        var output = new byte[8192];
        var result = terminal.Outbound(packet, output, now);
        return result.Verdict == OutboundVerdict.Send ? output.AsSpan(result.Offset, result.Length).ToArray() : null;
    }

    private static (byte[]? Packet, DropReason Reason) Open(PathTable terminal, byte[] wire, DateTimeOffset now)
    {
        var output = new byte[8192];
        var result = terminal.Inbound(wire, output, now);
        return (result.Verdict == InboundVerdict.Deliver ? output[..result.Length] : null, result.Reason);
    }

    /// <summary>What the home agent sends when this comes in; nothing or one packet.</summary>
    private static byte[]? AtHomeAgent(HomeNetwork network, byte[] packet)
    {
        var output = new byte[16384];
        var result = network.Tunnel.Forward(packet, output, network.Now);
        return result.Verdict == HomeTunnelVerdict.Send ? output.AsSpan(result.Offset, result.Length).ToArray() : null;
    }

    private static long Refused(HomeNetwork network, string counter) => network.Tunnel.Drops.GetValueOrDefault(counter);

    private static byte[] HomeTestPacket(bool init) => new MobileIpv6Packet
    {
        Source = init ? Home1 : s_peer,
        Destination = init ? s_peer : Home1,
        Protocol = IpProtocol.Mobility,
        Payload = init ? new HomeTestInit(5).ToArray(Home1, s_peer) : new HomeTest(1, 5, 6).ToArray(s_peer, Home1),
    }.ToArray();

    [Theory]
    [InlineData(false, MobileHeader.LeftOut)]
    [InlineData(false, MobileHeader.Kept)]
    [InlineData(true, MobileHeader.LeftOut)]
    [InlineData(true, MobileHeader.Kept)]
    [Trait("Row", "TM-R101")]
    [Trait("Row", "TM-R102")]
    [Trait("Row", "TM-L7")]
    [Trait("Row", "TM-L8")]
    [Trait("Row", "TM-L9")]
    [Trait("Row", "TM-L10")]
    public void Either_end_keeps_or_drops_the_mobile_tunnels_header_and_takes_both_forms(bool homeAgentKeeps, MobileHeader terminalSends)
    {
        var network = new HomeNetwork(o => o with { KeepsMobileHeader = homeAgentKeeps });
        var terminal = Registered(network, Data(Home1));
        var end = EndOf(terminal, terminalSends);
        foreach (var length in new[] { 0, 1, 2, 3, 500, 1200 })
        {
            var down = Plain(s_peer, Home1, length);
            var wire = AtHomeAgent(network, down)!;
            Assert.Equal((IpProtocol.Esp, Agent, CareOf1), (wire[6], new IPAddress(wire[8..24]), new IPAddress(wire[24..40])));
            Assert.InRange(wire.Length - down.Length - 40 - (homeAgentKeeps ? 40 : 0), EspOctets, EspOctets + 3);
            Assert.Equal(down, Open(end, wire, network.Now).Packet);

            var up = Plain(Home1, s_peer, length);
            var tunnelled = Up(end, up, network.Now)!;
            Assert.InRange(tunnelled.Length - up.Length - 40 - (terminalSends == MobileHeader.Kept ? 40 : 0), EspOctets, EspOctets + 3);
            Assert.Equal(up, AtHomeAgent(network, tunnelled));
        }
    }

    [Fact]
    [Trait("Row", "TM-R101")]
    public void Leaving_the_header_out_saves_exactly_40_octets_and_what_is_kept_names_home_agent_and_care_of_address()
    {
        List<byte[]> wires = [];
        foreach (var keeps in new[] { true, false })
        {
            var network = new HomeNetwork(o => o with { KeepsMobileHeader = keeps });
            var terminal = Registered(network, Data(Home1));
            wires.Add(AtHomeAgent(network, Plain(s_peer, Home1))!);
            if (keeps)
            {
                // Seen by an end that knows nothing of mobile tunnels, the packet under ESP is L7's.
                var inside = Open(EndOf(terminal, MobileHeader.None, inside: new IPNetwork(CareOf1, 128)), wires[0], network.Now).Packet!;
                Assert.Equal((IpProtocol.IPv6, Agent, CareOf1), (inside[6], new IPAddress(inside[8..24]), new IPAddress(inside[24..40])));
                Assert.Equal(Plain(s_peer, Home1), inside[40..]);
            }
        }

        Assert.Equal(40, wires[0].Length - wires[1].Length);
    }

    [Theory]
    [InlineData(DataProtection.Offered)]
    [InlineData(DataProtection.Esp)]
    [Trait("Row", "TM-NC05")]
    public void With_an_association_nothing_goes_or_comes_in_clear(DataProtection policy)
    {
        var network = new HomeNetwork(o => o with { DataProtection = policy });
        Registered(network, Data(Home1));
        Assert.Null(AtHomeAgent(network, Tunnelled(CareOf1, Plain(Home1, s_peer))));
        Assert.Equal((1, 0), (Refused(network, "spd.mismatch_in"), Refused(network, HomeTunnel.ReverseTunnelBad)));
        Assert.Equal(IpProtocol.Esp, AtHomeAgent(network, Plain(s_peer, Home1))![6]);
        Assert.NotNull(network.Binding(Home1));
    }

    [Fact]
    [Trait("Row", "TM-NC15")]
    public void Where_protection_is_wanted_a_terminal_without_association_is_registered_and_carries_nothing()
    {
        var network = new HomeNetwork(o => o with { DataProtection = DataProtection.Esp });
        Registered(network);
        Assert.Null(AtHomeAgent(network, Plain(s_peer, Home1)));
        Assert.Equal(1, Refused(network, "ipsec.sa_not_found_out"));
        Assert.Null(AtHomeAgent(network, Tunnelled(CareOf1, Plain(Home1, s_peer))));
        Assert.Equal(1, Refused(network, "spd.mismatch_in"));
        Assert.NotNull(network.Binding(Home1));
    }

    [Fact]
    [Trait("Row", "TM-R101")]
    public void What_went_under_esp_waits_for_another_association_when_its_own_is_lost_and_over_a_restart()
    {
        var network = new HomeNetwork();
        var terminal = Registered(network, Data(Home1));
        terminal.Tell(new CloseIke(terminal.Ike.IkeSas.Single().Id));
        network.Run(0.2);
        Assert.Empty(network.Device.TunnelAssociations);
        Assert.NotNull(network.Binding(Home1));
        Assert.Null(AtHomeAgent(network, Plain(s_peer, Home1)));
        Assert.Null(AtHomeAgent(network, Tunnelled(CareOf1, Plain(Home1, s_peer))));
        Assert.Equal((1, 1), (Refused(network, "ipsec.sa_not_found_out"), Refused(network, "spd.mismatch_in")));

        var next = new HomeNetwork(former: network);
        Assert.NotNull(next.Binding(Home1));
        Assert.Null(AtHomeAgent(next, Plain(s_peer, Home1)));
        terminal = Registered(next, Data(Home1));
        Assert.Equal(IpProtocol.Esp, AtHomeAgent(next, Plain(s_peer, Home1))![6]);

        terminal.Leave();
        next.Run(HomeAgent.DeletedEntryTime.TotalSeconds + 30);
        Assert.Empty(next.Device.TunnelAssociations);
        Assert.DoesNotContain(next.Saved(), s => s.Key.Table == "home6.protected");
    }

    [Fact]
    public void Where_there_is_no_protection_a_child_sa_for_packets_is_refused_and_they_go_as_they_are()
    {
        var network = new HomeNetwork(o => o with { DataProtection = DataProtection.None });
        var terminal = Registered(network, Data(Home1));
        Assert.Empty(terminal.TunnelChildren);
        Assert.Equal("data", Assert.Single(terminal.All.OfType<ChildSaRefused>()).Name);
        Assert.Equal(Plain(s_peer, Home1), AtHomeAgent(network, Plain(s_peer, Home1))![40..]);
        Assert.Equal(Plain(Home1, s_peer), AtHomeAgent(network, Tunnelled(CareOf1, Plain(Home1, s_peer))));
    }

    [Fact]
    [Trait("Row", "TM-NC25")]
    public void A_tunnel_from_elsewhere_than_the_registered_care_of_address_is_refused_in_clear_and_under_esp()
    {
        var network = new HomeNetwork();
        network.Registered();
        network.Registered("mn2.home.example", Home2, CareOf2, seed: 70);
        Assert.Null(AtHomeAgent(network, Tunnelled(Moved, Plain(Home1, s_peer))));
        Assert.Null(AtHomeAgent(network, Tunnelled(CareOf2, Plain(Home1, s_peer))));
        Assert.Equal((2, 0), (Refused(network, HomeTunnel.ReverseTunnelBad), Refused(network, "spd.mismatch_in")));

        // Under the terminal's own ESP, with a mobile header of somebody else or somebody else's packet.
        network = new HomeNetwork();
        var terminal = Registered(network, Data(Home1));
        var raw = EndOf(terminal, MobileHeader.None, inside: new IPNetwork(IPAddress.IPv6Any, 0));
        Assert.Null(AtHomeAgent(network, Up(raw, Tunnelled(Moved, Plain(Home1, s_peer)), network.Now)!));
        Assert.Equal(1, Refused(network, HomeTunnel.ReverseTunnelBad));
        Assert.Null(AtHomeAgent(network, Up(raw, Tunnelled(CareOf1, Plain(Home2, s_peer)), network.Now)!));
        Assert.Null(AtHomeAgent(network, Up(raw, Plain(Home2, s_peer), network.Now)!));
        Assert.Equal((1, 2), (Refused(network, HomeTunnel.ReverseTunnelBad), Refused(network, "spd.mismatch_in")));
    }

    [Fact]
    [Trait("Row", "TM-NC02")]
    [Trait("Row", "TM-NC03")]
    public void Unknown_associations_forgeries_and_repetitions_are_counted_apart()
    {
        var network = new HomeNetwork();
        var terminal = Registered(network, Data(Home1));
        var wire = Up(EndOf(terminal), Plain(Home1, s_peer), network.Now)!;
        var forged = wire.ToArray();
        forged[^1] ^= 1;
        Assert.Null(AtHomeAgent(network, forged));
        Assert.NotNull(AtHomeAgent(network, wire));
        Assert.Null(AtHomeAgent(network, wire));
        Assert.Equal(2, Refused(network, "ipsec.failed_in"));
        forged[40] ^= 0x55;
        network.Deliver(forged);
        Assert.Equal(1, network.Counter("ipsec.sa_not_found_in"));
    }

    [Fact]
    [Trait("Row", "TM-R101")]
    public void A_move_takes_the_associations_along_with_their_counters()
    {
        var network = new HomeNetwork();
        var terminal = Registered(network, Data(Home1));
        var before = terminal.TunnelChildren[0];
        Assert.NotNull(AtHomeAgent(network, Plain(s_peer, Home1)));
        network.Move(terminal, Moved);
        network.Run(3);
        Assert.Equal(Moved, network.Binding(Home1)!.CareOfAddress);
        Assert.Equal(before.Inbound.Spi, Assert.Single(terminal.TunnelChildren).Inbound.Spi);
        var wire = AtHomeAgent(network, Plain(s_peer, Home1))!;
        Assert.Equal((Moved, 2), (new IPAddress(wire[24..40]), wire[47]));
        Assert.Equal(Plain(s_peer, Home1), Open(EndOf(terminal), wire, network.Now).Packet);
        Assert.NotNull(AtHomeAgent(network, Up(EndOf(terminal), Plain(Home1, s_peer), network.Now)!));
    }

    [Fact]
    public void After_a_rekeying_both_pairs_of_keys_are_taken_and_the_end_of_all_leads_back_to_the_configuration()
    {
        var network = new HomeNetwork();
        var terminal = Registered(network, Data(Home1));
        var old = terminal.TunnelChildren[0];
        var late = Up(EndOf(terminal, child: old), Plain(Home1, s_peer), network.Now)!;
        terminal.Tell(new RekeyChild(old.Id));
        network.Run(1);
        var fresh = Assert.Single(terminal.TunnelChildren);
        Assert.NotEqual(old.Inbound.Spi, fresh.Inbound.Spi);
        Assert.NotNull(AtHomeAgent(network, Up(EndOf(terminal), Plain(Home1, s_peer), network.Now)!));
        Assert.Equal(Plain(s_peer, Home1), Open(EndOf(terminal), AtHomeAgent(network, Plain(s_peer, Home1))!, network.Now).Packet);
        Assert.Null(AtHomeAgent(network, late));

        terminal.Tell(new CloseChild(fresh.Id));
        network.Run(1);
        Assert.Empty(network.Device.TunnelAssociations);
        Assert.Equal(IpProtocol.IPv6, AtHomeAgent(network, Plain(s_peer, Home1))![6]);
    }

    [Fact]
    public void Until_the_terminal_deletes_the_former_keys_the_home_agent_sends_under_them()
    {
        var network = new HomeNetwork();
        var terminal = Registered(network, Data(Home1));
        var old = terminal.TunnelChildren[0];

        // The answer to the rekeying arrives, the deletion does not.
        var held = false;
        network.Fate = packet => held && packet[6] == IpProtocol.Udp && new IPAddress(packet[24..40]).Equals(Agent) ? [] : [TimeSpan.FromMilliseconds(5)];
        terminal.Tell(new RekeyChild(old.Id));
        network.Run(0.006);
        held = true;
        network.Run(0.05);
        Assert.Equal(2, network.Device.TunnelAssociations.Count());
        Assert.Equal(Plain(s_peer, Home1), Open(EndOf(terminal, child: old), AtHomeAgent(network, Plain(s_peer, Home1))!, network.Now).Packet);
        Assert.NotNull(AtHomeAgent(network, Up(EndOf(terminal, child: terminal.TunnelChildren[^1]), Plain(Home1, s_peer), network.Now)!));
        Assert.NotNull(AtHomeAgent(network, Up(EndOf(terminal, child: old), Plain(Home1, s_peer), network.Now)!));
    }

    [Fact]
    [Trait("Row", "TM3.40")]
    public void Home_tests_go_under_an_association_of_their_own_and_packets_beside_it_as_they_are()
    {
        var network = new HomeNetwork();
        var terminal = Registered(network, HomeTests(Home1));
        var end = EndOf(terminal);
        Assert.Equal(HomeTestPacket(init: true), AtHomeAgent(network, Up(end, HomeTestPacket(init: true), network.Now)!));
        var down = AtHomeAgent(network, HomeTestPacket(init: false))!;
        Assert.Equal(IpProtocol.Esp, down[6]);
        Assert.Equal(HomeTestPacket(init: false), Open(end, down, network.Now).Packet);

        Assert.Null(AtHomeAgent(network, Tunnelled(CareOf1, HomeTestPacket(init: true))));
        Assert.Equal(1, Refused(network, "spd.mismatch_in"));
        Assert.Equal(Plain(Home1, s_peer), AtHomeAgent(network, Tunnelled(CareOf1, Plain(Home1, s_peer))));
        Assert.Equal(IpProtocol.IPv6, AtHomeAgent(network, Plain(s_peer, Home1))![6]);

        // Its selectors let nothing else through.
        Assert.Null(AtHomeAgent(network, Up(end, Plain(Home1, s_peer), network.Now)!));
        Assert.Equal(2, Refused(network, "spd.mismatch_in"));
    }

    [Fact]
    public void An_association_for_some_destinations_leaves_the_others_to_the_configuration()
    {
        var network = new HomeNetwork();
        var near = IPAddress.Parse("2001:db8:f::80");
        var far = IPAddress.Parse("2001:db8:77::80");
        var terminal = Registered(network, Data(Home1, TrafficSelector.Of(IPNetwork.Parse("2001:db8:f::/64"))));
        Assert.Single(terminal.TunnelChildren);
        Assert.Equal(IpProtocol.Esp, AtHomeAgent(network, Plain(near, Home1))![6]);
        Assert.Equal(IpProtocol.IPv6, AtHomeAgent(network, Plain(far, Home1))![6]);
        Assert.Null(AtHomeAgent(network, Tunnelled(CareOf1, Plain(Home1, near))));
        Assert.Equal(Plain(Home1, far), AtHomeAgent(network, Tunnelled(CareOf1, Plain(Home1, far))));
        Assert.Equal(1, Refused(network, "spd.mismatch_in"));
    }

    [Fact]
    public void A_child_sa_for_anything_else_is_given_up_at_once()
    {
        var network = new HomeNetwork();
        var range = s_everywhere with { StartAddress = s_peer, EndAddress = IPAddress.Parse("2001:db8:f::83") };
        var odd = range with { StartAddress = IPAddress.Parse("2001:db8:f::81") };
        var terminal = Registered(
            network, new IkeChildOptions { Name = "web", Mode = ChildMode.Tunnel, LocalSelectors = [TrafficSelector.Of(Home1, IpProtocol.Tcp)], RemoteSelectors = [s_everywhere] }, Data(Home1, range), Data(Home1, odd));
        Assert.Equal("web", Assert.Single(terminal.All.OfType<ChildSaRefused>()).Name);
        Assert.Equal(range, Assert.Single(Assert.Single(network.Device.TunnelAssociations).LocalSelectors));
        Assert.Single(terminal.TunnelChildren);
        Assert.Equal(1, network.Counter("ha6.associations.refused"));
        terminal.Tell(new CloseChild(terminal.TunnelChildren[0].Id));
        network.Run(1);
        Assert.Equal(IpProtocol.IPv6, AtHomeAgent(network, Plain(s_peer, Home1))![6]);

        // Another's home address: the key exchange does not get so far.
        var other = new HomeNetwork();
        Assert.Empty(Registered(other, Data(Home2)).TunnelChildren);
        Assert.Empty(other.Device.TunnelAssociations);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Fragments_of_tunnel_packets_are_put_together(bool underEsp)
    {
        var network = new HomeNetwork();
        var terminal = underEsp ? Registered(network, Data(Home1)) : Registered(network);
        var inner = Plain(Home1, s_peer, 1360);
        var outer = underEsp ? Up(EndOf(terminal), inner, network.Now)! : Tunnelled(CareOf1, inner);
        var buffer = new byte[4096];
        var (written, count) = IPv6Fragmenter.Cut(outer, 1280, 99, buffer);
        Assert.Equal(2, count);
        foreach (var fragment in new PacketSequence(buffer.AsSpan(0, written)))
        {
            network.Deliver(fragment.ToArray());
        }

        network.Run(1);
        Assert.Equal(inner, Assert.Single(network.Elsewhere, p => p.Length == inner.Length));
    }
}
