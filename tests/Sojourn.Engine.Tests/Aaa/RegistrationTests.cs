using System.Net;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;
using Xunit;

namespace Sojourn.Engine.Tests.Aaa;

/// <summary>First registrations and refusals over AAAF and AAAH.</summary>
public class RegistrationTests
{
    private readonly AaaFixture _f = new();

    private static readonly string[] FullExchange =
        ["fa1 > aaaf AMR", "aaaf > aaah AMR", "aaah > ha HAR", "ha > aaah HAA", "aaah > aaaf AMA", "aaaf > fa1 AMA"];

    private static KeyMaterial FaKek => AaaFixture.Kek("fa1", "aaaf");

    private static KeyMaterial HaKek => AaaFixture.Kek("ha", "aaah");

    [Fact]
    [Trait("Row", "NV1.5")]
    [Trait("Row", "NV1.6")]
    [Trait("Row", "NV1.7")]
    [Trait("Row", "NV1.10")]
    [Trait("Row", "NV1.11")]
    [Trait("Row", "NV-A4")]
    [Trait("Row", "S104")]
    [Trait("Row", "NV-C1")]
    [Trait("Row", "NV-C3")]
    [Trait("Row", "NV-C4")]
    [Trait("Row", "NV-C6")]
    [Trait("Row", "NV-C10")]
    [Trait("Row", "NV-C11")]
    [Trait("Row", "NV-C16")]
    [Trait("Row", "S101")]
    [Trait("Row", "S102")]
    [Trait("Row", "S103")]
    [Trait("Row", "S109")]
    [Trait("Row", "R48")]
    [Trait("Row", "NV-C8")]
    public void A_static_path_is_handed_out_leg_by_leg_and_cached_everywhere()
    {
        _f.Directory.Vpns.Add(_f.Static());
        var ama = _f.Register("fa1");
        Assert.Equal(FullExchange, _f.Net.Arrows);

        Assert.Equal(DiameterResult.Success, ama.ResultCode);
        var har = Assert.Single(_f.HomeAgent.Requests);
        Assert.True(AaaFixture.ProfileAvps.SetsCache(ama.Avps) && AaaFixture.ProfileAvps.SetsCache(har.Avps));

        var atFa = Assert.Single(AaaFixture.Profiles(ama, FaKek));
        var atHa = AaaFixture.Profiles(har, HaKek);
        Assert.Equal(["1:10.0.3.2>10.0.1.2", "1:10.0.3.2>10.0.5.2"], atHa.Select(AaaFixture.Ends));
        Assert.Equal(atFa, atHa[0].Mirror());
        Assert.Equal((0xB8, 0x28), (atFa.UpTos, atFa.DownTos));
        Assert.IsType<ProfileKeying.Contract>(atHa[1].Keying);

        Assert.Equal(2, Assert.Single(_f.Home.Sessions).Profiles.Count);
        Assert.Equal(1, _f.Home.Sessions[0].ProfileCount);
        var visited = Assert.Single(_f.Visited.Sessions);
        Assert.Equal(VpnCacheProfile.Of(atFa), Assert.Single(visited.Profiles));
        Assert.Equal(_f.Home.Sessions[0].Session, visited.Session);
        Assert.Equal(GatewayType.Static, _f.Home.CorrespondentGateways.Single(r => r.Gateway.Equals(AaaFixture.Sgw)).Type);
    }

