using System.Net;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.MobileIpv4;
using Xunit;
using static Sojourn.Engine.Tests.MobileIpv4.MobileNodeHarness;

namespace Sojourn.Engine.Tests.MobileIpv4;

/// <summary>What a node makes of refusals, and of replies that are not what they say.</summary>
public partial class MobileNodeTests
{
    // MN --RRQ--> FA, MN <--RRP 133-- HA, MN --RRQ in the home agent's time--> FA
    [Theory]
    [InlineData(-4000)]
    [InlineData(4000)]
    [Trait("Row", "M1")]
    public void Code_133_moves_the_clock_of_the_node(int seconds)
    {
        var mn = new MobileNodeHarness();
        mn.RegisterAt(Agent.Old);
        mn.Now += TimeSpan.FromSeconds(2);
        var request = Request(mn.Tell(new RequestServiceUpdate()));
        var homeTime = mn.Now.AddSeconds(seconds);
        var refusal = mn.Answer(request with { Identification = Identification.ForMismatch(request.Identification, homeTime) }, Agent.Old, RegistrationReplyCode.HomeIdentificationMismatch);
        Assert.Empty(mn.Deliver(refusal, Agent.Old).OfType<SendDatagram>());
        var next = Request(mn.Pass(TimeSpan.FromSeconds(1)));
        Assert.Equal(IdentificationResult.Fresh, default(IdentificationGuard).Check(next.Identification, homeTime.AddSeconds(1), Identification.DefaultTolerance));
        mn.Deliver(mn.Answer(next, Agent.Old), Agent.Old);
        Assert.IsType<MobileNodeState.Registered>(mn.Node.State);
    }

    [Fact]
    public void A_forged_code_133_does_not_move_the_clock_once_there_is_a_key()
    {
        var mn = new MobileNodeHarness();
        mn.RegisterAt(Agent.Old);
        mn.Now += TimeSpan.FromSeconds(2);
        var request = Request(mn.Tell(new RequestServiceUpdate()));
        mn.HomeKey = null;
        mn.AgentKeys.Clear();
        mn.Deliver(mn.Answer(request with { Identification = Identification.ForMismatch(request.Identification, mn.Now.AddDays(1)) }, Agent.Old, RegistrationReplyCode.HomeIdentificationMismatch), Agent.Old);
        Assert.Equal(1, mn.Count("mn.rrp.bad_foreign_authenticator"));
        Assert.IsType<MobileNodeState.Registering>(mn.Node.State);
        Assert.Equal(IdentificationResult.Fresh, default(IdentificationGuard).Check(Request(mn.Wake()).Identification, mn.Now, Identification.DefaultTolerance));
    }

    [Theory]
    [InlineData(RegistrationReplyCode.ForeignUnknownChallenge)]
    [InlineData(RegistrationReplyCode.ForeignMissingChallenge)]
    [InlineData(RegistrationReplyCode.ForeignStaleChallenge)]
    [Trait("Row", "M1")]
    public void A_refused_challenge_is_replaced_by_the_one_in_the_reply(RegistrationReplyCode code)
    {
        var mn = new MobileNodeHarness();
        mn.Tell(new EngineStarted([]));
        var request = Request(mn.Advertise(Agent.Old));
        var reply = Refusal(request, code).With(new ChallengeExtension(new byte[] { 7, 7, 7, 7 }));
        Assert.Empty(mn.Deliver(reply, Agent.Old).OfType<SendDatagram>());
        var next = Request(mn.Pass(TimeSpan.FromSeconds(1)));
        Assert.Equal("07070707", next.Extensions.Find<ChallengeExtension>()!.Challenge.ToString());
    }

    // MN <--RRP 106 without challenge-- FA, MN --solicitation--> FA, MN <--advertisement with challenge-- FA, MN --RRQ--> FA
    [Fact]
    public void A_refused_challenge_without_a_new_one_makes_the_node_solicit()
    {
        var mn = new MobileNodeHarness();
        mn.Tell(new EngineStarted([]));
        mn.Deliver(Refusal(Request(mn.Advertise(Agent.Old)), RegistrationReplyCode.ForeignStaleChallenge), Agent.Old);
        var effects = mn.Pass(TimeSpan.FromSeconds(1));
        Assert.Empty(effects.OfType<SendDatagram>());
        Assert.NotEmpty(effects.OfType<SendIcmp>());
        Assert.NotNull(Request(mn.Advertise(Agent.Old, 2)).Extensions.Find<ChallengeExtension>());
    }

    [Fact]
    public void A_lifetime_too_long_is_shortened_to_what_the_agent_grants()
    {
        var mn = new MobileNodeHarness();
        mn.Tell(new EngineStarted([]));
        mn.Deliver(Refusal(Request(mn.Advertise(Agent.Old)), RegistrationReplyCode.ForeignLifetimeTooLong, 300).With(new ChallengeExtension(mn.NewChallenge())), Agent.Old);
        Assert.Equal(300, Request(mn.Pass(TimeSpan.FromSeconds(1))).Lifetime);
    }

