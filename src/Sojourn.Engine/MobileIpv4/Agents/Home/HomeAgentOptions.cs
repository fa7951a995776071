using System.Net;
using Sojourn.Engine.Accounting;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>What a home agent does when a correspondent gateway does not take its profile (spec R38, NV9.9).</summary>
public enum UnansweredUpdatePolicy : byte
{
    /// <summary>Refuses the registration.</summary>
    Refuse,

    /// <summary>Registers without that profile; its traffic is blocked, never sent in clear.</summary>
    Degrade,
}

public sealed record HomeAgentOptions
{
    /// <summary>The agent's address: tunnel end and Home Agent field.</summary>
    public required IPAddress Address { get; init; }

    /// <summary>Home addresses lie in it.</summary>
    public required IPNetwork HomeNetwork { get; init; }

    /// <summary>Physical home link for proxy ARP; null for a virtual home network.</summary>
    public string? HomeInterface { get; init; }

    public required VpnControlOptions Vpn { get; init; }

    /// <summary>First and last address given to nodes that ask for one; null = none are given.</summary>
    public (IPAddress First, IPAddress Last)? Pool { get; init; }

    /// <summary>Longest registration lifetime granted (1..65534 s).</summary>
    public TimeSpan RegistrationLifetime { get; init; } = TimeSpan.FromSeconds(600);

    /// <summary>Difference of clocks accepted in an Identification (RFC 5944 5.7.1).</summary>
    public TimeSpan TimestampTolerance { get; init; } = Identification.DefaultTolerance;

    /// <summary>RFC 5649 keys shared with the Diameter nodes that hand keys to this agent, by identity.</summary>
    public IReadOnlyDictionary<string, KeyMaterial> KeyWrap { get; init; } = new Dictionary<string, KeyMaterial>();

    /// <summary>Contracts with correspondent gateways, by gateway address.</summary>
    public IReadOnlyDictionary<IPAddress, BindingAssociation> BindingContracts { get; init; } = new Dictionary<IPAddress, BindingAssociation>();

    /// <summary>Binding updates sent before giving up, and the time between them (spec NV9.9).</summary>
    public int UpdateTries { get; init; } = 3;

    public TimeSpan UpdateInterval { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>How long packets ask for nothing after a gateway did not take a profile that waited for one (spec NV8.3).</summary>
    public TimeSpan TriggerInterval { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>A packet the mobile node sends first distributes a waiting profile too; else only the correspondent's does (spec NV8.3). <see cref="HomeAgent.TriggerFromMobileNode"/> changes it later.</summary>
    public bool TriggerFromMobileNode { get; init; }

    public UnansweredUpdatePolicy UnansweredUpdate { get; init; }

    /// <summary>The reply to a node that moved carries its profiles for the new foreign agent, beside those the AMA brings there (spec R15).</summary>
    public bool ProfilesInReply { get; init; }

    /// <summary>Tells foreign agents of registrations that have ended there (RFC 3543).</summary>
    public bool Revocation { get; init; } = true;

    /// <summary>How long the former agent's inbound half lives after a move (spec R27, R31).</summary>
    public TimeSpan HandoffTime { get; init; } = TimeSpan.FromSeconds(10);

    public int MaximumBindings { get; init; } = 1_000_000;

    /// <summary>Registrations waiting for binding acknowledgements.</summary>
    public int MaximumPending { get; init; } = 16_384;

    /// <summary>HMAC-MD5 and HMAC-SHA-1 beside HMAC-SHA-256 (spec M6).</summary>
    public bool LegacyAuthenticators { get; init; }

    /// <summary>Takes MIP-Session-Key in clear from an AAA server that shares no wrapping key (spec M2).</summary>
    public bool PlainSessionKeys { get; init; }

    /// <summary>Null = no accounting.</summary>
    public AccountingOptions? Accounting { get; init; }

    public uint EnterpriseNumber { get; init; } = ProjectExtensions.DefaultEnterprise;
}
