using System.Net;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Engine.MobileIpv4.Agents;
using Sojourn.Engine.Tests.Aaa;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;
using Xunit;
using static Sojourn.Engine.Tests.Agents.ForeignAgentHarness;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>The foreign agent against a hostile or careless node, AAA server and home agent.</summary>
public sealed class ForeignAgentTests
{
    private readonly ForeignAgentHarness _h = new();

    public static TheoryData<string, RegistrationReplyCode, string> BadRequests() => new()
    {
        { "reserved", RegistrationReplyCode.ForeignPoorlyFormedRequest, "fa.rrq.reserved_bits" },
        { "critical", RegistrationReplyCode.ForeignUnknownVendorExtensionFromMobileNode, "fa.rrq.critical_vendor_extension" },
        { "co-located", RegistrationReplyCode.ForeignInvalidCareOfAddress, "fa.rrq.care_of_address" },
        { "other care-of", RegistrationReplyCode.ForeignInvalidCareOfAddress, "fa.rrq.care_of_address" },
        { "gre", RegistrationReplyCode.ForeignEncapsulationUnavailable, "fa.rrq.encapsulation" },
        { "no T", RegistrationReplyCode.ForeignReverseTunnelMandatory, "fa.rrq.no_reverse_tunnel" },
        { "no NAI", RegistrationReplyCode.ForeignMissingNai, "fa.rrq.no_nai" },
        { "lifetime", RegistrationReplyCode.ForeignLifetimeTooLong, "fa.rrq.lifetime" },
        { "home agent", RegistrationReplyCode.ForeignInvalidHomeAgentAddress, "fa.rrq.home_agent" },
        { "no challenge", RegistrationReplyCode.ForeignMissingChallenge, "fa.rrq.challenge_missing" },
        { "unknown challenge", RegistrationReplyCode.ForeignUnknownChallenge, "fa.rrq.challenge_unknown" },
        { "old challenge", RegistrationReplyCode.ForeignStaleChallenge, "fa.rrq.challenge_stale" },
        { "no MN-AAA", RegistrationReplyCode.ForeignMobileNodeFailedAaaAuthentication, "fa.rrq.no_mn_aaa" },
        { "short previous agent", RegistrationReplyCode.ForeignPoorlyFormedRequest, "fa.rrq.previous_agent" },
    };

    [Theory]
    [MemberData(nameof(BadRequests))]
    [Trait("Row", "R12")]
    public void A_request_that_breaks_a_rule_is_refused_with_its_code_and_no_server_is_asked(string what, RegistrationReplyCode code, string counter)
    {
        var old = _h.Challenge();
        _h.Net.Run(TimeSpan.FromSeconds(what == "old challenge" ? 6 : 0));
        var request = what switch
        {
            "reserved" => _h.Request() with { Flags = RegistrationFlags.ReverseTunnel | RegistrationFlags.Reserved },
            "critical" => _h.Request().With(VendorExtension.InCritical(4711, 1, new byte[] { 1 })),
            "co-located" => _h.Request() with { Flags = RegistrationFlags.ReverseTunnel | RegistrationFlags.Decapsulation },
            "other care-of" => _h.Request() with { CareOfAddress = AgentFixture.Fa2 },
            "gre" => _h.Request() with { Flags = RegistrationFlags.ReverseTunnel | RegistrationFlags.Gre },
            "no T" => _h.Request() with { Flags = RegistrationFlags.None },
            "no NAI" => _h.Request(nai: null),
            "lifetime" => _h.Request(lifetime: 601),
            "home agent" => _h.Request() with { HomeAgent = AgentFixture.Fa1 },
            "no challenge" => _h.Request(noChallenge: true),
            "unknown challenge" => _h.Request(challenge: new byte[] { 1, 2, 3, 4 }),
            "old challenge" => _h.Request(challenge: old),
            "no MN-AAA" => _h.Request(mnAaa: false),
            _ => _h.Bare().With(new NaiExtension(AgentFixture.Alice)).With(VendorExtension.InNormal(ProjectExtensions.DefaultEnterprise, ProjectExtensions.PreviousForeignAgentType, new byte[] { 10 }))
                .With(new ChallengeExtension(_h.Challenge())).Sign(AuthenticationKind.MobileAaa, new MobilityAssociation(0x200, AgentFixture.Secret(1))),
        };
        _h.Send(request);
        var reply = _h.Reply();
        Assert.Equal((code, request.Identification), (reply.Code, reply.Identification));
        Assert.NotNull(reply.Extensions.Find<ChallengeExtension>());
        Assert.Equal(code == RegistrationReplyCode.ForeignLifetimeTooLong ? 600 : 0, reply.Lifetime);
        Assert.Equal(1, _h.Node.Counters[counter]);
        Assert.Contains(_h.Node.Events, e => e is { Kind: "registration.refused", Rule.Length: > 0 });
        Assert.Empty(_h.Aaa.Requests);
    }

