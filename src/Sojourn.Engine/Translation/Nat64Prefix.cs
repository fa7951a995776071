using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace Sojourn.Engine.Translation;

/// <summary>
/// A prefix that IPv4 addresses are embedded behind (RFC 6052 2.2). Bits 64 to 71 stay zero; with a prefix shorter than 96 bits the
/// IPv4 address goes around them, and what follows it is zero.
/// </summary>
public sealed record Nat64Prefix
{
    private readonly UInt128 _base;

    /// <exception cref="ArgumentException">Not one of the six lengths of RFC 6052 2.2, or bits 64 to 71 are set.</exception>
    public Nat64Prefix(IPNetwork prefix)
    {
        if (prefix.BaseAddress.AddressFamily != AddressFamily.InterNetworkV6 || prefix.PrefixLength is not (32 or 40 or 48 or 56 or 64 or 96))
        {
            throw new ArgumentException("a NAT64 prefix has 32, 40, 48, 56, 64 or 96 bits (RFC 6052 2.2)");
        }

        Prefix = prefix;
        _base = AddressBits.Of6(prefix.BaseAddress);
        if ((byte)(_base >> 56) != 0)
        {
            throw new ArgumentException("bits 64 to 71 of a NAT64 prefix are zero (RFC 6052 2.2)");
        }
    }

    /// <summary>64:ff9b::/96 (RFC 6052 2.1).</summary>
    public static Nat64Prefix WellKnown { get; } = new(IPNetwork.Parse("64:ff9b::/96"));

    public IPNetwork Prefix { get; }

    public IPAddress Embed(IPAddress address) => AddressBits.To6(Embed(AddressBits.Of4(address)));

    internal UInt128 Embed(uint address)
    {
        if (Prefix.PrefixLength == 96)
        {
            return _base | address;
        }

        // What lies beyond bit 64 moves on by the eight bits that stay zero.
        var bits = (UInt128)address << (96 - Prefix.PrefixLength);
        return _base | (bits >> 64 << 64) | ((ulong)bits >> 8);
    }

    /// <summary>The IPv4 address in <paramref name="address"/>; false when it is not of this prefix, or has bits set where none belong.</summary>
    internal bool TryExtract(UInt128 address, out uint embedded)
    {
        embedded = Prefix.PrefixLength == 96
            ? (uint)address
            : (uint)(((address >> 64 << 64) | ((ulong)address << 8)) >> (96 - Prefix.PrefixLength));
        return Embed(embedded) == address;
    }

    public override string ToString() => Prefix.ToString();
}

/// <summary>Addresses as numbers, which is what tables are searched by.</summary>
internal static class AddressBits
{
    public static UInt128 Of6(ReadOnlySpan<byte> octets) => BinaryPrimitives.ReadUInt128BigEndian(octets);

    public static uint Of4(ReadOnlySpan<byte> octets) => BinaryPrimitives.ReadUInt32BigEndian(octets);

    public static UInt128 Of6(IPAddress address)
    {
        Span<byte> octets = stackalloc byte[16];
        return address.TryWriteBytes(octets, out var written) && written == 16 ? Of6(octets) : throw new ArgumentException("not an IPv6 address", nameof(address));
    }

    public static uint Of4(IPAddress address)
    {
        Span<byte> octets = stackalloc byte[16];
        return address.TryWriteBytes(octets, out var written) && written == 4 ? Of4(octets) : throw new ArgumentException("not an IPv4 address", nameof(address));
    }

    public static IPAddress To6(UInt128 bits)
    {
        Span<byte> octets = stackalloc byte[16];
        BinaryPrimitives.WriteUInt128BigEndian(octets, bits);
        return new IPAddress(octets);
    }

    public static IPAddress To4(uint bits)
    {
        Span<byte> octets = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(octets, bits);
        return new IPAddress(octets);
    }

    /// <summary>An address one host can have (RFC 1122 3.2.1.3): no "this network", loopback, link-local, multicast or broadcast.</summary>
    public static bool IsHost4(uint address) => (address >> 24) is not (0 or 127 or >= 224) && address >> 16 != 0xA9FE;

    /// <summary>An address one host beyond this link can have: not unspecified, loopback, IPv4-mapped, link-local or multicast.</summary>
    public static bool IsHost6(UInt128 address) =>
        address >> 96 != 0 && (byte)(address >> 120) != 0xFF && (ushort)(address >> 118) != 0x3FA;
}
