using System.Buffers.Binary;
using System.Net;

namespace Sojourn.Wire.Dhcpv6;

/// <summary>
/// View of the data of IA_PD (RFC 8415 21.21).
/// <code>
/// |                         IAID (4 octets)                       |
/// |                              T1                               |
/// |                              T2                               |
/// | options: IA Prefix, Status Code ...
/// </code>
/// </summary>
public readonly ref struct PrefixAssociation
{
    public const int FixedLength = 12;

    /// <param name="data">Data of an IA_PD option of a message that was read; shorter than its fixed part reads as all zero.</param>
    public PrefixAssociation(ReadOnlySpan<byte> data)
    {
        if (data.Length >= FixedLength)
        {
            Iaid = BinaryPrimitives.ReadUInt32BigEndian(data);
            T1 = BinaryPrimitives.ReadUInt32BigEndian(data[4..]);
            T2 = BinaryPrimitives.ReadUInt32BigEndian(data[8..]);
            Options = Dhcpv6Options.Checked(data[FixedLength..]);
        }
    }

    public uint Iaid { get; }

    /// <summary>Seconds until the client asks its server; 0 = its choice.</summary>
    public uint T1 { get; }

    /// <summary>Seconds until the client asks any server; 0 = its choice.</summary>
    public uint T2 { get; }

    public Dhcpv6Options Options { get; }
}

/// <summary>
/// The fixed part of IA Prefix (RFC 8415 21.22). Bits behind the length are cleared when read: receivers do not look at them.
/// <code>
/// |                      preferred-lifetime                       |
/// |                        valid-lifetime                         |
/// | prefix-length | IPv6-prefix (16 octets)
/// | options
/// </code>
/// </summary>
/// <param name="Preferred">Seconds.</param>
/// <param name="Valid">Seconds.</param>
public readonly record struct DelegatedPrefix(uint Preferred, uint Valid, IPNetwork Prefix)
{
    public const int FixedLength = 25;

    /// <summary>A length without a prefix is a wish for that length (RFC 8168).</summary>
    public bool IsLengthHint => Prefix.BaseAddress.Equals(IPAddress.IPv6Any);

    /// <param name="data">Data of an IA Prefix option of a message that was read: 25 octets or more, length of 128 or less.</param>
    public static DelegatedPrefix Read(ReadOnlySpan<byte> data)
    {
        Span<byte> address = stackalloc byte[16];
        data.Slice(9, 16).CopyTo(address);
        int length = data[8];
        for (var bit = length; bit < 128; bit = (bit | 7) + 1)
        {
            address[bit >> 3] &= (byte)(bit % 8 == 0 ? 0 : 0xFF << (8 - (bit % 8)));
        }

        return new DelegatedPrefix(
            BinaryPrimitives.ReadUInt32BigEndian(data), BinaryPrimitives.ReadUInt32BigEndian(data[4..]), new IPNetwork(new IPAddress(address), length));
    }
}
