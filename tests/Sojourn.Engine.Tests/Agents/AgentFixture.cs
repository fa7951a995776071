using System.Net;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.Gateway;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Engine.MobileIpv4.Agents;
using Sojourn.Engine.Tests.Aaa;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;
using Xunit;
using SeededRandom = Sojourn.Engine.Tests.Gateway.SeededRandom;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>
/// The whole signalling plane with its real engines: Alice and Bob, fa1 and fa2 (visited.example), fa3 (other.example),
/// both AAAFs, the AAAH and the home agent, two dynamic gateways, and a static one that hears nothing.
/// </summary>
internal sealed class AgentFixture
{
    public const string AccessInterface = "acc0";
    public const string MobileInterface = "wlan0";
    public const string Alice = "alice@home.example";
    public const string Bob = "bob@home.example";

    public static readonly LinkAddress AgentLink = new([2, 0, 0, 0, 0, 0xFA]);
    public static readonly IPAddress AliceHome = IPAddress.Parse("10.99.0.10");
    public static readonly IPAddress BobHome = IPAddress.Parse("10.99.0.11");
    public static readonly IPAddress Fa1 = AaaFixture.Address("fa1");
    public static readonly IPAddress Fa2 = AaaFixture.Address("fa2");
    public static readonly IPAddress Fa3 = AaaFixture.Address("fa3");
    public static readonly IPAddress Ha = AaaFixture.HomeAgentAddress;
    public static readonly IPAddress Sgw = AaaFixture.Sgw;
    public static readonly IPAddress Pcn = AaaFixture.Pcn;
    public static readonly IPAddress Pcn2 = IPAddress.Parse("10.0.4.3");
    public static readonly IPAddress CompanyHost = IPAddress.Parse("192.168.50.7");
    public static readonly IPAddress PartnerHost = IPAddress.Parse("192.168.60.5");
    public static readonly IPAddress OtherPartnerHost = IPAddress.Parse("192.168.70.5");

    private static readonly string[] Started = ["aaah", "aaaf", "aaaf2", "ha", "fa1", "fa2", "fa3", "pcn", "pcn2", "sgw"];
    private static readonly IPNetwork Homes = IPNetwork.Parse("10.99.0.0/24");

    private readonly Func<HomeAgentOptions, HomeAgentOptions> _homeAgent;
    private readonly Func<ForeignAgentOptions, ForeignAgentOptions> _foreignAgent;
    private readonly Func<MobileNodeOptions, MobileNodeOptions> _mobileNode;
    private readonly Func<CorrespondentGatewayOptions, CorrespondentGatewayOptions> _gateway;
    private readonly HomeAaaOptions _homeAaa;
    private int _seed;

    public AgentFixture(
        Func<HomeAgentOptions, HomeAgentOptions>? homeAgent = null, Func<ForeignAgentOptions, ForeignAgentOptions>? foreignAgent = null,
        Func<MobileNodeOptions, MobileNodeOptions>? mobileNode = null, HomeAaaOptions? homeAaa = null, int seed = 1,
        Func<CorrespondentGatewayOptions, CorrespondentGatewayOptions>? gateway = null)
    {
        _homeAgent = homeAgent ?? (o => o);
        _foreignAgent = foreignAgent ?? (o => o);
        _mobileNode = mobileNode ?? (o => o);
        _gateway = gateway ?? (o => o);
        _seed = seed * 1000;
        Directory.Subscribers[Alice] = new Subscriber(Alice, 0x200, AliceKey, AliceHome, null, true);
        Directory.Subscribers[Bob] = new Subscriber(Bob, 0x201, BobKey, BobHome, null, true);
        Directory.Partners.AddRange(["visited.example", "other.example"]);
        Directory.Rows.Add(new CorrespondentGatewayRow(IPNetwork.Parse("192.168.50.0/24"), Sgw, GatewayType.Static, "company"));
        Directory.Rows.Add(new CorrespondentGatewayRow(IPNetwork.Parse("192.168.60.0/24"), Pcn, GatewayType.Dynamic, "partner"));
        Directory.Rows.Add(new CorrespondentGatewayRow(IPNetwork.Parse("192.168.70.0/24"), Pcn2, GatewayType.Dynamic, "other partner"));
        _homeAaa = (homeAaa ?? new HomeAaaOptions { HomeAgents = [] }) with
        {
            HomeAgents = [new HomeAgentEntry(AaaFixture.Identity("ha"), "home.example", Ha, [Homes])],
            KeyWrap = KeyWrap("aaah"),
        };

        AddServer("aaah", new SilentHost());
        Net["aaah"].Engine = new HomeAaaServer(_homeAaa, AaaFixture.Node("aaah"), Directory, Random(), Net["aaah"].Ledger);
        AddServer("aaaf", NewVisited("aaaf", "fa1", "fa2"));
        AddServer("aaaf2", NewVisited("aaaf2", "fa3"));
        AddServer("ha", NewHomeAgent());
        foreach (var name in new[] { "fa1", "fa2", "fa3" })
        {
            AddServer(name, NewForeignAgent(name));
        }

        Net.Add("pcn", NewGateway(Pcn, "192.168.60.0/24"), Pcn, null, IPNetwork.Parse("192.168.60.0/24"));
        Net.Add("pcn2", NewGateway(Pcn2, "192.168.70.0/24"), Pcn2, null, IPNetwork.Parse("192.168.70.0/24"));
        Net.Add("sgw", Company, Sgw, null, IPNetwork.Parse("192.168.50.0/24"));
        AddMobileNode("alice", Alice, 0x200, AliceKey, AliceHome, 0x0A);
        AddMobileNode("bob", Bob, 0x201, BobKey, BobHome, 0x0B);
        Net.Start(Started);
        Net.Arrows.Clear();
    }

