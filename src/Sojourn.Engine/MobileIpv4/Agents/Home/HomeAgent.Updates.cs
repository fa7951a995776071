// Reading R49: the BU of S215 and that of figure 21 are one and the same, sent once per dynamic profile.
using System.Net;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>Binding updates to dynamic gateways, their acknowledgements and requests (S215, NV4.6, NV4.8, NV7.13, NV7.14, NV9.5, NV9.9).</summary>
public sealed partial class HomeAgent
{
    /// <summary>A BU without its BA. <see cref="Transaction"/> is null for refreshes and removals, which nobody waits for.</summary>
    private sealed class OutstandingUpdate
    {
        public required IPAddress HomeAddress { get; init; }

        public required ulong Identification { get; init; }

        public required IPAddress Gateway { get; init; }

        public required uint ProfileNumber { get; init; }

        public required BindingAssociation Contract { get; init; }

        public required SendDatagram Datagram { get; init; }

        public required DateTimeOffset NextTry { get; set; }

        public int Tries { get; set; } = 1;

        public UpdateTransaction? Transaction { get; init; }
    }

    /// <summary>A registration that waits until every one of its updates is acknowledged (NV9.5).</summary>
    private sealed class UpdateTransaction(Registration registration)
    {
        public Registration Registration { get; set; } = registration;

        public HashSet<ulong> Waiting { get; } = [];
    }

    private readonly Dictionary<ulong, OutstandingUpdate> _outstanding = [];
    private readonly Dictionary<IPAddress, UpdateTransaction> _transactions = [];

    private DateTimeOffset? NextUpdateDeadline => _outstanding.Count == 0 ? null : _outstanding.Values.Min(u => u.NextTry);

    /// <summary>Sends the updates a registration needs. False when it needs none and can be answered at once.</summary>
    private bool UpdateGateways(Registration registration, DateTimeOffset now, EffectSink effects)
    {
        var desired = registration.Desired;
        var wanted = desired.Profiles
            .Where(p => p.GatewayType == GatewayType.Dynamic && p.Trigger == ProfileTrigger.Registration)
            .Where(p => registration.Before?.Profiles.Contains(p) != true)
            .ToList();
        if (wanted.Count == 0)
        {
            return false;
        }

        if (_transactions.Count >= _options.MaximumPending)
        {
            Refuse(registration, new(RegistrationReplyCode.HomeInsufficientResources, "ha.bu.full", "too many registrations wait for acknowledgements", "NV9.9"), now, effects);
            return true;
        }

        var without = wanted.FirstOrDefault(p => !_options.BindingContracts.ContainsKey(GatewayOf(p)));
        if (without is not null)
        {
            Refuse(registration, new(RegistrationReplyCode.HomeProhibited, "ha.bu.no_contract", $"no contract with correspondent gateway {GatewayOf(without)}", "M9"), now, effects);
            return true;
        }

        var transaction = new UpdateTransaction(registration);
        _transactions[desired.HomeAddress] = transaction;
        foreach (var profile in wanted)
        {
            transaction.Waiting.Add(SendUpdate(desired, profile, registration.Lifetime, transaction, now, effects));
        }

        return true;
    }

    private ulong SendUpdate(Binding binding, VpnProfile profile, ushort lifetime, UpdateTransaction? transaction, DateTimeOffset now, EffectSink effects)
    {
        var gateway = GatewayOf(profile);
        var contract = _options.BindingContracts[gateway];
        // The gateway's own copy: it sends towards the mobile node (view down).
        var copy = (profile.View == ProfileView.Down ? profile : profile.Mirror()) with { Supplier = _options.Address };
        var update = UpdateFor(binding, lifetime, now);
        var sealedProfile = contract.Seal(update.Header(), _profileAvps.Encode(copy, contract.WrappingKey), Random);
        update = contract.Sign(update.With(ProjectExtensions.SealedVpnProfile(_options.EnterpriseNumber, sealedProfile)));

        // R20: addressed to the correspondent when it is one host, else to its gateway.
        var destination = copy.Source.PrefixLength == 32 ? copy.Source.BaseAddress : gateway;
        Emit(binding, update, gateway, destination, profile.ProfileNumber, contract, transaction, now, effects);
        effects.Emit(new Report(Event("bu.sent", EventSeverity.Information, $"profile {profile.ProfileNumber} to {destination} behind {gateway}", binding, "NV4.6")));
        return update.Identification;
    }

    private void RemoveAtGateways(Binding binding, DateTimeOffset now, EffectSink effects)
    {
        foreach (var gateway in binding.Profiles.Where(p => p.GatewayType == GatewayType.Dynamic).Select(GatewayOf).Distinct())
        {
            if (_options.BindingContracts.TryGetValue(gateway, out var contract))
            {
                var update = UpdateFor(binding, 0, now);
                update = contract.Sign(update with { Flags = update.Flags | BindingUpdateFlags.Remove });
                Emit(binding, update, gateway, gateway, 0, contract, null, now, effects);
            }
        }
    }

    private BindingUpdate UpdateFor(Binding binding, ushort lifetime, DateTimeOffset now) => new()
    {
        Flags = BindingUpdateFlags.AcknowledgementWanted,
        Lifetime = lifetime,
        HomeAddress = binding.HomeAddress,
        CareOfAddress = binding.CareOfAddress,
        Supplier = _options.Address,
        Identification = _identifications.Next(now),
        Extensions = MobileIpExtensions.Of(new NaiExtension(binding.Nai)),
    };

