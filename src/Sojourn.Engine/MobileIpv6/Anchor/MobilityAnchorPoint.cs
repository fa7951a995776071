// Readings:
// - A local update in clear is a trigger and no more (spec G27): it is bound once access was granted and there is an association
//   of that address and that identifier, and only when the association's peer stands where the update came from. Else the
//   terminal's next one, under the association, is what is bound.
// - An update of a regional address that is bound must come under its association; in clear it moves nothing and starts nothing.
// - A refusal goes in clear when there is no association for it (spec TA3.150x); a terminal takes that for a hint.
using System.Net;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>
/// Mobility anchor point (RFC 5380 6.2; spec P4, D10): binds regional to on-link addresses of terminals that have passed access
/// authentication, and tunnels between. Inputs: <see cref="Ipv6PacketReceived"/>, associations, <see cref="AccessDecided"/>,
/// <see cref="WithdrawAccess"/>.
/// </summary>
public sealed class MobilityAnchorPoint : IEngine
{
    private const string Table = "anchor6";

    private readonly MobilityAnchorPointOptions _options;
    private readonly SignallingProtection _protection;
    private readonly Dictionary<IPAddress, BindingCacheEntry> _bindings = [];
    private readonly Dictionary<IPAddress, Waiting> _waiting = [];
    private readonly Dictionary<IPAddress, Access> _access = [];

    public MobilityAnchorPoint(MobilityAnchorPointOptions options)
    {
        _options = options;
        _protection = new SignallingProtection(
        [
            .. options.Unprotected.Select(addresses => new SignallingPolicy(addresses, SignallingTreatment.Bypass, SignallingTreatment.Discard)),
            new SignallingPolicy(options.RegionalPrefix, SignallingTreatment.Protect, SignallingTreatment.Discard),
        ]);
    }

    /// <summary>Local update that waits for access.</summary>
    private sealed record Waiting(IPAddress OnLink, BindingUpdate Update, long? Under, DateTimeOffset Until);

    private sealed record Access(string Identifier, DateTimeOffset Until);

    /// <summary>Table D10: home address is the regional, care-of address the on-link one.</summary>
    public IEnumerable<BindingCacheEntry> Bindings => _bindings.Values;

    public DateTimeOffset? NextDeadline
    {
        get
        {
            DateTimeOffset? next = null;
            foreach (var at in _bindings.Values.Select(b => b.Expires).Concat(_waiting.Values.Select(w => w.Until)).Concat(_access.Values.Select(a => a.Until)))
            {
                next = next is { } first && first < at ? first : at;
            }

            return next;
        }
    }

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case EngineStarted started:
                Restore(started.State, now, effects);
                break;
            case AssociationEstablished established:
                _protection.Add(established.Association);
                Complete(established.Association.HomeAddress, now, effects);
                break;
            case AssociationEnded ended:
                if (_protection.Remove(ended.Number) is { } gone && ended.EndBinding && _protection.For(gone.HomeAddress) is null)
                {
                    Remove(gone.HomeAddress, "binding.revoked", $"the association of {gone.Identifier} was withdrawn", effects);
                }

                break;
            case AccessDecided decided:
                OnDecided(decided, now, effects);
                break;
            case WithdrawAccess withdrawn:
                foreach (var regional in _access.Where(a => a.Value.Identifier == withdrawn.Identifier).Select(a => a.Key).ToList())
                {
                    _access.Remove(regional);
                    _waiting.Remove(regional);
                    Remove(regional, "binding.revoked", $"the access of {withdrawn.Identifier} was withdrawn", effects);
                }

