// Readings:
// - The guest is a router between the host and the home address (RFC 7915 4.1, 5.1): it takes one from TTL and hop limit and answers when
//   they are used up, from the resolver's address towards the host and from the home address towards the network.
// - TOS and traffic class are copied with all eight bits. The flow label is zero.
// - Checksums of TCP, UDP and echo are brought up to date, not made anew: what was damaged before stays damaged. ICMP errors change
//   length; they are checked and made anew.
// - What a correspondent sends makes an entry only after everything else about the packet was found right.
// - RFC 7915 1.2 leaves fragments of ICMP alone, because the checksum needs the length of the whole. Echo messages of up to 9000 octets are put
//   together first, so that a large ping shows what it is sent to show.
// - A Packet Too Big that says less than 1280 octets is nobody's who has IPv6 (RFC 8201 4) and is not passed on.
using System.Buffers.Binary;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;

namespace Sojourn.Engine.Translation;

/// <summary>
/// The translation of part 23 (spec terminal 4.6): IPv4 packets of the host into IPv6 packets of the home address and back, by RFC 7915
/// with the addresses of table 230. One thread at a time; nothing is allocated but for a new entry.
/// </summary>
public sealed partial class IpTranslator
{
    /// <summary>The shortest path there may be on either side, octets.</summary>
    public const int MinimumMtu = 576;

    private const int FragmentHeaderLength = 8;

    /// <summary>Longest IPv4 packet that leaves without Don't Fragment (RFC 7915 5.1).</summary>
    private const int MayBeFragmented = 1260;

    private const int MinimumIpv6Mtu = 1280;

    /// <summary>Longest ICMP message that is put together, with its IPv6 header.</summary>
    private const int LongestEcho = 9000;

    private readonly TranslationTable _table;
    private readonly TranslationOptions _options;
    private readonly Ipv6Reassembler _echoes = new(new ReassemblyLimits { Datagrams = 32, DatagramsPerSource = 16, Octets = 32 * LongestEcho, Fragments = 64, Timeout = TimeSpan.FromSeconds(15) });
    private DateTimeOffset _second;
    private int _errors;
    private ushort _identification;

    /// <param name="random">Where the numbers of IPv4 packets begin.</param>
    public IpTranslator(TranslationTable table, TranslationOptions options, IRandomSource random)
    {
        options.Validate();
        (_table, _options) = (table, options);
        _identification = (ushort)random.NextUInt32();
    }

    /// <summary>Who takes what is sent to the pool's last address, and its servers' answers; null = the former is counted and dropped by the caller.</summary>
    public NameResolver? Resolver { get; set; }

    /// <summary>Octets that a destination buffer has to have for a packet of <paramref name="length"/> octets; about ten thousand at least, so it is worth keeping one.</summary>
    public static int RoomFor(int length)
    {
        length = Math.Max(length, LongestEcho);
        return length + ((IPv6Header.Length + FragmentHeaderLength) * ((length / (MinimumMtu - 64)) + 2));
    }

    private static TranslationResult Drop(TranslationReason reason) => new(TranslationVerdict.Drop, reason, 0, 0);

    private static TranslationResult Forward(int length, int count = 1) => new(TranslationVerdict.Forward, TranslationReason.None, length, count);

    private static void CheckBuffers(int length, int mtu, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(mtu, MinimumMtu);
        ArgumentOutOfRangeException.ThrowIfLessThan(destination.Length, RoomFor(length), nameof(destination));
    }

    /// <summary>A sum as the 16 bits that an incremental update takes out or puts in.</summary>
    private static ushort Fold(ulong sum) => (ushort)~InternetChecksum.Finish(sum);

    private static void UpdateChecksum(Span<byte> field, ushort before, ushort after) =>
        BinaryPrimitives.WriteUInt16BigEndian(field, InternetChecksum.Update(BinaryPrimitives.ReadUInt16BigEndian(field), before, after));

    /// <summary>The pseudo-header of TCP and UDP differs in the addresses only.</summary>
    private static ushort SumOfAddresses(ReadOnlySpan<byte> source, ReadOnlySpan<byte> destination) =>
        Fold(InternetChecksum.Add(InternetChecksum.Add(0, source), destination));

    /// <summary>
    /// Brings the checksum of TCP or UDP up to date, where the octets that are there reach that far. False for UDP without one.
    /// </summary>
    private static bool UpdateTransport(byte protocol, Span<byte> transport, ushort before, ushort after)
    {
        switch (protocol)
        {
            case IpProtocol.Tcp when transport.Length >= 18:
                UpdateChecksum(transport[16..], before, after);
                return true;
            case IpProtocol.Udp when transport.Length >= 8:
                if (BinaryPrimitives.ReadUInt16BigEndian(transport[6..]) == 0)
                {
                    return false;
                }

                UpdateChecksum(transport[6..], before, after);
                if (BinaryPrimitives.ReadUInt16BigEndian(transport[6..]) == 0)
                {
                    transport[6] = transport[7] = 0xFF;
                }

                return true;
            default:
                return true;
        }
    }

    /// <summary>Gives an echo message the other version's type and checksum.</summary>
    /// <param name="before">Sum of the pseudo-header it has; 0 for ICMPv4.</param>
    private static void TurnEcho(Span<byte> message, byte type, ushort before, ushort after)
    {
        var old = BinaryPrimitives.ReadUInt16BigEndian(message);
        message[0] = type;
        UpdateChecksum(message[2..], old, BinaryPrimitives.ReadUInt16BigEndian(message));
        UpdateChecksum(message[2..], before, after);
    }

    private TranslationResult AnswerHost(in IPv4Header packet, byte type, byte code, uint parameter, TranslationReason reason, Span<byte> destination)
    {
        Span<byte> source = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(source, _table.Resolver);
        var offending = IpPacket.OfChecked(packet.Packet);
        return IcmpError.MayAnswer(offending)
            ? new(TranslationVerdict.Answer, reason, IcmpError.Write(offending, source, type, code, parameter, destination), 1)
            : Drop(reason);
    }

    private TranslationResult AnswerNetwork(in IPv6Header packet, byte type, byte code, uint parameter, TranslationReason reason, DateTimeOffset now, Span<byte> destination)
    {
        var offending = IpPacket.OfChecked(packet.Packet);
        return IcmpError.MayAnswer(offending) && MaySendError(now)
            ? new(TranslationVerdict.Answer, reason, IcmpError.Write(offending, packet.Destination, type, code, parameter, destination), 1)
            : Drop(reason);
    }

    private bool MaySendError(DateTimeOffset now)
    {
        if (now - _second >= TimeSpan.FromSeconds(1))
        {
            (_second, _errors) = (now, 0);
        }

        return ++_errors <= _options.ErrorsPerSecond;
    }
}
