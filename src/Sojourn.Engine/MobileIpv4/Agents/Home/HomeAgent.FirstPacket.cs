// Readings:
// - R35, NV8.1: only a dynamic gateway is told anything, so only its profiles wait. They count as not served
//   (Binding.Unserved), which holds their traffic and survives moves and restarts; what was distributed once goes on like
//   any profile (NV4-NV6) until the user's correspondent changes.
// - NV8.3 "once, rate-limited": one update per trigger, repeated like any (NV9.9). Packets that come meanwhile, and for a
//   while after a gateway did not take it, ask for nothing.
// - NV8.3 "held": the packet waits in the packet path until the gateway has acknowledged, then goes to the foreign agent
//   by the home agent's own leg. That packet is at the same time the notice of NV8.4: the foreign agent takes it only when it is
//   authentic, and it never leaves before the gateway can receive. The reply to a registration names what has been
//   distributed, for a node that moves and speaks first.
// - A packet of the mobile node's own is held at the foreign agent, which asks here by binding request; whether that
//   distributes anything is this agent's option (off by default).
using System.Net;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>Distribution of profiles on the first packet (spec network-vpn NV8, claim 5).</summary>
public sealed partial class HomeAgent
{
    /// <summary>What has been done about a profile that waits.</summary>
    private sealed class Trigger
    {
        /// <summary>The gateway is being told, or was and may not have said so.</summary>
        public bool Asked { get; set; }

        /// <summary>A packet came while a registration was under way.</summary>
        public bool Postponed { get; set; }

        /// <summary>Until then packets ask for nothing.</summary>
        public DateTimeOffset NotBefore { get; set; }

        /// <summary>The gateway has restarted since the keys were made: the next registration has to bring others (M3).</summary>
        public bool KeysSpent { get; set; }

        /// <summary>The foreign agent's request that waits for the outcome.</summary>
        public BindingRequest? Request { get; set; }
    }

    private readonly Dictionary<IPAddress, Dictionary<uint, Trigger>> _triggers = [];

    /// <summary>Whether a packet the mobile node sends first distributes a waiting profile too. Set on the owner loop.</summary>
    public bool TriggerFromMobileNode { get; set; }

    /// <summary>NV8.2, NV8.3: a packet met a path that is not ready.</summary>
    private void PacketWaits(PathSignalled signal, DateTimeOffset now, EffectSink effects)
    {
        if (Vpn.FindPath(signal.Path) is not { State: PathState.Blocked, Origin: { ProfileNumber: { } number, HomeAddress: { } home } } path
            || !_bindings.TryGetValue(home, out var binding) || WaitingIn(binding, number) is not { } profile)
        {
            return;
        }

        // Via home the node's own packets come this far.
        if (path.Source.Equals(new IPNetwork(home, 32)) && !TriggerFromMobileNode)
        {
            effects.Count("ha.trigger.from_mobile_node_refused");
            return;
        }

        effects.Count("ha.trigger.packet");
        Distribute(binding, profile, null, now, effects);
    }

    private static VpnProfile? WaitingIn(Binding binding, uint number) =>
        binding.Unserved.Contains(number) ? binding.Profiles.FirstOrDefault(p => p.ProfileNumber == number && p.WaitsForPacket) : null;

    /// <summary>Sends the update of a waiting profile, unless that is being done or did not help just now.</summary>
    private void Distribute(Binding binding, VpnProfile profile, BindingRequest? request, DateTimeOffset now, EffectSink effects)
    {
        if (!_triggers.TryGetValue(binding.HomeAddress, out var ofNode))
        {
            _triggers[binding.HomeAddress] = ofNode = [];
        }

        if (!ofNode.TryGetValue(profile.ProfileNumber, out var trigger))
        {
            ofNode[profile.ProfileNumber] = trigger = new Trigger();
        }

        trigger.Request = request ?? trigger.Request;
        trigger.Postponed = _transactions.ContainsKey(binding.HomeAddress);
        if (trigger.Postponed)
        {
            // The profile may be another one when the registration is done.
            return;
        }

        var gateway = GatewayOf(profile);
        if (now < trigger.NotBefore)
        {
            effects.Count("ha.trigger.suppressed");
        }
        else if (_outstanding.Count >= _options.MaximumPending || !_options.BindingContracts.ContainsKey(gateway))
        {
            effects.Count("ha.trigger.not_possible");
        }
        else
        {
            trigger.Asked = true;
            trigger.NotBefore = now + (_options.UpdateInterval * _options.UpdateTries);
            effects.Emit(new Report(Event("profile.triggered", EventSeverity.Information, $"a packet waits for profile {profile.ProfileNumber}", binding, "NV8.3")));
            Send(NewUpdate(binding, gateway, profile, Remaining(binding, now), null), now, effects);
        }
    }

