using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.Radius;

/// <summary>
/// A RADIUS packet (RFC 2865 3). Its authenticators are computed by whoever has the shared secret.
/// <code>
/// |     Code      |  Identifier   |            Length             |
/// |                         Authenticator (16)                    |
/// | Attributes ...
/// </code>
/// Octets behind Length are padding and ignored, as the RFC demands.
/// </summary>
/// <param name="Authenticator">16 octets.</param>
/// <param name="Attributes">In the order of the wire, which matters (RFC 2865 5).</param>
public sealed record RadiusPacket(RadiusCode Code, byte Identifier, OctetString Authenticator, IReadOnlyList<RadiusAttribute> Attributes)
{
    public const int HeaderLength = 20;

    /// <summary>Octets before the authenticator.</summary>
    public const int AuthenticatorOffset = 4;

    public int Length => HeaderLength + Attributes.Sum(a => a.Length);

    /// <summary>The message that the EAP-Message attributes carry together (RFC 3579 3.1); empty when there is none.</summary>
    public byte[] EapMessage => [.. Attributes.Where(a => a.Type == RadiusAttributeType.EapMessage).SelectMany(a => a.Value.ToArray())];

    /// <summary>The first attribute of the type; null when absent.</summary>
    public RadiusAttribute? Find(RadiusAttributeType type)
    {
        foreach (var attribute in Attributes)
        {
            if (attribute.Type == type)
            {
                return attribute;
            }
        }

        return null;
    }

    /// <summary>Where the value of the Message-Authenticator stands in the written packet; -1 when there is none.</summary>
    public int MessageAuthenticatorOffset
    {
        get
        {
            var at = HeaderLength;
            foreach (var attribute in Attributes)
            {
                if (attribute.Type == RadiusAttributeType.MessageAuthenticator)
                {
                    return at + RadiusAttribute.HeaderLength;
                }

                at += attribute.Length;
            }

            return -1;
        }
    }

    public static bool TryParse(ReadOnlySpan<byte> octets, [NotNullWhen(true)] out RadiusPacket? packet, out WireError error)
    {
        packet = null;
        if (octets.Length < HeaderLength)
        {
            error = new WireError("Code", 0, "shorter than the header", "RFC 2865 3");
            return false;
        }

        var length = BinaryPrimitives.ReadUInt16BigEndian(octets[2..]);
        if (length < HeaderLength || length > Math.Min(octets.Length, RadiusLimits.PacketLength))
        {
            error = new WireError("Length", 2, "less than the header, more than there is or more than 4096", "RFC 2865 3");
            return false;
        }

        var attributes = new List<RadiusAttribute>();
        for (var at = HeaderLength; at < length;)
        {
            var rest = octets[at..length];
            if (rest.Length < RadiusAttribute.HeaderLength || rest[1] < RadiusAttribute.HeaderLength || rest[1] > rest.Length)
            {
                error = new WireError("Length", Math.Min(at + 1, length - 1), "attribute is not within the packet", "RFC 2865 5");
                return false;
            }

            if (attributes.Count == RadiusLimits.Attributes)
            {
                error = new WireError("Attributes", at, "more than the limit", "RadiusLimits.Attributes");
                return false;
            }

            var attribute = new RadiusAttribute((RadiusAttributeType)rest[0], rest[RadiusAttribute.HeaderLength..rest[1]]);
            if (attribute.Fault(attributes) is { } fault)
            {
                error = new WireError(attribute.Type.ToString(), at, fault.Reason, fault.Clause);
                return false;
            }

            attributes.Add(attribute);
            at += rest[1];
        }

        packet = new RadiusPacket((RadiusCode)octets[0], octets[1], octets.Slice(AuthenticatorOffset, RadiusLimits.AuthenticatorLength), attributes);
        error = default;
        return true;
    }

    public byte[] ToArray()
    {
        var octets = new byte[Length];
        octets[0] = (byte)Code;
        octets[1] = Identifier;
        BinaryPrimitives.WriteUInt16BigEndian(octets.AsSpan(2), checked((ushort)octets.Length));
        Authenticator.Span.CopyTo(octets.AsSpan(AuthenticatorOffset, RadiusLimits.AuthenticatorLength));
        var at = HeaderLength;
        foreach (var attribute in Attributes)
        {
            octets[at] = (byte)attribute.Type;
            octets[at + 1] = (byte)attribute.Length;
            attribute.Value.Span.CopyTo(octets.AsSpan(at + RadiusAttribute.HeaderLength));
            at += attribute.Length;
        }

        return octets;
    }
}
