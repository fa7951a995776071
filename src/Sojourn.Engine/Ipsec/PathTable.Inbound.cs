using System.Buffers.Binary;
using System.Security.Cryptography;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Ipsec;
using Sojourn.Wire.Udp;

namespace Sojourn.Engine.Ipsec;

/// <summary>
/// From the far end: find the association, check, open, check the inner packet.
/// Reading of R32: ESP inside IP-in-IP is what a sender makes whose tunnel device wraps what its IPsec has already put
/// in tunnel mode, so both headers name gateways. ESP in transport mode under a host's header is not taken: nothing would
/// protect that header, and with it whose packet it is. ESP of somebody in a mobile router's network inside that router's tunnel is the
/// network's traffic: it comes as the router's policy has it (spec terminal TM7.8).
/// IP-in-IP inside ESP is the user's own, but on a path with a mobile tunnel (spec terminal OPT): there a header with the ends
/// of the tunnel itself is taken off, and one that only claims its near end is refused.
/// </summary>
public sealed partial class PathTable
{
    /// <summary>
    /// Opens one outer IP packet: ESP (50), AH (51), IPv4 (4) or IPv6 (41) in IP, ESP in UDP.
    /// <paramref name="output"/> must hold the outer packet and 8 octets more.
    /// </summary>
    public InboundResult Inbound(ReadOnlySpan<byte> outer, Span<byte> output, DateTimeOffset now)
    {
        if (!IpPacket.TryParse(outer, out var packet, out _))
        {
            return Refused(DropReason.Malformed);
        }

        var protocol = packet.NextHeader;
        var offset = packet.HeaderLength;
        bool isFragment;
        if (packet.IsIPv6)
        {
            if (!IPv6ExtensionWalk.TryFindUpper(packet.AsIPv6(), out var upper))
            {
                return Refused(DropReason.Malformed);
            }

            (protocol, offset, isFragment) = (upper.UpperProtocol, upper.UpperOffset, upper.IsFragment);
        }
        else
        {
            isFragment = packet.AsIPv4().IsFragment;
        }

        if (protocol is not (IpProtocol.Esp or IpProtocol.Ah or IpProtocol.IPv4 or IpProtocol.IPv6 or IpProtocol.Udp))
        {
            return new InboundResult(InboundVerdict.NotForUs, DropReason.None, default, 0);
        }

        if (isFragment)
        {
            return protocol == IpProtocol.Udp
                ? new InboundResult(InboundVerdict.NotForUs, DropReason.None, default, 0)
                : Refused(DropReason.OuterFragment);
        }

        var payload = packet.Octets[offset..];
        if (output.Length < packet.Octets.Length + 8)
        {
            return Refused(DropReason.OutputTooSmall);
        }

        var from = new Outer(packet.IsIPv6, AddressNumber.Of(packet.Source), AddressNumber.Of(packet.Destination), packet.TrafficClass);
        return protocol switch
        {
            IpProtocol.Esp => InboundEsp(payload, from, output, now),
            IpProtocol.Ah => InboundAh(packet.Octets, offset, from, output, now),
            IpProtocol.Udp => InboundUdp(payload, from, output, now),
            _ => InboundPlain(payload, protocol, from, output, now),
        };
    }

    /// <summary>
    /// Opens the payload of a UDP datagram that a socket received on an ESP port (RFC 3948). Addresses of 4 or 16 octets
    /// in network order; <paramref name="trafficClass"/> is the outer TOS or traffic class, for ECN.
    /// </summary>
    public InboundResult InboundEspInUdp(
        ReadOnlySpan<byte> payload, ReadOnlySpan<byte> source, ReadOnlySpan<byte> destination, byte trafficClass, Span<byte> output, DateTimeOffset now)
    {
        if (output.Length < payload.Length + 8)
        {
            return Refused(DropReason.OutputTooSmall);
        }

        return InboundUdpPayload(
            payload, new Outer(source.Length == 16, AddressNumber.Of(source), AddressNumber.Of(destination), trafficClass), output, now);
    }