    private void Emit(
        Binding binding, BindingUpdate update, IPAddress gateway, IPAddress destination, uint profile, BindingAssociation contract, UpdateTransaction? transaction,
        DateTimeOffset now, EffectSink effects)
    {
        var datagram = new SendDatagram(new IPEndPoint(_options.Address, MobileIpPort), new IPEndPoint(destination, MobileIpPort), update.ToArray());
        _outstanding[update.Identification] = new OutstandingUpdate
        {
            HomeAddress = binding.HomeAddress,
            Identification = update.Identification,
            Gateway = gateway,
            ProfileNumber = profile,
            Contract = contract,
            Datagram = datagram,
            NextTry = now + _options.UpdateInterval,
            Transaction = transaction,
        };
        effects.Emit(datagram);
        effects.Count("ha.bu.sent");
    }

    private void Acknowledged(BindingAcknowledgement acknowledgement, DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        if (!_outstanding.TryGetValue(acknowledgement.Identification, out var update) || !update.HomeAddress.Equals(acknowledgement.HomeAddress))
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

        _outstanding.Remove(update.Identification);
        if (acknowledgement.Status == BindingStatus.Accepted)
        {
            effects.Count("ha.ba.accepted");
            Settled(update, now, effects);
        }
        else
        {
            effects.Count("ha.ba.refused");
            Failed(update, $"correspondent gateway {update.Gateway} refused profile {update.ProfileNumber}: {(byte)acknowledgement.Status} ({acknowledgement.Status})", now, effects);
        }
    }

    private void RetransmitUpdates(DateTimeOffset now, EffectSink effects)
    {
        foreach (var update in _outstanding.Values.Where(u => u.NextTry <= now).ToList())
        {
            if (!_outstanding.ContainsKey(update.Identification))
            {
                continue;
            }

            if (update.Tries >= _options.UpdateTries)
            {
                _outstanding.Remove(update.Identification);
                effects.Count("ha.bu.unanswered");
                Failed(update, $"correspondent gateway {update.Gateway} does not acknowledge profile {update.ProfileNumber}", now, effects);
                continue;
            }

            update.Tries++;
            update.NextTry = now + _options.UpdateInterval;
            effects.Count("ha.bu.retransmitted");
            effects.Emit(update.Datagram);
        }
    }

    private void Settled(OutstandingUpdate update, DateTimeOffset now, EffectSink effects)
    {
        if (update.Transaction is not { } transaction)
        {
            return;
        }

        transaction.Waiting.Remove(update.Identification);
        if (transaction.Waiting.Count == 0)
        {
            _transactions.Remove(update.HomeAddress);
            Finish(transaction.Registration, now, effects);
        }
    }

    private void Failed(OutstandingUpdate update, string reason, DateTimeOffset now, EffectSink effects)
    {
        effects.Emit(new Report(new EngineEvent("bu.failed", EventSeverity.Warning, reason) { HomeAddress = update.HomeAddress, Peer = update.Gateway.ToString(), Rule = "NV9.9" }));
        if (update.Transaction is not { } transaction)
        {
            return;
        }

        if (_options.UnansweredUpdate == UnansweredUpdatePolicy.Degrade)
        {
            var registration = transaction.Registration;
            var kept = registration.Desired.Profiles.Where(p => p.ProfileNumber != update.ProfileNumber).ToList();
            transaction.Registration = registration with { Desired = registration.Desired with { Profiles = kept } };
            Vpn.Set(SessionOf(transaction.Registration.Desired), now, effects);
            Settled(update, now, effects);
            return;
        }

        Forget(transaction);
        // Gateways that did accept must not keep what is now refused.
        RemoveAtGateways(transaction.Registration.Desired, now, effects);
        Refuse(transaction.Registration, new(RegistrationReplyCode.HomeUnspecified, "ha.rrq.gateway_failed", reason, "NV9.9, R38"), now, effects);
    }

    /// <summary>A newer registration of the same node takes the place of one still waiting.</summary>
    private void Supersede(IPAddress homeAddress, DateTimeOffset now, EffectSink effects)
    {
        if (_transactions.TryGetValue(homeAddress, out var waiting))
        {
            Forget(waiting);
            Refuse(waiting.Registration, new(RegistrationReplyCode.HomeUnspecified, "ha.rrq.superseded", "a newer registration of this node came first", "NV9.11"), now, effects);
        }
    }

    private void Forget(UpdateTransaction transaction)
    {
        _transactions.Remove(transaction.Registration.Desired.HomeAddress);
        foreach (var identification in transaction.Waiting)
        {
            _outstanding.Remove(identification);
        }
    }

    /// <summary>NV7.14: a gateway asks whether its binding still counts. Silence when it does not.</summary>
    private void BindingRequested(BindingRequest request, DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        var gateway = request.Supplier;
        if (!_options.BindingContracts.TryGetValue(gateway, out var contract) || contract.Check(request, datagram.Payload.Span) != AuthenticationResult.Valid)
        {
            effects.Count("ha.br.bad_mac");
            return;
        }

        if (!_bindings.TryGetValue(request.HomeAddress, out var binding)
            || !binding.Profiles.Any(p => p.GatewayType == GatewayType.Dynamic && GatewayOf(p).Equals(gateway)))
        {
            effects.Count("ha.br.not_in_cache");
            return;
        }

        var remaining = (ushort)Math.Clamp((binding.Expires - now).TotalSeconds, 0, ushort.MaxValue);
        foreach (var profile in binding.Profiles.Where(p => p.GatewayType == GatewayType.Dynamic && GatewayOf(p).Equals(gateway)).ToList())
        {
            SendUpdate(binding, profile, remaining, null, now, effects);
        }
    }

    /// <summary>The correspondent's gateway of a dynamic profile, whichever way this agent's copy looks.</summary>
    private static IPAddress GatewayOf(VpnProfile profile) => profile.View == ProfileView.Down ? profile.SourceGateway : profile.DestinationGateway;
}
