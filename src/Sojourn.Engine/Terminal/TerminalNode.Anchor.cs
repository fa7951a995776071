// Readings:
// - The guest holds both parts: the HMIPv6 part (251) works while a known anchor point is advertised, and Mobile IPv6 is then the host
//   part (252), which sees no other care-of address than the regional one; else the mobile node is part 25. Both sides are one
//   process here, with binding lists, policies and associations apart (TM-M4).
// - What the host part has for a registration type is what it was told last (step 97). A type that changes on the way is one to be told,
//   and has the home agent told anew by the new way.
// - An acknowledgement of the home agent is the host part's own then, and starts no scenario, but where applications see a virtual IPv4 address.
// - Step 604 is carried out when part 23 has done its part, as step 75 is: what is discarded leaves no trace (R26).
// - Types 2 and 3 are about registration and data to the home agent; the key exchange with it takes the tunnel always, as RFC 5380 has it.
//   Where updates remain without answer, which a network that filters sources brings about, the terminal goes on with type 1 (TM-S5).
// - Type 3: an update leaves from the on-link address of the moment, whatever the host part was told.
using System.Net;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal.Scenarios;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Terminal;

/// <summary>Anchor points without access authentication: HMIPv6 in the guest, Mobile IPv6 in the host (spec terminal 5.6, R23 to R25, R93).</summary>
public sealed partial class TerminalNode
{
    private readonly AnchorSecurity? _anchors;

    /// <summary>What the host part knows of the anchor point; null = none is in force.</summary>
    private AnchorRegistration? _atHost;

    /// <summary>What it was handed last; of another type than what it does where that came to nothing.</summary>
    private AnchorRegistration? _handed;

    /// <summary>Three updates without answer.</summary>
    private static readonly TimeSpan s_anchorPatience = TimeSpan.FromSeconds(7);

    /// <summary>An update that was repeated for so long will not be answered by the way it takes.</summary>
    private static readonly TimeSpan s_directWait = TimeSpan.FromSeconds(4);

    /// <summary>What the host part knows of the anchor point in force (step 97).</summary>
    public AnchorRegistration? AnchorAtHost => _atHost;

    private void SecureAnchor(AnchorSecurity anchors, RequestAssociation request)
    {
        if (anchors.Establish(request.HomeAgent, request.HomeAddress, request.CareOfAddress) is { } association)
        {
            Tell(_local!, new AssociationEstablished(association));
        }
    }

    /// <summary>Steps 604 to 607: what stands in the acknowledgement is judged by part 251 and handed to part 23.</summary>
    private void OnAnchorAcknowledgement(MobileIpv6Packet packet, BindingAcknowledgement acknowledgement, Ipv6PacketReceived received)
    {
        var mode = _options.AnchorPoints!.ModeBits ? AnchorModes.Of(_local!.Advertised!.Flags) : _options.AnchorPoints.Mode;
        switch (_local!.Judge(packet, acknowledgement, received.Under))
        {
            case AnswerVerdict.NoEntry:
                Discard(GuestCounters.AnchorInfoFailed, packet, "TM-R23", "95");
                break;
            case AnswerVerdict.PolicyNotMet:
                Discard(GuestCounters.PolicyMismatch, packet, "TM-R33", "74");
                break;
            case AnswerVerdict.NotAskedFor:
                Discard(GuestCounters.SequenceOrCookieBad, packet, "TM-R34", "604");
                break;
            case AnswerVerdict.TakesBack:
                Tell(_local, received);
                break;
            default:
                if (RunScenario(new ScenarioTrigger(ControlPeer.AnchorPoint, (int)mode), packet, received))
                {
                    TellHostPart(received.Packet);
                }
                else
                {
                    _local.Answered();
                }

                break;
        }
    }

    /// <summary>Steps 97, 608 and 609.</summary>
    private void TellHostPart(ReadOnlyMemory<byte> acknowledgement)
    {
        if (_tables.AnchorAtHost is not { } next || next == _handed || HostTrigger.Read(HostTrigger.Write(acknowledgement.Span, next.Mode)) is not { } told)
        {
            return;
        }

        var stays = told.Regional.Equals(_atHost?.Regional);
        (_atHost, _handed) = (told, told);
        Say("anchor.host_told", EventSeverity.Information, $"{told.Regional} at {told.Anchor} is the care-of address, MAP registration type {(int)told.Mode}", "TM-R25");
        ShowLink();
        if (stays)
        {
            Tell(_mobile, new RenewRegistration());
        }
    }

    /// <summary>Without an advertised anchor point the guest is a Mobile IPv6 node as before.</summary>
    private void ForgetAnchor()
    {
        if (_anchors is not null && _local!.Anchor is null)
        {
            _tables.ForgetAnchor();
            (_atHost, _handed) = (null, null);
        }
    }

    /// <summary>The link as the host part may use it: with the regional address it was told of.</summary>
    private LinkConfigured AtHost(LinkConfigured link) => link with { Addresses = [.. link.Addresses.Where(a => a.Address.Equals(_atHost?.Regional))] };

