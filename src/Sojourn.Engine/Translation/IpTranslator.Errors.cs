// Readings:
// - The packet inside an error has to be one that went through here: its addresses are looked up, nothing is added for it.
// - Extensions (RFC 4884) go along where both versions have a field for the length of what is before them, opaque as they are.
using System.Buffers.Binary;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;

namespace Sojourn.Engine.Translation;

/// <summary>ICMP errors, with the packets they quote (RFC 7915 4.2, 4.3, 5.2, 5.3).</summary>
public sealed partial class IpTranslator
{
    /// <summary>Shortest quotation before an extension (RFC 4884 4.5).</summary>
    private const int PaddedQuotation = 128;

    private const byte NotListed = 0xFF;

    /// <summary>Likely path MTUs for routers that do not say theirs (RFC 1191 7), down to the smallest that IPv6 has.</summary>
    private static ReadOnlySpan<ushort> Plateaus => [65535, 32000, 17914, 8166, 4352, 2002, 1492];

    private TranslationResult ErrorUp(in IPv4Header ip, ReadOnlySpan<byte> ends, int mtu, DateTimeOffset now, Span<byte> destination)
    {
        const int headers = IPv6Header.Length + IcmpMessage.HeaderLength;
        if (!IcmpMessage.TryParse(ip.Payload, out var message, out _) || !message.ChecksumIsRight)
        {
            return Drop(TranslationReason.Malformed);
        }

        var quoted = message.Body;
        var extended = message.Octets[5] * 4;
        if (quoted.Length < IPv4Header.MinimumLength || extended > quoted.Length)
        {
            return Drop(TranslationReason.Malformed);
        }

        if (!TryMapUp(message, mtu, out var type, out var code, out var parameter))
        {
            return Drop(TranslationReason.NoEquivalent);
        }

        var room = destination[..Math.Min(mtu, MinimumIpv6Mtu)];
        room.Clear();
        if (QuoteUp(extended == 0 ? quoted : quoted[..extended], now, room[headers..], out var length) is not TranslationReason.None and var reason)
        {
            return Drop(reason);
        }

        if (extended != 0 && type is Icmpv6Type.DestinationUnreachable or Icmpv6Type.TimeExceeded)
        {
            length = Extend(quoted[extended..], Math.Max(PaddedQuotation, (length + 7) & ~7), room[headers..], length, out var padded);
            parameter = (uint)(padded / 8) << 24;
        }

        IcmpMessage.WriteIPv6(room.Slice(IPv6Header.Length, IcmpMessage.HeaderLength + length), type, code, parameter, ends[..16], ends[16..]);
        IPv6Header.Write(room, ip.TypeOfService, 0, IcmpMessage.HeaderLength + length, IpProtocol.Icmpv6, (byte)(ip.TimeToLive - 1), ends[..16], ends[16..]);
        return Forward(headers + length);
    }

    private TranslationResult ErrorDown(in IPv6Header ip, ReadOnlySpan<byte> octets, TranslationEntry own, int hostMtu, DateTimeOffset now, Span<byte> destination)
    {
        const int headers = IPv4Header.MinimumLength + IcmpMessage.HeaderLength;
        if (!IcmpMessage.TryParse(octets, out var message, out _) || !message.ChecksumIsRightIPv6(ip.Source, ip.Destination))
        {
            return Drop(TranslationReason.Malformed);
        }

        // A length before an extension makes the quotation shorter than the message, so it is judged again where it is read.
        var quoted = message.Body;
        var extended = message.Type is Icmpv6Type.DestinationUnreachable or Icmpv6Type.TimeExceeded ? message.Octets[4] * 8 : 0;
        if (quoted.Length < IPv6Header.Length || extended > quoted.Length)
        {
            return Drop(TranslationReason.Malformed);
        }

        if (!TryMapDown(message, hostMtu, out var type, out var code, out var parameter))
        {
            return Drop(TranslationReason.NoEquivalent);
        }

        var room = destination[..Math.Min(hostMtu, MinimumIpv6Mtu)];
        room.Clear();
        if (QuoteDown(extended == 0 ? quoted : quoted[..extended], now, room[headers..], out var length) is not TranslationReason.None and var reason)
        {
            return Drop(reason);
        }

        if (extended != 0)
        {
            length = Extend(quoted[extended..], Math.Max(PaddedQuotation, (length + 3) & ~3), room[headers..], length, out var padded);
            parameter |= (uint)(padded / 4) << 16;
        }

        if (OfSource(AddressBits.Of6(ip.Source), byTcp: false, now, out var refusal) is not { } peer)
        {
            return Drop(refusal);
        }

        Span<byte> ends = stackalloc byte[8];
        BinaryPrimitives.WriteUInt32BigEndian(ends, peer.Ipv4);
        BinaryPrimitives.WriteUInt32BigEndian(ends[4..], own.Ipv4);
        IcmpMessage.WriteIPv4(room.Slice(IPv4Header.MinimumLength, IcmpMessage.HeaderLength + length), type, code, parameter);
        var total = headers + length;
        IPv4Header.Write(
            room, ip.TrafficClass, total, ++_identification, total > MayBeFragmented ? IPv4Header.DontFragmentFlag : (ushort)0,
            (byte)(ip.HopLimit - 1), IpProtocol.Icmp, ends[..4], ends[4..]);
        return Forward(total);
    }

