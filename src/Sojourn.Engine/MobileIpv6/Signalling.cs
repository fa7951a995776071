using System.Net;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>
/// An IPv6 packet for an engine, whole and in clear: fragments put together, ESP taken off.
/// </summary>
/// <param name="Under">Association it came under, as told by <see cref="AssociationEstablished"/>; null when it came in clear.</param>
/// <param name="Tunnel">Outer source when it came out of the mobile tunnel; null when it came as it is.</param>
public sealed record Ipv6PacketReceived(ReadOnlyMemory<byte> Packet, string? Interface = null, LinkAddress? LinkSource = null, long? Under = null, IPAddress? Tunnel = null) : EngineInput
{
    /// <summary>See <see cref="Wire.Ip.Segmentation"/>; 0 = it is a packet like any other.</summary>
    public int SegmentSize { get; init; }
}

/// <summary>
/// Sends an IPv6 packet that has its extension headers and is in clear. With <paramref name="Under"/> set, IPsec puts ESP
/// behind those headers, or the packet does not leave at all (spec R76). With <paramref name="LinkDestination"/> set it
/// goes to that link-layer address without asking.
/// </summary>
/// <param name="TunnelTo">Far end of the mobile tunnel it goes through, from <paramref name="TunnelFrom"/>; null = not through a tunnel.</param>
public sealed record SendIpv6Packet(ReadOnlyMemory<byte> Packet, long? Under = null, string? Interface = null, LinkAddress? LinkDestination = null, IPAddress? TunnelFrom = null, IPAddress? TunnelTo = null) : Effect
{
    /// <summary>See <see cref="Wire.Ip.Segmentation"/>; 0 = it is a packet like any other.</summary>
    public int SegmentSize { get; init; }
}

/// <summary>
/// A pair of IPsec associations for the signalling of one home address (spec D7), as the key management made it.
/// </summary>
/// <param name="Number">Names it; never used again.</param>
/// <param name="Peer">The key management's peer address: where the other side was when it last proved itself.</param>
/// <param name="Identifier">Whom the credentials named.</param>
/// <param name="Moves">The key management's peer can be moved to a new care-of address (K bit, RFC 4877 7).</param>
public sealed record SignallingAssociation(long Number, IPAddress HomeAddress, IPAddress Peer, string Identifier, bool Moves)
{
    /// <summary>The prefix that was allocated to whoever the association names, where that was asked for: it limits bindings and is advertised in place of the home link's (spec L2). Null = the prefixes of the home agent hold.</summary>
    public HomePrefix? Prefix { get; init; }
}

/// <summary>An association stands; replaces an earlier one of the same home address for sending, and the same number altogether.</summary>
public sealed record AssociationEstablished(SignallingAssociation Association) : EngineInput;

/// <summary>An association is gone. <paramref name="EndBinding"/>: so is the right to the binding (revocation, end of the prefix).</summary>
public sealed record AssociationEnded(long Number, bool EndBinding) : EngineInput;

/// <summary>Key management could not make the association asked for: the home agent refuses, does not prove itself, or is silent (spec TA1.129x).</summary>
public sealed record AssociationRefused(IPAddress HomeAddress, IPAddress HomeAgent) : EngineInput;

/// <summary>Moves the key management's peer of an association to a new care-of address (RFC 6275 10.3.1, K = 1).</summary>
public sealed record MoveAssociation(long Number, IPAddress CareOfAddress) : Effect;

/// <summary>The key management's connections to an address are to be given up (K = 0).</summary>
public sealed record DiscardKeyManagement(IPAddress HomeAddress, IPAddress CareOfAddress) : Effect;

/// <summary>What to do with signalling of a home address (spec D8).</summary>
public enum SignallingTreatment : byte
{
    Discard,

    /// <summary>Only under an association.</summary>
    Protect,

    /// <summary>In clear; a laboratory's setting (spec terminal 10000, 10001).</summary>
    Bypass,
}

/// <summary>An entry of the policy database for binding messages and for prefix discovery (spec D8). The first whose prefix holds the home address decides; none discards.</summary>
public sealed record SignallingPolicy(IPNetwork HomeAddresses, SignallingTreatment Binding, SignallingTreatment PrefixDiscovery);

/// <summary>Associations and policies: what a packet has to have come under, and what one leaves under.</summary>
internal sealed class SignallingProtection(IReadOnlyList<SignallingPolicy> policies)
{
    private readonly Dictionary<long, SignallingAssociation> _associations = [];

    private readonly Dictionary<IPAddress, long> _latest = [];

    public void Add(SignallingAssociation association)
    {
        _associations[association.Number] = association;
        _latest[association.HomeAddress] = association.Number;
    }

