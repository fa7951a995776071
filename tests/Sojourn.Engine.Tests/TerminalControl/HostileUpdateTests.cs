using System.Net;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.TerminalControl;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;

namespace Sojourn.Engine.Tests.TerminalControl;

/// <summary>Binding updates that must change nothing: rows N19, N20, H4, H6 to H8, H20.</summary>
public class HostileUpdateTests
{
    [Fact]
    [Trait("Row", "TA-N19")]
    public void An_update_in_clear_is_neither_taken_nor_answered()
    {
        var network = new HomeNetwork();
        var terminal = network.Terminal("mn1.home.example", HomeNetwork.Home1, HomeNetwork.CareOf1);
        network.Post(terminal.Forge(HomeNetwork.Home1, HomeNetwork.CareOf1, 1, secured: false));
        network.Run(5);
        Assert.Empty(network.Device.Bindings);
        Assert.Single(network.Sent);
        Assert.Equal(1, network.Counter("mip6.ha.discarded.unprotected"));

        // Nor from one who has an association.
        var registered = network.Registered();
        var binding = network.Binding(HomeNetwork.Home1);
        var sent = network.Sent.Count;
        network.Post(registered.Forge(HomeNetwork.Home1, HomeNetwork.Moved, (ushort)(binding!.SequenceNumber + 5), secured: false));
        network.Run(1);
        Assert.Equal(binding, network.Binding(HomeNetwork.Home1));
        Assert.Equal(sent + 1, network.Sent.Count);
        Assert.Equal(2, network.Counter("mip6.ha.discarded.unprotected"));
    }

    [Fact]
    [Trait("Row", "TA-N20")]
    public void An_association_is_good_for_its_own_home_address_only()
    {
        var network = new HomeNetwork();
        var terminal = network.Registered();
        var binding = network.Binding(HomeNetwork.Home1)!;

        // The association's own end does not let it out; an attacker's would: the address is changed on the way, which ESP does not cover.
        var wire = terminal.Forge(HomeNetwork.Home1, HomeNetwork.CareOf1, (ushort)(binding.SequenceNumber + 1));
        Assert.True(HomeNetwork.Home2.TryWriteBytes(wire.AsSpan(48), out _));
        network.Post(wire);
        network.Run(1);
        Assert.Null(network.Binding(HomeNetwork.Home2));
        Assert.Equal(binding, network.Binding(HomeNetwork.Home1));
        Assert.Equal(1, network.Counter("ipsec.selector_mismatch"));
        Assert.Equal("TA-R73", Assert.Single(network.Events("binding.discarded")).Rule);
    }

    [Fact]
    [Trait("Row", "TA-H6")]
    public void A_recorded_update_is_a_replay_before_and_after_a_move()
    {
        var network = new HomeNetwork();
        var terminal = network.Registered();
        var recorded = network.Sent.Single(p => p[6] == IpProtocol.DestinationOptions && p[40] == IpProtocol.Esp);
        network.Deliver(recorded);
        Assert.Equal(1, network.Counter("ipsec.replay"));
        network.Move(terminal, HomeNetwork.Moved);
        network.Run(2);
        var binding = network.Binding(HomeNetwork.Home1);
        Assert.Equal(HomeNetwork.Moved, binding!.CareOfAddress);
        network.Deliver(recorded);
        Assert.Equal(2, network.Counter("ipsec.replay"));
        Assert.Equal(binding, network.Binding(HomeNetwork.Home1));
    }

