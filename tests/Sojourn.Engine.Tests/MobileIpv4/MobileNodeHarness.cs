using System.Net;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.MobileIpv4;
using Xunit;

namespace Sojourn.Engine.Tests.MobileIpv4;

/// <summary>A mobile node on virtual time, and what stands behind a foreign agent: agent, home agent and AAAH in one, computing everything anew.</summary>
internal sealed class MobileNodeHarness
{
    public const string Nai = "alice@home.example";
    public const string Link = "wlan0";
    public const uint AaaSpi = 4096;

    public static readonly IPAddress HomeAddress = IPAddress.Parse("10.1.0.7");
    public static readonly IPAddress HomeAgent = IPAddress.Parse("192.0.2.1");
    public static readonly KeyMaterial AaaKey = new(Enumerable.Range(1, 32).Select(i => (byte)i).ToArray());

    private readonly EffectSink _sink = new();
    private readonly SeededRandom _random = new(99);
    private byte _challenges;

    public MobileNodeHarness(Func<MobileNodeOptions, MobileNodeOptions>? change = null)
    {
        var options = new MobileNodeOptions { Interface = Link, Nai = Nai, MnAaaSpi = AaaSpi, MnAaaKey = AaaKey };
        Node = new MobileNode(change?.Invoke(options) ?? options, new SeededRandom(42));
    }

    public MobileNode Node { get; }

    public DateTimeOffset Now { get; set; } = new(2026, 11, 21, 4, 0, 0, TimeSpan.Zero);

    /// <summary>Every effect since the beginning.</summary>
    public List<Effect> All { get; } = [];

    /// <summary>Keys the network holds for this node: home first, then by agent.</summary>
    public MobilityAssociation? HomeKey { get; set; }

    public Dictionary<Agent, MobilityAssociation> AgentKeys { get; } = [];

    public sealed record Agent(string Address, string CareOf, byte Link)
    {
        public static readonly Agent Old = new("198.51.100.1", "198.51.100.1", 0x11);
        public static readonly Agent New = new("203.0.113.1", "203.0.113.1", 0x22);

        public IPAddress Ip => IPAddress.Parse(Address);

        public LinkAddress Mac => new([2, 0, 0, 0, 0, Link]);
    }

    public IReadOnlyList<Effect> Tell(EngineInput input)
    {
        _sink.Clear();
        Node.Handle(input, Now, _sink);
        var effects = _sink.Effects.ToArray();
        All.AddRange(effects);
        Assert.DoesNotContain(effects, effect => effect is ChangePaths or AddVisitor or AttractHomeAddress or OpenConnection);
        return effects;
    }

    /// <summary>Lets time pass to the next deadline and tells the node.</summary>
    public IReadOnlyList<Effect> Wake()
    {
        Now = Node.NextDeadline ?? throw new InvalidOperationException("nothing is pending");
        return Tell(new DeadlineReached());
    }

    /// <summary>Lets time pass, waking the node at each of its deadlines.</summary>
    public IReadOnlyList<Effect> Pass(TimeSpan time)
    {
        var until = Now + time;
        var effects = new List<Effect>();
        while (Node.NextDeadline is { } next && next <= until)
        {
            Now = next > Now ? next : Now;
            effects.AddRange(Tell(new DeadlineReached()));
        }

        Now = until;
        return effects;
    }

    public OctetString NewChallenge() => new byte[] { 0xC0, 0xDE, 0, _challenges++ };

    public IReadOnlyList<Effect> Advertise(Agent agent, ushort sequence = 1, bool challenge = true, ushort lifetime = 9, MobilityAgentFlags extra = MobilityAgentFlags.None, byte prefix = 24)
    {
        var extensions = MobileIpExtensions.Of(
            new MobilityAgentExtension
            {
                SequenceNumber = sequence,
                RegistrationLifetime = 3600,
                Flags = MobilityAgentFlags.ForeignAgent | MobilityAgentFlags.ReverseTunnelling | extra,
                CareOfAddresses = [IPAddress.Parse(agent.CareOf)],
            },
            new PrefixLengthsExtension(new[] { prefix }));
        if (challenge)
        {
            extensions = extensions.Append(new AdvertisedChallengeExtension(NewChallenge()));
        }

        var message = new AgentAdvertisement { Lifetime = lifetime, Routers = [new AdvertisedRouter(agent.Ip, 0)], Extensions = extensions };
        return Tell(new IcmpReceived(agent.Ip, IPAddress.Parse("224.0.0.1"), message.ToArray(), Link, agent.Mac));
    }

