using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Engine.Dhcpv6;

public sealed record RequestingRouterOptions
{
    /// <summary>Null: one is made at the first start and kept.</summary>
    public Duid? Duid { get; init; }

    /// <summary>Link the messages leave by; answers that name another link are not taken.</summary>
    public required string Interface { get; init; }

    /// <summary>
    /// Whether an Advertise whose IA_PD has neither prefix nor status is an offer (spec R64, TA-A10). RFC 8415 18.2.9 has clients ignore
    /// it. It comes last: any Advertise with a prefix is taken before it.
    /// </summary>
    public bool TakesOffersWithoutPrefix { get; init; } = true;

    /// <summary>Bound of the random delay before a first message, which keeps apart clients that start together (SOL_MAX_DELAY, CNF_MAX_DELAY).</summary>
    public TimeSpan MaximumDelay { get; init; } = TimeSpan.FromSeconds(1);

    public int MaximumAssociations { get; init; } = 65_536;
}
