using System.Net;
using System.Security.Cryptography;
using System.Text;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.Accounting;
using Sojourn.Engine.Diameter;
using Sojourn.Engine.Gateway;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Engine.MobileIpv4.Agents;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.VirtualInternet.Net;

/// <summary>A user: fixed or assigned home address, and his VPNs.</summary>
internal sealed record User(string Name, IPAddress? HomeAddress, IReadOnlyList<VpnInstance> Vpns)
{
    public string Nai => $"{Name}@home.example";
}

/// <summary>
/// The network of spec network-vpn figure 1: fa1, fa2 and aaaf of visited.example; fa3 and aaaf2 of abroad.example; aaah and
/// ha of home.example; the company behind the static gateway sgw, the partner behind the dynamic gateway pcn; one mobile node per user.
/// </summary>
internal sealed class World
{
    public static readonly IPNetwork HomeNetwork = IPNetwork.Parse("10.99.0.0/24");
    public static readonly IPNetwork Company = IPNetwork.Parse("192.168.50.0/24");
    public static readonly IPNetwork Partner = IPNetwork.Parse("192.168.60.0/24");
    public static readonly IPAddress Web = IPAddress.Parse("203.0.113.9");

    private const string Access = "access0";
    private const string Roaming = "wlan0";
    private const string Intruder = "mallory";
    private const uint ContractSpi = 0x400;

    private static readonly Dictionary<string, (string Realm, IPAddress Address)> Hosts = new()
    {
        ["fa1"] = ("visited.example", IPAddress.Parse("10.0.1.2")),
        ["fa2"] = ("visited.example", IPAddress.Parse("10.0.1.3")),
        ["fa3"] = ("abroad.example", IPAddress.Parse("10.0.7.2")),
        ["aaaf2"] = ("abroad.example", IPAddress.Parse("10.0.8.2")),
        ["aaaf"] = ("visited.example", IPAddress.Parse("10.0.2.2")),
        ["aaah"] = ("home.example", IPAddress.Parse("10.0.9.2")),
        ["ha"] = ("home.example", IPAddress.Parse("10.0.3.2")),
        ["pcn"] = ("", IPAddress.Parse("10.0.4.2")),
        ["sgw"] = ("", IPAddress.Parse("10.0.5.2")),
    };

    /// <summary>Foreign agents; the last one is of another domain than the others.</summary>
    public static readonly IReadOnlyList<string> Agents = ["fa1", "fa2", "fa3"];

    private static readonly string[] DiameterHosts = [.. Agents, "aaaf", "aaaf2", "aaah", "ha"];
    private static readonly VpnProfileAvps Encoding = new(DiameterDictionary.Default);
    private readonly Directory _directory;

    public World(int seed, IReadOnlyList<User> users, WorldOptions? options = null, bool trace = false)
    {
        Users = users;
        Options = options ?? new WorldOptions();
        _directory = new Directory(users);
        Network = new VirtualNetwork(seed, trace) { HomeNetwork = HomeNetwork, OpenCorrespondent = Web };
        Network.Add(new VirtualNode("aaah", Identity("aaah"), [Address("aaah")], NewAaah));
        Network.Add(new VirtualNode("aaaf", Identity("aaaf"), [Address("aaaf")], random => NewAaaf("aaaf", ["fa1", "fa2"], random)));
        Network.Add(new VirtualNode("aaaf2", Identity("aaaf2"), [Address("aaaf2")], random => NewAaaf("aaaf2", ["fa3"], random)));
        Network.Add(new VirtualNode("ha", Identity("ha"), [Address("ha")], NewHomeAgent));
        Network.Add(new VirtualNode("sgw", null, [Address("sgw")], _ => NewStaticGateway()) { Behind = [Company] });
        Network.Add(new VirtualNode("pcn", null, [Address("pcn")], NewDynamicGateway) { Behind = [Partner], Intercepts = true });
        foreach (var (name, index) in Agents.Select((agent, i) => (agent, i + 1)))
        {
            Network.Add(new VirtualNode(name, Identity(name), [Address(name), Router(index)], random => NewForeignAgent(name, index, random))
            {
                AccessInterface = Access,
                LinkAddress = new LinkAddress([2, 0, 0, 0, 1, (byte)index]),
            });
        }

        foreach (var (user, index) in users.Select((u, i) => (u, i)))
        {
            Network.Add(new VirtualNode(user.Name, null, [], random => NewMobileNode(user, random))
            {
                RoamingInterface = Roaming,
                LinkAddress = new LinkAddress([2, 0, 0, 0, 2, (byte)index]),
            });
            if (user.HomeAddress is { } home)
            {
                Protect(user, home);
            }
        }

        // An assigned home address becomes known with the first registration.
        Network.Ledger.OnEvent = (node, what) =>
        {
            if (what is { Nai: { } nai, HomeAddress: { } home } && !home.Equals(IPAddress.Any) && Users.FirstOrDefault(u => u.Nai == nai) is { } user)
            {
                Protect(user, home);
            }

            if (node.Engine is MobileNode mobile && what.Kind == "registration.accepted")
            {
                if (node.IsIntruder)
                {
                    throw Network.Violation($"{node} believes that it is registered, without the user's key");
                }

                AssertKept(node, mobile);
            }
        };
    }

