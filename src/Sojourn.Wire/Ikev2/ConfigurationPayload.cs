using System.Buffers.Binary;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.Ikev2;

/// <summary>Kinds of configuration payloads (RFC 7296 3.15).</summary>
public enum IkeConfigurationType : byte
{
    Request = 1,
    Reply = 2,
    Set = 3,
    Acknowledge = 4,
}

/// <summary>Attributes that matter here (IANA IKEv2 configuration payload attribute types).</summary>
public enum IkeConfigurationAttributeType : ushort
{
    InternalIp4Address = 1,
    InternalIp6Address = 8,

    /// <summary>RFC 5026 5.3: lifetime in seconds (4 octets), prefix (16), prefix length (1); empty in a request.</summary>
    Mip6HomePrefix = 16,
    HomeAgentAddress = 19,
}

public sealed record IkeConfigurationAttribute(IkeConfigurationAttributeType Type, OctetString Value);

/// <summary>
/// CP payload (RFC 7296 3.15): type, three reserved octets, attributes of type (15 bits), length and value.
/// </summary>
public sealed record ConfigurationPayload(IkeConfigurationType ConfigurationType, IReadOnlyList<IkeConfigurationAttribute> Attributes) : IkePayload
{
    public override IkePayloadType Type => IkePayloadType.Configuration;

    public override int BodyLength => 4 + Attributes.Sum(a => 4 + a.Value.Length);

    protected override void WriteBody(Span<byte> destination)
    {
        destination[0] = (byte)ConfigurationType;
        destination[1..4].Clear();
        var at = 4;
        foreach (var attribute in Attributes)
        {
            BinaryPrimitives.WriteUInt16BigEndian(destination[at..], (ushort)attribute.Type);
            BinaryPrimitives.WriteUInt16BigEndian(destination[(at + 2)..], (ushort)attribute.Value.Length);
            attribute.Value.Span.CopyTo(destination[(at + 4)..]);
            at += 4 + attribute.Value.Length;
        }
    }

    internal static ConfigurationPayload? Read(ReadOnlySpan<byte> body, int offset, out WireError error)
    {
        if (TooShort(body, 4, offset, "CFG Type", "RFC 7296 3.15", out error))
        {
            return null;
        }

        var attributes = new List<IkeConfigurationAttribute>();
        for (var at = 4; at < body.Length;)
        {
            var rest = body[at..];
            var length = rest.Length < 4 ? int.MaxValue : BinaryPrimitives.ReadUInt16BigEndian(rest[2..]);
            if (length > rest.Length - 4)
            {
                error = new WireError("Length", offset + at, "attribute is not within the payload", "RFC 7296 3.15.1");
                return null;
            }

            if (attributes.Count == Ikev2Limits.ConfigurationAttributes)
            {
                error = new WireError("Configuration Attributes", offset + at, "more than the limit", "Ikev2Limits.ConfigurationAttributes");
                return null;
            }

            // The highest bit is reserved and ignored.
            attributes.Add(new IkeConfigurationAttribute((IkeConfigurationAttributeType)(BinaryPrimitives.ReadUInt16BigEndian(rest) & 0x7FFF), rest.Slice(4, length)));
            at += 4 + length;
        }

        return new ConfigurationPayload((IkeConfigurationType)body[0], attributes);
    }
}
