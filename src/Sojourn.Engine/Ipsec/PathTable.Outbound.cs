using System.Buffers.Binary;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Ipsec;
using Sojourn.Wire.Tcp;
using Sojourn.Wire.Udp;

namespace Sojourn.Engine.Ipsec;

/// <summary>Towards the far end: classify, mark, fit, protect, encapsulate.</summary>
public sealed partial class PathTable
{
    private const int MaximumReclassifications = 4;

    private readonly Lock _icmpGate = new();
    private double _icmpBudget;
    private long _icmpTicks;
    private byte[]? _icmpSourceIPv4;
    private byte[]? _icmpSourceIPv6;

    /// <summary>
    /// Carries one inner packet. <paramref name="output"/> should hold the inner packet twice and
    /// <see cref="MaximumOverhead"/> for each of its fragments; 4 KiB do for inner packets of 1500 octets.
    /// </summary>
    public OutboundResult Outbound(ReadOnlySpan<byte> inner, Span<byte> output, DateTimeOffset now)
    {
        var classified = Classify(inner, now);
        return classified.Verdict == OutboundVerdict.Protect
            ? Protect(classified.Path, inner, output, now)
            : new OutboundResult(classified.Verdict, classified.Reason, classified.Path, 0, 0, 0);
    }

    /// <summary>Whether a selector matches a packet, or the first of several back to back. Counts nothing.</summary>
    public bool HasPath(ReadOnlySpan<byte> inner) =>
        IpPacket.TryParse(inner, out var packet, out _) && Current.Selectors.Find(packet.IsIPv6, AddressNumber.Of(packet.Source), AddressNumber.Of(packet.Destination)) is not null;

    /// <summary>Finds the path of an inner packet, for a queue that wants to know path and class before protection.</summary>
    /// <param name="packets">How many the packet stands for.</param>
    /// <param name="relayed">It came out of a tunnel: without a path it is for this node's own side, which is no drop.</param>
    public Classification Classify(ReadOnlySpan<byte> inner, DateTimeOffset now, int packets = 1, bool relayed = false)
    {
        if (!IpPacket.TryParse(inner, out var packet, out _))
        {
            return new Classification(OutboundVerdict.Drop, Drop(DropReason.Malformed, null, packets), default, 0);
        }

        var snapshot = Current;
        var (source, destination) = (AddressNumber.Of(packet.Source), AddressNumber.Of(packet.Destination));
        var path = (snapshot.HomeTests.IsEmpty || !HomeTestPacket.IsOne(packet) ? null : snapshot.HomeTests.Find(packet.IsIPv6, source, destination))
            ?? snapshot.Selectors.Find(packet.IsIPv6, source, destination);
        if (path is null)
        {
            return new Classification(OutboundVerdict.NoPath, relayed ? DropReason.NoPath : Drop(DropReason.NoPath, null, packets), default, packet.Dscp);
        }

        var handle = new PathHandle(path);
        var dscp = path.MarkDscp ?? packet.Dscp;
        switch (path.State)
        {
            case PathState.Active:
                return new Classification(OutboundVerdict.Protect, DropReason.None, handle, dscp);
            case PathState.Blocked:
                RaiseWaiting(path, now);
                return new Classification(OutboundVerdict.Blocked, Drop(DropReason.PathBlocked, path, packets), handle, dscp);
            default:
                return new Classification(OutboundVerdict.Drop, Drop(DropReason.InboundOnly, path, packets), handle, dscp);
        }
    }

    /// <summary>
    /// Marks, protects and encapsulates a classified packet. When the path was replaced meanwhile, the packet is
    /// classified again and takes the new one.
    /// </summary>
    public OutboundResult Protect(PathHandle handle, ReadOnlySpan<byte> inner, Span<byte> output, DateTimeOffset now)
    {
        if (handle.Installed is not { } path || !IpPacket.TryParse(inner, out var packet, out _))
        {
            return Counted(Failed(DropReason.Malformed, handle.Installed));
        }

        for (var attempt = 0; ; attempt++)
        {
            // A path may go while it is being used; only then is its failure not the packet's.
            var result = path.Retired ? default : Carry(path, packet, output, now);
            if (!path.Retired || result.Verdict is OutboundVerdict.Send or OutboundVerdict.ReplyIcmp || attempt == MaximumReclassifications)
            {
                return Counted(result.Verdict == OutboundVerdict.Protect ? Failed(DropReason.LifetimeExpired, path) : result);
            }

            var again = Classify(inner, now);
            if (again.Verdict != OutboundVerdict.Protect)
            {
                return new OutboundResult(again.Verdict, again.Reason, again.Path, 0, 0, 0);
            }

            path = again.Path.Installed!;
        }
    }

