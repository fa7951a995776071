using System.Net;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.MobileIpv4;
using Xunit;
using static Sojourn.Engine.Tests.MobileIpv4.MobileNodeHarness;

namespace Sojourn.Engine.Tests.MobileIpv4;

public partial class MobileNodeTests
{
    // MN --solicitation--> link, MN <--advertisement-- FA, MN --RRQ--> FA, MN <--RRP-- FA
    [Fact]
    [Trait("Row", "NV1.4")]
    [Trait("Row", "NV1.13")]
    public void A_node_finds_an_agent_registers_and_attaches_its_home_address()
    {
        var mn = new MobileNodeHarness();
        var solicitation = Assert.Single(mn.Tell(new EngineStarted([])).OfType<SendIcmp>());
        Assert.Equal((IPAddress.Parse("224.0.0.2"), (byte)1), (solicitation.Destination, solicitation.TimeToLive));
        Assert.True(AgentSolicitation.TryParse(solicitation.Message.Span, out _, out _));

        var sent = Sent(mn.Advertise(Agent.Old));
        Assert.Equal((new IPEndPoint(IPAddress.Any, 434), new IPEndPoint(Agent.Old.Ip, 434), Link, Agent.Old.Mac), (sent.Source, sent.Destination, sent.Interface, sent.LinkDestination));
        var request = Read(sent);
        Assert.Equal((RegistrationFlags.ReverseTunnel, IPAddress.Any, IPAddress.Any, Agent.Old.Ip), (request.Flags, request.HomeAddress, request.HomeAgent, request.CareOfAddress));
        Assert.Equal(Nai, request.Nai);
        Assert.Equal([131, 42, 40, 132, 36], request.Extensions.Select(e => (int)e.Type));
        Assert.True(MnAaaAuthentication.TryLocate(request, out var location));
        Assert.True(location.Verify(sent.Payload.Span, AuthenticationAlgorithm.HmacSha256, AaaKey));
        Assert.Equal("c0de0000", location.Challenge.ToString());
        Assert.Equal(IdentificationResult.Fresh, default(IdentificationGuard).Check(request.Identification, mn.Now, TimeSpan.FromSeconds(1)));

        var effects = mn.Deliver(mn.Answer(request, Agent.Old), Agent.Old);
        Assert.Equal(new AttachHome(Link, HomeAddress, Agent.Old.Ip), Assert.Single(effects.OfType<AttachHome>()));
        Assert.Equal(HomeAddress, mn.Node.Registration!.HomeAddress);
        Assert.Equal(mn.Now.AddSeconds(1440), Assert.IsType<MobileNodeState.Registered>(mn.Node.State).RenewAt);
    }

    [Fact]
    [Trait("Row", "NV-A34")]
    [Trait("Row", "G1")]
    public void Through_registration_move_and_end_a_node_asks_for_no_path_and_no_socket_but_434()
    {
        var mn = new MobileNodeHarness();
        mn.RegisterAt(Agent.Old);
        Move(mn, Agent.New);
        mn.Tell(new DeregisterNode());
        Type[] allowed = [typeof(SendIcmp), typeof(SendDatagram), typeof(AttachHome), typeof(DetachHome), typeof(CountEvent), typeof(Report)];
        Assert.All(mn.All, effect => Assert.Contains(effect.GetType(), allowed));
        Assert.All(mn.All.OfType<SendDatagram>(), datagram => Assert.Equal((434, 434), (datagram.Source.Port, datagram.Destination.Port)));
    }

    [Fact]
    public void A_fixed_home_address_is_named_in_the_request_and_no_other_is_taken()
    {
        var mn = new MobileNodeHarness(o => o with { HomeAddress = HomeAddress, HomeAgent = HomeAgent });
        mn.Tell(new EngineStarted([]));
        var request = Request(mn.Advertise(Agent.Old));
        Assert.Equal((HomeAddress, HomeAgent), (request.HomeAddress, request.HomeAgent));
        mn.Deliver(mn.Answer(request, Agent.Old, home: IPAddress.Parse("10.9.9.9")), Agent.Old);
        Assert.Null(mn.Node.Registration);
        Assert.Empty(mn.All.OfType<AttachHome>());
    }