    public IReadOnlyList<User> Users { get; }

    public WorldOptions Options { get; }

    public VirtualNetwork Network { get; }

    public HomeAgent HomeAgent => (HomeAgent)Network["ha"].Engine!;

    public HomeAaaServer Aaah => (HomeAaaServer)Network["aaah"].Engine!;

    public VisitedAaaServer Aaaf => (VisitedAaaServer)Network["aaaf"].Engine!;

    public VisitedAaaServer Aaaf2 => (VisitedAaaServer)Network["aaaf2"].Engine!;

    public CorrespondentGateway Pcn => (CorrespondentGateway)Network["pcn"].Engine!;

    public ForeignAgent ForeignAgent(string name) => (ForeignAgent)Network[name].Engine!;

    public MobileNode Mobile(User user) => (MobileNode)Network[user.Name].Engine!;

    public static IPAddress Address(string name) => Hosts[name].Address;

    /// <summary>A host among the correspondents of a profile.</summary>
    public static IPAddress CorrespondentOf(VpnInstance vpn)
    {
        var octets = vpn.Destination.BaseAddress.GetAddressBytes();
        octets[3] += vpn.Destination.PrefixLength == 32 ? (byte)0 : (byte)5;
        return new IPAddress(octets);
    }

    /// <summary>Profiles whose gateway hears of them with the first packet only: until then what comes from there to the home network is protected as a whole.</summary>
    private IEnumerable<VpnInstance> Undistributed => Users.SelectMany(u => u.Vpns).Where(v => IsDynamic(v) && v.Trigger == ProfileTrigger.FirstPacket);

    public static bool IsDynamic(VpnInstance vpn) => Partner.Contains(vpn.Destination.BaseAddress);

    /// <summary>Starts everything but the mobile nodes and lets the Diameter peers find each other.</summary>
    public void StartInfrastructure()
    {
        foreach (var node in Network.Nodes.Where(n => n.RoamingInterface is null))
        {
            Network.Start(node);
        }

        Network.Run(4);
    }

    public void StartMobile(User user, string agent)
    {
        Network[user.Name].AttachedTo = Network[agent];
        Network.Start(Network[user.Name]);
    }

    /// <summary>Somebody without the key of <paramref name="victim"/> who registers in his name, at an agent and from then on.</summary>
    /// <param name="key">What he signs with; null for a guess.</param>
    public void StartIntruder(User victim, string agent, KeyMaterial? key = null)
    {
        var node = new VirtualNode(Intruder, null, [], random => NewMobileNode(victim, random, key ?? Secret("a guess")))
        {
            RoamingInterface = Roaming,
            LinkAddress = new LinkAddress([2, 0, 0, 0, 3, 0]),
            IsIntruder = true,
        };
        Network.Add(node);
        node.AttachedTo = Network[agent];
        Network.Start(node);
    }

