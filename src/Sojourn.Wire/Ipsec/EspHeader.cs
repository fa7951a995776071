using System.Buffers.Binary;

namespace Sojourn.Wire.Ipsec;

/// <summary>
/// View of an ESP packet (RFC 4303 2), from the SPI on. Where IV and ICV end is known only to the association.
/// <code>
/// |               Security Parameters Index (SPI)                 |
/// |                      Sequence Number                          |
/// |                 Payload Data (IV first, variable)             |
/// |     Padding (0-255)           |  Pad Length   | Next Header   |
/// |         Integrity Check Value-ICV   (variable)                |
/// </code>
/// </summary>
public readonly ref struct EspHeader
{
    public const int Length = 8;

    private EspHeader(ReadOnlySpan<byte> octets) => Octets = octets;

    public ReadOnlySpan<byte> Octets { get; }

    public uint Spi => BinaryPrimitives.ReadUInt32BigEndian(Octets);

    /// <summary>The low 32 bits when the association uses extended sequence numbers.</summary>
    public uint SequenceNumber => BinaryPrimitives.ReadUInt32BigEndian(Octets[4..]);

    /// <summary>IV, ciphertext and ICV.</summary>
    public ReadOnlySpan<byte> Body => Octets[Length..];

    public static bool TryParse(ReadOnlySpan<byte> octets, out EspHeader value, out WireError error)
    {
        value = default;
        if (octets.Length < Length)
        {
            error = new WireError("Header", 0, "shorter than SPI and sequence number", "RFC 4303 2");
            return false;
        }

        value = new EspHeader(octets);
        error = default;
        return true;
    }

    public static void Write(Span<byte> octets, uint spi, uint sequenceNumber)
    {
        BinaryPrimitives.WriteUInt32BigEndian(octets, spi);
        BinaryPrimitives.WriteUInt32BigEndian(octets[4..], sequenceNumber);
    }
}

/// <summary>The end of ESP's plaintext: padding, pad length, next header (RFC 4303 2.4-2.6).</summary>
public static class EspTrailer
{
    /// <summary>Pad Length and Next Header.</summary>
    public const int FixedLength = 2;

    /// <summary>Padding octets that bring <paramref name="payloadLength"/> and the trailer to a multiple of <paramref name="alignment"/>.</summary>
    public static int PaddingFor(int payloadLength, int alignment)
    {
        var over = (payloadLength + FixedLength) % alignment;
        return over == 0 ? 0 : alignment - over;
    }

    /// <summary>Writes 1, 2, 3 … as padding (RFC 4303 2.4) and the two fields behind it; returns the octets written.</summary>
    public static int Write(Span<byte> octets, int padding, byte nextHeader)
    {
        for (var i = 0; i < padding; i++)
        {
            octets[i] = (byte)(i + 1);
        }

        octets[padding] = (byte)padding;
        octets[padding + 1] = nextHeader;
        return padding + FixedLength;
    }

    /// <summary>Takes the trailer off a plaintext. The padding must be 1, 2, 3 … (RFC 4303 2.4: the receiver SHOULD inspect it).</summary>
    public static bool TryParse(ReadOnlySpan<byte> plaintext, out int payloadLength, out byte nextHeader, out WireError error)
    {
        payloadLength = 0;
        nextHeader = 0;
        if (plaintext.Length < FixedLength)
        {
            error = new WireError("Pad Length", 0, "no room for the trailer", "RFC 4303 2.5");
            return false;
        }

        nextHeader = plaintext[^1];
        int padding = plaintext[^2];
        payloadLength = plaintext.Length - FixedLength - padding;
        if (payloadLength < 0)
        {
            error = new WireError("Pad Length", plaintext.Length - 2, "more padding than plaintext", "RFC 4303 2.5");
            return false;
        }

        var pad = plaintext.Slice(payloadLength, padding);
        for (var i = 0; i < pad.Length; i++)
        {
            if (pad[i] != i + 1)
            {
                error = new WireError("Padding", payloadLength + i, "not the default sequence", "RFC 4303 2.4");
                return false;
            }
        }

        error = default;
        return true;
    }
}

/// <summary>What the payload of a UDP datagram on an ESP-in-UDP port is (RFC 3948 2).</summary>
public enum EspInUdpContent : byte
{
    /// <summary>SPI not 0: ESP.</summary>
    Esp,

    /// <summary>Four octets of zero first: IKE follows (RFC 3948 2.2).</summary>
    NonEsp,

    /// <summary>One octet 0xFF (RFC 3948 2.3).</summary>
    Keepalive,

    Malformed,
}

public static class EspInUdp
{
    public const ushort Port = 4500;

    public static EspInUdpContent Classify(ReadOnlySpan<byte> payload) =>
        payload.Length == 1 && payload[0] == 0xFF ? EspInUdpContent.Keepalive
        : payload.Length < EspHeader.Length ? EspInUdpContent.Malformed
        : BinaryPrimitives.ReadUInt32BigEndian(payload) == 0 ? EspInUdpContent.NonEsp
        : EspInUdpContent.Esp;
}