    [Fact]
    [Trait("Row", "NV-A27")]
    public void A_challenge_serves_a_node_once()
    {
        _h.LetIn();
        var challenge = _h.Challenge();
        _h.Send(_h.Request(challenge: challenge));
        Assert.Equal(RegistrationReplyCode.Accepted, _h.Reply().Code);
        _h.Send(_h.Request(challenge: challenge));
        Assert.Equal(RegistrationReplyCode.ForeignStaleChallenge, _h.Reply(2).Code);
        _h.Send(_h.Request(AgentFixture.BobHome, nai: AgentFixture.Bob, challenge: challenge), "bob");
        Assert.Equal(RegistrationReplyCode.Accepted, _h.Reply(1, _h.Bob).Code);
        Assert.Equal(2, _h.Aaa.Requests.Count(r => r.CommandCode == 260));
    }

    [Fact]
    [Trait("Row", "NV1.5")]
    public void The_AMR_holds_the_request_octet_by_octet_and_says_where_its_proof_lies()
    {
        var request = _h.Bare(lifetime: 300).With(new NaiExtension(AgentFixture.Alice)).With(ProjectExtensions.PreviousForeignAgent(ProjectExtensions.DefaultEnterprise, AgentFixture.Fa2))
            .With(ProjectExtensions.ServiceUpdateRequest(ProjectExtensions.DefaultEnterprise)).With(new KeyGenerationNonceRequestExtension(NoncePeer.HomeAgent, 0x1234))
            .With(new ChallengeExtension(_h.Challenge())).Sign(AuthenticationKind.MobileAaa, new MobilityAssociation(0x200, AgentFixture.Secret(1)));
        _h.Send(request);
        var avps = Assert.Single(_h.Aaa.Requests, r => r.CommandCode == 260).Avps;
        Assert.True(avps.TryGetOctets(AvpKeys.MipRegRequest, out var octets));
        Assert.Equal(request.ToArray(), octets.ToArray());
        Assert.True(MnAaaAuthentication.TryLocate(request, out var proof));
        Assert.True(avps.TryGetGroup(AvpKeys.MipMnAaaAuth, out var group));
        Assert.True(group.TryGetUnsigned32(AvpKeys.MipAuthenticatorOffset, out var offset));
        Assert.Equal((uint)proof.AuthenticatorOffset, offset);
        Assert.True(avps.TryGetUnsigned32(AvpKeys.MipFeatureVector, out var features));
        Assert.Equal(16u | 64u, features);
        Assert.True(avps.TryGetAddress(VpnAvpKeys.Default.PreviousFaAddress, out var previous));
        Assert.Equal(AgentFixture.Fa2, previous);
        Assert.True(avps.Contains(VpnAvpKeys.Default.ServiceUpdateRequest));
        Assert.False(avps.Contains(AvpKeys.AcctMultiSessionId));
    }