    private void DistributePostponed(IPAddress home, DateTimeOffset now, EffectSink effects)
    {
        if (!_triggers.TryGetValue(home, out var ofNode) || !_bindings.TryGetValue(home, out var binding))
        {
            return;
        }

        foreach (var profile in ofNode.Where(t => t.Value.Postponed).Select(t => WaitingIn(binding, t.Key)).OfType<VpnProfile>().ToList())
        {
            Distribute(binding, profile, null, now, effects);
        }
    }

    /// <summary>NV8.4: the gateway has the profile, so what waits may go.</summary>
    private void Distributed(OutstandingUpdate update, DateTimeOffset now, EffectSink effects)
    {
        if (update.Profile is not { } profile || !_bindings.TryGetValue(update.Binding.HomeAddress, out var binding)
            || WaitingIn(binding, profile.ProfileNumber) is not { } waiting || waiting != profile)
        {
            return;
        }

        var served = binding with { Unserved = binding.Unserved.Remove(profile.ProfileNumber) };
        if (Vpn.Set(SessionOf(served), now, effects, RekeyTime) is { } refusal)
        {
            effects.Count("ha.profile.refused");
            effects.Emit(new Report(Event("profile.not_distributed", EventSeverity.Error, refusal.Text, binding, refusal.Rule)));
            return;
        }

        var request = _triggers.GetValueOrDefault(binding.HomeAddress)?.GetValueOrDefault(profile.ProfileNumber)?.Request;
        Commit(served, now, effects);
        effects.Count("ha.trigger.distributed");
        effects.Emit(new Report(Event("profile.distributed", EventSeverity.Information, $"{update.Gateway} has profile {profile.ProfileNumber}", served, "NV8.4")));
        if (request is not null)
        {
            Notify(served, request, BindingStatus.Accepted, [profile.ProfileNumber], now, effects);
        }
    }

    /// <summary>The profile waits on. The gateway may have taken it and only its acknowledgement been lost.</summary>
    private void NotDistributed(OutstandingUpdate update, DateTimeOffset now, EffectSink effects)
    {
        if (update.Profile is not { } profile || !_bindings.TryGetValue(update.Binding.HomeAddress, out var binding) || WaitingIn(binding, profile.ProfileNumber) is null)
        {
            return;
        }

        effects.Count("ha.trigger.failed");
        if (WaitOn(binding.HomeAddress, profile.ProfileNumber, now) is { } request)
        {
            Notify(binding, request, BindingStatus.Unspecified, [profile.ProfileNumber], now, effects);
        }

        if (!Told(binding).Contains(update.Gateway))
        {
            Send(NewUpdate(binding, update.Gateway, null, 0, null), now, effects);
        }
    }

    /// <summary>Lets the next packet ask again after a while; whoever asked before is returned.</summary>
    private BindingRequest? WaitOn(IPAddress home, uint number, DateTimeOffset now)
    {
        if (_triggers.GetValueOrDefault(home)?.GetValueOrDefault(number) is not { } trigger)
        {
            return null;
        }

        var request = trigger.Request;
        (trigger.Asked, trigger.NotBefore, trigger.Request) = (false, now + _options.TriggerInterval, null);
        return request;
    }

    /// <summary>Which profiles of a registration are not distributed with it (NV8.1): those that never were and nobody asked for.</summary>
    private Binding WithWaiting(Binding desired, Binding? before)
    {
        var ofNode = _triggers.GetValueOrDefault(desired.HomeAddress);
        return desired with
        {
            Unserved =
            [
                .. desired.Profiles.Where(p => p.WaitsForPacket && !IsDistributed(p, before) && ofNode?.GetValueOrDefault(p.ProfileNumber) is not ({ Asked: true } or { Postponed: true })).Select(p => p.ProfileNumber),
            ],
        };
    }

    private static bool IsDistributed(VpnProfile profile, Binding? before) =>
        before is not null && !before.Unserved.Contains(profile.ProfileNumber)
        && before.Profiles.Any(p => p.ProfileNumber == profile.ProfileNumber && p.GatewayType == GatewayType.Dynamic && p.View == profile.View
            && GatewayOf(p).Equals(GatewayOf(profile)) && p.Source.Equals(profile.Source) && p.Destination.Equals(profile.Destination));

    /// <summary>Dynamic gateways that have, or may have, something of a binding.</summary>
    private IEnumerable<IPAddress> Told(Binding binding)
    {
        var ofNode = _triggers.GetValueOrDefault(binding.HomeAddress);
        return binding.Profiles
            .Where(p => p.GatewayType == GatewayType.Dynamic && (WaitingIn(binding, p.ProfileNumber) is null || ofNode?.GetValueOrDefault(p.ProfileNumber) is { Asked: true }))
            .Select(GatewayOf).Distinct();
    }

