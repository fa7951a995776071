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

    [Option("Preset (\"default SPI\") associations with other gateways, with typed-in keys.", Reload = true, Unique = nameof(AssociationOptions.Name))]
    public List<AssociationOptions> Associations { get; set; } = [];

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
}

public sealed class InteropOptions : OptionSection
{
    [Option("Accept and make HMAC-MD5 and HMAC-SHA-1 mobility authenticators.")]
    public bool LegacyAuthenticators { get; set; }

    [Option("Exchange mobility session keys with Diameter peers that share no key-wrap secret, protected by TLS alone. VPN keys are never sent that way.")]
    public bool PlainSessionKeys { get; set; }
}
