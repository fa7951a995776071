// Readings:
// - Passed on is every MAP option that a router above advertises, its distance one higher, and preference and flags as they stand (RFC 5380 6.1). One
//   that would be further away than the field can say is not.
// - The valid lifetime that is passed on is what is left of it, so that nobody believes in an anchor point for longer than it was said. An option that a router
//   leaves out counts on until then: advertisements need not have all options (RFC 4861 6.2.3).
// - Lifetime 0 takes an anchor point back at once; that is passed on for as long as it takes everybody below to hear it.
// - Of several routers that advertise one anchor point the nearest counts.
using System.Net;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Ipv6Host;

/// <summary>MAP options that an access router has from the advertisements of routers above it (spec terminal TM0.9, way 1).</summary>
internal sealed class LearnedAnchors
{
    private const int MaximumDistance = 15, MaximumEntries = 32;

    private static readonly TimeSpan s_takingBack = TimeSpan.FromSeconds(10);

    private readonly Dictionary<(string Link, IPAddress Router, IPAddress Anchor), (MobilityAnchorPointOption Option, DateTimeOffset Until)> _heard = [];

    public DateTimeOffset? NextExpiry => _heard.Values.Where(h => h.Until < DateTimeOffset.MaxValue).Min(h => (DateTimeOffset?)h.Until);

    /// <summary>Takes the options of a valid advertisement.</summary>
    /// <returns>What is passed on is another set now, lifetimes apart.</returns>
    public bool Hear(string link, IPAddress router, NeighborDiscoveryOptions options, DateTimeOffset now)
    {
        var before = Set(now);
        foreach (var option in options.OfType<MobilityAnchorPointOption>().Where(o => o.Distance < MaximumDistance && IPv6Octets.IsUnicastRoutable(o.Address)))
        {
            var key = (link, router, option.Address);
            if (_heard.TryGetValue(key, out var known) ? option.ValidLifetime == 0 && known.Option.ValidLifetime == 0 : option.ValidLifetime == 0 || _heard.Count == MaximumEntries)
            {
                continue;
            }

            var until = option.ValidLifetime switch { 0 => now + s_takingBack, PrefixInformationOption.Infinite => DateTimeOffset.MaxValue, var seconds => now + TimeSpan.FromSeconds(seconds) };
            _heard[key] = (option with { Distance = (byte)(option.Distance + 1) }, until);
        }

        return !before.SetEquals(Set(now));
    }

    /// <returns>Something is not passed on any more.</returns>
    public bool Expire(DateTimeOffset now)
    {
        var gone = _heard.Where(h => h.Value.Until <= now).Select(h => h.Key).ToList();
        gone.ForEach(key => _heard.Remove(key));
        return gone.Count > 0;
    }

    /// <summary>One option for each anchor point, the nearest first.</summary>
    public IEnumerable<MobilityAnchorPointOption> Options(DateTimeOffset now) => _heard.Values.Where(h => h.Until > now)
        .GroupBy(h => h.Option.Address).Select(g => g.OrderBy(h => h.Option.ValidLifetime == 0).ThenBy(h => h.Option.Distance).First()).OrderBy(h => h.Option.Distance)
        .Select(h => h.Option.ValidLifetime is 0 or PrefixInformationOption.Infinite ? h.Option : h.Option with { ValidLifetime = (uint)Math.Ceiling((h.Until - now).TotalSeconds) });

    private HashSet<MobilityAnchorPointOption> Set(DateTimeOffset now) => [.. Options(now).Select(o => o with { ValidLifetime = Math.Min(o.ValidLifetime, 1) })];
}
