using System.Net;
using Sojourn.Engine.Ikev2;

namespace Sojourn.Engine.Gateway;

/// <summary>When this end begins a key exchange.</summary>
public enum KeyExchangeStart : byte
{
    /// <summary>At the start and whenever the association has gone.</summary>
    AtOnce,

    /// <summary>When a packet waits for it.</summary>
    OnDemand,

    /// <summary>Only the peer does.</summary>
    Never,
}

/// <summary>One association to be keyed; its <see cref="IkePeer"/> has the same name and one child.</summary>
/// <param name="Local">This gateway's end.</param>
public sealed record KeyedPeer(string Association, IPAddress Local, KeyExchangeStart Start);

public sealed record KeyedGatewayOptions
{
    public required IkeOptions Ike { get; init; }

    public required IReadOnlyList<KeyedPeer> Peers { get; init; }

    /// <summary>Wait before a failed exchange is tried again; doubles every time up to the longest.</summary>
    public TimeSpan FirstRetry { get; init; } = TimeSpan.FromSeconds(1);

    public TimeSpan LongestRetry { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>How long replaced keys are still taken, for packets that were under way when they were deleted.</summary>
    public TimeSpan InFlight { get; init; } = TimeSpan.FromSeconds(2);
}

/// <summary>
/// A gateway beside a key exchange: any gateway's engine whose associations IKEv2 keys. Child SAs become the keys of the
/// <see cref="KeyedAssociation"/> of the peer's name; the engine inside never hears of them, its paths follow.
///
/// Rekeying loses nothing: under every pair of keys that stands packets are accepted; what this end sends changes over when the
/// peer is known to have the new ones, which is at once when this end has asked for them, and with the first packet under them,
/// or the end of the old ones, when the peer has (RFC 7296 2.8).
/// </summary>
public sealed class KeyedGateway : IEngine
{
    private readonly IEngine _gateway;
    private readonly VpnControl _vpn;
    private readonly KeyedGatewayOptions _options;
    private readonly IkeEngine _ike;
    private readonly EffectSink _made = new();
    private readonly Dictionary<string, Keying> _keyings;
    private bool _stopping;

    public KeyedGateway(IEngine gateway, VpnControl vpn, KeyedGatewayOptions options, IRandomSource random)
    {
        (_gateway, _vpn, _options) = (gateway, vpn, options);
        _ike = new IkeEngine(options.Ike, random);
        _keyings = options.Peers.ToDictionary(p => p.Association, p => new Keying(p, options.Ike.Peers.First(peer => peer.Name == p.Association)));
    }

    /// <summary>The engine without its key exchange.</summary>
    public IEngine Gateway => _gateway;

    /// <summary>For whoever receives the datagrams of the key exchange.</summary>
    public CookieGate Cookies => _ike.Cookies;

    public IEnumerable<IkeSaView> IkeSas => _ike.IkeSas;

    public IEnumerable<ChildSa> ChildSas => _ike.ChildSas;

    public DateTimeOffset? NextDeadline
    {
        get
        {
            var earliest = _gateway.NextDeadline;
            void Consider(DateTimeOffset? at) => earliest = at is not null && (earliest is null || at < earliest) ? at : earliest;
            Consider(_ike.NextDeadline);
            foreach (var keying in _keyings.Values)
            {
                Consider(keying.RetryAt);
                foreach (var pair in keying.Pairs)
                {
                    Consider(pair.EndsAt);
                }
            }

            return earliest;
        }
    }

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case EngineStarted:
                _gateway.Handle(input, now, effects);
                foreach (var keying in _keyings.Values.Where(k => k.Options.Start == KeyExchangeStart.AtOnce))
                {
                    Begin(keying, now, effects);
                }

