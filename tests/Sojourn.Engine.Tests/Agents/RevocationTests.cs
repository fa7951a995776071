using System.Net;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Engine.MobileIpv4.Agents;
using Sojourn.Wire.MobileIpv4;
using Xunit;
using static Sojourn.Engine.Tests.Agents.AgentFixture;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>RFC 3543 between home agent and foreign agents: what a node has left, and what an operator ends.</summary>
public sealed class RevocationTests
{
    [Theory]
    [InlineData("fa2")]
    [InlineData("fa3")]
    [Trait("Row", "R29")]
    public void A_second_after_a_move_the_old_agent_is_told_and_what_it_sends_on_goes_on(string next)
    {
        var f = new AgentFixture().WithCompany().Register();
        f.Register(next, seconds: 0.9);
        f.AssertRegistered(next);
        Assert.DoesNotContain(f.Net.Arrows, a => a.Contains("REV", StringComparison.Ordinal));
        f.Net.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(["ha > fa1 REV", "fa1 > ha REVA"], f.Net.Arrows.Where(a => a.Contains("REV", StringComparison.Ordinal)));
        Assert.Single(f.ForeignAgent("fa1").Departed);
        Assert.Equal(1, f.Net.Count("fa.revocation.departed"));
        Assert.Contains(f.Net["ha"].Events, e => e.Kind == "revocation.acknowledged" && Fa1.ToString() == e.Peer);
        f.AssertLeg(next, "ha", 1, AliceHome);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "R29")]
    public void An_old_agent_that_nobody_has_asked_loses_the_visitor_at_once_and_its_AAA_server_hears_of_it()
    {
        var f = new AgentFixture().WithCompany().Register();
        f.Net.Fates = flight => flight.Name == "BU" ? Fate.Lose : Fate.Deliver;
        f.Register("fa3", seconds: 3);
        f.AssertRegistered("fa3");
        Assert.Empty(f.ForeignAgent("fa1").Visitors);
        Assert.Empty(f.Net["fa1"].UserPaths);
        Assert.Empty(f.VisitedAaa.Sessions);
        Assert.Contains("fa1 > aaaf STR", f.Net.Arrows);
        f.AssertLeg("fa3", "ha", 1, AliceHome);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "R29")]
    public void What_an_operator_ends_at_the_home_agent_the_node_is_told_of_and_registers_again()
    {
        var f = new AgentFixture().WithCompany().Register();
        f.Net.Arrows.Clear();
        f.Net.Input("ha", new ClearSession());
        f.Net.Run(TimeSpan.FromMilliseconds(20));
        Assert.Contains("ha > fa1 REV inform", f.Net.Arrows);
        Assert.Contains("fa1 > ha REVA inform", f.Net.Arrows);
        Assert.Empty(f.ForeignAgent("fa1").Visitors);
        f.Net.Run(TimeSpan.FromMilliseconds(20));
        Assert.Equal(1, f.Net["alice"].Counters.GetValueOrDefault("mn.agent.restarted"));

        // The home agent has forgotten the node's key with the binding: what it says is believed once the node asks for another.
        f.Net.Run(TimeSpan.FromSeconds(20));
        f.AssertRegistered("fa1");
        f.AssertLeg("fa1", "ha", 1, AliceHome);
        f.AssertSound();
    }

    [Fact]
    public void A_node_that_comes_back_within_the_second_is_not_revoked_where_it_is()
    {
        var f = new AgentFixture().WithCompany().Register();
        f.Register("fa2", seconds: 0.3);
        f.Register("fa1", seconds: 5);
        f.AssertRegistered("fa1");
        Assert.Equal(["ha > fa2 REV"], f.Net.Arrows.Where(a => a.EndsWith(" REV", StringComparison.Ordinal)));
        Assert.Single(f.ForeignAgent("fa1").Visitors);
        f.AssertSound();
    }

    [Fact]
    public void An_agent_that_is_silent_is_asked_three_times_ever_later()
    {
        var f = new AgentFixture().WithCompany().Register();
        f.Net.Crash("fa1");
        var sent = new List<DateTimeOffset>();
        f.Net.Leaving = (from, _, name) =>
        {
            if ((from, name) == ("ha", "REV"))
            {
                sent.Add(f.Net.Now);
            }
        };
        f.Register("fa2", seconds: 20);
        Assert.Equal([1.0, 2.0], sent.Zip(sent.Skip(1), (a, b) => Math.Round((b - a).TotalSeconds, 3)));
        Assert.Equal(1, f.Net.Count("ha.revocation.unanswered"));
        f.AssertRegistered("fa2");
    }

    [Fact]
    public void With_the_switch_off_nobody_is_told()
    {
        var f = new AgentFixture(homeAgent: o => o with { Revocation = false }).WithCompany().Register().Register("fa2");
        Assert.Equal(0, f.Net.Count("ha.revocation.sent"));
        Assert.Null(f.ForeignAgent("fa2").Visitors.Single().HomeTime);
        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "NV9.11")]
    public void A_recorded_revocation_does_not_end_a_later_registration_under_the_same_key()
    {
        var f = new AgentFixture().WithCompany().Register();
        SendDatagram? recorded = null;
        f.Net.Fates = flight =>
        {
            recorded = flight is { Name: "REV", To: "fa1" } ? flight.Datagram : recorded;
            return Fate.Deliver;
        };
        f.Register("fa2", seconds: 1.5).Register("fa1", seconds: 2);
        f.AssertRegistered("fa1");
        Assert.NotNull(f.ForeignAgent("fa1").Visitors.Single().HomeTime);
        f.Net.Forge("ha", recorded!);
        f.Net.Run(TimeSpan.FromMilliseconds(100));
        Assert.Single(f.ForeignAgent("fa1").Visitors);
        Assert.True(f.Net.Count("fa.revocation.stale") + f.Net.Count("fa.revocation.bad_authenticator") > 0);
        f.AssertSound();
    }

    [Theory]
    [InlineData("another key", "fa.revocation.bad_authenticator")]
    [InlineData("another sender", "fa.revocation.bad_authenticator")]
    [InlineData("nobody's", "fa.revocation.unknown_node")]
    [InlineData("not from a home agent", "fa.revocation.reflected")]
    [InlineData("long ago", "fa.revocation.stale")]
    [InlineData("in the future", "fa.revocation.stale")]
    [InlineData("another agent", "fa.revocation.stale")]
    [InlineData("something behind the authenticator", "fa.revocation.bad_authenticator")]
    [Trait("Row", "NV9.10")]
    public void What_does_not_prove_itself_ends_nothing(string what, string counter)
    {
        var h = new ForeignAgentHarness().Admitted();
        var time = (uint)(Identification.FromTime(h.Net.Now) >> 32);
        var revocation = new RegistrationRevocation
        {
            Flags = what == "not from a home agent" ? (ushort)0 : RegistrationRevocation.HomeAgentFlag,
            HomeAddress = what == "nobody's" ? BobHome : AliceHome,
            HomeDomainAddress = Ha,
            ForeignDomainAddress = what == "another agent" ? Fa2 : Fa1,
            Identifier = what == "long ago" ? time - 60 : what == "in the future" ? time + 60 : time,
        }.Sign(AuthenticationKind.ForeignHome, new MobilityAssociation(0x902, what == "another key" ? Secret(66) : ForeignAgentHarness.AgentsKey));
        if (what == "something behind the authenticator")
        {
            revocation = revocation.With(new NaiExtension(Alice));
        }

        h.Net.Forge("ha", new SendDatagram(new IPEndPoint(what == "another sender" ? Pcn : Ha, 434), new IPEndPoint(Fa1, 434), revocation.ToArray()));
        h.Net.Run(TimeSpan.FromMilliseconds(100));
        Assert.Equal(1, h.Node.Counters.GetValueOrDefault(counter));
        Assert.Single(h.Engine.Visitors);
        Assert.Empty(h.HomeAgent.Received);
        Assert.Contains(h.Node.Events, e => e is { Kind: "revocation.dropped", Rule: "RFC 3543 3.5" });
    }

    [Fact]
    public void A_repetition_is_acknowledged_again_after_the_visitor_has_gone()
    {
        var h = new ForeignAgentHarness().Admitted();
        for (var i = 1; i <= 2; i++)
        {
            var revocation = new RegistrationRevocation
            {
                Flags = RegistrationRevocation.HomeAgentFlag | RegistrationRevocation.InformFlag,
                HomeAddress = AliceHome,
                HomeDomainAddress = Ha,
                ForeignDomainAddress = Fa1,
                Identifier = (uint)(Identification.FromTime(h.Net.Now) >> 32),
            }.Sign(AuthenticationKind.ForeignHome, new MobilityAssociation(0x902, ForeignAgentHarness.AgentsKey));
            h.Net.Forge("ha", new SendDatagram(new IPEndPoint(Ha, 434), new IPEndPoint(Fa1, 434), revocation.ToArray()));
            h.Net.Run(TimeSpan.FromSeconds(1));
            Assert.Empty(h.Engine.Visitors);
            Assert.Equal(i, h.HomeAgent.Received.Count);
            Assert.Equal((true, revocation.Identifier), (h.HomeAgent.Last<RegistrationRevocationAcknowledgement>().Inform, h.HomeAgent.Last<RegistrationRevocationAcknowledgement>().Identifier));
        }

        Assert.Equal((1L, 1L), (h.Node.Counters["fa.revocation.accepted"], h.Node.Counters["fa.revocation.repeated"]));
    }

    [Fact]
    public void A_node_that_speaks_of_revocation_is_not_heard()
    {
        var h = new ForeignAgentHarness();
        h.LetIn();
        h.Send(h.Request().With(new RevocationSupportExtension(0, 1)));
        Assert.Empty(h.Alice.Received);
        Assert.Equal(1, h.Node.Counters["fa.rrq.revocation_support"]);
    }
}