    /// <summary>Puts an extension behind a quotation that is filled up with zeros; what does not fit is cut off, all of it when not even the filling fits.</summary>
    private static int Extend(ReadOnlySpan<byte> extension, int wanted, Span<byte> room, int length, out int padded)
    {
        padded = wanted;
        if (padded + extension.Length > room.Length)
        {
            padded = 0;
            return length;
        }

        extension.CopyTo(room[padded..]);
        return padded + extension.Length;
    }

    private static bool TryMapUp(in IcmpMessage message, int mtu, out byte type, out byte code, out uint parameter)
    {
        (type, code, parameter) = (Icmpv6Type.DestinationUnreachable, Icmpv6Type.CodeNoRoute, 0);
        switch (message.Type, message.Code)
        {
            case (IcmpType.DestinationUnreachable, 0 or 1 or 5 or 6 or 7 or 8 or 11 or 12):
                return true;
            case (IcmpType.DestinationUnreachable, 2):
                (type, code, parameter) = (Icmpv6Type.ParameterProblem, 1, 6);
                return true;
            case (IcmpType.DestinationUnreachable, 3):
                code = 4;
                return true;
            case (IcmpType.DestinationUnreachable, IcmpType.CodeFragmentationNeeded):
                (type, code) = (Icmpv6Type.PacketTooBig, 0);
                var said = message.NextHopMtuIPv4 == 0 ? PlateauBelow(BinaryPrimitives.ReadUInt16BigEndian(message.Body[2..])) : message.NextHopMtuIPv4 + 20;
                parameter = (uint)Math.Max(MinimumIpv6Mtu, Math.Min(said, mtu));
                return true;
            case (IcmpType.DestinationUnreachable, 9 or 10 or IcmpType.CodeAdministrativelyProhibited or 15):
                code = Icmpv6Type.CodeAdministrativelyProhibited;
                return true;
            case (IcmpType.TimeExceeded, 0 or 1):
                (type, code) = (Icmpv6Type.TimeExceeded, message.Code);
                return true;
            case (IcmpType.ParameterProblem, 0 or 2):
                byte pointer = message.Octets[4] switch
                {
                    0 => 0,
                    1 => 1,
                    2 or 3 => 4,
                    8 => 7,
                    9 => 6,
                    >= 12 and <= 15 => 8,
                    >= 16 and <= 19 => 24,
                    _ => NotListed,
                };
                (type, code, parameter) = (Icmpv6Type.ParameterProblem, 0, pointer);
                return pointer != NotListed;
            default:
                return false;
        }
    }

    private static int PlateauBelow(int length)
    {
        foreach (var plateau in Plateaus)
        {
            if (plateau < length)
            {
                return plateau;
            }
        }

        return MinimumIpv6Mtu;
    }

