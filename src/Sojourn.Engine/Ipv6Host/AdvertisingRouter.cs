// Readings:
// - Between two advertisements lies a random time from a third of the interval to all of it (RFC 4861 6.2.1); short intervals are for
//   links that terminals come to while they move (RFC 6275 7.5).
// - A solicitation is answered to all, within half a second, and not when an advertisement is due before that or left a moment ago
//   (RFC 4861 6.2.6, with the bound of RFC 6275 7.5).
// - A link whose carrier comes back has a host that looks where it is: it is told at once and twice more, as on an interface that becomes an
//   advertising one (RFC 4861 6.2.4, RFC 4957 for such events), since the host may hear of its carrier a little later than this router. Between
//   them lies the least distance of RFC 6275 7.5.
// - Of an anchor point that is configured, commanded and learned at once the link has the option that stands first here.
// - At a stop the router lifetime goes to 0, the anchor point stays what it was, so that nobody waits for a router that is gone (RFC 4861 6.2.5).
using System.Net;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Icmpv6;

namespace Sojourn.Engine.Ipv6Host;

/// <summary>One link that a router advertises itself on.</summary>
public sealed record AdvertisedLink
{
    public required string Interface { get; init; }

    /// <summary>On-link prefixes that hosts form addresses from, unless <see cref="Managed"/>.</summary>
    public required IReadOnlyList<IPNetwork> Prefixes { get; init; }

    /// <summary>M flag: addresses come from a DHCPv6 server.</summary>
    public bool Managed { get; init; }

    public TimeSpan ValidLifetime { get; init; } = TimeSpan.FromHours(24);

    public TimeSpan PreferredLifetime { get; init; } = TimeSpan.FromHours(4);

    public TimeSpan RouterLifetime { get; init; } = TimeSpan.FromMinutes(30);

    /// <summary>Longest time between two unsolicited advertisements.</summary>
    public TimeSpan Interval { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Anchor points of the domain (RFC 5380 4), the nearest first.</summary>
    public IReadOnlyList<MobilityAnchorPointOption> Anchors { get; init; } = [];
}

/// <summary>Sends a router advertisement to all nodes of a link, from the link-local address; the checksum is whoever sends it's.</summary>
public sealed record AdvertiseRouter(string Interface, ReadOnlyMemory<byte> Message) : Effect;

/// <summary>Somebody on a link asks for an advertisement.</summary>
public sealed record RouterSolicited(string Interface) : EngineInput;

/// <summary>
/// Router advertisements (RFC 4861 6.2) of an access router, with the MAP option where there is an anchor point (RFC 5380 4, spec TA3.161): configured,
/// commanded by an operator's station, or passed on from routers above (spec terminal TM0.9).
/// </summary>
public sealed partial class AdvertisingRouter : IEngine, IDisposable
{
    private const byte HopLimit = 64;
    private const int InitialAdvertisements = 3;

    private static readonly TimeSpan s_initialInterval = TimeSpan.FromSeconds(16), s_longestDelay = TimeSpan.FromMilliseconds(500), s_leastDistance = TimeSpan.FromMilliseconds(30);

    /// <summary>MAP options on one link; more would be no help to anybody.</summary>
    private const int MaximumAnchors = 16;

    private readonly List<Advertising> _links;
    private readonly IRandomSource _random;
    private readonly IReadOnlyCollection<string> _above;
    private readonly RouterCommands? _commands;
    private readonly LearnedAnchors _learned = new();

    /// <param name="above">Links of routers above, whose MAP options are passed on.</param>
    /// <param name="commands">Null = router renumbering is not taken. It is this engine's from now on.</param>
    public AdvertisingRouter(IEnumerable<AdvertisedLink> links, IRandomSource random, IReadOnlyCollection<string>? above = null, RouterCommands? commands = null)
    {
        _links = [.. links.Select(link => new Advertising(link))];
        (_random, _above, _commands) = (random, above ?? [], commands);
    }

    private sealed class Advertising(AdvertisedLink link)
    {
        public AdvertisedLink Link { get; } = link;

        /// <summary>By router renumbering.</summary>
        public IReadOnlyList<MobilityAnchorPointOption> Commanded { get; set; } = [];

        public int Sent { get; set; }

        /// <summary>Advertisements that are still due because the carrier is back.</summary>
        public int Repeats { get; set; }

        public DateTimeOffset? LastAt { get; set; }

