// Readings:
// - R49: the BU of S215 and that of figure 21 are one and the same, sent once per dynamic profile.
// - A retransmission is a new update with a later Identification: a gateway that has taken a later update of the same
//   node, for another profile, could not accept the old one any more (docs/wire-extensions.md section 3).
// - R42, NV9.6: a renewal refreshes the lifetime at dynamic gateways. A gateway that is silent then changes nothing, for it
//   has the profile; one that refuses keys it took before has restarted, and the registration is refused with code 132, so
//   that the foreign agent has new ones made (M3).
// - NV9.9 on a move: a gateway that served the earlier place and took the new profile keeps it when the registration is
//   refused after all. Its former keys must not come back (M3), and what it sends to the new place is lost, not clear;
//   the node's next registration sets it right.
using System.Net;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>Binding updates to dynamic gateways, their acknowledgements and requests (S215, NV4.6, NV4.8, NV7.13, NV7.14, NV9.5, NV9.9).</summary>
public sealed partial class HomeAgent
{
    /// <summary>A BU without its BA.</summary>
    private sealed class OutstandingUpdate
    {
        /// <summary>The binding as the gateway is to know it.</summary>
        public required Binding Binding { get; init; }

        /// <summary>Null removes everything of the node at the gateway.</summary>
        public VpnProfile? Profile { get; init; }

        public required IPAddress Gateway { get; init; }

        public required BindingAssociation Contract { get; init; }

        public required ushort Lifetime { get; init; }

        /// <summary>Of each try: any of them may be acknowledged.</summary>
        public List<ulong> Identifications { get; } = [];

        /// <summary>Null for refreshes and removals, which nobody waits for.</summary>
        public UpdateTransaction? Transaction { get; init; }
    }

    /// <summary>A registration that waits until every one of its updates is acknowledged (NV9.5).</summary>
    private sealed class UpdateTransaction(Registration registration)
    {
        public Registration Registration { get; set; } = registration;

        public HashSet<OutstandingUpdate> Waiting { get; } = [];
    }

    private readonly Dictionary<ulong, OutstandingUpdate> _outstanding = [];
    private readonly Dictionary<(IPAddress HomeAddress, IPAddress Gateway), HashSet<OutstandingUpdate>> _outstandingAt = [];

    // Entries whose update is settled, or has been sent again since, are passed over when their time comes.
    private readonly PriorityQueue<(OutstandingUpdate Update, int Try), DateTimeOffset> _retransmissions = new();
    private readonly Dictionary<IPAddress, UpdateTransaction> _transactions = [];

    private DateTimeOffset? NextUpdateDeadline => _retransmissions.TryPeek(out _, out var at) ? at : null;

    /// <summary>Sends the updates a registration needs. False when it needs none and can be answered at once.</summary>
    private bool UpdateGateways(Registration registration, DateTimeOffset now, EffectSink effects)
    {
        var desired = registration.Desired;
        var wanted = desired.Profiles
            .Where(p => p.GatewayType == GatewayType.Dynamic && !desired.Unserved.Contains(p.ProfileNumber))
            .ToList();
        var without = desired.Profiles.FirstOrDefault(p => p.GatewayType == GatewayType.Dynamic && !_options.BindingContracts.ContainsKey(GatewayOf(p)));
        if (without is not null)
        {
            Refuse(registration, new(RegistrationReplyCode.HomeProhibited, "ha.bu.no_contract", $"no contract with correspondent gateway {GatewayOf(without)}", "M9"), now, effects);
            return true;
        }

        if (wanted.Count == 0)
        {
            return false;
        }

        if (_transactions.Count >= _options.MaximumPending)
        {
            Refuse(registration, new(RegistrationReplyCode.HomeInsufficientResources, "ha.bu.full", "too many registrations wait for acknowledgements", "NV9.9"), now, effects);
            return true;
        }

        var transaction = new UpdateTransaction(registration);
        _transactions[desired.HomeAddress] = transaction;
        foreach (var profile in wanted)
        {
            var update = NewUpdate(desired, GatewayOf(profile), profile, registration.Lifetime, transaction);
            transaction.Waiting.Add(update);
            Send(update, now, effects);
        }

        return true;
    }

