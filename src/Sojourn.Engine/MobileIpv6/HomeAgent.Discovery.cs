using System.Net;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>Home agent address discovery (RFC 6275 10.5) and prefixes for mobile nodes (10.6).</summary>
public sealed partial class HomeAgent
{
    /// <summary>PREFIX_ADV_TIMEOUT and PREFIX_ADV_RETRIES (RFC 6275 12).</summary>
    private static readonly TimeSpan s_advertisementTimeout = TimeSpan.FromSeconds(3);

    private const int AdvertisementRetries = 3;

    /// <summary>An advertisement nobody has confirmed yet.</summary>
    private sealed record UnconfirmedAdvertisement(ushort Identifier, int Sent, DateTimeOffset Next);

    /// <summary>Another home agent of the link, from its advertisements (RFC 6275 10.5.1).</summary>
    private sealed record KnownHomeAgent(IPAddress Address, ushort Preference, bool MobileRouters, DateTimeOffset Expires);

    private readonly Dictionary<IPAddress, UnconfirmedAdvertisement> _advertised = [];
    private readonly Dictionary<IPAddress, KnownHomeAgent> _homeAgents = [];

    private void OnIcmp(MobileIpv6Packet packet, Ipv6PacketReceived received, DateTimeOffset now, EffectSink effects)
    {
        if (!Icmpv6Message.ChecksumIsRight(packet.Payload.Span, packet.EffectiveSource, packet.EffectiveDestination))
        {
            Discard("checksum", "RFC 4443 2.3", $"an ICMPv6 message of {packet.Source} has a wrong checksum", effects);
            return;
        }

        if (!Icmpv6Message.TryParse(packet.Payload.Span, out var message, out var error))
        {
            Discard("malformed", "RFC 4443", error.ToString(), effects);
            return;
        }

        var onLink = received.Interface is not null && received.Interface == _options.HomeInterface && packet.HopLimit == Icmpv6Limits.NeighborDiscoveryHopLimit && packet.HomeAddress is null;
        switch (message)
        {
            case HomeAgentAddressDiscoveryRequest request:
                OnDiscovery(packet, request, now, effects);
                break;
            case MobilePrefixSolicitation solicitation:
                OnPrefixSolicitation(packet, solicitation, received, now, effects);
                break;
            case NeighborSolicitation solicitation when onLink:
                OnNeighborSolicitation(packet, solicitation, received, now, effects);
                break;
            case NeighborAdvertisement advertisement when onLink:
                OnNeighborAdvertisement(advertisement, effects);
                break;
            case RouterAdvertisement advertisement when onLink:
                OnRouterAdvertisement(packet, advertisement, now);
                break;
            default:
                effects.Count("mip6.ha.discarded.not_for_a_home_agent");
                break;
        }
    }

    /// <summary>RFC 6275 10.5.1: a router with the H bit is a home agent of its address with the R flag, as long as it says.</summary>
    private void OnRouterAdvertisement(MobileIpv6Packet packet, RouterAdvertisement advertisement, DateTimeOffset now)
    {
        if (!packet.Source.IsIPv6LinkLocal)
        {
            return;
        }

        var information = advertisement.Options.Find<HomeAgentInformationOption>();
        var lifetime = advertisement.Has(RouterAdvertisementFlags.HomeAgent) ? information?.Lifetime ?? advertisement.RouterLifetime : 0;
        foreach (var prefix in advertisement.Options.OfType<PrefixInformationOption>().Where(p => p.Has(PrefixInformationFlags.RouterAddress) && IPv6Octets.IsUnicastRoutable(p.Address)))
        {
            if (lifetime == 0 || prefix.Address.Equals(_options.Address))
            {
                _homeAgents.Remove(prefix.Address);
                continue;
            }

            foreach (var expired in _homeAgents.Values.Where(a => a.Expires <= now).ToList())
            {
                _homeAgents.Remove(expired.Address);
            }

            if (_homeAgents.ContainsKey(prefix.Address) || _homeAgents.Count < _options.MaximumHomeAgents)
            {
                _homeAgents[prefix.Address] = new KnownHomeAgent(prefix.Address, information?.Preference ?? 0, information?.MobileRouters ?? false, now + TimeSpan.FromSeconds(lifetime));
            }
        }
    }