    [Fact]
    [Trait("Row", "NV1.13")]
    [Trait("Row", "S206")]
    public void The_reply_goes_to_the_nodes_link_address_with_the_home_agents_part_untouched()
    {
        _h.Admitted();
        var sent = _h.Node.Effects.OfType<SendDatagram>().Single();
        Assert.Equal((new IPEndPoint(AgentFixture.AliceHome, 434), AgentFixture.AccessInterface, _h.Net["alice"].Link), (sent.Destination, sent.Interface, sent.LinkDestination));
        var reply = _h.Reply();
        Assert.Equal(AuthenticationResult.Valid, reply.Check(sent.Payload.Span, AuthenticationKind.MobileHome, new MobilityAssociation(0x702, 0x701, AuthenticationAlgorithm.HmacSha256, HomeKey)));
        Assert.Equal(AuthenticationResult.Valid, reply.Check(sent.Payload.Span, AuthenticationKind.MobileForeign, NodesSide));
        Assert.IsType<ChallengeExtension>(reply.Extensions[reply.Extensions.Count - 2]);
    }

    [Fact]
    [Trait("Row", "NV1.13")]
    public void A_node_that_had_no_address_hears_the_limited_broadcast()
    {
        _h.Ama = (request, answer) => _h.Accept(request, answer, [], home: AgentFixture.AliceHome);
        _h.Send(_h.Request(IPAddress.Any));
        Assert.Equal(IPAddress.Broadcast, _h.Alice.Received.Single().Destination.Address);
        Assert.Equal(AgentFixture.AliceHome, Assert.Single(_h.Engine.Visitors).HomeAddress);
        Assert.True(_h.Aaa.Requests[0].Avps.TryGetUnsigned32(AvpKeys.MipFeatureVector, out var features));
        Assert.Equal(1u, features & 1);
    }

    public static TheoryData<string, string> BadProfiles() => new()
    {
        { "suite", "cannot be used with Ah" },
        { "reserved SPI", "reserved" },
        { "gateway", "not this gateway" },
        { "no preset", "preset" },
        { "clash", "in use" },
        { "preset clash", "in use" },
        { "count", "Count" },
        { "key", "open" },
    };

    [Theory]
    [MemberData(nameof(BadProfiles))]
    [Trait("Row", "NV-A21")]
    [Trait("Row", "M13")]
    [Trait("Row", "NV9.7")]
    public void A_profile_that_cannot_be_installed_means_refusal_no_tunnel_and_an_end_of_the_session(string what, string because)
    {
        var preset = AgentFixture.PresetOf(AgentFixture.Fa1, AgentFixture.Ha);
        var good = Profile();
        if (what == "clash")
        {
            _h.Ama = (request, answer) => _h.Accept(request, answer, [Profile(9, AgentFixture.BobHome)], session: "bob's");
            _h.Send(_h.Request(AgentFixture.BobHome, nai: AgentFixture.Bob), "bob");
            Assert.Single(_h.Engine.Visitors);
        }

        var standing = _h.Node.Paths.Values.ToList();
        _h.Ama = (request, answer) => what switch
        {
            "suite" => Rewrite(_h.Accept(request, answer, [good]), VpnAvpKeys.Default.VpnSecurityType, 1),
            "reserved SPI" => Rewrite(_h.Accept(request, answer, [good]), VpnAvpKeys.Default.VpnUpSpi, 255),
            "gateway" => _h.Accept(request, answer, [good with { SourceGateway = AgentFixture.Fa2 }]),
            "no preset" => _h.Accept(request, answer, [good with { Keying = ProfileKeying.Preset.Instance, DestinationGateway = AgentFixture.Pcn }]),
            "preset clash" => _h.Accept(request, answer, [good with { DownSpi = preset.InboundSpi }]),
            "count" => Rewrite(_h.Accept(request, answer, [good]), VpnAvpKeys.Default.VpnProfileCount, 2),
            "key" => Rewrap(_h.Accept(request, answer, [good])),
            _ => _h.Accept(request, answer, [good]),
        };
        _h.Send(_h.Request());
        var reply = _h.Reply();
        Assert.Equal(RegistrationReplyCode.ForeignProhibited, reply.Code);
        Assert.Contains(because, reply.Extensions.RefusalReason(ProjectExtensions.DefaultEnterprise), StringComparison.Ordinal);
        Assert.Equal(1, _h.Node.Counters["fa.profile.refused"]);
        Assert.Contains(_h.Node.Events, e => e.Kind == "registration.refused" && e.Rule!.Length > 0 && e.Text.Contains(because, StringComparison.Ordinal));
        Assert.Equal(standing, _h.Node.Paths.Values);
        Assert.DoesNotContain(_h.Engine.Visitors, v => v.Nai == AgentFixture.Alice);
        var str = Assert.Single(_h.Aaa.Requests, r => r.CommandCode == 275);
        Assert.True(str.Avps.TryGetInteger32(AvpKeys.TerminationCause, out var cause));
        // Bad answer, or administrative once the registration had succeeded.
        Assert.Equal(what is "suite" or "reserved SPI" or "count" or "key" ? 3 : 4, cause);
        Assert.Equal(_h.Aaa.Requests.Last(r => r.CommandCode == 260).SessionId, str.SessionId);
    }

