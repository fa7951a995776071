// Readings of RFC 3543:
// - Which agents take revocations: those that say so in a request they forward themselves (3.2). What comes in a HAR the foreign agent
//   cannot add to; the FA-HA association that the AAA server gives both then stands for it ("via AAA"), since only agents with this
//   application get one. An agent that knows nothing of revocation is silent, and is left alone after a few tries.
// - A node that has moved: its old agent is told a second after the reply (3.3 allows no more than one message a second for a
//   binding), with I = 0, for the node is elsewhere (4.2.2.1). Smooth hand-off is done by then, and the old agent keeps what it sends
//   after the node. A node that has come back meanwhile ends that.
// - A binding that an operator ends: at once, with I = 1, so that the node finds out. What the AAA server ends it tells both agents itself.
using System.Net;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>Revocation of registrations at foreign agents (RFC 3543 4.2.2.1, spec R29).</summary>
public sealed partial class HomeAgent
{
    private static readonly TimeSpan RevocationInterval = TimeSpan.FromSeconds(1);

    /// <summary>A revocation without its acknowledgement.</summary>
    private sealed class Revocation
    {
        public required Binding Revoked { get; init; }

        public required MobilityAssociation Agents { get; init; }

        public required bool Inform { get; init; }

        /// <summary>Of each try: any of them may be acknowledged.</summary>
        public List<uint> Identifiers { get; } = [];

        public required DateTimeOffset Next { get; set; }
    }

    private readonly Dictionary<(IPAddress Home, IPAddress Agent), Revocation> _revocations = [];

    // Entries of revocations that are settled, or have been put off, are passed over when their time comes.
    private readonly PriorityQueue<(IPAddress Home, IPAddress Agent), DateTimeOffset> _revocationTimes = new();

    private DateTimeOffset? NextRevocation => _revocationTimes.TryPeek(out _, out var at) ? at : null;

    private static uint SecondsOf(DateTimeOffset now) => (uint)(Identification.FromTime(now) >> 32);

    /// <summary>Tells the agent of a binding that it has ended there.</summary>
    private void Revoke(Binding revoked, bool inform, DateTimeOffset now)
    {
        if (!_options.Revocation || revoked.ForeignAgent is not { } agents || revoked.Expires <= now || _revocations.Count >= _options.MaximumPending)
        {
            return;
        }

        var earliest = revoked.Replied + RevocationInterval;
        var revocation = new Revocation { Revoked = revoked, Agents = agents, Inform = inform, Next = now < earliest ? earliest : now };
        _revocations[(revoked.HomeAddress, revoked.CareOfAddress)] = revocation;
        _revocationTimes.Enqueue((revoked.HomeAddress, revoked.CareOfAddress), revocation.Next);
    }

    /// <summary>The node is (again) at an agent, or has left one for another.</summary>
    private void RevokeFormer(Binding? before, Binding current, DateTimeOffset now)
    {
        _revocations.Remove((current.HomeAddress, current.CareOfAddress));
        if (before is not null && !before.CareOfAddress.Equals(current.CareOfAddress))
        {
            Revoke(before with { Replied = now }, inform: false, now);
        }
    }

    private void SendRevocations(DateTimeOffset now, EffectSink effects)
    {
        while (_revocationTimes.TryPeek(out var place, out var at) && at <= now)
        {
            _revocationTimes.Dequeue();
            if (!_revocations.TryGetValue(place, out var revocation) || revocation.Next > now)
            {
                continue;
            }

            var revoked = revocation.Revoked;
            if (revocation.Identifiers.Count >= _options.UpdateTries || revoked.Expires <= now)
            {
                _revocations.Remove(place);
                effects.Count("ha.revocation.unanswered");
                continue;
            }

            // Every try has the time of its own sending (4.2.2.1) and leaves twice as long for its answer.
            var identifier = SecondsOf(now);
            revocation.Identifiers.Add(identifier);
            revocation.Next = now + (RevocationInterval * (1 << (revocation.Identifiers.Count - 1)));
            _revocationTimes.Enqueue(place, revocation.Next);
            var message = new RegistrationRevocation
            {
                Flags = revocation.Inform ? (ushort)(RegistrationRevocation.HomeAgentFlag | RegistrationRevocation.InformFlag) : RegistrationRevocation.HomeAgentFlag,
                HomeAddress = revoked.HomeAddress,
                HomeDomainAddress = _options.Address,
                ForeignDomainAddress = revoked.CareOfAddress,
                Identifier = identifier,
            }.Sign(AuthenticationKind.ForeignHome, revocation.Agents);
            effects.Count(revocation.Identifiers.Count == 1 ? "ha.revocation.sent" : "ha.revocation.retransmitted");
            effects.Emit(new SendDatagram(new IPEndPoint(_options.Address, MobileIpPort), new IPEndPoint(revoked.CareOfAddress, MobileIpPort), message.ToArray()));
        }
    }

    private void RevocationAcknowledged(RegistrationRevocationAcknowledgement acknowledgement, DatagramReceived datagram, EffectSink effects)
    {
        var place = (acknowledgement.HomeAddress, datagram.Source.Address);
        if (!_revocations.TryGetValue(place, out var revocation) || !revocation.Identifiers.Contains(acknowledgement.Identifier))
        {
            effects.Count("ha.revocation_ack.unexpected");
            return;
        }

        if (acknowledgement.Check(datagram.Payload.Span, AuthenticationKind.ForeignHome, revocation.Agents) != AuthenticationResult.Valid)
        {
            effects.Count("ha.revocation_ack.bad_authenticator");
            return;
        }

        _revocations.Remove(place);
        effects.Count("ha.revocation.acknowledged");
        var told = revocation.Inform && acknowledgement.Inform ? "; the node was told" : "";
        effects.Emit(new Report(Event("revocation.acknowledged", EventSeverity.Information, $"{datagram.Source.Address} has ended the registration there{told}", revocation.Revoked, "RFC 3543 4.2.2.2") with { Peer = datagram.Source.Address.ToString() }));
    }

    /// <summary>Answers the foreign agent's offer, in the part of the reply that the FA-HA extension protects (3.2).</summary>
    private RegistrationReply WithRevocationSupport(RegistrationReply reply, RegistrationRequest request, DateTimeOffset now) =>
        _options.Revocation && reply.Code.IsAccepted() && request.Extensions.Find<RevocationSupportExtension>() is { } offer
            ? reply.With(new RevocationSupportExtension(offer.Inform ? RevocationSupportExtension.InformFlag : (ushort)0, SecondsOf(now)))
            : reply;
}
