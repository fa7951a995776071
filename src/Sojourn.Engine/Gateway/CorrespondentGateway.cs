// Readings:
// - The update's destination tells the correspondent (R20, R46); the profile's source must contain it and lie behind
//   this gateway. Sent to the gateway itself, the update names the correspondents by the profile's source alone.
// - What does not prove itself with a contract's key gets no answer at all; what does gets a BA with the reason. An old
//   Identification gets none either: it is a repetition, and the home agent has moved on.
// - The same update once more, octet for octet, is a home agent that missed the BA: it gets the same BA, nothing changes.
// - A lifetime above the limit is cut, not refused; the BR at the threshold brings the next update in time.
// - Restored bindings go on as they were: the packet path keeps how far their counters may have run (M3). It forgets that
//   with the binding. Keys made before this life began (their freshness is the Identification of the registration that made
//   them, a time) may have been used and forgotten, so that an update that brings such keys back is refused until the node
//   registers anew.
// - One BR for each mobile node and run-down: it names the node, and the home agent renews what it still has for this
//   gateway (NV7.14).
using System.Net;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Gateway;

/// <summary>
/// Correspondent gateway (PCN, spec NV4.7, NV4.8, NV7.12-NV7.15, M9): takes the binding updates for the correspondents
/// behind it and acts for them. Bindings survive a restart; the runner keeps the counters of their associations (M3, M5). Command: <see cref="ClearBinding"/>.
/// </summary>
public sealed partial class CorrespondentGateway : IEngine
{
    private const string Table = "gateway.binding";

    /// <summary>One record, there once this gateway has ever run: keys older than this life may have been used.</summary>
    private static readonly StateKey EarlierLife = new("gateway.life", "started");

    private readonly IVpnProfileEncoding _encoding;
    private readonly IRandomSource _random;
    private readonly Dictionary<IPAddress, MobileNodeBindings> _nodes = [];
    private readonly PriorityQueue<(IPAddress HomeAddress, uint Profile), DateTimeOffset> _deadlines = new();
    private CorrespondentGatewayOptions _options;
    private Dictionary<IPAddress, Contract> _contracts;
    private int _count;

    /// <summary>Derived keys made up to then may have been used in an earlier life; null in the first one.</summary>
    private DateTimeOffset? _spentUntil;

    /// <param name="encoding">Reads and writes the profile inside an update.</param>
    public CorrespondentGateway(CorrespondentGatewayOptions options, IVpnProfileEncoding encoding, IRandomSource random)
    {
        options.Validate();
        _options = options;
        _encoding = encoding;
        _random = random;
        _contracts = Contracts(options);
        Vpn = new VpnControl(options.Vpn);
    }

    /// <summary>The VPN information cache and the paths it stands for.</summary>
    public VpnControl Vpn { get; }

    /// <summary>For <c>show bindings</c>.</summary>
    public IReadOnlyCollection<MobileNodeBindings> Nodes => _nodes.Values;

    public DateTimeOffset? NextDeadline
    {
        get
        {
            var mine = _deadlines.TryPeek(out _, out var at) ? at : (DateTimeOffset?)null;
            return Vpn.NextDeadline is { } other && (mine is null || other < mine) ? other : mine;
        }
    }

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case EngineStarted started:
                Vpn.Start(effects);
                if (started.State.Any(saved => saved.Key == EarlierLife))
                {
                    _spentUntil = now + _options.TimestampTolerance;
                }
                else
                {
                    effects.Emit(new SaveState(EarlierLife, new byte[] { 1 }));
                }

