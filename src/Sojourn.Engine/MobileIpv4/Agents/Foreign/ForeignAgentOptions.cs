using System.Net;
using Sojourn.Engine.Accounting;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>A link on which a foreign agent takes visitors.</summary>
/// <param name="Interface">Interface name.</param>
/// <param name="Address">The agent's address there: the visitors' default router.</param>
/// <param name="PrefixLength">Of the link, advertised in the prefix-lengths extension.</param>
public sealed record AccessLink(string Interface, IPAddress Address, int PrefixLength)
{
    /// <summary>Time between unsolicited advertisements (RFC 5944 2.3: at most a third of their lifetime).</summary>
    public TimeSpan AdvertisementInterval { get; init; } = TimeSpan.FromSeconds(1);
}

public sealed record ForeignAgentOptions
{
    /// <summary>Care-of address and tunnel end; also the agent's address towards home agents.</summary>
    public required IPAddress CareOfAddress { get; init; }

    public required IReadOnlyList<AccessLink> Access { get; init; }

    public required VpnControlOptions Vpn { get; init; }

    /// <summary>Longest registration lifetime granted, advertised in seconds (1..65534).</summary>
    public TimeSpan RegistrationLifetime { get; init; } = TimeSpan.FromSeconds(600);

    /// <summary>
    /// Authorization asked of the AAA servers. As long as it covers a renewal's whole lifetime, the renewal needs no AAA (NV9.6).
    /// </summary>
    public TimeSpan AuthorizationLifetime { get; init; } = TimeSpan.FromHours(1);

    /// <summary>RFC 5649 keys shared with the Diameter nodes that hand keys to this agent, by identity.</summary>
    public IReadOnlyDictionary<string, KeyMaterial> KeyWrap { get; init; } = new Dictionary<string, KeyMaterial>();

    /// <summary>How many advertised challenges a request may still answer (RFC 4721 CHALLENGE_WINDOW).</summary>
    public int ChallengeWindow { get; init; } = 4;

    public int MaximumVisitors { get; init; } = 100_000;

    /// <summary>Registrations under way.</summary>
    public int MaximumPending { get; init; } = 4096;

    /// <summary>How long a request forwarded to a home agent waits for its reply.</summary>
    public TimeSpan ReplyTimeout { get; init; } = TimeSpan.FromSeconds(7);

    /// <summary>Refuses requests without the T bit (RFC 3024): the way up always goes through the tunnel.</summary>
    public bool ReverseTunnelMandatory { get; init; } = true;

    /// <summary>HMAC-MD5 and HMAC-SHA-1 beside HMAC-SHA-256 (spec M6).</summary>
    public bool LegacyAuthenticators { get; init; }

    /// <summary>Takes MIP-Session-Key in clear from an AAA server that shares no wrapping key (spec M2).</summary>
    public bool PlainSessionKeys { get; init; }

    /// <summary>How long the reply to a node that came from another agent waits for that agent (R38).</summary>
    public TimeSpan OldAgentWait { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>How long a tunnel to the agent a visitor went to stands (R27).</summary>
    public TimeSpan HandOffTime { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Agents that share a secret with this one, by address: for users whose profiles have no key of their own (M8).</summary>
    public IReadOnlyDictionary<IPAddress, BindingAssociation> Neighbours { get; init; } = new Dictionary<IPAddress, BindingAssociation>();

    /// <summary>Binding updates to the old agent: how often at most, and how far apart (R38).</summary>
    public int UpdateTries { get; init; } = 3;

    public TimeSpan UpdateInterval { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Null = no accounting.</summary>
    public AccountingOptions? Accounting { get; init; }

    public uint EnterpriseNumber { get; init; } = ProjectExtensions.DefaultEnterprise;
}
