using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Interception;
using Sojourn.DataPath.Netlink;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Engine.Access;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Radius;
using Sojourn.Roles.AccessServer;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Roles.KeyExchange;
using Sojourn.Roles.Queries;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Roles.AccessGateways;

/// <summary>
/// Role access-gateway (spec authentication P4): between visited and home network, lets only terminals through that have authenticated,
/// and asks for their home prefixes.
/// </summary>
public sealed class AccessGatewayRole : Role
{
    private const ushort EthernetHardware = 1;

    private readonly AccessGatewaySection _section;
    private readonly KeyExportOptions? _keyExport;
    private readonly AccessGateway _gateway;
    private readonly AccessPacketPath _path;
    private readonly TlsCredentials _identity;
    private readonly IPEndPoint _radius;
    private readonly TimeProvider _time;

    /// <exception cref="InvalidDataException">Certificate, key or secret cannot be read.</exception>
    /// <exception cref="System.Security.Cryptography.CryptographicException">A file of <c>identities.tls</c> does not hold what it should.</exception>
    /// <exception cref="IOException">The home link is not there.</exception>
    public AccessGatewayRole(NodeOptions node, NodeServices services)
    {
        (_section, _keyExport, _time) = (node.AccessGateway!, node.KeyExport, services.Time);
        var tls = _section.Identities.Tls;
        _identity = TlsCredentials.FromPemFiles(tls.CertificateFile.FullPath, tls.KeyFile.FullPath, tls.CaFile.FullPath);

        // One socket for all servers; the port is the system's choice, and 0 stands for it between engine and port.
        _radius = new IPEndPoint(_section.Servers[0].Address.AddressFamily == AddressFamily.InterNetworkV6 ? IPAddress.IPv6Any : IPAddress.Any, 0);
        var options = OptionsOf(node);
        _gateway = new AccessGateway(options, services.Random);
        _path = new AccessPacketPath(options, _section.Mtu, services.Random);
    }

    public override IEngine Engine => _gateway;

    public override IReadOnlyList<PathReport> Tunnels() => _path.Report(_time.GetUtcNow());

    public override IReadOnlyDictionary<string, long> PacketCounters => _path.Counters;

    /// <summary>A row for each terminal that asks for access or has it.</summary>
    public override IReadOnlyList<SessionRow> Sessions() =>
    [
        .. _gateway.Sessions.OrderBy(s => s.Identifier, StringComparer.Ordinal).ThenBy(s => s.IkeSa).Select(s => new SessionRow(
            $"access/{s.IkeSa}", s.Identifier.Length == 0 ? null : s.Identifier, s.RegionalAddress, s.Address, null, s.Until, 0, NameOf(s.Stage))),
    ];

    /// <summary>Local bindings of an anchor point (table D10): regional and on-link address.</summary>
    public override IReadOnlyList<BindingRow> Bindings() =>
    [
        .. _gateway.Bindings.OrderBy(b => b.Identifier, StringComparer.Ordinal).Select(b => new BindingRow(
            MobileTunnel.IdOf(b.HomeAddress).Owner, b.Identifier, b.HomeAddress, b.CareOfAddress, b.Expires, null, null, null, false)),
    ];

    /// <summary>Prefixes that were delegated to this gateway for its terminals.</summary>
    public override IReadOnlyList<LeaseRow> Leases() =>
    [
        .. _gateway.Associations.SelectMany(a => a.Leases.Select(lease => new LeaseRow(
            _gateway.Duid.ToString(), a.Key.Iaid, _gateway.IdentifierOf(a.Key.Iaid), lease.Prefix, a.Asking?.ToString().ToLowerInvariant() ?? "bound", _section.HomeLink, null, null,
            lease.PreferredUntil, lease.ValidUntil, a.RenewAt, a.RebindAt, null))),
    ];

    public override IReadOnlyList<EngineCommand> Clear(string? session, string? nai, IPAddress? homeAddress) =>
    [
        .. _gateway.Sessions.Where(s => s.Identifier.Length > 0 && (session is null || session == $"access/{s.IkeSa}") && (nai is null || nai == s.Identifier) && (homeAddress is null || homeAddress.Equals(s.RegionalAddress)))
            .Select(s => s.Identifier).Distinct().Select(identifier => new EndAccess(identifier)),
    ];

