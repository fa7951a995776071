using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Sojourn.Engine;
using Sojourn.Engine.Access;
using Sojourn.Engine.Eap;
using Sojourn.Engine.Radius;
using Sojourn.Engine.Tls;
using Sojourn.Roles.AccessServer;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Wire.Eap;

namespace Sojourn.Roles.AccessAuthenticator;

/// <summary>Role access-authenticator (spec authentication P3): IEEE 802.1X at the ports of an access router.</summary>
public sealed class AccessAuthenticatorRole : Role
{
    private readonly AccessAuthenticatorSection _section;
    private readonly IPEndPoint? _local;
    private readonly TlsContext? _tls;
    private readonly PortAuthenticator _authenticator;
    private Action<EngineInput> _deliver = _ => { };
    private LinkPort? _links;

    /// <exception cref="CryptographicException">A certificate or its key cannot be used.</exception>
    public AccessAuthenticatorRole(NodeOptions node, IRandomSource random)
    {
        _section = node.AccessAuthenticator!;
        _local = _section.Servers.Count == 0 ? null : new IPEndPoint(_section.Servers[0].Address.AddressFamily == AddressFamily.InterNetworkV6 ? IPAddress.IPv6Any : IPAddress.Any, 0);
        _tls = _local is null && !_section.AddressOnlyDevices ? AccessServerRole.ReadTls(_section.Tls!) : null;
        _authenticator = new PortAuthenticator(
            new PortAuthenticatorOptions
            {
                Interfaces = _section.Ports,
                Radius = _local is null ? null : new RadiusClientOptions
                {
                    Servers = [.. _section.Servers.Select(s => new RadiusServerAddress(s.Name, s.Address, SecretFile.Read(s.SecretFile)))],
                    Local = _local,
                    Name = _section.NasIdentifier ?? node.Node,
                },
                Registry = _tls is null ? null : new EapServerOptions { Methods = [EapType.Tls], Tls = _tls },
                Devices = DevicesOf(_section),
                AddressOnly = _section.AddressOnlyDevices,
                SessionLifetime = _section.SessionLifetime,
                QuietPeriod = _section.QuietPeriod,
            },
            random);
    }

    public override IEngine Engine => _authenticator;

    /// <summary>A row for each station that was heard: its address, the device's name, whether it is in and by which port.</summary>
    public override IReadOnlyList<SessionRow> Sessions() =>
    [
        .. _authenticator.Stations.OrderBy(s => s.Interface, StringComparer.Ordinal).ThenBy(s => s.Address.ToString(), StringComparer.Ordinal)
            .Select(s => new SessionRow(s.Address.ToString(), s.Allowed ? s.Name : null, null, null, null, s.Until, 0, $"{(s.Allowed ? "in" : "out")} {s.Interface}")),
    ];

    public override TableSizes Sizes => new(_authenticator.Stations.Count(), 0, 0);

    public override IEnumerable<IEffectPort> OpenPorts(Action<EngineInput> deliver, NodeServices services)
    {
        _deliver = deliver;
        if (_local is not null)
        {
            yield return new RadiusPort([_local], deliver, services.Count);
        }

        yield return new AccessPort(_section, deliver, services);
    }

    /// <summary>How the ports are is told once the engine runs; on each that is up it asks who is there.</summary>
    public override void Start() => _links = new LinkPort(_section.Ports, _deliver);

    /// <summary>The registry. A device that it has no more is shut out at once.</summary>
    public override void Reconfigure(NodeOptions options, DateTimeOffset now, EffectSink effects) => _authenticator.Replace(DevicesOf(options.AccessAuthenticator!), effects);

    public override void Dispose()
    {
        _links?.Dispose();
        _authenticator.Dispose();
        _tls?.Dispose();
        base.Dispose();
    }

    private static AccessDevice[] DevicesOf(AccessAuthenticatorSection section) =>
        [.. section.Devices.Select(d => new AccessDevice(AccessServerRole.ParseAddress(d.Address)!.Value, d.CertificateName, d.Allowed, d.Ports))];
}
