using System.Net;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4;

/// <summary>Building and sending registration requests (RFC 5944 3.6.1, extensions in the order of 3.6.1.3).</summary>
public sealed partial class MobileNode
{
    /// <summary>Begins a registration with an agent, once there is a challenge to answer where one is asked for.</summary>
    private void Register(IPAddress address, DateTimeOffset now, EffectSink effects)
    {
        if (!_agents.TryGetValue(address, out var agent))
        {
            Search(now, effects);
            return;
        }

        if (agent.AsksChallenge && agent.Challenge is null)
        {
            Solicit(now, effects);
            State = new MobileNodeState.AwaitingChallenge(address, 1, now + SolicitationInterval(1));
            return;
        }

        Send(address, 1, now, effects);
    }

    private void Send(IPAddress address, int attempt, DateTimeOffset now, EffectSink effects)
    {
        var agent = _agents[address];
        var lifetime = Math.Min(_lifetime, agent.Mobility.RegistrationLifetime);
        var (request, pending) = Build(agent, Math.Max(lifetime, (ushort)1), now);
        Emit(agent, request, effects);
        RequestTimed(agent, now);
        _lastRequest = now;
        var wait = Backoff(_options.FirstRetransmission, attempt, _options.LongestRetransmission);
        State = new MobileNodeState.Registering(address, pending, attempt, now + wait);
        effects.Count("mn.rrq.sent");
        Report(effects, "registration.requested", EventSeverity.Debug, $"request {attempt} sent", Registration, "NV1.4", address.ToString());
    }

    private void SendDeregistration(IPAddress address, int attempt, DateTimeOffset now, EffectSink effects)
    {
        var agent = _agents[address];
        var (request, pending) = Build(agent, 0, now);
        Emit(agent, request, effects);
        _lastRequest = now;
        var wait = Backoff(_options.FirstRetransmission, attempt, _options.LongestRetransmission);
        State = new MobileNodeState.Deregistering(address, pending, attempt, now + wait);
        effects.Count("mn.rrq.sent");
    }

    private static TimeSpan Backoff(TimeSpan first, int attempt, TimeSpan longest)
    {
        var wait = first * Math.Pow(2, Math.Min(attempt - 1, 20));
        return wait < longest ? wait : longest;
    }

    private void Emit(KnownAgent agent, RegistrationRequest request, EffectSink effects)
    {
        // Without a home address yet the node has none at all to send from (RFC 5944 3.6.1.1).
        var source = new IPEndPoint(Registration?.HomeAddress ?? _options.HomeAddress ?? IPAddress.Any, MobileIpv4Limits.Port);
        effects.Emit(new SendDatagram(source, new IPEndPoint(agent.Address, MobileIpv4Limits.Port), request.ToArray(), _options.Interface, agent.Link));
    }

    private (RegistrationRequest Request, PendingRequest Pending) Build(KnownAgent agent, ushort lifetime, DateTimeOffset now)
    {
        var homeAssociation = _homeAssociation is { } known && known.IsValidAt(now) ? known : null;
        var foreignAssociation = _foreignAssociations.TryGetValue(agent.Address, out var shared) && shared.IsValidAt(now) ? shared : null;
        var registering = lifetime > 0;
        uint? homeSpi = registering && NeedsKey(homeAssociation, lifetime, now) ? NewSpi() : null;
        uint? foreignSpi = registering && NeedsKey(foreignAssociation, lifetime, now) ? NewSpi() : null;

        var request = new RegistrationRequest
        {
            Flags = RegistrationFlags.ReverseTunnel,
            Lifetime = lifetime,
            HomeAddress = Registration?.HomeAddress ?? _options.HomeAddress ?? IPAddress.Any,
            HomeAgent = Registration?.HomeAgent ?? _homeAgent ?? IPAddress.Any,
            CareOfAddress = agent.CareOfAddress,
            Identification = _identifications.Next(now),
        };

        request = request.With(new NaiExtension(_options.Nai));
        if (_serviceUpdate && registering)
        {
            request = request.With(ProjectExtensions.ServiceUpdateRequest(_options.Enterprise));
        }

        if (registering && Registration is { } before && !before.CareOfAddress.Equals(agent.CareOfAddress))
        {
            request = request.With(ProjectExtensions.PreviousForeignAgent(_options.Enterprise, before.CareOfAddress));
        }

        if (homeSpi is { } forHome)
        {
            request = request.With(new KeyGenerationNonceRequestExtension(NoncePeer.HomeAgent, forHome));
        }

        if (foreignSpi is { } forForeign)
        {
            request = request.With(new KeyGenerationNonceRequestExtension(NoncePeer.ForeignAgent, forForeign));
        }

        if (homeAssociation is not null)
        {
            request = request.Sign(AuthenticationKind.MobileHome, homeAssociation);
        }

        var challenge = agent.Challenge ?? agent.LastUsedChallenge;
        if (challenge is { } answered)
        {
            request = request.With(new ChallengeExtension(answered));
            _agents[agent.Address] = agent with { Challenge = null, LastUsedChallenge = answered };
        }

        request = request.Sign(AuthenticationKind.MobileAaa, new MobilityAssociation(_options.MnAaaSpi, _options.MnAaaKey));
        if (foreignAssociation is not null)
        {
            request = request.Sign(AuthenticationKind.MobileForeign, foreignAssociation);
        }

        return (request, new PendingRequest(
            request.Identification, now, lifetime, request.HomeAddress, request.CareOfAddress, homeSpi, foreignSpi, challenge, _serviceUpdate && registering));
    }

    /// <summary>No key, or one that would end before the registration does.</summary>
    private static bool NeedsKey(MobilityAssociation? association, ushort lifetime, DateTimeOffset now) =>
        association is null || !association.IsValidAt(now.AddSeconds(lifetime));

    // The first octet counts the three behind it: a dissector that takes nonce request 40 or 42 for an extension with one
    // octet of length then reads the SPI as another extension and stays in step. 24 random bits are plenty here.
    private uint NewSpi() => 0x03000000 | (_random.NextUInt32() & 0x00FFFFFF);

    private void Retransmit(MobileNodeState.Registering state, DateTimeOffset now, EffectSink effects)
    {
        effects.Count("mn.rrq.unanswered");
        if (_leaving)
        {
            Leave(now, effects);
            return;
        }

        if (state.Attempt == AttemptsBeforeNewKeys)
        {
            ForgetDerivedKeys(state.Agent);
        }

        if (state.Attempt >= AttemptsBeforeOtherAgent)
        {
            Avoid(state.Agent, now + _options.LongestPause);
            if (Best(now) is { } other)
            {
                Report(effects, "agent.unanswering", EventSeverity.Warning, "the agent does not answer; trying another", Registration, "RFC 5944 3.6.3", state.Agent.ToString());
                Register(other.Address, now, effects);
                return;
            }
        }

        if (_agents.ContainsKey(state.Agent))
        {
            Send(state.Agent, state.Attempt + 1, now, effects);
        }
        else
        {
            Search(now, effects);
        }
    }

    private void Avoid(IPAddress agent, DateTimeOffset until)
    {
        if (_agents.TryGetValue(agent, out var known))
        {
            _agents[agent] = known with { AvoidUntil = until };
        }
    }

    private void ForgetDerivedKeys(IPAddress agent)
    {
        _foreignAssociations.Remove(agent);
        _homeAssociation = _options.HomeAssociation;
    }
}
