using System.Net;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Ipv6Host;

/// <summary>What comes in from the link.</summary>
public sealed partial class Ipv6Host
{
    /// <summary>Shorter valid lifetimes than this are taken only from who may be trusted (RFC 4862 5.5.3 e).</summary>
    private static readonly TimeSpan s_twoHours = TimeSpan.FromHours(2);

    private void OnPacket(MobileIpv6.Ipv6PacketReceived received, DateTimeOffset now, EffectSink effects)
    {
        if (received.LinkSource == _options.LinkAddress)
        {
            return;
        }

        if (!IPv6Header.TryParse(received.Packet.Span, out var header, out _))
        {
            effects.Count("ipv6.malformed");
            return;
        }

        var destination = header.DestinationAddress;
        if (!destination.IsIPv6Multicast && !_addresses.ContainsKey(destination))
        {
            effects.Count("ipv6.not_for_us");
            return;
        }

        if (header.NextHeader != IpProtocol.Icmpv6)
        {
            Deliver(destination, received, effects);
            return;
        }

        if (!MobileIpv6Packet.TryParse(received.Packet.Span, out var packet, out _) || !Icmpv6Message.ChecksumIsRight(packet.Payload.Span, packet.Source, destination)
            || !Icmpv6Message.TryParse(packet.Payload.Span, out var message, out _))
        {
            effects.Count("ipv6.malformed");
            return;
        }

        if (message is RouterSolicitation or RouterAdvertisement or NeighborSolicitation or NeighborAdvertisement or Redirect)
        {
            var near = packet.HopLimit == Icmpv6Limits.NeighborDiscoveryHopLimit;
            effects.Count(near ? "ipv6.neighbour_discovery" : "ipv6.neighbour_discovery_from_afar");
            if (!near)
            {
                return;
            }
        }

        switch (message)
        {
            case RouterAdvertisement advertisement when packet.Source.IsIPv6LinkLocal:
                OnRouterAdvertisement(packet, advertisement, NeighborCache.LinkOf(advertisement.Options.SourceLinkLayerAddress) ?? received.LinkSource, now, effects);
                break;
            case NeighborSolicitation solicitation:
                OnSolicitation(packet, solicitation, received.LinkSource, now, effects);
                break;
            case NeighborAdvertisement advertisement:
                OnAdvertisement(advertisement, now, effects);
                break;
            case RouterSolicitation or RouterAdvertisement or Redirect:
                break;
            case Echo { IsReply: false } echo when !destination.IsIPv6Multicast:
                Reply(packet, echo, now, effects);
                break;
            case Icmpv6Error { Type: Icmpv6MessageType.PacketTooBig } error:
                OnTooBig(error, now, effects);
                Deliver(destination, received, effects);
                break;
            default:
                Deliver(destination, received, effects);
                break;
        }
    }

    private void Deliver(IPAddress destination, MobileIpv6.Ipv6PacketReceived received, EffectSink effects)
    {
        // A plain tentative address receives nothing yet (RFC 4862 5.4).
        if (destination.IsIPv6Multicast || _options.Optimistic || _addresses[destination].TestedAt is null)
        {
            effects.Emit(new DeliverIpv6Packet(received.Packet, _options.Interface) { SegmentSize = received.SegmentSize });
        }
        else
        {
            effects.Count("ipv6.address_tentative");
        }
    }

    private void Reply(MobileIpv6Packet packet, Echo echo, DateTimeOffset now, EffectSink effects)
    {
        if (IPv6Octets.IsUnicastRoutable(packet.Source) || packet.Source.IsIPv6LinkLocal)
        {
            var reply = packet with { Source = packet.Destination, Destination = packet.Source, HopLimit = _hopLimit, Payload = (echo with { IsReply = true }).ToArray(packet.Destination, packet.Source) };
            Send(reply.ToArray(), now, effects);
        }
        else
        {
            effects.Count("ipv6.echo_unanswered");
        }
    }

    private void OnSolicitation(MobileIpv6Packet packet, NeighborSolicitation solicitation, LinkAddress? link, DateTimeOffset now, EffectSink effects)
    {
        var testing = packet.Source.Equals(IPAddress.IPv6Any);
        if (_addresses.TryGetValue(solicitation.Target, out var own))
        {
            if (testing)
            {
                if (own.TestedAt is not null)
                {
                    Collide(own, now, effects);
                }
                else
                {
                    Advertise(own.Address, NeighborAdvertisementFlags.Override, s_allNodes, effects);
                }

                return;
            }

            if (own.TestedAt is not null && !_options.Optimistic)
            {
                return;
            }

            if ((NeighborCache.LinkOf(solicitation.Options.SourceLinkLayerAddress) ?? link) is { } asker)
            {
                if (solicitation.Options.SourceLinkLayerAddress is not null)
                {
                    _neighbors.Hint(packet.Source, asker, now, effects);
                }

                Advertise(own.Address, NeighborAdvertisementFlags.Solicited | NeighborAdvertisementFlags.Override, packet.Source, effects, asker);
            }
        }
    }

    private void OnAdvertisement(NeighborAdvertisement advertisement, DateTimeOffset now, EffectSink effects)
    {
        if (_addresses.TryGetValue(advertisement.Target, out var own))
        {
            // Once an address is assigned, an advertisement of it by others does not take it away; a home agent's proxy says such
            // things while its mobile node comes home (RFC 6275 11.5.5).
            if (own.TestedAt is not null)
            {
                Collide(own, now, effects);
            }

            return;
        }

        _neighbors.Advertised(advertisement, now, effects);
    }

