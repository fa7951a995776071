using System.Buffers.Binary;
using System.Globalization;
using System.Net;

namespace Sojourn.Lab.Capture;

/// <summary>
/// An IPv4 packet as the judge reads it. The lab reads IP, ESP, AH and TLS with code of its own and not with the codecs of
/// the nodes it judges: a mistake made twice the same way would otherwise pass unseen.
/// </summary>
public sealed class Ipv4Packet
{
    private readonly ReadOnlyMemory<byte> _octets;

    private Ipv4Packet(ReadOnlyMemory<byte> octets) => _octets = octets;

    /// <summary>The whole packet, without link padding.</summary>
    public ReadOnlySpan<byte> Octets => _octets.Span;

    public int HeaderLength => (Octets[0] & 15) * 4;

    public ReadOnlyMemory<byte> Payload => _octets[HeaderLength..];

    public IPAddress Source => new(Octets.Slice(12, 4));

    public IPAddress Destination => new(Octets.Slice(16, 4));

    public byte Protocol => Octets[9];

    /// <summary>DSCP and ECN.</summary>
    public byte TypeOfService => Octets[1];

    public int Dscp => TypeOfService >> 2;

    public int Ecn => TypeOfService & 3;

    public byte TimeToLive => Octets[8];

    public ushort Identification => BinaryPrimitives.ReadUInt16BigEndian(Octets[4..]);

    public bool DontFragment => (Octets[6] & 0x40) != 0;

    public bool IsFragment => (BinaryPrimitives.ReadUInt16BigEndian(Octets[6..]) & 0x3FFF) != 0;

    public int FragmentOffset => (BinaryPrimitives.ReadUInt16BigEndian(Octets[6..]) & 0x1FFF) * 8;

    public bool IsUdp => Protocol == 17 && FragmentOffset == 0 && Payload.Length >= 8;

    public bool IsTcp => Protocol == 6 && FragmentOffset == 0 && Payload.Length >= 20;

    public bool IsIcmp => Protocol == 1 && FragmentOffset == 0 && Payload.Length >= 8;

    public ushort SourcePort => IsUdp || IsTcp ? BinaryPrimitives.ReadUInt16BigEndian(Payload.Span) : (ushort)0;

    public ushort DestinationPort => IsUdp || IsTcp ? BinaryPrimitives.ReadUInt16BigEndian(Payload.Span[2..]) : (ushort)0;

    /// <summary>UDP data; empty for other packets.</summary>
    public ReadOnlyMemory<byte> UdpData => IsUdp ? Payload[8..Math.Clamp(BinaryPrimitives.ReadUInt16BigEndian(Payload.Span[4..]), 8, Payload.Length)] : default;

    /// <summary>ICMP type, -1 for other packets.</summary>
    public int IcmpType => IsIcmp ? Payload.Span[0] : -1;

    public int IcmpCode => IsIcmp ? Payload.Span[1] : -1;

    /// <summary>Sequence number of an echo or echo reply, -1 for other packets.</summary>
    public int EchoSequence => IcmpType is 0 or 8 ? BinaryPrimitives.ReadUInt16BigEndian(Payload.Span[6..]) : -1;

    public int EchoIdentifier => IcmpType is 0 or 8 ? BinaryPrimitives.ReadUInt16BigEndian(Payload.Span[4..]) : -1;

    /// <summary>Null when the octets are no whole IPv4 packet with a right header checksum.</summary>
    public static Ipv4Packet? Parse(ReadOnlyMemory<byte> octets)
    {
        var span = octets.Span;
        if (span.Length < 20 || span[0] >> 4 != 4)
        {
            return null;
        }

        var header = (span[0] & 15) * 4;
        var total = BinaryPrimitives.ReadUInt16BigEndian(span[2..]);
        return header < 20 || total < header || total > span.Length || Sum(span[..header]) != 0 ? null : new Ipv4Packet(octets[..total]);
    }

    /// <summary>The packet in an Ethernet frame; null when it carries something else.</summary>
    public static Ipv4Packet? Of(CapturedFrame frame) =>
        frame.Data.Length >= 14 && BinaryPrimitives.ReadUInt16BigEndian(frame.Data.AsSpan(12)) == 0x0800 ? Parse(frame.Data.AsMemory(14)) : null;

    /// <summary>Ones' complement sum (RFC 1071); 0 over a header whose checksum is right.</summary>
    public static ushort Sum(ReadOnlySpan<byte> octets)
    {
        uint sum = 0;
        for (; octets.Length > 1; octets = octets[2..])
        {
            sum += BinaryPrimitives.ReadUInt16BigEndian(octets);
        }

        if (octets.Length == 1)
        {
            sum += (uint)octets[0] << 8;
        }

        while (sum > 0xFFFF)
        {
            sum = (sum & 0xFFFF) + (sum >> 16);
        }

        return (ushort)~sum;
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Source} > {Destination} {Describe()}, {Octets.Length} octets");

    /// <summary>What it carries, in a word or two.</summary>
    public string Describe() => Protocol switch
    {
        1 => IcmpType switch
        {
            0 => string.Create(CultureInfo.InvariantCulture, $"ICMP echo reply {EchoSequence}"),
            8 => string.Create(CultureInfo.InvariantCulture, $"ICMP echo request {EchoSequence}"),
            3 when IcmpCode == 4 => string.Create(CultureInfo.InvariantCulture, $"ICMP fragmentation needed, MTU {BinaryPrimitives.ReadUInt16BigEndian(Payload.Span[6..])}"),
            3 => string.Create(CultureInfo.InvariantCulture, $"ICMP unreachable, code {IcmpCode}"),
            9 => "agent advertisement",
            10 => "agent solicitation",
            11 => "ICMP time exceeded",
            var type => string.Create(CultureInfo.InvariantCulture, $"ICMP type {type}"),
        },
        4 => "IP-in-IP",
        6 => string.Create(CultureInfo.InvariantCulture, $"TCP {SourcePort} > {DestinationPort}"),
        17 => string.Create(CultureInfo.InvariantCulture, $"UDP {SourcePort} > {DestinationPort}"),
        50 => "ESP",
        51 => "AH",
        var protocol => string.Create(CultureInfo.InvariantCulture, $"IP protocol {protocol}"),
    };
}