                Restore(started.State, now, effects);
                break;
            case DatagramReceived datagram when datagram.Destination.Port == MobileIpv4Limits.Port:
                OnDatagram(datagram, now, effects);
                break;
            case ClearBinding clear:
                Clear(clear.HomeAddress, now, effects);
                break;
            case DeadlineReached:
                OnDeadline(now, effects);
                break;
        }
    }

    /// <summary>Takes a changed configuration. Bindings stay as long as their home agent keeps its contract.</summary>
    /// <exception cref="ArgumentException">The configuration contradicts itself; nothing was changed.</exception>
    public void Configure(CorrespondentGatewayOptions options, DateTimeOffset now, EffectSink effects)
    {
        options.Validate();
        var contracts = Contracts(options);
        Vpn.Configure(options.Vpn, effects);
        _options = options;
        _contracts = contracts;
        foreach (var node in _nodes.Values.Where(node => Authorises(node.Supplier, node.HomeAddress) is null).ToList())
        {
            Clear(node.HomeAddress, now, effects);
        }
    }

    private Contract? Authorises(IPAddress supplier, IPAddress homeAddress) =>
        _contracts.TryGetValue(supplier, out var contract) && contract.Terms.HomePrefixes.Any(prefix => prefix.Contains(homeAddress)) ? contract : null;

    private static Dictionary<IPAddress, Contract> Contracts(CorrespondentGatewayOptions options) =>
        options.Contracts.ToDictionary(terms => terms.HomeAgent, terms => new Contract(terms, options));

    private void Restore(IReadOnlyList<SavedState> state, DateTimeOffset now, EffectSink effects)
    {
        foreach (var saved in state.Where(saved => saved.Key.Table == Table))
        {
            if (!BindingRecord.TryRead(saved.Value, _encoding, supplier => _contracts.GetValueOrDefault(supplier)?.Association.WrappingKey, out var node)
                || Authorises(node.Supplier, node.HomeAddress) is null)
            {
                effects.Emit(new DropState(saved.Key));
                effects.Count("gateway.state.dropped");
                effects.Emit(new Report(new EngineEvent("binding.not_restored", EventSeverity.Warning, $"saved bindings of {saved.Key.Key} cannot be used any more") { Rule = "M9" }));
                continue;
            }

            node = node.Without([.. node.Bindings.Values.Where(b => b.Expires <= now).Select(b => b.Profile.ProfileNumber)]);
            foreach (var late in node.Bindings.Values.Where(b => b.Expires > now + b.Lifetime).ToList())
            {
                // The clock was set back meanwhile; no binding lives longer than it was granted.
                node = node.With(late with { Expires = now + late.Lifetime });
            }

            if (node.Bindings.Count > 0 && Vpn.Set(SessionOf(node), now, effects) is { } refusal)
            {
                Report(effects, "binding.not_restored", EventSeverity.Warning, refusal.Text, node, refusal.Rule);
                node = node.Without([.. node.Bindings.Keys]);
            }

            if (node.Bindings.Count == 0)
            {
                effects.Emit(new DropState(saved.Key));
                continue;
            }

            _nodes[node.HomeAddress] = node;
            _count += node.Bindings.Count;
            Schedule(node);
            effects.Count("gateway.binding.restored", node.Bindings.Count);
        }
    }

    private void OnDeadline(DateTimeOffset now, EffectSink effects)
    {
        Vpn.Expire(now, effects);
        while (_deadlines.TryPeek(out var due, out var at) && at <= now)
        {
            _deadlines.Dequeue();
            if (!_nodes.TryGetValue(due.HomeAddress, out var node) || !node.Bindings.TryGetValue(due.Profile, out var binding))
            {
                continue;
            }

            if (binding.Expires <= now)
            {
                Expire(node, now, effects);
            }
            else if (!binding.Requested && binding.RequestAt(_options.RequestThreshold) <= now)
            {
                Ask(node, binding, now, effects);
            }
        }
    }

    /// <summary>NV7.15: no update came, the data go and with them paths and marks.</summary>
    private void Expire(MobileNodeBindings node, DateTimeOffset now, EffectSink effects)
    {
        var ended = node.Bindings.Values.Where(b => b.Expires <= now).Select(b => b.Profile.ProfileNumber).ToList();
        effects.Count("gateway.binding.expired", ended.Count);
        Report(effects, "binding.expired", EventSeverity.Information, $"the lifetime of {ended.Count} binding(s) ended without an update", node, "NV7.15");
        Replace(node.Without(ended), now, effects, keepInbound: null);
    }

    /// <summary>NV7.13: one BR to the home agent that supplied the data.</summary>
    private void Ask(MobileNodeBindings node, CorrespondentBinding binding, DateTimeOffset now, EffectSink effects)
    {
        if (!_contracts.TryGetValue(node.Supplier, out var contract))
        {
            return;
        }

        // Neighbours about to run down as well are asked for with the same message.
        var soon = now + (binding.Lifetime * _options.RequestThreshold / 4);
        foreach (var other in node.Bindings.Values.Where(b => b.RequestAt(_options.RequestThreshold) <= soon).ToList())
        {
            node = node.With(other with { Requested = true });
        }

        var request = contract.Association.Sign(new BindingRequest
        {
            Lifetime = (ushort)Math.Clamp((binding.Expires - now).TotalSeconds, 0, ushort.MaxValue),
            HomeAddress = node.HomeAddress,
            CareOfAddress = binding.Profile.DestinationGateway,
            Supplier = _options.Gateway,
            Identification = binding.Identification,
            Extensions = node.Nai is { } nai ? MobileIpExtensions.Of(new NaiExtension(nai)) : MobileIpExtensions.None,
        });
        _nodes[node.HomeAddress] = node;
        Save(node, contract, effects);
        effects.Emit(new SendDatagram(new IPEndPoint(_options.Gateway, MobileIpv4Limits.Port), new IPEndPoint(node.Supplier, MobileIpv4Limits.Port), request.ToArray()));
        effects.Count("gateway.br.sent");
        Report(effects, "binding.requested", EventSeverity.Information, "the binding runs low; asking the home agent for a new update", node, "NV7.13");
    }

    private void Clear(IPAddress homeAddress, DateTimeOffset now, EffectSink effects)
    {
        if (_nodes.TryGetValue(homeAddress, out var node))
        {
            Report(effects, "binding.cleared", EventSeverity.Information, "bindings removed by command or configuration", node, "NV9.8");
            Replace(node.Without([.. node.Bindings.Keys]), now, effects, keepInbound: null);
        }
    }

    /// <summary>Puts a node's bindings in place: paths first, then the record, so that what is answered next is true. Null when done.</summary>
    private VpnRefusal? Replace(MobileNodeBindings node, DateTimeOffset now, EffectSink effects, TimeSpan? keepInbound)
    {
        var held = _nodes.GetValueOrDefault(node.HomeAddress);
        var before = held?.Bindings.Count ?? 0;
        if (node.Bindings.Count == 0)
        {
            RememberEnded(node, now);
            Vpn.Remove(node.Session, effects);
            _nodes.Remove(node.HomeAddress);
            effects.Emit(new DropState(new StateKey(Table, node.Session)));
        }
        else
        {
            if (Vpn.Set(SessionOf(node), now, effects, keepInbound) is { } refusal)
            {
                return refusal;
            }

            if (held is not null && !held.Supplier.Equals(node.Supplier))
            {
                RememberEnded(held, now);
            }

            _nodes[node.HomeAddress] = node;
            Schedule(node);
            if (_contracts.TryGetValue(node.Supplier, out var contract))
            {
                Save(node, contract, effects);
            }
        }

        _count += node.Bindings.Count - before;
        return null;
    }

    private void Save(MobileNodeBindings node, Contract contract, EffectSink effects) =>
        effects.Emit(new SaveState(new StateKey(Table, node.Session), BindingRecord.Write(node, _encoding, contract.Association.WrappingKey)));

    private void Schedule(MobileNodeBindings node)
    {
        foreach (var binding in node.Bindings.Values)
        {
            var key = (node.HomeAddress, binding.Profile.ProfileNumber);
            if (!binding.Requested)
            {
                _deadlines.Enqueue(key, binding.RequestAt(_options.RequestThreshold));
            }

            _deadlines.Enqueue(key, binding.Expires);
        }
    }

    /// <summary>Keys that may have been used in an earlier life and are not in use now.</summary>
    private bool IsSpent(VpnProfile profile, MobileNodeBindings? known) => profile.Keying is ProfileKeying.Derived derived && _spentUntil is { } until
        && !Identification.IsAfter(derived.Freshness, Identification.FromTime(until))
        && !(known?.Bindings.TryGetValue(profile.ProfileNumber, out var held) == true && held.Profile.Keying == profile.Keying
            && held.Profile.UpSpi == profile.UpSpi && held.Profile.DestinationGateway.Equals(profile.DestinationGateway));

    private VpnSession SessionOf(MobileNodeBindings node) => new()
    {
        Session = node.Session,
        Nai = node.Nai,
        HomeAddress = node.HomeAddress,
        Profiles = [.. node.Bindings.Values.Select(b => b.Profile).OrderBy(p => p.ProfileNumber)],
    };

    private static void Report(EffectSink effects, string kind, EventSeverity severity, string text, MobileNodeBindings node, string rule) =>
        effects.Emit(new Report(new EngineEvent(kind, severity, text)
        {
            Nai = node.Nai,
            HomeAddress = node.HomeAddress,
            CareOfAddress = node.Bindings.Values.FirstOrDefault()?.Profile.DestinationGateway,
            Peer = node.Supplier.ToString(),
            Rule = rule,
        }));

    /// <summary>A contract with its keys and its share of updates (token bucket).</summary>
    private sealed class Contract(HomeAgentContract terms, CorrespondentGatewayOptions options)
    {
        private double _tokens = options.UpdateBurst;
        private DateTimeOffset _filled;

        public HomeAgentContract Terms => terms;

        public BindingAssociation Association { get; } = new(AuthenticationKind.HomeCorrespondent, terms.Spi, terms.Secret);

        public bool TakeToken(DateTimeOffset now)
        {
            if (now > _filled)
            {
                _tokens = Math.Min(options.UpdateBurst, _tokens + ((now - _filled).TotalSeconds * options.UpdatesPerSecond));
                _filled = now;
            }

            if (_tokens < 1)
            {
                return false;
            }

            _tokens--;
            return true;
        }
    }
}