    private OutboundResult Carry(InstalledPath path, in IpPacket packet, Span<byte> output, DateTimeOffset now)
    {
        var mtu = path.Tunnel.Current(now);
        var innerMtu = path.InnerMtu(mtu);
        if (packet.Octets.Length <= innerMtu)
        {
            return CarryWhole(path, packet, output, now, fits: true);
        }

        if (!packet.IsIPv6)
        {
            var header = packet.AsIPv4();
            return header.DontFragment
                ? ReplyTooBig(path, packet, Math.Max(innerMtu, 68), output, now)
                : CarryFragments(path, header, innerMtu, output, now);
        }

        // A packet of the IPv6 minimum MTU has to get through whatever the path: its outer packet is fragmented (RFC 2473 7.1).
        return packet.Octets.Length > TunnelMtu.FloorIPv6
            ? ReplyTooBig(path, packet, Math.Max(innerMtu, TunnelMtu.FloorIPv6), output, now)
            : FragmentOuter(CarryWhole(path, packet, output, now, fits: false), path, output, mtu);
    }

    private OutboundResult CarryWhole(InstalledPath path, in IpPacket packet, Span<byte> output, DateTimeOffset now, bool fits)
    {
        if (output.Length < packet.Octets.Length + MaximumOverhead)
        {
            return Failed(DropReason.OutputTooSmall, path);
        }

        packet.Octets.CopyTo(output[path.InnerOffset..]);
        var reason = Encapsulate(path, output, packet.Octets.Length, fits, now, out var length);
        return reason == DropReason.None
            ? new OutboundResult(OutboundVerdict.Send, DropReason.None, new PathHandle(path), 0, length, 1)
            : Failed(reason, path);
    }

    /// <summary>Fragments before protection (RFC 4301 8.1), so that the far end need not reassemble.</summary>
    private OutboundResult CarryFragments(InstalledPath path, in IPv4Header header, int innerMtu, Span<byte> output, DateTimeOffset now)
    {
        var fragmenter = new IPv4Fragmenter(header, innerMtu);
        var at = 0;
        var count = 0;
        while (!fragmenter.Finished)
        {
            if (output.Length - at < innerMtu + MaximumOverhead)
            {
                return Failed(DropReason.OutputTooSmall, path);
            }

            var piece = fragmenter.Next(output[(at + path.InnerOffset)..]);
            if (piece == 0)
            {
                return Failed(DropReason.TooBig, path);
            }

            var reason = Encapsulate(path, output[at..], piece, true, now, out var length);
            if (reason != DropReason.None)
            {
                return Failed(reason, path);
            }

            at += length;
            count++;
        }

        return new OutboundResult(OutboundVerdict.Send, DropReason.None, new PathHandle(path), 0, at, count);
    }

