using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <param name="Up">The peer was proved and took the proof.</param>
/// <param name="Child">There is an association, too.</param>
/// <param name="Reason">Why not.</param>
internal sealed record ProbeOutcome(bool Up, bool Child, string Reason);

/// <summary>Key exchange from a host of the lab with whatever identity, certificate and proposals a scenario wants to try, and datagrams of no engine's making.</summary>
internal static class KeyExchangeProbe
{
    /// <summary>Tries to get an association; what comes about is closed again.</summary>
    public static Task<ProbeOutcome> InitiateAsync(NetworkNamespace space, IPAddress local, IkePeer peer, TimeSpan limit, CancellationToken cancellation) => Task.Run(() =>
    {
        using var socket = Bind(space, local);
        var engine = new IkeEngine(new IkeOptions { Peers = [peer], RetransmitAfter = TimeSpan.FromMilliseconds(700) }, SystemRandomSource.Instance);
        var (up, child, reason, ended) = (false, false, "no answer", false);
        Drive(socket, engine, new InitiateIke(peer.Name, local), limit, effect =>
        {
            switch (effect)
            {
                case IkeSaUp:
                    up = true;
                    break;
                case ChildSaUp:
                    (child, ended) = (true, true);
                    break;
                case ChildSaRefused refused:
                    (reason, ended) = ($"no association: {refused.Error}", true);
                    break;
                case IkeSaDown down:
                    (reason, ended) = (down.Reason, true);
                    break;
            }

            return ended;
        }, cancellation);
        foreach (var sa in engine.IkeSas.ToList())
        {
            Drive(socket, engine, new CloseIke(sa.Id), TimeSpan.FromSeconds(1), effect => effect is IkeSaDown);
        }

        return new ProbeOutcome(up, child, child ? "" : reason);
    });

    /// <summary>Answers key exchanges as a responder until it is cancelled.</summary>
    /// <returns>How many initiators began.</returns>
    public static Task<int> RespondAsync(NetworkNamespace space, IPAddress local, IkePeer peer, CancellationToken cancellation) => Task.Run(() =>
    {
        using var socket = Bind(space, local);
        var engine = new IkeEngine(new IkeOptions { Peers = [peer] }, SystemRandomSource.Instance);
        var began = new HashSet<EndPoint>();
        Drive(socket, engine, new EngineStarted([]), TimeSpan.FromMinutes(2), effect =>
        {
            if (effect is SendDatagram sent)
            {
                began.Add(sent.Destination);
            }

            return cancellation.IsCancellationRequested;
        }, cancellation);
        return began.Count;
    });

    /// <summary>Sends one datagram to the key exchange's port; the answer, null when there is none in time.</summary>
    public static Task<byte[]?> AskAsync(NetworkNamespace space, IPAddress local, IPAddress remote, byte[] datagram, TimeSpan limit) => Task.Run(() =>
    {
        using var socket = Bind(space, local);
        socket.SendTo(datagram, new IPEndPoint(remote, Ikev2Limits.Port));
        var buffer = new byte[4096];
        socket.ReceiveTimeout = (int)limit.TotalMilliseconds;
        try
        {
            return buffer[..socket.Receive(buffer)];
        }
        catch (SocketException)
        {
            return null;
        }
    });

    private static Socket Bind(NetworkNamespace space, IPAddress local) => space.Run(() =>
    {
        var socket = new Socket(AddressFamily.InterNetworkV6, SocketType.Dgram, ProtocolType.Udp);
        socket.Bind(new IPEndPoint(local, Ikev2Limits.Port));
        return socket;
    });

    private static void Drive(Socket socket, IkeEngine engine, EngineInput first, TimeSpan limit, Func<Effect, bool> done, CancellationToken cancellation = default)
    {
        var (end, buffer, ended) = (DateTimeOffset.UtcNow + limit, new byte[8192], false);
        Tell(first);
        while (!ended && !cancellation.IsCancellationRequested && DateTimeOffset.UtcNow < end)
        {
            var wait = (engine.NextDeadline is { } next && next < end ? next : end) - DateTimeOffset.UtcNow;
            if (socket.Poll(TimeSpan.FromMilliseconds(Math.Clamp(wait.TotalMilliseconds, 0, 100)), SelectMode.SelectRead))
            {
                EndPoint from = new IPEndPoint(IPAddress.IPv6Any, 0);
                var length = socket.ReceiveFrom(buffer, ref from);
                Tell(new DatagramReceived((IPEndPoint)from, (IPEndPoint)socket.LocalEndPoint!, buffer[..length]));
            }

            if (engine.NextDeadline <= DateTimeOffset.UtcNow)
            {
                Tell(new DeadlineReached());
            }
        }

        void Tell(EngineInput input)
        {
            var sink = new EffectSink();
            engine.Handle(input, DateTimeOffset.UtcNow, sink);
            foreach (var effect in sink.Effects)
            {
                if (effect is SendDatagram datagram)
                {
                    socket.SendTo(datagram.Payload.Span, datagram.Destination);
                }

                ended |= done(effect);
            }
        }
    }
}