    [Fact]
    [Trait("Row", "TA-H4")]
    public void A_recorded_proof_of_identity_is_worth_nothing_in_another_exchange()
    {
        var network = new HomeNetwork();
        network.Registered();
        var auth = network.Sent.Where(p => p[6] == IpProtocol.Udp && p[48 + 18] == 35 && p[8..24].SequenceEqual(HomeNetwork.CareOf1.GetAddressBytes())).ToList();
        Assert.NotEmpty(auth);

        // Another beginning of somebody else, answered with the recorded message under the new SPIs.
        var fresh = new HomeNetwork();
        var attacker = fresh.Terminal("mn1.home.example", HomeNetwork.Home1, HomeNetwork.CareOf1, seed: 31);
        fresh.Fate = p => p[6] == IpProtocol.Udp && p[48 + 18] == 35 ? [] : [TimeSpan.FromMilliseconds(5)];
        attacker.Initiate();
        fresh.Run(0.5);
        var init = fresh.Sent.Last(p => p[6] == IpProtocol.Udp && p[48 + 18] == 34 && p[8..24].SequenceEqual(HomeNetwork.Agent.GetAddressBytes()));
        foreach (var message in auth)
        {
            var replayed = message.ToArray();
            init.AsSpan(48, 16).CopyTo(replayed.AsSpan(48));
            replayed[46] = replayed[47] = 0;
            Sojourn.Wire.Udp.UdpHeader.WriteChecksum(replayed.AsSpan(40), replayed.AsSpan(8, 16), replayed.AsSpan(24, 16));
            fresh.Deliver(replayed);
        }

        fresh.Run(1);
        Assert.Empty(fresh.Device.IkeSas);
        Assert.Empty(fresh.Asked);
    }

    [Fact]
    [Trait("Row", "TA-H7")]
    public void A_care_of_address_that_is_not_the_senders_is_refused_with_174()
    {
        var network = new HomeNetwork();
        var terminal = network.Registered();
        var binding = network.Binding(HomeNetwork.Home1)!;
        network.Post(terminal.Forge(HomeNetwork.Home1, HomeNetwork.CareOf1, (ushort)(binding.SequenceNumber + 1), alternate: HomeNetwork.Correspondent));
        network.Run(1);
        Assert.Equal(1, network.Counter("mip6.ha.refused.174"));
        Assert.Equal(binding.CareOfAddress, network.Binding(HomeNetwork.Home1)!.CareOfAddress);
        Assert.DoesNotContain(network.Elsewhere, p => p[24..40].SequenceEqual(HomeNetwork.Correspondent.GetAddressBytes()));
    }

    [Fact]
    [Trait("Row", "TA-H8")]
    [Trait("Row", "TA-G29")]
    public void A_lower_sequence_number_is_answered_135_and_changes_nothing()
    {
        var network = new HomeNetwork();
        var terminal = network.Registered();
        var binding = network.Binding(HomeNetwork.Home1)!;
        network.Post(terminal.Forge(HomeNetwork.Home1, HomeNetwork.Moved, (ushort)(binding.SequenceNumber - 1)));
        network.Run(1);
        Assert.Equal(1, network.Counter("mip6.ha.refused.135"));
        Assert.Equal(binding, network.Binding(HomeNetwork.Home1));
    }

    [Fact]
    public void Damaged_and_cut_packets_change_nothing_and_never_fail()
    {
        var network = new HomeNetwork();
        var terminal = network.Registered();
        var binding = network.Binding(HomeNetwork.Home1);
        var random = new Random(4);
        foreach (var original in network.Sent.Where(p => p.AsSpan(24, 16).SequenceEqual(HomeNetwork.Agent.GetAddressBytes())).ToList())
        {
            for (var i = 0; i < 300; i++)
            {
                var packet = original.ToArray();
                for (var changes = random.Next(1, 4); changes > 0; changes--)
                {
                    packet[random.Next(packet.Length)] ^= (byte)(1 << random.Next(8));
                }

                var length = random.Next(4) == 0 ? random.Next(packet.Length) : packet.Length;
                network.Tell(new Ipv6PacketReceived(packet.AsMemory(0, length)));
                network.Tunnel.Forward(packet.AsSpan(0, length), new byte[HomeTunnel.OutputFor(packet.Length)], network.Now);
            }
        }

        Assert.Equal(binding, network.Binding(HomeNetwork.Home1));
        Assert.Single(network.Device.Terminals);
        network.Move(terminal, HomeNetwork.Moved);
        network.Run(2);
        Assert.Equal(HomeNetwork.Moved, network.Binding(HomeNetwork.Home1)!.CareOfAddress);
    }
}
