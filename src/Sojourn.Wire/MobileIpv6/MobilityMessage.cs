using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.MobileIpv6;

/// <summary>MH Type (RFC 6275 6.1 and later registrations).</summary>
public enum MobilityHeaderType : byte
{
    BindingRefreshRequest = 0,
    HomeTestInit = 1,
    CareOfTestInit = 2,
    HomeTest = 3,
    CareOfTest = 4,
    BindingUpdate = 5,
    BindingAcknowledgement = 6,
    BindingError = 7,
}

/// <summary>
/// A Mobility Header with its message (RFC 6275 6.1). Reading does not judge the checksum, which covers addresses that
/// the Home Address option and the routing header may have changed: see <see cref="ChecksumIsRight"/>.
/// <code>
/// | Payload Proto |  Header Len   |   MH Type     |   Reserved    |
/// |           Checksum            |                               |
/// |                        Message Data, options                  |
/// </code>
/// </summary>
public abstract record MobilityMessage
{
    /// <summary>Octets before the message data.</summary>
    public const int HeadLength = 6;

    public abstract MobilityHeaderType Type { get; }

    public MobilityOptions Options { get; init; } = MobilityOptions.None;

    /// <summary>Octets of message data before the options.</summary>
    protected abstract int DataLength { get; }

    private int OptionsStart => HeadLength + DataLength;

    /// <summary>Octets of the header, a multiple of 8.</summary>
    public int Length => OptionsStart + Options.LengthFrom(OptionsStart);

    protected abstract void WriteData(Span<byte> data);

    /// <summary>Writes the header with a checksum of zero, as an authenticator is computed over it (RFC 6275 6.2.7).</summary>
    public int WriteWithoutChecksum(Span<byte> destination)
    {
        var header = destination[..Length];
        header[0] = IpProtocol.NoNextHeader;
        header[1] = (byte)((header.Length / 8) - 1);
        header[2] = (byte)Type;
        header[3] = 0;
        header[4] = header[5] = 0;
        WriteData(header.Slice(HeadLength, DataLength));
        Options.Write(header, OptionsStart);
        return header.Length;
    }

    /// <summary>Writes the header; addresses as for <see cref="ChecksumIsRight"/>.</summary>
    public int Write(Span<byte> destination, IPAddress source, IPAddress finalDestination)
    {
        var length = WriteWithoutChecksum(destination);
        BinaryPrimitives.WriteUInt16BigEndian(destination[4..], Checksum(destination[..length], source, finalDestination));
        return length;
    }

    public byte[] ToArray(IPAddress source, IPAddress finalDestination)
    {
        var octets = new byte[Length];
        Write(octets, source, finalDestination);
        return octets;
    }

    /// <summary>
    /// Whether the checksum fits (RFC 6275 6.1.1): <paramref name="source"/> is the home address of the Home Address
    /// option when there is one, <paramref name="finalDestination"/> that of the type 2 routing header.
    /// </summary>
    public static bool ChecksumIsRight(ReadOnlySpan<byte> header, IPAddress source, IPAddress finalDestination) => Checksum(header, source, finalDestination) == 0;

    private static ushort Checksum(ReadOnlySpan<byte> header, IPAddress source, IPAddress destination)
    {
        Span<byte> addresses = stackalloc byte[2 * IPv6Octets.Size];
        IPv6Octets.Write(addresses, source);
        IPv6Octets.Write(addresses[IPv6Octets.Size..], destination);
        return InternetChecksum.Finish(InternetChecksum.Add(
            InternetChecksum.PseudoHeader(addresses[..IPv6Octets.Size], addresses[IPv6Octets.Size..], IpProtocol.Mobility, header.Length), header));
    }

