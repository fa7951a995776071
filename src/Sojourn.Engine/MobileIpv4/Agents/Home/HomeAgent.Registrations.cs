using System.Net;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>Registration Requests, in a HAR or straight from a foreign agent, up to the reply (S210-S217).</summary>
public sealed partial class HomeAgent
{
    /// <summary>A registration being worked on: how it came and what it is to become.</summary>
    private sealed record Registration
    {
        public required RegistrationRequest Request { get; init; }

        public required Binding Desired { get; init; }

        public Binding? Before { get; init; }

        /// <summary>Set when the request came in a HAR.</summary>
        public DiameterRequest? Har { get; init; }

        /// <summary>Set when a foreign agent sent it.</summary>
        public DatagramReceived? Datagram { get; init; }

        /// <summary>Nonces for the node (MIP-MN-to-HA-MSA, MIP-MN-to-FA-MSA).</summary>
        public MobilityMsa? HomeNonce { get; init; }

        public MobilityMsa? ForeignNonce { get; init; }

        public uint KeyLifetime { get; init; }

        public ushort Lifetime { get; init; }

        public required DateTimeOffset Began { get; init; }
    }

    private sealed record ReplyRefusal(RegistrationReplyCode Code, string Counter, string Text, string Rule);

    private void HomeAgentRequested(DiameterRequest har, DateTimeOffset now, EffectSink effects)
    {
        var avps = har.Message.Avps;
        if (!avps.TryGetOctets(AvpKeys.MipRegRequest, out var octets) || !MobileIpMessage.TryParse<RegistrationRequest>(octets.Span, out var request, out var error))
        {
            effects.Count("ha.har.bad_request");
            Refuse(har, DiameterResult.InvalidAvpValue, "MIP-Reg-Request holds no Registration Request", now, effects);
            return;
        }

        if (!avps.TryGetText(AvpKeys.UserName, out var nai) || !avps.TryGetText(AvpKeys.AcctMultiSessionId, out var session))
        {
            effects.Count("ha.har.incomplete");
            Refuse(har, DiameterResult.MissingAvp, "User-Name and Acct-Multi-Session-Id are needed", now, effects);
            return;
        }

        if (HomeAddressFor(request, avps, nai, effects, out var homeAddress) is { } addressRefusal)
        {
            Refuse(har, request, null, addressRefusal, nai, now, effects);
            return;
        }

        _bindings.TryGetValue(homeAddress!, out var before);
        if (before is not null && before.Nai != nai)
        {
            Refuse(har, request, null, new(RegistrationReplyCode.HomeProhibited, "ha.har.address_taken", $"home address {homeAddress} belongs to another user", "RFC 5944 3.8.2"), nai, now, effects);
            return;
        }

        if (ReadSecrets(avps, homeAddress!, out var secrets) is { } secretRefusal)
        {
            Refuse(har, request, before?.MobileNode, secretRefusal, nai, now, effects);
            return;
        }

        var keyLifetime = avps.TryGetUnsigned32(AvpKeys.MipMsaLifetime, out var seconds) ? seconds : uint.MaxValue;
        var expires = keyLifetime == uint.MaxValue ? (DateTimeOffset?)null : now + TimeSpan.FromSeconds(keyLifetime);
        var mobileNode = secrets!.MobileNode is { } fresh ? fresh with { Expires = expires } : before?.MobileNode;
        if (Check(request, octets.Span, before, secrets.MobileNode is not null, now) is { } refusal)
        {
            Refuse(har, request, mobileNode, refusal, nai, now, effects);
            return;
        }

        var lifetime = Granted(request);
        if (avps.TryGetUnsigned32(AvpKeys.AuthorizationLifetime, out var authorized) && authorized < lifetime)
        {
            // RFC 4004 7.4: a binding never outlives its authorization.
            lifetime = (ushort)authorized;
        }

        Process(
            new Registration
            {
                Request = request,
                Har = har,
                Before = before,
                HomeNonce = secrets.HomeNonce,
                ForeignNonce = secrets.ForeignNonce,
                KeyLifetime = keyLifetime,
                Lifetime = lifetime,
                Began = now,
                Desired = new Binding
                {
                    Session = session,
                    Nai = nai,
                    HomeAddress = homeAddress!,
                    CareOfAddress = request.CareOfAddress,
                    Expires = now + TimeSpan.FromSeconds(lifetime),
                    Replay = (before?.Replay ?? default).Accept(request.Identification),
                    Profiles = secrets.Profiles,
                    MobileNode = mobileNode,
                    ForeignAgent = secrets.ForeignAgent is { } association ? association with { Expires = expires } : before?.ForeignAgent,
                    DiameterSession = har.Message.SessionId,
                    AaaRealm = har.Message.OriginRealm,
                },
            },
            now, effects);
    }

