using System.Net;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4;

/// <summary>Registration replies (RFC 5944 3.6.2): checks first, then what each code asks for.</summary>
public sealed partial class MobileNode
{
    private void OnDatagram(DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        var octets = datagram.Payload.Span;
        if (!MobileIpMessage.TryParse(octets, out MobileIpMessage? message, out var error))
        {
            Drop(effects, "mn.rrp.malformed", $"a message was dropped: {error}", error.Clause, datagram);
            return;
        }

        var (agent, pending) = State switch
        {
            MobileNodeState.Registering s => (s.Agent, s.Request),
            MobileNodeState.Deregistering s => (s.Agent, s.Request),
            _ => (null, null),
        };
        if (message is not RegistrationReply reply || agent is null || pending is null)
        {
            effects.Count("mn.message.unexpected");
            return;
        }

        if (!IsFrom(datagram.Source.Address, agent) || (uint)reply.Identification != (uint)pending.Identification)
        {
            Drop(effects, "mn.rrp.unmatched", "a reply answers no request that is out", "RFC 5944 3.6.2.1", datagram);
            return;
        }

        if (reply.Extensions.FirstNotUnderstood is { } unknown)
        {
            Drop(effects, "mn.rrp.unknown_extension", $"a reply has extension {unknown.Type}, which must not be passed over", "RFC 5944 1.8", datagram);
            return;
        }

        var keys = DeriveKeys(reply, agent, pending, now, effects);
        if (!IsAuthentic(reply, octets, keys, now, effects, datagram))
        {
            return;
        }

        if (reply.Extensions.Find<ChallengeExtension>() is { } fresh && _agents.TryGetValue(agent, out var known))
        {
            _agents[agent] = known.WithChallenge(fresh.Challenge);
        }

        if (reply.Code.IsAccepted() && reply.Extensions.Find<VendorExtension>(e => e.IsForeignCritical(_options.Enterprise)) is not null)
        {
            Refused(reply, agent, pending, "the reply has a critical vendor extension of another vendor", now, effects);
        }
        else if (reply.Code.IsAccepted())
        {
            Accepted(reply, agent, pending, keys, now, effects);
        }
        else
        {
            Refused(reply, agent, pending, reply.Extensions.RefusalReason(_options.Enterprise), now, effects);
        }
    }

    private readonly record struct ReplyKeys(MobilityAssociation? Home, bool HomeIsNew, MobilityAssociation? Foreign, bool ForeignIsNew);

    private bool IsFrom(IPAddress source, IPAddress agent) =>
        source.Equals(agent) || (_agents.TryGetValue(agent, out var known) && known.Mobility.CareOfAddresses.Contains(source));

    /// <summary>Associations the reply is to be checked with: new ones from its nonces (RFC 3957 5), else those held.</summary>
    private ReplyKeys DeriveKeys(RegistrationReply reply, IPAddress agent, PendingRequest pending, DateTimeOffset now, EffectSink effects)
    {
        var home = pending.HomeSpi is { } homeSpi ? FromNonce(NoncePeer.HomeAgent, homeSpi) : null;
        var foreign = pending.ForeignSpi is { } foreignSpi ? FromNonce(NoncePeer.ForeignAgent, foreignSpi) : null;
        return new ReplyKeys(
            home ?? (_homeAssociation is { } held && held.IsValidAt(now) ? held : null), home is not null,
            foreign ?? (_foreignAssociations.TryGetValue(agent, out var shared) && shared.IsValidAt(now) ? shared : null), foreign is not null);

        MobilityAssociation? FromNonce(NoncePeer peer, uint spi)
        {
            if (reply.Extensions.Find<KeyGenerationNonceReplyExtension>(e => e.Peer == peer) is not { } nonce)
            {
                return null;
            }

            if (nonce.AaaSpi != _options.MnAaaSpi || nonce.AgentSpi < MobileIpv4Limits.FirstUsableSpi || !nonce.Algorithm.Allows(_options.LegacyAuthenticators)
                || (peer == NoncePeer.HomeAgent && nonce.ReplayMethod != ReplayMethod.Timestamps))
            {
                effects.Count("mn.rrp.unusable_nonce");
                return null;
            }

            var key = MobilityKeys.Derive(_options.MnAaaKey, nonce.Nonce.Span, pending.HomeAddress, _options.Nai);
            return new MobilityAssociation(nonce.AgentSpi, spi, nonce.Algorithm, key) { Expires = pending.SentAt.AddSeconds(nonce.Lifetime) };
        }
    }

