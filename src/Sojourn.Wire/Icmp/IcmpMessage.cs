using System.Buffers.Binary;
using Sojourn.Wire.Ip;

namespace Sojourn.Wire.Icmp;

/// <summary>ICMP types and codes this product reads or writes (RFC 792, RFC 1191, RFC 1812).</summary>
public static class IcmpType
{
    public const byte EchoReply = 0;
    public const byte DestinationUnreachable = 3;
    public const byte Redirect = 5;
    public const byte EchoRequest = 8;
    public const byte TimeExceeded = 11;
    public const byte ParameterProblem = 12;

    public const byte CodeNetworkUnreachable = 0;
    public const byte CodeHostUnreachable = 1;
    public const byte CodeFragmentationNeeded = 4;
    public const byte CodeAdministrativelyProhibited = 13;

    /// <summary>An error about another packet; errors never answer errors (RFC 1812 4.3.2.7).</summary>
    public static bool IsError(byte type) => type is DestinationUnreachable or 4 or Redirect or TimeExceeded or ParameterProblem;
}

/// <summary>ICMPv6 types and codes (RFC 4443).</summary>
public static class Icmpv6Type
{
    public const byte DestinationUnreachable = 1;
    public const byte PacketTooBig = 2;
    public const byte TimeExceeded = 3;
    public const byte ParameterProblem = 4;
    public const byte EchoRequest = 128;
    public const byte EchoReply = 129;

    public const byte CodeNoRoute = 0;
    public const byte CodeAdministrativelyProhibited = 1;
    public const byte CodeAddressUnreachable = 3;

    public static bool IsError(byte type) => type < 128;
}

/// <summary>
/// View of an ICMP or ICMPv6 message (RFC 792, RFC 4443 2.1).
/// <code>
/// |     Type      |     Code      |          Checksum             |
/// |                depends on Type (32 bits)                      |
/// |                Body: data of an echo, packet of an error      |
/// </code>
/// </summary>
public readonly ref struct IcmpMessage
{
    public const int HeaderLength = 8;

    private IcmpMessage(ReadOnlySpan<byte> octets) => Octets = octets;

    public ReadOnlySpan<byte> Octets { get; }

    public byte Type => Octets[0];

    public byte Code => Octets[1];

    public ushort Checksum => BinaryPrimitives.ReadUInt16BigEndian(Octets[2..]);

    public uint Parameter => BinaryPrimitives.ReadUInt32BigEndian(Octets[4..]);

    /// <summary>Identifier of an echo.</summary>
    public ushort Identifier => BinaryPrimitives.ReadUInt16BigEndian(Octets[4..]);

    /// <summary>Sequence number of an echo.</summary>
    public ushort SequenceNumber => BinaryPrimitives.ReadUInt16BigEndian(Octets[6..]);

    /// <summary>Next-hop MTU of an ICMPv4 fragmentation-needed message (RFC 1191 4); 0 from a router that does not say.</summary>
    public int NextHopMtuIPv4 => BinaryPrimitives.ReadUInt16BigEndian(Octets[6..]);

    public ReadOnlySpan<byte> Body => Octets[HeaderLength..];

    public static bool TryParse(ReadOnlySpan<byte> octets, out IcmpMessage value, out WireError error)
    {
        value = default;
        if (octets.Length < HeaderLength)
        {
            error = new WireError("Header", 0, "shorter than 8 octets", "RFC 792");
            return false;
        }

        value = new IcmpMessage(octets);
        error = default;
        return true;
    }

    /// <summary>ICMPv4 checksum: over the message alone.</summary>
    public bool ChecksumIsRight => InternetChecksum.Of(Octets) == 0;

    /// <summary>ICMPv6 checksum: with the pseudo-header (RFC 4443 2.3).</summary>
    public bool ChecksumIsRightIPv6(ReadOnlySpan<byte> source, ReadOnlySpan<byte> destination) =>
        InternetChecksum.Finish(InternetChecksum.Add(
            InternetChecksum.PseudoHeader(source, destination, IpProtocol.Icmpv6, Octets.Length), Octets)) == 0;

    /// <summary>Writes the first eight octets before a body that already stands in <paramref name="message"/> and fills in the ICMPv4 checksum.</summary>
    public static void WriteIPv4(Span<byte> message, byte type, byte code, uint parameter)
    {
        WriteFields(message, type, code, parameter);
        BinaryPrimitives.WriteUInt16BigEndian(message[2..], InternetChecksum.Of(message));
    }

    /// <summary>The same for ICMPv6, whose checksum covers the addresses.</summary>
    public static void WriteIPv6(Span<byte> message, byte type, byte code, uint parameter, ReadOnlySpan<byte> source, ReadOnlySpan<byte> destination)
    {
        WriteFields(message, type, code, parameter);
        var sum = InternetChecksum.PseudoHeader(source, destination, IpProtocol.Icmpv6, message.Length);
        BinaryPrimitives.WriteUInt16BigEndian(message[2..], InternetChecksum.Finish(InternetChecksum.Add(sum, message)));
    }

    private static void WriteFields(Span<byte> message, byte type, byte code, uint parameter)
    {
        message[0] = type;
        message[1] = code;
        BinaryPrimitives.WriteUInt16BigEndian(message[2..], 0);
        BinaryPrimitives.WriteUInt32BigEndian(message[4..], parameter);
    }
}
