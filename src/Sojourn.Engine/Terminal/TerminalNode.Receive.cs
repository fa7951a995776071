// Readings:
// - Whether a packet under ESP is a control message shows when it has been opened (R1), so step 125 comes before the choice between
//   routines 70 and 120; what comes out under a transport association goes to the one that its next header names.
// - A tunnel header is taken off while the packet is for the terminal itself; one that is for the home address is the user's, whatever
//   it carries. Headers are counted over all levels, those of an anchor point's tunnel too.
// - An association covers a user's packet or it does not (126): one that came under an association made for other traffic goes.
using System.Net;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Sojourn.Wire.Udp;

namespace Sojourn.Engine.Terminal;

/// <summary>Part 24 on receive: routine 120 (spec terminal 4.5), for all packets that come to the terminal.</summary>
public sealed partial class TerminalNode
{
    private readonly Ipv6Reassembler _reassembler = new();

    /// <summary>Headers of tunnels on one packet (R71).</summary>
    private const int MaximumLevels = 4;

    private bool IsUsers(IPAddress destination) => destination.Equals(_home?.HomeAddress) || _options.MobileNetworks.Any(n => n.Contains(destination));

    /// <summary>A packet for one of the terminal's addresses, as it came from a link.</summary>
    private void OnPacket(DeliverIpv6Packet delivered)
    {
        // What stands for several packets stays whole only where all that is done with it is to hand it on or to translate it.
        if (delivered.SegmentSize > 0 && _mobile.AtHome && IsPlainTcpFor(delivered.Packet.Span))
        {
            ToUser(delivered.Packet, null, null, delivered.SegmentSize);
            return;
        }

        foreach (var packet in Segmentation.Cut(delivered.Packet, delivered.SegmentSize))
        {
            OnPacket(packet, delivered.Interface, 0);
        }
    }

    private bool IsPlainTcpFor(ReadOnlySpan<byte> packet) => IPv6Header.TryParse(packet, out var header, out _) && header.NextHeader == IpProtocol.Tcp && IsUsers(header.DestinationAddress);

