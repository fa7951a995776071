using System.Buffers.Binary;

namespace Sojourn.Wire.Ikev2;

/// <summary>
/// The header of every IKEv2 message (RFC 7296 3.1).
/// <code>
/// |                       IKE SA Initiator's SPI (64)             |
/// |                       IKE SA Responder's SPI (64)             |
/// |  Next Payload | MjVer | MnVer | Exchange Type |     Flags     |
/// |                          Message ID                           |
/// |                            Length                             |
/// </code>
/// </summary>
/// <param name="ResponderSpi">Zero in the first message of a negotiation.</param>
public readonly record struct IkeHeader(ulong InitiatorSpi, ulong ResponderSpi, IkeExchange Exchange, IkeFlags Flags, uint MessageId)
{
    public const int WireLength = 28;

    /// <summary>Major version in the high four bits, minor in the low (RFC 7296 3.1).</summary>
    public const byte CurrentVersion = 0x20;

    public byte Version { get; init; } = CurrentVersion;

    /// <summary>Type of the first payload; what <see cref="Write"/> puts there is said by the caller.</summary>
    public IkePayloadType NextPayload { get; init; }

    public int MajorVersion => Version >> 4;

    public bool IsResponse => (Flags & IkeFlags.Response) != 0;

    public bool FromInitiator => (Flags & IkeFlags.Initiator) != 0;

    /// <summary>Reads the header of a whole message: the Length field must be the datagram's length. Any version is read, so that the caller can refuse it.</summary>
    public static bool TryParse(ReadOnlySpan<byte> message, out IkeHeader header, out WireError error)
    {
        header = default;
        if (message.Length < WireLength)
        {
            error = new WireError("Length", message.Length, "message is shorter than the header", "RFC 7296 3.1");
            return false;
        }

        if (message.Length > Ikev2Limits.MessageLength)
        {
            error = new WireError("Length", 24, "message is longer than the limit", "Ikev2Limits.MessageLength");
            return false;
        }

        if (BinaryPrimitives.ReadUInt32BigEndian(message[24..]) != (uint)message.Length)
        {
            error = new WireError("Length", 24, "is not the length of the message", "RFC 7296 3.1");
            return false;
        }

        header = new IkeHeader(
            BinaryPrimitives.ReadUInt64BigEndian(message), BinaryPrimitives.ReadUInt64BigEndian(message[8..]),
            (IkeExchange)message[18], (IkeFlags)message[19], BinaryPrimitives.ReadUInt32BigEndian(message[20..]))
        { Version = message[17], NextPayload = (IkePayloadType)message[16] };
        if (header.InitiatorSpi == 0)
        {
            error = new WireError("IKE SA Initiator's SPI", 0, "is zero", "RFC 7296 3.1");
            return false;
        }

        error = default;
        return true;
    }

    /// <summary>Writes the header of a message of <paramref name="length"/> octets.</summary>
    public void Write(Span<byte> destination, int length)
    {
        BinaryPrimitives.WriteUInt64BigEndian(destination, InitiatorSpi);
        BinaryPrimitives.WriteUInt64BigEndian(destination[8..], ResponderSpi);
        destination[16] = (byte)NextPayload;
        destination[17] = Version;
        destination[18] = (byte)Exchange;
        destination[19] = (byte)Flags;
        BinaryPrimitives.WriteUInt32BigEndian(destination[20..], MessageId);
        BinaryPrimitives.WriteUInt32BigEndian(destination[24..], (uint)length);
    }
}
