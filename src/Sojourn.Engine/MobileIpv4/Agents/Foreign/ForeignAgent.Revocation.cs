// Readings of RFC 3543:
// - 3.5, 4.2.2.2: a revocation counts when it is close to this agent's clock and later than the registration it ends, by the home agent's
//   time in the last reply where that had it (3.2). A registration through the AAA servers has keys of its own, under which no earlier
//   revocation opens.
// - A node that another agent has asked for is not a visitor any more; what is sent after it goes on for its time (NV2.14).
// - 4.1: told is the node by an advertisement of its own that counts from 0, and by that alone; it may register here again.
using System.Net;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>Registrations that the home agent has ended (RFC 3543 4.2.2.2, spec R29).</summary>
public sealed partial class ForeignAgent
{
    private const int MostRevoked = 1024;

    /// <summary>How far a revocation may be off this agent's clock, seconds (as an Identification, RFC 5944 5.7.1).</summary>
    private const uint RevocationTolerance = 7;

    /// <summary>What was revoked lately, so that a repetition is acknowledged again.</summary>
    private readonly Dictionary<IPAddress, (Visitor Visitor, bool Informed)> _revoked = [];
    private readonly Queue<IPAddress> _revokedInOrder = new();

    private static uint SecondsOf(DateTimeOffset now) => (uint)(Identification.FromTime(now) >> 32);

    private void Revoked(RegistrationRevocation revocation, DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        var home = revocation.HomeAddress;
        var standing = _visitors.GetValueOrDefault(home);
        var departed = _handedOff.GetValueOrDefault(home)?.Visitor;
        var gone = _revoked.TryGetValue(home, out var earlier) ? earlier.Visitor : null;
        if (!revocation.FromHomeAgent)
        {
            Drop("fa.revocation.reflected", "it does not come from a home agent");
            return;
        }

        if (new[] { standing, departed, gone }.FirstOrDefault(v => v?.HomeAgentAssociation is { } key && IsProven(v, key)) is not { HomeAgentAssociation: { } association } visitor)
        {
            Drop(standing is null && departed is null && gone is null ? "fa.revocation.unknown_node" : "fa.revocation.bad_authenticator", "the sender does not prove that it is the node's home agent");
            return;
        }

        var off = unchecked((int)(revocation.Identifier - SecondsOf(now)));
        if (!revocation.ForeignDomainAddress.Equals(_options.CareOfAddress) || !revocation.HomeDomainAddress.Equals(visitor.HomeAgent)
            || Math.Abs((long)off) > RevocationTolerance || (visitor.HomeTime is { } registered && unchecked((int)(revocation.Identifier - registered)) <= 0))
        {
            Drop("fa.revocation.stale", "it names another registration than the one here");
            return;
        }

        var inform = revocation.Inform;
        if (ReferenceEquals(visitor, standing))
        {
            effects.Count("fa.revocation.accepted");
            effects.Emit(new Report(Event("registration.revoked", EventSeverity.Information, inform ? "the home agent has ended the registration" : "the node has registered elsewhere", visitor.Session, visitor.Nai, home, "RFC 3543 4.2.2.2") with { Peer = visitor.HomeAgent.ToString() }));
            Remember(visitor, inform);
            Leave(visitor, inform ? TerminationCause.Administrative : TerminationCause.UserMoved, now, effects);
            if (inform)
            {
                _advertisers[visitor.Interface].CountAnewFor(visitor.LinkAddress, Busy, effects);
            }
        }
        else
        {
            effects.Count(ReferenceEquals(visitor, departed) ? "fa.revocation.departed" : "fa.revocation.repeated");
            inform = inform && ReferenceEquals(visitor, gone) && earlier.Informed;
        }

        var acknowledgement = new RegistrationRevocationAcknowledgement
        {
            Flags = inform ? RegistrationRevocationAcknowledgement.InformFlag : (ushort)0,
            HomeAddress = home,
            Identifier = revocation.Identifier,
        }.Sign(AuthenticationKind.ForeignHome, association);
        effects.Emit(new SendDatagram(new IPEndPoint(_options.CareOfAddress, MobileIpPort), datagram.Source, acknowledgement.ToArray()));

        bool IsProven(Visitor candidate, MobilityAssociation key) => datagram.Source.Address.Equals(candidate.HomeAgent)
            && revocation.TryFindAuthentication(AuthenticationKind.ForeignHome, out _, out var index) && index == revocation.Extensions.Count - 1
            && revocation.Check(datagram.Payload.Span, AuthenticationKind.ForeignHome, key) == AuthenticationResult.Valid;

        void Drop(string counter, string why)
        {
            effects.Count(counter);
            var known = standing ?? departed;
            effects.Emit(new Report(Event("revocation.dropped", EventSeverity.Warning, $"revocation dropped: {why}", known?.Session, known?.Nai, home, "RFC 3543 3.5") with { Peer = datagram.Source.ToString() }));
        }
    }

    private void Remember(Visitor visitor, bool informed)
    {
        if (_revoked.TryAdd(visitor.HomeAddress, (visitor, informed)))
        {
            _revokedInOrder.Enqueue(visitor.HomeAddress);
            if (_revoked.Count > MostRevoked)
            {
                _revoked.Remove(_revokedInOrder.Dequeue());
            }
        }
        else
        {
            _revoked[visitor.HomeAddress] = (visitor, informed);
        }
    }
}
