namespace Sojourn.Wire.Icmpv6;

/// <summary>Bounds of what the ICMPv6 codecs accept.</summary>
public static class Icmpv6Limits
{
    /// <summary>Octets of a message: a router advertisement or an echo on an ordinary link; neighbour discovery is never fragmented.</summary>
    public const int MessageLength = 9216;

    /// <summary>Options in one neighbour discovery message.</summary>
    public const int Options = 64;

    /// <summary>Octets of one option's data: 255 units of 8, less type and length (RFC 4861 4.6).</summary>
    public const int OptionData = (255 * 8) - 2;

    /// <summary>Home agents in one discovery reply; what fits into the minimum MTU (RFC 6275 10.5.1).</summary>
    public const int HomeAgents = (1280 - 40 - 8) / 16;

    /// <summary>Prefix control operations of a router renumbering command, or results.</summary>
    public const int PrefixControlOperations = 64;

    /// <summary>Hop limit of neighbour discovery; less means it came through a router (RFC 4861 3.1).</summary>
    public const byte NeighborDiscoveryHopLimit = 255;
}
