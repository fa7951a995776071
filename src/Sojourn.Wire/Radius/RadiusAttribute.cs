using System.Buffers.Binary;
using System.Net;
using System.Text;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.Radius;

/// <summary>
/// One attribute: type, length with both of these octets, value (RFC 2865 5).
/// </summary>
/// <param name="Value">At most 253 octets.</param>
public readonly record struct RadiusAttribute(RadiusAttributeType Type, OctetString Value)
{
    public const int HeaderLength = 2;

    /// <summary>Octets with the header.</summary>
    public int Length => HeaderLength + Value.Length;

    /// <summary>The value as UTF-8. What is no UTF-8 comes out as replacement characters and so equals nobody's name.</summary>
    public string Text => Encoding.UTF8.GetString(Value.Span);

    /// <exception cref="ArgumentException">More than 253 octets of UTF-8.</exception>
    public static RadiusAttribute OfText(RadiusAttributeType type, string text)
    {
        var octets = Encoding.UTF8.GetBytes(text);
        return octets.Length <= RadiusLimits.AttributeLength ? new(type, octets) : throw new ArgumentException("longer than an attribute", nameof(text));
    }

    public static RadiusAttribute OfNumber(RadiusAttributeType type, uint number)
    {
        var octets = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(octets, number);
        return new(type, octets);
    }

    public static RadiusAttribute OfAddress(IPAddress address) => address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork
        ? new(RadiusAttributeType.NasIpAddress, address.GetAddressBytes())
        : new(RadiusAttributeType.NasIpv6Address, address.GetAddressBytes());

    /// <summary>Cuts an EAP message into attributes that must stand together and in order (RFC 3579 3.1).</summary>
    public static IEnumerable<RadiusAttribute> OfEap(ReadOnlyMemory<byte> message)
    {
        for (var at = 0; at < message.Length; at += RadiusLimits.AttributeLength)
        {
            yield return new(RadiusAttributeType.EapMessage, message.Span.Slice(at, Math.Min(RadiusLimits.AttributeLength, message.Length - at)));
        }
    }

    /// <summary>Delegated-IPv6-Prefix: reserved octet, length, as many octets as the length needs (RFC 4818 3).</summary>
    public static RadiusAttribute OfDelegatedPrefix(IPNetwork prefix) =>
        new(RadiusAttributeType.DelegatedIpv6Prefix, (byte[])[0, (byte)prefix.PrefixLength, .. prefix.BaseAddress.GetAddressBytes().AsSpan(0, (prefix.PrefixLength + 7) / 8)]);

    /// <summary>MIP6-Home-Link-Prefix: length, then sixteen octets (RFC 5447 4.2.3).</summary>
    public static RadiusAttribute OfHomeLinkPrefix(IPNetwork prefix) =>
        new(RadiusAttributeType.Mip6HomeLinkPrefix, (byte[])[(byte)prefix.PrefixLength, .. prefix.BaseAddress.GetAddressBytes()]);

    /// <summary>A sub-attribute of a vendor (RFC 2865 5.26).</summary>
    /// <exception cref="ArgumentException">Longer than an attribute.</exception>
    public static RadiusAttribute OfVendor(uint vendor, byte type, ReadOnlySpan<byte> value)
    {
        if (value.Length > RadiusLimits.AttributeLength - 6)
        {
            throw new ArgumentException("longer than an attribute", nameof(value));
        }

        var octets = new byte[6 + value.Length];
        BinaryPrimitives.WriteUInt32BigEndian(octets, vendor);
        octets[4] = type;
        octets[5] = (byte)(2 + value.Length);
        value.CopyTo(octets.AsSpan(6));
        return new(RadiusAttributeType.VendorSpecific, octets);
    }

    public bool TryReadNumber(out uint number)
    {
        number = Value.Length == 4 ? BinaryPrimitives.ReadUInt32BigEndian(Value.Span) : 0;
        return Value.Length == 4;
    }

    /// <summary>The prefix of a Delegated-IPv6-Prefix or a MIP6-Home-Link-Prefix; bits behind its length are not looked at.</summary>
    public bool TryReadPrefix(out IPNetwork prefix)
    {
        prefix = default;
        var value = Value.Span;
        var (lengthAt, from) = Type == RadiusAttributeType.DelegatedIpv6Prefix ? (1, 2) : (0, 1);
        if (value.Length < from || value[lengthAt] > 128 || value.Length - from > 16 || (value.Length - from) * 8 < value[lengthAt])
        {
            return false;
        }

        Span<byte> octets = stackalloc byte[16];
        octets.Clear();
        var length = value[lengthAt];
        value[from..].CopyTo(octets);
        for (var bit = (int)length; bit < 128; bit++)
        {
            octets[bit / 8] &= (byte)~(0x80 >> (bit % 8));
        }

        prefix = new IPNetwork(new IPAddress(octets), length);
        return true;
    }

    /// <summary>The value of a vendor's sub-attribute of the type; false when this is another attribute or is malformed.</summary>
    public bool TryReadVendor(uint vendor, byte type, out ReadOnlySpan<byte> value)
    {
        var octets = Value.Span;
        value = default;
        if (Type != RadiusAttributeType.VendorSpecific || octets.Length < 4 || BinaryPrimitives.ReadUInt32BigEndian(octets) != vendor)
        {
            return false;
        }

        for (var rest = octets[4..]; rest.Length >= 2 && rest[1] >= 2 && rest[1] <= rest.Length; rest = rest[rest[1]..])
        {
            if (rest[0] == type)
            {
                value = rest[2..rest[1]];
                return true;
            }
        }

        return false;
    }

    /// <summary>What forbids this attribute behind those before it; null when it may stand.</summary>
    internal (string Reason, string Clause)? Fault(List<RadiusAttribute> before) => Type switch
    {
        RadiusAttributeType.MessageAuthenticator when Value.Length != 16 => ("is not 16 octets long", "RFC 3579 3.2"),
        RadiusAttributeType.MessageAuthenticator or RadiusAttributeType.State or RadiusAttributeType.UserName or RadiusAttributeType.UserPassword when Stands(before, Type) => ("stands twice", "RFC 2865 5.44"),
        RadiusAttributeType.UserPassword when Value.Length is < 16 or > RadiusLimits.PasswordLength || Value.Length % 16 != 0 => ("is not 16 to 128 octets long in steps of 16", "RFC 2865 5.2"),
        RadiusAttributeType.EapMessage when Stands(before, Type) && before[^1].Type != Type => ("does not follow the one before", "RFC 3579 3.1"),
        _ => null,
    };

    private static bool Stands(List<RadiusAttribute> attributes, RadiusAttributeType type)
    {
        foreach (var attribute in attributes)
        {
            if (attribute.Type == type)
            {
                return true;
            }
        }

        return false;
    }
}
