// Readings:
// - NV8.4: a profile that waits turns active by the first authentic packet on its association with the correspondent's
//   gateway, or on the home agent's for what waited there, which sends only after the gateway has acknowledged; or by the
//   home agent's word, in a registration reply or in its answer to a request from here. What a reply does not name waits
//   (again): only the home agent knows whether the gateway still has it.
// - NV8.3: a packet the node sends first is held, and asked for at the home agent, which decides. Every second that
//   packets wait they ask again, so no request needs repeating by itself.
using System.Net;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>Profiles that wait for their first packet (spec network-vpn NV8, claim 5).</summary>
public sealed partial class ForeignAgent
{
    /// <summary>How long the home agent is not asked again for a profile it did not give.</summary>
    private static readonly TimeSpan AskAgain = TimeSpan.FromSeconds(30);

    /// <summary>Requests to home agents by node and profile: the last one's Identification, and when the next may go.</summary>
    private readonly Dictionary<(IPAddress Home, uint Profile), (ulong Identification, DateTimeOffset NotBefore)> _asked = [];

    private readonly IdentificationSource _identifications;

    private void Noticed(PathSignalled signal, DateTimeOffset now, EffectSink effects)
    {
        if (signal.Signal == PathSignal.FirstInbound && Vpn.FindPath(signal.Path) is { } first)
        {
            FirstPacketTimed(first, now, effects);
        }

        if (Vpn.FindPath(signal.Path) is not { Origin: { ProfileNumber: { } number, HomeAddress: { } home } } || Vpn.Find(signal.Path.Owner) is not { HandedOff: false } session
            || !session.Waiting.Contains(number))
        {
            return;
        }

        // Halves that linger belong to an earlier place or earlier keys and prove nothing about these.
        if (signal.Signal == PathSignal.FirstInbound && !VpnControl.IsLingering(signal.Path))
        {
            Activate(session, [number], "its first packet has come", now, effects);
        }
        else if (signal.Signal == PathSignal.PacketWaiting && _visitors.TryGetValue(home, out var visitor))
        {
            Ask(visitor, number, now, effects);
        }
    }

    /// <summary>What of a registration's profiles has to wait here: all that the home agent's reply does not name.</summary>
    private HashSet<uint> WaitingOf(IReadOnlyList<VpnProfile> profiles, RegistrationReply? reply)
    {
        var distributed = reply?.Extensions.ProfileNumbers(_options.EnterpriseNumber);
        return [.. profiles.Where(p => p.WaitsForPacket && distributed?.Contains(p.ProfileNumber) != true).Select(p => p.ProfileNumber)];
    }

    /// <summary>NV9.6: a renewal changes no path, unless its reply brings news of a profile that waits.</summary>
    private void Renewed(Visitor visitor, RegistrationReply reply, DateTimeOffset now, EffectSink effects)
    {
        if (Vpn.Find(visitor.Session) is not { HandedOff: false } session)
        {
            return;
        }

        var waiting = WaitingOf(session.Profiles, reply);
        Activate(session, session.Waiting.Except(waiting), "the home agent's reply says so", now, effects);
        if (waiting.Except(session.Waiting).Any())
        {
            effects.Count("fa.trigger.waits_again");
            Vpn.Set(session with { Waiting = waiting }, now, effects, RekeyTime);
        }
    }

    private void Activate(VpnSession session, IEnumerable<uint> numbers, string why, DateTimeOffset now, EffectSink effects)
    {
        var ready = numbers.Where(session.Waiting.Contains).ToList();
        if (ready.Count == 0 || Vpn.Set(session with { Waiting = session.Waiting.Except(ready).ToHashSet() }, now, effects, RekeyTime) is not null)
        {
            return;
        }

        if (_visitors.TryGetValue(session.HomeAddress, out var visitor) && visitor.Session == session.Session)
        {
            Keep(visitor, effects);
        }

        effects.Count("fa.trigger.activated", ready.Count);
        foreach (var number in ready)
        {
            _asked.Remove((session.HomeAddress, number));
            effects.Emit(new Report(Event("profile.activated", EventSeverity.Information, $"profile {number} may be used: {why}", session.Session, session.Nai, session.HomeAddress, "NV8.4")));
        }
    }

    private void Ask(Visitor visitor, uint number, DateTimeOffset now, EffectSink effects)
    {
        if (_asked.TryGetValue((visitor.HomeAddress, number), out var last) && now < last.NotBefore)
        {
            effects.Count("fa.trigger.suppressed");
            return;
        }

        if (visitor.HomeAgentAssociation is not { } association || !association.IsValidAt(now))
        {
            effects.Count("fa.trigger.no_association");
            return;
        }

        var request = new BindingRequest
        {
            Lifetime = (ushort)Math.Clamp((visitor.Expires - now).TotalSeconds, 0, ushort.MaxValue),
            HomeAddress = visitor.HomeAddress,
            CareOfAddress = _options.CareOfAddress,
            Supplier = _options.CareOfAddress,
            Identification = _identifications.Next(now),
            Extensions = MobileIpExtensions.Of(ProjectExtensions.ProfileNumbers(_options.EnterpriseNumber, [number])),
        }.Sign(AuthenticationKind.ForeignHome, association);
        _asked[(visitor.HomeAddress, number)] = (request.Identification, now);
        effects.Count("fa.trigger.asked");
        effects.Emit(new SendDatagram(new IPEndPoint(_options.CareOfAddress, MobileIpPort), new IPEndPoint(visitor.HomeAgent, MobileIpPort), request.ToArray()));
    }

    private void AnsweredByHomeAgent(BindingAcknowledgement answer, DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        answer.TryFindAuthentication(AuthenticationKind.ForeignHome, out _, out var index);
        if (!_visitors.TryGetValue(answer.HomeAddress, out var visitor) || visitor.HomeAgentAssociation is not { } association || !datagram.Source.Address.Equals(visitor.HomeAgent)
            || index != answer.Extensions.Count - 1 || answer.Check(datagram.Payload.Span, AuthenticationKind.ForeignHome, association) != AuthenticationResult.Valid)
        {
            effects.Count("fa.ba.bad_authenticator");
            return;
        }

        var answered = answer.Extensions.ProfileNumbers(_options.EnterpriseNumber)
            .Where(n => _asked.TryGetValue((visitor.HomeAddress, n), out var asked) && asked.Identification == answer.Identification).ToList();
        if (answered.Count == 0)
        {
            effects.Count("fa.ba.unexpected");
            return;
        }

        if (answer.Status == BindingStatus.Accepted)
        {
            if (Vpn.Find(visitor.Session) is { } session)
            {
                Activate(session, answered, "the home agent says so", now, effects);
            }

            return;
        }

        effects.Count("fa.trigger.refused");
        foreach (var number in answered)
        {
            _asked[(visitor.HomeAddress, number)] = (answer.Identification, now + AskAgain);
            effects.Emit(new Report(Event("profile.not_activated", EventSeverity.Information,
                $"the home agent does not distribute profile {number} now: {(byte)answer.Status} ({answer.Status})", visitor.Session, visitor.Nai, visitor.HomeAddress, "NV8.3")));
        }
    }

    private void ForgetAsked(IPAddress home, IEnumerable<VpnProfile> profiles)
    {
        foreach (var profile in profiles)
        {
            _asked.Remove((home, profile.ProfileNumber));
        }
    }
}