    [Fact]
    [Trait("Row", "NV4.4")]
    [Trait("Row", "NV4.5")]
    [Trait("Row", "NV4.10")]
    [Trait("Row", "NV-C2")]
    [Trait("Row", "NV-C19")]
    [Trait("Row", "R8")]
    public void A_dynamic_path_gives_the_home_agent_the_gateways_copy_to_pass_on()
    {
        _f.Directory.Vpns.Add(AaaFixture.Dynamic());
        var ama = _f.Register("fa1");
        var atFa = Assert.Single(AaaFixture.Profiles(ama, FaKek));
        var toPass = Assert.Single(AaaFixture.Profiles(_f.HomeAgent.Requests[0], HaKek));
        Assert.Equal(("2:10.0.1.2>10.0.4.2", "2:10.0.4.2>10.0.1.2"), (AaaFixture.Ends(atFa), AaaFixture.Ends(toPass)));
        Assert.Equal((GatewayType.Dynamic, ProfileView.Down), (toPass.GatewayType, toPass.View));
        Assert.Equal(AaaFixture.HomeAgentAddress, toPass.Supplier);
    }

    [Fact]
    [Trait("Row", "NV9.5")]
    [Trait("Row", "NV8.1")]
    [Trait("Row", "S105")]
    public void Static_and_dynamic_profiles_of_one_user_go_together()
    {
        _f.Directory.Vpns.AddRange([_f.Static(), AaaFixture.Dynamic(2), AaaFixture.Dynamic(3, "192.168.60.9/32") with { Trigger = ProfileTrigger.FirstPacket }]);
        var ama = _f.Register("fa1");
        Assert.Equal(["1:10.0.1.2>10.0.3.2", "2:10.0.1.2>10.0.4.2", "3:10.0.1.2>10.0.4.2"], AaaFixture.Profiles(ama, FaKek).Select(AaaFixture.Ends));
        Assert.Equal(4, AaaFixture.Profiles(_f.HomeAgent.Requests[0], HaKek).Count);
        Assert.Equal(ProfileTrigger.FirstPacket, AaaFixture.Profiles(ama, FaKek)[2].Trigger);
    }

    [Fact]
    [Trait("Row", "NV9.1")]
    [Trait("Row", "R45")]
    [Trait("Row", "NV-A3")]
    public void A_subscriber_without_VPN_registers_without_profile()
    {
        var ama = _f.Register("fa1");
        Assert.Equal(DiameterResult.Success, ama.ResultCode);
        Assert.True(ama.Avps.Contains(AvpKeys.MipRegReply));
        Assert.Empty(AaaFixture.Profiles(ama, FaKek));
        Assert.Empty(AaaFixture.Profiles(_f.HomeAgent.Requests[0], HaKek));
        Assert.True(AaaFixture.ProfileAvps.SetsCache(ama.Avps));
        Assert.Empty(Assert.Single(_f.Home.Sessions).Profiles);
    }

    [Theory]
    [Trait("Row", "NV-A3")]
    [Trait("Row", "NV1.15")]
    [InlineData("bob@home.example")]
    [InlineData("Alice@home.example")]
    public void Who_is_not_listed_is_refused_before_the_home_agent_hears_of_it(string nai)
    {
        var ama = _f.Exchange("fa1", _f.Amr("fa1", _f.Request("fa1", nai: nai), nai: nai));
        _f.AssertRefused(ama, DiameterResult.AuthorizationRejected, "NV-A3");
        Assert.Equal(["fa1 > aaaf AMR", "aaaf > aaah AMR", "aaah > aaaf AMA 5003", "aaaf > fa1 AMA 5003"], _f.Net.Arrows);
        Assert.Empty(_f.Home.Sessions);
        Assert.Empty(_f.Visited.Sessions);
    }

    [Fact]
    public void The_case_of_the_realm_does_not_matter()
    {
        const string Spelt = "alice@HOME.Example";
        _f.Directory.Vpns.Add(_f.Static());
        var ama = _f.Exchange("fa1", _f.Amr("fa1", _f.Request("fa1", nai: Spelt), nai: Spelt));
        Assert.Equal(DiameterResult.Success, ama.ResultCode);
        Assert.Equal(AaaFixture.Alice, Assert.Single(_f.Home.Sessions).Nai);
        Assert.NotEmpty(_f.Home.Sessions[0].Profiles);
    }

