using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using Sojourn.Engine;

namespace Sojourn.Roles.Diameter;

/// <summary>
/// Carries out the connection effects of a Diameter engine over TCP and TLS and hands what happens to a callback, from
/// any thread, in order per connection. The callback only takes the input over; it must not throw. No callback comes for a connection the engine has closed, and none after
/// <see cref="DisposeAsync"/>.
/// </summary>
public sealed class DiameterTransport : IAsyncDisposable
{
    private readonly DiameterTransportOptions _options;
    private readonly Action<EngineInput> _deliver;
    private readonly DiameterTls? _tls;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<long, StreamConnection> _connections = new();
    private readonly ConcurrentDictionary<IPAddress, int> _perSource = new();
    private readonly ConcurrentDictionary<Task, byte> _tasks = new();
    private readonly List<Socket> _listeners = [];
    private readonly SemaphoreSlim _handshakes;
    private long _lastAccepted;
    private long _refused;
    private int _accepted;

    /// <exception cref="ArgumentException">TLS without an identity, or plain TCP that is not allowed.</exception>
    public DiameterTransport(DiameterTransportOptions options, Action<EngineInput> deliver)
    {
        if (options.Tls is null && options.Listeners.Any(l => l.Secured))
        {
            throw new ArgumentException("a listener with TLS needs a certificate", nameof(options));
        }

        if (!options.AllowPlainTcp && options.Listeners.Any(l => !l.Secured))
        {
            throw new ArgumentException("plain TCP is not allowed", nameof(options));
        }

        _options = options;
        _deliver = deliver;
        _tls = options.Tls is null ? null : new DiameterTls(options.Tls);
        _handshakes = new SemaphoreSlim(options.MaximumHandshakes);
    }

    /// <summary>Where it listens in fact, in the order of the options (port 0 takes a free one).</summary>
    public IReadOnlyList<IPEndPoint> EndPoints { get; private set; } = [];

    public int Connections => _connections.Count;

    /// <summary>Accepted connections closed at once because of a limit or a failed handshake.</summary>
    public long Refused => Interlocked.Read(ref _refused);

    /// <exception cref="SocketException">An address cannot be bound.</exception>
    public void Start()
    {
        foreach (var listener in _options.Listeners)
        {
            var socket = new Socket(listener.EndPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            _listeners.Add(socket);
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            socket.Bind(listener.EndPoint);
            socket.Listen(256);
        }

        EndPoints = [.. _listeners.Select(l => (IPEndPoint)l.LocalEndPoint!)];
        for (var i = 0; i < _listeners.Count; i++)
        {
            Run(AcceptAsync(_listeners[i], _options.Listeners[i].Secured));
        }
    }

    /// <summary>Carries out an effect that concerns connections.</summary>
    /// <returns>False for every other effect.</returns>
    public bool TryCarryOut(Effect effect)
    {
        switch (effect)
        {
            case OpenConnection open:
                Open(open);
                return true;
            case SendBytes send:
                if (_connections.TryGetValue(send.Connection, out var connection) && !connection.Send(send.Data))
                {
                    // Never from inside the call: the engine may be carrying out its effects.
                    Run(Task.Run(() => Lose(connection, "the peer reads too slowly")));
                }

                return true;
            case CloseConnection close:
                if (_connections.TryGetValue(close.Connection, out var closing))
                {
                    closing.CloseGracefully(_options.CloseTimeout);
                }

                return true;
            default:
                return false;
        }
    }

    /// <summary>Stops listening, writes what is queued on closed connections, ends the others.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_stop.IsCancellationRequested)
        {
            return;
        }

        foreach (var listener in _listeners)
        {
            listener.Dispose();
        }

        var closing = _connections.Values.Where(c => c.IsClosing).Select(c => c.Finished).ToArray();
        await Task.WhenAny(Task.WhenAll(closing), Task.Delay(_options.CloseTimeout)).ConfigureAwait(false);
        await _stop.CancelAsync().ConfigureAwait(false);
        foreach (var connection in _connections.Values)
        {
            connection.Abort();
        }

        await Task.WhenAll(_tasks.Keys).ConfigureAwait(false);
        _handshakes.Dispose();
        _stop.Dispose();
    }

    private void Open(OpenConnection open)
    {
        if (open.Secured ? _tls is null : !_options.AllowPlainTcp)
        {
            Run(Task.Run(() => Deliver(new ConnectionClosed(open.Connection, open.Secured ? "no certificate is configured" : "plain TCP is not allowed"))));
            return;
        }

        var socket = new Socket(open.Remote.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        var connection = new StreamConnection(open.Connection, open.Remote, socket, _options.MaximumQueuedOctets);
        _connections[open.Connection] = connection;
        Run(DialAsync(connection, open));
    }

    private async Task DialAsync(StreamConnection connection, OpenConnection open)
    {
        await Task.Yield();
        try
        {
            using var timeout = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token, connection.Token);
            timeout.CancelAfter(_options.HandshakeTimeout);
            await connection.Socket.ConnectAsync(open.Remote, timeout.Token).ConfigureAwait(false);
            Stream stream = new NetworkStream(connection.Socket, ownsSocket: true);
            IReadOnlyList<string> names = [];
            if (open.Secured)
            {
                var tls = new SslStream(stream, leaveInnerStreamOpen: false);
                stream = tls;
                await tls.AuthenticateAsClientAsync(_tls!.Client(open.PeerName), timeout.Token).ConfigureAwait(false);
                names = DiameterTls.NamesOf(tls.RemoteCertificate);
            }

            await CarryAsync(connection, stream, open.Secured, names).ConfigureAwait(false);
        }
        catch (Exception e) when (IsExpected(e))
        {
            Lose(connection, Reason(e));
        }
    }

