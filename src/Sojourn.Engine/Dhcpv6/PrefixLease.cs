using System.Net;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Engine.Dhcpv6;

/// <summary>What a prefix is delegated to: an IA_PD is known by its IAID only together with its client's DUID (spec G5).</summary>
public readonly record struct AssociationKey(Duid Client, uint Iaid)
{
    public override string ToString() => $"{Client}/{Iaid}";
}

/// <summary>Who wrote a row of the identity table.</summary>
public enum IdentityOrigin : byte
{
    /// <summary>The operator.</summary>
    Provisioned,

    /// <summary>A gateway, after its access authentication (spec G6).</summary>
    Gateway,
}

/// <summary>
/// A row of the table that ties an IA_PD to a terminal's identifier (spec D3).
/// </summary>
/// <param name="Identifier">The name the certification authority knows the terminal by, in canonical form (<see cref="CertificateAuthority.TerminalIdentifier"/>, spec G35).</param>
/// <param name="Relays">
/// Where the client may be: addresses of relay agents, or locations as a lease shows them. <see cref="Anywhere"/> = anywhere (a
/// terminal that roams); empty = where its lease began, as long as the lease lives.
/// </param>
public sealed record PrefixIdentity(AssociationKey Key, string Identifier, IdentityOrigin Origin, IReadOnlyList<string> Relays)
{
    public const string Anywhere = "*";
}

/// <summary>The identity table. Asked with each message, so that a change counts at once.</summary>
public interface IPrefixIdentities
{
    PrefixIdentity? Find(AssociationKey key);
}

public enum LeaseState : byte
{
    /// <summary>Advertised; nothing is promised yet.</summary>
    Offered = 1,

    /// <summary>Delegated until <see cref="PrefixLease.ValidUntil"/>.</summary>
    Allocated = 2,

    /// <summary>Ended. The prefix is kept for the same client until another needs it.</summary>
    Expired = 3,
}

/// <summary>A row of the prefix control table (spec D2).</summary>
public sealed record PrefixLease(AssociationKey Key, string Identifier, IPNetwork Prefix)
{
    public required LeaseState State { get; init; }

    /// <summary>By which link or relay agent the client came; see <see cref="ClientPath"/>.</summary>
    public required string Location { get; init; }

    /// <summary>Where packets to the prefix go: the client itself on a link, or the relay agent.</summary>
    public required IPAddress NextHop { get; init; }

    /// <summary>Link of a directly attached client.</summary>
    public string? Interface { get; init; }

    /// <summary>When the prefix was first delegated; null of an offer that was never taken.</summary>
    public DateTimeOffset? Granted { get; init; }

    public required DateTimeOffset PreferredUntil { get; init; }

    /// <summary>End of the offer, of the lease, or when it ended.</summary>
    public required DateTimeOffset ValidUntil { get; init; }

    public DateTimeOffset? RenewAt { get; init; }

    public DateTimeOffset? RebindAt { get; init; }

    /// <summary>Serial number of the certificate that the authority named when it permitted this.</summary>
    public string? Certificate { get; init; }

    public bool IsAllocated => State == LeaseState.Allocated;
}

/// <summary>A change of the lease table; committed with the batch's other state, before any message of the batch leaves.</summary>
public abstract record LeaseChange : Effect;

/// <summary>Adds the lease or replaces the one of the same key.</summary>
public sealed record StoreLease(PrefixLease Lease) : LeaseChange;

public sealed record RemoveLease(AssociationKey Key) : LeaseChange;

/// <summary>The stored leases, read once at the start of an engine's life.</summary>
public interface IPrefixLeases
{
    IReadOnlyList<PrefixLease> LoadAll();
}

/// <summary>A route of a delegated prefix. Without gateway and interface it is unreachable: packets for it end here.</summary>
public sealed record DelegatedRoute(IPNetwork Prefix, IPAddress? Gateway, string? Interface);

/// <summary>Everything there is to be, at the start: routes an earlier life left beyond these go.</summary>
public sealed record SetDelegatedRoutes(IReadOnlyList<DelegatedRoute> Routes) : Effect;

/// <summary>Adds the route or replaces the one of the same prefix.</summary>
public sealed record AddDelegatedRoute(DelegatedRoute Route) : Effect;

public sealed record RemoveDelegatedRoute(IPNetwork Prefix) : Effect;
