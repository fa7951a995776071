using System.Net;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.Diameter;
using Xunit;

namespace Sojourn.Engine.Tests.Aaa;

/// <summary>Re-registrations, moves inside and between domains, service updates, and the end of sessions.</summary>
public class MoveTests
{
    private static readonly IPAddress Fa1 = AaaFixture.Address("fa1");
    private static readonly IPAddress Fa2 = AaaFixture.Address("fa2");

    private readonly AaaFixture _f = new();

    private static KeyMaterial Kek(string agent) => AaaFixture.Kek(agent, agent == "fa3" ? "aaaf2" : "aaaf");

    private static KeyMaterial HaKek => AaaFixture.Kek("ha", "aaah");

    [Fact]
    [Trait("Row", "NV9.6")]
    [Trait("Row", "S116")]
    [Trait("Row", "M3")]
    public void Registering_again_at_the_same_agent_changes_only_the_keys_and_searches_nothing()
    {
        _f.Directory.Vpns.AddRange([_f.Static(), AaaFixture.Dynamic()]);
        var first = _f.Register("fa1");
        var second = _f.Register("fa1");

        // The agent that asks may have restarted: no key is handed out twice. The contract of the HA-SGW leg stays.
        foreach (var (old, fresh) in AaaFixture.Profiles(first, Kek("fa1")).Zip(AaaFixture.Profiles(second, Kek("fa1"))))
        {
            Assert.Equal(AaaFixture.Ends(old), AaaFixture.Ends(fresh));
            Assert.Equal((old.UpSpi >> 8, old.DownSpi >> 8, old.Revision + 1), (fresh.UpSpi >> 8, fresh.DownSpi >> 8, fresh.Revision));
            var (before, after) = ((ProfileKeying.Derived)old.Keying, (ProfileKeying.Derived)fresh.Keying);
            Assert.Equal(before.Root, after.Root);
            Assert.True(Identification.IsAfter(after.Freshness, before.Freshness));
        }

        var (atFirst, atSecond) = (AaaFixture.Profiles(_f.HomeAgent.Requests[0], HaKek), AaaFixture.Profiles(_f.HomeAgent.Requests[1], HaKek));
        Assert.Equal(AaaFixture.Profiles(second, Kek("fa1")).Select(p => p.Mirror()), atSecond.Where(p => p.View == ProfileView.Down));
        Assert.Equal(atFirst.Where(p => p.View == ProfileView.Up), atSecond.Where(p => p.View == ProfileView.Up));
        Assert.Equal(1, _f.Directory.Searches);
        Assert.Equal(Session(first), Session(second));
        Assert.Single(_f.Home.Sessions);
    }

    [Fact]
    [Trait("Row", "M3")]
    public void An_agent_that_knows_nothing_of_a_live_session_gets_new_keys_at_the_same_place()
    {
        _f.Directory.Vpns.AddRange([_f.Static(), AaaFixture.Dynamic()]);
        var first = _f.Register("fa1");
        var second = _f.Exchange("fa1", _f.Amr("fa1", _f.Request("fa1")));
        Assert.Equal(Session(first), Session(second));
        foreach (var (before, after) in AaaFixture.Profiles(first, Kek("fa1")).Zip(AaaFixture.Profiles(second, Kek("fa1"))))
        {
            Assert.Equal((before.ProfileNumber, before.UpSpi >> 8, before.Revision + 1), (after.ProfileNumber, after.UpSpi >> 8, after.Revision));
            Assert.NotEqual(before.Keying, after.Keying);
        }
    }