    /// <summary>What a user shares with his home AAA server.</summary>
    public static KeyMaterial KeyOf(User user) => Secret($"mn-aaa {user.Nai}");

    private void Protect(User user, IPAddress home)
    {
        foreach (var vpn in user.Vpns.Where(v => v.SecurityType != SecurityType.EncapsulationOnly))
        {
            Network.Ledger.Protect(home, vpn.Destination);
        }
    }

    /// <summary>Nothing acknowledged is lost: who accepted has written it down before the node hears of it.</summary>
    private void AssertKept(VirtualNode node, MobileNode mobile)
    {
        if (mobile.Registration is not { } registration)
        {
            return;
        }

        var nai = Users.First(u => u.Name == node.Name).Nai;
        if (!Network["ha"].State.ContainsKey(new StateKey("binding", registration.HomeAddress.ToString())))
        {
            throw Network.Violation($"{node} is told that it is registered, and the home agent has not saved its binding");
        }

        if (!Network["aaah"].State.Keys.Any(k => k.Table == "aaah.session" && k.Key.EndsWith($";{nai}", StringComparison.Ordinal)))
        {
            throw Network.Violation($"{node} is told that it is registered, and the home AAA server has not saved its session");
        }
    }

    private static string Identity(string name) => $"{name}.{Hosts[name].Realm}";

    private static IPAddress Router(int index) => new([10, 1, (byte)index, 1]);

    private static KeyMaterial Secret(string label) => new(SHA256.HashData(System.Text.Encoding.ASCII.GetBytes(label)));

    private static KeyMaterial Between(string label, string one, string other) =>
        Secret(string.CompareOrdinal(one, other) < 0 ? $"{label} {one} {other}" : $"{label} {other} {one}");

    private static Dictionary<string, KeyMaterial> KeyWrap(string name, params string[] others) => others.ToDictionary(Identity, o => Between("wrap", name, o));

    private static DiameterNodeOptions Diameter(string name, params string[] dials) => new()
    {
        Identity = Identity(name),
        Realm = Hosts[name].Realm,
        Addresses = [Address(name)],
        IsAgent = name.StartsWith("aaa", StringComparison.Ordinal),
        ReconnectMaximum = TimeSpan.FromSeconds(4),
        Peers = [.. DiameterHosts.Where(h => h != name).Select(h => new DiameterPeerOptions(
            Identity(h), Hosts[h].Realm, dials.Contains(h) ? new IPEndPoint(Address(h), 5658) : null))],
        Routes = name switch
        {
            "aaah" => [new DiameterRoute("visited.example", [Identity("aaaf")]), new DiameterRoute("abroad.example", [Identity("aaaf2")])],
            "fa1" or "fa2" => [new DiameterRoute("*", [Identity("aaaf")])],
            "fa3" => [new DiameterRoute("*", [Identity("aaaf2")])],
            _ => [],
        },
    };

    /// <summary>Preset associations of a gateway with a peer, one for ESP and one for AH (vpnshare 0).</summary>
    private static IEnumerable<PresetAssociation> Presets(string local, params string[] peers)
    {
        foreach (var peer in peers)
        {
            foreach (var (type, algorithm) in new[] { (SecurityType.Esp, IpsecAlgorithm.Aes128CbcHmacSha256), (SecurityType.Ah, IpsecAlgorithm.HmacSha256) })
            {
                yield return new PresetAssociation(
                    $"{peer}-{type}", Address(local), Address(peer), type, algorithm, Spi(local, peer, type), Spi(peer, local, type),
                    Keys(algorithm, $"{local}>{peer} {type}"), Keys(algorithm, $"{peer}>{local} {type}"));
            }
        }
    }

    private static uint Spi(string sender, string receiver, SecurityType type) =>
        0x10000 + ((uint)Address(sender).GetAddressBytes()[2] << 12) + ((uint)Address(receiver).GetAddressBytes()[2] << 8) + ((uint)Address(sender).GetAddressBytes()[3] << 4) + (uint)type;

    private static AssociationKeys Keys(IpsecAlgorithm algorithm, string label) => new(
        new KeyMaterial(Secret($"encryption {label}").Octets[..algorithm.EncryptionKeyLength()]),
        new KeyMaterial(Secret($"authentication {label}").Octets[..algorithm.AuthenticationKeyLength()]));

