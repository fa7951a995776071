// Readings taken
// - S115: "inside the home network" is one more row of the CN-GW table, for the home agent's own network. A longer
//   prefix in the table wins over it. The strict policy refuses a correspondent that neither names; one in the home
//   network is never refused, its path ends where the correspondent is.
// - R22: a dynamic gateway reached via home gets FA-HA and HA-PCN. The FA-HA leg then says "static", because its far end
//   is the home agent and no binding update belongs to it; the HA-PCN leg says "dynamic".
// - vpnshare 1 on a leg to a static gateway takes the contract's keys when there are any, else the association preset
//   between home agent and gateway: the AAAH has no way to hand a key to a static gateway.
// - Encapsulation only has nothing secret, so it is preset keying whatever vpnshare says.
using System.Diagnostics.CodeAnalysis;
using System.Net;

namespace Sojourn.Engine.Aaa;

/// <summary>Chooses the gateways, the marking and the keying of each leg (spec 4.1 S105-S115, block 313).</summary>
public sealed class PathDecision(PathDecisionOptions options, KeyGenerator keys)
{
    /// <summary>
    /// Legs of all <paramref name="instances"/>, in the up view, by profile number and from the mobile node outwards; empty when there is no
    /// instance (NV9.1). Either all legs or a refusal: a registration never gets half of its paths. SPI blocks of a refused
    /// decision are given back.
    /// </summary>
    public bool TryDecide(
        PathRequest request, IEnumerable<VpnInstance> instances, CorrespondentGatewayTable table,
        [NotNullWhen(true)] out IReadOnlyList<PathLeg>? legs, [NotNullWhen(false)] out Refusal? refusal)
    {
        var made = new List<PathLeg>();
        refusal = null;
        foreach (var instance in instances.OrderBy(i => i.ProfileNumber))
        {
            refusal = Check(instance) ?? Decide(request, instance, table, made);
            if (refusal is not null)
            {
                Release(made);
                legs = null;
                return false;
            }
        }

        legs = made;
        return true;
    }

    /// <summary>Gives the SPI blocks of legs back.</summary>
    public void Release(IEnumerable<PathLeg> legs)
    {
        foreach (var leg in legs.Where(l => l.Profile.Keying is ProfileKeying.Derived))
        {
            keys.Release(leg.Profile.UpSpi);
            keys.Release(leg.Profile.DownSpi);
        }
    }

    private Refusal? Check(VpnInstance instance)
    {
        if (instance.UpClass < 0 || instance.UpClass >= options.TosOfClass.Count || instance.DownClass < 0 || instance.DownClass >= options.TosOfClass.Count)
        {
            return Refusal.Authorization("spec 7.3", $"profile {instance.ProfileNumber} names QoS class {instance.UpClass} up, {instance.DownClass} down; classes 0 to {options.TosOfClass.Count - 1} are mapped");
        }

        if (instance.Destination.BaseAddress.AddressFamily != System.Net.Sockets.AddressFamily.InterNetwork)
        {
            return Refusal.Authorization("spec 3.2", $"profile {instance.ProfileNumber} names correspondents {instance.Destination}, which are not IPv4");
        }

        return null;
    }

    private Refusal? Decide(PathRequest request, VpnInstance instance, CorrespondentGatewayTable table, List<PathLeg> legs)
    {
        var row = table.Find(instance.Destination);
        var home = request.HomeNetworks.Where(n => n.Covers(instance.Destination)).Select(n => n.PrefixLength).DefaultIfEmpty(-1).Max();
        if (row is not null && home >= row.Correspondents.PrefixLength)
        {
            row = null;
        }

        if (row is null && home < 0 && options.UnlistedCorrespondents == UnlistedCorrespondents.Refuse)
        {
            return Refusal.Authorization("S115", $"no gateway is listed for {instance.Destination} of profile {instance.ProfileNumber}");
        }

        if (row is { Type: GatewayType.Dynamic } && instance.Route == RoutePreference.Direct)
        {
            // S112, NV4.4
            return Add(legs, LegKind.ForeignAgentToGateway, request, instance, request.ForeignAgent, row.Gateway, GatewayType.Dynamic);
        }

        // S113, S115
        return Add(legs, LegKind.ForeignAgentToHomeAgent, request, instance, request.ForeignAgent, request.HomeAgent, GatewayType.Static)
            ?? (row is null ? null : Add(legs, LegKind.HomeAgentToGateway, request, instance, request.HomeAgent, row.Gateway, row.Type));
    }

