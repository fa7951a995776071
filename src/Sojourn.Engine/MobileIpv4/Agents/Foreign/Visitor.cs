using System.Net;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>One row of the visitor list (RFC 5944 3.7.1).</summary>
public sealed record Visitor
{
    public required string Session { get; init; }

    /// <summary>Session-Id of the AMR that let it in; STR and ASR name it.</summary>
    public required string DiameterSession { get; init; }

    public required string Nai { get; init; }

    public required IPAddress HomeAddress { get; init; }

    public required IPAddress HomeAgent { get; init; }

    public required string Interface { get; init; }

    public required LinkAddress LinkAddress { get; init; }

    public required DateTimeOffset Expires { get; init; }

    /// <summary>Until then re-registrations need no AAA (Authorization-Lifetime).</summary>
    public required DateTimeOffset AuthorizedUntil { get; init; }

    /// <summary>AAAH's realm, where STR goes.</summary>
    public required string HomeRealm { get; init; }

    /// <summary>Identification of the last request granted here: what is older than it is stale (NV9.11).</summary>
    public ulong Registered { get; init; }

    /// <summary>The home agent's time in the reply that granted it (RFC 3543 3.2), seconds; null when it told none.</summary>
    public uint? HomeTime { get; init; }

    /// <summary>The home AAA server wants the next registration to come to it, with a service update (RFC 6733 8.3).</summary>
    public bool UpdateWanted { get; init; }

    public MobilityAssociation? MobileNode { get; init; }

    public MobilityAssociation? HomeAgentAssociation { get; init; }
}

/// <summary>A registration under way.</summary>
internal sealed record PendingRegistration
{
    public required RegistrationRequest Request { get; init; }

    /// <summary>The request as received.</summary>
    public required ReadOnlyMemory<byte> Octets { get; init; }

    public required IPEndPoint Source { get; init; }

    public required AgentAdvertiser Advertiser { get; init; }

    public required LinkAddress LinkAddress { get; init; }

    public required string Nai { get; init; }

    public required DateTimeOffset Expires { get; init; }

    public required string DiameterSession { get; init; }

    /// <summary>When the request came, the AAA servers answered, and the home agent replied by itself.</summary>
    public required DateTimeOffset Began { get; init; }

    public DateTimeOffset? AaaAnswered { get; init; }

    public DateTimeOffset? HomeAnswered { get; init; }

    /// <summary>What the AMA allowed, when the request then went to the home agent directly.</summary>
    public Visitor? Allowed { get; init; }

    /// <summary>With <see cref="Allowed"/>: the AMA's profiles, which send only after the home agent's reply (M10).</summary>
    public IReadOnlyList<VpnProfile>? Profiles { get; init; }

    /// <summary>The AMA's profiles wait for the reply; false for a renewal that no AAA server was asked about.</summary>
    public bool IsNewHere => Profiles is not null;

    /// <summary>The agent the node comes from, as the AMA names it (NV3.10).</summary>
    public IPAddress? PreviousAgent { get; init; }

    /// <summary>The home agent wanted new keys, and the AAA servers have been asked for them.</summary>
    public bool Anew { get; init; }

    public (LinkAddress, ulong) Key => (LinkAddress, Request.Identification);
}
