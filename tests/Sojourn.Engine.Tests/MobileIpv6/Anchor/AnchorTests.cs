using System.Net;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.MobileIpv6;
using Xunit;
using static Sojourn.Engine.Tests.MobileIpv6.AnchorWorld;

namespace Sojourn.Engine.Tests.MobileIpv6;

/// <summary>Terminal → anchor point → home agent, with access authentication in between.</summary>
public sealed class AnchorTests
{
    [Fact]
    [Trait("Row", "TA3.162")]
    [Trait("Row", "TA3.163")]
    [Trait("Row", "TA3.163a")]
    public void A_local_update_starts_access_once_and_binds_nothing()
    {
        var world = new AnchorWorld();
        world.Attach(First, Option());

        Assert.Equal(RegionalAddress, world.Local.RegionalAddress);
        var update = Assert.Single(world.Between<BindingUpdate>(First, Map));
        Assert.Equal(BindingUpdateFlags.Acknowledge | BindingUpdateFlags.MobilityAnchorPoint, update.Flags);
        var (sent, packet) = world.Crossed[0];
        Assert.Equal((RegionalAddress, (long?)null), (packet.HomeAddress, sent.Under));
        Assert.Equal(new AccessWanted(RegionalAddress, First), Assert.Single(world.Wanted));
        Assert.Equal(new RequestAssociation(RegionalAddress, Map, First), world.Requested.First());

        world.Run(TimeSpan.FromSeconds(20)); // repetitions
        Assert.True(world.Between<BindingUpdate>(First, Map).Count() > 3);
        Assert.Single(world.Wanted);
        Assert.Null(world.Bound);
        Assert.Empty(world.Between<BindingAcknowledgement>(Map, First));
        Assert.Empty(world.Between<BindingUpdate>(First, Agent)); // and nobody is told at home
        Assert.Empty(world.AnchorEffects.OfType<ChangePaths>());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Row", "TA3.150a")]
    [Trait("Row", "TA3.164")]
    [Trait("Row", "TA3.165")]
    [Trait("Row", "TA-D10")]
    [Trait("Row", "TA-M67")]
    [Trait("Row", "TA-C16")]
    public void Access_and_association_together_bind_and_the_home_agent_gets_the_regional_address(bool associationFirst)
    {
        var world = new AnchorWorld();
        world.Attach(First, Option());
        if (associationFirst)
        {
            world.Associate();
            Assert.Null(world.Bound);
            world.Decide();
        }
        else
        {
            world.Decide();
            Assert.Null(world.Bound);
            world.Associate();
        }

        Assert.Equal((First, "mn1"), (world.Bound!.CareOfAddress, world.Bound.Identifier));
        Assert.All(world.Between<BindingAcknowledgement>(Map, First), acknowledgement => Assert.Equal(BindingStatus.Accepted, acknowledgement.Status));
        var answer = world.Crossed.Last(c => c.Packet.Source.Equals(Map));
        Assert.Equal((RegionalAddress, (long?)1), (answer.Packet.RoutingHomeAddress, answer.Sent.Under));

        // The tunnel, both halves; and the registration at home comes after, from the regional address and through it.
        var here = world.AnchorEffects.OfType<ChangePaths>().Last().Install.Single();
        Assert.Equal((Map, First, new IPNetwork(RegionalAddress, 128)), (here.LocalGateway, here.RemoteGateway, here.Destination));
        Assert.Contains(world.TerminalEffects.OfType<ChangePaths>().SelectMany(c => c.Install), p => p.Source.Equals(new IPNetwork(RegionalAddress, 128)) && p.LocalGateway!.Equals(First) && p.RemoteGateway!.Equals(Map));
        var home = world.Crossed.Single(c => c.Packet.Destination.Equals(Agent));
        Assert.Equal((RegionalAddress, Home), (home.Packet.Source, home.Packet.HomeAddress));
        Assert.Equal((First, Map), (home.Sent.TunnelFrom, home.Sent.TunnelTo));
        Assert.True(world.Crossed.IndexOf(home) > world.Crossed.IndexOf(answer));
        Assert.Equal(RegionalAddress, world.AtHome!.CareOfAddress);

        // Not longer at home than here (RFC 5380 6.1).
        Assert.True(world.AtHome.Expires <= world.Bound.Expires);
    }

    [Fact]
    [Trait("Row", "TA3.166")]
    [Trait("Row", "TA-A25")]
    public void A_move_inside_the_domain_reaches_the_anchor_point_only_and_needs_no_new_access()
    {
        var world = new AnchorWorld();
        world.Registered();
        var home = world.Between<BindingUpdate>(RegionalAddress, Agent).Count();
        world.Run(TimeSpan.FromSeconds(5));

        world.Attach(Second, Option(distance: 3));

        Assert.Equal(Second, world.Bound!.CareOfAddress);
        Assert.Equal((long?)1, world.Crossed.Last(c => c.Packet.Destination.Equals(Map)).Sent.Under);
        Assert.Equal(new MoveAssociation(1, Second), Assert.Single(world.AnchorEffects.OfType<MoveAssociation>()));
        Assert.Single(world.Wanted);
        Assert.Equal(home, world.Between<BindingUpdate>(RegionalAddress, Agent).Count());
        Assert.Equal(RegionalAddress, world.AtHome!.CareOfAddress);
        Assert.Equal(Second, world.AnchorEffects.OfType<ChangePaths>().Last().Install.Single().RemoteGateway);
    }

    [Fact]
    [Trait("Row", "TA3.150x")]
    [Trait("Row", "TA-N26")]
    public void Failed_access_is_answered_with_129_and_leaves_no_binding()
    {
        var world = new AnchorWorld();
        world.Attach(First, Option());
        world.Decide(allowed: false);

        Assert.Equal((byte)129, (byte)Assert.Single(world.Between<BindingAcknowledgement>(Map, First)).Status);
        Assert.Null(world.Bound);
        Assert.Equal(1, world.TerminalCount("hmip6.mn.refused.129"));

        // In clear it proves nothing: the terminal goes on asking, and that starts access anew.
        world.Run(TimeSpan.FromSeconds(3));
        Assert.Equal(2, world.Wanted.Count());
        Assert.Empty(world.AnchorEffects.OfType<ChangePaths>());
    }

    [Fact]
    [Trait("Row", "TA-G27")]
    public void Without_an_association_nothing_is_bound_unless_a_laboratory_says_so()
    {
        var world = new AnchorWorld();
        world.Attach(First, Option());
        world.Decide();
        world.Run(TimeSpan.FromSeconds(30));
        Assert.Null(world.Bound);

        var lab = new AnchorWorld(isProtected: false);
        lab.Attach(First, Option());
        Assert.Null(lab.Bound);
        lab.Decide();
        Assert.Equal(First, lab.Bound!.CareOfAddress);
        Assert.Empty(lab.Requested);
    }

    [Fact]
    [Trait("Row", "TA-H25")]
    public void Nobody_takes_or_moves_the_regional_address_of_another()
    {
        var world = new AnchorWorld();
        world.Registered();
        var mallory = IPAddress.Parse("2001:db8:f:1::666");
        var own = IPAddress.Parse("2001:db8:b::666");
        var association = world.Associate(own, mallory, "mn2", atTerminal: false);
        var sequence = (ushort)(world.Bound!.SequenceNumber + 1);

        world.Forge(mallory, RegionalAddress, sequence, association.Number); // under her own association
        world.Forge(mallory, RegionalAddress, sequence, null); // in clear
        world.Forge(mallory, RegionalAddress, sequence, 99); // under none that exists
        world.Forge(mallory, RegionalAddress, sequence, null, lifetime: 0);
        world.ToAnchor(new AccessDecided(RegionalAddress, true, "mn2", world.Now.AddHours(1))); // her access does not count for it
        world.Forge(mallory, RegionalAddress, sequence, association.Number);

        Assert.Equal((First, "mn1"), (world.Bound!.CareOfAddress, world.Bound.Identifier));
        Assert.Equal(2, world.AnchorCount("hmip6.map.discarded.wrong_selector"));
        Assert.Equal(2, world.AnchorCount("hmip6.map.discarded.unprotected"));
        Assert.Equal(1, world.AnchorCount("hmip6.map.discarded.no_association"));
        Assert.Empty(world.Between<BindingAcknowledgement>(Map, mallory));
        Assert.Single(world.Wanted);
    }

    [Fact]
    public void An_update_in_clear_from_elsewhere_is_not_what_is_bound()
    {
        var world = new AnchorWorld();
        var elsewhere = IPAddress.Parse("2001:db8:f:9::1");
        world.Forge(elsewhere, RegionalAddress, 7, null);
        Assert.Equal(elsewhere, Assert.Single(world.Wanted).OnLinkAddress);
        world.Decide();
        world.Associate(peer: First, atTerminal: false); // the key exchange came from another place
        Assert.Null(world.Bound);
        world.Forge(First, RegionalAddress, 8, 1);
        Assert.Equal(First, world.Bound!.CareOfAddress);
    }

    [Fact]
    public void A_binding_ends_with_access_with_its_association_or_by_command_and_survives_a_restart()
    {
        var world = new AnchorWorld();
        world.Attach(First, Option());
        world.Associate();
        world.Decide(lasts: TimeSpan.FromSeconds(40));
        Assert.True(world.Bound!.Expires <= world.Now.AddSeconds(40));
        var saved = world.AnchorEffects.OfType<SaveState>().Last();
        world.Run(TimeSpan.FromSeconds(41));
        Assert.Null(world.Bound);

        var next = new AnchorWorld();
        next.ToAnchor(new EngineStarted([new SavedState(saved.Key, saved.Value)]));
        Assert.Equal(First, next.Bound!.CareOfAddress);
        Assert.Equal(First, next.AnchorEffects.OfType<ChangePaths>().Single().Install.Single().RemoteGateway);

        foreach (EngineInput end in new EngineInput[] { new AssociationEnded(1, EndBinding: true), new WithdrawAccess("mn1") })
        {
            var ended = new AnchorWorld();
            ended.Registered();
            Assert.NotNull(ended.Bound);
            ended.ToAnchor(end);
            Assert.Null(ended.Bound);
            Assert.Equal(MobileTunnel.IdOf(RegionalAddress), ended.AnchorEffects.OfType<ChangePaths>().Last().Remove.Single());
        }
    }

    [Fact]
    public void Bindings_are_renewed_under_the_association_and_old_numbers_answered_with_135()
    {
        var world = new AnchorWorld();
        world.Registered();
        world.Run(TimeSpan.FromMinutes(30));
        Assert.NotNull(world.Bound);
        Assert.Equal(BindingUpdateState.Registered, world.Local.Registration!.State);
        Assert.Single(world.Wanted);
        world.Forge(First, RegionalAddress, (ushort)(world.Bound!.SequenceNumber - 3), 1);
        Assert.Equal(BindingStatus.SequenceNumberOutOfWindow, world.Between<BindingAcknowledgement>(Map, First).Last().Status);
    }

    [Fact]
    public void The_terminal_keeps_its_anchor_takes_the_best_and_does_without_when_there_is_none()
    {
        var other = IPAddress.Parse("2001:db8:e::1");
        var world = new AnchorWorld();
        world.Attach(First, Option(preference: 0), Option(valid: 0));
        Assert.Null(world.Local.RegionalAddress);
        Assert.Equal(First, world.Node.CareOfAddress);

        world = new AnchorWorld();
        world.Attach(First, Option(preference: 5), Option(preference: 9, distance: 4, address: other), Option(preference: 9, distance: 7, address: IPAddress.Parse("2001:db8:d::1")));
        Assert.Equal(other, world.Local.Registration!.Peer);

        world = new AnchorWorld();
        world.Registered();
        world.Attach(Second, Option(preference: 15, address: other), Option(preference: 1));
        Assert.Equal(Map, world.Local.Registration!.Peer);
        world.Attach(Second);
        Assert.Null(world.Local.Registration);
        Assert.Equal(Second, world.Node.CareOfAddress);
        Assert.Equal(MobileTunnel.IdOf(RegionalAddress), world.TerminalEffects.OfType<ChangePaths>().Last(c => c.Remove.Count > 0).Remove.Single());
    }
}