                break;
            case EngineStopping:
                _stopping = true;
                Exchange(input, now, effects);
                _gateway.Handle(input, now, effects);
                break;
            case IkeCommand or PeerAuthorized or CertificateFetched:
            case DatagramReceived { Destination.Port: var port } when port == _options.Ike.Port || port == _options.Ike.NatTraversalPort:
                Exchange(input, now, effects);
                break;
            case PathSignalled signal:
                Heed(signal, now, effects);
                _gateway.Handle(input, now, effects);
                break;
            case DeadlineReached:
                Expire(now, effects);
                break;
            default:
                _gateway.Handle(input, now, effects);
                break;
        }
    }

    private void Exchange(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        _ike.Handle(input, now, _made);
        foreach (var effect in _made.Effects)
        {
            Take(effect, now, effects);
        }

        _made.Clear();
    }

    private void Take(Effect effect, DateTimeOffset now, EffectSink effects)
    {
        switch (effect)
        {
            case ChildSaUp { Sa: var sa } up when _keyings.TryGetValue(sa.Peer, out var keying):
                keying.Pairs.Add(new Pair(sa) { PeerMayLag = up.PeerMayLag });
                (keying.Attempting, keying.Failures, keying.RetryAt) = (false, 0, null);
                TellIfNarrow(keying, sa, effects);
                Publish(keying, effects);
                break;
            case ChildSaMoved { Sa: var sa } when Find(sa.Id) is var (keying, pair):
                pair.Sa = sa;
                Publish(keying, effects);
                break;
            case ChildSaDown { ChildSa: var id } when Find(id) is var (keying, pair):
                End(keying, pair, now, effects);
                break;
            case IkeSaUp { Sa: var sa } when _keyings.TryGetValue(sa.Peer, out var keying):
                keying.IkeSas.Add(sa.Id);
                break;
            case IkeSaDown down when _keyings.TryGetValue(down.Peer, out var keying):
                keying.IkeSas.Remove(down.IkeSa);
                if (keying.IkeSas.Count == 0)
                {
                    keying.Attempting = false;
                    PlanRetry(keying, now);
                }

                break;
            case ChildSaRefused refused when _keyings.Values.FirstOrDefault(k => k.IkeSas.Contains(refused.IkeSa)) is { } keying:
                keying.Attempting = false;
                PlanRetry(keying, now);
                break;
            case ChildSaUp or ChildSaMoved or ChildSaDown or ChildSaRefused or IkeSaUp or IkeSaDown or IkeSaMoved:
                break;
            default:
                effects.Emit(effect);
                break;
        }
    }

    private void End(Keying keying, Pair pair, DateTimeOffset now, EffectSink effects)
    {
        if (keying.Pairs.Exists(p => p != pair && p.EndsAt is null))
        {
            pair.EndsAt = now + _options.InFlight;
        }
        else
        {
            keying.Pairs.Remove(pair);
            PlanRetry(keying, now);
        }

        Publish(keying, effects);
    }

    private void Heed(PathSignalled signal, DateTimeOffset now, EffectSink effects)
    {
        switch (signal.Signal)
        {
            case PathSignal.FirstInbound when VpnControl.GenerationOf(signal.Path) is { } number && Find(number) is var (keying, pair) && pair is { PeerMayLag: true, EndsAt: null }:
                pair.PeerMayLag = false;
                Publish(keying, effects);
                break;
            case PathSignal.PacketWaiting when _vpn.KeysAwaitedBy(signal.Path) is { } name && _keyings.TryGetValue(name, out var keying) && keying.Options.Start != KeyExchangeStart.Never && keying.RetryAt is null:
                Begin(keying, now, effects);
                break;
            case PathSignal.SoftLifetimeReached when _vpn.FindPath(signal.Path)?.Outbound is { } worn:
                if (_keyings.Values.SelectMany(k => k.Pairs).FirstOrDefault(p => p.Sa.Outbound == worn && p.EndsAt is null) is { } pairInUse)
                {
                    Exchange(new RekeyChild(pairInUse.Sa.Id), now, effects);
                }

                break;
        }
    }

    private void Expire(DateTimeOffset now, EffectSink effects)
    {
        if (_ike.NextDeadline <= now)
        {
            Exchange(new DeadlineReached(), now, effects);
        }

        foreach (var keying in _keyings.Values)
        {
            if (keying.Pairs.RemoveAll(p => p.EndsAt <= now) > 0)
            {
                Publish(keying, effects);
            }

            if (keying.RetryAt <= now)
            {
                keying.RetryAt = null;
                if (keying.Options.Start == KeyExchangeStart.AtOnce)
                {
                    Begin(keying, now, effects);
                }
            }
        }

        if (_gateway.NextDeadline <= now)
        {
            _gateway.Handle(new DeadlineReached(), now, effects);
        }
    }

    /// <summary>Asks the peer for keys, unless that is under way or there are some.</summary>
    private void Begin(Keying keying, DateTimeOffset now, EffectSink effects)
    {
        if (_stopping || keying.Attempting || keying.Pairs.Exists(p => p.EndsAt is null))
        {
            return;
        }

        keying.Attempting = true;
        Exchange(
            keying.IkeSas.Count > 0 ? new CreateChild(keying.IkeSas.Max(), keying.Peer.Children[0]) : new InitiateIke(keying.Peer.Name, keying.Options.Local), now, effects);
    }

    /// <summary>Nothing new is begun before a wait is over, whatever gives the reason.</summary>
    private void PlanRetry(Keying keying, DateTimeOffset now)
    {
        if (keying.RetryAt is null && !keying.Pairs.Exists(p => p.EndsAt is null))
        {
            var wait = _options.FirstRetry * Math.Pow(2, Math.Min(keying.Failures++, 16));
            keying.RetryAt = now + (wait < _options.LongestRetry ? wait : _options.LongestRetry);
        }
    }

    /// <summary>Tells the paths which keys there are. Packets leave under the newest that the peer is known to have.</summary>
    private void Publish(Keying keying, EffectSink effects)
    {
        var live = keying.Pairs.Where(p => p.EndsAt is null).ToList();
        var sender = live.LastOrDefault(p => !p.PeerMayLag) ?? live.LastOrDefault();
        if (sender is not null)
        {
            // Alone, it is what is left after the old keys were deleted, which the peer does only when it has the new ones.
            sender.PeerMayLag = false;
        }

        _vpn.SetKeys(
            keying.Options.Association,
            [.. keying.Pairs.Select(p => new AssociationGeneration(
                p.Sa.Id, p == sender, p.Sa.Outbound.Source, p.Sa.Outbound.Destination, p.Sa.Udp, p.Sa.Outbound, p.Sa.Inbound, p.Sa.LocalSelectors, p.Sa.RemoteSelectors))],
            effects);
    }

    private static void TellIfNarrow(Keying keying, ChildSa sa, EffectSink effects)
    {
        var options = keying.Peer.Children[0];
        if (!options.LocalSelectors.All(wanted => sa.LocalSelectors.Any(s => SelectorNarrowing.Covers(s, wanted)))
            || !options.RemoteSelectors.All(wanted => sa.RemoteSelectors.Any(s => SelectorNarrowing.Covers(s, wanted))))
        {
            effects.Emit(new Report(new EngineEvent(
                "ike.child.narrowed", EventSeverity.Warning,
                $"the peer carries only {string.Join(", ", sa.LocalSelectors)} to {string.Join(", ", sa.RemoteSelectors)}; paths beyond that stay blocked")
            { Peer = sa.Peer, Rule = "RFC 7296 2.9" }));
        }
    }

    private (Keying Keying, Pair Pair)? Find(long childSa)
    {
        foreach (var keying in _keyings.Values)
        {
            if (keying.Pairs.Find(p => p.Sa.Id == childSa) is { } pair)
            {
                return (keying, pair);
            }
        }

        return null;
    }

    /// <summary>An association and what is known of its keys.</summary>
    private sealed class Keying(KeyedPeer options, IkePeer peer)
    {
        public KeyedPeer Options { get; } = options;

        public IkePeer Peer { get; } = peer;

        /// <summary>Oldest first.</summary>
        public List<Pair> Pairs { get; } = [];

        public HashSet<long> IkeSas { get; } = [];

        /// <summary>This end has asked for keys and not heard yet.</summary>
        public bool Attempting { get; set; }

        public int Failures { get; set; }

        public DateTimeOffset? RetryAt { get; set; }
    }

    private sealed class Pair(ChildSa sa)
    {
        public ChildSa Sa { get; set; } = sa;

        public bool PeerMayLag { get; set; }

        /// <summary>It has been deleted, and packets under it are taken until then.</summary>
        public DateTimeOffset? EndsAt { get; set; }
    }
}
