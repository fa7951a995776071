using System.Net.Security;
using System.Net.Sockets;
using Sojourn.DataPath.PacketPath;
using Sojourn.Wire.Ip;

namespace Sojourn.Roles.TlsGateways;

/// <summary>Packets in a TLS session, both ways (spec terminal A-33, L32).</summary>
internal static class CarrierStream
{
    /// <summary>Of a handshake, TCP's included.</summary>
    public static readonly TimeSpan HandshakeLimit = TimeSpan.FromSeconds(10);

    private static readonly TimeSpan s_goodbye = TimeSpan.FromSeconds(1);

    /// <summary>Small packets leave at once, and a peer that has gone is noticed within a minute.</summary>
    public static void Prepare(Socket socket)
    {
        socket.NoDelay = true;
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 20);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 10);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 4);
    }

    /// <summary>Carries until either side ends the session. The caller closes it.</summary>
    /// <param name="received">Gets every packet, one after another.</param>
    /// <returns>Why it ended.</returns>
    public static async Task<string> CarryAsync(SslStream tls, CarrierQueue queue, PacketHandler received, CancellationToken cancellation)
    {
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var reading = ReadAsync(tls, received, end.Token);
        var writing = WriteAsync(tls, queue, end.Token);
        var reason = await (await Task.WhenAny(reading, writing).ConfigureAwait(false)).ConfigureAwait(false);
        await end.CancelAsync().ConfigureAwait(false);
        await Task.WhenAll(reading, writing).ConfigureAwait(false);
        await SayGoodbyeAsync(tls).ConfigureAwait(false);
        return reason;
    }

    private static async Task<string> ReadAsync(SslStream tls, PacketHandler received, CancellationToken cancellation)
    {
        var buffer = new byte[CarriedPacket.LongestFrame];
        var filled = 0;
        try
        {
            while (true)
            {
                var count = await tls.ReadAsync(buffer.AsMemory(filled), cancellation).ConfigureAwait(false);
                if (count == 0)
                {
                    return "closed by the other side";
                }

                filled += count;
                if (Take(buffer, ref filled, received) is { } fault)
                {
                    return fault;
                }
            }
        }
        catch (Exception e) when (IsEnd(e))
        {
            return e is OperationCanceledException ? "closed" : e.Message;
        }
    }

    /// <summary>Hands over what is complete, and moves the rest to the front.</summary>
    private static string? Take(byte[] buffer, ref int filled, PacketHandler received)
    {
        var at = 0;
        while (true)
        {
            if (!CarriedPacket.TryParse(buffer.AsSpan(at, filled - at), out var next, out var error))
            {
                return $"what comes is no stream of packets: {error}";
            }

            if (next.FrameLength == 0)
            {
                break;
            }

            received(next.Packet);
            at += next.FrameLength;
        }

        buffer.AsSpan(at, filled - at).CopyTo(buffer);
        filled -= at;
        return null;
    }

    private static async Task<string> WriteAsync(SslStream tls, CarrierQueue queue, CancellationToken cancellation)
    {
        var buffer = new byte[CarriedPacket.LongestFrame];
        try
        {
            while (true)
            {
                var count = await queue.TakeAsync(buffer, cancellation).ConfigureAwait(false);
                await tls.WriteAsync(buffer.AsMemory(0, count), cancellation).ConfigureAwait(false);
            }
        }
        catch (Exception e) when (IsEnd(e))
        {
            return e is OperationCanceledException ? "closed" : e.Message;
        }
    }

    private static bool IsEnd(Exception e) => e is IOException or SocketException or OperationCanceledException or ObjectDisposedException;

    /// <summary>
    /// close_notify where there is still a session to end. For one that the peer broke SslStream lets through what its TLS library says,
    /// in exceptions without a public type; there is nobody left to tell then.
    /// </summary>
    private static async Task SayGoodbyeAsync(SslStream tls)
    {
        try
        {
            await tls.ShutdownAsync().WaitAsync(s_goodbye).ConfigureAwait(false);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
        }
    }
}