    /// <summary>Whether anything here might open an outer packet: cheap, and counts nothing.</summary>
    public bool Knows(ReadOnlySpan<byte> outer)
    {
        if (!IpPacket.TryParse(outer, out var packet, out _))
        {
            return false;
        }

        var (source, destination) = (AddressNumber.Of(packet.Source), AddressNumber.Of(packet.Destination));
        return packet.NextHeader switch
        {
            IpProtocol.Esp => EspHeader.TryParse(packet.Payload, out var esp, out _)
                && Current.Inbound.TryGet(new AssociationKey(SecurityType.Esp, esp.Spi, packet.IsIPv6, source, destination), out _),
            IpProtocol.Ah => AhHeader.TryParse(packet.Payload, out var ah, out _)
                && Current.Inbound.TryGet(new AssociationKey(SecurityType.Ah, ah.Spi, packet.IsIPv6, source, destination), out _),
            _ => Current.Tunnels.TryGet(new TunnelKey(packet.IsIPv6, destination, source), out _),
        };
    }

    private InboundResult InboundUdp(ReadOnlySpan<byte> payload, in Outer from, Span<byte> output, DateTimeOffset now)
    {
        if (!UdpHeader.TryParse(payload, out var datagram, out _) || !IsEspPort(datagram, from))
        {
            return new InboundResult(InboundVerdict.NotForUs, DropReason.None, default, 0);
        }

        return InboundUdpPayload(datagram.Payload, from, output, now);
    }

    /// <summary>Port 4500, or the port of a path that holds the association the datagram seems to name.</summary>
    private bool IsEspPort(in UdpHeader datagram, in Outer from)
    {
        if (datagram.DestinationPort == EspInUdp.Port)
        {
            return true;
        }

        if (!EspHeader.TryParse(datagram.Payload, out var esp, out _)
            || !Current.Inbound.TryGet(new AssociationKey(SecurityType.Esp, esp.Spi, from.IsIPv6, from.Source, from.Destination), out var candidates))
        {
            return false;
        }

        foreach (var association in candidates)
        {
            foreach (var holder in association.Holders)
            {
                if (holder.Path.Udp?.LocalPort == datagram.DestinationPort)
                {
                    return true;
                }
            }
        }

        return false;
    }

    private InboundResult InboundUdpPayload(ReadOnlySpan<byte> payload, in Outer from, Span<byte> output, DateTimeOffset now) =>
        EspInUdp.Classify(payload) == EspInUdpContent.Esp
            ? InboundEsp(payload, from, output, now)
            : new InboundResult(InboundVerdict.NotForUs, DropReason.None, default, 0);

    private InboundResult InboundEsp(ReadOnlySpan<byte> payload, in Outer from, Span<byte> output, DateTimeOffset now)
    {
        if (!EspHeader.TryParse(payload, out var esp, out _))
        {
            return Refused(DropReason.Malformed);
        }

        var snapshot = Current;
        if (!snapshot.Inbound.TryGet(new AssociationKey(SecurityType.Esp, esp.Spi, from.IsIPv6, from.Source, from.Destination), out var candidates))
        {
            return Refused(DropReason.UnknownSpi);
        }

        var reason = DropReason.None;
        foreach (var association in candidates)
        {
            var cipher = association.Cipher!;
            var length = payload.Length - EspHeader.Length - cipher.IvLength - cipher.IcvLength;
            var plaintext = length < EspTrailer.FixedLength ? default : output[..length];
            reason = Open(association, esp.SequenceNumber, payload, plaintext, now, out var notice);
            Heed(association, notice);
            if (reason == DropReason.None)
            {
                return Told(association, notice, Accept(snapshot, association, plaintext, from, now));
            }

            association.Drops.Add(reason);
            if (notice.IsToAnnounce)
            {
                return Told(association, notice, Refused(reason));
            }
        }

        return Refused(reason);
    }

    private static DropReason Open(SecurityAssociation association, uint low, ReadOnlySpan<byte> payload, Span<byte> plaintext, DateTimeOffset now, out Notice notice)
    {
        notice = default;
        if (plaintext.IsEmpty || plaintext.Length % association.Cipher!.Alignment != 0)
        {
            return DropReason.Malformed;
        }

        lock (association.Gate)
        {
            if (!association.Usable(now))
            {
                return DropReason.LifetimeExpired;
            }

            var sequence = association.Window.Infer(low);
            if (!association.Window.MayAccept(sequence))
            {
                notice = new Notice { FarEndLags = association.HasToAnnounce(now) };
                return DropReason.Replay;
            }

            if (!association.Cipher.Open(payload, (uint)(sequence >> 32), plaintext))
            {
                // Far below the window the high half is guessed wrong, which looks like this.
                notice = new Notice { FarEndLags = association.HasToAnnounce(now) };
                return DropReason.BadIcv;
            }

            return Take(association, sequence, plaintext.Length, now, out notice);
        }
    }