    [Fact]
    [Trait("Row", "NV-A21")]
    [Trait("Row", "NV9.7")]
    public void An_algorithm_nobody_knows_makes_the_whole_answer_unreadable()
    {
        _h.Ama = (request, answer) => Rewrite(_h.Accept(request, answer, [Profile()]), VpnAvpKeys.Default.VpnAlgorithm, 99);
        _h.Send(_h.Request());
        _h.AssertRefused(RegistrationReplyCode.ForeignPoorlyFormedReply, "fa.ama.unreadable", "cannot be used");
        Assert.Equal(_h.Aaa.Requests[0].SessionId, Assert.Single(_h.Aaa.Requests, r => r.CommandCode == 275).SessionId);
    }

    [Theory]
    [InlineData(4001u, RegistrationReplyCode.ForeignMobileNodeFailedAaaAuthentication)]
    [InlineData(4005u, RegistrationReplyCode.ForeignPoorlyFormedReply)]
    [InlineData(4006u, RegistrationReplyCode.ForeignHomeAgentUnreachable)]
    [InlineData(5003u, RegistrationReplyCode.ForeignProhibited)]
    [InlineData(5006u, RegistrationReplyCode.ForeignInsufficientResources)]
    [InlineData(3002u, RegistrationReplyCode.ForeignHomeNetworkUnreachable)]
    [InlineData(3003u, RegistrationReplyCode.ForeignHomeNetworkUnreachable)]
    [InlineData(5012u, RegistrationReplyCode.ForeignUnspecified)]
    [Trait("Row", "NV9.7")]
    public void A_refusing_AMA_becomes_the_code_of_the_table_with_the_servers_reason(uint result, RegistrationReplyCode code)
    {
        _h.Ama = (_, answer) => answer(result).Add(VpnAvpKeys.Default.VpnRefusalReason, "because the moon is full").Build();
        _h.Send(_h.Request());
        _h.AssertRefused(code, "fa.ama.refused", "because the moon is full");
    }

    [Fact]
    [Trait("Row", "NV9.7")]
    public void A_refusal_of_the_home_agent_reaches_the_node_as_the_home_agent_wrote_it()
    {
        _h.Ama = (request, answer) => answer(DiameterResult.MipReplyFailure)
            .Add(AvpKeys.MipRegReply, ReplyTo(AaaFixture.Registration(request), RegistrationReplyCode.HomeIdentificationMismatch).ToArray()).Build();
        _h.Send(_h.Request());
        var reply = _h.Reply();
        Assert.Equal(RegistrationReplyCode.HomeIdentificationMismatch, reply.Code);
        Assert.True(reply.TryFindAuthentication(AuthenticationKind.MobileHome, out _, out _));
        Assert.Empty(_h.Engine.Visitors);
    }