    private static bool TryMapDown(in IcmpMessage message, int hostMtu, out byte type, out byte code, out uint parameter)
    {
        (type, code, parameter) = (IcmpType.DestinationUnreachable, IcmpType.CodeHostUnreachable, 0);
        switch (message.Type, message.Code)
        {
            case (Icmpv6Type.DestinationUnreachable, 0 or 2 or 3):
                return true;
            case (Icmpv6Type.DestinationUnreachable, 1):
                code = 10;
                return true;
            case (Icmpv6Type.DestinationUnreachable, 4):
                code = 3;
                return true;
            case (Icmpv6Type.PacketTooBig, _) when message.Parameter >= MinimumIpv6Mtu:
                code = IcmpType.CodeFragmentationNeeded;

                // What was sent in fragments had eight octets more in IPv6.
                var growth = IPv6Header.Length - IPv4Header.MinimumLength + (message.Body[6] == IpProtocol.Fragment ? FragmentHeaderLength : 0);
                parameter = Math.Min(message.Parameter - (uint)growth, (uint)hostMtu);
                return true;
            case (Icmpv6Type.TimeExceeded, 0 or 1):
                (type, code) = (IcmpType.TimeExceeded, message.Code);
                return true;
            case (Icmpv6Type.ParameterProblem, 0):
                byte pointer = message.Parameter switch
                {
                    0 => 0,
                    1 => 1,
                    4 or 5 => 2,
                    6 => 9,
                    7 => 8,
                    >= 8 and <= 23 => 12,
                    >= 24 and <= 39 => 16,
                    _ => NotListed,
                };
                (type, code, parameter) = (IcmpType.ParameterProblem, 0, (uint)pointer << 24);
                return pointer != NotListed;
            case (Icmpv6Type.ParameterProblem, 1):
                code = 2;
                return true;
            default:
                return false;
        }
    }

    /// <summary>Translates what an error from the host quotes: a packet of a correspondent to the host, possibly cut off.</summary>
    private TranslationReason QuoteUp(ReadOnlySpan<byte> quoted, DateTimeOffset now, Span<byte> room, out int length)
    {
        length = 0;
        var headerLength = quoted.IsEmpty ? 0 : (quoted[0] & 0x0F) * 4;
        if (quoted.Length < IPv4Header.MinimumLength || quoted[0] >> 4 != 4 || headerLength < IPv4Header.MinimumLength || headerLength > quoted.Length)
        {
            return TranslationReason.Malformed;
        }

        var ip = IpPacket.OfChecked(quoted).AsIPv4();
        var payloadLength = BinaryPrimitives.ReadUInt16BigEndian(quoted[2..]) - headerLength;
        if (payloadLength < 0)
        {
            return TranslationReason.Malformed;
        }

        if (_table.Find(AddressBits.Of4(ip.Destination), now) is not { Kind: TranslationKind.Own } own || !TryFindPeer(AddressBits.Of4(ip.Source), now, out var peer))
        {
            return TranslationReason.IllegalAddress;
        }

        var headers = IPv6Header.Length + (ip.IsFragment ? FragmentHeaderLength : 0);
        var transport = room[headers..];
        transport = transport[..Math.Min(transport.Length, ip.Payload.Length)];
        ip.Payload[..transport.Length].CopyTo(transport);
        Span<byte> ends = stackalloc byte[32];
        BinaryPrimitives.WriteUInt128BigEndian(ends, peer);
        BinaryPrimitives.WriteUInt128BigEndian(ends[16..], own.Ipv6);
        var protocol = ip.Protocol;
        if (protocol == IpProtocol.Icmp)
        {
            protocol = IpProtocol.Icmpv6;
            if (transport.Length < 4 || ip.IsFragment || transport[0] is not (IcmpType.EchoRequest or IcmpType.EchoReply))
            {
                return TranslationReason.NoEquivalent;
            }

            TurnEcho(
                transport, transport[0] == IcmpType.EchoRequest ? Icmpv6Type.EchoRequest : Icmpv6Type.EchoReply,
                0, Fold(InternetChecksum.PseudoHeader(ends[..16], ends[16..], IpProtocol.Icmpv6, payloadLength)));
        }
        else if (ip.FragmentOffset == 0)
        {
            UpdateTransport(protocol, transport, SumOfAddresses(ip.Source, ip.Destination), SumOfAddresses(ends[..16], ends[16..]));
        }

        IPv6Header.Write(
            room, ip.TypeOfService, 0, payloadLength + headers - IPv6Header.Length, ip.IsFragment ? IpProtocol.Fragment : protocol, ip.TimeToLive, ends[..16], ends[16..]);
        if (ip.IsFragment)
        {
            WriteFragmentHeader(room[IPv6Header.Length..], protocol, ip.FragmentOffset, ip.MoreFragments, ip.Identification);
        }

        length = headers + transport.Length;
        return TranslationReason.None;
    }