    private OutstandingUpdate NewUpdate(Binding binding, IPAddress gateway, VpnProfile? profile, ushort lifetime, UpdateTransaction? transaction) => new()
    {
        Binding = binding,
        Profile = profile,
        Gateway = gateway,
        Contract = _options.BindingContracts[gateway],
        Lifetime = lifetime,
        Transaction = transaction,
    };

    private void RemoveAtGateways(Binding binding, IEnumerable<IPAddress> except, DateTimeOffset now, EffectSink effects)
    {
        foreach (var gateway in Told(binding).Except(except).Where(_options.BindingContracts.ContainsKey).ToList())
        {
            Send(NewUpdate(binding, gateway, null, 0, null), now, effects);
        }
    }

    private void Send(OutstandingUpdate outstanding, DateTimeOffset now, EffectSink effects)
    {
        var (binding, contract) = (outstanding.Binding, outstanding.Contract);

        // The gateway's own copy: it sends towards the mobile node (view down).
        var copy = outstanding.Profile is not { } profile ? null : (profile.View == ProfileView.Down ? profile : profile.Mirror()) with { Supplier = _options.Address };
        var update = new BindingUpdate
        {
            Flags = outstanding.Profile is null ? BindingUpdateFlags.AcknowledgementWanted | BindingUpdateFlags.Remove : BindingUpdateFlags.AcknowledgementWanted,
            Lifetime = outstanding.Lifetime,
            HomeAddress = binding.HomeAddress,

            // For the gateway the node is where its tunnel ends: at the foreign agent, or here when the path goes via home (G2).
            CareOfAddress = copy?.DestinationGateway ?? binding.CareOfAddress,
            Supplier = _options.Address,
            Identification = _identifications.Next(now),
            Extensions = MobileIpExtensions.Of(new NaiExtension(binding.Nai)),
        };
        var destination = outstanding.Gateway;
        if (copy is not null)
        {
            var sealedProfile = contract.Seal(update.Header(), _profileAvps.Encode(copy, contract.WrappingKey), Random);
            update = update.With(ProjectExtensions.SealedVpnProfile(_options.EnterpriseNumber, sealedProfile));

            // R20: addressed to the correspondent when it is one host, else to its gateway.
            destination = copy.Source.PrefixLength == 32 ? copy.Source.BaseAddress : outstanding.Gateway;
        }

        if (outstanding.Identifications.Count == 0)
        {
            TakeThePlaceOfOlder(outstanding);
        }

        outstanding.Identifications.Add(update.Identification);
        _outstanding[update.Identification] = outstanding;
        _retransmissions.Enqueue((outstanding, outstanding.Identifications.Count), now + _options.UpdateInterval);
        effects.Emit(new SendDatagram(new IPEndPoint(_options.Address, MobileIpPort), new IPEndPoint(destination, MobileIpPort), contract.Sign(update).ToArray()));
        effects.Count(outstanding.Identifications.Count == 1 ? "ha.bu.sent" : "ha.bu.retransmitted");
        if (outstanding is { Profile: { } sent, Identifications.Count: 1 })
        {
            effects.Emit(new Report(Event("bu.sent", EventSeverity.Information, $"profile {sent.ProfileNumber} to {destination} behind {outstanding.Gateway}", binding, "NV4.6")));
        }
    }

    /// <summary>
    /// An update that still waits for its acknowledgement must not be repeated after one that says otherwise: a removal
    /// would take the new binding away, a refresh would bring a removed one back.
    /// </summary>
    private void TakeThePlaceOfOlder(OutstandingUpdate newer)
    {
        var older = _outstandingAt.GetValueOrDefault((newer.Binding.HomeAddress, newer.Gateway));
        foreach (var update in older?.Where(u => u.Transaction is null && (u.Profile is null || newer.Profile is null || u.Profile.ProfileNumber == newer.Profile.ProfileNumber)).ToList() ?? [])
        {
            Forget(update);
        }

        if (!_outstandingAt.TryGetValue((newer.Binding.HomeAddress, newer.Gateway), out var waiting))
        {
            _outstandingAt.Add((newer.Binding.HomeAddress, newer.Gateway), waiting = []);
        }

        waiting.Add(newer);
    }

