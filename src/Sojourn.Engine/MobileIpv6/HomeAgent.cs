// Readings:
// - Routine 70 goes first to last as the specification has it: Home Address option (R71), association (R72), policy (R73),
//   Mobile IPv6 (R74), policy and association of the answer (R75, R76), addresses (R77). A discard is silent (R78): no
//   ICMPv6 error leaves for a malformed Mobility Header either, which RFC 6275 9.2 would allow.
// - A missing Home Address option is legal when the sender is at home (RFC 6275 10.3.2). The source then is the home address,
//   and R72 asks for an association of that very address; from anywhere else it fails there.
// - The option R and the list of allowed prefixes go together: implicit mode registers all of a router's prefixes (RFC 3963 6.1.2).
// - The sequence number is judged before everything else of R74, and remembered of updates that are refused for other reasons
//   only when a binding stands (RFC 6275 9.5.1: "previous valid binding update").
// - Bindings live in the store, so an acknowledgement carries no refresh advice (RFC 6275 10.3.1).
using System.Net;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>
/// Mobile IPv6 home agent (RFC 6275 10, RFC 3963 6, spec authentication 4.2): keeps the binding cache, answers for home
/// addresses on the home link, answers discovery, tells prefixes. What IPsec does stands outside; a packet comes with the
/// association it came under and leaves with the one it has to leave under.
/// Commands: <see cref="SetHomePrefixes"/>, <see cref="AdvertisePrefixes"/>, <see cref="ClearBinding"/>.
/// </summary>
public sealed partial class HomeAgent : IEngine
{
    /// <summary>MAX_DELETE_BCE_TIMEOUT (RFC 6275 12).</summary>
    public static readonly TimeSpan DeletedEntryTime = TimeSpan.FromSeconds(10);

    private readonly HomeAgentOptions _options;
    private readonly IRandomSource _random;
    private readonly SignallingProtection _protection;
    private readonly Dictionary<IPAddress, BindingCacheEntry> _cache = [];
    private readonly Dictionary<IPAddress, PendingRegistration> _pending = [];

    /// <summary>Ends of entries. An entry that was renewed stands in it with its former ends too, which wake for nothing.</summary>
    private readonly PriorityQueue<IPAddress, DateTimeOffset> _ends = new();
    private IReadOnlyList<HomePrefix> _prefixes;
    private bool _running;

    public HomeAgent(HomeAgentOptions options, IRandomSource random)
    {
        options.Validate();
        _options = options;
        _random = random;
        _prefixes = options.Prefixes;
        _protection = new SignallingProtection(options.Policies);
        Certificates = options.KeepsCertificates ? new TerminalCertificates() : null;
    }

    /// <summary>Registrations in force.</summary>
    public IEnumerable<BindingCacheEntry> Bindings => _cache.Values.Where(e => !e.Deleted);

    /// <summary>What is remembered of a home address; null = nothing.</summary>
    public BindingCacheEntry? Find(IPAddress homeAddress) => _cache.GetValueOrDefault(homeAddress);

    public DateTimeOffset? NextDeadline
    {
        get
        {
            if (!_running)
            {
                return null;
            }

            DateTimeOffset? next = _ends.TryPeek(out _, out var end) ? end : null;
            foreach (var pending in _pending.Values)
            {
                next = Earlier(next, pending.Until);
            }

            foreach (var advertised in _advertised.Values)
            {
                next = Earlier(next, advertised.Next);
            }

            return Earliest(next, Earliest(NextName, NextQuestion));
        }
    }

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case EngineStarted started:
                _running = true;
                Restore(started.State, now, effects);
                break;
            case EngineStopping:
                _running = false;
                break;
            case AssociationEstablished established:
                _protection.Add(established.Association);
                if (_cache.TryGetValue(established.Association.HomeAddress, out var bound) && !bound.Deleted)
                {
                    Shorten(bound, now, effects);
                }