    private bool IsAuthentic(RegistrationReply reply, ReadOnlySpan<byte> octets, ReplyKeys keys, DateTimeOffset now, EffectSink effects, DatagramReceived datagram)
    {
        if (keys.Foreign is { } foreign && reply.Check(octets, AuthenticationKind.MobileForeign, foreign) is var byAgent && byAgent != AuthenticationResult.Valid)
        {
            Drop(effects, "mn.rrp.bad_foreign_authenticator", $"the foreign agent's authenticator is {Word(byAgent)}", "RFC 5944 3.6.2.1 a", datagram);
            return false;
        }

        if (reply.Code.Origin() == ReplyCodeOrigin.ForeignAgent)
        {
            return true;
        }

        if (keys.Home is { } home)
        {
            var byHome = reply.Check(octets, AuthenticationKind.MobileHome, home);
            if (byHome != AuthenticationResult.Valid)
            {
                Drop(effects, "mn.rrp.bad_home_authenticator", $"the home agent's authenticator is {Word(byHome)}", "RFC 5944 3.6.2.1 b", datagram);
            }

            return byHome == AuthenticationResult.Valid;
        }

        if (reply.Code.IsAccepted())
        {
            Drop(effects, "mn.rrp.unauthenticated", "a granted registration that no key can prove", "RFC 5944 3.6.2.1 b", datagram);
            return false;
        }

        effects.Count("mn.rrp.unproven_refusal");
        return true;
    }

    private static string Word(AuthenticationResult result) => result switch
    {
        AuthenticationResult.Missing => "missing",
        AuthenticationResult.UnknownSpi => "of an unknown SPI",
        _ => "wrong",
    };

    private void Accepted(RegistrationReply reply, IPAddress agent, PendingRequest pending, ReplyKeys keys, DateTimeOffset now, EffectSink effects)
    {
        if (State is MobileNodeState.Deregistering)
        {
            Report(effects, "registration.ended", EventSeverity.Information, "deregistered", Registration, "RFC 5944 3.6.2.2");
            effects.Count("mn.deregistered");
            Detach(effects);
            ForgetDerivedKeys(agent);
            State = new MobileNodeState.Stopped();
            return;
        }

        var wrongAddress = _options.HomeAddress is { } own && !own.Equals(reply.HomeAddress);
        if (reply.HomeAddress.Equals(IPAddress.Any) || reply.HomeAgent.Equals(IPAddress.Any) || wrongAddress || reply.Lifetime == 0)
        {
            Refused(reply, agent, pending, "the granted registration names another or no home address, no home agent or no lifetime", now, effects);
            return;
        }

        if (keys.HomeIsNew)
        {
            _homeAssociation = keys.Home;
        }

        // An agent keeps a key no longer than its visitor; whoever comes back asks for a new one.
        foreach (var other in _foreignAssociations.Keys.Where(a => !a.Equals(agent)).ToList())
        {
            _foreignAssociations.Remove(other);
        }

        if (keys.ForeignIsNew)
        {
            _foreignAssociations[agent] = keys.Foreign!;
        }

        // The lifetime runs from the request, not from the reply (RFC 5944 3.6.2.2), and never exceeds what was asked for.
        var seconds = Math.Min(reply.Lifetime, pending.Lifetime);
        var expires = seconds == ushort.MaxValue ? DateTimeOffset.MaxValue : pending.SentAt.AddSeconds(seconds);
        var renewAt = seconds == ushort.MaxValue ? DateTimeOffset.MaxValue : pending.SentAt + (TimeSpan.FromSeconds(seconds) * _options.RenewAt);
        if (Registration is { } before && !before.HomeAddress.Equals(reply.HomeAddress))
        {
            Detach(effects);
        }

        var isRenewal = Registration is { } standing && standing.Agent.Equals(agent);
        Registration = new GrantedRegistration(reply.HomeAddress, reply.HomeAgent, pending.CareOfAddress, agent, expires);
        _refusals = 0;
        _serviceUpdate &= !pending.ServiceUpdate;
        Avoid(agent, now);
        if (!isRenewal)
        {
            effects.Emit(new AttachHome(_options.Interface, reply.HomeAddress, agent));
        }

        // A service update asked for while this request was out goes into one of its own, a second after it.
        State = new MobileNodeState.Registered(agent, _serviceUpdate ? _lastRequest.AddSeconds(1) : renewAt);
        effects.Count("mn.rrp.accepted");
        GrantTimed(agent, isRenewal, now, effects);
        Report(effects, "registration.accepted", EventSeverity.Information, $"registered for {seconds} s", Registration, "NV1.13");
        if (_leaving)
        {
            Leave(now, effects);
        }
    }

