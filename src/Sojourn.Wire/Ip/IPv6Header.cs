using System.Buffers.Binary;
using System.Net;

namespace Sojourn.Wire.Ip;

/// <summary>
/// View of an IPv6 packet (RFC 8200 3). Octets after Payload Length are cut off. A Payload Length of 0 is an empty
/// payload: jumbograms (RFC 2675) are not read.
/// <code>
/// |Version| Traffic Class |           Flow Label                  |
/// |         Payload Length        |  Next Header  |   Hop Limit   |
/// |                    Source Address (16)                        |
/// |                  Destination Address (16)                     |
/// </code>
/// </summary>
public readonly ref struct IPv6Header
{
    public const int Length = 40;

    private IPv6Header(ReadOnlySpan<byte> packet) => Packet = packet;

    /// <summary>The whole packet, header included.</summary>
    public ReadOnlySpan<byte> Packet { get; }

    public byte TrafficClass => (byte)(BinaryPrimitives.ReadUInt16BigEndian(Packet) >> 4);

    public uint FlowLabel => BinaryPrimitives.ReadUInt32BigEndian(Packet) & 0xFFFFF;

    public int PayloadLength => Packet.Length - Length;

    public byte NextHeader => Packet[6];

    public byte HopLimit => Packet[7];

    /// <summary>Sixteen octets.</summary>
    public ReadOnlySpan<byte> Source => Packet.Slice(8, 16);

    public ReadOnlySpan<byte> Destination => Packet.Slice(24, 16);

    public IPAddress SourceAddress => new(Source);

    public IPAddress DestinationAddress => new(Destination);

    public ReadOnlySpan<byte> Payload => Packet[Length..];

    public static bool TryParse(ReadOnlySpan<byte> octets, out IPv6Header value, out WireError error)
    {
        value = default;
        if (octets.Length < Length)
        {
            error = new WireError("Header", 0, "shorter than 40 octets", "RFC 8200 3");
            return false;
        }

        if (octets[0] >> 4 != 6)
        {
            error = new WireError("Version", 0, "not 6", "RFC 8200 3");
            return false;
        }

        var payloadLength = BinaryPrimitives.ReadUInt16BigEndian(octets[4..]);
        if (Length + payloadLength > octets.Length)
        {
            error = new WireError("Payload Length", 4, "more than what arrived", "RFC 8200 3");
            return false;
        }

        value = new IPv6Header(octets[..(Length + payloadLength)]);
        error = default;
        return true;
    }

    /// <summary>View of octets known to be exactly one packet.</summary>
    internal static IPv6Header OfChecked(ReadOnlySpan<byte> packet) => new(packet);

    /// <summary>Writes a header into a buffer that may be dirty.</summary>
    public static void Write(
        Span<byte> header, byte trafficClass, uint flowLabel, int payloadLength, byte nextHeader, byte hopLimit,
        ReadOnlySpan<byte> source, ReadOnlySpan<byte> destination)
    {
        header = header[..Length];
        BinaryPrimitives.WriteUInt32BigEndian(header, 0x60000000 | ((uint)trafficClass << 20) | (flowLabel & 0xFFFFF));
        BinaryPrimitives.WriteUInt16BigEndian(header[4..], checked((ushort)payloadLength));
        header[6] = nextHeader;
        header[7] = hopLimit;
        source[..16].CopyTo(header[8..]);
        destination[..16].CopyTo(header[24..]);
    }

    public static void RewriteTrafficClass(Span<byte> packet, byte trafficClass)
    {
        var first = BinaryPrimitives.ReadUInt32BigEndian(packet) & 0xF00FFFFF;
        BinaryPrimitives.WriteUInt32BigEndian(packet, first | ((uint)trafficClass << 20));
    }
}
