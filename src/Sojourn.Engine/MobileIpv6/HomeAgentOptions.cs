using System.Net;
using Sojourn.Wire.Icmpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>A home prefix and how long it lasts.</summary>
/// <param name="OnLink">True when the prefix lies on the home link and other hosts share it: the home agent then tests addresses for duplicates and answers for them. False when it is routed to the home agent (spec TA-M68).</param>
public sealed record HomePrefix(IPNetwork Prefix, DateTimeOffset ValidUntil, DateTimeOffset PreferredUntil, bool OnLink)
{
    public bool IsValid(DateTimeOffset now) => ValidUntil > now;
}

/// <summary>A home agent that serves the same prefixes.</summary>
/// <param name="Preference">Higher comes first in discovery replies.</param>
public sealed record OtherHomeAgent(IPAddress Address, ushort Preference);

/// <summary>Settings of a Mobile IPv6 home agent.</summary>
public sealed record HomeAgentOptions
{
    /// <summary>Where binding updates go to.</summary>
    public required IPAddress Address { get; init; }

    /// <summary>Interface on the home link; null when no prefix is on a link.</summary>
    public string? HomeInterface { get; init; }

    /// <summary>Link-layer address of that interface.</summary>
    public LinkAddress? HomeLinkAddress { get; init; }

    /// <summary>Link-local address of that interface, source of neighbour discovery.</summary>
    public IPAddress? HomeLinkLocal { get; init; }

    public required IReadOnlyList<HomePrefix> Prefixes { get; init; }

    public required IReadOnlyList<SignallingPolicy> Policies { get; init; }

    /// <summary>Prefixes a mobile router may bring along, by its home address (RFC 3963 6.1). Who is not in it is no mobile router.</summary>
    public IReadOnlyDictionary<IPAddress, IReadOnlyList<IPNetwork>> MobileNetworks { get; init; } = new Dictionary<IPAddress, IReadOnlyList<IPNetwork>>();

    /// <summary>Longest binding.</summary>
    public TimeSpan LongestBinding { get; init; } = TimeSpan.FromHours(1);

    /// <summary>More registrations than this are answered with status 130.</summary>
    public int MaximumBindings { get; init; } = 100_000;

    /// <summary>Preference in discovery replies; higher comes first (RFC 6275 7.4).</summary>
    public ushort Preference { get; init; }

    /// <summary>Named in discovery replies beside those whose advertisements are heard on the home link: where prefixes are routed here there is no such link.</summary>
    public IReadOnlyList<OtherHomeAgent> OtherHomeAgents { get; init; } = [];

    /// <summary>Home agents of the link remembered beside this one.</summary>
    public int MaximumHomeAgents { get; init; } = Icmpv6Limits.HomeAgents - 1;

    /// <summary>A care-of address that is neither the packet's source nor the key management's peer is refused (spec TA-H7).</summary>
    public bool ForeignCareOfAddresses { get; init; }

    /// <summary>Whether names of terminals are registered (spec TA1.137a).</summary>
    public NameRegistration Names { get; init; }

    /// <summary>Keeps the certificates of terminals and asks the certification authority before it tells a terminal another home prefix (embodiment 4).</summary>
    public bool KeepsCertificates { get; init; }

    /// <summary>Queries Q1 under way at once when the home prefix changes.</summary>
    public int MaximumQuestions { get; init; } = 64;

    /// <exception cref="ArgumentException">A setting that no protocol run could use.</exception>
    public void Validate()
    {
        if (Prefixes.Any(p => p.OnLink) && (HomeInterface is null || HomeLinkAddress is null || HomeLinkLocal is null))
        {
            throw new ArgumentException("a prefix on the home link needs the interface with its addresses");
        }

        if (LongestBinding < TimeSpan.FromSeconds(4) || MaximumBindings < 1 || MaximumQuestions < 1)
        {
            throw new ArgumentException("a home agent that accepts no binding");
        }
    }
}

/// <summary>Replaces the home prefixes; bindings are shortened to what their prefix has left and go when it is gone (spec TA-L4, RFC 6275 10.3.1).</summary>
public sealed record SetHomePrefixes(IReadOnlyList<HomePrefix> Prefixes) : EngineCommand;

/// <summary>Tells the mobile nodes of these home addresses the prefixes of the home link, under their associations, until they answer (RFC 6275 10.6).</summary>
public sealed record AdvertisePrefixes(IReadOnlyList<IPAddress> HomeAddresses) : EngineCommand;

/// <summary>Ends a binding without a word to the mobile node.</summary>
public sealed record ClearBinding(IPAddress HomeAddress) : EngineCommand;