    [Fact]
    [Trait("Row", "NV-A27")]
    public void A_wrong_MN_AAA_authenticator_SPI_or_challenge_is_refused()
    {
        _f.AssertRefused(_f.Exchange("fa1", _f.Amr("fa1", _f.Request("fa1"), key: new KeyMaterial(new byte[32]))), DiameterResult.AuthenticationRejected, "RFC 4721 6");
        _f.AssertRefused(_f.Exchange("fa1", _f.Amr("fa1", _f.Request("fa1"), spi: 0x201)), DiameterResult.AuthenticationRejected, "RFC 4721 6");
        _f.AssertRefused(_f.Exchange("fa1", _f.Amr("fa1", _f.Request("fa1", challenge: false))), DiameterResult.AuthenticationRejected, "RFC 4721 3.1");
        var other = _f.Amr("fa1", _f.Request("fa1")).Without(AvpKeys.MipFaChallenge).Append(Avp.OctetString(AvpKeys.MipFaChallenge, [9, 9, 9, 9]));
        _f.AssertRefused(_f.Exchange("fa1", other), DiameterResult.AuthenticationRejected, "RFC 4721 3.1");
        Assert.Empty(_f.HomeAgent.Requests);
    }

    [Fact]
    public void What_the_foreign_agent_says_must_be_what_the_node_signed()
    {
        var amr = _f.Amr("fa1", _f.Request("fa1"));
        var elsewhere = amr.Without(AvpKeys.MipMobileNodeAddress).Append(Avp.Address(AvpKeys.MipMobileNodeAddress, IPAddress.Parse("10.99.0.11")));
        _f.AssertRefused(_f.Exchange("fa1", elsewhere), DiameterResult.InvalidAvpValue, "RFC 4004 7.2");

        amr = _f.Amr("fa1", _f.Request("fa1"));
        var other = amr.Without(AvpKeys.UserName).Append(Avp.Text(AvpKeys.UserName, "bob@home.example"));
        _f.AssertRefused(_f.Exchange("fa1", other), DiameterResult.InvalidAvpValue, "RFC 4004 4.1");

        amr = _f.Amr("fa1", _f.Request("fa1")).Without(AvpKeys.MipRegRequest).Append(Avp.OctetString(AvpKeys.MipRegRequest, [1, 2, 3]));
        _f.AssertRefused(_f.Exchange("fa1", amr), DiameterResult.InvalidAvpValue, "RFC 4004 7.1");
        Assert.Empty(_f.HomeAgent.Requests);
    }

    [Fact]
    public void A_repeated_Registration_Request_is_refused_and_changes_nothing()
    {
        _f.Directory.Vpns.Add(AaaFixture.Dynamic());
        var request = _f.Request("fa1");
        _f.Exchange("fa1", _f.Amr("fa1", request));
        var before = Assert.Single(_f.Home.Sessions);
        _f.AssertRefused(_f.Exchange("fa1", _f.Amr("fa1", request)), DiameterResult.AuthenticationRejected, "RFC 5944 5.7.1");
        _f.AssertRefused(_f.Exchange("fa3", _f.Amr("fa3", _f.Request("fa3", identification: request.Identification - 1))), DiameterResult.AuthenticationRejected, "RFC 5944 5.7.1");
        Assert.Single(_f.HomeAgent.Requests);
        Assert.Equal((before.Session, before.AccessSession), (_f.Home.Sessions[0].Session, _f.Home.Sessions[0].AccessSession));
    }