    [Fact]
    [Trait("Row", "NV9.7")]
    public void An_AMA_whose_reply_answers_another_request_lets_nobody_in()
    {
        _h.Ama = (request, answer) => _h.Accept(request, answer, [Profile()]).Avps.TryGetOctets(AvpKeys.MipRegReply, out _)
            ? _h.Accept(request, answer, [Profile()]).Without(AvpKeys.MipRegReply).Append([new Avp(AvpKeys.MipRegReply, AvpFlags.Mandatory, ReplyTo(AaaFixture.Registration(request) with { Identification = 5 }).ToArray())])
            : null;
        _h.Send(_h.Request());
        _h.AssertRefused(RegistrationReplyCode.ForeignPoorlyFormedReply, "fa.ama.bad_reply", "not one to this request");
    }

    [Fact]
    [Trait("Row", "NV9.7")]
    public void When_the_AAA_servers_cannot_be_reached_the_node_is_told()
    {
        _h.Net.Crash("aaaf");
        _h.Net.Run(TimeSpan.FromSeconds(1));
        _h.Send(_h.Request());
        _h.Net.Run(TimeSpan.FromSeconds(60));
        Assert.Equal(RegistrationReplyCode.ForeignHomeNetworkUnreachable, _h.Alice.Last<RegistrationReply>().Code);
        Assert.Empty(_h.Engine.Visitors);
    }

    [Fact]
    [Trait("Row", "R12")]
    public void A_request_repeated_while_the_servers_think_is_asked_about_once()
    {
        DiameterMessage? late = null;
        _h.Ama = (request, answer) =>
        {
            late = _h.Accept(request, answer, [Profile()]);
            return null;
        };
        var request = _h.Request();
        _h.Send(request);
        _h.Send(request);
        Assert.NotNull(late);
        Assert.Single(_h.Aaa.Requests);
        Assert.Equal(1, _h.Node.Counters["fa.rrq.duplicate"]);
        Assert.Empty(_h.Alice.Received);
        Assert.Empty(_h.Node.UserPaths);
    }

    [Fact]
    [Trait("Row", "R12")]
    public void Beyond_its_limits_the_agent_says_busy_in_replies_and_advertisements()
    {
        var h = new ForeignAgentHarness(o => o with { MaximumVisitors = 1 }).Admitted();
        h.Send(h.Request(AgentFixture.BobHome, nai: AgentFixture.Bob), "bob");
        Assert.Equal(RegistrationReplyCode.ForeignInsufficientResources, h.Reply(1, h.Bob).Code);
        h.Net.Run(TimeSpan.FromSeconds(2));
        Assert.True(AgentAdvertisement.TryParse(h.Node.Effects.OfType<SendIcmp>().Last().Message.Span, out var advertisement, out _));
        Assert.True(advertisement.Mobility!.Flags.HasFlag(MobilityAgentFlags.Busy));
        h.Send(h.Request(mnFa: NodesSide));
        Assert.NotEqual(RegistrationReplyCode.ForeignInsufficientResources, h.Alice.Last<RegistrationReply>().Code);
    }

    [Fact]
    [Trait("Row", "NV9.7")]
    public void A_visitors_wrong_authenticator_is_refused_and_his_registration_stays()
    {
        _h.Admitted();
        _h.Send(_h.Request(mnFa: NodesSide with { Key = AgentFixture.Secret(77) }));
        Assert.Equal(RegistrationReplyCode.ForeignMobileNodeFailedAuthentication, _h.Reply(2).Code);
        Assert.Single(_h.Engine.Visitors);
        Assert.Single(_h.Aaa.Requests);
        Assert.Empty(_h.HomeAgent.Received);
    }

    [Fact]
    [Trait("Row", "NV9.6")]
    public void A_renewal_carries_the_agents_own_proof_and_keeps_the_nodes_part()
    {
        _h.Admitted();
        var request = _h.Request(mnFa: NodesSide);
        _h.Send(request);
        var datagram = Assert.Single(_h.HomeAgent.Received);
        var seen = _h.HomeAgent.Last<RegistrationRequest>();
        Assert.Equal(AuthenticationResult.Valid, seen.Check(datagram.Payload.Span, AuthenticationKind.ForeignHome, new MobilityAssociation(0x902, 0x901, AuthenticationAlgorithm.HmacSha256, AgentsKey)));
        Assert.False(seen.TryFindAuthentication(AuthenticationKind.MobileForeign, out _, out _));
        Assert.True(seen.TryFindAuthentication(AuthenticationKind.MobileHome, out _, out _));
        _h.FromHome(ReplyTo(request));
        Assert.Equal(RegistrationReplyCode.Accepted, _h.Reply(2).Code);
        Assert.False(_h.Reply(2).TryFindAuthentication(AuthenticationKind.ForeignHome, out _, out _));
    }