                break;
            case Ipv6PacketReceived packet:
                OnPacket(packet, now, effects);
                break;
            case DeadlineReached:
                OnDeadline(now, effects);
                break;
        }
    }

    private void OnPacket(Ipv6PacketReceived received, DateTimeOffset now, EffectSink effects)
    {
        if (!MobileIpv6Packet.TryParse(received.Packet.Span, out var packet, out _) || packet.Protocol != IpProtocol.Mobility || !packet.Destination.Equals(_options.Address)
            || !MobilityMessage.ChecksumIsRight(packet.Payload.Span, packet.EffectiveSource, packet.EffectiveDestination)
            || !MobilityMessage.TryParse(packet.Payload.Span, out var message, out _) || message is not BindingUpdate update)
        {
            Discard("not_for_an_anchor", "RFC 5380 6.2", "a packet that is no local binding update", effects);
            return;
        }

        const BindingUpdateFlags wanted = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.MobilityAnchorPoint;
        var (regional, onLink) = (packet.EffectiveSource, packet.Source);
        if ((update.Flags & wanted) != wanted || update.Has(BindingUpdateFlags.HomeRegistration) || packet.HomeAddress is null || packet.RoutingHomeAddress is not null)
        {
            Discard("flags", "TA-M67", $"a binding update for {regional} that is not local", effects);
            return;
        }

        effects.Count("hmip6.map.updates");
        if (!_options.RegionalPrefix.Contains(regional) || regional.Equals(_options.Address) || !IPv6Octets.IsUnicastRoutable(regional) || !IPv6Octets.IsUnicastRoutable(onLink))
        {
            Discard("wrong_selector", "TA-H25", $"a local binding update of {onLink} for {regional}", effects);
            return;
        }

        OnUpdate(regional, onLink, update, received.Under, now, effects);
    }

    private void OnUpdate(IPAddress regional, IPAddress onLink, BindingUpdate update, long? under, DateTimeOffset now, EffectSink effects)
    {
        var refusal = _protection.Refuse(regional, under, prefixDiscovery: false, out var association);
        if (refusal is { Why: not "unprotected" } wrong)
        {
            Discard(wrong.Why, "TA-H25", $"a local binding update of {onLink} for {regional}", effects);
            return;
        }

        var known = _bindings.GetValueOrDefault(regional);
        if (refusal is not null && (known is not null || _access.ContainsKey(regional)))
        {
            Discard("unprotected", "TA-H25", $"a local binding update in clear of {onLink} for {regional}, which is somebody's", effects);
            return;
        }

        if (known is not null && !BindingSequence.IsNewer(update.SequenceNumber, known.SequenceNumber))
        {
            Answer(BindingStatus.SequenceNumberOutOfWindow, regional, onLink, known.SequenceNumber, 0, effects);
            return;
        }

        if (update.Lifetime == 0)
        {
            TakeBack(regional, onLink, update, known, effects);
            return;
        }

        if ((update.AlternateCareOfAddress is { } other && !other.Equals(onLink)) || (_options.DomainPrefixes.Count > 0 && !_options.DomainPrefixes.Any(p => p.Contains(onLink))))
        {
            Answer(BindingStatus.AdministrativelyProhibited, regional, onLink, update.SequenceNumber, 0, effects);
            return;
        }

        if (_access.TryGetValue(regional, out var access) && (association is null || association.Identifier == access.Identifier))
        {
            Bind(regional, onLink, update, association, access, now, effects);
            return;
        }

        if (_waiting.TryGetValue(regional, out var waiting))
        {
            // The latest is the one that is answered; access is under way.
            if (BindingSequence.IsNewer(update.SequenceNumber, waiting.Update.SequenceNumber))
            {
                _waiting[regional] = waiting with { OnLink = onLink, Update = update, Under = under };
            }

            return;
        }

        if (_waiting.Count >= _options.MaximumWaiting || _bindings.Count >= _options.MaximumBindings)
        {
            Discard("full", "RFC 6275 9.5.1", $"a local binding update of {onLink}", effects);
            return;
        }

        _waiting[regional] = new Waiting(onLink, update, under, now + _options.AccessWait);
        effects.Emit(new Report(new EngineEvent("access.wanted", EventSeverity.Information, $"{onLink} wants to be anchored as {regional}; access authentication begins") { CareOfAddress = onLink, Rule = "TA3.163a" }));
        effects.Emit(new AccessWanted(regional, onLink));
    }

    private void OnDecided(AccessDecided decided, DateTimeOffset now, EffectSink effects)
    {
        var regional = decided.RegionalAddress;
        var another = _bindings.TryGetValue(regional, out var bound) && bound.Identifier != decided.Identifier;
        if (decided.Allowed && decided.Until > now && !another)
        {
            _access[regional] = new Access(decided.Identifier, decided.Until);
            Complete(regional, now, effects);
        }
        else if (_waiting.Remove(regional, out var waiting))
        {
            Answer(BindingStatus.AdministrativelyProhibited, regional, waiting.OnLink, waiting.Update.SequenceNumber, 0, effects);
        }
    }

    /// <summary>Binds what waits, once it has both access and an association.</summary>
    private void Complete(IPAddress regional, DateTimeOffset now, EffectSink effects)
    {
        if (!_waiting.TryGetValue(regional, out var waiting) || !_access.TryGetValue(regional, out var access))
        {
            return;
        }

        var association = _protection.For(regional);
        if (IsUnprotected(regional)
            || (association is not null && association.Identifier == access.Identifier && (association.Number == waiting.Under || association.Peer.Equals(waiting.OnLink))))
        {
            _waiting.Remove(regional);
            Bind(regional, waiting.OnLink, waiting.Update, association, access, now, effects);
        }
    }

    private void Bind(IPAddress regional, IPAddress onLink, BindingUpdate update, SignallingAssociation? association, Access access, DateTimeOffset now, EffectSink effects)
    {
        _waiting.Remove(regional);
        var lifetime = Math.Min(Math.Min(update.Lifetime, MobileIpv6Limits.ToUnits(_options.LongestBinding)), MobileIpv6Limits.ToUnits(access.Until - now));
        if (lifetime == 0)
        {
            Answer(BindingStatus.AdministrativelyProhibited, regional, onLink, update.SequenceNumber, 0, effects);
            return;
        }

        var before = _bindings.GetValueOrDefault(regional);
        var entry = new BindingCacheEntry
        {
            HomeAddress = regional,
            CareOfAddress = onLink,
            Expires = now + (lifetime * MobileIpv6Limits.LifetimeUnit),
            SequenceNumber = update.SequenceNumber,
            Flags = update.Flags,
            Association = association?.Number,
            Identifier = access.Identifier,
        };
        _bindings[regional] = entry;
        effects.Emit(new SaveState(new StateKey(Table, regional.ToString()), BindingCacheRecord.Write(entry)));
        effects.Emit(new ChangePaths([MobileTunnel.AtAnchor(regional, _options.Address, onLink)], []));
        if (before is null)
        {
            effects.Emit(new AttractHomeAddress(regional, null));
        }

        if (association is { Moves: true } && !association.Peer.Equals(onLink))
        {
            _protection.Move(association, onLink);
            effects.Emit(new MoveAssociation(association.Number, onLink));
        }

        effects.Count("hmip6.map.accepted");
        effects.Emit(new Report(new EngineEvent(before is null ? "binding.registered" : "binding.updated", EventSeverity.Information, $"{regional} of {access.Identifier} is at {onLink} for {lifetime * 4} s")
        {
            HomeAddress = regional,
            CareOfAddress = onLink,
            Peer = access.Identifier,
            Rule = before is null ? "TA3.150a" : "TA3.166",
        }));
        Answer(BindingStatus.Accepted, regional, onLink, update.SequenceNumber, lifetime, effects);
    }

    private void TakeBack(IPAddress regional, IPAddress onLink, BindingUpdate update, BindingCacheEntry? known, EffectSink effects)
    {
        if (known is null)
        {
            Discard("unknown", "RFC 6275 10.3.2", $"{onLink} takes back {regional}, which is not bound", effects);
            return;
        }

        Remove(regional, "binding.deregistered", "the terminal took it back", effects);
        Answer(BindingStatus.Accepted, regional, onLink, update.SequenceNumber, 0, effects);
    }

    private void Answer(BindingStatus status, IPAddress regional, IPAddress onLink, ushort sequence, ushort lifetime, EffectSink effects)
    {
        if (!status.IsAccepted())
        {
            effects.Count($"hmip6.map.refused.{(byte)status}");
            effects.Emit(new Report(new EngineEvent("binding.refused", EventSeverity.Information, $"{regional} at {onLink}: {status}") { HomeAddress = regional, CareOfAddress = onLink, Rule = "TA3.150x" }));
        }

        var isProtected = _protection.TryFindOutgoing(regional, prefixDiscovery: false, null, out var under, out _);
        if (!isProtected && status.IsAccepted())
        {
            effects.Count("hmip6.map.unsent");
            return;
        }

        // The routing header names the regional address (RFC 5380 6.2).
        effects.Emit(new SendIpv6Packet(
            new MobileIpv6Packet
            {
                Source = _options.Address,
                Destination = onLink,
                RoutingHomeAddress = regional,
                Protocol = IpProtocol.Mobility,
                Payload = new BindingAcknowledgement { Status = status, SequenceNumber = sequence, Lifetime = lifetime }.ToArray(_options.Address, regional),
            }.ToArray(), under));
    }

    private bool IsUnprotected(IPAddress regional) => _protection.Treatment(regional, prefixDiscovery: false) == SignallingTreatment.Bypass;

    private void Remove(IPAddress regional, string kind, string why, EffectSink effects)
    {
        if (_bindings.Remove(regional, out var entry))
        {
            if (IsUnprotected(regional))
            {
                // Nobody in particular has it: what is kept of strangers goes with their bindings.
                _access.Remove(regional);
            }

            effects.Emit(new ChangePaths([], [MobileTunnel.IdOf(regional)]));
            effects.Emit(new ReleaseHomeAddress(regional));
            effects.Emit(new DropState(new StateKey(Table, regional.ToString())));
            effects.Emit(new Report(new EngineEvent(kind, EventSeverity.Information, $"the local binding of {regional} ended: {why}") { HomeAddress = regional, CareOfAddress = entry.CareOfAddress, Peer = entry.Identifier }));
        }
    }

    private void OnDeadline(DateTimeOffset now, EffectSink effects)
    {
        foreach (var regional in _waiting.Where(w => w.Value.Until <= now).Select(w => w.Key).ToList())
        {
            _waiting.Remove(regional);
            effects.Count("hmip6.map.access_timeout");
        }

        foreach (var regional in _access.Where(a => a.Value.Until <= now).Select(a => a.Key).ToList())
        {
            _access.Remove(regional);
        }

        foreach (var regional in _bindings.Where(b => b.Value.Expires <= now).Select(b => b.Key).ToList())
        {
            Remove(regional, "binding.expired", "its lifetime is over", effects);
        }
    }

    /// <summary>Tunnels stand again; who moves or renews proves access and identity anew.</summary>
    private void Restore(IReadOnlyList<SavedState> state, DateTimeOffset now, EffectSink effects)
    {
        foreach (var saved in state.Where(s => s.Key.Table == Table))
        {
            if (BindingCacheRecord.Read(saved.Value) is not { Deleted: false } entry || entry.Expires <= now || !_options.RegionalPrefix.Contains(entry.HomeAddress))
            {
                effects.Emit(new DropState(saved.Key));
                continue;
            }

            _bindings[entry.HomeAddress] = entry;
            _access[entry.HomeAddress] = new Access(entry.Identifier ?? "", entry.Expires);
            effects.Emit(new ChangePaths([MobileTunnel.AtAnchor(entry.HomeAddress, _options.Address, entry.CareOfAddress)], []));
            effects.Emit(new AttractHomeAddress(entry.HomeAddress, null));
        }
    }

    private static void Discard(string why, string rule, string text, EffectSink effects)
    {
        effects.Count($"hmip6.map.discarded.{why}");
        effects.Emit(new Report(new EngineEvent("binding.discarded", EventSeverity.Debug, text) { Rule = rule }));
    }
}
