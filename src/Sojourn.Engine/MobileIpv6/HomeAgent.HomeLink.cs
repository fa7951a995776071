using System.Net;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>Answers for mobile nodes on the home link: RFC 6275 10.4.1, with duplicate address detection of 10.3.1.</summary>
public sealed partial class HomeAgent
{
    /// <summary>RetransTimer of RFC 4861, DupAddrDetectTransmits 1 of RFC 4862.</summary>
    public static readonly TimeSpan DuplicateTestTime = TimeSpan.FromSeconds(1);

    private static readonly IPAddress s_allNodes = IPAddress.Parse("ff02::1");

    private void TestForDuplicate(IPAddress home, EffectSink effects)
    {
        // From the unspecified address and without an option: the question of a node that would like to have the address.
        var destination = NeighborSolicitation.SolicitedNodeAddress(home);
        SendOnHomeLink(new NeighborSolicitation(home), IPAddress.IPv6Any, destination, effects);
    }

    /// <summary>The gratuitous advertisement: from now on packets for the home address come here (spec TA0.3).</summary>
    private void AnswerForEverybody(BindingCacheEntry entry, EffectSink effects)
    {
        foreach (var address in Defended(entry))
        {
            SendOnHomeLink(Advertisement(address, NeighborAdvertisementFlags.Override), _options.HomeLinkLocal!, s_allNodes, effects);
        }
    }

    /// <summary>The home address and, with the L bit, the link-local address of the same interface identifier.</summary>
    private static IEnumerable<IPAddress> Defended(BindingCacheEntry entry) => entry.Flags.HasFlag(BindingUpdateFlags.LinkLocalCompatible) ? [entry.HomeAddress, LinkLocalOf(entry.HomeAddress)] : [entry.HomeAddress];

    private static IPAddress LinkLocalOf(IPAddress home)
    {
        var octets = home.GetAddressBytes();
        octets.AsSpan(0, 8).Clear();
        octets[0] = 0xFE;
        octets[1] = 0x80;
        return new IPAddress(octets);
    }

    private NeighborAdvertisement Advertisement(IPAddress target, NeighborAdvertisementFlags flags) =>
        new(flags, target) { Options = NeighborDiscoveryOptions.Of(new LinkLayerAddressOption(true, _options.HomeLinkAddress!.Value.ToArray())) };

    private void OnNeighborSolicitation(MobileIpv6Packet packet, NeighborSolicitation solicitation, Ipv6PacketReceived received, DateTimeOffset now, EffectSink effects)
    {
        var fromNowhere = packet.Source.Equals(IPAddress.IPv6Any);
        if (fromNowhere && _pending.TryGetValue(solicitation.Target, out _) && received.LinkSource != _options.HomeLinkAddress)
        {
            // Somebody else is about to take the very address (RFC 4862 5.4.3).
            RefuseDuplicate(solicitation.Target, effects);
            return;
        }

        if (solicitation.Target.Equals(_options.Address))
        {
            // Its own address, which no kernel answers for: as a router, and the last word about it (RFC 4861 7.2.4).
            AnswerSolicitation(solicitation.Target, packet, received, NeighborAdvertisementFlags.Router | NeighborAdvertisementFlags.Override, effects);
            return;
        }

        var served = solicitation.Target.IsIPv6LinkLocal
            ? Bindings.FirstOrDefault(e => e.Flags.HasFlag(BindingUpdateFlags.LinkLocalCompatible) && LinkLocalOf(e.HomeAddress).Equals(solicitation.Target))
            : _cache.GetValueOrDefault(solicitation.Target);
        if (served is null or { Deleted: true } || PrefixOf(served.HomeAddress, now) is not { OnLink: true })
        {
            return;
        }

        // A proxy does not override what the owner itself might say (RFC 4861 7.2.8); who tests for duplicates is answered for all to hear.
        effects.Count("mip6.ha.proxied");
        AnswerSolicitation(solicitation.Target, packet, received, NeighborAdvertisementFlags.None, effects);
    }

    private void AnswerSolicitation(IPAddress target, MobileIpv6Packet packet, Ipv6PacketReceived received, NeighborAdvertisementFlags flags, EffectSink effects)
    {
        var fromNowhere = packet.Source.Equals(IPAddress.IPv6Any);
        SendOnHomeLink(
            Advertisement(target, fromNowhere ? flags : flags | NeighborAdvertisementFlags.Solicited), _options.HomeLinkLocal!, fromNowhere ? s_allNodes : packet.Source, effects, fromNowhere ? null : received.LinkSource);
    }

    private void OnNeighborAdvertisement(NeighborAdvertisement advertisement, EffectSink effects)
    {
        if (_pending.ContainsKey(advertisement.Target))
        {
            RefuseDuplicate(advertisement.Target, effects);
        }
    }

    private void RefuseDuplicate(IPAddress home, EffectSink effects)
    {
        _pending.Remove(home, out var registration);
        Answer(BindingStatus.DuplicateAddressDetectionFailed, registration!.Received, registration.Received.Update.SequenceNumber, 0, effects);
    }

    private void SendOnHomeLink(Icmpv6Message message, IPAddress source, IPAddress destination, EffectSink effects, LinkAddress? link = null) => effects.Emit(new SendIpv6Packet(
        new MobileIpv6Packet
        {
            Source = source,
            Destination = destination,
            HopLimit = Icmpv6Limits.NeighborDiscoveryHopLimit,
            Protocol = IpProtocol.Icmpv6,
            Payload = message.ToArray(source, destination),
        }.ToArray(), null, _options.HomeInterface, destination.IsIPv6Multicast ? LinkAddress.OfGroup(destination) : link));
}