    /// <summary>A refresh of a profile that a service update took from the binding is not sent again: it would keep the former gateway's rows alive (NV7.14, NV7.15).</summary>
    private void ForgetDropped(Binding? before, Binding desired)
    {
        if (before is null)
        {
            return;
        }

        foreach (var update in Told(before).SelectMany(gateway => _outstandingAt.GetValueOrDefault((desired.HomeAddress, gateway)) ?? [])
            .Where(u => u.Transaction is null && u.Profile is { } profile && !desired.Profiles.Contains(profile)).ToList())
        {
            Forget(update);
        }
    }

    private void Acknowledged(BindingAcknowledgement acknowledgement, DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        if (!_outstanding.TryGetValue(acknowledgement.Identification, out var update) || !update.Binding.HomeAddress.Equals(acknowledgement.HomeAddress))
        {
            effects.Count("ha.ba.unexpected");
            return;
        }

        if (update.Contract.Check(acknowledgement, datagram.Payload.Span) != AuthenticationResult.Valid)
        {
            effects.Count("ha.ba.bad_mac");
            effects.Emit(new Report(new EngineEvent("ba.refused", EventSeverity.Warning, "acknowledgement with a wrong authenticator dropped") { Peer = datagram.Source.ToString(), HomeAddress = acknowledgement.HomeAddress, Rule = "NV9.10" }));
            return;
        }

        Forget(update);
        if (acknowledgement.Status == BindingStatus.Accepted)
        {
            effects.Count("ha.ba.accepted");
            Settled(update, now, effects);
        }
        else
        {
            effects.Count("ha.ba.refused");
            if (acknowledgement.Status == BindingStatus.Unspecified && update.Profile is { } refused
                && _triggers.GetValueOrDefault(update.Binding.HomeAddress)?.GetValueOrDefault(refused.ProfileNumber) is { } trigger)
            {
                trigger.KeysSpent = true;
            }

            var reason = acknowledgement.Extensions.RefusalReason(_options.EnterpriseNumber);
            Failed(update, isSilent: false, $"correspondent gateway {update.Gateway} refused profile {update.Profile?.ProfileNumber}: {(byte)acknowledgement.Status} ({reason ?? acknowledgement.Status.ToString()})", now, effects);
        }
    }

    private void RetransmitUpdates(DateTimeOffset now, EffectSink effects)
    {
        while (_retransmissions.TryPeek(out var due, out var at) && at <= now)
        {
            _retransmissions.Dequeue();
            var update = due.Update;
            if (update.Identifications.Count != due.Try || !_outstanding.ContainsKey(update.Identifications[^1]))
            {
                continue;
            }

            if (update.Identifications.Count < _options.UpdateTries)
            {
                Send(update, now, effects);
                continue;
            }

            Forget(update);
            effects.Count("ha.bu.unanswered");
            Failed(update, isSilent: true, $"correspondent gateway {update.Gateway} does not acknowledge {(update.Profile is { } profile ? $"profile {profile.ProfileNumber}" : "a removal")}", now, effects);
        }
    }

    private void Settled(OutstandingUpdate update, DateTimeOffset now, EffectSink effects)
    {
        if (update.Transaction is not { } transaction)
        {
            Distributed(update, now, effects);
            return;
        }

        transaction.Waiting.Remove(update);
        if (transaction.Waiting.Count == 0)
        {
            _transactions.Remove(update.Binding.HomeAddress);
            Finish(transaction.Registration, now, effects);
            DistributePostponed(update.Binding.HomeAddress, now, effects);
        }
    }