    [Fact]
    public void A_configured_home_association_signs_without_asking_for_a_key()
    {
        var association = new MobilityAssociation(777, new KeyMaterial(new byte[32]));
        var mn = new MobileNodeHarness(o => o with { HomeAddress = HomeAddress, HomeAgent = HomeAgent, HomeAssociation = association }) { HomeKey = association };
        mn.Tell(new EngineStarted([]));
        var sent = Sent(mn.Advertise(Agent.Old));
        var request = Read(sent);
        Assert.Equal([131, 40, 32, 132, 36], request.Extensions.Select(e => (int)e.Type));
        Assert.Equal(AuthenticationResult.Valid, request.Check(sent.Payload.Span, AuthenticationKind.MobileHome, association));
        mn.Deliver(mn.Answer(request, Agent.Old), Agent.Old);
        Assert.NotNull(mn.Node.Registration);
    }

    // MN --RRQ--x, 1 s, MN --RRQ--x, 2 s, MN --RRQ--x, 4 s ...
    [Fact]
    [Trait("Row", "M1")]
    public void Unanswered_requests_are_repeated_with_growing_pauses_and_new_identifications()
    {
        var mn = new MobileNodeHarness();
        mn.Tell(new EngineStarted([]));
        var requests = new List<(DateTimeOffset At, RegistrationRequest Request)> { (mn.Now, Request(mn.Advertise(Agent.Old, lifetime: 600))) };
        while (requests.Count < 8)
        {
            foreach (var sent in mn.Wake().OfType<SendDatagram>())
            {
                requests.Add((mn.Now, Read(sent)));
            }
        }

        Assert.Equal([1, 2, 4, 8, 16, 32, 32], requests.Zip(requests.Skip(1), (a, b) => (int)Math.Round((b.At - a.At).TotalSeconds)));
        Assert.All(requests.Zip(requests.Skip(1)), pair => Assert.True(Identification.IsAfter(pair.Second.Request.Identification, pair.First.Request.Identification)));
    }

    [Fact]
    [Trait("Row", "NV9.6")]
    public void At_four_fifths_of_the_lifetime_the_node_registers_again_under_its_keys_and_keeps_its_address()
    {
        var mn = new MobileNodeHarness();
        mn.RegisterAt(Agent.Old);
        var attached = mn.All.OfType<AttachHome>().Count();
        Keep(mn, Agent.Old, TimeSpan.FromSeconds(1439));
        Assert.Single(mn.All.OfType<SendDatagram>());
        var sent = Sent(Keep(mn, Agent.Old, TimeSpan.FromSeconds(1)));
        var request = Read(sent);
        Assert.Equal((HomeAddress, HomeAgent), (request.HomeAddress, request.HomeAgent));
        Assert.Equal(new IPEndPoint(HomeAddress, 434), sent.Source);
        Assert.Equal([131, 32, 132, 36, 33], request.Extensions.Select(e => (int)e.Type));
        Assert.Equal(AuthenticationResult.Valid, request.Check(sent.Payload.Span, AuthenticationKind.MobileHome, mn.HomeKey!));
        Assert.Equal(AuthenticationResult.Valid, request.Check(sent.Payload.Span, AuthenticationKind.MobileForeign, mn.AgentKeys[Agent.Old]));
        mn.Deliver(mn.Answer(request, Agent.Old), Agent.Old);
        Assert.Equal(attached, mn.All.OfType<AttachHome>().Count());
        Assert.Empty(mn.All.OfType<DetachHome>());
    }

    [Fact]
    public void The_lifetime_runs_from_the_request_and_never_exceeds_what_was_asked_for()
    {
        var mn = new MobileNodeHarness();
        mn.Tell(new EngineStarted([]));
        var request = Request(mn.Advertise(Agent.Old));
        var asked = mn.Now;
        mn.Now += TimeSpan.FromMilliseconds(900);
        mn.Deliver(mn.Answer(request, Agent.Old, lifetime: 60000), Agent.Old);
        Assert.Equal(asked.AddSeconds(1800), mn.Node.Registration!.Expires);

        var other = new MobileNodeHarness();
        other.Tell(new EngineStarted([]));
        other.Deliver(other.Answer(Request(other.Advertise(Agent.Old)), Agent.Old, lifetime: 100), Agent.Old);
        Assert.Equal(other.Now.AddSeconds(100), other.Node.Registration!.Expires);
        Assert.Equal(other.Now.AddSeconds(80), Assert.IsType<MobileNodeState.Registered>(other.Node.State).RenewAt);
    }