    private void OnPacket(ReadOnlyMemory<byte> packet, string link, int level)
    {
        if (!IPv6Header.TryParse(packet.Span, out var header, out _) || !IPv6ExtensionWalk.TryFindUpper(header, out var upper))
        {
            _out.Count("terminal.malformed");
            return;
        }

        if (upper.IsFragment)
        {
            // The far end of a tunnel cuts what does not fit into its path (RFC 2473 7.2).
            if (_reassembler.Add(packet.Span, _now, out var whole) == ReassemblyOutcome.Complete)
            {
                OnPacket(whole, link, level);
            }
            else
            {
                _out.Count("terminal.fragment");
            }

            return;
        }

        // 122. Next headers IPv6 and ESP of the first header are nearly all there is; they need no closer look. At home an application's
        // own tunnel ends at the home address.
        if (header.NextHeader == IpProtocol.IPv6 && !IsUsers(header.DestinationAddress))
        {
            Strip(packet, link, level);
            return;
        }

        if (!MobileIpv6Packet.TryParse(packet.Span, out var read, out var error))
        {
            _out.Count(error.Clause is "RFC 6275 6.4.1" or "RFC 8200 4.4" ? upper.UpperProtocol == IpProtocol.Mobility ? GuestCounters.RoutingHeaderBad : GuestCounters.HomeAddressBad : "terminal.malformed");
            return;
        }

        // 123
        if (read.RoutingHomeAddress is { } final && !final.Equals(_home?.HomeAddress) && !final.Equals(_local?.RegionalAddress))
        {
            _out.Count(upper.UpperProtocol == IpProtocol.Mobility ? GuestCounters.RoutingHeaderBad : GuestCounters.HomeAddressBad);
            return;
        }

        switch (upper.UpperProtocol)
        {
            case IpProtocol.Esp when _anchors is not null && read.RoutingHomeAddress is { } regional && regional.Equals(_local!.RegionalAddress):
                OnProtectedByAnchor(_anchors, packet);
                break;
            case IpProtocol.Esp or IpProtocol.Ah when _ah is not null && _ah.Covers(read.Source) && read.EffectiveDestination.Equals(_home?.HomeAddress):
                OnAuthenticated(_ah, packet, upper.UpperProtocol, link, level);
                break;
            case IpProtocol.Esp:
                OnProtected(packet, read, link, level);
                break;
            case IpProtocol.Mobility:
                OnMobility(read, packet, null, null);
                break;
            case IpProtocol.IPv6 when read.RoutingHomeAddress is null && !IsUsers(read.Destination):
                Strip(packet, link, level);
                break;
            case IpProtocol.Udp when read.RoutingHomeAddress is null && UdpHeader.TryParse(header.Packet[upper.UpperOffset..], out var udp, out _) && IsOwnPort(udp.DestinationPort) && !IsUsers(read.Destination):
                OnDatagram(header, udp, link);
                break;
            case IpProtocol.Icmpv6 when read.Payload.Length > 0 && read.Payload.Span[0] is (byte)Icmpv6MessageType.HomeAgentAddressDiscoveryReply or (byte)Icmpv6MessageType.MobilePrefixAdvertisement:
                Tell(_mobile, new Ipv6PacketReceived(packet, AnyLink));
                break;
            case IpProtocol.Icmpv6 when read.RoutingHomeAddress is null && !IsUsers(read.Destination) && PassOn(read.Source, read.Payload.Span):
                break;
            default:
                if (read.RoutingHomeAddress is not null)
                {
                    OnRouted(packet, read, null);
                }
                else if (header.DestinationAddress.IsIPv6Multicast || header.DestinationAddress.IsIPv6LinkLocal)
                {
                    _out.Count("terminal.not_for_applications");
                }
                else if (IsUsers(read.Destination))
                {
                    ToUser(packet, null, null);
                }
                else
                {
                    _out.Emit(new DeliverToHost(packet));
                }

                break;
        }
    }

    private static bool IsOwnPort(ushort port) => port is Wire.Ikev2.Ikev2Limits.Port or Wire.Ikev2.Ikev2Limits.NatTraversalPort or ClientPort;

    /// <summary>Step 73 where an association asks for AH before ESP (S2): both have to be there.</summary>
    private void OnAuthenticated(TransportAh ah, ReadOnlyMemory<byte> packet, byte protocol, string link, int level)
    {
        if (protocol != IpProtocol.Ah)
        {
            _out.Count(GuestCounters.PolicyMismatch);
        }
        else if (ah.TryOpen(packet.Span, _now, out var inner) is var drop and not DropReason.None)
        {
            CountRefusal(drop);
        }
        else if (MobileIpv6Packet.TryParse(inner, out var read, out _) && read.Protocol == IpProtocol.Esp)
        {
            OnProtected(inner, read, link, level);
        }
        else
        {
            _out.Count(GuestCounters.PolicyMismatch);
        }
    }

    /// <summary>Steps 72, 73 and 125: ESP in transport mode, or else the tunnel's.</summary>
    private void OnProtected(ReadOnlyMemory<byte> packet, MobileIpv6Packet read, string link, int level)
    {
        var drop = _esp.TryOpen(packet.Span, _now, out var opened);
        if (drop == DropReason.UnknownSpi && read is { RoutingHomeAddress: null, HomeAddress: null })
        {
            if (IsUsers(read.Destination))
            {
                // At home, or out of a tunnel: an application's own association.
                ToUser(packet, null, null);
            }
            else
            {
                Strip(packet, link, level);
            }

            return;
        }

        if (drop != DropReason.None)
        {
            CountRefusal(drop);
            return;
        }

        if (!MobileIpv6Packet.TryParse(opened.Packet, out var clear, out _))
        {
            _out.Count("terminal.malformed");
        }
        else if (clear.Protocol == IpProtocol.Mobility)
        {
            OnMobility(clear, opened.Packet, opened.Association, null);
        }
        else if (clear.Protocol == IpProtocol.Icmpv6 && clear.Payload.Length > 0 && clear.Payload.Span[0] == (byte)Icmpv6MessageType.MobilePrefixAdvertisement)
        {
            Tell(_mobile, new Ipv6PacketReceived(opened.Packet, AnyLink, null, opened.Association));
        }
        else if (clear.EffectiveDestination.Equals(_home?.HomeAddress))
        {
            OnRouted(opened.Packet, clear, opened.Association);
        }
        else
        {
            _out.Count(GuestCounters.PolicyMismatch);
        }
    }

