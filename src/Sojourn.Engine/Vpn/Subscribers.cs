using System.Net;

namespace Sojourn.Engine;

/// <summary>A subscriber of the home ISP.</summary>
/// <param name="Nai">user@realm (RFC 7542), lower-case realm.</param>
/// <param name="MnAaaSpi">SPI of the MN-AAA association (RFC 4721), 256 or more.</param>
/// <param name="MnAaaKey">Shared secret of node and AAAH, at least 16 octets.</param>
/// <param name="HomeAddress">Fixed home address; null = assigned by the home agent's pool.</param>
/// <param name="HomeAgent">Diameter identity of the home agent; null = the realm's default.</param>
public sealed record Subscriber(string Nai, uint MnAaaSpi, KeyMaterial MnAaaKey, IPAddress? HomeAddress, string? HomeAgent, bool Enabled);

/// <summary>One VPN of one user: a VPN database instance (spec network-vpn 3.1).</summary>
public sealed record VpnInstance
{
    public required uint ProfileNumber { get; init; }

    public required string Nai { get; init; }

    /// <summary>False = vpnshare 0, the gateways' shared association; true = vpnshare 1, an association of this user (R18).</summary>
    public required bool UserSpecific { get; init; }

    /// <summary>Correspondent or correspondent domain (destaddr).</summary>
    public required IPNetwork Destination { get; init; }

    /// <summary>QoS class mobile node to correspondent, 0..5; required when <see cref="UserSpecific"/>.</summary>
    public int UpClass { get; init; }

    public int DownClass { get; init; }

    /// <summary>SPIs agreed in the contract with a static gateway; null elsewhere, where the AAAH issues them.</summary>
    public uint? UpSpi { get; init; }

    public uint? DownSpi { get; init; }

    public SecurityType SecurityType { get; init; } = SecurityType.Esp;

    /// <summary>Suite of AAAH-made associations.</summary>
    public IpsecAlgorithm Algorithm { get; init; } = IpsecAlgorithm.Aes128Gcm16;

    /// <summary>Suite and keys of the contract with a static gateway; null when not contract-keyed.</summary>
    public IpsecAlgorithm? ContractAlgorithm { get; init; }

    public ProfileKeying.Contract? ContractKeys { get; init; }

    public RoutePreference Route { get; init; } = RoutePreference.Direct;

    public ProfileTrigger Trigger { get; init; }

    public bool Enabled { get; init; } = true;
}

/// <summary>Whether traffic to a dynamic gateway goes straight there or by the home agent (spec R22, G2).</summary>
public enum RoutePreference : byte
{
    Direct,
    ViaHome,
}

/// <summary>A row of the CN-GW address table (spec 3.3).</summary>
public sealed record CorrespondentGatewayRow(IPNetwork Correspondents, IPAddress Gateway, GatewayType Type, string? Name = null);

/// <summary>What the AAAH reads. Implementations answer synchronously from an embedded or shared database.</summary>
public interface ISubscriberDirectory
{
    /// <summary>Null when the NAI is not listed. Case of the realm does not matter.</summary>
    Subscriber? FindSubscriber(string nai);

    /// <summary>All enabled instances of the user, by profile number (S105).</summary>
    IReadOnlyList<VpnInstance> FindVpns(string nai);

    /// <summary>The whole CN-GW address table; the AAAH loads it into route decision (R48) and asks again when <see cref="Version"/> moved.</summary>
    IReadOnlyList<CorrespondentGatewayRow> CorrespondentGateways { get; }

    /// <summary>Realms with a roaming contract; a request from another realm is refused.</summary>
    IReadOnlyCollection<string> RoamingPartners { get; }

    /// <summary>Grows with every change of the tables.</summary>
    long Version { get; }

    /// <summary>
    /// What is read until this is disposed of belongs together, and costs less than piece by piece. Null where it makes no difference.
    /// No change can be made meanwhile, so not for long.
    /// </summary>
    IDisposable? ReadTogether() => null;

    /// <summary>Users whose VPN database instances have changed behind a position, and the position behind them; null = only where things stand now.</summary>
    (long Position, IReadOnlyList<string> Users) VpnChanges(long? since);
}
