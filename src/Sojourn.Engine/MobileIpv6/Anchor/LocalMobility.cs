// Readings:
// - One anchor point at a time: the one in use as long as the link still advertises it, else the highest preference above zero,
//   then the nearest (RFC 5380 7.1).
// - The first local update goes in clear, because there is no association yet and the gateway takes it for a trigger (spec
//   TA3.163, G27); it is repeated under the association as soon as there is one.
// - A refusal in clear proves nothing: it is told, and the updates go on. Everything else counts only under the association.
// - A link that has gone, or whose router has not spoken yet, says nothing about the anchor point: regional address and binding stay
//   until a router speaks that advertises another or none.
// - An anchor point that does not answer, or refuses, is done without where that is allowed (Patience), until the terminal has another on-link address:
//   another one that is advertised takes its place, or else plain Mobile IPv6. It is not tried in between, which would break what works.
// - While there is an anchor, nothing is registered at home with the on-link address: the gateway would not let it pass.
using System.Net;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>Settings of a terminal's local mobility.</summary>
public sealed record LocalMobilityOptions
{
    public required string Interface { get; init; }

    public TimeSpan Lifetime { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>Part of the granted lifetime after which the local binding is renewed.</summary>
    public double RefreshAt { get; init; } = 0.8;

    /// <summary>Anchor points that are registered with in clear, and whose acknowledgements are taken so (spec G27, terminal SP6).</summary>
    public IReadOnlyCollection<IPAddress> Unprotected { get; init; } = [];

    /// <summary>An update in clear asks to be let in (spec TA3.163). False: nothing is sent before there is an association.</summary>
    public bool AsksInClear { get; init; } = true;

    /// <summary>How long an anchor point may leave updates unanswered before it is done without; null = there is no way but through it.</summary>
    public TimeSpan? Patience { get; init; }

    /// <summary>Anchor points that may be used; null = any that is advertised.</summary>
    public IReadOnlyCollection<IPAddress>? Known { get; init; }
}

/// <summary>
/// The link as the mobile node shall see it (<see cref="LinkReported"/>): behind an anchor point its only address is the
/// regional one, once that is bound and for as long as it is.
/// </summary>
public sealed record RegionalLink(LinkConfigured Link) : Effect;

/// <summary>
/// The terminal's side of Hierarchical Mobile IPv6 (RFC 5380 6.1, 7.1), between its host and its <see cref="MobileNode"/>: binds
/// the on-link address at the anchor point and shows the mobile node the regional address as the place where it is. Moves inside
/// the domain reach nobody but the anchor point. Inputs: <see cref="LinkReported"/>, associations, <see cref="Ipv6PacketReceived"/>.
/// </summary>
public sealed class LocalMobility(LocalMobilityOptions options, IRandomSource random) : IEngine
{
    private readonly Dictionary<IPAddress, SignallingAssociation> _associations = [];
    private LinkConfigured? _link;
    private MobilityAnchorPointOption? _anchor;
    private IPAddress? _onLink;
    private ushort _sequence = (ushort)random.NextUInt32();

    /// <summary>Anchor points that did not answer, with the on-link address of then.</summary>
    private readonly Dictionary<IPAddress, IPAddress> _silent = [];

    /// <summary>The first of the updates that nothing has come back to; null once something has.</summary>
    private DateTimeOffset? _askedSince;

    /// <summary>The entry for the anchor point; null without one. Home address is the regional, care-of address the on-link one.</summary>
    public BindingUpdateListEntry? Registration { get; private set; }

    /// <summary>The anchor point in use; null without one.</summary>
    public IPAddress? Anchor => _anchor?.Address;

    /// <summary>How its router advertises the anchor point in use; null without one.</summary>
    public MobilityAnchorPointOption? Advertised => _anchor;

    /// <summary>What the anchor point is told, or was; null while the link has none.</summary>
    public IPAddress? OnLinkAddress => _anchor is null ? null : _onLink;

    /// <summary>Formed when an anchor point was found; bound or not.</summary>
    public IPAddress? RegionalAddress { get; private set; }

    public DateTimeOffset? NextDeadline
    {
        get
        {
            DateTimeOffset? next = Registration?.RetransmitAt;
            foreach (var at in new[] { Registration?.RefreshAt, Registration?.Expires })
            {
                next = next is null || at < next ? at ?? next : next;
            }

            return next;
        }
    }

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case LinkReported report when report.Link.Interface == options.Interface:
                OnLink(report.Link, now, effects);
                break;
            case AssociationEstablished { Association: var association }:
                _associations[association.HomeAddress] = association;
                if (association.HomeAddress.Equals(RegionalAddress) && Registration is { State: BindingUpdateState.Temporary })
                {
                    SendUpdate(MobileNode.FirstTimeout, now, effects);
                }

