// Readings:
// - EAP-TTLS is how users prove themselves, EAP-TLS how devices do (spec G1: two functions, switched separately).
// - The User-Name of an Access-Accept is the identifier of the user's terminal (RFC 2865 5.1 lets the server name the user), which
//   is the mapping of spec G6; for devices it is the certificate's name.
// - A device must come from the address it is registered with and show the certificate registered with it (row TA-H23).
// - A request without a right Message-Authenticator is dropped without a word, EAP or not (row TA-M51).
using System.Net;
using Sojourn.Engine.Eap;
using Sojourn.Wire.Eap;
using Sojourn.Wire.MobileIpv4;
using Sojourn.Wire.Radius;

namespace Sojourn.Engine.Radius;

/// <summary>
/// Authentication server for access to the home network and for devices at access links (spec P5): RADIUS (RFC 2865, RFC 3579)
/// with EAP-TTLS and EAP-TLS. Inputs: <see cref="DatagramReceived"/>, <see cref="PasswordChecked"/>.
/// </summary>
public sealed class RadiusServer(RadiusServerOptions options, IRandomSource random) : IEngine, IDisposable
{
    private Dictionary<string, AccessUser> _users = (options.Users ?? []).ToDictionary(u => u.Name, StringComparer.Ordinal);
    private Dictionary<LinkAddress, AccessDevice> _devices = (options.Devices ?? []).ToDictionary(d => d.Address);
    private readonly AccessThrottle _throttle = new();
    private readonly Dictionary<OctetString, Conversation> _conversations = [];
    private readonly Dictionary<long, (Question Question, Conversation? Conversation, string User)> _checks = [];
    private readonly Dictionary<(IPEndPoint Source, byte Identifier, OctetString Authenticator), byte[]?> _answers = [];
    private readonly Queue<(DateTimeOffset At, (IPEndPoint, byte, OctetString) Key)> _answered = new();
    private EapServerOptions _eap = EapOptions(options, options.Users is not null, options.Devices is not null);

    private long _numbers;

    /// <summary>Conversations under way.</summary>
    public int Conversations => _conversations.Count;

