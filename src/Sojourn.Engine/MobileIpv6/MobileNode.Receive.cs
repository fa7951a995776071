using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>What comes back: acknowledgements (RFC 6275 11.7.3, spec TA1.137), discovery replies, prefixes.</summary>
public sealed partial class MobileNode
{
    private void OnPacket(Ipv6PacketReceived received, DateTimeOffset now, EffectSink effects)
    {
        if (!MobileIpv6Packet.TryParse(received.Packet.Span, out var packet, out _))
        {
            effects.Count("mip6.mn.ignored.malformed");
            return;
        }

        if (packet.Protocol == IpProtocol.Mobility)
        {
            if (!MobilityMessage.ChecksumIsRight(packet.Payload.Span, packet.EffectiveSource, packet.EffectiveDestination) || !MobilityMessage.TryParse(packet.Payload.Span, out var message, out _))
            {
                effects.Count("mip6.mn.ignored.malformed");
            }
            else
            {
                OnMessage(packet, message, received, now, effects);
            }
        }
        else if (packet.Protocol == IpProtocol.Icmpv6)
        {
            OnIcmp(packet, received, now, effects);
        }
    }

    private void OnMessage(MobileIpv6Packet packet, MobilityMessage message, Ipv6PacketReceived received, DateTimeOffset now, EffectSink effects)
    {
        switch (message)
        {
            case BindingAcknowledgement acknowledgement when _routes.ContainsKey(packet.Source):
                OnRouteAcknowledged(packet, acknowledgement, now, effects);
                break;
            case BindingAcknowledgement acknowledgement:
                OnAcknowledgement(packet, acknowledgement, received, now, effects);
                break;
            case TestAnswer answer:
                OnTest(packet, answer, received, now, effects);
                break;
            case BindingError error:
                OnBindingError(packet, error, now, effects);
                break;
            case BindingRefreshRequest when _routes.TryGetValue(packet.Source, out var route) && route is { Deleting: false, TestAgain: null, Registration.State: BindingUpdateState.Registered }:
                Test(route, now, effects, first: true);
                break;
            default:
                effects.Count("mip6.mn.ignored.type");
                break;
        }
    }

    /// <summary>From the home agent, for our home address, as the policy demands it; otherwise ignored and counted (spec TA1.137x).</summary>
    private bool IsOfHomeAgent(MobileIpv6Packet packet, Ipv6PacketReceived received, bool prefixDiscovery, EffectSink effects)
    {
        if (WhyNotOfHomeAgent(packet, received.Under, prefixDiscovery) is { } why)
        {
            effects.Count($"mip6.mn.ignored.{why}");
            return false;
        }

        return true;
    }

    private string? WhyNotOfHomeAgent(MobileIpv6Packet packet, long? under, bool prefixDiscovery)
    {
        if (_home is null || HomeRegistration is not { } entry || !packet.Source.Equals(entry.Peer) || packet.HomeAddress is not null || !packet.EffectiveDestination.Equals(_home.HomeAddress))
        {
            return "wrong_selector";
        }

        return _protection.Refuse(_home.HomeAddress, under, prefixDiscovery, out _)?.Why;
    }

    /// <summary>What this node would make of a binding acknowledgement now. Nothing changes by asking (spec terminal, steps 74 and 75).</summary>
    /// <param name="packet">As received, without its IPsec header; its checksum is right.</param>
    /// <param name="under">Association it came under.</param>
    public AnswerVerdict Judge(MobileIpv6Packet packet, BindingAcknowledgement acknowledgement, long? under) =>
        _routes.TryGetValue(packet.Source, out var route) ? JudgeRoute(route, packet, acknowledgement) : JudgeHome(packet, acknowledgement, under);

