using System.Net;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>Settings of a mobility anchor point.</summary>
public sealed record MobilityAnchorPointOptions
{
    /// <summary>What access routers advertise in the MAP option.</summary>
    public required IPAddress Address { get; init; }

    /// <summary>Regional addresses are formed from it; the first 64 bits of <see cref="Address"/> (RFC 5380 6).</summary>
    public required IPNetwork RegionalPrefix { get; init; }

    /// <summary>Where on-link addresses may lie; none = anywhere (RFC 5380 6.2).</summary>
    public IReadOnlyList<IPNetwork> DomainPrefixes { get; init; } = [];

    public TimeSpan LongestBinding { get; init; } = TimeSpan.FromMinutes(30);

    /// <summary>How long a local update waits for the outcome of access authentication and for its association.</summary>
    public TimeSpan AccessWait { get; init; } = TimeSpan.FromSeconds(60);

    public int MaximumBindings { get; init; } = 100_000;

    /// <summary>Local updates of strangers that wait at one time; further ones are dropped.</summary>
    public int MaximumWaiting { get; init; } = 1024;

    /// <summary>Regional addresses that are bound without an association between terminal and anchor point (spec G27, terminal SP6): whoever names one has its packets.</summary>
    public IReadOnlyList<IPNetwork> Unprotected { get; init; } = [];
}

/// <summary>
/// A local binding update of somebody who has no access yet: access authentication is to begin (spec TA3.163a). Nothing is
/// bound. Answered by <see cref="AccessDecided"/>; emitted once for as long as the update waits.
/// </summary>
public sealed record AccessWanted(IPAddress RegionalAddress, IPAddress OnLinkAddress) : Effect;

/// <summary>Access authentication of who uses a regional address has ended (spec TA3.150a, TA3.150x).</summary>
/// <param name="Identifier">Whom the authentication server named; empty when refused.</param>
/// <param name="Until">End of access; bindings do not outlive it.</param>
public sealed record AccessDecided(IPAddress RegionalAddress, bool Allowed, string Identifier, DateTimeOffset Until) : EngineCommand;

/// <summary>Access is taken back: the binding goes.</summary>
public sealed record WithdrawAccess(string Identifier) : EngineCommand;