    private void CountRefusal(DropReason drop)
    {
        _out.Count(drop switch
        {
            DropReason.UnknownSpi => GuestCounters.NoAssociationIn,
            DropReason.SelectorMismatch => GuestCounters.PolicyMismatch,
            _ => GuestCounters.IpsecFailed,
        });
        _out.Count($"terminal.esp.{drop}");
    }

    /// <summary>Steps 124, 126 and 129 for what came by the short way (L11, L13).</summary>
    /// <param name="under">Association it came under.</param>
    private void OnRouted(ReadOnlyMemory<byte> packet, MobileIpv6Packet read, long? under)
    {
        var treatment = _security.Find(read.Source, read.Protocol);
        if (treatment == DataTreatment.Discard || (treatment == DataTreatment.Protect && under is null))
        {
            _out.Count(GuestCounters.PolicyMismatch);
            return;
        }

        if (_mobile.IsOptimising(read.Source))
        {
            Tell(_mobile, new RouteProgressed(read.Source));
        }

        ToHost(read.RoutingHomeAddress is { } home ? MobileHeaders.WithoutRouting(packet.Span, home) : packet);
    }

    /// <summary>Takes tunnel headers off, ESP in tunnel mode or plain, level by level (steps 125, 128, 131, 129, 126, 127).</summary>
    private void Strip(ReadOnlyMemory<byte> packet, string link, int level)
    {
        long? child = null;
        for (IPAddress? agent = null; ; level++)
        {
            if (!IPv6Header.TryParse(packet.Span, out var outer, out _) || !IPv6ExtensionWalk.TryFindUpper(outer, out var upper))
            {
                _out.Count("terminal.tunnel.malformed");
                return;
            }

            if (agent is not null)
            {
                var destination = outer.DestinationAddress;
                if (IsUsers(destination))
                {
                    ToUser(packet, child, agent);
                    return;
                }

                if (destination.Equals(_local?.RegionalAddress))
                {
                    OnPacket(packet, link, level);
                    return;
                }

                if (upper.UpperProtocol is not (IpProtocol.IPv6 or IpProtocol.Esp) || !_links.Exists(l => l.Holds(destination)))
                {
                    // For nobody here (R80 where addresses are translated).
                    _out.Count(_tables.HostVirtual is null ? "terminal.tunnel.refused" : GuestCounters.DestinationUnknown);
                    return;
                }
            }

            if (level >= MaximumLevels)
            {
                _out.Count(GuestCounters.NestLimit);
                return;
            }

            var carried = packet[upper.UpperOffset..];
            if (upper.UpperProtocol == IpProtocol.Esp && OpenOfAnchor(carried.Span, out var anchored) is { } refused)
            {
                if (refused != DropReason.None)
                {
                    CountRefusal(refused);
                    return;
                }

                carried = anchored;
            }
            else if (upper.UpperProtocol == IpProtocol.Esp)
            {
                // 125: who it is from the association proves, not the outer source.
                if (_tunnelEsp.TryOpen(carried.Span, _now, out var opened) is var drop and not DropReason.None)
                {
                    CountRefusal(drop);
                    return;
                }

                (carried, child) = (opened.Packet, opened.ChildSa);
            }
            else if (!IPv6Header.TryParse(carried.Span, out var inner, out _))
            {
                _out.Count("terminal.tunnel.malformed");
                return;
            }
            else if (!IsTunnelEnd(outer.SourceAddress, inner.DestinationAddress))
            {
                // 128
                _out.Count(GuestCounters.TunnelSourceBad);
                return;
            }
            else
            {
                carried = carried[..inner.Packet.Length];
            }

            agent = outer.SourceAddress;
            if (!Merge(ref carried, outer.TrafficClass))
            {
                return;
            }

            packet = carried;
        }
    }

