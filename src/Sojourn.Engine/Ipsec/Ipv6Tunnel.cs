using System.Net;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Ipsec;

/// <summary>IPv6 in IPv6 (RFC 2473 3) at a node that handles its packets one by one.</summary>
public static class Ipv6Tunnel
{
    /// <summary>The packet behind a header from one tunnel end to the other.</summary>
    public static byte[] Encapsulate(ReadOnlySpan<byte> inner, IPAddress source, IPAddress destination, byte hopLimit)
    {
        var outer = new byte[IPv6Header.Length + inner.Length];
        WriteHeader(outer, inner, inner.Length, IpProtocol.IPv6, source, destination, hopLimit);
        inner.CopyTo(outer.AsSpan(IPv6Header.Length));
        return outer;
    }

    /// <summary>The header of a tunnel around <paramref name="inner"/>: DSCP and ECN are copied (RFC 2473 6.4, RFC 6040 4.1).</summary>
    /// <param name="payload">Octets behind the header.</param>
    public static void WriteHeader(Span<byte> outer, ReadOnlySpan<byte> inner, int payload, byte nextHeader, IPAddress source, IPAddress destination, byte hopLimit)
    {
        Span<byte> ends = stackalloc byte[2 * IPv6Octets.Size];
        IPv6Octets.Write(ends, source);
        IPv6Octets.Write(ends[IPv6Octets.Size..], destination);
        var trafficClass = (byte)((inner[0] << 4) | (inner[1] >> 4));
        IPv6Header.Write(outer, trafficClass, 0, payload, nextHeader, hopLimit, ends[..IPv6Octets.Size], ends[IPv6Octets.Size..]);
    }
}
