// Readings:
// - R14: the old agent acknowledges to the new one; the node only ever gets the Registration Reply.
// - The Identification of a binding update is that of the Registration Request it follows from, plus its place among
//   the updates of that registration. Every agent the node was at knows the node's own clock, so that the last
//   registration wins wherever updates overtake one another (NV9.11), and a repeated update changes nothing (NV9.10).
// - M8: the update is authenticated with a key from the user's own profile, which only the two agents hold. Users without
//   such a key need an association between the agents; without one there is no hand-off, only loss.
// - What an update has not asked for yet is held, never sent plainly: a user's profiles arrive one by one (NV2.14).
using System.Net;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>Smooth hand-off between foreign agents (spec network-vpn NV2.10-NV2.15, NV3.10-NV3.14, NV5.10, NV6.11, claims 22, 23).</summary>
public sealed partial class ForeignAgent
{
    /// <summary>New agent's side: updates to the old agent, and the reply that waits for their answers.</summary>
    private sealed class Fetch
    {
        public required Visitor Visitor { get; init; }

        public required IPAddress OldAgent { get; init; }

        public required BindingAssociation Association { get; init; }

        /// <summary>Unacknowledged updates by Identification.</summary>
        public Dictionary<ulong, byte[]> Waiting { get; } = [];

        public required DateTimeOffset Began { get; init; }

        /// <summary>Set until the reply has gone to the node.</summary>
        public (PendingRegistration Pending, RegistrationReply Reply)? Reply { get; set; }

        public int Tries { get; set; } = 1;

        public required DateTimeOffset NextTry { get; set; }
    }

    /// <summary>Old agent's side: a visitor that went, and where.</summary>
    private sealed class HandedOff
    {
        public required Visitor Visitor { get; init; }

        public required IPAddress NewAgent { get; init; }

        /// <summary>The user's profiles when he left, by number.</summary>
        public required IReadOnlyDictionary<uint, VpnProfile> Held { get; init; }

        /// <summary>What the new agent asked for.</summary>
        public Dictionary<uint, VpnProfile> Copies { get; } = [];

        /// <summary>Answers already given, by Identification.</summary>
        public Dictionary<ulong, byte[]> Answers { get; } = [];

        public required ulong Latest { get; set; }

        public required DateTimeOffset Until { get; init; }
    }

    private readonly Dictionary<IPAddress, Fetch> _fetches = [];
    private readonly Dictionary<IPAddress, HandedOff> _handedOff = [];

    // Entries whose hand-off has gone on meanwhile are passed over when their time comes.
    private readonly PriorityQueue<IPAddress, DateTimeOffset> _handOffTimes = new();

    /// <summary>Visitors that went to another agent and whose packets still go after them.</summary>
    public IReadOnlyCollection<Visitor> Departed => [.. _handedOff.Values.Select(h => h.Visitor)];

    /// <summary>NV2.10: asks the old agent to send after the node what still reaches it.</summary>
    /// <returns>True when the reply to the node waits for the old agent.</returns>
    private bool FetchFromOldAgent(PendingRegistration pending, Visitor visitor, IReadOnlyList<VpnProfile> profiles, RegistrationReply reply, DateTimeOffset now, EffectSink effects)
    {
        ForgetHandOff(visitor.HomeAddress);
        if (pending.PreviousAgent is not { } oldAgent)
        {
            return false;
        }

        var association = profiles.OrderBy(p => p.ProfileNumber).Select(BindingAssociation.OfProfile).FirstOrDefault(a => a is not null) ?? _options.Neighbours.GetValueOrDefault(oldAgent);
        if (association is null)
        {
            effects.Count("fa.handoff.no_association");
            effects.Emit(new Report(Event("handoff.impossible", EventSeverity.Warning, $"no key shared with the old agent {oldAgent}: packets under way there are lost", visitor.Session, visitor.Nai, visitor.HomeAddress, "M8")));
            return false;
        }

        var session = SessionOf(visitor, profiles, reply);
        var until = now + _options.HandOffTime;
        var fetch = new Fetch { Visitor = visitor, OldAgent = oldAgent, Association = association, Began = now, Reply = (pending, reply), NextTry = now + _options.UpdateInterval };
        Vpn.Expect(session, [], new BaseTunnel(_options.CareOfAddress, oldAgent), "NV2.10", until, effects, bothWays: true);
        var identification = pending.Request.Identification;
        foreach (var copy in profiles.Select(p => p.ForHandOff(oldAgent)))
        {
            // Inbound first: what the old agent sends right behind its answer must find it.
            if (Vpn.Expect(session, [copy.Mirror()], null, "NV2.10", until, effects, bothWays: true) is { } refusal)
            {
                effects.Count("fa.handoff.profile_left_out");
                effects.Emit(new Report(Event("handoff.impossible", EventSeverity.Warning, $"profile {copy.ProfileNumber} cannot follow from {oldAgent}: {refusal.Text}", visitor.Session, visitor.Nai, visitor.HomeAddress, refusal.Rule)));
                continue;
            }

            fetch.Waiting.Add(identification, Update(fetch, identification, copy));
            identification++;
        }

        if (fetch.Waiting.Count == 0)
        {
            fetch.Waiting.Add(identification, Update(fetch, identification, null));
        }

        _fetches[visitor.HomeAddress] = fetch;
        foreach (var update in fetch.Waiting.Values)
        {
            ToAgent(oldAgent, update, effects);
            effects.Count("fa.handoff.bu_sent");
        }

        effects.Emit(new Report(Event("handoff.asked", EventSeverity.Information, $"{fetch.Waiting.Count} update(s) to the old agent {oldAgent}", visitor.Session, visitor.Nai, visitor.HomeAddress, "NV2.10") with { Peer = oldAgent.ToString() }));
        _handOffTimes.Enqueue(visitor.HomeAddress, now + _options.OldAgentWait);
        _handOffTimes.Enqueue(visitor.HomeAddress, fetch.NextTry);
        return true;
    }