    [Fact]
    [Trait("Row", "NV2.1")]
    [Trait("Row", "M12")]
    public void After_a_move_the_request_names_the_previous_agent_inside_what_the_authenticators_cover()
    {
        var mn = new MobileNodeHarness();
        mn.RegisterAt(Agent.Old);
        var sent = MoveSends(mn, Agent.New);
        var request = Read(sent);
        var previous = request.Extensions.FindProject(32473, ProjectExtensions.PreviousForeignAgentType)!;
        Assert.True(previous.TryReadPreviousForeignAgent(out var agent, out _));
        Assert.Equal(Agent.Old.Ip, agent.Address);
        var position = request.Extensions.ToList().IndexOf(previous);
        Assert.True(request.TryFindAuthentication(AuthenticationKind.MobileHome, out _, out var home) && position < home);
        Assert.True(request.TryFindAuthentication(AuthenticationKind.MobileAaa, out _, out var aaa) && position < aaa);
        Assert.False(request.TryFindAuthentication(AuthenticationKind.MobileForeign, out _, out _));

        var effects = mn.Deliver(mn.Answer(request, Agent.New), Agent.New);
        Assert.Equal(new AttachHome(Link, HomeAddress, Agent.New.Ip), Assert.Single(effects.OfType<AttachHome>()));
        Assert.Empty(effects.OfType<DetachHome>());

        // And back: the first agent has forgotten its key with the visitor, so a new one is asked for.
        var back = Read(MoveSends(mn, Agent.Old));
        Assert.False(back.TryFindAuthentication(AuthenticationKind.MobileForeign, out _, out _));
        Assert.NotNull(back.Extensions.Find<KeyGenerationNonceRequestExtension>(e => e.Peer == NoncePeer.ForeignAgent));
    }

    [Fact]
    [Trait("Row", "NV7.2")]
    [Trait("Row", "M12")]
    public void A_service_update_goes_out_at_once_covered_and_only_until_it_is_answered()
    {
        var mn = new MobileNodeHarness();
        mn.RegisterAt(Agent.Old);
        mn.Now += TimeSpan.FromSeconds(5);
        var request = Request(mn.Tell(new RequestServiceUpdate()));
        Assert.True(request.Extensions.HasServiceUpdateRequest(32473));
        Assert.True(request.TryFindAuthentication(AuthenticationKind.MobileHome, out _, out var home));
        Assert.True(request.Extensions.IndexOf(e => e is VendorExtension) < home);
        var again = Request(mn.Wake());
        Assert.True(again.Extensions.HasServiceUpdateRequest(32473));
        mn.Deliver(mn.Answer(again, Agent.Old), Agent.Old);
        Assert.False(Request(Keep(mn, Agent.Old, TimeSpan.FromSeconds(1440.5))).Extensions.HasServiceUpdateRequest(32473));
    }

    [Fact]
    [Trait("Row", "NV-A14")]
    public void Told_to_register_a_registered_node_renews_without_a_service_update_and_never_twice_in_a_second()
    {
        var mn = new MobileNodeHarness();
        mn.RegisterAt(Agent.Old);
        Assert.Empty(mn.Tell(new RegisterNode()).OfType<SendDatagram>());
        Assert.Empty(mn.Tell(new RequestServiceUpdate()).OfType<SendDatagram>());
        Assert.Empty(mn.Pass(TimeSpan.FromSeconds(0.9)).OfType<SendDatagram>());
        var update = Request(mn.Pass(TimeSpan.FromSeconds(0.2)));
        Assert.True(update.Extensions.HasServiceUpdateRequest(32473));
        mn.Deliver(mn.Answer(update, Agent.Old), Agent.Old);

        mn.Now += TimeSpan.FromSeconds(3);
        var renewal = Request(mn.Tell(new RegisterNode()));
        Assert.False(renewal.Extensions.HasServiceUpdateRequest(32473));
        Assert.NotEqual(0, renewal.Lifetime);
    }

