using System.Buffers.Binary;
using System.Net;

namespace Sojourn.Wire.Ikev2;

/// <summary>
/// Value of MIP6_HOME_PREFIX in a configuration payload (RFC 5026 5.3; row TA-M52).
/// <code>
/// |                        Prefix Lifetime                        |
/// |                      Home Prefix (16)                         |
/// | Prefix Length |
/// </code>
/// </summary>
/// <param name="Lifetime">Seconds.</param>
public readonly record struct Mip6HomePrefix(IPNetwork Prefix, uint Lifetime)
{
    public const int WireLength = 21;

    public IkeConfigurationAttribute ToAttribute()
    {
        var value = new byte[WireLength];
        BinaryPrimitives.WriteUInt32BigEndian(value, Lifetime);
        Prefix.BaseAddress.TryWriteBytes(value.AsSpan(4), out _);
        value[20] = (byte)Prefix.PrefixLength;
        return new IkeConfigurationAttribute(IkeConfigurationAttributeType.Mip6HomePrefix, value);
    }

    /// <summary>Bits behind the prefix's length are not looked at. False: another attribute, empty as in a request, or no prefix.</summary>
    public static bool TryRead(IkeConfigurationAttribute attribute, out Mip6HomePrefix value)
    {
        value = default;
        var octets = attribute.Value.Span;
        if (attribute.Type != IkeConfigurationAttributeType.Mip6HomePrefix || octets.Length != WireLength || octets[20] > 128)
        {
            return false;
        }

        Span<byte> prefix = stackalloc byte[16];
        octets[4..20].CopyTo(prefix);
        for (var bit = (int)octets[20]; bit < 128; bit++)
        {
            prefix[bit / 8] &= (byte)~(0x80 >> (bit % 8));
        }

        value = new Mip6HomePrefix(new IPNetwork(new IPAddress(prefix), octets[20]), BinaryPrimitives.ReadUInt32BigEndian(octets));
        return true;
    }
}
