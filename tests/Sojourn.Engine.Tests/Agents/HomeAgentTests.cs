using System.Net;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Engine.MobileIpv4.Agents;
using Sojourn.Engine.Tests.Aaa;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;
using Xunit;
using static Sojourn.Engine.Tests.Agents.HomeAgentHarness;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>The home agent against hostile or careless nodes, servers and foreign agents.</summary>
public sealed class HomeAgentTests
{
    private readonly HomeAgentHarness _h = new();

    public static TheoryData<string, RegistrationReplyCode, string, string> BadRequests() => new()
    {
        { "other home agent", RegistrationReplyCode.HomeUnknownHomeAgent, "ha.rrq.other_home_agent", "not this home agent" },
        { "gre", RegistrationReplyCode.HomeEncapsulationUnavailable, "ha.rrq.encapsulation", "IP-in-IP" },
        { "no T", RegistrationReplyCode.HomeReverseTunnelMandatory, "ha.rrq.no_reverse_tunnel", "T is not set" },
        { "critical", RegistrationReplyCode.HomeUnknownVendorExtensionFromMobileNode, "ha.rrq.critical_vendor_extension", "critical" },
        { "no key", RegistrationReplyCode.HomeMobileNodeFailedAuthentication, "ha.rrq.no_authenticator", "no MN-HA key" },
        { "late", RegistrationReplyCode.HomeIdentificationMismatch, "ha.rrq.identification", "clock" },
        { "early", RegistrationReplyCode.HomeIdentificationMismatch, "ha.rrq.identification", "clock" },
        { "not home", RegistrationReplyCode.HomeProhibited, "ha.rrq.not_home", "does not belong" },
        { "no address left", RegistrationReplyCode.HomeInsufficientResources, "ha.rrq.no_address", "no home address" },
        { "no contract", RegistrationReplyCode.HomeProhibited, "ha.bu.no_contract", "no contract" },
        { "clash", RegistrationReplyCode.HomeProhibited, "ha.profile.refused", "in use" },
        { "no preset", RegistrationReplyCode.HomeProhibited, "ha.profile.refused", "no preset" },
        { "foreign key", RegistrationReplyCode.HomeProhibited, "ha.profile.refused", "open" },
    };

    [Theory]
    [MemberData(nameof(BadRequests))]
    [Trait("Row", "NV-A21")]
    [Trait("Row", "NV-A27")]
    [Trait("Row", "NV9.7")]
    [Trait("Row", "M9")]
    public void A_request_that_breaks_a_rule_is_refused_with_its_code_and_nothing_stands(string what, RegistrationReplyCode code, string counter, string because)
    {
        var preset = AgentFixture.PresetOf(AgentFixture.Ha, AgentFixture.Fa1);
        var har = what switch
        {
            "other home agent" => _h.Har(_h.Request() with { HomeAgent = AgentFixture.Pcn }, [Leg()]),
            "gre" => _h.Har(_h.Request() with { Flags = RegistrationFlags.ReverseTunnel | RegistrationFlags.Gre }, [Leg()]),
            "no T" => _h.Har(_h.Request() with { Flags = RegistrationFlags.None }, [Leg()]),
            "critical" => _h.Har(_h.Request().With(VendorExtension.InCritical(4711, 1, new byte[] { 1 })), [Leg()]),
            "no key" => _h.Har(_h.Request(mnHa: NodesSide), [Leg()], nodeKeys: false),
            "late" => _h.Har(_h.Request(clock: TimeSpan.FromSeconds(-8)), [Leg()]),
            "early" => _h.Har(_h.Request(clock: TimeSpan.FromSeconds(8)), [Leg()]),
            "not home" => _h.Har(_h.Request(home: IPAddress.Parse("10.98.0.1")), []),
            "no address left" => _h.Har(_h.Request(home: IPAddress.Any), []),
            "no contract" => _h.Har(_h.Request(), [Direct(gateway: IPAddress.Parse("10.0.4.99"))]),
            "clash" => _h.Har(_h.Request(), [Leg() with { UpSpi = preset.InboundSpi }]),
            "no preset" => _h.Har(_h.Request(), [Leg() with { Keying = ProfileKeying.Preset.Instance, SecurityType = SecurityType.Ah, Algorithm = IpsecAlgorithm.None, UpSpi = 0, DownSpi = 0 }]),
            _ => _h.Har(_h.Request(), [Leg()], kek: AgentFixture.Secret(88)),
        };
        _h.AssertRefused(_h.Exchange(har), code, counter, because);
        _h.AssertNothingStands();
        Assert.Empty(_h.Gateway.Received);
    }

