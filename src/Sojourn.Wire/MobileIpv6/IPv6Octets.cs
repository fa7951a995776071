using System.Net;
using System.Net.Sockets;

namespace Sojourn.Wire.MobileIpv6;

/// <summary>IPv6 addresses as sixteen octets.</summary>
public static class IPv6Octets
{
    public const int Size = 16;

    public static IPAddress Read(ReadOnlySpan<byte> octets) => new(octets[..Size]);

    public static void Write(Span<byte> destination, IPAddress address) => address.TryWriteBytes(destination, out _);

    /// <summary>Refuses a value that Mobile IPv6 cannot carry; a mistake of the caller, never of a peer.</summary>
    public static IPAddress Require(IPAddress address) => address.AddressFamily == AddressFamily.InterNetworkV6
        ? address
        : throw new ArgumentException("Mobile IPv6 carries IPv6 addresses only", nameof(address));

    /// <summary>
    /// Whether an address can be a home or care-of address: unicast, of more than link scope, not unspecified, loopback
    /// or an IPv4 address in IPv6 clothes (RFC 6275 2, 6.3, 6.4.1).
    /// </summary>
    public static bool IsUnicastRoutable(ReadOnlySpan<byte> address)
    {
        var linkLocal = address[0] == 0xFE && (address[1] & 0xC0) == 0x80;
        var lowZero = address[..10].IndexOfAnyExcept((byte)0) < 0;
        return address[0] != 0xFF && !linkLocal && !lowZero;
    }

    public static bool IsUnicastRoutable(IPAddress address)
    {
        Span<byte> octets = stackalloc byte[Size];
        return address.AddressFamily == AddressFamily.InterNetworkV6 && address.TryWriteBytes(octets, out _) && IsUnicastRoutable(octets);
    }
}
