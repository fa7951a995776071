// Readings:
// - What applications send from the home address leaves through the tunnel, by the short way to a correspondent, or not at all; there is
//   no way past it. It waits a moment where there is no binding, or where the binding is that of a care-of address which is no
//   longer ours; step 112 comes when the moment is over. It waits, too, while an update is on its way from another care-of address: the home
//   agent takes nothing from the former one any more once it has that (RFC 6275 10.4.5).
// - Mobility headers never take the short way (step 102, RFC 6275 11.3.1).
// - The tunnel's own header has no encapsulation limit option (RFC 2473 5.1 allows that).
// - What an association with the home agent covers goes under it even if this end's policy would let it pass (another protocol of a peer,
//   a home test): the home agent takes nothing in clear that an association covers.
// - A host has to be able to send 1280 octets. Where a tunnel leaves less, its entry cuts the outer packet (RFC 2473 7.1); where the
//   short way leaves less, the packet goes by way of home.
using System.Net;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal.Scenarios;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Terminal;

/// <summary>Part 24 on send: routine 100 (spec terminal 4.4).</summary>
public sealed partial class TerminalNode
{
    private const byte TunnelHopLimit = 64;

    /// <summary>With the headers of a way in front the payload length still has to say it.</summary>
    private const int LongestWhole = ushort.MaxValue - (2 * IPv6Header.Length);

    /// <summary>Association number of everything that the tunnel to the home agent carries under ESP.</summary>
    private const long HomeTunnel = 0;

    private static readonly TimeSpan s_optimiseAgain = TimeSpan.FromMinutes(1);

    private readonly Queue<(DateTimeOffset At, ReadOnlyMemory<byte> Packet)> _held = new();
    private readonly Dictionary<IPAddress, DateTimeOffset> _optimised = [];
    private uint _fragments;
    private bool _moving;

    /// <summary>When the oldest packet that waits has waited long enough.</summary>
    private DateTimeOffset? HeldUntil => _held.TryPeek(out var oldest) ? oldest.At + _options.HoldTime : null;

    /// <summary>Routine 100 for a packet from the home address or a mobile network.</summary>
    /// <param name="segmentSize">See <see cref="Segmentation"/>: what stands for several packets stays whole but for ESP, which has a number for each.</param>
    private void Route(ReadOnlyMemory<byte> packet, int segmentSize = 0)
    {
        if (!IPv6Header.TryParse(packet.Span, out var header, out _) || !IPv6ExtensionWalk.TryFindUpper(header, out var upper))
        {
            _out.Count("terminal.malformed");
            return;
        }

        var (peer, protocol) = (header.DestinationAddress, upper.UpperProtocol);
        var treatment = protocol == IpProtocol.Mobility && !header.SourceAddress.Equals(_home?.HomeAddress) ? null : _security.Find(peer, protocol);
        if (treatment == DataTreatment.Discard)
        {
            // 105, 109
            _out.Count(GuestCounters.PolicyDiscards);
            return;
        }

        if (segmentSize > 0 && (treatment == DataTreatment.Protect || packet.Length > LongestWhole))
        {
            foreach (var segment in Segmentation.Cut(packet, segmentSize))
            {
                Route(segment);
            }

            return;
        }

        // 101
        if (_mobile.AtHome)
        {
            SendOn(_active, packet, segmentSize);
            return;
        }

        // 102
        if (protocol != IpProtocol.Mobility && header.SourceAddress.Equals(_home?.HomeAddress) && _tables.Find(peer, _now) is { } entry && LinkWith(entry.CareOfAddress) is { } direct
            && SendDirectly(entry, direct, packet, treatment == DataTreatment.Protect, segmentSize))
        {
            return;
        }

        if (_tables.TunnelOf(_home?.HomeAddress) is { } tunnel && LinkWith(tunnel.CareOfAddress) is { } link && !IsMoving)
        {
            var protect = treatment == DataTreatment.Protect || _tunnelEsp.Carries(HomeTunnel, packet.Span);
            if (protect && segmentSize > 0)
            {
                foreach (var segment in Segmentation.Cut(packet, segmentSize))
                {
                    SendThrough(tunnel, link, segment, protect, segmentSize: 0);
                }
            }
            else
            {
                SendThrough(tunnel, link, packet, protect, segmentSize);
            }

            if (protocol != IpProtocol.Mobility)
            {
                Optimise(peer);
            }
        }
        else
        {
            foreach (var segment in Segmentation.Cut(packet, segmentSize))
            {
                Hold(segment);
            }
        }
    }

