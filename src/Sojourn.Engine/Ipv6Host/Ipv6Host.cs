// Readings:
// - After the carrier comes back the host keeps what it has until an advertisement says where it is: one that shares a prefix
//   with what is known means the same link, one that shares none means another (RFC 6275 11.5.1 calls it an L3 handover).
// - Without a carrier event a foreign advertisement may come from a second router of the same link. The router in use is asked
//   first (RFC 6275 11.5.1); only when it does not answer has the host moved.
// - Three missed advertisement intervals are a reason to ask the router, not to give it up.
// - Routers hear of an address as soon as it may be used, and again when the carrier was away (RFC 9131 6): a router that looked for
//   the host meanwhile would look again only after a second. The advertisement never overrides what a router has, and so is as good of
//   an optimistic address (RFC 4429 3.3).
using System.Net;
using System.Security.Cryptography;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Ipv6Host;

/// <summary>
/// An IPv6 host on one interface that needs no kernel (spec terminal TM-M1): neighbour discovery (RFC 4861), address
/// autoconfiguration (RFC 4862) with optimistic duplicate address detection (RFC 4429), router list, path MTU (RFC 8201),
/// echo replies. Frames go in as <see cref="MobileIpv6.Ipv6PacketReceived"/> with their link-layer source and come out as
/// <see cref="MobileIpv6.SendIpv6Packet"/> with their link-layer destination.
/// </summary>
public sealed partial class Ipv6Host : IEngine
{
    private static readonly IPAddress s_allNodes = IPAddress.Parse("ff02::1");
    private static readonly IPAddress s_allRouters = IPAddress.Parse("ff02::2");
    private static readonly IPNetwork s_linkLocal = new(IPAddress.Parse("fe80::"), 64);
    private static readonly TimeSpan s_testTime = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_solicitationInterval = TimeSpan.FromSeconds(4);
    private static readonly TimeSpan s_pathMtuTime = TimeSpan.FromMinutes(10);

    private static readonly TimeSpan s_noticed = TimeSpan.FromSeconds(30);

    private const int RouterSolicitations = 3;
    private const int AddressAttempts = 3;

    private readonly Ipv6HostOptions _options;
    private readonly NeighborCache _neighbors;
    private readonly Dictionary<IPAddress, OwnAddress> _addresses = [];
    private readonly Dictionary<IPAddress, Router> _routers = [];
    private readonly Dictionary<IPNetwork, OnLinkPrefix> _prefixes = [];
    private readonly Dictionary<IPAddress, (int Mtu, DateTimeOffset Until)> _pathMtus = [];
    private (MobileIpv6Packet Packet, RouterAdvertisement Advertisement, LinkAddress? Link)? _foreign;
    private int _mtu;
    private byte _hopLimit = 64;
    private bool _up;
    private bool _unsure;
    private int _epoch;
    private int _solicited;
    private DateTimeOffset? _nextSolicitation;
    private bool _changed;

    public Ipv6Host(Ipv6HostOptions options)
    {
        _options = options;
        _mtu = options.Mtu;
        _neighbors = new NeighborCache(options, Solicit, Transmit);
    }

    private sealed record OwnAddress(IPAddress Address, IPNetwork? Prefix, DateTimeOffset PreferredUntil, DateTimeOffset ValidUntil, DateTimeOffset? TestedAt, int Attempt);

    private sealed record Router(IPAddress Address, RouterAdvertisement Advertisement, DateTimeOffset Until, DateTimeOffset? SilentAt);

    private sealed record OnLinkPrefix(IPNetwork Prefix, bool OnLink, DateTimeOffset ValidUntil);

    public DateTimeOffset? NextDeadline
    {
        get
        {
            if (!_up)
            {
                return null;
            }

            var next = Earlier(_nextSolicitation, _neighbors.NextDeadline);
            foreach (var address in _addresses.Values)
            {
                next = Earlier(Earlier(next, address.TestedAt), Bounded(address.ValidUntil));
            }

            foreach (var router in _routers.Values)
            {
                next = Earlier(Earlier(next, Bounded(router.Until)), router.SilentAt);
            }

            return next;
        }
    }