    public static SendDatagram Sent(IEnumerable<Effect> effects) => Assert.Single(effects.OfType<SendDatagram>());

    public static RegistrationRequest Request(IEnumerable<Effect> effects) => Read(Sent(effects));

    public static RegistrationRequest Read(SendDatagram datagram)
    {
        Assert.True(MobileIpMessage.TryParse(datagram.Payload.Span, out RegistrationRequest? request, out var error), error.ToString());
        return request;
    }

    /// <summary>The network's answer to a request: keys from AAA when asked for, MN-HA, a new challenge, MN-FA.</summary>
    public RegistrationReply Answer(RegistrationRequest request, Agent agent, RegistrationReplyCode code = RegistrationReplyCode.Accepted, ushort? lifetime = null, IPAddress? home = null, bool challenge = true)
    {
        var reply = new RegistrationReply
        {
            Code = code,
            Lifetime = lifetime ?? request.Lifetime,
            HomeAddress = home ?? (request.HomeAddress.Equals(IPAddress.Any) ? HomeAddress : request.HomeAddress),
            HomeAgent = HomeAgent,
            Identification = request.Identification,
        }.With(new NaiExtension(request.Nai!));
        foreach (var wanted in request.Extensions.OfType<KeyGenerationNonceRequestExtension>())
        {
            var nonce = new byte[MobilityKeys.NonceLength];
            _random.Fill(nonce);
            var agentSpi = _random.NextUInt32() | 0x100;
            reply = reply.With(new KeyGenerationNonceReplyExtension
            {
                Peer = wanted.Peer,
                Lifetime = 86400,
                AaaSpi = AaaSpi,
                AgentSpi = agentSpi,
                Algorithm = AuthenticationAlgorithm.HmacSha256,
                Nonce = nonce,
            });
            var key = new MobilityAssociation(wanted.MobileNodeSpi, agentSpi, AuthenticationAlgorithm.HmacSha256, MobilityKeys.Derive(AaaKey, nonce, request.HomeAddress, request.Nai!));
            if (wanted.Peer == NoncePeer.HomeAgent)
            {
                HomeKey = key;
            }
            else
            {
                AgentKeys[agent] = key;
            }
        }

        if (code.Origin() != ReplyCodeOrigin.ForeignAgent && HomeKey is not null)
        {
            reply = reply.Sign(AuthenticationKind.MobileHome, HomeKey);
        }

        if (challenge)
        {
            reply = reply.With(new ChallengeExtension(NewChallenge()));
        }

        return AgentKeys.TryGetValue(agent, out var foreign) ? reply.Sign(AuthenticationKind.MobileForeign, foreign) : reply;
    }

    public IReadOnlyList<Effect> Deliver(RegistrationReply reply, Agent agent) => Deliver(reply.ToArray(), agent);

    public IReadOnlyList<Effect> Deliver(byte[] reply, Agent agent) =>
        Tell(new DatagramReceived(new IPEndPoint(agent.Ip, 434), new IPEndPoint(IPAddress.Broadcast, 434), reply, Link, agent.Mac));

    /// <summary>Start, advertisement, request, reply.</summary>
    public RegistrationRequest RegisterAt(Agent agent)
    {
        if (Node.State is MobileNodeState.Stopped)
        {
            Tell(new EngineStarted([]));
        }

        var request = Request(Advertise(agent));
        Deliver(Answer(request, agent), agent);
        Assert.IsType<MobileNodeState.Registered>(Node.State);
        return request;
    }

    public long Count(string counter) => All.OfType<CountEvent>().Where(c => c.Counter == counter).Sum(c => c.Amount);
}
