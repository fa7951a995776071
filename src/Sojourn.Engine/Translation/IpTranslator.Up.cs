using System.Buffers.Binary;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Udp;

namespace Sojourn.Engine.Translation;

/// <summary>Host to network: IPv4 into IPv6 (RFC 7915 4).</summary>
public sealed partial class IpTranslator
{
    private const byte Igmp = 2;
    private const byte LooseSourceRoute = 131, StrictSourceRoute = 137;
    private const byte CodeSourceRouteFailed = 5;

    /// <summary>Translates an IPv4 packet that came from the host (R82, R83, R84).</summary>
    /// <param name="mtu">Longest IPv6 packet from the home address that fits on its way, octets.</param>
    /// <param name="destination">At least <see cref="RoomFor"/> octets; what it holds before does not matter.</param>
    public TranslationResult Up(ReadOnlySpan<byte> packet, int mtu, DateTimeOffset now, Span<byte> destination)
    {
        CheckBuffers(packet.Length, mtu, destination);
        if (!IPv4Header.TryParse(packet, out var ip, out _) || !ip.ChecksumIsRight)
        {
            return Drop(TranslationReason.Malformed);
        }

        if (_table.Find(AddressBits.Of4(ip.Source), now) is not { Kind: TranslationKind.Own } own)
        {
            return Drop(TranslationReason.SourceMissUp);
        }

        var target = AddressBits.Of4(ip.Destination);
        if (target == _table.Resolver)
        {
            return new(TranslationVerdict.Resolver, TranslationReason.None, 0, 0);
        }

        if (!AddressBits.IsHost4(target))
        {
            return Drop(TranslationReason.IllegalAddress);
        }

        if (HasSourceRoute(ip.Options))
        {
            return AnswerHost(ip, IcmpType.DestinationUnreachable, CodeSourceRouteFailed, 0, TranslationReason.SourceRoute, destination);
        }

        if (ip.TimeToLive <= 1)
        {
            return AnswerHost(ip, IcmpType.TimeExceeded, 0, 0, TranslationReason.HopLimit, destination);
        }

        if (JudgeUp(ip) is not TranslationReason.None and var reason)
        {
            return Drop(reason);
        }

        var length = IPv6Header.Length + ip.Payload.Length + (ip.IsFragment ? FragmentHeaderLength : 0);
        if (ip.DontFragment && length > mtu)
        {
            return AnswerHost(
                ip, IcmpType.DestinationUnreachable, IcmpType.CodeFragmentationNeeded, (uint)(mtu - (length - ip.Payload.Length - IPv4Header.MinimumLength)), TranslationReason.TooBig, destination);
        }

        var byTcp = ip.Protocol == IpProtocol.Tcp;
        TranslationEntry? peer;
        if (_table.InPool(target))
        {
            peer = _table.Find(target, now);
            if (peer is not { Kind: TranslationKind.Correspondent })
            {
                return AnswerHost(ip, IcmpType.DestinationUnreachable, IcmpType.CodeHostUnreachable, 0, TranslationReason.DestinationUnassigned, destination);
            }

            _table.Use(peer, byTcp, now);
        }
        else if ((peer = _table.OfVirtualIpv6(target, byTcp, now)) is null)
        {
            return AnswerHost(ip, IcmpType.DestinationUnreachable, IcmpType.CodeNetworkUnreachable, 0, TranslationReason.Pool6Empty, destination);
        }

        _table.Use(own, byTcp, now);
        Span<byte> ends = stackalloc byte[32];
        BinaryPrimitives.WriteUInt128BigEndian(ends, own.Ipv6);
        BinaryPrimitives.WriteUInt128BigEndian(ends[16..], peer.Ipv6);
        var limit = ip.DontFragment ? mtu : Math.Min(mtu, _options.LowestIpv6Mtu);
        return ip.Protocol != IpProtocol.Icmp ? CarryUp(ip, ends, limit, destination)
            : ip.IsFragment ? GatherUp(ip, ends, limit, now, destination)
            : IcmpType.IsError(ip.Payload[0]) ? ErrorUp(ip, ends, mtu, now, destination)
            : CarryUp(ip, ends, limit, destination);
    }

