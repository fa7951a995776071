using System.Net;
using System.Text;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Radius;
using Sojourn.Wire.Eap;
using Sojourn.Wire.Radius;

namespace Sojourn.Engine.Access;

/// <content>Access authentication: EAP from the key exchange to the authentication server and back (rows TA2.141 to 142x).</content>
public sealed partial class AccessGateway
{
    private void OnEap(RelayIkeEap relay)
    {
        if (relay.Response is null)
        {
            var regional = RegionalOf(relay.Remote.Address);
            if ((_anchor is not null && regional is null) || _sessions.Count >= _options.MaximumSessions)
            {
                _out.Count("access.gateway.untriggered");
                Tell(_ike, new EapRelayAnswered(relay.Request, EapProgress.Failed, null));
                return;
            }

            var identity = new EapPacket(EapCode.Response, 0, EapType.Identity, Encoding.UTF8.GetBytes(relay.Identity.ToString()));
            var session = new Session { IkeSa = relay.IkeSa, Address = relay.Remote.Address, RegionalAddress = regional, Question = relay.Request, Until = _now + _options.PrefixWait };
            _sessions[relay.IkeSa] = session;
            session.Conversation = _eap.Begin(
                identity,
                [RadiusAttribute.OfText(RadiusAttributeType.CallingStationId, relay.Remote.Address.ToString()), RadiusAttribute.OfAddress(_options.Address), RadiusAttribute.OfNumber(RadiusAttributeType.FramedMtu, 1200)],
                _now, _out);
            if (session.Conversation is null)
            {
                FailEap(session, null);
            }
        }
        else if (_sessions.TryGetValue(relay.IkeSa, out var session) && session.Conversation is { } conversation)
        {
            session.Question = relay.Request;
            session.Address = relay.Remote.Address;
            session.Until = _now + _options.PrefixWait;
            if (!EapPacket.TryParse(relay.Response.Value.Span, out var response, out _) || !_eap.Continue(conversation, response, _now, _out))
            {
                FailEap(session, null);
            }
        }
        else
        {
            Tell(_ike, new EapRelayAnswered(relay.Request, EapProgress.Failed, null));
        }
    }

    /// <summary>Of whoever has sent a local binding update from there, or has access from there and proves itself again in time.</summary>
    private IPAddress? RegionalOf(IPAddress onLink) => _triggers.TryGetValue(onLink, out var trigger) && trigger.Until > _now ? trigger.Regional
        : _sessions.Values.FirstOrDefault(s => s.Stage == AccessStage.Granted && s.Until > _now && s.Address.Equals(onLink))?.RegionalAddress;

    private void OnRadius(RadiusOutcome? outcome)
    {
        if (outcome is null || _eap.Take(outcome) is not { } relayed || _sessions.Values.FirstOrDefault(s => s.Conversation == relayed.Conversation) is not { } session)
        {
            return;
        }

        switch (relayed.Verdict)
        {
            case null:
                Tell(_ike, new EapRelayAnswered(session.Question, EapProgress.Continues, relayed.Packet!.ToArray()));
                break;
            case { Allowed: true, MasterSessionKey: { } key, Name: var name } verdict:
                (session.Conversation, session.Identifier, session.Lifetime) = (null, name, verdict.Lifetime);
                Tell(_ike, new EapRelayAnswered(session.Question, EapProgress.Succeeded, relayed.Packet!.ToArray(), name, key));
                break;
            default:
                FailEap(session, relayed.Packet);
                break;
        }
    }

    private void FailEap(Session session, EapPacket? failure)
    {
        _sessions.Remove(session.IkeSa);
        Tell(_ike, new EapRelayAnswered(session.Question, EapProgress.Failed, failure?.ToArray()));
        RefuseBinding(session);
    }
}