    /// <summary>Step 128: the home agent that has the binding; for the regional address the anchor point (RFC 5380 6.2).</summary>
    private bool IsTunnelEnd(IPAddress source, IPAddress destination) => destination.Equals(_local?.RegionalAddress)
        ? source.Equals(AnchorTunnel(destination)?.RemoteGateway) && _anchors?.ProtectsData(source) != true
        : _tables.Tunnels.Any(t => t.HomeAgent.Equals(source));

    /// <summary>ECN of the outer header goes into the inner one (RFC 6040 4.2). False: the packet was to be dropped.</summary>
    private bool Merge(ref ReadOnlyMemory<byte> inner, byte outerClass)
    {
        var innerClass = (byte)((inner.Span[0] << 4) | (inner.Span[1] >> 4));
        if (EcnTunnel.Decapsulate(outerClass, innerClass, out _) is not { } trafficClass)
        {
            _out.Count("terminal.tunnel.congestion_dropped");
            return false;
        }

        if (trafficClass != innerClass)
        {
            var marked = inner.ToArray();
            IPv6Header.RewriteTrafficClass(marked, trafficClass);
            inner = marked;
        }

        return true;
    }

    /// <summary>A packet for the home address or a mobile network, all headers of the way taken off (steps 129, 126, 127; R72).</summary>
    /// <param name="child">Child SA it came under.</param>
    /// <param name="agent">Who sent it through the tunnel; null = it came as it is.</param>
    private void ToUser(ReadOnlyMemory<byte> packet, long? child, IPAddress? agent, int segmentSize = 0)
    {
        if (!IPv6Header.TryParse(packet.Span, out var header, out _) || !IPv6ExtensionWalk.TryFindUpper(header, out var upper))
        {
            _out.Count("terminal.tunnel.malformed");
            return;
        }

        var source = header.SourceAddress;
        var isControl = upper.UpperProtocol == IpProtocol.Mobility && header.DestinationAddress.Equals(_home?.HomeAddress);
        var treatment = isControl || upper.UpperProtocol != IpProtocol.Mobility ? _security.Find(source, upper.UpperProtocol) : null;
        if (treatment == DataTreatment.Discard || (treatment == DataTreatment.Protect && child is null && agent is not null) || (child is { } sa && !_tunnelEsp.Covers(sa, packet.Span)))
        {
            _out.Count(GuestCounters.PolicyMismatch);
            return;
        }

        if (!isControl)
        {
            ToHost(packet, segmentSize);
            Optimise(source);
        }
        else if (MobileIpv6Packet.TryParse(packet.Span, out var read, out _))
        {
            OnMobility(read, packet, null, agent);
        }
        else
        {
            _out.Count(GuestCounters.MalformedMobility);
        }
    }

    private void OnDatagram(in IPv6Header header, in UdpHeader udp, string name)
    {
        // RFC 8200 8.1: over IPv6 a checksum of zero is no checksum.
        if (udp.Checksum == 0 || !udp.ChecksumIsRight(header.Source, header.Destination))
        {
            _out.Count("terminal.malformed");
            return;
        }

        var datagram = new DatagramReceived(
            new IPEndPoint(header.SourceAddress, udp.SourcePort), new IPEndPoint(header.DestinationAddress, udp.DestinationPort), udp.Payload.ToArray(), name);
        if (udp.DestinationPort == ClientPort)
        {
            OnDhcp(datagram);
        }
        else
        {
            Tell(_ike, datagram);
        }
    }
}
