using System.Net;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Engine.MobileIpv4.Agents;
using Sojourn.Engine.Tests.Aaa;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;
using Xunit;
using SeededRandom = Sojourn.Engine.Tests.Gateway.SeededRandom;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>One foreign agent; node, AAA server and home agent are written by the test.</summary>
internal sealed class ForeignAgentHarness
{
    public const string Session = "aaah.home.example;1;2;alice@home.example";

    public static readonly IPAddress Agent = IPAddress.Parse("10.1.1.1");
    public static readonly KeyMaterial NodeKey = AgentFixture.Secret(41);
    public static readonly KeyMaterial AgentsKey = AgentFixture.Secret(42);
    public static readonly KeyMaterial HomeKey = AgentFixture.Secret(43);

    private readonly MobilityMsaAvps _msa = new(DiameterDictionary.Default);
    private readonly VpnProfileAvps _profiles = new(DiameterDictionary.Default);
    private uint _tick;

    public ForeignAgentHarness(Func<ForeignAgentOptions, ForeignAgentOptions>? change = null)
    {
        var options = AgentFixture.DefaultForeignAgent("fa1");
        Engine = new ForeignAgent(change?.Invoke(options) ?? options, AaaFixture.Node("fa1", "aaaf"), new SeededRandom(5));
        Aaa = new ScriptedAgent(AaaFixture.Node("aaaf"), new SeededRandom(6)) { Script = (request, answer) => request.CommandCode == 260 ? Ama(request, answer) : answer(DiameterResult.Success).Build() };
        Net.Add("aaaf", Aaa, AaaFixture.Address("aaaf"), new IPEndPoint(AaaFixture.Address("aaaf"), 5658));
        Net.Add("fa1", Engine, AgentFixture.Fa1, new IPEndPoint(AgentFixture.Fa1, 5658));
        Net.Add("ha", HomeAgent, AgentFixture.Ha);
        foreach (var (name, host, link) in new[] { ("alice", Alice, (byte)0x0A), ("bob", Bob, (byte)0x0B) })
        {
            Net.Add(name, host, null).Link = new LinkAddress([2, 0, 0, 0, 0, link]);
            Net[name].Agent = "fa1";
        }

        Net.Start("aaaf", "fa1");
        Net.Arrows.Clear();
    }

    public AgentNetwork Net { get; } = new();

    public ForeignAgent Engine { get; }

    public ScriptedAgent Aaa { get; }

    public SilentHost HomeAgent { get; } = new();

    public SilentHost Alice { get; } = new();

    public SilentHost Bob { get; } = new();

    /// <summary>What the AAA server answers an AMR with.</summary>
    public Func<DiameterMessage, Func<uint, DiameterMessageBuilder>, DiameterMessage?> Ama { get; set; } = (_, answer) => answer(DiameterResult.UnableToComply).Build();

    public AgentNode Node => Net["fa1"];

    public static VpnProfile Profile(uint number = 1, IPAddress? home = null, uint spi = 0x1000_0100) => new()
    {
        ProfileNumber = number,
        View = ProfileView.Up,
        Source = new IPNetwork(home ?? AgentFixture.AliceHome, 32),
        Destination = IPNetwork.Parse("192.168.50.0/24"),
        SecurityType = SecurityType.Esp,
        SourceGateway = AgentFixture.Fa1,
        DestinationGateway = AgentFixture.Ha,
        GatewayType = GatewayType.Static,
        UpSpi = spi,
        DownSpi = spi + 0x100,
        Algorithm = IpsecAlgorithm.Aes128Gcm16,
        Keying = new ProfileKeying.Derived(AgentFixture.Secret((int)number), 7),
    };