    [Fact]
    public void A_service_update_asked_for_while_a_request_is_out_follows_it()
    {
        var mn = new MobileNodeHarness();
        mn.Tell(new EngineStarted([]));
        var first = Request(mn.Advertise(Agent.Old));
        Assert.Empty(mn.Tell(new RequestServiceUpdate()).OfType<SendDatagram>());
        mn.Deliver(mn.Answer(first, Agent.Old), Agent.Old);
        Assert.True(Request(mn.Pass(TimeSpan.FromSeconds(1))).Extensions.HasServiceUpdateRequest(32473));
    }

    [Theory]
    [InlineData(RegistrationReplyCode.ForeignInsufficientResources, true)]
    [InlineData(RegistrationReplyCode.ForeignLifetimeTooLong, false)]
    public void Another_agent_takes_over_from_one_that_refused_for_good_and_not_from_one_that_can_be_set_right(RegistrationReplyCode code, bool moves)
    {
        var mn = new MobileNodeHarness();
        mn.Tell(new EngineStarted([]));
        mn.Deliver(Refusal(Request(mn.Advertise(Agent.Old, prefix: 0)), code, 300).With(new ChallengeExtension(mn.NewChallenge())), Agent.Old);
        Assert.Equal(moves, mn.Advertise(Agent.New, prefix: 0).OfType<SendDatagram>().Any());
    }

    [Fact]
    public void An_agent_no_longer_heard_is_looked_for_with_solicitations_that_thin_out()
    {
        var mn = new MobileNodeHarness();
        mn.RegisterAt(Agent.Old);
        var times = new List<DateTimeOffset>();
        while (times.Count < 12)
        {
            if (mn.Wake().OfType<SendIcmp>().Any())
            {
                times.Add(mn.Now);
            }
        }

        var gaps = times.Zip(times.Skip(1), (a, b) => (b - a).TotalSeconds).ToArray();
        Assert.All(gaps[..2], gap => Assert.InRange(gap, 1, 1.26));
        Assert.All(gaps.Zip(new[] { 1, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60 }), pair => Assert.InRange(pair.First, pair.Second, (pair.Second * 1.26)));
        Assert.NotNull(mn.Node.Registration);
    }

    [Fact]
    public void The_home_address_goes_when_the_registration_runs_out_unrenewed()
    {
        var mn = new MobileNodeHarness();
        mn.RegisterAt(Agent.Old);
        mn.Tell(new LinkChanged(Link, false));
        var effects = mn.Pass(TimeSpan.FromSeconds(1801));
        Assert.Equal(new DetachHome(Link, HomeAddress), Assert.Single(effects.OfType<DetachHome>()));
        Assert.Null(mn.Node.Registration);
    }

    [Theory]
    [InlineData(500, 3, true)]
    [InlineData(0xFFFF, 256, false)]
    [InlineData(7, 8, false)]
    [Trait("Row", "M1")]
    public void Sequence_numbers_tell_a_restart_from_a_roll(ushort before, ushort after, bool registersAgain)
    {
        var mn = new MobileNodeHarness();
        mn.Tell(new EngineStarted([]));
        mn.Deliver(mn.Answer(Request(mn.Advertise(Agent.Old, before)), Agent.Old), Agent.Old);
        mn.Now += TimeSpan.FromSeconds(2);
        Assert.Equal(registersAgain, mn.Advertise(Agent.Old, after).OfType<SendDatagram>().Any());
    }

    [Fact]
    public void Two_agents_on_one_link_do_not_make_the_node_swing()
    {
        var mn = new MobileNodeHarness();
        mn.RegisterAt(Agent.Old);
        var requests = 0;
        for (ushort i = 2; i < 40; i++)
        {
            mn.Now += TimeSpan.FromSeconds(1);
            requests += mn.Advertise(Agent.Old, i, prefix: 0).OfType<SendDatagram>().Count();
            requests += mn.Advertise(Agent.New, i, prefix: 0).OfType<SendDatagram>().Count();
        }

        Assert.Equal(0, requests);
        Assert.Equal(Agent.Old.Ip, mn.Node.Registration!.Agent);
    }