    private void Refused(RegistrationReply reply, IPAddress agent, PendingRequest pending, string? reason, DateTimeOffset now, EffectSink effects)
    {
        effects.Count("mn.rrp.refused");
        Report(
            effects, "registration.refused", EventSeverity.Warning,
            $"registration refused with code {reply.Code.Describe()}{(reason is null ? "" : ": " + reason)}", Registration, "RFC 5944 3.6.2.3", agent.ToString());
        if (State is MobileNodeState.Deregistering deregistering)
        {
            // A stale challenge or a wrong clock must not keep the user's paths alive; this reply brought what was missing.
            if (deregistering.Attempt < AttemptsBeforeNewKeys && _agents.ContainsKey(agent) && IsOutOfStep(reply.Code) && Repair(reply, agent, pending, now))
            {
                SendDeregistration(agent, deregistering.Attempt + 1, now, effects);
                return;
            }

            // The binding ends with its lifetime at the latest.
            Detach(effects);
            State = new MobileNodeState.Stopped();
            return;
        }

        if (_leaving)
        {
            Leave(now, effects);
            return;
        }

        _refusals++;
        var repaired = _refusals <= 3 && Repair(reply, agent, pending, now);
        if (!repaired)
        {
            Avoid(agent, now + Backoff(TimeSpan.FromSeconds(1), _refusals, _options.LongestPause));
            if (reply.Code.Origin() == ReplyCodeOrigin.ForeignAgent && Best(now) is { } other)
            {
                Register(other.Address, now, effects);
                return;
            }
        }

        // One request a second at most (RFC 5944 3.6.3), the more refusals the fewer.
        var pause = repaired ? TimeSpan.FromSeconds(1) : Backoff(TimeSpan.FromSeconds(1), _refusals, _options.LongestPause);
        var until = _lastRequest + pause;
        State = new MobileNodeState.Pausing(agent, until > now ? until : now);
    }

    private static bool IsOutOfStep(RegistrationReplyCode code) => code is
        RegistrationReplyCode.ForeignUnknownChallenge or RegistrationReplyCode.ForeignStaleChallenge or RegistrationReplyCode.HomeIdentificationMismatch;

    /// <summary>Sets right what the code says is wrong; false when nothing can be.</summary>
    private bool Repair(RegistrationReply reply, IPAddress agent, PendingRequest pending, DateTimeOffset now)
    {
        switch (reply.Code)
        {
            case RegistrationReplyCode.ForeignLifetimeTooLong when reply.Lifetime > 0 && reply.Lifetime < pending.Lifetime:
                _lifetime = reply.Lifetime;
                return true;

            case RegistrationReplyCode.ForeignUnknownChallenge or RegistrationReplyCode.ForeignMissingChallenge or RegistrationReplyCode.ForeignStaleChallenge:
                if (_agents.TryGetValue(agent, out var known))
                {
                    // The challenge of this reply, if it brought one, has been taken in already; else one is solicited.
                    _agents[agent] = known with { AsksChallenge = true, Challenge = known.Challenge == pending.Challenge ? null : known.Challenge };
                }

                return true;

            case RegistrationReplyCode.ForeignMissingKeyGenerationNonce:
                return _foreignAssociations.Remove(agent);

            case RegistrationReplyCode.HomeIdentificationMismatch:
                _identifications.Resynchronise(reply.Identification, now);
                return true;

            case RegistrationReplyCode.HomeUnknownHomeAgent when _options.HomeAgent is null && !reply.HomeAgent.Equals(IPAddress.Any):
                _homeAgent = reply.HomeAgent;
                _identifications.Resynchronise(reply.Identification, now);
                return true;

            case RegistrationReplyCode.ForeignMobileNodeFailedAuthentication or RegistrationReplyCode.HomeMobileNodeFailedAuthentication:
                // Keys from AAA may have been lost at the other end; configured ones cannot be repaired from here.
                var had = _foreignAssociations.ContainsKey(agent) || (_homeAssociation is not null && _options.HomeAssociation is null);
                ForgetDerivedKeys(agent);
                return had;

            default:
                return false;
        }
    }

    private void Drop(EffectSink effects, string counter, string text, string rule, DatagramReceived datagram)
    {
        effects.Count(counter);
        effects.Emit(new Report(new EngineEvent("registration.reply.dropped", EventSeverity.Warning, text) { Nai = _options.Nai, Peer = datagram.Source.Address.ToString(), Rule = rule }));
    }
}