    /// <summary>Makes an outer packet of the inner one that stands at <see cref="InstalledPath.InnerOffset"/>.</summary>
    private DropReason Encapsulate(InstalledPath path, Span<byte> output, int innerLength, bool fits, DateTimeOffset now, out int length)
    {
        var inner = output.Slice(path.InnerOffset, innerLength);
        var packet = IpPacket.OfChecked(inner);
        var trafficClass = TrafficClassOf(path, packet.TrafficClass);
        Mark(path, inner, trafficClass, path.InnerMtu(path.Tunnel.Current(now)));
        var dontFragment = fits && !path.Tunnel.BelowFloor && (packet.IsIPv6 || (inner[6] & 0x40) != 0);
        var flowLabel = packet.IsIPv6 ? BinaryPrimitives.ReadUInt32BigEndian(inner) & 0xFFFFF : 0;
        PathSignal? signal = null;
        DropReason reason;
        if (path.Outbound is { } association)
        {
            lock (association.Gate)
            {
                reason = association.TryNext(now, out var sequence);
                if (reason != DropReason.None)
                {
                    signal = association.DueSignal(now);
                    length = 0;
                }
                else
                {
                    length = association.Cipher is { } cipher
                        ? SealEsp(path, association, cipher, output, innerLength, sequence, trafficClass, flowLabel, dontFragment, path.InnerProtocol)
                        : SealAh(path, association, association.Authenticator!, output, innerLength, sequence, trafficClass, flowLabel, dontFragment, path.InnerProtocol);
                    association.Use(innerLength, now);
                    signal = association.DueSignal(now);
                }
            }

            RaiseForHolders(association, signal);
        }
        else
        {
            reason = DropReason.None;
            length = path.InnerOffset + innerLength;
            WriteOuterHeader(path, output[..length], path.InnerProtocol, trafficClass, flowLabel, dontFragment);
        }

        if (reason == DropReason.None)
        {
            path.Counters.CountOut(innerLength, 1, now);
            path.Meter?.CountOut(innerLength, 1);
        }

        return reason;
    }

    /// <summary>
    /// A dummy packet (RFC 4303 2.6) on the path, for <see cref="InboundResult.MustAnnounce"/>: its sequence number tells the
    /// far end that this node has restarted. Needs <see cref="AnnouncementLength"/> octets of output.
    /// </summary>
    public OutboundResult Announce(PathHandle handle, Span<byte> output, DateTimeOffset now)
    {
        if (handle.Installed is not { Outbound: { } association, Path.State: PathState.Active } path)
        {
            return Failed(DropReason.InboundOnly, handle.Installed);
        }

        if (output.Length < AnnouncementLength)
        {
            return Failed(DropReason.OutputTooSmall, path);
        }

        // Payload Data must be present (RFC 4303 2.3), of whatever octets (2.6): Linux takes ESP with nothing but a trailer for
        // garbage. What AH protects is as readable without it.
        var payload = association.Cipher is null ? 0 : DummyPayload;
        _random.Fill(output.Slice(path.InnerOffset, payload));
        lock (association.Gate)
        {
            var reason = association.TryNext(now, out var sequence);
            return reason != DropReason.None
                ? Failed(reason, path)
                : new OutboundResult(OutboundVerdict.Send, DropReason.None, new PathHandle(path), 0,
                    association.Cipher is { } cipher
                        ? SealEsp(path, association, cipher, output, payload, sequence, 0, 0, dontFragment: false, IpProtocol.NoNextHeader)
                        : SealAh(path, association, association.Authenticator!, output, payload, sequence, 0, 0, dontFragment: false, IpProtocol.NoNextHeader),
                    1);
        }
    }

    private int SealEsp(
        InstalledPath path, SecurityAssociation association, IPacketCipher cipher, Span<byte> output, int innerLength, ulong sequence,
        byte trafficClass, uint flowLabel, bool dontFragment, byte nextHeader)
    {
        var espAt = path.ContentOffset - EspHeader.Length - cipher.IvLength;
        EspHeader.Write(output[espAt..], association.Key.Spi, (uint)sequence);
        var iv = output.Slice(espAt + EspHeader.Length, cipher.IvLength);
        switch (cipher.Iv)
        {
            case IvKind.Counter:
                BinaryPrimitives.WriteUInt64BigEndian(iv, sequence);
                break;
            case IvKind.Unpredictable:
                _random.Fill(iv);
                break;
        }

        var end = path.InnerOffset + innerLength;
        if (path.ContentOffset < path.InnerOffset)
        {
            WriteOuterHeader(path, output[path.ContentOffset..end], path.InnerProtocol, trafficClass, flowLabel, dontFragment);
            nextHeader = nextHeader == IpProtocol.NoNextHeader ? nextHeader : path.OuterIsIPv6 ? IpProtocol.IPv6 : IpProtocol.IPv4;
        }

        end += EspTrailer.Write(output[end..], EspTrailer.PaddingFor(end - path.ContentOffset, cipher.Alignment), nextHeader);
        end += cipher.IcvLength;
        cipher.Seal(output[espAt..end], (uint)(sequence >> 32));
        if (path.Udp is { } udp)
        {
            var datagram = output[path.OuterHeaderLength..end];
            UdpHeader.Write(datagram, udp.LocalPort, udp.RemotePort);
            // IPv4 sends none (RFC 3948 2.1); over IPv6 a missing checksum is taken only where both ends agreed (RFC 6936).
            if (path.OuterIsIPv6)
            {
                UdpHeader.WriteChecksum(datagram, path.LocalOctets, path.RemoteOctets);
            }
        }

        WriteOuterHeader(path, output[..end], path.Udp is null ? IpProtocol.Esp : IpProtocol.Udp, trafficClass, flowLabel, dontFragment);
        return end;
    }

