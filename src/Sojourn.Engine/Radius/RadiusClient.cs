// Readings:
// - A request that one server does not answer goes to the next, as a new request (another secret, so another authenticator).
//   One that continues a conversation (State) stays with its server: no other would know it.
using System.Net;
using Sojourn.Wire.Radius;

namespace Sojourn.Engine.Radius;

/// <param name="Secret">Shared with this client; RFC 2865 3 asks for 16 octets at least.</param>
public sealed record RadiusServerAddress(string Name, IPEndPoint Address, KeyMaterial Secret);

public sealed record RadiusClientOptions
{
    /// <summary>In the order of preference.</summary>
    public required IReadOnlyList<RadiusServerAddress> Servers { get; init; }

    /// <summary>Where requests leave from and answers come in, as the engine's runner knows it.</summary>
    public required IPEndPoint Local { get; init; }

    /// <summary>NAS-Identifier.</summary>
    public required string Name { get; init; }

    /// <summary>IRT, MRT, MRD of RFC 5080 2.2.1.</summary>
    public TimeSpan FirstTimeout { get; init; } = TimeSpan.FromSeconds(2);

    public TimeSpan LongestTimeout { get; init; } = TimeSpan.FromSeconds(16);

    public TimeSpan LongestWait { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How often one server is asked before the next gets its turn.</summary>
    public int TransmissionsPerServer { get; init; } = 3;

    /// <summary>How long a server that did not answer comes last.</summary>
    public TimeSpan DeadTime { get; init; } = TimeSpan.FromSeconds(60);
}

/// <summary>How a request ended.</summary>
/// <param name="Response">Null when no server answered.</param>
/// <param name="Server">Who answered; a conversation goes on with it.</param>
/// <param name="MasterSessionKey">What an Access-Accept brought; null when it brought none.</param>
public sealed record RadiusOutcome(long Request, RadiusPacket? Response, RadiusServerAddress? Server, KeyMaterial? MasterSessionKey);

/// <summary>
/// Asks RADIUS servers: authenticators, retransmission (RFC 5080 2.2.1), the next server when one is silent. Part of an engine,
/// which hands it datagrams and time; not an engine itself.
/// </summary>
public sealed class RadiusClient(RadiusClientOptions options, IRandomSource random)
{
    private readonly Dictionary<(IPEndPoint Server, byte Identifier), Pending> _pending = [];
    private readonly Dictionary<IPEndPoint, DateTimeOffset> _deadUntil = [];
    private long _numbers;
    private byte _identifier = (byte)random.NextUInt32();

    /// <summary>256 requests can be under way with one server (RFC 2865 2.5).</summary>
    public int InFlight => _pending.Count;

    public DateTimeOffset? NextDeadline => _pending.Count == 0 ? null : _pending.Values.Min(p => p.ResendAt);

    /// <summary>Sends an Access-Request and gives its number; null when 256 are under way already.</summary>
    /// <param name="attributes">Without Message-Authenticator and NAS-Identifier.</param>
    /// <param name="server">Of the conversation; null at its beginning.</param>
    /// <param name="password">Goes as User-Password, hidden for whichever server is asked; null with EAP.</param>
    public long? Send(IReadOnlyList<RadiusAttribute> attributes, RadiusServerAddress? server, DateTimeOffset now, EffectSink effects, KeyMaterial? password = null)
    {
        var pending = new Pending
        {
            Number = ++_numbers,
            Attributes = attributes,
            Password = password,
            Server = server!,
            Waiting = new Queue<RadiusServerAddress>(server is not null ? [] : options.Servers.OrderBy(s => _deadUntil.GetValueOrDefault(s.Address.Canonical()) > now)),
            GiveUpAt = now + options.LongestWait,
        };
        if (server is null)
        {
            pending.Server = pending.Waiting.Dequeue();
        }

        return Begin(pending, now, effects) ? pending.Number : null;
    }

    /// <summary>Takes an answer of a server; null when it is none that is waited for. What is forged or late is counted.</summary>
    public RadiusOutcome? Receive(DatagramReceived datagram, EffectSink effects)
    {
        if (!RadiusPacket.TryParse(datagram.Payload.Span, out var response, out _))
        {
            effects.Count("radius.client.malformed");
            return null;
        }

        if (!_pending.TryGetValue((datagram.Source.Canonical(), response.Identifier), out var pending)
            || response.Code is not (RadiusCode.AccessAccept or RadiusCode.AccessReject or RadiusCode.AccessChallenge))
        {
            effects.Count("radius.client.unexpected");
            return null;
        }

        if (RadiusProtection.RefuseResponse(response, datagram.Payload.Span, pending.Authenticator, pending.Server.Secret) is { } refusal)
        {
            effects.Count("radius.client.forged");
            effects.Emit(new Report(new EngineEvent("radius.answer.refused", EventSeverity.Warning, $"an answer of {pending.Server.Name} is ignored: {refusal}") { Peer = pending.Server.Name, Rule = "TA-M51" }));
            return null;
        }

        _pending.Remove((datagram.Source.Canonical(), response.Identifier));
        _deadUntil.Remove(pending.Server.Address.Canonical());
        var key = response.Code == RadiusCode.AccessAccept ? RadiusProtection.SessionKey(response, pending.Authenticator, pending.Server.Secret) : null;
        return new RadiusOutcome(pending.Number, response, pending.Server, key);
    }

