using System.Net;
using Sojourn.Engine;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.MobileIpv4.Agents;

namespace Sojourn.Roles.Configuration;

public sealed class ForeignAgentSection : OptionSection
{
    [Option("Care-of address announced to visitors; also this gateway's tunnel end.", Required = true, Example = "10.0.1.2")]
    public IPAddress CareOfAddress { get; set; } = null!;

    [Option("Links on which visitors are served.", Required = true, Unique = nameof(AccessLinkOptions.Interface))]
    public List<AccessLinkOptions> Access { get; set; } = [];

    [Option("Longest registration lifetime granted and announced.", Minimum = "10s", Maximum = "65534s")]
    public TimeSpan RegistrationLifetime { get; set; } = TimeSpan.FromMinutes(10);

    [Option("How long the reply to the mobile node waits for the old agent's acknowledgement (spec R38).", Minimum = "0s", Maximum = "5s")]
    public TimeSpan OldAgentWait { get; set; } = TimeSpan.FromMilliseconds(500);

    [Option("How long the tunnel to the new agent stands after a hand-off (spec R27).", Minimum = "1s", Maximum = "10m")]
    public TimeSpan HandoffTunnelTime { get; set; } = TimeSpan.FromSeconds(10);

    [Option("Foreign agents of the same operator and the secret shared with each, for hand-offs of users without individual keys (spec M8).", Unique = nameof(AgentSecretOptions.Agent))]
    public List<AgentSecretOptions> Neighbours { get; set; } = [];

    [Option("Most registrations awaiting an answer at one time; more are refused with code 66 (insufficient resources).", Minimum = "1", Maximum = "1000000")]
    public int MaximumPending { get; set; } = 1024;

    [Option("Most visitors at one time.", Minimum = "1", Maximum = "1000000")]
    public int MaximumVisitors { get; set; } = 10000;

    [Option("Send accounting records of what visitors' paths carry to their home AAA servers (RFC 4004).")]
    public bool Accounting { get; set; } = true;
}

public sealed class AccessLinkOptions : OptionSection
{
    [Option("Interface of the link.", Required = true, Syntax = TextSyntax.Interface, Example = "acc0")]
    public string Interface { get; set; } = "";

    [Option("This agent's address on the link.", Required = true, Example = "10.1.0.1")]
    public IPAddress Address { get; set; } = null!;

    [Option("Prefix length of the link.", Minimum = "1", Maximum = "32")]
    public int PrefixLength { get; set; } = 24;

    [Option("Time between agent advertisements.", Minimum = "100ms", Maximum = "30m")]
    public TimeSpan AdvertisementInterval { get; set; } = TimeSpan.FromSeconds(1);
}

public sealed class AgentSecretOptions : OptionSection
{
    [Option("Address of the other agent.", Required = true, Example = "10.0.1.3")]
    public IPAddress Agent { get; set; } = null!;

    [Option("SPI that names the secret.", Required = true, Minimum = "0x100", Maximum = "0xffffffff", Example = "0x400")]
    public SpiValue Spi { get; set; }

    [Option("Shared secret of 32 or more octets.", Required = true, File = FileUse.Secret, Example = "keys/fa1-fa2")]
    public FileReference KeyFile { get; set; } = null!;
}

public sealed class HomeAgentSection : OptionSection
{
    [Option("Address of the home agent; also this gateway's tunnel end.", Required = true, Example = "10.0.3.2")]
    public IPAddress Address { get; set; } = null!;

    [Option("Prefix of the home addresses.", Required = true, Example = "10.99.0.0/24")]
    public IPNetwork HomeNetwork { get; set; }

    [Option("Interface on the home link, where this agent answers ARP for absent nodes.", Syntax = TextSyntax.Interface, Example = "home0", Otherwise = "the home network exists only as a route")]
    public string? HomeInterface { get; set; }

    [Option("Destinations that users reach only through a path: without one their packets are dropped and counted.", Reload = true, Example = "192.168.50.0/24")]
    public List<IPNetwork> ProtectedDestinations { get; set; } = [];

    [Option("Addresses given to nodes that ask for one.", Example = "10.99.0.100-10.99.0.199", Otherwise = "none are given")]
    public AddressRange? AddressPool { get; set; }

    [Option("Longest registration lifetime granted.", Minimum = "10s", Maximum = "65534s")]
    public TimeSpan MaximumLifetime { get; set; } = TimeSpan.FromMinutes(30);

    [Option("What happens when a dynamic gateway does not take a profile: refuse the registration, or go on without that profile, whose traffic is then blocked (spec R38).")]
    public UnansweredUpdatePolicy UnansweredUpdate { get; set; }

    [Option("Whether a packet the mobile node sends first distributes a profile that waits for its first packet too; without it only the correspondent's does, and the node's are held and then dropped (spec NV8.3).", Reload = true)]
    public bool TriggerFromMobileNode { get; set; }

    [Option("Whether foreign agents are told of registrations that have ended there, because the node has moved or an operator ended its session (RFC 3543).")]
    public bool Revocation { get; set; } = true;

