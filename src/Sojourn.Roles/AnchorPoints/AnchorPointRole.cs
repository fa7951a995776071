using System.Net;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.TerminalControl;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Roles.TerminalControl;

namespace Sojourn.Roles.AnchorPoints;

/// <summary>Role anchor-point (RFC 5380 6.2, spec terminal TM-P22): a mobility anchor point for terminals that it shares preset associations with. It may run beside an access router.</summary>
public sealed class AnchorPointRole : Role
{
    private readonly AnchorPointSection _section;
    private readonly KeyExportOptions? _keys;
    private readonly IReadOnlyList<AnchoredTerminal> _terminals;
    private readonly AnchorPointNode _node;
    private readonly HomeTunnel _tunnel;
    private readonly TimeProvider _time;
    private readonly IPNetwork _regional;

    /// <exception cref="InvalidDataException">A key cannot be read.</exception>
    public AnchorPointRole(NodeOptions node, NodeServices services)
    {
        (_section, _keys, _time) = (node.AnchorPoint!, node.KeyExport, services.Time);
        var octets = _section.Address.GetAddressBytes();
        octets.AsSpan(8).Clear();
        _regional = new IPNetwork(new IPAddress(octets), 64);
        AssociationOptions Named(string name) => node.Associations.First(a => a.Name == name);
        _terminals =
        [
            .. _section.Terminals.Select((terminal, number) => new AnchoredTerminal(
                EngineOptions.Transport(Named(terminal.Signalling), _section.Address, number + 1),
                terminal.Data is { } data ? EngineOptions.Tunnel(Named(data), _section.Address, number + 1) : null)),
        ];
        _node = new AnchorPointNode(
            new MobilityAnchorPointOptions { Address = _section.Address, RegionalPrefix = _regional, DomainPrefixes = _section.DomainPrefixes, LongestBinding = _section.MaximumLifetime, Unprotected = _section.Unprotected },
            _terminals, services.Random);
        _tunnel = new HomeTunnel(_section.Address, _section.Mtu, services.Random, HomeTunnel.ReverseTunnelToAnchorBad);
    }

    public override IEngine Engine => _node;

    public override IReadOnlyList<PathReport> Tunnels() => _tunnel.Report(_time.GetUtcNow());

    public override IReadOnlyDictionary<string, long> PacketCounters => _tunnel.Drops;

    /// <summary>The MAP table: regional and on-link address.</summary>
    public override IReadOnlyList<BindingRow> Bindings() =>
    [
        .. _node.Bindings.OrderBy(b => b.Identifier, StringComparer.Ordinal).Select(b => new BindingRow(
            MobileTunnel.IdOf(b.HomeAddress).Owner, b.Identifier, b.HomeAddress, b.CareOfAddress, b.Expires, null, null, null, false)),
    ];

    public override IReadOnlyList<ChildSaRow> ChildSas() => [.. _node.AssociationUses.Select(ChildSaRow.Of)];

    public override IEnumerable<IEffectPort> OpenPorts(Action<EngineInput> deliver, NodeServices services)
    {
        if (_keys is { } keys)
        {
            var export = new EspKeyExport(keys.Esp.FullPath);
            foreach (var child in _terminals.SelectMany(t => new[] { t.Signalling, t.Data }).OfType<Engine.Ikev2.ChildSa>())
            {
                export.WriteTransport(child);
            }
        }

        var device = new RoutedDevice(_section.Tun, _section.Mtu, [new IPNetwork(_section.Address, 128), _regional]);
        yield return new HomeAgent6Port(device, _tunnel, _section.Address, cookies: null, deliver, services);
    }

    public override void Dispose()
    {
        _node.Dispose();
        base.Dispose();
    }
}