    public AgentNetwork Net { get; } = new();

    public HomeAaaOptions HomeAaaOptions => _homeAaa;

    public TestDirectory Directory { get; } = new();

    public SilentHost Company { get; } = new();

    public KeyMaterial AliceKey { get; } = Secret(1);

    public KeyMaterial BobKey { get; } = Secret(2);

    public ForeignAgent ForeignAgent(string name) => (ForeignAgent)Net[name].Engine;

    public HomeAgent HomeAgent => (HomeAgent)Net["ha"].Engine;

    public HomeAaaServer HomeAaa => (HomeAaaServer)Net["aaah"].Engine;

    public VisitedAaaServer VisitedAaa => (VisitedAaaServer)Net["aaaf"].Engine;

    public MobileNode MobileNode(string name = "alice") => (MobileNode)Net[name].Engine;

    public static KeyMaterial Secret(int seed) => new([.. Enumerable.Range(0, 32).Select(i => (byte)((seed * 37) + (i * 11)))]);

    public static KeyMaterial ContractSecret(IPAddress gateway) => Secret(gateway.GetAddressBytes()[3]);

    public static Dictionary<string, KeyMaterial> KeyWrap(string name) =>
        new[] { "fa1", "fa2", "fa3", "aaaf", "aaaf2", "aaah", "ha" }.Where(h => h != name).ToDictionary(AaaFixture.Identity, h => AaaFixture.Kek(name, h));

    public SeededRandom Random() => new(++_seed);

    public static ForeignAgentOptions DefaultForeignAgent(string name)
    {
        var address = AaaFixture.Address(name);
        return new ForeignAgentOptions
        {
            CareOfAddress = address,
            Access = [new AccessLink(AccessInterface, IPAddress.Parse($"10.1.{name[^1]}.1"), 24)],
            Vpn = new VpnControlOptions { Role = GatewayRole.ForeignAgent, Gateways = [address], Presets = [PresetOf(address, Ha)] },
            KeyWrap = KeyWrap(name),
        };
    }

    public static HomeAgentOptions DefaultHomeAgent() => new()
    {
        Address = Ha,
        HomeNetwork = Homes,
        HomeInterface = "home0",
        Vpn = new VpnControlOptions
        {
            Role = GatewayRole.HomeAgent,
            Gateways = [Ha],
            Presets = [PresetOf(Ha, Fa1), PresetOf(Ha, Fa2), PresetOf(Ha, Fa3), PresetOf(Ha, Sgw)],
            ProtectedDestinations = [IPNetwork.Parse("192.168.50.0/24")],
        },
        KeyWrap = KeyWrap("ha"),
        BindingContracts = new[] { Pcn, Pcn2 }.ToDictionary(g => g, g => new BindingAssociation(AuthenticationKind.HomeCorrespondent, 500, ContractSecret(g))),
    };