    /// <summary>Part 252 takes an answer to its own update; true when it was its own to take.</summary>
    private bool RegisterAtHost(BindingAcknowledgement acknowledgement, MobileIpv6Packet packet, Ipv6PacketReceived received)
    {
        if (_atHost is null || (_scenarios.NumberFor(new ScenarioTrigger(ControlPeer.HomeAgent)) is { } number && _scenarios.FindValid(number)!.Addressing == HostAddressing.Translated))
        {
            return false;
        }

        if (!acknowledgement.Status.IsAccepted())
        {
            Discard(GuestCounters.StatusRefused, packet, "TM-R26", "R27");
        }
        else if (_tables.TrySetTunnel(packet.Source, packet.Destination, packet.EffectiveDestination))
        {
            _tables.ShowHomeAddress(packet.EffectiveDestination);
        }
        else
        {
            Discard(GuestCounters.TunnelSetFailed, packet, "TM-R26", "91");
            return true;
        }

        Tell(_mobile, received);
        return true;
    }

    /// <summary>Types 2 and 3: what the host part sends to the home agent from the regional address does not take the tunnel to the anchor point .</summary>
    private bool LeavesDirectly(IPAddress source, IPAddress destination) =>
        _atHost is { Mode: not AnchorMode.Tunnelled } told && told.Regional.Equals(source) && destination.Equals(_mobile.HomeAgent);

    /// <summary>R93 on send: after Mobile IPv6, HMIPv6. What comes from the regional address goes through the tunnel to the anchor point, as its type has it, or not at all.</summary>
    private (AccessLink? Link, ReadOnlyMemory<byte> Packet) ToAnchor(IPAddress regional, ReadOnlyMemory<byte> packet)
    {
        if (AnchorTunnel(regional) is not { } tunnel || LinkWith(regional) is not { } link)
        {
            return (null, packet);
        }

        if (packet.Span[6] != IpProtocol.Udp && LeavesDirectly(regional, IPv6Octets.Read(packet.Span[24..])))
        {
            return (link, packet);
        }

        if (_anchors?.ProtectsData(tunnel.RemoteGateway) != true)
        {
            return (link, Ipv6Tunnel.Encapsulate(packet.Span, tunnel.LocalGateway, tunnel.RemoteGateway, TunnelHopLimit));
        }

        if (_anchors.NumberOf(tunnel.RemoteGateway) is { } number
            && _anchors.Data.TryProtect(number, packet.Span, tunnel.LocalGateway, tunnel.RemoteGateway, mobileHeader: false, _now, out var wire) == DropReason.None)
        {
            return (link, wire);
        }

        _out.Count(GuestCounters.NoAssociationOut);
        return (null, packet);
    }

    /// <summary>Type 3 (L25): the host part's update to the home agent leaves from the on-link address. Neither ESP nor checksum covers the source; the Home Address option says whose it is.</summary>
    private ReadOnlyMemory<byte> FromOnLink(ReadOnlyMemory<byte> packet)
    {
        if (_atHost is not { Mode: not AnchorMode.Tunnelled } told || _local!.OnLinkAddress is not { } onLink || !MobileIpv6Packet.TryParse(packet.Span, out var read, out _)
            || read.Protocol != IpProtocol.Mobility || !read.Source.Equals(told.Regional) || !read.Destination.Equals(_mobile.HomeAgent))
        {
            return packet;
        }

        if (_mobile.HomeRegistration is { State: BindingUpdateState.Temporary } entry && entry.Timeout >= s_directWait)
        {
            _atHost = told with { Mode = AnchorMode.Tunnelled };
            Say("anchor.direct_failed", EventSeverity.Warning, $"no answer to updates sent past {told.Anchor}; from now on everything takes the tunnel to it", "TM-S5");
            return packet;
        }

        return told.Mode == AnchorMode.Direct ? (read with { Source = onLink }).ToArray() : packet;
    }

    private void OnProtectedByAnchor(AnchorSecurity anchors, ReadOnlyMemory<byte> packet)
    {
        if (anchors.Signalling.TryOpen(packet.Span, _now, out var opened) is var drop and not DropReason.None)
        {
            CountRefusal(drop);
        }
        else if (MobileIpv6Packet.TryParse(opened.Packet, out var clear, out _) && clear.Protocol == IpProtocol.Mobility)
        {
            OnMobility(clear, opened.Packet, opened.Association, null);
        }
        else
        {
            _out.Count(GuestCounters.PolicyMismatch);
        }
    }

    /// <summary>R93 on receive: the anchor point's ESP comes off first, in the policy database of part 251. Null: it is none of its associations'.</summary>
    private DropReason? OpenOfAnchor(ReadOnlySpan<byte> esp, out ReadOnlyMemory<byte> carried)
    {
        carried = default;
        if (_anchors is null || !Wire.Ipsec.EspHeader.TryParse(esp, out var named, out _) || !_anchors.Data.Knows(named.Spi))
        {
            return null;
        }

        if (_anchors.Data.TryOpen(esp, _now, out var opened) is var drop and not DropReason.None)
        {
            return drop;
        }

        if (!_anchors.Data.Covers(opened.ChildSa, opened.Packet))
        {
            return DropReason.SelectorMismatch;
        }

        carried = opened.Packet;
        return DropReason.None;
    }
}