    /// <summary>Books an authentic packet. Under the association's gate.</summary>
    private static DropReason Take(SecurityAssociation association, ulong sequence, int length, DateTimeOffset now, out Notice notice)
    {
        var reason = association.Accept(sequence, out var leapt);
        if (reason == DropReason.None)
        {
            association.Use(length, now);
        }

        notice = new Notice { Signal = association.DueSignal(now), FarEndRestarted = leapt };
        return reason;
    }

    /// <summary>Does what a packet gave reason to, outside its association's gate.</summary>
    private void Heed(SecurityAssociation association, in Notice notice)
    {
        RaiseForHolders(association, notice.Signal);
        if (!notice.FarEndRestarted)
        {
            return;
        }

        foreach (var opposite in association.Holders.Select(holder => holder.Outbound).OfType<SecurityAssociation>().Distinct())
        {
            opposite.Leap();
        }
    }

    private static InboundResult Told(SecurityAssociation association, in Notice notice, in InboundResult result) => !notice.IsToAnnounce ? result : result with
    {
        Path = result.Path.IsNone ? new PathHandle(association.Holders.FirstOrDefault(holder => holder is { Outbound: not null, Path.State: PathState.Active })) : result.Path,
        MustAnnounce = true,
    };

    /// <summary>Takes an opened ESP plaintext apart and delivers it.</summary>
    private InboundResult Accept(Snapshot snapshot, SecurityAssociation association, Span<byte> plaintext, in Outer from, DateTimeOffset now)
    {
        if (!EspTrailer.TryParse(plaintext, out var length, out var nextHeader, out _))
        {
            return RefusedBy(association, DropReason.InnerMalformed);
        }

        if (nextHeader == IpProtocol.NoNextHeader)
        {
            return RefusedBy(association, DropReason.Dummy);
        }

        return Deliver(snapshot, association, plaintext[..length], nextHeader, from, now);
    }

    private InboundResult InboundAh(ReadOnlySpan<byte> outer, int offset, in Outer from, Span<byte> output, DateTimeOffset now)
    {
        if (!AhHeader.TryParse(outer[offset..], out var ah, out _))
        {
            return Refused(DropReason.Malformed);
        }

        var snapshot = Current;
        if (!snapshot.Inbound.TryGet(new AssociationKey(SecurityType.Ah, ah.Spi, from.IsIPv6, from.Source, from.Destination), out var candidates))
        {
            return Refused(DropReason.UnknownSpi);
        }

        outer.CopyTo(output);
        if (!(from.IsIPv6 ? MutableFields.ClearIPv6(output, offset) : MutableFields.ClearIPv4(output[..offset])))
        {
            return Refused(DropReason.Malformed);
        }

        var reason = DropReason.None;
        foreach (var association in candidates)
        {
            reason = Check(association, ah, offset, output, now, out var notice);
            Heed(association, notice);
            if (reason == DropReason.None)
            {
                ah.Payload.CopyTo(output);
                return Told(association, notice, ah.NextHeader == IpProtocol.NoNextHeader
                    ? RefusedBy(association, DropReason.Dummy)
                    : Deliver(snapshot, association, output[..ah.Payload.Length], ah.NextHeader, from, now));
            }

            association.Drops.Add(reason);
            if (notice.IsToAnnounce)
            {
                return Told(association, notice, Refused(reason));
            }
        }

        return Refused(reason);
    }