        public DateTimeOffset? NextAt { get; set; }
    }

    public DateTimeOffset? NextDeadline
    {
        get
        {
            var next = _links.Min(link => link.NextAt);
            return _learned.NextExpiry is { } expiry && !(next <= expiry) ? expiry : next;
        }
    }

    public IEnumerable<Ipsec.ChildSaUse> AssociationUses => _commands?.AssociationUses ?? [];

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case EngineStarted started:
                Restore(started.State);
                foreach (var link in _links)
                {
                    link.NextAt = now + Random(TimeSpan.Zero, s_longestDelay < link.Link.Interval ? s_longestDelay : link.Link.Interval);
                }

                break;
            case RouterSolicited solicited when _links.Find(l => l.Link.Interface == solicited.Interface) is { NextAt: { } due } link:
                effects.Count("router.solicited");
                var at = now + Random(TimeSpan.Zero, s_longestDelay);
                at = link.LastAt is { } last && last + s_leastDistance > at ? last + s_leastDistance : at;
                link.NextAt = at < due ? at : due;
                break;
            case LinkChanged { Up: true } change when _links.Find(l => l.Link.Interface == change.Interface) is { NextAt: { } due } link:
                link.Repeats = InitialAdvertisements - 1;
                var earliest = link.LastAt is { } sent && sent + s_leastDistance > now ? sent + s_leastDistance : now;
                if (earliest > now)
                {
                    link.NextAt = earliest < due ? earliest : due;
                }
                else
                {
                    Advertise(link, now, effects);
                }

                break;
            case Ipv6PacketReceived { Interface: { } above } heard when _above.Contains(above):
                OnAbove(above, heard.Packet.Span, now, effects);
                break;
            case Ipv6PacketReceived command when _commands is not null:
                OnCommand(_commands, command.Packet.Span, now, effects);
                break;
            case DeadlineReached:
                if (_learned.Expire(now))
                {
                    AnchorsChanged(now, effects);
                }

                foreach (var link in _links.Where(l => l.NextAt <= now))
                {
                    Advertise(link, now, effects);
                }

                break;
            case EngineStopping:
                foreach (var link in _links)
                {
                    link.NextAt = null;
                    effects.Emit(new AdvertiseRouter(link.Link.Interface, Message(link, now, leaving: true)));
                }

                break;
        }
    }

    private void Advertise(Advertising link, DateTimeOffset now, EffectSink effects)
    {
        (link.LastAt, link.Sent) = (now, link.Sent + 1);
        effects.Count("router.advertised");
        effects.Emit(new AdvertiseRouter(link.Link.Interface, Message(link, now, leaving: false)));
        if (link.Repeats > 0)
        {
            link.Repeats--;
            link.NextAt = now + s_leastDistance;
            return;
        }

        var longest = link.Sent <= InitialAdvertisements && link.Link.Interval > s_initialInterval ? s_initialInterval : link.Link.Interval;
        link.NextAt = now + Random(longest / 3, longest);
    }

    private byte[] Message(Advertising advertising, DateTimeOffset now, bool leaving)
    {
        var link = advertising.Link;
        var flags = PrefixInformationFlags.OnLink | (link.Managed ? PrefixInformationFlags.None : PrefixInformationFlags.Autonomous);
        return new RouterAdvertisement
        {
            CurrentHopLimit = HopLimit,
            Flags = link.Managed ? RouterAdvertisementFlags.Managed : RouterAdvertisementFlags.None,
            RouterLifetime = leaving ? (ushort)0 : (ushort)link.RouterLifetime.TotalSeconds,
            Options = NeighborDiscoveryOptions.Of(
            [
                .. link.Prefixes.Select(prefix => new PrefixInformationOption(prefix.BaseAddress, (byte)prefix.PrefixLength, flags, Seconds(link.ValidLifetime), Seconds(link.PreferredLifetime))),
                new AdvertisementIntervalOption((uint)link.Interval.TotalMilliseconds),
                .. AnchorsOf(advertising, now),
            ]),
        }.ToArray(IPAddress.IPv6None, IPAddress.IPv6None);
    }

    private static uint Seconds(TimeSpan time) => (uint)time.TotalSeconds;

    private TimeSpan Random(TimeSpan least, TimeSpan most) => least + ((most - least) * (_random.NextUInt32() / (double)uint.MaxValue));
}