    /// <summary>An unexpired source route; other options are left out (RFC 7915 4.1).</summary>
    private static bool HasSourceRoute(ReadOnlySpan<byte> options)
    {
        var walk = new IPv4OptionWalk(options);
        while (walk.MoveNext())
        {
            // Octet 1 is the length, octet 2 the pointer: beyond the length the route is done (RFC 791 3.1).
            if (walk.Type is LooseSourceRoute or StrictSourceRoute && (walk.Length < 3 || walk.Current[2] <= walk.Length))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Whether there is an IPv6 packet for it at all.</summary>
    private static TranslationReason JudgeUp(in IPv4Header ip)
    {
        var transport = ip.Payload;
        switch (ip.Protocol)
        {
            case var _ when ip.MoreFragments && transport.Length % 8 != 0:
                return TranslationReason.Malformed;
            case Igmp:
                return TranslationReason.NoEquivalent;
            case IpProtocol.Icmp when ip.IsFragment:
                return TranslationReason.None;
            case IpProtocol.Icmp when transport.Length < IcmpMessage.HeaderLength:
                return TranslationReason.Malformed;
            case IpProtocol.Icmp:
                return transport[0] is IcmpType.EchoRequest or IcmpType.EchoReply || IcmpType.IsError(transport[0]) ? TranslationReason.None : TranslationReason.NoEquivalent;
            case IpProtocol.Tcp when ip.FragmentOffset == 0 && transport.Length < 20:
                return TranslationReason.Malformed;
            case IpProtocol.Udp when ip.FragmentOffset == 0:
                if (transport.Length < UdpHeader.HeaderLength)
                {
                    return TranslationReason.Malformed;
                }

                return BinaryPrimitives.ReadUInt16BigEndian(transport[6..]) != 0 ? TranslationReason.None
                    : ip.IsFragment ? TranslationReason.NoChecksum
                    : UdpHeader.TryParse(transport, out _, out _) ? TranslationReason.None : TranslationReason.Malformed;
            default:
                return TranslationReason.None;
        }
    }

    /// <summary>Everything but ICMP errors: payload copied, checksum brought up to date, cut where it has to be.</summary>
    /// <param name="ends">Source and destination.</param>
    private static TranslationResult CarryUp(in IPv4Header ip, ReadOnlySpan<byte> ends, int limit, Span<byte> destination)
    {
        var payload = ip.Payload;
        var fragments = ip.IsFragment || IPv6Header.Length + payload.Length > limit;
        var headers = IPv6Header.Length + (fragments ? FragmentHeaderLength : 0);
        var transport = destination.Slice(headers, payload.Length);
        payload.CopyTo(transport);
        if (ip.FragmentOffset == 0)
        {
            TransportUp(ip, transport, ends);
        }

        var protocol = ip.Protocol == IpProtocol.Icmp ? IpProtocol.Icmpv6 : ip.Protocol;
        var hopLimit = (byte)(ip.TimeToLive - 1);
        if (!fragments)
        {
            IPv6Header.Write(destination, ip.TypeOfService, 0, payload.Length, protocol, hopLimit, ends[..16], ends[16..]);
            return Forward(headers + payload.Length);
        }

        // Pieces move to their places from the last to the first, each beyond those that have not moved yet.
        var step = (limit - headers) & ~7;
        var count = headers + payload.Length <= limit ? 1 : (payload.Length + step - 1) / step;
        for (var i = count - 1; i >= 0; i--)
        {
            var offset = i * step;
            var length = count == 1 ? payload.Length : Math.Min(step, payload.Length - offset);
            var fragment = destination.Slice(i * (headers + step), headers + length);
            transport.Slice(offset, length).CopyTo(fragment[headers..]);
            IPv6Header.Write(fragment, ip.TypeOfService, 0, FragmentHeaderLength + length, IpProtocol.Fragment, hopLimit, ends[..16], ends[16..]);
            WriteFragmentHeader(fragment[IPv6Header.Length..], protocol, ip.FragmentOffset + offset, i < count - 1 || ip.MoreFragments, ip.Identification);
        }

        return Forward((count * headers) + payload.Length, count);
    }

    /// <summary>A fragment of an ICMP message: goes on with all others when the last is there.</summary>
    private TranslationResult GatherUp(in IPv4Header ip, ReadOnlySpan<byte> ends, int limit, DateTimeOffset now, Span<byte> destination)
    {
        const int headers = IPv6Header.Length + FragmentHeaderLength;
        var fragment = destination[..(headers + ip.Payload.Length)];
        IPv6Header.Write(fragment, ip.TypeOfService, 0, fragment.Length - IPv6Header.Length, IpProtocol.Fragment, (byte)(ip.TimeToLive - 1), ends[..16], ends[16..]);
        WriteFragmentHeader(fragment[IPv6Header.Length..], IpProtocol.Icmpv6, ip.FragmentOffset, ip.MoreFragments, ip.Identification);
        ip.Payload.CopyTo(fragment[headers..]);
        switch (_echoes.Add(fragment, now, out var whole))
        {
            case ReassemblyOutcome.Waiting:
                return Forward(0, 0);
            case ReassemblyOutcome.Complete when whole.Length is >= IPv6Header.Length + IcmpMessage.HeaderLength and <= LongestEcho && whole[IPv6Header.Length] is IcmpType.EchoRequest or IcmpType.EchoReply:
                TransportUp(ip, whole.AsSpan(IPv6Header.Length), ends);
                if (whole.Length <= limit)
                {
                    whole.CopyTo(destination);
                    return Forward(whole.Length);
                }

                var (written, count) = IPv6Fragmenter.Cut(whole, limit, ip.Identification, destination);
                return Forward(written, count);
            default:
                return Drop(TranslationReason.IcmpFragment);
        }
    }

    private static void WriteFragmentHeader(Span<byte> header, byte protocol, int offset, bool more, ushort identification)
    {
        header[0] = protocol;
        header[1] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(header[2..], (ushort)(offset | (more ? 1 : 0)));
        BinaryPrimitives.WriteUInt32BigEndian(header[4..], identification);
    }

    private static void TransportUp(in IPv4Header ip, Span<byte> transport, ReadOnlySpan<byte> ends)
    {
        if (ip.Protocol == IpProtocol.Icmp)
        {
            TurnEcho(
                transport, transport[0] == IcmpType.EchoRequest ? Icmpv6Type.EchoRequest : Icmpv6Type.EchoReply,
                0, Fold(InternetChecksum.PseudoHeader(ends[..16], ends[16..], IpProtocol.Icmpv6, transport.Length)));
        }
        else if (!UpdateTransport(ip.Protocol, transport, SumOfAddresses(ip.Source, ip.Destination), SumOfAddresses(ends[..16], ends[16..])))
        {
            UdpHeader.WriteChecksum(transport[..BinaryPrimitives.ReadUInt16BigEndian(transport[4..])], ends[..16], ends[16..]);
        }
    }
}
