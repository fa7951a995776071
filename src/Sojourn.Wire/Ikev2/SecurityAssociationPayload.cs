using System.Buffers.Binary;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.Ikev2;

/// <summary>
/// One algorithm offered or chosen (RFC 7296 3.3.2).
/// <code>
/// | Last (0 or 3) |   RESERVED    |        Transform Length       |
/// |Transform Type |   RESERVED    |          Transform ID         |
/// | Transform Attributes ...
/// </code>
/// </summary>
/// <param name="KeyLength">Bits (attribute 14); null when the algorithm has one length only.</param>
public sealed record IkeTransform(IkeTransformType Type, ushort Id, ushort? KeyLength = null)
{
    internal const int HeaderLength = 8;
    private const ushort KeyLengthAttribute = 14 | 0x8000;

    /// <summary>Attributes without a reading here, as they came. A transform that has some is not to be chosen (RFC 7296 3.3.6).</summary>
    public OctetString UnknownAttributes { get; init; }

    internal int Length => HeaderLength + (KeyLength is null ? 0 : 4) + UnknownAttributes.Length;

    internal void Write(Span<byte> destination, bool last)
    {
        destination[0] = (byte)(last ? 0 : 3);
        destination[1] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], (ushort)Length);
        destination[4] = (byte)Type;
        destination[5] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(destination[6..], Id);
        var at = HeaderLength;
        if (KeyLength is { } bits)
        {
            BinaryPrimitives.WriteUInt16BigEndian(destination[at..], KeyLengthAttribute);
            BinaryPrimitives.WriteUInt16BigEndian(destination[(at + 2)..], bits);
            at += 4;
        }

        UnknownAttributes.Span.CopyTo(destination[at..]);
    }

    internal static IkeTransform? Read(ReadOnlySpan<byte> octets, int offset, out WireError error)
    {
        error = default;
        ushort? keyLength = null;
        byte[]? unknown = null;
        var at = HeaderLength;
        while (at < octets.Length)
        {
            if (octets.Length - at < 4)
            {
                error = new WireError("Transform Attributes", offset + at, "attribute is cut short", "RFC 7296 3.3.5");
                return null;
            }

            var kind = BinaryPrimitives.ReadUInt16BigEndian(octets[at..]);
            var value = BinaryPrimitives.ReadUInt16BigEndian(octets[(at + 2)..]);
            var length = (kind & 0x8000) != 0 ? 4 : 4 + value;
            if (length > octets.Length - at)
            {
                error = new WireError("Attribute Length", offset + at + 2, "is not within the transform", "RFC 7296 3.3.5");
                return null;
            }

            if (kind == KeyLengthAttribute && keyLength is null)
            {
                keyLength = value;
            }
            else
            {
                unknown = [.. unknown ?? [], .. octets.Slice(at, length)];
            }

            at += length;
        }

        return new IkeTransform((IkeTransformType)octets[4], BinaryPrimitives.ReadUInt16BigEndian(octets[6..]), keyLength) { UnknownAttributes = unknown ?? OctetString.Empty };
    }
}

/// <summary>
/// One proposal (RFC 7296 3.3.1): transforms of several types, of each of which one is to be chosen.
/// <code>
/// | Last (0 or 2) |   RESERVED    |         Proposal Length       |
/// | Proposal Num  |  Protocol ID  |    SPI Size   |Num  Transforms|
/// | SPI (variable) | Transforms ...
/// </code>
/// </summary>
public sealed record IkeProposal(byte Number, IkeProtocol Protocol, OctetString Spi, IReadOnlyList<IkeTransform> Transforms)
{
    internal const int HeaderLength = 8;

    internal int Length => HeaderLength + Spi.Length + Transforms.Sum(t => t.Length);

