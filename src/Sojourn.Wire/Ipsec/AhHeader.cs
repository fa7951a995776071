using System.Buffers.Binary;

namespace Sojourn.Wire.Ipsec;

/// <summary>
/// View of an authentication header (RFC 4302 2) with what follows it.
/// <code>
/// | Next Header   |  Payload Len  |          RESERVED             |
/// |                 Security Parameters Index (SPI)               |
/// |                    Sequence Number Field                      |
/// |                Integrity Check Value-ICV (variable)           |
/// </code>
/// Payload Len counts 32-bit words minus 2. Behind the ICV there may be padding to the header's alignment.
/// </summary>
public readonly ref struct AhHeader
{
    /// <summary>Octets before the ICV.</summary>
    public const int FixedLength = 12;

    private AhHeader(ReadOnlySpan<byte> octets) => Octets = octets;

    public ReadOnlySpan<byte> Octets { get; }

    public byte NextHeader => Octets[0];

    public int HeaderLength => (Octets[1] + 2) * 4;

    public uint Spi => BinaryPrimitives.ReadUInt32BigEndian(Octets[4..]);

    public uint SequenceNumber => BinaryPrimitives.ReadUInt32BigEndian(Octets[8..]);

    /// <summary>The ICV and the padding behind it.</summary>
    public ReadOnlySpan<byte> IcvAndPadding => Octets[FixedLength..HeaderLength];

    public ReadOnlySpan<byte> Payload => Octets[HeaderLength..];

    public static bool TryParse(ReadOnlySpan<byte> octets, out AhHeader value, out WireError error)
    {
        value = default;
        if (octets.Length < FixedLength)
        {
            error = new WireError("Header", 0, "shorter than 12 octets", "RFC 4302 2");
            return false;
        }

        var length = (octets[1] + 2) * 4;
        if (length < FixedLength || length > octets.Length)
        {
            error = new WireError("Payload Len", 1, "header shorter than 12 octets or longer than the packet", "RFC 4302 2.2");
            return false;
        }

        value = new AhHeader(octets);
        error = default;
        return true;
    }

    /// <summary>Writes the fixed part and clears the ICV and its padding.</summary>
    /// <param name="headerLength">Whole header in octets, a multiple of 4.</param>
    public static void Write(Span<byte> octets, byte nextHeader, int headerLength, uint spi, uint sequenceNumber)
    {
        octets = octets[..headerLength];
        octets.Clear();
        octets[0] = nextHeader;
        octets[1] = (byte)((headerLength / 4) - 2);
        BinaryPrimitives.WriteUInt32BigEndian(octets[4..], spi);
        BinaryPrimitives.WriteUInt32BigEndian(octets[8..], sequenceNumber);
    }
}
