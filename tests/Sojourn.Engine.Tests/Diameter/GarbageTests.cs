using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;
using Xunit;
using static Sojourn.Engine.Tests.Diameter.DiameterNodes;

namespace Sojourn.Engine.Tests.Diameter;

[Trait("Row", "M1")]
public class GarbageTests
{
    [Fact]
    public void A_stream_out_of_step_is_closed()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);

        net.Inject(right, -1, [2, 0, 0, 20]);

        Assert.Contains("Version", right.Peer("left.example").LastCloseReason);
    }

    [Fact]
    public void An_oversized_announcement_closes_before_anything_is_stored()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);

        net.Inject(right, -1, [1, 0xFF, 0xFF, 0xFC]);

        Assert.Equal(DiameterPeerState.Closed, right.Peer("left.example").State);
    }

    [Fact]
    public void A_request_with_a_broken_avp_length_is_answered_5014_and_the_connection_lives()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);
        var octets = (left.Amr("right") with { HopByHopId = 3, EndToEndId = 4 }).ToArray();
        octets[20 + 7] = 0xFF;
        octets[20 + 6] = 0xFF;

        net.Inject(right, -1, octets);

        var answer = right.Sent[^1];
        Assert.Equal(5014u, answer.ResultCode);
        Assert.Equal((3u, 4u), (answer.HopByHopId, answer.EndToEndId));
        Assert.True(answer.Avps.TryGetGroup(AvpKeys.FailedAvp, out var failed) && failed[0].Key == AvpKeys.SessionId);
        Assert.Equal(DiameterPeerState.ROpen, right.Peer("left.example").State);
    }

    [Fact]
    public void Messages_may_arrive_octet_by_octet_or_many_at_once()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);
        left.Request(left.Amr("right"));
        var one = (left.Sent[^1] with { EndToEndId = 100 }).ToArray();
        var two = (left.Sent[^1] with { EndToEndId = 101 }).ToArray();

        foreach (var octet in one)
        {
            net.Inject(right, -1, [octet]);
        }

        net.Inject(right, -1, [.. one, .. two, .. two[..7]]);
        net.Inject(right, -1, two[7..]);

        Assert.Equal(3, right.Requests.Count);
        Assert.Equal(2, right.Counts["diameter.request.duplicate"]);
    }

    [Fact]
    public void A_request_before_the_capabilities_exchange_closes_the_connection()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);
        net.Handle(right, new ConnectionOpened(-50, At(9), true, ["left.example"]));

        net.Inject(right, -50, left.Amr("right").ToArray());

        Assert.Equal(1, right.Counts["diameter.connection.broken"]);
        Assert.Empty(right.Requests);
    }

    [Fact]
    public void A_capabilities_request_with_a_missing_avp_is_refused_with_5005()
    {
        var (net, left, right) = Pair();
        net.Start(left, right);
        net.Handle(right, new ConnectionOpened(-50, At(9), true, ["left.example"]));

        net.Inject(right, -50, left.Sent[0].Without(AvpKeys.ProductName).ToArray());

        Assert.Equal(5005u, right.Sent[^1].ResultCode);
    }

    /// <summary>Random damage to valid messages over an open and a new connection: no exception, and the node still works.</summary>
    [Fact]
    public void Damaged_messages_never_upset_the_node()
    {
        var random = new Random(20260301);
        var (net, left, right) = Pair();
        net.Start(left, right);
        left.Request(left.Amr("right"));
        byte[][] seeds = [left.Sent[0].ToArray(), left.Sent[^1].ToArray(), right.Sent[^1].ToArray()];
        for (var i = 0; i < 3000; i++)
        {
            var octets = (byte[])seeds[random.Next(seeds.Length)].Clone();
            for (var flips = random.Next(1, 6); flips > 0; flips--)
            {
                octets[random.Next(octets.Length)] = (byte)random.Next(256);
            }

            var connection = -1000 - i;
            net.Handle(right, new ConnectionOpened(connection, At(9), true, ["left.example"]));
            net.Handle(right, new ConnectionReceived(connection, octets));
            net.Handle(right, new ConnectionReceived(-1, octets));
            net.Handle(right, new ConnectionClosed(connection, "done"));
            net.Settle();
            right.Sent.Clear();
            right.Requests.Clear();
        }

        net.Advance(TimeSpan.FromMinutes(3));
        left.Request(left.Amr("right"));
        Assert.Equal(2001u, left.Answers[^1].Message.ResultCode);
    }
}
