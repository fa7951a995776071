using System.Net;
using Sojourn.Engine.CertificateAuthority;

namespace Sojourn.Engine.Dhcpv6;

/// <summary>Answer to query Q1: the prefix-issue flag of an identifier (spec D4).</summary>
/// <param name="NotAfter">End of the certificate; null = no certificate bounds the permission.</param>
public sealed record PermissionDecision(bool Allowed, PermissionReason Reason, string? Certificate = null, DateTimeOffset? NotAfter = null)
{
    public static PermissionDecision Refused(PermissionReason reason) => new(false, reason);
}

/// <summary>
/// Asks the certification authority whether an identifier may be given a prefix (query Q1); answered by
/// <see cref="PermissionAnswered"/> with the same number. No answer is an answer too: the engine waits two seconds.
/// </summary>
public sealed record AskPermission(long Number, string Identifier, PermissionPurpose Purpose) : Effect;

/// <summary>An authority in the same process, which answers query Q1 at once; without one the engine emits <see cref="AskPermission"/>.</summary>
public interface ILocalAuthority
{
    /// <param name="identifier">In canonical form (<see cref="TerminalIdentifier"/>).</param>
    PermissionDecision Ask(string identifier, PermissionPurpose purpose);
}

public sealed record PermissionAnswered(long Number, PermissionDecision Permission) : EngineInput;

/// <summary>The authority withdraws its permission (event Q3): leases of the identifier end at once.</summary>
/// <param name="Certificate">
/// Serial number of the certificate that is no longer good; null = whatever it is. A lease that goes with another one does not end: the
/// authority is asked about it, for the event may be an old one.
/// </param>
/// <param name="Receipt">Answered by <see cref="PermissionWithdrawn"/>; 0 = nobody waits.</param>
public sealed record WithdrawPermission(string Identifier, PermissionReason Reason, string? Certificate = null, long Receipt = 0) : EngineCommand;

/// <summary>A withdrawal counts and is committed.</summary>
public sealed record PermissionWithdrawn(long Receipt) : Effect;

/// <summary>A home agent asks (query Q2); answered by <see cref="AllocationFound"/> with the same number.</summary>
/// <param name="Identifier">In canonical form (<see cref="TerminalIdentifier"/>).</param>
public sealed record AllocationQueried(long Number, IPAddress Address, string Identifier) : EngineInput;

public sealed record AllocationFound(long Number, PrefixAllocation Allocation) : Effect;

/// <summary>An operator ends leases: of an identifier, or the one that covers an address. Both null = all.</summary>
public sealed record EndLeases(string? Identifier, IPAddress? Address) : EngineCommand;

public enum LeaseEnd : byte
{
    Expired,
    Released,

    /// <summary>The authority withdrew its permission, or refused it when it was asked again.</summary>
    Withdrawn,

    /// <summary>An operator ended it.</summary>
    Cleared,
}

/// <summary>Tells home agents that an allocation has ended, so that they remove associations and bindings (event Q3, spec L4).</summary>
public sealed record AllocationEnded(IPNetwork Prefix, string Identifier, LeaseEnd Reason) : Effect;

/// <summary>Answer to query Q2: whether an address lies in an allocated prefix and whose it is.</summary>
/// <param name="OwnerMatches">The prefix belongs to the identifier that was asked about (spec G4).</param>
/// <param name="Prefix">The covering prefix, when the owner matches.</param>
public sealed record PrefixAllocation(bool Allocated, bool OwnerMatches, IPNetwork? Prefix, DateTimeOffset? ValidUntil)
{
    public static readonly PrefixAllocation None = new(false, false, null, null);
}