    public SignallingAssociation? Remove(long number)
    {
        if (!_associations.Remove(number, out var gone))
        {
            return null;
        }

        if (_latest.TryGetValue(gone.HomeAddress, out var latest) && latest == number)
        {
            _latest.Remove(gone.HomeAddress);
            var left = _associations.Values.Where(a => a.HomeAddress.Equals(gone.HomeAddress)).MaxBy(a => a.Number);
            if (left is not null)
            {
                _latest[gone.HomeAddress] = left.Number;
            }
        }

        return gone;
    }

    public SignallingAssociation? Find(long number) => _associations.GetValueOrDefault(number);

    public SignallingAssociation? For(IPAddress home) => _latest.TryGetValue(home, out var number) ? _associations[number] : null;

    public void Move(SignallingAssociation association, IPAddress peer) => _associations[association.Number] = association with { Peer = peer };

    public SignallingTreatment Treatment(IPAddress home, bool prefixDiscovery)
    {
        foreach (var policy in policies)
        {
            if (policy.HomeAddresses.Contains(home))
            {
                return prefixDiscovery ? policy.PrefixDiscovery : policy.Binding;
            }
        }

        return SignallingTreatment.Discard;
    }

    /// <summary>Rules R72 and R73 for a packet whose home address has taken its place: the counter's last word and the rule when it has to go.</summary>
    public (string Why, string Rule)? Refuse(IPAddress home, long? under, bool prefixDiscovery, out SignallingAssociation? association)
    {
        association = under is { } number ? Find(number) : null;
        if (under is not null && association is null)
        {
            return ("no_association", "TA-R72");
        }

        if (association is not null && !association.HomeAddress.Equals(home))
        {
            return ("wrong_selector", "TA-R72");
        }

        return Treatment(home, prefixDiscovery) switch
        {
            SignallingTreatment.Protect => association is null ? ("unprotected", "TA-R72") : null,
            SignallingTreatment.Bypass => null,
            _ => ("no_policy", "TA-R73"),
        };
    }

    /// <summary>Rules R75 and R76 for what goes out. False: nothing is sent.</summary>
    /// <param name="preferred">What the peer has used last, which it has for certain; another that was made later may have come to nothing there.</param>
    public bool TryFindOutgoing(IPAddress home, bool prefixDiscovery, long? preferred, out long? under, out string why)
    {
        under = null;
        why = "no_policy";
        switch (Treatment(home, prefixDiscovery))
        {
            case SignallingTreatment.Bypass:
                return true;
            case SignallingTreatment.Protect:
                under = preferred is { } used && _associations.ContainsKey(used) ? used : For(home)?.Number;
                why = "no_association";
                return under is not null;
            default:
                return false;
        }
    }
}

/// <summary>Sequence numbers of binding updates, modulo 2^16 (RFC 6275 9.5.1).</summary>
public static class BindingSequence
{
    public static bool IsNewer(ushort number, ushort last) => (ushort)(number - last) is > 0 and < 0x8000;
}

/// <summary>The tunnel between a care-of address and a home agent, as a path (RFC 6275 10.4, RFC 2473).</summary>
public static class MobileTunnel
{
    private static readonly IPNetwork s_everywhere = new(IPAddress.IPv6Any, 0);

    public static PathId IdOf(IPAddress home, IPNetwork? network = null) => new($"mip6/{home}", network?.ToString() ?? "tunnel");

    /// <summary>The home agent's half: what goes to the home address or the mobile network leaves for the care-of address.</summary>
    public static VpnPath AtHomeAgent(IPAddress home, IPNetwork destination, PathId id, IPAddress agent, IPAddress careOf) => Path(id, s_everywhere, destination, agent, careOf, "home-agent", "TA1.135", home);

    /// <summary>The mobile node's half: what comes from the home address leaves for the home agent.</summary>
    public static VpnPath AtMobileNode(IPAddress home, IPNetwork source, PathId id, IPAddress careOf, IPAddress agent) => Path(id, source, s_everywhere, careOf, agent, "terminal", "TA1.137", home);

    /// <summary>An anchor point's half: what goes to the regional address leaves for the on-link address (RFC 5380 6.2).</summary>
    public static VpnPath AtAnchor(IPAddress regional, IPAddress anchor, IPAddress onLink) => Path(IdOf(regional), s_everywhere, new IPNetwork(regional, 128), anchor, onLink, "access-gateway", "TA-M67", regional);

    /// <summary>The terminal's half: what comes from the regional address leaves for the anchor point.</summary>
    public static VpnPath ToAnchor(IPAddress regional, IPAddress onLink, IPAddress anchor) => Path(IdOf(regional), new IPNetwork(regional, 128), s_everywhere, onLink, anchor, "terminal", "TA-M67", regional);

    private static VpnPath Path(PathId id, IPNetwork source, IPNetwork destination, IPAddress local, IPAddress remote, string role, string row, IPAddress home) => new()
    {
        Id = id,
        Source = source,
        Destination = destination,
        SecurityType = SecurityType.EncapsulationOnly,
        LocalGateway = local,
        RemoteGateway = remote,
        Origin = new PathOrigin(role, row, HomeAddress: home),
    };
}
