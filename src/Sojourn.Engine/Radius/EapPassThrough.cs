using System.Text;
using Sojourn.Wire.Eap;
using Sojourn.Wire.MobileIpv4;
using Sojourn.Wire.Radius;

namespace Sojourn.Engine.Radius;

/// <summary>What an authentication server decided.</summary>
/// <param name="Name">Whom it let in: the identifier of the terminal (spec G6). Empty when refused.</param>
/// <param name="MasterSessionKey">64 octets; null when refused, or when the server gave none.</param>
/// <param name="Lifetime">How long access lasts; null = the server sets no bound.</param>
public sealed record AccessVerdict(bool Allowed, string Name, KeyMaterial? MasterSessionKey, TimeSpan? Lifetime);

/// <summary>What goes back to the peer of a conversation, and the verdict when that is the last.</summary>
/// <param name="Packet">Null when no server answered or the server sent none.</param>
public sealed record EapRelayed(long Conversation, EapPacket? Packet, AccessVerdict? Verdict);

/// <summary>
/// An authenticator that lets EAP pass to a RADIUS server (RFC 3579 2): for 802.1X at an access router, for IKEv2 at a gateway.
/// It looks at nothing but the peer's first name, which RADIUS wants in every request.
/// </summary>
public sealed class EapPassThrough(RadiusClient client)
{
    private readonly Dictionary<long, Conversation> _conversations = [];
    private readonly Dictionary<long, long> _requests = [];
    private long _numbers;

    public int Conversations => _conversations.Count;

    /// <summary>A peer has said its name; null when no request can be sent now.</summary>
    /// <param name="identity">The Response to an Identity request.</param>
    /// <param name="attributes">Calling-Station-Id and the like, for every request.</param>
    public long? Begin(EapPacket identity, IReadOnlyList<RadiusAttribute> attributes, DateTimeOffset now, EffectSink effects)
    {
        var name = identity.Data.Span[..Math.Min(identity.Data.Length, RadiusLimits.AttributeLength)];
        var conversation = new Conversation([new(RadiusAttributeType.UserName, name), .. attributes]);
        _conversations[++_numbers] = conversation;
        return Send(_numbers, conversation, identity, now, effects) ? _numbers : null;
    }

    /// <summary>The peer's next packet. False when there is no such conversation, or no request can be sent.</summary>
    public bool Continue(long number, EapPacket response, DateTimeOffset now, EffectSink effects) =>
        _conversations.TryGetValue(number, out var conversation) && Send(number, conversation, response, now, effects);

    /// <summary>The peer is gone.</summary>
    public void Abandon(long number) => _conversations.Remove(number);

    /// <summary>Takes an outcome of the client; null when it is of no conversation.</summary>
    public EapRelayed? Take(RadiusOutcome outcome)
    {
        if (!_requests.Remove(outcome.Request, out var number) || !_conversations.TryGetValue(number, out var conversation))
        {
            outcome.MasterSessionKey?.Wipe();
            return null;
        }

        var packet = outcome.Response?.EapMessage is { Length: > 0 } message && EapPacket.TryParse(message, out var read, out _) ? read : null;
        switch (outcome.Response?.Code)
        {
            case RadiusCode.AccessChallenge when packet is { Code: EapCode.Request }:
                conversation.State = outcome.Response.Find(RadiusAttributeType.State)?.Value;
                conversation.Server = outcome.Server;
                return new EapRelayed(number, packet, null);
            case RadiusCode.AccessAccept when packet is { Code: EapCode.Success }:
                _conversations.Remove(number);
                var verdict = VerdictOf(outcome.Response, outcome.MasterSessionKey);
                return new EapRelayed(number, packet, verdict.Name.Length > 0 ? verdict : verdict with { Name = Encoding.UTF8.GetString(conversation.Attributes[0].Value.Span) });
            default:
                // Anything else, an Accept that does not fit its EAP packet among it, lets nobody in (RFC 3579 2.6.3).
                _conversations.Remove(number);
                outcome.MasterSessionKey?.Wipe();
                return new EapRelayed(number, packet is { Code: EapCode.Failure } ? packet : EapPacket.Failure(conversation.Identifier), new AccessVerdict(false, "", null, null));
        }
    }

    /// <summary>What an Access-Accept says: who it is, empty where it does not say, and for how long.</summary>
    internal static AccessVerdict VerdictOf(RadiusPacket accept, KeyMaterial? key)
    {
        TimeSpan? lifetime = accept.Find(RadiusAttributeType.SessionTimeout) is { } bound && bound.TryReadNumber(out var seconds) ? TimeSpan.FromSeconds(seconds) : null;
        return new AccessVerdict(true, accept.Find(RadiusAttributeType.UserName)?.Text ?? "", key, lifetime);
    }

    private bool Send(long number, Conversation conversation, EapPacket response, DateTimeOffset now, EffectSink effects)
    {
        conversation.Identifier = response.Identifier;
        RadiusAttribute[] state = conversation.State is { } known ? [new(RadiusAttributeType.State, known)] : [];
        if (client.Send([.. conversation.Attributes, .. state, .. RadiusAttribute.OfEap(response.ToArray())], conversation.Server, now, effects) is not { } request)
        {
            _conversations.Remove(number);
            return false;
        }

        _requests[request] = number;
        return true;
    }

    private sealed class Conversation(IReadOnlyList<RadiusAttribute> attributes)
    {
        public IReadOnlyList<RadiusAttribute> Attributes { get; } = attributes;

        public OctetString? State { get; set; }

        public RadiusServerAddress? Server { get; set; }

        public byte Identifier { get; set; }
    }
}
