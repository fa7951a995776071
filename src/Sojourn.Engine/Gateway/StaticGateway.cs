using System.Net;

namespace Sojourn.Engine.Gateway;

/// <summary>Settings of a static gateway (SGW), all of them from the contract (spec NV1.1, NV1.2).</summary>
public sealed record StaticGatewayOptions
{
    /// <summary>This gateway's address.</summary>
    public required IPAddress Gateway { get; init; }

    /// <summary>Associations preset with home agents, shared by all users with vpnshare 0.</summary>
    public IReadOnlyList<PresetAssociation> Presets { get; init; } = [];

    /// <summary>Associations that a <see cref="KeyedGateway"/> around this one keys.</summary>
    public IReadOnlyList<KeyedAssociation> Keyed { get; init; } = [];

    /// <summary>Standing tunnels; a user's own contract association (vpnshare 1) is one of them with <see cref="StandingTunnel.Contract"/>.</summary>
    public IReadOnlyList<StandingTunnel> Tunnels { get; init; } = [];

    /// <summary>Prefixes reached through a tunnel or not at all (NV1.15).</summary>
    public IReadOnlyList<IPNetwork> ProtectedDestinations { get; init; } = [];

    public int ReplayWindow { get; init; } = 1024;

    internal VpnControlOptions Vpn => new()
    {
        Role = GatewayRole.StaticGateway,
        Gateways = [Gateway],
        Presets = Presets,
        Keyed = Keyed,
        StandingTunnels = Tunnels,
        ProtectedDestinations = ProtectedDestinations,
        ReplayWindow = ReplayWindow,
    };
}

/// <summary>
/// Static gateway (SGW, spec NV1.2): an ordinary IPsec gateway whose tunnels stand from configuration. It gets no
/// signalling and sends none; whatever reaches its port 434 is counted and left alone.
/// </summary>
public sealed class StaticGateway : IEngine
{
    public StaticGateway(StaticGatewayOptions options) => Vpn = new VpnControl(options.Vpn);

    public VpnControl Vpn { get; }

    public DateTimeOffset? NextDeadline => Vpn.NextDeadline;

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case EngineStarted:
                Vpn.Start(effects);
                break;
            case DatagramReceived or IcmpReceived or ConnectionReceived:
                effects.Count("gateway.message.unexpected");
                break;
            case DeadlineReached:
                Vpn.Expire(now, effects);
                break;
        }
    }

    /// <summary>Takes a changed contract; tunnels that stay the same are not touched.</summary>
    /// <exception cref="ArgumentException">The configuration contradicts itself; nothing was changed.</exception>
    public void Configure(StaticGatewayOptions options, EffectSink effects) => Vpn.Configure(options.Vpn, effects);
}