    [Fact]
    public void A_silent_agent_is_left_for_one_that_is_heard()
    {
        var mn = new MobileNodeHarness();
        mn.RegisterAt(Agent.Old);
        mn.Now += TimeSpan.FromSeconds(1);
        Assert.Single(mn.Advertise(Agent.New).OfType<SendDatagram>());
        mn.Deliver(mn.Answer(Read(mn.All.OfType<SendDatagram>().Last()), Agent.New), Agent.New);
        mn.Now += TimeSpan.FromSeconds(3.5);
        Assert.Single(mn.Advertise(Agent.Old, 5).OfType<SendDatagram>());
    }

    [Fact]
    public void Busy_agents_and_agents_without_reverse_tunnel_are_not_used()
    {
        var mn = new MobileNodeHarness();
        mn.Tell(new EngineStarted([]));
        Assert.Empty(mn.Advertise(Agent.Old, extra: MobilityAgentFlags.Busy).OfType<SendDatagram>());
        var plain = new AgentAdvertisement
        {
            Lifetime = 9,
            Extensions = MobileIpExtensions.Of(new MobilityAgentExtension { SequenceNumber = 1, RegistrationLifetime = 60, Flags = MobilityAgentFlags.ForeignAgent, CareOfAddresses = [Agent.New.Ip] }),
        };
        Assert.Empty(mn.Tell(new IcmpReceived(Agent.New.Ip, IPAddress.Broadcast, plain.ToArray(), Link)).OfType<SendDatagram>());
    }

    [Fact]
    public void Keys_the_network_has_lost_are_asked_for_again_after_three_unanswered_requests()
    {
        var mn = new MobileNodeHarness();
        mn.RegisterAt(Agent.Old);
        var requests = Keep(mn, Agent.Old, TimeSpan.FromSeconds(1448)).OfType<SendDatagram>().Select(Read).ToArray();
        Assert.Equal(4, requests.Length);
        Assert.All(requests[..3], r => Assert.Null(r.Extensions.Find<KeyGenerationNonceRequestExtension>()));
        Assert.Equal(2, requests[3].Extensions.OfType<KeyGenerationNonceRequestExtension>().Count());
        mn.AgentKeys.Clear();
        mn.Deliver(mn.Answer(requests[3], Agent.Old), Agent.Old);
        Assert.IsType<MobileNodeState.Registered>(mn.Node.State);
    }

    [Fact]
    public void Over_a_link_that_loses_repeats_and_reorders_the_node_always_registers_and_moves()
    {
        for (var seed = 0; seed < 60; seed++)
        {
            var chance = new Random(seed);
            var mn = new MobileNodeHarness();
            mn.Tell(new EngineStarted([]));
            var agent = Agent.Old;
            var late = new List<(RegistrationReply Reply, Agent Agent)>();
            var seen = 0;
            for (var second = 1; second < 400; second++)
            {
                if (second == 150)
                {
                    agent = Agent.New;
                    mn.Tell(new LinkChanged(Link, false));
                    mn.Tell(new LinkChanged(Link, true));
                }

                mn.Pass(TimeSpan.FromSeconds(1));
                if (chance.Next(100) < 60)
                {
                    mn.Advertise(agent, (ushort)second);
                }

                for (; seen < mn.All.Count; seen++)
                {
                    if (mn.All[seen] is SendDatagram sent && sent.Destination.Address.Equals(agent.Ip) && chance.Next(100) < 60)
                    {
                        late.Add((mn.Answer(Read(sent), agent), agent));
                    }
                }

                foreach (var (reply, from) in late.OrderBy(_ => chance.Next()).ToList())
                {
                    if (chance.Next(100) < 70)
                    {
                        mn.Deliver(reply, from);
                        if (chance.Next(100) < 60)
                        {
                            late.Remove((reply, from));
                        }
                    }
                }
            }

            Assert.True(mn.Node.Registration is { } held && held.Agent.Equals(Agent.New.Ip) && mn.Node.State is MobileNodeState.Registered, $"seed {seed}: {mn.Node.State}");
        }
    }