    [Fact]
    [Trait("Row", "NV3.2")]
    [Trait("Row", "NV3.3")]
    [Trait("Row", "NV3.4")]
    [Trait("Row", "NV3.6")]
    [Trait("Row", "NV3.7")]
    [Trait("Row", "NV3.8")]
    [Trait("Row", "NV6.3")]
    [Trait("Row", "NV6.9")]
    [Trait("Row", "S116")]
    [Trait("Row", "NV-C18")]
    [Trait("Row", "NV-C21")]
    [Trait("Row", "M4")]
    [Trait("Row", "R26")]
    public void A_move_to_another_domain_rewrites_the_agent_without_a_search_and_names_the_old_one()
    {
        _f.Directory.Vpns.AddRange([_f.Static(), AaaFixture.Dynamic()]);
        var first = _f.Register("fa1");
        var moved = _f.Register("fa3");
        Assert.Equal(["fa3 > aaaf2 AMR", "aaaf2 > aaah AMR", "aaah > ha HAR", "ha > aaah HAA", "aaah > aaaf2 AMA", "aaaf2 > fa3 AMA"], _f.Net.Arrows);
        Assert.Equal(1, _f.Directory.Searches);
        Assert.True(moved.Avps.TryGetAddress(AaaFixture.Keys.PreviousFaAddress, out var old));
        Assert.Equal(Fa1, old);
        Assert.Equal(Session(first), Session(moved));

        var (before, after) = (AaaFixture.Profiles(first, Kek("fa1")), AaaFixture.Profiles(moved, Kek("fa3")));
        Assert.Equal(["1:10.0.7.2>10.0.3.2", "2:10.0.7.2>10.0.4.2"], after.Select(AaaFixture.Ends));
        Assert.Equal(before.Select(p => (p.UpSpi >> 8, p.DownSpi >> 8)), after.Select(p => (p.UpSpi >> 8, p.DownSpi >> 8)));
        Assert.Equal(before.Select(p => p.Revision + 1), after.Select(p => p.Revision));
        Assert.All(before.Zip(after), pair => Assert.NotEqual(((ProfileKeying.Derived)pair.First.Keying).Freshness, ((ProfileKeying.Derived)pair.Second.Keying).Freshness));

        // The home agent's copies are the mirror images; the leg to the company is as it was (R9).
        var (har1, har2) = (AaaFixture.Profiles(_f.HomeAgent.Requests[0], HaKek), AaaFixture.Profiles(_f.HomeAgent.Requests[1], HaKek));
        Assert.Equal(after, [har2[0].Mirror(), har2[2].Mirror()]);
        Assert.Equal(har1[1], har2[1]);
        Assert.Equal(after.Select(VpnCacheProfile.Of), Assert.Single(_f.Visited2.Sessions).Profiles);
    }

    [Fact]
    [Trait("Row", "NV2.2")]
    [Trait("Row", "NV2.3")]
    [Trait("Row", "NV2.4")]
    [Trait("Row", "NV5.2")]
    [Trait("Row", "NV5.3")]
    [Trait("Row", "NV-C17")]
    [Trait("Row", "NV-C20")]
    [Trait("Row", "NV-C7")]
    [Trait("Row", "NV-C10")]
    [Trait("Row", "R5")]
    [Trait("Row", "S102")]
    public void A_move_inside_the_domain_is_answered_from_the_visited_cache()
    {
        _f.Directory.Vpns.AddRange([_f.Static(), AaaFixture.Dynamic()]);
        var first = _f.Exchange("fa1", _f.Amr("fa1", _f.Request("fa1", keys: true), features: 32 | 64));
        var request = _f.Request("fa2");
        var moved = _f.Exchange("fa2", _f.Amr("fa2", request, previous: Fa1));
        Assert.Equal(["fa2 > aaaf AMR", "aaaf > fa2 AMA"], _f.Net.Arrows);

        Assert.Equal(DiameterResult.Success, moved.ResultCode);
        Assert.False(moved.Avps.Contains(AvpKeys.MipRegReply));
        Assert.True(moved.Avps.TryGetAddress(AaaFixture.Keys.PreviousFaAddress, out var old) && old.Equals(Fa1));
        Assert.True(moved.Avps.TryGetAddress(AvpKeys.MipHomeAgentAddress, out var agent) && agent.Equals(AaaFixture.HomeAgentAddress));
        Assert.Equal(Session(first), Session(moved));

        // What the home agent makes of the forwarded request from its own copy is the mirror image.
        var har = AaaFixture.Profiles(_f.HomeAgent.Requests[0], HaKek);
        var expected = new[] { har[0], har[2] }.Select(p => p.MovedTo(Fa1, Fa2, request.Identification).Mirror());
        Assert.Equal(expected, AaaFixture.Profiles(moved, Kek("fa2")));

        // The associations of the first agent serve the next one.
        foreach (var group in new[] { AvpKeys.MipFaToMnMsa, AvpKeys.MipMnToFaMsa, AvpKeys.MipFaToHaMsa, AvpKeys.MipHaToFaMsa })
        {
            Assert.True(AaaFixture.MsaAvps.TryRead(first.Avps, group, Kek("fa1"), false, false, out var had, out _));
            Assert.True(AaaFixture.MsaAvps.TryRead(moved.Avps, group, Kek("fa2"), false, false, out var got, out _));
            Assert.NotNull(had);
            Assert.Equal(had, got);
        }

        Assert.Equal(Fa2, Assert.Single(_f.Visited.Sessions).CareOfAddress);
    }

