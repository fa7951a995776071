using System.Net;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Sojourn.Wire.Udp;

namespace Sojourn.Engine.Terminal;

/// <summary>Access links: which one counts, what comes from them, what goes to them.</summary>
public sealed partial class TerminalNode
{
    private DateTimeOffset? _brokenAt, _careOfAt;
    private int _usable;

    private AccessLink? FindLink(string name) => _links.Find(link => link.Interface == name);

    private void TellActive(EngineInput input)
    {
        if (_active is not null)
        {
            Tell(_active.Host, input);
        }
    }

    /// <summary>
    /// An address others can reach the terminal by on this link; null without router or address. With the M flag it is the server's
    /// (TA1.102); one that the terminal formed itself counts there only while no server gives any.
    /// </summary>
    private IPAddress? CareOfOn(AccessLink link) => link.Configured is { Up: true, Routers.Count: > 0 } configured
        ? configured.Addresses.FirstOrDefault(a => a.Usable && a.ValidUntil > _now && !a.Address.Equals(_home?.HomeAddress) && IPv6Octets.IsUnicastRoutable(a.Address) && MayUse(link, a.Address))?.Address
        : null;

    private bool MayUse(AccessLink link, IPAddress address) =>
        link is not { Configured.Managed: true, LeaseUnavailable: false } || address.Equals(link.Leased) || address.IsIPv6LinkLocal || address.Equals(_home?.HomeAddress);

    /// <summary>The link as the mobile node is to see it.</summary>
    private LinkConfigured Seen(AccessLink link) => link.Configured! with
    {
        Interface = AnyLink,
        Up = link is { Admitted: true, Configured.Up: true },
        Addresses = [.. link.Configured!.Addresses.Where(a => MayUse(link, a.Address))],
    };

    private bool IsHomeLink(AccessLink link) => _home is not null && link.Configured is { Up: true } configured && configured.Prefixes.Any(p => p.Contains(_home.HomeAddress));

    private void OnConfigured(LinkConfigured configured)
    {
        var link = FindLink(configured.Interface)!;
        link.Configured = configured;
        Configure(link);
        Choose(link);
    }

    private void Choose(AccessLink link)
    {
        var before = _active;
        foreach (var one in _links)
        {
            one.Usable = !IsHomeLink(one) && CareOfOn(one) is null ? 0 : one.Usable == 0 ? ++_usable : one.Usable;
        }

        var usable = _options.LinkPreference == LinkPreference.Newest ? _links.Where(l => l.Usable > 0).OrderByDescending(l => l.Usable) : _links.Where(l => l.Usable > 0);
        _active = usable.FirstOrDefault(l => l.Admitted) ?? usable.FirstOrDefault() ?? (_active is { Configured.Up: true } ? _active : null);
        if (_active != before)
        {
            _brokenAt ??= _now;
            Say("terminal.link", EventSeverity.Information, _active is null ? "no access link has a router" : $"{_active.Interface} is the access link", "TA0.2");
        }

        if (_active is null || CareOfOn(_active) is null)
        {
            _trouble = "there is no access link with a router and an address";
            _careOfAt = null;
        }
        else if (_brokenAt is not null)
        {
            _careOfAt ??= _now;
        }

        if (_active is not null ? link == _active || _active != before : before is not null)
        {
            ReportLink(_active is null ? Seen(link) with { Up = false } : Seen(_active));
            LinkSeen(_active != before);
        }
    }

    /// <summary>The link that has this address, or the one that counts.</summary>
    private AccessLink? LinkOf(IPAddress source) => _links.Find(link => link.Holds(source)) ?? _active;

    /// <param name="segmentSize">See <see cref="Segmentation"/>.</param>
    private void SendOn(AccessLink? link, ReadOnlyMemory<byte> packet, int segmentSize = 0)
    {
        var source = IPv6Octets.Read(packet.Span[8..]);
        if (source.Equals(_local?.RegionalAddress))
        {
            if (segmentSize > 0)
            {
                foreach (var segment in Segmentation.Cut(packet, segmentSize))
                {
                    SendOn(link, segment);
                }

                return;
            }

            (link, packet) = ToAnchor(source, packet);
        }

        if (link is null)
        {
            _out.Count("terminal.no_link");
            return;
        }

        Tell(link.Host, new SendFromHost(packet) { SegmentSize = segmentSize });
    }

    /// <summary>A packet of the mobile node: under its association, or not at all. A home test goes the way of applications' packets, with a policy of its own (SP2).</summary>
    private void SendSignalling(SendIpv6Packet sent)
    {
        var packet = sent.Packet;
        if (sent.TunnelTo is not null)
        {
            Route(packet);
            return;
        }

        packet = FromOnLink(packet);
        if (sent.Under is { } association)
        {
            var esp = _anchors?.Signalling.Has(association) == true ? _anchors.Signalling : _esp;
            var drop = esp.TryProtect(association, packet.Span, _now, out var wire);
            if (drop != DropReason.None)
            {
                _out.Count($"terminal.esp.unsent.{drop}");
                return;
            }

            packet = wire;
        }

        SendOn(LinkOf(IPv6Octets.Read(packet.Span[8..])), packet);
    }

    private void SendUdp(SendDatagram datagram)
    {
        var (source, link) = (datagram.Source.Address, datagram.Interface is null or AnyLink ? null : FindLink(datagram.Interface));
        link ??= source.Equals(IPAddress.IPv6Any) ? _active : LinkOf(source);
        if (source.Equals(IPAddress.IPv6Any))
        {
            // DHCPv6: the client speaks from its link-local address (RFC 8415 13.1).
            source = link?.Configured?.Addresses.FirstOrDefault(a => a.Usable && a.Address.IsIPv6LinkLocal)?.Address ?? source;
        }

        var payload = new byte[UdpHeader.HeaderLength + datagram.Payload.Length];
        datagram.Payload.Span.CopyTo(payload.AsSpan(UdpHeader.HeaderLength));
        UdpHeader.Write(payload, (ushort)datagram.Source.Port, (ushort)datagram.Destination.Port);
        UdpHeader.WriteChecksum(payload, source.GetAddressBytes(), datagram.Destination.Address.GetAddressBytes());
        var destination = new IPAddress(datagram.Destination.Address.GetAddressBytes());
        SendOn(link, new MobileIpv6Packet { Source = source, Destination = destination, Protocol = IpProtocol.Udp, Payload = payload }.ToArray());
    }
}