    [Fact]
    [Trait("Row", "NV9.7")]
    public void When_the_home_agent_refuses_its_reply_goes_to_the_node_and_nothing_is_cached()
    {
        _f.Directory.Vpns.Add(AaaFixture.Dynamic());
        var reply = new RegistrationReply
        {
            Code = RegistrationReplyCode.HomeIdentificationMismatch,
            Lifetime = 0,
            HomeAddress = AaaFixture.HomeAddress,
            HomeAgent = AaaFixture.HomeAgentAddress,
            Identification = 7,
        }.ToArray();
        _f.HomeAgent.Script = (_, answer) => answer(DiameterResult.MipReplyFailure)
            .Add(AvpKeys.AuthApplicationId, 2)
            .Add(AvpKeys.MipRegReply, reply)
            .Add(AaaFixture.Keys.VpnRefusalReason, "the clock is wrong")
            .Build();
        var ama = _f.Register("fa1");
        _f.AssertRefused(ama, DiameterResult.MipReplyFailure, "the clock is wrong");
        Assert.True(ama.Avps.TryGetOctets(AvpKeys.MipRegReply, out var passed));
        Assert.Equal(reply, passed.ToArray());
        Assert.Empty(_f.Home.Sessions);
        Assert.Empty(_f.Visited.Sessions);

        // The SPIs of the refused registration are free again, and the next one succeeds with the same database.
        _f.HomeAgent.Script = _f.AcceptRegistration;
        Assert.Equal(DiameterResult.Success, _f.Register("fa1").ResultCode);
    }

    [Fact]
    public void A_home_agent_that_never_answers_is_not_available()
    {
        _f.HomeAgent.Script = (_, _) => null;
        var ama = _f.Exchange("fa1", _f.Amr("fa1", _f.Request("fa1")), TimeSpan.FromSeconds(30));
        Assert.False(DiameterResult.IsSuccess(ama.ResultCode));
        Assert.Empty(_f.Home.Sessions);
        Assert.Empty(_f.Visited.Sessions);
        Assert.Contains(_f.Net.Events, e => e is { Node: "aaah", Event: { Kind: "registration.refused", Rule: "RFC 4004 6.1" } });
    }

    [Fact]
    public void Without_a_home_agent_connected_the_registration_is_refused_at_once()
    {
        _f.Net.Crash("ha");
        _f.AssertRefused(_f.Register("fa1"), DiameterResult.HomeAgentNotAvailable, "cannot be reached");
    }

    [Fact]
    public void A_retransmitted_AMR_is_answered_again_and_not_worked_twice()
    {
        _f.Directory.Vpns.Add(AaaFixture.Dynamic());
        _f.Net.Repeat = (_, _, message) => message.IsRequest;
        Assert.Equal(DiameterResult.Success, _f.Register("fa1").ResultCode);
        Assert.Single(_f.HomeAgent.Requests);
        Assert.Equal(1, _f.Net.Counters["aaah.amr.received"]);
        Assert.Single(_f.Home.Sessions);
    }

    [Fact]
    public void When_the_AMA_is_lost_between_the_servers_the_next_registration_brings_all_in_step()
    {
        _f.Directory.Vpns.Add(AaaFixture.Dynamic());
        var broken = false;
        _f.Net.BreakBefore = (from, to, message) => !broken && from == "aaah" && to == "aaaf" && !message.IsRequest && (broken = true);
        Assert.Equal(DiameterResult.UnableToDeliver, _f.Register("fa1").ResultCode);
        Assert.True(broken);
        Assert.Single(_f.Home.Sessions);
        Assert.Empty(_f.Visited.Sessions);

        _f.Net.Run(TimeSpan.FromSeconds(60));
        var ama = _f.Register("fa1");
        Assert.Equal(DiameterResult.Success, ama.ResultCode);
        Assert.Equal(AaaFixture.Profiles(_f.HomeAgent.Requests[^1], HaKek)[0].Mirror(), AaaFixture.Profiles(ama, FaKek)[0]);
        Assert.Equal(_f.Home.Sessions[0].Profiles, _f.Visited.Sessions[0].Profiles);
    }

