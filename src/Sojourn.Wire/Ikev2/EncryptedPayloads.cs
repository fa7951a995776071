using System.Buffers.Binary;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.Ikev2;

/// <summary>SK payload (RFC 7296 3.14), always last: IV, ciphertext, ICV. <paramref name="FirstInside"/> is the type of the first payload inside.</summary>
public sealed record EncryptedPayload(IkePayloadType FirstInside, OctetString Sealed) : IkePayload
{
    public override IkePayloadType Type => IkePayloadType.Encrypted;

    public override int BodyLength => Sealed.Length;

    protected override void WriteBody(Span<byte> destination) => Sealed.Span.CopyTo(destination);
}

/// <summary>
/// SKF payload (RFC 7383 2.5), always last.
/// <code>
/// |        Fragment Number        |        Total Fragments        |
/// | IV, ciphertext, ICV ...
/// </code>
/// </summary>
/// <param name="FirstInside">Type of the first payload inside in fragment 1, zero in all others.</param>
/// <param name="Number">From 1.</param>
public sealed record EncryptedFragmentPayload(IkePayloadType FirstInside, ushort Number, ushort Total, OctetString Sealed) : IkePayload
{
    /// <summary>Octets before the IV.</summary>
    public const int FixedLength = 4;

    public override IkePayloadType Type => IkePayloadType.EncryptedFragment;

    public override int BodyLength => FixedLength + Sealed.Length;

    protected override void WriteBody(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt16BigEndian(destination, Number);
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], Total);
        Sealed.Span.CopyTo(destination[FixedLength..]);
    }

    internal static EncryptedFragmentPayload? Read(IkePayloadType inside, ReadOnlySpan<byte> body, int offset, out WireError error)
    {
        if (TooShort(body, FixedLength, offset, "Total Fragments", "RFC 7383 2.5", out error))
        {
            return null;
        }

        var (number, total) = (BinaryPrimitives.ReadUInt16BigEndian(body), BinaryPrimitives.ReadUInt16BigEndian(body[2..]));
        if (number == 0 || number > total || total > Ikev2Limits.Fragments)
        {
            error = new WireError("Fragment Number", offset, total > Ikev2Limits.Fragments ? "more fragments than the limit" : "is not between 1 and the total", "RFC 7383 2.6");
            return null;
        }

        return new EncryptedFragmentPayload(inside, number, total, body[FixedLength..]);
    }
}
