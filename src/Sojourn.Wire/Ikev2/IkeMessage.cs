using System.Diagnostics.CodeAnalysis;

namespace Sojourn.Wire.Ikev2;

/// <summary>
/// One IKEv2 message: a header and its payloads (RFC 7296 3.1). An Encrypted or Encrypted Fragment payload is the last
/// one and keeps its contents sealed; <see cref="TryParsePayloads"/> reads them once they are open.
/// </summary>
public sealed record IkeMessage(IkeHeader Header, IReadOnlyList<IkePayload> Payloads)
{
    public int Length => IkeHeader.WireLength + PayloadsLength(Payloads);

    /// <summary>The type that must stand in front of these payloads.</summary>
    public static IkePayloadType FirstType(IReadOnlyList<IkePayload> payloads) => payloads.Count == 0 ? IkePayloadType.None : payloads[0].Type;

    public static int PayloadsLength(IReadOnlyList<IkePayload> payloads)
    {
        var length = 0;
        for (var i = 0; i < payloads.Count; i++)
        {
            length += payloads[i].Length;
        }

        return length;
    }

    /// <summary>The first payload of a kind.</summary>
    public T? Find<T>()
        where T : IkePayload => Payloads.OfType<T>().FirstOrDefault();

    public NotifyPayload? Notify(IkeNotifyType type) => Payloads.OfType<NotifyPayload>().FirstOrDefault(n => n.NotifyType == type);

    /// <summary>The first error the message tells (RFC 7296 3.10.1).</summary>
    public NotifyPayload? ErrorNotify => Payloads.OfType<NotifyPayload>().FirstOrDefault(n => n.IsError);

    /// <summary>A payload nobody here knows and that its sender calls critical; such a message is refused whole (RFC 7296 2.5).</summary>
    public UnknownPayload? UnknownCritical => Payloads.OfType<UnknownPayload>().FirstOrDefault(p => p.Critical);

    public static bool TryParse(ReadOnlySpan<byte> datagram, [NotNullWhen(true)] out IkeMessage? message, out WireError error)
    {
        message = null;
        if (!IkeHeader.TryParse(datagram, out var header, out error))
        {
            return false;
        }

        if (header.MajorVersion != 2)
        {
            error = new WireError("Major Version", 17, "is not 2", "RFC 7296 2.5");
            return false;
        }

        if (!TryParsePayloads(datagram[IkeHeader.WireLength..], header.NextPayload, IkeHeader.WireLength, out var payloads, out error))
        {
            return false;
        }

        message = new IkeMessage(header, payloads);
        return true;
    }

    /// <summary>Reads a chain of payloads that fills <paramref name="octets"/> exactly.</summary>
    /// <param name="first">The Next Payload field in front of the chain.</param>
    /// <param name="offset">Where the chain stands in its message, for errors.</param>
    public static bool TryParsePayloads(ReadOnlySpan<byte> octets, IkePayloadType first, int offset, [NotNullWhen(true)] out IReadOnlyList<IkePayload>? payloads, out WireError error)
    {
        payloads = null;
        var read = new List<IkePayload>();
        var type = first;
        var at = 0;
        while (type != IkePayloadType.None)
        {
            var rest = octets[at..];
            if (rest.Length < IkePayload.HeaderLength)
            {
                error = new WireError("Payload Length", offset + at, "the message ends before the payload its predecessor names", "RFC 7296 3.2");
                return false;
            }

            if (read.Count == Ikev2Limits.Payloads)
            {
                error = new WireError("Next Payload", offset + at, "more payloads than the limit", "Ikev2Limits.Payloads");
                return false;
            }

            var length = (rest[2] << 8) | rest[3];
            if (length < IkePayload.HeaderLength || length > rest.Length)
            {
                error = new WireError("Payload Length", offset + at + 2, "is not within the message", "RFC 7296 3.2");
                return false;
            }

            var next = (IkePayloadType)rest[0];
            if (!IkePayload.TryRead(type, next, (rest[1] & 0x80) != 0, rest[IkePayload.HeaderLength..length], offset + at + IkePayload.HeaderLength, out var payload, out error))
            {
                return false;
            }

            read.Add(payload);
            at += length;

            // What these name as next is inside them (RFC 7296 3.14, RFC 7383 2.5).
            type = type is IkePayloadType.Encrypted or IkePayloadType.EncryptedFragment ? IkePayloadType.None : next;
        }

        if (at != octets.Length)
        {
            error = new WireError("Next Payload", offset + at, "octets after the last payload", "RFC 7296 3.2");
            return false;
        }

        payloads = read;
        error = default;
        return true;
    }

    /// <summary>Writes the message and returns <see cref="Length"/>.</summary>
    /// <exception cref="ArgumentException">The destination is too short.</exception>
    public int Write(Span<byte> destination)
    {
        var length = Length;
        if (destination.Length < length)
        {
            throw new ArgumentException("destination is shorter than the message", nameof(destination));
        }

        (Header with { NextPayload = FirstType(Payloads) }).Write(destination, length);
        WritePayloads(Payloads, destination[IkeHeader.WireLength..]);
        return length;
    }

    /// <summary>Writes a chain of payloads and returns its length.</summary>
    public static int WritePayloads(IReadOnlyList<IkePayload> payloads, Span<byte> destination)
    {
        var at = 0;
        for (var i = 0; i < payloads.Count; i++)
        {
            var next = payloads[i] switch
            {
                EncryptedPayload sealedPayload => sealedPayload.FirstInside,
                EncryptedFragmentPayload fragment => fragment.FirstInside,
                _ when i + 1 < payloads.Count => payloads[i + 1].Type,
                _ => IkePayloadType.None,
            };
            payloads[i].Write(destination[at..], next);
            at += payloads[i].Length;
        }

        return at;
    }

    public byte[] ToArray()
    {
        var octets = new byte[Length];
        Write(octets);
        return octets;
    }
}