    private void Failed(OutstandingUpdate update, bool isSilent, string reason, DateTimeOffset now, EffectSink effects)
    {
        effects.Emit(new Report(Event("bu.failed", EventSeverity.Warning, reason, update.Binding, "NV9.9") with { Peer = update.Gateway.ToString() }));
        if (update is not { Transaction: { } transaction, Profile: { } profile })
        {
            NotDistributed(update, now, effects);
            return;
        }

        var registration = transaction.Registration;
        var isRefresh = registration.Before is { } before && before.Profiles.Contains(profile) && !before.Unserved.Contains(profile.ProfileNumber);
        if (isRefresh && isSilent)
        {
            Settled(update, now, effects);
            return;
        }

        // A profile that nobody had before, and that only a packet asked for, can wait for the next one.
        var canWait = profile.WaitsForPacket && !isRefresh && !IsDistributed(profile, registration.Before);
        if (canWait || _options.UnansweredUpdate == UnansweredUpdatePolicy.Degrade)
        {
            WaitOn(registration.Desired.HomeAddress, profile.ProfileNumber, now);
            var unserved = registration.Desired.Unserved.Add(profile.ProfileNumber);
            transaction.Registration = registration with { Desired = registration.Desired with { Unserved = unserved } };
            Settled(update, now, effects);
            return;
        }

        Forget(transaction);
        Withdraw(registration, null, now, effects);
        var code = isRefresh ? RegistrationReplyCode.HomeForeignAgentFailedAuthentication : RegistrationReplyCode.HomeUnspecified;
        Refuse(registration, new(code, "ha.rrq.gateway_failed", reason, "NV9.9, R38"), now, effects);
    }

    /// <summary>Takes back what gateways were told, or may have been, for a registration that does not come about.</summary>
    private void Withdraw(Registration registration, Binding? stillWanted, DateTimeOffset now, EffectSink effects) =>
        RemoveAtGateways(registration.Desired, [.. registration.Before is { } before ? Told(before) : [], .. stillWanted is null ? [] : Told(stillWanted)], now, effects);

    /// <summary>A newer registration of the same node takes the place of one still waiting.</summary>
    private void Supersede(Registration newer, DateTimeOffset now, EffectSink effects)
    {
        if (_transactions.TryGetValue(newer.Desired.HomeAddress, out var waiting))
        {
            Forget(waiting);
            Withdraw(waiting.Registration, newer.Request.Lifetime == 0 ? null : newer.Desired, now, effects);
            Refuse(waiting.Registration, new(RegistrationReplyCode.HomeUnspecified, "ha.rrq.superseded", "a newer registration of this node came first", "NV9.11"), now, effects);
        }
    }

    private void Forget(UpdateTransaction transaction)
    {
        _transactions.Remove(transaction.Registration.Desired.HomeAddress);
        foreach (var update in transaction.Waiting)
        {
            Forget(update);
        }
    }

    private void Forget(OutstandingUpdate update)
    {
        foreach (var identification in update.Identifications)
        {
            _outstanding.Remove(identification);
        }

        var place = (update.Binding.HomeAddress, update.Gateway);
        if (_outstandingAt.TryGetValue(place, out var waiting) && waiting.Remove(update) && waiting.Count == 0)
        {
            _outstandingAt.Remove(place);
        }
    }

    /// <summary>NV7.14: a gateway asks whether its binding still counts. Silence when it does not.</summary>
    private void BindingRequested(BindingRequest request, DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        if (request.TryFindAuthentication(AuthenticationKind.ForeignHome, out _, out _))
        {
            AskedByForeignAgent(request, datagram, now, effects);
            return;
        }

        var gateway = request.Supplier;
        if (!_options.BindingContracts.TryGetValue(gateway, out var contract) || contract.Check(request, datagram.Payload.Span) != AuthenticationResult.Valid)
        {
            effects.Count("ha.br.bad_mac");
            return;
        }

        var asked = _bindings.TryGetValue(request.HomeAddress, out var binding)
            ? binding.Profiles.Where(p => p.GatewayType == GatewayType.Dynamic && GatewayOf(p).Equals(gateway) && !binding.Unserved.Contains(p.ProfileNumber)).ToList()
            : [];
        if (asked.Count == 0 || _transactions.ContainsKey(request.HomeAddress))
        {
            // Under way to a new place: the update that goes with it counts.
            effects.Count("ha.br.not_in_cache");
            return;
        }

        foreach (var profile in asked)
        {
            Send(NewUpdate(binding!, gateway, profile, Remaining(binding!, now), null), now, effects);
        }
    }

    /// <summary>The correspondent's gateway of a dynamic profile, whichever way this agent's copy looks.</summary>
    private static IPAddress GatewayOf(VpnProfile profile) => profile.View == ProfileView.Down ? profile.SourceGateway : profile.DestinationGateway;
}