    private async Task AcceptAsync(Socket listener, bool secured)
    {
        await Task.Yield();
        while (!_stop.IsCancellationRequested)
        {
            Socket socket;
            try
            {
                socket = await listener.AcceptAsync(_stop.Token).ConfigureAwait(false);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException)
            {
                // Out of descriptors, or the caller has gone already. Do not spin on the first.
                await Task.Delay(50).ConfigureAwait(false);
                continue;
            }

            var remote = (IPEndPoint)socket.RemoteEndPoint!;
            if (!Admit(remote.Address))
            {
                Refuse(remote, "too many connections");
                socket.Dispose();
                continue;
            }

            socket.NoDelay = true;
            var connection = new StreamConnection(Interlocked.Decrement(ref _lastAccepted), remote, socket, _options.MaximumQueuedOctets);
            _connections[connection.Id] = connection;
            Run(ServeAsync(connection, secured));
        }
    }

    private void Refuse(IPEndPoint remote, string reason)
    {
        Interlocked.Increment(ref _refused);
        _options.Refused?.Invoke(remote, reason);
    }

    /// <summary>Counts an accepted connection; total, per source, and handshakes under way are limited.</summary>
    private bool Admit(IPAddress source)
    {
        if (Interlocked.Increment(ref _accepted) > _options.MaximumConnections)
        {
            Interlocked.Decrement(ref _accepted);
            return false;
        }

        var mine = _perSource.AddOrUpdate(source, 1, (_, n) => n + 1);
        if (mine > _options.MaximumConnectionsPerSource || !_handshakes.Wait(0))
        {
            Dismiss(source);
            return false;
        }

        return true;
    }

    private void Dismiss(IPAddress source)
    {
        Interlocked.Decrement(ref _accepted);
        if (_perSource.AddOrUpdate(source, 0, (_, n) => n - 1) == 0)
        {
            _perSource.TryRemove(new KeyValuePair<IPAddress, int>(source, 0));
        }
    }

    private async Task ServeAsync(StreamConnection connection, bool secured)
    {
        await Task.Yield();
        var inHandshake = true;
        try
        {
            Stream stream = new NetworkStream(connection.Socket, ownsSocket: true);
            IReadOnlyList<string> names = [];
            if (secured)
            {
                using var timeout = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token, connection.Token);
                timeout.CancelAfter(_options.HandshakeTimeout);
                var tls = new SslStream(stream, leaveInnerStreamOpen: false);
                stream = tls;
                await tls.AuthenticateAsServerAsync(_tls!.Server, timeout.Token).ConfigureAwait(false);
                names = DiameterTls.NamesOf(tls.RemoteCertificate);
            }

            _handshakes.Release();
            inHandshake = false;
            await CarryAsync(connection, stream, secured, names).ConfigureAwait(false);
        }
        catch (Exception e) when (IsExpected(e))
        {
            if (inHandshake)
            {
                Refuse(connection.Remote, Reason(e));
            }

            Lose(connection, Reason(e));
        }
        finally
        {
            if (inHandshake)
            {
                _handshakes.Release();
            }

            Dismiss(connection.Remote.Address);
        }
    }

    private async Task CarryAsync(StreamConnection connection, Stream stream, bool secured, IReadOnlyList<string> names)
    {
        await using (stream.ConfigureAwait(false))
        {
            Report(connection, new ConnectionOpened(connection.Id, connection.Remote, secured, names));
            connection.IsAnnounced = true;
            var writing = connection.WriteAsync(stream);
            var reason = await connection.ReadAsync(stream, data => Report(connection, new ConnectionReceived(connection.Id, data))).ConfigureAwait(false);
            Lose(connection, reason);
            await writing.ConfigureAwait(false);
        }
    }

    /// <summary>Ends a connection once, and tells the engine unless the engine ended it.</summary>
    private void Lose(StreamConnection connection, string reason)
    {
        if (!_connections.TryRemove(new KeyValuePair<long, StreamConnection>(connection.Id, connection)))
        {
            return;
        }

        connection.Abort();

        // An accepted connection that never finished its handshake was never announced either.
        if (!connection.IsClosing && (connection.Id > 0 || connection.IsAnnounced))
        {
            Deliver(new ConnectionClosed(connection.Id, reason));
        }
    }

    private void Report(StreamConnection connection, EngineInput input)
    {
        if (!connection.IsClosing)
        {
            Deliver(input);
        }
    }

    private void Deliver(EngineInput input)
    {
        if (!_stop.IsCancellationRequested)
        {
            _deliver(input);
        }
    }

    private void Run(Task task)
    {
        _tasks[task] = 0;
        _ = task.ContinueWith(t => _tasks.TryRemove(t, out _), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
    }

    private static bool IsExpected(Exception e) => e is IOException or SocketException or AuthenticationException or OperationCanceledException or ObjectDisposedException;

    private static string Reason(Exception e) => e switch
    {
        OperationCanceledException => "no connection in time",
        AuthenticationException { InnerException: { } inner } => $"TLS: {inner.Message}",
        AuthenticationException => $"TLS: {e.Message}",
        _ => e.Message,
    };
}
