using System.Net;
using Sojourn.DataPath.Xfrm;
using Sojourn.Engine;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.Gateway;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Wire.Diameter;

namespace Sojourn.Roles.Gateways;

/// <summary>Role gateway, type dynamic (PCN).</summary>
public sealed class DynamicGatewayRole : Role
{
    private readonly CorrespondentGateway _gateway;
    private readonly GatewaySection _section;

    public DynamicGatewayRole(NodeOptions node, IRandomSource random)
    {
        _section = node.Gateway!;
        _gateway = new CorrespondentGateway(Options(node), new VpnProfileAvps(DiameterDictionary.WithVpn(node.EnterpriseNumber)), random);
    }

    public override IEngine Engine => _gateway;

    public override VpnControl Vpn => _gateway.Vpn;

    public override PortNeeds Ports => new() { MobileIp = true, PacketPath = true, Intercepted = _section.Serves };

    public override IReadOnlyList<BindingRow> Bindings() =>
    [
        .. _gateway.Nodes.OrderBy(n => n.Session, StringComparer.Ordinal).SelectMany(node => node.Bindings.Values.Select(b => new BindingRow(
            node.Session, node.Nai, node.HomeAddress, b.Profile.DestinationGateway, b.Expires, b.Profile.ProfileNumber, b.Profile.Source, node.Supplier, b.Requested))),
    ];

    public override IReadOnlyList<SessionRow> Sessions() =>
    [
        .. _gateway.Nodes.OrderBy(n => n.Session, StringComparer.Ordinal).Select(node => new SessionRow(
            node.Session, node.Nai, node.HomeAddress, node.Bindings.Values.Select(b => b.Profile.DestinationGateway).FirstOrDefault(), node.Supplier,
            node.Bindings.Values.Select(b => (DateTimeOffset?)b.Expires).Max(), node.Bindings.Count, "bound")),
    ];

    public override IReadOnlyList<EngineCommand> Clear(string? session, string? nai, IPAddress? homeAddress) =>
    [
        .. _gateway.Nodes.Where(n => (session is null || n.Session == session) && (nai is null || n.Nai == nai) && (homeAddress is null || n.HomeAddress.Equals(homeAddress)))
            .Select(n => new ClearBinding(n.HomeAddress)),
    ];

    public override void Reconfigure(NodeOptions options, DateTimeOffset now, EffectSink effects) => _gateway.Configure(Options(options), now, effects);

    private static CorrespondentGatewayOptions Options(NodeOptions node)
    {
        var section = node.Gateway!;
        return new CorrespondentGatewayOptions
        {
            Gateway = section.Address,
            Correspondents = section.Serves,
            Contracts = [.. section.Contracts.Select(contract => new HomeAgentContract(
                contract.HomeAgent.ToString(), contract.HomeAgent, contract.HomePrefixes, contract.Spi.Value, SecretFile.Read(contract.KeyFile)))],
            LongestLifetime = section.MaximumLifetime,
            RequestThreshold = section.RefreshThreshold / 100.0,
            TimestampTolerance = section.TimestampTolerance,
            HandOffTime = section.HandoffTunnelTime,
            UpdatesPerSecond = section.Rate,
            UpdateBurst = section.Rate * 2,
            Enterprise = node.EnterpriseNumber,
            Presets = EngineOptions.Presets(node),
            StandingTunnels = EngineOptions.StandingTunnels(node),
            ProtectedDestinations = section.ProtectedDestinations,
            Lacks = node.PacketPath.DataPath == DataPathKind.Kernel ? KernelPacketPath.Lacks : null,
        };
    }
}