    /// <summary>The contract of a user-specific static profile, as both sides have typed it in.</summary>
    public static VpnInstance WithContract(VpnInstance vpn)
    {
        var algorithm = vpn.SecurityType == SecurityType.Ah ? IpsecAlgorithm.HmacSha256 : IpsecAlgorithm.Aes256CbcHmacSha256;
        return vpn with
        {
            UpSpi = ContractSpi + (2 * vpn.ProfileNumber),
            DownSpi = ContractSpi + (2 * vpn.ProfileNumber) + 1,
            ContractAlgorithm = algorithm,
            ContractKeys = new ProfileKeying.Contract(Keys(algorithm, $"contract {vpn.ProfileNumber} up"), Keys(algorithm, $"contract {vpn.ProfileNumber} down")),
        };
    }

    private HomeAaaServer NewAaah(IRandomSource random) => new(
        new HomeAaaOptions
        {
            HomeAgents = [new HomeAgentEntry(Identity("ha"), "home.example", Address("ha"), [HomeNetwork])],
            KeyWrap = KeyWrap("aaah", "ha", "aaaf", "aaaf2"),
            AuthorizationLifetime = Options.Authorization,
            AccountingInterval = TimeSpan.FromSeconds(25),
        },
        Diameter("aaah"), _directory, random, Network.Usage);

    private static VisitedAaaServer NewAaaf(string name, string[] agents, IRandomSource random) => new(
        new VisitedAaaOptions
        {
            ForeignAgents = [.. agents.Select(agent => new ForeignAgentEntry(Identity(agent), [Address(agent)]))],
            KeyWrap = KeyWrap(name, ["aaah", .. agents]),
        },
        Diameter(name, "aaah"), random);

    private ForeignAgent NewForeignAgent(string name, int index, IRandomSource random) => new(
        new ForeignAgentOptions
        {
            CareOfAddress = Address(name),
            Access = [new AccessLink(Access, Router(index), 24) { AdvertisementInterval = TimeSpan.FromSeconds(2) }],
            Vpn = new VpnControlOptions { Role = GatewayRole.ForeignAgent, Gateways = [Address(name)], Presets = [.. Presets(name, "ha", "pcn")] },
            RegistrationLifetime = Options.Lifetime,
            KeyWrap = KeyWrap(name, ServerOf(name)),
            Neighbours = Agents.Where(other => other != name).ToDictionary(Address, other => new BindingAssociation(AuthenticationKind.ForeignForeign, 0x600, Between("bu", name, other))),
            Accounting = Options.Accounting,
        },
        Diameter(name, ServerOf(name)), random);

    private static string ServerOf(string agent) => agent == "fa3" ? "aaaf2" : "aaaf";

    private HomeAgent NewHomeAgent(IRandomSource random) => new(
        new HomeAgentOptions
        {
            Address = Address("ha"),
            HomeNetwork = HomeNetwork,
            Pool = (IPAddress.Parse("10.99.0.200"), IPAddress.Parse("10.99.0.220")),
            RegistrationLifetime = Options.Lifetime,
            KeyWrap = KeyWrap("ha", "aaah"),
            Accounting = Options.Accounting,
            Vpn = new VpnControlOptions
            {
                Role = GatewayRole.HomeAgent,
                Gateways = [Address("ha")],
                Presets = [.. Presets("ha", [.. Agents, "sgw", "pcn"])],
                StandingTunnels = [.. Undistributed.Select(v => new StandingTunnel($"first{v.ProfileNumber}", "pcn-Esp", Address("ha"), Address("pcn"), HomeNetwork, v.Destination))],
                ProtectedDestinations = [Company, Partner, HomeNetwork],
            },
            BindingContracts = new Dictionary<IPAddress, BindingAssociation> { [Address("pcn")] = new(AuthenticationKind.HomeCorrespondent, 0x501, Secret("bu ha pcn")) },
        },
        Diameter("ha", "aaah"), random);

