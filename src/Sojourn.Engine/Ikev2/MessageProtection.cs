using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>Puts payloads into Encrypted or Encrypted Fragment payloads (RFC 7296 3.14, RFC 7383 2.5).</summary>
internal static class MessageProtection
{
    private const int Before = IkeHeader.WireLength + IkePayload.HeaderLength;

    /// <summary>One datagram, or the fragments of one.</summary>
    /// <param name="fragmentLength">Octets a datagram may have; null = the peer takes no fragments.</param>
    public static IReadOnlyList<byte[]> Seal(IkeHeader header, IReadOnlyList<IkePayload> payloads, IkeCipher cipher, IRandomSource random, int? fragmentLength)
    {
        var plaintext = new byte[IkeMessage.PayloadsLength(payloads)];
        IkeMessage.WritePayloads(payloads, plaintext);
        var first = IkeMessage.FirstType(payloads);
        var whole = Before + cipher.Overhead(plaintext.Length) + plaintext.Length;
        if (fragmentLength is not { } limit || whole <= limit)
        {
            return [Seal(header, first, plaintext, cipher, random, 0, 0)];
        }

        var room = cipher.Fits(limit - Before - EncryptedFragmentPayload.FixedLength);
        var total = (plaintext.Length + room - 1) / room;
        var fragments = new byte[total][];
        for (var i = 0; i < total; i++)
        {
            var part = plaintext.AsSpan(i * room, Math.Min(room, plaintext.Length - (i * room)));
            fragments[i] = Seal(header, i == 0 ? first : IkePayloadType.None, part, cipher, random, i + 1, total);
        }

        return fragments;
    }

    /// <summary>Where the IV stands in a message that consists of one Encrypted or Encrypted Fragment payload.</summary>
    public static int IvOffset(IkePayload payload) => Before + (payload is EncryptedFragmentPayload ? EncryptedFragmentPayload.FixedLength : 0);

    private static byte[] Seal(IkeHeader header, IkePayloadType first, ReadOnlySpan<byte> plaintext, IkeCipher cipher, IRandomSource random, int number, int total)
    {
        var ivOffset = Before + (total > 0 ? EncryptedFragmentPayload.FixedLength : 0);
        var message = new byte[ivOffset + cipher.Overhead(plaintext.Length) + plaintext.Length];
        (header with { NextPayload = total > 0 ? IkePayloadType.EncryptedFragment : IkePayloadType.Encrypted }).Write(message, message.Length);
        var payload = message.AsSpan(IkeHeader.WireLength);
        payload[0] = (byte)first;
        payload[2] = (byte)(payload.Length >> 8);
        payload[3] = (byte)payload.Length;
        if (total > 0)
        {
            (payload[4], payload[5], payload[6], payload[7]) = ((byte)(number >> 8), (byte)number, (byte)(total >> 8), (byte)total);
        }

        cipher.Seal(message, ivOffset, plaintext, random);
        return message;
    }
}

/// <summary>Fragments of one message, opened and waiting for the others (RFC 7383 2.6).</summary>
internal sealed class Reassembly
{
    private byte[]?[] _parts = [];
    private IkePayloadType _first;
    private int _have, _octets;

    /// <summary>How many fragments the sender cut the message into, as far as is known.</summary>
    public int Total => _parts.Length;

    public bool Has(int number) => number <= _parts.Length && _parts[number - 1] is not null;

    /// <summary>Takes an authentic fragment. The whole message when it was the last one missing.</summary>
    public (IkePayloadType First, byte[] Plaintext)? Add(EncryptedFragmentPayload fragment, byte[] plaintext)
    {
        // A sender that learns of a smaller path begins again with more fragments (RFC 7383 2.6).
        if (fragment.Total > _parts.Length)
        {
            _parts = new byte[fragment.Total][];
            (_have, _octets) = (0, 0);
        }

        if (fragment.Total < _parts.Length || _parts[fragment.Number - 1] is not null || _octets + plaintext.Length > Ikev2Limits.MessageLength)
        {
            return null;
        }

        _parts[fragment.Number - 1] = plaintext;
        _octets += plaintext.Length;
        _first = fragment.Number == 1 ? fragment.FirstInside : _first;
        return ++_have == _parts.Length ? (_first, _parts.SelectMany(p => p!).ToArray()) : null;
    }
}
