using System.Net;

namespace Sojourn.Engine;

/// <summary>Which mobility gateway a <see cref="VpnControl"/> serves; decides which legs it may hold.</summary>
public enum GatewayRole : byte
{
    ForeignAgent,
    HomeAgent,

    /// <summary>PCN, set by binding updates.</summary>
    CorrespondentGateway,

    /// <summary>SGW, set by hand.</summary>
    StaticGateway,
}

/// <summary>
/// A preset ("default SPI") association between this gateway and a peer, with typed-in keys (spec R24, NV9.2, M5).
/// Profiles with vpnshare 0 use it, and so do standing tunnels.
/// </summary>
/// <param name="Local">This gateway's tunnel address.</param>
public sealed record PresetAssociation(
    string Name, IPAddress Local, IPAddress Peer, SecurityType SecurityType, IpsecAlgorithm Algorithm,
    uint OutboundSpi, uint InboundSpi, AssociationKeys OutboundKeys, AssociationKeys InboundKeys);

/// <summary>A tunnel that stands without any login (NV1.2).</summary>
/// <param name="Association">Name of the preset or keyed association; null = encapsulation only.</param>
/// <param name="Tos">TOS octet written into packets entering here; 0 = as they are.</param>
public sealed record StandingTunnel(string Name, string? Association, IPAddress Local, IPAddress Remote, IPNetwork Source, IPNetwork Destination, byte Tos = 0)
{
    /// <summary>Keys of one user's contract association instead of a preset one (vpnshare 1 towards a static gateway).</summary>
    public ContractTunnel? Contract { get; init; }
}

/// <summary>An association agreed for one user in the company's contract, as the company's gateway holds it.</summary>
public sealed record ContractTunnel(SecurityType SecurityType, IpsecAlgorithm Algorithm, uint OutboundSpi, uint InboundSpi, AssociationKeys OutboundKeys, AssociationKeys InboundKeys);

public sealed record VpnControlOptions
{
    public required GatewayRole Role { get; init; }

    /// <summary>Addresses of this gateway that may be a tunnel end.</summary>
    public required IReadOnlyList<IPAddress> Gateways { get; init; }

    public IReadOnlyList<PresetAssociation> Presets { get; init; } = [];

    /// <summary>Associations that a key exchange keys (<see cref="VpnControl.SetKeys"/>).</summary>
    public IReadOnlyList<KeyedAssociation> Keyed { get; init; } = [];

    public IReadOnlyList<StandingTunnel> StandingTunnels { get; init; } = [];

    /// <summary>Destinations reachable only by a path: what no path carries is dropped and counted (NV1.15, NV9.1).</summary>
    public IReadOnlyList<IPNetwork> ProtectedDestinations { get; init; } = [];

    /// <summary>Anti-replay window in packets.</summary>
    public int ReplayWindow { get; init; } = 1024;

    /// <summary>Why the packet path of this gateway cannot carry a path; null = it can. Null as a whole: it can carry all (decision 0007).</summary>
    public Func<VpnPath, string?>? Lacks { get; init; }
}

/// <summary>What one mobility session wants at this gateway: its VPN information cache instance (spec 3.2) and base tunnel.</summary>
public sealed record VpnSession
{
    /// <summary>Mobility session; the key of the cache and the owner of its paths.</summary>
    public required string Session { get; init; }

    public string? Nai { get; init; }

    public required IPAddress HomeAddress { get; init; }

    public IReadOnlyList<VpnProfile> Profiles { get; init; } = [];

    /// <summary>Plain Mobile IP tunnel of the registration (S236); profiles replace it for what they select.</summary>
    public BaseTunnel? Base { get; init; }

    /// <summary>False until the home agent's authenticated reply: inbound state stands, nothing is sent (M10).</summary>
    public bool OutboundReady { get; init; } = true;

    /// <summary>
    /// The user has gone to another foreign agent (NV2.11): profiles and base tunnel lead there, for what still arrives
    /// here. Waiting profiles are those that agent has not asked for yet.
    /// </summary>
    public bool HandedOff { get; init; }

    /// <summary>Profiles that wait for their first packet (NV8) or that a gateway did not take (NV9.9): received, but what matches outwards is held, not sent.</summary>
    public IReadOnlySet<uint> Waiting { get; init; } = new HashSet<uint>();
}

public sealed record BaseTunnel(IPAddress Local, IPAddress Remote);

/// <summary>Why a session's profiles cannot be installed. Nothing was changed.</summary>
public sealed record VpnRefusal(VpnRefusalKind Kind, uint ProfileNumber, string Text, string Rule);

public enum VpnRefusalKind : byte
{
    UnknownAlgorithm,
    AlgorithmDoesNotFit,
    ReservedSpi,
    SpiClash,
    NoPresetAssociation,
    StaticKeyNotAllowed,
    NotOurGateway,
    MixedAddressFamilies,

    /// <summary>The packet path does not do this.</summary>
    NotInThisBackEnd,
}