    /// <summary>Octets of the longest packet to a destination.</summary>
    public int MtuTo(IPAddress destination, DateTimeOffset now) => _pathMtus.TryGetValue(destination, out var path) && path.Until > now ? Math.Min(path.Mtu, _mtu) : _mtu;

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        _changed = false;
        switch (input)
        {
            case LinkChanged link when link.Interface == _options.Interface:
                OnLink(link.Up, now, effects);
                break;
            case MobileIpv6.Ipv6PacketReceived received when _up && received.Interface == _options.Interface:
                OnPacket(received, now, effects);
                break;
            case SendFromHost send when _up:
                Send(send.Packet, now, effects, send.SegmentSize);
                break;
            case AddHostAddress add when _up:
                Add(add.Address, null, add.PreferredUntil, add.ValidUntil, add.Test, now, effects);
                break;
            case RemoveHostAddress remove:
                _changed |= _addresses.Remove(remove.Address);
                break;
            case TestAddressesAgain when _up:
                TestAgain(now, effects);
                break;
            case AnnounceHostAddress announce when _up && _addresses.ContainsKey(announce.Address):
                Advertise(announce.Address, NeighborAdvertisementFlags.Override, s_allNodes, effects);
                break;
            case DeadlineReached when _up:
                OnDeadline(now, effects);
                break;
        }