    private Refusal? Add(List<PathLeg> legs, LegKind kind, PathRequest request, VpnInstance instance, IPAddress source, IPAddress destination, GatewayType type)
    {
        var profile = new VpnProfile
        {
            ProfileNumber = instance.ProfileNumber,
            View = ProfileView.Up,
            Source = new IPNetwork(request.HomeAddress, 32),
            Destination = instance.Destination,
            UpTos = options.TosOfClass[instance.UpClass],
            DownTos = options.TosOfClass[instance.DownClass],
            SecurityType = instance.SecurityType,
            SourceGateway = source,
            DestinationGateway = destination,
            GatewayType = type,
            Keying = ProfileKeying.Preset.Instance,
            Supplier = request.HomeAgent,
            Trigger = instance.Trigger,
            Revision = 1,
        };

        // S107: the default SPI needs nothing.
        if (instance.SecurityType == SecurityType.EncapsulationOnly || !instance.UserSpecific)
        {
            legs.Add(new PathLeg(kind, profile));
            return null;
        }

        if (type == GatewayType.Static && kind == LegKind.HomeAgentToGateway)
        {
            return AddContract(legs, profile, instance);
        }

        // S108
        var up = keys.ReserveSpiBlock();
        var down = up == 0 ? 0 : keys.ReserveSpiBlock();
        if (down == 0)
        {
            keys.Release(up);
            return new Refusal(RefusalKind.OutOfResources, "M13", "the SPI range of this server is used up");
        }

        legs.Add(new PathLeg(kind, (profile with
        {
            UpSpi = up,
            DownSpi = down,
            Algorithm = Suite(instance),
            Keying = new ProfileKeying.Derived(keys.NewRoot(), request.Identification),
            KeyExpiry = request.KeyExpiry,
            Revision = 0,
        }).ForRegistration(request.Identification)));
        return null;
    }

    private Refusal? AddContract(List<PathLeg> legs, VpnProfile profile, VpnInstance instance)
    {
        if (instance.ContractKeys is not { } contract)
        {
            legs.Add(new PathLeg(LegKind.HomeAgentToGateway, profile));
            return null;
        }

        var algorithm = instance.ContractAlgorithm ?? IpsecAlgorithm.None;
        if (!algorithm.AllowsStaticKey() || !algorithm.Fits(instance.SecurityType))
        {
            return Refusal.Authorization("M5", $"profile {instance.ProfileNumber}: {algorithm} cannot take the contract's typed-in keys with {instance.SecurityType}");
        }

        if (instance.UpSpi is not >= KeyGenerator.SpiBlock || instance.DownSpi is not >= KeyGenerator.SpiBlock)
        {
            return Refusal.Authorization("M13", $"profile {instance.ProfileNumber}: the contract's SPIs must be 256 or above");
        }

        if (keys.Issues(instance.UpSpi.Value) || keys.Issues(instance.DownSpi.Value))
        {
            return Refusal.Authorization("M13", $"profile {instance.ProfileNumber}: the contract's SPIs lie in this server's own range");
        }

        legs.Add(new PathLeg(LegKind.HomeAgentToGateway, profile with
        {
            UpSpi = instance.UpSpi.Value,
            DownSpi = instance.DownSpi.Value,
            Algorithm = algorithm,
            Keying = contract,
        }));
        return null;
    }

    private IpsecAlgorithm Suite(VpnInstance instance) =>
        instance.Algorithm.Fits(instance.SecurityType) ? instance.Algorithm : instance.SecurityType == SecurityType.Ah ? options.AhAlgorithm : IpsecAlgorithm.Aes128Gcm16;
}

