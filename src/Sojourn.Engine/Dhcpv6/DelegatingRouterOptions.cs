using System.Net;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Engine.Dhcpv6;

/// <param name="Prefix">What is delegated from.</param>
/// <param name="DelegatedLength">Length of a delegated prefix.</param>
public sealed record PrefixPoolOptions(IPNetwork Prefix, int DelegatedLength);

/// <summary>Where routes of delegated prefixes lead.</summary>
public enum DelegatedRoutes : byte
{
    /// <summary>No routes: somebody else routes the prefixes, e.g. to a home agent (spec TA-M28).</summary>
    None,

    /// <summary>To the client on a link, or to the relay agent it came by.</summary>
    NextHop,
}

public sealed record DelegatingRouterOptions
{
    /// <summary>Null: one is made at the first start and kept.</summary>
    public Duid? Duid { get; init; }

    public required IReadOnlyList<PrefixPoolOptions> Pools { get; init; }

    /// <summary>Relay agents whose messages are taken.</summary>
    public IReadOnlyCollection<IPAddress> Relays { get; init; } = [];

    /// <summary>Links whose clients are served without a relay agent.</summary>
    public IReadOnlyCollection<string> Interfaces { get; init; } = [];

    public TimeSpan PreferredLifetime { get; init; } = TimeSpan.FromMinutes(30);

    public TimeSpan ValidLifetime { get; init; } = TimeSpan.FromHours(1);

    /// <summary>How long an advertised prefix is kept for its client.</summary>
    public TimeSpan OfferLifetime { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>Whether an Advertise names the prefix (spec R64 leaves it open). Some clients do not take an offer without one.</summary>
    public bool PrefixInAdvertise { get; init; } = true;

    /// <summary>Preference of this server; 0 is not sent (RFC 8415 21.8).</summary>
    public byte Preference { get; init; }

    public IReadOnlyList<IPAddress> DnsServers { get; init; } = [];

    public DelegatedRoutes Routes { get; init; }

    /// <summary>Null: the authority is asked by <see cref="AskPermission"/>.</summary>
    public ILocalAuthority? Authority { get; init; }

    /// <summary>How often the authority is asked about each delegated prefix, so that a lost withdrawal counts late and not never (spec Q3); zero = never.</summary>
    public TimeSpan PermissionPolling { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Messages of one client within <see cref="RateWindow"/>; more are dropped (spec L6).</summary>
    public int MessagesPerClient { get; init; } = 25;

    /// <summary>Refusals of clients nobody knows that are sent per <see cref="RateWindow"/>; more are dropped.</summary>
    public int RefusalsOfStrangers { get; init; } = 5000;

    public static readonly TimeSpan RateWindow = TimeSpan.FromSeconds(5);

    public int MaximumPending { get; init; } = 16_384;
}
