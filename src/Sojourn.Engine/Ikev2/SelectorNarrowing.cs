using System.Net;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// Narrowing of traffic selectors (RFC 7296 2.9): what both sides name. Types of Mobility Header and ICMP stand where ports
/// stand (RFC 4877 7.2), so the same intersection is right for them (row TA-M15).
/// </summary>
public static class SelectorNarrowing
{
    public const byte MobilityHeader = 135, Icmpv6 = 58;

    /// <summary>A mobility header type: in the high octet of the port (RFC 4877 7.2), e.g. 5 for a binding update.</summary>
    public static TrafficSelector Mobility(IPAddress address, byte type) => new(MobilityHeader, (ushort)(type << 8), (ushort)(type << 8), address, address);

    /// <summary>An ICMPv6 type with any code (RFC 4301 4.4.1.1): 146 mobile prefix solicitation, 147 advertisement.</summary>
    public static TrafficSelector Icmp(IPAddress address, byte type) => new(Icmpv6, (ushort)(type << 8), (ushort)((type << 8) | 0xFF), address, address);

    /// <summary>Every intersection of one of <paramref name="asked"/> with one of <paramref name="allowed"/>, without those that lie in another. Empty when nothing is common.</summary>
    public static IReadOnlyList<TrafficSelector> Narrow(IEnumerable<TrafficSelector> asked, IReadOnlyList<TrafficSelector> allowed)
    {
        var common = new List<TrafficSelector>();
        foreach (var one in asked)
        {
            foreach (var other in allowed)
            {
                if (Intersect(one, other) is not { } both || common.Exists(c => Covers(c, both)))
                {
                    continue;
                }

                common.RemoveAll(c => Covers(both, c));
                common.Add(both);
                if (common.Count == Ikev2Limits.Selectors)
                {
                    return common;
                }
            }
        }

        return common;
    }

    /// <summary>True when everything in <paramref name="inner"/> is in <paramref name="outer"/>.</summary>
    public static bool Covers(TrafficSelector outer, TrafficSelector inner) => Intersect(outer, inner) == inner;

    /// <summary>True when everything asked for has protocol and ports of something allowed, whatever the addresses.</summary>
    public static bool SameTraffic(IReadOnlyList<TrafficSelector> asked, IReadOnlyList<TrafficSelector> allowed) =>
        asked.All(a => allowed.Any(o => o.Protocol == a.Protocol && o.StartPort == a.StartPort && o.EndPort == a.EndPort));

    private static TrafficSelector? Intersect(TrafficSelector a, TrafficSelector b)
    {
        if (a.IsIPv6 != b.IsIPv6 || (a.Protocol != 0 && b.Protocol != 0 && a.Protocol != b.Protocol))
        {
            return null;
        }

        var (start, end) = (Highest(a.StartAddress, b.StartAddress), Lowest(a.EndAddress, b.EndAddress));
        if (Compare(start, end) > 0)
        {
            return null;
        }

        var protocol = Math.Max(a.Protocol, b.Protocol);
        if (a.IsOpaque || b.IsOpaque)
        {
            var other = a.IsOpaque ? b : a;
            return other.IsOpaque || (other.StartPort == 0 && other.EndPort == ushort.MaxValue) ? new TrafficSelector(protocol, ushort.MaxValue, 0, start, end) : null;
        }

        var (first, last) = (Math.Max(a.StartPort, b.StartPort), Math.Min(a.EndPort, b.EndPort));
        return first <= last ? new TrafficSelector(protocol, first, last, start, end) : null;
    }

    private static IPAddress Highest(IPAddress a, IPAddress b) => Compare(a, b) >= 0 ? a : b;

    private static IPAddress Lowest(IPAddress a, IPAddress b) => Compare(a, b) <= 0 ? a : b;

    private static int Compare(IPAddress a, IPAddress b) => a.GetAddressBytes().AsSpan().SequenceCompareTo(b.GetAddressBytes());
}