    /// <summary>A profile of this binding that a gateway could not take because its keys are from before its restart.</summary>
    private bool HasSpentKeys(Registration registration) =>
        registration.Before is { } before && _triggers.TryGetValue(before.HomeAddress, out var ofNode)
        && ofNode.Any(t => t.Value.KeysSpent && WaitingIn(before, t.Key) is { } profile && registration.Desired.Profiles.Contains(profile));

    /// <summary>What is known of profiles that wait no longer, or are not the same any more, is forgotten.</summary>
    private void ForgetTriggers(Binding current, Binding? before)
    {
        if (!_triggers.TryGetValue(current.HomeAddress, out var ofNode))
        {
            return;
        }

        foreach (var number in ofNode.Keys.Where(n => WaitingIn(current, n) is not { } profile || (ofNode[n].KeysSpent && before?.Profiles.Contains(profile) != true)).ToList())
        {
            ofNode.Remove(number);
        }

        if (ofNode.Count == 0)
        {
            _triggers.Remove(current.HomeAddress);
        }
    }

    /// <summary>The foreign agent has a packet of the node's own for profiles that wait (NV8.3).</summary>
    private void AskedByForeignAgent(BindingRequest request, DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        request.TryFindAuthentication(AuthenticationKind.ForeignHome, out _, out var index);
        if (!_bindings.TryGetValue(request.HomeAddress, out var binding) || binding.ForeignAgent is not { } association || !association.IsValidAt(now)
            || index != request.Extensions.Count - 1 || request.Check(datagram.Payload.Span, AuthenticationKind.ForeignHome, association) != AuthenticationResult.Valid)
        {
            effects.Count("ha.br.bad_mac");
            return;
        }

        if (!request.Supplier.Equals(binding.CareOfAddress) || !datagram.Source.Address.Equals(binding.CareOfAddress)
            || Identification.Ahead(request.Identification, now).Duration() > _options.TimestampTolerance)
        {
            effects.Count("ha.br.stale");
            return;
        }

        var asked = request.Extensions.ProfileNumbers(_options.EnterpriseNumber);
        var ready = DistributedIn(binding).Where(asked.Contains).ToList();
        if (ready.Count > 0)
        {
            Notify(binding, request, BindingStatus.Accepted, ready, now, effects);
        }

        foreach (var profile in asked.Select(number => WaitingIn(binding, number)).OfType<VpnProfile>())
        {
            if (TriggerFromMobileNode)
            {
                effects.Count("ha.trigger.mobile_node");
                Distribute(binding, profile, request, now, effects);
            }
            else
            {
                effects.Count("ha.trigger.from_mobile_node_refused");
                Notify(binding, request, BindingStatus.Prohibited, [profile.ProfileNumber], now, effects);
            }
        }
    }

    /// <summary>Tells the foreign agent what became of its request.</summary>
    private void Notify(Binding binding, BindingRequest request, BindingStatus status, IReadOnlyCollection<uint> profiles, DateTimeOffset now, EffectSink effects)
    {
        if (binding.ForeignAgent is not { } association || !request.CareOfAddress.Equals(binding.CareOfAddress))
        {
            return;
        }

        var notice = new BindingAcknowledgement
        {
            Status = status,
            Lifetime = Remaining(binding, now),
            HomeAddress = binding.HomeAddress,
            CareOfAddress = binding.CareOfAddress,
            Supplier = _options.Address,
            Identification = request.Identification,
            Extensions = MobileIpExtensions.Of(ProjectExtensions.ProfileNumbers(_options.EnterpriseNumber, profiles)),
        }.Sign(AuthenticationKind.ForeignHome, association);
        effects.Emit(new SendDatagram(new IPEndPoint(_options.Address, MobileIpPort), new IPEndPoint(binding.CareOfAddress, MobileIpPort), notice.ToArray()));
    }

    /// <summary>Profiles that waited and have been distributed, for the foreign agent to know.</summary>
    private static List<uint> DistributedIn(Binding binding) =>
        [.. binding.Profiles.Where(p => p.WaitsForPacket && !binding.Unserved.Contains(p.ProfileNumber)).Select(p => p.ProfileNumber).Distinct().Take(ProjectExtensions.MostProfileNumbers)];

    private static ushort Remaining(Binding binding, DateTimeOffset now) => (ushort)Math.Clamp((binding.Expires - now).TotalSeconds, 0, ushort.MaxValue);
}
