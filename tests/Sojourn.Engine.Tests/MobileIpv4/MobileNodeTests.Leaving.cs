using System.Net;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.MobileIpv4;
using Xunit;
using static Sojourn.Engine.Tests.MobileIpv4.MobileNodeHarness;

namespace Sojourn.Engine.Tests.MobileIpv4;

/// <summary>A node gives its registration up.</summary>
public partial class MobileNodeTests
{
    // MN --RRQ lifetime 0--> FA, MN <--RRP-- FA
    [Fact]
    [Trait("Row", "NV9.8")]
    public void Deregistration_takes_the_home_address_away_and_ends_in_silence()
    {
        var mn = new MobileNodeHarness();
        mn.RegisterAt(Agent.Old);
        mn.Now += TimeSpan.FromSeconds(2);
        var request = Request(mn.Tell(new DeregisterNode()));
        Assert.Equal(0, request.Lifetime);
        Assert.True(request.TryFindAuthentication(AuthenticationKind.MobileHome, out _, out _));
        var effects = mn.Deliver(mn.Answer(request, Agent.Old), Agent.Old);
        Assert.Equal(new DetachHome(Link, HomeAddress), Assert.Single(effects.OfType<DetachHome>()));
        Assert.IsType<MobileNodeState.Stopped>(mn.Node.State);
        Assert.Null(mn.Node.NextDeadline);
        Assert.Empty(mn.Advertise(Agent.Old, 3).OfType<SendDatagram>());
        Assert.Equal(1800, Request(mn.Tell(new RegisterNode())).Lifetime);
    }

    // MN --RRQ lifetime 0, used challenge--> FA, MN <--RRP 106, new challenge-- FA, and once more with that one
    [Fact]
    [Trait("Row", "NV9.8")]
    public void Deregistration_refused_for_its_challenge_is_sent_again_with_the_new_one()
    {
        var mn = new MobileNodeHarness();
        mn.RegisterAt(Agent.Old);
        var first = Request(mn.Tell(new DeregisterNode()));
        var refused = mn.Answer(first, Agent.Old, RegistrationReplyCode.ForeignStaleChallenge);
        var again = Request(mn.Deliver(refused, Agent.Old));
        Assert.Equal(0, again.Lifetime);
        Assert.Equal(refused.Extensions.Find<ChallengeExtension>()!.Challenge, again.Extensions.Find<ChallengeExtension>()!.Challenge);
        mn.Deliver(mn.Answer(again, Agent.Old), Agent.Old);
        Assert.IsType<MobileNodeState.Stopped>(mn.Node.State);
        Assert.Equal(1, mn.Count("mn.deregistered"));
    }

    // MN --RRQ--> FA, the user leaves, MN <--RRP with keys-- FA, MN --RRQ lifetime 0, signed with them--> FA
    [Fact]
    [Trait("Row", "NV9.8")]
    public void A_user_who_leaves_during_a_registration_deregisters_under_its_keys()
    {
        var mn = new MobileNodeHarness();
        mn.Tell(new EngineStarted([]));
        var request = Request(mn.Advertise(Agent.Old));
        Assert.Empty(mn.Tell(new DeregisterNode()).OfType<SendDatagram>());
        var leaving = Request(mn.Deliver(mn.Answer(request, Agent.Old), Agent.Old));
        Assert.Equal(0, leaving.Lifetime);
        Assert.Equal(AuthenticationResult.Valid, leaving.Check(leaving.ToArray(), AuthenticationKind.MobileHome, mn.HomeKey!));
        mn.Deliver(mn.Answer(leaving, Agent.Old), Agent.Old);
        Assert.IsType<MobileNodeState.Stopped>(mn.Node.State);
    }

    [Fact]
    public void Deregistration_that_nobody_answers_still_ends()
    {
        var mn = new MobileNodeHarness();
        mn.RegisterAt(Agent.Old);
        mn.Tell(new DeregisterNode());
        var effects = Keep(mn, Agent.Old, TimeSpan.FromSeconds(10));
        Assert.Equal(2, effects.OfType<SendDatagram>().Count());
        Assert.IsType<MobileNodeState.Stopped>(mn.Node.State);
        Assert.Single(effects.OfType<DetachHome>());
    }

    [Fact]
    public void A_link_that_changes_during_deregistration_does_not_bring_the_node_back()
    {
        var mn = new MobileNodeHarness();
        mn.RegisterAt(Agent.Old);
        mn.Tell(new DeregisterNode());
        mn.Tell(new LinkChanged(Link, false));
        Assert.Single(mn.Tell(new LinkChanged(Link, true)).Concat(mn.All).OfType<DetachHome>());
        Assert.Empty(mn.Advertise(Agent.New).OfType<SendDatagram>());
        Assert.Null(mn.Node.NextDeadline);
    }
}