    /// <summary>
    /// Reads a Mobility Header. An error in <c>Payload Proto</c> or <c>Header Len</c> is one the sender may be told by an
    /// ICMPv6 Parameter Problem that points to the field (RFC 6275 9.2).
    /// </summary>
    public static bool TryParse(ReadOnlySpan<byte> octets, [NotNullWhen(true)] out MobilityMessage? message, out WireError error)
    {
        message = null;
        if (octets.Length < 8)
        {
            error = new WireError("Mobility Header", 0, "shorter than 8 octets", "RFC 6275 6.1.1");
            return false;
        }

        if (octets[0] != IpProtocol.NoNextHeader)
        {
            error = new WireError("Payload Proto", 0, "is not 59", "RFC 6275 9.2");
            return false;
        }

        var length = (octets[1] + 1) * 8;
        if (length != octets.Length)
        {
            error = new WireError("Header Len", 1, "is not what arrived", "RFC 6275 6.1.1");
            return false;
        }

        if (length > MobileIpv6Limits.HeaderLength)
        {
            error = new WireError("Header Len", 1, "longer than the limit", "MobileIpv6Limits.HeaderLength");
            return false;
        }

        var type = (MobilityHeaderType)octets[2];
        var needed = type switch
        {
            MobilityHeaderType.BindingRefreshRequest => 2,
            MobilityHeaderType.HomeTestInit or MobilityHeaderType.CareOfTestInit => 10,
            MobilityHeaderType.HomeTest or MobilityHeaderType.CareOfTest or MobilityHeaderType.BindingError => 18,
            MobilityHeaderType.BindingUpdate or MobilityHeaderType.BindingAcknowledgement => 6,
            _ => 0,
        };
        if (length < HeadLength + needed)
        {
            error = new WireError("Header Len", 1, "less than the message needs", "RFC 6275 9.2");
            return false;
        }

        var data = octets[HeadLength..];
        if (type > MobilityHeaderType.BindingError)
        {
            message = new UnknownMobilityMessage((byte)type, data);
            error = default;
            return true;
        }

        if (!MobilityOptions.TryRead(octets, HeadLength + needed, out var options, out error))
        {
            return false;
        }

        message = type switch
        {
            MobilityHeaderType.BindingRefreshRequest => new BindingRefreshRequest { Options = options },
            MobilityHeaderType.HomeTestInit => new HomeTestInit(Cookie(data)) { Options = options },
            MobilityHeaderType.CareOfTestInit => new CareOfTestInit(Cookie(data)) { Options = options },
            MobilityHeaderType.HomeTest => new HomeTest(Word(data, 0), Cookie(data), Token(data)) { Options = options },
            MobilityHeaderType.CareOfTest => new CareOfTest(Word(data, 0), Cookie(data), Token(data)) { Options = options },
            MobilityHeaderType.BindingUpdate => new BindingUpdate
            {
                SequenceNumber = Word(data, 0),
                Flags = (BindingUpdateFlags)Word(data, 2),
                Lifetime = Word(data, 4),
                Options = options,
            },
            MobilityHeaderType.BindingAcknowledgement => new BindingAcknowledgement
            {
                Status = (BindingStatus)data[0],
                Flags = (BindingAcknowledgementFlags)data[1],
                SequenceNumber = Word(data, 2),
                Lifetime = Word(data, 4),
                Options = options,
            },
            _ => new BindingError((BindingErrorStatus)data[0], IPv6Octets.Read(data[2..])) { Options = options },
        };
        return true;
    }

    private static ushort Word(ReadOnlySpan<byte> data, int at) => BinaryPrimitives.ReadUInt16BigEndian(data[at..]);

    private static ulong Cookie(ReadOnlySpan<byte> data) => BinaryPrimitives.ReadUInt64BigEndian(data[2..]);

    private static ulong Token(ReadOnlySpan<byte> data) => BinaryPrimitives.ReadUInt64BigEndian(data[10..]);
}

/// <summary>A message of a type this codec does not read; a receiver answers it with a binding error, status 2 (RFC 6275 9.2).</summary>
public sealed record UnknownMobilityMessage : MobilityMessage
{
    public UnknownMobilityMessage(byte type, OctetString data)
    {
        if (type <= (byte)MobilityHeaderType.BindingError || data.Length % 8 != 2 || data.Length > MobileIpv6Limits.HeaderLength - HeadLength)
        {
            throw new ArgumentException("a type that is read, or data that do not fill whole units of 8 octets", nameof(type));
        }

        MessageType = type;
        Data = data;
    }

    public byte MessageType { get; }

    public OctetString Data { get; }

    public override MobilityHeaderType Type => (MobilityHeaderType)MessageType;

    protected override int DataLength => Data.Length;

    protected override void WriteData(Span<byte> data) => Data.Span.CopyTo(data);
}