    [Fact]
    [Trait("Row", "M1")]
    public void A_wrong_clock_is_told_in_the_high_half_of_the_Identification_and_the_low_half_is_the_requests()
    {
        var request = _h.Request(clock: TimeSpan.FromHours(-1));
        var reply = Reply(_h.Exchange(_h.Har(request, []))!);
        Assert.Equal((uint)request.Identification, (uint)reply.Identification);
        Assert.True(Identification.Ahead(reply.Identification, _h.Net.Now).Duration() < TimeSpan.FromSeconds(2));
        Assert.Equal(AuthenticationResult.Valid, reply.Check(reply.ToArray(), AuthenticationKind.MobileHome, NodesSide));
    }

    [Fact]
    [Trait("Row", "NV1.9")]
    [Trait("Row", "S209")]
    [Trait("Row", "S206")]
    [Trait("Row", "S207")]
    public void The_answer_holds_the_reply_for_the_node_signed_with_its_key_and_with_both_nonces_before_the_signature()
    {
        var haa = _h.Accepted(_h.Request(wantsKeys: true), Leg());
        var reply = Reply(haa);
        Assert.Equal((RegistrationReplyCode.Accepted, (ushort)600, AgentFixture.AliceHome, AgentFixture.Ha), (reply.Code, reply.Lifetime, reply.HomeAddress, reply.HomeAgent));
        Assert.Equal(AuthenticationResult.Valid, reply.Check(reply.ToArray(), AuthenticationKind.MobileHome, NodesSide));
        var nonces = reply.Extensions.OfType<KeyGenerationNonceReplyExtension>().ToList();
        Assert.Equal([(NoncePeer.HomeAgent, 0x701u, 0x200u), (NoncePeer.ForeignAgent, 0x704u, 0x200u)], nonces.Select(n => (n.Peer, n.AgentSpi, n.AaaSpi)));
        Assert.Equal(reply.Extensions.Count - 1, reply.Extensions.IndexOf(e => e is AuthenticationExtension));
        Assert.True(haa.Avps.TryGetAddress(AvpKeys.MipMobileNodeAddress, out var home) && home.Equals(AgentFixture.AliceHome));
        Assert.True(haa.Avps.TryGetUnsigned32(AvpKeys.MipFaToMnSpi, out var spi));
        Assert.Equal(0x703u, spi);
        Assert.True(haa.Avps.TryGetText(AvpKeys.AcctMultiSessionId, out var session) && session == Session);
    }

    [Fact]
    [Trait("Row", "NV1.9")]
    [Trait("Row", "S216")]
    public void The_binding_is_saved_and_the_paths_stand_before_the_answer_leaves()
    {
        _h.Node.Effects.Clear();
        _h.Accepted(_h.Request(), Leg());
        var effects = _h.Node.Effects;
        var answer = effects.FindIndex(e => e is SendBytes);
        Assert.InRange(effects.FindIndex(e => e is ChangePaths), 0, answer);
        Assert.InRange(effects.FindIndex(e => e is SaveState), 0, answer);
        Assert.InRange(effects.FindIndex(e => e is AttractHomeAddress), 0, answer);
    }

    [Fact]
    [Trait("Row", "NV9.6")]
    [Trait("Row", "NV-A26")]
    [Trait("Row", "S213")]
    public void A_renewal_from_the_foreign_agent_extends_the_binding_and_is_answered_to_it()
    {
        var haa = _h.Accepted(_h.Request(), Leg());
        var changes = _h.Node.Effects.OfType<ChangePaths>().Count();
        _h.Net.Run(TimeSpan.FromSeconds(300));
        _h.FromAgent(_h.Request(mnHa: NodesSide), AgentsSide(haa));
        var datagram = Assert.Single(_h.ForeignAgent.Received);
        var reply = _h.ForeignAgent.Last<RegistrationReply>();
        Assert.Equal(RegistrationReplyCode.Accepted, reply.Code);
        Assert.Equal(AuthenticationResult.Valid, reply.Check(datagram.Payload.Span, AuthenticationKind.ForeignHome, AgentsSide(haa)));
        Assert.Equal(AuthenticationResult.Valid, reply.Check(datagram.Payload.Span, AuthenticationKind.MobileHome, NodesSide));
        Assert.Equal(changes, _h.Node.Effects.OfType<ChangePaths>().Count());
        Assert.InRange(_h.Engine.Bindings.Single().Expires, _h.Net.Now.AddSeconds(599), _h.Net.Now.AddSeconds(600));
    }