    private CorrespondentGateway NewDynamicGateway(IRandomSource random) => new(
        new CorrespondentGatewayOptions
        {
            Gateway = Address("pcn"),
            Correspondents = [Partner],
            Contracts = [new HomeAgentContract("home", Address("ha"), [HomeNetwork], 0x501, Secret("bu ha pcn"))],
            Presets = [.. Presets("pcn", [.. Agents, "ha"])],
            StandingTunnels = [.. Undistributed.Select(v => new StandingTunnel($"first{v.ProfileNumber}", "ha-Esp", Address("pcn"), Address("ha"), v.Destination, HomeNetwork))],
            ProtectedDestinations = [HomeNetwork],
        },
        Encoding, random);

    private StaticGateway NewStaticGateway()
    {
        var tunnels = new List<StandingTunnel>();
        foreach (var user in Users)
        {
            foreach (var vpn in user.Vpns.Where(v => !IsDynamic(v)))
            {
                var users = user.HomeAddress is { } home ? new IPNetwork(home, 32) : HomeNetwork;
                var preset = vpn.SecurityType == SecurityType.EncapsulationOnly ? null : $"ha-{vpn.SecurityType}";
                var contract = vpn is { UserSpecific: true, ContractKeys: { } keys }
                    ? new ContractTunnel(vpn.SecurityType, vpn.ContractAlgorithm!.Value, vpn.DownSpi!.Value, vpn.UpSpi!.Value, keys.Down, keys.Up)
                    : null;
                tunnels.Add(new StandingTunnel($"vpn{vpn.ProfileNumber}", contract is null ? preset : null, Address("sgw"), Address("ha"), vpn.Destination, users) { Contract = contract });
            }
        }

        return new StaticGateway(new StaticGatewayOptions
        {
            Gateway = Address("sgw"),
            Presets = [.. Presets("sgw", "ha")],
            Tunnels = tunnels,
            ProtectedDestinations = [HomeNetwork],
        });
    }

    private static MobileNode NewMobileNode(User user, IRandomSource random, KeyMaterial? key = null) => new(
        new MobileNodeOptions
        {
            Interface = Roaming,
            Nai = user.Nai,
            MnAaaSpi = 0x200,
            MnAaaKey = key ?? KeyOf(user),
            HomeAddress = user.HomeAddress,
            HomeAgent = user.HomeAddress is null ? null : Address("ha"),
            LongestPause = TimeSpan.FromSeconds(8),
            LongestRetransmission = TimeSpan.FromSeconds(8),
            LongestSolicitation = TimeSpan.FromSeconds(8),
        },
        random);

    private sealed class Directory(IReadOnlyList<User> users) : ISubscriberDirectory
    {
        public IReadOnlyList<CorrespondentGatewayRow> CorrespondentGateways { get; } =
            [new(Company, Address("sgw"), GatewayType.Static, "company"), new(Partner, Address("pcn"), GatewayType.Dynamic, "partner")];

        public IReadOnlyCollection<string> RoamingPartners { get; } = ["visited.example", "abroad.example"];

        public long Version => 1;

        public (long Position, IReadOnlyList<string> Users) VpnChanges(long? since) => (0, []);

        public Subscriber? FindSubscriber(string nai) => users.FirstOrDefault(u => u.Nai == nai) is { } user
            ? new Subscriber(nai, 0x200, KeyOf(user), user.HomeAddress, null, true)
            : null;

        public IReadOnlyList<VpnInstance> FindVpns(string nai) => [.. users.First(u => u.Nai == nai).Vpns.Where(v => v.Enabled)];
    }
}

/// <summary>What differs between worlds besides their users.</summary>
internal sealed record WorldOptions
{
    /// <summary>Registration lifetime granted.</summary>
    public TimeSpan Lifetime { get; init; } = TimeSpan.FromSeconds(40);

    /// <summary>How long the AAAH authorizes; registrations within need no AAA server.</summary>
    public TimeSpan Authorization { get; init; } = TimeSpan.FromSeconds(110);

    /// <summary>Null = the agents do not account.</summary>
    public AccountingOptions? Accounting { get; init; }
}