    private AnswerVerdict JudgeHome(MobileIpv6Packet packet, BindingAcknowledgement acknowledgement, long? under)
    {
        switch (WhyNotOfHomeAgent(packet, under, prefixDiscovery: false))
        {
            case null:
                break;
            case "wrong_selector":
                return AnswerVerdict.NoEntry;
            case "no_association":
                return AnswerVerdict.NoAssociation;
            default:
                return AnswerVerdict.PolicyNotMet;
        }

        var entry = HomeRegistration!;
        if (entry.RetransmitAt is null || entry.State != BindingUpdateState.Temporary)
        {
            return AnswerVerdict.NotAskedFor;
        }

        return acknowledgement.Status == BindingStatus.SequenceNumberOutOfWindow ? AnswerVerdict.Good
            : acknowledgement.SequenceNumber != entry.SequenceNumber ? AnswerVerdict.NotAskedFor
            : entry.Lifetime == 0 || (acknowledgement.Status.IsAccepted() && (acknowledgement.Lifetime == 0 || LacksNetworks(acknowledgement))) ? AnswerVerdict.TakesBack
            : AnswerVerdict.Good;
    }

    private void OnAcknowledgement(MobileIpv6Packet packet, BindingAcknowledgement acknowledgement, Ipv6PacketReceived received, DateTimeOffset now, EffectSink effects)
    {
        if (!IsOfHomeAgent(packet, received, prefixDiscovery: false, effects))
        {
            return;
        }

        var entry = HomeRegistration!;
        if (entry.RetransmitAt is null || entry.State != BindingUpdateState.Temporary)
        {
            effects.Count("mip6.mn.ignored.unasked");
            return;
        }

        if (acknowledgement.Status == BindingStatus.SequenceNumberOutOfWindow)
        {
            effects.Count("mip6.mn.refused.135");
            _sequence = acknowledgement.SequenceNumber;
            SendUpdate(entry.Lifetime, entry.Timeout, now, effects);
            return;
        }

        if (acknowledgement.SequenceNumber != entry.SequenceNumber)
        {
            effects.Count("mip6.mn.ignored.sequence");
            return;
        }

        if (acknowledgement.Options.Find<DnsUpdateOption>() is { } name && _options.Name is { } wanted && NameStatus != name.Status)
        {
            NameStatus = name.Status;
            var registered = name.Status < DnsUpdateStatus.Unspecified;
            effects.Emit(new Report(new EngineEvent(registered ? "name.registered" : "name.refused", registered ? EventSeverity.Information : EventSeverity.Warning, $"{wanted}: {name.Status}") { HomeAddress = entry.HomeAddress, Peer = entry.Peer.ToString(), Rule = "TA1.137a" }));
        }

        if (entry.Lifetime == 0)
        {
            OnTakenBack(acknowledgement, effects);
            if (IsRouter && !AtHome && !_leaving)
            {
                LookForRouterService(now, effects);
            }
        }
        else if (acknowledgement.Status.IsAccepted() && LacksNetworks(acknowledgement))
        {
            OnNetworksNotServed(entry, now, effects);
        }
        else if (acknowledgement.Status.IsAccepted() && acknowledgement.Lifetime > 0)
        {
            OnAccepted(entry, acknowledgement, received.Under, now, effects);
        }
        else
        {
            OnRefused(entry, acknowledgement, now, effects);
        }
    }

    private void OnAccepted(BindingUpdateListEntry entry, BindingAcknowledgement acknowledgement, long? under, DateTimeOffset now, EffectSink effects)
    {
        // Counted from when the update left (RFC 6275 11.7.3); no home agent grants more than was asked for.
        var lifetime = Math.Min(entry.Lifetime, acknowledgement.Lifetime) * MobileIpv6Limits.LifetimeUnit;
        var refresh = lifetime * _options.RefreshAt;
        if (acknowledgement.Options.Find<BindingRefreshAdviceOption>() is { RefreshInterval: > 0 } advice && advice.Interval < refresh)
        {
            refresh = advice.Interval;
        }

        ForgetRefusal();
        var first = entry.GrantedCareOfAddress is null;
        HomeRegistration = entry with
        {
            State = BindingUpdateState.Registered,
            Expires = entry.SentAt + lifetime,
            GrantedCareOfAddress = entry.CareOfAddress,
            RetransmitAt = null,
            RefreshAt = entry.SentAt + refresh,
        };
        effects.Count("mip6.mn.accepted");
        effects.Emit(new ChangePaths([.. Paths(HomeRegistration, entry.CareOfAddress)], []));
        effects.Emit(new Report(new EngineEvent(first ? "binding.registered" : "binding.updated", EventSeverity.Information, $"{entry.HomeAddress} is registered at {entry.Peer} with {entry.CareOfAddress} for {lifetime.TotalSeconds} s")
        {
            HomeAddress = entry.HomeAddress,
            CareOfAddress = entry.CareOfAddress,
            Peer = entry.Peer.ToString(),
            Rule = "TA1.137",
        }));
        if (under is { } number && _protection.Find(number) is { } association && !association.Peer.Equals(entry.CareOfAddress))
        {
            if (acknowledgement.Flags.HasFlag(BindingAcknowledgementFlags.KeyManagementMobility))
            {
                _protection.Move(association, entry.CareOfAddress);
                effects.Emit(new MoveAssociation(number, entry.CareOfAddress));
            }
            else
            {
                effects.Emit(new DiscardKeyManagement(entry.HomeAddress, association.Peer));
            }
        }

        ResumeRoutes(now, effects);
        if (acknowledgement.Status == BindingStatus.AcceptedPrefixDiscoveryNecessary && _solicitation is null)
        {
            SolicitPrefixes(now, effects);
        }
    }

