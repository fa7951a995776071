// Readings (spec terminal A-33):
// - "Bound to the home address when registered with a home agent that is reachable through the gateway" shows in the attempt: where no
//   session comes about from the home address, the next attempt is from the care-of address, and so on in turn.
// - A session ends when its own address is gone. One from the home address stands through moves; one from the care-of address is
//   opened anew from the next, and TLS resumes it by its ticket.
using System.Diagnostics;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Sojourn.DataPath.Interception;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Enrolment;
using Sojourn.Roles.Hosting;
using Sojourn.Roles.TlsGateways;

namespace Sojourn.Roles.Terminals;

/// <summary>
/// A terminal's end of the TLS session with a gateway before an inner network (spec terminal TM-P14): application 16 of the guest. What
/// the host's applications send to that network goes through the session, and nowhere else while there is none.
/// </summary>
internal sealed class TlsCarrierClient : IDisposable
{
    private static readonly TimeSpan s_firstPause = TimeSpan.FromSeconds(0.5), s_longestPause = TimeSpan.FromSeconds(30);

    /// <summary>A gateway that does not want this terminal says so behind the handshake (RFC 8446 4.4.2.4): such a session is no success.</summary>
    private static readonly TimeSpan s_longEnough = TimeSpan.FromSeconds(5);

    private readonly TerminalTlsGatewaySection _section;
    private readonly TerminalCredentials _credentials;
    private readonly X509Certificate2Collection? _authorities;
    private readonly NodeServices _services;
    private readonly CarriedNetworkDevice _device;
    private readonly NetworkNamespace _network = NetworkNamespace.Current();
    private readonly CarrierQueue _queue = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _gate = new();
    private readonly Task _running;
    private CancellationTokenSource _change = new();
    private IPAddress? _home, _careOf, _local;
    private volatile string _state = "no-address";
    private string? _told;

    /// <param name="outer">Device that the gateway is reached by.</param>
    /// <exception cref="IOException">The system refuses the virtual device or its routes.</exception>
    public TlsCarrierClient(TerminalTlsGatewaySection section, string outer, TerminalCredentials credentials, NodeServices services)
    {
        (_section, _credentials, _services) = (section, credentials, services);
        if (section.CaFile is { } file)
        {
            _authorities = [];
            _authorities.ImportFromPemFile(file.FullPath);
        }

        _device = new CarriedNetworkDevice(section.Device, section.Mtu, section.Networks, (section.Gateway.Address, outer), section.Address, FromHost);
        _running = Task.Run(RunAsync);
    }

    /// <summary>The gateway's name, address inside, address that the session is bound to, gateway. Any thread.</summary>
    public SessionRow Session
    {
        get
        {
            lock (_gate)
            {
                return new SessionRow("tls-gateway", _section.Name, _section.Address ?? _home, _local, _section.Gateway.Address, null, 0, _state);
            }
        }
    }

    /// <summary>The host's side has these addresses now.</summary>
    /// <exception cref="IOException">The system refuses a route.</exception>
    public void Configure(IPAddress? home, IPAddress? careOf)
    {
        lock (_gate)
        {
            (_home, _careOf) = (home, careOf);
            if (_local is null || !(_local.Equals(home) || _local.Equals(careOf)))
            {
                _change.Cancel();
                _change = new CancellationTokenSource();
            }
        }

        _device.UseSource(home);
    }

    public void Dispose()
    {
        _stop.Cancel();
        _running.Wait(TimeSpan.FromSeconds(2));
        _device.Dispose();
        _network.Dispose();
    }

    private void FromHost(ReadOnlySpan<byte> packet)
    {
        if (!_queue.Add(packet))
        {
            _services.Count("tls.carrier.queue_full", 1);
        }
    }

    private void FromGateway(ReadOnlySpan<byte> packet)
    {
        if (!_device.Deliver(packet))
        {
            _services.Count("terminal.host.deliver_failed", 1);
        }
    }

