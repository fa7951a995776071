using System.Diagnostics.CodeAnalysis;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Aaa;

/// <summary>What AAAF and AAAH share: wrapping keys, attribute codecs, refusals.</summary>
public abstract class AaaServer : DiameterApplication
{
    private readonly string _role;
    private readonly Dictionary<string, string> _counters = new(StringComparer.Ordinal);
    private readonly IReadOnlyDictionary<string, KeyMaterial> _keyWrap;

    /// <param name="role">First part of counter names: <c>aaaf</c> or <c>aaah</c>.</param>
    /// <param name="keyWrap">Wrapping key by Diameter identity; 32 octets each.</param>
    private protected AaaServer(string role, DiameterNodeOptions options, IReadOnlyDictionary<string, KeyMaterial> keyWrap, IRandomSource random)
        : base(options, random)
    {
        _role = role;
        _keyWrap = new Dictionary<string, KeyMaterial>(keyWrap, StringComparer.OrdinalIgnoreCase);
        if (_keyWrap.FirstOrDefault(k => k.Value.Length != KeyGenerator.KeyLength) is { Key: { } peer })
        {
            throw new ArgumentException($"the wrapping key shared with {peer} must have {KeyGenerator.KeyLength} octets", nameof(keyWrap));
        }

        ProfileAvps = new VpnProfileAvps(Dictionary);
        MsaAvps = new MobilityMsaAvps(Dictionary);
        Keys = new VpnAvpKeys(Dictionary.EnterpriseNumber!.Value);
    }

    private protected VpnProfileAvps ProfileAvps { get; }

    private protected MobilityMsaAvps MsaAvps { get; }

    private protected VpnAvpKeys Keys { get; }

    private protected KeyMaterial? WrappingKey(string identity) => _keyWrap.GetValueOrDefault(identity);

    private protected void Count(EffectSink effects, string counter)
    {
        if (!_counters.TryGetValue(counter, out var name))
        {
            _counters[counter] = name = $"{_role}.{counter}";
        }

        effects.Count(name);
    }

    /// <summary>Result-Code of a refusal.</summary>
    internal static uint ResultCode(RefusalKind kind) => kind switch
    {
        RefusalKind.Authentication => DiameterResult.AuthenticationRejected,
        RefusalKind.Authorization => DiameterResult.AuthorizationRejected,
        RefusalKind.OutOfResources => DiameterResult.OutOfSpace,
        RefusalKind.HomeAgentRefused => DiameterResult.MipReplyFailure,
        RefusalKind.HomeAgentUnavailable => DiameterResult.HomeAgentNotAvailable,
        RefusalKind.InvalidValue => DiameterResult.InvalidAvpValue,
        RefusalKind.Missing => DiameterResult.MissingAvp,
        RefusalKind.NoKeyProtection => DiameterResult.EndToEndMipKeyEncryption,
        RefusalKind.UnknownSession => DiameterResult.UnknownSessionId,
        RefusalKind.RealmNotServed => DiameterResult.RealmNotServed,
        _ => DiameterResult.UnableToComply,
    };

    private protected static string CounterName(RefusalKind kind) => kind switch
    {
        RefusalKind.Authentication => "authentication",
        RefusalKind.Authorization => "authorization",
        RefusalKind.OutOfResources => "out_of_resources",
        RefusalKind.HomeAgentRefused => "home_agent_refused",
        RefusalKind.HomeAgentUnavailable => "home_agent_unavailable",
        RefusalKind.InvalidValue => "invalid_value",
        RefusalKind.Missing => "missing",
        RefusalKind.NoKeyProtection => "no_key_protection",
        RefusalKind.UnknownSession => "unknown_session",
        RefusalKind.RealmNotServed => "realm_not_served",
        _ => "unable_to_comply",
    };

    /// <summary>Asks who serves a session to end it (ASR, RFC 6733 8.5).</summary>
    /// <param name="server">The foreign agent or home agent, and its realm.</param>
    private protected void AskToAbort(string session, (string Host, string Realm) server, string nai, string mobilitySession, DateTimeOffset now, EffectSink effects)
    {
        Count(effects, "asr.sent");
        Send(AboutSession(DiameterCommands.AbortSession, session, server, nai, mobilitySession).Build(), now, effects);
    }