    [Fact]
    public void A_later_registration_takes_the_place_of_one_that_still_waits()
    {
        _f.Directory.Vpns.Add(AaaFixture.Dynamic());
        _f.HomeAgent.Script = (_, _) => null;
        _f.Net.Input("fa1", new SendRequest(_f.Amr("fa1", _f.Request("fa1"))));
        _f.Net.Run(TimeSpan.FromMilliseconds(10));
        _f.HomeAgent.Script = _f.AcceptRegistration;
        Assert.Equal(DiameterResult.Success, _f.Register("fa3").ResultCode);
        Assert.Equal(DiameterResult.UnableToComply, Assert.Single(_f.Fa1.Answers).ResultCode);
        Assert.Equal(AaaFixture.Address("fa3"), Assert.Single(_f.Home.Sessions).CareOfAddress);
    }

    [Fact]
    [Trait("Row", "NV-A22")]
    [Trait("Row", "NV9.2")]
    public void A_shared_association_puts_no_SPI_and_no_key_on_the_wire()
    {
        _f.Directory.Vpns.AddRange([_f.Static(userSpecific: false), AaaFixture.Dynamic(userSpecific: false)]);
        var ama = _f.Register("fa1");
        foreach (var message in new[] { ama, _f.HomeAgent.Requests[0] })
        {
            var profiles = message.Avps.All(AaaFixture.Keys.VpnProfile).ToList();
            Assert.NotEmpty(profiles);
            foreach (var profile in profiles)
            {
                Assert.True(profile.TryReadGroup(DiameterLimits.Default, out var members, out _));
                Assert.False(members.Contains(AaaFixture.Keys.VpnUpSpi) || members.Contains(AaaFixture.Keys.VpnDownSpi) || members.Contains(AaaFixture.Keys.WrappedKey));
            }
        }
    }

    [Fact]
    [Trait("Row", "M2")]
    [Trait("Row", "NV-A32")]
    public void Session_keys_reach_both_ends_wrapped_and_no_key_is_seen_on_any_link()
    {
        _f.Directory.Vpns.AddRange([_f.Static(), AaaFixture.Dynamic()]);
        var ama = _f.Exchange("fa1", _f.Amr("fa1", _f.Request("fa1", keys: true), features: 16 | 32 | 64));
        var har = _f.HomeAgent.Requests[0];

        var (haToMn, mnToHa, mnToFaInHar, haToFaInHar) = (Msa(har, AvpKeys.MipHaToMnMsa, HaKek), Msa(har, AvpKeys.MipMnToHaMsa, HaKek), Msa(har, AvpKeys.MipMnToFaMsa, HaKek), Msa(har, AvpKeys.MipHaToFaMsa, HaKek));
        var (faToMn, mnToFa, faToHa, haToFa) = (Msa(ama, AvpKeys.MipFaToMnMsa, FaKek), Msa(ama, AvpKeys.MipMnToFaMsa, FaKek), Msa(ama, AvpKeys.MipFaToHaMsa, FaKek), Msa(ama, AvpKeys.MipHaToFaMsa, FaKek));

        Assert.Equal(MobilityKeys.Derive(_f.MnAaaKey, mnToHa.Nonce.Span, AaaFixture.HomeAddress, AaaFixture.Alice), haToMn.Key);
        Assert.Equal(MobilityKeys.Derive(_f.MnAaaKey, mnToFaInHar.Nonce.Span, AaaFixture.HomeAddress, AaaFixture.Alice), faToMn.Key);
        Assert.Equal(haToFaInHar.Key, faToHa.Key);
        Assert.Equal((0x702u, 0x701u, 0x5001u, 0x6001u, 0x6001u), (haToMn.Spi, faToMn.Spi, faToHa.Spi, haToFa.Spi, haToFaInHar.Spi));
        Assert.Equal(mnToFaInHar.Spi, mnToFa.Spi);
        Assert.NotEqual(mnToHa.Spi, mnToFa.Spi);
        Assert.All(new[] { mnToHa, mnToFa }, m => Assert.True(m.Spi >= 256));

        var secrets = AaaFixture.Profiles(ama, FaKek).Concat(AaaFixture.Profiles(har, HaKek)).SelectMany(p => p.Keying switch
        {
            ProfileKeying.Derived derived => [derived.Root],
            ProfileKeying.Contract contract => new[] { contract.Up.Encryption, contract.Up.Authentication },
            _ => [],
        }).Concat([haToMn.Key!, faToMn.Key!, faToHa.Key!, _f.MnAaaKey, FaKek, HaKek]).ToList();
        Assert.True(secrets.Count > 8);
        foreach (var secret in secrets)
        {
            Assert.DoesNotContain(_f.Net.Captured, octets => octets.AsSpan().IndexOf(secret.Octets) >= 0);
            Assert.DoesNotContain(_f.Net.Events, e => e.Event.Text.Contains(Convert.ToHexStringLower(secret.Octets), StringComparison.OrdinalIgnoreCase));
        }

        static MobilityMsa Msa(DiameterMessage message, AvpKey group, KeyMaterial kek)
        {
            Assert.True(AaaFixture.MsaAvps.TryRead(message.Avps, group, kek, false, false, out var association, out var refusal), refusal?.Text);
            return Assert.IsType<MobilityMsa>(association);
        }
    }