    private async Task RunAsync()
    {
        var failures = 0;
        while (!_stop.IsCancellationRequested)
        {
            var (local, change) = Next(failures);
            using var attempt = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token, change);
            if (local is null)
            {
                _state = "no-address";
                await WaitAsync(Timeout.InfiniteTimeSpan, attempt.Token).ConfigureAwait(false);
                continue;
            }

            var begun = Stopwatch.GetTimestamp();
            var stood = await TryAsync(local, attempt.Token).ConfigureAwait(false) && Stopwatch.GetElapsedTime(begun) > s_longEnough;
            failures = stood || change.IsCancellationRequested ? 0 : failures + 1;
            if (failures > 0)
            {
                _state = "waits";
                await WaitAsync(Pause(failures), attempt.Token).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Where the next attempt is made from, and what tells that the address is gone.</summary>
    private (IPAddress? Local, CancellationToken Change) Next(int failures)
    {
        lock (_gate)
        {
            _local = _section.Binds switch
            {
                TlsSessionAddress.HomeAddress => _home,
                TlsSessionAddress.CareOfAddress => _careOf,
                _ => failures % 2 == 0 ? _home ?? _careOf : _careOf ?? _home,
            };
            return (_local, _change.Token);
        }
    }

    /// <summary>Opens a session and carries packets in it until it ends.</summary>
    /// <returns>False when none came about.</returns>
    private async Task<bool> TryAsync(IPAddress local, CancellationToken cancellation)
    {
        _state = "connecting";
        string? objection = null;
        var up = false;
        try
        {
            using var identity = _credentials.ForTls();
            if (identity is null)
            {
                Failed("there is no certificate yet");
                return false;
            }

            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            limit.CancelAfter(CarrierStream.HandshakeLimit);
            using var socket = _network.Run(() => new Socket(AddressFamily.InterNetworkV6, SocketType.Stream, ProtocolType.Tcp));
            CarrierStream.Prepare(socket);
            socket.Bind(new IPEndPoint(local, 0));
            await socket.ConnectAsync(_section.Gateway, limit.Token).ConfigureAwait(false);
            await using var tls = new SslStream(new NetworkStream(socket, ownsSocket: false));
            var own = SslStreamCertificateContext.Create(identity.Certificate, identity.Intermediates, offline: true);
            await tls.AuthenticateAsClientAsync(CarrierTls.Client(_section.Name, own, _authorities ?? identity.Authorities, text => objection = text), limit.Token).ConfigureAwait(false);
            limit.CancelAfter(Timeout.InfiniteTimeSpan);
            (up, _state, _told) = (true, "established", null);
            Say("tls.session.up", EventSeverity.Information, $"the session with {_section.Name} at {_section.Gateway.Address} stands, from {local}");
            var reason = await CarrierStream.CarryAsync(tls, _queue, FromGateway, cancellation).ConfigureAwait(false);
            Say("tls.session.down", EventSeverity.Information, $"the session with {_section.Name} from {local} is over: {reason}");
        }
        catch (Exception e) when (e is AuthenticationException or IOException or SocketException or OperationCanceledException or ObjectDisposedException or CredentialStoreException)
        {
            if (!cancellation.IsCancellationRequested)
            {
                Failed(objection ?? (e is OperationCanceledException ? $"the gateway does not answer {local}" : e.InnerException?.Message ?? e.Message));
            }
        }

        return up;
    }

    private TimeSpan Pause(int failures)
    {
        var pause = s_firstPause * (1 << Math.Min(failures - 1, 10));
        pause = pause < s_longestPause ? pause : s_longestPause;

        // Terminals that lost one gateway together do not come back together.
        return pause * (0.75 + (_services.Random.NextUInt32() / (2.0 * uint.MaxValue)));
    }

    private static async Task WaitAsync(TimeSpan time, CancellationToken cancellation) => await Task.Delay(time, cancellation).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

    /// <summary>Counts every failure, and tells of it when it is another than the last.</summary>
    private void Failed(string reason)
    {
        _services.Count("tls.session.failed", 1);
        if (reason != _told)
        {
            _told = reason;
            Say("tls.session.failed", EventSeverity.Warning, $"no session with {_section.Name} at {_section.Gateway}: {reason}");
        }
    }

    private void Say(string kind, EventSeverity severity, string text) => _services.Report(new EngineEvent(kind, severity, text) { Peer = _section.Gateway.ToString(), Rule = "TM-P14" });
}
