using System.Buffers.Binary;
using Sojourn.Wire.Ip;

namespace Sojourn.Wire.Udp;

/// <summary>
/// View of a UDP datagram (RFC 768).
/// <code>
/// |          Source Port          |       Destination Port        |
/// |            Length             |           Checksum            |
/// </code>
/// </summary>
public readonly ref struct UdpHeader
{
    public const int HeaderLength = 8;

    private UdpHeader(ReadOnlySpan<byte> datagram) => Datagram = datagram;

    /// <summary>Header and payload, exactly Length octets.</summary>
    public ReadOnlySpan<byte> Datagram { get; }

    public ushort SourcePort => BinaryPrimitives.ReadUInt16BigEndian(Datagram);

    public ushort DestinationPort => BinaryPrimitives.ReadUInt16BigEndian(Datagram[2..]);

    /// <summary>0 = the sender made none (IPv4, and RFC 6935 tunnels over IPv6).</summary>
    public ushort Checksum => BinaryPrimitives.ReadUInt16BigEndian(Datagram[6..]);

    public ReadOnlySpan<byte> Payload => Datagram[HeaderLength..];

    public static bool TryParse(ReadOnlySpan<byte> octets, out UdpHeader value, out WireError error)
    {
        value = default;
        if (octets.Length < HeaderLength)
        {
            error = new WireError("Header", 0, "shorter than 8 octets", "RFC 768");
            return false;
        }

        var length = BinaryPrimitives.ReadUInt16BigEndian(octets[4..]);
        if (length < HeaderLength || length > octets.Length)
        {
            error = new WireError("Length", 4, "less than 8 or more than what arrived", "RFC 768");
            return false;
        }

        value = new UdpHeader(octets[..length]);
        error = default;
        return true;
    }

    /// <summary>True when the checksum is absent or right. Addresses of 4 or 16 octets.</summary>
    public bool ChecksumIsRight(ReadOnlySpan<byte> source, ReadOnlySpan<byte> destination) =>
        Checksum == 0 || ComputeChecksum(Datagram, source, destination) == 0;

    /// <summary>Writes the header before a payload that already stands in <paramref name="datagram"/>, with checksum 0.</summary>
    public static void Write(Span<byte> datagram, ushort sourcePort, ushort destinationPort)
    {
        BinaryPrimitives.WriteUInt16BigEndian(datagram, sourcePort);
        BinaryPrimitives.WriteUInt16BigEndian(datagram[2..], destinationPort);
        BinaryPrimitives.WriteUInt16BigEndian(datagram[4..], checked((ushort)datagram.Length));
        BinaryPrimitives.WriteUInt16BigEndian(datagram[6..], 0);
    }

    /// <summary>Fills in the checksum of a whole datagram; a computed 0 is sent as all ones (RFC 768).</summary>
    public static void WriteChecksum(Span<byte> datagram, ReadOnlySpan<byte> source, ReadOnlySpan<byte> destination)
    {
        BinaryPrimitives.WriteUInt16BigEndian(datagram[6..], 0);
        var checksum = ComputeChecksum(datagram, source, destination);
        BinaryPrimitives.WriteUInt16BigEndian(datagram[6..], checksum == 0 ? (ushort)0xFFFF : checksum);
    }

    private static ushort ComputeChecksum(ReadOnlySpan<byte> datagram, ReadOnlySpan<byte> source, ReadOnlySpan<byte> destination) =>
        InternetChecksum.Finish(InternetChecksum.Add(
            InternetChecksum.PseudoHeader(source, destination, IpProtocol.Udp, datagram.Length), datagram));
}