    /// <summary>NV2.5, NV5.4 and re-registrations: the foreign agent proves itself with the key the AAAH gave both.</summary>
    private void RequestedByForeignAgent(RegistrationRequest request, DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        if (!_bindings.TryGetValue(request.HomeAddress, out var before) || before.ForeignAgent is not { } association || !association.IsValidAt(now)
            || request.Check(datagram.Payload.Span, AuthenticationKind.ForeignHome, association) != AuthenticationResult.Valid)
        {
            // Nobody to answer to: a reply without a shared key could not be told from a forgery.
            effects.Count("ha.rrq.bad_foreign_agent");
            effects.Emit(new Report(new EngineEvent("registration.dropped", EventSeverity.Warning, "request without a valid FA-HA authentication dropped") { Peer = datagram.Source.ToString(), HomeAddress = request.HomeAddress, Rule = "RFC 5944 3.8.2.1" }));
            return;
        }

        if (!datagram.Source.Address.Equals(request.CareOfAddress))
        {
            effects.Count("ha.rrq.care_of_mismatch");
            return;
        }

        var current = _transactions.TryGetValue(request.HomeAddress, out var waiting) ? waiting.Registration.Desired : before;
        if (current.Replay.LastAccepted == request.Identification && current.CareOfAddress.Equals(request.CareOfAddress))
        {
            // The network doubled it. A refusal as replayed could overtake the reply to the first and undo it at the foreign agent.
            effects.Count("ha.rrq.duplicate");
            return;
        }

        var registration = new Registration
        {
            Request = request,
            Datagram = datagram,
            Before = before,
            Lifetime = Granted(request),
            Began = now,
            Desired = before,
        };
        if (Check(request, datagram.Payload.Span, before, hasFreshKey: false, now) is { } refusal)
        {
            Refuse(registration, refusal, now, effects);
            return;
        }

        var moved = !before.CareOfAddress.Equals(request.CareOfAddress);
        if (moved && request.Lifetime != 0 && !NamesPrevious(request, before.CareOfAddress))
        {
            // For the node, and so for the agent it is at, this is a renewal: it never learnt that its move was granted. Keys
            // made for the move back would be known here only.
            Refuse(registration, new(RegistrationReplyCode.HomeForeignAgentFailedAuthentication, "ha.rrq.unseen_move", "the node was elsewhere meanwhile and does not know it", "M3, NV9.11"), now, effects);
            return;
        }

        Process(
            registration with
            {
                Desired = before with
                {
                    CareOfAddress = request.CareOfAddress,
                    Expires = now + TimeSpan.FromSeconds(registration.Lifetime),
                    Replay = before.Replay.Accept(request.Identification),
                    Profiles = moved ? [.. before.Profiles.Select(p => p.MovedTo(before.CareOfAddress, request.CareOfAddress, request.Identification))] : before.Profiles,
                    Unserved = [],
                },
            },
            now, effects);
    }

    private bool NamesPrevious(RegistrationRequest request, IPAddress careOf) =>
        request.Extensions.FindProject(_options.EnterpriseNumber, ProjectExtensions.PreviousForeignAgentType) is { } extension
        && extension.TryReadPreviousForeignAgent(out var previous, out _) && previous.Address.Equals(careOf);

