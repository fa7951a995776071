using System.Diagnostics.CodeAnalysis;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.Ikev2;

/// <summary>
/// One payload of an IKEv2 message (RFC 7296 3.2).
/// <code>
/// | Next Payload  |C|  RESERVED   |         Payload Length        |
/// | body ...
/// </code>
/// Reserved fields are read as what they are, ignored, and written as zero (RFC 7296 2.5).
/// </summary>
public abstract record IkePayload
{
    public const int HeaderLength = 4;

    public abstract IkePayloadType Type { get; }

    /// <summary>C: whoever does not know the type must refuse the whole message (RFC 7296 2.5).</summary>
    public bool Critical { get; init; }

    /// <summary>Octets after the generic header.</summary>
    public abstract int BodyLength { get; }

    public int Length => HeaderLength + BodyLength;

    /// <summary>Writes every octet of <paramref name="destination"/>, which has <see cref="BodyLength"/>.</summary>
    protected abstract void WriteBody(Span<byte> destination);

    internal void Write(Span<byte> destination, IkePayloadType next)
    {
        destination[0] = (byte)next;
        destination[1] = (byte)(Critical ? 0x80 : 0);
        destination[2] = (byte)(Length >> 8);
        destination[3] = (byte)Length;
        WriteBody(destination[HeaderLength..Length]);
    }

    /// <summary>The body alone, as the AUTH computation takes it (RFC 7296 2.15).</summary>
    public byte[] Body()
    {
        var octets = new byte[BodyLength];
        WriteBody(octets);
        return octets;
    }

    /// <param name="body">The payload without its generic header.</param>
    /// <param name="offset">Where the body stands, for errors.</param>
    internal static bool TryRead(IkePayloadType type, IkePayloadType next, bool critical, ReadOnlySpan<byte> body, int offset, [NotNullWhen(true)] out IkePayload? payload, out WireError error)
    {
        var read = type switch
        {
            IkePayloadType.SecurityAssociation => SecurityAssociationPayload.Read(body, offset, out error),
            IkePayloadType.KeyExchange => KeyExchangePayload.Read(body, offset, out error),
            IkePayloadType.IdInitiator or IkePayloadType.IdResponder => IdentificationPayload.Read(type, body, offset, out error),
            IkePayloadType.Certificate => CertificatePayload.Read(body, offset, out error),
            IkePayloadType.CertificateRequest => CertificateRequestPayload.Read(body, offset, out error),
            IkePayloadType.Authentication => AuthenticationPayload.Read(body, offset, out error),
            IkePayloadType.Nonce => NoncePayload.Read(body, offset, out error),
            IkePayloadType.Notify => NotifyPayload.Read(body, offset, out error),
            IkePayloadType.Delete => DeletePayload.Read(body, offset, out error),
            IkePayloadType.VendorId => Ok(new VendorIdPayload(body), out error),
            IkePayloadType.SelectorsInitiator or IkePayloadType.SelectorsResponder => SelectorsPayload.Read(type, body, offset, out error),
            IkePayloadType.Encrypted => Ok(new EncryptedPayload(next, body), out error),
            IkePayloadType.EncryptedFragment => EncryptedFragmentPayload.Read(next, body, offset, out error),
            IkePayloadType.Configuration => ConfigurationPayload.Read(body, offset, out error),
            IkePayloadType.Eap => EapPayload.Read(body, offset, out error),
            _ => Ok(new UnknownPayload(type, body), out error),
        };
        payload = read is not null && critical ? read with { Critical = true } : read;
        return payload is not null;
    }

    private static IkePayload Ok(IkePayload payload, out WireError error)
    {
        error = default;
        return payload;
    }

    /// <summary>Refuses a body that is shorter than its fixed fields.</summary>
    private protected static bool TooShort(ReadOnlySpan<byte> body, int least, int offset, string field, string clause, out WireError error)
    {
        error = body.Length < least ? new WireError(field, offset + body.Length, "payload is shorter than its fixed fields", clause) : default;
        return body.Length < least;
    }
}

/// <summary>A payload without a reading here. Ignored, unless it is <see cref="IkePayload.Critical"/> (RFC 7296 2.5).</summary>
public sealed record UnknownPayload(IkePayloadType PayloadType, OctetString Data) : IkePayload
{
    public override IkePayloadType Type => PayloadType;

    public override int BodyLength => Data.Length;

    protected override void WriteBody(Span<byte> destination) => Data.Span.CopyTo(destination);
}
