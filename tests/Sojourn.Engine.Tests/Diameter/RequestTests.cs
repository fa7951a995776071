using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;
using Xunit;
using static Sojourn.Engine.Tests.Diameter.DiameterNodes;

namespace Sojourn.Engine.Tests.Diameter;

[Trait("Row", "M1")]
public class RequestTests
{
    [Fact]
    public void A_request_goes_through_the_agent_and_its_answer_comes_back()
    {
        var (net, client, agent, first, _) = Fan();

        var token = client.Request(client.Amr());

        Assert.Equal(["client -> agent: AMR", "agent -> aaa1: AMR", "aaa1 -> agent: AMA 2001", "agent -> client: AMA 2001"], net.Arrows);
        Assert.Equal(token, Assert.Single(client.Answers).Token);
        var sent = client.Sent[^1];
        var arrived = Assert.Single(first.Requests).Message;
        Assert.Equal("client.visited.example", Assert.Single(arrived.Avps.All(AvpKeys.RouteRecord)).TryReadIdentity(out var hop) ? hop : null);
        Assert.Equal(sent.EndToEndId, arrived.EndToEndId);
        Assert.NotEqual(sent.HopByHopId, arrived.HopByHopId);
        Assert.Equal(sent.HopByHopId, client.Answers[0].Message.HopByHopId);
        Assert.Equal("aaa1.home.example", client.Answers[0].Message.OriginHost);
        Assert.Equal(0, agent.Peer("aaa1.home.example").Pending);
    }

    [Fact]
    public void A_request_with_a_destination_host_reaches_that_host()
    {
        var (net, client, agent, _, _) = Fan();
        agent.Respond = (node, request, effects) => node.PassOn(request, effects);

        client.Request(client.Amr(host: "aaa2.home.example"));

        Assert.Contains("agent -> aaa2: AMR", net.Arrows);
    }

    [Fact]
    public void A_proxy_can_alter_the_answer_on_its_way()
    {
        var (_, client, agent, _, _) = Fan();
        agent.Alter = answer => answer.Append(Avp.Text(AvpKeys.ErrorMessage, "seen", AvpFlags.None));

        client.Request(client.Amr());

        Assert.True(client.Answers[0].Message.Avps.TryGetText(AvpKeys.ErrorMessage, out var text) && text == "seen");
    }

    [Fact]
    public void An_answer_may_come_later()
    {
        var (net, client, agent, first, _) = Fan();
        first.Respond = (_, _, _) => { };
        client.Request(client.Amr());
        net.Advance(TimeSpan.FromSeconds(3));

        first.Reply(first.Requests[0]);

        Assert.Single(client.Answers);
        Assert.Equal(2001u, client.Answers[0].Message.ResultCode);
        Assert.Equal(1, agent.Counts["diameter.request.forwarded"]);
    }

    [Fact]
    public void The_second_answer_to_a_request_is_dropped()
    {
        var (_, client, _, first, _) = Fan();
        first.Respond = (_, _, _) => { };
        client.Request(client.Amr());

        first.Reply(first.Requests[0]);
        first.Reply(first.Requests[0]);

        Assert.Single(client.Answers);
        Assert.Equal(1, first.Counts["diameter.request.done_twice"]);
    }

    [Fact]
    public void Waiting_requests_fail_over_with_the_T_bit_when_their_peer_dies()
    {
        var (net, client, agent, first, second) = Fan();
        first.Respond = (_, _, _) => { };
        client.Request(client.Amr());

        net.Kill(first);

        Assert.Equal(
            ["client -> agent: AMR", "agent -> aaa1: AMR", "agent -> aaa2: AMR T", "aaa2 -> agent: AMA 2001", "agent -> client: AMA 2001"],
            net.Arrows);
        Assert.Equal(first.Requests[0].Message.EndToEndId, second.Requests[0].Message.EndToEndId);
        Assert.Equal(1, agent.Peer("aaa1.home.example").Counters.FailedOver);
    }

    [Fact]
    public void Waiting_requests_fail_over_when_the_watchdog_suspects_their_peer()
    {
        var options = (DiameterNodeOptions o) => o with { RequestTimeout = TimeSpan.FromMinutes(5) };
        var client = new TestNode("client", At(1), options(Options("client.v", "v", ("aaa1.home.example", "home.example", 3), ("aaa2.home.example", "home.example", 4))), 1);
        var first = new TestNode("aaa1", At(3), Options("aaa1.home.example", "home.example", ("client.v", "v", null)), 3);
        var second = new TestNode("aaa2", At(4), Options("aaa2.home.example", "home.example", ("client.v", "v", null)), 4);
        var net = new DiameterNet();
        net.Start(client, first, second);
        first.IsFrozen = true;
        client.Request(client.Amr());
        Assert.Empty(client.Answers);

        net.Advance(TimeSpan.FromSeconds(70));

        Assert.Equal(2001u, Assert.Single(client.Answers).Message.ResultCode);
        Assert.True(second.Requests[0].Message.IsRetransmitted);

        // New requests avoid the suspect peer; its late answer to the old one would find nothing.
        client.Request(client.Amr());
        Assert.Equal(2, second.Requests.Count);
    }

