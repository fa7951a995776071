using System.Net;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Gateway;

/// <summary>A home agent with a contract (spec M9): for whose users it may ask for paths, and the association it proves itself with.</summary>
/// <param name="HomePrefixes">Home addresses it may speak for.</param>
/// <param name="Spi">256 or more, the same on both sides.</param>
/// <param name="Secret">At least 32 octets.</param>
public sealed record HomeAgentContract(string Name, IPAddress HomeAgent, IReadOnlyList<IPNetwork> HomePrefixes, uint Spi, KeyMaterial Secret);

/// <summary>Settings of a correspondent gateway (PCN).</summary>
public sealed record CorrespondentGatewayOptions
{
    /// <summary>This gateway's address: end of its tunnels, source of its BAs and BRs.</summary>
    public required IPAddress Gateway { get; init; }

    /// <summary>Correspondents behind this gateway.</summary>
    public required IReadOnlyList<IPNetwork> Correspondents { get; init; }

    public required IReadOnlyList<HomeAgentContract> Contracts { get; init; }

    /// <summary>Longest lifetime of a binding; a longer wish is cut to it, and the BA says so.</summary>
    public TimeSpan LongestLifetime { get; init; } = TimeSpan.FromHours(1);

    /// <summary>Part of the lifetime left at which the supplier is asked for a new update (spec R36).</summary>
    public double RequestThreshold { get; init; } = 0.2;

    /// <summary>Difference of clocks accepted.</summary>
    public TimeSpan TimestampTolerance { get; init; } = Identification.DefaultTolerance;

    /// <summary>How long the inbound half of a replaced path is kept (spec R31).</summary>
    public TimeSpan HandOffTime { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Authentic updates one home agent may send in a second, averaged over <see cref="UpdateBurst"/>.</summary>
    public double UpdatesPerSecond { get; init; } = 200;

    public int UpdateBurst { get; init; } = 400;

    /// <summary>Bindings held in all.</summary>
    public int MostBindings { get; init; } = 100_000;

    public uint Enterprise { get; init; } = ProjectExtensions.DefaultEnterprise;

    /// <summary>Preset associations, standing tunnels and the like of this gateway.</summary>
    public IReadOnlyList<PresetAssociation> Presets { get; init; } = [];

    public IReadOnlyList<StandingTunnel> StandingTunnels { get; init; } = [];

    public IReadOnlyList<IPNetwork> ProtectedDestinations { get; init; } = [];

    public int ReplayWindow { get; init; } = 1024;

    /// <inheritdoc cref="VpnControlOptions.Lacks"/>
    public Func<VpnPath, string?>? Lacks { get; init; }

    /// <exception cref="ArgumentException">Settings that contradict themselves.</exception>
    public void Validate()
    {
        Require(LongestLifetime >= TimeSpan.FromSeconds(1), "the longest lifetime must be a second or more");
        Require(RequestThreshold is > 0 and < 1, "the request threshold must lie between 0 and 1");
        Require(UpdatesPerSecond > 0 && UpdateBurst > 0, "the update rate must be positive");
        Require(Contracts.Select(c => c.HomeAgent).Distinct().Count() == Contracts.Count, "a home agent has one contract");
    }

    internal VpnControlOptions Vpn => new()
    {
        Role = GatewayRole.CorrespondentGateway,
        Gateways = [Gateway],
        Presets = Presets,
        StandingTunnels = StandingTunnels,
        ProtectedDestinations = ProtectedDestinations,
        ReplayWindow = ReplayWindow,
        Lacks = Lacks,
    };

    private static void Require(bool condition, string what)
    {
        if (!condition)
        {
            throw new ArgumentException(what);
        }
    }
}

/// <summary>Ends every binding of a home address (<c>clear binding</c>).</summary>
public sealed record ClearBinding(IPAddress HomeAddress) : EngineCommand;
