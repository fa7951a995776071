using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Ipsec;

/// <summary>The messages of return routability that go by way of the home agent (RFC 6275 5.2.5), told from everything else.</summary>
internal static class HomeTestPacket
{
    private const int MessageTypeOffset = 2;

    public static bool IsOne(in IpPacket packet) =>
        packet.IsIPv6 && IPv6ExtensionWalk.TryFindUpper(packet.AsIPv6(), out var upper) && upper is { UpperProtocol: IpProtocol.Mobility, IsLaterFragment: false }
        && packet.Octets.Length > upper.UpperOffset + MessageTypeOffset
        && (MobilityHeaderType)packet.Octets[upper.UpperOffset + MessageTypeOffset] is MobilityHeaderType.HomeTestInit or MobilityHeaderType.HomeTest;
}
