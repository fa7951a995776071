using System.Net;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;
using Xunit;
using static Sojourn.Engine.Tests.Diameter.DiameterNodes;

namespace Sojourn.Engine.Tests.Diameter;

[Trait("Row", "M1")]
public class PeerTests
{
    [Fact]
    public void Two_nodes_exchange_capabilities_and_open()
    {
        var (net, left, right) = Pair();

        net.Start(left, right);

        Assert.Equal(["left -> right: CER", "right -> left: CEA 2001"], net.Arrows);
        Assert.Equal(DiameterPeerState.IOpen, left.Peer("right.example").State);
        Assert.Equal(DiameterPeerState.ROpen, right.Peer("left.example").State);
        Assert.Equal(WatchdogState.Okay, left.Peer("right.example").Watchdog);
        var cer = left.Sent[0];
        Assert.Equal("left.example", cer.OriginHost);
        Assert.True(cer.Avps.TryGetUnsigned32(AvpKeys.AuthApplicationId, out var application) && application == 2);
        Assert.True(cer.Avps.TryGetUnsigned32(AvpKeys.SupportedVendorId, out var vendor) && vendor == 32473);
        Assert.True(cer.Avps.TryGetAddress(AvpKeys.HostIpAddress, out _));
    }

    [Theory]
    [InlineData("a.example", "b.example")]
    [InlineData("b.example", "a.example")]
    public void Simultaneous_dialling_ends_in_the_connection_of_the_lower_identity(string one, string two)
    {
        var net = new DiameterNet();
        var left = new TestNode(one, At(1), Options(one, "r", (two, "r", 2)));
        var right = new TestNode(two, At(2), Options(two, "r", (one, "r", 1)), 2);

        net.Start(left, right);

        var (low, high) = string.CompareOrdinal(one, two) < 0 ? (left, right) : (right, left);
        Assert.Equal(DiameterPeerState.IOpen, low.Peer(high.Options.Identity).State);
        Assert.Equal(DiameterPeerState.ROpen, high.Peer(low.Options.Identity).State);
        Assert.Equal(1, high.Counts["diameter.election.won"]);
    }

    [Fact]
    public void A_stranger_is_refused_with_3010()
    {
        var (net, left, right) = Pair(right: o => o with { Peers = [] });

        net.Start(left, right);

        Assert.Equal(["left -> right: CER", "right -> left: CEA 3010"], net.Arrows);
        Assert.True(right.Sent[0].IsError);
        Assert.Equal(DiameterPeerState.Closed, left.Peer("right.example").State);
    }

    [Fact]
    public void A_caller_whose_certificate_has_another_name_is_refused()
    {
        var (net, left, right) = Pair();
        left.CertificateNames = ["mallory.example"];

        net.Start(left, right);

        Assert.Equal(["left -> right: CER", "right -> left: CEA 3010"], net.Arrows);
        Assert.Contains(right.Events, e => e.Rule == "RFC 6733 section 13.1");
    }

    [Fact]
    public void A_called_peer_whose_certificate_has_another_name_is_hung_up_on()
    {
        var (net, left, right) = Pair();
        right.CertificateNames = ["mallory.example"];

        net.Start(left, right);

        Assert.Equal(DiameterPeerState.Closed, left.Peer("right.example").State);
        Assert.Contains("certificate", left.Peer("right.example").LastCloseReason);
        Assert.Equal(DiameterPeerState.Closed, right.Peer("left.example").State);
    }

    [Fact]
    public void A_peer_that_answers_under_another_configured_name_is_hung_up_on()
    {
        var net = new DiameterNet();
        var left = new TestNode("left", At(1), Options("left.example", "l", ("right.example", "r", 2), ("other.example", "r", null)));
        var other = new TestNode("other", At(2), Options("other.example", "r", ("left.example", "l", null)), 2) { CertificateNames = ["other.example", "right.example"] };

        net.Start(left, other);

        Assert.Equal(DiameterPeerState.Closed, left.Peer("right.example").State);
        Assert.Equal(DiameterPeerState.Closed, left.Peer("other.example").State);
    }

    [Fact]
    public void Plain_tcp_is_neither_accepted_nor_dialled_unless_allowed()
    {
        var plain = (DiameterNodeOptions o) => o with { AllowPlainTcp = true, Peers = [.. o.Peers.Select(p => p with { Secured = false })] };
        var (net, left, right) = Pair(plain);
        net.Start(left, right);
        Assert.DoesNotContain(net.Arrows, a => a.Contains("CEA"));
        Assert.Equal(1, right.Counts["diameter.connection.plain"]);

        var (net2, left2, right2) = Pair(o => plain(o) with { AllowPlainTcp = false }, plain);
        net2.Start(left2, right2);
        Assert.Empty(net2.Arrows);

        var (net3, left3, right3) = Pair(plain, plain);
        net3.Start(left3, right3);
        Assert.Equal(DiameterPeerState.IOpen, left3.Peer("right.example").State);
    }

