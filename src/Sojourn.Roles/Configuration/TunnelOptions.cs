using System.Net;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;

namespace Sojourn.Roles.Configuration;

public sealed class AssociationOptions : OptionSection
{
    [Option("Name, used by standing tunnels.", Required = true, Syntax = TextSyntax.Name, Example = "sgw-esp")]
    public string Name { get; set; } = "";

    [Option("Address of the other gateway; at a terminal that of a correspondent, at a correspondent a home address (both IPv6).", Required = true, Family = AddressFamilies.Either, Example = "10.0.5.2")]
    public IPAddress Peer { get; set; } = null!;

    [Option("Preset: for all users whose profiles name no association of their own, and for standing tunnels. Contract: agreed for one user, used only by the standing tunnel that names it.")]
    public AssociationUse Use { get; set; }

    [Option("How packets are protected: esp or ah.")]
    public SecurityType Security { get; set; } = SecurityType.Esp;

    [Option("Cipher suite. Only suites that are safe with a typed-in key: counter modes repeat nonces (RFC 4106 section 3, spec M5).", Required = true, Example = "aes128-cbc-hmac-sha256")]
    public IpsecAlgorithm Algorithm { get; set; }

    [Option("SPI of packets to the peer.", Required = true, Minimum = "0x100", Maximum = "0xffffffff", Example = "0x1001")]
    public SpiValue SpiOut { get; set; }

    [Option("SPI of packets from the peer.", Required = true, Minimum = "0x100", Maximum = "0xffffffff", Example = "0x1002")]
    public SpiValue SpiIn { get; set; }

    [Option("Secret of 32 or more octets shared with another Sojourn gateway, from which both directions' keys are derived.", File = FileUse.Secret, Example = "keys/ha-sgw", Otherwise = "the keys are given one by one")]
    public FileReference? KeyFile { get; set; }

    [Option("Encryption key of packets to the peer, for gateways of other makers.", File = FileUse.Secret, Otherwise = "derived from key-file")]
    public FileReference? EncryptionKeyOutFile { get; set; }

    [Option("Authentication key of packets to the peer.", File = FileUse.Secret, Otherwise = "derived from key-file")]
    public FileReference? AuthenticationKeyOutFile { get; set; }

    [Option("Encryption key of packets from the peer.", File = FileUse.Secret, Otherwise = "derived from key-file")]
    public FileReference? EncryptionKeyInFile { get; set; }

    [Option("Authentication key of packets from the peer.", File = FileUse.Secret, Otherwise = "derived from key-file")]
    public FileReference? AuthenticationKeyInFile { get; set; }
}

public enum AssociationUse : byte
{
    Preset,
    Contract,
}

public sealed class StandingTunnelOptions : OptionSection
{
    [Option("Name, shown as the owner of the path.", Required = true, Syntax = TextSyntax.Name, Example = "company")]
    public string Name { get; set; } = "";

    [Option("Name of the association that protects it.", Syntax = TextSyntax.Name, Example = "sgw-esp", Otherwise = "encapsulation only, no cryptography")]
    public string? Association { get; set; }

    [Option("Address of this end.", Example = "10.0.3.2", Otherwise = "the address of the role's section")]
    public IPAddress? Local { get; set; }

    [Option("Address of the far end.", Example = "10.0.5.2", Otherwise = "the association's peer")]
    public IPAddress? Remote { get; set; }

    [Option("Which packets go out through it, by source.", Required = true, Example = "10.99.0.0/24")]
    public IPNetwork Source { get; set; }

    [Option("Which packets go out through it, by destination.", Required = true, Example = "192.168.50.0/24")]
    public IPNetwork Destination { get; set; }

    [Option("DSCP written into packets before protection.", Minimum = "0", Maximum = "63", Otherwise = "left as the host sent it")]
    public int? MarkDscp { get; set; }
}

public enum DataPathKind : byte
{
    User,
    Kernel,
    Auto,
}

public sealed class PacketPathSection : OptionSection
{
    [Option("What protects packets: user: this program; kernel: Linux's own IPsec, at role gateway; auto: the kernel at a static gateway whose kernel has ESP, if it can do all that is configured, else this program.")]
    public DataPathKind DataPath { get; set; }

    [Option("Name of the virtual device that leads to encryption.", Syntax = TextSyntax.Interface)]
    public string Tun { get; set; } = "sojourn0";

    [Option("Largest packet the outer links carry, octets.", Minimum = "576", Maximum = "65535")]
    public int OuterMtu { get; set; } = 1500;

    [Option("How packets of tunnels without UDP pass the outer interfaces: auto, by AF_XDP where it can be had; xdp, the same with a warning where it cannot; raw, by raw sockets, through the kernel's packet filters and queueing disciplines.")]
    public OuterTransport OuterTransport { get; set; } = OuterTransport.Raw;

    [Option("How many packets are kept for a short while instead of lost: for a path that is not ready, for a visitor out of reach, and, at a foreign agent, from a gateway whose keys have not come yet.", Minimum = "0", Maximum = "65536")]
    public int HeldPackets { get; set; } = 1024;

    [Option("Egress rate at which traffic classes are scheduled.", Example = "10mbit", Otherwise = "not shaped")]
    public BitRate? EgressRate { get; set; }

    [Option("Most of egress-rate that expedited traffic (EF) may take while others wait, percent.", Minimum = "1", Maximum = "100")]
    public int ExpeditedShare { get; set; } = 50;
}
