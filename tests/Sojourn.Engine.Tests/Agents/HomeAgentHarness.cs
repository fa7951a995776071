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

/// <summary>One home agent; AAA server, foreign agents and gateways are written by the test.</summary>
internal sealed class HomeAgentHarness
{
    public const string Session = "aaah.home.example;1;2;alice@home.example";

    public static readonly KeyMaterial NodeKey = AgentFixture.Secret(51);
    public static readonly KeyMaterial AgentsKey = AgentFixture.Secret(52);

    private static readonly MobilityMsaAvps Msa = new(DiameterDictionary.Default);
    private static readonly VpnProfileAvps Profiles = new(DiameterDictionary.Default);
    private readonly Func<HomeAgentOptions, HomeAgentOptions> _change;
    private uint _tick;
    private int _dialogue;

    public HomeAgentHarness(Func<HomeAgentOptions, HomeAgentOptions>? change = null)
    {
        _change = change ?? (o => o);
        Aaa = new ScriptedAgent(AaaFixture.Node("aaah"), new SeededRandom(6));
        Net.Add("aaah", Aaa, AaaFixture.Address("aaah"), new IPEndPoint(AaaFixture.Address("aaah"), 5658));
        Net.Add("ha", NewEngine(), AgentFixture.Ha, new IPEndPoint(AgentFixture.Ha, 5658));
        Net.Add("fa1", ForeignAgent, AgentFixture.Fa1);
        Net.Add("fa2", OtherAgent, AgentFixture.Fa2);
        Net.Add("pcn", Gateway, AgentFixture.Pcn, null, IPNetwork.Parse("192.168.60.0/24"));
        Net.Start("aaah", "ha");
        Net.Arrows.Clear();
    }

    public AgentNetwork Net { get; } = new();

    public HomeAgent Engine => (HomeAgent)Net["ha"].Engine;

    public ScriptedAgent Aaa { get; }

    public SilentHost ForeignAgent { get; } = new();

    public SilentHost OtherAgent { get; } = new();

    public SilentHost Gateway { get; } = new();

    public AgentNode Node => Net["ha"];

    public static BindingAssociation Contract => new(AuthenticationKind.HomeCorrespondent, 500, AgentFixture.ContractSecret(AgentFixture.Pcn));

    /// <summary>Alice's side of her association with the home agent.</summary>
    public static MobilityAssociation NodesSide => new(0x701, 0x702, AuthenticationAlgorithm.HmacSha256, NodeKey);

    public static VpnProfile Leg(IPAddress? careOf = null, uint number = 1, ulong freshness = 7, IPAddress? home = null, uint spi = 0x1000_0100) => new()
    {
        ProfileNumber = number,
        View = ProfileView.Down,
        Source = IPNetwork.Parse("192.168.50.0/24"),
        Destination = new IPNetwork(home ?? AgentFixture.AliceHome, 32),
        SecurityType = SecurityType.Esp,
        SourceGateway = AgentFixture.Ha,
        DestinationGateway = careOf ?? AgentFixture.Fa1,
        GatewayType = GatewayType.Static,
        UpSpi = spi,
        DownSpi = spi + 0x100,
        Algorithm = IpsecAlgorithm.Aes128Gcm16,
        Keying = new ProfileKeying.Derived(AgentFixture.Secret((int)number), freshness),
    };

    public static VpnProfile Direct(IPAddress? careOf = null, uint number = 2, IPAddress? gateway = null) => Leg(careOf, number, spi: 0x1000_1000 + (number << 12)) with
    {
        Source = IPNetwork.Parse("192.168.60.5/32"),
        SourceGateway = gateway ?? AgentFixture.Pcn,
        GatewayType = GatewayType.Dynamic,
    };

    public HomeAgent NewEngine() => new(_change(AgentFixture.DefaultHomeAgent()), AaaFixture.Node("ha", "aaah"), new SeededRandom(7));