    private ReplyRefusal? Check(RegistrationRequest request, ReadOnlySpan<byte> octets, Binding? before, bool hasFreshKey, DateTimeOffset now)
    {
        if (!request.HomeAgent.Equals(_options.Address) && !request.HomeAgent.Equals(IPAddress.Any) && !request.HomeAgent.Equals(IPAddress.Broadcast))
        {
            return new(RegistrationReplyCode.HomeUnknownHomeAgent, "ha.rrq.other_home_agent", $"{request.HomeAgent} is not this home agent", "RFC 5944 3.8.2.1");
        }

        if ((request.Flags & (RegistrationFlags.MinimalEncapsulation | RegistrationFlags.Gre)) != 0)
        {
            return new(RegistrationReplyCode.HomeEncapsulationUnavailable, "ha.rrq.encapsulation", "only IP-in-IP encapsulation is offered", "RFC 5944 3.8.2.1");
        }

        if ((request.Flags & RegistrationFlags.ReverseTunnel) == 0)
        {
            return new(RegistrationReplyCode.HomeReverseTunnelMandatory, "ha.rrq.no_reverse_tunnel", "a reverse tunnel is mandatory here and T is not set", "RFC 3024 4.3.1");
        }

        if (request.Extensions.Find<VendorExtension>(e => e.IsForeignCritical(_options.EnterpriseNumber)) is not null)
        {
            return new(RegistrationReplyCode.HomeUnknownVendorExtensionFromMobileNode, "ha.rrq.critical_vendor_extension", "a critical vendor extension is not known here", "RFC 3115 2.4");
        }

        // With a key fresh from the AAAH the node is proven by MN-AAA; without one it has to show the MN-HA key it has.
        var shows = request.TryFindAuthentication(AuthenticationKind.MobileHome, out _, out _);
        if (before?.MobileNode is { } association && association.IsValidAt(now) && shows)
        {
            var result = request.Check(octets, AuthenticationKind.MobileHome, association);
            if (result == AuthenticationResult.Wrong || (result != AuthenticationResult.Valid && !hasFreshKey))
            {
                return new(RegistrationReplyCode.HomeMobileNodeFailedAuthentication, "ha.rrq.bad_authenticator", "the MN-HA authenticator is wrong", "RFC 5944 3.8.2.1, NV9.7");
            }
        }
        else if (!hasFreshKey)
        {
            return new(RegistrationReplyCode.HomeMobileNodeFailedAuthentication, "ha.rrq.no_authenticator", "the request shows no MN-HA key that is known here", "RFC 5944 3.8.2.1, NV9.7");
        }

        var replay = _transactions.TryGetValue(request.HomeAddress, out var waiting) ? waiting.Registration.Desired.Replay : before?.Replay ?? default;
        return replay.Check(request.Identification, now, _options.TimestampTolerance) switch
        {
            IdentificationResult.Fresh => null,
            IdentificationResult.NotGrowing => new(RegistrationReplyCode.HomeIdentificationMismatch, "ha.rrq.replayed", "the Identification is not newer than the last accepted one", "RFC 5944 5.7.1"),
            _ => new(RegistrationReplyCode.HomeIdentificationMismatch, "ha.rrq.identification", "the Identification is too far from this agent's clock", "RFC 5944 5.7.1"),
        };
    }

    private void Process(Registration registration, DateTimeOffset now, EffectSink effects)
    {
        registration = registration with { Desired = WithWaiting(registration.Desired, registration.Before) };
        Supersede(registration, now, effects);
        if (registration.Request.Lifetime == 0)
        {
            Finish(registration, now, effects);
            return;
        }

        if (HasSpentKeys(registration))
        {
            Refuse(registration, new(RegistrationReplyCode.HomeForeignAgentFailedAuthentication, "ha.rrq.spent_keys", "a gateway that is to have a profile has restarted since its keys were made", "M3"), now, effects);
            return;
        }

        if (registration.Before is null && _bindings.Count >= _options.MaximumBindings)
        {
            Refuse(registration, new(RegistrationReplyCode.HomeInsufficientResources, "ha.rrq.full", "no room for another binding", "RFC 5944 3.8.2.1"), now, effects);
            return;
        }

        // Paths change only once the gateways agree, so that the earlier place works until then; what cannot be
        // installed is found out before anybody is told.
        if (Vpn.Check(SessionOf(registration.Desired)) is { } refusal)
        {
            Refuse(registration, new(RegistrationReplyCode.HomeProhibited, "ha.profile.refused", refusal.Text, refusal.Rule), now, effects);
            return;
        }

        if (!UpdateGateways(registration, now, effects))
        {
            Finish(registration, now, effects);
        }
    }

