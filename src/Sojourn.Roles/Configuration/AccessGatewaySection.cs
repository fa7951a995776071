using System.Net;

namespace Sojourn.Roles.Configuration;

public sealed class AccessGatewaySection : OptionSection
{
    [Option("Address that terminals find the gateway at. It is nobody else's: the node takes everything sent to it out of the kernel's hands.", Required = true, Family = AddressFamilies.IPv6, Example = "2001:db8:b::1")]
    public IPAddress Address { get; set; } = null!;

    [Option("Links towards access routers and terminals. What comes by them passes only from terminals that have access; without this node running they are shut, and IPv4 of them always.", Required = true, Syntax = TextSyntax.Interface, Example = "acc0")]
    public List<string> AccessLinks { get; set; } = [];

    [Option("Link towards the home network, by which prefixes are asked for.", Required = true, Syntax = TextSyntax.Interface, Example = "up0")]
    public string HomeLink { get; set; } = "";

    [Option("Certificate by which terminals know this gateway, PEM, with those between it and the authority behind it.", Required = true, File = FileUse.Read, Example = "tls/node.crt")]
    public FileReference CertificateFile { get; set; } = null!;

    [Option("Private key of the certificate, PEM.", Required = true, File = FileUse.Private, Example = "tls/node.key")]
    public FileReference KeyFile { get; set; } = null!;

    [Option("What this gateway calls itself in the key exchange; the certificate has to contain it.", Required = true, Example = "node1.visited.example")]
    public string Identity { get; set; } = "";

    [Option("RADIUS servers that say who may reach the home network, the preferred first; all of one IP version.", Required = true, Unique = nameof(RadiusServerSection.Address))]
    public List<RadiusServerSection> Servers { get; set; } = [];

    [Option("Servers that terminals reach before they have access: certification authority, OCSP, CRL. Address and port, TCP and UDP.", Example = "[ \"[2001:db8:3::2]:8080\" ]")]
    public List<IPEndPoint> BeforeAccess { get; set; } = [];

    [Option("Delegating routers elsewhere that the gateway relays its requests to itself; they need its address on `home-link` among their relays.", Family = AddressFamilies.IPv6, Example = "2001:db8:5::2", Otherwise = "a delegating router or relay agent on `home-link` is asked")]
    public List<IPAddress> RelayTo { get; set; } = [];

    [Option("DUID in hexadecimal under which prefixes are asked for; the delegating router knows the gateway by it.", Example = "00:03:00:01:02:00:00:00:00:77", Otherwise = "DUID-LL of `home-link`")]
    public string? Duid { get; set; }

    [Option("Length of the prefixes asked for.", Minimum = "16", Maximum = "64")]
    public int PrefixLength { get; set; } = 64;

    [Option("How long the delegating router may take before access is refused.", Minimum = "1s", Maximum = "25s")]
    public TimeSpan PrefixWait { get; set; } = TimeSpan.FromSeconds(15);

    [Option("Delegating routers that are told whose an IAID is before anything is asked for under it: HTTPS with TLS 1.3 and certificates on both sides.", Required = true)]
    public IdentityTablesSection Identities { get; set; } = null!;

    [Option("The gateway is a mobility anchor point too (RFC 5380): terminals sign on with a local binding update. Regional addresses are formed of the first 64 bits of `address`.", Otherwise = "terminals begin with the key exchange")]
    public AnchorSection? Anchor { get; set; }

    [Option("How long access lasts where the authentication server says nothing.", Minimum = "1m", Maximum = "30d")]
    public TimeSpan AccessLifetime { get; set; } = TimeSpan.FromHours(8);

    [Option("Most terminals at one time.", Minimum = "1", Maximum = "1000000")]
    public int MaximumSessions { get; set; } = 10_000;

    [Option("Silence after which a terminal is asked whether it is there; one that is not loses its access.", Minimum = "5s", Maximum = "1d")]
    public TimeSpan Liveness { get; set; } = TimeSpan.FromSeconds(30);

    [Option("Half-open key exchanges above which a cookie is asked for.", Minimum = "0", Maximum = "100000")]
    public int CookieThreshold { get; set; } = 100;

    [Option("Name of the virtual device that `address` and regional addresses are routed into.", Syntax = TextSyntax.Interface)]
    public string Tun { get; set; } = "gate0";

    [Option("Name of the virtual device that packets of the access links are led through.", Syntax = TextSyntax.Interface)]
    public string AccessTun { get; set; } = "access0";

    [Option("Largest packet the links carry, octets.", Minimum = "1280", Maximum = "65535")]
    public int Mtu { get; set; } = 1500;
}

public sealed class IdentityTablesSection : OptionSection
{
    [Option("Where they are told (POST /v1/identity), all of them; the host must be in the router's certificate.", Required = true, Example = "https://dr1.home.example:8445")]
    public List<string> Routers { get; set; } = [];

    [Option("Certificate of this node, by whose DNS name the delegating router knows the gateway, and the authority of the routers'.", Required = true)]
    public TlsOptions Tls { get; set; } = null!;
}

public sealed class AnchorSection : OptionSection
{
    [Option("Where terminals may be: prefixes of the access links in the anchor point's domain.", Family = AddressFamilies.IPv6, Example = "2001:db8:f1::/64", Otherwise = "anywhere")]
    public List<IPNetwork> DomainPrefixes { get; set; } = [];

    [Option("Longest local binding; never longer than access lasts.", Minimum = "8s", Maximum = "262140s")]
    public TimeSpan MaximumLifetime { get; set; } = TimeSpan.FromMinutes(30);

    [Option("How long a local binding update waits for access authentication.", Minimum = "5s", Maximum = "5m")]
    public TimeSpan AccessWait { get; set; } = TimeSpan.FromSeconds(60);

    [Option("Most local bindings at one time.", Minimum = "1", Maximum = "1000000")]
    public int MaximumBindings { get; set; } = 100_000;
}