    private void OnDiscovery(MobileIpv6Packet packet, HomeAgentAddressDiscoveryRequest request, DateTimeOffset now, EffectSink effects)
    {
        // The anycast address of a prefix served here, or of a /64 in it that one mobile node has for itself (spec TA-M68).
        var asked = packet.Destination;
        if (PrefixOf(asked, now) is not { } prefix || packet.HomeAddress is not null || !IPv6Octets.IsUnicastRoutable(packet.Source)
            || !(asked.Equals(HomeAgentAddressDiscoveryRequest.AnycastAddress(prefix.Prefix)) || (prefix.Prefix.PrefixLength < 64 && asked.Equals(HomeAgentAddressDiscoveryRequest.AnycastAddress(new PrefixInformationOption(asked, 64, 0, 0, 0).Prefix)))))
        {
            Discard("discovery", "RFC 6275 10.5", $"a discovery request of {packet.Source} to {packet.Destination}", effects);
            return;
        }

        var servesRouters = _options.MobileNetworks.Count > 0;
        var agents = _homeAgents.Values.Where(a => a.Expires > now && (!request.MobileRouter || a.MobileRouters)).Select(a => (a.Preference, a.Address))
            .Concat(_options.OtherHomeAgents.Select(a => (a.Preference, a.Address))).DistinctBy(a => a.Address)
            .Append((_options.Preference, _options.Address))
            .OrderByDescending(a => a.Item1).ThenByDescending(a => a.Item2.Equals(_options.Address)).Take(Icmpv6Limits.HomeAgents).Select(a => a.Item2).ToArray();
        effects.Count("mip6.ha.discovered");
        var reply = new HomeAgentAddressDiscoveryReply(request.Identifier, agents) { MobileRouter = request.MobileRouter && servesRouters };
        effects.Emit(new SendIpv6Packet(new MobileIpv6Packet
        {
            Source = _options.Address,
            Destination = packet.Source,
            Protocol = IpProtocol.Icmpv6,
            Payload = reply.ToArray(_options.Address, packet.Source),
        }.ToArray()));
    }

    private void OnPrefixSolicitation(MobileIpv6Packet packet, MobilePrefixSolicitation solicitation, Ipv6PacketReceived received, DateTimeOffset now, EffectSink effects)
    {
        var home = packet.EffectiveSource;
        if (!packet.Destination.Equals(_options.Address))
        {
            Discard("wrong_selector", "TA-R72", $"a prefix solicitation of {home} to {packet.Destination}", effects);
            return;
        }

        if (_protection.Refuse(home, received.Under, prefixDiscovery: true, out _) is { } refusal)
        {
            Discard(refusal.Why, refusal.Rule, $"a prefix solicitation of {home} from {packet.Source}", effects);
            return;
        }

        if (!_cache.TryGetValue(home, out var entry) || entry.Deleted)
        {
            Discard("no_binding", "RFC 6275 10.6", $"a prefix solicitation of {home}", effects);
            return;
        }

        _advertised.Remove(home);
        if (MayAnswer(home, packet.Source, solicitation.Identifier, now, effects))
        {
            Advertise(entry, packet.Source, solicitation.Identifier, now, effects);
        }
    }

    private void OnAdvertise(IReadOnlyList<IPAddress> homes, DateTimeOffset now, EffectSink effects)
    {
        foreach (var home in homes)
        {
            if (_cache.TryGetValue(home, out var entry) && !entry.Deleted)
            {
                var identifier = (ushort)_random.NextUInt32();
                _advertised[home] = new UnconfirmedAdvertisement(identifier, 1, now + s_advertisementTimeout);
                Advertise(entry, entry.CareOfAddress, identifier, now, effects);
            }
        }
    }

    private void RepeatAdvertisements(DateTimeOffset now, EffectSink effects)
    {
        foreach (var (home, waiting) in _advertised.Where(a => a.Value.Next <= now).ToList())
        {
            if (waiting.Sent > AdvertisementRetries || !_cache.TryGetValue(home, out var entry) || entry.Deleted)
            {
                _advertised.Remove(home);
                effects.Count("mip6.ha.prefixes_unconfirmed");
                continue;
            }

            _advertised[home] = waiting with { Sent = waiting.Sent + 1, Next = now + (s_advertisementTimeout * Math.Pow(2, waiting.Sent)) };
            Advertise(entry, entry.CareOfAddress, waiting.Identifier, now, effects);
        }
    }

    private void Advertise(BindingCacheEntry entry, IPAddress destination, ushort identifier, DateTimeOffset now, EffectSink effects)
    {
        if (!_protection.TryFindOutgoing(entry.HomeAddress, prefixDiscovery: true, entry.Association, out var under, out var why))
        {
            effects.Count($"mip6.ha.unsent.{why}");
            return;
        }

        var away = !destination.Equals(entry.HomeAddress);
        var prefixes = _protection.For(entry.HomeAddress)?.Prefix is { } allocated ? [allocated] : _prefixes;
        var advertisement = new MobilePrefixAdvertisement(identifier, MobilePrefixAdvertisementFlags.None)
        {
            Options = NeighborDiscoveryOptions.Of(prefixes.Where(p => p.IsValid(now)).Take(Icmpv6Limits.Options).Select(p => new PrefixInformationOption(
                p.Prefix.BaseAddress, (byte)p.Prefix.PrefixLength, (p.OnLink ? PrefixInformationFlags.OnLink : 0) | PrefixInformationFlags.Autonomous, Seconds(p.ValidUntil - now), Seconds(p.PreferredUntil - now)))),
        };
        effects.Count("mip6.ha.prefixes_sent");
        effects.Emit(new SendIpv6Packet(new MobileIpv6Packet
        {
            Source = _options.Address,
            Destination = destination,
            RoutingHomeAddress = away ? entry.HomeAddress : null,
            Protocol = IpProtocol.Icmpv6,
            Payload = advertisement.ToArray(_options.Address, entry.HomeAddress),
        }.ToArray(), under));
    }

    private static uint Seconds(TimeSpan left) => (uint)Math.Clamp(left.TotalSeconds, 0, PrefixInformationOption.Infinite - 1);
}
