using System.Net;
using System.Net.Sockets;

namespace Sojourn.Engine.Translation;

/// <summary>Settings of the IPv4–IPv6 translation of a terminal (spec terminal 3.3, 3.7).</summary>
public sealed record TranslationOptions
{
    /// <summary>First usable address = the host's own (V4h), last usable = resolver, the rest stand for correspondents (V4c). RFC 2544's range is nobody's.</summary>
    public IPNetwork Ipv4Pool { get; init; } = new(new IPAddress([198, 18, 0, 0]), 16);

    /// <summary>Prefix of a NAT64 that IPv4 destinations are reached through; null = they are refused (reading A-17).</summary>
    public Nat64Prefix? Ipv6Pool { get; init; }

    /// <summary>Life of an entry that TCP has used, from its last packet on; RFC 5382 REQ-5 asks for 2 h 4 min.</summary>
    public TimeSpan TcpIdle { get; init; } = TimeSpan.FromSeconds(7440);

    /// <summary>Life of every other entry, from its last packet or name query on.</summary>
    public TimeSpan Idle { get; init; } = TimeSpan.FromSeconds(300);

    /// <summary>Correspondents, and IPv4 destinations behind a NAT64, that may have an entry; each kind for itself. The pool may set a lower bound.</summary>
    public int MaximumEntries { get; init; } = 65_536;

    /// <summary>
    /// Longest IPv6 packet that what may be fragmented is made into (RFC 7915 4.1, lowest-ipv6-mtu), octets; the tunnel may set a lower bound.
    /// </summary>
    public int LowestIpv6Mtu { get; init; } = 1280;

    /// <summary>ICMPv6 errors a second that are sent towards the network (RFC 4443 2.4 (f)).</summary>
    public int ErrorsPerSecond { get; init; } = 100;

    /// <exception cref="ArgumentException">A setting with which nothing could be translated.</exception>
    public void Validate()
    {
        if (Ipv4Pool.BaseAddress.AddressFamily != AddressFamily.InterNetwork || Ipv4Pool.PrefixLength is < 8 or > 30)
        {
            throw new ArgumentException("the virtual IPv4 pool is no IPv4 prefix of 8 to 30 bits");
        }

        if (TcpIdle <= TimeSpan.Zero || Idle <= TimeSpan.Zero || MaximumEntries < 1 || LowestIpv6Mtu < 1280 || ErrorsPerSecond < 1)
        {
            throw new ArgumentException("a life time, a number of entries or an MTU with which nothing is translated");
        }
    }
}