    private void OnTooBig(Icmpv6Error error, DateTimeOffset now, EffectSink effects)
    {
        // Only about a packet this host may have sent, and never below the least MTU there is (RFC 8201 4).
        var quoted = error.Quoted.Span;
        if (quoted.Length < IPv6Header.Length || quoted[0] >> 4 != 6 || !_addresses.ContainsKey(IPv6Octets.Read(quoted[8..])) || error.Parameter < IcmpMtu.Least)
        {
            effects.Count("ipv6.too_big_ignored");
            return;
        }

        var destination = IPv6Octets.Read(quoted[24..]);
        if (error.Parameter >= MtuTo(destination, now))
        {
            return;
        }

        if (_pathMtus.Count >= _options.MaximumPathMtus && !_pathMtus.ContainsKey(destination))
        {
            _pathMtus.Remove(_pathMtus.MinBy(p => p.Value.Until).Key);
        }

        _pathMtus[destination] = ((int)error.Parameter, now + s_pathMtuTime);
    }

    private void OnRouterAdvertisement(MobileIpv6Packet packet, RouterAdvertisement advertisement, LinkAddress? link, DateTimeOffset now, EffectSink effects)
    {
        var prefixes = advertisement.Options.OfType<PrefixInformationOption>().Where(p => p.ValidLifetime > 0).Select(p => p.Prefix).ToHashSet();
        var stranger = _prefixes.Count > 0 && prefixes.Count > 0 && !prefixes.Any(_prefixes.ContainsKey);
        if (stranger && _unsure)
        {
            effects.Count("ipv6.moved");
            LeaveLink();
        }
        else if (stranger && _routers.Count > 0)
        {
            _foreign = (packet, advertisement, link);
            foreach (var router in _routers.Keys)
            {
                _neighbors.Probe(router, now, effects);
            }

            return;
        }

        Configure(packet, advertisement, link, now, effects);
    }

    private void Configure(MobileIpv6Packet packet, RouterAdvertisement advertisement, LinkAddress? link, DateTimeOffset now, EffectSink effects)
    {
        if (_unsure)
        {
            // The link is the same as before; its routers may have missed the host meanwhile.
            (_changed, _unsure) = (true, false);
            foreach (var own in _addresses.Values.Where(own => own.ValidUntil > now && (own.TestedAt is null || _options.Optimistic)))
            {
                TellRouters(own.Address, effects);
            }
        }

        _nextSolicitation = null;
        if (link is { } address)
        {
            _neighbors.Hint(packet.Source, address, now, effects);
        }

        if (advertisement.RouterLifetime == 0)
        {
            _changed |= _routers.Remove(packet.Source);
        }
        else if (_routers.TryGetValue(packet.Source, out var before) || _routers.Count < _options.MaximumRouters)
        {
            var interval = advertisement.Options.Find<AdvertisementIntervalOption>();
            DateTimeOffset? silent = interval is { Milliseconds: > 0 } ? now + TimeSpan.FromMilliseconds(3.0 * interval.Milliseconds) : null;
            _routers[packet.Source] = new Router(packet.Source, advertisement, now + TimeSpan.FromSeconds(advertisement.RouterLifetime), silent);
            _changed |= before is null || before.Advertisement != advertisement;
        }

        if (advertisement.CurrentHopLimit != 0)
        {
            _hopLimit = advertisement.CurrentHopLimit;
        }

        if (advertisement.ReachableTime is > 0 and <= 3_600_000)
        {
            _neighbors.ReachableTime = TimeSpan.FromMilliseconds(advertisement.ReachableTime);
        }

        if (advertisement.Options.Find<MtuOption>() is { Mtu: >= IcmpMtu.Least } mtu && mtu.Mtu <= _options.Mtu)
        {
            _mtu = (int)mtu.Mtu;
        }

        foreach (var prefix in advertisement.Options.OfType<PrefixInformationOption>())
        {
            Configure(prefix, now, effects);
        }
    }

    private void Configure(PrefixInformationOption option, DateTimeOffset now, EffectSink effects)
    {
        var prefix = option.Prefix;
        if (prefix.BaseAddress.IsIPv6LinkLocal || prefix.BaseAddress.IsIPv6Multicast || option.PreferredLifetime > option.ValidLifetime)
        {
            return;
        }

        var valid = Until(option.ValidLifetime, now);
        if (option.ValidLifetime == 0)
        {
            _changed |= _prefixes.Remove(prefix);
        }
        else if (_prefixes.ContainsKey(prefix) || _prefixes.Count < _options.MaximumAddresses)
        {
            _changed |= !_prefixes.ContainsKey(prefix);
            _prefixes[prefix] = new OnLinkPrefix(prefix, option.Has(PrefixInformationFlags.OnLink), valid);
        }

        if (!option.Has(PrefixInformationFlags.Autonomous) || prefix.PrefixLength != 64)
        {
            return;
        }

        if (_addresses.Values.FirstOrDefault(a => a.Prefix == prefix) is { } known)
        {
            var left = known.ValidUntil - now;
            var renewed = valid > known.ValidUntil || valid - now > s_twoHours ? valid : left <= s_twoHours ? known.ValidUntil : now + s_twoHours;
            Add(known.Address, prefix, Until(option.PreferredLifetime, now), renewed, true, now, effects);
        }
        else if (option.ValidLifetime > 0)
        {
            Add(AddressIn(prefix, 0), prefix, Until(option.PreferredLifetime, now), valid, true, now, effects);
        }
    }

    private static DateTimeOffset Until(uint seconds, DateTimeOffset now) => seconds == PrefixInformationOption.Infinite ? DateTimeOffset.MaxValue : now + TimeSpan.FromSeconds(seconds);
}

/// <summary>Bounds of path MTU.</summary>
internal static class IcmpMtu
{
    /// <summary>RFC 8200 5.</summary>
    public const int Least = 1280;
}