    /// <summary>The association preset between two gateways, as the first of them holds it.</summary>
    public static PresetAssociation PresetOf(IPAddress local, IPAddress peer)
    {
        return new PresetAssociation($"to {peer}", local, peer, SecurityType.Esp, IpsecAlgorithm.Aes128CbcHmacSha256, Spi(local, peer), Spi(peer, local), Keys(local, peer), Keys(peer, local));

        static uint Spi(IPAddress from, IPAddress to) => 0x3000u + ((uint)from.GetAddressBytes()[2] << 8) + ((uint)from.GetAddressBytes()[3] << 4) + to.GetAddressBytes()[2] + to.GetAddressBytes()[3];

        static AssociationKeys Keys(IPAddress from, IPAddress to)
        {
            var octets = System.Security.Cryptography.SHA512.HashData([.. from.GetAddressBytes(), .. to.GetAddressBytes()]);
            return new AssociationKeys(new KeyMaterial(octets.AsSpan(0, 16)), new KeyMaterial(octets.AsSpan(16, 32)));
        }
    }

    public HomeAgent NewHomeAgent() => new(_homeAgent(DefaultHomeAgent()), AaaFixture.Node("ha", "aaah"), Random());

    public ForeignAgent NewForeignAgent(string name) =>
        new(_foreignAgent(DefaultForeignAgent(name)), AaaFixture.Node(name, name == "fa3" ? "aaaf2" : "aaaf"), Random());

    public VisitedAaaServer NewVisited(string name, params string[] agents) => new(
        new VisitedAaaOptions { ForeignAgents = [.. agents.Select(a => new ForeignAgentEntry(AaaFixture.Identity(a), [AaaFixture.Address(a)]))], KeyWrap = KeyWrap(name) },
        AaaFixture.Node(name, "aaah"), Random());

    public CorrespondentGateway NewGateway(IPAddress address, string serves) => new(
        _gateway(new CorrespondentGatewayOptions
        {
            Gateway = address,
            Correspondents = [IPNetwork.Parse(serves)],
            Contracts = [new HomeAgentContract("home", Ha, [Homes], 500, ContractSecret(address))],
        }),
        new VpnProfileAvps(DiameterDictionary.Default), Random());

    /// <summary>A user's VPN to the company: standing SGW tunnel, static (NV1).</summary>
    public AgentFixture WithCompany(string nai = Alice, bool userSpecific = true, SecurityType security = SecurityType.Esp, IpsecAlgorithm algorithm = IpsecAlgorithm.Aes128Gcm16, uint number = 1)
    {
        var keys = new AssociationKeys(new KeyMaterial(Enumerable.Repeat((byte)0xC1, 16).ToArray()), new KeyMaterial(Enumerable.Repeat((byte)0xC2, 32).ToArray()));
        var contract = userSpecific && security == SecurityType.Esp;
        Directory.Vpns.Add(new VpnInstance
        {
            ProfileNumber = number,
            Nai = nai,
            UserSpecific = userSpecific,
            Destination = IPNetwork.Parse("192.168.50.0/24"),
            UpClass = 5,
            DownClass = 1,
            SecurityType = security,
            Algorithm = algorithm,
            UpSpi = contract ? 0x2001 : null,
            DownSpi = contract ? 0x2002 : null,
            ContractAlgorithm = contract ? IpsecAlgorithm.Aes128CbcHmacSha256 : null,
            ContractKeys = contract ? new ProfileKeying.Contract(keys, keys) : null,
        });
        Directory.Version++;
        return this;
    }

    /// <summary>A user's VPN to a partner behind a dynamic gateway (NV4).</summary>
    public AgentFixture WithPartner(
        string correspondents = "192.168.60.5/32", string nai = Alice, uint number = 2, ProfileTrigger trigger = ProfileTrigger.Registration, RoutePreference route = RoutePreference.Direct,
        SecurityType security = SecurityType.Esp, bool userSpecific = true)
    {
        Directory.Vpns.Add(new VpnInstance
        {
            ProfileNumber = number,
            Nai = nai,
            UserSpecific = userSpecific,
            Destination = IPNetwork.Parse(correspondents),
            Trigger = trigger,
            Route = route,
            SecurityType = security,
        });
        Directory.Version++;
        return this;
    }