    public override IEnumerable<IEffectPort> OpenPorts(Action<EngineInput> deliver, NodeServices services)
    {
        yield return new KeyExportPort(_keyExport, services);

        yield return new AccessGatewayPort(
            new RoutedDevice(_section.Tun, _section.Mtu, [new IPNetwork(_section.Address, 128), .. _section.Anchor is null ? Array.Empty<IPNetwork>() : [Regional(_section.Address)]]),
            new AccessLinkDevice(_section.AccessTun, _section.Mtu, _section.AccessLinks), _path, _section.Address, _gateway.Cookies, deliver, services);
        yield return new RadiusPort([_radius], deliver, services.Count);
        yield return new DatagramPort(new UdpPortOptions { Family = AddressFamily.InterNetworkV6, Port = Dhcpv6Limits.ClientPort }, deliver, services.Count);
        if (_section.RelayTo.Count > 0)
        {
            yield return new DatagramPort(new UdpPortOptions { Family = AddressFamily.InterNetworkV6, Port = Dhcpv6Limits.ServerPort }, deliver, services.Count);
        }

        yield return new IdentityPort([.. _section.Identities.Routers.Select(text => new IdentityClient(new Uri(text), _identity))], deliver);
    }

    public override void Dispose()
    {
        _gateway.Dispose();
        _identity.Dispose();
        base.Dispose();
    }

    /// <summary>Regional addresses are formed of the first 64 bits of the anchor point's (RFC 5380 6).</summary>
    private static IPNetwork Regional(IPAddress address)
    {
        var octets = address.GetAddressBytes();
        octets.AsSpan(8).Clear();
        return new IPNetwork(new IPAddress(octets), 64);
    }

    private static string NameOf(AccessStage stage) => stage switch
    {
        AccessStage.Authenticating => "authenticating",
        AccessStage.WaitsForPrefix => "waits-for-prefix",
        AccessStage.Configured => "configured",
        _ => "granted",
    };

    private AccessGatewayOptions OptionsOf(NodeOptions node) => new()
    {
        Address = _section.Address,
        Identity = IkeIdentity.Parse(_section.Identity),
        Credential = IkeCredentialFiles.Read(_section.CertificateFile.FullPath, _section.KeyFile.FullPath),
        Radius = new RadiusClientOptions
        {
            Servers = [.. _section.Servers.Select(s => new RadiusServerAddress(s.Name, s.Address, SecretFile.Read(s.SecretFile)))],
            Local = _radius,
            Name = node.Node,
        },
        HomeInterface = _section.HomeLink,
        RelayTo = _section.RelayTo,
        Duid = _section.Duid is { } text && Duid.TryParseText(text, out var duid) ? duid : OfLink(_section.HomeLink),
        PrefixLength = _section.PrefixLength,
        PrefixWait = _section.PrefixWait,
        BeforeAccess = _section.BeforeAccess,
        AccessLifetime = _section.AccessLifetime,
        MaximumSessions = _section.MaximumSessions,
        LivenessInterval = _section.Liveness,
        KeyExchange = new IkeOptions { Peers = [], CookieThreshold = _section.CookieThreshold, ExportKeys = _keyExport is not null, CrashTokens = true },
        Anchor = _section.Anchor is not { } anchor ? null : new MobilityAnchorPointOptions
        {
            Address = _section.Address,
            RegionalPrefix = Regional(_section.Address),
            DomainPrefixes = anchor.DomainPrefixes,
            LongestBinding = anchor.MaximumLifetime,
            AccessWait = anchor.AccessWait,
            MaximumBindings = anchor.MaximumBindings,
        },
    };

    private static Duid OfLink(string name)
    {
        using var route = new Rtnetlink();
        var link = route.Link(name);
        return Duid.OfLinkLayer(EthernetHardware, (link.Address ?? throw new IOException($"{name} has no link-layer address, so a DUID has to be configured")).ToArray());
    }
}
