using System.Net;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>Binding updates: routine 70 and RFC 6275 10.3.</summary>
public sealed partial class HomeAgent
{
    /// <param name="Source">Where it came from.</param>
    /// <param name="Association">What it came under.</param>
    private sealed record ReceivedUpdate(IPAddress HomeAddress, IPAddress Source, BindingUpdate Update, SignallingAssociation? Association);

    /// <summary>A first registration that waits for the test whether its address is free on the home link.</summary>
    private sealed record PendingRegistration(ReceivedUpdate Received, IPAddress CareOfAddress, ushort Lifetime, IReadOnlyList<IPNetwork> Networks, DateTimeOffset Until);

    private void OnBindingUpdate(MobileIpv6Packet packet, BindingUpdate update, Ipv6PacketReceived received, DateTimeOffset now, EffectSink effects)
    {
        effects.Count("mip6.ha.updates");
        var home = packet.EffectiveSource;
        if (!packet.Destination.Equals(_options.Address) || packet.RoutingHomeAddress is not null || !IPv6Octets.IsUnicastRoutable(home))
        {
            Discard("wrong_selector", "TA-R72", $"a binding update for {home} to {packet.Destination}", effects);
            return;
        }

        if (_protection.Refuse(home, received.Under, prefixDiscovery: false, out var association) is { } refusal)
        {
            // Whoever asks for an address that no policy knows hears nothing, so the operator has to: most likely a prefix is missing in the configuration.
            var (unserved, why) = refusal.Why == "no_policy" ? (EventSeverity.Warning, "it is in no home prefix of this home agent") : (EventSeverity.Debug, refusal.Why);
            Discard(refusal.Why, refusal.Rule, $"a binding update for {home} from {packet.Source}: {why}", effects, unserved);
            return;
        }

        // RFC 6275 9.5.1: with H set there are no nonces; an update that fails this is no valid one and is not answered.
        if (update.Options.Find<NonceIndicesOption>() is not null)
        {
            Discard("nonce_indices", "RFC 6275 9.5.1", $"a home registration of {home} with nonce indices", effects);
            return;
        }

        _advertised.Remove(home);
        var request = new ReceivedUpdate(home, packet.Source, update, association);
        var known = _cache.GetValueOrDefault(home);
        if (known is not null && !BindingSequence.IsNewer(update.SequenceNumber, known.SequenceNumber))
        {
            Answer(BindingStatus.SequenceNumberOutOfWindow, request, known.SequenceNumber, 0, effects);
            return;
        }

        if (_pending.TryGetValue(home, out var pending) && !BindingSequence.IsNewer(update.SequenceNumber, pending.Received.Update.SequenceNumber))
        {
            Discard("repeated", "RFC 6275 10.3.1", $"a binding update for {home} repeats one that waits", effects);
            return;
        }

        var careOf = update.AlternateCareOfAddress ?? packet.Source;
        if (update.Lifetime == 0 || careOf.Equals(home))
        {
            Deregister(request, known, now, effects);
            return;
        }

        var status = Judge(home, careOf, packet.Source, update, known, association, now, out var lifetime, out var networks);
        if (!status.IsAccepted())
        {
            Answer(status, request, update.SequenceNumber, 0, effects);
            return;
        }

        var registration = new PendingRegistration(request, careOf, lifetime, networks, now + DuplicateTestTime);
        if (known is null or { Deleted: true } && PrefixOf(home, now) is { OnLink: true })
        {
            // RFC 6275 10.3.1: nobody else may hold the address. A newer update while the test runs takes its place.
            if (pending is not null)
            {
                registration = registration with { Until = pending.Until };
            }
            else
            {
                TestForDuplicate(home, effects);
            }

            _pending[home] = registration;
            return;
        }

        Accept(registration, now, effects);
    }

    private BindingStatus Judge(
        IPAddress home, IPAddress careOf, IPAddress source, BindingUpdate update, BindingCacheEntry? known, SignallingAssociation? association, DateTimeOffset now, out ushort lifetime, out IReadOnlyList<IPNetwork> networks)
    {
        lifetime = 0;
        networks = [];
        if (PrefixOf(home, now) is not { } prefix)
        {
            return BindingStatus.NotHomeSubnet;
        }

        if (home.Equals(_options.Address))
        {
            return BindingStatus.AdministrativelyProhibited;
        }

        if (!IPv6Octets.IsUnicastRoutable(careOf) || careOf.Equals(_options.Address)
            || (!_options.ForeignCareOfAddresses && !careOf.Equals(source) && !careOf.Equals(association?.Peer))
            || (_cache.TryGetValue(careOf, out var other) && !other.Deleted))
        {
            // The last test: two bindings that name each other would send packets round in circles.
            return BindingStatus.InvalidCareOfAddress;
        }

        var router = update.Has(BindingUpdateFlags.MobileRouter);
        if (known is { Deleted: false } && known.Flags.HasFlag(BindingUpdateFlags.MobileRouter) != router)
        {
            return BindingStatus.RegistrationTypeChangeDisallowed;
        }

        if (router && JudgeNetworks(home, update, out networks) is { } refused)
        {
            return refused;
        }

        if (router && MovesInside(careOf, networks))
        {
            return BindingStatus.InvalidCareOfAddress;
        }

        if (known is null or { Deleted: true } && _cache.Count + _pending.Count >= _options.MaximumBindings && !_pending.ContainsKey(home))
        {
            return BindingStatus.InsufficientResources;
        }

        var longest = MobileIpv6Limits.ToUnits(_options.LongestBinding);
        lifetime = Math.Min(Math.Min(update.Lifetime, longest), MobileIpv6Limits.ToUnits(prefix.ValidUntil - now));
        return lifetime > 0 ? BindingStatus.Accepted : BindingStatus.NotHomeSubnet;
    }

