using System.Buffers.Binary;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// What a first request must show before anything else of it is looked at: its nonce and its cookie (RFC 7296 2.6), which is taken wherever it stands.
/// Walks over the payloads without reading them, since under a flood this is all that happens to nearly every datagram.
/// </summary>
internal static class CookieDemand
{
    /// <summary>False when the payloads do not add up to the message or there is no nonce.</summary>
    /// <param name="cookie">Empty when there is none.</param>
    public static bool TryRead(ReadOnlySpan<byte> message, out ReadOnlySpan<byte> cookie, out ReadOnlySpan<byte> nonce)
    {
        const int fixedNotify = 8;
        cookie = default;
        nonce = default;
        var type = (IkePayloadType)message[16];
        var at = IkeHeader.WireLength;
        for (var count = 0; type != IkePayloadType.None; count++)
        {
            if (count == Ikev2Limits.Payloads || message.Length - at < IkePayload.HeaderLength)
            {
                return false;
            }

            var length = BinaryPrimitives.ReadUInt16BigEndian(message[(at + 2)..]);
            if (length < IkePayload.HeaderLength || length > message.Length - at)
            {
                return false;
            }

            var payload = message.Slice(at, length);
            if (type == IkePayloadType.Nonce)
            {
                nonce = payload[IkePayload.HeaderLength..];
            }
            else if (type == IkePayloadType.Notify && length >= fixedNotify && payload[5] == 0
                && (IkeNotifyType)BinaryPrimitives.ReadUInt16BigEndian(payload[6..]) == IkeNotifyType.Cookie)
            {
                cookie = payload[fixedNotify..];
            }

            type = (IkePayloadType)payload[0];
            at += length;
        }

        return at == message.Length && nonce.Length is >= Ikev2Limits.ShortestNonce and <= Ikev2Limits.LongestNonce;
    }
}
