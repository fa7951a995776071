using System.Net;
using System.Text.Json.Serialization;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Engine.Dhcpv6;

/// <summary>What an identity association holds.</summary>
public enum LeaseKind : byte
{
    /// <summary>IA_PD.</summary>
    Prefix,

    /// <summary>IA_NA.</summary>
    Address,
}

/// <summary>A client's identity association. IAIDs of the two kinds are numbered apart (RFC 8415 12).</summary>
public readonly record struct ClientAssociationKey(LeaseKind Kind, uint Iaid)
{
    public override string ToString() => $"{(Kind == LeaseKind.Prefix ? "prefix" : "address")} {Iaid:x8}";
}

/// <summary>A delegated prefix, or a leased address as a prefix of 128 bits. <see cref="DateTimeOffset.MaxValue"/> = for ever.</summary>
public sealed record ClientLease(IPNetwork Prefix, DateTimeOffset PreferredUntil, DateTimeOffset ValidUntil);

/// <summary>An association as it stands.</summary>
/// <param name="Asking">Message whose answer is awaited; null = bound, nothing to do before <paramref name="RenewAt"/>.</param>
/// <param name="Server">Who granted the leases.</param>
public sealed record ClientAssociationView(
    ClientAssociationKey Key, Dhcpv6MessageType? Asking, Duid? Server, IReadOnlyList<ClientLease> Leases, DateTimeOffset? RenewAt, DateTimeOffset? RebindAt);

/// <summary>Asks for a prefix and keeps it renewed until <see cref="ReleaseLease"/>. Again for the same IAID: nothing.</summary>
/// <param name="Iaid">Chosen by the caller, the same each time (RFC 8415 12); a gateway has one per terminal (spec G6).</param>
/// <param name="Length">Wanted prefix length (RFC 8168); null = the server's choice.</param>
public sealed record AcquirePrefix(uint Iaid, int? Length = null) : EngineCommand;

/// <summary>Asks for an address (M flag) and keeps it renewed.</summary>
public sealed record AcquireAddress(uint Iaid) : EngineCommand;

/// <summary>Gives the lease back, or stops asking.</summary>
/// <param name="Tell">False: the server is not told, since the link is gone.</param>
public sealed record ReleaseLease(LeaseKind Kind, uint Iaid, bool Tell = true) : EngineCommand;

/// <summary>Somebody else on the link uses the address (RFC 8415 18.2.8); another one is asked for.</summary>
public sealed record DeclineAddress(uint Iaid) : EngineCommand;

/// <summary>Takes nothing more from a server and gives up what it granted: its prefix turned out to be nobody's home (spec TA-H12).</summary>
/// <param name="Duration">How long.</param>
public sealed record AvoidServer(Duid Server, TimeSpan Duration) : EngineCommand;

/// <summary>A prefix is delegated, or its time was extended. Saved before.</summary>
/// <param name="IsNew">False = extended.</param>
public sealed record PrefixDelegated(uint Iaid, IPNetwork Prefix, DateTimeOffset PreferredUntil, DateTimeOffset ValidUntil, Duid Server, bool IsNew) : Effect;

/// <summary>A prefix must not be used any more; another is asked for unless it was released.</summary>
public sealed record PrefixLost(uint Iaid, IPNetwork Prefix, LeaseLoss Reason) : Effect;

/// <summary>An address is leased, or its time was extended. The host tests it for duplicates (<see cref="DeclineAddress"/>).</summary>
/// <param name="IsNew">False = extended.</param>
public sealed record AddressLeased(uint Iaid, IPAddress Address, DateTimeOffset PreferredUntil, DateTimeOffset ValidUntil, Duid Server, bool IsNew) : Effect;

public sealed record AddressLost(uint Iaid, IPAddress Address, LeaseLoss Reason) : Effect;

/// <summary>
/// Nothing was granted so far: emitted each time a Solicit has waited in vain and each time a server refuses. The engine keeps asking, ever
/// more slowly; who does not want to wait sends <see cref="ReleaseLease"/>.
/// </summary>
/// <param name="Server">Who refused; null = nobody answered.</param>
/// <param name="Status">Why, e.g. <see cref="Dhcpv6Status.NoPrefixAvailable"/>; null = silence.</param>
/// <param name="Attempt">How often this was said since the association was last bound, from 1.</param>
public sealed record LeaseUnavailable(LeaseKind Kind, uint Iaid, Duid? Server, Dhcpv6Status? Status, string Text, int Attempt) : Effect;

public enum LeaseLoss : byte
{
    /// <summary>No server extended it in time.</summary>
    Expired,

    /// <summary>Given back.</summary>
    Released,

    /// <summary>A server set its lifetime to 0, or knows nothing of it.</summary>
    Withdrawn,

    /// <summary>It does not fit the link.</summary>
    NotOnLink,

    /// <summary>Another node has the address.</summary>
    Declined,

    /// <summary>Its server is avoided.</summary>
    ServerAvoided,
}

/// <summary>A bound association in the store.</summary>
internal sealed record ClientLeaseRecord(
    LeaseKind Kind, uint Iaid, int? Length, string Server, DateTimeOffset? RenewAt, DateTimeOffset? RebindAt, IReadOnlyList<ClientLeaseRecord.Lease> Leases)
{
    internal sealed record Lease(string Prefix, DateTimeOffset PreferredUntil, DateTimeOffset ValidUntil);
}

[JsonSerializable(typeof(ClientLeaseRecord))]
internal sealed partial class ClientLeaseJson : JsonSerializerContext;