    /// <summary>The newest challenge advertised, or told in a reply to a node with this home address; null = to any.</summary>
    public OctetString Challenge(IPAddress? home = null)
    {
        for (var i = Node.Effects.Count - 1; i >= 0; i--)
        {
            if (Node.Effects[i] is SendIcmp icmp && AgentAdvertisement.TryParse(icmp.Message.Span, out var advertisement, out _))
            {
                return advertisement.Extensions.Find<AdvertisedChallengeExtension>()!.Challenge;
            }

            if (Node.Effects[i] is SendDatagram datagram && MobileIpMessage.TryParse(datagram.Payload.Span, out RegistrationReply? reply, out _)
                && (home is null || reply.HomeAddress.Equals(home)))
            {
                return reply.Extensions.Find<ChallengeExtension>()!.Challenge;
            }
        }

        throw new InvalidOperationException("no challenge yet");
    }

    /// <summary>A request that is right in everything; extensions in the order a node writes them.</summary>
    public RegistrationRequest Request(IPAddress? home = null, ushort lifetime = 600, string? nai = AgentFixture.Alice, OctetString? challenge = null, IPAddress? previous = null, bool mnAaa = true, bool noChallenge = false, MobilityAssociation? mnFa = null)
    {
        var request = Bare(home, lifetime);
        if (nai is not null)
        {
            request = request.With(new NaiExtension(nai));
        }

        if (previous is not null)
        {
            request = request.With(ProjectExtensions.PreviousForeignAgent(ProjectExtensions.DefaultEnterprise, previous));
        }

        request = request.Sign(AuthenticationKind.MobileHome, new MobilityAssociation(0x700, HomeKey));
        if (!noChallenge)
        {
            request = request.With(new ChallengeExtension(challenge ?? Challenge(home ?? AgentFixture.AliceHome)));
        }

        if (mnAaa)
        {
            request = request.Sign(AuthenticationKind.MobileAaa, new MobilityAssociation(0x200, AgentFixture.Secret(1)));
        }

        return mnFa is null ? request : request.Sign(AuthenticationKind.MobileForeign, mnFa);
    }

    public RegistrationRequest Bare(IPAddress? home = null, ushort lifetime = 600) => new()
    {
        Flags = RegistrationFlags.ReverseTunnel,
        Lifetime = lifetime,
        HomeAddress = home ?? AgentFixture.AliceHome,
        HomeAgent = AgentFixture.Ha,
        CareOfAddress = AgentFixture.Fa1,
        Identification = Identification.FromTime(Net.Now) + ++_tick,
    };

    /// <summary>The association a node has with the agent once it was let in with keys.</summary>
    public static MobilityAssociation NodesSide => new(0x801, 0x802, AuthenticationAlgorithm.HmacSha256, NodeKey);

    public void Send(RegistrationRequest request, string node = "alice", IPAddress? source = null) => Send(request.ToArray(), node, source ?? request.HomeAddress);

    public void Send(byte[] octets, string node = "alice", IPAddress? source = null)
    {
        Net.Forge(node, new SendDatagram(new IPEndPoint(source ?? AgentFixture.AliceHome, 434), new IPEndPoint(Agent, 434), octets, AgentFixture.MobileInterface, AgentFixture.AgentLink));
        Net.Run(TimeSpan.FromMilliseconds(100));
    }

    /// <summary>The reply of the home agent to the request inside an AMR, as a HAA brings it.</summary>
    public static RegistrationReply ReplyTo(RegistrationRequest request, RegistrationReplyCode code = RegistrationReplyCode.Accepted, IPAddress? home = null, ushort? lifetime = null) => new RegistrationReply
    {
        Code = code,
        Lifetime = code.IsAccepted() ? lifetime ?? request.Lifetime : (ushort)0,
        HomeAddress = home ?? request.HomeAddress,
        HomeAgent = AgentFixture.Ha,
        Identification = request.Identification,
    }.Sign(AuthenticationKind.MobileHome, new MobilityAssociation(0x701, HomeKey));

