using Sojourn.Engine;
using Sojourn.Engine.Gateway;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Roles.KeyExchange;

namespace Sojourn.Roles.Gateways;

/// <summary>Role gateway, type static (SGW): standing tunnels only. Opens no port for signalling (NV-A2) but that of a key exchange, when it is told to.</summary>
public sealed class StaticGatewayRole : Role
{
    private readonly StaticGateway _gateway;
    private readonly bool _keyed;

    public StaticGatewayRole(NodeOptions node, IRandomSource random)
    {
        _gateway = new StaticGateway(Options(node));
        _keyed = node.KeyExchange.Count > 0;
        Engine = KeyedAssociations.Wrap(node, _gateway, _gateway.Vpn, random);
    }

    public override IEngine Engine { get; }

    public override VpnControl Vpn => _gateway.Vpn;

    public override PortNeeds Ports => new() { PacketPath = true, KeyExchange = _keyed };

    public override void Reconfigure(NodeOptions options, DateTimeOffset now, EffectSink effects) => _gateway.Configure(Options(options), effects);

    private static StaticGatewayOptions Options(NodeOptions node) => new()
    {
        Gateway = node.Gateway!.Address,
        Presets = EngineOptions.Presets(node),
        Keyed = KeyedAssociations.Of(node),
        Tunnels = EngineOptions.StandingTunnels(node),
        ProtectedDestinations = node.Gateway.ProtectedDestinations,
    };
}
