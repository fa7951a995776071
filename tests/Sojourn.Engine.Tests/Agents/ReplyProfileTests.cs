using Sojourn.Engine.Aaa;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Engine.MobileIpv4.Agents;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;
using Xunit;
using static Sojourn.Engine.Tests.Agents.AgentFixture;
using static Sojourn.Engine.Tests.Agents.ForeignAgentHarness;
using SeededRandom = Sojourn.Engine.Tests.Gateway.SeededRandom;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>R15: profiles for the new agent in the home agent's reply, beside those of the AMA.</summary>
public sealed class ReplyProfileTests
{
    private static readonly VpnProfileAvps Avps = new(DiameterDictionary.Default);

    [Fact]
    [Trait("Row", "R15")]
    public void The_reply_to_a_node_that_moved_brings_the_new_agent_its_profiles_and_the_node_never_sees_them()
    {
        var f = new AgentFixture(homeAgent: o => o with { ProfilesInReply = true }).WithCompany().WithPartner().Register();
        Assert.Equal(0, f.Net.Count("ha.rrp.profile_given"));
        f.Register("fa2");
        f.AssertRegistered("fa2");
        Assert.Equal((2L, 2L), (f.Net.Count("ha.rrp.profile_given"), f.Net.Count("fa.rrp.profiles_taken")));
        f.AssertLeg("fa2", "ha", 1, AliceHome);
        f.AssertLeg("fa2", "pcn", 2, AliceHome);
        var replies = f.Net["fa2"].Effects.OfType<SendDatagram>().Where(d => d.Interface is not null)
            .Select(d => Assert.IsType<RegistrationReply>(Parse(d)));
        Assert.All(replies, r => Assert.Null(r.Extensions.FindProject(ProjectExtensions.DefaultEnterprise, ProjectExtensions.SealedVpnProfileType)));
        foreach (var root in f.HomeAgent.Bindings.Single().Profiles.Select(p => p.Keying).OfType<ProfileKeying.Derived>().Select(k => k.Root.Octets.ToArray()))
        {
            Assert.All(f.Net.Captured, octets => Assert.True(octets.AsSpan().IndexOf(root) < 0, "a key travels in clear"));
        }

        f.AssertSound();
    }

    [Fact]
    [Trait("Row", "R15")]
    [Trait("Row", "NV-C17")]
    public void What_the_AMA_does_not_bring_the_reply_may_and_that_activates_it()
    {
        var h = new ForeignAgentHarness();
        h.Ama = (amr, answer) => h.Accept(amr, answer, [], reply: false);
        var request = h.Request();
        h.Send(request);
        Assert.Null(h.Node.Carrying(AliceHome, CompanyHost)?.Origin.ProfileNumber);
        h.FromHome(WithProfiles(ReplyTo(request), Profile()));
        var path = h.Node.Carrying(AliceHome, CompanyHost)!;
        Assert.Equal((1u, PathState.Active, Ha), (path.Origin.ProfileNumber!.Value, path.State, path.RemoteGateway));
        Assert.NotNull(path.Inbound);
        Assert.Equal(RegistrationReplyCode.Accepted, h.Reply().Code);
        Assert.Null(h.Reply().Extensions.FindProject(ProjectExtensions.DefaultEnterprise, ProjectExtensions.SealedVpnProfileType));
    }

    [Fact]
    [Trait("Row", "R15")]
    public void The_home_agents_own_profile_takes_the_place_of_the_cached_one_and_the_others_stay()
    {
        var h = new ForeignAgentHarness();
        var other = Profile(2, spi: 0x3000_0100) with { Destination = System.Net.IPNetwork.Parse("192.168.60.0/24") };
        h.Ama = (amr, answer) => h.Accept(amr, answer, [Profile(), other], reply: false);
        var request = h.Request();
        h.Send(request);
        var newer = Profile(spi: 0x5000_0100);
        h.FromHome(WithProfiles(ReplyTo(request), newer));
        Assert.Equal(newer.UpSpi, h.Node.Carrying(AliceHome, CompanyHost)!.Outbound!.Spi);
        Assert.Equal(other.UpSpi, h.Node.Carrying(AliceHome, PartnerHost)!.Outbound!.Spi);
    }

    [Theory]
    [InlineData("another agent's", "not one of this visitor")]
    [InlineData("another user's", "not one of this visitor")]
    [InlineData("the same twice", "not one of this visitor")]
    [InlineData("sealed with another key", "does not open")]
    [InlineData("sealed for another reply", "does not open")]
    [Trait("Row", "R15")]
    [Trait("Row", "NV9.7")]
    public void A_reply_with_a_profile_that_cannot_be_used_lets_nobody_in(string what, string because)
    {
        var h = new ForeignAgentHarness();
        h.Ama = (amr, answer) => h.Accept(amr, answer, [], reply: false);
        var request = h.Request();
        h.Send(request);
        var reply = ReplyTo(request);
        h.FromHome(what switch
        {
            "another agent's" => WithProfiles(reply, Profile() with { SourceGateway = Fa2 }),
            "another user's" => WithProfiles(reply, Profile(home: BobHome)),
            "the same twice" => WithProfiles(reply, Profile(), Profile()),
            "sealed with another key" => WithProfiles(reply, AgentFixture.Secret(77), reply, Profile()),
            _ => WithProfiles(reply, AgentsKey, reply with { Lifetime = 599 }, Profile()),
        });
        h.AssertRefused(RegistrationReplyCode.ForeignPoorlyFormedReply, "fa.rrp.bad_profile", because);
    }

    [Fact]
    [Trait("Row", "R15")]
    public void A_profile_outside_the_agents_own_protection_is_not_read()
    {
        // In the node's part of the reply, and in one that no FA-HA extension follows.
        var h = new ForeignAgentHarness();
        h.Ama = (amr, answer) => h.Accept(amr, answer, [], reply: false);
        var request = h.Request();
        h.Send(request);
        var bare = ReplyTo(request) with { Extensions = MobileIpExtensions.None };
        h.FromHome(WithProfiles(bare, Profile()).Sign(AuthenticationKind.MobileHome, new MobilityAssociation(0x701, HomeKey)));
        Assert.Single(h.Engine.Visitors);
        Assert.Null(h.Node.Carrying(AliceHome, CompanyHost)?.Origin.ProfileNumber);
        Assert.Equal(0, h.Node.Counters.GetValueOrDefault("fa.rrp.profiles_taken"));
    }

    private static RegistrationReply WithProfiles(RegistrationReply reply, params VpnProfile[] profiles) => WithProfiles(reply, AgentsKey, reply, profiles);

    private static RegistrationReply WithProfiles(RegistrationReply reply, KeyMaterial key, RegistrationReply sealedFor, params VpnProfile[] profiles)
    {
        var association = BindingAssociation.OfAgents(new MobilityAssociation(0x902, key));
        var header = sealedFor.ToArray()[..RegistrationReply.WireLength];
        return profiles.Aggregate(reply, (r, p) => r.With(ProjectExtensions.SealedVpnProfile(
            ProjectExtensions.DefaultEnterprise, association.Seal(header, Avps.Encode(p, association.WrappingKey), new SeededRandom(3)))));
    }

    private static MobileIpMessage Parse(SendDatagram datagram)
    {
        Assert.True(MobileIpMessage.TryParse(datagram.Payload.Span, out MobileIpMessage? message, out var error), error.ToString());
        return message;
    }
}