    [Theory]
    [InlineData("key", "ha.rrq.bad_foreign_agent")]
    [InlineData("spi", "ha.rrq.bad_foreign_agent")]
    [InlineData("unsigned", "ha.rrq.bad_foreign_agent")]
    [InlineData("source", "ha.rrq.care_of_mismatch")]
    [InlineData("unknown home", "ha.rrq.bad_foreign_agent")]
    [InlineData("expired key", "ha.rrq.bad_foreign_agent")]
    [Trait("Row", "NV-A27")]
    [Trait("Row", "NV9.7")]
    public void A_request_of_somebody_who_does_not_hold_the_agents_key_is_dropped_and_counted(string what, string counter)
    {
        var haa = _h.Accepted(_h.Request(), Leg());
        var good = AgentsSide(haa);
        if (what == "expired key")
        {
            for (var i = 0; i < 8; i++)
            {
                _h.Net.Run(TimeSpan.FromSeconds(440));
                _h.FromAgent(_h.Request(mnHa: NodesSide), good);
            }

            Assert.NotEmpty(_h.Engine.Bindings);
            _h.ForeignAgent.Received.Clear();
            _h.Net.Run(TimeSpan.FromSeconds(100));
        }

        var before = _h.Engine.Bindings.Single();
        var paths = _h.Node.UserPaths.ToList();
        var request = _h.Request(AgentFixture.Fa2, mnHa: NodesSide, home: what == "unknown home" ? AgentFixture.BobHome : null);
        switch (what)
        {
            case "key":
                _h.FromAgent(request, good with { Key = AgentFixture.Secret(77) }, "fa2");
                break;
            case "spi":
                _h.FromAgent(request, good with { OutboundSpi = good.OutboundSpi + 1 }, "fa2");
                break;
            case "unsigned":
                _h.Send("fa2", AgentFixture.Fa2, request.ToArray());
                break;
            case "source":
                _h.FromAgent(request, good, "fa2", AgentFixture.Pcn);
                break;
            default:
                _h.FromAgent(request, good, "fa2");
                break;
        }

        Assert.Equal(1, _h.Node.Counters[counter]);
        Assert.Empty(_h.OtherAgent.Received);
        Assert.Equal(before, _h.Engine.Bindings.Single());
        Assert.Equal(paths, _h.Node.UserPaths);
    }

    [Theory]
    [InlineData("authenticator", RegistrationReplyCode.HomeMobileNodeFailedAuthentication)]
    [InlineData("replay", RegistrationReplyCode.HomeIdentificationMismatch)]
    [InlineData("clock", RegistrationReplyCode.HomeIdentificationMismatch)]
    [Trait("Row", "NV-A27")]
    [Trait("Row", "NV9.7")]
    public void A_move_the_node_does_not_prove_is_refused_to_the_agent_and_the_old_path_stays(string what, RegistrationReplyCode code)
    {
        var first = _h.Request();
        var haa = _h.Accepted(first, Leg());
        var paths = _h.Node.UserPaths.ToList();
        var request = what switch
        {
            "authenticator" => _h.Request(AgentFixture.Fa2, mnHa: NodesSide with { Key = AgentFixture.Secret(77) }),
            "replay" => (_h.Request(AgentFixture.Fa2) with { Identification = first.Identification, Extensions = MobileIpExtensions.None }).Sign(AuthenticationKind.MobileHome, NodesSide),
            _ => _h.Request(AgentFixture.Fa2, clock: TimeSpan.FromSeconds(30), mnHa: NodesSide),
        };
        _h.FromAgent(request, AgentsSide(haa), "fa2");
        Assert.Equal(code, _h.OtherAgent.Last<RegistrationReply>().Code);
        Assert.Equal(AuthenticationResult.Valid, _h.OtherAgent.Last<RegistrationReply>().Check(_h.OtherAgent.Received[^1].Payload.Span, AuthenticationKind.ForeignHome, AgentsSide(haa)));
        Assert.Equal(AgentFixture.Fa1, _h.Engine.Bindings.Single().CareOfAddress);
        Assert.Equal(paths, _h.Node.UserPaths);
    }

