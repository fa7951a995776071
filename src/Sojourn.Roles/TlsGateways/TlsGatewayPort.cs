using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Engine.TlsCarrier;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Diameter;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.TlsGateways;

/// <summary>A terminal's connection: packets for it, and its end.</summary>
internal sealed class TerminalConnection(long number)
{
    private readonly TaskCompletionSource _admitted = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _end = new();

    public long Number { get; } = number;

    public CarrierQueue Queue { get; } = new();

    public CancellationToken Ended => _end.Token;

    /// <summary>Ends when the engine has taken the session.</summary>
    public Task Admitted => _admitted.Task;

    public void Admit() => _admitted.TrySetResult();

    public void End() => _end.Cancel();
}

/// <summary>Listeners, TLS sessions and virtual device of a gateway. What is in the sessions never reaches the engine's thread.</summary>
internal sealed class TlsGatewayPort : IEffectPort, IDisposable
{
    private const int Backlog = 512;

    private readonly TlsGatewaySection _section;
    private readonly SslServerAuthenticationOptions _tls;
    private readonly CarrierTable<TerminalConnection> _table;
    private readonly CarriedPrefixDevice _device;
    private readonly Action<EngineInput> _deliver;
    private readonly NodeServices _services;
    private readonly List<Socket> _listeners = [];
    private readonly ConcurrentDictionary<long, TerminalConnection> _connections = [];
    private readonly CancellationTokenSource _stop = new();
    private long _numbers;
    private int _open;
    private long _lastRefusal;

    /// <exception cref="IOException">The system refuses the virtual device or its routes.</exception>
    public TlsGatewayPort(TlsGatewaySection section, SslServerAuthenticationOptions tls, CarrierTable<TerminalConnection> table, Action<EngineInput> deliver, NodeServices services)
    {
        (_section, _tls, _table, _deliver, _services) = (section, tls, table, deliver, services);
        _device = new CarriedPrefixDevice(section.Device, section.Mtu, section.InnerLinks, section.Terminals.SelectMany(t => t.Addresses));
        _device.Start(ToTerminal);
    }

    /// <summary>Accepts connections from now on.</summary>
    /// <exception cref="IOException">An address cannot be bound.</exception>
    public void Listen()
    {
        foreach (var end in _section.Listen)
        {
            var listener = new Socket(end.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            _listeners.Add(listener);
            try
            {
                listener.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
                listener.Bind(end);
                listener.Listen(Backlog);
            }
            catch (SocketException e)
            {
                throw new IOException($"cannot listen on {end}: {e.Message}", e);
            }

            _ = AcceptAsync(listener);
        }
    }

    /// <summary>Takes what comes by the inner links for these prefixes.</summary>
    public void Carry(IEnumerable<IPNetwork> prefixes) => _device.Replace(prefixes);

    public bool TryCarryOut(Effect effect)
    {
        switch (effect)
        {
            case CarryPackets carry:
                if (_connections.TryGetValue(carry.Connection, out var taken))
                {
                    _table.Add(taken, carry.Terminal.Prefixes);
                    taken.Admit();
                }

                return true;
            case CloseConnection close:
                if (_connections.TryRemove(close.Connection, out var closed))
                {
                    _table.Remove(closed);
                    closed.End();
                }

                return true;
            default:
                return false;
        }
    }

    public void Dispose()
    {
        _stop.Cancel();
        foreach (var listener in _listeners)
        {
            listener.Dispose();
        }

        foreach (var connection in _connections.Values)
        {
            connection.End();
        }

        _device.Dispose();
    }

    private async Task AcceptAsync(Socket listener)
    {
        while (!_stop.IsCancellationRequested)
        {
            Socket socket;
            try
            {
                socket = await listener.AcceptAsync(_stop.Token).ConfigureAwait(false);
            }
            catch (SocketException)
            {
                // The peer went before it was accepted, or there are no descriptors left for a moment.
                await Task.Delay(10).ConfigureAwait(false);
                continue;
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }

            if (Interlocked.Increment(ref _open) > _section.MaximumConnections)
            {
                Interlocked.Decrement(ref _open);
                _services.Count("tls.connection.too_many", 1);
                socket.Dispose();
                continue;
            }

            _ = ServeAsync(socket);
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        var remote = (IPEndPoint)socket.RemoteEndPoint!;
        try
        {
            CarrierStream.Prepare(socket);
            await using var tls = new SslStream(new NetworkStream(socket, ownsSocket: true));
            using (var limit = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token))
            {
                limit.CancelAfter(CarrierStream.HandshakeLimit);
                await tls.AuthenticateAsServerAsync(_tls, limit.Token).ConfigureAwait(false);
            }

            await CarryAsync(tls, remote).ConfigureAwait(false);
        }
        catch (Exception e) when (e is AuthenticationException or IOException or SocketException or OperationCanceledException or ObjectDisposedException)
        {
            Refused(remote, e is OperationCanceledException ? "it does not come to an end" : e.InnerException?.Message ?? e.Message);
        }
        finally
        {
            Interlocked.Decrement(ref _open);
        }
    }

    private async Task CarryAsync(SslStream tls, IPEndPoint remote)
    {
        var certificate = (X509Certificate2)tls.RemoteCertificate!;
        var connection = new TerminalConnection(Interlocked.Increment(ref _numbers));
        _connections[connection.Number] = connection;
        _deliver(new TlsSessionOpened(connection.Number, remote, DiameterTls.NamesOf(certificate), certificate.NotAfter.ToUniversalTime()));
        var reason = "not taken";
        try
        {
            await connection.Admitted.WaitAsync(connection.Ended).ConfigureAwait(false);
            reason = await CarrierStream.CarryAsync(tls, connection.Queue, packet => FromTerminal(connection, packet), connection.Ended).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // The engine does not want it.
        }
        finally
        {
            _deliver(new ConnectionClosed(connection.Number, reason));
        }
    }

    private void FromTerminal(TerminalConnection connection, ReadOnlySpan<byte> packet)
    {
        if (_table.FromTerminal(connection, packet) == CarriedVerdict.Forward && !_device.Write(packet))
        {
            _services.Count("tls.carrier.write_failed", 1);
        }
    }

    private void ToTerminal(ReadOnlySpan<byte> packet)
    {
        if (_table.ToTerminal(packet) is { } connection && !connection.Queue.Add(packet))
        {
            _services.Count("tls.carrier.queue_full", 1);
        }
    }

    /// <summary>Counts every handshake that fails and reports at most one a second, so that nobody can fill the log.</summary>
    private void Refused(IPEndPoint remote, string reason)
    {
        if (_stop.IsCancellationRequested)
        {
            return;
        }

        _services.Count("tls.handshake.failed", 1);
        var (now, last) = (_services.Time.GetTimestamp(), Interlocked.Read(ref _lastRefusal));
        if ((last == 0 || _services.Time.GetElapsedTime(last, now) >= TimeSpan.FromSeconds(1)) && Interlocked.CompareExchange(ref _lastRefusal, now, last) == last)
        {
            _services.Report(new EngineEvent("tls.handshake.failed", EventSeverity.Warning, $"the TLS handshake with {remote.Address} failed: {reason}") { Peer = remote.ToString(), Rule = "TM-S9" });
        }
    }
}