    public DateTimeOffset? NextDeadline
    {
        get
        {
            DateTimeOffset? next = _conversations.Count == 0 ? null : _conversations.Values.Min(c => c.Expires);
            return _answered.TryPeek(out var oldest) && (next is null || oldest.At < next) ? oldest.At : next;
        }
    }

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        Forget(now, effects);
        switch (input)
        {
            case DatagramReceived datagram:
                OnDatagram(datagram, now, effects);
                break;
            case PasswordChecked { Number: var number, Right: var right } when _checks.Remove(number, out var check):
                OnChecked(check.Question, check.Conversation, check.User, right, effects);
                break;
        }
    }

    /// <summary>Takes over other users and devices; null switches a function off.</summary>
    public void Replace(IReadOnlyCollection<AccessUser>? users, IReadOnlyCollection<AccessDevice>? devices)
    {
        _users = (users ?? []).ToDictionary(u => u.Name, StringComparer.Ordinal);
        _devices = (devices ?? []).ToDictionary(d => d.Address);
        _eap = EapOptions(options, users is not null, devices is not null);
    }

    public void Dispose()
    {
        foreach (var conversation in _conversations.Values)
        {
            conversation.Eap.Dispose();
        }

        _conversations.Clear();
    }

    private void OnDatagram(DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        var source = datagram.Source.Canonical();
        if (options.Clients.FirstOrDefault(c => c.Address.Contains(source.Address)) is not { } client)
        {
            effects.Count("radius.server.unknown_client");
            return;
        }

        if (!RadiusPacket.TryParse(datagram.Payload.Span, out var request, out _) || request.Code != RadiusCode.AccessRequest)
        {
            effects.Count("radius.server.malformed");
            return;
        }

        if (RadiusProtection.RefuseRequest(request, datagram.Payload.Span, client.Secret) is { } refusal)
        {
            effects.Count("radius.server.unauthentic");
            effects.Emit(new Report(new EngineEvent("radius.request.refused", EventSeverity.Warning, $"a request of {client.Name} is dropped: {refusal}") { Peer = client.Name, Rule = "TA-M51" }));
            return;
        }

        var key = (source, request.Identifier, request.Authenticator);
        var question = new Question(datagram, request, client);
        if (_answers.TryGetValue(key, out var answer))
        {
            effects.Count("radius.server.repeated");
            if (answer is not null)
            {
                effects.Emit(new SendDatagram(datagram.Destination, datagram.Source, answer));
            }

            return;
        }

        _answers[key] = null; // its answer is on its way, and repetitions wait for it
        _answered.Enqueue((now + options.AnswerLifetime, key));
        effects.Count("radius.server.requests");
        if (request.Find(RadiusAttributeType.EapMessage) is not null)
        {
            OnEap(question, request.EapMessage, now, effects);
        }
        else if (request.Find(RadiusAttributeType.UserPassword) is { } hidden && options.HiddenPasswords && _users.Count > 0)
        {
            Check(question, null, question.UserName, RadiusProtection.RevealPassword(hidden.Value.Span, request.Authenticator.Span, client.Secret), now, effects);
        }
        else if (options.AddressOnlyDevices && Device(question) is { } device && request.Find(RadiusAttributeType.UserPassword) is null)
        {
            Accept(question, device.CertificateName, null, [], "by its address alone", effects);
        }
        else
        {
            Reject(question, question.UserName, [], "neither EAP nor anything else that is allowed here", effects);
        }
    }

    private void OnEap(Question question, byte[] message, DateTimeOffset now, EffectSink effects)
    {
        Conversation? conversation = null;
        if (question.Request.Find(RadiusAttributeType.State) is { } state && (!_conversations.TryGetValue(state.Value, out conversation) || conversation.Client != question.Client))
        {
            Reject(question, question.UserName, [], "the conversation is not known any more", effects);
            return;
        }

        // Without a message the authenticator asks us to ask who is there (RFC 3579 2.1).
        EapPacket? response = null;
        if (message.Length > 0 && !EapPacket.TryParse(message, out response, out var error))
        {
            Reject(question, question.UserName, [], $"EAP: {error}", effects);
            return;
        }

        if (conversation is null)
        {
            if (_eap.Methods.Count == 0 || _conversations.Count >= options.MaximumConversations)
            {
                effects.Count("radius.server.full");
                Reject(question, question.UserName, [], "no more conversations at once", effects);
                return;
            }

            conversation = new Conversation { Eap = new EapServer(_eap), Client = question.Client, State = random.NextBytes(16) };
            _conversations[conversation.State] = conversation;
        }

        conversation.Expires = now + options.ConversationLifetime;
        var eap = conversation.Eap;
        var next = response is null ? eap.AskIdentity() : eap.Receive(response, now);
        switch (eap.State)
        {
            case EapServerState.ChecksPassword:
                Check(question, conversation, eap.User, new KeyMaterial(eap.Password!.Octets), now, effects);
                break;
            case EapServerState.Succeeded when Device(question) is not { } device || device.CertificateName != eap.User:
                End(conversation);
                Reject(question, eap.User, Eap(EapPacket.Failure(next!.Identifier)), "the device is not registered here with this address and certificate", effects);
                break;
            case EapServerState.Succeeded:
                End(conversation);
                Accept(question, eap.User, eap.MasterSessionKey, Eap(next!), "by EAP-TLS", effects);
                break;
            case EapServerState.Failed:
                End(conversation);
                Reject(question, eap.User.Length > 0 ? eap.User : eap.OuterIdentity, Eap(next!), eap.Reason, effects);
                break;
            default:
                if (next is null)
                {
                    effects.Count("radius.server.eap_ignored");
                    break;
                }

                Answer(question, RadiusCode.AccessChallenge, [new(RadiusAttributeType.State, conversation.State), .. Eap(next)], effects);
                break;
        }
    }

    private void Check(Question question, Conversation? conversation, string user, KeyMaterial password, DateTimeOffset now, EffectSink effects)
    {
        if (_throttle.Begin(user, question.Station, now) is { Ticks: > 0 } wait)
        {
            password.Wipe();
            var failure = conversation?.Eap.Fail("too many wrong passwords");
            if (conversation is not null)
            {
                End(conversation);
            }

            effects.Count("access.delayed");
            effects.Emit(new Report(new EngineEvent("access.delayed", EventSeverity.Warning, $"{user} from {question.Where} has to wait {wait.TotalSeconds:F0} s: too many wrong passwords") { Nai = user, Peer = question.Client.Name, Rule = "TA-H24" }));
            Reject(question, user, failure is null ? [] : Eap(failure), "too many wrong passwords", effects);
            return;
        }

        _checks[++_numbers] = (question, conversation, user);
        effects.Emit(new CheckPassword(_numbers, user, password));
    }

    private void OnChecked(Question question, Conversation? conversation, string user, bool right, EffectSink effects)
    {
        right &= _users.TryGetValue(user, out var known);
        if (right)
        {
            _throttle.Right(user, question.Station);
        }

        IEnumerable<RadiusAttribute> eap = [];
        if (conversation is not null)
        {
            if (conversation.Eap.State != EapServerState.ChecksPassword)
            {
                return; // forgotten meanwhile
            }

            eap = Eap(conversation.Eap.PasswordChecked(right)!);
            End(conversation);
        }

        if (right)
        {
            Accept(question, known!.Identifier ?? user, conversation?.Eap.MasterSessionKey, eap, $"as {user}", effects);
        }
        else
        {
            Reject(question, user, eap, "the password is wrong or nobody has that name", effects);
        }
    }

    private AccessDevice? Device(Question question) =>
        question.StationAddress is { } address && _devices.TryGetValue(address, out var device) && device.Allowed && (device.Clients.Count == 0 || device.Clients.Contains(question.Client.Name)) ? device : null;

    private void Accept(Question question, string name, KeyMaterial? key, IEnumerable<RadiusAttribute> eap, string how, EffectSink effects)
    {
        List<RadiusAttribute> attributes =
        [
            RadiusAttribute.OfText(RadiusAttributeType.UserName, name),
            RadiusAttribute.OfNumber(RadiusAttributeType.SessionTimeout, (uint)options.SessionLifetime.TotalSeconds),
            .. eap,
        ];
        if (key is not null)
        {
            attributes.AddRange(RadiusProtection.SessionKeys(key, question.Request.Authenticator.Memory, question.Client.Secret, random));
            key.Wipe();
        }

        effects.Count("access.granted");
        effects.Emit(new Report(new EngineEvent("access.granted", EventSeverity.Information, $"{name} from {question.Where} is let in {how}") { Nai = name, Peer = question.Client.Name, Rule = "TA2.142a" }));
        Answer(question, RadiusCode.AccessAccept, attributes, effects);
    }

    private void Reject(Question question, string name, IEnumerable<RadiusAttribute> eap, string reason, EffectSink effects)
    {
        effects.Count("access.refused");
        effects.Emit(new Report(new EngineEvent("access.refused", EventSeverity.Warning, $"{name} from {question.Where} is refused: {reason}") { Nai = name, Peer = question.Client.Name, Rule = "TA2.142x" }));
        Answer(question, RadiusCode.AccessReject, eap, effects);
    }

    private void Answer(Question question, RadiusCode code, IEnumerable<RadiusAttribute> attributes, EffectSink effects)
    {
        var octets = RadiusProtection.WriteResponse(code, question.Request, [.. attributes, .. question.Request.Attributes.Where(a => a.Type == RadiusAttributeType.ProxyState)], question.Client.Secret);
        var key = (question.Datagram.Source.Canonical(), question.Request.Identifier, question.Request.Authenticator);
        if (_answers.ContainsKey(key))
        {
            _answers[key] = octets;
        }

        effects.Emit(new SendDatagram(question.Datagram.Destination, question.Datagram.Source, octets));
    }

    private static EapServerOptions EapOptions(RadiusServerOptions options, bool users, bool devices) => new()
    {
        Methods = [.. users ? new[] { EapType.Ttls } : [], .. devices ? new[] { EapType.Tls } : []],
        Tls = options.Tls,
        FragmentLength = options.FragmentLength,
    };

    private static IEnumerable<RadiusAttribute> Eap(EapPacket packet) => RadiusAttribute.OfEap(packet.ToArray());

    private void End(Conversation conversation)
    {
        _conversations.Remove(conversation.State);
        conversation.Eap.Dispose();
    }

    private void Forget(DateTimeOffset now, EffectSink effects)
    {
        while (_answered.TryPeek(out var oldest) && oldest.At <= now)
        {
            _answers.Remove(_answered.Dequeue().Key);
        }

        foreach (var conversation in _conversations.Values.Where(c => c.Expires <= now).ToList())
        {
            effects.Count("radius.server.abandoned");
            conversation.Eap.Fail("abandoned");
            End(conversation);
        }
    }

    private sealed class Conversation
    {
        public required EapServer Eap { get; init; }

        public required RadiusClientEntry Client { get; init; }

        /// <summary>Names it to the authenticator (RFC 2865 5.24).</summary>
        public required OctetString State { get; init; }

        public DateTimeOffset Expires { get; set; }
    }

    private sealed record Question(DatagramReceived Datagram, RadiusPacket Request, RadiusClientEntry Client)
    {
        public string UserName => Request.Find(RadiusAttributeType.UserName)?.Text ?? "";

        public string Station => Request.Find(RadiusAttributeType.CallingStationId)?.Text ?? "";

        public string Where => Station.Length > 0 ? $"{Station} at {Client.Name}" : Client.Name;

        /// <summary>The station as a link-layer address in any of the spellings (RFC 3580 3.21); null when it is none.</summary>
        public LinkAddress? StationAddress
        {
            get
            {
                var digits = Station.Replace("-", "", StringComparison.Ordinal).Replace(":", "", StringComparison.Ordinal).Replace(".", "", StringComparison.Ordinal);
                return digits.Length == 12 && digits.All(char.IsAsciiHexDigit) ? new LinkAddress(Convert.FromHexString(digits)) : null;
            }
        }
    }
}
