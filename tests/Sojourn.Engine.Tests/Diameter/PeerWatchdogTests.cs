using Sojourn.Engine.Diameter;
using Xunit;

namespace Sojourn.Engine.Tests.Diameter;

/// <summary>The state table of RFC 3539 section 3.4.1, seen through one node whose other end is played by hand.</summary>
[Trait("Row", "M1")]
public class PeerWatchdogTests
{
    [Fact]
    public void A_peer_that_dies_again_while_it_reopens_is_closed_after_two_silent_intervals()
    {
        var (net, left, right) = DiameterNodes.Pair();
        net.Start(left, right);
        net.Kill(right);
        right.IsDead = false;
        net.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(WatchdogState.Reopen, left.Peer("right.example").Watchdog);
        right.IsFrozen = true;

        net.Advance(TimeSpan.FromSeconds(120));

        Assert.Equal(DiameterPeerState.WaitICea, left.Peer("right.example").State);
        Assert.Equal(WatchdogState.Down, left.Peer("right.example").Watchdog);
        Assert.Equal(3, left.Peer("right.example").Counters.Connections + 1);
    }

    [Fact]
    public void Traffic_keeps_the_watchdog_quiet()
    {
        var (net, left, right) = DiameterNodes.Pair();
        net.Start(left, right);
        for (var i = 0; i < 20; i++)
        {
            net.Advance(TimeSpan.FromSeconds(10));
            left.Request(left.Amr("right"));
        }

        Assert.Equal(0, left.Peer("right.example").Counters.WatchdogsSent);
        Assert.Equal(20, left.Answers.Count);
    }

    [Fact]
    public void A_reopening_peer_is_used_when_nobody_else_is_there_and_avoided_otherwise()
    {
        var (net, client, _, first, second) = DiameterNodes.Fan();
        net.Kill(first);
        first.IsDead = false;
        net.Advance(TimeSpan.FromSeconds(2));
        client.Request(client.Amr());
        Assert.Empty(first.Requests);
        Assert.Single(second.Requests);

        net.Kill(second);
        client.Request(client.Amr());

        Assert.Single(first.Requests);
        Assert.Equal(2, client.Answers.Count);
    }

    [Fact]
    public void Watchdog_times_differ_from_each_other_by_jitter()
    {
        var times = new HashSet<DateTimeOffset>();
        for (var seed = 0; seed < 10; seed++)
        {
            var options = DiameterNodes.Options("left.example", "left", ("right.example", "right", 2));
            var left = new TestNode("left", DiameterNodes.At(1), options, seed);
            var right = new TestNode("right", DiameterNodes.At(2), DiameterNodes.Options("right.example", "right", ("left.example", "left", null)), 99);
            var net = new DiameterNet();
            net.Start(left, right);
            Assert.InRange(left.NextDeadline!.Value - net.Now, TimeSpan.FromSeconds(28), TimeSpan.FromSeconds(32));
            times.Add(left.NextDeadline.Value);
        }

        Assert.True(times.Count > 5);
    }
}