    /// <summary>Steps 103 to 107 (L12, L14). False: the packet is too long for the short way and may go by way of home.</summary>
    private bool SendDirectly(CorrespondentEntry entry, AccessLink link, ReadOnlyMemory<byte> packet, bool protect, int segmentSize)
    {
        var wire = MobileHeaders.WithHomeAddress(packet.Span, entry.CareOfAddress);
        if (protect)
        {
            // 106
            if (!_routeAssociations.TryGetValue(entry.Peer, out var association) || _esp.TryProtect(association, wire, _now, out wire) != DropReason.None)
            {
                _out.Count(GuestCounters.NoAssociationOut);
                return true;
            }
        }

        var mtu = PathMtu(link, entry.CareOfAddress, entry.Peer);
        if (Segmentation.LongestOf(wire, segmentSize) > mtu)
        {
            var longest = mtu - (wire.Length - packet.Length);
            if (longest < IcmpMtu.Least)
            {
                return false;
            }

            TellTooBig(packet, entry.Peer, longest);
            return true;
        }

        SendOn(link, wire, segmentSize);
        return true;
    }

    /// <summary>Steps 110 (L8, L10) and 111 (L6), then 107.</summary>
    private void SendThrough(TunnelInformation tunnel, AccessLink link, ReadOnlyMemory<byte> packet, bool protect, int segmentSize)
    {
        var mtu = PathMtu(link, tunnel.CareOfAddress, tunnel.HomeAgent);
        var fits = protect ? _tunnelEsp.LongestWithin(HomeTunnel, packet.Span, _options.KeepMobileHeader, mtu) : mtu - IPv6Header.Length;
        if (fits is not { } longest)
        {
            _out.Count(GuestCounters.NoAssociationOut);
            return;
        }

        if (Segmentation.LongestOf(packet.Span, segmentSize) > Math.Max(longest, IcmpMtu.Least))
        {
            TellTooBig(packet, tunnel.HomeAgent, Math.Max(longest, IcmpMtu.Least));
            return;
        }

        byte[] wire;
        if (!protect)
        {
            wire = Ipv6Tunnel.Encapsulate(packet.Span, tunnel.CareOfAddress, tunnel.HomeAgent, TunnelHopLimit);
        }
        else if (_tunnelEsp.TryProtect(HomeTunnel, packet.Span, tunnel.CareOfAddress, tunnel.HomeAgent, _options.KeepMobileHeader, _now, out wire) is var drop and not DropReason.None)
        {
            _out.Count(GuestCounters.NoAssociationOut);
            _out.Count($"terminal.esp.unsent.{drop}");
            return;
        }

        if (Segmentation.LongestOf(wire, segmentSize) <= mtu)
        {
            SendOn(link, wire, segmentSize);
            return;
        }

        if (segmentSize > 0)
        {
            foreach (var segment in Segmentation.Cut(packet, segmentSize))
            {
                SendThrough(tunnel, link, segment, protect, 0);
            }

            return;
        }

        var cut = new byte[wire.Length + 256];
        var (written, _) = IPv6Fragmenter.Cut(wire, mtu, ++_fragments, cut);
        for (ReadOnlyMemory<byte> rest = cut.AsMemory(0, written); rest.Length > 0;)
        {
            var length = IPv6Header.Length + System.Buffers.Binary.BinaryPrimitives.ReadUInt16BigEndian(rest.Span[4..]);
            SendOn(link, rest[..length]);
            rest = rest[length..];
        }
    }

