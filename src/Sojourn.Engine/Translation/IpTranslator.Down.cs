using System.Buffers.Binary;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;

namespace Sojourn.Engine.Translation;

/// <summary>Network to host: IPv6 into IPv4 (RFC 7915 5).</summary>
public sealed partial class IpTranslator
{
    /// <summary>Translates an IPv6 packet for the home address, out of the tunnel or as it came (R80, R81, R84).</summary>
    /// <param name="hostMtu">Longest IPv4 packet that the host's interface takes, octets.</param>
    /// <param name="destination">At least <see cref="RoomFor"/> octets; what it holds before does not matter.</param>
    public TranslationResult Down(ReadOnlySpan<byte> packet, int hostMtu, DateTimeOffset now, Span<byte> destination)
    {
        CheckBuffers(packet.Length, hostMtu, destination);
        return Down(packet, gathered: false, Math.Min(hostMtu, ushort.MaxValue), now, destination);
    }

    /// <param name="gathered">It came in fragments, so that it may leave in fragments.</param>
    private TranslationResult Down(ReadOnlySpan<byte> packet, bool gathered, int hostMtu, DateTimeOffset now, Span<byte> destination)
    {
        if (!IPv6Header.TryParse(packet, out var ip, out _))
        {
            return Drop(TranslationReason.Malformed);
        }

        if (_table.Find(AddressBits.Of6(ip.Destination), now) is not { Kind: TranslationKind.Own } own)
        {
            return Drop(TranslationReason.DestinationMissDown);
        }

        if (Walk(ip, out var upper, out var segmentsLeft) is not TranslationReason.None and var walked)
        {
            return segmentsLeft > 0
                ? AnswerNetwork(ip, Icmpv6Type.ParameterProblem, 0, (uint)segmentsLeft, walked, now, destination)
                : Drop(walked);
        }

        var source = AddressBits.Of6(ip.Source);
        if (!AddressBits.IsHost6(source) || _table.Find(source, now) is { Kind: TranslationKind.Own })
        {
            return Drop(TranslationReason.IllegalAddress);
        }

        var payload = ip.Packet[upper.Offset..];
        if (Resolver is { } resolver && upper.Protocol is IpProtocol.Udp or IpProtocol.Tcp && !upper.HasFragmentHeader && payload.Length >= 8
            && resolver.Awaits(upper.Protocol, source, BinaryPrimitives.ReadUInt16BigEndian(payload), BinaryPrimitives.ReadUInt16BigEndian(payload[2..])))
        {
            return new(TranslationVerdict.Resolver, TranslationReason.None, 0, 0);
        }

        if (ip.HopLimit <= 1)
        {
            return AnswerNetwork(ip, Icmpv6Type.TimeExceeded, 0, 0, TranslationReason.HopLimit, now, destination);
        }

        if (upper.Protocol == IpProtocol.Icmpv6 && upper.IsFragment)
        {
            return _echoes.Add(ip.Packet, now, out var put) switch
            {
                ReassemblyOutcome.Waiting => Forward(0, 0),
                ReassemblyOutcome.Complete when put.Length <= LongestEcho => Down(put, gathered: true, hostMtu, now, destination),
                _ => Drop(TranslationReason.IcmpFragment),
            };
        }

        if (JudgeDown(payload, upper) is not TranslationReason.None and var reason)
        {
            return Drop(reason);
        }

        if (upper.Protocol == IpProtocol.Icmpv6 && Icmpv6Type.IsError(payload[0]))
        {
            return ErrorDown(ip, payload, own, hostMtu, now, destination);
        }

        var length = IPv4Header.MinimumLength + payload.Length;
        var whole = !upper.HasFragmentHeader && !gathered && length > MayBeFragmented;
        if (length > hostMtu && whole)
        {
            if (ip.Packet.Length > MinimumIpv6Mtu)
            {
                return AnswerNetwork(
                    ip, Icmpv6Type.PacketTooBig, 0, (uint)Math.Max(MinimumIpv6Mtu, hostMtu + IPv6Header.Length - IPv4Header.MinimumLength), TranslationReason.TooBig, now, destination);
            }

            whole = false;
        }

        if (OfSource(source, upper.Protocol == IpProtocol.Tcp, now, out var refusal) is not { } peer)
        {
            return Drop(refusal);
        }

        Span<byte> ends = stackalloc byte[8];
        BinaryPrimitives.WriteUInt32BigEndian(ends, peer.Ipv4);
        BinaryPrimitives.WriteUInt32BigEndian(ends[4..], own.Ipv4);
        _table.Use(own, false, now);
        return CarryDown(ip, payload, upper, ends, whole, hostMtu, destination);
    }

    /// <summary>What lies behind the extension headers, which are left out (RFC 7915 5.1).</summary>
    private readonly record struct Upper(byte Protocol, int Offset, bool HasFragmentHeader, int FragmentOffset, bool MoreFragments, uint Identification)
    {
        public bool IsFragment => FragmentOffset != 0 || MoreFragments;
    }