    private int SealAh(
        InstalledPath path, SecurityAssociation association, IPacketAuthenticator authenticator, Span<byte> output, int innerLength, ulong sequence,
        byte trafficClass, uint flowLabel, bool dontFragment, byte nextHeader)
    {
        var end = path.InnerOffset + innerLength;
        var ah = output.Slice(path.OuterHeaderLength, path.AhLength);
        AhHeader.Write(ah, nextHeader, path.AhLength, association.Parameters.Spi, (uint)sequence);
        WriteOuterHeader(path, output[..end], IpProtocol.Ah, trafficClass, flowLabel, dontFragment);

        // The ICV sees the header with its mutable fields cleared and, behind the packet, the high half of the sequence number.
        Span<byte> header = stackalloc byte[IPv6Header.Length];
        header = header[..path.OuterHeaderLength];
        output[..path.OuterHeaderLength].CopyTo(header);
        ClearMutable(output[..path.OuterHeaderLength], path.OuterIsIPv6);
        var covered = end;
        if (association.Parameters.ExtendedSequence)
        {
            BinaryPrimitives.WriteUInt32BigEndian(output[end..], (uint)(sequence >> 32));
            covered += 4;
        }

        Span<byte> icv = stackalloc byte[authenticator.IvLength + authenticator.TagLength];
        var iv = icv[..authenticator.IvLength];
        if (iv.Length > 0)
        {
            BinaryPrimitives.WriteUInt64BigEndian(iv, sequence);
        }

        authenticator.Compute(output[..covered], iv, icv[authenticator.IvLength..]);
        icv.CopyTo(ah[AhHeader.FixedLength..]);
        header.CopyTo(output);
        return end;
    }

    private static bool ClearMutable(Span<byte> header, bool isIPv6) =>
        isIPv6 ? MutableFields.ClearIPv6(header, header.Length) : MutableFields.ClearIPv4(header);

    private void WriteOuterHeader(InstalledPath path, Span<byte> packet, byte protocol, byte trafficClass, uint flowLabel, bool dontFragment)
    {
        if (path.OuterIsIPv6)
        {
            IPv6Header.Write(
                packet, trafficClass, flowLabel, packet.Length - IPv6Header.Length, protocol, _options.OuterHopLimit, path.LocalOctets, path.RemoteOctets);
        }
        else
        {
            IPv4Header.Write(
                packet, trafficClass, packet.Length, (ushort)Interlocked.Increment(ref _identification), dontFragment ? IPv4Header.DontFragmentFlag : (ushort)0,
                _options.OuterHopLimit, protocol, path.LocalOctets, path.RemoteOctets);
        }
    }

    /// <summary>Fragments an outer packet that had to be made although it does not fit; the fragments stand behind it in the output.</summary>
    private OutboundResult FragmentOuter(OutboundResult whole, InstalledPath path, Span<byte> output, int mtu)
    {
        if (whole.Verdict != OutboundVerdict.Send || whole.Length <= mtu)
        {
            return whole;
        }

        var packet = output[..whole.Length];
        var rest = output[whole.Length..];
        if (rest.Length < packet.Length + (2 * MaximumOverhead))
        {
            return Failed(DropReason.OutputTooSmall, path);
        }

        int written;
        int count;
        if (path.OuterIsIPv6)
        {
            (written, count) = IPv6Fragmenter.Cut(packet, mtu, _random.NextUInt32(), rest);
        }
        else
        {
            var fragmenter = new IPv4Fragmenter(IpPacket.OfChecked(packet).AsIPv4(), mtu);
            (written, count) = (0, 0);
            while (!fragmenter.Finished && rest.Length - written >= mtu)
            {
                written += fragmenter.Next(rest[written..]);
                count++;
            }
        }

        return whole with { Offset = whole.Length, Length = written, Count = count };
    }