                break;
            case AssociationEnded ended:
                OnAssociationEnded(ended, effects);
                break;
            case SetHomePrefixes prefixes:
                OnPrefixes(prefixes.Prefixes, now, effects);
                break;
            case KeepCertificate keep:
                OnKeepCertificate(keep, now, effects);
                break;
            case ForgetCertificate forget:
                OnForgetCertificate(forget, effects);
                break;
            case PermissionAnswered permission:
                OnPermission(permission, now, effects);
                break;
            case NameAnswered name:
                OnName(name, effects);
                break;
            case AdvertisePrefixes advertise:
                OnAdvertiseWanted(advertise.HomeAddresses, now, effects);
                break;
            case ClearBinding clear:
                Remove(clear.HomeAddress, "binding.cleared", "cleared by command", effects);
                break;
            case Ipv6PacketReceived packet:
                OnPacket(packet, now, effects);
                break;
            case DeadlineReached:
                OnDeadline(now, effects);
                break;
        }
    }

    private static DateTimeOffset? Earlier(DateTimeOffset? one, DateTimeOffset other) => one is { } first && first < other ? first : other;

    private static DateTimeOffset? Earliest(DateTimeOffset? one, DateTimeOffset? other) => other is { } second ? Earlier(one, second) : one;

    private void OnPacket(Ipv6PacketReceived received, DateTimeOffset now, EffectSink effects)
    {
        if (!MobileIpv6Packet.TryParse(received.Packet.Span, out var packet, out var error))
        {
            Discard("malformed", "TA-R71", error.ToString(), effects);
            return;
        }

        switch (packet.Protocol)
        {
            case IpProtocol.Mobility:
                OnMobilityHeader(packet, received, now, effects);
                break;
            case IpProtocol.Icmpv6:
                OnIcmp(packet, received, now, effects);
                break;
        }
    }

    private void OnMobilityHeader(MobileIpv6Packet packet, Ipv6PacketReceived received, DateTimeOffset now, EffectSink effects)
    {
        if (!MobilityMessage.ChecksumIsRight(packet.Payload.Span, packet.EffectiveSource, packet.EffectiveDestination))
        {
            effects.Count("mh.malformed");
            Discard("checksum", "RFC 6275 9.2", $"a Mobility Header of {packet.Source} has a wrong checksum", effects);
            return;
        }

        if (!MobilityMessage.TryParse(packet.Payload.Span, out var message, out var error))
        {
            effects.Count("mh.malformed");
            Discard("malformed", "TA-R78", error.ToString(), effects);
            return;
        }

        switch (message)
        {
            case BindingUpdate update when update.Has(BindingUpdateFlags.HomeRegistration):
                OnBindingUpdate(packet, update, received, now, effects);
                break;
            case UnknownMobilityMessage unknown when packet.Destination.Equals(_options.Address):
                SendBindingError(packet, unknown, effects);
                break;
            default:
                Discard("not_for_a_home_agent", "RFC 6275 10", $"{message.Type} from {packet.Source}", effects);
                break;
        }
    }

    private void SendBindingError(MobileIpv6Packet packet, UnknownMobilityMessage unknown, EffectSink effects)
    {
        // Only who is not multicast, to a packet that was not either (RFC 6275 9.3.3).
        if (IPv6Octets.IsUnicastRoutable(packet.Source))
        {
            effects.Count("mip6.ha.error_sent");
            Send(new BindingError(BindingErrorStatus.UnrecognizedMobilityHeader, packet.HomeAddress ?? IPAddress.IPv6Any), packet.Source, null, null, effects);
        }

        effects.Count("mh.malformed");
        Discard("unknown_type", "RFC 6275 9.2", $"MH Type {unknown.MessageType} from {packet.Source}", effects);
    }

    private void Send(MobilityMessage message, IPAddress destination, IPAddress? home, long? under, EffectSink effects) => effects.Emit(new SendIpv6Packet(
        new MobileIpv6Packet
        {
            Source = _options.Address,
            Destination = destination,
            RoutingHomeAddress = home,
            Protocol = IpProtocol.Mobility,
            Payload = message.ToArray(_options.Address, home ?? destination),
        }.ToArray(), under));

    private static void Discard(string why, string rule, string text, EffectSink effects, EventSeverity severity = EventSeverity.Debug)
    {
        effects.Count($"mip6.ha.discarded.{why}");
        effects.Emit(new Report(new EngineEvent("binding.discarded", severity, text) { Rule = rule }));
    }

    private HomePrefix? PrefixOf(IPAddress home, DateTimeOffset now) => _protection.For(home)?.Prefix is { } allocated
        ? allocated.IsValid(now) ? allocated : null
        : _prefixes.Where(p => p.IsValid(now) && p.Prefix.Contains(home)).MaxBy(p => p.Prefix.PrefixLength);

    private void OnAssociationEnded(AssociationEnded ended, EffectSink effects)
    {
        if (_protection.Remove(ended.Number) is { } gone && ended.EndBinding && _protection.For(gone.HomeAddress) is null)
        {
            _pending.Remove(gone.HomeAddress);
            Remove(gone.HomeAddress, "binding.revoked", $"the association of {gone.Identifier} was withdrawn", effects);
        }
    }

    private void OnDeadline(DateTimeOffset now, EffectSink effects)
    {
        while (_ends.TryPeek(out var home, out var end) && end <= now)
        {
            _ends.Dequeue();
            if (!_cache.TryGetValue(home, out var entry) || entry.Expires > now)
            {
                continue;
            }

            if (entry.Deleted)
            {
                Forget(entry, effects);
            }
            else
            {
                Remove(entry.HomeAddress, "binding.expired", "its lifetime is over", effects);
            }
        }

        foreach (var pending in _pending.Values.Where(p => p.Until <= now).ToList())
        {
            _pending.Remove(pending.Received.HomeAddress);
            Accept(pending, now, effects);
        }

        RepeatAdvertisements(now, effects);
        RepeatQuestions(now, effects);
        GiveUpOnNames(now, effects);
    }

    /// <summary>A binding ends before its time because its prefix does (spec TA-L2, TA-L4).</summary>
    private void ShortenBindings(DateTimeOffset now, EffectSink effects)
    {
        foreach (var entry in _cache.Values.Where(e => !e.Deleted).ToList())
        {
            Shorten(entry, now, effects);
        }
    }

    private void Shorten(BindingCacheEntry entry, DateTimeOffset now, EffectSink effects)
    {
        if (PrefixOf(entry.HomeAddress, now) is not { } prefix)
        {
            Remove(entry.HomeAddress, "binding.expired", "its prefix is gone", effects);
        }
        else if (prefix.ValidUntil < entry.Expires)
        {
            var shorter = entry with { Expires = prefix.ValidUntil };
            Keep(shorter);
            effects.Emit(new SaveState(BindingCacheRecord.KeyOf(entry.HomeAddress), BindingCacheRecord.Write(shorter)));
        }
    }

    private void Keep(BindingCacheEntry entry)
    {
        _cache[entry.HomeAddress] = entry;
        _ends.Enqueue(entry.HomeAddress, entry.Expires);
        if (_ends.Count > (2 * _cache.Count) + 64)
        {
            _ends.Clear();
            _ends.EnqueueRange(_cache.Values.Select(e => (e.HomeAddress, e.Expires)));
        }
    }

    private void Remove(IPAddress home, string kind, string why, EffectSink effects)
    {
        if (_cache.TryGetValue(home, out var entry) && !entry.Deleted)
        {
            Release(entry, effects);
            Forget(entry, effects);
            effects.Emit(new Report(new EngineEvent(kind, EventSeverity.Information, $"the binding of {home} ended: {why}") { HomeAddress = home, CareOfAddress = entry.CareOfAddress, Peer = entry.Identifier }));
        }
    }

    private void Forget(BindingCacheEntry entry, EffectSink effects)
    {
        _cache.Remove(entry.HomeAddress);
        _advertised.Remove(entry.HomeAddress);
        _permissions.Remove(entry.HomeAddress);
        _waitingAnswers.Remove(entry.HomeAddress);
        FreeName(entry.HomeAddress, effects);
        effects.Emit(new DropState(BindingCacheRecord.KeyOf(entry.HomeAddress)));
    }

    /// <summary>Neither tunnel nor proxy any more.</summary>
    private static void Release(BindingCacheEntry entry, EffectSink effects)
    {
        effects.Emit(new ChangePaths([], [.. Paths(entry, entry.CareOfAddress).Select(p => p.Id)]));
        effects.Emit(new ReleaseHomeAddress(entry.HomeAddress));
    }

    private static IEnumerable<VpnPath> Paths(BindingCacheEntry entry, IPAddress agent) =>
    [
        MobileTunnel.AtHomeAgent(entry.HomeAddress, new IPNetwork(entry.HomeAddress, 128), MobileTunnel.IdOf(entry.HomeAddress), agent, entry.CareOfAddress),
        .. entry.MobileNetworks.Select(n => MobileTunnel.AtHomeAgent(entry.HomeAddress, n, MobileTunnel.IdOf(entry.HomeAddress, n), agent, entry.CareOfAddress)),
    ];

    private void Restore(IReadOnlyList<SavedState> state, DateTimeOffset now, EffectSink effects)
    {
        Certificates?.Restore(state, effects);
        foreach (var saved in state.Where(s => s.Key.Table == BindingCacheRecord.Table))
        {
            if (BindingCacheRecord.Read(saved.Value) is not { } entry || entry.Expires <= now || (!entry.Deleted && (PrefixOf(entry.HomeAddress, now) is null || !entry.MobileNetworks.All(n => MayBring(entry.HomeAddress, n)))))
            {
                effects.Emit(new DropState(saved.Key));
                if (BindingCacheRecord.Read(saved.Value) is { Name: { } over } gone)
                {
                    effects.Emit(new ReleaseName(gone.HomeAddress, over));
                }

                continue;
            }

            if (entry.Name is { } name)
            {
                _names[entry.HomeAddress] = (name, false);
            }

            Keep(entry);
            if (!entry.Deleted)
            {
                Serve(entry, null, now, effects);
            }
        }

        ShortenBindings(now, effects);
    }
}