    [Fact]
    public void Refusals_that_cannot_be_repaired_make_pauses_that_grow_to_their_limit()
    {
        var mn = new MobileNodeHarness(o => o with { LongestPause = TimeSpan.FromSeconds(8) });
        mn.Tell(new EngineStarted([]));
        var sent = Sent(mn.Advertise(Agent.Old, challenge: false, lifetime: 600));
        var pauses = new List<double>();
        for (var i = 0; i < 6; i++)
        {
            var at = mn.Now;
            mn.Deliver(Refusal(Read(sent), RegistrationReplyCode.ForeignMissingHomeAgent), Agent.Old);
            sent = Sent(mn.Wake());
            pauses.Add((mn.Now - at).TotalSeconds);
        }

        Assert.Equal([1, 2, 4, 8, 8, 8], pauses);
        Assert.Contains(mn.All.OfType<Report>(), report => report.Event.Kind == "registration.refused" && report.Event.Text.Contains("98 (foreign agent: missing home agent)"));
    }

    [Theory]
    [InlineData("no home authenticator")]
    [InlineData("wrong home authenticator")]
    [InlineData("two home authenticators")]
    [InlineData("no foreign authenticator")]
    [InlineData("wrong foreign authenticator")]
    [InlineData("old identification")]
    [InlineData("another source")]
    [InlineData("unknown extension")]
    [InlineData("key of another secret")]
    public void A_reply_that_is_not_authentic_changes_nothing(string fault)
    {
        var mn = new MobileNodeHarness();
        mn.RegisterAt(Agent.Old);
        var earlier = mn.All.OfType<SendDatagram>().Last();
        mn.Now += TimeSpan.FromSeconds(3);
        var request = Read(MoveSends(mn, Agent.New));
        mn.AgentKeys[Agent.New] = new MobilityAssociation(999, new KeyMaterial(new byte[32]));
        var before = mn.Node.Registration;
        var state = mn.Node.State;
        var wrong = new MobilityAssociation(mn.HomeKey!.OutboundSpi, new KeyMaterial(new byte[32]));
        var good = mn.Answer(request, Agent.New);
        var reply = fault switch
        {
            "no home authenticator" => Without(good, AuthenticationKind.MobileHome).Sign(AuthenticationKind.MobileForeign, mn.AgentKeys[Agent.New]),
            "wrong home authenticator" => Without(good, AuthenticationKind.MobileHome).Sign(AuthenticationKind.MobileHome, wrong).Sign(AuthenticationKind.MobileForeign, mn.AgentKeys[Agent.New]),
            "two home authenticators" => Without(good, AuthenticationKind.MobileForeign).Sign(AuthenticationKind.MobileHome, mn.HomeKey!).Sign(AuthenticationKind.MobileForeign, mn.AgentKeys[Agent.New]),
            "no foreign authenticator" => Without(good, AuthenticationKind.MobileForeign),
            "wrong foreign authenticator" => Without(good, AuthenticationKind.MobileForeign).Sign(AuthenticationKind.MobileForeign, wrong with { OutboundSpi = mn.AgentKeys[Agent.New].OutboundSpi }),
            "old identification" => good with { Identification = Read(earlier).Identification },
            "unknown extension" => good.With(new UnknownExtension(100, OctetString.Empty)),
            "key of another secret" => mn.Answer(request with { HomeAddress = IPAddress.Parse("10.66.6.6") }, Agent.New, home: HomeAddress),
            _ => good,
        };
        mn.Deliver(reply, fault == "another source" ? Agent.Old : Agent.New);
        Assert.Same(before, mn.Node.Registration);
        Assert.Same(state, mn.Node.State);
        Assert.Equal(1, mn.All.OfType<Report>().Count(r => r.Event.Kind == "registration.reply.dropped"));

        // And the true reply still counts.
        mn.Deliver(good, Agent.New);
        Assert.Equal(Agent.New.Ip, mn.Node.Registration!.Agent);
    }

    [Fact]
    public void A_granted_registration_without_any_key_is_not_believed()
    {
        var mn = new MobileNodeHarness();
        mn.Tell(new EngineStarted([]));
        var request = Request(mn.Advertise(Agent.Old));
        mn.Deliver(Refusal(request, RegistrationReplyCode.Accepted, 1800), Agent.Old);
        Assert.Equal(1, mn.Count("mn.rrp.unauthenticated"));
        Assert.Null(mn.Node.Registration);
    }

    [Fact]
    [Trait("Row", "M6")]
    public void A_nonce_for_a_legacy_algorithm_is_refused_without_the_switch()
    {
        var mn = new MobileNodeHarness();
        mn.Tell(new EngineStarted([]));
        var request = Request(mn.Advertise(Agent.Old));
        var reply = mn.Answer(request, Agent.Old);
        reply = reply with { Extensions = MobileIpExtensions.Of(reply.Extensions.Select(e => e is KeyGenerationNonceReplyExtension nonce ? nonce with { Algorithm = AuthenticationAlgorithm.HmacMd5 } : e)) };
        mn.Deliver(reply, Agent.Old);
        Assert.Equal(2, mn.Count("mn.rrp.unusable_nonce"));
        Assert.Null(mn.Node.Registration);
    }
}
