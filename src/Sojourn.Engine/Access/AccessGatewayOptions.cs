using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Radius;
using Sojourn.Wire.Dhcpv6;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Access;

/// <summary>Settings of a gateway between visited and home network (spec authentication P4).</summary>
public sealed record AccessGatewayOptions
{
    /// <summary>Address that terminals find it at.</summary>
    public required IPAddress Address { get; init; }

    /// <summary>What it proves itself with to terminals.</summary>
    public required IkeCredential Credential { get; init; }

    public required IkeIdentity Identity { get; init; }

    public required RadiusClientOptions Radius { get; init; }

    /// <summary>Link towards the delegating router.</summary>
    public required string HomeInterface { get; init; }

    /// <summary>Delegating routers that the gateway relays its own requests to (RFC 8415 19); none: one is on <see cref="HomeInterface"/>.</summary>
    public IReadOnlyList<IPAddress> RelayTo { get; init; } = [];

    /// <summary>Of the requesting router; null: one is made and kept.</summary>
    public Duid? Duid { get; init; }

    /// <summary>Length of the prefixes asked for.</summary>
    public int PrefixLength { get; init; } = 64;

    /// <summary>The gateway is an anchor point too (embodiment 3): a local binding update has to come before the key exchange.</summary>
    public MobilityAnchorPointOptions? Anchor { get; init; }

    /// <summary>Servers that terminals reach before they have access: CMP, OCSP and CRL (spec G7).</summary>
    public IReadOnlyCollection<IPEndPoint> BeforeAccess { get; init; } = [];

    /// <summary>How long the delegating router may take before access is refused.</summary>
    public TimeSpan PrefixWait { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long access lasts where the authentication server says nothing.</summary>
    public TimeSpan AccessLifetime { get; init; } = TimeSpan.FromHours(8);

    /// <summary>After a restart: how long terminals of the earlier life may take to come back before their prefixes are given back.</summary>
    public TimeSpan ReturnWait { get; init; } = TimeSpan.FromMinutes(10);

    public int MaximumSessions { get; init; } = 10_000;

    public TimeSpan LivenessInterval { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Limits and ports of the key exchange; its peers are the gateway's.</summary>
    public IkeOptions KeyExchange { get; init; } = new() { Peers = [] };

    internal IkeOptions Ike() => KeyExchange with
    {
        Peers =
        [
            new IkePeer
            {
                Name = "terminal",
                LocalIdentity = Identity,
                Credential = Credential,
                EapAuthenticator = true,
                Authorize = true,
                Mobike = true,
                LivenessInterval = LivenessInterval,
                Children = Anchor is null ? [] : [LocalUpdates(Address, Anchor.RegionalPrefix)],
            },
        ],
    };

    /// <summary>Between one regional address and the anchor point, for binding updates and acknowledgements alone (RFC 5380 11.2).</summary>
    private static IkeChildOptions LocalUpdates(IPAddress anchor, IPNetwork regional) => new()
    {
        Name = "local-updates",
        Mode = ChildMode.Transport,
        OneRemoteAddress = true,
        LocalSelectors = [.. s_types.Select(type => SelectorNarrowing.Mobility(anchor, (byte)type))],
        RemoteSelectors = [.. s_types.Select(type => TrafficSelector.Of(regional, SelectorNarrowing.MobilityHeader) with { StartPort = (ushort)((byte)type << 8), EndPort = (ushort)((byte)type << 8) })],
    };

    private static readonly MobilityHeaderType[] s_types = [MobilityHeaderType.BindingUpdate, MobilityHeaderType.BindingAcknowledgement];
}

/// <summary>
/// Tells the delegating router whose an association of ours is, before anything is asked for under it (spec G5, G6, D3);
/// answered by <see cref="IdentityRegistered"/>.
/// </summary>
public sealed record RegisterIdentity(long Number, Duid Client, uint Iaid, string Identifier) : Effect;

public sealed record IdentityRegistered(long Number, bool Taken) : EngineInput;

/// <summary>What comes from this address by an access link may pass (spec TA-C15).</summary>
public sealed record PermitSource(IPAddress Source) : Effect;

/// <summary>It may no more.</summary>
public sealed record ForbidSource(IPAddress Source) : Effect;

/// <summary>Takes access back from a terminal.</summary>
public sealed record EndAccess(string Identifier) : EngineCommand;

/// <summary>How far a terminal has come.</summary>
public enum AccessStage : byte
{
    Authenticating,

    /// <summary>Proved; the delegating router is told whose the IAID is, then asked.</summary>
    WaitsForPrefix,

    /// <summary>The last answer is made; access begins with the IKE SA.</summary>
    Configured,
    Granted,
}

/// <summary>One terminal that asks for access or has it.</summary>
/// <param name="Prefix">Null before it is delegated.</param>
/// <param name="Until">Null before access is granted.</param>
public sealed record AccessSessionView(long IkeSa, AccessStage Stage, string Identifier, IPAddress Address, IPAddress? RegionalAddress, uint Iaid, IPNetwork? Prefix, DateTimeOffset? Until);