    private void OnTakenBack(BindingAcknowledgement acknowledgement, EffectSink effects)
    {
        // Refused with 133 means there was none; the outcome is the same.
        var entry = HomeRegistration!;
        effects.Count("mip6.mn.deregistered");
        DropRegistration(effects);
        effects.Emit(new Report(new EngineEvent("binding.deregistered", EventSeverity.Information, $"{entry.HomeAddress}: {acknowledgement.Status}") { HomeAddress = entry.HomeAddress, Peer = entry.Peer.ToString() }));
        if (AtHome)
        {
            effects.Emit(new AnnounceHomeAddress(entry.HomeAddress));
        }
    }

    private void OnRefused(BindingUpdateListEntry entry, BindingAcknowledgement acknowledgement, DateTimeOffset now, EffectSink effects)
    {
        effects.Count($"mip6.mn.refused.{(byte)acknowledgement.Status}");
        effects.Emit(new Report(new EngineEvent("binding.refused", EventSeverity.Warning, $"{entry.Peer} refuses {entry.HomeAddress}: {acknowledgement.Status}") { HomeAddress = entry.HomeAddress, Peer = entry.Peer.ToString() }));
        if (acknowledgement.Status != BindingStatus.DuplicateAddressDetectionFailed && _agent + 1 < _agents.Count)
        {
            NextAgent(now, effects);
            return;
        }

        (_refused, Refusal) = (true, acknowledgement.Status);
        NetworksRefused = RefusesNetworks(acknowledgement.Status) ? acknowledgement.Status : null;
        _resumeAt = acknowledgement.Status == BindingStatus.DuplicateAddressDetectionFailed || NetworksRefused is not null ? null : now + LongerPause();
        if (entry is { GrantedCareOfAddress: { } granted, Expires: { } end } && end > now && acknowledgement.Status != BindingStatus.DuplicateAddressDetectionFailed)
        {
            // A refused update changes nothing (spec terminal R26, R27): the binding that stands at the home agent serves until it runs out.
            HomeRegistration = entry with { State = BindingUpdateState.Registered, CareOfAddress = granted, RetransmitAt = null, RefreshAt = null };
            return;
        }

        DropRegistration(effects);
    }

    /// <summary>5, 10, 20 s … five minutes: whatever is amiss at the home agent, it may be mended soon, and it may be never.</summary>
    private TimeSpan LongerPause()
    {
        var pause = s_again * (1 << Math.Min(_refusals++, 6));
        return pause < s_longestPause ? pause : s_longestPause;
    }

    private void OnIcmp(MobileIpv6Packet packet, Ipv6PacketReceived received, DateTimeOffset now, EffectSink effects)
    {
        if (!Icmpv6Message.ChecksumIsRight(packet.Payload.Span, packet.EffectiveSource, packet.EffectiveDestination) || !Icmpv6Message.TryParse(packet.Payload.Span, out var message, out _))
        {
            effects.Count("mip6.mn.ignored.malformed");
            return;
        }

        switch (message)
        {
            case HomeAgentAddressDiscoveryReply reply:
                OnDiscovered(packet, reply, now, effects);
                break;
            case MobilePrefixAdvertisement advertisement:
                OnPrefixes(packet, advertisement, received, now, effects);
                break;
        }
    }
}