    /// <param name="segmentsLeft">Octets to the field of a routing header that is not done; 0 otherwise.</param>
    private static TranslationReason Walk(in IPv6Header ip, out Upper upper, out int segmentsLeft)
    {
        upper = default;
        segmentsLeft = 0;
        var (has, offset, more, identification) = (false, 0, false, 0u);
        var walk = new IPv6ExtensionWalk(ip);
        while (walk.MoveNext())
        {
            if (has)
            {
                // Extension headers inside of what is fragmented (RFC 7915 5.1.1).
                return TranslationReason.NoEquivalent;
            }

            if (walk.Type == IpProtocol.Routing && walk.Current[3] != 0)
            {
                segmentsLeft = walk.Offset + 3;
                return TranslationReason.SourceRoute;
            }

            if (walk.Type == IpProtocol.Fragment)
            {
                var field = BinaryPrimitives.ReadUInt16BigEndian(walk.Current[2..]);
                (has, offset, more, identification) = (true, field & 0xFFF8, (field & 1) != 0, BinaryPrimitives.ReadUInt32BigEndian(walk.Current[4..]));
            }
        }

        if (walk.Error is not null)
        {
            return TranslationReason.Malformed;
        }

        if (has && walk.UpperProtocol is IpProtocol.HopByHop or IpProtocol.Routing or IpProtocol.DestinationOptions or IpProtocol.Fragment or IpProtocol.Ah or IpProtocol.Mobility)
        {
            return TranslationReason.NoEquivalent;
        }

        upper = new Upper(walk.UpperProtocol, walk.UpperOffset, has, offset, more, identification);
        return TranslationReason.None;
    }

    private static TranslationReason JudgeDown(ReadOnlySpan<byte> payload, in Upper upper)
    {
        switch (upper.Protocol)
        {
            case var _ when upper.HasFragmentHeader && (upper.FragmentOffset + payload.Length > ushort.MaxValue - IPv4Header.MinimumLength || (upper.MoreFragments && payload.Length % 8 != 0)):
                return TranslationReason.Malformed;
            case IpProtocol.Icmpv6 when payload.Length < IcmpMessage.HeaderLength:
                return TranslationReason.Malformed;
            case IpProtocol.Icmpv6:
                return Icmpv6Type.IsError(payload[0]) || payload[0] is Icmpv6Type.EchoRequest or Icmpv6Type.EchoReply ? TranslationReason.None : TranslationReason.NoEquivalent;
            case IpProtocol.Tcp when upper.FragmentOffset == 0 && payload.Length < 20:
            case IpProtocol.Udp when upper.FragmentOffset == 0 && payload.Length < 8:
                return TranslationReason.Malformed;
            case IpProtocol.Udp when upper.FragmentOffset == 0 && BinaryPrimitives.ReadUInt16BigEndian(payload[6..]) == 0:
                return TranslationReason.NoChecksum;
            default:
                return TranslationReason.None;
        }
    }

    /// <summary>R81. Null with the reason when the source cannot be shown to the host.</summary>
    private TranslationEntry? OfSource(UInt128 source, bool byTcp, DateTimeOffset now, out TranslationReason refusal)
    {
        if (_table.Ipv6Pool is not { } pool || !pool.TryExtract(source, out var embedded))
        {
            refusal = TranslationReason.Pool4Empty;
            return _table.OfCorrespondent(source, TranslationOrigin.Packet, byTcp, now);
        }

        refusal = TranslationReason.IllegalAddress;
        if (!AddressBits.IsHost4(embedded) || _table.InPool(embedded))
        {
            return null;
        }

        refusal = TranslationReason.Pool6Empty;
        return _table.OfVirtualIpv6(embedded, byTcp, now);
    }

    private TranslationResult CarryDown(in IPv6Header ip, ReadOnlySpan<byte> payload, in Upper upper, ReadOnlySpan<byte> ends, bool whole, int hostMtu, Span<byte> destination)
    {
        const int header = IPv4Header.MinimumLength;
        var transport = destination.Slice(header, payload.Length);
        payload.CopyTo(transport);
        if (upper.FragmentOffset == 0)
        {
            TransportDown(ip, upper, transport, ends);
        }

        var protocol = upper.Protocol == IpProtocol.Icmpv6 ? IpProtocol.Icmp : upper.Protocol;
        var identification = upper.HasFragmentHeader ? (ushort)upper.Identification : ++_identification;
        var step = (hostMtu - header) & ~7;
        var count = header + payload.Length <= hostMtu ? 1 : (payload.Length + step - 1) / step;
        for (var i = count - 1; i >= 0; i--)
        {
            var offset = i * step;
            var length = count == 1 ? payload.Length : Math.Min(step, payload.Length - offset);
            var fragment = destination.Slice(i * (header + step), header + length);
            transport.Slice(offset, length).CopyTo(fragment[header..]);
            var flags = whole ? IPv4Header.DontFragmentFlag : i < count - 1 || upper.MoreFragments ? IPv4Header.MoreFragmentsFlag : 0;
            IPv4Header.Write(
                fragment, ip.TrafficClass, fragment.Length, identification, (ushort)(flags | ((upper.FragmentOffset + offset) / 8)),
                (byte)(ip.HopLimit - 1), protocol, ends[..4], ends[4..]);
        }

        return Forward((count * header) + payload.Length, count);
    }

    private static void TransportDown(in IPv6Header ip, in Upper upper, Span<byte> transport, ReadOnlySpan<byte> ends)
    {
        if (upper.Protocol == IpProtocol.Icmpv6)
        {
            TurnEcho(
                transport, transport[0] == Icmpv6Type.EchoRequest ? IcmpType.EchoRequest : IcmpType.EchoReply,
                Fold(InternetChecksum.PseudoHeader(ip.Source, ip.Destination, IpProtocol.Icmpv6, transport.Length)), 0);
        }
        else
        {
            UpdateTransport(upper.Protocol, transport, SumOfAddresses(ip.Source, ip.Destination), SumOfAddresses(ends[..4], ends[4..]));
        }
    }
}