    [Fact]
    [Trait("Row", "R34")]
    public void The_home_server_catches_up_with_moves_it_did_not_see()
    {
        _f.Directory.Vpns.AddRange([_f.Static(), AaaFixture.Dynamic()]);
        _f.Register("fa1");
        _f.Register("fa2", Fa1);
        _f.Register("fa1", Fa2);
        var moved = _f.Register("fa2", Fa1);
        Assert.Equal(["fa2 > aaaf AMR", "aaaf > fa2 AMA"], _f.Net.Arrows);
        Assert.Equal(Fa1, _f.Home.Sessions[0].CareOfAddress);

        var again = _f.Register("fa2");
        Assert.Equal(6, _f.Net.Arrows.Count);
        Assert.Equal(Fa2, _f.Home.Sessions[0].CareOfAddress);
        Assert.Equal(AaaFixture.Profiles(moved, Kek("fa2")).Select(AaaFixture.Ends), AaaFixture.Profiles(again, Kek("fa2")).Select(AaaFixture.Ends));
        Assert.Equal(4ul, AaaFixture.Profiles(moved, Kek("fa2"))[0].Revision);
        Assert.Equal(5ul, AaaFixture.Profiles(again, Kek("fa2"))[0].Revision);
    }

    [Fact]
    [Trait("Row", "NV-A20")]
    [Trait("Row", "NV-C10")]
    public void With_an_empty_cache_the_move_goes_on_to_the_home_server_and_succeeds()
    {
        _f.Directory.Vpns.Add(_f.Static());
        _f.Register("fa1");
        _f.RestartVisited(diskLost: true);
        _f.Net.Run(TimeSpan.FromSeconds(60));
        var moved = _f.Register("fa2", Fa1);
        Assert.Equal(6, _f.Net.Arrows.Count);
        Assert.Equal(["1:10.0.1.3>10.0.3.2"], AaaFixture.Profiles(moved, Kek("fa2")).Select(AaaFixture.Ends));

        _f.Net.Input("aaaf", new ClearVisitedCache());
        Assert.Equal(DiameterResult.Success, _f.Register("fa1", Fa2).ResultCode);
        Assert.Equal(6, _f.Net.Arrows.Count);
    }

    [Fact]
    [Trait("Row", "NV2.3")]
    public void A_restarted_visited_server_answers_moves_from_the_cache_it_had()
    {
        _f.Directory.Vpns.Add(_f.Static());
        _f.Register("fa1");
        var before = _f.Visited.Sessions.Single();
        _f.RestartVisited();
        _f.Net.Run(TimeSpan.FromSeconds(60));
        var after = _f.Visited.Sessions.Single();
        Assert.Equal(before.Profiles, after.Profiles);
        Assert.Equal(before with { Profiles = [] }, after with { Profiles = [] });
        _f.Net.Arrows.Clear();
        var moved = _f.Register("fa2", Fa1);
        Assert.Equal(["fa2 > aaaf AMR", "aaaf > fa2 AMA"], _f.Net.Arrows);
        Assert.Equal(["1:10.0.1.3>10.0.3.2"], AaaFixture.Profiles(moved, Kek("fa2")).Select(AaaFixture.Ends));

        // A move it has answered by itself survives, too: the home server has to hear of it with the next request.
        _f.RestartVisited();
        _f.Net.Run(TimeSpan.FromSeconds(60));
        Assert.Equal(AaaFixture.Profiles(moved, Kek("fa2"))[0].UpSpi, _f.Visited.Sessions.Single().Profiles[0].UpSpi);
    }

