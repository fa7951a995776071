using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;

namespace Sojourn.Engine.Ipsec;

/// <summary>Addresses as numbers, so that looking one up neither allocates nor compares octet by octet.</summary>
internal static class AddressNumber
{
    public static UInt128 Of(ReadOnlySpan<byte> address) => address.Length == 4
        ? BinaryPrimitives.ReadUInt32BigEndian(address)
        : BinaryPrimitives.ReadUInt128BigEndian(address);

    public static UInt128 Of(IPAddress address)
    {
        Span<byte> octets = stackalloc byte[16];
        _ = address.TryWriteBytes(octets, out var length);
        return Of(octets[..length]);
    }

    public static byte[] Octets(UInt128 address, bool isIPv6)
    {
        var octets = new byte[16];
        BinaryPrimitives.WriteUInt128BigEndian(octets, address);
        return isIPv6 ? octets : octets[12..];
    }

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

/// <summary>
/// Names suite and keys: the first half of SHA-256 over them, so that it can sit in a table and, as text, in the store of sequence numbers.
/// </summary>
internal readonly record struct KeyFingerprint(UInt128 Value)
{
    public static KeyFingerprint Of(SaParameters parameters)
    {
        var encryption = parameters.Keys.Encryption.Octets;
        var authentication = parameters.Keys.Authentication.Octets;
        Span<byte> named = stackalloc byte[1 + encryption.Length + authentication.Length];
        named[0] = (byte)parameters.Algorithm;
        encryption.CopyTo(named[1..]);
        authentication.CopyTo(named[(1 + encryption.Length)..]);
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(named, hash);
        CryptographicOperations.ZeroMemory(named);
        return new(BinaryPrimitives.ReadUInt128BigEndian(hash));
    }

    public override string ToString() => Value.ToString("X32", CultureInfo.InvariantCulture);

    /// <summary>As good as any of its bits are.</summary>
    public override int GetHashCode() => (int)(uint)Value;
}

/// <summary>Two tunnel ends, seen from here.</summary>
internal readonly record struct TunnelKey(bool IsIPv6, UInt128 Local, UInt128 Remote);

/// <summary>The masked addresses of a selector.</summary>
internal readonly record struct SelectorKey(UInt128 Source, UInt128 Destination);
