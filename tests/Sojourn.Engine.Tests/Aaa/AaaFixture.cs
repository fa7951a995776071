using System.Net;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.Diameter;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;
using Xunit;

namespace Sojourn.Engine.Tests.Aaa;

/// <summary>fa1 and fa2 of visited.example, fa3 of other.example, their AAAFs, the AAAH and the home agent of home.example.</summary>
internal sealed class AaaFixture
{
    public const string Alice = "alice@home.example";
    public static readonly IPAddress HomeAddress = IPAddress.Parse("10.99.0.10");
    public static readonly IPAddress HomeAgentAddress = IPAddress.Parse("10.0.3.2");
    public static readonly IPAddress Sgw = IPAddress.Parse("10.0.5.2");
    public static readonly IPAddress Pcn = IPAddress.Parse("10.0.4.2");
    public static readonly VpnAvpKeys Keys = VpnAvpKeys.Default;
    public static readonly VpnProfileAvps ProfileAvps = new(DiameterDictionary.Default);
    public static readonly MobilityMsaAvps MsaAvps = new(DiameterDictionary.Default);

    private static readonly Dictionary<string, (string Realm, string Address)> Hosts = new()
    {
        ["fa1"] = ("visited.example", "10.0.1.2"),
        ["fa2"] = ("visited.example", "10.0.1.3"),
        ["aaaf"] = ("visited.example", "10.0.2.2"),
        ["fa3"] = ("other.example", "10.0.7.2"),
        ["aaaf2"] = ("other.example", "10.0.8.2"),
        ["aaah"] = ("home.example", "10.0.9.2"),
        ["ha"] = ("home.example", "10.0.3.2"),
    };

    private readonly Dictionary<string, IPAddress> _bindings = [];
    private readonly Dictionary<string, string?> _known = [];
    private ulong _identification = 0xEEA0_0000_0000_0000;
    private int _sessions;

    public AaaFixture(HomeAaaOptions? home = null, VisitedAaaOptions? visited = null)
    {
        VisitedOptions = (visited ?? new VisitedAaaOptions { ForeignAgents = [] }) with { ForeignAgents = [Agent("fa1"), Agent("fa2")], KeyWrap = KeyWrap("aaaf") };
        HomeOptions = (home ?? new HomeAaaOptions { HomeAgents = [] }) with
        {
            HomeAgents = [new HomeAgentEntry(Identity("ha"), "home.example", HomeAgentAddress, [IPNetwork.Parse("10.99.0.0/24")])],
            KeyWrap = KeyWrap("aaah"),
        };
        Directory = new TestDirectory();
        Directory.Subscribers[Alice] = new Subscriber(Alice, 0x200, MnAaaKey, HomeAddress, null, true);
        Directory.Partners.AddRange(["visited.example", "other.example"]);
        Directory.Rows.Add(new CorrespondentGatewayRow(IPNetwork.Parse("192.168.50.0/24"), Sgw, GatewayType.Static, "company"));
        Directory.Rows.Add(new CorrespondentGatewayRow(IPNetwork.Parse("192.168.60.0/24"), Pcn, GatewayType.Dynamic, "partner"));

        Fa1 = new ScriptedAgent(Node("fa1", "aaaf"), SystemRandomSource.Instance);
        Fa2 = new ScriptedAgent(Node("fa2", "aaaf"), SystemRandomSource.Instance);
        Fa3 = new ScriptedAgent(Node("fa3", "aaaf2"), SystemRandomSource.Instance);
        HomeAgent = new ScriptedAgent(Node("ha", "aaah"), SystemRandomSource.Instance) { Script = AcceptRegistration };
        Visited = NewVisited("aaaf", VisitedOptions);
        Visited2 = NewVisited("aaaf2", VisitedOptions with { ForeignAgents = [Agent("fa3")], KeyWrap = KeyWrap("aaaf2") });
        Home = NewHome();
        foreach (var (name, engine) in new (string, DiameterApplication)[] { ("aaah", Home), ("aaaf", Visited), ("aaaf2", Visited2), ("ha", HomeAgent), ("fa1", Fa1), ("fa2", Fa2), ("fa3", Fa3) })
        {
            Net.Add(name, engine, new IPEndPoint(Address(name), 5658));
        }

        Net.Start("aaah", "aaaf", "aaaf2", "ha", "fa1", "fa2", "fa3");
    }

    public AaaNetwork Net { get; } = new();

    public HomeAaaOptions HomeOptions { get; }

    public VisitedAaaOptions VisitedOptions { get; }

    public TestDirectory Directory { get; }