    private byte[] Update(Fetch fetch, ulong identification, VpnProfile? copy)
    {
        var update = new BindingUpdate
        {
            Flags = BindingUpdateFlags.AcknowledgementWanted,
            Lifetime = (ushort)Math.Ceiling(_options.HandOffTime.TotalSeconds),
            HomeAddress = fetch.Visitor.HomeAddress,
            CareOfAddress = _options.CareOfAddress,
            Supplier = _options.CareOfAddress,
            Identification = identification,
            Extensions = MobileIpExtensions.Of(new NaiExtension(fetch.Visitor.Nai)),
        };
        if (copy is not null)
        {
            var sealedProfile = fetch.Association.Seal(update.Header(), _profileAvps.Encode(copy, fetch.Association.WrappingKey), Random);
            update = update.With(ProjectExtensions.SealedVpnProfile(_options.EnterpriseNumber, sealedProfile));
        }

        return fetch.Association.Sign(update).ToArray();
    }

    private void AnsweredByOldAgent(BindingAcknowledgement answer, DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        if (!_fetches.TryGetValue(answer.HomeAddress, out var fetch) || !fetch.Waiting.ContainsKey(answer.Identification) || !datagram.Source.Address.Equals(fetch.OldAgent))
        {
            effects.Count("fa.ba.unexpected");
            return;
        }

        if (fetch.Association.Check(answer, datagram.Payload.Span) != AuthenticationResult.Valid)
        {
            effects.Count("fa.ba.bad_authenticator");
            return;
        }

        fetch.Waiting.Remove(answer.Identification);
        effects.Count(answer.Status == BindingStatus.Accepted ? "fa.ba.accepted" : "fa.ba.refused");
        if (answer.Status != BindingStatus.Accepted)
        {
            effects.Emit(new Report(Event("handoff.refused", EventSeverity.Warning,
                $"the old agent {fetch.OldAgent} refuses: {(byte)answer.Status} ({answer.Extensions.RefusalReason(_options.EnterpriseNumber) ?? answer.Status.ToString()})", fetch.Visitor.Session, fetch.Visitor.Nai, fetch.Visitor.HomeAddress, "NV2.12")));
        }

        if (fetch.Waiting.Count > 0)
        {
            return;
        }

        _fetches.Remove(answer.HomeAddress);
        effects.Emit(new Report(Event("handoff.answered", EventSeverity.Information, FormattableString.Invariant($"the old agent {fetch.OldAgent} sends on after {(now - fetch.Began).TotalMilliseconds:F1} ms"), fetch.Visitor.Session, fetch.Visitor.Nai, fetch.Visitor.HomeAddress, "NV2.12")));
        GiveReply(fetch, now, effects);
    }

    private void GiveReply(Fetch fetch, DateTimeOffset now, EffectSink effects)
    {
        if (fetch.Reply is { } waiting)
        {
            fetch.Reply = null;
            var visitor = _visitors.GetValueOrDefault(fetch.Visitor.HomeAddress) ?? fetch.Visitor;
            Relay(waiting.Pending, waiting.Reply, visitor.MobileNode, effects);
            ReplyTimed(waiting.Pending, visitor, now, effects);
        }
    }

    /// <summary>A newer registration took over, or the visitor left: nobody waits for the old agent any more.</summary>
    private void ForgetHandOff(IPAddress homeAddress)
    {
        if (_fetches.Remove(homeAddress, out var fetch) && fetch.Reply is { } waiting)
        {
            _underWay.Remove(waiting.Pending.Key);
        }
    }

