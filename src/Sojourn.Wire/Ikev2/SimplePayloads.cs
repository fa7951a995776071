using System.Buffers.Binary;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.Ikev2;

/// <summary>KE payload (RFC 7296 3.4): method number, two reserved octets, data.</summary>
public sealed record KeyExchangePayload(ushort Group, OctetString Data) : IkePayload
{
    public override IkePayloadType Type => IkePayloadType.KeyExchange;

    public override int BodyLength => 4 + Data.Length;

    protected override void WriteBody(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt16BigEndian(destination, Group);
        destination[2..4].Clear();
        Data.Span.CopyTo(destination[4..]);
    }

    internal static KeyExchangePayload? Read(ReadOnlySpan<byte> body, int offset, out WireError error) =>
        TooShort(body, 4, offset, "Diffie-Hellman Group Num", "RFC 7296 3.4", out error) ? null : new KeyExchangePayload(BinaryPrimitives.ReadUInt16BigEndian(body), body[4..]);
}

/// <summary>IDi or IDr payload (RFC 7296 3.5): type, three reserved octets, data.</summary>
public sealed record IdentificationPayload(bool OfInitiator, IkeIdType IdType, OctetString Data) : IkePayload
{
    public override IkePayloadType Type => OfInitiator ? IkePayloadType.IdInitiator : IkePayloadType.IdResponder;

    public override int BodyLength => 4 + Data.Length;

    protected override void WriteBody(Span<byte> destination)
    {
        destination[0] = (byte)IdType;
        destination[1..4].Clear();
        Data.Span.CopyTo(destination[4..]);
    }

    internal static IdentificationPayload? Read(IkePayloadType type, ReadOnlySpan<byte> body, int offset, out WireError error)
    {
        if (TooShort(body, 4, offset, "ID Type", "RFC 7296 3.5", out error))
        {
            return null;
        }

        var fixedLength = (IkeIdType)body[0] switch { IkeIdType.IPv4Address => 4, IkeIdType.IPv6Address => 16, _ => -1 };
        if (fixedLength >= 0 && body.Length != 4 + fixedLength)
        {
            error = new WireError("Identification Data", offset + 4, "is not an address of its type", "RFC 7296 3.5");
            return null;
        }

        return new IdentificationPayload(type == IkePayloadType.IdInitiator, (IkeIdType)body[0], body[4..]);
    }
}

/// <summary>CERT payload (RFC 7296 3.6): encoding, data. For encodings 12 and 13 the data are 20 octets of SHA-1 and a URL.</summary>
public sealed record CertificatePayload(IkeCertificateEncoding Encoding, OctetString Data) : IkePayload
{
    public override IkePayloadType Type => IkePayloadType.Certificate;

    public override int BodyLength => 1 + Data.Length;

    protected override void WriteBody(Span<byte> destination)
    {
        destination[0] = (byte)Encoding;
        Data.Span.CopyTo(destination[1..]);
    }

    internal static CertificatePayload? Read(ReadOnlySpan<byte> body, int offset, out WireError error) =>
        TooShort(body, 1, offset, "Cert Encoding", "RFC 7296 3.6", out error) ? null : new CertificatePayload((IkeCertificateEncoding)body[0], body[1..]);
}

/// <summary>CERTREQ payload (RFC 7296 3.7): encoding, then SHA-1 hashes of the public keys of trusted authorities, 20 octets each.</summary>
public sealed record CertificateRequestPayload(IkeCertificateEncoding Encoding, OctetString Authorities) : IkePayload
{
    public override IkePayloadType Type => IkePayloadType.CertificateRequest;

    public override int BodyLength => 1 + Authorities.Length;

    protected override void WriteBody(Span<byte> destination)
    {
        destination[0] = (byte)Encoding;
        Authorities.Span.CopyTo(destination[1..]);
    }

    internal static CertificateRequestPayload? Read(ReadOnlySpan<byte> body, int offset, out WireError error)
    {
        if (TooShort(body, 1, offset, "Cert Encoding", "RFC 7296 3.7", out error))
        {
            return null;
        }

        if ((IkeCertificateEncoding)body[0] == IkeCertificateEncoding.X509Signature && (body.Length - 1) % 20 != 0)
        {
            error = new WireError("Certification Authority", offset + 1, "is not a list of 20-octet hashes", "RFC 7296 3.7");
            return null;
        }

        return new CertificateRequestPayload((IkeCertificateEncoding)body[0], body[1..]);
    }
}

/// <summary>AUTH payload (RFC 7296 3.8): method, three reserved octets, data.</summary>
public sealed record AuthenticationPayload(IkeAuthenticationMethod Method, OctetString Data) : IkePayload
{
    public override IkePayloadType Type => IkePayloadType.Authentication;

    public override int BodyLength => 4 + Data.Length;

    protected override void WriteBody(Span<byte> destination)
    {
        destination[0] = (byte)Method;
        destination[1..4].Clear();
        Data.Span.CopyTo(destination[4..]);
    }

    internal static AuthenticationPayload? Read(ReadOnlySpan<byte> body, int offset, out WireError error) =>
        TooShort(body, 4, offset, "Auth Method", "RFC 7296 3.8", out error) ? null : new AuthenticationPayload((IkeAuthenticationMethod)body[0], body[4..]);
}

/// <summary>Nonce payload (RFC 7296 3.9), 16 to 256 octets.</summary>
public sealed record NoncePayload(OctetString Data) : IkePayload
{
    public override IkePayloadType Type => IkePayloadType.Nonce;

    public override int BodyLength => Data.Length;

    protected override void WriteBody(Span<byte> destination) => Data.Span.CopyTo(destination);