                break;
            case AssociationEnded ended:
                foreach (var gone in _associations.Where(a => a.Value.Number == ended.Number).Select(a => a.Key).ToList())
                {
                    _associations.Remove(gone);
                    if (ended.EndBinding && gone.Equals(RegionalAddress))
                    {
                        BeginAgain(now, effects);
                    }
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

    /// <summary>A packet of the mobile node on its way: one from the regional address goes through the tunnel to the anchor point.</summary>
    public SendIpv6Packet Through(SendIpv6Packet packet) =>
        packet.TunnelTo is null && Registration is { GrantedCareOfAddress: { } onLink } entry
            && MobileIpv6Packet.TryParse(packet.Packet.Span, out var read, out _) && read.Source.Equals(entry.HomeAddress)
        ? packet with { TunnelFrom = onLink, TunnelTo = entry.Peer }
        : packet;

    private void OnLink(LinkConfigured link, DateTimeOffset now, EffectSink effects)
    {
        _link = link;
        if (_anchor is not null && (!link.Up || link.Routers.Count == 0))
        {
            _onLink = null;
            Show(effects);
            return;
        }

        var anchor = link.Up ? Choose(link) : null;
        if (anchor is null)
        {
            if (_anchor is not null)
            {
                Drop(effects);
            }

            effects.Emit(new RegionalLink(link));
            return;
        }

        if (_anchor is null || !_anchor.Address.Equals(anchor.Address))
        {
            Drop(effects);
        }

        _anchor = anchor;
        var usable = link.Addresses.Where(a => a.Usable && a.ValidUntil > now && IPv6Octets.IsUnicastRoutable(a.Address)).ToList();
        var onLink = usable.Find(a => a.Address.Equals(_onLink))?.Address ?? usable.MaxBy(a => a.PreferredUntil)?.Address;
        if (onLink is null || link.Routers.Count == 0)
        {
            _onLink = null;
            Show(effects);
            return;
        }

        var moved = !onLink.Equals(_onLink);
        _onLink = onLink;
        if (RegionalAddress is null)
        {
            RegionalAddress = Regional(anchor.Prefix, onLink);
            effects.Emit(new Report(new EngineEvent("anchor.found", EventSeverity.Information, $"{anchor.Address} is the anchor point; {RegionalAddress} at {onLink}") { CareOfAddress = onLink, Peer = anchor.Address.ToString(), Rule = "TA3.162" }));
        }

        if (moved)
        {
            SendUpdate(MobileNode.FirstTimeout, now, effects);
        }

        Show(effects);
    }

    private MobilityAnchorPointOption? Choose(LinkConfigured link)
    {
        foreach (var (anchor, _) in _silent.Where(s => !link.Addresses.Any(a => a.Address.Equals(s.Value))).ToList())
        {
            _silent.Remove(anchor);
        }

        var anchors = link.Anchors.Where(a => a.ValidLifetime > 0 && !_silent.ContainsKey(a.Address)).ToList();
        return anchors.Find(a => a.Address.Equals(_anchor?.Address))
            ?? anchors.Where(a => a.Preference > 0 && options.Known?.Contains(a.Address) != false).OrderByDescending(a => a.Preference).ThenBy(a => a.Distance).FirstOrDefault();
    }

    /// <summary>An answer of the anchor point came, whatever was made of it: it is not silent.</summary>
    public void Answered() => _askedSince = null;

    private void GiveUp(BindingUpdateListEntry entry, string why, DateTimeOffset now, EffectSink effects)
    {
        effects.Count("hmip6.mn.given_up");
        effects.Emit(new Report(new EngineEvent("anchor.given_up", EventSeverity.Warning, $"{entry.Peer} {why}: it is done without at {entry.CareOfAddress}") { HomeAddress = entry.HomeAddress, CareOfAddress = entry.CareOfAddress, Peer = entry.Peer.ToString(), Rule = "RFC 5380 7.1" }));
        _silent[entry.Peer] = entry.CareOfAddress;
        OnLink(_link!, now, effects);
    }

    private static IPAddress Regional(IPNetwork prefix, IPAddress onLink)
    {
        Span<byte> octets = stackalloc byte[16];
        prefix.BaseAddress.TryWriteBytes(octets, out _);
        onLink.GetAddressBytes().AsSpan(8).CopyTo(octets[8..]);
        return new IPAddress(octets);
    }

    private void SendUpdate(TimeSpan timeout, DateTimeOffset now, EffectSink effects)
    {
        if (_anchor is not { } anchor || _onLink is not { } onLink || RegionalAddress is not { } regional)
        {
            // There is no place to tell; the next one will be told at once.
            Registration = Registration is null ? null : Registration with { RetransmitAt = null, RefreshAt = null };
            return;
        }

        const BindingUpdateFlags flags = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.MobilityAnchorPoint;
        var address = _link!.Addresses.FirstOrDefault(a => a.Address.Equals(onLink));
        TimeSpan[] bounds = [options.Lifetime, TimeSpan.FromSeconds(anchor.ValidLifetime), (address?.ValidUntil ?? now) - now];
        var lifetime = Math.Max((ushort)1, MobileIpv6Limits.ToUnits(bounds.Min()));
        var association = _associations.GetValueOrDefault(regional);
        _askedSince = timeout == MobileNode.FirstTimeout ? now : _askedSince;
        Registration = (Registration ?? new BindingUpdateListEntry { Peer = anchor.Address, HomeAddress = regional, CareOfAddress = onLink, State = BindingUpdateState.Temporary, SequenceNumber = 0, Flags = flags, Lifetime = lifetime, SentAt = now }) with
        {
            CareOfAddress = onLink,
            State = BindingUpdateState.Temporary,
            SequenceNumber = ++_sequence,
            Lifetime = lifetime,
            SentAt = now,
            RetransmitAt = now + timeout,
            Timeout = timeout,
            RefreshAt = null,
        };
        var unprotected = options.Unprotected.Contains(anchor.Address);
        if (association is not null || unprotected || options.AsksInClear)
        {
            effects.Count("hmip6.mn.updates");
            effects.Emit(new SendIpv6Packet(
                new MobileIpv6Packet
                {
                    Source = onLink,
                    Destination = anchor.Address,
                    HomeAddress = regional,
                    Protocol = IpProtocol.Mobility,
                    Payload = new BindingUpdate { SequenceNumber = _sequence, Flags = flags, Lifetime = lifetime }.ToArray(regional, anchor.Address),
                }.ToArray(), association?.Number, options.Interface));
        }

        if (association is null && !unprotected)
        {
            effects.Emit(new RequestAssociation(regional, anchor.Address, onLink));
        }
    }

    /// <summary>What this end would make of an acknowledgement now. Nothing changes by asking (spec terminal, steps 604 and 605).</summary>
    /// <param name="packet">As received, without its IPsec header; its checksum is right.</param>
    /// <param name="under">Association it came under.</param>
    public AnswerVerdict Judge(MobileIpv6Packet packet, BindingAcknowledgement acknowledgement, long? under)
    {
        if (Registration is not { } entry || !packet.Source.Equals(entry.Peer) || !entry.HomeAddress.Equals(packet.RoutingHomeAddress) || !packet.Destination.Equals(entry.CareOfAddress))
        {
            return AnswerVerdict.NoEntry;
        }

        return !IsProtected(entry, under) ? AnswerVerdict.PolicyNotMet
            : entry.RetransmitAt is null || (acknowledgement.Status != BindingStatus.SequenceNumberOutOfWindow && acknowledgement.SequenceNumber != entry.SequenceNumber) ? AnswerVerdict.NotAskedFor
            : acknowledgement is { Lifetime: 0 } && acknowledgement.Status.IsAccepted() ? AnswerVerdict.TakesBack
            : AnswerVerdict.Good;
    }

    /// <summary>As the anchor point's answers have to be: under its association, or in clear where nothing else was agreed.</summary>
    private bool IsProtected(BindingUpdateListEntry entry, long? under) =>
        under is { } number ? _associations.TryGetValue(entry.HomeAddress, out var association) && association.Number == number : options.Unprotected.Contains(entry.Peer);

    private void OnPacket(Ipv6PacketReceived received, DateTimeOffset now, EffectSink effects)
    {
        // Without the routing header with the regional address it is not for us (RFC 5380 6.1).
        if (Registration is not { RetransmitAt: not null } entry || !MobileIpv6Packet.TryParse(received.Packet.Span, out var packet, out _) || packet.Protocol != IpProtocol.Mobility
            || !packet.Source.Equals(entry.Peer) || !entry.HomeAddress.Equals(packet.RoutingHomeAddress)
            || !MobilityMessage.ChecksumIsRight(packet.Payload.Span, packet.EffectiveSource, packet.EffectiveDestination)
            || !MobilityMessage.TryParse(packet.Payload.Span, out var message, out _) || message is not BindingAcknowledgement acknowledgement)
        {
            effects.Count("hmip6.mn.ignored");
            return;
        }

        if (!IsProtected(entry, received.Under))
        {
            effects.Count("hmip6.mn.ignored.unprotected");
            if (!acknowledgement.Status.IsAccepted() && acknowledgement.SequenceNumber == entry.SequenceNumber)
            {
                Refused(entry, acknowledgement.Status, effects);
            }

            return;
        }

        if (acknowledgement.Status == BindingStatus.SequenceNumberOutOfWindow)
        {
            _sequence = acknowledgement.SequenceNumber;
            SendUpdate(entry.Timeout, now, effects);
            return;
        }

        if (acknowledgement.SequenceNumber != entry.SequenceNumber)
        {
            effects.Count("hmip6.mn.ignored.sequence");
            return;
        }

        if (!acknowledgement.Status.IsAccepted() || acknowledgement.Lifetime == 0)
        {
            Refused(entry, acknowledgement.Status, effects);
            if (options.Patience is not null)
            {
                GiveUp(entry, "refuses", now, effects);
                return;
            }

            RemoveTunnel(effects);
            Registration = entry with { GrantedCareOfAddress = null, Expires = null, Timeout = MobileNode.LongestTimeout, RetransmitAt = now + MobileNode.LongestTimeout };
            Show(effects);
            return;
        }

        var lifetime = Math.Min(entry.Lifetime, acknowledgement.Lifetime) * MobileIpv6Limits.LifetimeUnit;
        Registration = entry with
        {
            State = BindingUpdateState.Registered,
            GrantedCareOfAddress = entry.CareOfAddress,
            Expires = entry.SentAt + lifetime,
            RetransmitAt = null,
            RefreshAt = entry.SentAt + (lifetime * options.RefreshAt),
        };
        effects.Count("hmip6.mn.accepted");
        effects.Emit(new ChangePaths([MobileTunnel.ToAnchor(entry.HomeAddress, entry.CareOfAddress, entry.Peer)], []));
        effects.Emit(new Report(new EngineEvent(entry.GrantedCareOfAddress is null ? "binding.registered" : "binding.updated", EventSeverity.Information, $"{entry.HomeAddress} is anchored at {entry.Peer} with {entry.CareOfAddress} for {lifetime.TotalSeconds} s")
        {
            HomeAddress = entry.HomeAddress,
            CareOfAddress = entry.CareOfAddress,
            Peer = entry.Peer.ToString(),
            Rule = "TA3.164",
        }));
        Show(effects);
    }

    private static void Refused(BindingUpdateListEntry entry, BindingStatus status, EffectSink effects)
    {
        effects.Count($"hmip6.mn.refused.{(byte)status}");
        effects.Emit(new Report(new EngineEvent("binding.refused", EventSeverity.Warning, $"{entry.Peer} refuses {entry.HomeAddress}: {status}") { HomeAddress = entry.HomeAddress, Peer = entry.Peer.ToString(), Rule = "TA3.150x" }));
    }

    private void OnDeadline(DateTimeOffset now, EffectSink effects)
    {
        if (Registration is { Expires: { } end } over && end <= now)
        {
            RemoveTunnel(effects);
            Registration = over with { Expires = null, GrantedCareOfAddress = null };
            effects.Emit(new Report(new EngineEvent("binding.expired", EventSeverity.Warning, $"the local binding of {over.HomeAddress} is over") { HomeAddress = over.HomeAddress }));
            Show(effects);
        }

        if (Registration is { RetransmitAt: { } again } entry && again <= now)
        {
            if (_askedSince + options.Patience <= now)
            {
                GiveUp(entry, "does not answer", now, effects);
                return;
            }

            SendUpdate(entry.Timeout * 2 > MobileNode.LongestTimeout ? MobileNode.LongestTimeout : entry.Timeout * 2, now, effects);
        }
        else if (Registration is { RefreshAt: { } refresh } && refresh <= now)
        {
            SendUpdate(MobileNode.FirstTimeout, now, effects);
        }
    }

    /// <summary>The regional address lasts as long as its binding, which bounds what is registered at home (RFC 5380 6.1).</summary>
    private void Show(EffectSink effects)
    {
        if (_link is not { } link || _anchor is not { } anchor)
        {
            return;
        }

        HostAddress[] addresses = Registration is { GrantedCareOfAddress: not null, Expires: { } until, HomeAddress: var regional }
            ? [new HostAddress(regional, anchor.Prefix, Usable: true, Optimistic: false, until, until)]
            : [];
        effects.Emit(new RegionalLink(link with { Addresses = addresses }));
    }

    /// <summary>The anchor point has ended the association, and with it access and binding: what is sent next is a trigger again.</summary>
    private void BeginAgain(DateTimeOffset now, EffectSink effects)
    {
        RemoveTunnel(effects);
        Registration = null;
        Show(effects);
        SendUpdate(MobileNode.FirstTimeout, now, effects);
    }

    private void Drop(EffectSink effects)
    {
        RemoveTunnel(effects);
        (_anchor, Registration, RegionalAddress, _onLink) = (null, null, null, null);
    }

    private void RemoveTunnel(EffectSink effects)
    {
        if (Registration is { GrantedCareOfAddress: not null } entry)
        {
            effects.Emit(new ChangePaths([], [MobileTunnel.IdOf(entry.HomeAddress)]));
        }
    }
}
