using System.Net;
using Sojourn.Wire.Icmpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>Settings of a Mobile IPv6 mobile node or mobile router.</summary>
public sealed record MobileNodeOptions
{
    public required string Interface { get; init; }

    public required IReadOnlyList<SignallingPolicy> Policies { get; init; }

    /// <summary>Home agent; null asks the home link (RFC 6275 11.4.1).</summary>
    public IPAddress? HomeAgent { get; init; }

    /// <summary>Lifetime asked for; prefixes of home and care-of address may shorten it.</summary>
    public TimeSpan Lifetime { get; init; } = TimeSpan.FromMinutes(30);

    /// <summary>Part of the granted lifetime after which the binding is renewed.</summary>
    public double RefreshAt { get; init; } = 0.8;

    /// <summary>Networks that move along; makes the node a mobile router (RFC 3963). Told to the home agent explicitly.</summary>
    public IReadOnlyList<IPNetwork> MobileNetworks { get; init; } = [];

    /// <summary>Registers prefixes by the home agent's list instead of naming them (implicit mode, RFC 3963 5.2).</summary>
    public bool ImplicitNetworks { get; init; }

    /// <summary>Host name the home agent is asked to register for the home address (RFC 5026 6): the identifier of the certificate. Null = it is not asked.</summary>
    public string? Name { get; init; }

    /// <summary>The link-local address at home has the home address's interface identifier (L bit).</summary>
    public bool LinkLocalCompatible { get; init; }
}

/// <summary>The home address, as provisioned or built from a delegated prefix (spec TA1.115); a new one starts anew.</summary>
public sealed record SetHomeAddress(IPAddress HomeAddress, IPNetwork HomePrefix, DateTimeOffset ValidUntil) : EngineCommand;

/// <summary>The link as the host sees it.</summary>
public sealed record LinkReported(Ipv6Host.LinkConfigured Link) : EngineInput;

/// <summary>Tells the home agent anew, though the care-of address has not changed.</summary>
public sealed record RenewRegistration : EngineCommand;

/// <summary>Takes the binding back and stays silent until the next <see cref="SetHomeAddress"/>.</summary>
public sealed record LeaveHomeAgent : EngineCommand;

/// <summary>The node needs an association with the home agent for its home address, made from this care-of address (spec TA1.121).</summary>
public sealed record RequestAssociation(IPAddress HomeAddress, IPAddress HomeAgent, IPAddress CareOfAddress) : Effect;

/// <summary>The host shall hold the home address on its own link now, or not any more. <paramref name="Test"/>: test it for duplicates first (RFC 6275 11.5.5).</summary>
public sealed record HoldHomeAddress(IPAddress HomeAddress, bool AtHome, bool Test) : Effect;

/// <summary>Neighbours at home shall know again where the home address is (RFC 6275 11.5.5).</summary>
public sealed record AnnounceHomeAddress(IPAddress HomeAddress) : Effect;

/// <summary>Prefixes of the home link as a mobile prefix advertisement told them (spec TA4.176).</summary>
public sealed record HomePrefixesLearned(IPAddress HomeAddress, IReadOnlyList<PrefixInformationOption> Prefixes) : Effect;

/// <summary>
/// The home link has another prefix now, and the one of the home address is not to be used for new things any more (spec TA4.176a).
/// Whoever has a preset home address takes <paramref name="Next"/>, and everything from discovery on runs again for it (TA4.177).
/// </summary>
public sealed record HomePrefixChanged(IPAddress HomeAddress, SetHomeAddress Next) : Effect;