    internal void Write(Span<byte> destination, bool last)
    {
        destination[0] = (byte)(last ? 0 : 2);
        destination[1] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], (ushort)Length);
        destination[4] = Number;
        destination[5] = (byte)Protocol;
        destination[6] = (byte)Spi.Length;
        destination[7] = (byte)Transforms.Count;
        Spi.Span.CopyTo(destination[HeaderLength..]);
        var at = HeaderLength + Spi.Length;
        for (var i = 0; i < Transforms.Count; i++)
        {
            Transforms[i].Write(destination[at..], i == Transforms.Count - 1);
            at += Transforms[i].Length;
        }
    }

    internal static IkeProposal? Read(ReadOnlySpan<byte> octets, int offset, out WireError error)
    {
        var spiLength = octets[6];
        var count = octets[7];
        var at = HeaderLength + spiLength;
        if (at > octets.Length)
        {
            error = new WireError("SPI Size", offset + 6, "is not within the proposal", "RFC 7296 3.3.1");
            return null;
        }

        if (count > Ikev2Limits.Transforms)
        {
            error = new WireError("Num Transforms", offset + 7, "more transforms than the limit", "Ikev2Limits.Transforms");
            return null;
        }

        var transforms = new List<IkeTransform>(count);
        for (var i = 0; i < count; i++)
        {
            var rest = octets[at..];
            var length = rest.Length < IkeTransform.HeaderLength ? 0 : BinaryPrimitives.ReadUInt16BigEndian(rest[2..]);
            if (length < IkeTransform.HeaderLength || length > rest.Length)
            {
                error = new WireError("Transform Length", offset + at, "is not within the proposal", "RFC 7296 3.3.2");
                return null;
            }

            if (rest[0] != (i == count - 1 ? 0 : 3))
            {
                error = new WireError("Last Substruc", offset + at, "contradicts the number of transforms", "RFC 7296 3.3.2");
                return null;
            }

            if (IkeTransform.Read(rest[..length], offset + at, out error) is not { } transform)
            {
                return null;
            }

            transforms.Add(transform);
            at += length;
        }

        if (at != octets.Length)
        {
            error = new WireError("Proposal Length", offset + 2, "octets after the last transform", "RFC 7296 3.3.1");
            return null;
        }

        error = default;
        return new IkeProposal(octets[4], (IkeProtocol)octets[5], octets.Slice(HeaderLength, spiLength), transforms);
    }
}

/// <summary>SA payload (RFC 7296 3.3): proposals in the order of preference, or the one that was chosen.</summary>
public sealed record SecurityAssociationPayload(IReadOnlyList<IkeProposal> Proposals) : IkePayload
{
    public override IkePayloadType Type => IkePayloadType.SecurityAssociation;

    public override int BodyLength => Proposals.Sum(p => p.Length);

    protected override void WriteBody(Span<byte> destination)
    {
        var at = 0;
        for (var i = 0; i < Proposals.Count; i++)
        {
            Proposals[i].Write(destination[at..], i == Proposals.Count - 1);
            at += Proposals[i].Length;
        }
    }

    internal static SecurityAssociationPayload? Read(ReadOnlySpan<byte> body, int offset, out WireError error)
    {
        var proposals = new List<IkeProposal>();
        var at = 0;
        var last = body.IsEmpty;
        while (!last)
        {
            var rest = body[at..];
            var length = rest.Length < IkeProposal.HeaderLength ? 0 : BinaryPrimitives.ReadUInt16BigEndian(rest[2..]);
            if (length < IkeProposal.HeaderLength || length > rest.Length)
            {
                error = new WireError("Proposal Length", offset + at, "is not within the payload", "RFC 7296 3.3.1");
                return null;
            }

            if (proposals.Count == Ikev2Limits.Proposals)
            {
                error = new WireError("Proposal Num", offset + at, "more proposals than the limit", "Ikev2Limits.Proposals");
                return null;
            }

            if (rest[0] is not (0 or 2))
            {
                error = new WireError("Last Substruc", offset + at, "is neither 0 nor 2", "RFC 7296 3.3.1");
                return null;
            }

            last = rest[0] == 0;
            if (IkeProposal.Read(rest[..length], offset + at, out error) is not { } proposal)
            {
                return null;
            }

            proposals.Add(proposal);
            at += length;
        }

        if (at != body.Length || proposals.Count == 0)
        {
            error = new WireError("Proposals", offset + at, proposals.Count == 0 ? "there is none" : "octets after the last proposal", "RFC 7296 3.3");
            return null;
        }

        error = default;
        return new SecurityAssociationPayload(proposals);
    }
}
