using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Sojourn.DataPath.Netlink;

namespace Sojourn.Lab;

/// <summary>How a TCP transfer between two hosts went.</summary>
/// <param name="Taken">Octets that arrived.</param>
/// <param name="Same">They are those that were sent, by their SHA-256.</param>
/// <param name="From">What the taking host saw as the other end.</param>
/// <param name="LongestPause">Longest time without an octet at the taking host.</param>
public sealed record TransferResult(long Sent, long Taken, bool Same, IPEndPoint? From, TimeSpan LongestPause, string? Failure)
{
    public bool Whole => Failure is null && Same && Taken == Sent;

    public override string ToString() => $"{Taken} of {Sent} octets from {From}{(Same ? ", the same" : ", not the same")}, longest pause {LongestPause.TotalMilliseconds:F0} ms{(Failure is null ? "" : $"; {Failure}")}";
}

/// <summary>A TCP transfer at a steady rate through plain sockets of two hosts: what an application there would send and get.</summary>
public static class Transfer
{
    private const int Chunk = 8192;

    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(20);

    /// <param name="from">Namespace of the sending host, which opens the connection.</param>
    /// <param name="to">Namespace of the taking host.</param>
    /// <param name="destination">Address the taking host is known by.</param>
    /// <param name="time">How long it is sent for.</param>
    public static async Task<TransferResult> RunAsync(NetworkNamespace from, NetworkNamespace to, IPEndPoint destination, TimeSpan time, TimeSpan limit, CancellationToken cancellation)
    {
        using var ends = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        ends.CancelAfter(limit);
        using var listening = to.Run(() => new Socket(destination.AddressFamily, SocketType.Stream, ProtocolType.Tcp));
        listening.Bind(new IPEndPoint(destination.AddressFamily == AddressFamily.InterNetworkV6 ? IPAddress.IPv6Any : IPAddress.Any, destination.Port));
        listening.Listen(1);
        using var sending = from.Run(() => new Socket(destination.AddressFamily, SocketType.Stream, ProtocolType.Tcp));
        var taking = TakeAsync(listening, ends.Token);
        string? failure = null;
        var (sent, hash) = (0L, Array.Empty<byte>());
        try
        {
            (sent, hash) = await SendAsync(sending, destination, time, ends.Token);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException && !cancellation.IsCancellationRequested)
        {
            failure = $"the sender: {e.Message}";
            await ends.CancelAsync();
        }

        var (taken, takenHash, peer, pause, stopped) = await taking;
        return new TransferResult(sent, taken, hash.AsSpan().SequenceEqual(takenHash), peer, pause, failure ?? stopped);
    }

    private static async Task<(long Octets, byte[] Hash)> SendAsync(Socket socket, IPEndPoint destination, TimeSpan time, CancellationToken cancellation)
    {
        await socket.ConnectAsync(destination, cancellation);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var (octets, start, chunk) = (0L, Stopwatch.GetTimestamp(), new byte[Chunk]);
        while (Stopwatch.GetElapsedTime(start) < time)
        {
            RandomNumberGenerator.Fill(chunk);
            hash.AppendData(chunk);
            for (var at = 0; at < chunk.Length;)
            {
                at += await socket.SendAsync(chunk.AsMemory(at), cancellation);
            }

            octets += chunk.Length;
            await Task.Delay(s_interval, cancellation);
        }

        socket.Shutdown(SocketShutdown.Send);
        return (octets, hash.GetHashAndReset());
    }

    private static async Task<(long Octets, byte[] Hash, IPEndPoint? From, TimeSpan Pause, string? Failure)> TakeAsync(Socket listening, CancellationToken cancellation)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var (octets, pause, buffer) = (0L, TimeSpan.Zero, new byte[65536]);
        IPEndPoint? from = null;
        try
        {
            using var socket = await listening.AcceptAsync(cancellation);
            from = (IPEndPoint)socket.RemoteEndPoint!;
            for (var last = Stopwatch.GetTimestamp(); ; last = Stopwatch.GetTimestamp())
            {
                var length = await socket.ReceiveAsync(buffer, cancellation);
                pause = Stopwatch.GetElapsedTime(last) is var waited && waited > pause ? waited : pause;
                if (length == 0)
                {
                    return (octets, hash.GetHashAndReset(), from, pause, null);
                }

                hash.AppendData(buffer, 0, length);
                octets += length;
            }
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            return (octets, hash.GetHashAndReset(), from, pause, $"the taking host: {e.Message}");
        }
    }
}
