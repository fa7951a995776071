using System.Net;

namespace Sojourn.Roles.Configuration;

public sealed class DiameterOptions : OptionSection
{
    [Option("Own Diameter identity (Origin-Host).", Required = true, Syntax = TextSyntax.Fqdn, Example = "node1.visited.example")]
    public string Identity { get; set; } = "";

    [Option("Own realm (Origin-Realm).", Required = true, Syntax = TextSyntax.Fqdn, Example = "visited.example")]
    public string Realm { get; set; } = "";

    [Option("Where connections are accepted.")]
    public List<ListenOptions> Listen { get; set; } = [];

    [Option("Certificate of this node and the authority its peers' certificates come from. TLS 1.3, both sides authenticated.", Otherwise = "an error, unless allow-plain-tcp is set")]
    public TlsOptions? Tls { get; set; }

    [Option("Speak without TLS. For laboratories and for links that IPsec protects. VPN keys stay wrapped.")]
    public bool AllowPlainTcp { get; set; }

    [Option("Quiet time before a watchdog request (Tw of RFC 3539).", Minimum = "6s", Maximum = "10m")]
    public TimeSpan WatchdogInterval { get; set; } = TimeSpan.FromSeconds(30);

    [Option("Known peers; nobody else may connect.", Unique = nameof(PeerOptions.Identity))]
    public List<PeerOptions> Peers { get; set; } = [];

    [Option("Which peers lead to which realm, in order of preference. The realm of a peer needs no route.", Unique = nameof(RealmRouteOptions.Realm))]
    public List<RealmRouteOptions> Routes { get; set; } = [];
}

public sealed class ListenOptions : OptionSection
{
    [Option("Local address.", Required = true, Example = "10.0.1.2")]
    public IPAddress Address { get; set; } = null!;

    [Option("Local port: 5658 for TLS, 3868 for plain TCP (RFC 6733 11.4).", Minimum = "1", Maximum = "65535")]
    public int Port { get; set; } = 5658;
}

public sealed class TlsOptions : OptionSection
{
    [Option("Certificate chain, PEM. Its DNS names must include the Diameter identity.", Required = true, File = FileUse.Read, Example = "tls/node.crt")]
    public FileReference CertificateFile { get; set; } = null!;

    [Option("Private key, PEM.", Required = true, File = FileUse.Private, Example = "tls/node.key")]
    public FileReference KeyFile { get; set; } = null!;

    [Option("Certificates of the authorities that peers' certificates must come from, PEM.", Required = true, File = FileUse.Read, Example = "tls/ca.crt")]
    public FileReference CaFile { get; set; } = null!;
}

public sealed class PeerOptions : OptionSection
{
    [Option("Diameter identity of the peer.", Required = true, Syntax = TextSyntax.Fqdn, Example = "aaaf.visited.example")]
    public string Identity { get; set; } = "";

    [Option("Realm of the peer.", Required = true, Syntax = TextSyntax.Fqdn, Example = "visited.example")]
    public string Realm { get; set; } = "";

    [Option("Address to dial; needed with connect.", Example = "10.0.2.2", Otherwise = "the peer dials")]
    public IPAddress? Address { get; set; }

    [Option("Port to dial.", Minimum = "1", Maximum = "65535")]
    public int Port { get; set; } = 5658;

    [Option("Dial the peer; otherwise wait for it.")]
    public bool Connect { get; set; }
}

public sealed class RealmRouteOptions : OptionSection
{
    [Option("Destination realm; `*` = any other.", Required = true, Example = "home.example")]
    public string Realm { get; set; } = "";

    [Option("Identities of configured peers, best first.", Required = true, Syntax = TextSyntax.Fqdn, Example = "aaaf.visited.example")]
    public List<string> Peers { get; set; } = [];
}

public sealed class KeyWrapOptions : OptionSection
{
    [Option("Diameter identity of the other end.", Required = true, Syntax = TextSyntax.Fqdn, Example = "aaaf.visited.example")]
    public string Peer { get; set; } = "";

    [Option("32-octet key shared with it.", Required = true, File = FileUse.Secret, Example = "keys/node1-aaaf")]
    public FileReference KeyFile { get; set; } = null!;
}