    [Theory]
    [InlineData("authenticator")]
    [InlineData("spi")]
    [InlineData("source")]
    [InlineData("identification")]
    [InlineData("unsigned")]
    [Trait("Row", "M10")]
    [Trait("Row", "NV9.7")]
    public void A_forged_reply_changes_nothing_and_the_right_one_still_counts(string what)
    {
        _h.Ama = (request, answer) => _h.Accept(request, answer, [Profile()], reply: false);
        var request = _h.Request(previous: AgentFixture.Fa2);
        _h.Send(request);
        Assert.Single(_h.HomeAgent.Received);
        var reply = ReplyTo(request);
        switch (what)
        {
            case "authenticator":
                _h.FromHome(reply, new MobilityAssociation(0x902, AgentFixture.Secret(66)));
                break;
            case "spi":
                _h.FromHome(reply, new MobilityAssociation(0x903, AgentsKey));
                break;
            case "source":
                _h.FromHome(reply, source: AgentFixture.Pcn);
                break;
            case "identification":
                _h.FromHome(reply with { Identification = request.Identification ^ 1 });
                break;
            default:
                _h.Net.Forge("ha", new SendDatagram(new IPEndPoint(AgentFixture.Ha, 434), new IPEndPoint(AgentFixture.Fa1, 434), reply.ToArray()));
                _h.Net.Run(TimeSpan.FromMilliseconds(50));
                break;
        }

        Assert.Empty(_h.Alice.Received);
        Assert.Empty(_h.Engine.Visitors);
        Assert.All(_h.Node.UserPaths, p => Assert.Equal(PathState.InboundOnly, p.State));
        Assert.Equal(1, _h.Node.Counters.GetValueOrDefault("fa.rrp.bad_authenticator") + _h.Node.Counters.GetValueOrDefault("fa.rrp.unexpected"));

        _h.FromHome(reply);
        Assert.Equal(RegistrationReplyCode.Accepted, _h.Reply().Code);
        Assert.All(_h.Node.UserPaths, p => Assert.Equal(PathState.Active, p.State));
    }

    [Fact]
    [Trait("Row", "M10")]
    [Trait("Row", "NV9.7")]
    public void A_silent_home_agent_means_timeout_no_path_and_an_end_of_the_cached_move()
    {
        _h.Ama = (request, answer) => _h.Accept(request, answer, [Profile()], reply: false);
        _h.Send(_h.Request(previous: AgentFixture.Fa2));
        Assert.NotEmpty(_h.Node.UserPaths);
        _h.Net.Run(TimeSpan.FromSeconds(9));
        Assert.Equal(RegistrationReplyCode.ForeignRegistrationTimeout, _h.Reply().Code);
        Assert.Empty(_h.Node.UserPaths);
        var str = Assert.Single(_h.Aaa.Requests, r => r.CommandCode == 275);
        Assert.True(str.Avps.TryGetInteger32(AvpKeys.TerminationCause, out var cause));
        Assert.Equal(3, cause);
        Assert.Empty(_h.Engine.Vpn.Sessions);
    }