    public ulong Identification(TimeSpan clock = default) => Sojourn.Engine.MobileIpv4.Identification.FromTime(Net.Now + clock) + ++_tick;

    public RegistrationRequest Request(IPAddress? careOf = null, ushort lifetime = 600, IPAddress? home = null, TimeSpan clock = default, MobilityAssociation? mnHa = null, bool wantsKeys = false, IPAddress? previous = null)
    {
        var request = new RegistrationRequest
        {
            Flags = RegistrationFlags.ReverseTunnel,
            Lifetime = lifetime,
            HomeAddress = home ?? AgentFixture.AliceHome,
            HomeAgent = AgentFixture.Ha,
            CareOfAddress = careOf ?? AgentFixture.Fa1,
            Identification = Identification(clock),
        }.With(new NaiExtension(AgentFixture.Alice));
        if (wantsKeys)
        {
            request = request.With(new KeyGenerationNonceRequestExtension(NoncePeer.HomeAgent, 0x702)).With(new KeyGenerationNonceRequestExtension(NoncePeer.ForeignAgent, 0x703));
        }

        if (previous is not null)
        {
            request = request.With(ProjectExtensions.PreviousForeignAgent(ProjectExtensions.DefaultEnterprise, previous));
        }

        if (mnHa is not null)
        {
            request = request.Sign(AuthenticationKind.MobileHome, mnHa);
        }

        return request.Sign(AuthenticationKind.MobileAaa, new MobilityAssociation(0x200, AgentFixture.Secret(1)));
    }

    /// <summary>A HAR with keys for the node and the agents unless told otherwise.</summary>
    public DiameterMessage Har(RegistrationRequest request, IEnumerable<VpnProfile> profiles, bool nodeKeys = true, bool agentKeys = true, string nai = AgentFixture.Alice, string session = Session, KeyMaterial? kek = null, IPAddress? home = null)
    {
        kek ??= AaaFixture.Kek("ha", "aaah");
        var har = DiameterDictionary.Default.Request(DiameterCommands.HomeAgentMip)
            .Add(AvpKeys.SessionId, $"aaah.home.example;9;{++_dialogue}")
            .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.AuthorizationLifetime, 3600)
            .Add(AvpKeys.AuthSessionState, 0)
            .Add(AvpKeys.MipRegRequest, request.ToArray())
            .Add(AvpKeys.OriginHost, AaaFixture.Identity("aaah"))
            .Add(AvpKeys.OriginRealm, "home.example")
            .Add(AvpKeys.UserName, nai)
            .Add(AvpKeys.DestinationRealm, "home.example")
            .Add(AvpKeys.DestinationHost, AaaFixture.Identity("ha"))
            .Add(AvpKeys.MipFeatureVector, 0)
            .Add(AvpKeys.AcctMultiSessionId, session)
            .Add(AvpKeys.MipHomeAgentAddress, AgentFixture.Ha);
        if ((home ?? request.HomeAddress) is var address && !address.Equals(IPAddress.Any))
        {
            har.Add(AvpKeys.MipMobileNodeAddress, address);
        }

        if (nodeKeys)
        {
            har.Add(Msa.Write(AvpKeys.MipHaToMnMsa, new MobilityMsa(0x702, NodeKey, default), kek))
                .Add(Msa.Write(AvpKeys.MipMnToHaMsa, new MobilityMsa(0x701, null, AgentFixture.Secret(9).Octets.ToArray()), null))
                .Add(Msa.Write(AvpKeys.MipMnToFaMsa, new MobilityMsa(0x704, null, AgentFixture.Secret(8).Octets.ToArray()), null));
        }

        if (agentKeys)
        {
            har.Add(Msa.Write(AvpKeys.MipHaToFaMsa, new MobilityMsa(0x902, AgentsKey, default), kek));
        }