    [Fact]
    public void A_peer_that_must_use_tls_cannot_come_over_plain_tcp()
    {
        var (net, left, right) = Pair(
            o => o with { AllowPlainTcp = true, Peers = [.. o.Peers.Select(p => p with { Secured = false })] },
            o => o with { AllowPlainTcp = true });

        net.Start(left, right);

        Assert.Contains("right -> left: CEA 5017", net.Arrows);
    }

    [Fact]
    public void Without_a_common_application_the_answer_is_5010()
    {
        var (net, left, right) = Pair(left: o => o with { Applications = [7] });

        net.Start(left, right);

        Assert.Contains("right -> left: CEA 5010", net.Arrows);
    }

    [Fact]
    public void A_relay_has_every_application_in_common()
    {
        var (net, left, right) = Pair(left: o => o with { Applications = [DiameterApplications.Relay] }, right: o => o with { Applications = [7] });

        net.Start(left, right);

        Assert.Contains("right -> left: CEA 2001", net.Arrows);
    }

    [Fact]
    public void Failed_dialling_backs_off_up_to_the_maximum()
    {
        var (net, left, right) = Pair();
        right.IsDead = true;
        net.Add(right);
        net.Start(left);

        var attempts = new List<TimeSpan>();
        var last = net.Now;
        for (var i = 0; i < 8; i++)
        {
            var next = left.Peer("right.example").NextAttempt!.Value;
            attempts.Add(next - last);
            net.Advance(next - net.Now);
            last = net.Now;
        }

        Assert.All(attempts, a => Assert.InRange(a, TimeSpan.FromSeconds(0.75), TimeSpan.FromSeconds(30)));
        Assert.True(attempts[3] > attempts[0] * 3, string.Join(' ', attempts));
        Assert.InRange(attempts[7], TimeSpan.FromSeconds(22.5), TimeSpan.FromSeconds(30));
    }

    [Fact]
    public void A_transport_that_never_comes_up_is_given_up_after_the_timeout()
    {
        var (net, left, right) = Pair();
        left.Blackholed = true;
        net.Start(left, right);

        net.Advance(TimeSpan.FromSeconds(9));
        Assert.Equal(DiameterPeerState.WaitConnAck, left.Peer("right.example").State);
        net.Advance(TimeSpan.FromSeconds(1.1));
        Assert.Equal(DiameterPeerState.Closed, left.Peer("right.example").State);
        left.Blackholed = false;
        net.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(DiameterPeerState.IOpen, left.Peer("right.example").State);
    }

    [Fact]
    public void A_caller_that_says_nothing_is_hung_up_on()
    {
        var (net, left, right) = Pair();
        net.Start(right);
        net.Handle(right, new ConnectionOpened(-99, At(9), true, ["x"]));

        net.Advance(TimeSpan.FromSeconds(10));

        Assert.Equal(1, right.Counts["diameter.connection.silent"]);
    }

    [Fact]
    public void Callers_beyond_the_limit_are_hung_up_on_before_they_speak()
    {
        var (net, _, right) = Pair(right: o => o with { MaximumUnidentifiedConnections = 3 });
        net.Start(right);
        for (var i = 1; i <= 5; i++)
        {
            net.Handle(right, new ConnectionOpened(-i, At(9), true, ["x"]));
        }

        Assert.Equal(2, right.Counts["diameter.connection.too_many"]);
    }

