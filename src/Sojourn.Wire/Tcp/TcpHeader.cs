using System.Buffers.Binary;
using Sojourn.Wire.Ip;

namespace Sojourn.Wire.Tcp;

[Flags]
public enum TcpFlags : byte
{
    None = 0,
    Fin = 1,
    Syn = 2,
    Rst = 4,
    Psh = 8,
    Ack = 16,
    Urg = 32,
    Ece = 64,
    Cwr = 128,
}

/// <summary>
/// View of a TCP segment (RFC 9293 3.1).
/// <code>
/// |          Source Port          |       Destination Port        |
/// |                        Sequence Number                        |
/// |                    Acknowledgment Number                      |
/// | DOffs | Rsrvd |C|E|U|A|P|R|S|F|            Window             |
/// |           Checksum            |         Urgent Pointer        |
/// |                           Options                             |
/// </code>
/// </summary>
public readonly ref struct TcpHeader
{
    public const int MinimumLength = 20;
    private const byte EndOfOptionList = 0;
    private const byte NoOperation = 1;
    private const byte MaximumSegmentSize = 2;

    private TcpHeader(ReadOnlySpan<byte> segment) => Segment = segment;

    public ReadOnlySpan<byte> Segment { get; }

    public ushort SourcePort => BinaryPrimitives.ReadUInt16BigEndian(Segment);

    public ushort DestinationPort => BinaryPrimitives.ReadUInt16BigEndian(Segment[2..]);

    public uint SequenceNumber => BinaryPrimitives.ReadUInt32BigEndian(Segment[4..]);

    public uint AcknowledgmentNumber => BinaryPrimitives.ReadUInt32BigEndian(Segment[8..]);

    public int HeaderLength => (Segment[12] >> 4) * 4;

    public TcpFlags Flags => (TcpFlags)Segment[13];

    public ushort Window => BinaryPrimitives.ReadUInt16BigEndian(Segment[14..]);

    public ushort Checksum => BinaryPrimitives.ReadUInt16BigEndian(Segment[16..]);

    public ushort UrgentPointer => BinaryPrimitives.ReadUInt16BigEndian(Segment[18..]);

    public ReadOnlySpan<byte> Options => Segment[MinimumLength..HeaderLength];

    public ReadOnlySpan<byte> Payload => Segment[HeaderLength..];

    public static bool TryParse(ReadOnlySpan<byte> octets, out TcpHeader value, out WireError error)
    {
        value = default;
        if (octets.Length < MinimumLength)
        {
            error = new WireError("Header", 0, "shorter than 20 octets", "RFC 9293 3.1");
            return false;
        }

        var headerLength = (octets[12] >> 4) * 4;
        if (headerLength < MinimumLength || headerLength > octets.Length)
        {
            error = new WireError("Data Offset", 12, "header shorter than 20 octets or longer than the segment", "RFC 9293 3.1");
            return false;
        }

        value = new TcpHeader(octets);
        error = default;
        return true;
    }

    /// <summary>True when the checksum over segment and pseudo-header is right. Addresses of 4 or 16 octets.</summary>
    public bool ChecksumIsRight(ReadOnlySpan<byte> source, ReadOnlySpan<byte> destination) =>
        InternetChecksum.Finish(InternetChecksum.Add(
            InternetChecksum.PseudoHeader(source, destination, IpProtocol.Tcp, Segment.Length), Segment)) == 0;

    /// <summary>Finds the Maximum Segment Size option (RFC 9293 3.7.1).</summary>
    /// <param name="offset">Octets from the start of the segment to the option's value.</param>
    public bool TryFindMaximumSegmentSize(out int offset, out ushort value)
    {
        var options = Options;
        var at = 0;
        while (at < options.Length && options[at] != EndOfOptionList)
        {
            if (options[at] == NoOperation)
            {
                at++;
                continue;
            }

            if (at + 2 > options.Length || options[at + 1] < 2 || at + options[at + 1] > options.Length)
            {
                break;
            }

            if (options[at] == MaximumSegmentSize && options[at + 1] == 4)
            {
                offset = MinimumLength + at + 2;
                value = BinaryPrimitives.ReadUInt16BigEndian(options[(at + 2)..]);
                return true;
            }

            at += options[at + 1];
        }

        offset = 0;
        value = 0;
        return false;
    }

    /// <summary>
    /// Lowers the Maximum Segment Size option of a SYN to <paramref name="maximum"/> and updates the checksum. Returns
    /// false when nothing was changed.
    /// </summary>
    public static bool ClampMaximumSegmentSize(Span<byte> segment, ushort maximum)
    {
        if (!TryParse(segment, out var header, out _) || (header.Flags & TcpFlags.Syn) == 0
            || !header.TryFindMaximumSegmentSize(out var offset, out var value) || value <= maximum)
        {
            return false;
        }

        var checksum = header.Checksum;
        BinaryPrimitives.WriteUInt16BigEndian(segment[offset..], maximum);
        // An option at an odd offset straddles two words of the sum; swapping both values swaps their sum (RFC 1071 2 (B)).
        var (before, after) = offset % 2 == 0
            ? (value, maximum)
            : (BinaryPrimitives.ReverseEndianness(value), BinaryPrimitives.ReverseEndianness(maximum));
        BinaryPrimitives.WriteUInt16BigEndian(segment[16..], InternetChecksum.Update(checksum, before, after));
        return true;
    }
}
