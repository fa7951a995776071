using System.Buffers.Binary;

namespace Sojourn.Wire.Diameter;

/// <summary>Command flags (RFC 6733 section 3). The four low bits are reserved: sent as zero, ignored when received.</summary>
[Flags]
public enum DiameterFlags : byte
{
    None = 0,
    Request = 0x80,
    Proxiable = 0x40,
    Error = 0x20,
    Retransmitted = 0x10,
}

/// <summary>
/// The fixed 20 octets in front of every message (RFC 6733 section 3).
/// <code>
///  0                   1                   2                   3
/// |    Version    |                 Message Length                |
/// | command flags |                  Command-Code                 |
/// |                         Application-ID                        |
/// |                      Hop-by-Hop Identifier                    |
/// |                      End-to-End Identifier                    |
/// </code>
/// </summary>
/// <param name="MessageLength">Octets of the whole message, header and AVP padding included.</param>
public readonly record struct DiameterHeader(
    int MessageLength, DiameterFlags Flags, uint CommandCode, uint ApplicationId, uint HopByHopId, uint EndToEndId)
{
    public const int Length = 20;

    public const byte Version = 1;

    private const string Clause = "RFC 6733 section 3";

    public bool IsRequest => (Flags & DiameterFlags.Request) != 0;

    /// <summary>
    /// Reads the length of the message that begins at <paramref name="start"/>, so that a receiver knows how much to
    /// wait for before it stores anything. Needs four octets; with fewer <paramref name="messageLength"/> is 0.
    /// </summary>
    /// <returns>False when no message can begin like this; the stream cannot be brought back into step.</returns>
    public static bool TryMeasure(ReadOnlySpan<byte> start, DiameterLimits limits, out int messageLength, out WireError error)
    {
        messageLength = 0;
        error = default;
        if (start.Length >= 1 && start[0] != Version)
        {
            error = new WireError("Version", 0, "is not 1", Clause);
            return false;
        }

        if (start.Length < 4)
        {
            return true;
        }

        var length = (int)(BinaryPrimitives.ReadUInt32BigEndian(start) & 0x00FF_FFFF);
        if (length < Length || length % 4 != 0)
        {
            error = new WireError("Message Length", 1, "shorter than a header or no multiple of four", Clause);
            return false;
        }

        if (length > limits.MaximumMessageLength)
        {
            error = new WireError("Message Length", 1, "more than this receiver takes", Clause);
            return false;
        }

        messageLength = length;
        return true;
    }

    public static bool TryParse(ReadOnlySpan<byte> source, DiameterLimits limits, out DiameterHeader header, out WireError error)
    {
        header = default;
        if (!TryMeasure(source, limits, out var messageLength, out error))
        {
            return false;
        }

        if (source.Length < Length)
        {
            error = new WireError("Header", source.Length, "cut off", Clause);
            return false;
        }

        header = new DiameterHeader(
            messageLength,
            (DiameterFlags)source[4],
            BinaryPrimitives.ReadUInt32BigEndian(source[4..]) & 0x00FF_FFFF,
            BinaryPrimitives.ReadUInt32BigEndian(source[8..]),
            BinaryPrimitives.ReadUInt32BigEndian(source[12..]),
            BinaryPrimitives.ReadUInt32BigEndian(source[16..]));
        return true;
    }

    public void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt32BigEndian(destination, ((uint)Version << 24) | (uint)MessageLength);
        BinaryPrimitives.WriteUInt32BigEndian(destination[4..], ((uint)Flags << 24) | CommandCode);
        BinaryPrimitives.WriteUInt32BigEndian(destination[8..], ApplicationId);
        BinaryPrimitives.WriteUInt32BigEndian(destination[12..], HopByHopId);
        BinaryPrimitives.WriteUInt32BigEndian(destination[16..], EndToEndId);
    }
}