    [Fact]
    public void Stopping_says_goodbye_and_the_peer_dials_again_later()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);
        net.Arrows.Clear();

        net.Handle(right, new EngineStopping());
        net.Settle();

        Assert.Equal("right -> left: DPR", net.Arrows[0]);
        Assert.Contains("rebooting", left.Peer("right.example").LastCloseReason);
        Assert.Equal(WatchdogState.Initial, left.Peer("right.example").Watchdog);
        Assert.NotNull(left.Peer("right.example").NextAttempt);
    }

    [Fact]
    public void Idle_peers_exchange_watchdogs_with_jitter()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);
        net.Arrows.Clear();

        net.Advance(TimeSpan.FromMinutes(10));

        var sent = left.Peer("right.example").Counters.WatchdogsSent + right.Peer("left.example").Counters.WatchdogsSent;
        Assert.InRange(sent, 19, 24);
        Assert.Equal(DiameterPeerState.IOpen, left.Peer("right.example").State);
        Assert.Contains("left -> right: DWR", net.Arrows);
        Assert.Contains("right -> left: DWA 2001", net.Arrows);
    }

    [Fact]
    public void A_silent_peer_becomes_suspect_then_down_then_reopens_slowly()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);
        right.IsFrozen = true;

        net.Advance(TimeSpan.FromSeconds(33));
        Assert.Equal(WatchdogState.Okay, left.Peer("right.example").Watchdog);
        net.Advance(TimeSpan.FromSeconds(32));
        Assert.Equal(WatchdogState.Suspect, left.Peer("right.example").Watchdog);
        Assert.Equal(DiameterPeerState.IOpen, left.Peer("right.example").State);
        net.Advance(TimeSpan.FromSeconds(32));
        Assert.Equal(WatchdogState.Down, left.Peer("right.example").Watchdog);
        Assert.Equal("no watchdog answer", left.Events.Last(e => e.Kind == "diameter.peer.closed").Text.Split(": ")[1]);

        right.IsFrozen = false;
        net.Advance(TimeSpan.FromSeconds(60));
        Assert.Equal(WatchdogState.Reopen, left.Peer("right.example").Watchdog);
        net.Advance(TimeSpan.FromSeconds(70));
        Assert.Equal(WatchdogState.Okay, left.Peer("right.example").Watchdog);
    }

    [Fact]
    public void A_suspect_peer_that_speaks_again_is_back_in_use()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);
        right.IsFrozen = true;
        net.Advance(TimeSpan.FromSeconds(65));
        Assert.Equal(WatchdogState.Suspect, left.Peer("right.example").Watchdog);

        right.IsFrozen = false;
        net.Handle(left, new ConnectionReceived(1, WatchdogRequestOf(right)));
        net.Settle();

        Assert.Equal(WatchdogState.Okay, left.Peer("right.example").Watchdog);
        Assert.Equal(1, left.Counts["diameter.peer.fail_back"]);
    }

    [Fact]
    public void A_restarted_peer_replaces_its_dead_connection()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);
        // The machine of the caller dies without a word: the accepting side still believes in the connection.
        left.IsDead = true;
        net.Advance(TimeSpan.FromSeconds(5));
        Assert.Equal(DiameterPeerState.ROpen, right.Peer("left.example").State);

        net.Restart(new TestNode("left", At(1), left.Options, 7));

        Assert.Equal(DiameterPeerState.ROpen, right.Peer("left.example").State);
        Assert.Equal(2, right.Peer("left.example").Counters.Connections);
    }

    [Fact]
    public void A_peer_that_dials_again_has_lost_its_first_connection()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);
        net.Handle(right, new ConnectionOpened(-99, At(1), true, ["left.example"]));

        net.Inject(right, -99, left.Sent[0].ToArray());

        Assert.Equal(DiameterPeerState.ROpen, right.Peer("left.example").State);
        Assert.Equal(2, right.Peer("left.example").Counters.Connections);
        Assert.Equal("the peer has dialled again", right.Peer("left.example").LastCloseReason);
    }

    [Fact]
    public void A_stranger_with_another_certificate_cannot_take_a_connection_over()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);
        net.Handle(right, new ConnectionOpened(-99, At(9), true, ["mallory.example"]));

        net.Inject(right, -99, left.Sent[0].ToArray());

        Assert.Equal(1, right.Peer("left.example").Counters.Connections);
        Assert.Null(right.Peer("left.example").LastCloseReason);
    }

    [Fact]
    public void While_the_connection_we_dialled_is_open_another_is_rejected()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);
        var cer = right.Dictionary.Request(DiameterCommands.CapabilitiesExchange).Add(right.Sent[0].Avps.Where(a => a.Key != AvpKeys.ResultCode)).Build();
        net.Handle(left, new ConnectionOpened(-99, At(2), true, ["right.example"]));

        net.Inject(left, -99, cer.ToArray());

        Assert.Equal(1, left.Counts["diameter.peer.second_connection"]);
        Assert.Equal(DiameterPeerState.IOpen, left.Peer("right.example").State);
        Assert.Equal(1, left.Peer("right.example").Counters.Connections);
    }

    [Fact]
    public void Status_tells_state_counters_and_why_it_closed()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);
        net.Kill(right);

        var status = left.Peer("right.example");
        Assert.Equal(DiameterPeerState.Closed, status.State);
        Assert.Equal("reset by peer", status.LastCloseReason);
        Assert.Equal(1, status.Counters.Connections);
        Assert.Equal(net.Now, status.Since);
        Assert.Equal(At(2), status.Remote);
    }

    private static byte[] WatchdogRequestOf(TestNode node) => (node.Dictionary.Request(DiameterCommands.DeviceWatchdog)
        .Add(AvpKeys.OriginHost, node.Options.Identity).Add(AvpKeys.OriginRealm, node.Options.Realm).Build() with
    { HopByHopId = 9, EndToEndId = 9 }).ToArray();
}
