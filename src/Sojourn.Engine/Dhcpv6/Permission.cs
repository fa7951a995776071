using System.Net;

namespace Sojourn.Engine.Dhcpv6;

/// <summary>What a permission is asked for (query Q1, spec 7.9).</summary>
public enum PermissionPurpose : byte
{
    Delegate,
    Renew,

    /// <summary>To tell a registered terminal a new home prefix (embodiment 4).</summary>
    Advertise,
}

/// <summary>Why the certification authority answers as it does.</summary>
public enum PermissionReason : byte
{
    Ok,
    Unknown,
    FlagClear,
    Expired,
    Revoked,
}

/// <summary>Answer to query Q1: the prefix-issue flag of an identifier (spec D4).</summary>
/// <param name="NotAfter">End of the certificate; null = no certificate bounds the permission.</param>
public sealed record PrefixPermission(bool Allowed, PermissionReason Reason, string? Certificate = null, DateTimeOffset? NotAfter = null)
{
    public static PrefixPermission Refused(PermissionReason reason) => new(false, reason);
}

/// <summary>
/// Asks the certification authority whether an identifier may be given a prefix (query Q1); answered by
/// <see cref="PermissionAnswered"/> with the same number. No answer is an answer too: the engine waits two seconds.
/// </summary>
public sealed record AskPermission(long Number, string Identifier, PermissionPurpose Purpose) : Effect;

/// <summary>An authority in the same process, which answers query Q1 at once; without one the engine emits <see cref="AskPermission"/>.</summary>
public interface ILocalAuthority
{
    /// <param name="identifier">In canonical form (<see cref="PrefixIdentity.Canonical"/>).</param>
    PrefixPermission Ask(string identifier, PermissionPurpose purpose);
}

public sealed record PermissionAnswered(long Number, PrefixPermission Permission) : EngineInput;

/// <summary>The authority withdraws its permission (event Q3): leases of the identifier end at once.</summary>
public sealed record WithdrawPermission(string Identifier, PermissionReason Reason) : EngineCommand;

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
