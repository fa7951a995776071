using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Interception;
using Sojourn.Engine;
using Sojourn.Engine.Access;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal;
using Sojourn.Roles.Enrolment;
using Sojourn.Roles.Hosting;
using Sojourn.Roles.KeyExchange;
using Sojourn.Wire.Cmp;

namespace Sojourn.Roles.Terminals;

/// <param name="Eapol">The links have supplicants.</param>
/// <param name="Mtu">Of the TUN device.</param>
/// <param name="EspKeys">Wireshark's esp_sa file; null = no export.</param>
/// <param name="IkeKeys">Wireshark's ikev2_decryption_table.</param>
/// <param name="StateFolder">Where it is kept what the links had before the terminal took them.</param>
/// <param name="Excluded">What of the host's traffic never comes to the terminal.</param>
/// <param name="HostSide">Told home and care-of address once the device has them.</param>
internal sealed record TerminalPortOptions(
    IReadOnlyList<string> Links, bool Eapol, string Device, int Mtu, string? EspKeys, string? IkeKeys, string? StateFolder, IReadOnlyList<IPNetwork> Excluded, Action<IPAddress?, IPAddress?>? HostSide = null);

/// <summary>Frames of the access links, packets of the applications, addresses, credential store and enrolment of a terminal.</summary>
internal sealed class TerminalPort : IEffectPort, IDisposable
{
    private static readonly TimeSpan s_fetchLimit = TimeSpan.FromSeconds(5);

    private readonly Dictionary<string, AccessLinkSocket> _links = [];
    private readonly Dictionary<string, EapolSocket> _eapol = [];
    private readonly HostDevice _device;
    private readonly TerminalPortOptions _options;
    private readonly TerminalCredentials _credentials;
    private readonly Action<EngineInput> _deliver;
    private readonly NodeServices _services;
    private readonly CancellationTokenSource _stop = new();
    private readonly HashSet<uint> _exported = [];
    private readonly IkeKeyExport? _ikeKeys;
    private IPAddress? _careOf;

    public TerminalPort(TerminalPortOptions options, TerminalCredentials credentials, Action<EngineInput> deliver, NodeServices services)
    {
        _options = options;
        _credentials = credentials;
        _deliver = deliver;
        _services = services;
        _ikeKeys = options.IkeKeys is { } file ? new IkeKeyExport(file, services.Report) : null;
        try
        {
            foreach (var name in options.Links)
            {
                _links.Add(name, new AccessLinkSocket(name, (source, packet, segmentSize) => deliver(new Ipv6PacketReceived(packet, name, source) { SegmentSize = segmentSize }), options.StateFolder));
                if (options.Eapol)
                {
                    _eapol.Add(name, new EapolSocket(name, (source, frame) => deliver(new EapolReceived(name, source, frame))));
                }
            }

            _device = new HostDevice(options.Device, options.Mtu, (packet, segmentSize) => deliver(new HostPacketSent(packet) { SegmentSize = segmentSize }), options.Excluded);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public bool TryCarryOut(Effect effect)
    {
        switch (effect)
        {
            case SendIpv6Packet { Interface: { } name, LinkDestination: { } destination } sent when _links.TryGetValue(name, out var link):
                if (!link.Send(destination, sent.Packet, sent.SegmentSize))
                {
                    _services.Count("terminal.link.send_failed", 1);
                }

                return true;
            case SendEapol sent when _eapol.TryGetValue(sent.Interface, out var eapol):
                if (!eapol.Send(sent.Destination, sent.Frame.Span))
                {
                    _services.Count("terminal.link.send_failed", 1);
                }

                return true;
            case DeliverToHost delivered:
                if (!_device.Deliver(delivered.Packet.Span, delivered.SegmentSize))
                {
                    _services.Count("terminal.host.deliver_failed", 1);
                }

                return true;
            case ConfigureHostSide side:
                _careOf = side.CareOfAddress;
                try
                {
                    _device.Configure(side.HomeAddress, side.CareOfAddress, side.VirtualAddress, side.RegionalAddress);
                    _options.HostSide?.Invoke(side.HomeAddress, side.CareOfAddress);
                }
                catch (IOException e)
                {
                    _services.Report(new EngineEvent("host.not_configured", EventSeverity.Error, $"the system refuses an address or route of {_device.Name}: {e.Message}"));
                }

                return true;
            case OpenCredentials:
                _deliver(_credentials.Open());
                return true;
            case Enrol enrol:
                _ = EnrolAsync(enrol.CareOfAddress);
                return true;
            case RenewCertificate renew:
                _ = RenewAsync(renew.CareOfAddress);
                return true;
            case FetchCertificate fetch:
                _ = FetchAsync(fetch, _careOf);
                return true;
            case ChildSaUp up:
                Export(up.Sa);
                return true;
            case IkeKeysDerived:
                return _ikeKeys is null || _ikeKeys.TryCarryOut(effect);
            case IkeSaUp:
                return true;
            default:
                return false;
        }
    }

    public void Dispose()
    {
        _stop.Cancel();
        foreach (var link in _links.Values)
        {
            link.Dispose();
        }

        foreach (var eapol in _eapol.Values)
        {
            eapol.Dispose();
        }

        _device?.Dispose();
        _stop.Dispose();
    }

    private async Task EnrolAsync(IPAddress careOf)
    {
        try
        {
            _deliver(new EnrolmentEnded(await _credentials.EnrolAsync(careOf, _stop.Token).ConfigureAwait(false)));
        }
        catch (OperationCanceledException)
        {
            // The node ends.
        }
    }

    private async Task RenewAsync(IPAddress careOf)
    {
        try
        {
            _deliver(new EnrolmentEnded(await _credentials.RenewAsync(careOf, _stop.Token).ConfigureAwait(false)));
        }
        catch (OperationCanceledException)
        {
            // The node ends.
        }
    }

    /// <summary>The engine has looked whether the host is allowed, and compares the hash.</summary>
    private async Task FetchAsync(FetchCertificate fetch, IPAddress? careOf)
    {
        byte[]? certificate = null;
        try
        {
            using var http = LocalHttp.Client(careOf, s_fetchLimit, CmpLimits.Message);
            certificate = await http.GetByteArrayAsync(fetch.Url, _stop.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or SocketException or OperationCanceledException)
        {
            _services.Count("terminal.certificate_not_fetched", 1);
        }

        if (!_stop.IsCancellationRequested)
        {
            _deliver(new CertificateFetched(fetch.Request, certificate));
        }
    }

    /// <summary>Both directions as Wireshark's table has them; in transport mode the addresses on the wire are the care-of address's, so any will do.</summary>
    private void Export(ChildSa child)
    {
        if (_options.EspKeys is not { } path)
        {
            return;
        }

        foreach (var association in new[] { child.Inbound, child.Outbound }.Where(a => _exported.Add(a.Spi)))
        {
            try
            {
                KeyFile.Append(path, EspKeyExport.TransportLine(association));
            }
            catch (IOException e)
            {
                _services.Report(new EngineEvent("ike.keys_not_exported", EventSeverity.Warning, e.Message));
            }
        }
    }
}