    private OutboundResult ReplyTooBig(InstalledPath path, in IpPacket packet, int mtu, Span<byte> output, DateTimeOffset now)
    {
        var source = packet.IsIPv6 == path.OuterIsIPv6 ? path.LocalOctets
            : packet.IsIPv6 ? _icmpSourceIPv6 ??= _options.IcmpSourceIPv6?.GetAddressBytes()
            : _icmpSourceIPv4 ??= _options.IcmpSourceIPv4.GetAddressBytes();
        var length = source is null || !IcmpError.MayAnswer(packet, packetTooBig: true) || !TakeIcmpBudget(now)
            ? 0
            : IcmpError.WriteTooBig(packet, source, mtu, output);
        return length == 0
            ? Failed(DropReason.TooBig, path)
            : new OutboundResult(OutboundVerdict.ReplyIcmp, DropReason.TooBig, new PathHandle(path), 0, length, 1);
    }

    /// <summary>Takes one ICMP error from what may be sent now (RFC 4443 2.4 (f)); for errors that the caller makes itself.</summary>
    public bool MayAnswer(DateTimeOffset now) => TakeIcmpBudget(now);

    private bool TakeIcmpBudget(DateTimeOffset now)
    {
        lock (_icmpGate)
        {
            var elapsed = _icmpTicks == 0 ? 0 : Math.Max(0, now.UtcTicks - _icmpTicks);
            _icmpTicks = now.UtcTicks;
            _icmpBudget = Math.Min(_options.IcmpErrorsPerSecond, _icmpBudget + (elapsed * (double)_options.IcmpErrorsPerSecond / TimeSpan.TicksPerSecond));
            if (_icmpBudget < 1)
            {
                return false;
            }

            _icmpBudget--;
            return true;
        }
    }

    /// <summary>A SYN tells the other side how long its segments may be; the tunnel makes that less.</summary>
    private static void ClampMss(Span<byte> inner, int innerMtu)
    {
        var packet = IpPacket.OfChecked(inner);
        if (packet.NextHeader != IpProtocol.Tcp || inner.Length < packet.HeaderLength + TcpHeader.MinimumLength || (inner[packet.HeaderLength + 13] & (byte)TcpFlags.Syn) == 0 || (!packet.IsIPv6 && (BinaryPrimitives.ReadUInt16BigEndian(inner[6..]) & 0x1FFF) != 0))
        {
            return;
        }

        var maximum = innerMtu - (packet.IsIPv6 ? IPv6Header.Length : IPv4Header.MinimumLength) - TcpHeader.MinimumLength;
        if (maximum > 0)
        {
            TcpHeader.ClampMaximumSegmentSize(inner[packet.HeaderLength..], (ushort)Math.Min(maximum, ushort.MaxValue));
        }
    }

    private void RaiseWaiting(InstalledPath path, DateTimeOffset now)
    {
        var last = Interlocked.Read(ref path.Counters.LastWaitingTicks);
        if ((last == 0 || now.UtcTicks - last >= TimeSpan.TicksPerSecond)
            && Interlocked.CompareExchange(ref path.Counters.LastWaitingTicks, now.UtcTicks, last) == last)
        {
            Raise(path, PathSignal.PacketWaiting);
        }
    }

    private static OutboundResult Failed(DropReason reason, InstalledPath? path) =>
        new(OutboundVerdict.Drop, reason, new PathHandle(path), 0, 0, 0);

    private OutboundResult Counted(in OutboundResult result)
    {
        if (result.Reason != DropReason.None)
        {
            Drop(result.Reason, result.Path.Installed);
        }

        return result;
    }
}