    [Fact]
    [Trait("Row", "M10")]
    public void A_cached_answer_without_a_key_towards_the_home_agent_is_of_no_use()
    {
        _h.Ama = (request, answer) => _h.Accept(request, answer, [Profile()], reply: false, keys: false);
        _h.Send(_h.Request(previous: AgentFixture.Fa2));
        _h.AssertRefused(RegistrationReplyCode.ForeignHomeAgentFailedAuthentication, "fa.ama.no_fa_ha_key", "no key");
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    public void An_abort_from_the_AAA_server_ends_the_visit_and_an_unknown_one_is_told()
    {
        _h.Admitted();
        var amr = _h.Aaa.Requests[0];
        Abort("another;1;2");
        Assert.Equal(5002u, _h.Aaa.Answers[^1].ResultCode);
        Assert.Single(_h.Engine.Visitors);
        Abort(amr.SessionId!);
        Assert.Equal(2001u, _h.Aaa.Answers[^1].ResultCode);
        Assert.Empty(_h.Engine.Visitors);
        Assert.Empty(_h.Node.UserPaths);
        Assert.Empty(_h.Node.Visitors);

        void Abort(string session)
        {
            _h.Net.Input("aaaf", new SendRequest(DiameterDictionary.Default.Request(DiameterCommands.AbortSession with { ApplicationId = DiameterApplications.MobileIpv4 })
                .Add(AvpKeys.SessionId, session).Add(AvpKeys.OriginHost, AaaFixture.Identity("aaaf")).Add(AvpKeys.OriginRealm, "visited.example")
                .Add(AvpKeys.DestinationRealm, "visited.example").Add(AvpKeys.DestinationHost, AaaFixture.Identity("fa1")).Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4).Build()));
            _h.Net.Run(TimeSpan.FromMilliseconds(100));
        }
    }

    [Fact]
    public void Garbage_and_strangers_datagrams_are_counted_and_nothing_else()
    {
        _h.Admitted();
        var before = (_h.Node.UserPaths.Count(), _h.Net.Arrows.Count(a => a.StartsWith("fa1", StringComparison.Ordinal)));
        var random = new Random(4);
        var request = _h.Request().ToArray();
        for (var i = 0; i < 2000; i++)
        {
            var octets = (byte[])request.Clone();
            for (var n = random.Next(1, 4); n > 0; n--)
            {
                octets[random.Next(octets.Length)] = (byte)random.Next(256);
            }

            _h.Net.Forge("alice", new SendDatagram(new IPEndPoint(AgentFixture.AliceHome, 434), new IPEndPoint(Agent, 434), octets.AsMemory(0, random.Next(octets.Length + 1)), AgentFixture.MobileInterface));
            _h.Net.Forge("ha", new SendDatagram(new IPEndPoint(AgentFixture.Ha, 434), new IPEndPoint(AgentFixture.Fa1, 434), octets));
        }

        _h.Net.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(before.Item1, _h.Node.UserPaths.Count());
        Assert.Single(_h.Engine.Visitors);
        Assert.True(_h.Node.Counters["fa.mip4.malformed"] > 100);
        Assert.True(_h.Node.Counters["fa.rrq.not_from_access_link"] > 100);
    }

    private static DiameterMessage Rewrite(DiameterMessage message, AvpKey key, uint value)
    {
        var replaced = new Avp(key, AvpFlags.Vendor | AvpFlags.Mandatory, System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(value) is var wire ? BitConverter.GetBytes(wire) : []);
        if (message.Avps.Contains(key))
        {
            return message.Without(key).Append([replaced]);
        }

        return InProfile(message, members => [.. members.Select(m => m.Key == key ? replaced : m)]);
    }

    private static DiameterMessage Rewrap(DiameterMessage message) => InProfile(message, members => [.. members.Select(m =>
        m.Key == VpnAvpKeys.Default.WrappedKey ? new Avp(m.Key, AvpFlags.Vendor | AvpFlags.Mandatory, KeyWrap.Wrap(AgentFixture.Secret(55), AgentFixture.Secret(1).Octets)) : m)]);

    private static DiameterMessage InProfile(DiameterMessage message, Func<IEnumerable<Avp>, IEnumerable<Avp>> change)
    {
        Assert.True(message.Avps.TryGet(VpnAvpKeys.Default.VpnProfile, out var profile));
        Assert.True(profile.TryReadGroup(DiameterLimits.Default, out var members, out _));
        return message.Without(VpnAvpKeys.Default.VpnProfile).Append([Avp.Group(VpnAvpKeys.Default.VpnProfile, [.. change(members)])]);
    }
}