    /// <summary>RFC 3963 6.2: prefixes named have to be the router's own; with none named all of them are meant.</summary>
    private BindingStatus? JudgeNetworks(IPAddress home, BindingUpdate update, out IReadOnlyList<IPNetwork> networks)
    {
        networks = [];
        if (!_options.MobileNetworks.TryGetValue(home, out var allowed))
        {
            return BindingStatus.MobileRouterOperationNotPermitted;
        }

        IPNetwork[] named = [.. update.Options.OfType<MobileNetworkPrefixOption>().Select(o => o.Prefix).Distinct()];
        if (named.Any(n => n.PrefixLength == 0 || !IPv6Octets.IsUnicastRoutable(n.BaseAddress)))
        {
            return BindingStatus.InvalidPrefix;
        }

        if (!named.All(n => MayBring(home, n)))
        {
            return BindingStatus.NotAuthorizedForPrefix;
        }

        networks = named.Length > 0 ? named : allowed;
        return networks.Count > 0 ? null : BindingStatus.ForwardingSetupFailed;
    }

    private bool MayBring(IPAddress home, IPNetwork network) =>
        _options.MobileNetworks.TryGetValue(home, out var allowed) && allowed.Any(a => a.PrefixLength <= network.PrefixLength && a.Contains(network.BaseAddress));

    /// <summary>Whether a care-of address is in one of these networks, or in one that moves in them: packets would be sent round in circles.</summary>
    private bool MovesInside(IPAddress careOf, IReadOnlyList<IPNetwork> networks)
    {
        for (var level = 0; level < _options.MobileNetworks.Count; level++)
        {
            if (networks.Any(n => n.Contains(careOf)))
            {
                return true;
            }

            var around = _options.MobileNetworks.Keys.Select(home => _cache.GetValueOrDefault(home)).FirstOrDefault(e => e is { Deleted: false } && e.MobileNetworks.Any(n => n.Contains(careOf)));
            if (around is null)
            {
                return false;
            }

            careOf = around.CareOfAddress;
        }

        return false;
    }

    private void Accept(PendingRegistration registration, DateTimeOffset now, EffectSink effects)
    {
        var (home, _, update, association) = registration.Received;
        if (PrefixOf(home, now) is not { } prefix)
        {
            Answer(BindingStatus.NotHomeSubnet, registration.Received, update.SequenceNumber, 0, effects);
            return;
        }

        var valid = MobileIpv6Limits.ToUnits(prefix.ValidUntil - now);
        var lifetime = Math.Min(registration.Lifetime, valid);
        var status = MobileIpv6Limits.ToUnits(prefix.PreferredUntil - now) < lifetime || valid == lifetime
            ? BindingStatus.AcceptedPrefixDiscoveryNecessary
            : BindingStatus.Accepted;
        var before = _cache.GetValueOrDefault(home);
        var entry = new BindingCacheEntry
        {
            HomeAddress = home,
            CareOfAddress = registration.CareOfAddress,
            Expires = now + (lifetime * MobileIpv6Limits.LifetimeUnit),
            SequenceNumber = update.SequenceNumber,
            Flags = update.Flags,
            Association = association?.Number,
            Identifier = association?.Identifier,
            MobileNetworks = registration.Networks,
        };
        var name = NameFor(update, entry.Identifier, out var refused);
        entry = entry with { Name = name ?? (update.Options.Find<DnsUpdateOption>() is { Remove: true } && !refused ? null : before?.Name) };
        Keep(entry);
        effects.Emit(new SaveState(BindingCacheRecord.KeyOf(home), BindingCacheRecord.Write(entry)));
        Serve(entry, before is { Deleted: false } ? before : null, now, effects);
        effects.Count("mip6.ha.accepted");
        effects.Emit(new Report(new EngineEvent(before is { Deleted: false } ? "binding.updated" : "binding.registered", EventSeverity.Information, $"{home} is at {entry.CareOfAddress} for {lifetime * 4} s")
        {
            HomeAddress = home,
            CareOfAddress = entry.CareOfAddress,
            Peer = entry.Identifier,
            Rule = "TA-R74",
        }));
        MoveKeyManagement(entry.Association, update, before, entry.CareOfAddress, effects);
        NameAndAnswer(status, registration.Received, lifetime, name, refused, now, effects);
    }

