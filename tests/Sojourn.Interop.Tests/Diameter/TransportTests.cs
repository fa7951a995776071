using System.Net;
using System.Net.Sockets;
using Sojourn.Engine;
using Sojourn.Engine.Diameter;
using Sojourn.Roles.Diameter;
using Sojourn.Wire.Diameter;
using Xunit;

namespace Sojourn.Interop.Tests.Diameter;

/// <summary>Two nodes of ours on real sockets, and callers that misbehave.</summary>
public class TransportTests
{
    private const string Left = "fa1.visited.example";
    private const string Right = "aaaf.visited.example";

    [Fact]
    [Trait("Row", "M2")]
    [Trait("Row", "S100")]
    [Trait("Row", "S205")]
    public async Task Two_nodes_meet_over_tls()
    {
        using var credentials = new Credentials();
        using var leftTls = credentials.Issue(Left);
        using var rightTls = credentials.Issue(Right);
        await using var right = new RunningNode(Rig.Options(Right, new DiameterPeerOptions(Left, "visited.example")), Rig.Transport(rightTls));
        await using var left = new RunningNode(Rig.Options(Left, new DiameterPeerOptions(Right, "visited.example", right.EndPoint)), Rig.Transport(leftTls));
        await left.WaitOpenAsync(Right);

        var answer = await left.AskAsync(left.Amr("visited.example").Build());

        Assert.Equal(DiameterResult.Success, answer.ResultCode);
        Assert.True(left.Peer(Right).Secured);
    }

    [Fact]
    [Trait("Row", "M2")]
    public async Task A_certificate_of_another_authority_is_refused()
    {
        using var ours = new Credentials();
        using var foreign = new Credentials();
        using var rightTls = ours.Issue(Right);
        using var leftTls = foreign.Issue(Left);
        await using var right = new RunningNode(Rig.Options(Right, new DiameterPeerOptions(Left, "visited.example")), Rig.Transport(rightTls));
        await using var left = new RunningNode(Rig.Options(Left, new DiameterPeerOptions(Right, "visited.example", right.EndPoint)), Rig.Transport(leftTls));

        await UntilAsync(() => left.Events.Any(e => e.Kind == "diameter.peer.unreachable" && e.Text.Contains("TLS", StringComparison.Ordinal)));

        Assert.Equal(0, right.Peer(Left).Counters.Connections);
    }

    [Fact]
    [Trait("Row", "M2")]
    public async Task A_certificate_of_our_authority_for_another_name_is_refused_by_the_engine()
    {
        using var credentials = new Credentials();
        using var rightTls = credentials.Issue(Right);
        using var leftTls = credentials.Issue(Left, named: "mallory.visited.example");
        await using var right = new RunningNode(Rig.Options(Right, new DiameterPeerOptions(Left, "visited.example")), Rig.Transport(rightTls));
        await using var left = new RunningNode(Rig.Options(Left, new DiameterPeerOptions(Right, "visited.example", right.EndPoint)), Rig.Transport(leftTls));

        await UntilAsync(() => right.Events.Any(e => e.Rule == "RFC 6733 section 13.1"));

        Assert.Equal(0, left.Peer(Right).Counters.Connections);
    }

    [Fact]
    public async Task A_caller_without_a_handshake_is_cut_off_and_others_are_limited()
    {
        using var credentials = new Credentials();
        using var tls = credentials.Issue(Right);
        var opened = 0;
        var transport = new DiameterTransport(
            Rig.Transport(tls) with { HandshakeTimeout = TimeSpan.FromMilliseconds(500), MaximumConnectionsPerSource = 3 },
            _ => Interlocked.Increment(ref opened));
        await using (transport)
        {
            transport.Start();
            var callers = Enumerable.Range(0, 5).Select(_ => Dial(transport.EndPoints[0])).ToList();

            await Task.WhenAll(callers.Select(ClosedAsync)).WaitAsync(TimeSpan.FromSeconds(10));
            await UntilAsync(() => transport.Connections == 0);

            Assert.Equal(5, transport.Refused);
            Assert.Equal(0, opened);
            callers.ForEach(c => c.Dispose());
        }
    }