    /// <summary>The same for what an error from the network quotes: a packet of the home address.</summary>
    private TranslationReason QuoteDown(ReadOnlySpan<byte> quoted, DateTimeOffset now, Span<byte> room, out int length)
    {
        const int header = IPv4Header.MinimumLength;
        length = 0;
        if (quoted.Length < IPv6Header.Length || quoted[0] >> 4 != 6)
        {
            return TranslationReason.Malformed;
        }

        var ip = IpPacket.OfChecked(quoted).AsIPv6();
        if (Walk(ip, out var upper, out _) is not TranslationReason.None and var reason)
        {
            return reason;
        }

        var payloadLength = BinaryPrimitives.ReadUInt16BigEndian(quoted[4..]) - (upper.Offset - IPv6Header.Length);
        if (payloadLength is < 0 or > ushort.MaxValue - header)
        {
            return TranslationReason.Malformed;
        }

        if (_table.Find(AddressBits.Of6(ip.Source), now) is not { Kind: TranslationKind.Own } own || !TryFindPeer(AddressBits.Of6(ip.Destination), now, out var peer))
        {
            return TranslationReason.IllegalAddress;
        }

        var transport = room[header..];
        var rest = quoted[upper.Offset..];
        transport = transport[..Math.Min(transport.Length, rest.Length)];
        rest[..transport.Length].CopyTo(transport);
        Span<byte> ends = stackalloc byte[8];
        BinaryPrimitives.WriteUInt32BigEndian(ends, own.Ipv4);
        BinaryPrimitives.WriteUInt32BigEndian(ends[4..], peer);
        var protocol = upper.Protocol;
        if (protocol == IpProtocol.Icmpv6)
        {
            protocol = IpProtocol.Icmp;
            if (transport.Length < 4 || upper.IsFragment || transport[0] is not (Icmpv6Type.EchoRequest or Icmpv6Type.EchoReply))
            {
                return TranslationReason.NoEquivalent;
            }

            TurnEcho(
                transport, transport[0] == Icmpv6Type.EchoRequest ? IcmpType.EchoRequest : IcmpType.EchoReply,
                Fold(InternetChecksum.PseudoHeader(ip.Source, ip.Destination, IpProtocol.Icmpv6, payloadLength)), 0);
        }
        else if (upper.FragmentOffset == 0)
        {
            UpdateTransport(protocol, transport, SumOfAddresses(ip.Source, ip.Destination), SumOfAddresses(ends[..4], ends[4..]));
        }

        var total = header + payloadLength;
        var flags = upper.HasFragmentHeader
            ? (upper.FragmentOffset / 8) | (upper.MoreFragments ? IPv4Header.MoreFragmentsFlag : 0)
            : total > MayBeFragmented ? IPv4Header.DontFragmentFlag : 0;
        IPv4Header.Write(room, ip.TrafficClass, total, (ushort)upper.Identification, (ushort)flags, ip.HopLimit, protocol, ends[..4], ends[4..]);
        length = header + transport.Length;
        return TranslationReason.None;
    }

    private bool TryFindPeer(uint address, DateTimeOffset now, out UInt128 peer)
    {
        if (_table.Find(address, now) is { Kind: not TranslationKind.Own } entry)
        {
            peer = entry.Ipv6;
            return true;
        }

        peer = _table.Ipv6Pool?.Embed(address) ?? 0;
        return peer != 0 && AddressBits.IsHost4(address) && !_table.InPool(address);
    }

    private bool TryFindPeer(UInt128 address, DateTimeOffset now, out uint peer)
    {
        if (_table.Find(address, now) is { Kind: not TranslationKind.Own } entry)
        {
            peer = entry.Ipv4;
            return true;
        }

        peer = 0;
        return _table.Ipv6Pool is { } pool && pool.TryExtract(address, out peer) && AddressBits.IsHost4(peer) && !_table.InPool(peer);
    }
}