    [Fact]
    public void A_request_the_network_doubled_is_answered_once()
    {
        var haa = _h.Accepted(_h.Request(), Leg());
        var octets = _h.Request(AgentFixture.Fa2, mnHa: NodesSide, previous: AgentFixture.Fa1).Sign(AuthenticationKind.ForeignHome, AgentsSide(haa)).ToArray();
        _h.Send("fa2", AgentFixture.Fa2, octets);
        _h.Send("fa2", AgentFixture.Fa2, octets);
        Assert.Single(_h.OtherAgent.Received);
        Assert.Equal(1, _h.Node.Counters["ha.rrq.duplicate"]);
    }

    // A node whose move was granted without its knowing takes its way back for a renewal, and so does the agent there.
    [Fact]
    [Trait("Row", "M3")]
    [Trait("Row", "NV9.7")]
    public void A_change_of_place_that_the_node_does_not_know_of_wants_new_keys()
    {
        var haa = _h.Accepted(_h.Request(), Leg());
        _h.Send("fa2", AgentFixture.Fa2, _h.Request(AgentFixture.Fa2, mnHa: NodesSide).Sign(AuthenticationKind.ForeignHome, AgentsSide(haa)).ToArray());
        Assert.Equal(RegistrationReplyCode.HomeForeignAgentFailedAuthentication, _h.OtherAgent.Last<RegistrationReply>().Code);
        Assert.Equal(1, _h.Node.Counters["ha.rrq.unseen_move"]);
        Assert.Equal(AgentFixture.Fa1, _h.Node.Sending.Single(p => p.Origin.ProfileNumber == 1).RemoteGateway);
    }

    [Fact]
    [Trait("Row", "NV3.6")]
    [Trait("Row", "NV6.8")]
    [Trait("Row", "R16")]
    [Trait("Row", "R26")]
    public void A_move_by_way_of_the_AAA_server_names_the_care_of_address_it_replaced()
    {
        Assert.False(_h.Accepted(_h.Request(), Leg()).Avps.Contains(VpnAvpKeys.Default.PreviousFaAddress));
        var haa = _h.Accepted(_h.Request(AgentFixture.Fa2), Leg(AgentFixture.Fa2, freshness: 8));
        Assert.True(haa.Avps.TryGetAddress(VpnAvpKeys.Default.PreviousFaAddress, out var old));
        Assert.Equal(AgentFixture.Fa1, old);
        Assert.Equal(AgentFixture.Fa2, _h.Node.Sending.Single(p => p.Origin.ProfileNumber == 1).RemoteGateway);
    }

    [Fact]
    [Trait("Row", "NV9.7")]
    public void An_address_of_another_user_is_refused_and_stays_his()
    {
        _h.Accepted(_h.Request(), Leg());
        var haa = _h.Exchange(_h.Har(_h.Request(AgentFixture.Fa2), [], nai: AgentFixture.Bob, session: "bob's"));
        _h.AssertRefused(haa, RegistrationReplyCode.HomeProhibited, "ha.har.address_taken", "another user");
        Assert.Equal((AgentFixture.Alice, AgentFixture.Fa1), (_h.Engine.Bindings.Single().Nai, _h.Engine.Bindings.Single().CareOfAddress));
    }