    /// <summary>Tunnel and proxy as the binding wants them; what a former one had beyond it goes.</summary>
    private void Serve(BindingCacheEntry entry, BindingCacheEntry? before, DateTimeOffset now, EffectSink effects)
    {
        VpnPath[] paths = [.. Paths(entry, _options.Address)];
        PathId[] gone = before is null ? [] : [.. Paths(before, _options.Address).Select(p => p.Id).Except(paths.Select(p => p.Id))];
        effects.Emit(new ChangePaths(paths, gone));
        if (before is null)
        {
            effects.Emit(new AttractHomeAddress(entry.HomeAddress, null));
            if (PrefixOf(entry.HomeAddress, now) is { OnLink: true })
            {
                AnswerForEverybody(entry, effects);
            }
        }
    }

    /// <summary>RFC 6275 10.3.1: K moves the key management's peer with the binding, without K its connections to the old place go.</summary>
    private void MoveKeyManagement(long? number, BindingUpdate update, BindingCacheEntry? before, IPAddress careOf, EffectSink effects)
    {
        var association = number is { } known ? _protection.Find(known) : null;
        if (association is { Moves: true } && update.Has(BindingUpdateFlags.KeyManagementMobility))
        {
            if (!association.Peer.Equals(careOf))
            {
                _protection.Move(association, careOf);
                effects.Emit(new MoveAssociation(association.Number, careOf));
            }
        }
        else if (before is { Deleted: false } && !before.CareOfAddress.Equals(careOf))
        {
            effects.Emit(new DiscardKeyManagement(before.HomeAddress, before.CareOfAddress));
        }
    }

    private void Deregister(ReceivedUpdate request, BindingCacheEntry? known, DateTimeOffset now, EffectSink effects)
    {
        var (home, source, update, _) = request;
        var waited = _pending.Remove(home);
        if (known is null or { Deleted: true } && !waited)
        {
            Answer(BindingStatus.NotHomeAgentForThisMobileNode, request, update.SequenceNumber, 0, effects);
            return;
        }

        var deleted = (known ?? new BindingCacheEntry { HomeAddress = home, CareOfAddress = source, Expires = now, SequenceNumber = 0, Flags = update.Flags }) with
        {
            Deleted = true,
            SequenceNumber = update.SequenceNumber,
            Expires = now + DeletedEntryTime,
            Name = null,
        };
        effects.Emit(new SaveState(BindingCacheRecord.KeyOf(home), BindingCacheRecord.Write(deleted)));
        if (known is { Deleted: false })
        {
            Release(known, effects);
        }

        Keep(deleted);
        effects.Count("mip6.ha.deregistered");
        effects.Emit(new Report(new EngineEvent("binding.deregistered", EventSeverity.Information, $"{home} has given up its binding") { HomeAddress = home, Peer = deleted.Identifier, Rule = "TA-R74" }));
        // Home again, or away still and with no wish to be reached: the key management's peer is where the update came from.
        MoveKeyManagement(known?.Association, update, known, source, effects);
        NameAndAnswer(BindingStatus.Accepted, request, 0, name: null, refused: false, now, effects);
    }

    /// <summary>R75 to R77: to where the update came from, under what it came under, with the home address in the routing header when that is somewhere else.</summary>
    private void Answer(BindingStatus status, ReceivedUpdate request, ushort sequence, ushort lifetime, EffectSink effects, DnsUpdateOption? name = null)
    {
        var (home, source, update, association) = request;
        if (!status.IsAccepted())
        {
            effects.Count("ha.bu_refused");
            effects.Count($"mip6.ha.refused.{(byte)status}");
            effects.Emit(new Report(new EngineEvent("binding.refused", EventSeverity.Information, $"{home} at {source}: {status}") { HomeAddress = home, CareOfAddress = source, Rule = "TA-R74" }));
        }

        if (!_protection.TryFindOutgoing(home, prefixDiscovery: false, association?.Number, out var under, out var why))
        {
            effects.Count($"mip6.ha.unsent.{why}");
            effects.Emit(new Report(new EngineEvent("binding.unanswered", EventSeverity.Warning, $"no acknowledgement to {home} at {source}: {why}") { HomeAddress = home, Rule = why == "no_policy" ? "TA-R75" : "TA-R76" }));
            return;
        }

        var flags = BindingAcknowledgementFlags.None;
        if (status.IsAccepted() && update.Has(BindingUpdateFlags.KeyManagementMobility) && under is { } number && _protection.Find(number) is { Moves: true })
        {
            flags |= BindingAcknowledgementFlags.KeyManagementMobility;
        }

        if (status.IsAccepted() && update.Has(BindingUpdateFlags.MobileRouter))
        {
            flags |= BindingAcknowledgementFlags.MobileRouter;
        }

        Send(new BindingAcknowledgement { Status = status, Flags = flags, SequenceNumber = sequence, Lifetime = lifetime, Options = name is null ? MobilityOptions.None : MobilityOptions.Of(name) }, source, source.Equals(home) ? null : home, under, effects);
    }
}