    /// <summary>Octets that a packet from this address to that one may have; what leaves from the regional address takes another header to the anchor point.</summary>
    private int PathMtu(AccessLink link, IPAddress source, IPAddress destination) => AnchorTunnel(source) is { } outer && !LeavesDirectly(source, destination)
        ? link.Host.MtuTo(outer.RemoteGateway, _now) - (_anchors?.ProtectsData(outer.RemoteGateway) == true ? AnchorSecurity.TunnelOverhead : IPv6Header.Length)
        : link.Host.MtuTo(destination, _now);

    /// <summary>R73 and RFC 8201: the sender on the host learns what fits.</summary>
    private void TellTooBig(ReadOnlyMemory<byte> packet, IPAddress from, int mtu)
    {
        _out.Count("terminal.tunnel.too_big");
        var offending = IpPacket.OfChecked(packet.Span);
        if (IcmpError.MayAnswer(offending, packetTooBig: true))
        {
            var answer = new byte[IcmpError.MaximumIPv6];
            ToHost(answer.AsMemory(0, IcmpError.WriteTooBig(offending, from.GetAddressBytes(), mtu, answer)));
        }
    }

    /// <summary>Whoever has the far end of the tunnel is being told of another near end.</summary>
    private bool IsMoving => (_tables.TunnelOf(_home?.HomeAddress) is { } tunnel && Leaves(_mobile.HomeRegistration, tunnel.CareOfAddress))
        || (_local?.RegionalAddress is { } regional && AnchorTunnel(regional) is { } outer && Leaves(_local.Registration, outer.LocalGateway));

    private static bool Leaves(BindingUpdateListEntry? entry, IPAddress place) => entry is { State: BindingUpdateState.Temporary, Lifetime: > 0, RetransmitAt: not null } && !entry.CareOfAddress.Equals(place);

    /// <summary>What waited for an answer goes when there is one, whatever it is.</summary>
    private void ReleaseMoved()
    {
        var moving = IsMoving;
        if (_moving && !moving)
        {
            Release();
        }

        _moving = moving;
    }

    private void Hold(ReadOnlyMemory<byte> packet)
    {
        if (_held.Count >= _options.HeldPackets)
        {
            _held.Dequeue();
            _out.Count(GuestCounters.NoTunnel);
        }

        _out.Count("terminal.host.held");
        _held.Enqueue((_now, packet));
    }

    private void Release()
    {
        DropHeld();
        for (var waiting = _held.Count; waiting > 0; waiting--)
        {
            Route(_held.Dequeue().Packet);
        }
    }

    /// <summary>Step 112 for what has waited in vain.</summary>
    private void DropHeld()
    {
        while (HeldUntil <= _now)
        {
            _held.Dequeue();
            _out.Count(GuestCounters.NoTunnel);
        }
    }

    /// <summary>Traffic with a peer that is to be spoken to by the short way has the mobile node ask for it (RFC 6275 11.6), at most once a minute.</summary>
    private void Optimise(IPAddress peer)
    {
        if (!_options.RouteOptimisation.Any(p => p.Contains(peer)) || _mobile.IsOptimising(peer) || _scenarios.NumberFor(new ScenarioTrigger(ControlPeer.Correspondent)) is null
            || (_optimised.TryGetValue(peer, out var last) && _now - last < s_optimiseAgain))
        {
            return;
        }

        if (_optimised.Count >= GuestTables.MaximumCorrespondents)
        {
            _optimised.Remove(_optimised.MinBy(o => o.Value).Key);
        }

        _optimised[peer] = _now;
        Tell(_mobile, new OptimiseRoute(peer));
    }
}
