// Readings:
// - A peer is told of a new place after the home agent has confirmed it (RFC 6275 11.5.1, 11.7.2); the care-of test, which needs no home
//   agent, runs beside the registration. Until then packets go by way of home: an old binding of the peer would send into the void, and
//   is taken back as soon as there is a new care-of address. Nobody answers to that: if it gets lost, the update mends it.
// - A home token is used again over moves while it is young (RFC 6275 5.2.7); then only the care-of test remains. It is renewed before it
//   is old, so that a move finds one.
// - A binding error of a peer removes that peer alone; while packets of the peer still arrive by the short way it is not
//   believed (RFC 6275 11.3.6).
using System.Net;
using System.Security.Cryptography;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>The node shall speak with this peer by the short way (RFC 6275 11.6, 11.7.2), or no more.</summary>
public sealed record OptimiseRoute(IPAddress Peer, bool Wanted = true) : EngineCommand;

/// <summary>Packets of the peer have arrived by the short way.</summary>
public sealed record RouteProgressed(IPAddress Peer) : EngineInput;

/// <summary>Return routability and bindings with correspondents.</summary>
public sealed partial class MobileNode
{
    private const int MaximumRoutes = 64;

    private static readonly TimeSpan s_progress = TimeSpan.FromSeconds(3);

    /// <summary>Age at which a home token is renewed: a test and a repetition of it before it is of no use (210 s).</summary>
    private static readonly TimeSpan s_renewHomeToken = TimeSpan.FromSeconds(200);

    private readonly Dictionary<IPAddress, Route> _routes = [];

    /// <summary>Bindings with correspondents (spec terminal 3.1).</summary>
    public IEnumerable<BindingUpdateListEntry> CorrespondentRegistrations => _routes.Values.Select(r => r.Registration).OfType<BindingUpdateListEntry>();

    /// <summary>The short way to this peer is in use or being tried.</summary>
    public bool IsOptimising(IPAddress peer) => _routes.ContainsKey(peer);

    private sealed record Token(ushort Index, ulong Value, DateTimeOffset At)
    {
        public bool IsFresh(DateTimeOffset now) => now - At < ReturnRoutability.TokenLifetime;
    }

    private sealed class Route(IPAddress peer)
    {
        public IPAddress Peer { get; } = peer;

        public ulong HomeCookie { get; set; }

        public ulong CareOfCookie { get; set; }

        public Token? Home { get; set; }

        public Token? CareOf { get; set; }

        /// <summary>Address the care-of token was made for.</summary>
        public IPAddress? TestedAddress { get; set; }

        /// <summary>The tests are on their way; sent again then.</summary>
        public DateTimeOffset? TestAgain { get; set; }

        public TimeSpan Timeout { get; set; }

        public ushort Sequence { get; set; }

        public KeyMaterial? Key { get; set; }

        public BindingUpdateListEntry? Registration { get; set; }

        public bool Deleting { get; set; }

        /// <summary>Not in use since the care-of address is another, until the home agent has confirmed that.</summary>
        public bool Suspended { get; set; }

        public bool InUse { get; set; }

        public DateTimeOffset Progress { get; set; } = DateTimeOffset.MinValue;

        public DateTimeOffset? Next => Earlier(Earlier(TestAgain, Registration?.RetransmitAt), Earlier(Registration?.RefreshAt, Registration?.Expires));
    }

    private DateTimeOffset? NextRoute => _routes.Values.Min(r => r.Next);

    private void OnOptimise(OptimiseRoute wish, DateTimeOffset now, EffectSink effects)
    {
        if (!wish.Wanted)
        {
            if (_routes.TryGetValue(wish.Peer, out var old))
            {
                TakeBack(old, forGood: true, now, effects);
            }

            return;
        }

        if (_routes.Count >= MaximumRoutes && !_routes.ContainsKey(wish.Peer))
        {
            effects.Count("mip6.mn.routes_full");
            return;
        }

        if (!_routes.TryGetValue(wish.Peer, out var route))
        {
            _routes[wish.Peer] = route = new Route(IPv6Octets.Require(wish.Peer)) { Sequence = (ushort)_random.NextUInt32() };
        }

        route.Deleting = false;
        Test(route, now, effects, first: true);
    }

    /// <summary>The care-of address is another: no short way before the peers know.</summary>
    private void SuspendRoutes(EffectSink effects)
    {
        foreach (var route in _routes.Values)
        {
            Stop(route, effects);
            (route.TestAgain, route.CareOf, route.TestedAddress, route.Suspended) = (null, null, null, true);
            if (route.Registration is { } entry)
            {
                route.Registration = entry with { RetransmitAt = null, RefreshAt = null };
            }
        }
    }