    private void TendHandOffs(DateTimeOffset now, EffectSink effects)
    {
        while (_handOffTimes.TryPeek(out var home, out var at) && at <= now)
        {
            _handOffTimes.Dequeue();
            if (_handedOff.TryGetValue(home, out var away) && away.Until <= now)
            {
                EndHandOff(away, TerminationCause.UserMoved, now, effects);
            }

            if (!_fetches.TryGetValue(home, out var fetch))
            {
                continue;
            }

            if (fetch.Reply is not null && now >= fetch.Began + _options.OldAgentWait)
            {
                effects.Count("fa.handoff.reply_not_delayed_further");
                GiveReply(fetch, now, effects);
            }

            if (now < fetch.NextTry)
            {
                continue;
            }

            if (fetch.Tries >= _options.UpdateTries)
            {
                _fetches.Remove(home);
                effects.Count("fa.handoff.unanswered");
                effects.Emit(new Report(Event("handoff.unanswered", EventSeverity.Warning, $"the old agent {fetch.OldAgent} does not answer", fetch.Visitor.Session, fetch.Visitor.Nai, home, "R38")));
                GiveReply(fetch, now, effects);
                continue;
            }

            fetch.Tries++;
            fetch.NextTry = now + _options.UpdateInterval;
            _handOffTimes.Enqueue(home, fetch.NextTry);
            foreach (var update in fetch.Waiting.Values)
            {
                ToAgent(fetch.OldAgent, update, effects);
                effects.Count("fa.handoff.bu_retransmitted");
            }
        }
    }

    /// <summary>NV2.11: the visitor has registered at another agent, which asks for what still arrives here.</summary>
    private void AskedByNewAgent(BindingUpdate update, DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        var away = _handedOff.GetValueOrDefault(update.HomeAddress);
        var visitor = _visitors.GetValueOrDefault(update.HomeAddress) ?? away?.Visitor;
        if (visitor is null || Vpn.Find(visitor.Session) is not { } session)
        {
            Drop("fa.bu.unknown_node", "no visitor has this home address");
            return;
        }

        var held = away?.Held ?? session.Profiles.ToDictionary(p => p.ProfileNumber);
        var association = held.Values.Select(BindingAssociation.OfProfile).Append(_options.Neighbours.GetValueOrDefault(datagram.Source.Address))
            .FirstOrDefault(a => a is not null && a.Check(update, datagram.Payload.Span) == AuthenticationResult.Valid);
        if (association is null)
        {
            Drop("fa.bu.bad_authenticator", "the sender does not prove that it has the user's profile");
            return;
        }

        if (!update.Supplier.Equals(datagram.Source.Address) || !update.CareOfAddress.Equals(datagram.Source.Address) || update.CareOfAddress.Equals(_options.CareOfAddress) || update.Remove)
        {
            Drop("fa.bu.contradiction", "sender, supplier and care-of address are not one other agent");
            return;
        }

        if (away is not null && away.Answers.TryGetValue(update.Identification, out var given))
        {
            effects.Count("fa.bu.repeated");
            ToAgent(datagram.Source.Address, given, effects);
            return;
        }

        var another = away is null || !away.NewAgent.Equals(update.CareOfAddress);
        if (!Identification.IsAfter(update.Identification, visitor.Registered) || (another && away is not null && !Identification.IsAfter(update.Identification, away.Latest)))
        {
            Drop("fa.bu.old_identification", "the node has registered here, or moved on, since");
            return;
        }

        VpnProfile? copy = null;
        if (update.Extensions.FindProject(_options.EnterpriseNumber, ProjectExtensions.SealedVpnProfileType) is { } carrier)
        {
            if (association.Open(update.Header(), carrier.Value.Span) is not { } plaintext || !_profileAvps.TryDecode(plaintext, association.WrappingKey, out copy, out _))
            {
                Drop("fa.bu.bad_profile", "the sealed profile does not open");
                return;
            }

            if (!held.TryGetValue(copy.ProfileNumber, out var own) || !copy.Source.Equals(own.Destination) || !copy.Destination.Equals(own.Source)
                || !copy.SourceGateway.Equals(_options.CareOfAddress) || !copy.DestinationGateway.Equals(update.CareOfAddress) || copy.SecurityType != own.SecurityType)
            {
                Drop("fa.bu.not_the_users_profile", "the profile is none of this visitor, or leads elsewhere");
                return;
            }
        }

        if (another)
        {
            var until = now + _options.HandOffTime;
            away = new HandedOff { Visitor = visitor, NewAgent = update.CareOfAddress, Held = held, Latest = update.Identification, Until = until < visitor.Expires ? until : visitor.Expires };
            _handedOff[visitor.HomeAddress] = away;
            _handOffTimes.Enqueue(visitor.HomeAddress, away.Until);
            if (_visitors.Remove(visitor.HomeAddress))
            {
                _pathsSince.Remove(visitor.HomeAddress);
                ForgetHandOff(visitor.HomeAddress);
                ForgetAsked(visitor.HomeAddress, held.Values);
                effects.Emit(new RemoveVisitor(visitor.HomeAddress));
            }
        }

        SendAfter(away!, copy, association, update, now, effects);

        void Drop(string counter, string why)
        {
            effects.Count(counter);
            effects.Emit(new Report(Event("handoff.dropped", EventSeverity.Warning, $"update dropped: {why}", visitor?.Session, update.Extensions.Find<NaiExtension>()?.Nai, update.HomeAddress, "NV9.10") with { Peer = datagram.Source.ToString() }));
        }
    }

