using System.Net;

namespace Sojourn.Roles.Configuration;

/// <summary>One node: the whole configuration file.</summary>
public sealed class NodeOptions : OptionSection
{
    /// <summary>The file this was read from.</summary>
    public string File { get; set; } = "";

    /// <summary>This node's own tunnel end; null at nodes that are no gateway.</summary>
    public IPAddress? GatewayAddress => ForeignAgent?.CareOfAddress ?? HomeAgent?.Address ?? Gateway?.Address;

    public string SocketPath => Control.Socket?.FullPath ?? Path.Combine(StateDirectory.FullPath, "control.sock");

    public string DatabasePath => Path.Combine(StateDirectory.FullPath, "node.db");

    /// <summary>Whether an association is one of a terminal with an anchor point.</summary>
    public bool IsOfAnchorPoint(AssociationOptions association) => Terminal?.AnchorPoints?.Anchors.Exists(a => a.Names.Contains(association.Name)) == true;

    [Option("Name of the node, shown everywhere and used to find its control socket.", Required = true, Syntax = TextSyntax.Name, Example = "node1")]
    public string Node { get; set; } = "";

    [Option("What the node is. Decides which sections below may and must be present.", Required = true)]
    public NodeRole Role { get; set; }

    [Option("IANA enterprise number under which the VPN attributes travel; the same at every node (docs/wire-extensions.md).", Minimum = "1", Maximum = "16777215")]
    public uint EnterpriseNumber { get; set; } = 32473;

    [Option("Directory of the sealed state (node.db) that restores bindings and paths after a restart.", File = FileUse.Written)]
    public FileReference StateDirectory { get; set; } = new("state", "");

    [Option("File of the 32-octet key that seals the state; made on first start.", File = FileUse.Written, Otherwise = "`node.db.seal-key` in the state directory")]
    public FileReference? SealKeyFile { get; set; }

    [Option("Control socket and metrics.")]
    public ControlOptions Control { get; set; } = new();

    [Option("Logging.", Reload = true)]
    public LogOptions Log { get; set; } = new();

    [Option("Writes keys where Wireshark finds them. For laboratories: whoever reads the file reads the traffic. Shown in status and logged.", Reload = true, Otherwise = "no key leaves the node")]
    public KeyExportOptions? KeyExport { get; set; }

    [Option("Diameter (RFC 6733, Mobile IPv4 application RFC 4004).")]
    public DiameterOptions? Diameter { get; set; }

    [Option("Keys that wrap keys inside Diameter messages (RFC 5649), one per Diameter identity that keys are exchanged with. A relay in between never sees a key.", Unique = nameof(KeyWrapOptions.Peer))]
    public List<KeyWrapOptions> KeyWrap { get; set; } = [];

    [Option("Preset (\"default SPI\") associations with other gateways, with typed-in keys; at role correspondent, with home addresses (ESP in transport mode); at role anchor-point, with regional addresses; at role home-agent6, AH with home addresses.", Reload = true, Unique = nameof(AssociationOptions.Name))]
    public List<AssociationOptions> Associations { get; set; } = [];

    [Option("Associations with other gateways that IKEv2 keys (RFC 7296): whatever may use a preset association may use one of these.", Unique = nameof(KeyExchangeOptions.Name))]
    public List<KeyExchangeOptions> KeyExchange { get; set; } = [];

    [Option("Paths that stand without any login (spec NV1.2).", Reload = true, Unique = nameof(StandingTunnelOptions.Name))]
    public List<StandingTunnelOptions> StandingTunnels { get; set; } = [];

    [Option("Packet path of a gateway.")]
    public PacketPathSection PacketPath { get; set; } = new();

    [Option("Section of role foreign-agent.")]
    public ForeignAgentSection? ForeignAgent { get; set; }

    [Option("Section of role home-agent.")]
    public HomeAgentSection? HomeAgent { get; set; }

    [Option("Section of role gateway.")]
    public GatewaySection? Gateway { get; set; }

    [Option("Section of role aaa.")]
    public AaaSection? Aaa { get; set; }

    [Option("Web server of a home AAA server: the page on which subscribers see and change their own profiles.", Otherwise = "no web server")]
    public ConsoleSection? Console { get; set; }

    [Option("Section of role mobile-node.")]
    public MobileNodeSection? MobileNode { get; set; }

    [Option("Section of role ca.")]
    public CaSection? Ca { get; set; }