    /// <summary>What can be done for routes at a new place before the home agent has confirmed it.</summary>
    private void ProveNewPlace(IPAddress careOf, DateTimeOffset now, EffectSink effects)
    {
        foreach (var route in _routes.Values.Where(r => r is { Deleting: false, Suspended: true }))
        {
            SendHome(route, careOf, effects);
            (route.Timeout, route.TestAgain) = (FirstTimeout, now + FirstTimeout);
            TestCareOf(route, careOf, effects);
        }
    }

    /// <summary>The peer shall forget the place that was left and send by way of home until it knows the new one. A home token is proof enough (RFC 6275 5.2.5).</summary>
    private void SendHome(Route route, IPAddress careOf, EffectSink effects)
    {
        if (route is not { Registration.Lifetime: > 0, Home: { } token })
        {
            return;
        }

        var key = ReturnRoutability.BindingKey(token.Value, null);
        var update = new BindingUpdate { SequenceNumber = ++route.Sequence, Flags = BindingUpdateFlags.None, Lifetime = 0, Options = MobilityOptions.Of(new NonceIndicesOption(token.Index, 0)) };
        effects.Count("mip6.mn.routes_sent_home");
        SendMessage(ReturnRoutability.Authorize(update, key, careOf, route.Peer), careOf, route.Peer, _home!.HomeAddress, effects);
        CryptographicOperations.ZeroMemory(key);
    }

    private void TestCareOf(Route route, IPAddress careOf, EffectSink effects)
    {
        (route.CareOf, route.TestedAddress) = (null, careOf);
        route.CareOfCookie = _random.NextUInt64();
        SendMessage(new CareOfTestInit(route.CareOfCookie), careOf, route.Peer, null, effects);
    }

    /// <summary>The home agent has confirmed a place.</summary>
    private void ResumeRoutes(DateTimeOffset now, EffectSink effects)
    {
        foreach (var route in _routes.Values.Where(r => r is { Deleting: false, Suspended: true }).ToList())
        {
            route.Suspended = false;
            Test(route, now, effects, first: true);
        }
    }

    /// <summary>At home, or for good: every peer is told to send home again (RFC 6275 11.5.5).</summary>
    private void TakeBackRoutes(bool forGood, DateTimeOffset now, EffectSink effects)
    {
        foreach (var route in _routes.Values.ToList())
        {
            TakeBack(route, forGood, now, effects);
        }
    }

    private void TakeBack(Route route, bool forGood, DateTimeOffset now, EffectSink effects)
    {
        Stop(route, effects);
        (route.TestAgain, route.TestedAddress, route.CareOf, route.Deleting) = (null, null, null, forGood);
        if (route.Registration is null || route.Home?.IsFresh(now) != true || (!AtHome && HomeRegistration?.GrantedCareOfAddress is null))
        {
            // Nothing to take back, or nothing to prove it with: then the binding runs out within seven minutes.
            Forget(route);
            return;
        }

        Update(route, 0, FirstTimeout, now, effects);
    }

    private void Forget(Route route)
    {
        route.Registration = null;
        if (route.Deleting)
        {
            _routes.Remove(route.Peer);
        }
    }

    private void Stop(Route route, EffectSink effects)
    {
        if (route.InUse)
        {
            route.InUse = false;
            effects.Emit(new RouteEnded(route.Peer, _home!.HomeAddress));
        }
    }

    private void Test(Route route, DateTimeOffset now, EffectSink effects, bool first)
    {
        if (HomeRegistration is not { GrantedCareOfAddress: { } careOf } entry || AtHome || !careOf.Equals(_careOf))
        {
            (route.TestAgain, route.Suspended) = (null, true);
            return;
        }

        var underWay = route.TestAgain > now && careOf.Equals(route.TestedAddress);
        route.Timeout = first ? FirstTimeout : route.Timeout * 2 > LongestTimeout ? LongestTimeout : route.Timeout * 2;
        route.TestAgain = now + route.Timeout;
        if (route.Home?.IsFresh(now) != true)
        {
            // By way of home, in the tunnel (RFC 6275 11.6.1).
            route.Home = null;
            route.HomeCookie = _random.NextUInt64();
            SendMessage(new HomeTestInit(route.HomeCookie), entry.HomeAddress, route.Peer, null, effects, careOf, entry.Peer);
        }

        if (!underWay && (route.CareOf?.IsFresh(now) != true || !careOf.Equals(route.TestedAddress)))
        {
            TestCareOf(route, careOf, effects);
        }

        effects.Count("mip6.mn.route_tests");
        TryUpdate(route, now, effects);
    }

