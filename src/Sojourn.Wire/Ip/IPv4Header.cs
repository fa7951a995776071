using System.Buffers.Binary;
using System.Net;

namespace Sojourn.Wire.Ip;

/// <summary>
/// View of an IPv4 packet (RFC 791 3.1). Octets after Total Length (link padding) are cut off; options are kept as
/// they stand. The header checksum is not judged here, see <see cref="ChecksumIsRight"/>.
/// <code>
///  0                   1                   2                   3
/// |Version|  IHL  |Type of Service|          Total Length         |
/// |         Identification        |0|DF|MF|    Fragment Offset    |
/// |  Time to Live |    Protocol   |         Header Checksum       |
/// |                       Source Address                          |
/// |                    Destination Address                        |
/// |                    Options (0..40 octets)                     |
/// </code>
/// </summary>
public readonly ref struct IPv4Header
{
    public const int MinimumLength = 20;
    public const int MaximumLength = 60;

    private IPv4Header(ReadOnlySpan<byte> packet) => Packet = packet;

    /// <summary>The whole packet, exactly Total Length octets.</summary>
    public ReadOnlySpan<byte> Packet { get; }

    public int HeaderLength => (Packet[0] & 0x0F) * 4;

    public byte TypeOfService => Packet[1];

    public int TotalLength => Packet.Length;

    public ushort Identification => BinaryPrimitives.ReadUInt16BigEndian(Packet[4..]);

    public bool DontFragment => (Packet[6] & 0x40) != 0;

    public bool MoreFragments => (Packet[6] & 0x20) != 0;

    /// <summary>Offset of this fragment's payload in octets.</summary>
    public int FragmentOffset => (BinaryPrimitives.ReadUInt16BigEndian(Packet[6..]) & 0x1FFF) * 8;

    public bool IsFragment => (BinaryPrimitives.ReadUInt16BigEndian(Packet[6..]) & 0x3FFF) != 0;

    public byte TimeToLive => Packet[8];

    public byte Protocol => Packet[9];

    public ushort Checksum => BinaryPrimitives.ReadUInt16BigEndian(Packet[10..]);

    public bool ChecksumIsRight => InternetChecksum.Of(Packet[..HeaderLength]) == 0;

    /// <summary>Four octets.</summary>
    public ReadOnlySpan<byte> Source => Packet.Slice(12, 4);

    public ReadOnlySpan<byte> Destination => Packet.Slice(16, 4);

    public IPAddress SourceAddress => new(Source);

    public IPAddress DestinationAddress => new(Destination);

    public ReadOnlySpan<byte> Options => Packet[MinimumLength..HeaderLength];

    public ReadOnlySpan<byte> Payload => Packet[HeaderLength..];

    public static bool TryParse(ReadOnlySpan<byte> octets, out IPv4Header value, out WireError error)
    {
        value = default;
        if (octets.Length < MinimumLength)
        {
            error = new WireError("Header", 0, "shorter than 20 octets", "RFC 791 3.1");
            return false;
        }

        if (octets[0] >> 4 != 4)
        {
            error = new WireError("Version", 0, "not 4", "RFC 791 3.1");
            return false;
        }

        var headerLength = (octets[0] & 0x0F) * 4;
        if (headerLength < MinimumLength || headerLength > octets.Length)
        {
            error = new WireError("IHL", 0, "header shorter than 20 octets or longer than the packet", "RFC 791 3.1");
            return false;
        }

        var totalLength = BinaryPrimitives.ReadUInt16BigEndian(octets[2..]);
        if (totalLength < headerLength || totalLength > octets.Length)
        {
            error = new WireError("Total Length", 2, "less than the header or more than what arrived", "RFC 791 3.1");
            return false;
        }

        value = new IPv4Header(octets[..totalLength]);
        if (value.FragmentOffset + value.Payload.Length > ushort.MaxValue - MinimumLength)
        {
            value = default;
            error = new WireError("Fragment Offset", 6, "the fragment reaches beyond the longest packet", "RFC 791 3.2");
            return false;
        }

        error = default;
        return true;
    }

    /// <summary>View of octets known to be exactly one packet.</summary>
    internal static IPv4Header OfChecked(ReadOnlySpan<byte> packet) => new(packet);

    /// <summary>
    /// Writes a header without options, checksum included, into a buffer that may be dirty.
    /// </summary>
    /// <param name="flagsAndOffset">The 16 bits of flags and fragment offset; see <see cref="DontFragmentFlag"/>.</param>
    public static void Write(
        Span<byte> header, byte typeOfService, int totalLength, ushort identification, ushort flagsAndOffset,
        byte timeToLive, byte protocol, ReadOnlySpan<byte> source, ReadOnlySpan<byte> destination)
    {
        header = header[..MinimumLength];
        header[0] = 0x45;
        header[1] = typeOfService;
        BinaryPrimitives.WriteUInt16BigEndian(header[2..], checked((ushort)totalLength));
        BinaryPrimitives.WriteUInt16BigEndian(header[4..], identification);
        BinaryPrimitives.WriteUInt16BigEndian(header[6..], flagsAndOffset);
        header[8] = timeToLive;
        header[9] = protocol;
        source[..4].CopyTo(header[12..]);
        destination[..4].CopyTo(header[16..]);
        WriteChecksum(header);
    }

    public const ushort DontFragmentFlag = 0x4000;
    public const ushort MoreFragmentsFlag = 0x2000;

    /// <summary>Fills in the checksum of a complete header, options included.</summary>
    public static void WriteChecksum(Span<byte> header)
    {
        header[10] = header[11] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(header[10..], InternetChecksum.Of(header));
    }

    /// <summary>Changes the TOS octet of a packet and its checksum incrementally, so that a wrong checksum stays wrong.</summary>
    public static void RewriteTypeOfService(Span<byte> packet, byte typeOfService)
    {
        var before = BinaryPrimitives.ReadUInt16BigEndian(packet);
        packet[1] = typeOfService;
        var checksum = BinaryPrimitives.ReadUInt16BigEndian(packet[10..]);
        BinaryPrimitives.WriteUInt16BigEndian(
            packet[10..], InternetChecksum.Update(checksum, before, BinaryPrimitives.ReadUInt16BigEndian(packet)));
    }

    /// <summary>Takes one from Time to Live and updates the checksum. The caller has checked that it is above 1.</summary>
    public static void DecrementTimeToLive(Span<byte> packet)
    {
        var before = BinaryPrimitives.ReadUInt16BigEndian(packet[8..]);
        packet[8]--;
        var checksum = BinaryPrimitives.ReadUInt16BigEndian(packet[10..]);
        BinaryPrimitives.WriteUInt16BigEndian(
            packet[10..], InternetChecksum.Update(checksum, before, BinaryPrimitives.ReadUInt16BigEndian(packet[8..])));
    }
}
