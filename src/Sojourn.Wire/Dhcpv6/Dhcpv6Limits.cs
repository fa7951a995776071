namespace Sojourn.Wire.Dhcpv6;

/// <summary>Bounds of what the DHCPv6 codecs accept, and the protocol's fixed numbers.</summary>
public static class Dhcpv6Limits
{
    /// <summary>UDP port clients listen on (RFC 8415 7.2).</summary>
    public const ushort ClientPort = 546;

    /// <summary>UDP port servers and relay agents listen on (RFC 8415 7.2).</summary>
    public const ushort ServerPort = 547;

    /// <summary>Relay agents a message may pass (HOP_COUNT_LIMIT, RFC 8415 7.6).</summary>
    public const int HopCount = 8;

    /// <summary>Octets of a DUID with its type (RFC 8415 11.1: up to 128 behind the type code).</summary>
    public const int DuidLength = 130;

    /// <summary>Octets of the shortest DUID: type and one more.</summary>
    public const int DuidMinimum = 3;

    /// <summary>Options on one level of a message. Ours.</summary>
    public const int Options = 128;

    /// <summary>Levels of options inside options: an association, its leases, their status. Ours.</summary>
    public const int Depth = 4;

    /// <summary>A lifetime or time that never ends (RFC 8415 7.7).</summary>
    public const uint Infinity = uint.MaxValue;
}