    private void OnTest(MobileIpv6Packet packet, TestAnswer answer, Ipv6PacketReceived received, DateTimeOffset now, EffectSink effects)
    {
        if (!_routes.TryGetValue(packet.Source, out var route) || packet.HomeAddress is not null || packet.RoutingHomeAddress is not null || route.TestAgain is null)
        {
            effects.Count("mip6.mn.ignored.test");
            return;
        }

        var token = new Token(answer.NonceIndex, answer.KeygenToken, now);
        switch (answer)
        {
            // What did not come through the tunnel of our home agent has not been by way of home.
            case HomeTest when packet.Destination.Equals(_home?.HomeAddress) && answer.Cookie == route.HomeCookie && route.Home is null && received.Tunnel is { } tunnel && tunnel.Equals(HomeRegistration?.Peer):
                route.Home = token;
                break;
            case CareOfTest when packet.Destination.Equals(route.TestedAddress) && answer.Cookie == route.CareOfCookie && route.CareOf is null && received.Tunnel is null:
                route.CareOf = token;
                break;
            default:
                effects.Count("mip6.mn.ignored.test");
                return;
        }

        effects.Count("mip6.mn.tests_answered");
        TryUpdate(route, now, effects);
    }

    private void TryUpdate(Route route, DateTimeOffset now, EffectSink effects)
    {
        if (route.Home?.IsFresh(now) != true || route.CareOf?.IsFresh(now) != true || HomeRegistration is not { Expires: { } home } || route.Deleting || route.Suspended)
        {
            return;
        }

        // Not beyond the home registration (RFC 6275 11.7.2).
        var lifetime = MobileIpv6Limits.ToUnits(home - now < ReturnRoutability.LongestBinding ? home - now : ReturnRoutability.LongestBinding);
        route.TestAgain = null;
        if (lifetime > 0)
        {
            Update(route, lifetime, FirstTimeout, now, effects);
        }
    }

    private void Update(Route route, ushort lifetime, TimeSpan timeout, DateTimeOffset now, EffectSink effects)
    {
        var home = _home!.HomeAddress;
        var place = AtHome ? home : HomeRegistration!.GrantedCareOfAddress!;
        route.Key = new KeyMaterial(ReturnRoutability.BindingKey(route.Home!.Value, lifetime == 0 ? null : route.CareOf!.Value));
        var update = new BindingUpdate
        {
            SequenceNumber = ++route.Sequence,
            Flags = BindingUpdateFlags.Acknowledge,
            Lifetime = lifetime,
            Options = MobilityOptions.Of(new NonceIndicesOption(route.Home.Index, route.CareOf?.Index ?? 0)),
        };
        route.Registration = new BindingUpdateListEntry
        {
            Peer = route.Peer,
            HomeAddress = home,
            CareOfAddress = place,
            State = BindingUpdateState.Temporary,
            SequenceNumber = route.Sequence,
            Flags = update.Flags,
            Lifetime = lifetime,
            SentAt = now,
            RetransmitAt = now + timeout,
            Timeout = timeout,
            Expires = lifetime == 0 ? null : now + (lifetime * MobileIpv6Limits.LifetimeUnit),
        };
        effects.Count("mip6.mn.route_updates");
        SendMessage(ReturnRoutability.Authorize(update, route.Key.Octets, place, route.Peer), place, route.Peer, AtHome ? null : home, effects);
    }

    private void RepeatRoutes(DateTimeOffset now, EffectSink effects)
    {
        foreach (var route in _routes.Values.Where(r => r.Next <= now).ToList())
        {
            if (route.Registration is { Expires: { } end } && end <= now)
            {
                Stop(route, effects);
                route.Registration = null;
                Test(route, now, effects, first: true);
            }
            else if (route.Registration is { RetransmitAt: { } again } entry && again <= now)
            {
                var timeout = entry.Timeout * 2;
                if (timeout > LongestTimeout)
                {
                    // It does not speak Mobile IPv6, or is gone; the way over the home agent remains (RFC 6275 11.8).
                    Stop(route, effects);
                    _routes.Remove(route.Peer);
                }
                else if (entry.Lifetime > 0 && (route.Home?.IsFresh(now) != true || route.CareOf?.IsFresh(now) != true))
                {
                    route.Registration = entry with { RetransmitAt = null };
                    Test(route, now, effects, first: true);
                }
                else
                {
                    Update(route, entry.Lifetime, timeout, now, effects);
                }
            }
            else if (route.Registration is { RefreshAt: { } refresh } registered && refresh <= now)
            {
                route.Registration = registered with { RefreshAt = null };
                route.Home = route.Home?.At + s_renewHomeToken <= now ? null : route.Home;
                Test(route, now, effects, first: true);
            }
            else if (route.TestAgain <= now)
            {
                Test(route, now, effects, first: false);
            }
        }
    }

    private void SendMessage(MobilityMessage message, IPAddress source, IPAddress destination, IPAddress? home, EffectSink effects, IPAddress? tunnelFrom = null, IPAddress? tunnelTo = null) => effects.Emit(new SendIpv6Packet(
        new MobileIpv6Packet
        {
            Source = source,
            Destination = destination,
            HomeAddress = home,
            Protocol = Wire.Ip.IpProtocol.Mobility,
            Payload = message.ToArray(home ?? source, destination),
        }.ToArray(), null, _options.Interface, null, tunnelFrom, tunnelTo));
}