    /// <summary>Asks the foreign agent of a session to have the node register again (RAR, RFC 6733 8.3).</summary>
    private protected void AskToReauthorize(string session, (string Host, string Realm) server, string nai, string mobilitySession, DateTimeOffset now, EffectSink effects)
    {
        const int AuthorizeOnly = 0;
        Count(effects, "rar.sent");
        Send(AboutSession(DiameterCommands.ReAuth, session, server, nai, mobilitySession).Add(AvpKeys.ReAuthRequestType, AuthorizeOnly).Build(), now, effects);
    }

    private DiameterMessageBuilder AboutSession(DiameterCommand command, string session, (string Host, string Realm) server, string nai, string mobilitySession) =>
        Dictionary.Request(command with { ApplicationId = DiameterApplications.MobileIpv4 })
            .Add(AvpKeys.SessionId, session)
            .Add(AvpKeys.OriginHost, Options.Identity)
            .Add(AvpKeys.OriginRealm, Options.Realm)
            .Add(AvpKeys.DestinationRealm, server.Realm)
            .Add(AvpKeys.DestinationHost, server.Host)
            .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.UserName, nai)
            .Add(AvpKeys.AcctMultiSessionId, mobilitySession);

    /// <summary>Counts and reports a refused registration and makes the answer that tells the reason.</summary>
    private protected DiameterMessage Refused(
        DiameterRequest request, AccessRequest? access, string? mobilitySession, Refusal refusal, EffectSink effects, ReadOnlyMemory<byte> registrationReply = default)
    {
        Count(effects, "registration.refused");
        Count(effects, $"registration.refused.{CounterName(refusal.Kind)}");
        effects.Emit(new Report(new EngineEvent("registration.refused", EventSeverity.Warning, refusal.Text)
        {
            Session = mobilitySession ?? access?.MobilitySession,
            Nai = access?.Nai ?? (request.Message.Avps.TryGetText(AvpKeys.UserName, out var nai) ? nai : null),
            HomeAddress = access?.HomeAddress,
            CareOfAddress = access?.CareOfAddress,
            Peer = request.Peer,
            Rule = refusal.Rule,
        }));
        var answer = AnswerTo(request, ResultCode(refusal.Kind))
            .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.ErrorMessage, refusal.Text)
            .Add(Keys.VpnRefusalReason, $"{refusal.Text} ({refusal.Rule})");
        if (mobilitySession is not null)
        {
            answer.Add(AvpKeys.AcctMultiSessionId, mobilitySession);
        }

        if (!registrationReply.IsEmpty)
        {
            answer.Add(AvpKeys.MipRegReply, registrationReply.Span);
        }

        return answer.Build();
    }

    /// <summary>An ACA repeats what names the record (RFC 6733 section 9.7.2).</summary>
    private protected DiameterMessageBuilder AccountingAnswer(DiameterRequest request, uint result)
    {
        var answer = AnswerTo(request, result);
        foreach (var key in new[] { AvpKeys.AccountingRecordType, AvpKeys.AccountingRecordNumber, AvpKeys.AcctApplicationId, AvpKeys.UserName })
        {
            if (request.Message.Avps.TryGet(key, out var avp))
            {
                answer.Add(avp);
            }
        }

        return answer;
    }

    /// <summary>Who asks must be allowed to hold the keys the message needs.</summary>
    private protected Refusal? CheckWrapping(string holder, bool plainSessionKeys, IEnumerable<VpnProfile> profiles, bool sessionKeys) =>
        WrappingKey(holder) is not null ? null
        : profiles.FirstOrDefault(VpnProfileAvps.HasSecret) is { } secret ? new Refusal(RefusalKind.NoKeyProtection, "M2", $"profile {secret.ProfileNumber} has a key, and no wrapping key is shared with {holder}")
        : sessionKeys && !plainSessionKeys ? new Refusal(RefusalKind.NoKeyProtection, "M2", $"session keys are wanted, and no wrapping key is shared with {holder}")
        : null;

    private protected static bool SameIdentity([NotNullWhen(true)] string? left, string? right) =>
        left is not null && string.Equals(left, right, StringComparison.OrdinalIgnoreCase);
}