    [Fact]
    [Trait("Row", "R3")]
    public void The_visited_server_does_not_answer_what_its_cache_cannot_vouch_for()
    {
        _f.Directory.Vpns.Add(_f.Static());
        var request = _f.Request("fa1");
        _f.Exchange("fa1", _f.Amr("fa1", request));

        // Another old agent than the cached one.
        _f.Exchange("fa2", _f.Amr("fa2", _f.Request("fa2"), previous: AaaFixture.Address("fa3")));
        Assert.Equal(6, _f.Net.Arrows.Count);

        // An Identification that is not later: the home server refuses it as a repetition.
        _f.AssertRefused(_f.Exchange("fa1", _f.Amr("fa1", _f.Request("fa1", identification: request.Identification), previous: Fa2)), DiameterResult.AuthenticationRejected, "RFC 5944 5.7.1");

        // The refusal emptied the cache (NV9.7), so a move that would fit goes on too.
        Assert.Empty(_f.Visited.Sessions);
        Assert.Equal(DiameterResult.Success, _f.Register("fa1", Fa2).ResultCode);
        Assert.Equal(6, _f.Net.Arrows.Count);
    }

    [Fact]
    [Trait("Row", "NV7.3")]
    [Trait("Row", "NV7.4")]
    [Trait("Row", "NV7.9")]
    [Trait("Row", "NV-A17")]
    [Trait("Row", "NV-C24")]
    [Trait("Row", "NV7.5")]
    [Trait("Row", "S116")]
    public void A_service_update_searches_again_and_keeps_what_did_not_change()
    {
        _f.Directory.Vpns.AddRange([_f.Static(), AaaFixture.Dynamic(correspondents: "192.168.60.9/32")]);
        var first = _f.Register("fa1");
        _f.Directory.Vpns[1] = AaaFixture.Dynamic(correspondents: "192.168.70.9/32");
        _f.Directory.Rows.Add(new CorrespondentGatewayRow(IPNetwork.Parse("192.168.70.0/24"), IPAddress.Parse("10.0.4.3"), GatewayType.Dynamic));
        _f.Directory.Version++;

        // Without the request nothing changes (NV-A14), with it the cache of the visited server is passed by.
        Assert.Equal(AaaFixture.Profiles(first, Kek("fa1")).Select(AaaFixture.Ends), AaaFixture.Profiles(_f.Register("fa1"), Kek("fa1")).Select(AaaFixture.Ends));
        var updated = _f.Register("fa2", previous: Fa1, update: true);
        Assert.Equal(6, _f.Net.Arrows.Count);
        Assert.Equal(2, _f.Directory.Searches);
        Assert.Equal(["1:10.0.1.3>10.0.3.2", "2:10.0.1.3>10.0.4.3"], AaaFixture.Profiles(updated, Kek("fa2")).Select(AaaFixture.Ends));

        var (before, after) = (AaaFixture.Profiles(_f.HomeAgent.Requests[0], HaKek), AaaFixture.Profiles(_f.HomeAgent.Requests[2], HaKek));
        Assert.Equal(before[1], after[1]);
        Assert.Equal(before[0].UpSpi >> 8, after[0].UpSpi >> 8);
        Assert.Equal(((ProfileKeying.Derived)before[0].Keying).Root, ((ProfileKeying.Derived)after[0].Keying).Root);
        Assert.Equal("2:10.0.4.3>10.0.1.3", AaaFixture.Ends(after[2]));
        Assert.NotEqual(before[2].UpSpi >> 8, after[2].UpSpi >> 8);
        Assert.NotEqual(((ProfileKeying.Derived)before[2].Keying).Root, ((ProfileKeying.Derived)after[2].Keying).Root);
        Assert.Equal(_f.Home.Sessions[0].Profiles.Where(p => p.Keying == "derived"), _f.Visited.Sessions[0].Profiles);
    }

    [Fact]
    [Trait("Row", "NV9.7")]
    [Trait("Row", "M10")]
    public void A_move_the_home_agent_refused_later_is_withdrawn_from_the_visited_cache()
    {
        _f.Directory.Vpns.Add(_f.Static());
        var first = _f.Register("fa1");
        var amr = _f.Amr("fa2", _f.Request("fa2"), previous: Fa1);
        _f.Exchange("fa2", amr);
        var sta = _f.Exchange("fa2", _f.Str("fa2", amr.SessionId!, TerminationCause.BadAnswer, Session(first)));
        Assert.Equal(["fa2 > aaaf STR", "aaaf > fa2 STA"], _f.Net.Arrows);
        Assert.Equal(DiameterResult.Success, sta.ResultCode);
        var cached = Assert.Single(_f.Visited.Sessions);
        Assert.Equal(Fa1, cached.CareOfAddress);
        Assert.Equal(AaaFixture.Profiles(first, Kek("fa1")).Select(VpnCacheProfile.Of), cached.Profiles);
        Assert.Single(_f.Home.Sessions);
    }

