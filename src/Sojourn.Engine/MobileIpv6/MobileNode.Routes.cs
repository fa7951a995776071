// Readings:
// - A peer is told of a new place after the home agent has confirmed it (RFC 6275 11.5.1, 11.7.2). Until then, and while a test
//   runs, packets go by way of home: an old binding of the peer would send into the void.
// - A home token is used again over moves while it is young (RFC 6275 5.2.7); then only the care-of test remains.
// - A binding error of a peer removes that peer alone; while packets of the peer still arrive by the short way it is not
//   believed (RFC 6275 11.3.6).
using System.Net;
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
            (route.TestAgain, route.CareOf, route.TestedAddress) = (null, null, null);
            if (route.Registration is { } entry)
            {
                route.Registration = entry with { RetransmitAt = null, RefreshAt = null };
            }
        }
    }

    /// <summary>The home agent has confirmed a place.</summary>
    private void ResumeRoutes(DateTimeOffset now, EffectSink effects)
    {
        foreach (var route in _routes.Values.Where(r => !r.Deleting && !Equals(r.TestedAddress, HomeRegistration!.CareOfAddress)).ToList())
        {
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
            route.TestAgain = null;
            return;
        }

        route.Timeout = first ? FirstTimeout : route.Timeout * 2 > LongestTimeout ? LongestTimeout : route.Timeout * 2;
        route.TestAgain = now + route.Timeout;
        if (route.Home?.IsFresh(now) != true)
        {
            // By way of home, in the tunnel (RFC 6275 11.6.1).
            route.Home = null;
            route.HomeCookie = _random.NextUInt64();
            SendMessage(new HomeTestInit(route.HomeCookie), entry.HomeAddress, route.Peer, null, effects, careOf, entry.Peer);
        }

        if (route.CareOf?.IsFresh(now) != true || !careOf.Equals(route.TestedAddress))
        {
            (route.CareOf, route.TestedAddress) = (null, careOf);
            route.CareOfCookie = _random.NextUInt64();
            SendMessage(new CareOfTestInit(route.CareOfCookie), careOf, route.Peer, null, effects);
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
        if (route.Home?.IsFresh(now) != true || route.CareOf?.IsFresh(now) != true || HomeRegistration is not { Expires: { } home } || route.Deleting)
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

    private AnswerVerdict JudgeRoute(Route route, MobileIpv6Packet packet, BindingAcknowledgement acknowledgement)
    {
        if (route.Registration is not { } entry || !packet.EffectiveDestination.Equals(entry.HomeAddress))
        {
            return AnswerVerdict.NoEntry;
        }

        if (entry is not { State: BindingUpdateState.Temporary, RetransmitAt: not null })
        {
            return AnswerVerdict.NotAskedFor;
        }

        if (!IsForgotten(acknowledgement.Status) && !ReturnRoutability.IsAuthorized(acknowledgement, packet.Payload.Span, route.Key!.Octets, entry.CareOfAddress, route.Peer))
        {
            return AnswerVerdict.NotAskedFor;
        }

        return acknowledgement.Status == BindingStatus.SequenceNumberOutOfWindow ? AnswerVerdict.Good
            : acknowledgement.SequenceNumber != entry.SequenceNumber ? AnswerVerdict.NotAskedFor
            : entry.Lifetime == 0 || (acknowledgement.Status.IsAccepted() && acknowledgement.Lifetime == 0) ? AnswerVerdict.TakesBack
            : AnswerVerdict.Good;
    }

    /// <summary>What this node would make of a binding error now. Nothing changes by asking.</summary>
    public AnswerVerdict Judge(MobileIpv6Packet packet, BindingError error, DateTimeOffset now) =>
        !_routes.TryGetValue(packet.Source, out var route) || packet.HomeAddress is not null || (error.Status == BindingErrorStatus.UnknownBinding && !error.HomeAddress.Equals(_home?.HomeAddress)) ? AnswerVerdict.NoEntry
        : now - route.Progress < s_progress ? AnswerVerdict.InProgress
        : AnswerVerdict.Good;

    /// <summary>The three that tell of forgotten nonces cannot be authorised; all others have to be (RFC 6275 9.5.4).</summary>
    private static bool IsForgotten(BindingStatus status) => status is BindingStatus.ExpiredHomeNonceIndex or BindingStatus.ExpiredCareOfNonceIndex or BindingStatus.ExpiredNonces;

    private void OnRouteAcknowledged(MobileIpv6Packet packet, BindingAcknowledgement acknowledgement, DateTimeOffset now, EffectSink effects)
    {
        if (!_routes.TryGetValue(packet.Source, out var route) || route.Registration is not { State: BindingUpdateState.Temporary, RetransmitAt: not null } entry || !packet.EffectiveDestination.Equals(entry.HomeAddress))
        {
            effects.Count("mip6.mn.ignored.wrong_selector");
            return;
        }

        var forgotten = IsForgotten(acknowledgement.Status);
        if (!forgotten && !ReturnRoutability.IsAuthorized(acknowledgement, packet.Payload.Span, route.Key!.Octets, entry.CareOfAddress, route.Peer))
        {
            effects.Count("mip6.mn.ignored.authenticator");
            return;
        }

        if (acknowledgement.Status == BindingStatus.SequenceNumberOutOfWindow)
        {
            route.Sequence = acknowledgement.SequenceNumber;
            Update(route, entry.Lifetime, entry.Timeout, now, effects);
            return;
        }

        if (acknowledgement.SequenceNumber != entry.SequenceNumber)
        {
            effects.Count("mip6.mn.ignored.sequence");
        }
        else if (entry.Lifetime == 0)
        {
            Forget(route);
        }
        else if (acknowledgement.Status.IsAccepted() && acknowledgement.Lifetime > 0)
        {
            var lifetime = Math.Min(entry.Lifetime, acknowledgement.Lifetime) * MobileIpv6Limits.LifetimeUnit;
            // Authorised, and so progress: an error about a packet sent before it may still be on its way.
            route.Progress = now;
            route.Registration = entry with { State = BindingUpdateState.Registered, Expires = entry.SentAt + lifetime, RefreshAt = entry.SentAt + (lifetime * _options.RefreshAt), RetransmitAt = null, GrantedCareOfAddress = entry.CareOfAddress };
            route.InUse = true;
            effects.Count("mip6.mn.route_accepted");
            effects.Emit(new RouteOptimised(route.Peer, entry.HomeAddress, entry.CareOfAddress));
        }
        else if (forgotten)
        {
            route.Home = acknowledgement.Status == BindingStatus.ExpiredCareOfNonceIndex ? route.Home : null;
            route.CareOf = acknowledgement.Status == BindingStatus.ExpiredHomeNonceIndex ? route.CareOf : null;
            route.Registration = null;
            Test(route, now, effects, first: true);
        }
        else
        {
            effects.Count($"mip6.mn.route_refused.{(byte)acknowledgement.Status}");
            Stop(route, effects);
            _routes.Remove(route.Peer);
        }
    }

    private void OnBindingError(MobileIpv6Packet packet, BindingError error, DateTimeOffset now, EffectSink effects)
    {
        switch (Judge(packet, error, now))
        {
            case AnswerVerdict.NoEntry:
                effects.Count("mip6.mn.ignored.error");
                return;
            case AnswerVerdict.InProgress:
                effects.Count("mip6.mn.ignored.error_in_progress");
                return;
        }

        var route = _routes[packet.Source];
        effects.Count("mip6.mn.errors");
        Stop(route, effects);
        if (error.Status == BindingErrorStatus.UnknownBinding && route.Registration is not null)
        {
            // It knew us once; ask again from the beginning.
            (route.Registration, route.Home, route.CareOf) = (null, null, null);
            Test(route, now, effects, first: true);
        }
        else
        {
            _routes.Remove(route.Peer);
        }
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
