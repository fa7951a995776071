using System.Buffers.Binary;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Ipsec;

namespace Sojourn.Engine.Ipsec;

/// <summary>ESP around a payload under one association (RFC 4303 2), the same in both modes: what stands before it is the caller's.</summary>
internal static class EspEnvelope
{
    /// <summary>Octets from the SPI to the ICV.</summary>
    public static int LengthOf(IPacketCipher cipher, int payload) =>
        EspHeader.Length + cipher.IvLength + payload + EspTrailer.PaddingFor(payload, cipher.Alignment) + EspTrailer.FixedLength + cipher.IcvLength;

    /// <summary>The longest payload whose envelope has no more than <paramref name="room"/> octets.</summary>
    public static int PayloadWithin(IPacketCipher cipher, int room)
    {
        var sealedOctets = room - EspHeader.Length - cipher.IvLength - cipher.IcvLength;
        return sealedOctets - (sealedOctets % cipher.Alignment) - EspTrailer.FixedLength;
    }

    /// <param name="esp">Exactly <see cref="LengthOf"/> octets.</param>
    public static DropReason TrySeal(SecurityAssociation association, ReadOnlySpan<byte> payload, byte nextHeader, IRandomSource random, DateTimeOffset now, Span<byte> esp)
    {
        if (association.TryNext(now, out var sequence) is var refused and not DropReason.None)
        {
            return refused;
        }

        var cipher = association.Cipher!;
        EspHeader.Write(esp, association.Parameters.Spi, (uint)sequence);
        var iv = esp.Slice(EspHeader.Length, cipher.IvLength);
        switch (cipher.Iv)
        {
            case IvKind.Counter:
                BinaryPrimitives.WriteUInt64BigEndian(iv, sequence);
                break;
            case IvKind.Unpredictable:
                random.Fill(iv);
                break;
        }

        var clear = esp[(EspHeader.Length + cipher.IvLength)..];
        payload.CopyTo(clear);
        EspTrailer.Write(clear[payload.Length..], EspTrailer.PaddingFor(payload.Length, cipher.Alignment), nextHeader);
        cipher.Seal(esp, (uint)(sequence >> 32));
        association.Use(payload.Length, now);
        return DropReason.None;
    }

    /// <summary>Checks and opens; the window is moved on only by what is authentic (RFC 4303 3.4.3).</summary>
    /// <param name="payload">Without padding and trailer.</param>
    public static DropReason TryOpen(SecurityAssociation association, ReadOnlySpan<byte> esp, DateTimeOffset now, out byte[] payload, out byte nextHeader)
    {
        (payload, nextHeader) = ([], 0);
        var cipher = association.Cipher!;
        var length = esp.Length - EspHeader.Length - cipher.IvLength - cipher.IcvLength;
        if (!EspHeader.TryParse(esp, out var named, out _) || length < EspTrailer.FixedLength || length % cipher.Alignment != 0)
        {
            return DropReason.Malformed;
        }

        if (!association.Usable(now))
        {
            return DropReason.LifetimeExpired;
        }

        var sequence = association.Window.Infer(named.SequenceNumber);
        if (!association.Window.MayAccept(sequence))
        {
            return DropReason.Replay;
        }

        var plaintext = new byte[length];
        if (!cipher.Open(esp, (uint)(sequence >> 32), plaintext))
        {
            return DropReason.BadIcv;
        }

        association.Accept(sequence, out _);
        association.Use(length, now);
        if (!EspTrailer.TryParse(plaintext, out var inner, out nextHeader, out _))
        {
            return DropReason.InnerMalformed;
        }

        if (nextHeader == IpProtocol.NoNextHeader)
        {
            return DropReason.Dummy;
        }

        Array.Resize(ref plaintext, inner);
        payload = plaintext;
        return DropReason.None;
    }
}