/// <summary>Settings of <see cref="PathDecision"/>.</summary>
public sealed record PathDecisionOptions
{
    /// <summary>TOS octet of each QoS class, index = class (spec 7.3). Default: 0; AF11, AF21, AF31, AF41; EF.</summary>
    public IReadOnlyList<byte> TosOfClass { get; init; } = [0, 10 << 2, 18 << 2, 26 << 2, 34 << 2, 46 << 2];

    /// <summary>What happens to a correspondent that no row and no home network names (S115).</summary>
    public UnlistedCorrespondents UnlistedCorrespondents { get; init; }

    /// <summary>Suite of an AH profile whose instance asks for one that AH cannot use.</summary>
    public IpsecAlgorithm AhAlgorithm { get; init; } = IpsecAlgorithm.HmacSha256;
}

public enum UnlistedCorrespondents : byte
{
    /// <summary>The path ends at the home agent.</summary>
    Accept,

    /// <summary>The registration is refused.</summary>
    Refuse,
}

/// <summary>What a decision starts from.</summary>
/// <param name="ForeignAgent">Care-of address (S109).</param>
/// <param name="HomeAddress">0.0.0.0 when the home agent is to assign one.</param>
/// <param name="HomeNetworks">Networks that end at the home agent itself (S115).</param>
/// <param name="Identification">Of the Registration Request.</param>
/// <param name="KeyExpiry">When derived roots are to be replaced.</param>
public sealed record PathRequest(
    IPAddress ForeignAgent, IPAddress HomeAgent, IPAddress HomeAddress, IReadOnlyList<IPNetwork> HomeNetworks, ulong Identification,
    DateTimeOffset? KeyExpiry = null);

public enum LegKind : byte
{
    ForeignAgentToHomeAgent,
    HomeAgentToGateway,
    ForeignAgentToGateway,
}

/// <summary>One leg of a path, kept in the up view (docs/wire-extensions.md section 5).</summary>
public sealed record PathLeg(LegKind Kind, VpnProfile Profile)
{
    /// <summary>The copy for the foreign agent, or null when it has no part in the leg.</summary>
    public VpnProfile? ForForeignAgent => Kind == LegKind.HomeAgentToGateway ? null : Profile;

    /// <summary>The copy for the home agent: what it sends with, or, for FA-PCN, what it passes on in a binding update.</summary>
    public VpnProfile ForHomeAgent => Kind == LegKind.HomeAgentToGateway ? Profile : Profile.Mirror();
}

/// <summary>How a registration changes a profile copy; AAAF, AAAH and home agent do it alike.</summary>
public static class ProfileMoves
{
    /// <summary>
    /// Puts a new care-of address where the old one stands and makes the associations fresh (spec S214, R9, M3). A copy
    /// without the old address, or with both the same, comes back unchanged (NV9.6).
    /// </summary>
    public static VpnProfile MovedTo(this VpnProfile profile, IPAddress oldCareOf, IPAddress newCareOf, ulong identification)
    {
        if (oldCareOf.Equals(newCareOf))
        {
            return profile;
        }

        if (profile.View == ProfileView.Up && profile.SourceGateway.Equals(oldCareOf))
        {
            return (profile with { SourceGateway = newCareOf }).ForRegistration(identification);
        }

        return profile.View == ProfileView.Down && profile.DestinationGateway.Equals(oldCareOf)
            ? (profile with { DestinationGateway = newCareOf }).ForRegistration(identification)
            : profile;
    }

    /// <summary>Puts the home address the home agent assigned where 0.0.0.0/32 stands.</summary>
    public static VpnProfile WithHomeAddress(this VpnProfile profile, IPAddress homeAddress)
    {
        var unset = new IPNetwork(IPAddress.Any, 32);
        var host = new IPNetwork(homeAddress, 32);
        return profile.View == ProfileView.Up
            ? profile.Source.Equals(unset) ? profile with { Source = host } : profile
            : profile.Destination.Equals(unset) ? profile with { Destination = host } : profile;
    }
}