    [Fact]
    public void A_hostile_link_never_makes_the_node_fail_or_register()
    {
        var chance = new Random(5);
        var mn = new MobileNodeHarness();
        mn.Tell(new EngineStarted([]));
        var request = Request(mn.Advertise(Agent.Old, lifetime: 9000));
        var other = new MobileNodeHarness();
        for (var i = 0; i < 20_000; i++)
        {
            var octets = other.Answer(request, Agent.Old).ToArray();
            var right = octets.ToArray();
            for (var n = chance.Next(1, 4); n > 0; n--)
            {
                octets[chance.Next(octets.Length)] = (byte)chance.Next(256);
            }

            // The keys are the right ones: what is changed must matter.
            if (octets.AsSpan().SequenceEqual(right))
            {
                continue;
            }

            mn.Deliver(chance.Next(2) == 0 ? octets : octets[..chance.Next(octets.Length)], Agent.Old);
            if (i % 10 == 0)
            {
                var noise = new byte[chance.Next(64)];
                chance.NextBytes(noise);
                mn.Tell(new IcmpReceived(Agent.New.Ip, IPAddress.Broadcast, noise, Link));
            }
        }

        Assert.Null(mn.Node.Registration);
        Assert.Empty(mn.All.OfType<AttachHome>());
    }

    [Fact]
    public void Options_no_run_could_use_are_refused()
    {
        Assert.Throws<ArgumentException>(() => new MobileNodeHarness(o => o with { Nai = "alice" }));
        Assert.Throws<ArgumentException>(() => new MobileNodeHarness(o => o with { MnAaaSpi = 255 }));
        Assert.Throws<ArgumentException>(() => new MobileNodeHarness(o => o with { MnAaaKey = new KeyMaterial([1, 2, 3]) }));
        Assert.Throws<ArgumentException>(() => new MobileNodeHarness(o => o with
        {
            HomeAddress = HomeAddress,
            HomeAgent = HomeAgent,
            HomeAssociation = new MobilityAssociation(300, 300, AuthenticationAlgorithm.HmacMd5, AaaKey),
        }));
    }

    [Fact]
    [Trait("Row", "M14")]
    public void No_event_shows_a_key()
    {
        var mn = new MobileNodeHarness();
        mn.RegisterAt(Agent.Old);
        Move(mn, Agent.New);
        var text = string.Join('\n', mn.All.OfType<Report>().Select(r => r.ToString()));
        foreach (var key in (KeyMaterial[])[AaaKey, mn.HomeKey!.Key, mn.AgentKeys[Agent.New].Key])
        {
            Assert.DoesNotContain(Convert.ToHexString(key.Octets[..4]), text, StringComparison.OrdinalIgnoreCase);
        }
    }

    private static SendDatagram MoveSends(MobileNodeHarness mn, Agent agent)
    {
        mn.Tell(new LinkChanged(Link, false));
        mn.Tell(new LinkChanged(Link, true));
        return Sent(mn.Advertise(agent));
    }

    private static void Move(MobileNodeHarness mn, Agent agent) => mn.Deliver(mn.Answer(Read(MoveSends(mn, agent)), agent), agent);

    /// <summary>Lets time pass with the agent advertising every two seconds.</summary>
    private static List<Effect> Keep(MobileNodeHarness mn, Agent agent, TimeSpan time)
    {
        var effects = new List<Effect>();
        var until = mn.Now + time;
        ushort sequence = 300;
        while (mn.Now < until)
        {
            var step = until - mn.Now < TimeSpan.FromSeconds(2) ? until - mn.Now : TimeSpan.FromSeconds(2);
            effects.AddRange(mn.Advertise(agent, sequence++));
            effects.AddRange(mn.Pass(step));
        }

        return effects;
    }

    private static RegistrationReply Refusal(RegistrationRequest request, RegistrationReplyCode code, ushort lifetime = 0) => new()
    {
        Code = code,
        Lifetime = lifetime,
        HomeAddress = HomeAddress,
        HomeAgent = HomeAgent,
        Identification = request.Identification,
    };

    private static RegistrationReply Without(RegistrationReply reply, AuthenticationKind kind)
    {
        // The foreign agent's extension stands last: taking out the home agent's makes it stale, so both go.
        var extensions = reply.Extensions.Without(e => e is AuthenticationExtension a && (a.Kind == kind || a.Kind == AuthenticationKind.MobileForeign));
        return reply with { Extensions = extensions };
    }
}