    [Fact]
    public void A_late_answer_of_a_peer_that_was_given_up_is_dropped()
    {
        var client = new TestNode("client", At(1), Options("client.v", "v", ("aaa1.home.example", "home.example", 3)), 1);
        var first = new TestNode("aaa1", At(3), Options("aaa1.home.example", "home.example", ("client.v", "v", null)), 3) { Respond = (_, _, _) => { } };
        var net = new DiameterNet();
        net.Start(client, first);
        client.Request(client.Amr());
        net.Advance(TimeSpan.FromSeconds(10));
        Assert.Equal(DeliveryFailure.TimedOut, Assert.Single(client.Failures).Why);

        first.Reply(first.Requests[0]);

        Assert.Empty(client.Answers);
        Assert.Equal(1, client.Counts["diameter.answer.unknown"]);
    }

    [Fact]
    public void A_repeated_request_gets_the_kept_answer_and_reaches_the_application_once()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);
        left.Request(left.Amr("right"));
        var amr = left.Sent[^1];
        net.Arrows.Clear();

        net.Inject(right, -1, (amr with { HopByHopId = 77, Flags = amr.Flags | DiameterFlags.Retransmitted }).ToArray());

        Assert.Single(right.Requests);
        Assert.Equal(["right -> left: AMA 2001"], net.Arrows);
        Assert.Equal(77u, right.Sent[^1].HopByHopId);
        Assert.Equal(amr.EndToEndId, right.Sent[^1].EndToEndId);
    }

    [Fact]
    public void A_repetition_while_the_application_works_moves_the_answer_to_the_new_way()
    {
        var (net, left, right) = Pair();
        right.Respond = (_, _, _) => { };
        net.Start(left, right);
        left.Request(left.Amr("right"));
        var amr = left.Sent[^1];

        net.Inject(right, -1, (amr with { HopByHopId = 78 }).ToArray());
        right.Reply(right.Requests[0]);

        Assert.Single(right.Requests);
        Assert.Equal(78u, right.Sent[^1].HopByHopId);
    }

    [Fact]
    public void A_repetition_after_the_window_is_a_new_request()
    {
        var (net, left, right) = Pair(right: o => o with { DuplicateWindow = TimeSpan.FromSeconds(20) });
        net.Start(left, right);
        left.Request(left.Amr("right"));
        var amr = left.Sent[^1];
        net.Advance(TimeSpan.FromSeconds(21));

        net.Inject(right, -1, amr.ToArray());

        Assert.Equal(2, right.Requests.Count);
    }

    [Fact]
    public void The_same_identifier_for_another_session_is_another_request()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);
        left.Request(left.Amr("right"));
        var other = left.Amr("right") with { EndToEndId = left.Sent[^1].EndToEndId, HopByHopId = 5 };

        net.Inject(right, -1, other.Append(Avp.Identity(AvpKeys.OriginHost, "left.example"), Avp.Identity(AvpKeys.OriginRealm, "left")).ToArray());

        Assert.Equal(2, right.Requests.Count);
    }

    [Fact]
    public void An_answer_whose_connection_died_waits_for_the_repetition()
    {
        var (net, client, agent, first, _) = Fan();
        first.Respond = (_, _, _) => { };
        client.Request(client.Amr());
        net.Kill(agent);
        first.Reply(first.Requests[0]);
        Assert.Equal(1, first.Counts["diameter.answer.no_way_back"]);

        net.Advance(TimeSpan.FromSeconds(1));
        net.Restart(new TestNode("agent", At(2), agent.Options, 9));
        // The restarted agent dials aaa1 before aaa2, so the connection before the last is ours.
        net.Inject(first, net.LastAccepted + 1, (first.Requests[0].Message with { HopByHopId = 4 }).ToArray());

        Assert.Equal(4u, first.Sent[^1].HopByHopId);
        Assert.Equal(2001u, first.Sent[^1].ResultCode);
    }

    [Fact]
    public void A_request_that_has_been_here_is_answered_3005()
    {
        var (net, client, agent, _, _) = Fan();

        client.Request(client.Amr().Append(Avp.Identity(AvpKeys.RouteRecord, "AGENT.visited.example")));

        Assert.Equal(["client -> agent: AMR", "agent -> client: AMA 3005"], net.Arrows);
        Assert.True(client.Answers[0].Message.IsError);
        Assert.Empty(agent.Requests);
    }

    [Fact]
    public void A_request_is_never_sent_back_to_an_agent_it_passed()
    {
        var (net, client, agent, _, _) = Fan();

        client.Request(client.Amr().Append(Avp.Identity(AvpKeys.RouteRecord, "aaa1.home.example")));

        Assert.Contains("agent -> aaa2: AMR", net.Arrows);
        Assert.DoesNotContain("agent -> aaa1: AMR", net.Arrows);
        Assert.Single(agent.Requests);
    }

    [Fact]
    public void Too_many_hops_are_a_loop()
    {
        var (_, client, _, _, _) = Fan();

        client.Request(client.Amr().Append(Enumerable.Range(0, 17).Select(i => Avp.Identity(AvpKeys.RouteRecord, $"hop{i}.example"))));

        Assert.Equal(3005u, client.Answers[0].Message.ResultCode);
    }

    [Fact]
    public void An_agent_without_a_route_answers_3003_and_one_whose_peers_are_gone_3002()
    {
        var (net, client, _, first, second) = Fan();

        client.Request(client.Amr("elsewhere.example"));
        net.Kill(first);
        net.Kill(second);
        client.Request(client.Amr());

        Assert.Equal([3003u, 3002u], client.Answers.Select(a => a.Message.ResultCode));
    }

    [Fact]
    public void A_server_passes_nothing_on()
    {
        var (_, client, _, first, _) = Fan();

        client.Request(client.Amr(host: "aaa9.home.example"));

        Assert.Equal(3002u, client.Answers[0].Message.ResultCode);
        Assert.Empty(first.Requests);
    }

    [Fact]
    public void An_agent_answers_3002_when_nobody_answers_in_time()
    {
        var (net, client, agent, first, _) = Fan();
        first.Respond = (_, _, _) => { };
        var impatient = agent.Options with { RequestTimeout = TimeSpan.FromSeconds(4) };
        net.Kill(agent);
        net.Restart(new TestNode("agent", At(2), impatient, 9));
        net.Advance(TimeSpan.FromSeconds(2));
        client.Request(client.Amr());

        net.Advance(TimeSpan.FromSeconds(5));

        Assert.Equal(3002u, Assert.Single(client.Answers).Message.ResultCode);
    }

    [Fact]
    public void A_busy_next_hop_makes_the_other_one_be_tried_without_the_T_bit()
    {
        var (net, client, _, first, second) = Fan();
        first.Respond = (node, request, effects) => node.Reply(request, DiameterResult.TooBusy, effects);

        client.Request(client.Amr());

        Assert.Equal(
            ["client -> agent: AMR", "agent -> aaa1: AMR", "aaa1 -> agent: AMA 3004", "agent -> aaa2: AMR", "aaa2 -> agent: AMA 2001", "agent -> client: AMA 2001"],
            net.Arrows);
        Assert.Single(second.Requests);
    }

    [Fact]
    public void Too_many_unanswered_requests_of_one_peer_are_answered_3004()
    {
        var (net, left, right) = Pair(right: o => o with { MaximumUnansweredPerPeer = 2 });
        right.Respond = (_, _, _) => { };
        net.Start(left, right);
        for (var i = 0; i < 3; i++)
        {
            left.Request(left.Amr("right"));
        }

        Assert.Equal(3004u, Assert.Single(left.Answers).Message.ResultCode);
        right.Reply(right.Requests[0]);
        left.Request(left.Amr("right"));
        Assert.Equal(3, right.Requests.Count);
    }

    [Fact]
    public void Limits_of_pending_requests_hold()
    {
        var (net, left, right) = Pair(left: o => o with { MaximumPendingPerPeer = 2 });
        right.Respond = (_, _, _) => { };
        net.Start(left, right);
        for (var i = 0; i < 3; i++)
        {
            left.Request(left.Amr("right"));
        }

        Assert.Equal(DeliveryFailure.TooManyPending, Assert.Single(left.Failures).Why);
        Assert.Equal(2, left.Peer("right.example").Pending);
    }

    [Fact]
    public void Failures_of_our_own_requests_are_told_once_by_token()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);
        var nowhere = left.Request(left.Amr("elsewhere"));
        var tooLong = left.Request(left.Amr("right").Append(Avp.OctetString(AvpKeys.MipFaChallenge, new byte[70_000])));
        net.Kill(right);
        var gone = left.Request(left.Amr("right"));

        Assert.Equal(
            [(nowhere, DeliveryFailure.NoRoute), (tooLong, DeliveryFailure.TooLong), (gone, DeliveryFailure.NoPeer)],
            left.Failures);
    }

    [Fact]
    public void Proxy_info_comes_back_unchanged_and_in_order()
    {
        var (_, client, _, _, _) = Fan();
        var infos = new[] { "one.example", "two.example" }
            .Select(h => Avp.Group(AvpKeys.ProxyInfo, [Avp.Identity(AvpKeys.ProxyHost, h), Avp.OctetString(AvpKeys.ProxyState, [1, 2])])).ToList();

        client.Request(client.Amr().Append(infos));

        Assert.Equal(infos.Select(i => i.Data.ToArray()), client.Answers[0].Message.Avps.All(AvpKeys.ProxyInfo).Select(i => i.Data.ToArray()));
    }

    [Fact]
    public void An_invalid_request_is_answered_with_the_code_and_the_failed_avp()
    {
        var (_, client, _, first, _) = Fan();

        client.Request(client.Amr().Without(AvpKeys.UserName));
        client.Request(client.Amr().Append(Avp.Unsigned32(new AvpKey(9999), 1)));

        // The agent speaks the application too and does not pass it on.
        Assert.Equal([5005u, 5001u], client.Answers.Select(a => a.Message.ResultCode));
        Assert.True(client.Answers[0].Message.Avps.TryGetGroup(AvpKeys.FailedAvp, out var failed));
        Assert.Equal(AvpKeys.UserName, failed[0].Key);
        Assert.Empty(first.Requests);
    }

    [Fact]
    public void A_relay_passes_on_what_it_does_not_know()
    {
        var unknown = 16777216u;
        var left = new TestNode("left", At(1), Options("left.example", "left", ("relay.example", "relay", 2)) with
        {
            Applications = [unknown],
            Routes = [new DiameterRoute("*", ["relay.example"])],
        });
        var options = Options("relay.example", "relay", ("left.example", "left", null), ("right.example", "right", 3));
        var relay = new TestNode("relay", At(2), options, 2) { StandIn = new DiameterRelay(options, new SeededRandom(2)) };
        var right = new TestNode("right", At(3), Options("right.example", "right", ("relay.example", "relay", null)) with { Applications = [unknown] }, 3);
        var net = new DiameterNet();
        net.Start(left, relay, right);
        net.Arrows.Clear();

        left.Request(left.Amr("right") with { ApplicationId = unknown });

        // The server's dictionary does not have it either, and its refusal crosses the relay likewise.
        Assert.Equal(["left -> relay: 260", "relay -> right: 260", "right -> relay: 260 3007", "relay -> left: 260 3007"], net.Arrows);
    }

    [Fact]
    public void An_unknown_application_is_answered_3007()
    {
        var (_, client, _, _, _) = Fan();

        client.Request(client.Amr() with { ApplicationId = 16777216 });

        // The client itself finds no peer that speaks it.
        Assert.Equal(DeliveryFailure.NoPeer, Assert.Single(client.Failures).Why);
    }

    [Fact]
    public void A_session_command_carries_the_application_of_its_session()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);
        left.Request(left.Dictionary.Request(DiameterCommands.SessionTermination, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.SessionId, left.NewSession())
            .Add(AvpKeys.DestinationRealm, "right")
            .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.TerminationCause, 1)
            .Build());

        Assert.Contains("left -> right: STR", net.Arrows);
        Assert.Equal(2001u, Assert.Single(left.Answers).Message.ResultCode);
    }

    [Fact]
    public void An_answer_that_breaks_its_grammar_is_not_delivered()
    {
        var (net, left, right) = Pair();
        right.Respond = (_, _, _) => { };
        net.Start(left, right);
        left.Request(left.Amr("right"));
        var amr = left.Sent[^1];
        var broken = left.Dictionary.Answer(amr, DiameterResult.Success).Add(AvpKeys.OriginHost, "right.example").Build();

        net.Inject(left, 1, broken.ToArray());

        Assert.Equal(DeliveryFailure.InvalidAnswer, Assert.Single(left.Failures).Why);
    }

    [Fact]
    public void The_applications_own_deadline_is_kept_beside_the_nodes()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);
        left.Alarm = net.Now.AddSeconds(5);

        net.Advance(TimeSpan.FromSeconds(6));

        Assert.Equal(1, left.Alarms);
    }
}