    [Option("Whether the reply to a node that moved carries its profiles for the new foreign agent, sealed with the agents' key, beside those its AAA server gives it (spec R15): for visited networks whose AAA server keeps none.")]
    public bool ProfilesInReply { get; set; }

    [Option("How long the former agent's inbound half lives after a move (spec R31).", Minimum = "1s", Maximum = "10m")]
    public TimeSpan HandoffTunnelTime { get; set; } = TimeSpan.FromSeconds(10);

    [Option("How far a registration's timestamp may be off this node's clock (RFC 5944 5.7.1).", Minimum = "1s", Maximum = "5m")]
    public TimeSpan TimestampTolerance { get; set; } = TimeSpan.FromSeconds(7);

    [Option("Dynamic gateways this agent may send binding updates to, and the secret shared with each (spec M9).", Unique = nameof(BindingContractOptions.Gateway))]
    public List<BindingContractOptions> BindingContracts { get; set; } = [];

    [Option("Most bindings at one time.", Minimum = "1", Maximum = "10000000")]
    public int MaximumBindings { get; set; } = 100000;

    [Option("Send accounting records of what passes by this agent to the AAA server (RFC 4004); a check on the foreign agents' figures.")]
    public bool Accounting { get; set; } = true;
}

public sealed class BindingContractOptions : OptionSection
{
    [Option("Address of the gateway.", Required = true, Example = "10.0.4.2")]
    public IPAddress Gateway { get; set; } = null!;

    [Option("SPI that names the secret.", Required = true, Minimum = "0x100", Maximum = "0xffffffff", Example = "0x300")]
    public SpiValue Spi { get; set; }

    [Option("Shared secret of 32 or more octets.", Required = true, File = FileUse.Secret, Example = "keys/ha-pcn")]
    public FileReference KeyFile { get; set; } = null!;
}

public sealed class GatewaySection : OptionSection
{
    [Option("Dynamic: takes VPN settings by binding updates. Static: only the standing tunnels of this file.", Required = true)]
    public GatewayType Type { get; set; }

    [Option("Address of the gateway on the core side; its tunnel end.", Required = true, Example = "10.0.4.2")]
    public IPAddress Address { get; set; } = null!;

    [Option("Prefixes of the hosts behind this gateway.", Required = true, Example = "192.168.60.0/24")]
    public List<IPNetwork> Serves { get; set; } = [];

    [Option("Home agents whose binding updates are taken (dynamic gateways only; spec M9).", Reload = true, Unique = nameof(GatewayContractOptions.HomeAgent))]
    public List<GatewayContractOptions> Contracts { get; set; } = [];

    [Option("Destinations that hosts here reach only through a path: without one their packets are dropped and counted.", Reload = true, Example = "10.99.0.0/24")]
    public List<IPNetwork> ProtectedDestinations { get; set; } = [];

    [Option("How long the inbound half of a replaced path lives (spec R31).", Minimum = "1s", Maximum = "10m")]
    public TimeSpan HandoffTunnelTime { get; set; } = TimeSpan.FromSeconds(10);

    [Option("Longest binding lifetime granted; a longer wish is cut to it.", Reload = true, Minimum = "10s", Maximum = "65534s")]
    public TimeSpan MaximumLifetime { get; set; } = TimeSpan.FromMinutes(30);

    [Option("Most binding updates per second from one home agent; more are answered with status 140.", Reload = true, Minimum = "1", Maximum = "100000")]
    public int Rate { get; set; } = 200;

    [Option("Share of the binding lifetime left when a binding request is sent, percent (spec R36).", Minimum = "1", Maximum = "90")]
    public int RefreshThreshold { get; set; } = 20;

    [Option("How far a binding update's timestamp may be off this node's clock.", Minimum = "1s", Maximum = "5m")]
    public TimeSpan TimestampTolerance { get; set; } = TimeSpan.FromSeconds(7);
}

public sealed class GatewayContractOptions : OptionSection
{
    [Option("Address of the home agent.", Required = true, Example = "10.0.3.2")]
    public IPAddress HomeAgent { get; set; } = null!;

    [Option("Home addresses it may speak for.", Required = true, Example = "10.99.0.0/24")]
    public List<IPNetwork> HomePrefixes { get; set; } = [];

    [Option("SPI that names the secret.", Required = true, Minimum = "0x100", Maximum = "0xffffffff", Example = "0x300")]
    public SpiValue Spi { get; set; }

    [Option("Shared secret of 32 or more octets.", Required = true, File = FileUse.Secret, Example = "keys/ha-pcn")]
    public FileReference KeyFile { get; set; } = null!;
}

public sealed class AaaSection : OptionSection
{
    [Option("Home: holds the subscriptions. Visited: relays, and serves moves inside its domain from its cache.", Required = true)]
    public AaaSide Serves { get; set; }

    [Option("Subscriber database (home only), filled with `sojourn user|profile|gateway|partner`. Changes count at once.", File = FileUse.Read, Example = "subscribers.db", Otherwise = "required when serving the home side")]
    public FileReference? Database { get; set; }