        if (_changed)
        {
            effects.Emit(Describe(now));
        }
    }

    /// <summary>While the host does not know which link it is on, it has neither routers nor prefixes to offer.</summary>
    private LinkConfigured Describe(DateTimeOffset now)
    {
        Router[] routers = _unsure ? [] : [.. _routers.Values];
        return new LinkConfigured(
            _options.Interface, _up, _epoch,
            [.. _addresses.Values.Where(a => a.ValidUntil > now).Select(a => new HostAddress(a.Address, a.Prefix, a.TestedAt is null || _options.Optimistic, a.TestedAt is not null, a.PreferredUntil, a.ValidUntil))],
            [.. routers.Select(r => new HostRouter(r.Address, r.Advertisement.Has(RouterAdvertisementFlags.HomeAgent), r.Advertisement.Options.OfType<PrefixInformationOption>().FirstOrDefault(p => p.Has(PrefixInformationFlags.RouterAddress))?.Address, r.Until))],
            [.. _prefixes.Values.Where(p => !_unsure && p.ValidUntil > now).Select(p => p.Prefix)],
            routers.Any(r => r.Advertisement.Has(RouterAdvertisementFlags.Managed)), routers.Any(r => r.Advertisement.Has(RouterAdvertisementFlags.OtherConfiguration)),
            [.. routers.SelectMany(r => r.Advertisement.Options.OfType<MobilityAnchorPointOption>()).Where(o => o.ValidLifetime > 0)]);
    }

    private static DateTimeOffset? Earlier(DateTimeOffset? one, DateTimeOffset? other) => one is null || other < one ? other : one;

    private static DateTimeOffset? Bounded(DateTimeOffset time) => time == DateTimeOffset.MaxValue ? null : time;

    private void OnLink(bool up, DateTimeOffset now, EffectSink effects)
    {
        if (up == _up)
        {
            return;
        }

        _up = up;
        _changed = true;
        _nextSolicitation = null;
        if (!up)
        {
            return;
        }

        _neighbors.Clear();
        _unsure = _routers.Count > 0;
        var linkLocal = AddressIn(s_linkLocal, 0);
        if (!_addresses.ContainsKey(linkLocal))
        {
            Add(linkLocal, s_linkLocal, DateTimeOffset.MaxValue, DateTimeOffset.MaxValue, true, now, effects);
        }

        SolicitRouters(now, effects, restart: true);
    }

    private void SolicitRouters(DateTimeOffset now, EffectSink effects, bool restart)
    {
        _solicited = restart ? 1 : _solicited + 1;
        _nextSolicitation = _solicited < RouterSolicitations ? now + s_solicitationInterval : null;
        var source = _addresses.Values.FirstOrDefault(a => a.Prefix == s_linkLocal && a.TestedAt is null)?.Address;

        // From an address that is being tested nothing may go that could change a neighbour's cache (RFC 4429 3.2).
        var solicitation = new RouterSolicitation { Options = source is null ? NeighborDiscoveryOptions.None : NeighborDiscoveryOptions.Of(OwnLinkLayer(false)) };
        SendMessage(solicitation, source ?? IPAddress.IPv6Any, s_allRouters, effects);
    }

    private void OnDeadline(DateTimeOffset now, EffectSink effects)
    {
        foreach (var address in _addresses.Values.Where(a => a.TestedAt <= now || a.ValidUntil <= now).ToList())
        {
            _changed = true;
            if (address.ValidUntil <= now)
            {
                _addresses.Remove(address.Address);
            }
            else
            {
                _addresses[address.Address] = address with { TestedAt = null };
                if (!_options.Optimistic)
                {
                    TellRouters(address.Address, effects);
                }
            }
        }

        foreach (var prefix in _prefixes.Values.Where(p => p.ValidUntil <= now).ToList())
        {
            _changed |= _prefixes.Remove(prefix.Prefix);
        }

        foreach (var router in _routers.Values.Where(r => r.SilentAt <= now).ToList())
        {
            _routers[router.Address] = router with { SilentAt = null };
            _neighbors.Probe(router.Address, now, effects);
            SolicitRouters(now, effects, restart: true);
        }

        foreach (var router in _routers.Values.Where(r => r.Until <= now).ToList())
        {
            _changed |= _routers.Remove(router.Address);
        }

        foreach (var gone in _neighbors.OnDeadline(now, effects))
        {
            LoseRouter(gone, now, effects);
        }

        if (_nextSolicitation <= now)
        {
            SolicitRouters(now, effects, restart: false);
        }
    }

    private void LoseRouter(IPAddress address, DateTimeOffset now, EffectSink effects)
    {
        if (!_routers.Remove(address))
        {
            return;
        }

        _changed = true;
        if (_routers.Count > 0)
        {
            return;
        }

        effects.Count("ipv6.router_lost");
        if (_foreign is { } other)
        {
            // The stranger's advertisement was of another link after all.
            LeaveLink();
            Configure(other.Packet, other.Advertisement, other.Link, now, effects);
        }
        else
        {
            _unsure = true;
            SolicitRouters(now, effects, restart: true);
        }
    }

    private void LeaveLink()
    {
        _epoch++;
        _changed = true;
        _foreign = null;
        _routers.Clear();
        _prefixes.Clear();
        _mtu = _options.Mtu;
        _pathMtus.Clear();
        foreach (var address in _addresses.Values.Where(a => a.Prefix != s_linkLocal).ToList())
        {
            _addresses.Remove(address.Address);
        }
    }

    /// <summary>Interface identifier of the prefix: opaque and stable (RFC 7217 5), or modified EUI-64.</summary>
    private IPAddress AddressIn(IPNetwork prefix, int attempt)
    {
        Span<byte> octets = stackalloc byte[16];
        prefix.BaseAddress.TryWriteBytes(octets, out _);
        var link = _options.LinkAddress.ToArray();
        if (_options.IdentifierSecret is { } secret)
        {
            using var hash = IncrementalHash.CreateHMAC(HashAlgorithmName.SHA256, secret.Octets);
            hash.AppendData(octets[..8]);
            hash.AppendData(link);
            hash.AppendData([(byte)attempt]);
            hash.GetHashAndReset().AsSpan(0, 8).CopyTo(octets[8..]);
        }
        else
        {
            ReadOnlySpan<byte> identifier = [(byte)(link[0] ^ 2), link[1], link[2], 0xFF, 0xFE, link[3], link[4], link[5]];
            identifier.CopyTo(octets[8..]);
        }

        return new IPAddress(octets);
    }

    private void Add(IPAddress address, IPNetwork? prefix, DateTimeOffset preferred, DateTimeOffset valid, bool test, DateTimeOffset now, EffectSink effects, int attempt = 0)
    {
        if (_addresses.TryGetValue(address, out var known))
        {
            // Advertisements come many times a second and each moves the times a little; that alone is no news.
            _changed |= (known.PreferredUntil - preferred).Duration() > s_noticed || (known.ValidUntil - valid).Duration() > s_noticed;
            _addresses[address] = known with { PreferredUntil = preferred, ValidUntil = valid };
            return;
        }

        if (_addresses.Count >= _options.MaximumAddresses)
        {
            effects.Count("ipv6.addresses_full");
            return;
        }

        _changed = true;
        _addresses[address] = new OwnAddress(address, prefix, preferred, valid, test ? now + s_testTime : null, attempt);
        if (test)
        {
            Test(address, effects);
            if (_options.Optimistic)
            {
                TellRouters(address, effects);
            }
        }
    }

    /// <summary>RFC 9131 6: routers shall not have to ask when the first packet for the address comes.</summary>
    private void TellRouters(IPAddress address, EffectSink effects)
    {
        if (IPv6Octets.IsUnicastRoutable(address))
        {
            effects.Count("ipv6.routers_told");
            Advertise(address, NeighborAdvertisementFlags.None, s_allRouters, effects);
        }
    }

    private void Test(IPAddress address, EffectSink effects) =>
        SendMessage(new NeighborSolicitation(address), IPAddress.IPv6Any, NeighborSolicitation.SolicitedNodeAddress(address), effects);

    private void TestAgain(DateTimeOffset now, EffectSink effects)
    {
        foreach (var own in _addresses.Values.ToList())
        {
            _addresses[own.Address] = own with { TestedAt = now + s_testTime };
            Test(own.Address, effects);
            if (_options.Optimistic)
            {
                TellRouters(own.Address, effects);
            }
        }

        _changed = true;
        SolicitRouters(now, effects, restart: true);
    }

    /// <summary>Somebody else has the address (RFC 4862 5.4.5).</summary>
    private void Collide(OwnAddress address, DateTimeOffset now, EffectSink effects)
    {
        effects.Count("ipv6.duplicate_address");
        effects.Emit(new Report(new EngineEvent("address.duplicate", EventSeverity.Warning, $"{address.Address} belongs to somebody else on {_options.Interface}") { Rule = "RFC 4862 5.4.5" }));
        effects.Emit(new DuplicateAddressFound(_options.Interface, address.Address));
        _addresses.Remove(address.Address);
        _changed = true;
        if (address.Prefix is { } prefix && _options.IdentifierSecret is not null && address.Attempt + 1 < AddressAttempts)
        {
            Add(AddressIn(prefix, address.Attempt + 1), prefix, address.PreferredUntil, address.ValidUntil, true, now, effects, address.Attempt + 1);
        }
    }

    private LinkLayerAddressOption OwnLinkLayer(bool target) => new(target, _options.LinkAddress.ToArray());

    private void Advertise(IPAddress address, NeighborAdvertisementFlags flags, IPAddress destination, EffectSink effects, LinkAddress? link = null)
    {
        // RFC 4429 3.3: while it is being tested, the address's advertisement overrides nobody.
        if (_addresses[address].TestedAt is not null)
        {
            flags &= ~NeighborAdvertisementFlags.Override;
        }

        SendMessage(new NeighborAdvertisement(flags, address) { Options = NeighborDiscoveryOptions.Of(OwnLinkLayer(true)) }, address, destination, effects, link);
    }

    private void Solicit(IPAddress target, bool unicast, EffectSink effects)
    {
        var source = _addresses.Values.FirstOrDefault(a => a.TestedAt is null && (a.Prefix == s_linkLocal) == target.IsIPv6LinkLocal)?.Address ?? _addresses.Values.FirstOrDefault(a => a.TestedAt is null)?.Address;
        if (source is null && !(_options.Optimistic && _addresses.Count > 0))
        {
            return;
        }

        // An optimistic address asks without its link-layer address (RFC 4429 3.2).
        var solicitation = new NeighborSolicitation(target) { Options = source is null ? NeighborDiscoveryOptions.None : NeighborDiscoveryOptions.Of(OwnLinkLayer(false)) };
        SendMessage(solicitation, source ?? _addresses.Values.First().Address, unicast ? target : NeighborSolicitation.SolicitedNodeAddress(target), effects, unicast ? _neighbors.LinkOf(target) : null);
    }

    private void SendMessage(Icmpv6Message message, IPAddress source, IPAddress destination, EffectSink effects, LinkAddress? link = null)
    {
        var packet = new MobileIpv6Packet
        {
            Source = source,
            Destination = destination,
            HopLimit = Icmpv6Limits.NeighborDiscoveryHopLimit,
            Protocol = IpProtocol.Icmpv6,
            Payload = message.ToArray(source, destination),
        };
        Transmit(packet.ToArray(), link ?? LinkAddress.OfGroup(destination), effects);
    }

    private void Transmit(ReadOnlyMemory<byte> packet, LinkAddress link, EffectSink effects, int segmentSize = 0) =>
        effects.Emit(new MobileIpv6.SendIpv6Packet(packet, null, _options.Interface, link) { SegmentSize = segmentSize });

    private void Send(ReadOnlyMemory<byte> octets, DateTimeOffset now, EffectSink effects, int segmentSize = 0)
    {
        if (!IpPacket.TryParse(octets.Span, out var packet, out _) || !packet.IsIPv6)
        {
            effects.Count("ipv6.send_malformed");
            return;
        }

        var destination = packet.DestinationAddress;
        var mtu = MtuTo(destination, now);
        if (Segmentation.LongestOf(packet.Octets, segmentSize) > mtu)
        {
            effects.Count("ipv6.too_big");
            if (IcmpError.MayAnswer(packet, packetTooBig: true))
            {
                var answer = new byte[IcmpError.MaximumIPv6];
                var length = IcmpError.WriteTooBig(packet, packet.Source, mtu, answer);
                effects.Emit(new DeliverIpv6Packet(answer.AsMemory(0, length), _options.Interface));
            }

            return;
        }

        if (destination.IsIPv6Multicast)
        {
            Transmit(octets, LinkAddress.OfGroup(destination), effects);
            return;
        }

        var onLink = destination.IsIPv6LinkLocal || _prefixes.Values.Any(p => p.OnLink && p.ValidUntil > now && p.Prefix.Contains(destination));
        var nextHop = onLink ? destination : _routers.Values.FirstOrDefault(r => _neighbors.LinkOf(r.Address) is not null)?.Address ?? _routers.Keys.FirstOrDefault();
        if (nextHop is null)
        {
            effects.Count("ipv6.no_route");
            return;
        }

        _neighbors.Send(octets, segmentSize, nextHop, now, effects);
    }
}