    /// <summary>Repeats what is due, and gives up what nobody answers.</summary>
    public IReadOnlyList<RadiusOutcome> Advance(DateTimeOffset now, EffectSink effects)
    {
        var over = new List<RadiusOutcome>();
        foreach (var (key, pending) in _pending.Where(p => p.Value.ResendAt <= now).ToList())
        {
            if (pending.Transmissions < options.TransmissionsPerServer && now < pending.GiveUpAt)
            {
                Transmit(pending, now, effects);
                continue;
            }

            _pending.Remove(key);
            _deadUntil[key.Server] = now + options.DeadTime;
            effects.Count("radius.client.unanswered");
            effects.Emit(new Report(new EngineEvent("radius.server.silent", EventSeverity.Warning, $"{pending.Server.Name} does not answer") { Peer = pending.Server.Name, Rule = "RFC 5080 2.2.1" }));
            if (now >= pending.GiveUpAt || !pending.Waiting.TryDequeue(out var next) || !Begin(pending.To(next), now, effects))
            {
                over.Add(new RadiusOutcome(pending.Number, null, null, null));
            }
        }

        return over;
    }

    private bool Begin(Pending pending, DateTimeOffset now, EffectSink effects)
    {
        var server = pending.Server.Address.Canonical();
        for (var tries = 0; _pending.ContainsKey((server, ++_identifier)); tries++)
        {
            if (tries == 255)
            {
                effects.Count("radius.client.full");
                return false;
            }
        }

        pending.Authenticator = random.NextBytes(RadiusLimits.AuthenticatorLength);
        List<RadiusAttribute> attributes = [RadiusAttribute.OfText(RadiusAttributeType.NasIdentifier, options.Name), .. pending.Attributes];
        if (pending.Password is { } password)
        {
            attributes.Add(new(RadiusAttributeType.UserPassword, RadiusProtection.HidePassword(password.Octets, pending.Authenticator, pending.Server.Secret)));
        }

        pending.Octets = RadiusProtection.WriteRequest(_identifier, pending.Authenticator, attributes, pending.Server.Secret);
        _pending[(server, _identifier)] = pending;
        Transmit(pending, now, effects);
        return true;
    }

    private void Transmit(Pending pending, DateTimeOffset now, EffectSink effects)
    {
        // RT = 2 RTprev + RAND * RTprev, RAND within a tenth.
        var jitter = 1 + (((random.NextUInt32() / (double)uint.MaxValue) - 0.5) / 5);
        pending.Timeout = pending.Transmissions == 0 ? options.FirstTimeout * jitter : pending.Timeout * (1 + jitter);
        pending.Timeout = pending.Timeout > options.LongestTimeout ? options.LongestTimeout * jitter : pending.Timeout;
        pending.Transmissions++;
        pending.ResendAt = now + pending.Timeout;
        effects.Count(pending.Transmissions == 1 ? "radius.client.requests" : "radius.client.retransmissions");
        effects.Emit(new SendDatagram(options.Local, pending.Server.Address, pending.Octets));
    }

    private sealed class Pending
    {
        public required long Number { get; init; }

        public required IReadOnlyList<RadiusAttribute> Attributes { get; init; }

        public required KeyMaterial? Password { get; init; }

        public required RadiusServerAddress Server { get; set; }

        public required Queue<RadiusServerAddress> Waiting { get; init; }

        public required DateTimeOffset GiveUpAt { get; init; }

        public byte[] Authenticator { get; set; } = [];

        public byte[] Octets { get; set; } = [];

        public int Transmissions { get; set; }

        public TimeSpan Timeout { get; set; }

        public DateTimeOffset ResendAt { get; set; }

        public Pending To(RadiusServerAddress next)
        {
            (Server, Transmissions) = (next, 0);
            return this;
        }
    }
}

internal static class RadiusEndPoints
{
    /// <summary>An IPv4 address is the same whether a dual-stack socket gave it or not.</summary>
    public static IPEndPoint Canonical(this IPEndPoint point) => point.Address.IsIPv4MappedToIPv6 ? new IPEndPoint(point.Address.MapToIPv4(), point.Port) : point;
}