    /// <summary>S216, S217: the paths are set, the binding is saved and the reply goes out.</summary>
    private void Finish(Registration registration, DateTimeOffset now, EffectSink effects)
    {
        var (desired, before) = (registration.Desired with { Replied = now }, registration.Before);
        if (registration.Request.Lifetime == 0)
        {
            if (before is not null)
            {
                Remove(before, registration.Har is null ? TerminationCause.Logout : null, now, effects);
            }
        }
        else
        {
            var moved = before is not null && !before.CareOfAddress.Equals(desired.CareOfAddress);
            if (Install(desired, now, effects, moved ? _options.HandoffTime : RekeyTime) is { } refusal)
            {
                // Somebody took the SPI while the gateways were asked.
                Withdraw(registration, null, now, effects);
                Refuse(registration, new(RegistrationReplyCode.HomeProhibited, "ha.profile.refused", refusal.Text, refusal.Rule), now, effects);
                return;
            }

            if (before is not null && before.Session != desired.Session)
            {
                // The AAAH started a new session for this address: the old one's paths have no owner any more.
                Vpn.Remove(before.Session, effects);
            }

            ForgetDropped(before, desired);
            Commit(desired, now, effects);
            effects.Count("ha.registrations");
            SwitchTimed(registration, now, effects);
            RevokeFormer(before, desired, now);
        }

        effects.Emit(new Report(Event(
            registration.Request.Lifetime == 0 ? "registration.removed" : "registration.accepted", EventSeverity.Information,
            $"lifetime {registration.Lifetime} s, {desired.Profiles.Count} VPN profile(s)", desired, registration.Har is null ? "NV2.8" : "NV1.9")));
        Reply(registration, MakeReply(registration), DiameterResult.Success, null, now, effects);
    }

    private ReplyRefusal? HomeAddressFor(RegistrationRequest request, AvpList avps, string nai, EffectSink effects, out IPAddress? address)
    {
        address = !request.HomeAddress.Equals(IPAddress.Any) ? request.HomeAddress
            : avps.TryGetAddress(AvpKeys.MipMobileNodeAddress, out var given) && !given.Equals(IPAddress.Any) ? given
            : _pool?.For(nai, _bindings.ContainsKey, effects);
        if (address is null)
        {
            return new(RegistrationReplyCode.HomeInsufficientResources, "ha.rrq.no_address", "no home address can be assigned", "RFC 2794 2");
        }

        return _options.HomeNetwork.Contains(address)
            ? null
            : new(RegistrationReplyCode.HomeProhibited, "ha.rrq.not_home", $"{address} does not belong to home network {_options.HomeNetwork}", "RFC 5944 3.8.2");
    }

    private ushort Granted(RegistrationRequest request) => (ushort)Math.Min(request.Lifetime, _options.RegistrationLifetime.TotalSeconds);

    private sealed record Secrets(IReadOnlyList<VpnProfile> Profiles, MobilityAssociation? MobileNode, MobilityAssociation? ForeignAgent, MobilityMsa? HomeNonce, MobilityMsa? ForeignNonce);

    private ReplyRefusal? ReadSecrets(AvpList avps, IPAddress homeAddress, out Secrets? secrets)
    {
        secrets = null;
        ReplyRefusal? problem = null;
        foreach (var key in _options.KeyWrap.Values.Append(null).Distinct())
        {
            if (!_profileAvps.TryReadAll(avps, key, out var profiles, out var profileRefusal))
            {
                problem ??= new(RegistrationReplyCode.HomeProhibited, "ha.profile.refused", profileRefusal.Text, $"NV-A21, {profileRefusal.Rule}");
                if (profileRefusal.Kind is ProfileRefusalKind.WrongKey or ProfileRefusalKind.NoWrappingKey)
                {
                    continue;
                }

                return problem;
            }

            if (!Read(AvpKeys.MipHaToMnMsa, out var toMobile) || !Read(AvpKeys.MipMnToHaMsa, out var fromMobile)
                || !Read(AvpKeys.MipHaToFaMsa, out var toForeign) || !Read(AvpKeys.MipMnToFaMsa, out var foreignNonce))
            {
                continue;
            }

            secrets = new Secrets(
                [.. profiles.Select(p => p.WithHomeAddress(homeAddress))],
                toMobile is { Key: { } mobileKey } && fromMobile is not null ? new MobilityAssociation(toMobile.Spi, fromMobile.Spi, toMobile.Algorithm, mobileKey) : null,
                toForeign is { Key: { } foreignKey } ? new MobilityAssociation(toForeign.Spi, NewSpi(), toForeign.Algorithm, foreignKey) : null,
                fromMobile, foreignNonce);
            return null;

            bool Read(AvpKey group, out MobilityMsa? association)
            {
                if (_msaAvps.TryRead(avps, group, key, _options.PlainSessionKeys, _options.LegacyAuthenticators, out association, out var refusal))
                {
                    return true;
                }

                problem ??= new(RegistrationReplyCode.HomeProhibited, "ha.har.keys", refusal.Text, refusal.Rule);
                return false;
            }
        }

        return problem;
    }

    private uint NewSpi()
    {
        uint spi;
        do
        {
            spi = Random.NextUInt32();
        }
        while (spi < MobileIpv4Limits.FirstUsableSpi);
        return spi;
    }
}
