using Sojourn.Engine;
using Sojourn.Engine.Gateway;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.Gateways;

/// <summary>Role gateway, type static (SGW): standing tunnels only. Opens no port for signalling (NV-A2).</summary>
public sealed class StaticGatewayRole(NodeOptions node) : Role
{
    private readonly StaticGateway _gateway = new(Options(node));

    public override IEngine Engine => _gateway;

    public override VpnControl Vpn => _gateway.Vpn;

    public override PortNeeds Ports => new() { PacketPath = true };

    public override void Reconfigure(NodeOptions options, DateTimeOffset now, EffectSink effects) => _gateway.Configure(Options(options), effects);

    private static StaticGatewayOptions Options(NodeOptions node) => new()
    {
        Gateway = node.Gateway!.Address,
        Presets = EngineOptions.Presets(node),
        Tunnels = EngineOptions.StandingTunnels(node),
        ProtectedDestinations = node.Gateway.ProtectedDestinations,
    };
}
