using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace Sojourn.Engine.Ipsec;

/// <summary>Addresses as numbers, so that looking one up neither allocates nor compares octet by octet.</summary>
internal static class AddressNumber
{
    public static UInt128 Of(ReadOnlySpan<byte> address) => address.Length == 4
        ? BinaryPrimitives.ReadUInt32BigEndian(address)
        : BinaryPrimitives.ReadUInt128BigEndian(address);

    public static UInt128 Of(IPAddress address) => Of(address.GetAddressBytes());

    public static bool IsIPv6(IPAddress address) => address.AddressFamily == AddressFamily.InterNetworkV6;

    /// <summary>The mask of a prefix length, for addresses of 32 or 128 bits.</summary>
    public static UInt128 Mask(int prefixLength, bool isIPv6)
    {
        var bits = isIPv6 ? 128 : 32;
        var all = isIPv6 ? UInt128.MaxValue : uint.MaxValue;
        return prefixLength == 0 ? 0 : all & ~(((UInt128)1 << (bits - prefixLength)) - 1);
    }
}

/// <summary>An association as a packet names it (RFC 4301 4.1, with both addresses).</summary>
internal readonly record struct AssociationKey(SecurityType Protocol, uint Spi, bool IsIPv6, UInt128 Source, UInt128 Destination);

/// <summary>Two tunnel ends, seen from here.</summary>
internal readonly record struct TunnelKey(bool IsIPv6, UInt128 Local, UInt128 Remote);

/// <summary>The masked addresses of a selector.</summary>
internal readonly record struct SelectorKey(UInt128 Source, UInt128 Destination);