    [Fact]
    [Trait("Row", "NV9.7")]
    public void A_move_given_up_after_the_visited_server_forgot_it_ends_nothing_of_a_session_served_elsewhere()
    {
        _f.Directory.Vpns.Add(_f.Static());
        var session = Session(_f.Register("fa1"));
        var givenUp = _f.Amr("fa2", _f.Request("fa2"), previous: Fa1);
        _f.Exchange("fa2", givenUp);
        _f.Net.Input("aaaf", new ClearVisitedCache());

        Assert.Equal(DiameterResult.Success, _f.Exchange("fa2", _f.Str("fa2", givenUp.SessionId!, TerminationCause.BadAnswer, session)).ResultCode);
        Assert.Contains("aaaf > aaah STR", _f.Net.Arrows);
        Assert.DoesNotContain("aaah > ha ASR", _f.Net.Arrows);
        Assert.Single(_f.Home.Sessions);
    }

    [Fact]
    [Trait("Row", "NV9.7")]
    public void A_move_given_up_after_a_later_one_of_the_same_agent_ends_nothing()
    {
        _f.Directory.Vpns.Add(_f.Static());
        var session = Session(_f.Register("fa1"));
        var givenUp = _f.Amr("fa2", _f.Request("fa2"), previous: Fa1);
        _f.Exchange("fa2", givenUp);
        _f.Net.Input("aaaf", new ClearVisitedCache());
        var later = _f.Amr("fa2", _f.Request("fa2"));
        _f.Exchange("fa2", later);
        _f.Net.Input("aaaf", new ClearVisitedCache());

        Assert.Equal(DiameterResult.Success, _f.Exchange("fa2", _f.Str("fa2", givenUp.SessionId!, TerminationCause.BadAnswer, session)).ResultCode);
        Assert.Contains("aaaf > aaah STR", _f.Net.Arrows);
        Assert.DoesNotContain("aaah > ha ASR", _f.Net.Arrows);
        Assert.Equal(later.SessionId, Assert.Single(_f.Home.Sessions).AccessSession);
    }

