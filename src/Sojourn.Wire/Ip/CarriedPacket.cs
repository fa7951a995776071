using System.Buffers.Binary;

namespace Sojourn.Wire.Ip;

/// <summary>
/// An IP packet in a stream of octets, as a TLS session with a gateway carries it (spec terminal A-33).
/// <code>
/// |        Length (16)            |  Packet: Length octets ...
/// </code>
/// </summary>
public readonly ref struct CarriedPacket
{
    public const int PrefixLength = 2, LongestFrame = PrefixLength + ushort.MaxValue;

    /// <summary>No IP header is shorter.</summary>
    private const int ShortestPacket = 20;

    private CarriedPacket(ReadOnlySpan<byte> packet) => Packet = packet;

    /// <summary>Empty while the stream has not brought all of it.</summary>
    public ReadOnlySpan<byte> Packet { get; }

    /// <summary>Octets of the stream it takes; 0 while it is not complete.</summary>
    public int FrameLength => Packet.IsEmpty ? 0 : PrefixLength + Packet.Length;

    /// <summary>Reads the first packet of what the stream has brought so far.</summary>
    /// <param name="stream">From the beginning of a frame on; what comes behind the frame is left alone.</param>
    /// <returns>False when this is no such stream, which nothing can bring into step again.</returns>
    public static bool TryParse(ReadOnlySpan<byte> stream, out CarriedPacket value, out WireError error)
    {
        value = default;
        error = default;
        if (stream.Length < PrefixLength)
        {
            return true;
        }

        var length = BinaryPrimitives.ReadUInt16BigEndian(stream);
        if (length < ShortestPacket)
        {
            error = new WireError("Length", 0, "shorter than an IP header", "terminal A-33");
            return false;
        }

        if (stream.Length >= PrefixLength + length)
        {
            value = new CarriedPacket(stream.Slice(PrefixLength, length));
        }

        return true;
    }

    /// <summary>Writes the frame of a packet of 20 to 65,535 octets; tells its length.</summary>
    public static int Write(Span<byte> destination, ReadOnlySpan<byte> packet)
    {
        BinaryPrimitives.WriteUInt16BigEndian(destination, checked((ushort)packet.Length));
        packet.CopyTo(destination[PrefixLength..]);
        return PrefixLength + packet.Length;
    }
}