    public KeyMaterial MnAaaKey { get; } = new(Enumerable.Range(1, 32).Select(i => (byte)i).ToArray());

    public ScriptedAgent Fa1 { get; }

    public ScriptedAgent Fa2 { get; }

    public ScriptedAgent Fa3 { get; }

    public ScriptedAgent HomeAgent { get; }

    public VisitedAaaServer Visited { get; private set; }

    public VisitedAaaServer Visited2 { get; }

    public HomeAaaServer Home { get; private set; }

    /// <summary>Address the home agent gives to who asks for one.</summary>
    public IPAddress Pool { get; set; } = IPAddress.Parse("10.99.0.200");

    public static IPAddress Address(string name) => IPAddress.Parse(Hosts[name].Address);

    public static string Identity(string name) => $"{name}.{Hosts[name].Realm}";

    /// <summary>Wrapping key of two nodes: the same whoever asks.</summary>
    public static KeyMaterial Kek(string left, string right) => new(System.Security.Cryptography.SHA256.HashData(
        System.Text.Encoding.ASCII.GetBytes(string.CompareOrdinal(left, right) < 0 ? left + right : right + left)));

    private static Dictionary<string, KeyMaterial> KeyWrap(string name) => Hosts.Keys.Where(h => h != name).ToDictionary(Identity, h => Kek(name, h));

    private static ForeignAgentEntry Agent(string name) => new(Identity(name), [Address(name)]);

    public static DiameterNodeOptions Node(string name, params string[] dials)
    {
        var peers = Hosts.Keys.Where(h => h != name).Select(h => new DiameterPeerOptions(
            Identity(h), Hosts[h].Realm, dials.Contains(h) ? new IPEndPoint(Address(h), 5658) : null));
        return new DiameterNodeOptions
        {
            Identity = Identity(name),
            Realm = Hosts[name].Realm,
            Addresses = [Address(name)],
            IsAgent = name.StartsWith("aaa", StringComparison.Ordinal),
            Peers = [.. peers],
            Routes = name switch
            {
                "aaah" => [new DiameterRoute("visited.example", [Identity("aaaf")]), new DiameterRoute("other.example", [Identity("aaaf2")])],
                "fa1" or "fa2" => [new DiameterRoute("*", [Identity("aaaf")])],
                "fa3" => [new DiameterRoute("*", [Identity("aaaf2")])],
                _ => [],
            },
        };
    }

    public HomeAaaServer NewHome() => Home = new HomeAaaServer(HomeOptions, Node("aaah"), Directory, SystemRandomSource.Instance);

    public VisitedAaaServer NewVisited(string name, VisitedAaaOptions options) => new(options, Node(name, "aaah"), SystemRandomSource.Instance);

    public void RestartVisited(bool diskLost = false)
    {
        Net.Crash("aaaf");
        if (diskLost)
        {
            Net.Wipe("aaaf");
        }

        Visited = NewVisited("aaaf", VisitedOptions);
        Net.Replace("aaaf", Visited);
    }

    /// <summary>Instances of Alice; the contract of number 2 has keys for the company's gateway.</summary>
    public VpnInstance Static(bool userSpecific = true)
    {
        var keys = new AssociationKeys(new KeyMaterial(Enumerable.Repeat((byte)0xC1, 16).ToArray()), new KeyMaterial(Enumerable.Repeat((byte)0xC2, 32).ToArray()));
        return new VpnInstance
        {
            ProfileNumber = 1,
            Nai = Alice,
            UserSpecific = userSpecific,
            Destination = IPNetwork.Parse("192.168.50.0/24"),
            UpClass = 5,
            DownClass = 1,
            UpSpi = 0x2001,
            DownSpi = 0x2002,
            ContractAlgorithm = IpsecAlgorithm.Aes128CbcHmacSha256,
            ContractKeys = new ProfileKeying.Contract(keys, keys),
        };
    }

    public static VpnInstance Dynamic(uint number = 2, string correspondents = "192.168.60.0/24", bool userSpecific = true) => new()
    {
        ProfileNumber = number,
        Nai = Alice,
        UserSpecific = userSpecific,
        Destination = IPNetwork.Parse(correspondents),
    };