    internal static NoncePayload? Read(ReadOnlySpan<byte> body, int offset, out WireError error)
    {
        var fits = body.Length is >= Ikev2Limits.ShortestNonce and <= Ikev2Limits.LongestNonce;
        error = fits ? default : new WireError("Nonce Data", offset, "has not 16 to 256 octets", "RFC 7296 3.9");
        return fits ? new NoncePayload(body) : null;
    }
}

/// <summary>
/// N payload (RFC 7296 3.10).
/// <code>
/// |  Protocol ID  |   SPI Size    |      Notify Message Type      |
/// | SPI | Notification Data ...
/// </code>
/// </summary>
public sealed record NotifyPayload(IkeNotifyType NotifyType, OctetString Data) : IkePayload
{
    private const ushort FirstStatusType = 16384;

    public NotifyPayload(IkeNotifyType notifyType)
        : this(notifyType, OctetString.Empty)
    {
    }

    public IkeProtocol Protocol { get; init; }

    public OctetString Spi { get; init; }

    public bool IsError => (ushort)NotifyType < FirstStatusType;

    public override IkePayloadType Type => IkePayloadType.Notify;

    public override int BodyLength => 4 + Spi.Length + Data.Length;

    protected override void WriteBody(Span<byte> destination)
    {
        destination[0] = (byte)Protocol;
        destination[1] = (byte)Spi.Length;
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], (ushort)NotifyType);
        Spi.Span.CopyTo(destination[4..]);
        Data.Span.CopyTo(destination[(4 + Spi.Length)..]);
    }

    internal static NotifyPayload? Read(ReadOnlySpan<byte> body, int offset, out WireError error)
    {
        if (TooShort(body, 4, offset, "Notify Message Type", "RFC 7296 3.10", out error))
        {
            return null;
        }

        var spi = body[1];
        if (4 + spi > body.Length)
        {
            error = new WireError("SPI Size", offset + 1, "is not within the payload", "RFC 7296 3.10");
            return null;
        }

        return new NotifyPayload((IkeNotifyType)BinaryPrimitives.ReadUInt16BigEndian(body[2..]), body[(4 + spi)..]) { Protocol = (IkeProtocol)body[0], Spi = body.Slice(4, spi) };
    }
}

/// <summary>D payload (RFC 7296 3.11): the IKE SA itself, or the SPIs the sender of the payload expects in what it receives.</summary>
public sealed record DeletePayload(IkeProtocol Protocol, IReadOnlyList<uint> Spis) : IkePayload
{
    public static readonly DeletePayload OfIkeSa = new(IkeProtocol.Ike, []);

    public override IkePayloadType Type => IkePayloadType.Delete;

    public override int BodyLength => 4 + (4 * Spis.Count);

    protected override void WriteBody(Span<byte> destination)
    {
        destination[0] = (byte)Protocol;
        destination[1] = (byte)(Protocol == IkeProtocol.Ike ? 0 : 4);
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], (ushort)Spis.Count);
        for (var i = 0; i < Spis.Count; i++)
        {
            BinaryPrimitives.WriteUInt32BigEndian(destination[(4 + (4 * i))..], Spis[i]);
        }
    }

    internal static DeletePayload? Read(ReadOnlySpan<byte> body, int offset, out WireError error)
    {
        if (TooShort(body, 4, offset, "Num of SPIs", "RFC 7296 3.11", out error))
        {
            return null;
        }

        var protocol = (IkeProtocol)body[0];
        var count = BinaryPrimitives.ReadUInt16BigEndian(body[2..]);
        var size = protocol == IkeProtocol.Ike ? 0 : 4;
        if (body[1] != size)
        {
            error = new WireError("SPI Size", offset + 1, "is not that of the protocol", "RFC 7296 3.11");
            return null;
        }

        if (count > Ikev2Limits.DeletedSpis || (size == 0 && count != 0))
        {
            error = new WireError("Num of SPIs", offset + 2, size == 0 ? "the IKE SA has none here" : "more than the limit", size == 0 ? "RFC 7296 3.11" : "Ikev2Limits.DeletedSpis");
            return null;
        }

        if (body.Length != 4 + (size * count))
        {
            error = new WireError("Num of SPIs", offset + 2, "is not what the payload holds", "RFC 7296 3.11");
            return null;
        }

        var spis = new uint[count];
        for (var i = 0; i < count; i++)
        {
            spis[i] = BinaryPrimitives.ReadUInt32BigEndian(body[(4 + (4 * i))..]);
        }

        return new DeletePayload(protocol, spis);
    }
}

/// <summary>V payload (RFC 7296 3.12).</summary>
public sealed record VendorIdPayload(OctetString VendorId) : IkePayload
{
    public override IkePayloadType Type => IkePayloadType.VendorId;

    public override int BodyLength => VendorId.Length;

    protected override void WriteBody(Span<byte> destination) => VendorId.Span.CopyTo(destination);
}

/// <summary>EAP payload (RFC 7296 3.16): one EAP message, opaque here.</summary>
public sealed record EapPayload(OctetString Message) : IkePayload
{
    public override IkePayloadType Type => IkePayloadType.Eap;

    public override int BodyLength => Message.Length;

    protected override void WriteBody(Span<byte> destination) => Message.Span.CopyTo(destination);

    internal static EapPayload? Read(ReadOnlySpan<byte> body, int offset, out WireError error)
    {
        if (TooShort(body, 4, offset, "Length", "RFC 7296 3.16", out error))
        {
            return null;
        }

        var fits = BinaryPrimitives.ReadUInt16BigEndian(body[2..]) == body.Length;
        error = fits ? default : new WireError("Length", offset + 2, "is not the length of the EAP message", "RFC 7296 3.16");
        return fits ? new EapPayload(body) : null;
    }
}