    /// <summary>Attaches the node and lets it register.</summary>
    public AgentFixture Register(string agent = "fa1", string node = "alice", double seconds = 5)
    {
        Net.Arrows.Clear();
        if (MobileNode(node).State is MobileNodeState.Stopped)
        {
            Net[node].Agent = agent;
            Net.Input(node, new EngineStarted([]));
        }
        else
        {
            Net.Attach(node, agent);
        }

        Net.Run(TimeSpan.FromSeconds(seconds));
        return this;
    }

    public void AssertRegistered(string agent, string node = "alice")
    {
        var state = Assert.IsType<MobileNodeState.Registered>(MobileNode(node).State);
        Assert.Equal(IPAddress.Parse($"10.1.{agent[^1]}.1"), state.Agent);
    }

    /// <summary>The two ends of a leg hold the same pair of associations and mirrored selectors (S233).</summary>
    public (VpnPath Here, VpnPath There) AssertLeg(string here, string there, uint profile, IPAddress home)
    {
        var left = Assert.Single(Net[here].Sending, p => IsLeg(p, there));
        var right = Assert.Single(Net[there].Sending, p => IsLeg(p, here));
        Assert.Equal((left.Source, left.Destination, left.LocalGateway, left.RemoteGateway), (right.Destination, right.Source, right.RemoteGateway, right.LocalGateway));
        Assert.Equal(left.SecurityType, right.SecurityType);
        AssertSame(left.Outbound, right.Inbound);
        AssertSame(left.Inbound, right.Outbound);
        return (left, right);

        bool IsLeg(VpnPath p, string other) => p.Origin.ProfileNumber == profile && home.Equals(p.Origin.HomeAddress) && Net[other].Prefixes[0].BaseAddress.Equals(p.RemoteGateway);

        static void AssertSame(SaParameters? one, SaParameters? other)
        {
            Assert.Equal((one?.Spi, one?.Source, one?.Destination, one?.Algorithm), (other?.Spi, other?.Source, other?.Destination, other?.Algorithm));
            Assert.Equal(one?.Keys, other?.Keys);
        }
    }

    /// <summary>Nothing of any user is left anywhere (NV9.8).</summary>
    public void AssertEmpty()
    {
        foreach (var node in Net.Nodes.Where(n => !n.IsDown))
        {
            Assert.True(!node.UserPaths.Any(), $"{node.Name} still has {string.Join(", ", node.UserPaths.Select(p => p.Id))}");
            Assert.Empty(node.Visitors);
            Assert.Empty(node.Attracted);
            Assert.DoesNotContain(node.State.Keys, k => k.Table.EndsWith("binding", StringComparison.Ordinal));
        }

        Assert.Empty(HomeAgent.Bindings);
        Assert.Empty(HomeAgent.Vpn.Sessions);
        Assert.Empty(HomeAaa.Sessions);
        Assert.Empty(VisitedAaa.Sessions);
        foreach (var name in new[] { "fa1", "fa2", "fa3" })
        {
            Assert.Empty(ForeignAgent(name).Visitors);
            Assert.Empty(ForeignAgent(name).Vpn.Sessions);
        }
    }

    /// <summary>What must hold at the end of every exchange.</summary>
    public void AssertSound() => Assert.Empty(Net.Violations);

    public IEnumerable<EngineEvent> Refusals(string node) => Net[node].Events.Where(e => e.Kind == "registration.refused");

    private void AddServer(string name, IEngine engine) => Net.Add(name, engine, AaaFixture.Address(name), new IPEndPoint(AaaFixture.Address(name), 5658));

    private void AddMobileNode(string name, string nai, uint spi, KeyMaterial key, IPAddress home, byte link)
    {
        var options = new MobileNodeOptions { Interface = MobileInterface, Nai = nai, MnAaaSpi = spi, MnAaaKey = key, HomeAddress = home, HomeAgent = Ha, Lifetime = 600 };
        Net.Add(name, new MobileNode(_mobileNode(options), Random()), null).Link = new LinkAddress([2, 0, 0, 0, 0, link]);
    }
}
