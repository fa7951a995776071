using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using Sojourn.Engine;
using Sojourn.Engine.TlsCarrier;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Diameter;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.TlsGateways;

/// <summary>
/// Role tls-gateway (spec terminal TM-P24): joins an inner network to the IP network. The TLS sessions of terminals end here, what is in
/// them goes on into the inner network; what is protected inside stays so. Mobile IP passes it as it would any router.
/// </summary>
public sealed class TlsGatewayRole : Role
{
    private readonly TlsGatewaySection _section;
    private readonly TlsGateway _gateway;
    private readonly CarrierTable<TerminalConnection> _table;
    private readonly TlsCredentials _identity;
    private TlsGatewayPort? _port;

    /// <exception cref="CryptographicException">A file of <c>tls</c> does not hold what it should.</exception>
    public TlsGatewayRole(NodeOptions node)
    {
        _section = node.TlsGateway!;
        _identity = TlsCredentials.FromPemFiles(_section.Tls.CertificateFile.FullPath, _section.Tls.KeyFile.FullPath, _section.Tls.CaFile.FullPath);
        _gateway = new TlsGateway(TerminalsOf(_section));
        _table = new CarrierTable<TerminalConnection>(_section.InnerNetworks);
    }

    public override IEngine Engine => _gateway;

    public override IReadOnlyDictionary<string, long> PacketCounters => _table.Counters;

    /// <summary>A row for each terminal that has a session: its first address inside, and where it is.</summary>
    public override IReadOnlyList<SessionRow> Sessions() =>
    [
        .. _gateway.Sessions.OrderBy(s => s.Terminal.Name, StringComparer.Ordinal).Select(s => new SessionRow(
            NameOf(s), s.Terminal.Name, s.Terminal.Prefixes[0].BaseAddress, s.Remote.Address, null, s.Ends, 0, "established")),
    ];

    public override IReadOnlyList<EngineCommand> Clear(string? session, string? nai, IPAddress? homeAddress) =>
    [
        .. _gateway.Sessions
            .Where(s => (session is null || session == NameOf(s)) && (nai is null || nai == s.Terminal.Name) && (homeAddress is null || s.Terminal.Prefixes.Any(p => p.Contains(homeAddress))))
            .Select(s => new EndTlsSession(s.Terminal.Name)),
    ];

    public override IEnumerable<IEffectPort> OpenPorts(Action<EngineInput> deliver, NodeServices services)
    {
        _port = new TlsGatewayPort(_section, CarrierTls.Server(SslStreamCertificateContext.Create(_identity.Certificate, _identity.Intermediates, offline: true), _identity.TrustAnchors), _table, deliver, services);
        yield return _port;
    }

    /// <exception cref="IOException">An address cannot be bound.</exception>
    public override void Start() => _port!.Listen();

    /// <summary>The list of terminals.</summary>
    public override void Reconfigure(NodeOptions options, DateTimeOffset now, EffectSink effects)
    {
        var terminals = TerminalsOf(options.TlsGateway!);
        _gateway.Replace(terminals, effects);
        _port!.Carry(terminals.SelectMany(t => t.Prefixes));
    }

    public override void Dispose()
    {
        _identity.Dispose();
        base.Dispose();
    }

    private static string NameOf(TlsSessionState session) => FormattableString.Invariant($"tls/{session.Connection}");

    private static CarriedTerminal[] TerminalsOf(TlsGatewaySection section) => [.. section.Terminals.Select(t => new CarriedTerminal(t.Name, t.Addresses))];
}