    [Option("Section of role delegating-router.")]
    public DelegatingRouterSection? DelegatingRouter { get; set; }

    [Option("Section of role relay-agent.")]
    public RelayAgentSection? RelayAgent { get; set; }

    [Option("Section of role access-server.")]
    public AccessServerSection? AccessServer { get; set; }

    [Option("Section of role access-gateway.")]
    public AccessGatewaySection? AccessGateway { get; set; }

    [Option("Section of role access-router.")]
    public AccessRouterSection? AccessRouter { get; set; }

    [Option("Section of role access-authenticator.")]
    public AccessAuthenticatorSection? AccessAuthenticator { get; set; }

    [Option("Section of role terminal.")]
    public TerminalSection? Terminal { get; set; }

    [Option("Section of role mobile-router, beside its section terminal: the networks that move with it.")]
    public MobileRouterSection? MobileRouter { get; set; }

    [Option("Section of role correspondent.")]
    public CorrespondentSection? Correspondent { get; set; }

    [Option("Section of role anchor-point.")]
    public AnchorPointSection? AnchorPoint { get; set; }

    [Option("Section of role home-agent6. A section delegating-router beside it makes the node that too.")]
    public HomeAgent6Section? HomeAgent6 { get; set; }

    [Option("Section of role tls-gateway.")]
    public TlsGatewaySection? TlsGateway { get; set; }

    [Option("Concessions to other implementations. Each is off by default and shown in status.")]
    public InteropOptions Interop { get; set; } = new();
}

public enum NodeRole : byte
{
    ForeignAgent,
    HomeAgent,
    Gateway,
    Aaa,
    MobileNode,
    DiameterRelay,
    Ca,
    DelegatingRouter,
    RelayAgent,
    AccessServer,
    AccessAuthenticator,
    Terminal,
    HomeAgent6,
    AccessGateway,
    AccessRouter,
    TlsGateway,
    MobileRouter,
    Correspondent,
    AnchorPoint,
}

public sealed class ControlOptions : OptionSection
{
    [Option("Unix socket of the control API (mode 0600).", File = FileUse.Written, Otherwise = "`control.sock` in the state directory")]
    public FileReference? Socket { get; set; }

    [Option("TCP port on 127.0.0.1 with metrics for Prometheus; 0 = off.", Minimum = "0", Maximum = "65535")]
    public int MetricsPort { get; set; }

    [Option("How many events are kept for `events` and `explain`.", Minimum = "16", Maximum = "1000000")]
    public int EventBuffer { get; set; } = 4096;
}

public sealed class LogOptions : OptionSection
{
    [Option("Least severity that is logged.")]
    public LogThreshold Level { get; set; } = LogThreshold.Information;

    [Option("File the JSON lines go to.", File = FileUse.Written, Otherwise = "standard output")]
    public FileReference? File { get; set; }
}

public enum LogThreshold : byte
{
    Debug,
    Information,
    Warning,
    Error,
}

public sealed class KeyExportOptions : OptionSection
{
    [Option("Wireshark `esp_sa` preference file; lines are appended.", Required = true, File = FileUse.Written, Example = "keys/esp_sa")]
    public FileReference Esp { get; set; } = null!;

    [Option("Wireshark `ikev2_decryption_table` preference file; lines are appended. Counts from the start of the node on.", File = FileUse.Written, Example = "keys/ikev2_decryption_table", Otherwise = "keys of IKE SAs are not written")]
    public FileReference? Ike { get; set; }
}

public sealed class InteropOptions : OptionSection
{
    [Option("Accept and make HMAC-MD5 and HMAC-SHA-1 mobility authenticators.")]
    public bool LegacyAuthenticators { get; set; }

    [Option("Exchange mobility session keys with Diameter peers that share no key-wrap secret, protected by TLS alone. VPN keys are never sent that way.")]
    public bool PlainSessionKeys { get; set; }

    [Option("Take binding updates without IPsec at role home-agent6: anybody may then say where any home address is. For laboratories (spec terminal, embodiments 1 and 2).")]
    public bool PlainBindings { get; set; }

    [Option("Take associations with `security: ah` between terminal and home agent: AH before the ESP of what the home agent sends under its association (RFC 4302, spec terminal S2). AH is optional since RFC 4301; for laboratories.")]
    public bool AuthenticationHeader { get; set; }
}