    /// <summary>The home agent accepts, remembers the care-of address and names the one before.</summary>
    public DiameterMessage? AcceptRegistration(DiameterMessage request, Func<uint, DiameterMessageBuilder> answer)
    {
        if (request.CommandCode != DiameterCommands.HomeAgentMip.Code)
        {
            return answer(DiameterResult.Success).Build();
        }

        var registration = Registration(request);
        request.Avps.TryGetText(AvpKeys.AcctMultiSessionId, out var session);
        var home = request.Avps.TryGetAddress(AvpKeys.MipMobileNodeAddress, out var known) ? known : Pool;
        var reply = new RegistrationReply
        {
            Code = RegistrationReplyCode.Accepted,
            Lifetime = registration.Lifetime,
            HomeAddress = home,
            HomeAgent = HomeAgentAddress,
            Identification = registration.Identification,
        };
        var haa = answer(DiameterResult.Success)
            .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.AcctMultiSessionId, session!)
            .Add(AvpKeys.MipRegReply, reply.ToArray())
            .Add(AvpKeys.MipHomeAgentAddress, HomeAgentAddress)
            .Add(AvpKeys.MipMobileNodeAddress, home)
            .Add(AvpKeys.MipFaToHaSpi, 0x5001);
        if (_bindings.TryGetValue(session!, out var before) && !before.Equals(registration.CareOfAddress))
        {
            haa.Add(Keys.PreviousFaAddress, before);
        }