    [Option("File of the key that seals the subscriber database.", File = FileUse.Private, Otherwise = "the database's name with `.seal-key` added")]
    public FileReference? DatabaseKeyFile { get; set; }

    [Option("Home agents of the realm (home only); the first is the default.", Unique = nameof(AaaHomeAgentOptions.Identity))]
    public List<AaaHomeAgentOptions> HomeAgents { get; set; } = [];

    [Option("Foreign agents of this domain and the care-of addresses each may ask for (visited only).", Unique = nameof(AaaForeignAgentOptions.Identity))]
    public List<AaaForeignAgentOptions> ForeignAgents { get; set; } = [];

    [Option("Serve moves inside the domain from the cache (visited only; spec NV2.3).")]
    public bool AnswerMovesFromCache { get; set; } = true;

    [Option("SPIs given to users' associations (home only); blocks of 256 are reserved per profile (spec M4, M13).")]
    public SpiRange SpiRange { get; set; } = new(0x10000000, 0x1fffffff);

    [Option("What happens to a profile whose correspondents are in no row of the gateway table (spec R23).")]
    public UnlistedCorrespondents UnlistedCorrespondents { get; set; } = UnlistedCorrespondents.Accept;

    [Option("How long an authorization holds before the user must be authenticated at home again.", Minimum = "1m", Maximum = "7d")]
    public TimeSpan AuthorizationLifetime { get; set; } = TimeSpan.FromHours(1);

    [Option("Time between interim accounting records asked of the agents (home only); 0s = none, only at the beginning and the end.", Minimum = "0s", Maximum = "1d")]
    public TimeSpan AccountingInterval { get; set; } = TimeSpan.FromMinutes(10);

    [Option("How long accounting records are kept after the last one of their session came (home only); 0s = for ever. Take them out before (`sojourn usage`).", Minimum = "0s", Maximum = "36500d", Reload = true)]
    public TimeSpan UsageRetention { get; set; } = TimeSpan.FromDays(400);

    [Option("Whether a session is told when its user's VPN data change (home only): the foreign agent is asked (RAR) to have the node register again, and what changed counts at once. Without it a change waits for a service update or the next login (spec NV7, S116).", Reload = true)]
    public bool AnnounceChanges { get; set; }

    [Option("DSCP of QoS classes 0 to 5 (RFC 2474, RFC 2597, RFC 3246).", Minimum = "0", Maximum = "63")]
    public List<int> ClassDscp { get; set; } = [0, 10, 18, 26, 34, 46];
}

public enum AaaSide : byte
{
    Visited,
    Home,
}

public sealed class AaaHomeAgentOptions : OptionSection
{
    [Option("Diameter identity of the home agent.", Required = true, Syntax = TextSyntax.Fqdn, Example = "ha.home.example")]
    public string Identity { get; set; } = "";

    [Option("Its address.", Required = true, Example = "10.0.3.2")]
    public IPAddress Address { get; set; } = null!;

    [Option("Prefix of its home addresses.", Required = true, Example = "10.99.0.0/24")]
    public IPNetwork Network { get; set; }
}

public sealed class AaaForeignAgentOptions : OptionSection
{
    [Option("Diameter identity of the foreign agent.", Required = true, Syntax = TextSyntax.Fqdn, Example = "fa1.visited.example")]
    public string Identity { get; set; } = "";

    [Option("Care-of addresses it may ask for.", Required = true, Example = "10.0.1.2")]
    public List<IPAddress> CareOfAddresses { get; set; } = [];
}

public sealed class MobileNodeSection : OptionSection
{
    [Option("Interface that moves between access links.", Required = true, Syntax = TextSyntax.Interface, Example = "eth0")]
    public string Interface { get; set; } = "";

    [Option("The user.", Required = true, Syntax = TextSyntax.Nai, Example = "alice@home.example")]
    public string Nai { get; set; } = "";

    [Option("Secret shared with the home AAA server (RFC 4721).", Required = true)]
    public MnAaaOptions MnAaa { get; set; } = new();

    [Option("Fixed home address.", Example = "10.99.0.10", Otherwise = "asked for at registration")]
    public IPAddress? HomeAddress { get; set; }

    [Option("Home agent.", Example = "10.0.3.2", Otherwise = "asked for at registration")]
    public IPAddress? HomeAgent { get; set; }

    [Option("Lifetime asked for.", Minimum = "10s", Maximum = "65534s")]
    public TimeSpan Lifetime { get; set; } = TimeSpan.FromMinutes(10);

    [Option("Wait for the first answer before the request is sent again; doubles every time (RFC 5944 3.6.3).", Minimum = "1s", Maximum = "32s")]
    public TimeSpan FirstRetransmission { get; set; } = TimeSpan.FromSeconds(1);
}

public sealed class MnAaaOptions : OptionSection
{
    [Option("SPI of the secret.", Required = true, Minimum = "0x100", Maximum = "0xffffffff", Example = "0x200")]
    public SpiValue Spi { get; set; }

    [Option("Shared secret of 16 or more octets.", Required = true, File = FileUse.Secret, Example = "keys/alice")]
    public FileReference KeyFile { get; set; } = null!;
}