    [Fact]
    [Trait("Row", "NV9.7")]
    public void A_refused_registration_elsewhere_leaves_the_session_as_it_was()
    {
        _f.Directory.Vpns.Add(_f.Static());
        _f.Register("fa1");
        var before = _f.Home.Sessions[0];
        _f.AssertRefused(_f.Exchange("fa3", _f.Amr("fa3", _f.Request("fa3"), key: new KeyMaterial(new byte[32]))), DiameterResult.AuthenticationRejected, "RFC 4721 6");
        Assert.Equal((before.CareOfAddress, before.AccessSession), (_f.Home.Sessions[0].CareOfAddress, _f.Home.Sessions[0].AccessSession));
        Assert.Equal(before.Profiles, _f.Home.Sessions[0].Profiles);
        Assert.Single(_f.Visited.Sessions);
        Assert.Empty(_f.Visited2.Sessions);
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    public void Logging_out_at_the_foreign_agent_ends_the_session_everywhere()
    {
        _f.Directory.Vpns.Add(_f.Static());
        var amr = _f.Amr("fa1", _f.Request("fa1"));
        _f.Exchange("fa1", amr);
        Assert.Equal(DiameterResult.Success, _f.Exchange("fa1", _f.Str("fa1", amr.SessionId!, TerminationCause.Logout)).ResultCode);
        Assert.Equal(["aaaf > aaah STR", "aaaf > fa1 STA", "aaah > aaaf STA", "aaah > ha ASR", "fa1 > aaaf STR", "ha > aaah ASA"], _f.Net.Arrows.Order());
        Assert.Equal(_f.HomeAgent.Requests[0].SessionId, _f.HomeAgent.Requests[1].SessionId);
        Assert.Empty(_f.Home.Sessions);
        Assert.Empty(_f.Visited.Sessions);
        Assert.Equal(DiameterResult.UnknownSessionId, _f.Exchange("fa1", _f.Str("fa1", amr.SessionId!, TerminationCause.Logout)).ResultCode);
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    public void The_home_agents_end_of_a_binding_reaches_the_foreign_agent_through_the_visited_server()
    {
        _f.Directory.Vpns.Add(_f.Static());
        var amr = _f.Amr("fa1", _f.Request("fa1"));
        _f.Exchange("fa1", amr);
        _f.Exchange("ha", _f.Str("ha", _f.HomeAgent.Requests[0].SessionId!, TerminationCause.SessionTimeout));
        var asr = Assert.Single(_f.Fa1.Requests);
        Assert.Equal((274u, amr.SessionId), (asr.CommandCode, asr.SessionId));
        Assert.Empty(_f.Home.Sessions);
        Assert.Empty(_f.Visited.Sessions);
    }

    [Fact]
    [Trait("Row", "R29")]
    [Trait("Row", "NV3.14")]
    public void The_old_agents_clean_up_after_a_move_ends_nothing()
    {
        _f.Directory.Vpns.Add(_f.Static());
        var amr = _f.Amr("fa1", _f.Request("fa1"));
        var first = _f.Exchange("fa1", amr);
        _f.Register("fa3");
        foreach (var cause in new[] { TerminationCause.UserMoved, TerminationCause.SessionTimeout })
        {
            Assert.Equal(DiameterResult.Success, _f.Exchange("fa1", _f.Str("fa1", amr.SessionId!, cause, Session(first))).ResultCode);
            Assert.Empty(_f.Visited.Sessions);
            Assert.Single(_f.Home.Sessions);
            Assert.Single(_f.Visited2.Sessions);
        }
    }

    [Fact]
    [Trait("Row", "R29")]
    public void After_a_move_inside_the_domain_the_new_agent_ends_the_session_and_the_old_one_does_not()
    {
        _f.Directory.Vpns.Add(_f.Static());
        var first = _f.Amr("fa1", _f.Request("fa1"));
        var session = Session(_f.Exchange("fa1", first));
        var second = _f.Amr("fa2", _f.Request("fa2"), previous: Fa1);
        _f.Exchange("fa2", second);

        Assert.Equal(DiameterResult.Success, _f.Exchange("fa1", _f.Str("fa1", first.SessionId!, TerminationCause.SessionTimeout, session)).ResultCode);
        Assert.Equal(["fa1 > aaaf STR", "aaaf > fa1 STA"], _f.Net.Arrows);
        Assert.Single(_f.Home.Sessions);

        Assert.Equal(DiameterResult.Success, _f.Exchange("fa2", _f.Str("fa2", second.SessionId!, TerminationCause.Logout, session)).ResultCode);
        Assert.Empty(_f.Home.Sessions);
        Assert.Empty(_f.Visited.Sessions);
    }

    [Fact]
    public void A_stranger_cannot_end_a_session_by_its_id()
    {
        _f.Directory.Vpns.Add(_f.Static());
        var amr = _f.Amr("fa1", _f.Request("fa1"));
        var session = Session(_f.Exchange("fa1", amr));
        _f.Exchange("fa2", _f.Str("fa2", amr.SessionId!, TerminationCause.Logout, session));
        _f.Exchange("fa3", _f.Str("fa3", amr.SessionId!, TerminationCause.Logout, session));
        _f.Exchange("fa3", _f.Str("fa3", _f.HomeAgent.Requests[0].SessionId!, TerminationCause.Logout));
        Assert.Single(_f.Home.Sessions);
        Assert.Single(_f.Visited.Sessions);
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    public void A_deregistration_through_AAA_ends_the_session_after_the_home_agents_reply()
    {
        _f.Directory.Vpns.Add(_f.Static());
        _f.Register("fa1");
        var ama = _f.Exchange("fa1", _f.Amr("fa1", _f.Request("fa1", lifetime: 0)));
        Assert.Equal(DiameterResult.Success, ama.ResultCode);
        Assert.True(ama.Avps.Contains(AvpKeys.MipRegReply));
        Assert.Empty(AaaFixture.Profiles(ama, Kek("fa1")));
        Assert.Empty(AaaFixture.Profiles(_f.HomeAgent.Requests[1], HaKek));
        Assert.Empty(_f.Home.Sessions);
        Assert.Empty(_f.Visited.Sessions);
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    public void Sessions_end_with_their_authorization_within_two_seconds()
    {
        _f.Directory.Vpns.Add(_f.Static());
        _f.Register("fa1");
        _f.Net.Run(TimeSpan.FromSeconds(1795));
        Assert.Single(_f.Home.Sessions);
        Assert.Single(_f.Visited.Sessions);
        _f.Net.Run(TimeSpan.FromSeconds(7));
        Assert.Empty(_f.Home.Sessions);
        Assert.Empty(_f.Visited.Sessions);
        Assert.Contains(_f.Net.Events, e => e is { Node: "aaah", Event: { Kind: "session.ended", Rule: "NV9.8" } });
    }

    [Fact]
    public void An_operator_can_end_a_session()
    {
        _f.Directory.Vpns.Add(_f.Static());
        var session = Session(_f.Register("fa1"));
        _f.Net.Input("aaah", new AbortMobilitySession(session));
        _f.Net.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(274u, Assert.Single(_f.Fa1.Requests).CommandCode);
        Assert.Equal(274u, _f.HomeAgent.Requests[^1].CommandCode);
        Assert.Empty(_f.Home.Sessions);
        Assert.Empty(_f.Visited.Sessions);
    }

    [Fact]
    [Trait("Row", "M13")]
    public void A_restarted_home_server_goes_on_with_its_sessions_and_never_gives_their_SPIs_away()
    {
        _f.Directory.Vpns.AddRange([_f.Static(), AaaFixture.Dynamic()]);
        var first = _f.Register("fa1");
        var before = _f.Home.Sessions[0];
        _f.Net.Crash("aaah");
        _f.Net.Replace("aaah", _f.NewHome());
        _f.Net.Run(TimeSpan.FromSeconds(60));
        Assert.Equal(before.Profiles, Assert.Single(_f.Home.Sessions).Profiles);
        Assert.Equal(before.Session, _f.Home.Sessions[0].Session);

        var moved = _f.Register("fa3");
        Assert.Equal(DiameterResult.Success, moved.ResultCode);
        Assert.Equal(1, _f.Directory.Searches);
        Assert.Equal(AaaFixture.Profiles(first, Kek("fa1")).Select(p => p.UpSpi >> 8), AaaFixture.Profiles(moved, Kek("fa3")).Select(p => p.UpSpi >> 8));

        _f.Net.Input("aaah", new AbortMobilitySession(before.Session));
        _f.Net.Run(TimeSpan.FromSeconds(1));
        _f.Net.Crash("aaah");
        _f.Net.Replace("aaah", _f.NewHome());
        Assert.Empty(_f.Home.Sessions);
    }

    [Fact]
    [Trait("Row", "M3")]
    public void An_old_root_is_replaced_at_the_next_registration()
    {
        var f = new AaaFixture(new HomeAaaOptions { HomeAgents = [], KeyLifetime = TimeSpan.FromMinutes(40) });
        f.Directory.Vpns.Add(AaaFixture.Dynamic());
        var first = AaaFixture.Profiles(f.Register("fa1"), Kek("fa1"))[0];
        f.Net.Run(TimeSpan.FromMinutes(5));
        var second = AaaFixture.Profiles(f.Register("fa1"), Kek("fa1"))[0];
        Assert.Equal(((ProfileKeying.Derived)first.Keying).Root, ((ProfileKeying.Derived)second.Keying).Root);
        f.Net.Run(TimeSpan.FromMinutes(10));
        var third = AaaFixture.Profiles(f.Register("fa1"), Kek("fa1"))[0];
        Assert.NotEqual(((ProfileKeying.Derived)first.Keying).Root, ((ProfileKeying.Derived)third.Keying).Root);
        Assert.Equal(first.UpSpi >> 8, third.UpSpi >> 8);
        Assert.Equal(third.Mirror(), AaaFixture.Profiles(f.HomeAgent.Requests[^1], HaKek)[0]);
    }

    private static string Session(DiameterMessage message) => message.Avps.TryGetText(AvpKeys.AcctMultiSessionId, out var session) ? session : throw new InvalidOperationException();
}