    /// <summary>Sets the tunnel to the new agent and acknowledges once it stands (NV2.11, NV2.12).</summary>
    private void SendAfter(HandedOff away, VpnProfile? copy, BindingAssociation association, BindingUpdate update, DateTimeOffset now, EffectSink effects)
    {
        away.Latest = Identification.IsAfter(update.Identification, away.Latest) ? update.Identification : away.Latest;
        var status = BindingStatus.Accepted;
        string? reason = null;
        if (copy is not null)
        {
            away.Copies[copy.ProfileNumber] = copy;
        }

        if (Vpn.Set(SessionOf(away), now, effects, _options.HandOffTime) is { } refusal)
        {
            (status, reason) = (refusal.Kind == VpnRefusalKind.SpiClash ? BindingStatus.SpiClash : BindingStatus.UnsupportedAlgorithm, refusal.Text);
            away.Copies.Remove(refusal.ProfileNumber);
            Vpn.Set(SessionOf(away), now, effects, _options.HandOffTime);
        }

        effects.Count(status == BindingStatus.Accepted ? "fa.bu.accepted" : "fa.bu.refused");
        var visitor = away.Visitor;
        effects.Emit(new Report(Event("handoff.begun", status == BindingStatus.Accepted ? EventSeverity.Information : EventSeverity.Warning,
            reason ?? $"{(copy is null ? "everything" : $"profile {copy.ProfileNumber}")} is sent on to {away.NewAgent} until {away.Until:HH:mm:ss}", visitor.Session, visitor.Nai, visitor.HomeAddress, "NV2.11") with
        { Peer = away.NewAgent.ToString() }));
        var answer = new BindingAcknowledgement
        {
            Status = status,
            Lifetime = (ushort)Math.Max(0, Math.Ceiling((away.Until - now).TotalSeconds)),
            HomeAddress = update.HomeAddress,
            CareOfAddress = update.CareOfAddress,
            Supplier = update.Supplier,
            Identification = update.Identification,
        };
        if (reason is not null)
        {
            answer = answer.With(ProjectExtensions.RefusalReason(_options.EnterpriseNumber, reason));
        }

        var octets = association.Sign(answer).ToArray();
        away.Answers[update.Identification] = octets;
        Keep(away, effects);
        if (update.AcknowledgementWanted)
        {
            ToAgent(away.NewAgent, octets, effects);
        }
    }

    private VpnSession SessionOf(HandedOff away) => new()
    {
        Session = away.Visitor.Session,
        Nai = away.Visitor.Nai,
        HomeAddress = away.Visitor.HomeAddress,
        Profiles = [.. away.Held.Values.Select(p => away.Copies.GetValueOrDefault(p.ProfileNumber) ?? p.Mirror())],
        Waiting = away.Held.Keys.Except(away.Copies.Keys).ToHashSet(),
        Base = new BaseTunnel(_options.CareOfAddress, away.NewAgent),
        HandedOff = true,
    };

    /// <summary>NV2.15: nothing of the visitor is left here.</summary>
    private void EndHandOff(HandedOff away, TerminationCause? cause, DateTimeOffset now, EffectSink effects)
    {
        var visitor = away.Visitor;
        _handedOff.Remove(visitor.HomeAddress);
        Discard(visitor.HomeAddress, effects);
        Vpn.Remove(visitor.Session, effects);
        effects.Emit(new Report(Event("handoff.ended", EventSeverity.Information, $"nothing is sent on to {away.NewAgent} any more", visitor.Session, visitor.Nai, visitor.HomeAddress, "NV2.15")));
        if (cause is { } why)
        {
            Terminate(visitor.DiameterSession, visitor.Session, visitor.Nai, visitor.HomeRealm, why, now, effects);
        }
    }

    private void ToAgent(IPAddress agent, byte[] message, EffectSink effects) =>
        effects.Emit(new SendDatagram(new IPEndPoint(_options.CareOfAddress, MobileIpPort), new IPEndPoint(agent, MobileIpPort), message));
}