    [Theory]
    [Trait("Row", "M2")]
    [InlineData(false, true, 0u, 5025u)]
    [InlineData(true, true, 0u, 5025u)]
    [InlineData(false, false, 64u, 5025u)]
    [InlineData(true, false, 64u, 2001u)]
    [InlineData(false, false, 0u, 2001u)]
    public void Without_a_wrapping_key_no_VPN_key_leaves_and_a_session_key_only_by_the_switch(bool plain, bool vpn, uint features, uint result)
    {
        var f = new AaaFixture(new HomeAaaOptions { HomeAgents = [], PlainSessionKeys = plain }, new VisitedAaaOptions { ForeignAgents = [], PlainSessionKeys = plain });
        var keys = f.HomeOptions.KeyWrap.Where(k => k.Key != AaaFixture.Identity("aaaf")).ToDictionary();
        f.Net.Crash("aaah");
        var home = new HomeAaaServer(f.HomeOptions with { KeyWrap = keys }, AaaFixture.Node("aaah"), f.Directory, SystemRandomSource.Instance);
        f.Net.Replace("aaah", home);
        f.Net.Run(TimeSpan.FromSeconds(60));
        if (vpn)
        {
            f.Directory.Vpns.Add(AaaFixture.Dynamic());
        }

        Assert.Equal(result, f.Exchange("fa1", f.Amr("fa1", f.Request("fa1"), features: features)).ResultCode);
        Assert.Equal(result == 2001 ? 1 : 0, home.Sessions.Count);
    }

    [Fact]
    public void The_home_agent_may_assign_the_home_address_and_every_cache_learns_it()
    {
        _f.Directory.Subscribers[AaaFixture.Alice] = _f.Directory.Subscribers[AaaFixture.Alice] with { HomeAddress = null };
        _f.Directory.Vpns.Add(_f.Static());
        var ama = _f.Exchange("fa1", _f.Amr("fa1", _f.Request("fa1", home: IPAddress.Any)));
        Assert.Equal(DiameterResult.Success, ama.ResultCode);
        Assert.False(_f.HomeAgent.Requests[0].Avps.Contains(AvpKeys.MipMobileNodeAddress));
        Assert.Equal(IPNetwork.Parse("0.0.0.0/32"), AaaFixture.Profiles(_f.HomeAgent.Requests[0], HaKek)[0].Destination);
        Assert.Equal(IPNetwork.Parse("10.99.0.200/32"), AaaFixture.Profiles(ama, FaKek)[0].Source);
        Assert.Equal(_f.Pool, Assert.Single(_f.Home.Sessions).HomeAddress);
        Assert.Equal(_f.Pool, Assert.Single(_f.Visited.Sessions).HomeAddress);

        // Renewing it continues the session.
        var session = _f.Home.Sessions[0].Session;
        Assert.Equal(DiameterResult.Success, _f.Exchange("fa1", _f.Amr("fa1", _f.Request("fa1", home: _f.Pool))).ResultCode);
        Assert.Equal(session, Assert.Single(_f.Home.Sessions).Session);
        Assert.Equal(1, _f.Directory.Searches);
    }