    /// <param name="covered">The packet with mutable fields cleared; the ICV is cleared here, and octets behind the packet are used.</param>
    private static DropReason Check(SecurityAssociation association, in AhHeader ah, int offset, Span<byte> covered, DateTimeOffset now, out Notice notice)
    {
        notice = default;
        var authenticator = association.Authenticator!;
        var icvLength = authenticator.IvLength + authenticator.TagLength;
        var isIPv6 = association.Key.IsIPv6;
        if (ah.HeaderLength != AhFormat.HeaderLength(authenticator, isIPv6, roundTo8: false)
            && ah.HeaderLength != AhFormat.HeaderLength(authenticator, isIPv6, roundTo8: true))
        {
            return DropReason.Malformed;
        }

        lock (association.Gate)
        {
            if (!association.Usable(now))
            {
                return DropReason.LifetimeExpired;
            }

            var sequence = association.Window.Infer(ah.SequenceNumber);
            if (!association.Window.MayAccept(sequence))
            {
                notice = new Notice { FarEndLags = association.HasToAnnounce(now) };
                return DropReason.Replay;
            }

            covered.Slice(offset + AhHeader.FixedLength, icvLength).Clear();
            var length = offset + ah.Octets.Length;
            if (association.Parameters.ExtendedSequence)
            {
                BinaryPrimitives.WriteUInt32BigEndian(covered[length..], (uint)(sequence >> 32));
                length += 4;
            }

            Span<byte> tag = stackalloc byte[authenticator.TagLength];
            authenticator.Compute(covered[..length], ah.IcvAndPadding[..authenticator.IvLength], tag);
            if (!CryptographicOperations.FixedTimeEquals(tag, ah.IcvAndPadding.Slice(authenticator.IvLength, authenticator.TagLength)))
            {
                notice = new Notice { FarEndLags = association.HasToAnnounce(now) };
                return DropReason.BadIcv;
            }

            return Take(association, sequence, ah.Payload.Length, now, out notice);
        }
    }

    /// <summary>Policy check of an authentic inner packet (RFC 4301 5.2 step 4), then ECN and counters.</summary>
    private InboundResult Deliver(Snapshot snapshot, SecurityAssociation association, Span<byte> inner, byte nextHeader, in Outer from, DateTimeOffset now)
    {
        if (!TryReadInner(inner, nextHeader, out var packet))
        {
            return RefusedBy(association, DropReason.InnerMalformed);
        }

        // A tunnel of somebody in a mobile router's network, to the same home agent, is the network's traffic.
        var path = snapshot.Selectors.FindInbound(packet.IsIPv6, AddressNumber.Of(packet.Source), AddressNumber.Of(packet.Destination), association);
        if (association.TakesMobileHeader && IsTunnelled(packet, from) && (path is null || AddressNumber.Of(packet.Source) == from.Source))
        {
            return DeliverTunnelled(snapshot, association, inner, packet, from, now);
        }

        return path is null || (path.Path.Traffic == PathTraffic.HomeTests && !HomeTestPacket.IsOne(packet))
            ? RefusedBy(association, DropReason.SelectorMismatch)
            : Deliver(path, association, inner[..packet.Octets.Length], from, now);
    }

    private InboundResult InboundPlain(ReadOnlySpan<byte> payload, byte protocol, in Outer from, Span<byte> output, DateTimeOffset now)
    {
        var snapshot = Current;
        var tunnel = new TunnelKey(from.IsIPv6, from.Destination, from.Source);
        if (!snapshot.Tunnels.TryGet(tunnel, out _))
        {
            return Refused(DropReason.UnknownGateway);
        }

        if (TryInboundEspInIp(snapshot, payload, protocol, from, output, now, out var opened))
        {
            return opened;
        }

        payload.CopyTo(output);
        var inner = output[..payload.Length];
        if (!TryReadInner(inner, protocol, out var packet))
        {
            return Refused(DropReason.InnerMalformed);
        }

        var (source, destination) = (AddressNumber.Of(packet.Source), AddressNumber.Of(packet.Destination));
        var path = snapshot.Selectors.FindInbound(packet.IsIPv6, source, destination, tunnel);
        return IsProtected(snapshot, packet, path, tunnel) ? Refused(DropReason.Unprotected)
            : path is null ? Refused(DropReason.SelectorMismatch)
            : Deliver(path, path, inner[..packet.Octets.Length], from, now);
    }