    [Fact]
    public async Task What_was_sent_before_a_close_arrives()
    {
        var inputs = new System.Collections.Concurrent.ConcurrentQueue<EngineInput>();
        await using var transport = new DiameterTransport(
            new DiameterTransportOptions { AllowPlainTcp = true, Listeners = [new DiameterListener(new IPEndPoint(IPAddress.Loopback, 0), Secured: false)] },
            inputs.Enqueue);
        transport.Start();
        using var caller = Dial(transport.EndPoints[0]);
        await UntilAsync(() => inputs.OfType<ConnectionOpened>().Any());
        var id = inputs.OfType<ConnectionOpened>().Single().Connection;
        Assert.True(id < 0);
        Assert.False(inputs.OfType<ConnectionOpened>().Single().Secured);

        var data = new byte[1_000_000];
        Random.Shared.NextBytes(data);
        transport.TryCarryOut(new SendBytes(id, data));
        transport.TryCarryOut(new SendBytes(id, new byte[] { 1, 2, 3 }));
        transport.TryCarryOut(new CloseConnection(id));
        var received = new MemoryStream();
        await new NetworkStream(caller).CopyToAsync(received).WaitAsync(TimeSpan.FromSeconds(10));

        Assert.Equal(data.Length + 3, received.Length);
        Assert.True(received.ToArray().AsSpan(0, data.Length).SequenceEqual(data));
        Assert.DoesNotContain(inputs, i => i is ConnectionClosed);
    }

    [Fact]
    public async Task A_peer_that_does_not_read_is_disconnected()
    {
        var inputs = new System.Collections.Concurrent.ConcurrentQueue<EngineInput>();
        await using var transport = new DiameterTransport(
            new DiameterTransportOptions { AllowPlainTcp = true, MaximumQueuedOctets = 1_000_000, Listeners = [new DiameterListener(new IPEndPoint(IPAddress.Loopback, 0), Secured: false)] },
            inputs.Enqueue);
        transport.Start();
        using var caller = Dial(transport.EndPoints[0]);
        await UntilAsync(() => inputs.OfType<ConnectionOpened>().Any());
        var id = inputs.OfType<ConnectionOpened>().Single().Connection;

        for (var i = 0; i < 200; i++)
        {
            transport.TryCarryOut(new SendBytes(id, new byte[100_000]));
        }

        await UntilAsync(() => inputs.OfType<ConnectionClosed>().Any());
        Assert.Equal("the peer reads too slowly", inputs.OfType<ConnectionClosed>().Single().Reason);
    }

    [Fact]
    public async Task Dialling_nobody_is_reported_as_closed()
    {
        var inputs = new System.Collections.Concurrent.ConcurrentQueue<EngineInput>();
        await using var transport = new DiameterTransport(new DiameterTransportOptions { AllowPlainTcp = true }, inputs.Enqueue);

        transport.TryCarryOut(new OpenConnection(7, new IPEndPoint(IPAddress.Loopback, Rig.FreePort()), "x", false));
        transport.TryCarryOut(new OpenConnection(8, new IPEndPoint(IPAddress.Loopback, 1), "x", true));

        await UntilAsync(() => inputs.Count == 2);
        Assert.Equal([7L, 8L], inputs.Cast<ConnectionClosed>().Select(c => c.Connection).Order());
    }

    private static Socket Dial(IPEndPoint remote)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Connect(remote);
        return socket;
    }

    private static async Task ClosedAsync(Socket socket)
    {
        try
        {
            while (await socket.ReceiveAsync(new byte[64]) > 0)
            {
            }
        }
        catch (SocketException)
        {
        }
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        var end = DateTime.UtcNow + TimeSpan.FromSeconds(20);
        while (!condition())
        {
            Assert.True(DateTime.UtcNow < end, "it does not happen");
            await Task.Delay(20);
        }
    }
}