    /// <summary>An AMA that lets the user in. Without a reply it is the visited server's own (NV2.4).</summary>
    public DiameterMessage Accept(
        DiameterMessage amr, Func<uint, DiameterMessageBuilder> answer, IEnumerable<VpnProfile> profiles, bool reply = true, bool keys = true, string session = Session, IPAddress? home = null,
        uint authorization = 3600, Func<AvpList, AvpList>? damage = null)
    {
        var request = AaaFixture.Registration(amr);
        var kek = AaaFixture.Kek("fa1", "aaaf");
        home ??= request.HomeAddress;
        var ama = answer(DiameterResult.Success)
            .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.AcctMultiSessionId, session)
            .Add(AvpKeys.AuthorizationLifetime, authorization)
            .Add(AvpKeys.MipHomeAgentAddress, AgentFixture.Ha)
            .Add(AvpKeys.MipMobileNodeAddress, home);
        if (reply)
        {
            ama.Add(AvpKeys.MipRegReply, ReplyTo(request, home: home).ToArray());
        }

        if (keys)
        {
            ama.Add(_msa.Write(AvpKeys.MipFaToMnMsa, new MobilityMsa(0x802, NodeKey, default), kek))
                .Add(_msa.Write(AvpKeys.MipMnToFaMsa, new MobilityMsa(0x801, null, AgentFixture.Secret(9).Octets.ToArray()), null))
                .Add(_msa.Write(AvpKeys.MipFaToHaMsa, new MobilityMsa(0x901, AgentsKey, default), kek))
                .Add(_msa.Write(AvpKeys.MipHaToFaMsa, new MobilityMsa(0x902, AgentsKey, default), kek));
        }

        return ama.Add(_profiles.WriteAll([.. profiles], kek)).Build();
    }

    public void LetIn(params VpnProfile[] profiles) => Ama = (request, answer) => Accept(request, answer, profiles);

    /// <summary>Lets Alice in with keys and one profile.</summary>
    public ForeignAgentHarness Admitted()
    {
        LetIn(Profile());
        Send(Request());
        Assert.Single(Engine.Visitors);
        return this;
    }

    /// <summary>The last reply to a node, which must be the <paramref name="count"/>th.</summary>
    public RegistrationReply Reply(int count = 1, SilentHost? node = null)
    {
        node ??= Alice;
        Assert.Equal(count, node.Received.Count);
        return node.Last<RegistrationReply>();
    }

    /// <summary>Sends the agent a message of the home agent's, with FA-HA authentication unless it comes signed.</summary>
    public void FromHome(RegistrationReply reply, MobilityAssociation? association = null, IPAddress? source = null)
    {
        var octets = reply.Sign(AuthenticationKind.ForeignHome, association ?? new MobilityAssociation(0x902, AgentsKey)).ToArray();
        Net.Forge("ha", new SendDatagram(new IPEndPoint(source ?? AgentFixture.Ha, 434), new IPEndPoint(AgentFixture.Fa1, 434), octets));
        Net.Run(TimeSpan.FromMilliseconds(100));
    }

    /// <summary>Refused with this code and a reason that names <paramref name="because"/>; counted, reported with its rule, and nothing was let in.</summary>
    public void AssertRefused(RegistrationReplyCode code, string counter, string because, int replies = 1)
    {
        var reply = Reply(replies);
        Assert.Equal(code, reply.Code);
        Assert.Contains(because, reply.Extensions.RefusalReason(ProjectExtensions.DefaultEnterprise), StringComparison.Ordinal);
        Assert.True(Node.Counters.GetValueOrDefault(counter) > 0, $"{counter} was not counted; {string.Join(", ", Node.Counters.Keys)}");
        Assert.Contains(Node.Events, e => e is { Kind: "registration.refused", Rule.Length: > 0 } && e.Text.Contains(because, StringComparison.Ordinal));
        Assert.Empty(Engine.Visitors);
        Assert.Empty(Node.UserPaths);
        Assert.Empty(Node.Visitors);
    }
}
