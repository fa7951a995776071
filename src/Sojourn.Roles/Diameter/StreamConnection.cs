using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Threading.Channels;

namespace Sojourn.Roles.Diameter;

/// <summary>One connection: a bounded queue towards the peer and a reader.</summary>
internal sealed class StreamConnection(long id, IPEndPoint remote, Socket socket, int maximumQueued)
{
    private const int ReadSize = 16 * 1024;

    private readonly Channel<ReadOnlyMemory<byte>> _queue = Channel.CreateUnbounded<ReadOnlyMemory<byte>>(new UnboundedChannelOptions { SingleReader = true });
    private readonly CancellationTokenSource _end = new();
    private readonly TaskCompletionSource _finished = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _queued;
    private volatile bool _closing;
    private volatile bool _announced;

    public long Id { get; } = id;

    public IPEndPoint Remote { get; } = remote;

    public Socket Socket { get; } = socket;

    public CancellationToken Token => _end.Token;

    /// <summary>The engine has closed it.</summary>
    public bool IsClosing => _closing;

    /// <summary>The engine has been told that it is up.</summary>
    public bool IsAnnounced
    {
        get => _announced;
        set => _announced = value;
    }

    /// <summary>Ends when nothing will be written any more.</summary>
    public Task Finished => _finished.Task;

    /// <returns>False when more is queued than the peer may leave unread.</returns>
    public bool Send(ReadOnlyMemory<byte> data)
    {
        if (_closing)
        {
            return true;
        }

        if (Interlocked.Add(ref _queued, data.Length) > maximumQueued)
        {
            return false;
        }

        _queue.Writer.TryWrite(data);
        return true;
    }

    /// <summary>Writes what is queued, then ends; or ends when that takes too long, or the connection is not up yet.</summary>
    public void CloseGracefully(TimeSpan timeout)
    {
        if (_closing)
        {
            return;
        }

        _closing = true;
        _queue.Writer.TryComplete();
        _end.CancelAfter(_announced ? timeout : TimeSpan.Zero);
    }

    public void Abort()
    {
        _queue.Writer.TryComplete();
        _end.Cancel();
        _finished.TrySetResult();
        Socket.Dispose();
    }

    public async Task WriteAsync(Stream stream)
    {
        try
        {
            var batch = new byte[ReadSize];
            while (await _queue.Reader.WaitToReadAsync(_end.Token).ConfigureAwait(false))
            {
                while (_queue.Reader.TryRead(out var data))
                {
                    // Small messages that wait together leave together: one TLS record and one segment for many.
                    var filled = 0;
                    if (data.Length <= batch.Length)
                    {
                        data.CopyTo(batch);
                        filled = data.Length;
                        while (_queue.Reader.TryPeek(out var more) && filled + more.Length <= batch.Length && _queue.Reader.TryRead(out more))
                        {
                            more.CopyTo(batch.AsMemory(filled));
                            filled += more.Length;
                        }

                        data = batch.AsMemory(0, filled);
                    }

                    await stream.WriteAsync(data, _end.Token).ConfigureAwait(false);
                    Interlocked.Add(ref _queued, -data.Length);
                }
            }

            if (stream is SslStream tls)
            {
                await EndSessionAsync(tls).ConfigureAwait(false);
            }

            Socket.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or ObjectDisposedException or InvalidOperationException)
        {
            // The reader sees the same end and reports it.
        }
        finally
        {
            _finished.TrySetResult();
            if (_closing)
            {
                // Everything is out. The peer gets a moment to close its side, so that no reset overtakes the last message.
                _end.CancelAfter(TimeSpan.FromSeconds(1));
            }
            else
            {
                await _end.CancelAsync().ConfigureAwait(false);
            }
        }
    }

    /// <summary>
    /// Sends close_notify where there is still a session to end. For one that the peer broke SslStream lets through what its TLS library
    /// says, in exceptions without a public type; there is nobody left to tell then.
    /// </summary>
    private static async Task EndSessionAsync(SslStream tls)
    {
        try
        {
            await tls.ShutdownAsync().ConfigureAwait(false);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
        }
    }

    /// <returns>Why reading ended.</returns>
    public async Task<string> ReadAsync(Stream stream, Action<ReadOnlyMemory<byte>> received)
    {
        var buffer = new byte[ReadSize];
        try
        {
            while (true)
            {
                var count = await stream.ReadAsync(buffer, _end.Token).ConfigureAwait(false);
                if (count == 0)
                {
                    return "closed by peer";
                }

                received(buffer.AsSpan(0, count).ToArray());
            }
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or ObjectDisposedException)
        {
            return e is OperationCanceledException ? "writing failed" : e.Message;
        }
    }
}