    /// <summary>
    /// S200, R32: with the outer header taken off, the result is ESP for one of the associations here, named by its own header
    /// and SPI. Any other ESP is a packet of the user's own. One level only; RFC 6040's step is taken at each header.
    /// </summary>
    private bool TryInboundEspInIp(
        Snapshot snapshot, ReadOnlySpan<byte> payload, byte protocol, in Outer from, Span<byte> output, DateTimeOffset now, out InboundResult result)
    {
        result = default;
        if (!TryReadInner(payload, protocol, out var carried) || carried.NextHeader != IpProtocol.Esp || !EspHeader.TryParse(carried.Payload, out var esp, out _))
        {
            return false;
        }

        var (source, destination) = (AddressNumber.Of(carried.Source), AddressNumber.Of(carried.Destination));
        if (!snapshot.Inbound.TryGet(new AssociationKey(SecurityType.Esp, esp.Spi, carried.IsIPv6, source, destination), out _))
        {
            return false;
        }

        var tunnel = new TunnelKey(from.IsIPv6, from.Destination, from.Source);
        result = !carried.IsIPv6 && carried.AsIPv4().IsFragment ? Refused(DropReason.OuterFragment)
            : source != from.Source && IsProtected(snapshot, carried, snapshot.Selectors.FindInbound(carried.IsIPv6, source, destination, tunnel), tunnel) ? Refused(DropReason.Unprotected)
            : EcnTunnel.Decapsulate(from.TrafficClass, carried.TrafficClass, out _) is { } trafficClass
                ? InboundEsp(carried.Payload, new Outer(carried.IsIPv6, source, destination, trafficClass), output, now)
                : Refused(DropReason.EcnIllegal);
        return true;
    }

    private InboundResult Deliver(InstalledPath path, object inboundHalf, Span<byte> inner, in Outer from, DateTimeOffset now)
    {
        var counters = path.Counters;
        var packet = IpPacket.OfChecked(inner);
        var carried = EcnTunnel.Decapsulate(from.TrafficClass, packet.TrafficClass, out var unexpected);
        if (unexpected)
        {
            Interlocked.Increment(ref counters.EcnUnexpected);
        }

        if (carried is not { } trafficClass)
        {
            return new InboundResult(InboundVerdict.Drop, Drop(DropReason.EcnIllegal, path), new PathHandle(path), 0);
        }

        if (trafficClass != packet.TrafficClass)
        {
            IpPacket.RewriteTrafficClass(inner, trafficClass);
        }

        if (_options.ClampTcpMss)
        {
            ClampMss(inner, path.InnerMtu(path.Tunnel.Current(now)));
        }

        Interlocked.Increment(ref counters.PacketsIn);
        Interlocked.Add(ref counters.BytesIn, inner.Length);
        Volatile.Write(ref counters.LastInTicks, now.UtcTicks);
        path.Meter?.CountIn(inner.Length);
        // For encapsulation only the counters stand for the inbound half: a replaced path goes on as the same.
        object half = inboundHalf is SecurityAssociation ? inboundHalf : counters;
        if (!ReferenceEquals(Volatile.Read(ref counters.FirstInboundOf), half))
        {
            Volatile.Write(ref counters.FirstInboundOf, half);
            Raise(path, PathSignal.FirstInbound);
        }

        return new InboundResult(InboundVerdict.Deliver, DropReason.None, new PathHandle(path), inner.Length);
    }

    private static bool TryReadInner(ReadOnlySpan<byte> inner, byte nextHeader, out IpPacket packet) =>
        IpPacket.TryParse(inner, out packet, out _) && nextHeader == (packet.IsIPv6 ? IpProtocol.IPv6 : IpProtocol.IPv4);

    private InboundResult Refused(DropReason reason) => new(InboundVerdict.Drop, Drop(reason), default, 0);

    private InboundResult RefusedBy(SecurityAssociation association, DropReason reason)
    {
        association.Drops.Add(reason);
        return Refused(reason);
    }

    /// <summary>What a packet gives reason to besides being carried.</summary>
    private readonly record struct Notice(PathSignal? Signal, bool FarEndRestarted, bool FarEndLags)
    {
        /// <summary>The far end has to learn how far this side's counter is now.</summary>
        public bool IsToAnnounce => FarEndRestarted || FarEndLags;
    }

    /// <summary>What the outer header says that matters behind it.</summary>
    private readonly record struct Outer(bool IsIPv6, UInt128 Source, UInt128 Destination, byte TrafficClass);
}