        _bindings[session!] = registration.CareOfAddress;
        return haa.Build();
    }

    public static RegistrationRequest Registration(DiameterMessage message)
    {
        message.Avps.TryGetOctets(AvpKeys.MipRegRequest, out var octets);
        return MobileIpMessage.TryParse<RegistrationRequest>(octets.Span, out var registration, out _) ? registration : throw new InvalidOperationException();
    }

    /// <summary>A request as the node makes it, a new Identification each.</summary>
    public RegistrationRequest Request(string agent, ushort lifetime = 600, string nai = Alice, IPAddress? home = null, bool keys = false, bool challenge = true, ulong? identification = null)
    {
        var request = new RegistrationRequest
        {
            Flags = RegistrationFlags.ReverseTunnel,
            Lifetime = lifetime,
            HomeAddress = home ?? HomeAddress,
            HomeAgent = HomeAgentAddress,
            CareOfAddress = Address(agent),
            Identification = identification ?? (_identification += 1UL << 32),
        }.With(new NaiExtension(nai));
        if (keys)
        {
            request = request.With(new KeyGenerationNonceRequestExtension(NoncePeer.ForeignAgent, 0x701)).With(new KeyGenerationNonceRequestExtension(NoncePeer.HomeAgent, 0x702));
        }

        return challenge ? request.With(new ChallengeExtension(new byte[] { 1, 2, 3, 4 })) : request;
    }

    /// <summary>The AMR of a foreign agent for a request, which is signed here.</summary>
    public DiameterMessage Amr(
        string agent, RegistrationRequest request, IPAddress? previous = null, bool update = false, uint features = 0, string? session = null,
        KeyMaterial? key = null, uint spi = 0x200, string? sessionId = null, string nai = Alice)
    {
        var signed = request.Sign(AuthenticationKind.MobileAaa, new MobilityAssociation(spi, key ?? MnAaaKey));
        MnAaaAuthentication.TryLocate(signed, out var location);
        var amr = DiameterDictionary.Default.Request(DiameterCommands.AaMobileNode)
            .Add(AvpKeys.SessionId, sessionId ?? $"{Identity(agent)};1;{++_sessions}")
            .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.UserName, nai)
            .Add(AvpKeys.DestinationRealm, "home.example")
            .Add(AvpKeys.OriginHost, Identity(agent))
            .Add(AvpKeys.OriginRealm, Hosts[agent].Realm)
            .Add(AvpKeys.MipRegRequest, signed.ToArray())
            .AddGroup(AvpKeys.MipMnAaaAuth, g => g
                .Add(AvpKeys.MipMnAaaSpi, location!.Spi)
                .Add(AvpKeys.MipAuthInputDataLength, location.InputDataLength)
                .Add(AvpKeys.MipAuthenticatorLength, location.AuthenticatorLength)
                .Add(AvpKeys.MipAuthenticatorOffset, location.AuthenticatorOffset))
            .Add(AvpKeys.MipFeatureVector, features)
            .Add(AvpKeys.AuthorizationLifetime, 1800);
        if (location!.Challenge is { } challenge)
        {
            amr.Add(AvpKeys.MipFaChallenge, challenge.Span);
        }

        if (!signed.HomeAddress.Equals(IPAddress.Any))
        {
            amr.Add(AvpKeys.MipMobileNodeAddress, signed.HomeAddress);
        }

        if (previous is not null)
        {
            amr.Add(Keys.PreviousFaAddress, previous);
        }

        if (update)
        {
            amr.Add(Keys.ServiceUpdateRequest, 1);
        }

        if ((features & 64) != 0)
        {
            amr.Add(AvpKeys.MipHaToFaSpi, 0x6001);
        }

        if (session is not null)
        {
            amr.Add(AvpKeys.AcctMultiSessionId, session);
        }

        return amr.Build();
    }

    public DiameterMessage Str(string agent, string sessionId, TerminationCause cause, string? session = null)
    {
        var str = DiameterDictionary.Default.Request(DiameterCommands.SessionTermination with { ApplicationId = DiameterApplications.MobileIpv4 })
            .Add(AvpKeys.SessionId, sessionId)
            .Add(AvpKeys.OriginHost, Identity(agent))
            .Add(AvpKeys.OriginRealm, Hosts[agent].Realm)
            .Add(AvpKeys.DestinationRealm, "home.example")
            .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.TerminationCause, (int)cause);
        return (session is null ? str : str.Add(AvpKeys.AcctMultiSessionId, session)).Build();
    }

    /// <summary>Sends and gives the answer the agent got; the arrows start anew.</summary>
    public DiameterMessage Exchange(string agent, DiameterMessage request, TimeSpan? wait = null)
    {
        Net.Arrows.Clear();
        var sender = agent switch
        {
            "fa1" => Fa1,
            "fa2" => Fa2,
            "fa3" => Fa3,
            _ => HomeAgent,
        };
        var before = sender.Answers.Count;
        Net.Input(agent, new SendRequest(request));
        Net.Run(wait ?? TimeSpan.FromMilliseconds(10));
        return sender.Answers.Count == before + 1 ? sender.Answers[^1] : throw new InvalidOperationException($"{sender.Answers.Count - before} answers; {string.Join(", ", sender.Failures)}");
    }

    /// <summary>A registration by an agent that knows the mobility session from its last one.</summary>
    public DiameterMessage Register(string agent, IPAddress? previous = null, bool update = false)
    {
        var ama = Exchange(agent, Amr(agent, Request(agent), previous, update, session: previous is null ? _known.GetValueOrDefault(agent) : null));
        _known[agent] = ama.Avps.TryGetText(AvpKeys.AcctMultiSessionId, out var session) ? session : null;
        return ama;
    }

    /// <summary>Profiles of a message as its receiver reads them.</summary>
    public static IReadOnlyList<VpnProfile> Profiles(DiameterMessage message, KeyMaterial kek) =>
        ProfileAvps.TryReadAll(message.Avps, kek, out var profiles, out var refusal) ? profiles : throw new InvalidOperationException(refusal.ToString());

    /// <summary>The answer refuses, says why, brings no profile, and the reason was reported with the rule that decided.</summary>
    public void AssertRefused(DiameterMessage answer, uint result, string because)
    {
        Assert.Equal(result, answer.ResultCode);
        Assert.True(answer.Avps.TryGetText(Keys.VpnRefusalReason, out var reason));
        Assert.Contains(because, reason, StringComparison.Ordinal);
        Assert.False(answer.Avps.Contains(Keys.VpnProfile));
        Assert.Contains(Net.Events, e => e.Event is { Kind: "registration.refused", Rule: not null } && reason == $"{e.Event.Text} ({e.Event.Rule})");
    }

    public static string Ends(VpnProfile profile) => $"{profile.ProfileNumber}:{profile.SourceGateway}>{profile.DestinationGateway}";
}

internal sealed class TestDirectory : ISubscriberDirectory
{
    public Dictionary<string, Subscriber> Subscribers { get; } = [];

    public List<VpnInstance> Vpns { get; } = [];

    public List<CorrespondentGatewayRow> Rows { get; } = [];

    public List<string> Partners { get; } = [];

    /// <summary>Searches of the VPN database (S105).</summary>
    public int Searches { get; private set; }

    public long Version { get; set; } = 1;

    public IReadOnlyList<CorrespondentGatewayRow> CorrespondentGateways => Rows;

    public IReadOnlyCollection<string> RoamingPartners => Partners;

    /// <summary>Users whose instances were changed, in order.</summary>
    public List<string> Changed { get; } = [];

    public (long Position, IReadOnlyList<string> Users) VpnChanges(long? since) => (Changed.Count, since is { } seen ? [.. Changed.Skip((int)seen)] : []);

    public Subscriber? FindSubscriber(string nai) => Subscribers.GetValueOrDefault(nai);

    public IReadOnlyList<VpnInstance> FindVpns(string nai)
    {
        Searches++;
        return [.. Vpns.Where(v => v.Nai == nai && v.Enabled)];
    }
}