    [Fact]
    public void Nobody_gets_the_home_address_of_another()
    {
        _f.Register("fa1");
        const string Bob = "bob@home.example";
        _f.Directory.Subscribers[Bob] = new Subscriber(Bob, 0x200, _f.MnAaaKey, null, null, true);
        _f.AssertRefused(_f.Exchange("fa1", _f.Amr("fa1", _f.Request("fa1", nai: Bob), nai: Bob)), DiameterResult.AuthorizationRejected, "RFC 4004 7.2");
        _f.AssertRefused(_f.Exchange("fa1", _f.Amr("fa1", _f.Request("fa1", nai: Bob, home: IPAddress.Parse("192.0.2.1")), nai: Bob)), DiameterResult.AuthorizationRejected, "RFC 4004 7.2");
        _f.AssertRefused(_f.Exchange("fa1", _f.Amr("fa1", _f.Request("fa1", home: IPAddress.Parse("10.99.0.11")))), DiameterResult.AuthorizationRejected, "RFC 4004 7.2");
    }

    [Fact]
    public void Only_roaming_partners_and_their_own_foreign_agents_may_ask()
    {
        _f.Directory.Partners.Remove("visited.example");
        _f.AssertRefused(_f.Register("fa1"), DiameterResult.AuthorizationRejected, "roaming");
        _f.Directory.Partners.Add("visited.example");

        // fa1 asks for fa2's care-of address.
        _f.AssertRefused(_f.Exchange("fa1", _f.Amr("fa1", _f.Request("fa2"))), DiameterResult.AuthorizationRejected, "S109");
        Assert.Equal(["fa1 > aaaf AMR", "aaaf > fa1 AMA 5003"], _f.Net.Arrows);

        // fa1 speaks in the name of fa2.
        _f.AssertRefused(_f.Exchange("fa1", _f.Amr("fa2", _f.Request("fa2"))), DiameterResult.AuthorizationRejected, "in the name of");
    }

    [Fact]
    [Trait("Row", "S115")]
    public void A_strict_server_refuses_who_has_a_correspondent_without_gateway()
    {
        var f = new AaaFixture(new HomeAaaOptions { HomeAgents = [], PathDecision = new PathDecisionOptions { UnlistedCorrespondents = UnlistedCorrespondents.Refuse } });
        f.Directory.Vpns.Add(AaaFixture.Dynamic(correspondents: "172.16.0.0/12"));
        f.AssertRefused(f.Register("fa1"), DiameterResult.AuthorizationRejected, "S115");
    }

    [Fact]
    [Trait("Row", "NV-A17")]
    public void The_cache_shows_every_field_and_only_a_fingerprint_of_the_key()
    {
        _f.Directory.Vpns.AddRange([_f.Static(), AaaFixture.Dynamic(userSpecific: false)]);
        var ama = _f.Register("fa1");
        var instance = Assert.Single(_f.Home.Sessions);
        Assert.Equal((AaaFixture.Alice, AaaFixture.HomeAddress, AaaFixture.Address("fa1"), 2, 3), (instance.Nai, instance.HomeAddress, instance.CareOfAddress, instance.ProfileCount, instance.Profiles.Count));
        Assert.Contains(AaaFixture.Alice, instance.Session, StringComparison.Ordinal);
        var root = ((ProfileKeying.Derived)AaaFixture.Profiles(ama, FaKek)[0].Keying).Root;
        Assert.Equal(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(root.Octets).AsSpan(0, 4)), instance.Profiles[0].KeyFingerprint);
        Assert.Equal(["derived", "contract", "preset"], instance.Profiles.Select(p => p.Keying));
        Assert.Equal("", instance.Profiles[2].KeyFingerprint);
    }
}