    [Fact]
    public void The_pool_gives_each_user_his_own_address_again_and_strangers_addresses_last()
    {
        var h = new HomeAgentHarness(o => o with { Pool = (IPAddress.Parse("10.99.0.100"), IPAddress.Parse("10.99.0.101")) });
        var alice = Ask("alice@home.example", 600);
        Assert.Equal(alice, Ask("alice@home.example", 600));
        var bob = Ask("bob@home.example", 600);
        Assert.NotEqual(alice, bob);
        Assert.Equal(RegistrationReplyCode.HomeInsufficientResources, Reply(Exchange("carol@home.example", 600)).Code);
        h.Net.Run(TimeSpan.FromSeconds(605));
        h.Net.Crash("ha");
        h.Net.Restart("ha", h.NewEngine());
        Assert.Equal(bob, Ask("bob@home.example", 600));
        Assert.Equal(alice, Ask("carol@home.example", 600));
        Assert.Equal(RegistrationReplyCode.HomeInsufficientResources, Reply(Exchange("alice@home.example", 600)).Code);

        IPAddress Ask(string nai, ushort lifetime) => Reply(Exchange(nai, lifetime)).HomeAddress;

        DiameterMessage Exchange(string nai, ushort lifetime) => h.Exchange(h.Har(h.Request(home: IPAddress.Any, lifetime: lifetime), [], nai: nai, session: nai))!;
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    public void Saved_bindings_that_cannot_be_read_or_have_ended_are_dropped_and_the_rest_comes_back()
    {
        var h = new HomeAgentHarness(o => o with { RegistrationLifetime = TimeSpan.FromSeconds(600) });
        h.Accepted(h.Request(), Leg());
        h.Exchange(h.Har(h.Request(home: AgentFixture.BobHome, lifetime: 2), [], nai: AgentFixture.Bob, session: "bob's"));
        h.Net.Crash("ha");
        h.Node.State[new StateKey("binding", "10.99.0.66")] = [1, 2, 3];
        h.Net.Run(TimeSpan.FromSeconds(5));
        h.Net.Restart("ha", h.NewEngine());
        Assert.Equal(AgentFixture.AliceHome, h.Engine.Bindings.Single().HomeAddress);
        Assert.Equal([AgentFixture.AliceHome], h.Node.Attracted);
        Assert.Equal(["10.99.0.10"], h.Node.State.Keys.Where(k => k.Table == "binding").Select(k => k.Key));
        Assert.Contains(h.Node.Events, e => e.Kind == "binding.unreadable");
    }

    [Fact]
    [Trait("Row", "M3")]
    public void Users_without_derived_keys_are_served_at_once_after_a_restart()
    {
        _h.Accepted(_h.Request());
        _h.Net.Crash("ha");
        _h.Net.Restart("ha", _h.NewEngine());
        Assert.Equal(PathState.Active, Assert.Single(_h.Node.UserPaths).State);
    }

    [Theory]
    [InlineData("binding limit")]
    [InlineData("pending limit")]
    public void Beyond_its_limits_the_agent_refuses_newcomers(string what)
    {
        var h = new HomeAgentHarness(o => what == "binding limit" ? o with { MaximumBindings = 1 } : o with { MaximumPending = 1 });
        h.Exchange(h.Har(h.Request(), what == "binding limit" ? [] : [Direct()]));
        var haa = h.Exchange(h.Har(h.Request(home: AgentFixture.BobHome), what == "binding limit" ? [] : [Direct(number: 3) with { Destination = new IPNetwork(AgentFixture.BobHome, 32) }], nai: AgentFixture.Bob, session: "bob's"));
        h.AssertRefused(haa, RegistrationReplyCode.HomeInsufficientResources, what == "binding limit" ? "ha.rrq.full" : "ha.bu.full", what == "binding limit" ? "no room" : "too many");
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    public void An_abort_ends_the_binding_here_and_at_its_gateways()
    {
        var har = _h.Har(_h.Request(), [Direct()]);
        _h.Exchange(har);
        _h.Acknowledge(_h.Update());
        _h.Net.Input("aaah", new SendRequest(DiameterDictionary.Default.Request(DiameterCommands.AbortSession with { ApplicationId = DiameterApplications.MobileIpv4 })
            .Add(AvpKeys.SessionId, har.SessionId!).Add(AvpKeys.OriginHost, AaaFixture.Identity("aaah")).Add(AvpKeys.OriginRealm, "home.example")
            .Add(AvpKeys.DestinationRealm, "home.example").Add(AvpKeys.DestinationHost, AaaFixture.Identity("ha")).Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4).Build()));
        _h.Net.Run(TimeSpan.FromMilliseconds(100));
        Assert.Equal(DiameterResult.Success, _h.Aaa.Answers[^1].ResultCode);
        Assert.True(_h.Update().Remove);
        _h.AssertNothingStands();
    }

    [Fact]
    public void Garbage_changes_nothing()
    {
        var haa = _h.Accepted(_h.Request(), Leg());
        var before = (_h.Engine.Bindings.Single(), _h.Node.UserPaths.ToList());
        var request = _h.Request(AgentFixture.Fa2, mnHa: NodesSide).Sign(AuthenticationKind.ForeignHome, AgentsSide(haa)).ToArray();
        var random = new Random(9);
        for (var i = 0; i < 3000; i++)
        {
            var octets = (byte[])request.Clone();
            octets[random.Next(octets.Length)] ^= (byte)random.Next(1, 256);
            _h.Net.Forge("fa2", new SendDatagram(new IPEndPoint(AgentFixture.Fa2, 434), new IPEndPoint(AgentFixture.Ha, 434), octets.AsMemory(0, random.Next(5) == 0 ? random.Next(octets.Length) : octets.Length)));
        }

        _h.Net.Run(TimeSpan.FromMilliseconds(500));
        Assert.Equal(before.Item1, _h.Engine.Bindings.Single());
        Assert.Equal(before.Item2, _h.Node.UserPaths);
        Assert.Empty(_h.OtherAgent.Received);
    }
}