        return har.Add(AvpKeys.MipMsaLifetime, 3600).Add(Profiles.WriteAll([.. profiles], kek)).Build();
    }

    /// <summary>Sends a HAR; null while the answer is still out.</summary>
    public DiameterMessage? Exchange(DiameterMessage har, double seconds = 0.1)
    {
        var before = Aaa.Answers.Count;
        Net.Input("aaah", new SendRequest(har));
        Net.Run(TimeSpan.FromSeconds(seconds));
        return Aaa.Answers.Count > before ? Aaa.Answers[^1] : null;
    }

    public DiameterMessage Accepted(RegistrationRequest request, params VpnProfile[] profiles)
    {
        var haa = Exchange(Har(request, profiles));
        Assert.Equal(DiameterResult.Success, haa?.ResultCode);
        return haa!;
    }

    public static RegistrationReply Reply(DiameterMessage haa)
    {
        Assert.True(haa.Avps.TryGetOctets(AvpKeys.MipRegReply, out var octets));
        Assert.True(MobileIpMessage.TryParse(octets.Span, out RegistrationReply? reply, out var error), error.ToString());
        return reply;
    }

    /// <summary>The agents' association as the foreign agent holds it; the home agent's SPI stands in the HAA.</summary>
    public static MobilityAssociation AgentsSide(DiameterMessage haa)
    {
        Assert.True(haa.Avps.TryGetUnsigned32(AvpKeys.MipFaToHaSpi, out var spi));
        return new MobilityAssociation(spi, 0x902, AuthenticationAlgorithm.HmacSha256, AgentsKey);
    }

    public void FromAgent(RegistrationRequest request, MobilityAssociation association, string agent = "fa1", IPAddress? source = null) =>
        Send(agent, source ?? Net[agent].Prefixes[0].BaseAddress, request.Sign(AuthenticationKind.ForeignHome, association).ToArray());

    public void Send(string node, IPAddress source, byte[] octets)
    {
        Net.Forge(node, new SendDatagram(new IPEndPoint(source, 434), new IPEndPoint(AgentFixture.Ha, 434), octets));
        Net.Run(TimeSpan.FromMilliseconds(100));
    }

    public BindingUpdate Update() => Gateway.Last<BindingUpdate>();

    public void Acknowledge(BindingUpdate update, BindingStatus status = BindingStatus.Accepted, BindingAssociation? association = null) => Send("pcn", AgentFixture.Pcn, (association ?? Contract).Sign(new BindingAcknowledgement
    {
        Status = status,
        Lifetime = update.Lifetime,
        HomeAddress = update.HomeAddress,
        CareOfAddress = update.CareOfAddress,
        Supplier = update.Supplier,
        Identification = update.Identification,
    }).ToArray());

    /// <summary>Refused inside a 4005 with this code and a reason; counted, reported with its rule; nothing stands.</summary>
    public void AssertRefused(DiameterMessage? haa, RegistrationReplyCode code, string counter, string because)
    {
        Assert.NotNull(haa);
        Assert.Equal(DiameterResult.MipReplyFailure, haa.ResultCode);
        Assert.Equal(code, Reply(haa).Code);
        Assert.True(haa.Avps.TryGetText(VpnAvpKeys.Default.VpnRefusalReason, out var reason));
        Assert.Contains(because, reason, StringComparison.Ordinal);
        Assert.Contains(because, Reply(haa).Extensions.RefusalReason(ProjectExtensions.DefaultEnterprise), StringComparison.Ordinal);
        Assert.True(Node.Counters.GetValueOrDefault(counter) > 0, $"{counter} was not counted; {string.Join(", ", Node.Counters.Keys)}");
        Assert.Contains(Node.Events, e => e is { Kind: "registration.refused", Rule.Length: > 0 } && e.Text.Contains(because, StringComparison.Ordinal));
    }

    public void AssertNothingStands()
    {
        Assert.Empty(Engine.Bindings);
        Assert.Empty(Engine.Vpn.Sessions);
        Assert.Empty(Node.UserPaths);
        Assert.Empty(Node.Attracted);
        Assert.Empty(Node.State);
    }
}
